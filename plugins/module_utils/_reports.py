# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings as files for pipelines: SARIF 2.1.0, JUnit and our own JSON (pure: text out, nothing written).

SARIF is what forges show in a pull request, beside the line. https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import collections.abc
import dataclasses
import hashlib
import json
import os
import re
import typing as t
import urllib.parse
from xml.etree import ElementTree

from ansible_collections.platform.gateway_auth.plugins.module_utils._findings import ERROR, RULES, Finding, grouped, to_dicts, whose

NAME = "platform.gateway_auth"
SARIF_VERSION = "2.1.0"
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"

# What XML 1.0 can't hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclasses.dataclass(frozen=True)
class Validation:
    """What a validation found, and in which inventory.

    ``teams`` is every host of the inventory, ``addressed`` those that this run is about. ``root`` is the folder of the repository
    that holds the inventory (locations are told relative to it), ``inventory`` the inventory itself, for what stands in no file.
    """

    findings: tuple[Finding, ...]
    teams: tuple[str, ...]
    addressed: tuple[str, ...]
    root: str
    inventory: str


def to_json(found: Validation) -> str:
    """Our own form: whose findings, and each with all its parts."""
    document = {
        "valid": not any(finding.severity == ERROR for finding in found.findings),
        "teams": list(found.teams),
        "addressed": list(found.addressed),
        "findings": to_dicts(found.findings),
    }
    return json.dumps(document, indent=2) + "\n"


def to_sarif(found: Validation) -> str:
    """One result for each finding; what several teams share (a line of the platform's file) is one."""
    used = grouped(found.findings)
    rules = sorted(RULES)
    run = {
        "tool": {
            "driver": {
                "name": NAME,
                "rules": [_sarif_rule(rule) for rule in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True}],
        "results": [_sarif_result(found, finding, teams, rules.index(finding.rule)) for finding, teams in used],
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": SARIF_VERSION, "runs": [run]}, indent=2) + "\n"


def _sarif_rule(rule: str) -> dict[str, t.Any]:
    text = f"{RULES[rule][:1].upper()}{RULES[rule][1:]}."
    name = "".join(part.capitalize() for part in rule.split("-"))
    return {
        "id": rule,
        "name": name,
        "shortDescription": {"text": text},
        "help": {"text": f"{text} Each finding says what was expected, what was found, and which option mends it."},
    }


def _sarif_result(found: Validation, finding: Finding, teams: collections.abc.Sequence[str], index: int) -> dict[str, t.Any]:
    uri = artifact(found, finding)
    physical: dict[str, t.Any] = {"artifactLocation": {"uri": uri}}
    if finding.line:
        physical["region"] = {"startLine": finding.line}
    identity = "\n".join((finding.rule, uri, finding.path, *sorted(teams)))
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": f"{finding.path}: {_sentence(finding, teams)}"},
        "locations": [{"physicalLocation": physical, "logicalLocations": [{"fullyQualifiedName": finding.path, "kind": "member"}]}],
        # Not of the line: a finding stays the same one when something is written above it.
        "partialFingerprints": {"finding/v1": hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()},
    }


def artifact(found: Validation, finding: Finding) -> str:
    """Where a finding stands, as a URI reference from the repository's root; the inventory for what stands in no file."""
    in_file = finding.file and finding.file != "-e"
    path = os.path.realpath(finding.file if in_file else found.inventory)
    root = os.path.realpath(found.root)
    relative = os.path.relpath(path, root)
    if relative.split(os.sep)[0] == os.pardir:
        return "file://" + urllib.parse.quote(path)
    return urllib.parse.quote(relative.replace(os.sep, "/"))


def to_junit(found: Validation) -> str:
    """A suite for each team, a case for each finding (a warning passes), one case for a team without any."""
    root = ElementTree.Element("testsuites", name=f"{NAME}.validate_teams")
    suites: dict[str, list[Finding]] = {team: [] for team in found.teams}
    for finding in found.findings:
        suites.setdefault(finding.team, []).append(finding)
    total = failures = 0
    for team, findings in suites.items():
        failed = sum(1 for finding in findings if finding.severity == ERROR)
        count = max(1, len(findings))
        total, failures = total + count, failures + failed
        suite = ElementTree.SubElement(root, "testsuite", name=_xml(team or "the run"), tests=str(count), failures=str(failed), errors="0", skipped="0")
        if not findings:
            ElementTree.SubElement(suite, "testcase", classname=_xml(team), name="the team's variables are valid")
        for finding in findings:
            _junit_case(suite, found, finding)
    root.set("tests", str(total))
    root.set("failures", str(failures))
    root.set("errors", "0")
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _junit_case(suite: ElementTree.Element, found: Validation, finding: Finding) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=_xml(finding.team or "the run"), name=_xml(f"{finding.path} [{finding.rule}]"),
        file=_xml(urllib.parse.unquote(artifact(found, finding))), line=str(finding.line),
    )  # fmt: skip
    text = _xml(f"{finding.place}: {_sentence(finding, ())}")
    if finding.severity == ERROR:
        ElementTree.SubElement(case, "failure", type=finding.rule, message=_xml(f"expected {finding.expected}, found {finding.found}")).text = text
    else:
        ElementTree.SubElement(case, "system-out").text = f"warning: {text}"


def _sentence(finding: Finding, teams: collections.abc.Sequence[str]) -> str:
    return f"{whose(teams)}Expected {finding.expected}, found {finding.found}. {finding.remedy}".rstrip()


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


# By the ending of the file's name.
FORMATS: t.Final[dict[str, t.Callable[[Validation], str]]] = {".json": to_json, ".sarif": to_sarif, ".xml": to_junit}
