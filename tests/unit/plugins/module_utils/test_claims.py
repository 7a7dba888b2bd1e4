# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The claim is true at every instant: wider first, narrower last. The guard of ``Envoy`` holds each write against it besides."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _claims, _routes
from ansible_collections.platform.gateway_auth.plugins.module_utils._admission import claim
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ClusterError, ForbiddenError, ForeignObjectError, NotReadyError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import DeniedError, Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._probe import ProbeClient
from tests.golden import model, team
from tests.unit.support.api import Api, Refusal, Request
from tests.unit.support.envoy import Envoy

Object = dict[str, t.Any]
PROMETHEUS, ALERTMANAGER = model()["apps"]
ONE, TWO, NONE = team({"apps": [PROMETHEUS]}), team(), team({"apps": []})
OPTED_OUT = team({"apps": [PROMETHEUS], "gateway": {"admission_policy": False}})
NARROWER = team({"apps": [{**PROMETHEUS, "allowed_groups": [{"id": "5f0c0c7e-0000-4000-8000-0000000000a2", "name": "oncall"}]}]})
POLICY = "oauth2-prometheus-team-a"
CLAIM = ONE.claim_name
DENIAL = "securitypolicies \"x\" is forbidden: ValidatingAdmissionPolicy 'gateway-auth-policies.gateway-envoy.main' with binding 'y' denied request: no"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_claims, "TAKEN_TIMEOUT_S", 0.3)
    monkeypatch.setattr(_claims, "LAG_S", 0.4)
    monkeypatch.setattr(_claims, "POLL_S", 0.01)
    monkeypatch.setattr(_routes, "STATUS_TIMEOUT_S", 0.4)
    monkeypatch.setattr(_routes, "REFUSAL_TIMEOUT_S", 2.0)
    monkeypatch.setattr(_routes, "POLL_S", 0.01)


@pytest.fixture
def envoy(api: Api) -> Envoy:
    return Envoy(api)


def _run(kube: Kube, envoy: Envoy, given: Team = ONE, *, check: bool = False, adopt: t.Collection[str] = ()) -> Journal:
    journal = Journal(kube, check=check, adopt=adopt)
    _routes.Routes(given, journal, t.cast("ProbeClient", envoy)).run()
    return journal


def _claimed(api: Api) -> Object | None:
    found = api.find("ConfigMap", CLAIM)
    return found["data"] if found else None


def _about_claims(journal: Journal) -> list[str]:
    return [change["action"] for change in journal.listing() if change["object"].startswith("ConfigMap")]


def test_sequence(api: Api, kube: Kube, envoy: Envoy) -> None:
    steps = [
        (ONE, ["create"]),
        (ONE, []),
        (TWO, ["update"]),
        (TWO, []),
        (ONE, ["update"]),
        (NARROWER, ["update"]),
        (NARROWER, []),
        (NONE, ["delete"]),
        (NONE, []),
    ]
    for given, actions in steps:
        api.read_only = True
        predicted = _run(kube, envoy, given, check=True)
        api.read_only = False
        written = _run(kube, envoy, given)
        assert predicted.listing() == written.listing() and predicted.diff() == written.diff()
        assert _about_claims(written) == actions
        assert _claimed(api) == (claim(given)["data"] if given.apps else None)
        assert written.changed is bool(actions)


def test_a_re_run_reads_once_more(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy)
    api.forget()
    _run(kube, envoy)
    assert [request for request in api.asked if "ConfigMap" in request] == ["GET ConfigMap"]


def test_an_app_that_goes_is_claimed_until_its_policy_is_gone(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy, TWO)
    api.forget()
    _run(kube, envoy, team({"apps": [ALERTMANAGER]}))
    assert api.trace[-2:] == [f"DELETE SecurityPolicy {POLICY}", f"PATCH ConfigMap {CLAIM}"]
    assert not any("prometheus" in key for key in _claimed(api) or {})


@pytest.mark.parametrize("answer_only", [False, True], ids=["not written", "written, answer lost"])
@pytest.mark.parametrize("after", range(11))
def test_any_write_may_be_the_last(api: Api, kube: Kube, envoy: Envoy, after: int, answer_only: bool) -> None:
    _run(kube, envoy, TWO)
    moved = team({"apps": [{**ALERTMANAGER, "hostname": "new.apps.example.com"}]})
    api.lose_connection_after(after, answer_only=answer_only)
    try:
        _run(kube, envoy, moved)
    except ClusterError:
        api.mend()
    api.mend()
    _run(kube, envoy, moved)
    assert _claimed(api) == claim(moved)["data"]
    assert not _run(kube, envoy, moved).changed


