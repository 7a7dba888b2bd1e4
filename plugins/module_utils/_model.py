# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The compiled team model: what every phase after validation works from.

It holds no secret, only where a secret comes from. ``Team.to_dict`` gives plain JSON-able data (what Ansible passes from
task to task and what the filters take); ``Team.from_dict`` is its inverse. Every name of an object we make is a property
here and is formed nowhere else.
"""

from __future__ import annotations

import dataclasses
import datetime
import types
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import UnresolvedError

# By the scope of a session. Browsers take a `__Host-` cookie only without a Domain.
COOKIE_PREFIXES = {"host": "__Host-o2p-", "subzone": "__Secure-o2p-"}
OWNER_LABEL_PREFIX = "gateway-auth/"
FIELD_MANAGER = "gateway-auth"
# Whose an object is, and which app's; part of the mark (`Team.owner_labels`).
TEAM_LABEL = f"{OWNER_LABEL_PREFIX}team"
APP_LABEL = f"{OWNER_LABEL_PREFIX}app"
PROBE_PATH = "/.gateway-auth/probe"
PROBE_RULE = "probe"
SIGN_OUT_PATH = "/.gateway-auth/sign-out"
# On a ConfigMap: it says what a team has on a Gateway (`_admission`). On a SecurityPolicy: it may be changed or deleted by hand.
CLAIM_LABEL = f"{OWNER_LABEL_PREFIX}claim"
REMOVAL_ANNOTATION = f"{OWNER_LABEL_PREFIX}remove"
# On an app's route: since when (RFC 3339) it leads to a page that says the app is out of service.
QUARANTINE_ANNOTATION = f"{OWNER_LABEL_PREFIX}quarantined-since"
# The audience of a token that Entra takes as a client's proof (workload identity federation).
TOKEN_EXCHANGE = "api://AzureADTokenExchange"  # noqa: S105 - an audience


@dataclasses.dataclass(frozen=True)
class Group:
    """An Entra group: object id (GUID, what authorizes) and a name for humans.

    ``id`` is empty when the inventory gives a name alone; the registration's phase finds the id once (``Team.resolved``).
    """

    id: str
    name: str = ""


@dataclasses.dataclass(frozen=True)
class GraphRef:
    """How Microsoft Graph and the sign-in service are reached: base URL, and a proxy and a private CA where there is one."""

    url: str = "https://graph.microsoft.com"
    proxy: str = ""
    ca_file: str = ""


@dataclasses.dataclass(frozen=True)
class AksRef:
    """An AKS cluster as Azure Resource Manager knows it."""

    name: str
    resource_group: str
    subscription_id: str


@dataclasses.dataclass(frozen=True)
class WorkloadIdentity:
    """Who issues the tokens of the proxy's service account: ``issuer``, to the letter; else Azure is asked for that of ``aks``;
    else the cluster is.
    """

    issuer: str = ""
    aks: AksRef | None = None


@dataclasses.dataclass(frozen=True)
class ClusterRef:
    """Which cluster: kubeconfig path and context, and the UID of namespace kube-system. Empty = not given."""

    kubeconfig: str = ""
    context: str = ""
    uid: str = ""


@dataclasses.dataclass(frozen=True)
class GatewayRef:
    """The Envoy Gateway ``Gateway`` all routes attach to, its two listeners' names, and whether the API server guards hosts and policies."""

    name: str = "main"
    namespace: str = "gateway-envoy"
    https_listener: str = "https"
    http_listener: str = "http"
    admission_policy: bool = True


@dataclasses.dataclass(frozen=True)
class Probe:
    """How the gateway is reached from outside: an address, or an HTTP CONNECT proxy URL; ca_file trusts a private CA."""

    address: str = ""
    proxy: str = ""
    ca_file: str = ""


@dataclasses.dataclass(frozen=True)
class SecretSource:
    """Where the client secret comes from; exactly one kind is set.

    ``kind`` is ``env`` (``name``: the variable), ``file`` (``name``: the path), ``secret`` (``name``/``key`` of a Secret in
    the team's namespace that somebody else manages; only read), ``key_vault`` (secret ``name`` of the Azure Key Vault at
    ``url``; one that we make is written there instead) or ``value`` (the vaulted variable itself, read at the moment of use
    and never stored here).
    """

    kind: str
    name: str = ""
    key: str = ""
    url: str = ""


@dataclasses.dataclass(frozen=True)
class SecretKeyRef:
    """A key of a Secret in the team's namespace."""

    name: str
    key: str


