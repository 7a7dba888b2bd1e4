# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Count what reached the API server, from its audit log: the judge of "writes nothing" that none of our code can bias.

As a program: ``audit.py mark`` prints a position, ``audit.py writes <mark> [--expect-none]`` the writes since then as JSON.
The log's path is $SANDBOX_AUDIT_LOG.
"""

from __future__ import annotations

import argparse
import collections
import collections.abc
import json
import os
import pathlib
import sys
import time
import typing as t

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
# Questions that are asked by POST.
REVIEWS = ("accessreviews", "selfsubjectreviews", "tokenreviews")
USER = "kubernetes-admin"
# A test's own kubectl is not the collection; its Python client and its helm are.
NOT_OURS = ("kubectl/",)
# The API server writes an event after it has answered, so the last ones may come a moment late.
SETTLE = 0.5

Event = dict[str, t.Any]


def log_path() -> pathlib.Path:
    return pathlib.Path(os.environ["SANDBOX_AUDIT_LOG"])


def mark(path: pathlib.Path | None = None) -> int:
    """The position after everything that has happened so far."""
    time.sleep(SETTLE)
    return (path or log_path()).stat().st_size


def requests_since(position: int, path: pathlib.Path | None = None) -> collections.abc.Iterator[Event]:
    """Every finished request of the collection since ``position``."""
    time.sleep(SETTLE)
    with (path or log_path()).open("rb") as log:
        log.seek(position)
        for line in log:
            if not line.endswith(b"\n"):
                return
            event = json.loads(line)
            if event.get("stage") == "ResponseComplete" and event["user"]["username"] == USER and not event.get("userAgent", "").startswith(NOT_OURS):
                yield event


def is_write(event: Event) -> bool:
    """Whether a request was meant to change something. A refused one counts: it was an attempt."""
    resource = event.get("objectRef", {}).get("resource", "")
    return event["verb"] in WRITES and not resource.endswith(REVIEWS) and resource != "leases" and "dryRun=" not in event.get("requestURI", "")


def writes_since(position: int, path: pathlib.Path | None = None) -> collections.Counter[str]:
    """Writes by verb, resource and name, such as ``patch httproutes monitoring-team-a/prometheus-team-a``."""
    return collections.Counter(describe(event) for event in requests_since(position, path) if is_write(event))


def calls_since(position: int, path: pathlib.Path | None = None) -> int:
    """How many requests of any kind, dry runs and reads included."""
    return sum(1 for _event in requests_since(position, path))


def describe(event: Event) -> str:
    target = event.get("objectRef", {})
    name = "/".join(part for part in (target.get("namespace"), target.get("name")) if part)
    resource = "/".join(part for part in (target.get("resource"), target.get("subresource")) if part)
    return f"{event['verb']} {resource} {name}".strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("mark")
    writes = commands.add_parser("writes")
    writes.add_argument("position", type=int)
    writes.add_argument("--expect-none", action="store_true", help="exit 1 when there were any")
    arguments = parser.parse_args()
    if arguments.command == "mark":
        print(mark())
        return 0
    counted = writes_since(arguments.position)
    print(json.dumps(counted, indent=2, sort_keys=True))
    return 1 if arguments.expect_none and counted else 0


if __name__ == "__main__":
    sys.exit(main())
