# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The base of every batched action: one call for all hosts of the batch, one outcome for each.

See CONTRIBUTING.md, "How a phase runs". The task that uses such an action sets ``run_once: true`` so that Ansible hands the
registered result to every host of the batch.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team

# The API server and Envoy do the work; threads only wait for them.
WORKERS = 16


@dataclasses.dataclass
class Outcome:
    """What one phase did (or in check mode would do) for one team."""

    changed: bool = False
    failed: bool = False
    msg: str = ""
    changes: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    diff: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    data: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)


def outcomes_of(host: str, phases: t.Iterable[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """One host's outcomes in registered results of batched actions, in their order; {} of a phase that didn't reach it."""
    return [(phase.get("teams") or {}).get(host) or {} for phase in phases]


class BatchAction(ActionBase):
    """Run ``for_team`` for every team of the batch, in threads.

    A subclass sets ``OPTIONS`` (an argument spec, on top of ``models``), may override ``prepare`` (once, before any
    team; a GatewayAuthError there is every team's outcome) and implements ``for_team``.
    """

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {}
    FAILED_TOO: t.ClassVar[bool] = False  # for what tells of phases, in an ``always`` section

    # Options every phase takes; `adopt` is the control of the same name, `only` the hosts that the phase is for.
    _COMMON: t.ClassVar[dict[str, t.Any]] = {
        "models": {"type": "dict", "required": True},
        "adopt": {"type": "raw", "default": []},
        "only": {"type": "list", "elements": "str"},
    }

    check_mode: bool
    want_diff: bool
    options: dict[str, t.Any]
    task_vars: dict[str, t.Any]

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        self.task_vars = task_vars or {}
        self.check_mode = bool(self._task.check_mode)
        self.want_diff = bool(self._task.diff)
        _unused, self.options = self.validate_argument_spec({**self._COMMON, **self.OPTIONS})
        models = self.options["models"]
        batch = self.task_vars["ansible_play_hosts_all" if self.FAILED_TOO else "ansible_play_batch"]
        hosts = [host for host in batch if host in models]
        missing = [host for host in batch if host not in models]
        if missing:
            raise AnsibleActionFail(f"No compiled model for {', '.join(missing)}: role gateway_auth must run before this task.")
        only = self.options["only"]
        teams = {host: Team.from_dict(models[host]) for host in hosts if only is None or host in only}
        outcomes = self._run_all(teams) if teams else {}
        result["teams"] = {host: outcomes.get(host, Outcome()).to_dict() for host in hosts}
        result["changed"] = False
        return result

    def _run_all(self, teams: dict[str, Team]) -> dict[str, Outcome]:
        try:
            self.prepare(teams)
        except GatewayAuthError as exc:
            return {host: Outcome(failed=True, msg=str(exc)) for host in teams}
        with concurrent.futures.ThreadPoolExecutor(max_workers=min(WORKERS, max(1, len(teams)))) as pool:
            return dict(zip(teams, pool.map(self._guarded, teams.values()), strict=True))

    def _guarded(self, team: Team) -> Outcome:
        try:
            return self.for_team(team)
        except GatewayAuthError as exc:
            # What a phase had already done before it failed is true, and must not read as "nothing changed".
            done = getattr(exc, "changes_done", [])
            return Outcome(changed=bool(done), failed=True, msg=f"Team '{team.name}': {exc}", changes=list(done))

    @property
    def adopted(self) -> list[str]:
        """``Kind/name`` of foreign objects that may be taken over, or ``all``."""
        given = self.options["adopt"] or []
        if isinstance(given, str):  # -e adopt=all, -e adopt='[Kind/name, Kind/name]': key=value pairs stay text
            given = [part.strip() for part in given.strip("[] ").split(",")]
        if not isinstance(given, (list, tuple)):
            raise AnsibleActionFail(f"Expected -e adopt to be 'all' or a list such as [SecurityPolicy/oauth2-prometheus-team-a], found {given!r}.")
        return [str(item) for item in given if item]

    def journal(self, team: Team) -> Journal:
        """A journal on the team's cluster, in this run's mode."""
        return Journal(connect(team.cluster), check=self.check_mode, adopt=self.adopted)

    @staticmethod
    def outcome(journal: Journal) -> Outcome:
        """What the journal holds, as an outcome."""
        return Outcome(changed=journal.changed, changes=journal.listing(), diff=journal.diff())

    def prepare(self, teams: dict[str, Team]) -> None:
        """Once for the batch, before any team: clients, platform-wide reads."""

    def for_team(self, team: Team) -> Outcome:
        """The phase for one team; runs in a thread. Raise GatewayAuthError for what a user can mend."""
        raise NotImplementedError
