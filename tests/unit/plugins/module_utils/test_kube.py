# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verbs, over HTTP, and what a user reads when the API says no."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import socket
import ssl
import tempfile
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ClusterError, ForbiddenError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import DeniedError, Kube, NamespaceMissing, connect, describe
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import app_route, security_policy
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import ClusterRef
from tests.golden import team
from tests.sandbox.pki import kubeconfig as write_kubeconfig
from tests.sandbox.pki import new_authority
from tests.unit.support.api import KINDS, Api, Refusal, Request, Server, live

Object = dict[str, t.Any]
TEAM = team()
NAMESPACE = TEAM.namespace
POLICY = security_policy(TEAM, TEAM.apps[0])
ROUTE = app_route(TEAM, TEAM.apps[0])


def _secret(name: str = "s", namespace: str = NAMESPACE, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "type": "Opaque", "data": data}


def _get_secret(kube: Kube, name: str = "s") -> Object:
    found = kube.get("v1", "Secret", name, NAMESPACE)
    assert found is not None
    return found


# --- reading ---------------------------------------------------------------------------------------------------------------


def test_get(api: Api, kube: Kube) -> None:
    api.seed(_secret(a="YQ=="))
    assert _get_secret(kube)["data"] == {"a": "YQ=="}
    assert kube.get("v1", "Secret", "other", NAMESPACE) is None
    assert kube.get("v1", "Secret", "s", "nowhere") is None


@pytest.mark.parametrize(("version", "plural"), KINDS, ids=lambda value: value)
def test_each_kind_is_found_at_its_path(api: Api, kube: Kube, version: str, plural: str) -> None:
    kind, namespaced = KINDS[(version, plural)]
    metadata = {"name": "x", "namespace": NAMESPACE} if namespaced else {"name": "x"}
    api.seed({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": {}})
    found = kube.get(version, kind, "x", metadata.get("namespace", ""))
    assert found is not None and found["kind"] == kind
    assert [item["metadata"]["name"] for item in kube.list(version, kind, metadata.get("namespace", "")) if item["metadata"]["name"] == "x"] == ["x"]


def test_a_kind_that_is_not_served_is_empty(api: Api, kube: Kube) -> None:
    api.unserved = {"securitypolicies"}
    assert kube.list("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", NAMESPACE) == []
    assert kube.get("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", "x", NAMESPACE) is None


@pytest.mark.parametrize(
    ("namespace", "labels", "names"),
    [
        pytest.param(NAMESPACE, None, {"a", "b"}, id="a namespace"),
        pytest.param("", None, {"a", "b", "c"}, id="all namespaces"),
        pytest.param("", {"team": "a"}, {"a", "c"}, id="by label"),
        pytest.param(NAMESPACE, {"team": "a", "app": "x/y"}, {"a"}, id="by labels"),
        pytest.param("nowhere", None, set(), id="a namespace that isn't there"),
    ],
)
def test_list(api: Api, kube: Kube, namespace: str, labels: dict[str, str] | None, names: set[str]) -> None:
    api.namespaces("other")
    for name, place, marks in (("a", NAMESPACE, {"team": "a", "app": "x/y"}), ("b", NAMESPACE, {}), ("c", "other", {"team": "a"})):
        secret = _secret(name, place)
        secret["metadata"]["labels"] = marks
        api.seed(secret)
    found = kube.list("v1", "Secret", namespace, labels)
    assert {item["metadata"]["name"] for item in found} == names
    assert all((item["apiVersion"], item["kind"]) == ("v1", "Secret") for item in found)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param({"container": "proxy"}, "now", id="present"),
        pytest.param({"container": "proxy", "previous": True}, "before", id="previous"),
        pytest.param({"container": "other"}, "", id="none yet"),
    ],
)
def test_logs(api: Api, kube: Kube, arguments: dict[str, t.Any], text: str) -> None:
    api.logs = {("p", "proxy", False): "now", ("p", "proxy", True): "before"}
    assert kube.logs(NAMESPACE, "p", **arguments) == text


