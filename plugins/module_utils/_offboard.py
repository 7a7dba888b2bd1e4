# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking a team away: how long it stays in quarantine, what goes after its routes, and the proof that nothing is left.

Order matters to whoever kills a run, and to whoever stands at the door: routes first, then what guarded them, then release, Secrets and
namespace. Each step finds by itself what is still to do, so the same command finishes the work.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _helm
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._conditions import quarantined_since
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ClusterError, ForbiddenError
from ansible_collections.platform.gateway_auth.plugins.module_utils._facts import release_facts
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube, Object, Objects, Resource, describe
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import namespace_manifest
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team, span
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import foreign_reason, plan_deletion
from ansible_collections.platform.gateway_auth.plugins.module_utils._routes import OUR_KINDS

LEAVES = "the team is being offboarded"
LEFT_TIMEOUT_S = 60.0  # pods that end, a namespace that is emptied
POLL_S = 0.5
# What Kubernetes puts into each namespace, and what comes and goes by itself.
_EVERYWHERE = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
_BY_THEMSELVES = ("Event", "PodMetrics")
_PRUNED = tuple(kind for _version, kind in OUR_KINDS)


# --- quarantine ---------------------------------------------------------------------------------------------------------------


def quarantine(team: Team, routes: t.Collection[Object], now: datetime.datetime) -> tuple[str, datetime.datetime] | None:
    """(since, until) while the team is, or is about to be, out of service; None when it is to be removed now.

    ``routes``: what stands under the team's mark. Without any there is nothing that could be put out of service.
    """
    length = span(team.quarantine)
    if not length or not routes:
        return None
    since = quarantined_since(routes)
    try:
        begun = datetime.datetime.fromisoformat(since)
    except ValueError:
        begun = None
    if begun is not None and begun.tzinfo is None:
        begun = begun.replace(tzinfo=datetime.UTC)
    if begun is None or begun > now:  # it begins; or it is somebody else's word, or a clock's that went wrong, for which nobody is to wait for years
        since, begun = now.strftime("%Y-%m-%dT%H:%M:%SZ"), now
    until = begun + length
    return (since, until) if until > now else None


# --- what goes after the routes -----------------------------------------------------------------------------------------------


def plan_release(team: Team, journal: Journal) -> bool:
    """Whether Helm has something to uninstall; a release that isn't ours is left alone (``foreign``)."""
    release = _helm.newest_release(journal.kube, team.namespace, team.release)
    if release is None or not _helm.is_ours(team, release):
        return False
    about = {"kind": "Release", "before": release_facts(release.values), "after": {}}
    journal.note("uninstall", f"Helm release {team.namespace}/{team.release}", [LEAVES], about)
    return True


def remove_secrets(team: Team, journal: Journal) -> None:
    """Both Secrets, unless somebody else manages them."""
    for live in _secrets(team, journal.kube):
        if not foreign_reason(_marked(team), live):
            journal.carry_out(plan_deletion(live, LEAVES))


def foreign(team: Team, kube: Kube) -> list[str]:
    """What has a name of ours, isn't ours, and therefore stays."""
    found = [describe(live) for live in _secrets(team, kube) if foreign_reason(_marked(team), live)]
    release = _helm.newest_release(kube, team.namespace, team.release)
    if release is not None and not _helm.is_ours(team, release):
        found.append(f"Helm release {team.namespace}/{team.release}")
    return [f"{what} isn't ours and stays." for what in found]


def remove_namespace(team: Team, journal: Journal) -> list[str]:
    """The namespace, where we made it and nothing else is in it. Findings say why it stays."""
    kube = journal.kube
    live = kube.get("v1", "Namespace", team.namespace)
    if live is None or live["metadata"].get("deletionTimestamp"):
        return []
    if foreign_reason(namespace_manifest(team), live):
        return [f"Namespace {team.namespace} stays: it was there before the team."]
    try:
        found, silent = _contents(kube, team)
    except ForbiddenError as exc:
        return [f"Namespace {team.namespace} stays, for nobody knows whether it is empty: {exc.message.rstrip('.')}."]
    if found or silent:
        what = [describe(obj) for obj in found[:5]] + (["and more"] if len(found) > 5 else []) + [f"{version} doesn't answer" for version in silent]
        return [f"Namespace {team.namespace} stays, for it isn't empty: {', '.join(what)}."]
    try:
        journal.carry_out(plan_deletion(live, f"{LEAVES}; we made it, and it is empty"))
    except ForbiddenError as exc:
        return [f"Namespace {team.namespace} stays: {exc}"]
    return []


