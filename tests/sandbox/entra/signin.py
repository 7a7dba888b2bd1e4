# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""login.microsoftonline.com: discovery, keys, authorize and logout. The token endpoint is in `token_endpoint`.

Sources: https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc and …/v2-oauth2-auth-code-flow. Which errors
stay on Entra's own page and which go to the redirect URI follows RFC 6749 4.1.2.1: whatever casts doubt on client or
redirect URI is shown; so is what concerns the person (disabled, not assigned), as Entra does.

Two deliberate differences: PKCE with S256 is demanded (Entra also takes `plain`, and for web applications none at all), and
`login_hint` signs that user in at once, whatever `prompt` says, so that a script needs no page.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from aiohttp import web

from . import pages
from .call import Call, parameters, required
from .directory import Application, Directory, User, is_guid
from .errors import StsError
from .grants import Grant, GrantStore, Session
from .scopes import delegated
from .token_endpoint import TokenEndpoint
from .tokens import LOGIN, KeyRing, issuer, new_session_state

SESSION_COOKIE: Final = "ESTSAUTH"
_SHARED_TENANTS: Final = ("common", "organizations", "consumers")
_PROMPTS: Final = ("", "none", "login", "select_account", "consent")
_RESPONSE_MODES: Final = ("query", "fragment", "form_post")
_CODE_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_CLAIMS: Final = (
    *("sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host", "aud", "exp"),
    *("iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email"),
)
_NO_STORE: Final = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}

Handler = Callable[[Call], Awaitable[web.Response]]


def html_response(text: str, status: int = 200, script_nonce: str | None = None) -> web.Response:
    scripts = f"script-src 'nonce-{script_nonce}'" if script_nonce else "script-src 'none'"
    headers = {
        **_NO_STORE,
        "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; {scripts}",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
    }
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)


@dataclass(frozen=True)
class Reply:
    """Where and how the answer to an authorization request goes."""

    redirect_uri: str
    mode: str
    state: str | None

    def send(self, values: dict[str, str]) -> web.Response:
        """Carry the values to the redirect URI, which stays as registered to the byte."""
        if self.state is not None:
            values = {**values, "state": self.state}
        if self.mode == "form_post":
            nonce = secrets.token_urlsafe(16)
            return html_response(pages.form_post(self.redirect_uri, values, nonce), script_nonce=nonce)
        separator = "#" if self.mode == "fragment" else "&" if "?" in self.redirect_uri else "?"
        location = self.redirect_uri + separator + urlencode(values, quote_via=quote)
        return web.Response(status=302, headers={**_NO_STORE, "Location": location})


@dataclass(frozen=True)
class Request:
    """An authorization request that has been found right."""

    app: Application
    reply: Reply
    scopes: frozenset[str]
    code_challenge: str
    nonce: str | None
    prompt: str
    login_hint: str


