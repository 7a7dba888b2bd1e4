# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan says what a run would do, writes nothing, and a run that is given one does that or nothing.

The team is one of its own. The tests of this module are one story and run in this order.
"""

from __future__ import annotations

import collections.abc
import json
import pathlib
import typing as t

import pytest
from selenium.webdriver.common.by import By

from .audit import AuditLog
from .browser import chromium, missing
from .entra import Registration
from .inventory import Inventory
from .sandbox import DOMAIN, ROOT, Run, Sandbox
from .workload import Identity, delete_namespaces, echo, namespace

TEAM = "team-p1"
NAMESPACE = f"monitoring-{TEAM}"
IMAGE = ROOT / "docs" / "images" / "plan.png"
DEVELOPERS = {"id": "5f0c0c7e-0000-4000-8000-0000000000a1", "name": "team-a-developers"}
ONCALL = {"id": "5f0c0c7e-0000-4000-8000-0000000000a2", "name": "team-a-oncall"}

Object = dict[str, t.Any]


class Planner:
    """Runs playbooks for the team as an identity of its own, whose writes the audit log tells."""

    def __init__(self, sandbox: Sandbox, inventory: Inventory, identity: Identity, folder: pathlib.Path) -> None:
        self.sandbox = sandbox
        self.inventory = inventory
        self.file = folder / "plan.json"
        self._identity = identity
        self._audit = AuditLog(sandbox)
        with inventory.platform() as data:
            data["gateway_auth_cluster"] = {"kubeconfig": str(identity.kubeconfig)}

    def apps(self, *apps: Object, groups: collections.abc.Sequence[Object] = (DEVELOPERS,)) -> None:
        with self.inventory.team(TEAM) as data:
            data["gateway_auth_allowed_groups"] = list(groups)
            data["gateway_auth_apps"] = [{"name": "one", "service": {"name": "echo", "port": 8080}}, *apps]

    def run(self, playbook: str, *arguments: str) -> tuple[Run, list[str]]:
        """A run, and what it wrote to the cluster or to Entra."""
        self.sandbox.entra("DELETE", "/journal")
        since = self._audit.here()
        run = self.sandbox.playbook(playbook, "-e", "team=p1", *arguments, inventory=self.inventory.path)
        asked = [entry for entry in self.sandbox.entra("GET", "/journal") if entry["host"] == "graph.microsoft.com" and entry["method"] != "GET"]
        entra = [f"{entry['method']} {entry['path']}" for entry in asked if not entry["path"].endswith("/getByIds")]
        return run, self._audit.writes(since, self._identity.user) + entra

    def plan(self, *arguments: str) -> tuple[Object, list[str]]:
        """The plan in JSON and its lines."""
        self.file.unlink(missing_ok=True)
        run, writes = self.run("plan_team", "-e", f"dest={self.file}", *arguments)
        run.must()
        assert writes == []
        plan = json.loads(self.file.read_text(encoding="utf-8"))
        team = plan["teams"][TEAM]
        lines = [f"{line['sign']} {line['text']}" for line in team["lines"]]
        for line in lines:
            assert line in run.output
        return plan, lines


@pytest.fixture(scope="module")
def planner(sandbox: Sandbox, example: Inventory, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Planner]:
    folder = tmp_path_factory.mktemp("p1")
    inventory = example.copy(folder)
    registration = Registration(sandbox, f"gateway-auth.sandbox.monitoring.{TEAM}")
    sandbox.playbook("prepare_gateway", inventory=inventory.path).must()
    with inventory.hosts() as data:
        data["teams"]["hosts"][TEAM] = None
    registration.purge()
    delete_namespaces(sandbox, NAMESPACE)
    sandbox.apply(namespace(NAMESPACE), *echo(NAMESPACE))
    sandbox.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/echo", "--timeout=60s")
    found = Planner(sandbox, inventory, Identity(sandbox, "planner", folder), folder)
    found.apps()
    yield found
    delete_namespaces(sandbox, NAMESPACE, wait=False)
    registration.purge()


def test_a_first_plan_is_made_of_nothing(planner: Planner) -> None:
    plan, lines = planner.plan()
    assert plan["changed"] is True
    assert plan["failed"] is False
    for line in (
        f"+ app 'one' at https://one-{TEAM}.{DOMAIN} (Service {NAMESPACE}/echo:8080)",
        f"+ login proxy for {TEAM}, for team-a-developers, platform-admins",
        f"+ redirect URI https://one-{TEAM}.{DOMAIN}/oauth2/callback (app 'one')",
    ):
        assert line in lines


def test_a_run_that_holds_to_it_does_it(planner: Planner) -> None:
    run, writes = planner.run("onboard_team", "-e", f"plan={planner.file}")
    assert run.rc == 0, run.output[-4000:]
    assert writes


def test_then_there_is_nothing_to_change(planner: Planner) -> None:
    plan, lines = planner.plan("-e", "fail_on_change=true")
    assert plan["changed"] is False
    assert lines == []
    assert plan["teams"][TEAM]["changes"] == []


def test_a_change_is_told_in_people_s_words_in_every_form(planner: Planner) -> None:
    files = [planner.file.with_suffix(ending) for ending in (".json", ".md", ".html")]
    planner.apps({"name": "two", "service": {"name": "echo", "port": 8080}, "allowed_groups": [ONCALL]}, groups=[DEVELOPERS, ONCALL])
    run, writes = planner.run("plan_team", "-e", json.dumps({"dest": [str(file) for file in files]}), "-e", "fail_on_change=true")
    assert run.rc != 0
    assert writes == []
    assert "fail_on_change" in run.output
    lines = [
        f"+ app 'two' at https://two-{TEAM}.{DOMAIN} (Service {NAMESPACE}/echo:8080)",
        "+ two is behind the login: team-a-oncall, platform-admins",
        f"~ allowed groups of {TEAM}: + team-a-oncall",
        f"+ redirect URI https://two-{TEAM}.{DOMAIN}/oauth2/callback (app 'two')",
    ]
    told, markdown, page = (file.read_text(encoding="utf-8") for file in files)
    team = json.loads(told)["teams"][TEAM]
    for line in lines:
        assert line[2:] in [item["text"] for item in team["lines"]], run.output
        assert line[2:] in markdown
        assert line[2:].replace("'", "&#x27;") in page
    assert team["risk"] == "access"


@pytest.mark.browser
def test_the_page_reads_well_in_a_browser(planner: Planner, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> None:
    packages = missing()
    assert not packages, f"missing: {' '.join(packages)}. Install: apt-get install -y --no-install-recommends {' '.join(packages)} (or: make deps)"
    with chromium(planner.sandbox, tmp_path) as driver:
        driver.set_window_size(1000, 560)
        driver.get(planner.file.with_suffix(".html").as_uri())
        assert driver.title == "Plan: 1 of 1 teams change"
        first = driver.find_element(By.CSS_SELECTOR, "li.added")
        assert first.value_of_css_property("list-style-type") == "none", "its style was refused"
        details = driver.find_element(By.TAG_NAME, "details")
        assert not details.find_element(By.TAG_NAME, "li").is_displayed()
        details.find_element(By.TAG_NAME, "summary").click()
        assert details.find_element(By.TAG_NAME, "li").is_displayed()
        details.find_element(By.TAG_NAME, "summary").click()
        if request.config.getoption("--update-images"):
            driver.save_screenshot(str(IMAGE))


def test_check_mode_foretells_the_same(planner: Planner) -> None:
    run, writes = planner.run("onboard_team", "--check", "--diff")
    run.must()
    assert writes == []
    changes = json.loads(planner.file.read_text(encoding="utf-8"))["teams"][TEAM]["changes"]
    assert f"ok, {len(changes)} objects would be changed" in run.output
    for change in changes:
        assert f"{change['object']} ({change['action']})" in run.output or change["object"] in run.output


def test_a_plan_that_holds_no_more_stops_before_the_first_write(planner: Planner) -> None:
    planner.apps({"name": "three", "service": {"name": "echo", "port": 8080}})
    run, writes = planner.run("onboard_team", "-e", f"plan={planner.file}")
    assert run.rc != 0
    assert writes == []
    for words in ("holds no more", f"it lacks create HTTPRoute {NAMESPACE}/three-{TEAM}", "Nothing was written", f"-e dest={planner.file}"):
        assert words in " ".join(run.output.split())


def test_somebody_s_change_in_the_cluster_ends_a_plan_too(planner: Planner) -> None:
    planner.plan()
    planner.sandbox.kubectl("-n", NAMESPACE, "annotate", "securitypolicy", f"oauth2-one-{TEAM}", "gateway-auth/remove=true")
    run, writes = planner.run("onboard_team", "-e", f"plan={planner.file}")
    assert run.rc != 0
    assert writes == []
    assert f"it lacks update SecurityPolicy {NAMESPACE}/oauth2-one-{TEAM}" in " ".join(run.output.split())
    plan, lines = planner.plan()
    assert any("lifts its protection" in line for line in lines)
    run, _writes = planner.run("onboard_team", "-e", f"plan={planner.file}")
    assert run.rc == 0, run.output[-4000:]
    assert plan["teams"][TEAM]["fingerprint"]


def test_a_removed_app_is_an_outage(planner: Planner) -> None:
    planner.apps()
    plan, lines = planner.plan()
    assert plan["risk"] == "outage"
    assert lines[0] == f"- app 'three': https://three-{TEAM}.{DOMAIN} answers no more"
    run, _writes = planner.run("onboard_team", "-e", f"plan={planner.file}")
    assert run.rc == 0, run.output[-4000:]


# --- drift: what a plan says of an inventory that nobody changed ------------------------------------------------------------


def _drift(planner: Planner) -> tuple[Run, str]:
    run, writes = planner.run("verify_team", "-e", "drift=true")
    assert writes == []
    return run, " ".join(run.output.split())


def test_where_nobody_touched_anything_there_is_no_drift(planner: Planner) -> None:
    run, output = _drift(planner)
    assert run.rc == 0, run.output[-4000:]
    assert f"Team '{TEAM}': no drift" in output


def test_whatever_somebody_changed_is_named_with_who_and_when_and_mended(planner: Planner) -> None:
    sandbox, place = planner.sandbox, ("-n", NAMESPACE)
    release = f"monitoring-oauth2-proxy-{TEAM}"
    policy, secret = f"oauth2-one-{TEAM}", f"oauth2-proxy-{TEAM}"

    def patch(kind: str, name: str, content: t.Any, how: str = "merge") -> None:
        sandbox.kubectl(*place, "patch", kind, name, f"--type={how}", "--field-manager=somebody", "-p", json.dumps(content))

    patch("httproute", f"one-{TEAM}", {"spec": {"hostnames": [f"x.{DOMAIN}"]}})
    sandbox.kubectl(*place, "annotate", "securitypolicy", policy, "gateway-auth/remove=true", "--field-manager=somebody")
    patch("securitypolicy", policy, {"spec": {"extAuth": {"failOpen": True}}})
    patch("deployment", release, [{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--api-route=^/"}], "json")
    patch("secret", secret, [{"op": "remove", "path": "/data/client-id"}], "json")
    registration = Registration(sandbox, f"gateway-auth.sandbox.monitoring.{TEAM}")
    uris = registration.must()["redirect_uris"]
    registration.edit({"redirect_uris": [uri for uri in uris if "one-" not in uri]})
    run, output = _drift(planner)
    assert run.rc != 0
    for words in (
        f"DRIFT HTTPRoute {NAMESPACE}/one-{TEAM}: change spec.hostnames",
        f"SecurityPolicy {NAMESPACE}/{policy}: change spec.extAuth.failOpen from True to False (put there by somebody at 20",
        f"Deployment {NAMESPACE}/{release}",
        "--api-route=^/",
        "(by somebody at 20",
        f"add redirect URI https://one-{TEAM}.{DOMAIN}/oauth2/callback (app 'one')",
        f"Secret {NAMESPACE}/{secret}: set key client-id",
        "onboard_team -e team=p1",
    ):
        assert words in output, run.output[-6000:]
    mended, _writes = planner.run("onboard_team")
    assert mended.rc == 0, mended.output[-4000:]
    run, output = _drift(planner)
    assert run.rc == 0, run.output[-4000:]


def test_a_team_that_left_the_inventory_is_found(planner: Planner, tmp_path: pathlib.Path) -> None:
    without = planner.inventory.copy(tmp_path)
    with without.hosts() as data:
        del data["teams"]["hosts"][TEAM]
    (without.path / "host_vars" / f"{TEAM}.yml").unlink()
    run = planner.sandbox.playbook("verify_team", "-e", "drift=true", inventory=without.path)
    assert run.rc != 0
    assert f"team '{TEAM}' is in the cluster and in no inventory" in " ".join(run.output.split())
