# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The credential of every team of the batch: added in Entra and stored in the cluster by one call, so that nobody sees it."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_app
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_credential import Keeper
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError, RegistrationError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import TOKEN_EXCHANGE, Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _azure
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._entra import Clients, has_identity, prove


class ActionModule(BatchAction):
    """``data.retire`` says whether a call with ``stage: retire`` is due once the pods run on the new credential."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {
        "stage": {"type": "str", "default": "settle", "choices": ["settle", "retire"]},
        "rotate": {"type": "bool", "default": False},
        "when_old": {"type": "bool", "default": False},
    }

    def prepare(self, teams: dict[str, Team]) -> None:
        clients = Clients(read_only=self.check_mode)
        self._graphs: dict[str, Graph] = {}
        for team in teams.values():
            connect(team.cluster)
            if team.registration == "managed" or (team.credential == "federated" and has_identity()):
                self._graphs[team.name] = clients.graph(team)
        self._issuers: dict[object, str | GatewayAuthError] = {}
        for team in teams.values():
            aks = team.workload_identity.aks
            if team.asks_aks and team.name in self._graphs and self.options["stage"] == "settle" and aks not in self._issuers:
                self._issuers[aks] = self._issuer(team)

    @staticmethod
    def _issuer(team: Team) -> str | GatewayAuthError:
        """Azure is asked once for each cluster; what went wrong is an outcome of its teams alone."""
        try:
            return _azure.aks_issuer(team, os.environ)
        except GatewayAuthError as exc:
            return exc

    def for_team(self, team: Team) -> Outcome:
        graph = self._graphs.get(team.name)
        if graph is None:
            return self._unread(team)
        team = self._with_issuer(team)
        journal = self.journal(team)
        application: dict[str, t.Any] = {}
        # In check mode of a first onboarding there is no registration yet, in that of an adoption no mark.
        if team.client_id or not self.check_mode:
            rotates = self.options["rotate"] or self.options["when_old"]
            marked = team.registration == "managed" and (not self.check_mode or rotates)
            application = (_entra_app.require_ours if marked else _entra_app.read_credentials)(graph, team)
        store = _azure.KeyVault(team, os.environ) if team.writes_key_vault else None
        keeper = Keeper(team, graph, journal.kube, journal, application, prove, store)
        try:
            if self.options["stage"] == "settle":
                keeper.settle(rotate=self.options["rotate"], when_old=self.options["when_old"])
            else:
                keeper.retire()
        except GatewayAuthError as exc:
            raise journal.blame(exc) from exc
        outcome = self.outcome(journal)
        outcome.data = {"findings": keeper.findings, "retire": keeper.pending() if self.options["stage"] == "settle" else False, "key_id": keeper.key_id()}
        return outcome

    def _with_issuer(self, team: Team) -> Team:
        found = self._issuers.get(team.workload_identity.aks) if team.asks_aks else None
        if isinstance(found, GatewayAuthError):
            raise found
        return dataclasses.replace(team, workload_identity=dataclasses.replace(team.workload_identity, issuer=found)) if found else team

    def _unread(self, team: Team) -> Outcome:
        """An existing registration, and no identity that could look at it."""
        if self.options["rotate"]:
            raise RegistrationError(
                f"Team '{team.name}': the client secret of an existing registration is somebody else's to rotate.",
                "Change it at its source (gateway_auth_client_secret), then run onboard_team.",
            )
        if team.credential != "federated" or self.options["stage"] == "retire":
            return Outcome()
        aks = team.workload_identity.aks
        issuer = team.workload_identity.issuer or (f"of AKS cluster {aks.name}" if aks is not None else connect(team.cluster).issuer()) or "of the cluster"
        finding = (
            f"Nobody checked that application {team.client_id} trusts issuer {issuer}, subject {team.workload_subject}, audience {TOKEN_EXCHANGE};"
            " with an identity for Entra in the environment it would be checked."
        )
        return Outcome(data={"findings": [finding]})
