# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filter's input becomes the team it describes, or an error that names the filter and what was found."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.platform.gateway_auth.plugins.plugin_utils._compiled import compiled_team
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
