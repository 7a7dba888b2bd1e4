# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: entra_credential
short_description: Give teams' oauth2-proxy a credential of its app registration
version_added: 0.1.0
description:
  - With C(gateway_auth_credential=client_secret) and a managed registration, adds a client secret in Entra, stores it in the team's
    Secret and proves it at the token endpoint, all in this one action; only its key id comes out.
  - With V(federated), adds a federated credential for the proxy's service account and proves it with a token as the pods get it.
  - With C(gateway_auth_client_secret.key_vault) the secret that is added is stored in Azure Key Vault as well, once it is proven; with
    C(gateway_auth_workload_identity.aks) the issuer is read from Azure. Both need collection C(azure.azcollection).
  - A secret that is there and works is kept. One that Entra no longer has, or that expired, is replaced.
  - Only secrets that carry our name, that no Secret refers to, and that no pod uses any more are revoked.
options:
  stage:
    description:
      - V(settle) sees to it that the Secret holds a credential that works.
      - V(retire) comes after the rollout. It waits until no pod is left that started with the old credential, then revokes that.
    type: str
    default: settle
    choices: [settle, retire]
  rotate:
    description: Whether to replace a client secret that works, now.
    type: bool
    default: false
  when_old:
    description: Whether to replace a client secret older than C(gateway_auth_rotate_after).
    type: bool
    default: false
extends_documentation_fragment:
  - platform.gateway_auth.batch
  - platform.gateway_auth.graph
"""

EXAMPLES = r"""
- name: Settle the credential of every team
  platform.gateway_auth.entra_credential:
    models: "{{ __gateway_auth_models }}"
  run_once: true
  register: __entra_app_credential
"""

RETURN = r"""
teams:
  description: One outcome for each host of the batch, by host name.
  returned: always
  type: dict
  contains:
    changed:
      description: Whether this phase changed (or in check mode would change) anything for the team.
      type: bool
      returned: always
    failed:
      description: Whether this phase failed for the team.
      type: bool
      returned: always
    msg:
      description: What failed and what mends it.
      type: str
      returned: always
    changes:
      description: Each change with its reasons, in the order they were made.
      type: list
      elements: dict
      returned: always
    diff:
      description: The reasons of each change; never a value.
      type: list
      elements: dict
      returned: always
    data:
      description: C(key_id) of the secret in use, C(retire), whether V(retire) is due, and C(findings).
      type: dict
      returned: always
"""
