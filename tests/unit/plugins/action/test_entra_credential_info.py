# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which credentials a batch has, told without a value and without a write."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleError

from ansible_collections.platform.gateway_auth.plugins.action.entra_credential import ActionModule as Credential
from ansible_collections.platform.gateway_auth.plugins.action.entra_credential_info import ActionModule
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import decode
from tests.sandbox.entra.testkit import Double
from tests.unit.support.actions import Model, run_action, texts
from tests.unit.support.api import Api
from tests.unit.support.entra import forget, writes

Object = dict[str, t.Any]


def run(models: dict[str, Object], **options: t.Any) -> Object:
    return t.cast("Object", run_action(ActionModule, {"models": models, **options})["teams"])


def test_what_is_there(double: Double, model: Model, api: Api, onboarded: dict[str, Object]) -> None:
    before = run(onboarded)["team-a"]["data"]["credentials"]
    assert before == {"mode": "client_secret", "current": None, "next": None, "previous": [], "passwords": [], "federated": []}
    key_id = run_action(Credential, {"models": onboarded})["teams"]["team-a"]["data"]["key_id"]
    forget(double)
    api.forget()
    api.read_only = True
    found = run(onboarded)
    told = found["team-a"]["data"]["credentials"]
    assert told["current"]["keyId"] == key_id and [(item["keyId"], item["ours"]) for item in told["passwords"]] == [(key_id, True)]
    assert not found["team-a"]["changed"] and not writes(double) and not api.writes
    value = decode(api.the("Secret", "oauth2-proxy-team-a"), "client-secret")
    assert value and not [text for text in texts(found) if value in text]
    assert run({"team-a": model()})["team-a"]["data"]["credentials"] == told, "the client id is found in the cluster"


def test_a_team_that_is_not_onboarded_fails_alone(double: Double, model: Model, api: Api, onboarded: dict[str, Object]) -> None:
    outcomes = run({"team-a": onboarded["team-a"], "team-c": model("team-c")})
    assert not outcomes["team-a"]["failed"] and outcomes["team-c"]["failed"] and "onboard_team" in outcomes["team-c"]["msg"]


def test_options(double: Double, onboarded: dict[str, Object]) -> None:
    with pytest.raises(AnsibleError):
        run(onboarded, stage="settle")
