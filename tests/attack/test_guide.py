# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same attacks on the guide's own set-up, where they succeed: so each is known to bite (tests/support/guide.py)."""

from __future__ import annotations

import collections.abc
import dataclasses
import time
import urllib.parse

import pytest

from tests.e2e.inventory import Inventory
from tests.e2e.login import Browser
from tests.e2e.poller import OPEN, Poller, Sample
from tests.e2e.sandbox import LOGIN, Sandbox
from tests.support.guide import COOKIE, NAMESPACE, PROXY_HOST, RELEASE, Guide, host, own_gateway

from .cast import CANARY, ECHO_A, seen_by_app
from .conftest import Tally
from .target import Target, telling
from .test_failures import scale
from .test_headers import USURPED
from .test_sessions import cookie_of, session_in
from .wire import Answer, Door, exchange, head, in_parallel

APP = host("alertmanager")
LATER = host("prometheus")
LEFT_S = 12.0  # twice what our own team takes with a refresh of 5 s


@dataclasses.dataclass(frozen=True)
class There:
    """The guide's team, and the sandbox as seen through its Gateway."""

    guide: Guide
    sandbox: Sandbox

    @property
    def door(self) -> Door:
        return Door(self.sandbox.proxy, self.sandbox.ca)

    def target(self, name: str = APP) -> Target:
        return Target(name, self.door)

    def sign_in(self, user: str) -> Browser:
        """By the button of the sign-in page, which leads to /oauth2/start."""
        browser = Browser(self.sandbox, user)
        visit = browser.visit(f"https://{APP}/oauth2/start?rd={urllib.parse.quote(f'https://{APP}/', safe='')}")
        assert visit.final.status == 200, visit
        assert seen_by_app(visit.final.body)["headers"]["x-auth-request-email"] == [f"{user}@gateway-auth.test"]
        return browser


@pytest.fixture(scope="module")
def there(sandbox: Sandbox, onboarded: Inventory) -> collections.abc.Iterator[There]:
    with own_gateway(sandbox) as (gateway, through):
        guide = Guide(sandbox, gateway)
        try:
            guide.install()
            guide.publish("alertmanager")
            found = There(guide, through)
            deadline = time.monotonic() + 40
            while (answer := found.target().get("/")).status != 403 or not answer.body:
                assert time.monotonic() < deadline, telling(answer)
                time.sleep(0.3)
            yield found
        finally:
            guide.remove()


@pytest.fixture(scope="module")
def alice(there: There) -> str:
    return cookie_of(there.sign_in("alice"), APP)


@pytest.mark.guide("forged-identity")
def test_forged_identity_reaches_the_app(there: There, alice: str, tally: Tally) -> None:
    names = ("X-Auth-Request-Access-Token", "X-Auth-Request-Role", "X-Auth-Request-Redirect", "X-Auth-Request-Anything")
    seen = seen_by_app(there.target().get("/", ("Cookie", alice), *((name, CANARY) for name in names)).body)["headers"]
    assert {name: seen.get(name.lower()) for name in names} == {name: [CANARY] for name in names}
    tally.add(len(names))


@pytest.mark.guide("usurped-identity")
def test_what_other_proxies_call_a_user_reaches_the_app(there: There, alice: str, tally: Tally) -> None:
    seen = seen_by_app(there.target().get("/", ("Cookie", alice), *((name, CANARY) for name in USURPED)).body)["headers"]
    assert {name: seen.get(name.lower()) for name in USURPED} == {name: [CANARY] for name in USURPED}
    tally.add(len(USURPED))


@pytest.mark.guide("plain-http")
def test_apps_are_served_in_clear_text(there: There, alice: str, tally: Tally) -> None:
    with there.door.reach_proxy() as connection:
        (answer,) = exchange(connection, head("GET", f"http://{APP}/secret", APP, ("Cookie", alice)))
    assert seen_by_app(answer.body)["headers"]["x-auth-request-email"] == ["alice@gateway-auth.test"]
    tally.add()


@pytest.mark.guide("cookie-sent")
def test_another_team_s_app_gets_the_cookie_and_may_use_it(there: There, tally: Tally) -> None:
    browser = there.sign_in("alice")
    seen = seen_by_app(browser.visit(f"https://{ECHO_A}/").final.body)["headers"]["cookie"][0]
    stolen = next(part.strip() for part in seen.split(";") if part.strip().startswith(f"{COOKIE}="))
    answer = there.target().get("/", ("Cookie", stolen))
    assert seen_by_app(answer.body)["headers"]["x-auth-request-email"] == ["alice@gateway-auth.test"]
    assert browser.jar.header(APP, "/", secure=False), "the cookie travels over plain HTTP as well"
    tally.add(2)


