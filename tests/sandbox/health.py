# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cluster runs, asked through the doors that its users take."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import time
import urllib.request
from pathlib import Path

from . import pki
from .components import Ports
from .processes import Process, tail
from .settings import DOMAIN, Layout, SandboxError
from .state import read_ports, read_record

# Long, because the alternative is to end a cluster that may be in use.
SETTLE_SECONDS = 60


def healthy(layout: Layout) -> str | None:
    """None when the cluster runs and answers through all of its doors, else the first thing that is wrong."""
    record = read_record(layout)
    if not record.get("complete") or "processes" not in record:
        return "it isn't up" if not record else "it was not brought up to the end"
    for name, process in record["processes"].items():
        if not Process.from_json(process).alive():
            return f"{name} has ended. {why_ended(layout)}"
    ports = read_ports(layout)
    try:
        api_version(layout)
        door(ports, f"health.{DOMAIN}", layout.ca)
    except (OSError, SandboxError, http.client.HTTPException) as exc:
        return str(exc)
    return None


def settled(layout: Layout) -> str | None:
    """As ``healthy``, but a busy machine gets some time to answer before its cluster is called broken."""
    deadline = time.monotonic() + 15
    while True:
        wrong = healthy(layout)
        record = read_record(layout)
        runs = record.get("complete") and all(Process.from_json(process).alive() for process in record.get("processes", {}).values())
        if wrong is None or not runs or time.monotonic() >= deadline:
            return wrong
        time.sleep(0.5)


def api_version(layout: Layout) -> str:
    """Ask the API server through the relay, as the kubeconfig's user."""
    config = json.loads(layout.kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    pair = layout.run / "health.pem"
    if not pair.exists():
        pki.write_private(pair, base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
    context.load_cert_chain(pair)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(cluster["server"] + "/readyz", timeout=3) as answer:
        return str(answer.read().decode())


def door(ports: Ports, host: str, ca: Path, path: str = "/") -> int:
    """The status of a request by its real name through the CONNECT proxy."""
    connection = http.client.HTTPSConnection("127.0.0.1", ports.proxy, timeout=3, context=ssl.create_default_context(cafile=str(ca)))
    connection.set_tunnel(host, 443)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def tcp_open(port: int) -> bool:
    """Whether something inside answers behind a relay: the relay itself accepts and closes when there is nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.settimeout(0.3)
            try:
                return connection.recv(1) != b""
            except TimeoutError:
                return True
    except OSError:
        return False


def why_ended(layout: Layout) -> str:
    failed = layout.run / "failed"
    if failed.exists():
        return f"The cluster ended: {failed.read_text().rstrip()}"
    return f"The cluster ended without a word (killed?). End of its log:\n{tail(layout.logs / 'sandbox-init.log')}"
