# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who gets in, by a browser's own steps, with the real Prometheus, Alertmanager and an app that echoes what it received."""

from __future__ import annotations

import collections.abc
import json
import typing as t

import pytest

from .inventory import Inventory
from .login import Browser, Hop, Visit
from .sandbox import LOGIN, TENANT

DEEP_LINK = "/graph?g0.expr=up%20x&g0.tab=1"
# Raw double slashes, a semicolon, escapes of both cases: what hand-made set-ups lose.
HARD_LINK = "/a%2fb/c%20d?g0.expr=up%20x&u=https://x.test//y;z&empty=&plus=a+b&pct=%25"
PROMETHEUS_A = "https://prometheus-team-a.gateway-auth.test"
ALERTMANAGER_A = "https://alertmanager-team-a.gateway-auth.test"
ECHO_A = "https://echo-team-a.gateway-auth.test"
PROMETHEUS_B = "https://prometheus-team-b.gateway-auth.test"
ECHO_B = "https://echo-team-b.gateway-auth.test"
FORGED = {
    "X-Auth-Request-User": "forged",
    "X-Auth-Request-Email": "forged@example.com",
    "X-Auth-Request-Preferred-Username": "forged",
    "X-Auth-Request-Groups": "forged",
    "X-Auth-Request-Access-Token": "forged",
    "X-Auth-Request-Role": "forged",
    "X-Auth-Request-Redirect": "https://forged.example.com/",
    "X-Auth-Request-Redirects": "forged",
    "X-Auth-Request-": "forged",
    "X-Auth-Request-R": "forged",
    "X-Forwarded-Uri": "/oauth2/static/forged",
    "X-Forwarded-Host": "forged.example.com",
}
New = collections.abc.Callable[..., Browser]

pytestmark = pytest.mark.usefixtures("onboarded")


def _is_sign_in(hop: Hop) -> bool:
    return hop.status == 302 and hop.location.startswith(f"https://{LOGIN}/{TENANT}/oauth2/v2.0/authorize?")


def _echo(hop: Hop) -> dict[str, t.Any]:
    assert hop.status == 200, hop.text[:500]
    seen = json.loads(hop.body)
    seen["headers"] = {name.lower(): values for name, values in seen["headers"].items()}
    return t.cast("dict[str, t.Any]", seen)


def _hosts(visit: Visit) -> list[str]:
    return [hop.host for hop in visit.hops]


@pytest.mark.parametrize(
    ("url", "page"),
    [
        pytest.param(f"{PROMETHEUS_A}{DEEP_LINK}", "Prometheus", id="prometheus deep link"),
        pytest.param(f"{ALERTMANAGER_A}/", "Alertmanager", id="alertmanager"),
    ],
)
@pytest.mark.parametrize("user", ["alice", "admin"])
def test_a_member_gets_the_app_at_the_address_asked_for(browser: New, user: str, url: str, page: str) -> None:
    visit = browser(user).visit(url)
    assert visit.final.status == 200, visit
    assert page in visit.final.text
    host = url.split("/")[2]
    assert _hosts(visit)[:4] == [host, LOGIN, host, host]
    assert "/oauth2/callback?" in visit.hops[2].url
    # From here on it is the app that answers: Debian's Prometheus sends /graph on to /classic/graph, with the query as it came.
    assert visit.hops[3].url == url
    assert set(_hosts(visit)[3:]) == {host}
    assert visit.final.url.partition("?")[2] == url.partition("?")[2]


@pytest.mark.parametrize("path", [DEEP_LINK, HARD_LINK.replace("%2f", "/"), "/?q=a%20b;c&u=https://x.test//y"])
def test_the_deep_link_reaches_the_app_byte_for_byte(browser: New, path: str) -> None:
    visit = browser("alice").visit(f"{ECHO_A}{path}")
    seen = _echo(visit.final)
    assert seen["path"] == path, visit
    assert seen["headers"]["x-auth-request-email"] == ["alice@gateway-auth.test"]


def test_a_session_asks_entra_no_more(browser: New) -> None:
    alice = browser("alice")
    alice.visit(f"{ECHO_A}/")
    assert [hop.status for hop in alice.visit(f"{ECHO_A}/again?x=%20").hops] == [200]


@pytest.mark.parametrize(
    ("user", "url"),
    [
        pytest.param("mallory", f"{PROMETHEUS_A}{DEEP_LINK}", id="no group"),
        pytest.param("mallory", f"{ECHO_B}/", id="no group, team b"),
        pytest.param("bob", f"{PROMETHEUS_A}/", id="team b's member at team a"),
        pytest.param("alice", f"{PROMETHEUS_B}/", id="team a's member at team b"),
    ],
)
def test_others_get_403_and_never_the_app(browser: New, user: str, url: str) -> None:
    visit = browser(user).visit(url)
    assert visit.final.status == 403, visit
    assert "/oauth2/callback?" in visit.final.url
    assert not any("Prometheus" in hop.text or '"pod"' in hop.text for hop in visit.hops)


def test_bob_gets_into_his_own_team(browser: New) -> None:
    seen = _echo(browser("bob").visit(f"{ECHO_B}/x").final)
    assert seen["headers"]["x-auth-request-email"] == ["bob@gateway-auth.test"]


def test_an_admin_gets_into_both_teams(browser: New) -> None:
    admin = browser("admin")
    for url in (ECHO_A, ECHO_B):
        assert _echo(admin.visit(f"{url}/").final)["headers"]["x-auth-request-email"] == ["admin@gateway-auth.test"]


