# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files in ``.sandbox`` (or SANDBOX_HOME): ports, the record of what runs, and what other tools read."""

from __future__ import annotations

import json
import os
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .assets import acquire
from .components import Ports
from .settings import AUTOMATION, DOMAIN, TENANT, Layout

LOCK_SECONDS = 40 * 60


def choose_ports(layout: Layout) -> Ports:
    """The ports of the last run where they're still free, else free ones."""
    previous = json.loads(layout.ports_file.read_text()) if layout.ports_file.exists() else {}
    chosen: dict[str, int] = {}
    held: list[socket.socket] = []
    try:
        for name in ("api", "proxy", "entra_admin"):
            for candidate in (int(previous.get(name, 0)), 0):
                holder = socket.socket()
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    holder.bind(("127.0.0.1", candidate))
                except OSError:
                    holder.close()
                    continue
                held.append(holder)
                chosen[name] = holder.getsockname()[1]
                break
    finally:
        for holder in held:
            holder.close()
    layout.ports_file.write_text(json.dumps(chosen) + "\n")
    return Ports(**chosen)


def read_ports(layout: Layout) -> Ports:
    return Ports(**json.loads(layout.ports_file.read_text()))


def render_env(layout: Layout, ports: Ports) -> str:
    """Shell exports for whoever wants to run a command by hand."""
    lines = [f"# made by `make sandbox`; use it: . {layout.home}/env"]
    values = {
        "KUBECONFIG": str(layout.kubeconfig),
        "SANDBOX_PROXY": ports.proxy_url,
        "SANDBOX_CA": str(layout.ca),
        "SANDBOX_AUDIT_LOG": str(layout.audit_log),
        "SANDBOX_ENTRA_ADMIN": ports.entra_admin_url,
    }
    lines += [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    # The identity that manages app registrations in the Entra double. Its secret exists only in this sandbox.
    secret = shlex.quote(str(layout.entra_secrets / "automation.secret"))
    lines += [
        f"export AZURE_TENANT_ID={TENANT} AZURE_CLIENT_ID={AUTOMATION}",
        f"[ ! -r {secret} ] || AZURE_CLIENT_SECRET=$(cat {secret})",
        "export AZURE_CLIENT_SECRET",
    ]
    chart = shlex.quote(str(layout.checkout / "tests" / "charts" / "oauth2-proxy"))
    lines.append(f'[ -n "${{OAUTH2_PROXY_CHART:-}}" ] || OAUTH2_PROXY_CHART={chart}')
    lines.append("export OAUTH2_PROXY_CHART")
    lines.append(f'export PATH={shlex.quote(str(layout.bin))}:"$PATH"')
    return "\n".join(lines) + "\n"


def write_env(layout: Layout, ports: Ports) -> None:
    layout.env.write_text(render_env(layout, ports))
    layout.proxy_file.write_text(ports.proxy_url + "\n")


def summary(layout: Layout) -> str:
    ports = read_ports(layout)
    return (
        f"The sandbox runs. Use it: . {os.path.relpath(layout.env)}\n"
        f"  Kubernetes  {ports.api_url}  (KUBECONFIG={os.path.relpath(layout.kubeconfig)})\n"
        f"  the door    {ports.proxy_url}  (curl --proxy $SANDBOX_PROXY --cacert $SANDBOX_CA https://…{DOMAIN}/)\n"
        f"  Entra admin {ports.entra_admin_url}"
    )


def read_record(layout: Layout) -> dict[str, Any]:
    try:
        return dict(json.loads(layout.record.read_text()))
    except (OSError, ValueError):
        return {}


def write_record(layout: Layout, record: dict[str, Any]) -> None:
    aside = layout.record.with_suffix(".new")
    aside.write_text(json.dumps(record, indent=1))
    aside.rename(layout.record)


@contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """One up or down at a time per sandbox."""
    layout.state.mkdir(mode=0o755, exist_ok=True)
    with (layout.state / "lock").open("w") as file:
        acquire(file.fileno(), "another up or down of this sandbox", LOCK_SECONDS)
        yield
