# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who wrote what to the cluster, by the API server's audit log."""

from __future__ import annotations

import dataclasses
import json
import typing as t

from .sandbox import Sandbox

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
# Questions in the form of a create: they change nothing.
QUESTIONS = frozenset({"selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews", "selfsubjectreviews", "tokenreviews"})
LEASES = frozenset({"leases"})


@dataclasses.dataclass(frozen=True)
class Request:
    """What was asked of the API server, and its answer. ``resource`` is as RBAC names it: ``pods/log``."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int


class AuditLog:
    """Marks a place in the log, and reads the writes after it. The API server writes them down before it answers."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._path = sandbox.audit_log

    def here(self) -> int:
        return self._path.stat().st_size

    def writes(self, since: int, user: str) -> list[str]:
        """Requests of ``user`` after ``since`` that changed something, or tried to: ``create secrets monitoring-team-a/x``."""
        return [_tell(event) for event in self._events(since) if _is_write(event, user)]

    def requests(self, since: int, user: str) -> list[Request]:
        """Every request of ``user`` after ``since`` that is about objects, reads and dry runs too (those of test identities are logged)."""
        return [_request(event) for event in self._events(since) if event.get("user", {}).get("username") == user and event.get("objectRef")]

    def _events(self, since: int) -> t.Iterator[dict[str, t.Any]]:
        with self._path.open("rb") as log:
            log.seek(since)
            for line in log:
                if line.endswith(b"\n"):
                    event = json.loads(line)
                    if event.get("stage") == "ResponseComplete":
                        yield event


def _request(event: dict[str, t.Any]) -> Request:
    ref = event["objectRef"]
    resource = "/".join(part for part in (ref.get("resource"), ref.get("subresource")) if part)
    code = int(event.get("responseStatus", {}).get("code") or 0)
    return Request(event["verb"], ref.get("apiGroup", ""), resource, ref.get("namespace", ""), ref.get("name", ""), code)


def _is_write(event: dict[str, t.Any], user: str) -> bool:
    resource = event.get("objectRef", {}).get("resource", "")
    return event.get("user", {}).get("username") == user and event.get("verb") in WRITES and not _is_dry_run(event) and resource not in QUESTIONS | LEASES


def _is_dry_run(event: dict[str, t.Any]) -> bool:
    """By the options in the body of a deletion, where it has one: the API server then doesn't look at the query."""
    options = event.get("requestObject") or {}
    if event.get("verb") in ("delete", "deletecollection") and options.get("kind") == "DeleteOptions":
        return options.get("dryRun") == ["All"]
    return "dryRun=All" in event.get("requestURI", "")


def _tell(event: dict[str, t.Any]) -> str:
    ref = event.get("objectRef", {})
    name = "/".join(part for part in (ref.get("namespace"), ref.get("name")) if part)
    return f"{event['verb']} {ref.get('resource')} {name} -> {event.get('responseStatus', {}).get('code')}"
