# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold before the first write: the gateway, its versions, the apps' Services, Helm, permissions.

``platform_problems`` is asked once for all teams of one Gateway, ``team_problems`` once a team. Each problem is a sentence
with its remedy; all are collected before anything is reported.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._admission import BINDING_KIND, POLICY_KIND
from ansible_collections.platform.gateway_auth.plugins.module_utils._conditions import (
    CONTROLLER,
    gateway_addresses,
    policy_verdict,
    quarantined_since,
    target_refs,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForbiddenError, ForeignObjectError
from ansible_collections.platform.gateway_auth.plugins.module_utils._helm import Release, refuse_foreign_release
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import gateway_manifests, header_policy
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import App, GatewayRef, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import plan_object, refuse_foreign
from ansible_collections.platform.gateway_auth.plugins.module_utils._rights import CLUSTER, ONBOARD, PREPARE, VERBS, needs
from ansible_collections.platform.gateway_auth.plugins.module_utils._running import platform_versions
from ansible_collections.platform.gateway_auth.plugins.module_utils._versions import NAMES, Found, judge, unread

Object = dict[str, t.Any]

_POLICY_CRD = "securitypolicies.gateway.envoyproxy.io"


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something that keeps a run from starting. ``soft``: a finding in check mode, an error live. ``ours``: what prepare_gateway mends.

    ``warning``: never more than a finding.
    """

    text: str
    remedy: str
    soft: bool = False
    ours: bool = False
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.text} {self.remedy}"


def platform_problems(kube: Kube, reference: GatewayRef) -> list[Problem]:
    """The Gateway, the software behind it, and the header policy in front of it."""
    problems = _crd_problems(kube)
    where = f"{reference.namespace}/{reference.name}"
    gateway = kube.get("gateway.networking.k8s.io/v1", "Gateway", reference.name, reference.namespace)
    if gateway is None:
        return [*problems, Problem(f"Gateway {where} doesn't exist.", "Create it, or correct gateway_auth_gateway.")]
    problems += _class_problems(kube, gateway)
    for option, name, protocol in (("https_listener", reference.https_listener, "HTTPS"), ("http_listener", reference.http_listener, "HTTP")):
        listener = _listener(gateway, name)
        if listener is None:
            found = ", ".join(str(item.get("name")) for item in gateway["spec"].get("listeners") or [])
            problems.append(Problem(f"Gateway {where} has no listener '{name}'; it has {found}.", f"Add it, or correct gateway_auth_gateway.{option}."))
        elif listener.get("protocol") != protocol:
            problems.append(
                Problem(
                    f"Listener '{name}' of Gateway {where} speaks {listener.get('protocol')}, expected {protocol}.", f"Correct gateway_auth_gateway.{option}."
                )
            )
    return problems + version_problems(platform_versions(kube, reference)) + _header_policy_problems(kube, reference, gateway)


def _crd_problems(kube: Kube) -> list[Problem]:
    try:
        crd = kube.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", _POLICY_CRD)
    except ForbiddenError:
        return []  # not every identity may read CRDs; a policy with an unknown field is refused at the dry run then
    if crd is None:
        return [Problem(f"Envoy Gateway isn't installed: CRD {_POLICY_CRD} doesn't exist.", "Install Envoy Gateway 1.8 or newer.")]
    node: t.Any = next((version for version in crd["spec"]["versions"] if version["name"] == "v1alpha1"), {})
    for key in ("schema", "openAPIV3Schema", "properties", "spec", "properties", "extAuth", "properties", "http", "properties"):
        node = (node or {}).get(key)
    if "pathOverride" not in (node or {}):
        return [
            Problem(
                "The SecurityPolicy CRD has no extAuth.http.pathOverride: Envoy Gateway here is older than 1.8,"
                " and without it deep links break and groups can be widened by a query.",
                "Upgrade Envoy Gateway and its CRDs to 1.8 or newer.",
            )
        ]
    return []


def _class_problems(kube: Kube, gateway: Object) -> list[Problem]:
    name = gateway["spec"].get("gatewayClassName", "")
    try:
        gateway_class = kube.get("gateway.networking.k8s.io/v1", "GatewayClass", name)
    except ForbiddenError:
        return []
    controller = ((gateway_class or {}).get("spec") or {}).get("controllerName")
    if controller != CONTROLLER:
        return [
            Problem(
                f"GatewayClass {name} is run by {controller or 'nobody (it does not exist)'}, expected {CONTROLLER}.",
                "Point gateway_auth_gateway at a Gateway of Envoy Gateway.",
            )
        ]
    return []


def version_problems(found: t.Collection[Found]) -> list[Problem]:
    """Which of these versions are known to be bad, and which aren't known."""
    problems = [Problem(judgement.text, judgement.entry.remedy, warning=not judgement.refused) for judgement in judge(found)]
    unknown = [f"The version of {NAMES[item.component]} ({item.where}) isn't known: {item.unread}." for item in unread(found)]
    return problems + [Problem(text, "docs/versions.md lists those that won't do.", warning=True) for text in unknown]


def _header_policy_problems(kube: Kube, reference: GatewayRef, gateway: Object) -> list[Problem]:
    """Judged by effect: whichever ClientTrafficPolicy governs the HTTPS listener must carry our early headers."""
    where = f"listener '{reference.https_listener}' of Gateway {reference.namespace}/{reference.name}"
    remedy = "Run playbooks/prepare_gateway.yml first."
    policy = governing_policy(client_policies(kube, reference), reference, gateway)
    if policy is None:
        return [Problem(f"No header policy governs {where}: forged identity headers would pass.", remedy, soft=True, ours=True)]
    name = f"{policy['metadata']['namespace']}/{policy['metadata']['name']}"
    if not carries_our_headers(policy, reference):
        return [
            Problem(
                f"ClientTrafficPolicy {name} governs {where} without our header rules: forged identity headers would pass.",
                "playbooks/prepare_gateway.yml prints what to merge into it.",
                ours=True,
            )
        ]
    verdict = policy_verdict(policy, reference)
    if not verdict.ok:
        return [Problem(f"The header policy {name} is not in effect: {verdict.why}.", remedy, soft=True, ours=True)]
    return []


def client_policies(kube: Kube, reference: GatewayRef) -> list[Object]:
    """Every ClientTrafficPolicy this identity may see; a selector reaches Gateways of other namespaces too (Envoy Gateway 1.9)."""
    version, kind = "gateway.envoyproxy.io/v1alpha1", "ClientTrafficPolicy"
    try:
        return kube.list(version, kind)
    except ForbiddenError:
        return kube.list(version, kind, reference.namespace)


def governing_policy(policies: list[Object], reference: GatewayRef, gateway: Object | None, but: str = "") -> Object | None:
    """The ClientTrafficPolicy in effect on the HTTPS listener: one for the listener replaces the Gateway's, the oldest wins.

    ``but``: the name of one in the Gateway's namespace to leave out.
    """
    found: dict[str, list[Object]] = {"listener": [], "gateway": []}
    for policy in policies:
        at_home = policy["metadata"]["namespace"] == reference.namespace
        if at_home and policy["metadata"]["name"] == but:
            continue
        if _is_selected(policy, reference, gateway, at_home=at_home):
            found["gateway"].append(policy)
        for target in target_refs(policy) if at_home else ():
            if target.get("kind") == "Gateway" and target.get("name") == reference.name:
                if target.get("sectionName") == reference.https_listener:
                    found["listener"].append(policy)
                elif not target.get("sectionName"):
                    found["gateway"].append(policy)
    candidates = found["listener"] or found["gateway"]
    return min(candidates, key=lambda policy: str(policy["metadata"].get("creationTimestamp")), default=None)


def _is_selected(policy: Object, reference: GatewayRef, gateway: Object | None, *, at_home: bool) -> bool:
    """Whether a policy's ``targetSelectors`` choose our Gateway; they can't name a listener."""
    selectors = (policy.get("spec") or {}).get("targetSelectors") or []
    if not at_home:
        # Namespaces, grants and what Envoy Gateway watches decide there: its own word on the policy is the only exact one.
        return bool(selectors) and bool(policy_verdict(policy, reference).ok)
    labels = ((gateway or {}).get("metadata") or {}).get("labels") or {}
    return any(selector.get("kind") == "Gateway" and selects(selector, labels) for selector in selectors)


def carries_our_headers(policy: Object, reference: GatewayRef) -> bool:
    """Whether a policy sets and strips at least what ours does, and undoes none of it."""
    ours = header_policy(reference, {})["spec"]["headers"]["earlyRequestHeaders"]
    headers = (policy.get("spec") or {}).get("headers") or {}
    early = headers.get("earlyRequestHeaders") or {}
    names = {str(name).lower() for name in early.get("remove") or []}
    added = [item for key in ("add", "addIfAbsent") for item in early.get(key) or [] if str(item.get("name")).lower().startswith("x-auth-request-")]
    return (
        all(item in (early.get("set") or []) for item in ours["set"])
        and {str(name).lower() for name in ours["remove"]} <= names
        and all(item in (early.get("removeOnMatch") or []) for item in ours["removeOnMatch"])
        and not added
        # X_Auth_Request_Email: no pattern of ours matches it, and CGI, WSGI and the like read it as the real one.
        and headers.get("withUnderscoresAction") != "Allow"
    )


def _listener(gateway: Object, name: str) -> Object | None:
    return next((item for item in gateway["spec"].get("listeners") or [] if item.get("name") == name), None)


def gateway_address(kube: Kube, reference: GatewayRef) -> str:
    """The first address in the Gateway's status, or ""."""
    return next(iter(gateway_addresses(kube.get("gateway.networking.k8s.io/v1", "Gateway", reference.name, reference.namespace))), "")


# --- one team -----------------------------------------------------------------------------------------------------------
def team_problems(kube: Kube, team: Team, *, will_write: bool, reads_entra: bool = False) -> list[Problem]:
    """May the team's routes attach, are its hosts covered, do its Services exist, may this identity write.

    ``reads_entra``: an existing registration is read later in the run, so nobody has to vouch for it.
    """
    gateway = kube.get("gateway.networking.k8s.io/v1", "Gateway", team.gateway.name, team.gateway.namespace)
    problems: list[Problem] = []
    if gateway is not None:
        listener = _listener(gateway, team.gateway.https_listener)
        if listener is not None:
            problems += _attachment_problems(kube, team, listener)
    if not reads_entra:
        problems += _registration_problems(team)
    for app in team.apps:
        problems += _service_problems(kube, app)
    if will_write:
        problems += rights_problems(kube, team, ONBOARD)
    return problems


def quarantine_problems(kube: Kube, team: Team) -> list[Problem]:
    """Whether somebody is taking the team away: nothing but their word brings it back."""
    since = quarantined_since(kube.list("gateway.networking.k8s.io/v1", "HTTPRoute", team.namespace, team.owner_labels()))
    if not since:
        return []
    return [
        Problem(
            f"In quarantine since {since}: the team is being offboarded.",
            f"Bring it back with restore_team -e team={team.id}, or go on with offboard_team.",
        )
    ]


def admission_problems(kube: Kube, team: Team) -> list[Problem]:
    """What prepare_gateway writes of admission policies, and may not."""
    return rights_problems(kube, team, PREPARE, kinds=(POLICY_KIND, BINDING_KIND))


def foreign_problems(kube: Kube, team: Team, release: Release | None, adopt: t.Collection[str]) -> list[Problem]:
    """Every object of our names that isn't ours, all at once and before anything is written."""
    problems = []
    try:
        refuse_foreign_release(team, release, adopt)
    except ForeignObjectError as exc:
        problems.append(Problem(exc.message, exc.remedy))
    secrets = [team.proxy_secret, *([team.store_secret] if team.has_store_password else [])]
    if team.client_secret is not None and team.client_secret.kind == "secret":
        secrets = [name for name in secrets if name != team.client_secret.name]  # somebody else's on purpose, only read
    desired: list[Object] = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": team.namespace, "labels": team.owner_labels()}} for name in secrets
    ]
    # Only names matter here, and ids of groups that are merely named aren't known yet.
    desired += gateway_manifests(team.resolved(team.client_id, dict.fromkeys(team.named_groups, "unknown yet")))
    found = _beside(kube, [obj for obj in desired if obj["kind"] != "Secret"])
    for obj in desired:
        key = _key(obj)
        live = kube.get("v1", "Secret", key[2], key[1]) if obj["kind"] == "Secret" else found.get(key)
        try:
            if live is not None:
                refuse_foreign(obj, live, adopt)
        except ForeignObjectError as exc:
            problems.append(Problem(exc.message, exc.remedy))
    return problems


