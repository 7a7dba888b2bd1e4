# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does it hold? What the API says of a team's objects, and what somebody without a session gets to see from outside.

The functions named ``judge_*`` are pure: from an object or an answer to checks. ``verify_team`` asks and judges; it never
writes anything anywhere.
"""

from __future__ import annotations

import base64
import binascii
import collections.abc
import dataclasses
import datetime
import json
import re
import ssl
import time
import typing as t
import urllib.parse

from ansible_collections.platform.gateway_auth.plugins.module_utils._admission import POLICY, admission_manifests, claim, claim_data, hosts_claim
from ansible_collections.platform.gateway_auth.plugins.module_utils._conditions import (
    gateway_addresses,
    policy_verdict,
    quarantined_since,
    route_verdict,
    target_refs,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import NotReadyError
from ansible_collections.platform.gateway_auth.plugins.module_utils._isolation import Digests, listed
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import describe as describe_object
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import PROBE_PATH, REMOVAL_ANNOTATION, App, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import plan_object
from ansible_collections.platform.gateway_auth.plugins.module_utils._platform import platform_labels
from ansible_collections.platform.gateway_auth.plugins.module_utils._preflight import selects
from ansible_collections.platform.gateway_auth.plugins.module_utils._probe import (
    REFUSED,
    Answer,
    HopError,
    ProbeClient,
    at_once,
    describe,
    status_hint,
    wait_refused,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._versions import NAMES, Found, judge, unread
from ansible_collections.platform.gateway_auth.plugins.module_utils._waivers import in_force

Object = dict[str, t.Any]

# Answers that a gateway still converging gives; anything else (above all an app's answer) is judged at once.
TRANSIENT = frozenset({0, 404, 500, 502, 503, 504})
SETTLE_S = 10.0
PROBES_IN_A_ROW = 4
CERTIFICATE_DAYS = 14
# What an app could take for an identity, and what could bend the way back after the sign-in.
FORGED_HEADERS: t.Final = {
    "X-Auth-Request-User": "forged",
    "X-Auth-Request-Email": "forged@example.com",
    "X-Auth-Request-Preferred-Username": "forged",
    "X-Auth-Request-Groups": "forged",
    "X-Auth-Request-Access-Token": "forged",
    "X-Auth-Request-Redirect": "https://forged.example.com/",
    "X-Forwarded-User": "forged",
    "X-Forwarded-Email": "forged@example.com",
    "X-Forwarded-Groups": "forged",
    "X-Forwarded-Host": "forged.example.com",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Uri": "/oauth2/static/",
    "X-Original-URL": "/oauth2/static/",
    "X-Forwarded-Method": "OPTIONS",
}
# A deep link with what hand-made set-ups lose: a second parameter, an escape, a raw `//`.
DEEP_LINK = "/?gateway-auth=verify%20deep&link=https://example.com//x;y"
BROWSER: t.Final = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
XHR: t.Final = {"Accept": "application/json", "X-Requested-With": "XMLHttpRequest"}
GRAPH_SCOPE = "00000003-0000-0000-c000-000000000000/.default"  # Microsoft Graph's application id, the same in every cloud

# AADSTS code -> (what it means, remedy). https://learn.microsoft.com/entra/identity-platform/reference-error-codes
AADSTS: t.Final[dict[int, tuple[str, str]]] = {
    50011: ("the redirect URI isn't registered", "Register it in the team's app registration (onboard_team prints the list)."),
    50105: ("the user isn't assigned to the application", "Assign the team's groups to the enterprise application."),
    65001: ("consent is missing", "Grant consent for the scopes openid, profile, email and offline_access."),
    650053: ("the scope doesn't exist", "Remove the scope from gateway_auth_helm_values."),
    70021: ("no federated credential matches", "Check the app registration's federated credentials."),
    700016: ("the application isn't in this tenant", "Check gateway_auth_client_id and gateway_auth_tenant_id."),
    700211: ("no federated credential matches the issuer", "Check the app registration's federated credentials."),
    700213: ("no federated credential matches the subject", "Check the app registration's federated credentials."),
    7000112: ("the application is disabled", "Enable the enterprise application in Entra."),
    7000215: (
        "the client secret is wrong",
        "Run onboard_team, which replaces a secret of ours; give one of yours by its value (not its id) in gateway_auth_client_secret.",
    ),
    7000218: ("no client secret was presented", "Check gateway_auth_client_secret and run onboard_team."),
    7000222: ("the client secret has expired", "Run onboard_team, which replaces a secret of ours; give a new one of yours in gateway_auth_client_secret."),
    90002: ("the tenant doesn't exist", "Check gateway_auth_tenant_id."),
    900023: ("the tenant's id is malformed", "Check gateway_auth_tenant_id."),
}
# Refusals of the client itself; whatever else the token endpoint objects to comes after the client's secret was accepted.
CLIENT_REFUSED: t.Final = frozenset({700016, 7000112, 7000215, 7000218, 7000222, 90002, 900023, 70021, 700211, 700213})
CLIENT_ACCEPTED: t.Final = frozenset({53003, 501051, 65001, 50105, 1002012, 70011})

_LISTENER_SETS = ("ListenerSet", "XListenerSet")  # whose Gateway isn't looked up
_OVERLAP = ("RouteRulesOverlap",)
_AADSTS_CODE = re.compile(r"AADSTS(\d{4,9})")


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that holds or doesn't. A failed check of severity ``warning`` is told but doesn't fail the team."""

    id: str
    title: str
    ok: bool
    detail: str = ""
    remedy: str = ""
    severity: str = "error"

    @property
    def failed(self) -> bool:
        return not self.ok and self.severity == "error"

    def to_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)

    def line(self) -> str:
        """The check on one line."""
        if self.ok:
            return f"  ok    {self.title}" + (f" ({self.detail})" if self.detail else "")
        mark = "FAIL" if self.severity == "error" else "warn"
        return " ".join(part for part in (f"  {mark}  {self.title}: {_sentence(self.detail)}", self.remedy) if part)


