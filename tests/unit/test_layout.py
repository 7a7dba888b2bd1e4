# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of the repository's layout: nothing public without documentation and a test."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted((ROOT / "playbooks").glob("[a-z]*.yml"))
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("[a-z]*.py"))
ACTIONS = sorted(path.stem for path in (PLUGINS / "action").glob("[a-z]*.py"))
# A module's file is its action's documentation, and ansible-test sanity is its test; so the action's test is looked for.
CODE = sorted(
    path for kind in ("action", "filter", "lookup", "module_utils", "plugin_utils") for path in (PLUGINS / kind).rglob("*.py") if path.name != "__init__.py"
)


def load(path: pathlib.Path) -> object:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("plugin", CODE, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_every_plugin_has_its_test(plugin: pathlib.Path) -> None:
    folder = ROOT / "tests" / "unit" / "plugins" / plugin.parent.relative_to(PLUGINS)
    names = {path.stem for path in folder.glob("test_*.py")}
    wanted = f"test_{plugin.stem.lstrip('_')}"
    assert any(name == wanted or name.startswith(wanted + "_") for name in names), f"expected {folder.relative_to(ROOT)}/{wanted}.py"


def test_every_action_has_a_documented_module_and_no_module_is_without() -> None:
    assert ACTIONS == MODULES


def test_module_defaults_reach_every_module() -> None:
    groups = load(ROOT / "meta" / "runtime.yml")["action_groups"]  # type: ignore[index]
    assert sorted(groups["all"]) == MODULES


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_every_role_is_documented_and_runs_in_a_playbook(role: pathlib.Path) -> None:
    assert (role / "README.md").exists()
    assert (role / "meta" / "main.yml").exists()
    assert (role / "tasks" / "main.yml").exists()
    name = f"platform.gateway_auth.{role.name}"
    used = rf"{re.escape(name)}\b|\.\./roles/{role.name}/tasks/"
    users = [path for path in (ROOT / "playbooks").rglob("*.yml") if re.search(used, path.read_text(encoding="utf-8"))]
    assert users, f"no playbook uses role {role.name}"


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_only_the_contract_role_has_inputs(role: pathlib.Path) -> None:
    contract = role.name == "gateway_auth"
    assert (role / "meta" / "argument_specs.yml").exists() is contract
    assert (role / "defaults" / "main.yml").exists() is contract
    if not contract:
        dependencies = load(role / "meta" / "main.yml")["dependencies"]  # type: ignore[index]
        assert [entry if isinstance(entry, str) else entry.get("role") for entry in dependencies] == ["platform.gateway_auth.gateway_auth"]


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_every_playbook_is_run_by_a_test(playbook: pathlib.Path) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", playbook.stem), "expected verb_noun"
    tests = [path for folder in ("tests", "molecule") for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".sh", ".yml")]
    assert any(playbook.stem in path.read_text(encoding="utf-8") for path in tests if path != pathlib.Path(__file__))


@pytest.mark.parametrize("path", sorted(path for folder in ("plugins", "tests") for path in (ROOT / folder).rglob("*.py") if path.stat().st_size), ids=str)
def test_every_file_states_its_licence(path: pathlib.Path) -> None:
    head = path.read_text(encoding="utf-8")[:400]
    assert "GNU General Public License v3.0+" in head
    assert "SPDX-License-Identifier: GPL-3.0-or-later" in head
