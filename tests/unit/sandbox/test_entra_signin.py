# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sign-in side over real TLS: what it grants, and that it refuses what Entra refuses, with Entra's code."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.sandbox.entra.testkit import Answer, Browser, Double, control, running_double
from tests.sandbox.entra.walk import (
    AUTHORIZE,
    AUTHORIZE_A,
    BASE,
    CALLBACK,
    CALLBACK_B,
    CHALLENGE,
    LOGOUT,
    TEAM_A,
    TEAM_B,
    TENANT,
    TOKEN,
    authorize,
    claims,
    redemption,
    refresh,
    sign_in,
)

A_DEVELOPERS, A_ONCALL, B_DEVELOPERS, ADMINS = (f"5f0c0c7e-0000-4000-8000-0000000000{end}" for end in ("a1", "a2", "b1", "ad"))


@pytest.fixture(scope="module", name="shared")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    with running_double(tmp_path_factory.mktemp("entra")) as double:
        yield double


@pytest.fixture(name="double")
def _double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    """A double of one test's own, for those that change its state."""
    with running_double(tmp_path_factory.mktemp("entra")) as double:
        yield double


def assert_refused(answer: Answer, code: int, error: str, status: int) -> None:
    """The whole shape of an error of the token endpoint."""
    document = answer.json()
    assert (answer.status, document["error"], document["error_codes"]) == (status, error, [code])
    description = document["error_description"]
    assert description.startswith(f"AADSTS{code}: ")
    for name, label in (("trace_id", "Trace ID"), ("correlation_id", "Correlation ID"), ("timestamp", "Timestamp")):
        assert f" {label}: {document[name]}" in description
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", document["timestamp"])
    assert uuid.UUID(document["trace_id"]) != uuid.UUID(document["correlation_id"])
    assert document["error_uri"] == f"https://login.microsoftonline.com/error?code={code}"


# --- discovery ---------------------------------------------------------------------------------------------------------


def test_discovery_names_entras_addresses(shared: Double) -> None:
    document = Browser(shared).get(f"{BASE}/v2.0/.well-known/openid-configuration").json()
    assert document["issuer"] == f"{BASE}/v2.0"
    assert document["authorization_endpoint"] == AUTHORIZE
    assert document["token_endpoint"] == TOKEN
    assert document["jwks_uri"] == f"{BASE}/discovery/v2.0/keys"
    assert document["end_session_endpoint"] == LOGOUT


def test_tenant_may_be_named_by_its_domain(shared: Double) -> None:
    url = "https://login.microsoftonline.com/gateway-auth.test/v2.0/.well-known/openid-configuration"
    assert Browser(shared).get(url).json()["issuer"] == f"{BASE}/v2.0"


@pytest.mark.parametrize(
    ("tenant", "code", "error"),
    [
        pytest.param("22222222-2222-4222-8222-222222222222", 90002, "invalid_tenant", id="unknown-guid"),
        pytest.param("elsewhere.example", 90002, "invalid_tenant", id="unknown-domain"),
        pytest.param("nonsense", 900023, "invalid_tenant", id="no-tenant-name"),
        pytest.param("common", 50194, "invalid_request", id="common"),
    ],
)
def test_discovery_of_another_tenant_is_refused(shared: Double, tenant: str, code: int, error: str) -> None:
    url = f"https://login.microsoftonline.com/{tenant}/v2.0/.well-known/openid-configuration"
    assert_refused(Browser(shared).get(url), code, error, 400)


def test_token_endpoint_of_another_tenant_is_refused(shared: Double) -> None:
    url = TOKEN.replace(TENANT, "22222222-2222-4222-8222-222222222222")
    assert_refused(Browser(shared).post(url, {"grant_type": "refresh_token"}), 90002, "invalid_request", 400)


def test_keys_are_two_and_public(shared: Double) -> None:
    keys = Browser(shared).get(f"{BASE}/discovery/v2.0/keys").json()["keys"]
    assert len({key["kid"] for key in keys}) == 2
    assert all(set(key) == {"kty", "use", "kid", "n", "e", "issuer"} for key in keys)


@pytest.mark.parametrize("path", ["/", "/devicelogin", f"/{TENANT}/oauth2/token", f"/{TENANT}/oauth2/v2.0/Token", "//"])
def test_other_paths_are_not_found(shared: Double, path: str) -> None:
    assert Browser(shared).get(f"https://login.microsoftonline.com{path}").status == 404


