# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a sign-in and a sign-out may lead: the team's own hosts, as a browser reads an address, and never with a token elsewhere."""

from __future__ import annotations

import collections.abc
import re
import urllib.parse

import pytest

from tests.e2e.inventory import Inventory
from tests.e2e.login import Browser
from tests.e2e.sandbox import LOGIN, Sandbox

from .cast import ECHO_A, ECHO_B, HOSTS_OF_A, PROMETHEUS_A, PROXY_A
from .conftest import Tally
from .target import Target, telling
from .test_sessions import cookie_of
from .wire import Answer, Door, in_parallel

SignIn = collections.abc.Callable[[str, str], Browser]
EVIL = "evil.example.com"
# fmt: off
ELSEWHERE = (
    *(f"https://{EVIL}/", f"http://{EVIL}/", f"//{EVIL}/", f"///{EVIL}/", f"////{EVIL}/", f"/\\{EVIL}/", f"\\\\{EVIL}/", f"\\/{EVIL}/", f"/\\/{EVIL}/", f"/\\\\{EVIL}"),
    *(f"https:{EVIL}/", f"https:/{EVIL}/", f"https:///{EVIL}/", f"https:\\\\{EVIL}/", f"https://\\{EVIL}/", f"HTTPS://{EVIL}/", f" https://{EVIL}/", f"\thttps://{EVIL}/"),
    *(f"https://{ECHO_A}@{EVIL}/", f"https://{ECHO_A}:443@{EVIL}/", f"https://{ECHO_A}%40{EVIL}/", f"https://{EVIL}\\@{ECHO_A}/", f"https://{EVIL}#@{ECHO_A}/", f"https://{EVIL}?@{ECHO_A}/"),
    *(f"https://{ECHO_A}.{EVIL}/", f"https://{EVIL}/{ECHO_A}/", f"https://{ECHO_A}{EVIL}/", f"https://{EVIL}.gateway-auth.test/", "https://other.gateway-auth.test/", "https://gateway-auth.test/"),
    *(f"https://{ECHO_B}/", f"https://{ECHO_A}:8443/", f"https://{ECHO_A}:80/", f"https://x.{ECHO_A}/", f"https://{ECHO_A.replace('.', '%2e')}.{EVIL}/", f"https://{ECHO_A}%00.{EVIL}/"),
    *(f"https://{ECHO_A}%2f@{EVIL}/", f"https://{ECHO_A}\\.{EVIL}/", f"https://{ECHO_A}\t.{EVIL}/", f"https://{ECHO_A}\n.{EVIL}/", "https://\uff45vil.example.com/", f"https://{EVIL}\u3002/", f"https://{ECHO_A}\u3002{EVIL}/"),
    *(f"/\t/{EVIL}/", f"/\n/{EVIL}/", f"/\r/{EVIL}/", f"/ /{EVIL}/", f"/./{EVIL}//{EVIL}", f"/.//{EVIL}/", f"/..//{EVIL}/", f"/x/..//{EVIL}/", f"/./\\{EVIL}/", f"/%09/{EVIL}/", f"/%2f{EVIL}/", f"/%5c{EVIL}/", f"/\x0b/{EVIL}/"),
    *("javascript:alert(1)", "javascript://x%0aalert(1)", "data:text/html,<script>alert(1)</script>", "vbscript:x", "file:///etc/passwd", f"ftp://{EVIL}/", f"ws://{EVIL}/", f"blob:https://{EVIL}/x", f"{EVIL}", f"{EVIL}/x", "."),
    *(f"/x\r\nLocation: https://{EVIL}/", "/x\r\nSet-Cookie: stolen=1", f"/x%0d%0aLocation:%20https://{EVIL}/", f"/x%250d%250aLocation: https://{EVIL}/", "/x\u560d\u560aSet-Cookie: stolen=1"),
    *(f"https://[::1]/{EVIL}", "https://127.0.0.1/", "https://2130706433/", "https://localhost/", f"https://{LOGIN}/common/oauth2/v2.0/authorize?redirect_uri=https://{EVIL}/", f"https://{LOGIN}/"),
)
TOKENS = (
    *(f"https://{EVIL}/{{id_token}}", f"//{EVIL}/{{id_token}}", f"/\\{EVIL}/{{id_token}}", f"https://{ECHO_B}/{{id_token}}", "https://other.gateway-auth.test/?t={id_token}", f"https://{ECHO_A}.{EVIL}/{{id_token}}"),
    *(f"https://{LOGIN}/common/oauth2/v2.0/authorize?client_id=theirs&state={{id_token}}&redirect_uri=https://{EVIL}/", f"https://{EVIL}#{{id_token}}", f"https://{{id_token}}.{EVIL}/", f"https://{{id_token}}@{EVIL}/"),
    *("https://{id_token}/", "{id_token}", f"https:{EVIL}/{{id_token}}", f"https://{ECHO_A}@{EVIL}/{{id_token}}", f"https://{ECHO_A}:8443/{{id_token}}", "javascript:{id_token}"),
)
# fmt: on


