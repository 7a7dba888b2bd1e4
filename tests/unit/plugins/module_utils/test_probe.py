# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The probe against real sockets: a TLS server of a throw-away CA, and a CONNECT proxy, both on loopback."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import re
import socket
import ssl
import threading
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.platform.gateway_auth.plugins.module_utils import _probe
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import NotReadyError, ProbeError

HOST = "prometheus-team-a.example.test"
REFUSAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name | None,
    signer: ec.EllipticCurvePrivateKey,
    *,
    ca: bool = False,
    days: tuple[int, int] = (-1, 30),
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if ca:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
    return builder.sign(signer, hashes.SHA256())


class Authority:
    """A throw-away CA that issues server certificates into a folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = _certificate("Throw-away CA", self.key, None, self.key, ca=True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, host: str, days: tuple[int, int] = (-1, 30)) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _certificate(host, key, self.certificate.subject, self.key, days=days)
        file = self.folder / f"{host}.pem"
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + private)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        return context


class Server:
    """Answers from ``script`` (the last entry for ever); records request heads, connections and server names."""

    def __init__(self, script: list[bytes], context: ssl.SSLContext | None = None, keep: bool = True) -> None:
        self.script = script
        self.context = context
        self.keep = keep
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.server_names: list[str | None] = []
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        if context is not None:
            context.sni_callback = lambda _sock, name, _context: self.server_names.append(name)
        self._threads: list[threading.Thread] = []
        self._main = threading.Thread(target=self._accept, daemon=True)
        self._main.start()

    def close(self) -> None:
        # A blocked accept() outlives a close(); shutdown() ends it.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._main.join(5)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                raw, _peer = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(raw,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket) -> None:
        raw.settimeout(3)
        with self._lock:
            self.connections += 1
        try:
            connection = self.context.wrap_socket(raw, server_side=True) if self.context is not None else raw
        except (ssl.SSLError, OSError):
            raw.close()
            return
        with connection, contextlib.suppress(OSError, ssl.SSLError):
            while self._answer(connection):
                pass

    def _answer(self, connection: socket.socket) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(4096)
            if not chunk:
                return False
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while length and len(body) < int(length.group(1)):
            body += connection.recv(4096)
        with self._lock:
            self.heads.append(head)
            self.bodies.append(body)
            answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if not answer:
            return False
        connection.sendall(answer)
        return self.keep and b"connection: close" not in head.lower()


class Proxy:
    """A CONNECT proxy that leads everything to one port, or answers with ``refusal``."""

    def __init__(self, port: int, refusal: bytes = b"") -> None:
        self.target = port
        self.refusal = refusal
        self.heads: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._main = threading.Thread(target=self._accept, daemon=True)
        self._main.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._main.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _peer = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(3)
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                chunk = client.recv(4096)
                if not chunk:
                    return
                head += chunk
            self.heads.append(head)
            if self.refusal:
                client.sendall(self.refusal)
                return
            with socket.create_connection(("127.0.0.1", self.target)) as upstream:
                upstream.settimeout(3)
                if head.startswith(b"CONNECT "):
                    client.sendall(b"HTTP/1.1 200 Connection Established\r\n\r\n")
                else:
                    upstream.sendall(head)
                back = threading.Thread(target=_pump, args=(upstream, client), daemon=True)
                back.start()
                _pump(client, upstream)
                back.join(3)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def serve() -> t.Iterator[t.Callable[..., t.Any]]:
    with contextlib.ExitStack() as stack:

        def start(kind: type, *args: t.Any, **kwargs: t.Any) -> t.Any:
            started = kind(*args, **kwargs)
            stack.callback(started.close)
            return started

        yield start


def _answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "path",
    [
        "/graph?g0.expr=up%20x&g0.tab=1",
        "/a//b/../c;d?u=https://x.test//y;z&empty=",
        "/%2F%zz?%",
        "//double",
    ],
)
def test_sends_the_path_byte_for_byte_with_host_and_server_name(path: str, authority: Authority, serve: t.Any) -> None:
    server = serve(Server, [_answer("200 OK", b"x")], authority.context(HOST))
    client = _probe.ProbeClient(address="127.0.0.1", ca_file=str(authority.file))
    answer = client.request(f"{HOST}:{server.port}", path)
    assert answer.status == 200
    assert server.heads[0].split(b"\r\n")[0] == f"GET {path} HTTP/1.1".encode()
    assert f"Host: {HOST}:{server.port}".encode() in server.heads[0].split(b"\r\n")
    assert server.server_names == [HOST]


def test_answer_carries_headers_in_order_and_the_certificate(authority: Authority, serve: t.Any) -> None:
    server = serve(Server, [_answer("302 Found", b"", "Set-Cookie: a=1", "Location: /x", "Set-Cookie: b=2")], authority.context(HOST))
    client = _probe.ProbeClient(address="127.0.0.1", ca_file=str(authority.file))
    answer = client.request(f"{HOST}:{server.port}", "/")
    assert [value for name, value in answer.headers if name == "Set-Cookie"] == ["a=1", "b=2"]
    assert answer.location == "/x"
    assert answer.peer_cert is not None
    assert answer.peer_cert["subjectAltName"] == (("DNS", HOST),)


def test_a_new_connection_each_time_unless_kept_alive(authority: Authority, serve: t.Any) -> None:
    server = serve(Server, [_answer("200 OK")], authority.context(HOST))
    client = _probe.ProbeClient(address="127.0.0.1", ca_file=str(authority.file))
    host = f"{HOST}:{server.port}"
    for _number in range(3):
        client.request(host, "/")
    assert server.connections == 3
    for _number in range(3):
        client.request(host, "/", keepalive=True)
    assert server.connections == 4
    client.close()


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(authority: Authority, serve: t.Any) -> None:
    server = serve(Server, [_answer("200 OK")], authority.context(HOST), keep=False)
    client = _probe.ProbeClient(address="127.0.0.1", ca_file=str(authority.file))
    for _number in range(3):
        assert client.request(f"{HOST}:{server.port}", "/", keepalive=True).status == 200
    assert server.connections == 3
    client.close()


def test_method_headers_and_body_go_out(authority: Authority, serve: t.Any) -> None:
    server = serve(Server, [_answer("200 OK")], authority.context(HOST))
    client = _probe.ProbeClient(address="127.0.0.1", ca_file=str(authority.file))
    client.request(f"{HOST}:{server.port}", "/token", method="POST", headers={"X-Forged": "1"}, body=b"a=b")
    assert server.heads[0].startswith(b"POST /token HTTP/1.1")
    assert server.bodies[0] == b"a=b"
    assert b"X-Forged: 1" in server.heads[0]
    assert b"Content-Length: 3" in server.heads[0]
    assert b"Accept-Encoding" not in server.heads[0]


def test_body_is_bounded(authority: Authority, serve: t.Any) -> None:
    server = serve(Server, [_answer("200 OK", b"x" * (2 * _probe.BODY_LIMIT))], authority.context(HOST))
    client = _probe.ProbeClient(address="127.0.0.1", ca_file=str(authority.file))
    assert len(client.request(f"{HOST}:{server.port}", "/").body) == _probe.BODY_LIMIT


def test_plain_http_without_a_proxy(serve: t.Any) -> None:
    server = serve(Server, [_answer("301 Moved Permanently", b"", "Location: https://x/")])
    answer = _probe.ProbeClient(address="127.0.0.1").request(f"{HOST}:{server.port}", "/", scheme="http")
    assert (answer.status, answer.peer_cert) == (301, None)


def test_https_goes_through_a_connect_tunnel(authority: Authority, serve: t.Any) -> None:
    server = serve(Server, [REFUSAL], authority.context(HOST))
    proxy = serve(Proxy, server.port)
    client = _probe.ProbeClient(f"http://user:pa%20ss@127.0.0.1:{proxy.port}", ca_file=str(authority.file))
    answer = client.request(HOST, "/x%20y")
    assert (answer.status, answer.body) == (401, b"{}")
    assert proxy.heads[0].startswith(f"CONNECT {HOST}:443 HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic dXNlcjpwYSBzcw==" in proxy.heads[0]
    assert b"Proxy-Authorization" not in server.heads[0]


def test_plain_http_goes_through_the_proxy_with_an_absolute_uri(serve: t.Any) -> None:
    server = serve(Server, [_answer("301 Moved Permanently")])
    proxy = serve(Proxy, server.port)
    _probe.ProbeClient(f"http://127.0.0.1:{proxy.port}").request(HOST, "/a?b=%20c", scheme="http")
    assert proxy.heads[0].split(b"\r\n")[0] == f"GET http://{HOST}/a?b=%20c HTTP/1.1".encode()


def _refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("case", "hop", "words"),
    [
        pytest.param("wrong name", "tls", ["isn't valid", "Hostname mismatch", HOST], id="hostname mismatch"),
        pytest.param("unknown ca", "tls", ["isn't valid", "gateway_auth_probe.ca_file"], id="CA not trusted"),
        pytest.param("expired", "tls", ["expired", "Renew"], id="certificate expired"),
        pytest.param("no tls", "tls", ["No TLS for", "listener"], id="port doesn't speak TLS"),
        pytest.param("bad ca file", "tls", ["ca.txt", "gateway_auth_probe.ca_file"], id="CA file not PEM"),
        pytest.param("refused", "tcp", ["connection refused", "gateway_auth_probe.address"], id="nothing listens"),
        pytest.param("silent", "http", ["No HTTP answer"], id="closed without an answer"),
        pytest.param("proxy down", "proxy", ["doesn't answer", "gateway_auth_probe.proxy"], id="proxy down"),
        pytest.param("proxy 403", "proxy", ["403", "no way to", "gateway_auth_probe.proxy"], id="proxy refuses the name"),
        pytest.param("proxy 502", "tcp", ["502", "Service"], id="proxy can't reach the gateway"),
        pytest.param("proxy garbage", "proxy", ["in HTTP"], id="proxy isn't one"),
    ],
)
def test_errors_name_the_hop_and_the_option(case: str, hop: str, words: list[str], authority: Authority, serve: t.Any, tmp_path: pathlib.Path) -> None:
    other = Authority(tmp_path)
    contexts = {
        "wrong name": lambda: authority.context("elsewhere.example.test"),
        "unknown ca": lambda: other.context(HOST),
        "expired": lambda: authority.context(HOST, days=(-9, -1)),
        "no tls": lambda: None,
    }
    script = [b"" if case == "silent" else b"garbage\r\n\r\n" if case == "no tls" else REFUSAL]
    server = serve(Server, script, contexts.get(case, lambda: authority.context(HOST))())
    refusals = {
        "proxy 403": b"HTTP/1.1 403 Forbidden\r\n\r\nno way to there\n",
        "proxy 502": b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        "proxy garbage": b"SSH-2.0-x\r\n\r\n",
    }
    proxy, ca, port = "", str(authority.file), server.port
    if case in refusals:
        proxy = f"http://127.0.0.1:{serve(Proxy, server.port, refusals[case]).port}"
    elif case == "proxy down":
        proxy = f"http://127.0.0.1:{_refused_port()}"
    elif case == "refused":
        port = _refused_port()
    elif case == "bad ca file":
        (tmp_path / "ca.txt").write_text("no certificate")
        ca = str(tmp_path / "ca.txt")
    client = _probe.ProbeClient(proxy, "" if proxy else "127.0.0.1", ca, timeout=2)
    with pytest.raises(ProbeError) as caught:
        client.request(f"{HOST}:{port}", "/")
    assert isinstance(caught.value, _probe.HopError)
    assert caught.value.hop == hop
    for word in words:
        assert word in str(caught.value)


def test_dns_is_a_hop_of_its_own() -> None:
    with pytest.raises(_probe.HopError) as caught:
        _probe.ProbeClient(timeout=2).request("no-such-host.invalid", "/")
    assert caught.value.hop == "dns"


@pytest.mark.parametrize("proxy", ["https://p:1", "http://", "socks5://127.0.0.1:1", "http://127.0.0.1:port"])
def test_a_proxy_that_is_no_http_connect_proxy_is_refused_without_its_password(proxy: str) -> None:
    with pytest.raises(_probe.HopError) as caught:
        _probe.ProbeClient(proxy.replace("://", "://user:geheim@"))
    assert "gateway_auth_probe.proxy" in str(caught.value)
    assert "geheim" not in str(caught.value)


# --- waiting ---------------------------------------------------------------------------------------------------------


class Scripted:
    """Stands in for a client: a status (0: no answer) per request, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.asked: list[tuple[str, t.Mapping[str, str] | None]] = []
        self._lock = threading.Lock()

    def request(self, host: str, path: str, *, scheme: str = "https", headers: t.Mapping[str, str] | None = None) -> _probe.Answer:
        with self._lock:
            self.asked.append((path, headers))
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == 0:
            raise _probe.HopError("tcp", "Nothing listens.", "Look at gateway_auth_probe.address.")
        headers_out = [("Location", "https://app.example.test/login?token=1")] if status == 302 else []
        return _probe.Answer(status, headers_out)

    def via(self) -> str:
        return "at 127.0.0.1"


