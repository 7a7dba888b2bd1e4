# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions are read from whatever names them; what can't be read is neither good nor bad."""

from __future__ import annotations

import datetime

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _versions
from ansible_collections.platform.gateway_auth.plugins.module_utils._versions import Found, Version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        pytest.param("v1.34.4", Version((1, 34, 4)), id="Kubernetes"),
        pytest.param("1.33.2-gke.100", Version((1, 33, 2)), id="of a provider"),
        pytest.param("v1.30.1+k3s1", Version((1, 30, 1)), id="of a distribution"),
        pytest.param("v4.1.4+g05fa379", Version((4, 1, 4)), id="Helm"),
        pytest.param("2.20.0rc1", Version((2, 20, 0), final=False), id="Python's candidate"),
        pytest.param("2.20.0b1.dev0", Version((2, 20, 0), final=False), id="Python's beta"),
        pytest.param("v1.9.0-rc.1", Version((1, 9, 0), final=False), id="candidate"),
        pytest.param("v0.0.0-latest", Version((0, 0, 0)), id="a build of the main branch"),
        pytest.param("1.38", None, id="half a version"),
        pytest.param("1.2.3.4", None, id="four numbers"),
        pytest.param("2026.11.25", None, id="a day"),
        pytest.param("latest", None, id="a word"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_parse(text: str, version: Version | None) -> None:
    assert _versions.parse(text) == version


@pytest.mark.parametrize(
    ("image", "version"),
    [
        pytest.param("docker.io/envoyproxy/envoy:distroless-v1.37.0", "1.37.0", id="distroless"),
        pytest.param("envoyproxy/envoy:v1.37.1", "1.37.1", id="plain"),
        pytest.param("envoy:1.37.0", "1.37.0", id="without v"),
        pytest.param("registry.example.com:5000/mirror/envoy:contrib-distroless-v1.37.0", "1.37.0", id="registry with a port"),
        pytest.param("10.0.0.1:5000/envoy:v1.38.2", "1.38.2", id="registry by address"),
        pytest.param("envoyproxy/envoy:v1.37.0@sha256:0123456789", "1.37.0", id="tag and digest"),
        pytest.param("contoso.azurecr.io/oauth2-proxy/oauth2-proxy:v7.15.3-alpine", "7.15.3", id="suffix"),
        pytest.param("bitnami/oauth2-proxy:7.15.3-debian-12-r0", "7.15.3", id="suffix with numbers"),
        pytest.param("envoyproxy/gateway:v1.9.0-rc.1", "1.9.0 (a pre-release)", id="candidate"),
        pytest.param("envoyproxy/envoy@sha256:0123456789", None, id="digest only"),
        pytest.param("10.0.0.1:5000/envoy", None, id="a port is no tag"),
        pytest.param("envoyproxy/envoy:dev", None, id="no version"),
        pytest.param("envoyproxy/envoy:v1.38", None, id="half a version"),
        pytest.param("envoy:2026.11.25", None, id="a day"),
        pytest.param("envoy:v1.38.0-proxy-v1.37.0", None, id="two versions"),
        pytest.param("envoy:v1.38.0.1", None, id="four numbers"),
        pytest.param("", None, id="no image"),
    ],
)
def test_of_image(image: str, version: str | None) -> None:
    found = _versions.of_image("envoy", "pod a/b", image)
    assert (str(found.version) if found.version else None) == version
    assert bool(found.unread) is (version is None)
    if version is None:
        assert image.partition("@")[0] in found.unread
        assert _versions.judge([found]) == []
        assert _versions.unread([found, found]) == [found]


@pytest.mark.parametrize(
    ("version", "wanted", "holds"),
    [
        ("1.37.0", "==1.37.0", True),
        ("1.37.1", "==1.37.0", False),
        ("7.5.0", ">=7.5.0,<7.15.2", True),
        ("7.15.1", ">=7.5.0, <7.15.2", True),
        ("7.15.2", ">=7.5.0,<7.15.2", False),
        ("7.4.9", ">=7.5.0,<7.15.2", False),
        ("10.10.0", ">10.9.0", True),
        ("10.9.0", ">10.9.0", False),
        ("10.9.0", "<=10.9.0", True),
        ("1.8.0-rc.1", "<1.8.0", True),
        ("1.8.0-rc.1", ">=1.8.0", False),
    ],
)
def test_within(version: str, wanted: str, holds: bool) -> None:
    parsed = _versions.parse(version)
    assert parsed is not None
    assert _versions.within(parsed, wanted) is holds


@pytest.mark.parametrize("wanted", ["", "1.2.3", "~>1.2.3", "<1.2", "<1.2.3;>1.0.0", "<1.2.3,"])
def test_what_is_no_range_is_an_error(wanted: str) -> None:
    with pytest.raises(ValueError, match="no range"):
        _versions.within(Version((1, 0, 0)), wanted)


def test_many_pods_of_one_version_are_told_once_and_several_versions_each() -> None:
    found = [_versions.of_image("envoy", f"pod ns/{name}", f"envoy:{tag}") for name, tag in (("a", "v1.37.0"), ("b", "v1.37.0"), ("c", "v1.38.0"), ("d", "x"))]
    (judgement,) = _versions.judge(found)
    for word in ("Envoy 1.37.0 (pod ns/a)", "Location", "https://github.com/envoyproxy/gateway/issues/8202"):
        assert word in judgement.text
    assert judgement.refused
    assert [item.where for item in _versions.unread(found)] == ["pod ns/d"]


def test_a_combination_needs_all_its_parts() -> None:
    gateway, old = _versions.of("envoy-gateway", "", "1.9.0"), _versions.of("kubernetes", "", "1.32.0")
    day = datetime.date(2026, 10, 1)
    assert [judgement.entry.id for judgement in _versions.judge([gateway, old], day)] == ["envoy-gateway-1.9-kubernetes"]
    assert _versions.judge([gateway], day) == _versions.judge([old], day) == []
    assert _versions.judge([gateway, Found("kubernetes", "", unread="nobody knows")], day) == []


@pytest.mark.parametrize(("day", "told"), [("2026-11-07", False), ("2026-11-08", True), ("2027-06-01", True)])
def test_an_end_of_life_holds_from_its_day(day: str, told: bool) -> None:
    ends = [judgement.entry.id for judgement in _versions.judge([_versions.of("envoy-gateway", "", "1.8.1")], datetime.date.fromisoformat(day))]
    assert ends == (["envoy-gateway-1.8-end"] if told else [])


def test_floors_are_those_of_the_list() -> None:
    assert (_versions.floor("chart"), _versions.floor("helm")) == ("10.7.0", "3.18.0")


def test_images_are_those_of_one_container() -> None:
    pods = [
        {
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"containers": [{"name": "envoy", "image": "envoy:v1.38.0"}, {"name": "x", "image": "y:v1.0.0"}]},
        },
        {"metadata": {"name": "q", "namespace": "n"}, "spec": {"containers": [{"name": "envoy"}]}},
    ]
    first, second = _versions.images("envoy", "envoy", pods)
    assert (str(first.version), first.where) == ("1.38.0", "pod n/p")
    assert second.version is None and "no image" in second.unread
