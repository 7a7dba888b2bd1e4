# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restart pods whose Secrets changed, and wait until every Deployment of the release is ready."""

from __future__ import annotations

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _helm, _rollout
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome


class ActionModule(BatchAction):
    """Ends the release's phase: its outcome includes what release_plan found and release_apply did."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {"plans": {"type": "dict", "default": {}}}

    def prepare(self, teams: dict[str, Team]) -> None:
        for team in teams.values():
            connect(team.cluster)

    def for_team(self, team: Team) -> Outcome:
        plan = Outcome(**self.options["plans"].get(team.name, {}))
        if plan.failed:
            return plan
        journal = self.journal(team)
        try:
            mended = list(plan.data.get("mended") or ())
            if plan.data.get("upgrade") and not self.check_mode:
                mended += self._mend(team, journal)
            _rollout.mark(team, journal, fresh=plan.data.get("fresh") or ())
            if not self.check_mode:
                _rollout.wait(team, journal.kube)
                _rollout.wait_gone(team, journal.kube, mended)
                if plan.changed or journal.changed or _rollout.is_mixed(team, journal.kube):
                    # What is proven next must not be answered by a pod of before.
                    _rollout.wait_drained(team, journal.kube)
        except GatewayAuthError as exc:
            blamed = journal.blame(exc)
            blamed.changes_done = [*plan.changes, *blamed.changes_done]  # type: ignore[attr-defined]
            raise blamed from exc
        outcome = self.outcome(journal)
        return Outcome(changed=plan.changed or outcome.changed, changes=plan.changes + outcome.changes, diff=plan.diff + outcome.diff)

    @staticmethod
    def _mend(team: Team, journal: Journal) -> list[str]:
        """Helm leaves what others added (a container, a variable); and a release that was taken over is ours only now."""
        release = _helm.newest_release(journal.kube, team.namespace, team.release)
        if release is None or not release.finished:
            return []
        return _helm.deployments_of(_helm.mend(team, journal, release), "mend")
