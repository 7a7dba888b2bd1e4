# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded cluster's pure functions: cache keys, cgroup paths, rendered files."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from tests.sandbox import assets, cgroups, components, contents, images, pki, processes, state
from tests.sandbox import settings as s

PORTS = components.Ports(api=1, proxy=2, entra_admin=3)


def layout(tmp_path: Path) -> s.Layout:
    return s.Layout(checkout=tmp_path / "my checkout", cache=tmp_path / "cache")


# --- cache keys -------------------------------------------------------------------------------------------------


def test_digest_keeps_parts_apart() -> None:
    assert assets.digest("ab", "c") != assets.digest("a", "bc")
    assert assets.digest("ab", "c") == assets.digest(b"ab", b"c")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param({"main.go": "package main // other"}, False, id="source"),
        pytest.param({"go.sum": "other"}, False, id="pins"),
        pytest.param({"sub/x.go": "package sub"}, False, id="new file"),
        pytest.param({"main_test.go": "package main"}, True, id="test"),
        pytest.param({"notes.md": "text"}, True, id="not compiled"),
    ],
)
def test_go_key_follows_what_is_compiled(tmp_path: Path, change: dict[str, str], same: bool) -> None:
    program = assets.GoProgram("kube", "kube", ".")
    for name in ("main.go", "go.mod", "go.sum"):
        (tmp_path / name).write_text("package main")
    before = assets.go_key(program, tmp_path, "go1.26.1")
    for name, content in change.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert (assets.go_key(program, tmp_path, "go1.26.1") == before) is same


def test_go_key_follows_compiler_and_flags(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module x")
    program = assets.GoProgram("kube", "kube", ".")
    keys = {
        assets.go_key(program, tmp_path, "go1.26.1"),
        assets.go_key(program, tmp_path, "go1.26.2"),
        assets.go_key(assets.GoProgram("kube", "kube", ".", "-X a.b=c"), tmp_path, "go1.26.1"),
    }
    assert len(keys) == 3


def test_an_asset_is_built_once_and_never_half(tmp_path: Path) -> None:
    cache = assets.Cache(tmp_path)
    built: list[Path] = []

    def fails(folder: Path) -> None:
        (folder / "half").write_text("")
        raise s.SandboxError("no network")

    def works(folder: Path) -> None:
        built.append(folder)
        (folder / "whole").write_text("")

    with pytest.raises(s.SandboxError):
        cache.ensure("thing", "1", fails)
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]
    assert (cache.ensure("thing", "1", works) / "whole").exists()
    assert cache.ensure("thing", "1", fails) == cache.path("thing", "1")
    assert len(built) == 1


def test_what_nobody_asked_for_in_a_week_is_removed(tmp_path: Path) -> None:
    cache = assets.Cache(tmp_path)
    keys = {name: assets.digest(name) for name in ("old", "asked for", "new")}
    for name in ("old", "asked for"):
        os.utime(cache.ensure("kube", keys[name], lambda folder: None), (0, 0))
    other = cache.ensure("kube-proxy", keys["old"], lambda folder: None)
    os.utime(other, (0, 0))
    cache.ensure("kube", keys["asked for"], lambda folder: None)
    cache.ensure("kube", keys["new"], lambda folder: None)
    assert {path.name for path in tmp_path.glob("kube*")} == {f"kube-{keys['asked for']}", f"kube-{keys['new']}", other.name}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"GATEWAY_AUTH_CACHE": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/c"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/gateway-auth-sandbox"),
        ({"HOME": "/h"}, "/h/.cache/gateway-auth-sandbox"),
    ],
)
def test_cache_folder(environ: dict[str, str], expected: str) -> None:
    assert s.cache_folder(environ) == Path(expected)


def test_versions_are_upstreams(tmp_path: Path) -> None:
    record = {"prometheus": {"version": "2.42.0+ds-5+deb12u1"}, "redis": {"version": "5:7.0.15-1~deb12u10"}}
    (tmp_path / "packages.json").write_text(json.dumps(record))
    assert assets.versions(tmp_path, ["prometheus", "redis"]) == {"prometheus": "2.42.0", "redis": "7.0.15"}


# --- cgroups ----------------------------------------------------------------------------------------------------

