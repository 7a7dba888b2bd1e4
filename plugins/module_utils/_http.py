# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTPS to the outside world, for the Graph client: a function type that tests replace, and the real thing.

The real one is the standard library's ``http.client`` with connections kept alive, not ``ansible.module_utils.urls``. Measured
against a local server behind a CONNECT proxy: 0.4 ms a call instead of 3.5 ms (3.0 ms with one TLS context; the system's trust
store costs open_url 20 ms more each time), and 50 ms less to import in a controller. Besides, open_url installs its opener for
the whole process, which threads share, reads ~/.netrc unless told not to, and knows no REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import base64
import collections.abc
import dataclasses
import http.client
import ipaddress
import os
import re
import select
import ssl
import threading
import time
import typing as t
import urllib.parse

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import TransportError

BODY_LIMIT = 32 * 1024 * 1024
# Shorter than any idle timeout of Microsoft's front ends or of a proxy known to us (assumption).
IDLE_LIMIT_S = 20.0
USER_AGENT = "platform.gateway_auth"
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


@dataclasses.dataclass(frozen=True)
class Response:
    """An HTTP answer: ``headers`` by lower-case name (the last of several), ``body`` whole. Its repr shows no body."""

    status: int
    headers: collections.abc.Mapping[str, str]
    body: bytes = dataclasses.field(default=b"", repr=False)


class Transport(t.Protocol):
    """Sends one request: method, URL, headers, body (None: none), timeout in seconds for each step of the exchange.

    Every HTTP status is an answer, redirects too. Raises TransportError, whose ``sent`` says whether the server may have
    carried the request out, when there is none.
    """

    def __call__(self, method: str, url: str, headers: dict[str, str], body: bytes | None, timeout: float, /) -> Response: ...


