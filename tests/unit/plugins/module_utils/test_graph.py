# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Graph client against a scripted transport and a clock of its own; nothing here waits."""

from __future__ import annotations

import collections.abc
import itertools
import json
import threading
import traceback
import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _graph
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import (
    GraphAuthError,
    GraphConflictError,
    GraphError,
    GraphForbiddenError,
    GraphNotFoundError,
    GraphUncertainError,
    NotReadyError,
    TransportError,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph, key, literal
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import Clock, GraphEndpoint, Token
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import Response, Transport

ENDPOINT = GraphEndpoint.for_cloud("global")
BASE = "https://graph.microsoft.com/v1.0"
CANARY = "canary-5ecret"
APP = "/applications/0b1e0000-0000-4000-8000-000000000001"
OWNED = frozenset({"Application.ReadWrite.OwnedBy"})
LOST = TransportError("The connection was cut.", sent=True)
DOWN = TransportError("No connection.", sent=False)
NEVER = TransportError("The certificate isn't valid.", lasting=True)


def reply(status: int, document: object = None, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"" if document is None else json.dumps(document).encode())


def error(status: int, code: str = "Some_Code", message: str = "Some message.", inner: object = None, **headers: str) -> Response:
    return reply(
        status, {"error": {"code": code, "message": message, "innerError": inner or {"request-id": "a-request-id", "date": "2026-01-01T00:00:00"}}}, **headers
    )


MISSING = error(404, "Request_ResourceNotFound", "Resource does not exist.")


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


class Auth:
    """Hands out numbered tokens, or the errors it is given first."""

    title = "test identity"

    def __init__(
        self, *errors: GraphAuthError, roles: frozenset[str] = OWNED, principal_id: str = "our-principal", lifetime: float = 3600.0, delegated: bool = False
    ) -> None:
        self.errors = list(errors)
        self.given: list[Token] = []
        self._make: collections.abc.Callable[[float, int], Token] = lambda now, number: Token(
            f"{CANARY}-{number}", now + lifetime, roles, principal_id, delegated
        )

    def validate(self) -> None: ...

    def token(self, transport: Transport, clock: Clock) -> Token:
        if self.errors:
            raise self.errors.pop(0)
        self.given.append(self._make(clock(), len(self.given)))
        return self.given[-1]


class Service:
    """Plays its script, an answer or an error for each request; the last one for ever."""

    def __init__(self, *script: Response | Exception) -> None:
        self._script = list(script)
        self.requests: list[tuple[str, str, dict[str, str], t.Any]] = []

    def __call__(self, method: str, url: str, headers: dict[str, str], body: bytes | None, timeout: float, /) -> Response:
        self.requests.append((method, url, headers, None if body is None else json.loads(body)))
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Exception):
            raise step
        return step

    @property
    def sent(self) -> list[tuple[str, str]]:
        return [(method, url.removeprefix(BASE)) for method, url, _headers, _body in self.requests]


def graph(service: Service, auth: Auth | None = None, time: Time | None = None, **options: t.Any) -> Graph:
    time = time or Time()
    return Graph(ENDPOINT, auth or Auth(), service, sleep=time.sleep, clock=time, **options)


# Every verb that writes, with an answer it takes.
WRITES: dict[str, tuple[collections.abc.Callable[[Graph], object], Response]] = {
    "create": (lambda client: client.create("/applications", {"displayName": "x"}), reply(201, {"id": "1"})),
    "call": (lambda client: client.call(f"{APP}/addPassword", {}), reply(200, {"secretText": CANARY})),
    "upsert": (lambda client: client.upsert("/applications(uniqueName='x')", {"displayName": "x"}), reply(201, {"id": "1"})),
    "update": (lambda client: client.update(APP, {"displayName": "x"}), reply(204)),
    "add_reference": (lambda client: client.add_reference(f"{APP}/owners", "an-owner"), reply(204)),
    "delete": (lambda client: client.delete(APP), reply(204)),
}
ONCE = ("create", "call")
READS: dict[str, tuple[collections.abc.Callable[[Graph], object], Response]] = {
    "get": (lambda client: client.get(APP), reply(200, {"id": "1"})),
    "list": (lambda client: client.list("/applications"), reply(200, {"value": []})),
    "objects": (lambda client: client.objects(["1"]), reply(200, {"value": []})),
}
ALL = {**WRITES, **READS}


