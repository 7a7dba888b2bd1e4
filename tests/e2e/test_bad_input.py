# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input ends in a clear error, a non-zero exit and not one write.

Each case is a run of the real playbook with an identity of its own, so that the API server's audit log tells what it wrote.
The team is of a stack of its own whose namespace has only its Services: nothing of it is online, so a run that wrongly goes on
would write. The runs share the machine two at a time; the verdicts are one test each.
"""

from __future__ import annotations

import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import stat
import subprocess
import typing as t

import pytest

from .audit import AuditLog
from .doctored import Doctor, DoctoredApi, broken_envoy, narrow_listener, old_crd
from .inventory import Inventory
from .sandbox import Run, Sandbox
from .workload import Identity, delete_namespaces, namespace, service, write_kubeconfig

STACK = "e2ebad"
FOREIGN = "e2eforeign"
WORKERS = 2


@dataclasses.dataclass
class Setting:
    """What a case may bend before its run."""

    sandbox: Sandbox
    inventory: Inventory
    folder: pathlib.Path
    identity: Identity
    env: dict[str, str] = dataclasses.field(default_factory=dict)

    def kubeconfig(self, cluster: dict[str, t.Any]) -> None:
        write_kubeconfig(self.folder / "bent.kubeconfig", cluster, {"token": self.identity.token})
        self.set(gateway_auth_cluster={"kubeconfig": str(self.folder / "bent.kubeconfig")})

    def set(self, **values: t.Any) -> None:
        """The platform's variables."""
        with self.inventory.platform() as data:
            for name, value in values.items():
                if isinstance(value, dict) and isinstance(data.get(name), dict):
                    data[name].update(value)
                else:
                    data[name] = value

    def app(self, **values: t.Any) -> None:
        """Team a's first app."""
        with self.inventory.team("team-a") as data:
            data["gateway_auth_apps"][0].update(values)

    def team(self, **values: t.Any) -> None:
        with self.inventory.team("team-a") as data:
            data.update(values)

    def fake_helm(self, version: str) -> None:
        """A ``helm`` before the real one on the PATH that only tells its version."""
        tool = self.folder / "bin" / "helm"
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/sh\necho \'version.BuildInfo{{Version:"{version}", GitCommit:"", GitTreeState:"", GoVersion:""}}\'\n')
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        self.env["PATH"] = f"{tool.parent}{os.pathsep}{self.sandbox.env['PATH']}"

    def no_helm(self) -> None:
        """Every tool of the PATH but helm."""
        folder = self.folder / "bin"
        folder.mkdir()
        for place in self.sandbox.env["PATH"].split(os.pathsep):
            with contextlib.suppress(OSError):
                for tool in pathlib.Path(place).iterdir():
                    with contextlib.suppress(FileExistsError):
                        if not tool.name.startswith("helm"):
                            (folder / tool.name).symlink_to(tool)
        self.env["PATH"] = str(folder)


