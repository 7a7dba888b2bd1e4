# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gateway objects: golden cases, what they must hold whatever the team, and Envoy Gateway's own judgement of them."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import typing as t

import pytest
import yaml

from ansible_collections.platform.gateway_auth.plugins.module_utils import _manifests
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.golden import COMPILE, Case, cases, team
from tests.support.tools import tool

MANIFESTS = cases("manifests")
REDIRECT = "x-auth-request-redirect"


@pytest.mark.parametrize("case", MANIFESTS, ids=lambda case: case.name)
def test_golden_manifests(case: Case) -> None:
    assert COMPILE["manifests"](case.team) == case.content["expected"]


@pytest.mark.parametrize("case", cases("platform"), ids=lambda case: case.name)
def test_golden_platform(case: Case) -> None:
    assert COMPILE["platform"](case.team) == case.content["expected"]


# --- what holds for every team ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", MANIFESTS, ids=lambda case: case.name)
def test_every_route_to_an_app_is_guarded_or_declared_public(case: Case) -> None:
    objects = _manifests.gateway_manifests(case.team)
    guarded = {(target["name"], target.get("sectionName")) for obj in objects if obj["kind"] == "SecurityPolicy" for target in obj["spec"]["targetRefs"]}
    declared = {path for app in case.team.apps for path in app.public_paths}
    for route in (obj for obj in objects if obj["kind"] == "HTTPRoute"):
        name = route["metadata"]["name"]
        for rule in route["spec"]["rules"]:
            leads_to_app = any(ref["name"] != case.team.release for ref in rule.get("backendRefs", []))
            if leads_to_app and (name, None) not in guarded:
                assert {match["path"]["value"] for match in rule["matches"]} <= declared
    for app in case.team.apps:
        assert {(case.team.route_name(app), None), (case.team.passthrough_name(app), "probe")} <= guarded


@pytest.mark.parametrize("case", MANIFESTS, ids=lambda case: case.name)
def test_policies_fail_closed_and_ask_for_nothing_a_client_can_shape(case: Case) -> None:
    for policy in (obj for obj in _manifests.gateway_manifests(case.team) if obj["kind"] == "SecurityPolicy"):
        authorization = policy["spec"]["extAuth"]
        assert authorization["failOpen"] is False
        assert authorization["statusOnError"] == 503
        assert "recomputeRoute" not in authorization
        assert "path" not in authorization["http"], "a prefix would append the client's own query"
        assert authorization["http"]["backendRefs"] == [{"name": case.team.authz_service, "port": 80}], "the Service that is never without an endpoint"
        assert authorization["http"]["backendSettings"]["healthCheck"]["panicThreshold"] == 0, "or that endpoint would be asked"
        assert not {"X-Forwarded-Host", "X-Forwarded-Uri"} & set(authorization["headersToExtAuth"])


@pytest.mark.parametrize("case", MANIFESTS, ids=lambda case: case.name)
def test_routes_attach_to_the_https_listener_only(case: Case) -> None:
    for route in (obj for obj in _manifests.gateway_manifests(case.team) if obj["kind"] == "HTTPRoute"):
        assert [ref["sectionName"] for ref in route["spec"]["parentRefs"]] == [case.team.gateway.https_listener]


