# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets of a batch: each team its own, none in any result."""

from __future__ import annotations

import json
import threading

import pytest
from ansible.errors import AnsibleError

from ansible_collections.platform.gateway_auth.plugins.action.team_secrets import ActionModule
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import decode
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import AzureError
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _azure
from tests.unit.support.actions import models, run_action, team_model
from tests.unit.support.api import Api

BY_VALUE = {"client_secret": {"kind": "value", "name": "", "key": ""}}


@pytest.fixture(autouse=True)
def _client_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_A_CLIENT_SECRET", "hush-from-env")


def test_sequence(api: Api, kubeconfig: str) -> None:
    given = {"models": models(kubeconfig, "team-a", "team-b")}
    api.read_only = True
    predicted = run_action(ActionModule, given, check=True)["teams"]
    assert len(predicted["team-a"]["changes"]) == 2
    assert len(predicted["team-b"]["changes"]) == 3, "its namespace isn't there"
    api.read_only = False
    written = run_action(ActionModule, given)["teams"]
    for host, outcome in written.items():
        done, foretold = ([(change["action"], change["object"]) for change in plan["changes"]] for plan in (outcome, predicted[host]))
        assert done == foretold
    assert all(outcome["changed"] and not outcome["failed"] for outcome in written.values())
    assert api.names("Secret") == {f"oauth2-proxy-{kind}{team}" for team in ("team-a", "team-b") for kind in ("", "redis-")}
    api.forget()
    assert not any(outcome["changed"] for outcome in run_action(ActionModule, given)["teams"].values())
    assert not any(request.writes for request in api.journal)


def test_teams_share_nothing(api: Api, kubeconfig: str) -> None:
    run_action(ActionModule, {"models": models(kubeconfig, "team-a", "team-b")})
    for kind, key in (("", "cookie-secret"), ("redis-", "redis-password")):
        values = {decode(api.the("Secret", f"oauth2-proxy-{kind}{team}"), key) for team in ("team-a", "team-b")}
        assert len(values) == 2 and None not in values


def test_no_value_leaves_the_action(api: Api, kubeconfig: str) -> None:
    result = run_action(ActionModule, {"models": models(kubeconfig)}, diff=True)
    shown = json.dumps(result)
    stored = [(obj["data"], key) for obj in api.objects.values() if obj["kind"] == "Secret" for key in obj["data"] if key != "client-id"]
    assert len(stored) == 3
    for data, key in stored:
        assert data[key] not in shown and str(decode({"data": data}, key)) not in shown


def test_the_vaulted_value_is_the_team_s_own(api: Api, kubeconfig: str) -> None:
    given = models(kubeconfig, "team-a", "team-b", **BY_VALUE)
    hostvars = {name: {"gateway_auth_client_secret": {"value": f"hush-{name}"}} for name in given}
    result = run_action(ActionModule, {"models": given}, variables={"hostvars": hostvars})
    for name in given:
        assert decode(api.the("Secret", f"oauth2-proxy-{name}"), "client-secret") == f"hush-{name}"
    assert "hush" not in json.dumps(result)


def test_a_team_without_its_value_fails_alone(api: Api, kubeconfig: str) -> None:
    given = {"team-a": team_model(kubeconfig, "team-a", **BY_VALUE), "team-b": team_model(kubeconfig, "team-b")}
    teams = run_action(ActionModule, {"models": given}, variables={"hostvars": {"team-a": {}}})["teams"]
    assert teams["team-a"]["failed"] and "gateway_auth_client_secret.value" in teams["team-a"]["msg"]
    assert not teams["team-b"]["failed"] and teams["team-b"]["changed"]


