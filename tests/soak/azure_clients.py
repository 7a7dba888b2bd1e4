# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""azure.azcollection, unmodified, through our actions: Key Vault and AKS, against doubles of Azure, Entra and the cluster's API.

Run by `make soak`, or by hand: `python -m tests.soak.azure_clients`. The playbook runs in the venv of graph_clients.py, with
ANSIBLE_KEEP_REMOTE_FILES=1, -vvvv and a log file; whatever it left in its files, its output, its results or in the arguments of
a process is searched for every secret there was. That the search finds something where there is something, a run of the
collection's module as a task shows: its value is in a file.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.sandbox.azure.service import Azure, Vault, Version
from tests.sandbox.azure.testkit import CLUSTER, GROUP, ISSUER, SUBSCRIPTION, VAULT, running_azure
from tests.sandbox.entra.graphkit import AUTOMATION, permit
from tests.sandbox.entra.testkit import Double, control
from tests.soak.graph_clients import CACHE, PYTHON, ROOT, environment, prepare
from tests.unit.support.actions import team_model
from tests.unit.support.api import Api, Server
from tests.unit.support.entra import reach

Object = dict[str, Any]

HERE = Path(__file__).parent
NAME = "oauth2-team-a"
KEY_VAULT = {"kind": "key_vault", "name": NAME, "key": "", "url": f"https://{VAULT}.vault.azure.net"}
AKS = {"name": CLUSTER, "resource_group": GROUP, "subscription_id": SUBSCRIPTION}
EXISTING = "aaaaaaaa-0000-4000-8000-00000000000a"  # the cast's team-a


def say(message: str) -> None:
    print(f"azure clients: {message}", flush=True)


def require(condition: object, message: object) -> None:
    if not condition:
        raise AssertionError(message)


class Watch:
    """Looks at the arguments of every process of the machine for a canary, as often as it can."""

    def __init__(self, canaries: set[str]) -> None:
        self._canaries = canaries
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.looks = 0
        self.found: set[str] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            for entry in os.scandir("/proc"):
                if entry.name.isdigit():
                    with contextlib.suppress(OSError):
                        text = Path(entry.path, "cmdline").read_bytes().decode(errors="replace")
                        self.looks += 1
                        self.found |= {value for value in tuple(self._canaries) if value in text}
            time.sleep(0.002)


