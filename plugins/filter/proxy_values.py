# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: proxy_values
short_description: Build the Helm values of a team's oauth2-proxy
version_added: 0.1.0
author:
  - platform.gateway_auth contributors (@platform)
description:
  - >-
    Gives the values of the oauth2-proxy chart 10.7.0 for a team, with its session store, and O(ignore:gateway_auth_helm_values)
    merged on top: mappings key by key, anything else (lists included) replaced.
  - >-
    They hold no secret and no hash of one; the release reads its Secrets by name. Pure; asks no cluster.
options:
  _input:
    description:
      - A compiled team model, one entry of C(__gateway_auth.models), which role C(platform.gateway_auth.gateway_auth) makes.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the values of this team's release
  ansible.builtin.debug:
    msg: "{{ __gateway_auth.models[inventory_hostname] | platform.gateway_auth.proxy_values }}"
"""

RETURN = r"""
_value:
  description:
    - >-
      Values for C(helm upgrade --install).
  type: dict
"""

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values as _assemble
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._compiled import assembled


def proxy_values(model: t.Any) -> dict[str, t.Any]:
    return assembled(model, "proxy_values", _assemble)


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"proxy_values": proxy_values}
