# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that some tests need and that the sandbox brings along."""

from __future__ import annotations

import os
import pathlib
import shutil

_SANDBOX = pathlib.Path(__file__).parents[2] / ".sandbox" / "bin"


def tool(name: str) -> str:
    """Path of a program: what the variable of its name in capitals says, on PATH, or the sandbox's; empty if there is none."""
    found = os.environ.get(name.upper()) or shutil.which(name) or shutil.which(name, path=str(_SANDBOX))
    return found or ""
