# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The running sandbox as the tests see it: its exports, kubectl, helm, the Entra double's control API, and playbooks.

Nothing here uses the collection's own code: what the playbooks did is judged by independent means.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import time
import typing as t
import urllib.parse
import urllib.request

from tests.sandbox import settings

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Several lanes of tests have a cluster each (tests/support/test_all.sh).
HOME = settings.layout().state
ENV_FILE = HOME / "env"
NAMES = ("KUBECONFIG", "SANDBOX_PROXY", "SANDBOX_CA", "SANDBOX_AUDIT_LOG", "SANDBOX_ENTRA_ADMIN")
DOMAIN = "gateway-auth.test"
TENANT = "11111111-1111-4111-8111-111111111111"
LOGIN = "login.microsoftonline.com"
PLAYBOOK_TIMEOUT = 240.0


class SandboxMissing(Exception):
    """No sandbox runs; the message is the command that starts one."""


class CommandError(Exception):
    """A command of the tests' own failed; the message has what it said."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished command."""

    command: list[str]
    rc: int
    output: str
    seconds: float

    def must(self) -> Run:
        """Itself when it went well."""
        assert self.rc == 0, f"{' '.join(self.command)} ended with {self.rc}:\n{self.output[-8000:]}"
        return self


@dataclasses.dataclass(frozen=True)
class Sandbox:
    env: dict[str, str]

    @classmethod
    def find(cls) -> Sandbox:
        """Read ``.sandbox/env`` as a shell does, and see that what it names answers."""
        if not ENV_FILE.exists():
            raise SandboxMissing(f"{ENV_FILE.relative_to(ROOT)} doesn't exist. Start the embedded cluster: make sandbox")
        shell = subprocess.run(["bash", "-c", 'set -eu; . "$1"; env -0', "-", str(ENV_FILE)], capture_output=True, text=True, check=True)
        env = dict(item.split("=", 1) for item in shell.stdout.split("\0") if "=" in item)
        missing = [name for name in NAMES if not env.get(name)]
        if missing:
            raise SandboxMissing(f"{ENV_FILE.relative_to(ROOT)} lacks {', '.join(missing)}. Start the embedded cluster anew: make sandbox")
        venv = ROOT / ".venv" / "bin"
        env["PATH"] = f"{venv}{os.pathsep}{env['PATH']}"
        found = cls(env)
        try:
            found.kubectl("get", "--raw", "/readyz")
            found.entra("GET", "/healthz")
        except (CommandError, OSError) as exc:
            raise SandboxMissing(f"The embedded cluster doesn't answer ({exc}). Start it: make sandbox") from exc
        return found

    @property
    def proxy(self) -> tuple[str, int]:
        parts = urllib.parse.urlsplit(self.env["SANDBOX_PROXY"])
        assert parts.hostname
        assert parts.port
        return parts.hostname, parts.port

    @property
    def ca(self) -> str:
        return self.env["SANDBOX_CA"]

    @property
    def audit_log(self) -> pathlib.Path:
        return pathlib.Path(self.env["SANDBOX_AUDIT_LOG"])

    # --- the cluster ----------------------------------------------------------------------------------------------------
    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        done = subprocess.run(["kubectl", *args], env=self.env, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandError(f"kubectl {' '.join(args)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def get(self, kind: str, name: str = "", namespace: str = "", *, labels: str = "") -> t.Any:
        """An object, or a list of them, as data; None when there is no such object."""
        args = ["get", kind, *([name] if name else []), *(["-n", namespace] if namespace else []), *(["-l", labels] if labels else [])]
        text = self.kubectl(*args, "-o", "json", "--ignore-not-found")
        data = json.loads(text) if text.strip() else None
        return data["items"] if data and "items" in data and not name else data

    def apply(self, *objects: dict[str, t.Any]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "--field-manager=e2e", "-f", "-", stdin=json.dumps(listed))

    def helm(self, *args: str) -> str:
        return subprocess.run(["helm", *args], env=self.env, capture_output=True, text=True, check=True).stdout

    # --- the Entra double -----------------------------------------------------------------------------------------------
    def entra(self, method: str, path: str, body: t.Any = None) -> t.Any:
        """One call of the double's control API (on loopback, no proxy)."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.env["SANDBOX_ENTRA_ADMIN"].rstrip("/") + path, data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    # --- playbooks ------------------------------------------------------------------------------------------------------
    def playbook(self, name: str, *args: str, inventory: pathlib.Path | None = None, env: t.Mapping[str, str] | None = None) -> Run:
        """Run one of the checkout's playbooks as a user would, with warnings left on."""
        tool = shutil.which("ansible-playbook", path=self.env["PATH"])
        assert tool, "ansible-playbook isn't there. Make the virtual environment: make setup"
        command = [tool, f"playbooks/{name}.yml", *(["-i", str(inventory)] if inventory else []), *args]
        merged = {
            **self.env,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            **(env or {}),
        }
        start = time.monotonic()
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=merged,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PLAYBOOK_TIMEOUT,
            check=False,
        )
        return Run(command, done.returncode, done.stdout.decode("utf-8", "replace"), time.monotonic() - start)
