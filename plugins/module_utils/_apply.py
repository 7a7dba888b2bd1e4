# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries planned changes out, or in check mode asks the API server what they would give.

A :class:`Journal` is what a phase did for one team; outcome, diff and check mode all come from it.
"""

from __future__ import annotations

import base64
import typing as t

try:
    import yaml
except ImportError:  # never on a controller; module_utils must import without it all the same
    yaml = None  # type: ignore[assignment]

from ansible_collections.platform.gateway_auth.plugins.module_utils._cover import covered
from ansible_collections.platform.gateway_auth.plugins.module_utils._drift import plan_drift, replacement, same_content
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ClusterError, GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._facts import digest
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import HELM_MANAGER, InvalidError, Kube, NamespaceMissing, describe
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import TAKEOVER_MANAGER, Change, plan_object

Object = dict[str, t.Any]


class Journal:
    """The changes of one phase for one team, in the order they were made."""

    def __init__(self, kube: Kube, *, check: bool, adopt: t.Collection[str] = ()) -> None:
        self.kube = kube
        self.check = check
        self.adopt = adopt
        self.changes: list[Change] = []
        self.notes: list[dict[str, t.Any]] = []
        self._diff: list[dict[str, str]] = []

    @property
    def changed(self) -> bool:
        return bool(self.changes or self.notes)

    def settle(self, desired: Object) -> Change | None:
        """Read, compare and make one object what it should be."""
        live = self.kube.get(desired["apiVersion"], desired["kind"], desired["metadata"]["name"], desired["metadata"].get("namespace", ""))
        change = self.plan(desired, live)
        if change is not None:
            self.carry_out(change)
        return change

    def mend(self, desired: Object) -> Change | None:
        """Read one object of a Helm release, and make it again what the release's manifest says."""
        live = self.kube.get(desired["apiVersion"], desired["kind"], desired["metadata"]["name"], desired["metadata"].get("namespace", ""))
        change = plan_drift(desired, live)
        if change is None:
            return None
        if live is None:
            self.carry_out(change)
            return change
        operations, after = self._way_back(change.obj, live)
        if same_content(after, live):
            return None  # another spelling, or a default that somebody wrote down
        if not self.check:
            if operations:
                self.kube.patch(live, operations, manager=change.manager, guard="uid")
            # After a patch too, so that the next Helm finds its fields owned by server-side apply, and no conflict.
            after = self.kube.apply(change.obj, manager=change.manager)
        self.record(change, after)
        return change

    def _way_back(self, desired: Object, live: Object) -> tuple[list[Object], Object]:
        """(operations that must go before server-side apply, the object as it will be), by dry runs."""
        try:
            after = self.kube.apply(desired, dry_run=True, manager=HELM_MANAGER)
            if plan_drift(desired, after) is None:
                return [], after
        except InvalidError:
            pass  # a field of ours beside one that somebody put in its place
        operations = replacement(desired, live)
        try:
            return operations, self.kube.patch(live, operations, dry_run=True, manager=HELM_MANAGER, guard="uid")
        except InvalidError as exc:
            name, kind, meta = describe(desired), desired["kind"].lower(), desired["metadata"]
            raise ClusterError(
                f"{name} differs from the release's record, and it can't be changed back: {exc.message}",
                f"Delete it (kubectl -n {meta.get('namespace')} delete {kind} {meta['name']}) and run the same command again: it comes back.",
            ) from exc

    def plan(self, desired: Object, live: Object | None) -> Change | None:
        """``plan_object``, with the API server's word where managedFields can't tell."""
        change = plan_object(desired, live, self.adopt)
        if change is not None and change.uncertain and self.kube.apply(desired, dry_run=True).get("spec") == (live or {}).get("spec"):
            return None
        return change

    def carry_out(self, change: Change) -> Object | None:
        """Write (or in check mode predict) one change; the object as it then is."""
        after = self._predict(change) if self.check else self._write(change)
        self.record(change, after)
        return after

    def record(self, change: Change, after: Object | None) -> None:
        """A change that the caller carried out by itself."""
        self.changes.append(change)
        self._diff.append(_difference(change, after))

    def note(self, action: str, what: str, reasons: t.Sequence[str], about: Object, before: str = "", after: str = "", *, content: t.Any = None) -> None:
        """A change that isn't one object of ours (a Helm release, say); ``about`` as ``_facts`` gives it for one, ``content`` all that it will be."""
        self.notes.append({"action": action, "object": what, "reasons": list(reasons), "about": about, "digest": digest(content)})
        self._diff.append({"before_header": what, "after_header": what, "before": before, "after": after})

    def _write(self, change: Change) -> Object | None:
        if change.desired is None:
            self.kube.delete(change.obj)
            return None
        if change.drop and change.live is not None:
            self.kube.patch(change.live, _takeover(change, change.live), manager=TAKEOVER_MANAGER, guard="uid")
        # After a takeover too, so that from now on server-side apply removes what we no longer apply.
        return self.kube.apply(change.desired, manager=change.manager)

    def _predict(self, change: Change) -> Object | None:
        if change.desired is None:
            self.kube.delete(change.obj, dry_run=True)
            return None
        if change.drop and change.live is not None:
            return self.kube.patch(change.live, _takeover(change, change.live), dry_run=True, manager=TAKEOVER_MANAGER, guard="uid")
        try:
            return self.kube.apply(change.desired, dry_run=True, manager=change.manager)
        except NamespaceMissing:
            return change.desired  # the same run creates the namespace first

    def listing(self) -> list[dict[str, t.Any]]:
        return [change.to_dict() for change in self.changes] + self.notes

    def diff(self) -> list[dict[str, str]]:
        return list(self._diff)

    def blame(self, exc: GatewayAuthError) -> GatewayAuthError:
        """Attach what was done before the error, so that the outcome doesn't read as if nothing had changed."""
        exc.changes_done = self.listing()  # type: ignore[attr-defined]
        return exc


