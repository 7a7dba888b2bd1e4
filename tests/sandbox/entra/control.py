# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control API for tests, plain HTTP on loopback. Strict: an unknown key, parameter or name is a 400 that says so.

GET    /healthz
GET    /journal                 DELETE /journal
GET    /users/<name>            PUT /users/<name>  {"enabled": bool}
PUT    /users/<name>/groups     ["group", …]
PUT    /groups/<name>           {"id": GUID}       makes a group, for overage tests
GET    /apps/<name>             PUT /apps/<name>   {"redirect_uris", "group_membership_claims", "enabled",
                                                    "assignment_required", "assigned_groups",
                                                    "federated_credentials"}
POST   /apps/<name>/secret      {"state": "expired"|"valid"}, or {} for a new one (its value goes to the file only)
GET    /faults                  PUT /faults  [{"match", "action", "times"}]      DELETE /faults
POST   /keys/rotate
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Final

from aiohttp import web

from .directory import (
    GROUP_MEMBERSHIP_CLAIMS,
    MAX_REDIRECT_URIS,
    SECRET_LIFETIME,
    TOKEN_EXCHANGE_AUDIENCE,
    Application,
    Directory,
    DirectoryError,
    FederatedCredential,
    User,
    check_redirect_uri,
    is_guid,
)
from .faults import FaultBoard, FaultError, parse_faults
from .journal import Journal
from .secretsdir import SecretsDir
from .tokens import KeyRing

