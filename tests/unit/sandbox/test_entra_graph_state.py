# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What outlives the process, the canonical end state, and the control API's hand on what Graph made."""

from __future__ import annotations

import itertools
import json
import stat
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.entra.directory import DirectoryError
from tests.sandbox.entra.graphkit import UPSERT, GraphClient, permit
from tests.sandbox.entra.testkit import CAST, Double, control, running_double
from tests.sandbox.entra.walk import TEAM_A

DEVELOPERS = "5f0c0c7e-0000-4000-8000-0000000000a1"
URI = "https://new.gateway-auth.test/oauth2/callback"


def onboard(graph: GraphClient, name: str = "gateway-auth.test.a") -> dict[str, Any]:
    """Do to an application all that can be done."""
    path = f"/applications(uniqueName='{name}')"
    body = {"displayName": "onboarded", "signInAudience": "AzureADMyOrg", "web": {"redirectUris": [URI]}, "tags": ["a", "b"]}
    app: dict[str, Any] = graph.patch(path, body, UPSERT, 201)
    principal = graph.patch(f"/servicePrincipals(appId='{app['appId']}')", {"tags": ["HideApp"]}, UPSERT, 201)
    secret = graph.post(f"{path}/addPassword", {"passwordCredential": {"displayName": "current"}}, 200)
    trust = {"issuer": "https://issuer.example/", "subject": "s", "audiences": ["api://AzureADTokenExchange"]}
    graph.patch(f"{path}/federatedIdentityCredentials(name='fic')", trust, UPSERT, 201)
    assigned = {"principalId": DEVELOPERS, "resourceId": principal["id"], "appRoleId": str(uuid.UUID(int=0))}
    graph.post(f"/servicePrincipals/{principal['id']}/appRoleAssignedTo", assigned)
    return {**app, "secret": secret["secretText"], "principal": principal["id"]}


# --- the state file ----------------------------------------------------------------------------------------------------


def test_what_graph_made_survives_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with running_double(tmp_path, state=state) as double:
        permit(double)
        with GraphClient(double) as graph:
            app = onboard(graph)
            gone = graph.new_application("deleted")
            graph.delete(f"/applications/{gone['id']}")
            read = graph.get(f"/applications/{app['id']}")
        control(double, "PUT", "/users/alice/groups", ["platform-admins"])
        control(double, "PUT", "/tenant", {"licences": [], "secret_policy": {"allowed": True, "max_lifetime": 86400}})
        before = control(double, "GET", "/state")[1]
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    written = state.read_text("utf-8")
    assert app["secret"] not in written
    with running_double(tmp_path, state=state) as double:
        assert control(double, "GET", "/state")[1] == before
        assert control(double, "GET", "/tenant")[1] == {"licences": [], "secret_policy": {"allowed": True, "max_lifetime": 86400.0}}
        with GraphClient(double, app["appId"], app["secret"]):
            pass
        with GraphClient(double) as graph:
            assert graph.get(f"/applications/{app['id']}") == read
            assert graph.post(f"/directory/deletedItems/{gone['id']}/restore", status=200)["id"] == gone["id"]


def test_without_a_state_file_a_new_start_forgets(tmp_path: Path) -> None:
    with running_double(tmp_path) as double, GraphClient(double) as graph:
        app = graph.new_application("forgotten")
    with running_double(tmp_path) as double, GraphClient(double) as graph:
        assert graph.send("GET", f"/applications/{app['id']}").status_code == 404
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.is_file()) == [".key", ".log", ".pem", ".pem"]


