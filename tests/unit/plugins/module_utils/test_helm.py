# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Release records as Helm 3.18 and 4.1 wrote them, why Helm must run, and what a user reads when the tool or the chart is wrong."""

from __future__ import annotations

import base64
import copy
import gzip
import io
import json
import os
import pathlib
import stat
import tarfile
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _helm
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForeignObjectError, HelmError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Chart
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values
from tests.golden import team
from tests.unit.support.api import Api, live
from tests.unit.support.releases import release_record

Object = dict[str, t.Any]
TEAM = team()
NAMESPACE, RELEASE = TEAM.namespace, TEAM.release
# What the release `tiny` of live/helm3.json and live/helm4.json was installed with.
TINY: Object = {"extraArgs": {"provider": "entra-id"}, "gone": None, "hosts": ["a", "b"], "nested": {"gone": None}}


# --- the record ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("recorded", "name"), [("helm3", "tiny3"), ("helm4", "tiny")])
def test_a_real_record(api: Api, kube: Kube, recorded: str, name: str) -> None:
    api.seed(live(recorded))
    release = _helm.newest_release(kube, NAMESPACE, name)
    assert release is not None
    assert (release.revision, release.status, release.chart, release.version) == (1, "deployed", "oauth2-proxy", "10.7.0")
    assert release.values == TINY
    assert release.finished
    assert _helm.upgrade_reasons(release, "10.7.0", TINY) == [], "null values included"


@pytest.mark.parametrize(("recorded", "name"), [("helm3", "tiny3"), ("helm4", "tiny")])
def test_an_uninstallation_that_was_killed_can_be_done_again(api: Api, kube: Kube, recorded: str, name: str) -> None:
    record = live(recorded)
    body = _helm._decode(record)
    record["metadata"]["labels"]["status"] = body["info"]["status"] = "uninstalling"
    record["data"]["release"] = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(body).encode()))).decode()
    api.seed(record)
    release = _helm.newest_release(kube, NAMESPACE, name)
    assert release is not None and release.leaving
    _helm.reopen(kube, release)
    again = _helm.newest_release(kube, NAMESPACE, name)
    assert again is not None and not again.leaving and again.status == "failed" == again.record["metadata"]["labels"]["status"]
    assert _helm._decode(again.record) == {**body, "info": {**body["info"], "status": "failed"}}, "nothing else of it changes"


def test_no_release(api: Api, kube: Kube) -> None:
    assert _helm.newest_release(kube, NAMESPACE, RELEASE) is None


def test_the_newest_revision_counts_whatever_its_status(api: Api, kube: Kube) -> None:
    for revision, status in ((9, "superseded"), (11, "pending-upgrade"), (10, "deployed")):
        api.seed(release_record(TEAM, revision=revision, status=status, values={"revision": revision}))
    release = _helm.newest_release(kube, NAMESPACE, RELEASE)
    assert release is not None
    assert (release.revision, release.status, release.values, release.finished) == (11, "pending-upgrade", {"revision": 11}, False)
    assert release.record["metadata"]["name"] == f"sh.helm.release.v1.{RELEASE}.v11"


def test_others_secrets_are_no_records(api: Api, kube: Kube) -> None:
    stranger = release_record(TEAM)
    stranger["type"] = "Opaque"
    another = release_record(team({"name": "team-b"}))
    another["metadata"]["namespace"] = NAMESPACE
    api.seed(stranger, another)
    assert _helm.newest_release(kube, NAMESPACE, RELEASE) is None


def test_values_that_were_never_given(api: Api, kube: Kube) -> None:
    api.seed(release_record(TEAM, values=None))
    release = _helm.newest_release(kube, NAMESPACE, RELEASE)
    assert release is not None and release.values == {}


def _stored(content: bytes) -> str:
    return base64.b64encode(base64.b64encode(content)).decode()


