# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Container images under their upstream names, put together from plain files, and containerd's store of them.

No registry and no daemon: a layer is a tar file, an image is a docker-archive, and containerd imports it once. Each
cluster gets a copy of that store made of hard links.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .assets import Cache, digest, versions
from .processes import run, tail, wait_for
from .settings import COREDNS_VERSION, ENVOY_GATEWAY_VERSION, ENVOY_VERSION, OAUTH2_PROXY_VERSION, VALKEY_VERSION, SandboxError

LIBRARIES = "lib/x86_64-linux-gnu"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
PAUSE = "sandbox.test/pause:1"
ECHO = "sandbox.test/echo:1"
COREDNS = f"registry.k8s.io/coredns/coredns:v{COREDNS_VERSION}"
VALKEY = f"docker.io/valkey/valkey:{VALKEY_VERSION}"
OAUTH2_PROXY = f"quay.io/oauth2-proxy/oauth2-proxy:v{OAUTH2_PROXY_VERSION}"
ENVOY_GATEWAY = f"docker.io/envoyproxy/gateway:v{ENVOY_GATEWAY_VERSION}"
ENVOY = f"docker.io/envoyproxy/envoy:distroless-v{ENVOY_VERSION}"
APPLETS = "sh cat printf echo env test [ ls id chmod mkdir rm mv cp sleep head tail grep sed tr wc od cut date wget nc nslookup true false ps kill".split()
LIBC = "libc.so.6 libm.so.6 librt.so.1 libdl.so.2 libpthread.so.0 libresolv.so.2 libnss_dns.so.2 libnss_files.so.2 libgcc_s.so.1".split()
NONROOT = "65532:65532"
# The assets that images are made of; others may change without a new store.
USED = ("debian", "envoy", "valkey-server", "coredns", "oauth2-proxy", "envoy-gateway", "pause", "echo")
# Upstream's entrypoint in as far as a deployment can rely on it: options alone mean the server.
VALKEY_ENTRYPOINT = """#!/bin/sh
set -e
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then
  set -- valkey-server "$@"
fi
exec "$@"
"""


@dataclass(frozen=True)
class Layer:
    path: Path
    sha256: str


@dataclass(frozen=True)
class Image:
    reference: str
    layers: Sequence[Layer]
    entrypoint: Sequence[str]
    command: Sequence[str] = ()
    user: str = ""
    directory: str = "/"


