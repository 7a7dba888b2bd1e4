# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each operation on Microsoft Graph needs of the identity that calls it: for errors, for preflight, for the documentation.

Imported only when it is needed.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import re
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import Token


@dataclasses.dataclass(frozen=True)
class Permission:
    """What an operation needs of an application identity.

    ``needs`` are the least privileged application permissions, all of them; with one of ``instead`` they aren't needed.
    ``owned`` names what the identity must own for ``needs`` to suffice ("" when it needn't). ``source`` is Microsoft's page.
    ``role``, where there is one, is a directory role that the page asks for as well.
    """

    method: str
    path: str  # a regular expression for the whole path
    operation: str
    needs: tuple[str, ...]
    instead: tuple[str, ...]
    owned: str
    source: str
    role: str = ""


_API = "https://learn.microsoft.com/graph/api/"
_APP = r"/applications(/[^/]+|\([^)]*\))"
_SP = r"/servicePrincipals(/[^/]+|\([^)]*\))"
_ROLE = "Application Administrator"
_OWNED = ("Application.ReadWrite.OwnedBy",)
_WRITE = ("Application.ReadWrite.All",)
_READ = ("Application.Read.All",)
_READ_MORE = ("Application.ReadWrite.OwnedBy", "Application.ReadWrite.All", "Directory.Read.All")

# The first that fits counts. The permissions are those of the tables on the pages named.
PERMISSIONS: t.Final[tuple[Permission, ...]] = (
    Permission("POST", _APP + "/addPassword", "add a client secret", _OWNED, _WRITE, "application", _API + "application-addpassword"),
    Permission("POST", _APP + "/removePassword", "remove a client secret", _OWNED, _WRITE, "application", _API + "application-removepassword"),
    # Its page says in a note that OwnedBy won't do for a further owner, in its table that with Directory.Read.All it does.
    Permission(
        "POST",
        _APP + r"/owners/\$ref",
        "add an owner",
        ("Application.ReadWrite.OwnedBy", "Directory.Read.All"),
        ("Application.ReadWrite.All", "Directory.ReadWrite.All"),
        "application",
        _API + "application-post-owners",
    ),
    Permission("DELETE", _APP + r"/owners/[^/]+/\$ref", "remove an owner", _OWNED, _WRITE, "application", _API + "application-delete-owners"),
    Permission("GET", _APP + "/owners", "list owners", _OWNED, (*_READ, *_WRITE, "Directory.Read.All"), "", _API + "application-list-owners"),
    Permission(
        "GET",
        _APP + r"/federatedIdentityCredentials.*",
        "read federated credentials",
        _READ,
        _READ_MORE,
        "",
        _API + "application-list-federatedidentitycredentials",
    ),
    Permission(
        "PATCH",
        _APP + r"/federatedIdentityCredentials.+",
        "add or change a federated credential",
        _OWNED,
        _WRITE,
        "application",
        _API + "federatedidentitycredential-upsert",
    ),
    Permission(
        "DELETE",
        _APP + r"/federatedIdentityCredentials.+",
        "remove a federated credential",
        _OWNED,
        _WRITE,
        "application",
        _API + "federatedidentitycredential-delete",
    ),
    # Its page names AppRegistration.Create as the least, which doesn't suffice to change what was created.
    Permission("POST", "/applications", "create an app registration", _OWNED, _WRITE, "", _API + "application-post-applications"),
    Permission("GET", "/applications", "list app registrations", _READ, _READ_MORE, "", _API + "application-list"),
    Permission("GET", _APP, "read an app registration", _READ, _READ_MORE, "", _API + "application-get"),
    Permission("PATCH", _APP, "create or change an app registration", _OWNED, _WRITE, "application", _API + "application-upsert"),
    Permission("DELETE", _APP, "delete an app registration", _OWNED, _WRITE, "application", _API + "application-delete"),
    Permission(
        "POST",
        _SP + "/appRoleAssignedTo",
        "assign a group",
        ("AppRoleAssignment.ReadWrite.All", "Application.Read.All"),
        (),
        "",
        _API + "serviceprincipal-post-approleassignedto",
    ),
    Permission(
        "DELETE",
        _SP + "/appRoleAssignedTo/[^/]+",
        "remove a group's assignment",
        ("AppRoleAssignment.ReadWrite.All",),
        (),
        "",
        _API + "serviceprincipal-delete-approleassignedto",
    ),
    Permission("GET", _SP + "/appRoleAssignedTo", "list assignments", _READ, _READ_MORE, "", _API + "serviceprincipal-list-approleassignedto"),
    Permission("POST", "/servicePrincipals", "create a service principal", _OWNED, _WRITE, "application", _API + "serviceprincipal-post-serviceprincipals"),
    Permission("GET", "/servicePrincipals", "list service principals", _READ, _READ_MORE, "", _API + "serviceprincipal-list"),
    Permission("GET", _SP, "read a service principal", _READ, _READ_MORE, "", _API + "serviceprincipal-get"),
    Permission("PATCH", _SP, "create or change a service principal", _OWNED, _WRITE, "service principal", _API + "serviceprincipal-upsert"),
    Permission("DELETE", _SP, "delete a service principal", _OWNED, _WRITE, "service principal", _API + "serviceprincipal-delete"),
    Permission(
        "POST", "/directory/deletedItems/[^/]+/restore", "restore a deleted object", _OWNED, _WRITE, "object", _API + "directory-deleteditems-restore", _ROLE
    ),
    Permission("DELETE", "/directory/deletedItems/[^/]+", "delete an object for good", _OWNED, _WRITE, "object", _API + "directory-deleteditems-delete", _ROLE),
    Permission(
        "GET",
        r"/directory/deletedItems.*",
        "read deleted objects",
        _READ,
        ("Application.ReadWrite.All", "Directory.Read.All"),
        "",
        _API + "directory-deleteditems-list",
    ),
    Permission(
        "POST",
        "/directoryObjects/getByIds",
        "look groups up by id",
        ("Directory.Read.All",),
        ("GroupMember.Read.All", "Group.Read.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"),
        "",
        _API + "directoryobject-getbyids",
    ),
    Permission(
        "GET", r"/groups.*", "read groups", ("GroupMember.Read.All",), ("Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All"), "", _API + "group-get"
    ),
    Permission("GET", r"/users.*", "read users", ("User.ReadBasic.All",), ("User.Read.All", "User.ReadWrite.All", "Directory.Read.All"), "", _API + "user-get"),
    Permission(
        "GET",
        "/subscribedSkus",
        "read the tenant's licences",
        ("LicenseAssignment.Read.All",),
        ("Organization.Read.All", "Directory.Read.All"),
        "",
        _API + "subscribedsku-list",
    ),
)


