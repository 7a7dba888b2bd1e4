# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filter's input becomes the team it describes, or an error that names the filter and what was found."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import UnresolvedError
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._compiled import assembled, compiled_team
from tests.golden import model
from tests.support.wrong_models import wrong_models


def test_a_compiled_model_becomes_its_team() -> None:
    given = model({})
    team = compiled_team(given, "proxy_values")
    assert (team.name, team.domain, [app.name for app in team.apps]) == (given["name"], given["domain"], [app["name"] for app in given["apps"]])
    assert compiled_team(team.to_dict(), "proxy_values") == team


@wrong_models
def test_anything_else_is_an_error_that_names_the_filter(value: t.Any, found: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        compiled_team(value, "proxy_values")
    assert "platform.gateway_auth.proxy_values" in str(error.value)
    assert found in str(error.value)


@pytest.mark.parametrize("problem", [KeyError("kind"), TypeError("None"), UnresolvedError("Group 'x' has no id.", "Write it.")], ids=repr)
def test_what_a_value_of_a_model_breaks_is_told_as_such(problem: Exception) -> None:
    def assemble(_team: Team) -> None:
        raise problem

    with pytest.raises(AnsibleFilterError, match=r"proxy_values expected .* model") as error:
        assembled(model({}), "proxy_values", assemble)
    assert error.value.__cause__ is problem
    assert assembled(model({}), "proxy_values", lambda team: team.name) == "team-a"
