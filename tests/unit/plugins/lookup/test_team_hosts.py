# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard before a play has hosts. (Through ansible-playbook: action/test_compile_teams.py.)"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader

from ansible_collections.platform.gateway_auth.plugins.lookup.team_hosts import LookupModule
from tests.golden import inventory

TEAM_B = inventory.TEAM_FILE % {"letter": "b"}


def run(folder: pathlib.Path, **variables: t.Any) -> list[str]:
    lookup = LookupModule(loader=DataLoader())
    lookup.set_options = lambda **_options: None
    given = {"groups": {"teams": ["team-a", "team-b"]}, "ansible_inventory_sources": [str(folder)], "playbook_dir": str(folder), **variables}
    return lookup.run(["teams"], variables=given)


@pytest.fixture
def powerful(tmp_path: pathlib.Path) -> pathlib.Path:
    return inventory.write(tmp_path, {"files": {"host_vars/team-b.yml": TEAM_B + "ansible_become: true\n"}})


def test_nothing_is_in_the_way(tmp_path: pathlib.Path) -> None:
    assert run(inventory.write(tmp_path)) == ["teams"]


def test_without_teams_it_has_nothing_to_say(tmp_path: pathlib.Path) -> None:
    assert run(tmp_path, groups={}) == ["teams"]


def test_a_finding_that_ansible_would_not_act_on_waits_for_the_whole_report(tmp_path: pathlib.Path) -> None:
    assert run(inventory.write(tmp_path, {"files": {"host_vars/team-b.yml": TEAM_B + "gateway_auth_replicas: 3\n"}})) == ["teams"]


def test_power_is_refused_with_file_and_line(powerful: pathlib.Path) -> None:
    with pytest.raises(AnsibleLookupError) as caught:
        run(powerful, team="a")
    assert "host_vars/team-b.yml:5: ansible_become" in str(caught.value)


@pytest.mark.parametrize("text", ["- a list\n", "gateway_auth_apps: {\n"], ids=["no mapping", "no YAML"])
def test_a_file_that_ansible_cannot_read_is_told_or_left_out(tmp_path: pathlib.Path, text: str) -> None:
    inventory.write(tmp_path, {"files": {"host_vars/team-b.yml": text}})
    assert run(tmp_path, team="a", __gateway_auth_mode="addressed") == ["teams:!team-b"]
    with pytest.raises(AnsibleLookupError, match=r"host_vars/team-b\.yml"):
        run(tmp_path, team="a")


@pytest.mark.parametrize("team", ["b", ""], ids=["addressed", "all"])
def test_an_addressed_team_is_refused_in_any_mode(powerful: pathlib.Path, team: str) -> None:
    with pytest.raises(AnsibleLookupError):
        run(powerful, team=team, __gateway_auth_mode="addressed")


def test_another_team_is_left_out_where_an_incident_cannot_wait(powerful: pathlib.Path) -> None:
    assert run(powerful, team="a", __gateway_auth_mode="addressed") == ["teams:!team-b"]


@pytest.mark.parametrize("terms", [[], ["all:localhost", "teams"]], ids=["none", "two"])
def test_each_pattern_is_answered(tmp_path: pathlib.Path, terms: list[str]) -> None:
    lookup = LookupModule(loader=DataLoader())
    lookup.set_options = lambda **_options: None
    assert lookup.run(terms, variables={"playbook_dir": str(tmp_path)}) == terms
