# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When pods restart, when a release is ready, and what is said of it when it isn't."""

from __future__ import annotations

import copy
import time
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _rollout
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal, encode
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import NotReadyError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._rollout import MARKER
from tests.golden import team
from tests.unit.support.api import Api
from tests.unit.support.releases import deployment

Object = dict[str, t.Any]
TEAM = team()
NAMESPACE, RELEASE, STORE = TEAM.namespace, TEAM.release, TEAM.store_name
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


def _secret(name: str, **data: str) -> Object:
    encoded = {key.replace("_", "-"): encode(value) for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "type": "Opaque", "data": encoded}


@pytest.fixture
def running(api: Api) -> Api:
    """A release just installed: Secrets, both Deployments ready, no marker yet."""
    api.seed(
        _secret(TEAM.proxy_secret, client_id="id", client_secret="hush-client", cookie_secret="hush-cookie"),
        _secret(TEAM.store_secret, redis_password="hush-store"),
        deployment(STORE, replicas=1),
        deployment(RELEASE, replicas=2),
        manager="helm",
    )
    return api


def _mark(kube: Kube, *, fresh: t.Collection[str] = (), check: bool = False) -> Journal:
    journal = Journal(kube, check=check)
    _rollout.mark(TEAM, journal, fresh=fresh)
    return journal


def _markers(api: Api, name: str) -> tuple[str | None, str | None]:
    """On the Deployment itself, and in its pod template."""
    found = api.the("Deployment", name)
    own, template = found["metadata"].get("annotations") or {}, found["spec"]["template"]["metadata"].get("annotations") or {}
    return own.get(MARKER), template.get(MARKER)


def _rotate(api: Api, name: str = TEAM.proxy_secret, key: str = "client-secret") -> None:
    api.edit("Secret", name, lambda obj: obj["data"].update({key: encode("hush-new")}))


# --- the marker ------------------------------------------------------------------------------------------------------------


def test_a_fresh_release_is_noted_not_restarted(running: Api, kube: Kube) -> None:
    journal = _mark(kube, fresh=(TEAM.release, TEAM.store_name))
    assert len(journal.changes) == 2
    for name in (STORE, RELEASE):
        own, template = _markers(running, name)
        assert own and template is None
        assert running.the("Deployment", name)["metadata"]["generation"] == 1
    running.forget()
    assert not _mark(kube).changed and not running.writes


def test_a_release_nobody_noted_is_restarted_once(running: Api, kube: Kube) -> None:
    """Killed between installation and note, or made by hand: what its pods started with isn't known."""
    assert len(_mark(kube).changes) == 2
    own, template = _markers(running, RELEASE)
    assert own == template is not None
    assert not _mark(kube).changed


@pytest.mark.parametrize(
    ("name", "key", "restarted"),
    [
        (TEAM.proxy_secret, "client-secret", [RELEASE]),
        (TEAM.proxy_secret, "client-id", [RELEASE]),
        (TEAM.proxy_secret, "cookie-secret", [RELEASE]),
        (TEAM.store_secret, "redis-password", [TEAM.store_name, RELEASE]),
    ],
)
def test_a_changed_secret_restarts_the_pods_that_read_it(running: Api, kube: Kube, name: str, key: str, restarted: list[str]) -> None:
    """And no others: a bundled store holds the sessions in memory, so it must outlive a new client secret."""
    _mark(kube, fresh=(TEAM.release, TEAM.store_name))
    before = _markers(running, RELEASE)[0]
    _rotate(running, name, key)
    running.read_only = True
    assert [change.obj["metadata"]["name"] for change in _mark(kube, check=True).changes] == restarted
    running.read_only = False
    journal = _mark(kube)
    assert all("restart" in reason for change in journal.changes for reason in change.reasons)
    own, template = _markers(running, RELEASE)
    assert own == template != before
    assert running.the("Deployment", RELEASE)["metadata"]["generation"] == 2
    assert not _mark(kube).changed


def test_a_restart_stays_in_the_template(running: Api, kube: Kube) -> None:
    """A later note must not take the marker out of the template: that would restart the pods again."""
    _mark(kube)
    _rotate(running)
    _mark(kube, fresh=(TEAM.release, TEAM.store_name))
    own, template = _markers(running, RELEASE)
    assert own == template


def test_the_marker_is_ours_and_leaves_helm_s_fields(running: Api, kube: Kube) -> None:
    before = copy.deepcopy(running.the("Deployment", RELEASE)["spec"]["template"]["spec"])
    _mark(kube)
    found = running.the("Deployment", RELEASE)
    assert found["spec"]["template"]["spec"] == before and found["spec"]["replicas"] == 2
    (ours,) = [entry["fieldsV1"] for entry in found["metadata"]["managedFields"] if entry["manager"] == "gateway-auth"]
    assert str(ours).count(MARKER) == 2 and "f:replicas" not in str(ours)


