# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a command and say what it cost: wall and CPU time, peak memory, processes, API calls."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

from tests.e2e.sandbox import ROOT, Sandbox

USER = "kubernetes-admin"
SAMPLE = 0.05


@dataclasses.dataclass(frozen=True)
class Cost:
    wall: float  # s
    cpu: float  # s, user and system, children included
    memory: float  # MiB, the most that all its processes held at one moment (proportional share)
    programs: int | None  # execve calls that succeeded; None when not counted
    calls: int  # requests of any kind that reached the API server
    fastest: float = 0.0  # s, the shortest of several walls

    @staticmethod
    def median(costs: list[Cost]) -> Cost:
        return Cost(
            statistics.median(cost.wall for cost in costs),
            statistics.median(cost.cpu for cost in costs),
            statistics.median(cost.memory for cost in costs),
            None,
            int(statistics.median(cost.calls for cost in costs)),
            min(cost.wall for cost in costs),
        )


class _Memory(threading.Thread):
    """Samples the proportional set size of a process tree."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root, self.peak, self.ended = root, 0.0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(SAMPLE):
            self.peak = max(self.peak, sum(_pss(pid) for pid in _tree(self.root)) / 1024)


def _tree(root: int) -> list[int]:
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                todo += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def _pss(pid: int) -> int:
    try:
        match = re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0


def _calls(log: pathlib.Path, since: int) -> int:
    with log.open("rb") as lines:
        lines.seek(since)
        events = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return sum(event.get("stage") == "ResponseComplete" and event["user"]["username"] == USER for event in events)


def run(sandbox: Sandbox, command: list[str], env: dict[str, str] | None = None) -> Cost:
    """The command's cost but for its programs, which would cost time to count."""
    log = sandbox.audit_log
    since = log.stat().st_size
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(command, env={**sandbox.env, **(env or {})}, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        memory = _Memory(child.pid)
        memory.start()
        status = child.wait()
        wall = time.monotonic() - began
        memory.ended.set()
        memory.join()
        if status:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {status}:\n{output.read().decode(errors='replace')[-4000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, memory.peak, None, _calls(log, since))


def programs(sandbox: Sandbox, command: list[str], env: dict[str, str] | None = None) -> int | None:
    """How many programs a command starts, in a run of its own under strace; None where that isn't installed."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        trace = pathlib.Path(folder) / "trace"
        traced = [strace, "--follow-forks", "--quiet=all", "--trace=execve", "--seccomp-bpf", "--successful-only", f"--output={trace}", *command]
        done = subprocess.run(traced, env={**sandbox.env, **(env or {})}, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(traced)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return sum("execve(" in line for line in trace.read_text().splitlines())


def machine() -> str:
    model = re.search(r"^model name\s*:\s*(.+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{os.cpu_count()} cores" + (f" ({model[1]})" if model else "")
