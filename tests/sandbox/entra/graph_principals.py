# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Service principals and the assignments of app roles to users, groups and applications.

Sources, under api-reference/v1.0/api: serviceprincipal-post-serviceprincipals.md, serviceprincipal-upsert.md,
serviceprincipal-post-approleassignedto.md, serviceprincipal-list-approleassignedto.md. The refusals of a principal for an
application that isn't there are those the Terraform provider azuread retries on.
"""

from __future__ import annotations

from .directory import DEFAULT_ROLE, Application, Assignment, Directory, Group, ServicePrincipal, User, is_guid, new_id
from .graph_auth import OWNED_BY, READ_APPS, READ_ASSIGNMENTS, WRITE_APPS, WRITE_ASSIGNMENTS
from .graph_errors import bad_request, denied, invalid_id, invalid_value, key_in_use, not_found, read_only, unknown_property
from .graph_objects import (
    PRINCIPALS,
    app_roles,
    entity_id,
    group_of,
    principal_document,
    principal_in,
    principal_name,
    principal_of,
    principal_row,
)
from .graph_query import BASE, Document, Kind, context, listing, project, rows
from .graph_request import BODY, LIST, NO_CONTENT, SELECT, Answer, GraphRequest, Route, Routes
from .graph_schema import SERVICE_PRINCIPAL, printed, typed

ASSIGNMENTS = Kind(
    "appRoleAssignment",
    "appRoleAssignments",
    frozenset(
        {"id", "appRoleId", "createdDateTime", "deletedDateTime", "principalDisplayName", "principalId", "principalType", "resourceDisplayName", "resourceId"}
    ),
    {"principalId": ("eq",), "resourceId": ("eq",), "appRoleId": ("eq",), "principalDisplayName": ("eq", "startsWith")},
)

# --- service principals ------------------------------------------------------------------------------------------------


def _list(request: GraphRequest) -> Answer:
    found = [principal_row(request.view, item) for item in request.view.service_principals.values()]
    return Answer(document=listing(found, PRINCIPALS, request.query, request.target.path))


def _get(request: GraphRequest) -> Answer:
    document = project(principal_document(request.view, principal_of(request)), PRINCIPALS, request.query)
    return Answer(document={"@odata.context": context(PRINCIPALS, request.query, entity=True), **document})


def _create(request: GraphRequest) -> Answer:
    body = dict(request.body)
    client_id = body.pop("appId", None)
    if not isinstance(client_id, str) or not is_guid(client_id):
        raise invalid_value("appId", "servicePrincipal", "a GUID is expected")
    # Set by Entra alone, but a client (azure_rm_adserviceprincipal) sends it and isn't refused.
    kind = body.pop("servicePrincipalType", "Application")
    if not isinstance(kind, str) or kind.lower() != "application":
        raise read_only("servicePrincipalType", "servicePrincipal")
    return _created(request, client_id.lower(), body)


def _created(request: GraphRequest, client_id: str, body: dict[str, object]) -> Answer:
    app = _backing(request, client_id)
    change = SERVICE_PRINCIPAL.read(body)
    if client_id in request.directory.service_principals:
        raise key_in_use(f"The service principal cannot be created, updated, or restored because the service principal name {client_id} is already in use.")
    principal = ServicePrincipal(new_id(), app.client_id, owners=[request.caller.principal_id], created=request.directory.clock())
    _apply(principal, change)
    request.directory.service_principals[client_id] = principal
    return Answer(201, {"@odata.context": context(PRINCIPALS, request.query, entity=True), **principal_document(request.directory, principal)})


def _backing(request: GraphRequest, client_id: str) -> Application:
    """Find the registration of a new principal; whoever may touch only its own is told less than others."""
    app = request.directory.application(client_id) if request.view.application(client_id) is not None else None
    if request.caller.may(WRITE_APPS - {OWNED_BY}):
        if app is None:
            raise bad_request(f"The appId '{client_id}' of the service principal does not reference a valid application object.", "NoBackingApplicationObject")
        return app
    if app is None or request.caller.principal_id not in app.owners:
        raise denied("When using this permission, the backing application of the service principal being created must in the local tenant")
    return app


def _update(request: GraphRequest) -> Answer:
    """PATCH by id or appId; the latter creates when asked to by `Prefer`."""
    key, body = request.keys[0], dict(request.body)
    if request.create_if_missing and key.by != "appId":
        raise bad_request("Upsert of a service principal takes its appId as the key.", "BadRequest")
    if key.by == "appId" and str(body.get("appId", "")).lower() == key.value.lower():
        del body["appId"]
    if request.create_if_missing and principal_in(request.view, key) is None:
        return _created(request, key.value.lower(), body)
    principal = principal_of(request)
    request.caller.require_write(principal)
    if "appId" in body:
        raise read_only("appId", "servicePrincipal")
    _apply(principal, SERVICE_PRINCIPAL.read(body))
    return NO_CONTENT


def _apply(principal: ServicePrincipal, change: dict[str, object]) -> None:
    attributes = SERVICE_PRINCIPAL.merge(principal.attributes, change)
    principal.account_enabled = bool(attributes.pop("accountEnabled", principal.account_enabled))
    principal.assignment_required = bool(attributes.pop("appRoleAssignmentRequired", principal.assignment_required))
    principal.attributes = attributes


def _delete(request: GraphRequest) -> Answer:
    principal = principal_of(request)
    request.caller.require_write(principal)
    if principal.id == request.directory.graph_principal.id:
        raise denied()
    request.directory.delete_principal(principal)
    return NO_CONTENT


# --- assignments -------------------------------------------------------------------------------------------------------


def _named(directory: Directory, object_id: str) -> tuple[str, str] | None:
    """Return an object's type, as an assignment says it, and its display name."""
    item = directory.object(object_id)
    if isinstance(item, User):
        return "User", item.display_name
    if isinstance(item, Group):
        return "Group", item.name
    if isinstance(item, ServicePrincipal):
        return "ServicePrincipal", principal_name(directory, item)
    return None


