# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a batch's registrations, from Entra or from the cluster."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleError

from ansible_collections.platform.gateway_auth.plugins.action.entra_application import ActionModule as Application
from ansible_collections.platform.gateway_auth.plugins.action.entra_application_info import ActionModule
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import encode
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.sandbox.entra.testkit import Double
from tests.unit.support.actions import Model, run_action, texts
from tests.unit.support.api import Api
from tests.unit.support.entra import calls, forget, writes

Object = dict[str, t.Any]
ONCALL = "5f0c0c7e-0000-4000-8000-0000000000a2"


def run(models: dict[str, Object], **options: t.Any) -> Object:
    return run_action(ActionModule, {"models": models, **options})


def test_from_entra(double: Double, model: Model, api: Api) -> None:
    given = {"team-a": model(), "team-b": model("team-b")}
    before = run(given)
    assert before["teams"]["team-a"]["data"]["registration"] == {"exists": False} and before["models"] == given
    made = run_action(Application, {"models": {"team-a": given["team-a"]}})["models"]["team-a"]
    forget(double)
    found = run(given)
    told = found["teams"]["team-a"]["data"]
    assert told["client_id"] == made["client_id"] == told["registration"]["client_id"] and told["registration"]["ours"]
    assert found["models"]["team-a"] == made and found["models"]["team-b"] == given["team-b"]
    assert not found["teams"]["team-a"]["changed"] and not writes(double)
    assert not [text for text in texts(found) if double.secret("automation") in text]


def test_a_client_id_that_nobody_has_fails_alone(double: Double, model: Model, api: Api) -> None:
    result = run({"team-a": model(client_id="12345678-0000-4000-8000-000000000000"), "team-b": model("team-b")})
    assert result["teams"]["team-a"]["failed"] and not result["teams"]["team-b"]["failed"]


def test_from_the_cluster_entra_is_not_asked(double: Double, model: Model, api: Api) -> None:
    annotations = {"gateway-auth/groups": f'{{"team-a-oncall": "{ONCALL}"}}'}
    meta = {"name": "oauth2-proxy-team-a", "namespace": "monitoring-team-a", "annotations": annotations}
    api.seed({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"client-id": encode("an-id")}})
    result = run({"team-a": model(allowed_groups=[{"id": "", "name": "team-a-oncall"}])}, source="cluster")
    team = Team.from_dict(result["models"]["team-a"])
    assert team.client_id == "an-id" and team.proxy_groups == (ONCALL,) and result["teams"]["team-a"]["data"] == {"client_id": "an-id"}
    assert not calls(double)


def test_what_the_cluster_does_not_know_entra_is_asked_for(double: Double, model: Model, api: Api) -> None:
    made = run_action(Application, {"models": {"team-a": model()}})["models"]["team-a"]
    forget(double)
    result = run({"team-a": model(allowed_groups=[{"id": "", "name": "team-a-oncall"}])}, source="cluster")
    team = Team.from_dict(result["models"]["team-a"])
    assert team.client_id == made["client_id"] and team.proxy_groups == (ONCALL,) and calls(double)


def test_options(double: Double, model: Model, api: Api) -> None:
    with pytest.raises(AnsibleError):
        run({"team-a": model()}, source="memory")
