# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A team goes and comes back: out of service first, then away for good, and back with the client id it had.

A stranger asks all the while; nothing of the app may be seen. What is left is looked for with kubectl and at the double of Entra, not by our own
plugins.
"""

from __future__ import annotations

import collections.abc
import pathlib
import time

import pytest

from .audit import AuditLog
from .entra import Registration, permitted
from .inventory import Inventory
from .login import Browser
from .poller import LEAST_RATE, Poller
from .sandbox import DOMAIN, Run, Sandbox
from .workload import Identity, delete_namespaces, echo, namespace

TEAM = "team-o1"
NAMESPACE = f"monitoring-{TEAM}"
SHARED = "e2e-shared-o1"
HOST = f"echo-{TEAM}.{DOMAIN}"
DEVELOPERS = {"id": "5f0c0c7e-0000-4000-8000-0000000000a1", "name": "team-a-developers"}
AFTER_S = 1.5  # polled on after a playbook has ended: Envoys may still converge
YES = ("-e", f"confirm={TEAM}")
WEEK = ("-e", "gateway_auth_quarantine=7d")


class Story:
    """The team's inventory, who runs the playbooks, and who works meanwhile."""

    def __init__(self, sandbox: Sandbox, inventory: Inventory, identity: Identity, user: Browser) -> None:
        self.sandbox = sandbox
        self.inventory = inventory
        self.registration = Registration(sandbox, f"gateway-auth.sandbox.monitoring.{TEAM}")
        self.user = user
        self.client_id = ""
        self._identity = identity
        self._audit = AuditLog(sandbox)

    def run(self, playbook: str, *arguments: str) -> tuple[Run, list[str]]:
        """A run, and what it wrote to the cluster or to Entra."""
        self.sandbox.entra("DELETE", "/journal")
        since = self._audit.here()
        run = self.sandbox.playbook(playbook, "-e", "team=o1", *arguments, inventory=self.inventory.path)
        asked = [entry for entry in self.sandbox.entra("GET", "/journal") if entry["host"] == "graph.microsoft.com" and entry["method"] != "GET"]
        entra = [f"{entry['method']} {entry['path']}" for entry in asked if not entry["path"].endswith("/getByIds")]
        return run, self._audit.writes(since, self._identity.user) + entra

    def watched(self, playbook: str, *arguments: str) -> Poller:
        """A run that must succeed while a stranger asks; nothing of the app may be seen."""
        with Poller(self.sandbox, [HOST]) as poller:
            time.sleep(0.5)
            run, _writes = self.run(playbook, *arguments)
            time.sleep(AFTER_S)
        run.must()
        print(poller.report())
        assert poller.opened() == [], poller.report()
        assert poller.rate(HOST) >= LEAST_RATE, poller.report()
        return poller


@pytest.fixture(scope="module")
def story(sandbox: Sandbox, example: Inventory, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Story]:
    """The team is online, in a namespace that we made; its app runs in another one."""
    folder: pathlib.Path = tmp_path_factory.mktemp("o1")
    inventory = example.copy(folder)
    identity = Identity(sandbox, "offboard", folder)
    found = Story(sandbox, inventory, identity, Browser(sandbox, "alice"))
    sandbox.playbook("prepare_gateway", inventory=inventory.path).must()
    with inventory.platform() as data:
        data["gateway_auth_service_namespaces"] = [SHARED]
        data["gateway_auth_cluster"] = {"kubeconfig": str(identity.kubeconfig)}
    with inventory.hosts() as data:
        data["teams"]["hosts"][TEAM] = None
    with inventory.team(TEAM) as data:
        data["gateway_auth_allowed_groups"] = [DEVELOPERS]
        data["gateway_auth_apps"] = [{"name": "echo", "service": {"name": "echo", "port": 8080, "namespace": SHARED}, "public_paths": ["/open"]}]
    found.registration.purge()
    delete_namespaces(sandbox, NAMESPACE, SHARED)
    sandbox.apply(namespace(SHARED), *echo(SHARED))
    sandbox.kubectl("-n", SHARED, "rollout", "status", "deployment/echo", "--timeout=60s")
    found.run("onboard_team")[0].must()
    found.client_id = found.registration.must()["client_id"]
    assert found.user.visit(f"https://{HOST}/").final.status == 200
    yield found
    delete_namespaces(sandbox, NAMESPACE, SHARED, wait=False)
    found.registration.purge()


def _words(run: Run) -> str:
    return " ".join(run.output.split())


