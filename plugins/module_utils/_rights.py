# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the identity that runs the playbooks may have to do in the cluster, and why: the one list of it (pure).

Preflight asks for these rights before the first write, the filter ``rbac_manifests`` writes Roles from them, docs/rbac.md takes its
tables from them. A new row is all that a new kind of object needs. tests/e2e/test_rights.py runs the playbooks with exactly these
rights, and with each one of them missing; a row whose use no run of it shows says in ``rare`` when it is used.

Server-side apply is the verb ``patch``, and ``create`` as well where the object isn't there yet.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._admission import ADMISSION_VERSION, BINDING_KIND, POLICY_KIND
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import resource_of
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team, span

Object = dict[str, t.Any]

# Where a right is needed.
CLUSTER = "cluster"  # objects without a namespace, or in all namespaces
SYSTEM = "kube-system"
GATEWAY = "gateway"  # the namespace of the Gateway
TEAM = "team"  # each team's namespace
BACKEND = "backend"  # namespaces besides the team's own in which its apps live (gateway_auth_service_namespaces)
PLACES: t.Final[dict[str, str]] = {
    TEAM: "each team's namespace",
    GATEWAY: "the Gateway's namespace",
    SYSTEM: "namespace kube-system",
    BACKEND: "other namespaces with a team's apps (`gateway_auth_service_namespaces`)",
    CLUSTER: "the whole cluster",
}

# What it is needed for. `remove` is the part of onboarding that takes away what left the inventory; it is asked for with the rest, since
# who can open a door must be able to shut it.
VERIFY, PREPARE, ONBOARD, REMOVE, ROTATE, OFFBOARD = ("verify", "prepare", "onboard", "remove", "rotate", "offboard")
PHASES = (VERIFY, PREPARE, ONBOARD, ROTATE, OFFBOARD)
_ALL = PHASES
_KEEPS = (ONBOARD, OFFBOARD)  # whoever opens doors, and whoever shuts them for good
_WRITES = (ONBOARD, ROTATE)
_TEAM_S = (VERIFY, ONBOARD, ROTATE)  # onboarding and rotation end with the checks of verify_team

VERBS = ("get", "list", "create", "patch", "update", "delete")

# Rights that only some inventories need: what the inventory says then.
WHEN: t.Final[dict[str, tuple[str, collections.abc.Callable[[Team], bool]]]] = {
    "": ("", lambda _team: True),
    "uid": ("`gateway_auth_cluster.uid` is set", lambda team: bool(team.cluster.uid)),
    "persistence": ("`gateway_auth_session_store.persistence` is set", lambda team: bool(team.session_store.persistence)),
    "makes_secret": ("client secrets are made by `onboard_team`", lambda team: team.makes_secret),
    "admission": ("`gateway_auth_gateway.admission_policy` is on", lambda team: team.gateway.admission_policy),
    "quarantine": ("`gateway_auth_quarantine` isn't `0d`", lambda team: bool(span(team.quarantine))),
    "federated": ("`gateway_auth_credential` is `federated`", lambda team: team.credential == "federated"),
}


