# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The NetworkPolicies of a release select the pods that are meant, judged by an evaluator of our own on live objects.

The embedded cluster's network plugin enforces none. So this proves who may reach what by the policies as they are, for the pods as they
are, and that named ports exist; not that a plugin enforces them, nor how one treats a pod in the host's network.
"""

from __future__ import annotations

import json
import typing as t

import pytest

from .inventory import Inventory
from .sandbox import Sandbox

Object = dict[str, t.Any]
SPACE = "monitoring-team-a"
PROXY = "monitoring-oauth2-proxy-team-a"
STORE = f"{PROXY}-store"


def _everywhere(sandbox: Sandbox, kind: str) -> list[Object]:
    return t.cast("list[Object]", json.loads(sandbox.kubectl("get", kind, "--all-namespaces", "-o", "json"))["items"])


class World:
    """Pods, namespaces and policies of the whole cluster, and what the policies say of a connection between two pods."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.pods: list[Object] = [pod for pod in _everywhere(sandbox, "pods") if pod["status"].get("phase") == "Running"]
        self.namespaces = {item["metadata"]["name"]: item["metadata"].get("labels", {}) for item in _everywhere(sandbox, "namespaces")}
        self.policies: list[Object] = _everywhere(sandbox, "networkpolicies")

    def named(self, prefix: str) -> list[Object]:
        return [pod for pod in self.pods if pod["metadata"]["name"].startswith(prefix)]

    def of(self, app: str) -> list[Object]:
        return [pod for pod in self.pods if pod["metadata"].get("labels", {}).get("app.kubernetes.io/instance") == app]

    def may(self, source: Object, target: Object, port: int) -> bool:
        """Kubernetes's rule: a pod that no policy selects takes everything; else one rule of one policy must let it in."""
        selecting = [
            policy
            for policy in self.policies
            if policy["metadata"]["namespace"] == target["metadata"]["namespace"]
            and "Ingress" in policy["spec"]["policyTypes"]
            and _selects(policy["spec"]["podSelector"], target["metadata"].get("labels", {}))
        ]
        if not selecting:
            return True
        rules = [(policy, rule) for policy in selecting for rule in policy["spec"].get("ingress") or []]
        return any(self._from(policy, rule, source) and _port(rule, target, port) for policy, rule in rules)

    def _from(self, policy: Object, rule: Object, source: Object) -> bool:
        """No ``from`` is everybody. A peer with both selectors needs both; without a namespace selector it is the policy's own namespace."""
        return not rule.get("from") or any(self._peer(policy, peer, source) for peer in rule["from"])

    def _peer(self, policy: Object, peer: Object, source: Object) -> bool:
        assert set(peer) <= {"podSelector", "namespaceSelector"}, f"this evaluator doesn't know {sorted(peer)}"
        meta = source["metadata"]
        if "namespaceSelector" in peer:
            if not _selects(peer["namespaceSelector"], self.namespaces[meta["namespace"]]):
                return False
        elif meta["namespace"] != policy["metadata"]["namespace"]:
            return False
        return "podSelector" not in peer or _selects(peer["podSelector"], meta.get("labels", {}))


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    assert not selector.get("matchExpressions"), "this evaluator knows labels only"
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())


def _ports(pod: Object) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for container in pod["spec"]["containers"] for port in container.get("ports") or [] if "name" in port}


def _port(rule: Object, target: Object, port: int) -> bool:
    return not rule.get("ports") or any(port in (item.get("port"), _ports(target).get(str(item.get("port")))) for item in rule["ports"])


@pytest.fixture(scope="module")
def world(sandbox: Sandbox, onboarded: Inventory) -> World:
    return World(sandbox)


def _names(pods: list[Object]) -> set[str]:
    return {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in pods}


def _envoys(world: World) -> list[Object]:
    """By what they are, not by the labels that the policy selects: pods whose container ``envoy`` runs for the Gateway of the teams."""
    found = [pod for pod in world.pods if any(container["name"] == "envoy" for container in pod["spec"]["containers"])]
    assert len(found) >= 2, "the sandbox has two Envoys"
    return found


def test_the_proxies_and_the_store_are_selected_by_exactly_one_policy(world: World) -> None:
    for name, policy in ((PROXY, PROXY), (STORE, STORE)):
        pods = world.named(f"{name}-") if name == STORE else [pod for pod in world.named(f"{PROXY}-") if not pod["metadata"]["name"].startswith(STORE)]
        assert pods, name
        for pod in pods:
            selecting = [
                item["metadata"]["name"]
                for item in world.policies
                if item["metadata"]["namespace"] == SPACE and _selects(item["spec"]["podSelector"], pod["metadata"]["labels"])
            ]
            assert selecting == [policy]


def test_only_the_gateway_s_envoys_reach_the_proxy(world: World) -> None:
    for target in world.of(PROXY):
        if "http" not in _ports(target):
            continue  # the store
        allowed = [pod for pod in world.pods if world.may(pod, target, _ports(target)["http"])]
        assert _names(allowed) == _names(_envoys(world))
        assert {pod["metadata"]["namespace"] for pod in allowed} != {SPACE}, "they run in another namespace than the proxy"


def test_the_whole_cluster_reaches_the_metrics_alone(world: World) -> None:
    proxies = [pod for pod in world.of(PROXY) if "metrics" in _ports(pod)]
    assert proxies
    for target in proxies:
        assert _ports(target)["metrics"] == 44180
        assert _names([pod for pod in world.pods if world.may(pod, target, 44180)]) == _names(world.pods)
        others = [pod for pod in world.pods if pod not in _envoys(world)]
        for port in (4180, 4443, 8080):
            assert [pod for pod in others if world.may(pod, target, port)] == []


def test_only_the_team_s_proxy_reaches_its_store(world: World) -> None:
    (store,) = world.named(f"{STORE}-")
    proxies = [pod for pod in world.of(PROXY) if pod is not store]
    assert len(proxies) >= 2
    assert _names([pod for pod in world.pods if world.may(pod, store, _ports(store)["redis"])]) == _names(proxies)


def test_a_pod_that_no_policy_selects_takes_everything(world: World) -> None:
    """The evaluator refuses because of a policy, not because it always does."""
    target = world.named("prometheus")[0]
    assert _names([pod for pod in world.pods if world.may(pod, target, 9090)]) == _names(world.pods)


def test_the_named_ports_are_those_of_the_service_and_of_the_app_s_answers(world: World, sandbox: Sandbox) -> None:
    """A port that resolves on no container would close the door for Envoy as well."""
    service = sandbox.get("service", PROXY, SPACE)
    targets = {port["targetPort"] for port in service["spec"]["ports"]}
    for pod in world.of(PROXY):
        if "redis" not in _ports(pod):
            assert targets <= set(_ports(pod))
    policies = {item["metadata"]["name"]: item for item in world.policies if item["metadata"]["namespace"] == SPACE}
    used = {port["port"] for rule in policies[PROXY]["spec"]["ingress"] for port in rule["ports"]}
    assert used == targets == {"http", "metrics"}
