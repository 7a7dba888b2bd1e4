# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must go on working while everything else is refused."""

from __future__ import annotations

import base64
import collections.abc
import hashlib
import json
import os
import struct
import time
import urllib.parse

import pytest

from tests.e2e.inventory import Inventory
from tests.e2e.login import Browser
from tests.e2e.sandbox import LOGIN, TENANT, Sandbox

from .cast import ECHO_A, HOSTS, PROMETHEUS_A, seen_by_app
from .conftest import Tally
from .target import Target, telling
from .test_sessions import cookie_of, is_sign_in, with_cookie
from .wire import TIMEOUT, Door, exchange, head, in_parallel

SignIn = collections.abc.Callable[[str, str], Browser]
LINKS = (
    "/graph?g0.expr=up%20x&g0.tab=1",
    "/a%20b/c?x=%2F%2f&u=https://x.test//y;z&empty=&plus=a+b&pct=%25",
    "/d/abc/board?var-a=1&var-b=%7B%22x%22:1%7D&from=now-6h",
    "/?rd=/elsewhere&allowed_groups=x&state=y&code=z",
    "/" + "long/" * 300 + "?q=" + "x" * 1500,
)


@pytest.mark.attack("deep-link")
@pytest.mark.parametrize("link", LINKS, ids=lambda link: link[:40])
def test_a_deep_link_arrives_byte_for_byte(browser: type[Browser], onboarded: Inventory, tally: Tally, link: str) -> None:
    visit = browser("alice").visit(f"https://{ECHO_A}{link}")
    assert visit.final.status == 200, visit
    assert seen_by_app(visit.final.body)["path"] == link
    tally.add()


@pytest.mark.attack("programs")
@pytest.mark.parametrize("accept", ["application/json", "application/json, text/plain, */*", "application/json;q=0.9,text/html;q=0.1"])
def test_a_program_gets_401_and_no_page(door: Door, onboarded: Inventory, tally: Tally, accept: str) -> None:
    answer = Target(PROMETHEUS_A, door).ask(head("GET", "/api/v1/query?query=up", PROMETHEUS_A, ("Accept", accept), ("X-Requested-With", "XMLHttpRequest")))
    if accept.startswith("application/json;q"):
        assert answer.status in (302, 401), "a weighted media range is one that oauth2-proxy doesn't know; never the app"
    else:
        assert answer.status == 401, telling(answer)
        assert answer.header("Content-Type").startswith("application/json")
        assert b"<html" not in answer.body.lower()
        assert json.loads(answer.body) == {}
    tally.add()


def _handshake(host: str, *headers: tuple[str, str]) -> bytes:
    websocket = (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
    return head("GET", "/socket?x=1", host, *websocket, *headers, close=False)


def _frame(text: bytes) -> bytes:
    """A client's text frame, masked as it must be."""
    mask = os.urandom(4)
    size = bytes([0x80 | len(text)]) if len(text) < 126 else bytes([0x80 | 126]) + struct.pack(">H", len(text))
    return b"\x81" + size + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))


