# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Microsoft Graph for the actions: one client for each tenant of a batch, and the token endpoint asked as a team's own app."""

from __future__ import annotations

import collections.abc
import dataclasses
import os
import time
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_plan import describe
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import RegistrationError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import ASSERTION_TYPE, GraphEndpoint, choose_auth, request_token
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import HttpTransport
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team

Environ = collections.abc.Mapping[str, str]

# Any of these says that somebody meant this process to have an identity in Entra.
_IDENTITY = ("AZURE_CLIENT_SECRET", "AZURE_SECRET", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT", "MSI_ENDPOINT", "ANSIBLE_AZURE_AUTH_SOURCE")
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


def has_identity(environ: Environ | None = None) -> bool:
    """Whether the environment names an identity; a login of ``az`` alone counts only where one is needed."""
    given = os.environ if environ is None else environ
    return any(given.get(name) for name in _IDENTITY)


@dataclasses.dataclass
class Clients:
    """The clients of one action, by where they lead. ``read_only`` in check mode, so that no write can slip through."""

    read_only: bool
    environ: Environ = dataclasses.field(default_factory=lambda: os.environ)
    _graphs: dict[tuple[str, ...], Graph] = dataclasses.field(default_factory=dict)

    def graph(self, team: Team) -> Graph:
        """Not thread-safe by itself: actions ask for every team's before they start threads."""
        where = (team.tenant_id, team.authority, team.graph.url, team.graph.proxy, team.graph.ca_file)
        if where not in self._graphs:
            endpoint = endpoint_of(team)
            auth = choose_auth(self.environ, endpoint, team.tenant_id)
            self._graphs[where] = Graph(endpoint, auth, HttpTransport(network(team, self.environ)), read_only=self.read_only)
        return self._graphs[where]


def endpoint_of(team: Team) -> GraphEndpoint:
    return GraphEndpoint(team.graph.url, team.authority)


def network(team: Team, environ: Environ) -> dict[str, str]:
    """The environment that a transport reads, with the inventory's proxy and CA in the place of the shell's."""
    chosen = dict(environ)
    if team.graph.proxy:
        chosen = {name: value for name, value in chosen.items() if name not in _PROXIES} | {"HTTPS_PROXY": team.graph.proxy}
    if team.graph.ca_file:
        chosen = {name: value for name, value in chosen.items() if name not in _TRUST} | {"SSL_CERT_FILE": team.graph.ca_file}
    return chosen


def prove(team: Team, *, secret: str = "", assertion: str = "") -> None:
    """Ask once for a token as the team's own application, on a new connection; the token is dropped. Raises GraphAuthError."""
    if not team.client_id:
        raise RegistrationError(f"Team '{team.name}': the client id of the {describe(team)} isn't known.", "Run role entra_app before.")
    form: dict[str, t.Any] = {"client_id": team.client_id}
    if assertion:
        form |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    else:
        form["client_secret"] = secret
    transport = HttpTransport(network(team, os.environ))
    try:
        request_token(endpoint_of(team), team.tenant_id, form, "the application's own credential", transport, time.monotonic)
    finally:
        transport.close()
