# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What 50 teams' app registrations cost: requests to Graph for each team, and where the time goes.

The Entra double runs in this process; how far away Entra is, is played by a delay of each answer.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import pathlib
import tempfile
import time
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils import _entra_app
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from tests.sandbox.entra.testkit import Double, control, running_double
from tests.unit.support import entra

TEAMS = 50
WORKERS = 16  # of plugins/plugin_utils/_batch.py
DELAY_S = 0.1
FIRST_LIMIT, AGAIN_LIMIT = 11, 4  # 10 and one for the group; 4


@dataclasses.dataclass(frozen=True)
class Round:
    """One run over all teams."""

    calls: int
    wall: float
    cpu: float

    @property
    def each(self) -> float:
        return self.calls / TEAMS


def _teams(double: Double) -> list[Team]:
    return [
        dataclasses.replace(
            entra.managed(double, name=f"team-t{number}"),
            apps=tuple(dataclasses.replace(app, hostname=f"{app.name}-team-t{number}.apps.example.com") for app in entra.managed(double).apps),
        )
        for number in range(TEAMS)
    ]


def _round(double: Double, teams: list[Team]) -> Round:
    graph = entra.graph(double, patience=120)
    entra.forget(double)
    wall, cpu = time.perf_counter(), time.process_time()
    groups = sorted({group.id for team in teams for group in team.all_groups})
    found = graph.objects(groups, what="look up the groups")

    def settle(team: Team) -> None:
        _entra_app.judge_groups(team, found)
        settled = _entra_app.settle(graph, team, adopt=[], check=False, owners={})
        _entra_app.read_credentials(graph, team.resolved(settled.client_id, {}))

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for result in [pool.submit(settle, team) for team in teams]:
            result.result()
    return Round(len(entra.calls(double)), time.perf_counter() - wall, time.process_time() - cpu)


def measure(delay: float) -> dict[str, Round]:
    """A first run and one again without change, each answer of Graph ``delay`` seconds late."""
    with tempfile.TemporaryDirectory() as folder, running_double(pathlib.Path(folder)) as double:
        if delay:
            control(double, "PUT", "/faults", [{"match": {"host": "graph.microsoft.com"}, "action": {"delay": delay}}])
        teams = _teams(double)
        return {when: _round(double, teams) for when in ("first", "again")}


def section() -> tuple[str, bool]:
    """A part of docs/benchmarks.md, and whether every aim is met."""
    rows, met = [], True
    for delay in (0.0, DELAY_S):
        found = measure(delay)
        for when, limit in (("first", FIRST_LIMIT), ("again", AGAIN_LIMIT)):
            each = found[when]
            met = met and each.each <= limit
            rows.append(f"| {delay * 1000:.0f} ms | {when} | {each.each:.1f} | {each.wall:.1f} s | {each.cpu:.1f} s |")
    text = "\n".join(
        [
            f"## {TEAMS} registrations",
            "",
            f"The Entra part of {TEAMS} teams with two apps and one group each, against the Entra double, {WORKERS} at a time; CPU is this process's, the double's",
            "included, for it runs in it. Aims: at most 10 requests a team and one for each group on a first run, 4 on a run without change.",
            "Adding and revoking the client secret is one request each, on a first run and at a rotation.",
            "",
            "| each answer takes | run | requests to Graph a team | wall | CPU |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )
    return text, met


def main(argv: t.Sequence[str] = ()) -> int:
    text, met = section()
    print(text)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
