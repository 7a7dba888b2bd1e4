# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 at every request to Entra: the same command, run again, ends where an undisturbed run ends.

Each request is a point twice: killed while it waits (it is never carried out) and killed once it was answered. ``make soak`` takes
every point (KILLS=all), ``make test`` a few by a seed that it prints (KILLS=2, KILL_SEED=…).
"""

from __future__ import annotations

import base64
import collections.abc
import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import time

import pytest

from .entra import Registration, token_answer
from .inventory import Inventory
from .sandbox import ROOT, Sandbox
from .workload import delete_namespaces, echo, namespace

TEAM = "team-k1"
NAMESPACE = f"monitoring-{TEAM}"
SECRET = f"oauth2-proxy-{TEAM}"
UNIQUE_NAME = f"gateway-auth.sandbox.monitoring.{TEAM}"
ENTRA_HOSTS = ("graph.microsoft.com", "login.microsoftonline.com")
COMMANDS = {"onboard": ("onboard_team",), "rotate": ("rotate_team", "-e", "rotate=client_secret")}
# More than either command asks before it only verifies; a point past a command's end isn't one, and a test sees that none is left out.
MOST_REQUESTS = 24
VARIANTS = ("waiting", "answered")
POINTS = [(command, number, variant) for command in ("onboard", "rotate") for number in range(MOST_REQUESTS) for variant in VARIANTS]
KILLS = os.environ.get("KILLS", "2")
SEED = int(os.environ.get("KILL_SEED", time.time_ns() % 100_000))
HOLD_S = 60.0
REACH_S = 120.0


def _chosen() -> list[tuple[str, int, str]]:
    if KILLS == "all":
        return POINTS
    # The early ones: where a command is long over there is nothing to kill.
    early = [point for point in POINTS if point[1] < 8]
    return random.Random(SEED).sample(early, int(KILLS))


@pytest.fixture(scope="module")
def registration(sandbox: Sandbox) -> Registration:
    return Registration(sandbox, UNIQUE_NAME)


@pytest.fixture(scope="module")
def team(sandbox: Sandbox, onboarded: Inventory, registration: Registration, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Inventory]:
    print(f"KILLS={KILLS} KILL_SEED={SEED}")
    inventory = onboarded.copy(tmp_path_factory.mktemp("k1"))
    with inventory.hosts() as data:
        data["teams"]["hosts"][TEAM] = None
    with inventory.team(TEAM) as data:
        data["gateway_auth_allowed_groups"] = [{"id": "5f0c0c7e-0000-4000-8000-0000000000a1", "name": "team-a-developers"}]
        data["gateway_auth_apps"] = [{"name": "echo", "service": {"name": "echo", "port": 8080}}]
    registration.purge()
    delete_namespaces(sandbox, NAMESPACE)
    sandbox.apply(namespace(NAMESPACE), *echo(NAMESPACE))
    sandbox.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/echo", "--timeout=60s")
    sandbox.playbook("onboard_team", "-e", "team=k1", inventory=inventory.path).must()
    yield inventory
    sandbox.entra("DELETE", "/faults")
    delete_namespaces(sandbox, NAMESPACE, wait=False)
    registration.purge()


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """How each command ends when nobody kills it, and how often it asks Entra."""

    state: str
    requests: dict[str, int]


@pytest.fixture(scope="module")
def undisturbed(sandbox: Sandbox, team: Inventory, registration: Registration) -> Undisturbed:
    requests = {}
    for command in ("onboard", "rotate"):
        _prepare(sandbox, registration, command)
        sandbox.entra("DELETE", "/journal")
        name, *arguments = COMMANDS[command]
        sandbox.playbook(name, *arguments, "-e", "team=k1", inventory=team.path).must()
        requests[command] = _asked(sandbox)
    print(f"requests to Entra: {requests}")
    return Undisturbed(_end_state(sandbox), requests)


def _prepare(sandbox: Sandbox, registration: Registration, command: str) -> None:
    """Before an onboarding: nothing of ours in Entra, no credential in the cluster. The release stays, which makes it quicker."""
    if command == "onboard":
        registration.purge()
        sandbox.kubectl("-n", NAMESPACE, "delete", "secret", SECRET)


def _asked(sandbox: Sandbox) -> int:
    return sum(entry["host"] in ENTRA_HOSTS for entry in sandbox.entra("GET", "/journal"))


def _end_state(sandbox: Sandbox) -> str:
    """All that Entra holds, without what differs from run to run."""
    return json.dumps(sandbox.entra("GET", "/state"), sort_keys=True, indent=1)


def _secret(sandbox: Sandbox) -> dict[str, str]:
    found = sandbox.get("secret", SECRET, NAMESPACE)
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def _command(inventory: Inventory, command: str) -> list[str]:
    name, *more = COMMANDS[command]
    return [str(ROOT / ".venv" / "bin" / "ansible-playbook"), f"playbooks/{name}.yml", "-i", str(inventory.path), "-e", "team=k1", *more]


def _killed_at(sandbox: Sandbox, command: list[str], number: int, variant: str) -> bool:
    """Start it, kill it with its children at that request; False when it ended before."""
    sandbox.entra("DELETE", "/faults")
    sandbox.entra("DELETE", "/journal")
    if variant == "waiting":
        # One board for both hosts: a fault without a host counts every request.
        sandbox.entra("PUT", "/faults", [{"match": {}, "action": {"delay": HOLD_S, "drop": "before"}, "times": 1, "skip": number}])
    environment = {**sandbox.env, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + REACH_S
        while process.poll() is None and time.monotonic() < deadline:
            if _reached(sandbox, number, variant):
                return True
            time.sleep(0.02)
        return False
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        sandbox.entra("DELETE", "/faults")


def _reached(sandbox: Sandbox, number: int, variant: str) -> bool:
    if variant == "waiting":
        return all(fault["times"] == 0 for fault in sandbox.entra("GET", "/faults"))
    return _asked(sandbox) > number


def test_every_request_has_its_points(undisturbed: Undisturbed) -> None:
    assert 6 <= max(undisturbed.requests.values()) <= MOST_REQUESTS, undisturbed.requests


@pytest.mark.parametrize(("command", "number", "variant"), _chosen(), ids=str)
def test_the_same_command_again_ends_where_an_undisturbed_run_ends(
    sandbox: Sandbox, team: Inventory, registration: Registration, undisturbed: Undisturbed, command: str, number: int, variant: str
) -> None:
    if number >= undisturbed.requests[command]:
        return  # the command is over by then
    _prepare(sandbox, registration, command)
    assert _killed_at(sandbox, _command(team, command), number, variant), f"{command} ended before request {number}"
    # The plain command finishes what a rotation had begun.
    sandbox.playbook("onboard_team", "-e", "team=k1", inventory=team.path).must()
    assert _end_state(sandbox) == undisturbed.state
    made, secret = registration.must(), _secret(sandbox)
    assert len(made["secrets"]) == 1, "no orphan"
    assert set(secret) == {"client-id", "client-secret", "cookie-secret"}
    assert secret["client-id"] == made["client_id"]
    assert token_answer(sandbox, secret["client-id"], secret["client-secret"]) == ""
    assert "changed=0" in sandbox.playbook("onboard_team", "-e", "team=k1", inventory=team.path).must().output
