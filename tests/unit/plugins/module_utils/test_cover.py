# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _cover


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("--client-secret=hunter2", False),
        ("--redis-connection-url=redis://:hunter2@store:6379", False),
        ('x = 1\nclient_secret = "hunter2"\ny = 2', False),
        ([{"name": "OAUTH2_PROXY_COOKIE_SECRET", "value": "hunter2"}], False),
        ({"name": "API_TOKEN", "value": "hunter2"}, False),
        ("--footer=hunter2", True),
        ({"name": "PLAIN", "value": "hunter2"}, True),
    ],
    ids=str,
)
def test_secrets_that_somebody_wrote_down_stay_secret(value: t.Any, shown: bool) -> None:
    assert ("hunter2" in str(_cover.covered(value))) is shown
    assert _cover.covered("--pass-access-token=true") == "--pass-access-token=true"
    assert _cover.covered({"secretKeyRef": {"name": "s", "key": "client-secret"}}) == {"secretKeyRef": {"name": "s", "key": "client-secret"}}


@pytest.mark.parametrize(
    "values",
    [
        {"config": {"clientSecret": "hunter2"}},
        {"config": {"cookieSecret": "hunter2"}},
        {"extraArgs": {"client-secret": "hunter2"}},
        {"extraArgs": ["--cookie-secret=hunter2"]},
        {"extraEnv": [{"name": "OAUTH2_PROXY_CLIENT_SECRET", "value": "hunter2"}]},
        {"sessionStorage": {"redis": {"password": "hunter2", "standalone": {"connectionUrl": "redis://:hunter2@store:6379"}}}},
        {"config": {"configFile": 'client_secret = "hunter2"'}},
        {"redis": {"auth": [{"password": "hunter2"}]}},
    ],
    ids=str,
)
def test_values_of_a_release_that_hold_secrets_do_not_show_them(values: dict[str, t.Any]) -> None:
    shown = _cover.covered_values(values)
    assert "hunter2" not in str(shown) and shown.keys() == values.keys()


def test_where_a_secret_is_kept_is_told() -> None:
    values = {
        "config": {"existingSecret": "oauth2-proxy-team-a", "requiredSecretKeys": ["client-id"]},
        "redis": {"passwordKey": "redis-password"},
        "replicaCount": 2,
    }
    assert _cover.covered_values(values) == values
