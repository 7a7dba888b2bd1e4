# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the cluster after ``up``: DNS, Envoy Gateway, the Gateway ``main``, and the teams' apps."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import settings as s
from .images import COREDNS, ECHO

Json = dict[str, Any]

# Probes of 10 s, the default, make up most of a start's wall time.
FAST = {"periodSeconds": 1}
LOCKED_DOWN = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}

PROMETHEUS_CONFIG = """\
global: {scrape_interval: 15s}
scrape_configs:
  - job_name: prometheus
    static_configs: [{targets: ['localhost:9090']}]
"""
ALERTMANAGER_CONFIG = """\
route: {receiver: nobody}
receivers: [{name: nobody}]
"""


def as_list(objects: Iterable[Json]) -> str:
    """One document for kubectl."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def base(images: dict[str, str]) -> list[Json]:
    """All that needs no CRD."""
    return [*dns(), *apps(images)]


def apps(images: dict[str, str]) -> list[Json]:
    return [issuer_discovery(), namespace(s.GATEWAY_NAMESPACE), *(entry for team in s.TEAMS for entry in team_apps(team, images))]


def issuer_discovery() -> Json:
    """Everybody may read who issues service account tokens, as Azure publishes it of AKS: Entra has no identity here."""
    rbac = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "sandbox-issuer-discovery"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "system:service-account-issuer-discovery"},
        "subjects": [{"apiGroup": rbac, "kind": "Group", "name": "system:unauthenticated"}],
    }


def namespace(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def corefile(port: int = 5353, entra: str = s.ENTRA_IP, gateway_ip: str = s.GATEWAY_IP) -> str:
    """Cluster names, the double for Entra's hosts, and the Gateway for every name of the sandbox's domain."""
    return f"""\
.:{port} {{
  errors
  health :8080
  ready :8181
  hosts {{
    {entra} {" ".join(s.ENTRA_HOSTS)}
    fallthrough
  }}
  template IN A {s.DOMAIN} {{
    answer "{{{{ .Name }}}} 5 IN A {gateway_ip}"
  }}
  template IN AAAA {s.DOMAIN} {" ".join(s.ENTRA_HOSTS)} {{
    rcode NOERROR
  }}
  kubernetes cluster.local in-addr.arpa ip6.arpa {{
    pods insecure
    ttl 5
  }}
  cache 5
}}
"""


def dns() -> list[Json]:
    labels = {"k8s-app": "kube-dns"}
    meta = {"name": "coredns", "namespace": "kube-system"}
    role = "system:coredns"
    rbac = "rbac.authorization.k8s.io"
    container = {
        "name": "coredns",
        "image": COREDNS,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [{"containerPort": 5353, "protocol": "UDP", "name": "dns"}, {"containerPort": 5353, "protocol": "TCP", "name": "dns-tcp"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, **FAST},
        "securityContext": LOCKED_DOWN,
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
    }
    pod = {
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": role},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            ],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", **meta}],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": corefile()}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**meta, "labels": labels},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
            "spec": {
                "clusterIP": s.DNS_SERVICE_IP,
                "selector": labels,
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 5353},
                ],
            },
        },
    ]


def team_apps(team: str, images: dict[str, str]) -> list[Json]:
    """A team's namespace with a real Prometheus, a real Alertmanager, and echo, which shows what reached it."""
    space = f"monitoring-{team}"
    return [
        namespace(space),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "monitoring", "namespace": space},
            "data": {"prometheus.yml": PROMETHEUS_CONFIG, "alertmanager.yml": ALERTMANAGER_CONFIG},
        },
        *app(
            space,
            f"prometheus-{team}",
            f"prometheus-service-{team}",
            images["prometheus"],
            9090,
            "/-/ready",
            ["--config.file=/etc/monitoring/prometheus.yml", "--storage.tsdb.path=/data"],
        ),
        *app(
            space,
            f"alertmanager-{team}",
            f"alertmanager-service-{team}",
            images["alertmanager"],
            9093,
            "/-/ready",
            ["--config.file=/etc/monitoring/alertmanager.yml", "--storage.path=/data", "--cluster.listen-address="],
        ),
        *app(space, f"echo-{team}", f"echo-{team}", ECHO, 8080, "/", []),
    ]


def app(space: str, name: str, service: str, image: str, port: int, path: str, args: list[str]) -> list[Json]:
    labels = {"app.kubernetes.io/name": name}
    container = {
        "name": name.split("-")[0],
        "image": image,
        "args": args,
        "ports": [{"name": "http", "containerPort": port}],
        "readinessProbe": {"httpGet": {"path": path, "port": port}, **FAST},
        "securityContext": LOCKED_DOWN,
        "volumeMounts": [{"name": "config", "mountPath": "/etc/monitoring"}, {"name": "data", "mountPath": "/data"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsUser": 65534, "fsGroup": 65534},
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "monitoring"}}, {"name": "data", "emptyDir": {}}],
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": space, "labels": labels},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": service, "namespace": space, "labels": labels},
            "spec": {"selector": labels, "ports": [{"name": "http", "port": port, "targetPort": "http"}]},
        },
    ]


def gateway(certificate: Path, key: Path, service: Json | None = None) -> list[Json]:
    """GatewayClass ``envoy`` and the Gateway, with two Envoys so that whoever tests one new connection meets both."""
    containers = [{"name": name, "startupProbe": FAST, "readinessProbe": FAST} for name in ("envoy", "shutdown-manager")]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    deployment = {"replicas": 2, "patch": {"type": "StrategicMerge", "value": patch}}
    provider: Json = {"envoyDeployment": deployment}
    if service is not None:
        provider["envoyService"] = service
    proxy = {"name": "sandbox", "namespace": s.ENVOY_GATEWAY_NAMESPACE}
    anywhere = {"namespaces": {"from": "All"}}
    encoded = {name: base64.b64encode(path.read_bytes()).decode() for name, path in (("tls.crt", certificate), ("tls.key", key))}
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": s.TLS_SECRET, "namespace": s.GATEWAY_NAMESPACE},
            "data": encoded,
        },
        {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyProxy",
            "metadata": proxy,
            "spec": {"provider": {"type": "Kubernetes", "kubernetes": provider}},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "envoy"},
            "spec": {
                "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
                "parametersRef": {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", **proxy},
            },
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": s.GATEWAY_NAME, "namespace": s.GATEWAY_NAMESPACE},
            "spec": {
                "gatewayClassName": "envoy",
                "listeners": [
                    {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": anywhere},
                    {
                        "name": "https",
                        "protocol": "HTTPS",
                        "port": 443,
                        "hostname": f"*.{s.DOMAIN}",
                        "allowedRoutes": anywhere,
                        "tls": {"mode": "Terminate", "certificateRefs": [{"name": s.TLS_SECRET}]},
                    },
                ],
            },
        },
    ]
