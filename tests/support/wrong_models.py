# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a filter may be given instead of a compiled team model, and what its error must say of it."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from tests.golden import model

wrong_models = pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param(None, "nothing", id="none"),
        pytest.param("team-a", "a string", id="string"),
        pytest.param(5, "an integer", id="integer"),
        pytest.param(True, "a boolean", id="boolean"),
        pytest.param([{}], "a list", id="list"),
        pytest.param({}, "missing", id="empty dictionary"),
        pytest.param(model({"no_such": 1}), "no_such", id="unknown key"),
        pytest.param(model({"apps": None}), "none", id="wrong type inside"),
    ],
)


def check_refusal(call: t.Callable[[t.Any], t.Any], name: str, value: t.Any, found: str) -> None:
    """The error names the filter, what was expected, what was found, and where to get the right thing."""
    with pytest.raises(AnsibleFilterError) as error:
        call(value)
    message = str(error.value)
    assert f"platform.gateway_auth.{name}" in message
    assert "expected a compiled team model" in message
    assert found in message
    assert "__gateway_auth.models" in message
