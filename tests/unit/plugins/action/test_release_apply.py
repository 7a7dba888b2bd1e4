# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What kubernetes.core.helm is asked, and what of its answer is passed on."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleActionFail, AnsibleActionSkip
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.kubernetes.core.plugins.modules.helm import argument_spec

from ansible_collections.platform.gateway_auth.plugins.action import release_apply
from ansible_collections.platform.gateway_auth.plugins.action.release_apply import ActionModule
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import HelmError
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values
from tests.golden import team
from tests.unit.support.actions import make_action, run_action, team_model

Object = dict[str, t.Any]
ANSWER: Object = {
    "changed": True,
    "command": "/usr/bin/helm upgrade -i -f=/tmp/tmpabc.yml",
    "status": {"values": {"a": 1}},
    "invocation": {"module_args": {}},
    "stdout": "Release has been upgraded",
    "stdout_lines": ["x"],
    "stderr_lines": [],
    "warnings": [
        "The default idempotency check can fail to report changes in certain cases. Install helm diff >= 3.4.1 for better results.",
        "Something else.",
    ],
    "deprecations": [{"msg": "old"}],
}


@pytest.fixture(autouse=True)
def helm(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[tuple[int, ...] | Exception], None]:
    """``helm((4, 1, 4))``: what `helm version` says."""

    def says(version: tuple[int, ...] | Exception) -> None:
        def answer() -> tuple[int, ...]:
            if isinstance(version, Exception):
                raise version
            return version

        monkeypatch.setattr(release_apply, "helm_version", answer)

    says((4, 1, 4))
    return says


def _apply(answer: Object | None = None, **overrides: t.Any) -> tuple[Object, Object]:
    """(result, what the module was given); Ansible's own starting of modules stands at the boundary."""
    action = make_action(ActionModule, {"model": team_model("/kube/config", **overrides)})
    given: Object = {}

    def execute(module_name: str, module_args: Object, task_vars: Object) -> Object:
        given.update(module_name=module_name, **module_args)
        return dict(ANSWER if answer is None else answer)

    action._execute_module = execute
    return action.run(task_vars={}), given


@pytest.mark.parametrize(
    ("overrides", "expected", "absent"),
    [
        pytest.param(
            {},
            {"chart_ref": "oci://ghcr.io/oauth2-proxy/charts/oauth2-proxy", "chart_version": "10.7.0", "kubeconfig": "/kube/config"},
            {"context"},
            id="registry",
        ),
        pytest.param({"chart": {"ref": "/charts/oauth2-proxy", "version": "10.7.0"}}, {"chart_ref": "/charts/oauth2-proxy"}, {"chart_version"}, id="folder"),
        pytest.param({"cluster": {"kubeconfig": "", "context": "prod"}}, {"context": "prod"}, {"kubeconfig"}, id="context"),
    ],
)
def test_what_the_module_is_asked(overrides: Object, expected: Object, absent: set[str]) -> None:
    _result, given = _apply(**overrides)
    assert given.pop("module_name") == "kubernetes.core.helm"
    chosen = team(overrides)
    assert given["name"] == chosen.release and given["release_namespace"] == chosen.namespace
    assert given["release_values"] == release_values(chosen)
    assert expected.items() <= given.items() and not absent & set(given)
    judged = ArgumentSpecValidator(argument_spec()).validate(given)
    assert not judged.error_messages, "the module knows every option"


@pytest.mark.parametrize(("version", "forces"), [((3, 18, 0), False), ((4, 0, 0), True), ((4, 1, 4), True)])
def test_helm_4_takes_fields_back_from_other_managers(helm: t.Callable[..., None], version: tuple[int, ...], forces: bool) -> None:
    helm(version)
    _result, given = _apply()
    # Also for a release that Helm 3 made: by itself Helm 4 would go on without server-side apply, and then refuses to force.
    assert (given.get("force_conflicts"), given.get("server_side")) == ((True, "true") if forces else (None, None))


def test_a_helm_that_can_not_be_asked_fails_the_host(helm: t.Callable[..., None]) -> None:
    helm(HelmError("Helm is not on PATH.", "Install it."))
    result, given = _apply()
    assert result["failed"] and "PATH" in result["msg"] and not given


def test_no_secret_is_handed_over() -> None:
    _result, given = _apply(client_secret={"kind": "value", "name": "", "key": ""})
    assert given["release_values"]["config"]["existingSecret"] == "oauth2-proxy-team-a"
    assert not {"clientSecret", "cookieSecret", "clientID"} & set(given["release_values"]["config"])


def test_of_the_answer_remains_what_a_reader_needs() -> None:
    result, _given = _apply()
    assert result["changed"] is True and result["stdout"] == ANSWER["stdout"]
    assert result["warnings"] == ["Something else."]
    assert not {"command", "status", "invocation", "deprecations", "stdout_lines"} & set(result)


def test_a_failure_is_passed_on() -> None:
    result, _given = _apply({"failed": True, "msg": "Failure when executing Helm command", "command": "helm", "stderr": "timed out"})
    assert result["failed"] and result["msg"] == "Failure when executing Helm command" and result["stderr"] == "timed out"


def test_check_mode_starts_nothing() -> None:
    with pytest.raises(AnsibleActionSkip):
        run_action(ActionModule, {"model": team_model("/kube/config")}, check=True)


def test_a_model_is_needed() -> None:
    with pytest.raises(AnsibleActionFail):
        run_action(ActionModule, {})
