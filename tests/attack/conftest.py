# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the attack suite, and the table that it ends with."""

from __future__ import annotations

import collections
import collections.abc
import os
import pathlib
import time
import urllib.parse

import pytest

from tests.e2e.conftest import browser, example, onboarded, sandbox
from tests.e2e.entra import Registration
from tests.e2e.inventory import Inventory
from tests.e2e.login import Browser
from tests.e2e.poller import Poller
from tests.e2e.sandbox import Sandbox
from tests.e2e.workload import delete_namespaces, echo, namespace

from .cast import DEVELOPERS, ECHO_A, HOSTS, K1, K1_NAMESPACE, ONCALL
from .catalogue import ATTACKS, BY_KEY, USES
from .target import Target
from .wire import Door

FOREIGN = os.environ.get("ATTACK_URL", "")
TRIED = "tried"
COMING_ONLINE: pytest.StashKey[Poller] = pytest.StashKey()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = pathlib.Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.sandbox)


# --- the table ------------------------------------------------------------------------------------------------------------


class Tally:
    """How much a test tried."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._properties = request.node.user_properties

    def add(self, count: int = 1) -> None:
        assert count > 0, "an attack that tries nothing proves nothing"
        self._properties.append((TRIED, count))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    return Tally(request)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in ("attack", "guide"):
        for mark in item.iter_markers(name):
            assert mark.args[0] in BY_KEY, f"{mark.args[0]} isn't in tests/attack/catalogue.py"
            item.user_properties.append((name, mark.args[0]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts: dict[tuple[str, str], int] = collections.Counter()
    failed: dict[tuple[str, str], int] = collections.Counter()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            properties = getattr(report, "user_properties", [])
            for kind, key in properties:
                if kind in ("attack", "guide"):
                    counts[kind, key] += sum(value for name, value in properties if name == TRIED)
                    failed[kind, key] += outcome != "passed"
    rows = [("attack", "what was tried", "count", "outcome", "on the guide's set-up")]
    for entry in (*ATTACKS, *USES):
        if ("attack", entry.key) in counts:
            bad = failed["attack", entry.key]
            outcome = f"FAILED ({bad})" if bad else entry.holds
            if isinstance(entry, type(USES[0])):
                there = "loses it" if counts.get(("guide", entry.key)) else ""
            elif entry.spared:
                there = f"n/a: {entry.spared}"
            elif ("guide", entry.key) in counts:
                there = "FAILED" if failed["guide", entry.key] else f"succeeds ({counts['guide', entry.key]})"
            else:
                there = "not run"
            rows.append((entry.key, entry.tried, str(counts["attack", entry.key]), outcome, there))
    if len(rows) == 1:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    terminalreporter.section("attacks")
    for number, row in enumerate(rows):
        terminalreporter.write_line("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip())
        if number == 0:
            terminalreporter.write_line("-" * (sum(widths) + 8 + len(row[4])))


# --- what is attacked -------------------------------------------------------------------------------------------------------


def _foreign() -> Target:
    """``ATTACK_URL``, ``ATTACK_PROXY``, ``ATTACK_CA``, ``ATTACK_PUBLIC`` as the user gave them."""
    parts = urllib.parse.urlsplit(FOREIGN)
    if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/"):
        pytest.exit(f"ATTACK_URL: expected https://<host> of an app, got {FOREIGN!r}", returncode=2)
    proxy = urllib.parse.urlsplit(os.environ.get("ATTACK_PROXY", ""))
    door = Door((proxy.hostname, proxy.port or 3128) if proxy.hostname else None, os.environ.get("ATTACK_CA", ""))
    public = tuple(path for path in os.environ.get("ATTACK_PUBLIC", "").split(",") if path)
    return Target(parts.netloc, door, known=False, public=public)


@pytest.fixture(scope="session")
def door(sandbox: Sandbox) -> Door:
    return Door(sandbox.proxy, sandbox.ca)


@pytest.fixture(scope="session", params=["foreign" if FOREIGN else ECHO_A])
def target(request: pytest.FixtureRequest) -> Target:
    """The app given, or team a's echo app, which answers 200 to everything it gets and so can hide nothing."""
    if FOREIGN:
        return _foreign()
    request.getfixturevalue("onboarded")
    return Target(request.param, request.getfixturevalue("door"))


@pytest.fixture(scope="session")
def sign_in(sandbox: Sandbox, onboarded: Inventory) -> collections.abc.Callable[[str, str], Browser]:
    """``sign_in("alice", host)``: a browser of its own that is signed in there."""

    def enter(user: str, host: str) -> Browser:
        fresh = Browser(sandbox, user)
        visit = fresh.visit(f"https://{host}/")
        assert visit.final.status == 200, visit
        return fresh

    return enter


@pytest.fixture(scope="session")
def k1(request: pytest.FixtureRequest, sandbox: Sandbox, onboarded: Inventory, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Inventory]:
    """A team of the suite's own: an app for fewer groups, one with public paths, two with timeouts, sessions renewed every 5 s."""
    registration = Registration(sandbox, f"gateway-auth.sandbox.monitoring.{K1}")
    inventory = onboarded.copy(tmp_path_factory.mktemp("k1"))
    service = {"name": "echo", "port": 8080}
    with inventory.hosts() as data:
        data["teams"]["hosts"][K1] = {"gateway_auth_session": {"expire": "1h", "refresh": "5s"}}
    with inventory.team(K1) as data:
        data["gateway_auth_allowed_groups"] = [DEVELOPERS, ONCALL]
        data["gateway_auth_apps"] = [
            {"name": "plain", "service": service},
            {"name": "narrow", "service": service, "allowed_groups": [ONCALL]},
            {"name": "public", "service": service, "public_paths": ["/open"]},
            {"name": "patient", "service": service, "timeout": "40s"},
        ]
    registration.purge()
    delete_namespaces(sandbox, K1_NAMESPACE)
    sandbox.apply(namespace(K1_NAMESPACE), *echo(K1_NAMESPACE))
    sandbox.kubectl("-n", K1_NAMESPACE, "rollout", "status", "deployment/echo", "--timeout=60s")
    with Poller(sandbox, [HOSTS["plain"], HOSTS["narrow"]]) as coming_online:
        sandbox.playbook("onboard_team", "-e", "team=k1", inventory=inventory.path).must()
        time.sleep(1.0)
    request.config.stash[COMING_ONLINE] = coming_online
    yield inventory
    delete_namespaces(sandbox, K1_NAMESPACE, wait=False)
    registration.purge()


@pytest.fixture(scope="session")
def coming_online(k1: Inventory, request: pytest.FixtureRequest) -> Poller:
    """What an anonymous client saw of two of team k1's apps while the team was onboarded."""
    return request.config.stash[COMING_ONLINE]


@pytest.fixture(scope="session")
def apps(k1: Inventory, door: Door) -> dict[str, Target]:
    """Team k1's apps by name."""
    return {name: Target(host, door) for name, host in HOSTS.items()}


__all__ = ["browser", "example", "onboarded", "sandbox"]
