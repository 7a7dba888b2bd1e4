# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.platform.gateway_auth.plugins.filter.rbac_manifests import FilterModule
from ansible_collections.platform.gateway_auth.plugins.module_utils import _rights
from tests.golden import model, team

FILTER = FilterModule().filters()["rbac_manifests"]
ACCOUNT = {"kind": "ServiceAccount", "name": "gateway-auth", "namespace": "awx"}


def test_compiles_the_example() -> None:
    expected = _rights.rbac_manifests([team()], _rights.Subject("ServiceAccount", "gateway-auth", "awx"))
    assert FILTER({"team-a": model()}, ACCOUNT) == expected


def test_all_options() -> None:
    expected = _rights.rbac_manifests([team()], _rights.Subject("User", "u"), scope="namespaces", phases=["verify"], optional=False, name="x")
    assert FILTER({"team-a": model()}, {"kind": "User", "name": "u"}, scope="namespaces", phases="verify", optional=False, name="x") == expected


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        pytest.param(None, {}, ["__gateway_auth.models"], id="no models"),
        pytest.param({}, {}, ["__gateway_auth.models"], id="no team"),
        pytest.param({"team-a": "x"}, {}, ["compiled team model", "a string"], id="not a model"),
        pytest.param({"team-a": model()}, {"subject": None}, ["ServiceAccount", "None"], id="no subject"),
        pytest.param({"team-a": model()}, {"subject": {"kind": "ServiceAccount", "name": "x"}}, ["namespace"], id="an account without a namespace"),
        pytest.param({"team-a": model()}, {"subject": {"kind": "User", "name": "x", "namespace": "y"}}, ["subject"], id="a user with one"),
        pytest.param({"team-a": model()}, {"subject": {"kind": "Robot", "name": "x"}}, ["Robot"], id="another kind"),
        pytest.param({"team-a": model()}, {"subject": {"kind": "User", "name": ""}}, ["subject"], id="no name"),
        pytest.param({"team-a": model()}, {"scope": "team"}, ["cluster, namespaces", "'team'"], id="another scope"),
        pytest.param({"team-a": model()}, {"phases": ["verify", "destroy"]}, ["destroy", "onboard"], id="another phase"),
        pytest.param({"team-a": model()}, {"phases": []}, ["phases"], id="no phase"),
        pytest.param({"team-a": model()}, {"optional": "no"}, ["optional", "'no'"], id="not a boolean"),
    ],
)
def test_refusals(given: t.Any, options: dict[str, t.Any], words: list[str]) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        FILTER(given, **{"subject": ACCOUNT, **options})
    assert all(word in str(error.value) for word in ["rbac_manifests", *words]), str(error.value)
