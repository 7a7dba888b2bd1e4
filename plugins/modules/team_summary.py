# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: team_summary
short_description: Say how a run ended, one line for each team
version_added: 0.1.0
description:
  - Prints one line for each host of the play, whether it succeeded or failed. It belongs in an C(always) section.
options:
  phases:
    description:
      - The registered results of the batched actions of the run, in their order; an empty one is a phase not reached.
    type: list
    elements: dict
    required: true
  models:
    description:
      - Compiled models of the teams, by inventory host name. Each waiver in force is then told in a line of its own, with its owner,
        its last day, its reason and what it opens.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return what would change without changing anything.
  diff_mode:
    support: none
    description: Returns what changed, or would change, with a reason for each field.
author:
  - platform.gateway_auth contributors (@platform)
"""

EXAMPLES = r"""
- name: Say how it ended
  platform.gateway_auth.team_summary:
    phases:
      - "{{ __team_secrets | default({}) }}"
      - "{{ __gateway_routes | default({}) }}"
  run_once: true
"""

RETURN = r"""
msg:
  description: The lines.
  returned: always
  type: list
  elements: str
"""
