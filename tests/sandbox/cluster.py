# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Up, down and status of the cluster that needs no container engine."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import cgroups, components, contents, images, pki
from . import settings as s
from .assets import Cache, acquire
from .components import Ports
from .processes import Process, run, say, tail, wait_for, warn
from .settings import Layout, SandboxError

LOCK_SECONDS = 40 * 60
CAP_SYS_ADMIN, CAP_NET_ADMIN = 21, 12
CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000


def up(layout: Layout) -> None:
    """Bring the cluster up; when it runs already, only look after it."""
    with exclusive(layout):
        wrong = _settled(layout)
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
    record = {"cgroups": [str(path) for path in groups.paths], "inputs": fingerprint(inputs, store)}
    _write_record(layout, record)
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
    record |= {"init": init.as_json(), "proxy": proxy.as_json()}
    _write_record(layout, record)

    def ready() -> bool | None:
        if (layout.run / "failed").exists() or not init.alive():
            raise SandboxError(_why_ended(layout))
        return True if (layout.run / "ready").exists() else None

    wait_for("all components to be ready", ready, 120, init_log)
    step("API server, kubelet and all other components ready")
    if not (layout.checkout / "tests/sandbox/entra/__main__.py").exists():
        warn("[up] the Entra double isn't there (tests/sandbox/entra): sign-in can't work; run up again once it is")
    install(layout, inputs, step)
    write_env(layout, ports)
    record["complete"] = True
    _write_record(layout, record)


def install(layout: Layout, inputs: dict[str, Path], step: Callable[[str], None]) -> None:
    """Fill the cluster. Envoy Gateway is installed while the rest is applied and started."""
    kubectl, helm = layout.bin / "kubectl", layout.bin / "helm"
    env = {**os.environ, "KUBECONFIG": str(layout.setup_kubeconfig), "HELM_CACHE_HOME": str(layout.run / "helm"), "HELM_CONFIG_HOME": str(layout.run / "helm")}
    server = ["--server-side", "--field-manager=sandbox", "-f", "-"]
    failures: list[BaseException] = []

    def install_gateway() -> None:
        command = [helm, "install", "eg", inputs["chart"], "-n", s.ENVOY_GATEWAY_NAMESPACE, "--create-namespace", "--timeout=120s"]
        try:
            run(command, "install Envoy Gateway", 150, env=env)
        except BaseException as exc:
            failures.append(exc)

    installer = threading.Thread(target=install_gateway)
    installer.start()
    run([kubectl, "apply", *server], "apply DNS and apps", 60, env=env, stdin=contents.as_list(contents.base(images.monitoring_images(inputs["debian"]))))
    step("DNS and apps applied")
    installer.join(180)
    if installer.is_alive():
        raise SandboxError("Envoy Gateway's installation hangs; see `python -m tests.sandbox status`.")
    if failures:
        raise failures[0]
    step("Envoy Gateway installed")
    objects = contents.gateway(layout.pki / "gateway.crt", layout.pki / "gateway.key")
    run([kubectl, "apply", *server], "apply the Gateway", 60, env=env, stdin=contents.as_list(objects))
    wait = [kubectl, "wait", "--timeout=120s"]
    programmed = ["--for=condition=Programmed", f"gateway/{s.GATEWAY_NAME}", "-n", s.GATEWAY_NAMESPACE]
    run([*wait, *programmed], f"wait for Gateway {s.GATEWAY_NAME} to be Programmed", 130, env=env)
    step(f"Gateway {s.GATEWAY_NAME} Programmed")
    run([*wait, "--for=condition=Available", "deployments", "--all", "--all-namespaces"], "wait for all deployments", 130, env=env)
    step("all deployments available")


def down(layout: Layout) -> None:
    """End everything, whatever state it is in."""
    with exclusive(layout):
        began = time.monotonic()
        ended = clean(layout)
        say(f"The sandbox is down ({ended} processes ended, {time.monotonic() - began:.1f} s).")


def clean(layout: Layout) -> int:
    """Remove what an earlier run left, but for ports.json (so that addresses stay) and the lock."""
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


def healthy(layout: Layout) -> str | None:
    """None when the cluster runs and answers through all of its doors, else the first thing that is wrong."""
    record = read_record(layout)
    if not record.get("complete"):
        return "it isn't up"
    for name in ("init", "proxy"):
        if not Process.from_json(record[name]).alive():
            return f"{name} has ended. {_why_ended(layout)}"
    ports = read_ports(layout)
    try:
        api_version(layout)
        door(ports, f"health.{s.DOMAIN}", layout.ca)
    except (OSError, SandboxError, http.client.HTTPException) as exc:
        return str(exc)
    return None


def _settled(layout: Layout) -> str | None:
    """As ``healthy``, but a busy machine gets some time to answer before its cluster is called broken."""
    deadline = time.monotonic() + 15
    while True:
        wrong = healthy(layout)
        record = read_record(layout)
        runs = record.get("complete") and all(Process.from_json(record[name]).alive() for name in ("init", "proxy"))
        if wrong is None or not runs or time.monotonic() >= deadline:
            return wrong
        time.sleep(0.5)


