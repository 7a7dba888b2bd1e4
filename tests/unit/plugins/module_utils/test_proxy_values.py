# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Helm values: golden cases, what they must never hold, the merge, and the session store's start script, run."""

from __future__ import annotations

import ipaddress
import json
import os
import pathlib
import stat
import subprocess
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _proxy_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import literal, merge_values, proxy_values, release_values
from tests.golden import COMPILE, Case, cases, team

VALUES = cases("values")


@pytest.mark.parametrize("case", VALUES, ids=lambda case: case.name)
def test_golden_values(case: Case) -> None:
    assert COMPILE["values"](case.team) == case.content["expected"]


@pytest.mark.parametrize("case", VALUES, ids=lambda case: case.name)
def test_values_are_plain_data_as_the_release_record_holds_it(case: Case) -> None:
    values = release_values(case.team)
    assert json.loads(json.dumps(values)) == values


@pytest.mark.parametrize("case", VALUES, ids=lambda case: case.name)
def test_flags_undo_no_guarantee(case: Case) -> None:
    arguments = proxy_values(case.team)["extraArgs"]
    assert arguments["allowed-group"], "an empty list lets the whole tenant in"
    assert all("*" not in host for host in arguments["whitelist-domain"].split(","))
    assert not [flag for flag in arguments if flag.startswith(("ssl-", "skip-auth", "skip-jwt", "ping-user-agent", "gcp-", "redirect-url"))]
    assert arguments.get("insecure-oidc-skip-nonce", "false") == "false"
    assert arguments["code-challenge-method"] == "S256"
    assert arguments["trusted-proxy-ip"]
    # A cookie is one host's, or goes to hosts that are the team's alone.
    name, domain = proxy_values(case.team)["config"]["cookieName"], arguments.get("cookie-domain", "")
    assert (name, domain) in ((f"__Host-o2p-{case.team.name}", ""), (f"__Secure-o2p-{case.team.name}", f"{case.team.name}.{case.team.domain}"))


def _kinds(objects: list[dict[str, t.Any]]) -> list[tuple[str, str]]:
    return [(obj["kind"], obj["metadata"]["name"]) for obj in objects]


AUTHZ = [("Service", "monitoring-oauth2-proxy-team-a-authz"), ("EndpointSlice", "monitoring-oauth2-proxy-team-a-authz-nobody")]


@pytest.mark.parametrize("theirs", [None, [], [{"kind": "ConfigMap", "metadata": {"name": "x"}}]], ids=["not given", "none", "one"])
@pytest.mark.parametrize("store", ["bundled", "cookie"])
def test_the_service_that_envoy_asks_is_in_every_release(store: str, theirs: list[dict[str, t.Any]] | None) -> None:
    """Whatever the platform's own values say, or the policies would ask nobody."""
    values = {} if theirs is None else {"helm_values": {"extraObjects": theirs}}
    objects = release_values(team({"session_store": {"type": store}, **values}))["extraObjects"]
    assert _kinds(objects)[:2] == AUTHZ
    assert len(set(_kinds(objects))) == len(objects)
    assert theirs is None or objects[2:] == theirs


def test_the_service_that_envoy_asks_always_has_an_endpoint_and_it_is_never_ready() -> None:
    service, endpoints = release_values(team())["extraObjects"][:2]
    assert endpoints["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
    assert [port["name"] for port in endpoints["ports"]] == [port["name"] for port in service["spec"]["ports"]]
    (nobody,) = endpoints["endpoints"]
    assert nobody["conditions"] == {"ready": False, "serving": False, "terminating": False}
    assert all(ipaddress.ip_address(address) in ipaddress.ip_network("192.0.2.0/24") for address in nobody["addresses"])


def test_groups_and_hosts_are_the_team_s_own() -> None:
    arguments = proxy_values(team({"admin_groups": [{"id": "5f0c0c7e-0000-4000-8000-0000000000ad"}]}))["extraArgs"]
    assert arguments["allowed-group"] == "5f0c0c7e-0000-4000-8000-0000000000a1,5f0c0c7e-0000-4000-8000-0000000000ad"
    assert "team-b" not in json.dumps(arguments)


@pytest.mark.parametrize("refresh", ["", "0", "0s"])
def test_without_refresh_no_refresh_token_is_asked_for(refresh: str) -> None:
    arguments = proxy_values(team({"session": {"refresh": refresh}}))["extraArgs"]
    assert "cookie-refresh" not in arguments
    assert "offline_access" not in arguments["scope"]


def test_the_store_s_image_may_be_chosen() -> None:
    def image(session_store: dict[str, str], **overrides: str) -> str:
        objects = proxy_values(team({"session_store": session_store, **overrides}))["extraObjects"]
        deployment = next(obj for obj in objects if obj["kind"] == "Deployment")
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    assert image({}) == _proxy_values.DEFAULT_STORE_IMAGE
    assert image({}, image_registry="acr.example.com").startswith("acr.example.com/valkey/")
    assert image({"image": "redis:8"}, image_registry="acr.example.com") == "redis:8"


def test_the_proxy_s_service_does_not_select_the_store() -> None:
    objects = proxy_values(team())["extraObjects"]
    labels = next(obj for obj in objects if obj["kind"] == "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] != "oauth2-proxy"


def _policies(**overrides: t.Any) -> dict[str, t.Any]:
    objects = proxy_values(team(overrides)).get("extraObjects", [])
    return {obj["metadata"]["name"]: obj["spec"] for obj in objects if obj["kind"] == "NetworkPolicy"}


def test_only_the_gateway_s_envoys_reach_the_proxy() -> None:
    spec = _policies(gateway={"name": "edge", "namespace": "infra"}, metrics=False)[team().release]
    assert spec["policyTypes"] == ["Ingress"]
    assert spec["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "oauth2-proxy", "app.kubernetes.io/instance": team().release}
    (rule,) = spec["ingress"]
    labels = {"gateway.envoyproxy.io/owning-gateway-name": "edge", "gateway.envoyproxy.io/owning-gateway-namespace": "infra"}
    # One peer with both selectors. As two peers it would be: any pod of any namespace, or these.
    assert rule == {"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": labels}}], "ports": [{"port": "http"}]}


