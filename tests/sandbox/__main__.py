# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the sandbox; ``make sandbox`` and ``make sandbox-down`` call it."""

from __future__ import annotations

import argparse
import os
import sys

from . import cluster, images, kind
from .assets import Cache
from .processes import say, warn
from .settings import SandboxError, layout


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox", description="The embedded Kubernetes cluster.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start it (nothing happens when it runs already)")
    commands.add_parser("down", help="end it and leave nothing")
    commands.add_parser("status", help="what runs; exit code 1 unless all is well")
    commands.add_parser("build", help="only fill the machine's cache")
    commands.add_parser("restart-entra", help="give the Entra double a new process")
    logs = commands.add_parser("logs", help="the end of a component's log")
    logs.add_argument("name", nargs="?", help="component; without it, the list")
    arguments = parser.parse_args()
    here = layout()
    try:
        if os.environ.get("SANDBOX") == "kind" and arguments.command in ("up", "down"):
            if arguments.command == "up":
                kind.up(here)
            else:
                kind.down(here)
        elif arguments.command == "up":
            cluster.up(here)
        elif arguments.command == "down":
            cluster.down(here)
        elif arguments.command == "status":
            return cluster.status(here)
        elif arguments.command == "build":
            cache = Cache(here.cache)
            images.store(cache, cache.everything())
            say(f"All is built in {here.cache}.")
        elif arguments.command == "restart-entra":
            cluster.restart_entra(here)
        else:
            cluster.logs(here, arguments.name)
    except SandboxError as exc:
        warn(f"sandbox: {exc}")
        return 1
    except BrokenPipeError:  # `… status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        warn("sandbox: interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
