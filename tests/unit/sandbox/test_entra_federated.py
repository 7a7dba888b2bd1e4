# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Federated client assertions: trust list, signature, times; issuer keys fetched over TLS from a real listener."""

from __future__ import annotations

import asyncio
import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from tests.sandbox.entra.clientauth import ASSERTION_TYPE
from tests.sandbox.entra.service import DiscoveredKeys
from tests.sandbox.entra.testkit import Answer, Authority, Browser, Double, control, make_authority, running_double
from tests.sandbox.entra.walk import TEAM_A, TEAM_B, TOKEN, authorize, redemption

ISSUER = "https://oidc.example/cluster/"
SUBJECT = "system:serviceaccount:monitoring-team-a:oauth2-proxy"
AUDIENCE = "api://AzureADTokenExchange"


@dataclass
class KeysOf:
    """The keys of one issuer, without a network."""

    key: RSAKey

    async def fetch(self, issuer: str) -> KeySet:
        if issuer != ISSUER:
            raise OSError(issuer)
        return KeySet([self.key])


@pytest.fixture(scope="module", name="key")
def _key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "cluster-key"})


@pytest.fixture(scope="module", name="double")
def _double(tmp_path_factory: pytest.TempPathFactory, key: RSAKey) -> Iterator[Double]:
    with running_double(tmp_path_factory.mktemp("entra"), issuer_keys=KeysOf(key)) as double:
        trusted = [
            {"name": "proxy", "issuer": ISSUER, "subject": SUBJECT},
            {"name": "gone", "issuer": "https://gone.example/", "subject": SUBJECT},
        ]
        assert control(double, "PUT", "/apps/team-a", {"federated_credentials": trusted})[0] == 200
        yield double


def assertion(key: RSAKey, **changes: object) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 3600, **changes}
    return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)


def redeem(double: Double, token: str, client_id: str = TEAM_A) -> Answer:
    browser = Browser(double)
    form = redemption(
        double,
        authorize(browser).answered["code"],
        client_id=client_id,
        client_secret=None,
        client_assertion=token,
        client_assertion_type=ASSERTION_TYPE,
    )
    return browser.post(TOKEN, form)


def test_assertion_stands_in_for_a_secret(double: Double, key: RSAKey) -> None:
    answer = redeem(double, assertion(key))
    assert answer.status == 200, answer.text
    assert redeem(double, assertion(key, aud=AUDIENCE)).status == 200


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"iss": ISSUER.rstrip("/")}, 700211, id="issuer-without-slash"),
        pytest.param({"sub": SUBJECT.upper()}, 700213, id="subject-in-capitals"),
        pytest.param({"sub": SUBJECT + "-b"}, 700213, id="other-subject"),
        pytest.param({"aud": ["api://azureadtokenexchange"]}, 700212, id="audience-in-small"),
        pytest.param({"exp": int(time.time()) - 3600}, 700024, id="expired"),
        pytest.param({"nbf": int(time.time()) + 3600}, 700024, id="not-yet"),
        pytest.param({"exp": "soon"}, 50027, id="exp-not-a-number"),
        pytest.param({"sub": 7}, 50027, id="subject-not-a-text"),
        pytest.param({"iss": "https://gone.example/"}, 50166, id="issuer-out-of-reach"),
    ],
)
def test_assertions_are_refused(double: Double, key: RSAKey, changes: dict[str, object], code: int) -> None:
    assert redeem(double, assertion(key, **changes)).json()["error_codes"] == [code]


def test_application_without_trust(double: Double, key: RSAKey) -> None:
    assert redeem(double, assertion(key), TEAM_B).json()["error_codes"] == [70021]


def test_foreign_key_with_the_same_kid_is_refused(double: Double) -> None:
    forger = RSAKey.generate_key(2048, {"kid": "cluster-key"})
    answer = redeem(double, assertion(forger))
    assert (answer.status, answer.json()["error_codes"]) == (401, [700027])


@pytest.mark.parametrize(
    ("token", "code"),
    [
        pytest.param("x", 50027, id="no-token"),
        pytest.param("a.b.c", 50027, id="not-base64"),
        pytest.param("eyJhbGciOiJub25lIn0.W10.", 50027, id="claims-not-an-object"),
    ],
)
def test_malformed_assertions(double: Double, token: str, code: int) -> None:
    assert redeem(double, token).json()["error_codes"] == [code]


def test_unsigned_assertion_is_refused(double: Double, key: RSAKey) -> None:
    _header, claims, _signature = assertion(key).split(".")
    assert redeem(double, f"eyJhbGciOiJub25lIn0.{claims}.").json()["error_codes"] == [700027]


# --- fetching keys -----------------------------------------------------------------------------------------------------


@dataclass
class Issuer:
    url: str
    authority: Authority
    documents: dict[str, object]


@pytest.fixture(name="issuer")
def _issuer(tmp_path: Path, key: RSAKey) -> Iterator[Issuer]:
    authority = make_authority(tmp_path)
    documents: dict[str, object] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(documents.get(self.path)).encode()
            self.send_response(200 if self.path in documents else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base class)
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.cert, authority.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    url = f"https://localhost:{server.server_port}"
    documents["/.well-known/openid-configuration"] = {"issuer": url, "jwks_uri": f"{url}/keys"}
    documents["/keys"] = {"keys": [key.as_dict(private=False)]}
    yield Issuer(url, authority, documents)
    server.shutdown()
    thread.join()
    server.server_close()


def test_keys_come_from_the_issuers_discovery(issuer: Issuer, key: RSAKey) -> None:
    keys = asyncio.run(DiscoveredKeys(issuer.authority.ca).fetch(issuer.url))
    assert [found.kid for found in keys.keys] == [key.kid]


def test_discovery_of_another_issuer_is_refused(issuer: Issuer) -> None:
    issuer.documents["/.well-known/openid-configuration"] = {"issuer": "https://x", "jwks_uri": f"{issuer.url}/keys"}
    with pytest.raises(ValueError, match="another issuer"):
        asyncio.run(DiscoveredKeys(issuer.authority.ca).fetch(issuer.url))


@pytest.mark.parametrize("trusted", [pytest.param(True, id="no-document"), pytest.param(False, id="untrusted-certificate")])
def test_issuer_that_gives_no_keys(issuer: Issuer, trusted: bool) -> None:
    del issuer.documents["/keys"]
    with pytest.raises(OSError, match="localhost"):
        asyncio.run(DiscoveredKeys(issuer.authority.ca if trusted else None).fetch(issuer.url))
