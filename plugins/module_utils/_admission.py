# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the API server refuses on a shared Gateway, so that nobody opens an app beside its door (pure functions).

Whichever namespace a Gateway admits may attach a route for another team's host with a more specific path: another route, which
the team's SecurityPolicy doesn't guard. And a SecurityPolicy that goes, or a second one on a rule of the route, leaves the app
open from that instant. Envoy Gateway allows all of it. So:

* a *claim* for each team, a ConfigMap in the Gateway's namespace: its hosts, its routes, and what each of its policies must keep;
* two ValidatingAdmissionPolicies, bound to all claims of the Gateway's namespace, each claim judged by itself. Where there is no
  claim nothing is refused, and nothing ever is but what touches a host, a route or a policy that a claim names.

A policy can't read other objects, only its parameter: hence the claim. Its keys are looked up, never searched, so the cost for
the API server doesn't grow with the number of a team's apps.
"""

from __future__ import annotations

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import GATEWAY_API, auth_path
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import (
    APP_LABEL,
    CLAIM_LABEL,
    OWNER_LABEL_PREFIX,
    PROBE_RULE,
    REMOVAL_ANNOTATION,
    GatewayRef,
    Team,
)

Object = dict[str, t.Any]

ADMISSION_VERSION = "admissionregistration.k8s.io/v1"
POLICY_KIND, BINDING_KIND = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
CLAIM_MARK = {CLAIM_LABEL: "true"}
HOST, ROUTE, POLICY, GUARDS, PROBES = "host.", "route.", "policy.", "guards.", "probes."

# A dry run changes nothing: check mode must be able to predict what follows a change of the claim that it didn't make.
_NO_DRY_RUN: Object = {"name": "no-dry-run", "expression": "!has(request.dryRun) || !request.dryRun"}


# --- the claim --------------------------------------------------------------------------------------------------------


def claim(team: Team) -> Object:
    """What a team has on its Gateway. Raises UnresolvedError while a narrower app's group has no id."""
    data = {"team": team.name, "namespace": team.namespace, "gateway": team.gateway.name, "service": team.authz_service}
    data |= {f"{HOST}{host}": app for host, app in (*((app.hostname, app.name) for app in team.apps), (team.proxy_host, ""))}
    data |= {f"{ROUTE}{name}": "" for name in team.routes}
    for app in team.apps:
        name = team.policy_name(app)
        data |= {f"{POLICY}{name}": auth_path(team, app), f"{GUARDS}{name}": team.route_name(app), f"{PROBES}{name}": team.passthrough_name(app)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": team.claim_name, "namespace": team.gateway.namespace, "labels": {**team.owner_labels(), **CLAIM_MARK}},
        "data": data,
    }


def hosts_claim(obj: Object) -> Object:
    """A claim without what keeps policies: for tools that know nothing of the word a policy must say before it goes.

    Nor the routes: a policy for one of them that the claim doesn't name is taken for a foreign one.
    """
    return {**obj, "data": {key: value for key, value in obj["data"].items() if not key.startswith((ROUTE, POLICY, GUARDS, PROBES))}}


def widened(wanted: Object, live: Object | None) -> Object:
    """The claim while a team changes: what it will have, and what it still has until its routes are gone."""
    kept = {key: value for key, value in claim_data(live).items() if key.startswith((HOST, ROUTE, POLICY, GUARDS, PROBES))}
    return {**wanted, "data": {**kept, **wanted["data"]}}


def claim_data(obj: Object | None) -> dict[str, str]:
    return (obj or {}).get("data") or {}


def protects(obj: Object | None, policy: str) -> bool:
    """Whether a claim keeps the SecurityPolicy of that name."""
    return f"{POLICY}{policy}" in claim_data(obj)


def taken_hosts(team: Team, claims: t.Iterable[Object]) -> dict[str, Object]:
    """Hosts of the team that a claim of another one on the same Gateway names, with that claim."""
    found = {}
    for obj in claims:
        data, meta = claim_data(obj), obj["metadata"]
        here = meta.get("namespace") == team.gateway.namespace and data.get("gateway") == team.gateway.name
        if here and meta["name"] != team.claim_name:
            found.update({host: obj for host in team.hosts if f"{HOST}{host}" in data})
    return found