# --- what goes out, what comes back ----------------------------------------------------------------------------------


def test_every_request_carries_the_token_and_asks_for_json() -> None:
    service = Service(reply(200, {"id": "1"}))
    assert graph(service).get("/me") == {"id": "1"}
    method, url, headers, body = service.requests[0]
    assert (method, url, body) == ("GET", f"{BASE}/me", None)
    assert headers == {"Authorization": f"Bearer {CANARY}-0", "Accept": "application/json"}


@pytest.mark.parametrize(
    ("run", "response", "request_", "result"),
    [
        pytest.param(lambda g: g.get(APP), MISSING, ("GET", APP, None), None, id="get what isn't there"),
        pytest.param(lambda g: g.create("/applications", {"a": 1}), reply(201, {"id": "1"}), ("POST", "/applications", {"a": 1}), {"id": "1"}, id="create"),
        pytest.param(
            lambda g: g.call(f"{APP}/removePassword", {"keyId": "k"}),
            reply(204),
            ("POST", f"{APP}/removePassword", {"keyId": "k"}),
            {},
            id="an action without an answer",
        ),
        pytest.param(
            lambda g: g.call("/directory/deletedItems/1/restore"),
            reply(200, {"id": "1"}),
            ("POST", "/directory/deletedItems/1/restore", {}),
            {"id": "1"},
            id="an action without a body",
        ),
        pytest.param(lambda g: g.upsert(APP, {"a": 1}), reply(201, {"id": "1"}), ("PATCH", APP, {"a": 1}), {"id": "1"}, id="upsert of something new"),
        pytest.param(lambda g: g.upsert(APP, {"a": 1}), reply(204), ("PATCH", APP, {"a": 1}), None, id="upsert of what was there"),
        pytest.param(lambda g: g.update(APP, {"a": 1}), reply(204), ("PATCH", APP, {"a": 1}), None, id="update"),
        pytest.param(
            lambda g: g.add_reference(f"{APP}/owners", "o1"),
            reply(204),
            ("POST", f"{APP}/owners/$ref", {"@odata.id": f"{BASE}/directoryObjects/o1"}),
            True,
            id="a new reference",
        ),
        pytest.param(
            lambda g: g.add_reference(f"{APP}/owners/$ref", "o1"),
            error(400, "Request_BadRequest", "One or more added object references already exist for the following modified properties: 'owners'."),
            ("POST", f"{APP}/owners/$ref", {"@odata.id": f"{BASE}/directoryObjects/o1"}),
            False,
            id="a reference that was there",
        ),
        pytest.param(
            lambda g: g.delete(f"{APP}/owners/o1/$ref"),
            error(400, "Request_BadRequest", "One or more removed object references do not exist for the following modified properties: 'owners'."),
            ("DELETE", f"{APP}/owners/o1/$ref", None),
            False,
            id="delete a reference that isn't there",
        ),
        pytest.param(lambda g: g.delete(APP), reply(204), ("DELETE", APP, None), True, id="delete"),
        pytest.param(lambda g: g.delete(APP), MISSING, ("DELETE", APP, None), False, id="delete what isn't there"),
    ],
)
def test_verbs(run: collections.abc.Callable[[Graph], object], response: Response, request_: tuple[str, str, object], result: object) -> None:
    service = Service(response)
    assert run(graph(service)) == result
    assert [(method, url.removeprefix(BASE), body) for method, url, _headers, body in service.requests] == [request_]


def test_only_upsert_asks_to_create() -> None:
    service = Service(reply(204))
    client = graph(service)
    client.upsert(APP, {})
    client.update(APP, {})
    assert [headers.get("Prefer") for _method, _url, headers, _body in service.requests] == ["create-if-missing", None]


def test_queries_are_encoded_and_eventual_ones_counted() -> None:
    service = Service(reply(200, {"value": []}))
    client = graph(service)
    client.list("/applications", {"$filter": f"tags/any(t:t eq {literal('a&b=c + o´')})", "$select": "id,appId"}, eventual=True)
    client.list("/applications", {"$count": "false"}, eventual=True)
    assert service.sent[0][1] == "/applications?$filter=tags/any(t%3At%20eq%20'a%26b%3Dc%20%2B%20o%C2%B4')&$select=id,appId&$count=true".replace(
        "tags/any", "tags%2Fany"
    )
    assert service.sent[1][1] == "/applications?$count=false"
    assert {headers.get("ConsistencyLevel") for _method, _url, headers, _body in service.requests} == {"eventual"}


