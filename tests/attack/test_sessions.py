# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attacks with a session, or what is left of one: cookies, codes, states, groups, and what a host owes its neighbours."""

from __future__ import annotations

import base64
import collections.abc
import dataclasses
import hashlib
import http.client
import json
import ssl
import time
import typing as t
import urllib.parse

import pytest

from tests.e2e.inventory import Inventory
from tests.e2e.login import Browser, Hop
from tests.e2e.sandbox import LOGIN, TENANT, Sandbox

from .cast import ALERTMANAGER_A, ECHO_A, ECHO_B, HOSTS, HOSTS_OF_A, PROMETHEUS_A, PROXY_A, PROXY_B, REFRESH_S, seen_by_app
from .conftest import Tally
from .target import Target, telling
from .wire import Answer, Door, exchange, head, in_parallel

SignIn = collections.abc.Callable[[str, str], Browser]
HTML = ("Accept", "text/html")
COOKIE = "__Host-o2p-team-a"


def cookie_of(browser: Browser, host: str) -> str:
    """The Cookie header a browser would send to a host."""
    return browser.jar.header(host, "/", secure=True)


def is_sign_in(answer: Answer | Hop) -> bool:
    return answer.status == 302 and answer.header("Location").startswith(f"https://{LOGIN}/{TENANT}/oauth2/v2.0/authorize?")


@pytest.fixture(scope="module")
def admin_cookie(sign_in: SignIn) -> str:
    """A session at team a of somebody who may enter team b as well: that only the session is wrong there is what is tested."""
    return cookie_of(sign_in("admin", ECHO_A), ECHO_A)


def with_cookie(door: Door, host: str, cookie: str, path: str = "/") -> Answer:
    return Target(host, door).get(path, ("Cookie", cookie))


# --- cookies elsewhere ------------------------------------------------------------------------------------------------------


@pytest.mark.attack("cookie-elsewhere")
def test_a_cookie_of_team_a_is_worthless_at_team_b(door: Door, admin_cookie: str, tally: Tally) -> None:
    value = admin_cookie.partition("=")[2]
    names = ("__Host-o2p-team-a", "__Host-o2p-team-b", "__Host-o2p", "_oauth2_proxy", "__host-o2p-team-b", "__Secure-o2p-team-b")
    shots = [(host, f"{name}={value}") for host in (ECHO_B, PROXY_B) for name in names]
    shots += [(host, f"{admin_cookie}; __Host-o2p-team-b={value}") for host in (ECHO_B, PROXY_B)]
    for (host, _cookie), answer in zip(shots, in_parallel(lambda shot: with_cookie(door, *shot), shots), strict=True):
        assert is_sign_in(answer), (host, telling(answer))
    assert with_cookie(door, PROXY_B, f"__Host-o2p-team-b={value}", "/oauth2/userinfo").status == 401
    assert with_cookie(door, ECHO_A, admin_cookie).status == 200, "the cookie must be good where it belongs, or nothing was tried"
    tally.add(len(shots) + 1)


@pytest.mark.attack("cookie-sent")
def test_a_browser_sends_the_cookie_to_the_app_s_host_alone(sign_in: SignIn, tally: Tally) -> None:
    alice = sign_in("alice", ECHO_A)
    others = (PROMETHEUS_A, ALERTMANAGER_A, PROXY_A, ECHO_B, PROXY_B, "gateway-auth.test", f"x.{ECHO_A}")
    assert {host: alice.jar.names(host) for host in others} == {host: set() for host in others}
    assert alice.jar.header(ECHO_A, "/", secure=False) == ""
    answer = Browser(alice._sandbox).get(f"https://{ECHO_A}/")
    cookies = [value for name, value in answer.headers if name.lower() == "set-cookie"]
    assert cookies
    for cookie in cookies:
        attributes = {part.strip().partition("=")[0].lower() for part in cookie.split(";")[1:]}
        assert {"secure", "httponly", "samesite", "path"} <= attributes
        assert "domain" not in attributes
        assert cookie.startswith("__Host-")
    tally.add(len(others) + 1)


