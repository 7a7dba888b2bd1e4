# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Identity that a client writes itself, beside a session of its own or on a public path: what reaches the app is the proxy's word."""

from __future__ import annotations

import collections.abc
import json

import pytest

from tests.e2e.inventory import Inventory
from tests.e2e.login import Browser

from .cast import CANARY, ECHO_A, PROMETHEUS_A, seen_by_app
from .conftest import Tally
from .target import Target, telling
from .test_anonymous import IDENTITY, JSON, WHERE, spellings
from .test_sessions import cookie_of, is_sign_in, with_cookie
from .wire import Answer, Door, head, in_parallel

SignIn = collections.abc.Callable[[str, str], Browser]
# The proxy's four, what it might say and doesn't, and names that only resemble them.
# fmt: off
AUTH_REQUEST = (
    *("User", "Email", "Preferred-Username", "Groups", "Access-Token", "Role", "Redirect", "Redirects", "Red", "R", "", "Id-Token", "Name", "Tenant", "User-", "User-Email"),
    *("Usergroups", "Userx", "Roles", "Claims", "Sub", "Redirect-Uri", "Redirec", "Redirection"),
)
# fmt: on
# Eleven names that our routes remove, and four that the gateway does.
USURPED = (
    *("X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token"),
    *("Remote-User", "Remote-Email", "Remote-Groups", "Remote-Name", "X-Remote-User", "X-WEBAUTH-USER"),
)
REWRITES = ("X-Forwarded-Uri", "X-Forwarded-Host", "X-Original-URL", "X-Rewrite-URL")
HONEST = ("x-auth-request-user", "x-auth-request-email", "x-auth-request-preferred-username", "x-auth-request-groups")


@pytest.fixture(scope="module")
def alice(sign_in: SignIn) -> str:
    return cookie_of(sign_in("alice", ECHO_A), ECHO_A)


def identity(answer: Answer) -> dict[str, list[str]]:
    """Every header the app saw that begins like the proxy's, however it is spelt."""
    headers = seen_by_app(answer.body)["headers"]
    return {name: values for name, values in headers.items() if name.replace("_", "-").startswith("x-auth-request")}


@pytest.mark.attack("forged-identity")
@pytest.mark.parametrize("times", [1, 3], ids=["once", "several times"])
def test_no_forged_identity_reaches_the_app_beside_a_session(door: Door, alice: str, tally: Tally, times: int) -> None:
    target = Target(ECHO_A, door)
    honest = identity(target.get("/", ("Cookie", alice)))
    assert set(honest) == set(HONEST)
    assert honest["x-auth-request-email"] == ["alice@gateway-auth.test"]
    names = [spelling for word in AUTH_REQUEST for spelling in spellings(f"X-Auth-Request-{word}")] + [
        "X-Auth-Request"[:-1],
        "X-Auth_Request-User",
        "x-auth-request_user",
    ]
    shots = [head("GET", "/", target.host, ("Cookie", alice), *([(name, CANARY)] * times)) for name in names]
    for name, answer in zip(names, in_parallel(target.ask, shots), strict=True):
        # A name that begins with a tab goes on from the line before it (obs-fold): then the cookie is the one that is bent.
        assert answer.status in (200, 400) or is_sign_in(answer), (name, telling(answer))
        if answer.status == 200:
            assert CANARY not in answer.body.decode() or not name.lower().strip().startswith("x-auth-request"), (name, telling(answer))
            assert identity(answer) == honest, name
    tally.add(len(names))


@pytest.mark.attack("forged-identity")
def test_forged_identity_around_a_session_changes_nothing(door: Door, alice: str, tally: Tally) -> None:
    """Before and after the cookie, all at once, with every method, through the proxy's path and with ways to fold a header."""
    target = Target(ECHO_A, door)
    honest = identity(target.get("/", ("Cookie", alice)))
    everything = [(f"X-Auth-Request-{word}", CANARY) for word in AUTH_REQUEST if word]
    shots = [
        head(method, path, target.host, *before, ("Cookie", alice), *after)
        for method in ("GET", "POST", "PUT", "FOO")
        for path in ("/", "/x/../y")
        for before, after in ((everything, []), ([], everything))
    ]
    shots.append(head("GET", "/", target.host, ("X-A", f"a\r\n X-Auth-Request-User: {CANARY}"), ("Cookie", alice)))
    shots.append(head("GET", "/", target.host, ("Connection", "X-Auth-Request-User, X-Auth-Request-Email"), ("Cookie", alice), close=False))
    for answer in in_parallel(target.ask, shots):
        assert answer.status in (200, 400), telling(answer)
        if answer.status == 200:
            assert identity(answer) == honest
    tally.add(len(shots))


