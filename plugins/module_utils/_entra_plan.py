# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a team's app registration should be, and which changes lead there from what it is: pure, no network.

A registration of the team's own is ours whole: whatever it allows beyond the inventory (another redirect URI, the implicit
flow, other tenants) goes. In one that several teams share, a team owns its redirect URIs and its tags; the rest stays.
Property names are Microsoft Graph's (v1.0, resources ``application`` and ``servicePrincipal``).
"""

from __future__ import annotations

import collections.abc
import dataclasses
import hashlib
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForeignObjectError, RegistrationError
from ansible_collections.platform.gateway_auth.plugins.module_utils._facts import digest
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Group, Team

Object = dict[str, t.Any]

MARK = "gateway-auth."
GRAPH_APP_ID = "00000003-0000-0000-c000-000000000000"
# Delegated permissions of Microsoft Graph that a sign-in uses (learn.microsoft.com/graph/permissions-reference).
SIGN_IN_PERMISSIONS = {
    "openid": "37f7f235-527c-4136-accd-4a02d197296e",
    "profile": "14dad69e-099b-42c9-810b-d002981feec1",
    "email": "64a6cdd6-aab1-4aaf-94b8-3cc8405e90d0",
    "offline_access": "7427e0e9-2fba-42fe-b0c0-848c9e6a8182",
}
# Without it the enterprise application isn't listed in the portal.
PRINCIPAL_TAG = "WindowsAzureActiveDirectoryIntegratedApp"
DEFAULT_ROLE = "00000000-0000-0000-0000-000000000000"
MAX_FEDERATED_NAME = 120
GROUP_CLAIMS = {"security": "SecurityGroup", "application": "ApplicationGroup"}


@dataclasses.dataclass(frozen=True)
class Assignment:
    """A principal that is assigned to the enterprise application; ``kind`` is Graph's ``principalType``."""

    id: str
    principal_id: str
    name: str
    kind: str = "Group"


@dataclasses.dataclass(frozen=True)
class LiveRegistration:
    """What Entra has. ``owners`` and ``assignments`` are None where they weren't read."""

    application: Object | None = None
    principal: Object | None = None
    owners: tuple[str, ...] | None = None
    assignments: tuple[Assignment, ...] | None = None


@dataclasses.dataclass(frozen=True)
class EntraChange:
    """One write. ``operation`` names it, ``body`` is what Graph gets, ``target`` an id where it isn't the application."""

    operation: str  # create_application | update_application | create_principal | update_principal | add_owner | remove_owner | assign | unassign
    action: str  # create | update | adopt | delete
    what: str
    reasons: tuple[str, ...]
    body: Object = dataclasses.field(default_factory=dict)
    target: str = ""
    before: Object = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, t.Any]:
        about = {"kind": "Registration"}
        return {"action": self.action, "object": self.what, "reasons": list(self.reasons), "about": about, "digest": digest([self.body, self.target])}


def describe(team: Team) -> str:
    """How every message names the registration."""
    return f"app registration '{team.registration_name}'" + (f" ({team.client_id})" if team.client_id else "")


# --- is it ours -------------------------------------------------------------------------------------------------------------


def marks(application: Object) -> list[str]:
    """The teams that have put their mark on a registration."""
    tags = [str(tag) for tag in application.get("tags") or []]
    return sorted({tag.partition(":")[0] for tag in tags if tag.startswith(MARK)})


def is_ours(team: Team, application: Object) -> bool:
    return application.get("uniqueName") == team.unique_name or team.unique_name in marks(application)


def refuse_foreign(team: Team, application: Object, adopt: collections.abc.Collection[str]) -> bool:
    """True when the registration is taken over in this run; ForeignObjectError when it isn't ours and may not be."""
    others = [mark for mark in marks(application) if mark != team.unique_name]
    if is_ours(team, application) and others and not team.shared_registration:
        # Taken for the team's own, it would lose the others' redirect URIs.
        raise ForeignObjectError(
            f"App registration {application.get('appId')} ('{application.get('displayName')}') of team '{team.name}' is shared with {', '.join(others)},"
            " which no team of this inventory does; it was left alone.",
            "Name its gateway_auth_client_id for each of the teams that share it, or take those that left out of it (entra_application with state: absent,"
            " or remove their tags in Entra).",
        )
    if is_ours(team, application):
        return False
    if others and not team.shared_registration:
        raise ForeignObjectError(
            f"Team '{team.name}' names app registration {application.get('appId')} ('{application.get('displayName')}'), which belongs to {', '.join(others)}.",
            "Name another gateway_auth_client_id, or name this one for each of the teams that share it.",
        )
    key = f"Application/{application.get('appId')}"
    if "all" not in adopt and key not in adopt:
        raise ForeignObjectError(
            f"App registration {application.get('appId')} ('{application.get('displayName')}') exists and is not ours (no tag {team.unique_name});"
            " it was left alone.",
            f"To take it over: -e adopt='[{key}]'. Or remove gateway_auth_client_id, so that one is created.",
        )
    return True


