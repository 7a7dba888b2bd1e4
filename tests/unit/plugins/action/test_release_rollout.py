# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of the release's phase: restarts, readiness, and one outcome with what came before."""

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.action.release_rollout import ActionModule
from ansible_collections.platform.gateway_auth.plugins.module_utils import _rollout
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal, encode
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import Outcome
from tests.unit.support.actions import models, run_action
from tests.unit.support.api import Api
from tests.unit.support.releases import deployment, release_record

Object = dict[str, t.Any]
INSTALLED = Outcome(
    changed=True,
    changes=[{"action": "install", "object": "Helm release n/r", "reasons": ["install"]}],
    diff=[{"before": "", "after": "a: 1\n", "before_header": "r", "after_header": "r"}],
    data={"upgrade": True, "fresh": ["monitoring-oauth2-proxy-team-a", "monitoring-oauth2-proxy-team-a-store"], "mended": []},
)
UNCHANGED = Outcome(data={"upgrade": False, "fresh": [], "mended": []})


@pytest.fixture
def running(api: Api, kubeconfig: str) -> Api:
    team = Team.from_dict(models(kubeconfig)["team-a"])
    for name in (team.proxy_secret, team.store_secret):
        data = {"cookie-secret": encode("c"), "client-secret": encode("s"), "redis-password": encode("p")}
        api.seed({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": team.namespace}, "data": data})
    api.seed(deployment(team.release), deployment(team.store_name, replicas=1))
    return api


def _roll(kubeconfig: str, plan: Outcome, *, check: bool = False) -> Object:
    options = {"models": models(kubeconfig), "plans": {"team-a": plan.to_dict()}}
    return t.cast("Object", run_action(ActionModule, options, check=check)["teams"]["team-a"])


def test_sequence(running: Api, kubeconfig: str) -> None:
    installed = _roll(kubeconfig, INSTALLED)
    assert [change["action"] for change in installed["changes"]] == ["install", "update", "update"]
    assert installed["changed"] and len(installed["diff"]) == 3
    running.forget()
    again = _roll(kubeconfig, UNCHANGED)
    assert not again["changed"] and not running.writes

    running.edit("Secret", "oauth2-proxy-team-a", lambda obj: obj["data"].update({"client-secret": encode("new")}))
    running.read_only = True
    predicted = _roll(kubeconfig, UNCHANGED, check=True)
    running.read_only = False
    restarted = _roll(kubeconfig, UNCHANGED)
    assert restarted["changed"] and restarted["changes"] == predicted["changes"]


def test_check_mode_of_a_first_onboarding_waits_for_nothing(api: Api, kubeconfig: str) -> None:
    api.read_only = True
    outcome = _roll(kubeconfig, INSTALLED, check=True)
    assert not outcome["failed"] and outcome["changes"] == INSTALLED.changes


def test_a_failed_plan_stays_a_failure(running: Api, kubeconfig: str) -> None:
    failed = Outcome(failed=True, msg="Team 'team-a': foreign.")
    assert _roll(kubeconfig, failed) == failed.to_dict()
    assert not running.writes


def test_what_was_done_before_it_failed_is_told(running: Api, kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rollout.wait, "__defaults__", (0.0,))
    team = Team.from_dict(models(kubeconfig)["team-a"])
    running.the("Deployment", team.release)["status"]["availableReplicas"] = 0
    outcome = _roll(kubeconfig, INSTALLED)
    assert outcome["failed"] and outcome["changed"]
    assert [change["action"] for change in outcome["changes"]] == ["install", "update", "update"]
    assert team.release in outcome["msg"]


def test_without_a_plan_it_restarts_and_waits_all_the_same(running: Api, kubeconfig: str) -> None:
    """As rotate_team uses it: the release itself isn't looked at."""

    def roll() -> Object:
        return t.cast("Object", run_action(ActionModule, {"models": models(kubeconfig)})["teams"]["team-a"])

    _roll(kubeconfig, INSTALLED)
    assert not roll()["changed"]
    running.edit("Secret", "oauth2-proxy-team-a", lambda obj: obj["data"].update({"cookie-secret": encode("new")}))
    restarted = roll()
    assert restarted["changed"] and not restarted["failed"] and len(restarted["changes"]) == 1
    assert not roll()["changed"]


@pytest.mark.parametrize("plan", [INSTALLED, UNCHANGED], ids=["after a change", "after a run that was killed in the rollout"])
def test_it_ends_when_no_pod_of_before_is_left(running: Api, kubeconfig: str, monkeypatch: pytest.MonkeyPatch, plan: Outcome) -> None:
    """Verification comes next, and a pod that ends would answer it with what it started with."""
    monkeypatch.setattr(_rollout, "POLL_S", 0.01)
    team = Team.from_dict(models(kubeconfig)["team-a"])
    labels = {"app.kubernetes.io/name": "oauth2-proxy", "app.kubernetes.io/instance": team.release}

    def pod(name: str, **meta: str) -> Object:
        about = {"name": name, "namespace": team.namespace, "labels": {**labels, "pod-template-hash": name}, **meta}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "status": {"phase": "Running"}}

    running.seed(pod("new"), pod("old", deletionTimestamp="2026-11-25T00:00:00Z"))
    asked = 0

    def gone_at_the_fourth(request: t.Any) -> None:
        nonlocal asked
        if request.method == "GET" and request.kind == "pods":
            asked += 1
            if asked == 4:
                del running.objects[("pods", team.namespace, "old")]

    monkeypatch.setattr(running, "answer", _spied(running.answer, gone_at_the_fourth))
    if plan is UNCHANGED:
        _rollout.mark(team, Journal(connect(team.cluster), check=False), fresh=())
    assert not _roll(kubeconfig, plan)["failed"]
    assert asked >= 4
    before = asked
    assert not _roll(kubeconfig, UNCHANGED)["failed"]
    assert asked == before + 1, "a run without change asks once"


def _spied(answer: t.Any, look: t.Callable[[t.Any], None]) -> t.Any:
    """The API double's answer, told of each request before."""

    def answering(method: str, target: str, content_type: str, raw: bytes) -> t.Any:
        plural = target.partition("?")[0].rpartition("/")[2]
        look(types.SimpleNamespace(method=method, kind=plural))
        return answer(method, target, content_type, raw)

    return answering


def _pod(name: str, app: str, *, ending: bool) -> Object:
    metadata: Object = {"name": name, "namespace": "monitoring-team-a", "labels": {"app": app}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if ending else {})}}