@pytest.mark.parametrize("case", MANIFESTS, ids=lambda case: case.name)
def test_every_route_to_an_app_drops_what_others_call_a_user(case: Case) -> None:
    for route in (obj for obj in _manifests.gateway_manifests(case.team) if obj["kind"] == "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            removed = [name for item in rule["filters"] for name in item.get("requestHeaderModifier", {}).get("remove", [])]
            assert len(removed) <= 16, "Gateway API takes no more in one filter"
            assert len({name.lower() for name in removed}) == len(removed)
            if any(ref["name"] != case.team.release for ref in rule.get("backendRefs", [])):
                assert set(_manifests.USURPED_HEADERS) <= set(removed)
                assert rule["name"] != _manifests.PUBLIC_RULE or set(_manifests.IDENTITY_HEADERS) <= set(removed)


@pytest.mark.parametrize("case", MANIFESTS, ids=lambda case: case.name)
def test_the_way_out_of_entra_leads_to_one_page_of_the_tenant_s(case: Case) -> None:
    rules = [rule for obj in _manifests.gateway_manifests(case.team) if obj["kind"] == "HTTPRoute" for rule in obj["spec"]["rules"]]
    leading = [rule for rule in rules if rule["name"] == "sign-out"]
    assert len(leading) == len(case.team.apps)
    for rule in leading:
        assert [match["path"]["type"] for match in rule["matches"]] == ["Exact"]
        assert "backendRefs" not in rule
        (redirect,) = (item["requestRedirect"] for item in rule["filters"])
        assert f"{redirect['scheme']}://{redirect['hostname']}" == case.team.authority
        assert redirect["path"] == {"type": "ReplaceFullPath", "replaceFullPath": f"/{case.team.tenant_id}/oauth2/v2.0/logout"}


@pytest.mark.parametrize("case", MANIFESTS, ids=lambda case: case.name)
def test_order_puts_what_protects_before_what_it_protects(case: Case) -> None:
    objects = _manifests.gateway_manifests(case.team)
    first_app_route = next(i for i, obj in enumerate(objects) if _manifests.is_app_route(case.team, obj))
    guards = [i for i, obj in enumerate(objects) if obj["kind"] in ("SecurityPolicy", "ReferenceGrant") or "passthrough" in obj["metadata"]["name"]]
    assert max(guards) < first_app_route


@pytest.mark.parametrize("case", MANIFESTS, ids=lambda case: case.name)
def test_names_are_unique_and_marked_as_ours(case: Case) -> None:
    objects = _manifests.gateway_manifests(case.team)
    names = [(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in objects]
    assert len(set(names)) == len(names)
    assert all(case.team.owner_labels().items() <= obj["metadata"]["labels"].items() for obj in objects)


def test_the_name_of_a_public_route_is_no_app_s() -> None:
    service = {"name": "s", "port": 80, "namespace": "monitoring-team-a"}
    hosts = ["x.apps.example.com", "y.apps.example.com"]
    apps = [{"name": name, "hostname": host, "service": service, "public_paths": ["/p"]} for name, host in zip(["x", "x-public"], hosts, strict=True)]
    names = [obj["metadata"]["name"] for obj in _manifests.gateway_manifests(team({"apps": apps})) if obj["kind"] == "HTTPRoute"]
    assert len(set(names)) == len(names)


def test_namespace_carries_the_mark() -> None:
    manifest = _manifests.namespace_manifest(team())
    assert manifest["metadata"] == {"name": "monitoring-team-a", "labels": team().owner_labels()}


# --- forged headers -----------------------------------------------------------------------------------------------------

STRIPPED = [
    "x-auth-request-",
    *(REDIRECT[:length] for length in range(len("x-auth-request-"), len(REDIRECT))),
    *(f"x-auth-request-{name}" for name in ("user", "email", "groups", "preferred-username", "access-token", "anything", "role", "re-direct")),
    *(f"x-auth-request-{'redirect'[:i]}{other}{'redirect'[i + 1 :]}" for i in range(len("redirect")) for other in ("x", "-", "1")),
    *(f"x-auth-request-{'redirect'[:i]}x{'redirect'[i:]}" for i in range(len("redirect") + 1)),
    f"{REDIRECT}s",
    f"{REDIRECT}-uri",
    f"{REDIRECT}{REDIRECT}",
]


@pytest.mark.parametrize("name", STRIPPED)
def test_forged_header_is_matched(name: str) -> None:
    assert re.fullmatch(_manifests.forged_header_pattern(), name)


@pytest.mark.parametrize("name", [REDIRECT, "x-auth", "x-auth-request", "x-auth-requests", "x-request-id", "my-x-auth-request-user", "authorization", "cookie"])
def test_other_header_is_spared(name: str) -> None:
    assert not re.fullmatch(_manifests.forged_header_pattern(), name)


def test_pattern_fits_the_field_and_uses_nothing_re2_lacks() -> None:
    pattern = _manifests.forged_header_pattern()
    assert len(pattern) <= 1024
    assert "(?" not in pattern


def test_the_header_that_is_set_is_not_removed_again() -> None:
    policy = _manifests.platform_manifests(team().gateway, {}, "apps.example.com")[0]
    early = policy["spec"]["headers"]["earlyRequestHeaders"]
    assert [header["name"].lower() for header in early["set"]] == [REDIRECT]
    assert REDIRECT not in early["remove"]
    assert not any(re.fullmatch(match["value"], REDIRECT) for match in early["removeOnMatch"])


# --- Envoy Gateway's own word --------------------------------------------------------------------------------------------

EGCTL = tool("egctl")
needs_egctl = pytest.mark.skipif(not EGCTL, reason="no egctl: `make sandbox` builds one, or set EGCTL to the path of one (1.8 or newer)")


@needs_egctl
@pytest.mark.sample(2)
@pytest.mark.parametrize("case", MANIFESTS, ids=lambda case: case.name)
def test_envoy_gateway_accepts(case: Case, tmp_path: pathlib.Path) -> None:
    objects = [*_surroundings(case.team), *COMPILE["platform"](case.team), *COMPILE["manifests"](case.team)]
    source = tmp_path / "objects.yaml"
    source.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    # Reading them, egctl validates each object against the CRDs first (schema and CEL), as `egctl x validate` does.
    judged = yaml.safe_load(_egctl("x", "translate", "--from", "gateway-api", "--to", "gateway-api", "-f", str(source)))
    verdicts = {
        (obj["kind"], obj["metadata"]["name"]): [
            {condition["type"]: condition["status"] for condition in entry["conditions"]}
            for entry in (obj["status"].get("ancestors") or obj["status"].get("parents") or [])
        ]
        for key in ("httpRoutes", "securityPolicies", "clientTrafficPolicies")
        for obj in judged[key]
    }
    wanted = {(obj["kind"], obj["metadata"]["name"]) for obj in objects if obj["kind"] in ("HTTPRoute", "SecurityPolicy", "ClientTrafficPolicy")}
    assert set(verdicts) == wanted
    for entries in verdicts.values():
        assert entries
        for conditions in entries:
            assert conditions["Accepted"] == "True"
            assert conditions.get("ResolvedRefs", "True") == "True"
            assert "Overridden" not in conditions
            assert "Warning" not in conditions


PATH_MATCHES = ("path", "prefix", "pathSeparatedPrefix", "safeRegex")


@needs_egctl
def test_a_path_with_a_semicolon_is_matched_before_the_public_ones(tmp_path: pathlib.Path) -> None:
    """Envoy takes the first match: a Tomcat behind `/static/..;/admin` would serve `/admin` without a login."""
    case = next(case for case in MANIFESTS if case.name == "public_paths")
    source = tmp_path / "objects.yaml"
    source.write_text(yaml.safe_dump_all([*_surroundings(case.team), *COMPILE["manifests"](case.team)]), encoding="utf-8")
    dump = yaml.safe_load(_egctl("x", "translate", "--from", "gateway-api", "--to", "xds", "-t", "route", "-o", "json", "-f", str(source)))
    kinds = [next(key for key in route["match"] if key in PATH_MATCHES) for route in _routes(dump)]
    assert "safeRegex" in kinds
    assert kinds.index("safeRegex") < kinds.index("pathSeparatedPrefix")


@needs_egctl
def test_envoy_asks_the_proxy_on_every_path_but_its_own_and_the_public(tmp_path: pathlib.Path) -> None:
    case = next(case for case in MANIFESTS if case.name == "public_paths")
    source = tmp_path / "objects.yaml"
    source.write_text(yaml.safe_dump_all([*_surroundings(case.team), *COMPILE["manifests"](case.team)]), encoding="utf-8")
    dump = yaml.safe_load(_egctl("x", "translate", "--from", "gateway-api", "--to", "xds", "-t", "route", "-o", "json", "-f", str(source)))
    asked = {
        next(value["regex"] if key == "safeRegex" else value for key, value in route["match"].items() if key in PATH_MATCHES): any(
            "ext_authz" in name for name in route.get("typedPerFilterConfig", {})
        )
        for route in _routes(dump)
    }
    ours = {"/.gateway-auth/probe": True, "/.gateway-auth/sign-out": False, "/oauth2": False}
    assert asked == {"/": True, "/.*;.*": True, "/-/healthy": False, "/static": False, **ours}


@needs_egctl
def test_in_quarantine_envoy_asks_the_proxy_before_it_shows_the_page(tmp_path: pathlib.Path) -> None:
    case = next(case for case in MANIFESTS if case.name == "quarantine")
    source = tmp_path / "objects.yaml"
    source.write_text(yaml.safe_dump_all([*_surroundings(case.team), *COMPILE["manifests"](case.team)]), encoding="utf-8")
    dump = yaml.safe_load(_egctl("x", "translate", "--from", "gateway-api", "--to", "xds", "-t", "route", "-o", "json", "-f", str(source)))
    pages = [route for route in _routes(dump) if "directResponse" in route]
    assert len(pages) == 2, "every path, and those with a semicolon"
    for page in pages:
        assert page["directResponse"]["status"] == 403
        assert any("ext_authz" in name for name in page["typedPerFilterConfig"])
    backends = json.dumps([route["route"] for route in _routes(dump) if "route" in route])
    assert "prometheus" not in backends.replace("prometheus-passthrough", ""), "no way leads to the app"


def _routes(node: t.Any) -> t.Iterator[dict[str, t.Any]]:
    if isinstance(node, dict):
        if "match" in node and ("route" in node or "redirect" in node or "directResponse" in node):
            yield node
        for value in node.values():
            yield from _routes(value)
    elif isinstance(node, list):
        for item in node:
            yield from _routes(item)


def _egctl(*arguments: str) -> str:
    done = subprocess.run([EGCTL, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _surroundings(team: Team) -> list[dict[str, t.Any]]:
    """What the objects refer to: the Gateway and the Services."""
    everybody = {"namespaces": {"from": "All"}}
    listeners = [
        {"name": team.gateway.http_listener, "port": 80, "protocol": "HTTP", "allowedRoutes": everybody},
        {"name": team.gateway.https_listener, "port": 443, "protocol": "HTTP", "allowedRoutes": everybody},
    ]
    services = {(app.service.namespace, app.service.name, app.service.port) for app in team.apps} | {
        (team.namespace, name, 80) for name in (team.release, team.authz_service)
    }
    return [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "envoy"},
            "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": team.gateway.name, "namespace": team.gateway.namespace},
            "spec": {"gatewayClassName": "envoy", "listeners": listeners},
        },
        *(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterIP": f"10.0.0.{index}", "ports": [{"name": "http", "port": port, "protocol": "TCP"}]},
            }
            for index, (namespace, name, port) in enumerate(sorted(services), 1)
        ),
    ]
