# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A team whose sessions are valid on its own subzone: one sign-in for all its apps, and nothing of it anywhere else."""

from __future__ import annotations

import collections.abc

import pytest

from .entra import Registration
from .inventory import Inventory
from .login import Browser
from .sandbox import DOMAIN, LOGIN, Sandbox
from .workload import delete_namespaces, echo, namespace

# The gateway's certificate covers the subzones of teams a and b; team b's own sessions stay as they are.
TEAM = "team-a"
STACK = "zone"
NAMESPACE = f"{STACK}-{TEAM}"
ZONE = f"{TEAM}.{DOMAIN}"
ONE, TWO, PROXY = f"one.{ZONE}", f"two.{ZONE}", f"{STACK}-oauth2-{TEAM}.{ZONE}"
COOKIE = f"__Secure-o2p-{TEAM}"


@pytest.fixture(scope="module")
def zone(sandbox: Sandbox, onboarded: Inventory, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Inventory]:
    inventory = onboarded.copy(tmp_path_factory.mktemp("zone"))
    with inventory.platform() as data:
        data["gateway_auth_stack"] = STACK
        data["gateway_auth_hostname_pattern"] = "{app}.{team}.{domain}"
        data["gateway_auth_session"] = {"scope": "subzone"}
    with inventory.hosts() as data:
        data["teams"]["hosts"] = {TEAM: None}
    with inventory.team(TEAM) as data:
        data["gateway_auth_apps"] = [{"name": name, "service": {"name": "echo", "port": 8080}} for name in ("one", "two")]
    registration = Registration(sandbox, f"gateway-auth.sandbox.{STACK}.{TEAM}")
    registration.purge()
    delete_namespaces(sandbox, NAMESPACE)
    sandbox.apply(namespace(NAMESPACE), *echo(NAMESPACE))
    sandbox.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/echo", "--timeout=60s")
    sandbox.playbook("onboard_team", "-e", "team=a", inventory=inventory.path).must()
    yield inventory
    delete_namespaces(sandbox, NAMESPACE, wait=False)
    registration.purge()


def test_one_sign_in_opens_every_app_of_the_team(zone: Inventory, browser: type[Browser]) -> None:
    alice = browser("alice")
    first = alice.visit(f"https://{ONE}/graph?g0.expr=up%20x")
    assert first.final.status == 200
    assert LOGIN in [hop.host for hop in first.hops]
    second = alice.visit(f"https://{TWO}/")
    assert second.final.status == 200
    assert [hop.host for hop in second.hops] == [TWO]
    assert COOKIE in alice.jar.names(ONE) & alice.jar.names(TWO) & alice.jar.names(PROXY)


def test_signed_out_is_signed_out_everywhere(zone: Inventory, browser: type[Browser]) -> None:
    alice = browser("alice")
    alice.visit(f"https://{ONE}/")
    kept = alice.jar.header(ONE, "/", secure=True)
    assert browser().get(f"https://{ONE}/", {"Cookie": kept}).status == 200
    alice.get(f"https://{TWO}/oauth2/sign_out")  # the redirect after it would sign in again, silently
    assert COOKIE not in alice.jar.names(ONE)
    assert browser().get(f"https://{ONE}/", {"Cookie": kept}).status == 302


def test_the_cookie_leaves_the_subzone_nowhere(zone: Inventory, browser: type[Browser]) -> None:
    alice = browser("alice")
    alice.visit(f"https://{ONE}/")
    for host in (f"echo-{TEAM}.{DOMAIN}", f"echo-team-b.{DOMAIN}", DOMAIN, f"one.team-b.{DOMAIN}"):
        assert COOKIE not in alice.jar.names(host)


@pytest.mark.parametrize("name", [COOKIE, "__Host-o2p-team-b", "__Host-o2p-team-a"])
@pytest.mark.parametrize("host", [f"echo-team-a.{DOMAIN}", f"echo-team-b.{DOMAIN}"])
def test_its_session_is_worthless_at_another_proxy(zone: Inventory, browser: type[Browser], host: str, name: str) -> None:
    admin = browser("admin")  # may enter everywhere, so only the session is what fails
    admin.visit(f"https://{ONE}/")
    kept = admin.jar.header(ONE, "/", secure=True)
    assert f"{COOKIE}=" in kept
    answer = browser().get(f"https://{host}/", {"Cookie": kept.replace(COOKIE, name)})
    assert answer.status == 302
    assert f"https://{LOGIN}/" in answer.location


def test_a_member_of_another_team_does_not_get_in(zone: Inventory, browser: type[Browser]) -> None:
    assert browser("bob").visit(f"https://{ONE}/").final.status == 403


def test_verify_agrees(zone: Inventory, sandbox: Sandbox) -> None:
    sandbox.playbook("verify_team", "-e", "team=a", inventory=zone.path).must()
