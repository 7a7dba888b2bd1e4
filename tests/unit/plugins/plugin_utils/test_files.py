# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports are written whole, and an impossible one is refused at once."""

from __future__ import annotations

import json
import pathlib

import pytest
from ansible.errors import AnsibleError

from ansible_collections.platform.gateway_auth.plugins.plugin_utils._files import check_report, repository, write_report, write_whole


def test_a_file_is_written_whole_with_its_folder(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new" / "report.json"
    write_whole(str(path), "1", "-e report")
    write_whole(str(path), "2", "-e report")
    assert path.read_text() == "2"
    assert [item.name for item in path.parent.iterdir()] == ["report.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_file_that_cannot_be_written_names_the_option_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in ("file/report.json", "folder"):
        with pytest.raises(AnsibleError, match="-e report"):
            write_whole(str(tmp_path / path), "x", "-e report")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    ("path", "word"),
    [("report.txt", r"\.sarif"), ("report", r"\.xml"), ("report.SARIF", r"\.json"), ("folder.xml", "folder"), ("file/report.json", "dest")],
)
def test_an_impossible_report_is_refused_before_it_is_due(tmp_path: pathlib.Path, path: str, word: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.xml").mkdir()
    with pytest.raises(AnsibleError, match=word):
        check_report(str(tmp_path / path))


def test_a_possible_one_is_only_tried(tmp_path: pathlib.Path) -> None:
    (tmp_path / "old.sarif").write_text("old")
    check_report(str(tmp_path / "old.sarif"))
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [("old.sarif", "old")]


@pytest.mark.parametrize("name", ["a.json", "a.sarif", "a.xml"])
def test_the_ending_says_the_form(tmp_path: pathlib.Path, name: str) -> None:
    write_report(str(tmp_path / name), [], ["team-a"], ["team-a"], [str(tmp_path)])
    text = (tmp_path / name).read_text()
    assert {"a.json": "team-a", "a.sarif": "2.1.0", "a.xml": "<testsuites"}[name] in text
    assert name.endswith(".xml") or json.loads(text)


def test_locations_begin_at_the_checkout_that_holds_the_inventory(tmp_path: pathlib.Path) -> None:
    inventory = tmp_path / "repository" / "inventories" / "prod"
    inventory.mkdir(parents=True)
    (inventory / "hosts.yml").write_text("")
    assert repository(str(inventory / "hosts.yml")) == str(inventory)
    (tmp_path / "repository" / ".git").mkdir()
    assert repository(str(inventory / "hosts.yml")) == repository(str(inventory)) == str(tmp_path / "repository")
