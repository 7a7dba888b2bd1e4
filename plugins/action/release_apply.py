# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run Helm for this team, through kubernetes.core.helm."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import HelmError
from ansible_collections.platform.gateway_auth.plugins.module_utils._helm import helm_version
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values


class ActionModule(ActionBase):
    """One host at a time: Helm is a process, and Ansible's forks are its pool."""

    TRANSFERS_FILES = True
    _supports_check_mode = False
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _unused, options = self.validate_argument_spec({"model": {"type": "dict", "required": True}})
        team = Team.from_dict(options["model"])
        arguments: dict[str, t.Any] = {
            "name": team.release,
            "chart_ref": team.chart.ref,
            "release_namespace": team.namespace,
            "release_values": release_values(team),
            "kubeconfig": team.cluster.kubeconfig or None,
            "context": team.cluster.context or None,
            "history_max": 5,
        }
        if team.chart.ref.startswith(("oci://", "https://")):
            arguments["chart_version"] = team.chart.version
        try:
            if helm_version() >= (4,):
                # A field that another manager took would fail every upgrade. A release of Helm 3 is changed by patches until it is
                # told otherwise, and those can't be forced.
                arguments.update(server_side="true", force_conflicts=True)
        except HelmError as exc:
            return {**result, "failed": True, "msg": str(exc)}
        arguments = {key: value for key, value in arguments.items() if value is not None}
        answer = self._execute_module(module_name="kubernetes.core.helm", module_args=arguments, task_vars=task_vars)
        # It advises to install helm-diff for its own comparison; ours is exact (release_plan) and needs no plugin.
        answer["warnings"] = [warning for warning in answer.get("warnings") or [] if "helm diff" not in str(warning)]
        answer.pop("deprecations", None)
        # The command line names a temporary values file and the status repeats all values: nothing a reader needs.
        for key in ("command", "status", "invocation", "stdout_lines", "stderr_lines"):
            answer.pop(key, None)
        result.update(answer)
        return result
