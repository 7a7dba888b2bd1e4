# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is generated, what is kept, what is refused, and that no value is ever told."""

from __future__ import annotations

import base64
import pathlib
import string
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _secrets
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal, decode, encode
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ClusterError, ForeignObjectError, SecretError, UnresolvedError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.golden import team
from tests.unit.support.api import Api

Object = dict[str, t.Any]
PROXY, STORE, NAMESPACE = "oauth2-proxy-team-a", "oauth2-proxy-redis-team-a", "monitoring-team-a"
GIVEN = "the~client~secret~of~team~a"
GOOD_COOKIE = base64.urlsafe_b64encode(bytes(range(200, 232))).decode()


@pytest.fixture(autouse=True)
def _client_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_A_CLIENT_SECRET", GIVEN)


def _secret(name: str, labels: Object | None = None, **data: str) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": team().owner_labels() if labels is None else labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": {key: encode(value) for key, value in data.items()}}


def _complete(**changes: str) -> Object:
    data = {"client-id": team().client_id, "client-secret": GIVEN, "cookie-secret": GOOD_COOKIE}
    return _secret(PROXY, **{**data, **{key.replace("_", "-"): value for key, value in changes.items()}})


def _ensure(kube: Kube, given: Team | None = None, *, check: bool = False, value: str | None = None, adopt: t.Collection[str] = ()) -> Journal:
    chosen = given or team()
    journal = Journal(kube, check=check, adopt=adopt)
    _secrets.ensure_namespace(chosen, journal)
    _secrets.ensure_secrets(chosen, journal, lambda: value)
    return journal


def _from(kind: str, name: str = "", key: str = "", **more: t.Any) -> Team:
    return team({"client_secret": {"kind": kind, "name": name, "key": key}, **more})


def _value(api: Api, name: str, key: str) -> str:
    value = decode(api.the("Secret", name), key)
    assert value is not None
    return value


# --- generators --------------------------------------------------------------------------------------------------------------


def test_cookie_secrets_are_32_bytes_that_oauth2_proxy_decodes() -> None:
    made = {_secrets.new_cookie_secret() for _unused in range(50)}
    assert len(made) == 50
    for value in made:
        assert len(base64.urlsafe_b64decode(value)) == 32
        assert not set(value) & set("+/ \n")


def test_passwords_need_no_quoting() -> None:
    made = {_secrets.new_password() for _unused in range(50)}
    assert len(made) == 50
    assert all(len(value) >= 32 and set(value) <= set(string.ascii_letters + string.digits) for value in made)


# --- the namespace -------------------------------------------------------------------------------------------------------------


def test_a_namespace_that_is_not_there_is_made_and_marked(api: Api, kube: Kube) -> None:
    del api.objects[("namespaces", "", NAMESPACE)]
    journal = Journal(kube, check=False)
    assert _secrets.ensure_namespace(team(), journal)
    assert [change["action"] for change in journal.listing()] == ["create"]
    assert team().owner_labels().items() <= api.the("Namespace", NAMESPACE)["metadata"]["labels"].items()


def test_one_that_exists_is_used_as_it_is(api: Api, kube: Kube) -> None:
    journal = Journal(kube, check=False)
    assert _secrets.ensure_namespace(team(), journal)
    assert not journal.changed and not api.writes


def test_check_mode_of_a_first_onboarding_predicts_all_of_it(api: Api, kube: Kube) -> None:
    del api.objects[("namespaces", "", NAMESPACE)]
    api.read_only = True
    journal = _ensure(kube, check=True)
    assert [change["object"] for change in journal.listing()] == [
        f"Namespace {NAMESPACE}",
        f"Secret {NAMESPACE}/{PROXY}",
        f"Secret {NAMESPACE}/{STORE}",
    ]


# --- both Secrets --------------------------------------------------------------------------------------------------------------


def test_sequence(api: Api, kube: Kube) -> None:
    api.read_only = True
    assert [change["action"] for change in _ensure(kube, check=True).listing()] == ["create", "create"]
    api.read_only = False

    journal = _ensure(kube)
    assert api.trace == [f"POST Secret {PROXY}", f"POST Secret {STORE}"]
    assert {key: _value(api, PROXY, key) for key in ("client-id", "client-secret")} == {"client-id": team().client_id, "client-secret": GIVEN}
    assert len(base64.urlsafe_b64decode(_value(api, PROXY, "cookie-secret"))) == 32
    assert api.the("Secret", PROXY)["metadata"]["labels"] == team().owner_labels()
    assert {reason for change in journal.listing() for reason in change["reasons"]} == {
        "set client-id",
        "set client-secret",
        "generate cookie-secret",
        "generate redis-password",
    }

    kept = {name: api.the("Secret", name)["data"] for name in (PROXY, STORE)}
    api.forget()
    again = _ensure(kube)
    assert not again.changed and not any(request.writes for request in api.journal)
    assert kept == {name: api.the("Secret", name)["data"] for name in (PROXY, STORE)}


