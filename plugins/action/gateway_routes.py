# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policies and routes of every team of the batch, closed until proven."""

from __future__ import annotations

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._routes import Routes, probe_client
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome


class ActionModule(BatchAction):
    """One phase: plan all, prove the sentinel, open the app's routes; removal the other way round."""

    def prepare(self, teams: dict[str, Team]) -> None:
        for team in teams.values():
            connect(team.cluster)

    def for_team(self, team: Team) -> Outcome:
        journal = self.journal(team)
        try:
            Routes(team, journal, probe_client(team, journal.kube)).run()
        except GatewayAuthError as exc:
            raise journal.blame(exc) from exc
        return self.outcome(journal)