# The tests of this module are one story and run in this order.


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "arguments", [(), ("-e", "confirm=o1"), ("-e", "confirm=team-o1,team-a"), ("-e", "confirm=yes")], ids=lambda given: given[-1] if given else "none"
)
def test_without_its_name_nothing_goes(story: Story, arguments: tuple[str, ...]) -> None:
    run, writes = story.run("offboard_team", *arguments)
    assert run.rc != 0 and writes == []
    assert f"Expected -e confirm={TEAM}" in _words(run) and "Nothing was changed" in _words(run)


def test_a_protected_team_stays(story: Story) -> None:
    run, writes = story.run("offboard_team", *YES, "-e", '{"gateway_auth_deletion_protection": true}')
    assert run.rc != 0 and writes == []
    assert "gateway_auth_deletion_protection is true" in _words(run)


@pytest.mark.sample(1)
@pytest.mark.parametrize("arguments", [(), WEEK], ids=["at once", "quarantine"])
def test_check_mode_writes_nothing(story: Story, arguments: tuple[str, ...]) -> None:
    run, writes = story.run("offboard_team", "--check", "--diff", *arguments)
    run.must()
    assert writes == []
    assert f"{TEAM}: ok, " in run.output and "objects would be changed" in _words(run)


def test_in_quarantine_nobody_is_served(story: Story, browser: type[Browser]) -> None:
    poller = story.watched("offboard_team", *YES, *WEEK)
    assert set(poller.kinds(HOST)) <= {"login", "refused"}, poller.report()
    page = story.user.visit(f"https://{HOST}/").final
    assert page.status == 403 and f"echo of {TEAM} is out of service" in page.text, page
    assert browser().get(f"https://{HOST}/open").status != 200, "nor is what was public"
    late = browser("carol").visit(f"https://{HOST}/")
    assert late.final.status != 200 and "AADSTS" in late.final.text, late
    run, writes = story.run("offboard_team", *YES, *WEEK)
    assert run.rc == 0 and writes == [], run.output[-3000:]


@pytest.mark.sample(0)
def test_in_quarantine_a_team_is_not_onboarded_by_the_way(story: Story) -> None:
    for playbook in ("onboard_team", "plan_team"):
        run, writes = story.run(playbook)
        assert run.rc != 0 and writes == []
        assert "In quarantine since" in _words(run) and "restore_team -e team=o1" in _words(run)
    run, _writes = story.run("verify_team")
    assert run.rc != 0 and "the team is in service" in run.output


def test_out_of_quarantine_it_serves_again(story: Story) -> None:
    story.watched("restore_team")
    assert story.user.visit(f"https://{HOST}/").final.status == 200, "with the session it had"
    run, writes = story.run("onboard_team")
    assert run.rc == 0 and writes == [], run.output[-3000:]
    assert story.registration.must()["client_id"] == story.client_id


def _left(sandbox: Sandbox) -> list[str]:
    """Whatever carries the team's label, of every kind and anywhere."""
    kinds = sandbox.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    left = sandbox.kubectl(
        "get", ",".join(kind for kind in kinds if kind != "events"), "-A", "-l", f"gateway-auth/team={TEAM}", "--ignore-not-found", "-o", "name"
    )
    return left.split()


def test_away_for_good(story: Story) -> None:
    assert len(_left(story.sandbox)) > 10, "what is looked for is there before"
    poller = story.watched("offboard_team", *YES)
    assert poller.kinds(HOST)[-1] == "no route", poller.report()
    assert _left(story.sandbox) == []
    assert story.sandbox.get("namespace", NAMESPACE) is None, "ours, and empty"
    assert story.sandbox.get("deployment", "echo", SHARED) is not None
    assert story.registration.find() is None
    run, writes = story.run("offboard_team", *YES)
    assert run.rc == 0 and writes == [], run.output[-3000:]
    assert f"nothing carries the labels of {TEAM} any more" in _words(run)


@pytest.mark.sample(0)
def test_what_was_deleted_is_not_made_anew(story: Story) -> None:
    run, _writes = story.run("onboard_team")
    assert run.rc != 0 and "restore_team -e team=o1" in _words(run)
    run, writes = story.run("restore_team")
    assert run.rc != 0 and writes == []
    assert "needs Application.Read.All" in _words(run)


def test_back_with_the_client_id_it_had(story: Story, browser: type[Browser]) -> None:
    with permitted(story.sandbox, "Application.Read.All"):
        run, writes = story.run("restore_team", "--check", "--diff")
        assert run.rc == 0 and writes == [], run.output[-3000:]
        story.watched("restore_team")
    assert story.registration.must()["client_id"] == story.client_id
    assert browser("alice").visit(f"https://{HOST}/").final.status == 200
    run, writes = story.run("restore_team")
    assert run.rc == 0 and writes == [], run.output[-3000:]
