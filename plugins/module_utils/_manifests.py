# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Gateway API and Envoy Gateway objects that put a team's apps behind its oauth2-proxy (pure functions).

Fields are written as a person would write them: what the API server fills in by default is left out. For each app:

* a SecurityPolicy that sends every request to the team's proxy first;
* a passthrough HTTPRoute with the proxy's own pages (sign-in, callback, sign-out) and a sentinel rule under the same policy,
  which leads to no app and proves from outside that the policy is live;
* the app's HTTPRoute, which may be written only after that proof;
* where the app declares public paths, an HTTPRoute with exactly those and no policy;
* where the app's Service is in another namespace, a ReferenceGrant there.

While a team is in quarantine its apps' routes, under the same policies, lead to a page of ours (an HTTPRouteFilter for each) and to no app.
"""

from __future__ import annotations

import re
import typing as t
import urllib.parse

from ansible_collections.platform.gateway_auth.plugins.module_utils._model import (
    PROBE_PATH,
    PROBE_RULE,
    QUARANTINE_ANNOTATION,
    SIGN_OUT_PATH,
    App,
    GatewayRef,
    Team,
)

Object = dict[str, t.Any]

GATEWAY_API = "gateway.networking.k8s.io"
# ReferenceGrant v1 is served only since Gateway API 1.5; v1beta1 is everywhere.
REFERENCE_GRANT_VERSION = f"{GATEWAY_API}/v1beta1"
ROUTE_VERSION = f"{GATEWAY_API}/v1"
POLICY_VERSION = "gateway.envoyproxy.io/v1alpha1"

APP_RULE = "app"
PROXY_RULE = "oauth2"
PUBLIC_RULE = "public"
SIGN_OUT_RULE = "sign-out"
PROXY_PORT = 80  # of the Service that the chart makes

HEADER_POLICY_NAME = "gateway-auth"
HTTPS_REDIRECT_NAME = "gateway-auth-https-redirect"

REDIRECT_HEADER = "X-Auth-Request-Redirect"
# What oauth2-proxy says of the user, once it let the request pass. It never says X-Auth-Request-Access-Token: tokens stay in
# the session store (--pass-access-token is off).
IDENTITY_HEADERS = ("X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Groups")
_HEADER_PREFIX = "x-auth-request-"
# Names under which apps take a user from other proxies (oauth2-proxy in front of an upstream, Authelia, Grafana's auth.proxy, Apache
# and the like). Ours says none of them, so whatever arrives under one was written by the client: removed on each route to an
# app. Gateway API takes 16 names in a filter, and a public path's has five others.
USURPED_HEADERS = (
    *("X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token"),
    *("Remote-User", "Remote-Email", "Remote-Groups", "Remote-Name", "X-Remote-User", "X-WEBAUTH-USER"),
)
# What a request claims to have asked for. oauth2-proxy reads the first two; some frameworks serve what the last two say, which on
# a public path would be any page of the app.
REWRITE_HEADERS = ("x-forwarded-uri", "x-forwarded-host", "x-original-url", "x-rewrite-url")

# Envoy sends an HTTP authorization service Host, method, Authorization and what is named here, as the client sent it. So each
# header here is one that a client can't use, or one that was set by Envoy before this point:
# - Cookie: the session. Accept: an API client gets 401 instead of a sign-in page.
# - X-Forwarded-Proto: Envoy overwrites it. X-Envoy-External-Address: set by Envoy, only logged.
# - X-Auth-Request-Redirect: overwritten by the header policy (`platform_manifests`); whatever it says, oauth2-proxy follows
#   it only to the team's own hosts (--whitelist-domain).
# Not here: X-Forwarded-Host and X-Forwarded-Uri, which Envoy passes on from the client and oauth2-proxy believes (callback
# host, skip rules: GHSA-7x63-xv5r-3p2x), and X-Auth-Request-User and the like, which it doesn't read at all.
HEADERS_TO_PROXY = ("Cookie", "Accept", "X-Forwarded-Proto", REDIRECT_HEADER, "X-Envoy-External-Address")


def envoy_labels(gateway: GatewayRef) -> dict[str, str]:
    """What Envoy Gateway writes on the Envoy pods of a Gateway, in whichever namespace it runs them."""
    return {"gateway.envoyproxy.io/owning-gateway-name": gateway.name, "gateway.envoyproxy.io/owning-gateway-namespace": gateway.namespace}


def gateway_manifests(team: Team) -> list[Object]:
    """Every object of the team's apps, in the order in which they may be applied.

    The caller stops before the first app route (``is_app_route``) until the sentinel of its host was refused from outside.
    """
    if team.quarantined_since:
        return [
            *(security_policy(team, app) for app in team.apps),
            *(quarantine_page(team, app) for app in team.apps),
            *(passthrough_route(team, app) for app in team.apps),
            *(app_route(team, app) for app in team.apps),
        ]
    return [
        *(reference_grant(team, app) for app in team.apps if needs_grant(team, app)),
        *(security_policy(team, app) for app in team.apps),
        *(passthrough_route(team, app) for app in team.apps),
        *(app_route(team, app) for app in team.apps),
        *(public_route(team, app) for app in team.apps if app.public_paths),
    ]


def namespace_manifest(team: Team) -> Object:
    """The team's namespace, for when it isn't there yet; one that exists is used as it is."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team.namespace, "labels": team.owner_labels()}}


