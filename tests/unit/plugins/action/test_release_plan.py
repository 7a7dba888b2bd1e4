# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether Helm must run, and what is cleared out of its way before."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.action.release_plan import ActionModule
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import passthrough_route
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.unit.support.actions import models, run_action
from tests.unit.support.api import Api
from tests.unit.support.releases import deployment, release_record

Object = dict[str, t.Any]


def _plan(kubeconfig: str, *, check: bool = False, adopt: t.Any = (), **overrides: t.Any) -> Object:
    result = run_action(ActionModule, {"models": models(kubeconfig, **overrides), "adopt": list(adopt)}, check=check)
    return t.cast("Object", result["teams"]["team-a"])


def _team(kubeconfig: str) -> Team:
    return Team.from_dict(models(kubeconfig)["team-a"])


@pytest.mark.parametrize("check", [True, False], ids=["check mode", "live"])
def test_a_first_installation(api: Api, kubeconfig: str, check: bool) -> None:
    api.read_only = True
    team = _team(kubeconfig)
    outcome = _plan(kubeconfig, check=check)
    assert outcome["data"] == {"upgrade": True, "fresh": [team.release, team.store_name], "mended": []}
    assert [change["action"] for change in outcome["changes"]] == ["install"]
    assert outcome["diff"][0]["before"] == "" and "existingSecret: oauth2-proxy-team-a" in outcome["diff"][0]["after"]


def test_nothing_to_do(api: Api, kubeconfig: str) -> None:
    api.seed(release_record(_team(kubeconfig)))
    api.read_only = True
    outcome = _plan(kubeconfig)
    assert outcome["data"] == {"upgrade": False, "fresh": [], "mended": []}
    assert not outcome["changed"] and not outcome["changes"] and not outcome["diff"]


def test_an_upgrade_names_each_value(api: Api, kubeconfig: str) -> None:
    team = _team(kubeconfig)
    api.seed(release_record(team), deployment(team.release), deployment(team.store_name))
    outcome = _plan(kubeconfig, replicas=3)
    assert outcome["data"] == {"upgrade": True, "fresh": [], "mended": []}
    (change,) = outcome["changes"]
    assert change["action"] == "upgrade" and any("replicaCount" in reason for reason in change["reasons"])
    assert "replicaCount: 2" in outcome["diff"][0]["before"] and "replicaCount: 3" in outcome["diff"][0]["after"]


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade", "failed"])
def test_what_a_killed_run_left_is_cleared(api: Api, kubeconfig: str, status: str) -> None:
    team = _team(kubeconfig)
    api.seed(release_record(team, revision=1, status="superseded"), release_record(team, revision=2, status=status))
    api.read_only = True
    predicted = _plan(kubeconfig, check=True)
    assert len(api.names("Secret")) == 2
    api.read_only = False
    outcome = _plan(kubeconfig)
    assert outcome["changes"] == predicted["changes"]
    assert outcome["data"]["upgrade"]
    assert api.names("Secret") == {f"sh.helm.release.v1.{team.release}.v1"}
    assert any(status in reason for change in outcome["changes"] for reason in change["reasons"])


def test_a_foreign_release_is_left_alone_until_adopted(api: Api, kubeconfig: str) -> None:
    team = _team(kubeconfig)
    api.seed(release_record(team, status="failed", values={"replicaCount": 1}))
    refused = _plan(kubeconfig)
    assert refused["failed"] and team.release in refused["msg"] and "adopt" in refused["msg"]
    assert not api.writes
    adopted = _plan(kubeconfig, adopt=[f"Release/{team.release}"])
    assert not adopted["failed"] and adopted["data"]["upgrade"]


def test_with_a_release_the_proxy_s_pages_are_taken_over_first(api: Api, kubeconfig: str) -> None:
    """Our proxy comes back to each app's host after a sign-in; a route by hand with fewer pages would send it round in circles."""
    team = _team(kubeconfig)
    by_hand = passthrough_route(team, team.apps[0])
    by_hand["metadata"]["labels"] = {}
    by_hand["spec"]["rules"] = [by_hand["spec"]["rules"][0]]
    by_hand["spec"]["rules"][0]["matches"] = [{"path": {"type": "PathPrefix", "value": "/oauth2/start"}}]
    api.seed(release_record(team, values={"replicaCount": 1}), by_hand)
    outcome = _plan(kubeconfig, adopt=["all"])
    assert [(change["action"], change["object"].split()[0]) for change in outcome["changes"]] == [("adopt", "HTTPRoute"), ("upgrade", "Helm")]
    rules = api.the("HTTPRoute", by_hand["metadata"]["name"])["spec"]["rules"]
    assert [(rule["name"], rule["matches"]) for rule in rules] == [
        (rule["name"], rule["matches"]) for rule in passthrough_route(team, team.apps[0])["spec"]["rules"]
    ]
    # One that isn't there is not made here: nothing protects its sentinel yet, and nothing asks for it.
    assert [name for plural, _namespace, name in api.objects if plural == "httproutes"] == [by_hand["metadata"]["name"]]


