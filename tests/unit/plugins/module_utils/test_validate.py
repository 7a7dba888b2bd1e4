# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every rule, by golden cases and by what they leave standing."""

from __future__ import annotations

import copy
import datetime
import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.platform.gateway_auth.plugins.module_utils import _findings, _spec, _validate
from ansible_collections.platform.gateway_auth.plugins.module_utils._findings import RULES, Finding, errors
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import AksRef, SecretSource, Team, WorkloadIdentity
from tests.golden import inventory

CASES = sorted((pathlib.Path(__file__).parents[3] / "golden" / "validate").glob("*.yml"))
CANARY = "CANARY"


def load(path: pathlib.Path) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", yaml.safe_load(path.read_text(encoding="utf-8")))


def judge(folder: pathlib.Path, **given: t.Any) -> tuple[list[Team], list[Finding]]:
    return inventory.judge(inventory.write(folder, given))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_golden(case: pathlib.Path, tmp_path: pathlib.Path) -> None:
    content = load(case)
    given, wanted = content["input"], content["error"]
    teams, findings = inventory.judge(inventory.write(tmp_path, given), given.get("extra_vars"))
    severity = wanted.get("severity", "error")
    found = [
        finding
        for finding in findings
        if (finding.rule, finding.path, finding.severity) == (wanted["rule"], wanted["path"], severity)
        and finding.team == wanted.get("team", finding.team)
        and finding.file.endswith(wanted.get("file", ""))
        and (not wanted.get("line") or finding.line == wanted["line"])
    ]
    assert found, _findings.render(findings)
    finding = found[0]
    text = " ".join((finding.path, finding.expected, finding.found, finding.remedy, finding.file))
    for word in wanted["words"]:
        assert str(word) in text
    assert finding.remedy
    assert CANARY not in repr(findings) + repr(teams)
    assert (finding.team in [team.name for team in teams]) is (severity == "warning")


def test_every_rule_has_a_case() -> None:
    assert {load(case)["error"]["rule"] for case in CASES} == set(RULES)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_a_case_is_named_after_its_rule(case: pathlib.Path) -> None:
    rule = load(case)["error"]["rule"]
    assert case.stem == f"error_{rule}" or case.stem.startswith(f"error_{rule}_")
    assert load(case)["description"].endswith(".")


def test_the_smallest_useful_inventory_is_valid(tmp_path: pathlib.Path) -> None:
    teams, findings = judge(tmp_path)
    assert findings == []
    assert [team.name for team in teams] == ["team-a", "team-b"]
    team = teams[0]
    assert team.apps[0].hostname == "prometheus-team-a.apps.example.com"
    assert team.apps[0].service.namespace == "monitoring-team-a"
    assert team.client_secret == SecretSource("file", "/secrets/team-a")
    assert Team.from_dict(team.to_dict()) == team
    assert len({one.cookie_name for one in teams}) == len(teams)


VAULT = {"key_vault": {"url": "https://contoso.vault.azure.net/", "name": "oauth2-{{ inventory_hostname }}"}}


@pytest.mark.parametrize(
    ("registration", "credential", "reads", "writes"),
    [
        ("managed", "client_secret", False, True),
        ("managed", "external", True, False),
        ("existing", "client_secret", True, False),
        ("existing", "external", True, False),
    ],
)
def test_a_key_vault_is_read_or_written(tmp_path: pathlib.Path, registration: str, credential: str, reads: bool, writes: bool) -> None:
    given = {"gateway_auth_registration": registration, "gateway_auth_credential": credential, "gateway_auth_client_secret": VAULT}
    teams, findings = judge(tmp_path, platform=given)
    assert not errors(findings)
    assert [team.client_secret for team in teams] == [SecretSource("key_vault", f"oauth2-{team.name}", url="https://contoso.vault.azure.net") for team in teams]
    assert {(team.reads_key_vault, team.writes_key_vault) for team in teams} == {(reads, writes)}
    assert Team.from_dict(teams[0].to_dict()) == teams[0]


