# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A platform in order, for the API double: Envoy Gateway 1.9, its Gateway, our header policy, the apps' Services."""

from __future__ import annotations

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import header_policy
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._platform import platform_labels
from tests.unit.support.api import CONTROLLER

Object = dict[str, t.Any]


def policy_crd(*fields: str) -> Object:
    """The SecurityPolicy CRD, as far as it is read; ``fields`` are those of extAuth.http."""
    http: Object = {"properties": {name: {"type": "string"} for name in fields or ("path", "pathOverride")}}
    spec = {"properties": {"extAuth": {"properties": {"http": http}}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "securitypolicies.gateway.envoyproxy.io"},
        "spec": {"versions": [{"name": "v1alpha1", "schema": {"openAPIV3Schema": {"properties": {"spec": spec}}}}]},
    }


def gateway_class(controller: str = CONTROLLER) -> Object:
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "envoy"}, "spec": {"controllerName": controller}}


def gateway(hostname: str = "*.apps.example.com", allowed: Object | None = None, labels: Object | None = None, **https: t.Any) -> Object:
    routes = {"namespaces": allowed or {"from": "All"}}
    listeners = [
        {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": routes},
        {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": hostname, "allowedRoutes": routes, **https},
    ]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "main", "namespace": "gateway-envoy", "labels": labels or {}},
        "spec": {"gatewayClassName": "envoy", "listeners": listeners},
        "status": {"addresses": [{"type": "IPAddress", "value": "192.0.2.1"}]},
    }


def envoy_pod(image: str = "docker.io/envoyproxy/envoy:distroless-v1.38.0", container: str = "envoy") -> Object:
    labels = {"gateway.envoyproxy.io/owning-gateway-name": "main", "gateway.envoyproxy.io/owning-gateway-namespace": "gateway-envoy"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "envoy-main", "namespace": "envoy-gateway-system", "labels": labels},
        "spec": {"containers": [{"name": container, "image": image}, {"name": "shutdown-manager", "image": "docker.io/envoyproxy/gateway:v1.9.0"}]},
    }


def controller_pod(image: str = "docker.io/envoyproxy/gateway:v1.9.0") -> Object:
    """Envoy Gateway's own, by its chart."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "envoy-gateway-1", "namespace": "envoy-gateway-system", "labels": {"control-plane": "envoy-gateway"}},
        "spec": {"containers": [{"name": "envoy-gateway", "image": image}]},
    }


def bundle_crd(version: str = "v1.6.1", channel: str = "experimental") -> Object:
    """The Gateway API's CRD of HTTPRoutes, as far as it is read."""
    marks = {"gateway.networking.k8s.io/bundle-version": version, "gateway.networking.k8s.io/channel": channel}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "httproutes.gateway.networking.k8s.io", "annotations": {key: value for key, value in marks.items() if value}},
        "spec": {"versions": []},
    }


def software(*instead: Object) -> list[Object]:
    """What runs the Gateway, but for the objects given instead."""
    replaced = {(obj["kind"], obj["metadata"]["name"]) for obj in instead}
    usual = [policy_crd(), bundle_crd(), gateway_class(), gateway(), envoy_pod(), controller_pod()]
    return [*(obj for obj in usual if (obj["kind"], obj["metadata"]["name"]) not in replaced), *instead]


def services(team: Team) -> list[Object]:
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": app.service.name, "namespace": app.service.namespace},
            "spec": {"ports": [{"port": app.service.port}, {"port": 1}]},
        }
        for app in team.apps
    ]


def client_policy(team: Team, name: str = "theirs", section: str = "", created: str = "2026-01-01T00:00:00Z", headers: Object | None = None) -> Object:
    """Somebody else's ClientTrafficPolicy on the Gateway."""
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": team.gateway.name, **({"sectionName": section} if section else {})}
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "ClientTrafficPolicy",
        "metadata": {"name": name, "namespace": team.gateway.namespace, "creationTimestamp": created},
        "spec": {"targetRefs": [target], **({"headers": headers} if headers else {})},
    }


def selecting_policy(team: Team, namespace: str = "", labels: Object | None = None, headers: Object | None = None) -> Object:
    """Somebody else's ClientTrafficPolicy that chooses its Gateways by label."""
    policy = client_policy(team, headers=headers)
    policy["metadata"]["namespace"] = namespace or team.gateway.namespace
    del policy["spec"]["targetRefs"]
    policy["spec"]["targetSelectors"] = [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "matchLabels": labels or {"edge": "public"}}]
    return policy


def our_headers(team: Team) -> Object:
    return t.cast("Object", header_policy(team.gateway, {})["spec"]["headers"])


def platform(team: Team) -> list[Object]:
    """Everything that preflight looks for, in order."""
    return [*software(), header_policy(team.gateway, platform_labels(team)), *services(team)]
