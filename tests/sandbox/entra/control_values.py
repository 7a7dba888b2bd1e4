# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what control requests bring: JSON bodies of closed sets of keys, each value of its type."""

from __future__ import annotations

import json

from aiohttp import web

from .directory import (
    GROUP_MEMBERSHIP_CLAIMS,
    MAX_REDIRECT_URIS,
    TOKEN_EXCHANGE_AUDIENCE,
    FederatedCredential,
    check_redirect_uri,
)


class ControlError(ValueError):
    """A control request that can't be honoured, and why."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ControlError("a key comes twice in the JSON body")
    return found


async def read_json(request: web.Request) -> object:
    try:
        body: object = json.loads(await request.text(), object_pairs_hook=_unique)
    except (json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise ControlError("the body isn't JSON") from exc
    return body


async def read_object(request: web.Request, keys: tuple[str, ...]) -> dict[str, object]:
    return closed(await read_json(request), keys)


def closed(value: object, keys: tuple[str, ...]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ControlError(f"expected a JSON object, got {type(value).__name__}")
    unknown = sorted(set(value) - set(keys))
    if unknown:
        raise ControlError(f"unknown key {unknown[0]!r}; known: {', '.join(keys)}")
    return value


def texts(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ControlError(f"{where}: expected a JSON list of texts")
    if len(set(value)) != len(value):
        raise ControlError(f"{where}: an item comes twice")
    return value


def text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise ControlError(f"{where}: expected a text")
    return value


def flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise ControlError(f"{where}: expected true or false")
    return value


def redirect_uris(value: object) -> list[str]:
    uris = texts(value, "redirect_uris")
    if len(uris) > MAX_REDIRECT_URIS:
        raise ControlError(f"redirect_uris: at most {MAX_REDIRECT_URIS}")
    for uri in uris:
        check_redirect_uri(uri)
    return uris


def claims(value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or value not in GROUP_MEMBERSHIP_CLAIMS):
        raise ControlError(f"group_membership_claims: expected null or one of {', '.join(GROUP_MEMBERSHIP_CLAIMS)}")
    return value


def federated(value: object) -> list[FederatedCredential]:
    if not isinstance(value, list):
        raise ControlError("federated_credentials: expected a list")
    credentials = []
    for item in value:
        required = {"name", "issuer", "subject"}
        if not isinstance(item, dict) or not required <= set(item) <= required | {"audience"}:
            raise ControlError("federated_credentials: expected objects of name, issuer, subject and, optionally, audience")
        if not all(isinstance(part, str) and part for part in item.values()):
            raise ControlError("federated_credentials: expected texts")
        credentials.append(FederatedCredential(**{"audience": TOKEN_EXCHANGE_AUDIENCE, **item}))
    return credentials