def api_version(layout: Layout) -> str:
    """Ask the API server through the relay, as the kubeconfig's user."""
    config = json.loads(layout.kubeconfig.read_text())
    import base64

    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    pair = layout.run / "health.pem"
    if not pair.exists():
        pki.write_private(pair, base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
    context.load_cert_chain(pair)
    with urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)).open(cluster["server"] + "/readyz", timeout=3) as answer:
        return str(answer.read().decode())


def door(ports: Ports, host: str, ca: Path, path: str = "/") -> int:
    """The status of a request by its real name through the CONNECT proxy."""
    connection = http.client.HTTPSConnection("127.0.0.1", ports.proxy, timeout=3, context=ssl.create_default_context(cafile=str(ca)))
    connection.set_tunnel(host, 443)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


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
    os.kill(Process.from_json(read_record(layout)["init"]).pid, signal.SIGHUP)
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


def tcp_open(port: int) -> bool:
    """Whether something inside answers behind a relay: the relay itself accepts and closes when there is nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.settimeout(0.3)
            try:
                return connection.recv(1) != b""
            except TimeoutError:
                return True
    except OSError:
        return False


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


def choose_ports(layout: Layout) -> Ports:
    """The ports of the last run where they're still free, else free ones."""
    previous = json.loads(layout.ports_file.read_text()) if layout.ports_file.exists() else {}
    chosen: dict[str, int] = {}
    held: list[socket.socket] = []
    try:
        for name in ("api", "proxy", "entra_admin"):
            for candidate in (int(previous.get(name, 0)), 0):
                holder = socket.socket()
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    holder.bind(("127.0.0.1", candidate))
                except OSError:
                    holder.close()
                    continue
                held.append(holder)
                chosen[name] = holder.getsockname()[1]
                break
    finally:
        for holder in held:
            holder.close()
    layout.ports_file.write_text(json.dumps(chosen) + "\n")
    return Ports(**chosen)


def read_ports(layout: Layout) -> Ports:
    return Ports(**json.loads(layout.ports_file.read_text()))


