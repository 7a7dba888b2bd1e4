# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: entra_application_info
short_description: Tell what is known of teams' app registrations
version_added: 0.1.0
description:
  - Reads each team's app registration and enterprise application, or what the cluster remembers of it. Writes nothing.
options:
  source:
    description:
      - V(entra) reads Microsoft Graph.
      - V(cluster) takes the client id and the ids of named groups from the team's Secret, and asks Entra only where that says nothing.
    type: str
    default: entra
    choices: [entra, cluster]
extends_documentation_fragment:
  - platform.gateway_auth.batch
  - platform.gateway_auth.graph
"""

EXAMPLES = r"""
- name: Read the app registration of every team
  platform.gateway_auth.entra_application_info:
    models: "{{ __gateway_auth.models }}"
  run_once: true
  register: __registrations

- name: Show this team's redirect URIs
  ansible.builtin.debug:
    msg: "{{ __registrations.teams[inventory_hostname].data.registration.redirect_uris }}"
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
      description: C(client_id), and from V(entra) C(registration), a mapping of the registration's properties.
      type: dict
      returned: always
"""