@pytest.mark.parametrize(
    ("value", "in_path", "in_filter"),
    [
        pytest.param("prod-weu.monitoring.team-a", "'prod-weu.monitoring.team-a'", "'prod-weu.monitoring.team-a'", id="plain"),
        pytest.param("o'neil", "'o''neil'", "'o''neil'", id="quote"),
        pytest.param("a/b?c#d", "'a%2Fb%3Fc%23d'", "'a/b?c#d'", id="separators"),
        pytest.param("50% ü", "'50%25%20%C3%BC'", "'50% ü'", id="percent and umlaut"),
        pytest.param("", "''", "''", id="empty"),
    ],
)
def test_literals(value: str, in_path: str, in_filter: str) -> None:
    assert key(value) == in_path
    assert literal(value) == in_filter


# --- pages -----------------------------------------------------------------------------------------------------------


def test_all_pages_are_read() -> None:
    service = Service(
        reply(200, {"value": [{"id": "1"}], "@odata.nextLink": f"{BASE}/applications?$skiptoken=a"}),
        reply(200, {"value": [{"id": "2"}], "@odata.nextLink": f"{BASE}/applications?$skiptoken=b"}),
        reply(200, {"value": [{"id": "3"}]}),
    )
    assert [item["id"] for item in graph(service).list("/applications", eventual=True)] == ["1", "2", "3"]
    assert service.sent[1] == ("GET", "/applications?$skiptoken=a")
    assert all(headers["ConsistencyLevel"] == "eventual" for _method, _url, headers, _body in service.requests)


@pytest.mark.parametrize(
    "link",
    [
        pytest.param("https://evil.example/v1.0/applications", id="another host"),
        pytest.param("https://graph.microsoft.com.evil.example/", id="a host that begins alike"),
        pytest.param("http://graph.microsoft.com/v1.0/applications", id="clear text"),
        pytest.param(f"{BASE}/applications", id="the same page"),
    ],
)
def test_a_next_page_elsewhere_is_not_followed(link: str) -> None:
    service = Service(reply(200, {"value": [], "@odata.nextLink": link}))
    with pytest.raises(GraphError, match="next page"):
        graph(service).list("/applications")
    assert len(service.requests) == 1


def test_pages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_graph, "PAGES", 3)
    number = itertools.count()

    def endless(*_request: object) -> Response:
        return reply(200, {"value": [], "@odata.nextLink": f"{BASE}/applications?$skiptoken={next(number)}"})

    with pytest.raises(GraphError, match="after 3 pages"):
        Graph(ENDPOINT, Auth(), endless).list("/applications")


def test_objects_are_looked_up_in_chunks_and_spelled_as_asked() -> None:
    ids = [f"{number:032X}" for number in range(2001)]

    def directory(_method: str, _url: str, _headers: dict[str, str], body: bytes | None, _timeout: float, /) -> Response:
        asked = json.loads(body or b"")
        assert len(asked["ids"]) <= 1000
        assert asked["types"] == ["group", "user"]
        return reply(200, {"value": [{"id": given, "displayName": "x"} for given in asked["ids"] if not given.endswith("7")]})

    found = Graph(ENDPOINT, Auth(), directory).objects(ids, ("group", "user"))
    assert set(found) == {given for given in ids if not given.endswith("7")}


def test_an_id_in_two_spellings_is_found_by_both() -> None:
    service = Service(reply(200, {"value": [{"id": "ab"}]}))
    assert graph(service).objects(["AB", "ab", "Ab"]) == {"AB": {"id": "ab"}, "ab": {"id": "ab"}, "Ab": {"id": "ab"}}
    assert service.requests[0][3]["ids"] == ["ab"]