@dataclasses.dataclass
class Live:
    """What was read of a team. Nothing here is shown as it is; ``client_secret`` never at all.

    ``routes`` (HTTPRoutes), ``grpc_routes`` and ``policies`` are the namespace's (the cluster's where the identity may list them,
    so that a foreign claim on a host is seen). ``admission`` holds the cluster's admission policies and bindings, None where they can't be
    read; ``claim`` is the team's, to be judged where ``whole_claim`` says that it could be read. ``unread`` names what the identity may not read.
    """

    gateway: Object | None = None
    routes: list[Object] = dataclasses.field(default_factory=list)
    grpc_routes: list[Object] = dataclasses.field(default_factory=list)
    policies: list[Object] = dataclasses.field(default_factory=list)
    deployments: list[Object] = dataclasses.field(default_factory=list)
    admission: list[Object] | None = dataclasses.field(default_factory=list)
    claim: Object | None = None
    whole_cluster: bool = True
    whole_claim: bool = True
    unread: list[str] = dataclasses.field(default_factory=list)
    versions: list[Found] = dataclasses.field(default_factory=list)
    proxy_log: str = dataclasses.field(default="", repr=False)
    client_secret: str = dataclasses.field(default="", repr=False)

    def route(self, namespace: str, name: str) -> Object | None:
        return _named(self.routes, namespace, name)

    def policy(self, namespace: str, name: str) -> Object | None:
        return _named(self.policies, namespace, name)


# --- objects ---------------------------------------------------------------------------------------------------------


def judge_gateway(team: Team, live: Live) -> list[Check]:
    """The Gateway's HTTPS listener takes routes and is programmed."""
    ref = team.gateway
    title = f"Gateway {ref.namespace}/{ref.name}: listener {ref.https_listener} is programmed"
    identity = "gateway"
    if live.gateway is None:
        return [Check(identity, title, False, "there is no such Gateway", "Check gateway_auth_gateway.")]
    status = live.gateway.get("status") or {}
    listener = next((item for item in status.get("listeners") or [] if item.get("name") == ref.https_listener), None)
    if listener is None:
        names = ", ".join(str(item.get("name")) for item in status.get("listeners") or []) or "none"
        return [
            Check(
                identity,
                title,
                False,
                f"its status has no such listener (it has {names})",
                "Check gateway_auth_gateway.https_listener, and that Envoy Gateway runs.",
            )
        ]
    problems = _untrue(status.get("conditions"), ("Programmed",), _generation(live.gateway))
    problems += _untrue(listener.get("conditions"), ("Accepted", "Programmed", "ResolvedRefs"), _generation(live.gateway))
    remedy = "See the Gateway's status: its listener's certificate Secret, its address and the Envoy pods."
    return [Check(identity, title, not problems, "; ".join(problems), "" if not problems else remedy)]


def judge_route(team: Team, live: Live, name: str) -> Check:
    """An HTTPRoute is accepted by our Gateway, in its present generation, and finds its backends."""
    title = f"HTTPRoute {name} is accepted by Gateway {team.gateway.name}"
    identity = f"route:{name}"
    rerun = f"Run onboard_team -e team={team.id}."
    route = live.route(team.namespace, name)
    if route is None:
        return Check(identity, title, False, f"it isn't in namespace {team.namespace}", rerun)
    verdict = route_verdict(route, team.gateway)
    problems = [] if verdict.ok else [verdict.why]
    for parent in (route.get("status") or {}).get("parents") or []:
        problems += _true(parent.get("conditions"), _OVERLAP)
    remedy = ""
    if problems:
        text = "; ".join(problems)
        remedy = rerun
        if "NotAllowedByListeners" in text:
            remedy = f"Let listener {team.gateway.https_listener} allow routes from namespace {team.namespace}."
        elif "NoMatchingListenerHostname" in text:
            remedy = "Choose a hostname that the listener covers (gateway_auth_hostname_pattern, gateway_auth_domain)."
        elif ("BackendNotFound" in text or "PortNotFound" in text) and name in {team.route_name(app) for app in team.apps}:
            remedy = "Check gateway_auth_apps[].service: name, port and namespace."
        elif "RouteRulesOverlap" in text:
            remedy = "Remove the other route, which claims the same host and path."
    return Check(identity, title, not problems, "; ".join(problems), remedy)


def judge_backends(team: Team, live: Live, app: App) -> list[Check]:
    """Whether the app itself is there; only a warning, because no door depends on it."""
    route = live.route(team.namespace, team.route_name(app)) or {}
    for parent in (route.get("status") or {}).get("parents") or []:
        condition = _conditions(parent.get("conditions")).get("BackendsAvailable")
        if condition and condition.get("status") == "False":
            where = f"{app.service.namespace}/{app.service.name}"
            title = f"app {app.name} has ready pods behind Service {where}"
            remedy = f"See: kubectl -n {app.service.namespace} get endpointslices,pods"
            return [Check(f"backends:{app.name}", title, False, str(condition.get("reason")), remedy, "warning")]
    return []


