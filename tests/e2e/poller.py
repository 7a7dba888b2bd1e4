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
import dataclasses
import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
import time
import typing as t

from .sandbox import LOGIN, ROOT, TENANT, Sandbox

# `make test`, which takes samples, asks less often: at full rate the pollers alone keep a processor busy.
SHARE = 0.4 if os.environ.get("SAMPLE") else 1.0
# Requests a second aimed at per host, together, and the least that counts. A new connection costs a TLS handshake at either end.
KEPT_RATE, NEW_RATE, LEAST_RATE = 90.0 * SHARE, 50.0 * SHARE, 100.0 * SHARE
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
    """``with Poller(sandbox, hosts) as poller: …`` asks every host at ``LEAST_RATE`` or more until the block ends.

    Each host has a process of its own, or Python's lock would hold the others back.
    """

    def __init__(self, sandbox: Sandbox, hosts: t.Sequence[str], path: str = "/graph?g0.expr=up&open=1") -> None:
        self._proxy = sandbox.proxy
        self._ca = sandbox.ca
        self._hosts = list(hosts)
        self._path = path
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self.samples: list[Sample] = []
        self.start = 0.0
        self.seconds = 0.0

    def __enter__(self) -> Poller:
        for host in self._hosts:
            command = [sys.executable, "-m", __name__, *map(str, self._proxy), self._ca, host, self._path]
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self._processes[host] = process
        for process in self._processes.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        self.start = time.monotonic()
        return self

    def __exit__(self, *_unused: object) -> None:
        self.seconds = time.monotonic() - self.start
        told = {host: process.communicate("", timeout=4 * TIMEOUT)[0] for host, process in self._processes.items()}
        for host, text in told.items():
            for line in text.splitlines():
                at, kind, status, detail = json.loads(line)
                self.samples.append(Sample(at - self.start, host, kind, status, detail))
        self.samples.sort(key=lambda sample: sample.at)

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


# --- the process of one host ----------------------------------------------------------------------------------------------


class Lane(threading.Thread):
    """One thread's requests, by turns as a browser and as a program."""

    def __init__(self, proxy: tuple[str, int], context: ssl.SSLContext, host: str, path: str, *, keep: bool, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._proxy = proxy
        self._context = context
        self._host = host
        self._path = path
        self._keep = keep
        self._ended = stop
        self.samples: list[tuple[float, str, int, str]] = []

    def run(self) -> None:
        pause = LANES / 2 / (KEPT_RATE if self._keep else NEW_RATE)
        due = time.monotonic()
        connection: http.client.HTTPSConnection | None = None
        while not self._ended.is_set():
            try:
                connection = connection or self._connect()
                if not self._ask(connection):
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as exc:
                self.samples.append((time.monotonic(), "no answer", 0, str(exc)))
                if connection is not None:
                    connection.close()
                    connection = None
            due = max(due + pause, time.monotonic() - 1.0)
            self._ended.wait(max(0.0, due - time.monotonic()))
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPSConnection) -> bool:
        """One request; whether the connection may be used again."""
        accept = "application/json" if len(self.samples) % 4 == 3 else "text/html"
        connection.request("GET", self._path, headers={"Host": self._host, "Accept": accept})
        answer = connection.getresponse()
        body = answer.read(65536)
        headers = {name.lower(): value for name, value in answer.getheaders()}
        kind = judge(answer.status, headers, body)
        detail = f"{headers.get('location', '')} {body[:120]!r}" if kind == OPEN else ""
        self.samples.append((time.monotonic(), kind, answer.status, detail))
        return self._keep and not answer.will_close and len(body) < 65536

    def _connect(self) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(*self._proxy, timeout=TIMEOUT, context=self._context)
        connection.set_tunnel(self._host, 443)
        connection.connect()
        return connection


def main(proxy_host: str, proxy_port: str, ca: str, host: str, path: str) -> None:
    """Ask until stdin ends, then tell everything that was seen."""
    stop = threading.Event()
    context = ssl.create_default_context(cafile=ca)
    lanes = [Lane((proxy_host, int(proxy_port)), context, host, path, keep=number % 2 == 0, stop=stop) for number in range(LANES)]
    print("ready", flush=True)
    for lane in lanes:
        lane.start()
    sys.stdin.read()
    stop.set()
    for lane in lanes:
        lane.join(2 * TIMEOUT)
        for sample in lane.samples:
            print(json.dumps(sample))


if __name__ == "__main__":
    main(*sys.argv[1:])