# --- UserInfo ----------------------------------------------------------------------------------------------------------


def userinfo(double: Double, token: str | None) -> Answer:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return Browser(double).send("GET", "https://graph.microsoft.com/oidc/userinfo", headers=headers)


def test_userinfo_tells_what_the_id_token_tells(shared: Double) -> None:
    tokens = sign_in(shared)
    answer, found = userinfo(shared, tokens["access_token"]), claims(shared, tokens["id_token"])
    assert answer.status == 200
    assert {name: answer.json()[name] for name in ("sub", "name", "email")} == {name: found[name] for name in ("sub", "name", "email")}
    assert set(userinfo(shared, sign_in(shared, scope="openid")["access_token"]).json()) == {"sub"}


def test_userinfo_refuses_other_tokens(double: Double) -> None:
    tokens = sign_in(double)
    access = tokens["access_token"]
    for name, token in {"none": None, "id": tokens["id_token"], "forged": access[:-8] + "AAAAAAAA"}.items():
        answer = userinfo(double, token)
        assert (answer.status, answer.json()["error"]["code"]) == (401, "InvalidAuthenticationToken"), name
    assert userinfo(double, sign_in(double, scope="User.Read")["access_token"]).status == 403
    double.clock.ahead = 3600
    assert userinfo(double, access).status == 401


def test_userinfo_of_a_disabled_user_is_refused(double: Double) -> None:
    token = sign_in(double)["access_token"]
    control(double, "PUT", "/users/alice", {"enabled": False})
    assert userinfo(double, token).status == 401


def test_another_host_is_misdirected(shared: Double) -> None:
    assert Browser(shared).send("GET", f"{BASE}/", headers={"Host": "login.microsoftonline.us"}).status == 421


# --- the whole flow ----------------------------------------------------------------------------------------------------


def test_code_flow_gives_entras_claims(shared: Double) -> None:
    browser = Browser(shared)
    answer = authorize(browser)
    assert answer.status == 302
    assert answer.location.startswith(f"{CALLBACK}?code=")
    assert answer.answered["state"] == AUTHORIZE_A["state"]
    tokens = browser.post(TOKEN, redemption(shared, answer.answered["code"])).json()
    assert (tokens["token_type"], tokens["scope"], tokens["expires_in"]) == ("Bearer", "email openid profile", 3599)
    found = claims(shared, tokens["id_token"])
    assert found["iss"] == f"{BASE}/v2.0"
    assert (found["aud"], found["tid"], found["ver"], found["nonce"]) == (TEAM_A, TENANT, "2.0", "n-1")
    assert found["preferred_username"] == found["email"] == "alice@gateway-auth.test"
    assert found["oid"] == "00000a11-ce00-4000-8000-000000000001"
    assert found["groups"] == [A_DEVELOPERS, A_ONCALL]
    assert found["iat"] == found["nbf"] < found["exp"]
    assert found["name"] and found["uti"] and found["sub"] != found["oid"]
    access = claims(shared, tokens["access_token"])
    assert (access["aud"], access["appid"]) == ("00000003-0000-0000-c000-000000000000", TEAM_A)
    assert access["scp"] == "email openid profile"


def test_subject_is_pairwise_and_object_id_is_not(shared: Double) -> None:
    first, again = (claims(shared, sign_in(shared)["id_token"]) for _ in range(2))
    browser = Browser(shared)
    code = authorize(browser, client_id=TEAM_B, redirect_uri=CALLBACK_B).answered["code"]
    form = redemption(shared, code, client_id=TEAM_B, client_secret=shared.secret("team-b"), redirect_uri=CALLBACK_B)
    other = claims(shared, browser.post(TOKEN, form).json()["id_token"])
    assert first["sub"] == again["sub"] != other["sub"]
    assert first["oid"] == other["oid"]


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        pytest.param("alice", [A_DEVELOPERS, A_ONCALL], id="alice"),
        pytest.param("carol", [A_DEVELOPERS], id="carol-not-on-call"),
        pytest.param("bob", [B_DEVELOPERS], id="bob"),
        pytest.param("admin", [ADMINS], id="admin"),
        pytest.param("mallory", None, id="mallory-no-claim-at-all"),
        pytest.param("ALICE@Gateway-Auth.test", [A_DEVELOPERS, A_ONCALL], id="upn-in-any-case"),
    ],
)
def test_cast_has_its_groups(shared: Double, user: str, groups: list[str] | None) -> None:
    assert claims(shared, sign_in(shared, user)["id_token"]).get("groups") == groups


