# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading what Gateways, routes and policies say, above all the conditions that Envoy Gateway writes on them.

``kubernetes.core``'s waits read ``status.conditions`` only; a route's are under ``status.parents[]``, a policy's under
``status.ancestors[]``, and either may speak of an older generation of the object.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._model import QUARANTINE_ANNOTATION, GatewayRef

Object = dict[str, t.Any]

CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """``ok`` True: in effect; False: refused, for ``why``; None: nothing said yet about this generation."""

    ok: bool | None
    why: str = ""


def route_verdict(route: Object, gateway: GatewayRef) -> Verdict:
    """Accepted and ResolvedRefs of an HTTPRoute at our Gateway.

    Envoy Gateway 1.9 leaves the entry of a parentRef that the route no longer has (one that got a sectionName, say) as it was.
    """
    parents = [_identity(parent, route) for parent in (route.get("spec") or {}).get("parentRefs") or []]
    entries = [
        entry
        for entry in (route.get("status") or {}).get("parents") or []
        if entry.get("controllerName") == CONTROLLER and _is_gateway(entry.get("parentRef") or {}, route, gateway)
    ]
    present = [entry for entry in entries if _identity(entry.get("parentRef") or {}, route) in parents]
    return _verdict(present or entries, route, ("Accepted", "ResolvedRefs"))


def policy_verdict(policy: Object, gateway: GatewayRef) -> Verdict:
    """Accepted, and not Overridden, of a SecurityPolicy or ClientTrafficPolicy at our Gateway."""
    entries = [
        entry
        for entry in (policy.get("status") or {}).get("ancestors") or []
        if entry.get("controllerName") == CONTROLLER and _is_gateway(entry.get("ancestorRef") or {}, policy, gateway)
    ]
    for entry in entries:
        overridden = _condition(entry, "Overridden")
        if overridden is not None and overridden.get("status") == "True":
            return Verdict(False, f"Overridden: {overridden.get('message')}")
    return _verdict(entries, policy, ("Accepted",))


def gateway_addresses(gateway: Object | None) -> list[str]:
    """The addresses of a Gateway's status, in its order."""
    status = (gateway or {}).get("status") or {}
    return [str(item["value"]) for item in status.get("addresses") or [] if item.get("value")]


def target_refs(policy: Object) -> list[Object]:
    """What a policy targets, by the list or by the older single field."""
    spec = policy.get("spec") or {}
    refs = list(spec.get("targetRefs") or [])
    return [*refs, spec["targetRef"]] if spec.get("targetRef") else refs


def _is_gateway(reference: Object, obj: Object, gateway: GatewayRef) -> bool:
    namespace = reference.get("namespace") or obj["metadata"].get("namespace")
    return reference.get("name") == gateway.name and namespace == gateway.namespace


def _identity(reference: Object, obj: Object) -> tuple[t.Any, ...]:
    """What tells one parentRef from another, with the defaults that the API server fills in."""
    namespace = reference.get("namespace") or obj["metadata"].get("namespace")
    return (reference.get("kind") or "Gateway", namespace, reference.get("name"), reference.get("sectionName"), reference.get("port"))


def _verdict(entries: list[Object], obj: Object, wanted: tuple[str, ...]) -> Verdict:
    if not entries:
        return Verdict(None, "Envoy Gateway has written no status for it at this Gateway")
    generation = obj["metadata"].get("generation", 0)
    for entry in entries:
        for kind in wanted:
            condition = _condition(entry, kind)
            if condition is None or condition.get("observedGeneration", 0) < generation:
                return Verdict(None, f"Envoy Gateway has not judged generation {generation} yet ({kind})")
            if condition.get("status") != "True":
                return Verdict(False, f"{kind}={condition.get('status')} {condition.get('reason')}: {condition.get('message')}")
    return Verdict(True)


def _condition(entry: Object, kind: str) -> Object | None:
    return next((item for item in entry.get("conditions") or [] if item.get("type") == kind), None)


def quarantined_since(routes: t.Iterable[Object]) -> str:
    """Since when (RFC 3339) a team is in quarantine, as its routes say; "" when it isn't. The first word counts: a run may have died."""
    found = [(obj["metadata"].get("annotations") or {}).get(QUARANTINE_ANNOTATION, "") for obj in routes]
    return min(filter(None, found), default="")
