# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold before the first write, for every team of the batch."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible.release import __version__ as ansible_version

from ansible_collections.platform.gateway_auth.plugins.module_utils import _helm, _offboard, _preflight, _running
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import AzureError, GatewayAuthError, HelmError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube, connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Chart, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._rights import OFFBOARD, ONBOARD, ROTATE
from ansible_collections.platform.gateway_auth.plugins.module_utils._routes import marked_routes
from ansible_collections.platform.gateway_auth.plugins.module_utils._versions import Found
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _azure
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._collections import collection_version
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._entra import has_identity
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._registrations import from_cluster

RESTORE = "restore"  # an onboarding that may find the team in quarantine


class ActionModule(BatchAction):
    """All problems of a team in one message; nothing is written."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {"phase": {"type": "str", "default": ONBOARD, "choices": [ONBOARD, RESTORE, ROTATE, OFFBOARD]}}

    def prepare(self, teams: dict[str, Team]) -> None:
        if self.options["phase"] == OFFBOARD and not self.check_mode and any(map(self._will_uninstall, teams.values())):
            self._check_tools()
        if self.options["phase"] in (ROTATE, OFFBOARD):
            return
        self._platform: dict[t.Any, list[_preflight.Problem]] = {}
        for team in teams.values():
            key = (team.cluster, team.gateway)
            if key not in self._platform:
                self._platform[key] = _preflight.platform_problems(connect(team.cluster), team.gateway)
        self._check_helm(list(teams.values()))

    @staticmethod
    def _will_uninstall(team: Team) -> bool:
        kube = connect(team.cluster)
        if _offboard.quarantine(team, marked_routes(kube, team), datetime.datetime.now(datetime.UTC)) is not None:
            return False
        release = _helm.newest_release(kube, team.namespace, team.release)
        return release is not None and _helm.is_ours(team, release)

    def _check_helm(self, teams: list[Team]) -> None:
        """Helm and the chart matter only where a release will change: otherwise no process starts."""
        self._tools: list[_preflight.Problem] = []
        self._installs: dict[str, list[Found]] = {}
        self._upgrades: dict[str, bool] = {}
        self._known: dict[str, Team] = {}
        self._releases: dict[str, _helm.Release | None] = {}
        versions: dict[Chart, str] = {}
        charts: dict[Chart, dict[str, t.Any]] = {}
        for team in teams:
            release = _helm.newest_release(connect(team.cluster), team.namespace, team.release)
            if team.chart not in versions:
                versions[team.chart] = _helm.chart_version(team.chart)
            self._releases[team.name] = release
            known = self._known[team.name] = from_cluster(team)
            # A team with groups that nobody has looked up yet has no release of ours either.
            self._upgrades[team.name] = bool(known.named_groups or _helm.upgrade_reasons(release, versions[team.chart], release_values(known)))
            if not self._upgrades[team.name]:
                continue
            if not charts:
                self._tools = self._check_tools()
            if team.chart not in charts:
                charts[team.chart] = _helm.chart_metadata(team.chart)
            self._installs[team.name] = _running.versions_to_install(team, charts[team.chart])

    @staticmethod
    def _check_tools() -> list[_preflight.Problem]:
        """Helm and what starts it; one that won't do isn't asked for the chart."""
        helm = ".".join(map(str, _helm.helm_version()))
        problems = _preflight.version_problems(_running.tool_versions(helm, collection_version("kubernetes.core"), ansible_version))
        refused = [str(problem) for problem in problems if not problem.warning]
        if refused:
            raise HelmError("\n".join(refused))
        return problems

    def for_team(self, team: Team) -> Outcome:
        kube = connect(team.cluster)
        if self.options["phase"] in (ROTATE, OFFBOARD):
            # In an emergency the rest may be as it is: only what would end the run halfway counts.
            return self._judged(kube, [] if self.check_mode else _preflight.rights_problems(kube, team, self.options["phase"]))
        will_write = self._upgrades[team.name] or _preflight.routes_change(kube, self._known[team.name])
        problems = [
            *([] if self.options["phase"] == RESTORE else _preflight.quarantine_problems(kube, team)),
            *self._platform[(team.cluster, team.gateway)],
            *self._tools,
            *self._proxy_problems(kube, team),
            *_preflight.team_problems(kube, team, will_write=will_write, reads_entra=has_identity()),
            *_preflight.foreign_problems(kube, team, self._releases[team.name], self.adopted),
            *self._azure_problems(team),
        ]
        return self._judged(kube, problems)

    def _proxy_problems(self, kube: Kube, team: Team) -> list[_preflight.Problem]:
        """The proxy that will run; one that runs now and is replaced by this run is only told of."""
        installs = self._installs.get(team.name, [])
        running = _preflight.version_problems(_running.running_proxies(kube, team))
        if installs:
            running = [dataclasses.replace(problem, text=f"Until this run replaces it: {problem.text}", warning=True) for problem in running]
        return [*_preflight.version_problems(installs), *running]

    def _judged(self, kube: Kube, problems: list[_preflight.Problem]) -> Outcome:
        hard = [problem for problem in problems if not problem.warning and not (problem.soft and self.check_mode)]
        if hard:
            raise GatewayAuthError("\n".join(str(problem) for problem in problems))
        findings = [str(problem) for problem in problems]
        return Outcome(msg="\n".join(f"finding: {finding}" for finding in findings), data={"findings": findings, "cluster": kube.identity})

    @staticmethod
    def _azure_problems(team: Team) -> list[_preflight.Problem]:
        """azure.azcollection and its Python requirements, where the inventory asks for them."""
        wanted = (*(_azure.VAULT_PACKAGES if team.reads_key_vault or team.writes_key_vault else ()), *(_azure.AKS_PACKAGES if team.asks_aks else ()))
        try:
            if wanted:
                _azure.require(wanted)
        except AzureError as exc:
            return [_preflight.Problem(exc.message, exc.remedy)]
        return []