@pytest.mark.attack("cookie-tampered")
def test_no_changed_cookie_opens_a_door(door: Door, sign_in: SignIn, tally: Tally) -> None:
    alice, carol = (cookie_of(sign_in(user, ECHO_A), ECHO_A).partition("=")[2] for user in ("alice", "carol"))
    ticket, when, signature = alice.split("|")
    theirs = carol.split("|")
    step = max(1, len(alice) // 60)
    variants = {f"byte {place}": alice[:place] + ("A" if alice[place] != "A" else "B") + alice[place + 1 :] for place in range(0, len(alice) - 1, step)}
    variants |= {
        "somebody else's ticket": "|".join([theirs[0], when, signature]),
        "somebody else's signature": "|".join([ticket, when, theirs[2]]),
        "somebody else's time and signature": "|".join([ticket, *theirs[1:]]),
        "a later time": "|".join([ticket, str(int(when) + 3600), signature]),
        "no signature": "|".join([ticket, when, ""]),
        "two parts": "|".join([ticket, when]),
        "four parts": f"{alice}|x",
        "the ticket alone": ticket,
        "half": alice[: len(alice) // 2],
        "twice": alice + alice,
        "in capitals": alice.upper(),
        "escaped": urllib.parse.quote(alice, safe=""),
        "another version": alice.replace("v2", "v1", 1) if alice.startswith("v2") else f"x{alice}",
    }
    changed = {name: value for name, value in variants.items() if value != alice}
    answers = in_parallel(lambda value: with_cookie(door, ECHO_A, f"{COOKIE}={value}"), changed.values())
    assert [name for name, answer in zip(changed, answers, strict=True) if not is_sign_in(answer)] == []
    assert with_cookie(door, ECHO_A, f"{COOKIE}={alice}").status == 200
    tally.add(len(changed))


@pytest.mark.attack("cookie-kept")
def test_a_cookie_kept_from_before_the_sign_out_is_worthless_everywhere(door: Door, sign_in: SignIn, tally: Tally) -> None:
    alice = sign_in("alice", ECHO_A)
    kept = cookie_of(alice, ECHO_A)
    assert with_cookie(door, ECHO_A, kept).status == 200
    assert alice.get(f"https://{ECHO_A}/oauth2/sign_out").status == 302
    for host in sorted(HOSTS_OF_A):
        assert is_sign_in(with_cookie(door, host, kept)), host
    assert with_cookie(door, PROXY_A, kept, "/oauth2/userinfo").status == 401
    tally.add(len(HOSTS_OF_A) + 1)


# --- the sign-in itself -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Interrupted:
    """A sign-in up to the callback that Entra sends the browser to, which hasn't been asked for yet."""

    browser: Browser
    host: str
    authorize: str
    callback: str = ""

    @classmethod
    def begin(cls, sandbox: Sandbox, user: str, host: str, *, to_entra: bool = True, **changed: str) -> Interrupted:
        """``changed``: parameters of the request to Entra that somebody on the way has replaced."""
        browser = Browser(sandbox, user)
        url = browser.get(f"https://{host}/wanted").location
        assert url.startswith(f"https://{LOGIN}/")
        if changed:
            parts = urllib.parse.urlsplit(url)
            query = dict(urllib.parse.parse_qsl(parts.query)) | changed
            url = urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query)))
        begun = cls(browser, host, url)
        if to_entra:
            begun.callback = browser.get(f"{url}&login_hint={user}@gateway-auth.test").location
            assert begun.callback.startswith(f"https://{host}/oauth2/callback?"), begun.callback
        return begun

    @property
    def query(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.callback).query))

    @property
    def csrf(self) -> str:
        return cookie_of(self.browser, self.host)

    def call(self, door: Door, *, host: str = "", cookie: str | None = None, method: str = "GET", **changed: str) -> Answer:
        """Ask for the callback, with parameters replaced (an empty one is left out)."""
        query = {name: value for name, value in (self.query | changed).items() if value}
        path = f"/oauth2/callback?{urllib.parse.urlencode(query)}"
        return Target(host or self.host, door).get(path, ("Cookie", self.csrf if cookie is None else cookie), method=method)


def session_in(answer: Answer, name: str = COOKIE) -> str:
    """The session that an answer sets, as a Cookie header; "" when it sets none."""
    for cookie in answer.all("Set-Cookie"):
        key, _, value = cookie.partition(";")[0].partition("=")
        if key == name and value:
            return f"{key}={value}"
    return ""


