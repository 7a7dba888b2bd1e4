# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading: Ansible's own inventory, with file and line, and without power for a team's file or light on a secret."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.platform.gateway_auth.plugins.module_utils import _spec
from ansible_collections.platform.gateway_auth.plugins.module_utils._validate import TeamInput
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _inventory
from tests.golden import inventory

CANARY = "CANARY-of-the-client-secret"
TEAM_A = inventory.TEAM_FILE % {"letter": "a"}


def read(folder: pathlib.Path, extra_vars: dict[str, t.Any] | None = None, **given: t.Any) -> dict[str, TeamInput]:
    reader, hosts = inventory.reader(inventory.write(folder, given), extra_vars)
    return {team.name: team for team in reader.read(hosts)}


def rules(team: TeamInput) -> set[tuple[str, str]]:
    return {(finding.rule, finding.path) for finding in team.findings}


def vaulted(text: str, indent: str) -> str:
    cipher = VaultLib([("default", VaultSecret(inventory.VAULT_PASSWORD))]).encrypt(text).decode()
    return "!vault |\n" + "".join(f"{indent}{line}\n" for line in cipher.splitlines())


def test_values_are_plain_and_templated_for_their_host(tmp_path: pathlib.Path) -> None:
    teams = read(tmp_path)
    assert teams["team-a"].values["gateway_auth_client_secret"]["file"] == "/secrets/team-a"
    assert teams["team-b"].values["gateway_auth_client_secret"]["file"] == "/secrets/team-b"

    def kinds(value: t.Any) -> set[type]:
        if isinstance(value, dict):
            return {dict, *(kind for key, item in value.items() for kind in (type(key), *kinds(item)))}
        if isinstance(value, list):
            return {list, *(kind for item in value for kind in kinds(item))}
        return {type(value)}

    assert kinds(teams["team-a"].values) <= {dict, list, str, int, bool}


def test_each_value_knows_its_file_and_line(tmp_path: pathlib.Path) -> None:
    team = read(tmp_path)["team-a"]
    for path, file, line in (
        ("gateway_auth_apps[0].service.port", "host_vars/team-a.yml", 4),
        ("gateway_auth_allowed_groups", "host_vars/team-a.yml", 1),
        ("gateway_auth_allowed_groups[0].nothing.at.all", "host_vars/team-a.yml", 2),
        ("gateway_auth_environment", "group_vars/teams.yml", 1),
        ("gateway_auth_redirect_uris_registered", "group_vars/teams.yml", 9),  # a boolean, which carries no origin itself
        ("gateway_auth_client_id", "hosts.yml", 4),
    ):
        place = team.place(path)
        assert (place.file.removeprefix(f"{tmp_path}/"), place.line) == (file, line), path


def test_without_origins_findings_still_come(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inventory, "Origin", None)
    team = read(tmp_path, files={"host_vars/team-a.yml": TEAM_A + "gateway_auth_replicas: 3\n"})["team-a"]
    assert ("team-file-key", "gateway_auth_replicas") in rules(team)


@pytest.mark.parametrize(
    "secret",
    [
        {"value": CANARY},
        {"value": "{{ lookup('ansible.builtin.pipe', 'touch ' ~ inventory_dir ~ '/touched') }}"},
        {"valeu": CANARY},
        CANARY,
        [CANARY],
    ],
    ids=["plain", "template", "misspelt", "string", "list"],
)
def test_a_secret_is_never_looked_at(tmp_path: pathlib.Path, secret: t.Any) -> None:
    teams, findings = inventory.judge(inventory.write(tmp_path, {"platform": {"gateway_auth_client_secret": secret}}))
    assert CANARY not in repr(teams) + repr(findings)
    assert not (tmp_path / "touched").exists()


def test_a_vaulted_secret_is_never_decrypted(tmp_path: pathlib.Path) -> None:
    platform = dict(inventory.PLATFORM)
    del platform["gateway_auth_client_secret"]
    inventory.write(tmp_path, {"platform": {"gateway_auth_client_secret": None}})
    file = tmp_path / "group_vars/teams.yml"
    # Of a password nobody has: decrypting it would fail.
    cipher = VaultLib([("other", VaultSecret(b"of somebody else"))]).encrypt(CANARY).decode()
    text = "gateway_auth_client_secret:\n  value: !vault |\n" + "".join(f"    {line}\n" for line in cipher.splitlines())
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")
    teams, findings = inventory.judge(tmp_path)
    assert {finding.rule for finding in findings} == {"shared-secret-source"}, "that two teams have one is seen without it"
    assert [team.client_secret.kind for team in teams if team.client_secret] == ["value", "value"]