def judge_policy(team: Team, live: Live, app: App) -> list[Check]:
    """The app's SecurityPolicy is in force on the app's route, closed on errors, and nothing stands in its way."""
    name = team.policy_name(app)
    identity = f"policy:{name}"
    title = f"SecurityPolicy {name} is accepted and guards route {team.route_name(app)}"
    rerun = f"Run onboard_team -e team={team.id}."
    policy = live.policy(team.namespace, name)
    if policy is None:
        return [Check(identity, title, False, f"it isn't in namespace {team.namespace}", rerun)]
    spec = policy.get("spec") or {}
    problems = []
    if not any(_targets(ref, team.route_name(app)) and not ref.get("sectionName") for ref in target_refs(policy)):
        problems.append(f"its targetRefs don't name HTTPRoute {team.route_name(app)}")
    if (spec.get("extAuth") or {}).get("failOpen"):
        problems.append("failOpen is true, so an error of the proxy opens the app")
    if ((policy.get("metadata") or {}).get("annotations") or {}).get(REMOVAL_ANNOTATION) == "true":
        problems.append(f"annotation {REMOVAL_ANNOTATION} lifts its protection, so anybody who may write policies here can delete it")
    verdict = policy_verdict(policy, team.gateway)
    if not verdict.ok:
        problems.append(verdict.why)
    return [Check(identity, title, not problems, "; ".join(problems), rerun if problems else "")]


def judge_rivals(team: Team, live: Live) -> Check:
    """No other SecurityPolicy targets one of the team's routes: on a rule it would replace ours, though it be empty.

    Whatever mark it carries: ours guard by name.
    """
    title = "no other SecurityPolicy targets one of the team's routes"
    ours = {team.policy_name(app) for app in team.apps}
    rivals = []
    for policy in live.policies:
        meta = policy.get("metadata") or {}
        if meta.get("namespace") == team.namespace and meta.get("name") not in ours:
            names = sorted({str(route["metadata"]["name"]) for route in _own(team, live) if _is_target(policy, route)})
            if names:
                rivals.append(f"{meta.get('namespace')}/{meta.get('name')} targets {', '.join(names)}")
    remedy = "Remove it, or take its target away: a policy on a rule of a route replaces ours there." if rivals else ""
    return Check("policy-rivals", title, not rivals, "; ".join(rivals), remedy)


def judge_claims(team: Team, live: Live, hosts: collections.abc.Iterable[str]) -> Check:
    """No route but the team's own names one of the team's hosts: our policies wouldn't apply to it. Whatever mark it carries."""
    wanted = set(hosts)
    title = "no foreign route claims one of the team's hosts"
    claims = []
    for route in (*live.routes, *live.grpc_routes):
        meta = route.get("metadata") or {}
        spec = route.get("spec") or {}
        kind = str(route.get("kind") or "HTTPRoute")
        if kind == "HTTPRoute" and meta.get("namespace") == team.namespace and meta.get("name") in team.routes:
            continue
        names = sorted(wanted & {str(name) for name in spec.get("hostnames") or []})
        # On any listener: on the plain one it would answer in place of the redirect.
        if names and any(_is_gateway(parent, team, route) or parent.get("kind") in _LISTENER_SETS for parent in spec.get("parentRefs") or []):
            overlap = next((text for parent in (route.get("status") or {}).get("parents") or [] for text in _true(parent.get("conditions"), _OVERLAP)), "")
            claims.append(f"{kind} {meta.get('namespace')}/{meta.get('name')} claims {', '.join(names)}" + (f" [{overlap}]" if overlap else ""))
    remedy = ""
    if claims:
        remedy = "Remove that route: the team's policies don't guard it."
    detail = "; ".join(claims)
    if not claims and not live.whole_cluster:
        detail = f"only namespace {team.namespace} could be read"
    return Check("claims", title, not claims, detail, remedy)


def judge_admission(team: Team, live: Live) -> list[Check]:
    """The API server refuses such routes and policies. Only warnings: what is open now, the other checks say."""
    if not team.gateway.admission_policy:
        return []
    checks = []
    if live.admission is not None:
        title = "the API server guards hosts and policies of this Gateway"
        problems = []
        for desired in admission_manifests(team.gateway, platform_labels(team)):
            found = next((obj for obj in live.admission if obj["kind"] == desired["kind"] and obj["metadata"]["name"] == desired["metadata"]["name"]), None)
            change = plan_object(desired, found, ("all",))
            if change is not None:
                problems.append(f"{describe_object(desired)} " + ("isn't there" if found is None else f"differs: {'; '.join(change.reasons)}"))
        remedy = "Run prepare_gateway, or set gateway_auth_gateway.admission_policy: false where that isn't wanted." if problems else ""
        checks.append(Check("admission", title, not problems, "; ".join(problems), remedy, "warning"))
    if live.whole_claim and not team.named_groups:
        title = f"the team's claim on Gateway {team.gateway.name} is true"
        wanted = claim(team)
        if live.claim is not None and not any(key.startswith(POLICY) for key in claim_data(live.claim)):
            wanted = hosts_claim(wanted)  # as render_team writes it
        change = plan_object(wanted, live.claim, ("all",))
        detail = "" if change is None else f"{change.name} isn't there" if live.claim is None else f"{change.name} differs: {'; '.join(change.reasons)}"
        checks.append(Check("claim", title, change is None, detail, f"Run onboard_team -e team={team.id}." if change else "", "warning"))
    return checks


