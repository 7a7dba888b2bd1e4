# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credentials between both doubles: added, proven, rotated, revoked, and whatever moment a run dies at."""

from __future__ import annotations

import collections.abc
import contextlib
import datetime
import json
import pathlib
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_credential, _rollout
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal, encode
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_credential import KEY, NEXT_KEY, STATE, Copy, Keeper, Password, State
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import (
    AzureError,
    ClusterError,
    ForeignObjectError,
    GatewayAuthError,
    GraphAuthError,
    GraphError,
    GraphForbiddenError,
    GraphUncertainError,
    NotReadyError,
    RegistrationError,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import WorkloadIdentity
from tests.sandbox.entra.testkit import Double, control
from tests.unit.support.api import Api
from tests.unit.support.credentials import ISSUER, ClusterKeys, World
from tests.unit.support.entra import Death, Killed, Time, calls, faults, forget, graph, managed, state, tenant, writes

Object = dict[str, t.Any]
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def double(tmp_path: pathlib.Path) -> collections.abc.Iterator[Double]:
    """A tenant that can fetch the cluster's keys."""
    with tenant(tmp_path / "entra", ClusterKeys()) as running:
        yield running


@pytest.fixture
def world(double: Double, api: Api, kube: Kube) -> World:
    return World.onboarded(double, api, kube)


@pytest.fixture
def federated(double: Double, api: Api, kube: Kube) -> World:
    world = World.onboarded(double, api, kube, credential="federated")
    world.release()
    return world


def later(days: float) -> collections.abc.Callable[[], datetime.datetime]:
    return lambda: NOW + datetime.timedelta(days=days)


def kinds(keeper: Keeper) -> list[tuple[str, str]]:
    return [(note["action"], note["object"].partition(" ")[0]) for note in keeper.journal.listing()]


def reasons(keeper: Keeper) -> list[str]:
    return [reason for note in keeper.journal.listing() for reason in note["reasons"]]


# --- a client secret: the sequence ----------------------------------------------------------------------------------------------


def test_sequence(world: World, double: Double, api: Api) -> None:
    api.forget()
    forget(double)
    api.read_only = True
    foretold = world.settle(check=True)
    assert not api.writes and not writes(double)
    api.read_only = False
    first = world.settle()
    assert kinds(foretold) == kinds(first) != []
    assert any("none is stored" in reason for reason in reasons(first)) and any("none is stored" in reason for reason in reasons(foretold))
    world.assert_settled()
    assert first.key_id() == world.ours[0] and not first.pending()
    assert len([call for call in calls(double) if "addPassword" in call]) == 1

    api.forget()
    forget(double)
    again = world.settle()
    again.retire()
    assert not again.journal.changed and not api.writes and not writes(double) and len(calls(double)) == 1
    assert not world.secrets().changed, "the Secrets' own phase leaves it alone"

    old = world.value()
    rotated = world.settle(rotate=True)
    assert rotated.pending() and len(world.ours) == 2
    assert world.state.previous == tuple(key for key in world.ours if key != rotated.key_id())
    assert world.value() != old and world.works(old), "pods that started before go on with it"
    assert not world.secrets().changed
    world.release()
    forget(double)
    api.forget()
    api.read_only = True
    foretold = world.retire(check=True)
    assert not writes(double) and not api.writes
    api.read_only = False
    retired = world.retire()
    assert reasons(retired) == reasons(foretold) != []
    world.assert_settled()
    assert not world.works(old)
    assert not world.retire().journal.changed


def test_no_value_is_anywhere_but_in_the_secret(world: World) -> None:
    values = []
    told: list[object] = []
    for options in ({}, {"rotate": True}):
        keeper = world.settle(**options)
        values.append(world.value())
        told += [keeper.journal.listing(), keeper.journal.diff(), keeper.findings, keeper.describe(), repr(keeper), repr(keeper.journal.__dict__)]
    retired = world.retire()
    told += [retired.journal.listing(), retired.journal.diff(), world.secret["metadata"]]
    assert len(set(values)) == 2 and all(len(value) > 20 for value in values)
    assert not [value for value in values if value in repr(told)]


def test_check_mode_of_a_first_onboarding(double: Double, api: Api, kube: Kube) -> None:
    """Neither a registration nor a Secret is there."""
    for mode in ("client_secret", "federated"):
        api.read_only = True
        api.issuer = ISSUER
        keeper = Keeper(managed(double, credential=mode), graph(double, read_only=True), kube, Journal(kube, check=True), {}, lambda *_a, **_k: None)
        keeper.settle()
        assert keeper.journal.changed and keeper.pending() is (mode == "federated")
        assert not writes(double)


def test_without_a_secret_in_the_cluster_nothing_is_added(world: World, api: Api) -> None:
    del api.objects[("secrets", world.team.namespace, world.team.proxy_secret)]
    for mode in ("client_secret", "federated"):
        with pytest.raises(RegistrationError, match="team_secrets"):
            world.with_(credential=mode).settle()
    assert world.ours == [] and world.trusted == []


@pytest.mark.parametrize(
    ("overrides", "makes"),
    [({"registration": "existing"}, False), ({"credential": "external"}, False), ({}, True)],
)
def test_whose_credential_is_ours(world: World, overrides: Object, makes: bool) -> None:
    there = world.with_(**overrides)
    keeper = there.settle()
    assert keeper.journal.changed is makes
    if not makes:
        assert not keeper.pending() and not there.retire().journal.changed and world.ours == []


# --- when a new one is due ---------------------------------------------------------------------------------------------------------


def test_rotation_by_age(world: World) -> None:
    world.settle()
    first = world.value()
    assert not world.settle(when_old=True, now=later(89.9)).journal.changed
    assert not world.settle(now=later(91)).journal.changed, "onboarding doesn't rotate"
    rotated = world.settle(when_old=True, now=later(91))
    assert any("gateway_auth_rotate_after" in reason and "90d" in reason for reason in reasons(rotated))
    assert world.value() != first
    world.retire()
    world.assert_settled()


@pytest.mark.parametrize(("text", "days"), [("90d", 180), ("3w", 42), ("400d", 730), ("9999d", 730)])
def test_a_secret_lives_for_twice_the_rotation_and_no_longer_than_two_years(world: World, text: str, days: int) -> None:
    there = world.with_(rotate_after=text)
    there.settle(now=later(0))
    [secret] = there.app["secrets"]
    assert abs(secret["end"] - (NOW + datetime.timedelta(days=days)).timestamp()) < 5
    assert there.state.current is not None and there.state.current.expires[:4] == str((NOW + datetime.timedelta(days=days)).year)


def test_an_expired_one_is_replaced(world: World, double: Double) -> None:
    world.settle()
    control(double, "POST", f"/apps/{world.team.client_id}/secret", {"state": "expired"})
    assert not world.works(world.value())
    replaced = world.settle(now=later(0.01))
    assert any("expired" in reason for reason in reasons(replaced))
    world.retire()
    world.assert_settled()


def test_one_that_somebody_deleted_in_entra_is_replaced(world: World) -> None:
    world.settle()
    client = world.keeper().graph
    client.call(f"/applications/{world.app['id']}/removePassword", {"keyId": world.ours[0]})
    replaced = world.settle()
    assert any("no longer has" in reason for reason in reasons(replaced))
    assert replaced.pending()
    world.retire()
    world.assert_settled()


def test_one_that_we_did_not_make_is_replaced_and_theirs_stays(world: World, api: Api) -> None:
    theirs = world.add_password("by hand")
    api.edit("Secret", world.team.proxy_secret, lambda obj: obj["data"].update({KEY: "Ynk="}))
    replaced = world.settle()
    assert any(STATE in reason for reason in reasons(replaced))
    world.retire()
    world.assert_settled()
    assert theirs["keyId"] in [item["key_id"] for item in world.app["secrets"]] and world.works(theirs["secretText"])


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"text"', "7", '{"current": "x"}', '{"current": {"added": "x"}}', '{"current": [1]}', '{"previous": 5}', '{"next": true}'],
)
def test_an_annotation_that_is_not_ours_counts_as_none(world: World, text: str) -> None:
    assert State.of({"metadata": {"annotations": {STATE: text}}}) == State()
    world.settle()
    world.annotate(text)
    world.settle()
    world.retire()
    world.assert_settled()


