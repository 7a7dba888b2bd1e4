# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of the contract: variables of all teams in, team models and every finding out (pure; no Ansible, no cluster).

A rule never stops another one: what is wrong is reported with its place, and the rest is judged on.
"""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import datetime
import ipaddress
import os
import re
import string
import typing as t
import urllib.parse

from ansible_collections.platform.gateway_auth.plugins.module_utils import _isolation, _spec, _versions
from ansible_collections.platform.gateway_auth.plugins.module_utils import _validate_helm as helm
from ansible_collections.platform.gateway_auth.plugins.module_utils._findings import ERROR, WARNING, Finding, Place, errors, shown
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import CLOUDS, GraphEndpoint
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import grant_name, needs_grant
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import (
    PROBE_PATH,
    AksRef,
    App,
    Chart,
    ClusterRef,
    GatewayRef,
    GraphRef,
    Group,
    Probe,
    SecretKeyRef,
    SecretSource,
    Service,
    Session,
    SessionStore,
    Team,
    Waiver,
    WorkloadIdentity,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._waivers import SOON_DAYS, days_left

MAX_LABEL = 63
MAX_SUBDOMAIN = 253
MAX_RELEASE = 53  # Helm's own limit
MAX_REDIRECT_URIS = 256  # of one app registration (learn.microsoft.com, reply-url)
MAX_REDIRECT_URI = 256
MAX_REFRESH = 3600.0  # Entra's tokens live for an hour at least
# Of one rule of an HTTPRoute, and of a path in it (Gateway API's CRD); beyond them the API server refuses the route, halfway.
MAX_MATCHES = 64
MAX_PATH = 1024

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_TEAM_NAME = re.compile(r"team-[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_ -]*>")
_GO_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_GATEWAY_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_DAYS = re.compile(r"[1-9][0-9]{0,3}[dw]")
_DAYS_OR_NONE = re.compile(r"(0|[1-9][0-9]{0,2})[dw]")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i|[MGTPE])?")
_PREFIX_SHAPE = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9._~-]*)+")
_PATH_SHAPE = re.compile(r"/[A-Za-z0-9._~!$&'()+,;=:@/-]+")
_CLAIM = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]*")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]+")
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
_VAULT_SECRET = re.compile(r"[a-zA-Z0-9-]{1,127}")
_AKS_NAME = re.compile(r"[a-zA-Z0-9]([-_a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_RESOURCE_GROUP = re.compile(r"[-\w.()]{0,89}[-\w()]")
_REGISTRY = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9._/-]+)?")
_UPN = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

_PATTERN_FIELDS = ("app", "team", "stack", "environment", "domain")


@dataclasses.dataclass(frozen=True)
class TeamInput:
    """What the inventory says of one team: plain values, where each stands, what reading found, what was not looked at."""

    name: str
    values: t.Mapping[str, t.Any]
    places: t.Mapping[str, t.Mapping[str, Place]] = dataclasses.field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()
    own_file: str = ""

    def place(self, path: str) -> Place:
        """Where ``path`` stands, or the nearest thing it is part of."""
        variable = re.split(r"[.\[]", path, maxsplit=1)[0]
        places = self.places.get(variable, {})
        while path not in places:
            cut = max(path.rfind("."), path.rfind("["))
            if cut < 0:
                return Place(self.own_file) if variable in _TEAM_VARIABLES else Place()
            path = path[:cut]
        return places[path]


_TEAM_VARIABLES = ("gateway_auth_allowed_groups", "gateway_auth_apps", "gateway_auth_owners", "gateway_auth_notes")


def validate(inputs: collections.abc.Sequence[TeamInput], *, today: datetime.date, chart: str = "") -> tuple[list[Team], list[Finding]]:
    """Judge all teams. Teams without an error come back as models; ``chart`` overrides where the chart comes from."""
    judged = [_Judge(given, today, chart) for given in inputs]
    for judge in judged:
        judge.run()
    _across(judged)
    teams = [judge.team for judge in judged if judge.team is not None and not errors(judge.findings)]
    return teams, [finding for judge in judged for finding in judge.findings]


class _Judge:
    """One team's variables, its findings so far, and its model once there is one."""

    def __init__(self, given: TeamInput, today: datetime.date, chart: str) -> None:
        self.given = given
        self.name = given.name
        self.today = today
        self.chart = chart
        self.findings: list[Finding] = list(given.findings)
        self.wrong: set[str] = {finding.path for finding in given.findings if finding.severity == ERROR} | set(given.unread)
        self.values: dict[str, t.Any] = {}
        self.team: Team | None = None
        self.hosts: list[tuple[str, str]] = []  # (host name, path)

    # --- findings -----------------------------------------------------------------------------------------------------

    def report(self, path: str, expected: str, found: str, remedy: str, rule: str, severity: str = ERROR) -> None:
        place = self.given.place(path)
        self.findings.append(Finding(self.name, place.file, place.line, path, expected, found, remedy, rule, severity))
        if severity == ERROR:
            self.wrong.add(path)

    def ok(self, path: str) -> bool:
        return path not in self.wrong

    # --- reading ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        spec = _spec.load()
        for name in self.given.values:
            if name not in spec:
                self.report(name, "a known variable", f"unknown {name}", _spec.did_you_mean_variable(name), "unknown-variable")
        for name, option in spec.items():
            if name in self.given.unread:
                self.values[name] = None
            elif self.given.values.get(name) is None:
                self.values[name] = option.default_value()
                if option.required:
                    self._required(name)
            else:
                self.values[name] = _spec.check(option, self.given.values[name], name, self.report)
                self._placeholders(name, self.given.values[name])
        self._team_name()
        self._platform()
        self._entra()
        self._proxy()
        self._team()
        self._compose()
        self._waivers_and_helm()

    def _required(self, name: str) -> None:
        unknown = [given for given in self.given.values if given not in _spec.load() and _spec.nearest(given, _spec.load()) == name]
        if unknown:
            self.wrong.add(name)  # the misspelt name has said it
            return
        where = "the team's own file" if name in _TEAM_VARIABLES else "group_vars/teams.yml"
        if name == "gateway_auth_client_id":
            where = "the host's entry in the inventory"
        self.report(name, "a value", "nothing", f"Set {name} in {where}.", "required")

    def _placeholders(self, path: str, value: t.Any) -> None:
        if isinstance(value, str):
            if match := _PLACEHOLDER.search(value):
                self.report(path, "a value of yours", f"the placeholder {match.group()}", f"Replace {match.group()} in {path}.", "placeholder")
        elif isinstance(value, dict):
            for key, item in value.items():
                self._placeholders(f"{path}.{key}", item)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._placeholders(f"{path}[{index}]", item)

    def text(self, path: str, value: t.Any) -> str | None:
        """``value`` if it is a string that no rule has found wrong."""
        return value if isinstance(value, str) and self.ok(path) else None

    def var(self, name: str) -> t.Any:
        return self.values.get(f"{_spec.PREFIX}{name}")

    def shape(self, path: str, value: t.Any, pattern: re.Pattern[str], expected: str, rule: str, remedy: str = "") -> None:
        text = self.text(path, value)
        if text is not None and not pattern.fullmatch(text):
            self.report(path, expected, shown(text), remedy or f"Change {path}.", rule)

    def label(self, path: str, value: t.Any, what: str = "a DNS label") -> None:
        text = self.text(path, value)
        if text is not None and not is_label(text):
            self.report(path, f"{what}: at most 63 of a-z, 0-9 and -, beginning and ending with a letter or digit", shown(text), f"Change {path}.", "dns-label")

    def guid(self, path: str, value: t.Any, what: str) -> None:
        text = self.text(path, value) or None
        if text is not None and (not _GUID.fullmatch(text) or not text.replace("0", "").replace("-", "")):
            self.report(path, f"{what}, a GUID such as 5f0c0c7e-0000-4000-8000-0000000000a1", shown(text), f"Copy it from Entra into {path}.", "guid")

    def absolute(self, path: str, value: t.Any) -> None:
        text = self.text(path, value)
        if text and not os.path.isabs(os.path.expanduser(text)):
            self.report(
                path, "an absolute path, for a relative one depends on where the command is run", shown(text),
                f"Write {path} as \"{{{{ inventory_dir }}}}/{text}\".", "path-relative",
            )  # fmt: skip

    def url(self, path: str, value: t.Any, schemes: tuple[str, ...]) -> None:
        text = self.text(path, value)
        if not text:
            return
        try:
            parts = urllib.parse.urlsplit(text)
            port_ok = parts.port is None or parts.port > 0
        except ValueError:
            parts, port_ok = urllib.parse.SplitResult("", "", "", "", ""), False
        if parts.password or parts.username:
            self.report(
                path, "a URL without credentials", "a URL with a user or password", f"Take them out of {path}; a secret has its own option.", "url-credentials"
            )
        elif parts.scheme not in schemes or not parts.hostname or not port_ok:
            self.report(path, f"a URL beginning with {' or '.join(f'{scheme}://' for scheme in schemes)}", shown(text), f"Change {path}.", "url")

    # --- rules of one team ----------------------------------------------------------------------------------------------

    def _team_name(self) -> None:
        if not _TEAM_NAME.fullmatch(self.name):
            self.report(
                "inventory_hostname", "a host of group teams named team-<id>, of a-z, 0-9 and -", shown(self.name),
                "Rename the host in the inventory.", "team-name",
            )  # fmt: skip

    def _platform(self) -> None:
        for name in ("environment", "stack"):
            self.label(f"gateway_auth_{name}", self.var(name))
        domain = self.text("gateway_auth_domain", self.var("domain"))
        if domain is not None and not is_domain(domain):
            self.report("gateway_auth_domain", "a DNS domain in lower case, such as apps.example.com", shown(domain), "Change gateway_auth_domain.", "domain")
        self._pattern()
        self._cluster()
        for key, value in (self.var("gateway") or {}).items():
            self.label(f"gateway_auth_gateway.{key}", value)
        cidrs = self.var("trusted_proxy_cidrs")
        if cidrs == []:
            self.report(
                "gateway_auth_trusted_proxy_cidrs",
                "the networks of Envoy's pods",
                "an empty list",
                "Name them in gateway_auth_trusted_proxy_cidrs.",
                "required",
            )
        for index, cidr in enumerate(cidrs or []):
            self._cidr(f"gateway_auth_trusted_proxy_cidrs[{index}]", cidr)
        probe = self.var("probe") or {}
        self.url("gateway_auth_probe.proxy", probe.get("proxy"), ("http",))
        self.absolute("gateway_auth_probe.ca_file", probe.get("ca_file"))
        address = self.text("gateway_auth_probe.address", probe.get("address"))
        if address and not (is_domain(address) or _is_ip(address)):
            self.report("gateway_auth_probe.address", "an IP address or host name", shown(address), "Change gateway_auth_probe.address.", "address")
        for index, namespace in enumerate(self.var("service_namespaces") or []):
            self.label(f"gateway_auth_service_namespaces[{index}]", namespace, "a namespace's name")
        self.shape("gateway_auth_rotate_after", self.var("rotate_after"), _DAYS, "a number of days or weeks, such as 90d", "duration")
        self.shape("gateway_auth_quarantine", self.var("quarantine"), _DAYS_OR_NONE, "a number of days or weeks, such as 7d, or 0d for none", "duration")

    def _pattern(self) -> None:
        path = "gateway_auth_hostname_pattern"
        pattern = self.text(path, self.var("hostname_pattern"))
        if pattern is None:
            return
        known = ", ".join(f"{{{field}}}" for field in _PATTERN_FIELDS)
        try:
            fields = [(field, form, conversion) for _text, field, form, conversion in string.Formatter().parse(pattern) if field is not None]
        except ValueError:
            self.report(path, "closed braces", shown(pattern), f"Change {path}.", "hostname-pattern")
            return
        for field, form, conversion in fields:
            if field not in _PATTERN_FIELDS or form or conversion:
                self.report(path, f"only the fields {known}", f"{{{field}}}", f"Change {path}.", "hostname-pattern")
                return
        missing = [field for field in ("app", "team") if field not in [name for name, _form, _conversion in fields]]
        if missing:
            self.report(path, "{app} and {team}, or hosts would collide", shown(pattern), f"Add {{{missing[0]}}} to {path}.", "hostname-pattern")

    def _cluster(self) -> None:
        cluster = self.var("cluster")
        if not isinstance(cluster, dict):
            return
        self.absolute("gateway_auth_cluster.kubeconfig", cluster.get("kubeconfig"))
        self.guid("gateway_auth_cluster.uid", cluster.get("uid") or None, "the UID of namespace kube-system")
        if any(not self.ok(f"gateway_auth_cluster.{key}") for key in cluster):
            return
        if not any(cluster.values()):
            self.report(
                "gateway_auth_cluster", "at least one of kubeconfig, context and uid", "none of them",
                "Set gateway_auth_cluster, so that no other cluster can be hit by accident.", "cluster",
            )  # fmt: skip

    def _cidr(self, path: str, value: t.Any) -> None:
        text = self.text(path, value)
        if text is None:
            return
        try:
            network = ipaddress.ip_network(text)
        except ValueError as exc:
            self.report(path, "a network in CIDR notation, such as 10.244.0.0/16", f"{shown(text)} ({exc})", f"Change {path}.", "cidr")
            return
        if "/" not in text:
            self.report(path, "a network in CIDR notation", shown(text), f"Write {text}/{network.max_prefixlen} for a single address.", "cidr")
        elif network.prefixlen == 0:
            self.report(path, "the networks of Envoy's pods", f"{text}, which trusts everybody's headers", f"Narrow {path}.", "cidr-everybody")

    def _entra(self) -> None:
        self.guid("gateway_auth_tenant_id", self.var("tenant_id"), "the tenant's id")
        self.guid("gateway_auth_client_id", self.var("client_id"), "an application (client) id")
        graph = self.var("graph") or {}
        for key in ("url", "authority"):
            self._base_url(f"gateway_auth_graph.{key}", graph.get(key), "version and tenant are added to it")
        self.url("gateway_auth_graph.proxy", graph.get("proxy"), ("http",))
        self.absolute("gateway_auth_graph.ca_file", graph.get("ca_file"))
        identity = self.var("workload_identity") or {}
        self.url("gateway_auth_workload_identity.issuer", identity.get("issuer"), ("https",))
        self._aks(identity)
        self._federated(graph)
        self._registration()
        self._groups("gateway_auth_admin_groups", self.var("admin_groups"))
        self._client_secret()

    def _base_url(self, path: str, value: t.Any, why: str) -> None:
        self.url(path, value, ("https",))
        base = self.text(path, value)
        if base and urllib.parse.urlsplit(base).path.strip("/"):
            self.report(path, f"a base URL without a path, for {why}", shown(base), f"Take the path out of {path}.", "url")

    def _aks(self, identity: dict[str, t.Any]) -> None:
        """The issuer is written down, or Azure is asked for it: which of two that differ would count?"""
        path = "gateway_auth_workload_identity"
        aks = identity.get("aks")
        if not isinstance(aks, dict):
            return
        if identity.get("issuer"):
            self.report(path, "at most one of issuer and aks", "both", f"Keep one of them in {path}.", "workload-identity")
        self.shape(f"{path}.aks.name", aks.get("name"), _AKS_NAME, "the name of an AKS cluster", "aks")
        self.shape(f"{path}.aks.resource_group", aks.get("resource_group"), _RESOURCE_GROUP, "the name of a resource group", "aks")
        self.guid(f"{path}.aks.subscription_id", aks.get("subscription_id"), "a subscription's id")
        if aks.get("subscription_id") == "":
            self.report(f"{path}.aks.subscription_id", "a subscription's id", "nothing", f"Set {path}.aks.subscription_id.", "required")

    def _registration(self) -> None:
        """An existing registration has an id, and is not ours to assign groups to."""
        if not self.ok("gateway_auth_registration") or self.var("registration") != "existing":
            return
        if not self.var("client_id") and self.ok("gateway_auth_client_id"):
            self.report(
                "gateway_auth_client_id", "the id of the existing app registration", "nothing",
                "Set gateway_auth_client_id at the host's entry in the inventory, or gateway_auth_registration: managed.", "required",
            )  # fmt: skip
        if self.var("group_assignment") == "managed":
            self.report(
                "gateway_auth_group_assignment", "external with an existing registration, which we don't write", "managed",
                "Remove gateway_auth_group_assignment, or set gateway_auth_registration: managed.", "group-assignment",
            )  # fmt: skip

    def _federated(self, graph: dict[str, t.Any]) -> None:
        """oauth2-proxy presents an assertion with provider entra-id alone, and that takes issuers of the public cloud alone."""
        if self.var("credential") != "federated" or not isinstance(graph, dict):
            return
        if any(not self.ok(f"gateway_auth_graph.{key}") for key in graph) or graph.get("cloud") not in CLOUDS:
            return
        authority = GraphEndpoint.for_cloud(graph["cloud"], graph.get("url") or "", graph.get("authority") or "").authority
        if authority != CLOUDS["global"][1]:
            self.report(
                "gateway_auth_credential", "client_secret outside the public cloud, since oauth2-proxy's federated login works there alone",
                f"federated with {authority}", "Set gateway_auth_credential: client_secret.", "federated-cloud",
            )  # fmt: skip

    def _client_secret(self) -> None:
        path = "gateway_auth_client_secret"
        given = self.var("client_secret")
        credential, registration = self.var("credential"), self.var("registration")
        raw = self.given.values.get(path)
        sources = [key for key in ("env", "file", "key_vault", "secret", "value") if isinstance(raw, dict) and raw.get(key) not in (None, "")]
        makes = credential == "client_secret" and registration == "managed"
        if credential == "federated" or (makes and sources != ["key_vault"]):
            if raw is None:
                return
            found = "a source, though there is no secret" if credential == "federated" else "a source, though we make the secret ourselves"
            self.report(
                path, f"nothing{' but key_vault' if makes else ''}, with credential {credential} and registration {registration}", found,
                f"Remove {path}, or set gateway_auth_credential: external.", "secret-source",
            )  # fmt: skip
            return
        if not self.ok(path) or isinstance(given, _spec.Withheld):
            if isinstance(given, _spec.Withheld):
                words = "a mapping with one of env, file, key_vault, secret and value"
                self.report(path, words, "a value that is not shown", f"Write {path}: {{value: …}}.", "type")
            return
        if len(sources) != 1:
            self.report(
                path, "exactly one of env, file, key_vault, secret and value", " and ".join(sources) or "none of them",
                f"Keep one source in {path}." if sources else f"Set {path}.", "secret-source",
            )  # fmt: skip
            return
        given = given or {}
        self.shape(f"{path}.env", given.get("env"), _ENV_NAME, "the name of an environment variable", "secret-source")
        self.absolute(f"{path}.file", given.get("file"))
        self._secret_ref(f"{path}.secret", given.get("secret"))
        vault = given.get("key_vault")
        if isinstance(vault, dict):
            self._base_url(f"{path}.key_vault.url", vault.get("url"), "the secret is named by key_vault.name")
            if vault.get("url") == "":
                self.report(f"{path}.key_vault.url", "the vault's URL", "nothing", f"Set {path}.key_vault.url.", "required")
            self.shape(f"{path}.key_vault.name", vault.get("name"), _VAULT_SECRET, "1 to 127 letters, digits and dashes", "key-vault")

    def _secret_ref(self, path: str, given: t.Any) -> None:
        if not isinstance(given, dict):
            return
        name = self.text(f"{path}.name", given.get("name"))
        if name is not None and not is_domain(name):
            self.report(f"{path}.name", "the name of a Secret", shown(name), f"Change {path}.name.", "dns-label")
        self.shape(f"{path}.key", given.get("key"), _SECRET_KEY, "a key of a Secret", "secret-key")

    def _groups(self, path: str, groups: t.Any) -> None:
        seen: dict[str, int] = {}
        for index, group in enumerate(groups or []):
            if not isinstance(group, dict):
                continue
            where = f"{path}[{index}].id"
            self.guid(where, group.get("id"), "a group's object id")
            text = self.text(where, group.get("id"))
            if not text:
                self._named_group(path, index, group)
                continue
            if text.lower() in seen:
                self.report(where, "each group once", f"{text}, as in {path}[{seen[text.lower()]}]", f"Remove {path}[{index}].", "duplicate-group", WARNING)
            seen.setdefault(text.lower(), index)

    def _named_group(self, path: str, index: int, group: dict[str, t.Any]) -> None:
        """A group without an id: found by name, where we may read Entra."""
        where = f"{path}[{index}].id"
        if not self.ok(where):
            return
        if not (group.get("name") or "").strip():
            self.report(where, "a group's object id, or its name", "neither", f"Set {where}.", "required")
        elif self.var("registration") == "existing" and not self._own_group(path, group):
            self.report(
                where, "a group's object id, for with an existing registration Entra isn't asked for names", "nothing",
                f"Set {where} to the object id of {shown(group['name'])}.", "required",
            )  # fmt: skip

    def _own_group(self, path: str, group: dict[str, t.Any]) -> bool:
        """Whether an app's group is one of the team's by its name."""
        own = self.var("allowed_groups") or []
        return path.startswith("gateway_auth_apps[") and any(
            isinstance(item, dict) and item.get("name") == group.get("name") and item.get("id") for item in own
        )

    def _proxy(self) -> None:
        self._session()
        self._store()
        self.shape("gateway_auth_identity_claim", self.var("identity_claim"), _CLAIM, "the name of a claim", "claim")
        prefix = self.text("gateway_auth_proxy_prefix", self.var("proxy_prefix"))
        if prefix is not None and (not _PREFIX_SHAPE.fullmatch(prefix) or prefix.startswith("/.")):
            self.report(
                "gateway_auth_proxy_prefix",
                "a path such as /oauth2, without a slash at its end",
                shown(prefix),
                "Change gateway_auth_proxy_prefix.",
                "proxy-prefix",
            )
        chart = self.var("chart") or {}
        ref = self.text("gateway_auth_chart.ref", chart.get("ref"))
        if ref is not None and not ref.startswith("oci://"):
            self.absolute("gateway_auth_chart.ref", ref)
        version = self.text("gateway_auth_chart.version", chart.get("version"))
        if version is not None and ref is not None and ref.startswith("oci://"):
            found = _versions.parse(version)
            if found is None or _versions.refused("chart", found):
                floor = _versions.floor("chart")
                self.report(
                    "gateway_auth_chart.version", f"a version, {floor} at least", shown(version), f"Set gateway_auth_chart.version to {floor}.", "chart-version"
                )
        registry = self.text("gateway_auth_image_registry", self.var("image_registry"))
        if registry and not _REGISTRY.fullmatch(registry):
            self.report(
                "gateway_auth_image_registry",
                "a registry such as example.azurecr.io, without a scheme",
                shown(registry),
                "Change gateway_auth_image_registry.",
                "image-registry",
            )
        for index, name in enumerate(self.var("image_pull_secrets") or []):
            path = f"gateway_auth_image_pull_secrets[{index}]"
            text = self.text(path, name)
            if text is not None and not is_domain(text):
                self.report(path, "the name of a Secret", shown(text), f"Change {path}.", "dns-label")
        replicas = self.var("replicas")
        if isinstance(replicas, int) and not 1 <= replicas <= 100:
            self.report("gateway_auth_replicas", "1 to 100 pods", str(replicas), "Change gateway_auth_replicas.", "range")
        for kind, quantities in (self.var("resources") or {}).items():
            for resource, value in (quantities or {}).items():
                path = f"gateway_auth_resources.{kind}.{resource}"
                if isinstance(value, bool) or not isinstance(value, (str, int, float)) or not _QUANTITY.fullmatch(str(value)):
                    self.report(path, "a Kubernetes quantity such as 64Mi", shown(value), f"Change {path}.", "quantity")
        for key, value in (self.var("node_selector") or {}).items():
            if not isinstance(value, str):
                self.report(f"gateway_auth_node_selector.{key}", "a string", shown(value), "Put the value in quotes.", "type")

    def _session(self) -> None:
        session = self.var("session")
        if not isinstance(session, dict):
            return
        seconds: dict[str, float] = {}
        for key in ("expire", "refresh"):
            path = f"gateway_auth_session.{key}"
            text = self.text(path, session.get(key))
            if text is None:
                continue
            found = go_seconds(text)
            if found is None or found <= 0:
                self.report(path, "a Go duration above zero, such as 8h or 1h30m", shown(text), f"Change {path}.", "duration")
            else:
                seconds[key] = found
        refresh = seconds.get("refresh")
        if refresh is None:
            return
        if refresh >= MAX_REFRESH:
            self.report(
                "gateway_auth_session.refresh", "less than 1h, for a token outlives the member's rights until it is refreshed",
                session["refresh"], "Set gateway_auth_session.refresh to 45m.", "session-refresh",
            )  # fmt: skip
        elif "expire" in seconds and refresh >= seconds["expire"]:
            self.report(
                "gateway_auth_session.refresh", f"less than gateway_auth_session.expire ({session['expire']})", session["refresh"],
                "Shorten gateway_auth_session.refresh.", "session-refresh",
            )  # fmt: skip

    def _store(self) -> None:
        path = "gateway_auth_session_store"
        store = self.var("session_store")
        if not isinstance(store, dict) or not self.ok(f"{path}.type"):
            return
        kind = store["type"]
        only = {"url": "external", "secret": "external", "persistence": "bundled", "image": "bundled"}
        for key, needed in only.items():
            if store.get(key) and kind != needed:
                self.report(
                    f"{path}.{key}", f"{key} with type {needed} only", f"type {kind}", f"Remove {path}.{key} or set {path}.type: {needed}.", "session-store"
                )
        if kind == "external":
            if not store.get("url") and self.ok(f"{path}.url"):
                self.report(f"{path}.url", "the URL of the external store", "nothing", f"Set {path}.url.", "session-store")
            if not isinstance(store.get("secret"), dict) and self.ok(f"{path}.secret"):
                self.report(f"{path}.secret", "where the store's password is", "nothing", f"Set {path}.secret: {{name: …, key: …}}.", "session-store")
            self.url(f"{path}.url", store.get("url"), ("redis", "rediss"))
            self._secret_ref(f"{path}.secret", store.get("secret"))
        if store.get("persistence"):
            self.shape(f"{path}.persistence", store["persistence"], _QUANTITY, "a Kubernetes quantity such as 1Gi", "quantity")

    # --- the team's own part --------------------------------------------------------------------------------------------

    def _team(self) -> None:
        groups = self.var("allowed_groups")
        self._groups("gateway_auth_allowed_groups", groups)
        if groups == []:
            self.report(
                "gateway_auth_allowed_groups", "at least one group, for without one everybody in the tenant would be let in", "an empty list",
                "Name a group in gateway_auth_allowed_groups.", "no-groups",
            )  # fmt: skip
        for index, owner in enumerate(self.var("owners") or []):
            path = f"gateway_auth_owners[{index}]"
            text = self.text(path, owner)
            if text is not None and not (_UPN.fullmatch(text) or _GUID.fullmatch(text)):
                self.report(path, "a user principal name or an object id", shown(text), f"Change {path}.", "owner")
        apps = self.var("apps")
        if apps == []:
            self.report("gateway_auth_apps", "at least one app", "an empty list", "Name an app, or take the team away with offboard_team.", "no-apps")
        names: dict[str, int] = {}
        own = {str(group.get(key)).lower() for group in groups or [] if isinstance(group, dict) for key in ("id", "name") if group.get(key)}
        for index, app in enumerate(apps or []):
            if isinstance(app, dict):
                self._app(f"gateway_auth_apps[{index}]", app, own)
                name = self.text(f"gateway_auth_apps[{index}].name", app.get("name"))
                if name in names:
                    self.report(
                        f"gateway_auth_apps[{index}].name", "a name once in the team", f"{shown(name)}, as in gateway_auth_apps[{names[name]}]",
                        f"Rename gateway_auth_apps[{index}].", "duplicate-app",
                    )  # fmt: skip
                elif name is not None:
                    names[name] = index

    def _app(self, path: str, app: dict[str, t.Any], own: set[str]) -> None:
        self.label(f"{path}.name", app.get("name"))
        service = app.get("service")
        if isinstance(service, dict):
            self.label(f"{path}.service.name", service.get("name"), "a Service's name")
            port = service.get("port")
            if isinstance(port, int) and not 1 <= port <= 65535:
                self.report(f"{path}.service.port", "a port from 1 to 65535", str(port), f"Change {path}.service.port.", "service-port")
            self._service_namespace(f"{path}.service.namespace", service.get("namespace"))
        groups = app.get("allowed_groups")
        if groups == []:
            self.report(
                f"{path}.allowed_groups", "at least one group, or no allowed_groups at all for the team's own", "an empty list",
                f"Name a group in {path}.allowed_groups or remove it.", "no-groups",
            )  # fmt: skip
        self._groups(f"{path}.allowed_groups", groups)
        for index, group in enumerate(groups or []):
            where = f"{path}.allowed_groups[{index}].id"
            text = self.text(where, group.get("id") or group.get("name")) if isinstance(group, dict) else None
            if text and own and self.ok("gateway_auth_allowed_groups") and text.lower() not in own:
                self.report(
                    where, "one of the team's own gateway_auth_allowed_groups", shown(text),
                    f"Add {text} to gateway_auth_allowed_groups, or name another group here.", "app-group",
                )  # fmt: skip
        if len(app.get("public_paths") or []) > MAX_MATCHES:
            self.report(
                f"{path}.public_paths", f"at most {MAX_MATCHES} paths", str(len(app["public_paths"])), "Name a common prefix instead.", "public-path",
            )  # fmt: skip
        for index, public in enumerate(app.get("public_paths") or []):
            self._public_path(f"{path}.public_paths[{index}]", public)
        timeout = app.get("timeout")
        if timeout:
            self.shape(f"{path}.timeout", timeout, _GATEWAY_DURATION, "a Gateway API duration such as 30s or 1m30s", "timeout")

    def _service_namespace(self, path: str, value: t.Any) -> None:
        text = self.text(path, value)
        if text is None:
            return
        stack = self.text("gateway_auth_stack", self.var("stack"))
        own = f"{stack}-{self.name}"
        allowed = [own, *(name for name in self.var("service_namespaces") or [] if isinstance(name, str))]
        if stack is not None and text not in allowed:
            self.report(
                path, f"one of {', '.join(allowed)}", shown(text),
                "Remove it, or ask the platform to add the namespace to gateway_auth_service_namespaces.", "service-namespace",
            )  # fmt: skip

    def _public_path(self, path: str, value: t.Any) -> None:
        text = self.text(path, value)
        if text is None:
            return
        if text.strip("/") == "":
            problem = "everything, so that nothing would ask for a login"
        elif not _PATH_SHAPE.fullmatch(text) or "//" in text:
            problem = shown(text)
        elif any(part in (".", "..") for part in text.split("/")):
            problem = f"{shown(text)} with a dot segment"
        elif len(text) > MAX_PATH:
            problem = f"{len(text)} characters, more than {MAX_PATH}"
        else:
            reserved = [str(self.var("proxy_prefix") or "/oauth2"), "/" + PROBE_PATH.split("/")[1]]
            overlapping = [prefix for prefix in reserved if _under(text, prefix) or _under(prefix, text)]
            if not overlapping:
                return
            problem = f"{shown(text)}, which overlaps {overlapping[0]}, a path of our own"
        self.report(
            path, "an absolute path prefix such as /-/healthy, without *, // or .., since it is served to everybody without a login", problem,
            f"Change {path}.", "public-path",
        )  # fmt: skip

    # --- waivers, Helm values ---------------------------------------------------------------------------------------------

    def _waivers_and_helm(self) -> None:
        valid: set[str] = set()
        for index, waiver in enumerate(self.var("waivers") or []):
            path = f"gateway_auth_waivers[{index}]"
            if not isinstance(waiver, dict):
                continue
            for key in ("option", "owner", "reason"):
                if waiver.get(key) is not None and not waiver[key].strip():
                    self.report(f"{path}.{key}", "a text", "an empty one", f"Set {path}.{key}.", "waiver-incomplete")
            if self._waiver_date(f"{path}.expires", waiver.get("expires")) and waiver.get("option"):
                valid.add(helm.waiver_key(waiver["option"]))
        values = self.var("helm_values")
        if not isinstance(values, dict):
            return
        used: set[str] = set()
        for doubt in self._helm_doubts(values):
            path = f"gateway_auth_helm_values.{doubt.path}"
            named = doubt.waivers & valid
            if doubt.waivable and named:
                used |= named
                continue
            remedy = f"{doubt.hint} " if doubt.hint else ""
            remedy += f"Remove {path}, or have the platform waive {doubt.option} in gateway_auth_waivers." if doubt.waivable else f"Remove {path}."
            self.report(path, doubt.expected, doubt.found, remedy, "helm-values" if doubt.waivable else "helm-values-secret")
        for index, waiver in enumerate(self.var("waivers") or []):
            if isinstance(waiver, dict) and waiver.get("option") and helm.waiver_key(waiver["option"]) in valid - used:
                self.report(
                    f"gateway_auth_waivers[{index}].option", "an option that needs a waiver and is used", shown(waiver["option"]),
                    f"Remove gateway_auth_waivers[{index}], or correct its option.", "waiver-unused", WARNING,
                )  # fmt: skip

    def _helm_doubts(self, values: dict[str, t.Any]) -> list[helm.Doubt]:
        """What the user's Helm values change. A team that isn't sound enough to be composed has none of its own to compare with."""
        if not values:
            return []
        if self.team is not None:
            try:
                return helm.judge_team(self.team)
            except (KeyError, TypeError, AttributeError, ValueError):
                if not errors(self.findings):
                    raise
        return helm.judge(values, {}, values, self._own_hosts())

    def _waiver_date(self, path: str, value: t.Any) -> bool:
        text = self.text(path, value)
        if text is None:
            return False
        try:
            expires = datetime.date.fromisoformat(text)
        except ValueError:
            self.report(path, "a day, YYYY-MM-DD", shown(text), f"Change {path}.", "waiver-date")
            return False
        if expires < self.today:
            self.report(path, f"a day that is not past ({self.today.isoformat()} today)", text, "Remove what it waived, or renew the waiver.", "waiver-expired")
            return False
        left = days_left(expires, self.today)
        if left <= SOON_DAYS:
            when = "today" if left == 0 else f"in {left} day{'' if left == 1 else 's'}"
            self.report(
                path, f"a last day more than {SOON_DAYS} days away, for the runs fail after it", f"{text}, {when}",
                "Remove what it waives, or renew the waiver.", "waiver-ends", WARNING,
            )  # fmt: skip
        return True

    def _own_hosts(self) -> set[str]:
        hosts = {self._hostname(app) for app in self.var("apps") or [] if isinstance(app, dict)}
        return {host for host in hosts if host} | {f"{self.var('stack')}-oauth2-{self.name}.{self._zone()}"}

    def _zone(self) -> str:
        """As ``Team.zone``, before there is a team."""
        session = self.var("session")
        inside = isinstance(session, dict) and session.get("scope") == "subzone"
        return f"{self.name}.{self.var('domain')}" if inside else str(self.var("domain"))

    def _hostname(self, app: dict[str, t.Any]) -> str:
        if app.get("hostname"):
            return str(app["hostname"])
        pattern = self.text("gateway_auth_hostname_pattern", self.var("hostname_pattern"))
        needed = {"app": app.get("name"), "team": self.name, "stack": self.var("stack"), "environment": self.var("environment"), "domain": self.var("domain")}
        if pattern is None or not all(isinstance(value, str) for value in needed.values()):
            return ""
        return pattern.format(**needed)

    # --- the model, and what only shows in it ---------------------------------------------------------------------------

    def _compose(self) -> None:
        """Build the model from whatever is sound enough, and judge what is composed in it."""
        needed = ("environment", "stack", "domain", "hostname_pattern", "tenant_id", "cluster", "trusted_proxy_cidrs", "allowed_groups", "apps")
        if any(self.var(name) is None for name in needed):
            return
        apps = [
            (index, app)
            for index, app in enumerate(self.var("apps"))
            if isinstance(app, dict) and app.get("name") and self.ok(f"gateway_auth_apps[{index}].name")
        ]
        try:
            team = self._model([app for _index, app in apps])
        except (KeyError, TypeError, AttributeError):
            if not errors(self.findings):
                raise
            return  # something above was wrong
        self._names(team, [index for index, _app in apps])
        self._hostnames(team, list(apps))
        self._redirect_uris(team)
        self.team = team

    def _model(self, apps: list[dict[str, t.Any]]) -> Team:
        var = self.var
        cluster, probe, store, graph = var("cluster"), var("probe"), var("session_store"), var("graph")
        endpoint = GraphEndpoint.for_cloud(graph["cloud"], graph["url"], graph["authority"])
        namespace = f"{var('stack')}-{self.name}"
        return Team(
            name=self.name,
            environment=var("environment"),
            stack=var("stack"),
            domain=var("domain"),
            tenant_id=var("tenant_id").lower(),
            client_id=(var("client_id") or "").lower(),
            cluster=ClusterRef(kubeconfig=_file(cluster["kubeconfig"]), context=cluster["context"], uid=cluster["uid"].lower()),
            gateway=GatewayRef(**var("gateway")),
            probe=Probe(address=probe["address"], proxy=probe["proxy"], ca_file=_file(probe["ca_file"])),
            chart=Chart(ref=self.chart or _chart_ref(var("chart")["ref"]), version=var("chart")["version"]),
            allowed_groups=_group_tuple(var("allowed_groups")),
            apps=tuple(
                App(
                    name=app["name"],
                    hostname=self._hostname(app),
                    service=Service(app["service"]["name"], app["service"]["port"], app["service"].get("namespace") or namespace),
                    allowed_groups=_group_tuple(app.get("allowed_groups") or [], var("allowed_groups")),
                    public_paths=tuple(app.get("public_paths") or ()),
                    timeout=app.get("timeout") or "",
                )
                for app in apps
            ),
            trusted_proxy_cidrs=tuple(var("trusted_proxy_cidrs")),
            admin_groups=_group_tuple(var("admin_groups")),
            admin_access=var("admin_access"),
            client_secret=_secret_source(var("client_secret")),
            registration=var("registration"),
            credential=var("credential"),
            redirect_uris_registered=var("redirect_uris_registered"),
            authority=endpoint.authority,
            graph=GraphRef(url=endpoint.graph, proxy=graph["proxy"], ca_file=_file(graph["ca_file"])),
            groups_claim=var("groups_claim"),
            group_assignment=var("group_assignment"),
            workload_identity=_workload_identity(var("workload_identity")),
            rotate_after=var("rotate_after"),
            quarantine=var("quarantine"),
            deletion_protection=var("deletion_protection"),
            session=Session(**var("session")),
            session_store=SessionStore(
                type=store["type"],
                url=store["url"],
                secret=SecretKeyRef(**store["secret"]) if store.get("secret") else None,
                persistence=store["persistence"],
                image=store["image"],
            ),
            identity_claim=var("identity_claim"),
            proxy_prefix=var("proxy_prefix"),
            image_registry=var("image_registry"),
            image_pull_secrets=tuple(var("image_pull_secrets")),
            replicas=var("replicas"),
            resources=var("resources"),
            node_selector=var("node_selector"),
            tolerations=tuple({key: value for key, value in item.items() if value is not None} for item in var("tolerations")),
            metrics=var("metrics"),
            network_policies=var("network_policies"),
            helm_values=var("helm_values"),
            waivers=tuple(Waiver(**item) for item in var("waivers")),
            owners=tuple(var("owners")),
            notes=var("notes"),
        )

    def _names(self, team: Team, indexes: list[int]) -> None:
        whole = [
            ("namespace", team.namespace, MAX_LABEL),
            ("Helm release", team.release, MAX_RELEASE),
            ("Service of the session store", team.store_name, MAX_LABEL),
            ("Secret", team.proxy_secret, MAX_SUBDOMAIN),
            ("Secret", team.store_secret, MAX_SUBDOMAIN),
        ]
        for kind, name, limit in whole:
            if len(name) > limit and self.ok("gateway_auth_stack"):
                self._too_long("gateway_auth_stack", kind, name, limit, "Shorten gateway_auth_stack or the host's name in the inventory.")
        routes: dict[str, str] = {team.release: "the proxy's own route"}
        for index, app in zip(indexes, team.apps, strict=True):
            path = f"gateway_auth_apps[{index}].name"
            for kind, name in (("HTTPRoute", team.route_name(app)), ("HTTPRoute", team.passthrough_name(app)), ("SecurityPolicy", team.policy_name(app))):
                if len(name) > MAX_SUBDOMAIN:
                    self._too_long(path, kind, name, MAX_SUBDOMAIN, f"Shorten {path}.")
                if kind != "HTTPRoute" or not self.ok(path):
                    continue
                if name in routes:
                    self.report(path, "a name whose routes no other object has", f"HTTPRoute {name}, which is {routes[name]}", f"Change {path}.", "object-name")
                else:
                    routes[name] = f"app {app.name!r}'s"

    def _too_long(self, path: str, kind: str, name: str, limit: int, remedy: str) -> None:
        self.report(path, f"a {kind} name of at most {limit} characters", f"{name} ({len(name)})", remedy, "name-length")

    def _hostnames(self, team: Team, apps: list[tuple[int, dict[str, t.Any]]]) -> None:
        for (index, raw), app in zip(apps, team.apps, strict=True):
            path = f"gateway_auth_apps[{index}].{'hostname' if raw.get('hostname') else 'name'}"
            if app.hostname and self.ok(path) and self._host_fits(path, app.hostname, team.zone):
                self.hosts.append((app.hostname, path))
        if self.ok("gateway_auth_stack") and self._host_fits("gateway_auth_stack", team.proxy_host, team.zone):
            self.hosts.append((team.proxy_host, "gateway_auth_stack"))

    def _host_fits(self, path: str, host: str, domain: str) -> bool:
        if not self.ok("gateway_auth_domain"):
            return False
        label = host.removesuffix(f".{domain}")
        if label == host or not is_label(label) or len(host) > MAX_SUBDOMAIN:
            if not path.endswith(".hostname") and label != host and (len(label) > MAX_LABEL or len(host) > MAX_SUBDOMAIN):
                self._too_long(
                    path, "host", host, MAX_LABEL if len(label) > MAX_LABEL else MAX_SUBDOMAIN, f"Shorten {path} or the host's name in the inventory."
                )
            else:
                self.report(
                    path, f"one DNS label of at most {MAX_LABEL} characters below {domain}, so that the wildcard certificate covers the host", shown(host),
                    f"Change {path}{'' if path.endswith('.hostname') else ' or gateway_auth_hostname_pattern'}.", "hostname",
                )  # fmt: skip
            return False
        return True

    def _redirect_uris(self, team: Team) -> None:
        for uri in team.redirect_uris:
            if len(uri) > MAX_REDIRECT_URI:
                self.report(
                    "gateway_auth_apps",
                    f"redirect URIs of at most {MAX_REDIRECT_URI} characters",
                    f"{uri} ({len(uri)})",
                    "Shorten the host name.",
                    "redirect-uri-length",
                )