def judge_deployment(team: Team, live: Live, name: str, replicas: int) -> Check:
    """A Deployment runs what was last applied, with as many pods as it should."""
    title = f"Deployment {name} is available"
    identity = f"deployment:{name}"
    deployment = _named(live.deployments, team.namespace, name)
    if deployment is None:
        return Check(identity, title, False, f"it isn't in namespace {team.namespace}", f"Run onboard_team -e team={team.id}.")
    status = deployment.get("status") or {}
    problems = []
    if int(status.get("observedGeneration") or 0) < _generation(deployment):
        problems.append("the controller hasn't seen its last change yet")
    problems += _untrue(status.get("conditions"), ("Available",), None)
    ready, updated = int(status.get("availableReplicas") or 0), int(status.get("updatedReplicas") or 0)
    wanted = int((deployment.get("spec") or {}).get("replicas") or replicas)
    if ready < wanted or updated < wanted:
        problems.append(f"{ready} of {wanted} pods available, {updated} up to date")
    where = f"kubectl -n {team.namespace}"
    remedy = f"Run onboard_team -e team={team.id}: it undoes changes by hand. Else see: {where} describe deployment {name}; {where} logs deployment/{name}"
    return Check(identity, title, not problems, "; ".join(problems) or f"{ready} of {wanted}", remedy if problems else "")


# --- answers ---------------------------------------------------------------------------------------------------------


def judge_redirect(team: Team, host: str, path: str, answer: Answer | HopError, what: str, identity: str) -> Check:
    """Without a session a browser is sent to the right tenant's sign-in, for this client, with the way back to ``path``."""
    title = f"{host}: {what}"
    if isinstance(answer, HopError):
        return _no_answer(identity, title, answer)
    if answer.status != 302:
        return Check(identity, title, False, f"expected HTTP 302, got {_opened(answer)}", status_hint(answer.status))
    problems = _authorize_problems(team, host, answer.location)
    problems += _state_problems(answer.location, f"https://{host}{path}")
    problems += _cookie_problems(team, answer)
    remedy = f"Run onboard_team -e team={team.id}; see gateway_auth_helm_values if it says so again." if problems else ""
    return Check(identity, title, not problems, "; ".join(problems), remedy)


def judge_xhr(host: str, answer: Answer | HopError, identity: str) -> Check:
    """A program gets 401 with JSON, never a page or a redirect to another origin."""
    title = f"{host}: a program without a session gets 401 as JSON"
    if isinstance(answer, HopError):
        return _no_answer(identity, title, answer)
    if answer.status != REFUSED:
        return Check(identity, title, False, f"expected HTTP 401, got {_opened(answer)}", status_hint(answer.status))
    if answer.content_type != "application/json" or answer.body.lstrip()[:1] == b"<":
        return Check(
            identity,
            title,
            False,
            f"expected a body of type application/json, got {answer.content_type or 'none'}",
            "A responseOverride of a BackendTrafficPolicy may replace it: scope that to source Backend.",
        )
    return Check(identity, title, True)


def judge_http(host: str, path: str, answer: Answer | HopError, identity: str) -> Check:
    """Plain HTTP answers with 301 to the same address on https and nothing else."""
    title = f"{host}: plain HTTP is redirected to HTTPS"
    if isinstance(answer, HopError):
        return _no_answer(identity, title, answer)
    expected = f"https://{host}{path}"
    remedy = "Run prepare_gateway; check that no route is attached to the HTTP listener (gateway_auth_gateway.http_listener)."
    if answer.status != 301:
        return Check(identity, title, False, f"expected HTTP 301, got {_opened(answer)}", remedy)
    if answer.location.replace(f"https://{host}:443/", f"https://{host}/", 1) != expected:
        return Check(identity, title, False, f"expected Location {expected}, got {answer.location}", remedy)
    return Check(identity, title, True)


