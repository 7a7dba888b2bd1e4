# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rights that docs/rbac.md lists: with exactly these every playbook works, with one less nothing is written, and none is superfluous.

A ServiceAccount that holds nothing but the Roles of ``render_rights`` runs the playbooks through a team's life, once in each shape; the API
server's audit log says what it asked for and was refused. Then many ServiceAccounts that each lack one verb meet the checks before the
first write, in this process, against the same API server.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import pathlib
import re
import typing as t

import kubernetes.client
import kubernetes.config
import pytest

from ansible_collections.platform.gateway_auth.plugins.action import gateway_platform, preflight
from ansible_collections.platform.gateway_auth.plugins.module_utils import _rights
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.golden import model
from tests.unit.support.actions import run_action

from .audit import AuditLog, Request
from .entra import Registration
from .inventory import Inventory
from .sandbox import DOMAIN, ROOT, TENANT, Run, Sandbox
from .workload import IDENTITY, Identity, delete_namespaces, echo, namespace, service, write_kubeconfig

Object = dict[str, t.Any]
GATEWAY = "gateway-envoy"
# Which a user may ask anywhere: their own rights.
QUESTIONS = "selfsubjectaccessreviews"
# In make soak.
pytestmark = pytest.mark.slow


@dataclasses.dataclass(frozen=True)
class Life:
    """A team's life under one identity: the runs, and everything it asked the API server."""

    shape: str
    runs: dict[str, Run]
    requests: list[Request]
    leaving: list[Request]  # of the last run, which takes the team away
    manifests: list[Object]
    team: str


def _rights_for(sandbox: Sandbox, inventory: Inventory, identity: Identity, folder: pathlib.Path, team: str, scope: str) -> list[Object]:
    """As docs/rbac.md says: written by the playbook, applied by an administrator."""
    subject = {"subject": {"kind": "ServiceAccount", "namespace": identity.NAMESPACE, "name": identity.name}}
    target = folder / "rights.json"
    args = ["-e", f"team={team}", "-e", f"scope={scope}", "-e", f"dest={target}", "-e", json.dumps(subject)]
    sandbox.playbook("render_rights", *args, inventory=inventory.path).must()
    sandbox.kubectl("apply", "-f", str(target))
    return t.cast("list[Object]", json.loads(target.read_text())["items"])


def _remove(sandbox: Sandbox, manifests: list[Object]) -> None:
    sandbox.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))


@pytest.fixture(scope="module", params=_rights.SCOPES)
def life(request: pytest.FixtureRequest, sandbox: Sandbox, onboarded: Inventory, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Life]:
    """prepare, onboard, again, a changed group and objects deleted by hand, verify, rotate, an app removed and a smaller release, and away."""
    shape = str(request.param)
    folder = tmp_path_factory.mktemp(shape)
    name, short = f"team-r{shape[0]}", f"r{shape[0]}"
    space, shared = f"monitoring-{name}", f"e2e-shared-{short}"
    registration = Registration(sandbox, f"gateway-auth.sandbox.monitoring.{name}")
    inventory = onboarded.copy(folder)
    identity = Identity(sandbox, f"rights-{shape}", folder, role="")
    uid = sandbox.get("namespace", "kube-system")["metadata"]["uid"]
    with inventory.platform() as data:
        data["gateway_auth_service_namespaces"] = [shared]
        if shape == "namespaces":  # the admission policies are the whole cluster's
            data["gateway_auth_gateway"] = {**data.get("gateway_auth_gateway", {}), "admission_policy": False}
    with inventory.hosts() as data:
        data["teams"]["hosts"][name] = {}
    apps = [{"name": app, "service": {"name": "echo", "port": 8080, "namespace": shared}} for app in ("one", "two")]
    with inventory.team(name) as data:
        data["gateway_auth_allowed_groups"] = [{"id": "5f0c0c7e-0000-4000-8000-0000000000a1", "name": "team-a-developers"}]
        data["gateway_auth_apps"] = apps
    registration.purge()
    delete_namespaces(sandbox, space, shared)
    # Acting everywhere it makes the team's namespace itself.
    sandbox.apply(namespace(shared), *echo(shared), *([namespace(space)] if shape == "namespaces" else []))
    sandbox.kubectl("-n", shared, "rollout", "status", "deployment/echo", "--timeout=60s")
    with inventory.platform() as data:
        data["gateway_auth_cluster"]["uid"] = uid
    manifests = _rights_for(sandbox, inventory, identity, folder, short, shape)
    with inventory.platform() as data:
        data["gateway_auth_cluster"]["kubeconfig"] = str(identity.kubeconfig)
    audit = AuditLog(sandbox)
    since = audit.here()
    runs: dict[str, Run] = {}

    def play(what: str, playbook: str, *args: str) -> None:
        runs[what] = sandbox.playbook(playbook, "-e", f"team={short}", *args, inventory=inventory.path)
        assert runs[what].rc == 0, f"{shape}, {what}:\n{runs[what].output[-6000:]}"

    def alter(**variables: t.Any) -> None:
        with inventory.hosts() as data:
            data["teams"]["hosts"][name].update({f"gateway_auth_{key}": value for key, value in variables.items()})

    try:
        sandbox.kubectl("-n", GATEWAY, "delete", "clienttrafficpolicy/gateway-auth", "httproute/gateway-auth-https-redirect", "--ignore-not-found")
        play("prepare", "prepare_gateway")
        play("onboard", "onboard_team")
        play("again", "onboard_team")
        with inventory.team(name) as data:
            data["gateway_auth_apps"][0]["allowed_groups"] = [{"id": "5f0c0c7e-0000-4000-8000-0000000000a1", "name": "team-a-developers"}]
        sandbox.kubectl("-n", space, "delete", "serviceaccount,configmap,poddisruptionbudget,networkpolicy", "-l", f"gateway-auth/team={name}")
        play("a changed group, objects deleted by hand", "onboard_team")
        play("verify", "verify_team")
        play("rotate", "rotate_team", "-e", "rotate=cookie_secret")
        if shape == "namespaces":
            play("rotate the client secret", "rotate_team", "-e", "rotate=client_secret")
        # Helm removes the store, its Service and policy, and the PodDisruptionBudget.
        alter(replicas=1, session_store={"type": "cookie"})
        with inventory.team(name) as data:
            data["gateway_auth_apps"] = data["gateway_auth_apps"][:1]
        play("an app removed, a smaller release", "onboard_team")
        until = audit.here()
        living = audit.requests(since, identity.user)
        play("offboard", "offboard_team", "-e", f"confirm={name}")
        yield Life(shape, runs, living, audit.requests(until, identity.user), manifests, name)
    finally:
        sandbox.playbook("prepare_gateway", inventory=onboarded.path).must()
        _remove(sandbox, manifests)
        delete_namespaces(sandbox, space, shared, wait=False)
        registration.purge()


