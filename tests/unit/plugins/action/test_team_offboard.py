# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must be said before a team goes, what goes, and what proves it."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleActionFail, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.utils.display import Display

from ansible_collections.platform.gateway_auth.plugins.action import entra_application, team_offboard
from ansible_collections.platform.gateway_auth.plugins.module_utils import _offboard
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.sandbox.entra.graphkit import permit
from tests.sandbox.entra.testkit import Double
from tests.unit.support.actions import Model, models, run_action, team_model
from tests.unit.support.api import Api
from tests.unit.support.entra import writes
from tests.unit.support.releases import release_record

Object = dict[str, t.Any]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_offboard, "LEFT_TIMEOUT_S", 0.05)
    monkeypatch.setattr(_offboard, "POLL_S", 0.01)


def _run(given: Object, stage: str, *, check: bool = False, **options: t.Any) -> Object:
    return t.cast("Object", run_action(team_offboard.ActionModule, {"models": given, "stage": stage, **options}, check=check)["teams"])


# --- confirm ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[list[t.Any]]:
    """What is typed, or raised, at the terminal; what was asked is appended."""
    given: list[t.Any] = []

    def prompt(_self: Display, text: str, **_options: t.Any) -> bytes:
        answer = given.pop(0)
        given.append(text)
        if isinstance(answer, BaseException):
            raise answer
        return t.cast("bytes", answer)

    monkeypatch.setattr(Display, "prompt_until", prompt)
    yield given


@pytest.mark.parametrize("confirm", ["team-a,team-b", "team-b, team-a", ["team-a", "team-b"], "team-a team-b"], ids=str)
def test_every_team_is_named(kubeconfig: str, confirm: t.Any) -> None:
    outcomes = _run(models(kubeconfig, "team-a", "team-b"), "confirm", confirm=confirm)
    assert not any(outcome["failed"] or outcome["changed"] for outcome in outcomes.values())


@pytest.mark.parametrize("confirm", ["a", "team-a", "team-a,team-b,team-c", "yes", ["team-a"], {"team-a": 1}, True], ids=str)
def test_anything_else_ends_it(kubeconfig: str, confirm: t.Any) -> None:
    with pytest.raises(AnsibleActionFail, match=r"-e confirm=team-a,team-b.*Nothing was changed"):
        _run(models(kubeconfig, "team-a", "team-b"), "confirm", confirm=confirm)


def test_a_team_that_is_no_more_in_question_may_be_named(kubeconfig: str) -> None:
    """It is protected, or it failed before: what was typed for both still holds for the other."""
    given = {"team-a": team_model(kubeconfig, deletion_protection=True), "team-b": team_model(kubeconfig, "team-b")}
    assert not _run(given, "confirm", confirm="team-a,team-b")["team-b"]["failed"]
    with pytest.raises(AnsibleActionFail, match=r"Expected -e confirm=team-b,.*found team-b, team-c"):
        _run(given, "confirm", confirm="team-b,team-c")