# --- rules over all teams -----------------------------------------------------------------------------------------------------


def _across(judged: list[_Judge]) -> None:
    _hosts_once(judged)
    _subzones(judged)
    _namespaces_once(judged)
    _grants_once(judged)
    _registrations(judged)
    _isolation_rules(judged)


def _isolation_rules(judged: list[_Judge]) -> None:
    by_name = {judge.name: judge for judge in judged}
    given = []
    for judge in judged:
        if judge.team is not None and not errors(judge.findings):
            place = judge.given.place("gateway_auth_client_secret.value")
            given.append(_isolation.Given(judge.team, judge.var("allowed_groups") or (), str(place) if place.line else ""))
    for shared in _isolation.lint(given):
        by_name[shared.team].report(shared.path, shared.expected, shared.found, shared.remedy, shared.rule, WARNING)


def _hosts_once(judged: list[_Judge]) -> None:
    claims: dict[str, list[tuple[_Judge, str]]] = collections.defaultdict(list)
    for judge in judged:
        for host, path in judge.hosts:
            claims[host].append((judge, path))
    for host, claimants in claims.items():
        if len(claimants) < 2:
            continue
        for position, (judge, path) in enumerate(claimants):
            other, other_path = claimants[1 if position == 0 else 0]
            what = f"{host}, also the host of {other_path} of team '{other.name}' ({other.given.place(other_path)})"
            judge.report(path, "a host that no other app and no proxy has", what, f"Change {path}.", "hostname-taken")


