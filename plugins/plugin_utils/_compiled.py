# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what a filter is given to a team model."""

from __future__ import annotations

import collections.abc
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team


def compiled_team(value: t.Any, name: str) -> Team:
    """The team model in ``value``; an error names the filter, what was expected and what was found."""
    remedy = "Give it one entry of __gateway_auth.models, which role platform.gateway_auth.gateway_auth compiles."
    if not isinstance(value, collections.abc.Mapping):
        raise AnsibleFilterError(f"Filter platform.gateway_auth.{name} expected a compiled team model (a dictionary), found {_kind(value)}. {remedy}")
    try:
        return Team.from_dict(value)
    except (TypeError, ValueError, AttributeError, KeyError) as exc:
        raise AnsibleFilterError(
            f"Filter platform.gateway_auth.{name} expected a compiled team model, found a dictionary that is none: {exc}. {remedy}"
        ) from exc


def _kind(value: t.Any) -> str:
    if value is None:
        return "nothing"
    for kind, word in ((bool, "a boolean"), (str, "a string"), (int, "an integer"), (float, "a number"), (collections.abc.Sequence, "a list")):
        if isinstance(value, kind):
            return word
    return f"a {type(value).__name__}"
