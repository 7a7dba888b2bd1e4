# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Closed until proven, in every order of events. The guard of ``Envoy`` judges each write of each test besides."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _claims, _routes
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ClusterError, ForeignObjectError, NotReadyError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import gateway_manifests
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._probe import Answer, ProbeClient
from tests.golden import model, team
from tests.unit.support.api import Api, Refusal
from tests.unit.support.envoy import IN_A_ROW, Envoy

Object = dict[str, t.Any]
PROMETHEUS, ALERTMANAGER = model()["apps"]
HOST = PROMETHEUS["hostname"]
TWO = team()
ONE = team({"apps": [PROMETHEUS]})
POLICY, PASSTHROUGH, ROUTE = "oauth2-prometheus-team-a", "prometheus-passthrough-oauth-team-a", "prometheus-team-a"
CLAIM = ONE.claim_name
_OBJECTS_OF_ONE = ("policy", "passthrough", "route")
WRITES_OF_ONE = 4


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_routes, "STATUS_TIMEOUT_S", 0.4)
    monkeypatch.setattr(_routes, "REFUSAL_TIMEOUT_S", 2.0)
    monkeypatch.setattr(_routes, "POLL_S", 0.01)
    monkeypatch.setattr(_claims, "TAKEN_TIMEOUT_S", 0.2)
    monkeypatch.setattr(_claims, "LAG_S", 0.4)
    monkeypatch.setattr(_claims, "POLL_S", 0.01)


@pytest.fixture
def envoy(api: Api) -> Envoy:
    return Envoy(api)


def _run(kube: Kube, envoy: Envoy, given: Team = ONE, *, check: bool = False, adopt: t.Collection[str] = ()) -> Journal:
    journal = Journal(kube, check=check, adopt=adopt)
    _routes.Routes(given, journal, t.cast("ProbeClient", envoy)).run()
    return journal


def _app(**changes: t.Any) -> Team:
    return team({"apps": [{**PROMETHEUS, **changes}]})


def _order(api: Api) -> list[str]:
    """Writes and outside requests; repeated requests once."""
    return [step for step, _group in itertools.groupby(api.trace)]


def _stored(api: Api) -> set[tuple[str, str]]:
    kinds = {"HTTPRoute", "SecurityPolicy", "ReferenceGrant"}
    return {(obj["kind"], obj["metadata"]["name"]) for obj in api.objects.values() if obj["kind"] in kinds}


def _desired(given: Team) -> set[tuple[str, str]]:
    return {(obj["kind"], obj["metadata"]["name"]) for obj in gateway_manifests(given)}


# --- the sequence ----------------------------------------------------------------------------------------------------------


def test_sequence(api: Api, kube: Kube, envoy: Envoy) -> None:
    api.read_only = True
    predicted = _run(kube, envoy, TWO, check=True)
    assert len(predicted.changes) == len(_desired(TWO)) + 1, "the claim"
    assert not any(request.method == "ASK" for request in api.journal), "check mode proves nothing"
    api.read_only = False

    written = _run(kube, envoy, TWO)
    assert written.listing() == predicted.listing() and written.diff() == predicted.diff()
    assert _stored(api) == _desired(TWO)

    api.forget()
    again = _run(kube, envoy, TWO)
    assert not again.changed
    assert all(request.startswith("GET") for request in api.asked), "no write, no dry run, no probe"

    slower = team({"apps": [{**PROMETHEUS, "timeout": "30s"}, ALERTMANAGER]})
    updated = _run(kube, envoy, slower)
    assert [(change["action"], change["object"]) for change in updated.listing()] == [("update", f"HTTPRoute {ONE.namespace}/{ROUTE}")]

    fewer = _run(kube, envoy, team({"apps": [ALERTMANAGER]}))
    assert [change["action"] for change in fewer.listing()] == ["delete", "delete", "delete", "update"], "the claim last"
    assert _stored(api) == _desired(team({"apps": [ALERTMANAGER]}))
    assert not _run(kube, envoy, team({"apps": [ALERTMANAGER]})).changed

    _run(kube, envoy, team({"apps": []}))
    assert _stored(api) == set()
    assert not _run(kube, envoy, team({"apps": []})).changed