def test_states_round_trip() -> None:
    for state_ in (State(), State(Password("a", "x", "y"), Password("b"), ("c", "d"), "proven"), State(previous=("a",)), State(federated="added")):
        assert State.of({"metadata": {"annotations": {STATE: state_.annotation()}}}) == state_
    assert State.of(None) == State() and State.of({"metadata": {}}) == State()
    assert State(Password("a"), Password("b"), ("c",)).known == {"a", "b", "c"}


def test_times_that_can_not_be_read_are_long_past(world: World) -> None:
    world.settle()
    [key_id] = world.ours
    world.annotate(json.dumps({"current": {"keyId": key_id, "added": "yesterday"}}))
    assert world.settle(when_old=True).journal.changed
    assert _entra_credential._moment("2026-01-01T00:00:00.1234567Z") == datetime.datetime(2026, 1, 1, 0, 0, 0, 123456, datetime.UTC)
    assert _entra_credential._moment("2026-01-01T00:00:00").tzinfo is not None


# --- revoking ------------------------------------------------------------------------------------------------------------------------


def test_the_old_one_stays_until_the_last_pod_that_has_it_is_gone(world: World) -> None:
    world.settle()
    world.settle(rotate=True)
    world.pod("old", "t1", ending=True)
    world.pod("new-1", "t2")
    time = Time()
    seen: list[int] = []

    def sleep(seconds: float) -> None:
        seen.append(len(world.ours))
        time.sleep(seconds)
        if len(seen) == 3:
            world.gone("old")

    world.retire(time=time, sleep=sleep)
    assert seen == [2, 2, 2]
    world.assert_settled()


@pytest.mark.parametrize("ending", [True, False], ids=["one that ends", "two generations"])
def test_pods_that_do_not_go_away_keep_the_old_one_valid(world: World, ending: bool) -> None:
    world.settle()
    old = world.value()
    world.settle(rotate=True)
    world.pod("old", "t1", ending=ending)
    world.pod("new-1", "t2")
    time = Time()
    with pytest.raises(NotReadyError) as waited:
        world.retire(time=time)
    assert world.team.release in str(waited.value) and ("old" in str(waited.value))
    assert 100 < sum(time.sleeps) < 200 and len(world.ours) == 2 and world.works(old)
    world.gone("old")
    world.retire()
    world.assert_settled()


@pytest.mark.parametrize("code", ["AADSTS7000215", "AADSTS7000222"])
def test_a_pod_that_was_refused_keeps_the_old_one_valid(world: World, code: str) -> None:
    world.settle()
    old = world.value()
    world.settle(rotate=True)
    world.pod("new-1", log=f"error redeeming code: {code}: Invalid client secret provided")
    with pytest.raises(RegistrationError) as refused:
        world.retire()
    assert code in str(refused.value) and "new-1" in str(refused.value) and world.works(old)


def test_rotations_without_a_rollout_in_between_keep_all_that_pods_may_have(world: World) -> None:
    values = []
    for rotate in (False, True, True):
        world.settle(rotate=rotate)
        values.append(world.value())
    assert len(world.state.previous) == 2 and set(world.state.previous) < set(world.ours)
    assert all(world.works(value) for value in values)
    world.retire()
    world.assert_settled()
    assert [world.works(value) for value in values] == [False, False, True]


def test_only_ours_are_revoked(world: World) -> None:
    theirs = [world.add_password(name)["keyId"] for name in ("by hand", "gateway-auth.sandbox.monitoring.team-b", f"{world.team.unique_name}-2", "")]
    lost = world.add_password(world.team.unique_name)["keyId"]
    world.settle()
    assert world.keeper().pending(), "a secret of ours whose value nobody has"
    retired = world.retire()
    assert any(lost in reason for reason in reasons(retired))
    world.assert_settled()
    assert {item["key_id"] for item in world.app["secrets"]} == {*theirs, *world.ours}


