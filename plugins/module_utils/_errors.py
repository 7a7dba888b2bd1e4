# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exceptions that cross from the thinking below to the plugins above.

A plugin catches :class:`GatewayAuthError` and nothing else; whatever else escapes is a bug and shows its traceback.
"""

from __future__ import annotations


class GatewayAuthError(Exception):
    """Something a user can mend.

    The message names the object, what was expected, what was found; ``remedy`` names the option or command that mends it.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class ClusterError(GatewayAuthError):
    """The Kubernetes API answered with an error, or is not the cluster the inventory means."""


class ForbiddenError(ClusterError):
    """The API refused a verb on a resource to this identity."""


class ForeignObjectError(GatewayAuthError):
    """An object of our name exists that does not carry our mark; only ``-e adopt`` may take it over."""


class RegistrationError(GatewayAuthError):
    """An app registration, a group or a credential in Entra is not what the run needs, and it isn't ours to guess."""


class UnresolvedError(GatewayAuthError):
    """Something that only Entra or the cluster knows is needed before it was asked for."""


class NotReadyError(GatewayAuthError):
    """A bounded wait ran out; the message carries the last thing seen."""


class HelmError(GatewayAuthError):
    """Helm, a chart or a release is not what it must be."""


class SecretError(GatewayAuthError):
    """A secret can't be had from its source, or its value can't work. Never carries the value."""


class AzureError(GatewayAuthError):
    """azure.azcollection isn't there, or Azure refused what was asked through it. Never carries a value."""


class ProbeError(GatewayAuthError):
    """A request from outside got no HTTP answer, or one that no retry mends."""


class TransportError(GatewayAuthError):
    """An HTTP request got no answer.

    ``sent`` says whether the server may have carried it out all the same, ``lasting`` that repeating it is in vain.
    """

    def __init__(self, message: str, remedy: str = "", *, sent: bool = False, lasting: bool = False) -> None:
        super().__init__(message, remedy)
        self.sent = sent
        self.lasting = lasting


class GraphError(GatewayAuthError):
    """Microsoft Graph refused a request: ``status``, ``code`` and ``request_id`` as it gave them (0 and "" without an answer)."""

    def __init__(self, message: str, remedy: str = "", *, status: int = 0, code: str = "", request_id: str = "") -> None:
        super().__init__(message, remedy)
        self.status = status
        self.code = code
        self.request_id = request_id


class GraphForbiddenError(GraphError):
    """The identity lacks a permission, or isn't an owner of the object (403)."""


class GraphNotFoundError(GraphError):
    """What was to be changed or listed isn't there (404, or another status that means it); after a create it may be on its way still."""


class GraphConflictError(GraphError):
    """Somebody else changed it at the same time, or what was to be made is there already (409, 412, some 400): read again and plan anew."""


class GraphUncertainError(GraphError):
    """A request that must not be repeated got no answer, so it may have been carried out: read again and plan anew."""


class GraphAuthError(GraphError):
    """No token for Microsoft Graph: the identity isn't configured, or the token endpoint refused it. Never carries a secret.

    ``code`` is the AADSTS number (``7000215``) or the endpoint's error word; ``retry_after`` is the number of seconds after
    which the same request may succeed (0: as the caller likes), None when repeating it is in vain.
    """

    def __init__(self, message: str, remedy: str = "", *, status: int = 0, code: str = "", request_id: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, remedy, status=status, code=code, request_id=request_id)
        self.retry_after = retry_after
