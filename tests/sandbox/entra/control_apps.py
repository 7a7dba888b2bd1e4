# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applications through the control API: those of the cast and those that Graph made.

An application is named by its name in the cast, its uniqueName, its client id, or, where it is the only one of that name, its
display name. What is done here is done by nobody: no permission is asked for, no policy and no ownership hold.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from aiohttp import web

from .control_values import ControlError, claims, federated, flag, read_object, redirect_uris, text, texts
from .directory import SECRET_LIFETIME, Application, Directory, ServicePrincipal, new_id
from .graph_applications import apply_change
from .graph_schema import APPLICATION
from .secretsdir import SecretsDir

_OF_APPLICATION: Final = ("redirect_uris", "group_membership_claims", "federated_credentials", "owners", "properties")
_OF_PRINCIPAL: Final = ("enabled", "assignment_required", "assigned_groups", "app_roles")


class AppControl:
    """The handlers of `/apps`."""

    def __init__(self, directory: Directory, secrets_dir: SecretsDir) -> None:
        self._directory = directory
        self._secrets = secrets_dir

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/apps", self._list),
            web.post("/apps", self._post),
            web.get("/apps/{name}", self._get),
            web.put("/apps/{name}", self._put),
            web.delete("/apps/{name}", self._delete),
            web.post("/apps/{name}/secret", self._post_secret),
        ]

    def _app(self, request: web.Request) -> Application:
        app = self._directory.application_by_name(request.match_info["name"])
        if app is None:
            names = sorted(app.name for app in self._directory.applications.values())
            raise ControlError(f"unknown application; there are: {', '.join(names)}", 404)
        return app

    def document(self, app: Application) -> dict[str, object]:
        principal = self._directory.service_principal(app.client_id)
        assigned_ids = self._directory.assigned_to(principal) if principal is not None else set()
        return {
            "name": app.name,
            "id": app.id,
            "client_id": app.client_id,
            "display_name": app.display_name,
            "unique_name": app.unique_name,
            "principal_id": principal.id if principal is not None else None,
            "owners": app.owners,
            "redirect_uris": app.redirect_uris,
            "group_membership_claims": app.group_membership_claims,
            "enabled": principal.account_enabled if principal is not None else None,
            "assignment_required": principal.assignment_required if principal is not None else None,
            "assigned_groups": sorted(group.name for group in self._directory.groups.values() if group.id in assigned_ids),
            "federated_credentials": [asdict(credential) for credential in app.federated_credentials],
            "secrets": [{"key_id": each.key_id, "display_name": each.display_name, "end": each.end} for each in app.password_credentials],
            "app_roles": sorted(self._directory.graph_roles(principal)) if principal is not None else [],
        }

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response([self.document(app) for app in self._directory.applications.values()])

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self.document(self._app(request)))

    async def _post(self, request: web.Request) -> web.Response:
        """Make an application as somebody would by hand, with its service principal unless told otherwise."""
        body = await read_object(request, ("display_name", "unique_name", "redirect_uris", "owners", "principal"))
        app = Application(
            new_id(),
            new_id(),
            "",
            text(body.get("display_name"), "display_name"),
            redirect_uris(body.get("redirect_uris", [])),
            None,
            unique_name=text(body["unique_name"], "unique_name") if "unique_name" in body else None,
            owners=self._owner_ids(body.get("owners", [])),
            created=self._directory.clock(),
        )
        app.name = app.client_id
        if app.unique_name is not None and app.unique_name in [other.unique_name for other in self._directory.registrations()]:
            raise ControlError("unique_name: taken")
        principal = ServicePrincipal(new_id(), app.client_id, owners=list(app.owners), created=app.created)
        self._directory.add_application(app, principal if flag(body.get("principal", True), "principal") else None)
        return web.json_response(self.document(app), status=201)

    def _owner_ids(self, value: object) -> list[str]:
        """Translate owners: names of users, or of applications, which own by their service principals."""
        found = []
        for name in texts(value, "owners"):
            app, user = self._directory.application_by_name(name), self._directory.user(name)
            principal = self._directory.service_principal(app.client_id) if app is not None else None
            owner = principal or user or self._directory.object(name)
            if owner is None:
                raise ControlError(f"owners: unknown {name!r}")
            found.append(owner.id)
        return found

    async def _put(self, request: web.Request) -> web.Response:
        """Change what the body names; everything is checked before anything is changed."""
        app, body = self._app(request), await read_object(request, (*_OF_APPLICATION, *_OF_PRINCIPAL))
        principal = self._directory.service_principal(app.client_id)
        uris = redirect_uris(body.get("redirect_uris", app.redirect_uris))
        group_claims = claims(body["group_membership_claims"]) if "group_membership_claims" in body else app.group_membership_claims
        credentials = federated(body["federated_credentials"]) if "federated_credentials" in body else app.federated_credentials
        owners = self._owner_ids(body["owners"]) if "owners" in body else app.owners
        properties = body.get("properties", {})
        if not isinstance(properties, dict):
            raise ControlError("properties: expected an object of Graph's properties")
        change = APPLICATION.read(properties)
        if principal is None and set(body) & set(_OF_PRINCIPAL):
            raise ControlError("the application has no service principal")
        if principal is not None:
            self._change_principal(principal, body)
        apply_change(self._directory, app, {**change})
        if "redirect_uris" in body:
            app.redirect_uris = uris
        if "group_membership_claims" in body:
            app.group_membership_claims = group_claims
        app.federated_credentials, app.owners = credentials, owners
        return web.json_response(self.document(app))

    def _change_principal(self, principal: ServicePrincipal, body: dict[str, object]) -> None:
        enabled = flag(body.get("enabled", principal.account_enabled), "enabled")
        required = flag(body.get("assignment_required", principal.assignment_required), "assignment_required")
        assigned = self._directory.group_ids(texts(body["assigned_groups"], "assigned_groups")) if "assigned_groups" in body else None
        if "app_roles" in body:
            self._directory.grant_only(principal, texts(body["app_roles"], "app_roles"))
        if assigned is not None:
            self._directory.assign_only(principal, assigned)
        principal.account_enabled, principal.assignment_required = enabled, required

    async def _delete(self, request: web.Request) -> web.Response:
        """Remove an application and its service principal for good."""
        app = self._app(request)
        principal = self._directory.service_principal(app.client_id)
        self._directory.delete_application(app)
        for item in (app, principal):
            if item is not None:
                self._directory.purge(item.id)
        return web.Response(status=204)

    async def _post_secret(self, request: web.Request) -> web.Response:
        app = self._app(request)
        body = await read_object(request, ("state",)) if request.can_read_body else {}
        now = self._directory.clock()
        if "state" not in body:
            return web.json_response({"key_id": self._secrets.renew(app, now).key_id}, status=201)
        if body["state"] not in ("expired", "valid"):
            raise ControlError("state: expected expired or valid")
        for credential in app.password_credentials:
            credential.end = now if body["state"] == "expired" else now + SECRET_LIFETIME
        return web.json_response({"key_ids": [credential.key_id for credential in app.password_credentials]})
