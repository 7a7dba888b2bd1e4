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


# --- a team that leaves ---------------------------------------------------------------------------------------------------------


SHARED = {
    "apps": [{"name": "one", "hostname": "one.apps.example.com", "service": {"name": "one", "port": 80, "namespace": "shared"}, "public_paths": ["/open"]}]
}


def _served(api: Api) -> set[tuple[str, str]]:
    return {(kind, name) for kind in ("HTTPRoute", "SecurityPolicy", "ReferenceGrant", "HTTPRouteFilter", "ConfigMap") for name in api.names(kind)}


def test_a_team_that_leaves_leaves_nothing(api: Api, kubeconfig: str, probes: list[Object]) -> None:
    api.namespaces("shared")
    given = {**models(kubeconfig, "team-a", **SHARED), **models(kubeconfig, "team-b")}
    _run(given)
    alone = {"team-a": given["team-a"]}
    others = {item for item in _served(api) if item[1].endswith("team-b")}
    api.read_only = True
    foretold = _run(alone, check=True, state="absent")["team-a"]
    api.read_only = False
    gone = _run(alone, state="absent")["team-a"]
    assert gone["changes"] == foretold["changes"] and all(change["reasons"] == ["the team is being offboarded"] for change in gone["changes"][:-1])
    first = [change["object"] for change in gone["changes"][:2]]
    assert first == ["HTTPRoute monitoring-team-a/one-team-a-public", "HTTPRoute monitoring-team-a/one-team-a"], "the doors first"
    assert gone["changes"][-1]["object"].startswith("ConfigMap"), "the claim last"
    assert _served(api) == others
    assert not _run(alone, state="absent")["team-a"]["changed"]


@pytest.mark.parametrize("after", range(6))
def test_leaving_may_die_at_any_write(api: Api, kubeconfig: str, probes: list[Object], after: int) -> None:
    api.namespaces("shared")
    given = models(kubeconfig, "team-a", **SHARED)
    _run(given)
    api.lose_connection_after(after)
    assert _run(given, state="absent")["team-a"]["failed"]
    api.mend()
    assert not _run(given, state="absent")["team-a"]["failed"]
    assert _served(api) == set()


def test_a_quarantine_begins_lasts_and_ends(api: Api, kubeconfig: str, probes: list[Object], monkeypatch: pytest.MonkeyPatch) -> None:
    api.namespaces("shared")
    given = models(kubeconfig, "team-a", quarantine="7d", **SHARED)
    _run(given)
    online = _served(api)
    begun = _run(given, state="absent")["team-a"]
    assert begun["changed"] and "quarantined_until" in begun["data"] and "In quarantine since" in begun["data"]["findings"][0]
    assert _served(api) == (online - {("HTTPRoute", "one-team-a-public"), ("ReferenceGrant", "monitoring-team-a-one")}) | {
        ("HTTPRouteFilter", "one-team-a-quarantine")
    }
    rule = api.the("HTTPRoute", "one-team-a")["spec"]["rules"][0]
    assert "backendRefs" not in rule and rule["filters"][0]["extensionRef"]["name"] == "one-team-a-quarantine"
    again = _run(given, state="absent")["team-a"]
    assert not again["changed"] and again["data"] == begun["data"]

    assert not _run(given)["team-a"]["failed"], "back, as restore_team does it"
    assert _served(api) == online
    assert not _run(given)["team-a"]["changed"]
    assert not any("annotations" in obj["metadata"] and obj["metadata"]["annotations"] for obj in api.objects.values() if obj["kind"] == "HTTPRoute")

    _run(given, state="absent")
    for kind, name in (("HTTPRoute", "one-team-a"), ("HTTPRoute", "one-passthrough-oauth-team-a")):
        api.edit(kind, name, lambda obj: obj["metadata"]["annotations"].update({"gateway-auth/quarantined-since": "2026-01-01T00:00:00Z"}))
    over = _run(given, state="absent")["team-a"]
    assert "quarantined_until" not in over["data"] and _served(api) == set()
    assert not _run(given, state="absent")["team-a"]["changed"], "and none begins anew"


@pytest.mark.parametrize("after", range(5))
def test_a_quarantine_s_beginning_and_end_may_die_at_any_write(api: Api, kubeconfig: str, probes: list[Object], after: int) -> None:
    api.namespaces("shared")
    given = models(kubeconfig, "team-a", quarantine="7d", **SHARED)
    _run(given)
    online = _served(api)
    for state in ("absent", "present"):
        api.lose_connection_after(after)
        _run(given, state=state)
        api.mend()
        assert not _run(given, state=state)["team-a"]["failed"]
        assert not _run(given, state=state)["team-a"]["changed"]
    assert _served(api) == online


@pytest.mark.parametrize("after", range(8))
def test_a_removal_after_the_quarantine_begins_no_new_one(api: Api, kubeconfig: str, probes: list[Object], after: int) -> None:
    api.namespaces("shared")
    given = models(kubeconfig, "team-a", quarantine="7d", **SHARED)
    _run(given)
    _run(given, state="absent")
    for name in ("one-team-a", "one-passthrough-oauth-team-a"):
        api.edit("HTTPRoute", name, lambda obj: obj["metadata"]["annotations"].update({"gateway-auth/quarantined-since": "2026-01-01T00:00:00Z"}))
    api.lose_connection_after(after)
    _run(given, state="absent")
    api.mend()
    assert "quarantined_until" not in _run(given, state="absent")["team-a"]["data"]
    assert _served(api) == set()


def test_without_its_gateway_a_team_can_leave(api: Api, kubeconfig: str, probes: list[Object]) -> None:
    given = models(kubeconfig)
    _run(given)
    api.objects.pop(("gateways", "gateway-envoy", "main"))
    api.forget()
    assert not _run(given, state="absent")["team-a"]["failed"]
    assert _served(api) == set()
    assert not any(request.method == "ASK" for request in api.journal)


def test_only_some_of_the_batch(api: Api, kubeconfig: str, probes: list[Object]) -> None:
    given = models(kubeconfig, "team-a", "team-b")
    outcomes = _run(given, only=["team-b"])
    assert outcomes["team-b"]["changed"]
    assert outcomes["team-a"] == {"changed": False, "failed": False, "msg": "", "changes": [], "diff": [], "data": {}}
    assert not any(name.endswith("team-a") for name in api.names("HTTPRoute"))
