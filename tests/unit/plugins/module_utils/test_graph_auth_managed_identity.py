# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens of the machine's managed identity: what each kind of endpoint is asked, and what it may answer."""

from __future__ import annotations

import json
import traceback
import urllib.parse

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import GraphEndpoint
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth_managed_identity import ManagedIdentityAuth
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import Response

TENANT = "11111111-1111-4111-8111-111111111111"
ENDPOINT = GraphEndpoint.for_cloud("global")
CANARY = "canary-5ecret"
APP_SERVICE = {"IDENTITY_ENDPOINT": "http://127.0.0.1:4141/msi/token", "IDENTITY_HEADER": CANARY}
OLD_APP_SERVICE = {"MSI_ENDPOINT": "http://127.0.0.1:4141/msi/token", "MSI_SECRET": CANARY}
CLOUD_SHELL = {"MSI_ENDPOINT": "http://localhost:50342/oauth2/token"}
MACHINES = [
    pytest.param({}, id="virtual machine"),
    pytest.param(APP_SERVICE, id="app service"),
    pytest.param(OLD_APP_SERVICE, id="old app service"),
    pytest.param(CLOUD_SHELL, id="cloud shell"),
]


class Endpoint:
    def __init__(self, response: Response) -> None:
        self._response = response
        self.request: tuple[str, str, dict[str, str], bytes | None] = ("", "", {}, None)

    def __call__(self, method: str, url: str, headers: dict[str, str], body: bytes | None, timeout: float, /) -> Response:
        self.request = (method, url, headers, body)
        return self._response


def auth(environ: dict[str, str], client_id: str = "") -> ManagedIdentityAuth:
    return ManagedIdentityAuth(ENDPOINT, TENANT, client_id, environ, now=lambda: 1000.0)


@pytest.mark.parametrize(
    ("environ", "url", "headers", "version", "client"),
    [
        pytest.param({}, "http://169.254.169.254/metadata/identity/oauth2/token", {"Metadata": "true"}, "2018-02-01", "client_id", id="virtual machine"),
        pytest.param(APP_SERVICE, APP_SERVICE["IDENTITY_ENDPOINT"], {"X-IDENTITY-HEADER": CANARY}, "2019-08-01", "client_id", id="app service"),
        pytest.param(OLD_APP_SERVICE, OLD_APP_SERVICE["MSI_ENDPOINT"], {"secret": CANARY}, "2017-09-01", "clientid", id="old app service"),
    ],
)
@pytest.mark.parametrize("client_id", ["", "an-identity"])
def test_what_is_asked(environ: dict[str, str], url: str, headers: dict[str, str], version: str, client: str, client_id: str) -> None:
    endpoint = Endpoint(Response(200, {}, b'{"access_token": "opaque", "expires_in": "600"}'))
    assert auth(environ, client_id).token(endpoint, lambda: 5.0).expires_at == 605.0
    method, asked, sent, body = endpoint.request
    parts = urllib.parse.urlsplit(asked)
    assert (method, asked.partition("?")[0], sent, body) == ("GET", url, headers, None)
    expected = {"api-version": version, "resource": "https://graph.microsoft.com"} | ({client: client_id} if client_id else {})
    assert dict(urllib.parse.parse_qsl(parts.query)) == expected


def test_what_cloud_shell_is_asked() -> None:
    endpoint = Endpoint(Response(200, {}, b'{"access_token": "opaque", "expires_on": "1300"}'))
    assert auth(CLOUD_SHELL).token(endpoint, lambda: 5.0).expires_at == 305.0
    method, url, headers, body = endpoint.request
    assert (method, url, headers["Metadata"], body) == ("POST", CLOUD_SHELL["MSI_ENDPOINT"], "true", b"resource=https%3A%2F%2Fgraph.microsoft.com")


@pytest.mark.parametrize("environ", MACHINES)
def test_a_machine_without_that_identity(environ: dict[str, str]) -> None:
    document = {"error": "invalid_request", "error_description": f"Identity not found ({CANARY})"}
    with pytest.raises(GraphAuthError, match="Identity not found") as caught:
        auth(environ, "an-identity").token(Endpoint(Response(400, {}, json.dumps(document).encode())), lambda: 0.0)
    assert "AZURE_CLIENT_ID" in caught.value.remedy
    assert "managed identity an-identity" in caught.value.message
    assert caught.value.retry_after is None
    if environ not in ({}, CLOUD_SHELL):
        assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("environ", "status", "again"),
    [({}, 404, 0.0), ({}, 410, 0.0), ({}, 429, 0.0), ({}, 500, 0.0), ({}, 400, None), (APP_SERVICE, 404, None), (APP_SERVICE, 503, 0.0)],
)
def test_what_may_be_asked_again(environ: dict[str, str], status: int, again: float | None) -> None:
    with pytest.raises(GraphAuthError) as caught:
        auth(environ).token(Endpoint(Response(status, {}, b"")), lambda: 0.0)
    assert caught.value.retry_after == again


@pytest.mark.parametrize("environ", MACHINES)
def test_complete_settings_are_valid(environ: dict[str, str]) -> None:
    auth(environ).validate()
    assert CANARY not in repr(auth(environ))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"IDENTITY_ENDPOINT": "http://127.0.0.1/"}, ["IDENTITY_HEADER"]),
        ({"IDENTITY_ENDPOINT": "http://127.0.0.1/", "IMDS_ENDPOINT": "http://127.0.0.1/"}, ["Azure Arc"]),
        ({"MSI_ENDPOINT": "nonsense"}, ["MSI_ENDPOINT", "nonsense"]),
    ],
)
def test_settings_that_cannot_be(environ: dict[str, str], words: list[str]) -> None:
    with pytest.raises(GraphAuthError) as caught:
        auth(environ).validate()
    for word in words:
        assert word in str(caught.value)
