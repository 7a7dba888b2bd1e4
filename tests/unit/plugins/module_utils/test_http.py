# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real transport against real sockets: the Entra double behind its CONNECT proxy, and a scripted server on loopback."""

from __future__ import annotations

import collections.abc
import contextlib
import http.client
import pathlib
import socket
import threading
import traceback

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _http
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import TransportError
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import HttpTransport, Response
from tests.sandbox.entra.testkit import Double, running_double

DISCOVERY = "https://login.microsoftonline.com/11111111-1111-4111-8111-111111111111/v2.0/.well-known/openid-configuration"
CANARY = "canary-5ecret"


@pytest.fixture(scope="module", name="double")
def _double(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Double]:
    with running_double(tmp_path_factory.mktemp("entra")) as double:
        yield double


@pytest.fixture(name="transport")
def _transport(double: Double) -> collections.abc.Iterator[HttpTransport]:
    with contextlib.closing(HttpTransport({"HTTPS_PROXY": double.proxy, "SSL_CERT_FILE": str(double.authority.ca)})) as transport:
        yield transport


@pytest.fixture(name="connects")
def _connects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The host of each connection made."""
    made: list[str] = []
    real = http.client.HTTPConnection.connect

    def connect(self: http.client.HTTPConnection) -> None:
        made.append(self.host)
        real(self)

    monkeypatch.setattr(http.client.HTTPConnection, "connect", connect)
    return made


class Server:
    """Plain http on loopback: each connection plays the next script, a list of answers; None hangs up in an answer's place."""

    def __init__(self, *scripts: list[bytes | None]) -> None:
        self._scripts = list(scripts)
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_unused: object) -> None:
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        for script in self._scripts:
            connection, _address = self._listener.accept()
            with connection:
                for answer in script:
                    self.requests.append(self._read(connection))
                    if answer is None:
                        break
                    connection.sendall(answer)

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                return data
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body


