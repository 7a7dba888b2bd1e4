# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attacks that need no session and no double: also those of ``make attack ATTACK_URL=…`` on a gateway elsewhere."""

from __future__ import annotations

import base64
import collections
import collections.abc
import json
import os
import random
import shutil
import subprocess
import time
import urllib.parse

import pytest

from .cast import CANARY
from .conftest import Tally
from .target import MARKERS, OPEN, Target, telling
from .wire import NOTHING, Answer, exchange, head, in_parallel

Header = tuple[str, str]
HTML, JSON = ("Accept", "text/html"), ("Accept", "application/json")
# What oauth2-proxy answers with 200 to anybody, on its own paths: as paths of the app they must be closed.
OWN_PATHS = ("/ping", "/ready", "/robots.txt", "/oauth2x", "/oauth2x/static/css/bulma.min.css", "/OAUTH2/sign_in", "/oauth2%2fsign_in", "/healthz", "/metrics")
USUAL_PATHS = ("/", "/graph", "/api/v1/query?query=up", "/-/healthy", "/-/ready", "/favicon.ico", "/.well-known/security.txt", "/static/app.js", "/index.html")
# fmt: off
TRICKS = (
    *("//", "//graph", "///graph", "/./graph", "/graph/.", "/graph/..", "/x/../graph", "/../graph", "/../../graph", "/.", "/..", "/...", "/%2e", "/%2e%2e/graph"),
    *("/oauth2/../graph", "/oauth2/../", "/oauth2/..", "/oauth2/%2e%2e/graph", "/oauth2/.%2e/graph", "/oauth2/%2e./graph", "/oauth2/..%2fgraph", "/oauth2/%2e%2e%2fgraph"),
    *("/oauth2/static/../../graph", "/oauth2/static/..%2f..%2fgraph", "/oauth2//../graph", "/oauth2/./../graph", "/oauth2/..//graph", "/oauth2\\..\\graph"),
    *("/oauth2/..%5cgraph", "/oauth2%5c..%5cgraph", "/oauth2;/../graph", "/oauth2;x=1/../graph", "/oauth2/..;/graph", "/oauth2/%252e%252e/graph", "/oauth2/..%252fgraph"),
    *("/oauth2/x/../../graph", "/oauth2/sign_in/../../graph", "/oauth2/auth/../../graph", "/oauth2%20/../graph", "/oauth2%00/../graph", "/oauth2/%00/../../graph"),
    *("/graph;", "/graph;x=1", "/;/oauth2/", "/;/graph", "/graph%3b", "/graph%3f", "/graph%23", "/graph#", "/graph#/oauth2/static/", "/graph?#/oauth2/", "/graph?/oauth2/"),
    *("/%2f", "/%2fgraph", "/%2F%2Fgraph", "/%5c", "/%5cgraph", "/\\graph", "/%2foauth2/..%2fgraph", "/graph%00", "/graph%00/oauth2/", "/graph%0d%0aX-Auth-Request-User:%20x"),
    *("/graph%20", "/graph%09", "/%c0%ae%c0%ae/graph", "/%c0%afgraph", "/%e0%80%afgraph", "/gr\u00e4ph", "/\uff0e\uff0e/graph", "/%u002e%u002e/graph", "/%", "/%zz", "/%2", "/?%zz"),
    *("/?rd=https://evil.example.com/", "/?rd=/&allowed_groups=*", "/?allowed_emails=*", "/?allowed_email_domains=*", "/graph?x=1&rd=//evil.example.com", "/?;=;", "/?a;b"),
    *("/.gateway-auth/probe", "/.gateway-auth/probe/", "/.gateway-auth/probe/x", "/.gateway-auth/../graph", "/.gateway-auth/probe/../../graph", "/.gateway-auth/sign-out/../../graph"),
    *("/.gateway-auth/probe%2f..%2f..%2fgraph", "/.gateway-auth/sign-out/x", "/.gateway-auth/nobody", "/.GATEWAY-AUTH/sign-out", "/.gateway-auth/probe;x", "/.gateway-auth"),
    *(f"/graph?{'x' * 4000}", f"/{'a' * 4000}", f"/{'a/' * 6000}", f"/oauth2/{'../' * 2000}graph", f"/{'%2e%2e/' * 2000}graph", f"/{'a' * 70000}", f"/?{'b=1&' * 20000}"),
)
METHODS = (
    *("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "COPY", "MOVE", "LOCK", "SEARCH", "PURGE", "DEBUG", "TRACK", "REPORT"),
    *("BASELINE-CONTROL", "MKACTIVITY", "FOO", "get", "Get", "GET\u00a0", "G ET", "PRI", "CONNECT", "QUERY", "X" * 300),
)
# fmt: on
OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Forwarded-Method", "X-Original-Method")
# fmt: off
IDENTITY = (
    *("X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Access-Token", "X-Auth-Request-Role"),
    *("X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token", "X-Forwarded-Client-Cert"),
    *("Remote-User", "Remote-Email", "Remote-Groups", "Remote-Name", "X-Remote-User", "X-Remote-Group", "X-WEBAUTH-USER", "X-WEBAUTH-ROLE", "X-User", "X-Username"),
    *("X-Authenticated-User", "X-Forwarded-Auth", "SSL-Client-Verify", "X-SSL-Client-Dn", "X-Ms-Client-Principal", "X-Ms-Client-Principal-Name", "X-Ms-Token-Aad-Id-Token"),
)
WHERE = (
    *("X-Forwarded-Uri", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-Path", "X-Forwarded-Port", "X-Forwarded-For", "X-Forwarded-Method"),
    *("X-Original-URL", "X-Original-Uri", "X-Original-Host", "X-Rewrite-URL", "X-Envoy-Original-Path", "X-Envoy-Internal", "X-Envoy-External-Address", "X-Envoy-Decorator-Operation"),
    *("X-Host", "X-Forwarded-Server", "X-Real-IP", "X-Client-IP", "True-Client-IP", "Forwarded", "X-ProxyUser-Ip", "X-Custom-IP-Authorization", "X-Auth-Request-Redirect", "Via"),
)
# fmt: on
PLACES = (
    "/oauth2/static/css/bulma.min.css",
    "/ping",
    "/robots.txt",
    "https://evil.example.com/",
    "127.0.0.1",
    "localhost",
    "true",
    "https",
    "host=evil.example.com;proto=https",
)
SEED = int(os.environ.get("ATTACK_SEED") or time.time_ns() % 100_000)
MUTATIONS = int(os.environ.get("ATTACK_MUTATIONS") or 240)
SIGNS_IN = frozenset({"sign-in", "refused"})


def asks_for_a_login(target: Target) -> None:
    """Otherwise nothing else can be told of it."""
    answer = target.get("/")
    assert target.judge(answer) in SIGNS_IN, f"expected a redirect to a sign-in or 401, got {telling(answer)}"


def volley(target: Target, tally: Tally, shots: collections.abc.Mapping[str, collections.abc.Callable[[], Answer]]) -> collections.Counter[str]:
    """Fire every shot; none may be answered by the app. What was seen of the doors, by kind."""
    asks_for_a_login(target)
    names = list(shots)
    answers = in_parallel(lambda name: shots[name](), names)
    kinds = in_parallel(target.judge, answers)
    opened = {name: telling(answer) for name, answer, kind in zip(names, answers, kinds, strict=True) if kind == OPEN and not _public(target, name)}
    assert opened == {}
    tally.add(len(names))
    return collections.Counter(kinds)


def _public(target: Target, name: str) -> bool:
    return any(name.partition(" ")[2].startswith(path) for path in target.public)


@pytest.mark.attack("paths")
@pytest.mark.parametrize("accept", [HTML, JSON], ids=["browser", "program"])
def test_no_path_leads_past_the_login(target: Target, tally: Tally, accept: Header) -> None:
    shots = {f"GET {path[:200]}": lambda path=path: target.ask(head("GET", path, target.host, accept)) for path in (*OWN_PATHS, *USUAL_PATHS, *TRICKS)}
    kinds = volley(target, tally, shots)
    assert kinds["sign-in"] + kinds["refused"] > len(shots) / 2, kinds


@pytest.mark.attack("paths")
def test_no_absolute_target_leads_past_the_login(target: Target, tally: Tally) -> None:
    host = target.host
    targets = (
        *(f"http://{host}/graph", f"https://{host}/graph", f"https://{host}:443/graph", f"https://{host}/oauth2/../graph", f"https://user:pass@{host}/graph"),
        *(f"https://evil.example.com@{host}/", "https://evil.example.com/graph", "http://localhost/graph", "http://127.0.0.1:8080/", "https://[::1]/graph"),
        *(
            f"https://{host.upper()}/graph",
            f"https://{host}./graph",
            f"https://{host}",
            f"//{host}/graph",
            "*",
            "graph",
            "",
            "?x=1",
            "#",
            f"https://{host}/graph#/oauth2/",
        ),
        *("ftp://x/graph", "file:///etc/passwd", f"wss://{host}/graph", "https://", "http:///graph", f"{host}:443"),
    )
    shots = {
        f"{method} {goal}": lambda method=method, goal=goal: target.ask(head(method, goal, host, HTML)) for goal in targets for method in ("GET", "OPTIONS")
    }
    volley(target, tally, shots)


@pytest.mark.attack("methods")
def test_no_method_leads_past_the_login(target: Target, tally: Tally) -> None:
    shots: dict[str, collections.abc.Callable[[], Answer]] = {}
    for method in METHODS:
        for path in ("/", "/graph", "/oauth2/../graph"):
            shots[f"{method} {path}"] = lambda method=method, path=path: target.ask(head(method, path, target.host, HTML), to_head=method == "HEAD")
        if method not in ("HEAD", "CONNECT"):
            body = b"rd=/&allowed_groups=*"
            long = head(method, "/", target.host, HTML, ("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", str(len(body)))) + body
            shots[f"{method} with a body"] = lambda long=long: target.ask(long)
    for goal in (f"{target.host}:443", "127.0.0.1:8080", "localhost:9090", "kubernetes.default.svc:443"):
        shots[f"CONNECT {goal}"] = lambda goal=goal: target.ask(head("CONNECT", goal, goal))
    for name in OVERRIDES:
        for method in ("OPTIONS", "HEAD", "TRACE"):
            shots[f"{name}: {method}"] = lambda name=name, method=method: target.get("/graph", (name, method))
    volley(target, tally, shots)


@pytest.mark.attack("methods")
def test_a_preflight_request_is_not_let_through(target: Target, tally: Tally) -> None:
    shots = {}
    for origin in ("https://evil.example.com", f"https://{target.host}", "null"):
        for wanted in ("GET", "POST", "DELETE"):
            headers = (("Origin", origin), ("Access-Control-Request-Method", wanted), ("Access-Control-Request-Headers", "authorization,cookie"))
            shots[f"{origin} {wanted}"] = lambda headers=headers: target.ask(head("OPTIONS", "/api/v1/query", target.host, HTML, *headers))
    volley(target, tally, shots)
    told = target.ask(head("OPTIONS", "/", target.host, HTML, ("Origin", "https://evil.example.com"), ("Access-Control-Request-Method", "GET")))
    assert told.header("Access-Control-Allow-Origin") in ("", f"https://{target.host}")


def spellings(name: str) -> list[str]:
    """One header's name as clients and frameworks may write it."""
    swapped = "".join(letter.upper() if index % 2 else letter.lower() for index, letter in enumerate(name))
    return list(dict.fromkeys([name, name.lower(), name.upper(), swapped, name.replace("-", "_"), name.replace("-", "_", 1), f"{name} ", f"\t{name}"]))


@pytest.mark.attack("anonymous-headers")
@pytest.mark.parametrize("accept", [HTML, JSON], ids=["browser", "program"])
def test_no_header_opens_a_door(target: Target, tally: Tally, accept: Header) -> None:
    shots = {}
    for name in IDENTITY:
        for spelling in spellings(name):
            shots[f"{spelling!r}"] = lambda spelling=spelling: target.ask(head("GET", "/graph", target.host, accept, (spelling, CANARY)))
    for name in WHERE:
        for place in PLACES:
            shots[f"{name}: {place}"] = lambda name=name, place=place: target.ask(head("GET", "/graph", target.host, accept, (name, place)))
    everything = [(name, CANARY) for name in IDENTITY] + [(name, PLACES[0]) for name in WHERE]
    shots["all at once"] = lambda: target.ask(head("GET", "/graph", target.host, accept, *everything))
    shots["each twice"] = lambda: target.ask(head("GET", "/graph", target.host, accept, *everything, *everything))
    volley(target, tally, shots)


@pytest.mark.attack("anonymous-headers")
def test_no_header_sends_the_sign_in_elsewhere(target: Target, tally: Tally) -> None:
    """Neither the callback nor what is kept for afterwards may be of the client's making."""
    tried = 0
    for name in (*WHERE, "X-Forwarded-Host", "X-Forwarded-Uri", "X-Auth-Request-Redirect", "Referer", "Origin"):
        for place in ("evil.example.com", "https://evil.example.com/x"):
            answer = target.get("/graph?x=1", (name, place))
            tried += 1
            if target.judge(answer) == "sign-in":
                asked = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.header("Location")).query)
                state = asked.get("state", [""])[0]
                text = " ".join(
                    [answer.header("Location"), *(_decoded(part) for part in (state, *state.split(":"), *state.split("."))), *answer.all("Set-Cookie")]
                )
                assert "evil" not in urllib.parse.unquote(text), (name, place, text)
                assert urllib.parse.urlsplit(asked["redirect_uri"][0]).hostname == target.host or not target.known
    tally.add(tried)


