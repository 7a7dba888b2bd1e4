# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Claims and admission policies as data. Whether the API server takes the expressions, and what they refuse, only a real one can
tell: tests/e2e/test_admission.py.
"""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _admission
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import UnresolvedError
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import gateway_manifests
from tests.golden import COMPILE, Case, cases, model, team

Object = dict[str, t.Any]
TEAM = team()
MANIFESTS = _admission.admission_manifests(TEAM.gateway, {"a": "b"})
PROMETHEUS, ALERTMANAGER = model()["apps"]


@pytest.mark.parametrize("kind", ["claim", "admission"])
def test_golden(kind: str) -> None:
    for case in cases(kind):
        assert COMPILE[kind](case.team) == case.content["expected"], case.name
    assert cases(kind)


@pytest.mark.parametrize("case", cases("manifests"), ids=lambda case: case.name)
def test_a_claim_names_every_route_and_policy_and_host_that_we_make(case: Case) -> None:
    data = _admission.claim(case.team)["data"]
    for obj in gateway_manifests(case.team):
        name = obj["metadata"]["name"]
        if obj["kind"] == "HTTPRoute":
            assert f"route.{name}" in data
            assert all(f"host.{host}" in data for host in obj["spec"]["hostnames"])
        elif obj["kind"] == "SecurityPolicy":
            http = obj["spec"]["extAuth"]["http"]
            targets = [(ref["name"], ref.get("sectionName")) for ref in obj["spec"]["targetRefs"]]
            assert data[f"policy.{name}"] == http["pathOverride"]
            assert targets == [(data[f"guards.{name}"], None), (data[f"probes.{name}"], "probe")]
            assert [ref["name"] for ref in http["backendRefs"]] == [data["service"]]


def test_keys_and_size_are_what_a_config_map_may_have() -> None:
    domain = ".".join(["d" * 63] * 2)
    apps = [{**PROMETHEUS, "name": f"app-{number:02}-{'x' * 20}", "hostname": f"{'h' * 60}{number:02}.{domain}"} for number in range(50)]
    data = _admission.claim(team({"apps": apps, "domain": domain}))["data"]
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) for key in data)
    assert all(isinstance(value, str) for value in data.values())
    assert len(json.dumps(data)) < 2**20 / 4


def test_a_group_that_nobody_looked_up_makes_no_claim() -> None:
    app = {**PROMETHEUS, "allowed_groups": [{"id": "", "name": "by name"}]}
    with pytest.raises(UnresolvedError, match="by name"):
        _admission.claim(team({"apps": [app]}))


def test_widened() -> None:
    wanted = _admission.claim(team({"apps": [ALERTMANAGER]}))
    assert _admission.widened(wanted, None) == wanted
    live = _admission.claim(team({"apps": [PROMETHEUS], "gateway": {"name": "former"}}))
    live["data"]["their"] = "key"
    both = _admission.widened(wanted, live)["data"]
    assert {f"host.{app['hostname']}" for app in (PROMETHEUS, ALERTMANAGER)} <= set(both)
    assert both["gateway"] == "main" and "their" not in both
    assert {**both, **wanted["data"]} == both, "what will be comes before what was"
    assert wanted == _admission.claim(team({"apps": [ALERTMANAGER]})), "its argument is left alone"


def test_a_claim_on_hosts_alone_keeps_no_policy() -> None:
    claim = _admission.claim(TEAM)
    hosts = _admission.hosts_claim(claim)["data"]
    assert {key.partition(".")[0] for key in claim["data"] if key not in hosts} == {"route", "policy", "guards", "probes"}
    assert {key.partition(".")[0] for key in hosts} == {"team", "namespace", "gateway", "service", "host"}
    assert not any(_admission.protects({"data": hosts}, TEAM.policy_name(app)) for app in TEAM.apps)


def test_protects() -> None:
    claim = _admission.claim(team({"apps": [PROMETHEUS]}))
    assert _admission.protects(claim, "oauth2-prometheus-team-a")
    assert not _admission.protects(claim, "oauth2-alertmanager-team-a")
    assert not _admission.protects(None, "oauth2-prometheus-team-a")
    assert not _admission.protects({"metadata": {}}, "oauth2-prometheus-team-a")


# --- the policies ----------------------------------------------------------------------------------------------------------


def test_each_policy_has_its_binding_and_every_claim_is_its_parameter() -> None:
    assert [obj["kind"] for obj in MANIFESTS] == [_admission.POLICY_KIND, _admission.BINDING_KIND] * 2
    for policy, binding in zip(MANIFESTS[::2], MANIFESTS[1::2], strict=True):
        assert binding["spec"]["policyName"] == policy["metadata"]["name"]
        assert binding["spec"]["validationActions"] == ["Deny"]
        reference = binding["spec"]["paramRef"]
        assert (reference["namespace"], reference["parameterNotFoundAction"]) == (TEAM.gateway.namespace, "Allow")
        labels = _admission.claim(TEAM)["metadata"]["labels"]
        assert reference["selector"]["matchLabels"].items() <= labels.items()
        assert policy["spec"]["failurePolicy"] == "Fail"
        assert policy["spec"]["matchConstraints"]["matchPolicy"] == "Equivalent"


def test_gateways_share_no_object() -> None:
    others = [team({"gateway": gateway}).gateway for gateway in ({"name": "edge"}, {"namespace": "edge"})]
    names = [obj["metadata"]["name"] for gateway in (TEAM.gateway, *others) for obj in _admission.admission_manifests(gateway, {})]
    assert len(set(names)) == len(names) / 2, "a policy and its binding have one name"
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name) for name in names)


def _expressions(spec: Object) -> list[str]:
    texts = [item["expression"] for part in ("matchConditions", "variables", "validations") for item in spec[part]]
    return texts + [item["messageExpression"] for item in spec["validations"]]


@pytest.mark.parametrize("policy", MANIFESTS[::2], ids=lambda policy: policy["metadata"]["name"])
def test_expressions_are_whole(policy: Object) -> None:
    """What the API server limits, and what a slip of the pen would leave."""
    spec = policy["spec"]
    known = {item["name"] for item in spec["variables"]}
    for text in _expressions(spec):
        assert "\n" not in text and len(text) < 16 * 1024
        assert set(re.findall(r"variables\.(\w+)", text)) <= known
        assert "{" not in text.replace("{}", ""), "a field of a format string that isn't one"
        bare = re.sub(r"'(?:[^'\\]|\\.)*'", "", text)
        assert "'" not in bare and all(bare.count(left) == bare.count(right) for left, right in ("()", "[]"))
    for item in spec["validations"]:
        assert item["reason"] == "Forbidden" and item["message"]
        for word in ("variables.claim.?team", "params.metadata.name", "file"):
            assert word in item["messageExpression"], "owner, claim and remedy"
