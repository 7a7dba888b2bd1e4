# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One plan of what the phases foretold: told, written as a file, compared with an earlier one."""

from __future__ import annotations

import datetime
import json
import pathlib
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.platform.gateway_auth.plugins.module_utils import _team_plan
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan_page import to_html
from ansible_collections.platform.gateway_auth.plugins.module_utils._waivers import in_force
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import Outcome, outcomes_of
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._files import write_whole

FORMATS: dict[str, t.Callable[[dict[str, t.Any]], str]] = {".md": _team_plan.to_markdown, ".json": _team_plan.to_json, ".html": to_html}


class ActionModule(ActionBase):
    """Runs once, in an ``always`` section, for the hosts that succeeded and those that failed alike."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        spec = {
            "phases": {"type": "list", "elements": "dict", "required": True},
            "models": {"type": "dict", "required": True},
            "dest": {"type": "list", "elements": "path", "default": []},
            "expected": {"type": "path", "default": ""},
            "fail_on_change": {"type": "bool", "default": False},
        }
        _unused, options = self.validate_argument_spec(spec)
        hosts = [host for host in variables["ansible_play_hosts_all"] if host in options["models"]]
        plans = {host: _plan(host, options) for host in hosts}
        made = datetime.datetime.now(tz=datetime.UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
        plan = _team_plan.document(plans, made)
        for path in options["dest"]:
            write = FORMATS.get(pathlib.Path(path).suffix)
            if write is None:
                raise AnsibleActionFail(f"Expected -e dest to name files that end in one of {', '.join(FORMATS)}, found '{path}'. Change -e dest.")
            write_whole(path, write(plan), "-e dest")
        expected = _read(options["expected"]) if options["expected"] else None
        outcomes = {host: _judge(host, plans[host], expected, options) for host in hosts}
        result["teams"] = {host: outcome.to_dict() for host, outcome in outcomes.items()}
        result["plan"] = plan
        result["changed"] = False
        if expected is None:
            result["msg"] = [line for host in hosts for line in _team_plan.to_text(host, plans[host])]
            # As they are: a callback would fold long lines, and show the whole document to show these.
            Display().display("\n".join(result["msg"]))
        return result


def _plan(host: str, options: dict[str, t.Any]) -> dict[str, t.Any]:
    team = Team.from_dict(options["models"][host])
    return _team_plan.team_plan(team, outcomes_of(host, options["phases"]), [str(used) for used in in_force(team)])


def _judge(host: str, plan: dict[str, t.Any], expected: dict[str, t.Any] | None, options: dict[str, t.Any]) -> Outcome:
    if expected is not None and not plan["failed"]:
        told = (expected.get("teams") or {}).get(host)
        where = options["expected"]
        again = f"Nothing was written. Look at a new plan (plan_team -e team={host.removeprefix('team-')} -e dest={where}), then give that."
        if told is None:
            return Outcome(failed=True, msg=f"The plan {where} says nothing of {host}. {again}")
        if told.get("failed"):
            return Outcome(failed=True, msg=f"The plan {where} of {host} was not made to its end: {told.get('error')} {again}")
        if told.get("fingerprint") != plan["fingerprint"]:
            parts = _team_plan.departures(told, plan)
            return Outcome(failed=True, msg=f"The plan {where} of {host} holds no more: {'; '.join(parts)}. {again}")
    if options["fail_on_change"] and plan["changed"]:
        return Outcome(failed=True, msg=f"{host}: {len(plan['changes'])} objects would be changed, and -e fail_on_change=true makes that a failure.")
    return Outcome()


def _read(path: str) -> dict[str, t.Any]:
    remedy = "Give one that plan_team wrote: plan_team -e dest=plan.json, then onboard_team -e plan=plan.json."
    try:
        plan = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as exc:
        raise AnsibleActionFail(f"The plan {path} can't be read: {exc.strerror}. {remedy}") from exc
    except ValueError as exc:
        raise AnsibleActionFail(f"The plan {path} is no JSON: {exc}. {remedy}") from exc
    found = plan.get("schema") if isinstance(plan, dict) else None
    if found != _team_plan.SCHEMA:
        raise AnsibleActionFail(f"Expected {path} to be a plan with schema {_team_plan.SCHEMA}, found {found!r}. {remedy}")
    teams = plan.get("teams")
    if not isinstance(teams, dict) or not all(isinstance(team, dict) for team in teams.values()):
        raise AnsibleActionFail(f"Expected {path} to hold an object for each of its 'teams', found something else. {remedy}")
    return t.cast("dict[str, t.Any]", plan)