@pytest.mark.attack("usurped-identity")
def test_what_other_proxies_call_a_user_never_reaches_the_app(door: Door, alice: str, tally: Tally) -> None:
    target = Target(ECHO_A, door)
    names = [spelling for name in (*USURPED, *REWRITES) for spelling in spellings(name)]
    shots = [head("GET", "/wanted", target.host, ("Cookie", alice), *([(name, CANARY)] * times)) for name in names for times in (1, 2)]
    for answer in in_parallel(target.ask, shots):
        assert answer.status in (200, 400) or is_sign_in(answer), telling(answer)
        assert CANARY not in answer.body.decode(), telling(answer)
    everything = seen_by_app(target.get("/wanted", ("Cookie", alice), *((name, CANARY) for name in (*USURPED, *REWRITES))).body)
    assert CANARY not in json.dumps(everything)
    assert everything["path"] == "/wanted"
    tally.add(len(shots) + 1)


@pytest.mark.attack("usurped-identity")
def test_the_session_itself_is_where_it_must_be_and_the_redirect_header_is_not(door: Door, alice: str, tally: Tally) -> None:
    headers = seen_by_app(with_cookie(door, ECHO_A, alice).body)["headers"]
    assert "x-auth-request-redirect" not in headers
    assert "authorization" not in headers
    assert not [name for name in headers if "token" in name]
    tally.add(3)


# --- public paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.attack("public-paths")
def test_nobody_forges_an_identity_on_a_public_path(apps: dict[str, Target], tally: Tally) -> None:
    target = apps["public"]
    assert target.get("/open/page").status == 200
    names = [spelling for name in (*(f"X-Auth-Request-{word}" for word in AUTH_REQUEST), *USURPED, *REWRITES) for spelling in spellings(name)]
    shots = [head("GET", "/open/page", target.host, (name, CANARY)) for name in names]
    for name, answer in zip(names, in_parallel(target.ask, shots), strict=True):
        assert answer.status in (200, 400), (name, telling(answer))
        assert answer.status == 400 or CANARY not in answer.body.decode(), (name, telling(answer))
    tally.add(len(shots))


@pytest.mark.attack("public-paths")
def test_no_way_out_of_a_public_path_is_open(apps: dict[str, Target], tally: Tally) -> None:
    """``..;`` is one to Tomcat and its like: such a path asks for a login although Envoy sees it below the public one."""
    target = apps["public"]
    outside = (
        *(
            "/",
            "/open2",
            "/openx",
            "/OPEN/page",
            "/open/../secret",
            "/open/%2e%2e/secret",
            "/open/.%2e/secret",
            "/open/./../secret",
            "/open//../secret",
            "/open/x/../../secret",
        ),
        *(
            "/open/..;/secret",
            "/open/..;x=1/secret",
            "/open/x/..;/..;/secret",
            "/open;/../secret",
            "/open/.;/../secret",
            "/open/%2e%2e;/secret",
            "/open;x",
            "/open/;/x",
            "/open/a;b",
        ),
        *(
            "/open/..%2fsecret",
            "/open/..%5csecret",
            "/open\\..\\secret",
            "/open/..\\secret",
            "/secret/../open/../secret",
            "//open/../secret",
            "/%6fpen/../secret",
            "/.gateway-auth/probe",
        ),
        *("/secret?/open/", "/secret/open/", "/secret#/open/", "/open/../open/../secret", "/oauth2/../open/../secret"),
    )
    answers = in_parallel(lambda path: target.ask(head("GET", path, target.host, JSON)), outside)
    opened: dict[str, str] = {}
    for path, answer in zip(outside, answers, strict=True):
        for _hop in range(3):
            if answer.status not in (301, 302, 307, 308) or is_sign_in(answer):
                break
            answer = target.get(answer.header("Location").removeprefix(f"https://{target.host}"), JSON)
        # What counts is the path that the app got, which Envoy has tidied.
        if answer.status == 200 and (";" in (got := seen_by_app(answer.body)["path"]) or not f"{got}/".startswith("/open/")):
            opened[path] = telling(answer)
    assert opened == {}
    tally.add(len(outside))


@pytest.mark.attack("anonymous-headers")
def test_the_real_prometheus_is_as_closed_as_the_echo_app(door: Door, onboarded: Inventory, tally: Tally) -> None:
    shots = [(name, value) for name in (*IDENTITY, *WHERE) for value in (CANARY, "/-/healthy")]
    for answer in in_parallel(lambda shot: Target(PROMETHEUS_A, door).get("/-/healthy", shot), shots):
        assert is_sign_in(answer) or answer.status == 400, telling(answer)
        assert b"Prometheus" not in answer.body
    tally.add(len(shots))
