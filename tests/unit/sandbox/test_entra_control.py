# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double's control API, journal, faults and secret files."""

from __future__ import annotations

import http.client
import json
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.sandbox.entra.cast import load_cast
from tests.sandbox.entra.directory import DirectoryError
from tests.sandbox.entra.faults import FaultError, parse_faults
from tests.sandbox.entra.secretsdir import SecretsDir, new_secret
from tests.sandbox.entra.testkit import CAST, Browser, Double, control, running_double
from tests.sandbox.entra.walk import AUTHORIZE, BASE, CALLBACK, TEAM_A, TOKEN, authorize, redemption, refresh, sign_in

KEYS = f"{BASE}/discovery/v2.0/keys"
NEW_URI = "https://grafana-team-a.gateway-auth.test/oauth2/callback"


@pytest.fixture(name="double")
def _double(tmp_path: Path) -> Iterator[Double]:
    with running_double(tmp_path) as double:
        yield double


def test_health(double: Double) -> None:
    assert control(double, "GET", "/healthz") == (200, {"status": "ok"})


# --- journal -----------------------------------------------------------------------------------------------------------


def test_journal_tells_a_sign_in(double: Double) -> None:
    tokens = sign_in(double)
    refresh(double, tokens["refresh_token"])
    authorize(Browser(double), redirect_uri="https://evil.example/")
    _status, entries = control(double, "GET", "/journal")
    path = "/11111111-1111-4111-8111-111111111111/oauth2/v2.0/"
    rows = [(e["method"], e["path"], e["client_id"], e["user"], e["grant_type"], e["status"], e["aadsts"]) for e in entries]
    assert rows == [
        ("GET", f"{path}authorize", TEAM_A, "alice", None, 302, None),
        ("POST", f"{path}token", TEAM_A, "alice", "authorization_code", 200, None),
        ("POST", f"{path}token", TEAM_A, "alice", "refresh_token", 200, None),
        ("GET", f"{path}authorize", TEAM_A, None, None, 400, 50011),
    ]
    assert all(entry["host"] == "login.microsoftonline.com" for entry in entries)
    assert control(double, "DELETE", "/journal") == (204, None)
    assert control(double, "GET", "/journal") == (200, [])


def test_nothing_secret_reaches_journal_or_log(double: Double) -> None:
    browser = Browser(double)
    code = authorize(browser, state="the-state", nonce="the-nonce").answered["code"]
    tokens = browser.post(TOKEN, redemption(double, code)).json()
    renewed = refresh(double, tokens["refresh_token"]).json()
    secret = double.secret("team-a")
    # People paste a secret into the wrong field.
    browser.post(TOKEN, redemption(double, code, client_id=secret, grant_type="refresh_token", refresh_token=code))
    browser.post(TOKEN, redemption(double, code, grant_type=secret))
    authorize(browser, client_id=secret)
    authorize(browser, redirect_uri=f"https://x.example/{secret}")
    control(double, "POST", "/apps/team-a/secret")
    canaries = {
        **{name: tokens[name] for name in ("access_token", "refresh_token", "id_token")},
        "renewed": renewed["refresh_token"],
        "code": code,
        "secret": secret,
        "new secret": double.secret("team-a"),
        "cookie": browser.cookies["ESTSAUTH"],
        "state": "the-state",
        "nonce": "the-nonce",
    }
    written = json.dumps(control(double, "GET", "/journal")[1]) + double.log.read_text("utf-8")
    assert TEAM_A in written
    assert [name for name, value in canaries.items() if value in written] == []


def test_log_is_private_json_lines(double: Double) -> None:
    Browser(double).get(KEYS)
    lines = [json.loads(line) for line in double.log.read_text("utf-8").splitlines()]
    assert lines[0]["event"] == "listening"
    assert lines[1]["path"].endswith("/keys")
    assert stat.S_IMODE(double.log.stat().st_mode) == 0o600


# --- users, groups, applications ---------------------------------------------------------------------------------------