def test_no_ids_ask_nobody() -> None:
    service = Service(reply(500))
    assert graph(service).objects([]) == {}
    assert not service.requests


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, GraphError),
        (401, GraphError),
        (403, GraphForbiddenError),
        (404, GraphNotFoundError),
        (409, GraphConflictError),
        (412, GraphConflictError),
        (501, GraphError),
    ],
)
def test_an_error_quotes_what_graph_said(status: int, kind: type[GraphError]) -> None:
    service = Service(error(status, "Request_Whatever", "Property 'web' is invalid."))
    with pytest.raises(GraphError) as caught:
        graph(service).update(APP, {}, "change the app registration of team-a")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (status, "Request_Whatever", "a-request-id")
    for part in ("change the app registration of team-a", f"PATCH {APP}", str(status), "204", "Request_Whatever", "Property 'web' is invalid", "a-request-id"):
        assert part in caught.value.message


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        pytest.param(
            400, "The appId 'x' of the service principal does not reference a valid application object.", GraphNotFoundError, id="application not replicated"
        ),
        pytest.param(
            403,
            "When using this permission, the backing application of the service principal being created must in the local tenant",
            GraphNotFoundError,
            id="the same, for OwnedBy",
        ),
        pytest.param(
            400,
            "Resource 'x' does not exist or one of its queried reference-property objects are not present.",
            GraphNotFoundError,
            id="reference not replicated",
        ),
        pytest.param(400, "Permission being assigned already exists on the object", GraphConflictError, id="assignment there"),
        pytest.param(400, "Another object with the same value for property uniqueName already exists.", GraphConflictError, id="key taken"),
        pytest.param(
            400,
            "A conflicting object with one or more of the specified property values is present in the directory.",
            GraphConflictError,
            id="conflicting object",
        ),
    ],
)
def test_statuses_that_mean_another(status: int, text: str, kind: type[GraphError]) -> None:
    with pytest.raises(GraphError) as caught:
        graph(Service(error(status, "Request_BadRequest", text))).create("/servicePrincipals", {})
    assert type(caught.value) is kind
    assert caught.value.status == status


def test_what_is_optional_and_the_sentence_still_one() -> None:
    with pytest.raises(GraphError) as caught:
        graph(Service(error(403, "Authorization_RequestDenied"))).call(f"{APP}/addPassword")
    assert caught.value.message.startswith(f"Expected HTTP 200 for POST {APP}/addPassword, got 403 Authorization_RequestDenied: ")
    assert "Application.ReadWrite.OwnedBy" in caught.value.remedy


def test_inner_codes_and_the_header_s_request_id_are_quoted() -> None:
    inner = {"code": "Inner_Code", "innererror": {"code": "Deepest_Code"}}
    service = Service(reply(400, {"error": {"code": "BadRequest", "message": "m", "innererror": inner}}, request_id="of-the-header"))
    with pytest.raises(GraphError, match="BadRequest/Inner_Code/Deepest_Code") as caught:
        graph(service).update(APP, {})
    assert caught.value.request_id == "of-the-header"


@pytest.mark.parametrize("status", [400, 403, 404, 500])
@pytest.mark.parametrize("body", [b"<html>blocked</html>", b"", b"[]", b'{"error": "odd"}', b"\xff"])
def test_what_is_not_graph_s_answer_is_said_to_be_so(status: int, body: bytes) -> None:
    time = Time()
    with pytest.raises(GraphError, match=f"got {status}") as caught:
        graph(Service(Response(status, {}, body)), time=time).get(APP)
    assert not isinstance(caught.value, GraphNotFoundError)  # a proxy's 404 must not read as: create it


@pytest.mark.parametrize("verb", [verb for verb in ALL if verb not in ("update", "delete", "add_reference", "upsert")])
def test_success_without_a_document_is_an_error(verb: str) -> None:
    run, good = ALL[verb]
    with pytest.raises(GraphError) as caught:
        run(graph(Service(Response(good.status, {}, b"<html>" + CANARY.encode()))))
    assert isinstance(caught.value, GraphUncertainError) is (verb in ONCE)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("verb", ["update", "delete", "add_reference", "upsert"])
@pytest.mark.parametrize("body", [b"<html>log in to the proxy</html>", b"[]", b'{"id": "trunc', b'"ok"', b'{"error": {"code": "x", "message": "y"}}'])
def test_a_page_in_the_place_of_a_write_s_answer_is_an_error(verb: str, body: bytes) -> None:
    """Graph answers these 204, or with an object; a proxy's login page comes with 200."""
    run, _good = ALL[verb]
    with pytest.raises(GraphError):
        run(graph(Service(Response(200, {}, body))))


@pytest.mark.parametrize("verb", ["update", "delete", "upsert"])
@pytest.mark.parametrize("body", [b"", b'{"id": "1"}'])
def test_a_write_answered_200_is_done(verb: str, body: bytes) -> None:
    run, _good = ALL[verb]
    run(graph(Service(Response(200, {}, body))))