@dataclass
class LayerTar:
    """One layer being written; paths in it are relative to /."""

    tar: tarfile.TarFile
    made: set[str] = field(default_factory=set)

    def folder(self, path: str, mode: int = 0o755) -> None:
        if path in self.made or path in ("", "."):
            return
        self.folder(os.path.dirname(path))
        self.made.add(path)
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self.tar.addfile(entry)

    def file(self, source: Path, path: str, mode: int = 0o755) -> None:
        self.folder(os.path.dirname(path))
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = source.stat().st_size, mode
        with source.open("rb") as content:
            self.tar.addfile(entry, content)

    def text(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        self.folder(os.path.dirname(path))
        data = content.encode() if isinstance(content, str) else content
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(data), mode
        self.tar.addfile(entry, io.BytesIO(data))

    def link(self, path: str, target: str) -> None:
        self.folder(os.path.dirname(path))
        entry = tarfile.TarInfo(path)
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
        self.tar.addfile(entry)

    def tree(self, source: Path, path: str, root: Path) -> None:
        """A folder with its links followed; absolute links are looked up below ``root``."""
        for name in sorted(os.listdir(source)):
            entry = source / name
            if entry.is_symlink():
                target = os.readlink(entry)
                entry = root / target.lstrip("/") if target.startswith("/") else entry.parent / target
            if entry.is_dir():
                self.tree(entry, f"{path}/{name}", root)
            elif entry.is_file():
                self.file(entry, f"{path}/{name}", 0o644)


class Assembly:
    """Writes the layers and archives of all images into a folder."""

    def __init__(self, inputs: dict[str, Path], folder: Path) -> None:
        self.inputs = inputs
        self.folder = folder
        self.debian = inputs["debian"]

    def layer(self, name: str, fill: Callable[[LayerTar], None]) -> Layer:
        path = self.folder / f"{name}.layer"
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            fill(LayerTar(tar))
        with path.open("rb") as file:
            return Layer(path, hashlib.file_digest(file, "sha256").hexdigest())

    def base(self, layer: LayerTar) -> None:
        for path, mode in (("tmp", 0o1777), ("home/nonroot", 0o777), ("usr/local/bin", 0o755), ("usr/bin", 0o755), ("bin", 0o755), ("var/lib", 0o755)):
            layer.folder(path, mode)
        layer.text(
            "etc/passwd",
            "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
            "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\nvalkey:x:999:999::/data:/sbin/nologin\n",
        )
        layer.text("etc/group", "root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\nvalkey:x:999:\n")
        layer.text("etc/nsswitch.conf", "hosts: files dns\n")
        layer.text(BUNDLE, self.bundle())

    def bundle(self) -> bytes:
        """Debian's own roots, from the package: nothing that this machine trusts besides gets into an image."""
        found = sorted((self.debian / "usr/share/ca-certificates/mozilla").glob("*.crt"))
        return b"".join(path.read_bytes().rstrip(b"\n") + b"\n" for path in found)

    def libc(self, layer: LayerTar) -> None:
        layer.file(Path("/lib64/ld-linux-x86-64.so.2").resolve(), "lib64/ld-linux-x86-64.so.2")
        for name in LIBC:
            path = Path("/", LIBRARIES, name)
            if path.exists():
                layer.file(path.resolve(), f"{LIBRARIES}/{name}")

    def libraries(self, program: Path) -> dict[str, Path]:
        """What a program loads, from the unpacked packages first and the machine second."""
        env = {**os.environ, "LD_LIBRARY_PATH": library_path(self.debian)}
        found = {}
        for line in run(["ldd", program], f"list the libraries of {program.name}", 30, env=env).splitlines():
            name, arrow, rest = line.strip().partition(" => ")
            if not arrow:
                continue
            if rest.startswith("not found"):
                raise SandboxError(f"{program.name} needs the library {name}, found neither in the unpacked packages nor on the machine.")
            found[name] = Path(rest.split(" (")[0]).resolve()
        return found

    def write(self, image: Image) -> Path:
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "created": "2026-01-01T00:00:00Z",
                "config": {
                    "Entrypoint": list(image.entrypoint) or None,
                    "Cmd": list(image.command) or None,
                    "User": image.user,
                    "WorkingDir": image.directory,
                    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                },
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.sha256}" for layer in image.layers]},
                "history": [{"created_by": "tests/sandbox"} for _ in image.layers],
            }
        ).encode()
        name = hashlib.sha256(config).hexdigest()
        manifest = [{"Config": f"{name}.json", "RepoTags": [image.reference], "Layers": [f"{layer.sha256}/layer.tar" for layer in image.layers]}]
        path = self.folder / (image.reference.replace("/", "_").replace(":", "_") + ".tar")
        with tarfile.open(path, "w") as tar:
            archive = LayerTar(tar)
            for layer in image.layers:
                archive.file(layer.path, f"{layer.sha256}/layer.tar", 0o644)
            archive.text(f"{name}.json", config)
            archive.text("manifest.json", json.dumps(manifest))
        return path

    def all(self) -> list[Path]:
        """Every image of the cluster."""
        inputs, debian = self.inputs, self.debian
        base, libc = self.layer("base", self.base), self.layer("libc", self.libc)

        def program(name: str, path: str) -> Layer:
            return self.layer(name, lambda layer: layer.file(inputs[name] / name, path))

        def trust(layer: LayerTar) -> None:
            layer.text(BUNDLE, self.bundle() + (inputs["ca"] / "ca.crt").read_bytes())

        def gateway(layer: LayerTar) -> None:
            layer.folder("var/lib/eg", 0o777)
            layer.file(inputs["envoy-gateway"] / "envoy-gateway", "usr/local/bin/envoy-gateway")

        def busybox(layer: LayerTar) -> None:
            layer.file(debian / "bin/busybox", "bin/busybox")
            for applet in APPLETS:
                layer.link(f"bin/{applet}", "busybox")

        def valkey(layer: LayerTar) -> None:
            layer.folder("data", 0o777)
            layer.file(inputs["valkey-server"] / "valkey-server", "usr/local/bin/valkey-server")
            layer.link("usr/local/bin/redis-server", "valkey-server")
            # The wheel has no client; Debian's speaks the same protocol.
            layer.file(debian / "usr/bin/redis-cli", "usr/local/bin/redis-cli")
            layer.link("usr/local/bin/valkey-cli", "redis-cli")
            layer.text("usr/local/bin/docker-entrypoint.sh", VALKEY_ENTRYPOINT, 0o755)
            libraries = self.libraries(inputs["valkey-server"] / "valkey-server") | self.libraries(debian / "usr/bin/redis-cli")
            for name, path in sorted(libraries.items()):
                layer.file(path, f"{LIBRARIES}/{name}")

        def prometheus(layer: LayerTar) -> None:
            layer.folder("prometheus", 0o777)
            layer.file(debian / "usr/bin/prometheus", "bin/prometheus")
            layer.tree(debian / "usr/share/prometheus/web", "usr/share/prometheus/web", debian)

        def alertmanager(layer: LayerTar) -> None:
            layer.folder("alertmanager", 0o777)
            layer.file(debian / "usr/bin/prometheus-alertmanager", "bin/alertmanager")
            layer.tree(debian / "usr/share/prometheus/alertmanager", "usr/share/prometheus/alertmanager", debian)

        names = monitoring_images(debian)
        images = [
            Image(PAUSE, [program("pause", "pause")], ["/pause"], user=NONROOT),
            Image(ECHO, [base, program("echo", "usr/local/bin/echo")], ["/usr/local/bin/echo"], user=NONROOT),
            Image(COREDNS, [base, program("coredns", "coredns")], ["/coredns"], user=NONROOT),
            Image(OAUTH2_PROXY, [base, self.layer("trust", trust), program("oauth2-proxy", "bin/oauth2-proxy")], ["/bin/oauth2-proxy"], user=NONROOT),
            Image(ENVOY_GATEWAY, [base, libc, self.layer("gateway", gateway)], ["/usr/local/bin/envoy-gateway"], ["server"], user=NONROOT),
            Image(ENVOY, [base, libc, program("envoy", "usr/local/bin/envoy")], ["/usr/local/bin/envoy"], user=NONROOT),
            Image(
                VALKEY,
                [base, libc, self.layer("busybox", busybox), self.layer("valkey", valkey)],
                ["docker-entrypoint.sh"],
                ["valkey-server"],
                directory="/data",
            ),
            Image(
                names["prometheus"],
                [base, libc, self.layer("prometheus", prometheus)],
                ["/bin/prometheus"],
                ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
                user="65534:65534",
                directory="/prometheus",
            ),
            Image(
                names["alertmanager"],
                [base, libc, self.layer("alertmanager", alertmanager)],
                ["/bin/alertmanager"],
                ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"],
                user="65534:65534",
                directory="/alertmanager",
            ),
        ]
        return [self.write(image) for image in images]