def test_one_that_is_revoked_already_is_no_error(world: World) -> None:
    world.settle()
    world.settle(rotate=True)
    keeper = world.keeper()
    old = world.state.previous[0]
    keeper.graph.call(f"/applications/{world.app['id']}/removePassword", {"keyId": old})
    keeper.retire()
    world.assert_settled()


def test_revoking_that_is_forbidden_is_told_and_finished_later(world: World, double: Double) -> None:
    world.settle()
    world.settle(rotate=True)
    denied = {"status": 403, "body": {"error": {"code": "Authorization_RequestDenied", "message": "no"}}}
    with faults(double, {"match": {"path_contains": "removePassword"}, "action": denied}), pytest.raises(GraphForbiddenError):
        world.retire()
    with faults(double, {"match": {"path_contains": "removePassword"}, "action": {"status": 418}}), pytest.raises(GraphError):
        world.retire()
    world.retire()
    world.assert_settled()


def test_previous_ones_that_are_gone_are_forgotten(world: World) -> None:
    world.settle()
    current = world.state
    world.annotate(State(current.current, None, ("11111111-0000-4000-8000-000000000000",)).annotation())
    keeper = world.retire()
    assert not keeper.journal.listing()
    world.assert_settled()


# --- whatever moment it dies at --------------------------------------------------------------------------------------------------------

SENT = pytest.mark.parametrize("sent", [False, True], ids=["before", "after"])


@SENT
@pytest.mark.parametrize("at", range(3))
def test_killed_while_the_first_one_is_added(world: World, at: int, sent: bool) -> None:
    with pytest.raises(Killed):
        world.settle(death=Death(at, sent=sent))
    foretold = world.settle(check=True)
    finished = world.settle()
    assert kinds(foretold) == kinds(finished)
    world.retire()
    world.assert_settled()
    assert not world.settle().journal.changed and not world.keeper().pending()


@SENT
@pytest.mark.parametrize("at", range(6))
def test_killed_while_it_rotates(world: World, at: int, sent: bool) -> None:
    world.settle()
    world.release()
    old = world.value()
    death = Death(at, sent=sent)
    with pytest.raises(Killed):
        world.settle(rotate=True, death=death)
        world.retire(death=death)
    assert world.works(world.value()), "what the pods read works at any moment"
    if len(world.ours) > 1:
        assert world.works(old)
    foretold = world.settle(check=True)
    finished = world.settle()
    assert kinds(foretold) == kinds(finished)
    world.retire()
    world.assert_settled()
    assert not world.settle().journal.changed and not world.keeper().pending()


def test_the_boundaries_are_all(world: World) -> None:
    world.release()
    first, rotation = Death(), Death()
    world.settle(death=first)
    world.settle(rotate=True, death=rotation)
    world.retire(death=rotation)
    assert (first.writes, rotation.writes) == (3, 6)


@pytest.mark.parametrize("present", [True, False], ids=["Entra has it", "Entra lost it"])
def test_one_that_an_earlier_run_stored_goes_on_or_is_forgotten(world: World, present: bool) -> None:
    world.settle()
    with pytest.raises(Killed):
        world.settle(rotate=True, death=Death(2))
    assert world.state.next is not None and NEXT_KEY in world.secret["data"]
    half_done = world.state.next.key_id
    if not present:
        world.keeper().graph.call(f"/applications/{world.app['id']}/removePassword", {"keyId": half_done})
    kept = world.value()
    finished = world.settle()
    assert (world.value() != kept) is present and (finished.key_id() == half_done) is present
    assert any(half_done in reason for reason in reasons(finished))
    world.retire()
    world.assert_settled()


def test_a_stored_one_whose_value_is_gone_is_forgotten(world: World, api: Api) -> None:
    world.settle()
    with pytest.raises(Killed):
        world.settle(rotate=True, death=Death(2))
    api.edit("Secret", world.team.proxy_secret, lambda obj: obj["data"].pop(NEXT_KEY))
    world.settle()
    world.retire()
    world.assert_settled()


def test_rotating_again_after_a_kill_finishes_the_one_that_was_begun(world: World) -> None:
    """What was asked for then is what is asked for now: one new secret, not two."""
    world.settle()
    with pytest.raises(Killed):
        world.settle(rotate=True, death=Death(2))
    begun = world.state.next
    foretold = world.settle(rotate=True, check=True)
    finished = world.settle(rotate=True)
    assert kinds(foretold) == kinds(finished)
    assert begun is not None and world.state.current == begun and len(world.ours) == 2
    world.retire()
    world.assert_settled()


@pytest.mark.parametrize("overrides", [{"registration": "existing"}, {"credential": "external"}, {"credential": "federated"}], ids=str)
def test_a_secret_that_is_not_ours_is_not_rotated(world: World, overrides: Object) -> None:
    with pytest.raises(RegistrationError) as refused:
        world.with_(**overrides).settle(rotate=True)
    assert all(value in str(refused.value) for value in overrides.values()) and world.ours == []


def test_external_supersedes_ours(world: World, api: Api) -> None:
    """From a secret of ours to one that somebody else makes, and from a federated credential likewise."""
    external = world.with_(credential="external")
    world.settle()
    old = world.value()
    api.edit("Secret", world.team.proxy_secret, lambda obj: obj["data"].update({KEY: "dGhlaXJz"}))
    assert external.keeper().pending() and external.settle().journal.listing() == [] and world.works(old)
    assert reasons(external.retire(check=True)) == reasons(external.retire()) != []
    assert world.ours == [] and world.state == State() and world.value() == "theirs"
    assert not external.keeper().pending() and not external.retire().journal.changed
    federated = world.with_(credential="federated")
    federated.release()
    federated.settle()
    federated.retire()
    federated.assert_federated()
    external.retire()
    assert world.trusted == [] and world.state == State() and not external.keeper().pending()


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_pods_that_run_nothing_any_more_are_not_waited_for(world: World, api: Api, phase: str) -> None:
    world.settle()
    world.settle(rotate=True)
    world.pod("evicted", "t1")
    world.pod("new-1", "t2")
    api.the("Pod", "evicted")["status"] = {"phase": phase}
    world.retire()
    world.assert_settled()


