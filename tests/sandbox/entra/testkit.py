# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a double inside a test: a throw-away CA, both listeners on free loopback ports, and a CONNECT proxy.

The proxy does what the sandbox's does: it takes `CONNECT login.microsoftonline.com:443` to the double and refuses anything
else, so that clients keep Microsoft's host names, and TLS is checked by them as in production.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import http.client
import http.cookies
import ipaddress
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc.jwk import RSAKey

from .clientauth import IssuerKeys
from .service import GRAPH_HOST, LOGIN_HOST, Address, Service, Settings, running
from .tokens import KeyRing, new_key

CAST = Path(__file__).with_name("cast.yml")


class Clock:
    """The time of day, which a test may move forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass(frozen=True)
class Authority:
    """Files of a throw-away CA and of the certificate it gave to the double."""

    ca: Path
    cert: Path
    key: Path


def _certificate(
    subject: str, issuer: str, public_key: ec.EllipticCurvePublicKey, extensions: list[tuple[x509.ExtensionType, bool]]
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(tz=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def make_authority(folder: Path, *names: str) -> Authority:
    """Write a CA and a certificate for the double's two names, loopback, and any further names."""
    ca_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = _certificate(
        "Throw-away CA",
        "Throw-away CA",
        ca_key.public_key(),
        [(x509.BasicConstraints(ca=True, path_length=0), True), (_usage(signs_certificates=True), True), (ca_id, False)],
    ).sign(ca_key, hashes.SHA256())
    hosts = [x509.DNSName(name) for name in (LOGIN_HOST, GRAPH_HOST, "localhost", *names)]
    leaf = _certificate(
        LOGIN_HOST,
        "Throw-away CA",
        leaf_key.public_key(),
        [
            (x509.SubjectAlternativeName([*hosts, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False),
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(signs_certificates=False), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), False),
        ],
    ).sign(ca_key, hashes.SHA256())
    files = Authority(folder / "ca.pem", folder / "tls.pem", folder / "tls.key")
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    files.cert.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(leaf_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return files


@dataclass(frozen=True)
class Double:
    """A running double, and how to reach it. Further doubles put their hosts and ports into `routes`, the proxy's."""

    service: Service
    authority: Authority
    clock: Clock
    port: int
    admin: str
    proxy: str
    secrets_dir: Path
    log: Path
    routes: dict[str, int]

    def secret(self, app: str) -> str:
        return (self.secrets_dir / f"{app}.secret").read_text("utf-8")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class _ConnectProxy:
    """A CONNECT proxy that knows the doubles' host names and nothing else."""

    def __init__(self, routes: Mapping[str, int]) -> None:
        self._routes = routes
        self._tasks: set[asyncio.Task[None] | None] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self._serve(reader, writer)
            await _close(writer)
        finally:
            self._tasks.discard(task)

    async def end(self) -> None:
        """Close the connections that clients keep open."""
        tasks = [task for task in self._tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, *_rest = head.split(" ")
            host, _, port = target.rpartition(":")
            if method != "CONNECT" or host not in self._routes or port != "443":
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
            else:
                await self._tunnel(reader, writer, self._routes[host])

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))
        finally:
            await _close(upstream_writer)


class _Thread:
    """Runs the service and the proxy in an event loop of a thread of their own."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.routes: dict[str, int] = {}
        self._ports: Future[tuple[int, int, int]] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> tuple[int, int, int]:
        """Return the ports of the double, of its control API, and of the proxy."""
        self._thread.start()
        return self._ports.result(30)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as exc:
            if self._ports.done():
                raise
            self._ports.set_exception(exc)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with running(self._service) as (port, admin_port):
            self.routes.update({LOGIN_HOST: port, GRAPH_HOST: port})
            connections = _ConnectProxy(self.routes)
            proxy = await asyncio.start_server(connections, "127.0.0.1", 0)
            self._ports.set_result((port, admin_port, proxy.sockets[0].getsockname()[1]))
            await self._stop.wait()
            proxy.close()
            await connections.end()
        # A moment for connections just cut to be closed at both ends.
        await asyncio.sleep(0.01)


@functools.cache
def _first_keys() -> tuple[RSAKey, RSAKey]:
    """Of every double of this process: to make them takes longer than most tests."""
    return new_key(), new_key()


@contextlib.contextmanager
def running_double(
    folder: Path, cast: Path = CAST, issuer_keys: IssuerKeys | None = None, state: Path | None = None, names: Iterable[str] = ()
) -> Iterator[Double]:
    """Run a double until the block ends; with a state file, the next one goes on where this one ended.

    The certificate is good for `names` too, for doubles of other services.
    """
    authority, clock = make_authority(folder, *names), Clock()
    free = Address("127.0.0.1:0")
    settings = Settings(free, free, authority.cert, authority.key, cast, folder / "secrets", folder / "entra.log", authority.ca, state=state)
    service = Service(settings, clock, issuer_keys, KeyRing(_first_keys()))
    thread = _Thread(service)
    try:
        port, admin_port, proxy_port = thread.start()
        yield Double(
            service=service,
            authority=authority,
            clock=clock,
            port=port,
            admin=f"http://127.0.0.1:{admin_port}",
            proxy=f"http://127.0.0.1:{proxy_port}",
            secrets_dir=folder / "secrets",
            log=folder / "entra.log",
            routes=thread.routes,
        )
    finally:
        thread.stop()


# --- a client, with nothing but the standard library -------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def location(self) -> str:
        return self.headers.get("location", "")

    @property
    def answered(self) -> dict[str, str]:
        """The parameters an authorization response carries in its redirect."""
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.location).query, keep_blank_values=True))

    def json(self) -> dict[str, Any]:
        document = json.loads(self.text)
        if not isinstance(document, dict):
            raise TypeError(f"expected a JSON object, got {self.text[:80]}")
        return document


class Browser:
    """Speaks to the double through the proxy, one request at a time, follows no redirect, and keeps cookies."""

    def __init__(self, double: Double) -> None:
        self._context = ssl.create_default_context(cafile=str(double.authority.ca))
        self._proxy = urllib.parse.urlsplit(double.proxy)
        self.cookies: dict[str, str] = {}

    def get(self, url: str, query: Mapping[str, str] | None = None) -> Answer:
        return self.send("GET", url + ("?" + urllib.parse.urlencode(query) if query else ""))

    def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        content_type = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.send("POST", url, urllib.parse.urlencode(form), {**content_type, **(headers or {})})

    def send(self, method: str, url: str, body: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        target = urllib.parse.urlsplit(url)
        connection = http.client.HTTPSConnection(self._proxy.hostname or "", self._proxy.port, context=self._context, timeout=15)
        connection.set_tunnel(target.hostname or "", target.port or 443)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            sent = {**({"Cookie": cookie} if cookie else {}), **(headers or {})}
            connection.request(method, target.path + (f"?{target.query}" if target.query else ""), body, sent)
            response = connection.getresponse()
            for line in response.headers.get_all("Set-Cookie") or []:
                for name, morsel in http.cookies.SimpleCookie(line).items():
                    self._keep(name, morsel)
            answered = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, answered, response.read().decode())
        finally:
            connection.close()

    def _keep(self, name: str, morsel: http.cookies.Morsel[str]) -> None:
        self.cookies.pop(name, None)
        if morsel["max-age"] != "0" and morsel.value:
            self.cookies[name] = morsel.value


def control(double: Double, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Call the control API; returns the status and the decoded body."""
    target = urllib.parse.urlsplit(double.admin)
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=15)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        text = response.read().decode()
        return response.status, json.loads(text) if text else None
    finally:
        connection.close()
