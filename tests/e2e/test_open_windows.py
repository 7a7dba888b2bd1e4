# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""At no instant does an app answer without a session: while a team comes online, while it changes, while an app goes.

A client without a session asks every host some 140 times a second (56 in `make test`), through both Envoys. The team is one of its own, with an app
that echoes, so that the tests can run again and again beside the example's teams.
"""

from __future__ import annotations

import collections.abc
import time
import typing as t

import pytest

from .inventory import Inventory
from .poller import CLOSED_KINDS, LEAST_RATE, OPEN, Poller, judge
from .sandbox import DOMAIN, HOME, LOGIN, TENANT, Sandbox
from .workload import delete_namespaces, echo, namespace

TEAM = "team-w1"
NAMESPACE = f"monitoring-{TEAM}"
CLIENT_ID = "bbbbbbbb-0000-4000-8000-00000000000b"
DEVELOPERS = {"id": "5f0c0c7e-0000-4000-8000-0000000000b1", "name": "team-b-developers"}
ONCALL = {"id": "5f0c0c7e-0000-4000-8000-0000000000a2", "name": "team-a-oncall"}
ONE, TWO, RENAMED = (f"{name}-{TEAM}.{DOMAIN}" for name in ("one", "two", "renamed"))
PROXY_HOST = f"monitoring-oauth2-{TEAM}.{DOMAIN}"
AFTER_S = 1.5  # polled on after a playbook has ended: Envoys may still converge


def _app(name: str, **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "service": {"name": "echo", "port": 8080}, **more}


@pytest.fixture(scope="module")
def team(sandbox: Sandbox, onboarded: Inventory, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Inventory]:
    """An inventory with team-w1, whose app runs and of which nothing of ours exists."""
    inventory = onboarded.copy(tmp_path_factory.mktemp("w1"))
    with inventory.hosts() as data:
        data["teams"]["hosts"][TEAM] = {
            "gateway_auth_registration": "existing",
            "gateway_auth_client_id": CLIENT_ID,
            "gateway_auth_client_secret": {"file": str(HOME / "entra" / "team-b.secret")},
        }
    registered = sandbox.entra("GET", "/apps/team-b")["redirect_uris"]
    ours = [f"https://{host}/oauth2/callback" for host in (ONE, TWO, RENAMED, PROXY_HOST)]
    sandbox.entra("PUT", "/apps/team-b", {"redirect_uris": list(dict.fromkeys([*registered, *ours]))})
    delete_namespaces(sandbox, NAMESPACE)
    sandbox.apply(namespace(NAMESPACE), *echo(NAMESPACE))
    sandbox.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/echo", "--timeout=60s")
    yield inventory
    delete_namespaces(sandbox, NAMESPACE, wait=False)
    sandbox.entra("PUT", "/apps/team-b", {"redirect_uris": [uri for uri in registered if uri not in ours]})


def _apps(inventory: Inventory, *apps: dict[str, t.Any], groups: collections.abc.Sequence[dict[str, str]] = (DEVELOPERS,)) -> None:
    with inventory.team(TEAM) as data:
        data["gateway_auth_allowed_groups"] = list(groups)
        data["gateway_auth_apps"] = list(apps)


def _onboard(sandbox: Sandbox, inventory: Inventory, *hosts: str) -> Poller:
    """Poll the hosts while the team is onboarded; no answer of an app may be among what was seen."""
    with Poller(sandbox, hosts) as poller:
        time.sleep(0.5)
        run = sandbox.playbook("onboard_team", "-e", "team=w1", inventory=inventory.path)
        time.sleep(AFTER_S)
    run.must()
    print(poller.report())
    assert poller.opened() == [], poller.report()
    for host in hosts:
        assert poller.rate(host) >= LEAST_RATE, poller.report()
    return poller


# The tests of this module are one story and run in this order.


def test_onboarding_opens_nothing(sandbox: Sandbox, team: Inventory) -> None:
    _apps(team, _app("one"))
    poller = _onboard(sandbox, team, ONE)
    assert poller.kinds(ONE)[0] == "no route"
    assert poller.samples[-1].kind in ("login", "refused"), poller.report()


def test_another_app_and_narrowed_groups_open_nothing(sandbox: Sandbox, team: Inventory) -> None:
    _apps(team, _app("one", allowed_groups=[ONCALL]), _app("two"), groups=[DEVELOPERS, ONCALL])
    poller = _onboard(sandbox, team, ONE, TWO)
    assert set(poller.kinds(ONE)) <= {"login", "refused"}, poller.report()
    assert poller.kinds(TWO)[0] == "no route"
    assert poller.kinds(TWO)[-1] in ("login", "refused")


@pytest.mark.sample(0)
def test_another_hostname_opens_nothing(sandbox: Sandbox, team: Inventory) -> None:
    _apps(team, _app("one", hostname=RENAMED), _app("two"))
    poller = _onboard(sandbox, team, ONE, TWO, RENAMED)
    assert poller.kinds(ONE)[-1] == "no route", poller.report()
    assert poller.kinds(RENAMED)[0] == "no route"
    assert poller.kinds(RENAMED)[-1] in ("login", "refused"), poller.report()


def test_a_removed_app_is_never_open(sandbox: Sandbox, team: Inventory) -> None:
    with team.team(TEAM) as data:
        one, _two = data["gateway_auth_apps"]
        data["gateway_auth_apps"] = [one]
    stays = one.get("hostname", ONE)
    poller = _onboard(sandbox, team, TWO, stays)
    assert poller.kinds(TWO)[-1] == "no route", poller.report()
    assert set(poller.kinds(stays)) <= {"login", "refused"}, poller.report()
    names = {f"{item['kind']}/{item['metadata']['name']}" for item in sandbox.get("httproute,securitypolicy", namespace=NAMESPACE)}
    assert not [name for name in names if "two" in name]


# --- the poller itself: a judge that sees nothing would pass every test above ----------------------------------------------


def test_the_poller_sees_an_open_door(sandbox: Sandbox, team: Inventory) -> None:
    host = f"open-{TEAM}.{DOMAIN}"
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "open-on-purpose", "namespace": NAMESPACE},
        "spec": {
            "hostnames": [host],
            "parentRefs": [{"name": "main", "namespace": "gateway-envoy", "sectionName": "https"}],
            "rules": [{"backendRefs": [{"name": "echo", "port": 8080}]}],
        },
    }
    with Poller(sandbox, [host]) as poller:
        time.sleep(0.5)
        sandbox.apply(route)
        time.sleep(2)
        sandbox.kubectl("-n", NAMESPACE, "delete", "httproute", "open-on-purpose")
    assert poller.opened()
    assert poller.rate(host) >= LEAST_RATE


_AUTHORIZE = f"https://{LOGIN}/{TENANT}/oauth2/v2.0/authorize?client_id=x"


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (302, {"location": _AUTHORIZE}, b'<a href="...">Found</a>', "login"),
        (401, {"content-type": "application/json"}, b"{}", "refused"),
        (404, {}, b"", "no route"),
        (503, {}, b"", "unavailable"),
        (200, {}, b"", OPEN),
        (204, {}, b"", OPEN),
        (304, {}, b"", OPEN),
        (200, {}, b"<title>Prometheus", OPEN),
        (302, {"location": "/graph"}, b"", OPEN),
        (302, {"location": "https://elsewhere.test/"}, b"", OPEN),
        (404, {}, b"404 page not found\n", OPEN),
        (401, {"content-type": "text/html"}, b"<html>", OPEN),
        (403, {}, b"forbidden by the app", OPEN),
        (500, {}, b"stack trace", OPEN),
        (503, {}, b"no healthy upstream", OPEN),
        (302, {"location": _AUTHORIZE}, b'{"pod": "echo"}', OPEN),
    ],
)
def test_the_judge_takes_whatever_it_does_not_know_for_open(status: int, headers: dict[str, str], body: bytes, kind: str) -> None:
    assert judge(status, headers, body) == kind
    assert kind == OPEN or kind in CLOSED_KINDS