def judge_certificate(host: str, answer: Answer | HopError, identity: str, now: float | None = None) -> Check:
    """The certificate names the host (TLS has proven that) and doesn't end soon."""
    title = f"{host}: answers with a certificate that is valid for it"
    if isinstance(answer, HopError):
        return _no_answer(identity, title, answer)
    if not answer.peer_cert or "notAfter" not in answer.peer_cert:
        return Check(identity, title, False, "no certificate was seen", "Check gateway_auth_probe.")
    end = ssl.cert_time_to_seconds(str(answer.peer_cert["notAfter"]))
    days = int((end - (time.time() if now is None else now)) // 86400)
    day = datetime.datetime.fromtimestamp(end, datetime.UTC).date().isoformat()
    if days < CERTIFICATE_DAYS:
        detail = f"it ends on {day}, in {days} days"
        return Check(identity, title, False, detail, "Renew the certificate of the Gateway's HTTPS listener.", "warning")
    return Check(identity, title, True, f"until {day}, {days} days")


def judge_registration(team: Team, host: str, answer: Answer | HopError, identity: str) -> Check:
    """What Entra says to this host's sign-in request with prompt=none and no user.

    A registered redirect URI gets the answer login_required; what isn't registered gets a page and no redirect
    (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow, "prompt").
    """
    uri = team.redirect_uri(host)
    title = f"{host}: Entra knows the client id and the redirect URI"
    if isinstance(answer, HopError):
        return Check(
            identity,
            title,
            False,
            f"could not be asked: {answer.reason}",
            "Let this machine reach Entra (HTTPS_PROXY), or look at the registration yourself.",
            "warning",
        )
    location = urllib.parse.urlsplit(answer.location)
    query = urllib.parse.parse_qs(f"{location.query}&{location.fragment}")
    text = " ".join(query.get("error_description", [])) or answer.body.decode("utf-8", "replace")
    code = aadsts_code(text)
    if answer.status in (302, 303) and _without_query(answer.location) == uri:
        error = query.get("error", [""])[0]
        if error in ("login_required", "interaction_required") or not error:
            return Check(identity, title, True)
        meaning, remedy = AADSTS.get(code, (error, "See the app registration in Entra."))
        return Check(identity, title, False, f"Entra answered {_code(code) or error}: {meaning}", remedy)
    if code == 50011:
        return Check(
            identity,
            title,
            False,
            f"Entra answered AADSTS50011: {uri} isn't a redirect URI of application {team.client_id}",
            f"Register {uri} as a redirect URI (type Web) of the application.",
        )
    if code:
        meaning, remedy = AADSTS.get(code, ("see Microsoft's list of error codes", "See the app registration in Entra."))
        return Check(identity, title, False, f"Entra answered AADSTS{code}: {meaning}", remedy)
    return Check(identity, title, True, "Entra shows its sign-in page; a member's sign-in will tell")


def judge_client_secret(team: Team, answer: Answer | HopError) -> Check:
    """What Entra's token endpoint says to the client's own credentials (client_credentials, the token is thrown away).

    Not an authorization code that was made up: for one that it can't parse Entra may answer AADSTS9002313 before it looks
    at the secret, which would pass for a good one.
    """
    title = "Entra accepts the client secret that the proxy uses"
    identity = "client_secret"
    if isinstance(answer, HopError):
        return Check(
            identity,
            title,
            False,
            f"could not be asked: {answer.reason}",
            "Let this machine reach Entra (HTTPS_PROXY), or log in once and run verify_team again.",
            "warning",
        )
    if answer.status == 200:
        return Check(identity, title, True)
    code = _error_code(answer.body)
    if code in CLIENT_ACCEPTED:
        return Check(identity, title, True, f"AADSTS{code} after it")
    if code in CLIENT_REFUSED:
        meaning, remedy = AADSTS[code]
        return Check(identity, title, False, f"AADSTS{code}: {meaning}", remedy)
    what = f"AADSTS{code}" if code else f"HTTP {answer.status}"
    return Check(
        identity,
        title,
        False,
        f"Entra answered {what}, which says nothing of the secret",
        f"Log in at https://{team.proxy_host}/ and run verify_team again.",
        "warning",
    )


def judge_log(text: str) -> list[Check]:
    """AADSTS codes in the proxy's recent log: what people met at the callback. Only the code is told, never the line."""
    counts: dict[int, int] = {}
    for match in _AADSTS_CODE.finditer(text):
        counts[int(match.group(1))] = counts.get(int(match.group(1)), 0) + 1
    title = "the proxy's recent log has no refusal by Entra"
    if not counts:
        return [Check("log", title, True)]
    checks = []
    for code, count in sorted(counts.items()):
        meaning, remedy = AADSTS.get(code, ("see Microsoft's list of error codes", f"https://login.microsoftonline.com/error?code={code}"))
        detail = f"AADSTS{code} {count} times in its last lines: {meaning}"
        checks.append(Check(f"log:{code}", title, False, detail, remedy, "warning"))
    return checks


def judge_versions(found: collections.abc.Collection[Found]) -> list[Check]:
    """Nothing runs in a version that is known to be bad. One that isn't known is a warning, neither good nor bad."""
    checks = [
        Check(
            f"version:{judgement.entry.id}",
            f"{' with '.join(NAMES[item.component] for item in judgement.found)}: no version known to be bad",
            False,
            judgement.text,
            judgement.entry.remedy,
            "error" if judgement.refused else "warning",
        )
        for judgement in judge(found)
    ]
    bad = {item.component for judgement in judge(found) for item in judgement.found}
    for component in dict.fromkeys(item.component for item in found):
        title = f"{NAMES[component]}: no version known to be bad"
        there = [item for item in found if item.component == component]
        known = sorted({item.version for item in there if item.version is not None})
        if known and component not in bad:
            checks.append(Check(f"version:{component}", title, True, ", ".join(map(str, known))))
        for number, item in enumerate(unread(there)):
            detail = f"{item.where}: the version isn't known, {item.unread}"
            checks.append(Check(f"version:{component}:unread:{number}", title, False, detail, "docs/versions.md lists those that won't do.", "warning"))
    return checks


def judge_unread(live: Live) -> list[Check]:
    """What this identity may not read stays unjudged, and that is said."""
    title = "everything that is to be judged can be read"
    return [
        Check(f"unread:{number}", title, False, what, "Grant it to the identity of gateway_auth_cluster.", "warning") for number, what in enumerate(live.unread)
    ]


def judge_dns(host: str, addresses: list[str], expected: list[str]) -> Check:
    """DNS leads to the Gateway. Only a warning: this machine's DNS need not be the users'."""
    title = f"{host}: DNS leads to the Gateway"
    remedy = f"Publish {host} with {' or '.join(expected) or 'the address of the Gateway'}."
    if not addresses:
        return Check(f"dns:{host}", title, False, "the name can't be resolved here", remedy, "warning")
    if expected and not set(addresses) & set(expected):
        detail = f"it leads to {', '.join(addresses)}, the Gateway has {', '.join(expected)}"
        return Check(f"dns:{host}", title, False, detail, remedy, "warning")
    return Check(f"dns:{host}", title, True, ", ".join(addresses))


# --- asking ----------------------------------------------------------------------------------------------------------


def verify_team(
    team: Team,
    client: ProbeClient,
    live: Live,
    entra: ProbeClient | None = None,
    resolve: collections.abc.Callable[[str], list[str]] | None = None,
    settle: float = SETTLE_S,
) -> list[Check]:
    """Every check of a team, in the order of the road: objects, each host from outside, Entra.

    ``entra`` reaches the sign-in's authority (None: those checks are left out); ``resolve`` looks a name up in DNS (None:
    left out, as behind a proxy). ``settle`` seconds in all may go into asking again where Envoy still converges.
    """
    asking = Asking(client, time.monotonic() + settle)
    checks = judge_quarantine(team, live) + judge_objects(team, live)
    addresses = gateway_addresses(live.gateway)

    def judged(host: str, app: App | None) -> list[Check]:
        found = verify_host(team, host, asking, entra, app)
        return [*found, judge_dns(host, resolve(host), addresses)] if resolve is not None else found

    doors: list[tuple[str, App | None]] = [*((app.hostname, app) for app in team.apps), (team.proxy_host, None)]
    for found in at_once(lambda door: judged(*door), doors):
        checks += found
    if entra is not None and team.credential != "federated" and live.client_secret:
        checks.append(judge_client_secret(team, ask_token(team, entra, live.client_secret)))
    return [*checks, *judge_waivers(team), *judge_versions(live.versions), *judge_log(live.proxy_log), *judge_unread(live)]


def judge_quarantine(team: Team, live: Live) -> list[Check]:
    """Said only of a team that is about to be removed: then what fails below is meant."""
    mark = team.owner_labels().items()
    here = [obj for obj in live.routes if obj["metadata"].get("namespace") == team.namespace]
    since = quarantined_since(obj for obj in here if mark <= (obj["metadata"].get("labels") or {}).items())
    remedy = f"It is being offboarded: restore_team -e team={team.id} brings it back."
    return [Check("quarantine", "the team is in service", False, f"in quarantine since {since}", remedy)] if since else []


def judge_waivers(team: Team) -> list[Check]:
    """What the platform has opened on purpose: told each time, and no failure."""
    return [
        Check(f"waiver:{used.waiver.option}", "a guarantee is waived", False, str(used), "Remove it as soon as it isn't needed any more.", "warning")
        for used in in_force(team)
    ]


# Keys of a team's Secrets that must be worth nothing to another team, and what renews each.
APART: t.Final[dict[str, str]] = {
    "client-secret": "Give each registration a secret of its own in gateway_auth_client_secret, and run onboard_team.",
    "cookie-secret": "Run rotate_team -e team={id} -e rotate=cookie_secret.",
    "redis-password": "Run rotate_team -e team={id} -e rotate=redis_password.",
}


def judge_apart(team: Team, digests: Digests) -> list[Check]:
    """No other team that this run verifies holds the same secret; none is shown, and nothing is said of a single team."""
    if digests.teams < 2:
        return []
    same = digests.same(team.name)
    checks = [
        Check(f"apart:{key}", f"{key} is this team's own", False, f"the same as that of {listed(others)}", APART[key].format(id=team.id))
        for key, others in same.items()
    ]
    return checks or [Check("apart", f"no secret is that of another of the {digests.teams} teams", True)]


def judge_objects(team: Team, live: Live) -> list[Check]:
    """What the API says of the team's objects."""
    checks = judge_gateway(team, live)
    checks.append(judge_deployment(team, live, team.release, team.replicas))
    if team.session_store.type == "bundled":
        checks.append(judge_deployment(team, live, team.store_name, 1))
    for app in team.apps:
        checks.append(judge_route(team, live, team.route_name(app)))
        checks.append(judge_route(team, live, team.passthrough_name(app)))
        checks += judge_backends(team, live, app)
        checks += judge_policy(team, live, app)
    checks.append(judge_route(team, live, team.release))
    checks.append(judge_rivals(team, live))
    checks.append(judge_claims(team, live, team.hosts))
    return [*checks, *judge_admission(team, live)]


def verify_host(team: Team, host: str, asking: Asking, entra: ProbeClient | None, app: App | None) -> list[Check]:
    """The checks of one host from outside; ``app`` is None for the proxy's own host."""
    key = app.name if app is not None else "proxy"
    # The proxy's own host leads to no app, and oauth2-proxy answers 400 itself to a raw `;` in a query.
    path = DEEP_LINK if app is not None else "/"
    plain = asking.ask(host, path, headers=BROWSER)
    checks = [judge_certificate(host, plain, f"certificate:{key}")]
    if isinstance(plain, HopError):
        # One line says it: nothing else on this host can be judged.
        return checks
    if app is None:
        checks.append(judge_redirect(team, host, path, plain, "the proxy's own host leads to the sign-in", f"redirect:{key}"))
    else:
        checks.append(judge_redirect(team, host, path, plain, "a browser without a session is sent to sign in", f"redirect:{key}"))
        checks.append(judge_xhr(host, asking.ask(host, DEEP_LINK, headers=XHR), f"xhr:{key}"))
        forged = asking.ask(host, DEEP_LINK, headers={**BROWSER, **FORGED_HEADERS})
        checks.append(judge_redirect(team, host, DEEP_LINK, forged, "forged headers open nothing", f"forged:{key}"))
        checks.append(_sentinel(host, asking, f"sentinel:{key}"))
        start = asking.ask(host, f"{team.proxy_prefix}/start", headers=BROWSER)
        checks.append(judge_redirect(team, host, "/", start, f"{team.proxy_prefix}/start begins a sign-in", f"start:{key}"))
    checks.append(judge_http(host, DEEP_LINK, asking.ask(host, DEEP_LINK, scheme="http"), f"http:{key}"))
    if entra is not None and plain.status == 302 and plain.location.startswith(f"{team.authority}/"):
        checks.append(judge_registration(team, host, ask_authorize(plain.location, entra), f"registration:{key}"))
    return checks


def ask_authorize(location: str, entra: ProbeClient) -> Answer | HopError:
    """Follow the sign-in's address as nobody, without a page to fill in (prompt=none)."""
    parts = urllib.parse.urlsplit(location)
    pairs = [pair for pair in parts.query.split("&") if not pair.startswith(("prompt=", "approval_prompt=", "login_hint="))]
    try:
        return entra.request(parts.netloc, f"{parts.path}?{'&'.join([*pairs, 'prompt=none'])}", headers=BROWSER)
    except HopError as exc:
        return exc


def ask_token(team: Team, entra: ProbeClient, secret: str) -> Answer | HopError:
    """Ask the token endpoint for an app-only token with the proxy's own credentials."""
    authority = urllib.parse.urlsplit(team.authority)
    form = {
        "grant_type": "client_credentials",
        "client_id": team.client_id,
        "client_secret": secret,
        "scope": GRAPH_SCOPE,
    }
    try:
        answer = entra.request(
            authority.netloc,
            f"{authority.path}/{team.tenant_id}/oauth2/v2.0/token",
            method="POST",
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            body=urllib.parse.urlencode(form).encode("ascii"),
        )
    except HopError as exc:
        return exc
    # The token is of no use here and must not live on.
    return dataclasses.replace(answer, body=b"") if answer.status == 200 else answer


class Asking:
    """Requests that give a converging gateway time, out of one budget for the whole team."""

    def __init__(self, client: ProbeClient, deadline: float) -> None:
        self.client = client
        self.deadline = deadline

    def ask(self, host: str, path: str, *, scheme: str = "https", headers: collections.abc.Mapping[str, str] | None = None) -> Answer | HopError:
        pause = 0.1
        while True:
            answer: Answer | HopError
            try:
                answer = self.client.request(host, path, scheme=scheme, headers=headers)
            except HopError as exc:
                answer = exc
            status = 0 if isinstance(answer, HopError) else answer.status
            if status not in TRANSIENT or time.monotonic() + pause > self.deadline:
                return answer
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    def left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())