PACKED = gzip.compress(json.dumps({"version": 1}).encode(), mtime=0)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({}, id="no key"),
        pytest.param({"release": "%%%"}, id="no base64"),
        pytest.param({"release": _stored(b"plain")}, id="not compressed"),
        pytest.param({"release": _stored(PACKED[:-9])}, id="cut off"),
        pytest.param({"release": _stored(PACKED[:12] + b"\xff\xff\xff\xff" + PACKED[16:])}, id="damaged"),
        pytest.param({"release": _stored(gzip.compress(b"{"))}, id="no JSON"),
    ],
)
def test_a_broken_record_is_named(api: Api, kube: Kube, data: Object) -> None:
    record = release_record(TEAM)
    record["data"] = data
    api.seed(record)
    with pytest.raises(HelmError) as error:
        _helm.newest_release(kube, NAMESPACE, RELEASE)
    assert record["metadata"]["name"] in error.value.message and NAMESPACE in error.value.message
    assert error.value.remedy


# --- why Helm must run -----------------------------------------------------------------------------------------------------


def _release(values: Object | None = None, **changes: t.Any) -> _helm.Release:
    fields = {"revision": 3, "status": "deployed", "chart": "oauth2-proxy", "version": "10.7.0", "values": values or {}, "record": {}}
    return _helm.Release(**{**fields, **changes})


def test_nothing_installed_means_install() -> None:
    (reason,) = _helm.upgrade_reasons(None, "10.7.0", {})
    assert "install" in reason and "10.7.0" in reason


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade", "pending-rollback", "failed", "uninstalling", "unknown"])
def test_an_unfinished_release_is_done_again(status: str) -> None:
    (reason,) = _helm.upgrade_reasons(_release(status=status), "10.7.0", {})
    assert status in reason and "3" in reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"version": "10.6.0"}, ["10.6.0", "10.7.0"], id="version"),
        pytest.param({"chart": "other"}, ["other", "oauth2-proxy"], id="chart"),
    ],
)
def test_another_chart(changes: Object, words: list[str]) -> None:
    (reason,) = _helm.upgrade_reasons(_release(**changes), "10.7.0", {})
    assert all(word in reason for word in words)


