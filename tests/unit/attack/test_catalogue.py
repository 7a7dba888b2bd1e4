# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each attack of the catalogue has a test here, and one on the guide's set-up or the reason why it can't."""

from __future__ import annotations

import pathlib
import re

import pytest

from tests.attack.catalogue import ATTACKS, BY_KEY, USES, Attack

ROOT = pathlib.Path(__file__).resolve().parents[3]
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests" / "attack").glob("test_*.py")))
MARKED = {kind: set(re.findall(rf'^@pytest\.mark\.{kind}\("([\w-]+)"\)$', TESTS, re.MULTILINE)) for kind in ("attack", "guide")}


def test_keys_are_unique_and_every_mark_is_one() -> None:
    assert len(BY_KEY) == len(ATTACKS) + len(USES)
    assert MARKED["attack"] | MARKED["guide"] <= set(BY_KEY)


@pytest.mark.parametrize("key", BY_KEY)
def test_every_attack_and_use_has_a_test(key: str) -> None:
    assert key in MARKED["attack"]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.key)
def test_every_attack_is_shown_to_bite_on_the_guide_or_says_why_not(attack: Attack) -> None:
    assert (attack.key in MARKED["guide"]) is not bool(attack.spared)