def test_the_order_of_an_onboarding(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy)
    assert _order(api) == [
        f"PATCH ConfigMap {CLAIM}",
        f"ASK {HOST}/.gateway-auth/probe 404",
        f"PATCH SecurityPolicy {POLICY}",
        f"PATCH HTTPRoute {PASSTHROUGH}",
        f"ASK {HOST}/.gateway-auth/probe 401",
        f"PATCH HTTPRoute {ROUTE}",
    ]
    assert envoy.refused[HOST] >= IN_A_ROW


def test_a_policy_that_is_live_late(api: Api, kube: Kube) -> None:
    _run(kube, Envoy(api, lag=25))
    asked = [step for step in _order(api) if step.startswith("ASK")][1:]
    assert asked[0].endswith("302") and asked[-1].endswith("401")
    assert _order(api)[-1] == f"PATCH HTTPRoute {ROUTE}"


def test_several_apps_are_all_proven_before_the_first_opens(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy, TWO)
    order = _order(api)
    opened = [order.index(f"PATCH HTTPRoute {app['name']}-team-a") for app in (PROMETHEUS, ALERTMANAGER)]
    proven = [order.index(f"ASK {app['hostname']}/.gateway-auth/probe 401") for app in (PROMETHEUS, ALERTMANAGER)]
    assert max(proven) < min(opened)


def test_only_the_app_that_changes_is_proven_anew(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy, ONE)
    api.forget()
    _run(kube, envoy, TWO)
    assert not any(HOST in step for step in _order(api) if step.startswith("ASK"))
    assert any(ALERTMANAGER["hostname"] in step for step in _order(api))


def test_a_new_host_is_proven_before_the_app_moves_there(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy)
    api.forget()
    _run(kube, envoy, _app(hostname="new.apps.example.com"))
    assert _order(api) == [
        f"PATCH ConfigMap {CLAIM}",
        f"PATCH HTTPRoute {PASSTHROUGH}",
        "ASK new.apps.example.com/.gateway-auth/probe 401",
        f"PATCH HTTPRoute {ROUTE}",
        f"PATCH ConfigMap {CLAIM}",
    ]


def test_a_narrower_app_changes_only_its_policy_and_is_proven(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy)
    api.forget()
    _run(kube, envoy, _app(allowed_groups=[{"id": "5f0c0c7e-0000-4000-8000-0000000000a2", "name": "oncall"}]))
    assert _order(api) == [f"PATCH ConfigMap {CLAIM}", f"PATCH SecurityPolicy {POLICY}", f"ASK {HOST}/.gateway-auth/probe 401"]


# --- what keeps it shut ------------------------------------------------------------------------------------------------------


def test_a_policy_that_never_bites(api: Api, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_routes, "REFUSAL_TIMEOUT_S", 0.2)
    with pytest.raises(NotReadyError) as error:
        _run(kube, Envoy(api, lag=100_000))
    assert HOST in error.value.message
    assert ROUTE not in api.names("HTTPRoute")