def permission_for(method: str, path: str) -> Permission | None:
    """The table's row for a request (path without version and query), None when it has none."""
    return next((row for row in PERMISSIONS if row.method == method and re.fullmatch(row.path, path, re.IGNORECASE)), None)


def permission_remedy(method: str, path: str, token: Token) -> str:
    """What a refused (403) request lacks: the permission by name, or ownership."""
    row = permission_for(method, path)
    if row is None:
        return "The identity lacks a permission for that."
    needs = " and ".join(row.needs)
    whole = f"{needs} and must own the {row.owned}" if row.owned else needs
    if row.role:
        whole += f" (and the directory role {row.role})"
    if token.delegated:
        return f"The signed-in user needs the directory role Application Administrator (an application identity would need {whole}); see {row.source}."
    if not token.roles and not token.principal_id:
        return f"The identity needs {whole}; see {row.source}."
    if any(name in token.roles for name in row.instead):
        return _not_the_permission(token.roles & set(row.instead), row)
    missing = [name for name in row.needs if name not in token.roles]
    if not missing and row.owned:
        return (
            f"The identity has {needs}, but must own the {row.owned} as well:"
            f" have it added to the owners (object id {token.principal_id or 'unknown'}), or grant {row.instead[0]}."
            + (f" The directory role {row.role} is needed too." if row.role else "")
        )
    if not missing:
        return _not_the_permission(row.needs, row)
    carried = ", ".join(sorted(token.roles)) or "no application permission"
    return f"The identity needs {whole}; its token carries {carried}. Grant {' and '.join(missing)} as an application permission, with admin consent."


def _not_the_permission(carried: collections.abc.Iterable[str], row: Permission) -> str:
    return f"The token carries {', '.join(sorted(carried))}, which suffices: look for a policy of the tenant that forbids it; see {row.source}."
