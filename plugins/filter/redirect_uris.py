# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: redirect_uris
short_description: List the redirect URIs that a team's app registration needs
version_added: 0.1.0
author:
  - platform.gateway_auth contributors (@platform)
description:
  - >-
    Every callback of a team, for the app registration in Entra: one for each app's host and the proxy host's. Pure; asks nobody.
options:
  _input:
    description:
      - A compiled team model, one entry of C(__gateway_auth.models), which role C(platform.gateway_auth.gateway_auth) makes.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: List what must be registered
  ansible.builtin.debug:
    msg: "{{ __gateway_auth.models[inventory_hostname] | platform.gateway_auth.redirect_uris }}"
"""

RETURN = r"""
_value:
  description:
    - >-
      Redirect URIs of platform type C(web).
  type: list
  elements: str
"""

import typing as t

from ansible_collections.platform.gateway_auth.plugins.plugin_utils._compiled import assembled


def redirect_uris(model: t.Any) -> list[str]:
    return assembled(model, "redirect_uris", lambda team: list(team.redirect_uris))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"redirect_uris": redirect_uris}
