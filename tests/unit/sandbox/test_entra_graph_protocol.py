# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every call of Graph: tokens, permissions, addresses, query options, bodies, errors, the journal."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
import requests

from tests.sandbox.entra.graphkit import AUTOMATION, EVENTUAL, GRAPH, UPSERT, GraphClient, permit, session
from tests.sandbox.entra.testkit import Browser, Double, control
from tests.sandbox.entra.walk import sign_in

DEVELOPERS = "5f0c0c7e-0000-4000-8000-0000000000a1"
NOBODY = "99999999-0000-4000-8000-000000000009"


def code_of(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


# --- errors ------------------------------------------------------------------------------------------------------------


def test_errors_have_graphs_form_and_the_ids_a_support_case_needs(graph: GraphClient) -> None:
    correlation = str(uuid.uuid4())
    answer = graph.send("GET", f"/applications/{NOBODY}", headers={"client-request-id": correlation})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "Request_ResourceNotFound")
    assert error["message"] == f"Resource '{NOBODY}' does not exist or one of its queried reference-property objects are not present."
    assert set(error["innerError"]) == {"date", "request-id", "client-request-id"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", error["innerError"]["date"])
    assert answer.headers["request-id"] == error["innerError"]["request-id"]
    assert answer.headers["client-request-id"] == error["innerError"]["client-request-id"] == correlation


def test_answers_carry_request_ids_and_odata(graph: GraphClient) -> None:
    answer = graph.send("GET", "/applications")
    assert uuid.UUID(answer.headers["request-id"])
    assert answer.headers["OData-Version"] == "4.0"
    assert answer.headers["Content-Type"].startswith("application/json;odata.metadata=minimal")
    assert answer.json()["@odata.context"] == f"{GRAPH}/$metadata#applications"


# --- tokens ------------------------------------------------------------------------------------------------------------


def test_tokens_that_are_none(own_tenant: Double, own_graph: GraphClient) -> None:
    tokens = sign_in(own_tenant)
    good = str(own_graph.web.headers["Authorization"]).removeprefix("Bearer ")
    with session(own_tenant) as web:
        for name, header in {
            "none": None,
            "not-bearer": f"Basic {good}",
            "forged": f"Bearer {good[:-8]}AAAAAAAA",
            "id-token": f"Bearer {tokens['id_token']}",
        }.items():
            answer = web.get(f"{GRAPH}/applications", headers={} if header is None else {"Authorization": header}, timeout=15)
            assert code_of(answer) == (401, "InvalidAuthenticationToken"), name
        # A person's token signs them in, and that is all it is for here.
        answer = web.get(f"{GRAPH}/applications", headers={"Authorization": f"Bearer {tokens['access_token']}"}, timeout=15)
        assert code_of(answer) == (403, "Authorization_RequestDenied")
    own_tenant.clock.ahead = 3600
    assert code_of(own_graph.send("GET", "/applications")) == (401, "InvalidAuthenticationToken")


def test_token_of_a_deleted_application(own_tenant: Double, own_graph: GraphClient) -> None:
    control(own_tenant, "DELETE", "/apps/automation")
    assert code_of(own_graph.send("GET", "/applications")) == (401, "Authorization_IdentityNotFound")


# --- permissions -------------------------------------------------------------------------------------------------------

APP = "/applications(appId='aaaaaaaa-0000-4000-8000-00000000000a')"
PRINCIPAL = "/servicePrincipals(appId='aaaaaaaa-0000-4000-8000-00000000000a')"
READ_APPS = ("Application.Read.All", "Application.ReadWrite.All", "Application.ReadWrite.OwnedBy", "Directory.Read.All")
PERMISSIONS = [
    pytest.param("GET", "/applications", None, READ_APPS, 200, id="list-applications"),
    pytest.param("GET", APP, None, READ_APPS, 200, id="read-application"),
    pytest.param("GET", f"{APP}/owners", None, READ_APPS, 200, id="list-owners"),
    pytest.param("GET", f"{APP}/federatedIdentityCredentials", None, READ_APPS, 200, id="list-federated"),
    pytest.param("GET", "/servicePrincipals", None, READ_APPS, 200, id="list-principals"),
    pytest.param("GET", f"{PRINCIPAL}/appRoleAssignedTo", None, (*READ_APPS, "AppRoleAssignment.ReadWrite.All"), 200, id="list-assigned"),
    pytest.param("PATCH", APP, {}, ("Application.ReadWrite.All",), 204, id="change-foreign-application"),
    pytest.param("POST", f"{APP}/addPassword", {}, ("Application.ReadWrite.All",), 200, id="secret-of-foreign-application"),
    pytest.param("PATCH", PRINCIPAL, {}, ("Application.ReadWrite.All",), 204, id="change-foreign-principal"),
    pytest.param(
        "GET", f"/groups/{DEVELOPERS}", None, ("GroupMember.Read.All", "Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All"), 200, id="read-group"
    ),
    pytest.param("GET", f"/groups/{DEVELOPERS}/members", None, ("GroupMember.Read.All", "Group.Read.All"), 200, id="list-members"),
    pytest.param("GET", "/users/alice@gateway-auth.test", None, ("User.ReadBasic.All", "User.Read.All", "Directory.Read.All"), 200, id="read-user"),
    pytest.param(
        "GET", "/directory/deletedItems/microsoft.graph.application", None, ("Application.Read.All", "Application.ReadWrite.All"), 200, id="list-deleted"
    ),
    pytest.param("GET", "/subscribedSkus", None, ("Organization.Read.All", "LicenseAssignment.Read.All", "Directory.Read.All"), 200, id="licences"),
    pytest.param("GET", "/organization", None, ("Organization.Read.All",), 200, id="organization"),
    pytest.param(
        "POST", "/directoryObjects/getByIds", {"ids": [DEVELOPERS]}, ("GroupMember.Read.All", "User.ReadBasic.All", "Directory.Read.All"), 200, id="by-ids"
    ),
]
OTHERS = ("AppRoleAssignment.ReadWrite.All", "Organization.Read.All", "User.ReadBasic.All", "GroupMember.Read.All", "Application.ReadWrite.OwnedBy")


@pytest.mark.parametrize(("method", "path", "body", "roles", "status"), PERMISSIONS)
def test_each_operation_needs_one_of_its_permissions(tenant: Double, method: str, path: str, body: object, roles: tuple[str, ...], status: int) -> None:
    for role in roles:
        permit(tenant, [role])
        with GraphClient(tenant) as client:
            assert client.send(method, path, body).status_code == status, role
    permit(tenant, [role for role in OTHERS if role not in roles] if "getByIds" not in path else ["Organization.Read.All"])
    with GraphClient(tenant) as client:
        answer = client.send(method, path, body)
        assert code_of(answer) == (403, "Authorization_RequestDenied")
        assert answer.json()["error"]["message"] == "Insufficient privileges to complete the operation."


def test_assigning_needs_its_own_permission(tenant: Double) -> None:
    everything_else = ["Application.ReadWrite.All", "Directory.ReadWrite.All", "Group.ReadWrite.All"]
    permit(tenant, everything_else)
    with GraphClient(tenant) as client:
        assert code_of(client.send("POST", f"{PRINCIPAL}/appRoleAssignedTo", {})) == (403, "Authorization_RequestDenied")


def test_owned_by_reaches_its_own_objects_and_no_others(tenant: Double) -> None:
    permit(tenant, ["Application.ReadWrite.OwnedBy"])
    with GraphClient(tenant) as client:
        app = client.new_application("owned")
        client.patch(f"/applications/{app['id']}", {"notes": "mine"})
        client.post("/servicePrincipals", {"appId": app["appId"]})
        client.patch(f"/servicePrincipals(appId='{app['appId']}')", {"notes": "mine"})
        client.post(f"/applications/{app['id']}/addPassword", {}, 200)
        for method, path, body in (
            ("PATCH", APP, {"notes": "not mine"}),
            ("DELETE", APP, None),
            ("POST", f"{APP}/addPassword", {}),
            ("POST", f"{APP}/federatedIdentityCredentials", {"name": "x"}),
            ("POST", f"{APP}/owners/$ref", {"@odata.id": f"{GRAPH}/directoryObjects/{NOBODY}"}),
            ("DELETE", PRINCIPAL, None),
        ):
            assert code_of(client.send(method, path, body)) == (403, "Authorization_RequestDenied"), path
        client.delete(f"/applications/{app['id']}")
        assert client.send("POST", f"/directory/deletedItems/{app['id']}/restore").status_code == 200


def test_permissions_are_those_of_the_token(tenant: Double) -> None:
    permit(tenant, ["Application.Read.All"])
    with GraphClient(tenant) as client:
        permit(tenant, ["Organization.Read.All"])
        assert client.send("GET", "/applications").status_code == 200
    with GraphClient(tenant) as client:
        assert client.send("GET", "/applications").status_code == 403


# --- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("//applications", id="double-slash-of-the-sdks"),
        pytest.param(f"/applications(appId='{AUTOMATION}')", id="alternate-key"),
        pytest.param(f"/applications(appId=%27{AUTOMATION}%27)", id="quotes-encoded"),
        pytest.param(f"/applications%28appId%3D%27{AUTOMATION}%27%29", id="all-encoded"),
        pytest.param(f"/applications(appId='{AUTOMATION.upper()}')", id="guid-in-capitals"),
        pytest.param("/users/alice%40gateway-auth.test", id="upn-encoded"),
        pytest.param("/users/ALICE@gateway-auth.test", id="upn-in-capitals"),
        pytest.param(f"/groups('{DEVELOPERS}')", id="key-in-parentheses"),
        pytest.param("/directory/deleteditems/microsoft.graph.application", id="as-the-documentation-spells-it"),
        pytest.param("/directory/deletedItems/graph.application", id="as-the-sdks-spell-it"),
    ],
)
def test_addresses_graph_takes(graph: GraphClient, path: str) -> None:
    assert graph.send("GET", path).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        pytest.param("/nothing", 400, "BadRequest", id="unknown-segment"),
        pytest.param("/applications/", 400, "BadRequest", id="trailing-slash"),
        pytest.param("///applications", 400, "BadRequest", id="three-slashes"),
        pytest.param(f"/applications/{NOBODY}/nothing", 400, "BadRequest", id="unknown-sub-segment"),
        pytest.param("/Applications", 400, "BadRequest", id="in-capitals"),
        pytest.param("/applications/not-a-guid", 400, "Request_BadRequest", id="id-not-a-guid"),
        pytest.param("/applications(appId='not-a-guid')", 400, "Request_BadRequest", id="appid-not-a-guid"),
        pytest.param(f"/applications(displayName='{NOBODY}')", 400, "Request_BadRequest", id="not-an-alternate-key"),
        pytest.param(f"/applications(appId={AUTOMATION})", 400, "BadRequest", id="key-without-quotes"),
        pytest.param(f"/applications(appId='{NOBODY}')", 404, "Request_ResourceNotFound", id="unknown-appid"),
        pytest.param("/applications(uniqueName='nothing')", 404, "Request_ResourceNotFound", id="unknown-uniquename"),
        pytest.param("/applications(uniqueName='%ff')", 400, "BadRequest", id="not-utf8"),
        pytest.param("/users/nobody@gateway-auth.test", 404, "Request_ResourceNotFound", id="unknown-user"),
        pytest.param(f"/groups/{NOBODY}", 404, "Request_ResourceNotFound", id="unknown-group"),
        pytest.param("/directory/deletedItems", 400, "BadRequest", id="deleted-items-without-a-type"),
        pytest.param("/me", 400, "BadRequest", id="me"),
    ],
)
def test_addresses_graph_refuses(graph: GraphClient, path: str, status: int, code: str) -> None:
    assert code_of(graph.send("GET", path)) == (status, code)


