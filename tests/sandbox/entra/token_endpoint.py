# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The token endpoint: authorization_code, refresh_token and client_credentials.

Sources: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow,
…/v2-oauth2-client-creds-grant-flow and …/refresh-tokens. Parameters are looked at before the client is, the client before
the grant.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from .call import Call, parameters, required
from .clientauth import ClientAuthenticator, Credentials, read_credentials
from .directory import Application, Directory, User
from .errors import StsError
from .grants import Code, Grant, GrantStore
from .lag import Replicas
from .scopes import application_audience, delegated
from .tokens import LIFETIME, TokenIssuer

_FORM: Final = "application/x-www-form-urlencoded"
_NO_STORE: Final = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}

Redeem = Callable[[Call, Application, dict[str, str]], Awaitable[dict[str, object]]]


def challenge_of(verifier: str) -> str:
    """Return the S256 code challenge of a verifier (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class TokenEndpoint:
    """Answers `POST /<tenant>/oauth2/v2.0/token`."""

    def __init__(self, directory: Directory, replicas: Replicas, grants: GrantStore, issuer: TokenIssuer, authenticator: ClientAuthenticator) -> None:
        self._directory = directory
        self._replicas = replicas
        self._grants = grants
        self._issuer = issuer
        self._authenticator = authenticator
        self._grant_types: dict[str, tuple[tuple[str, ...], Redeem]] = {
            "authorization_code": (("code", "redirect_uri"), self._authorization_code),
            "refresh_token": (("refresh_token",), self._refresh_token),
            "client_credentials": (("scope",), self._client_credentials),
        }

    async def handle(self, call: Call) -> web.Response:
        origin = call.request.headers.get("Origin")
        if origin is not None:
            raise StsError(9002326, origin=origin)
        form = parameters(await self.form(call.request))
        grant_type = required(form, "grant_type")
        if grant_type not in self._grant_types:
            raise StsError(70003, grant_type=grant_type)
        call.entry.grant_type = grant_type
        names, redeem = self._grant_types[grant_type]
        credentials = read_credentials(form, call.request.headers.get("Authorization"))
        call.claim_client(credentials.client_id)
        for name in names:
            required(form, name)
        if "resource" in form:
            raise StsError(901002)
        app = await self._authenticate(credentials)
        return web.json_response(await redeem(call, app, form), headers=_NO_STORE)

    @staticmethod
    async def form(request: web.Request) -> str:
        """Return the body of a form; a body of another type has no parameters for Entra."""
        return await request.text() if request.content_type == _FORM else ""

    def application(self, client_id: str) -> Application:
        """Find a client whose application and service principal are both there and enabled, as far as this replica knows."""
        view = self._replicas.view("token", {client_id})
        app = view.application(client_id)
        if app is None:
            raise StsError(700016, client_id=client_id, tenant=self._directory.tenant.name)
        # Seen for client_credentials. A sign-in would make the principal, for a user who may consent: that is not done here.
        principal = view.service_principal(app.client_id)
        if principal is None or self._directory.service_principal(app.client_id) is None:
            raise StsError(7000229, client_id=app.client_id, tenant=self._directory.tenant.id)
        if not principal.account_enabled:
            raise StsError(7000112, client_id=app.client_id, app=app.display_name)
        return app

    def check_user(self, app: Application, user: User | None) -> User:
        """Refuse a user who is gone, disabled, or not assigned where assignment is required."""
        if user is None:
            raise StsError(500341, tenant=self._directory.tenant.name)
        if not user.enabled:
            raise StsError(50057)
        principal = self._directory.principal(app)
        if principal.assignment_required and not self._directory.is_assigned(user, principal):
            raise StsError(50105, app=app.display_name, client_id=app.client_id, user=user.upn)
        return user

    async def _authenticate(self, credentials: Credentials) -> Application:
        app = self.application(credentials.client_id)
        await self._authenticator.check(app, credentials)
        return app

    def _user(self, call: Call, app: Application, grant: Grant) -> User:
        user = self._directory.user_by_id(grant.user_id)
        call.entry.user = user.name if user is not None else None
        return self.check_user(app, user)

    # --- authorization_code -----------------------------------------------------------------------------------------

    async def _authorization_code(self, call: Call, app: Application, form: dict[str, str]) -> dict[str, object]:
        code = self._grants.code(form["code"])
        if code is None:
            raise StsError(9002313, oauth="invalid_grant")
        if code.grant.client_id != app.client_id:
            raise StsError(70000, name="code")
        if code.redeemed:
            # A code used twice has been stolen by one of the two (RFC 6749, 4.1.2): what came of it ends too.
            code.grant.revoked = True
            raise StsError(54005)
        self._check_code(code, form)
        user = self._user(call, app, code.grant)
        scopes = self._scopes(app, form, code.grant.scopes)
        code.redeemed = True
        return self._user_tokens(app, user, code.grant, scopes, code.nonce, form)

    def _check_code(self, code: Code, form: dict[str, str]) -> None:
        if self._directory.clock() >= code.expires:
            raise StsError(70008)
        if form["redirect_uri"] != code.redirect_uri:
            raise StsError(500112, redirect_uri=form["redirect_uri"], expected=code.redirect_uri)
        verifier = form.get("code_verifier", "")
        if not verifier:
            raise StsError(50148)
        if not hmac.compare_digest(challenge_of(verifier), code.code_challenge):
            raise StsError(501481)

    # --- refresh_token ----------------------------------------------------------------------------------------------

    async def _refresh_token(self, call: Call, app: Application, form: dict[str, str]) -> dict[str, object]:
        token = self._grants.refresh_token(form["refresh_token"])
        if token is None:
            raise StsError(9002313, oauth="invalid_grant")
        if token.grant.client_id != app.client_id:
            raise StsError(70000, name="refresh_token")
        if token.grant.revoked:
            raise StsError(50173)
        if self._directory.clock() >= token.expires:
            raise StsError(700082)
        user = self._user(call, app, token.grant)
        scopes = self._scopes(app, form, token.scopes)
        # An ID token got by refresh carries no nonce (seen with oauth2-proxy against Entra).
        return self._user_tokens(app, user, token.grant, scopes, None, form)

    def _scopes(self, app: Application, form: dict[str, str], granted: frozenset[str]) -> frozenset[str]:
        """Return the scopes of the answer: those granted, and what else has consent; never a refresh token on top."""
        if not form.get("scope"):
            return granted
        try:
            asked = delegated(form["scope"], app, self._directory.principal(app))
        except StsError as problem:
            if problem.code == 650053:
                raise StsError(70011, scope=form["scope"]) from problem
            raise
        return granted | (asked - {"offline_access"})

    def _user_tokens(self, app: Application, user: User, grant: Grant, scopes: frozenset[str], nonce: str | None, form: dict[str, str]) -> dict[str, object]:
        resource_scopes = sorted(scopes - {"offline_access"})
        answer: dict[str, object] = {
            "token_type": "Bearer",
            "scope": " ".join(resource_scopes),
            "expires_in": LIFETIME,
            "ext_expires_in": LIFETIME,
            "access_token": self._issuer.user_access_token(app, user, resource_scopes),
        }
        if "offline_access" in scopes:
            answer["refresh_token"] = self._grants.issue_refresh_token(grant, scopes)
        if "openid" in scopes:
            answer["id_token"] = self._issuer.id_token(app, user, scopes, nonce, grant.session)
        if form.get("client_info") == "1":
            info = json.dumps({"uid": user.id, "utid": self._directory.tenant.id}).encode()
            answer["client_info"] = base64.urlsafe_b64encode(info).rstrip(b"=").decode()
        return answer

    # --- client_credentials -----------------------------------------------------------------------------------------

    async def _client_credentials(self, call: Call, app: Application, form: dict[str, str]) -> dict[str, object]:
        audience = application_audience(form["scope"])
        token = self._issuer.app_access_token(app, self._directory.principal(app), audience)
        return {"token_type": "Bearer", "expires_in": LIFETIME, "ext_expires_in": LIFETIME, "access_token": token}
