# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Key Vault and Resource Manager answer, strictly: token and audience, api-version, permission, body.

Sources: https://learn.microsoft.com/rest/api/keyvault/secrets (get-secret, set-secret, get-deleted-secret),
https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses (the challenge),
https://learn.microsoft.com/rest/api/aks/managed-clusters/get and …/resources/subscriptions/list. Error texts are the services' own.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from tests.sandbox.entra.tokens import KeyRing
from tests.sandbox.entra.walk import TENANT

ARM_HOST: Final = "management.azure.com"
VAULT_SUFFIX: Final = ".vault.azure.net"
VAULT_AUDIENCE: Final = "https://vault.azure.net"
_VAULT_VERSION: Final = re.compile(r"7\.[0-6]|20\d\d-\d\d-\d\d(-preview\.\d)?")
CHALLENGE: Final = f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{VAULT_AUDIENCE}"'
_DATED: Final = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")
_SECRET_NAME: Final = re.compile(r"[0-9a-zA-Z-]{1,127}")
_CLUSTER: Final = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    r"/providers/Microsoft\.ContainerService/managedClusters/(?P<name>[^/]+)",
    re.IGNORECASE,
)

Object = dict[str, Any]


@dataclasses.dataclass
class Version:
    """One version of a secret. Its value is what a test looks for elsewhere."""

    value: str = dataclasses.field(repr=False)
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    content_type: str | None = None
    expires: int | None = None
    enabled: bool = True
    id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    created: int = dataclasses.field(default_factory=lambda: int(time.time()))


