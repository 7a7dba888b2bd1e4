# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run would change, told in words of the people it concerns, with the risk of each line (pure functions).

The phases' own changes (object, action, reasons) stay beside the words: they are what a plan is compared by.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._facts import digest
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team

Object = dict[str, t.Any]

SCHEMA = 1
# From harmless to grave; a plan's risk is its gravest line's.
RISKS: t.Final = {
    "none": "nobody notices",
    "restart": "the proxy's pods restart one by one; sessions stay",
    "takeover": "an object somebody else made becomes ours",
    "traffic": "requests to an app go elsewhere",
    "access": "who may enter changes",
    "sessions": "everybody of the team signs in once more",
    "outage": "an address stops answering",
}
_ORDER = list(RISKS)
ADDED, CHANGED, REMOVED, WARNING = "+", "~", "-", "!"
# Arguments of the proxy with which every session ends.
_ENDS_SESSIONS = ("--cookie-domain", "--cookie-path", "--provider", "--oidc-issuer-url", "--proxy-prefix")
_SECRET_WORDS = {"cookie-secret": "cookie secret", "redis-password": "password of the session store"}


@dataclasses.dataclass(frozen=True)
class Line:
    """One thing that changes: ``sign`` is one of ``+ ~ - !``, ``risk`` a key of RISKS."""

    sign: str
    text: str
    risk: str = "none"

    def to_dict(self) -> Object:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return f"{self.sign} {self.text}"


def team_plan(team: Team, phases: collections.abc.Sequence[Object], waivers: collections.abc.Sequence[str]) -> Object:
    """One team's plan as JSON-able data, from the outcomes of its phases in check mode."""
    changes = [change for phase in phases for change in phase.get("changes") or []]
    failures = [str(phase.get("msg") or "") for phase in phases if phase.get("failed")]
    lines = words(team, changes)
    cluster = next((str(phase["data"]["cluster"]) for phase in phases if (phase.get("data") or {}).get("cluster")), "")
    return {
        "cluster": cluster,
        "changed": bool(changes),
        "failed": bool(failures),
        "error": failures[0] if failures else "",
        "risk": max((line.risk for line in lines), key=_ORDER.index, default="none"),
        "lines": [line.to_dict() for line in lines],
        "changes": [{key: change[key] for key in ("action", "object", "reasons")} for change in changes],
        "findings": [str(finding) for phase in phases for finding in (phase.get("data") or {}).get("findings") or []],
        "waivers": list(waivers),
        "fingerprint": fingerprint(changes, cluster),
    }


def fingerprint(changes: collections.abc.Sequence[Object], cluster: str) -> str:
    """Equal for equal changes of one cluster, to the last byte of what is written: what ``onboard_team -e plan=`` compares."""
    return digest([cluster, [[change["action"], change["object"], list(change["reasons"]), change.get("digest")] for change in changes]])


def departures(told: Object, now: Object) -> list[str]:
    """In which objects a plan differs from an earlier one, in a few words each."""
    before, after = ({(change["action"], change["object"]): change["reasons"] for change in plan.get("changes") or []} for plan in (told, now))
    parts = [f"it lacks {action} {name}" for action, name in after if (action, name) not in before]
    parts += [f"{action} {name} is not needed any more" for action, name in before if (action, name) not in after]
    parts += [f"{action} {name} has other reasons" for action, name in after if (action, name) in before and before[action, name] != after[action, name]]
    if told.get("cluster") != now.get("cluster"):
        parts = [f"it is for cluster {told.get('cluster')}, and this is {now.get('cluster')}"]
    return parts or ["the order, or what is written beyond the reasons, differs"]


def words(team: Team, changes: collections.abc.Sequence[Object]) -> list[Line]:
    """The changes in people's words; the grave ones first, else in the order in which they would be made."""
    apps = {change["about"]["app"] for change in changes if _says(change, "after", "host") != _says(change, "before", "host")}
    lines = [line for change in changes for line in _Telling(team, apps).lines(change)]
    unique = list(dict.fromkeys(lines))
    return sorted(unique, key=lambda line: -_ORDER.index(line.risk))


def _says(change: Object, when: str, key: str) -> list[str]:
    return list(((change.get("about") or {}).get(when) or {}).get(key) or [])


