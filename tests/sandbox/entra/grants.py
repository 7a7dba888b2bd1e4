# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was granted to whom: authorization codes, refresh tokens and sign-in sessions, all in memory.

Lifetimes: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow (a code lives about ten minutes) and
…/refresh-tokens (90 days; using one gives a new one and does not revoke the old, which two replicas of a client rely on).
Only digests are kept, so neither a dump nor a log of this state can hold a usable token.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

CODE_LIFETIME: Final = 600.0
REFRESH_LIFETIME: Final = 90 * 86400.0


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class Grant:
    """A user's sign-in to an application: what one code, and every refresh token that came of it, stand for."""

    client_id: str
    user_id: str
    scopes: frozenset[str]
    session: str
    revoked: bool = False


@dataclass
class Code:
    grant: Grant
    redirect_uri: str
    code_challenge: str
    nonce: str | None
    expires: float
    redeemed: bool = False


@dataclass
class RefreshToken:
    grant: Grant
    scopes: frozenset[str]
    expires: float


@dataclass
class Session:
    """A browser's single sign-on session: who it is, and which applications took part."""

    id: str
    user_id: str
    client_ids: set[str] = field(default_factory=set)


class GrantStore:
    """Issues the opaque values and finds what they stand for."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._codes: dict[str, Code] = {}
        self._refresh_tokens: dict[str, RefreshToken] = {}
        self._sessions: dict[str, Session] = {}

    def issue_code(self, grant: Grant, *, redirect_uri: str, code_challenge: str, nonce: str | None) -> str:
        self._drop_expired()
        # As long as Entra's, so that limits on URLs and headers along the way are met in tests.
        value = f"1.A{secrets.token_urlsafe(600)}"
        expires = self._clock() + CODE_LIFETIME
        self._codes[_digest(value)] = Code(grant, redirect_uri, code_challenge, nonce, expires)
        return value

    def code(self, value: str) -> Code | None:
        return self._codes.get(_digest(value))

    def issue_refresh_token(self, grant: Grant, scopes: frozenset[str]) -> str:
        value = f"1.A{secrets.token_urlsafe(900)}"
        self._refresh_tokens[_digest(value)] = RefreshToken(grant, scopes, self._clock() + REFRESH_LIFETIME)
        return value

    def refresh_token(self, value: str) -> RefreshToken | None:
        return self._refresh_tokens.get(_digest(value))

    def open_session(self, user_id: str) -> tuple[str, Session]:
        """Return the cookie's value and the session it stands for."""
        value = secrets.token_urlsafe(48)
        self._sessions[_digest(value)] = Session(str(uuid.uuid4()), user_id)
        return value, self._sessions[_digest(value)]

    def session(self, value: str) -> Session | None:
        return self._sessions.get(_digest(value))

    def close_session(self, value: str) -> Session | None:
        return self._sessions.pop(_digest(value), None)

    def _drop_expired(self) -> None:
        """Forget old codes; a day late, so that a late second use is still told apart from a made-up code."""
        limit = self._clock() - 86400
        self._codes = {key: code for key, code in self._codes.items() if code.expires > limit}
        now = self._clock()
        self._refresh_tokens = {key: token for key, token in self._refresh_tokens.items() if token.expires > now - 86400}
