# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients that others wrote sign in at the double, unchanged, through a CONNECT proxy with Microsoft's own host names.

MSAL and Authlib always; the real oauth2-proxy where there is one (tests/support/tools.py).
"""

from __future__ import annotations

import base64
import contextlib
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import msal  # type: ignore[import-untyped]
import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from tests.sandbox.entra.testkit import Double, control, running_double
from tests.sandbox.entra.walk import BASE, CALLBACK, TEAM_A, TENANT
from tests.support import tools

A_DEVELOPERS, A_ONCALL = (f"5f0c0c7e-0000-4000-8000-0000000000{end}" for end in ("a1", "a2"))
OAUTH2_PROXY = tools.oauth2_proxy()


@pytest.fixture(name="double")
def _double(tmp_path: Path) -> Iterator[Double]:
    with running_double(tmp_path) as double:
        yield double


@pytest.fixture(name="web")
def _web(double: Double) -> Iterator[requests.Session]:
    with requests.Session() as session:
        trust(session, double)
        yield session


def trust(session: requests.Session, double: Double) -> None:
    session.trust_env = False
    session.proxies = {"https": double.proxy}
    session.verify = str(double.authority.ca)


def callback_of(web: requests.Session, url: str, user: str) -> str:
    """Open an authorize URL as a user and return the address the browser is sent to."""
    answer = web.get(f"{url}&{urlencode({'login_hint': user})}", allow_redirects=False, timeout=15)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


# --- MSAL --------------------------------------------------------------------------------------------------------------


def confidential_client(double: Double, web: requests.Session, secret: str) -> msal.ConfidentialClientApplication:
    return msal.ConfidentialClientApplication(TEAM_A, client_credential=secret, authority=f"https://login.microsoftonline.com/{TENANT}", http_client=web)


def test_msal_signs_in_refreshes_and_reads_the_claims(double: Double, web: requests.Session) -> None:
    app = confidential_client(double, web, double.secret("team-a"))
    flow = app.initiate_auth_code_flow(["User.Read"], redirect_uri=CALLBACK, response_mode="form_post")
    page = web.get(f"{flow['auth_uri']}&login_hint=alice", timeout=15).text
    response = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', page))
    result = app.acquire_token_by_auth_code_flow(flow, response)
    assert "error" not in result, result
    assert result["id_token_claims"]["preferred_username"] == "alice@gateway-auth.test"
    assert result["id_token_claims"]["groups"] == [A_DEVELOPERS, A_ONCALL]
    [account] = app.get_accounts()
    assert account["username"] == "alice@gateway-auth.test"
    silent = app.acquire_token_silent_with_error(["User.Read"], account, force_refresh=True)
    assert silent is not None and silent["access_token"] != result["access_token"]


def test_msal_client_credentials(double: Double, web: requests.Session) -> None:
    app = confidential_client(double, web, double.secret("team-a"))
    result = app.acquire_token_for_client(["https://graph.microsoft.com/.default"])
    assert result["token_type"] == "Bearer"


def test_msal_reports_a_wrong_secret(double: Double, web: requests.Session) -> None:
    result = confidential_client(double, web, "wrong").acquire_token_for_client(["https://graph.microsoft.com/.default"])
    assert (result["error"], result["error_codes"]) == ("invalid_client", [7000215])


# --- Authlib -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_code_flow_with_pkce(double: Double, web: requests.Session, method: str) -> None:
    document = web.get(f"{BASE}/v2.0/.well-known/openid-configuration", timeout=15).json()
    verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    with OAuth2Session(
        TEAM_A,
        double.secret("team-a"),
        token_endpoint_auth_method=method,
        scope="openid profile email offline_access",
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
    ) as client:
        trust(client, double)
        url, state = client.create_authorization_url(document["authorization_endpoint"], code_verifier=verifier, nonce=nonce)
        token = client.fetch_token(
            document["token_endpoint"],
            authorization_response=callback_of(web, url, "carol"),
            state=state,
            code_verifier=verifier,
        )
        keys = KeySet.import_key_set(web.get(document["jwks_uri"], timeout=15).json())
        claims = jwt.decode(token["id_token"], keys, algorithms=["RS256"]).claims
        assert (claims["iss"], claims["aud"], claims["nonce"]) == (document["issuer"], TEAM_A, nonce)
        assert claims["groups"] == [A_DEVELOPERS]
        renewed = client.refresh_token(document["token_endpoint"], refresh_token=token["refresh_token"])
        assert renewed["refresh_token"] != token["refresh_token"]


# --- oauth2-proxy ------------------------------------------------------------------------------------------------------

proxy_binary = pytest.mark.skipif(not OAUTH2_PROXY, reason="no oauth2-proxy: `make sandbox` builds one, or set OAUTH2_PROXY_BIN to the path of one (7.15.3)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Gate:
    """oauth2-proxy as the gateway uses it, addressed under the application's name."""

    port: int
    host: str = "prometheus-team-a.gateway-auth.test"

    def ask(self, path: str, cookies: dict[str, str], **headers: str) -> requests.Response:
        """Send one request as Envoy does; a `__Host-` cookie is carried by hand since loopback is plain HTTP."""
        jar = "; ".join(f"{name}={value}" for name, value in cookies.items())
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(
                f"http://127.0.0.1:{self.port}{path}",
                headers={"Host": self.host, "X-Forwarded-Proto": "https", "Cookie": jar, **headers},
                allow_redirects=False,
                timeout=15,
            )
        for line in answer.raw.headers.getlist("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            cookies.pop(name, None)
            if value:
                cookies[name] = value
        return answer


@contextlib.contextmanager
def oauth2_proxy(double: Double, secret: str, *more: str, environment: Mapping[str, str] | None = None) -> Iterator[Gate]:
    """Run the binary with the flags of production and two variables more: where the proxy is, and what CA to trust."""
    gate = Gate(free_port())
    command = [
        str(OAUTH2_PROXY),
        f"--http-address=127.0.0.1:{gate.port}",
        "--provider=entra-id",
        f"--oidc-issuer-url={BASE}/v2.0",
        f"--client-id={TEAM_A}",
        "--scope=openid profile email offline_access",
        "--code-challenge-method=S256",
        "--insecure-oidc-skip-nonce=false",
        f"--allowed-group={A_DEVELOPERS}",
        "--email-domain=*",
        "--upstream=static://200",
        "--set-xauthrequest=true",
        "--skip-provider-button=true",
        "--cookie-name=__Host-o2p-team-a",
        "--cookie-samesite=lax",
        "--cookie-csrf-per-request=true",
        "--cookie-csrf-per-request-limit=8",
        "--encode-state=true",
        "--reverse-proxy=true",
        "--trusted-proxy-ip=127.0.0.1",
        f"--whitelist-domain={gate.host}",
        *more,
    ]
    variables = {
        **(environment or {}),
        **({"OAUTH2_PROXY_CLIENT_SECRET": secret} if secret else {}),
        "HTTPS_PROXY": double.proxy,
        "SSL_CERT_FILE": str(double.authority.ca),
        "OAUTH2_PROXY_COOKIE_SECRET": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }
    log = double.log.with_name("oauth2-proxy.log")
    with log.open("wb") as stream, subprocess.Popen(command, env=variables, stdout=stream, stderr=stream) as process:
        try:
            wait_until(lambda: answers(gate, process, log))
            yield gate
        finally:
            process.terminate()
            process.wait(15)


def answers(gate: Gate, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text("utf-8")
    with contextlib.suppress(requests.ConnectionError):
        return gate.ask("/ping", {}).status_code == 200
    return False


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it took too long"
        time.sleep(0.05)


def log_in(gate: Gate, web: requests.Session, user: str) -> tuple[dict[str, str], requests.Response]:
    """Walk 302 -> authorize -> callback, and return the cookies and the callback's answer."""
    cookies: dict[str, str] = {}
    deep_link = f"https://{gate.host}/graph?g0.expr=up%20x&g0.tab=1&u=https://x.test//y;z"
    first = gate.ask("/", cookies, **{"X-Auth-Request-Redirect": deep_link})
    assert first.status_code == 302
    back = urlsplit(callback_of(web, first.headers["Location"], user))
    assert (back.hostname, back.path) == (gate.host, "/oauth2/callback")
    return cookies, gate.ask(f"{back.path}?{back.query}", cookies)


@proxy_binary
def test_oauth2_proxy_lets_a_member_in_with_the_deep_link(double: Double, web: requests.Session) -> None:
    with oauth2_proxy(double, double.secret("team-a")) as gate:
        cookies, callback = log_in(gate, web, "alice")
        assert callback.status_code == 302, callback.text
        assert callback.headers["Location"] == f"https://{gate.host}/graph?g0.expr=up%20x&g0.tab=1&u=https://x.test//y;z"
        answer = gate.ask("/", cookies)
        assert answer.status_code == 200
        assert answer.headers["X-Auth-Request-Email"] == "alice@gateway-auth.test"
        assert answer.headers["X-Auth-Request-Groups"].split(",") == [A_DEVELOPERS, A_ONCALL]
    asked = [entry["path"].removeprefix(f"/{TENANT}/") for entry in control(double, "GET", "/journal")[1]]
    assert asked[1:4] == ["oauth2/v2.0/authorize", "oauth2/v2.0/token", "discovery/v2.0/keys"]
    # It asks Graph's UserInfo at each sign-in, so a gateway's network policy has to allow that host too.
    assert set(asked[4:]) == {"/oidc/userinfo"}


@proxy_binary
def test_oauth2_proxy_sends_what_production_sends(double: Double) -> None:
    with oauth2_proxy(double, double.secret("team-a")) as gate:
        target = urlsplit(gate.ask("/", {}).headers["Location"])
        query = parse_qs(target.query)
        assert target.hostname == "login.microsoftonline.com"
        assert query["redirect_uri"] == [CALLBACK]
        assert query["code_challenge_method"] == ["S256"]
        assert query["nonce"]


@proxy_binary
@pytest.mark.parametrize("user", ["bob", "mallory"])
def test_oauth2_proxy_keeps_others_out(double: Double, web: requests.Session, user: str) -> None:
    with oauth2_proxy(double, double.secret("team-a")) as gate:
        cookies, callback = log_in(gate, web, user)
        assert callback.status_code == 403
        assert gate.ask("/", cookies).status_code == 302


@proxy_binary
def test_oauth2_proxy_sees_a_removed_member_at_the_next_refresh(double: Double, web: requests.Session) -> None:
    with oauth2_proxy(double, double.secret("team-a"), "--cookie-refresh=1s", "--cookie-expire=1h") as gate:
        cookies, _callback = log_in(gate, web, "alice")
        assert gate.ask("/", cookies).status_code == 200
        control(double, "PUT", "/users/alice/groups", ["team-b-developers"])
        wait_until(lambda: gate.ask("/", cookies).status_code == 403, 5)
    assert "refresh_token" in [entry["grant_type"] for entry in control(double, "GET", "/journal")[1]]


@dataclass
class ClusterKeys:
    """The signing keys of a cluster's service account tokens."""

    key: RSAKey

    async def fetch(self, issuer: str) -> KeySet:
        return KeySet([self.key])


@proxy_binary
def test_oauth2_proxy_with_a_federated_credential_and_no_secret(tmp_path: Path) -> None:
    key, issuer, subject = RSAKey.generate_key(2048), "https://oidc.example/cluster/", "system:serviceaccount:a:proxy"
    now = int(time.time())
    claims = {"iss": issuer, "sub": subject, "aud": ["api://AzureADTokenExchange"], "nbf": now, "exp": now + 600}
    token_file = tmp_path / "token"
    token_file.write_text(jwt.encode({"alg": "RS256"}, claims, key), "utf-8")
    with running_double(tmp_path, issuer_keys=ClusterKeys(key)) as double, requests.Session() as web:
        trust(web, double)
        trusted = [{"name": "proxy", "issuer": issuer, "subject": subject}]
        control(double, "PUT", "/apps/team-a", {"federated_credentials": trusted})
        environment = {"AZURE_FEDERATED_TOKEN_FILE": str(token_file)}
        with oauth2_proxy(double, "", "--entra-id-federated-token-auth=true", environment=environment) as gate:
            cookies, callback = log_in(gate, web, "alice")
            assert callback.status_code == 302, callback.text
            assert gate.ask("/", cookies).status_code == 200


@proxy_binary
def test_oauth2_proxy_with_a_wrong_secret_shows_the_code(double: Double, web: requests.Session) -> None:
    with oauth2_proxy(double, "wrong") as gate:
        _cookies, callback = log_in(gate, web, "alice")
        assert callback.status_code == 500
    assert control(double, "GET", "/journal")[1][-1]["aadsts"] == 7000215
    assert "AADSTS7000215" in double.log.with_name("oauth2-proxy.log").read_text("utf-8")
