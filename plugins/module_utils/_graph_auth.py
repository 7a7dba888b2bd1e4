# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who we are to Microsoft Graph: which strategy applies, and what all of them share.

Each way to a token is a file of its own, ``_graph_auth_<way>.py``; ``choose_auth`` picks one by the environment variables of the
Azure SDKs (https://learn.microsoft.com/python/api/overview/azure/identity-readme#environment-variables) and of
azure.azcollection (its doc fragment ``azure``), in this order:

1. client secret: AZURE_CLIENT_SECRET or AZURE_SECRET is set
2. federated token file: AZURE_FEDERATED_TOKEN_FILE is set
3. managed identity: IDENTITY_ENDPOINT or MSI_ENDPOINT is set
4. the login of the ``az`` command

ANSIBLE_AZURE_AUTH_SOURCE narrows that: ``env`` to 1 and 2, ``msi`` to 3 (a virtual machine has no variable that gives it
away), ``cli`` to 4. An empty variable counts as not set. Nothing here keeps a secret where a message or a repr can show it.
"""

from __future__ import annotations

import base64
import binascii
import collections.abc
import dataclasses
import json
import time
import typing as t
import urllib.parse

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphAuthError, TransportError
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import Response, Transport

Environ = collections.abc.Mapping[str, str]
Clock = collections.abc.Callable[[], float]

TIMEOUT_S = 30.0
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# What a token is taken to last when neither the answer nor the token says.
_LIFETIME_S = 600.0

# (Graph, authority) of each cloud: https://learn.microsoft.com/graph/deployments and, since it is what tokens name as their issuer,
# https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud. "usgov" is GCC High (L4); DoD (L5) has
# https://dod-graph.microsoft.us, given as url.
CLOUDS: t.Final = {
    "global": ("https://graph.microsoft.com", "https://login.microsoftonline.com"),
    "usgov": ("https://graph.microsoft.us", "https://login.microsoftonline.us"),
    "china": ("https://microsoftgraph.chinacloudapi.cn", "https://login.partner.microsoftonline.cn"),
}

_FEDERATED_REMEDY = (
    "The app registration needs a federated credential whose issuer, subject and audience equal the token's to the character"
    " (a trailing slash counts); a new one takes some seconds to be known."
)
# What mends each refusal. Codes: https://learn.microsoft.com/entra/identity-platform/reference-error-codes
REMEDIES: t.Final[dict[int, str]] = {
    50027: "AZURE_FEDERATED_TOKEN_FILE must hold a JWT and nothing else.",
    50076: "Sign in again: az login --tenant with the tenant of gateway_auth_tenant_id.",
    50078: "Sign in again: az login --tenant with the tenant of gateway_auth_tenant_id.",
    50079: "Sign in again: az login --tenant with the tenant of gateway_auth_tenant_id.",
    50173: "Sign in again: az login --tenant with the tenant of gateway_auth_tenant_id.",
    53003: "A Conditional Access policy blocks this identity here: have it excluded, or run from an allowed network.",
    500011: "That tenant doesn't know this Graph URL: check gateway_auth_graph (cloud, url).",
    70021: _FEDERATED_REMEDY,
    700016: "Check AZURE_CLIENT_ID, gateway_auth_tenant_id and gateway_auth_graph.cloud: the identity's app registration must live in that tenant.",
    700024: "The token is expired, or a clock is wrong: check the time here, and that AZURE_FEDERATED_TOKEN_FILE is renewed.",
    700027: "The token's signature doesn't match its issuer's published keys: check the issuer's /.well-known/openid-configuration and keys.",
    700082: "Sign in again: az login --tenant with the tenant of gateway_auth_tenant_id.",
    700211: _FEDERATED_REMEDY,
    700212: _FEDERATED_REMEDY,
    700213: _FEDERATED_REMEDY,
    7000112: "Enable sign-in of the identity's enterprise application (service principal).",
    7000215: "AZURE_CLIENT_SECRET must be the secret's value, not its id, and belong to the app of AZURE_CLIENT_ID; a new one takes some seconds to be known.",
    7000222: "The secret is expired: create a new one for the app of AZURE_CLIENT_ID and set AZURE_CLIENT_SECRET.",
    90002: "Check gateway_auth_tenant_id, and gateway_auth_graph.cloud: each cloud has its own tenants.",
    900023: "Check gateway_auth_tenant_id: it is the tenant's GUID.",
}


@dataclasses.dataclass(frozen=True)
class GraphEndpoint:
    """Base URLs, without a trailing slash: ``graph`` of Microsoft Graph (no version), ``authority`` of the sign-in service (no tenant)."""

    graph: str
    authority: str

    @classmethod
    def for_cloud(cls, cloud: str, url: str = "", authority: str = "") -> GraphEndpoint:
        """``cloud`` is ``global``, ``usgov`` or ``china``; ``url`` and ``authority``, when given, stand in for its own."""
        own_graph, own_authority = CLOUDS[cloud]
        return cls((url or own_graph).rstrip("/"), (authority or own_authority).rstrip("/"))

    @property
    def scope(self) -> str:
        """All permissions the identity was granted for Graph."""
        return f"{self.graph}/.default"

    def token_url(self, tenant_id: str) -> str:
        return f"{self.authority}/{tenant_id}/oauth2/v2.0/token"


@dataclasses.dataclass(frozen=True)
class Token:
    """An access token for Graph.

    ``expires_at`` is in seconds of the clock given to ``token()``. ``roles`` are the application permissions it carries, or
    (``delegated``) the scopes of a signed-in user; ``principal_id`` is the object id of the service principal or user. They are
    read without verification, for messages only, and empty when the token is opaque.
    """

    value: str = dataclasses.field(repr=False)
    expires_at: float
    roles: frozenset[str] = frozenset()
    principal_id: str = ""
    delegated: bool = False


class AuthMethod(t.Protocol):
    """A way to a token."""

    @property
    def title(self) -> str:
        """For messages: ``client secret of app <id>``."""

    def validate(self) -> None:
        """Raise GraphAuthError when a variable is missing or can't be right; asks nobody."""

    def token(self, transport: Transport, clock: Clock) -> Token:
        """Get a new token. Raises GraphAuthError; its ``retry_after`` says whether repeating helps."""


def choose_auth(environ: Environ, endpoint: GraphEndpoint, tenant_id: str) -> AuthMethod:
    """The strategy that the environment asks for, validated.

    ``tenant_id`` is the inventory's gateway_auth_tenant_id. Raises GraphAuthError when the environment speaks of another tenant
    or authority, or lacks something.
    """
    _check_same(environ, endpoint, tenant_id)
    method = _choose(environ, endpoint, tenant_id)
    method.validate()
    return method


def _choose(environ: Environ, endpoint: GraphEndpoint, tenant_id: str) -> AuthMethod:
    source = (environ.get("ANSIBLE_AZURE_AUTH_SOURCE") or "auto").lower()
    if source not in ("auto", "env", "msi", "cli"):
        raise GraphAuthError(f"Expected ANSIBLE_AZURE_AUTH_SOURCE to be auto, env, msi or cli for Microsoft Graph, got {source!r}.", "Set one of these.")
    client_id = environ.get("AZURE_CLIENT_ID", "")
    if source in ("auto", "env"):
        secret = one_of(environ, "AZURE_CLIENT_SECRET", "AZURE_SECRET")
        if secret:
            from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth_client_secret import ClientSecretAuth

            return ClientSecretAuth(endpoint, tenant_id, client_id, secret)
        if environ.get("AZURE_FEDERATED_TOKEN_FILE"):
            from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth_federated import FederatedAuth

            return FederatedAuth(endpoint, tenant_id, client_id, environ["AZURE_FEDERATED_TOKEN_FILE"])
        if source == "env":
            raise GraphAuthError(
                "ANSIBLE_AZURE_AUTH_SOURCE is env, but neither AZURE_CLIENT_SECRET (or AZURE_SECRET) nor AZURE_FEDERATED_TOKEN_FILE is set.",
                "Set one of them, and AZURE_CLIENT_ID.",
            )
    if source == "msi" or (source == "auto" and (environ.get("IDENTITY_ENDPOINT") or environ.get("MSI_ENDPOINT"))):
        from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth_managed_identity import ManagedIdentityAuth

        return ManagedIdentityAuth(endpoint, tenant_id, client_id, environ)
    from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth_cli import CliAuth

    return CliAuth(endpoint, tenant_id, environ)


def _check_same(environ: Environ, endpoint: GraphEndpoint, tenant_id: str) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_TENANT"):
        given = environ.get(name, "")
        if given and given.lower() != tenant_id.lower():
            raise GraphAuthError(
                f"{name} is {given}, but the inventory's gateway_auth_tenant_id is {tenant_id}. Nothing was asked of either.",
                f"Correct gateway_auth_tenant_id, or unset {name}.",
            )
    host = environ.get("AZURE_AUTHORITY_HOST", "").rstrip("/")
    given = host if "://" in host or not host else f"https://{host}"
    if given and given.lower() != endpoint.authority.lower():
        raise GraphAuthError(
            f"AZURE_AUTHORITY_HOST is {given}, but gateway_auth_graph means {endpoint.authority}. Nothing was asked of either.",
            "Set gateway_auth_graph.cloud to the tenant's cloud, or unset AZURE_AUTHORITY_HOST.",
        )


def one_of(environ: Environ, name: str, other: str) -> str:
    """The value of two names for one thing, or "". Raises GraphAuthError when both are set and differ."""
    if environ.get(name) and environ.get(other) and environ[name] != environ[other]:
        raise GraphAuthError(f"{name} and {other} are both set and differ.", f"Unset {other}.")
    return environ.get(name) or environ.get(other) or ""


# --- what the strategies share ---------------------------------------------------------------------------------------


def check_client_id(client_id: str, title: str) -> None:
    if not client_id:
        raise GraphAuthError(
            f"AZURE_CLIENT_ID isn't set; the {title} needs it.", "Set it to the application (client) id of the identity that manages app registrations."
        )


def request_token(endpoint: GraphEndpoint, tenant_id: str, form: collections.abc.Mapping[str, str], title: str, transport: Transport, clock: Clock) -> Token:
    """The client credentials grant (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow)."""
    url = endpoint.token_url(tenant_id)
    full = {"grant_type": "client_credentials", "scope": endpoint.scope, **form}
    body = urllib.parse.urlencode(full).encode()
    secrets = [value for key, value in form.items() if key in ("client_secret", "client_assertion")]
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    response = send(transport, "POST", url, headers, body, title)
    if response.status != 200:
        raise refusal(response, url, title, secrets)
    return read_token(response.body, url, tenant_id, clock)


def send(transport: Transport, method: str, url: str, headers: dict[str, str], body: bytes | None, title: str) -> Response:
    """One request of a strategy; no answer becomes a GraphAuthError that may be repeated (a second token does no harm)."""
    try:
        return transport(method, url, headers, body, TIMEOUT_S)
    except TransportError as exc:
        raise GraphAuthError(f"Could not get a token by {title}: {exc.message}", exc.remedy, retry_after=None if exc.lasting else 0.0) from exc


def refusal(response: Response, url: str, title: str, secrets: collections.abc.Iterable[str] = (), remedy: str = "") -> GraphAuthError:
    """The error of an answer that isn't a token; whatever echoes one of ``secrets`` is blotted out."""
    document = parse_object(response.body)
    codes = document.get("error_codes")
    number = codes[0] if isinstance(codes, list) and codes and isinstance(codes[0], int) else 0
    word = str(document.get("error") or "")
    text = str(document.get("error_description") or "").partition(" Trace ID:")[0].partition("\r\n")[0].strip()
    if not number and text.startswith("AADSTS"):
        digits = text.removeprefix("AADSTS").partition(":")[0]
        number = int(digits) if digits.isdigit() else 0
    trace = str(document.get("trace_id") or response.headers.get("x-ms-request-id") or "")
    said = text or word or "no explanation"
    if number and f"AADSTS{number}" not in said:
        said = f"AADSTS{number}: {said}"
    again = response.status in (408, 429) or response.status >= 500
    secrets = list(secrets)
    for secret in secrets:
        said = blot(said, secret)  # before it is cut: half a secret would no longer be found
    suffix = f" (trace {trace})" if trace else ""
    message = f"Could not get a token by {title}: expected HTTP 200 from {url}, got {response.status} {shorten(said).rstrip('.')}{suffix}."
    for secret in secrets:
        message = blot(message, secret)
    return GraphAuthError(
        message,
        remedy or REMEDIES.get(number, ""),
        status=response.status,
        code=str(number or word),
        request_id=trace,
        retry_after=retry_after(response.headers) or 0.0 if again else None,
    )


def read_token(body: bytes, url: str, tenant_id: str, clock: Clock, now: Clock = time.time) -> Token:
    """The token of an answer. ``now``, the time of day in seconds, is for endpoints that don't say ``expires_in``."""
    document = parse_object(body)
    value = document.get("access_token")
    if not isinstance(value, str) or not value:
        raise GraphAuthError(f"{url} answered 200 without an access token.", "Something else than the token service answers there: check proxies.")
    lifetime = _number(document.get("expires_in"))
    until = _number(document.get("expires_on")) if lifetime is None else None
    return make_token(value, lifetime if until is None else until - now(), tenant_id, clock, now)


def make_token(value: str, lifetime: float | None, tenant_id: str, clock: Clock, now: Clock = time.time) -> Token:
    """A Token with what its payload tells. Raises GraphAuthError when it is another tenant's."""
    claims = read_claims(value)
    if lifetime is None:
        until = _number(claims.get("exp"))
        lifetime = _LIFETIME_S if until is None else until - now()
    tenant = str(claims.get("tid") or "")
    if tenant and tenant.lower() != tenant_id.lower():
        raise GraphAuthError(
            f"The token is for tenant {tenant}, but the inventory's gateway_auth_tenant_id is {tenant_id}.",
            "Use an identity of that tenant, or correct gateway_auth_tenant_id.",
        )
    roles, scopes = claims.get("roles"), claims.get("scp")
    granted = [str(role) for role in roles] if isinstance(roles, list) else str(scopes or "").split()
    return Token(value, clock() + lifetime, frozenset(granted), str(claims.get("oid") or ""), delegated=bool(scopes))


def read_claims(value: str) -> dict[str, t.Any]:
    """The payload of a JWT, unverified (its audience, Graph, verifies it); empty when the token is opaque."""
    parts = value.split(".")
    if len(parts) != 3:
        return {}
    try:
        raw = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
    except (binascii.Error, ValueError):
        return {}
    return parse_object(raw)


def parse_object(body: bytes) -> dict[str, t.Any]:
    """A JSON object, or {} for anything else.

    It never raises: the decoder's own exception carries the whole document, which may hold a secret.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def retry_after(headers: collections.abc.Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` asks to wait, given as such or as a date; None when it isn't there or makes no sense."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isdigit():
        return float(value)
    import email.utils

    try:
        until = email.utils.parsedate_to_datetime(value)
        # Against the server's own time, so that a wrong clock here doesn't matter.
        since = email.utils.parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - since).total_seconds())
    except (TypeError, ValueError):
        return None


def blot(text: str, secret: str) -> str:
    """The text without the secret, plain or form-encoded."""
    for form in (secret, urllib.parse.quote_plus(secret)):
        if form:
            text = text.replace(form, "********")
    return text


def shorten(text: str, limit: int = 400) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None
