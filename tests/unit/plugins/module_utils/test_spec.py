# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables as argument_specs.yml documents them, and the strict check by them."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.platform.gateway_auth.plugins.module_utils import _spec

ROOT = pathlib.Path(__file__).parents[4]
DEFAULTS = yaml.safe_load((ROOT / "roles/gateway_auth/defaults/main.yml").read_text(encoding="utf-8"))
VARIABLES = _spec.load()

Reports = list[tuple[str, str]]  # (path, rule)


def check(name: str, value: t.Any) -> tuple[t.Any, Reports]:
    reports: Reports = []
    result = _spec.check(VARIABLES[name], value, name, lambda path, _expected, _found, _remedy, rule: reports.append((path, rule)))
    return result, reports


def options() -> t.Iterator[tuple[str, _spec.Option]]:
    todo = list(VARIABLES.items())
    while todo:
        path, option = todo.pop()
        yield path, option
        todo += [(f"{path}.{name}", nested) for name, nested in option.options.items()]


def test_defaults_are_those_of_the_specs() -> None:
    assert {name: option.default for name, option in VARIABLES.items() if option.default is not None} == DEFAULTS


def test_what_has_no_default_stands_in_the_defaults_commented_out() -> None:
    text = (ROOT / "roles/gateway_auth/defaults/main.yml").read_text(encoding="utf-8")
    missing = [name for name, option in VARIABLES.items() if option.default is None and f"# {name}:" not in text]
    assert not missing


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_a_default_is_valid_and_complete(name: str) -> None:
    checked, reports = check(name, DEFAULTS[name])
    assert reports == []
    given = {key: value for key, value in checked.items() if value is not None} if isinstance(checked, dict) else checked
    assert given == DEFAULTS[name], "the default of the whole must be what its parts default to"


def test_every_option_is_described() -> None:
    assert [path for path, option in options() if not any(line.strip() for line in option.description)] == []


def test_ansible_does_not_validate_before_we_do() -> None:
    document = yaml.safe_load((ROOT / "roles/gateway_auth/meta/argument_specs.yml").read_text(encoding="utf-8"))
    entry_points = set(document["argument_specs"])
    tasks = {path.stem for path in (ROOT / "roles/gateway_auth/tasks").glob("*.yml")}
    assert not entry_points & tasks


SAMPLES: dict[str, t.Any] = {"str": "x", "bool": True, "int": 7, "list": [], "dict": {}}


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_no_type_is_taken_for_another(name: str) -> None:
    for kind, sample in SAMPLES.items():
        if kind != VARIABLES[name].type:
            result, reports = check(name, sample)
            assert result is None
            assert reports == [(name, "type")], kind


def test_what_is_wrong_becomes_none_and_keeps_its_index() -> None:
    result, reports = check("gateway_auth_owners", ["a@b.c", 7, "d@e.f"])
    assert result == ["a@b.c", None, "d@e.f"]
    assert reports == [("gateway_auth_owners[1]", "type")]


def test_nested_defaults_are_filled_in() -> None:
    result, reports = check("gateway_auth_session", {"expire": "4h"})
    assert result == {"expire": "4h", "refresh": "45m", "scope": "host"}
    assert reports == []


def test_defaults_are_not_shared() -> None:
    first, _reports = check("gateway_auth_resources", {})
    first["requests"]["cpu"] = "1"
    assert check("gateway_auth_resources", {})[0]["requests"]["cpu"] == "10m"
    VARIABLES["gateway_auth_admin_groups"].default_value().append("x")
    assert VARIABLES["gateway_auth_admin_groups"].default_value() == []


def test_a_misspelt_required_key_is_one_finding() -> None:
    _result, reports = check("gateway_auth_apps", [{"nam": "x", "service": {"name": "s", "port": 1}}])
    assert reports == [("gateway_auth_apps[0].nam", "unknown-key")]


def test_a_secret_is_not_looked_at() -> None:
    result, reports = check("gateway_auth_client_secret", {"value": _spec.WITHHELD})
    assert result["value"] is _spec.WITHHELD
    assert reports == []


@pytest.mark.parametrize(
    ("name", "near"),
    [("gateway_auth_replica", "gateway_auth_replicas"), ("gateway_auth_allowed_group", "gateway_auth_allowed_groups"), ("gateway_auth_zzz", "")],
    ids=["replica", "group", "nothing"],
)
def test_nearest(name: str, near: str) -> None:
    assert _spec.nearest(name, VARIABLES) == near
