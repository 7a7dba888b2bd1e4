# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Helm is asked to uninstall, and what of its answer is handed on."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.action.release_remove import ActionModule
from tests.unit.support.actions import make_action, team_model

Object = dict[str, t.Any]


@pytest.mark.parametrize("context", ["", "blue"])
def test_helm_is_asked_once(monkeypatch: pytest.MonkeyPatch, context: str) -> None:
    asked: list[Object] = []

    def execute(_self: t.Any, module_name: str, module_args: Object, **_options: t.Any) -> Object:
        asked.append({"module": module_name, **module_args})
        return {"changed": True, "command": "helm uninstall", "stdout": "gone", "stdout_lines": ["gone"], "status": {"values": "all"}}

    monkeypatch.setattr(ActionModule, "_execute_module", execute)
    action = make_action(ActionModule, {"model": team_model("/kube/config", cluster={"kubeconfig": "/kube/config", "context": context})})
    result = action.run(task_vars={})
    assert asked == [
        {
            "module": "kubernetes.core.helm",
            "name": "monitoring-oauth2-proxy-team-a",
            "release_namespace": "monitoring-team-a",
            "release_state": "absent",
            "kubeconfig": "/kube/config",
            **({"context": "blue"} if context else {}),
        }
    ]
    assert result["changed"] and result["stdout"] == "gone" and not {"command", "status", "stdout_lines"} & set(result)
