# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""graph.microsoft.com, as far as signing in needs it: the UserInfo endpoint. The rest of Microsoft Graph is to come.

UserInfo is hosted by Graph (https://learn.microsoft.com/entra/identity-platform/userinfo). oauth2-proxy asks it at every
sign-in, for the claim `email_verified` that Entra's ID tokens don't have, and fails the sign-in when it can't be reached.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from .call import Call
from .directory import GRAPH_APP_ID, Directory
from .tokens import KeyRing, pairwise_subject

USERINFO: Final = "/oidc/userinfo"


class GraphError(Exception):
    """A refusal in Graph's own form."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message

    def response(self, call: Call) -> web.Response:
        inner = {
            "date": call.trace.timestamp.removesuffix("Z").replace(" ", "T"),
            "request-id": call.trace.trace_id,
            "client-request-id": call.trace.correlation_id,
        }
        document = {"error": {"code": self.code, "message": self.message, "innerError": inner}}
        return web.json_response(document, status=self.status)


def _unauthenticated(message: str) -> GraphError:
    return GraphError(401, "InvalidAuthenticationToken", message)


class UserInfo:
    """Answers for graph.microsoft.com until Graph itself is part of the double."""

    def __init__(self, directory: Directory, keys: KeyRing) -> None:
        self._directory = directory
        self._keys = keys

    async def handle(self, call: Call) -> web.Response:
        try:
            self._check_target(call)
            return web.json_response(self._claims(call))
        except GraphError as refusal:
            return refusal.response(call)

    @staticmethod
    def _check_target(call: Call) -> None:
        if call.path != USERINFO:
            raise GraphError(501, "NotImplemented", "Microsoft Graph is not part of this test double yet.")
        if call.request.method not in ("GET", "POST"):
            raise GraphError(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")

    def _claims(self, call: Call) -> dict[str, object]:
        token = self._token(call)
        call.claim_client(str(token.get("appid", "")))
        scopes = str(token.get("scp", "")).split()
        user = self._directory.user_by_id(str(token.get("oid", "")))
        if user is None or not user.enabled:
            raise _unauthenticated("The user of this access token doesn't exist or is disabled.")
        call.entry.user = user.name
        if "openid" not in scopes:
            raise GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        claims: dict[str, object] = {"sub": pairwise_subject(self._directory.tenant.id, str(token["appid"]), user.id)}
        if "profile" in scopes:
            claims.update(name=user.display_name, picture="https://graph.microsoft.com/v1.0/me/photo/$value")
        if "email" in scopes and user.mail is not None:
            claims["email"] = user.mail
        return claims

    def _token(self, call: Call) -> dict[str, Any]:
        scheme, _, value = call.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not value:
            raise _unauthenticated("Access token is empty.")
        claims = self._keys.verify(value)
        if claims is None:
            raise _unauthenticated("CompactToken parsing failed with error code: 80049217")
        if claims.get("aud") != GRAPH_APP_ID:
            raise _unauthenticated("Access token validation failure. Invalid audience.")
        if self._directory.clock() >= claims["exp"]:
            raise _unauthenticated("Lifetime validation failed, the token is expired.")
        return claims