def refuse_twins(team: Team, deleted: collections.abc.Sequence[Object], namesakes: collections.abc.Sequence[Object]) -> None:
    """Before a creation: nothing deleted that should come back, nothing else that looks like it."""
    if deleted:
        twin = deleted[0]
        raise RegistrationError(
            f"The {describe(team)} was deleted on {twin.get('deletedDateTime')} (application id {twin.get('appId')}) and can be restored for 30 days.",
            f"Bring it back with restore_team -e team={team.id} (the client id stays the same), or delete it for good in Entra.",
        )
    if namesakes:
        ids = ", ".join(str(item.get("appId")) for item in namesakes)
        raise RegistrationError(
            f"Expected no other app registration named '{team.registration_name}', found {ids}, which {'is' if len(namesakes) == 1 else 'are'} not ours.",
            f"To take one over, set gateway_auth_client_id and run with -e adopt='[Application/{namesakes[0].get('appId')}]'; else rename or delete it.",
        )


# --- what it should be --------------------------------------------------------------------------------------------------------


def host_tag(team: Team, uri: str) -> str:
    """In a shared registration the tag that says whose a redirect URI is."""
    return f"{team.unique_name}:{uri.removeprefix('https://').partition('/')[0]}"


def desired_application(team: Team) -> Object:
    """The properties of a registration of the team's own, as Graph takes them."""
    desired: Object = {
        "displayName": team.registration_name,
        # One tenant: its groups decide who enters, and another tenant's tokens have no meaning here.
        "signInAudience": "AzureADMyOrg",
        "groupMembershipClaims": GROUP_CLAIMS[team.groups_claim],
        "api": {"requestedAccessTokenVersion": 2},
        "web": {
            "redirectUris": list(team.redirect_uris),
            "logoutUrl": team.logout_url,
            # The code flow with PKCE is all that is used; tokens in a URL are not.
            "implicitGrantSettings": {"enableAccessTokenIssuance": False, "enableIdTokenIssuance": False},
        },
        "requiredResourceAccess": [
            {"resourceAppId": GRAPH_APP_ID, "resourceAccess": [{"id": identifier, "type": "Scope"} for identifier in SIGN_IN_PERMISSIONS.values()]}
        ],
        "tags": [team.unique_name],
    }
    if team.notes:
        desired["notes"] = team.notes
    return desired


def desired_principal(team: Team) -> Object:
    desired: Object = {"tags": [PRINCIPAL_TAG, team.unique_name]}
    if assigns(team):
        desired["appRoleAssignmentRequired"] = True
    return desired


def assigns(team: Team) -> bool:
    """Whether only assigned groups may sign in: where they decide the claim, or where we assign them."""
    return team.groups_claim == "application" or team.group_assignment == "managed"


def assignable(team: Team) -> tuple[Group, ...]:
    """Groups that have to be assigned: those that may sign in, and where tokens hold only assigned ones those of narrower apps."""
    if team.groups_claim == "application":
        return team.all_groups
    return tuple(dict.fromkeys((*team.allowed_groups, *team.admin_groups)))


# --- the changes ----------------------------------------------------------------------------------------------------------------


def plan(
    team: Team,
    live: LiveRegistration,
    *,
    owners: collections.abc.Sequence[str] = (),
    own_id: str = "",
    adopted: bool = False,
    why: t.Mapping[str, str] | None = None,
) -> list[EntraChange]:
    """The writes that make a managed registration what the inventory says, in their order.

    ``owners``: object ids of gateway_auth_owners; ``own_id``: our own principal, which always stays an owner.
    ``why``: names of groups and owners by id, for the reasons.
    """
    names = dict(why or {})
    changes = [_creation(team)] if live.application is None else _application_changes(team, live.application, adopted)
    changes += _principal_changes(team, live.principal)
    changes += _assignment_changes(team, live.assignments)
    # Last, since it asks for the most permissions: whatever else is right is done by then.
    changes += _owner_changes(team, live, owners, own_id, names)
    return changes


