# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The properties that can be written through Graph, each with its type: a closed set.

Sources: api-reference/v1.0/resources/application.md, serviceprincipal.md, federatedidentitycredential.md and group.md of
github.com/microsoftgraph/microsoft-graph-docs-contrib. A property that is known but read-only is refused as such; one that
isn't known at all is refused as Graph refuses it, so that a misspelt property never looks as if it had been set.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .directory import GROUP_MEMBERSHIP_CLAIMS, MAX_REDIRECT_URIS, DirectoryError, check_redirect_uri, is_guid
from .graph_errors import GraphError, bad_request, invalid_value, read_only, unknown_property

Check = Callable[[object, str, str], object]
"""Takes a value, the property's name and the resource's; returns the value to keep, or raises."""

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?")
# What may stand in `urn:`-free texts of a URL's path without being encoded.
_URL_FRIENDLY = re.compile(r"[A-Za-z0-9_.-]+")


def text(limit: int, *, null: bool = True, empty: bool = True) -> Check:
    def check(value: object, name: str, kind: str) -> object:
        if value is None and null:
            return None
        if not isinstance(value, str) or (not value and not empty):
            raise invalid_value(name, kind, "a text is expected")
        if len(value) > limit:
            raise invalid_value(name, kind, f"the text is longer than {limit} characters")
        return value

    return check


def flag(*, null: bool = False) -> Check:
    def check(value: object, name: str, kind: str) -> object:
        if not isinstance(value, bool) and not (null and value is None):
            raise invalid_value(name, kind, "true or false is expected")
        return value

    return check


def choice(*values: str, null: bool = False) -> Check:
    def check(value: object, name: str, kind: str) -> object:
        if not (null and value is None) and value not in values:
            raise invalid_value(name, kind, f"one of {', '.join(values)} is expected")
        return value

    return check


def guid(value: object, name: str, kind: str) -> object:
    if not isinstance(value, str) or not is_guid(value):
        raise invalid_value(name, kind, "a GUID is expected")
    return value.lower()


def token_version(value: object, name: str, kind: str) -> object:
    if value is not None and (isinstance(value, bool) or value not in (1, 2)):
        raise invalid_value(name, kind, "1, 2 or null is expected")
    return value


def claims(value: object, name: str, kind: str) -> object:
    """Check groupMembershipClaims: one of the flags or, as the type is a set of flags in the directory, several."""
    if value is None:
        return None
    flags = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
    if not flags or len(set(flags)) != len(flags) or not set(flags) <= set(GROUP_MEMBERSHIP_CLAIMS):
        raise invalid_value(name, kind, f"null or some of {', '.join(GROUP_MEMBERSHIP_CLAIMS)} is expected")
    return ", ".join(flags)


def items(of: Check, *, limit: int | None = None, unique: bool = False) -> Check:
    def check(value: object, name: str, kind: str) -> object:
        if not isinstance(value, list):
            raise invalid_value(name, kind, "a list is expected")
        if limit is not None and len(value) > limit:
            raise invalid_value(name, kind, f"at most {limit} values are allowed")
        found = [of(item, name, kind) for item in value]
        if unique and len({str(item) for item in found}) != len(found):
            raise bad_request("Request contains a property with duplicate values.")
        return found

    return check


def record(known: Mapping[str, Check], required: Sequence[str] = ()) -> Check:
    """Check an object that is replaced as a whole."""

    def check(value: object, name: str, kind: str) -> object:
        if not isinstance(value, dict):
            raise invalid_value(name, kind, "an object is expected")
        values = typed(value, name)
        for key in values:
            if key not in known:
                raise unknown_property(key, f"{kind}.{name}")
        for key in required:
            if key not in values:
                raise invalid_value(f"{name}.{key}", kind, "it is required")
        return {key: known[key](item, f"{name}.{key}", kind) for key, item in values.items()}

    return check


def typed(value: Mapping[str, object], where: str) -> dict[str, object]:
    """Drop OData's type annotation, which SDKs add to every object; any other annotation is refused."""
    kind = value.get("@odata.type")
    if kind is not None and not (isinstance(kind, str) and kind.removeprefix("#").startswith("microsoft.graph.")):
        raise bad_request(f"A type named '{kind}' could not be resolved by the model. (in {where})", "BadRequest")
    return {key: item for key, item in value.items() if key != "@odata.type"}


def redirect_uri(value: object, name: str, kind: str) -> object:
    try:
        check_redirect_uri(str(text(10000, null=False, empty=False)(value, name, kind)))
    except DirectoryError as exc:
        raise invalid_value(name, kind, str(exc)) from exc
    return value


