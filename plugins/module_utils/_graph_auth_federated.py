# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A token for an assertion of somebody Entra trusts (workload identity federation): a pod on AKS, a CI job, no secret at all.

https://learn.microsoft.com/entra/workload-id/workload-identity-federation
"""

from __future__ import annotations

import dataclasses

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import (
    ASSERTION_TYPE,
    Clock,
    GraphEndpoint,
    Token,
    check_client_id,
    request_token,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import Transport


@dataclasses.dataclass(frozen=True)
class FederatedAuth:
    """AZURE_CLIENT_ID with the JWT in the file AZURE_FEDERATED_TOKEN_FILE, which is read anew each time: it is renewed in place."""

    endpoint: GraphEndpoint
    tenant_id: str
    client_id: str
    token_file: str

    @property
    def title(self) -> str:
        return f"federated token of app {self.client_id or '?'}"

    def validate(self) -> None:
        check_client_id(self.client_id, "federated token")
        self._read()

    def token(self, transport: Transport, clock: Clock) -> Token:
        form = {"client_id": self.client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": self._read()}
        return request_token(self.endpoint, self.tenant_id, form, self.title, transport, clock)

    def _read(self) -> str:
        try:
            with open(self.token_file, "rb") as handle:
                raw = handle.read(64 * 1024)
        except OSError as exc:
            raise GraphAuthError(
                f"Could not read {self.token_file} (AZURE_FEDERATED_TOKEN_FILE): {exc.strerror}.", "Check the path and its permissions."
            ) from exc
        # An error of decoding would carry the content; a JWT is plain ASCII anyway.
        assertion = raw.decode("ascii", "replace").strip()
        if assertion.count(".") != 2 or not assertion.isascii() or any(char.isspace() for char in assertion):
            raise GraphAuthError(f"{self.token_file} (AZURE_FEDERATED_TOKEN_FILE) doesn't hold a JWT.", "Let it hold the issuer's token and nothing else.")
        return assertion
