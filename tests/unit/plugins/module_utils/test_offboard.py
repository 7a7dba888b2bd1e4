# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a team waits, what goes after its routes, and what still carries its labels."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _offboard
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import namespace_manifest
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import QUARANTINE_ANNOTATION, Team
from tests.golden import team
from tests.unit.support.api import Api
from tests.unit.support.releases import deployment, release_record

Object = dict[str, t.Any]
NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)
TEAM = team()
HOME = TEAM.namespace


def _route(since: str = "") -> Object:
    return {"metadata": {"name": "r", "annotations": {QUARANTINE_ANNOTATION: since} if since else {}}}


@pytest.mark.parametrize(
    ("length", "routes", "expected"),
    [
        pytest.param("0d", [_route()], None, id="at once"),
        pytest.param("7d", [], None, id="nothing is served"),
        pytest.param("7d", [_route()], ("2026-11-26T12:00:00Z", "2026-12-03T12:00:00+00:00"), id="it begins"),
        pytest.param("1w", [_route(), _route("2026-11-20T12:00:01Z")], ("2026-11-20T12:00:01Z", "2026-11-27T12:00:01+00:00"), id="it began, and died halfway"),
        pytest.param("7d", [_route("2026-11-19T12:00:00Z")], None, id="it is over"),
        pytest.param("0d", [_route("2026-11-26T11:00:00Z")], None, id="cut short"),
        pytest.param("30d", [_route("2026-11-19T12:00:00Z")], ("2026-11-19T12:00:00Z", "2026-12-19T12:00:00+00:00"), id="made longer"),
        pytest.param("7d", [_route("yesterday")], ("2026-11-26T12:00:00Z", "2026-12-03T12:00:00+00:00"), id="no time"),
        pytest.param("7d", [_route("2036-11-26T12:00:00Z")], ("2026-11-26T12:00:00Z", "2026-12-03T12:00:00+00:00"), id="the future"),
        pytest.param("7d", [_route("2026-11-20")], ("2026-11-20", "2026-11-27T00:00:00+00:00"), id="a day"),
    ],
)
def test_how_long_it_stays_in_quarantine(length: str, routes: list[Object], expected: tuple[str, str] | None) -> None:
    found = _offboard.quarantine(team({"quarantine": length}), routes, NOW)
    assert (None if found is None else (found[0], found[1].isoformat())) == expected


# --- what goes --------------------------------------------------------------------------------------------------------------


def _secret(name: str, labels: Object | None = None) -> Object:
    mark = TEAM.owner_labels() if labels is None else labels
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": HOME, "labels": mark}, "type": "Opaque", "data": {}}


def test_secrets_of_ours_go_and_others_stay(api: Api, kube: Kube) -> None:
    api.seed(_secret(TEAM.proxy_secret), _secret(TEAM.store_secret, {}), _secret("another"))
    journal = Journal(kube, check=False)
    _offboard.remove_secrets(TEAM, journal)
    assert api.names("Secret") == {TEAM.store_secret, "another"}
    assert _offboard.foreign(TEAM, kube) == [f"Secret {HOME}/{TEAM.store_secret} isn't ours and stays."]
    again = Journal(kube, check=False)
    _offboard.remove_secrets(TEAM, again)
    assert journal.changed and not again.changed


@pytest.mark.parametrize(
    ("record", "uninstall"),
    [
        pytest.param(None, False, id="none"),
        pytest.param(release_record(TEAM), True, id="ours"),
        pytest.param(release_record(TEAM, status="uninstalling"), True, id="a removal that was killed"),
        pytest.param(release_record(TEAM, values={}), False, id="somebody else's"),
    ],
)
def test_a_release_of_ours_is_uninstalled(api: Api, kube: Kube, record: Object | None, uninstall: bool) -> None:
    if record is not None:
        api.seed(record)
    journal = Journal(kube, check=True)
    assert _offboard.plan_release(TEAM, journal) is uninstall is journal.changed
    assert bool(_offboard.foreign(TEAM, kube)) is (record is not None and not uninstall)


def _namespace(api: Api, *, ours: bool) -> None:
    api.objects.pop(("namespaces", "", HOME))
    api.seed(namespace_manifest(TEAM) if ours else {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})


LEAVING: list[Object] = [
    _secret(TEAM.proxy_secret),
    release_record(TEAM),
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt", "namespace": HOME}, "data": {}},
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": HOME}},
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": HOME, "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "r"}]},
        "spec": {},
    },
]


@pytest.mark.parametrize("check", [False, True], ids=["live", "check mode"])
def test_a_namespace_of_ours_goes_when_nothing_else_is_in_it(api: Api, kube: Kube, check: bool) -> None:
    _namespace(api, ours=True)
    api.seed(*LEAVING)
    api.read_only = check
    journal = Journal(kube, check=check)
    assert _offboard.remove_namespace(TEAM, journal) == []
    assert [change["object"] for change in journal.listing()] == [f"Namespace {HOME}"]
    assert (api.find("Namespace", HOME) is None) is not check


