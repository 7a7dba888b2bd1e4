# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end state in a canonical form, for tests that compare two: `GET /state` of the control API.

Nothing in it depends on when, or in how many attempts, it came about: no times, no ids that Entra makes, no secrets, no
order. An object is named by what its maker named it: `application <uniqueName or display name>`, `principal …`, `group …`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from .directory import GRAPH_APP_ID, Application, Directory, ServicePrincipal
from .graph_objects import application_document, principal_document, principal_name
from .graph_query import Document

_ELSEWHERE = ("owners", "passwordCredentials", "keyCredentials", "deletedDateTime", "createdDateTime", "id", "appId")
_OF_APPLICATION = (
    "appDescription",
    "appDisplayName",
    "appRoles",
    "info",
    "logoutUrl",
    "replyUrls",
    "signInAudience",
    "verifiedPublisher",
    "servicePrincipalNames",
)


def _name(app: Application) -> str:
    return f"application {app.unique_name or app.display_name}"


def _principal(directory: Directory, item: ServicePrincipal) -> str:
    app = next((app for app in directory.registrations() if app.client_id == item.client_id), None)
    return f"principal {principal_name(directory, item) if app is None else _name(app).removeprefix('application ')}"


def _names(directory: Directory) -> dict[str, str]:
    """Return the canonical name of each object id."""
    found = {user.id: f"user {user.name}" for user in directory.users.values()}
    found |= {group.id: f"group {group.name}" for group in directory.groups.values()}
    found |= {app.id: _name(app) for app in directory.registrations()}
    deleted = [entry.item for entry in directory.deleted.values() if isinstance(entry.item, ServicePrincipal)]
    for item in [*directory.service_principals.values(), *deleted]:
        found[item.id] = _principal(directory, item)
    return found


def _sorted(items: Iterable[Document]) -> list[Document]:
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))


def _application(directory: Directory, app: Application, names: dict[str, str]) -> Document:
    shown = {name: value for name, value in application_document(directory, app).items() if name not in _ELSEWHERE}
    return {
        **shown,
        "name": _name(app),
        "owners": sorted(names.get(owner, owner) for owner in app.owners),
        "passwordCredentials": sorted(each.display_name or "" for each in app.password_credentials),
        "federatedIdentityCredentials": _sorted(
            {"name": each.name, "issuer": each.issuer, "subject": each.subject, "audience": each.audience, "description": each.description}
            for each in app.federated_credentials
        ),
    }


def _service_principal(directory: Directory, item: ServicePrincipal, names: dict[str, str]) -> Document:
    shown = principal_document(directory, item)
    return {
        **{name: value for name, value in shown.items() if name not in (*_ELSEWHERE, *_OF_APPLICATION)},
        "name": names[item.id],
        "owners": sorted(names.get(owner, owner) for owner in item.owners),
        "consentedScopes": sorted(item.consented_scopes),
    }


def _role(directory: Directory, resource_id: str, role_id: str) -> str:
    """Return a role's value where it has one: its id may be its maker's own."""
    resource = directory.service_principal_by_id(resource_id)
    roles = principal_document(directory, resource)["appRoles"] if resource is not None else []
    for role in roles if isinstance(roles, list) else []:
        if isinstance(role, dict) and role.get("id") == role_id and role.get("value"):
            return str(role["value"])
    return role_id


def state(directory: Directory) -> Document:
    """Return the whole directory in canonical form."""
    names = _names(directory)
    return {
        "applications": _sorted(_application(directory, app, names) for app in directory.applications.values()),
        "servicePrincipals": _sorted(
            _service_principal(directory, item, names) for item in directory.service_principals.values() if item.client_id != GRAPH_APP_ID
        ),
        "assignments": _sorted(
            {
                "principal": names.get(each.principal_id, each.principal_id),
                "resource": names.get(each.resource_id, each.resource_id),
                "appRole": _role(directory, each.resource_id, each.app_role_id),
            }
            for each in directory.assignments.values()
        ),
        "deletedItems": sorted(names[object_id] for object_id in directory.deleted),
        "groups": _sorted(
            {
                "name": f"group {group.name}",
                "description": group.description,
                "members": sorted(names[item.id] for item in directory.members(group)),
                "owners": sorted(names.get(owner, owner) for owner in group.owners),
            }
            for group in directory.groups.values()
        ),
        "users": _sorted({"name": f"user {user.name}", "enabled": user.enabled} for user in directory.users.values()),
        "licences": sorted(directory.licences),
        "secretPolicy": {"allowed": directory.secret_policy.allowed, "maxLifetime": directory.secret_policy.max_lifetime},
    }