Bend = collections.abc.Callable[[Setting], t.Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """``words`` must be in the output (any one of a tuple), ``absent`` must not."""

    id: str
    words: tuple[str | tuple[str, ...], ...]
    bend: Bend = lambda setting: None
    args: tuple[str, ...] = ("-e", "team=a")
    playbook: str = "onboard_team"
    doctor: Doctor | None = None
    role: str = "cluster-admin"
    reads: bool = True  # whether the cluster is read at all before the error
    absent: tuple[str, ...] = ()


CASES = [
    Case("unknown team", ("zzz", ("team-a", "no such")), args=("-e", "team=zzz"), reads=False),
    Case("team and limit apart", ("team", "limit"), args=("-e", "team=a", "--limit", "team-b"), reads=False),
    Case("no inventory", ("inventory",), bend=lambda s: _empty(s.inventory), reads=False),
    Case("no teams in the inventory", ("teams",), bend=lambda s: _no_teams(s.inventory), args=(), reads=False),
    Case("cluster unreachable", ("did not answer", "gateway_auth_cluster"), lambda s: s.kubeconfig({"server": "https://127.0.0.1:1"}), reads=False),
    Case(
        "kubeconfig missing",
        ("kubeconfig", "gateway_auth_cluster"),
        lambda s: s.set(gateway_auth_cluster={"kubeconfig": str(s.folder / "nowhere")}),
        reads=False,
    ),
    Case("kubeconfig garbage", ("kubeconfig", "gateway_auth_cluster"), lambda s: _garbage(s), reads=False),
    Case(
        "another cluster",
        ("00000000-0000-4000-8000-000000000000", "gateway_auth_cluster.uid"),
        lambda s: s.set(gateway_auth_cluster={"uid": "00000000-0000-4000-8000-000000000000"}),
    ),
    Case(
        "missing permission",
        (
            "create",
            "secrets",
            "httproutes",
            f"{STACK}-team-a",
            "delete configmaps",
            "in namespace gateway-envoy",
            "gateway_auth_gateway.admission_policy: false",
        ),
        role="view-gateways",
    ),
    Case(
        "missing permission for the platform",
        ("create, patch validatingadmissionpolicies.admissionregistration.k8s.io", "gateway_auth_gateway.admission_policy: false"),
        playbook="prepare_gateway",
        role="view-gateways",
    ),
    Case("gateway absent", ("nogateway", "gateway_auth_gateway"), lambda s: s.set(gateway_auth_gateway={"name": "nogateway"})),
    Case("listener absent", ("nolistener", "https_listener"), lambda s: s.set(gateway_auth_gateway={"https_listener": "nolistener"})),
    Case("listener refuses the namespace", ("own namespace", "allowedRoutes", f"{STACK}-team-a"), doctor=narrow_listener),
    Case("Envoy Gateway too old", ("pathOverride", "1.8"), doctor=old_crd),
    Case("Envoy 1.37.0", ("1.37.0", "Location"), doctor=broken_envoy),
    Case("chart folder absent", ("chart", "/nonexistent/chart"), lambda s: _chart(s, "/nonexistent/chart")),
    Case("chart registry unreachable", ("chart", "127.0.0.1:1"), lambda s: _chart(s, "oci://127.0.0.1:1/charts/oauth2-proxy")),
    Case("helm missing", ("helm", ("PATH", "install", "Install")), lambda s: s.no_helm()),
    Case("helm too old", ("3.9.0", ("elm",)), lambda s: s.fake_helm("v3.9.0")),
    Case("service absent", ("noservice", "service"), lambda s: s.app(service={"name": "noservice", "port": 9090})),
    Case("port absent", ("9999", "port"), lambda s: s.app(service={"name": "prometheus-service-team-a", "port": 9999})),
    Case("hostname not covered", ("elsewhere.test", "Listener", "gateway_auth_domain"), lambda s: s.set(gateway_auth_domain="elsewhere.test")),
    Case("foreign Secret", ("Secret", "oauth2-proxy-team-a", "adopt"), lambda s: s.set(gateway_auth_stack=FOREIGN)),
    Case("foreign route", ("HTTPRoute", "prometheus-team-a", "adopt"), lambda s: s.set(gateway_auth_stack=f"{FOREIGN}r")),
    Case("placeholder", ("<YOUR_TENANT_ID>", "gateway_auth_tenant_id"), lambda s: s.set(gateway_auth_tenant_id="<YOUR_TENANT_ID>"), reads=False),
    Case("platform key in a team file", ("gateway_auth_replicas", "team-a.yml"), lambda s: s.team(gateway_auth_replicas=9), reads=False),
    Case("Jinja in a team file", ("team-a.yml", ("Jinja", "template", "{{")), lambda s: s.team(gateway_auth_notes="{{ lookup('env', 'HOME') }}"), reads=False),
    Case(
        "another namespace's Service",
        ("kube-system", "gateway_auth_service_namespaces"),
        lambda s: s.app(service={"name": "kube-dns", "port": 53, "namespace": "kube-system"}),
        reads=False,
    ),
    Case("unknown key", ("gateway_auth_allowed_group", "gateway_auth_allowed_groups"), lambda s: s.team(gateway_auth_allowed_group=[]), reads=False),
    Case(
        "a secret given with -e",
        ("gateway_auth_client_secret", "-e"),
        args=("-e", "team=a", "-e", '{"gateway_auth_client_secret": {"value": "CANARY-given-with-e"}}'),
        reads=False,
        absent=("CANARY-given-with-e",),
    ),
    Case("the team's name with its prefix", ("team-a",), args=("-e", "team=team-a"), reads=False),
]


def _empty(inventory: Inventory) -> None:
    for path in sorted(inventory.path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    inventory.path.rmdir()


def _no_teams(inventory: Inventory) -> None:
    (inventory.path / "hosts.yml").write_text("all:\n  hosts:\n    somebody:\n")


def _garbage(setting: Setting) -> None:
    path = setting.folder / "garbage"
    path.write_text("apiVersion: v1\nkind: Config\nclusters: 7\n")
    setting.set(gateway_auth_cluster={"kubeconfig": str(path)})


def _chart(setting: Setting, ref: str) -> None:
    setting.env["OAUTH2_PROXY_CHART"] = ref


READ_ONLY_ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "view-gateways", "labels": Identity.LABELS},
    "rules": [
        {"apiGroups": [""], "resources": ["namespaces", "services", "pods", "secrets"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
        {"apiGroups": ["gateway.networking.k8s.io", "gateway.envoyproxy.io", "apiextensions.k8s.io"], "resources": ["*"], "verbs": ["get", "list"]},
    ],
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    run: Run
    writes: list[str]
    requests: int


@pytest.fixture(scope="module")
def places(sandbox: Sandbox) -> collections.abc.Iterator[None]:
    """The namespaces of the bent stacks: Services without pods, and two objects that aren't ours."""
    names = [f"{stack}-team-a" for stack in (STACK, FOREIGN, f"{FOREIGN}r")]
    services = [("prometheus-service-team-a", 9090), ("alertmanager-service-team-a", 9093)]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "oauth2-proxy-team-a", "namespace": f"{FOREIGN}-team-a"},
        "stringData": {"client-id": "theirs"},
    }
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "prometheus-team-a", "namespace": f"{FOREIGN}r-team-a"},
        "spec": {"hostnames": ["theirs.example.test"], "rules": [{"backendRefs": [{"name": "theirs", "port": 80}]}]},
    }
    delete_namespaces(sandbox, *names)
    listed = [service(name, place, port) for place in names for name, port in services]
    sandbox.apply(READ_ONLY_ROLE, *(namespace(name) for name in names), *listed, secret, route)
    yield
    delete_namespaces(sandbox, *names, wait=False)


