# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every key that the oauth2-proxy chart 10.7.0 reads, and which guarantee each may undo (pure).

A guarded key must come out as we set it (or as the chart has it where we don't); a free one may be anything. The chart ignores
what it doesn't know without a word, so an unknown key is refused. ``tests/unit`` compares this with the chart's schema.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_flags import GROUPS, OURS, STORE, TEAMS

ROUTE = "the proxy is reached by its own route on the HTTPS listener alone"
POD = "only the proxy runs in the proxy's pod, where its Secrets and its port are within reach"
REPLICAS = "the number of pods is gateway_auth_replicas"
HIDDEN = "no flag is hidden in a Secret or ConfigMap that can't be judged"
OBJECTS = "the session store of the release stays in it, and nothing that isn't judged is applied with it"
API_TOKEN = "the proxy's pod holds no token for the cluster's API"  # noqa: S105 - a sentence


@dataclasses.dataclass(frozen=True)
class Key:
    """``guard`` is empty for a free key. ``structured`` keys are written as YAML by the chart; any other goes into the text of
    a template as it is. Helm runs what stands in a ``templated`` key. ``default`` is the chart's where it isn't empty.
    """

    guard: str = ""
    default: t.Any = None
    structured: bool = False
    templated: bool = False


_FREE = Key()
_TREE = Key(structured=True)
_TEMPLATE = Key(structured=True, templated=True)
_OURS = Key(OURS)
_GROUPS = Key(GROUPS)
_STORE = Key(STORE)
_ROUTE = Key(ROUTE)

# extraArgs, extraEnv, mounts, labels, security contexts, hooks and the image's tag are judged one by one in _validate_helm.
KEYS: t.Final[dict[str, Key]] = {
    "affinity": _TREE,
    "alphaConfig": _GROUPS,
    "authenticatedEmailsFile": _GROUPS,
    "autoscaling": _FREE,
    "autoscaling.enabled": Key(REPLICAS),
    "autoscaling.annotations": _TEMPLATE,
    "autoscaling.behavior": _TREE,
    "checkDeprecation": _FREE,
    "config.annotations": _TEMPLATE,
    "config.clientID": _OURS,
    "config.clientSecret": _OURS,
    "config.configFile": _GROUPS,
    "config.cookieName": Key(TEAMS),
    "config.cookieSecret": _OURS,
    "config.emailDomains": Key(GROUPS, ["*"]),
    "config.existingConfig": _GROUPS,
    "config.existingSecret": _OURS,
    "config.forceLegacyConfig": Key(OURS, True),
    "config.google": _GROUPS,
    "config.requiredSecretKeys": Key(OURS, ["client-id", "client-secret", "cookie-secret"]),
    "config.upstreams": Key(GROUPS, ["file:///dev/null"]),
    "containerPort": _OURS,
    "customLabels": _TEMPLATE,
    "deploymentAnnotations": _TEMPLATE,
    "deploymentLabels": _TEMPLATE,
    "enableServiceLinks": _FREE,
    "envFrom": Key(HIDDEN),
    "extraArgs": Key(templated=True),
    "extraContainers": Key(POD),
    "extraEnv": _TEMPLATE,
    "extraInitContainers": Key(POD),
    "extraObjects": Key(OBJECTS),
    "extraVolumeMounts": _TREE,
    "extraVolumes": _TEMPLATE,
    "fullnameOverride": _OURS,
    "gatewayApi.annotations": _TEMPLATE,
    "gatewayApi.enabled": _ROUTE,
    "gatewayApi.gatewayRef": _ROUTE,
    "gatewayApi.hostnames": _ROUTE,
    "gatewayApi.labels": _TREE,
    "gatewayApi.rules": _ROUTE,
    "global.imagePullSecrets": _TEMPLATE,
    "global.imageRegistry": Key(templated=True),
    "hostAliases": _TREE,
    "htpasswdFile": _GROUPS,
    "httpScheme": Key(OURS, "http"),
    "image.command": Key(POD),
    "image.pullPolicy": _FREE,
    "image.registry": Key(templated=True),
    "image.repository": _FREE,
    "image.tag": _FREE,
    "imagePullSecrets": _TEMPLATE,
    "ingress": _FREE,
    "ingress.enabled": _ROUTE,
    "initContainers": _FREE,
    "kubeVersion": _FREE,
    "lifecycle": _TREE,
    "livenessProbe": _FREE,
    "metrics": _FREE,
    "metrics.serviceMonitor.annotations": _TEMPLATE,
    "metrics.serviceMonitor.labels": _TREE,
    "metrics.serviceMonitor.metricRelabelings": _TREE,
    "metrics.serviceMonitor.relabelings": _TREE,
    "metrics.serviceMonitor.tlsConfig": _TREE,
    "nameOverride": _OURS,
    "namespaceOverride": _OURS,
    "networkPolicy": _FREE,
    "networkPolicy.egress": _TEMPLATE,
    "networkPolicy.ingress": _TEMPLATE,
    "nodeSelector": _TEMPLATE,
    "podAnnotations": _TREE,
    "podDisruptionBudget": _FREE,
    "podLabels": _TREE,
    "podSecurityContext": _TREE,
    "priorityClassName": _FREE,
    "proxyVarsAsSecrets": Key(OURS, True),
    "readinessProbe": _FREE,
    "redis-ha": _STORE,
    "replicaCount": Key(REPLICAS, 1),
    "resizePolicy": _TREE,
    "resources": _TREE,
    "revisionHistoryLimit": _FREE,
    "securityContext": _TREE,
    "service.annotations": _TEMPLATE,
    "service.appProtocol": Key(OURS, "http"),
    "service.clusterIP": _FREE,
    "service.externalTrafficPolicy": _FREE,
    "service.internalTrafficPolicy": _FREE,
    "service.ipDualStack": _FREE,
    "service.loadBalancerIP": _FREE,
    "service.loadBalancerSourceRanges": _TREE,
    "service.nodePort": _FREE,
    "service.portNumber": Key(OURS, 80),
    "service.targetPort": _OURS,
    "service.trafficDistribution": _FREE,
    "service.type": Key(ROUTE, "ClusterIP"),
    "serviceAccount.annotations": _TEMPLATE,
    "serviceAccount.automountServiceAccountToken": Key(API_TOKEN, True),
    "serviceAccount.enabled": Key(OURS, True),
    "serviceAccount.imagePullSecrets": _TREE,
    "serviceAccount.name": _OURS,
    "sessionStorage": Key(STORE, {"type": "cookie"}),
    "strategy": _TREE,
    "terminationGracePeriodSeconds": _FREE,
    "tolerations": _TREE,
    "topologySpreadConstraints": _TREE,
}
GUARDED: t.Final = {path: key for path, key in KEYS.items() if key.guard}
# Mappings that the chart reads key by key, so that the keys below them are in the table.
GROUPED: t.Final = frozenset(path.rsplit(".", count)[0] for path in KEYS for count in range(1, path.count(".") + 1))

ABSENT: t.Final = object()


def get(values: t.Any, path: str) -> t.Any:
    """What stands at ``path``; None below a null, with which Helm takes the whole part away; ABSENT if nothing is said."""
    found: t.Any = values
    for name in path.split("."):
        if found is None:
            return None
        if not isinstance(found, collections.abc.Mapping) or name not in found:
            return ABSENT
        found = found[name]
    return found


def outcome(values: t.Any, path: str) -> t.Any:
    """What the chart sees at ``path`` of a guarded key; nothing, empty and false are one to its templates."""
    found = get(values, path)
    return _bare(KEYS[path].default if found is ABSENT else found)


def _bare(value: t.Any) -> t.Any:
    if isinstance(value, collections.abc.Mapping):
        parts = {str(key): _bare(item) for key, item in value.items()}
        return {key: item for key, item in parts.items() if item is not None} or None
    if isinstance(value, (list, tuple)):
        return [_bare(item) for item in value] or None
    return None if value in ("", False) or (value == 0 and not isinstance(value, bool)) else value


def nearest_keys(path: str) -> tuple[str, ...]:
    """The known keys beside ``path``, in full."""
    parent, dot, _name = path.rpartition(".")
    beside = {f"{parent}{dot}{known.removeprefix(parent + dot).split('.')[0]}" for known in KEYS if known.startswith(parent + dot)}
    return tuple(sorted(beside))