def monitoring_images(debian: Path) -> dict[str, str]:
    """Names of the two apps' images, with the version Debian has."""
    found = versions(debian, ["prometheus", "prometheus-alertmanager"])
    return {
        "prometheus": f"quay.io/prometheus/prometheus:v{found['prometheus']}",
        "alertmanager": f"quay.io/prometheus/alertmanager:v{found['prometheus-alertmanager']}",
    }


def library_path(debian: Path) -> str:
    return f"{debian}/usr/{LIBRARIES}:{debian}/{LIBRARIES}"


def containerd_config(root: Path, state: Path, debian: Path, cni_conf: Path) -> str:
    """containerd 1.6; paths are quoted as JSON strings, which are TOML strings too."""

    def quoted(value: Path | str) -> str:
        return json.dumps(str(value))

    unused = ["snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.aufs", "snapshotter.v1.devmapper", "internal.v1.opt", "tracing.processor.v1.otlp"]
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = {quoted(root)}
state = {quoted(state)}
oom_score = 0
disabled_plugins = {json.dumps(["io.containerd." + name for name in unused])}
[grpc]
  address = {quoted(state / "containerd.sock")}
[{cri}]
  sandbox_image = {quoted(PAUSE)}
  # Lowering oom_score_adj takes CAP_SYS_RESOURCE, which a contained CI machine hasn't.
  restrict_oom_score_adj = true
