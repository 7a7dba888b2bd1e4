# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_rollout
short_description: Restart what reads a changed Secret and await the release's Deployments
version_added: 0.1.0
description:
  - Marks the Deployments of the release with a keyed digest of the Secrets, which restarts pods that started with others.
  - After an upgrade, puts back what Helm left of changes that somebody made to the release's objects.
  - Waits until the former pods of a Deployment that was put right have ended, since Envoy may ask them until then.
  - Waits until each Deployment is ready; when one is not, says why, with the pod's own last log line, secrets masked.
options:
  plans:
    description:
      - C(teams) of the result of M(platform.gateway_auth.release_plan). Without it only pods whose Secrets changed are restarted.
    type: dict
    default: {}
extends_documentation_fragment:
  - platform.gateway_auth.batch
"""

EXAMPLES = r"""
- name: Wait until every team's release is ready
  platform.gateway_auth.release_rollout:
    models: "{{ __gateway_auth.models }}"
    plans: "{{ __oauth2_proxy_plan.teams }}"
  run_once: true
  register: __oauth2_proxy_rollout
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
