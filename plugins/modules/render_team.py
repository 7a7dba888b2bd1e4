# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: render_team
short_description: Write teams as files for GitOps
version_added: 0.1.0
description:
  - Writes a folder for each team with the Helm values, the manifests in the order that keeps every app closed until its policy
    is proven live (Argo CD sync waves, one folder for each step), and a README that says what must exist before.
  - The files hold no secret. No cluster is asked.
  - Writes a file only when its content differs. Removes files of apps that are gone, and only files that it has written.
options:
  dest:
    description:
      - Folder under which each team gets one of its own. A relative one starts at the working directory.
    type: path
    default: rendered
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return what would change without changing anything.
  diff_mode:
    support: full
    description: Returns each file before and after.
extends_documentation_fragment:
  - platform.gateway_auth.batch
"""

EXAMPLES = r"""
- name: Write every team's files
  platform.gateway_auth.render_team:
    models: "{{ __gateway_auth.models }}"
    dest: rendered
  run_once: true
  register: __render
"""

RETURN = r"""
teams:
  description: One outcome for each host of the batch, by host name.
  returned: always
  type: dict
  contains:
    changed:
      description: Whether a file was (or in check mode would be) written or removed.
      type: bool
      returned: always
    failed:
      description: Whether the team's files could not be written.
      type: bool
      returned: always
    msg:
      description: What failed and what mends it.
      type: str
      returned: always
    changes:
      description: Each file written or removed, with the reason.
      type: list
      elements: dict
      returned: always
    diff:
      description: Before and after of each file.
      type: list
      elements: dict
      returned: always
    data:
      description: The team's folder, as C(folder).
      type: dict
      returned: always
"""
