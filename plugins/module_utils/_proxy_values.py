# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of the oauth2-proxy chart (10.7.0) for one team (pure functions; no secret and no hash of one).

The chart ignores keys it doesn't know, so only ones it reads are written here; ``tests/charts/oauth2-proxy`` refuses others.
It runs several of them through Helm's ``tpl``: whatever goes there is passed through ``literal``.
"""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import PROXY_PORT, PROXY_RULE, REDIRECT_HEADER, envoy_labels
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import FIELD_MANAGER, TOKEN_EXCHANGE, Team

Object = dict[str, t.Any]

STORE_PORT = 6379
NOBODY_ADDRESS = "192.0.2.1"  # TEST-NET-1
NOBODY_PORT = 9  # discard
# Written into the chart's templates. It is one of the ports Linux gives to outgoing connections (32768 to 60999), and the proxy
# connects to Entra and to its store before it listens: when one of those connections is given 44180, the pod ends with "address
# already in use", and again at each restart, since the kernel gives the same pair of addresses neighbouring ports (seen on the
# embedded cluster). So it is reserved; Kubernetes counts this sysctl as safe since 1.27.
METRICS_PORT = 44180
DEFAULT_STORE_REGISTRY = "docker.io"
DEFAULT_STORE_REPOSITORY = "valkey/valkey"
DEFAULT_STORE_TAG = "9.1.2"
DEFAULT_STORE_IMAGE = f"{DEFAULT_STORE_REGISTRY}/{DEFAULT_STORE_REPOSITORY}:{DEFAULT_STORE_TAG}"
_STORE_USER = 999  # `valkey` in the image
# A session with Entra's tokens takes some 5 kB, so this holds more than 20,000; they leave by themselves after `expire`.
_STORE_MAXMEMORY = "128mb"

_TOKEN_FOLDER = "/var/run/secrets/gateway-auth"  # noqa: S105 - a path
_TOKEN_NAME = "entra-token"  # noqa: S105 - a name

_PUBLIC_AUTHORITY = "https://login.microsoftonline.com"
_NO_REFRESH = ("", "0", "0s", "0m", "0h")

# Reads the password and writes the configuration with builtins of the shell only, so it is in no process's arguments or
# environment; the file is in memory and its owner's alone. Single quotes are the only thing that would end the value there.
_STORE_SCRIPT = """\
set -eu
umask 077
password=
IFS= read -r password < /run/secrets/store/redis-password || [ -n "$password" ] || { echo "the store has no password" >&2; exit 1; }
case "$password" in *"'"*) echo "the store's password must not contain a single quote" >&2; exit 1;; esac
{
  printf '%s\\n' {options}
  printf "requirepass '%s'\\n" "$password"
} > /run/store/store.conf
unset password
server=$(command -v valkey-server || command -v redis-server)
exec "$server" /run/store/store.conf
"""


def release_values(team: Team) -> Object:
    """What the release gets: our values, with the platform's ``gateway_auth_helm_values`` on top.

    A list of theirs replaces one of ours, but for what the policies and the federated token need: that is added to it, unless they
    name the same.
    """
    ours = proxy_values(team)
    merged = merge_values(ours, team.helm_values)
    if team.credential == "federated":
        for key in _federated_token():
            theirs = merged.get(key) or []
            if isinstance(theirs, list):  # anything else is refused by validation, and by the chart
                there = [item.get("name") for item in theirs if isinstance(item, dict)]
                merged[key] = [*(item for item in ours[key] if item["name"] not in there), *theirs]
    needed = [literal(obj) for obj in authz_objects(team)]
    theirs = merged.get("extraObjects") or []
    if isinstance(theirs, list):
        merged["extraObjects"] = [*needed, *(obj for obj in theirs if obj not in needed)]
    return merged


def merge_values(ours: t.Mapping[str, t.Any], user: t.Mapping[str, t.Any]) -> Object:
    """Deep merge of two mappings, ``user`` last. Mappings are merged key by key; anything else, lists included, is replaced.

    A key set to null is kept as null, with which Helm removes the chart's default. Neither argument is changed.
    """
    merged = copy.deepcopy(dict(ours))
    for key, value in user.items():
        mine = merged.get(key)
        if isinstance(mine, dict) and isinstance(value, t.Mapping):
            merged[key] = merge_values(mine, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def proxy_values(team: Team) -> Object:
    """Our values alone."""
    values: Object = {
        "fullnameOverride": team.release,
        "customLabels": literal(team.labels),
        "gatewayApi": _gateway_api(team),
        "replicaCount": team.replicas,
        # AlwaysAllow: a pod that isn't ready serves nobody, so it must not block the drain of a node.
        "podDisruptionBudget": {"enabled": True, "minAvailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
        "topologySpreadConstraints": [_spread(team, key) for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")],
        # No CPU limit: every request to every app of the team waits for this hop, and throttling is felt at once.
        "resources": copy.deepcopy(team.resources) or {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "enableServiceLinks": False,
        "serviceAccount": {"automountServiceAccountToken": False},
        # Envoy still sends requests for a moment after the pod was told to stop.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "metrics": {"enabled": team.metrics},
        "podSecurityContext": {"sysctls": [{"name": "net.ipv4.ip_local_reserved_ports", "value": str(METRICS_PORT)}]},
        "config": {
            "existingSecret": literal(team.proxy_secret),
            "requiredSecretKeys": _required_keys(team),
            "cookieName": literal(team.cookie_name),
            # Groups decide who gets in; without one the model is invalid.
            "emailDomains": ["*"],
            # Envoy takes 200 alone for consent, and /oauth2/auth answers 202.
            "upstreams": ["static://200"],
        },
        "extraArgs": {key: literal(value) for key, value in sorted(proxy_arguments(team).items())},
        "sessionStorage": _session_storage(team),
    }
    if team.image_registry:
        values["image"] = {"registry": literal(team.image_registry)}
    if team.image_pull_secrets:
        values["imagePullSecrets"] = [{"name": literal(name)} for name in team.image_pull_secrets]
    if team.node_selector:
        values["nodeSelector"] = literal(team.node_selector)
    if team.tolerations:
        values["tolerations"] = copy.deepcopy(list(team.tolerations))
    if team.credential == "federated":
        values["serviceAccount"]["annotations"] = {"azure.workload.identity/client-id": team.client_id}
        values["podLabels"] = {"azure.workload.identity/use": "true"}
        values.update(_federated_token())
    extra = [
        *authz_objects(team),
        *([_proxy_network_policy(team)] if team.network_policies else []),
        *(store_objects(team) if team.session_store.type == "bundled" else []),
    ]
    values["extraObjects"] = [literal(obj) for obj in extra]
    return values


def _federated_token() -> Object:
    """A token of the pod's service account for Entra, mounted by ourselves: no webhook is needed, and where AKS has one it finds
    the variable set and leaves it (https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html).
    """
    source = {"serviceAccountToken": {"audience": TOKEN_EXCHANGE, "expirationSeconds": 3600, "path": _TOKEN_NAME}}
    return {
        "extraEnv": [{"name": "AZURE_FEDERATED_TOKEN_FILE", "value": f"{_TOKEN_FOLDER}/{_TOKEN_NAME}"}],
        "extraVolumes": [{"name": _TOKEN_NAME, "projected": {"sources": [source]}}],
        "extraVolumeMounts": [{"name": _TOKEN_NAME, "mountPath": _TOKEN_FOLDER, "readOnly": True}],
    }


def proxy_arguments(team: Team) -> dict[str, str]:
    """Flags of oauth2-proxy, without the leading dashes. A mapping, so that ``helm_values`` can change a single one."""
    session = team.session
    refreshes = team.session_store.type != "cookie" and session.refresh not in _NO_REFRESH
    arguments = {
        # `entra-id` takes only issuers of the public cloud (its pattern is fixed); elsewhere `oidc` does the same but overage.
        "provider": "entra-id" if team.authority == _PUBLIC_AUTHORITY else "oidc",
        "provider-display-name": "Microsoft Entra ID",
        "oidc-issuer-url": team.issuer,
        # Without it the proxy asks for a scope `groups`, which Entra refuses (AADSTS650053).
        "scope": "openid profile email offline_access" if refreshes else "openid profile email",
        "code-challenge-method": "S256",
        # One of `prompt` and `approval_prompt` is always sent. This one Entra doesn't know and ignores, and `auto` is what it
        # would mean by default: the second app signs in silently. (The proxy's own default says `force`.)
        "approval-prompt": "auto",
        "allowed-group": ",".join(team.proxy_groups),
        "oidc-email-claim": team.identity_claim,
        "skip-provider-button": "true",
        "set-xauthrequest": "true",
        "proxy-prefix": team.proxy_prefix,
        # Exact hosts. A wildcard would let sign_out?rd=https://<any host>/{id_token} carry the ID token to another team.
        "whitelist-domain": ",".join(team.hosts),
        "cookie-samesite": "lax",
        "cookie-expire": session.expire,
        # One CSRF cookie for each sign-in, so that several tabs may sign in at once; a limit, so that they don't pile up to 431.
        "cookie-csrf-per-request": "true",
        "cookie-csrf-per-request-limit": "8",
        "encode-state": "true",
        "reverse-proxy": "true",
        "trusted-proxy-ip": ",".join(team.trusted_proxy_cidrs),
        "real-client-ip-header": "X-Envoy-External-Address",
        "silence-ping-logging": "true",
        # No version on pages that anybody can see.
        "footer": "-",
    }
    if team.cookie_domain:
        arguments["cookie-domain"] = team.cookie_domain
    if refreshes:
        # Groups are read anew at each refresh: someone who leaves a group is out after this long.
        arguments["cookie-refresh"] = session.refresh
    if team.session_store.type == "cookie":
        # Entra's tokens don't fit into cookies, and Envoy can't hand a refreshed one to the browser.
        arguments["session-cookie-minimal"] = "true"
    if team.credential == "federated":
        # A refreshed ID token fails the nonce check in this mode (the proxy forgets to mark it as refreshed), which would end
        # the session; PKCE binds the code to the browser. So the nonce check stays at the proxy's default, off.
        arguments["entra-id-federated-token-auth"] = "true"
    else:
        arguments["insecure-oidc-skip-nonce"] = "false"
    return arguments


def _required_keys(team: Team) -> list[str]:
    return ["client-id", "cookie-secret"] if team.credential == "federated" else ["client-id", "client-secret", "cookie-secret"]


def _gateway_api(team: Team) -> Object:
    gateway = team.gateway
    return {
        "enabled": True,
        "gatewayRef": {"name": gateway.name, "namespace": gateway.namespace, "sectionName": gateway.https_listener},
        "hostnames": [literal(team.proxy_host)],
        "rules": [
            {
                "name": PROXY_RULE,
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                # As on the passthrough routes: with it sign-in and sign-out would lead to themselves for ever.
                "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": [REDIRECT_HEADER, "X-Forwarded-Uri"]}}],
            }
        ],
    }


def proxy_labels(team: Team) -> dict[str, str]:
    """The chart's labels of the proxy's pods."""
    return {"app.kubernetes.io/name": "oauth2-proxy", "app.kubernetes.io/instance": team.release}


def _proxy_network_policy(team: Team) -> Object:
    """Only Envoys of the team's Gateway reach the proxy: whoever asks it directly chooses host, scheme and address of the request.

    By labels and in any namespace, for they run beside Envoy Gateway or in the Gateway's namespace, as the platform chose. Two peers
    in two rules, so that the cluster gets the metrics and nothing else. The kubelet's probes need no rule (a node reaches its pods).
    """
    envoys = {"namespaceSelector": {}, "podSelector": {"matchLabels": envoy_labels(team.gateway)}}
    ingress: list[Object] = [{"from": [envoys], "ports": [{"port": "http"}]}]
    if team.metrics:
        ingress.append({"from": [{"namespaceSelector": {}}], "ports": [{"port": "metrics"}]})
    labels = {**proxy_labels(team), "app.kubernetes.io/component": "authentication-proxy", **team.labels}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": team.release, "labels": labels},
        "spec": {"podSelector": {"matchLabels": proxy_labels(team)}, "policyTypes": ["Ingress"], "ingress": ingress},
    }


def _spread(team: Team, key: str) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": proxy_labels(team)},
        "matchLabelKeys": ["pod-template-hash"],
    }


def _session_storage(team: Team) -> Object:
    store = team.session_store
    if store.type == "cookie":
        return {"type": "cookie"}
    redis: Object = {"clientType": "standalone"}
    if store.type == "bundled":
        redis["standalone"] = {"connectionUrl": f"redis://{team.store_name}:{STORE_PORT}"}
        redis["existingSecret"] = team.store_secret
        redis["passwordKey"] = "redis-password"
    else:
        redis["standalone"] = {"connectionUrl": store.url}
        if store.secret is not None:
            redis["existingSecret"] = store.secret.name
            redis["passwordKey"] = store.secret.key
    return {"type": "redis", "redis": redis}


# --- the Service that Envoy asks --------------------------------------------------------------------------------------


def authz_objects(team: Team) -> list[Object]:
    """A Service that always has an endpoint, so that Envoy Gateway never takes the authorization out of Envoy's listener.

    Of a policy whose Service has no endpoint at all (every pod of the proxy gone at once) Envoy Gateway 1.9 drops the filter and
    answers 500 in its place. When a pod comes back the route follows by RDS and the filter by LDS, later: the app answered anybody for
    some 200 ms, at each return (measured, two of two). The endpoint that is always there is at an address that nobody has (RFC 5737)
    and says that it isn't ready: Envoy asks it never (``panicThreshold: 0``) and answers 503 by itself while it is alone. Not in the
    chart's own Service, whose other users have no such threshold.
    """
    selector = {"app.kubernetes.io/name": "oauth2-proxy", "app.kubernetes.io/instance": team.release}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": team.authz_service, "labels": dict(team.labels)},
            "spec": {"selector": selector, "ports": [{"name": "http", "port": PROXY_PORT, "targetPort": "http", "appProtocol": "http"}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{team.authz_service}-nobody",
                # Of another manager than Kubernetes' own, which leaves it alone.
                "labels": {"kubernetes.io/service-name": team.authz_service, "endpointslice.kubernetes.io/managed-by": FIELD_MANAGER, **team.labels},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": NOBODY_PORT, "protocol": "TCP"}],
            "endpoints": [{"addresses": [NOBODY_ADDRESS], "conditions": {"ready": False, "serving": False, "terminating": False}}],
        },
    ]


# --- the bundled session store ----------------------------------------------------------------------------------------


def store_image(team: Team) -> str:
    """The platform's choice, else the default, from its registry when it has one."""
    if team.session_store.image:
        return team.session_store.image
    return f"{team.image_registry or DEFAULT_STORE_REGISTRY}/{DEFAULT_STORE_REPOSITORY}:{DEFAULT_STORE_TAG}"


