# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""graph.microsoft.com: Microsoft Graph v1.0, as far as onboarding needs it, over the directory that signing in reads.

Each request is read (`graph_request`), its caller established (`graph_auth`), and handed to the operation its path and method
name (`graph_applications`, `graph_credentials`, `graph_owners`, `graph_principals`, `graph_groups`, `graph_directory`). An
operation checks everything before it changes anything, and runs without a break, so requests never see half of a change.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from aiohttp import web

from . import graph_applications, graph_credentials, graph_directory, graph_groups, graph_owners, graph_principals
from .call import Call
from .directory import Directory
from .graph_auth import application_caller
from .graph_errors import GraphError, bad_request, method_not_allowed, no_segment
from .graph_query import Query, read_query
from .graph_request import Answer, GraphRequest, Route, Routes, Target, is_write, read_body, read_path
from .lag import Replicas
from .tokens import KeyRing
from .userinfo import USERINFO, UserInfo

_JSON: Final = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"


def _routes() -> Routes:
    found: Routes = {}
    for module in (graph_applications, graph_credentials, graph_owners, graph_principals, graph_groups, graph_directory):
        found.update(module.routes())
    return found


class Graph:
    """Answers for graph.microsoft.com; `changed` is told after each write that went through."""

    def __init__(self, directory: Directory, keys: KeyRing, replicas: Replicas, changed: Callable[[], None]) -> None:
        self._directory = directory
        self._keys = keys
        self._replicas = replicas
        self._changed = changed
        self._userinfo = UserInfo(directory, keys)
        self._routes = _routes()

    async def handle(self, call: Call) -> web.Response:
        if call.path == USERINFO:
            return await self._userinfo.handle(call)
        try:
            response = _response(await self._answer(call))
        except GraphError as refusal:
            response = refusal.response(call)
        response.headers["request-id"] = call.trace.trace_id
        return response

    async def _answer(self, call: Call) -> Answer:
        caller = application_caller(call, self._directory, self._keys)
        target = read_path(call.path)
        route = self._route(call, target)
        caller.require(route.permissions)
        query = read_query(call.query, call.request.headers.get("ConsistencyLevel"), route.options)
        body = read_body(await _text(call), call.request.content_type, route.takes)
        writes = is_write(call.request.method, call.path)
        request = GraphRequest(
            call=call,
            method="POST" if writes and call.request.method == "POST" else call.request.method if writes else "GET",
            target=target,
            query=query,
            body=body,
            caller=caller,
            directory=self._directory,
            view=self._replicas.view("write" if writes else "read", _asked(target, query, body), everything=_is_open(target, query)),
            create_if_missing=_prefers_create(call),
        )
        with self._replicas.recording(call.lag if writes else None):
            answer = route.handle(request)
        if writes:
            self._changed()
        return answer

    def _route(self, call: Call, target: Target) -> Route:
        methods = self._routes.get(target.route)
        if methods is None:
            raise no_segment(target.route.rpartition("/")[2])
        if call.request.method not in methods:
            raise method_not_allowed()
        return methods[call.request.method]


async def _text(call: Call) -> str:
    try:
        return (await call.request.read()).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise bad_request("The request body is not UTF-8.", "BadRequest") from exc


def _asked(target: Target, query: Query, body: object) -> set[str]:
    """Return the texts by which a request names objects; of an address its last part."""
    named = {key.value for key in target.keys} | {text.replace("''", "'") for text in re.findall(r"'((?:[^']|'')*)'", query.filter or "")}
    pending = [body]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str):
            named.add(value.rpartition("/")[2] if value.startswith("https://graph.microsoft.com/") else value)
    return named


def _is_open(target: Target, query: Query) -> bool:
    """Whether a request lists more than what it names."""
    return not target.keys and (query.filter is None or re.search(r"(?i)startswith|endswith| ne ", query.filter) is not None)


def _prefers_create(call: Call) -> bool:
    preferences = [part.strip().lower() for value in call.request.headers.getall("Prefer", []) for part in value.split(",")]
    return call.request.method == "PATCH" and "create-if-missing" in preferences


def _response(answer: Answer) -> web.Response:
    headers = {"Cache-Control": "no-cache", "OData-Version": "4.0", **answer.headers}
    if answer.text is not None:
        return web.Response(status=answer.status, text=answer.text, headers=headers)
    if answer.document is None:
        return web.Response(status=answer.status, headers=headers)
    response = web.json_response(answer.document, status=answer.status, headers=headers)
    response.headers["Content-Type"] = _JSON
    return response
