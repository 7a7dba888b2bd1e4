# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Service principals, assignments and owners through Graph."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.sandbox.entra.directory import GRAPH_APP_ID, GRAPH_ROLES
from tests.sandbox.entra.graphkit import AUTOMATION, GRAPH, UPSERT, GraphClient, permit
from tests.sandbox.entra.testkit import Browser, Double, control
from tests.sandbox.entra.walk import authorize

DEVELOPERS, ONCALL = (f"5f0c0c7e-0000-4000-8000-0000000000{end}" for end in ("a1", "a2"))
ALICE, BOB = "00000a11-ce00-4000-8000-000000000001", "00000b0b-0000-4000-8000-000000000002"
NOBODY = "99999999-0000-4000-8000-000000000009"
DEFAULT = str(uuid.UUID(int=0))
URI = "https://new.gateway-auth.test/oauth2/callback"


@pytest.fixture(name="app")
def _app(graph: GraphClient) -> dict[str, Any]:
    return graph.new_application("principals", web={"redirectUris": [URI], "logoutUrl": "https://out.example/"})


@pytest.fixture(name="principal")
def _principal(graph: GraphClient, app: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = graph.post("/servicePrincipals", {"appId": app["appId"]})
    return made


# --- service principals ------------------------------------------------------------------------------------------------


def test_create_shows_what_comes_of_the_registration(graph: GraphClient, app: dict[str, Any]) -> None:
    made = graph.post("/servicePrincipals", {"appId": app["appId"], "tags": ["HideApp"], "accountEnabled": True})
    assert made["@odata.context"].endswith("#servicePrincipals/$entity")
    assert (made["appId"], made["displayName"], made["appDisplayName"], made["tags"]) == (app["appId"], "principals", "principals", ["HideApp"])
    assert (made["accountEnabled"], made["appRoleAssignmentRequired"], made["servicePrincipalType"]) == (True, False, "Application")
    assert (made["replyUrls"], made["logoutUrl"], made["servicePrincipalNames"]) == ([URI], "https://out.example/", [app["appId"]])
    assert graph.get(f"/servicePrincipals/{made['id']}") == made
    [owner] = graph.get(f"/servicePrincipals/{made['id']}/owners")["value"]
    assert owner["appId"] == AUTOMATION
    graph.patch(f"/applications/{app['id']}", {"displayName": "renamed"})
    assert graph.get(f"/servicePrincipals/{made['id']}")["displayName"] == "renamed"


def test_upsert_creates_once_and_then_updates(graph: GraphClient, app: dict[str, Any]) -> None:
    path = f"/servicePrincipals(appId='{app['appId']}')"
    assert graph.send("PATCH", path, {}).status_code == 404
    made = graph.patch(path, {"tags": ["a"]}, UPSERT, 201)
    assert graph.patch(path, {"appRoleAssignmentRequired": True, "appId": app["appId"]}, UPSERT) is None
    graph.patch(f"/servicePrincipals/{made['id']}", {"notes": "n"})
    found = graph.get(path)
    assert (found["tags"], found["appRoleAssignmentRequired"], found["notes"]) == (["a"], True, "n")


@pytest.mark.parametrize("query", ["appId eq '{appId}'", "servicePrincipalNames/any(n:n eq '{appId}')", "id eq '{id}'"])
def test_filters(graph: GraphClient, principal: dict[str, Any], query: str) -> None:
    found = graph.get(f"/servicePrincipals?$filter={query.format_map(principal)}&$select=id")["value"]
    assert found == [{"id": principal["id"]}]


def test_principals_that_cannot_be_made(graph: GraphClient, principal: dict[str, Any]) -> None:
    for body, status, code in (
        ({"appId": principal["appId"]}, 409, "Request_MultipleObjectsWithSameKeyValue"),
        ({"appId": NOBODY}, 400, "NoBackingApplicationObject"),
        ({"appId": "x"}, 400, "Request_BadRequest"),
        ({}, 400, "Request_BadRequest"),
    ):
        answer = graph.send("POST", "/servicePrincipals", body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param({"appId": NOBODY}, "read-only", id="app-id"),
        pytest.param({"appRoles": []}, "read-only", id="app-roles"),
        pytest.param({"replyUrls": []}, "read-only", id="reply-urls"),
        pytest.param({"passwordCredentials": []}, "read-only", id="secrets"),
        pytest.param({"nothing": 1}, "does not exist on type", id="unknown"),
        pytest.param({"accountEnabled": "no"}, "accountEnabled", id="enabled-a-text"),
        pytest.param({"accountEnabled": None}, "accountEnabled", id="enabled-null"),
        pytest.param({"appRoleAssignmentRequired": 1}, "appRoleAssignmentRequired", id="required-a-number"),
        pytest.param({"tags": "x"}, "tags", id="tags-not-a-list"),
        pytest.param({"preferredSingleSignOnMode": "x"}, "preferredSingleSignOnMode", id="sso-mode"),
    ],
)
def test_patch_refuses_and_changes_nothing(graph: GraphClient, principal: dict[str, Any], body: dict[str, Any], text: str) -> None:
    answer = graph.send("PATCH", f"/servicePrincipals/{principal['id']}", {"notes": "must not stick", **body})
    assert (answer.status_code, text in answer.text) == (400, True), answer.text
    assert graph.get(f"/servicePrincipals/{principal['id']}") == principal


