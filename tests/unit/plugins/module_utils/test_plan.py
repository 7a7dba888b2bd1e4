# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Desired against live, with objects and managedFields as a real API server wrote them (``tests/unit/support/live``)."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _plan
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForeignObjectError
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import plan_object
from tests.golden import team
from tests.unit.support.api import live
from tests.unit.support.recorded import PASSTHROUGH, POLICY, ROUTE

Object = dict[str, t.Any]
TEAM = team()


DESIRED = {"policy": POLICY, "route": ROUTE, "passthrough": PASSTHROUGH}


def _desired(name: str) -> Object:
    return DESIRED[name.partition("_")[0]]


def _changed(obj: Object, path: str, value: t.Any) -> Object:
    """A copy with one field set, or removed when ``value`` is None."""
    changed = copy.deepcopy(obj)
    *parents, last = path.split("/")
    node = changed
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    if value is None:
        node.pop(last)
    else:
        node[last] = value
    return changed


def test_what_is_not_there_is_created() -> None:
    change = plan_object(POLICY, None)
    assert change is not None
    assert (change.action, change.live, change.desired) == ("create", None, POLICY)
    assert change.name == "SecurityPolicy monitoring-team-a/oauth2-prometheus-team-a"
    assert len(change.reasons) == 1 and change.name in change.reasons[0]


@pytest.mark.parametrize(
    "name", ["policy_ours", "route_ours", "passthrough_ours", "route_edited_then_applied", "route_by_hand_taken_over", "policy_by_hand_taken_over"]
)
def test_defaults_and_status_are_no_difference(name: str) -> None:
    assert plan_object(_desired(name), live(name)) is None


@pytest.mark.parametrize(
    ("name", "words", "drop"),
    [
        pytest.param("policy_authorization_added", ["authorization", "kubectl-patch"], ("spec", "authorization"), id="authorization added"),
        pytest.param("policy_opened", ["recomputeRoute", "kubectl-patch"], ("spec", "extAuth", "recomputeRoute"), id="recomputeRoute added, failOpen changed"),
        pytest.param(
            "policy_opened_then_applied", ["recomputeRoute", "kubectl-patch"], ("spec", "extAuth", "recomputeRoute"), id="recomputeRoute outlived an apply"
        ),
    ],
)
def test_somebody_else_s_field_is_drift_and_goes(name: str, words: list[str], drop: tuple[str, ...]) -> None:
    change = plan_object(POLICY, live(name))
    assert change is not None
    assert (change.action, change.drop, change.uncertain) == ("update", (drop,), False)
    (reason,) = [reason for reason in change.reasons if ".".join(drop) in reason]
    assert all(word in reason for word in words)


def test_somebody_else_s_value_is_drift() -> None:
    change = plan_object(POLICY, live("policy_opened"))
    assert change is not None
    (reason,) = [reason for reason in change.reasons if "failOpen" in reason]
    assert reason.index("True") < reason.index("False"), "from what is there to what is wanted"


def test_an_edit_inside_a_list_is_for_the_api_server_to_judge() -> None:
    change = plan_object(ROUTE, live("route_edited_in_list"))
    assert change is not None
    assert change.uncertain
    assert not change.drop
    assert any("spec.rules" in reason and "kubectl-patch" in reason for reason in change.reasons)


def test_a_certain_difference_settles_an_uncertain_one() -> None:
    change = plan_object(_changed(ROUTE, "spec/hostnames", ["other.apps.example.com"]), live("route_edited_in_list"))
    assert change is not None
    assert not change.uncertain
    assert any("other.apps.example.com" in reason for reason in change.reasons)


def test_a_former_field_of_ours_inside_a_list_is_noticed() -> None:
    """The timeout and the backend's namespace of route_former_timeout were applied by us and are no longer wanted."""
    assert plan_object(ROUTE, live("route_former_timeout")) is not None


