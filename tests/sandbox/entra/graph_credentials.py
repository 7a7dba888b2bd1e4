# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An application's credentials: secrets by addPassword and removePassword, and federated identity credentials.

Sources, under api-reference/v1.0/api: application-addpassword.md, application-removepassword.md,
federatedidentitycredential-upsert.md, application-post-federatedidentitycredentials.md. Texts of refusals are those that
azure-workload-identity and clients of removePassword look for.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from .directory import SECRET_LIFETIME, TOKEN_EXCHANGE_AUDIENCE, Application, FederatedCredential, PasswordCredential, is_guid
from .graph_auth import READ_APPS, WRITE_APPS
from .graph_errors import GraphError, bad_request, invalid_value, key_in_use, read_only, unknown_property
from .graph_objects import application_of, password_document
from .graph_query import BASE, Document, Kind, listing, project, rows
from .graph_request import BODY, LIST, NO_CONTENT, OPTIONAL_BODY, SELECT, Answer, GraphRequest, Key, Route, Routes
from .graph_schema import FEDERATED_CREDENTIAL, text, timestamp, typed
from .secretsdir import new_secret

MAX_FEDERATED: Final = 20
_PASSWORD_KEYS: Final = ("displayName", "startDateTime", "endDateTime")
_PASSWORD_READ_ONLY: Final = ("keyId", "secretText", "hint", "customKeyIdentifier")
FEDERATED: Final = Kind(
    "federatedIdentityCredential",
    "federatedIdentityCredentials",
    frozenset({"id", "name", "issuer", "subject", "audiences", "description"}),
    {"name": ("eq",), "subject": ("eq",), "issuer": ("eq",), "id": ("eq",)},
)

# --- secrets -----------------------------------------------------------------------------------------------------------


def _new_password(request: GraphRequest, given: object) -> tuple[PasswordCredential, str]:
    """Make a secret as asked for, within the tenant's policy."""
    if given is not None and not isinstance(given, dict):
        raise invalid_value("passwordCredential", "application", "an object is expected")
    wanted = {name: value for name, value in typed(given or {}, "passwordCredential").items() if value is not None}
    for name in wanted:
        if name in _PASSWORD_READ_ONLY:
            raise read_only(name, "passwordCredential")
        if name not in _PASSWORD_KEYS:
            raise unknown_property(name, "microsoft.graph.passwordCredential")
    now = request.directory.clock()
    start = timestamp(wanted["startDateTime"], "startDateTime", "passwordCredential") if "startDateTime" in wanted else now
    end = timestamp(wanted["endDateTime"], "endDateTime", "passwordCredential") if "endDateTime" in wanted else start + SECRET_LIFETIME
    if end <= start or end <= now:
        raise bad_request("Key credential end date is invalid.", "KeyCredentialsInvalidEndDate")
    _check_policy(request, end - start)
    label = text(120)(wanted.get("displayName"), "displayName", "passwordCredential")
    secret = new_secret()
    return PasswordCredential.of(secret, start, end, None if label is None else str(label)), secret


def _check_policy(request: GraphRequest, lifetime: float) -> None:
    """Hold the app management policy against a new secret (resources/applicationauthenticationmethodpolicy.md)."""
    policy = request.directory.secret_policy
    if not policy.allowed:
        raise bad_request(
            "Credential type not allowed as per assigned policy. Please check with your administrator for policy details: https://aka.ms/app-mgmt-policy",
            "CredentialTypeNotAllowedAsPerAppPolicy",
        )
    # A client that asks for exactly the maximum computes the end by its own clock.
    if policy.max_lifetime is not None and lifetime > policy.max_lifetime + 60:
        raise bad_request("Credential lifetime exceeds the max value allowed as per assigned policy.", "CredentialInvalidLifetimeAsPerAppPolicy")


def initial_passwords(request: GraphRequest, given: object) -> list[tuple[PasswordCredential, str]]:
    """Make the secrets that a POST of an application asks for: Graph makes the values here too."""
    if not isinstance(given, list):
        raise invalid_value("passwordCredentials", "application", "a list is expected")
    for item in given:
        if isinstance(item, dict) and item.get("secretText") is not None:
            raise bad_request("New password credentials must be generated with service actions.")
    return [_new_password(request, item) for item in given]


