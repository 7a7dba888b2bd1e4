# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Closed until proven: the order in which a team's routes and policies reach the gateway.

Applying a policy before its route is not enough. Each policy is a new HTTP filter in the listener (LDS) while a route travels
by RDS; in 4 of 6 measured runs the route was live some 10 ms before the filter, and the app answered anybody. So each policy
also covers a sentinel rule on the passthrough route, which leads to no app. Only when that path is refused from outside, on
several new connections in a row (there may be several Envoys), is the app's route written. Removal goes the other way round.

The refusal must be the new policy's own. A host that comes from another app has a sentinel already, and Envoy asks the older of
two equal routes; so the old one goes first, and the host must have been without a sentinel once.

All of it stands between the widening and the narrowing of the team's claim (`_claims`).
"""

from __future__ import annotations

import functools
import time
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._claims import Claims
from ansible_collections.platform.gateway_auth.plugins.module_utils._conditions import Verdict, policy_verdict, route_verdict
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForbiddenError, NotReadyError, ProbeError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube, describe
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import POLICY_VERSION, ROUTE_VERSION, gateway_manifests, is_app_route
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import APP_LABEL, COOKIE_PREFIXES, PROBE_PATH, App, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import Change, plan_deletion
from ansible_collections.platform.gateway_auth.plugins.module_utils._preflight import gateway_address
from ansible_collections.platform.gateway_auth.plugins.module_utils._probe import PROGRAM, REFUSED, Answer, ProbeClient, at_once, wait_answer, wait_refused

Object = dict[str, t.Any]
Key = tuple[str, str, str]  # kind, namespace, name

STATUS_TIMEOUT_S = 60.0
REFUSAL_TIMEOUT_S = 60.0
POLL_S = 0.1
# With n Envoys behind one address and connections spread at random, k refusals in a row miss one of them with (1-1/n)^k.
CONSECUTIVE_REFUSALS = 16

OUR_KINDS = (
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy"),
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
    ("gateway.envoyproxy.io/v1alpha1", "HTTPRouteFilter"),  # of a quarantine
)
_STRANGER = "nobody-gateway-auth"  # a host that no app has
_NOBODYS_PATH = "/.gateway-auth/nobody"  # which only an app's own route takes


def probe_client(team: Team, kube: Kube) -> ProbeClient:
    """How the team's hosts are reached from outside: as the inventory says, else at the Gateway's address."""
    address = team.probe.address or ("" if team.probe.proxy else gateway_address(kube, team.gateway))
    return ProbeClient(proxy=team.probe.proxy, address=address, ca_file=team.probe.ca_file)


class Routes:
    """One team's routes: plan everything, then carry it out in the only safe order."""

    def __init__(self, team: Team, journal: Journal, probe: ProbeClient, *, leaves: str = "", backends: t.Collection[str] = ()) -> None:
        """``leaves``: why the team's routes go, where that isn't the inventory's word on an app; ``backends``: namespaces of its apps' Services."""
        self.team = team
        self._leaves = leaves
        self._backends = backends
        self.kube: Kube = journal.kube
        self.journal = journal
        self.probe = probe
        self.desired = {_key(obj): obj for obj in gateway_manifests(team)}
        self.apps: dict[str, App] = {app.name: app for app in team.apps}
        self.claims = Claims(team, journal)

    def run(self) -> None:
        """Every object is planned before the first is written, so a foreign object stops the team with nothing changed."""
        live = self._live()
        changes = {key: self.journal.plan(obj, live.get(key)) for key, obj in self.desired.items()}
        stale = [obj for key, obj in live.items() if key not in self.desired]
        self.claims.plan()
        self.claims.await_hosts()
        self.claims.widen()
        if self.journal.check:
            self._predict(changes, stale)
        else:
            self._carry_out(changes, stale, live)
        self.claims.narrow()

    def _carry_out(self, changes: t.Mapping[Key, Change | None], stale: list[Object], live: t.Mapping[Key, Object]) -> None:
        self._remove_routes(stale, live)
        self._await_free(live)
        changed = {key: change for key, change in changes.items() if change}
        app_routes = {key for key in changed if self._is_app_route(key)}
        # What an app shows to everybody comes last and goes first: the app's own route takes paths such as `/open/..;/admin` from it.
        public = {key for key in changed if _is_public(self.desired[key])}
        self._write([change for key, change in changed.items() if key not in app_routes | public])
        self._prove({_app_name(self.desired[key]) for key in changed})
        for later in (app_routes, public):
            self._write([change for key, change in changed.items() if key in later])
            self._await_routes([self.desired[key] for key in changed if key in later])
        self._remove_rest(stale)

    def missing_services(self) -> list[str]:
        """Names of the Services that the team's policies ask and that aren't there."""
        policies = self._marked(POLICY_VERSION, "SecurityPolicy")
        asked = {ref["name"] for obj in policies for ref in (obj["spec"].get("extAuth") or {}).get("http", {}).get("backendRefs") or []}
        return sorted(name for name in asked if self.kube.get("v1", "Service", name, self.team.namespace) is None)

    def withdraw(self, reason: str) -> None:
        """Take the apps' routes away, to be proven and written anew by ``run``: their policies are about to come into effect.

        Without the Service that it asks Envoy Gateway can't translate a policy and answers 500 in the app's place. When the Service comes
        back, so does the route, and again before its filter: the app answered anybody for some 20 ms.
        """
        routes = [obj for obj in self._marked(ROUTE_VERSION, "HTTPRoute") if not _is_passthrough(obj)]
        for obj in sorted(routes, key=_removal_order):
            self.journal.carry_out(plan_deletion(obj, reason))
        if not self.journal.check:
            at_once(self._await_nobody, sorted({host for obj in routes for host in _hosts(obj)}))

    def take_pages_over(self) -> None:
        """The passthrough routes that somebody made by hand, before their proxy becomes ours.

        Ours has its callback on each app's host. Behind a route by hand, with fewer of the proxy's pages, that would be the app's,
        whose policy sends the browser to sign in, and so round again until the routes are taken over as well.
        """
        for app in self.team.apps:
            desired = self.desired["HTTPRoute", self.team.namespace, self.team.passthrough_name(app)]
            live = self.kube.get(ROUTE_VERSION, "HTTPRoute", desired["metadata"]["name"], self.team.namespace)
            change = self.journal.plan(desired, live) if live is not None else None
            if change is not None:
                self.journal.carry_out(change)

    # --- what is there -----------------------------------------------------------------------------------------------
    def _live(self) -> dict[Key, Object]:
        """What stands under our mark, and whatever else bears a desired name."""
        live: dict[Key, Object] = {}
        for api_version, kind in OUR_KINDS:
            live.update({_key(obj): obj for obj in self._marked(api_version, kind)})
        for key, obj in self.desired.items():
            if key not in live:
                found = self.kube.get(obj["apiVersion"], obj["kind"], key[2], key[1])
                if found is not None:
                    live[key] = found
        return live

    def _marked(self, api_version: str, kind: str) -> list[Object]:
        """Objects of a kind under our mark. Only grants stand outside the team's namespace, each where a Service is or was."""
        mark = self.team.owner_labels()
        if kind != "ReferenceGrant":
            return self.kube.list(api_version, kind, self.team.namespace, mark)
        try:
            return self.kube.list(api_version, kind, "", mark)
        except ForbiddenError:
            # Without the cluster-wide right a grant left in a namespace that no app uses any more isn't found. It grants routes of
            # the team's namespace the way to one Service, and no route leads there.
            places = sorted({*self._backends, *(key[1] for key in self.desired if key[0] == kind)})
            return [obj for place in places for obj in self.kube.list(api_version, kind, place, mark)]

    def _is_app_route(self, key: Key) -> bool:
        return is_app_route(self.team, self.desired[key])

    # --- check mode --------------------------------------------------------------------------------------------------
    def _predict(self, changes: t.Mapping[Key, Change | None], stale: list[Object]) -> None:
        for change in changes.values():
            if change is not None:
                self.journal.carry_out(change)
        for obj in sorted(stale, key=_removal_order):
            self.journal.carry_out(plan_deletion(obj, self._removal_reason(obj)))

    # --- the sequence ------------------------------------------------------------------------------------------------
    def _write(self, changes: list[Change]) -> None:
        for change in changes:
            self.claims.carry_out(change)

    def _await_free(self, live: t.Mapping[Key, Object]) -> None:
        """Hosts of apps that are new have no sentinel of somebody else, whose refusal would prove nothing of our policy."""

        def is_new(app: App) -> bool:
            # Without its passthrough route an app that is served answers the sentinel's path itself, under its own policy.
            routes = (self.team.passthrough_name(app), self.team.route_name(app))
            return not any(("HTTPRoute", self.team.namespace, name) in live for name in routes)

        def wait(app: App) -> None:
            wait_answer(
                self.probe,
                app.hostname,
                PROBE_PATH,
                lambda answer: answer.status != REFUSED or self._has_passthrough(app),
                f"to refuse nobody before app '{app.name}' has a policy (if another team had this host, run onboard_team for that one first)",
                consecutive=CONSECUTIVE_REFUSALS,
                timeout=REFUSAL_TIMEOUT_S,
                headers=PROGRAM,
            )

        at_once(wait, filter(is_new, self.team.apps))

    def _has_passthrough(self, app: App) -> bool:
        """Written since we looked, by another run for this team, which saw to the same before."""
        return self.kube.get(ROUTE_VERSION, "HTTPRoute", self.team.passthrough_name(app), self.team.namespace) is not None

    def _prove(self, names: set[str]) -> None:
        """Policies and passthrough routes of these apps accepted, then each host's sentinel refused from outside."""
        theirs = [(key, obj) for key, obj in self.desired.items() if _app_name(obj) in names]
        self._await([obj for key, obj in theirs if key[0] == "SecurityPolicy"], lambda obj: policy_verdict(obj, self.team.gateway))
        self._await_routes([obj for key, obj in theirs if key[0] == "HTTPRoute" and not self._is_app_route(key) and not _is_public(obj)])
        at_once(self._await_refusals, [app.hostname for app in self.team.apps if app.name in names])

    def _await_refusals(self, host: str) -> None:
        wait_refused(self.probe, host, PROBE_PATH, consecutive=CONSECUTIVE_REFUSALS, timeout=REFUSAL_TIMEOUT_S)

    def _await_nobody(self, host: str) -> None:
        """Until the host has no route to an app of ours any more. A team can leave after its Gateway."""
        gateway = self.team.gateway
        if self._leaves and self.kube.get("gateway.networking.k8s.io/v1", "Gateway", gateway.name, gateway.namespace) is None:
            return
        stranger = f"{_STRANGER}.{host.partition('.')[2]}"
        everybodys = functools.cache(lambda: self._status_of(stranger))
        expected = "to answer HTTP 404, or as a host that nobody has"
        wait_answer(
            self.probe,
            host,
            _NOBODYS_PATH,
            lambda answer: self._is_gone(answer, everybodys),
            expected,
            consecutive=CONSECUTIVE_REFUSALS,
            timeout=REFUSAL_TIMEOUT_S,
        )

    def _status_of(self, host: str) -> int:
        """The status with which the gateway answers for a host, 0 when it doesn't."""
        try:
            return self.probe.request(host, "/").status
        except ProbeError:
            return 0

    def _await_routes(self, routes: list[Object]) -> None:
        self._await(routes, lambda obj: route_verdict(obj, self.team.gateway))

    def _await(self, objects: list[Object], judge: t.Callable[[Object], Verdict]) -> None:
        """Until Envoy Gateway accepted each object's present generation; a refusal is final after a grace of retries."""
        deadline = time.monotonic() + STATUS_TIMEOUT_S
        waiting = {_key(obj): obj for obj in objects}
        verdicts: dict[Key, Verdict] = {}
        while waiting:
            for key, obj in list(waiting.items()):
                live = self.kube.get(obj["apiVersion"], obj["kind"], key[2], key[1])
                verdicts[key] = judge(live) if live is not None else Verdict(None, "it was deleted meanwhile")
                if verdicts[key].ok:
                    del waiting[key]
            if not waiting:
                return
            if time.monotonic() > deadline:
                key, obj = next(iter(waiting.items()))
                raise NotReadyError(
                    f"{describe(obj)} was not accepted within {STATUS_TIMEOUT_S:.0f} s: {verdicts[key].why}.",
                    "No app route was opened for it. See docs/troubleshooting.md, 'not accepted'.",
                )
            time.sleep(POLL_S)

    # --- removal -----------------------------------------------------------------------------------------------------
    def _remove_routes(self, stale: list[Object], live: t.Mapping[Key, Object]) -> None:
        """Routes to apps go first, and are gone from outside before anything that protected them is touched."""
        routes = sorted((obj for obj in stale if obj["kind"] == "HTTPRoute"), key=_removal_order)
        for obj in routes:
            if not _is_passthrough(obj):
                self._remove(stale, obj)
        # Of passthrough routes too: a run that was killed here has deleted the app's route already, but Envoy may still have it.
        served = {host for key, obj in live.items() if key in self.desired and self._is_app_route(key) for host in _hosts(obj)}
        at_once(self._await_nobody, sorted({host for obj in routes for host in _hosts(obj)} - served))
        # Before the next app of the host is proven; not sooner, for with a route of its own left the host is in nobody else's hands.
        kept = {app.hostname for app in self.team.apps}
        for obj in routes:
            if _is_passthrough(obj) and kept.intersection(_hosts(obj)):
                self._remove(stale, obj)

    def _remove(self, stale: list[Object], obj: Object) -> None:
        self.claims.carry_out(plan_deletion(obj, self._removal_reason(obj)))
        stale.remove(obj)

    def _is_gone(self, answer: Answer, everybodys: t.Callable[[], int]) -> bool:
        """No route; or another team's door, whose proxy sets a cookie of its own name; or somebody's route for every host of the domain.

        Only where that one lets the request in or sends it elsewhere: an error may be our own policy's. While ours stands, it sets our cookie.
        """
        cookies = [value.partition("=")[0] for name, value in answer.headers if name.lower() == "set-cookie"]
        ours, proxies = self.team.cookie_name, tuple(COOKIE_PREFIXES.values())
        own = [name for name in cookies if name == ours or name.startswith(f"{ours}_")]
        if answer.status == 404 or any(name.startswith(proxies) and name not in own for name in cookies):
            return True
        return not own and answer.status < 400 and answer.status == everybodys()

    def _remove_rest(self, stale: list[Object]) -> None:
        for obj in sorted(stale, key=_removal_order):
            self._remove(stale, obj)

    def _removal_reason(self, obj: Object) -> str:
        if self._leaves:
            return self._leaves
        app = _app_name(obj)
        if app in self.apps:
            return f"no longer needed by app '{app}'"
        return f"app '{app}' is no longer in the inventory"


def marked_routes(kube: Kube, team: Team) -> list[Object]:
    """The team's routes in the cluster, whatever the inventory says by now."""
    return kube.list(ROUTE_VERSION, "HTTPRoute", team.namespace, team.owner_labels())


def _key(obj: Object) -> Key:
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _app_name(obj: Object) -> str:
    """The app an object of ours belongs to."""
    return str((obj["metadata"].get("labels") or {}).get(APP_LABEL, ""))


def _hosts(route: Object) -> list[str]:
    return route["spec"].get("hostnames") or []


def _is_passthrough(obj: Object) -> bool:
    return str(obj["metadata"]["name"]).startswith(f"{_app_name(obj)}-passthrough-oauth-")


def _is_public(obj: Object) -> bool:
    return obj["kind"] == "HTTPRoute" and str(obj["metadata"]["name"]).endswith("-public")


def _removal_order(obj: Object) -> int:
    """Public routes, app routes, passthrough routes, then policies, then the rest: nothing is ever left without its protection."""
    if obj["kind"] == "HTTPRoute":
        return 0 if _is_public(obj) else 2 if _is_passthrough(obj) else 1
    return 3 if obj["kind"] == "SecurityPolicy" else 4
