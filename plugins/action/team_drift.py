# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What isn't as the inventory says, from what the phases foretold; and teams that the cluster has and no inventory."""

from __future__ import annotations

import collections.abc
import typing as t

from ansible.utils.display import Display

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForbiddenError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube, connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import POLICY_VERSION, ROUTE_VERSION
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import TEAM_LABEL, Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome, outcomes_of


class ActionModule(BatchAction):
    """Reads routes and policies of the whole cluster, where the identity may; writes nothing."""

    FAILED_TOO = True
    OPTIONS: t.ClassVar[dict[str, t.Any]] = {
        "phases": {"type": "list", "elements": "dict", "required": True},
        "known": {"type": "list", "elements": "str", "required": True},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        # As it is: a callback would fold long lines. Nobody fails here; the doors are still tried.
        Display().display("\n".join(outcome["msg"] for outcome in result["teams"].values()))
        return result

    def prepare(self, teams: dict[str, Team]) -> None:
        self._strangers: dict[str, dict[str, list[str]]] = {}
        told: set[tuple[Kube, str, str]] = set()
        for host, team in teams.items():
            kube = connect(team.cluster)
            key = (kube, team.environment, team.stack)
            # Once for each cluster, environment and stack, at the first of its teams.
            if key not in told:
                told.add(key)
                self._strangers[host] = strangers(kube, team, self.options["known"])

    def for_team(self, team: Team) -> Outcome:
        outcomes = outcomes_of(team.name, self.options["phases"])
        failures = [str(outcome.get("msg")) for outcome in outcomes if outcome.get("failed")]
        changes = [change for outcome in outcomes for change in outcome.get("changes") or []]
        lines = [f"{change['object']}: {reason}" for change in changes for reason in change["reasons"]]
        for name, objects in self._strangers.get(team.name, {}).items():
            lines.append(f"team '{name}' is in the cluster and in no inventory: {', '.join(objects)}. Put it back into the inventory, or remove these.")
        data = {"drift": lines}
        text = "\n".join(f"  DRIFT  {line}" for line in lines)
        if failures:
            found = f"\nFound until then:\n{text}" if lines else ""
            return Outcome(failed=True, msg=f"Team '{team.name}': drift can't be looked for to the end: {failures[0]}{found}", data=data)
        if not lines:
            return Outcome(msg=f"Team '{team.name}': no drift", data=data)
        remedy = f"`onboard_team -e team={team.id}` mends it" if changes else "see there"
        return Outcome(failed=True, msg=f"Team '{team.name}': {len(lines)} differences from the inventory; {remedy}:\n{text}", data=data)


def strangers(kube: Kube, team: Team, known: collections.abc.Collection[str]) -> dict[str, list[str]]:
    """By team, the routes and policies that carry our mark for this environment and stack and name a team that isn't known."""
    wanted = {key: value for key, value in team.owner_labels().items() if key != TEAM_LABEL}
    found: dict[str, list[str]] = {}
    for version, kind in ((ROUTE_VERSION, "HTTPRoute"), (POLICY_VERSION, "SecurityPolicy")):
        try:
            listed = kube.list(version, kind)
        except ForbiddenError:
            continue  # verify_team says that this identity can't see other namespaces
        for obj in listed:
            labels = obj["metadata"].get("labels") or {}
            name = labels.get(TEAM_LABEL)
            if name and name not in known and all(labels.get(key) == value for key, value in wanted.items()):
                found.setdefault(name, []).append(f"{kind} {obj['metadata']['namespace']}/{obj['metadata']['name']}")
    return {name: sorted(objects) for name, objects in sorted(found.items())}