def test_the_marker_says_nothing_of_the_values(running: Api, kube: Kube) -> None:
    marker = _rollout.secret_markers(kube, TEAM)[RELEASE]
    assert 8 <= len(marker) <= 63
    _rotate(running, key="cookie-secret")
    assert _rollout.secret_markers(kube, TEAM)[RELEASE] != marker, "keyed: the same client secret looks different elsewhere"


def test_values_do_not_run_into_each_other(running: Api, kube: Kube) -> None:
    marker = _rollout.secret_markers(kube, TEAM)[RELEASE]
    running.edit("Secret", TEAM.proxy_secret, lambda obj: obj["data"].update({"client-id": encode("idh"), "client-secret": encode("ush-client")}))
    assert _rollout.secret_markers(kube, TEAM)[RELEASE] != marker


def test_the_password_of_an_external_store_counts(api: Api, kube: Kube) -> None:
    external = team({"session_store": {"type": "external", "url": "rediss://x:6380", "secret": {"name": "theirs", "key": "password"}}})
    api.seed(_secret(TEAM.proxy_secret, cookie_secret="c"), _secret("theirs", password="one"))
    marker = _rollout.secret_markers(kube, external)[RELEASE]
    _rotate(api, "theirs", "password")
    assert _rollout.secret_markers(kube, external)[RELEASE] != marker
    assert _rollout.deployments(external) == (RELEASE,)


def test_check_mode_before_the_first_installation(api: Api, kube: Kube) -> None:
    api.read_only = True
    assert not _mark(kube, check=True).changed


# --- ready or not ----------------------------------------------------------------------------------------------------------

# As a real Deployment of two replicas reads when it is done.
DONE: Object = {"availableReplicas": 2, "observedGeneration": 5, "readyReplicas": 2, "replicas": 2, "updatedReplicas": 2}


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        pytest.param(DONE, True, id="done"),
        pytest.param({**DONE, "observedGeneration": 6}, True, id="ahead"),
        pytest.param({**DONE, "observedGeneration": 4}, False, id="not seen yet"),
        pytest.param({**DONE, "updatedReplicas": 1}, False, id="half updated"),
        pytest.param({**DONE, "availableReplicas": 1}, False, id="half available"),
        pytest.param({**DONE, "replicas": 3}, False, id="an old pod left"),
        pytest.param({"observedGeneration": 5}, False, id="nothing yet"),
        pytest.param({}, False, id="no status"),
        pytest.param(None, False, id="none"),
    ],
)
def test_rolled_out(status: Object | None, ready: bool) -> None:
    assert _rollout.rolled_out({"metadata": {"generation": 5}, "spec": {"replicas": 2}, "status": status}) is ready


def test_rolled_out_with_default_and_zero_replicas() -> None:
    one = {"availableReplicas": 1, "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    assert _rollout.rolled_out({"metadata": {"generation": 1}, "spec": {}, "status": one})
    assert _rollout.rolled_out({"metadata": {"generation": 1}, "spec": {"replicas": 0}, "status": {"observedGeneration": 1}})


def test_wait_ends_when_all_are_ready(running: Api, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rollout, "POLL_S", 0.01)
    running.the("Deployment", RELEASE)["status"]["availableReplicas"] = 1
    asked: list[int] = []

    def later(_seconds: float) -> None:
        asked.append(1)
        if len(asked) == 3:
            running.the("Deployment", RELEASE)["status"]["availableReplicas"] = 2

    monkeypatch.setattr(time, "sleep", later)
    _rollout.wait(TEAM, kube, timeout=5)
    assert len(asked) == 3


def test_wait_asks_the_store_first(running: Api, kube: Kube) -> None:
    _rollout.wait(TEAM, kube, timeout=1)
    assert running.asked == [f"GET Deployment {STORE}", f"GET Deployment {RELEASE}"]


def _pod(name: str, *, created: str = "2026-01-01T00:00:00Z", ready: bool = False, **status: t.Any) -> Object:
    conditions = [{"type": "Ready", "status": str(ready)}, *status.pop("conditions", [])]
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": RELEASE}, "creationTimestamp": created}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}, "status": {"phase": "Running", "conditions": conditions, **status}}


def _container(state: Object, last: Object | None = None, name: str = "oauth2-proxy") -> Object:
    return {"name": name, "state": state, "lastState": last or {}}


def _waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


def _ended(code: int) -> Object:
    return {"terminated": {"exitCode": code, "reason": "Error"}}


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}


