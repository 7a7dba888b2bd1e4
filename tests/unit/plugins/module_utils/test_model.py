# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The compiled model: every derived name and fact, and the way to plain data and back."""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import UnresolvedError
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import App, Group, Service, Team, span
from tests.golden import model, team

APP = team().apps[0]
ADMINS = {"admin_groups": [{"id": "5f0c0c7e-0000-4000-8000-0000000000ad", "name": "platform-admins"}]}
NARROW = App("p", "p.example.com", Service("p", 80, ""), allowed_groups=team({"allowed_groups": [{"id": "narrow"}]}).allowed_groups)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "a"),
        ("namespace", "monitoring-team-a"),
        ("release", "monitoring-oauth2-proxy-team-a"),
        ("store_name", "monitoring-oauth2-proxy-team-a-store"),
        ("proxy_host", "monitoring-oauth2-team-a.apps.example.com"),
        ("proxy_secret", "oauth2-proxy-team-a"),
        ("store_secret", "oauth2-proxy-redis-team-a"),
        ("cookie_name", "__Host-o2p-team-a"),
        ("unique_name", "gateway-auth.prod-weu.monitoring.team-a"),
        ("registration_name", "monitoring team-a (prod-weu)"),
        ("service_account", "monitoring-oauth2-proxy-team-a"),
        ("workload_subject", "system:serviceaccount:monitoring-team-a:monitoring-oauth2-proxy-team-a"),
        ("logout_url", "https://monitoring-oauth2-team-a.apps.example.com/oauth2/sign_out"),
        ("issuer", "https://login.microsoftonline.com/11111111-1111-4111-8111-111111111111/v2.0"),
    ],
)
def test_names_are_the_guide_s(name: str, value: str) -> None:
    assert getattr(team(), name) == value


def test_names_of_an_app_s_objects() -> None:
    names = [method(APP) for method in (team().route_name, team().passthrough_name, team().policy_name)]
    assert names == ["prometheus-team-a", "prometheus-passthrough-oauth-team-a", "oauth2-prometheus-team-a"]


def test_redirect_uris_are_one_for_each_host() -> None:
    assert team({"proxy_prefix": "/_login"}).redirect_uris == (
        "https://prometheus-team-a.apps.example.com/_login/callback",
        "https://alertmanager-team-a.apps.example.com/_login/callback",
        "https://monitoring-oauth2-team-a.apps.example.com/_login/callback",
    )


@pytest.mark.parametrize(("text", "days"), [("90d", 90), ("12w", 84), ("1d", 1), ("0d", 0)])
def test_spans(text: str, days: int) -> None:
    assert span(text) == datetime.timedelta(days=days)


def test_a_group_that_is_in_both_lists_counts_once() -> None:
    both = team({"admin_groups": [{"id": "5f0c0c7e-0000-4000-8000-0000000000a1"}, {"id": "x"}]})
    assert both.proxy_groups == ("5f0c0c7e-0000-4000-8000-0000000000a1", "x")


@pytest.mark.parametrize(
    ("access", "app", "groups"),
    [
        pytest.param("all", APP, (), id="the team's own groups apply"),
        pytest.param("all", NARROW, ("narrow", "5f0c0c7e-0000-4000-8000-0000000000ad"), id="admins enter narrowed apps"),
        pytest.param("team", NARROW, ("narrow",), id="admins don't"),
    ],
)
def test_groups_of_an_app(access: str, app: App, groups: tuple[str, ...]) -> None:
    assert team({**ADMINS, "admin_access": access}).app_groups(app) == groups


@pytest.mark.parametrize(("store", "has"), [("bundled", True), ("external", False), ("cookie", False)])
def test_only_the_bundled_store_has_a_password_of_ours(store: str, has: bool) -> None:
    assert team({"session_store": {"type": store}}).has_store_password is has


