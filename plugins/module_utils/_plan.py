# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs between a desired object and the live one, and why: pure, no API.

How equality is judged without a dry run. A live spec holds what we applied, what the API server defaulted, and what others
put there. ``managedFields`` tells these apart: a field that nobody owns is a default, a field that somebody owns and that
isn't desired is drift (somebody else's, or a leftover of ours) and goes. Lists of the kinds we handle are atomic (Gateway API
and Envoy Gateway CRDs), so ownership stops at the list: an extra key inside an element that isn't one of ``DEFAULTS`` may be
drift, and the caller asks the API server with a dry run (``Change.uncertain``).
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForeignObjectError
from ansible_collections.platform.gateway_auth.plugins.module_utils._facts import change_facts, object_digest
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import describe
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import FIELD_MANAGER, OWNER_LABEL_PREFIX, QUARANTINE_ANNOTATION, REMOVAL_ANNOTATION

Object = dict[str, t.Any]
Path = tuple[str, ...]

MANAGED_LABEL = f"{OWNER_LABEL_PREFIX}managed"
# What the API server adds inside list elements of routes and policies (Gateway API and Envoy Gateway CRDs), and to Services. A
# default that is missing here costs a dry run, no more.
DEFAULTS: tuple[tuple[str, t.Any], ...] = (
    ("group", "gateway.networking.k8s.io"),
    ("group", ""),
    ("kind", "Gateway"),
    ("kind", "Service"),
    ("weight", 1),
    ("protocol", "TCP"),
    ("sessionAffinity", "None"),
    ("internalTrafficPolicy", "Cluster"),
    ("matches", [{"path": {"type": "PathPrefix", "value": "/"}}]),
)
# What `kubectl apply` remembers: the whole object as it was written, of a Secret its values too, which then outlive every rotation.
LAST_APPLIED: Path = ("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
# Whose name a write bears that puts our content in the place of somebody's. Not FIELD_MANAGER: what that one owns beside server-side
# apply, under the same name, server-side apply would never remove again.
TAKEOVER_MANAGER = f"{FIELD_MANAGER}-takeover"
# Annotations that say what is going on with an object: they go when that is over. What is wanted is not about to go, so its
# protection, which somebody (or a run that was killed) lifted, comes back.
_STATES = {REMOVAL_ANNOTATION: "which lifts its protection", QUARANTINE_ANNOTATION: "which says that the team is in quarantine"}
_OUR_MANAGERS = (FIELD_MANAGER, TAKEOVER_MANAGER)
IDENTITY_LABELS = tuple(f"{OWNER_LABEL_PREFIX}{key}" for key in ("environment", "stack", "team"))


class Owner(t.NamedTuple):
    """Who wrote a field, and when last (RFC 3339), as ``managedFields`` says."""

    name: str
    time: str

    @classmethod
    def of(cls, entry: Object) -> Owner:
        return cls(str(entry.get("manager")), str(entry.get("time") or ""))

    def __str__(self) -> str:
        return f"{self.name} at {self.time}" if self.time else self.name


@dataclasses.dataclass(frozen=True)
class Change:
    """One object's way from live to desired. ``desired`` is None for a deletion, ``live`` for a creation."""

    action: str  # create | update | adopt | delete | restore | mend
    desired: Object | None
    live: Object | None
    reasons: tuple[str, ...]
    drop: tuple[Path, ...] = ()  # of spec or metadata: what others own and server-side apply would leave in place
    uncertain: bool = False
    manager: str = FIELD_MANAGER

    @property
    def obj(self) -> Object:
        return self.desired or self.live or {}

    @property
    def name(self) -> str:
        return describe(self.obj)

    def to_dict(self) -> dict[str, t.Any]:
        about = change_facts(self.live, self.desired)
        return {"action": self.action, "object": self.name, "reasons": list(self.reasons), "about": about, "digest": object_digest(self.desired)}


def plan_object(desired: Object, live: Object | None, adopt: t.Collection[str] = ()) -> Change | None:
    """The change that makes ``live`` what ``desired`` says, or None. Raises ForeignObjectError for an object that isn't ours.

    ``adopt`` holds ``Kind/name`` or ``all``: objects without our mark that may be taken over.
    """
    if live is None:
        return Change("create", desired, None, (f"create {describe(desired)}",))
    foreign = refuse_foreign(desired, live, adopt)
    comparison = _Comparison(live)
    comparison.metadata(desired)
    comparison.content(desired)
    if foreign or desired["kind"] == "Secret":
        comparison.last_applied()
    if not comparison.reasons and not foreign:
        return None
    reasons = ([f"take over: {foreign}"] if foreign else []) + comparison.reasons
    # Uncertain only while nothing else is known to differ: one certain reason is enough to write.
    return Change("adopt" if foreign else "update", desired, live, tuple(reasons), tuple(comparison.drop), comparison.only_uncertain and not foreign)


def plan_deletion(live: Object, reason: str) -> Change:
    return Change("delete", None, live, (reason,))


def refuse_foreign(desired: Object, live: Object, adopt: t.Collection[str]) -> str:
    """Why the live object isn't ours, "" when it is; ForeignObjectError unless it may be adopted."""
    foreign = foreign_reason(desired, live)
    if foreign and not is_adopted(desired, adopt):
        raise ForeignObjectError(
            f"{describe(desired)} exists and is not ours ({foreign}); it was left alone.",
            f"To take it over: -e adopt='[{desired['kind']}/{desired['metadata']['name']}]'; else rename the app or remove the object.",
        )
    return foreign


def foreign_reason(desired: Object, live: Object) -> str:
    """Why the live object isn't ours, in a few words; "" when it is."""
    wanted = desired["metadata"].get("labels") or {}
    found = live["metadata"].get("labels") or {}
    if wanted.get(MANAGED_LABEL) is None:
        return ""  # not an object of the kind that carries a mark
    if found.get(MANAGED_LABEL) != "true":
        return f"no label {MANAGED_LABEL}"
    for key in IDENTITY_LABELS:
        if found.get(key) != wanted.get(key):
            return f"label {key} is {found.get(key)!r}, ours is {wanted.get(key)!r}"
    return ""


def is_adopted(desired: Object, adopt: t.Collection[str]) -> bool:
    """Whether the run was told to take an object of this kind and name over."""
    return "all" in adopt or f"{desired['kind']}/{desired['metadata']['name']}" in adopt


class _Comparison:
    """Collects reasons while walking desired and live side by side."""

    def __init__(self, live: Object) -> None:
        self.live = live
        # Where what isn't desired is drift. A Secret may hold keys of others; a ConfigMap of ours means something by each key.
        self._whole = ("spec", "data") if live.get("kind") == "ConfigMap" else ("spec",)
        self.reasons: list[str] = []
        self.drop: list[Path] = []
        self._certain = 0
        owners = _owners(live)
        self._ours = [fields for manager, fields in owners if manager == FIELD_MANAGER]
        self._others = [fields for manager, fields in owners if manager != FIELD_MANAGER]

    @property
    def only_uncertain(self) -> bool:
        return bool(self.reasons) and self._certain == 0

    def metadata(self, desired: Object) -> None:
        """Our labels and annotations must be there; others' may be, too."""
        for part in ("labels", "annotations"):
            found = self.live["metadata"].get(part) or {}
            for key, value in (desired["metadata"].get(part) or {}).items():
                if found.get(key) != value:
                    self._differs(("metadata", part, key), found.get(key), value)
        wanted = desired["metadata"].get("annotations") or {}
        for key, meaning in _STATES.items():
            if key in (self.live["metadata"].get("annotations") or {}) and key not in wanted:
                path = ("metadata", "annotations", key)
                self._certain += 1
                self.drop.append(path)
                self.reasons.append(f"remove annotation {key}, {meaning} (put there by {self._who(path)})")

    def last_applied(self) -> None:
        """What a hand's `kubectl apply` left behind goes: the next one would bring it back."""
        if LAST_APPLIED[-1] in (self.live["metadata"].get("annotations") or {}):
            self._certain += 1
            self.drop.append(LAST_APPLIED)
            what = "; it holds the values" if self.live.get("kind") == "Secret" else ""
            self.reasons.append(f"remove annotation {LAST_APPLIED[-1]} (left by kubectl apply{what})")

    def content(self, desired: Object) -> None:
        """Everything but metadata and status."""
        for key, value in desired.items():
            if key in ("apiVersion", "kind", "metadata", "status"):
                continue
            self._walk((key,), value, self.live.get(key))

    def _walk(self, path: Path, want: t.Any, have: t.Any) -> None:
        if isinstance(want, dict) and isinstance(have, dict):
            for key, value in want.items():
                if key not in have:
                    self._differs((*path, key), None, value)
                else:
                    self._walk((*path, key), value, have[key])
            if path[0] in self._whole:
                for key in have:
                    if key not in want:
                        self._extra((*path, key), have[key])
        elif isinstance(want, list) and isinstance(have, list):
            self._list(path, want, have)
        elif want != have:
            self._differs(path, have, want)

    def _list(self, path: Path, want: list[t.Any], have: list[t.Any]) -> None:
        if len(want) != len(have):
            self._differs(path, have, want)
            return
        extras = False
        for index, (wanted, found) in enumerate(zip(want, have, strict=True)):
            difference = _first_difference(wanted, found)
            if difference is not None:
                self._differs((*path, str(index), *difference[0]), difference[2], difference[1])
                return
            extras = extras or _has_extras(wanted, found)
        if extras:
            self.reasons.append(f"remove what isn't ours from {_dotted(path)} (written by {self._who(path)})")

    def _extra(self, path: Path, value: t.Any) -> None:
        if any(_owns(fields, path) for fields in self._others):
            self._certain += 1
            self.drop.append(path)
            self.reasons.append(f"remove {_dotted(path)} = {_short(value)} (put there by {self._who(path)})")
        elif any(_owns(fields, path) for fields in self._ours):
            self._certain += 1
            self.reasons.append(f"remove {_dotted(path)} = {_short(value)} (no longer wanted)")

    def _differs(self, path: Path, have: t.Any, want: t.Any) -> None:
        self._certain += 1
        if path[0] in ("data", "stringData"):
            self.reasons.append(f"set key {path[-1]}" if have is None else f"change key {path[-1]}")
        elif have is None:
            self.reasons.append(f"set {_dotted(path)} to {_short(want)}")
        else:
            theirs = self._theirs(path)
            told = f" (put there by {theirs})" if theirs else ""
            self.reasons.append(f"change {_dotted(path)} from {_short(have)} to {_short(want)}{told}")

    def _who(self, path: Path) -> str:
        return self._theirs(path) or "an earlier run of ours"

    def _theirs(self, path: Path) -> str:
        owners = [Owner.of(entry) for entry in _entries(self.live) if _owns(entry["fieldsV1"], path)]
        return ", ".join(sorted({str(owner) for owner in owners if owner.name not in _OUR_MANAGERS}))


def _entries(live: Object) -> list[Object]:
    entries: list[Object] = live["metadata"].get("managedFields") or []
    return [entry for entry in entries if not entry.get("subresource") and isinstance(entry.get("fieldsV1"), dict)]


def _owners(live: Object) -> list[tuple[str, Object]]:
    return [(str(entry.get("manager")), entry["fieldsV1"]) for entry in _entries(live)]


def _owns(fields: Object, path: Path) -> bool:
    """Whether a managedFields tree covers a path (``f:`` keys; a leaf covers all below it)."""
    node = fields
    for key in path:
        if f"f:{key}" not in node:
            return False
        node = node[f"f:{key}"]
        if not node:
            return True
    return True


def _first_difference(want: t.Any, have: t.Any) -> tuple[Path, t.Any, t.Any] | None:
    """The first place where ``have`` doesn't contain ``want``: (path, wanted, found)."""
    if isinstance(want, dict) and isinstance(have, dict):
        for key, value in want.items():
            if key not in have:
                return (key,), value, None
            inner = _first_difference(value, have[key])
            if inner is not None:
                return (key, *inner[0]), inner[1], inner[2]
        return None
    if isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        for index, (wanted, found) in enumerate(zip(want, have, strict=True)):
            inner = _first_difference(wanted, found)
            if inner is not None:
                return (str(index), *inner[0]), inner[1], inner[2]
        return None
    return None if want == have else ((), want, have)


def _has_extras(want: t.Any, have: t.Any) -> bool:
    if isinstance(want, dict) and isinstance(have, dict):
        unknown = any(key not in want and (key, value) not in DEFAULTS for key, value in have.items())
        return unknown or any(_has_extras(value, have[key]) for key, value in want.items())
    if isinstance(want, list) and isinstance(have, list):
        return any(_has_extras(wanted, found) for wanted, found in zip(want, have, strict=False))
    return False


def _dotted(path: Path) -> str:
    text = path[0]
    for part in path[1:]:
        text += f"[{part}]" if part.isdigit() or "/" in part or "." in part else f".{part}"
    return text


def _short(value: t.Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 120 else text[:117] + "..."
