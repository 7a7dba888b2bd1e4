# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A team as files for GitOps (pure functions): Helm values, manifests in the safe order, and what must exist before.

The order is the one of the routes phase: policies, passthrough routes, a Job that waits until the sentinel of each host is
refused from outside, and only then the apps' routes. One folder for each step (a Flux Kustomization each, with dependsOn) and
the same step as Argo CD's sync wave. Before them all the team's claim on its hosts; not on its policies, for a tool that prunes
doesn't know how to say that one may go, and would be refused for ever.
"""

from __future__ import annotations

import copy
import hashlib
import json
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._admission import claim, hosts_claim
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import UnresolvedError
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import (
    app_route,
    needs_grant,
    passthrough_route,
    public_route,
    reference_grant,
    security_policy,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import OWNER_LABEL_PREFIX, PROBE_PATH, App, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._secrets_spec import secret_specification

try:
    import yaml
except ImportError:  # never on a controller; module_utils must import without it all the same
    yaml = None  # type: ignore[assignment]

Object = dict[str, t.Any]

MARK = "Rendered by platform.gateway_auth"
CLAIM = "0-claim"
POLICIES, PASSTHROUGH, PROBE, ROUTES = STEPS = ("1-policies", "2-passthrough", "3-probe", "4-routes")
PROBE_IMAGE_REPOSITORY = "curlimages/curl"
PROBE_IMAGE_TAG = "8.17.0"
_WAVE = "argocd.argoproj.io/sync-wave"
_CA_FOLDER = "/run/ca"

# Each curl is a new connection, since there may be several Envoys; the first ones may know the policy before the last.
_PROBE_SCRIPT = """\
set -eu
refused=0
while [ "$refused" -lt 16 ]; do
  status=$(curl --silent --output /dev/null --max-time 5 --write-out '%{http_code}' --header 'Accept: application/json' "$@") || true
  if [ "$status" = 401 ]; then
    refused=$((refused + 1))
  else
    echo "expected 401 from the sentinel, got $status"
    refused=0
    sleep 1
  fi
done
"""


def is_ours(content: str) -> bool:
    """Did we write this file? Only such a one may be removed or overwritten."""
    return MARK in content.partition("\n")[0]


def render_team(team: Team, ca: str = "") -> dict[str, str]:
    """Content of each file by its path in the team's folder. ``ca`` is the PEM text of a private CA that the gateway uses."""
    if team.credential == "federated" and not team.client_id:
        raise UnresolvedError(
            f"Team '{team.name}': the client id of its app registration isn't known, and with a federated credential it is part of the Helm values.",
            "Onboard the team first, then set gateway_auth_client_id to what it got.",
        )
    files = {"README.md": _readme(team, ca), "values.yaml": _yaml_file(team, [release_values(team)])}
    if team.gateway.admission_policy and team.apps:
        files[f"{CLAIM}/claim.yaml"] = _yaml_file(team, [_annotated(hosts_claim(claim(team)), {_WAVE: "0"})])
    for app in team.apps:
        for step, objects in _steps(team, app, ca).items():
            wave = str(STEPS.index(step) + 1)
            files[f"{step}/{app.name}.yaml"] = _yaml_file(team, [_annotated(obj, {_WAVE: wave}) for obj in objects])
    return files


def _steps(team: Team, app: App, ca: str) -> dict[str, list[Object]]:
    grants = [reference_grant(team, app)] if needs_grant(team, app) else []
    # Flux has no order for removal: it would take the policy first and leave the app open. So it never takes one.
    policy = _annotated(security_policy(team, app), {"kustomize.toolkit.fluxcd.io/prune": "disabled"})
    public = [public_route(team, app)] if app.public_paths else []
    return {
        POLICIES: [*grants, policy],
        PASSTHROUGH: [passthrough_route(team, app)],
        PROBE: probe_objects(team, app, ca),
        ROUTES: [app_route(team, app), *public],
    }


