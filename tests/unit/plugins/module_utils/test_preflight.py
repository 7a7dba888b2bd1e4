# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A platform in order has no problem; each thing that can be wrong with it is one, with its remedy."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _helm, _preflight, _rollout, _routes, _secrets
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForbiddenError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import gateway_manifests
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._preflight import Problem
from ansible_collections.platform.gateway_auth.plugins.module_utils._probe import ProbeClient
from tests.golden import team
from tests.unit.support import platform as parts
from tests.unit.support.api import PLURALS, Api
from tests.unit.support.envoy import Envoy
from tests.unit.support.releases import deployment, release_record

Object = dict[str, t.Any]
TEAM = team({"redirect_uris_registered": True})


def _key(obj: Object) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


def _seed(api: Api, *instead: Object, without: t.Collection[str] = ()) -> None:
    """A platform in order, but for the objects given instead and the kinds left out."""
    replaced = {_key(obj) for obj in instead}
    api.seed(*(obj for obj in parts.platform(TEAM) if obj["kind"] not in without and _key(obj) not in replaced), *instead)


def _one(problems: list[Problem], *words: str) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    assert all(word in str(problems[0]) for word in words), str(problems[0])
    assert problems[0].remedy
    return problems[0]


def test_a_platform_in_order(api: Api, kube: Kube) -> None:
    _seed(api)
    api.read_only = True
    assert _preflight.platform_problems(kube, TEAM.gateway) == []
    assert _preflight.team_problems(kube, TEAM, will_write=True) == []
    assert _preflight.foreign_problems(kube, TEAM, None, []) == []


# --- the platform ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instead", "without", "words"),
    [
        pytest.param([], ["CustomResourceDefinition"], ["Envoy Gateway", "securitypolicies"], id="not installed"),
        pytest.param([parts.policy_crd("path", "headersToBackend")], [], ["pathOverride", "1.8"], id="older than 1.8"),
        pytest.param([], ["Gateway"], ["gateway-envoy/main", "gateway_auth_gateway"], id="no Gateway"),
        pytest.param([], ["GatewayClass"], ["GatewayClass envoy", "gateway_auth_gateway"], id="no GatewayClass"),
        pytest.param([parts.gateway_class("istio.io/gateway-controller")], [], ["istio.io", "envoyproxy.io"], id="another controller"),
        pytest.param([parts.gateway(name="tls")], [], ["no listener 'https'", "http, tls", "https_listener"], id="listener of another name"),
        pytest.param([parts.gateway(protocol="TLS")], [], ["'https'", "TLS", "HTTPS"], id="listener of another protocol"),
        pytest.param([parts.envoy_pod("docker.io/envoyproxy/envoy:distroless-v1.37.0")], [], ["1.37.0", "8202", "envoy-main"], id="refused Envoy"),
    ],
)
def test_each_problem_of_the_platform(api: Api, kube: Kube, instead: list[Object], without: list[str], words: list[str]) -> None:
    _seed(api, *instead, without=without)
    problem = _one([found for found in _preflight.platform_problems(kube, TEAM.gateway) if not found.warning], *words)
    assert not problem.soft, "no run mends this"
    assert not problem.ours


def test_all_problems_are_told_at_once(api: Api, kube: Kube) -> None:
    _seed(
        api,
        parts.policy_crd("path"),
        parts.gateway_class("x"),
        parts.gateway(protocol="TLS"),
        parts.envoy_pod("envoy:v1.37.0"),
        without=["ClientTrafficPolicy"],
    )
    assert len(_preflight.platform_problems(kube, TEAM.gateway)) == 5


@pytest.mark.parametrize("plural", ["customresourcedefinitions", "gatewayclasses", "pods"])
def test_what_some_platforms_do_not_let_us_read_is_told_and_refuses_nothing(api: Api, kube: Kube, plural: str) -> None:
    _seed(api)
    api.forbidden = {plural}
    problems = _preflight.platform_problems(kube, TEAM.gateway)
    assert all(problem.warning and "this identity may" in problem.text for problem in problems)
    assert len(problems) == {"customresourcedefinitions": 1, "gatewayclasses": 0, "pods": 2}[plural]


