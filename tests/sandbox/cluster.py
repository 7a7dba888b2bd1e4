# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Up, down and status of the cluster that needs no container engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from . import cgroups, components, contents, images, pki
from .assets import GO_PROGRAMS, Cache, go_key
from .components import Ports
from .health import healthy, settled, tcp_open, why_ended
from .install import install
from .machine import check_machine
from .processes import Process, run, say, tail, wait_for, warn
from .settings import PACKAGE, Layout, SandboxError
from .state import choose_ports, exclusive, read_ports, read_record, summary, write_env, write_record


def up(layout: Layout) -> None:
    """Bring the cluster up; when it runs already, only look after it."""
    with exclusive(layout):
        wrong = settled(layout)
        if wrong is None:
            _renew_entra(layout)
            say(f"The sandbox runs already ({layout.env}).")
            _note_changes(layout)
            return
        if read_record(layout):
            say(f"[up] what ran before is renewed: {wrong}")
        began = time.monotonic()
        check_machine(layout)
        cache = Cache(layout.cache)
        inputs = cache.everything()
        store = images.store(cache, inputs)
        ended = clean(layout)
        if ended:
            say(f"[up] ended {ended} processes of an earlier run")
        built = time.monotonic()
        try:
            _start(layout, inputs, store, built)
        except BaseException:
            _end_processes(layout)  # logs and the run folder stay, to be read
            raise
        if built - began > 1:
            say(f"[up] {time.monotonic() - began:.1f} s in all, {built - began:.1f} s of them for builds and cleaning")
        say(summary(layout))


def _start(layout: Layout, inputs: dict[str, Path], store: Path, began: float) -> None:
    def step(what: str) -> None:
        say(f"[up] {time.monotonic() - began:5.1f} s  {what}")

    layout.run.mkdir(mode=0o700, parents=True)
    layout.logs.mkdir(mode=0o700)
    layout.entra_secrets.mkdir(mode=0o700, exist_ok=True)
    ports = choose_ports(layout)
    groups = cgroups.plan(layout.cgroup_name)
    record: dict[str, Any] = {"cgroups": [str(path) for path in groups.paths], "inputs": fingerprint(inputs, store)}
    write_record(layout, record)
    pki.write_cluster_pki(layout, pki.load_authority(inputs["ca"] / "private"), ports.api_url)
    shutil.copy(inputs["ca"] / "ca.crt", layout.ca)
    components.write_configs(layout, inputs, ports, groups)
    images.clone(store, layout.run / "containerd-root")
    _link_tools(layout, inputs)

    cgroups.create(groups)
    init_log = layout.logs / "sandbox-init.log"
    init = _spawn_init(layout, inputs, groups, init_log)
    step(f"PID 1 runs as {init.pid}")
    proxy = _spawn_proxy(layout, inputs, ports, groups, init)
    record["processes"] = {"init": init.as_json(), "proxy": proxy.as_json()}
    write_record(layout, record)

    def ready() -> bool | None:
        if (layout.run / "failed").exists() or not init.alive():
            raise SandboxError(why_ended(layout))
        return True if (layout.run / "ready").exists() else None

    wait_for("all components to be ready", ready, 120, init_log)
    step("API server, kubelet and all other components ready")
    if not (layout.checkout / "tests/sandbox/entra/__main__.py").exists():
        warn("[up] the Entra double isn't there (tests/sandbox/entra): sign-in can't work; run up again once it is")
    base = contents.base(images.monitoring_images(inputs["debian"]))
    install(layout, inputs["chart"], base, contents.gateway(layout.pki / "gateway.crt", layout.pki / "gateway.key"), step)
    write_env(layout, ports)
    record["complete"] = True
    write_record(layout, record)


def down(layout: Layout) -> None:
    """End everything, whatever state it is in."""
    with exclusive(layout):
        began = time.monotonic()
        ended = clean(layout)
        say(f"The sandbox is down ({ended} processes ended, {time.monotonic() - began:.1f} s).")


def clean(layout: Layout) -> int:
    """Remove what an earlier run left, but for ports.json (so that addresses stay) and the lock."""
    if "kind" in read_record(layout):
        raise SandboxError("This checkout has a kind cluster. End it first: SANDBOX=kind make sandbox-down")
    ended = _end_processes(layout)
    if layout.state.is_dir():
        for entry in layout.state.iterdir():
            if entry.name in ("ports.json", "lock"):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    return ended


def _end_processes(layout: Layout) -> int:
    recorded = [Path(path) for path in read_record(layout).get("cgroups", [])]
    groups = cgroups.find(layout.cgroup_name, [path for path in recorded if path.name == layout.cgroup_name])
    return cgroups.destroy(groups) if groups else 0


def status(layout: Layout) -> int:
    """Print what runs; the exit code says whether all is well."""
    wrong = healthy(layout)
    say(summary(layout) if wrong is None else f"The sandbox doesn't run: {wrong}")
    record = read_record(layout)
    groups = cgroups.find(layout.cgroup_name, [Path(path) for path in record.get("cgroups", [])])
    say(f"processes: {len(cgroups.members(groups))}, cgroup: {layout.cgroup_name}")
    if wrong is None:
        _note_changes(layout)
        env = {**os.environ, "KUBECONFIG": str(layout.setup_kubeconfig)}
        say(run([layout.bin / "kubectl", "get", "pods", "-A", "--no-headers"], "list pods", 20, env=env).rstrip())
        entra = tcp_open(read_ports(layout).entra_admin)
        say("Entra double: " + ("answers" if entra else f"doesn't answer. End of entra.log:\n{tail(layout.logs / 'entra.log')}"))
    return 0 if wrong is None else 1