@pytest.mark.parametrize(
    ("have", "want", "reasons"),
    [
        pytest.param({"a": 1}, {"a": 1}, [], id="same"),
        pytest.param({"b": 1, "a": {"d": 1, "c": 2}}, {"a": {"c": 2, "d": 1}, "b": 1}, [], id="order of keys"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": 2}}, [["a.b", "1", "2"]], id="scalar"),
        pytest.param({"a": "1"}, {"a": 1}, [["a", "1"]], id="type"),
        pytest.param({"a": 1}, {}, [["a", "remove"]], id="gone"),
        pytest.param({}, {"a": {"b": "x"}}, [["a", "set", "x"]], id="new"),
        pytest.param({"a": None}, {}, [["a", "remove"]], id="null is not missing"),
        pytest.param({"a": {"b": 1}}, {"a": None}, [["a", "None"]], id="mapping to null"),
        pytest.param({"a": ["x"]}, {"a": ["x", "y"]}, [["a", "add", "y"]], id="list grows"),
        pytest.param({"a": ["x", "y"]}, {"a": ["x"]}, [["a", "remove", "y"]], id="list shrinks"),
        pytest.param({"a": ["x"]}, {"a": ["y"]}, [["a", "add y", "remove x"]], id="list changes"),
        pytest.param({"a": ["x", "y"]}, {"a": ["y", "x"]}, [["a", "reorder"]], id="order of a list"),
        pytest.param({"a": ["x", "x"]}, {"a": ["x"]}, [["a"]], id="repeated item"),
        pytest.param({"b": 1, "a": 1}, {"a": 2, "b": 2}, [["a"], ["b"]], id="two, in order"),
    ],
)
def test_values(have: Object, want: Object, reasons: list[list[str]]) -> None:
    found = _helm.upgrade_reasons(_release(have), "10.7.0", want)
    assert len(found) == len(reasons)
    for reason, words in zip(found, reasons, strict=True):
        assert all(word in reason for word in words), reason


def test_a_secret_in_somebody_s_values_is_not_told() -> None:
    have = {"config": {"clientSecret": "hunter2"}, "extraArgs": ["--client-secret=hunter2"], "list": ["--cookie-secret=hunter2"]}
    found = _helm.upgrade_reasons(_release(have), "10.7.0", {"config": {"clientSecret": "other"}, "extraArgs": {"a": "b"}, "list": []})
    assert len(found) == 3 and "hunter2" not in str(found)


def test_a_long_value_is_cut() -> None:
    (reason,) = _helm.upgrade_reasons(_release({}), "10.7.0", {"a": "x" * 5000})
    assert len(reason) < 300


def test_our_own_values_survive_the_way_through_a_record(api: Api, kube: Kube) -> None:
    api.seed(release_record(TEAM))
    assert _helm.upgrade_reasons(_helm.newest_release(kube, NAMESPACE, RELEASE), "10.7.0", release_values(TEAM)) == []


# --- whose release it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "adopt", "refused"),
    [
        pytest.param(TEAM.labels, [], False, id="ours"),
        pytest.param({**TEAM.labels, "theirs": "too"}, [], False, id="ours with more"),
        pytest.param(None, [], True, id="no labels"),
        pytest.param(team({"name": "team-b"}).labels, [], True, id="another team's"),
        pytest.param(None, ["all"], False, id="adopt all"),
        pytest.param(None, [f"Release/{RELEASE}"], False, id="adopted"),
        pytest.param(None, ["Release/other", RELEASE], True, id="another adopted"),
    ],
)
def test_foreign_release(labels: Object | None, adopt: list[str], refused: bool) -> None:
    release = _release({"customLabels": labels} if labels else {})
    if not refused:
        _helm.refuse_foreign_release(TEAM, release, adopt)
        return
    with pytest.raises(ForeignObjectError) as error:
        _helm.refuse_foreign_release(TEAM, release, adopt)
    assert RELEASE in error.value.message
    assert f"adopt='[Release/{RELEASE}]'" in error.value.remedy


def test_no_release_is_nobody_s() -> None:
    _helm.refuse_foreign_release(TEAM, None, [])


# --- the tool --------------------------------------------------------------------------------------------------------------


