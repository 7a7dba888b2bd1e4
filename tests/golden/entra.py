# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""App registrations: what a team and what Entra has, and the writes that must follow.

A case is ``entra/<case>.yml`` with ``description``, ``input`` and ``expected`` (a list of writes) or ``error`` (``kind`` and
``words`` that a reader must find). Its ``input``: ``team`` differs from the design's example with a managed registration;
``application`` and ``principal`` differ from REGISTRATION and PRINCIPAL below, which are in order (null: not there);
``assigned`` lists assignments as ``{id, principal_id, name, kind}`` (null: unreadable), ``owners`` who owns it (null likewise);
``wanted_owners`` are ids of gateway_auth_owners, ``deleted`` and ``namesakes`` other registrations, ``adopt`` the control;
``task`` is plan, existing or departure.
"""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_plan as planning
from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_plan import Assignment, EntraChange, LiveRegistration
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import merge_values

Object = dict[str, t.Any]

OURSELVES = "0000ffff-0000-4000-8000-00000000000f"
CLIENT_ID = "aaaaaaaa-0000-4000-8000-00000000000a"

# The registration of the design's example as Graph shows it when all is right: written down, not computed.
REGISTRATION: Object = {
    "id": "0a000000-0000-4000-8000-00000000000a",
    "appId": CLIENT_ID,
    "displayName": "monitoring team-a (prod-weu)",
    "uniqueName": "gateway-auth.prod-weu.monitoring.team-a",
    "notes": None,
    "tags": ["gateway-auth.prod-weu.monitoring.team-a"],
    "signInAudience": "AzureADMyOrg",
    "groupMembershipClaims": "SecurityGroup",
    "isFallbackPublicClient": None,
    "api": {"requestedAccessTokenVersion": 2, "oauth2PermissionScopes": [], "knownClientApplications": []},
    "web": {
        "homePageUrl": None,
        "logoutUrl": "https://monitoring-oauth2-team-a.apps.example.com/oauth2/sign_out",
        "redirectUris": [
            "https://prometheus-team-a.apps.example.com/oauth2/callback",
            "https://alertmanager-team-a.apps.example.com/oauth2/callback",
            "https://monitoring-oauth2-team-a.apps.example.com/oauth2/callback",
        ],
        "implicitGrantSettings": {"enableAccessTokenIssuance": False, "enableIdTokenIssuance": False},
    },
    "spa": {"redirectUris": []},
    "publicClient": {"redirectUris": []},
    "requiredResourceAccess": [
        {
            "resourceAppId": "00000003-0000-0000-c000-000000000000",
            "resourceAccess": [
                {"id": "37f7f235-527c-4136-accd-4a02d197296e", "type": "Scope"},
                {"id": "14dad69e-099b-42c9-810b-d002981feec1", "type": "Scope"},
                {"id": "64a6cdd6-aab1-4aaf-94b8-3cc8405e90d0", "type": "Scope"},
                {"id": "7427e0e9-2fba-42fe-b0c0-848c9e6a8182", "type": "Scope"},
            ],
        }
    ],
    "passwordCredentials": [],
}
PRINCIPAL: Object = {
    "id": "5b000000-0000-4000-8000-00000000000a",
    "appId": CLIENT_ID,
    "accountEnabled": True,
    "appRoleAssignmentRequired": False,
    "tags": ["WindowsAzureActiveDirectoryIntegratedApp", "gateway-auth.prod-weu.monitoring.team-a"],
}


def managed_model(overrides: Object | None = None) -> Object:
    return merge_values({"registration": "managed", "client_id": "", "client_secret": None}, overrides or {})


def live(given: Object) -> LiveRegistration:
    """What Entra has, in a case's ``input``."""
    if given.get("application", {}) is None:
        return LiveRegistration()
    application = merge_values(copy.deepcopy(REGISTRATION), given.get("application", {}))
    principal = None if given.get("principal", {}) is None else merge_values(copy.deepcopy(PRINCIPAL), given.get("principal", {}))
    owners = given.get("owners", [OURSELVES])
    assigned = given.get("assigned", [])
    return LiveRegistration(
        application,
        principal,
        None if owners is None else tuple(owners),
        None if assigned is None else tuple(Assignment(**item) for item in assigned),
    )


def changes(team: Team, given: Object) -> list[EntraChange]:
    """What a run would do; raises what it would raise."""
    task = given.get("task", "plan")
    found = live(given)
    if task == "existing":
        return planning.plan_existing(team, found.application or {})
    if task == "departure":
        return [planning.departure(team, found.application or {})]
    adopted = False
    if found.application is None:
        planning.refuse_twins(team, given.get("deleted", []), given.get("namesakes", []))
    else:
        adopted = planning.refuse_foreign(team, found.application, given.get("adopt", []))
    return planning.plan(team, found, owners=given.get("wanted_owners", []), own_id=given.get("own_id", OURSELVES), adopted=adopted)


def writes(team: Team, given: Object) -> list[Object]:
    """The changes as a case lists them."""
    found = []
    for change in changes(team, given):
        row: Object = {"operation": change.operation, "action": change.action, "reasons": list(change.reasons)}
        found.append(row | ({"target": change.target} if change.target else {}) | ({"body": change.body} if change.body else {}))
    return found
