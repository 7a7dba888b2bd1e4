# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signing keys and the tokens signed with them.

Claims follow https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference (version 2.0 ID tokens) and
…/access-token-claims-reference (Graph's access tokens are version 1.0). Group overage: …/access-tokens, "Groups overage".
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import uuid
from collections.abc import Iterable
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from .directory import GRAPH_APP_ID, Application, Directory, ServicePrincipal, User

LOGIN: Final = "https://login.microsoftonline.com"
LIFETIME: Final = 3599
# Entra dates tokens five minutes back, so that a client with a slow clock accepts them.
BACKDATED: Final = 300
OVERAGE_LIMIT: Final = 200


def issuer(tenant_id: str) -> str:
    return f"{LOGIN}/{tenant_id}/v2.0"


def new_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": secrets.token_urlsafe(20), "use": "sig", "alg": "RS256"}, private=True)


class KeyRing:
    """The tenant's signing keys: the old one, the current one, and the next one, all published.

    ``first`` are the current and the next one; by default they are made, which takes a noticeable moment.
    """

    def __init__(self, first: tuple[RSAKey, RSAKey] | None = None) -> None:
        self._keys = list(first or (new_key(), new_key()))
        self._current = 0

    @property
    def current(self) -> RSAKey:
        return self._keys[self._current]

    def rotate(self) -> str:
        """Sign with the next key from now on; the last one stays published for tokens already out."""
        self._keys = [*self._keys[self._current :], new_key()][-3:]
        self._current = len(self._keys) - 2
        return self.current.kid or ""

    def documents(self, issued_by: str) -> list[dict[str, object]]:
        """Return the published keys, public halves only."""
        documents: list[dict[str, object]] = []
        for key in self._keys:
            public = key.as_dict(private=False)
            documents.append({**{name: public[name] for name in ("kty", "use", "kid", "n", "e")}, "issuer": issued_by})
        return documents

    def sign(self, claims: dict[str, object]) -> str:
        header = {"typ": "JWT", "alg": "RS256", "kid": self.current.kid}
        return jwt.encode(header, claims, self.current, algorithms=["RS256"])

    def verify(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a token that we signed, in date or not; None for any other."""
        try:
            return dict(jwt.decode(token, KeySet(list(self._keys)), algorithms=["RS256"]).claims)
        except (JoseError, ValueError):
            return None


def pairwise_subject(tenant_id: str, client_id: str, user_id: str) -> str:
    """Return `sub`: one user has another one in each application."""
    digest = hashlib.sha256(f"{tenant_id}/{client_id}/{user_id}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class TokenIssuer:
    """Builds and signs tokens from the directory as it is at that moment."""

    def __init__(self, directory: Directory, keys: KeyRing) -> None:
        self._directory = directory
        self._keys = keys

    def id_token(self, app: Application, user: User, scopes: Iterable[str], nonce: str | None, session: str) -> str:
        """Return a version 2.0 ID token; `profile` and `email` bring their claims only when asked for."""
        granted = set(scopes)
        tenant_id = self._directory.tenant.id
        claims: dict[str, object] = {
            "aud": app.client_id,
            "iss": issuer(tenant_id),
            **self._times(),
            **self._group_claims(app, user),
            "rh": f"1.{secrets.token_urlsafe(24)}.",
            "sid": session,
            "sub": pairwise_subject(tenant_id, app.client_id, user.id),
            "tid": tenant_id,
            "uti": secrets.token_urlsafe(16),
            "ver": "2.0",
        }
        if nonce is not None:
            claims["nonce"] = nonce
        if "profile" in granted:
            claims.update(oid=user.id, name=user.display_name, preferred_username=user.upn)
        if "email" in granted and user.mail is not None:
            claims["email"] = user.mail
        return self._keys.sign(claims)

    def user_access_token(self, app: Application, user: User, scopes: Iterable[str]) -> str:
        """Return an access token for Microsoft Graph on a user's behalf."""
        claims: dict[str, object] = {
            "app_displayname": app.display_name,
            "appidacr": "1",
            "idtyp": "user",
            "name": user.display_name,
            "oid": user.id,
            "scp": " ".join(sorted(scopes)),
            "sub": pairwise_subject(self._directory.tenant.id, GRAPH_APP_ID, user.id),
            "unique_name": user.upn,
            "upn": user.upn,
        }
        return self._keys.sign({**self._graph_claims(app), **claims})

    def app_access_token(self, app: Application, principal: ServicePrincipal, audience: str = GRAPH_APP_ID) -> str:
        """Return an access token in the application's own name; permissions in it are Graph's alone."""
        claims: dict[str, object] = {"idtyp": "app", "oid": principal.id, "sub": principal.id, "aud": audience}
        roles = self._directory.graph_roles(principal)
        if roles and audience == GRAPH_APP_ID:
            claims["roles"] = sorted(roles)
        return self._keys.sign({**self._graph_claims(app), **claims})

    def _times(self) -> dict[str, object]:
        now = int(self._directory.clock())
        return {"iat": now - BACKDATED, "nbf": now - BACKDATED, "exp": now + LIFETIME}

    def _graph_claims(self, app: Application) -> dict[str, object]:
        tenant_id = self._directory.tenant.id
        return {
            "aud": GRAPH_APP_ID,
            "iss": f"https://sts.windows.net/{tenant_id}/",
            **self._times(),
            "appid": app.client_id,
            "tid": tenant_id,
            "uti": secrets.token_urlsafe(16),
            "ver": "1.0",
        }

    def _group_claims(self, app: Application, user: User) -> dict[str, object]:
        """Return `groups`, or the pointer to Graph that replaces it above 200, or nothing at all.

        Groups in groups count, except with ApplicationGroup, which knows assigned groups and their direct members only.
        """
        if app.group_membership_claims in (None, "None", "DirectoryRole"):
            return {}
        if app.group_membership_claims == "ApplicationGroup":
            groups = user.group_ids & self._directory.assigned_to(self._directory.principal(app))
        else:
            groups = self._directory.transitive_group_ids(user)
        if len(groups) > OVERAGE_LIMIT:
            tenant_id = self._directory.tenant.id
            endpoint = f"https://graph.windows.net/{tenant_id}/users/{user.id}/getMemberObjects"
            return {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": endpoint}}}
        return {"groups": sorted(groups)} if groups else {}


def new_session_state() -> str:
    return str(uuid.uuid4())
