# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verify each team from outside and by the API. Reads only."""

from __future__ import annotations

import base64
import binascii
import concurrent.futures
import json
import socket
import threading
import typing as t
import urllib.parse
import urllib.request

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_app, _explain
from ansible_collections.platform.gateway_auth.plugins.module_utils._admission import ADMISSION_VERSION, BINDING_KIND, POLICY_KIND
from ansible_collections.platform.gateway_auth.plugins.module_utils._conditions import gateway_addresses
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForbiddenError, GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._isolation import Digests
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube, connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import GatewayRef, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._probe import ProbeClient
from ansible_collections.platform.gateway_auth.plugins.module_utils._running import platform_versions, proxy_versions
from ansible_collections.platform.gateway_auth.plugins.module_utils._verify import (
    APART,
    Check,
    Live,
    judge_apart,
    render,
    report,
    verify_team,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._versions import Found
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _files
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import WORKERS, BatchAction, Outcome
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._entra import Clients, has_identity
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._registrations import from_cluster

GATEWAY_API = "gateway.networking.k8s.io/v1"
ENVOY_API = "gateway.envoyproxy.io/v1alpha1"
LOG_LINES = 200


class ActionModule(BatchAction):
    OPTIONS: t.ClassVar[dict[str, t.Any]] = {
        "report": {"type": "path", "default": ""},
        "memberships": {"type": "bool", "default": False},
        "explain": {"type": "str", "default": ""},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        self._checks: dict[str, list[Check]] = {}
        self._checks_lock = threading.Lock()
        result = super().run(tmp, task_vars)
        if self.options["report"]:
            for host, outcome in result["teams"].items():
                if host not in self._checks:
                    self._checks[host] = [Check("read", "the team's objects can be read", False, outcome["msg"])]
            _files.write_whole(self.options["report"], json.dumps(report(self._checks), indent=2, ensure_ascii=False) + "\n", "-e report")
        return result

    def prepare(self, teams: dict[str, Team]) -> None:
        """Routes and policies of the whole cluster in one call each, where the identity may."""
        # Before anything is read: a URL that is nobody's is the first link that is broken.
        self._explained = _explain.find_target(teams.values(), self.options["explain"]) if self.options["explain"] else None
        self._routes: dict[Kube, list[t.Any] | None] = {}
        self._grpc_routes: dict[Kube, list[t.Any] | None] = {}
        self._policies: dict[Kube, list[t.Any] | None] = {}
        self._admission: dict[Kube, list[t.Any] | None] = {}
        self._versions: dict[tuple[Kube, GatewayRef], list[Found]] = {}
        for team in teams.values():
            key = (connect(team.cluster), team.gateway)
            if key not in self._versions:
                self._versions[key] = platform_versions(*key)
        for kube in {connect(team.cluster) for team in teams.values()}:
            self._routes[kube] = _allowed(lambda kube=kube: kube.list(GATEWAY_API, "HTTPRoute"))
            self._grpc_routes[kube] = _allowed(lambda kube=kube: kube.list(GATEWAY_API, "GRPCRoute"))
            self._policies[kube] = _allowed(lambda kube=kube: kube.list(ENVOY_API, "SecurityPolicy"))
        for kube in {connect(team.cluster) for team in teams.values() if team.gateway.admission_policy}:
            self._admission[kube] = _allowed(lambda kube=kube: [obj for kind in (POLICY_KIND, BINDING_KIND) for obj in kube.list(ADMISSION_VERSION, kind)])
        self._digests = _digests(list(teams.values()))

    def for_team(self, team: Team) -> Outcome:
        target = None
        if self._explained is not None:
            owner, target = self._explained
            if owner.name != team.name:
                return Outcome(msg=f"Team '{team.name}': {target.host} isn't one of its hosts.")
        kube = connect(team.cluster)
        team = from_cluster(team)
        live = self._read(kube, team)
        address = team.probe.address or next(iter(gateway_addresses(live.gateway)), "")
        client = ProbeClient(team.probe.proxy, address, team.probe.ca_file)
        # Behind a proxy it is the proxy that resolves names; this machine's DNS says nothing.
        resolve = None if team.probe.proxy else _resolve
        if target is not None:
            checks = _explain.explain(team, target, client, live, _entra_client(team), resolve)
            return self._judged(team, checks, _explain.render(target, checks))
        checks = verify_team(team, client, live, _entra_client(team), resolve)
        checks += judge_apart(team, self._digests)
        if self.options["memberships"] and team.groups_claim == "security" and has_identity():
            checks.append(self._memberships(team))
        return self._judged(team, checks, render(checks))

    def _judged(self, team: Team, checks: list[Check], text: str) -> Outcome:
        with self._checks_lock:
            self._checks[team.name] = checks
        failed = any(check.failed for check in checks)
        return Outcome(failed=failed, msg=f"Team '{team.name}': {text}", data={"checks": [check.to_dict() for check in checks]})

    @staticmethod
    def _memberships(team: Team) -> Check:
        """Whether a token can hold the groups of those who may enter; many calls, so only where it is asked for."""
        title = "no member is in more groups than a token holds (200)"
        try:
            asked, over = _entra_app.crowded(Clients(read_only=True).graph(team), team)
        except GatewayAuthError as exc:
            return Check("memberships", title, False, f"they can't be counted: {exc.message.rstrip('.')}", exc.remedy, "warning")
        remedy = "Entra sends such a user no groups at all, so they can't enter: set gateway_auth_groups_claim: application, or thin out their groups."
        return Check("memberships", title, not over, ", ".join(over) or f"{asked} asked", remedy, "warning")

    def _read(self, kube: Kube, team: Team) -> Live:
        live = Live()
        live.gateway = kube.get(GATEWAY_API, "Gateway", team.gateway.name, team.gateway.namespace)
        routes, grpc_routes, policies = self._routes[kube], self._grpc_routes[kube], self._policies[kube]
        live.whole_cluster = routes is not None and grpc_routes is not None
        live.routes = kube.list(GATEWAY_API, "HTTPRoute", team.namespace) if routes is None else routes
        live.grpc_routes = (_allowed(lambda: kube.list(GATEWAY_API, "GRPCRoute", team.namespace)) or []) if grpc_routes is None else grpc_routes
        live.policies = kube.list(ENVOY_API, "SecurityPolicy", team.namespace) if policies is None else policies
        live.deployments = kube.list("apps/v1", "Deployment", team.namespace)
        if team.gateway.admission_policy:
            self._read_admission(kube, team, live)
        live.versions = list(self._versions[(kube, team.gateway)])
        self._read_log(kube, team, live)
        self._read_secret(kube, team, live)
        return live

    def _read_admission(self, kube: Kube, team: Team, live: Live) -> None:
        live.admission = self._admission[kube]
        if live.admission is None:
            live.unread.append("ValidatingAdmissionPolicies and their bindings can't be listed, so nobody knows whether the API server guards the team's hosts")
        try:
            live.claim = kube.get("v1", "ConfigMap", team.claim_name, team.gateway.namespace)
        except ForbiddenError:
            live.whole_claim = False
            live.unread.append(f"ConfigMap {team.gateway.namespace}/{team.claim_name}, the team's claim, can't be read")

    @staticmethod
    def _read_log(kube: Kube, team: Team, live: Live) -> None:
        deployment = next((item for item in live.deployments if item["metadata"]["name"] == team.release), None)
        labels = (((deployment or {}).get("spec") or {}).get("selector") or {}).get("matchLabels")
        if not labels:
            return
        pods = _allowed(lambda: kube.list("v1", "Pod", team.namespace, labels))
        if pods is None:
            live.unread.append(f"pods in namespace {team.namespace} can't be listed, so the proxy's version and log aren't judged")
            return
        live.versions += proxy_versions(pods)
        live.proxy_log = "\n".join(kube.logs(team.namespace, pod["metadata"]["name"], tail=LOG_LINES) for pod in pods)

    @staticmethod
    def _read_secret(kube: Kube, team: Team, live: Live) -> None:
        """The client secret as the proxy gets it; it goes to Entra and nowhere else."""
        if team.credential == "federated":
            return
        try:
            secret = kube.get("v1", "Secret", team.proxy_secret, team.namespace)
            value = ((secret or {}).get("data") or {}).get("client-secret", "")
            live.client_secret = base64.b64decode(value).decode()
        except ForbiddenError:
            live.unread.append(f"Secret {team.namespace}/{team.proxy_secret} can't be read, so Entra isn't asked about the client secret")
        except (binascii.Error, UnicodeDecodeError):
            live.unread.append(f"Secret {team.namespace}/{team.proxy_secret}: client-secret isn't text")


def _digests(teams: list[Team]) -> Digests:
    """Of the Secrets of all addressed teams: what two of them hold alike is seen only side by side. None is shown or kept."""
    found = Digests()
    if len(teams) < 2:
        return found

    def read(team: Team) -> dict[str, str] | None:
        kube = connect(team.cluster)
        names = [team.proxy_secret, *([team.store_secret] if team.has_store_password else [])]
        held = _allowed(lambda: [kube.get("v1", "Secret", name, team.namespace) for name in names])
        return None if held is None else {key: str(value) for secret in held for key, value in ((secret or {}).get("data") or {}).items() if key in APART}

    with concurrent.futures.ThreadPoolExecutor(max_workers=min(WORKERS, len(teams))) as pool:
        for team, values in zip(teams, pool.map(read, teams), strict=True):
            if values is not None:
                found.add(team, values)
    return found


def _entra_client(team: Team) -> ProbeClient:
    """Entra is reached as any HTTPS client here would, or by the probe's proxy where there is no other.

    The platform's own CA is believed about Entra only on that last way: it is the platform that put the proxy there.
    """
    host = urllib.parse.urlsplit(team.authority).hostname or ""
    if team.graph.proxy or team.graph.ca_file:
        return ProbeClient(team.graph.proxy, ca_file=team.graph.ca_file)
    proxy = "" if urllib.request.proxy_bypass_environment(host) else urllib.request.getproxies_environment().get("https", "")
    if team.probe.proxy and (not proxy or proxy.rstrip("/") == team.probe.proxy.rstrip("/")):
        return ProbeClient(team.probe.proxy, ca_file=team.probe.ca_file, system_store=True)
    return ProbeClient(proxy)


def _resolve(host: str) -> list[str]:
    try:
        return sorted({str(item[4][0]) for item in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)})
    except OSError:
        return []


T = t.TypeVar("T")


def _allowed(read: t.Callable[[], T]) -> T | None:
    try:
        return read()
    except ForbiddenError:
        return None
