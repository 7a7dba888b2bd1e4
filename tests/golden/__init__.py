# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Golden cases of assembly: a team as it is compiled, and everything that must follow from it, in full.

A case is ``<kind>/<case>.yml`` with ``description``, ``input`` (what differs from the team of the design's example, mappings
merged key by key) and ``expected``. ``python -m tests.golden`` rewrites every ``expected``; read the difference before you commit.
"""

from __future__ import annotations

import copy
import dataclasses
import pathlib
import typing as t

import yaml

from ansible_collections.platform.gateway_auth.plugins.module_utils._admission import admission_manifests, claim
from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import gateway_manifests, platform_manifests
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._platform import platform_labels
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import merge_values, release_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._render import render_team
from tests.golden import entra

FOLDER = pathlib.Path(__file__).parent

# The smallest useful team file of the design, in the platform of the example inventory, as role gateway_auth compiles it.
EXAMPLE: dict[str, t.Any] = {
    "name": "team-a",
    "environment": "prod-weu",
    "stack": "monitoring",
    "domain": "apps.example.com",
    "tenant_id": "11111111-1111-4111-8111-111111111111",
    "client_id": "aaaaaaaa-0000-4000-8000-00000000000a",
    "cluster": {"kubeconfig": "/kube/config", "context": "", "uid": ""},
    "gateway": {"name": "main", "namespace": "gateway-envoy", "https_listener": "https", "http_listener": "http"},
    "probe": {"address": "", "proxy": "", "ca_file": ""},
    "chart": {"ref": "oci://ghcr.io/oauth2-proxy/charts/oauth2-proxy", "version": "10.7.0"},
    "allowed_groups": [{"id": "5f0c0c7e-0000-4000-8000-0000000000a1", "name": "team-a-developers"}],
    "apps": [
        {
            "name": "prometheus",
            "hostname": "prometheus-team-a.apps.example.com",
            "service": {"name": "prometheus-service-team-a", "port": 9090, "namespace": "monitoring-team-a"},
        },
        {
            "name": "alertmanager",
            "hostname": "alertmanager-team-a.apps.example.com",
            "service": {"name": "alertmanager-service-team-a", "port": 9093, "namespace": "monitoring-team-a"},
        },
    ],
    "trusted_proxy_cidrs": ["10.244.0.0/16"],
    "registration": "existing",
    "client_secret": {"kind": "env", "name": "TEAM_A_CLIENT_SECRET", "key": ""},
}


@dataclasses.dataclass(frozen=True)
class Case:
    path: pathlib.Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def content(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", yaml.safe_load(self.path.read_text(encoding="utf-8")))

    @property
    def team(self) -> Team:
        return team(self.content["input"])


def model(overrides: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
    """The example's compiled model with ``overrides`` merged over it."""
    return merge_values(copy.deepcopy(EXAMPLE), overrides or {})


def team(overrides: dict[str, t.Any] | None = None) -> Team:
    return Team.from_dict(model(overrides))


def registration_writes(case: Case) -> list[dict[str, t.Any]]:
    """What follows from a case of kind ``entra``, whose input is more than a team."""
    given = case.content["input"]
    return entra.writes(team(entra.managed_model(given.get("team"))), given)


def cases(kind: str) -> list[Case]:
    return [Case(path) for path in sorted((FOLDER / kind).glob("*.yml"))]


COMPILE: dict[str, t.Callable[[Team], t.Any]] = {
    "manifests": gateway_manifests,
    "values": release_values,
    "claim": claim,
    "admission": lambda team: admission_manifests(team.gateway, platform_labels(team)),
    "platform": lambda team: platform_manifests(team.gateway, platform_labels(team), team.domain),
    "render": render_team,
}
