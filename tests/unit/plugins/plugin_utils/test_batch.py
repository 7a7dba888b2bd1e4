# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One call for a batch of teams: each has its outcome, none takes another down, and an outcome says what was done."""

from __future__ import annotations

import threading
import typing as t

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError, SecretError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _batch
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome
from tests.unit.support.actions import make_action, models, run_action
from tests.unit.support.api import Api

Object = dict[str, t.Any]


class Recorder(BatchAction):
    """Says what it was given."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {"extra": {"type": "str", "default": "none"}}

    def for_team(self, team: Team) -> Outcome:
        return Outcome(data={"team": team.name, "check": self.check_mode, "diff": self.want_diff, "extra": self.options["extra"], "adopt": self.adopted})


class Clumsy(BatchAction):
    """Fails for team-b after it has done something."""

    def for_team(self, team: Team) -> Outcome:
        if team.name != "team-b":
            return Outcome(changed=True)
        error = SecretError("The vault is shut.", "Open it.")
        error.changes_done = [{"action": "create", "object": "Namespace n", "reasons": []}]  # type: ignore[attr-defined]
        raise error


class Unprepared(Recorder):
    def prepare(self, teams: dict[str, Team]) -> None:
        raise GatewayAuthError("The platform is down.", "Wait.")


class Together(BatchAction):
    """Ends only when all teams run at the same time."""

    def prepare(self, teams: dict[str, Team]) -> None:
        self.barrier = threading.Barrier(len(teams), timeout=5)

    def for_team(self, team: Team) -> Outcome:
        self.barrier.wait()
        return Outcome()


class Bug(BatchAction):
    def for_team(self, team: Team) -> Outcome:
        raise ZeroDivisionError("a bug")


def test_each_host_of_the_batch_has_its_outcome() -> None:
    given = models("/k", "team-a", "team-b", "team-c")
    result = run_action(Recorder, {"models": given}, variables={"ansible_play_batch": ["team-a", "team-c"]})
    assert list(result["teams"]) == ["team-a", "team-c"]
    assert all(outcome["data"]["team"] == host for host, outcome in result["teams"].items())
    assert result["changed"] is False, "the next task tells who changed"
    assert not result.get("failed")


def test_a_host_without_a_model_is_a_mistake_in_the_play() -> None:
    with pytest.raises(AnsibleActionFail, match="team-x"):
        run_action(Recorder, {"models": models("/k")}, variables={"ansible_play_batch": ["team-a", "team-x"]})


def test_no_hosts() -> None:
    assert run_action(Recorder, {"models": {}})["teams"] == {}


@pytest.mark.parametrize(("check", "diff"), [(True, False), (False, True)], ids=["check", "diff"])
def test_the_mode_reaches_the_team(check: bool, diff: bool) -> None:
    data = run_action(Recorder, {"models": models("/k"), "extra": "x"}, check=check, diff=diff)["teams"]["team-a"]["data"]
    assert (data["check"], data["diff"], data["extra"]) == (check, diff, "x")


@pytest.mark.parametrize("options", [{}, {"models": {}, "unknown": 1}, {"models": "text"}], ids=["no models", "unknown option", "wrong type"])
def test_options_are_checked(options: Object) -> None:
    with pytest.raises(AnsibleActionFail):
        run_action(Recorder, options)


@pytest.mark.parametrize(
    ("given", "adopted"),
    [
        pytest.param([], [], id="none"),
        pytest.param(None, [], id="null"),
        pytest.param("", [], id="empty text"),
        pytest.param("all", ["all"], id="-e adopt=all"),
        pytest.param("[SecurityPolicy/x]", ["SecurityPolicy/x"], id="-e adopt='[x]'"),
        pytest.param("[SecurityPolicy/x, HTTPRoute/y]", ["SecurityPolicy/x", "HTTPRoute/y"], id="-e adopt='[x, y]'"),
        pytest.param("SecurityPolicy/x,HTTPRoute/y", ["SecurityPolicy/x", "HTTPRoute/y"], id="without brackets"),
        pytest.param(["Secret/a", "Release/b"], ["Secret/a", "Release/b"], id="list"),
    ],
)
def test_adopt(given: t.Any, adopted: list[str]) -> None:
    data = run_action(Recorder, {"models": models("/k"), "adopt": given})["teams"]["team-a"]["data"]
    assert data["adopt"] == adopted


@pytest.mark.parametrize("given", [True, 5, {"SecurityPolicy": "x"}])
def test_adopt_that_is_no_list(given: t.Any) -> None:
    with pytest.raises(AnsibleActionFail, match="adopt"):
        run_action(Recorder, {"models": models("/k"), "adopt": given})


def test_one_failing_team_leaves_the_others() -> None:
    teams = run_action(Clumsy, {"models": models("/k", "team-a", "team-b", "team-c")})["teams"]
    assert [host for host, outcome in teams.items() if outcome["failed"]] == ["team-b"]
    assert teams["team-a"]["changed"] and teams["team-c"]["changed"]


def test_a_failed_team_tells_what_it_had_done() -> None:
    outcome = run_action(Clumsy, {"models": models("/k", "team-b")})["teams"]["team-b"]
    assert outcome["changed"] is True
    assert [change["object"] for change in outcome["changes"]] == ["Namespace n"]
    assert "team-b" in outcome["msg"] and "The vault is shut." in outcome["msg"] and outcome["msg"].endswith("Open it.")


def test_what_fails_for_all_is_everybody_s_outcome() -> None:
    teams = run_action(Unprepared, {"models": models("/k", "team-a", "team-b")})["teams"]
    assert all(outcome["failed"] and "The platform is down." in outcome["msg"] and not outcome["changed"] for outcome in teams.values())


def test_teams_run_at_the_same_time() -> None:
    names = [f"team-{number}" for number in range(_batch.WORKERS)]
    assert set(run_action(Together, {"models": models("/k", *names)})["teams"]) == set(names)


def test_more_teams_than_workers() -> None:
    names = [f"team-{number}" for number in range(3 * _batch.WORKERS)]
    assert list(run_action(Recorder, {"models": models("/k", *names)})["teams"]) == names


def test_a_bug_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        run_action(Bug, {"models": models("/k")})


def test_a_journal_has_the_run_s_mode(api: Api, kubeconfig: str) -> None:
    action = make_action(Recorder, {"models": models(kubeconfig), "adopt": "all"}, check=True)
    action.run(task_vars={"ansible_play_batch": ["team-a"]})
    team = Team.from_dict(models(kubeconfig)["team-a"])
    journal = action.journal(team)
    assert journal.check is True and journal.adopt == ["all"]
    assert journal.kube is connect(team.cluster)
    journal.note("install", "Helm release n/r", ["because"], {"kind": "Release"})
    outcome = action.outcome(journal)
    assert outcome.changed and outcome.changes == journal.listing() and outcome.diff == journal.diff() and not outcome.failed


def test_an_outcome_is_plain_data() -> None:
    outcome = Outcome(changed=True, msg="m", data={"a": [1]})
    assert Outcome(**outcome.to_dict()) == outcome
