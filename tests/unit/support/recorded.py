# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Team a's objects as they were when a real API server's answers were recorded (``tests/unit/support/live``)."""

from __future__ import annotations

import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._manifests import (
    SIGN_OUT_RULE,
    USURPED_HEADERS,
    app_route,
    passthrough_route,
    security_policy,
)
from tests.golden import team

Object = dict[str, t.Any]
TEAM = team()


def as_recorded(obj: Object) -> Object:
    """Without what our objects have got since: it is the comparison, or the double, that is tested, not its subject."""
    spec = obj["spec"]
    if obj["kind"] == "SecurityPolicy":
        del spec["extAuth"]["http"]["backendSettings"]
        spec["extAuth"]["http"]["backendRefs"][0]["name"] = TEAM.release
        return obj
    spec["rules"] = [rule for rule in spec["rules"] if rule["name"] != SIGN_OUT_RULE]
    for rule in spec["rules"]:
        rule["matches"] = [match for match in rule["matches"] if match["path"]["type"] != "RegularExpression"]
        for change in (item["requestHeaderModifier"] for item in rule["filters"] if "requestHeaderModifier" in item):
            change["remove"] = [name for name in change["remove"] if name not in USURPED_HEADERS]
    return obj


POLICY = as_recorded(security_policy(TEAM, TEAM.apps[0]))
ROUTE = as_recorded(app_route(TEAM, TEAM.apps[0]))
PASSTHROUGH = as_recorded(passthrough_route(TEAM, TEAM.apps[0]))
