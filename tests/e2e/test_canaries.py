# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets stay secret: none of them in any output, release, file or process argument, from the first run on.

A team of its own goes through check, onboard, verify and render at the highest useful verbosity with diffs, and with Ansible told
to keep its temporary files. Its cookie secret and store password are made in that run, so what is looked for is known only
afterwards; process arguments are therefore sampled while it runs and searched at the end.
"""

from __future__ import annotations

import base64
import collections.abc
import dataclasses
import functools
import gzip
import json
import os
import pathlib
import threading
import time
import urllib.parse

import pytest
import yaml

from .inventory import Inventory
from .sandbox import DOMAIN, HOME, ROOT, Run, Sandbox
from .workload import delete_namespaces, echo, namespace

TEAM = "team-c1"
NAMESPACE = f"monitoring-{TEAM}"
RELEASE = f"monitoring-oauth2-proxy-{TEAM}"
# Where secrets are meant to be, or where nothing of a run is written.
SPARED = (*ROOT.glob(".sandbox*"), *(ROOT / name for name in (".venv", ".git", ".cache", ".mypy_cache", ".ruff_cache", ".pytest_cache")))
SETTLED_S = 1.0  # a process starts as a copy of its parent and gets its own arguments a moment later
LARGEST = 20 * 1024 * 1024


class Arguments(threading.Thread):
    """Samples the command lines of all processes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self.rounds = 0
        self._ended = threading.Event()

    def run(self) -> None:
        first_seen: dict[str, float] = {}
        while not self._ended.wait(0.01):
            self.rounds += 1
            now = time.monotonic()
            there = {name for name in os.listdir("/proc") if name.isdigit()}
            first_seen = {name: first_seen.get(name, now) for name in there}
            for name, since in first_seen.items():
                if now - since > SETTLED_S:
                    continue  # it has become what it is to be
                try:
                    self.seen.add(pathlib.Path(f"/proc/{name}/cmdline").read_bytes())
                except OSError:
                    continue  # it ended

    def stop(self) -> None:
        self._ended.set()
        self.join(5)


@dataclasses.dataclass
class Evidence:
    runs: dict[str, Run]
    arguments: Arguments
    started: float
    folder: pathlib.Path
    secrets: dict[str, str]


@pytest.fixture(scope="module")
def evidence(sandbox: Sandbox, onboarded: Inventory, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Evidence]:
    folder = tmp_path_factory.mktemp("canaries")
    inventory = onboarded.copy(folder)
    secret_file = HOME / "entra" / "team-b.secret"
    with inventory.hosts() as data:
        data["teams"]["hosts"][TEAM] = {
            "gateway_auth_registration": "existing",
            "gateway_auth_client_id": "bbbbbbbb-0000-4000-8000-00000000000b",
            "gateway_auth_client_secret": {"file": str(secret_file)},
        }
    with inventory.team(TEAM) as data:
        data["gateway_auth_allowed_groups"] = [{"id": "5f0c0c7e-0000-4000-8000-0000000000b1", "name": "team-b-developers"}]
        data["gateway_auth_apps"] = [{"name": "echo", "service": {"name": "echo", "port": 8080}}]
    registered = sandbox.entra("GET", "/apps/team-b")["redirect_uris"]
    ours = [f"https://{host}.{DOMAIN}/oauth2/callback" for host in (f"echo-{TEAM}", f"monitoring-oauth2-{TEAM}")]
    sandbox.entra("PUT", "/apps/team-b", {"redirect_uris": list(dict.fromkeys([*registered, *ours]))})
    delete_namespaces(sandbox, NAMESPACE)
    sandbox.apply(namespace(NAMESPACE), *echo(NAMESPACE))
    kept = folder / "ansible"
    env = {
        "ANSIBLE_KEEP_REMOTE_FILES": "1",
        "ANSIBLE_LOCAL_TEMP": str(kept / "local"),
        "ANSIBLE_REMOTE_TEMP": str(kept / "remote"),
        "ANSIBLE_LOG_PATH": str(folder / "ansible.log"),
    }
    started = time.time() - 1
    arguments = Arguments()
    arguments.start()
    runs = {}
    try:
        for name, playbook, args in (
            ("check", "onboard_team", ["--check"]),
            ("onboard", "onboard_team", []),
            ("again", "onboard_team", []),
            ("verify", "verify_team", ["-e", f"report={folder}/report.json"]),
            ("render", "render_team", ["-e", f"dest={folder}/rendered"]),
        ):
            runs[name] = sandbox.playbook(playbook, "-e", "team=c1", "-vvv", "--diff", *args, inventory=inventory.path, env=env)
    finally:
        arguments.stop()
    secrets = {"client secret": secret_file.read_text().strip()}
    for name, key in ((f"oauth2-proxy-{TEAM}", "cookie-secret"), (f"oauth2-proxy-redis-{TEAM}", "redis-password")):
        found = sandbox.get("secret", name, NAMESPACE)
        if found:
            secrets[key] = base64.b64decode(found["data"][key]).decode()
    secrets["key of the kubeconfig"] = _kubeconfig_key()
    yield Evidence(runs, arguments, started, folder, secrets)
    delete_namespaces(sandbox, NAMESPACE, wait=False)
    sandbox.entra("PUT", "/apps/team-b", {"redirect_uris": [uri for uri in registered if uri not in ours]})