[{cri}.containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
  BinaryName = {quoted(debian / "usr/sbin/runc")}
  SystemdCgroup = false
[{cri}.cni]
  bin_dir = {quoted(debian / "usr/lib/cni")}
  conf_dir = {quoted(cni_conf)}
"""


def store(cache: Cache, inputs: dict[str, Path]) -> Path:
    """containerd's root folder with all images imported, never used by a cluster directly."""
    source = Path(__file__).read_bytes()
    key = digest(source, *(inputs[name].name for name in USED), (inputs["ca"] / "ca.crt").read_bytes())

    def build(folder: Path) -> None:
        work = folder / "work"
        work.mkdir()
        archives = Assembly(inputs, work).all()
        # Socket paths are limited to 107 bytes, and containerd writes its root into nothing: it can be moved later.
        state = Path("/tmp") / f"gateway-auth-import-{os.getpid()}"
        state.mkdir(mode=0o700)
        try:
            _import(archives, folder / "root", state, work, inputs["debian"])
        finally:
            shutil.rmtree(state)
        shutil.rmtree(work)

    return cache.ensure("images", key, build, "20 s") / "root"


def _import(archives: Sequence[Path], root: Path, state: Path, work: Path, debian: Path) -> None:
    """Run containerd alone in private namespaces, import, and stop it in good order."""
    root.mkdir()
    config, log = work / "containerd.toml", work / "containerd.log"
    config.write_text(containerd_config(root, state, debian, work / "cni"))
    env = {**os.environ, "LD_LIBRARY_PATH": library_path(debian), "PATH": f"{debian}/usr/bin:{debian}/usr/sbin:{os.environ['PATH']}"}
    socket = state / "containerd.sock"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", debian / "usr/bin/containerd", "-c", config],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            start_new_session=True,
        )
    try:

        def answers() -> bool | None:
            if server.poll() is not None:
                raise SandboxError(f"containerd ended before it was ready. End of its log:\n{tail(log)}")
            return True if socket.exists() else None

        wait_for("containerd to listen", answers, 30, log)
        ctr: list[str | Path] = [debian / "usr/bin/ctr", "-a", socket, "-n", "k8s.io"]
        for archive in archives:
            run([*ctr, "images", "import", archive], f"import {archive.name}", 120, env=env)
        child = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])
        os.kill(child, 15)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired as exc:
            raise SandboxError(f"containerd didn't stop within 30 s of SIGTERM. End of its log:\n{tail(log)}") from exc
    finally:
        if server.poll() is None:
            server.kill()
            server.wait(10)


def clone(pristine: Path, target: Path) -> None:
    """A store for one cluster: hard links, but real copies of the databases that are written in place."""
    try:
        run(["cp", "-al", pristine, target], "link the image store", 120)
    except SandboxError:
        if os.stat(pristine).st_dev == os.stat(target.parent).st_dev:
            raise
        # Another file system: hard links are impossible, a copy of about 1 GB isn't.
        shutil.rmtree(target, ignore_errors=True)
        run(["cp", "-a", pristine, target], "copy the image store", 600)
    for database in pristine.rglob("*.db"):
        copy = target / database.relative_to(pristine)
        copy.unlink()
        shutil.copy2(database, copy)
