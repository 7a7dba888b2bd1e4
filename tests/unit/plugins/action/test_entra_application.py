# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""App registrations of a batch: each team its own outcome, and models with what only Entra knows."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.errors import AnsibleError

from ansible_collections.platform.gateway_auth.plugins.action.entra_application import STATES, ActionModule
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.sandbox.entra.graphkit import permit
from tests.sandbox.entra.testkit import Double, control
from tests.unit.support.actions import Model, run_action, texts
from tests.unit.support.api import Api
from tests.unit.support.entra import calls, faults, forget, state, writes

Object = dict[str, t.Any]
LEAST = ("Application.ReadWrite.OwnedBy", "GroupMember.Read.All", "User.ReadBasic.All")
TEAM_A = "aaaaaaaa-0000-4000-8000-00000000000a"  # the cast's, made by hand
TEAM_B_GROUP = "5f0c0c7e-0000-4000-8000-0000000000b1"
ONCALL = "5f0c0c7e-0000-4000-8000-0000000000a2"
DENIED = {"status": 403, "body": {"error": {"code": "Authorization_RequestDenied", "message": "no"}}}


def run(models: dict[str, Object], *, check: bool = False, **options: t.Any) -> Object:
    return run_action(ActionModule, {"models": models, **options}, check=check, diff=True)


def objects(outcome: Object) -> list[tuple[str, str, list[str]]]:
    return [(change["action"], change["object"], change["reasons"]) for change in outcome["changes"]]


def test_sequence(double: Double, model: Model, api: Api) -> None:
    permit(double, (*LEAST, "Application.Read.All"))
    given = {name: model(name) for name in ("team-a", "team-b")}
    before = state(double)
    foretold = run(given, check=True)
    assert state(double) == before and not writes(double)
    forget(double)
    created = run(given)
    assert len(calls(double)) <= 2 * 10
    for name in given:
        first, then = foretold["teams"][name], created["teams"][name]
        assert objects(first) == objects(then) and first["diff"] == then["diff"] and first["changed"] and then["changed"]
        assert first["data"]["client_id"] == "" and "model" not in then["data"]
        made = control(double, "GET", f"/apps/gateway-auth.sandbox.monitoring.{name}")[1]
        assert then["data"]["client_id"] == made["client_id"]
        assert created["models"][name] == {**given[name], "client_id": made["client_id"]} == Team.from_dict(created["models"][name]).to_dict()
        assert foretold["models"][name] == given[name]
    assert not created["changed"], "each team's own task says that"

    forget(double)
    again = run(given)
    assert not any(outcome["changed"] for outcome in again["teams"].values()) and not writes(double)
    assert len(calls(double)) <= 2 * 2 + 1, "groups of the whole batch by one call"
    assert run(created["models"])["models"] == created["models"] == again["models"]

    off = run(given, state="disabled")
    assert all(outcome["changed"] for outcome in off["teams"].values()) and not any(
        outcome["changed"] for outcome in run(given, state="disabled")["teams"].values()
    )
    assert not any(outcome["changed"] for outcome in run(given)["teams"].values())
    assert run(given, state="enabled")["teams"]["team-b"]["changed"]

    alone = {"team-b": created["models"]["team-b"]}
    assert objects(run(alone, state="absent", check=True)["teams"]["team-b"])[0][0] == "delete"
    for changed in (True, False):
        assert run(alone, state="absent")["teams"]["team-b"]["changed"] is changed
    assert not run(alone, state="disabled")["teams"]["team-b"]["failed"]
    refused = run(given)["teams"]
    assert refused["team-b"]["failed"] and "restored" in refused["team-b"]["msg"] and not refused["team-a"]["failed"]
    for changed in (True, False):
        assert run(alone, state="restored")["teams"]["team-b"]["changed"] is changed
    assert not run(given)["teams"]["team-b"]["changed"]
    run(alone, state="absent")
    name = Team.from_dict(alone["team-b"]).unique_name
    for wrong in ("", "all", Team.from_dict(given["team-a"]).unique_name):
        unconfirmed = run(alone, state="purged", confirm=wrong)["teams"]["team-b"]
        assert unconfirmed["failed"] and name in unconfirmed["msg"] and not unconfirmed["changed"]
    for changed in (True, False):
        assert run(alone, state="purged", confirm=name)["teams"]["team-b"]["changed"] is changed


