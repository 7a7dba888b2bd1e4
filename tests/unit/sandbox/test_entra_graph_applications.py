# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applications through Graph: created, upserted, changed by parts, refused, deleted and restored; and that sign-in sees it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.sandbox.entra.graphkit import UPSERT, GraphClient
from tests.sandbox.entra.testkit import Browser, Double, control
from tests.sandbox.entra.walk import TOKEN, authorize, claims, redemption

URI = "https://new.gateway-auth.test/oauth2/callback"
MINE = {"signInAudience": "AzureADMyOrg"}


def unique() -> str:
    return f"test.{uuid.uuid4()}"


def test_create_shows_every_property_and_the_creator_as_owner(graph: GraphClient) -> None:
    app = graph.new_application("created", notes="a note")
    assert app["@odata.context"].endswith("#applications/$entity")
    assert (app["displayName"], app["notes"], app["uniqueName"], app["deletedDateTime"]) == ("created", "a note", None, None)
    assert app["web"]["redirectUris"] == app["tags"] == app["passwordCredentials"] == app["identifierUris"] == []
    assert uuid.UUID(app["id"]) != uuid.UUID(app["appId"])
    read = graph.get(f"/applications/{app['id']}")
    assert read == app
    [owner] = graph.get(f"/applications/{app['id']}/owners")["value"]
    assert (owner["@odata.type"], owner["displayName"]) == ("#microsoft.graph.servicePrincipal", "Gateway auth automation")


def test_who_does_not_say_for_whom_gets_an_application_for_everybody(graph: GraphClient) -> None:
    app = graph.post("/applications", {"displayName": "default"})
    assert (app["signInAudience"], app["api"]["requestedAccessTokenVersion"]) == ("AzureADandPersonalMicrosoftAccount", 2)


def test_upsert_creates_once_and_then_updates(graph: GraphClient) -> None:
    name = unique()
    assert graph.send("PATCH", f"/applications(uniqueName='{name}')", {"displayName": "a"}).status_code == 404
    made = graph.patch(f"/applications(uniqueName='{name}')", {"displayName": "a", **MINE}, UPSERT, 201)
    assert made["uniqueName"] == name
    assert graph.patch(f"/applications(uniqueName='{name}')", {"displayName": "b"}, UPSERT) is None
    assert graph.patch(f"/applications(uniqueName='{name}')", {"displayName": "c"}) is None
    found = graph.get(f"/applications?$filter=uniqueName eq '{name}'")["value"]
    assert [(app["id"], app["displayName"]) for app in found] == [(made["id"], "c")]


@pytest.mark.parametrize("form", ["/applications/{id}", "/applications(appId='{appId}')", "/applications(uniqueName='{uniqueName}')"])
def test_each_key_reads_changes_and_deletes(graph: GraphClient, form: str) -> None:
    app = graph.new_application("by key", uniqueName=unique())
    path = form.format_map(app)
    graph.patch(path, {"displayName": "changed"})
    assert graph.get(path)["displayName"] == "changed"
    graph.delete(path)
    assert graph.send("GET", path).status_code == 404


def test_unique_name_with_quotes_and_slashes_is_encoded_in_the_address(graph: GraphClient) -> None:
    name = f"it's/{uuid.uuid4()}"
    path = f"/applications(uniqueName='{name.replace(chr(39), chr(39) * 2).replace('/', '%2F')}')"
    assert graph.patch(path, {"displayName": "odd", **MINE}, UPSERT, 201)["uniqueName"] == name
    assert graph.get(path)["uniqueName"] == name


# --- changes by parts --------------------------------------------------------------------------------------------------