@pytest.mark.attack("code-replay")
def test_a_code_is_good_once_and_in_one_browser(sandbox: Sandbox, onboarded: Inventory, door: Door, tally: Tally) -> None:
    mine, victim = (Interrupted.begin(sandbox, user, ECHO_A) for user in ("carol", "alice"))
    renamed = victim.csrf.replace("team-a", "team-b")
    tries = {
        "without the CSRF cookie": lambda: victim.call(door, cookie=""),
        "with another browser's": lambda: victim.call(door, cookie=mine.csrf),
        "under another name": lambda: victim.call(door, cookie=victim.csrf.replace("csrf", "csrg")),
        "with a changed one": lambda: victim.call(door, cookie=victim.csrf[:-3] + "AAA"),
        "with another browser's state": lambda: victim.call(door, state=mine.query["state"]),
        "their code in my browser": lambda: mine.call(door, code=victim.query["code"]),
        "with a changed state": lambda: victim.call(door, state="AAAA" + victim.query["state"][4:]),
        "without a state": lambda: victim.call(door, state=""),
        "with a state of one's own": lambda: victim.call(door, state="x:https://evil.example.com/"),
        "without a code": lambda: victim.call(door, code=""),
        "with a made-up code": lambda: mine.call(door, code="1.AAAA"),
        "with an error": lambda: victim.call(door, error="access_denied", error_description="<script>alert(1)</script>"),
        "at team b": lambda: victim.call(door, host=ECHO_B),
        "at team b, cookie renamed": lambda: victim.call(door, host=ECHO_B, cookie=renamed),
        "at team b's proxy": lambda: victim.call(door, host=PROXY_B, cookie=renamed),
        "at another app of the team": lambda: victim.call(door, host=PROMETHEUS_A),
    }
    for name, act in tries.items():
        answer = act()
        assert session_in(answer) == session_in(answer, "__Host-o2p-team-b") == "", f"{name}: {telling(answer)}"
        assert answer.status >= 400 or is_sign_in(answer), f"{name}: {telling(answer)}"
        assert b"<script>alert" not in answer.body, name
    tally.add(len(tries))


@pytest.mark.attack("code-replay")
def test_a_callback_can_t_be_asked_for_twice(sandbox: Sandbox, onboarded: Inventory, door: Door, tally: Tally) -> None:
    mine = Interrupted.begin(sandbox, "alice", ECHO_A)
    csrf = mine.csrf
    first = mine.call(door)
    assert first.status == 302
    session = session_in(first)
    assert with_cookie(door, ECHO_A, session).status == 200, "the callback must be good, or nothing was tried"
    for cookie in ("", csrf, session, f"{csrf}; {session}"):
        again = mine.call(door, cookie=cookie)
        assert session_in(again) == "", telling(again)
        assert again.status >= 400, telling(again)
    tally.add(4)


@pytest.mark.attack("nonce")
def test_a_sign_in_that_was_changed_on_the_way_gives_no_session(sandbox: Sandbox, onboarded: Inventory, door: Door, tally: Tally) -> None:
    """Somebody who can shape the request to Entra still can't have its answer taken for that of another one."""
    challenge = "A" * 43
    for changed in ({"nonce": "of-the-attacker"}, {"code_challenge": challenge}, {"nonce": "x", "code_challenge": challenge}):
        begun = Interrupted.begin(sandbox, "alice", ECHO_A, **changed)
        answer = begun.call(door)
        assert session_in(answer) == "", (changed, telling(answer))
        assert answer.status >= 400, (changed, telling(answer))
        tally.add()


@pytest.mark.attack("open-redirect")
def test_entra_sends_a_code_to_no_unregistered_address(sandbox: Sandbox, onboarded: Inventory, tally: Tally) -> None:
    """The double judges as Entra does, to the byte: so no host of another team is registered for this one."""
    for uri in (
        f"https://{ECHO_B}/oauth2/callback",
        "https://evil.example.com/oauth2/callback",
        f"https://{ECHO_A}/",
        f"http://{ECHO_A}/oauth2/callback",
        f"https://{ECHO_A}/oauth2/callback/",
    ):
        begun = Interrupted.begin(sandbox, "alice", ECHO_A, to_entra=False, redirect_uri=uri)
        answer = begun.browser.get(f"{begun.authorize}&login_hint=alice@gateway-auth.test")
        assert answer.status == 400, (uri, answer.status)
        assert "AADSTS50011" in answer.text
        tally.add()


# --- tokens -----------------------------------------------------------------------------------------------------------------