def test_an_app_that_comes_back_before_its_policy_went(api: Api, kube: Kube, envoy: Envoy) -> None:
    """A run was killed between the policy's word that it may go and its deletion."""
    _run(kube, envoy)
    api.edit("SecurityPolicy", POLICY, lambda obj: obj["metadata"].update(annotations={"gateway-auth/remove": "true", "theirs": "x"}), manager="gateway-auth")
    assert "gateway-auth/remove" in str(_run(kube, envoy, check=True).listing())
    journal = _run(kube, envoy)
    assert [change["action"] for change in journal.listing()] == ["update"]
    assert api.the("SecurityPolicy", POLICY)["metadata"]["annotations"] == {"theirs": "x"}
    assert not _run(kube, envoy).changed


def test_a_status_written_in_between_is_no_obstacle(api: Api, kube: Kube, envoy: Envoy) -> None:
    """Envoy Gateway judges what was applied before the annotation is gone."""
    _run(kube, envoy)
    api.edit("SecurityPolicy", POLICY, lambda obj: (obj["metadata"].update(annotations={"gateway-auth/remove": "true"}), obj["spec"].update(cors={})))

    def judge(request: Request) -> None:
        if request.kind == "SecurityPolicy":
            api.the("SecurityPolicy", POLICY)["metadata"]["resourceVersion"] = api._next()

    api.after_write.append(judge)
    _run(kube, envoy)
    policy = api.the("SecurityPolicy", POLICY)
    assert "cors" not in policy["spec"] and not policy["metadata"].get("annotations")


def test_a_policy_that_somebody_deletes_meanwhile(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy, TWO)

    def gone(request: Request) -> None:
        if request.method == "DELETE" and "passthrough" in request.name:
            api.objects.pop(("securitypolicies", ONE.namespace, POLICY), None)

    api.after_write.append(gone)
    _run(kube, envoy, team({"apps": [ALERTMANAGER]}))
    assert not _run(kube, envoy, team({"apps": [ALERTMANAGER]})).changed


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda obj: obj["data"].pop(f"policy.{POLICY}"), id="a key gone"),
        pytest.param(lambda obj: obj["data"].update({f"policy.{POLICY}": "/open"}), id="a key changed"),
        pytest.param(lambda obj: obj["data"].update({"host.somebody.apps.example.com": ""}), id="a host too many"),
        pytest.param(
            lambda obj: obj["metadata"]["labels"].pop("gateway-auth/app", None) or obj["data"].update({"namespace": "theirs"}), id="another namespace"
        ),
    ],
)
def test_drift_goes(api: Api, kube: Kube, envoy: Envoy, change: t.Callable[[Object], t.Any]) -> None:
    _run(kube, envoy)
    api.edit("ConfigMap", CLAIM, change)
    assert _run(kube, envoy, check=True).changed
    assert _run(kube, envoy).changed
    assert _claimed(api) == claim(ONE)["data"]
    assert not _run(kube, envoy).changed


def test_a_config_map_of_somebody_else(api: Api, kube: Kube, envoy: Envoy) -> None:
    theirs = copy.deepcopy(claim(ONE))
    theirs["metadata"]["labels"], theirs["data"] = {}, {"their": "key"}
    api.seed(theirs)
    with pytest.raises(ForeignObjectError, match=CLAIM):
        _run(kube, envoy)
    assert not api.writes
    _run(kube, envoy, adopt=["all"])
    assert _claimed(api) == claim(ONE)["data"]
    assert not _run(kube, envoy).changed


# --- hosts of others -------------------------------------------------------------------------------------------------------


def _held(**overrides: t.Any) -> Object:
    return claim(team({"name": "team-b", "apps": [PROMETHEUS], **overrides}))


@pytest.mark.parametrize("check", [True, False], ids=["check mode", "live"])
def test_a_host_that_another_team_claims(api: Api, kube: Kube, envoy: Envoy, check: bool) -> None:
    api.seed(_held())
    with pytest.raises(NotReadyError) as error:
        _run(kube, envoy, check=check)
    for word in (PROMETHEUS["hostname"], "team-b", "gateway-auth-claim-monitoring-team-b", "-e team=b"):
        assert word in str(error.value)
    assert not api.writes


