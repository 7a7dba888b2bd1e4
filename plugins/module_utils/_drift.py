# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody changed by hand in the objects of a Helm release: pure, no API.

A release's record holds its manifest, so the live objects can be judged without starting Helm. A field of the manifest that
differs is drift. So is one that isn't in it and that a manager other than Helm owns (``managedFields``); one that nobody owns,
or Helm alone, is a default of the API server. Lists are matched by the keys that ``managedFields`` names (containers by name),
others as a whole. Another spelling of the same value may look like drift: the caller asks the API server with a dry run.
"""

from __future__ import annotations

import base64
import decimal
import json
import re
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._cover import COVERED, SECRET_NAME, covered
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import HELM_MANAGER, describe
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import DEFAULTS, Change, Owner

Object = dict[str, t.Any]
Path = tuple[str, ...]
Owned = list[tuple[Owner, Object]]  # who, and their part of the managedFields tree here; an empty one covers all below

# Who may set the replicas of a Deployment, through its scale: the autoscalers (KEDA scales from 0 by itself).
_AUTOSCALERS = re.compile(r"kube-controller-manager|keda.*")
# Of the pod template: a restart that somebody asked for isn't undone by another restart.
_OURS_OR_HARMLESS = re.compile(r"gateway-auth/.*|kubectl\.kubernetes\.io/restartedAt")
_TEMPLATE_ANNOTATIONS = ("spec", "template", "metadata", "annotations")
_REPLICAS = ("spec", "replicas")
# What others may rightly add to: token controllers write into accounts, provisioners into claims (whose spec can't be changed).
_ADDED_TO = ("ServiceAccount",)
_ONLY_THERE = ("PersistentVolumeClaim",)
_TRUE_WHEN_MISSING = ("automountServiceAccountToken", "allowPrivilegeEscalation", "enableServiceLinks")
_QUANTITIES = frozenset({"limits", "requests", "sizeLimit", "storage", "divisor", "hard"})
_QUANTITY = re.compile(r"([+-]?[\d.]+)([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE])?")
_SUFFIXES = {**{f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", 1)}, **{letter: 1000**power for power, letter in enumerate("kMGTPE", 1)}}
_SMALL = {"n": decimal.Decimal("1e-9"), "u": decimal.Decimal("1e-6"), "m": decimal.Decimal("1e-3")}


def plan_drift(desired: Object, live: Object | None) -> Change | None:
    """The change that makes a release's object what its manifest says, or None."""
    if live is None:
        return Change("restore", desired, None, (f"restore {describe(desired)}: it is in the release's record and not in the cluster",), manager=HELM_MANAGER)
    comparison = _Comparison(desired, live)
    comparison.run()
    if not comparison.reasons:
        return None
    return Change("mend", comparison.desired, live, tuple(comparison.reasons), manager=HELM_MANAGER)


def replacement(desired: Object, live: Object) -> list[Object]:
    """JSON patch operations that put the manifest's content in the place of the live one, whatever others added to it.

    One operation for each part, since a field set beside another's may be invalid (``value`` beside ``valueFrom``), and since two
    changes of a pod template would be two rollouts. Defaults come anew. What stays: our marker, and an autoscaler's replicas.
    """
    operations: list[Object] = []
    for part in ("labels", "annotations"):
        marks = desired["metadata"].get(part) or {}
        if marks:
            operations.append({"op": "add", "path": f"/metadata/{part}", "value": {**(live["metadata"].get(part) or {}), **marks}})
    for part, value in desired.items():
        if part not in ("apiVersion", "kind", "metadata", "status"):
            content = _kept(value, live) if desired["kind"] == "Deployment" and part == "spec" else value
            operations.append({"op": "add", "path": f"/{part}", "value": content})
    return operations


def _kept(spec: Object, live: Object) -> Object:
    """The spec of a Deployment with what of the live one isn't Helm's business."""
    marks = {key: text for key, text in (_at(live, _TEMPLATE_ANNOTATIONS) or {}).items() if _OURS_OR_HARMLESS.fullmatch(key)}
    if marks:
        metadata = spec["template"].get("metadata") or {}
        metadata = {**metadata, "annotations": {**marks, **(metadata.get("annotations") or {})}}
        spec = {**spec, "template": {**spec["template"], "metadata": metadata}}
    return {**spec, "replicas": live["spec"]["replicas"]} if autoscaled(live) else spec


def same_content(one: Object, other: Object) -> bool:
    """Whether two states of an object differ in nothing but bookkeeping."""
    return _content(one) == _content(other)