def _post_token(sandbox: Sandbox, form: dict[str, str]) -> dict[str, t.Any]:
    connection = http.client.HTTPSConnection(*sandbox.proxy, timeout=15, context=ssl.create_default_context(cafile=sandbox.ca))
    connection.set_tunnel(LOGIN, 443)
    try:
        connection.request("POST", f"/{TENANT}/oauth2/v2.0/token", urllib.parse.urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"})
        return t.cast("dict[str, t.Any]", json.loads(connection.getresponse().read()))
    finally:
        connection.close()


def tokens_of(sandbox: Sandbox, user: str, team: str, host: str) -> list[str]:
    """Real tokens, signed by the double: what a team's own registration gets for a user, by a client that knows its secret."""
    secret = {key: base64.b64decode(value).decode() for key, value in sandbox.get("secret", f"oauth2-proxy-{team}", f"monitoring-{team}")["data"].items()}
    verifier = "v" * 64
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    callback = f"https://{host}/oauth2/callback"
    asked = {
        "client_id": secret["client-id"],
        "response_type": "code",
        "redirect_uri": callback,
        "scope": "openid profile email",
        "login_hint": f"{user}@gateway-auth.test",
    }
    asked |= {"code_challenge": challenge, "code_challenge_method": "S256"}
    location = Browser(sandbox).get(f"https://{LOGIN}/{TENANT}/oauth2/v2.0/authorize?{urllib.parse.urlencode(asked)}").location
    code = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(location).query))["code"]
    form = {
        "client_id": secret["client-id"],
        "client_secret": secret["client-secret"],
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": callback,
    }
    answer = _post_token(sandbox, {**form, "code_verifier": verifier})
    return [answer["id_token"], answer["access_token"]]


@pytest.mark.attack("credentials")
def test_no_token_opens_a_door_be_it_real(sandbox: Sandbox, onboarded: Inventory, door: Door, tally: Tally) -> None:
    """Team a's own tokens included: a session comes of a sign-in in a browser and of nothing else."""
    tokens = [*tokens_of(sandbox, "admin", "team-a", ECHO_A), *tokens_of(sandbox, "admin", "team-b", ECHO_B)]
    machine = {"client_id": sandbox.env["AZURE_CLIENT_ID"], "client_secret": sandbox.env["AZURE_CLIENT_SECRET"], "grant_type": "client_credentials"}
    tokens.append(_post_token(sandbox, {**machine, "scope": "https://graph.microsoft.com/.default"})["access_token"])
    tokens += [f"{tokens[0].rpartition('.')[0]}.AAAA", f"{tokens[0].rpartition('.')[0]}."]
    shots = [("Authorization", f"Bearer {token}") for token in tokens]
    shots += [(name, token) for token in tokens for name in ("X-Forwarded-Access-Token", "X-Auth-Request-Access-Token", "X-Ms-Token-Aad-Id-Token")]
    shots += [("Cookie", f"{COOKIE}={token}") for token in tokens]
    for shot, answer in zip(shots, in_parallel(lambda shot: Target(ECHO_A, door).get("/", shot), shots), strict=True):
        assert is_sign_in(answer), (shot[0], telling(answer))
    tally.add(len(shots))


# --- groups -----------------------------------------------------------------------------------------------------------------


@pytest.mark.attack("left-the-group")
def test_somebody_who_left_the_group_is_out_after_one_refresh(sandbox: Sandbox, k1: Inventory, sign_in: SignIn, door: Door, tally: Tally) -> None:
    host = HOSTS["plain"]
    carol = sign_in("carol", host)
    try:
        sandbox.entra("PUT", "/users/carol/groups", [])
        left = time.monotonic()
        while (answer := carol.get(f"https://{host}/")).status == 200 and time.monotonic() - left < 4 * REFRESH_S:
            tally.add()
            time.sleep(0.2)
        seconds = time.monotonic() - left
    finally:
        sandbox.entra("PUT", "/users/carol/groups", ["team-a-developers"])
    assert answer.status in (302, 403), answer.text[:300]
    assert seconds <= REFRESH_S + 3, f"{seconds:.1f} s after a refresh interval of {REFRESH_S} s"
    # Nor does the session come back with the group: whoever returns signs in.
    assert carol.get(f"https://{host}/").status == 302
    tally.add(2)