def test_one_team_fails_alone(double: Double, model: Model, api: Api) -> None:
    nowhere = [{"id": "5f0c0c7e-0000-4000-8000-0000000000ff", "name": "nobody"}]
    given = {"team-a": model(allowed_groups=nowhere), "team-b": model("team-b"), "team-c": model("team-c", owners=["nobody@gateway-auth.test"])}
    result = run(given)
    assert [outcome["failed"] for outcome in result["teams"].values()] == [True, False, True]
    assert "nobody" in result["teams"]["team-a"]["msg"] and "Team 'team-a'" in result["teams"]["team-a"]["msg"]
    assert result["models"]["team-a"] == given["team-a"] and result["models"]["team-b"]["client_id"]
    assert result["teams"]["team-b"]["changed"] and not result["teams"]["team-a"]["changed"]


def test_what_was_done_before_it_failed_is_told(double: Double, model: Model, api: Api) -> None:
    with faults(double, {"match": {"write": True, "path_prefix": "/v1.0/servicePrincipals"}, "action": DENIED}):
        outcome = run({"team-a": model()})["teams"]["team-a"]
    assert outcome["failed"] and outcome["changed"] and [change["action"] for change in outcome["changes"]] == ["create"]


def test_nobody_gets_a_token(double: Double, model: Model, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "hush-wrong")
    given = {name: model(name) for name in ("team-a", "team-b")}
    result = run(given)
    assert all(outcome["failed"] and "7000215" in outcome["msg"] for outcome in result["teams"].values())
    assert result["models"] == given and "hush" not in "".join(texts(result))


def test_adoption(double: Double, model: Model, api: Api) -> None:
    control(double, "PUT", "/apps/team-a", {"owners": ["automation"]})
    given = {"team-a": model(client_id=TEAM_A)}
    permit(double, (*LEAST, "Application.ReadWrite.All"))
    refused = run(given)["teams"]["team-a"]
    assert refused["failed"] and f"Application/{TEAM_A}" in refused["msg"]
    foretold = run(given, adopt=[f"Application/{TEAM_A}"], check=True)["teams"]["team-a"]
    adopted = run(given, adopt=f"[Application/{TEAM_A}]")["teams"]["team-a"]
    assert objects(adopted) == objects(foretold) and adopted["changes"][0]["action"] == "adopt"
    assert not run(given)["teams"]["team-a"]["changed"]


def test_managed_and_existing_in_one_batch(double: Double, model: Model, api: Api) -> None:
    existing = model(registration="existing", client_id=TEAM_A, domain="gateway-auth.test")
    for app in existing["apps"]:
        app["hostname"] = app["hostname"].replace("apps.example.com", "gateway-auth.test")
    result = run({"team-a": existing, "team-b": model("team-b")})
    assert not result["teams"]["team-a"]["failed"] and not result["teams"]["team-a"]["changed"], result["teams"]["team-a"]["msg"]
    assert result["models"]["team-a"] == existing and result["teams"]["team-b"]["changed"]
    for name in STATES[1:]:
        assert not run({"team-a": existing}, state=name)["teams"]["team-a"]["changed"]
    forget(double)
    lacking = {"team-a": model(registration="existing", client_id=TEAM_A)}
    outcome = run(lacking)["teams"]["team-a"]
    assert outcome["failed"] and "https://prometheus-team-a.apps.example.com/oauth2/callback" in outcome["msg"] and not writes(double)


