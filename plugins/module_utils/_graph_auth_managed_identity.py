# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A token by the managed identity of the machine this runs on: no secret, nothing to configure but which one.

A virtual machine has the instance metadata service; App Service, Functions, Container Apps and Automation give an endpoint and
a header value in the environment, Cloud Shell an endpoint alone.
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

from __future__ import annotations

import dataclasses
import time
import urllib.parse

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import Clock, Environ, GraphEndpoint, Token, read_token, refusal, send
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import Transport

IMDS_URL = "http://169.254.169.254/metadata/identity/oauth2/token"  # link-local: the machine's own host answers
_REMEDY = "Assign the managed identity to this machine; AZURE_CLIENT_ID (its client id) is needed when there are several or it is user-assigned."


@dataclasses.dataclass(frozen=True)
class ManagedIdentityAuth:
    """The endpoint is taken from ``environ``; ``client_id`` names a user-assigned identity, "" means the machine's own."""

    endpoint: GraphEndpoint
    tenant_id: str
    client_id: str
    environ: Environ = dataclasses.field(repr=False)
    now: Clock = time.time

    @property
    def title(self) -> str:
        return f"managed identity {self.client_id}".rstrip()

    def validate(self) -> None:
        if self.environ.get("IDENTITY_ENDPOINT") and not self.environ.get("IDENTITY_HEADER"):
            if self.environ.get("IMDS_ENDPOINT"):
                raise GraphAuthError(
                    "IDENTITY_ENDPOINT and IMDS_ENDPOINT are those of Azure Arc, whose challenge by file this collection doesn't speak.",
                    "Use a client secret, a federated token file or az login here.",
                )
            raise GraphAuthError("IDENTITY_ENDPOINT is set without IDENTITY_HEADER.", "Set both, as Azure does, or neither.")
        for name in ("IDENTITY_ENDPOINT", "MSI_ENDPOINT"):
            url = self.environ.get(name, "")
            if url and urllib.parse.urlsplit(url).scheme not in ("http", "https"):
                raise GraphAuthError(f"Expected {name} to be a URL, got {url!r}.", "Set it as Azure does, or unset it.")

    def token(self, transport: Transport, clock: Clock) -> Token:
        method, url, headers, body, secret = self._request()
        response = send(transport, method, url, headers, body, self.title)
        if response.status != 200:
            error = refusal(response, url.partition("?")[0], self.title, [secret], _REMEDY)
            # The metadata service says 404 or 410 while it is being updated (its page on retries).
            if url.startswith(IMDS_URL) and response.status in (404, 410):
                error.retry_after = 0.0
            raise error
        return read_token(response.body, url.partition("?")[0], self.tenant_id, clock, self.now)

    def _request(self) -> tuple[str, str, dict[str, str], bytes | None, str]:
        """Method, URL, headers, body, and the value that must not be shown."""
        resource = {"resource": self.endpoint.graph}
        client = {"client_id": self.client_id} if self.client_id else {}
        if self.environ.get("IDENTITY_ENDPOINT"):
            secret = self.environ["IDENTITY_HEADER"]
            query = urllib.parse.urlencode({"api-version": "2019-08-01", **resource, **client})
            return "GET", f"{self.environ['IDENTITY_ENDPOINT']}?{query}", {"X-IDENTITY-HEADER": secret}, None, secret
        if self.environ.get("MSI_ENDPOINT"):
            secret = self.environ.get("MSI_SECRET", "")
            if secret:
                query = urllib.parse.urlencode({"api-version": "2017-09-01", **resource, **({"clientid": self.client_id} if self.client_id else {})})
                return "GET", f"{self.environ['MSI_ENDPOINT']}?{query}", {"secret": secret}, None, secret
            headers = {"Metadata": "true", "Content-Type": "application/x-www-form-urlencoded"}
            return "POST", self.environ["MSI_ENDPOINT"], headers, urllib.parse.urlencode(resource).encode(), ""
        query = urllib.parse.urlencode({"api-version": "2018-02-01", **resource, **client})
        return "GET", f"{IMDS_URL}?{query}", {"Metadata": "true"}, None, ""
