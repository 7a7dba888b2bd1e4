# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Generated inventories: sound ones of one to four teams, and the same with something odd put anywhere in them."""

from __future__ import annotations

import copy
import typing as t

from hypothesis import strategies as st

from ansible_collections.platform.gateway_auth.plugins.module_utils._validate import TeamInput
from tests.golden.inventory import PLATFORM

Values = dict[str, t.Any]

GROUPS = [f"5f0c0c7e-0000-4000-8000-0000000000{number:02x}" for number in range(0xA1, 0xA9)]
_IDS = st.one_of(st.sampled_from(GROUPS), st.sampled_from(GROUPS).map(str.upper))
_LABELS = st.one_of(
    st.sampled_from(["a", "b", "a-b", "b-c", "grafana", "public", "probe", "team-a", "x" * 20, "passthrough-oauth"]),
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True),
)
_PATHS = st.one_of(st.sampled_from(["/-/healthy", "/static", "/a/b", "/x;y"]), st.from_regex(r"/[A-Za-z0-9._~!$&'()+,;=:@-]{1,12}", fullmatch=True))


def _groups(least: int = 1, most: int = 4) -> st.SearchStrategy[list[Values]]:
    return st.lists(st.fixed_dictionaries({"id": _IDS}, optional={"name": st.sampled_from(["developers", "on call", "ü"])}), min_size=least, max_size=most)


@st.composite
def _app(draw: st.DrawFn, own: list[Values]) -> Values:
    app: Values = {
        "name": draw(_LABELS),
        "service": {"name": draw(st.sampled_from(["svc", "grafana"])), "port": draw(st.integers(1, 65535))},
    }
    if draw(st.booleans()):
        app["service"]["namespace"] = "common"
    if draw(st.booleans()):
        app["allowed_groups"] = draw(st.lists(st.sampled_from(own), min_size=1, max_size=3))
    if draw(st.booleans()):
        app["public_paths"] = draw(st.lists(_PATHS, max_size=3))
    if draw(st.booleans()):
        app["timeout"] = draw(st.sampled_from(["30s", "1m30s", "100ms"]))
    return app


_HELM = st.sampled_from(
    [
        {},
        {},
        {"extraArgs": {"footer": "x"}},
        {"resources": {"limits": {"cpu": 1}}},
        {"extraEnv": [{"name": "A", "value": "{{`{{`}}"}]},
        {"podLabels": {"a": "b"}},
    ]
)


@st.composite
def platforms(draw: st.DrawFn) -> Values:
    """What group_vars/teams.yml may say."""
    values = copy.deepcopy(PLATFORM)
    values["gateway_auth_client_secret"] = {"env": "SECRET"}
    values["gateway_auth_service_namespaces"] = ["common"]
    values["gateway_auth_stack"] = draw(st.sampled_from(["monitoring", "m", "m-team"]))
    values["gateway_auth_helm_values"] = draw(_HELM)
    for name, choices in {
        "admin_groups": _groups(0, 2),
        "admin_access": st.sampled_from(["all", "team"]),
        "metrics": st.booleans(),
        "proxy_prefix": st.sampled_from(["/oauth2", "/auth/x"]),
        "session_store": st.sampled_from([{"type": "bundled"}, {"type": "cookie"}, {"type": "bundled", "persistence": "1Gi"}]),
        "gateway": st.sampled_from([{"name": "main"}, {"name": "other", "namespace": "edge", "https_listener": "tls", "http_listener": "plain"}]),
        "replicas": st.integers(1, 4),
        "node_selector": st.dictionaries(st.sampled_from(["a/b", "c"]), st.sampled_from(["x", "{{ y }}"]), max_size=2),
    }.items():
        if draw(st.booleans()):
            values[f"gateway_auth_{name}"] = draw(choices)
    if draw(st.booleans()):
        values["gateway_auth_credential"] = "federated"
        del values["gateway_auth_client_secret"]
    return values


@st.composite
def inventories(draw: st.DrawFn) -> list[TeamInput]:
    """Teams of one platform. Most are sound; names may still collide or grow too long, which validation has to say."""
    platform = draw(platforms())
    names = draw(st.lists(_LABELS.map(lambda label: f"team-{label}"), min_size=1, max_size=4, unique=True))
    teams = []
    for number, name in enumerate(names):
        own = draw(_groups())
        values = {
            **copy.deepcopy(platform),
            "gateway_auth_client_id": f"{number:08x}-0000-4000-8000-00000000000a",
            "gateway_auth_allowed_groups": own,
            "gateway_auth_apps": draw(st.lists(_app(own), min_size=1, max_size=3, unique_by=lambda app: app["name"])),
        }
        teams.append(TeamInput(name, values))
    return teams


ODD = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            False,
            -1,
            0,
            10**30,
            1.5,
            float("inf"),
            "",
            " ",
            "{",
            "{{",
            "<X>",
            "http://[",
            "a" * 300,
            "\x00",
            "\ud800",
            [],
            [None],
            [[]],
            {},
            {"a": None},
        ]
    ),
    st.text(max_size=8),
    st.dictionaries(st.one_of(st.text(max_size=4), st.integers()), st.text(max_size=4), max_size=2),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3), max_leaves=5),
)


def nodes(value: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    """The path to each part of ``value``."""
    if path:
        yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from nodes(item, (*path, key))


def replaced(value: t.Any, path: tuple[t.Any, ...], other: t.Any) -> t.Any:
    """A copy of ``value`` with ``other`` at ``path``."""
    copied = copy.deepcopy(value)
    holder = copied
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = other
    return copied


@st.composite
def odd_inventories(draw: st.DrawFn) -> list[TeamInput]:
    """One of the above with up to three odd things in it."""
    teams = draw(inventories())
    for _count in range(draw(st.integers(1, 3))):
        index = draw(st.integers(0, len(teams) - 1))
        values = dict(teams[index].values)
        path = draw(st.sampled_from(sorted(nodes(values), key=repr)))
        teams[index] = TeamInput(teams[index].name, replaced(values, path, draw(ODD)))
    return teams