@pytest.mark.parametrize(
    ("stays", "why"),
    [
        pytest.param("foreign", f"Namespace {HOME} stays: it was there before the team.", id="not ours"),
        pytest.param("full", f"Namespace {HOME} stays, for it isn't empty: Deployment {HOME}/app.", id="the app is in it"),
        pytest.param("silent", f"Namespace {HOME} stays, for it isn't empty: policy/v1 doesn't answer.", id="an API that doesn't answer"),
        pytest.param("unseen", f"Namespace {HOME} stays, for nobody knows whether it is empty: Could not list services", id="not allowed to look"),
    ],
)
def test_a_namespace_stays_with_a_reason(api: Api, kube: Kube, stays: str, why: str) -> None:
    _namespace(api, ours=stays != "foreign")
    if stays == "full":
        api.seed(deployment("app"))
    if stays == "silent":
        api.silent.add("/apis/policy/v1")
    if stays == "unseen":
        api.forbidden.add("services")
    journal = Journal(kube, check=False)
    (finding,) = _offboard.remove_namespace(TEAM, journal)
    assert finding.startswith(why)
    assert not journal.changed and api.find("Namespace", HOME) is not None


@pytest.mark.parametrize(
    "stays",
    [
        pytest.param({"kind": "Secret", "labels": TEAM.owner_labels()}, id="a copy of a Secret of ours"),
        pytest.param({"kind": "ConfigMap", "labels": TEAM.labels}, id="what bears our labels"),
        pytest.param({"kind": "ConfigMap", "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n"}]}, id="owned from outside"),
        pytest.param({"kind": "ConfigMap", "annotations": {"meta.helm.sh/release-name": "another"}}, id="of another release"),
    ],
)
def test_what_would_not_go_with_the_team_keeps_the_namespace(api: Api, kube: Kube, stays: Object) -> None:
    _namespace(api, ours=True)
    api.seed({"apiVersion": "v1", "kind": stays["kind"], "metadata": {"name": "x", "namespace": HOME, **stays}, "data": {}})
    (finding,) = _offboard.remove_namespace(TEAM, Journal(kube, check=False))
    assert f"isn't empty: {stays['kind']} {HOME}/x" in finding and api.find("Namespace", HOME) is not None


@pytest.mark.parametrize(
    "goes",
    [
        pytest.param({"kind": "ConfigMap", "annotations": {"meta.helm.sh/release-name": TEAM.release}}, id="of the release"),
        pytest.param({"kind": "ConfigMap", "deletionTimestamp": "2026-11-26T12:00:00Z"}, id="about to go"),
        pytest.param({"kind": "HTTPRoute", "labels": TEAM.owner_labels()}, id="a route that check mode leaves"),
        pytest.param({"kind": "Secret", "name": TEAM.store_secret, "labels": TEAM.owner_labels()}, id="a Secret that check mode leaves"),
    ],
)
def test_what_goes_with_the_team_does_not(api: Api, kube: Kube, goes: Object) -> None:
    _namespace(api, ours=True)
    version = "gateway.networking.k8s.io/v1" if goes["kind"] == "HTTPRoute" else "v1"
    api.seed({"apiVersion": version, "kind": goes["kind"], "metadata": {"name": "x", "namespace": HOME, **goes}, "spec": {}})
    assert _offboard.remove_namespace(TEAM, Journal(kube, check=False)) == []


def test_a_namespace_that_may_not_be_deleted_stays(api: Api, kube: Kube) -> None:
    _namespace(api, ours=True)
    api.undeletable.add("namespaces")
    journal = Journal(kube, check=False)
    (finding,) = _offboard.remove_namespace(TEAM, journal)
    assert finding.startswith(f"Namespace {HOME} stays: Could not delete") and not journal.changed


def test_a_namespace_that_is_gone_is_no_finding(api: Api, kube: Kube) -> None:
    api.objects.pop(("namespaces", "", HOME))
    assert _offboard.remove_namespace(TEAM, Journal(kube, check=False)) == []


# --- the proof ----------------------------------------------------------------------------------------------------------------


def _labelled(place: str, given: Team = TEAM) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "copy", "namespace": place, "labels": given.labels}, "data": {}}


def test_whatever_carries_the_labels_is_found(api: Api, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_offboard, "LEFT_TIMEOUT_S", 0.0)
    _namespace(api, ours=True)
    assert _offboard.sweep(TEAM, kube).left == [], "the namespace, where it stays, is told elsewhere"
    api.seed(_labelled("gateway-envoy"), _labelled("kube-system", team({"name": "team-b"})))
    found = _offboard.sweep(TEAM, kube)
    assert [(obj["kind"], obj["metadata"]["namespace"]) for obj in found.left] == [("ConfigMap", "gateway-envoy")]
    assert found.everywhere > 10 and not found.at_home and not found.unseen


def test_it_waits_for_what_is_about_to_go(api: Api, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_offboard, "POLL_S", 0.01)
    api.seed(_labelled(HOME))
    looks = []

    def gone(_seconds: float) -> None:
        looks.append(1)
        if len(looks) == 2:
            api.objects.pop(("configmaps", HOME, "copy"))

    monkeypatch.setattr(_offboard.time, "sleep", gone)
    assert _offboard.sweep(TEAM, kube).left == []
    assert len(looks) == 2


def test_what_it_may_not_see_is_said(api: Api, kube: Kube) -> None:
    api.forbidden |= {"services", "gatewayclasses"}
    api.silent.add("/apis/policy/v1")
    found = _offboard.sweep(TEAM, kube)
    assert sorted(found.unseen) == ["gatewayclasses", "policy/v1", "services"]
    assert "this identity can't see: gatewayclasses, policy/v1, services" in found.told()