def autoscaled(live: Object) -> bool:
    """Whether an autoscaler set the replicas."""
    for entry in live["metadata"].get("managedFields") or []:
        replicas = (entry.get("fieldsV1") or {}).get("f:spec", {})
        if entry.get("subresource") == "scale" and "f:replicas" in replicas and _AUTOSCALERS.fullmatch(str(entry.get("manager"))):
            return True
    return False


def _content(obj: Object) -> Object:
    content = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    marks = {part: obj["metadata"].get(part) or {} for part in ("labels", "annotations")}
    return {**content, "metadata": marks}


class _Comparison:
    """Collects reasons while walking manifest and live side by side."""

    def __init__(self, desired: Object, live: Object) -> None:
        self.desired = desired
        self.live = live
        self.reasons: list[str] = []
        self._autoscaled = live["kind"] == "Deployment" and autoscaled(live)
        if self._autoscaled:
            spec = {key: value for key, value in desired["spec"].items() if key != "replicas"}
            self.desired = {**desired, "spec": spec}

    def run(self) -> None:
        for part in ("labels", "annotations"):
            path, want, have = ("metadata", part), self.desired["metadata"].get(part) or {}, self.live["metadata"].get(part) or {}
            for key, value in want.items():
                if have.get(key) != value:
                    self._differs((*path, key), value, have.get(key), self._owned((*path, key)))
        if self.desired["kind"] in _ONLY_THERE:
            return
        for part, want in self.desired.items():
            if part in ("apiVersion", "kind", "metadata", "status"):
                continue
            if part == "stringData":  # how a Secret is written; it is read as `data`
                part, want = "data", {key: base64.b64encode(str(value).encode()).decode() for key, value in want.items()}
            self._walk((part,), want, self.live.get(part), self._owned((part,)))

    # --- the walk ----------------------------------------------------------------------------------------------------
    def _walk(self, path: Path, want: t.Any, have: t.Any, owned: Owned) -> None:
        if isinstance(want, dict) and isinstance(have, dict):
            for key, value in want.items():
                if key in have:
                    self._walk((*path, key), value, have[key], _below(owned, f"f:{key}"))
                elif not _means_nothing(key, value):
                    self._differs((*path, key), value, None, _whole_owners(owned))
            for key, value in have.items():
                if key not in want:
                    self._extra((*path, key), value, _below(owned, f"f:{key}"))
        elif isinstance(want, list) and isinstance(have, list):
            keys = _list_keys(owned)
            if keys:
                self._keyed(path, keys, want, have, owned)
            else:
                self._whole(path, want, have, owned)
        elif not _same(path, want, have):
            self._differs(path, want, have, owned)

    def _keyed(self, path: Path, keys: tuple[str, ...], want: list[Object], have: list[Object], owned: Owned) -> None:
        left = list(have)
        for wanted in want:
            found = next((item for item in left if all(key not in wanted or wanted[key] == item.get(key) for key in keys)), None)
            where = (*path, f"[{_title(wanted, keys)}]")
            if found is None:
                self._differs(where, wanted, None, _whole_owners(owned))
                continue
            left.remove(found)
            self._walk(where, wanted, found, _element(owned, found))
        for item in left:
            self._extra((*path, f"[{_title(item, keys)}]"), item, _element(owned, item))

    def _whole(self, path: Path, want: list[t.Any], have: list[t.Any], owned: Owned) -> None:
        """A list that has one owner: whoever else changed it owns it all."""
        if len(want) == len(have) and not all(isinstance(item, str) for item in want):
            for index, (wanted, found) in enumerate(zip(want, have, strict=True)):
                self._walk((*path, f"[{index}]"), wanted, found, owned)
        elif want != have:
            gone = [item for item in have if not any(_covers(path, wanted, item) for wanted in want)]
            back = [item for item in want if not any(_covers(path, item, found) for found in have)]
            parts = ([f"remove {self._shown(path, gone)}"] if gone else []) + ([f"put back {self._shown(path, back)}"] if back else [])
            self._tell(path, "; ".join(parts) or "put back the order", owned)

    def _extra(self, path: Path, value: t.Any, owned: Owned) -> None:
        """A key that isn't in the manifest: drift where somebody other than Helm owns it, or something below it."""
        others = _others(owned)
        if not others or self.desired["kind"] in _ADDED_TO or (path == _REPLICAS and self._autoscaled):
            return
        if (path[-1], value) in DEFAULTS:
            return
        if path[:-1] == _TEMPLATE_ANNOTATIONS and _OURS_OR_HARMLESS.fullmatch(path[-1]):
            return
        theirs = any(not node or "." in node for _manager, node in others)
        if isinstance(value, dict) and (not theirs or path == _TEMPLATE_ANNOTATIONS):
            for key, item in value.items():
                self._extra((*path, key), item, _below(owned, f"f:{key}"))
        elif value not in (None, {}, []):
            self._tell(path, f"remove {self._shown(path, value)}", owned)

    # --- words -------------------------------------------------------------------------------------------------------
    def _differs(self, path: Path, want: t.Any, have: t.Any, owned: Owned) -> None:
        if have is None:
            self._tell(path, f"put back {self._shown(path, want)}", owned)
        else:
            self._tell(path, f"expected {self._shown(path, want)}, found {self._shown(path, have)}", owned)

    def _tell(self, path: Path, what: str, owned: Owned) -> None:
        names = ", ".join(sorted({str(manager) for manager, _node in _others(owned)}))
        self.reasons.append(f"{_dotted(path)}: {what}{f' (by {names})' if names else ''}")

    def _shown(self, path: Path, value: t.Any) -> str:
        """A value without what may be a secret that somebody wrote there."""
        secret = self.live["kind"] == "Secret" or (path[-1] == "value" and SECRET_NAME.search(path[-2]))
        return COVERED if secret else _short(covered(value))

    def _owned(self, path: Path) -> Owned:
        owned: Owned = [
            (Owner.of(entry), entry["fieldsV1"])
            for entry in self.live["metadata"].get("managedFields") or []
            if entry.get("subresource") != "status" and isinstance(entry.get("fieldsV1"), dict)
        ]
        for key in path:
            owned = _below(owned, f"f:{key}")
        return owned


