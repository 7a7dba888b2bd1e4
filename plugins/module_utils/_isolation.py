# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What teams share that would better be each one's own (pure). Most of it may be meant, so it is told and stops nothing.

Secrets of the inventory are never compared: validation neither decrypts nor templates them, so it says whether two teams take a
secret from one place. Whether two teams' Secrets hold the same is seen in the cluster, by digests under a key of this run alone.
"""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import hashlib
import hmac
import secrets
import typing as t
import urllib.parse

from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Group, Team

_SHOWN = 5
_REDIS_PORT = 6379


@dataclasses.dataclass(frozen=True)
class Shared:
    """One thing that ``team`` shares with others. ``path`` is the variable in which it says so."""

    team: str
    path: str
    expected: str
    found: str
    remedy: str
    rule: str


@dataclasses.dataclass(frozen=True)
class Given:
    """A team's model, and what of its variables the model doesn't keep.

    ``groups`` is gateway_auth_allowed_groups as written; ``secret_place`` is the file and line of a client secret that stands in
    the inventory itself.
    """

    team: Team
    groups: collections.abc.Sequence[t.Any] = ()
    secret_place: str = ""


def lint(given: collections.abc.Sequence[Given]) -> collections.abc.Iterator[Shared]:
    """Everything that teams of the inventory share, a finding for each of them."""
    if len(given) < 2:
        return
    teams = [entry.team for entry in given]
    yield from _groups(given)
    yield from _stores(teams)
    yield from _sources(given)
    yield from _services(teams)
    yield from _foreign_services(teams)
    yield from _admins(teams)


def _groups(given: collections.abc.Sequence[Given]) -> collections.abc.Iterator[Shared]:
    """A group of two teams. Those of the admins are meant to be everywhere."""
    admins = {_key(group) for entry in given for group in entry.team.admin_groups}
    claims = _claims((_key(group), entry) for entry in given for group in entry.team.allowed_groups if _key(group) not in admins)
    for key, sharing in claims:
        names = [entry.team.name for entry in sharing]
        for entry in sharing:
            group, *_same = (group for group in entry.team.allowed_groups if _key(group) == key)
            others = listed(name for name in names if name != entry.team.name)
            yield Shared(
                entry.team.name,
                f"gateway_auth_allowed_groups[{_index(entry.groups, group)}]",
                "a group of this team alone",
                f"{group.name or group.id}, also of {others}, so that its members enter the apps of each",
                "Give each team a group of its own, or accept this.",
                "shared-group",
            )


def _key(group: Group) -> str:
    return group.id or f"name {group.name.casefold()}"


def _index(written: collections.abc.Sequence[t.Any], group: Group) -> int:
    for index, item in enumerate(written):
        if isinstance(item, collections.abc.Mapping):
            if group.id and str(item.get("id") or "").lower() == group.id:
                return index
            if not group.id and item.get("name") == group.name:
                return index
    return 0


def _stores(teams: collections.abc.Sequence[Team]) -> collections.abc.Iterator[Shared]:
    claims = _claims((store_key(team.session_store.url), team) for team in teams if team.session_store.type == "external")
    for key, sharing in claims:
        for team in sharing:
            others = listed(other.name for other in sharing if other is not team)
            yield Shared(
                team.name,
                "gateway_auth_session_store.url",
                "a session store of this team alone",
                f"{key}, also that of {others}, so that the names of the keys ({team.cookie_name}-…) and the key of each session in its"
                " cookie alone separate them: nobody can read another team's sessions, but each proxy could delete them",
                f"Give each team a database or a server of its own, or a user that may touch ~{team.cookie_name}-* alone (the flag redis-username).",
                "shared-store",
            )


def store_key(url: str) -> str:
    """Server, port and database of a store, in one form whatever the URL left out."""
    parts = urllib.parse.urlsplit(url)
    database = parts.path.strip("/") or "0"
    host = (parts.hostname or "").rstrip(".")
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or _REDIS_PORT}/{int(database) if database.isdecimal() else database}"


def _sources(given: collections.abc.Sequence[Given]) -> collections.abc.Iterator[Shared]:
    """One source of the client secrets of two registrations: one of the two has the wrong one."""
    for key, sharing in _claims((source, entry) for entry in given if (source := _source(entry))):
        if len({entry.team.client_id or entry.team.name for entry in sharing}) < 2:
            continue  # one registration, which is told by itself, has one secret
        for entry in sharing:
            others = listed(other.team.name for other in sharing if other is not entry)
            yield Shared(
                entry.team.name,
                "gateway_auth_client_secret",
                "a source of this team's client secret alone",
                f"{key}, also that of {others}",
                "Name a source that has the team in it, for example by {{ inventory_hostname }}.",
                "shared-secret-source",
            )


def _source(entry: Given) -> str:
    """Where a team's client secret comes from, if another could come from there too."""
    source = entry.team.client_secret
    if source is None or entry.team.credential == "federated" or (entry.team.makes_secret and source.kind != "key_vault"):
        return ""
    if source.kind == "env":
        return f"environment variable {source.name}"
    if source.kind == "file":
        return f"file {source.name}"
    if source.kind == "key_vault":
        return f"secret {source.name.lower()} of {source.url.lower()}"
    if source.kind == "value" and entry.secret_place:
        return f"the value at {entry.secret_place}"
    return ""  # a Secret of the team's own namespace