@pytest.mark.parametrize(
    ("instead", "words"),
    [
        pytest.param([parts.envoy_pod("registry.example.com/envoy@sha256:0123")], ["Envoy", "envoy-main", "digest"], id="Envoy by digest"),
        pytest.param([parts.controller_pod("registry.example.com/gateway:prod")], ["Envoy Gateway", "tag prod"], id="controller without a version"),
        pytest.param([parts.bundle_crd("", "")], ["Gateway API", "bundle-version"], id="CRD without annotation"),
        pytest.param([parts.bundle_crd("main")], ["Gateway API", "'main'"], id="a bundle of no release"),
    ],
)
def test_a_version_that_cannot_be_read_is_told_and_refuses_nothing(api: Api, kube: Kube, instead: list[Object], words: list[str]) -> None:
    _seed(api, *instead)
    assert _one(_preflight.platform_problems(kube, TEAM.gateway), "isn't known", *words).warning


@pytest.mark.parametrize(
    ("instead", "words"),
    [
        pytest.param([parts.controller_pod("envoyproxy/gateway:v1.7.2")], ["Envoy Gateway 1.7.2", "envoy-gateway-1", "1.8"], id="old Envoy Gateway"),
        pytest.param([parts.bundle_crd("v1.3.0", "standard")], ["Gateway API 1.3.0", "sentinel"], id="old standard bundle"),
    ],
)
def test_what_runs_is_judged_by_the_list(api: Api, kube: Kube, instead: list[Object], words: list[str]) -> None:
    _seed(api, *instead)
    problem = _one(_preflight.platform_problems(kube, TEAM.gateway), *words)
    assert not problem.warning and not problem.soft


def test_what_only_deserves_a_warning_refuses_nothing(api: Api, kube: Kube) -> None:
    _seed(api, parts.controller_pod("envoyproxy/gateway:v1.8.0"))
    assert _one(_preflight.platform_problems(kube, TEAM.gateway), "GHSA-fcrp-7gc2-93g7", "1.8.1").warning


