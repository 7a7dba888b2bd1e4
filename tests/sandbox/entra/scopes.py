# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scopes: https://learn.microsoft.com/entra/identity-platform/scopes-oidc.

A scope is an OpenID one, or a permission of Microsoft Graph with or without its resource in front. There is no scope
`groups` (AADSTS650053); a permission of Graph that nobody consented to is AADSTS65001.
"""

from __future__ import annotations

from typing import Final

from .directory import GRAPH_APP_ID, Application, ServicePrincipal
from .errors import StsError

OPENID: Final = frozenset({"openid", "profile", "email", "offline_access"})
_GRAPH_PREFIXES: Final = ("https://graph.microsoft.com/", f"{GRAPH_APP_ID}/", f"api://{GRAPH_APP_ID}/")
# Delegated permissions people ask of Graph around groups; all but User.Read are for an administrator to consent to.
_GRAPH_PERMISSIONS: Final = frozenset(
    {
        "Application.Read.All",
        "Directory.Read.All",
        "Group.Read.All",
        "GroupMember.Read.All",
        "User.Read",
        "User.Read.All",
        "User.ReadBasic.All",
    }
)


def _permission(scope: str) -> str:
    """Return the permission's name without Graph's prefix, or the scope as it is."""
    for prefix in _GRAPH_PREFIXES:
        if scope.startswith(prefix):
            return scope[len(prefix) :]
    return scope


def delegated(requested: str, app: Application, principal: ServicePrincipal) -> frozenset[str]:
    """Return the scopes granted for a request on a user's behalf."""
    granted: set[str] = set()
    for scope in requested.split():
        permission = _permission(scope)
        if permission == ".default":
            granted |= principal.consented_scopes - OPENID
        elif "://" in permission or "/" in permission:
            raise StsError(70011, scope=scope)
        elif permission not in OPENID | _GRAPH_PERMISSIONS:
            raise StsError(650053, app=app.display_name, scope=permission, resource=GRAPH_APP_ID)
        elif permission not in principal.consented_scopes:
            raise StsError(65001, client_id=app.client_id, app=app.display_name)
        else:
            granted.add(permission)
    if not granted:
        raise StsError(900144, name="scope")
    return frozenset(granted)


# Resources besides Graph that tokens are issued for; `tests/sandbox/azure` answers for them.
AZURE: Final = ("https://vault.azure.net", "https://management.azure.com")


def application_audience(requested: str) -> str:
    """Return whom a token of client_credentials is for; any scope but the `.default` of a known resource is refused."""
    scopes = requested.split()
    if len(scopes) != 1 or not scopes[0].endswith("/.default"):
        raise StsError(1002012, scope=requested)
    resource = scopes[0].removesuffix("/.default")
    if resource.rstrip("/") in AZURE:
        return resource
    if _permission(scopes[0]) != ".default":
        raise StsError(70011, scope=requested)
    return GRAPH_APP_ID
