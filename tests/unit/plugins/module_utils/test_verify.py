# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of objects and answers, each with the verdict that a person would give."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import time
import typing as t
import urllib.parse

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _model, _verify, _versions
from ansible_collections.platform.gateway_auth.plugins.module_utils._admission import admission_manifests, claim, hosts_claim
from ansible_collections.platform.gateway_auth.plugins.module_utils._platform import platform_labels
from ansible_collections.platform.gateway_auth.plugins.module_utils._probe import Answer, HopError, ProbeClient

TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "aaaaaaaa-0000-4000-8000-00000000000a"
HOST = "prometheus-team-a.example.test"
PATH = _verify.DEEP_LINK
APP = _model.App("prometheus", HOST, _model.Service("prometheus-service-team-a", 9090, "monitoring-team-a"))
TEAM = _model.Team(
    name="team-a",
    environment="test",
    stack="monitoring",
    domain="example.test",
    tenant_id=TENANT,
    client_id=CLIENT,
    cluster=_model.ClusterRef("kubeconfig"),
    gateway=_model.GatewayRef(),
    probe=_model.Probe(),
    chart=_model.Chart("chart", "1"),
    allowed_groups=(_model.Group("5f0c0c7e-0000-4000-8000-0000000000a1"),),
    apps=(APP,),
    trusted_proxy_cidrs=("10.0.0.0/8",),
)
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
REFUSED = Answer(401, [("Content-Type", "application/json")], b"{}")
CERTIFICATE = {"notAfter": "Jan  1 00:00:00 2036 GMT", "subjectAltName": (("DNS", HOST),)}


def authorize_url(host: str = HOST, path: str = PATH, drop: tuple[str, ...] = (), **changes: str) -> str:
    base = changes.pop("base", f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/authorize")
    back = changes.pop("back", f"https://{host}{path}")
    state = base64.urlsafe_b64encode(f"nonce:{back}".encode()).decode().rstrip("=")
    query = {
        "approval_prompt": "force",
        "client_id": CLIENT,
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
        "nonce": "n-0S6_WzA2Mj",
        "redirect_uri": f"https://{host}/oauth2/callback",
        "response_type": "code",
        "scope": "openid profile email offline_access",
        "state": state,
        **changes,
    }
    return f"{base}?{urllib.parse.urlencode({key: value for key, value in query.items() if key not in drop})}"


def to_sign_in(cookie: str = "__Host-o2p-team-a_csrf=x; Path=/; HttpOnly; Secure; SameSite=Lax", **changes: t.Any) -> Answer:
    headers = [("Location", authorize_url(**changes))]
    if cookie:
        headers.append(("Set-Cookie", cookie))
    return Answer(302, headers, b"", CERTIFICATE)


def _redirect(answer: Answer | HopError) -> _verify.Check:
    return _verify.judge_redirect(TEAM, HOST, PATH, answer, "a browser is sent to sign in", "redirect:prometheus")


def test_the_right_redirect_holds() -> None:
    assert _redirect(to_sign_in()) == _verify.Check("redirect:prometheus", f"{HOST}: a browser is sent to sign in", True)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(Answer(200, [], b"<html>Prometheus"), ["HTTP 200", "app answers without a session", "SecurityPolicy"], id="open"),
        pytest.param(Answer(302, [("Location", "https://elsewhere.test/x")]), ["authorize", "elsewhere.test"], id="another redirect"),
        pytest.param(Answer(302, []), ["got none"], id="no Location (Envoy 1.37.0)"),
        pytest.param(Answer(404, []), ["HTTP 404", "route"], id="no route"),
        pytest.param(Answer(503, []), ["HTTP 503", "oauth2-proxy"], id="proxy down"),
        pytest.param(
            to_sign_in(base="https://login.microsoftonline.com/22222222-1111-4111-8111-111111111111/oauth2/v2.0/authorize"),
            [TENANT, "22222222"],
            id="wrong tenant",
        ),
        pytest.param(to_sign_in(client_id="other"), ["client_id", CLIENT, "other"], id="wrong client"),
        pytest.param(to_sign_in(redirect_uri="https://evil.test/oauth2/callback"), ["redirect_uri", "evil.test"], id="wrong redirect URI"),
        pytest.param(to_sign_in(redirect_uri=f"http://{HOST}/oauth2/callback"), ["redirect_uri"], id="redirect URI on http"),
        pytest.param(to_sign_in(code_challenge_method="plain"), ["code_challenge_method", "S256", "plain"], id="PKCE plain"),
        pytest.param(to_sign_in(drop=("code_challenge", "code_challenge_method")), ["code_challenge"], id="no PKCE"),
        pytest.param(to_sign_in(scope="profile"), ["openid"], id="scope"),
        pytest.param(to_sign_in(drop=("nonce",)), ["no nonce"], id="no nonce"),
        pytest.param(to_sign_in(drop=("state",)), ["no state"], id="no state"),
        pytest.param(to_sign_in(back="https://evil.test/"), ["lead to https://evil.test/"], id="way back bent"),
        pytest.param(to_sign_in(back=f"https://{HOST}/?gateway-auth=verify%20deep"), ["lead to"], id="deep link cut"),
        pytest.param(to_sign_in(cookie=""), ["no CSRF cookie"], id="no cookie (Envoy 1.37.0)"),
        pytest.param(to_sign_in(cookie="_oauth2_proxy_csrf=x; Path=/; HttpOnly; Secure"), ["team's own"], id="shared cookie name"),
        pytest.param(to_sign_in(cookie="__Host-o2p-team-a_csrf=x; Path=/; HttpOnly"), ["lacks secure"], id="insecure cookie"),
        pytest.param(to_sign_in(cookie="__Host-o2p-team-a_csrf=x; Path=/; HttpOnly; Secure; Domain=.example.test"), ["Domain"], id="cookie domain"),
        pytest.param(HopError("tls", "The certificate isn't valid.", "Renew."), ["certificate isn't valid"], id="no answer"),
    ],
)
def test_a_wrong_redirect_is_named(answer: Answer | HopError, words: list[str]) -> None:
    check = _redirect(answer)
    assert check.failed
    for word in words:
        assert word in check.line()
    assert check.remedy
    assert "\n" not in check.line()


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ("; Domain=team-a.example.test", []),
        ("; Domain=.team-a.example.test", []),
        ("; Domain=example.test", ["Domain example.test", "subzone team-a.example.test"]),
        ("", ["Domain of its host", "subzone team-a.example.test"]),
    ],
)
def test_a_cookie_of_the_subzone_goes_nowhere_else(attributes: str, words: list[str]) -> None:
    team = dataclasses.replace(TEAM, session=_model.Session(scope="subzone"))
    answer = to_sign_in(cookie=f"__Secure-o2p-team-a_csrf=x; Path=/; HttpOnly; Secure{attributes}")
    check = _verify.judge_redirect(team, HOST, PATH, answer, "x", "x")
    assert check.ok is not bool(words)
    for word in words:
        assert word in check.line()


