# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A team's claim on the Gateway, kept true while its routes change.

Wider before the first route or policy is written, narrower only when the last one is gone: so at no instant does the team have
something that its claim doesn't name, and what the admission policies ask is true of each write.
"""

from __future__ import annotations

import time

from ansible_collections.platform.gateway_auth.plugins.module_utils._admission import (
    CLAIM_MARK,
    claim,
    claim_data,
    protects,
    taken_hosts,
    widened,
)
from ansible_collections.platform.gateway_auth.plugins.module_utils._apply import Journal
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ForbiddenError, NotReadyError
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import DeniedError, Object, Objects, describe
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import CLAIM_LABEL, REMOVAL_ANNOTATION, Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._plan import Change, foreign_reason, plan_deletion

TAKEN_TIMEOUT_S = 20.0  # a host that another team gives up in the same run
LAG_S = 10.0  # how old an API server's idea of a claim may be; measured: some milliseconds
POLL_S = 0.2


class Claims:
    """The claims on one Gateway as one team's routes phase sees them: ``plan``, ``await_hosts``, ``widen``, then ``narrow``."""

    def __init__(self, team: Team, journal: Journal) -> None:
        self.team = team
        self.journal = journal
        self.wanted = claim(team) if team.gateway.admission_policy and team.apps else None
        self.live: Object | None = None
        self._claims: Objects = []
        self._first: Change | None = None

    def plan(self) -> None:
        """Read. Raises ForeignObjectError where something that isn't ours has the claim's name, ForbiddenError without the right to."""
        self._claims = self._read()
        place, name = self.team.gateway.namespace, self.team.claim_name
        self.live = next((obj for obj in self._claims if (obj["metadata"]["namespace"], obj["metadata"]["name"]) == (place, name)), None)
        if self.wanted is None:
            return
        if self.live is None:
            self.live = self.journal.kube.get("v1", "ConfigMap", name, place)
        self._first = self.journal.plan(widened(self.wanted, self.live), self.live)

    def await_hosts(self) -> None:
        """Until no other team claims one of this team's hosts; in check mode that isn't waited for."""
        deadline = time.monotonic() + TAKEN_TIMEOUT_S
        while self.wanted is not None:
            taken = taken_hosts(self.team, self._claims)
            if not taken:
                return
            if self.journal.check or time.monotonic() > deadline:
                host, holder = next(iter(taken.items()))
                owner = claim_data(holder).get("team", "")
                raise NotReadyError(
                    f"Host {host} is claimed by team '{owner}' ({describe(holder)}).",
                    f"Run onboard_team -e team={owner.removeprefix('team-')} first, with an inventory in which that team doesn't have the host any more.",
                )
            time.sleep(POLL_S)
            self._claims = self._read()

    def widen(self) -> None:
        """Before anything else is written: what the team will have besides what it has. Where claims aren't wanted, they go now."""
        if not self.team.gateway.admission_policy:
            self._remove_ours("gateway_auth_gateway.admission_policy is false")
        elif self._first is not None:
            self.live = self.journal.carry_out(self._first)

    def narrow(self) -> None:
        """After everything else: what the team has, and nothing else."""
        if self.wanted is not None:
            change = self.journal.plan(self.wanted, self.live)
            if change is not None:
                self.live = self.journal.carry_out(change)
        if self.team.gateway.admission_policy:
            self._remove_ours("nothing of the team is behind this Gateway any more")

    def carry_out(self, change: Change) -> None:
        """Write a route or a policy. API servers learn of a changed claim a moment later, and refuse by the former one until then."""
        deadline = time.monotonic() + LAG_S
        while True:
            try:
                self._announce(change)
                self.journal.carry_out(change)
            except DeniedError as exc:
                if self.journal.check or time.monotonic() > deadline:
                    exc.remedy = f"Where that isn't what {self.team.claim_name} says, an API server no longer follows ConfigMaps: docs/admission.md."
                    raise
                time.sleep(POLL_S)
            else:
                return

    def _announce(self, change: Change) -> None:
        """A policy that a claim keeps can be deleted only when it says so itself."""
        goes = change.desired is None and change.obj["kind"] == "SecurityPolicy"
        if goes and not self.journal.check and protects(self.live, change.obj["metadata"]["name"]):
            self.journal.kube.annotate(change.obj, REMOVAL_ANNOTATION, "true")

    def _remove_ours(self, reason: str) -> None:
        """Claims under the team's mark that aren't the wanted one: there are none left, or its Gateway is another."""
        kept = None if self.wanted is None else (self.team.gateway.namespace, self.team.claim_name)
        mark = {"metadata": {"labels": self.team.owner_labels()}}
        for obj in [obj for obj in self._claims if not foreign_reason(mark, obj)]:
            if (obj["metadata"]["namespace"], obj["metadata"]["name"]) != kept:
                self.journal.carry_out(plan_deletion(obj, reason))
                self._claims.remove(obj)
                if obj is self.live:
                    self.live = None

    def _read(self) -> Objects:
        """Every claim that this identity may see; those of the Gateway's namespace are enough."""
        kube = self.journal.kube
        try:
            return kube.list("v1", "ConfigMap", "", CLAIM_MARK)
        except ForbiddenError:
            try:
                return kube.list("v1", "ConfigMap", self.team.gateway.namespace, CLAIM_MARK)
            except ForbiddenError as exc:
                if not self.team.gateway.admission_policy:
                    return []
                raise ForbiddenError(
                    exc.message,
                    f"Grant list, get, create, patch and delete on configmaps in namespace {self.team.gateway.namespace} (label {CLAIM_LABEL}),"
                    " or do without claims: gateway_auth_gateway.admission_policy: false.",
                ) from exc
