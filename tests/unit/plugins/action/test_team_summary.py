# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a run: one line for each team, whatever happened."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.platform.gateway_auth.plugins.action.team_summary import ActionModule
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import Outcome
from tests.golden import model
from tests.unit.support.actions import run_action

Object = dict[str, t.Any]
CHANGE: Object = {"action": "create", "object": "Secret n/s", "reasons": []}


def _phase(**outcomes: Outcome) -> Object:
    return {"teams": {name.replace("_", "-"): outcome.to_dict() for name, outcome in outcomes.items()}}


def _lines(phases: list[Object], alive: list[str], everyone: list[str], *, check: bool = False) -> list[str]:
    variables = {"ansible_play_hosts": alive, "ansible_play_hosts_all": everyone}
    result = run_action(ActionModule, {"phases": phases}, variables=variables, check=check)
    assert result["changed"] is False and not result.get("failed")
    return t.cast("list[str]", result["msg"])


@pytest.mark.parametrize(
    ("phases", "check", "words", "never"),
    [
        pytest.param([], False, ["ok", "nothing"], ["FAILED"], id="nothing ran"),
        pytest.param([_phase(team_a=Outcome())], False, ["ok", "nothing"], [], id="no change"),
        pytest.param(
            [_phase(team_a=Outcome(changes=[CHANGE])), _phase(team_a=Outcome(changes=[CHANGE, CHANGE]))],
            False,
            ["ok", "3"],
            ["would"],
            id="changes of all phases",
        ),
        pytest.param([_phase(team_a=Outcome(changes=[CHANGE]))], True, ["ok", "1", "would"], [], id="check mode"),
        pytest.param([_phase(team_a=Outcome(data={"findings": ["a", "b"]}))], True, ["ok", "2 findings"], [], id="findings"),
        pytest.param([_phase(team_b=Outcome(changes=[CHANGE]))], False, ["nothing"], ["1"], id="another team's changes"),
        pytest.param([{"skipped": True}], False, ["ok", "nothing"], [], id="a skipped phase"),
    ],
)
def test_a_team_that_got_through(phases: list[Object], check: bool, words: list[str], never: list[str]) -> None:
    (line,) = _lines(phases, ["team-a"], ["team-a"], check=check)
    assert line.startswith("team-a: ")
    assert all(word in line for word in words)
    assert not any(word in line.removeprefix("team-a: ") for word in never)


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        pytest.param(
            [_phase(team_a=Outcome(changes=[CHANGE])), _phase(team_a=Outcome(failed=True, msg="Secret is bad.\nmore"))],
            ["FAILED", "1", "Secret is bad."],
            id="in a phase",
        ),
        pytest.param([_phase(team_a=Outcome())], ["FAILED", "above"], id="in another task"),
        pytest.param([], ["FAILED"], id="before any phase"),
        pytest.param([_phase(team_a=Outcome(failed=True, msg=""))], ["FAILED"], id="without a message"),
    ],
)
def test_a_team_that_failed(phases: list[Object], words: list[str]) -> None:
    (line,) = _lines(phases, [], ["team-a"])
    assert all(word in line for word in words)
    assert "\n" not in line and "more" not in line


def test_every_team_has_a_line_also_when_all_failed() -> None:
    assert [line.partition(":")[0] for line in _lines([], [], ["team-a", "team-b"])] == ["team-a", "team-b"]
    mixed = _lines([], ["team-b"], ["team-a", "team-b"])
    assert "FAILED" in mixed[0] and "ok" in mixed[1]


def test_phases_are_needed() -> None:
    with pytest.raises(AnsibleActionFail):
        run_action(ActionModule, {})


@pytest.mark.parametrize("check", [False, True])
def test_each_waiver_in_force_has_its_line(check: bool) -> None:
    waiver = {"option": "cookie-domain", "owner": "platform", "reason": "old clients", "expires": "2027-01-01"}
    models = {"team-a": model({"helm_values": {"extraArgs": {"cookie-domain": ".x"}}, "waivers": [waiver]}), "team-b": model({"name": "team-b"})}
    variables = {"ansible_play_hosts": ["team-a", "team-b"], "ansible_play_hosts_all": ["team-a", "team-b"]}
    lines = run_action(ActionModule, {"phases": [], "models": models}, variables=variables, check=check)["msg"]
    assert [line.split(":")[0] for line in lines] == ["team-a", "team-b", "team-a"]
    for word in ("waived", "cookie-domain", "platform", "old clients", "2027-01-01"):
        assert word in lines[2]
