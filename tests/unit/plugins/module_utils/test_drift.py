# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is drift of a release's object and what isn't, by objects that a real API server, Helm 3.18, 4.1 and kubectl wrote."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _drift, _helm
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._rollout import MARKER
from tests.golden import team
from tests.unit.support.api import live

Object = dict[str, t.Any]
Key = tuple[str, str]
TEAM = team()
RELEASE, STORE = TEAM.release, TEAM.store_name
DRIFTED = live("release_drifted")


def _record(name: str, owner: Team = TEAM) -> tuple[dict[Key, Object], dict[Key, Object]]:
    """(the manifest's objects, what the cluster had)"""
    recorded = live(name)
    release = _helm.Release(1, "deployed", "oauth2-proxy", "10.7.0", {}, {}, recorded["manifest"])
    wanted = _helm.release_objects(owner, release)
    return {_key(obj): obj for obj in wanted}, {_key(obj): obj for obj in recorded["objects"]}


def _key(obj: Object) -> Key:
    return obj["kind"], obj["metadata"]["name"]


WANTED, LIVE = _record("release_helm4")


def _reasons(desired: Object, found: Object | None) -> tuple[str, ...]:
    change = _drift.plan_drift(desired, found)
    return change.reasons if change is not None else ()


@pytest.mark.parametrize("recorded", ["release_helm4", "release_helm3"])
def test_what_helm_left_is_no_drift(recorded: str) -> None:
    owner = TEAM if recorded == "release_helm4" else team({"name": "team-b"})
    wanted, found = _record(recorded, owner)
    assert len(wanted) == 9 and {kind for kind, _name in wanted} >= {"Deployment", "Service", "NetworkPolicy", "HTTPRoute", "PodDisruptionBudget"}
    for key, obj in wanted.items():
        assert _reasons(obj, found[key]) == (), key


@pytest.mark.parametrize("key", list(WANTED), ids=lambda key: "/".join(key))
def test_what_is_gone_comes_back_as_helm_made_it(key: Key) -> None:
    change = _drift.plan_drift(WANTED[key], None)
    assert change is not None and change.action == "restore" and change.manager == "helm" and key[1] in change.reasons[0]
    meta = change.obj["metadata"]
    assert meta["namespace"] == TEAM.namespace and meta["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert meta["annotations"]["meta.helm.sh/release-name"] == RELEASE


@pytest.mark.parametrize(
    ("name", "key", "told"),
    [
        ("args", ("Deployment", RELEASE), [["args", "remove --skip-auth-route=^/", "kubectl-patch"]]),
        ("env_value", ("Deployment", RELEASE), [["valueFrom", "put back", "client-secret"], ["value", "remove", "kubectl-set"]]),
        ("sidecar", ("Deployment", RELEASE), [["containers[side]", "remove", "kubectl-patch"]]),
        ("scaled", ("Deployment", RELEASE), [["spec.replicas", "expected 2", "found 1", "kubectl"]]),
        ("autoscaled", ("Deployment", RELEASE), []),
        ("selector", ("Service", RELEASE), [["spec.selector.x", "remove 'y'", "kubectl-patch"]]),
        ("route_rule", ("HTTPRoute", RELEASE), [["spec.rules", "remove", "prometheus-service", "kubectl-patch"]]),
    ],
)
def test_what_people_did_is_told_with_field_value_and_manager(name: str, key: Key, told: list[list[str]]) -> None:
    reasons = _reasons(WANTED[key], DRIFTED[name])
    assert len(reasons) == len(told)
    for reason, words in zip(reasons, told, strict=True):
        assert all(word in reason for word in words), reason
    assert "hunter2" not in str(reasons)


def _owned(found: Object, manager: str, tree: Object, **more: str) -> Object:
    found["metadata"]["managedFields"].append({"manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": tree, **more})
    return found


def _deployment() -> Object:
    return copy.deepcopy(LIVE["Deployment", RELEASE])


def _annotated(key: str) -> Object:
    found = _deployment()
    found["spec"]["template"]["metadata"].setdefault("annotations", {})[key] = "x"
    return _owned(found, "somebody", {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {f"f:{key}": {}}}}}})


@pytest.mark.parametrize(
    ("key", "drift"), [(MARKER, False), ("kubectl.kubernetes.io/restartedAt", False), ("sidecar.istio.io/inject", True)], ids=lambda value: str(value)
)
def test_annotations_of_the_pod_template(key: str, drift: bool) -> None:
    assert bool(_reasons(WANTED["Deployment", RELEASE], _annotated(key))) is drift