V1 = """\
4:memory:/jobs/17
3:cpu,cpuacct:/
1:name=systemd:/
0::/
"""
V1_MOUNTS = """\
30 24 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
33 24 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def test_hierarchies_of_v1() -> None:
    found = {h.controllers: h.current for h in cgroups.parse_hierarchies(V1, V1_MOUNTS)}
    assert found == {
        "memory": Path("/sys/fs/cgroup/memory/jobs/17"),
        "cpu,cpuacct": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "name=systemd": Path("/sys/fs/cgroup/systemd"),
        "": Path("/sys/fs/cgroup/unified"),
    }
    assert cgroups.version(cgroups.parse_hierarchies(V1, V1_MOUNTS)) == 1


def test_a_container_without_a_cgroup_namespace() -> None:
    mounts = "30 24 0:26 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    (found,) = cgroups.parse_hierarchies("4:memory:/docker/ab/x\n", mounts)
    assert found.current == Path("/sys/fs/cgroup/memory/x")


def test_hierarchies_of_v2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    mounts = f"30 24 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw\n"
    found = cgroups.parse_hierarchies("0::/user.slice/session-1.scope\n", mounts)
    assert [h.current for h in found] == [tmp_path / "user.slice/session-1.scope"]
    assert cgroups.version(found) == 2


def test_no_memory_controller_is_said(tmp_path: Path) -> None:
    with pytest.raises(s.SandboxError, match="memory"):
        cgroups.version(cgroups.parse_hierarchies("0::/\n", f"30 24 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw\n"))


def test_cgroup_names_differ_by_checkout() -> None:
    layouts = [s.Layout(Path("/a"), Path("/c")), s.Layout(Path("/b"), Path("/c")), s.Layout(Path("/a"), Path("/c"), ".sandbox-2")]
    assert len({layout.cgroup_name for layout in layouts}) == 3
    assert s.Layout(Path("/a"), Path("/d")).cgroup_name == layouts[0].cgroup_name


def test_a_sandbox_s_home_is_a_folder_of_the_checkout() -> None:
    assert s.layout({}).state == s.CHECKOUT / ".sandbox"
    assert s.layout({"SANDBOX_HOME": ".sandbox-2"}).state == s.CHECKOUT / ".sandbox-2"
    for bad in ("/tmp/sandbox", "../.sandbox", "tests", "."):
        with pytest.raises(s.SandboxError, match="SANDBOX_HOME"):
            s.layout({"SANDBOX_HOME": bad})


# --- what is written --------------------------------------------------------------------------------------------


def test_env_survives_a_shell(tmp_path: Path) -> None:
    here = layout(tmp_path)
    env = tmp_path / "env"
    env.write_text(state.render_env(here, PORTS))
    script = f'. "{env}"; printf "%s\\n" "$KUBECONFIG" "$SANDBOX_PROXY" "$SANDBOX_CA" "$SANDBOX_ENTRA_ADMIN" "$OAUTH2_PROXY_CHART" "$PATH"'

    def sourced(**more: str) -> list[str]:
        command = ["sh", "-eu", "-c", script]
        return subprocess.run(command, env={"PATH": "/usr/bin:/bin", **more}, capture_output=True, text=True, check=True).stdout.splitlines()

    assert sourced() == [
        str(here.kubeconfig),
        "http://127.0.0.1:2",
        str(here.ca),
        "http://127.0.0.1:3",
        str(here.checkout / "tests/charts/oauth2-proxy"),
        f"{here.bin}:/usr/bin:/bin",
    ]
    assert "/c.tgz" in sourced(OAUTH2_PROXY_CHART="/c.tgz")


def test_the_proxy_knows_only_the_sandbox(tmp_path: Path) -> None:
    config = components.proxy_config(layout(tmp_path), PORTS, 4711)
    assert set(config["routes"]) == {"*.gateway-auth.test", "gateway-auth.test", "login.microsoftonline.com", "graph.microsoft.com"}
    assert config["routes"]["login.microsoftonline.com"] == {"443": "10.90.0.10:443"}
    assert config["relays"]["127.0.0.1:1"] == "127.0.0.1:6443"


def test_init_config_is_json_and_holds_no_secret(tmp_path: Path) -> None:
    names = [program.name for program in assets.GO_PROGRAMS]
    inputs = {name: tmp_path / name for name in [*names, "debian"]}
    config = json.loads(json.dumps(components.init_config(layout(tmp_path), inputs, cgroups.Groups(1, ["cpu"], []))))
    started = [entry["name"] for stage in config["stages"] for entry in stage]
    assert started[:3] == ["etcd", "containerd", "kube-apiserver"]
    assert {"kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager", "sandbox-lb", "entra"} == set(started[3:])
    assert all(Path(entry["argv"][0]).is_absolute() for stage in config["stages"] for entry in stage)
    assert [entry["name"] for stage in config["stages"] for entry in stage if entry.get("expendable")] == ["entra"]


def test_audit_policy_drops_no_write_but_heartbeats() -> None:
    for rule in components.audit_policy()["rules"]:
        if rule["level"] != "None":
            continue
        reads_only = set(rule.get("verbs", [])) == {"get", "list", "watch"}
        heartbeat = any(set(entry["resources"]) <= {"leases", "nodes/status"} for entry in rule.get("resources", []))
        assert reads_only or heartbeat or "nonResourceURLs" in rule


def test_corefile_answers_for_the_double_and_the_gateway() -> None:
    text = contents.corefile()
    assert "10.90.0.10 login.microsoftonline.com graph.microsoft.com" in text
    assert 'answer "{{ .Name }} 5 IN A 10.90.0.100"' in text


def test_contents_are_unique_objects() -> None:
    objects = contents.base({"prometheus": "p:1", "alertmanager": "a:1"})
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(names) == len(set(names))
    assert ("Service", "monitoring-team-a", "prometheus-service-team-a") in names
    assert ("Service", "monitoring-team-b", "alertmanager-service-team-b") in names
    assert yaml.safe_load(contents.PROMETHEUS_CONFIG)["scrape_configs"]


def test_containerd_config_is_toml(tmp_path: Path) -> None:
    config = tomllib.loads(images.containerd_config(tmp_path / 'a "b"', tmp_path, tmp_path, tmp_path))
    assert config["root"] == str(tmp_path / 'a "b"')
    assert config["plugins"]["io.containerd.grpc.v1.cri"]["sandbox_image"] == images.PAUSE


# --- certificates -----------------------------------------------------------------------------------------------


def test_the_sandbox_ca_vouches_for_the_sandbox_only() -> None:
    authority = pki.sandbox_authority()
    constraint = authority.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraint.critical
    assert constraint.value.permitted_subtrees is not None
    assert {name.value for name in constraint.value.permitted_subtrees} == {"gateway-auth.test", "login.microsoftonline.com", "graph.microsoft.com"}
    assert constraint.value.excluded_subtrees


@pytest.mark.parametrize(("host", "trusted"), [("prometheus-team-a.gateway-auth.test", True), ("login.microsoftonline.com", True), ("example.com", False)])
def test_openssl_heeds_the_constraint(tmp_path: Path, host: str, trusted: bool) -> None:
    authority = pki.sandbox_authority()
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    certificate, _ = authority.issue("leaf", names=[host])
    (tmp_path / "leaf.crt").write_bytes(certificate)
    done = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", tmp_path / "ca.crt", tmp_path / "leaf.crt"], capture_output=True, check=False)
    assert (done.returncode == 0) is trusted


def test_private_files_are_private(tmp_path: Path) -> None:
    pki.write_private(tmp_path / "key", b"x")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


# --- processes --------------------------------------------------------------------------------------------------


def test_waiting_ends_and_names_what_was_missing(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("first\nlast words\n")
    with pytest.raises(s.SandboxError, match=r"the moon[\s\S]*last words"):
        processes.wait_for("the moon", lambda: None, 0.1, log)


def test_a_failed_command_says_what_it_said() -> None:
    with pytest.raises(s.SandboxError, match=r"greet: exit code 3[\s\S]*hello"):
        processes.run(["sh", "-c", "echo hello >&2; exit 3"], "greet", 5)
    with pytest.raises(s.SandboxError, match="missing"):
        processes.run(["no-such-command-here"], "greet", 5)


def test_a_process_is_known_by_its_start() -> None:
    me = processes.Process.of(1)
    assert me is not None
    assert me.alive()
    assert not processes.Process(me.pid, me.started + 1).alive()
    assert processes.Process.from_json(me.as_json()) == me