def render_env(layout: Layout, ports: Ports) -> str:
    """Shell exports for whoever wants to run a command by hand."""
    lines = ["# made by `make sandbox`; use it: . .sandbox/env"]
    values = {
        "KUBECONFIG": str(layout.kubeconfig),
        "SANDBOX_PROXY": ports.proxy_url,
        "SANDBOX_CA": str(layout.ca),
        "SANDBOX_AUDIT_LOG": str(layout.audit_log),
        "SANDBOX_ENTRA_ADMIN": ports.entra_admin_url,
    }
    lines += [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    chart = shlex.quote(str(layout.checkout / "tests" / "charts" / "oauth2-proxy"))
    lines.append(f'export OAUTH2_PROXY_CHART="${{OAUTH2_PROXY_CHART:-{chart}}}"')
    lines.append(f'export PATH={shlex.quote(str(layout.bin))}:"$PATH"')
    return "\n".join(lines) + "\n"


def write_env(layout: Layout, ports: Ports) -> None:
    layout.env.write_text(render_env(layout, ports))
    layout.proxy_file.write_text(ports.proxy_url + "\n")


def summary(layout: Layout) -> str:
    ports = read_ports(layout)
    return (
        f"The sandbox runs. Use it: . {os.path.relpath(layout.env)}\n"
        f"  Kubernetes  {ports.api_url}  (KUBECONFIG={os.path.relpath(layout.kubeconfig)})\n"
        f"  the door    {ports.proxy_url}  (curl --proxy $SANDBOX_PROXY --cacert $SANDBOX_CA https://…{s.DOMAIN}/)\n"
        f"  Entra admin {ports.entra_admin_url}"
    )


def fingerprint(inputs: dict[str, Path], store: Path) -> dict[str, str]:
    """Which build of each asset a cluster was made of."""
    return {name: path.name for name, path in inputs.items()} | {"store": store.parent.name}


def _note_changes(layout: Layout) -> None:
    """Say so if the sandbox's own sources have changed since the cluster came up."""
    from .assets import GO_PROGRAMS, go_key
    from .settings import PACKAGE

    cache = Cache(layout.cache)
    was = read_record(layout).get("inputs", {})
    try:
        now = {program.name: f"{program.name}-{go_key(program, PACKAGE / 'go' / program.module, cache.go_version)}" for program in GO_PROGRAMS}
    except SandboxError:
        return
    changed = sorted(name for name, value in now.items() if was.get(name) != value)
    if changed:
        say(f"Note: {', '.join(changed)} changed since; `make sandbox-down sandbox` brings the new build.")


def read_record(layout: Layout) -> dict[str, Any]:
    try:
        return dict(json.loads(layout.record.read_text()))
    except (OSError, ValueError):
        return {}


def _write_record(layout: Layout, record: dict[str, Any]) -> None:
    aside = layout.record.with_suffix(".new")
    aside.write_text(json.dumps(record, indent=1))
    aside.rename(layout.record)


def _why_ended(layout: Layout) -> str:
    failed = layout.run / "failed"
    if failed.exists():
        return f"The cluster ended: {failed.read_text().rstrip()}"
    return f"The cluster ended without a word (killed?). End of its log:\n{tail(layout.logs / 'sandbox-init.log')}"


@contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """One up or down at a time per checkout."""
    layout.state.mkdir(mode=0o755, exist_ok=True)
    with (layout.state / "lock").open("w") as file:
        acquire(file.fileno(), "another up or down of this checkout", LOCK_SECONDS)
        yield


# --- prerequisites ----------------------------------------------------------------------------------------------


def check_machine(layout: Layout) -> None:
    """Everything the machine must offer, each with what to do about it, before anything is changed."""
    wrong: list[str] = []
    engine = "Or use SANDBOX=kind with a container engine."
    if os.geteuid() != 0:
        raise SandboxError(f"Expected to run as root (namespaces, mounts and cgroups are made). Try: sudo make sandbox. {engine}")
    effective = next(int(line.split()[1], 16) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    for name, number in (("CAP_SYS_ADMIN", CAP_SYS_ADMIN), ("CAP_NET_ADMIN", CAP_NET_ADMIN)):
        if not effective >> number & 1:
            wrong.append(f"Expected {name}; root in this container hasn't got it. Start the container with --privileged. {engine}")
    for tool, package in (("unshare", "util-linux"), ("nsenter", "util-linux"), ("mount", "mount"), ("ldd", "libc-bin"), ("tar", "tar")):
        if shutil.which(tool) is None:
            wrong.append(f"Expected the command {tool}. Install it: apt-get install {package}")
    if wrong:
        raise SandboxError("\n".join(wrong))
    probe = _probe_kernel(layout)
    if probe:
        raise SandboxError(f"{probe} {engine}")
    cgroups.plan(layout.cgroup_name)


def _probe_kernel(layout: Layout) -> str | None:
    """Try namespaces, overlayfs, veth and nf_tables in a child that leaves nothing."""
    folder = layout.state / "probe"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("lower", "upper", "work", "merged"):
        (folder / name).mkdir(parents=True)
    try:
        child = subprocess.run(
            [sys.executable, "-c", "from tests.sandbox import cluster; cluster.probe_in_child()", str(folder)],
            cwd=layout.checkout,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "The probe of the kernel's features hung for 30 s."
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None if child.returncode == 0 else (child.stdout.strip() or child.stderr.strip())


def probe_in_child() -> None:
    """Runs as a process of its own: prints what's missing and exits with 1."""
    import sys

    folder = sys.argv[1]
    libc = ctypes.CDLL(None, use_errno=True)

    def need(result: int, message: str) -> None:
        if result != 0:
            print(f"{message} ({os.strerror(ctypes.get_errno())}).")
            raise SystemExit(1)

    need(libc.unshare(CLONE_NEWNET | CLONE_NEWNS), "Expected to be allowed to make network and mount namespaces")
    private = 1 << 18 | 1 << 14  # MS_PRIVATE | MS_REC
    need(libc.mount(b"none", b"/", None, private, None), "Expected to be allowed to mount")
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work".encode()
    merged = f"{folder}/merged".encode()
    need(libc.mount(b"overlay", merged, b"overlay", 0, options), f"Expected overlayfs on the file system of {folder}; put the checkout on ext4 or xfs")
    need(libc.umount2(merged, 0), "Expected to unmount overlayfs")
    # NETLINK_NETFILTER (12) answers for nf_tables; an unknown subsystem is EINVAL.
    _probe_netlink()


def _probe_netlink() -> None:
    """Create a veth pair and read the nf_tables generation, by raw netlink messages: neither ip nor nft need be there."""
    import struct

    def ask(protocol: int, kind: int, flags: int, body: bytes) -> int:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as link:
            link.settimeout(5)
            link.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 1, 1, 0) + body)
            answer = link.recv(65536)
        if struct.unpack_from("=H", answer, 4)[0] != 2:  # NLMSG_ERROR
            return 0
        return int(struct.unpack_from("=i", answer, 16)[0])

    def attribute(kind: int, value: bytes) -> bytes:
        size = 4 + len(value)
        return struct.pack("=HH", size, kind) + value + b"\0" * (-size % 4)

    # RTM_NEWLINK, NLM_F_CREATE|NLM_F_EXCL|NLM_F_ACK, IFLA_LINKINFO{IFLA_INFO_KIND "veth"}
    veth = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(18, attribute(1, b"veth"))
    if ask(0, 16, 0x600 | 4, veth):
        print("Expected the kernel's veth interfaces (CONFIG_VETH). Try: modprobe veth.")
        raise SystemExit(1)
    # NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN
    if ask(12, 10 << 8 | 16, 0, struct.pack("=BBH", 0, 0, 0)):
        print("Expected the kernel's nf_tables (CONFIG_NF_TABLES). Try: modprobe nf_tables.")
        raise SystemExit(1)
