# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Helm values undo a guarantee, however they are written."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import proxy_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._validate_helm import judge, waiver_key
from tests.golden import team

HOSTS = {"app.example.com"}


def paths(values: dict[str, t.Any]) -> list[str]:
    return [doubt.path for doubt in judge(values, HOSTS)]


@pytest.mark.parametrize(
    "values",
    [
        {"image": {"registry": "example.azurecr.io"}},
        {"extraArgs": {"request-logging": "false"}},
        {"extraArgs": {"whitelist-domain": "app.example.com"}},
        {"imagePullSecrets": [{"name": "regcred"}]},
        {"extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]},
        {"serviceAccount": {"annotations": {"a": "b"}}},
        {"extraVolumes": [{"name": "ca", "secret": {"secretName": "ca"}}]},
        {},
    ],
    ids=str,
)
def test_harmless(values: dict[str, t.Any]) -> None:
    assert paths(values) == []


@pytest.mark.parametrize(
    "flag", ["insecure-oidc-allow-unverified-email", "ssl-upstream-insecure-skip-verify", "cookie-domain", "skip-auth-preflight", "trusted-ip"]
)
@pytest.mark.parametrize("way", ["flag", "dashes", "environment", "underscores"])
def test_a_flag_is_judged_however_it_is_given(flag: str, way: str) -> None:
    values: dict[str, t.Any] = {
        "flag": {"extraArgs": {flag: "true"}},
        "dashes": {"extraArgs": {f"--{flag}": "true"}},
        "underscores": {"extraArgs": {flag.replace("-", "_"): "true"}},
        "environment": {"extraEnv": [{"name": f"OAUTH2_PROXY_{flag.upper().replace('-', '_')}", "value": "true"}]},
    }[way]
    assert len(paths(values)) == 1


def test_a_secret_cannot_be_waived_and_is_not_shown() -> None:
    doubts = judge({"config": {"cookieSecret": "CANARY"}, "redis": {"password": "CANARY"}, "x": {"url": "redis://:CANARY@h"}}, HOSTS)
    secret = [doubt for doubt in doubts if not doubt.waivable]
    assert {doubt.path for doubt in secret} == {"config.cookieSecret", "redis.password", "x.url"}
    assert "CANARY" not in repr(doubts)


def test_what_we_set_ourselves_is_guarded_but_for_what_is_meant_to_be_changed() -> None:
    """A new flag or value of ours must be judged, or be named here."""
    free = {"provider-display-name", "approval-prompt", "skip-provider-button", "footer", "oidc-email-claim", "silence-ping-logging"}
    ours = proxy_values(_team())
    unguarded = {flag for flag in ours["extraArgs"] if not paths({"extraArgs": {flag: "a value"}})}
    assert unguarded == free
    tuned = {"enableServiceLinks", "lifecycle", "metrics", "podDisruptionBudget", "podSecurityContext", "resources", "serviceAccount"}
    tuned.add("topologySpreadConstraints")
    keys = {key for key in ours if key != "extraArgs" and not paths({key: ours[key] or "x"})}
    assert keys == tuned


def _team() -> Team:
    return team()


@pytest.mark.parametrize("option", ["helm_values.extraArgs.x", "gateway_auth_helm_values.extraArgs.x", " helm_values.extraArgs.x "])
def test_waivers_are_compared_in_one_form(option: str) -> None:
    assert waiver_key(option) == "helm_values.extraArgs.x"