def test_the_state_lies_over_the_cast(tmp_path: Path) -> None:
    """What was removed of the cast stays removed, secrets too; what is new in the cast comes in."""
    state, cast = tmp_path / "state.json", tmp_path / "cast.yml"
    cast.write_text(CAST.read_text("utf-8"), "utf-8")
    with running_double(tmp_path, cast, state=state) as double:
        permit(double)
        secret = double.secret("team-a")
        with GraphClient(double) as graph:
            [kept] = graph.get(f"/applications(appId='{TEAM_A}')")["passwordCredentials"]
            graph.post(f"/applications(appId='{TEAM_A}')/removePassword", {"keyId": kept["keyId"]}, 204)
            new = graph.post(f"/applications(appId='{TEAM_A}')/addPassword", {}, 200)["secretText"]
        assert control(double, "DELETE", "/apps/team-b")[0] == 204
    added = "  team-c:\n    client_id: dddddddd-0000-4000-8000-00000000000d\n    display_name: Team c\n    redirect_uris: []\n    assigned_groups: [platform-admins]\n"
    cast.write_text(cast.read_text("utf-8") + added, "utf-8")
    with running_double(tmp_path, cast, state=state) as double:
        names = [app["name"] for app in control(double, "GET", "/apps")[1]]
        assert sorted(names) == ["automation", "team-a", "team-c"]
        assert control(double, "GET", "/apps/team-c")[1]["assigned_groups"] == ["platform-admins"]
        with GraphClient(double, TEAM_A, new), pytest.raises(AssertionError, match="AADSTS7000215"):
            GraphClient(double, TEAM_A, secret)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="broken"),
        pytest.param("{}", id="empty"),
        pytest.param("[]", id="a-list"),
        pytest.param(json.dumps({"version": 0, "tenant": "x"}), id="another-version"),
        pytest.param(json.dumps({"version": 1, "tenant": "x"}), id="another-tenant"),
    ],
)
def test_a_damaged_state_file_stops_the_start(tmp_path: Path, text: str) -> None:
    state = tmp_path / "state.json"
    state.write_text(text, "utf-8")
    with pytest.raises(DirectoryError, match="remove the file"), running_double(tmp_path, state=state):
        pass