@pytest.mark.parametrize(
    ("name", "verdict", "words"),
    [
        pytest.param(POLICY, {"type": "Accepted", "status": "False", "message": "no such Service"}, ["SecurityPolicy", "no such Service"], id="policy refused"),
        pytest.param(POLICY, {"type": "Overridden", "status": "True", "message": "by another"}, ["SecurityPolicy", "by another"], id="policy overridden"),
        pytest.param(POLICY, None, ["SecurityPolicy", "no status"], id="policy not judged"),
        pytest.param(POLICY, {"type": "Accepted", "observedGeneration": 0}, ["SecurityPolicy", "generation"], id="policy judged before"),
        pytest.param(
            PASSTHROUGH, {"type": "Accepted", "status": "False", "message": "NoMatchingListener"}, ["HTTPRoute", "NoMatchingListener"], id="passthrough refused"
        ),
        pytest.param(
            PASSTHROUGH, {"type": "ResolvedRefs", "status": "False", "message": "no backend"}, ["HTTPRoute", "no backend"], id="passthrough unresolved"
        ),
    ],
)
def test_what_envoy_gateway_does_not_accept_opens_nothing(api: Api, kube: Kube, envoy: Envoy, name: str, verdict: Object | None, words: list[str]) -> None:
    api.verdicts[name] = verdict
    with pytest.raises(NotReadyError) as error:
        _run(kube, envoy)
    assert name in error.value.message
    assert all(word in error.value.message for word in words)
    assert ROUTE not in api.names("HTTPRoute")
    api.verdicts.clear()
    api.judge_again()
    _run(kube, envoy)
    assert _stored(api) == _desired(ONE)


def test_a_route_that_is_not_accepted_in_the_end_is_told(api: Api, kube: Kube, envoy: Envoy) -> None:
    api.verdicts[ROUTE] = {"type": "ResolvedRefs", "status": "False", "message": "Service not found"}
    with pytest.raises(NotReadyError, match="Service not found"):
        _run(kube, envoy)


def test_a_policy_that_somebody_deletes_meanwhile(api: Api, kube: Kube, envoy: Envoy) -> None:
    def delete(request: t.Any) -> None:
        if request.name == PASSTHROUGH:
            api.objects.pop(("securitypolicies", ONE.namespace, POLICY), None)

    api.after_write.append(delete)
    with pytest.raises(NotReadyError, match=POLICY):
        _run(kube, envoy)
    assert ROUTE not in api.names("HTTPRoute")


@pytest.mark.parametrize("answer_only", [False, True], ids=["not written", "written, answer lost"])
@pytest.mark.parametrize("after", range(WRITES_OF_ONE))
def test_an_onboarding_may_die_at_any_write(api: Api, kube: Kube, envoy: Envoy, after: int, answer_only: bool) -> None:
    api.lose_connection_after(after, answer_only=answer_only)
    with pytest.raises(ClusterError):
        _run(kube, envoy)
    api.mend()
    _run(kube, envoy)
    assert _stored(api) == _desired(ONE)
    assert not _run(kube, envoy).changed


@pytest.mark.parametrize("answer_only", [False, True], ids=["not written", "written, answer lost"])
@pytest.mark.parametrize("after", range(5))
def test_a_removal_may_die_at_any_write(api: Api, kube: Kube, after: int, answer_only: bool) -> None:
    envoy = Envoy(api, lag=3)
    _run(kube, envoy, TWO)
    rest = team({"apps": [ALERTMANAGER]})
    api.lose_connection_after(after, answer_only=answer_only)
    with pytest.raises(ClusterError):
        _run(kube, envoy, rest)
    api.mend()
    _run(kube, envoy, rest)
    assert _stored(api) == _desired(rest)


# --- drift -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda obj: obj["spec"]["extAuth"].update(failOpen=True), id="failOpen"),
        pytest.param(lambda obj: obj["spec"]["extAuth"].update(recomputeRoute=True), id="recomputeRoute"),
        pytest.param(lambda obj: obj["spec"].update(authorization={"defaultAction": "Allow"}), id="authorization"),
        pytest.param(lambda obj: obj["spec"]["targetRefs"].pop(0), id="target removed"),
        pytest.param(lambda obj: obj["metadata"]["labels"].pop("gateway-auth/app"), id="label of the app"),
    ],
)
def test_drift_of_a_policy_goes(api: Api, kube: Kube, envoy: Envoy, change: t.Callable[[Object], None]) -> None:
    _run(kube, envoy)
    spec = api.the("SecurityPolicy", POLICY)["spec"]
    before = {**spec, "extAuth": dict(spec["extAuth"]), "targetRefs": list(spec["targetRefs"])}
    api.edit("SecurityPolicy", POLICY, change)
    assert _run(kube, envoy).changed
    assert api.the("SecurityPolicy", POLICY)["spec"] == before
    assert not _run(kube, envoy).changed


