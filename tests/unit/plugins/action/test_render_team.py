# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action by itself (sequence, foreign files, errors), and once through ansible-playbook."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.action.render_team import ActionModule
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._render import render_team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import Outcome
from tests.golden import model, team

ROOT = pathlib.Path(__file__).parents[4]
ONE_APP: dict[str, t.Any] = {"apps": model()["apps"][:1]}


def _run(dest: pathlib.Path, overrides: dict[str, t.Any] | None = None, *, check: bool = False) -> Outcome:
    action = object.__new__(ActionModule)
    action.options = {"dest": str(dest)}
    action.check_mode = check
    return action.for_team(team(overrides))


def _files(folder: pathlib.Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}


def _actions(outcome: Outcome) -> set[str]:
    return {change["action"] for change in outcome.changes}


def test_sequence(tmp_path: pathlib.Path) -> None:
    predicted = _run(tmp_path, check=True)
    assert predicted.changed and _actions(predicted) == {"create"}
    assert not list(tmp_path.iterdir())

    written = _run(tmp_path)
    assert (written.changes, written.diff) == (predicted.changes, predicted.diff)
    assert _files(tmp_path / "team-a") == render_team(team())

    again = _run(tmp_path)
    assert not again.changed and not again.changes and not again.diff

    fewer = _run(tmp_path, ONE_APP)
    removed = [change["object"] for change in fewer.changes if change["action"] == "delete"]
    assert removed and all("alertmanager" in name for name in removed)
    assert _actions(fewer) == {"delete", "update"}
    assert _files(tmp_path / "team-a") == render_team(team(ONE_APP))
    assert not _run(tmp_path, ONE_APP).changed


def test_a_file_that_has_not_changed_is_not_touched(tmp_path: pathlib.Path) -> None:
    _run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    _run(tmp_path, {"replicas": 3})
    touched = [path.name for path, stamp in before.items() if path.stat().st_mtime_ns != stamp]
    assert touched == ["values.yaml"]


def test_somebody_else_s_file_stays(tmp_path: pathlib.Path) -> None:
    _run(tmp_path)
    theirs = tmp_path / "team-a" / "4-routes" / "theirs.yaml"
    theirs.write_bytes(b"\xff\xfe")
    assert not _run(tmp_path, ONE_APP, check=True).msg
    _run(tmp_path, ONE_APP)
    assert theirs.read_bytes() == b"\xff\xfe"


def test_somebody_else_s_file_of_our_name_is_an_error_and_nothing_is_written(tmp_path: pathlib.Path) -> None:
    theirs = tmp_path / "team-a" / "values.yaml"
    theirs.parent.mkdir()
    theirs.write_text("replicaCount: 1\n", encoding="utf-8")
    with pytest.raises(GatewayAuthError, match=r"values\.yaml"):
        _run(tmp_path)
    assert _files(tmp_path / "team-a") == {"values.yaml": "replicaCount: 1\n"}


def test_a_private_ca_is_read(tmp_path: pathlib.Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text("-----BEGIN CERTIFICATE-----\n", encoding="utf-8")
    _run(tmp_path / "out", {"probe": {"ca_file": str(authority)}})
    assert "-----BEGIN CERTIFICATE-----" in (tmp_path / "out/team-a/3-probe/prometheus.yaml").read_text(encoding="utf-8")


def test_a_private_ca_that_is_not_there_yet_is_said_and_no_error(tmp_path: pathlib.Path) -> None:
    outcome = _run(tmp_path, {"probe": {"ca_file": str(tmp_path / "missing.crt")}})
    assert "missing.crt" in outcome.msg
    assert "Not complete" in (tmp_path / "team-a/README.md").read_text(encoding="utf-8")
    job = (tmp_path / "team-a/3-probe/prometheus.yaml").read_text(encoding="utf-8")
    assert "--cacert" not in job and "--insecure" not in job
    (tmp_path / "missing.crt").mkdir()
    with pytest.raises(GatewayAuthError, match=r"missing\.crt"):
        _run(tmp_path, {"probe": {"ca_file": str(tmp_path / "missing.crt")}})


def test_a_folder_that_can_t_be_written_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(GatewayAuthError, match="file"):
        _run(tmp_path / "file")


def test_through_ansible_playbook(tmp_path: pathlib.Path) -> None:
    playbook = tmp_path / "render.yml"
    (tmp_path / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
    models = {"team-a": model(), "team-b": model({"name": "team-b"})}
    task = {"platform.gateway_auth.render_team": {"models": models, "dest": "rendered"}, "run_once": True, "register": "rendered"}
    outcome = {"platform.gateway_auth.team_outcome": {"outcome": "{{ rendered.teams[inventory_hostname] }}"}}
    playbook.write_text(json.dumps([{"hosts": "all", "connection": "local", "gather_facts": False, "tasks": [task, outcome]}]), encoding="utf-8")

    def play(*options: str) -> str:
        command = [str(pathlib.Path(sys.executable).parent / "ansible-playbook"), "-i", "team-a,team-b,", str(playbook), *options]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"),
            "ANSIBLE_HOME": str(tmp_path / ".ansible"),
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shown = play("--check", "--diff")
    assert "changed=1" in shown and "+kind: SecurityPolicy" in shown
    assert not (tmp_path / "rendered").exists()
    assert play().count("changed=1") == 2
    assert sorted(path.name for path in (tmp_path / "rendered").iterdir()) == ["team-a", "team-b"]
    assert _files(tmp_path / "rendered/team-a") == render_team(team())
    assert play().count("changed=0") == 2