@pytest.mark.parametrize(
    ("scope", "present", "absent"),
    [
        pytest.param("openid", ["id_token"], ["refresh_token"], id="openid-alone"),
        pytest.param("openid offline_access", ["id_token", "refresh_token"], [], id="offline"),
        pytest.param("User.Read", ["access_token"], ["id_token", "refresh_token"], id="graph-alone"),
        pytest.param("openid https://graph.microsoft.com/User.Read", ["id_token"], [], id="graph-with-prefix"),
    ],
)
def test_tokens_follow_the_scopes(shared: Double, scope: str, present: list[str], absent: list[str]) -> None:
    tokens = sign_in(shared, scope=scope)
    assert all(name in tokens for name in present)
    assert not any(name in tokens for name in absent)


def test_profile_and_email_claims_follow_their_scopes(shared: Double) -> None:
    found = claims(shared, sign_in(shared, scope="openid")["id_token"])
    assert not {"oid", "name", "preferred_username", "email"} & set(found)


@pytest.mark.parametrize(("mode", "mark"), [pytest.param("query", "?code=", id="query"), pytest.param("fragment", "#code=", id="fragment")])
def test_response_modes_of_a_redirect(shared: Double, mode: str, mark: str) -> None:
    assert authorize(Browser(shared), response_mode=mode).location.startswith(CALLBACK + mark)


def test_form_post_carries_the_code_in_a_form(shared: Double) -> None:
    answer = authorize(Browser(shared), response_mode="form_post")
    assert answer.status == 200
    assert f'action="{CALLBACK}"' in answer.text
    assert 'name="code"' in answer.text


# --- the page, and single sign-on --------------------------------------------------------------------------------------


def test_page_says_it_is_a_double_and_lists_everyone(shared: Double) -> None:
    browser = Browser(shared)
    answer = authorize(browser, login_hint=None, state="<script>")
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/html")
    assert "Test double." in answer.text and "<script>" not in answer.text
    users = re.findall(r'data-user="([^"]+)"', answer.text)
    assert users == [f"{name}@gateway-auth.test" for name in ("alice", "bob", "carol", "admin", "mallory")]
    href = re.findall(r'href="([^"]+)" data-user="bob', answer.text)[0].replace("&amp;", "&")
    picked = browser.send("GET", f"https://login.microsoftonline.com{href}")
    assert (picked.status, picked.answered["state"]) == (302, "<script>")


def test_second_application_signs_in_silently(shared: Double) -> None:
    browser = Browser(shared)
    first = authorize(browser)
    assert all(part in first.headers["set-cookie"].lower() for part in ("estsauth=", "secure", "httponly", "samesite=none"))
    assert authorize(browser, client_id=TEAM_B, redirect_uri=CALLBACK_B, login_hint=None).status == 302


@pytest.mark.parametrize("prompt", ["login", "select_account"])
def test_prompt_forces_the_page_in_spite_of_a_session(shared: Double, prompt: str) -> None:
    browser = Browser(shared)
    authorize(browser)
    assert authorize(browser, login_hint=None, prompt=prompt).status == 200


def test_another_hint_changes_the_session(shared: Double) -> None:
    browser = Browser(shared)
    authorize(browser)
    authorize(browser, login_hint="carol")
    code = authorize(browser, login_hint=None).answered["code"]
    assert claims(shared, browser.post(TOKEN, redemption(shared, code)).json()["id_token"])["name"].startswith("Carol")


def test_prompt_none_needs_a_session(shared: Double) -> None:
    browser = Browser(shared)
    assert authorize(browser, login_hint=None, prompt="none").answered["error"] == "login_required"
    assert authorize(browser, prompt="none").answered["error"] == "login_required"
    authorize(browser)
    assert "code" in authorize(browser, login_hint=None, prompt="none").answered


def test_unknown_hint_shows_the_page_with_the_reason(shared: Double) -> None:
    answer = authorize(Browser(shared), login_hint="nobody")
    assert answer.status == 400
    assert "AADSTS50034" in answer.text and "data-user=" in answer.text


