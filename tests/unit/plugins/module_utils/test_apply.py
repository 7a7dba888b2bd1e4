# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal: what it writes, what it predicts, and what it shows of it."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal, decode, encode
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ClusterError, ForeignObjectError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import app_route, security_policy
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import plan_deletion
from tests.golden import team
from tests.unit.support import api as double
from tests.unit.support.api import Api, live

Object = dict[str, t.Any]
TEAM = team()
POLICY = security_policy(TEAM, TEAM.apps[0])
ROUTE = app_route(TEAM, TEAM.apps[0])
NAME = POLICY["metadata"]["name"]


def _settle(kube: Kube, *objects: Object, check: bool = False, adopt: t.Collection[str] = ()) -> Journal:
    journal = Journal(kube, check=check, adopt=adopt)
    for obj in objects:
        journal.settle(copy.deepcopy(obj))
    return journal


def _secret(**data: str) -> Object:
    metadata = {"name": "s", "namespace": TEAM.namespace, "labels": TEAM.owner_labels()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": {key: encode(value) for key, value in data.items()}}


def test_sequence(api: Api, kube: Kube) -> None:
    api.read_only = True
    predicted = _settle(kube, POLICY, ROUTE, check=True)
    assert predicted.changed and [change["action"] for change in predicted.listing()] == ["create", "create"]
    api.read_only = False

    written = _settle(kube, POLICY, ROUTE)
    assert written.listing() == predicted.listing()
    assert written.diff() == predicted.diff()
    assert api.trace == [f"PATCH SecurityPolicy {NAME}", "PATCH HTTPRoute prometheus-team-a"]

    api.forget()
    again = _settle(kube, POLICY, ROUTE)
    assert not again.changed and not again.diff()
    assert all(request.startswith("GET") for request in api.asked), "a re-run needs no dry run either"

    updated = _settle(kube, {**ROUTE, "spec": {**ROUTE["spec"], "hostnames": ["new.apps.example.com"]}})
    assert [change["action"] for change in updated.listing()] == ["update"]
    assert "+" not in updated.diff()[0]["before"] and "new.apps.example.com" in updated.diff()[0]["after"]

    journal = Journal(kube, check=False)
    journal.carry_out(plan_deletion(api.the("HTTPRoute", "prometheus-team-a"), "gone from the inventory"))
    assert not api.names("HTTPRoute")
    assert journal.diff()[0]["before"] and "gone from the inventory" in journal.diff()[0]["after"]


@pytest.mark.parametrize("name", ["policy_authorization_added", "policy_opened"])
def test_drift_goes_and_stays_away(api: Api, kube: Kube, name: str) -> None:
    api.seed(live(name))
    predicted = _settle(kube, POLICY, check=True)
    assert not api.writes
    written = _settle(kube, POLICY)
    assert (written.listing(), written.diff()) == (predicted.listing(), predicted.diff())
    found = api.the("SecurityPolicy", NAME)["spec"]
    assert "authorization" not in found and "recomputeRoute" not in found["extAuth"]
    assert found["extAuth"]["failOpen"] is False
    assert not _settle(kube, POLICY).changed


def test_an_edit_inside_a_list_goes(api: Api, kube: Kube) -> None:
    api.seed(live("route_edited_in_list"))
    assert _settle(kube, ROUTE, check=True).changed
    assert not api.writes
    assert _settle(kube, ROUTE).changed
    assert "timeouts" not in api.the("HTTPRoute", "prometheus-team-a")["spec"]["rules"][0]
    assert not _settle(kube, ROUTE).changed


def test_a_default_we_do_not_know_costs_a_dry_run_and_no_write(api: Api, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer CRD may add defaults inside lists; whether that is drift, only the API server can tell."""

    def fill(references: list[Object] | None) -> None:
        for reference in references or []:
            reference.setdefault("newer", "default")

    monkeypatch.setattr(double, "_fill_backends", fill)
    _settle(kube, ROUTE)
    api.forget()
    assert not _settle(kube, ROUTE).changed
    assert [request.dry_run for request in api.journal if request.method == "PATCH"] == [True]


def test_adoption_in_one_go(api: Api, kube: Kube) -> None:
    obj = live("policy_by_hand")
    api.seed(obj)
    api.edit("SecurityPolicy", NAME, lambda found: found["spec"].update(authorization={"defaultAction": "Allow"}))
    with pytest.raises(ForeignObjectError):
        _settle(kube, POLICY)
    assert not api.writes
    journal = _settle(kube, POLICY, adopt=[f"SecurityPolicy/{NAME}"])
    assert journal.listing()[0]["action"] == "adopt"
    found = api.the("SecurityPolicy", NAME)
    assert POLICY["metadata"]["labels"].items() <= found["metadata"]["labels"].items()
    assert "authorization" not in found["spec"]
    assert not _settle(kube, POLICY).changed, "ours from now on, without being told so again"


def test_a_field_that_excludes_ours_is_gone_before_ours_is_there(api: Api, kube: Kube) -> None:
    """The guide's `path`: beside `pathOverride` the CRD refuses it, so no write may hold both."""

    def one_of(request: t.Any) -> None:
        http = api.the("SecurityPolicy", NAME)["spec"]["extAuth"]["http"]
        if isinstance(request.body, dict) and "path" in http:
            raise double.Refusal(422, "only one of path or pathOverride can be specified", "Invalid")

    api.seed(live("policy_by_hand"))
    api.edit(
        "SecurityPolicy", NAME, lambda found: (found["spec"]["extAuth"]["http"].pop("pathOverride"), found["spec"]["extAuth"]["http"].update(path="/?rd=x"))
    )
    api.before_patch.append(one_of)
    predicted = _settle(kube, POLICY, adopt=["all"], check=True)
    assert not api.writes
    written = _settle(kube, POLICY, adopt=["all"])
    assert written.listing() == predicted.listing()
    http = api.the("SecurityPolicy", NAME)["spec"]["extAuth"]["http"]
    assert "path" not in http and http["pathOverride"] == POLICY["spec"]["extAuth"]["http"]["pathOverride"]
    assert not _settle(kube, POLICY).changed


def test_what_kubectl_remembers_of_a_secret_goes(api: Api, kube: Kube) -> None:
    """Its annotation holds every value as it was applied, which outlives each rotation."""
    remembered = "kubectl.kubernetes.io/last-applied-configuration"
    secret = _secret(kept="hush-kept")
    secret["metadata"]["annotations"] = {remembered: '{"data": "hush-kept"}', "theirs": "stays"}
    api.seed(secret)
    journal = _settle(kube, _secret(kept="hush-kept"))
    assert "it holds the values" in journal.listing()[0]["reasons"][0]
    assert api.the("Secret", secret["metadata"]["name"])["metadata"]["annotations"] == {"theirs": "stays"}
    assert "hush" not in str((journal.listing(), journal.diff()))
    assert not _settle(kube, _secret(kept="hush-kept")).changed


def test_a_namespace_of_the_same_run_is_predicted(api: Api, kube: Kube) -> None:
    api.read_only = True
    elsewhere = copy.deepcopy(POLICY)
    elsewhere["metadata"]["namespace"] = "not-there-yet"
    journal = _settle(kube, elsewhere, check=True)
    assert journal.changed and NAME in journal.diff()[0]["after_header"]


def test_drift_goes_in_one_write_and_a_kill_after_it_converges(api: Api, kube: Kube) -> None:
    api.seed(live("policy_opened"))
    api.lose_connection_after(1)
    with pytest.raises(ClusterError):
        _settle(kube, POLICY)
    api.mend()
    once = api.the("SecurityPolicy", NAME)["spec"]
    assert "recomputeRoute" not in once["extAuth"] and once["extAuth"]["failOpen"] is False
    _settle(kube, POLICY)
    assert api.the("SecurityPolicy", NAME)["spec"] == once
    assert not _settle(kube, POLICY).changed


@pytest.mark.parametrize("check", [True, False], ids=["check mode", "live"])
def test_no_value_of_a_secret_is_ever_shown(api: Api, kube: Kube, check: bool) -> None:
    api.seed(_secret(kept="hush-kept", changed="hush-old"))
    journal = _settle(kube, _secret(kept="hush-kept", changed="hush-new", added="hush-added"), check=check)
    (diff,) = journal.diff()
    assert "added" in diff["after"] and "added" not in diff["before"]
    shown = str((journal.listing(), journal.diff()))
    assert "hush" not in shown and not any(encode(value) in shown for value in ("hush-kept", "hush-old", "hush-new", "hush-added"))


def test_a_diff_shows_what_a_person_compares(api: Api, kube: Kube) -> None:
    (diff,) = _settle(kube, POLICY).diff()
    assert diff["before"] == ""
    assert "statusOnError: 503" in diff["after"] and "gateway-auth/team: team-a" in diff["after"]
    for noise in ("managedFields", "resourceVersion", "uid", "ancestors"):
        assert noise not in diff["after"]
    assert diff["after"].startswith("# "), "the reasons first"


def test_a_note_counts_as_a_change(kube: Kube) -> None:
    journal = Journal(kube, check=False)
    assert not journal.changed
    journal.note("upgrade", "Helm release n/r", ["value a: 1 -> 2"], {"kind": "Release"}, before="a: 1\n", after="a: 2\n")
    assert journal.changed
    (told,) = journal.listing()
    assert (told["action"], told["object"], told["reasons"], told["about"]) == ("upgrade", "Helm release n/r", ["value a: 1 -> 2"], {"kind": "Release"})
    journal.note("upgrade", "Helm release n/r", ["value a: 1 -> 2"], {"kind": "Release"}, content={"a": 2})
    assert journal.listing()[1]["digest"] != told["digest"]
    assert (journal.diff()[0]["before"], journal.diff()[0]["after"]) == ("a: 1\n", "a: 2\n")


def test_an_error_carries_what_was_done_before_it(api: Api, kube: Kube) -> None:
    journal = _settle(kube, POLICY)
    error = journal.blame(ClusterError("then it broke"))
    assert getattr(error, "changes_done") == journal.listing() != []  # noqa: B009


@pytest.mark.parametrize("value", ["", "plain", "späße", "\0\n", "x" * 1000], ids=["empty", "plain", "umlauts", "control", "long"])
def test_secret_data_round_trip(value: str) -> None:
    assert decode({"data": {"k": encode(value)}}, "k") == value


@pytest.mark.parametrize("secret", [None, {}, {"data": None}, {"data": {"other": "YQ=="}}], ids=str)
def test_a_key_that_is_not_there(secret: Object | None) -> None:
    assert decode(secret, "k") is None


def test_bytes_that_are_no_text_survive_reading() -> None:
    value = decode({"data": {"k": "/w=="}}, "k")
    assert value is not None and value.encode(errors="surrogateescape") == b"\xff"


# --- objects of a Helm release ---------------------------------------------------------------------------------------------------

POLICY_OF_HELM: Object = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "store", "namespace": TEAM.namespace, "labels": {"app": "store"}, "annotations": {"meta.helm.sh/release-name": "r"}},
    "spec": {"podSelector": {"matchLabels": {"app": "store"}}, "policyTypes": ["Ingress"]},
}