def test_check_mode_foretells_what_a_live_run_shows(api: Api, kube: Kube) -> None:
    predicted = _ensure(kube, check=True)
    written = _ensure(kube)
    assert len(predicted.diff()) == len(written.diff()) == 2
    assert predicted.listing() == written.listing()


def test_a_new_client_secret_replaces_the_old_and_nothing_else(api: Api, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    _ensure(kube)
    cookie, password = _value(api, PROXY, "cookie-secret"), _value(api, STORE, "redis-password")
    monkeypatch.setenv("TEAM_A_CLIENT_SECRET", "another")
    assert [change["reasons"] for change in _ensure(kube).listing()] == [["change key client-secret"]]
    assert _value(api, PROXY, "client-secret") == "another"
    assert (_value(api, PROXY, "cookie-secret"), _value(api, STORE, "redis-password")) == (cookie, password)


@pytest.mark.parametrize(("name", "key"), [(PROXY, "cookie-secret"), (PROXY, "client-id"), (PROXY, "client-secret"), (STORE, "redis-password")])
def test_a_missing_key_is_completed_and_the_others_kept(api: Api, kube: Kube, name: str, key: str) -> None:
    _ensure(kube)
    before = dict(api.the("Secret", name)["data"])
    api.edit("Secret", name, lambda obj: obj["data"].pop(key))
    assert [change["reasons"] for change in _ensure(kube).listing()] == [[f"set key {key}"]]
    after = api.the("Secret", name)["data"]
    assert {k: v for k, v in after.items() if k != key} == {k: v for k, v in before.items() if k != key}
    assert after[key]


def test_somebody_s_own_key_stays(api: Api, kube: Kube) -> None:
    _ensure(kube)
    api.edit("Secret", PROXY, lambda obj: obj["data"].update(theirs=encode("x")))
    assert not _ensure(kube).changed
    assert _value(api, PROXY, "theirs") == "x"


def test_without_a_source_the_stored_client_secret_is_kept(api: Api, kube: Kube) -> None:
    api.seed(_complete(), _secret(STORE, redis_password="x"))
    api.the("Secret", STORE)["data"] = {"redis-password": encode("p")}
    assert not _ensure(kube, team({"client_secret": None})).changed


def test_without_a_source_or_a_stored_one_the_options_are_named(api: Api, kube: Kube) -> None:
    with pytest.raises(SecretError) as error:
        _ensure(kube, team({"client_secret": None}))
    assert "client-secret" in error.value.message and "gateway_auth_client_secret" in error.value.remedy
    assert not api.writes


def test_a_federated_credential_needs_no_client_secret(api: Api, kube: Kube) -> None:
    _ensure(kube, team({"credential": "federated", "client_secret": None}))
    assert set(api.the("Secret", PROXY)["data"]) == {"client-id", "cookie-secret"}


@pytest.mark.parametrize(
    "store",
    [
        pytest.param({"type": "cookie"}, id="cookie"),
        pytest.param({"type": "external", "url": "rediss://x:6380", "secret": {"name": "theirs", "key": "password"}}, id="external"),
    ],
)
def test_a_store_that_is_not_ours_has_no_secret_of_ours(api: Api, kube: Kube, store: Object) -> None:
    _ensure(kube, team({"session_store": store}))
    assert api.names("Secret") == {PROXY}


# --- whose they are -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [True, False], ids=["check mode", "live"])
def test_a_secret_that_is_not_ours_is_left_alone(api: Api, kube: Kube, check: bool) -> None:
    theirs = _complete()
    theirs["metadata"]["labels"] = {"app": "something"}
    api.seed(theirs)
    with pytest.raises(ForeignObjectError, match=PROXY):
        _ensure(kube, check=check)
    assert not any(request.writes for request in api.journal)


def test_adoption_keeps_what_the_guide_s_reader_stored(api: Api, kube: Kube) -> None:
    theirs = _complete()
    theirs["metadata"]["labels"] = {}
    api.seed(theirs)
    journal = _ensure(kube, adopt=["all"])
    assert journal.listing()[0]["action"] == "adopt"
    assert _value(api, PROXY, "cookie-secret") == GOOD_COOKIE
    assert team().owner_labels().items() <= api.the("Secret", PROXY)["metadata"]["labels"].items()


def test_of_two_runs_at_once_one_loses_and_overwrites_nothing(api: Api, kube: Kube) -> None:
    api.before_write.append(lambda request: api.seed(_complete()) if request.method == "POST" and not api.names("Secret") else None)
    with pytest.raises(SecretError) as error:
        _ensure(kube)
    assert "again" in error.value.remedy
    assert _value(api, PROXY, "cookie-secret") == GOOD_COOKIE
    api.before_write.clear()
    _ensure(kube)
    assert _value(api, PROXY, "cookie-secret") == GOOD_COOKIE


@pytest.mark.parametrize("answer_only", [False, True], ids=["not written", "written, answer lost"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_any_write_may_be_the_last(api: Api, kube: Kube, after: int, answer_only: bool) -> None:
    del api.objects[("namespaces", "", NAMESPACE)]
    api.lose_connection_after(after, answer_only=answer_only)
    with pytest.raises(ClusterError):
        _ensure(kube)
    api.mend()
    cookie = decode(api.find("Secret", PROXY), "cookie-secret")
    _ensure(kube)
    assert api.names("Secret") == {PROXY, STORE}
    if cookie is not None:
        assert _value(api, PROXY, "cookie-secret") == cookie, "never generated twice"
    assert not _ensure(kube).changed


# --- somebody else's Secret as the source ---------------------------------------------------------------------------------------


def test_a_secret_that_somebody_manages_is_only_read(api: Api, kube: Kube) -> None:
    theirs = _complete()
    theirs["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "external-secrets"}
    api.seed(theirs)
    _ensure(kube, _from("secret", PROXY, "client-secret"))
    assert api.trace == [f"POST Secret {STORE}"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"client_secret": ""}, ["client-secret"], id="empty client secret"),
        pytest.param({"cookie_secret": ""}, ["cookie-secret"], id="empty cookie secret"),
        pytest.param({"client_id": ""}, ["client-id"], id="empty client id"),
        pytest.param({"client_secret": f"{GIVEN}\n"}, ["client-secret", "newline"], id="client secret with a newline"),
        pytest.param({"client_id": "a b"}, ["client-id", "white space"], id="client id with a blank"),
        pytest.param({"cookie_secret": "short"}, ["cookie-secret", "32"], id="cookie secret of the wrong size"),
    ],
)
def test_theirs_must_be_complete_and_right(api: Api, kube: Kube, changes: dict[str, str], words: list[str]) -> None:
    api.seed(_complete(**changes))
    with pytest.raises(SecretError) as error:
        _ensure(kube, _from("secret", PROXY, "client-secret"))
    assert all(word in str(error.value) for word in words)
    assert GIVEN not in str(error.value)
    assert not api.writes


def test_theirs_must_be_there(api: Api, kube: Kube) -> None:
    with pytest.raises(SecretError, match="client-id, client-secret, cookie-secret"):
        _ensure(kube, _from("secret", PROXY, "client-secret"))


# --- the four sources -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["env", "file", "secret", "value"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["bare", "newline", "CRLF"])
def test_each_source(api: Api, kube: Kube, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kind: str, end: str) -> None:
    monkeypatch.setenv("ELSEWHERE", GIVEN + end)
    (tmp_path / "secret").write_bytes((GIVEN + end).encode())
    api.seed(_secret("theirs", {}, value=GIVEN + end))
    names = {"env": "ELSEWHERE", "file": str(tmp_path / "secret"), "secret": "theirs", "value": ""}
    _ensure(kube, _from(kind, names[kind], "value"), value=GIVEN + end)
    assert _value(api, PROXY, "client-secret") == GIVEN


@pytest.mark.parametrize(
    ("kind", "name", "content", "words"),
    [
        pytest.param("env", "NOT_SET_ANYWHERE", None, ["NOT_SET_ANYWHERE", "gateway_auth_client_secret.env"], id="variable not set"),
        pytest.param("env", "SET", "", ["SET", "empty"], id="variable empty"),
        pytest.param("env", "SET", "hush hush", ["SET", "white space"], id="blank within"),
        pytest.param("env", "SET", "hush\n\n", ["SET", "newline"], id="two newlines"),
        pytest.param("env", "SET", "hush\u200b", ["SET", "unprintable"], id="invisible character"),
        pytest.param("file", "FILE", None, ["FILE", "gateway_auth_client_secret.file"], id="no such file"),
        pytest.param("file", "FILE", "", ["FILE", "empty"], id="empty file"),
        pytest.param("file", "FILE", b"\xff\xfe", ["FILE", "UTF-8"], id="file that is no text"),
        pytest.param("secret", "theirs", None, ["theirs", "key", "gateway_auth_client_secret.secret"], id="no such Secret"),
        pytest.param("secret", "theirs", " hush", ["theirs", "white space"], id="Secret with a blank"),
        pytest.param("value", "", None, ["gateway_auth_client_secret.value", "empty"], id="no value"),
        pytest.param("value", "", "hush\t", ["gateway_auth_client_secret.value", "white space"], id="value with a tab"),
    ],
)
def test_a_source_that_does_not_give_one(
    api: Api, kube: Kube, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str, content: str | bytes | None, words: list[str]
) -> None:
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    monkeypatch.setenv("SET", content if kind == "env" and isinstance(content, str) else "x")
    path = tmp_path / "FILE"
    if kind == "file" and content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if kind == "secret" and content is not None:
        api.seed(_secret("theirs", {}, key=str(content)))
    chosen = _from(kind, str(path) if kind == "file" else name, "key")
    with pytest.raises(SecretError) as error:
        _ensure(kube, chosen, value=content if kind == "value" and isinstance(content, str) else None)
    assert all(word in str(error.value) for word in words)
    assert error.value.remedy
    assert "hush" not in str(error.value)
    assert PROXY not in api.names("Secret"), "nothing half-made"


def test_the_vaulted_value_is_asked_for_only_when_it_is_the_source(api: Api, kube: Kube) -> None:
    def refuse() -> str | None:
        raise AssertionError("the vault was opened for nothing")

    journal = Journal(kube, check=False)
    _secrets.ensure_secrets(team(), journal, refuse)
    assert journal.changed


# --- what is stored already -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "good"),
    [
        pytest.param(GOOD_COOKIE, True, id="32 bytes, URL-safe"),
        pytest.param(GOOD_COOKIE.rstrip("="), True, id="without padding"),
        pytest.param(base64.urlsafe_b64encode(bytes(24)).decode(), True, id="24 bytes"),
        pytest.param(base64.urlsafe_b64encode(bytes(16)).decode(), True, id="16 bytes"),
        pytest.param("x!" * 16, True, id="32 raw characters"),
        pytest.param(f"{GOOD_COOKIE}\n", False, id="the guide's trailing newline"),
        pytest.param(base64.b64encode(b"\xfb\xff" * 16).decode(), False, id="standard base64 with + and /"),
        pytest.param(f"!!{GOOD_COOKIE}", False, id="characters that Python's decoder skips"),
        pytest.param(base64.urlsafe_b64encode(bytes(33)).decode(), False, id="33 bytes"),
        pytest.param("short", False, id="too short"),
        pytest.param("", False, id="empty"),
    ],
)
def test_a_stored_cookie_secret(api: Api, kube: Kube, value: str, good: bool) -> None:
    api.seed(_complete(cookie_secret=value))
    if good:
        _ensure(kube)
        assert _value(api, PROXY, "cookie-secret") == value
        return
    with pytest.raises(SecretError) as error:
        _ensure(kube)
    assert "cookie-secret" in error.value.message and PROXY in error.value.remedy
    assert not value or value.strip() not in str(error.value)
    assert not api.writes


