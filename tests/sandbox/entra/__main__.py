# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`python -m tests.sandbox.entra`: run the double until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from yaml import YAMLError

from .service import Address, Service, Settings, running


def _settings(arguments: list[str]) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox.entra", description="Test double of Entra ID.")
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT", help="TLS listener for Microsoft's host names")
    parser.add_argument("--admin", required=True, metavar="ADDRESS:PORT", help="control API, on loopback")
    parser.add_argument("--cert", required=True, type=Path, help="certificate chain of the two host names, PEM")
    parser.add_argument("--key", required=True, type=Path, help="its private key, PEM")
    parser.add_argument("--cast", type=Path, default=Path(__file__).with_name("cast.yml"), help="users, groups, apps")
    parser.add_argument("--secrets-dir", required=True, type=Path, help="where client secrets are kept")
    parser.add_argument("--log", type=Path, help="log file, JSON lines")
    parser.add_argument("--issuer-ca", type=Path, help="CA file to trust for federated issuers, beside the system's")
    parser.add_argument("--state", type=Path, help="file that keeps what changes, over the cast; without it a new start forgets")
    parser.add_argument("--issuer-at", action="append", default=[], metavar="NAME=ADDRESS:PORT", help="where a federated issuer's host is, instead of DNS")
    known = parser.parse_args(arguments)
    try:
        issuers = tuple((name, Address(place)) for name, _equals, place in (text.partition("=") for text in known.issuer_at))
        listen, admin = Address(known.listen), Address(known.admin)
        admin.require_loopback()
    except ValueError as exc:
        parser.error(str(exc))
    return Settings(listen, admin, known.cert, known.key, known.cast, known.secrets_dir, known.log, known.issuer_ca, known.state, issuers)


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(Service(settings)):
        await stop.wait()


def main(arguments: list[str]) -> int:
    settings = _settings(arguments)
    try:
        asyncio.run(_serve(settings))
    except (OSError, ValueError, YAMLError) as exc:
        sys.stderr.write(f"entra double: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
