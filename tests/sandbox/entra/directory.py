# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory: one tenant's users, groups, applications, service principals and credentials.

The sign-in side and the control API read and change this one object, and Microsoft Graph will: an application created by
one of them is the application the others see. Application and service principal are two objects tied by the client id, as
in Entra, since each can be disabled or deleted alone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

GRAPH_APP_ID: Final = "00000003-0000-0000-c000-000000000000"
TOKEN_EXCHANGE_AUDIENCE: Final = "api://AzureADTokenExchange"
GROUP_MEMBERSHIP_CLAIMS: Final = ("None", "SecurityGroup", "ApplicationGroup")
# A secret made in the portal lives two years at most.
SECRET_LIFETIME: Final = 730 * 86400.0
# https://learn.microsoft.com/entra/identity-platform/reply-url
MAX_REDIRECT_URIS: Final = 256
MAX_REDIRECT_URI_LENGTH: Final = 256

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class DirectoryError(ValueError):
    """What was asked of the directory can't be, and why."""


def is_guid(text: str) -> bool:
    """Whether a text is a GUID in the form Entra prints."""
    return _GUID.fullmatch(text) is not None


def check_redirect_uri(uri: str) -> None:
    """Refuse what the app registration refuses (https only, http for localhost, no fragment, no wildcard, 256 long)."""
    local = re.match(r"http://(localhost|127\.0\.0\.1)[:/]", uri) is not None
    if not (uri.startswith("https://") or local):
        raise DirectoryError(f"redirect URI {uri!r}: expected https://, or http:// for localhost")
    if "#" in uri or "*" in uri or " " in uri:
        raise DirectoryError(f"redirect URI {uri!r}: no fragment, wildcard or space may stand in it")
    if len(uri) > MAX_REDIRECT_URI_LENGTH:
        raise DirectoryError(f"redirect URI {uri!r}: longer than {MAX_REDIRECT_URI_LENGTH} characters")


@dataclass(frozen=True)
class Tenant:
    id: str
    name: str
    domain: str

    def answers_to(self, segment: str) -> bool:
        """Whether a path's tenant segment means this tenant: its id, or a verified domain."""
        return segment.lower() in (self.id.lower(), self.domain.lower())


@dataclass(frozen=True)
class Group:
    id: str
    name: str


@dataclass
class User:
    id: str
    name: str
    upn: str
    display_name: str
    mail: str | None
    enabled: bool = True
    group_ids: set[str] = field(default_factory=set)


@dataclass
class PasswordCredential:
    """A client secret. Its value is known here by digest alone, so nothing can print it."""

    digest: bytes
    start: float
    end: float
    key_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @classmethod
    def of(cls, value: str, start: float) -> PasswordCredential:
        return cls(hashlib.sha256(value.encode()).digest(), start, start + SECRET_LIFETIME)

    def matches(self, value: str) -> bool:
        return hmac.compare_digest(self.digest, hashlib.sha256(value.encode()).digest())

    def is_expired(self, now: float) -> bool:
        return now >= self.end


@dataclass(frozen=True)
class FederatedCredential:
    """Trust in tokens of another issuer, compared character by character."""

    name: str
    issuer: str
    subject: str
    audience: str = TOKEN_EXCHANGE_AUDIENCE


@dataclass
class Application:
    id: str
    client_id: str
    name: str
    display_name: str
    redirect_uris: list[str]
    group_membership_claims: str = "None"
    password_credentials: list[PasswordCredential] = field(default_factory=list)
    federated_credentials: list[FederatedCredential] = field(default_factory=list)


@dataclass
class ServicePrincipal:
    id: str
    client_id: str
    account_enabled: bool = True
    assignment_required: bool = False
    assigned_principals: set[str] = field(default_factory=set)
    consented_scopes: set[str] = field(default_factory=lambda: {"openid", "profile", "email", "offline_access", "User.Read"})
    app_roles: set[str] = field(default_factory=set)


class Directory:
    """All objects of one tenant, found by the keys the services know them by."""

    def __init__(self, tenant: Tenant, clock: Callable[[], float]) -> None:
        self.tenant = tenant
        self.clock = clock
        self.groups: dict[str, Group] = {}
        self.users: dict[str, User] = {}
        self.applications: dict[str, Application] = {}
        self.service_principals: dict[str, ServicePrincipal] = {}

    def add_group(self, name: str, group_id: str) -> Group:
        if name in self.groups:
            raise DirectoryError(f"group {name!r} is there already")
        if any(group.id == group_id for group in self.groups.values()):
            raise DirectoryError(f"group id {group_id} is taken")
        self.groups[name] = Group(group_id, name)
        return self.groups[name]

    def group_ids(self, names: Iterable[str]) -> set[str]:
        """Translate group names, refusing any that isn't there."""
        wanted = list(names)
        unknown = sorted(set(wanted) - set(self.groups))
        if unknown:
            raise DirectoryError(f"unknown group {unknown[0]!r}; there are: {', '.join(sorted(self.groups))}")
        return {self.groups[name].id for name in wanted}

    def group_names(self, user: User) -> list[str]:
        return sorted(group.name for group in self.groups.values() if group.id in user.group_ids)

    def user(self, hint: str) -> User | None:
        """Find a user by short name or user principal name, in any case."""
        wanted = hint.strip().lower()
        return next((user for user in self.users.values() if wanted in (user.name, user.upn.lower())), None)

    def user_by_id(self, user_id: str) -> User | None:
        return next((user for user in self.users.values() if user.id == user_id), None)

    def application(self, client_id: str) -> Application | None:
        """Find an application by client id; GUIDs compare without case."""
        return self.applications.get(client_id.lower())

    def application_by_name(self, name: str) -> Application | None:
        return next((app for app in self.applications.values() if app.name == name), None)

    def principal(self, app: Application) -> ServicePrincipal:
        return self.service_principals[app.client_id]

    def add_application(self, app: Application, principal: ServicePrincipal) -> None:
        for uri in app.redirect_uris:
            check_redirect_uri(uri)
        self.applications[app.client_id] = app
        self.service_principals[app.client_id] = principal

    def is_assigned(self, user: User, principal: ServicePrincipal) -> bool:
        """Whether the user, or a group they are a direct member of, is assigned to the enterprise application."""
        return not principal.assigned_principals.isdisjoint(user.group_ids | {user.id})