@pytest.mark.parametrize("document", [{}, {"status": "ok"}, {"value": None}, {"value": {"id": "1"}}, {"error": {"code": "x", "message": "y"}}], ids=str)
@pytest.mark.parametrize("verb", ["list", "objects"])
def test_a_list_without_its_value_is_not_an_empty_one(verb: str, document: object) -> None:
    """Read as empty, nothing would be deleted, nobody would own it, and no namesake would be there."""
    run, _good = ALL[verb]
    with pytest.raises(GraphError):
        run(graph(Service(reply(200, document))))


def test_a_token_that_is_echoed_late_is_not_cut_in_half() -> None:
    time, auth = Time(), Auth()
    token = auth.token(Service(MISSING), time).value
    for padding in range(380, 400):
        with pytest.raises(GraphError) as caught:
            graph(Service(error(400, message="x" * padding + Auth().token(Service(MISSING), time).value)), time=time).get(APP)
        assert token[:6] not in str(caught.value), padding


@pytest.mark.parametrize(
    ("code", "word"),
    [("CredentialTypeNotAllowedAsPerAppPolicy", "policy"), ("CredentialInvalidLifetimeAsPerAppPolicy", "policy"), ("Directory_QuotaExceeded", "quota")],
)
def test_known_codes_have_their_remedy(code: str, word: str) -> None:
    with pytest.raises(GraphError) as caught:
        graph(Service(error(403, code))).call(f"{APP}/addPassword")
    assert word in caught.value.remedy


# --- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roles", "words", "absent"),
    [
        pytest.param(frozenset(), ["Application.ReadWrite.OwnedBy", "admin consent", "own the application"], "object id", id="nothing granted"),
        pytest.param(OWNED, ["must own the application", "object id our-principal", "Application.ReadWrite.All"], "admin consent", id="granted, not owner"),
        pytest.param(frozenset({"Application.ReadWrite.All"}), ["Application.ReadWrite.All", "policy"], "object id", id="granted for all"),
    ],
)
def test_a_refusal_tells_permission_from_ownership(roles: frozenset[str], words: list[str], absent: str) -> None:
    with pytest.raises(GraphForbiddenError) as caught:
        graph(Service(error(403)), Auth(roles=roles)).delete(APP)
    for word in words:
        assert word in caught.value.remedy
    assert absent not in caught.value.remedy


def test_a_refusal_of_a_user_or_of_an_opaque_token() -> None:
    with pytest.raises(GraphForbiddenError, match="signed-in user"):
        graph(Service(error(403)), Auth(delegated=True)).delete(APP)
    with pytest.raises(GraphForbiddenError, match=r"Application\.ReadWrite\.OwnedBy and must own"):
        graph(Service(error(403)), Auth(roles=frozenset(), principal_id="")).delete(APP)


def test_a_refusal_of_something_unknown_is_no_crash() -> None:
    with pytest.raises(GraphForbiddenError, match="lacks a permission"):
        graph(Service(error(403))).get("/whatever")


# --- repetition ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ALL)
@pytest.mark.parametrize(
    ("trouble", "repeated"),
    [
        pytest.param(error(429), "always", id="429"),
        pytest.param(error(503), "always", id="503"),
        pytest.param(DOWN, "always", id="not sent"),
        pytest.param(error(504), "harmless", id="504"),
        pytest.param(error(502), "harmless", id="502"),
        pytest.param(LOST, "harmless", id="lost"),
        pytest.param(error(500), "reads", id="500"),
        pytest.param(error(400), "never", id="400"),
        pytest.param(error(409), "never", id="409"),
        pytest.param(NEVER, "never", id="lasting"),
    ],
)
def test_what_is_repeated(verb: str, trouble: Response | Exception, repeated: str) -> None:
    run, good = ALL[verb]
    service, time = Service(trouble, good), Time()
    again = {"always": True, "harmless": verb not in ONCE, "reads": verb in ("get", "list"), "never": False}[repeated]
    if again:
        run(graph(service, time=time))
        assert len(service.requests) == 2
        assert len(time.sleeps) == 1
        return
    with pytest.raises(GraphError) as caught:
        run(graph(service, time=time))
    assert len(service.requests) == 1
    assert not time.sleeps
    assert isinstance(caught.value, GraphUncertainError) is (repeated in ("harmless", "reads") and verb in ONCE)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        pytest.param({"retry_after": "7"}, 7.0, id="seconds"),
        pytest.param({"retry_after": "Thu, 01 Jan 2026 00:00:09 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 9.0, id="a date, by the server's clock"),
        pytest.param({"retry_after": "Thu, 01 Jan 2026 00:00:00 GMT", "date": "Thu, 01 Jan 2026 00:00:05 GMT"}, 0.2, id="a date gone by"),
        pytest.param({"retry_after": "0"}, 0.2, id="at once, but not in a busy loop"),
    ],
)
def test_retry_after_is_honoured(headers: dict[str, str], pause: float) -> None:
    time = Time()
    graph(Service(error(429, **headers), reply(204)), time=time).update(APP, {})
    assert time.sleeps == [pause]


