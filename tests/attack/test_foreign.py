# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make attack ATTACK_URL=…``: the unauthenticated attacks on a gateway that isn't the sandbox's own, as a user runs them."""

from __future__ import annotations

import collections.abc
import subprocess
import time

import pytest

from tests.e2e.inventory import Inventory
from tests.e2e.sandbox import DOMAIN, ROOT, Sandbox

from .cast import ECHO_A, K1_NAMESPACE
from .conftest import Tally
from .target import Target
from .wire import Door

OPEN_HOST = f"open-team-k1.{DOMAIN}"


def attack(sandbox: Sandbox, url: str, *more: str) -> subprocess.CompletedProcess[str]:
    """By make itself, with nothing of the sandbox's in its environment but the way through its proxy."""
    proxy = "http://{}:{}".format(*sandbox.proxy)
    command = ["make", "attack", f"ATTACK_URL={url}", f"ATTACK_PROXY={proxy}", f"ATTACK_CA={sandbox.ca}", *more]
    return subprocess.run(command, cwd=ROOT, env=sandbox.env, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def open_door(sandbox: Sandbox, k1: Inventory, door: Door) -> collections.abc.Iterator[str]:
    """An app that somebody put on the gateway without a login."""
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "open-on-purpose", "namespace": K1_NAMESPACE},
        "spec": {
            "hostnames": [OPEN_HOST],
            "parentRefs": [{"name": "main", "namespace": "gateway-envoy", "sectionName": "https"}],
            "rules": [{"backendRefs": [{"name": "echo", "port": 8080}]}],
        },
    }
    sandbox.apply(route)
    deadline = time.monotonic() + 20
    while Target(OPEN_HOST, door).get("/").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield f"https://{OPEN_HOST}"
    sandbox.kubectl("-n", K1_NAMESPACE, "delete", "httproute", "open-on-purpose")


@pytest.mark.attack("paths")
def test_a_guarded_gateway_elsewhere_passes(sandbox: Sandbox, onboarded: Inventory, tally: Tally) -> None:
    done = attack(sandbox, f"https://{ECHO_A}")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    for key in ("paths", "methods", "credentials", "smuggling", "host-confusion", "plain-http"):
        assert f"\n{key} " in done.stdout
    assert "FAILED" not in done.stdout
    tally.add()


@pytest.mark.attack("paths")
def test_an_open_app_elsewhere_is_told(sandbox: Sandbox, open_door: str, tally: Tally) -> None:
    done = attack(sandbox, open_door, "PYTEST_ARGS=-k path")
    assert done.returncode != 0
    assert "FAILED" in done.stdout
    assert "expected a redirect to a sign-in or 401, got 200" in done.stdout, done.stdout[-3000:]
    tally.add()


def test_a_url_that_is_none_is_told(sandbox: Sandbox) -> None:
    done = attack(sandbox, "http://x.example.com/app")
    assert done.returncode != 0
    assert "expected https://<host> of an app" in done.stdout + done.stderr