_APP_KEYS: Final = (
    "redirect_uris",
    "group_membership_claims",
    "enabled",
    "assignment_required",
    "assigned_groups",
    "federated_credentials",
    "app_roles",
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlError(ValueError):
    """A control request that can't be honoured, and why."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ControlError("a key comes twice in the JSON body")
    return found


async def _json(request: web.Request) -> object:
    try:
        body: object = json.loads(await request.text(), object_pairs_hook=_unique)
    except (json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise ControlError("the body isn't JSON") from exc
    return body


async def _object(request: web.Request, keys: tuple[str, ...]) -> dict[str, object]:
    body = await _json(request)
    if not isinstance(body, dict):
        raise ControlError(f"expected a JSON object, got {type(body).__name__}")
    unknown = sorted(set(body) - set(keys))
    if unknown:
        raise ControlError(f"unknown key {unknown[0]!r}; known: {', '.join(keys)}")
    return body


def _texts(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ControlError(f"{where}: expected a JSON list of texts")
    if len(set(value)) != len(value):
        raise ControlError(f"{where}: an item comes twice")
    return value


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise ControlError(f"{where}: expected true or false")
    return value


def _redirect_uris(value: object) -> list[str]:
    uris = _texts(value, "redirect_uris")
    if len(uris) > MAX_REDIRECT_URIS:
        raise ControlError(f"redirect_uris: at most {MAX_REDIRECT_URIS}")
    for uri in uris:
        check_redirect_uri(uri)
    return uris


def _claims(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in GROUP_MEMBERSHIP_CLAIMS:
        raise ControlError(f"group_membership_claims: expected one of {', '.join(GROUP_MEMBERSHIP_CLAIMS)}")
    return value


def _federated(value: object) -> list[FederatedCredential]:
    if not isinstance(value, list):
        raise ControlError("federated_credentials: expected a list")
    credentials = []
    for item in value:
        required = {"name", "issuer", "subject"}
        if not isinstance(item, dict) or not required <= set(item) <= required | {"audience"}:
            raise ControlError("federated_credentials: expected objects of name, issuer, subject and, optionally, audience")
        if not all(isinstance(text, str) and text for text in item.values()):
            raise ControlError("federated_credentials: expected texts")
        credentials.append(FederatedCredential(**{"audience": TOKEN_EXCHANGE_AUDIENCE, **item}))
    return credentials


class Control:
    """The control API over one directory, journal, fault board and key ring."""

    def __init__(self, directory: Directory, journal: Journal, faults: FaultBoard, keys: KeyRing, secrets_dir: SecretsDir) -> None:
        self._directory = directory
        self._journal = journal
        self._faults = faults
        self._keys = keys
        self._secrets = secrets_dir

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/journal", self._get_journal),
                web.delete("/journal", self._delete_journal),
                web.get("/users/{name}", self._get_user),
                web.put("/users/{name}", self._put_user),
                web.put("/users/{name}/groups", self._put_user_groups),
                web.put("/groups/{name}", self._put_group),
                web.get("/apps/{name}", self._get_app),
                web.put("/apps/{name}", self._put_app),
                web.post("/apps/{name}/secret", self._post_secret),
                web.get("/faults", self._get_faults),
                web.put("/faults", self._put_faults),
                web.delete("/faults", self._delete_faults),
                web.post("/keys/rotate", self._rotate),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.query_string:
            return web.json_response({"error": "the control API takes no query parameters"}, status=400)
        try:
            return await handler(request)
        except web.HTTPException as exc:
            return web.json_response({"error": f"{exc.status} {exc.reason}"}, status=exc.status)
        except (ControlError, DirectoryError, FaultError) as exc:
            return web.json_response({"error": str(exc)}, status=getattr(exc, "status", 400))

    # --- look-ups ---------------------------------------------------------------------------------------------------

    def _user(self, request: web.Request) -> User:
        user = self._directory.users.get(request.match_info["name"])
        if user is None:
            raise ControlError(f"unknown user; there are: {', '.join(sorted(self._directory.users))}", 404)
        return user

    def _app(self, request: web.Request) -> Application:
        app = self._directory.application_by_name(request.match_info["name"])
        if app is None:
            names = sorted(app.name for app in self._directory.applications.values())
            raise ControlError(f"unknown application; there are: {', '.join(names)}", 404)
        return app

    def _user_document(self, user: User) -> dict[str, object]:
        return {
            "id": user.id,
            "name": user.name,
            "upn": user.upn,
            "enabled": user.enabled,
            "groups": self._directory.group_names(user),
        }

    def _app_document(self, app: Application) -> dict[str, object]:
        principal = self._directory.principal(app)
        assigned_ids = self._directory.assigned_to(principal)
        assigned = sorted(group.name for group in self._directory.groups.values() if group.id in assigned_ids)
        return {
            "name": app.name,
            "client_id": app.client_id,
            "redirect_uris": app.redirect_uris,
            "group_membership_claims": app.group_membership_claims,
            "enabled": principal.account_enabled,
            "assignment_required": principal.assignment_required,
            "assigned_groups": assigned,
            "federated_credentials": [asdict(credential) for credential in app.federated_credentials],
            "app_roles": sorted(self._directory.graph_roles(principal)),
        }

    # --- handlers ---------------------------------------------------------------------------------------------------

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _get_journal(self, request: web.Request) -> web.Response:
        return web.json_response(self._journal.documents())

    async def _delete_journal(self, request: web.Request) -> web.Response:
        self._journal.clear()
        return web.Response(status=204)

    async def _get_user(self, request: web.Request) -> web.Response:
        return web.json_response(self._user_document(self._user(request)))

    async def _put_user(self, request: web.Request) -> web.Response:
        user, body = self._user(request), await _object(request, ("enabled",))
        if "enabled" in body:
            user.enabled = _flag(body["enabled"], "enabled")
        return web.json_response(self._user_document(user))

    async def _put_user_groups(self, request: web.Request) -> web.Response:
        user = self._user(request)
        user.group_ids = self._directory.group_ids(_texts(await _json(request), "groups"))
        return web.json_response(self._user_document(user))

    async def _put_group(self, request: web.Request) -> web.Response:
        group_id = (await _object(request, ("id",))).get("id")
        if not isinstance(group_id, str) or not is_guid(group_id):
            raise ControlError("id: expected a GUID")
        group = self._directory.add_group(request.match_info["name"], group_id.lower())
        return web.json_response({"id": group.id, "name": group.name}, status=201)

    async def _get_app(self, request: web.Request) -> web.Response:
        return web.json_response(self._app_document(self._app(request)))

    async def _put_app(self, request: web.Request) -> web.Response:
        """Change what the body names; everything is checked before anything is changed."""
        app, body = self._app(request), await _object(request, _APP_KEYS)
        principal = self._directory.principal(app)
        uris = _redirect_uris(body.get("redirect_uris", app.redirect_uris))
        claims = _claims(body.get("group_membership_claims", app.group_membership_claims))
        enabled = _flag(body.get("enabled", principal.account_enabled), "enabled")
        required = _flag(body.get("assignment_required", principal.assignment_required), "assignment_required")
        assigned = self._directory.assigned_to(principal)
        if "assigned_groups" in body:
            assigned = self._directory.group_ids(_texts(body["assigned_groups"], "assigned_groups"))
        if "federated_credentials" in body:
            app.federated_credentials = _federated(body["federated_credentials"])
        if "app_roles" in body:
            self._directory.grant_only(principal, _texts(body["app_roles"], "app_roles"))
        app.redirect_uris, app.group_membership_claims = uris, claims
        principal.account_enabled, principal.assignment_required = enabled, required
        self._directory.assign_only(principal, assigned)
        return web.json_response(self._app_document(app))

    async def _post_secret(self, request: web.Request) -> web.Response:
        app = self._app(request)
        body = await _object(request, ("state",)) if request.can_read_body else {}
        now = self._directory.clock()
        if "state" not in body:
            return web.json_response({"key_id": self._secrets.renew(app, now).key_id}, status=201)
        if body["state"] not in ("expired", "valid"):
            raise ControlError("state: expected expired or valid")
        for credential in app.password_credentials:
            credential.end = now if body["state"] == "expired" else now + SECRET_LIFETIME
        return web.json_response({"key_ids": [credential.key_id for credential in app.password_credentials]})

    async def _get_faults(self, request: web.Request) -> web.Response:
        return web.json_response([asdict(fault) for fault in self._faults.faults])

    async def _put_faults(self, request: web.Request) -> web.Response:
        self._faults.faults = parse_faults(await _json(request))
        return web.json_response({"faults": len(self._faults.faults)})

    async def _delete_faults(self, request: web.Request) -> web.Response:
        self._faults.faults = []
        return web.Response(status=204)

    async def _rotate(self, request: web.Request) -> web.Response:
        return web.json_response({"kid": self._keys.rotate()})