def probe_objects(team: Team, app: App, ca: str = "") -> list[Object]:
    """The Job between policy and route: done when the sentinel was refused 16 times in a row, failed after ten minutes."""
    name = f"{app.name}-probe-{team.name}"
    metadata = {"name": name, "namespace": team.namespace, "labels": team.owner_labels(app)}
    url = f"https://{app.hostname}{PROBE_PATH}"
    arguments = [url]
    if team.probe.address:
        # As in the playbooks: the gateway's address instead of DNS, with the host as SNI and Host.
        arguments = ["--connect-to", f"{app.hostname}:443:{_bracketed(team.probe.address)}:443", url]
    if ca:
        arguments = ["--cacert", f"{_CA_FOLDER}/ca.crt", *arguments]
    container: Object = {
        "name": "probe",
        "image": f"{team.image_registry or 'docker.io'}/{PROBE_IMAGE_REPOSITORY}:{PROBE_IMAGE_TAG}",
        "command": ["sh", "-c", _PROBE_SCRIPT, "probe", *arguments],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    }
    pod: Object = {
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "runAsGroup": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    objects: list[Object] = []
    if ca:
        container["volumeMounts"] = [{"name": "ca", "mountPath": _CA_FOLDER, "readOnly": True}]
        pod["volumes"] = [{"name": "ca", "configMap": {"name": name}}]
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": copy.deepcopy(metadata), "data": {"ca.crt": ca}})
    if team.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in team.image_pull_secrets]
    if team.node_selector:
        pod["nodeSelector"] = dict(team.node_selector)
    if team.tolerations:
        pod["tolerations"] = copy.deepcopy(list(team.tolerations))
    guard = json.dumps([security_policy(team, app), passthrough_route(team, app)], sort_keys=True)
    job: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **metadata,
            "annotations": {
                # A Job runs once and can't be edited. Argo CD runs this one anew in every sync, Flux whenever it differs.
                "argocd.argoproj.io/hook": "Sync",
                "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation",
                "kustomize.toolkit.fluxcd.io/force": "enabled",
            },
        },
        "spec": {
            "activeDeadlineSeconds": 600,
            "backoffLimit": 3,
            "template": {
                # So it differs whenever what it has to prove does.
                "metadata": {
                    "labels": team.owner_labels(app),
                    "annotations": {f"{OWNER_LABEL_PREFIX}guard": hashlib.sha256(guard.encode()).hexdigest()[:16]},
                },
                "spec": pod,
            },
        },
    }
    return [*objects, job]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _annotated(obj: Object, annotations: t.Mapping[str, str]) -> Object:
    annotated = copy.deepcopy(obj)
    annotated["metadata"]["annotations"] = {**annotated["metadata"].get("annotations", {}), **annotations}
    return annotated


def _mark(team: Team) -> str:
    return f"{MARK} for {team.name}; the next render overwrites or removes this file."


def _yaml_file(team: Team, documents: list[Object]) -> str:
    """YAML 1.1 without tags or aliases: what kubectl, Helm and kustomize read."""
    body = "---\n".join(yaml.dump(doc, Dumper=_dumper(), sort_keys=False, default_flow_style=False, width=100_000, allow_unicode=True) for doc in documents)
    return f"# {_mark(team)}\n---\n{body}"


_DUMPER: list[t.Any] = []


def _dumper() -> t.Any:
    """A safe dumper that writes several lines as a block, and everything in full (aliases confuse people and some tools)."""
    if not _DUMPER:

        class Dumper(yaml.SafeDumper):
            def ignore_aliases(self, *_data: t.Any) -> bool:
                return True

        def text(dumper: t.Any, value: str) -> t.Any:
            return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

        Dumper.add_representer(str, text)
        _DUMPER.append(Dumper)
    return _DUMPER[0]


def _ca_note(team: Team, ca: str) -> str:
    if not team.probe.ca_file or ca:
        return ""
    return f"""
**Not complete:** the private CA of `gateway_auth_probe.ca_file` was not there when this was rendered. The Jobs in `{PROBE}` trust public CAs only
and will not prove anything against the gateway's certificate; render again.
"""