def _add_password(request: GraphRequest) -> Answer:
    app = application_of(request)
    request.caller.require_write(app)
    if not set(request.body) <= {"passwordCredential"}:
        raise bad_request("The parameter 'passwordCredential' is the only one that addPassword takes.", "BadRequest")
    credential, secret = _new_password(request, request.body.get("passwordCredential"))
    app.password_credentials.append(credential)
    return Answer(200, {"@odata.context": f"{BASE}/$metadata#microsoft.graph.passwordCredential", **password_document(credential, secret)})


def _remove_password(request: GraphRequest) -> Answer:
    app = application_of(request)
    request.caller.require_write(app)
    key_id = request.body.get("keyId")
    if set(request.body) != {"keyId"} or not isinstance(key_id, str) or not is_guid(key_id):
        raise bad_request("The parameter 'keyId' is missing or is no GUID.", "BadRequest")
    # A replica that doesn't know a fresh secret yet can't remove it either.
    seen = request.view.application(app.client_id)
    found = [each for each in app.password_credentials if each.key_id == key_id.lower()]
    if not found or seen is None or key_id.lower() not in [each.key_id for each in seen.password_credentials]:
        raise bad_request(f"No password credential found with keyId {key_id}.")
    app.password_credentials = [each for each in app.password_credentials if each not in found]
    return NO_CONTENT


# --- federated identity credentials ------------------------------------------------------------------------------------


def _document(credential: FederatedCredential) -> Document:
    return {
        "id": credential.id,
        "name": credential.name,
        "issuer": credential.issuer,
        "subject": credential.subject,
        "description": credential.description,
        "audiences": [credential.audience],
    }


def _context(app: Application) -> str:
    return f"{BASE}/$metadata#applications('{app.id}')/federatedIdentityCredentials"


def _find(app: Application, key: Key) -> FederatedCredential | None:
    if key.by == "name":
        return next((each for each in app.federated_credentials if each.name == key.value), None)
    if key.by != "id":
        raise bad_request(f"The key '{key.by}' is not one of federatedIdentityCredential.", "BadRequest")
    # The path's segment may be the id or, as an alternate key, the name (api/federatedidentitycredential-get.md).
    return next((each for each in app.federated_credentials if key.value in (each.id, each.name)), None)


def _seen(request: GraphRequest, app: Application) -> FederatedCredential | None:
    """Return the credential that the path names; a replica that doesn't know it yet can't change it either."""
    key, view = request.keys[1], request.view.application(app.client_id)
    return _find(app, key) if view is not None and _find(view, key) is not None else None


def _missing(key: Key) -> GraphError:
    kind = "name" if key.by == "name" else "id"
    return GraphError(404, "Request_ResourceNotFound", f"FederatedIdentityCredential with {kind} {key.value} not found.")


def _list(request: GraphRequest) -> Answer:
    app = application_of(request)
    page = listing(rows([_document(each) for each in app.federated_credentials]), FEDERATED, request.query, request.target.path)
    return Answer(document={**page, "@odata.context": _context(app)})


def _get(request: GraphRequest) -> Answer:
    app = application_of(request)
    found = _find(app, request.keys[1])
    if found is None:
        raise _missing(request.keys[1])
    return Answer(document={"@odata.context": f"{_context(app)}/$entity", **project(_document(found), FEDERATED, request.query)})


def _create(request: GraphRequest) -> Answer:
    app = application_of(request)
    request.caller.require_write(app)
    return _created(request, app, request.body)


