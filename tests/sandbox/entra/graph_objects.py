# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directory objects as Graph shows them, and finding them by the keys that Graph takes."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from .directory import GRAPH_APP_ID, GRAPH_ROLES, Application, Directory, DirectoryObject, Group, PasswordCredential, ServicePrincipal, User, is_guid
from .graph_auth import READ_APPS, READ_GROUPS, READ_USERS, Caller
from .graph_errors import bad_request, invalid_id, not_found
from .graph_query import Document, Kind, Row
from .graph_request import GraphRequest, Key
from .graph_schema import printed

_NO_INFO: Final[Document] = {"marketingUrl": None, "privacyStatementUrl": None, "supportUrl": None, "termsOfServiceUrl": None, "logoUrl": None}

# What a new application has, as the example of api/application-upsert.md shows it.
NEW_APPLICATION: Final[Document] = {
    "addIns": [],
    "api": {
        "acceptMappedClaims": None,
        "knownClientApplications": [],
        "oauth2PermissionScopes": [],
        "preAuthorizedApplications": [],
        "requestedAccessTokenVersion": None,
    },
    "appRoles": [],
    "applicationTemplateId": None,
    "description": None,
    "disabledByMicrosoftStatus": None,
    "identifierUris": [],
    "info": _NO_INFO,
    "isDeviceOnlyAuthSupported": None,
    "isFallbackPublicClient": None,
    "keyCredentials": [],
    "notes": None,
    "optionalClaims": None,
    "parentalControlSettings": {"countriesBlockedForMinors": [], "legalAgeGroupRule": "Allow"},
    "publicClient": {"redirectUris": []},
    "requiredResourceAccess": [],
    "serviceManagementReference": None,
    "signInAudience": "AzureADMyOrg",
    "spa": {"redirectUris": []},
    "tags": [],
    "tokenEncryptionKeyId": None,
    "verifiedPublisher": {"addedDateTime": None, "displayName": None, "verifiedPublisherId": None},
    "web": {
        "homePageUrl": None,
        "implicitGrantSettings": {"enableAccessTokenIssuance": False, "enableIdTokenIssuance": False},
        "logoutUrl": None,
        "redirectUris": [],
    },
}
NEW_PRINCIPAL: Final[Document] = {
    "addIns": [],
    "alternativeNames": [],
    "applicationTemplateId": None,
    "description": None,
    "disabledByMicrosoftStatus": None,
    "homepage": None,
    "keyCredentials": [],
    "loginUrl": None,
    "notes": None,
    "notificationEmailAddresses": [],
    "oauth2PermissionScopes": [],
    "passwordCredentials": [],
    "preferredSingleSignOnMode": None,
    "preferredTokenSigningKeyThumbprint": None,
    "samlSingleSignOnSettings": None,
    "servicePrincipalType": "Application",
    "tags": [],
    "tokenEncryptionKeyId": None,
}


def _merged(defaults: Mapping[str, object], own: Mapping[str, object]) -> Document:
    """Return defaults with an object's own attributes over them, part by part."""
    found = copy.deepcopy(dict(defaults))
    for name, value in own.items():
        before = found.get(name)
        found[name] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else copy.deepcopy(value)
    return found


def password_document(credential: PasswordCredential, secret: str | None = None) -> Document:
    return {
        "customKeyIdentifier": None,
        "displayName": credential.display_name,
        "endDateTime": printed(credential.end),
        "hint": credential.hint,
        "keyId": credential.key_id,
        "secretText": secret,
        "startDateTime": printed(credential.start),
    }


