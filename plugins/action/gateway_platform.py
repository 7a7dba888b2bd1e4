# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The platform's objects on each Gateway the teams of the batch use."""

from __future__ import annotations

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _platform, _preflight
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome


class ActionModule(BatchAction):
    """Done once for each Gateway; the first of its teams reports it."""

    def prepare(self, teams: dict[str, Team]) -> None:
        self._first: dict[t.Any, str] = {}
        for team in teams.values():
            self._first.setdefault((team.cluster, team.gateway, team.domain), team.name)
            connect(team.cluster)

    def for_team(self, team: Team) -> Outcome:
        first = self._first[(team.cluster, team.gateway, team.domain)]
        if team.name != first:
            return Outcome(msg=f"The same Gateway as team '{first}'.")
        kube = connect(team.cluster)
        problems = [problem for problem in _preflight.platform_problems(kube, team.gateway) if not problem.ours]
        problems += _preflight.admission_problems(kube, team)
        if not all(problem.warning for problem in problems):
            raise GatewayAuthError("\n".join(str(problem) for problem in problems))
        findings = [str(problem) for problem in problems]
        journal = self.journal(team)
        try:
            _platform.prepare(team, journal)
        except GatewayAuthError as exc:
            raise journal.blame(exc) from exc
        outcome = self.outcome(journal)
        outcome.msg, outcome.data = "\n".join(f"finding: {finding}" for finding in findings), {"findings": findings}
        return outcome