def test_logout_ends_the_session_and_goes_only_where_registered(shared: Double) -> None:
    browser = Browser(shared)
    authorize(browser)
    answer = browser.get(LOGOUT, {"post_logout_redirect_uri": CALLBACK, "state": "x y"})
    assert (answer.status, answer.location) == (302, f"{CALLBACK}?state=x%20y")
    assert authorize(browser, login_hint=None).status == 200


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("https://evil.example/", id="foreign"),
        pytest.param(CALLBACK + "/", id="longer"),
        pytest.param(CALLBACK_B, id="of-an-application-not-signed-in-to"),
    ],
)
def test_logout_does_not_go_elsewhere(shared: Double, target: str) -> None:
    browser = Browser(shared)
    authorize(browser)
    answer = browser.get(LOGOUT, {"post_logout_redirect_uri": target})
    assert (answer.status, answer.location) == (200, "")
    assert browser.cookies == {}


def test_logout_knows_the_application_by_id_token_hint(shared: Double) -> None:
    hint = sign_in(shared)["id_token"]
    browser = Browser(shared)
    assert browser.get(LOGOUT, {"post_logout_redirect_uri": CALLBACK, "id_token_hint": hint}).status == 302
    assert browser.get(LOGOUT, {"post_logout_redirect_uri": CALLBACK, "id_token_hint": hint[:-9]}).status == 200


# --- authorize: errors that stay on Entra's page -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"client_id": None}, 900144, id="no-client"),
        pytest.param({"client_id": ""}, 900144, id="empty-client"),
        pytest.param({"client_id": "dddddddd-0000-4000-8000-00000000000d"}, 700016, id="unknown-client"),
        pytest.param({"client_id": "team-a"}, 700016, id="client-not-a-guid"),
        pytest.param({"redirect_uri": None}, 900971, id="no-redirect-uri"),
        pytest.param({"redirect_uri": CALLBACK + "/"}, 50011, id="trailing-slash"),
        pytest.param({"redirect_uri": CALLBACK.replace("callback", "Callback")}, 50011, id="path-in-capitals"),
        pytest.param({"redirect_uri": CALLBACK.replace("prometheus", "Prometheus")}, 50011, id="host-in-capitals"),
        pytest.param({"redirect_uri": CALLBACK.replace(".test/", ".test:443/")}, 50011, id="default-port"),
        pytest.param({"redirect_uri": CALLBACK + "?a=b"}, 50011, id="query-added"),
        pytest.param({"redirect_uri": CALLBACK.replace("https", "http")}, 50011, id="http"),
        pytest.param({"redirect_uri": CALLBACK.replace("/oauth2", "/%6fauth2")}, 50011, id="percent-encoded"),
        pytest.param({"redirect_uri": CALLBACK_B}, 50011, id="other-teams-uri"),
    ],
)
def test_doubtful_requests_are_never_redirected(shared: Double, changes: dict[str, str | None], code: int) -> None:
    answer = authorize(Browser(shared), **changes)
    assert (answer.status, answer.location) == (400, "")
    assert f"AADSTS{code}: " in answer.text


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "state", "login_hint", "x"])
def test_duplicated_parameter_is_refused(shared: Double, name: str) -> None:
    query = urlencode([*AUTHORIZE_A.items(), ("login_hint", "alice"), ("x", "1"), (name, AUTHORIZE_A.get(name, "1"))])
    answer = Browser(shared).send("GET", f"{AUTHORIZE}?{query}")
    assert (answer.status, answer.location) == (400, "")
    assert "AADSTS9000411: " in answer.text


def test_posting_to_authorize_is_refused(shared: Double) -> None:
    assert "AADSTS900561: " in Browser(shared).post(AUTHORIZE, AUTHORIZE_A).text