def public_redirect_uri(value: object, name: str, kind: str) -> object:
    """Installed applications may have schemes of their own."""
    return text(256, null=False, empty=False)(value, name, kind)


def web_url(value: object, name: str, kind: str) -> object:
    """Check an address that people are sent to (homepage, sign-out)."""
    if value in (None, ""):
        return value
    if not isinstance(value, str) or not re.match(r"https?://[^/\s]", value) or len(value) > 255:
        raise invalid_value(name, kind, "an absolute http or https URL of at most 255 characters is expected")
    return value


def url_friendly(limit: int) -> Check:
    def check(value: object, name: str, kind: str) -> object:
        if not isinstance(value, str) or len(value) > limit or not _URL_FRIENDLY.fullmatch(value):
            raise invalid_value(name, kind, f"at most {limit} characters that need no encoding in a URL are expected")
        return value

    return check


def timestamp(value: object, name: str, kind: str) -> float:
    """Read a DateTimeOffset; one without an offset is UTC, as OData's library reads it on Graph's servers."""
    match = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise GraphError(400, "BadRequest", f"Cannot convert the literal of '{name}' to the expected type 'Edm.DateTimeOffset'.")
    try:
        fraction = (match[2] or "")[:7]
        return datetime.datetime.fromisoformat(match[1] + fraction + (match[3] or "Z")).timestamp()
    except ValueError as exc:
        raise GraphError(400, "BadRequest", f"Cannot convert the literal of '{name}' to the expected type 'Edm.DateTimeOffset'.") from exc


def printed(at: float) -> str:
    """Return a time as Graph prints it."""
    moment = datetime.datetime.fromtimestamp(at, tz=datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}0Z" if moment.microsecond else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


# --- resource types ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resource:
    """A resource type's writable properties. `parts` are objects of which a PATCH changes what it names and no more."""

    name: str
    writable: Mapping[str, Check]
    parts: Mapping[str, Resource] = field(default_factory=dict)
    read_only: frozenset[str] = frozenset()

    def read(self, body: Mapping[str, object]) -> dict[str, object]:
        """Check all that a body sets; nothing is changed here."""
        found: dict[str, object] = {}
        for key, value in typed(body, self.name).items():
            if key in self.parts:
                if not isinstance(value, dict):
                    raise invalid_value(key, self.name, "an object is expected")
                found[key] = self.parts[key].read(value)
            elif key in self.writable:
                found[key] = self.writable[key](value, key, self.name)
            elif key in self.read_only:
                raise read_only(key, self.name)
            else:
                raise unknown_property(key, f"microsoft.graph.{self.name}")
        return found

    def merge(self, current: Mapping[str, object], change: Mapping[str, object]) -> dict[str, object]:
        """Return the properties after a change that `read` returned."""
        merged = dict(current)
        for key, value in change.items():
            before = merged.get(key)
            if key in self.parts and isinstance(value, dict):
                merged[key] = self.parts[key].merge(before if isinstance(before, dict) else {}, value)
            else:
                merged[key] = value
        return merged


_REDIRECT_URIS: Final = items(redirect_uri, limit=MAX_REDIRECT_URIS, unique=True)
_APP_ROLE: Final = record(
    {
        "id": guid,
        "allowedMemberTypes": items(choice("User", "Application")),
        "displayName": text(256, null=False, empty=False),
        "description": text(1000, null=False, empty=False),
        "isEnabled": flag(),
        "value": text(250),
        "origin": text(100),
    },
    ("id", "allowedMemberTypes", "displayName", "description"),
)
_SCOPE: Final = record(
    {
        "id": guid,
        "adminConsentDescription": text(1000),
        "adminConsentDisplayName": text(256),
        "userConsentDescription": text(1000),
        "userConsentDisplayName": text(256),
        "isEnabled": flag(),
        "type": choice("User", "Admin"),
        "value": text(120),
        "origin": text(100),
    },
    ("id",),
)
_CLAIM: Final = record(
    {
        "name": text(256, null=False, empty=False),
        "source": choice("user", null=True),
        "essential": flag(),
        "additionalProperties": items(text(256, null=False)),
    },
    ("name",),
)
_REQUIRED_ACCESS: Final = record(
    {
        "resourceAppId": guid,
        "resourceAccess": items(record({"id": guid, "type": choice("Scope", "Role")}, ("id", "type"))),
    },
    ("resourceAppId", "resourceAccess"),
)
_GRANTS: Final = Resource("implicitGrantSettings", {"enableAccessTokenIssuance": flag(null=True), "enableIdTokenIssuance": flag(null=True)})