def _as_client(scripted: Scripted) -> _probe.ProbeClient:
    return t.cast("_probe.ProbeClient", scripted)


def test_wait_refused_asks_for_json_until_enough_in_a_row() -> None:
    scripted = Scripted(404, 404, 404, 404, 401, 200, 401, 401, 401)
    told: list[str] = []
    seen = _probe.wait_refused(_as_client(scripted), HOST, "/p", consecutive=6, timeout=5, on_progress=lambda _at, text: told.append(text))
    statuses = [status for _at, status in seen]
    assert statuses.count(404) == 4
    assert statuses[-6:] == [401] * 6
    assert all(headers == {"Accept": "application/json"} for _path, headers in scripted.asked)
    assert told[0].startswith("HTTP 404")
    assert told[-1] == "6 of 6 as expected"


def test_wait_refused_starts_counting_again_after_an_opening() -> None:
    scripted = Scripted(401, 401, 401, 401, 200, 401)
    seen = _probe.wait_refused(_as_client(scripted), HOST, "/p", consecutive=8, timeout=5)
    # The four before the opening don't count, nor do those of its round.
    assert len(seen) >= 4 + 4 + 8


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (200, ["HTTP 200", "SecurityPolicy isn't in effect"]),
        (302, ["HTTP 302 to https://app.example.test/login", "SecurityPolicy isn't in effect"]),
        (404, ["HTTP 404", "route isn't in Envoy yet"]),
        (403, ["HTTP 403", "headersToExtAuth"]),
        (500, ["HTTP 500", "invalid", "ReferenceGrant"]),
        (503, ["HTTP 503", "can't reach oauth2-proxy"]),
        (400, ["HTTP 400", "log"]),
        (0, ["Nothing listens", "gateway_auth_probe.address"]),
    ],
)
def test_wait_refused_gives_up_with_the_last_answer_and_a_hint(status: int, words: list[str]) -> None:
    with pytest.raises(NotReadyError) as caught:
        _probe.wait_refused(_as_client(Scripted(status)), HOST, "/p", consecutive=4, timeout=0.2)
    for word in [HOST, "/p", *words]:
        assert word in str(caught.value)
    assert "token=1" not in str(caught.value)


