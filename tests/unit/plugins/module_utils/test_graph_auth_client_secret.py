# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A token by client secret, from the Entra double through its CONNECT proxy."""

from __future__ import annotations

import collections.abc
import contextlib
import time
import traceback

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import GraphEndpoint, choose_auth
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth_client_secret import ClientSecretAuth
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import HttpTransport
from tests.sandbox.entra.testkit import Double, control, running_double

TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "aaaaaaaa-0000-4000-8000-00000000000a"
ENDPOINT = GraphEndpoint.for_cloud("global")
CANARY = "canary-5ecret"


@pytest.fixture(scope="module", name="double")
def _double(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Double]:
    with running_double(tmp_path_factory.mktemp("entra")) as double:
        yield double


@pytest.fixture(name="transport")
def _transport(double: Double) -> collections.abc.Iterator[HttpTransport]:
    with contextlib.closing(HttpTransport({"HTTPS_PROXY": double.proxy, "SSL_CERT_FILE": str(double.authority.ca)})) as transport:
        yield transport


@pytest.mark.parametrize("name", ["AZURE_CLIENT_SECRET", "AZURE_SECRET"])
def test_token(name: str, double: Double, transport: HttpTransport) -> None:
    method = choose_auth({"AZURE_CLIENT_ID": CLIENT, name: double.secret("team-a"), "AZURE_TENANT_ID": TENANT}, ENDPOINT, TENANT)
    token = method.token(transport, time.monotonic)
    assert token.value.count(".") == 2
    assert token.principal_id
    assert not token.delegated
    assert 3000 < token.expires_at - time.monotonic() <= 3700
    assert token.value not in repr(token)
    assert double.secret("team-a") not in repr(method)


@pytest.mark.parametrize(
    ("client_id", "tenant_id", "secret", "code", "word"),
    [
        pytest.param(CLIENT, TENANT, CANARY, "7000215", "AZURE_CLIENT_SECRET", id="a wrong secret"),
        pytest.param("eeeeeeee-0000-4000-8000-00000000000e", TENANT, CANARY, "700016", "AZURE_CLIENT_ID", id="an unknown app"),
        pytest.param(CLIENT, "22222222-2222-4222-8222-222222222222", CANARY, "90002", "gateway_auth_tenant_id", id="an unknown tenant"),
    ],
)
def test_refusals(client_id: str, tenant_id: str, secret: str, code: str, word: str, transport: HttpTransport) -> None:
    with pytest.raises(GraphAuthError) as caught:
        ClientSecretAuth(ENDPOINT, tenant_id, client_id, secret).token(transport, time.monotonic)
    assert caught.value.code == code
    assert f"AADSTS{code}" in caught.value.message
    assert word in caught.value.remedy
    assert caught.value.retry_after is None
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_an_expired_secret(double: Double, transport: HttpTransport) -> None:
    secret = double.secret("team-b")
    assert control(double, "POST", "/apps/team-b/secret", {"state": "expired"})[0] == 200
    with pytest.raises(GraphAuthError) as caught:
        ClientSecretAuth(ENDPOINT, TENANT, "bbbbbbbb-0000-4000-8000-00000000000b", secret).token(transport, time.monotonic)
    assert caught.value.code == "7000222"
    assert "expired" in caught.value.remedy
    assert secret not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("action", [{"status": 503, "headers": {"Retry-After": "1"}}, {"drop": True}], ids=["503", "dropped"])
def test_a_client_waits_for_the_token_service(action: dict[str, object], double: Double, transport: HttpTransport) -> None:
    method = ClientSecretAuth(ENDPOINT, TENANT, CLIENT, double.secret("team-a"))
    pauses: list[float] = []
    assert control(double, "PUT", "/faults", [{"match": {"path_prefix": f"/{TENANT}/oauth2"}, "action": action, "times": 2}])[0] == 200
    try:
        client = Graph(ENDPOINT, method, transport, sleep=pauses.append)
        assert client.principal_id
    finally:
        control(double, "DELETE", "/faults")
    assert len(pauses) == 2


@pytest.mark.parametrize("secret", [f"{CANARY}\n", f" {CANARY}", f"{CANARY}\x00"])
def test_a_secret_that_cannot_be_one(secret: str) -> None:
    with pytest.raises(GraphAuthError, match="AZURE_CLIENT_SECRET") as caught:
        ClientSecretAuth(ENDPOINT, TENANT, CLIENT, secret).validate()
    assert CANARY not in str(caught.value)
