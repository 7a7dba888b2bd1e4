# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP from outside: what somebody without an account sees of a host behind the gateway.

Only the standard library: this is imported by the engine's hot path and by plain scripts. TLS is always verified, against
the host name asked for, whatever address or proxy the connection goes through.
"""

from __future__ import annotations

import base64
import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import http.client
import socket
import ssl
import threading
import time
import typing as t
import urllib.parse

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import NotReadyError, ProbeError

BODY_LIMIT = 256 * 1024
HEAD_LIMIT = 64 * 1024
# Several at once, because a Service spreads connections over the Envoy replicas and each replica converges by itself.
PARALLEL = 4
HOSTS_AT_ONCE = 4  # of one team; there may be 16 teams at once
POLL_EVERY = 0.05
# What a program asks for: with it a missing session is a plain 401.
PROGRAM: t.Final = {"Accept": "application/json"}
REFUSED = 401
DEFAULT_PORTS: t.Final = {"https": 443, "http": 80}
OPTION = "gateway_auth_probe"

Progress = collections.abc.Callable[[float, str], None]


class HopError(ProbeError):
    """No HTTP answer; ``hop`` says where it ended: ``proxy``, ``dns``, ``tcp``, ``tls`` or ``http``."""

    def __init__(self, hop: str, message: str, remedy: str = "", reason: str = "") -> None:
        super().__init__(message, remedy)
        self.hop = hop
        self.reason = reason or message


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP answer; ``body`` ends at 256 KiB, ``peer_cert`` is what ``ssl.SSLSocket.getpeercert`` gives (None on http)."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    peer_cert: dict[str, t.Any] | None = None

    def header(self, name: str) -> str:
        """First header of that name, without regard to case; empty when there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def location(self) -> str:
        return self.header("Location")

    @property
    def content_type(self) -> str:
        return self.header("Content-Type").partition(";")[0].strip().lower()


@dataclasses.dataclass
class _Connection:
    http: http.client.HTTPConnection
    peer_cert: dict[str, t.Any] | None
    absolute: bool = False