def answer(status: str = "200 OK", body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def send(transport: HttpTransport, url: str, method: str = "GET", body: bytes | None = None, timeout: float = 5.0) -> Response:
    return transport(method, url, {"Accept": "application/json"}, body, timeout)


# --- through a proxy, over TLS ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("proxy", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_proxy_and_trust_come_from_the_environment(double: Double, variable: str, proxy: str) -> None:
    with contextlib.closing(HttpTransport({proxy: double.proxy, variable: str(double.authority.ca)})) as transport:
        response = send(transport, DISCOVERY)
    assert response.status == 200
    assert response.headers["content-type"].startswith("application/json")
    assert b"token_endpoint" in response.body
    assert "token_endpoint" not in repr(response)


def test_connections_are_kept_and_shared_by_threads(transport: HttpTransport, connects: list[str]) -> None:
    for _round in range(3):
        thread = threading.Thread(target=send, args=(transport, DISCOVERY))
        thread.start()
        thread.join()
    assert connects == ["127.0.0.1"]


def test_an_old_idle_connection_is_not_used(transport: HttpTransport, connects: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    send(transport, DISCOVERY)
    monkeypatch.setattr(_http, "IDLE_LIMIT_S", 0.0)
    send(transport, DISCOVERY)
    assert len(connects) == 2


def test_an_untrusted_certificate_is_refused_for_good(double: Double) -> None:
    with pytest.raises(TransportError) as caught:
        send(HttpTransport({"HTTPS_PROXY": double.proxy}), DISCOVERY)
    assert (caught.value.sent, caught.value.lasting) == (False, True)
    assert "login.microsoftonline.com" in str(caught.value)
    assert "SSL_CERT_FILE" in caught.value.remedy


def test_a_proxy_that_refuses_is_named_without_its_credentials(double: Double) -> None:
    proxy = double.proxy.replace("http://", f"http://runner:{CANARY}@")
    with pytest.raises(TransportError, match="403") as caught:
        send(HttpTransport({"HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(double.authority.ca)}), "https://elsewhere.example/")
    assert not caught.value.sent
    assert "127.0.0.1" in caught.value.message
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_proxy_credentials_reach_the_proxy_and_nobody_else() -> None:
    with Server([None]) as proxy:
        environ = {"HTTPS_PROXY": proxy.url.replace("http://", f"http://runner:{CANARY}@")}
        with pytest.raises(TransportError):
            send(HttpTransport(environ), DISCOVERY)
    # base64 of runner:canary-5ecret
    assert b"Proxy-Authorization: Basic cnVubmVyOmNhbmFyeS01ZWNyZXQ=" in proxy.requests[0]
    assert proxy.requests[0].startswith(b"CONNECT login.microsoftonline.com:443 ")


@pytest.mark.parametrize(
    ("no_proxy", "host", "bypassed"),
    [
        pytest.param("", "graph.microsoft.com", False, id="none"),
        pytest.param("*", "graph.microsoft.com", True, id="everything"),
        pytest.param("graph.microsoft.com", "graph.microsoft.com", True, id="the host"),
        pytest.param("microsoft.com", "graph.microsoft.com", True, id="a domain"),
        pytest.param(" .example.com , .microsoft.com", "graph.microsoft.com", True, id="a domain with a dot, in a list"),
        pytest.param("*.microsoft.com", "graph.microsoft.com", True, id="a wildcard"),
        pytest.param("soft.com", "graph.microsoft.com", False, id="half a label"),
        pytest.param("GRAPH.Microsoft.com", "graph.microsoft.com", True, id="upper case"),
    ],
)
def test_no_proxy(no_proxy: str, host: str, bypassed: bool) -> None:
    transport = HttpTransport({"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": no_proxy})
    assert (transport._proxy(host) is None) is bypassed


@pytest.mark.parametrize("proxy", ["https://proxy.example", "socks5://proxy.example", "http://", "http://proxy.example:port", "http://[::1"])
def test_a_proxy_of_another_kind_is_refused_without_showing_it(proxy: str) -> None:
    with pytest.raises(TransportError, match="HTTPS_PROXY") as caught:
        send(HttpTransport({"HTTPS_PROXY": proxy}), DISCOVERY)
    assert caught.value.lasting


@pytest.mark.parametrize("content", [pytest.param(None, id="missing"), pytest.param("nonsense", id="not PEM")])
def test_an_unusable_ca_file_is_named(content: str | None, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(TransportError, match="SSL_CERT_FILE") as caught:
        send(HttpTransport({"SSL_CERT_FILE": str(path)}), DISCOVERY)
    assert caught.value.lasting


# --- what may be sent, and where -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://graph.microsoft.com/v1.0/me",
        "http://10.0.0.1/token",
        "ftp://graph.microsoft.com/",
        "https://",
        f"https://user:{CANARY}@graph.microsoft.com/",
        "https://graph.microsoft.com:port/",
        "https://[::1",
    ],
)
def test_no_clear_text_and_no_odd_urls(url: str, connects: list[str]) -> None:
    with pytest.raises(TransportError) as caught:
        send(HttpTransport({}), url)
    assert (caught.value.sent, caught.value.lasting) == (False, True)
    assert CANARY not in str(caught.value)
    assert not connects


@pytest.mark.parametrize("value", [f"Bearer {CANARY}\n", f"Bearer {CANARY}\u2026", f"{CANARY}\r\nX: y"])
def test_a_header_that_http_does_not_allow_is_not_quoted(value: str) -> None:
    with pytest.raises(TransportError, match="Authorization") as caught:
        HttpTransport({})("GET", DISCOVERY, {"Authorization": value}, None, 1.0)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_metadata_endpoints_are_reached_without_the_proxy() -> None:
    with Server([answer()]) as server, contextlib.closing(HttpTransport({"HTTPS_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"})) as transport:
        assert send(transport, server.url).body == b"{}"


def test_a_redirect_is_an_answer() -> None:
    with Server([answer("302 Found", b"", "Location: http://127.0.0.1:1/")]) as server, contextlib.closing(HttpTransport({})) as transport:
        response = send(transport, server.url)
    assert (response.status, response.headers["location"]) == (302, "http://127.0.0.1:1/")


def test_body_and_headers_go_out_as_given() -> None:
    with Server([answer("201 Created", b'{"id": "1"}')]) as server, contextlib.closing(HttpTransport({})) as transport:
        response = send(transport, f"{server.url}/applications(uniqueName='a%2Fb')?$select=id", "POST", b'{"a": 1}')
    assert (response.status, response.body) == (201, b'{"id": "1"}')
    assert server.requests[0].startswith(b"POST /applications(uniqueName='a%2Fb')?$select=id HTTP/1.1\r\n")
    assert server.requests[0].endswith(b'\r\n\r\n{"a": 1}')


# --- no answer -------------------------------------------------------------------------------------------------------


def test_nobody_listens_means_not_sent() -> None:
    with Server() as server:
        url = server.url
    with pytest.raises(TransportError, match="refused") as caught:
        send(HttpTransport({}), url, "POST", b"{}")
    assert (caught.value.sent, caught.value.lasting) == (False, False)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([None], id="hung up"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"], id="half a body"),
        pytest.param([b"nonsense\r\n\r\n"], id="not http"),
    ],
)
def test_a_lost_answer_may_have_been_carried_out(script: list[bytes | None]) -> None:
    with Server(script) as server, pytest.raises(TransportError) as caught:
        send(HttpTransport({}), f"{server.url}/v1.0/applications?secret={CANARY}", "POST", CANARY.encode())
    assert caught.value.sent
    assert "POST /v1.0/applications" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_late_answer_may_have_been_carried_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TransportError, match="in time") as caught:
        send(HttpTransport({}), f"http://127.0.0.1:{listener.getsockname()[1]}/", "POST", b"{}", 0.2)
    assert caught.value.sent


@pytest.mark.parametrize(
    ("method", "requests"),
    [
        pytest.param("GET", 3, id="a GET goes out again"),
        pytest.param("POST", 2, id="a POST doesn't"),
        pytest.param("PATCH", 2, id="a PATCH is the caller's to repeat"),
    ],
)
def test_a_kept_connection_that_fails(method: str, requests: int) -> None:
    with contextlib.closing(HttpTransport({})) as transport, Server([answer(), None], [answer()]) as server:
        send(transport, server.url)
        with contextlib.ExitStack() as stack:
            if method != "GET":
                stack.enter_context(pytest.raises(TransportError))
            assert send(transport, server.url, method).status == 200
        assert len(server.requests) == requests
        if method != "GET":
            send(transport, server.url)


def test_a_connection_that_its_peer_closed_is_not_used_for_a_post(connects: list[str]) -> None:
    with contextlib.closing(HttpTransport({})) as transport, Server([answer()], [answer("201 Created")]) as server:
        send(transport, server.url)
        kept = next(iter(transport._idle.values()))[0][0]
        kept.sock.settimeout(5)
        assert kept.sock.recv(1, socket.MSG_PEEK) == b""  # until the peer's end has come
        assert send(transport, server.url, "POST", b"{}").status == 201
    assert len(connects) == 2


def test_a_connection_is_not_kept_when_the_peer_says_close(connects: list[str]) -> None:
    with contextlib.closing(HttpTransport({})) as transport, Server([answer("200 OK", b"{}", "Connection: close")], [answer()]) as server:
        send(transport, server.url)
        send(transport, server.url)
    assert len(connects) == 2


def test_each_request_has_its_own_timeout() -> None:
    silence = threading.Event()

    class Silent(Server):
        def _read(self, connection: socket.socket) -> bytes:  # type: ignore[override]
            if self.requests:
                silence.wait(5)
            return Server._read(connection)

    with contextlib.closing(HttpTransport({})) as transport, Silent([answer(), None]) as server:
        send(transport, server.url, timeout=30.0)
        with pytest.raises(TransportError, match="in time"):
            send(transport, server.url, "POST", b"{}", timeout=0.2)
        silence.set()


def test_an_endless_body_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "BODY_LIMIT", 10)
    with Server([answer("200 OK", b"x" * 11)]) as server, pytest.raises(TransportError, match="larger") as caught:
        send(HttpTransport({}), server.url)
    assert caught.value.lasting
