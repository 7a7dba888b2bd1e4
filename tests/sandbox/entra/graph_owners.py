# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Owners of applications and service principals (api/application-post-owners.md, api/application-delete-owners.md, …).

Their pages ask for Directory.Read.All beside the permission to write; azuread_application_owner's page, for OwnedBy and being
an owner alone. Here the permission to read the kind of object that becomes an owner is asked for too. An assumption.
"""

from __future__ import annotations

from .directory import Application, ServicePrincipal, User
from .graph_auth import READ_APPS, READ_USERS, WRITE_APPS
from .graph_errors import bad_request, not_found
from .graph_objects import OBJECTS, application_of, entity_id, object_document, principal_of, referenced
from .graph_query import listing, rows
from .graph_request import BODY, LIST, NO_CONTENT, Answer, GraphRequest, Route, Routes

Owned = Application | ServicePrincipal


def _owned(request: GraphRequest) -> Owned:
    return application_of(request) if request.target.route.startswith("applications/") else principal_of(request)


def _list(request: GraphRequest) -> Answer:
    found = [request.view.object(owner) for owner in _owned(request).owners]
    documents = [object_document(request.view, item, request.caller) for item in found if item is not None]
    return Answer(document=listing(rows(documents), OBJECTS, request.query, request.target.path))


def _add(request: GraphRequest) -> Answer:
    target = _owned(request)
    request.caller.require_write(target)
    if set(request.body) != {"@odata.id"}:
        raise bad_request("The request body must hold @odata.id and nothing else.")
    owner = referenced(request, request.body["@odata.id"])
    if not isinstance(owner, (User, ServicePrincipal)):
        raise bad_request("The specified object cannot be an owner: only users and service principals can. paramName: owners")
    request.caller.require(READ_USERS if isinstance(owner, User) else READ_APPS)
    if owner.id in target.owners:
        raise bad_request("One or more added object references already exist for the following modified properties: 'owners'.")
    target.owners.append(owner.id)
    return NO_CONTENT


def _remove(request: GraphRequest) -> Answer:
    target = _owned(request)
    request.caller.require_write(target)
    owner = entity_id(request.keys[1])
    if owner not in target.owners:
        raise not_found(request.keys[1].value)
    # The last owner that is a user can't be removed by users; an application may remove itself, and is then locked out.
    target.owners.remove(owner)
    return NO_CONTENT


def routes() -> Routes:
    found: Routes = {}
    for kind in ("applications", "servicePrincipals"):
        found[f"{kind}/*/owners"] = {"GET": Route(_list, READ_APPS, LIST)}
        found[f"{kind}/*/owners/$ref"] = {"POST": Route(_add, WRITE_APPS, takes=BODY)}
        found[f"{kind}/*/owners/*/$ref"] = {"DELETE": Route(_remove, WRITE_APPS)}
    return found