def routes_change(kube: Kube, team: Team) -> bool:
    """Whether this run will write routes, policies or grants (as far as can be told without a dry run)."""
    desired = {_key(obj): obj for obj in gateway_manifests(team)}
    live = _beside(kube, desired.values())
    for key, obj in desired.items():
        change = plan_object(obj, live.get(key), ["all"])
        if change is not None and not change.uncertain:
            return True
    mark = team.owner_labels().items()
    return any(key not in desired and mark <= (obj["metadata"].get("labels") or {}).items() for key, obj in live.items())


def _key(obj: Object) -> tuple[str, str, str]:
    return obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]


def _beside(kube: Kube, objects: t.Iterable[Object]) -> dict[tuple[str, str, str], Object]:
    """Everything of the kinds of these objects in their namespaces."""
    places = sorted({(obj["apiVersion"], obj["kind"], obj["metadata"]["namespace"]) for obj in objects})
    return {_key(item): item for version, kind, place in places for item in kube.list(version, kind, place)}


def _registration_problems(team: Team) -> list[Problem]:
    """Where Entra can't be read, the redirect URIs of an existing registration are the platform's word."""
    if team.registration != "existing" or team.redirect_uris_registered:
        return []
    uris = "\n".join(f"  {uri}" for uri in team.redirect_uris)
    return [
        Problem(
            f"Nobody vouches that the app registration {team.client_id} has these redirect URIs (type Web):\n{uris}\n",
            "Register them in Entra ID, then set gateway_auth_redirect_uris_registered: true; or run with an identity that may read Entra (docs/entra.md).",
            soft=True,
        )
    ]


