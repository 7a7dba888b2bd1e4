# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What objects say to people, of what is assembled and of what an API server gives back."""

from __future__ import annotations

import copy
import dataclasses

from ansible_collections.platform.gateway_auth.plugins.module_utils._facts import change_facts, facts, release_facts
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import app_route, passthrough_route, public_route, security_policy
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import SessionStore
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values
from tests.golden import team

TEAM = team()
APP = dataclasses.replace(TEAM.apps[0], allowed_groups=TEAM.allowed_groups, public_paths=("/healthz", "/api/"), timeout="90s")


def test_an_app_s_route_says_where_it_is_and_leads() -> None:
    service = f"{APP.service.namespace}/{APP.service.name}:{APP.service.port}"
    assert facts(app_route(TEAM, APP)) == {"host": [APP.hostname], "service": [service], "timeout": ["90s"]}


def test_what_the_api_server_adds_says_nothing() -> None:
    live = copy.deepcopy(app_route(TEAM, APP))
    live["spec"]["rules"][0]["backendRefs"][0].update({"group": "", "kind": "Service", "weight": 1, "namespace": TEAM.namespace})
    assert facts(live) == facts(app_route(TEAM, APP))


def test_public_paths_and_groups() -> None:
    assert facts(public_route(TEAM, APP)) == {"public": ["/api/", "/healthz"]}
    assert facts(security_policy(TEAM, APP)) == {"guard": ["yes"], "groups": [group.id for group in TEAM.allowed_groups]}
    assert facts(security_policy(TEAM, TEAM.apps[0]))["groups"] == []


def test_pages_and_other_kinds_say_nothing() -> None:
    assert facts(passthrough_route(TEAM, APP)) == {}
    assert facts({"kind": "ConfigMap", "metadata": {}, "data": {"a": "b"}}) == {}
    assert facts(None) == {}


def test_of_a_secret_only_names_of_changed_keys() -> None:
    before = {"kind": "Secret", "metadata": {}, "data": {"a": "CANARY-1", "b": "CANARY-2"}}
    told = change_facts(before, {"kind": "Secret", "metadata": {}, "data": {"a": "CANARY-1", "b": "CANARY-3", "c": "CANARY-4"}})
    assert told == {"kind": "Secret", "app": "", "keys": ["b", "c"]}


def test_a_change_names_its_app() -> None:
    told = change_facts(None, app_route(TEAM, APP))
    assert (told["app"], told["before"]) == (APP.name, {})
    assert change_facts(app_route(TEAM, APP), None)["after"] == {}


def test_a_release_says_groups_store_and_arguments() -> None:
    told = release_facts(release_values(TEAM))
    assert told["team groups"] == sorted(TEAM.proxy_groups)
    assert told["cookie"] == [TEAM.cookie_name]
    assert told["store"] == [f"redis://{TEAM.store_name}:6379"]
    assert "--cookie-expire=8h" in told["argument"]
    assert release_facts(release_values(dataclasses.replace(TEAM, session_store=SessionStore("cookie"))))["store"] == ["cookie"]
    assert release_facts({})["argument"] == []


def test_a_release_of_somebody_else_may_hold_anything() -> None:
    told = release_facts({"extraArgs": ["--allowed-group=b,a", "--reverse-proxy"], "config": None, "sessionStorage": {"redis": []}})
    assert (told["team groups"], told["argument"], told["store"]) == (["a", "b"], ["--reverse-proxy="], ["cookie"])
    assert release_facts({"extraArgs": 7, "config": "x", "sessionStorage": []})["argument"] == []


def test_a_secret_in_somebody_s_values_is_not_told() -> None:
    values = {
        "extraArgs": ["--client-secret=hunter2", "--footer=-"],
        "sessionStorage": {"redis": {"standalone": {"connectionUrl": "redis://:hunter2@store:6379"}}},
    }
    told = release_facts(values)
    assert "hunter2" not in str(told) and "--footer=-" in told["argument"]
    assert "hunter2" not in str(release_facts({"extraArgs": {"cookie-secret": "hunter2"}}))