def _is_404(answer: _probe.Answer) -> bool:
    return answer.status == 404


def test_wait_answer_takes_as_many_in_a_row_as_there_may_be_envoys() -> None:
    seen = _probe.wait_answer(_as_client(Scripted(404, 0, 404, 302, 404)), HOST, "/", _is_404, "to be gone", consecutive=12, timeout=5)
    assert [status for _at, status in seen][-12:] == [404] * 12
    assert 0 in dict(map(reversed, seen)) and 302 in dict(map(reversed, seen))


def test_wait_answer_gives_up_with_the_last_answer() -> None:
    with pytest.raises(NotReadyError) as caught:
        _probe.wait_answer(_as_client(Scripted(404, 302)), HOST, "/", _is_404, "to be gone", consecutive=2, timeout=0.2)
    assert "to be gone" in str(caught.value)
    assert "HTTP 302" in str(caught.value)


def test_real_parallel_refusals_use_new_connections(authority: Authority, serve: t.Any) -> None:
    server = serve(Server, [_answer("404 Not Found"), REFUSAL], authority.context(HOST))
    client = _probe.ProbeClient(address="127.0.0.1", ca_file=str(authority.file))
    seen = _probe.wait_refused(client, f"{HOST}:{server.port}", "/p", consecutive=8, timeout=10)
    assert server.connections == len(seen)
    assert [status for _at, status in seen][-8:] == [401] * 8
