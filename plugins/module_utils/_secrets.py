# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The team's namespace and its two Secrets: generated once, kept for ever after, completed when a key is missing.

Values live only inside the functions here. What comes out is which keys were set, never a value.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import os
import re
import secrets
import string
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal, decode, encode
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import SecretError, UnresolvedError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import namespace_manifest
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import FIELD_MANAGER, OWNER_LABEL_PREFIX, SecretSource, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import Change, foreign_reason, is_adopted, refuse_foreign

Object = dict[str, t.Any]

PASSWORD_LENGTH = 32
_ALPHABET = string.ascii_letters + string.digits
# AES key sizes: what oauth2-proxy accepts as a cookie secret after decoding (pkg/validation/cookie.go).
_COOKIE_SECRET_BYTES = (16, 24, 32)
GROUPS = f"{OWNER_LABEL_PREFIX}groups"
PROXY_KEYS = ("client-id", "client-secret", "cookie-secret")


def new_cookie_secret() -> str:
    """32 random bytes, URL-safe base64 (standard base64's + and / make oauth2-proxy read 44 raw bytes and refuse)."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def new_password() -> str:
    """Alphanumeric, so that no shell, URL or config file has to quote it."""
    return "".join(secrets.choice(_ALPHABET) for _unused in range(PASSWORD_LENGTH))


def ensure_namespace(team: Team, journal: Journal) -> bool:
    """Create the team's namespace when it isn't there; one that exists is used as it is. True when it exists (now)."""
    if journal.kube.get("v1", "Namespace", team.namespace) is not None:
        return True
    desired = namespace_manifest(team)
    # A plain create: server-side apply would take the right to patch namespaces, any of them, labels that others judge by included.
    after = desired if journal.check else journal.kube.create(desired)
    if after is not None:  # None: somebody else was first, and it is used as it is
        journal.record(Change("create", desired, None, (f"create namespace {team.namespace} for team {team.name}",)), after)
    return not journal.check


# What can be generated anew on demand, and what it costs the users.
ROTATIONS = {
    "cookie_secret": "logs out every session of the team: cookies are signed with it",
    "redis_password": "logs out every session of the team, unless the store keeps them on a volume: the store restarts",
}


def rotate(team: Team, journal: Journal, what: str) -> None:
    """Generate ``cookie_secret`` or ``redis_password`` anew; the pods take it at the rollout that follows."""
    name, key = {"cookie_secret": (team.proxy_secret, "cookie-secret"), "redis_password": (team.store_secret, "redis-password")}[what]
    source = team.client_secret
    if source is not None and source.kind == "secret" and source.name == name:
        raise SecretError(f"Secret {team.namespace}/{name} is managed by somebody else; it was left alone.", f"Have its key {key} changed at its source.")
    if what == "redis_password" and not team.has_store_password:
        raise SecretError(
            f"Team '{team.name}' has no session store of ours (gateway_auth_session_store.type: {team.session_store.type}), so there is no password to rotate.",
            "Change the password of an external store at its source, then run onboard_team.",
        )
    live = journal.kube.get("v1", "Secret", name, team.namespace)
    if live is None:
        raise SecretError(f"Secret {team.namespace}/{name} doesn't exist.", "Onboard the team first.")
    value = new_cookie_secret() if what == "cookie_secret" else new_password()
    # As a whole object of ours: the same fields, one value changed, by the same manager.
    desired: Object = {part: live[part] for part in ("apiVersion", "kind", "type") if part in live}
    desired["metadata"] = {"name": name, "namespace": team.namespace, "labels": team.owner_labels()}
    if GROUPS in (live["metadata"].get("annotations") or {}):
        desired["metadata"]["annotations"] = {GROUPS: live["metadata"]["annotations"][GROUPS]}
    desired["data"] = {item: text for item, text in (live.get("data") or {}).items() if applied(live, item)} | {key: encode(value)}
    foreign = refuse_foreign(desired, live, journal.adopt)
    reasons = (*([f"take over: {foreign}"] if foreign else []), f"rotate key {key} ({ROTATIONS[what]})")
    journal.carry_out(Change("update", desired, live, reasons))


def ensure_secrets(team: Team, journal: Journal, vaulted_value: t.Callable[[], str | None]) -> None:
    """Bring both Secrets to what the release needs.

    ``vaulted_value`` gives what only Ansible can read, ``gateway_auth_client_secret.value`` or the secret of a Key Vault; it is
    called only when that is the source.
    """
    kube = journal.kube
    source = team.client_secret
    if source is not None and source.kind == "secret" and source.name == team.proxy_secret:
        _check_foreign(kube, team)
    else:
        _ensure_proxy_secret(team, journal, lambda: client_secret(kube, team, vaulted_value))
    if team.has_store_password:
        _ensure_store_secret(team, journal)


def _ensure_proxy_secret(team: Team, journal: Journal, wanted_client_secret: t.Callable[[], str | None]) -> None:
    live = journal.kube.get("v1", "Secret", team.proxy_secret, team.namespace)
    cookie_secret = decode(live, "cookie-secret")
    if cookie_secret is not None:
        _check_cookie_secret(team, cookie_secret)
    data = {"client-id": encode(_client_id(team, journal)), "cookie-secret": encode(cookie_secret or new_cookie_secret())}
    if team.credential == "federated" or team.makes_secret:
        # The credential's own phase sets that key. One that we put here from another source stays until it is superseded:
        # an apply without it would take it from pods that may start in between.
        if applied(live, "client-secret"):
            data["client-secret"] = encode(str(decode(live, "client-secret")))
        _settle(team, journal, team.proxy_secret, live, data)
        return
    given = wanted_client_secret()
    kept = decode(live, "client-secret")
    if given is None and kept is None:
        raise SecretError(
            f"Secret {team.namespace}/{team.proxy_secret} has no key client-secret, and no source for it is given.",
            "Set gateway_auth_client_secret to one of {env, file, key_vault, secret, value}.",
        )
    data["client-secret"] = encode(given if given is not None else str(kept))
    _settle(team, journal, team.proxy_secret, live, data)


def _client_id(team: Team, journal: Journal) -> str:
    if team.client_id:
        return team.client_id
    if journal.check:
        return "(known once the app registration exists)"
    raise UnresolvedError(f"Team '{team.name}': the client id isn't known.", "Run role entra_app before, or set gateway_auth_client_id.")


def applied(live: Object | None, key: str) -> bool:
    """Whether our server-side apply owns a key of a Secret (an apply that leaves it out removes it)."""
    entries = ((live or {}).get("metadata") or {}).get("managedFields") or []
    ours = [entry for entry in entries if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"]
    return any(f"f:{key}" in ((entry.get("fieldsV1") or {}).get("f:data") or {}) for entry in ours) and decode(live, key) is not None


def remembered_groups(secret: Object | None) -> dict[str, str]:
    """Ids of groups that the inventory only names, as they were found the first time: a name can change its meaning."""
    raw = ((secret or {}).get("metadata", {}).get("annotations") or {}).get(GROUPS)
    try:
        found = json.loads(raw or "{}")
        return {str(name): str(identifier) for name, identifier in found.items()}
    except (ValueError, AttributeError):
        return {}


def _ensure_store_secret(team: Team, journal: Journal) -> None:
    live = journal.kube.get("v1", "Secret", team.store_secret, team.namespace)
    password = decode(live, "redis-password")
    if password is not None and password != password.strip() and live is not None and _is_taken_over(team, journal, live):
        password = None  # of a store that goes with the takeover; ours begins empty and takes any
    if password is not None and (password != password.strip() or not password):
        raise SecretError(
            f"Secret {team.namespace}/{team.store_secret} key redis-password is empty or ends in white space (the guide's `| base64` adds a newline); "
            "oauth2-proxy would send it as it is and the store would refuse it.",
            f"Store it without the newline, or delete the Secret: kubectl -n {team.namespace} delete secret {team.store_secret}.",
        )
    _settle(team, journal, team.store_secret, live, {"redis-password": encode(password or new_password())})


def _is_taken_over(team: Team, journal: Journal, live: Object) -> bool:
    mark = {"kind": live["kind"], "metadata": {"name": live["metadata"]["name"], "labels": team.owner_labels()}}
    return bool(foreign_reason(mark, live)) and is_adopted(mark, journal.adopt)


def _settle(team: Team, journal: Journal, name: str, live: Object | None, data: dict[str, str]) -> None:
    desired: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": team.namespace, "labels": team.owner_labels()},
        "type": "Opaque",
        "data": data,
    }
    # Ids that no name needs any more are forgotten: the name may come back and mean another group.
    if name == team.proxy_secret and (team.group_ids or remembered_groups(live)):
        desired["metadata"]["annotations"] = {GROUPS: json.dumps(team.group_ids, sort_keys=True)}
    change = journal.plan(desired, live)
    if change is None:
        return
    if change.action == "create":
        change = dataclasses.replace(change, reasons=tuple(f"generate {key}" if _generated(key) else f"set {key}" for key in sorted(data)))
        if not journal.check:
            # A plain create, so that of two runs at once one loses here instead of overwriting the other's cookie secret.
            after = journal.kube.create(desired)
            if after is None:
                raise SecretError(f"Secret {team.namespace}/{name} was created by somebody else at the same moment.", "Run again: what they generated is kept.")
            journal.record(change, after)
            return
    journal.carry_out(change)


def _generated(key: str) -> bool:
    return key in ("cookie-secret", "redis-password")


def _check_foreign(kube: Kube, team: Team) -> None:
    """A Secret that somebody else manages stands in for ours: it must be complete, and we never write it."""
    live = kube.get("v1", "Secret", team.proxy_secret, team.namespace)
    missing = [key for key in PROXY_KEYS if not decode(live, key)]
    if missing:
        raise SecretError(
            f"Secret {team.namespace}/{team.proxy_secret} (gateway_auth_client_secret.secret) lacks {', '.join(missing)}; expected {', '.join(PROXY_KEYS)}.",
            "Let whoever manages it provide them, or name another source.",
        )
    for key in PROXY_KEYS:
        _check_printable(f"Secret {team.namespace}/{team.proxy_secret} key {key}", str(decode(live, key)), "Have whoever manages it store the value alone.")
    _check_cookie_secret(team, str(decode(live, "cookie-secret")))


def client_secret(kube: Kube, team: Team, vaulted_value: t.Callable[[], str | None]) -> str | None:
    """The client secret from the source the inventory names; None when it names none (what is stored is kept)."""
    source = team.client_secret
    if source is None:
        return None
    value = _READERS[source.kind](kube, team, source, vaulted_value)
    value = value.removesuffix("\n").removesuffix("\r")
    what = {
        "env": f"environment variable {source.name}",
        "file": f"file {source.name}",
        "key_vault": f"secret {source.name} of Key Vault {source.url}",
        "secret": f"Secret {team.namespace}/{source.name} key {source.key}",
    }
    _check_printable(what.get(source.kind, "gateway_auth_client_secret.value"), value, "Store the bare secret there.")
    return value


def _from_env(_kube: Kube, _team: Team, source: SecretSource, _vaulted: t.Callable[[], str | None]) -> str:
    if source.name not in os.environ:
        raise SecretError(f"Environment variable {source.name} (gateway_auth_client_secret.env) is not set.", "Set it for this run.")
    return os.environ[source.name]


def _from_file(_kube: Kube, _team: Team, source: SecretSource, _vaulted: t.Callable[[], str | None]) -> str:
    try:
        with open(source.name, encoding="utf-8") as handle:
            return handle.read()
    except (OSError, UnicodeDecodeError) as exc:
        raise SecretError(
            f"Could not read the client secret from file {source.name} (gateway_auth_client_secret.file): {_reason(exc)}.",
            "Check the path and its permissions.",
        ) from exc


def _reason(exc: Exception) -> str:
    return str(exc.strerror) if isinstance(exc, OSError) else "not UTF-8 text"


def _from_secret(kube: Kube, team: Team, source: SecretSource, _vaulted: t.Callable[[], str | None]) -> str:
    value = decode(kube.get("v1", "Secret", source.name, team.namespace), source.key)
    if value is None:
        raise SecretError(
            f"Secret {team.namespace}/{source.name} has no key {source.key} (gateway_auth_client_secret.secret).", "Create it, or correct name and key."
        )
    return value


def _from_value(_kube: Kube, _team: Team, _source: SecretSource, vaulted: t.Callable[[], str | None]) -> str:
    return vaulted() or ""


_READERS: dict[str, t.Callable[[Kube, Team, SecretSource, t.Callable[[], str | None]], str]] = {
    "env": _from_env,
    "file": _from_file,
    "key_vault": _from_value,
    "secret": _from_secret,
    "value": _from_value,
}


def _check_printable(what: str, value: str, remedy: str) -> None:
    if not value:
        raise SecretError(f"The {what} is empty.", remedy)
    if any(char.isspace() or not char.isprintable() for char in value):
        raise SecretError(f"The {what} contains white space or unprintable characters (a trailing newline?).", remedy)


def _check_cookie_secret(team: Team, value: str) -> None:
    """As oauth2-proxy reads it: base64url when that gives an AES key size, else the raw bytes."""
    size = len(value.encode(errors="surrogateescape"))
    try:
        # Python's decoder takes + and / as well and skips what it doesn't know; Go's does neither.
        decoded = len(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))) if re.fullmatch(r"[\w-]*=*", value, re.ASCII) else 0
    except (binascii.Error, ValueError):
        decoded = 0
    if value != value.strip() or not (decoded in _COOKIE_SECRET_BYTES or size in _COOKIE_SECRET_BYTES):
        raise SecretError(
            f"Secret {team.namespace}/{team.proxy_secret} key cookie-secret gives {decoded or size} bytes; oauth2-proxy takes 16, 24 or 32 without a newline.",
            f"Delete that key and run again (users log in anew): kubectl -n {team.namespace} patch secret {team.proxy_secret} --type=json "
            """-p='[{"op":"remove","path":"/data/cookie-secret"}]'.""",
        )
