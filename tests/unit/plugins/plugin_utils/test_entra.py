# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients of a batch, and the token endpoint asked as a team's own application."""

from __future__ import annotations

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphAuthError, RegistrationError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import GraphEndpoint
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _entra
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._entra import Clients, endpoint_of, has_identity, network, prove
from tests.sandbox.entra.graphkit import AUTOMATION
from tests.sandbox.entra.testkit import Double
from tests.sandbox.entra.walk import TENANT
from tests.unit.support.entra import calls, environ, managed, reach

GIVEN = {"AZURE_CLIENT_ID": AUTOMATION, "AZURE_CLIENT_SECRET": "hush", "AZURE_TENANT_ID": TENANT}


@pytest.mark.parametrize(
    ("given", "has"),
    [
        ({}, False),
        ({"PATH": "/bin"}, False),
        ({"AZURE_CLIENT_ID": "x", "AZURE_TENANT_ID": "y"}, False),
        ({"AZURE_CLIENT_SECRET": ""}, False),
        *(({name: "x"}, True) for name in _entra._IDENTITY),
    ],
    ids=str,
)
def test_has_identity(given: dict[str, str], has: bool) -> None:
    assert has_identity(given) is has


def test_the_process_s_environment_counts_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _entra._IDENTITY:
        monkeypatch.delenv(name, raising=False)
    assert not has_identity()
    monkeypatch.setenv("AZURE_SECRET", "x")
    assert has_identity() and not has_identity({})


def test_teams_of_one_tenant_share_a_client() -> None:
    clients = Clients(read_only=True, environ=GIVEN)
    first = clients.graph(managed())
    assert clients.graph(managed(name="team-b")) is first and first.read_only
    others = [
        managed(authority="https://login.microsoftonline.us"),
        managed(graph={"url": "https://graph.microsoft.us"}),
        managed(graph={"proxy": "http://proxy.example.com:3128"}),
        managed(graph={"ca_file": "/ca.pem"}),
    ]
    assert len({first, *(clients.graph(other) for other in others)}) == 5
    assert not Clients(read_only=False, environ=GIVEN).graph(managed()).read_only


def test_the_environment_is_the_process_s_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    assert AUTOMATION in Clients(read_only=True).graph(managed()).identity


def test_endpoints_are_the_inventory_s() -> None:
    team = managed(graph={"url": "https://graph.microsoft.us"}, authority="https://login.microsoftonline.us")
    assert endpoint_of(team) == GraphEndpoint("https://graph.microsoft.us", "https://login.microsoftonline.us")
    assert endpoint_of(managed()) == GraphEndpoint.for_cloud("global")


SHELL = {
    "HTTPS_PROXY": "http://shell:1",
    "https_proxy": "http://shell:2",
    "ALL_PROXY": "x",
    "no_proxy": "*",
    "SSL_CERT_FILE": "/shell.pem",
    "SSL_CERT_DIR": "/d",
    "A": "b",
}


def test_the_shell_s_proxy_and_ca_are_used_where_the_inventory_has_none() -> None:
    assert network(managed(), SHELL) == SHELL


def test_the_inventory_s_proxy_and_ca_take_their_place() -> None:
    assert network(managed(graph={"proxy": "http://ours:3"}), SHELL) == {
        "HTTPS_PROXY": "http://ours:3", "SSL_CERT_FILE": "/shell.pem", "SSL_CERT_DIR": "/d", "A": "b",
    }  # fmt: skip
    found = network(managed(graph={"ca_file": "/ours.pem"}), SHELL)
    assert found["SSL_CERT_FILE"] == "/ours.pem" and "SSL_CERT_DIR" not in found and found["HTTPS_PROXY"] == "http://shell:1"


def test_clients_reach_graph_by_the_inventory_s_way(double: Double) -> None:
    clients = Clients(read_only=True, environ=environ(double))
    assert clients.graph(managed(double)).get("/applications(uniqueName='none')") is None
    assert len(calls(double)) == 1


def test_prove(double: Double) -> None:
    team = managed(double, client_id=AUTOMATION)
    prove(team, secret=double.secret("automation"))
    with pytest.raises(GraphAuthError) as refused:
        prove(team, secret="hush-wrong")
    assert refused.value.code == "7000215" and "hush-wrong" not in str(refused.value)
    with pytest.raises(GraphAuthError) as refused:
        prove(team, assertion="hush.not.signed")
    assert "hush" not in str(refused.value) and refused.value.code != "7000215", "the assertion was what it judged"
    with pytest.raises(RegistrationError, match="entra_app"):
        prove(managed(double), secret="x")


def test_prove_leaves_no_connection_open(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    close = _entra.HttpTransport.close
    monkeypatch.setattr(_entra.HttpTransport, "close", lambda self: (closed.append(True), close(self))[1])
    team = managed(double, client_id=AUTOMATION)
    prove(team, secret=double.secret("automation"))
    with pytest.raises(GraphAuthError):
        prove(team, secret="x")
    assert len(closed) == 2
    assert reach(double)["proxy"] == team.graph.proxy
