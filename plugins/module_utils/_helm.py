# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Helm without Helm where that is enough: the stored release is read and compared here, a process starts only to change it.

Helm 3 and 4 store a revision as a Secret ``sh.helm.release.v1.<release>.v<n>``, data ``release`` =
base64(gzip(JSON)) (helm.sh/helm/v4 pkg/storage/driver/util.go).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import gzip
import json
import os
import re
import shutil
import subprocess
import tarfile
import typing as t
import zlib

try:
    import yaml
except ImportError:  # never on a controller; module_utils must import without it all the same
    yaml = None  # type: ignore[assignment]

from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._cover import covered_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForeignObjectError, HelmError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube, is_namespaced, knows
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Chart, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import Change
from ansible_collections.platform.gateway_auth.plugins.module_utils._versions import floor, parse

Object = dict[str, t.Any]

CHART_NAME = "oauth2-proxy"
_PROCESS_TIMEOUT_S = 60
_CHART_REMEDY = "Correct gateway_auth_chart.ref (or OAUTH2_PROXY_CHART)."


@dataclasses.dataclass(frozen=True)
class Release:
    """The newest revision of a release."""

    revision: int
    status: str
    chart: str
    version: str
    values: Object
    record: Object  # the Secret that holds it
    manifest: str = ""  # what Helm rendered; hooks are elsewhere

    @property
    def leaving(self) -> bool:
        """Whether somebody began to uninstall it, and didn't come to the end (or had its history kept)."""
        return self.status.startswith("uninstall")

    @property
    def finished(self) -> bool:
        """Whether Helm ended its work on it; a killed or failed run leaves another status behind."""
        return self.status == "deployed"


def newest_release(kube: Kube, namespace: str, name: str) -> Release | None:
    """The newest stored revision, whatever its status; None when there is none."""
    records = kube.list("v1", "Secret", namespace, {"owner": "helm", "name": name})
    records = [record for record in records if record.get("type") == "helm.sh/release.v1"]
    if not records:
        return None
    record = max(records, key=lambda item: int(item["metadata"]["labels"].get("version", "0")))
    body = _decode(record)
    chart = ((body.get("chart") or {}).get("metadata")) or {}
    return Release(
        revision=int(body.get("version") or 0),
        status=str((body.get("info") or {}).get("status") or record["metadata"]["labels"].get("status")),
        chart=str(chart.get("name")),
        version=str(chart.get("version")),
        values=body.get("config") or {},
        record=record,
        manifest=str(body.get("manifest") or ""),
    )


def reopen(kube: Kube, release: Release) -> None:
    """Let an uninstallation that was killed be done again.

    kubernetes.core takes a release that is ``uninstalling`` for one that is gone, and Helm would go on with it.
    """
    body = _decode(release.record)
    body["info"] = {**(body.get("info") or {}), "status": "failed"}
    stored = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(body).encode()))).decode()
    operations: list[Object] = [
        {"op": "add", "path": "/data/release", "value": stored},
        {"op": "add", "path": "/metadata/labels/status", "value": "failed"},
    ]
    kube.patch(release.record, operations)


def release_objects(team: Team, release: Release) -> list[Object]:
    """The objects of a release as Helm writes them, in its order; kinds that we can't reach are left out.

    The manifest lacks what Helm adds to each: its namespace, a label, and the annotations that say whose it is
    (helm.sh/helm/v4 pkg/action/validate.go).
    """
    objects = []
    for document in yaml.load_all(release.manifest, Loader=_loader()):
        if not isinstance(document, dict) or not knows(str(document.get("apiVersion")), str(document.get("kind"))):
            continue
        meta = document["metadata"] = dict(document.get("metadata") or {})
        if is_namespaced(document["apiVersion"], document["kind"]):
            meta.setdefault("namespace", team.namespace)
        meta["labels"] = {**(meta.get("labels") or {}), "app.kubernetes.io/managed-by": "Helm"}
        owner = {"meta.helm.sh/release-name": team.release, "meta.helm.sh/release-namespace": team.namespace}
        meta["annotations"] = {**(meta.get("annotations") or {}), **owner}
        objects.append(document)
    return objects