def test_envoys_of_the_gateway_s_namespace_are_found_without_the_right_to_see_all(api: Api, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = parts.envoy_pod("envoyproxy/envoy:v1.37.0")
    bad["metadata"]["namespace"] = TEAM.gateway.namespace
    _seed(api, bad)
    asked = kube.list

    def only_in_a_namespace(version: str, kind: str, namespace: str = "", labels: t.Any = None) -> list[Object]:
        if kind == "Pod" and not namespace:
            raise ForbiddenError("may not list")
        return asked(version, kind, namespace, labels)

    monkeypatch.setattr(kube, "list", only_in_a_namespace)
    refused = [problem for problem in _preflight.platform_problems(kube, TEAM.gateway) if not problem.warning]
    _one(refused, "Envoy 1.37.0", "Location")


# --- the header policy --------------------------------------------------------------------------------------------------------


def test_without_a_header_policy(api: Api, kube: Kube) -> None:
    _seed(api, without=["ClientTrafficPolicy"])
    problem = _one(_preflight.platform_problems(kube, TEAM.gateway), "forged", "prepare_gateway")
    assert problem.soft and problem.ours


def test_a_header_policy_not_in_effect(api: Api, kube: Kube) -> None:
    api.verdicts["gateway-auth"] = {"type": "Accepted", "status": "False", "message": "Conflicted with theirs"}
    _seed(api)
    assert _one(_preflight.platform_problems(kube, TEAM.gateway), "Conflicted").ours


def test_a_policy_on_the_listener_replaces_ours(api: Api, kube: Kube) -> None:
    _seed(api, parts.client_policy(TEAM, section="https"))
    problem = _one(_preflight.platform_problems(kube, TEAM.gateway), "gateway-envoy/theirs", "prepare_gateway")
    assert problem.ours and not problem.soft


@pytest.mark.parametrize("section", ["", "https"], ids=["Gateway", "listener"])
def test_somebody_else_s_policy_with_our_rules_will_do(api: Api, kube: Kube, section: str) -> None:
    _seed(api, parts.client_policy(TEAM, section=section, headers=parts.our_headers(TEAM)), without=["ClientTrafficPolicy"])
    assert _preflight.platform_problems(kube, TEAM.gateway) == []


def _policies(*names: tuple[str, str, str]) -> list[Object]:
    return [parts.client_policy(TEAM, name, section, f"2026-01-0{day}T00:00:00Z") for name, section, day in names]


@pytest.mark.parametrize(
    ("policies", "name"),
    [
        pytest.param([], None, id="none"),
        pytest.param(_policies(("a", "", "1")), "a", id="one"),
        pytest.param(_policies(("a", "", "2"), ("b", "", "1")), "b", id="the oldest wins"),
        pytest.param(_policies(("a", "", "1"), ("b", "https", "2")), "b", id="the listener's comes before the Gateway's"),
        pytest.param(_policies(("a", "", "1"), ("b", "http", "2")), "a", id="another listener's doesn't count"),
        pytest.param(_policies(("a", "http", "1")), None, id="only another listener's"),
        pytest.param(_policies(("gateway-auth", "", "1"), ("b", "", "2")), "b", id="but ours"),
    ],
)
def test_governing_policy(policies: list[Object], name: str | None) -> None:
    found = _preflight.governing_policy(policies, TEAM.gateway, parts.gateway(), but="gateway-auth")
    assert (found and found["metadata"]["name"]) == name


def test_governing_policy_of_another_gateway_or_with_the_old_field() -> None:
    other = parts.client_policy(team({"gateway": {"name": "other"}}))
    assert _preflight.governing_policy([other], TEAM.gateway, parts.gateway()) is None
    old = parts.client_policy(TEAM)
    old["spec"]["targetRef"] = old["spec"].pop("targetRefs")[0]
    assert _preflight.governing_policy([old], TEAM.gateway, parts.gateway()) is old


@pytest.mark.parametrize(
    ("change", "carries"),
    [
        pytest.param(lambda early: None, True, id="ours"),
        pytest.param(lambda early: early["set"].append({"name": "X-Other", "value": "1"}), True, id="sets more"),
        pytest.param(lambda early: early["remove"].append("x-other"), True, id="removes more"),
        pytest.param(lambda early: early.update(remove=[name.upper() for name in early["remove"]]), True, id="names in capitals"),
        pytest.param(lambda early: early.update(set=[]), False, id="sets nothing"),
        pytest.param(lambda early: early["set"][0].update(value="https://evil.example.com"), False, id="sets another value"),
        pytest.param(lambda early: early.pop("removeOnMatch"), False, id="lets forged names pass"),
        pytest.param(lambda early: early["remove"].pop(), False, id="lets a forwarded header pass"),
        pytest.param(lambda early: early.update(add=[{"name": "X-Auth-Request-Email", "value": "a"}]), False, id="adds an identity"),
        pytest.param(lambda early: early.update(addIfAbsent=[{"name": "x-auth-request-user", "value": "a"}]), False, id="adds an identity if absent"),
    ],
)
def test_carries_our_headers(change: t.Callable[[Object], None], carries: bool) -> None:
    policy = parts.client_policy(TEAM, headers=copy.deepcopy(parts.our_headers(TEAM)))
    change(policy["spec"]["headers"]["earlyRequestHeaders"])
    assert _preflight.carries_our_headers(policy, TEAM.gateway) is carries


@pytest.mark.parametrize(("action", "carries"), [("Allow", False), ("RejectRequest", True), ("DropHeader", True)])
def test_underscores_for_hyphens_are_a_forged_name_too(action: str, carries: bool) -> None:
    policy = parts.client_policy(TEAM, headers={**parts.our_headers(TEAM), "withUnderscoresAction": action})
    assert _preflight.carries_our_headers(policy, TEAM.gateway) is carries


@pytest.mark.parametrize(
    ("labels", "selector", "governs"),
    [
        pytest.param({"edge": "public"}, {"matchLabels": {"edge": "public"}}, True, id="by label"),
        pytest.param({"edge": "inner"}, {"matchLabels": {"edge": "public"}}, False, id="another label"),
        pytest.param({}, {}, True, id="every Gateway"),
        pytest.param({"edge": "x"}, {"matchExpressions": [{"key": "edge", "operator": "Exists"}]}, True, id="by expression"),
        pytest.param({"edge": "public"}, {"kind": "HTTPRoute", "matchLabels": {"edge": "public"}}, False, id="not Gateways"),
    ],
)
def test_a_policy_that_chooses_the_gateway_by_selector(labels: Object, selector: Object, governs: bool) -> None:
    policy = parts.client_policy(TEAM)
    del policy["spec"]["targetRefs"]
    policy["spec"]["targetSelectors"] = [{"kind": "Gateway", **selector}]
    found = _preflight.governing_policy([policy], TEAM.gateway, parts.gateway(labels=labels))
    assert (found is policy) is governs


def test_a_selector_s_policy_without_our_rules_is_told(api: Api, kube: Kube) -> None:
    _seed(api, parts.gateway(labels={"edge": "public"}), parts.selecting_policy(TEAM), without=["ClientTrafficPolicy"])
    assert not _one(_preflight.platform_problems(kube, TEAM.gateway), "gateway-envoy/theirs", "prepare_gateway").soft


def test_a_policy_of_another_namespace_counts_where_envoy_gateway_says_so() -> None:
    policy = parts.selecting_policy(TEAM, "edge")
    assert _preflight.governing_policy([policy], TEAM.gateway, parts.gateway()) is None
    reference = {"kind": "Gateway", "name": TEAM.gateway.name, "namespace": TEAM.gateway.namespace}
    accepted = {"type": "Accepted", "status": "True", "observedGeneration": 1}
    policy["metadata"]["generation"] = 1
    policy["status"] = {"ancestors": [{"ancestorRef": reference, "controllerName": _preflight.CONTROLLER, "conditions": [accepted]}]}
    assert _preflight.governing_policy([policy], TEAM.gateway, parts.gateway()) is policy


def test_policies_of_other_namespaces_may_be_closed_to_us(api: Api, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    _seed(api)
    asked = kube.list

    def only_in_a_namespace(version: str, kind: str, namespace: str = "", labels: t.Any = None) -> list[Object]:
        if kind == "ClientTrafficPolicy" and not namespace:
            raise ForbiddenError("may not list")
        return asked(version, kind, namespace, labels)

    monkeypatch.setattr(kube, "list", only_in_a_namespace)
    assert _preflight.platform_problems(kube, TEAM.gateway) == []


def test_a_policy_without_headers_carries_nothing() -> None:
    assert not _preflight.carries_our_headers(parts.client_policy(TEAM), TEAM.gateway)
    assert not _preflight.carries_our_headers({"metadata": {"name": "x"}}, TEAM.gateway)


# --- a team ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        pytest.param({"from": "Same"}, ["own namespace", "monitoring-team-a"], id="same"),
        pytest.param({"from": "Selector", "selector": {"matchLabels": {"apps": "yes"}}}, ["does not select", "monitoring-team-a"], id="another label"),
    ],
)
def test_a_listener_that_does_not_take_the_team_s_routes(api: Api, kube: Kube, allowed: Object, words: list[str]) -> None:
    _seed(api, parts.gateway(allowed=allowed))
    _one(_preflight.team_problems(kube, TEAM, will_write=False), *words)