@dataclasses.dataclass(frozen=True)
class Session:
    """Go durations: a session ends after ``expire``; group membership is checked anew every ``refresh``.

    ``scope``: ``host``, each app's host has a cookie of its own; ``subzone``, one cookie for every host of the team's subzone.
    """

    expire: str = "8h"
    refresh: str = "45m"
    scope: str = "host"


@dataclasses.dataclass(frozen=True)
class SessionStore:
    """``bundled``: a Valkey in the same release; ``external``: ``url`` (redis:// or rediss://) with its password in
    ``secret``; ``cookie``: no store. ``persistence`` is the size of a volume for the bundled store (``1Gi``), empty = none.
    """

    type: str = "bundled"
    url: str = ""
    secret: SecretKeyRef | None = None
    persistence: str = ""
    image: str = ""


@dataclasses.dataclass(frozen=True)
class Chart:
    """The oauth2-proxy chart: OCI reference, or path of a folder or .tgz (then ``version`` is not used)."""

    ref: str
    version: str


@dataclasses.dataclass(frozen=True)
class Waiver:
    """A named, owned, dated exception from a guarantee."""

    option: str
    owner: str
    reason: str
    expires: str


@dataclasses.dataclass(frozen=True)
class Service:
    """A Kubernetes Service port."""

    name: str
    port: int
    namespace: str


@dataclasses.dataclass(frozen=True)
class App:
    """One app of a team. ``allowed_groups`` is empty when the team's own groups apply."""

    name: str
    hostname: str
    service: Service
    allowed_groups: tuple[Group, ...] = ()
    public_paths: tuple[str, ...] = ()
    timeout: str = ""


