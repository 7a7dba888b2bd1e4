# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the end-to-end tests. They need the embedded cluster and say so; nothing is skipped in silence."""

from __future__ import annotations

import collections.abc
import pathlib

import pytest

from .inventory import Inventory
from .login import Browser
from .sandbox import Sandbox, SandboxMissing
from .workload import remove_identities


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-images", action="store_true", help="keep the browser's screenshot as docs/images/login.png")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = pathlib.Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.sandbox)


@pytest.fixture(scope="session")
def sandbox() -> collections.abc.Iterator[Sandbox]:
    try:
        found = Sandbox.find()
    except SandboxMissing as exc:
        pytest.fail(str(exc), pytrace=False)
    remove_identities(found)  # of a run that was killed
    yield found
    remove_identities(found)


@pytest.fixture(scope="session")
def example(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    """A copy of inventories/example whose teams have the echo app besides."""
    inventory = Inventory.copy_example(tmp_path_factory.mktemp("example"))
    for team in ("team-a", "team-b"):
        with inventory.team(team) as data:
            if not any(app["name"] == "echo" for app in data["gateway_auth_apps"]):
                data["gateway_auth_apps"].append({"name": "echo", "service": {"name": f"echo-{team}", "port": 8080}})
    return inventory


@pytest.fixture(scope="session")
def onboarded(sandbox: Sandbox, example: Inventory) -> Inventory:
    """Teams a and b are online."""
    sandbox.playbook("prepare_gateway", inventory=example.path).must()
    sandbox.playbook("onboard_team", inventory=example.path).must()
    return example


@pytest.fixture
def browser(sandbox: Sandbox) -> type[Browser]:
    """``browser("alice")``: a browser with no cookies yet."""

    class New(Browser):
        def __init__(self, user: str = "") -> None:
            super().__init__(sandbox, user)

    return New
