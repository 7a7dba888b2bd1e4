# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of the chart's keys, held against the schema of what the chart reads; and what the chart sees at a key."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.platform.gateway_auth.plugins.module_utils import _chart_keys
from ansible_collections.platform.gateway_auth.plugins.module_utils._chart_keys import ABSENT, GROUPED, GUARDED, KEYS, get, nearest_keys, outcome

CHART = pathlib.Path(__file__).parents[3] / "charts" / "oauth2-proxy"
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


def leaves(schema: dict[str, t.Any], path: str = "") -> t.Iterator[str]:
    for name, below in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        if "properties" in below and here in GROUPED:
            yield from leaves(below, here)
        else:
            yield here


def test_every_key_that_the_chart_reads_is_judged() -> None:
    assert [path for path in leaves(SCHEMA) if path not in KEYS and not any(path.startswith(f"{known}.") for known in KEYS)] == []


@pytest.mark.parametrize("path", KEYS)
def test_every_key_of_the_table_is_one_of_the_chart(path: str) -> None:
    below = SCHEMA
    for name in path.split("."):
        assert name in below["properties"], f"{path} isn't read by the chart"
        below = below["properties"][name]


@pytest.mark.parametrize("path", GUARDED)
def test_defaults_are_the_chart_s(path: str) -> None:
    default = get(DEFAULTS, path)
    if path == "sessionStorage":
        assert outcome({}, path)["type"] == default["type"]  # nothing else is read for this type
    elif path in ("redis-ha", "alphaConfig", "htpasswdFile", "authenticatedEmailsFile"):
        assert not any(default.values())
    elif default is not ABSENT:  # the stand-in doesn't write down what upstream has empty
        assert outcome({}, path) == outcome({path.split(".")[0]: DEFAULTS[path.split(".")[0]]}, path)


@pytest.mark.parametrize(
    ("values", "path", "seen"),
    [
        pytest.param({}, "service.portNumber", 80, id="the chart's default"),
        pytest.param({"service": {"portNumber": 81}}, "service.portNumber", 81, id="a value"),
        pytest.param({"service": None}, "service.portNumber", None, id="null above takes the default away"),
        pytest.param({"proxyVarsAsSecrets": False}, "proxyVarsAsSecrets", None, id="false is nothing to a template"),
        pytest.param({"envFrom": []}, "envFrom", None, id="empty is nothing"),
        pytest.param({"alphaConfig": {"enabled": False, "configFile": ""}}, "alphaConfig", None, id="a mapping of nothing is nothing"),
        pytest.param({"alphaConfig": {"enabled": "false"}}, "alphaConfig", {"enabled": "false"}, id="a text is something, whatever it says"),
    ],
)
def test_outcome(values: dict[str, t.Any], path: str, seen: t.Any) -> None:
    assert outcome(values, path) == seen


def test_known_keys_beside_an_unknown_one() -> None:
    assert "config.existingSecret" in nearest_keys("config.existingsecret")
    assert "extraArgs" in nearest_keys("extraargs")
    assert not [path for path in nearest_keys("extraargs") if "." in path]


def test_what_goes_into_a_template_s_text_is_not_called_structured() -> None:
    scalars = {path for path in KEYS if any(kind in str(_schema(path).get("type")) for kind in ("string", "boolean", "integer"))}
    assert not [path for path in scalars if KEYS[path].structured]
    assert _chart_keys.KEYS["extraArgs"].templated


def _schema(path: str) -> dict[str, t.Any]:
    below = SCHEMA
    for name in path.split("."):
        below = below["properties"][name]
    return t.cast("dict[str, t.Any]", below)