@dataclasses.dataclass(frozen=True)
class Right:
    """Verbs on a kind of object in one place.

    ``without`` says what happens where it isn't granted; "" means that a phase which needs it ends before its first write. ``when`` is a
    key of ``WHEN``. ``names`` are the only objects it is about. ``rare``: when it is used, where an ordinary run doesn't.
    """

    place: str
    api_version: str
    kind: str
    verbs: tuple[str, ...]
    phases: tuple[str, ...]
    why: str
    without: str = ""
    when: str = ""
    names: tuple[str, ...] = ()
    subresource: str = ""
    rare: str = ""

    @property
    def group(self) -> str:
        return resource_of(self.api_version, self.kind)[0]

    @property
    def resource(self) -> str:
        """As RBAC names it: ``pods/log``."""
        plural = resource_of(self.api_version, self.kind)[1]
        return f"{plural}/{self.subresource}" if self.subresource else plural

    @property
    def full_name(self) -> str:
        """As messages name it: ``httproutes.gateway.networking.k8s.io``."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


_GATEWAY_API = "gateway.networking.k8s.io/v1"
_GRANTS = "gateway.networking.k8s.io/v1beta1"
_ENVOY = "gateway.envoyproxy.io/v1alpha1"
_RELEASE = "part of the Helm release: made by Helm, mended by us"
_PAGE = "the page in an app's place while its team is in quarantine"
_HELM_REMOVES = "Helm removes it when the inventory no longer asks for it"

RIGHTS: t.Final[tuple[Right, ...]] = (
    # --- each team's namespace: reading -----------------------------------------------------------------------------------
    Right(TEAM, _GATEWAY_API, "HTTPRoute", ("list",), (*_TEAM_S, OFFBOARD), "judge the team's routes, find those that are no longer wanted"),
    Right(TEAM, _GATEWAY_API, "GRPCRoute", ("list",), _TEAM_S, "find routes that claim the team's hosts", without="they aren't found"),
    Right(TEAM, _ENVOY, "SecurityPolicy", ("list",), (*_TEAM_S, OFFBOARD), "judge the team's policies, find those that are no longer wanted"),
    Right(TEAM, "apps/v1", "Deployment", ("list",), _TEAM_S, "judge whether proxy and store run as they should"),
    Right(
        TEAM,
        "v1",
        "Secret",
        ("get",),
        (VERIFY,),
        "ask Entra about the client secret; learn the client id where the inventory doesn't have it",
        without="the secret isn't judged, and `gateway_auth_client_id` must be set",
    ),
    Right(TEAM, "v1", "Pod", ("list",), (VERIFY,), "judge the proxy's version, find its log", without="neither is judged"),
    Right(TEAM, "v1", "Pod", ("get",), _TEAM_S, "tell Entra's errors and why a pod doesn't start", without="they aren't told", subresource="log"),
    # --- each team's namespace: writing -----------------------------------------------------------------------------------
    Right(TEAM, "v1", "Namespace", ("get",), _KEEPS, "see whether it is there, and whether the listener selects it"),
    Right(TEAM, "v1", "Secret", ("get",), (*_WRITES, OFFBOARD), "read the proxy's and the store's Secrets"),
    Right(TEAM, "v1", "Secret", ("patch",), _WRITES, "keep the proxy's and the store's Secrets; restart pods whose Secrets changed"),
    Right(TEAM, "v1", "Secret", ("list",), _KEEPS, "Helm's records of the release are Secrets, found by label"),
    Right(TEAM, "v1", "Secret", ("create",), (ONBOARD,), "make the two Secrets, and Helm its records"),
    Right(TEAM, "v1", "Secret", ("update",), _KEEPS, "Helm notes in its record how an upgrade or a removal ended"),
    Right(TEAM, "v1", "Secret", ("delete",), (OFFBOARD,), "the two Secrets, and Helm's records"),
    Right(
        TEAM,
        "v1",
        "Secret",
        ("patch",),
        (OFFBOARD,),
        "have Helm's removal of the release done to its end",
        rare="only where an earlier removal was killed: kubernetes.core would take the release for one that is gone",
    ),
    Right(
        TEAM,
        "v1",
        "Secret",
        ("delete",),
        (ONBOARD,),
        "remove Helm's records",
        rare="Helm keeps 5 records, so it deletes from the sixth upgrade on; we delete one that a killed run left unfinished",
    ),
    Right(TEAM, "apps/v1", "Deployment", ("get", "patch"), _WRITES, "restart pods whose Secrets changed, see a rollout end"),
    Right(TEAM, "v1", "Pod", ("list",), _WRITES, "see a rollout end, and why one doesn't"),
    Right(
        TEAM,
        "v1",
        "Pod",
        ("get",),
        _WRITES,
        "before an old client secret is revoked, see whether a pod was refused with the new one",
        when="makes_secret",
        subresource="log",
    ),
    Right(TEAM, "apps/v1", "Deployment", ("create",), (ONBOARD,), _RELEASE),
    Right(TEAM, "apps/v1", "Deployment", ("delete",), _KEEPS, f"the session store's: {_HELM_REMOVES}"),
    Right(TEAM, "v1", "Service", ("get", "create", "patch"), (ONBOARD,), f"{_RELEASE}; see whether the apps' Services are there"),
    Right(TEAM, "v1", "Service", ("delete",), _KEEPS, f"the session store's: {_HELM_REMOVES}"),
    Right(TEAM, "v1", "ServiceAccount", ("get", "create", "patch"), (ONBOARD,), _RELEASE),
    Right(TEAM, "v1", "ConfigMap", ("get", "create", "patch"), (ONBOARD,), _RELEASE),
    Right(TEAM, "discovery.k8s.io/v1", "EndpointSlice", ("get", "create", "patch"), (ONBOARD,), _RELEASE),
    Right(TEAM, "policy/v1", "PodDisruptionBudget", ("get", "create", "patch"), (ONBOARD,), _RELEASE),
    Right(TEAM, "policy/v1", "PodDisruptionBudget", ("delete",), _KEEPS, f"with one replica there is none: {_HELM_REMOVES}"),
    Right(TEAM, "networking.k8s.io/v1", "NetworkPolicy", ("get", "create", "patch"), (ONBOARD,), _RELEASE),
    Right(TEAM, "networking.k8s.io/v1", "NetworkPolicy", ("delete",), _KEEPS, f"the session store's, or `gateway_auth_network_policies`: {_HELM_REMOVES}"),
    Right(
        TEAM,
        "v1",
        "PersistentVolumeClaim",
        ("get", "create", "patch", "delete"),
        _KEEPS,
        f"the session store's volume, {_RELEASE}",
        when="persistence",
        rare="only with a volume, for which the embedded cluster has no provisioner",
    ),
    *(
        Right(TEAM, version, kind, ("delete",), (OFFBOARD,), "part of the Helm release, which Helm removes with it")
        for version, kind in (("v1", "ServiceAccount"), ("v1", "ConfigMap"), ("discovery.k8s.io/v1", "EndpointSlice"))
    ),
    Right(TEAM, _GATEWAY_API, "HTTPRoute", ("get", "create", "patch"), _KEEPS, "the apps' and passthrough routes; Helm makes that of the proxy's own host"),
    Right(TEAM, _GATEWAY_API, "HTTPRoute", ("delete",), (*_KEEPS, REMOVE), "routes of apps that left; all of them while the proxy's Service is gone"),
    Right(TEAM, _ENVOY, "SecurityPolicy", ("get", "create", "patch"), _KEEPS, "one for each app"),
    Right(TEAM, _ENVOY, "SecurityPolicy", ("delete",), (*_KEEPS, REMOVE), "policies of apps that left, after their routes"),
    Right(TEAM, _ENVOY, "HTTPRouteFilter", ("list",), _KEEPS, "find the pages of a quarantine"),
    Right(
        TEAM,
        _ENVOY,
        "HTTPRouteFilter",
        ("get", "create", "patch", "delete"),
        _KEEPS,
        _PAGE,
        when="quarantine",
        rare="only of a team that is, or was, in quarantine",
    ),
    Right(
        TEAM,
        "v1",
        "ServiceAccount",
        ("create",),
        _WRITES,
        "try a federated credential before anything depends on it, with a token as the pods get it",
        without="it isn't tried, and no client secret is revoked; a finding says so",
        when="federated",
        subresource="token",
        rare="only with a federated credential",
    ),
    # --- the Gateway's namespace ------------------------------------------------------------------------------------------
    Right(GATEWAY, _GATEWAY_API, "Gateway", ("get",), _ALL, "its listeners, its address, its state"),
    Right(GATEWAY, _ENVOY, "ClientTrafficPolicy", ("list",), (PREPARE, ONBOARD), "find the header policy in effect"),
    Right(GATEWAY, _ENVOY, "ClientTrafficPolicy", ("get", "create", "patch"), (PREPARE,), "the header policy"),
    Right(GATEWAY, _GATEWAY_API, "HTTPRoute", ("get", "create", "patch"), (PREPARE,), "the redirect from HTTP to HTTPS"),
    Right(
        GATEWAY,
        "v1",
        "Pod",
        ("list",),
        (VERIFY, PREPARE, ONBOARD),
        "read the Envoys' version where they run in the Gateway's namespace and pods of the whole cluster may not be listed",
        without="their version isn't known unless the pods of the whole cluster may be listed; a finding says so",
    ),
    Right(
        GATEWAY,
        "v1",
        "ConfigMap",
        ("get",),
        _TEAM_S,
        "see whether the claim on the team's hosts holds",
        without="it isn't judged",
        when="admission",
    ),
    Right(GATEWAY, "v1", "ConfigMap", ("get", "list", "create", "patch"), _KEEPS, "the claim on the team's hosts; whose a host is now", when="admission"),
    Right(
        GATEWAY,
        "v1",
        "ConfigMap",
        ("delete",),
        (*_KEEPS, REMOVE),
        "the claim of a team without hosts",
        when="admission",
        rare="a team in the inventory has an app, so only when one leaves or is offboarded",
    ),
    # --- elsewhere --------------------------------------------------------------------------------------------------------
    Right(SYSTEM, "v1", "Namespace", ("get",), _ALL, "see that this is the cluster that the inventory means", when="uid", names=("kube-system",)),
    Right(BACKEND, "v1", "Service", ("get",), (ONBOARD,), "see whether the apps' Services are there"),
    Right(BACKEND, _GRANTS, "ReferenceGrant", ("get", "list", "create", "patch"), (ONBOARD,), "let the team's route reach the one Service"),
    Right(BACKEND, _GRANTS, "ReferenceGrant", ("list",), (OFFBOARD,), "find the team's grants"),
    Right(BACKEND, _GRANTS, "ReferenceGrant", ("delete",), (*_KEEPS, REMOVE), "grants of apps that left"),
    # --- the whole cluster ------------------------------------------------------------------------------------------------
    Right(CLUSTER, "v1", "Namespace", ("create",), (ONBOARD,), "a team's namespace that isn't there; one that is there is used as it is"),
    Right(
        CLUSTER,
        "v1",
        "Namespace",
        ("delete",),
        (OFFBOARD,),
        "a team's namespace that we made, when it is empty",
        without="it stays; a finding says so",
        rare="only where this identity may list every kind of object, to see that it is empty",
    ),
    Right(
        CLUSTER,
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        ("get",),
        (VERIFY, PREPARE, ONBOARD),
        "read the versions of Envoy Gateway's policies and of the Gateway API",
        without="they aren't known; a finding says so",
        names=("securitypolicies.gateway.envoyproxy.io", "httproutes.gateway.networking.k8s.io"),
    ),
    Right(
        CLUSTER,
        _GATEWAY_API,
        "GatewayClass",
        ("get",),
        (PREPARE, ONBOARD),
        "see that Envoy Gateway runs this Gateway",
        without="it shows when nothing is accepted",
    ),
    Right(
        CLUSTER,
        "v1",
        "Pod",
        ("list",),
        (VERIFY, PREPARE, ONBOARD),
        "read the versions of the running Envoys and of Envoy Gateway",
        without="those of the Gateway's namespace are read, if any run there; a finding says what isn't known",
    ),
    Right(
        CLUSTER,
        _ENVOY,
        "ClientTrafficPolicy",
        ("list",),
        (PREPARE, ONBOARD),
        "find policies of other namespaces that choose this Gateway by its labels",
        without="only those of the Gateway's namespace are seen",
    ),
    Right(CLUSTER, _GATEWAY_API, "HTTPRoute", ("list",), _TEAM_S, "find foreign routes that claim a team's host", without="they aren't found"),
    Right(
        CLUSTER,
        "v1",
        "ConfigMap",
        ("list",),
        _KEEPS,
        "find claims at a Gateway that a team no longer uses",
        without="only those of the Gateway's namespace are seen",
        when="admission",
    ),
    Right(CLUSTER, _GATEWAY_API, "GRPCRoute", ("list",), _TEAM_S, "find foreign routes that claim a team's host", without="they aren't found"),
    *(
        Right(CLUSTER, ADMISSION_VERSION, kind, verbs, phases, why, without=without, rare=rare, when="admission")
        for kind in (POLICY_KIND, BINDING_KIND)
        for verbs, phases, why, without, rare in (
            (("get",), (PREPARE,), "see whether what refuses hosts and policies of others is in place", "", ""),
            (("create", "patch"), (PREPARE,), "put it in place", "", "once for a cluster, and when a release of this collection changes it"),
            (("list",), _TEAM_S, "see whether the API server guards the team's hosts", "it isn't judged", ""),
        )
    ),
    Right(CLUSTER, _ENVOY, "SecurityPolicy", ("list",), _TEAM_S, "read many teams' policies in one call", without="each team's are read in its namespace"),
    Right(
        CLUSTER,
        _GRANTS,
        "ReferenceGrant",
        ("list",),
        (*_KEEPS, REMOVE),
        "find grants in namespaces that no app of the team uses any more",
        without="such a grant stays; no route leads there",
    ),
)


@dataclasses.dataclass(frozen=True)
class Need:
    """A right as one team needs it; ``namespace`` is "" for the whole cluster."""

    right: Right
    namespace: str


def namespaces_of(team: Team, place: str) -> tuple[str, ...]:
    """The namespaces that a place stands for."""
    if place == BACKEND:
        return tuple(sorted({app.service.namespace for app in team.apps} - {team.namespace}))
    return ({CLUSTER: "", SYSTEM: SYSTEM, GATEWAY: team.gateway.namespace, TEAM: team.namespace}[place],)


def needs(team: Team, phases: t.Collection[str], *, optional: bool = False) -> list[Need]:
    """What a team needs for these phases; ``optional``: also what the phases can do without."""
    found = []
    for right in RIGHTS:
        if set(right.phases) & set(phases) and WHEN[right.when][1](team) and (optional or not right.without):
            found += [Need(right, namespace) for namespace in namespaces_of(team, right.place)]
    return found


# --- as Roles -------------------------------------------------------------------------------------------------------------

RBAC = "rbac.authorization.k8s.io"
IN_CLUSTER, IN_NAMESPACES = SCOPES = ("cluster", "namespaces")
SUBJECTS = ("ServiceAccount", "User", "Group")


@dataclasses.dataclass(frozen=True)
class Subject:
    """Whom the Roles are bound to; ``namespace`` is a ServiceAccount's."""

    kind: str
    name: str
    namespace: str = ""

    def to_dict(self) -> Object:
        if self.kind == "ServiceAccount":
            return {"kind": self.kind, "name": self.name, "namespace": self.namespace}
        return {"kind": self.kind, "name": self.name, "apiGroup": RBAC}


