# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action reads, how it reaches Entra, and what it writes down."""

from __future__ import annotations

import base64
import dataclasses
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.action import team_verify
from ansible_collections.platform.gateway_auth.plugins.module_utils import _model
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForbiddenError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._verify import Live

TEAM = _model.Team(
    name="team-a",
    environment="test",
    stack="monitoring",
    domain="example.test",
    tenant_id="11111111-1111-4111-8111-111111111111",
    client_id="aaaaaaaa-0000-4000-8000-00000000000a",
    cluster=_model.ClusterRef("kubeconfig"),
    gateway=_model.GatewayRef(),
    probe=_model.Probe(),
    chart=_model.Chart("chart", "1"),
    allowed_groups=(_model.Group("5f0c0c7e-0000-4000-8000-0000000000a1"),),
    apps=(),
    trusted_proxy_cidrs=("10.0.0.0/8",),
)
PROBED = dataclasses.replace(TEAM, probe=_model.Probe(proxy="http://probe:3128", ca_file="/ca.pem"))


class Cluster:
    """A Kube that only reads; ``forbidden`` kinds are refused."""

    def __init__(self, objects: dict[tuple[str, str], dict[str, t.Any]] | None = None, forbidden: tuple[str, ...] = ()) -> None:
        self.objects = objects or {}
        self.forbidden = forbidden
        self.asked_logs: list[str] = []

    def get(self, _api_version: str, kind: str, name: str, _namespace: str = "") -> dict[str, t.Any] | None:
        if kind in self.forbidden:
            raise ForbiddenError(f"get {kind}")
        return self.objects.get((kind, name))

    def list(self, _api_version: str, kind: str, _namespace: str = "", _labels: t.Any = None) -> list[dict[str, t.Any]]:
        if kind in self.forbidden:
            raise ForbiddenError(f"list {kind}")
        return [obj for (found, _name), obj in self.objects.items() if found == kind]

    def logs(self, _namespace: str, pod: str, tail: int = 0) -> str:
        self.asked_logs.append(pod)
        return f"{pod}: AADSTS7000215 in {tail} lines"


PROXY = {"containers": [{"name": "oauth2-proxy", "image": "quay.io/oauth2-proxy/oauth2-proxy:v7.15.3"}]}


def _as_kube(cluster: Cluster) -> Kube:
    return t.cast("Kube", cluster)