# --- authorize: errors that go to the application ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "error"),
    [
        pytest.param({"scope": "openid profile email groups"}, 650053, "invalid_client", id="scope-groups"),
        pytest.param({"scope": None}, 900144, "invalid_request", id="no-scope"),
        pytest.param({"scope": " "}, 900144, "invalid_request", id="blank-scope"),
        pytest.param({"scope": "openid GroupMember.Read.All"}, 65001, "consent_required", id="no-consent"),
        pytest.param({"scope": "openid https://other.example/x"}, 70011, "invalid_scope", id="unknown-resource"),
        pytest.param({"response_type": None}, 900144, "invalid_request", id="no-response-type"),
        pytest.param({"response_type": "id_token"}, 700054, "unsupported_response_type", id="id-token"),
        pytest.param({"response_type": "code id_token"}, 700054, "unsupported_response_type", id="hybrid"),
        pytest.param({"response_type": "token"}, 700051, "unsupported_response_type", id="token"),
        pytest.param({"response_type": "none"}, 70005, "unsupported_response_type", id="other-response-type"),
        pytest.param({"response_mode": "web_message"}, 70007, "invalid_request", id="response-mode"),
        pytest.param({"prompt": "force"}, 90023, "invalid_request", id="prompt"),
        pytest.param({"resource": "x"}, 901002, "invalid_request", id="resource"),
        pytest.param({"code_challenge": None, "code_challenge_method": None}, 9002325, "invalid_request", id="no-pkce"),
        pytest.param({"code_challenge": None}, 50147, "invalid_request", id="method-without-challenge"),
        pytest.param({"code_challenge_method": "plain"}, 50149, "invalid_request", id="plain"),
        pytest.param({"code_challenge_method": None}, 50149, "invalid_request", id="plain-by-default"),
        pytest.param({"code_challenge_method": "s256"}, 50149, "invalid_request", id="s256-in-small"),
        pytest.param({"code_challenge": CHALLENGE[:-1]}, 501491, "invalid_request", id="challenge-too-short"),
        pytest.param({"code_challenge": CHALLENGE + "="}, 501491, "invalid_request", id="challenge-padded"),
    ],
)
def test_requests_the_application_must_mend(shared: Double, changes: dict[str, str | None], code: int, error: str) -> None:
    answer = authorize(Browser(shared), **changes)
    assert answer.status == 302
    assert answer.location.startswith(f"{CALLBACK}?error=")
    assert answer.answered["error"] == error
    assert answer.answered["error_description"].startswith(f"AADSTS{code}: ")
    assert answer.answered["state"] == AUTHORIZE_A["state"]
    assert "code" not in answer.answered


# --- token: the request and the client ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "error", "status"),
    [
        pytest.param({"grant_type": None}, 900144, "invalid_request", 400, id="no-grant-type"),
        pytest.param({"grant_type": "password"}, 70003, "unsupported_grant_type", 400, id="password-grant"),
        pytest.param({"client_id": None}, 900144, "invalid_request", 400, id="no-client"),
        pytest.param({"code": None}, 900144, "invalid_request", 400, id="no-code"),
        pytest.param({"redirect_uri": None}, 900144, "invalid_request", 400, id="no-redirect-uri"),
        pytest.param({"client_id": "dddddddd-0000-4000-8000-00000000000d"}, 700016, "unauthorized_client", 400, id="unknown-client"),
        pytest.param({"client_secret": None}, 7000218, "invalid_client", 401, id="no-secret"),
        pytest.param({"client_secret": "wrong"}, 7000215, "invalid_client", 401, id="wrong-secret"),
        pytest.param({"client_assertion": "a.b.c"}, 9002313, "invalid_request", 400, id="secret-and-assertion"),
        pytest.param({"client_secret": None, "client_assertion": "x"}, 900144, "invalid_request", 400, id="assertion-untyped"),
        pytest.param(
            {"client_secret": None, "client_assertion": "x", "client_assertion_type": "saml"},
            90023,
            "invalid_request",
            400,
            id="assertion-of-another-type",
        ),
        pytest.param({"code": "made-up"}, 9002313, "invalid_grant", 400, id="made-up-code"),
        pytest.param({"redirect_uri": CALLBACK + "/"}, 500112, "invalid_client", 400, id="other-redirect-uri"),
        pytest.param({"code_verifier": None}, 50148, "invalid_grant", 400, id="no-verifier"),
        pytest.param({"code_verifier": "w" * 43}, 501481, "invalid_grant", 400, id="wrong-verifier"),
        pytest.param({"code_verifier": CHALLENGE}, 501481, "invalid_grant", 400, id="challenge-as-verifier"),
        pytest.param({"scope": "groups"}, 70011, "invalid_scope", 400, id="unknown-scope"),
        pytest.param({"scope": "Group.Read.All"}, 65001, "invalid_grant", 400, id="scope-without-consent"),
        pytest.param({"resource": "x"}, 901002, "invalid_request", 400, id="resource"),
    ],
)
def test_token_endpoint_refuses(shared: Double, changes: dict[str, str | None], code: int, error: str, status: int) -> None:
    browser = Browser(shared)
    form = redemption(shared, authorize(browser).answered["code"], **changes)
    assert_refused(browser.post(TOKEN, form), code, error, status)


