# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets and federated identity credentials through Graph, and that the token endpoint takes or refuses them at once."""

from __future__ import annotations

import datetime
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from tests.sandbox.entra.clientauth import ASSERTION_TYPE
from tests.sandbox.entra.graphkit import UPSERT, GraphClient, permit, session
from tests.sandbox.entra.testkit import Double, control, running_double
from tests.sandbox.entra.walk import TOKEN

SCOPE = "https://graph.microsoft.com/.default"
ISSUER = "https://oidc.example/cluster/"
SUBJECT = "system:serviceaccount:monitoring-team-a:oauth2-proxy"
AUDIENCE = "api://AzureADTokenExchange"
TRUST: dict[str, Any] = {"name": "proxy", "issuer": ISSUER, "subject": SUBJECT, "audiences": [AUDIENCE]}
DAY = 86400


def token_codes(tenant: Double, client_id: str, **proof: str) -> list[int]:
    """Ask for a token and return the AADSTS codes; none means a token."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "scope": SCOPE, **proof}
    with session(tenant) as web:
        codes: list[int] = web.post(TOKEN, data=form, timeout=15).json().get("error_codes", [])
    return codes


@pytest.fixture(name="app")
def _app(graph: GraphClient) -> dict[str, Any]:
    app = graph.new_application("credentials")
    graph.post("/servicePrincipals", {"appId": app["appId"]})
    return app


def at(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(time.time() + seconds, tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


# --- secrets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["/applications/{id}", "/applications(appId='{appId}')"])
def test_a_secret_is_shown_once_and_works_at_once(tenant: Double, graph: GraphClient, app: dict[str, Any], form: str) -> None:
    path = form.format_map(app)
    made = graph.post(f"{path}/addPassword", {"passwordCredential": {"displayName": "current"}}, 200)
    assert (made["displayName"], made["hint"], len(made["secretText"])) == ("current", made["secretText"][:3], 40)
    assert seconds(made["endDateTime"]) - seconds(made["startDateTime"]) == 730 * DAY
    assert token_codes(tenant, app["appId"], client_secret=made["secretText"]) == []
    [shown] = graph.get(path)["passwordCredentials"]
    assert shown == {name: None if name == "secretText" else value for name, value in made.items() if not name.startswith("@")}
    graph.post(f"{path}/removePassword", {"keyId": made["keyId"]}, 204)
    assert token_codes(tenant, app["appId"], client_secret=made["secretText"]) == [7000215]
    assert graph.get(path)["passwordCredentials"] == []


def test_two_secrets_overlap(tenant: Double, graph: GraphClient, app: dict[str, Any]) -> None:
    path = f"/applications/{app['id']}"
    old, new = (graph.post(f"{path}/addPassword", {}, 200) for _ in range(2))
    assert [token_codes(tenant, app["appId"], client_secret=each["secretText"]) for each in (old, new)] == [[], []]
    graph.post(f"{path}/removePassword", {"keyId": old["keyId"].upper()}, 204)
    assert [token_codes(tenant, app["appId"], client_secret=each["secretText"]) for each in (old, new)] == [[7000215], []]


def test_a_secret_ends_when_it_was_asked_to(own_tenant: Double, own_graph: GraphClient) -> None:
    app = own_graph.new_application("ends")
    own_graph.post("/servicePrincipals", {"appId": app["appId"]})
    wanted = {"passwordCredential": {"startDateTime": at(0), "endDateTime": at(DAY), "@odata.type": "#microsoft.graph.passwordCredential"}}
    made = own_graph.post(f"/applications/{app['id']}/addPassword", wanted, 200)
    assert seconds(made["endDateTime"]) == seconds(wanted["passwordCredential"]["endDateTime"])
    assert token_codes(own_tenant, app["appId"], client_secret=made["secretText"]) == []
    own_tenant.clock.ahead = DAY + 1
    assert token_codes(own_tenant, app["appId"], client_secret=made["secretText"]) == [7000222]


BAD_SECRETS = [
    pytest.param({"passwordCredential": {"secretText": "my own"}}, "read-only", id="value-given"),
    pytest.param({"passwordCredential": {"keyId": str(uuid.UUID(int=1))}}, "read-only", id="key-id-given"),
    pytest.param({"passwordCredential": {"nothing": 1}}, "does not exist on type", id="unknown-property"),
    pytest.param({"passwordCredential": []}, "passwordCredential", id="not-an-object"),
    pytest.param({"displayName": "x"}, "passwordCredential", id="not-wrapped"),
    pytest.param({"passwordCredential": {"displayName": 1}}, "displayName", id="name-a-number"),
    pytest.param({"passwordCredential": {"endDateTime": "tomorrow"}}, "endDateTime", id="end-no-time"),
    pytest.param({"passwordCredential": {"endDateTime": "2027-02-30T00:00:00Z"}}, "endDateTime", id="end-no-day"),
    pytest.param({"passwordCredential": {"endDateTime": "2020-01-01T00:00:00Z"}}, "end date", id="end-past"),
    pytest.param({"passwordCredential": {"startDateTime": "2030-01-01T00:00:00Z", "endDateTime": "2029-01-01T00:00:00Z"}}, "end date", id="end-before-start"),
]


@pytest.mark.parametrize(("body", "text"), BAD_SECRETS)
def test_secrets_graph_does_not_make(graph: GraphClient, app: dict[str, Any], body: dict[str, Any], text: str) -> None:
    answer = graph.send("POST", f"/applications/{app['id']}/addPassword", body)
    assert (answer.status_code, text in answer.text) == (400, True), answer.text
    assert graph.get(f"/applications/{app['id']}")["passwordCredentials"] == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param({"keyId": str(uuid.UUID(int=1))}, "No password credential found with keyId", id="unknown"),
        pytest.param({"keyId": "x"}, "keyId", id="not-a-guid"),
        pytest.param({}, "keyId", id="missing"),
        pytest.param({"keyId": str(uuid.UUID(int=1)), "more": 1}, "keyId", id="more"),
    ],
)
def test_secrets_graph_does_not_remove(graph: GraphClient, app: dict[str, Any], body: dict[str, Any], text: str) -> None:
    answer = graph.send("POST", f"/applications/{app['id']}/removePassword", body)
    assert (answer.status_code, text in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("policy", "lifetime", "code"),
    [
        pytest.param({"allowed": False}, 1, "CredentialTypeNotAllowedAsPerAppPolicy", id="no-secrets"),
        pytest.param({"allowed": True, "max_lifetime": 90 * DAY}, 91, "CredentialInvalidLifetimeAsPerAppPolicy", id="too-long"),
        pytest.param({"allowed": True, "max_lifetime": 90 * DAY}, 90, None, id="as-long-as-allowed"),
        pytest.param({"allowed": True, "max_lifetime": None}, 700, None, id="no-limit"),
    ],
)
def test_the_tenants_policy_on_secrets(
    tenant: Double, graph: GraphClient, app: dict[str, Any], policy: dict[str, Any], lifetime: int, code: str | None
) -> None:
    assert control(tenant, "PUT", "/tenant", {"secret_policy": policy})[0] == 200
    try:
        answer = graph.send("POST", f"/applications/{app['id']}/addPassword", {"passwordCredential": {"endDateTime": at(lifetime * DAY)}})
        assert answer.json().get("error", {}).get("code") == code
        assert answer.status_code == (200 if code is None else 400)
    finally:
        control(tenant, "PUT", "/tenant", {"secret_policy": {"allowed": True}})


# --- federated identity credentials ------------------------------------------------------------------------------------


@pytest.fixture(name="trusts")
def _trusts(app: dict[str, Any]) -> str:
    return f"/applications/{app['id']}/federatedIdentityCredentials"


def test_federated_credential_created_read_changed_and_deleted(graph: GraphClient, app: dict[str, Any], trusts: str) -> None:
    made = graph.post(trusts, {**TRUST, "description": "d"})
    assert {name: value for name, value in made.items() if not name.startswith("@")} == {**TRUST, "description": "d", "id": made["id"]}
    for path in (
        f"{trusts}/{made['id']}",
        f"{trusts}(name='proxy')",
        f"{trusts}/proxy",
        f"/applications(appId='{app['appId']}')/federatedIdentityCredentials/{made['id']}",
    ):
        assert graph.get(path)["id"] == made["id"]
    graph.patch(f"{trusts}/{made['id']}", {"subject": "other"})
    graph.patch(f"{trusts}(name='proxy')", {"description": None})
    assert graph.get(trusts)["value"] == [{**TRUST, "subject": "other", "description": None, "id": made["id"]}]
    graph.delete(f"{trusts}(name='proxy')")
    assert graph.get(trusts)["value"] == []
    assert graph.send("DELETE", f"{trusts}/{made['id']}").status_code == 404


def test_federated_upsert_by_name(graph: GraphClient, trusts: str) -> None:
    body = {name: value for name, value in TRUST.items() if name != "name"}
    path = f"{trusts}(name='proxy')"
    assert graph.send("PATCH", path, body).status_code == 404
    assert graph.patch(path, body, UPSERT, 201)["name"] == "proxy"
    assert graph.patch(path, {**body, "subject": "other"}, UPSERT) is None
    assert [each["subject"] for each in graph.get(trusts)["value"]] == ["other"]


BAD_TRUSTS = [
    pytest.param({"name": None}, 400, "name", id="name-null"),
    pytest.param({"name": "a b"}, 400, "name", id="name-not-url-friendly"),
    pytest.param({"name": "x" * 121}, 400, "name", id="name-121"),
    pytest.param({"issuer": ""}, 400, "issuer", id="issuer-empty"),
    pytest.param({"issuer": "x" * 601}, 400, "issuer", id="issuer-601"),
    pytest.param({"subject": None}, 400, "subject", id="subject-null"),
    pytest.param({"audiences": []}, 400, "audiences", id="no-audience"),
    pytest.param({"audiences": [AUDIENCE, "b"]}, 400, "audiences", id="two-audiences"),
    pytest.param({"audiences": AUDIENCE}, 400, "audiences", id="audiences-a-text"),
    pytest.param({"audience": AUDIENCE}, 400, "does not exist on type", id="unknown-property"),
    pytest.param({"id": str(uuid.UUID(int=1))}, 400, "read-only", id="id"),
    pytest.param({"name": "taken"}, 409, "FederatedIdentityCredential with name taken already exists", id="name-taken"),
    pytest.param({"issuer": "https://taken/"}, 400, "combination of issuer and subject must be unique", id="issuer-and-subject-taken"),
]


@pytest.mark.parametrize(("change", "status", "text"), BAD_TRUSTS)
def test_federated_credentials_graph_refuses(graph: GraphClient, trusts: str, change: dict[str, Any], status: int, text: str) -> None:
    graph.post(trusts, {**TRUST, "name": "taken", "issuer": "https://taken/"})
    answer = graph.send("POST", trusts, {**TRUST, **change})
    assert (answer.status_code, text in answer.text) == (status, True), answer.text
    assert len(graph.get(trusts)["value"]) == 1


@pytest.mark.parametrize("missing", ["name", "issuer", "subject", "audiences"])
def test_federated_credentials_need_all_of(graph: GraphClient, trusts: str, missing: str) -> None:
    answer = graph.send("POST", trusts, {name: value for name, value in TRUST.items() if name != missing})
    assert (answer.status_code, missing in answer.text) == (400, True)


def test_federated_names_never_change(graph: GraphClient, trusts: str) -> None:
    graph.post(trusts, TRUST)
    for headers in ({}, UPSERT):
        assert graph.send("PATCH", f"{trusts}(name='proxy')", {"name": "other"}, headers).status_code == 400
    graph.patch(f"{trusts}(name='proxy')", {"name": "proxy"})


def test_federated_change_to_what_another_has(graph: GraphClient, trusts: str) -> None:
    graph.post(trusts, TRUST)
    graph.post(trusts, {**TRUST, "name": "second", "subject": "second"})
    answer = graph.send("PATCH", f"{trusts}(name='second')", {"subject": SUBJECT})
    assert answer.json()["error"]["code"] == "InvalidFederatedIdentityCredentialValue"


def test_twenty_federated_credentials_at_most(graph: GraphClient, trusts: str) -> None:
    for number in range(20):
        graph.post(trusts, {**TRUST, "name": f"n{number}", "subject": f"s{number}"})
    assert graph.send("POST", trusts, {**TRUST, "name": "n20", "subject": "s20"}).status_code == 400
    page = graph.get(f"{trusts}?$top=15")
    assert len(page["value"]) + len(graph.get(page["@odata.nextLink"])["value"]) == 20


@dataclass
class KeysOf:
    """The keys of one issuer, without a network."""

    key: RSAKey

    async def fetch(self, issuer: str) -> KeySet:
        return KeySet([self.key])


@pytest.fixture(scope="module", name="federation")
def _federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Double, RSAKey]]:
    key = RSAKey.generate_key(2048, {"kid": "cluster"})
    with running_double(tmp_path_factory.mktemp("federation"), issuer_keys=KeysOf(key)) as double:
        permit(double)
        yield double, key


def test_a_federated_credential_gives_tokens_until_it_is_gone(federation: tuple[Double, RSAKey]) -> None:
    double, key = federation
    now = int(time.time())
    assertion = jwt.encode({"alg": "RS256", "kid": "cluster"}, {"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "nbf": now, "exp": now + 600}, key)
    proof = {"client_assertion": assertion, "client_assertion_type": ASSERTION_TYPE}
    with GraphClient(double) as graph:
        app = graph.new_application("federated")
        graph.post("/servicePrincipals", {"appId": app["appId"]})
        path = f"/applications/{app['id']}/federatedIdentityCredentials(name='proxy')"
        assert token_codes(double, app["appId"], **proof) == [70021]
        lag = [{"match": {"write": True}, "action": {"lag": {"reads": 1, "places": ["token"]}}, "times": 1}]
        control(double, "PUT", "/faults", lag)
        graph.patch(path, {"issuer": ISSUER, "subject": SUBJECT, "audiences": [AUDIENCE]}, UPSERT, 201)
        assert [token_codes(double, app["appId"], **proof) for _ in range(2)] == [[70021], []]
        graph.patch(path, {"issuer": ISSUER.rstrip("/")})
        assert token_codes(double, app["appId"], **proof) == [700211]
        graph.delete(path)
        assert token_codes(double, app["appId"], **proof) == [70021]
    assert "client_assertion" not in json.dumps(control(double, "GET", "/journal")[1])
