# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control API for tests, plain HTTP on loopback. Strict: an unknown key, parameter or name is a 400 that says so.

GET    /healthz
GET    /journal                 DELETE /journal
GET    /state                   the directory in canonical form, to compare end states (`canonical`)
GET    /tenant                  PUT /tenant        {"licences": ["AAD_PREMIUM"],
                                                    "secret_policy": {"allowed": bool, "max_lifetime": seconds or null}}
GET    /users/<name>            PUT /users/<name>  {"enabled": bool}
PUT    /users/<name>/groups     ["group", …]
GET    /groups                  every group
GET    /groups/<name or id>     DELETE
PUT    /groups/<name>           {"id": GUID, "duplicate": bool, "members": [names]}  makes a group; duplicate: a second of that name
PUT    /groups/<name or id>/members  [names of users and groups]
GET    /apps                    POST /apps         {"display_name", "unique_name", "redirect_uris", "owners", "principal": bool}
GET    /apps/<name>             PUT /apps/<name>   {"redirect_uris", "group_membership_claims", "enabled", "assignment_required",
                                                    "assigned_groups", "federated_credentials", "app_roles", "owners",
                                                    "properties": {as Graph's PATCH takes them}}
DELETE /apps/<name>             for good           (an app by name, uniqueName, client id or display name: `control_apps`)
POST   /apps/<name>/secret      {"state": "expired"|"valid"}, or {} for a new one (its value goes to the file only)
GET    /faults                  PUT /faults  [{"match", "action", "times", "skip"}]      DELETE /faults (ends all lag too)
POST   /keys/rotate
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from aiohttp import web

from .canonical import state
from .control_apps import AppControl
from .control_values import ControlError, closed, flag, read_json, read_object, texts
from .directory import LICENCES, Directory, DirectoryError, Group, SecretPolicy, User, is_guid
from .faults import FaultBoard, FaultError, parse_faults
from .graph_errors import GraphError
from .journal import Journal
from .lag import Replicas
from .secretsdir import SecretsDir
from .tokens import KeyRing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """The control API over one directory, journal, fault board and key ring; `changed` is told of each change."""

    def __init__(
        self,
        directory: Directory,
        journal: Journal,
        faults: FaultBoard,
        replicas: Replicas,
        keys: KeyRing,
        secrets_dir: SecretsDir,
        changed: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._journal = journal
        self._faults = faults
        self._replicas = replicas
        self._keys = keys
        self._changed = changed
        self._apps = AppControl(directory, secrets_dir)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/journal", self._get_journal),
                web.delete("/journal", self._delete_journal),
                web.get("/state", self._get_state),
                web.get("/tenant", self._get_tenant),
                web.put("/tenant", self._put_tenant),
                web.get("/users/{name}", self._get_user),
                web.put("/users/{name}", self._put_user),
                web.put("/users/{name}/groups", self._put_user_groups),
                web.get("/groups", self._get_groups),
                web.get("/groups/{name}", self._get_group),
                web.put("/groups/{name}", self._put_group),
                web.delete("/groups/{name}", self._delete_group),
                web.put("/groups/{name}/members", self._put_members),
                *self._apps.routes(),
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
            response = await handler(request)
        except web.HTTPException as exc:
            return web.json_response({"error": f"{exc.status} {exc.reason}"}, status=exc.status)
        except GraphError as exc:
            return web.json_response({"error": f"{exc.code}: {exc.message}"}, status=400)
        except (ControlError, DirectoryError, FaultError) as exc:
            return web.json_response({"error": str(exc)}, status=getattr(exc, "status", 400))
        if request.method != "GET":
            self._changed()
        return response

    # --- look-ups ---------------------------------------------------------------------------------------------------

    def _user(self, request: web.Request) -> User:
        user = self._directory.users.get(request.match_info["name"])
        if user is None:
            raise ControlError(f"unknown user; there are: {', '.join(sorted(self._directory.users))}", 404)
        return user

    def _group(self, request: web.Request) -> Group:
        try:
            [group_id] = self._directory.group_ids([request.match_info["name"]])
        except DirectoryError as exc:
            raise ControlError(str(exc), 404) from exc
        return self._directory.groups[group_id]

    def _user_document(self, user: User) -> dict[str, object]:
        return {
            "id": user.id,
            "name": user.name,
            "upn": user.upn,
            "enabled": user.enabled,
            "groups": self._directory.group_names(user),
        }

    def _group_document(self, group: Group) -> dict[str, object]:
        members = self._directory.members(group)
        return {
            "id": group.id,
            "name": group.name,
            "members": sorted(item.name if isinstance(item, (User, Group)) else item.id for item in members),
        }

    def _tenant_document(self) -> dict[str, object]:
        return {"licences": sorted(self._directory.licences), "secret_policy": asdict(self._directory.secret_policy)}

    # --- handlers ---------------------------------------------------------------------------------------------------

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _get_journal(self, request: web.Request) -> web.Response:
        return web.json_response(self._journal.documents())

    async def _delete_journal(self, request: web.Request) -> web.Response:
        self._journal.clear()
        return web.Response(status=204)

    async def _get_state(self, request: web.Request) -> web.Response:
        return web.json_response(state(self._directory))

    async def _get_tenant(self, request: web.Request) -> web.Response:
        return web.json_response(self._tenant_document())

    async def _put_tenant(self, request: web.Request) -> web.Response:
        body = await read_object(request, ("licences", "secret_policy"))
        licences = set(texts(body.get("licences", sorted(self._directory.licences)), "licences"))
        if not licences <= set(LICENCES):
            raise ControlError(f"licences: expected some of {', '.join(LICENCES)}")
        policy = self._directory.secret_policy
        if "secret_policy" in body:
            values = closed(body["secret_policy"], ("allowed", "max_lifetime"))
            limit = values.get("max_lifetime")
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float)) or limit <= 0):
                raise ControlError("secret_policy.max_lifetime: expected seconds above 0, or null")
            policy = SecretPolicy(flag(values.get("allowed", True), "secret_policy.allowed"), None if limit is None else float(limit))
        self._directory.licences, self._directory.secret_policy = licences, policy
        return web.json_response(self._tenant_document())

    async def _get_user(self, request: web.Request) -> web.Response:
        return web.json_response(self._user_document(self._user(request)))

    async def _put_user(self, request: web.Request) -> web.Response:
        user, body = self._user(request), await read_object(request, ("enabled",))
        if "enabled" in body:
            user.enabled = flag(body["enabled"], "enabled")
        return web.json_response(self._user_document(user))

    async def _put_user_groups(self, request: web.Request) -> web.Response:
        user = self._user(request)
        user.group_ids = self._directory.group_ids(texts(await read_json(request), "groups"))
        return web.json_response(self._user_document(user))

    async def _get_groups(self, request: web.Request) -> web.Response:
        return web.json_response([self._group_document(group) for group in self._directory.groups.values()])

    async def _get_group(self, request: web.Request) -> web.Response:
        return web.json_response(self._group_document(self._group(request)))

    async def _put_group(self, request: web.Request) -> web.Response:
        body = await read_object(request, ("id", "duplicate", "members"))
        group_id = body.get("id")
        if not isinstance(group_id, str) or not is_guid(group_id):
            raise ControlError("id: expected a GUID")
        users, groups = self._members(body.get("members", []))
        duplicate = flag(body.get("duplicate", False), "duplicate")
        group = self._directory.add_group(request.match_info["name"], group_id.lower(), duplicate=duplicate)
        self._fill(group, users, groups)
        return web.json_response(self._group_document(group), status=201)

    async def _put_members(self, request: web.Request) -> web.Response:
        group = self._group(request)
        self._fill(group, *self._members(await read_json(request)))
        return web.json_response(self._group_document(group))

    async def _delete_group(self, request: web.Request) -> web.Response:
        self._directory.delete_group(self._group(request))
        return web.Response(status=204)

    def _members(self, value: object) -> tuple[list[User], set[str]]:
        """Translate names of users and groups."""
        names = texts(value, "members")
        users = [user for name in names if (user := self._directory.users.get(name)) is not None]
        return users, self._directory.group_ids(name for name in names if name not in self._directory.users)

    def _fill(self, group: Group, users: list[User], groups: set[str]) -> None:
        """Make these the only members of a group."""
        for user in self._directory.users.values():
            user.group_ids.discard(group.id)
        for user in users:
            user.group_ids.add(group.id)
        group.members = groups

    async def _get_faults(self, request: web.Request) -> web.Response:
        return web.json_response([asdict(fault) for fault in self._faults.faults])

    async def _put_faults(self, request: web.Request) -> web.Response:
        self._faults.faults = parse_faults(await read_json(request))
        return web.json_response({"faults": len(self._faults.faults)})

    async def _delete_faults(self, request: web.Request) -> web.Response:
        self._faults.faults = []
        self._replicas.clear()
        return web.Response(status=204)

    async def _rotate(self, request: web.Request) -> web.Response:
        return web.json_response({"kid": self._keys.rotate()})
