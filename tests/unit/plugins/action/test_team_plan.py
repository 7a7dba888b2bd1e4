# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a batch: told, written, compared."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.platform.gateway_auth.plugins.action.team_plan import ActionModule
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import Outcome
from tests.golden import model
from tests.unit.support.actions import run_action

Object = dict[str, t.Any]
CHANGE: Object = {"action": "create", "object": "Secret n/s", "reasons": ["generate x"], "about": {}}
MODELS = {"team-a": model(), "team-b": model({"name": "team-b"})}


def _run(a: Outcome, **options: t.Any) -> Object:
    phase = {"teams": {"team-a": a.to_dict(), "team-b": Outcome().to_dict()}}
    return run_action(ActionModule, {"models": MODELS, "phases": [{}, phase], **options})


def test_each_team_is_told() -> None:
    result = _run(Outcome(changes=[CHANGE]))
    assert result["msg"] == ["team-a: 1 objects change; nobody notices", "  + Secret n/s: generate x", "team-b: nothing to change"]
    assert result["plan"]["changed"] is True and result["changed"] is False
    assert not any(outcome["failed"] for outcome in result["teams"].values())


def test_files_by_their_ending(tmp_path: pathlib.Path) -> None:
    _run(Outcome(changes=[CHANGE]), dest=[str(tmp_path / f"deep/plan{ending}") for ending in (".json", ".md", ".html")])
    assert json.loads((tmp_path / "deep/plan.json").read_text())["teams"]["team-a"]["changed"] is True
    assert "+ Secret n/s" in (tmp_path / "deep/plan.md").read_text()
    assert (tmp_path / "deep/plan.html").read_text().startswith("<!doctype html>")


def test_another_ending_is_an_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(AnsibleActionFail, match=r"\.md, \.json, \.html.*plan\.txt"):
        _run(Outcome(), dest=[str(tmp_path / "plan.txt")])


def test_a_change_may_be_a_failure() -> None:
    result = _run(Outcome(changes=[CHANGE]), fail_on_change=True)
    assert {name: outcome["failed"] for name, outcome in result["teams"].items()} == {"team-a": True, "team-b": False}
    assert "fail_on_change" in result["teams"]["team-a"]["msg"]


def test_a_plan_that_holds_and_one_that_does_not(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "plan.json"
    _run(Outcome(changes=[CHANGE]), dest=[str(path)])
    held = _run(Outcome(changes=[CHANGE]), expected=str(path))
    assert not any(outcome["failed"] for outcome in held["teams"].values())
    broken = _run(Outcome(changes=[CHANGE, {**CHANGE, "object": "Secret n/t"}]), expected=str(path))
    assert broken["teams"]["team-a"]["failed"] is True and broken["teams"]["team-b"]["failed"] is False
    for word in ("holds no more", "it lacks create Secret n/t", "Nothing was written", "plan_team -e team=a"):
        assert word in broken["teams"]["team-a"]["msg"]


def test_a_plan_of_another_shape_is_an_error(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "plan.json"
    for teams in ([], {"team-a": []}, None):
        path.write_text(json.dumps({"schema": 1, "teams": teams}))
        with pytest.raises(AnsibleActionFail, match=r"'teams'.*plan_team"):
            _run(Outcome(), expected=str(path))


def test_a_plan_of_other_teams_or_not_made_to_its_end(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "plan.json"
    _run(Outcome(failed=True, msg="Service x is missing."), dest=[str(path)])
    assert "Service x is missing." in _run(Outcome(), expected=str(path))["teams"]["team-a"]["msg"]
    document = json.loads(path.read_text())
    del document["teams"]["team-a"]
    path.write_text(json.dumps(document))
    assert "says nothing of team-a" in _run(Outcome(), expected=str(path))["teams"]["team-a"]["msg"]


@pytest.mark.parametrize(("text", "words"), [(None, "can't be read"), ("{", "no JSON"), ("[]", "schema 1, found None"), ('{"schema": 9}', "found 9")])
def test_what_is_no_plan_ends_the_run(tmp_path: pathlib.Path, text: str | None, words: str) -> None:
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(AnsibleActionFail, match=words):
        _run(Outcome(), expected=str(path))
