# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validate the whole inventory and compile the addressed teams; nothing is contacted and nothing written."""

from __future__ import annotations

import datetime
import os
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

from ansible_collections.platform.gateway_auth.plugins.module_utils import _findings, _reports, _spec, _validate
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._waivers import in_force
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _files, _inventory

_OPTIONS: dict[str, t.Any] = {
    "team": {"type": "str", "default": ""},
    "mode": {"type": "str", "default": "all", "choices": ["all", "addressed"]},
    "report": {"type": "path"},
    "dest": {"type": "path"},
}


class ActionModule(ActionBase):
    """One call for the whole run, whatever the batch."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _unused, options = self.validate_argument_spec(_OPTIONS)
        if options["dest"]:
            _files.check_report(options["dest"])
        hosts = [str(host) for host in variables["groups"].get(_inventory.GROUP, [])]
        if not hosts:
            raise AnsibleActionFail(NO_TEAMS)
        addressed = select(options["team"] or "", hosts, [str(host) for host in variables["ansible_play_hosts_all"]])
        extra_vars = load_extra_vars(self._loader)
        inputs = self._reader(variables, extra_vars).read(hosts)
        teams, findings = _validate.validate(inputs, today=datetime.datetime.now().astimezone().date(), chart=_chart())
        findings = [*_inventory.check_extra_vars(extra_vars), *findings]
        stopping = _findings.blocking(findings, addressed, options["mode"])
        sources = [str(source) for source in variables.get("ansible_inventory_sources") or []]
        if options["report"]:
            _files.write_whole(options["report"], _reports.to_json(_reports.Validation(tuple(findings), tuple(hosts), tuple(addressed), "", "")), "-e report")
        if options["dest"]:
            _files.write_report(options["dest"], findings, hosts, addressed, sources)
        result["findings"] = _findings.to_dicts(findings)
        result["addressed"] = addressed
        if stopping:
            result["failed"] = True
            result["msg"] = _findings.render(findings, "Nothing was written.")
            return result
        if findings:
            self._display.display(_findings.render(findings))
        result["models"] = {team.name: team.to_dict() for team in teams if team.name in set(addressed)}
        result["summary"] = [line for team in teams if team.name in set(addressed) for line in summarize(team)]
        result["changed"] = False
        return result

    def _reader(self, variables: dict[str, t.Any], extra_vars: dict[str, t.Any]) -> _inventory.InventoryReader:
        hostvars = variables["hostvars"]

        def template(value: t.Any, available: t.Mapping[str, t.Any]) -> t.Any:
            return self._templar.copy_with_new_env(available_variables=available).template(value)

        return _inventory.InventoryReader(
            raw_vars=hostvars.raw_get,
            loader=self._loader,
            template=template,
            folders=_inventory.source_folders(variables.get("ansible_inventory_sources") or [], variables.get("playbook_dir") or os.getcwd()),
            extra_vars=extra_vars,
            context={"hostvars": hostvars, "groups": variables["groups"]},
        )


NO_TEAMS = (
    "Expected an inventory with a group 'teams' that has a host for each team, found no such host. "
    "Name the inventory (-i inventories/example, or `inventory` in ansible.cfg)."
)


def select(team: str, hosts: list[str], play_hosts: list[str]) -> list[str]:
    """The hosts this run is about: the one named with -e team, or all that --limit leaves."""
    if not team:
        return [host for host in hosts if host in set(play_hosts)]
    host = f"team-{team}"
    known = ", ".join(sorted(name.removeprefix("team-") for name in hosts))
    if host not in hosts:
        ids = [name.removeprefix("team-") for name in hosts]
        near = _spec.nearest(team.removeprefix("team-"), ids)
        raise AnsibleActionFail(
            f"Expected -e team to name a team of the inventory ({known}), found '{team}'. {f'Did you mean -e team={near}?' if near else ''}".strip()
        )
    if host not in play_hosts:
        raise AnsibleActionFail(
            f"Expected -e team={team} to be within --limit, which leaves {', '.join(play_hosts)}. Give one of the two. Known teams: {known}."
        )
    return [host]


def summarize(team: Team) -> list[str]:
    """A valid team in one line, and one for each of its waivers in force."""
    hosts = ", ".join(app.hostname for app in team.apps)
    groups = ", ".join(group.name or group.id for group in (*team.allowed_groups, *team.admin_groups))
    return [f"{team.name}: valid; {hosts} for {groups}", *(f"{team.name}: waived: {used}" for used in in_force(team))]


def _chart() -> str:
    """A chart given by environment variable overrides the inventory's."""
    given = os.environ.get("OAUTH2_PROXY_CHART", "")
    if not given or given.startswith("oci://"):
        return given
    return os.path.abspath(os.path.expanduser(given))
