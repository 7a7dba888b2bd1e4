# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Outcomes of changes in Entra, and what the cluster remembers of a registration."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import encode
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_plan import EntraChange
from ansible_collections.platform.gateway_auth.plugins.module_utils._secrets import GROUPS
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._registrations import entra_outcome, from_cluster, known_ids
from tests.unit.support.api import Api
from tests.unit.support.entra import managed

NAMED = {"allowed_groups": [{"id": "", "name": "team-a-oncall"}]}
CLIENT_ID = "aaaaaaaa-0000-4000-8000-00000000000a"


def _remember(api: Api, groups: dict[str, str] | None = None, client_id: str = "") -> None:
    annotations = {GROUPS: json.dumps(groups)} if groups else {}
    data = {"client-id": encode(client_id)} if client_id else {}
    api.seed(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "oauth2-proxy-team-a", "namespace": "monitoring-team-a", "annotations": annotations},
            "data": data,
        }
    )


def test_no_change_is_no_change() -> None:
    assert entra_outcome([]).to_dict() == {"changed": False, "failed": False, "msg": "", "changes": [], "diff": [], "data": {"findings": []}}


def test_changes_with_reasons_and_a_diff() -> None:
    change = EntraChange(
        "update_application", "update", "app registration 'x'", ("set a", "add b"), {"a": 1, "b": {"c": [2]}}, before={"a": None, "b": {"c": []}}
    )
    outcome = entra_outcome([change], ["look at this"])
    assert outcome.changed and outcome.data == {"findings": ["look at this"]}
    assert outcome.changes == [change.to_dict()]
    [diff] = outcome.diff
    assert diff["before_header"] == "app registration 'x'" and diff["after_header"] == "app registration 'x' (update)"
    assert diff["before"] == "a: null\nb:\n  c: []\n"
    assert diff["after"] == "# set a\n# add b\na: 1\nb:\n  c:\n  - 2\n"


def test_a_change_without_a_body_shows_its_reasons() -> None:
    [diff] = entra_outcome([EntraChange("remove_owner", "update", "owners", ("remove owner x",), target="x")]).diff
    assert (diff["before"], diff["after"]) == ("", "# remove owner x\n")


@pytest.mark.parametrize(("groups", "found"), [({"team-a-oncall": "id-1"}, {"team-a-oncall": "id-1"}), (None, {})])
def test_ids_that_an_earlier_run_found(api: Api, kubeconfig: str, groups: dict[str, str] | None, found: dict[str, str]) -> None:
    _remember(api, groups)
    assert known_ids(managed(cluster={"kubeconfig": kubeconfig}, **NAMED)) == found


def test_a_cluster_that_remembers_nothing(api: Api, kubeconfig: str) -> None:
    assert known_ids(managed(cluster={"kubeconfig": kubeconfig}, **NAMED)) == {}


@pytest.mark.parametrize("overrides", [{}, {"client_id": CLIENT_ID}])
def test_the_cluster_is_asked_only_for_what_is_not_known(api: Api, overrides: dict[str, t.Any]) -> None:
    team = managed(cluster={"kubeconfig": "/nowhere"}, **overrides)
    assert known_ids(team) == {}
    if overrides:
        assert from_cluster(team) is team


def test_what_the_secret_tells(api: Api, kubeconfig: str) -> None:
    _remember(api, {"team-a-oncall": "id-1"}, CLIENT_ID)
    found = from_cluster(managed(cluster={"kubeconfig": kubeconfig}, **NAMED))
    assert found.client_id == CLIENT_ID and found.proxy_groups == ("id-1",) and found.named_groups == ()
    given = from_cluster(managed(cluster={"kubeconfig": kubeconfig}, client_id="the inventory's", **NAMED))
    assert given.client_id == "the inventory's"


def test_without_a_secret_nothing_is_known(api: Api, kubeconfig: str) -> None:
    found = from_cluster(managed(cluster={"kubeconfig": kubeconfig}, **NAMED))
    assert found.client_id == "" and found.named_groups == ("team-a-oncall",)