class SignIn:
    """The endpoints of one tenant on login.microsoftonline.com."""

    def __init__(self, directory: Directory, grants: GrantStore, keys: KeyRing, tokens: TokenEndpoint) -> None:
        self._directory = directory
        self._grants = grants
        self._keys = keys
        self._tokens = tokens
        self._routes: dict[str, tuple[tuple[str, ...], Handler]] = {
            "v2.0/.well-known/openid-configuration": (("GET", "HEAD"), self._discovery),
            "discovery/v2.0/keys": (("GET", "HEAD"), self._key_documents),
            "oauth2/v2.0/authorize": (("GET",), self._authorize),
            "oauth2/v2.0/token": (("POST",), self._tokens.handle),
            "oauth2/v2.0/logout": (("GET", "POST"), self._logout),
        }

    async def handle(self, call: Call) -> web.Response:
        """Answer a request; a refusal becomes a page for people and JSON for programs."""
        if call.path == "/common/discovery/instance" and call.request.method == "GET":
            return self._instance_discovery()
        segment, _, endpoint = call.path.lstrip("/").partition("/")
        methods, handler = self._routes.get(endpoint, ((), None))
        if handler is None:
            return web.Response(status=404, text="Not found\n")
        try:
            self._check_tenant(segment, endpoint)
            self._check_method(call.request.method, methods)
            return await handler(call)
        except StsError as problem:
            return self._refusal(call, endpoint, problem)

    @staticmethod
    def _refusal(call: Call, endpoint: str, problem: StsError) -> web.Response:
        call.entry.aadsts = problem.code
        if endpoint in ("oauth2/v2.0/authorize", "oauth2/v2.0/logout"):
            return html_response(pages.error(problem, call.trace), problem.status)
        return web.json_response(problem.document(call.trace), status=problem.status, headers=_NO_STORE)

    @staticmethod
    def _check_method(method: str, allowed: tuple[str, ...]) -> None:
        if method not in allowed:
            raise StsError(900561, allowed=", ".join(allowed), method=method)

    def _check_tenant(self, segment: str, endpoint: str) -> None:
        if self._directory.tenant.answers_to(segment):
            return
        if segment in _SHARED_TENANTS:
            raise StsError(50194, tenant=segment)
        # Seen: the discovery endpoint says invalid_tenant where the token endpoint says invalid_request.
        oauth = "invalid_tenant" if endpoint.startswith("v2.0/") else None
        raise StsError(90002 if is_guid(segment) or "." in segment else 900023, oauth=oauth, tenant=segment)

    # --- metadata ---------------------------------------------------------------------------------------------------

    async def _discovery(self, call: Call) -> web.Response:
        tenant_id = self._directory.tenant.id
        base = f"{LOGIN}/{tenant_id}"
        document = {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "response_modes_supported": list(_RESPONSE_MODES),
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": issuer(tenant_id),
            "request_uri_parameter_supported": False,
            "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "http_logout_supported": True,
            "frontchannel_logout_supported": True,
            "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
            "claims_supported": list(_CLAIMS),
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
            "msgraph_host": "graph.microsoft.com",
        }
        return web.json_response(document)

    async def _key_documents(self, call: Call) -> web.Response:
        return web.json_response({"keys": self._keys.documents(issuer(self._directory.tenant.id))})

    def _instance_discovery(self) -> web.Response:
        """Answer what MSAL asks before it trusts an authority host."""
        host = "login.microsoftonline.com"
        return web.json_response(
            {
                "tenant_discovery_endpoint": f"{LOGIN}/{self._directory.tenant.id}/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [{"preferred_network": host, "preferred_cache": "login.windows.net", "aliases": [host]}],
            }
        )

    # --- authorize --------------------------------------------------------------------------------------------------

    async def _authorize(self, call: Call) -> web.Response:
        query = parameters(call.query)
        client_id = required(query, "client_id")
        call.claim_client(client_id)
        app = self._tokens.application(client_id)
        redirect_uri = self._redirect_uri(app, query)
        mode = query.get("response_mode", "") or "query"
        reply = Reply(redirect_uri, mode if mode in _RESPONSE_MODES else "query", query.get("state"))
        try:
            request = self._read_request(app, reply, query)
            return self._sign_in(call, request)
        except _ForTheClient as wrapped:
            problem = wrapped.problem
            call.entry.aadsts = problem.code
            return reply.send({"error": problem.oauth, "error_description": problem.description(call.trace)})

    @staticmethod
    def _redirect_uri(app: Application, query: dict[str, str]) -> str:
        uri = query.get("redirect_uri", "")
        if not uri:
            raise StsError(900971)
        if uri not in app.redirect_uris:
            raise StsError(50011, redirect_uri=uri, client_id=app.client_id)
        return uri

    def _read_request(self, app: Application, reply: Reply, query: dict[str, str]) -> Request:
        try:
            self._check_parameters(query)
            return Request(
                app=app,
                reply=reply,
                scopes=delegated(required(query, "scope"), app, self._directory.principal(app)),
                code_challenge=self._code_challenge(query),
                nonce=query.get("nonce") or None,
                prompt=query.get("prompt", ""),
                login_hint=query.get("login_hint", ""),
            )
        except StsError as problem:
            if problem.code == 65001:
                problem.oauth = "consent_required"
            raise _ForTheClient(problem) from problem

    @staticmethod
    def _check_parameters(query: dict[str, str]) -> None:
        response_type = required(query, "response_type")
        kinds = set(response_type.split())
        if response_type != "code":
            if not kinds <= {"code", "id_token", "token"}:
                raise StsError(70005, value=response_type)
            raise StsError(700051 if "token" in kinds else 700054)
        if query.get("response_mode", "") not in ("", *_RESPONSE_MODES):
            raise StsError(70007, value=query["response_mode"])
        if "resource" in query:
            raise StsError(901002)
        if query.get("prompt", "") not in _PROMPTS:
            raise StsError(90023, name="prompt")

    @staticmethod
    def _code_challenge(query: dict[str, str]) -> str:
        challenge, method = query.get("code_challenge", ""), query.get("code_challenge_method", "")
        if not challenge:
            raise StsError(50147 if method else 9002325)
        if method != "S256":
            raise StsError(50149)
        if not _CODE_CHALLENGE.fullmatch(challenge):
            raise StsError(501491)
        return challenge

    def _sign_in(self, call: Call, request: Request) -> web.Response:
        cookie, session = self._session(call)
        hinted = self._directory.user(request.login_hint) if request.login_hint else None
        user = hinted or self._user_of(session)
        if request.prompt == "none":
            if session is None or user is None or user.id != session.user_id or (request.login_hint and hinted is None):
                raise _ForTheClient(StsError(50058))
        elif request.login_hint and hinted is None:
            return self._sign_in_page(call, request, StsError(50034, user=request.login_hint, tenant=self._tenant_name))
        elif user is None or (hinted is None and request.prompt in ("login", "select_account")):
            return self._sign_in_page(call, request)
        call.entry.user = user.name
        self._tokens.check_user(request.app, user)
        if session is None or session.user_id != user.id:
            cookie, session = self._grants.open_session(user.id)
        session.client_ids.add(request.app.client_id)
        return self._with_code(request, user, session, cookie)

    def _with_code(self, request: Request, user: User, session: Session, cookie: str) -> web.Response:
        grant = Grant(request.app.client_id, user.id, request.scopes, session.id)
        code = self._grants.issue_code(
            grant,
            redirect_uri=request.reply.redirect_uri,
            code_challenge=request.code_challenge,
            nonce=request.nonce,
        )
        response = request.reply.send({"code": code, "session_state": new_session_state()})
        response.set_cookie(SESSION_COOKIE, cookie, path="/", secure=True, httponly=True, samesite="None")
        return response

    def _sign_in_page(self, call: Call, request: Request, problem: StsError | None = None) -> web.Response:
        kept = [pair for pair in parse_qsl(call.query, keep_blank_values=True) if pair[0] not in ("login_hint", "prompt")]
        choices = []
        for user in self._directory.users.values():
            href = f"{call.path}?{urlencode([*kept, ('login_hint', user.upn)], quote_via=quote)}"
            groups = ", ".join(self._directory.group_names(user)) or "no group"
            choices.append(pages.Choice(user.upn, user.display_name, groups if user.enabled else "disabled", href))
        text = None
        if problem is not None:
            call.entry.aadsts = problem.code
            text = f"AADSTS{problem.code}: {problem.text}"
        page = pages.sign_in(request.app.display_name, self._tenant_name, choices, text)
        return html_response(page, 200 if problem is None else problem.status)

    # --- sessions ---------------------------------------------------------------------------------------------------

    @property
    def _tenant_name(self) -> str:
        return self._directory.tenant.name

    def _session(self, call: Call) -> tuple[str, Session | None]:
        cookie = call.request.cookies.get(SESSION_COOKIE, "")
        return cookie, self._grants.session(cookie) if cookie else None

    def _user_of(self, session: Session | None) -> User | None:
        """Return the session's user; a session of someone gone or disabled leads back to the page."""
        user = self._directory.user_by_id(session.user_id) if session is not None else None
        return user if user is not None and user.enabled else None

    async def _logout(self, call: Call) -> web.Response:
        values = parameters(call.query)
        if call.request.method == "POST":
            values = {**values, **parameters(await self._tokens.form(call.request))}
        cookie, session = self._session(call)
        if session is not None:
            user = self._directory.user_by_id(session.user_id)
            call.entry.user = user.name if user is not None else None
            self._grants.close_session(cookie)
        target = values.get("post_logout_redirect_uri", "")
        if target and target in self._logout_targets(call, values, session):
            location = target
            if "state" in values:
                location += ("&" if "?" in target else "?") + urlencode({"state": values["state"]}, quote_via=quote)
            response = web.Response(status=302, headers={**_NO_STORE, "Location": location})
        else:
            response = html_response(pages.signed_out())
        response.del_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="None")
        return response

    def _logout_targets(self, call: Call, values: dict[str, str], session: Session | None) -> set[str]:
        """Return the redirect URIs registered for the application that asks, or for those the session was used with."""
        # An id_token_hint may be out of date: it only says which application asks.
        hint = self._keys.verify(values.get("id_token_hint", "")) or {}
        named = values.get("client_id") or str(hint.get("aud", ""))
        if named:
            call.claim_client(named)
        client_ids = {named} if named else session.client_ids if session is not None else set()
        apps = [self._directory.application(client_id) for client_id in client_ids]
        return {uri for app in apps if app is not None for uri in app.redirect_uris}


class _ForTheClient(Exception):
    """An error that goes to the redirect URI, since client and redirect URI are beyond doubt."""

    def __init__(self, problem: StsError) -> None:
        super().__init__(str(problem))
        self.problem = problem