def test_a_host_that_another_team_gives_up_meanwhile(api: Api, kube: Kube, envoy: Envoy) -> None:
    api.seed(_held())
    listed, reads = kube.list, 0

    def later(version: str, kind: str, namespace: str = "", labels: t.Any = None) -> list[Object]:
        nonlocal reads
        reads += kind == "ConfigMap"
        if reads == 3:
            api.objects.pop(("configmaps", "gateway-envoy", "gateway-auth-claim-monitoring-team-b"), None)
        return listed(version, kind, namespace, labels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kube, "list", later)
        _run(kube, envoy)
    assert reads >= 3 and _claimed(api) == claim(ONE)["data"]


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(_held(apps=[ALERTMANAGER]), id="other hosts"),
        pytest.param(_held(gateway={"name": "edge"}), id="another Gateway"),
        pytest.param(_held(gateway={"namespace": "edge"}), id="a Gateway elsewhere"),
    ],
)
def test_claims_that_are_in_nobody_s_way(api: Api, kube: Kube, envoy: Envoy, held: Object) -> None:
    api.namespaces("edge")
    api.seed(held)
    _run(kube, envoy)
    assert api.find("ConfigMap", held["metadata"]["name"]) is not None, "not ours to remove"


# --- another Gateway, none of it, no right to ---------------------------------------------------------------------------------


def test_a_claim_follows_the_team_to_another_gateway(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy)
    api.namespaces("edge")
    moved = team({"apps": [PROMETHEUS], "gateway": {"namespace": "edge"}})
    journal = Journal(kube, check=False)
    claims = _claims.Claims(moved, journal)
    claims.plan()
    claims.widen()
    claims.narrow()
    assert {obj["metadata"]["namespace"] for obj in api.objects.values() if obj["kind"] == "ConfigMap"} == {"edge"}
    assert _about_claims(journal) == ["create", "delete"]


def test_opting_out_drops_the_claim_before_anything_else(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy)
    api.forget()
    without = team({"gateway": {"admission_policy": False}, "apps": [{**PROMETHEUS, "timeout": "9s"}]})
    predicted = _run(kube, envoy, without, check=True)
    assert _run(kube, envoy, without).listing() == predicted.listing()
    assert api.trace[0] == f"DELETE ConfigMap {CLAIM}" and _claimed(api) is None
    assert not _run(kube, envoy, without).changed


def test_opted_out_and_not_allowed_to_look(api: Api, kube: Kube, envoy: Envoy) -> None:
    api.forbidden = {"configmaps"}
    _run(kube, envoy, OPTED_OUT)
    assert not api.names("ConfigMap")


def test_without_the_right_to_read_claims(api: Api, kube: Kube, envoy: Envoy) -> None:
    api.forbidden = {"configmaps"}
    with pytest.raises(ForbiddenError) as error:
        _run(kube, envoy)
    for word in ("configmaps", "gateway-envoy", "gateway_auth_gateway.admission_policy: false"):
        assert word in str(error.value)
    assert not api.writes


def test_the_right_to_read_the_gateway_s_namespace_is_enough(api: Api, kube: Kube, envoy: Envoy, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = kube.list

    def only_in_a_namespace(version: str, kind: str, namespace: str = "", labels: t.Any = None) -> list[Object]:
        if kind == "ConfigMap" and not namespace:
            raise ForbiddenError("may not list")
        return listed(version, kind, namespace, labels)

    monkeypatch.setattr(kube, "list", only_in_a_namespace)
    _run(kube, envoy)
    assert _claimed(api) == claim(ONE)["data"]
    assert not _run(kube, envoy).changed


# --- API servers that are late ---------------------------------------------------------------------------------------------


def _refuse(api: Api, times: int) -> None:
    def refuse(request: Request) -> None:
        nonlocal times
        if request.kind == "SecurityPolicy" and times > 0:
            times -= 1
            raise Refusal(403, DENIAL, "Forbidden")

    api.before_write.append(refuse)


def test_an_api_server_that_knows_the_former_claim_is_asked_again(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy)
    _refuse(api, 3)
    journal = _run(kube, envoy, NARROWER)
    assert [change["action"] for change in journal.listing()] == ["update", "update"], "told once"


def test_a_denial_that_stays_is_told(api: Api, kube: Kube, envoy: Envoy) -> None:
    _run(kube, envoy)
    _refuse(api, 1_000_000)
    with pytest.raises(DeniedError, match="denied request: no") as error:
        _run(kube, envoy, NARROWER)
    assert "Grant" not in str(error.value), "no right is missing"