def test_the_issuer_of_an_aks_cluster_is_asked_for_with_a_federated_credential_alone(tmp_path: pathlib.Path) -> None:
    aks = {"name": "aks-a", "resource_group": "rg_(a).b", "subscription_id": "2222222A-2222-4222-8222-222222222222"}
    for credential, asks in (("federated", True), ("external", False)):
        given = {
            "gateway_auth_credential": credential,
            "gateway_auth_client_secret": None if asks else {"env": "A"},
            "gateway_auth_workload_identity": {"aks": aks},
        }
        teams, findings = judge(tmp_path / credential, platform=given)
        assert not errors(findings) and teams[0].asks_aks is asks
        assert teams[0].workload_identity == WorkloadIdentity("", AksRef("aks-a", "rg_(a).b", aks["subscription_id"].lower()))
        assert Team.from_dict(teams[0].to_dict()) == teams[0]


def test_everything_wrong_anywhere_is_in_one_report(tmp_path: pathlib.Path) -> None:
    _teams, findings = judge(
        tmp_path,
        platform={"gateway_auth_domain": "<YOUR_DOMAIN>", "gateway_auth_replicas": "two", "gateway_auth_typo": 1},
        files={
            "host_vars/team-a.yml": "gateway_auth_allowed_groups: []\ngateway_auth_apps:\n  - {name: A, service: {name: s, port: 0}}\n",
            "host_vars/team-b.yml": "gateway_auth_stack: x\n",
        },
    )
    found = {(finding.team, finding.rule) for finding in findings}
    for wanted in (
        ("team-a", "placeholder"), ("team-a", "type"), ("team-a", "unknown-variable"), ("team-a", "no-groups"), ("team-a", "dns-label"),
        ("team-a", "service-port"), ("team-b", "placeholder"), ("team-b", "team-file-key"), ("team-b", "required"),
    ):  # fmt: skip
        assert wanted in found


def test_a_collision_is_a_finding_of_both_teams(tmp_path: pathlib.Path) -> None:
    team_a = inventory.TEAM_FILE % {"letter": "a"} + "    hostname: prometheus-team-b.apps.example.com\n"
    team_a = team_a.replace(
        "  - {name: prometheus, service: {name: prometheus-service, port: 9090}}", "  - name: prometheus\n    service: {name: p, port: 9090}"
    )
    teams, findings = judge(tmp_path, files={"host_vars/team-a.yml": team_a})
    assert {finding.team for finding in findings if finding.rule == "hostname-taken"} == {"team-a", "team-b"}
    assert teams == []


def test_another_teams_typo_leaves_mine_a_model(tmp_path: pathlib.Path) -> None:
    teams, findings = judge(tmp_path, files={"host_vars/team-b.yml": "gateway_auth_apps: 7\n"})
    assert [team.name for team in teams] == ["team-a"]
    assert {finding.team for finding in errors(findings)} == {"team-b"}


def test_a_waiver_lets_its_option_pass(tmp_path: pathlib.Path) -> None:
    waiver = {"option": "helm_values.extraArgs.cookie-domain", "owner": "platform", "reason": "old clients", "expires": "2026-12-09"}
    values = {"extraArgs": {"cookie-domain": ".apps.example.com"}}
    teams, findings = judge(tmp_path, platform={"gateway_auth_waivers": [waiver], "gateway_auth_helm_values": values})
    assert findings == []
    assert teams[0].waivers[0].option == waiver["option"]
    assert teams[0].helm_values == values


def test_ids_are_compared_and_kept_in_lower_case(tmp_path: pathlib.Path) -> None:
    upper = "5F0C0C7E-0000-4000-8000-0000000000A1"
    app = f"  - name: x\n    service: {{name: s, port: 1}}\n    allowed_groups: [{{id: {upper.lower()}}}]\n"
    text = f"gateway_auth_allowed_groups: [{{id: {upper}}}]\ngateway_auth_apps:\n{app}"
    teams, findings = judge(tmp_path, files={"host_vars/team-a.yml": text})
    assert findings == []
    assert teams[0].allowed_groups[0].id == teams[0].apps[0].allowed_groups[0].id == upper.lower()


