# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal: what was asked of the double, for tests to read. It never holds a secret, a token, a code or a query."""

from __future__ import annotations

import collections
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from .errors import entra_timestamp

LIMIT: Final = 20000


@dataclass
class Entry:
    """One request; filled in while it is being answered.

    `aadsts` is the code of a refusal by the token service, `error` that of one by Graph. `write` says that the request asks
    Graph for a change, whatever came of it. A request whose connection a fault cut has a status only where it was executed.
    """

    time: str
    host: str
    method: str
    path: str
    client_id: str | None = None
    user: str | None = None
    grant_type: str | None = None
    status: int | None = None
    aadsts: int | None = None
    error: str | None = None
    write: bool = False
    fault: bool = False


class Journal:
    """The last requests in memory, and all of them as lines of a log file."""

    def __init__(self, log: Path | None) -> None:
        self._entries: collections.deque[Entry] = collections.deque(maxlen=LIMIT)
        self._stream = None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._stream = os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._write(asdict(entry))

    def note(self, at: float, event: str) -> None:
        """Write a line about the double itself to the log file."""
        self._write({"time": entra_timestamp(at), "event": event})

    def documents(self) -> list[dict[str, object]]:
        return [asdict(entry) for entry in self._entries]

    def clear(self) -> None:
        self._entries.clear()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _write(self, document: dict[str, object]) -> None:
        if self._stream is not None:
            self._stream.write(json.dumps(document) + "\n")
