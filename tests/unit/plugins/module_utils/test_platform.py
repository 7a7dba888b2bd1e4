# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The platform's objects: in place once, and no fight with somebody else's policy."""

from __future__ import annotations

import copy
import typing as t

import pytest
import yaml

from ansible_collections.platform.gateway_auth.plugins.module_utils import _platform
from ansible_collections.platform.gateway_auth.plugins.module_utils._admission import BINDING_KIND, POLICY_KIND, admission_manifests
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ClusterError, ForeignObjectError, GatewayAuthError, NotReadyError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import HEADER_POLICY_NAME, HTTPS_REDIRECT_NAME, header_policy
from ansible_collections.platform.gateway_auth.plugins.module_utils._preflight import carries_our_headers, platform_problems
from tests.golden import team
from tests.unit.support import platform as parts
from tests.unit.support.api import Api

Object = dict[str, t.Any]
TEAM = team()
GUARDS = [f"{obj['kind']} {obj['metadata']['name']}" for obj in admission_manifests(TEAM.gateway, {})]
BOTH = [f"PATCH ClientTrafficPolicy {HEADER_POLICY_NAME}", f"PATCH HTTPRoute {HTTPS_REDIRECT_NAME}"]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_platform, "_TIMEOUT_S", 0.3)
    monkeypatch.setattr(_platform, "_POLL_S", 0.01)


@pytest.fixture(autouse=True)
def _gateway(api: Api) -> None:
    api.seed(*parts.software())


def _prepare(kube: Kube, *, check: bool = False, adopt: t.Collection[str] = ()) -> Journal:
    journal = Journal(kube, check=check, adopt=adopt)
    _platform.prepare(TEAM, journal)
    return journal


def test_sequence(api: Api, kube: Kube) -> None:
    api.read_only = True
    predicted = _prepare(kube, check=True)
    assert [change["action"] for change in predicted.listing()] == ["create"] * 6
    api.read_only = False
    written = _prepare(kube)
    assert written.listing() == predicted.listing()
    assert api.trace == [*BOTH, *(f"PATCH {name}" for name in GUARDS)], "each policy before its binding"
    assert platform_problems(kube, TEAM.gateway) == [], "preflight agrees"
    api.forget()
    assert not _prepare(kube).changed
    assert all(request.startswith("GET") for request in api.asked)


def test_the_mark_is_the_environment_s(api: Api, kube: Kube) -> None:
    _prepare(kube)
    labels = api.the("ClientTrafficPolicy", HEADER_POLICY_NAME)["metadata"]["labels"]
    assert labels == _platform.platform_labels(TEAM) == _platform.platform_labels(team({"name": "team-b", "stack": "logging"}))
    assert labels["gateway-auth/environment"] == TEAM.environment
    journal = Journal(kube, check=False)
    _platform.prepare(team({"name": "team-b", "stack": "logging"}), journal)
    assert not journal.changed, "another team of the same Gateway finds it in place"


@pytest.mark.parametrize(
    ("name", "verdict", "words"),
    [
        pytest.param(
            HEADER_POLICY_NAME, {"type": "Accepted", "status": "False", "message": "Conflicted"}, ["ClientTrafficPolicy", "Conflicted"], id="policy refused"
        ),
        pytest.param(HEADER_POLICY_NAME, None, ["ClientTrafficPolicy", "no status"], id="policy not judged"),
        pytest.param(HTTPS_REDIRECT_NAME, {"type": "Accepted", "status": "False", "message": "NotAllowed"}, ["HTTPRoute", "NotAllowed"], id="redirect refused"),
    ],
)
def test_what_is_not_accepted_is_told(api: Api, kube: Kube, name: str, verdict: Object | None, words: list[str]) -> None:
    api.verdicts[name] = verdict
    with pytest.raises(NotReadyError) as error:
        _prepare(kube)
    assert all(word in error.value.message for word in [name, *words])


