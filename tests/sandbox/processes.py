# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running commands and waiting: everything here has a bound and says what it waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .settings import SandboxError

T = TypeVar("T")
POLL_SECONDS = 0.05


def say(message: str) -> None:
    print(message, flush=True)


def warn(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def tail(path: Path, lines: int = 25) -> str:
    """The end of a log, indented, for an error message."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 65536))
            text = file.read().decode(errors="replace")
    except OSError as exc:
        return f"  | (no log: {exc})"
    return "\n".join(f"  | {line}" for line in text.splitlines()[-lines:])


def wait_for(
    what: str,
    probe: Callable[[], T | None],
    seconds: float,
    log: Path | None = None,
    every: float = POLL_SECONDS,
) -> T:
    """Call ``probe`` until it returns something other than None; at the end of the time, say what was missing."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            end = f"\nEnd of {log.name}:\n{tail(log)}" if log else ""
            raise SandboxError(f"Waited {seconds:.0f} s in vain for {what}.{end}")
        time.sleep(every)


def run(
    argv: Sequence[str | Path],
    what: str,
    seconds: float,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> str:
    """Run a command to its end and return its output; a failure carries the end of what it said."""
    try:
        done = subprocess.run(
            [str(part) for part in argv],
            capture_output=True,
            text=True,
            timeout=seconds,
            env=None if env is None else dict(env),
            cwd=cwd,
            input=stdin if stdin is not None else "",
            check=False,
        )
    except FileNotFoundError as exc:
        raise SandboxError(f"{what}: the command {argv[0]} is missing.") from exc
    except subprocess.TimeoutExpired as exc:
        raise SandboxError(f"{what}: not done within {seconds:.0f} s ({' '.join(map(str, argv[:4]))} …).") from exc
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-25:]
        raise SandboxError(f"{what}: exit code {done.returncode}.\n" + "\n".join(f"  | {line}" for line in said))
    return done.stdout


@dataclass(frozen=True)
class Process:
    """A process by id and start time, so that a reused id is never taken for it."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        started = start_time(pid)
        return None if started is None else cls(pid, started)

    def alive(self) -> bool:
        return start_time(self.pid) == self.started

    def as_json(self) -> dict[str, int]:
        return {"pid": self.pid, "started": self.started}

    @classmethod
    def from_json(cls, data: Mapping[str, int]) -> Process:
        return cls(pid=int(data["pid"]), started=int(data["started"]))


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat in clock ticks; None if there is no such process or it is only a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])