def test_permissions_are_asked_not_tried(api: Api, kube: Kube) -> None:
    api.denied = {("create", "namespaces"), ("patch", "httproutes")}
    assert not kube.allowed("create", "v1", "Namespace")
    assert not kube.allowed("patch", "gateway.networking.k8s.io/v1", "HTTPRoute", NAMESPACE)
    assert kube.allowed("create", "v1", "Secret", NAMESPACE)
    asked = [request.body["spec"]["resourceAttributes"] for request in api.journal]
    assert {"verb": "create", "resource": "namespaces"} in asked
    assert {"verb": "patch", "group": "gateway.networking.k8s.io", "resource": "httproutes", "namespace": NAMESPACE} in asked
    assert not api.writes


# --- writing ---------------------------------------------------------------------------------------------------------------


def test_apply_creates_then_changes_then_leaves(api: Api, kube: Kube) -> None:
    created = kube.apply(POLICY)
    assert created["metadata"]["uid"]
    again = kube.apply(POLICY)
    assert again["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    changed = kube.apply({**POLICY, "spec": {**POLICY["spec"], "extAuth": {**POLICY["spec"]["extAuth"], "timeout": "9s"}}})
    assert changed["metadata"]["generation"] == created["metadata"]["generation"] + 1
    assert api.the("SecurityPolicy", POLICY["metadata"]["name"])["spec"]["extAuth"]["timeout"] == "9s"


def test_apply_takes_fields_over(api: Api, kube: Kube) -> None:
    api.seed(live("policy_opened"))
    assert kube.apply(POLICY)["spec"]["extAuth"]["failOpen"] is False


def test_dry_runs_store_nothing(api: Api, kube: Kube) -> None:
    api.seed(_secret(a="YQ=="))
    secret = _get_secret(kube)
    api.read_only = True
    assert kube.apply(POLICY, dry_run=True)["spec"]["targetRefs"] == POLICY["spec"]["targetRefs"]
    assert kube.delete(secret, dry_run=True)
    assert not api.writes
    assert api.names("Secret") == {"s"} and not api.names("SecurityPolicy")


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", "for real"])
def test_a_namespace_that_is_not_there_is_told_apart(api: Api, kube: Kube, dry_run: bool) -> None:
    with pytest.raises(NamespaceMissing, match="nowhere"):
        kube.apply(_secret(namespace="nowhere"), dry_run=dry_run)


def test_create_tells_who_was_first(api: Api, kube: Kube) -> None:
    assert kube.create(_secret(a="YQ==")) is not None
    assert kube.create(_secret(a="Yg==")) is None
    assert _get_secret(kube)["data"] == {"a": "YQ=="}


def test_patch_removes(api: Api, kube: Kube) -> None:
    api.seed(live("policy_opened"))
    found = kube.get(POLICY["apiVersion"], POLICY["kind"], POLICY["metadata"]["name"], NAMESPACE)
    assert found is not None
    after = kube.patch(found, [{"op": "remove", "path": "/spec/extAuth/recomputeRoute"}])
    assert "recomputeRoute" not in after["spec"]["extAuth"]


def test_patch_of_what_changed_meanwhile_is_refused(api: Api, kube: Kube) -> None:
    api.seed(live("policy_opened"))
    found = kube.get(POLICY["apiVersion"], POLICY["kind"], POLICY["metadata"]["name"], NAMESPACE)
    assert found is not None
    api.edit("SecurityPolicy", POLICY["metadata"]["name"], lambda obj: obj["spec"]["extAuth"].update(timeout="9s"))
    with pytest.raises(ClusterError):
        kube.patch(found, [{"op": "remove", "path": "/spec/extAuth/recomputeRoute"}])
    assert api.the("SecurityPolicy", POLICY["metadata"]["name"])["spec"]["extAuth"]["recomputeRoute"] is True


@pytest.mark.parametrize("annotations", [None, {"their": "own"}], ids=["the first", "one more"])
def test_annotate_is_of_exactly_that_object(api: Api, kube: Kube, annotations: dict[str, str] | None) -> None:
    def secret() -> Object:
        meta = {"name": "s", "namespace": NAMESPACE, **({"annotations": annotations} if annotations else {})}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {}}

    api.seed(secret())
    first = _get_secret(kube)
    api.edit("Secret", "s", lambda obj: obj["metadata"].update(labels={"changed": "meanwhile"}))
    assert kube.annotate(first, "example.com/a~b", "x")
    assert api.the("Secret", "s")["metadata"]["annotations"] == {**(annotations or {}), "example.com/a~b": "x"}
    api.seed(secret())
    assert not kube.annotate(first, "k", "x"), "another of the same name"
    assert kube.delete(_get_secret(kube))
    assert not kube.annotate(first, "k", "x"), "gone"


