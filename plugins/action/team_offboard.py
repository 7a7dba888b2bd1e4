# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a team goes after its routes, asked for beforehand and proven afterwards."""

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleActionFail, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.utils.display import Display

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_app, _offboard
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_plan import describe as describe_registration
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError, NotReadyError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect, describe
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._entra import Clients

STAGES = ("confirm", "release", "objects", "proof")
ANSWER_TIMEOUT_S = 300


class ActionModule(BatchAction):
    """One stage for every team of the batch."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {
        "stage": {"type": "str", "required": True, "choices": list(STAGES)},
        "confirm": {"type": "raw", "default": ""},
    }

    def prepare(self, teams: dict[str, Team]) -> None:
        if self.options["stage"] == "confirm":
            self._confirm([team for team in teams.values() if not team.deletion_protection])
        else:
            for team in teams.values():
                connect(team.cluster)
        if self.options["stage"] == "proof":
            clients = Clients(read_only=True)
            self._graphs = {team.name: clients.graph(team) for team in teams.values() if team.registration == "managed"}

    def for_team(self, team: Team) -> Outcome:
        if self.options["stage"] == "confirm":
            return self._protected(team)
        journal = self.journal(team)
        try:
            if self.options["stage"] == "release":
                uninstall = _offboard.plan_release(team, journal)
                outcome = self.outcome(journal)
                outcome.data = {"uninstall": uninstall, "findings": _offboard.foreign(team, journal.kube)}
                return outcome
            if self.options["stage"] == "objects":
                _offboard.remove_secrets(team, journal)
                findings = _offboard.remove_namespace(team, journal)
                outcome = self.outcome(journal)
                outcome.data = {"findings": findings}
                return outcome
        except GatewayAuthError as exc:
            raise journal.blame(exc) from exc
        return self._proof(team)

    # --- confirm -----------------------------------------------------------------------------------------------------
    def _confirm(self, teams: list[Team]) -> None:
        """What is taken away must be named: by -e confirm, else at the terminal. Nothing is taken away in check mode."""
        wanted = {team.name for team in teams}
        if self.check_mode or not wanted:
            return
        given = self.options["confirm"]
        if not given:
            given = self._ask(teams)
        if isinstance(given, str):
            given = given.replace(",", " ").split()
        named = {str(item).strip() for item in given} if isinstance(given, (list, tuple)) else set()
        # Who names a team that is protected, or that failed before, named it all the same: it stays.
        if not wanted <= named <= wanted | set(self.task_vars["ansible_play_hosts_all"]):
            raise AnsibleActionFail(
                f"Expected -e confirm={','.join(sorted(wanted))}, every team that is to be removed by its name, found"
                f" {', '.join(sorted(named)) or 'nothing'}. Nothing was changed."
            )

    @staticmethod
    def _ask(teams: list[Team]) -> str:
        hosts = "\n".join(f"  {team.name}: {', '.join(app.hostname for app in team.apps)}" for team in teams)
        names = " ".join(team.name for team in teams)
        text = f"This takes out of service, with every session:\n{hosts}\nType {names} to go on: "
        begun = time.monotonic()
        try:
            answer = Display().prompt_until(text, seconds=ANSWER_TIMEOUT_S).decode(errors="replace")
        except AnsiblePromptNoninteractive:
            return ""  # the error says what was expected
        except AnsiblePromptInterrupt as exc:
            raise AnsibleActionFail("Interrupted. Nothing was changed.") from exc
        if time.monotonic() - begun >= ANSWER_TIMEOUT_S:  # Ansible gives what was typed until then, as if somebody had sent it
            raise AnsibleActionFail(f"No answer within {ANSWER_TIMEOUT_S} s. Nothing was changed.")
        return answer

    @staticmethod
    def _protected(team: Team) -> Outcome:
        if not team.deletion_protection:
            return Outcome()
        return Outcome(
            failed=True,
            msg=f"Team '{team.name}' is protected: gateway_auth_deletion_protection is true. Nothing of it was changed."
            " Set it to false where the inventory says so (at the host's entry, or in group_vars/teams.yml), then run again.",
        )

    # --- proof -------------------------------------------------------------------------------------------------------
    def _proof(self, team: Team) -> Outcome:
        found = _offboard.sweep(team, connect(team.cluster))
        if found.left:
            raise NotReadyError(
                f"Of team '{team.name}' there is still, by its labels: {', '.join(describe(obj) for obj in found.left)}.",
                "What isn't marked as ours (a copy, say) must be deleted by hand; run offboard_team again to see it gone.",
            )
        lines = [f"nothing carries the labels of {team.name} any more ({found.told()})"]
        findings = []
        if team.registration == "managed":
            lines.append(self._registration(team))
        else:
            uris = " ".join(team.redirect_uris)
            findings.append(f"App registration {team.client_id} isn't ours and stays: remove its redirect URIs {uris} and the team's client secret by hand.")
        if team.writes_key_vault and team.client_secret is not None:
            findings.append(f"Secret {team.client_secret.name} of Key Vault {team.client_secret.url} stays; nothing signs in with it any more.")
        text = "\n".join(f"  gone   {line}" for line in lines)
        return Outcome(msg=f"Team '{team.name}':\n{text}", data={"findings": findings, "proof": lines})

    def _registration(self, team: Team) -> str:
        graph = self._graphs[team.name]
        if team.shared_registration:
            return f"the {describe_registration(team)} no longer has a part of the team"
        graph.until(lambda: _entra_app.read(graph, team, missing_ok=True).application is None or None, f"the {describe_registration(team)} to be gone")
        return f"the {describe_registration(team)} isn't there any more; for 30 days from its deletion restore_team brings it back with the same client id"
