# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans in words: each kind of change, its risk, and what two plans are compared by."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _team_plan
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_plan import EntraChange
from ansible_collections.platform.gateway_auth.plugins.module_utils._facts import release_facts
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import gateway_manifests
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Group, Session, SessionStore, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import Change, plan_object
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values
from tests.golden import team

Object = dict[str, t.Any]

TEAM = team()
APP = TEAM.apps[0]
ONCALL = Group("5f0c0c7e-0000-4000-8000-00000000000c", "team-a-oncall")


def _with_app(**parts: t.Any) -> Team:
    return dataclasses.replace(TEAM, apps=(dataclasses.replace(APP, **parts), *TEAM.apps[1:]))


def _way(before: Team | None, after: Team) -> list[Object]:
    """The changes of objects from one model to another, as the phases find them."""
    live = {(obj["kind"], obj["metadata"]["name"]): obj for obj in (gateway_manifests(before) if before else [])}
    desired = {(obj["kind"], obj["metadata"]["name"]): obj for obj in gateway_manifests(after)}
    changes = [plan_object(obj, live.get(key)) for key, obj in desired.items()]
    gone = [Change("delete", None, obj, ("no longer wanted",)) for key, obj in live.items() if key not in desired]
    return [change.to_dict() for change in (*changes, *gone) if change is not None]


def _release(before: Team | None, after: Team) -> Object:
    values = release_values(after)
    about = {"kind": "Release", "before": release_facts(release_values(before)) if before else {}, "after": release_facts(values)}
    return {"action": "upgrade" if before else "install", "object": "Helm release n/r", "reasons": ["value x: 1 -> 2"], "about": about}


def _told(changes: list[Object], model: Team = TEAM) -> list[tuple[str, str]]:
    return [(str(line), line.risk) for line in _team_plan.words(model, changes)]


def test_a_new_team() -> None:
    told = _told([*_way(None, TEAM), _release(None, TEAM)])
    assert [text.partition(" at ")[0] for text, _risk in told] == [
        *(f"+ app '{app.name}'" for app in TEAM.apps),
        f"+ login proxy for {TEAM.name}, for {TEAM.allowed_groups[0].name}",
    ]
    assert {risk for _text, risk in told} == {"access"}


def test_one_more_app_and_one_less() -> None:
    less = dataclasses.replace(TEAM, apps=TEAM.apps[:1])
    (added,) = _told(_way(less, TEAM))
    assert added[0].startswith(f"+ app '{TEAM.apps[1].name}' at https://{TEAM.apps[1].hostname} (Service ")
    assert _told(_way(TEAM, less), less) == [(f"- app '{TEAM.apps[1].name}': https://{TEAM.apps[1].hostname} answers no more", "outage")]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param({}, {"hostname": "new.example.com"}, (f"~ address of {APP.name}: https://{APP.hostname} -> https://new.example.com", "outage"), id="host"),
        pytest.param({}, {"timeout": "90s"}, (f"~ timeout of {APP.name}: the gateway's -> 90s", "none"), id="timeout"),
        pytest.param({}, {"public_paths": ("/x",)}, (f"+ public path /x of {APP.name}: no login there", "access"), id="public"),
        pytest.param({"public_paths": ("/x",)}, {}, (f"- public path /x of {APP.name}: from now on behind the login", "access"), id="public no more"),
        pytest.param(
            {},
            {"allowed_groups": TEAM.allowed_groups},
            (f"~ allowed groups of {APP.name}: every group of the team -> {TEAM.allowed_groups[0].name}", "access"),
            id="narrowed",
        ),
        pytest.param(
            {"allowed_groups": TEAM.allowed_groups},
            {"allowed_groups": (*TEAM.allowed_groups, ONCALL)},
            (f"~ allowed groups of {APP.name}: + team-a-oncall", "access"),
            id="one group more",
        ),
    ],
)
def test_an_app_changes(before: Object, after: Object, expected: tuple[str, str]) -> None:
    then, now = _with_app(**before), _with_app(**after)
    assert expected in _told(_way(then, now), now)