@pytest.mark.parametrize("there", [True, False], ids=["there", "still to be made"])
def test_a_listener_that_selects_the_namespace(api: Api, kube: Kube, there: bool) -> None:
    by_name = {"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": TEAM.namespace}}}
    _seed(api, parts.gateway(allowed=by_name))
    if not there:
        del api.objects[("namespaces", "", TEAM.namespace)]
    assert _preflight.team_problems(kube, TEAM, will_write=False) == []


def test_a_namespace_we_make_is_judged_by_the_labels_we_give_it(api: Api, kube: Kube) -> None:
    ours = {"from": "Selector", "selector": {"matchLabels": {"gateway-auth/team": "team-a"}}}
    _seed(api, parts.gateway(allowed=ours))
    _one(_preflight.team_problems(kube, TEAM, will_write=False), "does not select")
    del api.objects[("namespaces", "", TEAM.namespace)]
    assert _preflight.team_problems(kube, TEAM, will_write=False) == []


def test_hosts_outside_the_listener(api: Api, kube: Kube) -> None:
    _seed(api, parts.gateway("*.other.example.com"))
    problems = _preflight.team_problems(kube, TEAM, will_write=False)
    hosts = {app.hostname for app in TEAM.apps} | {TEAM.proxy_host}
    assert len(problems) == len(hosts)
    assert {host for host in hosts if any(host in problem.text for problem in problems)} == hosts


