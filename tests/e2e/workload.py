# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects the tests put beside a team: a namespace, an app that echoes, an identity."""

from __future__ import annotations

import json
import pathlib
import typing as t

from .sandbox import Sandbox

Object = dict[str, t.Any]

IDENTITY = "e2e-identity"


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def service(name: str, namespace: str, port: int, selector: dict[str, str] | None = None) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"name": "http", "port": port, "targetPort": port}], "selector": selector or {"app": name}},
    }


def echo(namespace: str) -> tuple[Object, Object]:
    """A Deployment and Service ``echo`` on port 8080 that answers every request with what arrived."""
    labels = {"app": "echo"}
    container = {
        "name": "echo",
        "image": "sandbox.test/echo:1",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "echo", "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod},
    }
    return deployment, service("echo", namespace, 8080)


def delete_namespaces(sandbox: Sandbox, *names: str, wait: bool = True) -> None:
    """Routes first, since a namespace's objects go in no order and a policy may go before its route; then what the team claimed."""
    there = [name for name in names if sandbox.get("namespace", name) is not None]
    for name in there:
        sandbox.kubectl("-n", name, "delete", "httproute", "--all", "--wait=true")
    sandbox.kubectl("-n", "gateway-envoy", "delete", "configmap", "--ignore-not-found", *(f"gateway-auth-claim-{name}" for name in names))
    if there:
        sandbox.kubectl("delete", "namespace", *there, "--ignore-not-found", f"--wait={'true' if wait else 'false'}", "--timeout=120s")


class Identity:
    """A ServiceAccount with a kubeconfig of its own, so that the audit log tells who did what.

    ``role`` is a ClusterRole that it holds everywhere; with "" it holds what a test binds to it.
    """

    NAMESPACE = "e2e-identities"
    LABELS: t.ClassVar[dict[str, str]] = {IDENTITY: ""}

    def __init__(self, sandbox: Sandbox, name: str, folder: pathlib.Path, role: str = "cluster-admin") -> None:
        self.name = name
        self.user = f"system:serviceaccount:{self.NAMESPACE}:{name}"
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": self.NAMESPACE}}
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"e2e-{name}", "labels": self.LABELS},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.NAMESPACE}],
        }
        sandbox.apply(namespace(self.NAMESPACE), account, *([binding] if role else []))
        self.token = sandbox.kubectl("-n", self.NAMESPACE, "create", "token", name, "--duration=3600s").strip()
        cluster = json.loads(sandbox.kubectl("config", "view", "--raw", "--minify", "-o", "json"))["clusters"][0]["cluster"]
        self.kubeconfig = folder / f"{name}.kubeconfig"
        write_kubeconfig(self.kubeconfig, cluster, {"token": self.token})


def remove_identities(sandbox: Sandbox) -> None:
    """Most may do anything, so none outlives the tests."""
    sandbox.kubectl("delete", "clusterrolebinding,clusterrole", "-l", IDENTITY, "--ignore-not-found")
    sandbox.kubectl("delete", "role,rolebinding", "--all-namespaces", "-l", IDENTITY)
    sandbox.kubectl("delete", "namespace", Identity.NAMESPACE, "--ignore-not-found", "--timeout=120s")


def write_kubeconfig(path: pathlib.Path, cluster: Object, user: Object) -> None:
    """YAML is a superset of JSON."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path.write_text(json.dumps(document))
    path.chmod(0o600)