def _pointer(path: tuple[str, ...]) -> str:
    return "/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)


def _takeover(change: Change, live: Object) -> list[Object]:
    """Our content in the place of somebody's, in one write: half of it may be invalid (their `path` beside our `pathOverride`)."""
    content = replacement(change.obj, live) if any(path[0] != "metadata" for path in change.drop) else []
    return [*content, *({"op": "remove", "path": _pointer(path)} for path in change.drop if path[0] == "metadata")]


def _difference(change: Change, after: Object | None) -> dict[str, str]:
    name = describe(change.obj)
    reasons = "".join(f"# {reason}\n" for reason in change.reasons)
    return {
        "before_header": name,
        "after_header": f"{name} ({change.action})",
        "before": _face(change.live),
        "after": reasons + _face(after) if after is not None else reasons,
    }


def _face(obj: Object | None) -> str:
    """What of an object a person compares: our labels and the content; of a Secret only the names of its keys."""
    if obj is None:
        return ""
    face: Object = {"labels": obj["metadata"].get("labels")} if obj["metadata"].get("labels") else {}
    for key, value in obj.items():
        if key in ("apiVersion", "kind", "metadata", "status"):
            continue
        if obj.get("kind") == "Secret" and key in ("data", "stringData"):
            face["keys"] = sorted(value or {})
            continue
        face[key] = covered(value)
    return str(yaml.safe_dump(face, sort_keys=True, default_flow_style=False))


def encode(value: str) -> str:
    """Secret data as the API takes it."""
    return base64.b64encode(value.encode()).decode()


def decode(secret: Object | None, key: str) -> str | None:
    """A key of a Secret, or None when it isn't there."""
    raw = ((secret or {}).get("data") or {}).get(key)
    return base64.b64decode(raw).decode(errors="surrogateescape") if raw is not None else None
