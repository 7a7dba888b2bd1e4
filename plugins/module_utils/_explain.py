# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why can't somebody get in at this URL? The road of one request, link by link, up to the first that is broken.

Each link is judged by what the API says or by what somebody without a session gets, as in ``_verify``; nothing is written. What
comes after a broken link isn't asked, for its answer would only be a consequence. The proxy's log is read in any case: it knows
what happened to people who did sign in.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import json
import re
import time
import typing as t
import urllib.parse

from ansible_collections.platform.gateway_auth.plugins.module_utils._conditions import gateway_addresses
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import auth_path
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import PROBE_PATH, App, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._preflight import covers
from ansible_collections.platform.gateway_auth.plugins.module_utils._probe import Answer, HopError, ProbeClient, describe, status_hint
from ansible_collections.platform.gateway_auth.plugins.module_utils._spec import PREFIX, TEAM_KEYS
from ansible_collections.platform.gateway_auth.plugins.module_utils._verify import (
    AADSTS,
    BROWSER,
    Asking,
    Check,
    Live,
    aadsts_code,
    ask_authorize,
    ask_token,
    judge_backends,
    judge_certificate,
    judge_claims,
    judge_client_secret,
    judge_deployment,
    judge_dns,
    judge_gateway,
    judge_log,
    judge_policy,
    judge_redirect,
    judge_registration,
    judge_route,
)

SETTLE_S = 3.0


@dataclasses.dataclass(frozen=True)
class Target:
    """One URL of one team. ``app`` is None for the proxy's own host; ``path`` begins with ``/`` and keeps its query."""

    url: str
    host: str
    path: str
    app: App | None


@dataclasses.dataclass(frozen=True)
class _Line:
    """A line of oauth2-proxy 7.15's log that tells of a cause. ``option``: what mends it, without ``gateway_auth_``."""

    pattern: re.Pattern[str]
    meaning: str
    option: str
    remedy: str


# Texts of oauth2-proxy 7.15.3 (oauthproxy.go, providers/oidc.go, pkg/sessions, pkg/app/redirect) and of the go-redis client in it.
_LINES: tuple[_Line, ...] = (
    _Line(
        re.compile(r"Invalid authentication via OAuth2: unauthorized"),
        "somebody signed in at Entra and is in none of the team's groups, as far as their token says",
        "allowed_groups",
        "Add a group of theirs to {option}, or them to a group. Somebody in more than 200 groups gets none in the token:"
        " verify_team counts memberships, and gateway_auth_groups_claim: application mends it.",
    ),
    _Line(
        re.compile(r"Invalid authorization via session"),
        "somebody's session ended because their groups no longer let them in",
        "allowed_groups",
        "That is what is meant to happen when somebody leaves a group of {option}.",
    ),
    _Line(
        re.compile(r"neither the id_token nor the profileURL set an email"),
        "Entra's token lacks the claim that names the user",
        "identity_claim",
        "Set {option} to a claim that every user has, such as preferred_username.",
    ),
    _Line(
        re.compile(r"WRONGPASS|NOAUTH"),
        "the session store refuses the proxy's password",
        "session_store.secret",
        "Run onboard_team for a bundled store; for an external one correct the Secret that {option} names.",
    ),
    _Line(
        re.compile(r"redis initialization key|dial tcp[^\n]*:(6379|6380)|redis: [^\n]*(refused|timeout|no such host)"),
        "the session store can't be reached",
        "session_store.url",
        "See that the store's pod runs (a proxy that starts before its store says this once); for an external one check {option} and the network between.",
    ),
    _Line(
        re.compile(r"OOM command not allowed"),
        "the session store is full",
        "session_store",
        "Shorten gateway_auth_session.expire, or use an external store ({option}).",
    ),
    _Line(
        re.compile(r"failed to discover OIDC configuration|error while discovery OIDC configuration"),
        "the proxy can't read Entra's configuration of the tenant",
        "tenant_id",
        "Check {option}, and that the cluster's pods may reach Entra (egress, DNS, an inspecting firewall's CA).",
    ),
    _Line(
        re.compile(r"x509: "),
        "the proxy doesn't trust a certificate on its way to Entra or to its store",
        "helm_values",
        "Give the proxy the CA of an inspecting firewall: provider-ca-file and a mounted volume in {option}; never skip the check.",
    ),
    _Line(
        re.compile(r"unable to obtain CSRF cookie|CSRF token mismatch|CSRF cookie failed validation"),
        "a sign-in ended in another browser, after more than 15 minutes, or in too many tabs",
        "session",
        "Open the app again. If everybody meets it, look for something between browser and gateway that drops or renames cookies.",
    ),
    _Line(
        re.compile(r"domain / port not in whitelist"),
        "somebody was to be led to a host that isn't the team's",
        "apps",
        "If the host is one of theirs, it must be an app of {option}; otherwise somebody tried.",
    ),
    _Line(
        re.compile(r"id_token nonce claim does not match"),
        "an ID token belongs to another sign-in",
        "credential",
        "With {option}: federated and a nonce check of your own this ends every session; leave the check off there.",
    ),
    _Line(
        re.compile(r"Unable to refresh session: [^\n]*invalid_grant"),
        "Entra no longer renews somebody's session (password changed, sign-in revoked, a policy)",
        "session",
        "They sign in again; nothing is to be set.",
    ),
    _Line(
        re.compile(r"invalid response from microsoft graph, no groups added"),
        "somebody is in too many groups for a token, and the proxy couldn't read them from Graph",
        "groups_claim",
        "Set {option} to application, and assign the team's groups to the enterprise application.",
    ),
)


