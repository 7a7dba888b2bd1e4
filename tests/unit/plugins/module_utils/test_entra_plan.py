# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""App registrations: golden cases, what holds for every plan, and that a plan carried out leaves nothing to plan."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_plan as planning
from ansible_collections.platform.gateway_auth.plugins.module_utils import _errors
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_plan import Assignment, EntraChange, LiveRegistration
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Group, Team
from tests.golden import Case, cases, registration_writes, team
from tests.golden.entra import CLIENT_ID, OURSELVES, PRINCIPAL, REGISTRATION, changes, live, managed_model

Object = dict[str, t.Any]
ENTRA = cases("entra")
ORDER = ("create_application", "update_application", "create_principal", "update_principal", "assign", "unassign", "add_owner", "remove_owner")


def managed(**overrides: t.Any) -> Team:
    return team(managed_model(overrides))


# --- golden ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in ENTRA if "error" not in case.content], ids=lambda case: case.name)
def test_golden(case: Case) -> None:
    assert registration_writes(case) == case.content["expected"]


@pytest.mark.parametrize("case", [case for case in ENTRA if "error" in case.content], ids=lambda case: case.name)
def test_refusals(case: Case) -> None:
    wanted = case.content["error"]
    with pytest.raises(getattr(_errors, wanted["kind"])) as caught:
        registration_writes(case)
    assert not [word for word in wanted["words"] if word not in str(caught.value)]
    assert caught.value.remedy, "an error ends with what mends it"


def test_refused_cases_are_named_so() -> None:
    assert [case.name for case in ENTRA if ("error" in case.content) != case.name.startswith("error_")] == []


@pytest.mark.parametrize("case", [case for case in ENTRA if case.content.get("expected")], ids=lambda case: case.name)
def test_every_change_says_why_and_what_it_replaces(case: Case) -> None:
    given = case.content["input"]
    subject = team(managed_model(given.get("team")))
    found = live(given)
    planned = changes(subject, given)
    positions = [ORDER.index(change.operation) for change in planned]
    assert positions == sorted(positions)
    for change in planned:
        assert change.reasons and all(change.reasons)
        told = change.to_dict()
        assert told.pop("digest") != dataclasses.replace(change, body={**change.body, "more": 1}).to_dict()["digest"]
        assert told == {"action": change.action, "object": change.what, "reasons": list(change.reasons), "about": {"kind": "Registration"}}
        if change.operation.startswith("update"):
            there = (found.application if "application" in change.operation else found.principal) or {}
            assert set(change.before) == set(change.body), "the diff shows what each property was"
            _assert_shown(change.before, change.body, there)


def _assert_shown(before: Object, body: Object, there: Object) -> None:
    for key, value in body.items():
        if isinstance(value, dict) and isinstance(there.get(key), dict):
            _assert_shown(before[key], value, there[key])
        else:
            assert before[key] == there.get(key)


# --- whose is it ------------------------------------------------------------------------------------------------------------

NAME = "gateway-auth.prod-weu.monitoring.team-a"