def rbac_manifests(
    teams: t.Sequence[Team],
    subject: Subject,
    *,
    scope: str = IN_CLUSTER,
    phases: t.Collection[str] = PHASES,
    optional: bool = True,
    name: str = "gateway-auth",
) -> list[Object]:
    """Roles and their bindings for these teams.

    ``cluster``: one ClusterRole, which reaches namespaces that aren't there yet, and a Role in each Gateway's namespace for what is needed
    there alone. ``namespaces``: Roles in the namespaces concerned, which must be there, and nothing cluster-wide.
    """
    by_namespace: dict[str, list[Right]] = {}
    for team in teams:
        for need in needs(team, phases, optional=optional):
            cluster_wide = need.right.place != GATEWAY
            if scope == IN_CLUSTER:
                by_namespace.setdefault("" if cluster_wide else need.namespace, []).append(need.right)
            elif need.namespace:
                by_namespace.setdefault(need.namespace, []).append(need.right)
    everywhere = {(right.full_name, verb) for right in by_namespace.get("", ()) if not right.names for verb in right.verbs}
    manifests = []
    for namespace, rights in sorted(by_namespace.items()):
        if namespace:  # what is granted everywhere needn't be granted here
            rights = [_less(right, everywhere) for right in rights]
        manifests += _role(name, namespace, [right for right in rights if right.verbs], subject)
    return manifests