WEB = {"redirectUris": [URI], "homePageUrl": "https://home.example/", "logoutUrl": "https://home.example/out"}
CHANGES = [
    pytest.param({"web": {"redirectUris": [URI + "2"]}}, ("web", "homePageUrl"), "https://home.example/", id="web-keeps-its-rest"),
    pytest.param({"web": {"redirectUris": [URI + "2"]}}, ("web", "redirectUris"), [URI + "2"], id="redirect-uris-as-a-whole"),
    pytest.param({"web": {"redirectUris": []}}, ("web", "redirectUris"), [], id="redirect-uris-cleared"),
    pytest.param({"web": {"implicitGrantSettings": {}}, "spa": {}, "publicClient": {}}, ("web", "redirectUris"), [URI], id="empty-parts-change-nothing"),
    pytest.param(
        {"web": {"implicitGrantSettings": {"enableIdTokenIssuance": True}}},
        ("web", "implicitGrantSettings", "enableIdTokenIssuance"),
        True,
        id="part-of-a-part",
    ),
    pytest.param({"web": {"logoutUrl": None}}, ("web", "logoutUrl"), None, id="null-clears"),
    pytest.param({"api": {"requestedAccessTokenVersion": 2}}, ("api", "requestedAccessTokenVersion"), 2, id="token-version"),
    pytest.param({"api": {"requestedAccessTokenVersion": 2}}, ("api", "oauth2PermissionScopes"), [], id="api-keeps-its-rest"),
    pytest.param({"groupMembershipClaims": "ApplicationGroup"}, ("groupMembershipClaims",), "ApplicationGroup", id="claims"),
    pytest.param({"groupMembershipClaims": None}, ("groupMembershipClaims",), None, id="claims-null"),
    pytest.param({"tags": ["b", "a"]}, ("tags",), ["b", "a"], id="tags"),
    pytest.param({"serviceManagementReference": "x"}, ("serviceManagementReference",), "x", id="service-management"),
    pytest.param(
        {"optionalClaims": {"idToken": [{"name": "email", "essential": False}]}},
        ("optionalClaims", "idToken"),
        [{"name": "email", "essential": False}],
        id="optional-claims",
    ),
    pytest.param({"identifierUris": ["api://part"]}, ("identifierUris",), ["api://part"], id="identifier-uris"),
    pytest.param({"isFallbackPublicClient": True}, ("isFallbackPublicClient",), True, id="fallback-public-client"),
    pytest.param({"@odata.type": "#microsoft.graph.application", "notes": "x"}, ("notes",), "x", id="odata-type-of-the-sdks"),
    pytest.param({"keyCredentials": []}, ("keyCredentials",), [], id="no-keys"),
]


@pytest.mark.parametrize(("change", "where", "wanted"), CHANGES)
def test_patch_changes_what_it_names(graph: GraphClient, change: dict[str, Any], where: tuple[str, ...], wanted: object) -> None:
    app = graph.new_application("parts", web=WEB)
    graph.patch(f"/applications/{app['id']}", change)
    found = graph.get(f"/applications/{app['id']}")
    untouched = set(app) - set(change) - {"web"}
    assert {name: found[name] for name in untouched} == {name: app[name] for name in untouched}
    for name in where:
        found = found[name]
    assert found == wanted
    graph.delete(f"/applications/{app['id']}")


# --- refusals ----------------------------------------------------------------------------------------------------------

ROLE = {"id": str(uuid.UUID(int=7)), "allowedMemberTypes": ["User"], "displayName": "r", "description": "r", "isEnabled": True, "value": "r"}
BAD = [
    pytest.param({"nothing": 1}, "does not exist on type", id="unknown-property"),
    pytest.param({"web": {"nothing": 1}}, "does not exist on type", id="unknown-property-of-a-part"),
    pytest.param({"DisplayName": "x"}, "does not exist on type", id="property-in-capitals"),
    pytest.param({"appId": str(uuid.UUID(int=1))}, "read-only", id="app-id"),
    pytest.param({"id": str(uuid.UUID(int=1))}, "read-only", id="id"),
    pytest.param({"publisherDomain": "x"}, "read-only", id="publisher-domain"),
    pytest.param({"info": {"logoUrl": "https://x/"}}, "read-only", id="logo"),
    pytest.param({"displayName": None}, "displayName", id="name-null"),
    pytest.param({"displayName": ""}, "displayName", id="name-empty"),
    pytest.param({"displayName": 1}, "displayName", id="name-a-number"),
    pytest.param({"displayName": "x" * 257}, "displayName", id="name-257"),
    pytest.param({"notes": "x" * 1025}, "notes", id="notes-1025"),
    pytest.param({"tags": "x"}, "tags", id="tags-not-a-list"),
    pytest.param({"tags": ["x", "x"]}, "duplicate", id="tag-twice"),
    pytest.param({"groupMembershipClaims": "securityGroup"}, "groupMembershipClaims", id="claims-unknown"),
    pytest.param({"groupMembershipClaims": ["SecurityGroup"]}, "groupMembershipClaims", id="claims-a-list"),
    pytest.param({"signInAudience": "Everyone"}, "signInAudience", id="audience"),
    pytest.param({"signInAudience": "AzureADandPersonalMicrosoftAccount"}, "requestedAccessTokenVersion", id="personal-needs-version-2"),
    pytest.param({"api": {"requestedAccessTokenVersion": 3}}, "requestedAccessTokenVersion", id="version-3"),
    pytest.param({"api": {"requestedAccessTokenVersion": "2"}}, "requestedAccessTokenVersion", id="version-a-text"),
    pytest.param({"web": None}, "web", id="part-null"),
    pytest.param({"web": {"redirectUris": [URI, URI]}}, "duplicate", id="redirect-uri-twice"),
    pytest.param({"web": {"redirectUris": ["http://x.example/"]}}, "redirectUris", id="redirect-uri-http"),
    pytest.param({"web": {"redirectUris": ["https://*.example/"]}}, "redirectUris", id="redirect-uri-wildcard"),
    pytest.param({"web": {"redirectUris": ["https://x.example/#a"]}}, "redirectUris", id="redirect-uri-fragment"),
    pytest.param({"web": {"redirectUris": ["https://x.example/" + "y" * 240]}}, "redirectUris", id="redirect-uri-257-long"),
    pytest.param({"web": {"redirectUris": [f"https://x.example/{n}" for n in range(257)]}}, "redirectUris", id="redirect-uris-257"),
    pytest.param(
        {"web": {"redirectUris": [f"https://x.example/{n}" for n in range(200)]}, "spa": {"redirectUris": [f"https://y.example/{n}" for n in range(57)]}},
        "redirectUris",
        id="redirect-uris-257-together",
    ),
    pytest.param({"web": {"logoutUrl": "x"}}, "logoutUrl", id="logout-not-a-url"),
    pytest.param({"requiredResourceAccess": [{"resourceAppId": "x", "resourceAccess": []}]}, "resourceAppId", id="resource-not-a-guid"),
    pytest.param({"requiredResourceAccess": [{"resourceAppId": str(uuid.UUID(int=1))}]}, "resourceAccess", id="resource-without-access"),
    pytest.param({"optionalClaims": {"idToken": [{"essential": True}]}}, "name", id="claim-without-a-name"),
    pytest.param({"appRoles": [{"id": str(uuid.UUID(int=1))}]}, "appRoles", id="role-incomplete"),
    pytest.param({"appRoles": [ROLE, ROLE]}, "duplicate", id="role-twice"),
    pytest.param({"passwordCredentials": [{"displayName": "x"}]}, "service actions", id="secret-by-patch"),
    pytest.param({"passwordCredentials": []}, "service actions", id="secrets-cleared-by-patch"),
    pytest.param({"keyCredentials": [{"type": "AsymmetricX509Cert"}]}, "keyCredentials", id="certificate"),
    pytest.param({"@odata.type": "#other.thing"}, "could not be resolved", id="type-of-another-model"),
    pytest.param({"uniqueName": "another"}, "uniqueName", id="unique-name-changed"),
]


