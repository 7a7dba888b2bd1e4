# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in chart: it refuses what upstream doesn't know, and renders our values as upstream does."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest
import yaml

from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values, store_objects
from tests.golden import Case, cases, team
from tests.support.tools import tool

CHART = pathlib.Path(__file__).parents[2] / "charts" / "oauth2-proxy"
HELM = tool("helm")
UPSTREAM = os.environ.get("OAUTH2_PROXY_UPSTREAM_CHART", "")
VALUES = cases("values")

needs_helm = pytest.mark.skipif(not HELM, reason="no helm: `make sandbox` brings one, or set HELM to the path of one")
needs_upstream = pytest.mark.skipif(
    not (HELM and UPSTREAM),
    reason="set OAUTH2_PROXY_UPSTREAM_CHART to a folder with the upstream chart, from"
    " `helm pull oci://ghcr.io/oauth2-proxy/charts/oauth2-proxy --version 10.7.0 --untar`, to compare the two",
)

Objects = dict[tuple[str, str], dict[str, t.Any]]


def _template(chart: pathlib.Path, tmp_path: pathlib.Path, team: Team, values: t.Any) -> subprocess.CompletedProcess[str]:
    source = tmp_path / "values.json"
    source.write_text(json.dumps(values), encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [HELM, "template", team.release, str(chart), "--namespace", team.namespace, "--values", str(source)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def _objects(chart: pathlib.Path, tmp_path: pathlib.Path, team: Team, values: t.Any) -> Objects:
    done = _template(chart, tmp_path, team, values)
    assert done.returncode == 0, done.stderr
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in yaml.safe_load_all(done.stdout) if obj}


@needs_helm
@pytest.mark.parametrize("case", VALUES, ids=lambda case: case.name)
def test_takes_our_values(case: Case, tmp_path: pathlib.Path) -> None:
    objects = _objects(CHART, tmp_path, case.team, release_values(case.team))
    deployment = objects["Deployment", case.team.release]
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {f"--{flag}={value}" for flag, value in release_values(case.team)["extraArgs"].items()} <= set(arguments)
    assert case.team.labels.items() <= deployment["metadata"]["labels"].items()


@needs_helm
@pytest.mark.parametrize(
    ("values", "word"),
    [
        pytest.param({"redis": {"enabled": True}}, "redis", id="the guide's redis block"),
        pytest.param({"existingSecret": "x"}, "existingSecret", id="secret at top level"),
        pytest.param({"config": {"existingsecret": "x"}}, "existingsecret", id="nested, other case"),
        pytest.param({"gatewayApi": {"parentRefs": []}}, "parentRefs", id="gatewayApi.parentRefs"),
        pytest.param({"gatewayApi": {"rules": [{"timeouts": {}}]}}, "timeouts", id="a field of rules that upstream drops"),
        pytest.param({"sessionStorage": {"type": "valkey"}}, "type", id="unknown store"),
        pytest.param({"replicaCount": "two"}, "replicaCount", id="wrong type"),
    ],
)
def test_refuses_what_upstream_would_ignore(values: dict[str, t.Any], word: str, tmp_path: pathlib.Path) -> None:
    done = _template(CHART, tmp_path, team({"helm_values": values}), release_values(team({"helm_values": values})))
    assert done.returncode != 0
    assert word in done.stderr


@needs_helm
@pytest.mark.parametrize("feature", ["alphaConfig.enabled", "ingress.enabled", "autoscaling.enabled", "redis-ha.enabled", "htpasswdFile.enabled"])
def test_refuses_what_it_does_not_render(feature: str, tmp_path: pathlib.Path) -> None:
    key, _dot, leaf = feature.partition(".")
    done = _template(CHART, tmp_path, team(), release_values(team({"helm_values": {key: {leaf: True}}})))
    assert done.returncode != 0
    assert f"does not render {key}" in done.stderr


@needs_helm
def test_braces_reach_the_objects_as_they_are(tmp_path: pathlib.Path) -> None:
    braces = team({"node_selector": {"purpose": "{{ fail `run` }}"}, "proxy_prefix": "/{{.Release.Name}}", "environment": "a'\"{{ \\ }}"})
    objects = _objects(CHART, tmp_path, braces, release_values(braces))
    pods = [objects["Deployment", name]["spec"]["template"] for name in (braces.release, braces.store_name)]
    assert [pod["spec"]["nodeSelector"] for pod in pods] == [braces.node_selector] * 2
    assert [pod["metadata"]["labels"]["gateway-auth/environment"] for pod in pods] == [braces.environment] * 2
    assert "--proxy-prefix=/{{.Release.Name}}" in pods[0]["spec"]["containers"][0]["args"]


@needs_helm
def test_the_store_passes_through_tpl_unchanged(tmp_path: pathlib.Path) -> None:
    objects = _objects(CHART, tmp_path, team(), release_values(team()))
    for wanted in store_objects(team()):
        assert objects[wanted["kind"], wanted["metadata"]["name"]] == wanted


# --- against upstream ----------------------------------------------------------------------------------------------------


@pytest.fixture(name="upstream", scope="session")
def upstream_chart(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy without its sub-chart, which a checkout of the sources lacks and our values never turn on."""
    chart = tmp_path_factory.mktemp("upstream") / "oauth2-proxy"
    shutil.copytree(UPSTREAM, chart, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
    metadata = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    assert metadata["version"] == "10.7.0"
    metadata.pop("dependencies", None)
    (chart / "Chart.yaml").write_text(yaml.safe_dump(metadata), encoding="utf-8")
    return chart


@needs_upstream
@pytest.mark.parametrize("case", VALUES, ids=lambda case: case.name)
def test_renders_what_upstream_renders(case: Case, upstream: pathlib.Path, tmp_path: pathlib.Path) -> None:
    theirs, ours = (_objects(chart, tmp_path, case.team, release_values(case.team)) for chart in (upstream, CHART))
    for objects in (theirs, ours):
        annotations = objects["Deployment", case.team.release]["spec"]["template"]["metadata"]["annotations"]
        # Of the chart's own defaults, never of our Secrets; the same in every release.
        for name in [name for name in annotations if name.startswith("checksum/")]:
            del annotations[name]
        config = objects["ConfigMap", case.team.release]["data"]
        config["oauth2_proxy.cfg"] = config["oauth2_proxy.cfg"].strip()
    assert ours == theirs


@needs_upstream
def test_schema_knows_every_key_of_upstream(upstream: pathlib.Path, tmp_path: pathlib.Path) -> None:
    defaults = yaml.safe_load((upstream / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert not list(_unknown(defaults, schema, ""))
    # And Helm agrees: upstream's own defaults pass.
    merged = {**defaults, "config": {**defaults["config"], "existingSecret": "x"}}
    done = _template(CHART, tmp_path, team(), merged)
    assert done.returncode == 0, done.stderr


def _unknown(value: t.Any, schema: dict[str, t.Any], path: str) -> t.Iterator[str]:
    properties = schema.get("properties")
    if isinstance(value, dict) and properties is not None:
        for key, item in value.items():
            if key not in properties and schema.get("additionalProperties") is False:
                yield f"{path}.{key}"
            elif key in properties:
                yield from _unknown(item, properties[key], f"{path}.{key}")
