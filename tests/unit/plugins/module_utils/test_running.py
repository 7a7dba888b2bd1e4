# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs is read where it runs; what may not be read says so."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _running
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._versions import Found
from tests.golden import team
from tests.unit.support import platform as parts
from tests.unit.support.api import Api

TEAM = team()


def _told(found: list[Found]) -> dict[str, str]:
    return {item.component: str(item.version) if item.version else item.unread for item in found}


def test_a_platform_in_order(api: Api, kube: Kube) -> None:
    api.seed(*parts.software())
    api.read_only = True
    found = _running.platform_versions(kube, TEAM.gateway)
    assert _told(found) == {"envoy": "1.38.0", "envoy-gateway": "1.9.0", "gateway-api-experimental": "1.6.1", "kubernetes": "1.34.4"}
    assert next(item for item in found if item.component == "envoy").where == "pod envoy-gateway-system/envoy-main"


def test_envoys_of_another_gateway_do_not_count(api: Api, kube: Kube) -> None:
    other = parts.envoy_pod("envoy:v1.37.0")
    other["metadata"]["labels"]["gateway.envoyproxy.io/owning-gateway-name"] = "other"
    api.seed(*parts.software(other))
    assert "no Envoy pod" in _told(_running.platform_versions(kube, TEAM.gateway))["envoy"]


def test_nothing_there(api: Api, kube: Kube) -> None:
    told = _told(_running.platform_versions(kube, TEAM.gateway))
    assert set(told) == {"envoy", "envoy-gateway", "gateway-api", "kubernetes"}
    assert "control-plane=envoy-gateway" in told["envoy-gateway"] and "isn't there" in told["gateway-api"]


@pytest.mark.parametrize(
    ("overrides", "chart", "proxy"),
    [
        pytest.param({}, {"version": "10.7.0", "appVersion": "7.15.3"}, "7.15.3", id="the chart's"),
        pytest.param({"helm_values": {"image": {"tag": "v7.14.0"}}}, {"version": "10.7.0", "appVersion": "7.15.3"}, "7.14.0", id="the tag of the values"),
        pytest.param({"helm_values": {"image": {"tag": "v7.15.3@sha256:01"}}}, {"version": "10.7.0"}, "7.15.3", id="with a digest"),
        pytest.param({"helm_values": {"image": {"tag": "stable"}}}, {"version": "10.7.0", "appVersion": "7.15.3"}, "tag stable", id="a tag that tells nothing"),
        pytest.param(
            {"allowed_groups": [{"id": "", "name": "still to be found"}]},
            {"version": "10.7.0", "appVersion": "7.15.3"},
            "7.15.3",
            id="before groups are looked up",
        ),
        pytest.param({}, {"version": "10.7.0"}, "'None' is no version", id="a chart that tells nothing"),
    ],
)
def test_what_will_be_installed(overrides: dict[str, t.Any], chart: dict[str, str], proxy: str) -> None:
    told = _told(_running.versions_to_install(team(overrides), chart))
    assert told["chart"] == "10.7.0"
    assert proxy in told["oauth2-proxy"]


def test_running_proxies(api: Api, kube: Kube) -> None:
    assert _running.running_proxies(kube, TEAM) == []
    labels = {"app.kubernetes.io/name": "oauth2-proxy", "app.kubernetes.io/instance": TEAM.release}
    container = {"name": "oauth2-proxy", "image": "acr.example.com/oauth2-proxy:v7.12.0"}
    metadata = {"name": "p", "namespace": TEAM.namespace, "labels": labels}
    api.seed({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
    assert _told(_running.running_proxies(kube, TEAM)) == {"oauth2-proxy": "7.12.0"}
    api.forbidden = {"pods"}
    assert "may not list pods" in _told(_running.running_proxies(kube, TEAM))["oauth2-proxy"]


def test_tools() -> None:
    assert _told(_running.tool_versions("4.1.4", "6.6.0", "2.19.4")) == {"helm": "4.1.4", "kubernetes.core": "6.6.0", "ansible-core": "2.19.4"}