def test_a_group_that_only_the_cluster_knows_is_told_by_its_id() -> None:
    then = _with_app(allowed_groups=(*TEAM.allowed_groups, ONCALL))
    assert (f"~ allowed groups of {APP.name}: - {ONCALL.id}", "access") in _told(_way(then, _with_app(allowed_groups=TEAM.allowed_groups)))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param({"allowed_groups": (*TEAM.allowed_groups, ONCALL)}, (f"~ allowed groups of {TEAM.name}: + team-a-oncall", "access"), id="groups"),
        pytest.param(
            {"session_store": SessionStore("cookie")},
            (f"! logs out all sessions: session store redis://{TEAM.store_name}:6379 -> cookie", "sessions"),
            id="store",
        ),
        pytest.param({"session": Session(expire="4h")}, ("~ proxy argument --cookie-expire: 8h -> 4h", "restart"), id="argument"),
        pytest.param({"replicas": 3}, ("~ replicas of the proxy: 2 -> 3", "none"), id="replicas"),
        pytest.param({"proxy_prefix": "/login"}, ("~ proxy argument --proxy-prefix: /oauth2 -> /login", "sessions"), id="prefix"),
        pytest.param({"tolerations": ({"key": "x"},)}, ("~ login proxy: value x: 1 -> 2", "restart"), id="what has no words of its own"),
    ],
)
def test_the_proxy_changes(changed: Object, expected: tuple[str, str]) -> None:
    now = dataclasses.replace(TEAM, **changed)
    assert expected in _told([_release(TEAM, now)], now)


def test_secrets_say_whom_they_cost_the_session() -> None:
    def changed(action: str, *keys: str) -> Object:
        return {"action": action, "object": "Secret n/s", "reasons": ["x"], "about": {"kind": "Secret", "app": "", "keys": list(keys)}}

    assert _told([changed("create", "cookie-secret")]) == [("+ cookie-secret in Secret n/s", "none")]
    assert _told([changed("update", "client-id", "cookie-secret")]) == [
        ("! logs out all sessions: cookie secret", "sessions"),
        ("~ client-id in Secret n/s", "restart"),
    ]
    assert _told([changed("update")]) == [("~ Secret n/s: x", "none")]


def test_what_entra_is_told_keeps_its_words() -> None:
    change = EntraChange(
        "update_application", "update", "app registration 'x'", ("add redirect URI https://a/ (app 'a')", "unassign group g", "set notes to 'n'")
    )
    assert _told([change.to_dict()]) == [
        ("- unassign group g", "access"),
        ("+ redirect URI https://a/ (app 'a')", "none"),
        ("~ set notes to 'n'", "none"),
    ]


def test_a_claim_is_one_line_whatever_it_says() -> None:
    change = {"action": "update", "object": "ConfigMap g/c", "reasons": ["set key a", "set key b"], "about": {"kind": "Claim", "app": ""}}
    assert _told([change]) == [("~ the team's claim on its hosts, by which the API server refuses others", "none")]


def test_a_takeover_is_a_warning() -> None:
    change = Change("adopt", gateway_manifests(TEAM)[0], gateway_manifests(TEAM)[0], ("take over: no label", "remove spec.x")).to_dict()
    name = change["object"]
    assert _told([change]) == [(f"! takes over {name}", "takeover"), (f"~ {name}: remove spec.x", "none")]


def test_drift_that_has_no_words_of_its_own_is_told_by_its_reason() -> None:
    obj = gateway_manifests(TEAM)[0]
    change = Change("update", obj, obj, ("change spec.extAuth.failOpen from True to False",)).to_dict()
    assert _told([change]) == [(f"~ {change['object']}: change spec.extAuth.failOpen from True to False", "none")]


