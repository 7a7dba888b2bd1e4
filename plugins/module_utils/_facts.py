# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an object of ours says to people: hosts, groups, public paths, arguments of the proxy (pure functions).

Two sets of such facts, of an object as it is and as it will be, are what a plan is told from (``_team_plan``). A fact is a key and a
list of texts; no secret is one: of a Secret only the names of the keys that change.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
import urllib.parse

from ansible_collections.platform.gateway_auth.plugins.module_utils._cover import covered, covered_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import APP_RULE, PUBLIC_RULE
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import APP_LABEL, CLAIM_LABEL

Object = dict[str, t.Any]
Facts = dict[str, list[str]]


def change_facts(before: Object | None, after: Object | None) -> dict[str, t.Any]:
    """``app`` it is about, and facts ``before`` and ``after``; of a Secret ``keys`` whose value changes."""
    obj = after or before or {}
    labels = obj.get("metadata", {}).get("labels") or {}
    told: dict[str, t.Any] = {"kind": "Claim" if CLAIM_LABEL in labels else str(obj.get("kind")), "app": labels.get(APP_LABEL, "")}
    if obj.get("kind") == "Secret":
        old, new = ((part or {}).get("data") or {} for part in (before, after))
        return {**told, "keys": sorted(key for key in new if old.get(key) != new[key])}
    return {**told, "before": facts(before), "after": facts(after)}


def digest(content: t.Any) -> str:
    """Equal for equal content: reasons tell people of the first difference, and shorten what is long."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def object_digest(obj: Object | None) -> str:
    """Of an object as it will be; of a Secret, whose values may be new each time, the names of its keys."""
    if obj is not None and obj.get("kind") == "Secret":
        obj = {**obj, **{part: sorted(obj[part]) for part in ("data", "stringData") if obj.get(part)}}
    return digest(obj)


def facts(obj: Object | None) -> Facts:
    """What one object says; empty for kinds that say nothing to people."""
    if not obj:
        return {}
    spec = obj.get("spec") or {}
    if obj.get("kind") == "HTTPRoute":
        return _route_facts(spec, obj["metadata"].get("namespace", ""))
    if obj.get("kind") == "SecurityPolicy":
        path = ((spec.get("extAuth") or {}).get("http") or {}).get("pathOverride") or ""
        groups = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query).get("allowed_groups", [])
        return {"guard": ["yes"], "groups": sorted(group for value in groups for group in value.split(",") if group)}
    return {}


def _route_facts(spec: Object, namespace: str) -> Facts:
    rules = {rule.get("name"): rule for rule in spec.get("rules") or []}
    if APP_RULE in rules:
        rule = rules[APP_RULE]
        services = [f"{ref.get('namespace', namespace)}/{ref['name']}:{ref.get('port')}" for ref in rule.get("backendRefs") or []]
        timeout = (rule.get("timeouts") or {}).get("request")
        return {"host": sorted(spec.get("hostnames") or []), "service": sorted(services), "timeout": [timeout] if timeout else []}
    if PUBLIC_RULE in rules:
        paths = (match.get("path") or {} for match in rules[PUBLIC_RULE].get("matches") or [])
        return {"public": sorted(str(path.get("value")) for path in paths)}
    return {}


def release_facts(values: Object) -> Facts:
    """What the values of the proxy's release say: the team's groups, its session, each argument of the proxy.

    A release that is taken over may hold anything; the chart takes its arguments as a list too.
    """
    given = values.get("extraArgs")
    if isinstance(given, list):
        given = {name.lstrip("-"): value for name, _equals, value in (str(item).partition("=") for item in given)}
    arguments = {str(key): str(value) for key, value in covered_values(_mapping(given)).items()}
    groups = arguments.pop("allowed-group", "")
    # The app's hosts are told by the routes.
    arguments.pop("whitelist-domain", None)
    config, storage = _mapping(values.get("config")), _mapping(values.get("sessionStorage"))
    redis = _mapping(_mapping(storage.get("redis")).get("standalone"))
    return {
        "team groups": sorted(group for group in groups.split(",") if group),
        "cookie": [str(config.get("cookieName"))] if config.get("cookieName") else [],
        "store": [str(covered(redis.get("connectionUrl")) or storage.get("type") or "cookie")],
        "replicas": [str(values["replicaCount"])] if "replicaCount" in values else [],
        "argument": sorted(f"--{key}={value}" for key, value in arguments.items()),
    }


def _mapping(value: t.Any) -> Object:
    return value if isinstance(value, dict) else {}
