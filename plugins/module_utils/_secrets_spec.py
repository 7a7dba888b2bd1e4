# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Secrets a team's release reads, and how each key comes to be. Never a value."""

from __future__ import annotations

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team

Object = dict[str, t.Any]


def secret_specification(team: Team) -> list[Object]:
    """One entry for each Secret in the team's namespace: name, namespace, and for each key how it is made."""
    specification = [{"name": team.proxy_secret, "namespace": team.namespace, "keys": _proxy_keys(team)}]
    store = team.session_store
    if store.type == "bundled":
        specification.append(
            {"name": team.store_secret, "namespace": team.namespace, "keys": {"redis-password": "32 random letters and digits; generated once and kept"}}
        )
    elif store.type == "external" and store.secret is not None:
        specification.append(
            {"name": store.secret.name, "namespace": team.namespace, "keys": {store.secret.key: "password of the external session store; only read"}}
        )
    return specification


def _proxy_keys(team: Team) -> dict[str, str]:
    source = team.client_secret
    if source is not None and source.kind == "secret" and source.name == team.proxy_secret:
        theirs = "kept by whoever manages this Secret; only read"
        return {"client-id": theirs, "client-secret": theirs, "cookie-secret": theirs}
    keys = {"client-id": "client id of the app registration (gateway_auth_client_id)"}
    if team.credential != "federated":
        keys["client-secret"] = _client_secret(team)
    keys["cookie-secret"] = "32 random bytes as URL-safe base64; generated once and kept"
    return keys


def _client_secret(team: Team) -> str:
    source = team.client_secret
    if source is None:
        return "client secret of the app registration; kept as it is stored"
    if team.makes_secret:
        return f"client secret that we add to the app registration; stored as secret {source.name} of Key Vault {source.url} as well"
    return {
        "env": f"client secret of the app registration, from environment variable {source.name}",
        "file": f"client secret of the app registration, from file {source.name}",
        "key_vault": f"client secret of the app registration, from secret {source.name} of Key Vault {source.url}",
        "secret": f"client secret of the app registration, from key {source.key} of Secret {team.namespace}/{source.name}",
        "value": "client secret of the app registration, from the vaulted gateway_auth_client_secret.value",
    }[source.kind]