@pytest.mark.parametrize("name", [POLICY, PASSTHROUGH, ROUTE])
def test_what_somebody_deleted_comes_back(api: Api, kube: Kube, envoy: Envoy, name: str) -> None:
    _run(kube, envoy)
    key = next(key for key in api.objects if key[2] == name)
    if name != ROUTE:  # without its policy the app is open: not by us, but until the next run
        api.objects.pop(("httproutes", ONE.namespace, ROUTE))
    api.objects.pop(key)
    _run(kube, envoy)
    assert _stored(api) == _desired(ONE)


def test_a_passthrough_route_of_a_served_app_comes_back(api: Api, kube: Kube, envoy: Envoy) -> None:
    """The sentinel's path is the app's then, and refused by the app's own policy."""
    _run(kube, envoy)
    api.objects.pop(("httproutes", ONE.namespace, PASSTHROUGH))
    _run(kube, envoy)
    assert _stored(api) == _desired(ONE)


# --- whose it is -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [True, False], ids=["check mode", "live"])
@pytest.mark.parametrize("index", range(len(_OBJECTS_OF_ONE)), ids=_OBJECTS_OF_ONE)
def test_a_foreign_object_stops_the_team_with_nothing_written(api: Api, kube: Kube, envoy: Envoy, index: int, check: bool) -> None:
    theirs = gateway_manifests(ONE)[index]
    theirs["metadata"]["labels"] = {"app": "theirs"}
    api.seed(theirs)
    with pytest.raises(ForeignObjectError, match=theirs["metadata"]["name"]):
        _run(kube, envoy, TWO, check=check)
    assert not api.writes


def test_an_installation_made_by_hand_is_taken_over_in_place(api: Api, kube: Kube, envoy: Envoy) -> None:
    by_hand = gateway_manifests(ONE)
    for obj in by_hand:
        obj["metadata"]["labels"] = {}
    by_hand[0]["spec"]["extAuth"].update(failOpen=True, recomputeRoute=True)
    api.seed(*by_hand)
    journal = _run(kube, envoy, adopt=["all"])
    assert [change["action"] for change in journal.listing()] == ["create", "adopt", "adopt", "adopt"], "the claim, then what was there"
    assert _stored(api) == _desired(ONE)
    assert api.the("SecurityPolicy", POLICY)["spec"]["extAuth"].get("recomputeRoute") is None
    assert _order(api)[-1] == f"PATCH HTTPRoute {ROUTE}"
    assert not _run(kube, envoy).changed


def test_a_field_that_excludes_one_of_ours_is_taken_over_too(api: Api, kube: Kube, envoy: Envoy) -> None:
    """`path`, as the guide writes it: the API server refuses it beside `pathOverride`, which is all that an apply can ask for."""
    by_hand = gateway_manifests(ONE)
    for obj in by_hand:
        obj["metadata"]["labels"] = {}
    http = by_hand[0]["spec"]["extAuth"]["http"]
    del http["pathOverride"]
    http["path"] = "/?rd=https://x"
    api.seed(*by_hand)

    def refuse(request: t.Any) -> None:
        stored = api.find(request.kind, request.name)
        if isinstance(request.body, dict) and stored and "path" in stored.get("spec", {}).get("extAuth", {}).get("http", {}):
            raise Refusal(422, "only one of path or pathOverride can be specified", "Invalid")

    api.before_patch.append(refuse)
    predicted = _run(kube, envoy, check=True, adopt=["all"])
    assert not api.writes
    assert _run(kube, envoy, adopt=["all"]).listing() == predicted.listing()
    assert api.the("SecurityPolicy", POLICY)["spec"]["extAuth"]["http"].get("path") is None
    assert not _run(kube, envoy).changed


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(team({"name": "team-b"}).owner_labels(), id="another team"),
        pytest.param(team({"stack": "logging"}).owner_labels(), id="another stack"),
        pytest.param(team({"environment": "test-weu"}).owner_labels(), id="another environment"),
        pytest.param({key: value for key, value in ONE.owner_labels().items() if not key.endswith("managed")}, id="not marked as managed"),
        pytest.param({}, id="nobody's"),
    ],
)
def test_others_objects_in_the_namespace_are_not_pruned(api: Api, kube: Kube, envoy: Envoy, labels: Object) -> None:
    theirs = gateway_manifests(_app(name="theirs", hostname="theirs.apps.example.com"))
    for obj in theirs:
        obj["metadata"]["labels"] = labels
    api.seed(*theirs)
    _run(kube, envoy)
    assert {(obj["kind"], obj["metadata"]["name"]) for obj in theirs} <= _stored(api)


