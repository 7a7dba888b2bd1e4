# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A registration that looks after itself: created, kept, rotated and switched while people work, mended when somebody edits it."""

from __future__ import annotations

import base64
import collections.abc
import json
import time
import typing as t
import urllib.parse

import pytest

from .audit import AuditLog
from .entra import GRAPH, Registration, calls, token_answer, writes
from .inventory import Inventory
from .load import Load
from .login import Browser
from .sandbox import DOMAIN, Run, Sandbox
from .workload import Identity, delete_namespaces, echo, namespace

TEAM = "team-e1"
NAMESPACE = f"monitoring-{TEAM}"
SECRET = f"oauth2-proxy-{TEAM}"
HOST = f"echo-{TEAM}.{DOMAIN}"
UNIQUE_NAME = f"gateway-auth.sandbox.monitoring.{TEAM}"
DEVELOPERS = {"id": "5f0c0c7e-0000-4000-8000-0000000000a1", "name": "team-a-developers"}
LEAST_RATE = 20.0
# Shorter than any rollout, so that sessions are refreshed with the old credential, the new one, and in between.
REFRESH = "6s"


@pytest.fixture(scope="module")
def registration(sandbox: Sandbox) -> Registration:
    return Registration(sandbox, UNIQUE_NAME)


@pytest.fixture(scope="module")
def team(sandbox: Sandbox, onboarded: Inventory, registration: Registration, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Inventory]:
    """An inventory with team-e1, whose app runs; neither Entra nor the cluster has anything of ours for it."""
    inventory = onboarded.copy(tmp_path_factory.mktemp("e1"))
    with inventory.hosts() as data:
        data["teams"]["hosts"][TEAM] = {"gateway_auth_session": {"expire": "8h", "refresh": REFRESH}}
    with inventory.team(TEAM) as data:
        data["gateway_auth_allowed_groups"] = [DEVELOPERS]
        data["gateway_auth_apps"] = [{"name": "echo", "service": {"name": "echo", "port": 8080}}]
    registration.purge()
    delete_namespaces(sandbox, NAMESPACE)
    sandbox.apply(namespace(NAMESPACE), *echo(NAMESPACE))
    sandbox.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/echo", "--timeout=60s")
    yield inventory
    delete_namespaces(sandbox, NAMESPACE, wait=False)
    registration.purge()