@pytest.mark.parametrize(
    ("listener", "host", "covered"),
    [
        pytest.param("", "a.example.com", True, id="any"),
        pytest.param("*.example.com", "a.example.com", True, id="wildcard"),
        pytest.param("*.example.com", "a.b.example.com", True, id="wildcard, two labels"),
        pytest.param("*.Example.com", "A.example.COM", True, id="case"),
        pytest.param("*.example.com", "example.com", False, id="not the domain itself"),
        pytest.param("*.example.com", "aexample.com", False, id="not a longer name"),
        pytest.param("*.example.com", "a.example.com.evil.test", False, id="not a prefix"),
        pytest.param("a.example.com", "a.example.com", True, id="exact"),
        pytest.param("a.example.com", "b.a.example.com", False, id="exact takes nothing below"),
    ],
)
def test_covers(listener: str, host: str, covered: bool) -> None:
    assert _preflight.covers(listener, host) is covered


LABELS = {"app": "x", "tier": "web"}


@pytest.mark.parametrize(
    ("selector", "selects"),
    [
        pytest.param({}, True, id="empty selects all"),
        pytest.param({"matchLabels": {"app": "x"}}, True, id="label"),
        pytest.param({"matchLabels": {"app": "y"}}, False, id="another value"),
        pytest.param({"matchLabels": {"none": "x"}}, False, id="no such label"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "y"]}]}, True, id="in"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "In", "values": ["y"]}]}, False, id="not in the list"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}, False, id="NotIn"),
        pytest.param({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["x"]}]}, True, id="NotIn of a missing label"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True, id="exists"),
        pytest.param({"matchExpressions": [{"key": "none", "operator": "Exists"}]}, False, id="exists not"),
        pytest.param({"matchExpressions": [{"key": "none", "operator": "DoesNotExist"}]}, True, id="absent"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False, id="absent not"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "Sometimes"}]}, False, id="unknown operator"),
        pytest.param({"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["db"]}]}, False, id="all must hold"),
    ],
)
def test_selects(selector: Object, selects: bool) -> None:
    assert _preflight.selects(selector, LABELS) is selects


