# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What we do around azure.azcollection, with stand-ins for it; `tests/soak/azure_clients.py` runs the real one."""

from __future__ import annotations

import json
import os
import pathlib
import sys
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_credential import Copy
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import AzureError, GatewayAuthError, GraphAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _azure
from tests.unit.support.entra import managed

Object = dict[str, t.Any]

VALUE = "hush~the/secret+itself"
SOURCE = {"kind": "key_vault", "name": "oauth2-team-a", "key": "", "url": "https://contoso.vault.azure.net"}
AKS = {"name": "aks-a", "resource_group": "rg-aks", "subscription_id": "22222222-2222-4222-8222-222222222222"}
TENANT = managed().tenant_id
SHELL = {"AZURE_CLIENT_ID": "an-id", "AZURE_CLIENT_SECRET": "hush-automation", "PATH": os.environ["PATH"]}


def vault_team(**overrides: t.Any) -> Team:
    return managed(client_secret=SOURCE, **overrides)


def aks_team(**overrides: t.Any) -> Team:
    return managed(credential="federated", workload_identity={"issuer": "", "aks": AKS}, **overrides)


@pytest.fixture
def collection(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """An azure.azcollection of ours, without modules."""
    folder = tmp_path / "ansible_collections/azure/azcollection"
    (folder / "plugins/modules").mkdir(parents=True)
    (folder / "MANIFEST.json").write_text(json.dumps({"collection_info": {"version": "3.21.0"}}), "utf-8")
    package = sys.modules["ansible_collections"]
    monkeypatch.setattr(package, "__path__", [str(tmp_path / "ansible_collections"), *package.__path__])
    for name in ("ansible_collections.azure", "ansible_collections.azure.azcollection"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


# --- is it there ---------------------------------------------------------------------------------------------------------------


def test_a_collection_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise GatewayAuthError(f"Collection {name} is not installed.")

    monkeypatch.setattr(_azure, "collection_version", absent)
    for attempt in (
        lambda: _azure.require(()),
        lambda: _azure.read_secret(vault_team(), SHELL),
        lambda: _azure.KeyVault(vault_team(), SHELL).look(),
        lambda: _azure.aks_issuer(aks_team(), SHELL),
    ):
        with pytest.raises(AzureError) as error:
            attempt()
        for word in ("azure.azcollection is not installed", "ansible-galaxy collection install azure.azcollection", "pip install -r"):
            assert word in str(error.value)


def test_python_requirements_that_are_not_installed(collection: pathlib.Path) -> None:
    with pytest.raises(AzureError) as error:
        _azure.require(("json", "no_such.package", "json.no_such"))
    assert "no_such.package, json.no_such" in error.value.message
    assert f"{sys.executable} -m pip install -r {collection}/requirements.txt" in error.value.remedy
    _azure.require(("json", "os.path"))


def test_a_collection_without_the_lookup(collection: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_azure, "require", lambda _packages: None)
    with pytest.raises(AzureError):
        _azure.read_secret(vault_team(), SHELL)


# --- who it is -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "source", "there", "gone"),
    [
        pytest.param({"AZURE_CLIENT_SECRET": "s"}, "env", {"AZURE_SECRET": "s"}, ["AZURE_FEDERATED_TOKEN_FILE"], id="client secret"),
        pytest.param({"AZURE_SECRET": "s", "AZURE_FEDERATED_TOKEN_FILE": "/f"}, "env", {"AZURE_SECRET": "s"}, ["AZURE_FEDERATED_TOKEN_FILE"], id="AWX's name"),
        pytest.param({"AZURE_FEDERATED_TOKEN_FILE": "/f"}, "env", {"AZURE_FEDERATED_TOKEN_FILE": "/f"}, ["AZURE_SECRET"], id="federated token"),
        pytest.param({"IDENTITY_ENDPOINT": "http://127.0.0.1:1", "IDENTITY_HEADER": "h"}, "msi", {}, ["AZURE_SECRET"], id="managed identity"),
        pytest.param({"ANSIBLE_AZURE_AUTH_SOURCE": "msi"}, "msi", {}, [], id="virtual machine"),
        pytest.param({}, "cli", {}, ["AZURE_SECRET"], id="login of az"),
    ],
)
def test_the_identity_is_that_of_graph(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], source: str, there: dict[str, str], gone: list[str]
) -> None:
    (tmp_path / "az").touch(0o755)
    (tmp_path / "token").write_text("a.b.c", "utf-8")
    monkeypatch.setenv("PATH", str(tmp_path))
    given, there = ({name: value.replace("/f", f"{tmp_path}/token") for name, value in each.items()} for each in (given, there))
    more = {
        "PATH": str(tmp_path),
        "AZURE_CLIENT_ID": "an-id",
        "AZURE_PROFILE": "other",
        "AZURE_AD_USER": "u",
        "AZURE_CERT_VALIDATION_MODE": "ignore",
        "AZURE_FEDERATED_TOKEN": "t",
    }
    found = _azure.environment(vault_team(), {**more, **given})
    assert found["ANSIBLE_AZURE_AUTH_SOURCE"] == source
    assert there.items() <= found.items() and not set(gone) & set(found)
    assert found["AZURE_TENANT"] == found["AZURE_TENANT_ID"] == TENANT and found["AZURE_SUBSCRIPTION_ID"]
    assert not {"AZURE_PROFILE", "AZURE_AD_USER", "AZURE_CERT_VALIDATION_MODE", "AZURE_FEDERATED_TOKEN"} & set(found)


