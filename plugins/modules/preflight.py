# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check what must hold before the first write
version_added: 0.1.0
description:
  - Asks the cluster whether it is the right one and ready for the teams of the batch - Gateway and listeners, Envoy Gateway's
    version by its CRD, the running Envoys, the header policy, the apps' Services, permissions, Helm and the chart.
  - All problems of a team are reported together. In check mode problems that another step of the same work mends (a missing
    app Service, a header policy not there yet) are findings, not errors.
options:
  phase:
    description:
      - What follows. Before V(onboard) everything is checked, also that the team isn't in quarantine; V(restore) is the same for a team that
        may be. Before V(rotate) and V(offboard) only whether this identity may do it.
    type: str
    default: onboard
    choices: [onboard, restore, rotate, offboard]
extends_documentation_fragment:
  - platform.gateway_auth.batch
"""

EXAMPLES = r"""
- name: Check the cluster for every team of the batch
  platform.gateway_auth.preflight:
    models: "{{ __gateway_auth.models }}"
  run_once: true
  register: __preflight
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