def plan_existing(team: Team, application: Object) -> list[EntraChange]:
    """The one thing we may write to a registration that isn't ours, and only with -e adopt: the team's redirect URIs."""
    return [change for change in [_redirect_change(team, application, dedicated=False)] if change is not None]


def departure(team: Team, live: Object) -> EntraChange:
    """Takes a team's redirect URIs and tags out of a registration that others go on using."""
    tags = [str(tag) for tag in live.get("tags") or []]
    ours = [tag for tag in tags if tag == team.unique_name or tag.startswith(f"{team.unique_name}:")]
    uris = [uri for uri in _redirect_uris(live) if uri in team.redirect_uris or host_tag(team, uri) in tags]
    reasons = [f"remove redirect URI {uri}" for uri in uris] + [f"remove tag {tag}" for tag in ours]
    body = {
        "tags": [tag for tag in tags if tag not in ours],
        "web": {"redirectUris": [uri for uri in _redirect_uris(live) if uri not in uris]},
    }
    return EntraChange("update_application", "update", describe(team), tuple(reasons), body, before=_face(live, body))


def own_secrets(team: Team, application: Object) -> list[str]:
    """Key ids of the client secrets that carry the team's name."""
    return [str(item["keyId"]) for item in application.get("passwordCredentials") or [] if item.get("displayName") == team.unique_name]


def federated_name(team: Team) -> str:
    """URL-friendly, 120 characters at most, never changed once set (learn.microsoft.com/graph, federatedidentitycredential)."""
    name = team.unique_name.replace(".", "-")
    if len(name) <= MAX_FEDERATED_NAME:
        return name
    return f"{name[: MAX_FEDERATED_NAME - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def principal_departure(team: Team, live: Object | None) -> EntraChange | None:
    """Takes a team's tag off the enterprise application that others go on using."""
    tags = [str(tag) for tag in (live or {}).get("tags") or []]
    if team.unique_name not in tags:
        return None
    what = f"enterprise application of the {describe(team)}"
    body = {"tags": [tag for tag in tags if tag != team.unique_name]}
    return EntraChange("update_principal", "update", what, (f"remove tag {team.unique_name}",), body, before=_face(live or {}, body))


def missing_redirect_uris(team: Team, application: Object) -> list[str]:
    there = _redirect_uris(application)
    return [uri for uri in team.redirect_uris if uri not in there]


def _creation(team: Team) -> EntraChange:
    uris = [f"add redirect URI {uri} ({_whose(team, uri)})" for uri in team.redirect_uris]
    return EntraChange(
        "create_application", "create", describe(team), (f"create {describe(team)} for team {team.name}", *uris), desired_application(team), team.unique_name
    )


def _whose(team: Team, uri: str) -> str:
    for app in team.apps:
        if uri == team.redirect_uri(app.hostname):
            return f"app '{app.name}'"
    return "the proxy's own host"


def _redirect_uris(application: Object) -> list[str]:
    return [str(uri) for uri in (application.get("web") or {}).get("redirectUris") or []]


def _application_changes(team: Team, live: Object, adopted: bool) -> list[EntraChange]:
    change = _shared_change(team, live) if team.shared_registration else _dedicated_change(team, live)
    if change is None and not adopted:
        return []
    reasons = change.reasons if change is not None else ()
    body = dict(change.body) if change is not None else {}
    if adopted:
        reasons = (f"take over: no tag {team.unique_name}", *reasons)
        if not team.shared_registration and not live.get("uniqueName"):
            body["uniqueName"] = team.unique_name
    return [EntraChange("update_application", "adopt" if adopted else "update", describe(team), reasons, body, before=_face(live, body))]