def security_policy(team: Team, app: App) -> Object:
    """Every request to the app (and to the sentinel) asks the team's proxy first; no answer means 503, never the app."""
    return _ours(
        team,
        app,
        POLICY_VERSION,
        "SecurityPolicy",
        team.policy_name(app),
        {
            # The whole route, not a rule of it: a rule added to it later is closed too. Both targets may be missing.
            "targetRefs": [
                {"group": GATEWAY_API, "kind": "HTTPRoute", "name": team.route_name(app)},
                {"group": GATEWAY_API, "kind": "HTTPRoute", "name": team.passthrough_name(app), "sectionName": PROBE_RULE},
            ],
            "extAuth": {
                "failOpen": False,
                "statusOnError": 503,
                "timeout": "3s",
                "headersToExtAuth": list(HEADERS_TO_PROXY),
                "http": {
                    "backendRefs": [{"name": team.authz_service, "port": PROXY_PORT}],
                    # Pods that aren't ready are never asked, not even when none is: 503 at once.
                    "backendSettings": {"healthCheck": {"panicThreshold": 0}},
                    "pathOverride": auth_path(team, app),
                    "headersToBackend": list(IDENTITY_HEADERS),
                },
            },
        },
    )


def auth_path(team: Team, app: App) -> str:
    """What the proxy is asked for: always `/`, for it answers 200 to anybody on paths such as /ping and /robots.txt.

    An override, not a prefix: behind a prefix Envoy appends the client's path and query, and a client could add groups.
    """
    groups = team.app_groups(app)
    return f"/?allowed_groups={','.join(groups)}" if groups else "/"


def passthrough_route(team: Team, app: App) -> Object:
    """The proxy's own pages on the app's host, the way out of Entra, and the sentinel."""
    return _route(
        team,
        app,
        team.passthrough_name(app),
        [
            {
                "name": PROXY_RULE,
                "matches": [_prefix(team.proxy_prefix)],
                # With the redirect header these pages would send the browser back to themselves for ever.
                "filters": [_remove_headers(REDIRECT_HEADER, "X-Forwarded-Uri")],
                "backendRefs": [{"name": team.release, "port": PROXY_PORT}],
            },
            {
                # Where sign_out?rd=… may lead to end Entra's session as well. A place of our own that leads to one fixed page: with
                # Entra's host among the proxy's redirect targets, sign_out could be made to carry the ID token to whoever has an
                # application there (`state={id_token}`, which Entra hands on to that application's redirect URI).
                "name": SIGN_OUT_RULE,
                "matches": [{"path": {"type": "Exact", "value": SIGN_OUT_PATH}}],
                "filters": [_redirect(team.entra_logout_url)],
            },
            {
                "name": PROBE_RULE,
                "matches": [{"path": {"type": "Exact", "value": PROBE_PATH}}],
                # No app behind it. Without a session, `Accept: application/json` gives 401 when the policy is live.
                "filters": [
                    {
                        "type": "RequestRedirect",
                        "requestRedirect": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/"}, "statusCode": 302},
                    }
                ],
            },
        ],
    )


def app_route(team: Team, app: App) -> Object:
    """The app itself; applied last and removed first."""
    if team.quarantined_since:
        return _quarantined_route(team, app)
    rule: Object = {
        "name": APP_RULE,
        "matches": _everything(),
        # After the authorization, so this takes nothing from the proxy; the app has no use for it.
        "filters": [_remove_headers(REDIRECT_HEADER, *USURPED_HEADERS)],
        "backendRefs": [_app_backend(team, app)],
    }
    if app.timeout:
        rule["timeouts"] = {"request": app.timeout}
    return _route(team, app, team.route_name(app), [rule])