def _services(teams: collections.abc.Sequence[Team]) -> collections.abc.Iterator[Shared]:
    """One Service behind the apps of two teams: whoever enters by one reaches what the other guards."""
    claims = _claims(((app.service.namespace, app.service.name, app.service.port), (team, index)) for team in teams for index, app in enumerate(team.apps))
    for (namespace, name, port), sharing in claims:
        for team, index in sharing:
            others = listed(dict.fromkeys(other.name for other, _index in sharing if other is not team))
            if others:
                yield Shared(
                    team.name,
                    f"gateway_auth_apps[{index}].service",
                    "a Service that no other team's app leads to",
                    f"{namespace}/{name} port {port}, also of {others}, so that each team's groups reach it",
                    "Give each team a Service of its own, or accept this.",
                    "shared-service",
                )


def _foreign_services(teams: collections.abc.Sequence[Team]) -> collections.abc.Iterator[Shared]:
    """An app whose Service stands in another team's namespace."""
    owners = {team.namespace: team.name for team in teams}
    for team in teams:
        for index, app in enumerate(team.apps):
            owner = owners.get(app.service.namespace, team.name)
            if owner != team.name:
                yield Shared(
                    team.name,
                    f"gateway_auth_apps[{index}].service.namespace",
                    "a Service that isn't another team's",
                    f"{app.service.namespace}, the namespace of {owner}, whose Service is opened to the groups of {team.name}",
                    "Remove it, or take the namespace out of gateway_auth_service_namespaces.",
                    "foreign-service",
                )


def _admins(teams: collections.abc.Sequence[Team]) -> collections.abc.Iterator[Shared]:
    """A team without admins among teams that have some."""
    having = [team.name for team in teams if team.admin_groups]
    for team in teams if having else ():
        if not team.admin_groups:
            yield Shared(
                team.name,
                "gateway_auth_admin_groups",
                "admin groups, as other teams have them",
                f"none, though {listed(having)} {'has' if len(having) == 1 else 'have'} some: the platform can't enter this team's apps",
                "Set gateway_auth_admin_groups in group_vars/teams.yml, or accept this.",
                "no-admins",
            )


K = t.TypeVar("K", bound=collections.abc.Hashable)
V = t.TypeVar("V")


def _claims(pairs: collections.abc.Iterable[tuple[K, V]]) -> list[tuple[K, list[V]]]:
    """What is claimed more than once, and by whom."""
    found: dict[K, list[V]] = collections.defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return [(key, values) for key, values in found.items() if len(values) > 1]


def listed(names: collections.abc.Iterable[str]) -> str:
    """Names for a message, not endless."""
    every = list(names)
    return ", ".join(every[:_SHOWN]) + (f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else "")


# --- what Secrets of the cluster hold ---------------------------------------------------------------------------------


class Digests:
    """Tells whether two teams' Secrets hold the same, and keeps nothing of what they hold.

    A digest is keyed by bytes that exist in this object alone, so it is worth nothing to anybody who sees one.
    """

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(32)
        self._teams: dict[str, dict[str, bytes]] = {}
        self._clients: dict[str, str] = {}

    def add(self, team: Team, values: collections.abc.Mapping[str, str]) -> None:
        """``values`` are a Secret's keys and values, as the API gives them; empty ones are left out."""
        mine = self._teams.setdefault(team.name, {})
        mine.update({key: hmac.digest(self._salt, value.encode(), hashlib.sha256) for key, value in values.items() if value})
        self._clients[team.name] = team.client_id

    def same(self, team: str) -> dict[str, list[str]]:
        """Keys of this team's Secrets whose value another team has too, and which teams. One registration has one client secret."""
        found: dict[str, list[str]] = {}
        for key, digest in self._teams.get(team, {}).items():
            others = [name for name, theirs in sorted(self._teams.items()) if name != team and hmac.compare_digest(theirs.get(key, b""), digest)]
            if key == "client-secret":
                others = [name for name in others if not self._clients[team] or self._clients[name] != self._clients[team]]
            if others:
                found[key] = others
        return found

    @property
    def teams(self) -> int:
        """How many teams were read."""
        return len(self._teams)
