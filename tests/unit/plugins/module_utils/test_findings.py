# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings: what blocks, and how they read."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._findings import (
    RULES,
    WARNING,
    Finding,
    Place,
    blocking,
    errors,
    render,
    shown,
    to_dicts,
)

ONE = Finding("team-a", "host_vars/team-a.yml", 7, "gateway_auth_apps[0].hostname", "a free host", "'x', of team 'team-b'", "Change it.", "hostname-taken")


def test_a_report_says_where_what_and_how_to_mend_it() -> None:
    report = render([ONE], "Nothing was written.")
    for word in ("1 error", "Nothing was written", "host_vars/team-a.yml:7", ONE.path, ONE.expected, ONE.found, ONE.remedy, ONE.rule, "team-a"):
        assert word in report


def test_what_teams_share_is_said_once() -> None:
    shared = [dataclasses.replace(ONE, team=f"team-{number}", file="group_vars/teams.yml") for number in range(9)]
    report = render(shared)
    assert report.count("group_vars/teams.yml:7") == 1
    assert "1 error" in report and "4 more" in report


def test_errors_come_before_warnings() -> None:
    report = render([dataclasses.replace(ONE, severity=WARNING, path="w"), dataclasses.replace(ONE, path="e", team="team-z")])
    assert report.index("error: host_vars") < report.index("warning: host_vars")
    assert "1 error, 1 warning" in report


def test_findings_are_plain_data() -> None:
    assert json.loads(json.dumps(to_dicts([ONE]))) == [ONE.to_dict()]


def test_a_rule_must_be_known() -> None:
    with pytest.raises(ValueError, match="no rule"):
        dataclasses.replace(ONE, rule="nonsense")
    assert all(rule == rule.lower() and " " not in rule for rule in RULES)


MINE = ONE
OTHERS = dataclasses.replace(ONE, team="team-b")
RUNS = dataclasses.replace(ONE, team="")
WARNED = dataclasses.replace(ONE, severity=WARNING)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("all", [MINE, OTHERS, RUNS]), ("addressed", [MINE, RUNS])],
    ids=["all", "addressed"],
)
def test_only_an_addressed_team_is_blocked_where_an_incident_cannot_wait(mode: str, expected: list[Finding]) -> None:
    assert blocking([MINE, OTHERS, RUNS, WARNED], {"team-a"}, mode) == expected
    assert blocking([WARNED], {"team-a"}, mode) == []


def test_warnings_are_no_errors() -> None:
    assert errors([WARNED, MINE]) == [MINE]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        ("a", "'a'"),
        ([], "an empty list"),
        ([1, 2], "a list of 2"),
        ({}, "an empty mapping"),
        ({"a": 1}, "a mapping with a"),
        (3, "3"),
    ],
    ids=str,
)
def test_values_are_shown_in_words(value: t.Any, text: str) -> None:
    assert shown(value) == text


def test_long_values_are_cut() -> None:
    assert len(shown("x" * 1000)) <= 100


@pytest.mark.parametrize(("place", "text"), [(Place("a.yml", 3), "a.yml:3"), (Place("a.json"), "a.json"), (Place(), "inventory")], ids=["line", "file", "none"])
def test_places(place: Place, text: str) -> None:
    assert str(place) == text
