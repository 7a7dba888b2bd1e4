# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox's promises about the machine. ``make soak`` runs this: ``pytest -m slow tests/sandbox/test_lifecycle.py``.

Each test works on copies of the checkout, so a sandbox that runs for this one is left alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from . import cgroups, health, state
from .assets import Cache
from .images import library_path
from .processes import Process, wait_for
from .settings import CHECKOUT, Layout, cache_folder

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="the embedded cluster needs root")]

UP_SECONDS = 25 * 60  # with an empty cache
DOWN_SECONDS = 60
SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "net/ipv4/ip_forward")


@dataclass(frozen=True)
class Machine:
    """What a sandbox must leave as it found it."""

    mounts: frozenset[str]
    interfaces: frozenset[str]
    sysctls: tuple[str, ...]
    firewall: str
    folders: frozenset[str]

    @classmethod
    def now(cls) -> Machine:
        debian = next(cache_folder().glob("debian-*"), None)
        firewall = ""
        if debian is not None:
            env = {**os.environ, "LD_LIBRARY_PATH": library_path(debian)}
            firewall = subprocess.run([debian / "usr/sbin/nft", "list", "ruleset"], env=env, capture_output=True, text=True, timeout=30, check=False).stdout
        return cls(
            # The first fields are numbers that a remount by somebody else would change.
            mounts=frozenset(line.split(" ", 3)[3] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
            interfaces=frozenset(os.listdir("/sys/class/net")),
            sysctls=tuple(Path("/proc/sys", name).read_text() for name in SYSCTLS),
            firewall=firewall,
            folders=frozenset(str(path) for path in map(Path, ("/var/lib/cni", "/var/lib/kubelet", "/opt/containerd", "/etc/cni")) if path.exists()),
        )


def test_the_proxys_own_tests() -> None:
    cache = Cache(cache_folder())
    assert cache.go_version
    module = CHECKOUT / "tests" / "sandbox" / "go" / "sandboxd"
    for arguments in (["vet", "./..."], ["test", "./..."]):
        done = subprocess.run(["go", *arguments], cwd=module, env=cache.go_env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def copy_of_checkout(folder: Path) -> Layout:
    """What the sandbox needs of a checkout, and no state."""
    for name in ("__init__.py", "sandbox"):
        source = CHECKOUT / "tests" / name
        target = folder / "tests" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, target)
    return Layout(checkout=folder, cache=cache_folder())


def command(layout: Layout, name: str, seconds: float) -> str:
    done = subprocess.run([sys.executable, "-m", "tests.sandbox", name], cwd=layout.checkout, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{name} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


def left_of(layout: Layout) -> list[str]:
    """Processes, cgroups and files that belong to a sandbox."""
    found = [str(path) for path in cgroups.find(layout.cgroup_name)]
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes() + (entry / "cgroup").read_bytes()
            cwd = os.readlink(entry / "cwd")
        except OSError:
            continue
        if layout.cgroup_name.encode() in words or str(layout.state).encode() in words or cwd.startswith(str(layout.checkout)):
            found.append(f"process {entry.name}: {words[:200]!r}")
    kept = {"ports.json", "lock"}
    found += [str(path) for path in layout.state.iterdir() if path.name not in kept]
    return found


def pid_of(layout: Layout, what: str) -> int:
    """A process of the sandbox by its component's name."""
    record = state.read_record(layout)
    if what in ("init", "proxy"):
        return int(record["processes"][what]["pid"])
    for pid in cgroups.members([Path(path) for path in record["cgroups"]]):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if Path(os.fsdecode(words[0])).name == what or (len(words) > 1 and words[1] == what.encode()):
            return pid
    raise AssertionError(f"no process {what} in the sandbox")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Layout]:
    layout = copy_of_checkout(tmp_path / "a")
    layout.state.mkdir()
    yield layout
    command(layout, "down", DOWN_SECONDS)


def test_up_again_changes_nothing_and_is_fast(sandbox: Layout) -> None:
    before = Machine.now()
    command(sandbox, "up", UP_SECONDS)
    assert replace(Machine.now(), folders=before.folders) == before
    record = sandbox.record.read_text()
    began = time.monotonic()
    command(sandbox, "up", 30)
    assert time.monotonic() - began < 2
    assert sandbox.record.read_text() == record
    command(sandbox, "down", DOWN_SECONDS)
    assert left_of(sandbox) == []
    assert Machine.now() == before


@pytest.mark.parametrize("victim", ["unshare", "init", "proxy", "kube-apiserver", "containerd", "envoy"])
def test_down_leaves_nothing_after_a_kill(sandbox: Layout, victim: str) -> None:
    before = Machine.now()
    command(sandbox, "up", UP_SECONDS)
    os.kill(pid_of(sandbox, victim), signal.SIGKILL)
    command(sandbox, "down", DOWN_SECONDS)
    assert left_of(sandbox) == []
    assert Machine.now() == before


def test_a_dead_component_ends_the_cluster_with_a_reason(sandbox: Layout) -> None:
    command(sandbox, "up", UP_SECONDS)
    os.kill(pid_of(sandbox, "kube-scheduler"), signal.SIGKILL)
    processes = [Process.from_json(process) for process in state.read_record(sandbox)["processes"].values()]
    wait_for("the cluster and its proxy to end", lambda: None if any(p.alive() for p in processes) else True, 20)
    wrong = health.healthy(sandbox)
    assert wrong is not None
    assert "kube-scheduler" in wrong
    assert "signal 9" in wrong
    # And the next up begins anew.
    command(sandbox, "up", UP_SECONDS)
    assert health.healthy(sandbox) is None


def test_up_after_an_aborted_up(sandbox: Layout) -> None:
    starting = subprocess.Popen([sys.executable, "-m", "tests.sandbox", "up"], cwd=sandbox.checkout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for("the first up to have started PID 1", lambda: True if (sandbox.run / "init.pid").exists() else None, UP_SECONDS)
    finally:
        starting.kill()
        starting.wait(10)
    command(sandbox, "up", UP_SECONDS)
    assert health.healthy(sandbox) is None


def test_a_long_path_with_a_space(tmp_path: Path) -> None:
    layout = copy_of_checkout(tmp_path / ("a long folder name " * 6).strip())
    layout.state.mkdir()
    try:
        command(layout, "up", UP_SECONDS)
        assert health.healthy(layout) is None
    finally:
        command(layout, "down", DOWN_SECONDS)
    assert left_of(layout) == []


def test_down_finds_the_cluster_without_its_state(sandbox: Layout) -> None:
    command(sandbox, "up", UP_SECONDS)
    shutil.rmtree(sandbox.state, ignore_errors=True)
    command(sandbox, "down", DOWN_SECONDS)
    assert left_of(sandbox) == []


def test_two_checkouts_do_not_collide(sandbox: Layout, tmp_path: Path) -> None:
    other = copy_of_checkout(tmp_path / "b")
    other.state.mkdir()
    try:
        for layout in (sandbox, other):
            command(layout, "up", UP_SECONDS)
        assert health.healthy(sandbox) is None
        assert health.healthy(other) is None
        ports = [state.read_ports(layout) for layout in (sandbox, other)]
        assert len({port for p in ports for port in (p.api, p.proxy, p.entra_admin)}) == 6
        assert health.door(ports[0], "health.gateway-auth.test", sandbox.ca) == 404
    finally:
        command(other, "down", DOWN_SECONDS)
    assert left_of(other) == []
    assert health.healthy(sandbox) is None


def test_a_warm_cache_builds_nothing(sandbox: Layout) -> None:
    command(sandbox, "build", UP_SECONDS)
    cache = Cache(cache_folder())
    cache.everything()
    assert cache.seconds == {}
