# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a team's app registration from Microsoft Graph and carries out what ``_entra_plan`` wants.

Order matters for whoever kills a run: the registration comes first and by ``uniqueName``, so that whatever is done twice finds
it instead of making a second one; every later write can be told from what is there whether it is still to do.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import functools
import types
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_plan as planning
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_plan import Assignment, EntraChange, LiveRegistration, describe
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import (
    ForeignObjectError,
    GatewayAuthError,
    GraphConflictError,
    GraphError,
    GraphForbiddenError,
    GraphUncertainError,
    NotReadyError,
    RegistrationError,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph, key, literal
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Group, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._secrets import GROUPS

Object = dict[str, t.Any]

APPLICATION_PROPERTIES = (
    "id,appId,displayName,uniqueName,notes,tags,signInAudience,groupMembershipClaims,api,web,spa,publicClient,isFallbackPublicClient,"
    "requiredResourceAccess,passwordCredentials"
)
PRINCIPAL_PROPERTIES = "id,appId,accountEnabled,appRoleAssignmentRequired,tags"
# Directory objects expand 20 at most (learn.microsoft.com/graph/query-parameters, expand).
EXPANDED = 20
ATTEMPTS = 4
NAMES_PER_CALL = 15  # what `in` takes (learn.microsoft.com/graph/filter-query-parameter)
OVERAGE = 200
SAMPLE = 20
READ_DELETED = frozenset({"Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"})
ASSIGN = "AppRoleAssignment.ReadWrite.All"


@dataclasses.dataclass
class Settled:
    """What a run did (or would do) to one registration, and what Entra has afterwards."""

    live: LiveRegistration
    changes: list[EntraChange] = dataclasses.field(default_factory=list)
    findings: list[str] = dataclasses.field(default_factory=list)

    @property
    def client_id(self) -> str:
        return str((self.live.application or {}).get("appId") or "").lower()


# --- reading -----------------------------------------------------------------------------------------------------------------


def read(graph: Graph, team: Team, *, missing_ok: bool = False, assignments: bool = True) -> LiveRegistration:
    """The registration by its client id where the inventory names one (RegistrationError when that isn't there), else by its unique name.

    ``assignments``: read who is assigned as well, where that matters.
    """
    where = f"/applications(appId={key(team.client_id)})" if team.client_id else f"/applications(uniqueName={key(team.unique_name)})"
    query = {"$select": APPLICATION_PROPERTIES, "$expand": "owners($select=id)"}
    application = graph.get(where, query, what=f"read the {describe(team)}")
    if application is None:
        if team.client_id and not missing_ok:
            raise RegistrationError(
                f"Team '{team.name}': application {team.client_id} doesn't exist in tenant {team.tenant_id}.", "Correct gateway_auth_client_id, or remove it."
            )
        return LiveRegistration()
    return _with_principal(graph, team, application, assignments=assignments)


def read_credentials(graph: Graph, team: Team) -> Object:
    """The registration's id and what is known of its secrets (never a value). RegistrationError when it isn't there."""
    if not team.client_id:
        raise RegistrationError(f"Team '{team.name}': the client id of the {describe(team)} isn't known.", "Run onboard_team first.")
    query = {"$select": "id,appId,displayName,uniqueName,tags,passwordCredentials"}
    found = graph.get(f"/applications(appId={key(team.client_id)})", query, what=f"read the credentials of the {describe(team)}")
    if found is None:
        raise RegistrationError(f"Team '{team.name}': application {team.client_id} doesn't exist in tenant {team.tenant_id}.", "Run onboard_team first.")
    return found


def require_ours(graph: Graph, team: Team) -> Object:
    """``read_credentials`` of a registration that carries the team's mark. ForeignObjectError for any other.

    The client id may come from the team's Secret, and whoever may write that could name any registration that we own.
    """
    application = read_credentials(graph, team)
    if planning.is_ours(team, application):
        return application

    def marked() -> Object | None:
        found = read_credentials(graph, team)
        return found if planning.is_ours(team, found) else None

    refusal = ForeignObjectError(
        f"App registration {application.get('appId')} ('{application.get('displayName')}') isn't of team '{team.name}' (no tag {team.unique_name});"
        " its credentials were left alone.",
        f"If Secret {team.namespace}/{team.proxy_secret} names it, somebody changed key client-id there: run onboard_team, which corrects it.",
    )
    if not team.shared_registration and (planning.marks(application) or str(application.get("uniqueName") or "").startswith(planning.MARK)):
        raise refusal  # another team's, which is never adopted
    try:
        # Adopted just now, it may not have its mark on every replica yet.
        return graph.until(marked, f"the tag {team.unique_name} of the {describe(team)}")
    except NotReadyError as exc:
        raise refusal from exc


def _with_principal(graph: Graph, team: Team, application: Object, *, assignments: bool) -> LiveRegistration:
    owners = [str(item["id"]) for item in application.pop("owners", None) or []]
    if len(owners) >= EXPANDED:
        owners = [
            str(item["id"]) for item in graph.list(f"/applications/{application['id']}/owners", {"$select": "id"}, what=f"list owners of the {describe(team)}")
        ]
    where = f"/servicePrincipals(appId={key(str(application['appId']))})"
    principal = graph.get(where, {"$select": PRINCIPAL_PROPERTIES}, what=f"read the enterprise application of the {describe(team)}")
    assigned = None
    if assignments and principal is not None and (planning.assigns(team) or principal.get("appRoleAssignmentRequired")):
        assigned = _assignments(graph, team, str(principal["id"]))
    return LiveRegistration(application, principal, tuple(owners), assigned)


def _assignments(graph: Graph, team: Team, principal_id: str) -> tuple[Assignment, ...] | None:
    try:
        found = graph.list(f"/servicePrincipals/{principal_id}/appRoleAssignedTo", what=f"list assignments of the {describe(team)}")
    except GraphForbiddenError:
        if team.group_assignment == "managed":
            raise
        return None
    return tuple(
        Assignment(str(item["id"]), str(item["principalId"]), str(item.get("principalDisplayName") or ""), str(item.get("principalType") or ""))
        for item in found
    )


def describe_live(team: Team, live: LiveRegistration) -> Object:
    """A registration as plain data: ids, what it allows, who owns it, its secrets by key id. Never a value."""
    application, principal = live.application, live.principal
    if application is None:
        return {"exists": False}
    web = application.get("web") or {}
    return {
        "exists": True,
        "ours": planning.is_ours(team, application),
        "object_id": application["id"],
        "client_id": str(application["appId"]).lower(),
        "display_name": application.get("displayName"),
        "unique_name": application.get("uniqueName"),
        "redirect_uris": list(web.get("redirectUris") or []),
        "logout_url": web.get("logoutUrl"),
        "group_membership_claims": application.get("groupMembershipClaims"),
        "tags": list(application.get("tags") or []),
        "owners": list(live.owners or ()),
        "service_principal_id": (principal or {}).get("id"),
        "sign_in_enabled": (principal or {}).get("accountEnabled"),
        "assignment_required": (principal or {}).get("appRoleAssignmentRequired"),
        "assigned": None if live.assignments is None else [{"id": item.principal_id, "name": item.name, "type": item.kind} for item in live.assignments],
        "passwords": [
            {"key_id": item.get("keyId"), "name": item.get("displayName"), "hint": item.get("hint"), "expires": item.get("endDateTime")}
            for item in application.get("passwordCredentials") or []
        ],
    }


def deleted_twins(graph: Graph, team: Team) -> list[Object]:
    """Soft-deleted registrations of ours; an application keeps its unique name for the 30 days."""
    path = "/directory/deletedItems/microsoft.graph.application"
    query = {"$select": "id,appId,displayName,uniqueName,tags,deletedDateTime", "$filter": f"displayName eq {literal(team.registration_name)}"}
    found = graph.list(path, query, what=f"look for a deleted {describe(team)}")
    return [item for item in found if planning.is_ours(team, item)]


def _refuse_twins(graph: Graph, team: Team) -> None:
    """Before a creation. With Application.ReadWrite.OwnedBy alone what was deleted can't be listed; then the creation tells."""
    deleted: list[Object] = []
    if not graph.roles or graph.roles & READ_DELETED:
        with contextlib.suppress(GraphForbiddenError):
            deleted = deleted_twins(graph, team)
    planning.refuse_twins(team, deleted, namesakes(graph, team))


def _refuse_second(graph: Graph, team: Team) -> None:
    """Before an adoption: nobody would look after one that we made for the team, and its secrets, any more."""
    first = graph.get(f"/applications(uniqueName={key(team.unique_name)})", {"$select": "id,appId"}, what=f"look for another {describe(team)}")
    if first is not None:
        raise RegistrationError(
            f"Team '{team.name}' has app registration {first.get('appId')} already, made by an earlier run; gateway_auth_client_id names another.",
            "Remove gateway_auth_client_id to go on with that one, or delete it before (entra_application with state: absent, or in Entra): nobody can"
            " sign in from then on until this run is over.",
        )


def _create_application(graph: Graph, team: Team, change: EntraChange) -> Object:
    """By its unique name, so that there is one whatever happens. GraphConflictError when there is one by now: read it and plan again."""
    try:
        created = graph.upsert(f"/applications(uniqueName={key(change.target)})", change.body, what=change.reasons[0])
    except GraphError as exc:
        # Said of what a replica doesn't show yet (an earlier run was killed just now), or of what was deleted.
        if exc.status != 400 or "same value for property uniqueName" not in exc.message:
            raise
        try:
            _await_twin(graph, team)
        except NotReadyError:
            raise RegistrationError(
                f"Entra has an app registration with uniqueName {team.unique_name} that can't be seen: probably a deleted one ({exc.message})",
                f"Bring it back with restore_team -e team={team.id} (as an identity with Application.Read.All), or delete it for good in Entra.",
            ) from exc
        created = None
    if created is None:
        _await_twin(graph, team)
        raise GraphConflictError(f"The {describe(team)} was created by somebody else at the same moment.", "Run again.")
    return created


def _await_twin(graph: Graph, team: Team) -> None:
    graph.until(lambda: read(graph, team).application, f"the {describe(team)}, which is there, to be readable")


def namesakes(graph: Graph, team: Team) -> list[Object]:
    query = {"$select": "id,appId,displayName,uniqueName,tags", "$filter": f"displayName eq {literal(team.registration_name)}"}
    found = graph.list("/applications", query, what=f"look for app registrations named '{team.registration_name}'")
    return [item for item in found if not planning.is_ours(team, item)]


# --- settling ----------------------------------------------------------------------------------------------------------------


def settle(
    graph: Graph,
    team: Team,
    *,
    adopt: collections.abc.Collection[str],
    check: bool,
    owners: collections.abc.Mapping[str, str],
    restoring: bool = False,
) -> Settled:
    """Make a managed registration what the inventory says. ``owners``: names by object id, of gateway_auth_owners.

    ``restoring``: in check mode it isn't there, since nothing restored it.

    Somebody else's write in between (409, 412), or a write whose answer was lost, is met by reading and planning again.
    """
    done: list[EntraChange] = []
    unsure: EntraChange | None = None
    for attempt in range(ATTEMPTS):
        live = read(graph, team, missing_ok=restoring and check)
        adopted = False
        if live.application is None and restoring and check:
            return Settled(live, [], ["What else changes of the app registration is known once it is restored."])
        if live.application is None:
            _refuse_twins(graph, team)
        else:
            adopted = planning.refuse_foreign(team, live.application, adopt)
            if adopted:
                _refuse_second(graph, team)
        names = {**owners, **{group.id: planning.named(group) for group in team.all_groups}}
        changes = planning.plan(team, live, owners=list(owners), own_id=graph.principal_id, adopted=adopted, why=names)
        if unsure is not None and (unsure.operation, unsure.target) not in [(change.operation, change.target) for change in changes]:
            done.append(unsure)  # only its answer was lost
        if any(change.operation == "assign" for change in changes):
            _require_assignment(graph, team)
        if check or not changes:
            return Settled(live, [*done, *changes], _findings(graph, team, live, changes))
        before = len(done)
        try:
            _carry_out(graph, team, live, changes, done)
        except (GraphConflictError, GraphUncertainError) as exc:
            if attempt == ATTEMPTS - 1:
                raise _blame(exc, done) from exc
            failed = changes[len(done) - before]
            # A creation by unique name that finds one there has written to it all that it asks for.
            unsure = failed if isinstance(exc, GraphUncertainError) or failed.operation == "create_application" else None
            continue
        except GatewayAuthError as exc:
            raise _blame(exc, done) from exc
        try:
            if team.shared_registration:
                # Whoever changes it next must see this, or would write the lists as they were.
                after = _await_settled(graph, team, list(owners))
            else:
                after = live if live.application is not None and not _structural(changes) else _await(graph, team)
        except GatewayAuthError as exc:
            raise _blame(exc, done) from exc
        return Settled(after, done, _findings(graph, team, after, changes))
    raise AssertionError("unreachable: the last attempt returns or raises")


def settle_existing(graph: Graph, team: Team, *, adopt: collections.abc.Collection[str], check: bool) -> tuple[list[EntraChange], list[str]]:
    """Read a registration that isn't ours, and say what it lacks; its redirect URIs are added only with -e adopt."""
    live = read(graph, team)
    application = live.application or {}
    findings = []
    claims = application.get("groupMembershipClaims")
    if claims not in (planning.GROUP_CLAIMS[team.groups_claim], "All"):
        findings.append(
            f"The {describe(team)} has groupMembershipClaims {claims!r}; with gateway_auth_groups_claim: {team.groups_claim}"
            f" it should be {planning.GROUP_CLAIMS[team.groups_claim]}, or tokens lack the groups."
        )
    missing = planning.missing_redirect_uris(team, application)
    change = next(iter(planning.plan_existing(team, application)), None)
    if missing and not ("all" in adopt or f"Application/{team.client_id}" in adopt):
        raise RegistrationError(
            f"The {describe(team)} lacks redirect URIs (type Web): {' '.join(missing)}.",
            f"Add them in Entra, or let us: -e adopt='[Application/{team.client_id}]'.",
        )
    if change is None:
        return [], findings
    if not check:
        graph.update(f"/applications/{application['id']}", change.body, what=f"add redirect URIs to the {describe(team)}")
    return [change], findings


def _structural(changes: collections.abc.Iterable[EntraChange]) -> bool:
    return any(change.operation.startswith("create") for change in changes)


def _await(graph: Graph, team: Team) -> LiveRegistration:
    """What was just created, once Entra shows it (replication takes seconds)."""

    def seen() -> LiveRegistration | None:
        try:
            live = read(graph, team, assignments=False)
        except RegistrationError:
            return None
        # Whoever had to be assigned by us is; nobody else can be, of something so new.
        return dataclasses.replace(live, assignments=()) if live.application is not None and live.principal is not None else None

    return graph.until(seen, f"the {describe(team)} to be readable")


def _await_settled(graph: Graph, team: Team, owners: list[str]) -> LiveRegistration:
    return _await_shown(graph, team, lambda live: not planning.plan(team, live, owners=owners, own_id=graph.principal_id))


def _await_shown(graph: Graph, team: Team, holds: collections.abc.Callable[[LiveRegistration], bool]) -> LiveRegistration:
    def seen() -> LiveRegistration | None:
        live = read(graph, team)
        return live if holds(live) else None

    return graph.until(seen, f"the change of the {describe(team)} to be readable, and nobody to undo it")


def _blame(exc: GatewayAuthError, done: list[EntraChange]) -> GatewayAuthError:
    exc.changes_done = [change.to_dict() for change in done]  # type: ignore[attr-defined]
    return exc


def _carry_out(graph: Graph, team: Team, live: LiveRegistration, changes: list[EntraChange], done: list[EntraChange]) -> None:
    application_id = str((live.application or {}).get("id") or "")
    client_id = str((live.application or {}).get("appId") or "")
    principal_id = str((live.principal or {}).get("id") or "")
    for change in changes:
        what = f"{change.reasons[0]}"
        if change.operation == "create_application":
            created = _create_application(graph, team, change)
            application_id, client_id = str(created["id"]), str(created["appId"])
        elif change.operation == "update_application":
            graph.update(f"/applications/{application_id}", change.body, what=what)
        elif change.operation == "create_principal":
            principal_id = _create_principal(graph, client_id, change, what)
        elif change.operation == "update_principal":
            graph.update(f"/servicePrincipals/{principal_id}", change.body, what=what)
        elif change.operation == "add_owner":
            owners = f"/applications/{application_id}/owners"
            graph.until(functools.partial(_add_owner, graph, owners, change.target, what), what)
        elif change.operation == "remove_owner":
            graph.delete(f"/applications/{application_id}/owners/{change.target}/$ref", what=what)
        elif change.operation == "assign":
            body = {"principalId": change.target, "resourceId": principal_id, "appRoleId": planning.DEFAULT_ROLE}
            graph.until(functools.partial(_assign, graph, f"/servicePrincipals/{principal_id}/appRoleAssignedTo", body, what), what)
        elif change.operation == "unassign":
            graph.delete(f"/servicePrincipals/{principal_id}/appRoleAssignedTo/{change.target}", what=what)
        done.append(change)


def _create_principal(graph: Graph, client_id: str, change: EntraChange, what: str) -> str:
    """For some seconds after a creation Entra may not know the application that it made (replication)."""
    path = f"/servicePrincipals(appId={key(client_id)})"

    def attempt() -> str | None:
        created = graph.upsert(path, change.body, what=what)
        if created is not None:
            return str(created["id"])
        found = graph.get(path, {"$select": "id"}, what=what)
        return str(found["id"]) if found is not None else None

    return graph.until(attempt, what)


def _add_owner(graph: Graph, path: str, who: str, what: str) -> bool:
    graph.add_reference(path, who, what=what)
    return True


def _assign(graph: Graph, path: str, body: Object, what: str) -> bool:
    try:
        graph.create(path, body, what=what)
    except GraphError as exc:
        # Somebody assigned it in between (learn.microsoft.com/graph, serviceprincipal-post-approleassignedto: 400).
        if exc.status == 400 and "already exists" in exc.message:
            return True
        raise
    return True


def _require_assignment(graph: Graph, team: Team) -> None:
    """Assigning groups takes a strong permission and a licence; said before anything is written."""
    if graph.roles and ASSIGN not in graph.roles and "Directory.AccessAsUser.All" not in graph.roles:
        raise RegistrationError(
            f"Team '{team.name}': gateway_auth_group_assignment is managed, but this identity has no {ASSIGN}.",
            "Grant it (docs/entra.md says how strong it is), or set gateway_auth_group_assignment: external and have an administrator assign the groups.",
        )
    try:
        skus = graph.list("/subscribedSkus", {"$select": "servicePlans"}, what="read the tenant's licences")
    except GraphForbiddenError:
        return  # the assignment itself will tell
    plans = {str(plan.get("servicePlanName")) for sku in skus for plan in sku.get("servicePlans") or [] if plan.get("provisioningStatus") != "Disabled"}
    if not plans & {"AAD_PREMIUM", "AAD_PREMIUM_P2"}:
        raise RegistrationError(
            f"Team '{team.name}': gateway_auth_group_assignment is managed, which needs an Entra ID P1 licence; the tenant has none.",
            "Set gateway_auth_group_assignment: external (users can be assigned one by one without P1), or buy the licence.",
        )


# --- what a person has to know or do ------------------------------------------------------------------------------------------


def _findings(graph: Graph, team: Team, live: LiveRegistration, changes: list[EntraChange]) -> list[str]:
    findings = []
    if live.principal is not None and live.principal.get("accountEnabled") is False:
        findings.append(
            f"Sign-in to the {describe(team)} is switched off in Entra; it was left off, since somebody meant it. "
            "Switch it on in the portal (Enterprise applications, Properties), or with entra_application and state: enabled."
        )
    if live.application is not None and team.shared_registration and live.application.get("signInAudience") != "AzureADMyOrg":
        findings.append(
            f"The {describe(team)} takes sign-ins of other tenants (signInAudience {live.application.get('signInAudience')}); set it to AzureADMyOrg."
        )
    unassigned = planning.missing_assignments(team, live)
    if unassigned and live.assignments is not None:
        groups = ", ".join(planning.named(group) for group in unassigned)
        findings.append(
            f"An administrator must assign to the enterprise application '{team.registration_name}': {groups}. Nobody of theirs can sign in until then."
        )
    elif unassigned:
        groups = ", ".join(planning.named(group) for group in unassigned)
        findings.append(
            f"An administrator must assign to the enterprise application '{team.registration_name}', if it isn't yet: {groups}."
            " This identity may not read assignments (Application.Read.All or Directory.Read.All would let it)."
        )
    assigning = [change.target for change in changes if change.operation == "assign"]
    if assigning or (changes and unassigned and live.assignments is not None):
        findings += nested_groups(graph, [group for group in team.all_groups if group.id in {*assigning, *(group.id for group in unassigned)}])
    return findings


def nested_groups(graph: Graph, groups: collections.abc.Iterable[Group]) -> list[str]:
    """Groups in an assigned group: their members aren't assigned by that (one call for each group)."""
    findings: list[str] = []
    for group in groups:
        try:
            inner = graph.list(
                f"/groups/{group.id}/members/microsoft.graph.group",
                {"$select": "id,displayName"},
                eventual=True,  # a cast is an advanced query (learn.microsoft.com/graph/aad-advanced-queries)
                what=f"read members of group {planning.named(group)}",
            )
        except GraphForbiddenError:
            return findings
        if inner:
            names = ", ".join(str(item.get("displayName") or item["id"]) for item in inner)
            findings.append(
                f"Group {planning.named(group)} contains {names}: assignment doesn't cascade, so their members can't sign in. Allow those groups by themselves."
            )
    return findings


# --- people and groups -----------------------------------------------------------------------------------------------------------


def group_by_name(graph: Graph, name: str) -> str:
    """The id of the one group of a name. RegistrationError for none or several."""
    query = {"$select": "id,displayName,securityEnabled", "$filter": f"displayName eq {literal(name)}"}
    found = graph.list("/groups", query, what=f"find group '{name}'")
    if len(found) != 1:
        ids = ", ".join(str(item["id"]) for item in found) or "none"
        raise RegistrationError(
            f"Expected one group named '{name}' in Entra, found {ids}.",
            "Write its object id beside the name in the inventory." if found else "Correct the name, or write the group's object id.",
        )
    if found[0].get("securityEnabled") is False:
        raise RegistrationError(
            f"Group '{name}' ({found[0]['id']}) isn't security-enabled, so Entra puts it in no token. Nothing was written.", "Name a security group."
        )
    return str(found[0]["id"]).lower()


def judge_groups(
    team: Team, found: collections.abc.Mapping[str, Object] | None, remembered: collections.abc.Mapping[str, str] = types.MappingProxyType({})
) -> list[str]:
    """Refuse groups that can let nobody in, before anything is written; ``found``: what Entra has, None when we may not ask.

    ``remembered``: ids by name that an earlier run found; of the others that have but a name, ``group_by_name`` judged.
    """
    if found is None:
        return ["Nobody checked that the groups exist: this identity may not read groups (GroupMember.Read.All would let it)."]
    problems = []
    for group in team.all_groups:
        if team.group_ids.get(group.name) == group.id and remembered.get(group.name) != group.id:
            continue  # found by its name a moment ago
        entry = found.get(group.id)
        kept = f" (as annotation {GROUPS} of Secret {team.proxy_secret} has it; remove it to have the name looked up anew)" if group.name in remembered else ""
        if entry is None:
            problems.append(f"group {planning.named(group)} doesn't exist in tenant {team.tenant_id}{kept}")
        elif entry.get("securityEnabled") is False:
            problems.append(f"group {planning.named(group)} isn't security-enabled, so Entra puts it in no token{kept}")
    if problems:
        raise RegistrationError(
            f"Team '{team.name}': {'; '.join(problems)}. Nothing was written.", "Correct gateway_auth_allowed_groups, gateway_auth_admin_groups or the app's."
        )
    return []


def crowded(graph: Graph, team: Team, sample: int = SAMPLE) -> tuple[int, list[str]]:
    """How many members of the team's groups were asked for, and those whose groups don't fit into a token.

    Above 200 groups Entra sends none at all (learn.microsoft.com/entra/identity-platform/id-token-claims-reference, groups overage
    claim). At most ``sample`` members of each group are looked at, each by one call.
    """
    members: dict[str, str] = {}
    for group in dict.fromkeys((*team.allowed_groups, *team.admin_groups)):
        query = {"$select": "id,userPrincipalName", "$top": str(sample)}
        page = graph.get(f"/groups/{group.id}/transitiveMembers", query, what=f"read members of group {planning.named(group)}") or {}
        for item in page.get("value") or []:
            if item.get("userPrincipalName"):
                members[str(item["id"])] = str(item["userPrincipalName"])
    over = []
    for member, name in members.items():
        query = {"$select": "id", "$top": "1"}
        found = graph.get(f"/users/{member}/transitiveMemberOf", query, eventual=True, what=f"count the groups of {name}") or {}
        count = int(found.get("@odata.count") or 0)
        if count > OVERAGE:
            over.append(f"{name} ({count})")
    return len(members), over


def owner_ids(graph: Graph, team: Team) -> dict[str, str]:
    """gateway_auth_owners by object id. A user principal name is looked up, an id is taken as it is."""
    names = [owner for owner in team.owners if "@" in owner]
    ids: dict[str, str] = {}
    for start in range(0, len(names), NAMES_PER_CALL):
        listed = ",".join(literal(name) for name in names[start : start + NAMES_PER_CALL])
        query = {"$select": "id,userPrincipalName", "$filter": f"userPrincipalName in ({listed})"}
        for user in graph.list("/users", query, what=f"find owners of team {team.name}"):
            ids[str(user["userPrincipalName"]).lower()] = str(user["id"]).lower()
    missing = [name for name in names if name.lower() not in ids]
    if missing:
        raise RegistrationError(f"Team '{team.name}': owner {', '.join(missing)} doesn't exist in Entra.", "Correct gateway_auth_owners.")
    return {ids.get(owner.lower(), owner.lower()): owner for owner in team.owners}


# --- leaving and coming back ------------------------------------------------------------------------------------------------------


def set_enabled(graph: Graph, team: Team, live: LiveRegistration, *, enabled: bool, check: bool) -> EntraChange | None:
    """Let people sign in, or nobody: what Entra calls ``accountEnabled`` takes effect at the next sign-in or refresh."""
    if live.application is None or live.principal is None or live.principal.get("accountEnabled") is not (not enabled):
        return None
    others = _others(team, live.application)
    if not enabled and (others or team.shared_registration):
        raise RegistrationError(
            f"The {describe(team)} is shared with {', '.join(others) or 'other teams'}, who would lose their sign-in too; it was left on.",
            "Take the team out of it instead (entra_application with state: absent).",
        )
    word = "on" if enabled else "off"
    what = f"enterprise application of the {describe(team)}"
    change = EntraChange("update_principal", "update", what, (f"switch sign-in {word}",), {"accountEnabled": enabled}, before={"accountEnabled": not enabled})
    if not check:
        graph.update(f"/servicePrincipals/{live.principal['id']}", change.body, what=f"switch sign-in {word} for the {describe(team)}")
    return change


def _others(team: Team, application: Object) -> list[str]:
    """Other teams that have their mark on it. RegistrationError when it isn't the team's at all."""
    if not planning.is_ours(team, application) and not team.shared_registration:
        raise RegistrationError(
            f"App registration {application.get('appId')} isn't ours (no tag {team.unique_name}); it was left alone.", "Change or remove it in Entra by hand."
        )
    return [mark for mark in planning.marks(application) if mark != team.unique_name]


def remove(graph: Graph, team: Team, live: LiveRegistration, *, check: bool) -> list[EntraChange]:
    """Soft-delete a registration of the team's own; in a shared one take away the team's part."""
    application = live.application
    if application is None:
        return []
    if _others(team, application) or team.shared_registration:
        return _take_out(graph, team, application, live.principal, check=check)
    change = EntraChange("delete_application", "delete", describe(team), ("soft-delete it; for 30 days it can be restored with the same client id",))
    if not check:
        graph.delete(f"/applications/{application['id']}", what=f"delete the {describe(team)}")
    return [change]


def _take_out(graph: Graph, team: Team, application: Object, principal: Object | None, *, check: bool) -> list[EntraChange]:
    # The registration last: its tags tell a later run that there is something to do.
    where = f"/applications/{application['id']}"
    paths = {"update_principal": f"/servicePrincipals/{(principal or {}).get('id')}", "update_application": where}
    found = (planning.principal_departure(team, principal), planning.departure(team, application))
    changes = [change for change in found if change is not None and change.reasons]
    credentials = _own_credentials(graph, team, application)
    for change in credentials if not check else ():
        _remove_credential(graph, where, change)
    for change in changes if not check else ():
        graph.update(paths[change.operation], change.body, what=f"take team {team.name} out of the {describe(team)}")
    if changes and not check:
        _await_shown(graph, team, lambda live: not planning.departure(team, live.application or {}).reasons)
    return [*credentials, *changes]


def _own_credentials(graph: Graph, team: Team, application: Object) -> list[EntraChange]:
    """What only the team signed in with: it would go on opening a registration that others use."""
    whose = f"of the {describe(team)}"
    changes = [
        EntraChange("remove_password", "delete", f"client secret {key_id} {whose}", ("revoke it: the team leaves",), target=key_id)
        for key_id in planning.own_secrets(team, application)
    ]
    name = planning.federated_name(team)
    trusts = graph.list(f"/applications/{application['id']}/federatedIdentityCredentials", what=f"list federated credentials {whose}")
    if name in [item.get("name") for item in trusts]:
        changes.append(EntraChange("remove_trust", "delete", f"federated credential '{name}' {whose}", ("remove it: the team leaves",), target=name))
    return changes


def _remove_credential(graph: Graph, where: str, change: EntraChange) -> None:
    what = f"remove {change.what}"

    def attempt() -> bool | None:
        try:
            if change.operation == "remove_trust":
                graph.delete(f"{where}/federatedIdentityCredentials/{change.target}", what=what)
            else:
                graph.call(f"{where}/removePassword", {"keyId": change.target}, what=what)
        except GraphConflictError:
            return None  # Entra takes one change of an application at a time
        except GraphError as exc:
            if exc.status not in (400, 404):  # gone already
                raise
        return True

    graph.until(attempt, what)


def restore(graph: Graph, team: Team, *, check: bool) -> list[EntraChange]:
    """Bring a soft-deleted registration back, and its enterprise application, which is a deleted item of its own."""
    live = read(graph, team, missing_ok=True)
    if live.principal is not None:
        return []  # and nobody needs the permission to see what was deleted
    twins = deleted_twins(graph, team)
    if len(twins) > 1:
        ids = ", ".join(f"{item['appId']} (deleted {item.get('deletedDateTime')})" for item in twins)
        raise RegistrationError(f"Found several deleted twins of the {describe(team)}: {ids}.", "Restore the right one in the portal.")
    found = twins[0] if twins else live.application
    if found is None:
        raise RegistrationError(f"Found no deleted {describe(team)} to restore.", "After 30 days, or once deleted for good, it is gone: onboard the team anew.")
    changes = []
    if twins:
        reason = f"restore application {found['appId']}, deleted {found.get('deletedDateTime')}"
        changes.append(EntraChange("restore_application", "create", describe(team), (reason,)))
    what = f"enterprise application of the {describe(team)}"
    # Also where an earlier run was killed between the two.
    principals = _deleted_principals(graph, team, found)
    changes += [EntraChange("restore_principal", "create", what, ("restore it",), target=str(item["id"])) for item in principals]
    for change in changes if not check else ():
        target = change.target or str(found["id"])
        graph.call(f"/directory/deletedItems/{target}/restore", {}, what=change.reasons[0])
    if changes and not check:
        # By its client id: one that teams share bears another team's unique name.
        where = f"/applications(appId={key(str(found['appId']))})"
        graph.until(lambda: graph.get(where, {"$select": "id"}, what=f"read the {describe(team)}"), f"the restored {describe(team)} to be readable")
    return changes


def _deleted_principals(graph: Graph, team: Team, application: Object) -> list[Object]:
    query = {"$select": "id,appId", "$filter": f"appId eq {literal(str(application['appId']))}"}
    return graph.list(
        "/directory/deletedItems/microsoft.graph.servicePrincipal", query, what=f"look for the deleted enterprise application of the {describe(team)}"
    )


def purge(graph: Graph, team: Team, *, check: bool) -> list[EntraChange]:
    """Delete for good what was soft-deleted, and its enterprise application. Nothing brings it back."""
    changes = []
    twins = deleted_twins(graph, team)
    others = sorted({mark for twin in twins for mark in planning.marks(twin) if mark != team.unique_name})
    if others:
        raise RegistrationError(
            f"The deleted {describe(team)} was shared with {', '.join(others)}, who could not get it back either; nothing was deleted for good.",
            "Restore it, or delete it for good in Entra by hand.",
        )
    for twin in twins:
        changes.append(EntraChange("purge_application", "delete", describe(team), (f"delete application {twin['appId']} for good",)))
        # The application last: by it a later run finds what is left.
        doomed = [*_deleted_principals(graph, team, twin), twin]
        for item in doomed if not check else ():
            graph.delete(f"/directory/deletedItems/{item['id']}", what=f"delete the {describe(team)} for good")
    return changes