class _Telling:
    """Tells single changes; ``told`` are apps whose address comes, goes or changes: their pages and policies need no line of their own."""

    def __init__(self, team: Team, told: collections.abc.Collection[str]) -> None:
        self._team = team
        self._told = told
        self._names = {group.id: group.name or group.id for group in team.all_groups if group.id}

    def lines(self, change: Object) -> list[Line]:
        about = change.get("about") or {}
        reasons = [reason for reason in map(str, change["reasons"]) if not reason.startswith("take over")]  # `_takeover` tells that
        told = self._takeover(change)
        if about.get("kind") == "Secret":
            return told + self._secret(change, about, reasons)
        if about.get("kind") == "Registration":
            return told + [_registration(reason) for reason in reasons]
        if about.get("kind") == "Claim":
            sign = {"create": ADDED, "delete": REMOVED}.get(change["action"], CHANGED)
            return [*told, Line(sign, "the team's claim on its hosts, by which the API server refuses others")]
        if about.get("kind") == "Credential":
            return told + [_registration(reason) for reason in reasons[:1]]
        if about.get("kind") == "Release":
            return told + self._release(change, about, reasons)
        before, after = about.get("before") or {}, about.get("after") or {}
        if about.get("app") and before != after:
            return told + self._app(str(about["app"]), before, after)
        if change["action"] in ("create", "update", "delete") and about.get("app") in self._told:
            return told
        return told + [_plain(change, reason) for reason in reasons]

    def _takeover(self, change: Object) -> list[Line]:
        return [Line(WARNING, f"takes over {change['object']}", "takeover")] if change["action"] == "adopt" else []

    def _secret(self, change: Object, about: Object, reasons: list[str]) -> list[Line]:
        created = change["action"] == "create"
        lines = []
        for key in about.get("keys") or []:
            if created:
                lines.append(Line(ADDED, f"{key} in {change['object']}"))
            elif key in _SECRET_WORDS:
                lines.append(Line(WARNING, f"logs out all sessions: {_SECRET_WORDS[key]}", "sessions"))
            else:
                lines.append(Line(CHANGED, f"{key} in {change['object']}", "restart"))
        return lines or [_plain(change, reason) for reason in reasons]

    def _app(self, app: str, before: Object, after: Object) -> list[Line]:
        lines: list[Line] = []
        if "host" in before or "host" in after:
            lines += self._address(app, before, after)
        for path in _added(before, after, "public"):
            lines.append(Line(ADDED, f"public path {path} of {app}: no login there", "access"))
        for path in _added(after, before, "public"):
            lines.append(Line(REMOVED, f"public path {path} of {app}: from now on behind the login", "access"))
        if "guard" in before or "guard" in after:
            lines += self._policy(app, before, after)
        return lines

    def _address(self, app: str, before: Object, after: Object) -> list[Line]:
        old, new = (", ".join(f"https://{host}" for host in part.get("host") or []) for part in (before, after))
        services = [", ".join(part.get("service") or []) for part in (before, after)]
        if not old:
            return [Line(ADDED, f"app '{app}' at {new} (Service {services[1]})", "access")]
        if not new:
            return [Line(REMOVED, f"app '{app}': {old} answers no more", "outage")]
        lines = []
        if old != new:
            lines.append(Line(CHANGED, f"address of {app}: {old} -> {new}", "outage"))
        if services[0] != services[1]:
            lines.append(Line(CHANGED, f"Service of {app}: {services[0]} -> {services[1]}", "traffic"))
        if before.get("timeout") != after.get("timeout"):
            old_timeout, new_timeout = ((part.get("timeout") or ["the gateway's"])[0] for part in (before, after))
            lines.append(Line(CHANGED, f"timeout of {app}: {old_timeout} -> {new_timeout}"))
        return lines

    def _policy(self, app: str, before: Object, after: Object) -> list[Line]:
        if "guard" not in before:
            return [] if app in self._told and not after["groups"] else [Line(ADDED, f"{app} is behind the login: {self._who(after['groups'])}", "access")]
        if "guard" not in after:
            return []  # the app's own route says that it goes
        if bool(before["groups"]) != bool(after["groups"]):
            return [Line(CHANGED, f"allowed groups of {app}: {self._who(before['groups'])} -> {self._who(after['groups'])}", "access")]
        return self._groups(f"allowed groups of {app}", before["groups"], after["groups"])

    def _groups(self, what: str, before: list[str], after: list[str]) -> list[Line]:
        parts = [f"+ {self._names.get(group, group)}" for group in after if group not in before]
        parts += [f"- {self._names.get(group, group)}" for group in before if group not in after]
        return [Line(CHANGED, f"{what}: {', '.join(parts)}", "access")] if parts else []

    def _who(self, groups: list[str]) -> str:
        return ", ".join(self._names.get(group, group) for group in groups) if groups else "every group of the team"

    def _release(self, change: Object, about: Object, reasons: list[str]) -> list[Line]:
        before, after = about.get("before") or {}, about.get("after") or {}
        if change["action"] == "install":
            groups = ", ".join(self._names.get(group, group) for group in after.get("team groups") or [])
            return [Line(ADDED, f"login proxy for {self._team.name}, for {groups}", "access")]
        lines = self._groups(f"allowed groups of {self._team.name}", before.get("team groups") or [], after.get("team groups") or [])
        for key, name in (("cookie", "cookie"), ("store", "session store")):
            if before.get(key) != after.get(key) and before:
                lines.append(Line(WARNING, f"logs out all sessions: {name} {_list(before, key)} -> {_list(after, key)}", "sessions"))
        if before.get("replicas") != after.get("replicas"):
            lines.append(Line(CHANGED, f"replicas of the proxy: {_list(before, 'replicas')} -> {_list(after, 'replicas')}"))
        lines += _arguments(before, after)
        lines += [Line(CHANGED, f"login proxy: {reason}", "restart") for reason in reasons if not reason.startswith("value ")]
        return lines or [Line(CHANGED, f"login proxy: {reason}", "restart") for reason in reasons]