@pytest.mark.guide("nonce")
def test_a_changed_nonce_is_not_noticed(there: There, tally: Tally) -> None:
    browser = Browser(there.sandbox, "alice")
    begun = browser.get(f"https://{APP}/oauth2/start?rd=https://{APP}/").location
    parts = urllib.parse.urlsplit(begun)
    query = dict(urllib.parse.parse_qsl(parts.query)) | {"nonce": "of-the-attacker"}
    changed = urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query)))
    callback = browser.get(f"{changed}&login_hint=alice@gateway-auth.test").location
    done = browser.get(callback)
    answer = Answer(done.status, tuple(done.headers), done.body)
    assert session_in(answer, COOKIE), telling(answer)
    tally.add()


@pytest.mark.guide("open-redirect")
def test_sign_out_leads_to_any_host_of_the_domain(there: There, tally: Tally) -> None:
    for place in ("https://other.gateway-auth.test/", "https://echo-team-b.gateway-auth.test/x"):
        answer = there.target(PROXY_HOST).get(f"/oauth2/sign_out?rd={place}")
        assert answer.header("Location") == place
        tally.add()


@pytest.mark.guide("token-in-redirect")
def test_sign_out_carries_the_token_to_any_host_of_the_domain(there: There, tally: Tally) -> None:
    cookie = cookie_of(there.sign_in("alice"), PROXY_HOST)
    answer = there.target(PROXY_HOST).get("/oauth2/sign_out?rd=https://other.gateway-auth.test/%7Bid_token%7D", ("Cookie", cookie))
    assert answer.header("Location").startswith("https://other.gateway-auth.test/eyJ")
    tally.add()


@pytest.mark.guide("left-the-group")
def test_somebody_who_left_the_group_stays(there: There, sandbox: Sandbox, tally: Tally) -> None:
    carol = there.sign_in("carol")
    try:
        sandbox.entra("PUT", "/users/carol/groups", [])
        time.sleep(LEFT_S)
        assert carol.get(f"https://{APP}/").status == 200
    finally:
        sandbox.entra("PUT", "/users/carol/groups", ["team-a-developers"])
    tally.add()


@pytest.mark.guide("applied-in-order")
def test_an_app_is_open_while_it_comes_online(there: There, tally: Tally) -> None:
    with Poller(there.sandbox, [LATER]) as poller:
        time.sleep(0.5)
        there.guide.publish("prometheus")
        time.sleep(2.0)
    opened = [sample for sample in poller.opened() if sample.status == 200]  # later it is the sign-in page, with 403
    print(poller.report())
    assert opened, "the route is written before its policy, so the app must have answered somebody"
    assert opened[0].kind == OPEN
    tally.add(len(opened))


@pytest.mark.guide("proxy-gone")
def test_an_app_is_open_when_its_proxy_comes_back(there: There, sandbox: Sandbox, tally: Tally) -> None:
    """Without an endpoint to ask Envoy Gateway drops the filter, and the route is back before it. A race, so up to three tries."""
    opened: list[Sample] = []
    for _try in range(3):
        with Poller(there.sandbox, [APP]) as poller:
            scale(sandbox, NAMESPACE, RELEASE, 0)
            time.sleep(2.0)
            scale(sandbox, NAMESPACE, RELEASE, 1)
            time.sleep(2.0)
        print(poller.report())
        opened = [sample for sample in poller.opened() if sample.status == 200]
        if opened:
            break
    assert opened
    tally.add(len(opened))


@pytest.mark.guide("deep-link")
def test_a_deep_link_ends_at_its_first_ampersand(there: There, tally: Tally) -> None:
    link = "/graph?g0.expr=up%20x&g0.tab=1"
    page = there.target().get(link)
    assert page.status == 403
    kept = urllib.parse.unquote(page.body.decode().partition('name="rd" value="')[2].partition('"')[0].replace("&amp;", "&").replace("&#43;", "+"))
    assert kept.startswith(f"https://{APP}/graph")
    assert "g0.tab" not in kept
    tally.add()


@pytest.mark.guide("programs")
def test_a_program_gets_a_page(there: There, tally: Tally) -> None:
    answer = there.target().ask(head("GET", "/api/v1/query", APP, ("Accept", "application/json")))
    assert answer.status == 403
    assert b"<html" in answer.body.lower()
    tally.add()


@pytest.mark.guide("flood-limited")
def test_nothing_limits_a_flood(there: There, tally: Tally) -> None:
    answers = in_parallel(lambda number: there.target().get(f"/?n={number}"), range(60))
    assert {answer.status for answer in answers} <= {403}, "each was answered by the proxy"
    tally.add(len(answers))


def test_the_guide_s_team_is_a_real_one(there: There) -> None:
    """Its login works and keeps strangers out, or the rest would prove nothing."""
    there.sign_in("alice")
    stranger = Browser(there.sandbox, "mallory").visit(f"https://{APP}/oauth2/start?rd=https://{APP}/")
    assert stranger.final.status == 403
    assert LOGIN in [hop.host for hop in stranger.hops]
