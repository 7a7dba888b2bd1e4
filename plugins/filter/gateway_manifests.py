# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gateway_manifests
short_description: Build the Gateway API and Envoy Gateway objects of a team
version_added: 0.1.0
author:
  - platform.gateway_auth contributors (@platform)
description:
  - >-
    Turns a compiled team model into the objects that put the team's apps behind its oauth2-proxy. Pure; asks no cluster.
  - >-
    They stand in the order in which they may be applied. An app's own HTTPRoute may be applied only when the sentinel path on its host was refused
    from outside.
options:
  _input:
    description:
      - A compiled team model, one entry of C(__gateway_auth.models), which role C(platform.gateway_auth.gateway_auth) makes.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what would be applied for this team
  ansible.builtin.debug:
    msg: "{{ __gateway_auth.models[inventory_hostname] | platform.gateway_auth.gateway_manifests }}"
"""

RETURN = r"""
_value:
  description:
    - >-
      ReferenceGrants, SecurityPolicies, passthrough HTTPRoutes, the apps' HTTPRoutes, and HTTPRoutes of public paths.
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import gateway_manifests as _assemble
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._compiled import assembled


def gateway_manifests(model: t.Any) -> list[dict[str, t.Any]]:
    return assembled(model, "gateway_manifests", _assemble)


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"gateway_manifests": gateway_manifests}