def _sentinel(host: str, asking: Asking, identity: str) -> Check:
    title = f"{host}: {PROBE_PATH} is refused"
    try:
        wait_refused(asking.client, host, PROBE_PATH, consecutive=PROBES_IN_A_ROW, timeout=min(3.0, max(1.0, asking.left())))
    except NotReadyError as exc:
        return Check(identity, title, False, exc.message.rstrip("."), exc.remedy)
    return Check(identity, title, True, f"{PROBES_IN_A_ROW} times, each on a new connection")


# --- telling ---------------------------------------------------------------------------------------------------------


def render(checks: collections.abc.Iterable[Check]) -> str:
    """One line a check, under a line that counts them."""
    listed = list(checks)
    return "\n".join([summary(listed), *(check.line() for check in listed)])


def summary(checks: collections.abc.Iterable[Check]) -> str:
    """``21 checks: 20 hold, 1 failed, 0 warnings``"""
    listed = list(checks)
    failed = sum(check.failed for check in listed)
    warned = sum(not check.ok and not check.failed for check in listed)
    return f"{len(listed)} checks: {len(listed) - failed - warned} hold, {failed} failed, {warned} warnings"


def report(teams: collections.abc.Mapping[str, collections.abc.Iterable[Check]], when: float | None = None) -> dict[str, t.Any]:
    """The report's document: plain data, no secrets, the same keys for ever."""
    moment = datetime.datetime.fromtimestamp(time.time() if when is None else when, datetime.UTC)
    listed = {name: list(checks) for name, checks in teams.items()}
    return {
        "verified_at": moment.isoformat(timespec="seconds"),
        "ok": not any(check.failed for checks in listed.values() for check in checks),
        "teams": {
            name: {"ok": not any(check.failed for check in checks), "checks": [check.to_dict() for check in checks]} for name, checks in sorted(listed.items())
        },
    }


