# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_remove
short_description: Uninstall a team's oauth2-proxy release
version_added: 0.1.0
description:
  - Runs M(kubernetes.core.helm). Use it only where M(platform.gateway_auth.team_offboard) says that Helm must run.
options:
  model:
    description:
      - The compiled model of this team.
    type: dict
    required: true
attributes:
  check_mode:
    support: none
    description: Can run in check mode and return what would change without changing anything.
    details: M(platform.gateway_auth.team_offboard) predicts it.
  diff_mode:
    support: none
    description: Returns what changed, or would change, with a reason for each field.
    details: M(platform.gateway_auth.team_offboard) tells it.
author:
  - platform.gateway_auth contributors (@platform)
"""

EXAMPLES = r"""
- name: Uninstall the release of this team
  platform.gateway_auth.release_remove:
    model: "{{ __gateway_auth_models[inventory_hostname] }}"
  when:
    - __team_offboard_release.teams[inventory_hostname].data.uninstall | default(false)
"""

RETURN = r"""
stdout:
  description: What Helm said.
  returned: when Helm ran
  type: str
stderr:
  description: What Helm said on standard error.
  returned: when Helm ran
  type: str
"""
