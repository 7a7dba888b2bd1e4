# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_routes
short_description: Apply teams' policies and routes, closed until proven
version_added: 0.1.0
description:
  - Applies each team's SecurityPolicies and HTTPRoutes by server-side apply. An app's route is written only after its policy is
    live in Envoy, which the sentinel path V(/.gateway-auth/probe) proves by being refused from outside.
  - What carries our mark and is no longer wanted is removed, routes before policies.
  - Keeps the team's claim on its hosts, a ConfigMap in the Gateway's namespace, wide enough at every instant.
options:
  state:
    description:
      - V(present) opens each app of the team, once it is proven to be closed to strangers.
      - V(absent) takes them away, routes first. For as long as C(gateway_auth_quarantine) says the routes stay, under the same policies,
        and lead to a page that says so; C(data.quarantined_until) then says until when.
    type: str
    default: present
    choices: [present, absent]
extends_documentation_fragment:
  - platform.gateway_auth.batch
"""

EXAMPLES = r"""
- name: Put every app behind its policy
  platform.gateway_auth.gateway_routes:
    models: "{{ __gateway_auth.models }}"
  run_once: true
  register: __gateway_routes
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
