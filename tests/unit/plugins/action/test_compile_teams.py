# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The selection by itself, and validation as a user runs it: exit codes, file and line, no secret, no warning."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.platform.gateway_auth.plugins.action.compile_teams import select, summarize
from tests import golden
from tests.golden import inventory

ROOT = pathlib.Path(__file__).parents[4]
TEAM_A = inventory.TEAM_FILE % {"letter": "a"}
CANARY = "CANARY-of-the-client-secret"
HOSTS = ["team-a", "team-b", "team-c"]


def playbook(folder: pathlib.Path, *args: str, name: str = "validate_teams", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(folder), str(ROOT / f"playbooks/{name}.yml"), *args],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1", **env}, text=True, capture_output=True, check=False, timeout=120,
    )  # fmt: skip


def output(run: subprocess.CompletedProcess[str]) -> str:
    text = run.stdout + run.stderr
    assert "[WARNING]" not in text and "[DEPRECATION" not in text and "Traceback" not in text
    return text


@pytest.mark.parametrize(
    ("team", "play_hosts", "expected"),
    [("", HOSTS, HOSTS), ("", ["team-b"], ["team-b"]), ("b", HOSTS, ["team-b"])],
    ids=["all", "limit", "one"],
)
def test_select(team: str, play_hosts: list[str], expected: list[str]) -> None:
    assert select(team, HOSTS, play_hosts) == expected


@pytest.mark.parametrize(
    ("team", "play_hosts", "words"),
    [("zzz", HOSTS, ["zzz", "a, b, c"]), ("team-a", HOSTS, ["team=a"]), ("a", ["team-b"], ["--limit", "team-b", "a, b, c"])],
    ids=["unknown", "with prefix", "outside the limit"],
)
def test_select_refuses(team: str, play_hosts: list[str], words: list[str]) -> None:
    with pytest.raises(AnsibleActionFail) as caught:
        select(team, HOSTS, play_hosts)
    assert all(word in str(caught.value) for word in words)


def test_summary_is_one_line() -> None:
    (line,) = summarize(golden.team())
    assert line.splitlines() == [line]
    waiver = {"option": "cookie-domain", "owner": "platform", "reason": "old clients", "expires": "2027-01-01"}
    told = summarize(golden.team({"helm_values": {"extraArgs": {"cookie-domain": ".x"}}, "waivers": [waiver]}))
    assert [one.splitlines() for one in told] == [[line], [told[1]]] and "old clients" in told[1]


def test_the_example_inventory_is_valid() -> None:
    run = playbook(ROOT / "inventories/example")
    text = output(run)
    assert run.returncode == 0
    assert "team-a: valid" in text and "team-b: valid" in text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["-e", "team=zzz"], ["zzz", "(a, b)"]),
        (["-e", "team=a", "--limit", "team-b"], ["--limit", "team-b"]),
        (["-e", json.dumps({"gateway_auth_client_secret": {"value": CANARY}})], ["gateway_auth_client_secret", "-e"]),
        (["-e", "teams=a"], ["-e team="]),
    ],
    ids=["unknown team", "limit", "secret", "misspelt control"],
)
def test_a_wrong_command_ends_in_an_error(tmp_path: pathlib.Path, args: list[str], words: list[str]) -> None:
    run = playbook(inventory.write(tmp_path), "-vvv", *args)
    text = output(run)
    assert run.returncode != 0
    assert all(word in text for word in words)
    assert CANARY not in text
    assert "Report the teams" not in run.stdout.split("PLAY [Validate")[1]


@pytest.mark.parametrize("args", [[], ["--limit", "web"]], ids=["all", "limit"])
def test_an_inventory_without_teams_ends_in_an_error(tmp_path: pathlib.Path, args: list[str]) -> None:
    (tmp_path / "hosts.yml").write_text("web: {hosts: {web1: {}}}\n", encoding="utf-8")
    run = playbook(tmp_path, *args)
    assert run.returncode != 0
    assert "teams" in output(run)


def test_a_limit_outside_the_teams_ends_in_an_error(tmp_path: pathlib.Path) -> None:
    inventory.write(tmp_path)
    (tmp_path / "more.yml").write_text("web: {hosts: {web1: {}}}\n", encoding="utf-8")
    run = playbook(tmp_path, "--limit", "web1")
    assert run.returncode != 0
    assert "--limit leaves no host of group" in output(run)


def test_findings_of_all_teams_with_file_and_line(tmp_path: pathlib.Path) -> None:
    files = {
        "host_vars/team-a.yml": TEAM_A + "gateway_auth_notes: [1]\n",
        "host_vars/team-b.yml": (inventory.TEAM_FILE % {"letter": "b"}).replace("9090", "'9090'"),
    }
    report = tmp_path / "report.json"
    run = playbook(inventory.write(tmp_path / "inventory", {"files": files}), "-e", f"report={report}")
    text = output(run)
    assert run.returncode != 0
    assert "host_vars/team-a.yml:5: gateway_auth_notes [type]" in text
    assert "host_vars/team-b.yml:4: gateway_auth_apps[0].service.port [type]" in text
    found = {(finding["team"], finding["line"]) for finding in json.loads(report.read_text(encoding="utf-8"))["findings"]}
    assert found == {("team-a", 5), ("team-b", 4)}


