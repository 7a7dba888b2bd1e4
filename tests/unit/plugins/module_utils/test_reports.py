# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three forms of a report, as their readers read them.

No package has the official schema of SARIF 2.1.0, so ``check_sarif`` states what it and GitHub's code scanning ask of what we use:
https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html, by section, and
https://docs.github.com/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import typing as t
import urllib.parse
import xml.etree.ElementTree as ElementTree

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._findings import ERROR, RULES, WARNING, Finding
from ansible_collections.platform.gateway_auth.plugins.module_utils._reports import FORMATS, Validation, artifact, to_json, to_junit, to_sarif

ERROR_A = Finding("team-a", "/repo/inv/host_vars/team-a.yml", 4, "gateway_auth_apps[0].name", "a label", "'A'", "Change it.", "dns-label")
WARNING_B = Finding("team-b", "/repo/inv/group_vars/teams.yml", 9, "gateway_auth_admin_groups", "some", "none", "Set it.", "no-admins", WARNING)
OF_THE_RUN = Finding("", "-e", 0, "teams", "a known control", "unknown teams", "Did you mean -e team=?", "unknown-control")


def validation(*findings: Finding) -> Validation:
    return Validation(findings, ("team-a", "team-b"), ("team-a",), "/repo", "/repo/inv")


def check_sarif(text: str) -> dict[str, t.Any]:
    """The one run of a log, once it is known to be what a reader of SARIF may expect."""
    log = json.loads(text)
    assert set(log) == {"$schema", "version", "runs"}  # 3.13
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    assert set(run) <= {"tool", "columnKind", "invocations", "results"}  # 3.14; others exist, we use none
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    assert all(type(invocation["executionSuccessful"]) is bool for invocation in run["invocations"])  # 3.20.14, required
    driver = run["tool"]["driver"]
    assert isinstance(driver["name"], str) and driver["name"]  # 3.19.8, required
    identifiers = [rule["id"] for rule in driver["rules"]]
    assert len(set(identifiers)) == len(identifiers)  # 3.19.23: unique
    for rule in driver["rules"]:
        assert set(rule) <= {"id", "name", "shortDescription", "help"}  # 3.49
        assert re.fullmatch(r"[A-Za-z0-9]+", rule["name"])  # 3.49.7: an identifier
        for part in ("shortDescription", "help"):
            assert rule[part]["text"].endswith(".")  # 3.12; GitHub requires both
    assert isinstance(run["results"], list)  # 3.14.23: empty, not absent, when nothing was found
    for result in run["results"]:
        assert set(result) <= {"ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"}  # 3.27
        assert identifiers[result["ruleIndex"]] == result["ruleId"]  # 3.27.6
        assert result["level"] in ("none", "note", "warning", "error")  # 3.27.10
        assert result["message"]["text"]  # 3.27.11, required
        (location,) = result["locations"]  # GitHub requires one
        physical = location["physicalLocation"]
        uri = physical["artifactLocation"]["uri"]
        assert re.fullmatch(r"[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+", uri)  # 3.4.3, RFC 3986
        assert not uri.startswith("/") and ".." not in uri.split("/")
        if "region" in physical:
            assert type(physical["region"]["startLine"]) is int and physical["region"]["startLine"] >= 1  # 3.30.5
        assert all(isinstance(value, str) and value for value in result["partialFingerprints"].values())  # 3.27.17
    return t.cast("dict[str, t.Any]", run)


def test_sarif_says_where_what_and_by_which_rule() -> None:
    run = check_sarif(to_sarif(validation(WARNING_B, ERROR_A, OF_THE_RUN)))
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == set(RULES)
    found = {result["ruleId"]: result for result in run["results"]}
    assert {rule: result["level"] for rule, result in found.items()} == {"dns-label": "error", "no-admins": "warning", "unknown-control": "error"}
    where = found["dns-label"]["locations"][0]
    assert where["physicalLocation"] == {"artifactLocation": {"uri": "inv/host_vars/team-a.yml"}, "region": {"startLine": 4}}
    assert where["logicalLocations"][0]["fullyQualifiedName"] == "gateway_auth_apps[0].name"
    for word in ("team-a", "a label", "'A'", "Change it."):
        assert word in found["dns-label"]["message"]["text"]
    assert found["unknown-control"]["locations"][0]["physicalLocation"] == {"artifactLocation": {"uri": "inv"}}, "what is in no file is the inventory's"