def test_half_an_escape_is_refused(tenant: Double, graph: GraphClient) -> None:
    # requests would mend it.
    headers = {"Authorization": str(graph.web.headers["Authorization"])}
    assert Browser(tenant).send("GET", f"{GRAPH}/applications(uniqueName='a%2')", headers=headers).status == 400


@pytest.mark.parametrize("version", ["beta", "v2.0", ""])
def test_other_versions_are_refused(graph: GraphClient, version: str) -> None:
    assert code_of(graph.send("GET", f"https://graph.microsoft.com/{version}/applications")) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("PUT", "/applications", id="put"),
        pytest.param("DELETE", "/applications", id="delete-a-list"),
        pytest.param("POST", f"/applications/{NOBODY}", id="post-to-an-entity"),
        pytest.param("GET", f"/applications/{NOBODY}/addPassword", id="get-an-action"),
        pytest.param("PATCH", "/subscribedSkus", id="patch-a-read-only-list"),
        pytest.param("HEAD", "/applications", id="head"),
    ],
)
def test_methods_an_address_does_not_have(graph: GraphClient, method: str, path: str) -> None:
    assert graph.send(method, path).status_code == 405


# --- bodies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        pytest.param("{", "application/json", id="broken"),
        pytest.param("[]", "application/json", id="a-list"),
        pytest.param('"a"', "application/json", id="a-text"),
        pytest.param('{"displayName": "a", "displayName": "b"}', "application/json", id="property-twice"),
        pytest.param('{"displayName": NaN}', "application/json", id="nan"),
        pytest.param('{"displayName": "a"}', "text/plain", id="not-json-by-its-type"),
        pytest.param('{"displayName": "a"}', None, id="no-type"),
        pytest.param(b'{"displayName": "\xff"}', "application/json", id="not-utf8"),
    ],
)
def test_bodies_that_are_not_json_objects(graph: GraphClient, text: str | bytes, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    answer = graph.web.post(f"{GRAPH}/applications", data=text if isinstance(text, bytes) else text.encode(), headers=headers, timeout=15)
    assert code_of(answer) == (400, "BadRequest")


@pytest.mark.parametrize(("method", "path"), [pytest.param("POST", "/applications", id="post"), pytest.param("PATCH", f"/applications/{NOBODY}", id="patch")])
def test_no_body_where_one_is_needed(graph: GraphClient, method: str, path: str) -> None:
    assert code_of(graph.send(method, path)) == (400, "BadRequest")


def test_body_where_none_is_taken(graph: GraphClient) -> None:
    assert code_of(graph.send("DELETE", f"/applications/{NOBODY}", {})) == (400, "BadRequest")


# --- queries -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", name="three")
def _three(graph: GraphClient) -> list[dict[str, Any]]:
    """Three applications with a tag of their own."""
    return [graph.new_application(f"query {letter}", tags=["queried", letter], uniqueName=f"query-{letter}") for letter in "abc"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("displayName eq 'query b'", "b", id="eq"),
        pytest.param("displayName eq 'QUERY B'", "b", id="eq-without-case"),
        pytest.param("uniqueName eq 'query-c'", "c", id="unique-name"),
        pytest.param("startswith(displayName,'query ')", "abc", id="startswith"),
        pytest.param("startsWith(displayName, 'query ')", "abc", id="startsWith"),
        pytest.param("tags/any(t:t eq 'queried')", "abc", id="any"),
        pytest.param("tags/any(tag: tag eq 'a')", "a", id="any-other-variable"),
        pytest.param("tags/any(t:t eq 'queried') and displayName eq 'query a'", "a", id="and"),
        pytest.param("displayName eq 'a and b'", "", id="and-within-a-text"),
        pytest.param("displayName eq 'it''s'", "", id="quote-in-a-text"),
        pytest.param(f"appId eq '{NOBODY}'", "", id="none"),
    ],
)
def test_filters(graph: GraphClient, three: list[dict[str, Any]], text: str, found: str) -> None:
    page = graph.web.get(f"{GRAPH}/applications", params={"$filter": text}, timeout=15).json()
    assert sorted(app["displayName"] for app in page["value"]) == [f"query {letter}" for letter in found]


