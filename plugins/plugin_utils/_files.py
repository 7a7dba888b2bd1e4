# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports as files on the controller: whole or not at all, and an impossible one is refused before anything else is done."""

from __future__ import annotations

import collections.abc
import os
import pathlib
import tempfile

from ansible.errors import AnsibleError

from ansible_collections.platform.gateway_auth.plugins.module_utils import _reports
from ansible_collections.platform.gateway_auth.plugins.module_utils._findings import Finding


def write_whole(path: str, text: str, option: str) -> None:
    """Write a file so that a reader never sees half of it. ``option`` is what the user gave the path in.

    Raises AnsibleError if that can't be done.
    """
    target = pathlib.Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=f".{target.name}.", delete=False, encoding="utf-8") as file:
            whole = pathlib.Path(file.name)
            try:
                file.write(text)
                file.flush()
                whole.chmod(0o644)
                whole.replace(target)
            except OSError:
                whole.unlink(missing_ok=True)
                raise
    except OSError as exc:
        raise AnsibleError(f"The report can't be written to {path}: {exc.strerror}. Give another path with {option}.") from exc


def check_report(path: str) -> None:
    """Whether a report of findings can be written there. Raises AnsibleError if it can't."""
    target = pathlib.Path(path)
    if target.suffix not in _reports.FORMATS:
        known = ", ".join(sorted(_reports.FORMATS))
        raise AnsibleError(f"Expected -e dest to name a file that ends in one of {known}, found '{path}'. Change -e dest.")
    if target.is_dir():
        raise AnsibleError(f"Expected -e dest to name a file, found the folder '{path}'. Change -e dest.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}."):
            pass
    except OSError as exc:
        raise AnsibleError(f"The report can't be written to {path}: {exc.strerror}. Change -e dest.") from exc


def write_report(
    path: str,
    findings: collections.abc.Iterable[Finding],
    teams: collections.abc.Iterable[str],
    addressed: collections.abc.Iterable[str],
    sources: collections.abc.Sequence[str],
) -> None:
    """Write findings in the form that the file's ending names. ``sources`` are the inventory's."""
    inventory = next((source for source in sources if os.path.exists(source)), os.getcwd())
    found = _reports.Validation(tuple(findings), tuple(teams), tuple(addressed), repository(inventory), inventory)
    write_whole(path, _reports.FORMATS[pathlib.Path(path).suffix](found), "-e dest")


def repository(inventory: str) -> str:
    """The root of the checkout that holds an inventory; else the inventory's own folder."""
    folder = pathlib.Path(os.path.realpath(inventory))
    folder = folder if folder.is_dir() else folder.parent
    return str(next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder))
