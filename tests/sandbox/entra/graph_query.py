# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Query options of Graph's lists: $filter, $select, $top, $count, $skiptoken and paging.

Sources: https://learn.microsoft.com/graph/aad-advanced-queries (which queries need `ConsistencyLevel: eventual` and
`$count=true`; without the header `$count` as an option is ignored and as a segment an error) and …/graph/query-parameters.
Of $filter there is what clients of this collection and their neighbours use: comparisons joined by `and`.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlencode

from .graph_errors import GraphError, bad_request, unsupported_query

BASE: Final = "https://graph.microsoft.com/v1.0"
DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 999
MOST_VALUES: Final = 15

Document = dict[str, object]
Predicate = Callable[[Document], bool]

_TEXT = r"'((?:[^']|'')*)'"
_CLAUSE: Final = (
    ("eq", re.compile(rf"(?P<name>\w+)\s+eq\s+(?:{_TEXT}|(?P<word>true|false|null))")),
    ("ne", re.compile(rf"(?P<name>\w+)\s+ne\s+(?:{_TEXT}|(?P<word>true|false|null))")),
    ("in", re.compile(r"(?P<name>\w+)\s+in\s+\((?P<values>\s*'(?:[^']|'')*'(?:\s*,\s*'(?:[^']|'')*')*\s*)\)")),
    ("startsWith", re.compile(rf"(?i:startswith)\(\s*(?P<name>\w+)\s*,\s*{_TEXT}\s*\)")),
    ("endsWith", re.compile(rf"(?i:endswith)\(\s*(?P<name>\w+)\s*,\s*{_TEXT}\s*\)")),
    ("any", re.compile(rf"(?P<name>\w+)/any\(\s*(?P<variable>\w+)\s*:\s*(?P=variable)\s+eq\s+{_TEXT}\s*\)")),
)
_ADVANCED: Final = ("ne", "endsWith")
_WORDS: Final[dict[str, object]] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Kind:
    """A resource type as queries see it: its name, its properties, and how each may be filtered by."""

    name: str
    entity_set: str
    properties: frozenset[str]
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Query:
    """The options of one request, each known and in form."""

    filter: str | None = None
    select: tuple[str, ...] = ()
    top: int = DEFAULT_PAGE
    count: bool = False
    skip_token: str | None = None
    expand: str | None = None
    advanced: bool = False
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def is_plain(self) -> bool:
        return not self.pairs


def read_query(encoded: str, consistency: str | None, allowed: Sequence[str]) -> Query:
    """Read the query string, refusing an option that the operation doesn't take or that comes twice."""
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, strict_parsing=bool(encoded), max_num_fields=20, errors="strict")
    except ValueError as exc:
        raise bad_request("The query string is malformed.", "BadRequest") from exc
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            raise bad_request(f"The query option '{name}' is not recognized or not supported here.", "BadRequest")
        if name in found:
            raise bad_request(f"Query option '{name}' was specified more than once, but it must be specified at most once.", "BadRequest")
        found[name] = value
    if consistency not in (None, "eventual", "session"):
        raise bad_request("Invalid value of header ConsistencyLevel.", "BadRequest")
    return Query(
        filter=found.get("$filter"),
        select=tuple(name.strip() for name in found["$select"].split(",")) if "$select" in found else (),
        top=_top(found.get("$top")),
        count=_flag(found.get("$count")),
        skip_token=found.get("$skiptoken"),
        expand=found.get("$expand"),
        advanced=consistency == "eventual",
        pairs=tuple((name, value) for name, value in pairs if name != "$skiptoken"),
    )


