# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The release's Deployments: restarted when a Secret they read changes, awaited with a reason when they fail.

A pod reads its Secrets once, at its start, and nothing tells it of a change. The marker below is a keyed digest of what the
Secrets hold. It stands on the Deployment's own metadata (what its pods are known to have started with) and, once a restart
was needed, in the pod template (what makes Kubernetes restart them). It isn't in the Helm values, so Helm neither sees nor
removes it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal, decode
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import NotReadyError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import OWNER_LABEL_PREFIX, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import Change
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import proxy_labels

Object = dict[str, t.Any]

MARKER = f"{OWNER_LABEL_PREFIX}secrets"
ROLLOUT_TIMEOUT_S = 180.0
DRAIN_TIMEOUT_S = 120.0
POLL_S = 0.25
ENDED = ("Failed", "Succeeded")


def deployments(team: Team) -> tuple[str, ...]:
    """Names of the Deployments of the release, the store first: the proxy isn't ready without it."""
    return (team.store_name, team.release) if team.has_store_password else (team.release,)


def secret_markers(kube: Kube, team: Team) -> dict[str, str]:
    """For each Deployment a short keyed digest of what its pods read; says nothing of the values (the key is one of them).

    The store reads its password and nothing else: a new client secret must not cost it the sessions it holds.
    """
    proxy = kube.get("v1", "Secret", team.proxy_secret, team.namespace)
    # With a federated credential no pod reads a client secret, though one may still lie there.
    parts = [decode(proxy, "client-id"), None if team.credential == "federated" else decode(proxy, "client-secret")]
    markers = {}
    if team.has_store_password:
        password = decode(kube.get("v1", "Secret", team.store_secret, team.namespace), "redis-password")
        parts.append(password)
        markers[team.store_name] = _digest(password, ["store"])
    elif team.session_store.secret is not None:
        reference = team.session_store.secret
        parts.append(decode(kube.get("v1", "Secret", reference.name, team.namespace), reference.key))
    markers[team.release] = _digest(decode(proxy, "cookie-secret"), parts)
    return markers


def _digest(key: str | None, parts: t.Iterable[str | None]) -> str:
    message = "\0".join(part or "" for part in parts).encode(errors="surrogateescape")
    return hmac.new((key or "").encode(errors="surrogateescape"), message, hashlib.sha256).hexdigest()[:16]


def mark(team: Team, journal: Journal, *, fresh: t.Collection[str]) -> None:
    """Make the pods of the release run on the Secrets as they are.

    ``fresh``: Deployments that were created in this run, after the Secrets; they only need the note, not a restart.
    """
    markers = secret_markers(journal.kube, team)
    for name in deployments(team):
        marker = markers[name]
        live = journal.kube.get("apps/v1", "Deployment", name, team.namespace)
        if live is None:
            continue  # check mode before the first installation
        known = (live["metadata"].get("annotations") or {}).get(MARKER)
        if known == marker:
            continue
        desired: Object = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": team.namespace, "annotations": {MARKER: marker}},
        }
        template = (live["spec"]["template"]["metadata"].get("annotations") or {}).get(MARKER)
        if name in fresh and known is None:
            reason = "note which Secrets its pods started with"
        else:
            template = marker
            reason = "restart its pods: a Secret they read changed"
        if template is not None:
            desired["spec"] = {"template": {"metadata": {"annotations": {MARKER: template}}}}
        journal.carry_out(Change("update", desired, live, (reason,)))


def wait(team: Team, kube: Kube, timeout: float = ROLLOUT_TIMEOUT_S) -> None:
    """Until every Deployment of the release runs its newest template on all replicas. NotReadyError says why not."""
    deadline = time.monotonic() + timeout
    for name in deployments(team):
        while True:
            live = kube.get("apps/v1", "Deployment", name, team.namespace)
            if live is not None and rolled_out(live):
                break
            if time.monotonic() > deadline:
                raise NotReadyError(
                    f"Deployment {team.namespace}/{name} was not ready within {timeout:.0f} s: {why_not(kube, team, name)}",
                    "Mend that and run the same command again.",
                )
            time.sleep(POLL_S)


def wait_drained(
    team: Team,
    kube: Kube,
    *,
    timeout: float = DRAIN_TIMEOUT_S,
    sleep: t.Callable[[float], object] = time.sleep,
    clock: t.Callable[[], float] = time.monotonic,
) -> list[Object]:
    """Until no pod of the proxy is left that started before the rollout; the pods that are there then.

    One that ends goes on answering for some seconds, and refreshes sessions, with what it started with.
    """
    deadline = clock() + timeout
    while True:
        pods = _proxy_pods(team, kube)
        ending = [pod["metadata"]["name"] for pod in pods if pod["metadata"].get("deletionTimestamp")]
        if not ending and len(_templates(pods)) <= 1:
            return pods
        if clock() > deadline:
            there = ", ".join(ending or [f"{pod['metadata']['name']} (of several generations)" for pod in pods])
            raise NotReadyError(
                f"Pods of {team.namespace}/{team.release} that started before the change are still there: {there}.",
                "What they use stays valid until then. Run again once they are gone.",
            )
        sleep(POLL_S)


def is_mixed(team: Team, kube: Kube) -> bool:
    """Whether pods of several generations run: a rollout goes on that this run didn't begin (an earlier one was killed, say)."""
    return len(_templates(_proxy_pods(team, kube))) > 1


