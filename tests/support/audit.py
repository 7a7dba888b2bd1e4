# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API server's audit log on the command line: ``audit.py mark`` prints a position, ``audit.py writes <mark>`` what was written since.

What counts as a write is tests/e2e/audit.py's to say: dry runs, reviews and leases do not.
"""

from __future__ import annotations

import argparse
import sys

from tests.e2e.audit import AuditLog
from tests.e2e.sandbox import Sandbox

# The identity of .sandbox/kubeconfig; the cluster's own components and the sandbox's set-up have others.
USER = "kubernetes-admin"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("mark")
    writes = commands.add_parser("writes")
    writes.add_argument("since", type=int)
    writes.add_argument("--expect-none", action="store_true", help="exit 1 when there were any")
    arguments = parser.parse_args()
    log = AuditLog(Sandbox.find())
    if arguments.command == "mark":
        print(log.here())
        return 0
    found = log.writes(arguments.since, USER)
    print("\n".join(found) or "no writes")
    return 1 if arguments.expect_none and found else 0


if __name__ == "__main__":
    sys.exit(main())