def application_document(directory: Directory, app: Application, deleted_at: float | None = None) -> Document:
    document = _merged(NEW_APPLICATION, app.attributes)
    web = document["web"]
    if isinstance(web, dict):
        web["redirectUris"] = list(app.redirect_uris)
        # Graph shows each redirect URI a second time, with its place.
        web["redirectUriSettings"] = [{"index": None, "uri": uri} for uri in app.redirect_uris]
    return {
        "id": app.id,
        "deletedDateTime": None if deleted_at is None else printed(deleted_at),
        "appId": app.client_id,
        "createdDateTime": printed(app.created),
        "displayName": app.display_name,
        "groupMembershipClaims": app.group_membership_claims,
        "passwordCredentials": [password_document(each) for each in app.password_credentials],
        "publisherDomain": directory.tenant.domain,
        "uniqueName": app.unique_name,
        **document,
    }


def application_row(directory: Directory, app: Application, deleted_at: float | None = None) -> Row:
    facts: Document = {
        "id": app.id,
        "appId": app.client_id,
        "displayName": app.display_name,
        "uniqueName": app.unique_name,
        "tags": app.attributes.get("tags", []),
        "identifierUris": app.attributes.get("identifierUris", []),
    }
    return Row(facts, lambda: application_document(directory, app, deleted_at))


def graph_app_roles() -> list[Document]:
    """Return Microsoft Graph's own app roles, as far as this double knows them."""
    return [
        {
            "id": role_id,
            "allowedMemberTypes": ["Application"],
            "description": name,
            "displayName": name,
            "isEnabled": True,
            "origin": "Application",
            "value": name,
        }
        for name, role_id in GRAPH_ROLES.items()
    ]


def _registration(directory: Directory, client_id: str) -> Application | None:
    """Return a principal's registration, which may be among the deleted."""
    return directory.applications.get(client_id) or next((app for app in directory.registrations() if app.client_id == client_id), None)


def principal_name(directory: Directory, principal: ServicePrincipal) -> str:
    own = principal.attributes.get("displayName")
    app = _registration(directory, principal.client_id)
    return str(own) if own is not None else app.display_name if app is not None else principal.client_id


def app_roles(directory: Directory, principal: ServicePrincipal) -> list[object]:
    """Return the roles that can be assigned on an enterprise application: those of its registration."""
    if principal.client_id == GRAPH_APP_ID:
        return list(graph_app_roles())
    app = _registration(directory, principal.client_id)
    roles = app.attributes.get("appRoles", []) if app is not None else []
    return copy.deepcopy(roles) if isinstance(roles, list) else []


def principal_document(directory: Directory, principal: ServicePrincipal, deleted_at: float | None = None) -> Document:
    app = _registration(directory, principal.client_id)
    shown = application_document(directory, app) if app is not None else _merged(NEW_APPLICATION, {})
    web = shown["web"]
    document = _merged(NEW_PRINCIPAL, principal.attributes)
    return {
        **document,
        "id": principal.id,
        "deletedDateTime": None if deleted_at is None else printed(deleted_at),
        "accountEnabled": principal.account_enabled,
        "appDescription": shown["description"],
        "appDisplayName": app.display_name if app is not None else document.get("displayName"),
        "appId": principal.client_id,
        "appOwnerOrganizationId": directory.tenant.id,
        "appRoleAssignmentRequired": principal.assignment_required,
        "appRoles": app_roles(directory, principal),
        "createdDateTime": printed(principal.created),
        "displayName": principal_name(directory, principal),
        "info": shown["info"],
        "logoutUrl": web["logoutUrl"] if isinstance(web, dict) else None,
        "replyUrls": list(app.redirect_uris) if app is not None else [],
        "servicePrincipalNames": [principal.client_id, *_names(shown["identifierUris"])],
        "signInAudience": shown["signInAudience"],
        "verifiedPublisher": shown["verifiedPublisher"],
    }


def principal_row(directory: Directory, principal: ServicePrincipal, deleted_at: float | None = None) -> Row:
    app = _registration(directory, principal.client_id)
    facts: Document = {
        "id": principal.id,
        "appId": principal.client_id,
        "displayName": principal_name(directory, principal),
        "tags": principal.attributes.get("tags", []),
        "servicePrincipalNames": [principal.client_id, *_names(app.attributes.get("identifierUris", []) if app is not None else [])],
        "servicePrincipalType": "Application",
        "accountEnabled": principal.account_enabled,
    }
    return Row(facts, lambda: principal_document(directory, principal, deleted_at))