@pytest.mark.parametrize(("body", "text"), BAD)
def test_patch_refuses_and_changes_nothing(graph: GraphClient, body: dict[str, Any], text: str) -> None:
    app = graph.new_application("refused", uniqueName=unique())
    answer = graph.send("PATCH", f"/applications/{app['id']}", {"notes": "must not stick", **body})
    assert (answer.status_code, text in answer.text) == (400, True), answer.text
    assert graph.get(f"/applications/{app['id']}") == app


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="no-name"),
        pytest.param({"displayName": "x", "passwordCredentials": [{"displayName": "x"}]}, id="secret"),
        pytest.param({"displayName": "x", "uniqueName": "other"}, id="other-unique-name"),
    ],
)
def test_upsert_that_creates_nothing(graph: GraphClient, body: dict[str, Any]) -> None:
    name = unique()
    assert graph.send("PATCH", f"/applications(uniqueName='{name}')", body, UPSERT).status_code == 400
    assert graph.send("GET", f"/applications(uniqueName='{name}')").status_code == 404


def test_upsert_is_by_unique_name_alone(graph: GraphClient) -> None:
    app = graph.new_application("by id")
    assert graph.send("PATCH", f"/applications/{app['id']}", {"displayName": "x"}, UPSERT).status_code == 400


def test_a_secret_may_be_asked_for_on_create(graph: GraphClient) -> None:
    app = graph.new_application("with a secret", passwordCredentials=[{"displayName": "first"}])
    assert len(app["passwordCredentials"][0]["secretText"]) == 40
    assert graph.get(f"/applications/{app['id']}")["passwordCredentials"][0]["secretText"] is None
    body = {"displayName": "x", "passwordCredentials": [{"secretText": "of my own"}]}
    assert "service actions" in graph.send("POST", "/applications", body).text


def test_values_that_another_application_has(graph: GraphClient) -> None:
    name = unique()
    first = graph.new_application("first", uniqueName=name, identifierUris=[f"api://{name}"])
    second = graph.new_application("second")
    for method, path, body in (
        ("POST", "/applications", {"displayName": "x", "uniqueName": name, **MINE}),
        ("POST", "/applications", {"displayName": "x", "uniqueName": name.upper(), **MINE}),
        ("PATCH", f"/applications/{second['id']}", {"uniqueName": name}),
        ("POST", "/applications", {"displayName": "x", "identifierUris": [f"api://{name}"], **MINE}),
    ):
        error = graph.send(method, path, body).json()["error"]
        assert error["code"] == "Request_BadRequest"
        assert error["message"].startswith("Another object with the same value for property ")
        assert error["details"][0]["code"] == "ObjectConflict"
    assert graph.get(f"/applications/{first['id']}")["uniqueName"] == name


