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
import ipaddress
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .clientauth import IssuerKeys
from .service import GRAPH_HOST, LOGIN_HOST, Address, Service, Settings

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
    files.key.write_bytes(
        leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


@dataclass(frozen=True)
class Double:
    """A running double, and how to reach it."""

    service: Service
    authority: Authority
    clock: Clock
    port: int
    admin: str
    proxy: str
    secrets_dir: Path
    log: Path

    def secret(self, app: str) -> str:
        return (self.secrets_dir / f"{app}.secret").read_text("utf-8")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class _ConnectProxy:
    """A CONNECT proxy that knows the double's host names and nothing else."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, *_rest = head.split(" ")
            if method != "CONNECT" or target not in (f"{LOGIN_HOST}:443", f"{GRAPH_HOST}:443"):
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
            else:
                await self._tunnel(reader, writer)
        writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))


@contextlib.contextmanager
def running_double(folder: Path, cast: Path = CAST, issuer_keys: IssuerKeys | None = None) -> Iterator[Double]:
    """Run a double in a thread of its own until the block ends."""
    authority, clock = make_authority(folder), Clock()
    free = Address("127.0.0.1:0")
    settings = Settings(
        free, free, authority.cert, authority.key, cast, folder / "secrets", folder / "entra.log", authority.ca
    )
    service = Service(settings, clock, issuer_keys)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[int, int, asyncio.Server]:
        port, admin_port = await service.start()
        return port, admin_port, await asyncio.start_server(_ConnectProxy(port), "127.0.0.1", 0)

    try:
        port, admin_port, proxy = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
        proxy_port = proxy.sockets[0].getsockname()[1]
        yield Double(
            service=service,
            authority=authority,
            clock=clock,
            port=port,
            admin=f"http://127.0.0.1:{admin_port}",
            proxy=f"http://127.0.0.1:{proxy_port}",
            secrets_dir=folder / "secrets",
            log=folder / "entra.log",
        )
        loop.call_soon_threadsafe(proxy.close)
    finally:
        asyncio.run_coroutine_threadsafe(service.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
