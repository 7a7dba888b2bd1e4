# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One host's share of a batched phase."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.platform.gateway_auth.plugins.action.team_outcome import ActionModule
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import Outcome
from tests.unit.support.actions import run_action

DIFF = [{"before": "a", "after": "b", "before_header": "x", "after_header": "x"}]
DONE = Outcome(changed=True, msg="done", changes=[{"action": "create", "object": "Secret n/s", "reasons": ["set key"]}], diff=DIFF, data={"findings": []})


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(Outcome(), id="nothing to do"),
        pytest.param(DONE, id="changed"),
        pytest.param(Outcome(changed=True, failed=True, msg="Team 'team-a': no."), id="failed after a change"),
    ],
)
def test_the_result_is_the_outcome(outcome: Outcome) -> None:
    result = run_action(ActionModule, {"outcome": outcome.to_dict()})
    expected = outcome.to_dict()
    expected.pop("diff")
    assert {key: result[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("diff", "outcome", "shown"),
    [
        pytest.param(True, DONE, True, id="asked for"),
        pytest.param(False, DONE, False, id="not asked for"),
        pytest.param(True, Outcome(), False, id="nothing to show"),
    ],
)
def test_diff(diff: bool, outcome: Outcome, shown: bool) -> None:
    result = run_action(ActionModule, {"outcome": outcome.to_dict()}, diff=diff)
    assert ("diff" in result) is shown
    assert result.get("diff", DIFF) == DIFF


def test_in_check_mode_too() -> None:
    assert run_action(ActionModule, {"outcome": DONE.to_dict()}, check=True)["changed"] is True


@pytest.mark.parametrize("options", [{}, {"outcome": "text"}, {"outcome": {}, "other": 1}], ids=["none", "wrong type", "unknown option"])
def test_options_are_checked(options: dict[str, t.Any]) -> None:
    with pytest.raises(AnsibleActionFail):
        run_action(ActionModule, options)
