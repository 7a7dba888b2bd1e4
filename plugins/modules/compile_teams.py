# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compile_teams
short_description: Validate the whole inventory and compile team models
version_added: 0.1.0
description:
  - Reads the C(gateway_auth_*) variables of every host of group C(teams), whatever C(--limit) says, and reports everything that is wrong
    with any of them at once, with file and line.
  - Compiles the addressed teams into models, which every other action of this collection takes as C(models).
  - Never templates, decrypts or returns C(gateway_auth_client_secret.value). Never templates what stands in a team's own file.
options:
  team:
    description:
      - Id of the one team to address, V(a) for host C(team-a). Empty addresses every team of the play.
      - A team that the inventory doesn't have, or that C(--limit) leaves out, is an error.
    type: str
    default: ""
  mode:
    description:
      - Which errors fail the task, V(all) or those of the V(addressed) teams. Collisions between teams are findings of each of them.
    type: str
    default: all
    choices: [all, addressed]
  report:
    description:
      - File to write the findings to, as JSON.
    type: path
  dest:
    description:
      - File to write the findings to, in the form that its ending names, V(.sarif) (SARIF 2.1.0), V(.xml) (JUnit) or V(.json).
      - Written whole or not at all, also when the task fails for what was found. Another ending, and a folder in which nothing can be
        written, fail the task before anything is read.
      - Locations are relative to the root of the checkout that holds the inventory.
    type: path
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return what would change without changing anything.
    details: It changes nothing; the report is written in check mode too.
  diff_mode:
    support: none
    description: Returns what changed, or would change, with a reason for each field.
  idempotent:
    support: full
    description: A second run with the same inventory changes nothing.
notes:
  - Runs once for all hosts, so the task sets C(run_once=true) and registers the result.
  - The environment variable E(OAUTH2_PROXY_CHART) overrides where the oauth2-proxy chart comes from.
author:
  - platform.gateway_auth contributors (@platform)
"""

EXAMPLES = r"""
- name: Validate the whole inventory and compile the addressed teams
  platform.gateway_auth.compile_teams:
    team: "{{ team | default('', true) }}"
  register: __gateway_auth
  run_once: true

- name: Keep the findings of an incident's team from being blocked by another team's
  platform.gateway_auth.compile_teams:
    team: a
    mode: addressed
  register: __gateway_auth
  run_once: true
"""

RETURN = r"""
models:
  description: Compiled models of the addressed teams by inventory host name. They hold no secret.
  returned: success
  type: dict
  sample: {team-a: {name: team-a, environment: sandbox}}
summary:
  description: One line for each addressed team, and one for each of its waivers in force.
  returned: success
  type: list
  elements: str
addressed:
  description: Inventory host names of the teams this run is about.
  returned: always
  type: list
  elements: str
  sample: [team-a]
findings:
  description: Everything found in any team, warnings included.
  returned: always
  type: list
  elements: dict
  contains:
    team:
      description: Inventory host name, empty when it concerns the run as a whole.
      type: str
    file:
      description: File in which it stands.
      type: str
    line:
      description: Line in the file, 0 when it isn't known.
      type: int
    path:
      description: The variable and the path in it.
      type: str
    expected:
      description: What was expected.
      type: str
    found:
      description: What was found. Never a secret.
      type: str
    remedy:
      description: What mends it.
      type: str
    rule:
      description: Stable id of the rule.
      type: str
    severity:
      description: V(error) or V(warning).
      type: str
msg:
  description: All findings in one report.
  returned: failure
  type: str
"""