def store_objects(team: Team) -> list[Object]:
    """A small Valkey of the team's own. One replica: losing it means signing in again, silently, and no more."""
    objects = [_store_service(team), _store_deployment(team), _store_network_policy(team)]
    if team.session_store.persistence:
        objects.insert(0, _store_claim(team))
    return objects


def _store_selector(team: Team) -> dict[str, str]:
    # Not the chart's name label: the proxy's Service would send requests to the store.
    return {"app.kubernetes.io/name": "session-store", "app.kubernetes.io/instance": team.release}


def _store_metadata(team: Team) -> Object:
    labels = {**_store_selector(team), "app.kubernetes.io/component": "session-store", "app.kubernetes.io/part-of": "oauth2-proxy"}
    return {"name": team.store_name, "labels": {**labels, **team.labels}}


def _store_service(team: Team) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _store_metadata(team),
        "spec": {
            "selector": _store_selector(team),
            "ports": [{"name": "redis", "port": STORE_PORT, "targetPort": "redis"}],
        },
    }


def _store_claim(team: Team) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _store_metadata(team),
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": team.session_store.persistence}}},
    }


def _store_network_policy(team: Team) -> Object:
    """Only the team's proxy talks to its store; the password travels in clear text between them."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _store_metadata(team),
        "spec": {
            "podSelector": {"matchLabels": _store_selector(team)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": proxy_labels(team)}}], "ports": [{"port": "redis"}]}],
        },
    }


def _store_options(team: Team) -> list[str]:
    return [
        "bind * -::*",
        f"port {STORE_PORT}",
        "dir /data",
        f"maxmemory {_STORE_MAXMEMORY}",
        # Full means refused sign-ins and an error in the proxy's log, not sessions that vanish without a word. Only people who
        # have signed in can write here.
        "maxmemory-policy noeviction",
        "appendonly no",
        "save 300 1" if team.session_store.persistence else 'save ""',
    ]


def _store_deployment(team: Team) -> Object:
    volumes: list[Object] = [
        {"name": "secret", "secret": {"secretName": team.store_secret, "defaultMode": 0o440, "items": [{"key": "redis-password", "path": "redis-password"}]}},
        {"name": "configuration", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": team.store_name}}
        if team.session_store.persistence
        else {"name": "data", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    probe: Object = {"tcpSocket": {"port": "redis"}, "timeoutSeconds": 2}
    options = " ".join(f"'{option}'" for option in _store_options(team))
    pod: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 15,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _STORE_USER,
            "runAsGroup": _STORE_USER,
            "fsGroup": _STORE_USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "store",
                "image": store_image(team),
                "command": ["sh", "-c", _STORE_SCRIPT.replace("{options}", options)],
                "ports": [{"name": "redis", "containerPort": STORE_PORT}],
                "readinessProbe": {**probe, "periodSeconds": 5},
                "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 6},
                # Twice maxmemory: a snapshot and fragmentation need room.
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
                "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [
                    {"name": "secret", "mountPath": "/run/secrets/store", "readOnly": True},
                    {"name": "configuration", "mountPath": "/run/store"},
                    {"name": "data", "mountPath": "/data"},
                ],
            }
        ],
        "volumes": volumes,
    }
    if team.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in team.image_pull_secrets]
    if team.node_selector:
        pod["nodeSelector"] = dict(team.node_selector)
    if team.tolerations:
        pod["tolerations"] = copy.deepcopy(list(team.tolerations))
    metadata = _store_metadata(team)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 1,
            # Two stores behind one Service would each hold half of the sessions.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": _store_selector(team)},
            "template": {"metadata": {"labels": dict(metadata["labels"])}, "spec": pod},
        },
    }


T = t.TypeVar("T")


def literal(value: T) -> T:
    """Braces that Helm's ``tpl`` would run, written so that it prints them (in keys and values, at any depth)."""
    if isinstance(value, str):
        return t.cast("T", value.replace("{{", "{{`{{`}}"))
    if isinstance(value, dict):
        return t.cast("T", {literal(key): literal(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return t.cast("T", [literal(item) for item in value])
    return value
