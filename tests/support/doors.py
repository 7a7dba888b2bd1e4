# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Try doors from outside, for molecule: ``doors.py --guarded=prometheus-team-a=alice --absent=prometheus-team-b``.

A guarded host lets its user in and nobody else; an absent host answers 404 like any name that nobody serves. Envoy takes
a moment to follow a change, so an absent host gets a few seconds; a guarded one must hold at once.
"""

from __future__ import annotations

import argparse
import sys
import time
import urllib.parse

from tests.e2e.login import Browser
from tests.e2e.sandbox import DOMAIN, LOGIN, TENANT, Sandbox

STRANGER = "mallory"
SETTLE = 5.0


def problems_of_guarded(sandbox: Sandbox, host: str, user: str) -> list[str]:
    url = f"https://{host}/"
    found = []
    page = Browser(sandbox).get(url)
    authorize = urllib.parse.urlsplit(page.location)
    asked = dict(urllib.parse.parse_qsl(authorize.query))
    if page.status != 302 or (authorize.netloc, authorize.path) != (LOGIN, f"/{TENANT}/oauth2/v2.0/authorize"):
        found.append(f"without a session: expected 302 to the tenant's authorize page, got {page.status} {page.location}")
    elif asked.get("redirect_uri") != f"https://{host}/oauth2/callback" or asked.get("code_challenge_method") != "S256":
        found.append(f"the sign-in asks for {asked.get('redirect_uri')} with PKCE {asked.get('code_challenge_method')}")
    program = Browser(sandbox).get(url, {"Accept": "application/json", "X-Requested-With": "XMLHttpRequest"})
    if program.status != 401:
        found.append(f"a program without a session: expected 401, got {program.status}")
    plain = Browser(sandbox).get(f"http://{host}/")
    if plain.status != 301 or not plain.location.startswith(url):
        found.append(f"plain HTTP: expected 301 to {url}, got {plain.status} {plain.location}")
    for name, status in ((user, 200), (STRANGER, 403)):
        visit = Browser(sandbox, name).visit(url)
        if visit.final.status != status:
            found.append(f"{name}: expected {status}, got\n{visit}")
    return found


def problems_of_absent(sandbox: Sandbox, host: str) -> list[str]:
    deadline = time.monotonic() + SETTLE
    while (answer := Browser(sandbox).get(f"https://{host}/")).status != 404:
        if time.monotonic() > deadline:
            return [f"expected 404, got {answer.status} {answer.location}"]
        time.sleep(0.2)
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--guarded", action="append", default=[], metavar="HOST=USER")
    parser.add_argument("--absent", action="append", default=[], metavar="HOST")
    arguments = parser.parse_args()
    sandbox = Sandbox.find()
    failed = False
    for label, user in [entry.split("=") for entry in arguments.guarded] + [[entry, ""] for entry in arguments.absent]:
        host = f"{label}.{DOMAIN}"
        found = problems_of_guarded(sandbox, host, user) if user else problems_of_absent(sandbox, host)
        print(f"{host}: {'; '.join(found) or 'as expected'}")
        failed = failed or bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
