# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sample that `make test` takes of long tests; everything runs by hand and in `make soak`.

With SAMPLE=<seed>, of the cases of a test marked ``sample(n)`` only ``n`` run, drawn by the seed: another sample for each commit, the same
one whenever that commit is tested. What isn't drawn is counted as deselected.
"""

from __future__ import annotations

import collections
import os
import random

import pytest

SEED = os.environ.get("SAMPLE", "")


def pytest_report_header() -> str:
    return f"sample: SAMPLE={SEED} draws the same tests again, none draws them all" if SEED else "sample: everything"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not SEED:
        return
    cases: dict[tuple[str, int], list[pytest.Item]] = collections.defaultdict(list)
    for item in items:
        mark = item.get_closest_marker("sample")
        if mark is not None:
            cases[item.nodeid.partition("[")[0], mark.args[0]].append(item)
    left_out: set[pytest.Item] = set()
    for (test, size), group in cases.items():
        draw = random.Random(f"{SEED} {test}")
        left_out.update(set(group) - set(draw.sample(group, min(size, len(group)))))
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=list(left_out))