def test_user_shows_groups_and_changes_them(double: Double) -> None:
    status, alice = control(double, "GET", "/users/alice")
    assert (status, alice["groups"]) == (200, ["team-a-developers", "team-a-oncall"])
    assert control(double, "PUT", "/users/alice/groups", [])[1]["groups"] == []
    assert control(double, "PUT", "/users/alice/groups", ["platform-admins"])[1]["groups"] == ["platform-admins"]


def test_application_changes_by_parts(double: Double) -> None:
    before = control(double, "GET", "/apps/team-a")[1]
    status, after = control(double, "PUT", "/apps/team-a", {"redirect_uris": [NEW_URI]})
    assert (status, after) == (200, {**before, "redirect_uris": [NEW_URI]})
    assert "AADSTS50011: " in authorize(Browser(double)).text
    assert authorize(Browser(double), redirect_uri=NEW_URI).status == 302


BAD_CALLS = [
    pytest.param("GET", "/users/nobody", None, 404, id="unknown-user"),
    pytest.param("PUT", "/users/nobody/groups", [], 404, id="groups-of-unknown-user"),
    pytest.param("PUT", "/users/alice/groups", ["team-z"], 400, id="unknown-group"),
    pytest.param("PUT", "/users/alice/groups", "team-a-developers", 400, id="groups-not-a-list"),
    pytest.param("PUT", "/users/alice/groups", [1], 400, id="group-not-a-text"),
    pytest.param("PUT", "/users/alice/groups", ["platform-admins", "platform-admins"], 400, id="group-twice"),
    pytest.param("PUT", "/users/alice/groups?x=1", [], 400, id="query-parameter"),
    pytest.param("PUT", "/users/alice", {"enabled": "no"}, 400, id="enabled-not-a-bool"),
    pytest.param("PUT", "/users/alice", {"enable": False}, 400, id="unknown-user-key"),
    pytest.param("PUT", "/users/alice", [], 400, id="user-not-an-object"),
    pytest.param("PUT", "/groups/new", {"id": "x"}, 400, id="group-id-no-guid"),
    pytest.param("PUT", "/groups/team-a-oncall", {"id": "00000000-0000-4000-8000-000000000001"}, 400, id="group-name-taken"),
    pytest.param("PUT", "/groups/new", {"id": "5f0c0c7e-0000-4000-8000-0000000000a1"}, 400, id="group-id-taken"),
    pytest.param("PUT", "/apps/team-z", {}, 404, id="unknown-app"),
    pytest.param("PUT", "/apps/team-a", {"redirect_uri": []}, 400, id="unknown-app-key"),
    pytest.param("PUT", "/apps/team-a", {"redirect_uris": ["http://x.example/"]}, 400, id="redirect-http"),
    pytest.param("PUT", "/apps/team-a", {"redirect_uris": ["https://x.example/#a"]}, 400, id="redirect-fragment"),
    pytest.param("PUT", "/apps/team-a", {"redirect_uris": ["https://*.x.example/"]}, 400, id="redirect-wildcard"),
    pytest.param("PUT", "/apps/team-a", {"redirect_uris": ["https://x/" + "y" * 250]}, 400, id="redirect-too-long"),
    pytest.param("PUT", "/apps/team-a", {"redirect_uris": [f"https://x/{n}" for n in range(257)]}, 400, id="redirects-257"),
    pytest.param("PUT", "/apps/team-a", {"group_membership_claims": "security"}, 400, id="claims"),
    pytest.param("PUT", "/apps/team-a", {"assignment_required": 1}, 400, id="assignment-not-a-bool"),
    pytest.param("PUT", "/apps/team-a", {"assigned_groups": ["team-z"]}, 400, id="assigned-unknown"),
    pytest.param("PUT", "/apps/team-a", {"federated_credentials": [{"name": "x"}]}, 400, id="federated-incomplete"),
    pytest.param("POST", "/apps/team-a/secret", {"state": "new"}, 400, id="secret-state"),
    pytest.param("POST", "/apps/team-a/secret", {"value": "x"}, 400, id="secret-value-given"),
    pytest.param("PUT", "/faults", {}, 400, id="faults-not-a-list"),
    pytest.param("POST", "/journal", None, 405, id="method"),
    pytest.param("GET", "/nothing", None, 404, id="path"),
]


