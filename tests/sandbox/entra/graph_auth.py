# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who calls Graph: the bearer token, and the application permissions in it.

Permissions are those of the token (`roles`), not of the directory as it is now: one granted later needs a new token.
Sets: https://learn.microsoft.com/graph/permissions-reference and each operation's own page under api-reference/v1.0/api.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .call import Call
from .directory import GRAPH_APP_ID, Application, Directory, ServicePrincipal
from .graph_errors import GraphError, denied, unauthenticated
from .tokens import KeyRing

OWNED_BY: Final = "Application.ReadWrite.OwnedBy"
_DIRECTORY_READ: Final = frozenset({"Directory.Read.All", "Directory.ReadWrite.All"})

WRITE_APPS: Final = frozenset({OWNED_BY, "Application.ReadWrite.All", "Directory.ReadWrite.All"})
READ_APPS: Final = WRITE_APPS | _DIRECTORY_READ | {"Application.Read.All"}
WRITE_ASSIGNMENTS: Final = frozenset({"AppRoleAssignment.ReadWrite.All"})
READ_ASSIGNMENTS: Final = READ_APPS | WRITE_ASSIGNMENTS
WRITE_GROUPS: Final = frozenset({"Group.ReadWrite.All", "Directory.ReadWrite.All"})
WRITE_MEMBERS: Final = WRITE_GROUPS | {"GroupMember.ReadWrite.All"}
READ_GROUPS: Final = WRITE_MEMBERS | _DIRECTORY_READ | {"Group.Read.All", "GroupMember.Read.All"}
READ_USERS: Final = _DIRECTORY_READ | {"User.Read.All", "User.ReadBasic.All"}
# api/user-list-transitivememberof.md
READ_MEMBERSHIPS: Final = _DIRECTORY_READ | {"User.Read.All", "Group.Read.All", "GroupMember.Read.All"}
READ_ORGANIZATION: Final = _DIRECTORY_READ | {"Organization.Read.All"}
# api/subscribedsku-list.md, and the newer permission for licences alone.
READ_LICENCES: Final = READ_ORGANIZATION | {"LicenseAssignment.Read.All"}
# api/directory-deleteditems-list.md: reading what was deleted is the one thing that OwnedBy can't.
READ_DELETED: Final = _DIRECTORY_READ | {"Application.Read.All", "Application.ReadWrite.All"}
READ_ANY: Final = READ_APPS | READ_GROUPS | READ_USERS


@dataclass(frozen=True)
class Caller:
    """The application that asks, by its service principal, and what its token permits."""

    principal_id: str
    client_id: str
    roles: frozenset[str]

    def may(self, permissions: frozenset[str]) -> bool:
        return not self.roles.isdisjoint(permissions)

    def require(self, permissions: frozenset[str]) -> None:
        if not self.may(permissions):
            raise denied()

    def require_write(self, target: Application | ServicePrincipal) -> None:
        """Refuse to change what isn't the caller's own, unless it may change all."""
        self.require(WRITE_APPS)
        if not self.may(WRITE_APPS - {OWNED_BY}) and self.principal_id not in target.owners:
            raise denied()


def bearer_claims(call: Call, directory: Directory, keys: KeyRing) -> dict[str, Any]:
    """Return the claims of the request's access token for Graph."""
    scheme, _, value = call.request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not value:
        raise unauthenticated("Access token is empty.")
    claims = keys.verify(value)
    if claims is None:
        raise unauthenticated("CompactToken parsing failed with error code: 80049217")
    if claims.get("aud") != GRAPH_APP_ID:
        raise unauthenticated("Access token validation failure. Invalid audience.")
    if directory.clock() >= claims["exp"]:
        raise unauthenticated("Lifetime validation failed, the token is expired.")
    return claims


def application_caller(call: Call, directory: Directory, keys: KeyRing) -> Caller:
    """Return the calling application; delegated tokens can sign people in, and nothing more in this double."""
    claims = bearer_claims(call, directory, keys)
    call.claim_client(str(claims.get("appid", "")))
    if claims.get("idtyp") != "app":
        raise denied()
    principal = directory.service_principal_by_id(str(claims["oid"]))
    if principal is None:
        raise GraphError(401, "Authorization_IdentityNotFound", "The identity of the calling application could not be established.")
    return Caller(principal.id, principal.client_id, frozenset(claims.get("roles", [])))