def test_state_and_codes_never_show() -> None:
    line = _redirect(Answer(302, [("Location", "https://x.test/?code=SECRET&state=SECRET")])).line()
    assert "SECRET" not in line


@pytest.mark.parametrize(
    ("answer", "ok", "word"),
    [
        (REFUSED, True, ""),
        (Answer(401, [("Content-Type", "application/json; charset=utf-8")], b"{}"), True, ""),
        (Answer(401, [("Content-Type", "text/html")], b"<html>"), False, "application/json"),
        (Answer(401, [("Content-Type", "application/json")], b"<html>"), False, "application/json"),
        (Answer(302, [("Location", "https://login.test/")]), False, "expected HTTP 401"),
        (Answer(403, []), False, "Accept"),
        (Answer(200, []), False, "app answers"),
    ],
)
def test_programs_get_json(answer: Answer, ok: bool, word: str) -> None:
    check = _verify.judge_xhr(HOST, answer, "xhr")
    assert check.ok is ok
    assert word in check.line()


@pytest.mark.parametrize(
    ("answer", "ok"),
    [
        (Answer(301, [("Location", f"https://{HOST}{PATH}")]), True),
        (Answer(301, [("Location", f"https://{HOST}:443{PATH}")]), True),
        (Answer(302, [("Location", f"https://{HOST}{PATH}")]), False),
        (Answer(301, [("Location", "https://elsewhere.test/")]), False),
        (Answer(301, [("Location", f"https://{HOST}/")]), False),
        (Answer(200, []), False),
        (HopError("tcp", "Refused.", "Look."), False),
    ],
)
def test_plain_http(answer: Answer | HopError, ok: bool) -> None:
    assert _verify.judge_http(HOST, PATH, answer, "http").ok is ok