def test_a_former_field_of_ours_is_removed_by_the_apply_itself() -> None:
    narrower = _changed(POLICY, "spec/extAuth/timeout", None)
    change = plan_object(narrower, live("policy_ours"))
    assert change is not None
    assert not change.drop, "server-side apply removes what its manager no longer applies"
    assert any("extAuth.timeout" in reason for reason in change.reasons)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        pytest.param("spec/extAuth/http/pathOverride", "/?allowed_groups=x", ["pathOverride", "allowed_groups=x"], id="scalar"),
        pytest.param("spec/extAuth/failOpen", True, ["failOpen", "False", "True"], id="boolean"),
        pytest.param("spec/extAuth/newField", "x", ["set", "newField"], id="field that isn't there"),
        pytest.param("spec/targetRefs", POLICY["spec"]["targetRefs"][:1], ["targetRefs"], id="shorter list"),
        pytest.param("spec/targetRefs/1/sectionName", "other", ["targetRefs[1].sectionName", "probe", "other"], id="inside a list"),
        pytest.param(
            "spec/extAuth/headersToExtAuth",
            ["Accept", "Cookie", "X-Forwarded-Proto", "X-Auth-Request-Redirect", "X-Envoy-External-Address"],
            ["headersToExtAuth"],
            id="order of a list",
        ),
    ],
)
def test_each_difference_is_named(path: str, value: t.Any, words: list[str]) -> None:
    change = plan_object(_changed(POLICY, path, value), live("policy_ours"))
    assert change is not None and change.action == "update" and not change.uncertain
    assert len(change.reasons) == 1
    assert all(word in change.reasons[0] for word in words)


def test_a_label_of_ours_is_put_back() -> None:
    obj = live("policy_ours")
    obj["metadata"]["labels"]["gateway-auth/app"] = "grafana"
    change = plan_object(POLICY, obj)
    assert change is not None and not change.uncertain
    assert len(change.reasons) == 1
    assert "gateway-auth/app" in change.reasons[0] and "grafana" in change.reasons[0] and "prometheus" in change.reasons[0]


def test_others_labels_and_annotations_are_theirs() -> None:
    obj = live("policy_ours")
    obj["metadata"]["labels"]["theirs"] = "yes"
    obj["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    assert plan_object(POLICY, obj) is None


def test_a_lifted_protection_of_what_is_wanted_comes_back() -> None:
    desired, live_obj = _desired("policy_ours"), live("policy_ours")
    live_obj["metadata"]["annotations"] = {"gateway-auth/remove": "true", "theirs": "x"}
    change = plan_object(desired, live_obj)
    assert change is not None and not change.uncertain
    assert change.drop == (("metadata", "annotations", "gateway-auth/remove"),)
    assert "gateway-auth/remove" in change.reasons[0]


def test_a_field_nobody_owns_is_a_default() -> None:
    obj = live("policy_ours")
    obj["spec"]["extAuth"]["defaulted"] = {"by": "the server"}
    assert plan_object(POLICY, obj) is None


def test_what_a_controller_writes_through_a_subresource_is_not_drift() -> None:
    """As an autoscaler owns spec.replicas through the subresource scale."""
    obj = live("policy_ours")
    assert {entry.get("subresource") for entry in obj["metadata"]["managedFields"]} == {None, "status"}
    obj["spec"]["scaled"] = 3
    through = {"manager": "autoscaler", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:scaled": {}}}}
    obj["metadata"]["managedFields"].append({**through, "subresource": "scale"})
    assert plan_object(POLICY, obj) is None
    obj["metadata"]["managedFields"].append(through)
    assert plan_object(POLICY, obj) is not None


def test_an_object_without_managed_fields_is_compared_by_what_is_wanted() -> None:
    obj = live("policy_ours")
    del obj["metadata"]["managedFields"]
    assert plan_object(POLICY, obj) is None
    assert plan_object(_changed(POLICY, "spec/extAuth/timeout", "9s"), obj) is not None


# --- whose it is ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("route_by_hand", ["gateway-auth/managed"], id="no mark"),
        pytest.param("policy_by_hand", ["gateway-auth/managed"], id="made by hand"),
    ],
)
@pytest.mark.parametrize("adopt", [[], ["SecurityPolicy/another"], ["HTTPRoute/oauth2-prometheus-team-a"], ["prometheus-team-a"]], ids=str)
def test_a_foreign_object_is_refused_with_the_way_out(name: str, words: list[str], adopt: list[str]) -> None:
    desired = _desired(name)
    with pytest.raises(ForeignObjectError) as error:
        plan_object(desired, live(name), adopt)
    assert desired["metadata"]["name"] in error.value.message
    assert all(word in error.value.message for word in words)
    assert f"adopt='[{desired['kind']}/{desired['metadata']['name']}]'" in error.value.remedy