JUDGE = "test_bad_input_ends_clearly_and_writes_nothing"


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, sandbox: Sandbox, example: Inventory, places: None, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Verdict]:
    """The run of every case that a test of this session asks for. The platform's objects must be there, or each would end with their absence."""
    cases = [item.callspec.params["case"] for item in request.session.items if isinstance(item, pytest.Function) and item.originalname == JUDGE]
    sandbox.playbook("prepare_gateway", inventory=example.path).must()
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        folders = [tmp_path_factory.mktemp("bad") for _case in cases]
        done = pool.map(lambda case, folder: _run(sandbox, example, case, folder), cases, folders)
        return dict(zip((case.id for case in cases), done, strict=True))


def _run(sandbox: Sandbox, example: Inventory, case: Case, folder: pathlib.Path) -> Verdict:
    identity = Identity(sandbox, re.sub(r"[^a-z0-9]+", "-", case.id.lower()), folder, case.role)
    inventory = example.copy(folder)
    setting = Setting(sandbox, inventory, folder, identity)
    setting.set(gateway_auth_stack=STACK)
    with inventory.team("team-a") as data:
        data["gateway_auth_apps"] = [app for app in data["gateway_auth_apps"] if app["name"] != "echo"]
    with DoctoredApi(sandbox, case.doctor) as api:
        setting.kubeconfig(api.cluster)
        case.bend(setting)
        audit = AuditLog(sandbox)
        since = audit.here()
        run = sandbox.playbook(case.playbook, *case.args, inventory=inventory.path, env=setting.env)
        return Verdict(run, audit.writes(since, identity.user), len(api.seen))


