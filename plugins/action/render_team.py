# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write each team of the batch as a folder of files for GitOps."""

from __future__ import annotations

import pathlib
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._render import is_ours, render_team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._batch import BatchAction, Outcome


class ActionModule(BatchAction):
    """Needs no cluster: everything follows from the compiled model."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {"dest": {"type": "path", "default": "rendered"}}

    def for_team(self, team: Team) -> Outcome:
        folder = pathlib.Path(self.options["dest"]).absolute() / team.name
        authority = pathlib.Path(team.probe.ca_file).expanduser() if team.probe.ca_file else None
        # Rendering must work before there is a gateway, so a CA that isn't there yet is no error: the Job then stays unproven.
        missing = authority is not None and not authority.exists()
        wanted = render_team(team, _read(authority) if authority is not None and not missing else "")
        outcome = Outcome(data={"folder": str(folder)})
        if missing:
            outcome.msg = f"gateway_auth_probe.ca_file {authority} is not there; render again when it is, or the Jobs will trust public CAs only."
        try:
            present = {str(path.relative_to(folder)): _read(path) for path in sorted(folder.rglob("*")) if path.is_file()}
            foreign = [name for name in wanted if name in present and not is_ours(present[name])]
            if foreign:
                raise GatewayAuthError(
                    f"{folder / foreign[0]} exists and was not rendered by this collection; it was left alone.",
                    "Move it away, or give another folder: -e dest=…",
                )
            for name, content in wanted.items():
                if present.get(name) != content:
                    self._settle(outcome, folder, name, present.get(name), content)
            for name, content in present.items():
                if name not in wanted and is_ours(content):
                    self._settle(outcome, folder, name, content, None)
        except OSError as exc:
            raise GatewayAuthError(f"Could not write {exc.filename}: {exc.strerror}.", "Give a folder that this user may write: -e dest=…") from exc
        return outcome

    def _settle(self, outcome: Outcome, folder: pathlib.Path, name: str, before: str | None, after: str | None) -> None:
        path = folder / name
        action = "create" if before is None else "delete" if after is None else "update"
        reason = {"create": "not there yet", "update": "content differs", "delete": "no longer follows from the inventory"}[action]
        outcome.changed = True
        outcome.changes.append({"action": action, "object": f"file {path}", "reasons": [reason]})
        outcome.diff.append({"before_header": str(path), "after_header": str(path), "before": before or "", "after": after or ""})
        if self.check_mode:
            return
        if after is None:
            path.unlink()
            if path.parent != folder and not any(path.parent.iterdir()):
                path.parent.rmdir()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(after, encoding="utf-8")


def _read(path: pathlib.Path) -> str:
    """Whatever else lies in the folder need not be text."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as exc:
        raise GatewayAuthError(f"Could not read {path}: {exc.strerror}.", "Check the path and its permissions.") from exc
