# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A token by client id and client secret: a CI runner or AWX with a stored secret."""

from __future__ import annotations

import dataclasses

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import Clock, GraphEndpoint, Token, check_client_id, request_token
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import Transport


@dataclasses.dataclass(frozen=True)
class ClientSecretAuth:
    """AZURE_CLIENT_ID with AZURE_CLIENT_SECRET (or AZURE_SECRET)."""

    endpoint: GraphEndpoint
    tenant_id: str
    client_id: str
    secret: str = dataclasses.field(repr=False)

    @property
    def title(self) -> str:
        return f"client secret of app {self.client_id or '?'}"

    def validate(self) -> None:
        check_client_id(self.client_id, "client secret")
        if self.secret != self.secret.strip() or not self.secret.isprintable():
            raise GraphAuthError("AZURE_CLIENT_SECRET has white space around it or unprintable characters (a trailing newline?).", "Store the bare secret.")

    def token(self, transport: Transport, clock: Clock) -> Token:
        form = {"client_id": self.client_id, "client_secret": self.secret}
        return request_token(self.endpoint, self.tenant_id, form, self.title, transport, clock)