def browser_host(base: str, location: str) -> str:
    """The host a browser would go to (WHATWG URL): it drops tabs and line ends, reads ``\\`` as ``/``, and two of them as a host."""
    text = re.sub(r"[\t\r\n]", "", location).strip("".join(map(chr, range(0x21)))).replace("\\", "/")
    scheme = re.match(r"(?i)(https?|wss?|ftp):", text)
    if scheme:
        rest = text[scheme.end() :]
        if scheme[1].lower() == "https" and not rest.startswith("/"):
            return base  # the base's own scheme and no slash: relative
        authority = re.split(r"[/?#]", rest.lstrip("/"), maxsplit=1)[0]
    elif re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text):
        return f"another scheme: {text[:40]}"
    elif text.startswith("//"):
        authority = re.split(r"[/?#]", text.lstrip("/"), maxsplit=1)[0]
    else:
        return base
    host = urllib.parse.unquote(authority.rpartition("@")[2]).lower()
    return host.removesuffix(":443").rstrip(".")


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("/x", "base"),
        ("x", "base"),
        ("https://a.b/x", "a.b"),
        ("//a.b/x", "a.b"),
        ("/\\a.b", "a.b"),
        ("\\\\a.b", "a.b"),
        ("/\t/a.b", "a.b"),
        (" https:\\\\a.b", "a.b"),
        ("https:a.b", "base"),
        ("http:a.b", "a.b"),
        ("https:///a.b", "a.b"),
        ("https://x@a.b:443/", "a.b"),
        ("https://a.b:8443/", "a.b:8443"),
        ("https://a.b\\@c/", "a.b"),
        ("javascript:x", "another scheme: javascript:x"),
        ("///a.b", "a.b"),
    ],
)
def test_addresses_are_read_as_a_browser_reads_them(location: str, host: str) -> None:
    assert browser_host("base", location) == host


def _rd(endpoint: str, value: str) -> str:
    return f"/oauth2/{endpoint}?rd={urllib.parse.quote(value, safe='')}"


def _stays(host: str, answer: Answer) -> bool:
    return (
        browser_host(host, answer.header("Location")) in HOSTS_OF_A
        and not any("stolen" in cookie for cookie in answer.all("Set-Cookie"))
        and len(answer.all("Location")) == 1
    )


@pytest.mark.attack("open-redirect")
@pytest.mark.parametrize("host", [ECHO_A, PROXY_A], ids=["app", "proxy"])
def test_no_sign_out_leads_elsewhere(door: Door, onboarded: Inventory, tally: Tally, host: str) -> None:
    target = Target(host, door)
    raw = [value for value in ELSEWHERE if value.isascii() and value.isprintable() and " " not in value]
    paths = (
        [_rd("sign_out", value) for value in ELSEWHERE]
        + [f"/oauth2/sign_out?rd={value}" for value in raw]
        + [f"/oauth2/sign_out?x=1&rd=/ok&rd={value}" for value in raw]
    )
    for path, answer in zip(paths, in_parallel(target.get, paths), strict=True):
        assert (answer.status == 302 and _stays(host, answer)) or answer.status in (400, 500), (path, telling(answer))
    headers = [
        (name, value)
        for name in ("X-Auth-Request-Redirect", "X-Forwarded-Host", "X-Forwarded-Uri", "X-Original-URL", "Referer")
        for value in (f"https://{EVIL}/", EVIL, f"//{EVIL}/")
    ]
    for header, answer in zip(headers, in_parallel(lambda header: target.get("/oauth2/sign_out", header), headers), strict=True):
        assert answer.status == 302, (header, telling(answer))
        assert _stays(host, answer), (header, telling(answer))
    tally.add(len(paths) + len(headers))


