# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients of Graph that others wrote, unmodified, against the Entra double: msgraph-sdk, azure-identity, azure.azcollection.

Run by `make soak`, or by hand: `python -m tests.soak.graph_clients`. It makes a venv of its own in .cache/graph-clients (640 MB,
most of it SDKs that the modules import and don't use), starts a double behind its CONNECT proxy, and lets the clients keep
Microsoft's host names and check TLS as they always do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

from tests.sandbox.entra.graphkit import AUTOMATION, permit
from tests.sandbox.entra.testkit import Double, running_double
from tests.sandbox.entra.walk import TENANT
from tests.support.make_venv import CARRIER

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache" / "graph-clients"
PYTHON = CACHE / "venv" / "bin" / "python"
COLLECTION = CACHE / "ansible_collections" / "azure" / "azcollection"
# The collection's requirements that its ad* modules need; the rest is named by azure_rm_common.py's imports.
NEEDED = ("azure-cli-core", "azure-common", "azure-core", "azure-identity", "azure-mgmt-core", "azure-mgmt-nspkg", "azure-mgmt-rdbms")
NEEDED += ("azure-keyvault", "azure-storage-blob", "azure-storage-file-share", "msgraph-sdk", "packaging", "requests", "xmltodict")


def say(message: str) -> None:
    print(f"graph clients: {message}", flush=True)


def run(*command: str | Path, env: dict[str, str] | None = None, where: Path = ROOT) -> None:
    subprocess.run(list(command), check=True, cwd=where, env=env)


def fetch_collection() -> None:
    """Take azure.azcollection out of the PyPI wheel that carries it; only data is used, whatever Python the wheel is for."""
    if COLLECTION.is_dir():
        return
    say(f"azure.azcollection from the wheel of {CARRIER}, 51 MB")
    with tempfile.TemporaryDirectory() as folder:
        wheel_only = ("--no-deps", "--only-binary=:all:", "--python-version=3.12")
        run(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *wheel_only, f"--dest={folder}", CARRIER)
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            wanted = [name for name in archive.namelist() if name.startswith("ansible_collections/azure/azcollection/")]
            archive.extractall(CACHE, wanted)


def pins() -> list[str]:
    """Return the collection's own pins of what its modules import, and what this checkout needs to run."""
    common = (COLLECTION / "plugins" / "module_utils" / "azure_rm_common.py").read_text("utf-8")
    imported = {f"azure-mgmt-{name}" for name in re.findall(r"(?:from|import) azure\.mgmt\.([a-z]+)", common)}
    found = []
    for line in (COLLECTION / "requirements.txt").read_text("utf-8").splitlines():
        name = re.split(r"[=><;\s]", line, maxsplit=1)[0]
        if name in imported or name in NEEDED:
            found.append(line)
    return [*found, "ansible-core", "jsonpatch", "kubernetes", "python-dateutil"]


def prepare() -> None:
    """Make the venv, unless it is there for these very requirements."""
    fetch_collection()
    wanted = CACHE / "requirements.txt"
    text = "\n".join(pins()) + "\n"
    if PYTHON.exists() and wanted.exists() and wanted.read_text("utf-8") == text:
        return
    began = time.monotonic()
    venv.create(CACHE / "venv", clear=True, symlinks=True)
    draft = CACHE / "requirements.new"
    draft.write_text(text, "utf-8")
    ours = ("ansible-core==", "jsonpatch==", "kubernetes==")
    constraint = [line for line in (ROOT / "requirements" / "constraints.txt").read_text("utf-8").splitlines() if line.startswith(ours)]
    (CACHE / "constraints.txt").write_text("\n".join(constraint) + "\n", "utf-8")
    run("uv", "pip", "install", "--quiet", "--python", PYTHON, "-r", draft, "-c", CACHE / "constraints.txt")
    draft.replace(wanted)
    size = sum(file.stat().st_size for file in (CACHE / "venv").rglob("*") if file.is_file() and not file.is_symlink())
    say(f"venv ready after {time.monotonic() - began:.0f} s, {size / 1e6:.0f} MB")


def environment(double: Double, folder: Path) -> dict[str, str]:
    """Return what a user would set behind a company's proxy, in both spellings of the credentials, and nothing inherited but PATH."""
    secret = double.secret("automation")
    return {
        "PATH": f"{PYTHON.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "HTTPS_PROXY": double.proxy,
        "SSL_CERT_FILE": str(double.authority.ca),
        "REQUESTS_CA_BUNDLE": str(double.authority.ca),
        "AZURE_TENANT_ID": TENANT,
        "AZURE_TENANT": TENANT,
        "AZURE_CLIENT_ID": AUTOMATION,
        "AZURE_CLIENT_SECRET": secret,
        "AZURE_SECRET": secret,
        "ANSIBLE_COLLECTIONS_PATH": str(CACHE),
        "ANSIBLE_PYTHON_INTERPRETER": str(PYTHON),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
    }


def main() -> int:
    CACHE.mkdir(parents=True, exist_ok=True)
    prepare()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_double(folder) as double:
            permit(double)
            env = environment(double, folder)
            for title, command in (
                ("msgraph-sdk and azure-identity", [PYTHON, HERE / "graph_walk.py"]),
                ("azure.azcollection", [PYTHON.parent / "ansible-playbook", "-i", "localhost,", HERE / "graph_clients.yml"]),
            ):
                began = time.monotonic()
                say(title)
                try:
                    run(*command, env=env, where=folder)
                except subprocess.CalledProcessError:
                    say(f"{title}: failed. What Graph was asked last:")
                    print("\n".join(double.log.read_text("utf-8").splitlines()[-5:]))
                    return 1
                say(f"{title}: passed, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
