# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A copy of inventories/example that a test may bend."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import typing as t

import yaml

from .sandbox import HOME, ROOT

EXAMPLE = ROOT / "inventories" / "example"


class Inventory:
    """A folder with ``hosts.yml``, ``group_vars/teams.yml`` and ``host_vars/<team>.yml``."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    @classmethod
    def copy_example(cls, folder: pathlib.Path) -> Inventory:
        return cls(EXAMPLE).copy(folder)

    def copy(self, folder: pathlib.Path) -> Inventory:
        """A copy at the same depth, with the sandbox's files where the example looks for them."""
        target = folder / "inventories" / "copy"
        shutil.copytree(self.path, target)
        (folder / ".sandbox").symlink_to(HOME)
        return Inventory(target)

    @contextlib.contextmanager
    def _edit(self, path: pathlib.Path) -> t.Iterator[t.Any]:
        """The file as data; written back when the block ends."""
        data = yaml.safe_load(path.read_text()) if path.exists() else {}
        yield data
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))

    def team(self, name: str) -> contextlib.AbstractContextManager[t.Any]:
        """The team's own file."""
        return self._edit(self.path / "host_vars" / f"{name}.yml")

    def platform(self) -> contextlib.AbstractContextManager[t.Any]:
        """The platform's file."""
        return self._edit(self.path / "group_vars" / "teams.yml")

    def hosts(self) -> contextlib.AbstractContextManager[t.Any]:
        """The hosts file; ``["teams"]["hosts"]["team-a"]`` is what the platform sets for one team."""
        return self._edit(self.path / "hosts.yml")