def test_reads_and_refusals_do_not_write_it(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with running_double(tmp_path, state=state) as double, GraphClient(double) as graph:
        graph.get("/applications")
        graph.send("POST", "/applications", {})
        assert not state.exists()
        graph.new_application("kept")
        assert state.exists()


# --- the canonical state -----------------------------------------------------------------------------------------------


def test_two_ways_to_one_end_have_one_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One onboards at once; the other is cut midway, makes too much, and mends it."""
    states = []
    for detour in (False, True):
        with running_double(tmp_path_factory.mktemp("entra")) as double:
            permit(double)
            with GraphClient(double) as graph:
                if detour:
                    graph.new_application("in between")
                    lost = graph.post("/applications(appId='cccccccc-0000-4000-8000-00000000000c')/addPassword", {}, 200)
                app = onboard(graph)
                if detour:
                    extra = graph.post(f"/applications/{app['id']}/addPassword", {}, 200)
                    graph.post(f"/applications/{app['id']}/removePassword", {"keyId": extra["keyId"]}, 204)
                    graph.post("/applications(appId='cccccccc-0000-4000-8000-00000000000c')/removePassword", {"keyId": lost["keyId"]}, 204)
                    control(double, "DELETE", "/apps/in%20between")
            states.append(control(double, "GET", "/state")[1])
    assert states[0] == states[1]
    text = json.dumps(states[0])
    [app] = [each for each in states[0]["applications"] if each["uniqueName"]]
    assert (app["name"], app["passwordCredentials"]) == ("application gateway-auth.test.a", ["current"])
    assert app["owners"] == ["principal Gateway auth automation"]
    assert {"principal": "group team-a-developers", "resource": "principal gateway-auth.test.a", "appRole": str(uuid.UUID(int=0))} in states[0]["assignments"]
    assert "secretText" not in text and "keyId" not in text


def test_the_state_tells_each_difference(own_tenant: Double, own_graph: GraphClient) -> None:
    app = onboard(own_graph)
    path = f"/applications/{app['id']}"
    seen = [control(own_tenant, "GET", "/state")[1]]
    for method, where, body in (
        ("PATCH", path, {"notes": "x"}),
        ("PATCH", path, {"web": {"redirectUris": []}}),
        ("POST", f"{path}/addPassword", {}),
        ("DELETE", f"{path}/federatedIdentityCredentials(name='fic')", None),
        ("PATCH", f"/servicePrincipals/{app['principal']}", {"accountEnabled": False}),
        ("POST", f"{path}/owners/$ref", {"@odata.id": "https://graph.microsoft.com/v1.0/users/00000a11-ce00-4000-8000-000000000001"}),
        ("DELETE", path, None),
    ):
        assert own_graph.send(method, where, body).ok, where
        seen.append(control(own_tenant, "GET", "/state")[1])
    assert all(first != second for first, second in itertools.pairwise(seen))
    assert seen[-1]["deletedItems"] == ["application gateway-auth.test.a", "principal gateway-auth.test.a"]


# --- the control API ---------------------------------------------------------------------------------------------------


def test_control_reaches_what_graph_made_by_each_of_its_names(own_tenant: Double, own_graph: GraphClient) -> None:
    app = onboard(own_graph)
    shown = [control(own_tenant, "GET", f"/apps/{name}") for name in (app["appId"], app["uniqueName"], app["displayName"])]
    assert [status for status, _ in shown] == [200] * 3
    assert (shown[0][1]["id"], shown[0][1]["enabled"], shown[0][1]["assigned_groups"]) == (app["id"], True, ["team-a-developers"])
    assert [each["display_name"] for each in shown[0][1]["secrets"]] == ["current"]
    own_graph.new_application("onboarded")
    assert control(own_tenant, "GET", "/apps/onboarded")[0] == 404
    changed = control(
        own_tenant, "PUT", f"/apps/{app['uniqueName']}", {"enabled": False, "properties": {"notes": "drift", "web": {"logoutUrl": "https://x.example/"}}}
    )
    assert changed[0] == 200
    found = own_graph.get(f"/applications/{app['id']}")
    assert (found["notes"], found["web"]["logoutUrl"], found["web"]["redirectUris"]) == ("drift", "https://x.example/", [URI])
    assert control(own_tenant, "DELETE", f"/apps/{app['appId']}") == (204, None)
    assert control(own_tenant, "GET", "/state")[1]["deletedItems"] == []
    assert own_graph.send("GET", f"/applications/{app['id']}").status_code == 404


def test_applications_made_by_hand_belong_to_others(own_tenant: Double) -> None:
    status, made = control(own_tenant, "POST", "/apps", {"display_name": "by hand", "unique_name": "hand", "redirect_uris": [URI], "owners": ["alice"]})
    assert status == 201
    with GraphClient(own_tenant) as client:
        path = f"/applications/{made['id']}"
        assert client.get(path)["uniqueName"] == "hand"
        assert client.send("PATCH", path, {"notes": "x"}).status_code == 403
        control(own_tenant, "PUT", "/apps/hand", {"owners": ["alice", "automation"]})
        client.patch(path, {"notes": "x"})


BAD_CALLS = [
    pytest.param("PUT", "/apps/automation", {"app_roles": ["Everything"]}, 400, id="app-role-unknown"),
    pytest.param("PUT", "/apps/automation", {"owners": ["nobody"]}, 400, id="owner-unknown"),
    pytest.param("PUT", "/apps/automation", {"properties": {"nothing": 1}}, 400, id="property-unknown"),
    pytest.param("PUT", "/apps/automation", {"properties": []}, 400, id="properties-not-an-object"),
    pytest.param("POST", "/apps", {}, 400, id="app-without-a-name"),
    pytest.param("POST", "/apps", {"display_name": "x", "redirect_uris": ["http://x.example/"]}, 400, id="app-redirect-uri"),
    pytest.param("DELETE", "/apps/nothing", None, 404, id="app-unknown"),
    pytest.param("PUT", "/tenant", {"licences": ["E5"]}, 400, id="licence-unknown"),
    pytest.param("PUT", "/tenant", {"secret_policy": {"allowed": "no"}}, 400, id="policy-not-a-flag"),
    pytest.param("PUT", "/tenant", {"secret_policy": {"max_lifetime": 0}}, 400, id="policy-lifetime-0"),
    pytest.param("PUT", "/tenant", {"secret_policy": {"days": 1}}, 400, id="policy-unknown-key"),
    pytest.param("PUT", "/groups/new", {"id": str(uuid.UUID(int=1)), "members": ["nobody"]}, 400, id="member-unknown"),
    pytest.param("PUT", "/groups/nothing/members", [], 404, id="group-unknown"),
    pytest.param("DELETE", "/groups/nothing", None, 404, id="group-unknown-deleted"),
    pytest.param("POST", "/state", {}, 405, id="state-is-read-only"),
]


@pytest.mark.parametrize(("method", "path", "body", "wanted"), BAD_CALLS)
def test_control_is_strict_and_changes_nothing_then(tenant: Double, method: str, path: str, body: object, wanted: int) -> None:
    before = control(tenant, "GET", "/state")[1]
    status, answer = control(tenant, method, path, body)
    assert (status, set(answer)) == (wanted, {"error"})
    assert control(tenant, "GET", "/state")[1] == before
