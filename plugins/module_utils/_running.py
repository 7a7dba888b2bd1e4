# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What actually runs, and in which version: read from the cluster, not from what somebody meant to install."""

from __future__ import annotations

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForbiddenError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import envoy_labels
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import GatewayRef, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import proxy_labels
from ansible_collections.platform.gateway_auth.plugins.module_utils._versions import Found, images, of, of_image

Object = dict[str, t.Any]

# The labels and the container of Envoy Gateway's own Deployment, by its chart.
_CONTROLLER = {"control-plane": "envoy-gateway"}
_BUNDLE_CRD = "httproutes.gateway.networking.k8s.io"
_BUNDLE = "gateway.networking.k8s.io/bundle-version"
_CHANNEL = "gateway.networking.k8s.io/channel"


def platform_versions(kube: Kube, gateway: GatewayRef) -> list[Found]:
    """Envoy, Envoy Gateway, the Gateway API's CRDs and Kubernetes, for one Gateway."""
    return [*_envoys(kube, gateway), *_controllers(kube), *_bundle(kube), _server(kube)]


def _server(kube: Kube) -> Found:
    try:
        return of("kubernetes", "the API server", kube.server_version())
    except ForbiddenError:
        return Found("kubernetes", "the API server", unread="this identity may not ask for /version")


def _envoys(kube: Kube, gateway: GatewayRef) -> list[Found]:
    """They run in Envoy Gateway's namespace or in the Gateway's, as the platform chose."""
    where = f"Gateway {gateway.namespace}/{gateway.name}"
    labels = envoy_labels(gateway)
    try:
        found = images("envoy", "envoy", kube.list("v1", "Pod", "", labels))
    except ForbiddenError:
        why = f"this identity may not list pods in all namespaces, and namespace {gateway.namespace} has none of its Envoys"
        try:
            found = images("envoy", "envoy", kube.list("v1", "Pod", gateway.namespace, labels))
        except ForbiddenError:
            found, why = [], f"this identity may list pods neither in all namespaces nor in {gateway.namespace}"
        return found or [Found("envoy", where, unread=why)]
    return found or [Found("envoy", where, unread="no Envoy pod of it is there")]


def _controllers(kube: Kube) -> list[Found]:
    try:
        found = images("envoy-gateway", "envoy-gateway", kube.list("v1", "Pod", "", _CONTROLLER))
    except ForbiddenError:
        return [Found("envoy-gateway", "its controller", unread="this identity may not list pods in all namespaces")]
    return found or [Found("envoy-gateway", "its controller", unread="no pod has its label control-plane=envoy-gateway")]


def _bundle(kube: Kube) -> list[Found]:
    where = f"CRD {_BUNDLE_CRD}"
    try:
        crd = kube.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", _BUNDLE_CRD)
    except ForbiddenError:
        return [Found("gateway-api", where, unread=f"this identity may not read {where}")]
    marks = ((crd or {}).get("metadata") or {}).get("annotations") or {}
    if _BUNDLE not in marks:
        return [Found("gateway-api", where, unread=f"it has no annotation {_BUNDLE}" if crd is not None else "it isn't there")]
    component = "gateway-api" if marks.get(_CHANNEL, "standard") == "standard" else "gateway-api-experimental"
    return [of(component, where, str(marks[_BUNDLE]))]


def proxy_versions(pods: t.Iterable[Object]) -> list[Found]:
    """oauth2-proxy as it runs, by the pods of a team's release."""
    return images("oauth2-proxy", "oauth2-proxy", pods)


def running_proxies(kube: Kube, team: Team) -> list[Found]:
    """oauth2-proxy as it runs for a team; nothing where none does."""
    try:
        return proxy_versions(kube.list("v1", "Pod", team.namespace, proxy_labels(team)))
    except ForbiddenError:
        return [Found("oauth2-proxy", f"release {team.namespace}/{team.release}", unread=f"this identity may not list pods in namespace {team.namespace}")]


def versions_to_install(team: Team, chart: t.Mapping[str, t.Any]) -> list[Found]:
    """The chart (its metadata), and the oauth2-proxy that it installs: the tag that the values name, else the chart's own."""
    tag = (team.helm_values.get("image") or {}).get("tag")  # we write none
    proxy = (
        of_image("oauth2-proxy", "image.tag of gateway_auth_helm_values", f"oauth2-proxy:{tag}")
        if tag
        else of("oauth2-proxy", f"appVersion of chart {chart.get('version')}", str(chart.get("appVersion")))
    )
    return [of("chart", f"gateway_auth_chart of {team.name}", str(chart.get("version"))), proxy]


def tool_versions(helm: str, kubernetes_core: str, ansible_core: str) -> list[Found]:
    """What runs the playbooks on this machine."""
    return [of("helm", "on PATH", helm), of("kubernetes.core", "", kubernetes_core), of("ansible-core", "", ansible_core)]