def test_secret_of_another_application_is_wrong(shared: Double) -> None:
    browser = Browser(shared)
    form = redemption(shared, authorize(browser).answered["code"], client_secret=shared.secret("team-b"))
    assert_refused(browser.post(TOKEN, form), 7000215, "invalid_client", 401)


def test_code_of_another_application_is_refused(shared: Double) -> None:
    browser = Browser(shared)
    form = redemption(shared, authorize(browser).answered["code"], client_id=TEAM_B, client_secret=shared.secret("team-b"))
    assert_refused(browser.post(TOKEN, form), 70000, "invalid_grant", 400)


def test_token_endpoint_wants_a_form_by_post(shared: Double) -> None:
    browser = Browser(shared)
    assert_refused(browser.get(TOKEN), 900561, "invalid_request", 405)
    as_json = browser.send("POST", TOKEN, json.dumps({"grant_type": "x"}), {"Content-Type": "application/json"})
    assert_refused(as_json, 900144, "invalid_request", 400)
    twice = "grant_type=refresh_token&grant_type=refresh_token"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_refused(browser.send("POST", TOKEN, twice, form), 9000411, "invalid_request", 400)


def test_secrets_are_not_taken_from_a_browser(shared: Double) -> None:
    browser = Browser(shared)
    form = redemption(shared, authorize(browser).answered["code"])
    answer = browser.post(TOKEN, form, {"Origin": "https://prometheus-team-a.gateway-auth.test"})
    assert_refused(answer, 9002326, "invalid_request", 400)


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def test_client_secret_basic(shared: Double) -> None:
    browser = Browser(shared)
    form = redemption(shared, authorize(browser).answered["code"], client_id=None, client_secret=None)
    quoted = shared.secret("team-a").replace("~", "%7E")
    assert_refused(browser.post(TOKEN, form, basic(TEAM_A, "wrong")), 7000215, "invalid_client", 401)
    assert browser.post(TOKEN, form, basic(TEAM_A, quoted)).status == 200


@pytest.mark.parametrize(
    ("header", "changes"),
    [
        pytest.param("Basic !!!", {"client_secret": None}, id="not-base64"),
        pytest.param("Bearer abc", {"client_secret": None}, id="bearer"),
        pytest.param(basic(TEAM_A, "x")["Authorization"], {}, id="two-ways-at-once"),
        pytest.param(basic(TEAM_B, "x")["Authorization"], {"client_secret": None}, id="two-clients-at-once"),
    ],
)
def test_malformed_client_authentication(shared: Double, header: str, changes: dict[str, str | None]) -> None:
    browser = Browser(shared)
    form = redemption(shared, authorize(browser).answered["code"], **changes)
    assert_refused(browser.post(TOKEN, form, {"Authorization": header}), 9002313, "invalid_request", 400)


def test_correlation_id_of_the_client_comes_back(shared: Double) -> None:
    wanted = "12345678-1234-4123-8123-123456789abc"
    answer = Browser(shared).post(TOKEN, {"grant_type": "x"}, {"client-request-id": wanted})
    assert answer.json()["correlation_id"] == answer.headers["client-request-id"] == wanted


# --- codes and refresh tokens ------------------------------------------------------------------------------------------


def test_code_works_once_and_a_second_use_revokes(shared: Double) -> None:
    browser = Browser(shared)
    form = redemption(shared, authorize(browser).answered["code"])
    tokens = browser.post(TOKEN, form).json()
    assert refresh(shared, tokens["refresh_token"]).status == 200
    assert_refused(browser.post(TOKEN, form), 54005, "invalid_grant", 400)
    assert_refused(refresh(shared, tokens["refresh_token"]), 50173, "invalid_grant", 400)


def test_code_expires(double: Double) -> None:
    browser = Browser(double)
    form = redemption(double, authorize(browser).answered["code"])
    double.clock.ahead = 601
    assert_refused(browser.post(TOKEN, form), 70008, "invalid_grant", 400)


def test_failed_attempt_does_not_use_the_code_up(shared: Double) -> None:
    browser = Browser(shared)
    form = redemption(shared, authorize(browser).answered["code"])
    assert browser.post(TOKEN, {**form, "client_secret": "wrong"}).status == 401
    assert browser.post(TOKEN, form).status == 200


