# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plain client of Graph for tests: `requests`, through the proxy, with a token of one of the cast's applications."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from .directory import GRAPH_ROLES
from .testkit import Double, control
from .walk import TOKEN

GRAPH: Final = "https://graph.microsoft.com/v1.0"
AUTOMATION: Final = "cccccccc-0000-4000-8000-00000000000c"
UPSERT: Final = {"Prefer": "create-if-missing"}
EVENTUAL: Final = {"ConsistencyLevel": "eventual"}
ALL_ROLES: Final = tuple(GRAPH_ROLES)


class _Prompt(HTTPAdapter):
    """urllib3 leaves Nagle's algorithm on towards a proxy, which costs each request with a body 40 ms."""

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, socket_options=HTTPConnection.default_socket_options, **proxy_kwargs)


def session(double: Double) -> requests.Session:
    """Return a session that reaches the double, and nothing else, by Microsoft's host names."""
    opened = requests.Session()
    opened.mount("https://", _Prompt())
    opened.trust_env = False
    opened.proxies = {"https": double.proxy}
    opened.verify = str(double.authority.ca)
    return opened


class GraphClient:
    """Calls Graph as one application. A token is asked for once: permissions granted later need a new client."""

    def __init__(self, double: Double, client_id: str = AUTOMATION, secret: str | None = None) -> None:
        self.web = session(double)
        self.client_id = client_id
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": secret or double.secret("automation"),
            "scope": "https://graph.microsoft.com/.default",
        }
        answer = self.web.post(TOKEN, data=form, timeout=15)
        if answer.status_code != 200:
            raise AssertionError(answer.text)
        self.web.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def __enter__(self) -> GraphClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.web.close()

    def send(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> requests.Response:
        """Send one request; a path from `https` is taken as it is, as a nextLink has to be."""
        url = path if path.startswith("https://") else GRAPH + path
        return self.web.request(method, url, json=body, headers=headers, timeout=15)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        return self._expect(200, self.send("GET", path, headers=headers))

    def post(self, path: str, body: object = None, status: int = 201) -> Any:
        return self._expect(status, self.send("POST", path, body))

    def patch(self, path: str, body: object, headers: Mapping[str, str] | None = None, status: int = 204) -> Any:
        return self._expect(status, self.send("PATCH", path, body, headers))

    def delete(self, path: str) -> None:
        self._expect(204, self.send("DELETE", path))

    def new_application(self, name: str = "an app", **properties: object) -> dict[str, Any]:
        """Make a single-tenant application."""
        made: dict[str, Any] = self.post("/applications", {"displayName": name, "signInAudience": "AzureADMyOrg", **properties})
        return made

    @staticmethod
    def _expect(status: int, answer: requests.Response) -> Any:
        if answer.status_code != status:
            raise AssertionError(f"expected {status}, got {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None


def permit(double: Double, roles: Iterable[str] = ALL_ROLES) -> None:
    """Give the automation application these permissions, and no others."""
    status, answer = control(double, "PUT", "/apps/automation", {"app_roles": list(roles)})
    if status != 200:
        raise AssertionError(answer)