@pytest.mark.parametrize("url", [f"{PROMETHEUS_A}{DEEP_LINK}", f"{ALERTMANAGER_A}/", f"{ECHO_A}/x", f"{PROMETHEUS_B}/", f"{ECHO_B}/"])
def test_without_a_cookie_a_browser_is_sent_to_sign_in(browser: New, url: str) -> None:
    assert _is_sign_in(browser().get(url))


@pytest.mark.parametrize("rename", [False, True], ids=["its own name", "team b's cookie name"])
def test_team_a_cookie_is_worthless_at_team_b(browser: New, rename: bool) -> None:
    admin = browser("admin")  # may enter both, so only the session is what fails
    _echo(admin.visit(f"{ECHO_A}/").final)
    header = admin.jar.header("echo-team-a.gateway-auth.test", "/", secure=True)
    assert "__Host-o2p-team-a=" in header
    stolen = header.replace("team-a", "team-b") if rename else header
    answer = browser().get(f"{ECHO_B}/", {"Cookie": stolen})
    assert _is_sign_in(answer), (answer.status, answer.text[:300])


def test_no_cookie_of_one_host_is_sent_to_another(browser: New) -> None:
    alice = browser("alice")
    alice.visit(f"{ECHO_A}/")
    assert "__Host-o2p-team-a" in alice.jar.names("echo-team-a.gateway-auth.test")
    for other in ("prometheus-team-a", "echo-team-b", "monitoring-oauth2-team-a"):
        assert alice.jar.names(f"{other}.gateway-auth.test") == set()


def test_sign_out_ends_the_session_for_the_cookie_too(browser: New) -> None:
    alice = browser("alice")
    alice.visit(f"{ECHO_A}/")
    kept = alice.jar.header("echo-team-a.gateway-auth.test", "/", secure=True)
    assert _echo(browser().get(f"{ECHO_A}/", {"Cookie": kept}))
    gone = alice.get(f"{ECHO_A}/oauth2/sign_out")
    assert gone.status == 302, gone.text[:300]
    assert gone.location in ("/", f"{ECHO_A}/")
    assert _is_sign_in(alice.get(f"{ECHO_A}/"))
    # Not only forgotten by the browser: whoever kept the cookie has nothing.
    assert _is_sign_in(browser().get(f"{ECHO_A}/", {"Cookie": kept}))


def test_sign_out_leads_nowhere_else(browser: New) -> None:
    alice = browser("alice")
    alice.visit(f"{ECHO_A}/")
    gone = alice.get(f"{ECHO_A}/oauth2/sign_out?rd=https://evil.example.com/%7Bid_token%7D")
    assert gone.status == 302
    assert "evil" not in gone.location


@pytest.mark.parametrize("headers", [{"Accept": "application/json"}, {"Accept": "application/json", "X-Requested-With": "XMLHttpRequest"}])
def test_a_program_gets_401_as_json(browser: New, headers: dict[str, str]) -> None:
    answer = browser().get(f"{PROMETHEUS_A}/api/v1/query?query=up", headers)
    assert answer.status == 401
    assert answer.header("Content-Type").startswith("application/json")
    assert json.loads(answer.body) == {}


def test_forged_headers_without_a_session_open_nothing(browser: New) -> None:
    plain, forged = browser().get(f"{ECHO_A}/x"), browser().get(f"{ECHO_A}/x", FORGED)
    assert _is_sign_in(plain)
    assert _is_sign_in(forged)
    assert "forged" not in forged.location


def test_forged_headers_with_a_session_never_reach_the_app(browser: New) -> None:
    alice = browser("alice")
    honest = _echo(alice.visit(f"{ECHO_A}/").final)
    forged = _echo(alice.get(f"{ECHO_A}/", FORGED))
    ours = {name: values for name, values in forged["headers"].items() if name.startswith("x-auth-request-")}
    assert ours == {name: values for name, values in honest["headers"].items() if name.startswith("x-auth-request-")}
    assert "forged" not in json.dumps(forged)
    assert ours["x-auth-request-email"] == ["alice@gateway-auth.test"]
    assert "x-auth-request-redirect" not in forged["headers"]


def test_the_sentinel_never_reaches_the_app(browser: New) -> None:
    assert browser().get(f"{ECHO_A}/.gateway-auth/probe", {"Accept": "application/json"}).status == 401
    alice = browser("alice")
    alice.visit(f"{ECHO_A}/")
    answer = alice.get(f"{ECHO_A}/.gateway-auth/probe")
    assert answer.status != 200
    assert b'"pod"' not in answer.body


@pytest.mark.parametrize("path", ["/", DEEP_LINK])
def test_plain_http_is_redirected_to_the_same_address(browser: New, path: str) -> None:
    answer = browser().get(f"http://prometheus-team-a.gateway-auth.test{path}")
    assert answer.status == 301
    assert answer.location.replace(":443/", "/") == f"{PROMETHEUS_A}{path}"


def test_verify_agrees_and_writes_its_report(sandbox: t.Any, onboarded: Inventory, tmp_path: t.Any) -> None:
    run = sandbox.playbook("verify_team", "-e", f"report={tmp_path}/report.json", inventory=onboarded.path).must()
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["ok"] is True
    assert sorted(document["teams"]) == ["team-a", "team-b"]
    for team in document["teams"].values():
        for check in team["checks"]:
            assert check["title"] in " ".join(run.output.split()) or check["ok"] is False, check
