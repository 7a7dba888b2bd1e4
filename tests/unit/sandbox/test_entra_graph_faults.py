# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong with Graph on demand: throttling, cut connections before and after the write, and replication lag."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.sandbox.entra.faults import FaultError, parse_faults
from tests.sandbox.entra.graphkit import AUTOMATION, GRAPH, UPSERT, GraphClient, session
from tests.sandbox.entra.testkit import Double, control
from tests.sandbox.entra.walk import TEAM_A, TOKEN

MINE = {"displayName": "lags", "signInAudience": "AzureADMyOrg"}
DEVELOPERS = "5f0c0c7e-0000-4000-8000-0000000000a1"
ALICE = "00000a11-ce00-4000-8000-000000000001"


@pytest.fixture(autouse=True)
def _no_faults_after(tenant: Double) -> Iterator[None]:
    yield
    control(tenant, "DELETE", "/faults")


def put(tenant: Double, match: dict[str, object], action: dict[str, object], **more: int) -> None:
    status, answer = control(tenant, "PUT", "/faults", [{"match": match, "action": action, **more}])
    assert status == 200, answer


def token_codes(tenant: Double, client_id: str, secret: str) -> list[int]:
    """Ask for a token and return the AADSTS codes; none means a token."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, "scope": "https://graph.microsoft.com/.default"}
    with session(tenant) as web:
        codes: list[int] = web.post(TOKEN, data=form, timeout=15).json().get("error_codes", [])
    return codes


# --- answers in the place of Graph -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [
        pytest.param(429, "TooManyRequests", id="429"),
        pytest.param(503, "ServiceUnavailable", id="503"),
        pytest.param(504, "GatewayTimeout", id="504"),
        pytest.param(409, "Directory_ConcurrencyViolation", id="409"),
    ],
)
def test_status_alone_gives_graphs_own_form(tenant: Double, graph: GraphClient, status: int, code: str) -> None:
    put(tenant, {"host": "graph.microsoft.com", "write": True}, {"status": status, "headers": {"Retry-After": "3"}}, times=1)
    assert graph.send("GET", "/applications").status_code == 200
    answer = graph.send("POST", "/applications", MINE)
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()["error"]["code"]) == (status, "3", code)
    assert graph.send("POST", "/applications", MINE).status_code == 201


def test_faults_can_be_for_one_client_and_one_kind_of_call(tenant: Double, graph: GraphClient) -> None:
    app = graph.new_application("picked")
    put(tenant, {"path_prefix": "/v1.0/applications/", "path_contains": "/addPassword", "client": AUTOMATION}, {"status": 503})
    path = f"/applications/{app['id']}"
    assert graph.send("GET", path).status_code == 200
    assert graph.send("POST", f"{path}/addPassword", {}).status_code == 503
    assert graph.send("POST", f"/{path}/addPassword", {}).status_code == 503
    put(tenant, {"client": TEAM_A}, {"status": 503})
    assert graph.send("POST", f"{path}/addPassword", {}).status_code == 200


def test_skip_lets_the_first_ones_pass(tenant: Double, graph: GraphClient) -> None:
    put(tenant, {"write": True}, {"status": 503}, skip=2, times=1)
    assert [graph.send("POST", "/applications", MINE).status_code for _ in range(4)] == [201, 201, 503, 201]


# --- cut connections ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drop", "made", "status"),
    [pytest.param(True, 0, None, id="true-is-before"), pytest.param("before", 0, None, id="before"), pytest.param("after", 1, 201, id="after")],
)
def test_cut_before_or_after_the_write(own_tenant: Double, own_graph: GraphClient, drop: object, made: int, status: int | None) -> None:
    put(own_tenant, {"method": "POST"}, {"drop": drop}, times=1)
    with pytest.raises(requests.ConnectionError):
        own_graph.send("POST", "/applications", {**MINE, "uniqueName": "cut"})
    entry = control(own_tenant, "GET", "/journal")[1][-1]
    assert (entry["write"], entry["fault"], entry["status"], entry["client_id"]) == (True, True, status, AUTOMATION)
    found = own_graph.get("/applications?$filter=uniqueName eq 'cut'")["value"]
    assert len(found) == made


# --- replication lag ---------------------------------------------------------------------------------------------------


def test_a_new_application_is_not_seen_for_so_many_reads(tenant: Double, graph: GraphClient) -> None:
    put(tenant, {"write": True}, {"lag": {"reads": 3, "places": ["read"]}}, times=1)
    app = graph.new_application("for three reads", tags=["three-reads"])
    path = f"/applications/{app['id']}"
    # Reads of others don't count.
    graph.get(f"/applications(appId='{AUTOMATION}')")
    assert graph.send("GET", path).status_code == 404
    assert graph.get("/applications?$filter=tags/any(t:t eq 'three-reads')")["value"] == []
    assert graph.send("GET", f"{path}/owners").status_code == 404
    assert graph.get(path)["id"] == app["id"]


def test_a_new_application_is_not_seen_for_so_long(own_tenant: Double, own_graph: GraphClient) -> None:
    put(own_tenant, {"write": True}, {"lag": {"seconds": 60}}, times=1)
    app = own_graph.new_application("for a minute")
    path = f"/applications/{app['id']}"
    for _ in range(5):
        assert own_graph.send("GET", path).status_code == 404
    own_tenant.clock.ahead = 61
    assert own_graph.get(path)["id"] == app["id"]


def test_writes_to_what_is_not_seen_yet(tenant: Double, graph: GraphClient) -> None:
    put(tenant, {"write": True}, {"lag": {"reads": 4, "places": ["write"]}}, times=1)
    name = "not-seen-yet"
    app = graph.patch(f"/applications(uniqueName='{name}')", MINE, UPSERT, 201)
    assert graph.send("POST", f"/applications/{app['id']}/addPassword", {}).status_code == 404
    answer = graph.send("POST", "/servicePrincipals", {"appId": app["appId"]})
    assert answer.json()["error"]["code"] == "NoBackingApplicationObject"
    # A second upsert doesn't find it, and makes no twin: the first replica knows the name.
    twin = graph.send("PATCH", f"/applications(uniqueName='{name}')", MINE, UPSERT)
    assert (twin.status_code, "uniqueName already exists" in twin.text) == (400, True)
    assert graph.send("PATCH", f"/applications(uniqueName='{name}')", MINE).status_code == 404
    assert graph.send("PATCH", f"/applications(uniqueName='{name}')", MINE, UPSERT).status_code == 204


def test_owned_by_is_told_less_of_a_principal_without_its_application(own_tenant: Double) -> None:
    with GraphClient(own_tenant) as client:
        put(own_tenant, {"write": True}, {"lag": {"reads": 1, "places": ["write"]}}, times=1)
        app = client.new_application("owned")
        answer = client.send("POST", "/servicePrincipals", {"appId": app["appId"]})
        assert (answer.status_code, "must in the local tenant" in answer.text) == (403, True)
        client.post("/servicePrincipals", {"appId": app["appId"]})


def test_a_change_is_seen_late(tenant: Double, graph: GraphClient) -> None:
    app = graph.new_application("before")
    put(tenant, {"method": "PATCH"}, {"lag": {"reads": 2}}, times=1)
    graph.patch(f"/applications/{app['id']}", {"displayName": "after"})
    names = [graph.get(f"/applications/{app['id']}")["displayName"] for _ in range(3)]
    assert names == ["before", "before", "after"]


def test_a_deletion_is_seen_late(tenant: Double, graph: GraphClient) -> None:
    app = graph.new_application("lives on")
    put(tenant, {"method": "DELETE"}, {"lag": {"reads": 1, "places": ["read"]}}, times=1)
    graph.delete(f"/applications/{app['id']}")
    assert [graph.send("GET", f"/applications/{app['id']}").status_code for _ in range(2)] == [200, 404]


def test_two_changes_that_lag_are_seen_in_their_order(tenant: Double, graph: GraphClient) -> None:
    app = graph.new_application("one")
    put(tenant, {"method": "PATCH"}, {"lag": {"reads": 2, "places": ["read"]}}, times=2)
    graph.patch(f"/applications/{app['id']}", {"displayName": "two"})
    graph.get(f"/applications/{app['id']}")
    graph.patch(f"/applications/{app['id']}", {"displayName": "three"})
    names = [graph.get(f"/applications/{app['id']}")["displayName"] for _ in range(3)]
    assert names == ["one", "two", "three"]


def test_a_fresh_secret_is_refused_at_first_and_a_removed_one_taken(tenant: Double, graph: GraphClient) -> None:
    app = graph.new_application("secrets lag")
    graph.post("/servicePrincipals", {"appId": app["appId"]})
    put(tenant, {"path_contains": "/addPassword"}, {"lag": {"reads": 2, "places": ["token"]}}, times=1)
    made = graph.post(f"/applications/{app['id']}/addPassword", {}, 200)
    assert graph.get(f"/applications/{app['id']}")["passwordCredentials"][0]["keyId"] == made["keyId"]
    codes = [token_codes(tenant, app["appId"], made["secretText"]) for _ in range(3)]
    assert codes == [[7000215], [7000215], []]
    put(tenant, {"path_contains": "/removePassword"}, {"lag": {"reads": 1, "places": ["token"]}}, times=1)
    graph.post(f"/applications/{app['id']}/removePassword", {"keyId": made["keyId"]}, 204)
    assert [token_codes(tenant, app["appId"], made["secretText"]) for _ in range(2)] == [[], [7000215]]


def test_a_fresh_application_is_unknown_to_the_token_endpoint(tenant: Double, graph: GraphClient) -> None:
    put(tenant, {"path_prefix": "/v1.0/applications", "method": "POST"}, {"lag": {"reads": 1, "places": ["token"]}}, times=1)
    app = graph.new_application("unknown at first", passwordCredentials=[{"displayName": "x"}])
    graph.post("/servicePrincipals", {"appId": app["appId"]})
    secret = app["passwordCredentials"][0]["secretText"]
    assert [token_codes(tenant, app["appId"], secret) for _ in range(2)] == [[700016], []]


def test_a_fresh_secret_cannot_be_removed_before_it_is_seen(tenant: Double, graph: GraphClient) -> None:
    app = graph.new_application("removed too early")
    put(tenant, {"path_contains": "/addPassword"}, {"lag": {"reads": 1, "places": ["write"]}}, times=1)
    key_id = graph.post(f"/applications/{app['id']}/addPassword", {}, 200)["keyId"]
    answer = graph.send("POST", f"/applications/{app['id']}/removePassword", {"keyId": key_id})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, f"No password credential found with keyId {key_id}.")
    graph.post(f"/applications/{app['id']}/removePassword", {"keyId": key_id}, 204)


def test_a_fresh_federated_credential_cannot_be_changed_before_it_is_seen(tenant: Double, graph: GraphClient) -> None:
    app = graph.new_application("changed too early")
    path = f"/applications/{app['id']}/federatedIdentityCredentials(name='fic')"
    trust = {"issuer": "https://issuer.example/", "subject": "s", "audiences": ["api://AzureADTokenExchange"]}
    put(tenant, {"write": True}, {"lag": {"reads": 2, "places": ["write"]}}, times=1)
    graph.patch(path, trust, UPSERT, 201)
    assert graph.send("PATCH", path, {"description": "d"}).status_code == 404
    assert graph.send("PATCH", path, trust, UPSERT).status_code == 409
    assert graph.send("PATCH", path, trust, UPSERT).status_code == 204


def test_members_and_assignments_lag_too(own_tenant: Double, own_graph: GraphClient) -> None:
    put(own_tenant, {"write": True}, {"lag": {"reads": 1, "places": ["read"]}})
    bob = "00000b0b-0000-4000-8000-000000000002"
    own_graph.post(f"/groups/{DEVELOPERS}/members/$ref", {"@odata.id": f"{GRAPH}/directoryObjects/{bob}"}, 204)
    counts = [len(own_graph.get(f"/groups/{DEVELOPERS}/members")["value"]) for _ in range(2)]
    assert counts == [2, 3]
    principal = own_graph.get(f"/servicePrincipals(appId='{AUTOMATION}')")["id"]
    body = {"principalId": ALICE, "resourceId": principal, "appRoleId": "00000000-0000-0000-0000-000000000000"}
    own_graph.post(f"/servicePrincipals/{principal}/appRoleAssignedTo", body)
    assert [len(own_graph.get(f"/servicePrincipals/{principal}/appRoleAssignedTo")["value"]) for _ in range(2)] == [0, 1]


def test_lag_ends_with_the_faults(tenant: Double, graph: GraphClient) -> None:
    put(tenant, {"write": True}, {"lag": {"seconds": 3600}})
    app = graph.new_application("seen after all")
    assert graph.send("GET", f"/applications/{app['id']}").status_code == 404
    control(tenant, "DELETE", "/faults")
    assert graph.send("GET", f"/applications/{app['id']}").status_code == 200


def test_lag_and_a_cut_answer_together(own_tenant: Double, own_graph: GraphClient) -> None:
    put(own_tenant, {"write": True}, {"lag": {"reads": 1}, "drop": "after"}, times=1)
    with pytest.raises(requests.ConnectionError):
        own_graph.send("PATCH", "/applications(uniqueName='both')", MINE, UPSERT)
    statuses = [own_graph.send("GET", "/applications(uniqueName='both')").status_code for _ in range(2)]
    assert statuses == [404, 200]


def test_delay_with_lag_waits_and_executes(tenant: Double, graph: GraphClient) -> None:
    put(tenant, {"write": True}, {"delay": 0.2, "lag": {"reads": 1}}, times=1)
    start = time.monotonic()
    app = graph.new_application("slow")
    assert time.monotonic() - start >= 0.2
    assert graph.send("GET", f"/applications/{app['id']}").status_code == 404


# --- the form of faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"match": {}, "action": {"drop": "later"}}, id="drop-unknown"),
        pytest.param({"match": {}, "action": {"drop": "after", "status": 500}}, id="drop-after-with-status"),
        pytest.param({"match": {}, "action": {"lag": {}}}, id="lag-empty"),
        pytest.param({"match": {}, "action": {"lag": {"reads": 0}}}, id="lag-no-reads"),
        pytest.param({"match": {}, "action": {"lag": {"seconds": -1}}}, id="lag-negative"),
        pytest.param({"match": {}, "action": {"lag": {"reads": 1, "places": []}}}, id="lag-nowhere"),
        pytest.param({"match": {}, "action": {"lag": {"reads": 1, "places": ["login"]}}}, id="lag-unknown-place"),
        pytest.param({"match": {}, "action": {"lag": {"reads": 1, "where": ["read"]}}}, id="lag-unknown-key"),
        pytest.param({"match": {}, "action": {"lag": {"reads": 1}, "status": 503}}, id="lag-of-what-is-not-executed"),
        pytest.param({"match": {}, "action": {"lag": {"reads": 1}, "drop": True}}, id="lag-of-what-is-cut-before"),
        pytest.param({"match": {"write": "yes"}, "action": {"drop": True}}, id="write-not-a-flag"),
        pytest.param({"match": {"client": ""}, "action": {"drop": True}}, id="client-empty"),
        pytest.param({"match": {}, "action": {"drop": True}, "skip": -1}, id="skip-negative"),
    ],
)
def test_faults_of_the_wrong_form(fault: dict[str, Any]) -> None:
    with pytest.raises(FaultError):
        parse_faults([fault])
