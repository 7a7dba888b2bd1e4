# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever somebody writes ends in findings, or in objects that keep every door shut. FUZZ=long tries many times as much.

What must follow is worked out here from what was written, not from the model or by the functions that assemble.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import subprocess
import typing as t
import urllib.parse
import xml.etree.ElementTree as ElementTree

import hypothesis
import pytest
import yaml
from ansible.errors import AnsibleFilterError
from hypothesis import strategies as st

from ansible_collections.platform.gateway_auth.plugins.filter import gateway_manifests, platform_manifests, proxy_values, redirect_uris, secret_specification
from ansible_collections.platform.gateway_auth.plugins.module_utils import _findings, _isolation, _manifests, _reports, _validate
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._render import render_team
from ansible_collections.platform.gateway_auth.plugins.module_utils._validate_helm import effective
from tests import golden
from tests.golden import inventory
from tests.support.fuzz import fuzz
from tests.support.tools import tool
from tests.unit.fuzz.inventories import ODD, inventories, nodes, odd_inventories, replaced
from tests.unit.plugins.module_utils.test_manifests import _surroundings

Object = dict[str, t.Any]

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def judge(given: list[_validate.TeamInput]) -> tuple[list[Team], list[_findings.Finding]]:
    return _validate.validate(given, today=inventory.TODAY)


# --- what an inventory must not do ------------------------------------------------------------------------------------


@fuzz(examples=30)
@hypothesis.given(given=odd_inventories())
def test_whatever_is_written_ends_in_findings_or_in_sound_teams(given: list[_validate.TeamInput]) -> None:
    teams, findings = judge(given)
    wrong = {finding.team for finding in _findings.errors(findings)}
    assert {team.name for team in teams} == {entry.name for entry in given} - wrong
    assert all(finding.expected and finding.found and finding.remedy for finding in findings)
    assert _findings.render(findings)
    found = _reports.Validation(tuple(findings), tuple(entry.name for entry in given), (), "/repo", "/repo")
    json.loads(_reports.to_json(found))
    assert len(json.loads(_reports.to_sarif(found))["runs"][0]["results"]) == len(_findings.grouped(findings))
    root = ElementTree.fromstring(_reports.to_junit(found).encode())
    assert int(str(root.get("failures"))) == len(_findings.errors(findings))
    by_name = {entry.name: entry for entry in given}
    check_teams([(team, by_name[team.name]) for team in teams])


@fuzz(examples=30)
@hypothesis.given(given=inventories())
def test_sound_inventories_are_assembled_with_every_door_shut(given: list[_validate.TeamInput]) -> None:
    teams, findings = judge(given)
    hypothesis.event(f"{len(teams)} of {len(given)} teams valid")
    collisions = {"object-name", "hostname-taken", "name-length", "hostname", "namespace-taken", "public-path"}
    assert {finding.rule for finding in _findings.errors(findings)} <= collisions, _findings.render(findings)
    by_name = {entry.name: entry for entry in given}
    check_teams([(team, by_name[team.name]) for team in teams])


# --- what objects must hold -------------------------------------------------------------------------------------------


def check_teams(pairs: list[tuple[Team, _validate.TeamInput]]) -> None:
    seen: dict[tuple[str, str, str], str] = {}
    hosts: set[str] = set()
    for team, given in pairs:
        assert Team.from_dict(json.loads(json.dumps(team.to_dict()))) == team
        if team.named_groups:  # their ids come from Entra
            continue
        objects = _manifests.gateway_manifests(team)
        for obj in objects:
            _check_name(obj)
            key = (obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])
            assert key not in seen, f"{key} is of {seen.get(key)} and of {team.name}"
            seen[key] = team.name
        mine = {app.hostname for app in team.apps} | {team.proxy_host}
        assert not hosts & mine
        hosts |= mine
        check_doors(team, given, objects)
        check_proxy(team, given)
        if team.client_id or team.credential != "federated":
            for text in render_team(team).values():
                assert text
    assert not [shared for shared in _isolation.lint([_isolation.Given(team) for team, _given in pairs]) if not shared.found]


def _check_name(obj: Object) -> None:
    meta = obj["metadata"]
    assert _SUBDOMAIN.fullmatch(meta["name"]) and len(meta["name"]) <= 253
    assert _SUBDOMAIN.fullmatch(meta["namespace"]) and len(meta["namespace"]) <= 63
    for value in meta["labels"].values():
        assert _LABEL_VALUE.fullmatch(value) and len(value) <= 63


def _ids(groups: t.Any, known: t.Any = ()) -> set[str]:
    """Ids as they were written, in lower case; an app may name a group of its team."""
    names = {group["name"]: group["id"] for group in known if group.get("name") and group.get("id")}
    return {str(group.get("id") or names[group["name"]]).lower() for group in groups or ()}