@pytest.mark.parametrize("value", ["", "p\n", " p", "p "], ids=repr)
def test_a_stored_store_password_that_can_not_work(api: Api, kube: Kube, value: str) -> None:
    stored = _secret(STORE)
    stored["data"] = {"redis-password": encode(value)}
    api.seed(_complete(), stored)
    with pytest.raises(SecretError) as error:
        _ensure(kube)
    assert "redis-password" in error.value.message and STORE in error.value.remedy


# --- keys of a credential that has a phase of its own ------------------------------------------------------------------------------


def _managed(**more: t.Any) -> Team:
    return team({"registration": "managed", "client_secret": None, **more})


def _credential_s(kube: Kube, api: Api, **values: str) -> None:
    """What the credential's phase puts there, as it does: by a guarded patch."""
    operations = [{"op": "add", "path": f"/data/{key.replace('_', '-')}", "value": encode(value)} for key, value in values.items()]
    kube.patch(api.the("Secret", PROXY), operations)


def test_the_credential_s_keys_are_left_to_its_phase(api: Api, kube: Kube) -> None:
    first = _ensure(kube, _managed())
    assert "client-secret" not in api.the("Secret", PROXY)["data"]
    assert "generate client-secret" not in str(first.listing())
    _credential_s(kube, api, client_secret="added", client_secret_next="added next")
    for given in (_managed(), _managed(credential="federated")):
        api.forget()
        assert not _ensure(kube, given).changed and not api.writes
    assert (_value(api, PROXY, "client-secret"), _value(api, PROXY, "client-secret-next")) == ("added", "added next")


