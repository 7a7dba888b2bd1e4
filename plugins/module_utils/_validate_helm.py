# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which keys of ``gateway_auth_helm_values`` would undo a guarantee, and why (pure).

The keys and flags are those of chart 10.7.0 and oauth2-proxy 7.15. A flag can be given in three ways (extraArgs, an
environment variable, a configuration file); the three are judged alike, and what can't be judged is refused.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import re
import typing as t
import urllib.parse


@dataclasses.dataclass(frozen=True)
class Doubt:
    """One key below helm_values. A secret can't be waived, everything else can."""

    path: str
    expected: str
    found: str
    waivable: bool = True


# Flags whose value is a secret.
_SECRET_FLAGS = frozenset({"client-secret", "cookie-secret", "redis-password", "redis-sentinel-password"})
_SECRET_KEYS = frozenset({"config.clientSecret", "config.cookieSecret", "sessionStorage.redis.password", "sessionStorage.redis.sentinel.password"})
_SECRET_NAME = re.compile(r"(password|passwd|secret|token)$", re.IGNORECASE)
_NOT_SECRET = re.compile(r"^(existing|pull|image)|(name|key|keys)$", re.IGNORECASE)

_FORGERY = "who is asking is taken from Envoy alone"
_BYPASS = "every request needs a session"
_TEAMS = "a cookie, session or redirect of one team is worthless at another"
_TLS = "every certificate and issuer is verified"
_GROUPS = "the groups of the inventory decide who gets in"
_OURS = "this is what the routes and Secrets we make rely on"

# Flags (regular expressions on the whole name) and the guarantee each would undo.
_FLAGS: tuple[tuple[str, str], ...] = (
    (r".*insecure.*|.*skip-(tls-)?verify.*|skip-oidc-discovery|oidc-jwks-url|oidc-public-key-files?", _TLS),
    (r"cookie-domains?|cookie-name|cookie-path", _TEAMS),
    (r"cookie-secure|cookie-httponly|cookie-samesite", "a session cookie is sent only over TLS and isn't readable by scripts"),
    (r"ping-user-agent|gcp-healthchecks|ping-path|ready-path|skip-auth-.*|trusted-ips?|skip-jwt-bearer-tokens|extra-jwt-issuers?|api-routes?", _BYPASS),
    (r"htpasswd-.*|authenticated-emails-file|email-domains?|allowed-groups?|allowed-roles?|oidc-groups-claim|upstreams?|upstream-.*", _GROUPS),
    (r"azure-.*|google-.*|github-.*|gitlab-.*|bitbucket-.*|keycloak-.*|entra-id-allowed-tenant|entra-id-.*", _GROUPS),
    (r"reverse-proxy|trusted-proxy-ips?|real-client-ip-header|set-xauthrequest|pass-host-header", _FORGERY),
    (r"provider|oidc-issuer-url|login-url|redeem-url|profile-url|validate-url|oidc-audience-claims?|oidc-extra-audiences?|scope|client-id", _GROUPS),
    (r"client-secret-file|cookie-secret-file|redis-.*|session-store-type", _OURS),
    (r"proxy-prefix|redirect-url|http-address|https-address|tls-.*|config|alpha-config|force-https", _OURS),
    (r"cookie-expire|cookie-refresh|session-cookie-minimal", "a session lives as long as gateway_auth_session says"),
    (r"code-challenge-method|cookie-csrf-.*|encode-state", "a sign-in can't be started or finished by somebody else"),
)
_FLAG_RULES = tuple((re.compile(pattern), why) for pattern, why in _FLAGS)

# Keys of the chart (dotted prefixes) and the guarantee each would undo.
_KEYS: tuple[tuple[str, str], ...] = (
    ("config.configFile", _GROUPS),
    ("config.existingConfig", _GROUPS),
    ("config.emailDomains", _GROUPS),
    ("config.upstreams", _GROUPS),
    ("config.clientID", _OURS),
    ("config.cookieName", _TEAMS),
    ("config.existingSecret", _OURS),
    ("config.requiredSecretKeys", _OURS),
    ("config.forceLegacyConfig", _OURS),
    ("config.google", _GROUPS),
    ("alphaConfig", _GROUPS),
    ("authenticatedEmailsFile", _GROUPS),
    ("htpasswdFile", _GROUPS),
    ("proxyVarsAsSecrets", _OURS),
    ("envFrom", "no flag is hidden in a Secret or ConfigMap that can't be judged"),
    ("sessionStorage", "sessions are kept where gateway_auth_session_store says"),
    ("redis-ha", "sessions are kept where gateway_auth_session_store says"),
    ("redis", "sessions are kept where gateway_auth_session_store says"),
    ("extraObjects", "the session store and the NetworkPolicies of the release stay in it"),
    ("gatewayApi", "the proxy is reached by its own route on the HTTPS listener alone"),
    ("ingress", "the proxy is reached by its own route on the HTTPS listener alone"),
    ("fullnameOverride", _OURS),
    ("nameOverride", _OURS),
    ("namespaceOverride", _OURS),
    ("customLabels", "what is ours is recognised by its labels"),
    ("service.portNumber", _OURS),
    ("httpScheme", _OURS),
    ("replicaCount", "the number of pods is gateway_auth_replicas"),
    ("autoscaling.enabled", "the number of pods is gateway_auth_replicas"),
)