def test_filters_need_the_advanced_parameters_where_graph_says_so(graph: GraphClient, three: list[dict[str, Any]]) -> None:
    for text in ("endswith(displayName,'ry a')", "displayName ne 'query a'"):
        plain = graph.web.get(f"{GRAPH}/applications", params={"$filter": text}, timeout=15)
        assert code_of(plain) == (400, "Request_UnsupportedQuery")
        assert code_of(graph.web.get(f"{GRAPH}/applications", params={"$filter": text}, headers=EVENTUAL, timeout=15))[0] == 400
        advanced = graph.web.get(f"{GRAPH}/applications", params={"$filter": text, "$count": "true"}, headers=EVENTUAL, timeout=15)
        assert advanced.status_code == 200
    assert advanced.json()["@odata.count"] == len(advanced.json()["value"])


def test_count_is_ignored_without_the_header(graph: GraphClient) -> None:
    assert "@odata.count" not in graph.get("/applications?$count=true")
    assert graph.get("/applications?$count=true", EVENTUAL)["@odata.count"] >= 3


@pytest.mark.parametrize(
    ("query", "code"),
    [
        pytest.param("$filter=nothing eq 'a'", "BadRequest", id="unknown-property"),
        pytest.param("$filter=notes eq 'a'", "Request_UnsupportedQuery", id="property-without-filter"),
        pytest.param("$filter=startswith(appId,'a')", "Request_UnsupportedQuery", id="operator-the-property-lacks"),
        pytest.param("$filter=displayName eq query", "BadRequest", id="text-without-quotes"),
        pytest.param("$filter=displayName eq 'a' or displayName eq 'b'", "BadRequest", id="or"),
        pytest.param("$filter=", "BadRequest", id="empty-filter"),
        pytest.param("$select=nothing", "BadRequest", id="select-unknown"),
        pytest.param("$top=0", "Request_UnsupportedQuery", id="top-0"),
        pytest.param("$top=1000", "Request_UnsupportedQuery", id="top-1000"),
        pytest.param("$top=ten", "BadRequest", id="top-not-a-number"),
        pytest.param("$count=yes", "BadRequest", id="count-not-a-flag"),
        pytest.param("$skip=1", "BadRequest", id="skip"),
        pytest.param("$nothing=1", "BadRequest", id="unknown-option"),
        pytest.param("$top=1&$top=2", "BadRequest", id="option-twice"),
        pytest.param("$skiptoken=abc", "Directory_ExpiredPageToken", id="made-up-skiptoken"),
    ],
)
def test_queries_graph_refuses(graph: GraphClient, query: str, code: str) -> None:
    assert code_of(graph.send("GET", f"/applications?{query}")) == (400, code)