@pytest.mark.parametrize("broken", ["a rule", "power", "nothing"])
def test_a_report_for_a_pipeline_is_there_whether_it_fails_or_not(tmp_path: pathlib.Path, broken: str) -> None:
    added = {"a rule": "gateway_auth_notes: [1]\n", "power": "ansible_connection: ssh\n", "nothing": ""}[broken]
    folder = inventory.write(tmp_path / "repository" / "inventory", {"files": {"host_vars/team-a.yml": TEAM_A + added}})
    (tmp_path / "repository" / ".git").mkdir()
    dest = tmp_path / "out" / "findings.sarif"
    run = playbook(folder, "-e", f"dest={dest}")
    output(run)
    assert (run.returncode == 0) is (broken == "nothing")
    results = json.loads(dest.read_text(encoding="utf-8"))["runs"][0]["results"]
    places = [result["locations"][0]["physicalLocation"] for result in results]
    expected = {"artifactLocation": {"uri": "inventory/host_vars/team-a.yml"}, "region": {"startLine": 5}}
    assert places == ([] if broken == "nothing" else [expected])


def test_a_report_may_be_written_from_check_mode_and_by_a_relative_path(tmp_path: pathlib.Path) -> None:
    folder = inventory.write(tmp_path / "inventory")
    dest = os.path.relpath(tmp_path / "findings.xml", ROOT)
    run = playbook(folder, "-e", f"dest={dest}", "--check", "-e", "team=a")
    assert run.returncode == 0, output(run)
    assert 'failures="0"' in (tmp_path / "findings.xml").read_text(encoding="utf-8")


@pytest.mark.parametrize(("dest", "word"), [("findings.txt", ".sarif"), ("file/findings.json", "can't be written")])
def test_an_impossible_report_ends_the_run_before_anything_else(tmp_path: pathlib.Path, dest: str, word: str) -> None:
    (tmp_path / "file").write_text("")
    run = playbook(inventory.write(tmp_path / "inventory"), "-e", f"dest={tmp_path / dest}")
    text = output(run)
    assert run.returncode != 0
    assert word in text and "-e dest" in text
    assert "TASK" not in text


def test_neither_secret_nor_template_of_a_team_is_touched(tmp_path: pathlib.Path) -> None:
    touch = "\"{{ lookup('ansible.builtin.pipe', 'touch ' ~ inventory_dir ~ '/touched') }}\""
    smuggled = "".join(f"{key}: {touch}\n" for key in ("ansible_connection", "ansible_python_interpreter", "gateway_auth_notes", "gateway_auth_client_secret"))
    given = {
        "platform": {"gateway_auth_client_secret": {"value": CANARY}, "ansible_connection": "local"},
        "files": {"host_vars/team-a.yml": TEAM_A + smuggled},
    }
    run = playbook(inventory.write(tmp_path, given), "-vvv")
    text = output(run)
    assert run.returncode != 0
    assert not (tmp_path / "touched").exists()
    assert CANARY not in text
    for line, key in enumerate(("ansible_connection", "ansible_python_interpreter", "gateway_auth_notes", "gateway_auth_client_secret"), start=5):
        assert f"host_vars/team-a.yml:{line}: {key} [team-file-" in text


def test_another_teams_finding_blocks_only_where_it_must(tmp_path: pathlib.Path) -> None:
    folder = inventory.write(tmp_path, {"files": {"host_vars/team-b.yml": "gateway_auth_apps: 7\n"}})
    blocked = playbook(folder, "-e", "team=a")
    assert blocked.returncode != 0
    passed = playbook(folder, "-e", "team=a", "-e", "__gateway_auth_mode=addressed")
    assert passed.returncode == 0, passed.stdout
    assert "team-a: valid" in output(passed)


@pytest.mark.parametrize("args", [[], ["--check", "--diff"]], ids=["run", "check mode"])
def test_models_are_there_for_every_host_of_later_plays(tmp_path: pathlib.Path, args: list[str]) -> None:
    inventory.write(tmp_path / "inventory", {"platform": {"gateway_auth_client_secret": {"value": CANARY}}})
    plays: list[dict[str, t.Any]] = [
        {"import_playbook": str(ROOT / "playbooks/_select.yml")},
        {
            "hosts": "teams",
            "gather_facts": False,
            "connection": "local",
            "serial": 1,
            "roles": ["platform.gateway_auth.gateway_auth"],
            "tasks": [
                {"ansible.builtin.debug": {"msg": "MODEL {{ __gateway_auth.models[inventory_hostname].name }} OF {{ __gateway_auth.addressed | length }}"}},
            ],
        },
    ]
    (tmp_path / "play.yml").write_text(json.dumps(plays), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "inventory"), str(tmp_path / "play.yml"), "-vvv", *args],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, text=True, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    text = output(run)
    assert run.returncode == 0, text
    assert "MODEL team-a OF 2" in text and "MODEL team-b OF 2" in text
    assert text.count("Validate the whole inventory and compile") == 1
    assert CANARY not in text


def test_a_chart_of_the_environment_is_made_absolute(tmp_path: pathlib.Path) -> None:
    run = playbook(inventory.write(tmp_path), "-v", OAUTH2_PROXY_CHART="tests/charts/oauth2-proxy")
    assert run.returncode == 0
    assert f"ref: {ROOT}/tests/charts/oauth2-proxy" in output(run)
