# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of Entra's security token service, by AADSTS code.

Codes and meanings: https://learn.microsoft.com/entra/identity-platform/reference-error-codes. Where that page names no
OAuth error or HTTP status, they are those seen in public bug reports of clients (oauth2-proxy, MSAL, azure-workload-identity).
"""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Kind:
    """One AADSTS code: the OAuth error it belongs to, the status of the token endpoint, and its text."""

    oauth: str
    status: int
    text: str


KINDS: Final[dict[int, Kind]] = {
    50011: Kind(
        "invalid_request",
        400,
        "The redirect URI '{redirect_uri}' specified in the request does not match the redirect URIs configured for the"
        " application '{client_id}'. Make sure the redirect URI sent in the request matches one added to your application"
        " in the Azure portal. Navigate to https://aka.ms/redirectUriMismatchError to learn more about how to fix this.",
    ),
    50027: Kind("invalid_request", 400, "JWT token is invalid or malformed."),
    50034: Kind("invalid_grant", 400, "The user account {user} does not exist in the {tenant} directory."),
    50057: Kind("invalid_grant", 400, "The user account is disabled."),
    50058: Kind("login_required", 400, "Session information is not sufficient for single-sign-on."),
    50105: Kind(
        "invalid_grant",
        400,
        "Your administrator has configured the application {app} ('{client_id}') to block users unless they are"
        " specifically granted ('assigned') access to the application. The signed in user '{user}' is blocked because they"
        " are not a direct member of a group with access, nor had access directly assigned by an administrator. Please"
        " contact your administrator to assign access to this application.",
    ),
    50147: Kind("invalid_request", 400, "Missing code_challenge parameter."),
    50148: Kind(
        "invalid_grant",
        400,
        "The code_verifier does not match the code_challenge supplied in the authorization request for PKCE.",
    ),
    501481: Kind("invalid_grant", 400, "The Code_Verifier does not match the code_challenge supplied in the authorization request."),
    50149: Kind("invalid_request", 400, "Invalid Code_Challenge_method parameter."),
    501491: Kind("invalid_request", 400, "Invalid size of Code_Challenge parameter."),
    50166: Kind("invalid_request", 400, "Request to External OIDC endpoint failed."),
    50173: Kind(
        "invalid_grant",
        400,
        "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password.",
    ),
    50194: Kind(
        "invalid_request",
        400,
        "Application is not configured as a multi-tenant application. Usage of the /{tenant} endpoint is not supported for"
        " such applications. Use a tenant-specific endpoint or configure the application to be multi-tenant.",
    ),
    500112: Kind(
        "invalid_client",
        400,
        "The reply address '{redirect_uri}' does not match the reply address '{expected}' provided when requesting Authorization code.",
    ),
    500341: Kind("invalid_grant", 400, "The user account has been deleted from the {tenant} directory."),
    54005: Kind(
        "invalid_grant",
        400,
        "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.",
    ),
    65001: Kind(
        "invalid_grant",
        400,
        "The user or administrator has not consented to use the application with ID '{client_id}' named '{app}'. Send an"
        " interactive authorization request for this user and resource.",
    ),
    650053: Kind(
        "invalid_client",
        400,
        "The application '{app}' asked for scope '{scope}' that doesn't exist on the resource '{resource}'. Contact the app vendor.",
    ),
    70000: Kind("invalid_grant", 400, "The provided value for the '{name}' parameter is not valid."),
    70003: Kind("unsupported_grant_type", 400, "The app requested an unsupported grant type '{grant_type}'."),
    70005: Kind("unsupported_response_type", 400, "The provided value '{value}' for the 'response_type' parameter is not supported."),
    70007: Kind("invalid_request", 400, "'{value}' is not a supported value of 'response_mode' when requesting a code."),
    70008: Kind(
        "invalid_grant",
        400,
        "The provided authorization code or refresh token has expired due to inactivity. Send"
        " a new interactive authorization request for this user and resource.",
    ),
    70011: Kind(
        "invalid_scope",
        400,
        "The provided request must include a 'scope' input parameter. The"
        " provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid.",
    ),
    70021: Kind(
        "invalid_client",
        401,
        "No matching federated identity record found for presented assertion. Assertion Issuer: '{issuer}'."
        " Assertion Subject: '{subject}'. Assertion Audience: '{audience}'.",
    ),
    700016: Kind(
        "unauthorized_client",
        400,
        "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the"
        " application has not been installed by the administrator of the tenant or consented to by any user in the tenant."
        " You may have sent your authentication request to the wrong tenant.",
    ),
    700024: Kind("invalid_client", 401, "Client assertion is not within its valid time range."),
    700027: Kind("invalid_client", 401, "Client assertion failed signature validation."),
    700051: Kind("unsupported_response_type", 400, "response_type 'token' is not enabled for the application."),
    700054: Kind("unsupported_response_type", 400, "response_type 'id_token' is not enabled for the application."),
    700082: Kind("invalid_grant", 400, "The refresh token has expired due to inactivity."),
    700211: Kind(
        "invalid_client",
        401,
        "No matching federated identity record found for presented assertion issuer '{issuer}'. Please check your federated"
        " identity credential Subject, Audience and Issuer against the presented assertion.",
    ),
    700212: Kind(
        "invalid_client",
        401,
        "No matching federated identity record found for presented assertion audience '{audience}'. Please check your"
        " federated identity credential Subject, Audience and Issuer against the presented assertion.",
    ),
    700213: Kind(
        "invalid_client",
        401,
        "No matching federated identity record found for presented assertion subject '{subject}'. Please check your"
        " federated identity credential Subject, Audience and Issuer against the presented assertion.",
    ),
    7000112: Kind("unauthorized_client", 400, "Application '{client_id}'({app}) is disabled."),
    7000215: Kind(
        "invalid_client",
        401,
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the"
        " client secret ID, for a secret added to app '{client_id}'.",
    ),
    7000218: Kind(
        "invalid_client",
        401,
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ),
    7000229: Kind(
        "invalid_client",
        401,
        "The client application {client_id} is missing service principal in the tenant {tenant}. See instructions here:"
        " https://go.microsoft.com/fwlink/?linkid=2225119",
    ),
    7000222: Kind(
        "invalid_client",
        401,
        "The provided client secret keys for app '{client_id}' are expired. Visit the Azure portal to create new keys for"
        " your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security:"
        " https://aka.ms/certCreds.",
    ),
    90002: Kind(
        "invalid_request",
        400,
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct"
        " cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the"
        " tenant.",
    ),
    90023: Kind("invalid_request", 400, "Unsupported '{name}' value."),
    900023: Kind(
        "invalid_request",
        400,
        "Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain.",
    ),
    900144: Kind("invalid_request", 400, "The request body must contain the following parameter: '{name}'."),
    900561: Kind("invalid_request", 405, "The endpoint only accepts {allowed} requests. Received a {method} request."),
    900971: Kind("invalid_request", 400, "No reply address provided."),
    901002: Kind("invalid_request", 400, "The 'resource' request parameter is not supported."),
    1002012: Kind(
        "invalid_scope",
        400,
        "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default"
        " suffixed to the resource identifier (application ID URI).",
    ),
    9000411: Kind("invalid_request", 400, "The request is not properly formatted. The parameter '{name}' is duplicated."),
    9002326: Kind(
        "invalid_request",
        400,
        "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type. Request origin: '{origin}'.",
    ),
    9002313: Kind("invalid_request", 400, "Invalid request. Request is malformed or invalid."),
    9002325: Kind(
        "invalid_request",
        400,
        "Proof Key for Code Exchange is required for cross-origin authorization code redemption.",
    ),
}


def entra_timestamp(at: float) -> str:
    """Return a time as the token service writes it, `2016-01-09 02:02:12Z`."""
    moment = datetime.datetime.fromtimestamp(at, tz=datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


@dataclass(frozen=True)
class Trace:
    """What ties an error to one request: Entra's trace and correlation ids, and the time."""

    at: float
    trace_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    correlation_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def timestamp(self) -> str:
        return entra_timestamp(self.at)


class StsError(Exception):
    """A refusal by the token service; rendered as JSON, as a page, or as a redirect by whoever catches it."""

    def __init__(self, code: int, *, oauth: str | None = None, **values: str) -> None:
        kind = KINDS[code]
        self.code = code
        self.oauth = oauth or kind.oauth
        self.status = kind.status
        self.text = kind.text.format_map(values)
        super().__init__(f"AADSTS{code}")

    def description(self, trace: Trace) -> str:
        """Return `error_description`: the text and the ids a support case asks for."""
        return f"AADSTS{self.code}: {self.text} Trace ID: {trace.trace_id} Correlation ID: {trace.correlation_id} Timestamp: {trace.timestamp}"

    def document(self, trace: Trace) -> dict[str, object]:
        """Return the JSON body of the token endpoint."""
        return {
            "error": self.oauth,
            "error_description": self.description(trace),
            "error_codes": [self.code],
            "timestamp": trace.timestamp,
            "trace_id": trace.trace_id,
            "correlation_id": trace.correlation_id,
            "error_uri": f"https://login.microsoftonline.com/error?code={self.code}",
        }
