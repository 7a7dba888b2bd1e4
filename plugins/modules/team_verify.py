# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: team_verify
short_description: Verify from outside and by the Kubernetes API that a team's apps are guarded
version_added: 0.1.0
description:
  - Reads the conditions of each team's objects, and asks every host from outside what somebody without a session gets.
  - Asks Entra ID with the proxy's own client id and secret whether it accepts them, and with C(prompt=none) whether it knows
    each host's redirect URI. No user is signed in.
  - Runs once for all hosts of the play's batch and never fails by itself. The task after it,
    M(platform.gateway_auth.team_outcome), reports or fails each host.
author:
  - platform.gateway_auth contributors (@platform)
options:
  models:
    description:
      - The compiled team models by host name, as role C(platform.gateway_auth.gateway_auth) makes them.
    type: dict
    required: true
  report:
    description:
      - Path of a JSON report to write, on the controller.
    type: path
    default: ""
  memberships:
    description:
      - Whether to ask Entra whether a member of the team's groups (20 of each at most) is in more groups than a token holds. It takes an
        identity in the environment that may read groups and users, and a call for each member.
    type: bool
    default: false
  explain:
    description:
      - URL of an app where somebody can't get in. Instead of every check, the road of a request to it is walked link by link, up to
        the first that is broken. A team that doesn't have the host isn't looked at.
    type: str
    default: ""
requirements:
  - kubernetes >= 37 (Python)
  - collection kubernetes.core >= 6.5.0
attributes:
  check_mode:
    support: full
    description: Can run in check mode without changing anything.
    details:
      - Nothing is ever changed, so check mode makes no difference.
  diff_mode:
    support: none
    description: Returns what changed.
    details:
      - There is nothing that could differ.
  idempotent:
    support: full
    description: A second run with the same inventory changes nothing.
    details:
      - It only reads.
notes:
  - Neither the client secret nor a line of the proxy's log is ever returned.
seealso:
  - module: platform.gateway_auth.team_outcome
"""

EXAMPLES = r"""
- name: Verify every team of the batch
  platform.gateway_auth.team_verify:
    models: "{{ __gateway_auth.models }}"
    report: reports/verify.json
  run_once: true
  register: __team_verify

- name: Walk the road of one request
  platform.gateway_auth.team_verify:
    models: "{{ __gateway_auth.models }}"
    explain: https://prometheus-team-a.apps.example.com/graph
  run_once: true
  register: __team_verify

- name: Report the team
  platform.gateway_auth.team_outcome:
    outcome: "{{ __team_verify.teams[inventory_hostname] }}"
"""

RETURN = r"""
teams:
  description: An outcome for each host of the batch.
  type: dict
  returned: success
  contains:
    failed:
      description: Whether a check of severity C(error) failed.
      type: bool
    msg:
      description: One line for each check, with a remedy where it failed.
      type: str
    data:
      description: The checks as data, C(checks[].id), C(title), C(ok), C(detail), C(remedy), C(severity).
      type: dict
"""