@pytest.mark.parametrize(
    ("application", "ours"),
    [
        pytest.param({"uniqueName": NAME}, True, id="by unique name"),
        pytest.param({"uniqueName": "theirs", "tags": [NAME]}, True, id="by tag"),
        pytest.param({"tags": [f"{NAME}:some.host"]}, True, id="by the tag of a host"),
        pytest.param({"tags": [f"{NAME}b", "HideApp"]}, False, id="a longer name is another's"),
        pytest.param({"tags": None, "uniqueName": None, "displayName": "monitoring team-a (prod-weu)"}, False, id="a display name is nobody's"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_what_is_ours(application: Object, ours: bool) -> None:
    assert planning.is_ours(managed(), application) is ours


@pytest.mark.parametrize(
    ("adopt", "allowed"),
    [(["all"], True), ([f"Application/{CLIENT_ID}"], True), ([], False), (["Application/other", "SecurityPolicy/x"], False)],
)
def test_only_its_own_name_or_all_adopts(adopt: list[str], allowed: bool) -> None:
    foreign = {**REGISTRATION, "tags": [], "uniqueName": None}
    if allowed:
        assert planning.refuse_foreign(managed(client_id=CLIENT_ID), foreign, adopt) is True
    else:
        with pytest.raises(_errors.ForeignObjectError):
            planning.refuse_foreign(managed(client_id=CLIENT_ID), foreign, adopt)


def test_ours_needs_no_adoption() -> None:
    assert planning.refuse_foreign(managed(), REGISTRATION, []) is False
    assert planning.refuse_foreign(managed(), REGISTRATION, ["all"]) is False


def test_another_team_s_is_joined_only_where_it_is_shared() -> None:
    theirs = {**REGISTRATION, "tags": ["gateway-auth.prod-weu.monitoring.team-b"], "uniqueName": None}
    assert planning.refuse_foreign(managed(client_id=CLIENT_ID, shared_registration=True), theirs, ["all"]) is True
    with pytest.raises(_errors.ForeignObjectError):
        planning.refuse_foreign(managed(client_id=CLIENT_ID, shared_registration=True), theirs, [])


# --- what people have to assign ------------------------------------------------------------------------------------------------

DEVELOPERS = Group("5f0c0c7e-0000-4000-8000-0000000000a1", "team-a-developers")
ONCALL = Group("5f0c0c7e-0000-4000-8000-0000000000a2", "team-a-oncall")
ADMINS = Group("5f0c0c7e-0000-4000-8000-0000000000ad", "platform-admins")


def _narrow(**overrides: t.Any) -> Team:
    subject = managed(admin_groups=[dataclasses.asdict(ADMINS)], **overrides)
    return dataclasses.replace(subject, apps=(dataclasses.replace(subject.apps[0], allowed_groups=(ONCALL,)), *subject.apps[1:]))


@pytest.mark.parametrize(
    ("overrides", "required", "assigned", "missing"),
    [
        pytest.param({}, False, (), [], id="everybody may sign in"),
        pytest.param({}, True, (), [DEVELOPERS, ADMINS], id="somebody required assignment"),
        pytest.param({}, True, (DEVELOPERS,), [ADMINS], id="one is assigned"),
        pytest.param({}, True, (DEVELOPERS, ADMINS), [], id="all are"),
        pytest.param({}, True, None, [DEVELOPERS, ADMINS], id="unreadable"),
        pytest.param({"groups_claim": "application"}, False, (DEVELOPERS,), [ADMINS, ONCALL], id="tokens hold assigned groups only"),
        pytest.param({"group_assignment": "managed"}, True, (), [], id="we assign them"),
    ],
)
def test_missing_assignments(overrides: Object, required: bool, assigned: tuple[Group, ...] | None, missing: list[Group]) -> None:
    principal = {**PRINCIPAL, "appRoleAssignmentRequired": required}
    assignments = None if assigned is None else tuple(Assignment(f"id-{group.name}", group.id, group.name) for group in assigned)
    found = LiveRegistration(REGISTRATION, principal, (OURSELVES,), assignments)
    assert planning.missing_assignments(_narrow(**overrides), found) == missing


def test_a_principal_that_is_not_there_requires_nothing() -> None:
    assert planning.missing_assignments(managed(), LiveRegistration(REGISTRATION)) == []


def test_groups_are_named_with_their_id() -> None:
    assert planning.named(DEVELOPERS) == f"team-a-developers ({DEVELOPERS.id})"
    assert planning.named(Group("x")) == "x"


@pytest.mark.parametrize(("there", "missing"), [([], 3), (["https://prometheus-team-a.apps.example.com/oauth2/callback"], 2), (None, 3)])
def test_missing_redirect_uris(there: list[str] | None, missing: int) -> None:
    found = planning.missing_redirect_uris(managed(), {"web": None if there is None else {"redirectUris": there}})
    assert len(found) == missing and not set(found) & set(there or [])


def test_names_of_owners_are_shown_where_they_are_known() -> None:
    why = {"someone": "alice@example.com"}
    planned = planning.plan(managed(), LiveRegistration(REGISTRATION, PRINCIPAL, (OURSELVES,)), owners=["someone"], own_id=OURSELVES, why=why)
    assert [change.reasons[0] for change in planned if "alice@example.com" in change.reasons[0]] != []


# --- carried out, nothing is left -----------------------------------------------------------------------------------------------


def _patched(there: Object, body: Object) -> Object:
    """As Graph takes a PATCH: properties are replaced, complex ones merged."""
    after = dict(there)
    for key, value in body.items():
        after[key] = _patched(after[key], value) if isinstance(value, dict) and isinstance(after.get(key), dict) else copy.deepcopy(value)
    return after


def carried_out(subject: Team, found: LiveRegistration, planned: list[EntraChange]) -> LiveRegistration:
    application, principal = copy.deepcopy(found.application), copy.deepcopy(found.principal)
    owners, assignments = list(found.owners or ()), list(found.assignments or ())
    for change in planned:
        if change.operation == "create_application":
            application = {"id": "new", "appId": CLIENT_ID, "uniqueName": change.target, **copy.deepcopy(change.body)}
            owners.append(OURSELVES)
        elif change.operation == "update_application":
            application = _patched(application or {}, change.body)
        elif change.operation == "create_principal":
            principal = {"id": "new", "appId": CLIENT_ID, "accountEnabled": True, **copy.deepcopy(change.body)}
        elif change.operation == "update_principal":
            principal = _patched(principal or {}, change.body)
        elif change.operation == "add_owner":
            owners.append(change.target)
        elif change.operation == "remove_owner":
            owners.remove(change.target)
        elif change.operation == "assign":
            assignments.append(Assignment(f"of-{change.target}", change.target, ""))
        else:
            assert change.operation == "unassign"
            assignments = [item for item in assignments if item.id != change.target]
    unread = found.owners is None and found.application is not None
    return LiveRegistration(application, principal, None if unread else tuple(owners), tuple(assignments))


uris = st.lists(
    st.sampled_from([*REGISTRATION["web"]["redirectUris"], "https://other.example.net/cb", "https://gone-team-a.apps.example.com/oauth2/callback"]),
    unique=True,
)
tags = st.lists(
    st.sampled_from(
        [NAME, f"{NAME}:prometheus-team-a.apps.example.com", f"{NAME}:gone-team-a.apps.example.com", "HideApp", f"{NAME}b", "gateway-auth.prod-weu.x.team-b"]
    ),
    unique=True,
)
people = st.lists(st.sampled_from([OURSELVES, "owner-1", "owner-2", "owner-3"]), unique=True)
scopes = st.lists(st.sampled_from([*planning.SIGN_IN_PERMISSIONS.values(), "e1fe6dd8-ba31-4d61-89e7-88639da4683d"]), unique=True).map(
    lambda found: [{"id": item, "type": "Scope"} for item in found]
)
applications = st.fixed_dictionaries(
    {"id": st.just("there"), "appId": st.just(CLIENT_ID)},
    optional={
        "displayName": st.sampled_from(["monitoring team-a (prod-weu)", "other"]),
        "uniqueName": st.sampled_from([None, NAME, "other"]),
        "notes": st.sampled_from([None, "", "some words"]),
        "tags": st.none() | tags,
        "signInAudience": st.sampled_from(["AzureADMyOrg", "AzureADMultipleOrgs"]),
        "groupMembershipClaims": st.sampled_from([None, "None", "All", "SecurityGroup", "ApplicationGroup", "SecurityGroup, ApplicationGroup"]),
        "isFallbackPublicClient": st.sampled_from([None, True, False]),
        "api": st.none() | st.fixed_dictionaries({"requestedAccessTokenVersion": st.sampled_from([None, 1, 2])}),
        "web": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "redirectUris": uris,
                "logoutUrl": st.sampled_from([None, "https://other.example.net/"]),
                "implicitGrantSettings": st.none()
                | st.fixed_dictionaries({"enableAccessTokenIssuance": st.booleans(), "enableIdTokenIssuance": st.booleans()}),
            },
        ),
        "spa": st.none() | st.fixed_dictionaries({"redirectUris": uris}),
        "publicClient": st.fixed_dictionaries({"redirectUris": uris}),
        "requiredResourceAccess": st.lists(
            st.fixed_dictionaries({"resourceAppId": st.sampled_from([planning.GRAPH_APP_ID, "another"]), "resourceAccess": scopes}),
            unique_by=lambda item: str(item["resourceAppId"]),
        ),
    },
)
principals = st.fixed_dictionaries(
    {"id": st.just("there"), "appId": st.just(CLIENT_ID)},
    optional={"tags": st.none() | tags, "accountEnabled": st.booleans(), "appRoleAssignmentRequired": st.sampled_from([None, True, False])},
)
assigned = st.none() | st.lists(
    st.builds(
        Assignment, st.uuids().map(str), st.sampled_from([DEVELOPERS.id, ONCALL.id, ADMINS.id, "other"]), st.just("a name"), st.sampled_from(["Group", "User"])
    ),
    unique_by=lambda item: item.principal_id,
    max_size=4,
).map(tuple)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    application=st.none() | applications,
    principal=st.none() | principals,
    owners=st.none() | people.map(tuple),
    assignments=assigned,
    wanted=people,
    own_id=st.sampled_from([OURSELVES, ""]),
    adopted=st.booleans(),
    overrides=st.fixed_dictionaries(
        {
            "groups_claim": st.sampled_from(["security", "application"]),
            "group_assignment": st.sampled_from(["external", "managed"]),
            "shared_registration": st.booleans(),
            "notes": st.sampled_from(["", "words"]),
        }
    ),
)
def test_what_is_carried_out_leaves_nothing_to_do(
    application: Object | None,
    principal: Object | None,
    owners: tuple[str, ...] | None,
    assignments: tuple[Assignment, ...] | None,
    wanted: list[str],
    own_id: str,
    adopted: bool,
    overrides: Object,
) -> None:
    assume(application is not None or not overrides["shared_registration"])  # a client id that isn't there is refused before
    subject = _narrow(**overrides)
    found = LiveRegistration() if application is None else LiveRegistration(application, principal, owners, assignments if principal else None)
    adopted = adopted and application is not None
    planned = planning.plan(subject, found, owners=wanted, own_id=own_id, adopted=adopted)
    after = carried_out(subject, found, planned)
    assert planning.plan(subject, after, owners=wanted, own_id=own_id) == []

    assert after.application is not None and after.principal is not None
    there = set(after.application["web"]["redirectUris"])
    assert set(subject.redirect_uris) <= there
    if subject.shared_registration:
        mine = {planning.host_tag(subject, uri) for uri in there} & {tag for tag in after.application["tags"] if tag.startswith(f"{NAME}:")}
        assert len(mine) == len(subject.redirect_uris)
        kept = {
            uri for uri in planning._redirect_uris(found.application or {}) if planning.host_tag(subject, uri) not in ((application or {}).get("tags") or [])
        }
        assert kept <= there, "somebody else's redirect URI stays"
    else:
        assert there == set(subject.redirect_uris), "nobody else's redirect URI stays"
    if after.owners is not None and OURSELVES in (found.owners or ()):
        assert OURSELVES in after.owners, "we never drop ourselves"


# --- attacks -------------------------------------------------------------------------------------------------------------------


def test_each_assignment_of_a_group_goes() -> None:
    """One for each role of the application that it has."""
    there = tuple(planning.Assignment(f"as-{number}", ONCALL.id, "team-a-oncall") for number in range(2))
    live = planning.LiveRegistration(REGISTRATION, {"id": "p"}, (), there)
    changes = planning.plan(managed(group_assignment="managed"), live)
    assert [change.target for change in changes if change.operation == "unassign"] == ["as-0", "as-1"]


def test_ids_in_capitals_are_the_same_ids() -> None:
    own, alice = "c0ffee00-0000-4000-8000-00000000000a", "a11ce000-0000-4000-8000-00000000000a"
    there = (planning.Assignment("as-1", DEVELOPERS.id.upper(), "team-a-developers"),)
    live = planning.LiveRegistration(REGISTRATION, {"id": "p", "appRoleAssignmentRequired": True}, (own.upper(), alice.upper()), there)
    changes = planning.plan(managed(group_assignment="managed"), live, owners=[alice], own_id=own)
    assert not {change.operation for change in changes} & {"add_owner", "remove_owner", "assign", "unassign"}
    assert not planning.missing_assignments(managed(groups_claim="application"), live)
