# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The phase that opens routes: how the gateway is reached from outside, and each team by itself."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.action import gateway_routes
from ansible_collections.platform.gateway_auth.plugins.module_utils import _routes
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import gateway_manifests
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.unit.support import platform as parts
from tests.unit.support.actions import models, run_action
from tests.unit.support.api import Api
from tests.unit.support.envoy import Envoy

Object = dict[str, t.Any]


@pytest.fixture
def probes(api: Api, monkeypatch: pytest.MonkeyPatch) -> list[Object]:
    """How each probe was made; the requests go to the stand-in for Envoy."""
    made: list[Object] = []
    envoy = Envoy(api)

    def client(**options: t.Any) -> Envoy:
        made.append(options)
        return envoy

    monkeypatch.setattr(_routes, "ProbeClient", client)
    monkeypatch.setattr(_routes, "STATUS_TIMEOUT_S", 0.3)
    monkeypatch.setattr(_routes, "REFUSAL_TIMEOUT_S", 1.0)
    monkeypatch.setattr(_routes, "POLL_S", 0.01)
    api.namespaces("monitoring-team-b")
    api.seed(parts.gateway())
    return made


def _run(given: Object, *, check: bool = False, **options: t.Any) -> Object:
    return t.cast("Object", run_action(gateway_routes.ActionModule, {"models": given, **options}, check=check)["teams"])


def test_sequence(api: Api, kubeconfig: str, probes: list[Object]) -> None:
    given = models(kubeconfig, "team-a", "team-b")
    api.read_only = True
    predicted = _run(given, check=True)
    api.read_only = False
    written = _run(given)
    assert {host: outcome["changes"] for host, outcome in written.items()} == {host: outcome["changes"] for host, outcome in predicted.items()}
    wanted = {(obj["kind"], obj["metadata"]["name"]) for model in given.values() for obj in gateway_manifests(Team.from_dict(model))}
    assert {(kind, name) for kind in ("HTTPRoute", "SecurityPolicy") for name in api.names(kind)} == wanted
    api.forget()
    assert not any(outcome["changed"] for outcome in _run(given).values())
    assert not any(request.writes or request.method == "ASK" for request in api.journal)


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        pytest.param({}, {"address": "192.0.2.1", "proxy": ""}, id="the Gateway's address"),
        pytest.param({"address": "198.51.100.7"}, {"address": "198.51.100.7", "proxy": ""}, id="an address"),
        pytest.param(
            {"proxy": "http://proxy:3128", "ca_file": "/ca.pem"},
            {"address": "", "proxy": "http://proxy:3128", "ca_file": "/ca.pem"},
            id="a proxy resolves by itself",
        ),
    ],
)
def test_how_the_gateway_is_reached(kubeconfig: str, probes: list[Object], probe: Object, expected: Object) -> None:
    _run(models(kubeconfig, probe=probe))
    assert expected.items() <= probes[0].items()


def test_a_failing_team_tells_what_it_did_and_leaves_the_other(api: Api, kubeconfig: str, probes: list[Object]) -> None:
    api.verdicts["oauth2-prometheus-team-a"] = {"type": "Accepted", "status": "False", "message": "no such Service"}
    teams = _run(models(kubeconfig, "team-a", "team-b"))
    assert teams["team-a"]["failed"] and "no such Service" in teams["team-a"]["msg"]
    assert teams["team-a"]["changed"] and teams["team-a"]["changes"]
    assert not teams["team-b"]["failed"] and "prometheus-team-b" in api.names("HTTPRoute")
    assert "prometheus-team-a" not in api.names("HTTPRoute")


def test_a_foreign_object_until_it_is_adopted(api: Api, kubeconfig: str, probes: list[Object]) -> None:
    theirs = gateway_manifests(Team.from_dict(models(kubeconfig)["team-a"]))[0]
    theirs["metadata"]["labels"] = {}
    api.seed(theirs)
    refused = _run(models(kubeconfig))["team-a"]
    assert refused["failed"] and not refused["changed"] and not api.writes
    adopted = _run(models(kubeconfig), adopt=f"[SecurityPolicy/{theirs['metadata']['name']}]")["team-a"]
    assert not adopted["failed"] and "adopt" in {change["action"] for change in adopted["changes"]}