@pytest.mark.sample(6)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bad_input_ends_clearly_and_writes_nothing(case: Case, verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts[case.id]
    output = " ".join(verdict.run.output.split())
    assert verdict.run.rc != 0, verdict.run.output[-4000:]
    assert verdict.writes == []
    assert (verdict.requests > 0) is case.reads, f"{verdict.requests} requests to the API server"
    for word in case.words:
        alternatives = (word,) if isinstance(word, str) else word
        assert any(one in output for one in alternatives), f"none of {alternatives} in:\n{verdict.run.output[-4000:]}"
    for word in case.absent:
        assert word not in output
    assert "[WARNING]" not in output, verdict.run.output[-4000:]
    assert "[DEPRECATION" not in output
    assert "Traceback" not in output
    assert "MODULE FAILURE" not in output


def test_a_wrong_client_secret_is_named_by_verify(sandbox: Sandbox, onboarded: Inventory, tmp_path: pathlib.Path) -> None:
    """The Secret is bent under the running proxy, which has read the right one; verify judges what the next pod would get."""
    identity = Identity(sandbox, "verify", tmp_path)
    inventory = onboarded.copy(tmp_path)
    place = ("-n", "monitoring-team-a")
    right = sandbox.get("secret", "oauth2-proxy-team-a", "monitoring-team-a")["data"]["client-secret"]
    audit = AuditLog(sandbox)
    with DoctoredApi(sandbox) as api:
        Setting(sandbox, inventory, tmp_path, identity).kubeconfig(api.cluster)
        try:
            patch = {"stringData": {"client-secret": "CANARY-wrong-secret"}}
            sandbox.kubectl(*place, "patch", "secret", "oauth2-proxy-team-a", "-p", json.dumps(patch))
            since = audit.here()
            run = sandbox.playbook("verify_team", "-e", "team=a", inventory=inventory.path)
            assert audit.writes(since, identity.user) == []
        finally:
            sandbox.kubectl(*place, "patch", "secret", "oauth2-proxy-team-a", "-p", json.dumps({"data": {"client-secret": right}}))
        sandbox.playbook("verify_team", "-e", "team=a", inventory=inventory.path).must()
        assert api.seen
        assert [request for request in api.seen if not request.startswith("GET ")] == []
    assert run.rc != 0
    output = " ".join(run.output.split())
    for word in ("AADSTS7000215", "gateway_auth_client_secret", "onboard_team"):
        assert word in output, run.output[-4000:]
    assert "CANARY" not in output
    assert "[WARNING]" not in output


def test_the_audit_log_sees_writes(sandbox: Sandbox, tmp_path: pathlib.Path) -> None:
    """Otherwise "no writes" would prove nothing; and the exceptions are the ones meant."""
    identity = Identity(sandbox, "writer", tmp_path)
    audit = AuditLog(sandbox)
    since = audit.here()
    kubectl = ["kubectl", "--kubeconfig", str(identity.kubeconfig), "-n", identity.NAMESPACE]
    for args in (
        ["create", "configmap", "seen", "--dry-run=server"],
        ["auth", "can-i", "create", "secrets"],
        ["create", "configmap", "seen"],
        ["delete", "configmap", "seen"],
    ):
        subprocess.run([*kubectl, *args], check=True, capture_output=True)
    writes = audit.writes(since, identity.user)
    assert [write.split(" -> ")[0] for write in writes] == [
        f"create configmaps {identity.NAMESPACE}/seen",
        f"delete configmaps {identity.NAMESPACE}/seen",
    ]
