# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take one team's outcome of a batched phase: report it, or fail this host alone."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Cheap on purpose: it runs for every host after every phase."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _unused, options = self.validate_argument_spec({"outcome": {"type": "dict", "required": True}})
        outcome = options["outcome"]
        result.update({key: outcome.get(key) for key in ("changed", "failed", "msg", "changes", "data")})
        if self._task.diff and outcome.get("diff"):
            result["diff"] = outcome["diff"]
        return result