def find_target(teams: collections.abc.Iterable[Team], url: str) -> tuple[Team, Target]:
    """The team whose host the URL names. Raises GatewayAuthError when it isn't a URL or nobody's."""
    parts = urllib.parse.urlsplit(url if "://" in url else f"https://{url}")
    host = (parts.hostname or "").lower()
    if parts.scheme != "https" or not host:
        raise GatewayAuthError(
            f"Expected -e explain to be an https URL of an app, found {url!r}.",
            "Give what somebody typed, such as -e explain=https://prometheus-team-a.apps.example.com/graph.",
        )
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    known: dict[str, Team] = {}
    for team in teams:
        known[team.proxy_host] = team
        for app in team.apps:
            known[app.hostname] = team
            if app.hostname == host:
                return team, Target(url, host, path, app)
        if team.proxy_host == host:
            return team, Target(url, host, path, None)
    near = difflib.get_close_matches(host, known, n=1, cutoff=0.5)
    hint = f" The nearest is {near[0]} of {known[near[0]].name}." if near else ""
    raise GatewayAuthError(
        f"No addressed team has host {host}.{hint}",
        "Check the URL, gateway_auth_apps and gateway_auth_hostname_pattern, and which teams the run addresses (-e team, --limit).",
    )


def explain(
    team: Team,
    target: Target,
    client: ProbeClient,
    live: Live,
    entra: ProbeClient | None = None,
    resolve: collections.abc.Callable[[str], list[str]] | None = None,
) -> list[Check]:
    """Every link up to the first broken one, then the log. ``resolve`` is None where a proxy resolves names."""
    walk = _Walk(team, target, Asking(client, time.monotonic() + SETTLE_S), live, entra, resolve)
    checks = [Check("explain:inventory", _whose(team, target), True)]
    for link in walk.links():
        found = link()
        checks += found
        if any(check.failed for check in found):
            break
    return [*checks, *_log(team, live.proxy_log)]


def render(target: Target, checks: collections.abc.Sequence[Check]) -> str:
    """The walk as text: the cause first, then link by link."""
    broken = next((check for check in checks if check.failed), None)
    warned = [check for check in checks if not check.ok and not check.failed]
    if broken is not None:
        verdict = f"the first broken link is this: {broken.title}: {broken.detail.rstrip('.')}. {broken.remedy}".rstrip()
    elif warned:
        verdict = "every link holds; what follows was found besides"
    else:
        verdict = "every link holds, up to Entra's sign-in page"
    return "\n".join([f"{target.url}: {verdict}", *(check.line() for check in checks)])


