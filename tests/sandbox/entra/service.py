# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double as a whole: one state, a TLS listener for Microsoft's host names, and a loopback listener for tests."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from joserfc.jwk import KeySet

from .call import Call
from .cast import load_cast
from .clientauth import AssertionVerifier, ClientAuthenticator, IssuerKeys
from .control import Control
from .directory import is_guid
from .errors import Trace, entra_timestamp
from .faults import Action, Asked, FaultBoard
from .grants import GrantStore
from .graph import Graph
from .graph_errors import injected
from .graph_request import is_write
from .journal import Entry, Journal
from .lag import Replicas
from .secretsdir import SecretsDir
from .signin import Handler, SignIn
from .statefile import StateFile
from .token_endpoint import TokenEndpoint
from .tokens import KeyRing, TokenIssuer

LOGIN_HOST: Final = "login.microsoftonline.com"
GRAPH_HOST: Final = "graph.microsoft.com"
_BODY_LIMIT: Final = 256 * 1024


class Address:
    """A listening address, `10.90.0.10:443` or `[::1]:8090`."""

    def __init__(self, text: str) -> None:
        host, separator, port = text.rpartition(":")
        if not separator or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"expected ADDRESS:PORT, got {text!r}")
        self.host = str(ipaddress.ip_address(host.strip("[]")))
        self.port = int(port)

    def require_loopback(self) -> None:
        """Refuse to offer the control API to a network: who reaches it can sign in as anybody."""
        if not ipaddress.ip_address(self.host).is_loopback:
            raise ValueError(f"the control API listens on loopback only, got {self.host}")


@dataclass(frozen=True)
class Settings:
    listen: Address
    admin: Address
    cert: Path
    key: Path
    cast: Path
    secrets_dir: Path
    log: Path | None = None
    issuer_ca: Path | None = None
    state: Path | None = None
    issuer_at: tuple[tuple[str, Address], ...] = ()


class _Resolver(AbstractResolver):
    """Finds the issuers that were named to us; a cluster's own name means nothing to the machine's DNS."""

    def __init__(self, at: Mapping[str, Address]) -> None:
        self._at = at
        self._other = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        address = self._at.get(host)
        if address is None:
            return await self._other.resolve(host, port, family)
        found = ResolveResult(hostname=host, host=address.host, port=address.port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST)
        return [found]

    async def close(self) -> None:
        await self._other.close()


class DiscoveredKeys(IssuerKeys):
    """Reads a federated issuer's keys from its discovery document, anew each time, as rotation may have happened."""

    def __init__(self, ca_file: Path | None, at: Iterable[tuple[str, Address]] = ()) -> None:
        self._ca_file = ca_file
        self._at = dict(at)

    async def fetch(self, issuer: str) -> KeySet:
        if not issuer.startswith("https://"):
            raise ValueError("an issuer is an https URL")
        context = ssl.create_default_context()
        if self._ca_file is not None:
            context.load_verify_locations(cafile=self._ca_file)
        connector = aiohttp.TCPConnector(ssl=context, resolver=_Resolver(self._at))
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, raise_for_status=True) as client:
            try:
                document = await self._json(client, issuer.rstrip("/") + "/.well-known/openid-configuration")
                if document.get("issuer") != issuer or not isinstance(document.get("jwks_uri"), str):
                    raise ValueError("the discovery document is of another issuer or names no keys")
                keys = await self._json(client, str(document["jwks_uri"]))
            except (aiohttp.ClientError, TimeoutError) as exc:
                raise OSError(f"{issuer}: {type(exc).__name__}") from exc
        return KeySet.import_key_set(keys)  # type: ignore[arg-type]

    @staticmethod
    async def _json(client: aiohttp.ClientSession, url: str) -> dict[str, object]:
        async with client.get(url) as response:
            document = await response.json(content_type=None)
        if not isinstance(document, dict):
            raise ValueError(f"{url} is not a JSON object")
        return document