@pytest.mark.skipif(
    not os.environ.get("SARIF_SCHEMA"), reason="set SARIF_SCHEMA to a copy of https://json.schemastore.org/sarif-2.1.0.json to ask the schema itself"
)
def test_the_official_schema_agrees() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(pathlib.Path(os.environ["SARIF_SCHEMA"]).read_text(encoding="utf-8"))
    for findings in ((), (ERROR_A, WARNING_B, OF_THE_RUN), (dataclasses.replace(ERROR_A, file="/x y", line=0),)):
        jsonschema.validate(json.loads(to_sarif(validation(*findings))), schema)


def test_what_teams_share_is_one_result() -> None:
    run = check_sarif(to_sarif(validation(WARNING_B, dataclasses.replace(WARNING_B, team="team-a"))))
    (result,) = run["results"]
    assert "'team-a'" in result["message"]["text"] and "'team-b'" in result["message"]["text"]


def test_a_finding_stays_the_same_one_when_its_line_moves() -> None:
    prints = [
        check_sarif(to_sarif(validation(finding)))["results"][0]["partialFingerprints"]
        for finding in (ERROR_A, dataclasses.replace(ERROR_A, line=40), dataclasses.replace(ERROR_A, path="gateway_auth_apps[1].name"))
    ]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("/repo/inv/a b.yml", "inv/a%20b.yml"),
        ("/repo/inv/ü#.yml", "inv/%C3%BC%23.yml"),
        ("/elsewhere/group_vars/teams.yml", "file:///elsewhere/group_vars/teams.yml"),
        ("", "inv"),
        ("-e", "inv"),
    ],
)
def test_locations(file: str, uri: str) -> None:
    assert artifact(validation(), dataclasses.replace(ERROR_A, file=file)) == uri


def test_a_location_written_from_the_current_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    there = Validation((), (), (), str(tmp_path), str(tmp_path))
    assert artifact(there, dataclasses.replace(ERROR_A, file="group_vars/teams.yml")) == "group_vars/teams.yml"


def test_junit_has_a_case_for_each_finding_and_one_for_a_team_without() -> None:
    root = ElementTree.fromstring(to_junit(validation(ERROR_A)))
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "2", "1")
    suites = {suite.get("name"): suite for suite in root}
    assert {name: (suite.get("tests"), suite.get("failures")) for name, suite in suites.items()} == {"team-a": ("1", "1"), "team-b": ("1", "0")}
    (case,) = suites["team-a"]
    assert (case.get("file"), case.get("line")) == ("inv/host_vars/team-a.yml", "4")
    failure = case.find("failure")
    assert failure is not None and failure.get("type") == "dns-label" and "Change it." in (failure.text or "")
    assert suites["team-b"][0].find("failure") is None


def test_junit_lets_warnings_pass_and_keeps_their_text() -> None:
    root = ElementTree.fromstring(to_junit(validation(WARNING_B, OF_THE_RUN)))
    assert (root.get("tests"), root.get("failures")) == ("3", "1")
    out = root.find("testsuite[@name='team-b']/testcase/system-out")
    assert out is not None and "warning" in (out.text or "")
    assert root.find("testsuite[@name='the run']/testcase/failure") is not None


def test_json_keeps_every_part() -> None:
    document = json.loads(to_json(validation(ERROR_A)))
    assert document["valid"] is False and (document["teams"], document["addressed"]) == (["team-a", "team-b"], ["team-a"])
    assert document["findings"] == [dataclasses.asdict(ERROR_A)]
    assert json.loads(to_json(validation(WARNING_B)))["valid"] is True


def test_nothing_wrong_is_an_empty_report_and_no_missing_one() -> None:
    assert check_sarif(to_sarif(validation()))["results"] == []
    root = ElementTree.fromstring(to_junit(validation()))
    assert (root.get("tests"), root.get("failures")) == ("2", "0")
    assert json.loads(to_json(validation()))["findings"] == []


@pytest.mark.parametrize("ending", FORMATS)
def test_any_text_can_be_reported(ending: str) -> None:
    for text in ("<&>\"']]>", "\x00\x1b\ud800", "\u2028ü😀", "{{ x }}"):
        odd = dataclasses.replace(ERROR_A, found=text, path=text, file=f"/repo/{urllib.parse.quote(text, errors='replace')}")
        written = FORMATS[ending](validation(odd)).encode()
        if ending == ".xml":
            ElementTree.fromstring(written)
        else:
            json.loads(written)


def test_severities_are_levels() -> None:
    assert {ERROR, WARNING} <= {"none", "note", "warning", "error"}
