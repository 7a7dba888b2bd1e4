# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The platform's objects, once for each Gateway: the header policy, the redirect from HTTP to HTTPS, and the admission policies."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._admission import admission_manifests
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._conditions import policy_verdict, route_verdict
from ansible_collections.platform.gateway_auth.plugins.module_utils._drift import replacement
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForbiddenError, GatewayAuthError, NotReadyError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import describe
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import HEADER_POLICY_NAME, header_policy, platform_manifests
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import OWNER_LABEL_PREFIX, GatewayRef, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import foreign_reason
from ansible_collections.platform.gateway_auth.plugins.module_utils._preflight import (
    carries_our_headers,
    client_policies,
    governing_policy,
    rights_problems,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._rights import PREPARE

try:
    import yaml
except ImportError:  # never on a controller; module_utils must import without it all the same
    yaml = None  # type: ignore[assignment]

Object = dict[str, t.Any]

_TIMEOUT_S = 60.0
_POLL_S = 0.1


def platform_labels(team: Team) -> dict[str, str]:
    """The mark of platform objects: the environment's, not a stack's or a team's, since a Gateway serves many."""
    return {f"{OWNER_LABEL_PREFIX}managed": "true", f"{OWNER_LABEL_PREFIX}environment": team.environment}


def prepare(team: Team, journal: Journal) -> None:
    """Bring the platform's objects of the team's Gateway in place, and wait until Envoy Gateway accepted them."""
    gateway = team.gateway
    desired = platform_manifests(gateway, platform_labels(team), team.domain)
    if _somebody_elses_policy_serves(journal, gateway):
        desired = [obj for obj in desired if obj["kind"] != "ClientTrafficPolicy"]
    planned = [(obj, journal.plan(obj, _live(journal, obj))) for obj in desired]
    touched = [obj for obj, change in planned if change is not None]
    if touched and not journal.check:
        problems = rights_problems(journal.kube, team, PREPARE, kinds={obj["kind"] for obj in touched})
        if problems:
            raise GatewayAuthError("\n".join(str(problem) for problem in problems))
    for _obj, change in planned:
        if change is not None:
            journal.carry_out(change)
    _guard(team, journal)
    if journal.check:
        return
    deadline = time.monotonic() + _TIMEOUT_S
    for obj in touched:
        judge = policy_verdict if obj["kind"] == "ClientTrafficPolicy" else route_verdict
        while True:
            verdict = judge(_live(journal, obj) or obj, gateway)
            if verdict.ok:
                break
            if time.monotonic() > deadline:
                raise NotReadyError(
                    f"{describe(obj)} was not accepted within {_TIMEOUT_S:.0f} s: {verdict.why}.", "See docs/troubleshooting.md, 'not accepted'."
                )
            time.sleep(_POLL_S)


def _guard(team: Team, journal: Journal) -> None:
    """The admission policies: in force, or where the inventory does without them, not there or without effect."""
    wanted = team.gateway.admission_policy
    for desired in admission_manifests(team.gateway, platform_labels(team)):
        try:
            live = journal.kube.get(desired["apiVersion"], desired["kind"], desired["metadata"]["name"])
        except ForbiddenError:
            if wanted:
                raise
            continue  # whoever does without them need not have the right to look
        if not wanted and (live is None or foreign_reason(desired, live)):
            continue
        change = journal.plan(desired, live)
        if change is None:
            continue
        if live is None:
            journal.carry_out(change)
            continue
        # Replaced whole: to server-side apply some lists are sets and maps, where somebody's addition (a condition that is never
        # true, say) would stay beside ours.
        journal.record(change, journal.kube.patch(live, replacement(desired, live), dry_run=journal.check))


def _live(journal: Journal, obj: Object) -> Object | None:
    return journal.kube.get(obj["apiVersion"], obj["kind"], obj["metadata"]["name"], obj["metadata"]["namespace"])


def _somebody_elses_policy_serves(journal: Journal, gateway: GatewayRef) -> bool:
    """Whether another ClientTrafficPolicy already does what ours would.

    A second one on a Gateway is Conflicted, one on a listener replaces ours there: neither is fought. One that governs
    without our rules is an error that prints what to merge.
    """
    live = journal.kube.get("gateway.networking.k8s.io/v1", "Gateway", gateway.name, gateway.namespace)
    rival = governing_policy(client_policies(journal.kube, gateway), gateway, live, but=HEADER_POLICY_NAME)
    if rival is None:
        return False
    if carries_our_headers(rival, gateway):
        return True
    headers = header_policy(gateway, {})["spec"]["headers"]
    if rival["spec"].get("headers", {}).get("withUnderscoresAction") == "Allow":
        headers = {"withUnderscoresAction": "RejectRequest", **headers}
    merge = yaml.safe_dump({"spec": {"headers": headers}}, sort_keys=False)
    raise GatewayAuthError(
        f"{describe(rival)} already governs Gateway {gateway.namespace}/{gateway.name}; only one may, and it is not ours. It was left alone.",
        f"Merge this into it, or move its settings elsewhere and remove it:\n{merge}",
    )