@pytest.mark.parametrize("section", ["", "https"], ids=["Gateway", "listener"])
@pytest.mark.parametrize("check", [True, False], ids=["check mode", "live"])
def test_a_rival_without_our_rules_gets_what_to_merge(api: Api, kube: Kube, section: str, check: bool) -> None:
    rival = parts.client_policy(TEAM, section=section, headers={"withUnderscoresAction": "Allow"})
    api.seed(rival)
    with pytest.raises(GatewayAuthError) as error:
        _prepare(kube, check=check)
    assert "gateway-envoy/theirs" in error.value.message
    assert not any(request.writes for request in api.journal)
    merge = yaml.safe_load(error.value.remedy.partition("\n")[2])
    assert carries_our_headers(merge, TEAM.gateway), "what is printed is what is needed"


@pytest.mark.parametrize("check", [True, False], ids=["check mode", "live"])
def test_a_rival_that_selects_the_gateway_by_label_is_not_fought(api: Api, kube: Kube, check: bool) -> None:
    api.seed(parts.gateway(labels={"edge": "public"}), parts.selecting_policy(TEAM))
    with pytest.raises(GatewayAuthError, match="gateway-envoy/theirs"):
        _prepare(kube, check=check)
    assert not any(request.writes for request in api.journal)


@pytest.mark.parametrize("section", ["", "https"], ids=["Gateway", "listener"])
def test_a_rival_with_our_rules_serves_and_is_left_alone(api: Api, kube: Kube, section: str) -> None:
    api.seed(parts.client_policy(TEAM, section=section, headers=parts.our_headers(TEAM)))
    _prepare(kube)
    assert api.trace[:-4] == BOTH[1:]
    assert api.names("ClientTrafficPolicy") == {"theirs"}
    assert platform_problems(kube, TEAM.gateway) == []


def test_policies_elsewhere_are_no_rivals(api: Api, kube: Kube) -> None:
    api.namespaces("other")
    elsewhere = parts.client_policy(TEAM)
    elsewhere["metadata"]["namespace"] = "other"
    api.seed(elsewhere, parts.client_policy(TEAM, "on-http", section="http"))
    _prepare(kube)
    assert api.trace[:-4] == BOTH


def test_a_foreign_object_of_our_name(api: Api, kube: Kube) -> None:
    api.seed(header_policy(TEAM.gateway, {"app": "theirs"}))
    with pytest.raises(ForeignObjectError, match=HEADER_POLICY_NAME):
        _prepare(kube)
    assert not api.writes
    assert _prepare(kube, adopt=[f"ClientTrafficPolicy/{HEADER_POLICY_NAME}"]).listing()[0]["action"] == "adopt"


def test_drift_goes(api: Api, kube: Kube) -> None:
    _prepare(kube)
    api.edit("ClientTrafficPolicy", HEADER_POLICY_NAME, lambda obj: obj["spec"]["headers"]["earlyRequestHeaders"].pop("removeOnMatch"))
    assert _prepare(kube).changed
    assert carries_our_headers(api.the("ClientTrafficPolicy", HEADER_POLICY_NAME), TEAM.gateway)


@pytest.mark.parametrize("answer_only", [False, True], ids=["not written", "written, answer lost"])
@pytest.mark.parametrize("after", range(6))
def test_any_write_may_be_the_last(api: Api, kube: Kube, after: int, answer_only: bool) -> None:
    api.lose_connection_after(after, answer_only=answer_only)
    with pytest.raises(ClusterError):
        _prepare(kube)
    api.mend()
    _prepare(kube)
    assert api.names("ClientTrafficPolicy") == {HEADER_POLICY_NAME} and api.names("HTTPRoute") == {HTTPS_REDIRECT_NAME}
    assert not _prepare(kube).changed


# --- the admission policies ------------------------------------------------------------------------------------------------


OPTED_OUT = team({"gateway": {"admission_policy": False}})
HOSTS = admission_manifests(TEAM.gateway, {})[0]["metadata"]["name"]


