# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waivers in force: which, and how they are told."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._verify import Check, judge_waivers, render
from ansible_collections.platform.gateway_auth.plugins.module_utils._waivers import days_left, in_force
from tests.golden import team

OPENED: dict[str, t.Any] = {"extraArgs": {"cookie-domain": ".apps.example.com", "footer": "x"}, "ingress": {"enabled": True}}


def waiver(option: str) -> dict[str, str]:
    return {"option": option, "owner": "platform@example.com", "reason": "old\nclients", "expires": "2027-01-01"}


@pytest.mark.parametrize(
    ("options", "used"),
    [
        ([], []),
        (["helm_values.extraArgs.cookie-domain"], ["helm_values.extraArgs.cookie-domain"]),
        (["cookie-domain", "gateway_auth_helm_values.ingress.enabled"], ["cookie-domain", "gateway_auth_helm_values.ingress.enabled"]),
        (["helm_values.extraArgs.footer", "enabled", "helm_values.extraArgs"], []),
    ],
    ids=str,
)
def test_which_are_in_force(options: list[str], used: list[str]) -> None:
    found = in_force(team({"helm_values": OPENED, "waivers": [waiver(option) for option in options]}))
    assert [entry.waiver.option for entry in found] == used


def test_a_waiver_is_told_with_owner_reason_last_day_and_what_it_opens_on_one_line() -> None:
    (entry,) = in_force(team({"helm_values": OPENED, "waivers": [waiver("cookie-domain")]}))
    text = str(entry)
    for word in ("platform@example.com", "old clients", "2027-01-01", "helm_values.extraArgs.cookie-domain", "worthless at another", ".apps.example.com"):
        assert word in text
    assert "\n" not in text


def test_a_secret_is_never_waived() -> None:
    assert in_force(team({"helm_values": {"extraArgs": {"cookie-secret": "CANARY"}}, "waivers": [waiver("cookie-secret")]})) == []


def test_verification_tells_each_and_fails_for_none() -> None:
    checks = judge_waivers(team({"helm_values": OPENED, "waivers": [waiver("cookie-domain"), waiver("helm_values.ingress.enabled")]}))
    assert [check.id for check in checks] == ["waiver:cookie-domain", "waiver:helm_values.ingress.enabled"]
    assert not any(check.failed for check in checks)
    assert "2 warnings" in render([*checks, Check("x", "x", True)])
    assert judge_waivers(team()) == []


def test_days() -> None:
    day = datetime.date(2026, 11, 24)
    assert days_left(day, day) == 0
    assert days_left(datetime.date(2026, 12, 8), day) == 14


def test_groups_that_are_only_named_are_no_obstacle() -> None:
    named = team({"helm_values": OPENED, "waivers": [waiver("cookie-domain")], "allowed_groups": [{"id": "", "name": "developers"}]})
    assert len(in_force(named)) == 1