def _decoded(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("latin-1")
    except ValueError:
        return ""


def _token(algorithm: str, **claims: object) -> str:
    """A token that nobody in authority signed."""

    def part(data: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    now = int(time.time())
    body = {"iss": "https://login.microsoftonline.com/11111111-1111-4111-8111-111111111111/v2.0", "sub": "x", "iat": now, "exp": now + 3600, **claims}
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(body)}.{'' if algorithm == 'none' else 'AAAA'}"


@pytest.mark.attack("credentials")
def test_no_credential_of_ones_own_making_opens_a_door(target: Target, tally: Tally) -> None:
    groups = {"groups": ["5f0c0c7e-0000-4000-8000-0000000000a1", "5f0c0c7e-0000-4000-8000-0000000000ad"], "email": "alice@gateway-auth.test"}
    tokens = [_token(algorithm, aud=audience, **groups) for algorithm in ("none", "None", "HS256", "RS256") for audience in ("team-a", "*", "")]
    basics = [base64.b64encode(text.encode()).decode() for text in ("admin:admin", "alice:", ":", "admin:\u00e4", "alice@gateway-auth.test:x")]
    authorizations = [
        *(f"{scheme} {token}" for scheme in ("Bearer", "bearer", "BEARER", "Token", "JWT") for token in tokens),
        *(f"Basic {text}" for text in basics),
        *(
            "Bearer",
            "Bearer ",
            "Basic",
            "Basic !!!",
            "Negotiate AAAA",
            "NTLM AAAA",
            'Digest username="admin"',
            "AWS4-HMAC-SHA256 x",
            "Bearer null",
            "Bearer undefined",
            f"Bearer {'a' * 20000}",
        ),
    ]
    names = ("__Host-o2p-team-a", "__Host-o2p-team-b", "__Host-o2p", "_oauth2_proxy", "_oauth2_proxy_0", "__Host-o2p-team-a_0", "session", "ESTSAUTH")
    values = ("", "x", "null", "..", "a|b|c", f"{'A' * 43}|{int(time.time())}|{'A' * 43}", "v2.AAAA.AAAA|1|AAAA", "A" * 4000, '"', "%00", "\u00e4", *tokens[:3])
    shots = {f"Authorization: {text[:60]}": lambda text=text: target.get("/graph", ("Authorization", text)) for text in authorizations}
    shots |= {f"{name}={value[:40]}": lambda name=name, value=value: target.get("/graph", ("Cookie", f"{name}={value}")) for name in names for value in values}
    shots["a thousand cookies"] = lambda: target.get("/graph", ("Cookie", "; ".join(f"__Host-o2p-team-a_{number}=x" for number in range(1000))))
    shots["a large cookie"] = lambda: target.get("/graph", ("Cookie", f"__Host-o2p-team-a={'A' * 50000}"))
    shots["several Cookie headers"] = lambda: target.get("/graph", *(("Cookie", f"__Host-o2p-team-a={number}") for number in range(20)))
    volley(target, tally, shots)


@pytest.mark.attack("protocol")
def test_no_version_or_upgrade_leads_past_the_login(target: Target, tally: Tally) -> None:
    host = target.host
    websocket = (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
    h2c = (("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__"))
    plain = {
        "HTTP/1.0": head("GET", "/graph", host, HTML, version="HTTP/1.0"),
        "HTTP/1.0 without a Host": b"GET /graph HTTP/1.0\r\n\r\n",
        "HTTP/0.9": b"GET /graph\r\n\r\n",
        "HTTP/1.1 without a Host": b"GET /graph HTTP/1.1\r\nConnection: close\r\n\r\n",
        "HTTP/1.2": head("GET", "/graph", host, HTML, version="HTTP/1.2"),
        "HTTP/3.0": head("GET", "/graph", host, HTML, version="HTTP/3.0"),
        "HTTP/2.0 in words": head("GET", "/graph", host, HTML, version="HTTP/2.0"),
        "no version": head("GET", "/graph", host, HTML, version=""),
        "a WebSocket": head("GET", "/graph", host, *websocket, close=False),
        "a WebSocket by POST": head("POST", "/graph", host, *websocket, close=False),
        "a WebSocket on the proxy's path": head("GET", "/oauth2/../graph", host, *websocket, close=False),
        "h2c": head("GET", "/graph", host, *h2c, close=False),
        "another upgrade": head("GET", "/graph", host, ("Connection", "Upgrade"), ("Upgrade", "tls/1.2"), close=False),
        "an upgrade to nothing": head("GET", "/graph", host, ("Connection", "Upgrade"), close=False),
        "Connection names the redirect header": head("GET", "/graph", host, HTML, ("Connection", "close, X-Auth-Request-Redirect, Cookie"), close=False),
        "Expect": head("GET", "/graph", host, HTML, ("Expect", "100-continue")),
        "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]),
        "an empty line first": b"\r\n\r\n" + head("GET", "/graph", host, HTML),
        "line feeds alone": head("GET", "/graph", host, HTML).replace(b"\r\n", b"\n"),
        "a tab in the request line": head("GET", "/graph", host, HTML).replace(b" ", b"\t", 2),
        "two spaces in the request line": head("GET", "/graph", host, HTML).replace(b" ", b"  ", 1),
        "a header without a colon": head("GET", "/graph", host, HTML).replace(b"\r\n\r\n", b"\r\nX-Auth-Request-User\r\n\r\n"),
        "a header without a name": head("GET", "/graph", host, HTML).replace(b"\r\n\r\n", b"\r\n: x\r\n\r\n"),
        "a NUL in a header": head("GET", "/graph", host, HTML, ("X-A", "a\x00b")),
        "noise": bytes(range(256)) * 8 + b"\r\n\r\n",
    }
    volley(target, tally, {name: lambda raw=raw: target.ask(raw) for name, raw in plain.items()})


@pytest.mark.attack("protocol")
def test_http_2_is_no_way_past_the_login(target: Target, tally: Tally) -> None:
    """By curl, whose HTTP/2 is another one than ours; ``:authority`` and ``:path`` come from its options."""
    assert shutil.which("curl"), "curl isn't there: make deps"
    proxy = ["--proxy", f"http://{target.door.proxy[0]}:{target.door.proxy[1]}"] if target.door.proxy else []
    ca = ["--cacert", target.door.ca] if target.door.ca else []
    tries = {
        "plain": ["/graph"],
        "path as is": ["--path-as-is", "/oauth2/../graph"],
        "another target": ["--request-target", "/oauth2/..%2fgraph", "/"],
        "absolute target": ["--request-target", f"https://{target.host}/graph", "/"],
        "a target that is none": ["--request-target", "graph", "/"],
        "TRACE": ["-X", "TRACE", "/graph"],
        "unknown method": ["-X", "FOO", "/graph"],
        "another authority": ["-H", "Host: localhost", "/graph"],
        "forged identity": ["-H", "x-auth-request-user: forged", "-H", "x-auth-request-groups: forged", "/graph"],
        "a length and no body": ["-X", "POST", "-H", "content-length: 5", "/graph"],
        "transfer-encoding": ["-H", "transfer-encoding: chunked", "/graph"],
        "connection": ["-H", "connection: keep-alive, x-auth-request-redirect", "/graph"],
    }

    def fetch(options: list[str]) -> tuple[str, Answer]:
        *more, path = options
        command = [
            "curl",
            "-sS",
            "-i",
            "--http2",
            "--suppress-connect-headers",
            "-m",
            "12",
            "-w",
            "\n%{http_version}",
            *proxy,
            *ca,
            *more,
            f"https://{target.host}{path}",
        ]
        done = subprocess.run(command, capture_output=True, check=False)
        text, _, version = done.stdout.rpartition(b"\n")
        top, _, body = text.partition(b"\r\n\r\n")
        lines = top.decode("latin-1").split("\r\n")
        if done.returncode or not lines[0].startswith("HTTP/"):
            return version.decode(), NOTHING
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:]))
        return version.decode(), Answer(int(lines[0].split()[1]), headers, body)

    answers = dict(zip(tries, in_parallel(fetch, tries.values()), strict=True))
    assert {name: telling(answer) for name, (_version, answer) in answers.items() if target.judge(answer) == OPEN} == {}
    if target.known:
        assert answers["plain"][0] == "2", "HTTP/2 wasn't spoken at all"
        assert target.judge(answers["plain"][1]) == "sign-in"
    tally.add(len(tries))