def test_a_chart_of_the_environment_wins(tmp_path: pathlib.Path) -> None:
    reader, hosts = inventory.reader(inventory.write(tmp_path))
    teams, _ = _validate.validate(reader.read(hosts), today=inventory.TODAY, chart="/a/chart")
    assert {team.chart.ref for team in teams} == {"/a/chart"}


def test_clouds(tmp_path: pathlib.Path) -> None:
    teams, findings = judge(tmp_path, platform={"gateway_auth_graph": {"cloud": "usgov"}})
    assert findings == []
    assert teams[0].issuer == "https://login.microsoftonline.us/11111111-1111-4111-8111-111111111111/v2.0"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("8h", 28800.0), ("1h30m", 5400.0), ("1.5h", 5400.0), ("90s", 90.0), ("500ms", 0.5), ("1d", None), ("", None), ("8", None), ("h", None), ("8h ", None)],
    ids=str,
)
def test_go_durations(text: str, seconds: float | None) -> None:
    assert _validate.go_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "good"), [("a", True), ("a-1", True), ("-a", False), ("a-", False), ("A", False), ("a.b", False), ("a" * 64, False), ("", False)], ids=str
)
def test_labels(text: str, good: bool) -> None:
    assert _validate.is_label(text) is good


def test_a_thousand_teams_in_seconds(tmp_path: pathlib.Path) -> None:
    """The rules alone; what reading costs is measured by make bench."""
    reader, hosts = inventory.reader(inventory.write(tmp_path))
    one = reader.read(hosts)[0]
    inputs = [_validate.TeamInput(f"team-{number}", one.values, one.places) for number in range(1000)]
    begin = datetime.datetime.now(tz=datetime.UTC)
    _validate.validate(inputs, today=inventory.TODAY)
    assert (datetime.datetime.now(tz=datetime.UTC) - begin).total_seconds() < 5


def nodes(value: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    if path:
        yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from nodes(item, (*path, key))


JUNK: list[t.Any] = [None, True, -1, 10**30, 1.5, "", "{", "<X>", "http://[", "a" * 300, "\x00", [], [None], [[]], {}, {"a": None}, {1: 2}]


def test_whatever_stands_anywhere_ends_in_findings_or_a_sound_model(tmp_path: pathlib.Path) -> None:
    reader, _hosts = inventory.reader(inventory.write(tmp_path))
    team_a, team_b = reader.read(["team-a", "team-b"])
    whole = {**{name: option.default_value() for name, option in _spec.load().items() if option.default is not None}, **team_a.values}
    whole["gateway_auth_helm_values"] = {"extraArgs": {"a": "b"}, "extraEnv": [{"name": "a", "value": "b"}], "config": {"a": 1}}
    whole["gateway_auth_waivers"] = [{"option": "a", "owner": "b", "reason": "c", "expires": "2027-01-01"}]
    whole["gateway_auth_client_secret"] = {"secret": {"name": "a", "key": "b"}}
    whole["gateway_auth_session_store"] = {"type": "external", "url": "redis://a", "secret": {"name": "a", "key": "b"}}
    for *parents, last in nodes(whole):
        for junk in JUNK:
            values = copy.deepcopy(whole)
            holder: t.Any = values
            for key in parents:
                holder = holder[key]
            holder[last] = junk
            teams, findings = _validate.validate([_validate.TeamInput("team-a", values), team_b], today=inventory.TODAY)
            assert _findings.render(findings)
            assert ("team-a" in [team.name for team in teams]) is not any(finding.team == "team-a" for finding in errors(findings))
            assert all(Team.from_dict(team.to_dict()) == team for team in teams)
