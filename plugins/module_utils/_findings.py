# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings: what is wrong with an inventory, where, and what mends it."""

from __future__ import annotations

import collections.abc
import dataclasses
import typing as t

ERROR = "error"
WARNING = "warning"

_SHOWN_TEAMS = 5
_SHOWN_LENGTH = 100


@dataclasses.dataclass(frozen=True)
class Place:
    """Where something is written. ``line`` is 0 when it isn't known (JSON files, values given with -e)."""

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        if not self.file:
            return "inventory"
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing wrong. ``team`` is the inventory host, empty when it concerns the run as a whole."""

    team: str
    file: str
    line: int
    path: str
    expected: str
    found: str
    remedy: str
    rule: str
    severity: str = ERROR

    @property
    def place(self) -> Place:
        return Place(self.file, self.line)

    def to_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)


def errors(findings: collections.abc.Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == ERROR]


def blocking(findings: collections.abc.Iterable[Finding], addressed: collections.abc.Collection[str], mode: str) -> list[Finding]:
    """The errors that stop this run (guarantee 2).

    ``all``: every error. ``addressed``: those of the addressed teams and of the run itself. A collision of two teams is a
    finding at each of them, so it stops a run that addresses either.
    """
    if mode == "all":
        return errors(findings)
    return [finding for finding in errors(findings) if not finding.team or finding.team in addressed]


def shown(value: object) -> str:
    """A found value for a message: quoted, on one line, not endless."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = repr(value)
    elif isinstance(value, collections.abc.Mapping):
        text = f"a mapping with {', '.join(str(key) for key in value)}" if value else "an empty mapping"
    elif isinstance(value, (list, tuple)):
        text = f"a list of {len(value)}" if value else "an empty list"
    else:
        text = str(value)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"


def to_dicts(findings: collections.abc.Iterable[Finding]) -> list[dict[str, t.Any]]:
    return [finding.to_dict() for finding in findings]


def render(findings: collections.abc.Sequence[Finding], conclusion: str = "") -> str:
    """One report for people, errors first. What many teams share (a line of the platform's file) is said once."""
    groups: dict[Finding, list[str]] = {}
    for finding in findings:
        groups.setdefault(dataclasses.replace(finding, team=""), []).append(finding.team)
    ordered = sorted(groups.items(), key=lambda item: (item[0].severity != ERROR, item[1][0], item[0].file, item[0].line, item[0].path))
    count = {severity: sum(1 for finding in groups if finding.severity == severity) for severity in (ERROR, WARNING)}
    head = ", ".join(f"{number} {severity}{'' if number == 1 else 's'}" for severity, number in count.items() if number)
    lines = [f"The inventory has {head or 'no findings'}.{' ' if conclusion else ''}{conclusion}"]
    for finding, teams in ordered:
        lines += ["", f"{finding.severity}: {finding.place}: {finding.path} [{finding.rule}]"]
        lines.append(f"  {_whose(teams)}Expected {finding.expected}, found {finding.found}.")
        if finding.remedy:
            lines.append(f"  {finding.remedy}")
    return "\n".join(lines)


def _whose(teams: list[str]) -> str:
    names = [f"'{team}'" for team in dict.fromkeys(teams) if team]
    if not names:
        return ""
    if len(names) == 1:
        return f"Team {names[0]}: "
    if len(names) > _SHOWN_TEAMS:
        return f"Teams {', '.join(names[:_SHOWN_TEAMS])} and {len(names) - _SHOWN_TEAMS} more: "
    return f"Teams {', '.join(names)}: "