# --- small things ----------------------------------------------------------------------------------------------------


def aadsts_code(text: str) -> int:
    """The first AADSTS code in a text, 0 when there is none."""
    match = _AADSTS_CODE.search(text)
    return int(match.group(1)) if match else 0


def _error_code(body: bytes) -> int:
    try:
        document = json.loads(body)
        codes = document.get("error_codes") or [0]
        return int(codes[0]) or aadsts_code(str(document.get("error_description", "")))
    except (ValueError, TypeError, AttributeError, IndexError):
        return aadsts_code(body.decode("utf-8", "replace"))


def _authorize_problems(team: Team, host: str, location: str) -> list[str]:
    parts = urllib.parse.urlsplit(location)
    query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
    expected_url = f"{team.authority}/{team.tenant_id}/oauth2/v2.0/authorize"
    problems = []
    if _without_query(location) != expected_url:
        return [f"expected Location {expected_url}, got {_without_query(location) or 'none'}"]
    for name, expected in (
        ("client_id", team.client_id),
        ("redirect_uri", team.redirect_uri(host)),
        ("response_type", "code"),
        ("code_challenge_method", "S256"),
    ):
        got = query.get(name, [])
        if got != [expected]:
            problems.append(f"expected {name} {expected}, got {', '.join(got) or 'none'}")
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", query.get("code_challenge", [""])[0]):
        problems.append("code_challenge isn't an S256 challenge")
    scopes = query.get("scope", [""])[0].split()
    if "openid" not in scopes:
        problems.append(f"scope lacks openid (it is {' '.join(scopes) or 'empty'})")
    # Without a nonce check the proxy sends none (_proxy_values says why with a federated credential).
    sent = ("state",) if team.credential == "federated" else ("state", "nonce")
    problems += [f"no {name} is sent" for name in sent if not query.get(name, [""])[0]]
    return problems


