# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What every batched action takes and returns (plugins/plugin_utils/_batch.py)."""

    DOCUMENTATION = r"""
options:
  models:
    description:
      - Compiled team models by inventory host name, as M(platform.gateway_auth.compile_teams) returns them.
    type: dict
    required: true
  adopt:
    description:
      - Foreign objects of our names that may be taken over, as V(Kind/name), or V(all).
      - Give it on the command line only (C(-e adopt=...)), never in a file.
    type: raw
    default: []
  only:
    description: Hosts that this phase is for; every other host of the batch has nothing to do. All of them by default.
    type: list
    elements: str
notes:
  - One call serves every host of the batch, so the task sets C(run_once=true) and registers the result;
    M(platform.gateway_auth.team_outcome) then reports or fails each host by itself.
  - Authentication is that of collection C(kubernetes.core); the kubeconfig and context come from
    C(gateway_auth_cluster), the rest from its C(K8S_AUTH_*) environment variables.
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return what would change without changing anything.
    details: Asks the API server by dry run; an object whose namespace does not exist yet is predicted.
  diff_mode:
    support: full
    description: Returns what changed, or would change, with a reason for each field.
  idempotent:
    support: full
    description: A second run with the same inventory changes nothing.
requirements:
  - kubernetes >= 37 (Python)
  - collection kubernetes.core >= 6.5.0
author:
  - platform.gateway_auth contributors (@platform)
"""
