# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applications: list, create, read, update, upsert, delete.

Sources, under api-reference/v1.0/api of the Graph documentation: application-list.md, application-post-applications.md,
application-get.md, application-update.md, application-upsert.md, application-delete.md.
"""

from __future__ import annotations

import re
from typing import Final

from .directory import Application, Directory, new_id
from .graph_auth import READ_APPS, WRITE_APPS
from .graph_credentials import initial_passwords
from .graph_errors import bad_request, invalid_value, object_conflict, read_only
from .graph_objects import APPLICATIONS, NEW_APPLICATION, OBJECTS, application_document, application_in, application_of, application_row, object_document
from .graph_query import Document, Query, context, listing, project
from .graph_request import BODY, LIST, NO_CONTENT, SELECT, Answer, GraphRequest, Route, Routes
from .graph_schema import APPLICATION

EXPANDED: Final = 20
_PERSONAL: Final = ("AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount")
_SECRETS_BY_ACTION: Final = "New password credentials must be generated with service actions."


def _list(request: GraphRequest) -> Answer:
    found = [application_row(request.view, app) for app in request.view.applications.values()]
    return Answer(document=listing(found, APPLICATIONS, request.query, request.target.path))


def _get(request: GraphRequest) -> Answer:
    app = application_of(request)
    document = project(application_document(request.view, app), APPLICATIONS, request.query)
    if request.query.expand is not None:
        document = {**document, "owners": _expanded(request, app, request.query.expand)}
    return Answer(document={"@odata.context": context(APPLICATIONS, request.query, entity=True), **document})


def _expanded(request: GraphRequest, app: Application, text: str) -> list[Document]:
    """`$expand=owners`: 20 objects at most, with no link to more (https://learn.microsoft.com/graph/query-parameters, expand)."""
    match = re.fullmatch(r"owners(?:\(\$select=([A-Za-z,]+)\))?", text)
    if match is None:
        raise bad_request(f"Parsing OData Select and Expand failed: '{text[:60]}' is not supported for expansion here.", "BadRequest")
    query = Query(select=tuple(match[1].split(",")) if match[1] else ())
    found = [request.view.object(owner) for owner in app.owners][:EXPANDED]
    return [project(object_document(request.view, item, request.caller), OBJECTS, query) for item in found if item is not None]


def _create(request: GraphRequest) -> Answer:
    return _created(request, request.body, allow_secrets=True)


def _update(request: GraphRequest) -> Answer:
    """PATCH by any key; only `uniqueName` can create, and only when asked to by `Prefer`."""
    key = request.keys[0]
    if request.create_if_missing and key.by != "uniqueName":
        raise bad_request("Upsert of an application takes its uniqueName as the key.", "BadRequest")
    if request.create_if_missing and str(request.body.get("uniqueName", key.value)).lower() != key.value.lower():
        raise bad_request("The uniqueName in the body is not the one in the address.", "BadRequest")
    if request.create_if_missing and application_in(request.view, key) is None:
        return _created(request, {**request.body, "uniqueName": key.value}, allow_secrets=False)
    app = application_of(request)
    request.caller.require_write(app)
    body = dict(request.body)
    if key.by == "uniqueName" and str(body.get("uniqueName", "")).lower() == key.value.lower():
        del body["uniqueName"]
    change = APPLICATION.read(_without_secrets(body))
    if "uniqueName" in change and app.unique_name not in (None, change["uniqueName"]):
        raise read_only("uniqueName", "application")
    apply_change(request.directory, app, change)
    return NO_CONTENT


def _delete(request: GraphRequest) -> Answer:
    app = application_of(request)
    request.caller.require_write(app)
    request.directory.delete_application(app)
    return NO_CONTENT


# --- making and changing -----------------------------------------------------------------------------------------------


def _without_secrets(body: dict[str, object]) -> dict[str, object]:
    """Refuse credentials in the body: secrets come by addPassword, and keys aren't part of this double."""
    for name, value in body.items():
        if name == "passwordCredentials":
            raise bad_request(_SECRETS_BY_ACTION)
        if name == "keyCredentials" and value != []:
            raise invalid_value(name, "application", "certificates are not part of this test double")
    return {name: value for name, value in body.items() if name != "keyCredentials"}


def _created(request: GraphRequest, body: dict[str, object], *, allow_secrets: bool) -> Answer:
    """Make an application; its creator, when an application itself, becomes its owner."""
    now = request.directory.clock()
    wanted = body.get("passwordCredentials") if allow_secrets else None
    if wanted is not None:
        body = {name: value for name, value in body.items() if name != "passwordCredentials"}
    change = APPLICATION.read(_without_secrets(body))
    if "displayName" not in change:
        raise invalid_value("displayName", "application", "it is required")
    _set_audience(change)
    secrets = initial_passwords(request, wanted) if wanted is not None else []
    app = Application(
        id=new_id(),
        client_id=new_id(),
        name="",
        display_name="",
        redirect_uris=[],
        group_membership_claims=None,
        owners=[request.caller.principal_id],
        created=now,
    )
    app.name = app.client_id
    apply_change(request.directory, app, change)
    app.password_credentials = [credential for credential, _secret in secrets]
    request.directory.add_application(app)
    document = application_document(request.directory, app)
    document["passwordCredentials"] = [{**shown, "secretText": secret} for shown, (_, secret) in zip(_shown(document), secrets, strict=True)]
    return Answer(201, {"@odata.context": context(APPLICATIONS, request.query, entity=True), **document})


def _set_audience(change: dict[str, object]) -> None:
    """Who doesn't say for whom an application is gets one for everybody, as the example of application-upsert.md shows."""
    change.setdefault("signInAudience", _PERSONAL[0])
    api = change.setdefault("api", {})
    if change["signInAudience"] in _PERSONAL and isinstance(api, dict):
        api.setdefault("requestedAccessTokenVersion", 2)


def _shown(document: Document) -> list[Document]:
    shown = document["passwordCredentials"]
    return [item for item in shown if isinstance(item, dict)] if isinstance(shown, list) else []


def apply_change(directory: Directory, app: Application, change: dict[str, object]) -> None:
    """Change an application; everything is checked before anything is changed."""
    attributes = APPLICATION.merge(app.attributes, change)
    unique_name = attributes.pop("uniqueName", app.unique_name)
    display_name = attributes.pop("displayName", app.display_name)
    claims = attributes.pop("groupMembershipClaims", app.group_membership_claims)
    uris = _redirect_uris(attributes, app.redirect_uris)
    _check_unique(directory, app, unique_name, attributes)
    _check_roles(app, attributes)
    _check_audience(attributes)
    _check_total(attributes, uris)
    app.unique_name = None if unique_name is None else str(unique_name)
    app.display_name = str(display_name)
    app.group_membership_claims = None if claims is None else str(claims)
    app.redirect_uris = uris
    app.attributes = attributes


def _redirect_uris(attributes: dict[str, object], current: list[str]) -> list[str]:
    """Take web.redirectUris out of the attributes: the sign-in side's field has them."""
    web = attributes.get("web")
    if not isinstance(web, dict) or "redirectUris" not in web:
        return current
    uris = web["redirectUris"]
    attributes["web"] = {name: value for name, value in web.items() if name != "redirectUris"}
    return [str(uri) for uri in uris]


def _check_unique(directory: Directory, app: Application, unique_name: object, attributes: dict[str, object]) -> None:
    """Refuse a uniqueName or an identifier URI that any other application has, a soft-deleted one included."""
    uris = attributes.get("identifierUris")
    for other in directory.registrations():
        if other.id == app.id:
            continue
        if unique_name is not None and other.unique_name is not None and other.unique_name.lower() == str(unique_name).lower():
            raise object_conflict("uniqueName")
        taken = other.attributes.get("identifierUris")
        if isinstance(uris, list) and isinstance(taken, list) and set(uris) & set(taken):
            raise object_conflict("identifierUris")


def _roles(attributes: dict[str, object]) -> dict[str, Document]:
    roles = attributes.get("appRoles")
    return {str(role["id"]): role for role in roles if isinstance(role, dict)} if isinstance(roles, list) else {}


def _check_roles(app: Application, attributes: dict[str, object]) -> None:
    """An enabled role can't be taken away: it has to be disabled first."""
    before, after = _roles(app.attributes), _roles(attributes)
    if any(role.get("isEnabled", True) and role_id not in after for role_id, role in before.items()):
        raise bad_request(
            "Permission (scope or role) cannot be deleted or updated unless disabled first.",
            "CannotDeleteOrUpdateEnabledEntitlement",
        )
    roles = attributes.get("appRoles")
    if isinstance(roles, list) and len(after) != len(roles):
        raise bad_request("Request contains a property with duplicate values.")


def _check_audience(attributes: dict[str, object]) -> None:
    """Applications for personal accounts take version 2 tokens only."""
    defaults = NEW_APPLICATION["signInAudience"]
    api = attributes.get("api")
    version = api.get("requestedAccessTokenVersion") if isinstance(api, dict) else None
    if attributes.get("signInAudience", defaults) in _PERSONAL and version != 2:
        raise bad_request("Property api.requestedAccessTokenVersion is invalid.", "InvalidAccessTokenVersion")


def _check_total(attributes: dict[str, object], web: list[str]) -> None:
    """At most 256 redirect URIs, all platforms together (https://learn.microsoft.com/entra/identity-platform/reply-url)."""
    total = len(web)
    for platform in ("spa", "publicClient"):
        part = attributes.get(platform)
        uris = part.get("redirectUris") if isinstance(part, dict) else None
        total += len(uris) if isinstance(uris, list) else 0
    if total > 256:
        raise invalid_value("redirectUris", "application", "at most 256 redirect URIs are allowed")


def routes() -> Routes:
    return {
        "applications": {"GET": Route(_list, READ_APPS, LIST), "POST": Route(_create, WRITE_APPS, takes=BODY)},
        "applications/*": {
            "GET": Route(_get, READ_APPS, (*SELECT, "$expand")),
            "PATCH": Route(_update, WRITE_APPS, takes=BODY),
            "DELETE": Route(_delete, WRITE_APPS),
        },
    }