def _created(request: GraphRequest, app: Application, body: dict[str, object]) -> Answer:
    values = FEDERATED_CREDENTIAL.read(body)
    for name in ("name", "issuer", "subject", "audiences"):
        if name not in values or values[name] == []:
            raise bad_request(f"Federated Identity Credential must specify '{name}'.", "InvalidFederatedIdentityCredentialValue")
    if any(each.name == values["name"] for each in app.federated_credentials):
        raise key_in_use(f"FederatedIdentityCredential with name {values['name']} already exists.")
    if len(app.federated_credentials) >= MAX_FEDERATED:
        # The limit is documented; its code is an assumption.
        raise bad_request(f"The number of federated identity credentials exceeds the limit of {MAX_FEDERATED}.", "Directory_QuotaExceeded")
    credential = _changed(FederatedCredential(str(values["name"]), "", ""), values)
    _check_unique(app, credential)
    app.federated_credentials = [*app.federated_credentials, credential]
    return Answer(201, {"@odata.context": f"{_context(app)}/$entity", **_document(credential)})


def _changed(credential: FederatedCredential, values: dict[str, object]) -> FederatedCredential:
    audiences = values.get("audiences")
    audience = str(audiences[0]) if isinstance(audiences, list) and audiences else credential.audience
    if audience != TOKEN_EXCHANGE_AUDIENCE and len(audience) > 600:
        raise invalid_value("audiences", "federatedIdentityCredential")
    description = values.get("description", credential.description)
    return dataclasses.replace(
        credential,
        issuer=str(values.get("issuer", credential.issuer)),
        subject=str(values.get("subject", credential.subject)),
        audience=audience,
        description=None if description is None else str(description),
    )


def _check_unique(app: Application, credential: FederatedCredential) -> None:
    for other in app.federated_credentials:
        if other.id != credential.id and (other.issuer, other.subject) == (credential.issuer, credential.subject):
            raise bad_request(
                f"The combination of issuer and subject must be unique for the application. Issuer {credential.issuer} and Subject:"
                f" {credential.subject} already exist. paramName: FederatedIdentityCredential.Subject, paramValue: {credential.subject},"
                " objectType: Microsoft.Online.DirectoryServices.Application",
                "InvalidFederatedIdentityCredentialValue",
            )


def _update(request: GraphRequest) -> Answer:
    """PATCH by id or name; `Prefer: create-if-missing` makes it an upsert, by name alone."""
    app, key = application_of(request), request.keys[1]
    request.caller.require_write(app)
    if request.create_if_missing and key.by != "name":
        raise bad_request("Upsert of a federated identity credential takes its name as the key.", "BadRequest")
    found = _seen(request, app)
    if found is None and request.create_if_missing:
        if request.body.get("name", key.value) != key.value:
            raise bad_request("The name in the body is not the one in the address.", "BadRequest")
        return _created(request, app, {**request.body, "name": key.value})
    if found is None:
        raise _missing(key)
    values = FEDERATED_CREDENTIAL.read(request.body)
    if values.get("name", found.name) != found.name:
        raise bad_request("Name is immutable and cannot be changed after creation.", "InvalidFederatedIdentityCredentialValue")
    if values.get("audiences") == []:
        raise bad_request("Federated Identity Credential must specify 'audiences'.", "InvalidFederatedIdentityCredentialValue")
    changed = _changed(found, values)
    _check_unique(app, changed)
    app.federated_credentials = [changed if each.id == found.id else each for each in app.federated_credentials]
    return NO_CONTENT


def _delete(request: GraphRequest) -> Answer:
    app = application_of(request)
    request.caller.require_write(app)
    found = _seen(request, app)
    if found is None:
        raise _missing(request.keys[1])
    app.federated_credentials = [each for each in app.federated_credentials if each.id != found.id]
    return NO_CONTENT


def routes() -> Routes:
    credentials = "applications/*/federatedIdentityCredentials"
    return {
        "applications/*/addPassword": {"POST": Route(_add_password, WRITE_APPS, takes=OPTIONAL_BODY)},
        "applications/*/removePassword": {"POST": Route(_remove_password, WRITE_APPS, takes=BODY)},
        credentials: {"GET": Route(_list, READ_APPS, LIST), "POST": Route(_create, WRITE_APPS, takes=BODY)},
        f"{credentials}/*": {
            "GET": Route(_get, READ_APPS, SELECT),
            "PATCH": Route(_update, WRITE_APPS, takes=BODY),
            "DELETE": Route(_delete, WRITE_APPS),
        },
    }