def _arguments(before: Object, after: Object) -> list[Line]:
    old, new = (dict(item.split("=", 1) for item in part.get("argument") or []) for part in (before, after))
    lines = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            told = f"proxy argument {name}: {old.get(name, 'not set')} -> {new.get(name, 'not set')}"
            lines.append(Line(CHANGED, told, "sessions" if name in _ENDS_SESSIONS else "restart"))
    return lines


def _registration(reason: str) -> Line:
    first, _blank, rest = reason.partition(" ")
    if first in ("add", "create", "assign", "require"):
        return Line(ADDED, rest if first in ("add", "create") else reason, "access" if first == "assign" else "none")
    if first in ("remove", "unassign", "revoke"):
        return Line(REMOVED, rest if first == "remove" else reason, "access" if first == "unassign" else "none")
    return Line(CHANGED, reason)


def _plain(change: Object, reason: str) -> Line:
    sign = {"create": ADDED, "restore": ADDED, "delete": REMOVED}.get(change["action"], CHANGED)
    restarts = reason.startswith("restart ")
    return Line(sign, change["object"] if reason == f"create {change['object']}" else f"{change['object']}: {reason}", "restart" if restarts else "none")


def _added(before: Object, after: Object, key: str) -> list[str]:
    there = before.get(key) or []
    return [item for item in after.get(key) or [] if item not in there]


def _list(part: Object, key: str) -> str:
    return ", ".join(part.get(key) or []) or "none"


# --- the document ---------------------------------------------------------------------------------------------------------


def document(teams: collections.abc.Mapping[str, Object], created: str) -> Object:
    """The whole plan: stable keys, ``schema`` counts up when one changes its meaning. ``created`` is UTC, RFC 3339."""
    return {
        "schema": SCHEMA,
        "created": created,
        "changed": any(plan["changed"] for plan in teams.values()),
        "failed": any(plan["failed"] for plan in teams.values()),
        "risk": max((plan["risk"] for plan in teams.values()), key=_ORDER.index, default="none"),
        "teams": dict(teams),
    }


def to_json(plan: Object) -> str:
    return json.dumps(plan, indent=2) + "\n"


def to_text(name: str, plan: Object) -> list[str]:
    """One team's plan as lines for a terminal."""
    if plan["failed"]:
        return [f"{name}: can't be planned to its end: {plan['error']}", *(f"  {line['sign']} {line['text']}" for line in plan["lines"])]
    if not plan["changed"]:
        return [f"{name}: nothing to change"]
    head = f"{name}: {len(plan['changes'])} objects change; {RISKS[plan['risk']]}"
    return [head, *(f"  {line['sign']} {line['text']}" for line in plan["lines"])]


def to_markdown(plan: Object) -> str:
    """For a pull request."""
    parts = ["# Plan", ""]
    for name, team in plan["teams"].items():
        parts += [f"## {name}", ""]
        if team["failed"]:
            parts += [f"**Can't be planned to its end:** {_escaped(team['error'])}", ""]
        if not team["changed"] and not team["failed"]:
            parts += ["Nothing to change.", ""]
            continue
        parts += [f"Risk: **{team['risk']}** ({RISKS[team['risk']]})", "", "```diff"]
        parts += [f"{'!' if line['sign'] == '~' else line['sign']} {line['text']}" for line in team["lines"]]
        parts += ["```", ""]
        parts += [f"- waived: {_escaped(waiver)}" for waiver in team["waivers"]]
        parts += [f"- {_escaped(finding)}" for finding in team["findings"]]
        parts += ["", "<details><summary>Objects</summary>", ""]
        for change in team["changes"]:
            parts.append(f"- {change['action']} {_escaped(change['object'])}")
            parts += [f"  - {_escaped(reason)}" for reason in change["reasons"]]
        parts += ["", "</details>", ""]
    return "\n".join(parts).rstrip() + "\n"


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|" else letter for letter in " ".join(text.split()))