@pytest.mark.parametrize(
    ("days", "ok", "severity"),
    [(90, True, "error"), (15, True, "error"), (13, False, "warning")],
)
def test_certificate_days(days: int, ok: bool, severity: str) -> None:
    end = time.mktime((2027, 3, 1, 0, 0, 0, 0, 0, 0)) - time.timezone
    answer = Answer(302, [], b"", {"notAfter": "Mar  1 00:00:00 2027 GMT"})
    check = _verify.judge_certificate(HOST, answer, "certificate", now=end - days * 86400)
    assert (check.ok, check.severity, f"{days} days" in check.detail) == (ok, severity, True)
    assert not check.failed


@pytest.mark.parametrize(
    ("answer", "ok", "severity", "words"),
    [
        (Answer(302, [("Location", f"https://{HOST}/oauth2/callback?error=login_required&error_description=AADSTS50058")]), True, "error", []),
        (Answer(302, [("Location", f"https://{HOST}/oauth2/callback#error=login_required")]), True, "error", []),
        (Answer(200, [], b"<html>Sign in"), True, "error", ["will tell"]),
        (Answer(400, [], b"AADSTS50011: The redirect URI"), False, "error", ["AADSTS50011", f"https://{HOST}/oauth2/callback", CLIENT]),
        (Answer(400, [], b"AADSTS700016: Application"), False, "error", ["AADSTS700016", "gateway_auth_client_id", "gateway_auth_tenant_id"]),
        (Answer(400, [], b"AADSTS123456: new"), False, "error", ["AADSTS123456"]),
        (
            Answer(302, [("Location", f"https://{HOST}/oauth2/callback?error=invalid_client&error_description=AADSTS650053")]),
            False,
            "error",
            ["AADSTS650053", "scope"],
        ),
        (HopError("tcp", "x", "y", "connection refused"), False, "warning", ["connection refused", "HTTPS_PROXY"]),
    ],
)
def test_registration(answer: Answer | HopError, ok: bool, severity: str, words: list[str]) -> None:
    check = _verify.judge_registration(TEAM, HOST, answer, "registration")
    assert (check.ok, check.severity) == (ok, severity)
    for word in words:
        assert word in check.line()


def _refusal(code: int, status: int = 401) -> Answer:
    body = {"error": "x", "error_description": f"AADSTS{code}: text", "error_codes": [code]}
    return Answer(status, [], json.dumps(body).encode())


@pytest.mark.parametrize(
    ("answer", "ok", "severity", "words"),
    [
        (Answer(200, []), True, "error", []),
        (_refusal(7000215), False, "error", ["AADSTS7000215", "gateway_auth_client_secret", "onboard_team"]),
        (_refusal(7000222), False, "error", ["AADSTS7000222", "expired"]),
        (_refusal(700016, 400), False, "error", ["AADSTS700016", "gateway_auth_client_id"]),
        (_refusal(90002, 400), False, "error", ["gateway_auth_tenant_id"]),
        (_refusal(53003, 400), True, "error", ["AADSTS53003"]),
        (_refusal(9002313, 400), False, "warning", ["AADSTS9002313", "says nothing"]),
        (Answer(502, [], b"<html>"), False, "warning", ["HTTP 502"]),
        (HopError("dns", "x", "y", "name unknown"), False, "warning", ["name unknown"]),
    ],
)
def test_client_secret(answer: Answer | HopError, ok: bool, severity: str, words: list[str]) -> None:
    check = _verify.judge_client_secret(TEAM, answer)
    assert (check.ok, check.severity) == (ok, severity)
    for word in words:
        assert word in check.line()


