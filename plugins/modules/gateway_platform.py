# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_platform
short_description: Apply the platform's objects on each Gateway
version_added: 0.1.0
description:
  - Applies the ClientTrafficPolicy that sets what oauth2-proxy reads and strips forged identity headers, and the redirect from
    HTTP to HTTPS. An existing ClientTrafficPolicy on the same Gateway or listener is an error that prints what to merge.
  - Applies the ValidatingAdmissionPolicies and bindings by which the API server keeps others off the teams' hosts and policies; where
    the inventory does without, those that are there lose their effect and stay.
options: {}
extends_documentation_fragment:
  - platform.gateway_auth.batch
"""

EXAMPLES = r"""
- name: Prepare the Gateway
  platform.gateway_auth.gateway_platform:
    models: "{{ __gateway_auth.models }}"
  run_once: true
  register: __gateway_platform
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
