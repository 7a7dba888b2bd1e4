# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double of Key Vault and Resource Manager is as strict as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.sandbox.azure.service import Azure, Version
from tests.sandbox.azure.testkit import CLUSTER, GROUP, ISSUER, SUBSCRIPTION, VAULT, running_azure
from tests.sandbox.entra.graphkit import AUTOMATION, session
from tests.sandbox.entra.testkit import Double
from tests.sandbox.entra.walk import TOKEN

VAULT_URL = f"https://{VAULT}.vault.azure.net"
ARM = "https://management.azure.com"
PATH = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.ContainerService/managedClusters"
VERSION = {"api-version": "7.5"}
DATED = {"api-version": "2024-08-01"}


@pytest.fixture(name="both", scope="module")
def _both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Double, Azure]]:
    with running_azure(tmp_path_factory.mktemp("azure")) as running:
        yield running


class Client:
    def __init__(self, double: Double) -> None:
        self.web = session(double)
        self._secret = double.secret("automation")

    def token(self, resource: str) -> str:
        form = {"grant_type": "client_credentials", "client_id": AUTOMATION, "client_secret": self._secret, "scope": f"{resource}/.default"}
        answer = self.web.post(TOKEN, data=form, timeout=15)
        return str(answer.json()["access_token"])

    def send(self, method: str, url: str, resource: str = "", **given: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token(resource)}"} if resource else {}
        return self.web.request(method, url, headers={**headers, **given.pop("headers", {})}, timeout=15, **given)


@pytest.fixture(name="client")
def _client(both: tuple[Double, Azure]) -> Iterator[Client]:
    client = Client(both[0])
    yield client
    client.web.close()


def code(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_secret_and_its_versions(both: tuple[Double, Azure], client: Client) -> None:
    url = f"{VAULT_URL}/secrets/one"
    assert code(client.send("GET", url, VAULT_URL[:8] + "vault.azure.net", params=VERSION)) == (404, "SecretNotFound")
    bodies = [{"value": "1"}, {"value": "2", "tags": {"a": "b"}, "contentType": "text/plain", "attributes": {"exp": 2000000000}}]
    made = [client.send("PUT", url, "https://vault.azure.net", params=VERSION, json=body).json() for body in bodies]
    assert len({each["id"] for each in made}) == 2
    newest = client.send("GET", f"{url}/", "https://vault.azure.net", params=VERSION).json()
    assert (newest["value"], newest["tags"], newest["contentType"], newest["attributes"]["exp"]) == ("2", {"a": "b"}, "text/plain", 2000000000)
    oldest = client.send("GET", made[0]["id"], "https://vault.azure.net", params=VERSION).json()
    assert oldest["value"] == "1" and "tags" not in oldest
    assert both[1].journal[-1].path.startswith("/secrets/one/")


def test_the_challenge_names_authority_and_resource(client: Client) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        answer = client.send("GET", f"{VAULT_URL}/secrets/one", params=VERSION, headers=headers)
        assert code(answer) == (401, "Unauthorized")
        assert 'authorization="https://login.microsoftonline.com/' in answer.headers["WWW-Authenticate"]
        assert 'resource="https://vault.azure.net"' in answer.headers["WWW-Authenticate"]
    for resource in ("https://graph.microsoft.com", ARM):
        answer = client.send("GET", f"{VAULT_URL}/secrets/one", resource, params=VERSION)
        assert code(answer) == (401, "Unauthorized") and "audience" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "given", "wanted"),
    [
        pytest.param("GET", "/secrets/one", {}, (400, "BadParameter"), id="no version"),
        pytest.param("GET", "/secrets/one", {"params": {"api-version": "1"}}, (400, "BadParameter"), id="no such version"),
        pytest.param("GET", "/secrets/a_b", {"params": VERSION}, (404, "NotFound"), id="no such name"),
        pytest.param("GET", "/keys/one", {"params": VERSION}, (404, "NotFound"), id="no such kind"),
        pytest.param("DELETE", "/secrets/one", {"params": VERSION}, (405, "MethodNotAllowed"), id="no such method"),
        pytest.param("GET", "/deletedsecrets/one", {"params": VERSION}, (404, "SecretNotFound"), id="not deleted"),
        pytest.param("PUT", "/secrets/one", {"params": VERSION, "json": {"value": "1", "more": 1}}, (400, "BadParameter"), id="unknown property"),
        pytest.param("PUT", "/secrets/one", {"params": VERSION, "json": {"tags": {}}}, (400, "BadParameter"), id="no value"),
        pytest.param("PUT", "/secrets/one", {"params": VERSION, "json": {"value": "1", "tags": {"a": 1}}}, (400, "BadParameter"), id="tag of no text"),
        pytest.param("PUT", "/secrets/one", {"params": VERSION, "json": {"value": "1", "attributes": {"x": 1}}}, (400, "BadParameter"), id="attribute"),
        pytest.param("PUT", "/secrets/one", {"params": VERSION, "json": [1]}, (400, "BadParameter"), id="no object"),
        pytest.param("PUT", "/secrets/one", {"params": VERSION, "data": "x=1"}, (415, "UnsupportedMediaType"), id="no JSON"),
    ],
)
def test_what_key_vault_refuses(client: Client, method: str, path: str, given: dict[str, Any], wanted: tuple[int, str]) -> None:
    assert code(client.send(method, VAULT_URL + path, "https://vault.azure.net", **given)) == wanted