@pytest.mark.attack("smuggling")
def test_no_second_request_is_smuggled_in(target: Target, tally: Tally) -> None:
    """Whatever the two sides take for a request's end, no answer on the connection may be the app's."""
    host = target.host
    second = head("GET", "/graph?smuggled=1", host, HTML)
    form = ("Content-Type", "application/x-www-form-urlencoded")

    def shape(*headers: Header, body: bytes, method: str = "POST", path: str = "/") -> bytes:
        return head(method, path, host, HTML, form, *headers, close=False) + body

    zero, length = b"0\r\n\r\n" + second, str(len(second))
    whole = str(len(b"0\r\n\r\n" + second))
    chunked = f"{len(second):x}\r\n".encode() + second + b"\r\n0\r\n\r\n"
    shapes = {
        "CL.TE": shape(("Content-Length", whole), ("Transfer-Encoding", "chunked"), body=zero),
        "TE.CL": shape(("Transfer-Encoding", "chunked"), ("Content-Length", "4"), body=chunked),
        "TE.TE": shape(("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity"), ("Content-Length", whole), body=zero),
        "TE in disguise": shape(("Content-Length", whole), ("Transfer-Encoding", "xchunked"), body=zero),
        "TE with a space before the colon": shape(("Content-Length", whole), ("Transfer-Encoding ", "chunked"), body=zero),
        "TE after a tab": shape(("Content-Length", whole), ("Transfer-Encoding", "\tchunked"), body=zero),
        "TE with a vertical tab": shape(("Content-Length", whole), ("Transfer-Encoding", "\x0bchunked"), body=zero),
        "TE in capitals": shape(("Content-Length", whole), ("TRANSFER-ENCODING", "CHUNKED"), body=zero),
        "TE twice in one": shape(("Content-Length", whole), ("Transfer-Encoding", "chunked, chunked"), body=zero),
        "TE on the next line": shape(("Content-Length", whole), ("Transfer-Encoding", "\r\n chunked"), body=zero),
        "TE behind a line feed": shape(("Content-Length", whole), ("X", "x\nTransfer-Encoding: chunked"), body=zero),
        "two lengths": shape(("Content-Length", "0"), ("Content-Length", length), body=second),
        "two lengths in one": shape(("Content-Length", f"0, {length}"), body=second),
        "a length with a sign": shape(("Content-Length", f"+{length}"), body=second),
        "a negative length": shape(("Content-Length", "-1"), body=second),
        "a length in hexadecimal": shape(("Content-Length", f"0x{len(second):x}"), body=second),
        "a huge length": shape(("Content-Length", "99999999999999999999"), body=second),
        "a length with a space": shape(("Content-Length", "0 0"), body=second),
        "obs-fold": shape(("X-A", "a\r\n X-Auth-Request-User: forged"), ("Content-Length", "0"), body=second),
        "a GET with a body": shape(("Content-Length", length), body=second, method="GET"),
        "a GET with a chunked body": shape(("Transfer-Encoding", "chunked"), body=chunked, method="GET"),
        "a body on the proxy's path": shape(("Content-Length", length), body=second, path="/oauth2/sign_in"),
        "CL.TE on the proxy's path": shape(("Content-Length", whole), ("Transfer-Encoding", "chunked"), body=zero, path="/oauth2/sign_in"),
        "TE.CL on the proxy's path": shape(("Transfer-Encoding", "chunked"), ("Content-Length", "4"), body=chunked, path="/oauth2/sign_in"),
        "a chunk size that overflows": shape(("Transfer-Encoding", "chunked"), body=b"fffffffffffffffff\r\n" + second),
        "a chunk extension": shape(("Transfer-Encoding", "chunked"), body=b'0;x="\r\n"\r\n\r\n' + second),
        "a trailer": shape(("Transfer-Encoding", "chunked"), ("Trailer", "X-Auth-Request-User"), body=b"0\r\nX-Auth-Request-User: forged\r\n\r\n" + second),
        "an upgrade that fails": shape(
            ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "777"), ("Sec-WebSocket-Key", "AAAA"), body=second, method="GET"
        ),
        "two requests in one go": head("GET", "/", host, HTML, close=False) + second,
        "a request behind HEAD": head("HEAD", "/oauth2/sign_in", host, HTML, close=False) + second,
    }

    def fire(raw: bytes) -> list[Answer]:
        with target.door.secure(host) as connection:
            return exchange(connection, raw, linger=0.6)

    asks_for_a_login(target)
    answers = dict(zip(shapes, in_parallel(fire, shapes.values()), strict=True))
    # The proxy's own page is what the first request asked for where it went there; anything after it is judged like all.
    own = {"a body on the proxy's path", "CL.TE on the proxy's path", "TE.CL on the proxy's path", "a request behind HEAD"}
    judged = {name: [answer for number, answer in enumerate(found) if number or name not in own] for name, found in answers.items()}
    assert {name: [telling(answer) for answer in found] for name, found in judged.items() if any(target.judge(answer) == OPEN for answer in found)} == {}
    assert not [name for name in own for answer in answers[name] if any(mark in answer.body for mark in (b'"pod"', b"<title>Prometheus"))]
    tally.add(len(shapes))


