# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: entra_application
short_description: Create and keep the Entra ID app registration of teams
version_added: 0.1.0
description:
  - Makes the app registration and the enterprise application of each team with C(gateway_auth_registration=managed) what the
    inventory says, and returns the models with the client id and with the ids of groups that the inventory only names.
  - A registration is found by its C(uniqueName) C(gateway-auth.<environment>.<stack>.<team>), or by C(gateway_auth_client_id) where
    that is set. It is read first and created only when it isn't there, so two runs at once or a killed run never make a second one.
  - One of the team's own is ours whole; a redirect URI that the inventory doesn't have goes. In one that several teams share, each
    owns its redirect URIs and nothing else.
  - Of a registration with C(gateway_auth_registration=existing) it says what is missing, where the environment names an identity;
    nothing is written but the redirect URIs, and those with O(adopt) only.
options:
  state:
    description:
      - V(present) creates and keeps. It never switches sign-in back on, since somebody meant it.
      - V(disabled) and V(enabled) switch sign-in off and on. One that teams share isn't switched off for one of them.
      - V(absent) soft-deletes a registration of the team's own, and takes the team's part out of a shared one.
      - V(restored) brings back what was soft-deleted in the last 30 days, with the same client id.
      - V(purged) deletes for good what was soft-deleted, the enterprise application too.
    type: str
    default: present
    choices: [present, disabled, enabled, absent, restored, purged]
  confirm:
    description:
      - With V(purged), the team's C(uniqueName) (C(gateway-auth.<environment>.<stack>.<team>)), since nothing brings back what it deletes.
    type: str
    default: ""
  restoring:
    description: With V(present), whether an earlier task of the run restored the registration; in check mode it isn't there then.
    type: bool
    default: false
extends_documentation_fragment:
  - platform.gateway_auth.batch
  - platform.gateway_auth.graph
"""

EXAMPLES = r"""
- name: Settle the app registration of every team
  platform.gateway_auth.entra_application:
    models: "{{ __gateway_auth.models }}"
    adopt: "{{ adopt | default([]) }}"
  run_once: true
  register: __entra_app

- name: Let nobody sign in any more
  platform.gateway_auth.entra_application:
    models: "{{ __gateway_auth_models }}"
    state: disabled
  run_once: true
"""

RETURN = r"""
models:
  description: The models given, with what only Entra knows.
  returned: always
  type: dict
teams:
  description: One outcome for each host of the batch, by host name.
  returned: always
  type: dict
  contains:
    changed:
      description: Whether anything was (or in check mode would be) changed in Entra for the team.
      type: bool
      returned: always
    failed:
      description: Whether it failed for the team.
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
      description: Before and after of each change.
      type: list
      elements: dict
      returned: always
    data:
      description: C(client_id) and C(findings), what a person has to know or do.
      type: dict
      returned: always
"""
