# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every attack of the suite, once: what is tried, what holds here, and whether the usual guide's set-up falls to it.

A test is of the attack that its mark names (``@pytest.mark.attack("paths")``); one that shows the attack succeed on the guide's
set-up is marked ``@pytest.mark.guide("paths")``. tests/unit/attack holds that neither is missing.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Attack:
    """``spared``: why the guide's set-up doesn't fall to it, empty when it does (and a test shows it)."""

    key: str
    tried: str
    holds: str
    spared: str = ""


@dataclasses.dataclass(frozen=True)
class Use:
    """Legitimate use that must work all the while."""

    key: str
    tried: str
    holds: str


_SAME = "the guide's proxy is the same binary"
_GATEWAY = "Envoy itself refuses it"
# fmt: off
ATTACKS = (
    # --- without a session
    Attack("paths", "path tricks, oauth2-proxy's own open paths, long and absolute targets", "sign-in, 401 or Envoy's 400", _GATEWAY),
    Attack("methods", "every method, CONNECT, TRACE, unknown ones, CORS preflight", "sign-in, 401 or Envoy's 4xx", _GATEWAY),
    Attack("anonymous-headers", "identity, forwarding and rewrite headers without a session", "sign-in that leads back here", "a session is asked for there as well"),
    Attack("credentials", "Bearer, Basic and cookies made up, tokens of another audience", "sign-in or 401", _SAME),
    Attack("protocol", "HTTP/0.9, 1.0, 2, h2c and WebSocket upgrades", "sign-in, 401 or Envoy's 4xx", _GATEWAY),
    Attack("smuggling", "CL.TE, TE.CL, obs-fold, several lengths, second requests inside a body", "one answer, never the app's", _GATEWAY),
    Attack("mutated", "requests bent at random, by a seed that is printed", "never the app's answer", _GATEWAY),
    Attack("host-confusion", "SNI of one host and Host of another, connections used for several hosts", "each host's own policy", _GATEWAY),
    Attack("plain-http", "the apps on port 80, with and without a session", "301 to https"),
    # --- with somebody's session
    Attack("forged-identity", "X-Auth-Request-* in all spellings with a session", "replaced by the proxy's word, or gone"),
    Attack("usurped-identity", "X-Forwarded-User, Remote-User, X-WEBAUTH-USER … with a session", "gone at the app"),
    Attack("public-paths", "identity and rewrite headers, and ways out, on public paths", "gone at the app; sign-in outside", "it has no public paths"),
    Attack("cookie-elsewhere", "a session's cookie at another team, its proxy, another app", "sign-in", "another team has a cookie secret of its own"),
    Attack("cookie-sent", "which hosts a browser sends the cookie to", "the app's host alone, Secure, HttpOnly"),
    Attack("cookie-tampered", "a session's cookie with other bytes", "sign-in", _SAME),
    Attack("cookie-kept", "a cookie kept from before the sign-out", "sign-in", "its session store forgets it as well"),
    Attack("code-replay", "codes, states and CSRF cookies twice, of others, of another team", "no session", "the proxy's CSRF cookie holds there too"),
    Attack("nonce", "a sign-in whose nonce was changed on the way", "no session"),
    Attack("left-the-group", "a session of somebody who was taken out of the group", "403 after one refresh"),
    Attack("open-redirect", "rd and X-Auth-Request-Redirect to elsewhere, in every spelling", "the team's own hosts alone"),
    Attack("token-in-redirect", "sign_out?rd=…{id_token}", "the token goes nowhere else"),
    Attack("widened-groups", "allowed_groups, allowed_emails and rd in query and body", "403 as before", "it has no narrowed apps"),
    # --- while things break
    Attack("applied-in-order", "an app asked while it comes online", "404, then sign-in"),
    Attack("proxy-gone", "oauth2-proxy stopped, and back again", "503, never the app"),
    Attack("store-gone", "the session store stopped", "503 or sign-in, never the app", _SAME),
    Attack("entra-gone", "Entra unreachable", "sign-in that fails, never the app", _SAME),
    Attack("controller-gone", "Envoy Gateway's controller stopped", "as before", _GATEWAY),
    Attack("policy-deleted", "a SecurityPolicy deleted by hand", "refused; released first, told by verify_team and put back by onboard_team", "the same there, and nobody looks"),
    Attack("flood", "thousands of requests without a session", "nothing stored, users served", _SAME),
    Attack("flood-limited", "the same with the documented rate limit", "429 before the proxy is asked"),
)
# fmt: on
USES = (
    Use("deep-link", "a deep link through the sign-in, byte for byte", "arrives as sent"),
    Use("programs", "a program without a session", "401 as JSON, no HTML"),
    Use("websocket", "a WebSocket through an app", "opens with a session, messages both ways"),
    Use("long-request", "an answer after 17 s, with and without gateway_auth_apps[].timeout", "200 and 504"),
    Use("upload", "20 MB sent through an app", "arrives whole"),
    Use("public", "public paths without a session", "200"),
    Use("narrowed", "two apps of one proxy, one for fewer groups", "each to its groups"),
    Use("sign-out", "sign-out, and sign-out at Entra too", "session gone at both"),
    Use("session", "many requests of one session", "200, Entra not asked again"),
)
BY_KEY = {entry.key: entry for entry in (*ATTACKS, *USES)}
