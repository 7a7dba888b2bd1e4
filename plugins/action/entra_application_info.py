# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of every team's app registration. Reads only."""

from __future__ import annotations

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_app
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import Outcome
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._entra import Clients
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._registrations import ModelsAction, from_cluster, known_ids


class ActionModule(ModelsAction):
    """One registration for each team of the batch."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {"source": {"type": "str", "default": "entra", "choices": ["entra", "cluster"]}}

    def prepare(self, teams: dict[str, Team]) -> None:
        self._known: dict[str, Team] = {}
        self._graphs: dict[str, Graph] = {}
        clients = Clients(read_only=True)
        for team in teams.values():
            if self.options["source"] == "cluster":
                connect(team.cluster)
                self._known[team.name] = team = from_cluster(team)
                if team.client_id and not team.named_groups:
                    continue
            self._graphs[team.name] = clients.graph(team)

    def for_team(self, team: Team) -> Outcome:
        graph = self._graphs.get(team.name)
        if graph is None:
            known = self._known[team.name]
            return Outcome(data={"client_id": known.client_id, "model": known.to_dict()})
        group_ids = known_ids(team)
        for name in team.named_groups:
            if name not in group_ids:
                group_ids[name] = _entra_app.group_by_name(graph, name)
        live = _entra_app.read(graph, team)
        team = team.resolved(str((live.application or {}).get("appId") or "").lower(), group_ids)
        return Outcome(data={"client_id": team.client_id, "registration": _entra_app.describe_live(team, live), "model": team.to_dict()})