def test_refresh_rotates_shows_groups_of_now_and_has_no_nonce(double: Double) -> None:
    tokens = sign_in(double)
    control(double, "PUT", "/users/alice/groups", ["team-b-developers"])
    renewed = refresh(double, tokens["refresh_token"]).json()
    assert renewed["refresh_token"] != tokens["refresh_token"]
    found = claims(double, renewed["id_token"])
    assert found["groups"] == [B_DEVELOPERS]
    assert "nonce" not in found
    assert refresh(double, renewed["refresh_token"]).status == 200
    # Two replicas of a client may refresh at once: Entra keeps the old token good.
    assert refresh(double, tokens["refresh_token"]).status == 200


@pytest.mark.parametrize(
    ("changes", "code", "error", "status"),
    [
        pytest.param({"refresh_token": None}, 900144, "invalid_request", 400, id="missing"),
        pytest.param({"refresh_token": "made-up"}, 9002313, "invalid_grant", 400, id="made-up"),
        pytest.param({"client_secret": "wrong"}, 7000215, "invalid_client", 401, id="wrong-secret"),
        pytest.param({"scope": "openid groups"}, 70011, "invalid_scope", 400, id="unknown-scope"),
    ],
)
def test_refresh_refuses(shared: Double, changes: dict[str, str | None], code: int, error: str, status: int) -> None:
    assert_refused(refresh(shared, sign_in(shared)["refresh_token"], **changes), code, error, status)


def test_refresh_token_of_another_application_is_refused(shared: Double) -> None:
    answer = refresh(shared, sign_in(shared)["refresh_token"], client_id=TEAM_B, client_secret=shared.secret("team-b"))
    assert_refused(answer, 70000, "invalid_grant", 400)


def test_refresh_token_expires(double: Double) -> None:
    token = sign_in(double)["refresh_token"]
    double.clock.ahead = 90 * 86400 + 1
    assert_refused(refresh(double, token), 700082, "invalid_grant", 400)


def test_refresh_does_not_widen_to_offline_access(shared: Double) -> None:
    browser = Browser(shared)
    code = authorize(browser, scope="openid").answered["code"]
    tokens = browser.post(TOKEN, redemption(shared, code, scope="openid offline_access")).json()
    assert "refresh_token" not in tokens


# --- people and applications that change -------------------------------------------------------------------------------


def test_disabled_user_is_out_everywhere(double: Double) -> None:
    browser = Browser(double)
    tokens = sign_in(double)
    code = authorize(browser).answered["code"]
    assert control(double, "PUT", "/users/alice", {"enabled": False})[0] == 200
    assert_refused(refresh(double, tokens["refresh_token"]), 50057, "invalid_grant", 400)
    assert_refused(browser.post(TOKEN, redemption(double, code)), 50057, "invalid_grant", 400)
    assert "AADSTS50057: " in authorize(browser).text
    assert authorize(browser, login_hint=None).status == 200


def test_deleted_user_cannot_refresh(double: Double) -> None:
    token = sign_in(double)["refresh_token"]
    del double.service.directory.users["alice"]
    assert_refused(refresh(double, token), 500341, "invalid_grant", 400)


def test_assignment_required(double: Double) -> None:
    token = sign_in(double, "mallory")["refresh_token"]
    control(double, "PUT", "/apps/team-a", {"assignment_required": True})
    answer = authorize(Browser(double), login_hint="mallory")
    assert (answer.location, "AADSTS50105: " in answer.text) == ("", True)
    assert_refused(refresh(double, token), 50105, "invalid_grant", 400)
    assert authorize(Browser(double), login_hint="alice").status == 302


def test_disabled_application(double: Double) -> None:
    browser = Browser(double)
    form = redemption(double, authorize(browser).answered["code"])
    control(double, "PUT", "/apps/team-a", {"enabled": False})
    assert "AADSTS7000112: " in authorize(browser).text
    assert_refused(browser.post(TOKEN, form), 7000112, "unauthorized_client", 400)


def test_expired_secret(double: Double) -> None:
    browser = Browser(double)
    form = redemption(double, authorize(browser).answered["code"])
    control(double, "POST", "/apps/team-a/secret", {"state": "expired"})
    assert_refused(browser.post(TOKEN, form), 7000222, "invalid_client", 401)
    assert_refused(browser.post(TOKEN, {**form, "client_secret": "wrong"}), 7000215, "invalid_client", 401)
    control(double, "POST", "/apps/team-a/secret", {"state": "valid"})
    assert browser.post(TOKEN, form).status == 200