def test_secrets_are_not_in_the_diff(api: Api, kubeconfig: str) -> None:
    """Records hold all of a release; only its values may show."""
    record = release_record(_team(kubeconfig), status="failed")
    api.seed(record)
    outcome = _plan(kubeconfig)
    assert [change["action"] for change in outcome["changes"]] == ["delete", "upgrade"]
    assert record["data"]["release"] not in str(outcome)


def test_a_chart_that_can_not_be_read_is_everybody_s_outcome(api: Api, kubeconfig: str, tmp_path: t.Any) -> None:
    outcome = _plan(kubeconfig, chart={"ref": str(tmp_path), "version": ""})
    assert outcome["failed"] and str(tmp_path) in outcome["msg"] and "gateway_auth_chart" in outcome["msg"]


# --- objects that somebody changed -----------------------------------------------------------------------------------------------

MANIFEST = """\
---
# Source: oauth2-proxy/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  name: monitoring-oauth2-proxy-team-a
  labels: {app.kubernetes.io/version: 2026-11-25}
spec:
  selector: {app: proxy}
  ports: [{name: http, port: 80}]
---
---
apiVersion: example.com/v1
kind: Unknown
metadata: {name: x}
"""


def _seeded(api: Api, kubeconfig: str, **record: t.Any) -> None:
    team = _team(kubeconfig)
    api.seed(release_record(team, manifest=MANIFEST, **record), deployment(team.release), deployment(team.store_name))


def test_a_deleted_object_comes_back(api: Api, kubeconfig: str) -> None:
    _seeded(api, kubeconfig)
    api.read_only = True
    predicted = _plan(kubeconfig, check=True)
    api.read_only = False
    outcome = _plan(kubeconfig)
    assert outcome["changes"] == predicted["changes"] and outcome["changed"]
    assert [(change["action"], change["object"]) for change in outcome["changes"]] == [("restore", "Service monitoring-team-a/monitoring-oauth2-proxy-team-a")]
    assert outcome["data"] == {"upgrade": False, "fresh": [], "mended": []}
    labels = api.the("Service", "monitoring-oauth2-proxy-team-a")["metadata"]["labels"]
    assert labels == {"app.kubernetes.io/version": "2026-11-25", "app.kubernetes.io/managed-by": "Helm"}, "a date is text, as it is for Helm"
    api.forget()
    assert not _plan(kubeconfig)["changed"]
    assert all(request.startswith("GET") for request in api.asked)


def test_before_an_upgrade_too(api: Api, kubeconfig: str) -> None:
    _seeded(api, kubeconfig)
    outcome = _plan(kubeconfig, replicas=3)
    assert [change["action"] for change in outcome["changes"]] == ["restore", "upgrade"]


@pytest.mark.parametrize("record", [{"status": "failed"}, {"values": {"replicaCount": 1}}], ids=["unfinished", "somebody else's"])
def test_not_by_a_record_that_never_held(api: Api, kubeconfig: str, record: Object) -> None:
    """Of a failed revision nothing is known; and a release made by hand is put right by the upgrade, not made again what it was."""
    _seeded(api, kubeconfig, **record)
    outcome = _plan(kubeconfig, adopt=["all"])
    assert [change["action"] for change in outcome["changes"]][-1] == "upgrade"
    assert "Service" not in {name.split()[0] for name in (change["object"] for change in outcome["changes"])}


def test_what_was_put_back_before_an_error_is_told(api: Api, kubeconfig: str) -> None:
    team = _team(kubeconfig)
    policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: z}\nspec: {}\n"
    api.seed(release_record(team, manifest=MANIFEST + policy))
    api.forbidden.add("networkpolicies")
    outcome = _plan(kubeconfig)
    assert outcome["failed"] and outcome["changed"] and [change["action"] for change in outcome["changes"]] == ["restore"]