def _names(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def group_document(group: Group) -> Document:
    return {
        "id": group.id,
        "deletedDateTime": None,
        "description": group.description,
        "displayName": group.name,
        "groupTypes": [],
        "isAssignableToRole": None,
        "mail": None,
        "mailEnabled": False,
        "mailNickname": group.mail_nickname,
        "onPremisesSyncEnabled": None,
        "proxyAddresses": [],
        "securityEnabled": True,
        "visibility": None,
    }


def user_document(user: User, *, full: bool = False) -> Document:
    """Return a user's default properties, or, for a query that selects or filters, more of them."""
    document: Document = {
        "id": user.id,
        "businessPhones": [],
        "displayName": user.display_name,
        "givenName": None,
        "jobTitle": None,
        "mail": user.mail,
        "mobilePhone": None,
        "officeLocation": None,
        "preferredLanguage": None,
        "surname": None,
        "userPrincipalName": user.upn,
    }
    if not full:
        return document
    return {
        **document,
        "accountEnabled": user.enabled,
        "companyName": None,
        "mailNickname": user.name,
        "onPremisesExtensionAttributes": {f"extensionAttribute{number}": None for number in range(1, 16)},
        "userType": "Member",
    }


def object_document(directory: Directory, item: DirectoryObject, caller: Caller) -> Document:
    """Return an object within a list of any kind; what the caller may not read shows its id and type, and no more.

    https://learn.microsoft.com/graph/permissions-overview, "Limited information returned for inaccessible member objects".
    """
    if isinstance(item, User):
        kind, readable, document = "user", READ_USERS, user_document(item)
    elif isinstance(item, Group):
        kind, readable, document = "group", READ_GROUPS, group_document(item)
    elif isinstance(item, Application):
        kind, readable, document = "application", READ_APPS, application_document(directory, item)
    else:
        kind, readable, document = "servicePrincipal", READ_APPS, principal_document(directory, item)
    if not caller.may(readable):
        document = {name: item.id if name == "id" else None for name in document}
    return {"@odata.type": f"#microsoft.graph.{kind}", **document}


# --- kinds, for queries ------------------------------------------------------------------------------------------------

_EQUAL: Final = ("eq", "in")
_COMPARED: Final = ("eq", "in", "ne", "startsWith", "endsWith")
_APPLICATION_FILTERS: Final = {"appId": _EQUAL, "displayName": _COMPARED, "id": _EQUAL, "tags": ("any",), "identifierUris": ("any",)}
_APPLICATION_PROPERTIES: Final = frozenset(
    {
        *NEW_APPLICATION,
        *("id", "deletedDateTime", "appId", "createdDateTime", "displayName", "groupMembershipClaims", "passwordCredentials"),
        *("publisherDomain", "uniqueName", "certification"),
    }
)
APPLICATIONS: Final = Kind("application", "applications", _APPLICATION_PROPERTIES, {**_APPLICATION_FILTERS, "uniqueName": _EQUAL})
# uniqueName is not among what deleted applications can be filtered by (clients scan; docs name no such filter).
DELETED_APPLICATIONS: Final = Kind("application", "applications", _APPLICATION_PROPERTIES, _APPLICATION_FILTERS)
PRINCIPALS: Final = Kind(
    "servicePrincipal",
    "servicePrincipals",
    frozenset(
        {
            *NEW_PRINCIPAL,
            *("id", "deletedDateTime", "accountEnabled", "appDescription", "appDisplayName", "appId", "appOwnerOrganizationId"),
            *("appRoleAssignmentRequired", "appRoles", "createdDateTime", "displayName", "info", "logoutUrl", "replyUrls"),
            *("servicePrincipalNames", "signInAudience", "verifiedPublisher"),
        }
    ),
    {
        "appId": _EQUAL,
        "displayName": _COMPARED,
        "id": _EQUAL,
        "tags": ("any",),
        "servicePrincipalNames": ("any",),
        "servicePrincipalType": _EQUAL,
        "accountEnabled": _EQUAL,
    },
)
GROUPS: Final = Kind(
    "group",
    "groups",
    frozenset(group_document(Group("", ""))) | {"createdDateTime"},
    {"displayName": _COMPARED, "id": _EQUAL, "mailNickname": _COMPARED, "securityEnabled": _EQUAL, "mailEnabled": _EQUAL, "mail": _COMPARED},
)
USERS: Final = Kind(
    "user",
    "users",
    frozenset(user_document(User("", "", "", "", None), full=True)),
    {"userPrincipalName": _COMPARED, "displayName": _COMPARED, "id": _EQUAL, "mail": _COMPARED, "accountEnabled": _EQUAL},
)
OBJECTS: Final = Kind(
    "directoryObject",
    "directoryObjects",
    APPLICATIONS.properties | PRINCIPALS.properties | USERS.properties | GROUPS.properties,
    {"id": _EQUAL, "displayName": _COMPARED},
)


# --- finding -----------------------------------------------------------------------------------------------------------


def entity_id(key: Key) -> str:
    """Return the object id that a key names; texts of another form are refused before anything is looked up."""
    if key.by != "id" or not is_guid(key.value):
        raise invalid_id(key.value)
    return key.value.lower()


def application_in(directory: Directory, key: Key) -> Application | None:
    if key.by == "uniqueName":
        return next((app for app in directory.applications.values() if app.unique_name is not None and app.unique_name.lower() == key.value.lower()), None)
    if key.by == "appId":
        if not is_guid(key.value):
            raise invalid_id(key.value)
        return directory.application(key.value)
    return directory.application_by_id(entity_id(key))


def application_of(request: GraphRequest) -> Application:
    """Return the application that the path names, as it is seen for a read, as it is for a write."""
    key = request.keys[0]
    found = application_in(request.view, key)
    if found is not None and request.writes:
        found = request.directory.application(found.client_id)
    if found is None:
        raise not_found(key.value)
    return found


def principal_in(directory: Directory, key: Key) -> ServicePrincipal | None:
    if key.by == "appId":
        if not is_guid(key.value):
            raise invalid_id(key.value)
        return directory.service_principal(key.value)
    return directory.service_principal_by_id(entity_id(key))


def principal_of(request: GraphRequest) -> ServicePrincipal:
    key = request.keys[0]
    found = principal_in(request.view, key)
    if found is not None and request.writes:
        found = request.directory.service_principal(found.client_id)
    if found is None:
        raise not_found(key.value)
    return found


def group_of(request: GraphRequest) -> Group:
    group_id = entity_id(request.keys[0])
    found = request.view.groups.get(group_id)
    if found is not None and request.writes:
        found = request.directory.groups.get(group_id)
    if found is None:
        raise not_found(request.keys[0].value)
    return found


_REFERENCE = re.compile(r"/v1\.0/{1,2}(directoryObjects|users|servicePrincipals|groups|applications)/([^/]+)/?")


def referenced(request: GraphRequest, url: object) -> DirectoryObject:
    """Return the object that an `@odata.id` or `@odata.bind` names."""
    parts = urlsplit(url) if isinstance(url, str) else None
    match = _REFERENCE.fullmatch(parts.path) if parts is not None else None
    if parts is None or match is None or (parts.scheme, parts.netloc) != ("https", "graph.microsoft.com") or not is_guid(match[2]):
        raise bad_request("Invalid URL format specified in @odata.id property of the request body.".replace("  ", " "))
    found = request.view.object(match[2])
    if found is None or request.directory.object(match[2]) is None:
        raise not_found(match[2])
    return found


def sorted_objects(items: Iterable[DirectoryObject]) -> list[DirectoryObject]:
    return sorted(items, key=lambda item: item.id)
