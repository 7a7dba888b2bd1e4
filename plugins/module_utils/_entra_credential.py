# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What oauth2-proxy authenticates to Entra with: a client secret that we add and rotate, or a federated credential.

A secret's way, each step of which a killed run can be resumed from:

1. added: Entra has it, and the Secret in the cluster holds it as ``client-secret-next``, which no pod reads
2. proven: the token endpoint took it several times in a row; then it becomes ``client-secret`` in one write
3. rolled out: pods restart, since what they read changed (``_rollout``)
4. proven in use: no pod is left that started before, and none of the new ones was refused; then the old one is revoked

What the Secret holds is told by its annotation STATE. Entra shows a secret's value once, so one whose run died between the
two writes of step 1 is lost; it is recognized (our name, in no Secret) and removed.

Two runs at once: every write to the Secret is guarded by its resourceVersion, so one of two that added a secret at the same
time fails to store it and takes it back. A secret that nobody seems to use may be one that another run is about to store;
hence ``_fence``: the Secret is written first, which makes that other run fail.

A secret may have a copy outside the cluster, for others to read (``Store``). It is compared at each run by the key id that the
copy carries, and written between steps 2 and 4, so the copy is never a secret that was revoked.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import json
import time
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _rollout
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal, decode, encode
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_plan import describe, federated_name, own_secrets
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import (
    ClusterError,
    ForbiddenError,
    ForeignObjectError,
    GraphAuthError,
    GraphConflictError,
    GraphError,
    GraphForbiddenError,
    GraphUncertainError,
    RegistrationError,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import Graph, key
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import OWNER_LABEL_PREFIX, TOKEN_EXCHANGE, Team, span
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import refuse_foreign

Object = dict[str, t.Any]

STATE = f"{OWNER_LABEL_PREFIX}credential"
KEY = "client-secret"
NEXT_KEY = "client-secret-next"
PROOFS_IN_A_ROW = 3
PROOF_PATIENCE_S = 120.0
MAX_LIFETIME_DAYS = 730
POLL_S = 0.5
REFUSED_SECRET = ("AADSTS7000215", "AADSTS7000222")
# So long after its creation a replica may not list a secret yet (assumption: "seconds, sometimes minutes").
YOUNG = datetime.timedelta(minutes=10)


@dataclasses.dataclass(frozen=True)
class Password:
    """A client secret by everything but its value: Entra's key id and its times (RFC 3339, UTC)."""

    key_id: str
    added: str = ""
    expires: str = ""

    @classmethod
    def read(cls, raw: Object) -> Password:
        return cls(str(raw["keyId"]), str(raw.get("added") or ""), str(raw.get("expires") or ""))

    def to_dict(self) -> Object:
        return {"keyId": self.key_id, "added": self.added, "expires": self.expires}


@dataclasses.dataclass(frozen=True)
class State:
    """What the Secret's annotation says of the secrets we made: in use, being proven, to be revoked."""

    current: Password | None = None
    next: Password | None = None
    previous: tuple[str, ...] = ()
    federated: str = ""  # a federated credential of ours: "added", or "proven" at the token endpoint

    @classmethod
    def of(cls, secret: Object | None) -> State:
        """An annotation that isn't ours to the letter counts as none: then a new secret is made and nothing revoked by it."""
        raw = ((secret or {}).get("metadata", {}).get("annotations") or {}).get(STATE)
        try:
            data = json.loads(raw or "{}")
            return cls(
                Password.read(data["current"]) if data.get("current") else None,
                Password.read(data["next"]) if data.get("next") else None,
                tuple(str(item) for item in data.get("previous") or ()),
                str(data.get("federated") or ""),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def annotation(self) -> str:
        data: Object = {}
        if self.current is not None:
            data["current"] = self.current.to_dict()
        if self.next is not None:
            data["next"] = self.next.to_dict()
        if self.previous:
            data["previous"] = list(self.previous)
        if self.federated:
            data["federated"] = self.federated
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    @property
    def known(self) -> set[str]:
        return {item.key_id for item in (self.current, self.next) if item is not None} | set(self.previous)


class Prove(t.Protocol):
    """Asks the token endpoint once with the team's own client id: returns, or raises GraphAuthError."""

    def __call__(self, team: Team, *, secret: str = "", assertion: str = "") -> None: ...


@dataclasses.dataclass(frozen=True)
class Copy:
    """What a place outside the cluster holds, by its marks: the ``unique_name`` of its owner, and Entra's key id."""

    owner: str
    key_id: str


class Store(t.Protocol):
    """A place outside the cluster where others read the secret that we make."""

    @property
    def object(self) -> str:
        """For ``-e adopt``: ``Kind/name``."""

    @property
    def place(self) -> str:
        """For messages: ``secret <name> of <where>``."""

    def look(self) -> Copy | None:
        """What it holds; None when that is nothing."""

    def put(self, value: str, key_id: str, expires: str) -> None:
        """Store the value with its marks, at once."""


@dataclasses.dataclass
class Keeper:
    """The credential of one team, between Entra and its Secret."""

    team: Team
    graph: Graph
    kube: Kube
    journal: Journal
    application: Object
    prove: Prove
    store: Store | None = None
    now: collections.abc.Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)
    sleep: collections.abc.Callable[[float], None] = time.sleep
    clock: collections.abc.Callable[[], float] = time.monotonic
    findings: list[str] = dataclasses.field(default_factory=list)

    # --- before the rollout ----------------------------------------------------------------------------------------------
    def settle(self, *, rotate: bool = False, when_old: bool = False) -> None:
        """A credential that works is in the cluster. ``rotate``: a new one, now; ``when_old``: once it is older than rotate_after."""
        if rotate and not self.team.makes_secret:
            raise RegistrationError(
                f"Team '{self.team.name}' has no client secret of ours (gateway_auth_registration: {self.team.registration},"
                f" gateway_auth_credential: {self.team.credential}), so there is none to rotate.",
                "A federated credential needs no rotation; a secret that somebody else makes is changed at its source, then run onboard_team.",
            )
        secret = self._secret()
        # In check mode of an adoption the Secret still is what it was; a rotation adopts nothing.
        if secret is not None and (not self.journal.check or rotate or when_old):
            self._refuse_foreign(secret)
        if self.team.credential == "federated":
            self._settle_federated(secret)
        elif self.team.makes_secret:
            self._settle_secret(secret, rotate=rotate, when_old=when_old)
        else:
            self._tell_what_is_kept(secret)

    def _refuse_foreign(self, secret: Object) -> None:
        """The Secret of another installation names another registration, whose credential isn't ours to change."""
        if self.team.registration == "managed" and self.team.credential != "external":
            ours = {"kind": "Secret", "metadata": {"name": self.team.proxy_secret, "namespace": self.team.namespace, "labels": self.team.owner_labels()}}
            refuse_foreign(ours, secret, self.journal.adopt)

    def _settle_secret(self, secret: Object | None, *, rotate: bool, when_old: bool) -> None:
        held = self._held()
        state = State.of(secret)
        if state.next is not None:
            added = state.next.key_id
            secret, state = self._resume(secret, state)
            # What was asked for then is what is asked for now: one new secret, not two.
            rotate = rotate and (state.current is None or state.current.key_id != added)
        reason = self._why_new(secret, state, rotate=rotate, when_old=when_old)
        if reason:
            secret, state = self._renew(secret, state, reason)
        self._copy(secret, state, held)

    def _held(self) -> Copy | None:
        """What the store holds, looked at before anything is written: it may be out of reach, or somebody else's."""
        if self.store is None:
            return None
        held = self.store.look()
        foreign = held is not None and held.owner != self.team.unique_name
        if held is not None and foreign and not {"all", self.store.object} & set(self.journal.adopt):
            whose = f"it is marked as {held.owner}'s" if held.owner else "it has no mark of ours"
            raise ForeignObjectError(
                f"The {self.store.place} exists and is not ours ({whose}); it was left alone.",
                f"To have it hold this team's client secret: -e adopt='[{self.store.object}]'; else name another one.",
            )
        return held

    def _copy(self, secret: Object | None, state: State, held: Copy | None) -> None:
        """The secret in use, once proven, to the store."""
        if self.store is None:
            return
        key_id = state.current.key_id if state.current is not None else ""
        if key_id and held == Copy(self.team.unique_name, key_id):
            return
        if not self.journal.check:
            if state.current is None:
                raise AssertionError("settled by now")
            self.store.put(decode(secret, KEY) or "", key_id, state.current.expires)
        instead = f" in the place of {held.key_id or 'what is there'}" if held is not None else ""
        self._note(
            "create" if held is None else "update", self.store.place, [f"store {f'client secret {key_id}' if key_id else 'it'} for others to read{instead}"]
        )

    def _resume(self, secret: Object | None, state: State) -> tuple[Object | None, State]:
        """An earlier run added a secret and died before it was in use."""
        if state.next is None or secret is None:
            raise AssertionError("there is nothing to resume")
        usable = self._of_ours(state.next.key_id) is not None and decode(secret, NEXT_KEY) and self._may_be(decode(secret, NEXT_KEY), state.next.key_id)
        what = f"client secret {state.next.key_id} of the {describe(self.team)}"
        if not usable:
            self._note("update", f"Secret {self._place}", [f"forget {what}, which an earlier run left half done"])
            dropped = dataclasses.replace(state, next=None)
            return (secret if self.journal.check else self._write(secret, dropped, drop=NEXT_KEY)), dropped
        self._note("update", f"Secret {self._place}", [f"go on with {what}, which an earlier run added"])
        return self._promote(secret, state)

    def _why_new(self, secret: Object | None, state: State, *, rotate: bool, when_old: bool) -> str:
        """Why a new secret is due; "" when the one there will do."""
        if rotate:
            return "rotate it now"
        if not decode(secret, KEY):
            return "none is stored"
        if state.current is None:
            return f"the stored one was not made by us (no annotation {STATE})"
        return self._why_replaced(secret, state.current, when_old=when_old)

    def _why_replaced(self, secret: Object | None, current: Password, *, when_old: bool) -> str:
        age = self.now() - _moment(current.added)
        entry = self._in_entra(current.key_id)
        if entry is None:
            # The replica that was asked may not list it yet.
            young = abs(age) < YOUNG and self._taken(str(decode(secret, KEY)))
            return "" if young else f"Entra no longer has {current.key_id}"
        if self._of_ours(current.key_id) is None:
            return f"the stored one, {current.key_id}, was not made by us (its name isn't {self.team.unique_name})"
        if not self._may_be(decode(secret, KEY), current.key_id):
            return f"the stored one isn't {current.key_id} (Entra's hint of that is another)"
        if _moment(str(entry.get("endDateTime") or "")) <= self.now():
            return f"{current.key_id} expired on {entry.get('endDateTime')}"
        if when_old and age >= span(self.team.rotate_after):
            return f"{current.key_id} is {age.days} days old (gateway_auth_rotate_after: {self.team.rotate_after})"
        return ""

    def _taken(self, value: str) -> bool:
        try:
            self.prove(self.team, secret=value)
        except GraphAuthError:
            return False
        return True

    def _renew(self, secret: Object | None, state: State, reason: str) -> tuple[Object | None, State]:
        what = f"client secret of the {describe(self.team)}"
        if self.journal.check:
            self._note("create", what, [f"add a client secret: {reason}", f"store it in Secret {self._place}"])
            self._note_promotion("the new client secret")
            return secret, State()
        if secret is None:
            raise RegistrationError(f"Secret {self._place} doesn't exist.", "Run the whole of onboard_team: role team_secrets creates it.")
        added = self._add(reason)
        value = added.pop("secretText")
        fresh = Password(str(added["keyId"]), _text(self.now()), str(added.get("endDateTime") or ""))
        try:
            secret = self._write(secret, dataclasses.replace(state, next=fresh), put={NEXT_KEY: value})
        except ClusterError:
            # Nobody else knows the value, so it is of no use to anybody.
            self._revoke(fresh.key_id, quiet=True)
            raise
        finally:
            del value
        self._note("create", what, [f"add a client secret, key id {fresh.key_id}: {reason}", f"store it in Secret {self._place}"])
        return self._promote(secret, State.of(secret))

    def _add(self, reason: str) -> Object:
        end = self.now() + min(2 * span(self.team.rotate_after), datetime.timedelta(days=MAX_LIFETIME_DAYS))
        body = {"passwordCredential": {"displayName": self.team.unique_name, "endDateTime": _text(end)}}
        path = f"/applications/{self.application['id']}/addPassword"

        def attempt() -> Object | None:
            try:
                return self.graph.create(path, body, what=f"add a client secret to the {describe(self.team)}")
            except GraphConflictError:
                return None  # Entra takes one change of an application at a time, and others may share it

        try:
            # Just created, the application may not be there yet for the replica that is asked.
            return self.graph.until(attempt, f"a client secret of the {describe(self.team)} ({reason})")
        except GraphUncertainError as exc:
            raise GraphUncertainError(
                f"{exc.message} A client secret may have been added whose value nobody has.", "Run again: it is recognized by its name and removed."
            ) from exc
        except GraphError as exc:
            if "AppPolicy" in exc.code or "CredentialTypeNotAllowed" in exc.code or "CredentialInvalidLifetime" in exc.code:
                raise RegistrationError(
                    f"An app management policy of the tenant refuses this client secret: {exc.code}: {exc.message}",
                    "Shorten gateway_auth_rotate_after (a secret is valid for twice that), use gateway_auth_credential: federated, "
                    "or have the application exempted.",
                ) from exc
            raise

    def _promote(self, secret: Object, state: State) -> tuple[Object, State]:
        """Prove the next secret, then put it where the pods read."""
        if state.next is None:
            raise AssertionError("there is nothing to promote")
        previous = [*state.previous, *([state.current.key_id] if state.current is not None else [])]
        promoted = State(state.next, None, tuple(dict.fromkeys(previous)), state.federated)
        what = f"client secret {state.next.key_id}"
        if self.journal.check:
            data = secret["data"]
            secret = {**secret, "data": {**{name: text for name, text in data.items() if name != NEXT_KEY}, KEY: data[NEXT_KEY]}}
        else:
            value = decode(secret, NEXT_KEY) or ""
            self._until_proven(what, lambda: self.prove(self.team, secret=value))
            secret = self._write(secret, promoted, put={KEY: value}, drop=NEXT_KEY)
        self._note_promotion(what)
        return secret, promoted

    def _note_promotion(self, what: str) -> None:
        self._note("update", f"Secret {self._place}", [f"{what} is proven at the token endpoint and takes over"])

    def _until_proven(self, what: str, ask: collections.abc.Callable[[], None]) -> None:
        """Several times in a row: Entra's replicas learn of a credential one after the other."""
        deadline = self.clock() + PROOF_PATIENCE_S
        row, pause = 0, POLL_S
        while row < PROOFS_IN_A_ROW:
            try:
                ask()
                row += 1
            except GraphAuthError as exc:
                row = 0
                if not _may_pass(exc) or self.clock() + pause > deadline:
                    raise RegistrationError(
                        f"Entra doesn't take {what} of the {describe(self.team)}: {exc.message}", "Run again in some minutes; nothing in use was changed."
                    ) from exc
                self.sleep(pause)
                pause = min(2 * pause, 5.0)

    # --- federated -------------------------------------------------------------------------------------------------------
    @property
    def federated_name(self) -> str:
        return federated_name(self.team)

    def _settle_federated(self, secret: Object | None) -> None:
        state = State.of(secret)
        issuer = self.team.workload_identity.issuer or self._cluster_issuer()
        wanted = {"issuer": issuer, "subject": self.team.workload_subject, "audiences": [TOKEN_EXCHANGE]}
        found = self._federated()
        trusted = any(all(item.get(name) == value for name, value in wanted.items()) for item in found)
        if not trusted:
            if self.team.registration == "existing":
                raise RegistrationError(
                    f"The {describe(self.team)} has no federated credential for issuer {issuer}, subject {self.team.workload_subject},"
                    f" audience {TOKEN_EXCHANGE}.",
                    "Add it in Entra, or set gateway_auth_registration: managed.",
                )
            if not self.journal.check:
                secret = self._mark_federated(secret, state, "added")
            self._federate(wanted, next((item for item in found if item.get("name") == self.federated_name), None))
        if self.team.registration == "managed" and (state.federated != "proven" or not trusted) and not self.journal.check:
            self._prove_federated(secret)

    def _mark_federated(self, secret: Object | None, state: State, word: str) -> Object:
        if secret is None:
            raise RegistrationError(f"Secret {self._place} doesn't exist.", "Run the whole of onboard_team: role team_secrets creates it.")
        return self._write(secret, dataclasses.replace(state, federated=word))

    def _prove_federated(self, secret: Object | None) -> bool:
        """With a token as the pods get it; False when the release isn't there yet, or we may not ask for one."""
        token = self._service_account_token()
        if not token:
            return False
        self._until_proven(f"federated credential '{self.federated_name}'", lambda: self.prove(self.team, assertion=token))
        self._mark_federated(secret, State.of(secret), "proven")
        return True

    def _federate(self, wanted: Object, ours: Object | None) -> None:
        what = f"federated credential '{self.federated_name}' of the {describe(self.team)}"
        if ours is None:
            reasons = [f"trust service account {self.team.namespace}/{self.team.service_account} of issuer {wanted['issuer']}"]
        else:
            reasons = [f"change {name} from {ours.get(name)!r} to {value!r}" for name, value in wanted.items() if ours.get(name) != value]
        self._note("create" if ours is None else "update", what, reasons)
        if self.journal.check:
            return
        body = {**wanted, "description": f"oauth2-proxy of {self.team.name}, managed by platform.gateway_auth"}
        path = f"/applications/{self.application['id']}/federatedIdentityCredentials(name={key(self.federated_name)})"

        def attempt() -> bool | None:
            try:
                self.graph.upsert(path, body, what=reasons[0])
            except GraphConflictError:
                return None  # Entra takes one change of an application's federated credentials at a time
            return True

        self.graph.until(attempt, what)

    def _federated(self) -> list[Object]:
        if not self.application:  # check mode of a first onboarding
            return []
        return self.graph.list(
            f"/applications/{self.application['id']}/federatedIdentityCredentials", what=f"list federated credentials of the {describe(self.team)}"
        )

    def _cluster_issuer(self) -> str:
        issuer = self.kube.issuer()
        if not issuer.startswith("https://"):
            raise RegistrationError(
                f"The cluster names '{issuer}' as the issuer of its service account tokens, which Entra can't reach.",
                "Switch on the cluster's OIDC issuer (az aks update --enable-oidc-issuer), or set gateway_auth_workload_identity.issuer.",
            )
        return issuer

    def _service_account_token(self) -> str:
        """A token as the pods get it, to try; "" when the release isn't there yet or we may not ask for one."""
        try:
            return self.kube.service_account_token(self.team.namespace, self.team.service_account, TOKEN_EXCHANGE)
        except ForbiddenError:
            self.findings.append(
                "The federated credential can't be tried, and no client secret is revoked: this identity may not create tokens of service account"
                f" {self.team.namespace}/{self.team.service_account} (verb create on serviceaccounts/token)."
            )
            return ""

    # --- after the rollout -------------------------------------------------------------------------------------------------
    def key_id(self) -> str:
        """The key id of the client secret in use; "" when there is none of ours."""
        current = State.of(self._secret()).current
        return current.key_id if current is not None else ""

    def describe(self) -> Object:
        """Every credential of the registration, and which of them the cluster's Secret refers to. Never a value."""
        state = State.of(self._secret())
        return {
            "mode": self.team.credential,
            "current": state.current.to_dict() if state.current is not None else None,
            "next": state.next.to_dict() if state.next is not None else None,
            "previous": list(state.previous),
            "passwords": [
                {"keyId": item.get("keyId"), "name": item.get("displayName"), "expires": item.get("endDateTime"), "ours": item.get("keyId") in self._ours()}
                for item in self.application.get("passwordCredentials") or []
            ],
            "federated": [
                {"name": item.get("name"), "issuer": item.get("issuer"), "subject": item.get("subject"), "ours": item.get("name") == self.federated_name}
                for item in self._federated()
            ],
        }

    def pending(self) -> bool:
        """Whether ``retire`` has something to do."""
        if self.team.registration != "managed":
            return False
        secret = self._secret()
        state = State.of(secret)
        if self.team.credential == "external":
            return bool(self._superseded(secret) or state.known or state.federated)
        if self.team.credential == "federated":
            return state.federated != "proven" or bool(self._ours() or state.known or self._secret_keys(secret))
        return bool(state.previous or state.federated or self._unused(state))

    def retire(self) -> None:
        """Once the pods run on the credential that is in the Secret now: revoke what none of them uses any more."""
        if not self.pending():
            return
        secret = self._secret()
        state = State.of(secret)
        if secret is not None and not self.journal.check:
            self._refuse_foreign(secret)
            self._refuse_unknown(secret, state)
        if self.team.credential == "federated":
            if state.federated != "proven" and not self.journal.check:
                if not self._prove_federated(secret):
                    return  # nothing is revoked before its successor is known to work
                secret = self._secret()
            self._revoke_all(secret, self._ours(), self._secret_keys(secret), "oauth2-proxy uses a federated credential")
            return
        if self.team.credential == "external":
            self._tell_what_is_kept(secret)
            self._revoke_all(secret, self._superseded(secret), [], "oauth2-proxy uses a secret that somebody else makes")
        elif state.previous or self._unused(state):
            self._revoke_all(secret, [*state.previous, *self._unused(state)], [], "superseded, no pod uses it")
        if state.federated:
            self._distrust()

    def _refuse_unknown(self, secret: Object, state: State) -> None:
        """Without a word on what is in use, everything looks unused."""
        if not self.team.makes_secret:
            return
        if state.current is None or not self._may_be(decode(secret, KEY), state.current.key_id):
            raise RegistrationError(
                f"Secret {self._place} doesn't hold the client secret that its annotation {STATE} names, so nobody knows which is in use; none was revoked.",
                "Run onboard_team: it makes a new one, and revokes the others once no pod uses them.",
            )

    def _superseded(self, secret: Object | None) -> list[str]:
        """Of ours, where somebody else makes the secret: but one of ours may have become theirs, by way of a vault."""
        value = decode(secret, KEY)
        return [key_id for key_id in self._ours() if not (value and self._hint(key_id) and self._may_be(value, key_id))]

    def _tell_what_is_kept(self, secret: Object | None) -> None:
        if self.team.registration != "managed" or self.team.credential != "external":
            return
        kept = [key_id for key_id in self._ours() if key_id not in self._superseded(secret)]
        if kept:
            self.findings.append(
                f"The external client secret seems to be one that we made ({', '.join(kept)}, by Entra's hint), so it was not revoked. It expires,"
                " and nothing here renews it: have another one made at its source."
            )

    def _unused(self, state: State) -> list[str]:
        return [key_id for key_id in self._ours() if key_id not in state.known]

    @staticmethod
    def _secret_keys(secret: Object | None) -> list[str]:
        return [name for name in (KEY, NEXT_KEY) if decode(secret, name) is not None]

    def _revoke_all(self, secret: Object | None, key_ids: list[str], keys: list[str], why: str) -> None:
        # A key id in the annotation alone gives no right: that may be edited, or copied from another team's Secret.
        there = [key_id for key_id in key_ids if self._of_ours(key_id) is not None]
        reasons = [f"revoke client secret {key_id} ({why})" for key_id in there] + [f"remove key {name} from Secret {self._place} ({why})" for name in keys]
        if reasons:
            self._note("delete", f"client secrets of the {describe(self.team)}", reasons)
        if self.journal.check or secret is None:
            return
        self._until_drained()
        state = State.of(secret)
        secret = self._fence(secret, state, there)
        for key_id in there:
            self._revoke(key_id)
        left = dataclasses.replace(state, previous=()) if self.team.makes_secret else State(None, None, (), state.federated)
        for name in keys[1:]:
            secret = self._write(secret, State.of(secret), drop=name)
        self._write(secret, left, drop=keys[0] if keys else "")

    def _fence(self, secret: Object, state: State, key_ids: list[str]) -> Object:
        """From here on whoever was about to store one of these fails."""
        return self._write(secret, dataclasses.replace(state, previous=tuple(dict.fromkeys([*state.previous, *key_ids]))))

    def _distrust(self) -> None:
        """Back from federated to a secret: the trust that we put there goes."""
        what = f"federated credential '{self.federated_name}' of the {describe(self.team)}"
        self._note("delete", what, ["remove it: oauth2-proxy uses a client secret"])
        if self.journal.check:
            return
        self._until_drained()
        self.graph.delete(f"/applications/{self.application['id']}/federatedIdentityCredentials/{self.federated_name}", what=f"remove the {what}")
        secret = self._secret()
        self._mark_federated(secret, State.of(secret), "")

    def _until_drained(self) -> None:
        """Until every pod of the proxy is a new one: one that ends may still refresh a session with what it started with."""
        _rollout.wait_current(self.team, self.kube, sleep=self.sleep, clock=self.clock)
        pods = _rollout.wait_drained(self.team, self.kube, sleep=self.sleep, clock=self.clock)
        for pod in pods:
            said = self.kube.logs(self.team.namespace, pod["metadata"]["name"], tail=200)
            refused = next((code for code in REFUSED_SECRET if code in said), "")
            if refused:
                raise RegistrationError(
                    f"Entra refused pod {self.team.namespace}/{pod['metadata']['name']} with its new credential ({refused}); the old one was not revoked.",
                    "Look at its log; then run rotate_team again.",
                )

    # --- small things ------------------------------------------------------------------------------------------------------
    @property
    def _place(self) -> str:
        return f"{self.team.namespace}/{self.team.proxy_secret}"

    def _secret(self) -> Object | None:
        return self.kube.get("v1", "Secret", self.team.proxy_secret, self.team.namespace)

    def _in_entra(self, key_id: str) -> Object | None:
        found: list[Object] = self.application.get("passwordCredentials") or []
        return next((item for item in found if item.get("keyId") == key_id), None)

    def _of_ours(self, key_id: str) -> Object | None:
        return self._in_entra(key_id) if key_id in self._ours() else None

    def _hint(self, key_id: str) -> str:
        """The first characters of a secret, all that Entra tells of its value; "" when it tells none."""
        return str((self._in_entra(key_id) or {}).get("hint") or "")

    def _may_be(self, value: str | None, key_id: str) -> bool:
        """Whether a value may be the secret of that key id."""
        return value is not None and value.startswith(self._hint(key_id))

    def _ours(self) -> list[str]:
        """Key ids of the secrets that carry our name; nobody else's is ever touched."""
        return own_secrets(self.team, self.application)

    def _revoke(self, key_id: str, *, quiet: bool = False) -> None:
        path = f"/applications/{self.application['id']}/removePassword"
        what = f"revoke client secret {key_id} of the {describe(self.team)}"

        def attempt() -> bool | None:
            try:
                self.graph.call(path, {"keyId": key_id}, what=what)
            except GraphForbiddenError:
                raise
            except GraphError as exc:
                # Gone already: an earlier run was killed right after this call.
                if exc.status in (400, 404) or quiet:
                    return True
                if isinstance(exc, GraphConflictError):
                    return None  # Entra takes one change of an application at a time
                raise
            return True

        self.graph.until(attempt, what)

    def _write(self, secret: Object, state: State, *, put: t.Mapping[str, str] | None = None, drop: str = "") -> Object:
        """One guarded write of the Secret: the state, values, a key that goes."""
        operations: list[Object] = []
        if not secret["metadata"].get("annotations"):
            operations.append({"op": "add", "path": "/metadata/annotations", "value": {}})
        operations.append({"op": "add", "path": f"/metadata/annotations/{STATE.replace('/', '~1')}", "value": state.annotation()})
        if not secret.get("data"):
            operations.append({"op": "add", "path": "/data", "value": {}})
        operations += [{"op": "add", "path": f"/data/{key}", "value": encode(value)} for key, value in (put or {}).items()]
        if drop and decode(secret, drop) is not None:
            operations.append({"op": "remove", "path": f"/data/{drop}"})
        return self.kube.patch(secret, operations)

    def _note(self, action: str, what: str, reasons: list[str]) -> None:
        self.journal.note(action, what, reasons, {"kind": "Credential"}, after="".join(f"# {reason}\n" for reason in reasons))


def _may_pass(exc: GraphAuthError) -> bool:
    """Refusals that a new credential or a new application meets while Entra's replicas learn of it."""
    return exc.retry_after is not None or exc.code in ("7000215", "70021", "700211", "700213", "700016")


def _moment(text: str) -> datetime.datetime:
    """A time of Graph's or of ours; the beginning of time when there is none."""
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return datetime.datetime.fromtimestamp(0, datetime.UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)


def _text(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