@pytest.mark.parametrize(
    ("authority", "cloud", "url"),
    [
        ("https://login.microsoftonline.com", "AzureCloud", None),
        ("https://login.microsoftonline.us", "AzureUSGovernment", None),
        ("https://login.partner.microsoftonline.cn", "AzureChinaCloud", None),
        ("https://login.example.com", None, "https://login.example.com"),
    ],
)
def test_the_cloud_is_that_of_the_inventory(authority: str, cloud: str | None, url: str | None) -> None:
    found = _azure.environment(vault_team(authority=authority), SHELL)
    assert (found.get("AZURE_CLOUD_ENVIRONMENT"), found.get("AZURE_ADFS_AUTHORITY_URL")) == (cloud, url)


def test_the_way_out_is_that_of_the_inventory() -> None:
    team = vault_team(graph={"proxy": "http://ours:3", "ca_file": "/ours.pem"})
    found = _azure.environment(team, {**SHELL, "HTTPS_PROXY": "http://shell:1", "REQUESTS_CA_BUNDLE": "/shell.pem", "AZURE_SUBSCRIPTION_ID": "one"})
    assert (found["HTTPS_PROXY"], found["REQUESTS_CA_BUNDLE"], found["AZURE_SUBSCRIPTION_ID"]) == ("http://ours:3", "/ours.pem", "one")


def test_another_tenant_in_the_environment_is_refused() -> None:
    with pytest.raises(GraphAuthError, match="AZURE_TENANT_ID"):
        _azure.environment(vault_team(), {**SHELL, "AZURE_TENANT_ID": "99999999-1111-4111-8111-111111111111"})


# --- Key Vault: read -----------------------------------------------------------------------------------------------------------


def test_a_secret_is_read_in_the_environment_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_PROFILE", "other")
    before = dict(os.environ)
    seen: list[t.Any] = []

    def lookup(name: str, options: Object) -> list[str]:
        seen.extend((name, options, os.environ["AZURE_SECRET"], os.environ.get("AZURE_PROFILE")))
        return [VALUE]

    assert _azure.read_secret(vault_team(), {**os.environ, **SHELL}, lookup) == VALUE
    assert seen == ["oauth2-team-a", {"vault_url": SOURCE["url"], "use_msi": False, "auth_source": "env"}, "hush-automation", None]
    assert dict(os.environ) == before


class Refused(Exception):
    """As the SDK's exceptions are: a status, and a text of several lines."""

    status_code = 403


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("(Forbidden) No get permission.\nCode: Forbidden\nMessage: No get permission.", ["No get permission", "docs/entra.md"], id="forbidden"),
        pytest.param("(SecretNotFound) A secret was not found.", ["was not found", "key_vault"], id="not found"),
        pytest.param("(Forbidden) Operation get is not allowed on a disabled secret.", ["disabled", "Enable"], id="disabled"),
        pytest.param("", ["Refused"], id="silent"),
    ],
)
def test_what_the_vault_refused_is_told(text: str, words: list[str]) -> None:
    before = dict(os.environ)

    def lookup(_name: str, _options: Object) -> list[str]:
        try:
            raise Refused(text)
        except Refused:
            raise ValueError("Failed to fetch secret") from None  # as the lookup does

    with pytest.raises(AzureError) as error:
        _azure.read_secret(vault_team(), SHELL, lookup)
    for word in ["oauth2-team-a", "https://contoso.vault.azure.net", *words]:
        assert word in str(error.value)
    assert "Message:" not in str(error.value) and dict(os.environ) == before


