# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The app registration of every team of the batch, and the models with what only Entra knows."""

from __future__ import annotations

import re
import threading
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_app
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphForbiddenError, RegistrationError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import Outcome
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._entra import Clients, has_identity
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._registrations import ModelsAction, entra_outcome, known_ids

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
STATES = ("present", "disabled", "enabled", "absent", "restored", "purged")


class ActionModule(ModelsAction):
    """One registration for each team of the batch."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {
        "state": {"type": "str", "default": "present", "choices": list(STATES)},
        "confirm": {"type": "str", "default": ""},
        "restoring": {"type": "bool", "default": False},
    }

    def prepare(self, teams: dict[str, Team]) -> None:
        """Clients and tokens once, and every group of the batch by one call."""
        clients = Clients(read_only=self.check_mode)
        self._graphs: dict[str, Graph] = {}
        # Lists in a registration are written as a whole: teams that share one take turns.
        self._turns = {team.client_id or team.name: threading.Lock() for team in teams.values()}
        ids: dict[Graph, set[str]] = {}
        for team in teams.values():
            if team.registration == "existing" and not has_identity():
                continue  # the platform's word has to do
            graph = self._graphs[team.name] = clients.graph(team)
            ids.setdefault(graph, set()).update(group.id for group in team.all_groups if group.id)
        self._groups: dict[Graph, dict[str, t.Any] | None] = {}
        for graph, wanted in ids.items():
            try:
                self._groups[graph] = graph.objects(sorted(wanted), what="look up the groups of the inventory")
            except GraphForbiddenError:
                self._groups[graph] = None

    def for_team(self, team: Team) -> Outcome:
        graph = self._graphs.get(team.name)
        if graph is None:
            return Outcome()
        with self._turns[team.client_id or team.name]:
            return self._settled(team, graph)

    def _settled(self, team: Team, graph: Graph) -> Outcome:
        state = self.options["state"]
        if team.registration == "existing":
            return self._existing(team, graph) if state == "present" else Outcome()
        if state == "present":
            return self._present(team, graph)
        if state in ("disabled", "enabled"):
            live = _entra_app.read(graph, team, missing_ok=state == "disabled" or self.check_mode)
            change = _entra_app.set_enabled(graph, team, live, enabled=state == "enabled", check=self.check_mode)
            return entra_outcome([change] if change is not None else [])
        if state == "absent":
            return entra_outcome(_entra_app.remove(graph, team, _entra_app.read(graph, team, missing_ok=True), check=self.check_mode))
        if state == "purged" and self.options["confirm"] != team.unique_name:
            raise RegistrationError(
                f"Expected confirm: {team.unique_name} before the deleted app registration of team '{team.name}' is deleted for good,"
                f" found '{self.options['confirm']}'. Nothing was deleted.",
                "Nothing brings it back: say so with option confirm, for one team at a time.",
            )
        act = _entra_app.restore if state == "restored" else _entra_app.purge
        return entra_outcome(act(graph, team, check=self.check_mode))

    def _present(self, team: Team, graph: Graph) -> Outcome:
        remembered = known_ids(team)
        group_ids = dict(remembered)
        for name in team.named_groups:
            if name not in group_ids:
                group_ids[name] = _entra_app.group_by_name(graph, name)
        team = team.resolved("", group_ids)
        findings = _entra_app.judge_groups(team, self._with_remembered(graph, team, remembered), remembered)
        owners = _entra_app.owner_ids(graph, team)
        restoring = self.options["restoring"]
        settled = _entra_app.settle(graph, team, adopt=self.adopted, check=self.check_mode, owners=owners, restoring=restoring)
        outcome = entra_outcome(settled.changes, [*findings, *settled.findings])
        outcome.data["client_id"] = settled.client_id
        outcome.data["model"] = team.resolved(settled.client_id, group_ids).to_dict()
        return outcome

    def _with_remembered(self, graph: Graph, team: Team, remembered: dict[str, str]) -> dict[str, t.Any] | None:
        """What Entra has of the batch's groups, and of those that only the cluster knows the ids of."""
        found = self._groups[graph]
        # Whatever stands in an annotation; Graph refuses what isn't a GUID.
        wanted = sorted({remembered[name] for name in team.group_ids if name in remembered and GUID.fullmatch(remembered[name])})
        if found is None or not wanted:
            return found
        return found | graph.objects(wanted, what="look up the groups that the cluster remembers")

    def _existing(self, team: Team, graph: Graph) -> Outcome:
        findings = _entra_app.judge_groups(team, self._groups[graph])
        changes, more = _entra_app.settle_existing(graph, team, adopt=self.adopted, check=self.check_mode)
        return entra_outcome(changes, [*findings, *more])