@pytest.mark.attack("widened-groups")
def test_groups_can_t_be_widened_by_the_client(k1: Inventory, sign_in: SignIn, apps: dict[str, Target], tally: Tally) -> None:
    """carol may enter the team, not its narrowed app; whatever she writes beside her request."""
    mine = "5f0c0c7e-0000-4000-8000-0000000000a1"
    carol = cookie_of(sign_in("carol", HOSTS["plain"]), HOSTS["plain"])
    target = apps["narrow"]
    assert target.get("/", ("Cookie", carol)).status == 403
    queries = (
        *(
            f"allowed_groups={mine}",
            f"allowed_groups=&allowed_groups={mine}",
            f"x=1&allowed_groups={mine}",
            f"allowed_groups[]={mine}",
            f"Allowed_Groups={mine}",
            "allowed_groups=",
        ),
        *(
            "allowed_emails=carol@gateway-auth.test",
            "allowed_email_domains=gateway-auth.test",
            "allowed_email_domains=*",
            f"rd=/%3Fallowed_groups={mine}",
            f";allowed_groups={mine}",
        ),
        *(f"allowed_groups={mine}#", f"%61llowed_groups={mine}", f"allowed_groups%3D{mine}", f"&allowed_groups={mine}", f"?allowed_groups={mine}"),
    )
    form = ("Content-Type", "application/x-www-form-urlencoded")
    shots = [head("GET", f"{path}?{query}", target.host, HTML, ("Cookie", carol)) for query in queries for path in ("/", "/graph")]
    shots += [head("POST", "/", target.host, HTML, form, ("Cookie", carol), ("Content-Length", str(len(query)))) + query.encode() for query in queries]
    headers = ("X-Forwarded-Uri", "X-Original-URL", "X-Original-Uri", "X-Rewrite-URL", "X-Envoy-Original-Path", "X-Auth-Request-Redirect")
    shots += [head("GET", "/", target.host, HTML, ("Cookie", carol), (name, f"/?allowed_groups={mine}")) for name in headers]
    shots += [
        head("GET", "/", target.host, HTML, ("Cookie", carol), (f"X-Auth-Request-{name}", value))
        for name, value in (("Groups", mine), ("Email", "alice@gateway-auth.test"))
    ]
    for answer in in_parallel(target.ask, shots):
        assert answer.status in (400, 403), telling(answer)  # 400: Envoy takes no `#`
        assert b'"pod"' not in answer.body
    tally.add(len(shots))


# --- hosts ------------------------------------------------------------------------------------------------------------------


@pytest.mark.attack("host-confusion")
def test_each_host_is_guarded_by_its_own_policy_whatever_name_tls_asked_for(door: Door, onboarded: Inventory, admin_cookie: str, tally: Tally) -> None:
    """The session is team a's: with it a's hosts answer and b's don't, on connections opened for either, in turns too."""
    for sni in (ECHO_A, ECHO_B, PROXY_A):
        for host in (ECHO_B, PROMETHEUS_A, ECHO_A):
            for cookie in ("", admin_cookie):
                answer = Target(sni, door).ask(head("GET", "/-/ready", host, HTML, ("Cookie", cookie)), sni=sni)
                allowed = bool(cookie) and host != ECHO_B
                assert answer.status == 421 or (answer.status == 200) is allowed, (sni, host, bool(cookie), telling(answer))
                assert allowed or answer.status == 421 or is_sign_in(answer), telling(answer)
                tally.add()
    wanted = [
        (ECHO_A, admin_cookie, 200),
        (ECHO_B, admin_cookie, 302),
        (ECHO_A, "", 302),
        (ECHO_A, admin_cookie, 200),
        (PROMETHEUS_A, "", 302),
        (ECHO_B, "", 302),
    ]
    with door.secure(ECHO_A) as connection:
        for host, cookie, status in wanted:
            (answer,) = exchange(connection, head("GET", "/-/ready", host, HTML, ("Cookie", cookie), close=False))
            assert answer.status in (status, 421), (host, telling(answer))
            assert status == 200 or b'"pod"' not in answer.body
            tally.add()


@pytest.mark.attack("plain-http")
def test_a_session_is_not_served_over_plain_http(sandbox: Sandbox, door: Door, admin_cookie: str, tally: Tally) -> None:
    with door.reach_proxy() as connection:
        (answer,) = exchange(connection, head("GET", f"http://{ECHO_A}/", ECHO_A, HTML, ("Cookie", admin_cookie)))
    assert answer.status == 301
    assert urllib.parse.urlsplit(answer.header("Location")).scheme == "https"
    tally.add()


def test_the_app_still_answers_who_may_enter(door: Door, admin_cookie: str) -> None:
    """After all of the above the one good cookie is good still."""
    assert seen_by_app(with_cookie(door, ECHO_A, admin_cookie).body)["headers"]["x-auth-request-email"] == ["admin@gateway-auth.test"]