def test_a_template_of_the_platform_cannot_smuggle_a_vaulted_value(tmp_path: pathlib.Path) -> None:
    names = ("gateway_auth_notes", "gateway_auth_domain", "gateway_auth_owners")
    inventory.write(tmp_path, {"platform": dict.fromkeys(names, "{{ vault_it }}")})
    file = tmp_path / "group_vars/teams.yml"
    file.write_text(file.read_text(encoding="utf-8") + "vault_it: " + vaulted(CANARY, "  "), encoding="utf-8")
    teams, findings = inventory.judge(tmp_path)
    assert ("secret-outside", "gateway_auth_notes") in {(finding.rule, finding.path) for finding in findings}
    assert CANARY not in repr(teams) + repr(findings)


TOUCH = "{{ lookup('ansible.builtin.pipe', 'touch ' ~ inventory_dir ~ '/touched') }}"


@pytest.mark.parametrize("key", ["gateway_auth_notes", "gateway_auth_environment", "gateway_auth_zzz", "ansible_connection", "harmless"])
@pytest.mark.parametrize("name", ["team-a.yml", "team-a.yaml", "team-a.json", "team-a/nested/more.yml"])
def test_a_template_in_a_teams_file_is_never_rendered(tmp_path: pathlib.Path, key: str, name: str) -> None:
    text = f'{{"{key}": "{TOUCH}"}}' if name.endswith(".json") else f'{key}: "{TOUCH}"\n'
    inventory.write(tmp_path, {"platform": {"gateway_auth_image_registry": "{{ harmless | default('') }}"}})
    (tmp_path / "host_vars/team-a.yml").unlink()
    path = tmp_path / "host_vars" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    teams, findings = inventory.judge(tmp_path)
    assert not (tmp_path / "touched").exists()
    assert [team.name for team in teams] == ["team-b"]
    found = [finding for finding in findings if finding.path == key and finding.rule.startswith("team-file-")]
    assert found and all(finding.file.endswith(name) for finding in found)


def test_team_data_is_not_rendered_by_way_of_a_platform_template(tmp_path: pathlib.Path) -> None:
    given = {
        "platform": {"gateway_auth_helm_values": {"podAnnotations": {"notes": "{{ gateway_auth_notes }}"}}},
        "files": {"host_vars/team-a.yml": TEAM_A + f'gateway_auth_notes: "{TOUCH}"\n'},
    }
    inventory.judge(inventory.write(tmp_path, given))
    assert not (tmp_path / "touched").exists()


def test_delimiters_of_its_own_make_a_template_too(tmp_path: pathlib.Path) -> None:
    """Ansible takes any text that begins with `#jinja2:` for a template."""
    sly = "#jinja2: variable_start_string: '[[', variable_end_string: ']]'\\n" + TOUCH.replace("{{", "[[").replace("}}", "]]")
    given = {
        "platform": {"gateway_auth_helm_values": {"podAnnotations": {"notes": "{{ gateway_auth_notes }}"}}},
        "files": {"host_vars/team-a.yml": TEAM_A + f'gateway_auth_notes: "{sly}"\n'},
    }
    teams, findings = inventory.judge(inventory.write(tmp_path, given))
    assert not (tmp_path / "touched").exists()
    assert ("team-file-template", "gateway_auth_notes") in {(finding.rule, finding.path) for finding in findings}
    assert [team.name for team in teams] == ["team-b"]


def test_several_lines_of_free_text_are_fine(tmp_path: pathlib.Path) -> None:
    team = read(tmp_path, files={"host_vars/team-a.yml": TEAM_A + 'gateway_auth_notes: "one\\ntwo\\tzwei"\n'})["team-a"]
    assert team.findings == () and team.values["gateway_auth_notes"] == "one\ntwo\tzwei"


@pytest.mark.parametrize("text", ["- a\n", "gateway_auth_apps: {\n", "just text\n"], ids=["list", "no YAML", "text"])
def test_a_broken_file_is_its_team_s_alone(tmp_path: pathlib.Path, text: str) -> None:
    teams = read(tmp_path, files={"host_vars/team-b.yml": text})
    assert rules(teams["team-b"]) == {("team-file-syntax", "(file)")}
    assert teams["team-a"].findings == () and teams["team-a"].values


def test_a_vaulted_team_file_is_refused(tmp_path: pathlib.Path) -> None:
    cipher = VaultLib([("default", VaultSecret(inventory.VAULT_PASSWORD))]).encrypt(TEAM_A).decode()
    assert ("team-file-vault", "(file)") in rules(read(tmp_path, files={"host_vars/team-a.yml": cipher})["team-a"])


