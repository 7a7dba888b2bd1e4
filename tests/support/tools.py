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


def oauth2_proxy() -> str:
    """The real oauth2-proxy: what OAUTH2_PROXY_BIN says, or the newest one that the sandbox has built; empty if there is none."""
    if given := os.environ.get("OAUTH2_PROXY_BIN"):
        return given
    user = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "gateway-auth-sandbox"
    built = pathlib.Path(os.environ.get("GATEWAY_AUTH_CACHE") or user).glob("oauth2-proxy-*/oauth2-proxy")
    return str(max(built, key=lambda path: path.stat().st_mtime, default=""))
