# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of collections beside ours."""

from __future__ import annotations

import json
import pathlib
import sys

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._collections import collection_version


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A collection unit.example on the path of the interpreter."""
    collection = tmp_path / "ansible_collections/unit/example"
    collection.mkdir(parents=True)
    package = sys.modules["ansible_collections"]
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "ansible_collections")])
    for name in ("ansible_collections.unit", "ansible_collections.unit.example"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return collection


def _manifest(folder: pathlib.Path, content: str) -> None:
    (folder / "MANIFEST.json").write_text(content, encoding="utf-8")


def test_the_real_one() -> None:
    assert int(collection_version("kubernetes.core").partition(".")[0]) >= 6


def test_from_its_manifest(folder: pathlib.Path) -> None:
    _manifest(folder, json.dumps({"collection_info": {"version": "1.2.3"}}))
    assert collection_version("unit.example") == "1.2.3"


def test_one_that_is_not_installed() -> None:
    with pytest.raises(GatewayAuthError) as error:
        collection_version("nobody.nothing")
    assert "nobody.nothing" in error.value.message and "ansible-galaxy" in error.value.remedy


@pytest.mark.parametrize("content", [None, "", "{", "{}", '{"collection_info": {}}'], ids=["none", "empty", "cut", "no info", "no version"])
def test_a_manifest_that_can_not_be_read(folder: pathlib.Path, content: str | None) -> None:
    if content is not None:
        _manifest(folder, content)
    with pytest.raises(GatewayAuthError) as error:
        collection_version("unit.example")
    assert "unit.example" in error.value.message and "MANIFEST.json" in error.value.message
    assert str(folder) in error.value.message