def judge(values: t.Mapping[str, t.Any], own_hosts: collections.abc.Set[str]) -> list[Doubt]:
    """Everything in ``values`` that would undo a guarantee. ``own_hosts`` may be in whitelist-domain."""
    doubts = [*_arguments(values.get("extraArgs"), own_hosts), *_environment(values.get("extraEnv"), own_hosts)]
    for path, why in _KEYS:
        found = _get(values, path)
        if found is not _ABSENT and found not in ({}, [], None):
            doubts.append(Doubt(path, f"that {why}", "a value of its own"))
    doubts += _secrets(values, "")
    # One key may offend twice; that it is a secret is the graver.
    graver = {doubt.path for doubt in doubts if not doubt.waivable}
    unique = {doubt.path: doubt for doubt in doubts if not doubt.waivable or doubt.path not in graver}
    return list(unique.values())


def waiver_key(option: str) -> str:
    """The form in which a waiver's option is compared."""
    return option.strip().removeprefix("gateway_auth_")


def _arguments(given: t.Any, own_hosts: collections.abc.Set[str]) -> collections.abc.Iterator[Doubt]:
    if given in (None, {}):
        return
    if not isinstance(given, collections.abc.Mapping):
        yield Doubt("extraArgs", "a mapping of flags, for a list would replace every flag of ours", "a list")
        return
    for flag, value in given.items():
        yield from _flag(f"extraArgs.{flag}", str(flag), value, own_hosts)


def _environment(given: t.Any, own_hosts: collections.abc.Set[str]) -> collections.abc.Iterator[Doubt]:
    for entry in given if isinstance(given, list) else ():
        name = str(entry.get("name", "")) if isinstance(entry, collections.abc.Mapping) else ""
        if name.startswith("OAUTH2_PROXY_"):
            flag = name.removeprefix("OAUTH2_PROXY_").lower().replace("_", "-")
            yield from _flag(f"extraEnv.{name}", flag, entry.get("value"), own_hosts)


def _flag(path: str, flag: str, value: t.Any, own_hosts: collections.abc.Set[str]) -> collections.abc.Iterator[Doubt]:
    flag = flag.lstrip("-").replace("_", "-").lower()
    if flag in _SECRET_FLAGS:
        yield Doubt(path, "no secret among Helm values, which are readable in the cluster", "a value that is not shown", waivable=False)
        return
    if flag.rstrip("s") == "whitelist-domain":
        listed = [str(item) for item in value] if isinstance(value, list) else str(value).split(",")
        foreign = [host.strip() for host in listed if host.strip() not in own_hosts]
        if foreign:
            yield Doubt(path, f"that {_TEAMS}: only hosts of this team", foreign[0])
        return
    for pattern, why in _FLAG_RULES:
        if pattern.fullmatch(flag):
            yield Doubt(path, f"that {why}", f"the flag --{flag}")
            return


def _secrets(value: t.Any, path: str) -> collections.abc.Iterator[Doubt]:
    """Values that are secrets by their name, or hold one in a URL."""
    if isinstance(value, collections.abc.Mapping):
        for key, item in value.items():
            yield from _secrets(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _secrets(item, f"{path}[{index}]")
    elif isinstance(value, str) and value:
        name = path.rsplit(".", maxsplit=1)[-1]
        by_name = _SECRET_NAME.search(name) and not _NOT_SECRET.search(name)
        if path in _SECRET_KEYS or by_name or _has_password(value):
            yield Doubt(path, "no secret among Helm values, which are readable in the cluster", "a value that is not shown", waivable=False)


def _has_password(text: str) -> bool:
    if "://" not in text:
        return False
    try:
        return bool(urllib.parse.urlsplit(text).password)
    except ValueError:
        return False


_ABSENT = object()


def _get(values: t.Mapping[str, t.Any], path: str) -> t.Any:
    found: t.Any = values
    for key in path.split("."):
        if not isinstance(found, collections.abc.Mapping) or key not in found:
            return _ABSENT
        found = found[key]
    return found