# What mutations put in, beside single bytes.
PIECES = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\x00",
        b" ",
        b"\t",
        b":",
        b";",
        b"/",
        b"//",
        b"..",
        b"/../",
        b"%2e%2e/",
        b"%2f",
        b"%00",
        b"#",
        b"?",
        b"\\",
        b"\xc0\xae",
        b"\xff",
    ),
    *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n", b"\r\n\r\n"),
    *(
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        b"Host: localhost\r\n",
        b"X-Auth-Request-User: forged\r\n",
        b"GET /graph HTTP/1.1\r\n",
        b"HTTP/1.0",
        b"OPTIONS",
        b"/oauth2/",
    ),
)


def mutate(chance: random.Random, raw: bytes) -> bytes:
    """The request with one to four things done to it."""
    data = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        end = min(len(data), place + chance.randint(1, 24))
        what = chance.randrange(6)
        if what == 0:
            data[place:place] = chance.choice(PIECES)
        elif what == 1:
            del data[place:end]
        elif what == 2:
            data[end:end] = data[place:end] * chance.randint(1, 3)
        elif what == 3:
            data[place:end] = bytes(data[place:end]).swapcase()
        elif what == 4:
            data[place:end] = bytes(chance.randrange(256) for _ in range(end - place))
        else:
            data[place:end] = chance.choice(PIECES)
    return bytes(data)


