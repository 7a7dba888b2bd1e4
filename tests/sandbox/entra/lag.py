# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replication lag on demand: what a write changed stays unseen, or old, for so many reads or seconds.

A fault with `lag` marks a write. What that write made, changed or deleted is remembered as it was before; requests of the
places named see it so until the lag is over. A request counts as one of the reads of an object when it names the object in
its path, filter or body (by id, appId, uniqueName, name or tag), or lists more than what it names. Uniqueness is checked against the
directory as it is, as in Entra, where it is the first replica that takes the write.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from .directory import Application, Directory, ServicePrincipal, User

PLACES: Final = ("read", "write", "token")
_COLLECTIONS: Final = ("users", "groups", "applications", "service_principals", "assignments", "deleted")


@dataclass(frozen=True)
class Lag:
    """What a fault asks for: `reads` requests or `seconds`, whichever ends first, seen at some places."""

    reads: int | None = None
    seconds: float | None = None
    places: tuple[str, ...] = PLACES


@dataclass
class _Trace:
    """One object that lags: where it is kept, how it was before, and until when it is seen so."""

    collection: str
    key: str
    before: object
    names: frozenset[str]
    lag: Lag
    until: float | None
    reads: int | None = field(default=None)

    def is_over(self, now: float) -> bool:
        return (self.until is not None and now >= self.until) or self.reads == 0


def _named(item: object) -> set[str]:
    """Return the texts that a request can name an object by."""
    inner = getattr(item, "item", item)
    found = {str(getattr(inner, name, None) or "") for name in ("id", "client_id", "unique_name", "display_name", "name", "upn")}
    found |= {str(getattr(inner, name, "")) for name in ("principal_id", "resource_id")}
    if isinstance(inner, (Application, ServicePrincipal)):
        tags = inner.attributes.get("tags")
        found |= {str(tag) for tag in tags} if isinstance(tags, list) else set()
    return {name.lower() for name in found if name}


def _regrouped(before: object, after: object) -> set[str]:
    """Return the groups that a user joined or left: whoever lists those looks at the user too."""
    return before.group_ids ^ after.group_ids if isinstance(before, User) and isinstance(after, User) else set()


class Replicas:
    """The directory as a replica that lags behind shows it."""

    def __init__(self, directory: Directory, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._clock = clock
        self._traces: list[_Trace] = []

    def clear(self) -> None:
        self._traces = []

    @contextmanager
    def recording(self, lag: Lag | None) -> Iterator[None]:
        """Let what changes within the block lag behind from then on."""
        if lag is None:
            yield
            return
        before = {name: copy.deepcopy(getattr(self._directory, name)) for name in _COLLECTIONS}
        try:
            yield
        finally:
            for name in _COLLECTIONS:
                self._compare(name, before[name], getattr(self._directory, name), lag)

    def _compare(self, collection: str, old: dict[str, object], new: dict[str, object], lag: Lag) -> None:
        until = None if lag.seconds is None else self._clock() + lag.seconds
        for key in old.keys() | new.keys():
            before, after = old.get(key), new.get(key)
            if before != after:
                names = frozenset(_named(before) | _named(after) | _regrouped(before, after))
                self._traces.append(_Trace(collection, key, before, names, lag, until, lag.reads))

    def view(self, place: str, asked: AbstractSet[str], *, everything: bool = False) -> Directory:
        """Return the directory as seen from a place by a request that names what is `asked`; this counts as a read of that."""
        now = self._clock()
        self._traces = [trace for trace in self._traces if not trace.is_over(now)]
        seen = [trace for trace in self._traces if place in trace.lag.places]
        if not seen:
            return self._directory
        view = copy.copy(self._directory)
        for name in _COLLECTIONS:
            setattr(view, name, dict(getattr(self._directory, name)))
        # The first write's memory goes on top: until it is seen, what came after can't be either.
        for trace in reversed(seen):
            items: dict[str, object] = getattr(view, trace.collection)
            if trace.before is None:
                items.pop(trace.key, None)
            else:
                items[trace.key] = trace.before
        wanted = {name.lower() for name in asked}
        for trace in seen:
            if trace.reads is not None and (everything or not wanted.isdisjoint(trace.names)):
                trace.reads -= 1
        return view