@pytest.mark.parametrize("headers", [{}, {"retry_after": "soon"}, {"retry_after": "Thu, 01 Jan 2026 00:00:09 GMT"}, {"retry_after": "-3"}])
def test_without_a_usable_retry_after_pauses_grow(headers: dict[str, str]) -> None:
    time = Time()
    graph(Service(*[error(503, **headers)] * 4, reply(204)), time=time).update(APP, {})
    assert len(time.sleeps) == 4
    for number, pause in enumerate(time.sleeps):
        assert 0.25 * 2**number <= pause <= 0.5 * 2**number


def test_patience_bounds_everything() -> None:
    time = Time()
    with pytest.raises(GraphError, match=r"429 .*Given up after \d+ attempts") as caught:
        graph(Service(error(429)), time=time, patience=30.0).get(APP)
    assert time.now - 1000.0 <= 30.0
    assert "throttling" in caught.value.remedy


def test_a_longer_wait_than_patience_allows_is_not_begun() -> None:
    time = Time()
    with pytest.raises(GraphError, match="Retry-After asks for 300 s"):
        graph(Service(error(429, retry_after="300")), time=time).get(APP)
    assert not time.sleeps


def test_a_host_that_cannot_be_reached_is_not_tried_for_long() -> None:
    service = Service(DOWN)
    with pytest.raises(GraphError, match="No connection"):
        graph(service).get(APP)
    assert len(service.requests) == _graph.CONNECT_ATTEMPTS


def test_a_deletion_whose_answer_was_lost_counts_as_ours() -> None:
    assert graph(Service(LOST, MISSING)).delete(APP) is True
    assert graph(Service(DOWN, MISSING)).delete(APP) is False


def test_an_uncertain_creation_says_so() -> None:
    with pytest.raises(GraphUncertainError) as caught:
        graph(Service(LOST)).call(f"{APP}/addPassword", {}, "add a client secret to team-a")
    assert "add a client secret to team-a" in caught.value.message
    assert "may have been carried out" in caught.value.remedy


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_one_token_serves_until_five_minutes_before_its_end() -> None:
    auth, time, service = Auth(), Time(), Service(reply(200, {"id": "1"}))
    client = graph(service, auth, time)
    for moment, number in [(0, 1), (3299, 1), (3301, 2), (3301 + 3299, 2), (3301 + 3301, 3)]:
        time.now = 1000.0 + moment
        client.get(APP)
        assert len(auth.given) == number


def test_a_short_token_is_used_for_half_its_life() -> None:
    auth, time = Auth(lifetime=200.0), Time()
    client = graph(Service(reply(200, {"id": "1"})), auth, time)
    for moment, number in [(0, 1), (99, 1), (101, 2)]:
        time.now = 1000.0 + moment
        client.get(APP)
        assert len(auth.given) == number


def test_a_refused_token_is_renewed_once() -> None:
    auth, service = Auth(), Service(error(401, "InvalidAuthenticationToken"), reply(200, {"id": "1"}))
    assert graph(service, auth).get(APP) == {"id": "1"}
    assert [headers["Authorization"] for _method, _url, headers, _body in service.requests] == [f"Bearer {CANARY}-0", f"Bearer {CANARY}-1"]


@pytest.mark.parametrize("verb", ALL)
def test_a_token_refused_twice_is_an_error(verb: str) -> None:
    service = Service(error(401, "InvalidAuthenticationToken"))
    with pytest.raises(GraphError, match="401 InvalidAuthenticationToken"):
        ALL[verb][0](graph(service))
    assert len(service.requests) == 2


