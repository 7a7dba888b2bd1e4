# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policies and routes of every team of the batch, closed until proven."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _offboard
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import needs_grant
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._routes import Routes, marked_routes, probe_client
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._registrations import from_cluster


class ActionModule(BatchAction):
    """One phase: plan all, prove the sentinel, open the app's routes; removal the other way round."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {"state": {"type": "str", "default": "present", "choices": ["present", "absent"]}}

    def prepare(self, teams: dict[str, Team]) -> None:
        for team in teams.values():
            connect(team.cluster)

    def for_team(self, team: Team) -> Outcome:
        journal = self.journal(team)
        try:
            if self.options["state"] == "absent":
                return self._leave(team, journal)
            Routes(team, journal, probe_client(team, journal.kube)).run()
        except GatewayAuthError as exc:
            raise journal.blame(exc) from exc
        return self.outcome(journal)

    def _leave(self, team: Team, journal: Journal) -> Outcome:
        """Out of service while the team is in quarantine, away otherwise."""
        probe = probe_client(team, journal.kube)
        quarantine = _offboard.quarantine(team, marked_routes(journal.kube, team), datetime.datetime.now(datetime.UTC))
        backends = {app.service.namespace for app in team.apps if needs_grant(team, app)}
        if quarantine is None:
            Routes(dataclasses.replace(team, apps=()), journal, probe, leaves=_offboard.LEAVES, backends=backends).run()
            return self.outcome(journal)
        since, until = quarantine
        known = dataclasses.replace(from_cluster(team), quarantined_since=since)
        Routes(known, journal, probe, leaves="the team is in quarantine", backends=backends).run()
        outcome = self.outcome(journal)
        told = f"In quarantine since {since}; offboard_team removes the team once it is run after {until:%Y-%m-%d %H:%M} UTC."
        outcome.data = {"quarantined_until": until.isoformat(timespec="seconds"), "findings": [told]}
        return outcome