def _everything() -> list[Object]:
    """Every path.

    Tomcat and its like read `/static/..;/admin` as `/admin`, where Envoy sees one more path under a public `/static`. A regular
    expression goes before any prefix, the public ones included, so a path with a `;` is never public. Without public paths too, so
    that it is there before the first one.
    """
    return [_prefix("/"), {"path": {"type": "RegularExpression", "value": "/.*;.*"}}]


def _quarantined_route(team: Team, app: App) -> Object:
    """The app's route while the app is out of service: no backend, so nothing of the app can be reached by it."""
    page = {"type": "ExtensionRef", "extensionRef": {"group": "gateway.envoyproxy.io", "kind": "HTTPRouteFilter", "name": team.quarantine_name(app)}}
    return _route(team, app, team.route_name(app), [{"name": APP_RULE, "matches": _everything(), "filters": [page]}])


def quarantine_page(team: Team, app: App) -> Object:
    """What whoever still has a session reads in the app's place."""
    title = f"{app.name} of {team.name} is out of service"
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<h1>{title}</h1><p>Since {team.quarantined_since[:10]} nobody can sign in here any more: it is about to be removed."
        " If that comes as a surprise, tell your platform team; until then nothing is lost.</p></html>\n"
    )
    response = {"statusCode": 403, "contentType": "text/html; charset=utf-8", "body": {"type": "Inline", "inline": body}}
    return _ours(team, app, POLICY_VERSION, "HTTPRouteFilter", team.quarantine_name(app), {"directResponse": response})


def public_route(team: Team, app: App) -> Object:
    """The app's public paths: an exemption that stands by itself, under a name that says so.

    A route of its own with just these matches and no policy: without it, or with a match of it missing, the path falls back to the
    app's route and is closed. The other shape (a rule of the app's route, with an empty SecurityPolicy on that rule) would
    leave `Overridden` on the app's policy for ever, which is otherwise the sign that somebody took the protection away.
    """
    rule: Object = {
        "name": PUBLIC_RULE,
        "matches": [_prefix(path) for path in app.public_paths],
        # Nobody was asked who this is. The gateway's header policy strips X-Auth-Request-* too, by pattern.
        "filters": [_remove_headers(REDIRECT_HEADER, *IDENTITY_HEADERS, *USURPED_HEADERS)],
        "backendRefs": [_app_backend(team, app)],
    }
    if app.timeout:
        rule["timeouts"] = {"request": app.timeout}
    return _route(team, app, team.public_name(app), [rule])


def needs_grant(team: Team, app: App) -> bool:
    return app.service.namespace not in ("", team.namespace)


def grant_name(team: Team, app: App) -> str:
    return f"{team.namespace}-{app.name}"


def reference_grant(team: Team, app: App) -> Object:
    """Lets routes of the team's namespace lead to the app's Service in another one; to that Service and no other."""
    grant = _ours(
        team,
        app,
        REFERENCE_GRANT_VERSION,
        "ReferenceGrant",
        grant_name(team, app),
        {
            "from": [{"group": GATEWAY_API, "kind": "HTTPRoute", "namespace": team.namespace}],
            "to": [{"group": "", "kind": "Service", "name": app.service.name}],
        },
    )
    grant["metadata"]["namespace"] = app.service.namespace
    return grant


def is_app_route(team: Team, obj: t.Mapping[str, t.Any]) -> bool:
    """Is this the route of one of the team's apps, which must wait for the proof?"""
    return obj["kind"] == "HTTPRoute" and obj["metadata"]["name"] in {team.route_name(app) for app in team.apps}


# --- the platform's, once for each Gateway ----------------------------------------------------------------------------


def platform_manifests(gateway: GatewayRef, labels: t.Mapping[str, str], domain: str) -> list[Object]:
    """The header policy of the Gateway, and the redirect from HTTP to HTTPS for every host of the domain."""
    return [header_policy(gateway, labels), https_redirect(gateway, labels, domain)]


