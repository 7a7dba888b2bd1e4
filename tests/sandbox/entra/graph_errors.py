# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of Microsoft Graph, in its own form: https://learn.microsoft.com/graph/errors.

Codes and texts that the documentation doesn't have are those that clients' sources look for (the Terraform provider azuread,
azure-cli, azure-workload-identity). Where neither has any, the function says so: then only status and code shape are certain.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from .call import Call

# What Graph calls the statuses that a fault may ask for.
_CODES: Final = {
    400: "Request_BadRequest",
    401: "InvalidAuthenticationToken",
    403: "Authorization_RequestDenied",
    404: "Request_ResourceNotFound",
    409: "Directory_ConcurrencyViolation",
    412: "PreconditionFailed",
    429: "TooManyRequests",
    500: "InternalServerError",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}


class GraphError(Exception):
    """A refusal by Graph."""

    def __init__(self, status: int, code: str, message: str, *, details: list[dict[str, str]] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.details = details

    def document(self, call: Call) -> dict[str, object]:
        inner = {
            "date": call.trace.timestamp.removesuffix("Z").replace(" ", "T"),
            "request-id": call.trace.trace_id,
            "client-request-id": call.trace.correlation_id,
        }
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.details is not None:
            error["details"] = self.details
        return {"error": {**error, "innerError": inner}}

    def response(self, call: Call) -> web.Response:
        call.entry.error = self.code
        return web.json_response(self.document(call), status=self.status)


def injected(status: int) -> GraphError:
    """Return the error that a fault asked for by its status alone."""
    return GraphError(status, _CODES.get(status, "UnknownError"), f"Fault {status}, asked for through the control API of this double.")


def unauthenticated(message: str) -> GraphError:
    return GraphError(401, "InvalidAuthenticationToken", message)


def denied(message: str = "Insufficient privileges to complete the operation.") -> GraphError:
    return GraphError(403, "Authorization_RequestDenied", message)


def not_found(object_id: str) -> GraphError:
    return GraphError(
        404,
        "Request_ResourceNotFound",
        f"Resource '{object_id}' does not exist or one of its queried reference-property objects are not present.",
    )


def bad_request(message: str, code: str = "Request_BadRequest") -> GraphError:
    return GraphError(400, code, message)


def no_segment(name: str) -> GraphError:
    return GraphError(400, "BadRequest", f"Resource not found for the segment '{name}'.")


def method_not_allowed() -> GraphError:
    return GraphError(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")


def invalid_id(text: str) -> GraphError:
    return bad_request(f"Invalid object identifier '{text}'.")


def unknown_property(name: str, kind: str) -> GraphError:
    return bad_request(f"The property '{name}' does not exist on type '{kind}'. Make sure to only use property names that are defined by the type.")


def read_only(name: str, kind: str) -> GraphError:
    return bad_request(f"Property '{name}' is read-only and cannot be set. (resource '{kind}')")


def invalid_value(name: str, kind: str, why: str = "") -> GraphError:
    """Return the error for a value of the wrong type or range; `why` goes where Graph puts its own reason."""
    message = f"Invalid value specified for property '{name}' of resource '{kind}'."
    details = [{"code": "InvalidValue", "message": why, "target": name}] if why else None
    return GraphError(400, "Request_BadRequest", message, details=details)


def object_conflict(name: str) -> GraphError:
    """Return the error for a value that another object has; soft-deleted ones count (Bicep's docs on Graph say so of uniqueName)."""
    message = f"Another object with the same value for property {name} already exists."
    return GraphError(400, "Request_BadRequest", message, details=[{"code": "ObjectConflict", "message": message, "target": name}])


def key_in_use(message: str) -> GraphError:
    return GraphError(409, "Request_MultipleObjectsWithSameKeyValue", message)


def unsupported_query(message: str) -> GraphError:
    return bad_request(message, "Request_UnsupportedQuery")
