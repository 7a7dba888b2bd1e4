# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every error of ours is to a plugin and to a reader."""

from __future__ import annotations

import inspect

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _errors

KINDS = [kind for _name, kind in inspect.getmembers(_errors, inspect.isclass) if kind.__module__ == _errors.__name__]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_one_except_clause_catches_all(kind: type[_errors.GatewayAuthError]) -> None:
    with pytest.raises(_errors.GatewayAuthError):
        raise kind("Something is wrong.")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("message", "remedy", "shown"),
    [
        pytest.param("It broke.", "Mend it.", "It broke. Mend it.", id="with remedy"),
        pytest.param("It broke.", "", "It broke.", id="without"),
        pytest.param("", "Mend it.", "Mend it.", id="remedy only"),
    ],
)
def test_remedy_comes_last(kind: type[_errors.GatewayAuthError], message: str, remedy: str, shown: str) -> None:
    error = kind(message, remedy)
    assert str(error) == shown
    assert (error.message, error.remedy) == (message, remedy)


def test_a_refused_verb_is_an_answer_of_the_cluster() -> None:
    assert issubclass(_errors.ForbiddenError, _errors.ClusterError)