# --- the policies -----------------------------------------------------------------------------------------------------


def admission_manifests(gateway: GatewayRef, labels: t.Mapping[str, str]) -> list[Object]:
    """Both admission policies of a Gateway with their bindings; each policy before its binding.

    Where the inventory does without them they refuse nothing, and stay: when the last binding with ConfigMaps for parameters goes,
    an API server stops following ConfigMaps until it is restarted, and would judge by yesterday's claims if a binding came back
    (https://github.com/kubernetes/kubernetes/issues/130887).
    """
    objects = []
    for name, spec in ((hosts_name(gateway), _hosts_spec()), (policies_name(gateway), _policies_spec())):
        if not gateway.admission_policy:
            spec["matchConditions"] = [{"name": "off", "expression": "false"}]
        binding = {
            "policyName": name,
            "paramRef": {"namespace": gateway.namespace, "selector": {"matchLabels": dict(CLAIM_MARK)}, "parameterNotFoundAction": "Allow"},
            "validationActions": ["Deny"],
        }
        for kind, content in ((POLICY_KIND, spec), (BINDING_KIND, binding)):
            objects.append({"apiVersion": ADMISSION_VERSION, "kind": kind, "metadata": {"name": name, "labels": dict(labels)}, "spec": content})
    return objects


def hosts_name(gateway: GatewayRef) -> str:
    """These objects have no namespace, so the Gateway's is in the name."""
    return f"gateway-auth-hosts.{gateway.namespace}.{gateway.name}"


def policies_name(gateway: GatewayRef) -> str:
    return f"gateway-auth-policies.{gateway.namespace}.{gateway.name}"


def _hosts_spec() -> Object:
    """Nobody else's route or listener names a host that a team claims. Wildcards and hosts that no claim names are free."""
    return _spec(
        [
            (GATEWAY_API, ["httproutes", "grpcroutes", "tlsroutes", "listenersets"]),
            ("gateway.networking.x-k8s.io", ["xlistenersets"]),
        ],
        ["CREATE", "UPDATE"],
        [
            _NO_DRY_RUN,
            # What was there before a claim can still be finalized, labelled and deleted.
            {"name": "spec-changes", "expression": "oldObject == null || object.spec != oldObject.spec"},
        ],
        [
            ("claim", "params.?data.orValue({})"),
            ("names", "object.spec.?hostnames.orValue([]) + object.spec.?listeners.orValue([]).map(item, item.?hostname.orValue(''))"),
            ("taken", f"variables.names.filter(host, ('{HOST}' + host) in variables.claim)"),
            ("parents", "object.spec.?parentRefs.orValue([]) + (has(object.spec.parentRef) ? [object.spec.parentRef] : [])"),
            (
                # Which Gateway a ListenerSet belongs to can't be seen from here.
                "reaches",
                (
                    "variables.parents.exists(parent, parent.?kind.orValue('Gateway') == 'Gateway'"
                    f" ? (parent.?group.orValue('{GATEWAY_API}') == '{GATEWAY_API}' && parent.name == variables.claim.?gateway.orValue('')"
                    " && parent.?namespace.orValue(request.namespace) == params.metadata.namespace)"
                    " : parent.kind in ['ListenerSet', 'XListenerSet'])"
                ),
            ),
        ],
        [
            (
                "request.namespace == variables.claim.?namespace.orValue('') || variables.taken.size() == 0 || !variables.reaches",
                "the host belongs to another team of this Gateway",
                (
                    "'host ' + variables.taken.join(', ') + ' on Gateway ' + params.metadata.namespace + '/' + variables.claim.?gateway.orValue('')"
                    f" + ' belongs to {_owner()}, whose login would not guard this ' + request.kind.kind"
                    " + '. Use another host name; or, if this is its new place, take it out of that team\\'s file and run onboard_team for it first.'"
                ),
            ),
        ],
    )


