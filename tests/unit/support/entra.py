# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's own Graph client against the Entra double, as the cast's automation identity."""

from __future__ import annotations

import pathlib
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import GraphEndpoint, choose_auth
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import HttpTransport
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.golden import team
from tests.sandbox.entra.graphkit import AUTOMATION
from tests.sandbox.entra.testkit import Double, control
from tests.sandbox.entra.walk import TENANT

Object = dict[str, t.Any]
WRITES = ("POST", "PATCH", "PUT", "DELETE")


def environ(double: Double, secret: str | None = None) -> dict[str, str]:
    """What a shell that may manage registrations has."""
    return {"AZURE_CLIENT_ID": AUTOMATION, "AZURE_CLIENT_SECRET": secret or double.secret("automation"), "AZURE_TENANT_ID": TENANT}


def graph(double: Double, *, read_only: bool = False, patience: float = 10.0) -> Graph:
    endpoint = GraphEndpoint.for_cloud("global")
    transport = HttpTransport({"HTTPS_PROXY": double.proxy, "SSL_CERT_FILE": str(double.authority.ca)})
    return Graph(endpoint, choose_auth(environ(double), endpoint, TENANT), transport, read_only=read_only, patience=patience)


def reach(double: Double) -> Object:
    """The part of an inventory that leads to the double."""
    return {"url": "https://graph.microsoft.com", "proxy": double.proxy, "ca_file": str(double.authority.ca)}


def managed(double: Double | None = None, **overrides: t.Any) -> Team:
    """The example's team with a registration of its own."""
    changes: Object = {"registration": "managed", "client_id": "", "client_secret": None, "environment": "sandbox", **overrides}
    if double is not None:
        changes.setdefault("graph", reach(double))
    return team(changes)


def writes(double: Double) -> list[str]:
    """Graph's writes that got an answer, ``PATCH /v1.0/applications…``, in order; look-ups by POST are none."""
    _status, journal = control(double, "GET", "/journal")
    return [f"{entry['method']} {entry['path']}" for entry in journal if entry["host"] == "graph.microsoft.com" and entry.get("write")]


def calls(double: Double) -> list[str]:
    """Every request to Graph."""
    _status, journal = control(double, "GET", "/journal")
    return [f"{entry['method']} {entry['path']}" for entry in journal if entry["host"] == "graph.microsoft.com"]


def forget(double: Double) -> None:
    control(double, "DELETE", "/journal")


def state(double: Double) -> Object:
    """All that Entra holds, without what differs from run to run."""
    _status, found = control(double, "GET", "/state")
    return t.cast("Object", found)


def secret_file(double: Double, name: str) -> pathlib.Path:
    return double.secrets_dir / f"{name}.secret"