def test_select_gives_what_it_names(graph: GraphClient, three: list[dict[str, Any]]) -> None:
    page = graph.get("/applications?$filter=displayName eq 'query a'&$select=id,appId")
    assert page["value"] == [{"id": three[0]["id"], "appId": three[0]["appId"]}]
    assert page["@odata.context"].endswith("#applications(id,appId)")
    entity = graph.get(f"/applications/{three[0]['id']}?$select=displayName")
    assert {name for name in entity if not name.startswith("@")} == {"displayName"}


def test_pages_follow_the_next_link_as_it_is(graph: GraphClient, three: list[dict[str, Any]]) -> None:
    page = graph.get("/applications?$filter=tags/any(t:t eq 'queried')&$top=2&$select=id,displayName")
    assert [app["displayName"] for app in page["value"]] == ["query a", "query b"]
    assert page["@odata.nextLink"].startswith(f"{GRAPH}/applications?")
    last = graph.get(page["@odata.nextLink"])
    assert [app["displayName"] for app in last["value"]] == ["query c"]
    assert "@odata.nextLink" not in last


def test_a_page_holds_a_hundred_unless_told_otherwise(own_graph: GraphClient) -> None:
    for number in range(101):
        own_graph.new_application(f"many {number}")
    page = own_graph.get("/applications?$filter=startswith(displayName,'many')")
    assert (len(page["value"]), len(own_graph.get(page["@odata.nextLink"])["value"])) == (100, 1)


