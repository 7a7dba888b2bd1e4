# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults on demand: what a test wants to go wrong, by host, method and path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_DELAY: Final = 300.0


class FaultError(ValueError):
    """A fault that isn't of the right form, and what is wrong with it."""


@dataclass(frozen=True)
class Match:
    host: str | None = None
    method: str | None = None
    path_prefix: str | None = None

    def hits(self, host: str, method: str, path: str) -> bool:
        return self.host in (None, host) and self.method in (None, method) and (self.path_prefix is None or path.startswith(self.path_prefix))


@dataclass(frozen=True)
class Action:
    """Wait, then drop the connection, or answer in the place of the double, or (with a delay alone) let it answer."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    delay: float = 0.0
    drop: bool = False


@dataclass
class Fault:
    match: Match
    action: Action
    times: int | None = None


def _closed(value: object, where: str, keys: Iterable[str]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise FaultError(f"{where}: expected an object, got {type(value).__name__}")
    unknown = sorted(set(value) - set(keys))
    if unknown:
        raise FaultError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(keys)}")
    return value


def _match(value: object, where: str) -> Match:
    entry = _closed(value, where, ("host", "method", "path_prefix"))
    texts: dict[str, str] = {}
    for key, text in entry.items():
        if not isinstance(text, str) or not text:
            raise FaultError(f"{where}.{key}: expected a text")
        texts[key] = text
    if texts.get("method", "GET") not in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        raise FaultError(f"{where}.method: expected a method in capitals")
    if not texts.get("path_prefix", "/").startswith("/"):
        raise FaultError(f"{where}.path_prefix: expected a path from /")
    if "host" in texts:
        texts["host"] = texts["host"].lower()
    return Match(**texts)


def _number(value: object, where: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise FaultError(f"{where}: expected a number from {low:g} to {high:g}")
    return float(value)


def _whole(value: object, where: str, low: int, high: int) -> int:
    if not isinstance(value, int):
        raise FaultError(f"{where}: expected a whole number")
    return int(_number(value, where, low, high))


def _headers(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise FaultError(f"{where}: expected an object of texts")
    return value


def _action(value: object, where: str) -> Action:
    entry = _closed(value, where, ("status", "headers", "body", "delay", "drop"))
    if not entry:
        raise FaultError(f"{where}: empty; give status, delay or drop")
    drop = entry.get("drop", False)
    if not isinstance(drop, bool):
        raise FaultError(f"{where}.drop: expected true or false")
    if drop and set(entry) & {"status", "headers", "body"}:
        raise FaultError(f"{where}: a dropped connection has no status, headers or body")
    if "status" not in entry and set(entry) & {"headers", "body"}:
        raise FaultError(f"{where}: headers and body need a status")
    body = entry.get("body", "")
    if not isinstance(body, (str, dict, list)):
        raise FaultError(f"{where}.body: expected a text, or JSON to be sent as it is")
    return Action(
        status=_whole(entry["status"], f"{where}.status", 200, 599) if "status" in entry else None,
        headers=_headers(entry.get("headers", {}), f"{where}.headers"),
        body=body if isinstance(body, str) else json.dumps(body),
        delay=_number(entry.get("delay", 0), f"{where}.delay", 0, MAX_DELAY),
        drop=drop,
    )


def parse_faults(value: object) -> list[Fault]:
    """Read the body of `PUT /faults`; nothing of it is taken unless all of it is right."""
    if not isinstance(value, list):
        raise FaultError(f"expected a list of faults, got {type(value).__name__}")
    faults = []
    for index, item in enumerate(value):
        where = f"[{index}]"
        entry = _closed(item, where, ("match", "action", "times"))
        if "match" not in entry or "action" not in entry:
            raise FaultError(f"{where}: match and action are required")
        times = _whole(entry["times"], f"{where}.times", 1, 1_000_000) if "times" in entry else None
        faults.append(Fault(_match(entry["match"], f"{where}.match"), _action(entry["action"], f"{where}.action"), times))
    return faults


class FaultBoard:
    """The faults in force; the first that matches and isn't used up applies."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def take(self, host: str, method: str, path: str) -> Action | None:
        for fault in self.faults:
            if fault.times != 0 and fault.match.hits(host, method, path):
                if fault.times is not None:
                    fault.times -= 1
                return fault.action
        return None