def _document(directory: Directory, each: Assignment) -> Document | None:
    """Show an assignment; one whose principal or resource is (soft-)deleted isn't shown."""
    principal, resource = _named(directory, each.principal_id), _named(directory, each.resource_id)
    if principal is None or resource is None:
        return None
    return {
        "id": each.id,
        "deletedDateTime": None,
        "appRoleId": each.app_role_id,
        "createdDateTime": printed(each.created),
        "principalDisplayName": principal[1],
        "principalId": each.principal_id,
        "principalType": principal[0],
        "resourceDisplayName": resource[1],
        "resourceId": each.resource_id,
    }


def _page(request: GraphRequest, found: list[Assignment], owner: str) -> Answer:
    documents = [document for each in found if (document := _document(request.view, each)) is not None]
    page = listing(rows(documents), ASSIGNMENTS, request.query, request.target.path)
    return Answer(document={**page, "@odata.context": f"{BASE}/$metadata#{owner}"})


def _assigned_to(request: GraphRequest) -> Answer:
    resource = principal_of(request)
    found = [each for each in request.view.assignments.values() if each.resource_id == resource.id]
    return _page(request, found, f"servicePrincipals('{resource.id}')/appRoleAssignedTo")


def _assignments_of(request: GraphRequest) -> Answer:
    item: ServicePrincipal | Group = principal_of(request) if request.target.route.startswith("servicePrincipals/") else group_of(request)
    found = [each for each in request.view.assignments.values() if each.principal_id == item.id]
    return _page(request, found, "appRoleAssignments")