class Service:
    """One running double. `start` returns when both listeners accept connections."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time, issuer_keys: IssuerKeys | None = None, keys: KeyRing | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self.directory = load_cast(settings.cast, clock)
        self._state = StateFile(settings.state, self.directory)
        secrets_dir = self._secrets(SecretsDir(settings.secrets_dir))
        self.keys = keys or KeyRing()
        self.journal = Journal(settings.log)
        self.faults = FaultBoard()
        self.replicas = Replicas(self.directory, clock)
        self.grants = GrantStore(clock)
        verifier = AssertionVerifier(issuer_keys or DiscoveredKeys(settings.issuer_ca, settings.issuer_at), clock)
        tokens = TokenEndpoint(
            self.directory,
            self.replicas,
            self.grants,
            TokenIssuer(self.directory, self.keys),
            ClientAuthenticator(verifier, clock),
        )
        self._sign_in = SignIn(self.directory, self.grants, self.keys, tokens)
        self._graph = Graph(self.directory, self.keys, self.replicas, self._state.save)
        self._control = Control(self.directory, self.journal, self.faults, self.replicas, self.keys, secrets_dir, self._state.save)
        self._runners: list[web.AppRunner] = []

    def _secrets(self, secrets_dir: SecretsDir) -> SecretsDir:
        """Load the state, and give the cast's applications their secrets: kept ones, unless the state knows better."""
        cast = set(self.directory.applications)
        restored = self._state.load()
        for client_id in cast & set(self.directory.applications):
            app = self.directory.applications[client_id]
            if client_id not in restored or secrets_dir.read(app) is None:
                secrets_dir.ensure(app, self._clock())
        return secrets_dir

    async def start(self) -> tuple[int, int]:
        """Listen, and return the two ports (of use where 0 was asked for)."""
        front = web.Application(client_max_size=_BODY_LIMIT)
        front.router.add_route("*", "/{path:.*}", self._answer)
        ports = [
            await self._listen(front, self._settings.listen, self._tls()),
            await self._listen(self._control.application(), self._settings.admin, None),
        ]
        self.journal.note(self._clock(), "listening")
        return ports[0], ports[1]

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        self._runners = []
        self.journal.note(self._clock(), "stopped")
        self.journal.close()

    def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._settings.cert, self._settings.key)
        return context

    async def _listen(self, app: web.Application, address: Address, tls: ssl.SSLContext | None) -> int:
        # Nothing here is worth waiting for at the end: requests under way are cut, so that SIGTERM ends it at once.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handle_signals=False)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, address.host, address.port, ssl_context=tls, reuse_address=True).start()
        return int(runner.addresses[0][1])

    # --- answering --------------------------------------------------------------------------------------------------

    def _call(self, request: web.Request) -> Call:
        now = self._clock()
        host = request.host.lower().removesuffix(":443")
        path = request.raw_path.partition("?")[0]
        trace = Trace(now)
        correlation = request.headers.get("client-request-id", "")
        if is_guid(correlation):
            trace = Trace(now, correlation_id=correlation)
        write = host == GRAPH_HOST and is_write(request.method, path)
        return Call(request, Entry(entra_timestamp(now), host, request.method, path, write=write), trace)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        call = self._call(request)
        with contextlib.ExitStack() as stack:
            stack.callback(self.journal.add, call.entry)
            asked = self._asked(call)
            action = self.faults.take(asked)
            response = await self._faulty(call, asked, action) if action is not None else None
            if response is None:
                response = await self._dispatch(call)
            call.entry.status = response.status
            if action is not None and action.drop == "after":
                self._drop(call)
        response.headers["x-ms-request-id"] = call.trace.trace_id
        response.headers["client-request-id"] = call.trace.correlation_id
        return response

    def _asked(self, call: Call) -> Asked:
        scheme, _, token = call.request.headers.get("Authorization", "").partition(" ")
        claims = self.keys.verify(token) if scheme.lower() == "bearer" and self.faults.faults else None
        return Asked(call.entry.host, call.entry.method, call.entry.path, call.entry.write, None if claims is None else str(claims.get("appid")))

    async def _faulty(self, call: Call, asked: Asked, action: Action) -> web.Response | None:
        """Apply a fault; None means that the double itself answers."""
        call.entry.fault, call.entry.client_id = True, asked.client
        call.lag = action.lag
        await asyncio.sleep(action.delay)
        if action.drop == "before":
            self._drop(call)
        return None if action.status is None else self._fault_response(call, action)

    @staticmethod
    def _fault_response(call: Call, action: Action) -> web.Response:
        if call.entry.host == GRAPH_HOST and not action.body:
            refusal = injected(action.status or 500).response(call)
            refusal.headers.update(action.headers)
            return refusal
        response = web.Response(status=action.status or 500, headers=dict(action.headers), body=action.body.encode())
        if "Content-Type" not in response.headers or not action.headers:
            response.content_type = "application/json" if action.body.startswith(("{", "[")) else "text/plain"
        return response

    @staticmethod
    def _drop(call: Call) -> None:
        """Cut the connection as a failing network does: no answer, no TLS goodbye."""
        transport = call.request.transport
        if transport is not None:
            transport.abort()
        raise asyncio.CancelledError

    async def _dispatch(self, call: Call) -> web.Response:
        if call.entry.host == LOGIN_HOST:
            return await self._guarded(self._sign_in.handle, call)
        if call.entry.host == GRAPH_HOST:
            return await self._guarded(self._graph.handle, call)
        return web.Response(status=421, text=f"This double answers for {LOGIN_HOST} and {GRAPH_HOST} only.\n")

    async def _guarded(self, handle: Handler, call: Call) -> web.Response:
        try:
            return await handle(call)
        except web.HTTPException as exc:
            return web.Response(status=exc.status, text=exc.reason)
        except Exception as exc:  # noqa: BLE001 (whatever it is, the journal says where)
            # The message may hold what the client sent; where it happened is enough to find the defect.
            place = traceback.extract_tb(exc.__traceback__)[-1]
            where = f"{type(exc).__name__} at {Path(place.filename).name}:{place.lineno}"
            self.journal.note(self._clock(), f"defect in the double: {where}")
            return web.json_response({"error": "server_error", "error_description": where}, status=500)


@contextlib.asynccontextmanager
async def running(service: Service) -> AsyncIterator[tuple[int, int]]:
    """Run a double for as long as the block lasts."""
    try:
        yield await service.start()
    finally:
        await service.stop()
