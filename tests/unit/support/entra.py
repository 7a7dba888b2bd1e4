# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's own Graph client against the Entra double, as the cast's automation identity."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import GraphEndpoint, choose_auth
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import HttpTransport, Response, Transport
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.golden import team
from tests.sandbox.entra.clientauth import IssuerKeys
from tests.sandbox.entra.graphkit import AUTOMATION
from tests.sandbox.entra.testkit import Double, control, running_double
from tests.sandbox.entra.walk import TENANT

Object = dict[str, t.Any]
T = t.TypeVar("T")
WRITES = ("POST", "PATCH", "PUT", "DELETE")


class Killed(BaseException):
    """kill -9: nothing that our code does about errors happens."""


class Time:
    """A clock that only sleeping moves, so that nothing waits; ``sleeps`` are the waits that were asked for."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.sleeps.append(seconds)
            self.now += seconds


class Death:
    """When the process dies: at its n-th write (from 0), before it is sent or when it was carried out. ``writes`` are counted."""

    def __init__(self, at: int | None = None, *, sent: bool = False) -> None:
        self.writes = 0
        self._at = at
        self._sent = sent

    def around(self, write: t.Callable[[], T]) -> T:
        dies = self.writes == self._at
        self.writes += 1
        if dies and not self._sent:
            raise Killed
        answer = write()
        if dies:
            raise Killed
        return answer


class Deadly:
    """A transport whose writes to Graph may be the process's last."""

    def __init__(self, transport: Transport, death: Death) -> None:
        self._transport = transport
        self._death = death

    def __call__(self, method: str, url: str, headers: dict[str, str], body: bytes | None, timeout: float, /) -> Response:
        def send() -> Response:
            return self._transport(method, url, headers, body, timeout)

        write = "//graph." in url and method in WRITES and not url.endswith("/getByIds")
        return self._death.around(send) if write else send()


class DeadlyKube(Kube):
    """A cluster likewise."""

    def __init__(self, kube: Kube, death: Death) -> None:
        super().__init__(kube._client, kube.where)
        self._death = death

    def patch(self, obj: Object, operations: list[Object]) -> Object:
        return self._death.around(lambda: super(DeadlyKube, self).patch(obj, operations))


def environ(double: Double, secret: str | None = None) -> dict[str, str]:
    """What a shell that may manage registrations has."""
    return {"AZURE_CLIENT_ID": AUTOMATION, "AZURE_CLIENT_SECRET": secret or double.secret("automation"), "AZURE_TENANT_ID": TENANT}


@contextlib.contextmanager
def tenant(folder: pathlib.Path, issuer_keys: IssuerKeys | None = None) -> t.Iterator[Double]:
    """A tenant in memory, behind Microsoft's host names; connections that anybody left idle are closed at its end."""
    opened: list[HttpTransport] = []
    initialize = HttpTransport.__init__

    def remembered(self: HttpTransport, environ: t.Mapping[str, str] | None = None) -> None:
        initialize(self, environ)
        opened.append(self)

    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch, running_double(folder, issuer_keys=issuer_keys) as double:
        patch.setattr(HttpTransport, "__init__", remembered)
        yield double
        for each in opened:
            each.close()


def transport(double: Double) -> HttpTransport:
    return HttpTransport({"HTTPS_PROXY": double.proxy, "SSL_CERT_FILE": str(double.authority.ca)})


def graph(
    double: Double, *, read_only: bool = False, patience: float = 10.0, time: Time | None = None, through: Transport | None = None, secret: str | None = None
) -> Graph:
    """A client with a clock of its own: waits end at once and count all the same."""
    endpoint = GraphEndpoint.for_cloud("global")
    time = time or Time()
    return Graph(
        endpoint,
        choose_auth(environ(double, secret), endpoint, TENANT),
        through or transport(double),
        read_only=read_only,
        patience=patience,
        sleep=time.sleep,
        clock=time,
    )


@contextlib.contextmanager
def faults(double: Double, *given: Object) -> t.Iterator[None]:
    """These faults while the block runs, all for requests to Graph unless they name another host."""
    full = [{**fault, "match": {"host": "graph.microsoft.com", **fault.get("match", {})}} for fault in given]
    status, answer = control(double, "PUT", "/faults", full)
    assert status == 200, answer
    try:
        yield
    finally:
        control(double, "DELETE", "/faults")


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
