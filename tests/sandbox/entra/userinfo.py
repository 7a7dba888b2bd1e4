# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""graph.microsoft.com, as far as signing in needs it: the UserInfo endpoint.

UserInfo is hosted by Graph (https://learn.microsoft.com/entra/identity-platform/userinfo). oauth2-proxy asks it at every
sign-in, for the claim `email_verified` that Entra's ID tokens don't have, and fails the sign-in when it can't be reached.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from .call import Call
from .directory import Directory
from .graph_auth import bearer_claims
from .graph_errors import GraphError, denied, method_not_allowed, unauthenticated
from .tokens import KeyRing, pairwise_subject

USERINFO: Final = "/oidc/userinfo"


class UserInfo:
    """Answers for graph.microsoft.com/oidc/userinfo."""

    def __init__(self, directory: Directory, keys: KeyRing) -> None:
        self._directory = directory
        self._keys = keys

    async def handle(self, call: Call) -> web.Response:
        try:
            self._check_method(call)
            return web.json_response(self._claims(call))
        except GraphError as refusal:
            return refusal.response(call)

    @staticmethod
    def _check_method(call: Call) -> None:
        if call.request.method not in ("GET", "POST"):
            raise method_not_allowed()

    def _claims(self, call: Call) -> dict[str, object]:
        token = bearer_claims(call, self._directory, self._keys)
        call.claim_client(str(token.get("appid", "")))
        scopes = str(token.get("scp", "")).split()
        user = self._directory.user_by_id(str(token.get("oid", "")))
        if user is None or not user.enabled:
            raise unauthenticated("The user of this access token doesn't exist or is disabled.")
        call.entry.user = user.name
        if "openid" not in scopes:
            raise denied()
        claims: dict[str, object] = {"sub": pairwise_subject(self._directory.tenant.id, str(token["appid"]), user.id)}
        if "profile" in scopes:
            claims.update(name=user.display_name, picture="https://graph.microsoft.com/v1.0/me/photo/$value")
        if "email" in scopes and user.mail is not None:
            claims["email"] = user.mail
        return claims