@pytest.mark.parametrize(
    ("pods", "logs", "words"),
    [
        pytest.param([], {}, ["no pods"], id="no pods"),
        pytest.param([_pod("p", conditions=[UNSCHEDULABLE])], {}, ["p", "Unschedulable", "0/3 nodes"], id="no node"),
        pytest.param(
            [_pod("p", containerStatuses=[_container(_waiting("ImagePullBackOff", "no such tag"))])], {}, ["ImagePullBackOff", "no such tag"], id="image"
        ),
        pytest.param(
            [_pod("p", containerStatuses=[_container(_waiting("CreateContainerConfigError", 'secret "x" not found'))])],
            {},
            ["CreateContainerConfigError", 'secret "x"'],
            id="missing Secret",
        ),
        pytest.param(
            [
                _pod(
                    "p",
                    initContainerStatuses=[_container(_waiting("ErrImagePull", "denied"), name="wait")],
                    containerStatuses=[_container(_waiting("PodInitializing"))],
                )
            ],
            {},
            ["wait", "ErrImagePull", "denied"],
            id="init container",
        ),
        pytest.param(
            [_pod("p", containerStatuses=[_container(_waiting("CrashLoopBackOff"), _ended(1))])],
            {("p", "oauth2-proxy", True): "starting\ninvalid configuration: bad\n\n"},
            ["code 1", "invalid configuration: bad"],
            id="crash loop",
        ),
        pytest.param(
            [_pod("p", containerStatuses=[_container(_ended(2))])], {("p", "oauth2-proxy", False): "panic: x"}, ["code 2", "panic: x"], id="just ended"
        ),
        pytest.param([_pod("p")], {("p", "", False): "listening\ncan't reach the store"}, ["p", "not ready", "can't reach the store"], id="runs, not ready"),
        pytest.param([_pod("p")], {}, ["not ready", "none"], id="says nothing"),
        pytest.param([_pod("p", ready=True)], {}, ["older"], id="all ready"),
        pytest.param(
            [_pod("old", conditions=[UNSCHEDULABLE]), _pod("new", created="2026-01-02T00:00:00Z", containerStatuses=[_container(_waiting("ErrImagePull"))])],
            {},
            ["new", "ErrImagePull"],
            id="the newest pod counts",
        ),
        pytest.param(
            [_pod("ready", created="2026-01-02T00:00:00Z", ready=True), _pod("bad", conditions=[UNSCHEDULABLE])],
            {},
            ["bad", "Unschedulable"],
            id="the one that isn't ready",
        ),
    ],
)
def test_why_not(running: Api, kube: Kube, pods: list[Object], logs: dict[tuple[str, str, bool], str], words: list[str]) -> None:
    running.the("Deployment", RELEASE)["status"]["availableReplicas"] = 0
    running.seed(*pods)
    running.logs = logs
    with pytest.raises(NotReadyError) as error:
        _rollout.wait(TEAM, kube, timeout=0)
    assert RELEASE in error.value.message
    assert all(word in error.value.message for word in words), error.value.message
    assert error.value.remedy


def test_pods_that_the_namespace_does_not_admit(running: Api, kube: Kube) -> None:
    status = running.the("Deployment", RELEASE)["status"]
    status["conditions"] = [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small"}]
    assert "exceeded quota" in _rollout.why_not(kube, TEAM, RELEASE)


def test_a_deployment_that_vanished(api: Api, kube: Kube) -> None:
    with pytest.raises(NotReadyError, match="exist"):
        _rollout.wait(TEAM, kube, timeout=0)


@pytest.mark.parametrize("said", ["hush-client", "hush-cookie", "hush-store", TOKEN], ids=["client secret", "cookie secret", "store password", "token"])
def test_a_log_line_never_carries_a_secret(running: Api, kube: Kube, said: str) -> None:
    running.seed(_pod("p", containerStatuses=[_container(_waiting("CrashLoopBackOff"), _ended(1))]))
    running.logs = {("p", "oauth2-proxy", True): f"level=error value={said}; giving up"}
    text = _rollout.why_not(kube, TEAM, RELEASE)
    assert said not in text and "giving up" in text


@pytest.mark.parametrize("said", ["hush-client", TOKEN], ids=["client secret", "token"])
def test_a_long_log_line_is_not_cut_within_a_secret(running: Api, kube: Kube, said: str) -> None:
    running.seed(_pod("p", containerStatuses=[_container(_waiting("CrashLoopBackOff"), _ended(1))]))
    for before in range(380, 402):
        running.logs = {("p", "oauth2-proxy", True): f"{'-' * before}{said}{'-' * 400}"}
        text = _rollout.why_not(kube, TEAM, RELEASE)
        assert said[:3] not in text
        assert len(text) < 600


def test_the_client_id_is_no_secret(running: Api, kube: Kube) -> None:
    assert _rollout.mask(kube, TEAM, "client id is fine") == "client id is fine"
