# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a browser does with a login, on plain http.client: cookies by the rules, redirects one by one, paths to the byte."""

from __future__ import annotations

import dataclasses
import http.client
import http.cookiejar
import ssl
import time
import typing as t
import urllib.parse

from .sandbox import LOGIN, Sandbox

MAX_HOPS = 12
TIMEOUT = 15.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclasses.dataclass
class Cookie:
    name: str
    value: str
    domain: str
    host_only: bool
    path: str
    secure: bool
    expires: float | None


class Jar:
    """RFC 6265 as far as these sites go, with the `__Host-` rule of browsers."""

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], Cookie] = {}

    def names(self, host: str) -> set[str]:
        return {cookie.name for cookie in self._matching(host, "/", secure=True)}

    def copy_to(self, other: Jar, host: str, other_host: str) -> None:
        """Carry a host's cookies to another host, as a thief would; no browser does."""
        for cookie in self._matching(host, "/", secure=True):
            other.put(dataclasses.replace(cookie, domain=other_host, host_only=True))

    def put(self, cookie: Cookie) -> None:
        self._cookies[(cookie.name, cookie.domain, cookie.path)] = cookie

    def store(self, host: str, path: str, header: str) -> None:
        first, *rest = header.split(";")
        name, _, value = first.strip().partition("=")
        attributes = {key.strip().lower(): item.strip() for key, _, item in (part.partition("=") for part in rest)}
        domain = attributes.get("domain", "").lstrip(".").lower()
        secure = "secure" in attributes
        if name.startswith("__Host-") and (domain or attributes.get("path") != "/" or not secure):
            return
        if domain and host != domain and not host.endswith(f".{domain}"):
            return
        cookie_path = attributes.get("path", "") or path.rpartition("/")[0] or "/"
        self.put(Cookie(name, value, domain or host, not domain, cookie_path, secure, _expiry(attributes)))

    def header(self, host: str, path: str, *, secure: bool) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._matching(host, path, secure=secure))

    def _matching(self, host: str, path: str, *, secure: bool) -> list[Cookie]:
        now = time.time()
        return [
            cookie
            for cookie in self._cookies.values()
            if (cookie.expires is None or cookie.expires > now)
            and (host == cookie.domain or (not cookie.host_only and host.endswith(f".{cookie.domain}")))
            and (path == cookie.path or path.startswith(cookie.path.rstrip("/") + "/"))
            and (secure or not cookie.secure)
        ]


def _expiry(attributes: dict[str, str]) -> float | None:
    if "max-age" in attributes:
        return time.time() + float(attributes["max-age"])
    if "expires" in attributes:
        moment = http.cookiejar.http2time(attributes["expires"])
        return 0.0 if moment is None else float(moment)
    return None


@dataclasses.dataclass(frozen=True)
class Hop:
    """One request and its answer."""

    url: str
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def location(self) -> str:
        return self.header("Location")

    @property
    def host(self) -> str:
        return urllib.parse.urlsplit(self.url).netloc

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


@dataclasses.dataclass(frozen=True)
class Visit:
    hops: list[Hop]

    @property
    def final(self) -> Hop:
        return self.hops[-1]

    def __str__(self) -> str:
        return "\n".join(f"{hop.status} {hop.url[:200]}" for hop in self.hops)


class Browser:
    """One user's browser: cookies live as long as it does."""

    def __init__(self, sandbox: Sandbox, user: str = "") -> None:
        self._sandbox = sandbox
        self._context = ssl.create_default_context(cafile=sandbox.ca)
        self.user = user
        self.jar = Jar()

    def get(self, url: str, headers: t.Mapping[str, str] | None = None, *, method: str = "GET") -> Hop:
        """One request; cookies are sent and kept, redirects not followed."""
        scheme, _, rest = url.partition("://")
        host, slash, tail = rest.partition("/")
        path = slash + tail if slash else "/"
        proxy_host, proxy_port = self._sandbox.proxy
        connection: http.client.HTTPConnection
        if scheme == "https":
            connection = http.client.HTTPSConnection(proxy_host, proxy_port, timeout=TIMEOUT, context=self._context)
            connection.set_tunnel(host, 443)
            target = path
        else:
            connection = http.client.HTTPConnection(proxy_host, proxy_port, timeout=TIMEOUT)
            target = url
        sent = {"Host": host, "Accept": "text/html,*/*;q=0.8", "Connection": "close", **(headers or {})}
        cookies = self.jar.header(host, path.partition("?")[0], secure=scheme == "https")
        if cookies:
            sent["Cookie"] = cookies
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            hop = Hop(url, answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()
        for name, value in hop.headers:
            if name.lower() == "set-cookie":
                self.jar.store(host, path.partition("?")[0], value)
        return hop

    def visit(self, url: str, headers: t.Mapping[str, str] | None = None) -> Visit:
        """Follow redirects to the end; at Entra the browser's user signs in (without one, its page is the end)."""
        hops: list[Hop] = []
        while len(hops) < MAX_HOPS:
            if self.user and url.startswith(f"https://{LOGIN}/") and "/oauth2/v2.0/authorize?" in url and "login_hint=" not in url:
                url = f"{url}&login_hint={self.user}@gateway-auth.test"
            hops.append(self.get(url, headers))
            if hops[-1].status not in REDIRECTS or not hops[-1].location:
                return Visit(hops)
            url = _absolute(url, hops[-1].location)
        raise AssertionError(f"no end after {MAX_HOPS} redirects:\n{Visit(hops)}")


def _absolute(base: str, location: str) -> str:
    """Without urljoin, which would tidy the path."""
    if "://" in location.partition("?")[0]:
        return location
    scheme, _, rest = base.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}{location}"