@dataclasses.dataclass(frozen=True)
class Team:
    """Everything the compile, plan and apply steps need to know of one team."""

    name: str  # the inventory host, `team-a`
    environment: str
    stack: str
    domain: str
    tenant_id: str
    client_id: str
    cluster: ClusterRef
    gateway: GatewayRef
    probe: Probe
    chart: Chart
    allowed_groups: tuple[Group, ...]
    apps: tuple[App, ...]
    trusted_proxy_cidrs: tuple[str, ...]
    admin_groups: tuple[Group, ...] = ()
    admin_access: str = "all"
    client_secret: SecretSource | None = None
    registration: str = "managed"
    shared_registration: bool = False  # other teams of the inventory name the same client id
    credential: str = "client_secret"
    redirect_uris_registered: bool = False
    authority: str = "https://login.microsoftonline.com"
    graph: GraphRef = GraphRef()
    groups_claim: str = "security"
    group_assignment: str = "external"
    workload_identity: WorkloadIdentity = WorkloadIdentity()
    rotate_after: str = "90d"
    quarantine: str = "0d"
    deletion_protection: bool = False
    quarantined_since: str = ""  # RFC 3339; of the cluster, never of the inventory: the team is being offboarded
    group_ids: dict[str, str] = dataclasses.field(default_factory=dict)  # of groups that the inventory only names, once found
    session: Session = Session()
    session_store: SessionStore = SessionStore()
    identity_claim: str = "email"
    proxy_prefix: str = "/oauth2"
    image_registry: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    replicas: int = 2
    resources: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    node_selector: dict[str, str] = dataclasses.field(default_factory=dict)
    tolerations: tuple[dict[str, t.Any], ...] = ()
    metrics: bool = True
    network_policies: bool = True
    helm_values: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    waivers: tuple[Waiver, ...] = ()
    owners: tuple[str, ...] = ()
    notes: str = ""

    # --- identity -----------------------------------------------------------------------------------------------------
    @property
    def id(self) -> str:
        """``a`` of ``team-a``: what ``-e team=`` takes."""
        return self.name.removeprefix("team-")

    # --- names (DESIGN 3.2; those of the guide, so that a hand-made installation can be taken over in place) -------------
    @property
    def namespace(self) -> str:
        return f"{self.stack}-{self.name}"

    @property
    def release(self) -> str:
        """Name of the Helm release, of the proxy's Deployment and of its Service."""
        return f"{self.stack}-oauth2-proxy-{self.name}"

    @property
    def store_name(self) -> str:
        """Name of the bundled session store's Deployment and Service."""
        return f"{self.release}-store"

    @property
    def authz_service(self) -> str:
        """Name of the Service that Envoy asks: the proxy's pods, and a place that never answers (``authz_objects``)."""
        return f"{self.release}-authz"

    @property
    def proxy_host(self) -> str:
        return f"{self.stack}-oauth2-{self.name}.{self.zone}"

    @property
    def subzone(self) -> str:
        """What a team owns below the domain where its sessions are valid on all of it."""
        return f"{self.name}.{self.domain}"

    @property
    def zone(self) -> str:
        """The domain that each of the team's hosts is one label below."""
        return self.subzone if self.session.scope == "subzone" else self.domain

    @property
    def proxy_secret(self) -> str:
        return f"oauth2-proxy-{self.name}"

    @property
    def store_secret(self) -> str:
        return f"oauth2-proxy-redis-{self.name}"

    @property
    def cookie_name(self) -> str:
        """Host-only by the ``__Host-`` prefix, so no other team's host ever receives it; `__Secure-` where it has a domain."""
        return f"{COOKIE_PREFIXES[self.session.scope]}{self.name}"

    @property
    def cookie_domain(self) -> str:
        """The cookie's Domain, or empty for a host-only one. Nobody else has a host below it (rule `subzone`)."""
        return self.subzone if self.session.scope == "subzone" else ""

    def route_name(self, app: App) -> str:
        return f"{app.name}-{self.name}"

    def passthrough_name(self, app: App) -> str:
        return f"{app.name}-passthrough-oauth-{self.name}"

    def public_name(self, app: App) -> str:
        """Ends in no team's name, so it can't be the route of another app."""
        return f"{self.route_name(app)}-public"

    def quarantine_name(self, app: App) -> str:
        """Of the page in the place of an app that is out of service."""
        return f"{self.route_name(app)}-quarantine"

    def policy_name(self, app: App) -> str:
        return f"oauth2-{app.name}-{self.name}"

    @property
    def claim_name(self) -> str:
        """Name of the ConfigMap in the Gateway's namespace that says what the team has there. A namespace is one team's."""
        return f"gateway-auth-claim-{self.namespace}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host of the team: of each app, and the proxy's own."""
        return (*(app.hostname for app in self.apps), self.proxy_host)

    @property
    def routes(self) -> tuple[str, ...]:
        """Every HTTPRoute of the team that leads from the gateway: ours, and the one that the chart makes for the proxy's own host."""
        ours = [name(app) for app in self.apps for name in (self.route_name, self.passthrough_name)]
        return (*ours, *(self.public_name(app) for app in self.apps if app.public_paths), self.release)

    # --- Entra ---------------------------------------------------------------------------------------------------------
    @property
    def unique_name(self) -> str:
        """The registration's ``uniqueName``, which no two can have; also the tag and the name of its credentials."""
        return f"gateway-auth.{self.environment}.{self.stack}.{self.name}"

    @property
    def registration_name(self) -> str:
        """The registration's display name, for people in the portal and on the consent page."""
        return f"{self.stack} {self.name} ({self.environment})"

    @property
    def service_account(self) -> str:
        """The proxy's service account: the chart names it as the release."""
        return self.release

    @property
    def workload_subject(self) -> str:
        """Who the federated credential trusts."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"

    @property
    def logout_url(self) -> str:
        return f"https://{self.proxy_host}{self.proxy_prefix}/sign_out"

    @property
    def entra_logout_url(self) -> str:
        """Where a browser's session at Entra itself ends."""
        return f"{self.authority}/{self.tenant_id}/oauth2/v2.0/logout"

    @property
    def makes_secret(self) -> bool:
        """Whether we add the client secret to the registration ourselves."""
        return self.registration == "managed" and self.credential == "client_secret"

    @property
    def reads_key_vault(self) -> bool:
        """Whether the client secret is read from Azure Key Vault."""
        return self.client_secret is not None and self.client_secret.kind == "key_vault" and self.credential != "federated" and not self.makes_secret

    @property
    def writes_key_vault(self) -> bool:
        """Whether the client secret that we make is stored in Azure Key Vault as well."""
        return self.client_secret is not None and self.client_secret.kind == "key_vault" and self.makes_secret

    @property
    def asks_aks(self) -> bool:
        """Whether Azure is asked for the cluster's OIDC issuer."""
        return self.credential == "federated" and self.workload_identity.aks is not None and not self.workload_identity.issuer

    @property
    def all_groups(self) -> tuple[Group, ...]:
        """Every group the team's model names, without repeats."""
        return tuple(dict.fromkeys([*self.allowed_groups, *self.admin_groups, *(group for app in self.apps for group in app.allowed_groups)]))

    @property
    def named_groups(self) -> tuple[str, ...]:
        """Names of groups whose id is still to be found."""
        return tuple(group.name for group in self.all_groups if not group.id)

    def resolved(self, client_id: str, group_ids: t.Mapping[str, str]) -> Team:
        """The same team with what only Entra knows: the client id, and the ids of groups that the inventory names."""

        def known(groups: tuple[Group, ...]) -> tuple[Group, ...]:
            return tuple(group if group.id else dataclasses.replace(group, id=group_ids.get(group.name, "")) for group in groups)

        found = {name: group_ids[name] for name in self.named_groups if name in group_ids}
        return dataclasses.replace(
            self,
            client_id=client_id or self.client_id,
            group_ids={**self.group_ids, **found},
            allowed_groups=known(self.allowed_groups),
            admin_groups=known(self.admin_groups),
            apps=tuple(dataclasses.replace(app, allowed_groups=known(app.allowed_groups)) for app in self.apps),
        )

    # --- derived facts ---------------------------------------------------------------------------------------------------
    @property
    def issuer(self) -> str:
        return f"{self.authority}/{self.tenant_id}/v2.0"

    @property
    def redirect_uris(self) -> tuple[str, ...]:
        """Every callback that must be registered in Entra: one for each app host, and the proxy host's."""
        return tuple(self.redirect_uri(host) for host in self.hosts)

    def redirect_uri(self, host: str) -> str:
        """Where Entra sends the browser back to on one host."""
        return f"https://{host}{self.proxy_prefix}/callback"

    @property
    def proxy_groups(self) -> tuple[str, ...]:
        """Group ids that may hold a session at the team's proxy: the team's and the admins', without repeats."""
        return _ids((*self.allowed_groups, *self.admin_groups))

    def app_groups(self, app: App) -> tuple[str, ...]:
        """Group ids of an app that is narrower than its team (admins included where they enter all); empty otherwise."""
        if not app.allowed_groups:
            return ()
        admins = self.admin_groups if self.admin_access == "all" else ()
        return _ids((*app.allowed_groups, *admins))

    @property
    def has_store_password(self) -> bool:
        return self.session_store.type == "bundled"

    @property
    def labels(self) -> dict[str, str]:
        """Whose object this is. What we apply ourselves carries ``managed`` as well (``owner_labels``)."""
        return {
            f"{OWNER_LABEL_PREFIX}environment": self.environment,
            f"{OWNER_LABEL_PREFIX}stack": self.stack,
            TEAM_LABEL: self.name,
        }

    def owner_labels(self, app: App | None = None) -> dict[str, str]:
        """The mark of an object that we apply and may prune."""
        mark = {f"{OWNER_LABEL_PREFIX}managed": "true", **self.labels}
        if app is not None:
            mark[APP_LABEL] = app.name
        return mark

    # --- to and from plain data ------------------------------------------------------------------------------------------
    def to_dict(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", _plain(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Team:
        """Inverse of ``to_dict``. Raises TypeError on a missing or unknown key."""
        return t.cast("Team", _build(cls, data))


def span(text: str) -> datetime.timedelta:
    """A number of days or weeks (``90d``, ``12w``), as ``gateway_auth_rotate_after`` and ``gateway_auth_quarantine`` give it."""
    number, unit = int(text[:-1]), text[-1]
    return datetime.timedelta(days=number * (7 if unit == "w" else 1))


def _ids(groups: t.Iterable[Group]) -> tuple[str, ...]:
    """Ids without repeats. A group without one must never be left out: an empty list would let everybody in."""
    found = list(groups)
    for group in found:
        if not group.id:
            raise UnresolvedError(
                f"Group '{group.name}' has no id, and Entra wasn't asked for it.",
                f"Write its object id beside the name ({{id: …, name: {group.name}}}), or onboard the team first.",
            )
    return tuple(dict.fromkeys(group.id for group in found))


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _build(kind: t.Any, value: t.Any) -> t.Any:
    """Build ``kind`` (a dataclass, a tuple of one, an optional one, or plain data) from JSON-able data."""
    origin = t.get_origin(kind)
    if origin in (t.Union, types.UnionType):
        if value is None:
            return None
        return _build(next(arg for arg in t.get_args(kind) if arg is not type(None)), value)
    if origin is tuple:
        return tuple(_build(t.get_args(kind)[0], item) for item in value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        unknown = set(value) - set(hints)
        if unknown:
            raise TypeError(f"{kind.__name__} has no field {min(unknown)!r}")
        return kind(**{str(key): _build(hints[key], item) for key, item in value.items()})
    # Values that come through Ansible are tagged subclasses of str/int/dict; plain ones are what json and yaml take.
    if isinstance(value, str):
        return "".join(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, t.Mapping):
        return {"".join(key): _build(t.Any, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_build(t.Any, item) for item in value]
    return value


_HINTS: dict[type, dict[str, t.Any]] = {}


def _hints(kind: type) -> dict[str, t.Any]:
    if kind not in _HINTS:
        _HINTS[kind] = t.get_type_hints(kind)
    return _HINTS[kind]
