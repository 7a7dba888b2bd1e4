# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Says by which seed the generated tests ran, where one of them failed."""

from __future__ import annotations

import pytest

from tests.support.fuzz import SEED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.stats.get("failed"):
        terminalreporter.write_line(f"generated tests: FUZZ_SEED={SEED} runs the same ones again")
