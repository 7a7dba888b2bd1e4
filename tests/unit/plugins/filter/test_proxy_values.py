# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.platform.gateway_auth.plugins.filter.proxy_values import FilterModule
from tests.golden import COMPILE, model, team
from tests.support.wrong_models import check_refusal, wrong_models

FILTER = FilterModule().filters()["proxy_values"]


def test_compiles_the_example() -> None:
    assert FILTER(model()) == COMPILE["values"](team())


@wrong_models
def test_wrong_type(value: t.Any, found: str) -> None:
    check_refusal(FILTER, "proxy_values", value, found)
