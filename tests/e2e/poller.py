# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client without a session that never stops asking, and tells an app's answer from everything else.

It judges by what may be seen of a closed door: the gateway's own 404, the proxy's redirect to Entra or its JSON refusal, and
failures without an app's content. Whatever else comes is counted as an open door, so an app that redirects or answers 404 by
itself is found as well. Half of the requests use a new connection each, half are kept alive.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import http.client
import socket
import ssl
import threading
import time
import typing as t

from .sandbox import LOGIN, TENANT, Sandbox

RATE = 140.0  # aimed at per host; at least 100 is promised
LANES = 4  # threads per host, two of each kind
TIMEOUT = 5.0
MARKERS = (b'"pod"', b"Prometheus", b"Alertmanager")

CLOSED_KINDS = ("login", "refused", "no route", "unavailable", "no answer")
OPEN = "OPEN"


@dataclasses.dataclass(frozen=True)
class Sample:
    at: float
    host: str
    kind: str
    status: int
    detail: str = ""


def judge(status: int, headers: t.Mapping[str, str], body: bytes) -> str:
    """What an answer without a session is; anything not known as a closed door is open."""
    if any(marker in body for marker in MARKERS):
        return OPEN
    if status == 302 and headers.get("location", "").startswith(f"https://{LOGIN}/{TENANT}/oauth2/v2.0/authorize?"):
        return "login"
    if status == 401 and headers.get("content-type", "").startswith("application/json") and body.strip() in (b"{}", b""):
        return "refused"
    if status == 404 and not body:
        return "no route"
    if status in (500, 502, 503, 504) and not body:
        return "unavailable"
    return OPEN


class Poller:
    """``with Poller(sandbox, hosts) as poller: …`` asks every host at 100 requests a second or more until the block ends."""

    def __init__(self, sandbox: Sandbox, hosts: t.Sequence[str], path: str = "/graph?g0.expr=up&open=1") -> None:
        self._proxy = sandbox.proxy
        self._context = ssl.create_default_context(cafile=sandbox.ca)
        self._hosts = list(hosts)
        self._path = path
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._samples: list[list[Sample]] = []
        self.start = 0.0
        self.seconds = 0.0

    def __enter__(self) -> Poller:
        self.start = time.monotonic()
        for host in self._hosts:
            for lane in range(LANES):
                samples: list[Sample] = []
                self._samples.append(samples)
                thread = threading.Thread(target=self._lane, args=(host, lane, samples), daemon=True)
                self._threads.append(thread)
                thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT)
        self.seconds = time.monotonic() - self.start

    @property
    def samples(self) -> list[Sample]:
        return sorted((sample for lane in self._samples for sample in lane), key=lambda sample: sample.at)

    def opened(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.kind == OPEN]

    def kinds(self, host: str) -> list[str]:
        """The kinds a host showed, in order, each run of the same one once."""
        shown: list[str] = []
        for sample in self.samples:
            if sample.host == host and (not shown or shown[-1] != sample.kind):
                shown.append(sample.kind)
        return shown

    def rate(self, host: str) -> float:
        return sum(sample.host == host for sample in self.samples) / max(self.seconds, 0.001)

    def report(self) -> str:
        lines = []
        for host in self._hosts:
            counts = collections.Counter(sample.kind for sample in self.samples if sample.host == host)
            told = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
            lines.append(f"{host}: {self.rate(host):.0f} requests/s over {self.seconds:.1f} s: {told}")
        lines += [f"OPEN at {sample.at:.3f} s: {sample.host} HTTP {sample.status} {sample.detail}" for sample in self.opened()[:20]]
        return "\n".join(lines)

    # --- one lane -------------------------------------------------------------------------------------------------------
    def _lane(self, host: str, lane: int, samples: list[Sample]) -> None:
        keep = lane % 2 == 0
        pause = LANES / RATE
        due = time.monotonic()
        connection: http.client.HTTPSConnection | None = None
        count = 0
        while not self._stop.is_set():
            count += 1
            accept = "application/json" if count % 4 == 0 else "text/html"
            try:
                if connection is None:
                    connection = self._connect(host)
                connection.request("GET", self._path, headers={"Host": host, "Accept": accept})
                answer = connection.getresponse()
                body = answer.read(65536)
                headers = {name.lower(): value for name, value in answer.getheaders()}
                kind = judge(answer.status, headers, body)
                detail = f"{headers.get('location', '')} {body[:120]!r}" if kind == OPEN else ""
                samples.append(Sample(time.monotonic() - self.start, host, kind, answer.status, detail))
                done = not keep or answer.will_close or len(body) == 65536
            except (OSError, http.client.HTTPException) as exc:
                samples.append(Sample(time.monotonic() - self.start, host, "no answer", 0, str(exc)))
                done = True
            if done and connection is not None:
                connection.close()
                connection = None
            due = max(due + pause, time.monotonic() - 1.0)
            self._stop.wait(max(0.0, due - time.monotonic()))
        if connection is not None:
            connection.close()

    def _connect(self, host: str) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(*self._proxy, timeout=TIMEOUT, context=self._context)
        connection.set_tunnel(host, 443)
        connection.connect()
        with contextlib.suppress(OSError):
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