# --- removal ---------------------------------------------------------------------------------------------------------------


def test_the_order_of_a_removal(api: Api, kube: Kube) -> None:
    envoy = Envoy(api, lag=3)
    _run(kube, envoy, TWO)
    api.forget()
    journal = _run(kube, envoy, team({"apps": [ALERTMANAGER]}))
    assert _order(api) == [
        f"DELETE HTTPRoute {ROUTE}",
        f"ASK {HOST}{_routes._NOBODYS_PATH} 401",
        f"ASK {HOST}{_routes._NOBODYS_PATH} 404",
        f"DELETE HTTPRoute {PASSTHROUGH}",
        f"PATCH SecurityPolicy {POLICY}",  # says that it may go
        f"DELETE SecurityPolicy {POLICY}",
        f"PATCH ConfigMap {CLAIM}",
    ]
    assert all("prometheus" in reason for change in journal.listing() for reason in change["reasons"])


@pytest.mark.parametrize(
    ("everybodys", "answer", "gone"),
    [
        pytest.param(404, Answer(404, []), True, id="no route"),
        pytest.param(200, Answer(200, []), True, id="a page for every host of the domain"),
        pytest.param(302, Answer(302, [("Location", "https://www.example.com")]), True, id="every host is sent elsewhere"),
        pytest.param(404, Answer(200, []), False, id="the app answers"),
        pytest.param(302, Answer(302, [("Set-Cookie", f"{ONE.cookie_name}_csrf=x")]), False, id="our own door"),
        pytest.param(503, Answer(503, []), False, id="what may be our policy's error"),
        pytest.param(0, Answer(302, [("Set-Cookie", "__Host-o2p-team-b_csrf=x")]), True, id="another team's door"),
    ],
)
def test_when_a_host_is_nobody_s_any_more(kube: Kube, envoy: Envoy, everybodys: int, answer: Answer, gone: bool) -> None:
    routes = _routes.Routes(ONE, Journal(kube, check=False), t.cast("ProbeClient", envoy))
    assert routes._is_gone(answer, lambda: everybodys) is gone


def test_a_page_of_quarantine_that_a_killed_run_left_is_found(api: Api, kube: Kube, envoy: Envoy) -> None:
    """The run that brought the team back died after its routes, and the inventory knows of no quarantine."""
    _run(kube, envoy)
    version, kind = _routes.OUR_KINDS[-1]
    api.seed({"apiVersion": version, "kind": kind, "metadata": {"name": "p", "namespace": ONE.namespace, "labels": ONE.owner_labels()}})
    assert [change["object"] for change in _run(kube, envoy).listing()] == [f"HTTPRouteFilter {ONE.namespace}/p"]


