# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Inventories for validation: written as files, read by Ansible itself.

A case is ``validate/error_<rule>.yml`` with ``description``, ``input`` and ``error``. Its ``input`` differs from BASE below:
``platform`` and ``hosts.<team>`` are merged variable by variable (null removes one), ``files`` replaces or adds whole files as
text, ``extra_vars`` is what -e gives. ``error`` names ``rule`` and ``path``, and where it matters ``team``, ``file``, ``line``,
``severity`` and ``words`` that a reader must find in the finding.
"""

from __future__ import annotations

import copy
import datetime
import pathlib
import typing as t

import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret, VaultSecretsContext
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from ansible_collections.platform.gateway_auth.plugins.module_utils import _validate
from ansible_collections.platform.gateway_auth.plugins.module_utils._findings import Finding
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils import _inventory

TODAY = datetime.date(2026, 11, 24)
VAULT_PASSWORD = b"not a secret"

PLATFORM: dict[str, t.Any] = {
    "gateway_auth_environment": "prod-weu",
    "gateway_auth_domain": "apps.example.com",
    "gateway_auth_cluster": {"kubeconfig": "/kube/config"},
    "gateway_auth_trusted_proxy_cidrs": ["10.244.0.0/16"],
    "gateway_auth_tenant_id": "11111111-1111-4111-8111-111111111111",
    "gateway_auth_registration": "existing",
    "gateway_auth_redirect_uris_registered": True,
    "gateway_auth_client_secret": {"file": "/secrets/{{ inventory_hostname }}"},
}
HOSTS: dict[str, dict[str, t.Any]] = {
    "team-a": {"gateway_auth_client_id": "aaaaaaaa-0000-4000-8000-00000000000a"},
    "team-b": {"gateway_auth_client_id": "bbbbbbbb-0000-4000-8000-00000000000b"},
}
TEAM_FILE = """\
gateway_auth_allowed_groups:
  - {id: 5f0c0c7e-0000-4000-8000-0000000000%(letter)s1, name: team-%(letter)s-developers}
gateway_auth_apps:
  - {name: prometheus, service: {name: prometheus-service, port: 9090}}
"""


def write(folder: pathlib.Path, given: t.Mapping[str, t.Any] | None = None) -> pathlib.Path:
    """The inventory of a case as files below ``folder``."""
    given = given or {}
    hosts = copy.deepcopy(HOSTS)
    for name, variables in given.get("hosts", {}).items():
        if variables is None:
            del hosts[name]
        else:
            _merge(hosts.setdefault(name, {}), variables)
    platform = copy.deepcopy(PLATFORM)
    _merge(platform, given.get("platform", {}))
    files = {
        "hosts.yml": yaml.safe_dump({"teams": {"hosts": hosts}}, sort_keys=False),
        "group_vars/teams.yml": yaml.safe_dump(platform, sort_keys=False),
        **{f"host_vars/{name}.yml": TEAM_FILE % {"letter": name[-1] if name[-1] in "abcdef" else "f"} for name in hosts},
        **given.get("files", {}),
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def reader(folder: pathlib.Path, extra_vars: t.Mapping[str, t.Any] | None = None) -> tuple[_inventory.InventoryReader, list[str]]:
    """A reader of the inventory below ``folder``, and the hosts of its group of teams."""
    loader = DataLoader()
    loader.set_basedir(str(folder / "nowhere"))
    secrets = [("default", VaultSecret(VAULT_PASSWORD))]
    loader.set_vault_secrets(secrets)
    if not VaultSecretsContext.current(optional=True):  # once a process, as the command line does it
        VaultSecretsContext.initialize(VaultSecretsContext(secrets))
    inventory = InventoryManager(loader=loader, sources=[str(folder)])
    variables = VariableManager(loader=loader, inventory=inventory)
    extra = _trusted(dict(extra_vars or {}))
    variables._extra_vars = extra
    hostvars = HostVars(inventory=inventory, variable_manager=variables, loader=loader)

    def template(value: t.Any, available: t.Mapping[str, t.Any]) -> t.Any:
        return Templar(loader=loader, variables=dict(available)).template(value)

    found = _inventory.InventoryReader(
        raw_vars=hostvars.raw_get,
        loader=loader,
        template=template,
        folders=_inventory.source_folders([str(folder)], str(folder / "nowhere")),
        extra_vars=extra,
        context={"hostvars": hostvars},
    )
    return found, [host.name for host in inventory.get_hosts("teams")]


def judge(folder: pathlib.Path, extra_vars: t.Mapping[str, t.Any] | None = None) -> tuple[list[Team], list[Finding]]:
    """What action compile_teams does with the inventory below ``folder``."""
    found, hosts = reader(folder, extra_vars)
    teams, findings = _validate.validate(found.read(hosts), today=TODAY)
    return teams, [*_inventory.check_extra_vars(extra_vars or {}), *findings]


def _merge(base: dict[str, t.Any], given: t.Mapping[str, t.Any]) -> None:
    for key, value in given.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = value


def _trusted(value: t.Any) -> t.Any:
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {key: _trusted(item) for key, item in value.items()}
    return value