@pytest.mark.parametrize("answer_only", [False, True], ids=["not carried out", "only the answer is lost"])
@pytest.mark.parametrize("after", range(2))
def test_a_cluster_that_goes_away_leaves_nothing_behind_for_long(world: World, api: Api, after: int, answer_only: bool) -> None:
    world.settle()
    api.lose_connection_after(after, answer_only=answer_only)
    with pytest.raises(ClusterError):
        world.settle(rotate=True)
    api.mend()
    if after == 0:
        assert len(world.ours) == 1, "a value that nobody has was taken back at once"
    world.settle()
    world.retire()
    world.assert_settled()


@pytest.mark.parametrize("drop", ["before", "after"])
@pytest.mark.parametrize("path", ["addPassword", "removePassword"])
def test_a_connection_that_drops(world: World, double: Double, path: str, drop: str) -> None:
    world.settle()
    with faults(double, {"match": {"path_contains": path}, "action": {"drop": drop}, "times": 1}), pytest.raises(GraphUncertainError) as lost:
        world.settle(rotate=True)
        world.retire()
    assert lost.value.remedy
    world.settle()
    world.retire()
    world.assert_settled()


# --- several at once ------------------------------------------------------------------------------------------------------------------


def _between(keeper: Keeper, path: str, act: collections.abc.Callable[[], object]) -> None:
    """Let something else happen once, right after a call that ``keeper`` makes."""
    send = keeper.graph._transport
    pending = [act]

    def hooked(method: str, url: str, headers: dict[str, str], body: bytes | None, timeout: float, /) -> t.Any:
        answer = send(method, url, headers, body, timeout)
        if pending and url.endswith(path):
            pending.pop()()
        return answer

    keeper.graph._transport = hooked


def test_of_two_rotations_at_once_one_takes_its_own_back(world: World) -> None:
    world.settle()
    loser = world.keeper()
    _between(loser, "addPassword", lambda: world.settle(rotate=True))
    with pytest.raises(ClusterError):
        loser.settle(rotate=True)
    assert world.works(world.value()) and len(world.ours) == 2, "the winner's and the one in use"
    world.retire()
    world.assert_settled()


def test_one_that_is_about_to_be_stored_makes_its_run_fail_before_it_is_revoked(world: World) -> None:
    """To whoever retires it looks unused; so the Secret is written first, and the other run can't store it any more."""
    world.settle()
    other = world.keeper()
    _between(other, "addPassword", lambda: world.retire())
    with pytest.raises(ClusterError):
        other.settle(rotate=True)
    world.settle()
    world.retire()
    world.assert_settled()


def test_whoever_stores_it_first_makes_the_revoking_run_fail(world: World) -> None:
    world.settle()
    world.add_password(world.team.unique_name)
    other = world.keeper()
    time = Time()
    world.pod("old", ending=True)

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        world.gone("old")
        world.settle(rotate=True)

    other.sleep, other.clock = sleep, time
    with pytest.raises(ClusterError):
        other.retire()
    assert world.works(world.value())
    world.retire()
    world.assert_settled()


# --- what Entra says no to -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"allowed": False}, ["policy", "federated", "CredentialTypeNotAllowed"]),
        ({"allowed": True, "max_lifetime": 3 * 86400}, ["policy", "gateway_auth_rotate_after", "Lifetime"]),
    ],
    ids=["no secrets at all", "a shorter life"],
)
def test_a_policy_that_refuses(world: World, double: Double, policy: Object, words: list[str]) -> None:
    before = world.secret
    control(double, "PUT", "/tenant", {"secret_policy": policy})
    with pytest.raises(RegistrationError) as refused:
        world.settle()
    assert not [word for word in words if word not in str(refused.value)], str(refused.value)
    assert world.secret == before and world.ours == []
    if policy["allowed"]:
        world.with_(rotate_after="1d").settle()
        world.assert_settled()


def test_somebody_else_s_change_at_the_same_time_is_waited_for(world: World, double: Double) -> None:
    """Entra takes one change of an application at a time; teams that share one change it at once."""
    conflict = {"status": 409, "body": {"error": {"code": "ConcurrencyViolation", "message": "try again"}}}
    world.settle()
    with faults(double, *({"match": {"path_contains": path}, "action": conflict, "times": 2} for path in ("addPassword", "removePassword"))):
        world.settle(rotate=True)
        world.retire()
    world.assert_settled()


def test_any_other_refusal_is_graph_s_own(world: World, double: Double) -> None:
    refusal = {"status": 400, "body": {"error": {"code": "Request_BadRequest", "message": "something else"}}}
    with faults(double, {"match": {"path_contains": "addPassword"}, "action": refusal}), pytest.raises(GraphError, match="something else"):
        world.settle()


def test_the_token_endpoint_learns_of_it_later(world: World, double: Double) -> None:
    world.settle()
    old = world.value()
    time = Time()
    with faults(double, {"match": {"path_contains": "addPassword"}, "action": {"lag": {"reads": 4, "places": ["token"]}}}):
        world.settle(rotate=True, time=time)
    assert time.sleeps and world.value() != old
    world.retire()
    world.assert_settled()


def test_one_that_the_token_endpoint_never_takes_does_not_get_to_the_pods(world: World, double: Double) -> None:
    world.settle()
    old = world.value()
    time = Time()
    with faults(double, {"match": {"path_contains": "addPassword"}, "action": {"lag": {"reads": 100000, "places": ["token"]}}}):
        with pytest.raises(RegistrationError) as refused:
            world.settle(rotate=True, time=time)
        assert "7000215" in str(refused.value) and world.value() == old and world.works(old)
    assert 60 < sum(time.sleeps) < 200
    world.settle()
    assert world.value() != old
    world.retire()
    world.assert_settled()


