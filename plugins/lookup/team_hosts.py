# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: team_hosts
author: platform.gateway_auth contributors (@platform)
short_description: Pattern of hosts on which it is safe to begin
version_added: 0.1.0
description:
  - Ansible templates variables such as C(ansible_connection) of a host before the first task on it runs, so what a team's own file
    smuggles in there has to be found before a play has hosts. This lookup stands in C(hosts) of the plays that validate.
  - It fails with all findings in the teams' own files if one of them holds a variable that isn't one of this collection.
    Otherwise it returns the pattern it was given.
  - With V(addressed) in the variable C(__gateway_auth_mode) and a team named with C(-e team), only that team's file counts, and
    other such hosts are left out of the pattern.
options:
  _terms:
    description:
      - Pattern of hosts.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Validate the inventory
  hosts: "{{ lookup('platform.gateway_auth.team_hosts', 'teams') }}"
  gather_facts: false
  connection: local
  roles:
    - role: platform.gateway_auth.gateway_auth
"""

RETURN = r"""
_raw:
  description: The pattern, less hosts that must not be touched.
  type: list
  elements: str
"""

import os
import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.platform.gateway_auth.plugins.module_utils import _findings
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _files, _inventory


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, t.Any] | None = None, **kwargs: t.Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        given = variables or {}
        dest = os.path.expanduser(str(given.get("dest") or "")) if given.get("__gateway_auth_reports") else ""
        if dest:
            _files.check_report(dest)
        hosts = [str(host) for host in (given.get("groups") or {}).get(_inventory.GROUP, [])]
        folders = _inventory.source_folders(given.get("ansible_inventory_sources") or [], given.get("playbook_dir") or ".")
        reader = _inventory.TeamFiles(self._loader, folders)
        files = {host: reader.read(host) for host in hosts}
        powerful = [host for host, file in files.items() if file.powerful]
        team = given.get("team")
        addressed = {f"team-{team}"} if team and given.get("__gateway_auth_mode") == "addressed" else set(hosts)
        if addressed.intersection(powerful):
            findings = [finding for file in files.values() for finding in file.findings]
            if dest:
                sources = [str(source) for source in given.get("ansible_inventory_sources") or []]
                _files.write_report(dest, findings, hosts, sorted(addressed), sources)
            raise AnsibleLookupError(_findings.render(findings, "Nothing was written."))
        return [":".join([str(term), *(f"!{host}" for host in powerful)]) for term in terms]
