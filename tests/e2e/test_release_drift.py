# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects of the Helm release that somebody changed or deleted by hand: foretold, put back in one run, and nothing else touched."""

from __future__ import annotations

import collections.abc
import json
import pathlib
import time
import typing as t

import pytest

from .audit import AuditLog
from .inventory import Inventory
from .poller import Poller
from .sandbox import DOMAIN, Sandbox
from .workload import Identity

TEAM = "team-a"
NAMESPACE = f"monitoring-{TEAM}"
RELEASE = f"monitoring-oauth2-proxy-{TEAM}"
STORE = f"{RELEASE}-store"
HOST = f"echo-{TEAM}.{DOMAIN}"
OPENED = "--skip-auth-route=^/"
# One of each kind that the release has; a lost store costs its sessions, so it isn't among those of every test run.
OBJECTS = (
    ("Service", RELEASE),
    ("Service", STORE),
    ("Service", f"{RELEASE}-authz"),
    ("EndpointSlice", f"{RELEASE}-authz-nobody"),
    ("NetworkPolicy", STORE),
    ("PodDisruptionBudget", RELEASE),
    ("ConfigMap", RELEASE),
    ("ServiceAccount", RELEASE),
    ("HTTPRoute", RELEASE),
    ("Deployment", RELEASE),
)
AFTER_S = 1.5


class Runner:
    """onboard_team for team a under an identity of its own, so that the audit log tells what it wrote."""

    def __init__(self, sandbox: Sandbox, inventory: Inventory, identity: Identity) -> None:
        self._sandbox = sandbox
        self.inventory = inventory
        self._identity = identity
        self._audit = AuditLog(sandbox)

    def run(self, *args: str) -> tuple[str, list[str]]:
        """(what it said, what it wrote)"""
        since = self._audit.here()
        run = self._sandbox.playbook("onboard_team", "-e", "team=a", "--diff", *args, inventory=self.inventory.path).must()
        return run.output, self._audit.writes(since, self._identity.user)


@pytest.fixture(scope="module")
def onboard(sandbox: Sandbox, onboarded: Inventory, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder: pathlib.Path = tmp_path_factory.mktemp("drift")
    identity = Identity(sandbox, "drift", folder)
    inventory = onboarded.copy(folder)
    with inventory.platform() as data:
        data["gateway_auth_cluster"] = {"kubeconfig": str(identity.kubeconfig)}
    return Runner(sandbox, inventory, identity)


@pytest.fixture
def store_pods(sandbox: Sandbox) -> collections.abc.Iterator[None]:
    """The store runs on as it was: it holds the sessions of everybody."""

    def pods() -> set[str]:
        return {pod["metadata"]["uid"] for pod in sandbox.get("pod", namespace=NAMESPACE, labels="app.kubernetes.io/name=session-store")}

    before = pods()
    yield
    assert pods() == before


def _proxy_container(sandbox: Sandbox) -> t.Any:
    (container,) = sandbox.get("deployment", RELEASE, NAMESPACE)["spec"]["template"]["spec"]["containers"]
    return container


def _patch(sandbox: Sandbox, *operations: dict[str, t.Any]) -> None:
    sandbox.kubectl("-n", NAMESPACE, "patch", "deployment", RELEASE, "--type=json", "-p", json.dumps(operations))
    sandbox.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{RELEASE}", "--timeout=90s")


@pytest.mark.sample(0)
@pytest.mark.usefixtures("store_pods")
def test_arguments_that_opened_the_door_are_taken_out(sandbox: Sandbox, onboard: Runner) -> None:
    args = "/spec/template/spec/containers/0"
    _patch(
        sandbox, {"op": "add", "path": f"{args}/args/-", "value": OPENED}, {"op": "add", "path": f"{args}/env/-", "value": {"name": "BY_HAND", "value": "x"}}
    )
    with Poller(sandbox, [HOST]) as opened:
        time.sleep(1)
    assert opened.opened(), "the test opens what is to be closed"
    said, writes = onboard.run("--check")
    assert writes == []
    assert OPENED in said and "BY_HAND" in said and "kubectl-patch" in said and "1 objects would be changed" in said
    _said, writes = onboard.run()
    assert {write.split()[1] for write in writes} == {"deployments"}
    with Poller(sandbox, [HOST]) as poller:
        time.sleep(AFTER_S)
    assert poller.opened() == [], poller.report()
    container = _proxy_container(sandbox)
    assert OPENED not in container["args"] and "BY_HAND" not in [item["name"] for item in container["env"]]
    assert onboard.run()[1] == []


@pytest.mark.usefixtures("store_pods")
def test_deleted_objects_come_back(sandbox: Sandbox, onboard: Runner) -> None:
    before = {key: sandbox.get(*key, NAMESPACE)["metadata"] for key in OBJECTS}
    with Poller(sandbox, [HOST]) as poller:
        for kind, name in OBJECTS:
            sandbox.kubectl("-n", NAMESPACE, "delete", kind, name, "--wait=false")
        said, writes = onboard.run("--check")
        assert writes == []
        _said, writes = onboard.run()
        time.sleep(AFTER_S)
    for kind, name in OBJECTS:
        assert f"{kind} {NAMESPACE}/{name} (restore)" in said
        found = sandbox.get(kind, name, NAMESPACE)["metadata"]
        assert found["uid"] != before[kind, name]["uid"]
        assert found["labels"] == before[kind, name]["labels"]
        assert found["annotations"]["meta.helm.sh/release-name"] == RELEASE, "Helm goes on with it"
    # One write for each, and the note of which Secrets the new pods started with. The apps' routes are away until their policies,
    # which had no proxy to ask, are proven anew.
    routes = [write for write in writes if write.split()[1] == "httproutes" and f"/{RELEASE} " not in write]
    assert len(writes) - len(routes) == len(OBJECTS) + 1, writes
    assert [write.split()[0] for write in routes] == ["delete"] * (len(routes) // 2) + ["patch"] * (len(routes) // 2)
    assert poller.opened() == [], poller.report()
    assert onboard.run()[1] == []


@pytest.mark.sample(0)
def test_helm_goes_on_after_others_took_a_field(sandbox: Sandbox, onboard: Runner, onboarded: Inventory) -> None:
    """An upgrade of Helm 4 would end in a conflict with kubectl-patch."""
    args = [*_proxy_container(sandbox)["args"], OPENED]
    sandbox.kubectl("-n", NAMESPACE, "patch", "deployment", RELEASE, "-p", json.dumps(_container(args)))
    with onboard.inventory.platform() as data:
        former = data.get("gateway_auth_replicas")
        data["gateway_auth_replicas"] = 1
    onboard.run()
    assert OPENED not in _proxy_container(sandbox)["args"]
    assert sandbox.get("deployment", RELEASE, NAMESPACE)["spec"]["replicas"] == 1
    assert onboard.run()[1] == []
    with onboard.inventory.platform() as data:
        data.pop("gateway_auth_replicas")
        if former is not None:
            data["gateway_auth_replicas"] = former
    sandbox.playbook("onboard_team", "-e", "team=a", inventory=onboarded.path).must()


def _container(args: list[str]) -> dict[str, t.Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "oauth2-proxy", "args": args}]}}}}