def test_a_team_s_life_with_exactly_these_rights(life: Life) -> None:
    """Each run did what it was for, so what follows is about more than reading."""
    changed = {}
    for what, run in life.runs.items():
        assert run.rc == 0
        recap = re.search(rf"^{life.team}\s+: ok=\d+\s+changed=(\d+)", run.output, re.MULTILINE)
        assert recap, run.output[-2000:]
        changed[what] = int(recap[1]) > 0
    print({what: round(run.seconds, 1) for what, run in life.runs.items()})
    assert {what for what, did in changed.items() if not did} == {"again", "verify"}


def test_it_is_refused_only_what_the_code_can_do_without(life: Life) -> None:
    refused = {(item.verb, item.group, item.resource, item.namespace) for item in life.requests if item.code == 403}
    expected = set()
    if life.shape == "namespaces":
        rows = [right for right in _rights.RIGHTS if right.place == _rights.CLUSTER and right.without]
        expected = {(verb, right.group, right.resource, "") for right in rows for verb in right.verbs}
        # Its inventory does without the admission policies; what is there of them is looked for all the same.
        spared = [right for right in _rights.RIGHTS if right.when == "admission"]
        expected |= {(verb, right.group, right.resource, place) for right in spared for verb in right.verbs for place in ("", GATEWAY)}
    assert refused - expected == set()
    # What is left is looked for in every kind that may be listed, which isn't known before.
    others = {(item.verb, item.group, item.resource, item.namespace) for item in life.leaving if item.code == 403 and item.verb != "list"}
    assert others - expected == set()
    if life.shape == "namespaces":
        assert refused, "the audit log tells refusals, and nothing cluster-wide was granted"


