# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects by their ids, deleted items, and what the tenant has bought.

Sources, under api-reference/v1.0/api: directoryobject-getbyids.md, directory-deleteditems-list.md,
directory-deleteditems-restore.md (restoring an application doesn't restore its service principal),
directory-deleteditems-delete.md, subscribedsku-list.md, organization-get.md.
"""

from __future__ import annotations

import uuid
from typing import Final

from .directory import Application, Deleted, DirectoryError, ServicePrincipal, is_guid
from .graph_auth import READ_ANY, READ_DELETED, READ_LICENCES, READ_ORGANIZATION, WRITE_APPS
from .graph_errors import bad_request, invalid_value, key_in_use, not_found, unknown_property
from .graph_objects import (
    DELETED_APPLICATIONS,
    PRINCIPALS,
    application_document,
    application_row,
    entity_id,
    object_document,
    principal_document,
    principal_row,
)
from .graph_query import BASE, Document, Kind, listing, project, rows
from .graph_request import BODY, LIST, NO_CONTENT, OPTIONAL_BODY, SELECT, Answer, GraphRequest, Route, Routes

MAX_IDS: Final = 1000
_TYPES: Final = ("application", "group", "serviceprincipal", "user")
_OTHER_TYPES: Final = ("directoryobject", "device", "orgcontact", "administrativeunit", "directoryrole", "contact")


def _get_by_ids(request: GraphRequest) -> Answer:
    """Return the objects that there are; unknown ids are simply absent from the answer.

    The page asks for Directory.Read.All and names nothing less. Here the permission to read any kind of object is enough, and
    objects of the other kinds come with limited information, as lists of mixed kinds do elsewhere. An assumption: whoever
    relies on less than Directory.Read.All tests a refusal too, by a fault with status 403.
    """
    ids, types = request.body.get("ids"), request.body.get("types", ["directoryObject"])
    for name in request.body:
        if name not in ("ids", "types"):
            raise unknown_property(name, "microsoft.graph.getByIds")
    if not isinstance(ids, list) or not ids or not all(isinstance(text, str) and is_guid(text) for text in ids):
        raise invalid_value("ids", "directoryObject", "a list of GUIDs is expected")
    if len(ids) > MAX_IDS:
        raise bad_request(f"Too many ids: at most {MAX_IDS} can be given.")
    if not isinstance(types, list) or not all(isinstance(text, str) and text.lower() in (*_TYPES, *_OTHER_TYPES) for text in types):
        raise invalid_value("types", "directoryObject", "a list of resource types is expected")
    wanted = {text.lower() for text in types}
    found: dict[str, Document] = {}
    for object_id in ids:
        item = request.view.object(object_id)
        if item is None or not ({"directoryobject", type(item).__name__.lower()} & wanted):
            continue
        found[item.id] = object_document(request.view, item, request.caller)
    return Answer(document={"@odata.context": f"{BASE}/$metadata#directoryObjects", "value": list(found.values())})


# --- deleted items -----------------------------------------------------------------------------------------------------


def _deleted_document(request: GraphRequest, entry: Deleted) -> Document:
    if isinstance(entry.item, Application):
        return application_document(request.view, entry.item, entry.at)
    return principal_document(request.view, entry.item, entry.at)


def _list_deleted(request: GraphRequest) -> Answer:
    kind = DELETED_APPLICATIONS if request.target.route.endswith(".application") else PRINCIPALS
    found = []
    for entry in request.view.deleted.values():
        if isinstance(entry.item, Application) and kind is DELETED_APPLICATIONS:
            found.append(application_row(request.view, entry.item, entry.at))
        elif isinstance(entry.item, ServicePrincipal) and kind is PRINCIPALS:
            found.append(principal_row(request.view, entry.item, entry.at))
    return Answer(document=listing(found, kind, request.query, request.target.path))


def _deleted_of(request: GraphRequest) -> Deleted:
    object_id = entity_id(request.keys[0])
    found = request.view.deleted.get(object_id)
    if found is not None and request.writes:
        found = request.directory.deleted.get(object_id)
    if found is None:
        raise not_found(request.keys[0].value)
    return found


def _typed_document(request: GraphRequest, entry: Deleted) -> Document:
    kind = "application" if isinstance(entry.item, Application) else "servicePrincipal"
    return {
        "@odata.context": f"{BASE}/$metadata#directoryObjects/$entity",
        "@odata.type": f"#microsoft.graph.{kind}",
        **_deleted_document(request, entry),
    }


def _get_deleted(request: GraphRequest) -> Answer:
    entry = _deleted_of(request)
    kind = DELETED_APPLICATIONS if isinstance(entry.item, Application) else PRINCIPALS
    return Answer(document=project(_typed_document(request, entry), kind, request.query))


def _restore(request: GraphRequest) -> Answer:
    entry = _deleted_of(request)
    request.caller.require_write(entry.item)
    if request.body:
        raise bad_request("restore takes no parameters here.", "BadRequest")
    if isinstance(entry.item, ServicePrincipal) and request.directory.application(entry.item.client_id) is None:
        # A principal whose registration is gone from this tenant: refused, which is an assumption.
        raise bad_request(f"The appId '{entry.item.client_id}' of the service principal does not reference a valid application object.")
    try:
        item = request.directory.restore(entry.item.id)
    except DirectoryError as exc:
        raise key_in_use(f"The service principal cannot be created, updated, or restored because {exc}.") from exc
    document = application_document(request.directory, item) if isinstance(item, Application) else principal_document(request.directory, item)
    kind = "application" if isinstance(item, Application) else "servicePrincipal"
    return Answer(
        document={"@odata.context": f"{BASE}/$metadata#directoryObjects/$entity", "@odata.type": f"#microsoft.graph.{kind}", **document},
    )


def _purge(request: GraphRequest) -> Answer:
    entry = _deleted_of(request)
    request.caller.require_write(entry.item)
    request.directory.purge(entry.item.id)
    return NO_CONTENT


# --- the tenant --------------------------------------------------------------------------------------------------------

_SKUS: Final = {
    "AAD_PREMIUM": ("078d2b04-f1bd-4111-bbd4-b4b1b354cef4", "41781fb2-bc02-4b7c-bd55-b576c07bb09d"),
    "AAD_PREMIUM_P2": ("84a661c4-e949-4bd2-a560-ed7766fcaf2b", "eec0eb4f-6444-4f95-aba0-50c24d67f998"),
}
_SKU_KIND: Final = Kind(
    "subscribedSku",
    "subscribedSkus",
    frozenset(
        {
            "id",
            "accountId",
            "accountName",
            "appliesTo",
            "capabilityStatus",
            "consumedUnits",
            "prepaidUnits",
            "servicePlans",
            "skuId",
            "skuPartNumber",
            "subscriptionIds",
        }
    ),
)
_ORGANIZATION_KIND: Final = Kind(
    "organization", "organization", frozenset({"id", "displayName", "tenantType", "verifiedDomains", "assignedPlans", "countryLetterCode", "createdDateTime"})
)


def _skus(request: GraphRequest) -> Answer:
    tenant, documents = request.directory.tenant, list[Document]()
    for name in sorted(request.directory.licences):
        sku, plan = _SKUS[name]
        documents.append(
            {
                "id": f"{tenant.id}_{sku}",
                "accountId": tenant.id,
                "accountName": tenant.name,
                "appliesTo": "User",
                "capabilityStatus": "Enabled",
                "consumedUnits": len(request.directory.users),
                "prepaidUnits": {"enabled": 25, "lockedOut": 0, "suspended": 0, "warning": 0},
                "servicePlans": [{"appliesTo": "User", "provisioningStatus": "Success", "servicePlanId": plan, "servicePlanName": name}],
                "skuId": sku,
                "skuPartNumber": name,
                "subscriptionIds": [str(uuid.uuid5(uuid.UUID(tenant.id), name))],
            }
        )
    return Answer(document=listing(rows(documents), _SKU_KIND, request.query, request.target.path))


def _organization(request: GraphRequest) -> Answer:
    tenant = request.directory.tenant
    plans = [
        {"assignedDateTime": "2026-01-01T00:00:00Z", "capabilityStatus": "Enabled", "service": "AADPremiumService", "servicePlanId": _SKUS[name][1]}
        for name in sorted(request.directory.licences)
    ]
    document: Document = {
        "id": tenant.id,
        "displayName": tenant.name,
        "tenantType": "AAD",
        "verifiedDomains": [{"capabilities": "Email", "isDefault": True, "isInitial": True, "name": tenant.domain, "type": "Managed"}],
        "assignedPlans": plans,
        "countryLetterCode": "DE",
        "createdDateTime": "2026-01-01T00:00:00Z",
    }
    return Answer(document=listing(rows([document]), _ORGANIZATION_KIND, request.query, request.target.path))


def routes() -> Routes:
    found: Routes = {
        "directoryObjects/getByIds": {"POST": Route(_get_by_ids, READ_ANY, takes=BODY)},
        "directory/deletedItems/*": {"GET": Route(_get_deleted, READ_DELETED, SELECT), "DELETE": Route(_purge, WRITE_APPS)},
        "directory/deletedItems/*/restore": {"POST": Route(_restore, WRITE_APPS, takes=OPTIONAL_BODY)},
        "subscribedSkus": {"GET": Route(_skus, READ_LICENCES, ("$select",))},
        "organization": {"GET": Route(_organization, READ_ORGANIZATION, ("$select",))},
    }
    for name in ("application", "servicePrincipal"):
        found[f"directory/deletedItems/microsoft.graph.{name}"] = {"GET": Route(_list_deleted, READ_DELETED, LIST)}
    return found
