# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts and groups of the suite."""

from __future__ import annotations

import json
import typing as t

from tests.e2e.sandbox import DOMAIN

ECHO_A, PROMETHEUS_A, ALERTMANAGER_A = (f"{app}-team-a.{DOMAIN}" for app in ("echo", "prometheus", "alertmanager"))
PROXY_A = f"monitoring-oauth2-team-a.{DOMAIN}"
ECHO_B, PROMETHEUS_B = (f"{app}-team-b.{DOMAIN}" for app in ("echo", "prometheus"))
PROXY_B = f"monitoring-oauth2-team-b.{DOMAIN}"
HOSTS_OF_A = frozenset({ECHO_A, PROMETHEUS_A, ALERTMANAGER_A, PROXY_A})
K1 = "team-k1"
K1_NAMESPACE = f"monitoring-{K1}"
K1_RELEASE = f"monitoring-oauth2-proxy-{K1}"
HOSTS = {name: f"{name}-{K1}.{DOMAIN}" for name in ("plain", "narrow", "public", "patient")}
REFRESH_S = 5.0
DEVELOPERS = {"id": "5f0c0c7e-0000-4000-8000-0000000000a1", "name": "team-a-developers"}
ONCALL = {"id": "5f0c0c7e-0000-4000-8000-0000000000a2", "name": "team-a-oncall"}
CANARY = "forged-by-the-client"


def seen_by_app(body: bytes) -> dict[str, t.Any]:
    """What the echo app says it got, header names in lower case."""
    seen = json.loads(body)
    seen["headers"] = {name.lower(): values for name, values in seen["headers"].items()}
    return t.cast("dict[str, t.Any]", seen)