def test_an_error_of_ours_is_left_as_it_is() -> None:
    def lookup(_name: str, _options: Object) -> list[str]:
        raise AzureError("as it is")

    with pytest.raises(AzureError, match=r"^as it is$"):
        _azure.read_secret(vault_team(), SHELL, lookup)


# --- Key Vault: written --------------------------------------------------------------------------------------------------------


class Ran:
    """Stands for a module: what it was given, and what it answers."""

    def __init__(self, answer: Object | AzureError) -> None:
        self.answer = answer
        self.given: list[tuple[str, Object]] = []

    def __call__(self, name: str, arguments: Object, environ: _azure.Environ) -> Object:
        assert environ["AZURE_SECRET"] == "hush-automation"
        self.given.append((name, arguments))
        if isinstance(self.answer, AzureError):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("secrets", "held"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([{"secret": VALUE, "tags": None}], Copy("", ""), id="without tags"),
        pytest.param([{"secret": VALUE, "tags": {"gateway-auth": "x", "gateway-auth-key-id": "k", "more": "m"}}], Copy("x", "k"), id="marked"),
    ],
)
def test_what_the_vault_holds_is_told_by_its_tags(secrets: list[Object], held: Copy | None) -> None:
    ran = Ran({"secrets": secrets})
    found = _azure.KeyVault(vault_team(), SHELL, ran).look()
    assert found == held and VALUE not in repr(found)
    assert ran.given == [("azure_rm_keyvaultsecret_info", {"vault_uri": SOURCE["url"], "name": SOURCE["name"]})]


def test_a_secret_is_stored_with_its_marks_at_once() -> None:
    ran = Ran({"changed": True, "state": {"secret_value": "hush-before"}})
    _azure.KeyVault(vault_team(), SHELL, ran).put(VALUE, "key-1", "2027-05-24T12:00:00Z")
    [(name, given)] = ran.given
    assert name == "azure_rm_keyvaultsecret" and given["secret_value"] == VALUE and given["secret_expiry"] == "2027-05-24T12:00:00Z"
    assert given["tags"] == {"gateway-auth": "gateway-auth.sandbox.monitoring.team-a", "gateway-auth-key-id": "key-1"}
    _azure.KeyVault(vault_team(), SHELL, ran).put(VALUE, "key-1", "")
    assert "secret_expiry" not in ran.given[1][1]


def test_the_same_value_without_our_marks_is_no_success() -> None:
    with pytest.raises(AzureError, match="without our tags") as error:
        _azure.KeyVault(vault_team(), SHELL, Ran({"changed": False, "state": {"secret_value": VALUE}})).put(VALUE, "key-1", "")
    assert VALUE not in str(error.value)


def test_what_a_module_refused_names_the_secret() -> None:
    with pytest.raises(AzureError, match=r"oauth2-team-a.*contoso.*no way") as error:
        _azure.KeyVault(vault_team(), SHELL, Ran(AzureError("no way", "Mend it."))).look()
    assert error.value.remedy == "Mend it."


# --- AKS -----------------------------------------------------------------------------------------------------------------------

ISSUER = "https://westeurope.oic.prod-aks.azure.com/t/u/"


@pytest.mark.parametrize(
    "cluster",
    [
        {"oidc_issuer_profile": {"enabled": True, "issuer_url": ISSUER}},
        {"properties": {"oidcIssuerProfile": {"enabled": True, "issuerURL": ISSUER}}},
    ],
    ids=["names of Python", "names of Azure"],
)
def test_the_issuer_of_a_cluster(cluster: Object) -> None:
    ran = Ran({"aks": [cluster]})
    assert _azure.aks_issuer(aks_team(), SHELL, ran) == ISSUER
    assert ran.given == [("azure_rm_aks_info", AKS)]


