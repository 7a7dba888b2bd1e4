# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Helm is asked to uninstall, and what of its answer is handed on."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.action.release_remove import ActionModule
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.unit.support.actions import make_action, team_model
from tests.unit.support.api import Api
from tests.unit.support.releases import release_record

Object = dict[str, t.Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Object]:
    """What the module was called with."""
    calls: list[Object] = []

    def execute(_self: t.Any, module_name: str, module_args: Object, **_options: t.Any) -> Object:
        calls.append({"module": module_name, **module_args})
        return {"changed": True, "command": "helm uninstall", "stdout": "gone", "stdout_lines": ["gone"], "status": {"values": "all"}}

    monkeypatch.setattr(ActionModule, "_execute_module", execute)
    return calls


@pytest.mark.parametrize("status", ["deployed", "failed", "uninstalling", "uninstalled"])
def test_helm_sees_a_release_that_it_can_uninstall(api: Api, kubeconfig: str, asked: list[Object], status: str) -> None:
    """kubernetes.core leaves one alone of which it reads that it goes."""
    model = team_model(kubeconfig)
    team = Team.from_dict(model)
    api.seed(release_record(team, status=status))
    assert make_action(ActionModule, {"model": model}).run(task_vars={})["changed"] and len(asked) == 1
    record = api.objects["secrets", team.namespace, f"sh.helm.release.v1.{team.release}.v1"]
    assert record["metadata"]["labels"]["status"] == (status if status in ("deployed", "failed") else "failed")


def test_a_record_that_can_t_be_read_is_an_error(api: Api, kubeconfig: str, asked: list[Object]) -> None:
    model = team_model(kubeconfig)
    record = release_record(Team.from_dict(model))
    record["data"]["release"] = "eA=="
    api.seed(record)
    result = make_action(ActionModule, {"model": model}).run(task_vars={})
    assert result["failed"] and "can't be read" in result["msg"] and asked == []


@pytest.mark.parametrize("context", ["", "unit"])
def test_helm_is_asked_once(api: Api, kubeconfig: str, asked: list[Object], context: str) -> None:
    action = make_action(ActionModule, {"model": team_model(kubeconfig, cluster={"kubeconfig": kubeconfig, "context": context})})
    result = action.run(task_vars={})
    assert asked == [
        {
            "module": "kubernetes.core.helm",
            "name": "monitoring-oauth2-proxy-team-a",
            "release_namespace": "monitoring-team-a",
            "release_state": "absent",
            "kubeconfig": kubeconfig,
            **({"context": context} if context else {}),
        }
    ]
    assert result["changed"] and result["stdout"] == "gone" and not {"command", "status", "stdout_lines"} & set(result)