def test_the_cluster_reaches_the_metrics_and_nothing_else_of_the_proxy() -> None:
    open_to_all = [rule for rule in _policies()[team().release]["ingress"] if rule["from"] == [{"namespaceSelector": {}}]]
    assert [rule["ports"] for rule in open_to_all] == [[{"port": "metrics"}]]


@pytest.mark.parametrize("store", ["bundled", "external", "cookie"])
def test_the_switch_spares_the_store_s_own_policy(store: str) -> None:
    chosen: dict[str, t.Any] = {"session_store": {"type": store, "url": "rediss://store.example.com:6380"}}
    store_s = {team().store_name} if store == "bundled" else set()
    assert set(_policies(**chosen)) == {team().release, *store_s}
    assert set(_policies(**chosen, network_policies=False)) == store_s


# --- merge ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "user", "merged"),
    [
        pytest.param({"a": 1}, {}, {"a": 1}, id="nothing given"),
        pytest.param({"a": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 3}, id="user wins"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}, id="mappings merge"),
        pytest.param({"a": [1, 2]}, {"a": [3]}, {"a": [3]}, id="lists are replaced"),
        pytest.param({"a": {"b": 1}}, {"a": "text"}, {"a": "text"}, id="another type replaces"),
        pytest.param({"a": "text"}, {"a": {"b": 1}}, {"a": {"b": 1}}, id="a mapping replaces text"),
        pytest.param({"a": {"b": 1}}, {"a": None}, {"a": None}, id="null stays, for Helm to remove the default"),
    ],
)
def test_merge(ours: dict[str, t.Any], user: dict[str, t.Any], merged: dict[str, t.Any]) -> None:
    before = json.dumps([ours, user])
    assert merge_values(ours, user) == merged
    assert json.dumps([ours, user]) == before


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        pytest.param("plain", "plain", id="plain"),
        pytest.param("{{ .Values.x }}", "{{`{{`}} .Values.x }}", id="template"),
        pytest.param({"k{{": ["{{"]}, {"k{{`{{`}}": ["{{`{{`}}"]}, id="nested, keys too"),
        pytest.param(5, 5, id="number"),
    ],
)
def test_literal(value: t.Any, escaped: t.Any) -> None:
    assert literal(value) == escaped


# --- the store's start script, with a server that only shows what it was started with -----------------------------------


def _start_store(tmp_path: pathlib.Path, password: bytes, server: str = "valkey-server") -> tuple[subprocess.CompletedProcess[str], pathlib.Path]:
    deployment = next(obj for obj in _proxy_values.store_objects(team()) if obj["kind"] == "Deployment")
    shell, option, script = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
    for folder in ("run/secrets/store", "run/store", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "run/secrets/store/redis-password").write_bytes(password)
    stub = tmp_path / "bin" / server
    stub.write_text('#!/bin/sh\ntr "\\0" " " < /proc/$$/cmdline\nenv\n', encoding="utf-8")
    stub.chmod(0o755)
    script = script.replace("/run/", f"{tmp_path}/run/")
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    done = subprocess.run([shell, option, script], capture_output=True, text=True, timeout=10, check=False, env=environment)
    return done, tmp_path / "run/store/store.conf"


@pytest.mark.parametrize("server", ["valkey-server", "redis-server"])
@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_store_keeps_its_password_out_of_arguments_and_environment(tmp_path: pathlib.Path, ending: bytes, server: str) -> None:
    done, configuration = _start_store(tmp_path, b'pa\\s "w%d' + ending, server)
    assert done.returncode == 0, done.stderr
    assert "requirepass 'pa\\s \"w%d'\n" in configuration.read_text(encoding="utf-8")
    assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
    assert "pa\\s" not in done.stdout + done.stderr
    assert "store.conf" in done.stdout


def test_store_writes_one_option_a_line(tmp_path: pathlib.Path) -> None:
    _done, configuration = _start_store(tmp_path, b"secret")
    lines = configuration.read_text(encoding="utf-8").splitlines()
    assert lines[:-1] == _proxy_values._store_options(team())
    assert "maxmemory-policy noeviction" in lines
    assert 'save ""' in lines


@pytest.mark.parametrize("password", [b"", b"it's"], ids=["empty", "single quote"])
def test_store_refuses_a_password_it_could_not_write(tmp_path: pathlib.Path, password: bytes) -> None:
    done, configuration = _start_store(tmp_path, password)
    assert done.returncode != 0
    assert "password" in done.stderr
    assert not configuration.exists()


def test_a_variable_whose_name_is_no_text_is_left_to_validation() -> None:
    odd = {"name": ["A"], "value": "x"}
    values = release_values(team({"credential": "federated", "client_secret": None, "helm_values": {"extraEnv": [odd]}}))
    assert [item["name"] for item in values["extraEnv"]] == ["AZURE_FEDERATED_TOKEN_FILE", ["A"]]