def mend(team: Team, journal: Journal, release: Release) -> list[Change]:
    """Put back what somebody changed or deleted of a release's objects."""
    changes = [journal.mend(obj) for obj in release_objects(team, release)]
    return [change for change in changes if change is not None]


def deployments_of(changes: t.Iterable[Change], action: str) -> list[str]:
    """Names of the Deployments that were restored, or mended."""
    return [change.obj["metadata"]["name"] for change in changes if change.action == action and change.obj["kind"] == "Deployment"]


@functools.cache
def _loader() -> t.Any:
    """libyaml's where it is there (some 20 times as fast), with dates left as the text that Helm takes them for."""

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in Loader.yaml_implicit_resolvers.items()
    }
    return Loader


def _decode(record: Object) -> Object:
    where = f"{record['metadata']['namespace']}/{record['metadata']['name']}"
    try:
        stored = base64.b64decode(base64.b64decode(record["data"]["release"]))
        return t.cast("Object", json.loads(gzip.decompress(stored)))
    except (KeyError, ValueError, binascii.Error, OSError, EOFError, zlib.error) as exc:
        raise HelmError(f"The Helm release record {where} can't be read ({exc}).", "Look at it with `helm history`; remove a broken record by hand.") from exc


def upgrade_reasons(release: Release | None, chart_version: str, values: Object) -> list[str]:
    """Why Helm must run; empty when the stored release already is this chart with these values."""
    if release is None:
        return [f"install chart {CHART_NAME} {chart_version}"]
    reasons = []
    if not release.finished:
        reasons.append(f"revision {release.revision} never finished (status {release.status})")
    if release.chart != CHART_NAME or release.version != chart_version:
        reasons.append(f"change chart from {release.chart} {release.version} to {CHART_NAME} {chart_version}")
    reasons += _value_reasons("", release.values, values)
    return reasons


def _value_reasons(path: str, have: t.Any, want: t.Any) -> list[str]:
    if have == want:
        return []
    if not (isinstance(have, dict) and isinstance(want, dict)):
        if isinstance(have, list) and isinstance(want, list):
            gone = [str(covered_values(item)) for item in have if item not in want]
            new = [str(covered_values(item)) for item in want if item not in have]
            parts = ([f"add {_short(new)}"] if new else []) + ([f"remove {_short(gone)}"] if gone else []) or ["reorder"]
            return [f"value {path}: {'; '.join(parts)}"]
        name = path.rpartition(".")[2]
        return [f"value {path}: {_short(covered_values({name: have})[name])} -> {_short(covered_values({name: want})[name])}"]
    reasons = []
    for key in sorted({*have, *want}):
        where = f"{path}.{key}" if path else key
        if key not in want:
            reasons.append(f"value {where}: remove")
        elif key not in have:
            reasons.append(f"value {where}: set to {_short(want[key])}")
        else:
            reasons += _value_reasons(where, have[key], want[key])
    return reasons


