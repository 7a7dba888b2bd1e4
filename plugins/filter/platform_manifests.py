# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: platform_manifests
short_description: Build the platform's objects of a team's Gateway
version_added: 0.1.0
author:
  - platform.gateway_auth contributors (@platform)
description:
  - >-
    Gives what has to be there once for each Gateway before any team is onboarded. They are the same for every team of that Gateway
    and domain. Pure; asks no cluster.
options:
  _input:
    description:
      - A compiled team model, one entry of C(__gateway_auth.models), which role C(platform.gateway_auth.gateway_auth) makes.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the platform's objects to a file
  ansible.builtin.copy:
    content: "{{ __gateway_auth.models[inventory_hostname] | platform.gateway_auth.platform_manifests | map('to_nice_yaml') | join('---\\n') }}"
    dest: platform.yaml
    mode: "0644"
  run_once: true
"""

RETURN = r"""
_value:
  description:
    - >-
      The ClientTrafficPolicy that sets and strips headers, and the HTTPRoute that redirects HTTP to HTTPS.
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import platform_manifests as _assemble
from ansible_collections.platform.gateway_auth.plugins.module_utils._platform import platform_labels
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._compiled import assembled


def platform_manifests(model: t.Any) -> list[dict[str, t.Any]]:
    return assembled(model, "platform_manifests", lambda team: _assemble(team.gateway, platform_labels(team), team.domain))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"platform_manifests": platform_manifests}
