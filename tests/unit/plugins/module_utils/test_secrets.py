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
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ClusterError, ForeignObjectError, SecretError
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