def logs(layout: Layout, name: str | None) -> None:
    """The end of one component's log, or the list of logs."""
    found = sorted(layout.logs.glob("*.log")) if layout.logs.is_dir() else []
    if name is None:
        for path in found:
            say(f"{path.stat().st_size:>9}  {path.stem}")
        return
    path = layout.logs / f"{name}.log"
    if path not in found:
        raise SandboxError(f"Expected one of {', '.join(entry.stem for entry in found) or '(no logs)'}, got {name}.")
    say(tail(path, 100))


def restart_entra(layout: Layout) -> None:
    """Give the Entra double a new process (new code, fresh state); the cluster stays."""
    with exclusive(layout):
        if (wrong := healthy(layout)) is not None:
            raise SandboxError(f"The sandbox doesn't run: {wrong}. Start it: make sandbox")
        _signal_entra(layout)


def _signal_entra(layout: Layout) -> None:
    config_file = layout.run / "init.json"
    config = json.loads(config_file.read_text())
    config["stages"] = [[components.entra(layout) if c["name"] == "entra" else c for c in stage] for stage in config["stages"]]
    aside = config_file.with_suffix(".new")
    aside.write_text(json.dumps(config, indent=1))
    aside.rename(config_file)
    log, init_log = layout.logs / "entra.log", layout.logs / "sandbox-init.log"
    told = init_log.stat().st_size
    os.kill(Process.from_json(read_record(layout)["processes"]["init"]).pid, signal.SIGHUP)
    ports = read_ports(layout)

    def answers() -> bool | None:
        with init_log.open("rb") as file:
            file.seek(told)
            said = file.read().decode(errors="replace")
        if "component entra " in said:
            raise SandboxError(said.rstrip())
        return True if "entra started anew" in said and tcp_open(ports.entra_admin) else None

    wait_for("the Entra double to answer", answers, 20, log)
    say("The Entra double has been started anew.")


def _renew_entra(layout: Layout) -> None:
    """The double may have been written, or have ended, since the cluster came up."""
    if (layout.checkout / "tests/sandbox/entra/__main__.py").exists() and not tcp_open(read_ports(layout).entra_admin):
        try:
            _signal_entra(layout)
        except SandboxError as exc:
            warn(str(exc))


# --- parts of up ------------------------------------------------------------------------------------------------


def _spawn_init(layout: Layout, inputs: dict[str, Path], groups: cgroups.Groups, log: Path) -> Process:
    """PID 1 in new namespaces, in the cluster's cgroup. ``unshare`` stays as its parent: end it, and all ends."""
    with log.open("ab") as output:
        outer = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child=KILL"),
                inputs["sandboxd"] / "sandboxd",
                "init",
                layout.run / "init.json",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            preexec_fn=lambda: cgroups.join(groups.paths),
        )
    pid_file = layout.run / "init.pid"

    def known() -> Process | None:
        if pid_file.exists():
            return Process.of(int(pid_file.read_text()))
        if outer.poll() is not None:
            raise SandboxError(f"PID 1 of the cluster ended at once. End of its log:\n{tail(log)}")
        return None

    init = wait_for("PID 1 of the cluster", known, 20, log)
    if groups.version == 2:
        # Controllers can be handed on only once no process is left in the group itself.
        leaf = groups.paths[0] / "outer"
        leaf.mkdir()
        (leaf / "cgroup.procs").write_text(str(outer.pid))
    return init


def _spawn_proxy(layout: Layout, inputs: dict[str, Path], ports: Ports, groups: cgroups.Groups, init: Process) -> Process:
    """The one door, in the machine's network but in the cluster's cgroup, so that it ends with it."""
    config = layout.run / "proxy.json"
    config.write_text(json.dumps(components.proxy_config(layout, ports, init.pid), indent=1))
    log = layout.logs / "sandbox-proxy.log"
    join = [path / "outer" for path in groups.paths] if groups.version == 2 else groups.paths
    with log.open("ab") as output:
        started = subprocess.Popen(
            [inputs["sandboxd"] / "sandboxd", "proxy", config],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            preexec_fn=lambda: cgroups.join(join),
        )

    def ready() -> Process | None:
        if started.poll() is not None:
            raise SandboxError(f"The proxy ended at once. End of its log:\n{tail(log)}")
        return Process.of(started.pid) if (layout.run / "proxy.ready").exists() else None

    return wait_for("the proxy to listen", ready, 10, log)


def _link_tools(layout: Layout, inputs: dict[str, Path]) -> None:
    layout.bin.mkdir()
    tools = {
        "helm": inputs["tools"] / "helm",
        "kubectl": inputs["tools"] / "kubectl",
        "helm3": inputs["tools3"] / "helm",
        "egctl": inputs["egctl"] / "egctl",
    }
    for name, target in tools.items():
        (layout.bin / name).symlink_to(target)


def fingerprint(inputs: dict[str, Path], store: Path) -> dict[str, str]:
    """Which build of each asset a cluster was made of."""
    return {name: path.name for name, path in inputs.items()} | {"store": store.parent.name}


def _note_changes(layout: Layout) -> None:
    """Say so if the sandbox's own sources have changed since the cluster came up."""
    cache = Cache(layout.cache)
    was = read_record(layout).get("inputs", {})
    try:
        now = {program.name: f"{program.name}-{go_key(program, PACKAGE / 'go' / program.module, cache.go_version)}" for program in GO_PROGRAMS}
    except SandboxError:
        return
    changed = sorted(name for name, value in now.items() if was.get(name) != value)
    if changed:
        say(f"Note: {', '.join(changed)} changed since; `make sandbox-down sandbox` brings the new build.")
