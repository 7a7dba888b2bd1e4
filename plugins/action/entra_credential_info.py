# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which credentials every team's registration has, and which the cluster uses. Reads only, and never a value."""

from __future__ import annotations

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_app
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_credential import Keeper
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._entra import Clients, prove
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._registrations import from_cluster


class ActionModule(BatchAction):
    """The twin of entra_credential that changes nothing."""

    def prepare(self, teams: dict[str, Team]) -> None:
        clients = Clients(read_only=True)
        self._graphs: dict[str, Graph] = {}
        for team in teams.values():
            connect(team.cluster)
            self._graphs[team.name] = clients.graph(team)

    def for_team(self, team: Team) -> Outcome:
        team = from_cluster(team)
        graph = self._graphs[team.name]
        journal = self.journal(team)
        keeper = Keeper(team, graph, journal.kube, journal, _entra_app.read_credentials(graph, team), prove)
        return Outcome(data={"credentials": keeper.describe()})
