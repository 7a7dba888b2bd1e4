# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the platform has opened on purpose is told wherever a team is touched, and two teams with one secret are found in the cluster."""

from __future__ import annotations

import base64
import collections.abc
import json
import pathlib

import pytest

from .inventory import Inventory
from .sandbox import Sandbox

# Opens nothing here: no request of an app reaches the proxy under its own path.
WAIVED = "helm_values.extraArgs.api-route"
REASON = "a client of 2019 without redirects"


@pytest.fixture
def waived(onboarded: Inventory, tmp_path: pathlib.Path) -> Inventory:
    inventory = onboarded.copy(tmp_path)
    with inventory.platform() as data:
        data["gateway_auth_helm_values"] = {"extraArgs": {"api-route": "^/api/"}}
        data["gateway_auth_waivers"] = [{"option": WAIVED, "owner": "platform@example.com", "reason": REASON, "expires": "2999-12-31"}]
    return inventory


@pytest.mark.parametrize(
    "command",
    [("validate_teams",), ("onboard_team", "-e", "team=a", "--check"), ("verify_team", "-e", "team=a")],
    ids=lambda command: command[0],
)
def test_a_waiver_in_force_is_told_and_stops_nothing(sandbox: Sandbox, waived: Inventory, command: tuple[str, ...]) -> None:
    run = sandbox.playbook(*command, inventory=waived.path).must()
    for word in (WAIVED, "platform@example.com", REASON, "2999-12-31", "every request needs a session"):
        assert word in run.output


@pytest.fixture
def copied(sandbox: Sandbox, onboarded: Inventory) -> collections.abc.Iterator[str]:
    """Team b's Secret holds team a's cookie secret, as a restored backup or a copied manifest would have it."""
    theirs = sandbox.get("secret", "oauth2-proxy-team-a", "monitoring-team-a")["data"]["cookie-secret"]
    mine = sandbox.get("secret", "oauth2-proxy-team-b", "monitoring-team-b")["data"]["cookie-secret"]
    _patch(sandbox, theirs)
    yield theirs
    _patch(sandbox, mine)


def _patch(sandbox: Sandbox, value: str) -> None:
    sandbox.kubectl("-n", "monitoring-team-b", "patch", "secret", "oauth2-proxy-team-b", "-p", json.dumps({"data": {"cookie-secret": value}}))


def test_teams_with_secrets_of_their_own_are_told_so(sandbox: Sandbox, onboarded: Inventory) -> None:
    run = sandbox.playbook("verify_team", inventory=onboarded.path).must()
    assert run.output.count("no secret is that of another of the 2 teams") >= 2


def test_two_teams_with_one_cookie_secret_fail_and_it_is_not_shown(sandbox: Sandbox, onboarded: Inventory, copied: str) -> None:
    run = sandbox.playbook("verify_team", "-vvv", inventory=onboarded.path)
    assert run.rc != 0
    assert "cookie-secret is this team's own" in run.output
    assert "the same as that of team-a" in run.output and "the same as that of team-b" in run.output
    assert "rotate=cookie_secret" in run.output
    assert copied not in run.output and base64.b64decode(copied).decode() not in run.output
    sandbox.playbook("verify_team", "-e", "team=a", inventory=onboarded.path).must()