def _subzones(judged: list[_Judge]) -> None:
    """A cookie of a team's subzone goes to every host in it, so nobody else has one there."""
    owners = {judge.team.subzone: judge for judge in judged if judge.team is not None and judge.team.cookie_domain}
    for judge in judged if owners else ():
        for host, path in judge.hosts:
            for zone in (host, *(host[position + 1 :] for position, letter in enumerate(host) if letter == ".")):
                owner = owners.get(zone)
                if owner is not None and owner is not judge:
                    judge.report(
                        path, f"a host outside {zone}, where the sessions of team '{owner.name}' are valid", host,
                        f"Change {path}, or gateway_auth_session.scope of {owner.name}.", "subzone",
                    )  # fmt: skip


def _namespaces_once(judged: list[_Judge]) -> None:
    claims: dict[str, list[_Judge]] = collections.defaultdict(list)
    for judge in judged:
        if judge.team is not None:
            claims[judge.team.namespace].append(judge)
    for namespace, claimants in claims.items():
        for judge in claimants if len(claimants) > 1 else ():
            other = next(candidate for candidate in claimants if candidate is not judge)
            judge.report(
                "gateway_auth_stack", "a namespace that no other team has", f"{namespace}, also that of team '{other.name}'",
                "Change gateway_auth_stack or the host's name.", "namespace-taken",
            )  # fmt: skip