def _attachment_problems(kube: Kube, team: Team, listener: Object) -> list[Problem]:
    where = f"Listener '{listener['name']}' of Gateway {team.gateway.namespace}/{team.gateway.name}"
    problems = []
    allowed = ((listener.get("allowedRoutes") or {}).get("namespaces") or {}).get("from", "Same")
    if allowed == "Same" and team.namespace != team.gateway.namespace:
        problems.append(Problem(f"{where} takes routes of its own namespace only.", f"Set its allowedRoutes so that namespace {team.namespace} may attach."))
    if allowed == "Selector":
        namespace = kube.get("v1", "Namespace", team.namespace)
        labels = (namespace or {"metadata": {"labels": team.owner_labels()}})["metadata"].get("labels") or {}
        labels = {"kubernetes.io/metadata.name": team.namespace, **labels}
        if not selects(listener["allowedRoutes"]["namespaces"].get("selector") or {}, labels):
            problems.append(
                Problem(f"{where} does not select namespace {team.namespace} (labels {labels}).", "Label the namespace, or widen the listener's selector.")
            )
    for host in team.hosts:
        if not covers(str(listener.get("hostname") or ""), host):
            problems.append(
                Problem(
                    f"{where} serves {listener['hostname']}, which doesn't cover {host}.",
                    "Correct gateway_auth_domain, gateway_auth_hostname_pattern or the app's hostname.",
                )
            )
    return problems