# --- managedFields ----------------------------------------------------------------------------------------------------


def _below(owned: Owned, key: str) -> Owned:
    """Owners of a child; who owns all of the parent owns it too."""
    return [(manager, node.get(key, {})) for manager, node in owned if key in node or not node]


def _others(owned: Owned) -> Owned:
    return [(manager, node) for manager, node in owned if manager.name != HELM_MANAGER]


def _whole_owners(owned: Owned) -> Owned:
    """Who owns all of it, and so is who took a part of it away; of a part alone no owner is left to be named."""
    return [(manager, node) for manager, node in owned if not node]


def _list_keys(owned: Owned) -> tuple[str, ...]:
    """The fields by which elements of a list are told apart; none when the list is one value."""
    for _manager, node in owned:
        for key in node:
            if key.startswith("k:"):
                return tuple(json.loads(key[2:]))
    return ()


def _element(owned: Owned, item: Object) -> Owned:
    found: Owned = []
    for manager, node in owned:
        if not node:
            found.append((manager, node))
        for key, inner in node.items():
            if key.startswith("k:") and all(value == item.get(name) for name, value in json.loads(key[2:]).items()):
                found.append((manager, inner))
    return found


# --- values -----------------------------------------------------------------------------------------------------------


def _covers(path: Path, want: t.Any, have: t.Any) -> bool:
    """Whether ``have`` says all that ``want`` says."""
    if isinstance(want, dict) and isinstance(have, dict):
        return all(_covers((*path, key), value, have[key]) if key in have else _means_nothing(key, value) for key, value in want.items())
    if isinstance(want, list) and isinstance(have, list):
        return len(want) == len(have) and all(_covers(path, wanted, found) for wanted, found in zip(want, have, strict=True))
    return _same(path, want, have)


def _means_nothing(key: str, value: t.Any) -> bool:
    """Whether a field with this value may as well be missing: the API server leaves out what is empty."""
    return not value and not (value is False and key in _TRUE_WHEN_MISSING)


def _same(path: Path, want: t.Any, have: t.Any) -> bool:
    if want == have or (not want and have in (None, {}, [])):
        return True
    return bool(_QUANTITIES.intersection(path)) and _amount(want) is not None and _amount(want) == _amount(have)


def _amount(value: t.Any) -> decimal.Decimal | None:
    """A Kubernetes quantity as a number: 0.5 and 500m are one."""
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    try:
        number, suffix = decimal.Decimal(match[1]), match[2] or ""
        if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
            return number * decimal.Decimal(f"1{suffix}")
    except decimal.InvalidOperation:
        return None
    return number * _SMALL[suffix] if suffix in _SMALL else number * _SUFFIXES.get(suffix, 1)


def _at(obj: Object, path: Path) -> t.Any:
    node: t.Any = obj
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _title(item: Object, keys: tuple[str, ...]) -> str:
    return "/".join(str(item[key]) for key in keys if key in item)


def _dotted(path: Path) -> str:
    text = path[0]
    for part in path[1:]:
        text += part if part.startswith("[") else f"[{part}]" if "/" in part or "." in part else f".{part}"
    return text


def _short(value: t.Any) -> str:
    text = ", ".join(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else repr(value)
    return text if len(text) <= 160 else text[:157] + "..."
