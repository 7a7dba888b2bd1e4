# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of rights holds together, and what is made of it grants that and no more, by an evaluator of RBAC of our own."""

from __future__ import annotations

import itertools
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _preflight, _rights
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube, is_namespaced
from ansible_collections.platform.gateway_auth.plugins.module_utils._rights import Need, Subject
from tests.golden import team
from tests.unit.support import platform as parts
from tests.unit.support.api import Api

Object = dict[str, t.Any]
TEAM = team({"cluster": {"uid": "00000000-1111-4111-8111-000000000000"}})
SHARED = team({"apps": [{**TEAM.to_dict()["apps"][0], "service": {"name": "s", "port": 80, "namespace": "shared"}}]})
OTHER = team({"name": "team-b", "gateway": {"name": "edge", "namespace": "edge"}})
WHO = Subject("ServiceAccount", "gateway-auth", "awx")


def _granted(manifests: list[Object]) -> set[tuple[str, str, str, str, str]]:
    """(namespace or "" for everywhere, group, resource, verb, name or "" for any) of every rule that is bound to WHO."""
    roles = {(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): obj["rules"] for obj in manifests if "rules" in obj}
    found = set()
    for binding in (obj for obj in manifests if "roleRef" in obj):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "gateway-auth", "namespace": "awx"}]
        place = binding["metadata"].get("namespace", "")
        for rule in roles.pop((binding["roleRef"]["kind"], place, binding["roleRef"]["name"])):
            every = itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""]))
            found |= {(place, group, resource, verb, name) for group, resource, verb, name in every}
    assert not roles, "a Role that nobody is bound to"
    return found


def _wanted(need: Need) -> set[tuple[str, str, str, str, str]]:
    right = need.right
    return {(need.namespace, right.group, right.resource, verb, name) for verb in right.verbs for name in right.names or ("",)}


def _holds(granted: set[tuple[str, str, str, str, str]], wanted: tuple[str, str, str, str, str]) -> bool:
    namespace, *what, name = wanted
    return any((place, *what, one) in granted for place in {namespace, ""} for one in {name, ""})


@pytest.mark.parametrize("right", _rights.RIGHTS, ids=lambda right: f"{right.place} {right.full_name} {','.join(right.verbs)}")
def test_each_row_makes_sense(right: _rights.Right) -> None:
    assert right.place in _rights.PLACES and right.when in _rights.WHEN
    assert right.verbs and set(right.verbs) <= set(_rights.VERBS)
    assert right.phases and set(right.phases) <= {*_rights.PHASES, _rights.REMOVE}
    assert right.why
    # RBAC matches no name in a list or a creation.
    assert not (right.names and {"list", "create"} & set(right.verbs))
    assert right.place == _rights.CLUSTER or is_namespaced(right.api_version, right.kind) or right.kind == "Namespace"
    # A phase that removes is never granted alone: onboarding asks for it.
    assert _rights.REMOVE not in right.phases or _rights.ONBOARD in right.phases


def test_no_verb_is_listed_twice_for_a_phase() -> None:
    seen = [(right.place, right.full_name, verb, phase, bool(right.without)) for right in _rights.RIGHTS for verb in right.verbs for phase in right.phases]
    assert len(seen) == len(set(seen))


def test_the_only_thing_that_needs_the_whole_cluster_is_a_namespace() -> None:
    """So Roles in prepared namespaces suffice, but for the admission policies of `prepare_gateway`; whatever else is cluster-wide says what happens without it."""
    required = [right for right in _rights.RIGHTS if right.place == _rights.CLUSTER and not right.without and right.when != "admission"]
    assert [(right.kind, right.verbs) for right in required] == [("Namespace", ("create",))]


@pytest.mark.parametrize("scope", _rights.SCOPES)
@pytest.mark.parametrize("phases", [_rights.PHASES, *((phase,) for phase in _rights.PHASES)], ids="+".join)
@pytest.mark.parametrize("optional", [True, False])
def test_roles_grant_what_is_needed_and_nothing_else(scope: str, phases: tuple[str, ...], optional: bool) -> None:
    teams = [TEAM, SHARED, OTHER]
    granted = _granted(_rights.rbac_manifests(teams, WHO, scope=scope, phases=phases, optional=optional))
    needs = [need for chosen in teams for need in _rights.needs(chosen, phases, optional=optional)]
    wanted = {item for need in needs if scope == "cluster" or need.namespace for item in _wanted(need)}
    assert [item for item in wanted if not _holds(granted, item)] == []
    if scope == "namespaces":
        assert granted <= wanted, "exactly these"
        assert "" not in {place for place, *_rest in granted}
    else:
        anywhere = {(group, resource, verb) for need in needs for _place, group, resource, verb, _name in _wanted(need)}
        assert {(group, resource, verb) for _place, group, resource, verb, _name in granted} <= anywhere
        assert {place for place, *_rest in granted} - {"", "gateway-envoy", "edge"} == set()


