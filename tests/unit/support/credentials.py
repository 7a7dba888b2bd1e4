# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A team between both doubles: its registration in Entra, its Secret and its pods in the cluster, and who asks for its credential."""

from __future__ import annotations

import dataclasses
import functools
import time as real_time
import typing as t

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_app, _secrets
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal, decode
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_credential import KEY, NEXT_KEY, STATE, Keeper, State
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._entra import prove
from tests.sandbox.entra.testkit import Double, control
from tests.unit.support.api import Api
from tests.unit.support.entra import Deadly, DeadlyKube, Death, Time, graph, managed, transport

Object = dict[str, t.Any]

ISSUER = "https://oidc.example/cluster/"


@functools.cache
def cluster_key() -> RSAKey:
    """What the cluster signs its service account tokens with."""
    return RSAKey.generate_key(2048, {"kid": "cluster-key"})


class ClusterKeys:
    """The cluster's public key, as Entra fetches it."""

    async def fetch(self, issuer: str) -> KeySet:
        if not issuer.startswith(ISSUER.rstrip("/")):
            raise OSError(issuer)
        return KeySet([cluster_key()])


def service_account_token(api: Api, namespace: str, name: str, audiences: list[str]) -> str:
    now = int(real_time.time())
    claims = {"iss": api.issuer, "sub": f"system:serviceaccount:{namespace}:{name}", "aud": audiences, "iat": now, "nbf": now, "exp": now + 600}
    return jwt.encode({"alg": "RS256", "kid": cluster_key().kid}, claims, cluster_key())


@dataclasses.dataclass
class World:
    """One team. ``settle`` and ``retire`` are what the phases do, each with fresh clients, as separate runs would."""

    double: Double
    api: Api
    kube: Kube
    team: Team

    @classmethod
    def onboarded(cls, double: Double, api: Api, kube: Kube, **overrides: t.Any) -> World:
        """With a registration and a Secret that has no credential yet."""
        team = managed(double, **overrides)
        settled = _entra_app.settle(graph(double), team, adopt=[], check=False, owners={})
        world = cls(double, api, kube, team.resolved(settled.client_id, {}))
        api.issuer = ISSUER
        api.tokens = functools.partial(service_account_token, api)
        world.secrets()
        return world

    def with_(self, **changes: t.Any) -> World:
        return dataclasses.replace(self, team=dataclasses.replace(self.team, **changes))

    def secrets(self) -> Journal:
        """What phase team_secrets does."""
        journal = Journal(self.kube, check=False)
        _secrets.ensure_secrets(self.team, journal, lambda: None)
        return journal

    def keeper(self, *, check: bool = False, death: Death | None = None, time: Time | None = None, **options: t.Any) -> Keeper:
        time = time or Time()
        kube: Kube = self.kube if death is None else DeadlyKube(self.kube, death)
        client = graph(self.double, read_only=check, time=time, through=None if death is None else Deadly(transport(self.double), death))
        application = _entra_app.read_credentials(client, self.team)
        given: Object = {"prove": prove, "sleep": time.sleep, "clock": time, **options}
        return Keeper(self.team, client, kube, Journal(kube, check=check), application, **given)

    def settle(self, *, rotate: bool = False, when_old: bool = False, **options: t.Any) -> Keeper:
        keeper = self.keeper(**options)
        keeper.settle(rotate=rotate, when_old=when_old)
        return keeper

    def retire(self, **options: t.Any) -> Keeper:
        keeper = self.keeper(**options)
        keeper.retire()
        return keeper

    def release(self) -> None:
        """The release is installed: its service account is there, and one pod."""
        self.api.seed({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": self.team.service_account, "namespace": self.team.namespace}})
        self.pod("proxy-1")

    def pod(self, name: str, template: str = "t1", *, ending: bool = False, log: str = "") -> None:
        labels = {"app.kubernetes.io/name": "oauth2-proxy", "app.kubernetes.io/instance": self.team.release, "pod-template-hash": template}
        meta: Object = {"name": name, "namespace": self.team.namespace, "labels": labels}
        if ending:
            meta["deletionTimestamp"] = "2026-11-24T12:00:00Z"
        self.api.seed({"apiVersion": "v1", "kind": "Pod", "metadata": meta})
        if log:
            self.api.logs[(name, "", False)] = log

    def gone(self, name: str) -> None:
        del self.api.objects[("pods", self.team.namespace, name)]

    # --- what is there -------------------------------------------------------------------------------------------------
    @property
    def secret(self) -> Object:
        return self.api.the("Secret", self.team.proxy_secret)

    @property
    def state(self) -> State:
        return State.of(self.secret)

    def value(self, key: str = KEY) -> str:
        return decode(self.secret, key) or ""

    def annotate(self, text: str | None) -> None:
        def change(obj: Object) -> None:
            annotations = obj["metadata"].setdefault("annotations", {})
            annotations.pop(STATE, None)
            if text is not None:
                annotations[STATE] = text

        self.api.edit("Secret", self.team.proxy_secret, change)

    @property
    def app(self) -> Object:
        return t.cast("Object", control(self.double, "GET", f"/apps/{self.team.client_id}")[1])

    @property
    def ours(self) -> list[str]:
        """Key ids of the client secrets that carry our name, in Entra."""
        return [item["key_id"] for item in self.app["secrets"] if item["display_name"] == self.team.unique_name]

    @property
    def trusted(self) -> list[Object]:
        return t.cast("list[Object]", self.app["federated_credentials"])

    def add_password(self, name: str, **properties: t.Any) -> Object:
        """Somebody adds a client secret."""
        body = {"passwordCredential": {"displayName": name, **properties}}
        return graph(self.double).call(f"/applications/{self.app['id']}/addPassword", body)

    def works(self, value: str) -> bool:
        """Whether the token endpoint takes a client secret."""
        try:
            prove(self.team, secret=value)
        except GraphAuthError:
            return False
        return True

    def assert_settled(self) -> None:
        """Exactly one client secret of ours, the one in the Secret, and it works."""
        state = self.state
        assert state.current is not None and state.next is None and not state.previous and not state.federated
        assert self.ours == [state.current.key_id]
        assert NEXT_KEY not in self.secret["data"]
        assert self.works(self.value())
        assert self.trusted == []

    def assert_federated(self) -> None:
        """No client secret of ours anywhere, and Entra trusts the proxy's service account."""
        assert self.ours == [] and not {KEY, NEXT_KEY} & set(self.secret["data"])
        assert self.state == State(federated="proven")
        [trusted] = self.trusted
        assert trusted["subject"] == self.team.workload_subject
        prove(self.team, assertion=service_account_token(self.api, self.team.namespace, self.team.service_account, ["api://AzureADTokenExchange"]))