class ProbeClient:
    """Requests to hosts behind one gateway. Safe to share between threads; kept-alive connections are a thread's own.

    ``proxy`` is an HTTP CONNECT proxy's URL; else ``address`` is connected to, whatever the host's DNS says; else DNS.
    ``ca_file`` replaces the system's trust store, or adds to it with ``system_store``.
    """

    def __init__(self, proxy: str = "", address: str = "", ca_file: str = "", timeout: float = 5.0, *, system_store: bool = False) -> None:
        self.proxy = proxy
        self.address = address
        self.ca_file = ca_file
        self.timeout = timeout
        self.system_store = system_store
        self._proxy_address, self._proxy_authorization = _parse_proxy(proxy)
        self._context: ssl.SSLContext | None = None
        self._context_lock = threading.Lock()
        self._local = threading.local()

    def request(
        self,
        host: str,
        path: str,
        *,
        scheme: str = "https",
        method: str = "GET",
        headers: collections.abc.Mapping[str, str] | None = None,
        body: bytes | None = None,
        keepalive: bool = False,
    ) -> Answer:
        """One request; ``path`` (with its query) goes out byte for byte, redirects are not followed.

        ``host`` may carry a port. Each call opens a new connection unless ``keepalive``.
        """
        if scheme not in DEFAULT_PORTS:
            raise ValueError(f"scheme must be http or https, not {scheme!r}")
        if keepalive:
            return self._request_kept(scheme, host, path, method, headers or {}, body)
        connection = self._connect(scheme, host)
        try:
            return self._exchange(connection, scheme, host, path, method, headers or {}, body, keep=False)
        finally:
            connection.http.close()

    def close(self) -> None:
        """Close this thread's kept-alive connections."""
        for connection in self._kept().values():
            connection.http.close()
        self._kept().clear()

    def via(self) -> str:
        """How a host is reached, for messages."""
        if self.proxy:
            return f"through proxy {_without_credentials(self.proxy)}"
        return f"at {self.address}" if self.address else "by DNS"

    # --- connections -------------------------------------------------------------------------------------------------
    def _kept(self) -> dict[tuple[str, str], _Connection]:
        if not hasattr(self._local, "kept"):
            self._local.kept = {}
        return t.cast("dict[tuple[str, str], _Connection]", self._local.kept)

    def _request_kept(
        self,
        scheme: str,
        host: str,
        path: str,
        method: str,
        headers: collections.abc.Mapping[str, str],
        body: bytes | None,
    ) -> Answer:
        kept = self._kept()
        key = (scheme, host)
        reused = kept.pop(key, None)
        if reused is not None and reused.http.sock is not None:
            try:
                answer = self._exchange(reused, scheme, host, path, method, headers, body, keep=True)
            except HopError:
                # The peer may have closed an idle connection; that says nothing about the host.
                reused.http.close()
            else:
                kept[key] = reused
                return answer
        connection = self._connect(scheme, host)
        try:
            answer = self._exchange(connection, scheme, host, path, method, headers, body, keep=True)
        except BaseException:
            connection.http.close()
            raise
        kept[key] = connection
        return answer

    def _connect(self, scheme: str, host: str) -> _Connection:
        name, port = _split_port(host, DEFAULT_PORTS[scheme])
        absolute = bool(self.proxy) and scheme == "http"
        raw = self._open(name, port, tunnel=scheme == "https")
        peer_cert: dict[str, t.Any] | None = None
        try:
            if scheme == "https":
                raw = self._start_tls(raw, name)
                peer_cert = t.cast("dict[str, t.Any] | None", raw.getpeercert())
        except BaseException:
            raw.close()
            raise
        connection = http.client.HTTPConnection(name, port, timeout=self.timeout)
        connection.sock = raw
        return _Connection(connection, peer_cert, absolute)

    def _open(self, name: str, port: int, *, tunnel: bool) -> socket.socket:
        if self._proxy_address:
            shown = _without_credentials(self.proxy)
            try:
                raw = socket.create_connection(self._proxy_address, self.timeout)
            except OSError as exc:
                raise HopError(
                    "proxy",
                    f"Proxy {shown} doesn't answer: {_reason(exc)}.",
                    f"Check {OPTION}.proxy, and that the proxy runs.",
                    _reason(exc),
                ) from exc
            if tunnel:
                try:
                    self._tunnel(raw, name, port)
                except BaseException:
                    raw.close()
                    raise
            return raw
        target = self.address or name
        try:
            raw = socket.create_connection((target.strip("[]"), port), self.timeout)
        except socket.gaierror as exc:
            raise HopError(
                "dns",
                f"The name {target} can't be resolved: {_reason(exc)}.",
                f"Publish the name in DNS, or set {OPTION}.address to the Gateway's address.",
                _reason(exc),
            ) from exc
        except OSError as exc:
            raise HopError(
                "tcp",
                f"{target}:{port} doesn't accept a connection for {name}: {_reason(exc)}.",
                f"Check the Gateway's listener and Service, and {OPTION}.address (or {OPTION}.proxy where the gateway isn't reachable from here).",
                _reason(exc),
            ) from exc
        return raw

    def _tunnel(self, raw: socket.socket, name: str, port: int) -> None:
        shown = _without_credentials(self.proxy)
        authority = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if self._proxy_authorization:
            lines.append(f"Proxy-Authorization: {self._proxy_authorization}")
        try:
            raw.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            head = b""
            # Byte for byte up to the empty line: what follows belongs to TLS.
            while not head.endswith(b"\r\n\r\n") and len(head) < HEAD_LIMIT:
                byte = raw.recv(1)
                if not byte:
                    break
                head += byte
        except OSError as exc:
            raise HopError(
                "proxy",
                f"Proxy {shown} didn't answer CONNECT {authority}: {_reason(exc)}.",
                f"Check that {OPTION}.proxy is an HTTP CONNECT proxy.",
                _reason(exc),
            ) from exc
        parts = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/") or not parts[1].isdigit():
            raise HopError(
                "proxy",
                f"Proxy {shown} didn't answer CONNECT {authority} in HTTP.",
                f"Check that {OPTION}.proxy is an HTTP CONNECT proxy.",
            )
        status = int(parts[1])
        if status == 200:
            return
        detail = _first_line(raw)
        message = f"Proxy {shown} answered {status} to CONNECT {authority}{': ' + detail if detail else ''}."
        if status in (502, 503, 504):
            raise HopError("tcp", message, "The proxy can't reach the gateway: check the Gateway's Service.", detail)
        raise HopError("proxy", message, f"Let the proxy of {OPTION}.proxy pass to this name and port.", detail)

    def _start_tls(self, raw: socket.socket, name: str) -> ssl.SSLSocket:
        context = self._tls_context()
        try:
            return context.wrap_socket(raw, server_hostname=name)
        except ssl.SSLCertVerificationError as exc:
            reason = exc.verify_message or _reason(exc)
            # 62: X509_V_ERR_HOSTNAME_MISMATCH, 10: X509_V_ERR_CERT_HAS_EXPIRED
            if exc.verify_code == 62:
                remedy = f"Give the Gateway's HTTPS listener a certificate that names {name}."
            elif exc.verify_code == 10:
                remedy = "Renew the certificate of the Gateway's HTTPS listener."
            else:
                remedy = f"Give the Gateway's HTTPS listener a certificate of a trusted CA with its whole chain, or name the CA's file in {OPTION}.ca_file."
            raise HopError("tls", f"The certificate presented for {name} isn't valid: {reason}.", remedy, reason) from exc
        except (ssl.SSLError, OSError) as exc:
            raise HopError(
                "tls",
                f"No TLS for {name} {self.via()}: {_reason(exc)}.",
                f"Check that the Gateway's HTTPS listener covers {name} and is programmed, and {OPTION}.address.",
                _reason(exc),
            ) from exc

    def _tls_context(self) -> ssl.SSLContext:
        with self._context_lock:
            if self._context is None:
                try:
                    context = ssl.create_default_context(cafile=self.ca_file or None)
                    if self.ca_file and self.system_store:
                        context.load_default_certs()
                except (ssl.SSLError, OSError) as exc:
                    raise HopError(
                        "tls",
                        f"CA file {self.ca_file} can't be read as PEM certificates: {_reason(exc)}.",
                        f"Check {OPTION}.ca_file.",
                        _reason(exc),
                    ) from exc
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                context.set_alpn_protocols(["http/1.1"])
                self._context = context
            return self._context

    # --- one exchange ------------------------------------------------------------------------------------------------
    def _exchange(
        self,
        connection: _Connection,
        scheme: str,
        host: str,
        path: str,
        method: str,
        headers: collections.abc.Mapping[str, str],
        body: bytes | None,
        *,
        keep: bool,
    ) -> Answer:
        names = {name.lower() for name in headers}
        target = f"{scheme}://{host}{path}" if connection.absolute else path
        try:
            connection.http.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            if "host" not in names:
                connection.http.putheader("Host", host)
            if connection.absolute and self._proxy_authorization:
                connection.http.putheader("Proxy-Authorization", self._proxy_authorization)
            for name, value in headers.items():
                connection.http.putheader(name, value)
            if body is not None and "content-length" not in names:
                connection.http.putheader("Content-Length", str(len(body)))
            if not keep and "connection" not in names:
                connection.http.putheader("Connection", "close")
            connection.http.endheaders(body)
            response = connection.http.getresponse()
            content = self._read(response)
        except (http.client.HTTPException, OSError) as exc:
            raise HopError(
                "http",
                f"No HTTP answer for {method} {scheme}://{host}{path} {self.via()}: {_reason(exc)}.",
                f"Check the Gateway and {OPTION}.address or {OPTION}.proxy.",
                _reason(exc),
            ) from exc
        if not keep or not response.isclosed():
            # Too long a body is left unread, so the connection is of no more use.
            connection.http.close()
        return Answer(response.status, response.getheaders(), content, connection.peer_cert)

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        deadline = time.monotonic() + 2 * self.timeout
        content = bytearray()
        while len(content) < BODY_LIMIT:
            # Not read1(): before Python 3.13 it waits beyond Content-Length on a connection that is kept alive.
            chunk = response.read(min(16 * 1024, BODY_LIMIT - len(content)))
            if not chunk:
                break
            content += chunk
            if time.monotonic() > deadline:
                raise TimeoutError("the answer's body didn't end in time")
        return bytes(content)