def check_doors(team: Team, given: _validate.TeamInput, objects: list[Object]) -> None:
    """Each route to an app is behind one policy that asks for exactly the app's groups; what is not, is public by word."""
    values = given.values
    routes = {obj["metadata"]["name"]: obj["spec"] for obj in objects if obj["kind"] == "HTTPRoute"}
    policies = [obj["spec"] for obj in objects if obj["kind"] == "SecurityPolicy"]
    admins = _ids(values.get("gateway_auth_admin_groups"))
    open_to_all: dict[str, list[str]] = {}
    for name, spec in routes.items():
        backends = {(ref["name"], ref.get("namespace", team.namespace)) for rule in spec["rules"] for ref in rule.get("backendRefs", ())}
        assert [parent["sectionName"] for parent in spec["parentRefs"]] == [team.gateway.https_listener]
        behind = [policy for policy in policies if any(ref["name"] == name and "sectionName" not in ref for ref in policy["targetRefs"])]
        if backends <= {(team.release, team.namespace)}:
            assert not behind, "the proxy's own pages ask nobody"
            continue
        if not behind:
            (host,) = spec["hostnames"]
            open_to_all[host] = [match["path"]["value"] for rule in spec["rules"] for match in rule["matches"]]
            assert all(match["path"]["type"] == "PathPrefix" for rule in spec["rules"] for match in rule["matches"])
            continue
        (policy,) = behind
        auth = policy["extAuth"]
        assert auth["failOpen"] is False and auth["statusOnError"] == 503 and "recomputeRoute" not in auth
        app = next(app for app in values["gateway_auth_apps"] if f"{app['name']}-{team.name}" == name)
        parts = urllib.parse.urlsplit(auth["http"]["pathOverride"])
        assert parts.path == "/" and not parts.fragment
        asked = urllib.parse.parse_qs(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True)
        narrow = _ids(app.get("allowed_groups"), values["gateway_auth_allowed_groups"])
        if narrow and (values.get("gateway_auth_admin_access") or "all") == "all":
            narrow |= admins
        assert set(asked) == ({"allowed_groups"} if narrow else set())
        listed = asked.get("allowed_groups", [""])[0].split(",") if asked else []
        assert set(listed) == narrow and "" not in listed and len(asked.get("allowed_groups", [])) <= 1
    assert open_to_all == {
        app.hostname: list(raw["public_paths"]) for app, raw in zip(team.apps, values["gateway_auth_apps"], strict=True) if raw.get("public_paths")
    }
    assert {f"{app['name']}-{team.name}" for app in values["gateway_auth_apps"]} <= set(routes)


def check_proxy(team: Team, given: _validate.TeamInput) -> None:
    """The proxy itself lets in the team's groups and the admins, and nobody else."""
    merged = release_values(team)
    json.dumps(merged)
    assert len(team.release) <= 53 and len(team.store_name) <= 63
    settings, troubles = effective(merged)
    assert not troubles
    wanted = _ids(given.values["gateway_auth_allowed_groups"]) | _ids(given.values.get("gateway_auth_admin_groups"))
    assert wanted and set(t.cast("tuple[str, ...]", settings["allowed-group"])) == wanted
    hosts = set(t.cast("tuple[str, ...]", settings["whitelist-domain"]))
    assert hosts == {app.hostname for app in team.apps} | {team.proxy_host}
    for flag in ("skip-auth-route", "skip-auth-regex", "trusted-ip", "cookie-domain"):
        assert settings[flag] == ()
    for flag in ("ssl-insecure-skip-verify", "skip-jwt-bearer-tokens", "skip-auth-preflight", "gcp-healthchecks"):
        assert settings[flag] is False
    assert settings["cookie-secure"] is True and settings["ping-user-agent"] == ""


# --- the team's file, as text -----------------------------------------------------------------------------------------

_LINES = st.one_of(
    st.sampled_from(
        [
            "gateway_auth_apps:",
            "gateway_auth_allowed_groups:",
            "  - {name: a, service: {name: s, port: 1}}",
            "  - {id: 5f0c0c7e-0000-4000-8000-0000000000a1}",
            "gateway_auth_notes: &a [*a]",
            "gateway_auth_notes: !unsafe x",
            "gateway_auth_notes: !vault x",
            "gateway_auth_notes: !!python/object/apply:os.system [id]",
            "gateway_auth_notes: \"{{ lookup('pipe', 'id') }}\"",
            "ansible_connection: ssh",
            "? {a: b}",
            "<<: {gateway_auth_apps: 7}",
            "---",
            "...",
            "- x",
            "\t",
            "%YAML 1.1",
            "$ANSIBLE_VAULT;1.1;AES256",
            "gateway_auth_owners: 2026-01-01",
            "1: 2",
            "null: x",
            "gateway_auth_apps: [{name: a, name: b}]",
        ]
    ),
    st.text(alphabet=st.characters(codec="utf-8"), max_size=20),
)


