# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every entry of the list can be read, fits something, and says what a reader needs."""

from __future__ import annotations

import datetime
import urllib.parse

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _versions
from ansible_collections.platform.gateway_auth.plugins.module_utils._known_bad import KNOWN_BAD, REFUSE, WARN, KnownBad

entries = pytest.mark.parametrize("entry", KNOWN_BAD, ids=lambda entry: entry.id)


@entries
def test_each_entry_is_whole(entry: KnownBad) -> None:
    assert entry.verdict in (REFUSE, WARN)
    assert entry.versions and set(entry.versions) <= set(_versions.NAMES)
    for wanted in entry.versions.values():
        _versions.within(_versions.Version((1, 0, 0)), wanted)  # raises ValueError for what is no range
    assert entry.why and not entry.why.endswith(".") and entry.remedy.endswith(".")
    assert urllib.parse.urlsplit(entry.link).scheme == "https"
    assert not entry.since or datetime.date.fromisoformat(entry.since)


@entries
def test_each_entry_fits_some_version_and_not_every_one(entry: KnownBad) -> None:
    bounds = [_versions.parse(bound) for wanted in entry.versions.values() for bound in wanted.replace("=", "").replace("<", ",").replace(">", ",").split(",")]
    sample = [_versions.Version((0, 0, 1)), _versions.Version((999, 0, 0))]
    for bound in bounds:
        if bound is not None:
            major, minor, patch = bound.numbers
            sample += [bound, _versions.Version((major, minor, patch + 1)), _versions.Version(bound.numbers, final=False)]
    for wanted in entry.versions.values():
        fits = [_versions.within(version, wanted) for version in sample]
        assert any(fits) and not all(fits)


def test_ids_and_links_of_advisories() -> None:
    identifiers = [entry.id for entry in KNOWN_BAD]
    assert len(set(identifiers)) == len(identifiers)
    advisories = [entry for entry in KNOWN_BAD if entry.id.startswith("GHSA-")]
    assert len(advisories) >= 8
    assert all(entry.link.endswith(f"/{entry.id}") for entry in advisories)


@pytest.mark.parametrize(
    ("component", "version", "refused"),
    [
        pytest.param("envoy", "1.36.4", False, id="Envoy before the fault"),
        pytest.param("envoy", "1.37.0", True, id="Envoy that drops Location"),
        pytest.param("envoy", "1.37.1", False, id="mended"),
        pytest.param("envoy-gateway", "1.7.5", True, id="without pathOverride"),
        pytest.param("envoy-gateway", "1.8.0-rc.1", True, id="a candidate comes before its release"),
        pytest.param("envoy-gateway", "1.8.0", False, id="the floor of Envoy Gateway"),
        pytest.param("oauth2-proxy", "7.4.0", True, id="older than one advisory, in others"),
        pytest.param("oauth2-proxy", "7.15.1", True, id="before the security release"),
        pytest.param("oauth2-proxy", "7.15.2", False, id="the security release"),
        pytest.param("chart", "10.4.2", True, id="chart before the security release"),
        pytest.param("chart", "10.6.9", True, id="chart that ignores values"),
        pytest.param("chart", "9.10.0", True, id="by number, not by letter"),
        pytest.param("chart", "10.7.0", False, id="the chart's floor"),
        pytest.param("helm", "2.99.0", True, id="Helm 2"),
        pytest.param("helm", "3.17.9", True, id="old Helm"),
        pytest.param("helm", "3.18.0", False, id="Helm's floor"),
        pytest.param("ansible-core", "2.18.9", True, id="values without origin"),
        pytest.param("ansible-core", "2.19.0", False, id="ansible-core's floor"),
        pytest.param("gateway-api", "1.3.0", True, id="rules without names"),
        pytest.param("gateway-api", "1.4.0", False, id="names in the standard channel"),
        pytest.param("gateway-api-experimental", "1.3.0", False, id="the experimental channel had them"),
        pytest.param("kubernetes", "1.29.9", True, id="no sleep"),
        pytest.param("kubernetes", "1.30.0", False, id="Kubernetes's floor"),
    ],
)
def test_what_is_refused_alone(component: str, version: str, refused: bool) -> None:
    parsed = _versions.parse(version)
    assert parsed is not None
    assert _versions.refused(component, parsed) is refused


@pytest.mark.parametrize(
    ("helm", "core", "verdict"),
    [
        pytest.param("3.18.0", "6.2.0", "", id="3 with old"),
        pytest.param("3.19.0", "6.6.0", "", id="3 with new"),
        pytest.param("4.0.0", "6.5.0", "", id="4 with the first that knows it"),
        pytest.param("4.1.4", "6.10.0", "", id="4 with a two-digit minor"),
        pytest.param("4.0.0", "6.4.9", REFUSE, id="4 with old"),
        pytest.param("4.1.4", "5.4.1", REFUSE, id="4 with older"),
        pytest.param("4.2.1", "6.5.0", WARN, id="progress on stdout"),
        pytest.param("4.2.1", "6.6.0", "", id="which 6.6 knows"),
    ],
)
def test_pairs(helm: str, core: str, verdict: str) -> None:
    found = [_versions.of("helm", "", helm), _versions.of("kubernetes.core", "", core)]
    judgements = _versions.judge(found)
    assert [judgement.entry.verdict for judgement in judgements] == ([verdict] if verdict else [])
    assert all(core in judgement.text and helm in judgement.text for judgement in judgements)


@pytest.mark.parametrize(
    ("version", "advisories"),
    [
        ("7.15.2", set()),
        ("7.15.1", {"7x63", "5hvv", "pxq7", "c5c4", "f24x"}),
        ("7.12.0", {"7x63", "5hvv", "pxq7", "c5c4", "f24x", "vjrc"}),
        ("7.10.0", {"7x63", "5hvv", "pxq7", "c5c4", "vjrc", "7rh7"}),
        ("7.4.0", {"5hvv", "pxq7", "c5c4", "vjrc", "7rh7"}),
    ],
)
def test_each_advisory_has_its_range(version: str, advisories: set[str]) -> None:
    judgements = _versions.judge([_versions.of("oauth2-proxy", "", version)])
    assert {judgement.entry.id.split("-")[1] for judgement in judgements if judgement.entry.id.startswith("GHSA-")} == advisories