def test_marks() -> None:
    labels = {"gateway-auth/environment": "prod-weu", "gateway-auth/stack": "monitoring", "gateway-auth/team": "team-a"}
    assert team().labels == labels
    assert team().owner_labels() == {**labels, "gateway-auth/managed": "true"}
    assert team().owner_labels(APP) == {**labels, "gateway-auth/managed": "true", "gateway-auth/app": "prometheus"}


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({}, id="example"),
        pytest.param({"client_secret": None, "session_store": {"type": "external", "secret": {"name": "s", "key": "k"}}}, id="optional parts"),
        pytest.param({"tolerations": [{"key": "a"}], "helm_values": {"a": [1, 2.5, None, True]}, "waivers": []}, id="free-form parts"),
    ],
)
def test_round_trip_through_json(overrides: dict[str, t.Any]) -> None:
    there = team(overrides)
    assert Team.from_dict(json.loads(json.dumps(there.to_dict()))) == there


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        pytest.param({"no_such": 1}, "no_such", id="unknown key"),
        pytest.param({"gateway": {"nmae": "x"}}, "nmae", id="unknown nested key"),
        pytest.param({"apps": [{"name": "x"}]}, "hostname", id="missing nested key"),
    ],
)
def test_wrong_keys_are_errors_that_name_them(overrides: dict[str, t.Any], word: str) -> None:
    with pytest.raises(TypeError, match=word):
        Team.from_dict(model(overrides))


def test_values_are_plain_types_whatever_was_given() -> None:
    class Tagged(str):
        """As ansible-core 2.19 hands them over."""

    given = model({"stack": Tagged("monitoring"), "node_selector": {Tagged("a"): Tagged("b")}})
    made = Team.from_dict(given)
    assert type(made.stack) is str
    assert [type(part) for item in made.node_selector.items() for part in item] == [str, str]


# --- what only Entra knows -----------------------------------------------------------------------------------------------------------

NAMED = {
    "client_id": "",
    "allowed_groups": [{"id": "", "name": "developers"}, {"id": "1", "name": "oncall"}],
    "admin_groups": [{"id": "", "name": "admins"}],
}


def _named() -> Team:
    there = team(NAMED)
    return dataclasses.replace(there, apps=(dataclasses.replace(APP, allowed_groups=(Group("", "oncall"),)), there.apps[1]))


def test_groups_that_are_only_named() -> None:
    assert _named().named_groups == ("developers", "admins", "oncall")
    assert team().named_groups == ()


def test_resolved() -> None:
    found = {"developers": "2", "admins": "3", "oncall": "4", "nobody asked": "5"}
    resolved = _named().resolved("an-id", found)
    assert resolved.client_id == "an-id" and resolved.named_groups == ()
    assert resolved.proxy_groups == ("2", "1", "3"), "an id that was given stays"
    assert resolved.app_groups(resolved.apps[0]) == ("4", "3")
    assert resolved.group_ids == {"developers": "2", "admins": "3", "oncall": "4"}, "only of groups that are named"
    assert Team.from_dict(json.loads(json.dumps(resolved.to_dict()))) == resolved
    assert resolved.resolved("", {}) == resolved, "nothing new changes nothing"
    assert resolved.resolved("another", {"developers": "9"}).proxy_groups == ("2", "1", "3")


def test_resolved_in_part() -> None:
    there = _named().resolved("", {"developers": "2"})
    assert there.client_id == "" and there.named_groups == ("admins", "oncall") and there.group_ids == {"developers": "2"}


@pytest.mark.parametrize("ask", [lambda there: there.proxy_groups, lambda there: there.app_groups(there.apps[0])], ids=["the proxy's", "an app's"])
def test_a_group_without_an_id_is_never_left_out(ask: t.Callable[[Team], object]) -> None:
    """An empty list of groups would let everybody in."""
    with pytest.raises(UnresolvedError) as refused:
        ask(_named())
    assert refused.value.remedy and any(name in str(refused.value) for name in ("developers", "admins", "oncall"))


@pytest.mark.parametrize(
    ("overrides", "makes"),
    [
        ({"registration": "managed"}, True),
        ({"registration": "existing"}, False),
        ({"registration": "managed", "credential": "federated"}, False),
        ({"registration": "managed", "credential": "external"}, False),
    ],
    ids=str,
)
def test_whose_client_secret_it_is(overrides: dict[str, t.Any], makes: bool) -> None:
    assert team(overrides).makes_secret is makes


def test_every_group_once() -> None:
    assert [group.name for group in _named().all_groups] == ["developers", "oncall", "admins", "oncall"], "with an id and without are two"
    assert len(team({"admin_groups": [{"id": "5f0c0c7e-0000-4000-8000-0000000000a1", "name": "team-a-developers"}]}).all_groups) == 1