def test_three_proofs_in_a_row(world: World) -> None:
    """Replicas learn of it one after the other: a refusal in between begins the count anew."""
    answers = [True, True, False, True, True, True]
    asked: list[bool] = []

    def flaky(team: t.Any, *, secret: str = "", assertion: str = "") -> None:
        asked.append(answers[len(asked)])
        if not asked[-1]:
            raise GraphAuthError("refused", code="7000215")

    world.settle(prove=flaky)
    assert asked == answers


@pytest.mark.parametrize(("code", "retry_after", "waits"), [("7000215", None, True), ("700016", None, True), ("90002", None, False), ("90002", 0.0, True)])
def test_only_refusals_that_pass_are_waited_for(world: World, code: str, retry_after: float | None, waits: bool) -> None:
    def never(team: t.Any, *, secret: str = "", assertion: str = "") -> None:
        raise GraphAuthError("refused", code=code, retry_after=retry_after)

    time = Time()
    with pytest.raises(RegistrationError):
        world.settle(prove=never, time=time)
    assert (sum(time.sleeps) > 60) is waits


def test_an_application_that_replicas_do_not_know_yet_is_waited_for(world: World, double: Double) -> None:
    missing = {"status": 404, "body": {"error": {"code": "Request_ResourceNotFound", "message": "not there"}}}
    with faults(double, {"match": {"path_contains": "addPassword"}, "action": missing, "times": 3}):
        world.settle()
    world.assert_settled()


# --- workload identity -------------------------------------------------------------------------------------------------------------------


def test_federated_sequence(federated: World, double: Double, api: Api) -> None:
    api.forget()
    forget(double)
    api.read_only = True
    foretold = federated.settle(check=True)
    assert not writes(double) and not api.writes
    api.read_only = False
    first = federated.settle()
    assert reasons(first) == reasons(foretold) != []
    federated.assert_federated()
    [trusted] = federated.trusted
    assert (trusted["name"], trusted["issuer"]) == ("gateway-auth-sandbox-monitoring-team-a", ISSUER)
    api.forget()
    forget(double)
    again = federated.settle()
    assert not again.journal.changed and not again.pending() and not api.writes and not writes(double)
    assert not federated.secrets().changed
    assert again.key_id() == ""


def test_another_issuer_changes_what_is_trusted(federated: World, api: Api) -> None:
    federated.settle()
    api.issuer = ISSUER + "moved/"
    assert federated.settle(check=True).journal.changed
    changed = federated.settle()
    assert any("issuer" in reason and "moved" in reason for reason in reasons(changed))
    federated.assert_federated()
    assert federated.trusted[0]["issuer"] == ISSUER + "moved/"
    named = federated.with_(workload_identity=WorkloadIdentity(ISSUER))
    api.issuer = ISSUER
    named.settle()
    assert federated.trusted[0]["issuer"] == ISSUER


def test_an_issuer_that_entra_can_not_reach(federated: World, api: Api) -> None:
    api.issuer = "http://kubernetes.default.svc"
    with pytest.raises(RegistrationError) as refused:
        federated.settle()
    assert "gateway_auth_workload_identity.issuer" in str(refused.value) and api.issuer in str(refused.value)
    api.forbidden.add("openid-configuration")
    with pytest.raises(RegistrationError, match="enable-oidc-issuer"):
        federated.settle()
    assert federated.trusted == []
    federated.with_(workload_identity=WorkloadIdentity("https://oidc.example/cluster")).settle(prove=lambda *_a, **_k: None)
    assert federated.trusted[0]["issuer"] == "https://oidc.example/cluster", "to the letter"


def test_one_change_at_a_time(federated: World, double: Double) -> None:
    conflict = {"status": 409, "body": {"error": {"code": "Request_MultipleObjectsWithSameKeyValue", "message": "concurrent"}}}
    with faults(double, {"match": {"path_contains": "federatedIdentityCredentials", "write": True}, "action": conflict, "times": 3}):
        federated.settle()
    federated.assert_federated()


def test_trusted_before_the_release_is_there(double: Double, api: Api, kube: Kube) -> None:
    """The first onboarding: the service account comes with the release, so the proof follows it."""
    world = World.onboarded(double, api, kube, credential="federated")
    first = world.settle()
    assert world.state.federated == "added" and first.pending() and not first.findings
    assert world.retire().journal.listing() == [] and world.state.federated == "added"
    world.release()
    world.retire()
    world.assert_federated()
    assert not world.keeper().pending()


def test_a_token_that_we_may_not_create_is_a_finding_and_nothing_is_revoked(world: World, api: Api) -> None:
    world.settle()
    old = world.value()
    there = world.with_(credential="federated")
    there.release()
    api.forbidden.add("serviceaccounts/token")
    settled = there.settle()
    assert settled.pending()
    retired = there.retire()
    for keeper in (settled, retired):
        [finding] = keeper.findings
        assert "serviceaccounts/token" in finding and there.team.service_account in finding
    assert world.works(old) and world.value() == old and len(world.trusted) == 1
    api.forbidden.clear()
    there.retire()
    there.assert_federated()


def test_a_trust_that_the_token_endpoint_refuses(federated: World, double: Double) -> None:
    with faults(double, {"match": {"path_contains": "federatedIdentityCredentials", "write": True}, "action": {"lag": {"reads": 10**6, "places": ["token"]}}}):
        with pytest.raises(RegistrationError, match="federated"):
            federated.settle()
        assert federated.state.federated == "added"
    federated.settle()
    federated.assert_federated()


def test_from_secret_to_federated_and_back(world: World) -> None:
    there = world.with_(credential="federated")
    world.settle()
    world.release()
    for _round in range(2):
        old = world.value()
        there.settle()
        assert world.works(old) and world.value() == old, "pods go on with it until they are replaced"
        assert not there.secrets().changed
        assert reasons(there.retire(check=True)) == reasons(there.retire()) != []
        there.assert_federated()
        assert not there.secrets().changed and not there.settle().journal.changed

        world.settle()
        assert world.works(world.value()) and len(world.trusted) == 1, "pods go on with the trust until they are replaced"
        assert reasons(world.retire(check=True)) == reasons(world.retire()) != []
        world.assert_settled()
        assert not world.secrets().changed and not world.settle().journal.changed