def test_without_prepare_the_gateway_s_namespace_is_only_read() -> None:
    granted = _granted(_rights.rbac_manifests([TEAM], WHO, scope="namespaces", phases=("verify", "onboard", "rotate")))
    assert {verb for place, _group, resource, verb, _name in granted if place == "gateway-envoy" and resource != "configmaps"} == {"get", "list"}


def test_who_only_verifies_writes_nothing() -> None:
    for scope in _rights.SCOPES:
        granted = _granted(_rights.rbac_manifests([TEAM, SHARED], WHO, scope=scope, phases=("verify",)))
        assert {verb for _place, _group, _resource, verb, _name in granted} == {"get", "list"}
        assert scope == "cluster" or {place for place, *_rest in granted} == {"monitoring-team-a", "gateway-envoy", "kube-system"}
    least = _granted(_rights.rbac_manifests([TEAM], WHO, scope="namespaces", phases=("verify",), optional=False))
    assert not {item for item in least if item[2] == "secrets"}


@pytest.mark.parametrize(
    ("overrides", "resource", "there"),
    [
        pytest.param({}, "persistentvolumeclaims", False, id="no volume"),
        pytest.param({"session_store": {"persistence": "1Gi"}}, "persistentvolumeclaims", True, id="volume"),
        pytest.param({}, "serviceaccounts/token", False, id="client secret"),
        pytest.param({"credential": "federated", "client_secret": None}, "serviceaccounts/token", True, id="federated"),
        pytest.param({}, "referencegrants", False, id="apps at home"),
        pytest.param({"apps": SHARED.to_dict()["apps"]}, "referencegrants", True, id="an app elsewhere"),
    ],
)
def test_the_inventory_decides(overrides: Object, resource: str, there: bool) -> None:
    granted = _granted(_rights.rbac_manifests([team(overrides)], WHO, scope="namespaces"))
    assert (resource in {found for _place, _group, found, _verb, _name in granted}) is there


@pytest.mark.parametrize(
    ("subject", "written"),
    [
        (Subject("User", "u"), {"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}),
        (Subject("Group", "g"), {"kind": "Group", "name": "g", "apiGroup": "rbac.authorization.k8s.io"}),
        (WHO, {"kind": "ServiceAccount", "name": "gateway-auth", "namespace": "awx"}),
    ],
)
def test_subjects(subject: Subject, written: Object) -> None:
    bindings = [obj for obj in _rights.rbac_manifests([TEAM], subject) if "roleRef" in obj]
    assert bindings and all(binding["subjects"] == [written] for binding in bindings)


def _required() -> list[tuple[str, str, str]]:
    phases = (_rights.ONBOARD, _rights.ROTATE)
    both = [need for chosen in (TEAM, SHARED) for need in _rights.needs(chosen, phases)]
    return sorted({(need.namespace, need.right.full_name, verb) for need in both for verb in need.right.verbs})


@pytest.mark.parametrize(("namespace", "resource", "verb"), _required())
def test_each_missing_verb_is_named_with_its_resource_and_namespace(
    api: Api, kube: Kube, monkeypatch: pytest.MonkeyPatch, namespace: str, resource: str, verb: str
) -> None:
    api.seed(*parts.platform(TEAM))
    del api.objects[("namespaces", "", TEAM.namespace)]  # so that the right to make it counts

    def allowed(asked: str, version: str, kind: str, place: str = "", name: str = "", subresource: str = "") -> bool:
        right = next(one for one in _rights.RIGHTS if (one.api_version, one.kind, one.subresource) == (version, kind, subresource))
        return (place, right.full_name, asked) != (namespace, resource, verb)

    monkeypatch.setattr(kube, "allowed", allowed)
    problems = {str(problem) for chosen in (TEAM, SHARED) for problem in _preflight.rights_problems(kube, chosen, _rights.ONBOARD, _rights.ROTATE)}
    (problem,) = problems
    where = f"namespace {namespace}" if namespace else "the whole cluster"
    assert f"in {where}: {verb} {resource}." in problem
    assert "docs/rbac.md" in problem
