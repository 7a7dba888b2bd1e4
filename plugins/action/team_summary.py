# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a run ended: one line for each team, also when every team failed; and one for each waiver in force."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._waivers import in_force
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import outcomes_of


class ActionModule(ActionBase):
    """Runs once, in an ``always`` section, for the hosts that succeeded and those that failed alike."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        spec = {"phases": {"type": "list", "elements": "dict", "required": True}, "models": {"type": "dict", "default": {}}}
        _unused, options = self.validate_argument_spec(spec)
        alive = set(variables["ansible_play_hosts"])
        lines = {host: _summarize(host, options["phases"], host in alive, self._task.check_mode) for host in variables["ansible_play_hosts_all"]}
        waived = [f"{host}: waived: {used}" for host in lines if host in options["models"] for used in in_force(Team.from_dict(options["models"][host]))]
        result["msg"] = [*(f"{host}: {text}" for host, text in lines.items()), *waived]
        result["changed"] = False
        result["_ansible_verbose_always"] = True
        return result


def _summarize(host: str, phases: list[dict[str, t.Any]], alive: bool, check_mode: bool) -> str:
    outcomes = outcomes_of(host, phases)
    changes = sum(len(outcome.get("changes") or []) for outcome in outcomes)
    findings = [str(finding) for outcome in outcomes for finding in (outcome.get("data") or {}).get("findings") or []]
    told = f", {len(findings)} findings: {' '.join(findings)}" if findings else ""
    if not alive:
        failure = next((str(outcome["msg"]) for outcome in outcomes if outcome.get("failed")), "see the failed task above")
        return f"FAILED after {changes} changes: {failure.splitlines()[0] if failure else ''}{told}"
    would = "would be changed" if check_mode else "changed"
    text = f"{changes} objects {would}" if changes else "nothing to change"
    return f"ok, {text}{told}"