def test_services(api: Api, kube: Kube) -> None:
    wrong = parts.services(TEAM)[1]
    wrong["spec"]["ports"] = [{"port": 80}, {"port": 8080}]
    _seed(api, wrong)
    del api.objects[("services", TEAM.namespace, TEAM.apps[0].service.name)]
    missing, other_port = _preflight.team_problems(kube, TEAM, will_write=False)
    assert "prometheus" in str(missing) and "exist" in missing.text
    assert "9093" in other_port.text and "80, 8080" in other_port.text
    assert missing.soft and other_port.soft, "findings in check mode"


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        pytest.param({"redirect_uris_registered": False}, True, id="nobody vouches"),
        pytest.param({"redirect_uris_registered": True}, False, id="vouched for"),
        pytest.param({"redirect_uris_registered": False, "registration": "managed"}, False, id="ours to register"),
    ],
)
def test_registration(api: Api, kube: Kube, overrides: Object, problem: bool) -> None:
    _seed(api)
    chosen = team(overrides)
    problems = _preflight.team_problems(kube, chosen, will_write=False)
    if problem:
        found = _one(problems, chosen.client_id, "gateway_auth_redirect_uris_registered", *chosen.redirect_uris)
        assert found.soft
    else:
        assert problems == []


# --- permissions --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("denied", "words"),
    [
        pytest.param({("create", "secrets")}, ["create secrets"], id="secrets"),
        pytest.param({("patch", "httproutes"), ("delete", "httproutes")}, ["patch, delete httproutes.gateway.networking.k8s.io"], id="two verbs"),
        pytest.param({("create", "deployments"), ("list", "securitypolicies")}, ["create deployments.apps", "list securitypolicies"], id="two kinds"),
    ],
)
def test_missing_rights_are_listed(api: Api, kube: Kube, denied: set[tuple[str, str]], words: list[str]) -> None:
    _seed(api)
    api.denied = denied
    _one(_preflight.team_problems(kube, TEAM, will_write=True), TEAM.namespace, *words)


def test_the_right_to_claim_hosts_is_asked_for_unless_opted_out(api: Api, kube: Kube) -> None:
    _seed(api)
    api.denied = {("delete", "configmaps"), ("list", "configmaps")}
    words = ("in namespace gateway-envoy: list, delete configmaps", "gateway_auth_gateway.admission_policy: false")
    _one(_preflight.team_problems(kube, TEAM, will_write=True), *words)
    without = team({"redirect_uris_registered": True, "gateway": {"admission_policy": False}})
    assert _preflight.team_problems(kube, without, will_write=True) == []


def test_the_right_to_write_admission_policies(api: Api, kube: Kube) -> None:
    assert _preflight.admission_problems(kube, TEAM) == []
    api.denied = {("get", "validatingadmissionpolicies"), ("create", "validatingadmissionpolicybindings")}
    words = ("get validatingadmissionpolicies.admissionregistration.k8s.io", "create validatingadmissionpolicybindings", "admission_policy: false")
    assert not _one(_preflight.admission_problems(kube, TEAM), *words).soft
    assert _preflight.admission_problems(kube, team({"gateway": {"admission_policy": False}})) == []


def test_rights_are_not_asked_for_where_nothing_changes(api: Api, kube: Kube) -> None:
    _seed(api)
    api.denied = {("create", "secrets")}
    assert _preflight.team_problems(kube, TEAM, will_write=False) == []


def test_the_right_to_make_a_namespace_matters_only_when_it_is_missing(api: Api, kube: Kube) -> None:
    _seed(api)
    api.denied = {("create", "namespaces")}
    assert _preflight.team_problems(kube, TEAM, will_write=True) == []
    del api.objects[("namespaces", "", TEAM.namespace)]
    _one(_preflight.team_problems(kube, TEAM, will_write=True), "create namespaces")


def _used(api: Api) -> set[tuple[str, str]]:
    """(verb, kind) of each request in the team's namespace and in the Gateway's."""
    verbs = {"PATCH": "patch", "POST": "create", "DELETE": "delete"}
    places = (TEAM.namespace, TEAM.gateway.namespace)
    requests = [request for request in api.journal if request.namespace in places and request.kind != "Namespace"]
    return {(verbs.get(request.method, "get" if request.name else "list"), request.kind) for request in requests}