def test_existing_without_an_identity_is_taken_at_its_word(double: Double, model: Model, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    given = {"team-a": model(registration="existing", client_id=TEAM_A)}
    result = run(given)
    assert result["teams"]["team-a"] == {"changed": False, "failed": False, "msg": "", "changes": [], "diff": [], "data": {}}
    assert result["models"] == given and not calls(double)


@pytest.mark.parametrize("action", [{"delay": 0.2}, {"lag": {"reads": 3}}], ids=["slow writes", "replicas that lag behind"])
@pytest.mark.parametrize("name", ["present", "absent"])
def test_teams_of_a_batch_that_share_one_do_not_overwrite_each_other(double: Double, model: Model, api: Api, name: str, action: Object) -> None:
    """Redirect URIs are written as a whole list, so whoever read it before the other wrote it would undo that."""
    control(double, "PUT", "/apps/team-a", {"owners": ["automation"]})
    permit(double, (*LEAST, "Application.ReadWrite.All"))
    given = {team: model(team, client_id=TEAM_A, shared_registration=True) for team in ("team-a", "team-b", "team-c")}
    before = control(double, "GET", "/apps/team-a")[1]["redirect_uris"]
    slow = {"match": {"method": "PATCH"}, "action": action}
    with faults(double, slow):
        run(given, adopt="all")
    if name == "absent":
        with faults(double, slow):
            assert not [outcome["msg"] for outcome in run(given, state="absent")["teams"].values() if outcome["failed"]]
        assert control(double, "GET", "/apps/team-a")[1]["redirect_uris"] == before
        return
    after = control(double, "GET", "/apps/team-a")[1]["redirect_uris"]
    assert {uri for each in given.values() for uri in Team.from_dict(each).redirect_uris} | set(before) == set(after)
    assert not any(outcome["changed"] for outcome in run(given)["teams"].values())


def test_groups_by_name_are_found_once_and_remembered(double: Double, model: Model, api: Api) -> None:
    given = {"team-a": model(allowed_groups=[{"id": "", "name": "team-a-oncall"}])}
    result = run(given)
    team = Team.from_dict(result["models"]["team-a"])
    assert team.group_ids == {"team-a-oncall": ONCALL} and team.proxy_groups == (ONCALL,)
    found = TEAM_B_GROUP
    api.seed({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": team.proxy_secret, "namespace": team.namespace, "annotations": {"gateway-auth/groups": json.dumps({"team-a-oncall": found})}},
    })  # fmt: skip
    forget(double)
    again = Team.from_dict(run(given)["models"]["team-a"])
    assert again.proxy_groups == (found,), "a name can change its meaning"
    assert not [call for call in calls(double) if call.endswith("/groups")]


@pytest.mark.parametrize("kept", [ONCALL[:-2] + "ff", "nonsense", f"{ONCALL}' or '1' eq '1", ""])
def test_a_remembered_group_that_is_not_there_any_more(double: Double, model: Model, api: Api, kept: str) -> None:
    given = {"team-a": model(allowed_groups=[{"id": "", "name": "team-a-oncall"}])}
    team = Team.from_dict(given["team-a"])
    annotations = {"gateway-auth/groups": json.dumps({"team-a-oncall": kept})}
    api.seed({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": team.proxy_secret, "namespace": team.namespace, "annotations": annotations}})
    outcome = run(given)["teams"]["team-a"]
    assert outcome["failed"] and "gateway-auth/groups" in outcome["msg"] and not writes(double)


def test_a_name_that_no_group_has(double: Double, model: Model, api: Api) -> None:
    outcome = run({"team-a": model(allowed_groups=[{"id": "", "name": "nobodies"}])})["teams"]["team-a"]
    assert outcome["failed"] and "nobodies" in outcome["msg"] and not writes(double)


def test_groups_that_may_not_be_read_are_a_finding(double: Double, model: Model, api: Api) -> None:
    with faults(double, {"match": {"path_contains": "getByIds"}, "action": DENIED}):
        outcome = run({"team-a": model()})["teams"]["team-a"]
    assert not outcome["failed"] and [finding for finding in outcome["data"]["findings"] if "GroupMember.Read.All" in finding]


def test_findings_of_a_registration(double: Double, model: Model, api: Api) -> None:
    outcome = run({"team-a": model(groups_claim="application")})["teams"]["team-a"]
    assert [finding for finding in outcome["data"]["findings"] if "administrator" in finding]


@pytest.mark.parametrize("options", [{"state": "gone"}, {"models": None}, {"unknown": 1}], ids=str)
def test_options(double: Double, model: Model, api: Api, options: Object) -> None:
    with pytest.raises(AnsibleError):
        run_action(ActionModule, {"models": {"team-a": model()}, **options})
    assert not calls(double)


def test_no_secret_in_any_result(double: Double, model: Model, api: Api) -> None:
    given = {"team-a": model(), "team-b": model("team-b", allowed_groups=[{"id": ONCALL[:-2] + "ff", "name": "x"}])}
    shown = [text for _run in range(2) for text in texts(run(given))]
    secret = double.secret("automation")
    assert len(secret) > 20 and not [text for text in shown if secret in text or "eyJ" in text]
