# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what a filter is given to a team model."""

from __future__ import annotations

import collections.abc
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team

REMEDY = "Give it one entry of __gateway_auth.models, which role platform.gateway_auth.gateway_auth compiles."

T = t.TypeVar("T")


def assembled(value: t.Any, name: str, assemble: t.Callable[[Team], T]) -> T:
    """What ``assemble`` makes of the model in ``value``; a value in it of the wrong type is the caller's error, and told as one."""
    team = compiled_team(value, name)
    try:
        return assemble(team)
    except GatewayAuthError as exc:
        raise AnsibleFilterError(f"Filter platform.gateway_auth.{name} expected a complete team model. {exc}") from exc
    except (TypeError, ValueError, AttributeError, KeyError) as exc:
        raise AnsibleFilterError(
            f"Filter platform.gateway_auth.{name} expected a compiled team model, found one with a value that is none of a model's: {exc!r}. {REMEDY}"
        ) from exc


def compiled_team(value: t.Any, name: str) -> Team:
    """The team model in ``value``; an error names the filter, what was expected and what was found."""
    if not isinstance(value, collections.abc.Mapping):
        raise AnsibleFilterError(f"Filter platform.gateway_auth.{name} expected a compiled team model (a dictionary), found {_kind(value)}. {REMEDY}")
    try:
        return Team.from_dict(value)
    except (TypeError, ValueError, AttributeError, KeyError) as exc:
        raise AnsibleFilterError(
            f"Filter platform.gateway_auth.{name} expected a compiled team model, found a dictionary that is none: {exc}. {REMEDY}"
        ) from exc


def _kind(value: t.Any) -> str:
    if value is None:
        return "nothing"
    for kind, word in ((bool, "a boolean"), (str, "a string"), (int, "an integer"), (float, "a number"), (collections.abc.Sequence, "a list")):
        if isinstance(value, kind):
            return word
    return f"a {type(value).__name__}"
