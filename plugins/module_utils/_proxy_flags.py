# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every flag of oauth2-proxy 7.15.3, the guarantee each may undo, and how the proxy reads them (pure).

A flag is guarded (``guard`` says by which guarantee) or free. ``tests/unit`` compares the table with the ``--help`` of the real
program, so that a new flag can't slip in unjudged. The order in which the proxy listens is flags, environment, file, default.
"""

from __future__ import annotations

import collections.abc
import csv
import dataclasses
import re
import typing as t

BOOL = "bool"
STRING = "string"
STRINGS = "strings"
INT = "int"
DURATION = "duration"

# The guarantees, as a finding says them after "Expected that".
FORGERY = "who is asking is taken from Envoy alone"
BYPASS = "every request needs a session"
TEAMS = "a cookie, session or redirect of one team is worthless at another"
TLS = "every certificate, issuer and token is verified"
GROUPS = "the groups of the inventory decide who gets in"
OURS = "this is what the routes and Secrets we make rely on"
COOKIE = "a session cookie is sent only over TLS and isn't readable by scripts"
SESSION = "a session lives as long as gateway_auth_session says"
STORE = "sessions are kept where gateway_auth_session_store says"
SIGN_IN = "a sign-in can't be started or finished by somebody else"
IDENTITY = "the identity that an app sees is the one gateway_auth_identity_claim names"
TOKENS = "no token and no detail of an error leaves the proxy"
PAGES = "the pages that ask for a login are the proxy's own"

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag. ``default`` is the program's, as it would be written; ``plural`` is what the environment calls a list.

    A ``secret`` one has a value that must not stand among Helm values at all.
    """

    name: str
    kind: str
    guard: str = ""
    default: str = ""
    plural: bool = False
    secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that says the same."""
        return f"{VARIABLE_PREFIX}{self.name.upper().replace('-', '_')}{'S' if self.plural else ''}"


VARIABLE_PREFIX = "OAUTH2_PROXY_"

# One line a flag: name, kind ("[]" after it: the environment's name has an s), and the default where it isn't empty or false.
_GUARDED: dict[str, str] = {
    FORGERY: """
        pass-host-header bool true
        real-client-ip-header string X-Real-IP
        reverse-proxy bool
        set-xauthrequest bool
        skip-auth-strip-headers bool true
        trusted-proxy-ip strings[]
    """,
    BYPASS: """
        api-route strings[]
        extra-jwt-issuers strings
        gcp-healthchecks bool
        ping-path string /ping
        ping-user-agent string
        ready-path string /ready
        skip-auth-preflight bool
        skip-auth-regex strings
        skip-auth-route strings[]
        skip-jwt-bearer-tokens bool
        trusted-ip strings[]
    """,
    TEAMS: """
        cookie-domain strings[]
        cookie-name string _oauth2_proxy
        cookie-path string /
        whitelist-domain strings[]
    """,
    TLS: """
        insecure-oidc-allow-unverified-email bool
        insecure-oidc-skip-issuer-verification bool
        insecure-oidc-skip-nonce bool true
        oidc-enabled-signing-alg strings[]
        oidc-jwks-url string
        oidc-public-key-file strings[]
        redis-insecure-skip-tls-verify bool
        skip-oidc-discovery bool
        ssl-insecure-skip-verify bool
        ssl-upstream-insecure-skip-verify bool
    """,
    GROUPS: """
        allowed-group strings[]
        allowed-role strings[]
        authenticated-emails-file string
        azure-graph-group-field string
        azure-tenant string common
        bitbucket-repository string
        bitbucket-team string
        client-id string
        email-domain strings[]
        entra-id-allowed-tenant strings[]
        entra-id-federated-token-auth bool
        github-org string
        github-repo string
        github-team string
        github-user strings[]
        gitlab-group strings[]
        gitlab-project strings[]
        google-admin-api-user-scope string
        google-admin-email string
        google-group strings[]
        google-service-account-json string
        google-target-principal string
        google-use-application-default-credentials string
        google-use-organization-id string
        htpasswd-file string
        htpasswd-user-group strings[]
        keycloak-group strings[]
        login-url string
        oidc-audience-claim strings[] aud
        oidc-extra-audience strings[]
        oidc-groups-claim string groups
        oidc-issuer-url string
        profile-url string
        provider string google
        redeem-url string
        resource string
        scope string
        upstream strings[]
        validate-url string
    """,
    OURS: """
        alpha-config string
        client-secret-file string
        config string
        config-test bool
        convert-config-to-alpha bool
        cookie-secret-file string
        force-https bool
        force-json-errors bool
        http-address string 127.0.0.1:4180
        https-address string :443
        jwt-key-file string
        proxy-prefix string /oauth2
        pubjwk-url string
        redirect-url string
        relative-redirect-url bool
        tls-cert-file string
        tls-cipher-suite strings[]
        tls-key-file string
        tls-min-version string
        version bool
    """,
    COOKIE: """
        cookie-httponly bool true
        cookie-samesite string
        cookie-secure bool true
    """,
    SESSION: """
        cookie-expire duration 168h0m0s
        cookie-refresh duration
        session-cookie-minimal bool
    """,
    STORE: """
        redis-cluster-connection-urls strings
        redis-connection-url string
        redis-sentinel-connection-urls strings
        redis-sentinel-master-name string
        redis-use-cluster bool
        redis-use-sentinel bool
        session-store-type string cookie
    """,
    SIGN_IN: """
        code-challenge-method string
        cookie-csrf-expire duration 15m0s
        cookie-csrf-per-request bool
        cookie-csrf-per-request-limit int
        cookie-csrf-samesite string
        encode-state bool
        force-code-challenge-method string
    """,
    IDENTITY: """
        oidc-email-claim string email
        prefer-email-to-user bool
        user-id-claim string email
    """,
    TOKENS: """
        backend-logout-url string
        pass-access-token bool
        set-authorization-header bool
        set-basic-auth bool
        show-debug-on-error bool
    """,
    PAGES: """
        custom-templates-dir string
    """,
}
# Nothing here lets anybody in, keeps anybody from being asked, or says who somebody is. Which CA is believed (provider-ca-file,
# redis-ca-path) and as whom the store is entered (redis-username) is the platform's to say; both are still verified.
_FREE = """
    acr-values string
    allow-query-semicolons bool
    approval-prompt string force
    auth-logging bool true
    auth-logging-format string {{.Client}} - {{.RequestID}} - {{.Username}} [{{.Timestamp}}] [{{.Status}}] {{.Message}}
    auth-request-response-mode string
    banner string
    bearer-token-login-fallback bool true
    custom-sign-in-logo string
    disable-keep-alives bool
    display-htpasswd-form bool true
    errors-to-info-log bool
    exclude-logging-path strings[]
    flush-interval duration 1s
    footer string
    logging-compress bool
    logging-filename string
    logging-local-time bool true
    logging-max-age int 7
    logging-max-backups int
    logging-max-size int 100
    metrics-address string
    metrics-secure-address string
    metrics-tls-cert-file string
    metrics-tls-key-file string
    pass-authorization-header bool
    pass-basic-auth bool true
    pass-user-headers bool true
    prompt string
    provider-ca-file strings[]
    provider-display-name string
    proxy-websockets bool true
    redis-ca-path string
    redis-connection-idle-timeout int
    redis-username string
    request-id-header string X-Request-Id
    request-logging bool true
    request-logging-format string {{.Client}} - {{.RequestID}} - {{.Username}} [{{.Timestamp}}] {{.Host}} {{.RequestMethod}} {{.Upstream}} \
{{.RequestURI}} {{.Protocol}} {{.UserAgent}} {{.StatusCode}} {{.ResponseSize}} {{.RequestDuration}}
    silence-ping-logging bool
    skip-claims-from-profile-url bool
    skip-provider-button bool
    standard-logging bool true
    standard-logging-format string [{{.Timestamp}}] [{{.File}}] {{.Message}}
    upstream-timeout duration 30s
    use-system-trust-store bool
