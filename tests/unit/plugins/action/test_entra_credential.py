# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credentials of a batch: added, stored and revoked by the action alone; only key ids come out."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleError

from ansible_collections.platform.gateway_auth.plugins.action.entra_application import ActionModule as Application
from ansible_collections.platform.gateway_auth.plugins.action.entra_application_info import ActionModule as Known
from ansible_collections.platform.gateway_auth.plugins.action.entra_credential import ActionModule
from ansible_collections.platform.gateway_auth.plugins.action.entra_credential_info import ActionModule as Info
from ansible_collections.platform.gateway_auth.plugins.action.team_secrets import ActionModule as Secrets
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import decode, encode
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_credential import Copy
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import AzureError
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _azure
from tests.sandbox.entra.graphkit import permit
from tests.sandbox.entra.testkit import Double, control
from tests.unit.support.actions import Model, run_action, texts
from tests.unit.support.api import Api
from tests.unit.support.credentials import ISSUER
from tests.unit.support.entra import calls, faults, forget, writes

Object = dict[str, t.Any]
TEAM_A = "aaaaaaaa-0000-4000-8000-00000000000a"  # the cast's, made by hand


def run(models: dict[str, Object], *, check: bool = False, **options: t.Any) -> Object:
    return t.cast("Object", run_action(ActionModule, {"models": models, **options}, check=check, diff=True)["teams"])


def values(api: Api) -> list[str]:
    stored = [obj for obj in api.objects.values() if obj["kind"] == "Secret"]
    return [decode(obj, key) or "" for obj in stored for key in obj["data"] if key != "client-id"]


def test_sequence(double: Double, api: Api, onboarded: dict[str, Object]) -> None:
    api.read_only = True
    forget(double)
    foretold = run(onboarded, check=True)
    assert not writes(double)
    api.read_only = False
    added = run(onboarded)
    for name in onboarded:
        first, then = foretold[name], added[name]
        assert [(change["action"], change["object"]) for change in first["changes"]] == [(change["action"], change["object"]) for change in then["changes"]]
        assert then["changed"] and then["data"]["retire"] is False and then["data"]["findings"] == []
        [secret] = control(double, "GET", f"/apps/gateway-auth.sandbox.monitoring.{name}")[1]["secrets"]
        assert then["data"]["key_id"] == secret["key_id"]
    forget(double)
    api.forget()
    assert not any(outcome["changed"] for outcome in run(onboarded).values())
    assert not writes(double) and not api.writes and len(calls(double)) == 2, "one call for each team"

    rotated = run(onboarded, rotate=True)
    assert all(outcome["data"]["retire"] and outcome["data"]["key_id"] != added[name]["data"]["key_id"] for name, outcome in rotated.items())
    foretold = run(onboarded, stage="retire", check=True)
    retired = run(onboarded, stage="retire")
    for name, outcome in retired.items():
        assert outcome["changes"] == foretold[name]["changes"] and added[name]["data"]["key_id"] in outcome["changes"][0]["reasons"][0]
        assert outcome["data"]["key_id"] == rotated[name]["data"]["key_id"]
    assert not any(outcome["changed"] for outcome in run(onboarded, stage="retire").values())
    assert not any(outcome["changed"] for outcome in run(onboarded, when_old=True).values()), "young"


def test_no_value_in_any_result(double: Double, api: Api, onboarded: dict[str, Object]) -> None:
    shown: list[str] = []
    secret: set[str] = {double.secret("automation")}
    for options in ({"check": True}, {}, {"rotate": True}, {"rotate": True, "check": True}, {"stage": "retire"}):
        shown += texts(run(onboarded, **options))
        secret.update(values(api))
        shown += texts(run_action(Info, {"models": onboarded}))
    api.lose_connection_after(1)
    shown += texts(run({"team-a": onboarded["team-a"]}, rotate=True))
    secret.update(values(api))
    api.mend()
    with faults(double, {"match": {"path_contains": "addPassword"}, "action": {"drop": "after"}}):
        shown += texts(run(onboarded, rotate=True))
    assert len(secret) >= 9 and all(len(value) > 20 for value in secret)
    for value in secret:
        assert not [text for text in shown if value in text]