@dataclasses.dataclass
class Vault:
    """Secrets by name, oldest version first; ``permissions`` by client id (`get`, `set`)."""

    name: str
    secrets: dict[str, list[Version]] = dataclasses.field(default_factory=dict)
    deleted: dict[str, list[Version]] = dataclasses.field(default_factory=dict)
    permissions: dict[str, set[str]] = dataclasses.field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.name + VAULT_SUFFIX

    @property
    def url(self) -> str:
        return f"https://{self.host}"

    def bundle(self, name: str, version: Version) -> Object:
        attributes: Object = {"enabled": version.enabled, "created": version.created, "updated": version.created}
        attributes |= {"recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90}
        if version.expires is not None:
            attributes["exp"] = version.expires
        found: Object = {"value": version.value, "id": f"{self.url}/secrets/{name}/{version.id}", "attributes": attributes}
        if version.tags:
            found["tags"] = version.tags
        if version.content_type is not None:
            found["contentType"] = version.content_type
        return found


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request and its answer, without bodies."""

    method: str
    host: str
    path: str
    status: int


class Refusal(Exception):
    """An answer that isn't what was asked for."""

    def __init__(self, status: int, code: str, message: str, inner: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        error: Object = {"code": code, "message": message}
        if inner:
            error["innererror"] = {"code": inner}
        self.response = {"status": status, "body": {"error": error}, "headers": headers or {}}


@dataclasses.dataclass
class Azure:
    """Both services. ``clusters`` by subscription, resource group and name, all in lower case; ``readers`` are client ids."""

    keys: KeyRing
    vaults: dict[str, Vault] = dataclasses.field(default_factory=dict)
    subscriptions: list[str] = dataclasses.field(default_factory=list)
    clusters: dict[tuple[str, str, str], Object] = dataclasses.field(default_factory=dict)
    readers: set[str] = dataclasses.field(default_factory=set)
    journal: list[Asked] = dataclasses.field(default_factory=list)
    # Runs before a write is carried out, or (True) before its answer goes out.
    on_write: Callable[[bool], None] = lambda _carried_out: None

    @property
    def hosts(self) -> list[str]:
        return [ARM_HOST, *(vault.host for vault in self.vaults.values())]

    def vault(self, name: str) -> Vault:
        """A vault that is there from now on."""
        return self.vaults.setdefault(name + VAULT_SUFFIX, Vault(name))

    async def answer(self, request: web.Request) -> web.Response:
        host = request.headers.get("Host", "").partition(":")[0].lower()
        try:
            if host == ARM_HOST:
                found = self._arm(request)
            elif host in self.vaults:
                found = self._key_vault(self.vaults[host], request, await request.read())
            else:
                raise Refusal(421, "Misdirected", f"No double of {host}.")
            response = web.json_response(found)
        except Refusal as refusal:
            response = web.json_response(refusal.response["body"], status=refusal.response["status"], headers=refusal.response["headers"])
        self.journal.append(Asked(request.method, host, request.path, response.status))
        return response

    def _claims(self, request: web.Request) -> Object | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        claims = self.keys.verify(token) if scheme.lower() == "bearer" else None
        return claims if claims is not None and claims["exp"] > time.time() else None

    # --- Key Vault ---------------------------------------------------------------------------------------------------
    def _key_vault(self, vault: Vault, request: web.Request, body: bytes) -> Object:
        challenge = {"WWW-Authenticate": CHALLENGE}
        if "Authorization" not in request.headers:
            raise Refusal(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.", headers=challenge)
        claims = self._claims(request)
        if claims is None:
            raise Refusal(401, "Unauthorized", "AKV10046: Unable to resolve the key used for signature validation.", headers=challenge)
        if claims["aud"] != VAULT_AUDIENCE:
            raise Refusal(401, "Unauthorized", f"AKV10022: Invalid audience. Expected {VAULT_AUDIENCE}, found: {claims['aud']}.", headers=challenge)
        version = request.query.get("api-version")
        if version is None:
            raise Refusal(400, "BadParameter", "api-version must be specified")
        if not _VAULT_VERSION.fullmatch(version):
            raise Refusal(400, "BadParameter", f"The specified version ({version}) is not recognized. Consider using the latest supported version.")
        parts = request.path.strip("/").split("/")
        if parts[0] not in ("secrets", "deletedsecrets") or not 2 <= len(parts) <= 3 or not _SECRET_NAME.fullmatch(parts[1]):
            raise Refusal(404, "NotFound", "The resource doesn't exist.")
        if request.method == "GET":
            self._permit(vault, claims, "get")
            return self._deleted(vault, parts[1]) if parts[0] == "deletedsecrets" else self._get(vault, parts[1], parts[2] if len(parts) > 2 else "")
        if request.method == "PUT" and parts[0] == "secrets" and len(parts) == 2:
            self._permit(vault, claims, "set")
            return self._set(vault, parts[1], request, body)
        raise Refusal(405, "MethodNotAllowed", f"HTTP {request.method} isn't supported here.")

    @staticmethod
    def _permit(vault: Vault, claims: Object, action: str) -> None:
        if action not in vault.permissions.get(claims["appid"], ()):
            who = f"appid={claims['appid']};oid={claims['oid']};iss={claims['iss']}"
            raise Refusal(
                403,
                "Forbidden",
                f"The user, group or application '{who}' does not have secrets {action} permission on key vault '{vault.name};location=westeurope'. "
                "For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
                "AccessDenied",
            )

    @staticmethod
    def _missing(name: str) -> Refusal:
        return Refusal(
            404,
            "SecretNotFound",
            f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may be able to recover it "
            "using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182",
        )

    def _get(self, vault: Vault, name: str, version_id: str) -> Object:
        versions = vault.secrets.get(name) or []
        found = next((version for version in reversed(versions) if version_id in ("", version.id)), None)
        if found is None:
            raise self._missing(f"{name}/{version_id}".rstrip("/"))
        if not found.enabled:
            raise Refusal(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled")
        return vault.bundle(name, found)

    def _deleted(self, vault: Vault, name: str) -> Object:
        versions = vault.deleted.get(name)
        if not versions:
            raise self._missing(name)
        now = int(time.time())
        found = {key: value for key, value in vault.bundle(name, versions[-1]).items() if key != "value"}
        return {**found, "recoveryId": f"{vault.url}/deletedsecrets/{name}", "deletedDate": now, "scheduledPurgeDate": now + 90 * 86400}

    def _set(self, vault: Vault, name: str, request: web.Request, body: bytes) -> Object:
        if name in vault.deleted:
            raise Refusal(
                409,
                "Conflict",
                f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can "
                "only be recovered or purged.",
                "ObjectIsDeletedButRecoverable",
            )
        given = self._body(request, body)
        attributes = given.get("attributes") or {}
        version = Version(
            given["value"], dict(given.get("tags") or {}), given.get("contentType"), attributes.get("exp"), enabled=attributes.get("enabled", True) is not False
        )
        self.on_write(False)
        vault.secrets.setdefault(name, []).append(version)
        self.on_write(True)
        return vault.bundle(name, version)

    @staticmethod
    def _body(request: web.Request, body: bytes) -> Object:
        if request.content_type != "application/json":
            raise Refusal(415, "UnsupportedMediaType", "The media type isn't supported.")
        try:
            given = json.loads(body)
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise Refusal(400, "BadParameter", "The request body isn't valid JSON.")
        unknown = set(given) - {"value", "tags", "contentType", "attributes"} or set(given.get("attributes") or {}) - {"enabled", "exp", "nbf"}
        if unknown:
            raise Refusal(400, "BadParameter", f"Property '{min(unknown)}' is not recognized.")
        tags = given.get("tags") or {}
        if not isinstance(given.get("value"), str) or not given["value"]:
            raise Refusal(400, "BadParameter", "Property 'value' has invalid value.")
        if len(tags) > 15 or not all(isinstance(value, str) and len(value) <= 512 for value in tags.values()):
            raise Refusal(400, "BadParameter", "Property 'tags' has invalid value.")
        return given

    # --- Resource Manager ----------------------------------------------------------------------------------------------
    def _arm(self, request: web.Request) -> Object:
        claims = self._claims(request)
        if claims is None or claims["aud"].rstrip("/") != f"https://{ARM_HOST}":
            headers = {"WWW-Authenticate": f'Bearer authorization_uri="https://login.microsoftonline.com/{TENANT}", error="invalid_token"'}
            raise Refusal(401, "InvalidAuthenticationToken", "The access token is invalid.", headers=headers)
        if not _DATED.fullmatch(request.query.get("api-version", "")):
            raise Refusal(400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
        if request.method != "GET":
            raise Refusal(405, "MethodNotAllowed", f"HTTP {request.method} isn't supported here.")
        if request.path == "/subscriptions":
            listed = [{"subscriptionId": item, "state": "Enabled", "tenantId": TENANT} for item in self.subscriptions if claims["appid"] in self.readers]
            return {"value": listed}
        match = _CLUSTER.fullmatch(request.path)
        if match is None:
            raise Refusal(404, "NotFound", "The resource doesn't exist.")
        return self._cluster(match, claims)

    def _cluster(self, match: re.Match[str], claims: Object) -> Object:
        subscription, group, name = match["subscription"].lower(), match["group"].lower(), match["name"].lower()
        if subscription not in self.subscriptions:
            raise Refusal(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")
        scope = f"/subscriptions/{subscription}/resourceGroups/{match['group']}/providers/Microsoft.ContainerService/managedClusters/{match['name']}"
        if claims["appid"] not in self.readers:
            raise Refusal(
                403,
                "AuthorizationFailed",
                f"The client '{claims['appid']}' with object id '{claims['oid']}' does not have authorization to perform action "
                f"'Microsoft.ContainerService/managedClusters/read' over scope '{scope}' or the scope is invalid. If access was recently granted, "
                "please refresh your credentials.",
            )
        if not any(key[:2] == (subscription, group) for key in self.clusters):
            raise Refusal(404, "ResourceGroupNotFound", f"Resource group '{match['group']}' could not be found.")
        if (subscription, group, name) not in self.clusters:
            raise Refusal(
                404,
                "ResourceNotFound",
                f"The Resource 'Microsoft.ContainerService/managedClusters/{match['name']}' under resource group '{match['group']}' was not found. "
                "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
            )
        properties = self.clusters[(subscription, group, name)]
        return {
            "id": scope,
            "name": match["name"],
            "type": "Microsoft.ContainerService/ManagedClusters",
            "location": "westeurope",
            "properties": {"provisioningState": "Succeeded", **properties},
        }