def _tool(folder: pathlib.Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program ``helm``, first on PATH."""
    tool = folder / "helm"
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("said", "version"),
    [
        pytest.param("v3.18.0", (3, 18, 0), id="floor"),
        pytest.param("v3.19.4", (3, 19, 4), id="3"),
        pytest.param("v4.1.4+g05fa379", (4, 1, 4), id="4"),
    ],
)
def test_helm_version(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, said: str, version: tuple[int, ...]) -> None:
    _tool(tmp_path, f"echo {said}", monkeypatch)
    assert _helm.helm_version() == version


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("echo hello", ["hello"], id="no version"),
        pytest.param("echo broken library >&2; exit 3", ["broken library"], id="fails"),
    ],
)
def test_a_helm_that_will_not_do(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, script: str, words: list[str]) -> None:
    _tool(tmp_path, script, monkeypatch)
    with pytest.raises(HelmError) as error:
        _helm.helm_version()
    assert all(word in str(error.value) for word in words)


def test_no_helm(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HelmError, match="PATH"):
        _helm.helm_version()
    with pytest.raises(HelmError, match="PATH"):
        _helm.chart_metadata(TEAM.chart)


def test_a_helm_that_never_answers(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tool(tmp_path, "exec sleep 30", monkeypatch)
    monkeypatch.setattr(_helm, "_PROCESS_TIMEOUT_S", 0.1)
    with pytest.raises(HelmError, match="gateway_auth_chart"):
        _helm.chart_metadata(TEAM.chart)


# --- the chart -------------------------------------------------------------------------------------------------------------


def _folder(path: pathlib.Path, metadata: str | None = "name: oauth2-proxy\nversion: 10.7.0\n") -> str:
    chart = path / "oauth2-proxy"
    chart.mkdir()
    if metadata is not None:
        (chart / "Chart.yaml").write_text(metadata, encoding="utf-8")
    return str(chart)


def _archive(path: pathlib.Path, members: dict[str, str]) -> str:
    packed = path / "chart.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            archive.addfile(member, io.BytesIO(content.encode()))
    return str(packed)


def test_a_chart_in_a_folder(tmp_path: pathlib.Path) -> None:
    chart = Chart(_folder(tmp_path), "9.9.9")
    assert _helm.chart_metadata(chart)["version"] == "10.7.0"
    assert _helm.chart_version(chart) == "10.7.0", "what the release will record, whatever the option says"


def test_a_packed_chart(tmp_path: pathlib.Path) -> None:
    members = {"oauth2-proxy/charts/sub/Chart.yaml": "name: sub\nversion: 1.0.0\n", "oauth2-proxy/Chart.yaml": "name: oauth2-proxy\nversion: 10.8.1\n"}
    assert _helm.chart_version(Chart(_archive(tmp_path, members), "")) == "10.8.1"


def test_a_chart_in_a_registry(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _helm.chart_version(TEAM.chart) == TEAM.chart.version, "asks nobody"
    _tool(tmp_path, f'echo "$@" > {tmp_path}/asked; printf "name: oauth2-proxy\\nversion: 10.7.0\\n"', monkeypatch)
    assert _helm.chart_metadata(TEAM.chart)["version"] == "10.7.0"
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert TEAM.chart.ref in asked and TEAM.chart.version in asked


def test_a_registry_that_says_no(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tool(tmp_path, "echo 'Error: not found' >&2; exit 1", monkeypatch)
    with pytest.raises(HelmError) as error:
        _helm.chart_metadata(TEAM.chart)
    assert TEAM.chart.ref in error.value.message and "not found" in error.value.message
    assert "gateway_auth_chart" in error.value.remedy


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        pytest.param(None, ["Chart.yaml"], id="no Chart.yaml"),
        pytest.param("{", ["no Helm chart"], id="no YAML"),
        pytest.param("", ["oauth2-proxy", "None"], id="empty"),
        pytest.param("name: other\nversion: 10.7.0\n", ["oauth2-proxy", "other"], id="another chart"),
        pytest.param("name: oauth2-proxy\n", ["10.7.0"], id="no version"),
    ],
)
def test_a_folder_that_will_not_do(tmp_path: pathlib.Path, metadata: str | None, words: list[str]) -> None:
    with pytest.raises(HelmError) as error:
        _helm.chart_metadata(Chart(_folder(tmp_path, metadata), ""))
    assert all(word in error.value.message for word in words)
    assert "gateway_auth_chart" in error.value.remedy


def test_files_that_are_no_charts(tmp_path: pathlib.Path) -> None:
    (tmp_path / "text").write_text("hello", encoding="utf-8")
    for ref in (str(tmp_path / "text"), _archive(tmp_path, {"README.md": "x"})):
        with pytest.raises(HelmError) as error:
            _helm.chart_metadata(Chart(ref, ""))
        assert ref in error.value.message and "gateway_auth_chart" in error.value.remedy


@pytest.mark.parametrize("ref", ["oauth2-proxy", "/no/such/folder", "http://charts.example.com/x.tgz", ""])
def test_a_reference_of_no_known_shape(ref: str) -> None:
    with pytest.raises(HelmError) as error:
        _helm.chart_metadata(Chart(ref, ""))
    assert repr(ref) in error.value.message and "oci://" in error.value.message


def test_reading_a_record_changes_nothing(api: Api, kube: Kube) -> None:
    api.read_only = True
    record = release_record(TEAM)
    before = copy.deepcopy(record)
    api.seed(record)
    _helm.newest_release(kube, NAMESPACE, RELEASE)
    assert record == before
