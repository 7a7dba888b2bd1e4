# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Secrets a release reads."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import proxy_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._secrets_spec import secret_specification
from tests.golden import team

PROXY = ("oauth2-proxy-team-a", ["client-id", "client-secret", "cookie-secret"])
VAULT = {"kind": "key_vault", "name": "oauth2-team-a", "key": "", "url": "https://contoso.vault.azure.net"}
EXTERNAL = {"type": "external", "url": "rediss://x", "secret": {"name": "sessions", "key": "password"}}


@pytest.mark.parametrize(
    ("overrides", "secrets"),
    [
        pytest.param({}, [PROXY, ("oauth2-proxy-redis-team-a", ["redis-password"])], id="bundled store"),
        pytest.param({"session_store": EXTERNAL}, [PROXY, ("sessions", ["password"])], id="external store"),
        pytest.param({"session_store": {"type": "external", "url": "redis://x"}}, [PROXY], id="external store without password"),
        pytest.param({"session_store": {"type": "cookie"}}, [PROXY], id="no store"),
        pytest.param(
            {"session_store": {"type": "cookie"}, "credential": "federated", "client_secret": None},
            [("oauth2-proxy-team-a", ["client-id", "cookie-secret"])],
            id="no client secret",
        ),
    ],
)
def test_secrets_and_keys(overrides: dict[str, t.Any], secrets: list[tuple[str, list[str]]]) -> None:
    specification = secret_specification(team(overrides))
    assert [(secret["name"], list(secret["keys"])) for secret in specification] == secrets
    assert {secret["namespace"] for secret in specification} == {"monitoring-team-a"}


@pytest.mark.parametrize(
    ("source", "word"),
    [
        pytest.param({"kind": "env", "name": "A_SECRET"}, "environment variable A_SECRET", id="environment"),
        pytest.param({"kind": "file", "name": "/run/secret"}, "/run/secret", id="file"),
        pytest.param({"kind": "secret", "name": "theirs", "key": "k"}, "key k of Secret monitoring-team-a/theirs", id="another Secret"),
        pytest.param({"kind": "secret", "name": "oauth2-proxy-team-a", "key": "client-secret"}, "only read", id="the Secret itself"),
        pytest.param({"kind": "value", "name": "", "key": ""}, "gateway_auth_client_secret.value", id="vaulted value"),
        pytest.param(VAULT, "from secret oauth2-team-a of Key Vault https://contoso.vault.azure.net", id="Key Vault"),
        pytest.param(None, "kept", id="none given"),
    ],
)
def test_says_where_the_client_secret_comes_from(source: dict[str, str] | None, word: str) -> None:
    assert word in secret_specification(team({"client_secret": source}))[0]["keys"]["client-secret"]


def test_says_where_the_client_secret_that_we_make_goes_as_well() -> None:
    told = secret_specification(team({"client_secret": VAULT, "registration": "managed"}))[0]["keys"]["client-secret"]
    assert "we add" in told and "stored as secret oauth2-team-a of Key Vault https://contoso.vault.azure.net" in told


@pytest.mark.parametrize("overrides", [{}, {"session_store": EXTERNAL}, {"credential": "federated", "client_secret": None}])
def test_agrees_with_what_the_release_reads(overrides: dict[str, t.Any]) -> None:
    values = proxy_values(team(overrides))
    read = {values["config"]["existingSecret"]: values["config"]["requiredSecretKeys"]}
    redis = values["sessionStorage"]["redis"]
    read[redis["existingSecret"]] = [redis["passwordKey"]]
    assert {secret["name"]: list(secret["keys"]) for secret in secret_specification(team(overrides))} == read