def _grants_once(judged: list[_Judge]) -> None:
    """Grants of several teams may stand in one namespace; `team-a` with app `b-c` and `team-a-b` with app `c` give one name."""
    claims: dict[tuple[str, str], list[tuple[_Judge, str]]] = collections.defaultdict(list)
    for judge in judged:
        for app in judge.team.apps if judge.team is not None else ():
            if judge.team is not None and needs_grant(judge.team, app):
                claims[app.service.namespace, grant_name(judge.team, app)].append((judge, app.name))
    for (namespace, name), claimants in claims.items():
        for judge, app_name in claimants if len({judge.name for judge, _app in claimants}) > 1 else ():
            other = next(candidate for candidate, _app in claimants if candidate is not judge)
            index = next(index for index, app in enumerate(judge.var("apps")) if isinstance(app, dict) and app.get("name") == app_name)
            judge.report(
                f"gateway_auth_apps[{index}].name", "a name whose ReferenceGrant no other team has", f"{namespace}/{name}, also that of team '{other.name}'",
                f"Change gateway_auth_apps[{index}].name.", "object-name",
            )  # fmt: skip


def _registrations(judged: list[_Judge]) -> None:
    """Teams that share an app registration: allowed, said, and counted together."""
    by_client: dict[str, list[_Judge]] = collections.defaultdict(list)
    for judge in judged:
        if judge.team is not None and judge.team.client_id and judge.ok("gateway_auth_client_id"):
            by_client[judge.team.client_id].append(judge)
    for client_id, sharing in by_client.items():
        names = [judge.name for judge in sharing]
        listed = _isolation.listed(names)
        uris = sum(len(judge.team.redirect_uris) for judge in sharing if judge.team is not None)
        for judge in sharing:
            if uris > MAX_REDIRECT_URIS:
                judge.report(
                    "gateway_auth_client_id", f"at most {MAX_REDIRECT_URIS} redirect URIs at one app registration", f"{uris} (of {listed})",
                    "Give some of the teams, or some of the apps, a registration of their own.", "redirect-uri-count",
                )  # fmt: skip
            if len(sharing) > 1:
                if judge.team is not None:
                    judge.team = dataclasses.replace(judge.team, shared_registration=True)
                judge.report(
                    "gateway_auth_client_id", "one app registration for each team", f"{client_id}, shared by {listed}, so that groups alone separate them",
                    "Give each team a registration of its own, or accept this.", "shared-registration", WARNING,
                )  # fmt: skip