def _plan(*changes: Object, **phase: t.Any) -> Object:
    return _team_plan.team_plan(TEAM, [{"changes": list(changes), **phase}], ["w by somebody"])


def test_the_document_is_json_with_stable_keys_and_no_facts() -> None:
    plan = _team_plan.document({"team-a": _plan(*_way(None, TEAM), data={"findings": ["f"]}), "team-b": _plan()}, "2026-01-01T00:00:00Z")
    again = json.loads(_team_plan.to_json(plan))
    assert again == plan
    assert (again["schema"], again["changed"], again["failed"], again["risk"]) == (1, True, False, "access")
    first = again["teams"]["team-a"]
    assert set(first) == {"cluster", "changed", "failed", "error", "risk", "lines", "changes", "findings", "waivers", "fingerprint"}
    assert {key for change in first["changes"] for key in change} == {"action", "object", "reasons"}
    assert (first["findings"], first["waivers"]) == (["f"], ["w by somebody"])
    assert again["teams"]["team-b"]["risk"] == "none"


def test_a_failed_phase_is_told_in_every_form() -> None:
    failed = _plan(failed=True, msg="Service x is missing.")
    plan = _team_plan.document({"team-a": failed}, "2026-01-01T00:00:00Z")
    assert plan["failed"] is True
    assert "Service x is missing." in _team_plan.to_text("team-a", failed)[0]
    assert "Service x is missing." in _team_plan.to_markdown(plan)


def test_the_fingerprint_says_what_changed() -> None:
    one, two = _way(None, TEAM), _way(None, dataclasses.replace(TEAM, apps=TEAM.apps[:1]))
    assert _plan(*one)["fingerprint"] == _plan(*one)["fingerprint"] != _plan(*two)["fingerprint"]
    assert any(f"it lacks create HTTPRoute {TEAM.namespace}/{TEAM.apps[1].name}" in part for part in _team_plan.departures(_plan(*two), _plan(*one)))
    assert any("not needed any more" in part for part in _team_plan.departures(_plan(*one), _plan(*two)))
    other = [{**one[0], "reasons": ["another"]}, *one[1:]]
    assert _team_plan.departures(_plan(*one), _plan(*other)) == [f"create {one[0]['object']} has other reasons"]
    assert "the order" in _team_plan.departures(_plan(*one), _plan(*one[::-1]))[0]


def test_the_fingerprint_covers_what_no_reason_says() -> None:
    """A reason names the first difference and shortens what is long."""
    one = _way(None, TEAM)
    obj = gateway_manifests(TEAM)[0]
    longer = {**obj, "spec": {**obj["spec"], "more": "x"}}
    told, now = (_plan(Change("update", desired, obj, ("change spec.list[0]",)).to_dict()) for desired in (obj, longer))
    assert told["changes"] == now["changes"] and told["fingerprint"] != now["fingerprint"]
    assert "beyond the reasons" in _team_plan.departures(told, now)[0]
    here, there = (_plan(*one, data={"cluster": name}) for name in ("blue", "green"))
    assert here["fingerprint"] != there["fingerprint"]
    assert _team_plan.departures(here, there) == ["it is for cluster blue, and this is green"]


def test_the_fingerprint_covers_no_value_of_a_secret() -> None:
    """They are generated anew each time that they are foretold."""
    secrets = (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "data": {"cookie-secret": value}} for value in ("eA==", "eQ==")
    )
    one, two = (_plan(Change("create", secret, None, ("create Secret n/s",)).to_dict())["fingerprint"] for secret in secrets)
    assert one == two


def test_markdown_takes_no_markup_from_names() -> None:
    change = {"action": "update", "object": "Secret n/s", "reasons": ["<b>`*x*`</b>"], "about": {}}
    told = _team_plan.to_markdown(_team_plan.document({"team-a": _plan(change)}, "2026-01-01T00:00:00Z"))
    objects = told.partition("<summary>Objects")[2]
    assert "\\<b\\>\\`\\*x\\*\\`\\</b\\>" in objects