def _granted(manifests: list[Object]) -> set[tuple[str, str, str, str]]:
    """(namespace or "" for everywhere, group, resource, verb)"""
    return {
        (obj["metadata"].get("namespace", ""), group, resource, verb)
        for obj in manifests
        for rule in obj.get("rules", [])
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_no_right_is_superfluous(life: Life) -> None:
    """Each verb of each Role was used where it was granted, or its row says why no run shows it."""
    # Whatever wasn't refused needed the right, a question for something that isn't there included.
    requests = [*life.requests, *life.leaving]
    used = {(item.namespace, item.group, item.resource, item.verb) for item in requests if item.code != 403}
    # Server-side apply of what isn't there is a creation as well, and is authorized as both.
    used |= {(item.namespace, item.group, item.resource, "create") for item in requests if item.verb == "patch" and item.code == 201}
    anywhere = {(group, resource, verb) for _namespace, group, resource, verb in used}
    granted = _granted(life.manifests)
    assert len(granted) > 45
    rare = {(right.group, right.resource, verb) for right in _rights.RIGHTS if right.rare for verb in right.verbs}
    idle = [item for item in granted - used if item[1:] not in rare and not (item[0] == "" and item[1:] in anywhere)]
    assert sorted(idle) == []


def test_what_it_used_it_was_granted_by_name(life: Life) -> None:
    """Nothing came from a right that Kubernetes gives to everybody, but questions about itself."""
    rows = {(verb, right.group, right.resource) for right in _rights.RIGHTS for verb in right.verbs}
    used = {(item.verb, item.group, item.resource) for item in (*life.requests, *life.leaving) if item.code != 403 and item.resource != QUESTIONS}
    assert used - rows == set()


# --- one verb less ----------------------------------------------------------------------------------------------------------


LESS = "e2e-less"
LESS_SHARED = "e2e-less-shared"


@dataclasses.dataclass(frozen=True)
class Lack:
    """What one identity may not do."""

    namespace: str
    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} in {self.namespace}"


@dataclasses.dataclass(frozen=True)
class Poor:
    """An identity that lacks one verb."""

    user: str
    kubeconfig: pathlib.Path


def _less_model(kubeconfig: str, uid: str) -> Object:
    return model(
        {
            "stack": LESS,
            "environment": "sandbox-less",
            "domain": DOMAIN,
            "tenant_id": TENANT,
            "cluster": {"kubeconfig": kubeconfig, "uid": uid},
            "chart": {"ref": str(ROOT / "tests" / "charts" / "oauth2-proxy")},
            "registration": "managed",
            "client_secret": None,
            "apps": [
                {"name": "a", "hostname": f"a-less.{DOMAIN}", "service": {"name": "a", "port": 80, "namespace": f"{LESS}-team-a"}},
                {"name": "b", "hostname": f"b-less.{DOMAIN}", "service": {"name": "b", "port": 80, "namespace": LESS_SHARED}},
            ],
        }
    )


def _without(rules: list[Object], lack: Lack) -> list[Object]:
    """The same rules but for one verb on one resource."""
    left: list[Object] = []
    for rule in rules:
        if lack.group not in rule["apiGroups"] or lack.resource not in rule["resources"]:
            left.append(rule)
            continue
        rest = [resource for resource in rule["resources"] if resource != lack.resource]
        less = [verb for verb in rule["verbs"] if verb != lack.verb]
        assert len(less) == len(rule["verbs"]) - 1
        left += [{**rule, "resources": rest}] if rest else []
        left += [{**rule, "resources": [lack.resource], "verbs": less}] if less else []
    return left


def _lacks(team: Team, *phases: str) -> list[Lack]:
    found = {(need.namespace, need.right.group, need.right.resource, verb) for need in _rights.needs(team, phases) for verb in need.right.verbs}
    return [Lack(*item) for item in sorted(found) if item[0]]


def _rbac(kind: str, name: str, namespace: str, **content: t.Any) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": Identity.LABELS}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, **content}


def _bound(role: str, namespace: str, binding: str, subject: Object) -> Object:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}
    return _rbac("RoleBinding", binding, namespace, roleRef=reference, subjects=[subject])


@pytest.fixture(scope="module")
def poor(sandbox: Sandbox, onboarded: Inventory, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[dict[Lack, Poor]]:
    """An identity for each verb, without it; and the namespaces of a team of which nothing but its Services is there.

    Where an identity lacks nothing it holds the whole Role, as a member of the group of its ServiceAccount's namespace.
    """
    folder = tmp_path_factory.mktemp("poor")
    uid = sandbox.get("namespace", "kube-system")["metadata"]["uid"]
    team = Team.from_dict(_less_model("", uid))
    nobody = _rights.Subject("ServiceAccount", "nobody", "nowhere")
    whole = {obj["metadata"]["namespace"]: obj["rules"] for obj in _rights.rbac_manifests([team], nobody, scope="namespaces", optional=False) if "rules" in obj}
    homes = {place: f"{LESS}-of-{place}" for place in whole}
    lacks = {lack: f"less-{index}" for index, lack in enumerate(_lacks(team, *_rights.PHASES))}
    objects: list[Object] = [service("a", team.namespace, 80), service("b", LESS_SHARED, 80)]
    for place, rules in whole.items():
        objects.append(_rbac("Role", "e2e-whole", place, rules=rules))
        for home in (home for other, home in homes.items() if other != place):
            group = {"kind": "Group", "name": f"system:serviceaccounts:{home}", "apiGroup": "rbac.authorization.k8s.io"}
            objects.append(_bound("e2e-whole", place, f"e2e-{home}", group))
    for lack, name in lacks.items():
        home = homes[lack.namespace]
        objects += [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": home}},
            _rbac("Role", f"e2e-{name}", lack.namespace, rules=_without(whole[lack.namespace], lack)),
            _bound(f"e2e-{name}", lack.namespace, f"e2e-{name}", {"kind": "ServiceAccount", "name": name, "namespace": home}),
        ]
    spaces = (team.namespace, LESS_SHARED, *homes.values())
    delete_namespaces(sandbox, *spaces)
    sandbox.apply(*(namespace(name) for name in spaces))
    sandbox.apply(*objects)
    cluster = json.loads(sandbox.kubectl("config", "view", "--raw", "--minify", "-o", "json"))["clusters"][0]["cluster"]
    administrator = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(sandbox.env["KUBECONFIG"]))
    found = {}
    for lack, name in lacks.items():
        home = homes[lack.namespace]
        answer = administrator.create_namespaced_service_account_token(name, home, {"spec": {"expirationSeconds": 3600}})
        found[lack] = Poor(f"system:serviceaccount:{home}:{name}", folder / f"{name}.kubeconfig")
        write_kubeconfig(found[lack].kubeconfig, cluster, {"token": answer.status.token})
    yield found
    sandbox.kubectl("delete", "role,rolebinding", "--all-namespaces", "-l", IDENTITY)
    delete_namespaces(sandbox, *spaces, wait=False)