class _Walk:
    """The links in the order of a request. Each is asked only when all before it hold."""

    def __init__(
        self,
        team: Team,
        target: Target,
        asking: Asking,
        live: Live,
        entra: ProbeClient | None,
        resolve: collections.abc.Callable[[str], list[str]] | None,
    ) -> None:
        self.team, self.target, self.asking, self.live, self.entra, self.resolve = team, target, asking, live, entra, resolve
        self.app = target.app
        self.answer: Answer | HopError | None = None

    def links(self) -> list[t.Callable[[], list[Check]]]:
        """Store and proxy before route and policy: without them Envoy Gateway finds fault with those."""
        to_the_gateway = [self.dns, self.listener, self.connection]
        at_entra = [self.discovery, self.door, self.registration, self.secret]
        return [*to_the_gateway, self.store, self.proxy, self.route, self.policy, *at_entra]

    # --- the way to the gateway ----------------------------------------------------------------------------------------
    def dns(self) -> list[Check]:
        if self.resolve is None:
            return []
        return [judge_dns(self.target.host, self.resolve(self.target.host), gateway_addresses(self.live.gateway))]

    def listener(self) -> list[Check]:
        checks = judge_gateway(self.team, self.live)
        listeners = ((self.live.gateway or {}).get("spec") or {}).get("listeners") or []
        listener: t.Mapping[str, t.Any] = next((item for item in listeners if item.get("name") == self.team.gateway.https_listener), {})
        pattern = str(listener.get("hostname") or "")
        if not covers(pattern, self.target.host):
            title = f"listener {self.team.gateway.https_listener} takes requests for {self.target.host}"
            remedy = f"Widen the listener's hostname, or correct {where(self.team, 'domain')} or {where(self.team, 'hostname_pattern')}."
            checks.append(Check("explain:listener", title, False, f"its hostname is {pattern}", remedy))
        return checks

    def connection(self) -> list[Check]:
        """TCP, TLS and an HTTP answer, of whatever kind."""
        self.answer = self.asking.ask(self.target.host, self.target.path, headers=BROWSER)
        if isinstance(self.answer, HopError) and self.answer.hop != "tls":
            title = f"{self.target.host} is reached ({self.answer.hop})"
            return [Check("explain:connection", title, False, self.answer.message.rstrip("."), self.answer.remedy)]
        return [judge_certificate(self.target.host, self.answer, "explain:tls")]

    # --- through it ----------------------------------------------------------------------------------------------------
    def kind(self) -> str:
        """What takes the path: ``app``, ``public``, ``pages`` (the proxy's own) or ``sentinel``."""
        path = urllib.parse.urlsplit(self.target.path).path
        if self.app is None or _below(path, self.team.proxy_prefix):
            return "pages"
        if path == PROBE_PATH:
            return "sentinel"
        return "public" if any(_below(path, public) for public in self.app.public_paths) else "app"

    def route(self) -> list[Check]:
        if self.app is None:
            return [judge_route(self.team, self.live, self.team.release), judge_claims(self.team, self.live, [self.target.host])]
        name = {"app": self.team.route_name(self.app), "public": self.team.public_name(self.app)}.get(self.kind(), self.team.passthrough_name(self.app))
        return [judge_route(self.team, self.live, name), judge_claims(self.team, self.live, [self.target.host])]

    def policy(self) -> list[Check]:
        if self.app is None or self.kind() not in ("app", "sentinel"):
            return []
        checks = judge_policy(self.team, self.live, self.app)
        policy = self.live.policy(self.team.namespace, self.team.policy_name(self.app))
        if policy is None:
            return checks
        http = (((policy.get("spec") or {}).get("extAuth") or {}).get("http")) or {}
        expected, found = auth_path(self.team, self.app), http.get("pathOverride")
        if found != expected:
            title = f"SecurityPolicy {self.team.policy_name(self.app)} asks for the app's groups"
            remedy = f"Run onboard_team -e team={self.team.id}: it undoes changes by hand."
            checks.append(Check("explain:groups", title, False, f"expected pathOverride {expected}, found {found}", remedy))
        return checks

    def proxy(self) -> list[Check]:
        if self.kind() == "public":
            return []
        return [judge_deployment(self.team, self.live, self.team.release, self.team.replicas)]

    def store(self) -> list[Check]:
        if self.kind() == "public" or self.team.session_store.type != "bundled":
            return []
        return [judge_deployment(self.team, self.live, self.team.store_name, 1)]

    # --- at Entra ------------------------------------------------------------------------------------------------------
    def discovery(self) -> list[Check]:
        if self.kind() == "public" or self.entra is None:
            return []
        parts = urllib.parse.urlsplit(self.team.issuer)
        answer: Answer | HopError
        try:
            answer = self.entra.request(parts.netloc, f"{parts.path}/.well-known/openid-configuration", headers={"Accept": "application/json"})
        except HopError as exc:
            answer = exc
        return [judge_discovery(self.team, answer)]

    def door(self) -> list[Check]:
        """What somebody without a session gets at exactly this path."""
        answer = self.answer
        if answer is None or isinstance(answer, HopError):
            return []
        title = f"{self.target.host}: a browser without a session is sent to sign in"
        kind = self.kind()
        if kind in ("app", "sentinel"):
            checks = [judge_redirect(self.team, self.target.host, self.target.path, answer, "a browser without a session is sent to sign in", "explain:door")]
            return [*checks, *(judge_backends(self.team, self.live, self.app) if self.app is not None else [])]
        if kind == "public":
            title = f"{self.target.host}: the public path is answered by the app"
            ok = answer.status < 500 and not answer.location.startswith(f"{self.team.authority}/")
            return [Check("explain:door", title, ok, describe(answer), "" if ok else status_hint(answer.status))]
        title = f"{self.target.host}: the proxy answers on its own pages"
        ok = answer.status < 500 and answer.status != 404
        return [Check("explain:door", title, ok, describe(answer), "" if ok else status_hint(answer.status))]

    def registration(self) -> list[Check]:
        answer = self.answer
        if self.entra is None or answer is None or isinstance(answer, HopError) or not answer.location.startswith(f"{self.team.authority}/"):
            return []
        return [judge_registration(self.team, self.target.host, ask_authorize(answer.location, self.entra), "explain:registration")]

    def secret(self) -> list[Check]:
        if self.kind() == "public" or self.entra is None or self.team.credential == "federated" or not self.live.client_secret:
            return []
        return [judge_client_secret(self.team, ask_token(self.team, self.entra, self.live.client_secret))]


