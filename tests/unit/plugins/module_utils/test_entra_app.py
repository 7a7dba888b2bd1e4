# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""App registrations against the Entra double: the real client, real HTTP, and what Entra holds in the end."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_app
from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_plan as planning
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_app import Settled
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_plan import LiveRegistration
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import (
    ForeignObjectError,
    GatewayAuthError,
    GraphConflictError,
    GraphError,
    GraphForbiddenError,
    GraphNotFoundError,
    NotReadyError,
    RegistrationError,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.sandbox.entra.graphkit import ALL_ROLES, AUTOMATION, permit
from tests.sandbox.entra.testkit import Double, control
from tests.unit.support.entra import Deadly, Death, Killed, Time, calls, faults, forget, graph, managed, state, tenant, transport, writes

Object = dict[str, t.Any]

OWNED = "Application.ReadWrite.OwnedBy"
LEAST = (OWNED, "GroupMember.Read.All", "User.ReadBasic.All")
ASSIGNING = (*LEAST, "AppRoleAssignment.ReadWrite.All", "Application.Read.All", "Organization.Read.All")
RESTORING = (*LEAST, "Application.Read.All")
NAME = "monitoring team-a (sandbox)"
UNIQUE = "gateway-auth.sandbox.monitoring.team-a"
URIS = [
    "https://prometheus-team-a.apps.example.com/oauth2/callback",
    "https://alertmanager-team-a.apps.example.com/oauth2/callback",
    "https://monitoring-oauth2-team-a.apps.example.com/oauth2/callback",
]
DEVELOPERS, ONCALL, TEAM_B, ADMINS = (f"5f0c0c7e-0000-4000-8000-0000000000{end}" for end in ("a1", "a2", "b1", "ad"))
ALICE, BOB = "alice@gateway-auth.test", "bob@gateway-auth.test"
CAST = {"application team-a", "application team-b", "application automation"}


def present(client: Graph, team: Team, *, adopt: t.Sequence[str] = (), check: bool = False) -> Settled:
    """As the action does it."""
    found = client.objects([group.id for group in team.all_groups], what="look up the groups")
    _entra_app.judge_groups(team, found)
    return _entra_app.settle(client, team, adopt=adopt, check=check, owners=_entra_app.owner_ids(client, team))


def kinds(settled: Settled) -> list[str]:
    return [change.operation for change in settled.changes]


def ours(double: Double) -> list[Object]:
    """Registrations that aren't the cast's, as `GET /state` shows them."""
    return [app for app in state(double)["applications"] if app["name"] not in _cast_names(double)]


def _cast_names(double: Double) -> set[str]:
    return {"application Monitoring team a", "application Monitoring team b", "application Gateway auth automation"}


def the(double: Double) -> Object:
    found = ours(double)
    assert len(found) == 1, [app["name"] for app in found]
    return found[0]


def principal(double: Double, name: str = f"principal {UNIQUE}") -> Object:
    [found] = [item for item in state(double)["servicePrincipals"] if item["name"] == name]
    return t.cast("Object", found)


def by_hand(double: Double, name: str = "Made by hand", **properties: t.Any) -> Object:
    """A registration that somebody made in the portal, owned by the automation unless told otherwise."""
    body = {"display_name": name, "redirect_uris": ["https://by-hand.example.com/cb"], "owners": ["automation"], **properties}
    status, made = control(double, "POST", "/apps", body)
    assert status == 201, made
    return t.cast("Object", made)


def app(double: Double, name: str = UNIQUE) -> Object:
    status, found = control(double, "GET", f"/apps/{name}")
    assert status == 200, found
    return t.cast("Object", found)


def put(double: Double, body: Object, name: str = UNIQUE) -> None:
    status, answer = control(double, "PUT", f"/apps/{name}", body)
    assert status == 200, answer


def narrow(team: Team, *group_ids: str) -> Team:
    from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Group

    groups = tuple(Group(identifier) for identifier in group_ids)
    return dataclasses.replace(team, apps=(dataclasses.replace(team.apps[0], allowed_groups=groups), *team.apps[1:]))


# --- the sequence ---------------------------------------------------------------------------------------------------------------


def test_sequence(double: Double) -> None:
    permit(double, RESTORING)
    team = managed(owners=[ALICE])
    before = state(double)
    foretold = present(graph(double, read_only=True), team, check=True)
    assert kinds(foretold) == ["create_application", "create_principal", "add_owner"]
    assert foretold.client_id == "" and writes(double) == [] and state(double) == before

    forget(double)
    created = present(graph(double), team)
    assert [change.to_dict() for change in created.changes] == [change.to_dict() for change in foretold.changes]
    assert len(calls(double)) <= 10 and len(writes(double)) == 3
    found = the(double)
    assert found["name"] == f"application {UNIQUE}" and found["displayName"] == NAME
    assert sorted(found["web"]["redirectUris"]) == sorted(URIS)
    assert found["groupMembershipClaims"] == "SecurityGroup" and found["signInAudience"] == "AzureADMyOrg"
    assert found["owners"] == ["principal Gateway auth automation", "user alice"]
    assert not principal(double)["appRoleAssignmentRequired"] and UNIQUE in principal(double)["tags"]
    assert created.client_id == app(double)["client_id"] and created.findings == []
    assert created.live.application and created.live.principal

    forget(double)
    again = present(graph(double), team)
    assert again.changes == [] and writes(double) == [] and len(calls(double)) <= 4
    assert again.client_id == created.client_id

    put(double, {"redirect_uris": ["https://evil.example.net/cb", *URIS[:1]], "group_membership_claims": "All"})
    foretold = present(graph(double, read_only=True), team, check=True)
    updated = present(graph(double), team)
    assert [change.to_dict() for change in updated.changes] == [change.to_dict() for change in foretold.changes]
    assert kinds(updated) == ["update_application"]
    assert sorted(the(double)["web"]["redirectUris"]) == sorted(URIS) and the(double)["groupMembershipClaims"] == "SecurityGroup"

    client = graph(double)
    foretold_removal = _entra_app.remove(graph(double, read_only=True), team, _entra_app.read(client, team), check=True)
    removed = _entra_app.remove(client, team, _entra_app.read(client, team), check=False)
    assert removed == foretold_removal and [change.operation for change in removed] == ["delete_application"]
    assert ours(double) == [] and len(state(double)["deletedItems"]) == 2
    assert _entra_app.remove(client, team, _entra_app.read(client, team), check=False) == []


@pytest.mark.parametrize(
    ("overrides", "first", "again"),
    [
        pytest.param({}, 8, 3, id="as it comes"),
        pytest.param({"owners": [ALICE]}, 10, 4, id="an owner"),
        # An owner by name is looked up by one call, each group that is assigned takes one, and one to see whether it holds others.
        pytest.param({"owners": [ALICE, BOB]}, 11, 4, id="two owners"),
        pytest.param({"groups_claim": "application", "admin_groups": [{"id": ADMINS, "name": "platform-admins"}]}, 10, 4, id="two groups to assign by others"),
        pytest.param({"group_assignment": "managed", "admin_groups": [{"id": ADMINS, "name": "platform-admins"}]}, 13, 4, id="two groups to assign"),
    ],
)
def test_what_a_run_costs(double: Double, overrides: Object, first: int, again: int) -> None:
    """Calls of a first run and of a re-run, that of a whole batch for its groups included."""
    permit(double, ASSIGNING)
    team = managed(**overrides)
    for ceiling in (first, again):
        forget(double)
        present(graph(double), team)
        assert len(calls(double)) == ceiling, calls(double)
    assert not writes(double)


# --- adoption ---------------------------------------------------------------------------------------------------------------------


def test_a_registration_made_by_hand_is_adopted_by_its_client_id_alone(double: Double) -> None:
    made = by_hand(double)
    team = managed(client_id=made["client_id"])
    with pytest.raises(ForeignObjectError) as refused:
        present(graph(double), team)
    assert made["client_id"] in str(refused.value) and writes(double) == []

    adopted = present(graph(double), team, adopt=[f"Application/{made['client_id']}"])
    assert adopted.changes[0].action == "adopt" and adopted.client_id == made["client_id"]
    assert the(double)["name"] == f"application {UNIQUE}" and sorted(the(double)["web"]["redirectUris"]) == sorted(URIS)
    forget(double)
    assert present(graph(double), team).changes == [] and writes(double) == []
    assert present(graph(double), managed()).client_id == made["client_id"], "from now on it is found by its unique name too"


def test_a_namesake_is_refused_before_anything_is_written(double: Double) -> None:
    made = by_hand(double, NAME)
    with pytest.raises(RegistrationError) as refused:
        present(graph(double), managed())
    assert made["client_id"] in str(refused.value) and "adopt" in str(refused.value) and writes(double) == []


def test_a_client_id_that_nobody_has(double: Double) -> None:
    with pytest.raises(RegistrationError, match="gateway_auth_client_id"):
        present(graph(double), managed(client_id="12345678-0000-4000-8000-000000000000"))
    assert writes(double) == []


def test_adopting_what_we_do_not_own_names_the_permission(double: Double) -> None:
    made = by_hand(double, owners=["bob"])
    with pytest.raises(GraphForbiddenError) as refused:
        present(graph(double), managed(client_id=made["client_id"]), adopt=["all"])
    assert OWNED in str(refused.value) or "Application.ReadWrite.All" in str(refused.value)
    permit(double, (*LEAST, "Application.ReadWrite.All"))
    assert kinds(present(graph(double), managed(client_id=made["client_id"]), adopt=["all"]))[-1] == "add_owner"
    assert "principal Gateway auth automation" in the(double)["owners"]


# --- several teams in one registration ------------------------------------------------------------------------------------------------


def _sharing(double: Double) -> tuple[Team, Team, str]:
    made = by_hand(double, "Everybody's")
    first = managed(client_id=made["client_id"], shared_registration=True)
    hosts = [{"name": "prometheus", "hostname": "prometheus-team-b.apps.example.com", "service": {"name": "p", "port": 9090, "namespace": "n"}}]
    second = managed(client_id=made["client_id"], shared_registration=True, name="team-b", apps=hosts)
    return first, second, f"/{made['client_id']}"


def test_teams_that_share_one_each_own_their_part(double: Double) -> None:
    first, second, where = _sharing(double)
    adopt = [f"Application/{first.client_id}"]
    before = present(graph(double), first, adopt=adopt)
    assert before.changes[0].action == "adopt"
    present(graph(double), second, adopt=adopt)
    assert set(app(double, where[1:])["redirect_uris"]) == {"https://by-hand.example.com/cb", *first.redirect_uris, *second.redirect_uris}
    for team in (first, second):
        assert present(graph(double), team).changes == []

    smaller = dataclasses.replace(first, apps=first.apps[:1])
    assert kinds(present(graph(double), smaller)) == ["update_application"]
    assert set(app(double, where[1:])["redirect_uris"]) == {"https://by-hand.example.com/cb", *smaller.redirect_uris, *second.redirect_uris}

    client = graph(double)
    removed = _entra_app.remove(client, smaller, _entra_app.read(client, smaller), check=False)
    assert [change.operation for change in removed] == ["update_principal", "update_application"]
    left = app(double, where[1:])
    assert set(left["redirect_uris"]) == {"https://by-hand.example.com/cb", *second.redirect_uris}
    [entry] = [item for item in ours(double) if item["displayName"] == "Everybody's"]
    assert not [tag for tag in entry["tags"] if tag.partition(":")[0] == first.unique_name]
    assert first.unique_name not in principal(double, "principal Everybody's")["tags"], "nothing of the team's stays"
    forget(double)
    assert _entra_app.remove(client, smaller, _entra_app.read(client, smaller), check=False) == [], "gone is gone"
    assert writes(double) == [] and present(graph(double), second).changes == []


@pytest.mark.parametrize("check", [False, True], ids=["live", "check mode"])
def test_what_only_the_team_signed_in_with_leaves_with_it(double: Double, check: bool) -> None:
    first, second, _where = _sharing(double)
    for team in (first, second):
        present(graph(double), team, adopt=["all"])
    client = graph(double)
    application = _entra_app.read(client, first).application or {}
    path = f"/applications/{application['id']}"
    for name in (first.unique_name, second.unique_name, "by hand"):
        client.create(f"{path}/addPassword", {"passwordCredential": {"displayName": name}}, what="add a secret")
    for team in (first, second):
        body = {"issuer": "https://oidc.example.com", "subject": team.workload_subject, "audiences": ["api://AzureADTokenExchange"]}
        client.upsert(f"{path}/federatedIdentityCredentials(name='{planning.federated_name(team)}')", body, what="trust")

    def left() -> tuple[list[str], list[str]]:
        found = _entra_app.read(client, second).application or {}
        trusts = client.list(f"{path}/federatedIdentityCredentials", what="list")
        return sorted(item["displayName"] for item in found["passwordCredentials"]), sorted(item["name"] for item in trusts)

    everything = left()
    changes = _entra_app.remove(graph(double, read_only=check), first, _entra_app.read(client, first), check=check)
    assert [change.operation for change in changes] == ["remove_password", "remove_trust", "update_principal", "update_application"]
    assert left() == (everything if check else (sorted(["by hand", second.unique_name]), [planning.federated_name(second)]))
    again = _entra_app.remove(client, first, _entra_app.read(client, first), check=False)
    assert bool(again) is check, "gone is gone"


def test_whoever_undoes_our_part_of_a_shared_one_at_the_same_time_is_told_of(double: Double) -> None:
    """Another run that had read the list before wrote it after us: that is no success."""
    first, _second, where = _sharing(double)
    client = graph(double)
    send = client._transport

    def undone(method: str, url: str, headers: dict[str, str], body: bytes | None, timeout: float, /) -> t.Any:
        answer = send(method, url, headers, body, timeout)
        if method == "PATCH" and "/applications" in url:
            put(double, {"redirect_uris": ["https://by-hand.example.com/cb"]}, where[1:])
        return answer

    client._transport = undone
    with pytest.raises(NotReadyError) as failed:
        present(client, first, adopt=["all"])
    assert failed.value.changes_done and "again" in str(failed.value)  # type: ignore[attr-defined]
    assert present(graph(double), first).changes


def test_sign_in_of_a_shared_registration_is_not_one_team_s_to_switch_off(double: Double) -> None:
    first, second, _where = _sharing(double)
    for team in (first, second):
        present(graph(double), team, adopt=["all"])
    client = graph(double)
    with pytest.raises(RegistrationError) as refused:
        _entra_app.set_enabled(client, first, _entra_app.read(client, first), enabled=False, check=False)
    assert second.unique_name in str(refused.value)
    assert app(double, first.client_id)["enabled"] is True


def test_sign_ins_of_other_tenants_to_a_shared_one_are_told(double: Double) -> None:
    first, _second, where = _sharing(double)
    put(double, {"properties": {"signInAudience": "AzureADMultipleOrgs"}}, where[1:])
    settled = present(graph(double), first, adopt=["all"])
    assert [finding for finding in settled.findings if "AzureADMultipleOrgs" in finding]


# --- owners -----------------------------------------------------------------------------------------------------------------------------


def test_owners_by_name_and_id_join_and_leave(double: Double) -> None:
    alice, bob = (control(double, "GET", f"/users/{name}")[1]["id"] for name in ("alice", "bob"))
    present(graph(double), managed(owners=[ALICE, bob.upper()]))
    assert the(double)["owners"] == ["principal Gateway auth automation", "user alice", "user bob"]
    changed = present(graph(double), managed(owners=[BOB]))
    assert kinds(changed) == ["remove_owner"] and ALICE not in changed.changes[0].reasons[0] and alice in changed.changes[0].reasons[0]
    assert the(double)["owners"] == ["principal Gateway auth automation", "user bob"]
    assert present(graph(double), managed()).changes == [], "without a list nobody is dropped"


def test_an_owner_who_is_not_there(double: Double) -> None:
    with pytest.raises(RegistrationError) as refused:
        present(graph(double), managed(owners=["nobody@gateway-auth.test"]))
    assert "nobody@gateway-auth.test" in str(refused.value) and "gateway_auth_owners" in str(refused.value) and writes(double) == []


def test_more_owners_than_an_expanded_list_shows(double: Double) -> None:
    present(graph(double), managed())
    many = [f"00000000-1111-4000-8000-{number:012d}" for number in range(25)]
    for number, identifier in enumerate(many):
        control(double, "PUT", f"/groups/g{number}", {"id": identifier})
    names = [f"g{number}" for number in range(25)]
    status, answer = control(double, "PUT", f"/apps/{UNIQUE}", {"owners": ["automation", *many]})
    if status != 200:
        pytest.fail(f"{names}: {answer}")
    live = _entra_app.read(graph(double), managed())
    assert live.owners is not None and len(live.owners) == 26
    assert present(graph(double), managed()).changes == []


# --- groups and assignments ---------------------------------------------------------------------------------------------------------------


def test_managed_assignments(double: Double) -> None:
    permit(double, ASSIGNING)
    team = managed(group_assignment="managed", admin_groups=[{"id": ADMINS, "name": "platform-admins"}])
    created = present(graph(double), team)
    assert kinds(created) == ["create_application", "create_principal", "assign", "assign"]
    assert app(double)["assigned_groups"] == ["platform-admins", "team-a-developers"] and app(double)["assignment_required"] is True
    assert present(graph(double), team).changes == []
    put(double, {"assigned_groups": ["team-a-developers", "team-b-developers"]})
    assert kinds(present(graph(double), team)) == ["assign", "unassign"]
    assert app(double)["assigned_groups"] == ["platform-admins", "team-a-developers"]


def test_managed_assignments_without_the_permission_are_refused_before_anything_is_written(double: Double) -> None:
    with pytest.raises(RegistrationError) as refused:
        present(graph(double), managed(group_assignment="managed"))
    assert "AppRoleAssignment.ReadWrite.All" in str(refused.value) and "external" in str(refused.value) and writes(double) == []


def test_managed_assignments_without_a_licence_are_refused_before_anything_is_written(double: Double) -> None:
    permit(double, ASSIGNING)
    control(double, "PUT", "/tenant", {"licences": []})
    with pytest.raises(RegistrationError) as refused:
        present(graph(double), managed(group_assignment="managed"))
    assert "P1" in str(refused.value) and "external" in str(refused.value) and writes(double) == []


def test_a_licence_that_may_not_be_read_is_left_to_the_assignment_itself(double: Double) -> None:
    permit(double, (*LEAST, "AppRoleAssignment.ReadWrite.All", "Application.Read.All"))
    assert "assign" in kinds(present(graph(double), managed(group_assignment="managed")))
    control(double, "PUT", "/tenant", {"licences": []})
    with pytest.raises(GraphError):
        present(graph(double), managed(group_assignment="managed", admin_groups=[{"id": ADMINS, "name": "platform-admins"}]))


def test_external_assignments_are_told_until_they_are_there(double: Double) -> None:
    permit(double, (*LEAST, "Application.Read.All"))
    team = managed(groups_claim="application")
    told = present(graph(double), team)
    assert [finding for finding in told.findings if DEVELOPERS in finding and "administrator" in finding]
    assert app(double)["assignment_required"] is True and app(double)["group_membership_claims"] == "ApplicationGroup"
    put(double, {"assigned_groups": ["team-a-developers"]})
    again = present(graph(double), team)
    assert again.changes == [] and again.findings == []


def test_assignments_that_may_not_be_read_are_told_all_the_same(double: Double) -> None:
    present(graph(double), managed(groups_claim="application"))
    with faults(double, {"match": {"path_contains": "appRoleAssignedTo"}, "action": {"status": 403, "body": {"error": {"code": "Denied", "message": "no"}}}}):
        told = present(graph(double), managed(groups_claim="application"))
        assert [finding for finding in told.findings if DEVELOPERS in finding and "Application.Read.All" in finding]
        with pytest.raises(GraphForbiddenError):
            present(graph(double), managed(group_assignment="managed"))


def test_members_of_inner_groups_are_told_to_be_left_out(double: Double) -> None:
    permit(double, ASSIGNING)
    control(double, "PUT", f"/groups/{DEVELOPERS}/members", ["alice", "team-a-oncall"])
    told = present(graph(double), managed(group_assignment="managed"))
    assert [finding for finding in told.findings if "team-a-oncall" in finding and DEVELOPERS in finding and "cascade" in finding]


def test_inner_groups_that_may_not_be_read_are_not_spoken_of(double: Double) -> None:
    denied = {"status": 403, "body": {"error": {"code": "Authorization_RequestDenied", "message": "no"}}}
    with faults(double, {"match": {"path_contains": "/members"}, "action": denied}):
        assert _entra_app.nested_groups(graph(double), managed().all_groups) == []


@pytest.mark.parametrize(
    ("name", "words"), [("team-a-oncall", []), ("nobodies", ["nobodies", "none"]), ("twins", ["twins", ONCALL[:-2] + "c1", ONCALL[:-2] + "c2"])]
)
def test_a_group_by_name(double: Double, name: str, words: list[str]) -> None:
    for end, duplicate in (("c1", False), ("c2", True)):
        control(double, "PUT", "/groups/twins", {"id": ONCALL[:-2] + end, "duplicate": duplicate})
    if not words:
        assert _entra_app.group_by_name(graph(double), name) == ONCALL
        return
    with pytest.raises(RegistrationError) as refused:
        _entra_app.group_by_name(graph(double), name)
    assert not [word for word in words if word not in str(refused.value)]


def test_a_group_s_name_is_quoted(double: Double) -> None:
    control(double, "PUT", "/groups/o'neil%20&%20sons", {"id": ONCALL[:-2] + "c3"})
    assert _entra_app.group_by_name(graph(double), "o'neil & sons") == ONCALL[:-2] + "c3"
    with pytest.raises(RegistrationError):
        _entra_app.group_by_name(graph(double), "o' or displayName eq 'team-a-oncall")


@pytest.mark.parametrize(
    ("entry", "word"),
    [(None, "doesn't exist"), ({"id": DEVELOPERS, "securityEnabled": False}, "security-enabled")],
    ids=["not there", "a distribution list"],
)
def test_a_group_that_can_let_nobody_in(entry: Object | None, word: str) -> None:
    team = managed()
    with pytest.raises(RegistrationError) as refused:
        _entra_app.judge_groups(team, {} if entry is None else {DEVELOPERS: entry})
    assert word in str(refused.value) and DEVELOPERS in str(refused.value) and "gateway_auth_allowed_groups" in str(refused.value)


@pytest.mark.parametrize("entry", [{"id": DEVELOPERS, "securityEnabled": True}, {"id": DEVELOPERS}], ids=["a security group", "known by its id alone"])
def test_groups_in_order(entry: Object) -> None:
    assert _entra_app.judge_groups(managed(), {DEVELOPERS: entry}) == []


def test_groups_that_may_not_be_read_are_a_finding() -> None:
    [finding] = _entra_app.judge_groups(managed(), None)
    assert "GroupMember.Read.All" in finding


def test_a_group_found_by_its_name_is_not_looked_up_by_its_id() -> None:
    team = managed(allowed_groups=[{"id": "", "name": "team-a-oncall"}]).resolved("", {"team-a-oncall": ONCALL})
    assert _entra_app.judge_groups(team, {}) == []


def test_members_with_more_groups_than_a_token_holds(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    permit(double, (*LEAST, "Directory.Read.All"))
    control(double, "PUT", "/users/alice/groups", ["team-a-developers", "team-a-oncall", "team-b-developers"])
    team = managed(admin_groups=[{"id": ADMINS, "name": "platform-admins"}])
    asked, over = _entra_app.crowded(graph(double), team)
    assert asked == 3 and over == []
    monkeypatch.setattr(_entra_app, "OVERAGE", 2)
    forget(double)
    asked, over = _entra_app.crowded(graph(double), team)
    assert asked == 3 and over == [f"{ALICE} (3)"]
    assert len(calls(double)) == 2 + 3 and not writes(double)
    forget(double)
    assert _entra_app.crowded(graph(double), team, sample=1)[0] == 2
    assert len(calls(double)) == 4


# --- sign-in, leaving, coming back ---------------------------------------------------------------------------------------------------------


def test_sign_in_is_switched_off_and_on_and_never_by_present(double: Double) -> None:
    team = managed()
    present(graph(double), team)
    client = graph(double)

    def switch(enabled: bool, check: bool = False) -> list[str]:
        change = _entra_app.set_enabled(client, team, _entra_app.read(client, team), enabled=enabled, check=check)
        return [] if change is None else list(change.reasons)

    assert switch(True) == []
    assert switch(False, check=True) and app(double)["enabled"] is True
    assert switch(False) and app(double)["enabled"] is False
    assert switch(False) == []
    settled = present(graph(double), team)
    assert settled.changes == [] and app(double)["enabled"] is False
    assert [finding for finding in settled.findings if "enabled" in finding]
    put(double, {"group_membership_claims": "All"})
    assert kinds(present(graph(double), team)) == ["update_application"] and app(double)["enabled"] is False
    assert switch(True) and app(double)["enabled"] is True


def test_sign_in_of_what_is_not_there_or_not_ours(double: Double) -> None:
    assert _entra_app.set_enabled(graph(double), managed(), LiveRegistration(), enabled=False, check=False) is None
    made = by_hand(double)
    client, team = graph(double), managed(client_id=made["client_id"])
    with pytest.raises(RegistrationError):
        _entra_app.set_enabled(client, team, _entra_app.read(client, team), enabled=False, check=False)
    assert app(double, made["client_id"])["enabled"] is True and writes(double) == []


def test_what_is_not_ours_is_not_removed(double: Double) -> None:
    made = by_hand(double)
    client, team = graph(double), managed(client_id=made["client_id"])
    with pytest.raises(RegistrationError):
        _entra_app.remove(client, team, _entra_app.read(client, team), check=False)
    assert writes(double) == [] and len(ours(double)) == 1


def test_removed_and_restored(double: Double) -> None:
    permit(double, RESTORING)
    team, client = managed(), graph(double)
    first = present(client, team)
    before = state(double)
    with pytest.raises(RegistrationError):
        _entra_app.restore(client, managed(name="team-z"), check=False)
    assert _entra_app.restore(client, team, check=False) == [], "it is there"
    _entra_app.remove(client, team, _entra_app.read(client, team), check=False)
    with pytest.raises(RegistrationError) as refused:
        present(client, team)
    assert first.client_id in str(refused.value) and "restored" in str(refused.value)

    forget(double)
    foretold = _entra_app.restore(graph(double, read_only=True), team, check=True)
    assert writes(double) == []
    restored = _entra_app.restore(client, team, check=False)
    assert restored == foretold and [change.operation for change in restored] == ["restore_application", "restore_principal"]
    assert state(double) == before and present(client, team).client_id == first.client_id
    assert _entra_app.restore(client, team, check=False) == []


@pytest.mark.parametrize("sent", [False, True], ids=["before it is sent", "after it is carried out"])
@pytest.mark.parametrize("at", [0, 1])
def test_a_restore_that_is_killed_is_finished_by_another(double: Double, at: int, sent: bool) -> None:
    permit(double, RESTORING)
    team, client = managed(), graph(double)
    present(client, team)
    before = state(double)
    _entra_app.remove(client, team, _entra_app.read(client, team), check=False)
    with pytest.raises(Killed):
        _entra_app.restore(graph(double, through=Deadly(transport(double), Death(at, sent=sent))), team, check=False)
    _entra_app.restore(client, team, check=False)
    assert state(double) == before


def test_several_deleted_twins_are_not_chosen_from(double: Double) -> None:
    permit(double, ALL_ROLES)
    client, team = graph(double), managed()
    for _time in range(2):
        made = by_hand(double, NAME)
        put(double, {"properties": {"tags": [UNIQUE]}}, made["client_id"])
        client.delete(f"/applications/{made['id']}")
    with pytest.raises(RegistrationError) as refused:
        _entra_app.restore(client, team, check=False)
    assert made["client_id"] in str(refused.value) and writes(double)[-1].startswith("DELETE")


def test_purged_for_good(double: Double) -> None:
    permit(double, RESTORING)
    team, client = managed(), graph(double)
    before = state(double)
    present(client, team)
    assert _entra_app.purge(client, team, check=False) == [], "what is there isn't purged"
    _entra_app.remove(client, team, _entra_app.read(client, team), check=False)
    forget(double)
    foretold = _entra_app.purge(graph(double, read_only=True), team, check=True)
    assert foretold and writes(double) == []
    assert _entra_app.purge(client, team, check=False) == foretold
    assert state(double) == before, "the enterprise application is purged too"
    assert _entra_app.purge(client, team, check=False) == []
    assert kinds(present(client, team))[0] == "create_application"


def test_a_removed_one_named_by_its_client_id_is_gone(double: Double) -> None:
    permit(double, RESTORING)
    team, client = managed(), graph(double)
    named = team.resolved(present(client, team).client_id, {})
    _entra_app.remove(client, named, _entra_app.read(client, named), check=False)
    assert _entra_app.remove(client, named, _entra_app.read(client, named, missing_ok=True), check=False) == []
    with pytest.raises(RegistrationError):
        _entra_app.read(client, named)
    assert [change.operation for change in _entra_app.restore(client, named, check=False)] == ["restore_application", "restore_principal"]
    assert _entra_app.restore(client, named, check=False) == []


def test_a_deleted_twin_that_can_not_be_seen(double: Double) -> None:
    """With the least permission deleted items can't be listed; then the creation tells."""
    team, client = managed(), graph(double)
    present(client, team)
    _entra_app.remove(client, team, _entra_app.read(client, team), check=False)
    with pytest.raises(GatewayAuthError) as refused:
        present(graph(double), team)
    assert "restore_team -e team=" in str(refused.value) and "deleted" in str(refused.value), str(refused.value)
    assert ours(double) == []


# --- when things go wrong -------------------------------------------------------------------------------------------------------------------

# Every write that a first run sends, the more of them the better.
WHOLE: Object = {"group_assignment": "managed", "groups_claim": "application", "owners": [ALICE], "admin_groups": [{"id": ADMINS, "name": "platform-admins"}]}
BOUNDARIES = 5


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Object:
    """What Entra holds after an undisturbed first run."""
    with tenant(tmp_path_factory.mktemp("wanted") / "entra") as other:
        permit(other, ASSIGNING)
        present(graph(other), managed(**WHOLE))
        assert len(writes(other)) == BOUNDARIES
        return state(other)


@pytest.mark.parametrize("sent", [False, True], ids=["before it is sent", "after it is carried out"])
@pytest.mark.parametrize("at", range(BOUNDARIES))
def test_killed_at_any_write_a_plain_re_run_finishes(double: Double, wanted: Object, at: int, sent: bool) -> None:
    permit(double, ASSIGNING)
    with pytest.raises(Killed):
        present(graph(double, through=Deadly(transport(double), Death(at, sent=sent))), managed(**WHOLE))
    present(graph(double), managed(**WHOLE))
    assert state(double) == wanted
    forget(double)
    assert present(graph(double), managed(**WHOLE)).changes == [] and writes(double) == []


@pytest.mark.parametrize("drop", ["before", "after"])
@pytest.mark.parametrize("at", range(BOUNDARIES))
def test_a_connection_that_drops_once_is_mended_within_the_run(double: Double, wanted: Object, at: int, drop: str) -> None:
    permit(double, ASSIGNING)
    with faults(double, {"match": {"write": True}, "action": {"drop": drop}, "skip": at, "times": 1}):
        settled = present(graph(double), managed(**WHOLE))
    assert state(double) == wanted
    assert len(kinds(settled)) == BOUNDARIES, f"every write is told, whoever's answer was lost: {kinds(settled)}"


@pytest.mark.parametrize("drop", ["before", "after"])
@pytest.mark.parametrize("at", range(BOUNDARIES))
def test_a_network_that_stays_cut_fails_the_run_and_a_re_run_finishes(double: Double, wanted: Object, at: int, drop: str) -> None:
    permit(double, ASSIGNING)
    with faults(double, {"match": {"write": True}, "action": {"drop": drop}, "skip": at}), pytest.raises(GatewayAuthError) as failed:
        present(graph(double), managed(**WHOLE))
    assert len(failed.value.changes_done) >= at - 1  # type: ignore[attr-defined]
    present(graph(double), managed(**WHOLE))
    assert state(double) == wanted


@pytest.mark.parametrize("at", range(BOUNDARIES))
@pytest.mark.parametrize(
    "action",
    [
        pytest.param({"status": 429, "headers": {"Retry-After": "3"}}, id="throttled"),
        pytest.param({"status": 503}, id="overloaded"),
        pytest.param({"status": 409, "body": {"error": {"code": "ConcurrencyViolation", "message": "try again"}}}, id="conflict"),
        pytest.param({"status": 504}, id="gateway time-out"),
    ],
)
def test_a_write_refused_once_is_repeated(double: Double, wanted: Object, at: int, action: Object) -> None:
    permit(double, ASSIGNING)
    time = Time()
    with faults(double, {"match": {"write": True}, "action": action, "skip": at, "times": 1}):
        present(graph(double, time=time), managed(**WHOLE))
    assert state(double) == wanted
    if action["status"] == 429:
        assert 3.0 in time.sleeps, "as long as Graph asks for"


def test_throttled_for_longer_than_the_bound_says_so_and_a_re_run_finishes(double: Double, wanted: Object) -> None:
    permit(double, ASSIGNING)
    fault: Object = {"match": {"write": True}, "action": {"status": 429, "headers": {"Retry-After": "100"}}, "skip": 1}
    with faults(double, fault), pytest.raises(GraphError, match="100"):
        present(graph(double), managed(**WHOLE))
    present(graph(double), managed(**WHOLE))
    assert state(double) == wanted


def test_a_conflict_that_lasts_is_given_up(double: Double) -> None:
    conflict = {"status": 409, "body": {"error": {"code": "ConcurrencyViolation", "message": "try again"}}}
    with faults(double, {"match": {"write": True, "path_contains": "servicePrincipals"}, "action": conflict}), pytest.raises(GraphConflictError) as failed:
        present(graph(double), managed())
    assert [change["action"] for change in failed.value.changes_done] == ["create"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("reads", [1, 5, 12])
def test_replicas_that_lag_behind_are_waited_for(double: Double, wanted: Object, reads: int) -> None:
    permit(double, ASSIGNING)
    with faults(double, {"match": {"write": True}, "action": {"lag": {"reads": reads}}}):
        settled = present(graph(double, patience=60), managed(**WHOLE))
    assert settled.client_id and state(double) == wanted


@pytest.mark.parametrize("path", ["/owners/", "appRoleAssignedTo", "servicePrincipals(appId"])
def test_what_a_write_needs_and_a_replica_does_not_know_is_waited_for(double: Double, wanted: Object, path: str) -> None:
    permit(double, ASSIGNING)
    missing = {"status": 404, "body": {"error": {"code": "Request_ResourceNotFound", "message": "not there"}}}
    with faults(double, {"match": {"write": True, "path_contains": path}, "action": missing, "times": 2}):
        present(graph(double), managed(**WHOLE))
    assert state(double) == wanted


@pytest.mark.parametrize("reads", [1, 6, 15])
def test_killed_after_the_creation_while_replicas_lag(double: Double, wanted: Object, reads: int) -> None:
    """The re-run doesn't see what there is, and must neither make a second one nor fail."""
    permit(double, ASSIGNING)
    with faults(double, {"match": {"write": True}, "action": {"lag": {"reads": reads}}, "times": 1}):
        with pytest.raises(Killed):
            present(graph(double, through=Deadly(transport(double), Death(0, sent=True))), managed(**WHOLE))
        present(graph(double, patience=60), managed(**WHOLE))
    assert state(double) == wanted


def test_an_adopted_one_that_a_replica_does_not_show_is_waited_for(double: Double) -> None:
    made = by_hand(double, principal=False)
    missing = {"status": 404, "body": {"error": {"code": "Request_ResourceNotFound", "message": "not there"}}}
    fault: Object = {"match": {"method": "GET", "path_contains": "applications(appId"}, "action": missing, "skip": 1, "times": 3}
    with faults(double, fault):
        settled = present(graph(double), managed(client_id=made["client_id"]), adopt=["all"])
    assert settled.client_id == made["client_id"] and kinds(settled) == ["update_application", "create_principal"]


def test_what_somebody_else_did_in_between_is_not_told_as_ours(double: Double) -> None:
    present(graph(double), managed())
    alice = control(double, "GET", "/users/alice")[1]["id"]
    client = graph(double)
    send = client._transport

    def late(method: str, url: str, headers: dict[str, str], body: bytes | None, timeout: float, /) -> t.Any:
        if method == "POST" and url.endswith("/owners/$ref"):
            send(method, url, headers, body, timeout)  # another run's, the moment before
        return send(method, url, headers, body, timeout)

    conflict = {"status": 409, "body": {"error": {"code": "ConcurrencyViolation", "message": "try again"}}}
    client._transport = late
    with faults(double, {"match": {"method": "POST", "path_contains": "/owners/"}, "action": conflict, "skip": 1, "times": 1}):
        settled = _entra_app.settle(client, managed(), adopt=[], check=False, owners={alice: ALICE})
    assert settled.changes == [] and "user alice" in the(double)["owners"]


def test_a_creation_that_nobody_ever_sees_is_given_up(double: Double) -> None:
    with faults(double, {"match": {"write": True}, "action": {"lag": {"reads": 100000}}}), pytest.raises(NotReadyError):
        present(graph(double), managed())
    assert len(ours(double)) == 1


def test_two_runs_at_once_make_one_registration(double: Double) -> None:
    team = managed(owners=[ALICE])
    clients = [graph(double, patience=30) for _run in range(4)]
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        settled = list(pool.map(lambda client: present(client, team), clients))
    assert len({found.client_id for found in settled}) == 1
    assert the(double)["owners"] == ["principal Gateway auth automation", "user alice"]
    assert present(graph(double), team).changes == []


@pytest.mark.parametrize(
    ("roles", "owners", "needed"),
    [
        pytest.param(("GroupMember.Read.All",), [], "Application.Read.All", id="nothing but groups"),
        pytest.param((), [], "Directory.Read.All", id="nothing"),
        pytest.param((OWNED,), [ALICE], "User.ReadBasic.All", id="no users"),
    ],
)
def test_a_missing_permission_is_named(double: Double, roles: tuple[str, ...], owners: list[str], needed: str) -> None:
    permit(double, roles)
    with pytest.raises(GraphForbiddenError) as refused:
        present(graph(double), managed(owners=owners))
    assert needed in str(refused.value), str(refused.value)
    assert writes(double) == []


def test_more_redirect_uris_than_entra_takes(double: Double) -> None:
    apps = [{"name": f"a{n}", "hostname": f"a{n}.apps.example.com", "service": {"name": "s", "port": 1, "namespace": "n"}} for n in range(256)]
    with pytest.raises(GraphError) as refused:
        present(graph(double), managed(apps=apps))
    assert "redirectUris" in str(refused.value) and "deleted" not in str(refused.value) and ours(double) == []


# --- a registration that isn't ours ---------------------------------------------------------------------------------------------------------


def test_an_existing_registration_is_read_and_written_only_when_adopted(double: Double) -> None:
    made = by_hand(double)
    team = managed(registration="existing", client_id=made["client_id"])
    put(double, {"group_membership_claims": "SecurityGroup"}, made["client_id"])
    with pytest.raises(RegistrationError) as refused:
        _entra_app.settle_existing(graph(double), team, adopt=[], check=False)
    assert all(uri in str(refused.value) for uri in URIS) and f"Application/{made['client_id']}" in str(refused.value)
    adopt = [f"Application/{made['client_id']}"]
    changes, findings = _entra_app.settle_existing(graph(double, read_only=True), team, adopt=adopt, check=True)
    assert len(changes) == 1 and findings == [] and writes(double) == []
    assert _entra_app.settle_existing(graph(double), team, adopt=adopt, check=False)[0] == changes
    assert set(app(double, made["client_id"])["redirect_uris"]) == {"https://by-hand.example.com/cb", *URIS}
    forget(double)
    assert _entra_app.settle_existing(graph(double), team, adopt=[], check=False) == ([], []) and writes(double) == []


@pytest.mark.parametrize(("claims", "told"), [(None, True), ("ApplicationGroup", True), ("SecurityGroup", False), ("All", False)])
def test_an_existing_registration_without_the_groups_is_a_finding(double: Double, claims: str | None, told: bool) -> None:
    made = by_hand(double, redirect_uris=URIS)
    put(double, {"group_membership_claims": claims}, made["client_id"])
    team = managed(registration="existing", client_id=made["client_id"])
    _changes, findings = _entra_app.settle_existing(graph(double), team, adopt=[], check=False)
    assert bool(findings) is told


# --- what is told of it -----------------------------------------------------------------------------------------------------------------------


def test_a_registration_described(double: Double) -> None:
    team = managed(groups_claim="application")
    assert _entra_app.describe_live(team, LiveRegistration()) == {"exists": False}
    present(graph(double), team)
    put(double, {"assigned_groups": ["team-a-developers"]})
    client = graph(double)
    application = _entra_app.read(client, team).application or {}
    secret = client.call(f"/applications/{application['id']}/addPassword", {"passwordCredential": {"displayName": UNIQUE}})
    told = _entra_app.describe_live(team, _entra_app.read(client, team))
    assert told["exists"] and told["ours"] and told["unique_name"] == UNIQUE and sorted(told["redirect_uris"]) == sorted(URIS)
    assert told["assigned"] == [{"id": DEVELOPERS, "name": "team-a-developers", "type": "Group"}]
    assert told["sign_in_enabled"] is True and told["assignment_required"] is True and len(told["owners"]) == 1
    assert [item["key_id"] for item in told["passwords"]] == [secret["keyId"]]
    assert secret["secretText"] not in repr(told)
    assert told["client_id"] == app(double)["client_id"] and told["service_principal_id"] == app(double)["principal_id"]


def test_credentials_of_what_is_not_there(double: Double) -> None:
    with pytest.raises(RegistrationError, match="onboard_team"):
        _entra_app.read_credentials(graph(double), managed(client_id="12345678-0000-4000-8000-000000000000"))
    with pytest.raises(GatewayAuthError):
        _entra_app.read_credentials(graph(double), managed())
    assert _entra_app.read_credentials(graph(double), managed(client_id=AUTOMATION))["appId"] == AUTOMATION


def test_what_was_done_before_it_failed_is_told(double: Double) -> None:
    denied = {"status": 403, "body": {"error": {"code": "Authorization_RequestDenied", "message": "no"}}}
    with faults(double, {"match": {"write": True, "path_contains": "owners"}, "action": denied}), pytest.raises(GraphForbiddenError) as failed:
        present(graph(double), managed(owners=[ALICE]))
    assert [change["action"] for change in failed.value.changes_done] == ["create", "create"]  # type: ignore[attr-defined]


def test_an_assignment_that_somebody_made_in_between_is_no_error(double: Double) -> None:
    permit(double, ASSIGNING)
    present(graph(double), managed(group_assignment="managed"))
    client = graph(double)
    resource = app(double)["principal_id"]
    body = {"principalId": DEVELOPERS, "resourceId": resource, "appRoleId": "00000000-0000-0000-0000-000000000000"}
    assert _entra_app._assign(client, f"/servicePrincipals/{resource}/appRoleAssignedTo", body, "assign") is True
    with pytest.raises(GraphError):
        _entra_app._assign(client, f"/servicePrincipals/{resource}/appRoleAssignedTo", {**body, "appRoleId": ONCALL}, "assign")
    with pytest.raises(GraphNotFoundError):
        _entra_app._assign(client, f"/servicePrincipals/{ONCALL}/appRoleAssignedTo", body, "assign")


# --- attacks ---------------------------------------------------------------------------------------------------------------------------


def test_credentials_are_only_those_of_a_registration_of_ours(double: Double) -> None:
    """rotate_team takes the client id from the team's Secret, which whoever may write Secrets of the namespace can change."""
    present(graph(double), managed())
    theirs = present(graph(double), managed(name="team-b")).client_id
    by_hands = by_hand(double)["client_id"]
    for foreign in (theirs, by_hands, AUTOMATION):
        with pytest.raises(ForeignObjectError) as refused:
            _entra_app.require_ours(graph(double), managed(client_id=foreign))
        assert foreign in str(refused.value)
    own = managed().resolved(app(double)["client_id"], {})
    assert _entra_app.require_ours(graph(double), own)["appId"] == own.client_id


@pytest.mark.parametrize("shared", [False, True])
def test_a_mark_that_a_replica_does_not_show_yet_is_waited_for(double: Double, shared: bool) -> None:
    made = by_hand(double)
    team = managed(client_id=made["client_id"], shared_registration=shared)
    with faults(double, {"match": {"method": "PATCH", "path_contains": "/applications/"}, "action": {"lag": {"reads": 4}}}):
        present(graph(double), team, adopt=["all"])
        assert _entra_app.require_ours(graph(double), team)["appId"] == made["client_id"]


def test_one_that_others_share_still_is_not_taken_whole(double: Double) -> None:
    """Team b went from the inventory, not from the registration; or it is in another inventory."""
    first, second, _path = _sharing(double)
    for team in (first, second):
        present(graph(double), team, adopt=["all"])
    before, alone = state(double), dataclasses.replace(first, shared_registration=False)
    for adopt in ([], ["all"]):
        with pytest.raises(ForeignObjectError) as refused:
            present(graph(double), alone, adopt=adopt)
        assert "team-b" in str(refused.value)
    assert state(double) == before
    _entra_app.remove(graph(double), second, _entra_app.read(graph(double), second), check=False)
    present(graph(double), alone)
    assert present(graph(double), alone).changes == []


def test_a_deleted_one_that_others_share_is_not_purged(double: Double) -> None:
    permit(double, RESTORING)
    made = by_hand(double, NAME)
    put(double, {"properties": {"tags": [UNIQUE, UNIQUE.replace("team-a", "team-b")]}}, made["client_id"])
    graph(double).delete(f"/applications/{made['id']}")
    before = state(double)
    for check in (True, False):
        with pytest.raises(RegistrationError) as refused:
            _entra_app.purge(graph(double), managed(), check=check)
        assert "team-b" in str(refused.value) and state(double) == before
    assert kinds_of(_entra_app.restore(graph(double), managed(), check=False))[0] == "restore_application"


def kinds_of(changes: list[t.Any]) -> list[str]:
    return [change.operation for change in changes]


@pytest.mark.parametrize("shared", [False, True])
def test_a_second_registration_is_not_begun_beside_one_that_we_made(double: Double, shared: bool) -> None:
    """The client id of another came into the inventory: the first and its secrets would be nobody's to look after."""
    first = present(graph(double), managed()).client_id
    made = by_hand(double)
    before = state(double)
    for check in (True, False):
        with pytest.raises(RegistrationError) as refused:
            present(graph(double, read_only=check), managed(client_id=made["client_id"], shared_registration=shared), adopt=["all"], check=check)
        assert first in str(refused.value) and state(double) == before


@pytest.mark.parametrize("enabled", [False, None])
def test_a_group_by_name_that_is_in_no_token(double: Double, enabled: bool | None) -> None:
    control(double, "PUT", "/groups/newsletter", {"id": ONCALL[:-2] + "c4"})
    listed = {"value": [{"id": ONCALL[:-2] + "c4", "displayName": "newsletter", "securityEnabled": enabled}]}
    with faults(double, {"match": {"path_prefix": "/v1.0/groups"}, "action": {"status": 200, "body": listed}}):
        if enabled is None:
            assert _entra_app.group_by_name(graph(double), "newsletter") == ONCALL[:-2] + "c4"
            return
        with pytest.raises(RegistrationError, match="security-enabled"):
            _entra_app.group_by_name(graph(double), "newsletter")


@pytest.mark.parametrize("found", [{}, {ONCALL: {"id": ONCALL, "securityEnabled": False}}], ids=["deleted", "in no token any more"])
def test_a_remembered_group_that_lets_nobody_in_any_more(found: Object) -> None:
    team = managed(allowed_groups=[{"id": "", "name": "team-a-oncall"}]).resolved("", {"team-a-oncall": ONCALL})
    with pytest.raises(RegistrationError, match="gateway-auth/groups"):
        _entra_app.judge_groups(team, found, remembered={"team-a-oncall": ONCALL})


def test_a_group_with_an_id_is_looked_up_though_another_has_its_name() -> None:
    groups = [{"id": "", "name": "team-a-oncall"}, {"id": TEAM_B, "name": "team-a-oncall"}]
    team = managed(allowed_groups=groups).resolved("", {"team-a-oncall": ONCALL})
    with pytest.raises(RegistrationError, match=TEAM_B):
        _entra_app.judge_groups(team, {})
