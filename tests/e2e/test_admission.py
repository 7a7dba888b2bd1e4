# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nobody opens an app beside its door: on the real API server, by an identity that may write routes and policies everywhere.

First without the admission policies, where each kind of attack is seen to work from outside; so the tests that follow bite. Then
with them: every attack is refused with a message that helps, and everything that teams, neighbours and we do in earnest goes on.
The teams are of their own (v1, v2, v3), beside a neighbour who isn't a team at all.
"""

from __future__ import annotations

import collections.abc
import copy
import dataclasses
import json
import pathlib
import subprocess
import time
import typing as t

import pytest

from .audit import AuditLog
from .inventory import Inventory
from .login import Browser
from .sandbox import DOMAIN, HOME, Sandbox
from .workload import Identity, Object, delete_namespaces, echo, namespace

TEAMS = ("team-v1", "team-v2", "team-v3")
V1, V2, V3 = (f"monitoring-{team}" for team in TEAMS)
NEIGHBOUR = "e2e-neighbour"
CLIENT_ID = "bbbbbbbb-0000-4000-8000-00000000000b"
DEVELOPERS = {"id": "5f0c0c7e-0000-4000-8000-0000000000b1", "name": "team-b-developers"}
ONCALL = {"id": "5f0c0c7e-0000-4000-8000-0000000000a2", "name": "team-a-oncall"}
HOST, TWO, PROXY_HOST = f"one-team-v1.{DOMAIN}", f"two-team-v1.{DOMAIN}", f"monitoring-oauth2-team-v1.{DOMAIN}"
OWN_HOST = f"neighbour.{DOMAIN}"
STOLEN = "/stolen"
POLICY, ROUTE, PASSTHROUGH = "oauth2-one-team-v1", "one-team-v1", "one-passthrough-oauth-team-v1"
CLAIM = f"gateway-auth-claim-{V1}"
OUR_GATEWAY = {"name": "main", "namespace": "gateway-envoy"}
IN_FORCE_S = 20.0
SEEN_S = 15.0

WRITER = "e2e-routes-and-policies"
ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": WRITER, "labels": Identity.LABELS},
    "rules": [{"apiGroups": ["gateway.networking.k8s.io", "gateway.envoyproxy.io"], "resources": ["*"], "verbs": ["*"]}],
}


New = collections.abc.Callable[..., Browser]


class Mallory:
    """May write routes and policies in every namespace, and nothing else."""

    def __init__(self, identity: Identity) -> None:
        self._kubeconfig = str(identity.kubeconfig)

    def kubectl(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["kubectl", "--kubeconfig", self._kubeconfig, *args], input=stdin, capture_output=True, text=True, check=False)

    def put(self, obj: Object) -> subprocess.CompletedProcess[str]:
        """Server-side apply."""
        return self.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=mallory", "-f", "-", stdin=json.dumps(obj))

    def patch(self, kind: str, name: str, operations: list[Object]) -> subprocess.CompletedProcess[str]:
        return self.kubectl("-n", V1, "patch", kind, name, "--type=json", "-p", json.dumps(operations))


def _must(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr


def _app(name: str, **more: t.Any) -> Object:
    return {"name": name, "service": {"name": "echo", "port": 8080}, **more}


def _team(inventory: Inventory, team: str, *apps: Object, groups: collections.abc.Sequence[Object] = (DEVELOPERS,)) -> None:
    with inventory.team(team) as data:
        data["gateway_auth_allowed_groups"] = list(groups)
        data["gateway_auth_apps"] = list(apps)


@pytest.fixture(scope="module")
def teams(sandbox: Sandbox, onboarded: Inventory, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Inventory]:
    """An inventory with v1 and v2 online; v3 has an app and nothing of ours."""
    inventory = onboarded.copy(tmp_path_factory.mktemp("admission"))
    hosts = [f"{app}-{team}.{DOMAIN}" for team in TEAMS for app in ("one", "two", "monitoring-oauth2")]
    ours = [f"https://{host}/oauth2/callback" for host in hosts]
    with inventory.hosts() as data:
        for team in TEAMS:
            data["teams"]["hosts"][team] = {
                "gateway_auth_registration": "existing",
                "gateway_auth_client_id": CLIENT_ID,
                "gateway_auth_client_secret": {"file": str(HOME / "entra" / "team-b.secret")},
            }
    _team(inventory, "team-v1", _app("one"), _app("two"))
    _team(inventory, "team-v2", _app("one"))
    _team(inventory, "team-v3", _app("one"))
    registered = sandbox.entra("GET", "/apps/team-b")["redirect_uris"]
    sandbox.entra("PUT", "/apps/team-b", {"redirect_uris": list(dict.fromkeys([*registered, *ours]))})
    places = (V1, V2, V3, NEIGHBOUR)
    delete_namespaces(sandbox, *places)
    sandbox.apply(*(obj for place in places for obj in (namespace(place), *echo(place))))
    for place in places:
        sandbox.kubectl("-n", place, "rollout", "status", "deployment/echo", "--timeout=90s")
    for team in TEAMS[:2]:
        sandbox.playbook("onboard_team", "-e", f"team={team.removeprefix('team-')}", inventory=inventory.path).must()
    yield inventory
    sandbox.playbook("prepare_gateway", inventory=onboarded.path).must()
    delete_namespaces(sandbox, *places, wait=False)
    sandbox.entra("PUT", "/apps/team-b", {"redirect_uris": [uri for uri in registered if uri not in ours]})


@pytest.fixture(scope="module")
def mallory(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Mallory:
    sandbox.apply(ROLE)
    return Mallory(Identity(sandbox, "mallory", tmp_path_factory.mktemp("mallory"), WRITER))


# --- objects of somebody who isn't us ----------------------------------------------------------------------------------------


def _route(name: str = "hijack", host: str = HOST, *, place: str = NEIGHBOUR, path: str = STOLEN, kind: str = "HTTPRoute", parents: t.Any = None) -> Object:
    rule: Object = {"name": "all", "backendRefs": [{"name": "echo", "port": 8080}]}
    if kind == "HTTPRoute":
        rule["matches"] = [{"path": {"type": "PathPrefix", "value": path}}]
    references = parents or [{**OUR_GATEWAY, "sectionName": "https"}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": place},
        "spec": {"hostnames": [host], "parentRefs": references, "rules": [rule]},
    }


def _listener_set() -> Object:
    certificate = {"mode": "Terminate", "certificateRefs": [{"name": "theirs"}]}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "ListenerSet",
        "metadata": {"name": "hijack", "namespace": NEIGHBOUR},
        "spec": {
            "parentRef": {"name": "main", "namespace": "gateway-envoy"},
            "listeners": [{"name": "theirs", "port": 443, "protocol": "HTTPS", "hostname": HOST, "tls": certificate}],
        },
    }


def _policy(name: str = "empty", *, place: str = V1, **spec: t.Any) -> Object:
    """Without a rule of its own it asks for nothing, and takes whatever its target had away."""
    return {"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "SecurityPolicy", "metadata": {"name": name, "namespace": place}, "spec": spec}


def _target(name: str = ROUTE, **more: str) -> Object:
    return {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name, **more}


def _selector(**more: t.Any) -> Object:
    return {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", **more}


# --- what is seen from outside -----------------------------------------------------------------------------------------------


def _is_open(browser: New, path: str, host: str = HOST) -> bool:
    """The echo app answers, and nobody has a session."""
    hop = browser().get(f"https://{host}{path}")
    return hop.status == 200 and '"pod"' in hop.text


def _becomes(condition: collections.abc.Callable[[], bool], within: float = SEEN_S) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _set_admission(sandbox: Sandbox, inventory: Inventory, wanted: bool) -> None:
    with inventory.platform() as data:
        data.setdefault("gateway_auth_gateway", {})["admission_policy"] = wanted
    sandbox.playbook("prepare_gateway", inventory=inventory.path).must()


# The tests of this module are one story and run in this order.


def test_without_admission_policies_a_hijack_opens_the_app(sandbox: Sandbox, teams: Inventory, mallory: Mallory, browser: New) -> None:
    _set_admission(sandbox, teams, wanted=False)
    for policy in sandbox.get("validatingadmissionpolicy", labels="gateway-auth/managed"):
        assert [item["expression"] for item in policy["spec"]["matchConditions"]] == ["false"]
    assert not _is_open(browser, STOLEN)
    assert _becomes(lambda: mallory.put(_route()).returncode == 0, IN_FORCE_S), "the API server still refuses"
    try:
        assert _becomes(lambda: _is_open(browser, STOLEN)), "a more specific path of a neighbour's route is answered without a session"
        run = sandbox.playbook("verify_team", "-e", "team=v1", inventory=teams.path)
        assert run.rc != 0
        assert f"HTTPRoute {NEIGHBOUR}/hijack claims {HOST}" in run.output
    finally:
        _must(mallory.kubectl("-n", NEIGHBOUR, "delete", "httproute", "hijack"))
    assert _becomes(lambda: not _is_open(browser, STOLEN))


def test_without_admission_policies_an_empty_policy_opens_the_app(sandbox: Sandbox, teams: Inventory, mallory: Mallory, browser: New) -> None:
    _must(mallory.put(_policy(targetRefs=[_target(sectionName="app")])))
    try:
        assert _becomes(lambda: _is_open(browser, "/")), "an empty policy on a rule takes the app's own away"
        run = sandbox.playbook("verify_team", "-e", "team=v1", inventory=teams.path)
        assert run.rc != 0
        assert f"{V1}/empty targets {ROUTE}" in run.output
    finally:
        _must(mallory.kubectl("-n", V1, "delete", "securitypolicy", "empty"))
    assert _becomes(lambda: not _is_open(browser, "/"))


def test_without_admission_policies_a_deleted_policy_leaves_the_app_open(sandbox: Sandbox, teams: Inventory, mallory: Mallory, browser: New) -> None:
    _must(mallory.kubectl("-n", V1, "delete", "securitypolicy", POLICY))
    assert _becomes(lambda: _is_open(browser, "/"))
    sandbox.playbook("onboard_team", "-e", "team=v1", inventory=teams.path).must()
    assert not _is_open(browser, "/")


def _is_refused(mallory: Mallory) -> bool:
    done = mallory.put(_route(path="/another"))
    if done.returncode == 0:
        _must(mallory.kubectl("-n", NEIGHBOUR, "delete", "httproute", "hijack"))
    return done.returncode != 0


def test_prepare_gateway_puts_them_in_force(sandbox: Sandbox, teams: Inventory, mallory: Mallory) -> None:
    # What is there before must not get stuck: it is asked about below.
    _must(mallory.put(_route("before")))
    _must(mallory.put(_policy("before", targetRefs=[_target("two-team-v1", sectionName="nothing")])))
    _set_admission(sandbox, teams, wanted=True)
    began = time.monotonic()
    # By the former claims, were they still followed, v1 would be refused nothing: this claim is new.
    run = sandbox.playbook("onboard_team", "-e", "team=v1", inventory=teams.path)
    assert f"HTTPRoute {NEIGHBOUR}/before claims {HOST}" in run.output and f"{V1}/before targets two-team-v1" in run.output, "verify names what is there"
    assert _becomes(lambda: _is_refused(mallory), IN_FORCE_S)
    print(f"in force {time.monotonic() - began:.1f} s after prepare_gateway")
    for policy in sandbox.get("validatingadmissionpolicy", labels="gateway-auth/managed"):
        status = policy.get("status") or {}
        assert not (status.get("typeChecking") or {}).get("expressionWarnings"), status


def test_a_re_run_of_prepare_gateway_writes_nothing(sandbox: Sandbox, teams: Inventory) -> None:
    run = sandbox.playbook("prepare_gateway", inventory=teams.path).must()
    assert "changed=0" in run.output and "changed=1" not in run.output


# --- attacks -----------------------------------------------------------------------------------------------------------------

HOST_WORDS = (HOST, "team-v1", CLAIM, "onboard_team")
POLICY_WORDS = ("team-v1", CLAIM, "onboard_team", "gateway-auth/remove")
RIVAL_WORDS = (ROUTE, "team-v1", CLAIM, "public_paths")
SPEC, EXT = "/spec", "/spec/extAuth"


@dataclasses.dataclass(frozen=True)
class Attack:
    """What mallory puts, and the words of the refusal."""

    id: str
    obj: Object
    words: tuple[str, ...]


ATTACKS = [
    Attack("a more specific path", _route(), HOST_WORDS),
    Attack("an older version of the API", {**_route(), "apiVersion": "gateway.networking.k8s.io/v1beta1"}, HOST_WORDS),
    Attack("a GRPCRoute", _route(kind="GRPCRoute"), HOST_WORDS),
    Attack("the proxy's own host", _route(host=PROXY_HOST), (PROXY_HOST, "team-v1", CLAIM)),
    Attack("another team's namespace", _route(place=V2), HOST_WORDS),
    Attack("the Gateway's namespace", _route(place="gateway-envoy"), HOST_WORDS),
    Attack("a ListenerSet", _listener_set(), HOST_WORDS),
    Attack("an empty policy on a rule", _policy(targetRefs=[_target(sectionName="app")]), RIVAL_WORDS),
    Attack("an empty policy on the route", _policy(targetRefs=[_target()]), RIVAL_WORDS),
    Attack("an empty policy by the older field", _policy(targetRef=_target(sectionName="app")), RIVAL_WORDS),
    Attack("a policy among other targets", _policy(targetRefs=[_target("theirs"), _target()]), RIVAL_WORDS),
    Attack("a policy on the sentinel", _policy(targetRefs=[_target(PASSTHROUGH, sectionName="probe")]), (PASSTHROUGH, "team-v1")),
    Attack("a policy for every route", _policy(targetSelectors=[_selector()]), ("by selector", "team-v1", CLAIM)),
    Attack("a policy for our routes", _policy(targetSelectors=[_selector(matchLabels={"gateway-auth/team": "team-v1"})]), ("by selector", "team-v1")),
    Attack(
        "a policy for an app's routes",
        _policy(targetSelectors=[_selector(matchExpressions=[{"key": "gateway-auth/app", "operator": "In", "values": ["one"]}])]),
        ("by selector", "team-v1"),
    ),
    Attack(
        "a policy for all but others'",
        _policy(targetSelectors=[_selector(matchExpressions=[{"key": "app", "operator": "DoesNotExist"}])]),
        ("by selector", "team-v1"),
    ),
    Attack(
        "a policy with our mark",
        {**_policy(), "metadata": {"name": "empty", "namespace": V1, "labels": {"gateway-auth/managed": "true"}}, "spec": {"targetRefs": [_target()]}},
        RIVAL_WORDS,
    ),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
def test_an_attack_is_refused(sandbox: Sandbox, teams: Inventory, mallory: Mallory, attack: Attack) -> None:
    done = mallory.put(attack.obj)
    assert done.returncode != 0, "it was let through"
    for word in ("denied request", *attack.words):
        assert word in done.stderr, done.stderr
    meta = attack.obj["metadata"]
    assert sandbox.get(attack.obj["kind"].lower(), meta["name"], meta["namespace"]) is None


@pytest.mark.parametrize(
    "parents",
    [
        pytest.param([OUR_GATEWAY], id="every listener"),
        pytest.param([{**OUR_GATEWAY, "sectionName": "http"}], id="the plain listener"),
        pytest.param([{**OUR_GATEWAY, "port": 443}], id="by port"),
        pytest.param([{"name": "elsewhere"}, OUR_GATEWAY], id="among other parents"),
        pytest.param([{"name": "theirs", "group": "gateway.networking.k8s.io", "kind": "ListenerSet"}], id="through a ListenerSet"),
    ],
)
def test_a_hijack_by_any_parent_is_refused(sandbox: Sandbox, teams: Inventory, mallory: Mallory, parents: list[Object]) -> None:
    done = mallory.put(_route(parents=parents))
    assert done.returncode != 0 and HOST in done.stderr and "denied request" in done.stderr, done.stderr
    assert sandbox.get("httproute", "hijack", NEIGHBOUR) is None


def test_an_innocent_route_does_not_become_a_hijack(sandbox: Sandbox, teams: Inventory, mallory: Mallory) -> None:
    _must(mallory.put(_route("innocent", OWN_HOST)))
    done = mallory.put(_route("innocent", HOST))
    assert done.returncode != 0 and HOST in done.stderr
    both = _route("innocent", OWN_HOST)
    both["spec"]["hostnames"].append(HOST)
    assert mallory.put(both).returncode != 0
    _must(mallory.put(_route("innocent", HOST, parents=[{"name": "another"}])))  # attached to nothing of ours
    assert mallory.put(_route("innocent", HOST)).returncode != 0, "nor by its parent alone"
    _must(mallory.kubectl("-n", NEIGHBOUR, "delete", "httproute", "innocent"))


def _set(path: str, value: t.Any) -> list[Object]:
    return [{"op": "add", "path": path, "value": value}]


@pytest.mark.parametrize(
    ("operations", "word"),
    [
        pytest.param(_set(f"{EXT}/failOpen", True), "failOpen", id="failOpen"),
        pytest.param(_set(f"{EXT}/recomputeRoute", True), "recomputeRoute", id="recomputeRoute"),
        pytest.param(_set(f"{SPEC}/mergeType", "StrategicMerge"), "mergeType", id="mergeType"),
        pytest.param(_set(f"{EXT}/http/pathOverride", "/ping"), "pathOverride", id="a path that the proxy answers to anybody"),
        pytest.param([{"op": "remove", "path": f"{EXT}/http/pathOverride"}], "pathOverride", id="no path"),
        pytest.param(_set(f"{EXT}/http/backendRefs/0/name", "echo"), "backendRefs", id="another backend"),
        pytest.param(_set(f"{EXT}/http/backendRefs/0/namespace", NEIGHBOUR), "backendRefs", id="a backend elsewhere"),
        pytest.param([{"op": "remove", "path": EXT}], "pathOverride", id="hollowed out"),
        pytest.param(_set(f"{SPEC}/targetRefs/0/name", "theirs"), "targetRefs", id="another target"),
        pytest.param(_set(f"{SPEC}/targetRefs/0/sectionName", "nothing"), "targetRefs", id="a rule of it only"),
        pytest.param([{"op": "remove", "path": f"{SPEC}/targetRefs/1"}], "targetRefs", id="without the sentinel"),
        pytest.param([{"op": "remove", "path": "/metadata/labels"}], "labels", id="labels taken off"),
        pytest.param(_set("/metadata/labels/gateway-auth~1team", "team-v2"), "labels", id="another team's"),
        pytest.param([*_set("/metadata/annotations", {"gateway-auth/remove": "true"}), *_set(f"{EXT}/failOpen", True)], "failOpen", id="said and done at once"),
    ],
)
def test_a_policy_of_ours_is_not_hollowed_out(sandbox: Sandbox, teams: Inventory, mallory: Mallory, operations: list[Object], word: str) -> None:
    before = sandbox.get("securitypolicy", POLICY, V1)
    done = mallory.patch("securitypolicy", POLICY, operations)
    assert done.returncode != 0, "it was let through"
    for expected in ("denied request", word, *POLICY_WORDS):
        assert expected in done.stderr, done.stderr
    after = sandbox.get("securitypolicy", POLICY, V1)
    assert (after["spec"], after["metadata"]["labels"]) == (before["spec"], before["metadata"]["labels"])


@pytest.mark.parametrize("args", [(POLICY,), ("--all",), ("-l", "gateway-auth/app=one")], ids=["by name", "all", "by label"])
def test_a_policy_of_ours_is_not_deleted(sandbox: Sandbox, teams: Inventory, mallory: Mallory, args: tuple[str, ...]) -> None:
    done = mallory.kubectl("-n", V1, "delete", "securitypolicy", *args)
    assert done.returncode != 0
    for word in ("denied request", POLICY, *POLICY_WORDS):
        assert word in done.stderr, done.stderr
    assert sandbox.get("securitypolicy", POLICY, V1) is not None
    # `--all` takes what is nobody's.
    _must(mallory.kubectl("-n", V1, "delete", "securitypolicy", "before", "--ignore-not-found"))


# --- life goes on --------------------------------------------------------------------------------------------------------------


def test_others_are_let_be(sandbox: Sandbox, teams: Inventory, mallory: Mallory) -> None:
    wildcard = _route("innocent", f"*.{DOMAIN}", path="/nothing-here")
    for obj in (
        _route("innocent", OWN_HOST),
        wildcard,
        _route("innocent", HOST, parents=[{"name": "another", "namespace": "gateway-envoy"}]),
        _route("innocent", OWN_HOST, kind="GRPCRoute"),
        _policy("innocent", place=NEIGHBOUR, targetRefs=[_target("innocent")]),
        _policy("innocent", place=NEIGHBOUR, targetRefs=[_target(ROUTE)]),  # which there is another route of that name
        _policy("innocent", place=NEIGHBOUR, targetSelectors=[_selector()]),
        _route("innocent", f"innocent-team-v1.{DOMAIN}", place=V1),
        _policy("innocent", place=V1, targetRefs=[_target("innocent")]),
        _policy("innocent", place=V1, targetSelectors=[_selector(matchLabels={"app": "innocent"})]),
        _policy("innocent", place=V1, targetSelectors=[_selector(matchExpressions=[{"key": "gateway-auth/managed", "operator": "DoesNotExist"}])]),
    ):
        _must(mallory.put(obj))
    for place in (NEIGHBOUR, V1):
        _must(mallory.kubectl("-n", place, "delete", "httproute,grpcroute,securitypolicy", "innocent", "--ignore-not-found"))


def test_what_was_there_before_is_not_stuck(sandbox: Sandbox, teams: Inventory, mallory: Mallory) -> None:
    _must(mallory.kubectl("-n", NEIGHBOUR, "label", "httproute", "before", "some=label"))
    _must(mallory.kubectl("-n", NEIGHBOUR, "annotate", "httproute", "before", "some=annotation"))
    finalizer = json.dumps({"metadata": {"finalizers": ["e2e.example.com/x"]}})
    _must(mallory.kubectl("-n", NEIGHBOUR, "patch", "httproute", "before", "--type=merge", "-p", finalizer))
    assert mallory.put(_route("before", path="/worse")).returncode != 0
    _must(mallory.kubectl("-n", NEIGHBOUR, "delete", "httproute", "before", "--wait=false"))
    _must(mallory.kubectl("-n", NEIGHBOUR, "patch", "httproute", "before", "--type=merge", "-p", json.dumps({"metadata": {"finalizers": None}})))
    assert _becomes(lambda: sandbox.get("httproute", "before", NEIGHBOUR) is None)


def test_metadata_of_our_policies_is_free(sandbox: Sandbox, teams: Inventory, mallory: Mallory) -> None:
    _must(mallory.kubectl("-n", V1, "label", "securitypolicy", POLICY, "some=label", "--overwrite"))
    _must(mallory.kubectl("-n", V1, "annotate", "securitypolicy", POLICY, "some=annotation", "--overwrite"))
    _must(mallory.kubectl("-n", V1, "label", "securitypolicy", POLICY, "some-"))
    _must(mallory.kubectl("-n", V1, "annotate", "securitypolicy", POLICY, "some-"))


def test_a_dry_run_says_what_would_be_without_the_claim(teams: Inventory, mallory: Mallory) -> None:
    """So that check mode can predict what follows a change of the claim; nothing is stored."""
    _must(mallory.kubectl("-n", V1, "delete", "securitypolicy", POLICY, "--dry-run=server"))


class Runner:
    """onboard_team under an identity of its own, so that the audit log tells what it wrote."""

    def __init__(self, sandbox: Sandbox, inventory: Inventory, identity: Identity) -> None:
        self._sandbox, self.inventory, self._identity = sandbox, inventory, identity
        self._audit = AuditLog(sandbox)
        with inventory.platform() as data:
            data["gateway_auth_cluster"] = {"kubeconfig": str(identity.kubeconfig)}

    def run(self, team: str, *args: str) -> tuple[str, list[str]]:
        """(what it said, what it wrote)"""
        since = self._audit.here()
        run = self._sandbox.playbook("onboard_team", "-e", f"team={team}", *args, inventory=self.inventory.path).must()
        return run.output, self._audit.writes(since, self._identity.user)


@pytest.fixture(scope="module")
def runner(sandbox: Sandbox, teams: Inventory, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp("runner")
    return Runner(sandbox, teams.copy(folder), Identity(sandbox, "onboarder", folder))


def test_a_change_of_groups_is_foretold_and_made(sandbox: Sandbox, runner: Runner) -> None:
    assert runner.run("v1")[1] == []
    _team(runner.inventory, "team-v1", _app("one", allowed_groups=[ONCALL]), _app("two"), groups=[DEVELOPERS, ONCALL])
    said, writes = runner.run("v1", "--check", "--diff")
    assert writes == []
    assert f"ConfigMap gateway-envoy/{CLAIM}" in said and f"SecurityPolicy {V1}/{POLICY}" in said
    runner.run("v1")
    path = sandbox.get("securitypolicy", POLICY, V1)["spec"]["extAuth"]["http"]["pathOverride"]
    assert path.startswith(f"/?allowed_groups={ONCALL['id']},"), "the narrower group, and the admins'"
    assert sandbox.get("configmap", CLAIM, "gateway-envoy")["data"][f"policy.{POLICY}"] == path
    assert runner.run("v1")[1] == [], "a re-run writes nothing"


def test_the_former_path_is_refused_now(sandbox: Sandbox, runner: Runner, mallory: Mallory) -> None:
    done = mallory.patch("securitypolicy", POLICY, _set(f"{EXT}/http/pathOverride", "/"))
    assert done.returncode != 0 and ONCALL["id"] in done.stderr, done.stderr


def test_an_app_goes_and_comes_back(sandbox: Sandbox, runner: Runner, browser: New) -> None:
    _team(runner.inventory, "team-v1", _app("one"))
    runner.run("v1")
    assert sandbox.get("securitypolicy", "oauth2-two-team-v1", V1) is None
    claimed = sandbox.get("configmap", CLAIM, "gateway-envoy")["data"]
    assert not [key for key in claimed if "two" in key] and f"host.{HOST}" in claimed
    _team(runner.inventory, "team-v1", _app("one"), _app("two"))
    runner.run("v1")
    assert f"host.{TWO}" in sandbox.get("configmap", CLAIM, "gateway-envoy")["data"]
    assert not _is_open(browser, "/", TWO)
    assert runner.run("v1")[1] == []


def test_a_lifted_protection_is_told_and_put_back(sandbox: Sandbox, runner: Runner, mallory: Mallory) -> None:
    _must(mallory.kubectl("-n", V1, "annotate", "securitypolicy", POLICY, "gateway-auth/remove=true"))
    _must(mallory.patch("securitypolicy", POLICY, _set(f"{EXT}/failOpen", True)))
    run = sandbox.playbook("verify_team", "-e", "team=v1", inventory=runner.inventory.path)
    assert run.rc != 0 and "gateway-auth/remove" in run.output and "failOpen" in run.output
    runner.run("v1")
    policy = sandbox.get("securitypolicy", POLICY, V1)
    assert policy["spec"]["extAuth"]["failOpen"] is False
    assert "gateway-auth/remove" not in (policy["metadata"].get("annotations") or {})
    assert mallory.patch("securitypolicy", POLICY, _set(f"{EXT}/failOpen", True)).returncode != 0
    assert runner.run("v1")[1] == []


@pytest.mark.sample(0)
def test_a_host_moves_from_team_to_team(sandbox: Sandbox, runner: Runner) -> None:
    _team(runner.inventory, "team-v1", _app("one"))
    _team(runner.inventory, "team-v2", _app("one"), _app("two", hostname=TWO))
    run = sandbox.playbook("onboard_team", "-e", "team=v2", inventory=runner.inventory.path)
    assert run.rc != 0
    output = " ".join(run.output.split())
    for word in (TWO, "claimed by team 'team-v1'", "onboard_team -e team=v1"):
        assert word in output, run.output[-3000:]
    runner.run("v1")
    runner.run("v2")
    assert f"host.{TWO}" in sandbox.get("configmap", f"gateway-auth-claim-{V2}", "gateway-envoy")["data"]


def test_an_installation_made_by_hand_is_taken_over(sandbox: Sandbox, runner: Runner) -> None:
    """Along the guide, with what is wrong in it; then under a claim, step by step."""
    route = _route("one-team-v3", f"one-team-v3.{DOMAIN}", place=V3, path="/")
    guide = _policy(
        "oauth2-one-team-v3",
        place=V3,
        targetRefs=[_target("one-team-v3")],
        extAuth={
            "failOpen": True,
            "recomputeRoute": True,
            "http": {"backendRefs": [{"name": "monitoring-oauth2-proxy-team-v3", "port": 80}], "path": "/?rd=https://x", "headersToBackend": ["Path"]},
        },
    )
    sandbox.apply(guide, route)
    runner.run("v3", "-e", "adopt=all")
    live = sandbox.get("securitypolicy", "oauth2-one-team-v3", V3)
    assert live["spec"]["extAuth"]["failOpen"] is False and "recomputeRoute" not in live["spec"]["extAuth"]
    assert runner.run("v3")[1] == []


# --- cost ----------------------------------------------------------------------------------------------------------------------


def _large(host: str = "") -> Object:
    """As large as a route can be: 16 host names, 16 rules of 8 matches."""
    route = _route("large", OWN_HOST)
    route["spec"]["hostnames"] = [f"{number}-{'x' * 40}.{DOMAIN}" for number in range(15)] + [host or OWN_HOST]
    match = {"path": {"type": "PathPrefix", "value": f"/{'p' * 60}"}, "headers": [{"name": f"h{number}", "value": "v" * 60} for number in range(4)]}
    route["spec"]["rules"] = [
        {"matches": [copy.deepcopy(match) for _match in range(8)], "backendRefs": [{"name": "echo", "port": 8080}]} for _rule in range(16)
    ]
    return route


@pytest.mark.sample(0)
def test_the_largest_claims_and_routes_are_judged(sandbox: Sandbox, teams: Inventory, mallory: Mallory) -> None:
    """50 apps in a claim, 100 such claims; the cost is in the lookups, not in what is claimed."""
    claims = []
    for team in range(100):
        data = {"team": f"team-{team}", "namespace": f"e2e-large-{team}", "gateway": "main", "service": "x"}
        for app in range(50):
            data |= {f"host.app{app}-{team}.{DOMAIN}": f"app{app}", f"route.app{app}-team-{team}": "", f"policy.oauth2-app{app}-team-{team}": "/"}
            data |= {f"guards.oauth2-app{app}-team-{team}": f"app{app}-team-{team}", f"probes.oauth2-app{app}-team-{team}": f"app{app}-pass-{team}"}
        meta = {"name": f"e2e-large-{team}", "namespace": "gateway-envoy", "labels": {"gateway-auth/claim": "true", "e2e": "large"}}
        claims.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
    began = time.monotonic()
    _must(mallory.put(_large()))
    alone = time.monotonic() - began
    sandbox.apply(*claims)
    try:
        assert _becomes(lambda: mallory.put(_route("large", f"app49-99.{DOMAIN}")).returncode != 0)
        began = time.monotonic()
        _must(mallory.put(_large(f"other.{DOMAIN}")))
        print(f"the largest route: {alone:.2f} s, among 100 claims more: {time.monotonic() - began:.2f} s, kubectl's start included")
        done = mallory.put(_large(f"app49-99.{DOMAIN}"))
        assert done.returncode != 0 and f"app49-99.{DOMAIN}" in done.stderr and "team-99" in done.stderr, done.stderr
        targets = [_target(f"route-{number}", sectionName="r") for number in range(15)]
        selectors = [_selector(matchLabels={f"l{key}": "v" for key in range(10)}) for _selector_number in range(16)]
        _must(mallory.put(_policy("large", targetRefs=targets, targetSelectors=selectors)))
        done = mallory.put(_policy("large", targetRefs=[*targets, _target()], targetSelectors=selectors))
        assert done.returncode != 0 and ROUTE in done.stderr, done.stderr
    finally:
        sandbox.kubectl("-n", "gateway-envoy", "delete", "configmap", "-l", "e2e=large")
        mallory.kubectl("-n", NEIGHBOUR, "delete", "httproute", "large", "--ignore-not-found")
        mallory.kubectl("-n", V1, "delete", "securitypolicy", "large", "--ignore-not-found")


# --- the end -------------------------------------------------------------------------------------------------------------------


def test_a_namespace_can_be_deleted(sandbox: Sandbox, teams: Inventory, tmp_path: pathlib.Path) -> None:
    sandbox.kubectl("delete", "namespace", V2, "--timeout=90s")
    assert sandbox.get("namespace", V2) is None
    assert sandbox.get("configmap", f"gateway-auth-claim-{V2}", "gateway-envoy") is not None, "the hosts stay the team's until it gives them up"