def test_permissions_and_states_of_a_secret(both: tuple[Double, Azure], client: Client) -> None:
    vault = both[1].vault(VAULT)
    vault.secrets["off"] = [Version("x", enabled=False)]
    vault.deleted["gone"] = [Version("x")]
    answer = client.send("GET", f"{VAULT_URL}/secrets/off", "https://vault.azure.net", params=VERSION)
    assert code(answer) == (403, "Forbidden") and answer.json()["error"]["innererror"]["code"] == "SecretDisabled"
    gone = client.send("GET", f"{VAULT_URL}/deletedsecrets/gone", "https://vault.azure.net", params=VERSION).json()
    assert gone["recoveryId"].endswith("/deletedsecrets/gone") and "value" not in gone
    answer = client.send("PUT", f"{VAULT_URL}/secrets/gone", "https://vault.azure.net", params=VERSION, json={"value": "1"})
    assert code(answer) == (409, "Conflict") and "recoverable" in answer.text
    vault.permissions[AUTOMATION] = set()
    for method, body in (("GET", None), ("PUT", {"value": "1"})):
        answer = client.send(method, f"{VAULT_URL}/secrets/off", "https://vault.azure.net", params=VERSION, json=body)
        assert code(answer) == (403, "Forbidden") and f"appid={AUTOMATION}" in answer.text
    vault.permissions[AUTOMATION] = {"get", "set"}


def test_a_cluster(both: tuple[Double, Azure], client: Client) -> None:
    found = client.send("GET", f"{ARM}{PATH}/{CLUSTER}", ARM, params=DATED).json()
    assert found["properties"]["oidcIssuerProfile"] == {"enabled": True, "issuerURL": ISSUER} and found["location"]
    listed = client.send("GET", f"{ARM}/subscriptions", ARM, params=DATED).json()["value"]
    assert [item["subscriptionId"] for item in listed] == [SUBSCRIPTION]
    both[1].readers.clear()
    assert code(client.send("GET", f"{ARM}{PATH}/{CLUSTER}", ARM, params=DATED)) == (403, "AuthorizationFailed")
    assert client.send("GET", f"{ARM}/subscriptions", ARM, params=DATED).json() == {"value": []}
    both[1].readers.add(AUTOMATION)


@pytest.mark.parametrize(
    ("method", "path", "resource", "params", "wanted"),
    [
        pytest.param("GET", f"{PATH}/{CLUSTER}", "", DATED, (401, "InvalidAuthenticationToken"), id="no token"),
        pytest.param("GET", f"{PATH}/{CLUSTER}", "https://vault.azure.net", DATED, (401, "InvalidAuthenticationToken"), id="audience"),
        pytest.param("GET", f"{PATH}/{CLUSTER}", ARM, {}, (400, "MissingApiVersionParameter"), id="no version"),
        pytest.param("PUT", f"{PATH}/{CLUSTER}", ARM, DATED, (405, "MethodNotAllowed"), id="write"),
        pytest.param("GET", f"{PATH}/none", ARM, DATED, (404, "ResourceNotFound"), id="no cluster"),
        pytest.param("GET", f"{PATH}/{CLUSTER}".replace(GROUP, "rg"), ARM, DATED, (404, "ResourceGroupNotFound"), id="no group"),
        pytest.param("GET", f"{PATH}/{CLUSTER}".replace("2", "4"), ARM, DATED, (404, "SubscriptionNotFound"), id="no subscription"),
        pytest.param("GET", "/providers", ARM, DATED, (404, "NotFound"), id="no such path"),
    ],
)
def test_what_resource_manager_refuses(client: Client, method: str, path: str, resource: str, params: dict[str, str], wanted: tuple[int, str]) -> None:
    assert code(client.send(method, ARM + path, resource, params=params)) == wanted


def test_hosts_that_there_are_not(both: tuple[Double, Azure], client: Client) -> None:
    with pytest.raises(requests.exceptions.ProxyError):
        client.send("GET", "https://nowhere.vault.azure.net/secrets/one")


def test_both_end_with_the_block(tmp_path: Path) -> None:
    with running_azure(tmp_path) as (double, azure):
        assert set(azure.hosts) <= set(double.routes)
    assert not set(azure.hosts) & set(double.routes)
