# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: secret_specification
short_description: List the Secrets that a team's release reads
version_added: 0.1.0
author:
  - platform.gateway_auth contributors (@platform)
description:
  - >-
    Says which keys each Secret must have and how each one comes to be. It holds no value of any. Pure; asks no cluster.
options:
  _input:
    description:
      - A compiled team model, one entry of C(__gateway_auth.models), which role C(platform.gateway_auth.gateway_auth) makes.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what an external secret manager has to provide
  ansible.builtin.debug:
    msg: "{{ __gateway_auth.models[inventory_hostname] | platform.gateway_auth.secret_specification }}"
"""

RETURN = r"""
_value:
  description:
    - >-
      One entry for each Secret, with C(name), C(namespace) and C(keys), a mapping from key to how it is made.
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._secrets_spec import secret_specification as _assemble
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._compiled import assembled


def secret_specification(model: t.Any) -> list[dict[str, t.Any]]:
    return assembled(model, "secret_specification", _assemble)


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"secret_specification": secret_specification}
