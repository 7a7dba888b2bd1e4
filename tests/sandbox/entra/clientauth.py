# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Client authentication at the token endpoint: by secret, or by an assertion of a federated issuer.

Each way is a strategy that either returns or refuses. The order of the checks of a federated assertion follows the codes
that Entra gives for each mismatch (700211 issuer, 700213 subject, 700212 audience):
https://learn.microsoft.com/entra/workload-id/workload-identity-federation.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote_plus

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from .directory import Application, FederatedCredential
from .errors import StsError

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CLOCK_SKEW: Final = 300


@dataclass(frozen=True)
class Credentials:
    """What a client presented: who it says it is, and its proof."""

    client_id: str
    secret: str | None = None
    assertion: str | None = None


class IssuerKeys(Protocol):
    """Fetches the signing keys of a federated issuer by its discovery document."""

    async def fetch(self, issuer: str) -> KeySet:
        """Return the keys; raise OSError or ValueError when the issuer doesn't give any."""


def _basic(header: str) -> tuple[str, str]:
    """Read client_secret_basic: both halves are form-encoded before they are joined (RFC 6749, 2.3.1)."""
    scheme, _, value = header.partition(" ")
    try:
        client_id, separator, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise StsError(9002313) from exc
    if scheme.lower() != "basic" or not separator:
        raise StsError(9002313)
    return unquote_plus(client_id), unquote_plus(secret)


def read_credentials(form: Mapping[str, str], authorization: str | None) -> Credentials:
    """Collect what was presented; two ways at once are an error (RFC 6749, 2.3)."""
    client_id, secret = form.get("client_id", ""), form.get("client_secret") or None
    assertion = form.get("client_assertion") or None
    if authorization is not None:
        basic_id, basic_secret = _basic(authorization)
        if secret is not None or assertion is not None or client_id not in ("", basic_id):
            raise StsError(9002313)
        client_id, secret = basic_id, basic_secret or None
    if not client_id:
        raise StsError(900144, name="client_id")
    if secret is not None and assertion is not None:
        raise StsError(9002313)
    if assertion is not None and form.get("client_assertion_type", "") == "":
        raise StsError(900144, name="client_assertion_type")
    if assertion is not None and form["client_assertion_type"] != ASSERTION_TYPE:
        raise StsError(90023, name="client_assertion_type")
    return Credentials(client_id, secret, assertion)


def check_secret(app: Application, secret: str, now: float) -> None:
    """Accept any of the application's secrets that is in date."""
    found = [credential for credential in app.password_credentials if credential.matches(secret)]
    if not found:
        raise StsError(7000215, client_id=app.client_id)
    if all(credential.is_expired(now) for credential in found):
        raise StsError(7000222, client_id=app.client_id)


@dataclass(frozen=True)
class _Assertion:
    issuer: str
    subject: str
    audiences: tuple[str, ...]

    @classmethod
    def unverified(cls, token: str) -> _Assertion:
        """Read who a token says it is from, to choose whose keys must have signed it."""
        parts = token.split(".")
        if len(parts) != 3:
            raise StsError(50027)
        try:
            claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
            audience = claims["aud"]
            issuer, subject = claims["iss"], claims["sub"]
        except (ValueError, KeyError, TypeError) as exc:
            raise StsError(50027) from exc
        audiences = tuple(audience) if isinstance(audience, list) else (audience,)
        if not all(isinstance(text, str) for text in (issuer, subject, *audiences)):
            raise StsError(50027)
        return cls(issuer, subject, audiences)


class AssertionVerifier:
    """Verifies a federated client assertion against the application's trust list."""

    def __init__(self, keys: IssuerKeys, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._clock = clock

    async def check(self, app: Application, token: str) -> None:
        assertion = _Assertion.unverified(token)
        self._match(app, assertion)
        try:
            keys = await self._keys.fetch(assertion.issuer)
        except (OSError, ValueError) as exc:
            raise StsError(50166) from exc
        try:
            claims = jwt.decode(token, keys, algorithms=["RS256"]).claims
        except (JoseError, ValueError) as exc:
            raise StsError(700027) from exc
        self._check_times(claims)

    @staticmethod
    def _match(app: Application, assertion: _Assertion) -> FederatedCredential:
        values = {
            "issuer": assertion.issuer,
            "subject": assertion.subject,
            "audience": " ".join(assertion.audiences),
        }
        trusted = app.federated_credentials
        if not trusted:
            raise StsError(70021, **values)
        by_issuer = [credential for credential in trusted if credential.issuer == assertion.issuer]
        if not by_issuer:
            raise StsError(700211, **values)
        by_subject = [credential for credential in by_issuer if credential.subject == assertion.subject]
        if not by_subject:
            raise StsError(700213, **values)
        for credential in by_subject:
            if credential.audience in assertion.audiences:
                return credential
        raise StsError(700212, **values)

    def _check_times(self, claims: Mapping[str, object]) -> None:
        now, expires, not_before = self._clock(), claims.get("exp"), claims.get("nbf", 0)
        if isinstance(expires, bool) or not isinstance(expires, (int, float)) or not isinstance(not_before, (int, float)):
            raise StsError(50027)
        if now > expires + CLOCK_SKEW or now < not_before - CLOCK_SKEW:
            raise StsError(700024)


class ClientAuthenticator:
    """Chooses the strategy by what the client presented."""

    def __init__(self, assertions: AssertionVerifier, clock: Callable[[], float]) -> None:
        self._assertions = assertions
        self._clock = clock

    async def check(self, app: Application, credentials: Credentials) -> None:
        if credentials.assertion is not None:
            await self._assertions.check(app, credentials.assertion)
        elif credentials.secret is not None:
            check_secret(app, credentials.secret, self._clock())
        else:
            raise StsError(7000218)
