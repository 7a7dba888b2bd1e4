# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a client outside sees of the routes and policies in the API double, with Envoy's lag; and a guard that nothing is open.

It stands in for ``ProbeClient``. After every write it holds the cluster against the guarantee *closed until proven*: an app's
route appears only when its policy is there and its sentinel was refused often enough in a row, and what protects an app goes
only when its host no longer answers. A breach fails the test, whatever the test is about.
"""

from __future__ import annotations

import collections
import threading
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._probe import Answer
from tests.unit.support.api import Api, Request

Object = dict[str, t.Any]
SENTINEL = "/.gateway-auth/probe"
IN_A_ROW = 16


class Envoy:
    """``lag``: how many requests it takes until a policy, or the removal of a route, is in effect."""

    def __init__(self, api: Api, lag: int = 0) -> None:
        self.api = api
        self.lag = lag
        self.refused: dict[str, int] = collections.defaultdict(int)  # host -> refusals of its sentinel in a row
        self._pending: dict[str, int] = {}  # app -> requests until its policy is live
        self._lingering: dict[str, int] = {}  # host -> requests until its app is gone
        self._seen: dict[str, Object] = {obj["metadata"]["uid"]: obj for obj in api.objects.values()}
        self._lock = threading.Lock()
        api.after_write.append(self._guard)

    def via(self) -> str:
        return "at 192.0.2.1"

    def request(self, host: str, path: str, **_options: t.Any) -> Answer:
        with self._lock:
            status = self._sentinel(host) if path == SENTINEL else self._app(host)
            self.api.note("ASK", f"{host}{path} {status}")
            return Answer(status, [])

    def _sentinel(self, host: str) -> int:
        route = self._route(host, passthrough=True)
        if route is None:
            return self._app(host)  # the app's own route takes every path
        app = _app_of(route)
        pending = self._pending.get(app, 0)
        if not self._protected(app) or pending > 0:
            self._pending[app] = pending - 1
            self.refused[host] = 0
            return 302
        self.refused[host] += 1
        return 401

    def _app(self, host: str) -> int:
        if self._lingering.get(host, 0) > 0:
            self._lingering[host] -= 1
            return 401
        self._lingering.pop(host, None)
        route = self._route(host, passthrough=False)
        if route is None:
            return 404
        return 401 if self._protected(_app_of(route)) else 200

    def _objects(self, kind: str) -> list[Object]:
        return [obj for obj in self.api.objects.values() if obj["kind"] == kind]

    def _route(self, host: str, *, passthrough: bool) -> Object | None:
        routes = [obj for obj in self._objects("HTTPRoute") if host in obj["spec"].get("hostnames", [])]
        return next((obj for obj in routes if _is_passthrough(obj) is passthrough and not _is_public(obj)), None)

    def _protected(self, app: str) -> bool:
        policies = [obj for obj in self._objects("SecurityPolicy") if _app_of(obj) == app]
        return any(obj["spec"]["extAuth"]["failOpen"] is False for obj in policies)

    def _guard(self, request: Request) -> None:
        before = next((obj for obj in self._seen.values() if (obj["kind"], obj["metadata"]["name"]) == (request.kind, request.name)), None)
        after = self.api.find(request.kind, request.name)
        self._seen = {obj["metadata"]["uid"]: obj for obj in self.api.objects.values()}
        self._guard_claim(before, after)
        if request.kind == "SecurityPolicy":
            self._guard_policy(before, after)
        elif request.kind == "HTTPRoute" and not _is_public(after or before or {}):
            self._guard_route(before, after)

    def _guard_claim(self, before: Object | None, after: Object | None) -> None:
        obj = after or before or {}
        place = obj["metadata"].get("namespace") if obj else None
        claim = next((item["data"] for item in self._objects("ConfigMap") if item["data"].get("namespace") == place), None)
        if claim is None or not (obj["metadata"].get("labels") or {}).get("gateway-auth/app"):
            return
        name = obj["metadata"]["name"]
        if obj["kind"] == "SecurityPolicy" and after is None and f"policy.{name}" in claim:
            if ((before or {})["metadata"].get("annotations") or {}).get("gateway-auth/remove") != "true":
                self.api.violations.append(f"policy {name} is claimed and deleted without a word")
        elif obj["kind"] == "SecurityPolicy" and after is not None and (before is None or before["spec"] != after["spec"]):
            if claim.get(f"policy.{name}") != after["spec"]["extAuth"]["http"]["pathOverride"]:
                self.api.violations.append(f"policy {name} asks what its claim doesn't say ({claim.get(f'policy.{name}')})")
        elif obj["kind"] == "HTTPRoute" and after is not None:
            missing = [host for host in after["spec"]["hostnames"] if f"host.{host}" not in claim]
            if missing or f"route.{name}" not in claim:
                self.api.violations.append(f"route {name} isn't in the claim ({missing})")

    def _guard_policy(self, before: Object | None, after: Object | None) -> None:
        if after is not None and (before is None or before["metadata"]["generation"] != after["metadata"]["generation"]):
            self._pending[_app_of(after)] = self.lag
            for route in self._objects("HTTPRoute"):
                if _app_of(route) == _app_of(after):
                    self.refused.update(dict.fromkeys(route["spec"]["hostnames"], 0))
        if after is None and before is not None:
            app = _app_of(before)
            still = [obj["metadata"]["name"] for obj in self._objects("HTTPRoute") if _app_of(obj) == app and not _is_public(obj) and not _is_passthrough(obj)]
            if still or any(self._lingering.values()):
                self.api.violations.append(f"policy of {app} removed while its app is served ({still or self._lingering})")

    def _guard_route(self, before: Object | None, after: Object | None) -> None:
        if _is_passthrough(after or before or {}):
            return
        if after is None:
            self._lingering.update(dict.fromkeys((before or {})["spec"]["hostnames"], self.lag))
            return
        name = after["metadata"]["name"]
        old = set(before["spec"]["hostnames"]) if before else set()
        if not self._protected(_app_of(after)):
            self.api.violations.append(f"route {name} written without a policy")
        if self._pending.get(_app_of(after), 0) > 0:
            self.api.violations.append(f"route {name} opened before its own policy is live")
        for host in set(after["spec"]["hostnames"]) - old:
            if self.refused[host] < IN_A_ROW:
                self.api.violations.append(f"route {name} opened {host} after {self.refused[host]} refusals of its sentinel")


def _app_of(obj: Object) -> str:
    """Whose and which app: two teams may have one of the same name."""
    labels = obj["metadata"].get("labels") or {}
    return f"{labels.get('gateway-auth/team', '')}/{labels.get('gateway-auth/app', '')}"


def _is_passthrough(obj: Object) -> bool:
    return "-passthrough-oauth-" in obj["metadata"]["name"]


def _is_public(obj: Object) -> bool:
    return bool(obj["metadata"]["name"].endswith("-public"))