def _assign(request: GraphRequest) -> Answer:
    resource = principal_of(request)
    body = typed(request.body, "appRoleAssignment")
    for name, value in body.items():
        if name not in ("principalId", "resourceId", "appRoleId"):
            raise unknown_property(name, "microsoft.graph.appRoleAssignment") if name not in ASSIGNMENTS.properties else read_only(name, "appRoleAssignment")
        if not isinstance(value, str) or not is_guid(value):
            raise invalid_value(name, "appRoleAssignment", "a GUID is expected")
    if set(body) != {"principalId", "resourceId", "appRoleId"}:
        raise bad_request("principalId, resourceId and appRoleId are required.")
    ids = {name: str(value).lower() for name, value in body.items()}
    if ids["resourceId"] != resource.id:
        raise bad_request("Not a valid reference update.")
    _check_principal(request, ids["principalId"])
    _check_role(request, resource, ids["appRoleId"])
    assignment = Assignment(ids["principalId"], resource.id, ids["appRoleId"], request.directory.clock())
    same = (assignment.principal_id, assignment.resource_id, assignment.app_role_id)
    if any((each.principal_id, each.resource_id, each.app_role_id) == same for each in request.directory.assignments.values()):
        raise bad_request("Permission being assigned already exists on the object")
    request.directory.assign(assignment)
    document = _document(request.directory, assignment) or {}
    return Answer(201, {"@odata.context": f"{BASE}/$metadata#servicePrincipals('{resource.id}')/appRoleAssignedTo/$entity", **document})


def _check_principal(request: GraphRequest, object_id: str) -> None:
    found = request.view.object(object_id)
    if found is None or isinstance(found, Application):
        raise not_found(object_id)
    if isinstance(found, Group) and not request.directory.has_premium:
        # The portal's sentence about plan levels, "Groups are not available for assignment due to your Active Directory plan
        # level", in Graph's form; the code is an assumption.
        raise bad_request("Groups are not available for assignment due to your Active Directory plan level.")


def _check_role(request: GraphRequest, resource: ServicePrincipal, role_id: str) -> None:
    """The default role is assignable only where the resource defines no roles of its own (serviceprincipal-post-approleassignedto.md)."""
    roles = {str(role["id"]): role for role in app_roles(request.view, resource) if isinstance(role, dict)}
    if role_id == DEFAULT_ROLE and not roles:
        return
    if role_id not in roles or not roles[role_id].get("isEnabled", True):
        raise bad_request("Permission being assigned was not found on application")


def _unassign(request: GraphRequest) -> Answer:
    resource = principal_of(request)
    key = request.keys[1]
    if key.by != "id":
        raise invalid_id(key.value)
    found = request.directory.assignments.get(entity_id(key) if is_guid(key.value) else key.value)
    if found is None or found.resource_id != resource.id or found.id not in request.view.assignments:
        raise not_found(key.value)
    del request.directory.assignments[found.id]
    return NO_CONTENT


def _get_assignment(request: GraphRequest) -> Answer:
    resource = principal_of(request)
    found = request.view.assignments.get(request.keys[1].value.lower())
    document = _document(request.view, found) if found is not None and found.resource_id == resource.id else None
    if document is None:
        raise not_found(request.keys[1].value)
    return Answer(document={"@odata.context": f"{BASE}/$metadata#appRoleAssignments/$entity", **project(document, ASSIGNMENTS, request.query)})


def routes() -> Routes:
    assigned = "servicePrincipals/*/appRoleAssignedTo"
    return {
        "servicePrincipals": {"GET": Route(_list, READ_APPS, LIST), "POST": Route(_create, WRITE_APPS, takes=BODY)},
        "servicePrincipals/*": {
            "GET": Route(_get, READ_APPS, SELECT),
            "PATCH": Route(_update, WRITE_APPS, takes=BODY),
            "DELETE": Route(_delete, WRITE_APPS),
        },
        assigned: {"GET": Route(_assigned_to, READ_ASSIGNMENTS, LIST), "POST": Route(_assign, WRITE_ASSIGNMENTS, takes=BODY)},
        f"{assigned}/*": {"GET": Route(_get_assignment, READ_ASSIGNMENTS, SELECT), "DELETE": Route(_unassign, WRITE_ASSIGNMENTS)},
        "servicePrincipals/*/appRoleAssignments": {"GET": Route(_assignments_of, READ_ASSIGNMENTS, LIST)},
        "groups/*/appRoleAssignments": {"GET": Route(_assignments_of, READ_ASSIGNMENTS, LIST)},
    }
