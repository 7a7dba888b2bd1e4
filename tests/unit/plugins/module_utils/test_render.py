# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A team as files: golden cases, safe order, plain YAML, and the Job's script, run."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
import yaml

from ansible_collections.platform.gateway_auth.plugins.module_utils import _render
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import gateway_manifests
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values
from tests.golden import COMPILE, Case, cases, team

RENDER = cases("render")
EVERY = [*cases("manifests"), *RENDER]


def _documents(team: Team, ca: str = "") -> dict[str, list[dict[str, t.Any]]]:
    return {name: list(yaml.safe_load_all(content)) for name, content in _render.render_team(team, ca).items() if name.endswith(".yaml")}


@pytest.mark.parametrize("case", RENDER, ids=lambda case: case.name)
def test_golden_files(case: Case) -> None:
    assert COMPILE["render"](case.team) == case.content["expected"]


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.name)
def test_files_are_ours_and_plain(case: Case) -> None:
    for name, content in _render.render_team(case.team).items():
        assert _render.is_ours(content), name
        assert content.endswith("\n") and not content.endswith("\n\n"), name
        assert "!!" not in content, name


# Quarantine is a state of the cluster, which no file asks for.
@pytest.mark.parametrize("case", [case for case in EVERY if not case.team.quarantined_since], ids=lambda case: case.name)
def test_manifests_are_those_that_the_playbook_applies(case: Case) -> None:
    rendered = [
        obj for documents in _documents(case.team).values() for obj in documents if obj.get("kind") in ("HTTPRoute", "SecurityPolicy", "ReferenceGrant")
    ]
    for obj in rendered:
        del obj["metadata"]["annotations"]
    applied = gateway_manifests(case.team)
    assert len(rendered) == len(applied)
    assert all(obj in rendered for obj in applied)
    assert _documents(case.team)["values.yaml"] == [release_values(case.team)]


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.name)
def test_waves_keep_the_order(case: Case) -> None:
    waves = {
        (obj["kind"], obj["metadata"]["name"]): int(obj["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        for name, documents in _documents(case.team).items()
        if name != "values.yaml"
        for obj in documents
    }
    for app in case.team.apps:
        chain = [
            ("SecurityPolicy", case.team.policy_name(app)),
            ("HTTPRoute", case.team.passthrough_name(app)),
            ("Job", f"{app.name}-probe-{case.team.name}"),
            ("HTTPRoute", case.team.route_name(app)),
        ]
        steps = [waves[key] for key in chain]
        assert steps == sorted(set(steps))


def test_flux_never_removes_a_policy() -> None:
    policy = _documents(team())["1-policies/prometheus.yaml"][-1]
    assert policy["kind"] == "SecurityPolicy"
    assert policy["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/prune"] == "disabled"


def test_the_job_differs_when_what_it_proves_does() -> None:
    narrower = team({"apps": [{"name": "prometheus", "hostname": "h", "service": {"name": "s", "port": 1, "namespace": ""}, "allowed_groups": [{"id": "x"}]}]})
    wider = team({"apps": [{"name": "prometheus", "hostname": "h", "service": {"name": "s", "port": 1, "namespace": ""}}]})
    assert _documents(narrower)["3-probe/prometheus.yaml"] != _documents(wider)["3-probe/prometheus.yaml"]


def test_a_private_ca_is_mounted_and_used() -> None:
    config, job = _documents(team(), "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n")["3-probe/prometheus.yaml"]
    pod = job["spec"]["template"]["spec"]
    assert config["data"]["ca.crt"].endswith("-----END CERTIFICATE-----\n")
    assert pod["volumes"] == [{"name": "ca", "configMap": {"name": config["metadata"]["name"]}}]
    command = pod["containers"][0]["command"]
    assert command[command.index("--cacert") + 1].startswith(pod["containers"][0]["volumeMounts"][0]["mountPath"])
    assert not {"-k", "--insecure"} & set(command)


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        pytest.param("# Rendered by platform.gateway_auth for team-a; …\nx: 1\n", True, id="a manifest"),
        pytest.param("<!-- Rendered by platform.gateway_auth for team-a -->\n", True, id="the README"),
        pytest.param("x: 1\n# Rendered by platform.gateway_auth\n", False, id="not in the first line"),
        pytest.param("", False, id="empty"),
    ],
)
def test_is_ours(content: str, ours: bool) -> None:
    assert _render.is_ours(content) is ours


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        pytest.param("401", 16, id="refused at once"),
        pytest.param("302 404 401", 18, id="refused in the end"),
        pytest.param("401 401 200 401", 19, id="one answer starts the count anew"),
    ],
)
def test_the_job_waits_for_refusals_in_a_row(tmp_path: pathlib.Path, answers: str, calls: int) -> None:
    curl = tmp_path / "curl"
    curl.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >> {tmp_path}/calls; n=$(wc -l < {tmp_path}/calls)\n'
        f'set -- {answers}; [ "$n" -lt $# ] || n=$#; shift $((n - 1)); printf %s "$1"; [ "$1" = 401 ]\n',
        encoding="utf-8",
    )
    curl.chmod(0o755)
    (tmp_path / "sleep").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "sleep").chmod(0o755)
    job = _documents(team())["3-probe/prometheus.yaml"][0]
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(command, env=environment, timeout=20, check=True, capture_output=True)
    lines = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert len(lines) == calls
    assert all(line.endswith("Accept: application/json https://prometheus-team-a.apps.example.com/.gateway-auth/probe") for line in lines)