def header_policy(gateway: GatewayRef, labels: t.Mapping[str, str]) -> Object:
    """Early headers: the only place before routing and authorization, so the only one where a client's headers can be dropped.

    Envoy Gateway applies `set` first, then `remove`, then `removeOnMatch`; so the pattern must spare the header just set.
    """
    return {
        "apiVersion": POLICY_VERSION,
        "kind": "ClientTrafficPolicy",
        "metadata": {"name": HEADER_POLICY_NAME, "namespace": gateway.namespace, "labels": dict(labels)},
        "spec": {
            "targetRefs": [{"group": GATEWAY_API, "kind": "Gateway", "name": gateway.name}],
            "headers": {
                "earlyRequestHeaders": {
                    # Absolute: oauth2-proxy refuses a relative one with `//` in it, query included, which loses deep links.
                    "set": [{"name": REDIRECT_HEADER, "value": "https://%REQ(:AUTHORITY)%%REQ(:PATH)%"}],
                    "remove": list(REWRITE_HEADERS),
                    "removeOnMatch": [{"type": "RegularExpression", "value": forged_header_pattern()}],
                }
            },
        },
    }


def forged_header_pattern() -> str:
    """Matches every X-Auth-Request-* name but the redirect header's own."""
    return all_but(_HEADER_PREFIX, REDIRECT_HEADER.lower().removeprefix(_HEADER_PREFIX))


def all_but(prefix: str, word: str) -> str:
    """A full-match expression for ``prefix`` followed by anything that isn't ``word``.

    RE2, which Envoy uses, has no negative lookahead. So at each letter: end here, or go on with another letter and anything,
    or go on with the letter and the same again; after the last letter, something more must follow.
    """
    pattern = ".+"
    for letter in reversed(word):
        literal = re.escape(letter)
        rest = pattern if pattern == ".+" else f"({pattern})"
        pattern = f"|[^{literal}].*|{literal}{rest}"
    return f"{re.escape(prefix)}({pattern})".replace(r"\-", "-")


def https_redirect(gateway: GatewayRef, labels: t.Mapping[str, str], domain: str) -> Object:
    """Plain HTTP leads to HTTPS on every host of the domain, and nowhere else: app routes attach to the HTTPS listener only."""
    return {
        "apiVersion": ROUTE_VERSION,
        "kind": "HTTPRoute",
        "metadata": {"name": HTTPS_REDIRECT_NAME, "namespace": gateway.namespace, "labels": dict(labels)},
        "spec": {
            "parentRefs": [{"name": gateway.name, "namespace": gateway.namespace, "sectionName": gateway.http_listener}],
            "hostnames": [f"*.{domain}"],
            "rules": [
                {
                    "name": "https",
                    "filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}],
                }
            ],
        },
    }


# --- pieces -----------------------------------------------------------------------------------------------------------


def _ours(team: Team, app: App, api_version: str, kind: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": team.namespace, "labels": team.owner_labels(app)},
        "spec": spec,
    }


def _route(team: Team, app: App, name: str, rules: list[Object]) -> Object:
    gateway = team.gateway
    spec = {
        # sectionName: without it the route would attach to the HTTP listener as well and answer in clear text.
        "parentRefs": [{"name": gateway.name, "namespace": gateway.namespace, "sectionName": gateway.https_listener}],
        "hostnames": [app.hostname],
        "rules": rules,
    }
    route = _ours(team, app, ROUTE_VERSION, "HTTPRoute", name, spec)
    if team.quarantined_since:  # on the passthrough route as well, which is there longest: a removal may die halfway
        route["metadata"]["annotations"] = {QUARANTINE_ANNOTATION: team.quarantined_since}
    return route


def _app_backend(team: Team, app: App) -> Object:
    backend: Object = {"name": app.service.name, "port": app.service.port}
    if needs_grant(team, app):
        backend["namespace"] = app.service.namespace
    return backend


def _prefix(path: str) -> Object:
    """By whole path elements: `/oauth2` takes in `/oauth2/start`, and not `/oauth2x`."""
    return {"path": {"type": "PathPrefix", "value": path}}


def _redirect(url: str) -> Object:
    """To one page on another host, whatever was asked for; a client's query goes along."""
    parts = urllib.parse.urlsplit(url)
    target: Object = {"scheme": parts.scheme, "hostname": parts.hostname, "path": {"type": "ReplaceFullPath", "replaceFullPath": parts.path}, "statusCode": 302}
    if parts.port is not None:
        target["port"] = parts.port
    return {"type": "RequestRedirect", "requestRedirect": target}


def _remove_headers(*names: str) -> Object:
    return {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": list(names)}}