def _claim_note(team: Team) -> str:
    if not team.gateway.admission_policy:
        return ""
    return f"""
`{CLAIM}` belongs into the Gateway's namespace, `{team.gateway.namespace}`: by it the API server refuses routes of others for these hosts. Whatever
applies this folder needs the right to write ConfigMaps there; without it leave that one folder out, or render with
`gateway_auth_gateway.admission_policy: false`. A host that leaves here is free for another team once this folder was applied.
"""


def _claim_step(team: Team) -> str:
    return f", and `{CLAIM}`" if team.gateway.admission_policy else ""


def _claim_file(team: Team) -> str:
    return f" -f {CLAIM}" if team.gateway.admission_policy else ""


def _registration(team: Team) -> str:
    return f"app registration `{team.client_id}`" if team.client_id else f"the app registration that playbook `onboard_team` makes (`{team.unique_name}`)"


def _readme(team: Team, ca: str) -> str:
    secrets = "\n".join(
        f"  - Secret `{secret['namespace']}/{secret['name']}`:\n" + "\n".join(f"    - `{key}`: {how}" for key, how in secret["keys"].items())
        for secret in secret_specification(team)
    )
    services = "\n".join(
        f"  - Service `{app.service.namespace or team.namespace}/{app.service.name}`, port {app.service.port} (app `{app.name}`)" for app in team.apps
    )
    hosts = "\n".join(f"  - `{host}`" for host in team.hosts)
    uris = "\n".join(f"  - `{uri}`" for uri in team.redirect_uris)
    gateway = team.gateway
    version = f" --version {team.chart.version}" if team.chart.version and team.chart.ref.startswith("oci://") else ""
    return f"""\
<!-- {_mark(team)} -->
# {team.name} ({team.environment}, {team.stack})

Everything that puts the team's apps behind a login, except secrets: none is in here.
{_ca_note(team, ca)}
## What must exist before

- The platform's objects on Gateway `{gateway.namespace}/{gateway.name}` (ClientTrafficPolicy, redirect to HTTPS, admission policies): playbook
  `prepare_gateway`.
  Its listener `{gateway.https_listener}` must admit routes of namespace `{team.namespace}`.
- Namespace `{team.namespace}`, and in it:
{secrets}
- Where the apps live:
{services}
- DNS and a certificate for:
{hosts}
- At {_registration(team)}, redirect URIs of type web:
{uris}
{_claim_note(team)}
## The order

| step | what | it may go on when |
|---|---|---|
| 0 | the Helm release, with `values.yaml`{_claim_step(team)} | its pods are ready |
| 1 | `{POLICIES}` | applied |
| 2 | `{PASSTHROUGH}` | applied |
| 3 | `{PROBE}` | **each Job is complete**: `{PROBE_PATH}` on each host was refused from outside |
| 4 | `{ROUTES}` | |

An app's route that is there before its policy is live in every Envoy serves anybody. Applying policies first is not enough; the Job is the proof.
A step whose Job fails must stop the rest: the app then stays unreachable, which is the safe side.

### Argo CD

One Application for the release and one for this folder with `directory: {{recurse: true, exclude: values.yaml}}`. Sync waves 1 to 4 are on every
object and the Jobs are Sync hooks, so a failed proof ends the sync before wave 4. Pruning goes by descending waves: the route is the first to go.

### Flux

A HelmRelease, and a Kustomization for each of the numbered folders with `wait: true` and `dependsOn` the one before it. Flux prunes in no order, so
it is told (`kustomize.toolkit.fluxcd.io/prune: disabled`) never to remove a SecurityPolicy. A policy left behind protects nothing and harms
nothing; delete it after its route.

### By hand

```sh
helm upgrade --install {team.release} {team.chart.ref}{version} --namespace {team.namespace} --values values.yaml --wait
kubectl apply{_claim_file(team)} -f {POLICIES} -f {PASSTHROUGH}
kubectl -n {team.namespace} delete jobs -l {OWNER_LABEL_PREFIX}team={team.name}
kubectl apply -f {PROBE}
kubectl -n {team.namespace} wait jobs -l {OWNER_LABEL_PREFIX}team={team.name} --for=condition=complete --timeout=600s && kubectl apply -f {ROUTES}
```

To remove an app: its file in `{ROUTES}` first; when its host answers 404, the others.
"""