class HttpTransport:
    """The real transport; safe to share between threads, which then share its connections.

    ``environ`` (default: the process's) is read for HTTPS_PROXY, ALL_PROXY, NO_PROXY (lower case first), SSL_CERT_FILE,
    SSL_CERT_DIR and REQUESTS_CA_BUNDLE; either of the latter replaces the system's trust store. Plain http is for the
    metadata endpoints of a cloud machine: only to loopback and link-local addresses, and never through a proxy.
    """

    def __init__(self, environ: collections.abc.Mapping[str, str] | None = None) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self._idle: dict[tuple[str, str, int], list[tuple[http.client.HTTPConnection, float]]] = {}

    def __call__(self, method: str, url: str, headers: dict[str, str], body: bytes | None, timeout: float, /) -> Response:
        scheme, host, port, target = _split(url)
        # Checked here because http.client's own complaint quotes the value, which may be a token.
        for name, value in headers.items():
            if not _HEADER_VALUE.fullmatch(value):
                raise TransportError(f"Header {name} for {host} has characters that HTTP doesn't allow.", "Check where its value comes from.", lasting=True)
        key = (scheme, host, port)
        kept = self._take(key)
        if kept is not None:
            try:
                return self._exchange(kept, key, method, target, headers, body, timeout)
            except TransportError as exc:
                # The peer may have closed it while it lay idle. What may have been carried out is the caller's to repeat.
                if method != "GET" or isinstance(exc.__cause__, TimeoutError):
                    raise
        return self._exchange(self._connect(key, timeout), key, method, target, headers, body, timeout)

    def close(self) -> None:
        """Close the connections that lie idle."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connection, _since in (pair for pairs in idle.values() for pair in pairs):
            connection.close()

    # --- connections -------------------------------------------------------------------------------------------------
    def _take(self, key: tuple[str, str, int]) -> http.client.HTTPConnection | None:
        while True:
            with self._lock:
                pairs = self._idle.get(key)
                if not pairs:
                    return None
                connection, since = pairs.pop()
            if time.monotonic() - since < IDLE_LIMIT_S and not _readable(connection):
                return connection
            connection.close()

    def _connect(self, key: tuple[str, str, int], timeout: float) -> http.client.HTTPConnection:
        scheme, host, port = key
        connection: http.client.HTTPConnection
        proxy = self._proxy(host) if scheme == "https" else None
        via = f" through proxy {proxy.hostname}:{proxy.port or 80}" if proxy else ""
        if scheme == "https":
            if proxy:
                connection = http.client.HTTPSConnection(proxy.hostname or "", proxy.port or 80, context=self._tls(), timeout=timeout)
                connection.set_tunnel(host, port, headers=_proxy_authorization(proxy))
            else:
                connection = http.client.HTTPSConnection(host, port, context=self._tls(), timeout=timeout)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as exc:
            connection.close()
            raise TransportError(
                f"The certificate presented for {host}{via} isn't valid: {exc.verify_message}.",
                "Name the CA's file in SSL_CERT_FILE when a proxy inspects TLS here.",
                lasting=True,
            ) from exc
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            raise TransportError(f"No connection to {host}:{port}{via}: {_reason(exc)}.", "Check the network, HTTPS_PROXY and NO_PROXY.") from exc
        return connection

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        key: tuple[str, str, int],
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes | None,
        timeout: float,
    ) -> Response:
        try:
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            connection.request(method, target, body, {"User-Agent": USER_AGENT, **headers})
            response = connection.getresponse()
            content = response.read(BODY_LIMIT + 1)
            if response.length and len(content) <= BODY_LIMIT:
                raise http.client.IncompleteRead(b"", response.length)  # read() with a limit doesn't complain by itself
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            raise TransportError(
                f"No HTTP answer from {key[1]} to {method} {target.partition('?')[0]}: {_reason(exc)}.", "Check the network, then run again.", sent=True
            ) from exc
        except BaseException:
            connection.close()
            raise
        if len(content) > BODY_LIMIT:
            connection.close()
            raise TransportError(
                f"The answer of {key[1]} to {method} {target.partition('?')[0]} is larger than {BODY_LIMIT // 2**20} MiB.", sent=True, lasting=True
            )
        if response.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.setdefault(key, []).append((connection, time.monotonic()))
        return Response(response.status, {name.lower(): value for name, value in response.getheaders()}, content)

    # --- settings ----------------------------------------------------------------------------------------------------
    def _variable(self, *names: str) -> str:
        """The first that is set, lower case before upper, as curl and urllib have it."""
        for name in names:
            value = self._environ.get(name.lower()) or self._environ.get(name)
            if value:
                return value
        return ""

    def _proxy(self, host: str) -> urllib.parse.SplitResult | None:
        url = self._variable("HTTPS_PROXY", "ALL_PROXY")
        if not url or _bypassed(host, self._variable("NO_PROXY")):
            return None
        parts = _parse(url if "://" in url else f"http://{url}")
        if parts is None or parts.scheme != "http":
            raise TransportError("HTTPS_PROXY isn't the URL of an HTTP CONNECT proxy.", "Set it as in http://proxy.example.com:3128.", lasting=True)
        return parts

    def _tls(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                self._context = self._new_context()
            return self._context

    def _new_context(self) -> ssl.SSLContext:
        variables = [(name, self._environ[name]) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE") if self._environ.get(name)]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if variables else ssl.create_default_context()
        for name, path in variables:
            try:
                context.load_verify_locations(**({"capath": path} if os.path.isdir(path) else {"cafile": path}))
            except (ssl.SSLError, OSError) as exc:
                raise TransportError(f"{name} ({path}) can't be read as PEM certificates: {_reason(exc)}.", f"Correct or unset {name}.", lasting=True) from exc
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context


def _split(url: str) -> tuple[str, str, int, str]:
    parts = _parse(url)
    if parts is None or parts.scheme not in ("https", "http") or parts.username is not None:
        raise TransportError("Expected an https URL with a host and without credentials.", "Check gateway_auth_graph.", lasting=True)
    host = parts.hostname or ""
    if parts.scheme == "http" and not _is_local(host):
        raise TransportError(f"Refused to send a request in clear text to {host}.", "Use https; http is for metadata endpoints on this machine.", lasting=True)
    path = parts.path or "/"
    return parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80), f"{path}?{parts.query}" if parts.query else path


def _parse(url: str) -> urllib.parse.SplitResult | None:
    """The parts of a URL with a host and, if any, a proper port; None for everything else."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local


def _bypassed(host: str, no_proxy: str) -> bool:
    """As curl and urllib read NO_PROXY: names with all below them, ``*`` for everything."""
    names = [name.strip().lower().lstrip("*").lstrip(".") for name in no_proxy.split(",") if name.strip()]
    return no_proxy.strip() == "*" or any(name and (host == name or host.endswith(f".{name}")) for name in names)


def _proxy_authorization(proxy: urllib.parse.SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode("ascii")}


def _readable(connection: http.client.HTTPConnection) -> bool:
    """An idle connection with something to read has been closed by its peer."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror[0].lower() + exc.strerror[1:]
    return str(exc) or type(exc).__name__