# --- shapes -------------------------------------------------------------------------------------------------------------------


def is_label(text: str) -> bool:
    return len(text) <= MAX_LABEL and bool(_LABEL.fullmatch(text))


def is_domain(text: str) -> bool:
    return len(text) <= MAX_SUBDOMAIN and all(is_label(label) for label in text.split("."))


def go_seconds(text: str) -> float | None:
    """Seconds of a Go duration; None if it isn't one."""
    parts = _GO_DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _under(path: str, prefix: str) -> bool:
    path, prefix = path.rstrip("/").lower(), prefix.rstrip("/").lower()
    return path == prefix or path.startswith(f"{prefix}/")


def _file(text: str) -> str:
    return os.path.normpath(os.path.expanduser(text)) if text else ""


def _chart_ref(ref: str) -> str:
    return ref if ref.startswith("oci://") else _file(ref)


def _group_tuple(groups: collections.abc.Iterable[t.Mapping[str, str]], known: collections.abc.Iterable[t.Mapping[str, str]] = ()) -> tuple[Group, ...]:
    """Groups without repeats; one that is only named takes the id that ``known`` has for the name."""
    ids = {str(group.get("name")): str(group["id"]) for group in known if group.get("id")}
    found = [Group((group.get("id") or ids.get(str(group.get("name")), "")).lower(), group.get("name") or "") for group in groups]
    by_key = {group.id or f"name {group.name}": group for group in reversed(found)}
    return tuple(reversed(by_key.values()))


def _secret_source(given: t.Any) -> SecretSource | None:
    if not isinstance(given, dict):
        return None
    if given.get("env"):
        return SecretSource("env", given["env"])
    if given.get("file"):
        return SecretSource("file", _file(given["file"]))
    if isinstance(given.get("secret"), dict):
        return SecretSource("secret", given["secret"]["name"], given["secret"]["key"])
    if isinstance(given.get("key_vault"), dict):
        return SecretSource("key_vault", given["key_vault"]["name"], url=given["key_vault"]["url"].rstrip("/"))
    return SecretSource("value") if given.get("value") is not None else None


def _workload_identity(given: t.Mapping[str, t.Any]) -> WorkloadIdentity:
    aks = given.get("aks")
    found = AksRef(aks["name"], aks["resource_group"], aks["subscription_id"].lower()) if isinstance(aks, dict) else None
    return WorkloadIdentity(given["issuer"], found)
