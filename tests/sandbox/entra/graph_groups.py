# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Groups and users.

Sources, under api-reference/v1.0/api: group-list.md, group-post-groups.md, group-list-members.md, group-post-members.md,
group-list-transitivemembers.md, user-get.md, user-list-transitivememberof.md. Security groups only, which are deleted for
good at once.
"""

from __future__ import annotations

from .directory import Group, ServicePrincipal, User, new_id
from .graph_auth import READ_GROUPS, READ_MEMBERSHIPS, READ_USERS, WRITE_GROUPS, WRITE_MEMBERS
from .graph_errors import bad_request, invalid_value, not_found
from .graph_objects import GROUPS, OBJECTS, USERS, entity_id, group_document, group_of, object_document, referenced, sorted_objects, user_document
from .graph_query import Document, context, listing, project, rows
from .graph_request import BODY, LIST, NO_CONTENT, SELECT, Answer, GraphRequest, Route, Routes
from .graph_schema import GROUP

# --- groups ------------------------------------------------------------------------------------------------------------


def _list(request: GraphRequest) -> Answer:
    return Answer(document=listing(rows([group_document(group) for group in request.view.groups.values()]), GROUPS, request.query, request.target.path))


def _get(request: GraphRequest) -> Answer:
    document = project(group_document(group_of(request)), GROUPS, request.query)
    return Answer(document={"@odata.context": context(GROUPS, request.query, entity=True), **document})


def _create(request: GraphRequest) -> Answer:
    values = GROUP.read(request.body)
    for name in ("displayName", "mailEnabled", "mailNickname", "securityEnabled"):
        if name not in values:
            raise invalid_value(name, "group", "it is required")
    _check_kind(values)
    # Everything named has to be there before anything is made.
    members, owners = ([referenced(request, url) for url in _urls(values, name)] for name in ("members@odata.bind", "owners@odata.bind"))
    group = Group(new_id(), str(values["displayName"]), mail_nickname=str(values["mailNickname"]), owners=[request.caller.principal_id])
    _apply(group, values)
    request.directory.groups[group.id] = group
    for member in members:
        _join(group, member)
    group.owners += [owner.id for owner in owners]
    return Answer(201, {"@odata.context": context(GROUPS, request.query, entity=True), **group_document(group)})


def _urls(values: dict[str, object], name: str) -> list[object]:
    urls = values.get(name, [])
    return urls if isinstance(urls, list) else []


def _check_kind(values: dict[str, object]) -> None:
    if values.get("mailEnabled", False) or not values.get("securityEnabled", True) or values.get("groupTypes", []) != []:
        raise bad_request("This test double has security groups only: mailEnabled false, securityEnabled true, groupTypes [].")


def _apply(group: Group, values: dict[str, object]) -> None:
    group.name = str(values.get("displayName", group.name))
    group.mail_nickname = str(values.get("mailNickname", group.mail_nickname))
    description = values.get("description", group.description)
    group.description = None if description is None else str(description)


def _update(request: GraphRequest) -> Answer:
    group = group_of(request)
    values = GROUP.read(request.body)
    _check_kind(values)
    members = [referenced(request, url) for url in _urls(values, "members@odata.bind")]
    if "owners@odata.bind" in values:
        raise bad_request("owners@odata.bind can be given on create only.")
    for member in members:
        _join(group, member)
    _apply(group, values)
    return NO_CONTENT


def _delete(request: GraphRequest) -> Answer:
    group = group_of(request)
    request.directory.delete_group(group)
    return NO_CONTENT


# --- members -----------------------------------------------------------------------------------------------------------


def _join(group: Group, member: object) -> None:
    taken = bad_request("One or more added object references already exist for the following modified properties: 'members'.")
    if isinstance(member, User):
        if group.id in member.group_ids:
            raise taken
        member.group_ids.add(group.id)
        return
    member_id = str(getattr(member, "id", ""))
    if member_id == group.id:
        raise bad_request("A group cannot be a member of itself.")
    if member_id in group.members:
        raise taken
    group.members.add(member_id)


def _members(request: GraphRequest) -> Answer:
    group = group_of(request)
    items = request.view.members(group) if "/members" in request.target.route else request.view.transitive_members(group)
    if request.target.route.endswith("/microsoft.graph.group"):  # an OData cast: members of that type only
        items = [item for item in items if isinstance(item, Group)]
    documents = [object_document(request.view, item, request.caller) for item in sorted_objects(items)]
    return Answer(document=listing(rows(documents), OBJECTS, request.query, request.target.path))


def _count(request: GraphRequest, number: int) -> Answer:
    """Answer a `$count` segment, which is an advanced query (https://learn.microsoft.com/graph/aad-advanced-queries)."""
    if not request.query.advanced:
        raise bad_request("$count is not currently supported.")
    return Answer(text=str(number))


def _count_members(request: GraphRequest) -> Answer:
    group = group_of(request)
    items = request.view.members(group) if "/members/" in request.target.route else request.view.transitive_members(group)
    return _count(request, len(items))


def _add_member(request: GraphRequest) -> Answer:
    group = group_of(request)
    if set(request.body) != {"@odata.id"}:
        raise bad_request("The request body must hold @odata.id and nothing else.")
    _join(group, referenced(request, request.body["@odata.id"]))
    return NO_CONTENT


def _remove_member(request: GraphRequest) -> Answer:
    group, member_id = group_of(request), entity_id(request.keys[1])
    user = request.directory.user_by_id(member_id)
    if user is not None and group.id in user.group_ids:
        user.group_ids.discard(group.id)
    elif member_id in group.members:
        group.members.discard(member_id)
    else:
        raise not_found(request.keys[1].value)
    return NO_CONTENT


def _owners(request: GraphRequest) -> Answer:
    found = [request.view.object(owner) for owner in group_of(request).owners]
    documents = [object_document(request.view, item, request.caller) for item in found if item is not None]
    return Answer(document=listing(rows(documents), OBJECTS, request.query, request.target.path))


def _add_owner(request: GraphRequest) -> Answer:
    group = group_of(request)
    if set(request.body) != {"@odata.id"}:
        raise bad_request("The request body must hold @odata.id and nothing else.")
    owner = referenced(request, request.body["@odata.id"])
    if not isinstance(owner, (User, ServicePrincipal)):
        raise bad_request("The specified object cannot be an owner: only users and service principals can. paramName: owners")
    if owner.id in group.owners:
        raise bad_request("One or more added object references already exist for the following modified properties: 'owners'.")
    group.owners.append(owner.id)
    return NO_CONTENT


def _remove_owner(request: GraphRequest) -> Answer:
    group, owner = group_of(request), entity_id(request.keys[1])
    if owner not in group.owners:
        raise not_found(request.keys[1].value)
    group.owners.remove(owner)
    return NO_CONTENT


# --- users -------------------------------------------------------------------------------------------------------------


def _user_of(request: GraphRequest) -> User:
    """Find a user by id or user principal name."""
    wanted = request.keys[0].value.lower()
    found = next((user for user in request.view.users.values() if wanted in (user.id, user.upn.lower())), None)
    if found is None:
        raise not_found(request.keys[0].value)
    return found


def _shown(request: GraphRequest, user: User) -> Document:
    return project(user_document(user, full=bool(request.query.select)), USERS, request.query)


def _list_users(request: GraphRequest) -> Answer:
    full = bool(request.query.select or request.query.filter)
    documents = [user_document(user, full=full) for user in request.view.users.values()]
    return Answer(document=listing(rows(documents), USERS, request.query, request.target.path))


def _get_user(request: GraphRequest) -> Answer:
    return Answer(document={"@odata.context": context(USERS, request.query, entity=True), **_shown(request, _user_of(request))})


def _memberships(request: GraphRequest) -> list[Group]:
    user = _user_of(request)
    direct = "/memberOf" in request.target.route
    ids = user.group_ids if direct else request.view.transitive_group_ids(user)
    return [group for group in request.view.groups.values() if group.id in ids]


def _member_of(request: GraphRequest) -> Answer:
    documents = [object_document(request.view, item, request.caller) for item in sorted_objects(_memberships(request))]
    return Answer(document=listing(rows(documents), OBJECTS, request.query, request.target.path))


def _count_memberships(request: GraphRequest) -> Answer:
    return _count(request, len(_memberships(request)))


def routes() -> Routes:
    found: Routes = {
        "groups": {"GET": Route(_list, READ_GROUPS, LIST), "POST": Route(_create, WRITE_GROUPS, takes=BODY)},
        "groups/*": {
            "GET": Route(_get, READ_GROUPS, SELECT),
            "PATCH": Route(_update, WRITE_GROUPS, takes=BODY),
            "DELETE": Route(_delete, WRITE_GROUPS),
        },
        "groups/*/members/$ref": {"POST": Route(_add_member, WRITE_MEMBERS, takes=BODY)},
        "groups/*/members/*/$ref": {"DELETE": Route(_remove_member, WRITE_MEMBERS)},
        "groups/*/owners": {"GET": Route(_owners, READ_GROUPS, LIST)},
        "groups/*/owners/$ref": {"POST": Route(_add_owner, WRITE_GROUPS, takes=BODY)},
        "groups/*/owners/*/$ref": {"DELETE": Route(_remove_owner, WRITE_GROUPS)},
        "users": {"GET": Route(_list_users, READ_USERS, LIST)},
        "users/*": {"GET": Route(_get_user, READ_USERS, SELECT)},
    }
    for name in ("members", "transitiveMembers"):
        found[f"groups/*/{name}"] = {"GET": Route(_members, READ_GROUPS, LIST)}
        found[f"groups/*/{name}/microsoft.graph.group"] = {"GET": Route(_members, READ_GROUPS, LIST)}
        found[f"groups/*/{name}/$count"] = {"GET": Route(_count_members, READ_GROUPS)}
    for name in ("memberOf", "transitiveMemberOf"):
        found[f"users/*/{name}"] = {"GET": Route(_member_of, READ_MEMBERSHIPS, LIST)}
        found[f"users/*/{name}/$count"] = {"GET": Route(_count_memberships, READ_MEMBERSHIPS)}
    return found