class World:
    """One team between the doubles, and the folder that the playbook's user has."""

    def __init__(self, double: Double, azure: Azure, api: Server, home: Path) -> None:
        self.double = double
        self.azure = azure
        self.api = Api()
        api.api = self.api
        self.api.namespaces("monitoring-team-a", "gateway-envoy")
        self.kubeconfig = api.kubeconfig(home / "kubeconfig")
        self.home = home
        self.canaries: set[str] = {double.secret("automation")}
        self.texts: list[str] = []
        self.seconds: list[float] = []
        self.killed = False

    @property
    def vault(self) -> Vault:
        return self.azure.vault(VAULT)

    @property
    def versions(self) -> list[Version]:
        return self.vault.secrets.get(NAME, [])

    @property
    def key_ids(self) -> list[str]:
        """Of our client secrets in Entra."""
        found = control(self.double, "GET", "/apps/gateway-auth.sandbox.monitoring.team-a")[1]
        return [item["key_id"] for item in found["secrets"] if item["display_name"] == "gateway-auth.sandbox.monitoring.team-a"]

    @property
    def value(self) -> str:
        """What oauth2-proxy reads in the cluster."""
        return base64.b64decode(self.api.the("Secret", "oauth2-proxy-team-a")["data"]["client-secret"]).decode()

    def collect(self) -> None:
        """Every secret there is now."""
        for obj in self.api.objects.values():
            if obj["kind"] == "Secret":
                self.canaries |= {base64.b64decode(value).decode() for key, value in obj["data"].items() if key != "client-id"}
        self.canaries |= {version.value for versions in self.vault.secrets.values() for version in versions}

    def go(self, *, check: bool = False, rotate: bool = False, adopt: tuple[str, ...] = (), **overrides: Any) -> Object:
        """Run the playbook; outcomes of team-a by phase, {} when it was killed."""
        given = {"registration": "managed", "client_id": "", "client_secret": None, "environment": "sandbox", "graph": reach(self.double), **overrides}
        outcomes = self.home / "outcomes.json"
        outcomes.unlink(missing_ok=True)
        variables = {"models": {"team-a": team_model(self.kubeconfig, **given)}, "rotate": rotate, "adopt": list(adopt), "outcomes": str(outcomes)}
        (self.home / "variables.json").write_text(json.dumps(variables), "utf-8")
        output = self._play(HERE / "azure_clients.yml", "-i", "team-a,", "-e", f"@{self.home / 'variables.json'}", *(["--check"] if check else []))
        self.collect()
        if self.process.returncode == -signal.SIGKILL:
            return {}
        require(self.process.returncode == 0, output)
        text = outcomes.read_text("utf-8")
        self.texts.append(text)
        return {phase: result.get("teams", {}).get("team-a", {}) for phase, result in json.loads(text).items()}

    def as_a_task(self, value: str) -> None:
        """What a user's own play would do: the module as a task, with no_log."""
        self.vault.permissions[AUTOMATION] = {"get", "set"}
        module = {"keyvault_uri": self.vault.url, "secret_name": "control", "secret_value": "{{ lookup('env', 'VALUE') }}", "subscription_id": SUBSCRIPTION}
        task = {"azure.azcollection.azure_rm_keyvaultsecret": module, "no_log": True}
        play = self.home / "control.yml"
        play.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]), "utf-8")
        output = self._play(play, "-i", "localhost,", VALUE=value)
        require(self.process.returncode == 0, output)

    def _play(self, *command: str | Path, **more: str) -> str:
        env = environment(self.double, self.home) | {
            "ANSIBLE_COLLECTIONS_PATH": f"{CACHE}:{ROOT / '.venv' / 'collections'}",
            "ANSIBLE_KEEP_REMOTE_FILES": "1",
            "ANSIBLE_LOCAL_TEMP": str(self.home / "local"),
            "ANSIBLE_LOG_PATH": str(self.home / "ansible.log"),
            # By default below the user's home as the password database knows it, whatever HOME says.
            "ANSIBLE_REMOTE_TMP": str(self.home / "remote"),
            "NO_PROXY": "127.0.0.1",
            "TMPDIR": str(self.home / "tmp"),
            **more,
        }
        began = time.monotonic()
        full = [PYTHON.parent / "ansible-playbook", "-vvvv", "--diff", *command]
        self.process = subprocess.Popen(full, cwd=self.home, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        output, _none = self.process.communicate()
        self.seconds.append(time.monotonic() - began)
        self.texts.append(output)
        return output

    def kill(self, *, sent: bool) -> Callable[[bool], None]:
        """For `Azure.on_write`: kill -9 to the playbook and everything it started, before a write to the vault counts or after."""

        def hook(carried_out: bool) -> None:
            if carried_out is sent:
                self.azure.on_write = lambda _carried_out: None
                os.killpg(self.process.pid, signal.SIGKILL)

        return hook

    def settled(self) -> None:
        """One client secret of ours: in Entra, in the cluster and in the vault, and the vault says which."""
        require(len(self.key_ids) == 1, self.key_ids)
        newest = self.versions[-1]
        require(newest.value == self.value, "the vault holds another secret than the cluster")
        require(newest.tags == {"gateway-auth": "gateway-auth.sandbox.monitoring.team-a", "gateway-auth-key-id": self.key_ids[0]}, newest.tags)
        require(newest.expires is not None and newest.expires > time.time(), newest.expires)


def failed(outcomes: Object, phase: str, *words: str) -> None:
    outcome = outcomes[phase]
    require(outcome["failed"] and all(word in outcome["msg"] for word in words), outcome)


def fine(outcomes: Object, *, changed: bool) -> None:
    for phase, outcome in outcomes.items():
        require(not outcome.get("failed"), (phase, outcome))
    require(any(outcome.get("changed") for outcome in outcomes.values()) is changed, outcomes)


def reasons(outcomes: Object) -> str:
    return json.dumps([outcome.get("changes") for outcome in outcomes.values()])


# --- what is shown -----------------------------------------------------------------------------------------------------------


def a_secret_of_ours_is_written(world: World) -> None:
    given = {"client_secret": KEY_VAULT}
    foretold = world.go(check=True, **given)
    fine(foretold, changed=True)
    require(NAME in reasons(foretold) and not world.versions, "check mode says it and writes nothing")
    first = world.go(**given)
    fine(first, changed=True)
    world.settled()
    require(len(world.versions) == 1, "one version")
    world.azure.journal.clear()
    fine(world.go(**given), changed=False)
    require([asked.method for asked in world.azure.journal if asked.status == 200] == ["GET"], world.azure.journal)
    fine(world.go(rotate=True, **given), changed=True)
    world.settled()
    require(len(world.versions) == 2 and world.versions[0].value != world.value, "a new version")


def a_killed_run_is_resumed(world: World) -> None:
    for sent in (False, True):
        world.azure.on_write = world.kill(sent=sent)
        require(world.go(rotate=True, client_secret=KEY_VAULT) == {}, "it was killed")
        require(len(world.key_ids) == 2, "the old one is still valid")
        versions = len(world.versions)
        again = world.go(client_secret=KEY_VAULT)
        fine(again, changed=True)
        world.settled()
        # Whether the killed request counted or not, the newest version is the right one, and there is one at most for each secret.
        require(len({version.value for version in world.versions}) == len(world.versions) >= versions, "no version twice")


def what_is_not_ours_stays(world: World) -> None:
    theirs = Version("CANARY-of-somebody-else-8d1f")
    world.vault.secrets[NAME].append(theirs)
    failed(world.go(client_secret=KEY_VAULT), "credential", "not ours", f"-e adopt='[KeyVaultSecret/{NAME}]'")
    require(world.versions[-1] is theirs, "it was left alone")
    fine(world.go(client_secret=KEY_VAULT, adopt=(f"KeyVaultSecret/{NAME}",)), changed=True)
    world.settled()


def what_the_vault_refuses_is_said(world: World) -> None:
    held = world.vault.secrets[NAME]
    world.vault.permissions[AUTOMATION] = {"get"}
    before = world.key_ids
    failed(world.go(client_secret=KEY_VAULT, rotate=True), "credential", "does not have secrets set permission", "docs/entra.md")
    require(set(before) < set(world.key_ids), "nothing was revoked")
    world.vault.permissions[AUTOMATION] = {"set"}
    before = world.key_ids
    failed(world.go(client_secret=KEY_VAULT, rotate=True), "credential", "does not have secrets get permission")
    require(world.key_ids == before, "nothing was added")
    world.vault.permissions[AUTOMATION] = {"get", "set"}
    held[-1].enabled = False
    failed(world.go(client_secret=KEY_VAULT), "credential", "disabled", "Enable")
    held[-1].enabled = True
    world.vault.deleted[NAME] = world.vault.secrets.pop(NAME)
    failed(world.go(client_secret=KEY_VAULT), "credential", "deleted but recoverable", "Recover it")
    world.vault.secrets[NAME] = world.vault.deleted.pop(NAME)
    fine(world.go(client_secret=KEY_VAULT), changed=True)
    world.settled()
    nowhere = {**KEY_VAULT, "url": "https://nowhere.vault.azure.net"}
    failed(world.go(client_secret=nowhere), "credential", NAME)


def an_external_secret_is_read(world: World) -> None:
    external = {"credential": "external", "client_secret": KEY_VAULT}
    own = world.go(**external)
    told = " ".join(own["retired"]["data"]["findings"])
    require(not own["retired"]["failed"] and "one that we made" in told and "was not revoked" in told, own["retired"])
    require(len(world.key_ids) == 1, "it was ours, and it still works")
    for value in ("CANARY-external-1-c2b7", "CANARY-external-2-90ae"):
        world.vault.secrets[NAME].append(Version(value))
        fine(world.go(**external), changed=True)
        require(world.value == value, "the Secret follows the vault")
        fine(world.go(**external), changed=False)
    require(world.key_ids == [], "none of ours is left")
    existing = {"registration": "existing", "client_id": EXISTING, "redirect_uris_registered": True, **external}
    world.vault.permissions[AUTOMATION] = set()
    failed(world.go(**existing), "secrets", "does not have secrets get permission", "docs/entra.md")
    world.vault.permissions[AUTOMATION] = {"get"}
    failed(world.go(**{**existing, "client_secret": {**KEY_VAULT, "name": "none"}}), "secrets", "SecretNotFound", "none")
    world.vault.secrets["spaced"] = [Version("CANARY with a space")]
    failed(world.go(**{**existing, "client_secret": {**KEY_VAULT, "name": "spaced"}}), "secrets", "white space", "spaced")


def the_issuer_of_an_aks_cluster_is_read(world: World) -> None:
    federated = {"credential": "federated", "client_secret": None, "workload_identity": {"issuer": "", "aks": AKS}}
    fine(world.go(**federated), changed=True)
    app = control(world.double, "GET", "/apps/gateway-auth.sandbox.monitoring.team-a")[1]
    require([item["issuer"] for item in app["federated_credentials"]] == [ISSUER], app["federated_credentials"])
    again = world.go(**federated)
    require(not again["credential"]["failed"] and not again["credential"]["changed"], again)
    key = (SUBSCRIPTION, GROUP, CLUSTER)
    for profile in ({}, {"oidcIssuerProfile": {"enabled": False}}):
        world.azure.clusters[key] = profile
        failed(world.go(**federated), "credential", "isn't switched on", "--enable-oidc-issuer")
    wrong = {**federated, "workload_identity": {"issuer": "", "aks": {**AKS, "name": "aks-b"}}}
    failed(world.go(**wrong), "credential", "There is no AKS cluster aks-b")
    world.azure.readers.clear()
    failed(world.go(**federated), "credential", "AuthorizationFailed", "role Reader")


STEPS = (
    a_secret_of_ours_is_written,
    a_killed_run_is_resumed,
    what_is_not_ours_stays,
    what_the_vault_refuses_is_said,
    an_external_secret_is_read,
    the_issuer_of_an_aks_cluster_is_read,
)


def leaks(world: World) -> list[str]:
    """Where a secret lies that must be in Entra, in the cluster and in the vault alone."""
    found = [f"output {index}" for index, text in enumerate(world.texts) for value in world.canaries if value in text]
    for file in world.home.rglob("*"):
        if file.is_file() and any(value.encode() in file.read_bytes() for value in world.canaries):
            found.append(str(file.relative_to(world.home)))
    return found


@contextlib.contextmanager
def doubles() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        server = Server()
        Path(theirs, "tmp").mkdir()
        with running_azure(Path(ours)) as (double, azure):
            permit(double)
            yield World(double, azure, server, Path(theirs))
        server.close()


def main() -> int:
    CACHE.mkdir(parents=True, exist_ok=True)
    prepare()
    with doubles() as world, Watch(world.canaries) as watch:
        for step in STEPS:
            began, runs = time.monotonic(), len(world.seconds)
            try:
                step(world)
            except AssertionError as exc:
                say(f"{step.__name__}: failed: {str(exc)[-6000:]}")
                return 1
            say(f"{step.__name__}: {len(world.seconds) - runs} runs, {time.monotonic() - began:.0f} s")
        found = leaks(world)
        files = sum(file.is_file() for file in world.home.rglob("*"))
        say(f"{len(world.canaries)} secrets looked for in {len(world.texts)} outputs, {files} files and {watch.looks} command lines: {len(found)} found")
        if found or watch.found:
            say(f"leaks: {sorted(set(found))[:10]}, in arguments: {len(watch.found)}")
            return 1
        control_value = "CANARY-control-3f5e"
        world.as_a_task(control_value)
        world.canaries.add(control_value)
        if not (found := leaks(world)):
            say("the search is blind: the module run as a task left its value in no file")
            return 1
        say(f"run as a task, the module leaves its value in {found[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
