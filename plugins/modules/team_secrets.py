# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: team_secrets
short_description: Create and keep the namespace and Secrets of teams
version_added: 0.1.0
description:
  - Creates the team's namespace when it isn't there, and the Secrets that oauth2-proxy and its session store read.
  - A cookie secret and a store password are generated once and kept for ever after. The client secret comes from its source.
  - From Azure Key Vault it is read by lookup C(azure.azcollection.azure_keyvault_secret), within this action.
  - No value leaves this action, neither in its result nor in a diff.
options:
  rotate:
    description:
      - Generates this one anew and touches nothing else; sessions of the team end when the pods have taken it.
    type: str
    default: ""
    choices: ["", cookie_secret, redis_password]
extends_documentation_fragment:
  - platform.gateway_auth.batch
"""

EXAMPLES = r"""
- name: Create what is missing of every team's Secrets
  platform.gateway_auth.team_secrets:
    models: "{{ __gateway_auth.models }}"
  run_once: true
  register: __team_secrets
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
      description: What failed and what mends it, or findings.
      type: str
      returned: always
    changes:
      description: Each change with its reasons, in the order they were made.
      type: list
      elements: dict
      returned: always
    diff:
      description: Before and after of each change; of a Secret only the names of its keys.
      type: list
      elements: dict
      returned: always
    data:
      description: What later phases need to know.
      type: dict
      returned: always
"""
