# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Helm releases of the batch differ from what they should be. Starts no process."""

from __future__ import annotations

import typing as t

import yaml

from ansible_collections.platform.gateway_auth.plugins.module_utils import _helm, _rollout
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._cover import covered_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._facts import release_facts
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Chart, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import plan_deletion
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._routes import Routes, probe_client
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome


class ActionModule(BatchAction):
    """``data.upgrade`` says whether Helm must run, ``fresh`` which Deployments this run creates, ``mended`` which it put right.

    Objects of the release that somebody changed or deleted are put back here; what Helm leaves of that, once it has run, release_rollout does.
    """

    def prepare(self, teams: dict[str, Team]) -> None:
        self._versions: dict[Chart, str] = {}
        for team in teams.values():
            connect(team.cluster)
            if team.chart not in self._versions:
                self._versions[team.chart] = _helm.chart_version(team.chart)

    def for_team(self, team: Team) -> Outcome:
        journal = self.journal(team)
        try:
            return self._settle(team, journal)
        except GatewayAuthError as exc:
            raise journal.blame(exc) from exc

    def _settle(self, team: Team, journal: Journal) -> Outcome:
        kube = journal.kube
        values = release_values(team)
        release = _helm.newest_release(kube, team.namespace, team.release)
        reasons = _helm.upgrade_reasons(release, self._versions[team.chart], values)
        if reasons:
            _helm.refuse_foreign_release(team, release, self.adopted)
        if release is not None and not _helm.is_ours(team, release):
            Routes(team, journal, probe_client(team, kube)).take_pages_over()
        fresh = [name for name in _rollout.deployments(team) if reasons and kube.get("apps/v1", "Deployment", name, team.namespace) is None]
        mended: list[str] = []
        routes = Routes(team, journal, probe_client(team, kube))
        for name in routes.missing_services()[:1]:
            routes.withdraw(f"until its policy is proven anew: Service {team.namespace}/{name}, which it asks, is gone and comes back")
        if release is not None and not release.finished:
            # Helm refuses to work on a release that a killed run left pending, and kubernetes.core takes the values of a
            # failed revision for the present ones. Its objects stay; Helm takes its own objects over again.
            journal.carry_out(plan_deletion(release.record, f"revision {release.revision} never finished (status {release.status})"))
        elif release is not None and _helm.is_ours(team, release):
            # Before an upgrade too: Helm fails where somebody put one field in another's place (`value` for `valueFrom`).
            changes = _helm.mend(team, journal, release)
            fresh += _helm.deployments_of(changes, "restore")
            mended += _helm.deployments_of(changes, "mend")
        if reasons:
            journal.note(
                "install" if release is None else "upgrade",
                f"Helm release {team.namespace}/{team.release}",
                reasons,
                {"kind": "Release", "before": release_facts(release.values) if release is not None else {}, "after": release_facts(values)},
                before=_values(release.values) if release is not None else "",
                after=_values(values),
                content=values,
            )
        outcome = self.outcome(journal)
        outcome.data = {"upgrade": bool(reasons), "fresh": sorted(set(fresh)), "mended": mended}
        return outcome


def _values(values: dict[str, t.Any]) -> str:
    return str(yaml.safe_dump(covered_values(values), sort_keys=True))