def _state_problems(location: str, expected: str) -> list[str]:
    """oauth2-proxy's state is ``<nonce>:<way back>``, in base64url with --encode-state."""
    state = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query).get("state", [""])[0]
    if not state:
        return []
    text = state
    if ":" not in state:
        try:
            text = base64.urlsafe_b64decode(state + "=" * (-len(state) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            return []
    target = text.partition(":")[2]
    # With nowhere to go back to, oauth2-proxy says `/`.
    at_root = expected.endswith("/") and urllib.parse.urlsplit(expected).path == "/"
    if target == expected or (at_root and target == "/"):
        return []
    return [f"after the sign-in it would lead to {target} instead of {expected}"]


def _cookie_problems(team: Team, answer: Answer) -> list[str]:
    problems = []
    cookies = [value for name, value in answer.headers if name.lower() == "set-cookie"]
    if not cookies:
        problems.append("no CSRF cookie is set")
    for cookie in cookies:
        name, _equals, rest = cookie.partition("=")
        attributes = [part.strip().lower() for part in rest.split(";")[1:]]
        if not name.startswith(team.cookie_name):
            problems.append(f"cookie {name} isn't the team's own ({team.cookie_name})")
        missing = [flag for flag in ("secure", "httponly", "path=/") if flag not in attributes]
        if missing:
            problems.append(f"cookie {name} lacks {', '.join(missing)}")
        domains = [attribute.removeprefix("domain=").removeprefix(".") for attribute in attributes if attribute.startswith("domain=")]
        if domains != ([team.cookie_domain] if team.cookie_domain else []):
            expected = f"the team's subzone {team.cookie_domain} alone" if team.cookie_domain else "its own host alone"
            problems.append(f"cookie {name} has the Domain {', '.join(domains) or 'of its host'}, expected {expected}: it decides which hosts receive it")
    return problems


def _no_answer(identity: str, title: str, problem: HopError) -> Check:
    return Check(identity, title, False, problem.message.rstrip("."), problem.remedy)


def _opened(answer: Answer) -> str:
    return f"{describe(answer)}: the app answers without a session" if 200 <= answer.status < 300 else describe(answer)


def _without_query(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def _code(code: int) -> str:
    return f"AADSTS{code}" if code else ""


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _named(objects: collections.abc.Iterable[Object], namespace: str, name: str) -> Object | None:
    for obj in objects:
        meta = obj.get("metadata") or {}
        if meta.get("namespace") == namespace and meta.get("name") == name:
            return obj
    return None


def _own(team: Team, live: Live) -> list[Object]:
    """The team's routes: those that are there, and the names of those that aren't yet."""
    found = [live.route(team.namespace, name) for name in team.routes]
    return [route or {"metadata": {"name": name, "labels": team.owner_labels()}} for name, route in zip(team.routes, found, strict=True)]


def _is_target(policy: Object, route: Object) -> bool:
    """Whether a policy of the route's namespace targets the route or a rule of it."""
    labels = (route["metadata"].get("labels")) or {}
    selectors = (policy.get("spec") or {}).get("targetSelectors") or []
    return any(_targets(ref, route["metadata"]["name"]) for ref in target_refs(policy)) or any(
        selector.get("kind") == "HTTPRoute" and selects(selector, labels) for selector in selectors
    )


def _targets(ref: Object, route: str) -> bool:
    return ref.get("kind") == "HTTPRoute" and ref.get("name") == route


def _is_gateway(ref: Object, team: Team, route: Object) -> bool:
    namespace = ref.get("namespace") or (route.get("metadata") or {}).get("namespace")
    return ref.get("kind", "Gateway") == "Gateway" and ref.get("name") == team.gateway.name and namespace == team.gateway.namespace


def _generation(obj: Object) -> int:
    return int((obj.get("metadata") or {}).get("generation") or 0)


def _conditions(conditions: t.Any) -> dict[str, Object]:
    return {str(item.get("type")): item for item in conditions or []}


def _untrue(conditions: t.Any, types: collections.abc.Iterable[str], generation: int | None) -> list[str]:
    """Conditions that aren't True for the object's present generation."""
    by_type = _conditions(conditions)
    problems = []
    for name in types:
        condition = by_type.get(name)
        if condition is None:
            problems.append(f"no condition {name}")
        elif condition.get("status") != "True":
            problems.append(f"{name} is {condition.get('status')}: {condition.get('reason')} {_clean(condition)}".rstrip())
        elif generation is not None and int(condition.get("observedGeneration") or 0) != generation:
            problems.append(f"{name} is of generation {condition.get('observedGeneration')}, the object is at {generation}")
    return problems


def _true(conditions: t.Any, types: collections.abc.Iterable[str]) -> list[str]:
    """Conditions that are True and must not be."""
    by_type = _conditions(conditions)
    return [
        f"{name}: {by_type[name].get('reason')} {_clean(by_type[name])}".rstrip() for name in types if name in by_type and by_type[name].get("status") == "True"
    ]


def _clean(condition: Object) -> str:
    text = " ".join(str(condition.get("message") or "").split())
    return f"({text[:200]})" if text else ""