def test_one_team_fails_alone(double: Double, api: Api, onboarded: dict[str, Object]) -> None:
    del api.objects[("secrets", "monitoring-team-a", "oauth2-proxy-team-a")]
    outcomes = run(onboarded)
    assert outcomes["team-a"]["failed"] and "Team 'team-a'" in outcomes["team-a"]["msg"] and not outcomes["team-a"]["changed"]
    assert not outcomes["team-b"]["failed"] and outcomes["team-b"]["changed"]


def test_what_was_done_before_it_failed_is_told(double: Double, api: Api, onboarded: dict[str, Object]) -> None:
    api.lose_connection_after(1)
    outcome = run({"team-a": onboarded["team-a"]})["team-a"]
    assert outcome["failed"] and outcome["changed"] and outcome["changes"][0]["action"] == "create"


def test_check_mode_of_a_first_onboarding(double: Double, model: Model, api: Api) -> None:
    api.read_only, api.issuer = True, ISSUER
    given = {"team-a": model(), "team-b": model("team-b", credential="federated")}
    outcomes = run(given, check=True)
    assert all(outcome["changed"] and not outcome["failed"] for outcome in outcomes.values()), outcomes
    assert not any(outcome["failed"] for outcome in run(given, check=True, stage="retire").values())


def test_without_a_registration_the_role_to_run_is_named(double: Double, model: Model, api: Api) -> None:
    for outcome in run({"team-a": model(), "team-b": model("team-b", credential="federated")}).values():
        assert outcome["failed"] and "client id" in outcome["msg"]


