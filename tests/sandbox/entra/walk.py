# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sign-in step by step, for tests: each step as a right client does it, with anything to change or to leave out."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

from joserfc import jwt
from joserfc.jwk import KeySet

from .testkit import Answer, Browser, Double

TENANT: Final = "11111111-1111-4111-8111-111111111111"
BASE = f"https://login.microsoftonline.com/{TENANT}"
AUTHORIZE, TOKEN, LOGOUT = (f"{BASE}/oauth2/v2.0/{name}" for name in ("authorize", "token", "logout"))
TEAM_A, TEAM_B = "aaaaaaaa-0000-4000-8000-00000000000a", "bbbbbbbb-0000-4000-8000-00000000000b"
CALLBACK = "https://prometheus-team-a.gateway-auth.test/oauth2/callback"
CALLBACK_B = "https://prometheus-team-b.gateway-auth.test/oauth2/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()

AUTHORIZE_A = {
    "client_id": TEAM_A,
    "response_type": "code",
    "redirect_uri": CALLBACK,
    "scope": "openid profile email offline_access",
    "state": "s+t/a=t&e",
    "nonce": "n-1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "approval_prompt": "force",
}


def changed(values: dict[str, str], /, **changes: str | None) -> dict[str, str]:
    """Return the parameters with some changed, added, or (None) left out."""
    merged = {**values, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def authorize(browser: Browser, /, **changes: str | None) -> Answer:
    """Ask for a code for alice at team a's application."""
    return browser.get(AUTHORIZE, changed({**AUTHORIZE_A, "login_hint": "alice"}, **changes))


def redemption(double: Double, code: str, /, **changes: str | None) -> dict[str, str]:
    """Return the form that redeems a code."""
    form = {
        "grant_type": "authorization_code",
        "client_id": TEAM_A,
        "client_secret": double.secret("team-a"),
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    return changed(form, **changes)


def sign_in(double: Double, user: str = "alice", /, **changes: str | None) -> dict[str, Any]:
    """Walk through a whole sign-in and return the tokens."""
    browser = Browser(double)
    code = authorize(browser, login_hint=user, **changes).answered["code"]
    answer = browser.post(TOKEN, redemption(double, code))
    assert answer.status == 200, answer.text
    return answer.json()


def refresh(double: Double, token: str, /, **changes: str | None) -> Answer:
    """Redeem a refresh token."""
    form = {
        "grant_type": "refresh_token",
        "client_id": TEAM_A,
        "client_secret": double.secret("team-a"),
        "refresh_token": token,
    }
    return Browser(double).post(TOKEN, changed(form, **changes))


def claims(double: Double, token: str) -> dict[str, Any]:
    """Return the claims of a token, its signature verified with the published keys."""
    keys = Browser(double).get(f"{BASE}/discovery/v2.0/keys").json()
    return dict(jwt.decode(token, KeySet.import_key_set(keys), algorithms=["RS256"]).claims)  # type: ignore[arg-type]