@SENT
@pytest.mark.parametrize("at", range(6))
def test_killed_on_the_way_to_federated(world: World, at: int, sent: bool) -> None:
    world.settle()
    world.release()
    there = world.with_(credential="federated")
    death = Death(at, sent=sent)
    with pytest.raises(Killed):
        there.settle(death=death)
        there.retire(death=death)
    there.settle()
    there.retire()
    there.assert_federated()
    assert not there.settle().journal.changed and not there.keeper().pending()


@SENT
@pytest.mark.parametrize("at", range(5))
def test_killed_on_the_way_back(federated: World, at: int, sent: bool) -> None:
    federated.settle()
    there = federated.with_(credential="client_secret")
    death = Death(at, sent=sent)
    with pytest.raises(Killed):
        there.settle(death=death)
        there.retire(death=death)
    there.settle()
    there.retire()
    there.assert_settled()
    assert not there.settle().journal.changed and not there.keeper().pending()


def test_turning_back_half_way(world: World) -> None:
    """A rotation was begun, then federated was chosen: both values go."""
    world.settle()
    with pytest.raises(Killed):
        world.settle(rotate=True, death=Death(2))
    world.release()
    there = world.with_(credential="federated")
    there.settle()
    there.retire()
    there.assert_federated()


def test_an_existing_registration_must_trust_already(federated: World) -> None:
    existing = federated.with_(registration="existing")
    with pytest.raises(RegistrationError) as refused:
        existing.settle()
    assert all(word in str(refused.value) for word in (ISSUER, existing.team.workload_subject, "api://AzureADTokenExchange"))
    federated.settle()
    keeper = existing.settle()
    assert not keeper.journal.changed and not keeper.pending()


def test_a_secret_without_data_and_annotations(federated: World, api: Api) -> None:
    def empty(obj: Object) -> None:
        del obj["data"]
        obj["metadata"].pop("annotations", None)

    api.edit("Secret", federated.team.proxy_secret, empty)
    federated.settle()
    assert federated.state.federated == "proven" and len(federated.trusted) == 1


def test_long_names_stay_apart_and_fit() -> None:
    def name(team: str) -> str:
        keeper = Keeper(managed(name=team), *([None] * 5), lambda *_a, **_k: None)  # type: ignore[arg-type]
        return keeper.federated_name

    first, second = name("team-" + "x" * 120 + "a"), name("team-" + "x" * 120 + "b")
    assert first != second and len(first) <= 120 and len(second) <= 120 and first.startswith("gateway-auth-sandbox-monitoring-team-xxx")
    assert name("team-a") == "gateway-auth-sandbox-monitoring-team-a"


# --- what is told ------------------------------------------------------------------------------------------------------------------------


def test_described(world: World) -> None:
    theirs = world.add_password("by hand")
    world.settle()
    world.settle(rotate=True)
    told = world.keeper().describe()
    assert told["mode"] == "client_secret" and told["next"] is None
    assert [told["current"]["keyId"], *told["previous"]] == [world.state.current and world.state.current.key_id, *world.state.previous]
    assert {item["keyId"]: item["ours"] for item in told["passwords"]} == {theirs["keyId"]: False, **dict.fromkeys(world.ours, True)}
    assert theirs["secretText"] not in repr(told) and world.value() not in repr(told)
    there = world.with_(credential="federated")
    there.release()
    there.settle()
    [trusted] = there.keeper().describe()["federated"]
    assert trusted["ours"] and trusted["subject"] == there.team.workload_subject


def test_errors_carry_no_value(world: World, double: Double, api: Api) -> None:
    told = []
    with faults(double, {"match": {"path_contains": "addPassword"}, "action": {"lag": {"reads": 10**6, "places": ["token"]}}}):
        with pytest.raises(GatewayAuthError) as first:
            world.settle()
        told.append(str(first.value) + repr(first.value.__cause__))
    values = [world.value(NEXT_KEY)]
    api.lose_connection_after(0)
    with pytest.raises(GatewayAuthError) as second:
        world.settle()
    told.append(str(second.value) + repr(second.value.__cause__))
    api.mend()
    assert values[0] and not [text for text in told if values[0] in text]
    assert state(double)["applications"]


# --- a copy for others -----------------------------------------------------------------------------------------------------------

PLACE = "secret team-a of Key Vault https://contoso.vault.azure.net"


class Shelf:
    """A place outside the cluster. ``death``: as with Graph and the cluster, its writes may be the process's last."""

    object = "KeyVaultSecret/team-a"
    place = PLACE

    def __init__(self) -> None:
        self.held: tuple[str, Copy] | None = None
        self.puts = 0
        self.death = Death()
        self.refuses: str = ""

    def look(self) -> Copy | None:
        if self.refuses == "look":
            raise AzureError("No look.")
        return self.held[1] if self.held is not None else None

    def put(self, value: str, key_id: str, expires: str) -> None:
        def write() -> None:
            self.held = (value, Copy("gateway-auth.sandbox.monitoring.team-a", key_id))
            self.puts += 1

        if self.refuses == "put":
            raise AzureError("No put.")
        assert expires
        self.death.around(write)


def assert_on(shelf: Shelf, world: World) -> None:
    world.assert_settled()
    assert shelf.held is not None and shelf.held[0] == world.value() and [shelf.held[1].key_id] == world.ours


def test_a_copy_follows_the_secret(world: World) -> None:
    shelf = Shelf()
    foretold = world.settle(check=True, store=shelf)
    assert shelf.held is None and any("for others to read" in reason for reason in reasons(foretold))
    first = world.settle(store=shelf)
    assert kinds(first) == kinds(foretold) and ("create", "secret") in kinds(first)
    assert_on(shelf, world)
    assert not world.settle(store=shelf).journal.changed and shelf.puts == 1
    before = world.value()
    foretold = world.settle(check=True, rotate=True, store=shelf)
    rotated = world.settle(rotate=True, store=shelf)
    assert kinds(rotated) == kinds(foretold) and shelf.puts == 2
    assert world.works(before) and shelf.held is not None and shelf.held[0] == world.value() != before, "in the vault before the old one is revoked"
    world.retire(store=shelf)
    assert_on(shelf, world)
    told = repr([each.journal.__dict__ for each in (foretold, rotated, first)]) + repr(rotated)
    assert before not in told and world.value() not in told