def test_existing_registrations(double: Double, model: Model, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    existing = {"registration": "existing", "client_id": TEAM_A, "client_secret": {"kind": "env", "name": "X", "key": ""}}
    api.issuer = ISSUER
    given = {"team-a": model(**existing), "team-b": model("team-b", **existing, credential="federated")}
    outcomes = run(given)
    assert not outcomes["team-a"]["failed"] and not outcomes["team-a"]["changed"]
    assert outcomes["team-b"]["failed"] and "federated credential" in outcomes["team-b"]["msg"], "it could be read and trusts nobody"

    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    forget(double)
    outcomes = run(given)
    assert outcomes["team-a"]["data"] == {}
    [finding] = outcomes["team-b"]["data"]["findings"]
    assert ISSUER in finding and "system:serviceaccount:monitoring-team-b" in finding
    assert run(given, stage="retire")["team-b"]["data"] == {}
    for outcome in run(given, rotate=True).values():
        assert outcome["failed"] and "gateway_auth_client_secret" in outcome["msg"]
    assert not calls(double)


def test_findings_of_a_federated_credential(double: Double, model: Model, api: Api) -> None:
    made = run_action(Application, {"models": {"team-a": model(credential="federated")}})["models"]
    run_action(Secrets, {"models": made})
    api.issuer = ISSUER
    api.forbidden.add("serviceaccounts/token")
    outcome = run(made)["team-a"]
    assert outcome["changed"] and outcome["data"]["retire"] and outcome["data"]["key_id"] == ""
    assert [finding for finding in outcome["data"]["findings"] if "serviceaccounts/token" in finding]


AKS = {"name": "aks-a", "resource_group": "rg", "subscription_id": "22222222-2222-4222-8222-222222222222"}


def test_azure_is_asked_once_for_the_issuer_of_each_cluster(double: Double, model: Model, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def issuer(team: Team, _environ: object) -> str:
        assert team.workload_identity.aks is not None
        asked.append(team.workload_identity.aks.name)
        if asked[-1] == "aks-b":
            raise AzureError("No issuer there.")
        return "https://azure.example/oidc/"

    monkeypatch.setattr(_azure, "aks_issuer", issuer)
    given = {name: model(name, credential="federated", workload_identity={"issuer": "", "aks": AKS}) for name in ("team-a", "team-b")}
    given["team-c"] = model("team-c", credential="federated", workload_identity={"issuer": "", "aks": {**AKS, "name": "aks-b"}})
    given["team-d"] = model("team-d", credential="federated", workload_identity={"issuer": "https://written.example/", "aks": None})
    made = run_action(Application, {"models": given})["models"]
    run_action(Secrets, {"models": made})
    outcomes = run(made)
    assert asked == ["aks-a", "aks-b"]
    assert outcomes["team-c"]["failed"] and "No issuer there." in outcomes["team-c"]["msg"]
    for name, url in (("team-a", "https://azure.example/oidc/"), ("team-b", "https://azure.example/oidc/"), ("team-d", "https://written.example/")):
        assert not outcomes[name]["failed"]
        [trusted] = control(double, "GET", f"/apps/gateway-auth.sandbox.monitoring.{name}")[1]["federated_credentials"]
        assert trusted["issuer"] == url
    asked.clear()
    run(made, stage="retire")
    assert asked == []


def test_a_registration_that_nobody_reads_needs_no_azure(model: Model, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name)
    given = model(registration="existing", client_id=TEAM_A, credential="federated", workload_identity={"issuer": "", "aks": AKS})
    [finding] = run({"team-a": given})["team-a"]["data"]["findings"]
    assert "AKS cluster aks-a" in finding


def test_a_key_vault_gets_the_secret_of_its_team(api: Api, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    vaults: dict[str, tuple[str, Copy]] = {}

    def look(self: _azure.KeyVault) -> Copy | None:
        return vaults[self.place][1] if self.place in vaults else None

    def put(self: _azure.KeyVault, value: str, key_id: str, _expires: str) -> None:
        vaults[self.place] = (value, Copy(self.team.unique_name, key_id))

    monkeypatch.setattr(_azure.KeyVault, "look", look)
    monkeypatch.setattr(_azure.KeyVault, "put", put)
    source = {"kind": "key_vault", "key": "", "url": "https://contoso.vault.azure.net"}
    given = {name: model(name, client_secret={**source, "name": name}) for name in ("team-a", "team-b")}
    made = run_action(Application, {"models": given})["models"]
    run_action(Secrets, {"models": made})
    shown = [run(made, check=True), run(made)]
    for name in given:
        value, copy = vaults[f"secret {name} of Key Vault https://contoso.vault.azure.net"]
        assert value == decode(api.the("Secret", f"oauth2-proxy-{name}"), "client-secret")
        assert copy.key_id == shown[1][name]["data"]["key_id"]
    assert not any(outcome["changed"] for outcome in run(made).values())
    vaults["secret team-a of Key Vault https://contoso.vault.azure.net"] = ("hush-theirs", Copy("", ""))
    shown.append(run(made))
    assert shown[2]["team-a"]["failed"] and not shown[2]["team-b"]["failed"]
    shown.append(run(made, adopt=["KeyVaultSecret/team-a"]))
    assert shown[3]["team-a"]["changed"]
    for value, _copy in vaults.values():
        assert value not in str(shown) and "hush-theirs" not in str(shown)


def test_a_permission_that_is_missing_is_named(double: Double, api: Api, onboarded: dict[str, Object]) -> None:
    permit(double, ("Application.Read.All",))
    outcome = run({"team-a": onboarded["team-a"]})["team-a"]
    assert outcome["failed"] and "Application.ReadWrite.OwnedBy" in outcome["msg"]


@pytest.mark.parametrize("options", [{"stage": "begin"}, {"rotate": "perhaps"}, {"unknown": 1}], ids=str)
def test_options(double: Double, onboarded: dict[str, Object], options: Object) -> None:
    with pytest.raises(AnsibleError):
        run(onboarded, **options)


# --- attacks ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"rotate": True}, {"when_old": True}, {"stage": "retire"}, {"rotate": True, "check": True}], ids=str)
def test_a_client_id_put_into_the_team_s_secret_gives_no_other_team_s_credential(
    double: Double, api: Api, onboarded: dict[str, Object], options: Object
) -> None:
    """Whoever may write Secrets in their namespace could have us add a secret to any registration of ours, and hand it to them."""
    run(onboarded)
    victim = onboarded["team-b"]["client_id"]
    api.edit("Secret", "oauth2-proxy-team-a", lambda obj: obj["data"].update({"client-id": encode(victim)}))
    unresolved = {"team-a": {**onboarded["team-a"], "client_id": ""}}
    known = run_action(Known, {"models": unresolved, "source": "cluster"})["models"]
    assert known["team-a"]["client_id"] == victim
    before, stored = control(double, "GET", f"/apps/{victim}")[1]["secrets"], values(api)
    outcome = run(known, **options)["team-a"]
    assert outcome["failed"] and victim in outcome["msg"] and "client-id" in outcome["msg"]
    assert control(double, "GET", f"/apps/{victim}")[1]["secrets"] == before and values(api) == stored
