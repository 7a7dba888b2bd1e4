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

# Every rule by its stable id. `tests/golden/validate/error_<rule>.yml` shows each at work.
RULES = {
    "address": "where the probe connects to is an IP address or host name",
    "aks": "an AKS cluster is named as Azure names it",
    "app-group": "an app's groups are among its team's",
    "chart-version": "the chart is one this collection knows",
    "choice": "a value is one of the choices",
    "cidr": "a trusted network is in CIDR notation",
    "cidr-everybody": "not everybody's headers are trusted",
    "claim": "a claim has a claim's name",
    "cluster": "the inventory says which cluster it means",
    "control-in-file": "what a run does is said on the command line alone",
    "dns-label": "names become names of Kubernetes objects",
    "domain": "the domain is a DNS domain",
    "duplicate-app": "an app's name is there once in its team",
    "duplicate-group": "a group is there once in a list",
    "duration": "a duration has the form its reader takes",
    "federated-cloud": "oauth2-proxy can do what the credential asks of it",
    "foreign-service": "an app's Service isn't another team's",
    "group-assignment": "groups are assigned to a registration of ours alone",
    "guid": "ids of Entra are GUIDs",
    "helm-values": "Helm values don't undo a guarantee, unless waived",
    "helm-values-secret": "Helm values hold no secret",
    "hostname": "the wildcard certificate of the domain covers each host",
    "hostname-pattern": "the pattern gives each app of each team a host of its own",
    "hostname-taken": "a host belongs to one app of one team",
    "image-registry": "a registry has a registry's form",
    "key-vault": "a secret of a Key Vault has a name that Key Vault takes",
    "name-length": "composed names fit Kubernetes, Helm and DNS",
    "namespace-taken": "a namespace belongs to one team",
    "no-admins": "the platform's admins enter every team's apps, or no team's",
    "no-apps": "a team has an app",
    "no-groups": "a team and an app have a group, for none would mean everybody",
    "object-name": "no two objects of a team have one name",
    "owner": "an owner is a user principal name or an object id",
    "path-relative": "paths don't depend on where a command is run",
    "placeholder": "no placeholder of a guide was left in place",
    "proxy-prefix": "the prefix of the proxy's pages is a path",
    "public-path": "what is public is a narrow path of the app",
    "quantity": "a quantity is one Kubernetes takes",
    "range": "a number is within its range",
    "redirect-uri-count": "a registration holds 256 redirect URIs",
    "redirect-uri-length": "a redirect URI has 256 characters",
    "required": "what is needed is there",
    "secret-extra-var": "no secret on the command line",
    "secret-key": "a key of a Secret is one Kubernetes takes",
    "secret-outside": "no secret outside gateway_auth_client_secret.value",
    "secret-source": "the client secret has one source",
    "service-namespace": "an app's Service is the team's own, unless the platform allows its namespace",
    "service-port": "a port is a port",
    "session-refresh": "group membership is read anew in time",
    "session-store": "a session store has what its type needs and nothing else",
    "shared-group": "a group is of one team",
    "shared-registration": "a team has an app registration of its own",
    "shared-secret-source": "two registrations don't take their secret from one place",
    "shared-service": "a Service is behind one team's apps",
    "shared-store": "an external session store is of one team",
    "subzone": "nobody else has a host in a team's own subzone",
    "team-file-control": "a team's file writes nothing but text into the output of a run",
    "team-file-key": "a team's file holds the team's keys alone",
    "team-file-size": "a team's file is no larger than it looks",
    "team-file-syntax": "a team's file is a YAML mapping",
    "team-file-template": "a team's file holds no template",
    "team-file-unsafe": "a team's file holds no YAML tag",
    "team-file-vault": "a team's file holds no secret",
    "team-name": "a team's host is named team-<id>",
    "template": "the platform's templates can be rendered, without secrets",
    "timeout": "a timeout is a Gateway API duration",
    "type": "values have the type of their variable",
    "unknown-control": "a control given with -e is one",
    "unknown-key": "nested keys are known",
    "unknown-variable": "gateway_auth_* variables are known",
    "url": "a URL is one of a scheme that works",
    "url-credentials": "no secret in a URL",
    "waiver-date": "a waiver names its last day",
    "waiver-ends": "a waiver doesn't end by surprise",
    "waiver-expired": "a waiver is not past",
    "waiver-incomplete": "a waiver is owned and reasoned",
    "waiver-unused": "a waiver waives something",
    "workload-identity": "the issuer of the cluster's tokens has one source",
}

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

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"no rule {self.rule!r}")

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
    ordered = grouped(findings)
    count = {severity: sum(1 for finding, _teams in ordered if finding.severity == severity) for severity in (ERROR, WARNING)}
    head = ", ".join(f"{number} {severity}{'' if number == 1 else 's'}" for severity, number in count.items() if number)
    lines = [f"The inventory has {head or 'no findings'}.{' ' if conclusion else ''}{conclusion}"]
    for finding, teams in ordered:
        lines += ["", f"{finding.severity}: {finding.place}: {finding.path} [{finding.rule}]"]
        lines.append(f"  {whose(teams)}Expected {finding.expected}, found {finding.found}.")
        if finding.remedy:
            lines.append(f"  {finding.remedy}")
    return "\n".join(lines)


def grouped(findings: collections.abc.Iterable[Finding]) -> list[tuple[Finding, list[str]]]:
    """Findings without their team, and the teams of each; errors first."""
    groups: dict[Finding, list[str]] = {}
    for finding in findings:
        groups.setdefault(dataclasses.replace(finding, team=""), []).append(finding.team)
    return sorted(groups.items(), key=lambda item: (item[0].severity != ERROR, item[1][0], item[0].file, item[0].line, item[0].path))


def whose(teams: collections.abc.Iterable[str]) -> str:
    """The teams of a finding as the beginning of a sentence; empty for one of the run."""
    names = [f"'{team}'" for team in dict.fromkeys(teams) if team]
    if not names:
        return ""
    if len(names) == 1:
        return f"Team {names[0]}: "
    if len(names) > _SHOWN_TEAMS:
        return f"Teams {', '.join(names[:_SHOWN_TEAMS])} and {len(names) - _SHOWN_TEAMS} more: "
    return f"Teams {', '.join(names)}: "
