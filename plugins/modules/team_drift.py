# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: team_drift
short_description: Name what differs from the inventory, and teams that no inventory has
version_added: 0.1.0
description:
  - Takes the results of batched actions that ran in check mode. Whatever they would change differs from the inventory; each is named
    with the field, what was expected and found, and, where the cluster knows it, by which field manager and when.
  - Looks for routes and SecurityPolicies that carry our mark for the same environment and stack and belong to no known team; told at
    the first team of each.
  - A team of which anything differs fails. Nothing is written.
options:
  phases:
    description: The registered results of the batched actions of the run, in their order; an empty one is a phase not reached.
    type: list
    elements: dict
    required: true
  known:
    description: Every team of the inventory, by its host name.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return what would change without changing anything.
  diff_mode:
    support: none
    description: Returns what changed, or would change, with a reason for each field.
extends_documentation_fragment:
  - platform.gateway_auth.batch
"""

EXAMPLES = r"""
- name: Name what was changed outside
  platform.gateway_auth.team_drift:
    models: "{{ __gateway_auth.models }}"
    known: "{{ groups['teams'] }}"
    phases:
      - "{{ __team_secrets }}"
      - "{{ __gateway_routes }}"
  run_once: true
  register: __team_drift
"""

RETURN = r"""
teams:
  description: One outcome for each host of the batch, by host name.
  returned: always
  type: dict
  contains:
    changed:
      description: Always false.
      type: bool
      returned: always
    failed:
      description: Whether anything differs, or it could not be found out.
      type: bool
      returned: always
    msg:
      description: What differs and what mends it.
      type: str
      returned: always
    data:
      description: The differences as a list, C(drift).
      type: dict
      returned: always
"""