@pytest.mark.parametrize("ending", [True, False])
def test_pods_of_a_deployment_that_was_put_right_are_awaited_to_their_end(running: Api, kubeconfig: str, monkeypatch: pytest.MonkeyPatch, ending: bool) -> None:
    """Until then Envoy may ask one that lets anybody in."""
    monkeypatch.setattr(_rollout.wait_gone, "__defaults__", (0.0,))
    team = Team.from_dict(models(kubeconfig)["team-a"])
    running.seed(_pod("new", team.release, ending=False), _pod("old", team.release, ending=ending), _pod("stores", team.store_name, ending=True))
    outcome = _roll(kubeconfig, Outcome(changed=True, data={"upgrade": False, "fresh": [], "mended": [team.release]}))
    assert outcome["failed"] is ending and ("old" in outcome["msg"]) is ending
    assert not _roll(kubeconfig, UNCHANGED)["failed"], "nobody waits where nothing was put right"


def test_after_an_upgrade_what_helm_left_is_put_right(running: Api, kubeconfig: str) -> None:
    team = Team.from_dict(models(kubeconfig)["team-a"])
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n"
    running.seed(release_record(team, manifest=manifest))
    outcome = _roll(kubeconfig, INSTALLED)
    assert [change["action"] for change in outcome["changes"]] == ["install", "restore", "update", "update"]
    running.forget()
    _roll(kubeconfig, UNCHANGED)
    assert "Secret" not in {request.kind for request in running.journal if not request.name}, "the record is read once a run"
