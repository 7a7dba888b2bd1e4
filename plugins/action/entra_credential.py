# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The credential of every team of the batch: added in Entra and stored in the cluster by one call, so that nobody sees it."""

from __future__ import annotations

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_app
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_credential import Keeper
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._entra import Clients, has_identity, prove


class ActionModule(BatchAction):
    """``data.retire`` says whether a call with ``stage: retire`` is due once the pods run on the new credential."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {
        "stage": {"type": "str", "default": "settle", "choices": ["settle", "retire"]},
        "rotate": {"type": "bool", "default": False},
        "when_old": {"type": "bool", "default": False},
    }

    def prepare(self, teams: dict[str, Team]) -> None:
        clients = Clients(read_only=self.check_mode)
        self._graphs: dict[str, Graph] = {}
        for team in teams.values():
            connect(team.cluster)
            if team.makes_secret or (team.credential == "federated" and (team.registration == "managed" or has_identity())):
                self._graphs[team.name] = clients.graph(team)

    def for_team(self, team: Team) -> Outcome:
        graph = self._graphs.get(team.name)
        if graph is None:
            return Outcome()
        journal = self.journal(team)
        # In check mode of a first onboarding there is no registration yet.
        application = _entra_app.read_credentials(graph, team) if team.client_id or not self.check_mode else {}
        keeper = Keeper(team, graph, journal.kube, journal, application, prove)
        try:
            if self.options["stage"] == "settle":
                keeper.settle(rotate=self.options["rotate"], when_old=self.options["when_old"])
            else:
                keeper.retire()
        except GatewayAuthError as exc:
            raise journal.blame(exc) from exc
        outcome = self.outcome(journal)
        outcome.data = {"findings": keeper.findings, "retire": keeper.pending() if self.options["stage"] == "settle" else False, "key_id": keeper.key_id()}
        return outcome