def _prepare_without(kube: Kube, *, check: bool = False) -> Journal:
    journal = Journal(kube, check=check)
    _platform.prepare(OPTED_OUT, journal)
    return journal


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        pytest.param(POLICY_KIND, lambda spec: spec.update(failurePolicy="Ignore"), id="errors pass"),
        pytest.param(POLICY_KIND, lambda spec: spec["validations"].pop(), id="a validation gone"),
        pytest.param(POLICY_KIND, lambda spec: spec["matchConditions"].append({"name": "never", "expression": "false"}), id="a condition that never holds"),
        pytest.param(POLICY_KIND, lambda spec: spec["matchConstraints"].update(excludeResourceRules=[{"resources": ["*"]}]), id="resources left out"),
        pytest.param(BINDING_KIND, lambda spec: spec.update(validationActions=["Warn"]), id="only warns"),
        pytest.param(BINDING_KIND, lambda spec: spec.update(matchResources={"namespaceSelector": {"matchLabels": {"a": "b"}}}), id="some namespaces only"),
        pytest.param(BINDING_KIND, lambda spec: spec["paramRef"].update(namespace="elsewhere"), id="other claims"),
    ],
)
def test_drift_of_an_admission_policy_goes(api: Api, kube: Kube, kind: str, change: t.Callable[[Object], None]) -> None:
    _prepare(kube)
    before = copy.deepcopy(api.the(kind, HOSTS)["spec"])
    api.edit(kind, HOSTS, lambda obj: change(obj["spec"]))
    api.read_only = True
    predicted = _prepare(kube, check=True)
    api.read_only = False
    journal = _prepare(kube)
    assert journal.listing() == predicted.listing() and journal.diff() == predicted.diff()
    assert [change["object"] for change in journal.listing()] == [f"{kind} {HOSTS}"]
    assert api.the(kind, HOSTS)["spec"] == before
    assert not _prepare(kube).changed


def test_a_label_of_somebody_else_stays(api: Api, kube: Kube) -> None:
    _prepare(kube)
    api.edit(POLICY_KIND, HOSTS, lambda obj: (obj["metadata"]["labels"].update(theirs="x"), obj["spec"].update(failurePolicy="Ignore")))
    _prepare(kube)
    assert api.the(POLICY_KIND, HOSTS)["metadata"]["labels"]["theirs"] == "x"


def test_without_admission_policies(api: Api, kube: Kube) -> None:
    _prepare_without(kube)
    assert api.trace == BOTH, "what isn't there isn't made"
    _prepare(kube)
    api.forget()
    api.read_only = True
    predicted = _prepare_without(kube, check=True)
    api.read_only = False
    journal = _prepare_without(kube)
    assert journal.listing() == predicted.listing() and journal.diff() == predicted.diff()
    assert api.trace == [f"PATCH {name}" for name in GUARDS[::2]], "no binding ever goes (kubernetes#130887)"
    for name in GUARDS[::2]:
        assert api.the(*name.split())["spec"]["matchConditions"] == [{"name": "off", "expression": "false"}]
    assert not _prepare_without(kube).changed
    _prepare(kube)
    assert [item["name"] for item in api.the(POLICY_KIND, HOSTS)["spec"]["matchConditions"]] == ["no-dry-run", "spec-changes"]


def test_opted_out_and_not_allowed_to_look(api: Api, kube: Kube) -> None:
    api.forbidden = {"validatingadmissionpolicies", "validatingadmissionpolicybindings"}
    _prepare_without(kube)
    assert api.trace == BOTH


def test_an_admission_policy_of_somebody_else(api: Api, kube: Kube) -> None:
    theirs = admission_manifests(TEAM.gateway, {"app": "theirs"})
    api.seed(*theirs)
    assert not _prepare_without(kube).listing()[2:], "not ours to remove"
    with pytest.raises(ForeignObjectError, match=HOSTS):
        _prepare(kube)
    adopted = _prepare(kube, adopt=["all"])
    assert [change["action"] for change in adopted.listing()] == ["adopt"] * 4
