# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Teams between both doubles, for actions that speak to Entra."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.action.entra_application import ActionModule as Application
from ansible_collections.platform.gateway_auth.plugins.action.team_secrets import ActionModule as Secrets
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._entra import _IDENTITY
from tests.sandbox.entra.testkit import Double
from tests.unit.support.actions import Model, run_action, team_model
from tests.unit.support.entra import environ, reach

Object = dict[str, t.Any]


@pytest.fixture
def model(double: Double, kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> Model:
    """Makes compiled models of teams whose registrations are managed, in a shell that has the identity for it."""
    for name in _IDENTITY:
        monkeypatch.delenv(name, raising=False)
    for name, value in environ(double).items():
        monkeypatch.setenv(name, value)

    def make(name: str = "team-a", **overrides: t.Any) -> Object:
        given = {"registration": "managed", "client_id": "", "client_secret": None, "environment": "sandbox", "graph": reach(double), **overrides}
        return Team.from_dict(team_model(kubeconfig, name, **given)).to_dict()

    return make


@pytest.fixture
def onboarded(model: Model) -> dict[str, Object]:
    """Models of two teams with registrations and Secrets, and no credential yet."""
    made = run_action(Application, {"models": {name: model(name) for name in ("team-a", "team-b")}})["models"]
    run_action(Secrets, {"models": made})
    return t.cast("dict[str, Object]", made)
