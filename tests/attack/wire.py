# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to the byte, as an attacker writes them: nothing here tidies a path, a header or a length."""

from __future__ import annotations

import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import socket
import ssl
import time
import typing as t

TIMEOUT = 12.0
WORKERS = 8
T = t.TypeVar("T")
R = t.TypeVar("R")


class NoDoor(Exception):
    """The gateway can't be reached at all, which no test may take for a door that is shut."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """One answer as it came; status 0: the connection ended, or nothing came, before a whole head was there."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def __str__(self) -> str:
        return f"{self.status} {self.header('Location')[:160]} {self.body[:160]!r}"


NOTHING = Answer(0)


@dataclasses.dataclass(frozen=True)
class Door:
    """How a gateway is reached: through an HTTP CONNECT proxy or by name, and who vouches for it ("" = the system's CAs)."""

    proxy: tuple[str, int] | None = None
    ca: str = ""

    def reach(self, host: str, port: int = 443) -> socket.socket:
        """A TCP connection to the host."""
        try:
            raw = socket.create_connection(self.proxy or (host, port), timeout=TIMEOUT)
            if self.proxy:
                raw.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
                head = b""
                while b"\r\n\r\n" not in head:
                    part = raw.recv(1)
                    if not part:
                        break
                    head += part
                if b" 200 " not in head.partition(b"\r\n")[0]:
                    raise NoDoor(f"the proxy has no way to {host}:{port}: {head[:200]!r}")
        except OSError as exc:
            raise NoDoor(f"{host}:{port} can't be reached: {exc}") from exc
        return raw

    def reach_proxy(self) -> socket.socket:
        """A TCP connection to the proxy itself."""
        if self.proxy is None:
            raise NoDoor("there is no proxy")
        return socket.create_connection(self.proxy, timeout=TIMEOUT)

    def secure(self, host: str, *, sni: str | None = None, alpn: collections.abc.Sequence[str] = ("http/1.1",)) -> ssl.SSLSocket:
        """A TLS connection to port 443 of the host, with ``sni`` as the name asked for (its own by default)."""
        context = ssl.create_default_context(cafile=self.ca or None)
        context.set_alpn_protocols(list(alpn))
        return context.wrap_socket(self.reach(host), server_hostname=sni or host)


def head(method: str, target: str, host: str, *headers: tuple[str, str], version: str = "HTTP/1.1", close: bool = True) -> bytes:
    """A request's head. Non-ASCII text is sent as UTF-8 and nothing is checked."""
    lines = [f"{method} {target} {version}", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join([*lines, *(["Connection: close"] if close else []), "", ""])).encode()


def exchange(connection: socket.socket, raw: bytes, *, answers: int = 1, linger: float = 0.0, to_head: bool = False, wait: float = TIMEOUT) -> list[Answer]:
    """Send bytes and read what comes for ``wait`` seconds: ``answers`` of them, and for ``linger`` seconds on whether there are more."""
    received = b""
    found: list[Answer] = []
    deadline = time.monotonic() + wait
    with contextlib.suppress(OSError):  # refused while it was sent; the answer may be there all the same
        connection.sendall(raw)
    ended = False
    while not ended:
        found, whole = parse(received, ended=False, to_head=to_head)
        if len(found) >= answers and whole:
            if not linger:
                break
            deadline, linger = time.monotonic() + linger, 0.0
            answers = 1 << 30
        left = deadline - time.monotonic()
        if left <= 0:
            break
        connection.settimeout(left)
        try:
            part = connection.recv(65536)
        except OSError:
            part = b""
        ended = not part
        received += part
    return parse(received, ended=True, to_head=to_head)[0] or [NOTHING]


def parse(data: bytes, *, ended: bool, to_head: bool = False) -> tuple[list[Answer], bool]:
    """Whole answers in ``data``, and whether nothing is left over. ``ended``: no more will come."""
    found: list[Answer] = []
    while data:
        top, separator, rest = data.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        if not separator or len(words) < 2 or not words[1].isdigit():
            return found, False
        status = int(words[1])
        headers = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        kept = Answer(status, headers)
        if status == 101:
            return [*found, dataclasses.replace(kept, body=rest)], True
        if to_head or status in (204, 304) or 100 <= status < 200:
            body, size = b"", 0
        elif "chunked" in kept.header("Transfer-Encoding").lower():
            decoded = _dechunk(rest)
            if decoded is None:
                if not ended:
                    return found, False
                decoded = (rest, len(rest))
            body, size = decoded
        elif kept.header("Content-Length").isdigit():
            size = int(kept.header("Content-Length"))
            if len(rest) < size and not ended:
                return found, False
            body = rest[:size]
        elif not ended:
            return found, False
        else:
            body, size = rest, len(rest)
        if not 100 <= status < 200:
            found.append(dataclasses.replace(kept, body=body))
        data = rest[size:]
    return found, True


def _dechunk(data: bytes) -> tuple[bytes, int] | None:
    body, place = b"", 0
    while True:
        end = data.find(b"\r\n", place)
        if end < 0:
            return None
        try:
            size = int(data[place:end].split(b";")[0], 16)
        except ValueError:
            return None
        if len(data) < end + 2 + size + 2:
            return None
        body += data[end + 2 : end + 2 + size]
        place = end + 2 + size + 2
        if size == 0:
            return body, place


def in_parallel(act: collections.abc.Callable[[T], R], items: collections.abc.Iterable[T]) -> list[R]:
    """What ``act`` gives for each item, in their order."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(act, items))
