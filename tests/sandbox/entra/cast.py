# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the cast file. An unknown or missing key is an error, since a typo would silently change who may enter."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import yaml

from .directory import (
    GROUP_MEMBERSHIP_CLAIMS,
    LICENCES,
    Application,
    Directory,
    DirectoryError,
    FederatedCredential,
    ServicePrincipal,
    Tenant,
    User,
    is_guid,
)


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


def _load_application(directory: Directory, name: str, raw: object) -> list[str]:
    """Add an application and return the names of its owners, who may come later in the file."""
    where = f"applications.{name}"
    entry = _mapping(
        raw,
        where,
        ("client_id", "display_name", "redirect_uris"),
        ("group_membership_claims", "assigned_groups", "assignment_required", "federated_credentials", "app_roles", "owners"),
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
        created=directory.clock(),
    )
    principal = ServicePrincipal(
        id=str(uuid.uuid5(uuid.UUID(client_id), "servicePrincipal")),
        client_id=client_id,
        assignment_required=_flag(entry.get("assignment_required", False), f"{where}.assignment_required"),
        created=directory.clock(),
    )
    directory.add_application(app, principal)
    directory.assign_only(principal, directory.group_ids(_texts(entry.get("assigned_groups", []), f"{where}.assigned_groups")))
    directory.grant_only(principal, _texts(entry.get("app_roles", []), f"{where}.app_roles"))
    return _texts(entry.get("owners", []), f"{where}.owners")


def _own(directory: Directory, name: str, owners: Iterable[str]) -> None:
    """Make applications of the cast owners, by their service principals, of one of them."""
    app = directory.application_by_name(name)
    for owner in owners:
        owning = directory.application_by_name(owner)
        if app is None or owning is None:
            raise DirectoryError(f"applications.{name}.owners: unknown application {owner!r}")
        owner_id = directory.principal(owning).id
        app.owners.append(owner_id)
        directory.principal(app).owners.append(owner_id)


def load_cast(path: Path, clock: Callable[[], float]) -> Directory:
    """Return the directory as the cast file has it."""
    cast = _mapping(yaml.safe_load(path.read_text("utf-8")), "cast", ("tenant", "groups", "users", "applications"))
    tenant = _mapping(cast["tenant"], "tenant", ("id", "name", "domain"), ("licences",))
    directory = Directory(
        Tenant(
            _guid(tenant["id"], "tenant.id"),
            _text(tenant["name"], "tenant.name"),
            _text(tenant["domain"], "tenant.domain"),
        ),
        clock,
    )
    directory.licences = set(_texts(tenant.get("licences", ["AAD_PREMIUM"]), "tenant.licences"))
    if not directory.licences <= set(LICENCES):
        raise DirectoryError(f"tenant.licences: expected some of {', '.join(LICENCES)}")
    for name, group_id in _named(cast["groups"], "groups").items():
        directory.add_group(name, _guid(group_id, f"groups.{name}"))
    for name, user in _named(cast["users"], "users").items():
        directory.users[name.lower()] = _load_user(directory, name, user)
    owners = {name: _load_application(directory, name, app) for name, app in _named(cast["applications"], "applications").items()}
    for name, names in owners.items():
        _own(directory, name, names)
    return directory