def test_every_right_that_the_phases_use_is_asked_for(api: Api, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_A_CLIENT_SECRET", "x")
    journal = Journal(kube, check=False)
    _secrets.ensure_secrets(TEAM, journal, lambda: None)
    api.seed(deployment(TEAM.release), deployment(TEAM.store_name, replicas=1))
    _rollout.mark(TEAM, journal, fresh=(TEAM.release, TEAM.store_name))
    for chosen in (TEAM, team({"apps": []})):
        _routes.Routes(chosen, journal, t.cast("ProbeClient", Envoy(api))).run()
    used = {(verb, PLURALS[key]) for verb, kind in _used(api) for key in PLURALS if key[1] == kind}
    api.forget()
    _preflight.team_problems(kube, TEAM, will_write=True)
    asked = {tuple(request.name.split()) for request in api.journal if request.kind == "SelfSubjectAccessReview"}
    assert len(used) > 10
    assert used - asked == set()


# --- whose it is ---------------------------------------------------------------------------------------------------------------


def _theirs(obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "labels": {"app": "theirs"}}}


def test_every_foreign_object_is_told_before_anything_is_written(api: Api, kube: Kube) -> None:
    secrets = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": TEAM.namespace}, "data": {}}
        for name in (TEAM.proxy_secret, TEAM.store_secret)
    ]
    manifests = gateway_manifests(TEAM)
    api.seed(*(_theirs(obj) for obj in [*secrets, *manifests]), release_record(TEAM, values={}))
    api.read_only = True
    release = _helm.newest_release(kube, TEAM.namespace, TEAM.release)
    problems = _preflight.foreign_problems(kube, TEAM, release, [])
    names = [TEAM.release, *(obj["metadata"]["name"] for obj in [*secrets, *manifests])]
    assert len(problems) == len(names)
    for name, problem in zip(names, problems, strict=True):
        assert name in problem.text and "adopt" in problem.remedy and not problem.soft
    assert _preflight.foreign_problems(kube, TEAM, release, ["all"]) == []
    rest = _preflight.foreign_problems(kube, TEAM, release, [f"Secret/{TEAM.proxy_secret}", f"Release/{TEAM.release}"])
    assert len(rest) == len(names) - 2


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        pytest.param({"client_secret": {"kind": "secret", "name": TEAM.proxy_secret, "key": "client-secret"}}, TEAM.proxy_secret, id="the source on purpose"),
        pytest.param({"session_store": {"type": "cookie"}}, TEAM.store_secret, id="no store of ours"),
    ],
)
def test_a_secret_that_we_never_write_is_not_foreign(api: Api, kube: Kube, overrides: Object, name: str) -> None:
    api.seed({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": TEAM.namespace, "labels": {}}, "data": {}})
    assert len(_preflight.foreign_problems(kube, TEAM, None, [])) == 1
    assert _preflight.foreign_problems(kube, team(overrides), None, []) == []


def test_a_grant_in_another_namespace_counts(api: Api, kube: Kube) -> None:
    app = {**TEAM.to_dict()["apps"][0], "service": {"name": "s", "port": 80, "namespace": "shared"}}
    chosen: Team = team({"apps": [app]})
    api.namespaces("shared")
    api.seed(_theirs(gateway_manifests(chosen)[0]))
    _one(_preflight.foreign_problems(kube, chosen, None, []), "ReferenceGrant shared/")


@pytest.mark.parametrize(
    ("status", "address"),
    [
        pytest.param({"addresses": [{"value": "192.0.2.1"}, {"value": "192.0.2.2"}]}, "192.0.2.1", id="the first"),
        pytest.param({"addresses": []}, "", id="none yet"),
        pytest.param({}, "", id="no status"),
    ],
)
def test_gateway_address(api: Api, kube: Kube, status: Object, address: str) -> None:
    assert _preflight.gateway_address(kube, TEAM.gateway) == "", "no Gateway"
    api.seed({**parts.gateway(), "status": status})
    assert _preflight.gateway_address(kube, TEAM.gateway) == address
