# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Client secrets of the cast, kept as files for the playbooks to read and never anywhere else."""

from __future__ import annotations

import os
import re
import secrets
import string
from pathlib import Path
from typing import Final

from .directory import Application, DirectoryError, PasswordCredential

_LETTERS: Final = string.ascii_letters + string.digits
# Entra's alphabet: what breaks naive quoting, URL encoding and Basic authentication has to occur in tests too.
_ALPHABET: Final = _LETTERS + "~._-"
_SHAPE: Final = re.compile(r"[A-Za-z0-9~._-]{40}")


def new_secret() -> str:
    """Return 40 characters as Entra makes them (`abc8Q~…`), with each special character at least once."""
    while True:
        value = "".join(secrets.choice(_LETTERS) for _ in range(3)) + "8Q~"
        value += "".join(secrets.choice(_ALPHABET) for _ in range(34))
        if all(mark in value for mark in "~._-"):
            return value


class SecretsDir:
    """One file per application, `<name>.secret`, mode 0600, without a newline."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _file(self, app: Application) -> Path:
        return self.path / f"{app.name}.secret"

    def read(self, app: Application) -> str | None:
        """Return the kept secret, or None where there is none yet."""
        file = self._file(app)
        try:
            value = file.read_text("utf-8")
        except FileNotFoundError:
            return None
        if not _SHAPE.fullmatch(value):
            raise DirectoryError(f"{file}: expected 40 characters of a client secret without a newline; remove the file")
        file.chmod(0o600)
        return value

    def write(self, app: Application, value: str) -> None:
        """Replace the file in one step, so that a reader never sees half a secret."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.path / f".{app.name}.{os.getpid()}.tmp"
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(value)
        draft.replace(self._file(app))

    def ensure(self, app: Application, now: float) -> None:
        """Give the application the kept secret, or a new one."""
        value = self.read(app)
        if value is None:
            value = new_secret()
            self.write(app, value)
        app.password_credentials = [PasswordCredential.of(value, now)]

    def renew(self, app: Application, now: float) -> PasswordCredential:
        """Give the application a new secret in place of all others."""
        value = new_secret()
        self.write(app, value)
        app.password_credentials = [PasswordCredential.of(value, now)]
        return app.password_credentials[0]
