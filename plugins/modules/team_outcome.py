# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: team_outcome
short_description: Report, or fail, one team's outcome of a batched phase
version_added: 0.1.0
description:
  - A batched action does its work for all hosts of the batch in one call and never fails by itself. This action runs for each
    host, hands over that host's part, and fails that host alone when its part failed.
options:
  outcome:
    description:
      - This host's entry of C(teams) in the result of a batched action.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return what would change without changing anything.
  diff_mode:
    support: full
    description: Returns what changed, or would change, with a reason for each field.
author:
  - platform.gateway_auth contributors (@platform)
"""

EXAMPLES = r"""
- name: Report the Secrets of this team
  platform.gateway_auth.team_outcome:
    outcome: "{{ __team_secrets.teams[inventory_hostname] }}"
"""

RETURN = r"""
msg:
  description: What failed and what mends it, or findings.
  returned: always
  type: str
changes:
  description: Each change with its reasons, in the order they were made.
  returned: always
  type: list
  elements: dict
data:
  description: What later phases need to know.
  returned: always
  type: dict
"""