def _short(value: t.Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 160 else text[:157] + "..."


def is_ours(team: Team, release: Release) -> bool:
    """Whether the chart's values carry our mark."""
    labels = release.values.get("customLabels") or {}
    return all(labels.get(key) == value for key, value in team.labels.items())


def refuse_foreign_release(team: Team, release: Release | None, adopt: t.Collection[str]) -> None:
    """A release of our name without our labels in its values is somebody else's until it is adopted."""
    if release is None or "all" in adopt or f"Release/{team.release}" in adopt:
        return
    if not is_ours(team, release):
        raise ForeignObjectError(
            f"Helm release {team.namespace}/{team.release} exists (chart {release.chart} {release.version}) and is not ours:"
            " its customLabels lack our mark. It was left alone.",
            f"To take it over: -e adopt='[Release/{team.release}]'.",
        )


# --- the tool and the chart ---------------------------------------------------------------------------------------------
def helm_version(binary: str = "helm") -> tuple[int, ...]:
    """Version of the Helm on PATH; HelmError when it is missing. Whether it will do, ``_versions`` knows."""
    path = shutil.which(binary)
    if path is None:
        raise HelmError("Helm is not on PATH.", f"Install Helm {floor('helm')} or newer (https://helm.sh/docs/intro/install/).")
    # `helm version` is the only way to ask it.
    answer = _run([path, "version", "--template", "{{.Version}}"])
    match = re.search(r"v?(\d+)\.(\d+)\.(\d+)", answer)
    if match is None:
        raise HelmError(f"`helm version` of {path} said {answer.strip()!r}; expected a version.")
    return tuple(int(part) for part in match.groups())


def chart_metadata(chart: Chart) -> Object:
    """``Chart.yaml`` of the chart; proves that it can be had. HelmError names the reference and the option."""
    metadata: Object
    if os.path.isdir(chart.ref):
        metadata = _from_folder(chart.ref)
    elif os.path.isfile(chart.ref):
        metadata = _from_archive(chart.ref)
    elif chart.ref.startswith(("oci://", "https://")):
        path = shutil.which("helm")
        if path is None:
            raise HelmError("Helm is not on PATH.", f"Install Helm {floor('helm')} or newer (https://helm.sh/docs/intro/install/).")
        metadata = yaml.safe_load(_run([path, "show", "chart", chart.ref, "--version", chart.version])) or {}
    else:
        raise HelmError(f"Chart {chart.ref!r} is neither a folder, a file, nor an oci:// or https:// reference.", _CHART_REMEDY)
    if metadata.get("name") != CHART_NAME:
        raise HelmError(f"Expected a chart named {CHART_NAME} at {chart.ref}, found {metadata.get('name')!r}.", _CHART_REMEDY)
    if parse(str(metadata.get("version"))) is None:
        raise HelmError(f"Chart {CHART_NAME} at {chart.ref} has version {metadata.get('version')!r}; expected one such as {floor('chart')}.", _CHART_REMEDY)
    return metadata


def chart_version(chart: Chart) -> str:
    """The version a release of this chart will record; asks no registry (``chart_metadata`` proved the reference)."""
    return str(chart_metadata(chart).get("version")) if os.path.exists(chart.ref) else chart.version


def _from_folder(folder: str) -> t.Any:
    try:
        with open(os.path.join(folder, "Chart.yaml"), encoding="utf-8") as handle:
            return yaml.safe_load(handle) or {}
    except (OSError, yaml.YAMLError) as exc:
        raise HelmError(f"Folder {folder} is no Helm chart: {exc}.", _CHART_REMEDY) from exc


def _from_archive(path: str) -> t.Any:
    try:
        with tarfile.open(path) as archive:
            name = next(member for member in archive.getnames() if member.count("/") == 1 and member.endswith("/Chart.yaml"))
            handle = archive.extractfile(name)
            return yaml.safe_load(handle.read() if handle else b"") or {}
    except (OSError, tarfile.TarError, StopIteration, yaml.YAMLError) as exc:
        raise HelmError(f"File {path} is no packaged Helm chart: {exc or 'no Chart.yaml in it'}.", _CHART_REMEDY) from exc


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROCESS_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise HelmError(
            f"`{' '.join(command[:3])}` gave no answer within {_PROCESS_TIMEOUT_S} s.", "Is the registry of gateway_auth_chart.ref reachable?"
        ) from exc
    if done.returncode != 0:
        raise HelmError(
            f"`helm {' '.join(command[1:])}` failed: {' '.join(done.stderr.split())[:400]}.", "Check gateway_auth_chart.ref and .version, and the network."
        )
    return done.stdout