def _asked(identity: Poor, uid: str, phase: str) -> Object:
    chosen = _less_model(str(identity.kubeconfig), uid)
    given = {"models": {"team-a": chosen}}
    if phase == _rights.PREPARE:
        chosen["gateway"] = {**chosen["gateway"], "admission_policy": False}  # whose rights are the whole cluster's, so nobody's here
        # Another environment's objects are there: adopting them would be a write.
        return t.cast("Object", run_action(gateway_platform.ActionModule, {**given, "adopt": "all"})["teams"]["team-a"])
    return t.cast("Object", run_action(preflight.ActionModule, {**given, "phase": phase})["teams"]["team-a"])


@pytest.mark.parametrize("phase", [_rights.PREPARE, _rights.ONBOARD, _rights.ROTATE, _rights.OFFBOARD])
def test_with_one_verb_less_nothing_is_written_and_the_verb_is_named(
    sandbox: Sandbox, poor: dict[Lack, Poor], monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    monkeypatch.setenv("PATH", sandbox.env["PATH"])
    uid = sandbox.get("namespace", "kube-system")["metadata"]["uid"]
    lacks = _lacks(Team.from_dict(_less_model("", uid)), phase)
    audit = AuditLog(sandbox)
    since = audit.here()
    wrong = {}
    for lack in lacks:
        outcome = _asked(poor[lack], uid, phase)
        words = (lack.verb, lack.resource.partition("/")[0], lack.namespace)
        if not outcome["failed"] or not all(word in outcome["msg"] for word in words):
            wrong[str(lack)] = outcome["msg"]
    assert wrong == {}
    assert {str(lack): audit.writes(since, poor[lack].user) for lack in lacks if audit.writes(since, poor[lack].user)} == {}
    assert len(lacks) >= {_rights.PREPARE: 9, _rights.ONBOARD: 45, _rights.ROTATE: 9, _rights.OFFBOARD: 20}[phase], "every verb had its turn"


def test_who_may_not_make_namespaces_is_told_before_the_first_write(
    sandbox: Sandbox, onboarded: Inventory, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one right that only Roles in the whole cluster give."""
    monkeypatch.setenv("PATH", sandbox.env["PATH"])
    uid = sandbox.get("namespace", "kube-system")["metadata"]["uid"]
    identity = Identity(sandbox, "less-namespaces", tmp_path, role="")
    chosen = {**_less_model(str(identity.kubeconfig), uid), "stack": "e2e-nowhere"}
    chosen["apps"] = [app for app in chosen["apps"] if app["name"] == "b"]
    team = Team.from_dict(chosen)
    account = _rights.Subject("ServiceAccount", identity.name, identity.NAMESPACE)
    lack = Lack("", "", "namespaces", "create")
    manifests = _rights.rbac_manifests([team], account, scope="cluster", name="e2e-less-namespaces")
    manifests[0]["rules"] = _without(manifests[0]["rules"], lack)
    sandbox.apply(namespace(LESS_SHARED), service("b", LESS_SHARED, 80), *manifests)
    audit = AuditLog(sandbox)
    since = audit.here()
    try:
        outcome = run_action(preflight.ActionModule, {"models": {"team-a": chosen}})["teams"]["team-a"]
    finally:
        _remove(sandbox, manifests)
        delete_namespaces(sandbox, LESS_SHARED, wait=False)
    assert outcome["failed"]
    assert "in the whole cluster: create namespaces." in outcome["msg"] and team.namespace in outcome["msg"]
    assert audit.writes(since, identity.user) == []