"""
_SECRETS = """
    basic-auth-password string
    client-secret string
    cookie-secret string
    github-token string
    jwt-key string
    redis-password string
    redis-sentinel-password string
    signature-key string
"""


def _rows(text: str, guard: str = "", secret: bool = False) -> collections.abc.Iterator[Flag]:
    for line in text.strip().splitlines():
        name, kind, *default = line.strip().split(" ", 2)
        yield Flag(name, kind.removesuffix("[]"), guard, default[0] if default else "", kind.endswith("[]"), secret)


FLAGS: t.Final[dict[str, Flag]] = {
    flag.name: flag for rows in (*(_rows(text, guard) for guard, text in _GUARDED.items()), _rows(_FREE), _rows(_SECRETS, OURS, secret=True)) for flag in rows
}
VARIABLES: t.Final[dict[str, Flag]] = {flag.variable: flag for flag in FLAGS.values()}
# The program binds this name as well as the plural (legacy_options.go).
VARIABLES["OAUTH2_PROXY_GOOGLE_GROUP"] = FLAGS["google-group"]


Value: t.TypeAlias = "bool | int | str | tuple[str, ...]"


def parse(flag: Flag, texts: collections.abc.Sequence[str]) -> Value:
    """What the proxy makes of a flag's values: the last one wins, those of a list are added up. No text: the default.

    Raises ValueError where the proxy would refuse to start.
    """
    if flag.kind == STRINGS:
        given = texts or ([flag.default] if flag.default else [])
        # The program reads each as a line of CSV; an empty one adds nothing.
        try:
            return tuple(part for text in given if text for part in next(csv.reader([text], strict=True)))
        except csv.Error as exc:
            raise ValueError("a list with commas") from exc
    text = texts[-1] if texts else flag.default
    if flag.kind == BOOL:
        if text in _TRUE:
            return True
        if text in _FALSE or (not text and not texts):
            return False
        raise ValueError("true or false")
    if flag.kind == INT:
        if not texts and not text:
            return 0
        if not re.fullmatch(r"[-+]?\d+", text):
            raise ValueError("a whole number")
        return int(text)
    if flag.kind == DURATION:
        return 0 if not texts and not text else _nanoseconds(text)
    return text


def _nanoseconds(text: str) -> int:
    if text == "0":
        return 0
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("a duration such as 8h or 1h30m")
    return round(sum(float(number) * _NANOSECONDS[unit] for number, unit in parts))