class Entra:
    """Records what the token endpoint is sent."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.sent: dict[str, t.Any] = {}

    def request(self, host: str, path: str, **kwargs: t.Any) -> Answer:
        self.sent = {"host": host, "path": path, **kwargs}
        return self.answer


def test_the_token_endpoint_is_asked_by_post_and_the_token_dropped() -> None:
    entra = Entra(Answer(200, [], b'{"access_token": "T"}'))
    answer = t.cast("Answer", _verify.ask_token(TEAM, t.cast("ProbeClient", entra), "p%/ä s"))
    form = urllib.parse.parse_qs(entra.sent["body"].decode())
    assert (entra.sent["host"], entra.sent["path"]) == ("login.microsoftonline.com", f"/{TENANT}/oauth2/v2.0/token")
    assert form["client_secret"] == ["p%/ä s"]
    assert form["grant_type"] == ["client_credentials"]
    assert "p%" not in entra.sent["path"]
    assert answer.body == b""


def test_the_authorize_url_is_followed_with_prompt_none() -> None:
    entra = Entra(Answer(200, []))
    _verify.ask_authorize(authorize_url(), t.cast("ProbeClient", entra))
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(entra.sent["path"]).query)
    assert query["prompt"] == ["none"]
    assert query["redirect_uri"] == [f"https://{HOST}/oauth2/callback"]
    assert "approval_prompt" not in query


def test_log_tells_codes_only() -> None:
    text = 'secret=hunter2 error="AADSTS7000215: Invalid client secret"\nAADSTS7000215\nAADSTS9999999\nfine\n'
    checks = _verify.judge_log(text)
    assert [check.id for check in checks] == ["log:7000215", "log:9999999"]
    assert all(not check.ok and check.severity == "warning" for check in checks)
    assert "2 times" in checks[0].detail
    assert "hunter2" not in _verify.render(checks)
    assert [check.ok for check in _verify.judge_log("GET / 200\n")] == [True]


@pytest.mark.parametrize(
    ("addresses", "expected", "ok"),
    [(["10.0.0.1"], ["10.0.0.1"], True), ([], ["10.0.0.1"], False), (["10.0.0.2"], ["10.0.0.1"], False), (["10.0.0.2"], [], True)],
)
def test_dns_only_warns(addresses: list[str], expected: list[str], ok: bool) -> None:
    check = _verify.judge_dns(HOST, addresses, expected)
    assert check.ok is ok
    assert not check.failed


# --- objects ---------------------------------------------------------------------------------------------------------


def _conditions(generation: int = 1, **status: str) -> list[dict[str, t.Any]]:
    return [{"type": name, "status": value, "reason": "Because", "observedGeneration": generation} for name, value in status.items()]


def _route(name: str, host: str = HOST) -> dict[str, t.Any]:
    parent = {"name": "main", "namespace": "gateway-envoy", "sectionName": "https"}
    return {
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "monitoring-team-a", "generation": 1, "labels": TEAM.labels},
        "spec": {"hostnames": [host], "parentRefs": [parent]},
        "status": {"parents": [{"controllerName": CONTROLLER, "parentRef": parent, "conditions": _conditions(Accepted="True", ResolvedRefs="True")}]},
    }


def _policy() -> dict[str, t.Any]:
    ancestor = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "main", "namespace": "gateway-envoy"}
    return {
        "kind": "SecurityPolicy",
        "metadata": {"name": TEAM.policy_name(APP), "namespace": "monitoring-team-a", "generation": 1},
        "spec": {
            "targetRefs": [
                {"kind": "HTTPRoute", "name": TEAM.passthrough_name(APP), "sectionName": "probe"},
                {"kind": "HTTPRoute", "name": TEAM.route_name(APP)},
            ],
            "extAuth": {"failOpen": False},
        },
        "status": {"ancestors": [{"controllerName": CONTROLLER, "ancestorRef": ancestor, "conditions": _conditions(Accepted="True")}]},
    }


def _deployment(name: str, replicas: int) -> dict[str, t.Any]:
    return {
        "metadata": {"name": name, "namespace": "monitoring-team-a", "generation": 3},
        "spec": {"replicas": replicas},
        "status": {
            "observedGeneration": 3,
            "availableReplicas": replicas,
            "updatedReplicas": replicas,
            "conditions": [{"type": "Available", "status": "True"}],
        },
    }


def _live() -> _verify.Live:
    return _verify.Live(
        gateway={
            "metadata": {"generation": 1},
            "status": {
                "addresses": [{"type": "IPAddress", "value": "10.0.0.1"}],
                "conditions": _conditions(Accepted="True", Programmed="True"),
                "listeners": [{"name": "https", "conditions": _conditions(Accepted="True", Programmed="True", ResolvedRefs="True")}],
            },
        },
        routes=[_route(TEAM.route_name(APP)), _route(TEAM.passthrough_name(APP)), _route(TEAM.release, TEAM.proxy_host)],
        policies=[_policy()],
        deployments=[_deployment(TEAM.release, 2), _deployment(TEAM.store_name, 1)],
        admission=admission_manifests(TEAM.gateway, platform_labels(TEAM)),
        claim=claim(TEAM),
    )


def test_sound_objects_hold() -> None:
    checks = _verify.judge_objects(TEAM, _live())
    assert [check.line() for check in checks if not check.ok] == []
    assert len(checks) == 11


def _set(path: str, value: t.Any) -> t.Callable[[_verify.Live], None]:
    def change(live: _verify.Live) -> None:
        parts = path.split(".")
        target: t.Any = getattr(live, parts[0])
        for part in parts[1:-1]:
            target = target[int(part)] if part.isdigit() else target[part]
        last = parts[-1]
        if value is None:
            del target[int(last) if last.isdigit() else last]
        else:
            target[int(last) if last.isdigit() else last] = value

    return change


def _foreign_route(
    place: str = "elsewhere", host: str = HOST, labels: dict[str, str] | None = None, grpc: bool = False, overlap: str = "", **parent: str
) -> t.Callable[[_verify.Live], None]:
    def change(live: _verify.Live) -> None:
        route = _route("theirs", host)
        route["kind"] = "GRPCRoute" if grpc else "HTTPRoute"
        route["metadata"].update(namespace=place, labels=labels or {})
        if overlap:
            route["status"]["parents"][0]["conditions"].append({"type": "RouteRulesOverlap", "status": "True", "reason": "Overlap", "message": overlap})
        if parent:
            route["spec"]["parentRefs"] = [parent]
        (live.grpc_routes if grpc else live.routes).append(route)

    return change


def _foreign_policy(labels: dict[str, str] | None = None, place: str = "monitoring-team-a", **spec: t.Any) -> t.Callable[[_verify.Live], None]:
    def change(live: _verify.Live) -> None:
        policy = _policy()
        policy["metadata"].update(name="empty", namespace=place, labels=labels or {})
        policy["spec"] = spec
        live.policies.append(policy)

    return change


def _target(name: str, **more: str) -> dict[str, t.Any]:
    return {"kind": "HTTPRoute", "name": name, **more}


OURS = TEAM.owner_labels(APP)


_MISSING_BACKEND = [
    {"type": "Accepted", "status": "True", "observedGeneration": 1},
    {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound", "observedGeneration": 1},
]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda live: setattr(live, "gateway", None), ["no such Gateway", "gateway_auth_gateway"], id="no gateway"),
        pytest.param(_set("gateway.status.listeners.0.name", "other"), ["no such listener", "other"], id="no listener"),
        pytest.param(
            _set("gateway.status.listeners.0.conditions", _conditions(Accepted="True", Programmed="False", ResolvedRefs="True")),
            ["Programmed is False", "certificate"],
            id="listener not programmed",
        ),
        pytest.param(_set("deployments.0", None), [TEAM.release, "onboard_team"], id="no deployment"),
        pytest.param(_set("deployments.0.status.availableReplicas", 1), ["1 of 2 pods"], id="a pod missing"),
        pytest.param(_set("deployments.0.status.observedGeneration", 2), ["last change"], id="deployment stale"),
        pytest.param(_set("routes.0", None), [TEAM.route_name(APP), "isn't in namespace"], id="no route"),
        pytest.param(_set("routes.0.status", {}), ["no status"], id="route without status"),
        pytest.param(_set("routes.0.metadata.generation", 2), ["generation 2"], id="route status stale"),
        pytest.param(
            _set("routes.0.status.parents.0.conditions", _conditions(Accepted="True", ResolvedRefs="True", RouteRulesOverlap="True")),
            ["RouteRulesOverlap", "other route"],
            id="route shadowed",
        ),
        pytest.param(
            _set(
                "routes.0.status.parents.0.conditions",
                [{"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "observedGeneration": 1}],
            ),
            ["NotAllowedByListeners", "allow routes from namespace monitoring-team-a"],
            id="listener refuses the namespace",
        ),
        pytest.param(_set("routes.0.status.parents.0.conditions", _MISSING_BACKEND), ["BackendNotFound", "gateway_auth_apps"], id="the app's Service is gone"),
        pytest.param(_set("routes.1.status.parents.0.conditions", _MISSING_BACKEND), ["BackendNotFound", "onboard_team"], id="the proxy's Service is gone"),
        pytest.param(_set("policies.0", None), [TEAM.policy_name(APP), "onboard_team"], id="no policy"),
        pytest.param(_set("policies.0.spec.targetRefs.1.name", "typo"), ["targetRefs don't name"], id="policy misses the route"),
        pytest.param(_set("policies.0.spec.extAuth.failOpen", True), ["failOpen"], id="fails open"),
        pytest.param(_set("policies.0.status", {}), ["no status"], id="policy found no target"),
        pytest.param(_set("policies.0.metadata.generation", 2), ["generation 2"], id="policy status stale"),
        pytest.param(_set("policies.0.status.ancestors.0.conditions", _conditions(Accepted="True", Overridden="True")), ["Overridden"], id="overridden"),
        pytest.param(
            _foreign_policy(targetRefs=[_target(TEAM.route_name(APP), sectionName="rule")]), ["monitoring-team-a/empty", "replaces ours"], id="a second policy"
        ),
        pytest.param(_foreign_policy(OURS, targetRefs=[_target(TEAM.route_name(APP))]), ["monitoring-team-a/empty"], id="a second policy with our mark"),
        pytest.param(_foreign_policy(targetRef=_target(TEAM.passthrough_name(APP))), [TEAM.passthrough_name(APP)], id="by the older field"),
        pytest.param(
            _foreign_policy(targetSelectors=[{"kind": "HTTPRoute"}]), ["monitoring-team-a/empty", TEAM.release], id="a policy that selects every route"
        ),
        pytest.param(
            _foreign_policy(targetSelectors=[{"kind": "HTTPRoute", "matchLabels": {"gateway-auth/team": "team-a"}}]),
            ["monitoring-team-a/empty", TEAM.route_name(APP)],
            id="a policy that selects ours",
        ),
        pytest.param(_set("policies.0.metadata.annotations", {"gateway-auth/remove": "true"}), ["gateway-auth/remove", "onboard_team"], id="protection lifted"),
        pytest.param(_foreign_route(), ["HTTPRoute elsewhere/theirs", HOST], id="a foreign route on the host"),
        pytest.param(_foreign_route(overlap="with ours"), ["elsewhere/theirs", "with ours"], id="a foreign route that overlaps"),
        pytest.param(_foreign_route(host=TEAM.proxy_host), ["elsewhere/theirs", TEAM.proxy_host], id="a foreign route on the proxy's host"),
        pytest.param(_foreign_route("monitoring-team-a"), ["monitoring-team-a/theirs"], id="a route in the team's namespace"),
        pytest.param(_foreign_route("monitoring-team-a", labels=OURS), ["monitoring-team-a/theirs"], id="a route with our mark"),
        pytest.param(_foreign_route(grpc=True), ["GRPCRoute elsewhere/theirs"], id="a GRPCRoute"),
        pytest.param(
            _foreign_route(name="main", namespace="gateway-envoy", sectionName="http"), ["elsewhere/theirs"], id="a foreign route on the plain listener"
        ),
        pytest.param(_foreign_route(name="set", kind="ListenerSet"), ["elsewhere/theirs"], id="a foreign route on a ListenerSet"),
    ],
)
def test_unsound_objects_are_named(change: t.Callable[[_verify.Live], None], words: list[str]) -> None:
    live = _live()
    change(live)
    failed = [check for check in _verify.judge_objects(TEAM, live) if check.failed]
    assert len(failed) == 1
    for word in words:
        assert word in failed[0].line()
    assert failed[0].remedy


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_foreign_route(host="other.example.test"), id="a route on another host"),
        pytest.param(_foreign_route(host="*.example.test"), id="a wildcard"),
        pytest.param(_foreign_route(name="other", namespace="gateway-envoy"), id="a route on another Gateway"),
        pytest.param(_foreign_route(name="main"), id="a route on a Gateway of its own namespace"),
        pytest.param(_foreign_policy(targetRefs=[_target("theirs")]), id="a policy of another route"),
        pytest.param(_foreign_policy(targetSelectors=[{"kind": "HTTPRoute", "matchLabels": {"app": "theirs"}}]), id="a policy that selects others"),
        pytest.param(_foreign_policy(targetSelectors=[{"kind": "GRPCRoute"}]), id="a policy for GRPCRoutes"),
        pytest.param(_foreign_policy(place="elsewhere", targetRefs=[_target(TEAM.route_name(APP))]), id="a policy in another namespace"),
    ],
)
def test_what_touches_nothing_of_the_team_is_let_be(change: t.Callable[[_verify.Live], None]) -> None:
    live = _live()
    change(live)
    assert [check.line() for check in _verify.judge_objects(TEAM, live) if not check.ok] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(_set("admission.0", None), ["gateway-auth-hosts.gateway-envoy.main isn't there", "prepare_gateway"], id="a policy gone"),
        pytest.param(_set("admission.3", None), ["Binding gateway-auth-policies", "prepare_gateway"], id="a binding gone"),
        pytest.param(_set("admission.1.spec.validationActions", ["Audit"]), ["validationActions", "prepare_gateway"], id="bound without a bite"),
        pytest.param(_set("admission.0.spec.failurePolicy", "Ignore"), ["failurePolicy"], id="errors pass"),
        pytest.param(lambda live: setattr(live, "claim", None), [TEAM.claim_name, "isn't there", "onboard_team"], id="no claim"),
        pytest.param(lambda live: live.claim["data"].pop(f"host.{HOST}"), [TEAM.claim_name, HOST], id="a host not claimed"),
        pytest.param(lambda live: live.claim["metadata"]["labels"].pop("gateway-auth/claim"), ["gateway-auth/claim"], id="a claim that isn't bound"),
    ],
)
def test_what_the_api_server_does_not_guard_is_a_warning(change: t.Callable[[_verify.Live], None], words: list[str]) -> None:
    live = _live()
    change(live)
    [check] = [check for check in _verify.judge_objects(TEAM, live) if not check.ok]
    assert not check.failed
    for word in words:
        assert word in check.line()
    assert check.remedy
    opted_out = dataclasses.replace(TEAM, gateway=dataclasses.replace(TEAM.gateway, admission_policy=False))
    assert [other for other in _verify.judge_objects(opted_out, live) if not other.ok] == []


def test_a_claim_on_hosts_alone_is_what_gitops_files_have() -> None:
    live = _live()
    live.claim = hosts_claim(claim(TEAM))
    assert [check.line() for check in _verify.judge_objects(TEAM, live) if not check.ok] == []
    live.claim["data"].pop(f"host.{HOST}")
    assert [check.id for check in _verify.judge_objects(TEAM, live) if not check.ok] == ["claim"]


def test_what_guards_and_cannot_be_read_is_not_judged() -> None:
    live = _live()
    live.admission, live.claim, live.whole_claim = None, None, False
    assert [check.line() for check in _verify.judge_objects(TEAM, live) if not check.ok] == []
    grouped = dataclasses.replace(TEAM, allowed_groups=(_model.Group("", "known by name"),))
    assert not [check for check in _verify.judge_objects(grouped, _live()) if check.id == "claim"]


def test_an_app_without_pods_only_warns() -> None:
    live = _live()
    conditions = _conditions(Accepted="True", ResolvedRefs="True", BackendsAvailable="False")
    live.routes[0]["status"]["parents"][0]["conditions"] = conditions
    checks = [check for check in _verify.judge_objects(TEAM, live) if not check.ok]
    assert [(check.id, check.severity) for check in checks] == [("backends:prometheus", "warning")]
    assert "monitoring-team-a/prometheus-service-team-a" in checks[0].line()


# --- the whole -------------------------------------------------------------------------------------------------------


class World:
    """A gateway from outside: says what each request gets, by host, scheme and Accept."""

    def __init__(self, *, flaky: int = 0) -> None:
        self.flaky = flaky
        self.asked: list[tuple[str, str, str]] = []

    def request(self, host: str, path: str, *, scheme: str = "https", headers: t.Mapping[str, str] | None = None) -> Answer:
        self.asked.append((scheme, host, path))
        if self.flaky:
            self.flaky -= 1
            return Answer(503, [])
        if scheme == "http":
            return Answer(301, [("Location", f"https://{host}{path}")])
        if "json" in (headers or {}).get("Accept", ""):
            return REFUSED
        back = "/" if path in ("/", "/oauth2/start") else f"https://{host}{path}"
        return to_sign_in(host=host, back=back)

    def via(self) -> str:
        return "at 10.0.0.1"


class Directory:
    """Entra: knows every redirect URI and one secret."""

    def request(self, host: str, path: str, *, method: str = "GET", headers: t.Any = None, body: bytes | None = None) -> Answer:
        if body is not None:
            return Answer(200, []) if b"client_secret=right" in body else _refusal(7000215)
        uri = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)["redirect_uri"][0]
        return Answer(302, [("Location", f"{uri}?error=login_required")])


def _verified(live: _verify.Live, world: World, settle: float = 0.0) -> list[_verify.Check]:
    client, entra = t.cast("ProbeClient", world), t.cast("ProbeClient", Directory())
    return _verify.verify_team(TEAM, client, live, entra, lambda _host: ["10.0.0.1"], settle)


def test_a_sound_team_holds_in_every_check() -> None:
    live = _live()
    live.client_secret = "right"
    checks = _verified(live, World())
    assert [check.line() for check in checks if not check.ok] == []
    assert len({check.id for check in checks}) == len(checks)
    assert any(check.id == "client_secret" for check in checks)
    rendered = _verify.render(checks)
    assert rendered.count("\n") == len(checks)
    assert f"{len(checks)} hold, 0 failed" in rendered


def test_a_wrong_secret_fails_the_team_with_its_code() -> None:
    live = _live()
    live.client_secret = "wrong-CANARY"
    checks = _verified(live, World())
    assert [check.id for check in checks if check.failed] == ["client_secret"]
    text = _verify.render(checks) + json.dumps(_verify.report({"team-a": checks})) + repr(live)
    assert "AADSTS7000215" in text
    assert "CANARY" not in text


def test_a_converging_gateway_is_given_time_and_an_open_door_is_not() -> None:
    world = World(flaky=3)
    assert not [check for check in _verified(_live(), world, settle=5.0) if check.failed]

    class Open(World):
        def request(self, host: str, path: str, **kwargs: t.Any) -> Answer:
            self.asked.append(("", host, path))
            return Answer(200, [], b"Prometheus", CERTIFICATE)

    opened = Open()
    start = time.monotonic()
    asking = _verify.Asking(t.cast("ProbeClient", opened), time.monotonic() + 5.0)
    assert t.cast("Answer", asking.ask(HOST, "/")).status == 200
    assert time.monotonic() - start < 1
    assert len(opened.asked) == 1


def test_a_host_that_does_not_answer_is_one_line() -> None:
    class Dead(World):
        def request(self, host: str, path: str, **kwargs: t.Any) -> Answer:
            raise HopError("tls", f"The certificate presented for {host} isn't valid: expired.", "Renew the certificate.")

    checks = _verified(_live(), Dead())
    assert len([check for check in checks if check.failed]) == 2  # the app's host and the proxy's
    assert all("Renew" in check.remedy for check in checks if check.failed)


def test_what_cannot_be_read_is_said() -> None:
    live = _live()
    live.unread.append("Secret x can't be read")
    checks = _verified(live, World())
    assert [check.severity for check in checks if not check.ok] == ["warning"]


def test_report_is_plain_data() -> None:
    checks = [_verify.Check("a", "holds", True), _verify.Check("b", "doesn't", False, "why", "how")]
    document = _verify.report({"team-b": checks[:1], "team-a": copy.copy(checks)}, when=0)
    assert json.loads(json.dumps(document)) == document
    assert document["verified_at"] == "1970-01-01T00:00:00+00:00"
    assert document["ok"] is False
    assert list(document["teams"]) == ["team-a", "team-b"]
    assert document["teams"]["team-b"]["ok"] is True
    assert document["teams"]["team-a"]["checks"][1] == {
        "id": "b",
        "title": "doesn't",
        "ok": False,
        "detail": "why",
        "remedy": "how",
        "severity": "error",
    }


# --- versions ----------------------------------------------------------------------------------------------------------------


def test_a_good_version_holds_a_bad_one_fails_an_unknown_one_warns() -> None:
    found = [
        _versions.of_image("envoy", "pod a/b", "envoy:v1.37.0"),
        _versions.of_image("envoy", "pod a/c", "envoy:v1.38.0"),
        _versions.of_image("envoy-gateway", "pod a/d", "gateway:v1.9.0"),
        _versions.of_image("oauth2-proxy", "pod a/e", "oauth2-proxy:v7.15.2"),
        _versions.of_image("gateway-api", "CRD x", "x@sha256:1"),
    ]
    checks = {check.id: check for check in _verify.judge_versions(found)}
    assert set(checks) == {"version:envoy-8202", "version:envoy-gateway", "version:oauth2-proxy-7.15.3", "version:gateway-api:unread:0"}
    assert checks["version:envoy-8202"].failed and "1.37.1" not in checks["version:envoy-8202"].detail
    assert "Upgrade" in checks["version:envoy-8202"].remedy
    assert checks["version:envoy-gateway"].ok and checks["version:envoy-gateway"].detail == "1.9.0"
    for warned in ("version:oauth2-proxy-7.15.3", "version:gateway-api:unread:0"):
        assert not checks[warned].ok and not checks[warned].failed
    assert _verify.judge_versions([]) == []
