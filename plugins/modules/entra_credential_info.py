# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: entra_credential_info
short_description: Tell which credentials teams' app registrations have
version_added: 0.1.0
description:
  - Reads the client secrets (key id, name, times; never a value) and federated credentials of each team's registration, and which
    of them the cluster uses. Writes nothing.
options: {}
extends_documentation_fragment:
  - platform.gateway_auth.batch
  - platform.gateway_auth.graph
"""

EXAMPLES = r"""
- name: Read the credentials of every team
  platform.gateway_auth.entra_credential_info:
    models: "{{ __gateway_auth_models }}"
  run_once: true
  register: __credentials

- name: Show when this team's client secret expires
  ansible.builtin.debug:
    msg: "{{ __credentials.teams[inventory_hostname].data.credentials.current.expires }}"
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
      description: C(credentials) with the keys C(current), C(next), C(previous), C(passwords) and C(federated).
      type: dict
      returned: always
"""