def _policies_spec() -> Object:
    """A team's policies stay what its claim says, and no other policy targets its routes."""
    new, old = "variables.new", "variables.old"
    refs = f"{new}.?targetRefs.orValue([])"
    faults = [
        (_true_only_if_it_was("extAuth", "failOpen"), "'failOpen must be false'"),
        # The route chosen anew has a policy of its own that nobody asks.
        (_true_only_if_it_was("extAuth", "recomputeRoute"), "'recomputeRoute must be false'"),
        (f"!has({new}.mergeType) || has({old}.mergeType)", "'mergeType must not be set'"),
        (
            f"variables.http.?pathOverride.orValue('') == variables.path || {_as_before('pathOverride', quote=True)}",
            "'pathOverride must be ' + variables.path",
        ),
        (
            (
                f"variables.http.?backendRef.orValue({{}}) == variables.oldHttp.?backendRef.orValue({{}}) && ({_as_before('backendRefs')}"
                " || (variables.http.?backendRefs.orValue([]).size() == 1 && variables.http.backendRefs.all(item,"
                " item.name == variables.claim.?service.orValue('') && item.?kind.orValue('Service') == 'Service' && item.?group.orValue('') == ''"
                " && item.?namespace.orValue(request.namespace) == request.namespace)))"
            ),
            "'backendRefs must be Service ' + variables.claim.?service.orValue('') + ' alone'",
        ),
        (
            (
                f"(oldObject != null && {refs} == {old}.?targetRefs.orValue([]))"
                f" || ({refs}.exists(item, item.kind == 'HTTPRoute' && item.name == variables.guarded && !has(item.sectionName))"
                f" && {refs}.exists(item, item.kind == 'HTTPRoute' && item.name == variables.probed && item.?sectionName.orValue('') == '{PROBE_RULE}'))"
            ),
            f"'targetRefs must have HTTPRoute ' + variables.guarded + ' and rule {PROBE_RULE} of ' + variables.probed",
        ),
        (
            (
                f"['managed', 'environment', 'stack', 'team'].map(word, '{OWNER_LABEL_PREFIX}' + word).all(key,"
                " object.metadata.?labels[?key].orValue('') == params.metadata.?labels[?key].orValue('')"
                " || (oldObject != null && object.metadata.?labels[?key].orValue('') == oldObject.metadata.?labels[?key].orValue('')))"
            ),
            f"'its labels {OWNER_LABEL_PREFIX}* must stay'",
        ),
    ]
    return _spec(
        [("gateway.envoyproxy.io", ["securitypolicies"])],
        ["CREATE", "UPDATE", "DELETE"],
        [_NO_DRY_RUN],
        [
            ("claim", "params.?data.orValue({})"),
            ("name", "(object == null ? oldObject : object).metadata.name"),
            ("here", "request.namespace == variables.claim.?namespace.orValue('')"),
            ("ours", f"variables.here && ('{POLICY}' + variables.name) in variables.claim"),
            # Not as a condition for the whole policy: those don't see the namespace.
            ("leaves", "request.operation == 'DELETE' && has(namespaceObject.metadata.deletionTimestamp)"),
            # It must stand there before: whoever takes the protection away says so first.
            ("released", f"oldObject != null && oldObject.metadata.?annotations[?'{REMOVAL_ANNOTATION}'].orValue('') == 'true'"),
            ("new", "object == null ? dyn({}) : dyn(object.spec)"),
            ("old", "oldObject == null ? dyn({}) : dyn(oldObject.spec)"),
            ("http", f"{new}.?extAuth.?http.orValue({{}})"),
            ("oldHttp", f"{old}.?extAuth.?http.orValue({{}})"),
            ("path", f"variables.claim[?('{POLICY}' + variables.name)].orValue('')"),
            ("guarded", f"variables.claim[?('{GUARDS}' + variables.name)].orValue('')"),
            ("probed", f"variables.claim[?('{PROBES}' + variables.name)].orValue('')"),
            # Right, or as it was: what is wrong already may be mended step by step, and never gets worse.
            ("faults", "[" + ", ".join(f"({holds}) ? '' : {fault}" for holds, fault in faults) + "].filter(fault, fault != '')"),
            ("selected", f"{new}.?targetSelectors.orValue([]).exists(item, item.kind == 'HTTPRoute' && {_selects()})"),
            (
                "targeted",
                (
                    f"({refs} + (has({new}.targetRef) ? [{new}.targetRef] : []))"
                    f".filter(item, item.kind == 'HTTPRoute' && ('{ROUTE}' + item.name) in variables.claim).map(item, item.name)"
                    " + (variables.selected ? ['by selector'] : [])"
                ),
            ),
        ],
        [
            (
                "request.operation != 'DELETE' || !variables.ours || variables.released || variables.leaves",
                "this SecurityPolicy guards an app",
                (
                    f"{_this()} + ' guards an app of {_owner()}, which is open to anybody without it. Take the app out of the team\\'s file and run"
                    f" onboard_team, which removes the route first; or, when nothing is served there, set annotation {REMOVAL_ANNOTATION}=true on it first.'"
                ),
            ),
            (
                "request.operation == 'DELETE' || !variables.ours || variables.released || variables.faults.size() == 0",
                "this SecurityPolicy guards an app and would no longer do so",
                (
                    f"{_this()} + ' guards an app of {_owner()}: ' + variables.faults.join('; ') + '. Change the team\\'s file and run onboard_team;"
                    f" or set annotation {REMOVAL_ANNOTATION}=true on it first.'"
                ),
            ),
            (
                (
                    "request.operation == 'DELETE' || !variables.here || variables.ours || (oldObject != null && object.spec == oldObject.spec)"
                    " || variables.targeted.size() == 0"
                ),
                "this SecurityPolicy would take the place of the one that guards an app",
                (
                    f"{_this()} + ' targets HTTPRoute ' + variables.targeted.join(', ') + ' of {_owner()}: it would take the place of the policy that guards"
                    " it. Take that target out; what shall be public belongs into public_paths of the team\\'s file.'"
                ),
            ),
        ],
    )


