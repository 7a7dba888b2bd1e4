# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of what runs: an API server that shows other images makes the playbooks refuse, report or admit that they don't know."""

from __future__ import annotations

import collections.abc
import pathlib
import typing as t

import pytest

from .audit import AuditLog
from .doctored import Doctor, DoctoredApi, images_of
from .inventory import Inventory
from .sandbox import Run, Sandbox
from .workload import Identity, write_kubeconfig

Object = dict[str, t.Any]
MIRROR = "mirror.example.com:5000/platform"


@pytest.fixture(scope="module")
def identity(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity(sandbox, "versions", tmp_path_factory.mktemp("identity"))


@pytest.fixture
def play(sandbox: Sandbox, onboarded: Inventory, identity: Identity, tmp_path: pathlib.Path) -> collections.abc.Callable[[str, Doctor], tuple[Run, list[str]]]:
    """Run a playbook for team a with the API server seen through a pane; what it said and wrote."""

    def run(playbook: str, doctor: Doctor) -> tuple[Run, list[str]]:
        inventory = onboarded.copy(tmp_path)
        audit = AuditLog(sandbox)
        since = audit.here()
        with DoctoredApi(sandbox, doctor) as api:
            write_kubeconfig(tmp_path / "kubeconfig", api.cluster, {"token": identity.token})
            with inventory.platform() as data:
                data["gateway_auth_cluster"] = {"kubeconfig": str(tmp_path / "kubeconfig")}
            ended = sandbox.playbook(playbook, "-e", "team=a", inventory=inventory.path)
        return ended, audit.writes(since, identity.user)

    return run


BAD = {
    "envoy": f"{MIRROR}/envoy:distroless-v1.37.0",
    "envoy-gateway": f"{MIRROR}/gateway:v1.7.5@sha256:0123",
    "oauth2-proxy": f"{MIRROR}/oauth2-proxy:v7.14.2",
}
WORDS = ("Envoy 1.37.0", "Location", "Envoy Gateway 1.7.5", "pathOverride", "oauth2-proxy 7.14.2", "GHSA-7x63-xv5r-3p2x", "GHSA-pxq7-h93f-9jrg")


@pytest.mark.parametrize("playbook", ["onboard_team", "verify_team"])
def test_bad_versions_are_refused_and_reported(play: collections.abc.Callable[[str, Doctor], tuple[Run, list[str]]], playbook: str) -> None:
    run, writes = play(playbook, images_of(BAD))
    assert run.rc != 0
    assert writes == []
    output = " ".join(run.output.split())
    assert [word for word in WORDS if word not in output] == [], run.output[-6000:]
    assert "Traceback" not in output


@pytest.mark.parametrize("playbook", ["onboard_team", "verify_team"])
def test_a_version_that_is_not_known_is_told_and_stops_nothing(play: collections.abc.Callable[[str, Doctor], tuple[Run, list[str]]], playbook: str) -> None:
    run, writes = play(playbook, images_of({"envoy": f"{MIRROR}/envoy@sha256:0123"}))
    run.must()
    assert writes == []
    output = " ".join(run.output.split())
    for word in ("Envoy", "isn't known", "names a digest and no tag"):
        assert word in output, run.output[-4000:]


def test_the_sandbox_s_own_versions_are_read_and_good(sandbox: Sandbox, onboarded: Inventory) -> None:
    """Otherwise every run of these tests would pass by not knowing."""
    run = sandbox.playbook("verify_team", "-e", "team=a", inventory=onboarded.path).must()
    for component in ("Envoy", "Envoy Gateway", "Kubernetes", "oauth2-proxy"):
        assert f"ok    {component}: no version known to be bad" in run.output, run.output[-4000:]
    assert "isn't known" not in run.output
