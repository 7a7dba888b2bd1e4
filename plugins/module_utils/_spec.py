# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables: types, nesting, defaults and choices, read from the role's argument_specs.yml and from nowhere else.

Ansible's own check of that file coerces (``[1]`` passes for a string) and accepts unknown names, so ``check`` does it strictly.
"""

from __future__ import annotations

import collections.abc
import copy
import dataclasses
import difflib
import functools
import os
import typing as t

try:
    import yaml
except ImportError:  # never on a controller; module_utils must import without it all the same
    yaml = None  # type: ignore[assignment]

SPEC_FILE = os.path.normpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../roles/gateway_auth/meta/argument_specs.yml"))
ENTRY_POINT = "inventory"
PREFIX = "gateway_auth_"
SECRET = "gateway_auth_client_secret"  # noqa: S105 - the name of the variable

# Guarantee 10: all that a team's own file may hold.
TEAM_KEYS = ("gateway_auth_allowed_groups", "gateway_auth_apps", "gateway_auth_owners", "gateway_auth_notes")

# What only the command line may say (`-e team=a`).
CONTROLS = ("team", "adopt", "confirm", "rotate", "drift", "explain", "plan", "fail_on_change", "dest", "report")

_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float), "list": (list,), "dict": (dict,)}
_WORDS = {"str": "a string", "bool": "true or false", "int": "a whole number", "float": "a number", "list": "a list", "dict": "a mapping"}


class Withheld:
    """Stands for a value that was not looked at: a secret, or what a team's file may not hold."""

    def __repr__(self) -> str:
        return "a value that is not shown"

    __str__ = __repr__


WITHHELD = Withheld()


@dataclasses.dataclass(frozen=True)
class Option:
    """One variable, or one key of a nested mapping. ``options`` is empty for a free mapping."""

    name: str
    type: str
    elements: str = ""
    required: bool = False
    default: t.Any = None
    choices: tuple[t.Any, ...] = ()
    options: t.Mapping[str, Option] = dataclasses.field(default_factory=dict)
    description: tuple[str, ...] = ()

    def default_value(self) -> t.Any:
        return copy.deepcopy(self.default)


# Takes path, expected, found, remedy and rule.
Report = t.Callable[[str, str, str, str, str], None]


@functools.lru_cache(maxsize=4)
def load(path: str = SPEC_FILE) -> t.Mapping[str, Option]:
    """The variables of the contract by name."""
    with open(path, encoding="utf-8") as handle:
        document = yaml.safe_load(handle)
    return _options(document["argument_specs"][ENTRY_POINT]["options"])


def _options(raw: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, Option]:
    return {name: _option(name, entry) for name, entry in raw.items()}


def _option(name: str, raw: t.Mapping[str, t.Any]) -> Option:
    description = raw.get("description", ())
    return Option(
        name=name,
        type=raw["type"],
        elements=raw.get("elements", ""),
        required=bool(raw.get("required", False)),
        default=raw.get("default"),
        choices=tuple(raw.get("choices", ())),
        options=_options(raw.get("options", {})),
        description=(description,) if isinstance(description, str) else tuple(description),
    )


def nearest(name: str, known: collections.abc.Iterable[str], cutoff: float = 0.6) -> str:
    """The known name that was probably meant; empty if none is near."""
    # The prefix is common to all variables and would make each of them look near.
    candidates = {candidate.removeprefix(PREFIX): candidate for candidate in known}
    found = difflib.get_close_matches(name.removeprefix(PREFIX), candidates, n=1, cutoff=cutoff)
    return candidates[found[0]] if found else ""


def did_you_mean(name: str, known: collections.abc.Iterable[str]) -> str:
    known = tuple(known)
    near = nearest(name, known)
    return f"Did you mean {near}?" if near else f"Remove it; known are {', '.join(sorted(known))}."


def check(option: Option, value: t.Any, path: str, report: Report) -> t.Any:
    """Check ``value`` strictly; report what is wrong; return it with nested defaults filled in.

    What is wrong comes back as None (list items keep their index), so that later rules can go on with the rest.
    """
    if isinstance(value, Withheld):
        # Anywhere else reading has found a secret where there must be none, and says so.
        return value if path.startswith(SECRET) else None
    if not _is(option.type, value):
        report(path, _expected(option.type), _kind(value), _type_remedy(option.type, value, path), "type")
        return None
    if option.choices and value not in option.choices:
        near = nearest(str(value), [str(choice) for choice in option.choices])
        hint = f"Did you mean {near}?" if near else f"Change {path}."
        report(path, f"one of {', '.join(str(choice) for choice in option.choices)}", repr(value), hint, "choice")
        return None
    if option.type == "list" and option.elements:
        element = dataclasses.replace(option, type=option.elements, elements="", choices=(), required=False)
        return [check(element, item, f"{path}[{index}]", report) for index, item in enumerate(value)]
    if option.type == "dict":
        return _check_mapping(option, value, path, report)
    return value


def _check_mapping(option: Option, value: dict[str, t.Any], path: str, report: Report) -> dict[str, t.Any]:
    if not option.options:
        _check_keys(value, path, report)
        return value
    checked: dict[str, t.Any] = {}
    for key, item in value.items():
        if not isinstance(key, str) or key not in option.options:
            report(f"{path}.{key}", "a known key", f"unknown key {str(key)!r}", did_you_mean(str(key), option.options), "unknown-key")
        else:
            checked[key] = check(option.options[key], item, f"{path}.{key}", report)
    for name, nested in option.options.items():
        if name in value:
            continue
        if nested.required:
            meant = [key for key in value if isinstance(key, str) and key not in option.options and nearest(key, option.options) == name]
            if not meant:  # else the unknown key has said it
                report(f"{path}.{name}", _expected(nested.type), "nothing", f"Set {path}.{name}.", "required")
            checked[name] = None
        else:
            checked[name] = nested.default_value()
    return checked


def _check_keys(value: t.Any, path: str, report: Report) -> None:
    """A free mapping may hold anything, but its keys are strings: `on:` and `8080:` aren't in YAML."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                report(f"{path}.{key}", "a string as key", _kind(key), "Put the key in quotes.", "type")
            _check_keys(item, f"{path}.{key}", report)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_keys(item, f"{path}[{index}]", report)


def _is(kind: str, value: t.Any) -> bool:
    if isinstance(value, bool):
        return kind == "bool"
    return isinstance(value, _TYPES[kind])


def _expected(kind: str) -> str:
    return _WORDS[kind]


def _kind(value: t.Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the boolean {'true' if value else 'false'}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the string {value[:60]!r}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "a mapping"
    return f"a {type(value).__name__}"


def _type_remedy(kind: str, value: t.Any, path: str) -> str:
    if kind == "str" and isinstance(value, (int, float)):
        return f"Put the value of {path} in quotes."
    if kind in ("int", "bool") and isinstance(value, str):
        return f"Write {path} without quotes (with -e, as JSON: -e '{{\"{path}\": …}}')." if "." not in path else f"Write {path} without quotes."
    if kind == "list":
        return f"Write {path} as a list, one `- …` a line."
    return f"Change {path}."


def did_you_mean_variable(name: str) -> str:
    near = nearest(name, load())
    return f"Did you mean {near}?" if near else f"Remove {name}; docs/variables.md lists every variable."