@pytest.mark.parametrize("status", [403, 422], ids=["Forbidden", "Invalid"])
def test_what_an_admission_policy_refuses_is_no_missing_right(api: Api, kube: Kube, status: int) -> None:
    text = "configmaps \"c\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: host x belongs to team-b. Use another."

    def refuse(_request: t.Any) -> None:
        raise Refusal(status, text, "Forbidden")

    api.before_write.append(refuse)
    with pytest.raises(DeniedError) as error:
        kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": NAMESPACE}})
    assert "host x belongs to team-b. Use another." in str(error.value)
    assert "Grant" not in str(error.value)


def test_delete_is_of_exactly_that_object(api: Api, kube: Kube) -> None:
    api.seed(_secret())
    first = _get_secret(kube)
    assert kube.delete(first)
    assert not kube.delete(first)
    api.seed(_secret())
    assert not kube.delete(first), "another of the same name"
    assert api.names("Secret") == {"s"}


# --- errors ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "call"),
    [
        pytest.param("get", lambda kube: kube.get("v1", "Secret", "s", NAMESPACE), id="get"),
        pytest.param("list", lambda kube: kube.list("v1", "Secret", NAMESPACE), id="list"),
    ],
)
def test_a_refused_verb_is_named(api: Api, kube: Kube, verb: str, call: t.Callable[[Kube], t.Any]) -> None:
    api.forbidden = {"secrets"}
    with pytest.raises(ForbiddenError) as error:
        call(kube)
    assert verb in error.value.message and "secrets" in error.value.message
    assert error.value.remedy


def test_bad_credentials(api: Api, kube: Kube) -> None:
    api.unauthorized = True
    with pytest.raises(ClusterError) as error:
        kube.get("v1", "Secret", "s", NAMESPACE)
    assert not isinstance(error.value, ForbiddenError)
    assert "401" in error.value.message and "gateway_auth_cluster" in error.value.remedy


def test_a_lost_connection(api: Api, kube: Kube) -> None:
    api.lose_connection_after(0)
    with pytest.raises(ClusterError) as error:
        kube.apply(POLICY)
    assert describe(POLICY) in error.value.message
    assert kube.where in error.value.message
    api.mend()
    assert kube.apply(POLICY)


def test_an_answer_of_another_status_is_told(api: Api, kube: Kube) -> None:
    def refuse(request: Request) -> None:
        raise Refusal(422, 'HTTPRoute "prometheus-team-a" is invalid: spec.rules: too many')

    api.before_write.append(refuse)
    with pytest.raises(ClusterError, match=r"422.*too many"):
        kube.apply(ROUTE)


# --- connecting ------------------------------------------------------------------------------------------------------------


def test_one_connection_for_each_cluster(api: Api, kubeconfig: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        connections = list(pool.map(lambda _unused: connect(ClusterRef(kubeconfig)), range(16)))
    assert len({id(kube) for kube in connections}) == 1
    assert connect(ClusterRef(kubeconfig, context="unit")) is not connections[0]


def test_threads_do_not_mix_answers(api: Api, kube: Kube) -> None:
    names = [f"s{number}" for number in range(40)]
    api.seed(*(_secret(name) for name in names))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda name: _get_secret(kube, name)["metadata"]["name"], names))
    assert found == names


def test_the_right_cluster(api: Api, kubeconfig: str) -> None:
    uid = api.the("Namespace", "kube-system")["metadata"]["uid"]
    assert connect(ClusterRef(kubeconfig, uid=uid)).get("v1", "Namespace", NAMESPACE)