@pytest.mark.parametrize(("method", "path", "body", "wanted"), BAD_CALLS)
def test_control_is_strict_and_changes_nothing_then(double: Double, method: str, path: str, body: object, wanted: int) -> None:
    def state() -> list[Any]:
        return [control(double, "GET", p)[1] for p in ("/users/alice", "/apps/team-a", "/faults")] + [double.secret("team-a")]

    before = state()
    status, answer = control(double, method, path, body)
    assert status == wanted
    assert set(answer) == {"error"}
    assert state() == before


@pytest.mark.parametrize("body", [pytest.param("{", id="broken"), pytest.param('{"enabled": true, "enabled": false}', id="key-twice")])
def test_control_refuses_bodies_that_are_not_clean_json(double: Double, body: str) -> None:
    target = urlsplit(double.admin)
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=15)
    connection.request("PUT", "/users/alice", body)
    assert connection.getresponse().status == 400
    connection.close()


# --- secrets -----------------------------------------------------------------------------------------------------------


def test_secret_files(double: Double) -> None:
    names = sorted(file.name for file in double.secrets_dir.iterdir())
    assert names == ["automation.secret", "team-a.secret", "team-b.secret"]
    for file in double.secrets_dir.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert re.fullmatch(r"[A-Za-z0-9]{3}8Q~[A-Za-z0-9~._-]{34}", file.read_text("utf-8"))


def test_secret_is_kept_by_the_next_start(tmp_path: Path) -> None:
    with running_double(tmp_path) as double:
        first = double.secret("team-a")
    with running_double(tmp_path) as double:
        assert double.secret("team-a") == first
        assert sign_in(double)["id_token"]


def test_new_secret_replaces_the_old_and_is_in_the_file_alone(double: Double) -> None:
    browser = Browser(double)
    old = redemption(double, authorize(browser).answered["code"])
    status, answer = control(double, "POST", "/apps/team-a/secret")
    assert (status, set(answer)) == (201, {"key_id"})
    assert double.secret("team-a") != old["client_secret"]
    assert browser.post(TOKEN, old).json()["error_codes"] == [7000215]
    assert browser.post(TOKEN, {**old, "client_secret": double.secret("team-a")}).status == 200


def test_damaged_secret_file_stops_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "team-a.secret").write_text(new_secret() + "\n", "utf-8")
    app = load_cast(CAST, time.time).applications[TEAM_A]
    with pytest.raises(DirectoryError, match="without a newline"):
        SecretsDir(folder).ensure(app, 0)


