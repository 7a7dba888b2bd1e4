# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users at work: logged-in browsers that keep asking an app, and every answer that isn't the app's is a failure."""

from __future__ import annotations

import collections
import dataclasses
import http.client
import ssl
import threading
import time
import typing as t

from .login import Browser
from .sandbox import Sandbox

TIMEOUT = 10.0


@dataclasses.dataclass(frozen=True)
class Failure:
    at: float
    user: str
    what: str


class Load:
    """``with Load(sandbox, host, browsers) as load: …`` asks at ``rate`` requests a second, all users together, until the block ends.

    Each user has two lanes: one keeps its connection, one opens a new one for each request. They never sign in again.
    """

    def __init__(self, sandbox: Sandbox, host: str, browsers: t.Sequence[Browser], *, path: str = "/load", rate: float = 30.0) -> None:
        self._proxy = sandbox.proxy
        self._context = ssl.create_default_context(cafile=sandbox.ca)
        self._host = host
        self._path = path
        self._users = list(browsers)
        self._pause = 2 * len(self._users) / rate
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.counts: collections.Counter[int] = collections.Counter()
        self.failures: list[Failure] = []
        self.start = 0.0
        self.seconds = 0.0
        lanes = [(user, kept) for user in self._users for kept in (True, False)]
        self._threads = [threading.Thread(target=self._run, args=lane, daemon=True) for lane in lanes]

    def __enter__(self) -> Load:
        self.start = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(3 * TIMEOUT)
        self.seconds = time.monotonic() - self.start

    @property
    def total(self) -> int:
        return sum(self.counts.values()) + sum(failure.what.startswith("no answer") for failure in self.failures)

    @property
    def rate(self) -> float:
        return self.total / max(self.seconds, 0.001)

    def report(self) -> str:
        lines = [f"{self._host}: {self.total} requests, {self.rate:.0f} a second over {self.seconds:.1f} s: {dict(self.counts)}"]
        lines += [f"at {failure.at:.2f} s {failure.user}: {failure.what}" for failure in self.failures[:20]]
        return "\n".join(lines)

    # --- a lane -----------------------------------------------------------------------------------------------------------
    def _run(self, browser: Browser, kept: bool) -> None:
        connection: http.client.HTTPSConnection | None = None
        due = time.monotonic()
        while not self._ended.is_set():
            due = max(due + self._pause, time.monotonic() - 1)
            if connection is None:
                connection = http.client.HTTPSConnection(*self._proxy, timeout=TIMEOUT, context=self._context)
                connection.set_tunnel(self._host, 443)
            if not self._ask(connection, browser) or not kept:
                connection.close()
                connection = None
            self._ended.wait(max(0.0, due - time.monotonic()))
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPSConnection, browser: Browser) -> bool:
        headers = {"Accept": "text/html", "Cookie": browser.jar.header(self._host, "/", secure=True)}
        try:
            connection.request("GET", self._path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            self._fail(browser, f"no answer: {type(exc).__name__}: {exc}")
            return False
        with self._lock:
            self.counts[answer.status] += 1
        if answer.status != 200 or b"/load" not in body:
            self._fail(browser, f"HTTP {answer.status} {answer.getheader('Location', '')[:80]}")
        return not answer.will_close

    def _fail(self, browser: Browser, what: str) -> None:
        with self._lock:
            self.failures.append(Failure(time.monotonic() - self.start, browser.user, what))
