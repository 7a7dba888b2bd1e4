# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who stays logged in: the table of docs/rotation.md, cell by cell, as a logged-in user sees it.

``make soak`` takes every cell marked (e2e) (SESSIONS=all), ``make test`` one by a seed that it prints (SESSIONS=1, SESSIONS_SEED=…).
"""

from __future__ import annotations

import collections.abc
import os
import random
import time
import typing as t

import pytest

from .entra import Registration
from .inventory import Inventory
from .login import Browser
from .sandbox import DOMAIN, ROOT, Sandbox
from .workload import Object, delete_namespaces, echo, namespace, service

TEAM = "team-s1"
NAMESPACE = f"monitoring-{TEAM}"
RELEASE = f"monitoring-oauth2-proxy-{TEAM}"
HOST = f"echo-{TEAM}.{DOMAIN}"
URL = f"https://{HOST}/work"
MINE = {"name": "their-store", "key": "password"}
STORES: dict[str, dict[str, t.Any]] = {
    "bundled": {"type": "bundled"},
    "external": {"type": "external", "url": "redis://their-store:6379", "secret": MINE},
    "cookie": {"type": "cookie"},
}
SETTLED_S = 60.0
SESSIONS = os.environ.get("SESSIONS", "1")
SEED = int(os.environ.get("SESSIONS_SEED", time.time_ns() % 100_000))


def cells() -> list[tuple[str, str, bool]]:
    """(store, event, whether a user stays logged in) of each cell that says it is held here."""
    page = (ROOT / "docs" / "rotation.md").read_text(encoding="utf-8")
    lines = [line for line in page.partition("<!-- sessions:")[2].partition("<!-- end of sessions -->")[0].splitlines() if line.startswith("|")]
    head, _rule, *rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    stores = [name.replace("`", "") for name in head[1:]]
    found = []
    for event, *answers in rows:
        for store, answer in zip(stores, answers, strict=True):
            if "(e2e)" in answer:
                found.append((store, event, answer.startswith("yes")))
    return found


CELLS = cells()
# By store, since changing it is what takes time.
CHOSEN = sorted(CELLS if SESSIONS == "all" else random.Random(SEED).sample(CELLS, int(SESSIONS)), key=lambda cell: list(STORES).index(cell[0]))


@pytest.fixture(scope="module")
def team(sandbox: Sandbox, onboarded: Inventory, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Inventory]:
    print(f"SESSIONS={SESSIONS} SESSIONS_SEED={SEED}")
    registration = Registration(sandbox, f"gateway-auth.sandbox.monitoring.{TEAM}")
    inventory = onboarded.copy(tmp_path_factory.mktemp("s1"))
    with inventory.team(TEAM) as data:
        data["gateway_auth_allowed_groups"] = [{"id": "5f0c0c7e-0000-4000-8000-0000000000a1", "name": "team-a-developers"}]
        data["gateway_auth_apps"] = [{"name": "echo", "service": {"name": "echo", "port": 8080}}]
    registration.purge()
    delete_namespaces(sandbox, NAMESPACE)
    sandbox.apply(namespace(NAMESPACE), *echo(NAMESPACE), *_their_store())
    for name in ("echo", "their-store"):
        sandbox.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{name}", "--timeout=60s")
    yield inventory
    delete_namespaces(sandbox, NAMESPACE, wait=False)
    registration.purge()


def _their_store() -> list[Object]:
    """A Valkey that isn't ours, for the external store."""
    labels = {"app": "their-store"}
    container = {
        "name": "store",
        "image": "docker.io/valkey/valkey:9.1.2",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "exec valkey-server --save '' --requirepass \"$PASSWORD\""],
        "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": MINE}}],
        "ports": [{"containerPort": 6379}],
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "their-store", "namespace": NAMESPACE},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": MINE["name"], "namespace": NAMESPACE}, "stringData": {MINE["key"]: "theirs-not-ours"}}
    return [secret, deployment, service("their-store", NAMESPACE, 6379)]


def _onboard(sandbox: Sandbox, inventory: Inventory, store: str, credential: str = "client_secret") -> None:
    with inventory.hosts() as data:
        data["teams"]["hosts"][TEAM] = {"gateway_auth_session_store": STORES[store], "gateway_auth_credential": credential}
    sandbox.playbook("onboard_team", "-e", "team=s1", inventory=inventory.path).must()


def _rotate(what: str) -> t.Callable[[Sandbox, Inventory, str], None]:
    return lambda sandbox, inventory, _store: sandbox.playbook("rotate_team", "-e", "team=s1", "-e", f"rotate={what}", inventory=inventory.path).must() and None


def _restart(name: str) -> t.Callable[[Sandbox, Inventory, str], None]:
    def act(sandbox: Sandbox, _inventory: Inventory, _store: str) -> None:
        # As a drain does it: each pod is deleted, and another one comes.
        pods = sandbox.get("pod", namespace=NAMESPACE, labels=f"app.kubernetes.io/name={name},app.kubernetes.io/instance={RELEASE}")
        assert pods
        deployment = RELEASE if name == "oauth2-proxy" else f"{RELEASE}-store"
        for pod in pods:
            sandbox.kubectl("-n", NAMESPACE, "delete", "pod", pod["metadata"]["name"], "--wait=true")
            sandbox.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{deployment}", "--timeout=90s")

    return act


EVENTS: dict[str, t.Callable[[Sandbox, Inventory, str], None]] = {
    "client secret rotated": _rotate("client_secret"),
    "cookie secret rotated": _rotate("cookie_secret"),
    "store password rotated": _rotate("redis_password"),
    "proxy pods restart, or their node drains": _restart("oauth2-proxy"),
    "store's pod restarts, or its node drains": _restart("session-store"),
    "switch to federated": lambda sandbox, inventory, store: _onboard(sandbox, inventory, store, "federated"),
    "switch back to client_secret": lambda sandbox, inventory, store: _onboard(sandbox, inventory, store),
}


def test_every_event_of_the_table_is_known_and_some_cells_are_held() -> None:
    assert {event for _store, event, _stays in CELLS} <= set(EVENTS)
    assert {store for store, _event, _stays in CELLS} == set(STORES)
    assert len(CELLS) >= 12


@pytest.mark.parametrize(("store", "event", "stays"), CHOSEN, ids=str)
def test_who_stays_logged_in(sandbox: Sandbox, team: Inventory, browser: type[Browser], store: str, event: str, stays: bool) -> None:
    _onboard(sandbox, team, store, "federated" if event == "switch back to client_secret" else "client_secret")
    alice = browser("alice")
    assert alice.visit(URL).final.status == 200
    EVENTS[event](sandbox, team, store)
    # A pause (503) is allowed; what counts is what comes after it.
    deadline = time.monotonic() + SETTLED_S
    while (status := alice.get(URL).status) == 503 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert status == (200 if stays else 302)
    assert browser("carol").visit(URL).final.status == 200, "everybody can sign in anew"