# --- waiting ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Seen:
    at: float
    answer: Answer | None
    text: str
    hint: str = ""

    @property
    def status(self) -> int:
        return self.answer.status if self.answer is not None else 0


def wait_refused(
    client: ProbeClient,
    host: str,
    path: str,
    *,
    consecutive: int,
    timeout: float,
    on_progress: Progress | None = None,
) -> list[tuple[float, int]]:
    """``wait_answer`` for the proxy's refusal (401) of a program without a session."""
    expected = f"to be refused without a session (HTTP {REFUSED})"
    return wait_answer(client, host, path, _is_refusal, expected, consecutive=consecutive, timeout=timeout, headers=PROGRAM, on_progress=on_progress)


def _is_refusal(answer: Answer) -> bool:
    return answer.status == REFUSED


def wait_answer(
    client: ProbeClient,
    host: str,
    path: str,
    wanted: collections.abc.Callable[[Answer], bool],
    expected: str,
    *,
    consecutive: int,
    timeout: float,
    headers: collections.abc.Mapping[str, str] | None = None,
    on_progress: Progress | None = None,
) -> list[tuple[float, int]]:
    """Ask without a session until ``consecutive`` answers in a row are ``wanted``, each on a new connection.

    Returns what was seen: seconds since the start, status (0: no answer). Raises NotReadyError with what was ``expected``, the last
    answer that was something else, and what it means.
    """
    start = time.monotonic()
    seen: list[tuple[float, int]] = []
    last: _Seen | None = None
    streak = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(PARALLEL, consecutive))) as pool:
        while True:
            lanes = max(1, min(PARALLEL, consecutive - streak))
            # A round counts as a whole: answers overlap in time, so one that isn't wanted speaks against all of them.
            futures = [pool.submit(_ask, client, host, path, headers, start) for _lane in range(lanes)]
            answers = sorted((future.result() for future in futures), key=lambda answer: answer.at)
            seen += [(answer.at, answer.status) for answer in answers]
            others = [answer for answer in answers if answer.answer is None or not wanted(answer.answer)]
            streak = 0 if others else streak + len(answers)
            if others:
                # An app's answer says more than a missing one.
                last = max(others, key=lambda answer: (answer.status < 400 and answer.status != 0, answer.at))
            if on_progress is not None:
                on_progress(time.monotonic() - start, last.text if others and last else f"{streak} of {consecutive} as expected")
            if streak >= consecutive:
                return seen
            if time.monotonic() - start >= timeout:
                what = last.text if last else f"only {streak} in a row"
                raise NotReadyError(
                    f"Expected https://{host}{path} {expected} {consecutive} times in a row within {timeout:.1f} s; last seen {client.via()}: {what}.",
                    last.hint if last else "",
                )
            if others:
                time.sleep(POLL_EVERY)


