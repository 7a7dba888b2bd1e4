# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults on demand: what a test wants to go wrong, by host, method and path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from .lag import PLACES, Lag

MAX_DELAY: Final = 300.0


class FaultError(ValueError):
    """A fault that isn't of the right form, and what is wrong with it."""


@dataclass(frozen=True)
class Match:
    """Which requests a fault is for; what isn't given matches all. A doubled slash in the path counts as one."""

    host: str | None = None
    method: str | None = None
    path_prefix: str | None = None
    path_contains: str | None = None
    client: str | None = None
    write: bool | None = None

    def hits(self, asked: Asked) -> bool:
        path = asked.path.replace("//", "/")
        return (
            self.host in (None, asked.host)
            and self.method in (None, asked.method)
            and (self.path_prefix is None or path.startswith(self.path_prefix))
            and (self.path_contains is None or self.path_contains in path)
            and self.client in (None, asked.client)
            and self.write in (None, asked.write)
        )


@dataclass(frozen=True)
class Asked:
    """What of a request faults are matched against; `client` is the one that its token, unverified, says it is."""

    host: str
    method: str
    path: str
    write: bool = False
    client: str | None = None


@dataclass(frozen=True)
class Action:
    """Wait, then answer in the place of the double, or drop the connection, or let the double answer.

    `drop` says when: `before` the request is executed, or `after`, when only the answer is lost. `lag` lets the double answer
    and what the request changed lag behind; only a write to Graph has any.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    delay: float = 0.0
    drop: str | None = None
    lag: Lag | None = None


@dataclass
class Fault:
    """An action for the requests that match: after the first `skip` of them, `times` times."""

    match: Match
    action: Action
    times: int | None = None
    skip: int = 0


def _closed(value: object, where: str, keys: Iterable[str]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise FaultError(f"{where}: expected an object, got {type(value).__name__}")
    unknown = sorted(set(value) - set(keys))
    if unknown:
        raise FaultError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(keys)}")
    return value


def _match(value: object, where: str) -> Match:
    entry = _closed(value, where, ("host", "method", "path_prefix", "path_contains", "client", "write"))
    write = entry.get("write")
    if write is not None and not isinstance(write, bool):
        raise FaultError(f"{where}.write: expected true or false")
    texts: dict[str, str] = {}
    for key, text in entry.items():
        if key == "write":
            continue
        if not isinstance(text, str) or not text:
            raise FaultError(f"{where}.{key}: expected a text")
        texts[key] = text
    if texts.get("method", "GET") not in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        raise FaultError(f"{where}.method: expected a method in capitals")
    if not texts.get("path_prefix", "/").startswith("/"):
        raise FaultError(f"{where}.path_prefix: expected a path from /")
    if "host" in texts:
        texts["host"] = texts["host"].lower()
    return Match(**texts, write=write)


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


def _drop(value: object, where: str) -> str | None:
    if value in (False, None):
        return None
    if value is True or value == "before":
        return "before"
    if value == "after":
        return "after"
    raise FaultError(f'{where}: expected true, false, "before" or "after"')


def _lag(value: object, where: str) -> Lag:
    entry = _closed(value, where, ("reads", "seconds", "places"))
    if not {"reads", "seconds"} & set(entry):
        raise FaultError(f"{where}: give reads, seconds or both")
    places = entry.get("places", list(PLACES))
    if not isinstance(places, list) or not places or not all(place in PLACES for place in places):
        raise FaultError(f"{where}.places: expected some of {', '.join(PLACES)}")
    return Lag(
        reads=_whole(entry["reads"], f"{where}.reads", 1, 1_000_000) if "reads" in entry else None,
        seconds=_number(entry["seconds"], f"{where}.seconds", 0, 86400) if "seconds" in entry else None,
        places=tuple(places),
    )


def _action(value: object, where: str) -> Action:
    entry = _closed(value, where, ("status", "headers", "body", "delay", "drop", "lag"))
    if not entry:
        raise FaultError(f"{where}: empty; give status, delay, drop or lag")
    drop = _drop(entry.get("drop"), f"{where}.drop")
    if drop and set(entry) & {"status", "headers", "body"}:
        raise FaultError(f"{where}: a dropped connection has no status, headers or body")
    if "lag" in entry and ("status" in entry or drop == "before"):
        raise FaultError(f"{where}: what isn't executed has no lag")
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
        lag=_lag(entry["lag"], f"{where}.lag") if "lag" in entry else None,
    )


def parse_faults(value: object) -> list[Fault]:
    """Read the body of `PUT /faults`; nothing of it is taken unless all of it is right."""
    if not isinstance(value, list):
        raise FaultError(f"expected a list of faults, got {type(value).__name__}")
    faults = []
    for index, item in enumerate(value):
        where = f"[{index}]"
        entry = _closed(item, where, ("match", "action", "times", "skip"))
        if "match" not in entry or "action" not in entry:
            raise FaultError(f"{where}: match and action are required")
        times = _whole(entry["times"], f"{where}.times", 1, 1_000_000) if "times" in entry else None
        skip = _whole(entry.get("skip", 0), f"{where}.skip", 0, 1_000_000)
        faults.append(Fault(_match(entry["match"], f"{where}.match"), _action(entry["action"], f"{where}.action"), times, skip))
    return faults


class FaultBoard:
    """The faults in force; the first that matches and isn't used up applies."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def take(self, asked: Asked) -> Action | None:
        for fault in self.faults:
            if fault.times != 0 and fault.match.hits(asked):
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault.action
        return None
