# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waivers in force: which guarantee is open for a team, by whose word, why and until when (pure). One text for every place that tells it."""

from __future__ import annotations

import dataclasses
import datetime

from ansible_collections.platform.gateway_auth.plugins.module_utils import _validate_helm
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team, Waiver

SOON_DAYS = 14


@dataclasses.dataclass(frozen=True)
class InForce:
    """One waiver that lets something of a team pass, and what it lets pass."""

    waiver: Waiver
    doubts: tuple[_validate_helm.Doubt, ...]

    def __str__(self) -> str:
        options = ", ".join(doubt.option for doubt in self.doubts)
        opened = "; ".join(f"instead of {doubt.expected} it has {doubt.found}" for doubt in self.doubts)
        return f"{options} (owner {_line(self.waiver.owner)}, last day {self.waiver.expires}, because: {_line(self.waiver.reason)}): {opened}"


def in_force(team: Team) -> list[InForce]:
    """The waivers of a valid team that are used. An expired one doesn't get here: it fails the validation."""
    if not team.waivers:
        return []
    doubts = [doubt for doubt in _validate_helm.judge_team(team) if doubt.waivable]
    found = []
    for waiver in team.waivers:
        opened = tuple(doubt for doubt in doubts if _validate_helm.waiver_key(waiver.option) in doubt.waivers)
        if opened:
            found.append(InForce(waiver, opened))
    return found


def days_left(expires: datetime.date, today: datetime.date) -> int:
    """Days until a waiver's last day; 0 on that day."""
    return (expires - today).days


def _line(text: str) -> str:
    return " ".join(text.split())