def _proxy_pods(team: Team, kube: Kube) -> list[Object]:
    """One that failed or was evicted runs nothing any more, however long it stays listed."""
    return [pod for pod in kube.list("v1", "Pod", team.namespace, proxy_labels(team)) if (pod.get("status") or {}).get("phase") not in ENDED]


def _templates(pods: list[Object]) -> set[str | None]:
    return {(pod["metadata"].get("labels") or {}).get("pod-template-hash") for pod in pods}


def wait_gone(team: Team, kube: Kube, names: t.Collection[str], timeout: float = ROLLOUT_TIMEOUT_S) -> None:
    """Until the pods that these Deployments had before are gone, too: Envoy asks one that ends for some seconds yet, and it may let anybody in."""
    deadline = time.monotonic() + timeout
    for name in names:
        while True:
            live = kube.get("apps/v1", "Deployment", name, team.namespace)
            pods = kube.list("v1", "Pod", team.namespace, live["spec"]["selector"].get("matchLabels")) if live is not None else []
            ending = [pod["metadata"]["name"] for pod in pods if pod["metadata"].get("deletionTimestamp")]
            if not ending:
                break
            if time.monotonic() > deadline:
                raise NotReadyError(
                    f"Pods of Deployment {team.namespace}/{name} as somebody had changed it were still ending after {timeout:.0f} s: {', '.join(ending)}.",
                    "Delete them and run the same command again.",
                )
            time.sleep(POLL_S)


def wait_current(
    team: Team,
    kube: Kube,
    *,
    timeout: float = DRAIN_TIMEOUT_S,
    sleep: t.Callable[[float], object] = time.sleep,
    clock: t.Callable[[], float] = time.monotonic,
) -> None:
    """Until the rollout that brought the pods what their Secrets hold now is over. NotReadyError at once when there was none.

    Pods of one generation are no proof: another run may have written a Secret after the rollout that made them.
    """
    deadline = clock() + timeout
    while True:
        live = kube.get("apps/v1", "Deployment", team.release, team.namespace)
        if live is None:
            return
        where = f"Deployment {team.namespace}/{team.release}"
        if (live["metadata"].get("annotations") or {}).get(MARKER) != secret_markers(kube, team)[team.release]:
            raise NotReadyError(
                f"The pods of {where} aren't known to run on what their Secrets hold now (another run at the same time?); what they use was left valid.",
                "Run the same command again: it restarts them first.",
            )
        if rolled_out(live):
            return
        if clock() > deadline:
            raise NotReadyError(f"{where} was not rolled out within {timeout:.0f} s: {why_not(kube, team, team.release)}", "Mend that and run again.")
        sleep(POLL_S)


def rolled_out(live: Object) -> bool:
    """As `kubectl rollout status` judges it."""
    status = live.get("status") or {}
    wanted = live["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= live["metadata"]["generation"]
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("availableReplicas", 0) >= wanted
        and status.get("replicas", 0) <= status.get("updatedReplicas", 0)
    )


def why_not(kube: Kube, team: Team, name: str) -> str:
    """The most telling thing about the pods of a Deployment: waiting reason, exit, last log line, scheduling event."""
    live = kube.get("apps/v1", "Deployment", name, team.namespace)
    if live is None:
        return "it doesn't exist."
    selector = live["spec"]["selector"].get("matchLabels") or {}
    pods = kube.list("v1", "Pod", team.namespace, selector)
    if not pods:
        for condition in (live.get("status") or {}).get("conditions") or []:
            if condition.get("type") == "ReplicaFailure" or condition.get("status") == "False":
                return f"no pods: {condition.get('reason')}: {condition.get('message')}"
        return "no pods yet."
    pods.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True)
    reports = [_pod_report(kube, team, pod) for pod in pods if not _ready(pod)]
    return reports[0] if reports else "its newest pods are ready, older ones have not gone."


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def _pod_report(kube: Kube, team: Team, pod: Object) -> str:
    name = pod["metadata"]["name"]
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"pod {name}: {condition.get('reason')}: {condition.get('message')}"
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
        if waiting.get("reason") in ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError"):
            return f"pod {name}, container {container['name']}: {waiting['reason']}: {waiting.get('message', '')}"
        if ended or waiting.get("reason") == "CrashLoopBackOff":
            lines = kube.logs(team.namespace, name, container["name"], tail=20, previous=not state.get("terminated"))
            lines = lines or kube.logs(team.namespace, name, container["name"], tail=20)
            said = mask(kube, team, _last_line(lines))
            return f"pod {name}, container {container['name']} ended with code {ended.get('exitCode')}: {said}"
    lines = mask(kube, team, _last_line(kube.logs(team.namespace, name, tail=20)))
    return f"pod {name} is {status.get('phase')}, not ready; its last log line: {lines or '(none)'}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def mask(kube: Kube, team: Team, text: str) -> str:
    """A log line without any value of the team's Secrets, nor anything that looks like a token."""
    for name in (team.proxy_secret, team.store_secret):
        secret = kube.get("v1", "Secret", name, team.namespace)
        for key in (secret or {}).get("data") or {}:
            value = decode(secret, key)
            if value and key != "client-id":
                text = text.replace(value, "********")
    return re.sub(r"eyJ[\w-]{10,}\.[\w-]*\.?[\w-]*", "********", text)[:400]  # cut last: half a secret is no longer found
