# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Let Helm uninstall this team's release, through kubernetes.core.helm."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._helm import newest_release, reopen
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team


class ActionModule(ActionBase):
    """One host at a time: Helm is a process, and Ansible's forks are its pool."""

    TRANSFERS_FILES = True
    _supports_check_mode = False
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _unused, options = self.validate_argument_spec({"model": {"type": "dict", "required": True}})
        team = Team.from_dict(options["model"])
        try:
            kube = connect(team.cluster)
            release = newest_release(kube, team.namespace, team.release)
            if release is not None and release.leaving:
                reopen(kube, release)
        except GatewayAuthError as exc:
            return {**result, "failed": True, "msg": f"Team '{team.name}': {exc}"}
        arguments: dict[str, t.Any] = {
            "name": team.release,
            "release_namespace": team.namespace,
            # Without waiting, for which Helm 4 would need the right to watch; the proof that follows waits until all of it is gone.
            "release_state": "absent",
            "kubeconfig": team.cluster.kubeconfig or None,
            "context": team.cluster.context or None,
        }
        arguments = {key: value for key, value in arguments.items() if value is not None}
        answer = self._execute_module(module_name="kubernetes.core.helm", module_args=arguments, task_vars=task_vars)
        answer.pop("deprecations", None)
        for key in ("command", "status", "invocation", "stdout_lines", "stderr_lines"):
            answer.pop(key, None)
        result.update(answer)
        return result
