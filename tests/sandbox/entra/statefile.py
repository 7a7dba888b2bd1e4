# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory as a file, so that the double may end and start anew; of secrets there are digests only.

The file holds everything but tokens, sessions and signing keys. It is loaded over the cast: what the cast has and the file
doesn't know yet is added, all else is as the file says, so a change of an application in the cast is seen in a fresh state only.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from .directory import (
    Application,
    Assignment,
    Deleted,
    Directory,
    DirectoryError,
    DirectoryObject,
    FederatedCredential,
    Group,
    PasswordCredential,
    SecretPolicy,
    ServicePrincipal,
    User,
)

_VERSION = 1


def _plain(value: object) -> object:
    """Encode what JSON doesn't know. `vars` and not `asdict`: with hundreds of applications a copy at each write would be felt."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return vars(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(type(value).__name__)


def _application(raw: dict[str, Any]) -> Application:
    return Application(
        **{
            **raw,
            "password_credentials": [PasswordCredential(**{**each, "digest": bytes.fromhex(each["digest"])}) for each in raw["password_credentials"]],
            "federated_credentials": [FederatedCredential(**each) for each in raw["federated_credentials"]],
        }
    )


def _principal(raw: dict[str, Any]) -> ServicePrincipal:
    return ServicePrincipal(**{**raw, "consented_scopes": set(raw["consented_scopes"])})


def _deleted(raw: dict[str, Any]) -> Deleted:
    read = _application if raw["kind"] == "application" else _principal
    return Deleted(read(raw["item"]), raw["at"])


def document(directory: Directory, cast: set[str]) -> dict[str, object]:
    """Return the state, for `_plain` to encode, with the ids that came from the cast."""
    return {
        "version": _VERSION,
        "tenant": directory.tenant.id,
        "cast": sorted(cast),
        "licences": sorted(directory.licences),
        "secret_policy": directory.secret_policy,
        "users": list(directory.users.values()),
        "groups": list(directory.groups.values()),
        "applications": list(directory.applications.values()),
        "service_principals": [item for item in directory.service_principals.values() if item is not directory.graph_principal],
        "assignments": list(directory.assignments.values()),
        "deleted": [
            {"kind": "application" if isinstance(entry.item, Application) else "servicePrincipal", "at": entry.at, "item": entry.item}
            for entry in directory.deleted.values()
        ],
    }


def _ids(directory: Directory) -> set[str]:
    """Return the ids of all objects of a directory fresh from the cast."""
    items: list[DirectoryObject] = [
        *directory.users.values(),
        *directory.groups.values(),
        *directory.applications.values(),
        *directory.service_principals.values(),
    ]
    return {item.id for item in items}


def _restore(directory: Directory, raw: dict[str, Any]) -> None:
    """Put the state in place of all that the cast had when it was written."""
    known = set(raw["cast"])
    graph = directory.graph_principal
    directory.users = {
        **{user["name"]: User(**{**user, "group_ids": set(user["group_ids"])}) for user in raw["users"]},
        **{name: user for name, user in directory.users.items() if user.id not in known},
    }
    directory.groups = {
        **{group["id"]: Group(**{**group, "members": set(group["members"])}) for group in raw["groups"]},
        **{key: group for key, group in directory.groups.items() if group.id not in known},
    }
    directory.applications = {
        **{app["client_id"]: _application(app) for app in raw["applications"]},
        **{key: app for key, app in directory.applications.items() if app.id not in known},
    }
    new = {key: item for key, item in directory.service_principals.items() if item.id not in known}
    directory.service_principals = {
        graph.client_id: graph,
        **{item["client_id"]: _principal(item) for item in raw["service_principals"]},
        **new,
    }
    new_ids = {item.id for item in new.values()}
    directory.assignments = {
        **{each["id"]: Assignment(**each) for each in raw["assignments"]},
        **{key: each for key, each in directory.assignments.items() if {each.principal_id, each.resource_id} & new_ids},
    }
    directory.deleted = {entry["item"]["id"]: _deleted(entry) for entry in raw["deleted"]}
    directory.licences = set(raw["licences"])
    directory.secret_policy = SecretPolicy(**raw["secret_policy"])


class StateFile:
    """Keeps one directory in one file; without a path, nothing is kept."""

    def __init__(self, path: Path | None, directory: Directory) -> None:
        self._path = path
        self._directory = directory
        self._cast = _ids(directory)

    def load(self) -> set[str]:
        """Load what the file holds, and return the client ids of the applications that came from it."""
        if self._path is None or not self._path.exists():
            return set()
        try:
            raw = json.loads(self._path.read_text("utf-8"))
            if (raw["version"], raw["tenant"]) != (_VERSION, self._directory.tenant.id):
                raise DirectoryError(f"{self._path}: of another version or tenant; remove the file")
            _restore(self._directory, raw)
        except (ValueError, KeyError, TypeError) as exc:
            if isinstance(exc, DirectoryError):
                raise
            raise DirectoryError(f"{self._path}: not a state of this double ({type(exc).__name__}); remove the file") from exc
        return {app["client_id"] for app in raw["applications"]}

    def save(self) -> None:
        """Replace the file in one step, so that an end at any moment leaves the old state or the new one."""
        if self._path is None:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(document(self._directory, self._cast), default=_plain))
        draft.replace(self._path)
