# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What teams share: found, and not found where there is nothing to it. The golden cases show each rule in an inventory."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._isolation import Digests, Given, lint, listed, store_key
from tests.golden import team

GROUP_A, GROUP_B, ADMINS = ({"id": f"5f0c0c7e-0000-4000-8000-0000000000{end}", "name": end} for end in ("a1", "b1", "ad"))


def given(name: str, **overrides: t.Any) -> Given:
    letter = name[-1]
    own: dict[str, t.Any] = {
        "name": name,
        "client_id": f"{letter * 8}-0000-4000-8000-000000000000",
        "allowed_groups": [{"id": f"5f0c0c7e-0000-4000-8000-0000000000{letter}1", "name": f"{name}-developers"}],
        "client_secret": {"kind": "env", "name": f"SECRET_{letter}", "key": ""},
        "apps": [{"name": "app", "hostname": f"app-{name}.apps.example.com", "service": {"name": "app", "port": 80, "namespace": f"monitoring-{name}"}}],
        **overrides,
    }
    return Given(team(own), own["allowed_groups"])


def rules(*entries: Given) -> set[tuple[str, str]]:
    return {(shared.team, shared.rule) for shared in lint(entries)}


def test_teams_of_their_own_share_nothing() -> None:
    assert rules(given("team-a"), given("team-b"), given("team-c")) == set()
    assert rules(given("team-a")) == set()


def test_a_group_is_told_at_each_team_that_has_it_and_names_the_others() -> None:
    found = list(
        lint([given("team-a", allowed_groups=[GROUP_B, GROUP_A]), given("team-b", allowed_groups=[GROUP_A]), given("team-c", allowed_groups=[GROUP_A])])
    )
    assert [(shared.team, shared.path, shared.rule) for shared in found] == [
        ("team-a", "gateway_auth_allowed_groups[1]", "shared-group"),
        ("team-b", "gateway_auth_allowed_groups[0]", "shared-group"),
        ("team-c", "gateway_auth_allowed_groups[0]", "shared-group"),
    ]
    assert "team-b, team-c" in found[0].found and "team-a, team-c" in found[1].found


def test_groups_that_are_only_named_are_compared_by_name() -> None:
    named = [{"id": "", "name": "Developers"}]
    assert rules(given("team-a", allowed_groups=named), given("team-b", allowed_groups=[{"id": "", "name": "developers"}])) == {
        ("team-a", "shared-group"),
        ("team-b", "shared-group"),
    }


def test_admins_are_meant_to_be_everywhere() -> None:
    admins = {"admin_groups": [ADMINS]}
    assert rules(given("team-a", **admins), given("team-b", **admins)) == set()
    assert rules(given("team-a", allowed_groups=[ADMINS, GROUP_A], **admins), given("team-b", allowed_groups=[ADMINS, GROUP_B], **admins)) == set()
    assert rules(given("team-a", **admins), given("team-b")) == {("team-b", "no-admins")}


def test_one_registration_has_one_secret() -> None:
    same: dict[str, t.Any] = {"client_secret": {"kind": "env", "name": "SECRET", "key": ""}}
    assert rules(given("team-a", **same), given("team-b", **same)) == {("team-a", "shared-secret-source"), ("team-b", "shared-secret-source")}
    assert rules(given("team-a", client_id="x", **same), given("team-b", client_id="x", **same)) == set()


@pytest.mark.parametrize(
    "overrides",
    [
        {"client_secret": {"kind": "secret", "name": "s", "key": "k"}},
        {"client_secret": {"kind": "env", "name": "X", "key": ""}, "credential": "federated"},
        {"client_secret": {"kind": "env", "name": "X", "key": ""}, "registration": "managed"},
        {"client_secret": {"kind": "value", "name": "", "key": ""}},
    ],
    ids=["a Secret of each namespace", "no secret", "made by us", "values at two places"],
)
def test_sources_that_are_not_one(overrides: dict[str, t.Any]) -> None:
    assert rules(given("team-a", **overrides), given("team-b", **overrides)) == set()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("redis://h", "rediss://H:6379/0", True),
        ("redis://h:6379/00", "redis://h", True),
        ("redis://h./", "redis://h", True),
        ("redis://[::1]", "redis://[::1]:6379", True),
        ("redis://h/1", "redis://h/2", False),
        ("redis://h:6380", "redis://h", False),
        ("redis://h1", "redis://h2", False),
    ],
)
def test_stores_are_compared_in_one_form(one: str, other: str, same: bool) -> None:
    assert (store_key(one) == store_key(other)) is same


def test_bundled_stores_are_each_team_s_own() -> None:
    external = {"session_store": {"type": "external", "url": "redis://h"}}
    assert rules(given("team-a", **external), given("team-b")) == set()
    assert rules(given("team-a", **external), given("team-b", **external)) == {("team-a", "shared-store"), ("team-b", "shared-store")}


def test_two_apps_of_one_team_may_lead_to_one_service() -> None:
    app = {"name": "app", "hostname": "x.apps.example.com", "service": {"name": "app", "port": 80, "namespace": "monitoring-team-a"}}
    assert rules(given("team-a", apps=[app, {**app, "name": "other"}]), given("team-b")) == set()


def test_many_names_are_not_listed_without_end() -> None:
    assert listed(str(number) for number in range(7)) == "0, 1, 2, 3, 4 and 2 more"


# --- Secrets of the cluster -------------------------------------------------------------------------------------------


def digests(**teams: dict[str, str]) -> Digests:
    found = Digests()
    for name, values in teams.items():
        found.add(given(name.replace("_", "-")).team, values)
    return found


def test_the_same_value_is_found_in_each_team_that_has_it() -> None:
    found = digests(team_a={"cookie-secret": "x", "redis-password": "1"}, team_b={"cookie-secret": "x", "redis-password": "2"}, team_c={"cookie-secret": "y"})
    assert found.same("team-a") == {"cookie-secret": ["team-b"]}
    assert found.same("team-b") == {"cookie-secret": ["team-a"]}
    assert found.same("team-c") == {} == found.same("team-z")
    assert found.teams == 3


def test_another_key_with_the_same_value_and_an_empty_one_are_nothing() -> None:
    assert digests(team_a={"cookie-secret": "x", "client-secret": ""}, team_b={"redis-password": "x", "client-secret": ""}).same("team-a") == {}


def test_one_registration_s_secret_is_expected_to_be_one() -> None:
    found = Digests()
    for name in ("team-a", "team-b"):
        found.add(given(name, client_id="one").team, {"client-secret": "x", "cookie-secret": "y"})
    assert found.same("team-a") == {"cookie-secret": ["team-b"]}


def test_nothing_is_kept_of_what_was_compared() -> None:
    one, other = digests(team_a={"cookie-secret": "CANARY"}), digests(team_a={"cookie-secret": "CANARY"})
    assert "CANARY" not in repr(vars(one))
    assert vars(one)["_teams"] != vars(other)["_teams"], "a digest says nothing beyond its run"