def _mend(kube: Kube, *, check: bool = False) -> Journal:
    journal = Journal(kube, check=check)
    journal.mend(copy.deepcopy(POLICY_OF_HELM))
    return journal


def _mended_as_predicted(api: Api, kube: Kube) -> Journal:
    api.read_only = True
    predicted = _mend(kube, check=True)
    api.read_only = False
    mended = _mend(kube)
    assert mended.listing() == predicted.listing() and mended.diff() == predicted.diff()
    found = api.the("NetworkPolicy", "store")
    assert found["spec"] == POLICY_OF_HELM["spec"]
    owners = {(entry["manager"], entry["operation"]) for entry in found["metadata"]["managedFields"]}
    assert ("helm", "Apply") in owners and not any(manager == "gateway-auth" for manager, _operation in owners)
    api.forget()
    assert not _mend(kube).changed and all(request.startswith("GET") for request in api.asked), "a re-run needs no dry run either"
    return mended


def test_a_missing_object_of_a_release_is_made_in_helm_s_name(api: Api, kube: Kube) -> None:
    (change,) = _mended_as_predicted(api, kube).listing()
    assert change["action"] == "restore"


def test_a_changed_field_costs_one_write(api: Api, kube: Kube) -> None:
    api.seed(POLICY_OF_HELM, manager="helm")
    api.edit("NetworkPolicy", "store", lambda obj: obj["spec"].update(policyTypes=["Egress"]), manager="kubectl-patch")
    writes: list[str] = []
    api.after_write.append(lambda request: writes.append(str(request)))
    (change,) = _mended_as_predicted(api, kube).listing()
    assert change["action"] == "mend" and "kubectl-patch" in change["reasons"][0]
    assert writes == ["PATCH NetworkPolicy store"]