# --- groups ------------------------------------------------------------------------------------------------------------


def join_groups(double: Double, count: int) -> None:
    """Make alice a member of so many groups, the first of them of the cast."""
    names = ["team-a-developers"]
    for number in range(count - 1):
        names.append(f"bulk-{number}")
        assert control(double, "PUT", f"/groups/{names[-1]}", {"id": str(uuid.UUID(int=number + 1))})[0] == 201
    assert control(double, "PUT", "/users/alice/groups", names)[0] == 200


def test_group_overage_is_above_200(double: Double) -> None:
    join_groups(double, 201)
    found = claims(double, sign_in(double)["id_token"])
    assert "groups" not in found
    assert found["_claim_names"] == {"groups": "src1"}
    assert found["_claim_sources"]["src1"]["endpoint"].endswith(f"/users/{found['oid']}/getMemberObjects")
    names = control(double, "GET", "/users/alice")[1]["groups"]
    control(double, "PUT", "/users/alice/groups", names[:200])
    found = claims(double, sign_in(double)["id_token"])
    assert len(found["groups"]) == 200
    assert "_claim_names" not in found


def test_application_groups_avoid_overage(double: Double) -> None:
    join_groups(double, 201)
    control(double, "PUT", "/apps/team-a", {"group_membership_claims": "ApplicationGroup"})
    assert claims(double, sign_in(double)["id_token"])["groups"] == [A_DEVELOPERS]


def test_no_groups_claim_when_the_application_asks_for_none(double: Double) -> None:
    control(double, "PUT", "/apps/team-a", {"group_membership_claims": "None"})
    assert not {"groups", "_claim_names"} & set(claims(double, sign_in(double)["id_token"]))


def test_application_group_not_assigned_is_left_out(double: Double) -> None:
    control(double, "PUT", "/apps/team-a", {"group_membership_claims": "ApplicationGroup"})
    assert "groups" not in claims(double, sign_in(double, "bob")["id_token"])


# --- keys --------------------------------------------------------------------------------------------------------------


def test_rotation_signs_with_the_published_next_key_and_keeps_the_old(double: Double) -> None:
    browser = Browser(double)
    before = browser.get(f"{BASE}/discovery/v2.0/keys").json()["keys"]
    token = sign_in(double)["id_token"]
    _status, rotated = control(double, "POST", "/keys/rotate")
    assert rotated["kid"] == before[1]["kid"]
    assert claims(double, token)["aud"] == TEAM_A
    header = json.loads(base64.urlsafe_b64decode(sign_in(double)["id_token"].split(".")[0] + "=="))
    assert header["kid"] == rotated["kid"]
    control(double, "POST", "/keys/rotate")
    after = {key["kid"] for key in browser.get(f"{BASE}/discovery/v2.0/keys").json()["keys"]}
    assert before[0]["kid"] not in after


# --- client credentials ------------------------------------------------------------------------------------------------


def client_credentials(double: Double, scope: str) -> Answer:
    form = {"grant_type": "client_credentials", "client_id": TEAM_A, "client_secret": double.secret("team-a"), "scope": scope}
    return Browser(double).post(TOKEN, form)


def test_client_credentials_give_a_token_for_graph_alone(shared: Double) -> None:
    tokens = client_credentials(shared, "https://graph.microsoft.com/.default").json()
    assert set(tokens) == {"token_type", "expires_in", "ext_expires_in", "access_token"}
    found = claims(shared, tokens["access_token"])
    assert (found["appid"], found["idtyp"]) == (TEAM_A, "app")
    assert found["oid"] == found["sub"] == shared.service.directory.service_principals[TEAM_A].id


@pytest.mark.parametrize(
    ("scope", "code", "error"),
    [
        pytest.param("", 900144, "invalid_request", id="none"),
        pytest.param("https://graph.microsoft.com/User.Read", 1002012, "invalid_scope", id="not-default"),
        pytest.param("openid https://graph.microsoft.com/.default", 1002012, "invalid_scope", id="two"),
        pytest.param("https://other.example/.default", 70011, "invalid_scope", id="other-resource"),
    ],
)
def test_client_credentials_scopes(shared: Double, scope: str, code: int, error: str) -> None:
    assert_refused(client_credentials(shared, scope), code, error, 400)
