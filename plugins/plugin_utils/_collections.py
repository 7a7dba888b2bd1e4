# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What other collections are installed beside ours."""

from __future__ import annotations

import importlib
import json
import os

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError


def collection_version(name: str) -> str:
    """Version of an installed collection (``kubernetes.core`` -> ``6.6.0``), from its MANIFEST.json."""
    try:
        package = importlib.import_module(f"ansible_collections.{name}")
    except ImportError as exc:
        raise GatewayAuthError(f"Collection {name} is not installed.", f"Install it: ansible-galaxy collection install {name}.") from exc
    folder = os.path.dirname(str(package.__file__)) if package.__file__ else next(iter(package.__path__))
    try:
        with open(os.path.join(folder, "MANIFEST.json"), encoding="utf-8") as handle:
            return str(json.load(handle)["collection_info"]["version"])
    except (OSError, ValueError, KeyError) as exc:
        raise GatewayAuthError(f"Collection {name} at {folder} has no readable MANIFEST.json.", "Install it from Galaxy or a tarball.") from exc