@pytest.mark.parametrize(
    ("clusters", "words"),
    [
        pytest.param([], ["There is no AKS cluster aks-a", "rg-aks", "gateway_auth_workload_identity.aks"], id="no cluster"),
        pytest.param([{}], ["isn't switched on", "az aks update", "--enable-oidc-issuer", "--name aks-a"], id="never switched on"),
        pytest.param([{"oidc_issuer_profile": {"enabled": False, "issuer_url": ISSUER}}], ["isn't switched on"], id="off"),
        pytest.param([{"oidc_issuer_profile": {"enabled": True}}], ["isn't switched on"], id="not yet"),
    ],
)
def test_a_cluster_without_an_issuer(clusters: list[Object], words: list[str]) -> None:
    with pytest.raises(AzureError) as error:
        _azure.aks_issuer(aks_team(), SHELL, Ran({"aks": clusters}))
    assert all(word in str(error.value) for word in words)


def test_a_cluster_that_may_not_be_read_is_named() -> None:
    with pytest.raises(AzureError, match=r"aks-a.*no way"):
        _azure.aks_issuer(aks_team(), SHELL, Ran(AzureError("no way")))


# --- a module as a process of its own ----------------------------------------------------------------------------------------


def module(collection: pathlib.Path, text: str) -> None:
    (collection / "plugins/modules/fake.py").write_text(f"import json, os, sys\ngiven = json.load(sys.stdin)['ANSIBLE_MODULE_ARGS']\n{text}\n", "utf-8")


def run(**arguments: t.Any) -> Object:
    return _azure.run_module("fake", {"secret_value": VALUE, **arguments}, {**SHELL, "ANSIBLE_AZURE_AUTH_SOURCE": "env", "AZURE_SECRET": "hush-automation"})


def test_arguments_go_by_a_pipe_alone(collection: pathlib.Path) -> None:
    module(collection, "print('noise'); print(json.dumps({'given': given, 'argv': sys.argv, 'env': dict(os.environ), 'pipe': os.readlink('/proc/self/fd/0')}))")
    found = run(subscription_id="mine")
    assert found["given"] == {"secret_value": VALUE, "subscription_id": "mine", "auth_source": "env", "_ansible_no_log": True}
    assert found["pipe"].startswith("pipe:")
    assert VALUE not in json.dumps([found["argv"], found["env"]])


def test_a_real_module_s_own_parsing_takes_them(collection: pathlib.Path) -> None:
    text = "from ansible.module_utils.basic import AnsibleModule\n"
    text += "spec = {'subscription_id': {}, 'auth_source': {}, 'secret_value': {'no_log': True}, 'tags': {'type': 'dict'}}\n"
    text += "module = AnsibleModule(spec)\nmodule.exit_json(changed=True, tags=module.params['tags'], size=len(module.params['secret_value']))\n"
    (collection / "plugins/modules/fake.py").write_text(text, "utf-8")
    found = run(tags={"a": "b"})
    assert (found["changed"], found["tags"], found["size"]) == (True, {"a": "b"}, len(VALUE))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("print(json.dumps({'failed': True, 'msg': 'no: ' + given['secret_value']}))", ["no: ********"], id="failed"),
        pytest.param("raise ValueError('(AuthorizationFailed) no\\nCode: x ' + given['secret_value'])", ["AuthorizationFailed", "role Reader"], id="traceback"),
        pytest.param("sys.exit(3)", ["exit code 3"], id="silent"),
        pytest.param("print('{not json ' + given['secret_value'])", ["fake"], id="no result"),
        pytest.param("print('[1]')", ["fake"], id="not an object"),
        pytest.param("print(json.dumps({'changed': True})); sys.exit(1)", ["exit code 1"], id="died after"),
        pytest.param("print(json.dumps({'failed': True, 'msg': 'Failed to import the required Python library (x)'}))", ["pip install -r"], id="no SDK"),
        pytest.param("raise RuntimeError(os.environ['AZURE_SECRET'])", ["RuntimeError"], id="the identity's secret"),
    ],
)
def test_what_a_module_said(collection: pathlib.Path, text: str, words: list[str]) -> None:
    module(collection, text)
    with pytest.raises(AzureError) as error:
        run()
    assert all(word in str(error.value) for word in words), str(error.value)
    told = f"{error.value} {error.value.__cause__} {error.value.__context__}"
    assert VALUE not in told and "hush-automation" not in told


def test_a_module_that_never_ends(collection: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(collection, "import time\nprint(given['secret_value'], flush=True)\ntime.sleep(60)")
    monkeypatch.setattr(_azure, "TIMEOUT_S", 1.0)
    with pytest.raises(AzureError, match="took longer") as error:
        run()
    assert error.value.__context__ is None
