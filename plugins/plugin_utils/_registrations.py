# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions on app registrations share: outcomes of changes in Entra, and what the cluster remembers of a team's."""

from __future__ import annotations

import collections.abc
import typing as t

import yaml

from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import decode
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_plan import EntraChange
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._secrets import remembered_groups
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome


class ModelsAction(BatchAction):
    """``models`` in the result are those given, with client ids and the ids of groups that were only named."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        models = self.options["models"]
        result["models"] = {host: outcome["data"].pop("model", models[host]) for host, outcome in result["teams"].items()}
        return result


def entra_outcome(changes: collections.abc.Sequence[EntraChange], findings: collections.abc.Sequence[str] = ()) -> Outcome:
    """Changes of a registration as a phase reports them."""
    return Outcome(
        changed=bool(changes),
        changes=[change.to_dict() for change in changes],
        diff=[_difference(change) for change in changes],
        data={"findings": list(findings)},
    )


def _difference(change: EntraChange) -> dict[str, str]:
    reasons = "".join(f"# {reason}\n" for reason in change.reasons)
    return {
        "before_header": change.what,
        "after_header": f"{change.what} ({change.action})",
        "before": _face(change.before),
        "after": reasons + _face(change.body),
    }


def _face(part: dict[str, object]) -> str:
    return str(yaml.safe_dump(part, sort_keys=True, default_flow_style=False)) if part else ""


def known_ids(team: Team) -> dict[str, str]:
    """Ids of groups that the inventory only names, as an earlier run found them."""
    if not team.named_groups:
        return {}
    return remembered_groups(connect(team.cluster).get("v1", "Secret", team.proxy_secret, team.namespace))


def from_cluster(team: Team) -> Team:
    """The team with what its Secret in the cluster tells of the registration."""
    if team.client_id and not team.named_groups:
        return team
    secret = connect(team.cluster).get("v1", "Secret", team.proxy_secret, team.namespace)
    return team.resolved(team.client_id or (decode(secret, "client-id") or ""), remembered_groups(secret))