def test_grants_are_found_where_the_apps_services_are(api: Api, kube: Kube, envoy: Envoy) -> None:
    """An identity that may not list grants in the whole cluster, and a team of which no app is wanted any more."""
    elsewhere = _app(service={**PROMETHEUS["service"], "namespace": "monitoring"})
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}})
    _run(kube, envoy, elsewhere)
    assert [kind for kind, _name in _stored(api) if kind == "ReferenceGrant"]
    api.at_home.add("referencegrants")
    journal = Journal(kube, check=False)
    none = dataclasses.replace(elsewhere, apps=())
    _routes.Routes(none, journal, t.cast("ProbeClient", envoy), leaves="it goes", backends={"monitoring"}).run()
    assert _stored(api) == set()


def test_a_route_that_does_not_go_keeps_its_policy(api: Api, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    envoy = Envoy(api)
    _run(kube, envoy, TWO)
    envoy.lag = 100_000
    monkeypatch.setattr(_routes, "REFUSAL_TIMEOUT_S", 0.2)
    with pytest.raises(NotReadyError, match=HOST):
        _run(kube, envoy, team({"apps": [ALERTMANAGER]}))
    assert POLICY in api.names("SecurityPolicy")


def test_check_mode_of_a_removal(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy, TWO)
    before = _stored(api)
    api.read_only = True
    predicted = _run(kube, envoy, team({"apps": [ALERTMANAGER]}), check=True)
    assert _stored(api) == before
    api.read_only = False
    written = _run(kube, envoy, team({"apps": [ALERTMANAGER]}))
    assert written.listing() == predicted.listing()


def test_an_app_in_exchange_for_another(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy, ONE)
    api.forget()
    _run(kube, envoy, team({"apps": [ALERTMANAGER]}))
    order = _order(api)
    assert order[0] == f"PATCH ConfigMap {CLAIM}"
    assert order[1] == f"DELETE HTTPRoute {ROUTE}", "a door is shut before another is opened"
    assert order[-2:] == [f"DELETE SecurityPolicy {POLICY}", f"PATCH ConfigMap {CLAIM}"]


@pytest.mark.parametrize("lag", [0, 50])
def test_an_app_renamed_on_its_host(api: Api, kube: Kube, lag: int) -> None:
    """The old app's sentinel is refused too; it must not pass for the new one's."""
    envoy = Envoy(api, lag)
    _run(kube, envoy, ONE)
    renamed = _app(name="metrics")
    _run(kube, envoy, renamed)
    assert _stored(api) == _desired(renamed)
    assert not _run(kube, envoy, renamed).changed


@pytest.mark.parametrize("after", range(10))
def test_a_renaming_may_die_at_any_write(api: Api, kube: Kube, after: int) -> None:
    envoy = Envoy(api, lag=50)
    _run(kube, envoy, ONE)
    renamed = _app(name="metrics")
    api.lose_connection_after(after, answer_only=False)
    try:
        _run(kube, envoy, renamed)
    except ClusterError:
        api.mend()
    _run(kube, envoy, renamed)
    assert _stored(api) == _desired(renamed)


def test_a_new_host_and_no_public_paths_any_more(api: Api, kube: Kube) -> None:
    envoy = Envoy(api, lag=3)
    _run(kube, envoy, _app(public_paths=["/-/healthy"]))
    moved = _app(hostname="new.apps.example.com")
    _run(kube, envoy, moved)
    assert _stored(api) == _desired(moved)


def test_an_app_takes_the_host_of_one_that_goes(api: Api, kube: Kube) -> None:
    envoy = Envoy(api, lag=25)
    _run(kube, envoy, TWO)
    heir = team({"apps": [{**ALERTMANAGER, "hostname": HOST}]})
    _run(kube, envoy, heir)
    assert _stored(api) == _desired(heir)


def test_hosts_that_apps_exchange(api: Api, kube: Kube) -> None:
    envoy = Envoy(api, lag=25)
    _run(kube, envoy, TWO)
    swapped = team({"apps": [{**PROMETHEUS, "hostname": ALERTMANAGER["hostname"]}, {**ALERTMANAGER, "hostname": HOST}]})
    _run(kube, envoy, swapped)
    assert not _run(kube, envoy, swapped).changed


def test_a_host_that_another_team_still_has(api: Api, kube: Kube, envoy: Envoy, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = gateway_manifests(team({"name": "team-b", "apps": [PROMETHEUS]}))
    api.namespaces("monitoring-team-b")
    api.seed(*theirs)
    monkeypatch.setattr(_routes, "REFUSAL_TIMEOUT_S", 0.2)
    with pytest.raises(NotReadyError, match="another team"):
        _run(kube, envoy)
    assert [str(request) for request in api.writes] == [f"PATCH ConfigMap {CLAIM}"]


def test_another_run_for_the_same_team_at_once(api: Api, kube: Kube, envoy: Envoy, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wrote everything after this one had looked."""
    looked = _routes.Routes._live

    def late(self: _routes.Routes) -> dict[t.Any, Object]:
        live = looked(self)
        monkeypatch.setattr(_routes.Routes, "_live", looked)
        _run(kube, envoy)
        return live

    monkeypatch.setattr(_routes.Routes, "_live", late)
    _run(kube, envoy)
    assert _stored(api) == _desired(ONE)


def test_one_envoy_that_is_late_keeps_the_policy(api: Api, kube: Kube) -> None:
    """Behind one address there may be several Envoys, and one 404 is the word of one of them."""
    envoy = Envoy(api, lag=3)
    _run(kube, envoy, TWO)
    honest, turns = envoy.request, itertools.count()

    def now_one_now_the_other(host: str, path: str, **options: t.Any) -> Answer:
        gone = path == "/" and next(turns) % 2 == 0 and not envoy._route(host, passthrough=False)
        return Answer(404, []) if gone else honest(host, path, **options)

    envoy.request = now_one_now_the_other  # type: ignore[method-assign]
    _run(kube, envoy, team({"apps": [ALERTMANAGER]}))


def test_another_team_s_door_on_a_host_that_left_is_no_route_of_ours(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy, TWO)
    honest = envoy.request

    def taken(host: str, path: str, **options: t.Any) -> Answer:
        door = host == HOST and path == "/" and not envoy._route(host, passthrough=False)
        return Answer(302, [("Set-Cookie", "__Host-o2p-team-b_x_csrf=y; path=/")]) if door else honest(host, path, **options)

    envoy.request = taken  # type: ignore[method-assign]
    _run(kube, envoy, team({"apps": [ALERTMANAGER]}))
    assert _stored(api) == _desired(team({"apps": [ALERTMANAGER]}))


# --- public paths and other namespaces ----------------------------------------------------------------------------------------


def test_public_paths_come_and_go(api: Api, kube: Kube, envoy: Envoy) -> None:
    public = _app(public_paths=["/-/healthy"])
    _run(kube, envoy, public)
    assert _stored(api) == _desired(public)
    writes = [step for step in _order(api) if step.startswith("PATCH HTTPRoute")]
    assert writes[-2:] == [f"PATCH HTTPRoute {ROUTE}", f"PATCH HTTPRoute {ROUTE}-public"], "only the app's own route keeps `/-/healthy/..;/admin` shut"
    api.forget()
    journal = _run(kube, envoy, ONE)
    assert _order(api) == [f"DELETE HTTPRoute {ROUTE}-public", f"PATCH ConfigMap {CLAIM}"], "the host stays, so nobody waits for a 404"
    assert "no longer" in journal.listing()[0]["reasons"][0]


def test_public_paths_go_before_their_app(api: Api, kube: Kube, envoy: Envoy) -> None:
    public = _app(public_paths=["/-/healthy"])
    _run(kube, envoy, public)
    api.forget()
    _routes.Routes(public, Journal(kube, check=False), t.cast("ProbeClient", envoy)).withdraw("its proxy is gone")
    deleted = [step for step in _order(api) if step.startswith("DELETE")]
    assert deleted == [f"DELETE HTTPRoute {ROUTE}-public", f"DELETE HTTPRoute {ROUTE}"]
    api.forget()
    _run(kube, envoy, public)
    assert _stored(api) == _desired(public)
    api.forget()
    _run(kube, envoy, dataclasses.replace(public, apps=()))
    deleted = [step for step in _order(api) if step.startswith("DELETE HTTPRoute")]
    assert deleted[:2] == [f"DELETE HTTPRoute {ROUTE}-public", f"DELETE HTTPRoute {ROUTE}"]


def _elsewhere(namespace: str = "shared") -> Team:
    return _app(service={**PROMETHEUS["service"], "namespace": namespace})


def test_a_service_in_another_namespace_gets_its_grant_first(api: Api, kube: Kube, envoy: Envoy) -> None:
    api.namespaces("shared")
    _run(kube, envoy, _elsewhere())
    assert _order(api)[2].startswith("PATCH ReferenceGrant")
    assert api.the("HTTPRoute", ROUTE)["spec"]["rules"][0]["backendRefs"][0]["namespace"] == "shared"
    assert not _run(kube, envoy, _elsewhere()).changed


def test_a_route_follows_its_service_home(api: Api, kube: Kube, envoy: Envoy) -> None:
    api.namespaces("shared")
    _run(kube, envoy, _elsewhere())
    _run(kube, envoy, ONE)
    assert "namespace" not in api.the("HTTPRoute", ROUTE)["spec"]["rules"][0]["backendRefs"][0]


def test_a_timeout_goes_again(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy, _app(timeout="30s"))
    _run(kube, envoy, ONE)
    assert "timeouts" not in api.the("HTTPRoute", ROUTE)["spec"]["rules"][0]


@pytest.mark.parametrize("after", [ONE, _elsewhere("other"), team({"apps": []})], ids=["service moved home", "service moved on", "app removed"])
def test_a_grant_that_is_no_longer_needed_goes(api: Api, kube: Kube, envoy: Envoy, after: Team) -> None:
    api.namespaces("shared", "other")
    _run(kube, envoy, _elsewhere())
    _run(kube, envoy, after)
    assert not [key for key in api.objects if key[0] == "referencegrants" and key[1] == "shared"]


def test_services_that_policies_ask_and_that_are_missing_are_found(api: Api, kube: Kube, envoy: Envoy) -> None:
    journal = _run(kube, envoy, ONE)
    routes = _routes.Routes(ONE, journal, t.cast("ProbeClient", envoy))
    assert routes.missing_services() == [ONE.authz_service]
    api.seed({"apiVersion": "v1", "kind": "Service", "metadata": {"name": ONE.authz_service, "namespace": ONE.namespace}, "spec": {}})
    assert routes.missing_services() == []


def test_without_policies_no_service_is_missing(kube: Kube, envoy: Envoy) -> None:
    assert _routes.Routes(ONE, Journal(kube, check=False), t.cast("ProbeClient", envoy)).missing_services() == []


def test_routes_are_withdrawn_while_their_proxy_has_no_service(api: Api, kube: Kube) -> None:
    """Envoy Gateway brings the route back before its filter, once the Service is there again."""
    envoy = Envoy(api)
    _run(kube, envoy)
    passthrough = {name for name in api.names("HTTPRoute") if "passthrough" in name}
    for check in (True, False):
        api.read_only = check
        journal = Journal(kube, check=check)
        _routes.Routes(ONE, journal, t.cast("ProbeClient", envoy)).withdraw("its proxy is gone")
        assert [(change.action, change.obj["metadata"]["name"]) for change in journal.changes] == [("delete", "prometheus-team-a")]
    assert api.names("HTTPRoute") == passthrough
    restored = _run(kube, envoy)
    assert [(change["action"], change["object"].partition("/")[2]) for change in restored.listing()] == [("create", "prometheus-team-a")]
