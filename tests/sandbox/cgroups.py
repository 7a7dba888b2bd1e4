# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's own control group: everything the sandbox starts is in it, and it is ended by its process list.

cgroup v1: a child of the current group in each hierarchy. cgroup v2: a child of the nearest ancestor that hands out
the controllers Kubernetes needs. Only the v1 branch is exercised on the machines this was written on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .processes import wait_for
from .settings import SandboxError

NEEDED = frozenset({"cpu", "memory", "pids"})
SKIPPED = frozenset({"hugetlb", "rdma", "misc", "net_cls", "net_prio", "perf_event", "net_cls,net_prio"})
SEARCH_DEPTH = 5


@dataclass(frozen=True)
class Hierarchy:
    """One mounted hierarchy and where this process is in it. ``controllers`` is empty for v2."""

    controllers: str
    mount: Path
    current: Path


@dataclass(frozen=True)
class Groups:
    """The cluster's group in each hierarchy."""

    version: int
    controllers: list[str]
    paths: list[Path]


def parse_hierarchies(proc_cgroup: str, mountinfo: str) -> list[Hierarchy]:
    """Join /proc/self/cgroup and /proc/self/mountinfo."""
    mounts: dict[str, tuple[str, Path]] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(), right.split()
        if not kinds or kinds[0] not in ("cgroup", "cgroup2"):
            continue
        root, point = fields[3], Path(fields[4])
        if kinds[0] == "cgroup2":
            mounts.setdefault("", (root, point))
            continue
        for option in kinds[2].split(","):
            mounts.setdefault(option, (root, point))
    found = []
    for line in proc_cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        entry = mounts.get(controllers.split(",")[0])
        if entry is None:
            continue
        root, point = entry
        # Without a cgroup namespace of its own, a container sees a mount whose root is its own group.
        if root != "/" and (path == root or path.startswith(root + "/")):
            path = path[len(root) :]
        found.append(Hierarchy(controllers, point, point / path.lstrip("/")))
    return found


def hierarchies() -> list[Hierarchy]:
    return parse_hierarchies(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())


def version(found: Iterable[Hierarchy]) -> int:
    """2 if the controllers are on the unified hierarchy, as opposed to an empty one beside v1."""
    by_name = {h.controllers: h for h in found}
    for name in by_name:
        if "memory" in name.split(","):
            return 1
    unified = by_name.get("")
    if unified is not None and "memory" in _words(unified.mount / "cgroup.controllers"):
        return 2
    raise SandboxError("Expected the memory cgroup controller (v1 or v2), found neither. Enable it (cgroup_enable=memory).")


def plan(name: str) -> Groups:
    """Where the cluster's groups will be; creates nothing."""
    found = hierarchies()
    if version(found) == 1:
        used = [h for h in found if h.controllers and h.controllers not in SKIPPED]
        return Groups(1, [h.controllers for h in used], [h.current / name for h in used])
    unified = next(h for h in found if h.controllers == "")
    return Groups(2, [], [_v2_parent(unified) / name])


def _v2_parent(unified: Hierarchy) -> Path:
    """The nearest ancestor whose children get the controllers; the root is asked to hand them out if none does."""
    group = unified.current
    while True:
        if _words(group / "cgroup.subtree_control") >= NEEDED:
            return group
        if group == unified.mount:
            break
        group = group.parent
    try:
        (unified.mount / "cgroup.subtree_control").write_text(" ".join(f"+{c}" for c in sorted(NEEDED)))
    except OSError as exc:
        raise SandboxError(
            f"Expected the cgroup controllers {', '.join(sorted(NEEDED))} to be handed out by {unified.mount} or a group "
            f"below it, and couldn't switch them on ({exc.strerror}). In a container: start it with a delegated cgroup "
            "(docker run --privileged --cgroupns=private, with an init that moves its processes into a leaf)."
        ) from exc
    return unified.mount


def create(groups: Groups) -> None:
    for path in groups.paths:
        try:
            path.mkdir(exist_ok=True)
        except OSError as exc:
            raise SandboxError(f"Can't create the cgroup {path}: {exc.strerror}. Root with a writable /sys/fs/cgroup is needed.") from exc
        if (path / "cpuset.cpus").exists() and groups.version == 1:
            for item in ("cpuset.cpus", "cpuset.mems"):
                (path / item).write_text((path.parent / item).read_text())
            (path / "cgroup.clone_children").write_text("1")


def join(paths: Iterable[Path]) -> None:
    """Move the calling process in. Used between fork and exec."""
    for path in paths:
        fd = os.open(path / "cgroup.procs", os.O_WRONLY)
        try:
            os.write(fd, b"0")
        finally:
            os.close(fd)


def find(name: str, recorded: Iterable[Path] = ()) -> list[Path]:
    """Every group of that name on the machine, recorded or not: a record may be lost, a group can't hide."""
    found = {path for path in recorded if path.is_dir()}
    for hierarchy in hierarchies():
        found.update(_search(hierarchy.mount, name, SEARCH_DEPTH))
    return sorted(found)


def _search(folder: Path, name: str, depth: int) -> Iterator[Path]:
    try:
        children = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for child in children:
        if child.name == name:
            yield child
        elif depth > 1:
            yield from _search(child, name, depth - 1)


def members(paths: Iterable[Path]) -> set[int]:
    pids: set[int] = set()
    for path in paths:
        for folder, _, files in os.walk(path):
            if "cgroup.procs" in files:
                try:
                    pids.update(int(pid) for pid in Path(folder, "cgroup.procs").read_text().split())
                except OSError:
                    continue
    pids.discard(0)
    return pids


def destroy(paths: list[Path], seconds: float = 15) -> int:
    """End every process of the groups and remove them. Returns how many processes were ended."""
    ended: set[int] = set()

    def empty() -> bool | None:
        pids = members(paths)
        if not pids:
            return True
        ended.update(pids)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return None

    def removed() -> bool | None:
        for path in paths:
            for folder, _, _ in os.walk(path, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    continue
        return True if not any(path.exists() for path in paths) else None

    wait_for("all processes of the sandbox to end after SIGKILL", empty, seconds)
    wait_for("the sandbox's cgroups to be removable", removed, seconds)
    return len(ended)


def _words(path: Path) -> set[str]:
    try:
        return set(path.read_text().split())
    except OSError:
        return set()