def describe(answer: Answer) -> str:
    """An answer in a few words, without its body: ``HTTP 302 to https://login… ``."""
    target = f" to {_short_url(answer.location)}" if answer.location else ""
    return f"HTTP {answer.status}{target}"


def status_hint(status: int) -> str:
    """What an answer in place of the refusal means, and where to look."""
    if status == 404:
        return "The route isn't in Envoy yet: see the HTTPRoute's status.parents and the Gateway listener's hostname."
    if status == 403:
        return "Something else than the sign-in refuses: look for an authorization policy, and whether Accept is among the SecurityPolicy's headersToExtAuth."
    if status == 500:
        return "Envoy Gateway holds the SecurityPolicy to be invalid: see its status.ancestors (Service, port, ReferenceGrant)."
    if status in (502, 503, 504):
        return "Envoy can't reach oauth2-proxy: see the Deployment's pods, its Service's endpoints and the session store."
    if status == 400:
        return "Envoy or oauth2-proxy doesn't understand the request: see the pods' log."
    if 200 <= status < 400:
        return "The SecurityPolicy isn't in effect for this path: see its status.ancestors, its targetRefs and Envoy's log."
    return "See the HTTPRoute's and the SecurityPolicy's status."


T = t.TypeVar("T")
R = t.TypeVar("R")


def at_once(function: collections.abc.Callable[[T], R], items: collections.abc.Iterable[T]) -> list[R]:
    """``function`` of each item, in threads; results in the items' order, the first error in that order raised.

    A probe mostly waits for an answer, so hosts cost no more together than one of them.
    """
    listed = list(items)
    if len(listed) < 2:
        return [function(item) for item in listed]
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(HOSTS_AT_ONCE, len(listed))) as pool:
        return list(pool.map(function, listed))


def _ask(client: ProbeClient, host: str, path: str, headers: collections.abc.Mapping[str, str] | None, start: float) -> _Seen:
    try:
        answer = client.request(host, path, headers=headers)
    except HopError as exc:
        return _Seen(time.monotonic() - start, None, exc.message.rstrip("."), exc.remedy)
    return _Seen(time.monotonic() - start, answer, describe(answer), status_hint(answer.status))


# --- small things ----------------------------------------------------------------------------------------------------


def _split_port(host: str, default: int) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(f"//{host}")
    return parts.hostname or host, parts.port or default


def _parse_proxy(proxy: str) -> tuple[tuple[str, int] | None, str]:
    if not proxy:
        return None, ""
    parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port: int | None = None
    with contextlib.suppress(ValueError):
        port = parts.port or 80
    if parts.scheme != "http" or not parts.hostname or port is None:
        raise HopError(
            "proxy",
            f"Expected the URL of an HTTP CONNECT proxy such as http://127.0.0.1:3128, got {_without_credentials(proxy)!r}.",
            f"Check {OPTION}.proxy.",
        )
    authorization = ""
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    return (parts.hostname, port), authorization


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _short_url(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def _first_line(raw: socket.socket) -> str:
    with contextlib.suppress(OSError):
        raw.settimeout(1.0)
        return raw.recv(512).decode("utf-8", "replace").strip().partition("\n")[0].strip()
    return ""


def _reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, ssl.SSLError) and exc.reason:
        return exc.reason.replace("_", " ").lower()
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror[0].lower() + exc.strerror[1:]
    return str(exc) or type(exc).__name__