def test_a_deleted_principal_is_an_item_of_its_own(graph: GraphClient, app: dict[str, Any], principal: dict[str, Any]) -> None:
    graph.delete(f"/servicePrincipals/{principal['id']}")
    assert graph.get(f"/applications/{app['id']}")["id"] == app["id"]
    deleted = graph.get(f"/directory/deletedItems/{principal['id']}")
    assert (deleted["@odata.type"], deleted["deletedDateTime"] is None) == ("#microsoft.graph.servicePrincipal", False)
    again = graph.post("/servicePrincipals", {"appId": app["appId"]})
    answer = graph.send("POST", f"/directory/deletedItems/{principal['id']}/restore")
    assert (answer.status_code, "already in use" in answer.text) == (409, True)
    graph.delete(f"/servicePrincipals/{again['id']}")
    restored = graph.post(f"/directory/deletedItems/{principal['id']}/restore", status=200)
    assert restored["id"] == principal["id"]


# --- Microsoft Graph itself --------------------------------------------------------------------------------------------


def test_graph_is_a_principal_whose_roles_can_be_looked_up(graph: GraphClient) -> None:
    found = graph.get(f"/servicePrincipals(appId='{GRAPH_APP_ID}')")
    assert found["displayName"] == "Microsoft Graph"
    assert {role["value"]: role["id"] for role in found["appRoles"]} == GRAPH_ROLES
    assert graph.send("DELETE", f"/servicePrincipals/{found['id']}").status_code == 403


def test_granted_permissions_are_assignments(own_tenant: Double, own_graph: GraphClient) -> None:
    me = own_graph.get(f"/servicePrincipals(appId='{AUTOMATION}')")["id"]
    control(own_tenant, "PUT", "/apps/automation", {"app_roles": ["AppRoleAssignment.ReadWrite.All"]})
    [granted] = own_graph.get(f"/servicePrincipals/{me}/appRoleAssignments")["value"]
    assert (granted["appRoleId"], granted["resourceDisplayName"]) == (GRAPH_ROLES["AppRoleAssignment.ReadWrite.All"], "Microsoft Graph")
    body = {"principalId": me, "resourceId": granted["resourceId"], "appRoleId": GRAPH_ROLES["Organization.Read.All"]}
    own_graph.post(f"/servicePrincipals/{granted['resourceId']}/appRoleAssignedTo", body)
    with GraphClient(own_tenant) as renewed:
        assert renewed.send("GET", "/organization").status_code == 200


# --- assignments -------------------------------------------------------------------------------------------------------


def assignment(principal: dict[str, Any], who: str, role: str = DEFAULT) -> dict[str, str]:
    return {"principalId": who, "resourceId": principal["id"], "appRoleId": role}