def _top(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise bad_request(f"Invalid value '{text}' for $top query option found. The $top query option requires a non-negative integer value.", "BadRequest")
    if not 1 <= int(text) <= MAX_PAGE:
        raise unsupported_query(f"Invalid page size specified: '{text}'. Must be between 1 and {MAX_PAGE} inclusive.")
    return int(text)


def _flag(text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise bad_request(f"Invalid value '{text}' for $count query option found. Valid values are 'true' and 'false'.", "BadRequest")
    return text == "true"


# --- $filter -----------------------------------------------------------------------------------------------------------


def _clauses(text: str) -> list[str]:
    """Split at `and`, but not within a text."""
    parts, quoted = [""], False
    for word in re.split(r"('|\s+and\s+)", text):
        quoted ^= word == "'"
        if word.strip() == "and" and not quoted:
            parts.append("")
        else:
            parts[-1] += word
    return [part.strip() for part in parts]


def _predicate(text: str, kind: Kind, query: Query) -> Predicate:
    for operator, pattern in _CLAUSE:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        name = match["name"]
        if name not in kind.properties:
            raise bad_request(f"Could not find a property named '{name}' on type 'microsoft.graph.{kind.name}'.", "BadRequest")
        if operator not in kind.filters.get(name, ()):
            raise unsupported_query(f"Unsupported or invalid query filter clause specified for property '{name}' of resource '{kind.name.capitalize()}'.")
        if operator in _ADVANCED and not (query.advanced and query.count):
            raise unsupported_query(
                f"Operator '{operator}' is not supported because the required parameters might be missing. Try adding $count=true query parameter"
                " and ConsistencyLevel:eventual header. Refer to https://aka.ms/graph-docs/advanced-queries for more information"
            )
        if operator == "in":
            return _one_of(name, match["values"])
        word = match.groupdict().get("word")
        texts = [group for group in match.groups() if group is not None]
        wanted = _WORDS[word] if word is not None else texts[-1].replace("''", "'")
        return _TESTS[operator](name, wanted)
    raise bad_request(f"Invalid filter clause: {text[:100]}", "BadRequest")


def _folded(value: object) -> object:
    """Entra compares texts without case."""
    return value.lower() if isinstance(value, str) else value


def _one_of(name: str, listed: str) -> Predicate:
    """`in` takes 15 values at most (https://learn.microsoft.com/graph/filter-query-parameter, in)."""
    values = [text.replace("''", "'") for text in re.findall(_TEXT, listed)]
    if len(values) > MOST_VALUES:
        raise bad_request(f"Too many child clauses specified in search filter expression containing 'OR' operators: {len(values)}. Max allowed: {MOST_VALUES}.")
    folded = [_folded(value) for value in values]
    return lambda document: _folded(document.get(name)) in folded


def _has(name: str, wanted: object) -> Predicate:
    def test(document: Document) -> bool:
        values = document.get(name)
        return isinstance(values, list) and _folded(wanted) in [_folded(value) for value in values]

    return test


_TESTS: Final[dict[str, Callable[[str, object], Predicate]]] = {
    "eq": lambda name, wanted: lambda document: _folded(document.get(name)) == _folded(wanted),
    "ne": lambda name, wanted: lambda document: _folded(document.get(name)) != _folded(wanted),
    "startsWith": lambda name, wanted: lambda document: str(document.get(name) or "").lower().startswith(str(wanted).lower()),
    "endsWith": lambda name, wanted: lambda document: str(document.get(name) or "").lower().endswith(str(wanted).lower()),
    "any": _has,
}


# --- $select and pages -------------------------------------------------------------------------------------------------


def project(document: Document, kind: Kind, query: Query) -> Document:
    """Return the selected properties, or all of them."""
    if not query.select:
        return document
    _check_select(kind, query)
    return {name: value for name, value in document.items() if name in query.select or name.startswith("@")}


def _check_select(kind: Kind, query: Query) -> None:
    for name in query.select:
        if name not in kind.properties:
            raise bad_request(
                f"Parsing OData Select and Expand failed: Could not find a property named '{name}' on type 'microsoft.graph.{kind.name}'.", "BadRequest"
            )


def context(kind: Kind, query: Query, *, entity: bool = False) -> str:
    selected = f"({','.join(query.select)})" if query.select else ""
    return f"{BASE}/$metadata#{kind.entity_set}{selected}" + ("/$entity" if entity else "")


@dataclass(frozen=True)
class Row:
    """One entry of a list: what it can be found by, and how to show it, which only entries of the page are."""

    facts: Document
    show: Callable[[], Document]


def rows(documents: Iterable[Document]) -> list[Row]:
    """Return the entries of a list whose documents are cheap to make."""
    return [Row(document, functools.partial(dict, document)) for document in documents]


def _resume(token: str, found: list[Row]) -> int:
    """Return where the page that a token asks for begins."""
    try:
        after = json.loads(base64.urlsafe_b64decode(token.encode()))["after"]
        return next(index for index, row in enumerate(found) if row.facts["id"] == after) + 1
    except (ValueError, KeyError, TypeError, StopIteration, binascii.Error) as exc:
        raise GraphError(
            400, "Directory_ExpiredPageToken", "The specified page token value has expired and can no longer be included in your request."
        ) from exc


def listing(found: list[Row], kind: Kind, query: Query, path: str) -> Document:
    """Return one page of a list, with a link to the next where there is more."""
    if query.filter is not None:
        tests = [_predicate(clause, kind, query) for clause in _clauses(query.filter)]
        found = [row for row in found if all(test(row.facts) for test in tests)]
    start = _resume(query.skip_token, found) if query.skip_token is not None else 0
    page = found[start : start + query.top]
    answer: Document = {"@odata.context": context(kind, query)}
    if query.count and query.advanced and query.skip_token is None:
        answer["@odata.count"] = len(found)
    if start + query.top < len(found):
        token = base64.urlsafe_b64encode(json.dumps({"v": 1, "after": page[-1].facts["id"]}).encode()).decode()
        answer["@odata.nextLink"] = f"{BASE}{path}?{urlencode([*query.pairs, ('$skiptoken', token)], safe='$')}"
    # A $select of what there isn't is an error of an empty list too.
    _check_select(kind, query)
    answer["value"] = [project(row.show(), kind, query) for row in page]
    return answer
