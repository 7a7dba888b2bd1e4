# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: team_offboard
short_description: Take away what is left of teams whose routes are gone, and prove it
version_added: 0.1.0
description:
  - Four stages of C(offboard_team). Between them M(platform.gateway_auth.gateway_routes) with C(state=absent) takes the routes away,
    M(platform.gateway_auth.release_remove) the release, M(platform.gateway_auth.entra_application) with C(state=absent) the
    registration.
options:
  stage:
    description:
      - V(confirm) fails unless every team is named, by O(confirm) or at the terminal, and for a team with C(gateway_auth_deletion_protection).
      - V(release) says whether Helm has a release of ours to uninstall.
      - V(objects) deletes the Secrets that are ours, and the namespace where we made it and nothing else is in it.
      - V(proof) looks for the team's labels in every kind of object that this identity may list, and for its registration in Entra; it fails for
        a team of which anything is left.
    type: str
    required: true
    choices: [confirm, release, objects, proof]
  confirm:
    description:
      - The names of the teams that are to be removed, a list or separated by commas. Where it is empty and there is a terminal, it is
        asked for. Not needed in check mode.
    type: raw
    default: ""
extends_documentation_fragment:
  - platform.gateway_auth.batch
"""

EXAMPLES = r"""
- name: Ask whether they are meant
  platform.gateway_auth.team_offboard:
    models: "{{ __gateway_auth.models }}"
    stage: confirm
    confirm: "{{ confirm | default('') }}"
  run_once: true
  register: __team_offboard_confirmed
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
      description: C(findings), what a person has to know or do; C(uninstall), whether Helm must run; C(proof), what is gone.
      type: dict
      returned: always
"""