@pytest.mark.parametrize("after", [{"registration": "managed"}, {"registration": "managed", "credential": "federated"}, {"credential": "federated"}], ids=str)
def test_a_client_secret_that_we_applied_stays_until_it_is_superseded(api: Api, kube: Kube, after: Object) -> None:
    """From a source in the inventory to a credential of ours: pods that start in between find what they need."""
    _ensure(kube, team())
    api.edit("Secret", PROXY, lambda obj: obj["data"].update({"client-secret": "bm8="}))
    _ensure(kube, team())  # ours again, by an apply
    assert _secrets.applied(api.the("Secret", PROXY), "client-secret")
    api.edit("Secret", PROXY, lambda obj: obj["data"].update({"client-id": "bm8="}))  # so that there is something to apply
    assert _ensure(kube, team({"client_secret": None, **after})).changed
    assert _value(api, PROXY, "client-secret") == GIVEN
    assert not _ensure(kube, team({"client_secret": None, **after})).changed


def _owned(manager: str, operation: str, *keys: str, **data: str) -> Object:
    fields = {"f:data": {f"f:{key}": {} for key in keys}}
    return {"metadata": {"managedFields": [{"manager": manager, "operation": operation, "fieldsV1": fields}]}, "data": data}


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        pytest.param(None, False, id="nothing there"),
        pytest.param({"metadata": {}}, False, id="nobody's"),
        pytest.param(_owned("gateway-auth", "Apply", "k", k=encode("v")), True, id="applied"),
        pytest.param(_owned("gateway-auth", "Apply", "other", k=encode("v")), False, id="another key"),
        pytest.param(_owned("gateway-auth", "Update", "k", k=encode("v")), False, id="patched"),
        pytest.param(_owned("kubectl", "Apply", "k", k=encode("v")), False, id="applied by somebody else"),
        pytest.param(_owned("gateway-auth", "Apply", "k"), False, id="without a value"),
        pytest.param({"metadata": {"managedFields": [{"manager": "gateway-auth", "operation": "Apply"}]}, "data": {"k": ""}}, False, id="no fields"),
    ],
)
def test_what_our_apply_owns(live: Object | None, expected: bool) -> None:
    assert _secrets.applied(live, "k") is expected