APPLICATION: Final = Resource(
    "application",
    {
        "displayName": text(256, null=False, empty=False),
        "uniqueName": text(256, null=False, empty=False),
        "description": text(1024),
        "notes": text(1024),
        "tags": items(text(256, null=False, empty=False), unique=True),
        "signInAudience": choice("AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"),
        "groupMembershipClaims": claims,
        "requiredResourceAccess": items(_REQUIRED_ACCESS),
        "serviceManagementReference": text(256),
        "isFallbackPublicClient": flag(null=True),
        "isDeviceOnlyAuthSupported": flag(null=True),
        "identifierUris": items(text(255, null=False, empty=False), unique=True),
        "appRoles": items(_APP_ROLE),
    },
    parts={
        "api": Resource(
            "apiApplication",
            {
                "requestedAccessTokenVersion": token_version,
                "acceptMappedClaims": flag(null=True),
                "knownClientApplications": items(guid),
                "oauth2PermissionScopes": items(_SCOPE),
                "preAuthorizedApplications": items(record({"appId": guid, "delegatedPermissionIds": items(guid)}, ("appId",))),
            },
        ),
        "info": Resource(
            "informationalUrl",
            dict.fromkeys(("marketingUrl", "privacyStatementUrl", "supportUrl", "termsOfServiceUrl"), web_url),
            read_only=frozenset({"logoUrl"}),
        ),
        "optionalClaims": Resource("optionalClaims", {name: items(_CLAIM) for name in ("accessToken", "idToken", "saml2Token")}),
        "publicClient": Resource("publicClientApplication", {"redirectUris": items(public_redirect_uri, limit=MAX_REDIRECT_URIS, unique=True)}),
        "spa": Resource("spaApplication", {"redirectUris": _REDIRECT_URIS}),
        "web": Resource(
            "webApplication",
            {"redirectUris": _REDIRECT_URIS, "homePageUrl": web_url, "logoutUrl": web_url},
            parts={"implicitGrantSettings": _GRANTS},
        ),
    },
    read_only=frozenset(
        {
            *("id", "appId", "createdDateTime", "deletedDateTime", "publisherDomain", "verifiedPublisher", "certification"),
            *("applicationTemplateId", "createdByAppId", "disabledByMicrosoftStatus", "owners"),
        }
    ),
)

SERVICE_PRINCIPAL: Final = Resource(
    "servicePrincipal",
    {
        "accountEnabled": flag(),
        "appRoleAssignmentRequired": flag(),
        "description": text(1024),
        "displayName": text(256, null=False, empty=False),
        "homepage": web_url,
        "loginUrl": web_url,
        "notes": text(1024),
        "notificationEmailAddresses": items(text(256, null=False, empty=False)),
        "preferredSingleSignOnMode": choice("password", "saml", "notSupported", "oidc", null=True),
        "tags": items(text(256, null=False, empty=False), unique=True),
    },
    read_only=frozenset(
        {
            *("id", "appDisplayName", "appDescription", "appOwnerOrganizationId", "appRoles", "createdDateTime", "deletedDateTime"),
            *("oauth2PermissionScopes", "replyUrls", "servicePrincipalNames", "servicePrincipalType", "signInAudience", "owners"),
            *("keyCredentials", "passwordCredentials", "logoutUrl", "verifiedPublisher", "applicationTemplateId"),
        }
    ),
)

FEDERATED_CREDENTIAL: Final = Resource(
    "federatedIdentityCredential",
    {
        "name": url_friendly(120),
        "issuer": text(600, null=False, empty=False),
        "subject": text(600, null=False, empty=False),
        "audiences": items(text(600, null=False, empty=False), limit=1),
        "description": text(600),
    },
    read_only=frozenset({"id"}),
)

GROUP: Final = Resource(
    "group",
    {
        "displayName": text(256, null=False, empty=False),
        "description": text(1024),
        "mailNickname": text(64, null=False, empty=False),
        "mailEnabled": flag(),
        "securityEnabled": flag(),
        "groupTypes": items(text(64, null=False, empty=False)),
        "members@odata.bind": items(text(400, null=False, empty=False), limit=20),
        "owners@odata.bind": items(text(400, null=False, empty=False), limit=20),
    },
    read_only=frozenset({"id", "createdDateTime", "deletedDateTime", "mail"}),
)