@pytest.mark.attack("websocket")
def test_a_websocket_opens_with_a_session_and_with_nothing_less(door: Door, sign_in: SignIn, tally: Tally) -> None:
    cookie = cookie_of(sign_in("alice", ECHO_A), ECHO_A)
    with door.secure(ECHO_A) as connection:
        connection.sendall(_handshake(ECHO_A, ("Cookie", cookie), ("X-Auth-Request-User", "forged"), ("Remote-User", "forged")))
        connection.settimeout(TIMEOUT)
        received = b""

        def message() -> bytes:
            nonlocal received
            while True:
                if len(received) >= 4 and received[0] == 0x81:
                    size, start = (received[1], 2) if received[1] < 126 else (struct.unpack(">H", received[2:4])[0], 4)
                    if len(received) >= start + size:
                        text, received = received[start : start + size], received[start + size :]
                        return text
                part = connection.recv(65536)
                assert part, f"the connection ended: {received!r}"
                received += part

        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        top, _, received = received.partition(b"\r\n\r\n")
        assert top.startswith(b"HTTP/1.1 101"), top
        assert base64.b64encode(hashlib.sha1(b"dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()) in top
        seen = seen_by_app(message())
        assert seen["headers"]["x-auth-request-email"] == ["alice@gateway-auth.test"]
        assert "forged" not in json.dumps(seen)
        for text in (b"hello", b"x" * 3000):
            connection.sendall(_frame(text))
            assert message() == text
            tally.add()
    for headers in ((), (("Cookie", cookie[:-4] + "AAAA"),), (("Origin", "https://evil.example.com"),)):
        with door.secure(ECHO_A) as connection:
            (answer,) = exchange(connection, _handshake(ECHO_A, *headers))
        assert is_sign_in(answer), telling(answer)
        tally.add()


@pytest.mark.attack("long-request")
def test_a_long_answer_arrives_where_the_app_s_timeout_allows_it(k1: Inventory, sign_in: SignIn, door: Door, tally: Tally) -> None:
    """Envoy Gateway's own limit is 15 s; ``timeout: 40s`` is what team k1 says of one app and not of the other."""
    hosts = [HOSTS["patient"], HOSTS["plain"]]
    cookies = [cookie_of(sign_in("alice", host), host) for host in hosts]

    def ask(number: int) -> tuple[int, float]:
        start = time.monotonic()
        with door.secure(hosts[number]) as connection:
            connection.settimeout(30)
            connection.sendall(head("GET", "/slow?echo-sleep=17s", hosts[number], ("Cookie", cookies[number])))
            status = int(connection.recv(64).split(b" ")[1])
        return status, time.monotonic() - start

    (patient, took), (plain, cut) = in_parallel(ask, (0, 1))
    assert patient == 200
    assert took >= 17
    assert plain == 504
    assert 14 < cut < 17
    tally.add(2)


@pytest.mark.attack("upload")
def test_twenty_megabytes_arrive_whole_and_without_a_session_not_at_all(door: Door, sign_in: SignIn, tally: Tally) -> None:
    body = os.urandom(1 << 20) * 20
    cookie = cookie_of(sign_in("alice", ECHO_A), ECHO_A)
    target = Target(ECHO_A, door)
    answer = target.ask(head("POST", "/upload", ECHO_A, ("Cookie", cookie), ("Content-Length", str(len(body)))) + body)
    assert answer.status == 200, telling(answer)
    assert seen_by_app(answer.body)["body"] == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    refused = target.ask(head("POST", "/upload", ECHO_A, ("Content-Length", str(len(body)))) + body)
    assert refused.status == 0 or is_sign_in(refused), telling(refused)
    tally.add(2)


@pytest.mark.attack("public")
def test_public_paths_answer_everybody_and_the_rest_asks_for_a_login(apps: dict[str, Target], sign_in: SignIn, tally: Tally) -> None:
    target = apps["public"]
    for path in ("/open", "/open/", "/open/page?x=1&y=%20", "/open/a/../b", "/open/%41"):
        assert seen_by_app(target.get(path).body)["headers"].get("x-auth-request-user") is None
        tally.add()
    assert is_sign_in(target.get("/closed"))
    carol = cookie_of(sign_in("carol", target.host), target.host)
    assert target.get("/closed", ("Cookie", carol)).status == 200
    assert target.get("/closed/a;b", ("Cookie", carol)).status == 200
    tally.add(3)


@pytest.mark.attack("narrowed")
def test_two_apps_of_one_proxy_each_let_their_groups_in(k1: Inventory, sign_in: SignIn, door: Door, tally: Tally) -> None:
    for user, narrow in (("alice", 200), ("carol", 403)):
        cookie = cookie_of(sign_in(user, HOSTS["plain"]), HOSTS["plain"])
        assert with_cookie(door, HOSTS["plain"], cookie).status == 200
        assert with_cookie(door, HOSTS["narrow"], cookie).status == narrow
        tally.add(2)


@pytest.mark.attack("session")
def test_a_session_is_good_for_many_requests_and_asks_entra_no_more(sandbox: Sandbox, door: Door, sign_in: SignIn, tally: Tally) -> None:
    cookie = cookie_of(sign_in("alice", ECHO_A), ECHO_A)
    sandbox.entra("DELETE", "/journal")
    answers = in_parallel(lambda number: with_cookie(door, ECHO_A, cookie, f"/work?n={number}"), range(200))
    assert {answer.status for answer in answers} == {200}
    assert [entry for entry in sandbox.entra("GET", "/journal") if entry["host"] == LOGIN and "alice" in json.dumps(entry)] == []
    tally.add(len(answers))


@pytest.mark.attack("sign-out")
def test_signing_out_ends_the_session_here(browser: type[Browser], onboarded: Inventory, tally: Tally) -> None:
    alice = browser("alice")
    assert alice.visit(f"https://{ECHO_A}/").final.status == 200
    gone = alice.get(f"https://{ECHO_A}/oauth2/sign_out")
    assert (gone.status, gone.location) == (302, "/")
    assert alice.get(f"https://{ECHO_A}/").status == 302
    # Entra still knows the browser: without naming a user the next sign-in needs no page.
    alice.user = ""
    assert alice.visit(f"https://{ECHO_A}/").final.status == 200
    tally.add(2)


@pytest.mark.attack("sign-out")
def test_signing_out_at_entra_too_ends_both_sessions(browser: type[Browser], onboarded: Inventory, tally: Tally) -> None:
    alice = browser("alice")
    assert alice.visit(f"https://{ECHO_A}/").final.status == 200
    alice.user = ""
    visit = alice.visit(f"https://{ECHO_A}/oauth2/sign_out?rd={urllib.parse.quote('/.gateway-auth/sign-out', safe='')}")
    assert [hop.host.removesuffix(":443") for hop in visit.hops] == [ECHO_A, ECHO_A, LOGIN]
    assert urllib.parse.urlsplit(visit.final.url).path == f"/{TENANT}/oauth2/v2.0/logout"
    again = alice.visit(f"https://{ECHO_A}/")
    assert again.final.host == LOGIN
    assert again.final.status == 200, "Entra's page, which asks who it is"
    assert not any(b'"pod"' in hop.body for hop in again.hops)
    tally.add(2)