def test_assignments_of_users_groups_and_applications(graph: GraphClient, principal: dict[str, Any]) -> None:
    path = f"/servicePrincipals/{principal['id']}/appRoleAssignedTo"
    me = graph.get(f"/servicePrincipals(appId='{AUTOMATION}')")["id"]
    made = [graph.post(path, assignment(principal, who)) for who in (DEVELOPERS, ALICE, me)]
    shown = [(each["principalType"], each["principalDisplayName"]) for each in made]
    assert shown == [("Group", "team-a-developers"), ("User", "Alice (team a, on call)"), ("ServicePrincipal", "Gateway auth automation")]
    assert {each["resourceDisplayName"] for each in made} == {"principals"}
    page = graph.get(f"{path}?$top=2")
    rest = graph.get(page["@odata.nextLink"])["value"]
    assert sorted(each["id"] for each in page["value"] + rest) == sorted(each["id"] for each in made)
    assert [each["resourceId"] for each in graph.get(f"/groups/{DEVELOPERS}/appRoleAssignments")["value"] if each["resourceId"] == principal["id"]] == [
        principal["id"]
    ]
    for each in made:
        graph.delete(f"{path}/{each['id']}")
    assert graph.get(path)["value"] == []
    assert graph.send("DELETE", f"{path}/{made[0]['id']}").status_code == 404


def test_assignment_decides_who_signs_in(tenant: Double, graph: GraphClient, app: dict[str, Any], principal: dict[str, Any]) -> None:
    def codes() -> list[bool]:
        return [authorize(Browser(tenant), client_id=app["appId"], redirect_uri=URI, login_hint=name).status == 302 for name in ("alice", "bob")]

    assert codes() == [True, True]
    graph.patch(f"/servicePrincipals/{principal['id']}", {"appRoleAssignmentRequired": True})
    assert codes() == [False, False]
    graph.post(f"/servicePrincipals/{principal['id']}/appRoleAssignedTo", assignment(principal, DEVELOPERS))
    assert codes() == [True, False]


def test_groups_in_assigned_groups_are_not_assigned(tenant: Double, graph: GraphClient, app: dict[str, Any], principal: dict[str, Any]) -> None:
    outer = graph.post("/groups", {"displayName": "outer", "mailEnabled": False, "mailNickname": "outer", "securityEnabled": True})
    graph.post(f"/groups/{outer['id']}/members/$ref", {"@odata.id": f"{GRAPH}/groups/{DEVELOPERS}"}, 204)
    graph.patch(f"/servicePrincipals/{principal['id']}", {"appRoleAssignmentRequired": True})
    graph.post(f"/servicePrincipals/{principal['id']}/appRoleAssignedTo", assignment(principal, outer["id"]))
    assert "AADSTS50105" in authorize(Browser(tenant), client_id=app["appId"], redirect_uri=URI).text
    graph.delete(f"/groups/{outer['id']}")
    assert graph.get(f"/servicePrincipals/{principal['id']}/appRoleAssignedTo")["value"] == []


def test_assignments_graph_refuses(graph: GraphClient, principal: dict[str, Any]) -> None:
    path = f"/servicePrincipals/{principal['id']}/appRoleAssignedTo"
    graph.post(path, assignment(principal, ALICE))
    for body, status, text in (
        (assignment(principal, ALICE), 400, "Permission being assigned already exists on the object"),
        (assignment(principal, NOBODY), 404, "does not exist"),
        (assignment(principal, BOB, NOBODY), 400, "was not found on application"),
        ({**assignment(principal, BOB), "resourceId": NOBODY}, 400, "Not a valid reference update"),
        ({**assignment(principal, BOB), "principalType": "User"}, 400, "read-only"),
        ({**assignment(principal, BOB), "nothing": 1}, 400, "does not exist on type"),
        ({**assignment(principal, BOB), "principalId": "x"}, 400, "principalId"),
        ({"principalId": BOB}, 400, "required"),
    ):
        answer = graph.send("POST", path, body)
        assert (answer.status_code, text in answer.text) == (status, True), answer.text
    assert len(graph.get(path)["value"]) == 1


def test_the_default_role_is_for_applications_without_roles(graph: GraphClient, app: dict[str, Any], principal: dict[str, Any]) -> None:
    path = f"/servicePrincipals/{principal['id']}/appRoleAssignedTo"
    role = {"id": str(uuid.uuid4()), "allowedMemberTypes": ["User"], "displayName": "r", "description": "r", "isEnabled": True, "value": "r"}
    graph.patch(f"/applications/{app['id']}", {"appRoles": [role]})
    assert graph.send("POST", path, assignment(principal, ALICE)).status_code == 400
    assert graph.post(path, assignment(principal, ALICE, str(role["id"])))["appRoleId"] == role["id"]


