# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How the actions on Entra authenticate (plugins/module_utils/_graph_auth.py)."""

    DOCUMENTATION = r"""
options: {}
notes:
  - The identity for Microsoft Graph comes from the environment, in this order, a client secret (E(AZURE_CLIENT_ID) with
    E(AZURE_CLIENT_SECRET) or E(AZURE_SECRET)), a federated token (E(AZURE_CLIENT_ID) with E(AZURE_FEDERATED_TOKEN_FILE)), a managed
    identity (E(IDENTITY_ENDPOINT) or E(MSI_ENDPOINT)), the login of C(az). E(ANSIBLE_AZURE_AUTH_SOURCE) narrows that to V(env), V(msi)
    or V(cli).
  - The tenant, the cloud and the way there are the inventory's (C(gateway_auth_tenant_id), C(gateway_auth_graph)).
  - The least permission is C(Application.ReadWrite.OwnedBy). Names of groups and checks that they exist need C(GroupMember.Read.All),
    owners by user principal name C(User.ReadBasic.All), adding owners C(Directory.Read.All), C(gateway_auth_group_assignment=managed)
    needs C(AppRoleAssignment.ReadWrite.All), a look at deleted registrations C(Application.Read.All), restoring and purging them the
    directory role Application Administrator besides.
requirements: []
"""