# --- the cast file ---------------------------------------------------------------------------------------------------


def _mapping(value: object, where: str, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, object]:
    """Check a mapping of the cast file against a closed set of keys."""
    if not isinstance(value, Mapping):
        raise DirectoryError(f"{where}: expected a mapping, got {type(value).__name__}")
    known, needed = {*required, *optional}, set(required)
    for problem, keys in (("unknown", set(value) - known), ("missing", needed - set(value))):
        if keys:
            raise DirectoryError(f"{where}: {problem} key {min(map(str, keys))!r}")
    return {str(key): item for key, item in value.items()}


def _named(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise DirectoryError(f"{where}: expected a mapping of names")
    return dict(value)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise DirectoryError(f"{where}: expected a text, got {value!r}")
    return value


def _guid(value: object, where: str) -> str:
    text = _text(value, where).lower()
    if not is_guid(text):
        raise DirectoryError(f"{where}: expected a GUID, got {text!r}")
    return text


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise DirectoryError(f"{where}: expected true or false, got {value!r}")
    return value


def _texts(value: object, where: str) -> list[str]:
    if not isinstance(value, list):
        raise DirectoryError(f"{where}: expected a list, got {type(value).__name__}")
    return [_text(item, where) for item in value]


def _load_user(directory: Directory, name: str, raw: object) -> User:
    where = f"users.{name}"
    entry = _mapping(raw, where, ("id", "display_name", "groups"), ("mail", "enabled"))
    upn = f"{name}@{directory.tenant.domain}"
    return User(
        id=_guid(entry["id"], f"{where}.id"),
        name=name.lower(),
        upn=upn,
        display_name=_text(entry["display_name"], f"{where}.display_name"),
        mail=None if entry.get("mail", upn) is None else _text(entry.get("mail", upn), f"{where}.mail"),
        enabled=_flag(entry.get("enabled", True), f"{where}.enabled"),
        group_ids=directory.group_ids(_texts(entry["groups"], f"{where}.groups")),
    )


def _load_federated(raw: object, where: str) -> list[FederatedCredential]:
    if not isinstance(raw, list):
        raise DirectoryError(f"{where}: expected a list, got {type(raw).__name__}")
    credentials = []
    for item in raw:
        entry = _mapping(item, where, ("name", "issuer", "subject"), ("audience",))
        credentials.append(FederatedCredential(**{key: _text(value, f"{where}.{key}") for key, value in entry.items()}))
    return credentials


def _load_application(directory: Directory, name: str, raw: object) -> None:
    where = f"applications.{name}"
    entry = _mapping(
        raw,
        where,
        ("client_id", "display_name", "redirect_uris"),
        ("group_membership_claims", "assigned_groups", "assignment_required", "federated_credentials", "app_roles"),
    )
    client_id = _guid(entry["client_id"], f"{where}.client_id")
    claims = _text(entry.get("group_membership_claims", "None"), f"{where}.group_membership_claims")
    if claims not in GROUP_MEMBERSHIP_CLAIMS:
        raise DirectoryError(f"{where}.group_membership_claims: expected one of {', '.join(GROUP_MEMBERSHIP_CLAIMS)}")
    app = Application(
        id=str(uuid.uuid5(uuid.UUID(client_id), "application")),
        client_id=client_id,
        name=name,
        display_name=_text(entry["display_name"], f"{where}.display_name"),
        redirect_uris=_texts(entry["redirect_uris"], f"{where}.redirect_uris"),
        group_membership_claims=claims,
        federated_credentials=_load_federated(entry.get("federated_credentials", []), f"{where}.federated_credentials"),
    )
    principal = ServicePrincipal(
        id=str(uuid.uuid5(uuid.UUID(client_id), "servicePrincipal")),
        client_id=client_id,
        assignment_required=_flag(entry.get("assignment_required", False), f"{where}.assignment_required"),
        assigned_principals=directory.group_ids(_texts(entry.get("assigned_groups", []), f"{where}.assigned_groups")),
        app_roles=set(_texts(entry.get("app_roles", []), f"{where}.app_roles")),
    )
    directory.add_application(app, principal)


def load_cast(path: Path, clock: Callable[[], float]) -> Directory:
    """Read the cast file; an unknown or missing key is an error, since a typo would silently change who may enter."""
    cast = _mapping(yaml.safe_load(path.read_text("utf-8")), "cast", ("tenant", "groups", "users", "applications"))
    tenant = _mapping(cast["tenant"], "tenant", ("id", "name", "domain"))
    directory = Directory(
        Tenant(
            _guid(tenant["id"], "tenant.id"),
            _text(tenant["name"], "tenant.name"),
            _text(tenant["domain"], "tenant.domain"),
        ),
        clock,
    )
    for name, group_id in _named(cast["groups"], "groups").items():
        directory.add_group(name, _guid(group_id, f"groups.{name}"))
    for name, user in _named(cast["users"], "users").items():
        directory.users[name.lower()] = _load_user(directory, name, user)
    for name, app in _named(cast["applications"], "applications").items():
        _load_application(directory, name, app)
    return directory
