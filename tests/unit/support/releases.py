# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Release records as Helm stores them (``live/helm3.json`` is a real one), with other contents."""

from __future__ import annotations

import base64
import gzip
import json
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values

Object = dict[str, t.Any]
_GENERATED: t.Final = object()


def release_record(
    team: Team,
    *,
    revision: int = 1,
    status: str = "deployed",
    version: str = "10.7.0",
    chart: str = "oauth2-proxy",
    values: t.Any = _GENERATED,
    manifest: str = "",
) -> Object:
    """A revision of the team's release; by default finished and as we want it."""
    body = {
        "name": team.release,
        "info": {"status": status, "description": "Install complete"},
        "chart": {"metadata": {"name": chart, "version": version, "apiVersion": "v2"}, "templates": [], "values": {}},
        "config": release_values(team) if values is _GENERATED else values,
        "manifest": manifest,
        "version": revision,
        "namespace": team.namespace,
    }
    packed = base64.b64encode(gzip.compress(json.dumps(body).encode()))
    labels = {"name": team.release, "owner": "helm", "status": status, "version": str(revision)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"sh.helm.release.v1.{team.release}.v{revision}", "namespace": team.namespace, "labels": labels},
        "type": "helm.sh/release.v1",
        "data": {"release": base64.b64encode(packed).decode()},
    }


def deployment(name: str, *, replicas: int = 2, namespace: str = "monitoring-team-a") -> Object:
    """A Deployment as Helm leaves it, ready."""
    status = {"observedGeneration": 1_000, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas}
    template = {"metadata": {"labels": {"app": name}, "annotations": {"checksum/config": "x"}}, "spec": {"containers": [{"name": "oauth2-proxy"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "annotations": {"meta.helm.sh/release-name": name}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
        "status": status,
    }