def test_a_copy_that_went_comes_back(world: World) -> None:
    shelf = Shelf()
    world.settle(store=shelf)
    shelf.held = None
    again = world.settle(store=shelf)
    assert kinds(again) == [("create", "secret")]
    assert_on(shelf, world)


def test_a_store_for_a_secret_that_was_there_before(world: World) -> None:
    world.settle()
    shelf = Shelf()
    world.settle(store=shelf)
    assert_on(shelf, world)
    assert len(world.ours) == 1, "no new one was made for it"


@pytest.mark.parametrize("sent", [False, True])
def test_killed_at_the_copy(world: World, sent: bool) -> None:
    shelf = Shelf()
    world.settle(store=shelf)
    shelf.death = Death(0, sent=sent)
    with pytest.raises(Killed):
        world.settle(rotate=True, store=shelf)
    assert len(world.ours) == 2
    shelf.death = Death()
    world.settle(store=shelf)
    world.retire(store=shelf)
    assert_on(shelf, world)
    assert shelf.puts == 2


@pytest.mark.parametrize("sent", [False, True])
def test_killed_anywhere_with_a_copy(world: World, sent: bool) -> None:
    """Whatever write of a rotation was the last: a re-run ends with one secret, and that is in the store."""
    shelf = Shelf()
    world.settle(store=shelf)
    counted = Death()
    world.settle(rotate=True, death=counted, store=shelf)
    world.retire(store=shelf)
    assert counted.writes >= 3
    for at in range(counted.writes):
        with contextlib.suppress(Killed):
            world.settle(rotate=True, death=Death(at, sent=sent), store=shelf)
        world.settle(store=shelf)
        world.retire(store=shelf)
        assert_on(shelf, world)


def test_a_store_out_of_reach_stops_before_anything_is_added(world: World, double: Double) -> None:
    shelf = Shelf()
    shelf.refuses = "look"
    forget(double)
    with pytest.raises(AzureError):
        world.settle(store=shelf)
    assert not writes(double) and world.ours == []


def test_a_store_that_takes_nothing_keeps_the_old_secret_valid(world: World) -> None:
    shelf = Shelf()
    world.settle(store=shelf)
    old = world.value()
    shelf.refuses = "put"
    with pytest.raises(AzureError):
        world.settle(rotate=True, store=shelf)
    assert world.works(old) and world.works(world.value()) and shelf.held is not None and shelf.held[0] == old
    shelf.refuses = ""
    world.settle(store=shelf)
    world.retire(store=shelf)
    assert_on(shelf, world)


@pytest.mark.parametrize("owner", ["", "gateway-auth.sandbox.monitoring.team-b"])
def test_a_copy_that_is_somebody_else_s(world: World, owner: str) -> None:
    shelf = Shelf()
    shelf.held = ("theirs", Copy(owner, "k"))
    for check in (True, False):
        with pytest.raises(ForeignObjectError, match=r"KeyVaultSecret/team-a") as error:
            world.settle(check=check, store=shelf)
        assert PLACE in error.value.message and (owner or "no mark") in error.value.message
    assert world.ours == [] and shelf.held[0] == "theirs"
    for adopt in (["KeyVaultSecret/team-a"], ["all"]):
        shelf.held = ("theirs", Copy(owner, "k"))
        keeper = world.keeper(store=shelf)
        keeper.journal.adopt = adopt
        keeper.settle()
        assert_on(shelf, world)


def test_a_secret_of_ours_named_as_external_is_not_revoked(world: World) -> None:
    """A Key Vault that we wrote to becomes the source, and still holds what we wrote."""
    world.settle()
    value = world.value()
    external = world.with_(credential="external")
    assert any(world.ours[0] in finding for finding in external.retire().findings)
    assert world.works(value) and len(world.ours) == 1

    theirs = world.add_password("by hand")["secretText"]

    def put(secret: Object) -> None:
        secret["data"][KEY] = encode(theirs)

    world.api.edit("Secret", world.team.proxy_secret, put)
    external.retire()
    assert world.ours == [] and world.works(theirs) and not world.works(value)


# --- attacks ---------------------------------------------------------------------------------------------------------------------------


def deploy(world: World, api: Api, *, updated: int = 1) -> None:
    """A Deployment of one pod, whose pods are said to have started with what the Secrets hold now."""
    status = {"observedGeneration": 9, "updatedReplicas": updated, "availableReplicas": 1, "replicas": 1}
    meta: Object = {"name": world.team.release, "namespace": world.team.namespace}
    api.objects.pop(("deployments", world.team.namespace, world.team.release), None)
    spec: Object = {"replicas": 1, "selector": {}, "template": {"metadata": {}}}
    api.seed({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec, "status": status})
    _rollout.mark(world.team, Journal(world.kube, check=False), fresh=(world.team.release, world.team.store_name))


@pytest.mark.parametrize("mode", ["client_secret", "federated", "external"])
def test_pods_of_an_earlier_rollout_keep_what_they_use(world: World, api: Api, mode: str) -> None:
    """Another run put a new secret in place after our rollout: the pods that are there run on ours still."""
    world.settle()
    world.release()
    deploy(world, api)
    used = world.value()
    world.settle(rotate=True)
    if mode == "external":
        api.edit("Secret", world.team.proxy_secret, lambda obj: obj["data"].update({KEY: "dGhlaXJz"}))
    elif mode == "federated":
        world.with_(credential=mode).settle()
    with pytest.raises(NotReadyError) as refused:
        world.with_(credential=mode).retire()
    assert world.works(used) and world.team.release in str(refused.value)
    deploy(world.with_(credential=mode), api)
    world.with_(credential=mode).retire()
    assert not world.works(used)


