# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A token for a federated issuer's token, from the Entra double through its CONNECT proxy."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import pathlib
import time
import traceback

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import GraphEndpoint, choose_auth
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth_federated import FederatedAuth
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import HttpTransport
from tests.sandbox.entra.testkit import Double, control, running_double

TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "aaaaaaaa-0000-4000-8000-00000000000a"
ENDPOINT = GraphEndpoint.for_cloud("global")
ISSUER = "https://oidc.example/cluster/"
SUBJECT = "system:serviceaccount:automation:ansible"
AUDIENCE = "api://AzureADTokenExchange"


@dataclasses.dataclass
class KeysOf:
    """The keys of one issuer, without a network."""

    key: RSAKey

    async def fetch(self, issuer: str) -> KeySet:
        return KeySet([self.key])


@pytest.fixture(scope="module", name="key")
def _key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "cluster-key"})


@pytest.fixture(scope="module", name="double")
def _double(tmp_path_factory: pytest.TempPathFactory, key: RSAKey) -> collections.abc.Iterator[Double]:
    with running_double(tmp_path_factory.mktemp("entra"), issuer_keys=KeysOf(key)) as double:
        trusted = [{"name": "ansible", "issuer": ISSUER, "subject": SUBJECT}]
        assert control(double, "PUT", "/apps/team-a", {"federated_credentials": trusted})[0] == 200
        yield double


@pytest.fixture(name="transport")
def _transport(double: Double) -> collections.abc.Iterator[HttpTransport]:
    with contextlib.closing(HttpTransport({"HTTPS_PROXY": double.proxy, "SSL_CERT_FILE": str(double.authority.ca)})) as transport:
        yield transport


def assertion(key: RSAKey, **changes: object) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 3600, **changes}
    return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)


def test_token_and_a_file_renewed_in_place(key: RSAKey, transport: HttpTransport, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "token"
    path.write_text(assertion(key, exp=int(time.time()) - 3600) + "\n", "utf-8")
    method = choose_auth({"AZURE_CLIENT_ID": CLIENT, "AZURE_FEDERATED_TOKEN_FILE": str(path)}, ENDPOINT, TENANT)
    with pytest.raises(GraphAuthError, match="AADSTS700024"):
        method.token(transport, time.monotonic)
    path.write_text(assertion(key) + "\n", "utf-8")
    assert method.token(transport, time.monotonic).principal_id


@pytest.mark.parametrize(
    ("client_id", "changes", "code", "word"),
    [
        pytest.param(CLIENT, {"iss": ISSUER.rstrip("/")}, "700211", "trailing slash", id="issuer without its slash"),
        pytest.param(CLIENT, {"sub": "system:serviceaccount:automation:other"}, "700213", "subject", id="another subject"),
        pytest.param(CLIENT, {"aud": ["other"]}, "700212", "audience", id="another audience"),
        pytest.param("bbbbbbbb-0000-4000-8000-00000000000b", {}, "70021", "federated credential", id="no federated credential"),
        pytest.param(CLIENT, {"exp": 1}, "700024", "clock", id="expired"),
    ],
)
def test_refusals(client_id: str, changes: dict[str, object], code: str, word: str, key: RSAKey, transport: HttpTransport, tmp_path: pathlib.Path) -> None:
    token = assertion(key, **changes)
    (tmp_path / "token").write_text(token, "utf-8")
    with pytest.raises(GraphAuthError) as caught:
        FederatedAuth(ENDPOINT, TENANT, client_id, str(tmp_path / "token")).token(transport, time.monotonic)
    assert caught.value.code == code
    assert word in caught.value.remedy
    assert token not in "".join(traceback.format_exception(caught.value))


def test_a_foreign_signature(transport: HttpTransport, tmp_path: pathlib.Path) -> None:
    (tmp_path / "token").write_text(assertion(RSAKey.generate_key(2048, {"kid": "cluster-key"})), "utf-8")
    with pytest.raises(GraphAuthError, match="AADSTS700027"):
        FederatedAuth(ENDPOINT, TENANT, CLIENT, str(tmp_path / "token")).token(transport, time.monotonic)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="missing"),
        pytest.param(b"", id="empty"),
        pytest.param(b"canary-5ecret", id="not a JWT"),
        pytest.param(b"a.b.c d", id="more than a JWT"),
        pytest.param(b"a.b.\xff", id="not ASCII"),
    ],
)
def test_a_file_that_cannot_be_one(content: bytes | None, tmp_path: pathlib.Path) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(GraphAuthError, match="AZURE_FEDERATED_TOKEN_FILE") as caught:
        FederatedAuth(ENDPOINT, TENANT, CLIENT, str(tmp_path / "token")).validate()
    assert "canary-5ecret" not in "".join(traceback.format_exception(caught.value))
