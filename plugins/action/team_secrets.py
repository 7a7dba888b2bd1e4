# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The namespace and the Secrets of every team of the batch. No value ever leaves this action."""

from __future__ import annotations

import os
import threading
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _secrets
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _azure
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome


class ActionModule(BatchAction):
    """One phase: namespace, proxy Secret, store Secret; with ``rotate`` one key of them anew and nothing else."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {"rotate": {"type": "str", "default": "", "choices": ["", *_secrets.ROTATIONS]}}

    def prepare(self, teams: dict[str, Team]) -> None:
        self._templating = threading.Lock()
        self._in_vaults: dict[str, str | GatewayAuthError] = {}
        for team in teams.values():
            connect(team.cluster)
            if team.reads_key_vault and not self.options["rotate"]:
                self._in_vaults[team.name] = self._in_vault(team)

    def for_team(self, team: Team) -> Outcome:
        journal = self.journal(team)
        try:
            if self.options["rotate"]:
                _secrets.rotate(team, journal, self.options["rotate"])
            else:
                _secrets.ensure_namespace(team, journal)
                _secrets.ensure_secrets(team, journal, lambda: self._vaulted(team))
        except GatewayAuthError as exc:
            raise journal.blame(exc) from exc
        return self.outcome(journal)

    @staticmethod
    def _in_vault(team: Team) -> str | GatewayAuthError:
        """From its Key Vault, while there is one thread; what went wrong is its team's alone."""
        try:
            return _azure.read_secret(team, os.environ)
        except GatewayAuthError as exc:
            return exc

    def _vaulted(self, team: Team) -> str | None:
        """``gateway_auth_client_secret.value`` of this team, decrypted only now, or what its Key Vault had."""
        if team.reads_key_vault:
            found = self._in_vaults[team.name]
            if isinstance(found, GatewayAuthError):
                raise found
            return found
        with self._templating:
            given: t.Any = self.task_vars["hostvars"][team.name].get("gateway_auth_client_secret") or {}
            value = given.get("value")
            return None if value is None else str(value)