def test_the_platform_may_set_a_teams_variables(tmp_path: pathlib.Path) -> None:
    owners = ["{{ inventory_hostname }}@example.com"]
    team = read(tmp_path, hosts={"team-a": {**inventory.HOSTS["team-a"], "gateway_auth_owners": owners}})["team-a"]
    assert team.values["gateway_auth_owners"] == ["team-a@example.com"]
    assert team.findings == ()


def test_a_default_can_be_used_in_a_template(tmp_path: pathlib.Path) -> None:
    team = read(tmp_path, platform={"gateway_auth_domain": "{{ gateway_auth_stack }}.example.com"})["team-a"]
    assert team.values["gateway_auth_domain"] == "monitoring.example.com"


def test_extra_vars_win_over_a_teams_file(tmp_path: pathlib.Path) -> None:
    team = read(tmp_path, {"gateway_auth_notes": "{{ inventory_hostname }}"}, files={"host_vars/team-a.yml": TEAM_A + "gateway_auth_notes: x\n"})["team-a"]
    assert team.values["gateway_auth_notes"] == "team-a"


def test_unknown_variables_keep_their_value_to_themselves(tmp_path: pathlib.Path) -> None:
    team = read(tmp_path, platform={"gateway_auth_clientsecret": CANARY})["team-a"]
    assert isinstance(team.values["gateway_auth_clientsecret"], _spec.Withheld)


def test_dates_are_text(tmp_path: pathlib.Path) -> None:
    inventory.write(tmp_path)
    file = tmp_path / "group_vars/teams.yml"
    text = "gateway_auth_waivers:\n  - {option: x, owner: y, reason: z, expires: 2027-01-01}\n"
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")
    reader, _hosts = inventory.reader(tmp_path)
    assert reader.read(["team-a"])[0].values["gateway_auth_waivers"][0]["expires"] == "2027-01-01"


@pytest.mark.parametrize(
    ("extra_vars", "found"),
    [
        ({"team": "a", "adopt": "all", "anything": 1}, []),
        ({"gateway_auth_client_secret": {"value": CANARY}}, ["secret-extra-var"]),
        ({"gateway_auth_client_secret": CANARY}, ["secret-extra-var"]),
        ({"gateway_auth_client_secret": {"env": "NAME"}}, []),
        ({"gateway_auth_replica": 2}, ["unknown-variable"]),
        ({"gateway_auth_replicas": 2}, []),
        ({"teams": "a"}, ["unknown-control"]),
    ],
    ids=["controls", "secret", "bare secret", "source", "unknown", "known", "misspelt"],
)
def test_extra_vars(extra_vars: dict[str, t.Any], found: list[str]) -> None:
    findings = _inventory.check_extra_vars(extra_vars)
    assert [finding.rule for finding in findings] == found
    assert CANARY not in repr(findings)


def test_folders_are_those_ansible_looks_into(tmp_path: pathlib.Path) -> None:
    (tmp_path / "hosts.yml").write_text("{}", encoding="utf-8")
    assert _inventory.source_folders([str(tmp_path / "hosts.yml"), "a,b", str(tmp_path)], "/") == [str(tmp_path), str(tmp_path), "/"]


def test_beside_a_link_not_beside_what_it_leads_to(tmp_path: pathlib.Path) -> None:
    """Ansible reads host_vars next to the name it was given; looking elsewhere, we would take a team's file for the platform's."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "shared/hosts.yml").write_text("{}", encoding="utf-8")
    (tmp_path / "mine/hosts.yml").symlink_to(tmp_path / "shared/hosts.yml")
    (tmp_path / "linked").symlink_to(tmp_path / "mine")
    folders = _inventory.source_folders([str(tmp_path / "mine/hosts.yml"), str(tmp_path / "linked")], "/")
    assert folders == [str(tmp_path / "mine"), str(tmp_path / "mine"), "/"]


def test_a_variable_that_a_host_overrides_is_found_where_the_host_says_it(tmp_path: pathlib.Path) -> None:
    given = {"platform": {"gateway_auth_replicas": 2}, "hosts": {"team-a": {"gateway_auth_stack": "Bad", "gateway_auth_session": {"refresh": "9h"}}}}
    _teams, findings = inventory.judge(inventory.write(tmp_path, {**given, "platform": {"gateway_auth_stack": "monitoring"}}))
    assert {pathlib.Path(finding.file).name for finding in findings if finding.team == "team-a"} == {"hosts.yml"}