@pytest.mark.attack("mutated")
def test_no_mutated_request_is_answered_by_the_app(target: Target, tally: Tally) -> None:
    print(f"ATTACK_SEED={SEED} ATTACK_MUTATIONS={MUTATIONS}")
    chance = random.Random(SEED)
    body = (("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "7"))
    bases = [
        head("GET", "/graph?x=1", target.host, HTML),
        head("POST", "/api/x", target.host, JSON, *body, close=False) + b"a=1&b=2" + head("GET", "/graph", target.host, HTML),
        head("POST", "/x", target.host, HTML, ("Transfer-Encoding", "chunked"), close=False)
        + b"3\r\nabc\r\n0\r\n\r\n"
        + head("GET", "/graph", target.host, HTML),
        head("GET", "/a/../graph", target.host, HTML, ("Cookie", "__Host-o2p-team-a=x"), ("Authorization", "Bearer x")),
    ]
    shots = [mutate(chance, chance.choice(bases)) for _ in range(MUTATIONS)]

    def fire(raw: bytes) -> list[Answer]:
        with target.door.secure(target.host) as connection:
            return exchange(connection, raw, linger=0.1, wait=0.8)

    opened = {}
    for raw, answers in zip(shots, in_parallel(fire, shots), strict=True):
        for answer in answers:
            # By chance a path may be one of the proxy's own pages: on the sandbox only what the app says counts.
            found = any(marker in answer.body for marker in MARKERS) if target.known else 200 <= answer.status < 300
            if found:
                opened[raw] = telling(answer)
    assert opened == {}
    tally.add(MUTATIONS)


@pytest.mark.attack("host-confusion")
def test_a_host_is_guarded_under_every_spelling_of_it(target: Target, tally: Tally) -> None:
    host = target.host
    names = (
        *(
            host.upper(),
            f"{host}:443",
            f"{host}:80",
            f"{host}:8443",
            f"{host}.",
            f"{host}:",
            f" {host}",
            f"{host} ",
            f"user@{host}",
            f"{host}/graph",
            f"{host}#x",
            f"{host}?x",
        ),
        *(
            "localhost",
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]",
            "*",
            "",
            "evil.example.com",
            f"evil.example.com, {host}",
            f"{host}, evil.example.com",
            f"{host}\x00.evil.example.com",
        ),
        *("kubernetes.default.svc", f"x.{host}", host.partition(".")[2], f"*.{host.partition('.')[2]}", f"{host}%00", f"{host}\\evil", "\u00e4.example.com"),
    )
    shots = {f"Host: {name!r}": lambda name=name: target.ask(head("GET", "/graph", name, HTML)) for name in names}
    shots["two Hosts"] = lambda: target.ask(head("GET", "/graph", host, HTML, ("Host", "localhost")))
    shots["two Hosts, ours last"] = lambda: target.ask(head("GET", "/graph", "localhost", HTML, ("Host", host)))
    shots["target and Host apart"] = lambda: target.ask(head("GET", f"https://{host}/graph", "localhost", HTML))
    volley(target, tally, shots)


@pytest.mark.attack("plain-http")
def test_plain_http_serves_nothing(target: Target, tally: Tally) -> None:
    """Not the app, not its sign-in (whose cookie would travel in clear text): a redirect to HTTPS, or nothing."""
    shots = [
        ("GET", path, host)
        for path in ("/", "/graph", "/oauth2/start", "/oauth2/../graph", "/oauth2/callback?code=x&state=y", "//graph")
        for host in (target.host, target.host.upper(), f"{target.host}:80")
    ]
    shots += [(method, "/graph", target.host) for method in ("POST", "PUT", "HEAD", "OPTIONS", "TRACE", "FOO")]

    def fire(shot: tuple[str, str, str]) -> Answer:
        method, path, host = shot
        if target.known or target.door.proxy:
            # As a client of a forward proxy does; on the way to port 80 it is a request like any other.
            with target.door.reach_proxy() as connection:
                return exchange(connection, head(method, f"http://{host}{path}", host, HTML), to_head=method == "HEAD")[0]
        with target.door.reach(target.host, 80) as connection:
            return exchange(connection, head(method, path, host, HTML), to_head=method == "HEAD")[0]

    answers = in_parallel(fire, shots)
    for shot, answer in zip(shots, answers, strict=True):
        place = urllib.parse.urlsplit(answer.header("Location"))
        moved = answer.status in (301, 307, 308) and (place.scheme == "https" or not place.scheme) and place.hostname in (target.host, None)
        assert moved or (answer.status in (0, 400, 403, 404, 405, 421, 426, 501) and len(answer.body) < 500), (shot, telling(answer))
        assert answer.all("Set-Cookie") == []
    tally.add(len(shots))


@pytest.mark.attack("paths")
def test_the_door_is_one_that_asks_for_a_login(target: Target, tally: Tally) -> None:
    asks_for_a_login(target)
    tally.add()