@pytest.mark.attack("open-redirect")
def test_no_sign_in_leads_elsewhere(sandbox: Sandbox, onboarded: Inventory, tally: Tally) -> None:
    """The whole way through Entra for each address: where to go afterwards is known only at its end."""
    starts = [f"https://{ECHO_A}{_rd('start', value)}" for value in ELSEWHERE]

    def walk(url: str) -> Answer:
        browser = Browser(sandbox, "alice")
        begun = browser.get(url)
        if begun.status != 302 or not begun.location.startswith(f"https://{LOGIN}/"):
            return Answer(begun.status, tuple(begun.headers), begun.body)
        back = browser.get(f"{begun.location}&login_hint=alice@gateway-auth.test").location
        done = browser.get(back)
        return Answer(done.status, tuple(done.headers), done.body)

    for url, answer in zip(starts, in_parallel(walk, starts), strict=True):
        assert (answer.status == 302 and _stays(ECHO_A, answer)) or answer.status in (400, 403, 500), (url, telling(answer))
    assert browser_host("x", walk(f"https://{ECHO_A}{_rd('start', f'https://{PROMETHEUS_A}/graph')}").header("Location")) == PROMETHEUS_A, (
        "a good one must be followed, or nothing was tried"
    )
    tally.add(len(starts))


@pytest.mark.attack("open-redirect")
def test_the_sign_in_page_repeats_no_address_and_no_script(door: Door, onboarded: Inventory, tally: Tally) -> None:
    target = Target(ECHO_A, door)
    texts = [*ELSEWHERE, '"><script>alert(1)</script>', "'-alert(1)-'", "</title><svg onload=alert(1)>"]
    paths = [_rd("sign_in", text) for text in texts] + [f"/oauth2/callback?error={urllib.parse.quote(text, safe='')}" for text in texts[-3:]]
    for path, answer in zip(paths, in_parallel(target.get, paths), strict=True):
        assert not re.search(rb"<script>alert|<svg onload", answer.body), path
        links = re.findall(r"(?:href|action|value)=\"([^\"]*)\"", answer.body.decode("utf-8", "replace"))
        assert not [link for link in links if EVIL in browser_host(ECHO_A, link)], (path, links)
    tally.add(len(paths))


@pytest.mark.attack("token-in-redirect")
def test_no_sign_out_carries_the_token_elsewhere(door: Door, sign_in: SignIn, tally: Tally) -> None:
    """With a session each time, for without one there is no token to carry."""
    cookies = in_parallel(lambda _value: cookie_of(sign_in("alice", ECHO_A), ECHO_A), TOKENS)
    for value, cookie in zip(TOKENS, cookies, strict=True):
        answer = Target(ECHO_A, door).get(_rd("sign_out", value), ("Cookie", cookie))
        location = answer.header("Location")
        assert answer.status in (302, 400, 500), (value, telling(answer))
        assert "eyJ" not in location or _stays(ECHO_A, answer), (value, location)
        assert EVIL not in browser_host(ECHO_A, location), (value, location)
    tally.add(len(TOKENS))


@pytest.mark.attack("token-in-redirect")
def test_the_way_out_of_entra_takes_nobody_s_token_along(door: Door, sign_in: SignIn, tally: Tally) -> None:
    """``/.gateway-auth/sign-out`` leads to the tenant's logout page whatever is asked; Entra itself follows registered addresses alone."""
    target = Target(ECHO_A, door)
    alice = sign_in("alice", ECHO_A)
    for query in ("", f"?post_logout_redirect_uri=https://{EVIL}/", f"?rd=https://{EVIL}/", f"?post_logout_redirect_uri=https://{EVIL}/&state={{id_token}}"):
        place = target.get(f"/.gateway-auth/sign-out{query}").header("Location")
        assert browser_host(ECHO_A, place) == LOGIN
        assert urllib.parse.urlsplit(place).path.endswith("/oauth2/v2.0/logout")
        visit = alice.visit(place)
        assert {hop.host for hop in visit.hops} == {LOGIN}
        assert not visit.final.location
        tally.add()