@pytest.mark.parametrize("there", [True, False], ids=["another UID", "no kube-system"])
def test_the_wrong_cluster_stops_before_anything_is_read(api: Api, kubeconfig: str, there: bool) -> None:
    if not there:
        del api.objects[("namespaces", "", "kube-system")]
    with pytest.raises(ClusterError) as error:
        connect(ClusterRef(kubeconfig, uid="99999999-1111-4111-8111-000000000000"))
    assert "99999999" in error.value.message and "gateway_auth_cluster.uid" in error.value.message
    assert api.asked == ["GET Namespace kube-system"]


@pytest.mark.parametrize(
    ("content", "context"),
    [
        pytest.param(None, "", id="no such file"),
        pytest.param("", "", id="empty"),
        pytest.param("{", "", id="no YAML"),
        pytest.param("[]", "", id="a list"),
        pytest.param(json.dumps({"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}), "", id="nothing in it"),
        pytest.param("valid", "nope", id="no such context"),
    ],
)
def test_a_kubeconfig_that_can_not_be_used(api: Api, kubeconfig: str, tmp_path: pathlib.Path, content: str | None, context: str) -> None:
    path = pathlib.Path(kubeconfig) if content == "valid" else tmp_path / "other"
    if content not in (None, "valid"):
        path.write_text(str(content), encoding="utf-8")
    with pytest.raises(ClusterError) as error:
        connect(ClusterRef(str(path), context=context))
    assert str(path) in error.value.message and context in error.value.message
    assert "gateway_auth_cluster" in error.value.remedy


def test_nobody_listens(api: Api, kubeconfig: str, tmp_path: pathlib.Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = json.loads(pathlib.Path(kubeconfig).read_text(encoding="utf-8"))
    config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{port}"
    path = tmp_path / "closed"
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ClusterError) as error:
        connect(ClusterRef(str(path)))
    assert str(path) in error.value.message
    assert "gateway_auth_cluster" in error.value.remedy


def test_what_is_missing_beside_ansible_is_named(api: Api, kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kube, "IMPORT_ERROR", ImportError("No module named 'kubernetes'"))
    with pytest.raises(ClusterError) as error:
        connect(ClusterRef(kubeconfig))
    assert "kubernetes" in error.value.message and "requirements.txt" in error.value.remedy


def test_the_key_of_a_kubeconfig_is_in_no_file_of_ours(api: Api, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = new_authority("unit")
    for name, content in zip(("ca", "crt", "key"), (authority.pem, *authority.issue("api", names=["127.0.0.1"])), strict=True):
        (tmp_path / name).write_bytes(content)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca"))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    server = Server(tls)
    server.api = api
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_bytes(write_kubeconfig(authority, "somebody", None, server.url))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    try:
        kube = connect(ClusterRef(str(kubeconfig)))
        left = [path.name for path in (tmp_path / "tmp").iterdir() if not path.name.startswith("k8srcp-")]  # what was discovered
        assert left == []
        with concurrent.futures.ThreadPoolExecutor(8) as pool:  # each with a connection of its own
            assert all(pool.map(lambda _unused: kube.get("v1", "Namespace", NAMESPACE), range(8)))
    finally:
        server.close()


# --- names -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "kind", "expected"),
    [
        pytest.param("v1", "Secret", ("", "secrets"), id="core"),
        pytest.param("apps/v1", "Deployment", ("apps", "deployments"), id="group"),
        pytest.param("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", ("gateway.envoyproxy.io", "securitypolicies"), id="CRD"),
    ],
)
def test_resource_of(version: str, kind: str, expected: tuple[str, str]) -> None:
    assert _kube.resource_of(version, kind) == expected


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        pytest.param(ROUTE, "HTTPRoute monitoring-team-a/prometheus-team-a", id="namespaced"),
        pytest.param({"kind": "Namespace", "metadata": {"name": "n"}}, "Namespace n", id="cluster-wide"),
    ],
)
def test_describe(obj: Object, text: str) -> None:
    assert describe(obj) == text