def _dedicated_change(team: Team, live: Object) -> EntraChange | None:
    desired = desired_application(team)
    body: Object = {}
    reasons: list[str] = []
    for key in ("displayName", "signInAudience", "groupMembershipClaims", "notes"):
        if key in desired and live.get(key) != desired[key]:
            body[key] = desired[key]
            reasons.append(_changed(key, live.get(key), desired[key]))
    version = (live.get("api") or {}).get("requestedAccessTokenVersion")
    if version != 2:
        body["api"] = desired["api"]
        reasons.append(_changed("api.requestedAccessTokenVersion", version, 2))
    redirects = _redirect_change(team, live, dedicated=True)
    web: Object = dict(redirects.body["web"]) if redirects is not None else {}
    reasons += redirects.reasons if redirects is not None else ()
    live_web = live.get("web") or {}
    if live_web.get("logoutUrl") != team.logout_url:
        web["logoutUrl"] = team.logout_url
        reasons.append(_changed("web.logoutUrl", live_web.get("logoutUrl"), team.logout_url))
    wanted_grants = desired["web"]["implicitGrantSettings"]
    grants = live_web.get("implicitGrantSettings") or {}
    allowed = [key for key in wanted_grants if grants.get(key)]
    if allowed:
        web["implicitGrantSettings"] = wanted_grants
        reasons.append(f"remove {', '.join(allowed)} from web.implicitGrantSettings (only the code flow is used)")
    if web:
        body["web"] = web
    for platform in ("spa", "publicClient"):
        found = (live.get(platform) or {}).get("redirectUris") or []
        if found:
            body[platform] = {"redirectUris": []}
            reasons.append(f"remove {platform}.redirectUris {', '.join(found)} (a public client needs no secret to redeem a code)")
    if live.get("isFallbackPublicClient"):
        body["isFallbackPublicClient"] = False
        reasons.append("change isFallbackPublicClient from true to false (a public client needs no secret)")
    body.update(_permissions(live, reasons))
    body.update(_tags(live, [team.unique_name], [], reasons))
    return EntraChange("update_application", "update", describe(team), tuple(reasons), body) if body else None


def _shared_change(team: Team, live: Object) -> EntraChange | None:
    body: Object = {}
    reasons: list[str] = []
    redirects = _redirect_change(team, live, dedicated=False)
    if redirects is not None:
        body["web"] = redirects.body["web"]
        reasons += redirects.reasons
    wanted = GROUP_CLAIMS[team.groups_claim]
    if live.get("groupMembershipClaims") not in (wanted, "All"):
        body["groupMembershipClaims"] = wanted
        reasons.append(_changed("groupMembershipClaims", live.get("groupMembershipClaims"), wanted))
    ours = [team.unique_name, *(host_tag(team, uri) for uri in team.redirect_uris)]
    gone = [str(tag) for tag in live.get("tags") or [] if str(tag).startswith(f"{team.unique_name}:") and tag not in ours]
    body.update(_tags(live, ours, gone, reasons))
    return EntraChange("update_application", "update", describe(team), tuple(reasons), body) if body else None


def _redirect_change(team: Team, live: Object, *, dedicated: bool) -> EntraChange | None:
    """Redirect URIs are replaced as a whole list, so what stays is part of what is written."""
    there = _redirect_uris(live)
    wanted = list(team.redirect_uris)
    added = [uri for uri in wanted if uri not in there]
    if dedicated:
        removed = [uri for uri in there if uri not in wanted]
    else:
        # Whose a URI is, only our tags can tell.
        tags = set(live.get("tags") or [])
        removed = [uri for uri in there if uri not in wanted and host_tag(team, uri) in tags]
    if not added and not removed:
        return None
    reasons = [f"add redirect URI {uri} ({_whose(team, uri)})" for uri in added]
    reasons += [f"remove redirect URI {uri} ({'no app of the team has this host' if dedicated else 'the team no longer has this host'})" for uri in removed]
    uris = [uri for uri in there if uri not in removed] + added
    return EntraChange(
        "update_application", "update", describe(team), tuple(reasons), {"web": {"redirectUris": uris}}, before=_face(live, {"web": {"redirectUris": 0}})
    )


def _permissions(live: Object, reasons: list[str]) -> Object:
    """What the consent page asks for: ours are added, what the platform added by hand stays."""
    found = [dict(item) for item in live.get("requiredResourceAccess") or []]
    graph = next((item for item in found if item.get("resourceAppId") == GRAPH_APP_ID), None)
    there = {str(access.get("id")) for access in (graph or {}).get("resourceAccess") or []}
    missing = {name: identifier for name, identifier in SIGN_IN_PERMISSIONS.items() if identifier not in there}
    if not missing:
        return {}
    reasons.append(f"add delegated permissions {', '.join(missing)}")
    accesses = [*((graph or {}).get("resourceAccess") or []), *({"id": identifier, "type": "Scope"} for identifier in missing.values())]
    others = [item for item in found if item is not graph]
    return {"requiredResourceAccess": [*others, {"resourceAppId": GRAPH_APP_ID, "resourceAccess": accesses}]}


