# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Conditions as Envoy Gateway wrote them, and as they can look."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _conditions
from ansible_collections.platform.gateway_auth.plugins.module_utils._conditions import policy_verdict, route_verdict
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import GatewayRef
from tests.unit.support.api import live

Object = dict[str, t.Any]
GATEWAY = GatewayRef()
OURS = _conditions.CONTROLLER


def _condition(kind: str, status: str = "True", generation: int | None = 3, **more: str) -> Object:
    condition: Object = {"type": kind, "status": status, "reason": kind, "message": f"message of {kind}", **more}
    return condition if generation is None else {**condition, "observedGeneration": generation}


def _entry(*conditions: Object, controller: str = OURS, name: str = "main", namespace: str | None = "gateway-envoy", section: str = "https") -> Object:
    reference = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name, "namespace": namespace, "sectionName": section}
    reference = {key: value for key, value in reference.items() if value}
    return {"parentRef": reference, "ancestorRef": reference, "controllerName": controller, "conditions": list(conditions)}


def _object(*entries: Object, namespace: str = "monitoring-team-a") -> Object:
    return {"metadata": {"name": "x", "namespace": namespace, "generation": 3}, "status": {"parents": list(entries), "ancestors": list(entries)}}


ACCEPTED, RESOLVED = _condition("Accepted"), _condition("ResolvedRefs")


@pytest.mark.parametrize(
    ("entries", "ok", "words"),
    [
        pytest.param([_entry(ACCEPTED, RESOLVED)], True, [], id="accepted"),
        pytest.param([], None, ["no status"], id="no status"),
        pytest.param([_entry()], None, ["generation 3"], id="no conditions"),
        pytest.param([_entry(ACCEPTED)], None, ["ResolvedRefs"], id="half judged"),
        pytest.param([_entry(_condition("Accepted", generation=2), RESOLVED)], None, ["generation 3", "Accepted"], id="older generation"),
        pytest.param([_entry(_condition("Accepted", "False", generation=2), RESOLVED)], None, ["generation 3"], id="an older refusal says nothing"),
        pytest.param([_entry(ACCEPTED, _condition("ResolvedRefs", generation=2))], None, ["ResolvedRefs"], id="older generation of the second"),
        pytest.param([_entry(_condition("Accepted", generation=None), RESOLVED)], None, ["generation 3"], id="generation not told"),
        pytest.param([_entry(_condition("Accepted", "False"), RESOLVED)], False, ["Accepted", "message of Accepted"], id="refused"),
        pytest.param([_entry(_condition("Accepted", "Unknown"), RESOLVED)], False, ["Unknown"], id="unknown"),
        pytest.param([_entry(ACCEPTED, _condition("ResolvedRefs", "False"))], False, ["message of ResolvedRefs"], id="unresolved"),
        pytest.param([_entry(ACCEPTED, RESOLVED, controller="other.io/controller")], None, ["no status"], id="another controller"),
        pytest.param([_entry(ACCEPTED, RESOLVED, name="other")], None, ["no status"], id="another gateway"),
        pytest.param([_entry(ACCEPTED, RESOLVED, namespace="elsewhere")], None, ["no status"], id="a gateway of that name elsewhere"),
        pytest.param([_entry(ACCEPTED, RESOLVED, namespace=None)], None, ["no status"], id="in the route's own namespace"),
        pytest.param([_entry(ACCEPTED, RESOLVED), _entry(_condition("Accepted", "False"), RESOLVED)], False, ["Accepted"], id="one listener refuses"),
        pytest.param([_entry(_condition("Accepted", "False"), RESOLVED, name="other"), _entry(ACCEPTED, RESOLVED)], True, [], id="another gateway's refusal"),
    ],
)
def test_route(entries: list[Object], ok: bool | None, words: list[str]) -> None:
    verdict = route_verdict(_object(*entries), GATEWAY)
    assert verdict.ok is ok
    assert all(word in verdict.why for word in words)
    assert bool(verdict.why) is (ok is not True)


@pytest.mark.parametrize(
    ("entries", "ok", "words"),
    [
        pytest.param([_entry(ACCEPTED)], True, [], id="accepted"),
        pytest.param([_entry(ACCEPTED), _entry(ACCEPTED, section="other")], True, [], id="at two listeners"),
        pytest.param([], None, ["no status"], id="no status"),
        pytest.param([_entry(_condition("Accepted", generation=2))], None, ["generation 3"], id="older generation"),
        pytest.param([_entry(_condition("Accepted", "False"))], False, ["message of Accepted"], id="refused"),
        pytest.param([_entry(ACCEPTED, _condition("Overridden"))], False, ["verridden", "message of Overridden"], id="overridden"),
        pytest.param([_entry(ACCEPTED, _condition("Overridden", "False"))], True, [], id="not overridden"),
        pytest.param([_entry(ACCEPTED, _condition("Merged"))], True, [], id="merged"),
        pytest.param([_entry(ACCEPTED), _entry(ACCEPTED, _condition("Overridden"))], False, ["verridden"], id="overridden at one listener"),
        pytest.param([_entry(ACCEPTED, controller="other.io/controller")], None, ["no status"], id="another controller"),
    ],
)
def test_policy(entries: list[Object], ok: bool | None, words: list[str]) -> None:
    verdict = policy_verdict(_object(*entries), GATEWAY)
    assert verdict.ok is ok
    assert all(word in verdict.why for word in words)


def test_an_entry_of_a_parent_that_the_route_no_longer_has_says_nothing() -> None:
    """As Envoy Gateway 1.9 leaves it behind when a route by hand gets its sectionName."""
    route = live("route_of_two_parents")
    assert [entry["conditions"][0]["observedGeneration"] for entry in route["status"]["parents"]] == [1, 2]
    assert route_verdict(route, GatewayRef()).ok is True
    del route["status"]["parents"][1]
    assert route_verdict(route, GatewayRef()).ok is None, "then generation 2 was judged by nobody"


def test_without_a_namespace_the_reference_means_the_object_s() -> None:
    assert route_verdict(_object(_entry(ACCEPTED, RESOLVED, namespace=None), namespace="gateway-envoy"), GATEWAY).ok


@pytest.mark.parametrize("name", ["route_ours", "passthrough_ours"])
def test_a_real_route_s_status(name: str) -> None:
    route = live(name)
    verdict = route_verdict(route, GATEWAY)
    assert verdict.ok is True or verdict.why
    judged = {condition["type"]: condition["status"] for condition in route["status"]["parents"][0]["conditions"]}
    assert verdict.ok is (judged["Accepted"] == judged["ResolvedRefs"] == "True")


def test_a_real_policy_whose_proxy_has_no_pod_is_refused_by_name() -> None:
    policy = live("policy_by_hand_taken_over")
    condition = policy["status"]["ancestors"][0]["conditions"][0]
    assert condition["status"] == "False" and condition["observedGeneration"] >= policy["metadata"]["generation"]
    verdict = policy_verdict(policy, GATEWAY)
    assert verdict.ok is False
    assert condition["message"] in verdict.why


def test_a_real_status_of_an_older_generation_says_nothing() -> None:
    route = copy.deepcopy(live("route_ours"))
    route["metadata"]["generation"] += 1
    assert route_verdict(route, GATEWAY).ok is None


@pytest.mark.parametrize("status", [None, {}, {"parents": None, "ancestors": None}], ids=str)
def test_an_empty_status(status: t.Any) -> None:
    obj = {"metadata": {"name": "x", "namespace": "n"}, "status": status}
    assert route_verdict(obj, GATEWAY).ok is None
    assert policy_verdict(obj, GATEWAY).ok is None