def covers(listener: str, host: str) -> bool:
    """Whether a listener's hostname (empty: any; ``*.example.com``: any below) takes a route for ``host``."""
    if not listener:
        return True
    if listener.startswith("*."):
        return host.lower().endswith(listener[1:].lower())
    return host.lower() == listener.lower()


def selects(selector: Object, labels: t.Mapping[str, str]) -> bool:
    """A LabelSelector, as Kubernetes judges it."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions") or []:
        value, values = labels.get(rule["key"]), rule.get("values") or []
        fits = {"In": value in values, "NotIn": value not in values, "Exists": value is not None, "DoesNotExist": value is None}
        if not fits.get(rule.get("operator"), False):
            return False
    return True


def _service_problems(kube: Kube, app: App) -> list[Problem]:
    reference = app.service
    where = f"App '{app.name}': Service {reference.namespace}/{reference.name}"
    service = kube.get("v1", "Service", reference.name, reference.namespace)
    if service is None:
        return [Problem(f"{where} doesn't exist.", f"Deploy the app first, or correct gateway_auth_apps ({app.name}).service.", soft=True)]
    ports = [int(port["port"]) for port in (service.get("spec") or {}).get("ports") or []]
    if reference.port not in ports:
        return [
            Problem(
                f"{where} has no port {reference.port}; it has {', '.join(map(str, ports))}.",
                f"Correct gateway_auth_apps ({app.name}).service.port.",
                soft=True,
            )
        ]
    return []


def rights_problems(kube: Kube, team: Team, *phases: str, kinds: t.Collection[str] = ()) -> list[Problem]:
    """What this identity may not do of what these phases need (``_rights``), one problem for each namespace.

    ``kinds``: ask for these kinds of objects alone.
    """
    allowed: dict[tuple[str, str, str], bool] = {}  # namespace, resource, verb
    for need in needs(team, phases):
        right = need.right
        if kinds and right.kind not in kinds:
            continue
        if right.place == CLUSTER and right.kind == "Namespace" and kube.get("v1", "Namespace", team.namespace) is not None:
            continue  # nobody has to make it
        for verb in right.verbs:
            key = (need.namespace, right.full_name, verb)
            if key not in allowed:
                name = next(iter(right.names), "")
                allowed[key] = kube.allowed(verb, right.api_version, right.kind, need.namespace, name, right.subresource)
    missing: dict[str, dict[str, set[str]]] = {}
    for (namespace, resource, verb), granted in allowed.items():
        if not granted:
            missing.setdefault(namespace, {}).setdefault(resource, set()).add(verb)
    spared = {need.right.full_name for need in needs(team, phases) if need.right.when == "admission"}
    return [
        Problem(
            f"This identity may not, in {f'namespace {namespace}' if namespace else 'the whole cluster'}: {_listed(resources)}.",
            (f"Let somebody create namespace {team.namespace}, or: " if "namespaces" in resources and not namespace else "")
            + "Grant these verbs to the identity of gateway_auth_cluster: docs/rbac.md has the Roles, playbooks/render_rights.yml writes them."
            + (" Or do without: gateway_auth_gateway.admission_policy: false." if spared & set(resources) and namespace != team.namespace else ""),
        )
        for namespace, resources in missing.items()
    ]


def _listed(missing: t.Mapping[str, t.Collection[str]]) -> str:
    """``create, patch secrets; list pods``"""
    return "; ".join(f"{', '.join(verb for verb in VERBS if verb in verbs)} {resource}" for resource, verbs in missing.items())
