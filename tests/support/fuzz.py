# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much is generated: a bounded sample in `make test`, always the same one, so that a change is judged by what it changed;
FUZZ=long in `make soak`, which draws a seed and prints it, so that it can be run again.

FUZZ=long FUZZ_SEED=4711 pytest tests/unit -k fuzz
"""

from __future__ import annotations

import os
import typing as t

import hypothesis

LONG = os.environ.get("FUZZ") == "long"
SEED = int(os.environ.get("FUZZ_SEED") or 1)
_TIMES = 40

T = t.TypeVar("T", bound=t.Callable[..., None])


def fuzz(*, examples: int, slow: bool = False) -> t.Callable[[T], T]:
    """Settings of a generated test: so many examples, many times that with FUZZ=long. ``slow`` ones start programs."""
    settings = hypothesis.settings(
        max_examples=examples * (_TIMES // 4 if slow else _TIMES) if LONG else examples,
        deadline=None,
        database=None,
        print_blob=True,
        # What starts programs isn't shrunk: that would take minutes, and the example is printed as it is.
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate, *([] if slow else [hypothesis.Phase.shrink])],
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much, hypothesis.HealthCheck.function_scoped_fixture],
    )

    def decorate(test: T) -> T:
        return t.cast("T", hypothesis.seed(SEED)(settings(test)))

    return decorate