def test_what_others_added_is_replaced_before_helm_takes_the_fields(api: Api, kube: Kube) -> None:
    api.seed(POLICY_OF_HELM, manager="helm")
    api.edit("NetworkPolicy", "store", lambda obj: obj["spec"].update(egress=[{}]), manager="kubectl-edit")
    _mended_as_predicted(api, kube)


def test_one_field_in_another_s_place(api: Api, kube: Kube) -> None:
    """Server-side apply alone would put ``valueFrom`` beside ``value``, which the API server refuses."""
    api.seed(POLICY_OF_HELM, manager="helm")
    api.edit("NetworkPolicy", "store", lambda obj: obj["spec"].update(policyTypes=["Egress"]))

    def refuse(request: double.Request) -> None:
        if request.body and not isinstance(request.body, list) and api.the("NetworkPolicy", "store")["spec"] != POLICY_OF_HELM["spec"]:
            raise double.Refusal(422, "may not be specified when `value` is not empty", "Invalid")

    api.before_patch.append(refuse)
    _mended_as_predicted(api, kube)


def test_what_can_not_be_changed_back_is_told_with_the_way_out(api: Api, kube: Kube) -> None:
    api.seed(POLICY_OF_HELM, manager="helm")
    api.edit("NetworkPolicy", "store", lambda obj: obj["spec"].update(policyTypes=["Egress"]))

    def refuse(_request: double.Request) -> None:
        raise double.Refusal(422, "field is immutable", "Invalid")

    api.before_patch.append(refuse)
    with pytest.raises(ClusterError) as error:
        _mend(kube)
    assert "field is immutable" in error.value.message and "delete networkpolicy store" in error.value.remedy
    assert not api.writes


def test_another_spelling_is_not_written(api: Api, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference that the API server doesn't see."""
    api.seed(POLICY_OF_HELM, manager="helm")
    spelled = copy.deepcopy(POLICY_OF_HELM)
    spelled["spec"]["policyTypes"] = ["ingress"]
    stored = api.the("NetworkPolicy", "store")
    monkeypatch.setattr(kube, "apply", lambda *_args, **_options: copy.deepcopy(stored))
    monkeypatch.setattr(kube, "patch", lambda *_args, **_options: copy.deepcopy(stored))
    journal = Journal(kube, check=False)
    assert journal.mend(spelled) is None and not journal.changed and not api.writes