@fuzz(examples=20)
@hypothesis.given(lines=st.lists(_LINES, max_size=6), raw=st.binary(max_size=6))
def test_any_text_of_a_team_s_file_ends_in_findings(lines: list[str], raw: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = inventory.write(tmp_path_factory.mktemp("inventory"))
    (folder / "host_vars" / "team-b.yml").write_bytes("\n".join(lines).encode() + (raw if len(lines) % 3 == 0 else b""))
    try:
        teams, findings = inventory.judge(folder)
    except Exception as exc:
        hypothesis.note(repr(exc))
        raise
    assert "team-a" in [team.name for team in teams], "one team's file is no other team's trouble"
    assert ("team-b" in [team.name for team in teams]) is not any(finding.team == "team-b" for finding in _findings.errors(findings))
    assert _findings.render(findings)


# --- filters ----------------------------------------------------------------------------------------------------------

FILTERS: dict[str, t.Callable[[t.Any], t.Any]] = {
    name: function
    for module in (gateway_manifests, platform_manifests, proxy_values, redirect_uris, secret_specification)
    for name, function in module.FilterModule().filters().items()
}


@pytest.mark.parametrize("name", FILTERS)
@fuzz(examples=20)
@hypothesis.given(data=st.data())
def test_a_filter_takes_a_model_or_says_what_it_expected(name: str, data: st.DataObject) -> None:
    whole = golden.model({"session_store": {"type": "external", "url": "redis://h", "secret": {"name": "a", "key": "b"}}, "helm_values": {"a": {"b": [1]}}})
    path = data.draw(st.one_of(st.just(()), st.sampled_from(sorted(nodes(whole), key=repr))))
    given = replaced(whole, path, data.draw(ODD)) if path else data.draw(ODD)
    try:
        FILTERS[name](given)
    except AnsibleFilterError as exc:
        assert name in str(exc) and "expected" in str(exc)


# --- Envoy Gateway's own word -----------------------------------------------------------------------------------------

EGCTL = tool("egctl")


@pytest.mark.skipif(not EGCTL, reason="no egctl: `make sandbox` builds one, or set EGCTL to the path of one (1.8 or newer)")
@fuzz(examples=2, slow=True)
@hypothesis.given(given=inventories())
def test_envoy_gateway_s_crds_take_every_object(given: list[_validate.TeamInput], tmp_path_factory: pytest.TempPathFactory) -> None:
    teams, _found = judge(given)
    hypothesis.assume(teams)
    objects: dict[str, Object] = {}
    for team in teams:
        for obj in [*_surroundings(team), *golden.COMPILE["platform"](team), *_manifests.gateway_manifests(team)]:
            meta = obj["metadata"]
            objects.setdefault(json.dumps([obj["kind"], meta.get("namespace"), meta["name"]]), obj)
    source: pathlib.Path = tmp_path_factory.mktemp("objects") / "objects.yaml"
    source.write_text(yaml.safe_dump_all(list(objects.values())), encoding="utf-8")
    command = [EGCTL, "x", "translate", "--from", "gateway-api", "--to", "gateway-api", "-f", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    judged = yaml.safe_load(done.stdout)
    wanted = {obj["metadata"]["name"] for obj in objects.values() if obj["kind"] in ("HTTPRoute", "SecurityPolicy")}
    found = {obj["metadata"]["name"]: obj for key in ("httpRoutes", "securityPolicies") for obj in judged[key]}
    assert set(found) == wanted
    for obj in found.values():
        entries = obj["status"].get("ancestors") or obj["status"].get("parents") or []
        assert entries
        accepted = [condition["status"] for entry in entries for condition in entry["conditions"] if condition["type"] == "Accepted"]
        assert accepted and set(accepted) == {"True"}, obj["status"]


def test_a_model_of_the_example_passes_what_generated_ones_must() -> None:
    """The checks above can fail: they find a door that was opened by hand."""
    entry = _validate.TeamInput("team-a", {"gateway_auth_apps": [{"name": "prometheus"}, {"name": "alertmanager"}], "gateway_auth_allowed_groups": []})
    team = golden.team()
    objects = _manifests.gateway_manifests(team)
    check_doors(team, entry, objects)
    for obj in objects:
        if obj["kind"] == "SecurityPolicy":
            for wrong in ({"failOpen": True}, {"http": {**obj["spec"]["extAuth"]["http"], "pathOverride": "/?allowed_groups="}}):
                opened = {**obj, "spec": {**obj["spec"], "extAuth": {**obj["spec"]["extAuth"], **wrong}}}
                with pytest.raises(AssertionError):
                    check_doors(team, entry, [opened if other is obj else other for other in objects])
    with pytest.raises(AssertionError):
        check_doors(team, entry, [obj for obj in objects if obj["kind"] != "SecurityPolicy"])
    with pytest.raises(AssertionError):
        check_proxy(dataclasses.replace(team, helm_values={"extraArgs": {"allowed-group": ""}}), entry)