def judge_discovery(team: Team, answer: Answer | HopError) -> Check:
    """Entra's configuration of the tenant, as the proxy reads it when it starts."""
    title = "Entra's configuration of the tenant names the issuer that the proxy expects"
    identity = "explain:discovery"
    if isinstance(answer, HopError):
        detail = f"could not be asked: {answer.reason}"
        return Check(identity, title, False, detail, "Let this machine reach Entra (HTTPS_PROXY); the cluster's pods may reach it all the same.", "warning")
    code = aadsts_code(answer.body.decode("utf-8", "replace"))
    if code:
        meaning, remedy = AADSTS.get(code, ("see Microsoft's list of error codes", f"Check {where(team, 'tenant_id')}."))
        return Check(identity, title, False, f"Entra answered AADSTS{code}: {meaning}", remedy)
    if answer.status != 200:
        return Check(identity, title, False, f"Entra answered {describe(answer)}", "Try again later, and see https://status.cloud.microsoft.")
    try:
        issuer = str(json.loads(answer.body).get("issuer"))
    except (ValueError, AttributeError):
        issuer = "no JSON document"
    remedy = f"Check {where(team, 'tenant_id')} and {where(team, 'graph')}: something else answers in Entra's place."
    return Check(identity, title, issuer == team.issuer, "" if issuer == team.issuer else f"expected {team.issuer}, found {issuer}", remedy)


def _log(team: Team, text: str) -> list[Check]:
    """What the proxy's recent log says of causes. Never a line of it: lines hold names, addresses and states."""
    found = judge_log(text)
    for number, line in enumerate(_LINES):
        count = len(line.pattern.findall(text))
        if count:
            detail = f"{count} times in its last lines: {line.meaning}"
            remedy = line.remedy.replace("{option}", where(team, line.option))
            found.append(Check(f"explain:log:{number}", "the proxy's recent log tells of a refusal or a fault", False, detail, remedy, "warning"))
    return found


def where(team: Team, option: str) -> str:
    """An option and the file that it belongs into: ``gateway_auth_apps (host_vars/team-a.yml)``."""
    file = (
        f"host_vars/{team.name}.yml" if f"{PREFIX}{option.partition('.')[0]}" in TEAM_KEYS else f"group_vars/teams.yml, or {team.name}'s entry in the inventory"
    )
    return f"{PREFIX}{option} ({file})"


def _below(path: str, prefix: str) -> bool:
    """By whole path elements, as PathPrefix matches."""
    base = prefix.rstrip("/")
    return path == base or path.startswith(f"{base}/")


def _whose(team: Team, target: Target) -> str:
    what = f"app '{target.app.name}'" if target.app is not None else "the proxy's own host"
    return f"{target.host} is {what} of {team.name}"