def _contents(kube: Kube, team: Team) -> tuple[Objects, list[str]]:
    """Whatever is in the team's namespace and isn't about to go with the team; API groups that didn't answer."""
    resources, silent = kube.resources()
    found: Objects = []
    homely = {(_group(resource.api_version), resource.kind) for resource in resources if resource.namespaced}
    for resource in resources:
        if resource.namespaced and resource.kind not in _BY_THEMSELVES:
            found += [obj for obj in kube.find(resource, team.namespace) if not _goes(team, obj, homely)]
    return found, silent


def _goes(team: Team, obj: Object, homely: t.Collection[tuple[str, str]]) -> bool:
    """Whether it goes with the team: to bear our labels isn't enough, for a copy bears them too. ``homely``: (group, kind) of what is in namespaces."""
    meta = obj["metadata"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    if meta.get("deletionTimestamp") or (obj["kind"], meta["name"]) in _EVERYWHERE:
        return True
    if team.owner_labels().items() <= labels.items():
        return obj["kind"] in _PRUNED or (obj["kind"] == "Secret" and meta["name"] in (team.proxy_secret, team.store_secret))
    if (labels.get("owner") == "helm" and labels.get("name") == team.release) or annotations.get("meta.helm.sh/release-name") == team.release:
        return True
    if obj["kind"] == "Endpoints" and "endpoints.kubernetes.io/managed-by" in labels:
        return True  # with its Service, which is listed as well; it has no owner
    # With its owners, which are listed as well. One outside the namespace (a Node, say) doesn't go with it.
    owners = meta.get("ownerReferences") or []
    return bool(owners) and all((_group(owner.get("apiVersion", "")), owner.get("kind")) in homely for owner in owners)


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _marked(team: Team) -> Object:
    return {"metadata": {"labels": team.owner_labels()}}


def _secrets(team: Team, kube: Kube) -> Objects:
    found = (kube.get("v1", "Secret", name, team.namespace) for name in (team.proxy_secret, team.store_secret))
    return [live for live in found if live is not None]


# --- the proof ----------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Sweep:
    """What still carries the team's labels, and where it was looked for."""

    left: Objects = dataclasses.field(default_factory=list)
    everywhere: int = 0  # kinds looked for in the whole cluster
    at_home: int = 0  # kinds that this identity may list in the team's namespace alone
    unseen: list[str] = dataclasses.field(default_factory=list)

    def told(self) -> str:
        """``71 kinds in the whole cluster, 3 in namespace x alone; not looked for: …``"""
        places = [f"{self.everywhere} kinds in the whole cluster"] if self.everywhere else []
        places += [f"{self.at_home} in the team's namespace alone"] if self.at_home else []
        unseen = f"; this identity can't see: {', '.join(sorted(self.unseen))}" if self.unseen else ""
        return f"{', '.join(places) or 'nothing could be looked for'}{unseen}"


def sweep(team: Team, kube: Kube) -> Sweep:
    """Look until nothing carries the team's labels any more, or for as long as pods may take to end."""
    resources, silent = kube.resources()
    deadline = time.monotonic() + LEFT_TIMEOUT_S
    while True:
        found = _look(team, kube, resources)
        if not found.left or time.monotonic() > deadline:
            found.unseen += silent
            return found
        time.sleep(POLL_S)


def _look(team: Team, kube: Kube, resources: t.Iterable[Resource]) -> Sweep:
    found = Sweep()
    for resource in resources:
        if resource.kind in _BY_THEMSELVES:
            continue
        for place in ("", *([team.namespace] if resource.namespaced else [])):
            try:
                found.left += [obj for obj in kube.find(resource, place, team.labels) if not _stays(team, obj)]
            except ClusterError:
                continue
            if place:
                found.at_home += 1
            else:
                found.everywhere += 1
            break
        else:
            found.unseen.append(resource.plural)
    return found


def _stays(team: Team, obj: Object) -> bool:
    """The namespace, where ``remove_namespace`` said why."""
    meta = obj["metadata"]
    return obj["kind"] == "Namespace" and meta["name"] == team.namespace and not meta.get("deletionTimestamp")
