# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drift of a batch: what the phases foretold, and teams that no inventory has."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.platform.gateway_auth.plugins.action.team_drift import ActionModule
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import app_route, security_policy
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import Outcome
from tests.golden import team
from tests.unit.support.actions import models, run_action
from tests.unit.support.api import Api

Object = dict[str, t.Any]
CHANGE: Object = {"action": "update", "object": "HTTPRoute n/r", "reasons": ["change spec.x from 1 to 2 (put there by kubectl-edit at 2026-01-01T00:00:00Z)"]}
KNOWN = ["team-a", "team-b"]


def _run(kubeconfig: str, *outcomes: Outcome, known: list[str] = KNOWN) -> Object:
    phases = [{"teams": {"team-a": outcome.to_dict()}} for outcome in outcomes]
    result = run_action(ActionModule, {"models": models(kubeconfig, "team-a", "team-b"), "phases": [{}, *phases], "known": known}, check=True)
    return t.cast("Object", result["teams"])


def test_without_changes_nobody_fails(api: Api, kubeconfig: str) -> None:
    teams = _run(kubeconfig, Outcome())
    assert {name: (outcome["failed"], outcome["msg"]) for name, outcome in teams.items()} == {name: (False, f"Team '{name}': no drift") for name in KNOWN}


def test_each_reason_is_named_and_only_its_team_fails(api: Api, kubeconfig: str) -> None:
    teams = _run(kubeconfig, Outcome(changes=[CHANGE]), Outcome(changes=[{**CHANGE, "object": "Secret n/s", "reasons": ["set key a", "set key b"]}]))
    assert (teams["team-a"]["failed"], teams["team-b"]["failed"]) == (True, False)
    assert teams["team-a"]["data"]["drift"] == [f"HTTPRoute n/r: {CHANGE['reasons'][0]}", "Secret n/s: set key a", "Secret n/s: set key b"]
    assert "3 differences" in teams["team-a"]["msg"] and "onboard_team -e team=a" in teams["team-a"]["msg"]


def test_what_stops_a_phase_is_told(api: Api, kubeconfig: str) -> None:
    outcome = _run(kubeconfig, Outcome(changes=[CHANGE]), Outcome(failed=True, msg="Secret n/s exists and is not ours."))["team-a"]
    assert outcome["failed"] and "Secret n/s exists and is not ours." in outcome["msg"]
    assert outcome["data"]["drift"] and CHANGE["reasons"][0] in outcome["msg"]


def test_a_team_that_failed_before_is_told_as_well(api: Api, kubeconfig: str) -> None:
    phases = [{"teams": {"team-a": Outcome(failed=True, msg="no right", changes=[CHANGE]).to_dict()}}]
    options = {"models": models(kubeconfig, "team-a", "team-b"), "phases": phases, "known": KNOWN}
    teams = run_action(ActionModule, options, check=True, variables={"ansible_play_batch": ["team-b"]})["teams"]
    assert "no right" in teams["team-a"]["msg"] and not teams["team-b"]["failed"]


def test_a_team_that_no_inventory_has(api: Api, kubeconfig: str) -> None:
    gone = team({"name": "team-z"})
    for obj in (app_route(gone, gone.apps[0]), security_policy(gone, gone.apps[0])):
        api.seed(obj)
    foreign = copy.deepcopy(app_route(gone, gone.apps[1]))
    foreign["metadata"]["labels"]["gateway-auth/environment"] = "elsewhere"
    api.seed(foreign)
    teams = _run(kubeconfig)
    (line,) = teams["team-a"]["data"]["drift"]
    for word in ("'team-z'", f"HTTPRoute {gone.namespace}/{gone.apps[0].name}-team-z", f"SecurityPolicy {gone.namespace}/oauth2-{gone.apps[0].name}-team-z"):
        assert word in line
    assert gone.apps[1].name not in line
    assert teams["team-b"]["data"]["drift"] == [], "once for the cluster"
    assert _run(kubeconfig, known=[*KNOWN, "team-z"])["team-a"]["data"]["drift"] == []
