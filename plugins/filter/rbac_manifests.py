# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rbac_manifests
short_description: Build the Roles that the identity of the playbooks needs
version_added: 0.1.0
author:
  - platform.gateway_auth contributors (@platform)
description:
  - >-
    Turns compiled team models into the ClusterRole, the Roles and their bindings with which an identity can run the playbooks for
    these teams, and nothing else. Pure; asks no cluster.
  - >-
    Whoever applies them must hold these rights, or the verb C(escalate) on roles. What they amount to, Secrets above all, is in docs/rbac.md.
positional: _input, subject
options:
  _input:
    description:
      - Compiled team models by host name, C(__gateway_auth.models), which role C(platform.gateway_auth.gateway_auth) makes.
    type: dict
    required: true
  subject:
    description:
      - Whom they are bound to.
    type: dict
    required: true
    suboptions:
      kind:
        description: What kind of identity it is.
        type: str
        choices: [ServiceAccount, User, Group]
        required: true
      name:
        description: Its name; of a user or group of Entra on AKS the object id.
        type: str
        required: true
      namespace:
        description: The namespace of a ServiceAccount.
        type: str
  scope:
    description:
      - With V(cluster) the identity may act in every namespace, those that it makes included.
      - With V(namespaces) it may act in the namespaces of these teams and of the Gateway alone. They must be there, and it makes none.
    type: str
    default: cluster
    choices: [cluster, namespaces]
  phases:
    description:
      - The playbooks it may run. V(onboard) and V(rotate) end with the checks of V(verify).
      - Without V(prepare) it only reads in the Gateway's namespace.
    type: list
    elements: str
    default: [verify, prepare, onboard, rotate]
    choices: [verify, prepare, onboard, rotate]
  optional:
    description:
      - Whether rights are among them without which a check is left out and nothing else is missing.
    type: bool
    default: true
  name:
    description:
      - Name of each Role and binding.
    type: str
    default: gateway-auth
"""

EXAMPLES = r"""
- name: Write the Roles of an AWX instance that may verify and no more
  ansible.builtin.copy:
    content: "{{ __gateway_auth.models | platform.gateway_auth.rbac_manifests(subject, scope='namespaces', phases=['verify']) | to_nice_json }}"
    dest: rights.json
    mode: "0644"
  vars:
    subject: {kind: ServiceAccount, namespace: awx, name: gateway-auth}
  run_once: true
"""

RETURN = r"""
_value:
  description:
    - >-
      ClusterRole and ClusterRoleBinding first where there are any, then a Role and a RoleBinding for each namespace.
  type: list
  elements: dict
"""

import collections.abc
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.platform.gateway_auth.plugins.module_utils._rights import IN_CLUSTER, PHASES, SCOPES, SUBJECTS, Subject
from ansible_collections.platform.gateway_auth.plugins.module_utils._rights import rbac_manifests as _assemble
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._compiled import compiled_team

_NAME = "Filter platform.gateway_auth.rbac_manifests"


def rbac_manifests(
    models: t.Any,
    subject: t.Any,
    scope: t.Any = IN_CLUSTER,
    phases: t.Any = PHASES,
    optional: t.Any = True,
    name: t.Any = "gateway-auth",
) -> list[dict[str, t.Any]]:
    if not isinstance(models, collections.abc.Mapping) or not models:
        raise AnsibleFilterError(f"{_NAME} expected compiled team models by host name, found {models!r}. Give it __gateway_auth.models.")
    if scope not in SCOPES:
        raise AnsibleFilterError(f"{_NAME} expected a scope of {', '.join(SCOPES)}, found {scope!r}.")
    wanted = [phases] if isinstance(phases, str) else list(phases)
    unknown = [phase for phase in wanted if phase not in PHASES]
    if unknown or not wanted:
        raise AnsibleFilterError(f"{_NAME} expected phases of {', '.join(PHASES)}, found {', '.join(map(str, unknown)) or 'none'}.")
    if not isinstance(optional, bool):
        raise AnsibleFilterError(f"{_NAME} expected optional to be true or false, found {optional!r}.")
    teams = [compiled_team(model, "rbac_manifests") for model in models.values()]
    return _assemble(teams, _subject(subject), scope=str(scope), phases=[str(phase) for phase in wanted], optional=optional, name=str(name))


def _subject(given: t.Any) -> Subject:
    expected = "{kind: ServiceAccount, namespace: …, name: …}, {kind: User, name: …} or {kind: Group, name: …}"
    found = {str(key): str(value) for key, value in given.items()} if isinstance(given, collections.abc.Mapping) else {}
    keys = {"kind", "name"} | ({"namespace"} if found.get("kind") == "ServiceAccount" else set())
    if found.get("kind") not in SUBJECTS or set(found) != keys or not all(found.values()):
        raise AnsibleFilterError(f"{_NAME} expected a subject such as {expected}, found {given!r}.")
    return Subject(**found)


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"rbac_manifests": rbac_manifests}
