# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: team_plan
short_description: Tell what the phases of a run foretold, as one plan
version_added: 0.1.0
description:
  - Takes the results of batched actions that ran in check mode and tells them in words of the people they concern, with a risk for
    each line. Belongs in an C(always) section, so that a team that can't be planned to its end is told as well.
  - Writes the plan as Markdown, JSON or HTML, by the ending of the file's name, whole or not at all.
  - With O(expected) it compares instead, and a team whose plan holds no more fails.
options:
  phases:
    description: The registered results of the batched actions of the run, in their order; an empty one is a phase not reached.
    type: list
    elements: dict
    required: true
  models:
    description: Compiled models of the teams, by inventory host name.
    type: dict
    required: true
  dest:
    description: Files to write; each ends in C(.md), C(.json) or C(.html).
    type: list
    elements: path
    default: []
  expected:
    description: A plan in JSON that this module wrote, to be compared with.
    type: path
    default: ""
  fail_on_change:
    description: Whether a team that would be changed fails.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return what would change without changing anything.
  diff_mode:
    support: none
    description: Returns what changed, or would change, with a reason for each field.
author:
  - platform.gateway_auth contributors (@platform)
"""

EXAMPLES = r"""
- name: Tell the plan
  platform.gateway_auth.team_plan:
    models: "{{ __gateway_auth.models }}"
    phases:
      - "{{ __team_secrets | default({}) }}"
      - "{{ __gateway_routes | default({}) }}"
    dest:
      - plan.json
      - plan.md
  run_once: true
"""

RETURN = r"""
plan:
  description:
    - The plan. C(schema) counts up when a key changes its meaning; C(created) is the time it was made (UTC).
    - C(changed) and C(failed) say so of any team, C(risk) is the gravest of all.
    - C(teams) has, by inventory host name, C(changed), C(failed), C(error), C(risk), C(lines) (each with C(sign), C(text) and
      C(risk)), C(changes) (each with C(action), C(object) and C(reasons)), C(findings), C(waivers) and C(fingerprint), which is equal
      for equal changes.
  returned: always
  type: dict
teams:
  description: One outcome for each host, by host name; failed where a plan holds no more, or a change is a failure.
  returned: always
  type: dict
msg:
  description: The plan as lines.
  returned: when nothing is compared
  type: list
  elements: str
"""
