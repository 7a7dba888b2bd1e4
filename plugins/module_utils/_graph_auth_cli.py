# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A token by the login of the ``az`` command: a person at a workstation.

A process, because az's token cache is its own affair (encrypted on some systems, shared with a broker on others) and this
command its one documented door; the Azure SDKs' AzureCliCredential does the same.
https://learn.microsoft.com/cli/azure/account#az-account-get-access-token
"""

from __future__ import annotations

import dataclasses
import shutil
import time
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import (
    Clock,
    Environ,
    GraphEndpoint,
    Token,
    make_token,
    parse_object,
    shorten,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import Transport

TIMEOUT_S = 60.0

Ended = tuple[int, bytes, bytes]


class Runner(t.Protocol):
    """Runs a program: arguments and environment in; exit status, stdout and stderr out, or None when it didn't end in time."""

    def __call__(self, arguments: list[str], environ: dict[str, str], /) -> Ended | None: ...


def run(arguments: list[str], environ: dict[str, str], /) -> Ended | None:
    import subprocess

    try:
        done = subprocess.run(arguments, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        # Not raised further: it carries what was printed so far.
        return None
    except OSError as exc:
        return 126, b"", str(exc.strerror).encode()
    return done.returncode, done.stdout, done.stderr


@dataclasses.dataclass(frozen=True)
class CliAuth:
    """``az account get-access-token``; no secret is among its arguments."""

    endpoint: GraphEndpoint
    tenant_id: str
    environ: Environ = dataclasses.field(repr=False)
    runner: Runner = run
    now: Clock = time.time

    @property
    def title(self) -> str:
        return "az login"

    def validate(self) -> None:
        if self._command() is None:
            raise GraphAuthError(
                "No identity for Microsoft Graph: neither AZURE_CLIENT_SECRET (or AZURE_SECRET), AZURE_FEDERATED_TOKEN_FILE, IDENTITY_ENDPOINT nor"
                " MSI_ENDPOINT is set, and there is no az command.",
                "Set AZURE_CLIENT_ID with AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, set ANSIBLE_AZURE_AUTH_SOURCE to msi on an Azure machine,"
                " or install az and sign in.",
            )

    def token(self, transport: Transport, clock: Clock) -> Token:  # noqa: ARG002 - az has its own
        command = self._command()
        if command is None:
            raise GraphAuthError("The az command isn't there any more.", "Install it, or use another identity.")
        arguments = [command, "account", "get-access-token", "--scope", self.endpoint.scope, "--tenant", self.tenant_id, "--output", "json"]
        remedy = f"Sign in: az login --tenant {self.tenant_id} --allow-no-subscriptions."
        done = self.runner(arguments, {**self.environ, "AZURE_CORE_NO_COLOR": "true", "AZURE_CORE_ONLY_SHOW_ERRORS": "true"})
        if done is None:
            raise GraphAuthError(f"az account get-access-token didn't end within {TIMEOUT_S:.0f} s.", remedy)
        status, output, complaint = done
        if status != 0:
            said = shorten(complaint.decode(errors="replace").replace("ERROR: ", "")).rstrip(".") or "nothing"
            raise GraphAuthError(f"az account get-access-token ended with status {status}: {said}.", remedy)
        document = parse_object(output)
        value = document.get("accessToken")
        if not isinstance(value, str) or not value:
            raise GraphAuthError("az account get-access-token printed no access token.", "Update az.")
        # expires_on is there from az 2.54 on; older ones give a local time without zone alone, so the token's own word counts then.
        until = document.get("expires_on")
        lifetime = until - self.now() if isinstance(until, (int, float)) else None
        return make_token(value, lifetime, self.tenant_id, clock, self.now)

    def _command(self) -> str | None:
        return shutil.which("az", path=self.environ.get("PATH", ""))
