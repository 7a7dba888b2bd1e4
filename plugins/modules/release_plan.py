# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_plan
short_description: Compare stored Helm releases with what they should be
version_added: 0.1.0
description:
  - Reads the release's own record and compares chart, version and values. Starts no process.
  - Compares the release's objects with the manifest in that record, and puts back what somebody changed or deleted by hand,
    as field manager C(helm). Defaults, C(status), replicas under an autoscaler, and labels and annotations that others put on an
    object itself stay. An object of a kind that this collection doesn't know isn't looked at.
  - Where the proxy's Service is gone, takes the apps' routes away first; M(platform.gateway_auth.gateway_routes) puts them back, proven.
  - Removes the record of a revision that a killed run left unfinished, since Helm would refuse to go on.
options: {}
extends_documentation_fragment:
  - platform.gateway_auth.batch
"""

EXAMPLES = r"""
- name: Compare every team's release
  platform.gateway_auth.release_plan:
    models: "{{ __gateway_auth.models }}"
  run_once: true
  register: __oauth2_proxy_plan
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
      contains:
        upgrade:
          description: Whether Helm must run.
          type: bool
          returned: success
        fresh:
          description: Names of the Deployments that this run creates.
          type: list
          elements: str
          returned: success
        mended:
          description: Names of the Deployments that were put right.
          type: list
          elements: str
          returned: success
"""
