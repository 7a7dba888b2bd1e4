# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API double against what a real API server (1.34, CRDs of Envoy Gateway 1.9) made of the same requests."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest

from tests.unit.support.api import Api, live
from tests.unit.support.recorded import PASSTHROUGH, POLICY, ROUTE

Object = dict[str, t.Any]
PATHS = {
    "SecurityPolicy": "/apis/gateway.envoyproxy.io/v1alpha1/namespaces/monitoring-team-a/securitypolicies/oauth2-prometheus-team-a",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/monitoring-team-a/httproutes/prometheus-team-a",
}
APPLY = "?fieldManager=gateway-auth&force=true"


def _api(*seeds: Object) -> Api:
    api = Api()
    api.namespaces("monitoring-team-a")
    api.seed(*seeds)
    return api


def _apply(api: Api, obj: Object, query: str = APPLY) -> tuple[int, t.Any]:
    path = PATHS[obj["kind"]].rpartition("/")[0] + "/" + obj["metadata"]["name"]
    return api.answer("PATCH", path + query, "application/apply-patch+yaml", json.dumps(obj).encode())


def _owned(obj: Object) -> list[tuple[str, str, Object]]:
    entries = [entry for entry in obj["metadata"]["managedFields"] if not entry.get("subresource")]
    return sorted((entry["manager"], entry["operation"], entry["fieldsV1"]) for entry in entries)


def _undotted(node: t.Any) -> t.Any:
    return {key: _undotted(value) for key, value in node.items() if key != "."}


@pytest.mark.parametrize(
    ("before", "config", "after"),
    [
        pytest.param("", POLICY, "policy_ours", id="create a policy"),
        pytest.param("", ROUTE, "route_ours", id="create a route"),
        pytest.param("", PASSTHROUGH, "passthrough_ours", id="create a passthrough route"),
        pytest.param("policy_opened", POLICY, "policy_opened_then_applied", id="take an edited field back"),
        pytest.param("route_edited_in_list", ROUTE, "route_edited_then_applied", id="take an edited list back"),
        pytest.param("route_former_timeout", ROUTE, "route_ours", id="leave out what was ours"),
        pytest.param("route_by_hand", ROUTE, "route_by_hand_taken_over", id="take over a route made by hand"),
        pytest.param("policy_by_hand", POLICY, "policy_by_hand_taken_over", id="take over a policy made by hand"),
    ],
)
def test_apply_gives_what_the_real_one_gave(before: str, config: Object, after: str) -> None:
    api = _api(*([live(before)] if before else []))
    status, answer = _apply(api, config)
    assert status == (200 if before else 201)
    expected = live(after)
    assert answer["spec"] == expected["spec"]
    assert answer["metadata"]["labels"] == expected["metadata"]["labels"]
    assert [(m, o, _undotted(f)) for m, o, f in _owned(answer)] == [(m, o, _undotted(f)) for m, o, f in _owned(expected)]


def test_an_apply_that_changes_nothing_leaves_the_version() -> None:
    api = _api()
    first = _apply(api, POLICY)[1]
    again = _apply(api, POLICY)[1]
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_dry_run_stores_nothing() -> None:
    api = _api()
    assert _apply(api, POLICY, f"{APPLY}&dryRun=All")[0] == 201
    assert api.names("SecurityPolicy") == set()


def test_an_edit_moves_ownership_as_kubectl_s_did() -> None:
    api = _api()
    _apply(api, ROUTE)
    api.edit("HTTPRoute", "prometheus-team-a", lambda obj: obj["spec"]["rules"][0].update(timeouts={"request": "30s"}), manager="kubectl-patch")
    assert [(m, o, _undotted(f)) for m, o, f in _owned(api.the("HTTPRoute", "prometheus-team-a"))] == [
        (m, o, _undotted(f)) for m, o, f in _owned(live("route_edited_in_list"))
    ]


def _delete(api: Api, body: Object, query: str = "") -> int:
    return api.answer("DELETE", PATHS["SecurityPolicy"] + query, "application/json", json.dumps(body).encode())[0]


def test_deletion_minds_uid_and_the_body_s_dry_run() -> None:
    api = _api()
    uid = _apply(api, POLICY)[1]["metadata"]["uid"]
    assert _delete(api, {"preconditions": {"uid": "another"}}) == 409
    assert _delete(api, {"preconditions": {"uid": uid}, "dryRun": ["All"]}) == 200
    assert api.names("SecurityPolicy")
    assert _delete(api, {"preconditions": {"uid": uid}}) == 200
    assert not api.names("SecurityPolicy")
    assert not api.violations


Call = tuple[str, str, str, Object | None]
SECRETS = "/api/v1/namespaces/monitoring-team-a/secrets"


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(("GET", "/api/v1/endpoints", "", None), id="unknown kind"),
        pytest.param(("GET", f"{SECRETS}?watch=true", "", None), id="unknown query"),
        pytest.param(("GET", f"{SECRETS}/a/status", "", None), id="unknown subresource"),
        pytest.param(("PATCH", PATHS["SecurityPolicy"] + "?fieldManager=other&force=true", "application/apply-patch+yaml", POLICY), id="another manager"),
        pytest.param(("PATCH", PATHS["SecurityPolicy"] + "?fieldManager=gateway-auth", "application/apply-patch+yaml", POLICY), id="without force"),
        pytest.param(("PATCH", PATHS["SecurityPolicy"] + APPLY, "application/merge-patch+json", POLICY), id="merge patch"),
        pytest.param(("PATCH", PATHS["HTTPRoute"] + APPLY, "application/apply-patch+yaml", POLICY), id="body of another path"),
        pytest.param(("DELETE", f"{PATHS['SecurityPolicy']}?dryRun=All", "application/json", {"kind": "DeleteOptions"}), id="dry run that isn't one"),
    ],
)
def test_what_the_engine_must_not_do_is_a_violation(call: Call) -> None:
    api = _api()
    method, path, content_type, body = call
    status, _answer = api.answer(method, path, content_type, json.dumps(body).encode() if body else b"")
    assert status == 400
    assert len(api.violations) == 1


def test_a_write_in_check_mode_is_a_violation() -> None:
    api = _api()
    api.read_only = True
    assert _apply(api, POLICY)[0] == 400
    assert api.violations and not api.names("SecurityPolicy")


def test_lists_have_no_kind_and_follow_labels() -> None:
    api = _api(live("helm3"), live("helm4"))
    answer = api.answer("GET", f"{SECRETS}?labelSelector=name%3Dtiny%2Cowner%3Dhelm", "", b"")[1]
    assert [item["metadata"]["name"] for item in answer["items"]] == ["sh.helm.release.v1.tiny.v1"]
    assert "kind" not in answer["items"][0]


def test_an_unknown_namespace_is_named() -> None:
    api = Api()
    obj = copy.deepcopy(POLICY)
    status, answer = _apply(api, obj)
    assert (status, answer["message"]) == (404, 'namespaces "monitoring-team-a" not found')