def test_threads_share_one_token() -> None:
    class SlowAuth(Auth):
        def token(self, transport: Transport, clock: Clock) -> Token:
            threading.Event().wait(0.05)
            return super().token(transport, clock)

    auth, service = SlowAuth(), Service(reply(200, {"id": "1"}))
    client = graph(service, auth)
    threads = [threading.Thread(target=client.get, args=(APP,)) for _number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(service.requests) == 16
    assert len(auth.given) == 1


def test_the_token_endpoint_s_troubles_are_waited_for() -> None:
    time = Time()
    auth = Auth(GraphAuthError("busy", retry_after=3.0), GraphAuthError("lost", retry_after=0.0))
    assert graph(Service(reply(200, {"id": "1"})), auth, time).get(APP) == {"id": "1"}
    assert time.sleeps[0] == 3.0
    assert 0 < time.sleeps[1] <= 1.0


def test_the_token_endpoint_s_refusal_is_final() -> None:
    time = Time()
    with pytest.raises(GraphAuthError, match="AADSTS7000215"):
        graph(Service(reply(200)), Auth(GraphAuthError("AADSTS7000215")), time).get(APP)
    assert not time.sleeps


def test_who_we_are() -> None:
    client = graph(Service(reply(500)))
    assert (client.identity, client.roles, client.principal_id) == ("test identity", OWNED, "our-principal")


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_until_gives_what_the_probe_found() -> None:
    time, service = Time(), Service(MISSING, MISSING, reply(200, {"id": "1"}))
    client = graph(service, time=time)
    assert client.until(lambda: client.get(APP), "the app registration to be readable") == {"id": "1"}
    assert time.sleeps == sorted(time.sleeps)


def test_until_takes_a_missing_parent_for_not_yet() -> None:
    service = Service(MISSING, reply(200, {"value": []}))
    client = graph(service)
    assert client.until(lambda: client.list(f"{APP}/owners"), "the owners to be readable") == []


def test_until_is_bounded_and_says_what_it_saw() -> None:
    time = Time()
    client = graph(Service(MISSING), time=time, patience=20.0)
    with pytest.raises(NotReadyError) as caught:
        client.until(lambda: client.get(APP), "the app registration of team-a to be readable")
    assert time.now - 1000.0 <= 20.0
    for part in ("the app registration of team-a to be readable", "20 s", f"GET {APP}", "404 Request_ResourceNotFound"):
        assert part in caught.value.message


def test_until_passes_other_errors_on() -> None:
    client = graph(Service(error(403)))
    with pytest.raises(GraphForbiddenError):
        client.until(lambda: client.get(APP), "x")


def test_until_of_a_probe_that_asks_nobody() -> None:
    with pytest.raises(NotReadyError, match="last seen: nothing"):
        graph(Service(reply(500))).until(lambda: None, "x")


# --- reading only ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", WRITES)
def test_a_client_that_only_reads_refuses_to_write(verb: str) -> None:
    service = Service(reply(500))
    with pytest.raises(AssertionError):
        WRITES[verb][0](graph(service, read_only=True))
    assert not service.requests


@pytest.mark.parametrize("verb", READS)
def test_a_client_that_only_reads_reads(verb: str) -> None:
    run, good = READS[verb]
    run(graph(Service(good), read_only=True))


# --- secrets ---------------------------------------------------------------------------------------------------------


def echo(status: int) -> Transport:
    """A service (or a proxy before it) that quotes the token it was sent."""
    return lambda _method, _url, headers, _body, _timeout, /: error(status, message=f"You sent {headers['Authorization']}.")


@pytest.mark.parametrize("verb", ALL)
@pytest.mark.parametrize("trouble", [400, 401, 403, 404, 409, 429, 500, 503, 504, LOST, DOWN, NEVER], ids=str)
def test_canary(verb: str, trouble: int | Exception) -> None:
    time = Time()
    transport = echo(trouble) if isinstance(trouble, int) else Service(trouble)
    client = Graph(ENDPOINT, Auth(), transport, sleep=time.sleep, clock=time)
    shown = repr(client)
    try:
        # With what is last seen while waiting, where that isn't an error.
        client.until(lambda: ALL[verb][0](client) or None, "x")
    except (GraphError, NotReadyError) as exc:
        shown += "".join(traceback.format_exception(exc)) + repr(exc)
        assert exc.__context__ is exc.__cause__
    else:
        pytest.fail("expected an error")
    assert CANARY not in shown + repr(client._token)