# --- the cast ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("groups: [team-b-developers]", "groups: [team-c]", "unknown group 'team-c'", id="unknown-group"),
        pytest.param("    display_name: Bob (team b)\n", "", "missing key 'display_name'", id="missing-key"),
        pytest.param("groups: []", "group: []", "unknown key 'group'", id="unknown-key"),
        pytest.param("SecurityGroup", "Security", "group_membership_claims", id="claims"),
        pytest.param("5f0c0c7e-0000-4000-8000-0000000000a2", "5f0c", "expected a GUID", id="guid"),
        pytest.param("0000000000a2", "0000000000a1", "is taken", id="same-group-id"),
        pytest.param("https://echo-team-b", "http://echo-team-b", "expected https", id="redirect-uri"),
    ],
)
def test_mistakes_in_the_cast_stop_the_start(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = CAST.read_text("utf-8")
    assert old in text
    path = tmp_path / "cast.yml"
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(DirectoryError, match=message):
        load_cast(path, time.time)


# --- faults ------------------------------------------------------------------------------------------------------------


def put_fault(double: Double, match: dict[str, str], action: dict[str, object], **times: int) -> None:
    assert control(double, "PUT", "/faults", [{"match": match, "action": action, **times}])[0] == 200


def test_fault_answers_in_place_of_the_double_so_many_times(double: Double) -> None:
    action: dict[str, object] = {"status": 429, "headers": {"Retry-After": "7"}, "body": {"error": "throttled"}}
    put_fault(double, {"path_prefix": "/1111", "method": "GET"}, action, times=2)
    browser = Browser(double)
    for _ in range(2):
        answer = browser.get(KEYS)
        assert (answer.status, answer.headers["retry-after"], answer.json()) == (429, "7", {"error": "throttled"})
    assert browser.get(KEYS).status == 200
    assert [entry["fault"] for entry in control(double, "GET", "/journal")[1]] == [True, True, False]


@pytest.mark.parametrize(
    "match",
    [
        pytest.param({"host": "graph.microsoft.com"}, id="host"),
        pytest.param({"method": "POST"}, id="method"),
        pytest.param({"path_prefix": "/common"}, id="path"),
    ],
)
def test_fault_that_does_not_match_is_not_seen(double: Double, match: dict[str, str]) -> None:
    put_fault(double, match, {"status": 503})
    assert Browser(double).get(KEYS).status == 200


def test_fault_drops_the_connection(double: Double) -> None:
    put_fault(double, {}, {"drop": True}, times=1)
    with pytest.raises((ConnectionError, http.client.HTTPException, OSError)):
        Browser(double).get(KEYS)
    assert Browser(double).get(KEYS).status == 200
    assert [entry["status"] for entry in control(double, "GET", "/journal")[1]] == [None, 200]


def test_fault_delays_and_then_answers(double: Double) -> None:
    put_fault(double, {}, {"delay": 0.3})
    start = time.monotonic()
    assert Browser(double).get(KEYS).status == 200
    assert time.monotonic() - start >= 0.3


def test_faults_end_at_once(double: Double) -> None:
    put_fault(double, {}, {"status": 503})
    assert Browser(double).get(KEYS).status == 503
    assert control(double, "DELETE", "/faults") == (204, None)
    assert Browser(double).get(KEYS).status == 200


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param([], id="not-an-object"),
        pytest.param({"match": {}}, id="no-action"),
        pytest.param({"action": {"drop": True}}, id="no-match"),
        pytest.param({"match": {}, "action": {}}, id="empty-action"),
        pytest.param({"match": {}, "action": {"drop": True}, "time": 1}, id="unknown-key"),
        pytest.param({"match": {"path": "/"}, "action": {"drop": True}}, id="unknown-match"),
        pytest.param({"match": {"path_prefix": "x"}, "action": {"drop": True}}, id="path-not-from-root"),
        pytest.param({"match": {"method": "get"}, "action": {"drop": True}}, id="method-in-small"),
        pytest.param({"match": {}, "action": {"code": 1}}, id="unknown-action"),
        pytest.param({"match": {}, "action": {"status": 42}}, id="status-range"),
        pytest.param({"match": {}, "action": {"status": True}}, id="status-bool"),
        pytest.param({"match": {}, "action": {"status": "503"}}, id="status-text"),
        pytest.param({"match": {}, "action": {"body": "x"}}, id="body-without-status"),
        pytest.param({"match": {}, "action": {"status": 500, "headers": {"A": 1}}}, id="header-not-a-text"),
        pytest.param({"match": {}, "action": {"drop": True, "status": 500}}, id="drop-with-status"),
        pytest.param({"match": {}, "action": {"drop": "yes"}}, id="drop-not-a-bool"),
        pytest.param({"match": {}, "action": {"delay": -1}}, id="delay-negative"),
        pytest.param({"match": {}, "action": {"drop": True}, "times": 0}, id="times-zero"),
    ],
)
def test_faults_of_the_wrong_form_are_refused(fault: object) -> None:
    with pytest.raises(FaultError):
        parse_faults([fault])


def test_redirects_keep_the_registered_bytes(double: Double) -> None:
    odd = "https://x.gateway-auth.test/a%2Fb/~c;d?e=f%20g&h="
    control(double, "PUT", "/apps/team-a", {"redirect_uris": [CALLBACK, odd]})
    assert authorize(Browser(double), redirect_uri=odd).location.startswith(odd + "&code=")
    assert Browser(double).get(AUTHORIZE, {"client_id": TEAM_A, "redirect_uri": odd}).location.startswith(odd + "&error=")