@pytest.fixture(scope="module")
def identity(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Who runs the playbooks here, so that the audit log tells their writes from others'."""
    return Identity(sandbox, "e1", tmp_path_factory.mktemp("identity"))


def _set(inventory: Inventory, **variables: t.Any) -> None:
    with inventory.hosts() as data:
        data["teams"]["hosts"][TEAM].update({f"gateway_auth_{name}": value for name, value in variables.items()})


def _onboard(sandbox: Sandbox, inventory: Inventory, *args: str) -> Run:
    return sandbox.playbook("onboard_team", "-e", "team=e1", *args, inventory=inventory.path)


def _secret(sandbox: Sandbox) -> dict[str, str]:
    found = sandbox.get("secret", SECRET, NAMESPACE)
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def _logged_in(browser: type[Browser]) -> list[Browser]:
    users = [browser("alice"), browser("carol")]
    for user in users:
        assert user.visit(f"https://{HOST}/load").final.status == 200
    return users


def _at_work(sandbox: Sandbox, browsers: t.Sequence[Browser], run: t.Callable[[], Run]) -> Run:
    """Run a playbook while people work; not one request of theirs may fail."""
    with Load(sandbox, HOST, browsers) as load:
        time.sleep(1)
        ended = run()
        time.sleep(8)  # one more refresh, and the last of the old pods gone
    ended.must()
    print(load.report())
    assert load.failures == [], load.report()
    assert load.rate >= LEAST_RATE, load.report()
    return ended


# The tests of this module are one story and run in this order.


def test_check_mode_on_nothing_foretells_and_writes_nothing(sandbox: Sandbox, team: Inventory, registration: Registration, identity: Identity) -> None:
    with team.platform() as data:
        data["gateway_auth_cluster"] = {"kubeconfig": str(identity.kubeconfig)}
    audit = AuditLog(sandbox)
    since = audit.here()
    sandbox.entra("DELETE", "/journal")
    run = _onboard(sandbox, team, "--check", "--diff").must()
    assert writes(sandbox) == []
    assert audit.writes(since, identity.user) == []
    assert registration.find() is None
    for word in (f"https://{HOST}/oauth2/callback", "create app registration", "add a client secret", "enterprise application"):
        assert word in run.output, word


def test_the_registration_is_made_and_members_enter(sandbox: Sandbox, team: Inventory, registration: Registration, browser: type[Browser]) -> None:
    sandbox.entra("DELETE", "/journal")
    _onboard(sandbox, team).must()
    assert len(calls(sandbox)) <= 11, "10, and one for the group"
    made = registration.must()
    assert sorted(made["redirect_uris"]) == sorted(f"https://{host}/oauth2/callback" for host in (HOST, f"monitoring-oauth2-{TEAM}.{DOMAIN}"))
    secret = _secret(sandbox)
    assert secret["client-id"] == made["client_id"]
    assert token_answer(sandbox, secret["client-id"], secret["client-secret"]) == ""
    assert browser("alice").visit(f"https://{HOST}/load").final.status == 200
    assert browser("bob").visit(f"https://{HOST}/load").final.status == 403


def test_again_asks_little_and_writes_nothing(sandbox: Sandbox, team: Inventory, identity: Identity) -> None:
    audit = AuditLog(sandbox)
    since = audit.here()
    sandbox.entra("DELETE", "/journal")
    run = _onboard(sandbox, team).must()
    assert "changed=0" in run.output
    assert writes(sandbox) == []
    assert audit.writes(since, identity.user) == []
    assert len(calls(sandbox)) <= 4, calls(sandbox)


def test_rotation_does_nothing_while_young(sandbox: Sandbox, team: Inventory) -> None:
    before = _secret(sandbox)
    run = sandbox.playbook("rotate_team", "-e", "team=e1", inventory=team.path).must()
    assert "changed=0" in run.output
    assert _secret(sandbox) == before


def test_a_client_secret_is_rotated_and_nobody_notices(sandbox: Sandbox, team: Inventory, registration: Registration, browser: type[Browser]) -> None:
    before = _secret(sandbox)
    users = _logged_in(browser)
    _at_work(sandbox, users, lambda: sandbox.playbook("rotate_team", "-e", "team=e1", "-e", "rotate=client_secret", inventory=team.path))
    after = _secret(sandbox)
    assert after["client-secret"] != before["client-secret"]
    assert {key: value for key, value in after.items() if key != "client-secret"} == {key: value for key, value in before.items() if key != "client-secret"}
    assert token_answer(sandbox, after["client-id"], before["client-secret"]) == "AADSTS7000215", "the old one is revoked"
    assert token_answer(sandbox, after["client-id"], after["client-secret"]) == ""
    assert len(registration.must()["secrets"]) == 1
    assert all(user.get(f"https://{HOST}/load").status == 200 for user in users), "sessions survive"


def test_to_a_federated_credential_and_nobody_notices(sandbox: Sandbox, team: Inventory, registration: Registration, browser: type[Browser]) -> None:
    before = _secret(sandbox)
    users = _logged_in(browser)
    _set(team, credential="federated")
    _at_work(sandbox, users, lambda: _onboard(sandbox, team))
    assert "client-secret" not in _secret(sandbox)
    made = registration.must()
    assert made["secrets"] == []
    assert [item["subject"] for item in made["federated_credentials"]] == [f"system:serviceaccount:{NAMESPACE}:monitoring-oauth2-proxy-{TEAM}"]
    assert token_answer(sandbox, before["client-id"], before["client-secret"]) == "AADSTS7000215"
    assert browser("carol").visit(f"https://{HOST}/load").final.status == 200, "a new login"
    assert all(user.get(f"https://{HOST}/load").status == 200 for user in users), "sessions survive, refreshed with an assertion"
    assert "changed=0" in _onboard(sandbox, team).must().output


def test_and_back_to_a_client_secret_and_nobody_notices(sandbox: Sandbox, team: Inventory, registration: Registration, browser: type[Browser]) -> None:
    users = _logged_in(browser)
    _set(team, credential="client_secret")
    _at_work(sandbox, users, lambda: _onboard(sandbox, team))
    made = registration.must()
    assert (len(made["secrets"]), made["federated_credentials"]) == (1, [])
    assert browser("alice").visit(f"https://{HOST}/load").final.status == 200
    assert "changed=0" in _onboard(sandbox, team).must().output


def test_what_somebody_edits_in_the_portal_is_mended(sandbox: Sandbox, team: Inventory, registration: Registration) -> None:
    """Everything at once; each edit by itself is a unit test."""
    before = registration.must()
    hosts = (HOST, "evil.example.com")  # the proxy's own is missing, a foreign one has come
    registration.edit(
        {
            "redirect_uris": [f"https://{host}/oauth2/callback" for host in hosts],
            "group_membership_claims": "None",
            "properties": {"signInAudience": "AzureADMultipleOrgs", "web": {"implicitGrantSettings": {"enableIdTokenIssuance": True}}},
        }
    )
    run = _onboard(sandbox, team, "--diff").must()
    for words in (
        f"add redirect URI https://monitoring-oauth2-{TEAM}",
        "remove redirect URI https://evil.example.com",
        "groupMembershipClaims",
        "signInAudience",
        "enableIdTokenIssuance",
    ):
        assert words in run.output, words
    after = registration.must()
    assert sorted(after.pop("redirect_uris")) == sorted(before.pop("redirect_uris"))
    assert after == before
    assert "changed=0" in _onboard(sandbox, team).must().output


def test_a_secret_deleted_in_the_portal_is_replaced(sandbox: Sandbox, team: Inventory, registration: Registration, browser: type[Browser]) -> None:
    before = _secret(sandbox)
    registration.revoke_all()
    run = _onboard(sandbox, team, "--diff").must()
    assert "Entra no longer has" in run.output
    after = _secret(sandbox)
    assert after["client-secret"] != before["client-secret"]
    assert after["cookie-secret"] == before["cookie-secret"]
    assert browser("alice").visit(f"https://{HOST}/load").final.status == 200


def test_sign_in_switched_off_stays_off_until_somebody_says_so(sandbox: Sandbox, team: Inventory, registration: Registration, browser: type[Browser]) -> None:
    registration.edit({"enabled": False})
    run = _onboard(sandbox, team)
    assert "switched off" in run.output, run.output[-6000:]
    assert registration.must()["enabled"] is False
    assert browser("alice").visit(f"https://{HOST}/load").final.status != 200
    registration.edit({"enabled": True})


# --- what stands in the way is said by name, and nothing is written ------------------------------------------------------------


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        pytest.param(
            {"client_id": "dddddddd-0000-4000-8000-00000000000d"}, ["dddddddd-0000-4000-8000-00000000000d", "gateway_auth_client_id"], id="no such app"
        ),
        pytest.param(
            {"client_id": "aaaaaaaa-0000-4000-8000-00000000000a"}, ["is not ours", "adopt", "aaaaaaaa-0000-4000-8000-00000000000a"], id="a foreign app"
        ),
        pytest.param({"tenant_id": "22222222-2222-4222-8222-222222222222"}, ["AZURE_TENANT_ID", "gateway_auth_tenant_id"], id="another tenant"),
        pytest.param(
            {"admin_groups": [{"id": "5f0c0c7e-0000-4000-8000-00000000dead", "name": "ghosts"}]}, ["ghosts", "doesn't exist"], id="a group that isn't there"
        ),
        pytest.param({"admin_groups": [{"name": "nobodies"}]}, ["nobodies", "none"], id="a name that nobody has"),
        pytest.param({"group_assignment": "managed"}, ["AppRoleAssignment.ReadWrite.All", "external"], id="assignment without the permission"),
    ],
)
def test_bad_input_of_entra(sandbox: Sandbox, team: Inventory, identity: Identity, tmp_path: t.Any, variables: dict[str, t.Any], words: list[str]) -> None:
    inventory = team.copy(tmp_path)
    _set(inventory, **variables)
    audit = AuditLog(sandbox)
    since = audit.here()
    sandbox.entra("DELETE", "/journal")
    run = _onboard(sandbox, inventory)
    assert run.rc != 0
    said = " ".join(run.output.split())
    assert [word for word in words if word not in said] == [], run.output[-3000:]
    assert writes(sandbox) == []
    assert audit.writes(since, identity.user) == []