@pytest.mark.parametrize(
    ("team", "environment", "proxy", "ca_file", "system_store"),
    [
        pytest.param(TEAM, {}, "", "", False, id="directly"),
        pytest.param(TEAM, {"https_proxy": "http://corp:8080"}, "http://corp:8080", "", False, id="the machine's proxy"),
        pytest.param(PROBED, {}, "http://probe:3128", "/ca.pem", True, id="the probe's proxy, its CA beside the system's"),
        pytest.param(PROBED, {"https_proxy": "http://corp:8080"}, "http://corp:8080", "", False, id="never the gateway's CA elsewhere"),
        pytest.param(PROBED, {"https_proxy": "http://probe:3128/"}, "http://probe:3128", "/ca.pem", True, id="both are the same"),
        pytest.param(TEAM, {"https_proxy": "http://corp:8080", "no_proxy": ".microsoftonline.com"}, "", "", False, id="no_proxy"),
    ],
)
def test_way_to_entra(team: _model.Team, environment: dict[str, str], proxy: str, ca_file: str, system_store: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = team_verify._entra_client(team)
    assert (client.proxy, client.ca_file, client.system_store) == (proxy, ca_file, system_store)


@pytest.mark.parametrize(
    ("cluster", "credential", "secret", "unread"),
    [
        pytest.param(
            Cluster({("Secret", "oauth2-proxy-team-a"): {"data": {"client-secret": base64.b64encode(b"s~1").decode()}}}), "client_secret", "s~1", 0, id="read"
        ),
        pytest.param(Cluster(), "client_secret", "", 0, id="not there yet"),
        pytest.param(Cluster(forbidden=("Secret",)), "client_secret", "", 1, id="not allowed"),
        pytest.param(Cluster({("Secret", "oauth2-proxy-team-a"): {"data": {"client-secret": "/w=="}}}), "client_secret", "", 1, id="not text"),
        pytest.param(Cluster(forbidden=("Secret",)), "federated", "", 0, id="federated has none"),
    ],
)
def test_the_client_secret_is_read_where_the_proxy_reads_it(cluster: Cluster, credential: str, secret: str, unread: int) -> None:
    live = Live()
    team_verify.ActionModule._read_secret(_as_kube(cluster), dataclasses.replace(TEAM, credential=credential), live)
    assert (live.client_secret, len(live.unread)) == (secret, unread)
    assert "s~1" not in repr(live)


@pytest.mark.parametrize(
    ("cluster", "log", "unread"),
    [
        pytest.param(Cluster({("Pod", name): {"metadata": {"name": name}, "spec": PROXY} for name in ("p1", "p2")}), ("p1: ", "p2: "), 0, id="pods"),
        pytest.param(Cluster(forbidden=("Pod",)), (), 1, id="not allowed"),
        pytest.param(Cluster(), (), 0, id="no pods"),
    ],
)
def test_the_proxy_log_is_that_of_its_pods(cluster: Cluster, log: tuple[str, ...], unread: int) -> None:
    live = Live(deployments=[{"metadata": {"name": TEAM.release}, "spec": {"selector": {"matchLabels": {"app": "x"}}}}])
    team_verify.ActionModule._read_log(_as_kube(cluster), TEAM, live)
    assert all(part in live.proxy_log for part in log)
    assert len(live.unread) == unread
    assert {str(found.version) for found in live.versions} == ({"7.15.3"} if log else set())


@pytest.mark.parametrize(
    ("cluster", "admission", "whole_claim", "unread"),
    [
        pytest.param(Cluster({("ConfigMap", TEAM.claim_name): {"data": {}}}), [], True, [], id="read"),
        pytest.param(Cluster(), None, True, ["ValidatingAdmissionPolicies"], id="no right to list admission policies"),
        pytest.param(Cluster(forbidden=("ConfigMap",)), [], False, [TEAM.claim_name], id="no right to read claims"),
    ],
)
def test_what_guards_is_read_or_said_to_be_unread(cluster: Cluster, admission: list[t.Any] | None, whole_claim: bool, unread: list[str]) -> None:
    live, action = Live(), team_verify.ActionModule.__new__(team_verify.ActionModule)
    action._admission = {_as_kube(cluster): admission}
    action._read_admission(_as_kube(cluster), TEAM, live)
    assert (live.admission, live.whole_claim) == (admission, whole_claim)
    assert live.claim == cluster.objects.get(("ConfigMap", TEAM.claim_name))
    assert len(live.unread) == len(unread) and all(word in text for word, text in zip(unread, live.unread, strict=True))


def test_no_deployment_has_no_log() -> None:
    cluster, live = Cluster({("Pod", "p1"): {"metadata": {"name": "p1"}}}), Live()
    team_verify.ActionModule._read_log(_as_kube(cluster), TEAM, live)
    assert (live.proxy_log, cluster.asked_logs) == ("", [])


def test_names_that_are_not_in_dns_have_no_address() -> None:
    assert team_verify._resolve("no-such-host.invalid") == []
    assert "127.0.0.1" in team_verify._resolve("localhost")


# --- secrets side by side -----------------------------------------------------------------------------------------------------


def _secret(**data: str) -> dict[str, t.Any]:
    return {"data": {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in data.items()}}


def _side_by_side(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, *names: str) -> dict[str, list[tuple[str, bool, str]]]:
    monkeypatch.setattr(team_verify, "connect", lambda _ref: _as_kube(cluster))
    teams = [dataclasses.replace(TEAM, name=name, client_id=name) for name in names]
    digests = team_verify._digests(teams)
    return {team.name: [(check.id, check.ok, check.detail) for check in team_verify.judge_apart(team, digests)] for team in teams}


def test_two_teams_with_one_secret_are_told_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(
        {
            ("Secret", "oauth2-proxy-team-a"): _secret(client_secret="1", cookie_secret="CANARY"),
            ("Secret", "oauth2-proxy-team-b"): _secret(client_secret="2", cookie_secret="CANARY"),
            ("Secret", "oauth2-proxy-team-c"): _secret(client_secret="3", cookie_secret="other", client_id="x"),
            ("Secret", "oauth2-proxy-redis-team-a"): _secret(redis_password="same"),
            ("Secret", "oauth2-proxy-redis-team-c"): _secret(redis_password="same"),
        }
    )
    found = _side_by_side(monkeypatch, cluster, "team-a", "team-b", "team-c")
    assert [(identity, ok) for identity, ok, _detail in found["team-a"]] == [("apart:cookie-secret", False), ("apart:redis-password", False)]
    assert "team-b" in found["team-a"][0][2] and "team-c" in found["team-a"][1][2]
    assert [identity for identity, _ok, _detail in found["team-b"]] == ["apart:cookie-secret"]
    assert [identity for identity, _ok, _detail in found["team-c"]] == ["apart:redis-password"]
    assert "CANARY" not in repr(found)


def test_teams_with_secrets_of_their_own_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster({("Secret", f"oauth2-proxy-{name}"): _secret(cookie_secret=name) for name in ("team-a", "team-b")})
    assert {name: [check[:2] for check in checks] for name, checks in _side_by_side(monkeypatch, cluster, "team-a", "team-b").items()} == {
        "team-a": [("apart", True)],
        "team-b": [("apart", True)],
    }


def test_of_a_single_team_or_of_what_may_not_be_read_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _side_by_side(monkeypatch, Cluster(), "team-a") == {"team-a": []}
    assert _side_by_side(monkeypatch, Cluster(forbidden=("Secret",)), "team-a", "team-b") == {"team-a": [], "team-b": []}
