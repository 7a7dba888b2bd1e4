# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which way to a token the environment asks for, and what all ways share."""

from __future__ import annotations

import base64
import json
import pathlib
import traceback
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _graph_auth
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphAuthError, TransportError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import (
    GraphEndpoint,
    choose_auth,
    make_token,
    read_token,
    refusal,
    request_token,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import Response

TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "aaaaaaaa-0000-4000-8000-00000000000a"
ENDPOINT = GraphEndpoint.for_cloud("global")
CANARY = "canary-5ecret"


def jwt(**claims: object) -> str:
    """A token with that payload and a signature nobody checks."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "none"}, claims)]
    return ".".join([*parts, CANARY])


@pytest.fixture(name="environ")
def _environ(tmp_path: pathlib.Path) -> dict[str, str]:
    """A machine with an az command, a client id and a federated token file that nothing names yet."""
    (tmp_path / "az").write_text("#!/bin/sh\n", "utf-8")
    (tmp_path / "az").chmod(0o755)
    (tmp_path / "token").write_text(jwt(sub="x"), "utf-8")
    return {"PATH": str(tmp_path), "AZURE_CLIENT_ID": CLIENT}


# --- endpoints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cloud", "url", "authority", "expected"),
    [
        ("global", "", "", ("https://graph.microsoft.com", "https://login.microsoftonline.com")),
        ("usgov", "", "", ("https://graph.microsoft.us", "https://login.microsoftonline.us")),
        ("usgov", "https://dod-graph.microsoft.us", "", ("https://dod-graph.microsoft.us", "https://login.microsoftonline.us")),
        ("china", "", "", ("https://microsoftgraph.chinacloudapi.cn", "https://login.partner.microsoftonline.cn")),
        ("global", "https://graph.example/", "https://login.example/", ("https://graph.example", "https://login.example")),
    ],
)
def test_endpoints(cloud: str, url: str, authority: str, expected: tuple[str, str]) -> None:
    endpoint = GraphEndpoint.for_cloud(cloud, url, authority)
    assert (endpoint.graph, endpoint.authority) == expected
    assert endpoint.scope == f"{expected[0]}/.default"
    assert endpoint.token_url(TENANT) == f"{expected[1]}/{TENANT}/oauth2/v2.0/token"


# --- the choice ------------------------------------------------------------------------------------------------------

SECRET = {"AZURE_CLIENT_SECRET": CANARY}
FEDERATED = {"AZURE_FEDERATED_TOKEN_FILE": "TOKEN"}
MANAGED = {"IDENTITY_ENDPOINT": "http://127.0.0.1:4141/msi/token", "IDENTITY_HEADER": CANARY}


@pytest.mark.parametrize(
    ("variables", "title"),
    [
        pytest.param({}, "az login", id="nothing"),
        pytest.param({"AZURE_CLIENT_SECRET": "", "AZURE_FEDERATED_TOKEN_FILE": "", "IDENTITY_ENDPOINT": ""}, "az login", id="empty variables"),
        pytest.param(SECRET, f"client secret of app {CLIENT}", id="a secret"),
        pytest.param({"AZURE_SECRET": CANARY}, f"client secret of app {CLIENT}", id="azcollection's secret"),
        pytest.param({**SECRET, "AZURE_SECRET": CANARY}, f"client secret of app {CLIENT}", id="both names, one value"),
        pytest.param(FEDERATED, f"federated token of app {CLIENT}", id="a token file"),
        pytest.param({**FEDERATED, **SECRET, **MANAGED}, f"client secret of app {CLIENT}", id="a secret comes first"),
        pytest.param({**FEDERATED, **MANAGED}, f"federated token of app {CLIENT}", id="a token file before a managed identity"),
        pytest.param(MANAGED, f"managed identity {CLIENT}", id="a managed identity"),
        pytest.param({"MSI_ENDPOINT": "http://localhost:50342"}, f"managed identity {CLIENT}", id="Cloud Shell"),
        pytest.param({"ANSIBLE_AZURE_AUTH_SOURCE": "msi", **SECRET}, f"managed identity {CLIENT}", id="source msi"),
        pytest.param({"ANSIBLE_AZURE_AUTH_SOURCE": "msi", "AZURE_CLIENT_ID": ""}, "managed identity", id="source msi, the machine's own"),
        pytest.param({"ANSIBLE_AZURE_AUTH_SOURCE": "cli", **SECRET}, "az login", id="source cli"),
        pytest.param({"ANSIBLE_AZURE_AUTH_SOURCE": "env", **FEDERATED, **MANAGED}, f"federated token of app {CLIENT}", id="source env"),
        pytest.param({"ANSIBLE_AZURE_AUTH_SOURCE": "AUTO"}, "az login", id="source auto, in capitals"),
    ],
)
def test_choice(variables: dict[str, str], title: str, environ: dict[str, str]) -> None:
    environ |= {name: value.replace("TOKEN", f"{environ['PATH']}/token") for name, value in variables.items()}
    method = choose_auth(environ, ENDPOINT, TENANT)
    assert method.title == title
    assert CANARY not in repr(method)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        pytest.param(
            {"AZURE_TENANT_ID": "other-tenant", **SECRET}, ["AZURE_TENANT_ID is other-tenant", f"gateway_auth_tenant_id is {TENANT}"], id="another tenant"
        ),
        pytest.param({"AZURE_TENANT": "other-tenant"}, ["AZURE_TENANT is other-tenant", TENANT], id="another tenant, azcollection's name"),
        pytest.param(
            {"AZURE_AUTHORITY_HOST": "login.microsoftonline.us"},
            ["AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us", "https://login.microsoftonline.com", "cloud"],
            id="another cloud",
        ),
        pytest.param({**SECRET, "AZURE_SECRET": f"{CANARY}-2"}, ["AZURE_CLIENT_SECRET", "AZURE_SECRET", "differ"], id="two secrets"),
        pytest.param({**SECRET, "AZURE_CLIENT_ID": ""}, ["AZURE_CLIENT_ID"], id="a secret without client id"),
        pytest.param({**FEDERATED, "AZURE_CLIENT_ID": ""}, ["AZURE_CLIENT_ID"], id="a token file without client id"),
        pytest.param({"ANSIBLE_AZURE_AUTH_SOURCE": "env"}, ["AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"], id="source env, nothing there"),
        pytest.param({"ANSIBLE_AZURE_AUTH_SOURCE": "credential_file"}, ["ANSIBLE_AZURE_AUTH_SOURCE", "credential_file", "msi"], id="a source we don't know"),
        pytest.param({"PATH": "/nowhere"}, ["AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE", "ANSIBLE_AZURE_AUTH_SOURCE", "az"], id="nothing, no az"),
    ],
)
def test_a_bad_choice_names_what_to_change(variables: dict[str, str], words: list[str], environ: dict[str, str]) -> None:
    environ |= {name: value.replace("TOKEN", f"{environ['PATH']}/token") for name, value in variables.items()}
    with pytest.raises(GraphAuthError) as caught:
        choose_auth(environ, ENDPOINT, TENANT)
    for word in words:
        assert word in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.retry_after is None


@pytest.mark.parametrize("host", ["https://login.microsoftonline.com/", "login.microsoftonline.com", "https://LOGIN.microsoftonline.com"])
def test_the_same_tenant_and_cloud_are_no_contradiction(host: str, environ: dict[str, str]) -> None:
    tenant = "abcdef00-1111-4111-8111-111111111111"
    environ |= {"AZURE_TENANT_ID": tenant.upper(), "AZURE_TENANT": tenant, "AZURE_AUTHORITY_HOST": host}
    assert choose_auth(environ, ENDPOINT, tenant).title == "az login"


# --- answers of a token endpoint -------------------------------------------------------------------------------------


def at(now: float) -> _graph_auth.Clock:
    return lambda: now


def test_a_token_tells_roles_and_principal() -> None:
    value = jwt(tid=TENANT, oid="our-principal", roles=["Application.ReadWrite.OwnedBy", "Directory.Read.All"])
    token = read_token(json.dumps({"access_token": value, "expires_in": 3599}).encode(), "url", TENANT, at(100.0))
    assert (token.value, token.expires_at, token.principal_id, token.delegated) == (value, 3699.0, "our-principal", False)
    assert token.roles == {"Application.ReadWrite.OwnedBy", "Directory.Read.All"}
    assert CANARY not in repr(token)


def test_a_user_s_token_tells_scopes() -> None:
    token = make_token(jwt(tid=TENANT, oid="a-user", scp="Application.ReadWrite.All User.Read"), 60.0, TENANT, at(0.0))
    assert (token.delegated, token.roles) == (True, {"Application.ReadWrite.All", "User.Read"})


@pytest.mark.parametrize("value", ["opaque", "a.b", "a.!.c", "a.YWJj.c", "a.W10.c", jwt(roles="odd", oid=None)])
def test_an_opaque_token_is_a_token(value: str) -> None:
    token = make_token(value, 60.0, TENANT, at(0.0))
    assert (token.value, token.roles, token.principal_id) == (value, frozenset(), "")


def test_a_token_of_another_tenant_is_refused() -> None:
    with pytest.raises(GraphAuthError, match=f"other-tenant.*{TENANT}"):
        make_token(jwt(tid="other-tenant"), 60.0, TENANT, at(0.0))


@pytest.mark.parametrize(
    ("answer", "lifetime"),
    [
        pytest.param({"expires_in": "3599"}, 3599.0, id="a text"),
        pytest.param({"expires_on": "5000"}, 4000.0, id="a time of day"),
        pytest.param({"expires_on": "06/20/2019 02:57:58 +00:00", "access_token": jwt(exp=3000)}, 2000.0, id="an odd date, the token knows"),
        pytest.param({"access_token": jwt(exp=3000)}, 2000.0, id="the token alone knows"),
        pytest.param({}, 600.0, id="nobody knows"),
    ],
)
def test_how_long_a_token_lasts(answer: dict[str, t.Any], lifetime: float) -> None:
    document = {"access_token": "opaque", **answer}
    assert read_token(json.dumps(document).encode(), "url", TENANT, at(100.0), at(1000.0)).expires_at == 100.0 + lifetime


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"access_token": ""}', b'{"access_token": 1}', f'{{"id_token": "{CANARY}"'.encode()])
def test_success_without_a_token(body: bytes) -> None:
    with pytest.raises(GraphAuthError, match="without an access token") as caught:
        read_token(body, "https://login.example/token", TENANT, at(0.0))
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def sts(code: int, status: int = 401, text: str = "Some text.", **headers: str) -> Response:
    document = {
        "error": "invalid_client",
        "error_description": f"AADSTS{code}: {text} Trace ID: t Correlation ID: c",
        "error_codes": [code],
        "trace_id": "a-trace",
    }
    return Response(status, headers, json.dumps(document).encode())


@pytest.mark.parametrize(("code", "remedy"), [pytest.param(code, text, id=f"AADSTS{code}") for code, text in _graph_auth.REMEDIES.items()])
def test_each_known_refusal_has_its_remedy(code: int, remedy: str) -> None:
    error = refusal(sts(code), "https://login.example/token", "client secret of app x")
    assert (error.code, error.status, error.request_id, error.remedy, error.retry_after) == (str(code), 401, "a-trace", remedy, None)
    for part in ("client secret of app x", f"AADSTS{code}: Some text", "401", "a-trace", "https://login.example/token"):
        assert part in error.message
    assert error.message.count("AADSTS") == 1
    assert "Correlation" not in error.message


@pytest.mark.parametrize(
    ("response", "code", "said"),
    [
        pytest.param(
            Response(400, {}, b'{"error": "invalid_request", "error_description": "AADSTS90002: Tenant not found."}'),
            "90002",
            "AADSTS90002",
            id="number in the text alone",
        ),
        pytest.param(Response(400, {}, b'{"error": "x", "error_codes": [7000215]}'), "7000215", "AADSTS7000215", id="number alone"),
        pytest.param(Response(400, {}, b'{"error": "invalid_request"}'), "invalid_request", "invalid_request", id="a word"),
        pytest.param(Response(502, {}, b"<html>"), "", "no explanation", id="a proxy's page"),
        pytest.param(Response(302, {"location": "https://portal.example"}, b""), "", "302", id="a captive portal"),
    ],
)
def test_refusals_of_other_shapes(response: Response, code: str, said: str) -> None:
    error = refusal(response, "url", "x")
    assert error.code == code
    assert said in error.message


@pytest.mark.parametrize(
    ("response", "again"),
    [
        (sts(90033, 503, **{"retry-after": "7"}), 7.0),
        (Response(429, {"retry-after": "3"}, b""), 3.0),
        (Response(500, {}, b""), 0.0),
        (Response(400, {"retry-after": "3"}, b""), None),
        (sts(7000215), None),
    ],
)
def test_what_may_be_asked_again(response: Response, again: float | None) -> None:
    assert refusal(response, "url", "x").retry_after == again


@pytest.mark.parametrize(("lasting", "again"), [(False, 0.0), (True, None)])
def test_no_answer_may_be_asked_again(lasting: bool, again: float | None) -> None:
    def lost(*_request: object) -> Response:
        raise TransportError("The connection was cut.", "Mend it.", sent=True, lasting=lasting)

    with pytest.raises(GraphAuthError, match="The connection was cut") as caught:
        request_token(ENDPOINT, TENANT, {"client_id": CLIENT, "client_secret": CANARY}, "client secret", lost, at(0.0))
    assert (caught.value.retry_after, caught.value.remedy) == (again, "Mend it.")


@pytest.mark.parametrize("field", ["client_secret", "client_assertion"])
@pytest.mark.parametrize("secret", [CANARY, f"{CANARY}~+/=&", "ü%-canary-5ecret"])
def test_an_echoed_secret_is_blotted_out(field: str, secret: str) -> None:
    def parrot(_method: str, _url: str, _headers: dict[str, str], body: bytes | None, _timeout: float, /) -> Response:
        return sts(9002313, 400, f"You sent {secret}, or {(body or b'').decode()}.")

    with pytest.raises(GraphAuthError, match="AADSTS9002313") as caught:
        request_token(ENDPOINT, TENANT, {"client_id": CLIENT, field: secret}, "x", parrot, at(0.0))
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


@pytest.mark.parametrize("padding", range(370, 400))
def test_a_secret_that_is_echoed_late_is_not_cut_in_half(padding: int) -> None:
    with pytest.raises(GraphAuthError) as caught:
        request_token(
            ENDPOINT, TENANT, {"client_id": CLIENT, "client_secret": CANARY}, "x", lambda *_request: sts(9002313, 400, "x" * padding + CANARY), at(0.0)
        )
    assert CANARY[:6] not in str(caught.value)
