# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Entra has, by the double's control API and plain HTTP: never by the collection's own client."""

from __future__ import annotations

import collections.abc
import contextlib
import http.client
import json
import ssl
import typing as t
import urllib.error
import urllib.parse

from .sandbox import LOGIN, TENANT, Sandbox

GRAPH = "graph.microsoft.com"
API = "/v1.0"


class Registration:
    """One app registration, found by its uniqueName."""

    def __init__(self, sandbox: Sandbox, unique_name: str) -> None:
        self._sandbox = sandbox
        self.unique_name = unique_name

    def find(self) -> dict[str, t.Any] | None:
        try:
            found: dict[str, t.Any] = self._sandbox.entra("GET", f"/apps/{self.unique_name}")
        except urllib.error.HTTPError as exc:
            if exc.code != 404:
                raise
            return None
        return found

    def must(self) -> dict[str, t.Any]:
        found = self.find()
        assert found is not None, f"no registration {self.unique_name}"
        return found

    def edit(self, change: dict[str, t.Any]) -> None:
        """As somebody in the portal does."""
        self._sandbox.entra("PUT", f"/apps/{self.unique_name}", change)

    def purge(self) -> None:
        """Gone for good, were it there or softly deleted."""
        if self.find() is not None:
            self._sandbox.entra("DELETE", f"/apps/{self.unique_name}")
        with permitted(self._sandbox, "Application.Read.All"):
            graph = GraphAsAutomation(self._sandbox)
            deleted = "/directory/deletedItems"
            for application in graph.get(f"{deleted}/microsoft.graph.application")["value"]:
                if application.get("uniqueName") == self.unique_name:
                    principals = graph.get(f"{deleted}/microsoft.graph.servicePrincipal?$filter=appId eq '{application['appId']}'")["value"]
                    for item in (*principals, application):
                        graph.send("DELETE", f"{deleted}/{item['id']}")

    def revoke_all(self) -> None:
        """Every client secret deleted, as in the portal."""
        graph = GraphAsAutomation(self._sandbox)
        (found,) = graph.get(f"/applications?$filter=uniqueName eq '{self.unique_name}'")["value"]
        for password in found["passwordCredentials"]:
            graph.send("POST", f"/applications/{found['id']}/removePassword", {"keyId": password["keyId"]})


@contextlib.contextmanager
def permitted(sandbox: Sandbox, *more: str) -> collections.abc.Iterator[None]:
    """More permissions for the identity of .sandbox/env, for a while."""
    roles = sandbox.entra("GET", "/apps/automation")["app_roles"]
    sandbox.entra("PUT", "/apps/automation", {"app_roles": [*roles, *more]})
    try:
        yield
    finally:
        sandbox.entra("PUT", "/apps/automation", {"app_roles": roles})


class GraphAsAutomation:
    """Microsoft Graph as the identity of .sandbox/env, on plain http.client."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        status, answer = _token(sandbox, sandbox.env["AZURE_CLIENT_ID"], sandbox.env["AZURE_CLIENT_SECRET"])
        assert status == 200, answer
        self._token = str(answer["access_token"])

    def get(self, path: str) -> t.Any:
        return self.send("GET", path)

    def send(self, method: str, path: str, body: t.Any = None) -> t.Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        quoted = urllib.parse.quote(f"{API}{path}", safe="/?=&$',()")
        status, text = _request(self._sandbox, GRAPH, method, quoted, headers, json.dumps(body) if body is not None else None)
        assert status < 300, (status, text)
        return json.loads(text) if text else None


def calls(sandbox: Sandbox) -> list[str]:
    """Requests to Graph since the journal was cleared; oauth2-proxy's look at UserInfo at a login isn't ours."""
    return [f"{entry['method']} {entry['path']}" for entry in sandbox.entra("GET", "/journal") if entry["host"] == GRAPH and entry["path"].startswith(API)]


def writes(sandbox: Sandbox) -> list[str]:
    """Writes to Graph since the journal was cleared."""
    return [f"{entry['method']} {entry['path']}" for entry in sandbox.entra("GET", "/journal") if entry["host"] == GRAPH and entry.get("write")]


def token_answer(sandbox: Sandbox, client_id: str, secret: str) -> str:
    """What the token endpoint says to a client secret: "" when it takes it, else Entra's code."""
    status, answer = _token(sandbox, client_id, secret)
    return "" if status == 200 else f"AADSTS{answer['error_codes'][0]}"


def _token(sandbox: Sandbox, client_id: str, secret: str) -> tuple[int, dict[str, t.Any]]:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, "scope": f"https://{GRAPH}/.default"}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    status, text = _request(sandbox, LOGIN, "POST", f"/{TENANT}/oauth2/v2.0/token", headers, urllib.parse.urlencode(form))
    return status, json.loads(text)


def _request(sandbox: Sandbox, host: str, method: str, target: str, headers: dict[str, str], body: str | None) -> tuple[int, str]:
    connection = http.client.HTTPSConnection(*sandbox.proxy, timeout=15, context=ssl.create_default_context(cafile=sandbox.ca))
    connection.set_tunnel(host, 443)
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