# --- journal -----------------------------------------------------------------------------------------------------------


def test_journal_tells_writes_from_reads_and_no_secret(own_tenant: Double, own_graph: GraphClient) -> None:
    control(own_tenant, "DELETE", "/journal")
    own_graph.patch("/applications(uniqueName='told')", {"displayName": "told", "signInAudience": "AzureADMyOrg"}, UPSERT, 201)
    secret = own_graph.post("/applications(uniqueName='told')/addPassword", {"passwordCredential": {"displayName": "x"}}, 200)["secretText"]
    own_graph.get("/applications")
    own_graph.post("/directoryObjects/getByIds", {"ids": [DEVELOPERS]}, 200)
    own_graph.send("DELETE", f"/applications/{NOBODY}")
    entries = control(own_tenant, "GET", "/journal")[1]
    rows = [(e["method"], e["path"], e["client_id"], e["status"], e["error"], e["write"]) for e in entries]
    assert rows == [
        ("PATCH", "/v1.0/applications(uniqueName='told')", AUTOMATION, 201, None, True),
        ("POST", "/v1.0/applications(uniqueName='told')/addPassword", AUTOMATION, 200, None, True),
        ("GET", "/v1.0/applications", AUTOMATION, 200, None, False),
        ("POST", "/v1.0/directoryObjects/getByIds", AUTOMATION, 200, None, False),
        ("DELETE", f"/v1.0/applications/{NOBODY}", AUTOMATION, 404, "Request_ResourceNotFound", True),
    ]
    assert secret not in own_tenant.log.read_text("utf-8")
    assert str(own_graph.web.headers["Authorization"])[7:] not in own_tenant.log.read_text("utf-8")