def _tags(live: Object, ours: collections.abc.Sequence[str], gone: collections.abc.Sequence[str], reasons: list[str]) -> Object:
    there = [str(tag) for tag in live.get("tags") or []]
    missing = [tag for tag in ours if tag not in there]
    if not missing and not gone:
        return {}
    reasons += [f"add tag {tag}" for tag in missing] + [f"remove tag {tag}" for tag in gone]
    return {"tags": [tag for tag in there if tag not in gone] + missing}


def _principal_changes(team: Team, live: Object | None) -> list[EntraChange]:
    what = f"enterprise application of the {describe(team)}"
    desired = desired_principal(team)
    if live is None:
        reasons = [f"create the {what}, without which nobody can sign in"]
        if desired.get("appRoleAssignmentRequired"):
            reasons.append("require assignment: only assigned groups may sign in")
        return [EntraChange("create_principal", "create", what, tuple(reasons), desired)]
    body: Object = {}
    reasons = []
    if "appRoleAssignmentRequired" in desired and not live.get("appRoleAssignmentRequired"):
        body["appRoleAssignmentRequired"] = True
        reasons.append("require assignment: only assigned groups may sign in")
    body.update(_tags(live, desired["tags"], [], reasons))
    return [EntraChange("update_principal", "update", what, tuple(reasons), body, before=_face(live, body))] if body else []


def _owner_changes(team: Team, live: LiveRegistration, owners: collections.abc.Sequence[str], own_id: str, names: t.Mapping[str, str]) -> list[EntraChange]:
    if live.owners is None and live.application is not None:
        return []  # they couldn't be read
    there = [owner.lower() for owner in live.owners or ()]
    own_id = own_id.lower()
    wanted = list(dict.fromkeys([*([own_id] if own_id else []), *owners]))
    what = f"owners of the {describe(team)}"
    changes = []
    for owner in wanted:
        # Whoever creates a registration with Application.ReadWrite.OwnedBy becomes its owner by that.
        if owner not in there and not (live.application is None and owner == own_id):
            reason = "our own identity, which couldn't change the registration otherwise" if owner == own_id else "gateway_auth_owners"
            changes.append(EntraChange("add_owner", "update", what, (f"add owner {names.get(owner, owner)} ({reason})",), target=owner))
    # An empty list says nothing of who else may own it; one that names owners names all of them. Not knowing who we are
    # (an opaque token), we might drop ourselves.
    if owners and own_id and not team.shared_registration:
        for owner in there:
            if owner not in wanted:
                changes.append(
                    EntraChange("remove_owner", "update", what, (f"remove owner {names.get(owner, owner)} (not in gateway_auth_owners)",), target=owner)
                )
    return changes


def _assignment_changes(team: Team, live: tuple[Assignment, ...] | None) -> list[EntraChange]:
    if team.group_assignment != "managed":
        return []
    # A group may be assigned several times, once for each role of the application.
    assigned = [item for item in live or () if item.kind == "Group"]
    there = {item.principal_id.lower() for item in assigned}
    wanted = {group.id: group for group in assignable(team)}
    what = f"assignments of the {describe(team)}"
    changes = [
        EntraChange("assign", "update", what, (f"assign group {named(group)}",), target=identifier)
        for identifier, group in wanted.items()
        if identifier not in there
    ]
    if not team.shared_registration:
        changes += [
            EntraChange("unassign", "update", what, (f"unassign group {item.name or item.principal_id} (no longer allowed)",), target=item.id)
            for item in assigned
            if item.principal_id.lower() not in wanted
        ]
    return changes


def missing_assignments(team: Team, live: LiveRegistration) -> list[Group]:
    """Groups that somebody else has to assign, since nobody of theirs can sign in until then."""
    if team.group_assignment == "managed":
        return []
    needed = assigns(team) or bool((live.principal or {}).get("appRoleAssignmentRequired"))
    if not needed:
        return []
    there = {item.principal_id.lower() for item in live.assignments or ()}
    return [group for group in assignable(team) if group.id not in there]


def named(group: Group) -> str:
    return f"{group.name} ({group.id})" if group.name else group.id


# --- telling ----------------------------------------------------------------------------------------------------------------------


def _changed(key: str, have: t.Any, want: t.Any) -> str:
    return f"set {key} to {want!r}" if have in (None, "") else f"change {key} from {have!r} to {want!r}"


def _face(live: Object, body: Object) -> Object:
    """The part of a live object that a body replaces, for the diff."""
    face: Object = {}
    for key, value in body.items():
        have = live.get(key)
        face[key] = _face(have, value) if isinstance(value, dict) and isinstance(have, dict) else have
    return face