def test_a_client_id_that_is_not_known_yet(api: Api, kube: Kube) -> None:
    given = _managed(client_id="")
    with pytest.raises(UnresolvedError) as refused:
        _ensure(kube, given)
    assert "entra_app" in str(refused.value) and not api.names("Secret")
    api.read_only = True
    assert [change["action"] for change in _ensure(kube, given, check=True).listing()] == ["create", "create"]


# --- groups that the inventory only names -----------------------------------------------------------------------------------------


def test_ids_of_named_groups_are_remembered(api: Api, kube: Kube) -> None:
    named = _managed(allowed_groups=[{"id": "", "name": "b"}, {"id": "", "name": "a"}]).resolved("", {"a": "1", "b": "2"})
    _ensure(kube, named)
    assert _secrets.remembered_groups(api.the("Secret", PROXY)) == {"a": "1", "b": "2"}
    assert not _ensure(kube, named).changed
    named = _managed(allowed_groups=[{"id": "", "name": "b"}, {"id": "", "name": "a"}]).resolved("", {"a": "1", "b": "3"})
    assert _ensure(kube, named).changed
    _secrets.rotate(named, Journal(kube, check=False), "cookie_secret")
    assert _secrets.remembered_groups(api.the("Secret", PROXY)) == {"a": "1", "b": "3"}
    assert not _ensure(kube, named).changed


