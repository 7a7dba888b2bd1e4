# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the double inside a test, behind the CONNECT proxy of an Entra double, so that clients keep Azure's host names and check TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from aiohttp import web

from tests.sandbox.entra.graphkit import AUTOMATION
from tests.sandbox.entra.testkit import Double, running_double

from .service import ARM_HOST, VAULT_SUFFIX, Azure, Vault

SUBSCRIPTION: Final = "22222222-2222-4222-8222-222222222222"
GROUP: Final = "rg-aks"
CLUSTER: Final = "aks-a"
ISSUER: Final = "https://westeurope.oic.prod-aks.azure.com/11111111-1111-4111-8111-111111111111/33333333-3333-4333-8333-333333333333/"
VAULT: Final = "contoso"


class _Thread:
    def __init__(self, azure: Azure, tls: ssl.SSLContext) -> None:
        self._azure = azure
        self._tls = tls
        self._port: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def start(self) -> int:
        self._thread.start()
        return self._port.result(30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        front = web.Application()
        front.router.add_route("*", "/{path:.*}", self._azure.answer)
        runner = web.AppRunner(front, access_log=None, shutdown_timeout=0.1, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self._port.set_result(runner.addresses[0][1])
        await self._stop.wait()
        await runner.cleanup()


@contextlib.contextmanager
def beside(double: Double) -> Iterator[Azure]:
    """Azure as the automation identity of the cast may use it: one vault, and one AKS cluster with an OIDC issuer."""
    azure = Azure(double.service.keys, subscriptions=[SUBSCRIPTION], readers={AUTOMATION})
    azure.vault(VAULT).permissions[AUTOMATION] = {"get", "set"}
    azure.clusters[(SUBSCRIPTION, GROUP, CLUSTER)] = {"oidcIssuerProfile": {"enabled": True, "issuerURL": ISSUER}}
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(double.authority.cert, double.authority.key)
    thread = _Thread(azure, tls)
    port = thread.start()
    double.routes.update(dict.fromkeys(azure.hosts, port))
    try:
        yield azure
    finally:
        for host in azure.hosts:
            double.routes.pop(host, None)
        thread.stop()


@contextlib.contextmanager
def running_azure(folder: Path) -> Iterator[tuple[Double, Azure]]:
    """Both doubles until the block ends."""
    with running_double(folder, names=(ARM_HOST, f"*{VAULT_SUFFIX}")) as double, beside(double) as azure:
        yield double, azure


__all__ = ["CLUSTER", "GROUP", "ISSUER", "SUBSCRIPTION", "VAULT", "Azure", "Vault", "beside", "running_azure"]