def _less(right: Right, everywhere: t.Collection[tuple[str, str]]) -> Right:
    return dataclasses.replace(right, verbs=tuple(verb for verb in right.verbs if (right.full_name, verb) not in everywhere))


def _role(name: str, namespace: str, rights: list[Right], subject: Subject) -> list[Object]:
    kind = "Role" if namespace else "ClusterRole"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    api = {"apiVersion": f"{RBAC}/v1"}
    return [
        {**api, "kind": kind, "metadata": metadata, "rules": rules(rights)},
        {
            **api,
            "kind": f"{kind}Binding",
            "metadata": dict(metadata),
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
            "subjects": [subject.to_dict()],
        },
    ]


def rules(rights: t.Iterable[Right]) -> list[Object]:
    """The rules of a Role: each resource once, those with the same verbs in one rule."""
    verbs: dict[tuple[str, str, tuple[str, ...]], set[str]] = {}
    for right in rights:
        verbs.setdefault((right.group, right.resource, right.names), set()).update(right.verbs)
    for (group, resource, names), wanted in verbs.items():
        if names:  # what is granted of every object needn't be granted of some
            wanted -= verbs.get((group, resource, ()), set())
    merged: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (group, resource, names), wanted in sorted(verbs.items()):
        if wanted:
            merged.setdefault((group, tuple(verb for verb in VERBS if verb in wanted), names), []).append(resource)
    return [
        {"apiGroups": [group], "resources": resources, **({"resourceNames": list(names)} if names else {}), "verbs": list(allowed)}
        for (group, allowed, names), resources in merged.items()
    ]
