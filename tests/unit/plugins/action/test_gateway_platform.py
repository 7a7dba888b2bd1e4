# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each Gateway is prepared once, by the first of its teams."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.action.gateway_platform import ActionModule
from ansible_collections.platform.gateway_auth.plugins.module_utils import _platform
from tests.golden import team
from tests.unit.support import platform as parts
from tests.unit.support.actions import models, run_action, team_model
from tests.unit.support.api import Api

Object = dict[str, t.Any]


@pytest.fixture(autouse=True)
def _gateway(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_platform, "_TIMEOUT_S", 0.3)
    monkeypatch.setattr(_platform, "_POLL_S", 0.01)
    api.seed(*parts.software())


def _run(given: Object, *, check: bool = False) -> Object:
    return t.cast("Object", run_action(ActionModule, {"models": given}, check=check)["teams"])


def test_sequence(api: Api, kubeconfig: str) -> None:
    given = models(kubeconfig, "team-a", "team-b")
    api.read_only = True
    predicted = _run(given, check=True)
    api.read_only = False
    written = _run(given)
    assert written["team-a"]["changes"] == predicted["team-a"]["changes"] != []
    assert len(api.writes) == 6
    assert not written["team-b"]["changed"] and "team-a" in written["team-b"]["msg"], "the same Gateway"
    api.forget()
    assert not any(outcome["changed"] for outcome in _run(given).values()) and not api.writes


def test_another_gateway_is_prepared_as_well(api: Api, kubeconfig: str) -> None:
    api.namespaces("edge")
    other = parts.gateway()
    other["metadata"]["namespace"] = "edge"
    api.seed(other)
    api.verdicts = {}
    second = team_model(kubeconfig, "team-b", gateway={"namespace": "edge"})
    teams = run_action(ActionModule, {"models": {"team-a": team_model(kubeconfig), "team-b": second}}, check=True)["teams"]
    assert [len(outcome["changes"]) for outcome in teams.values()] == [6, 6]


def test_a_platform_that_is_not_fit_is_not_touched(api: Api, kubeconfig: str) -> None:
    del api.objects[("gatewayclasses", "", "envoy")]
    api.edit("CustomResourceDefinition", "securitypolicies.gateway.envoyproxy.io", lambda obj: obj["spec"].update(parts.policy_crd("path")["spec"]))
    outcome = _run(models(kubeconfig))["team-a"]
    assert outcome["failed"] and "GatewayClass" in outcome["msg"] and "pathOverride" in outcome["msg"]
    assert not api.writes


def test_what_it_is_about_to_mend_is_no_obstacle(api: Api, kubeconfig: str) -> None:
    """No header policy, or one that isn't in effect, is what this phase is for."""
    outcome = _run(models(kubeconfig))["team-a"]
    assert not outcome["failed"] and outcome["changed"]


def test_a_rival_policy_is_told(api: Api, kubeconfig: str) -> None:
    api.seed(parts.client_policy(team()))
    outcome = _run(models(kubeconfig))["team-a"]
    assert outcome["failed"] and "gateway-envoy/theirs" in outcome["msg"] and "earlyRequestHeaders" in outcome["msg"]
    assert not api.writes


def test_what_was_done_before_it_failed_is_told(api: Api, kubeconfig: str) -> None:
    api.verdicts["gateway-auth"] = {"type": "Accepted", "status": "False", "message": "Conflicted"}
    outcome = _run(models(kubeconfig))["team-a"]
    assert outcome["failed"] and outcome["changed"] and "Conflicted" in outcome["msg"]
    assert len(outcome["changes"]) == 6


def test_the_right_to_write_admission_policies_is_asked_for_before_the_first_write(api: Api, kubeconfig: str) -> None:
    api.denied = {("create", "validatingadmissionpolicies"), ("patch", "validatingadmissionpolicybindings")}
    outcome = _run(models(kubeconfig))["team-a"]
    assert outcome["failed"] and not api.writes
    for word in (
        "create validatingadmissionpolicies.admissionregistration.k8s.io",
        "patch validatingadmissionpolicybindings",
        "gateway_auth_gateway.admission_policy: false",
    ):
        assert word in outcome["msg"]
    without = _run({"team-a": team_model(kubeconfig, gateway={"admission_policy": False})})["team-a"]
    assert not without["failed"] and len(without["changes"]) == 2
