# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold before the first write: all problems of a team in one message, and Helm only where it will run."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.action import preflight
from ansible_collections.platform.gateway_auth.plugins.action.preflight import ActionModule
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import AzureError
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import gateway_manifests
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _azure
from tests.unit.support import platform as parts
from tests.unit.support.actions import models, run_action
from tests.unit.support.api import Api
from tests.unit.support.releases import release_record

Object = dict[str, t.Any]
VOUCHED = {"redirect_uris_registered": True}


@pytest.fixture(autouse=True)
def helm(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[str], None]:
    """A program ``helm`` first on PATH; it writes down what it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def install(version: str) -> None:
        tool = folder / "helm"
        chart = "name: oauth2-proxy\\nversion: 10.7.0\\nappVersion: 7.15.3\\n"
        tool.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/asked\ncase $1 in version) echo {version};; show) printf "{chart}";; esac\n', encoding="utf-8")
        tool.chmod(0o755)

    install("v3.19.0")
    return install


def _asked(tmp_path: pathlib.Path) -> list[str]:
    log = tmp_path / "asked"
    return log.read_text(encoding="utf-8").split() if log.exists() else []


def _platform(api: Api, given: Object, *, releases: bool = False, without: t.Collection[str] = ()) -> None:
    """A platform in order for these teams."""
    teams = [Team.from_dict(model) for model in given.values()]
    api.namespaces(*(team.namespace for team in teams[1:]))
    api.seed(*(obj for obj in parts.platform(teams[0]) if obj["kind"] not in without))
    for team in teams[1:]:
        api.seed(*parts.services(team))
    if releases:
        api.seed(*(release_record(team) for team in teams))
        api.seed(*(obj for team in teams for obj in gateway_manifests(team)), manager="gateway-auth")
    api.read_only = True


def _run(given: Object, *, check: bool = False, **options: t.Any) -> Object:
    return t.cast("Object", run_action(ActionModule, {"models": given, **options}, check=check)["teams"])


@pytest.mark.parametrize("check", [True, False], ids=["check mode", "live"])
def test_all_is_well(api: Api, kubeconfig: str, tmp_path: pathlib.Path, check: bool) -> None:
    given = models(kubeconfig, "team-a", "team-b", **VOUCHED)
    _platform(api, given)
    for outcome in _run(given, check=check).values():
        assert not outcome["failed"] and not outcome["changed"] and outcome["data"]["findings"] == [] and outcome["msg"] == ""
        assert outcome["data"]["cluster"].startswith("http"), "what a plan is for"
    assert _asked(tmp_path) == ["version", "show"], "the tool and the chart once for all teams"


def test_without_a_change_no_process_starts_and_no_right_is_asked_for(api: Api, kubeconfig: str, tmp_path: pathlib.Path) -> None:
    given = models(kubeconfig, "team-a", "team-b", **VOUCHED)
    _platform(api, given, releases=True)
    api.denied = {("create", "secrets")}
    assert not any(outcome["failed"] for outcome in _run(given).values())
    assert _asked(tmp_path) == []
    assert not any(request.kind == "SelfSubjectAccessReview" for request in api.journal)


def test_rights_are_asked_for_where_only_a_policy_changes(api: Api, kubeconfig: str, tmp_path: pathlib.Path) -> None:
    given = models(kubeconfig, **VOUCHED)
    _platform(api, given, releases=True)
    api.denied = {("patch", "securitypolicies")}
    assert not _run(given)["team-a"]["failed"]
    name = Team.from_dict(given["team-a"]).policy_name(Team.from_dict(given["team-a"]).apps[0])
    api.edit("SecurityPolicy", name, lambda obj: obj["spec"]["extAuth"].update(failOpen=True))
    outcome = _run(given)["team-a"]
    assert outcome["failed"]
    for word in ("patch securitypolicies.gateway.envoyproxy.io", "monitoring-team-a", "docs/rbac.md"):
        assert word in outcome["msg"]
    assert _asked(tmp_path) == [], "Helm has nothing to do with it"


def test_rights_are_asked_for_where_an_app_left(api: Api, kubeconfig: str) -> None:
    given = models(kubeconfig, **VOUCHED)
    _platform(api, given, releases=True)
    one_app = models(kubeconfig, **VOUCHED, apps=[given["team-a"]["apps"][0]])
    team = Team.from_dict(one_app["team-a"])
    api.seed(release_record(team, revision=2))
    api.denied = {("delete", "httproutes")}
    outcome = _run(one_app)["team-a"]
    assert outcome["failed"] and "delete httproutes.gateway.networking.k8s.io" in outcome["msg"]


def test_before_a_rotation_only_its_rights_count(api: Api, kubeconfig: str) -> None:
    given = models(kubeconfig)
    _platform(api, given, without=["Gateway", "Service", "GatewayClass"])
    assert not _run(given, phase="rotate")["team-a"]["failed"]
    api.denied = {("create", "secrets"), ("delete", "httproutes")}
    assert not _run(given, phase="rotate")["team-a"]["failed"]
    api.denied = {("patch", "deployments")}
    outcome = _run(given, phase="rotate")["team-a"]
    assert outcome["failed"] and "patch deployments.apps" in outcome["msg"] and "monitoring-team-a" in outcome["msg"]
    assert not _run(given, phase="rotate", check=True)["team-a"]["failed"]


@pytest.mark.parametrize(("check", "failed"), [(True, False), (False, True)], ids=["check mode", "live"])
def test_what_may_still_come_is_a_finding_in_check_mode(api: Api, kubeconfig: str, check: bool, failed: bool) -> None:
    given = models(kubeconfig)
    _platform(api, given, without=["Service", "ClientTrafficPolicy"])
    outcome = _run(given, check=check)["team-a"]
    assert outcome["failed"] is failed
    for word in ("prometheus-service-team-a", "alertmanager-service-team-a", "forged", "redirect URIs"):
        assert word in outcome["msg"]
    assert len(outcome["data"].get("findings", [])) == (4 if check else 0)


@pytest.mark.parametrize("check", [True, False], ids=["check mode", "live"])
def test_a_hard_problem_brings_the_soft_ones_along(api: Api, kubeconfig: str, check: bool) -> None:
    given = models(kubeconfig, **VOUCHED)
    _platform(api, given, without=["Service", "GatewayClass"])
    outcome = _run(given, check=check)["team-a"]
    assert outcome["failed"]
    assert "GatewayClass" in outcome["msg"] and "prometheus-service-team-a" in outcome["msg"]


def test_a_team_s_problem_is_its_own(api: Api, kubeconfig: str) -> None:
    given = models(kubeconfig, "team-a", "team-b", **VOUCHED)
    _platform(api, given)
    del api.objects[("services", "monitoring-team-b", "prometheus-service-team-a")]
    teams = _run(given)
    assert teams["team-b"]["failed"] and not teams["team-a"]["failed"]


def test_the_platform_is_asked_once_for_all_teams(api: Api, kubeconfig: str) -> None:
    given = models(kubeconfig, "team-a", "team-b", "team-c", **VOUCHED)
    _platform(api, given)
    _run(given)
    assert api.asked.count("GET CustomResourceDefinition securitypolicies.gateway.envoyproxy.io") == 1


@pytest.mark.parametrize(
    ("version", "words"),
    [
        pytest.param("v3.12.0", ["3.12.0", "3.18.0"], id="too old"),
        pytest.param("v2.99.0", ["2.99.0", "3.18.0"], id="Helm 2"),
        pytest.param("hello", ["hello"], id="no version"),
    ],
)
def test_helm_must_do(api: Api, kubeconfig: str, helm: t.Callable[[str], None], version: str, words: list[str]) -> None:
    given = models(kubeconfig, **VOUCHED)
    _platform(api, given)
    helm(version)
    outcome = _run(given)["team-a"]
    assert outcome["failed"] and all(word in outcome["msg"] for word in words)


def test_helm_and_kubernetes_core_must_go_together(api: Api, kubeconfig: str, helm: t.Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    given = models(kubeconfig, **VOUCHED)
    _platform(api, given)
    helm("v4.1.4")
    assert not _run(given)["team-a"]["failed"]
    monkeypatch.setattr(preflight, "collection_version", lambda name: "6.2.0")
    outcome = _run(given)["team-a"]
    assert outcome["failed"] and all(word in outcome["msg"] for word in ("4.1.4", "kubernetes.core 6.2.0", "6.5.0"))


def _pod(team: Team, tag: str) -> Object:
    labels = {"app.kubernetes.io/name": "oauth2-proxy", "app.kubernetes.io/instance": team.release}
    spec = {"containers": [{"name": "oauth2-proxy", "image": f"acr.example.com/oauth2-proxy:{tag}"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": team.namespace, "labels": labels}, "spec": spec}


@pytest.mark.parametrize(
    ("values", "running", "installed", "failed", "words"),
    [
        pytest.param({}, "", False, False, (), id="the chart's own"),
        pytest.param({"image": {"tag": "v7.14.0"}}, "", False, True, ("GHSA-7x63-xv5r-3p2x", "oauth2-proxy 7.14.0", "image.tag"), id="a bad tag"),
        pytest.param({"image": {"tag": "v7.15.2"}}, "", False, False, ("oauth2-proxy 7.15.2", "7.15.3"), id="a tag to be warned of"),
        pytest.param({"image": {"tag": "stable"}}, "", False, False, ("isn't known", "stable"), id="a tag that tells nothing"),
        pytest.param({}, "v7.14.0", True, True, ("GHSA-5hvv-m4w4-gf6v", "pod monitoring-team-a/p"), id="what runs, and stays"),
        pytest.param({}, "v7.14.0", False, False, ("Until this run replaces it", "GHSA-5hvv-m4w4-gf6v"), id="what runs, and goes"),
        pytest.param({}, "v7.15.3", True, False, (), id="what runs is good"),
    ],
)
def test_the_proxy_s_version(api: Api, kubeconfig: str, values: Object, running: str, installed: bool, failed: bool, words: tuple[str, ...]) -> None:
    given = models(kubeconfig, **VOUCHED, helm_values=values)
    _platform(api, given, releases=installed)
    if running:
        api.read_only = False
        api.seed(_pod(Team.from_dict(given["team-a"]), running))
        api.read_only = True
    outcome = _run(given)["team-a"]
    assert outcome["failed"] is failed, outcome["msg"]
    assert all(word in outcome["msg"] for word in words), outcome["msg"]
    assert bool(outcome["msg"]) is bool(words)


def test_foreign_objects_are_told_before_anything_is_written(api: Api, kubeconfig: str) -> None:
    given = models(kubeconfig, **VOUCHED)
    _platform(api, given)
    api.read_only = False
    theirs = [{**obj, "metadata": {**obj["metadata"], "labels": {}}} for obj in gateway_manifests(Team.from_dict(given["team-a"]))]
    api.seed(*theirs)
    api.read_only = True
    outcome = _run(given)["team-a"]
    assert outcome["failed"]
    assert all(obj["metadata"]["name"] in outcome["msg"] for obj in theirs)
    assert not _run(given, adopt="all")["team-a"]["failed"]


VAULT = {"client_secret": {"kind": "key_vault", "name": "n", "key": "", "url": "https://contoso.vault.azure.net"}}
AKS = {"workload_identity": {"issuer": "", "aks": {"name": "a", "resource_group": "g", "subscription_id": "22222222-2222-4222-8222-222222222222"}}}


@pytest.mark.parametrize(
    ("overrides", "packages"),
    [
        pytest.param({}, [], id="not asked for"),
        pytest.param(VAULT, list(_azure.VAULT_PACKAGES), id="read from a Key Vault"),
        pytest.param({**VAULT, "registration": "managed"}, list(_azure.VAULT_PACKAGES), id="written to one"),
        pytest.param({**AKS, "credential": "federated", "client_secret": None}, list(_azure.AKS_PACKAGES), id="issuer of AKS"),
        pytest.param(AKS, [], id="issuer of AKS for nothing"),
    ],
)
def test_azure_azcollection_is_wanted_where_it_is_used(
    api: Api, kubeconfig: str, monkeypatch: pytest.MonkeyPatch, overrides: Object, packages: list[str]
) -> None:
    wanted: list[str] = []

    def require(names: t.Iterable[str]) -> None:
        wanted.extend(names)
        raise AzureError("It isn't there.", "Install it.")

    monkeypatch.setattr(_azure, "require", require)
    given = models(kubeconfig, **VOUCHED, **overrides)
    _platform(api, given)
    outcome = run_action(ActionModule, {"models": given})["teams"]["team-a"]
    assert wanted == packages
    assert ("It isn't there. Install it." in outcome["msg"]) is bool(packages)
    assert outcome["failed"] or not packages


@pytest.mark.parametrize(
    ("length", "release", "asked"),
    [("0d", True, ["version"]), ("7d", True, []), ("0d", False, [])],
    ids=["it will uninstall", "into quarantine", "no release"],
)
def test_whoever_takes_a_team_away_needs_helm_where_it_will_run(
    api: Api, kubeconfig: str, tmp_path: pathlib.Path, helm: t.Callable[[str], None], length: str, release: bool, asked: list[str]
) -> None:
    """Else the run would end between the routes and the release."""
    given = models(kubeconfig, quarantine=length, **VOUCHED)
    _platform(api, given, releases=release)
    assert not _run(given, phase="offboard")["team-a"]["failed"]
    assert _asked(tmp_path) == asked
    helm("v3.10.0")
    outcome = _run(given, phase="offboard")["team-a"]
    assert outcome["failed"] is bool(asked) and (not asked or "3.18" in outcome["msg"])