def test_a_rollout_that_has_not_begun_yet_is_waited_for(world: World, api: Api) -> None:
    """The template is changed, no pod of it made: all pods that are there are of one generation, the old one."""
    world.settle()
    used = world.value()
    world.release()
    world.settle(rotate=True)
    deploy(world, api, updated=0)
    with pytest.raises(NotReadyError):
        world.retire()
    assert world.works(used)

    def sleep(_seconds: float) -> None:
        api.the("Deployment", world.team.release)["status"]["updatedReplicas"] = 1

    world.retire(sleep=sleep)
    world.assert_settled()


@pytest.mark.parametrize("name", ["by hand", "gateway-auth.sandbox.monitoring.team-b"])
@pytest.mark.parametrize("credential", ["client_secret", "federated", "external"])
def test_a_key_id_in_the_annotation_gives_no_right_to_revoke_it(world: World, api: Api, name: str, credential: str) -> None:
    """Edited by hand, or of a Secret copied from a team that shares the registration."""
    theirs = world.add_password(name)
    world.settle()
    state_ = world.state
    world.annotate(State(state_.current, None, (theirs["keyId"],)).annotation())
    if credential == "external":
        api.edit("Secret", world.team.proxy_secret, lambda obj: obj["data"].update({KEY: "dGhlaXJz"}))
    changed = world.with_(credential=credential)
    changed.release()
    changed.settle()
    retired = changed.retire()
    assert world.works(theirs["secretText"]) and not any(theirs["keyId"] in reason for reason in reasons(retired))
    assert world.state.previous == ()


@pytest.mark.parametrize("part", ["current", "next"])
def test_a_secret_that_somebody_else_made_is_not_ours_for_standing_in_the_annotation(world: World, api: Api, part: str) -> None:
    world.settle()
    theirs = world.add_password("gateway-auth.sandbox.monitoring.team-b")
    copied = Password(theirs["keyId"], NOW.isoformat())
    world.annotate((State(copied) if part == "current" else State(world.state.current, copied)).annotation())
    key = KEY if part == "current" else NEXT_KEY
    api.edit("Secret", world.team.proxy_secret, lambda obj: obj["data"].update({key: encode(theirs["secretText"])}))
    world.settle()
    world.retire()
    world.assert_settled()
    assert world.works(theirs["secretText"]) and world.value() != theirs["secretText"]


def test_a_value_that_is_not_the_annotation_s_is_replaced_and_revoked_only_afterwards(world: World, api: Api) -> None:
    """A Secret whose data comes from a backup and whose annotation doesn't, say: what the annotation calls unused is in use."""
    world.settle()
    old = world.value()
    world.settle(rotate=True)
    state_ = world.state
    world.annotate(State(state_.current).annotation())
    api.edit("Secret", world.team.proxy_secret, lambda obj: obj["data"].update({KEY: encode(old)}))
    with pytest.raises(RegistrationError):
        world.retire()
    assert world.works(old)
    replaced = world.settle()
    assert any("hint" in reason for reason in reasons(replaced)) and world.value() not in (old, "") and world.works(old)
    world.retire()
    world.assert_settled()


def test_a_next_one_whose_value_is_another_s_is_forgotten(world: World, api: Api) -> None:
    world.settle()
    lost = world.add_password(world.team.unique_name)
    world.annotate(State(world.state.current, Password(lost["keyId"])).annotation())
    api.edit("Secret", world.team.proxy_secret, lambda obj: obj["data"].update({NEXT_KEY: "YnktaGFuZA=="}))
    world.settle()
    world.retire()
    world.assert_settled()


def test_nothing_is_revoked_while_nobody_knows_what_is_in_use(world: World) -> None:
    world.settle()
    used = world.value()
    world.annotate(None)
    with pytest.raises(RegistrationError):
        world.retire()
    assert world.works(used)
    world.settle()
    world.retire()
    world.assert_settled()


def test_a_secret_of_ours_that_goes_on_as_an_external_one_stays(world: World) -> None:
    """Somebody copied it into a vault, and named that as the source."""
    world.settle()
    used = world.value()
    external = world.with_(credential="external")
    for _run in range(2):
        settled = external.settle()
        external.retire()
        assert world.works(used) and world.value() == used
        assert [finding for finding in settled.findings if world.ours[0] in finding]
    assert not external.keeper().pending() and external.settle().findings


@pytest.mark.parametrize("label", ["gateway-auth/managed", "gateway-auth/environment", "gateway-auth/stack", "gateway-auth/team"])
@pytest.mark.parametrize("how", [{"rotate": True}, {"when_old": True}, {"rotate": True, "check": True}, {}], ids=str)
def test_a_secret_of_another_installation_is_left_alone(world: World, double: Double, api: Api, label: str, how: Object) -> None:
    world.settle()
    api.edit("Secret", world.team.proxy_secret, lambda obj: obj["metadata"]["labels"].update({label: "other"}))
    before = world.secret
    forget(double)
    with pytest.raises(ForeignObjectError):
        world.settle(**how)
    with pytest.raises(ForeignObjectError):
        world.with_(credential="federated").settle(**{**how, "rotate": False, "when_old": True})
    assert world.secret == before and not writes(double)


def test_check_mode_of_an_adoption_foretells(world: World, api: Api) -> None:
    """The Secret is taken over by an earlier phase, which in check mode wrote nothing."""
    api.edit("Secret", world.team.proxy_secret, lambda obj: obj["metadata"].pop("labels"))
    assert kinds(world.settle(check=True)) == [("create", "client"), ("update", "Secret")]


def test_a_young_one_that_a_replica_does_not_list_is_not_replaced(world: World) -> None:
    world.settle()
    used = world.value()
    keeper = world.keeper()
    keeper.application = {**keeper.application, "passwordCredentials": []}
    keeper.settle()
    assert world.value() == used and not keeper.journal.changed
    keeper.now = later(1)
    keeper.settle()
    assert world.value() != used
