# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Microsoft Graph as the phases need it: a few verbs on plain dicts, bounded repetition, and errors a user can act on.

Paths are Graph's without the version (``/applications(uniqueName='…')``); bodies and answers are JSON objects. Every method
raises GraphError or one of its kinds, GraphAuthError when no token can be had.

What is repeated, all within ``patience``: 429 and 503 always (the request wasn't carried out), 502, 504 and a lost answer
when repeating does no harm, 500 for a GET (https://learn.microsoft.com/graph/errors, https://learn.microsoft.com/graph/throttling).
A POST that may have been carried out is never repeated: GraphUncertainError.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import random
import threading
import time
import typing as t
import urllib.parse

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
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import (
    AuthMethod,
    GraphEndpoint,
    Token,
    blot,
    parse_object,
    retry_after,
    shorten,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import Response, Transport

Object = dict[str, t.Any]
Objects = list[Object]
Query = collections.abc.Mapping[str, str]
T = t.TypeVar("T")

VERSION = "/v1.0"
TIMEOUT_S = 30.0
RENEW_BEFORE_S = 300.0
PAGES = 1000
CONNECT_ATTEMPTS = 3  # a name that doesn't resolve won't a minute later either
IDS_PER_CALL = 1000  # https://learn.microsoft.com/graph/api/directoryobject-getbyids
GET_BY_IDS = "/directoryObjects/getByIds"


def key(value: str) -> str:
    """A string as OData has it in a path, percent-encoded: ``key("o'neil")`` is ``'o''neil'``."""
    return "'" + urllib.parse.quote(value.replace("'", "''"), safe="'") + "'"


def literal(value: str) -> str:
    """A string as OData has it in a ``$filter``; the client encodes queries itself."""
    return "'" + value.replace("'", "''") + "'"


# --- the client ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class _Answer:
    status: int
    document: Object
    # An earlier attempt got no answer, so it may have done what was asked.
    repeated: bool = False


class Graph:
    """One tenant's Microsoft Graph, as one identity. Safe to share between threads.

    ``patience`` (seconds) bounds each method: all its repetitions and waits together. ``sleep`` and ``clock`` (seconds,
    monotonic) are for tests. With ``read_only`` (check mode) a write is a bug: AssertionError before anything is sent.
    """

    def __init__(
        self,
        endpoint: GraphEndpoint,
        auth: AuthMethod,
        transport: Transport,
        *,
        sleep: collections.abc.Callable[[float], object] = time.sleep,
        clock: collections.abc.Callable[[], float] = time.monotonic,
        patience: float = 60.0,
        read_only: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.read_only = read_only
        self.patience = patience
        self._auth = auth
        self._transport = transport
        self._sleep = sleep
        self._clock = clock
        self._token: Token | None = None
        self._renew_at = 0.0
        self._token_lock = threading.Lock()
        self._last = threading.local()

    # --- who we are --------------------------------------------------------------------------------------------------
    @property
    def identity(self) -> str:
        """For messages: ``client secret of app <id>``. Asks nobody."""
        return self._auth.title

    @property
    def roles(self) -> frozenset[str]:
        """Application permissions (or a user's scopes) of the token; empty when it is opaque."""
        return self._current(self._clock() + self.patience).roles

    @property
    def principal_id(self) -> str:
        """Object id of our service principal (or user); "" when the token is opaque."""
        return self._current(self._clock() + self.patience).principal_id

    # --- reading -----------------------------------------------------------------------------------------------------
    def get(self, path: str, query: Query | None = None, *, eventual: bool = False, what: str = "") -> Object | None:
        """The object, or None when Graph says that it isn't there.

        ``eventual`` asks for what advanced queries need (https://learn.microsoft.com/graph/aad-advanced-queries). ``what`` is,
        as everywhere here, a few words for errors: ``read the app registration of team-a``.
        """
        answer = self._call("GET", self._url(path, query, eventual), path, (200, 404), what=what, headers=_eventual(eventual))
        return None if answer.status == 404 else answer.document

    def list(self, path: str, query: Query | None = None, *, eventual: bool = False, what: str = "") -> Objects:
        """All objects of a collection, over all pages. GraphNotFoundError when what it belongs to isn't there."""
        found: Objects = []
        url = self._url(path, query, eventual)
        seen: set[str] = set()
        while url:
            seen.add(url)
            document = self._call("GET", url, path, (200,), what=what, headers=_eventual(eventual)).document
            found += _values(document, f"GET {path}", what)
            url = str(document.get("@odata.nextLink") or "")
            if url and (url in seen or len(seen) >= PAGES or not url.startswith(f"{self.endpoint.graph}/")):
                message = f"{_goal(what)}the next page of GET {path} is {shorten(url, 120)}, after {len(seen)} pages from {self.endpoint.graph}."
                raise GraphError(_capital(message))
        return found

    def objects(self, ids: collections.abc.Iterable[str], types: collections.abc.Sequence[str] = ("group",), what: str = "") -> dict[str, Object]:
        """Directory objects of those types by id, spelled as given; ids that the directory doesn't know are left out.

        An identity that may not read a type gets its objects with an id and no name (Microsoft's page on limited information).
        """
        wanted: dict[str, set[str]] = {}
        for given in ids:
            wanted.setdefault(given.lower(), set()).add(given)
        found: dict[str, Object] = {}
        names = list(wanted)
        for start in range(0, len(names), IDS_PER_CALL):
            body = {"ids": names[start : start + IDS_PER_CALL], "types": list(types)}
            answer = self._call("POST", self._url(GET_BY_IDS), GET_BY_IDS, (200,), body, what=what, repeatable=True)
            for item in _values(answer.document, f"POST {GET_BY_IDS}", what):
                found.update(dict.fromkeys(wanted.get(str(item.get("id")).lower(), ()), item))
        return found

    # --- writing -----------------------------------------------------------------------------------------------------
    def create(self, path: str, body: Object, what: str = "") -> Object:
        """POST to a collection; the new object. GraphUncertainError when nobody knows whether it was created."""
        return self._write("POST", path, (201, 200), body, what=what).document

    def call(self, path: str, body: Object | None = None, what: str = "") -> Object:
        """POST to an action; its answer, {} when it has none. GraphUncertainError as for ``create``."""
        return self._write("POST", path, (200, 204), body or {}, what=what).document

    def upsert(self, path: str, body: Object, what: str = "") -> Object | None:
        """PATCH by an alternate key, creating what isn't there: the new object, or None when it was there and is now as asked.

        None as well when the answer to the creation got lost on the way and the repetition found it: read it then.
        """
        answer = self._write("PATCH", path, (201, 204, 200), body, what=what, headers={"Prefer": "create-if-missing"})
        return answer.document if answer.status == 201 else None

    def update(self, path: str, body: Object, what: str = "") -> None:
        """PATCH what is there. GraphNotFoundError when it isn't."""
        self._write("PATCH", path, (204, 200), body, what=what)

    def add_reference(self, path: str, object_id: str, what: str = "") -> bool:
        """Add a directory object to a relationship (``/applications/<id>/owners``); False when it was in it already.

        False as well when the answer to the addition got lost on the way and the repetition found it.
        """
        target = path if path.endswith("/$ref") else f"{path}/$ref"
        body = {"@odata.id": f"{self.endpoint.graph}{VERSION}/directoryObjects/{object_id}"}
        try:
            self._write("POST", target, (204, 200), body, what=what, repeatable=True)
        except GraphError as exc:
            if exc.status == 400 and "added object references already exist" in exc.message:
                return False
            raise
        return True

    def delete(self, path: str, what: str = "") -> bool:
        """DELETE; False when it wasn't there."""
        try:
            answer = self._write("DELETE", path, (204, 200, 404), None, what=what)
        except GraphError as exc:
            if exc.status == 400 and _GONE in exc.message:
                return False
            raise
        return answer.status != 404 or answer.repeated

    # --- waiting -----------------------------------------------------------------------------------------------------
    def until(self, probe: collections.abc.Callable[[], T | None], what: str) -> T:
        """Ask until ``probe`` gives something else than None: Graph's replicas learn of a write after seconds.

        GraphNotFoundError from the probe counts as None. ``what`` completes "Expected … within". Raises NotReadyError with
        what was last seen once ``patience`` is used up.
        """
        start = self._clock()
        pause = 0.2
        while True:
            self._last.seen = ""
            try:
                found = probe()
            except GraphNotFoundError as exc:
                self._last.seen = exc.message
            else:
                if found is not None:
                    return found
            left = start + self.patience - self._clock()
            if left <= 0:
                seen = self._last.seen or "nothing"
                raise NotReadyError(
                    f"Expected {what} within {self.patience:.0f} s; last seen: {seen.rstrip('.')}.",
                    "Run again: Entra may take minutes to replicate a change, and the same command goes on from here.",
                )
            self._sleep(min(pause, left))
            pause = min(pause * 1.5, 5.0)

    # --- one call ----------------------------------------------------------------------------------------------------
    def _url(self, path: str, query: Query | None = None, eventual: bool = False) -> str:
        full = dict(query or {})
        if eventual:
            full.setdefault("$count", "true")
        tail = "?" + urllib.parse.urlencode(full, quote_via=urllib.parse.quote, safe="$,()'") if full else ""
        return f"{self.endpoint.graph}{VERSION}{path}{tail}"

    def _write(
        self,
        method: str,
        path: str,
        expected: tuple[int, ...],
        body: Object | None,
        *,
        what: str,
        headers: dict[str, str] | None = None,
        repeatable: bool = False,
    ) -> _Answer:
        if self.read_only:
            raise AssertionError(f"{method} {path} in a client that must only read")
        return self._call(method, self._url(path), path, expected, body, what=what, headers=headers, repeatable=repeatable)

    def _call(
        self,
        method: str,
        url: str,
        path: str,
        expected: tuple[int, ...],
        body: Object | None = None,
        *,
        what: str,
        headers: dict[str, str] | None = None,
        repeatable: bool = False,
    ) -> _Answer:
        deadline = self._clock() + self.patience
        harmless = repeatable or method != "POST"
        repeated = False
        attempt = 0
        renewed = False
        while True:
            token = self._current(deadline)
            try:
                response = self._transport(method, url, self._headers(token, headers, body), _encode(body), TIMEOUT_S)
            except TransportError as exc:
                error: GraphError = _lost(exc, method, path, what, harmless)
                if exc.lasting or isinstance(error, GraphUncertainError):
                    raise error from exc
                repeated = repeated or exc.sent
                self._pause(deadline, attempt, None, error, exc)
                attempt += 1
                continue
            document = parse_object(response.body)
            # Only Graph's own 404 says that something isn't there; a proxy's page doesn't.
            if response.status in expected and (response.status != 404 or _code(document)):
                self._last.seen = blot(f"{method} {path}: {_summary(response, document, token)}", token.value)
                if _strange(method, response, document):
                    message = _capital(f"{_goal(what)}{method} {path} was answered {response.status} without the JSON object that Graph answers.")
                    if not harmless:
                        raise GraphUncertainError(message, _UNCERTAIN, status=response.status)
                    raise GraphError(message, _ELSEWHERE)
                return _Answer(response.status, document, repeated)
            if response.status == 401 and not renewed:
                renewed = True
                self._forget(token)
                continue
            error = self._error(response, document, method, path, expected, what, token)
            self._last.seen = error.message
            if response.status in (500, 502, 504) and not harmless:
                raise GraphUncertainError(error.message, _UNCERTAIN, status=error.status, code=error.code, request_id=error.request_id)
            again = (429, 503) + ((502, 504) if harmless else ()) + ((500,) if method == "GET" else ())
            if response.status not in again:
                raise error
            repeated = repeated or response.status in (502, 504)
            self._pause(deadline, attempt, retry_after(response.headers), error)
            attempt += 1

    def _headers(self, token: Token, headers: dict[str, str] | None, body: Object | None) -> dict[str, str]:
        full = {"Authorization": f"Bearer {token.value}", "Accept": "application/json", **(headers or {})}
        if body is not None:
            full["Content-Type"] = "application/json"
        return full

    def _pause(self, deadline: float, attempt: int, asked: float | None, error: GraphError, cause: Exception | None = None) -> None:
        """Wait before another attempt; raise ``error`` when there is no time for one."""
        if isinstance(cause, TransportError) and not cause.sent and attempt + 1 >= CONNECT_ATTEMPTS:
            raise error from cause
        # Half of it by chance, so that threads refused together don't come back together.
        wait = max(asked, 0.2) if asked is not None else min(15.0, 0.5 * 2**attempt) * (0.5 + random.random() / 2)  # noqa: S311 - no secret
        if self._clock() + wait > deadline:
            error.message += f" Given up after {attempt + 1} attempts: " + (
                f"Retry-After asks for {asked:.0f} s, more than is left of {self.patience:.0f} s." if asked is not None else f"{self.patience:.0f} s are over."
            )
            raise error from cause
        self._sleep(wait)

    # --- tokens ------------------------------------------------------------------------------------------------------
    def _current(self, deadline: float) -> Token:
        with self._token_lock:
            if self._token is None or self._clock() >= self._renew_at:
                self._token = self._fetch(deadline)
                lifetime = self._token.expires_at - self._clock()
                self._renew_at = self._token.expires_at - min(RENEW_BEFORE_S, lifetime / 2)
            return self._token

    def _fetch(self, deadline: float) -> Token:
        attempt = 0
        while True:
            try:
                return self._auth.token(self._transport, self._clock)
            except GraphAuthError as exc:
                if exc.retry_after is None:
                    raise
                cause = exc.__cause__
                self._pause(deadline, attempt, exc.retry_after or None, exc, cause if isinstance(cause, TransportError) else None)
                attempt += 1

    def _forget(self, token: Token) -> None:
        with self._token_lock:
            if self._token is token:
                self._token = None

    # --- errors ------------------------------------------------------------------------------------------------------
    def _error(self, response: Response, document: Object, method: str, path: str, expected: tuple[int, ...], what: str, token: Token) -> GraphError:
        summary = _summary(response, document, token)
        message = blot(f"{_goal(what)}expected HTTP {expected[0]} for {method} {path}, got {summary}.", token.value)
        kind, remedy = _kind(response.status, _code(document), summary, method, path, token)
        return kind(_capital(message), remedy, status=response.status, code=_code(document), request_id=_request_id(response, document))


_ELSEWHERE = "Does something else than Microsoft Graph answer there? Check gateway_auth_graph and proxies."
_UNCERTAIN = "It may have been carried out: run again, which reads first."


def _lost(exc: TransportError, method: str, path: str, what: str, harmless: bool) -> GraphError:
    message = _capital(f"{_goal(what)}{method} {path} got no answer: {exc.message}")
    if exc.sent and not harmless:
        return GraphUncertainError(message, _UNCERTAIN)
    return GraphError(message, exc.remedy)


# What Graph says instead of 404 while a replica doesn't know a new object yet, and instead of 409 for what is there already.
# Field knowledge: the texts that azuread's provider and azure-cli wait for or pass over.
_NOT_YET = (
    "does not reference a valid application object",
    "must in the local tenant",
    "does not exist or one of its queried reference-property objects are not present",
)
_ALREADY = ("already exist", "A conflicting object with one or more of the specified property values is present")
_GONE = "removed object references do not exist"


def _kind(status: int, code: str, text: str, method: str, path: str, token: Token) -> tuple[type[GraphError], str]:
    # Field knowledge: a full directory quota is a 403, and deleted objects count for 30 days.
    if code == "Directory_QuotaExceeded":
        return GraphError, "The identity's directory quota is used up; objects deleted within 30 days count: purge some, or ask for a higher quota."
    if code.endswith("AsPerAppPolicy"):
        return GraphError, "A policy of the tenant for app credentials forbids it: use gateway_auth_credential: federated, or have the app exempted."
    if status in (400, 403) and any(part in text for part in _NOT_YET):
        return GraphNotFoundError, "Entra hasn't replicated a new object yet, or it was removed: run again."
    if status == 400 and any(part in text for part in _ALREADY):
        return GraphConflictError, "Run again: what is there is read first."
    if status == 403:
        from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_permissions import permission_remedy

        return GraphForbiddenError, permission_remedy(method, path, token)
    if status == 404 and code:
        return GraphNotFoundError, "It was removed, or Entra hasn't replicated it yet: run again."
    if status in (409, 412):
        return GraphConflictError, "Somebody else changed it at the same time: run again."
    if status == 401:
        return GraphError, "Graph doesn't accept the token: check that gateway_auth_graph and the identity belong to the same cloud and tenant."
    if status in (429, 503):
        return GraphError, "Graph is throttling or overloaded: run again later."
    return GraphError, "" if code else "Check gateway_auth_graph, and proxies between here and there."


def _code(document: Object) -> str:
    error = document.get("error")
    return str(error.get("code") or "") if isinstance(error, dict) else ""


def _strange(method: str, response: Response, document: Object) -> bool:
    """Success that isn't Graph's: a page of a proxy, half a document. A PATCH or DELETE may be answered with nothing at all."""
    if response.status not in (200, 201):
        return False
    wanted = response.status == 201 or method in ("GET", "POST")
    return bool(_code(document) or (not document and (wanted or response.body.strip())))


def _values(document: Object, request: str, what: str) -> Objects:
    """The objects of a page. Without its list it isn't an empty one: much is decided by what is not there."""
    found = document.get("value")
    if not isinstance(found, list):
        raise GraphError(_capital(f"{_goal(what)}{request} was answered without a list of objects."), _ELSEWHERE)
    return found


def _summary(response: Response, document: Object, token: Token) -> str:
    """``403 Authorization_RequestDenied: Insufficient privileges … (request-id …)``; the deepest inner code as well, when it differs."""
    if response.status < 400:
        return str(response.status)
    error = document.get("error")
    if not isinstance(error, dict):
        return f"{response.status} without Graph's error document (is that a proxy's answer?)"
    codes = [str(error.get("code") or "")]
    inner: t.Any = error
    for _depth in range(5):
        inner = inner.get("innerError") or inner.get("innererror")
        if not isinstance(inner, dict):
            break
        if inner.get("code") and str(inner["code"]) not in codes:
            codes.append(str(inner["code"]))
    # Blotted out before it is cut: half a token would no longer be found.
    message = shorten(blot(str(error.get("message") or "no message"), token.value)).rstrip(".")
    request_id = _request_id(response, document)
    return f"{response.status} {'/'.join(code for code in codes if code)}: {message}" + (f" (request-id {request_id})" if request_id else "")


def _request_id(response: Response, document: Object) -> str:
    error = document.get("error")
    inner = (error.get("innerError") or error.get("innererror")) if isinstance(error, dict) else None
    return str((inner.get("request-id") if isinstance(inner, dict) else None) or response.headers.get("request-id") or "")


def _goal(what: str) -> str:
    return f"could not {what}: " if what else ""


def _capital(message: str) -> str:
    return message[:1].upper() + message[1:]


def _eventual(eventual: bool) -> dict[str, str]:
    return {"ConsistencyLevel": "eventual"} if eventual else {}


def _encode(body: Object | None) -> bytes | None:
    return None if body is None else json.dumps(body).encode()
