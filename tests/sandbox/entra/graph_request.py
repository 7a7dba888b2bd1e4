# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One request to Graph, read: its path, its options, its body, who asks, and the directory as seen and as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from .call import Call
from .directory import Directory
from .graph_auth import Caller
from .graph_errors import bad_request, no_segment
from .graph_query import Document, Query

# Segments after which the next one is the key of an entity.
_KEYED: Final = frozenset(
    {
        *("applications", "servicePrincipals", "groups", "users", "directoryObjects", "deletedItems", "organization", "subscribedSkus"),
        *("federatedIdentityCredentials", "owners", "members", "appRoleAssignedTo", "appRoleAssignments"),
    }
)
NO_BODY: Final = "no body"
BODY: Final = "a body"
OPTIONAL_BODY: Final = "a body or none"
_ENTITY = re.compile(r"([A-Za-z]+)\((?:([A-Za-z]+)=)?'((?:[^']|'')*)'\)")
_NOT_A_KEY = re.compile(r"\$.*|(microsoft\.)?graph\.[A-Za-z]+|getByIds|delta")
# Read by POST: these change nothing.
_READS: Final = ("/directoryObjects/getByIds", "/oidc/userinfo")


def is_write(method: str, path: str) -> bool:
    """Whether a request to Graph asks for a change."""
    return method not in ("GET", "HEAD", "OPTIONS") and not path.endswith(_READS)


@dataclass(frozen=True)
class Key:
    """How an entity is named: by `id`, or by an alternate key (`appId`, `uniqueName`, `name`)."""

    by: str
    value: str


@dataclass(frozen=True)
class Target:
    """A path, taken apart: `applications/*/owners/*/$ref`, and its keys."""

    route: str
    keys: tuple[Key, ...]
    path: str


def read_path(raw: str) -> Target:
    """Take a path apart. SDKs write `/v1.0//applications`, which Graph accepts; nothing else is looser than the grammar."""
    version, _, rest = raw.removeprefix("/").partition("/")
    if version != "v1.0":
        raise bad_request(f"Invalid version: {version}", "BadRequest")
    segments = [_decoded(segment) for segment in rest.removeprefix("/").split("/")]
    names: list[str] = []
    keys: list[Key] = []
    for segment in segments:
        if names and names[-1] in _KEYED and segment and not _NOT_A_KEY.fullmatch(segment):
            names.append("*")
            keys.append(Key("id", segment))
            continue
        match = _ENTITY.fullmatch(segment)
        if match is not None:
            names += [match[1], "*"]
            keys.append(Key(match[2] or "id", match[3].replace("''", "'")))
        else:
            names.append(_canonical(segment))
    return Target("/".join(names), tuple(keys), "/" + rest.removeprefix("/"))


def _decoded(segment: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", segment):
        raise bad_request("The request URI is not valid.", "BadRequest")
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError as exc:
        raise bad_request("The request URI is not valid.", "BadRequest") from exc


def _canonical(segment: str) -> str:
    if segment == "deleteditems":
        return "deletedItems"
    if not segment or "'" in segment or "(" in segment:
        raise no_segment(segment)
    return f"microsoft.{segment}" if segment.startswith("graph.") else segment


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a property comes twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def read_body(text: str, content_type: str, takes: str) -> dict[str, object]:
    """Read the JSON object of a request."""
    if text and takes == NO_BODY:
        raise bad_request("This operation takes no request body.", "BadRequest")
    if not text and takes == BODY:
        raise bad_request("Empty Payload. JSON content expected.", "BadRequest")
    if not text:
        return {}
    if content_type != "application/json":
        raise bad_request("Write requests (excluding DELETE) must contain the Content-Type header declaration.", "BadRequest")
    try:
        body = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise bad_request(
            "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.", "BadRequest"
        ) from exc
    if not isinstance(body, dict):
        raise bad_request("Empty Payload. JSON content expected.", "BadRequest")
    return body


@dataclass(frozen=True)
class GraphRequest:
    """What a handler is given. It answers reads from `view`, which may lag behind `directory`, and changes `directory`."""

    call: Call
    method: str
    target: Target
    query: Query
    body: dict[str, object]
    caller: Caller
    directory: Directory
    view: Directory
    create_if_missing: bool = False

    @property
    def keys(self) -> tuple[Key, ...]:
        return self.target.keys

    @property
    def writes(self) -> bool:
        return self.method != "GET"


@dataclass(frozen=True)
class Answer:
    status: int = 200
    document: Document | None = None
    text: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


NO_CONTENT: Final = Answer(204)

Handle = Callable[[GraphRequest], Answer]

SELECT: Final = ("$select",)
LIST: Final = ("$filter", "$select", "$top", "$count", "$skiptoken")


@dataclass(frozen=True)
class Route:
    """One operation: who may, which query options and what body it takes, and what does it."""

    handle: Handle
    permissions: frozenset[str]
    options: tuple[str, ...] = ()
    takes: str = NO_BODY


Routes = dict[str, dict[str, Route]]