def test_groups_need_a_premium_licence(own_tenant: Double, own_graph: GraphClient) -> None:
    control(own_tenant, "PUT", "/tenant", {"licences": []})
    app = own_graph.new_application("no licence")
    principal = own_graph.post("/servicePrincipals", {"appId": app["appId"]})
    path = f"/servicePrincipals/{principal['id']}/appRoleAssignedTo"
    answer = own_graph.send("POST", path, assignment(principal, DEVELOPERS))
    assert (answer.status_code, "plan level" in answer.text) == (400, True)
    own_graph.post(path, assignment(principal, ALICE))
    control(own_tenant, "PUT", "/tenant", {"licences": ["AAD_PREMIUM_P2"]})
    own_graph.post(path, assignment(principal, DEVELOPERS))


def test_assignments_survive_deletion_and_restoring(graph: GraphClient, principal: dict[str, Any]) -> None:
    path = f"/servicePrincipals/{principal['id']}"
    made = graph.post(f"{path}/appRoleAssignedTo", assignment(principal, ALICE))
    graph.delete(path)
    graph.post(f"/directory/deletedItems/{principal['id']}/restore", status=200)
    assert [each["id"] for each in graph.get(f"{path}/appRoleAssignedTo")["value"]] == [made["id"]]


# --- owners ------------------------------------------------------------------------------------------------------------


def reference(object_id: str, kind: str = "directoryObjects") -> dict[str, str]:
    return {"@odata.id": f"{GRAPH}/{kind}/{object_id}"}


@pytest.mark.parametrize("kind", ["applications", "servicePrincipals"])
def test_owners_come_and_go(graph: GraphClient, app: dict[str, Any], principal: dict[str, Any], kind: str) -> None:
    path = f"/{kind}/{app['id'] if kind == 'applications' else principal['id']}/owners"
    graph.post(f"{path}/$ref", reference(ALICE), 204)
    answer = graph.send("POST", f"{path}/$ref", reference(ALICE, "users"))
    assert answer.json()["error"]["message"] == "One or more added object references already exist for the following modified properties: 'owners'."
    assert sorted(each["@odata.type"] for each in graph.get(path)["value"]) == ["#microsoft.graph.servicePrincipal", "#microsoft.graph.user"]
    graph.delete(f"{path}/{ALICE}/$ref")
    assert len(graph.get(path)["value"]) == 1
    assert graph.send("DELETE", f"{path}/{ALICE}/$ref").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(reference(NOBODY), 404, id="unknown"),
        pytest.param(reference(DEVELOPERS), 400, id="a-group"),
        pytest.param({"@odata.id": f"https://elsewhere.example/v1.0/directoryObjects/{ALICE}"}, 400, id="another-host"),
        pytest.param({"@odata.id": ALICE}, 400, id="no-url"),
        pytest.param({**reference(ALICE), "more": 1}, 400, id="more"),
        pytest.param({}, 400, id="empty"),
    ],
)
def test_owners_graph_refuses(graph: GraphClient, app: dict[str, Any], body: dict[str, Any], status: int) -> None:
    assert graph.send("POST", f"/applications/{app['id']}/owners/$ref", body).status_code == status
    assert len(graph.get(f"/applications/{app['id']}/owners")["value"]) == 1


def test_owners_have_to_be_readable(own_tenant: Double) -> None:
    permit(own_tenant, ["Application.ReadWrite.OwnedBy"])
    with GraphClient(own_tenant) as client:
        path = f"/applications/{client.new_application('owned')['id']}/owners/$ref"
        assert client.send("POST", path, reference(ALICE)).status_code == 403
        team_a = client.get("/servicePrincipals(appId='aaaaaaaa-0000-4000-8000-00000000000a')")["id"]
        client.post(path, reference(team_a), 204)


def test_who_is_no_owner_any_more_is_locked_out(own_tenant: Double) -> None:
    with GraphClient(own_tenant) as client:
        app = client.new_application("given away")
        me = client.get(f"/servicePrincipals(appId='{AUTOMATION}')")["id"]
        client.post(f"/applications/{app['id']}/owners/$ref", reference(ALICE), 204)
        client.delete(f"/applications/{app['id']}/owners/{me}/$ref")
        assert client.send("PATCH", f"/applications/{app['id']}", {"notes": "x"}).status_code == 403