def test_ids_that_no_name_needs_any_more_are_forgotten(api: Api, kube: Kube) -> None:
    """The inventory names an id for a while, then the name alone again: by then it may be another group's."""
    named = _managed(allowed_groups=[{"id": "", "name": "a"}]).resolved("", {"a": "1"})
    _ensure(kube, named)
    assert _ensure(kube, _managed()).changed
    assert _secrets.remembered_groups(api.the("Secret", PROXY)) == {}
    assert not _ensure(kube, _managed()).changed


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", '"a"', "7"])
def test_an_annotation_that_is_not_ours_remembers_nothing(text: str | None) -> None:
    assert _secrets.remembered_groups({"metadata": {"annotations": {} if text is None else {_secrets.GROUPS: text}}}) == {}
    assert _secrets.remembered_groups(None) == {} == _secrets.remembered_groups({"metadata": {"annotations": None}})


# --- rotation ---------------------------------------------------------------------------------------------------------------------------

ROTATED = {"cookie_secret": (PROXY, "cookie-secret"), "redis_password": (STORE, "redis-password")}


@pytest.mark.parametrize("what", ROTATED)
@pytest.mark.parametrize("given", [team(), _managed()], ids=["given secret", "secret of ours"])
def test_one_key_is_made_anew_and_nothing_else(api: Api, kube: Kube, what: str, given: Team) -> None:
    _ensure(kube, given)
    if given.makes_secret:
        _credential_s(kube, api, client_secret="added")
        kube.patch(api.the("Secret", PROXY), [{"op": "add", "path": "/metadata/annotations", "value": {"gateway-auth/credential": "{}"}}])
    before = {name: (dict(api.the("Secret", name)["data"]), api.the("Secret", name)["metadata"].get("annotations")) for name in (PROXY, STORE)}
    name, key = ROTATED[what]

    api.read_only = True
    foretold = Journal(kube, check=True)
    _secrets.rotate(given, foretold, what)
    api.read_only = False
    journal = Journal(kube, check=False)
    api.forget()
    _secrets.rotate(given, journal, what)
    assert journal.listing() == foretold.listing() and api.trace == [f"PATCH Secret {name}"]
    [change] = journal.listing()
    assert key in change["reasons"][0] and "log" in change["reasons"][0], "what it costs is told"

    for each in (PROXY, STORE):
        data, annotations = before[each]
        after = api.the("Secret", each)
        assert {item for item in data if data[item] != after["data"][item]} == ({key} if each == name else set())
        assert set(after["data"]) == set(data) and after["metadata"].get("annotations") == annotations
    assert decode(api.the("Secret", name), key) not in str(journal.diff()) + str(journal.listing())
    assert not _ensure(kube, given).changed, "a later run keeps it"
    assert not given.makes_secret or not _secrets.applied(api.the("Secret", PROXY), "client-secret"), "the credential's phase goes on owning its key"
    _secrets.rotate(given, Journal(kube, check=False), what)
    assert api.the("Secret", name)["data"][key] != before[name][0][key]


@pytest.mark.parametrize(
    ("given", "what", "seeded", "words"),
    [
        pytest.param(_from("secret", PROXY, "client-secret"), "cookie_secret", True, ["somebody else", "cookie-secret"], id="somebody else's Secret"),
        pytest.param(team({"session_store": {"type": "cookie"}}), "redis_password", True, ["cookie", "no session store"], id="no store"),
        pytest.param(team({"session_store": {"type": "external", "url": "rediss://x"}}), "redis_password", True, ["external"], id="a store that is not ours"),
        pytest.param(team(), "cookie_secret", False, ["Onboard"], id="not onboarded"),
        pytest.param(team(), "redis_password", False, ["Onboard"], id="not onboarded, store"),
    ],
)
def test_what_can_not_be_rotated(api: Api, kube: Kube, given: Team, what: str, seeded: bool, words: list[str]) -> None:
    if seeded:
        api.seed(_complete(), _secret(STORE, **{"redis-password": "x" * 32}))
    with pytest.raises(SecretError) as refused:
        _secrets.rotate(given, Journal(kube, check=False), what)
    assert not [word for word in words if word not in str(refused.value)] and not api.writes


def test_a_secret_that_is_not_ours_is_rotated_only_when_adopted(api: Api, kube: Kube) -> None:
    api.seed({**_complete(), "metadata": {"name": PROXY, "namespace": NAMESPACE}})
    with pytest.raises(ForeignObjectError):
        _secrets.rotate(team(), Journal(kube, check=False), "cookie_secret")
    journal = Journal(kube, check=False, adopt=[f"Secret/{PROXY}"])
    _secrets.rotate(team(), journal, "cookie_secret")
    assert journal.listing()[0]["reasons"][0].startswith("take over") and _value(api, PROXY, "cookie-secret") != GOOD_COOKIE
    assert _value(api, PROXY, "client-secret") == GIVEN