def _this() -> str:
    return "'SecurityPolicy ' + request.namespace + '/' + variables.name"


def _owner() -> str:
    """Part of a CEL string: whose claim it is, and where."""
    return "' + variables.claim.?team.orValue('') + ' (ConfigMap ' + params.metadata.namespace + '/' + params.metadata.name + ')"


def _true_only_if_it_was(part: str, field: str) -> str:
    return f"!variables.new.?{part}.?{field}.orValue(false) || variables.old.?{part}.?{field}.orValue(false)"


def _as_before(field: str, *, quote: bool = False) -> str:
    empty = "''" if quote else "[]"
    return f"(oldObject != null && variables.http.?{field}.orValue({empty}) == variables.oldHttp.?{field}.orValue({empty}))"


def _selects() -> str:
    """Whether target selector ``item`` matches the labels that our routes have for certain; which app it is isn't looked at."""
    ours = "params.metadata.labels"
    return (
        f"item.?matchLabels.orValue({{}}).all(key, key == '{APP_LABEL}' || (key in {ours} && {ours}[key] == item.matchLabels[key]))"
        f" && item.?matchExpressions.orValue([]).all(rule, rule.key == '{APP_LABEL}' ? rule.operator != 'DoesNotExist'"
        f" : rule.operator == 'Exists' ? rule.key in {ours}"
        f" : rule.operator == 'DoesNotExist' ? !(rule.key in {ours})"
        f" : (rule.key in {ours} && {ours}[rule.key] in rule.?values.orValue([])) == (rule.operator == 'In'))"
    )


def _spec(
    resources: list[tuple[str, list[str]]],
    operations: list[str],
    conditions: list[Object],
    variables: list[tuple[str, str]],
    validations: list[tuple[str, str, str]],
) -> Object:
    """With what the API server would add by default: it counts that as ours, and inside a list every run would have to ask what is missing."""
    rules = [
        {"apiGroups": [group], "apiVersions": ["*"], "operations": list(operations), "resources": list(names), "scope": "Namespaced"}
        for group, names in resources
    ]
    return {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "resourceRules": rules},
        "matchConditions": [dict(condition) for condition in conditions],
        "variables": [{"name": name, "expression": expression} for name, expression in variables],
        "validations": [
            {"expression": expression, "message": message, "messageExpression": detail, "reason": "Forbidden"} for expression, message, detail in validations
        ],
    }