def test_an_enabled_role_has_to_be_disabled_first(graph: GraphClient) -> None:
    app = graph.new_application("roles", appRoles=[ROLE])
    path = f"/applications/{app['id']}"
    assert graph.send("PATCH", path, {"appRoles": []}).json()["error"]["code"] == "CannotDeleteOrUpdateEnabledEntitlement"
    graph.patch(path, {"appRoles": [{**ROLE, "isEnabled": False}]})
    graph.patch(path, {"appRoles": []})


# --- removal -----------------------------------------------------------------------------------------------------------


def test_deleted_applications_keep_their_unique_name_until_they_are_gone(graph: GraphClient) -> None:
    name = unique()
    app = graph.new_application("to be deleted", uniqueName=name)
    graph.delete(f"/applications/{app['id']}")
    answer = graph.send("PATCH", f"/applications(uniqueName='{name}')", {"displayName": "twin", **MINE}, UPSERT)
    assert (answer.status_code, "uniqueName already exists" in answer.text) == (400, True)
    graph.delete(f"/directory/deletedItems/{app['id']}")
    assert graph.patch(f"/applications(uniqueName='{name}')", {"displayName": "twin", **MINE}, UPSERT, 201)["id"] != app["id"]


# --- one directory with the sign-in side -------------------------------------------------------------------------------


def new_login(graph: GraphClient, **properties: Any) -> tuple[dict[str, Any], str]:
    """Make an application with all that a sign-in needs, and return it and its secret."""
    app = graph.new_application("signs in", web={"redirectUris": [URI]}, **properties)
    graph.post("/servicePrincipals", {"appId": app["appId"]})
    return app, graph.post(f"/applications/{app['id']}/addPassword", {}, 200)["secretText"]


def login(tenant: Double, app: dict[str, Any], secret: str) -> dict[str, Any]:
    """Sign alice in; returns the token endpoint's answer, or the authorization endpoint's refusal."""
    browser = Browser(tenant)
    answer = authorize(browser, client_id=app["appId"], redirect_uri=URI)
    if answer.status != 302:
        return {"page": answer.text}
    form = redemption(tenant, answer.answered["code"], client_id=app["appId"], client_secret=secret, redirect_uri=URI)
    return browser.post(TOKEN, form).json()


def test_a_registration_can_log_in_at_once(tenant: Double, graph: GraphClient) -> None:
    app, secret = new_login(graph, groupMembershipClaims="SecurityGroup")
    found = claims(tenant, login(tenant, app, secret)["id_token"])
    assert (found["aud"], len(found["groups"])) == (app["appId"], 2)
    graph.patch(f"/applications/{app['id']}", {"groupMembershipClaims": "DirectoryRole"})
    assert "groups" not in claims(tenant, login(tenant, app, secret)["id_token"])


def test_without_a_service_principal_nobody_signs_in(tenant: Double, graph: GraphClient) -> None:
    app = graph.new_application("no principal", web={"redirectUris": [URI]})
    assert "AADSTS7000229" in login(tenant, app, "x")["page"]


def test_deleted_applications_cannot_sign_in_and_restored_ones_can(tenant: Double, graph: GraphClient) -> None:
    app, secret = new_login(graph)
    principal = graph.get(f"/servicePrincipals(appId='{app['appId']}')")
    graph.delete(f"/applications/{app['id']}")
    assert "AADSTS700016" in login(tenant, app, secret)["page"]
    graph.post(f"/directory/deletedItems/{app['id']}/restore", status=200)
    assert "AADSTS7000229" in login(tenant, app, secret)["page"]
    graph.post(f"/directory/deletedItems/{principal['id']}/restore", status=200)
    assert "id_token" in login(tenant, app, secret)


def test_a_disabled_service_principal_cannot_sign_in(tenant: Double, graph: GraphClient) -> None:
    app, secret = new_login(graph)
    graph.patch(f"/servicePrincipals(appId='{app['appId']}')", {"accountEnabled": False})
    assert "AADSTS7000112" in login(tenant, app, secret)["page"]


def test_what_graph_changes_of_the_cast_the_control_api_shows(own_tenant: Double, own_graph: GraphClient) -> None:
    own_graph.patch("/applications(appId='aaaaaaaa-0000-4000-8000-00000000000a')", {"web": {"redirectUris": [URI]}})
    assert control(own_tenant, "GET", "/apps/team-a")[1]["redirect_uris"] == [URI]
    assert authorize(Browser(own_tenant), redirect_uri=URI).status == 302