def test_others_may_mark_the_object_itself() -> None:
    found = _deployment()
    found["metadata"]["annotations"].update({MARKER: "x", "deployment.kubernetes.io/revision": "7", "theirs": "x"})
    found["metadata"]["labels"]["theirs"] = "x"
    _owned(found, "somebody", {"f:metadata": {"f:labels": {"f:theirs": {}}, "f:annotations": {"f:theirs": {}}}})
    assert _reasons(WANTED["Deployment", RELEASE], found) == ()


@pytest.mark.parametrize(
    ("manager", "subresource", "drift"),
    [("kube-controller-manager", "scale", False), ("keda", "scale", False), ("kubectl", "scale", True), ("kubectl-edit", "", True)],
)
def test_whose_the_replicas_are(manager: str, subresource: str, drift: bool) -> None:
    found = _deployment()
    found["spec"]["replicas"] = 5
    _owned(found, manager, {"f:spec": {"f:replicas": {}}}, **({"subresource": subresource} if subresource else {}))
    assert bool(_reasons(WANTED["Deployment", RELEASE], found)) is drift


def test_what_is_put_back_of_a_scaled_deployment_leaves_the_replicas() -> None:
    found = copy.deepcopy(DRIFTED["autoscaled"])
    found["spec"]["template"]["spec"]["containers"][0]["args"].append("--x")
    change = _drift.plan_drift(WANTED["Deployment", RELEASE], found)
    assert change is not None and "replicas" not in change.obj["spec"] and "replicas" in WANTED["Deployment", RELEASE]["spec"]
    (spec,) = [operation["value"] for operation in _drift.replacement(change.obj, found) if operation["path"] == "/spec"]
    assert spec["replicas"] == 3


def test_a_replacement_keeps_our_marker_and_what_is_whose() -> None:
    found = _annotated(MARKER)
    found["metadata"]["labels"]["theirs"] = "x"
    desired = WANTED["Deployment", RELEASE]
    before = json.dumps([desired, found])
    operations = {operation["path"]: operation["value"] for operation in _drift.replacement(desired, found)}
    assert operations["/spec"]["template"]["metadata"]["annotations"][MARKER] == "x"
    assert operations["/metadata/labels"] == {**desired["metadata"]["labels"], "theirs": "x"}
    assert set(operations) == {"/metadata/labels", "/metadata/annotations", "/spec"}
    assert json.dumps([desired, found]) == before


@pytest.mark.parametrize(
    ("want", "have", "same"),
    [
        ("500m", "0.5", True),
        (1, "1", True),
        ("1Gi", "1024Mi", True),
        ("1e3", "1k", True),
        ("128974848", "129e6", False),
        ("128Mi", "128M", False),
        ("1", "2", False),
        ("a", "b", False),
    ],
)
def test_quantities_are_compared_by_what_they_say(want: t.Any, have: str, same: bool) -> None:
    desired, found = copy.deepcopy(WANTED["Deployment", RELEASE]), _deployment()
    desired["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": want}}
    found["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": have}}
    assert bool([reason for reason in _reasons(desired, found) if "memory" in reason]) is not same


@pytest.mark.parametrize(
    ("field", "drift"),
    [("automountServiceAccountToken", True), ("enableServiceLinks", True)],
)
def test_a_missing_false_may_mean_true(field: str, drift: bool) -> None:
    found = _deployment()
    del found["spec"]["template"]["spec"][field]
    assert bool(_reasons(WANTED["Deployment", RELEASE], found)) is drift


def test_a_claim_is_there_or_not() -> None:
    """Its spec can't be changed, and provisioners write into it."""
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": STORE, "namespace": "n"}, "spec": {"resources": {}}}
    found = {**claim, "spec": {"volumeName": "pvc-1"}}
    assert _reasons(claim, _owned(copy.deepcopy({**found, "metadata": {**claim["metadata"], "managedFields": []}}), "x", {"f:spec": {}})) == ()


def test_of_a_secret_no_value_is_told() -> None:
    secret: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "stringData": {"a": "hunter2"}}
    found = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "data": {"a": "aHVudGVyMg=="}}
    assert _reasons(secret, found) == ()
    (reason,) = _reasons(secret, {**found, "data": {"a": "b3RoZXI="}})
    assert "data.a" in reason and not any(value in reason for value in ("b3RoZXI", "hunter2", "aHVudGVyMg"))
