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


class ProbeError(GatewayAuthError):
    """A request from outside got no HTTP answer, or one that no retry mends."""