@pytest.mark.parametrize("label", ["environment", "stack", "team"])
@pytest.mark.parametrize("value", ["other", None], ids=["another's", "missing"])
def test_every_part_of_the_identity_counts(label: str, value: str | None) -> None:
    obj = live("policy_ours")
    del obj["metadata"]["labels"][f"gateway-auth/{label}"]
    if value:
        obj["metadata"]["labels"][f"gateway-auth/{label}"] = value
    with pytest.raises(ForeignObjectError, match=f"gateway-auth/{label}"):
        plan_object(POLICY, obj)


@pytest.mark.parametrize("adopt", [["all"], ["SecurityPolicy/oauth2-prometheus-team-a"]], ids=str)
def test_adoption_says_why_and_marks(adopt: list[str]) -> None:
    change = plan_object(POLICY, live("policy_by_hand"), adopt)
    assert change is not None
    assert change.action == "adopt" and not change.uncertain
    assert "gateway-auth/managed" in change.reasons[0]


def test_adoption_takes_away_what_we_did_not_put_there() -> None:
    obj = live("policy_by_hand")
    obj["spec"]["authorization"] = {"defaultAction": "Allow"}
    (theirs,) = [entry for entry in obj["metadata"]["managedFields"] if entry["manager"] == "kubectl-client-side-apply"]
    theirs["fieldsV1"]["f:spec"]["f:authorization"] = {".": {}, "f:defaultAction": {}}
    change = plan_object(POLICY, obj, ["all"])
    assert change is not None
    assert change.drop == (("spec", "authorization"),)


def test_an_object_of_a_kind_without_mark_is_nobody_s() -> None:
    desired = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "annotations": {"a": "1"}}}
    change = plan_object(desired, {**desired, "metadata": {"name": "d"}})
    assert change is not None and change.action == "update"


# --- secrets, reasons ----------------------------------------------------------------------------------------------------


def test_a_secret_s_values_never_show() -> None:
    labels = TEAM.owner_labels()
    old = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n", "labels": labels}, "data": {"kept": "b2xk", "changed": "b2xk"}}
    desired = {**old, "data": {"changed": "bmV3", "added": "bmV3"}}
    change = plan_object(desired, old)
    assert change is not None
    assert len(change.reasons) == 2
    assert {word for reason in change.reasons for word in reason.split()} >= {"changed", "added"}
    assert not any(value in str(change.to_dict()) for value in ("b2xk", "bmV3", "old", "new"))


def test_others_keys_of_a_secret_stay() -> None:
    labels = TEAM.owner_labels()
    desired = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n", "labels": labels}, "data": {"ours": "YQ=="}}
    assert plan_object(desired, {**desired, "data": {"ours": "YQ==", "theirs": "Yg=="}}) is None


def test_a_long_value_is_cut() -> None:
    change = plan_object(_changed(POLICY, "spec/extAuth/http/pathOverride", "/" + "x" * 5000), live("policy_ours"))
    assert change is not None
    assert len(change.reasons[0]) < 400


@pytest.mark.parametrize("path", ["spec/extAuth/timeout", "spec/extAuth/http/pathOverride"])
def test_planning_changes_neither_side(path: str) -> None:
    desired, obj = _changed(POLICY, path, "other"), live("policy_opened")
    before = copy.deepcopy((desired, obj))
    plan_object(desired, obj)
    assert (desired, obj) == before


def test_a_deletion_is_about_the_live_object() -> None:
    change = _plan.plan_deletion(live("route_ours"), "no longer wanted")
    told = change.to_dict()
    assert (told["action"], told["object"], told["reasons"]) == ("delete", "HTTPRoute monitoring-team-a/prometheus-team-a", ["no longer wanted"])
    assert told["about"]["before"]["host"] and told["about"]["after"] == {}