def test_without_an_identity_the_error_says_which_variable(sandbox: Sandbox, team: Inventory) -> None:
    env = {"AZURE_CLIENT_SECRET": "", "AZURE_CLIENT_ID": "", "ANSIBLE_AZURE_AUTH_SOURCE": "env"}
    run = sandbox.playbook("onboard_team", "-e", "team=e1", inventory=team.path, env=env)
    assert run.rc != 0
    assert "AZURE_CLIENT_SECRET" in run.output


@pytest.mark.sample(0)
def test_throttled_for_a_moment_it_waits_and_for_long_it_says_so(sandbox: Sandbox, team: Inventory) -> None:
    fault = {"match": {"host": GRAPH}, "action": {"status": 429, "headers": {"Retry-After": "1"}, "body": {"error": {"code": "TooManyRequests"}}}}
    sandbox.entra("PUT", "/faults", [{**fault, "times": 2}])
    _onboard(sandbox, team).must()
    sandbox.entra("PUT", "/faults", [fault])
    try:
        run = _onboard(sandbox, team)
    finally:
        sandbox.entra("DELETE", "/faults")
    assert run.rc != 0
    assert "429" in run.output
    _onboard(sandbox, team).must()


def test_no_secret_in_the_journal(sandbox: Sandbox) -> None:
    secret = _secret(sandbox)["client-secret"]
    told = json.dumps(sandbox.entra("GET", "/journal"))
    assert secret not in told
    assert urllib.parse.quote(secret, safe="") not in told