@functools.cache
def _shapes(secret: str) -> set[bytes]:
    """A secret as it may be written: as it is, percent-encoded, JSON-escaped, and in base64 at each of the three offsets."""
    raw = secret.encode()
    shapes = {raw, urllib.parse.quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode(), raw.hex().encode()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            coded = encode(b"\0" * shift + raw)
            # The first characters depend on what stands before, the last ones on what follows.
            shapes.add(coded[4 if shift else 0 : -4])
    # A cookie secret is itself base64 of the key.
    try:
        key = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    except ValueError:
        return shapes
    return shapes | ({key, key.hex().encode()} if len(key) >= 16 else set())


def _found(text: bytes, secrets: dict[str, str]) -> list[str]:
    return [name for name, secret in secrets.items() for shape in _shapes(secret) if shape in text]


def _kubeconfig_key() -> str:
    """The key inside the PEM of the kubeconfig that the runs use, first line of its base64."""
    config = yaml.safe_load((HOME / "kubeconfig").read_text(encoding="utf-8"))
    return base64.b64decode(config["users"][0]["user"]["client-key-data"]).decode().splitlines()[1]


def test_the_runs_did_what_they_should(evidence: Evidence) -> None:
    for run in evidence.runs.values():
        run.must()
    assert set(evidence.secrets) == {"client secret", "cookie-secret", "redis-password", "key of the kubeconfig"}
    assert all(len(secret) >= 20 for secret in evidence.secrets.values())


@pytest.mark.parametrize("name", ["check", "onboard", "again", "verify", "render"])
def test_no_secret_in_the_output(evidence: Evidence, name: str) -> None:
    assert _found(evidence.runs[name].output.encode(), evidence.secrets) == []


def test_no_secret_in_the_release(sandbox: Sandbox, evidence: Evidence) -> None:
    for what in ("values", "manifest", "all", "notes"):
        assert _found(sandbox.helm("-n", NAMESPACE, "get", what, RELEASE).encode(), evidence.secrets) == [], what
    for record in sandbox.get("secret", namespace=NAMESPACE, labels="owner=helm"):
        # Helm's record: gzip in base64, in base64 again by Kubernetes.
        content = gzip.decompress(base64.b64decode(base64.b64decode(record["data"]["release"])))
        assert _found(content, evidence.secrets) == [], record["metadata"]["name"]


def test_no_secret_in_an_object_that_is_no_secret(sandbox: Sandbox, evidence: Evidence) -> None:
    kinds = "configmaps,deployments,replicasets,pods,services,httproutes,securitypolicies,events,serviceaccounts"
    text = sandbox.kubectl("-n", NAMESPACE, "get", kinds, "-o", "json")
    assert _found(text.encode(), evidence.secrets) == []


def test_no_secret_in_the_proxy_log(sandbox: Sandbox, evidence: Evidence) -> None:
    text = sandbox.kubectl("-n", NAMESPACE, "logs", f"deployment/{RELEASE}", "--all-pods=true", "--tail=-1")
    assert _found(text.encode(), evidence.secrets) == []


def _new_files(evidence: Evidence) -> collections.abc.Iterator[pathlib.Path]:
    """Files of the checkout and of /tmp that changed during the runs, and all that the runs were given as their own."""
    for top in (ROOT, pathlib.Path("/tmp"), pathlib.Path.home() / ".ansible"):
        for folder, names, files in os.walk(top):
            here = pathlib.Path(folder)
            names[:] = [name for name in names if here / name not in SPARED and not (here / name).is_symlink()]
            for name in files:
                path = here / name
                try:
                    status = path.lstat()
                except OSError:
                    continue
                own = evidence.folder in path.parents
                if (own or status.st_mtime >= evidence.started) and path.is_file() and not path.is_symlink() and status.st_size < LARGEST:
                    yield path


def test_no_secret_in_any_file(evidence: Evidence) -> None:
    found = {}
    searched = set()
    for path in _new_files(evidence):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        searched.add(path.name)
        if names := _found(content, evidence.secrets):
            found[str(path)] = names
    assert found == {}
    # Also what Ansible copied to a host of its own: the module of Helm, with its arguments.
    assert searched >= {"ansible.log", "report.json", "values.yaml", "AnsiballZ_helm.py"}


def test_no_secret_in_process_arguments(evidence: Evidence) -> None:
    assert evidence.arguments.rounds > 50
    assert any(b"ansible-playbook" in line for line in evidence.arguments.seen)
    assert [line for line in evidence.arguments.seen if _found(line, evidence.secrets)] == []


@pytest.mark.parametrize(
    "text",
    [
        "x{}y",
        '{{"k": "{}"}}',
    ],
)
def test_the_search_finds_what_it_looks_for(text: str) -> None:
    secret = "Ab8~Q.kz-12_34567890+/=abcdefghijklm&%"
    for shape in (
        secret,
        urllib.parse.quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode(),
        base64.b64encode(f"team:{secret}".encode()).decode(),
        base64.urlsafe_b64encode(f"ab:{secret}:cd".encode()).decode(),
    ):
        assert _found(text.format(shape).encode(), {"s": secret}), shape
    assert not _found(b"nothing of it", {"s": secret})