def test_key_vaults_are_read_before_any_thread_starts(api: Api, kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vaults = {"team-a": "hush-1", "team-b": "hush-2"}
    asked: list[str] = []

    def read(team: Team, _environ: object) -> str:
        assert threading.current_thread() is threading.main_thread()
        asked.append(team.name)
        if team.name not in vaults:
            raise AzureError("The vault says no.")
        return vaults[team.name]

    monkeypatch.setattr(_azure, "read_secret", read)
    source = {"client_secret": {"kind": "key_vault", "name": "n", "key": "", "url": "https://contoso.vault.azure.net"}}
    given = {"models": models(kubeconfig, "team-a", "team-b", **source)}
    shown = [run_action(ActionModule, given, diff=True)]
    assert asked == ["team-a", "team-b"] and not any(outcome["failed"] for outcome in shown[0]["teams"].values())
    for name, value in vaults.items():
        assert decode(api.the("Secret", f"oauth2-proxy-{name}"), "client-secret") == value
    shown.append(run_action(ActionModule, given))
    assert not any(outcome["changed"] for outcome in shown[1]["teams"].values()), "the same value"

    vaults["team-a"] = "hush-3"
    del vaults["team-b"]
    shown.append(run_action(ActionModule, given, diff=True))
    assert shown[2]["teams"]["team-a"]["changed"] and decode(api.the("Secret", "oauth2-proxy-team-a"), "client-secret") == "hush-3"
    assert shown[2]["teams"]["team-b"]["failed"] and "The vault says no." in shown[2]["teams"]["team-b"]["msg"]
    assert decode(api.the("Secret", "oauth2-proxy-team-b"), "client-secret") == "hush-2", "it was left alone"
    assert "hush" not in json.dumps(shown)

    asked.clear()
    run_action(ActionModule, {**given, "rotate": "cookie_secret"})
    run_action(ActionModule, {"models": models(kubeconfig, **source, registration="managed")})
    assert asked == [], "of no use to a rotation, nor where we make the secret"


def test_a_failure_after_the_namespace_was_made_is_no_no_op(api: Api, kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEAM_A_CLIENT_SECRET")
    outcome = run_action(ActionModule, {"models": models(kubeconfig, "team-b")})["teams"]["team-b"]
    assert outcome["failed"] and outcome["changed"]
    assert [change["object"] for change in outcome["changes"]] == ["Namespace monitoring-team-b"]


def test_the_wrong_cluster_is_everybody_s_outcome(api: Api, kubeconfig: str) -> None:
    wrong = models(kubeconfig, "team-a", "team-b")
    wrong["team-b"]["cluster"]["uid"] = "99999999-1111-4111-8111-000000000000"
    teams = run_action(ActionModule, {"models": wrong})["teams"]
    assert all(outcome["failed"] and "99999999" in outcome["msg"] for outcome in teams.values())
    assert not api.writes


@pytest.mark.parametrize(
    ("rotate", "name", "key"), [("cookie_secret", "oauth2-proxy-team-a", "cookie-secret"), ("redis_password", "oauth2-proxy-redis-team-a", "redis-password")]
)
def test_rotation(api: Api, kubeconfig: str, rotate: str, name: str, key: str) -> None:
    given = {"models": models(kubeconfig)}
    run_action(ActionModule, given)
    before = decode(api.the("Secret", name), key)
    api.read_only = True
    foretold = run_action(ActionModule, {**given, "rotate": rotate}, check=True, diff=True)["teams"]["team-a"]
    api.read_only = False
    assert decode(api.the("Secret", name), key) == before
    rotated = run_action(ActionModule, {**given, "rotate": rotate}, diff=True)
    after = decode(api.the("Secret", name), key)
    assert rotated["teams"]["team-a"]["changes"] == foretold["changes"] and before != after
    assert before and after and before not in json.dumps(rotated) and after not in json.dumps(rotated)
    assert not run_action(ActionModule, given)["teams"]["team-a"]["changed"]


def test_a_rotation_that_there_is_not(api: Api, kubeconfig: str) -> None:
    with pytest.raises(AnsibleError):
        run_action(ActionModule, {"models": models(kubeconfig), "rotate": "client_secret"})
    outcome = run_action(ActionModule, {"models": models(kubeconfig), "rotate": "cookie_secret"})["teams"]["team-a"]
    assert outcome["failed"] and "Onboard" in outcome["msg"] and not api.writes