def test_what_was_typed_until_the_time_was_up_is_no_answer(kubeconfig: str, answers: list[t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible gives it as if it had been sent."""
    monkeypatch.setattr(team_offboard, "ANSWER_TIMEOUT_S", 0)
    answers.append(b"team-a")
    with pytest.raises(AnsibleActionFail, match=r"No answer within 0 s\. Nothing was changed"):
        _run(models(kubeconfig), "confirm")


def test_it_is_asked_for_at_the_terminal(kubeconfig: str, answers: list[t.Any]) -> None:
    answers.append(b"team-a\n")
    assert not _run(models(kubeconfig), "confirm")["team-a"]["failed"]
    assert "prometheus-team-a.apps.example.com" in answers[0] and "Type team-a" in answers[0]
    answers[:] = [b"no"]
    with pytest.raises(AnsibleActionFail, match=r"found no\. Nothing was changed"):
        _run(models(kubeconfig), "confirm")


@pytest.mark.parametrize(("error", "words"), [(AnsiblePromptNoninteractive("no"), "found nothing"), (AnsiblePromptInterrupt("^C"), "Interrupted")])
def test_without_an_answer_nothing_happens(kubeconfig: str, answers: list[t.Any], error: Exception, words: str) -> None:
    answers.append(error)
    with pytest.raises(AnsibleActionFail, match=words):
        _run(models(kubeconfig), "confirm")


def test_check_mode_needs_no_word(kubeconfig: str, answers: list[t.Any]) -> None:
    assert not _run(models(kubeconfig), "confirm", check=True)["team-a"]["failed"]
    assert answers == []


@pytest.mark.parametrize("check", [False, True], ids=["live", "check mode"])
def test_a_protected_team_fails_and_needn_t_be_named(kubeconfig: str, check: bool) -> None:
    given = {"team-a": team_model(kubeconfig, deletion_protection=True), "team-b": team_model(kubeconfig, "team-b")}
    outcomes = _run(given, "confirm", confirm="team-b", check=check)
    assert outcomes["team-a"]["failed"] and "gateway_auth_deletion_protection is true" in outcomes["team-a"]["msg"]
    assert not outcomes["team-b"]["failed"]


# --- what goes ----------------------------------------------------------------------------------------------------------------


def test_release_and_objects(api: Api, kubeconfig: str) -> None:
    given = models(kubeconfig)
    team = Team.from_dict(given["team-a"])
    mark = {"name": team.proxy_secret, "namespace": team.namespace, "labels": team.owner_labels()}
    api.seed(release_record(team), {"apiVersion": "v1", "kind": "Secret", "metadata": mark, "data": {}})
    api.read_only = True
    assert _run(given, "release", check=True)["team-a"]["data"] == {"uninstall": True, "findings": []}
    foretold = _run(given, "objects", check=True)["team-a"]
    api.read_only = False
    done = _run(given, "objects")["team-a"]
    assert done["changes"] == foretold["changes"] and [change["object"] for change in done["changes"]] == [f"Secret {team.namespace}/{team.proxy_secret}"]
    assert done["data"]["findings"] == [f"Namespace {team.namespace} stays: it was there before the team."]
    assert not _run(given, "objects")["team-a"]["changed"]


def test_what_was_done_before_an_error_is_told(api: Api, kubeconfig: str) -> None:
    given = models(kubeconfig)
    team = Team.from_dict(given["team-a"])
    for name in (team.proxy_secret, team.store_secret):
        api.seed({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": team.namespace, "labels": team.owner_labels()}, "data": {}})
    api.lose_connection_after(1)
    failed = _run(given, "objects")["team-a"]
    assert failed["failed"] and failed["changed"] and len(failed["changes"]) == 1


# --- the proof ----------------------------------------------------------------------------------------------------------------


def test_what_is_left_fails_the_team(api: Api, kubeconfig: str) -> None:
    given = models(kubeconfig)
    team = Team.from_dict(given["team-a"])
    api.seed({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "copy", "namespace": "gateway-envoy", "labels": team.labels}, "data": {}})
    failed = _run(given, "proof")["team-a"]
    assert failed["failed"] and "ConfigMap gateway-envoy/copy" in failed["msg"]


def test_what_isn_t_ours_is_said_to_stay(api: Api, kubeconfig: str) -> None:
    """An existing registration is the platform's."""
    outcome = _run(models(kubeconfig), "proof")["team-a"]
    assert not outcome["failed"] and "nothing carries the labels of team-a" in outcome["msg"]
    (finding,) = outcome["data"]["findings"]
    assert "https://prometheus-team-a.apps.example.com/oauth2/callback" in finding and "by hand" in finding


def test_a_registration_is_seen_to_be_gone(double: Double, model: Model, api: Api) -> None:
    permit(double, ("Application.ReadWrite.OwnedBy", "GroupMember.Read.All", "User.ReadBasic.All"))
    given = {"team-a": model("team-a")}
    run_action(entra_application.ActionModule, {"models": given})
    run_action(entra_application.ActionModule, {"models": given, "state": "absent"})
    before = len(writes(double))
    outcome = _run(given, "proof")["team-a"]
    assert not outcome["failed"] and "restore_team brings it back" in outcome["msg"]
    assert len(writes(double)) == before
