# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make bench``: team a's first onboarding and a run without change, side by side with the bare sequence for the same objects."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing as t

import yaml

from tests.e2e.entra import Registration
from tests.e2e.sandbox import ROOT, Sandbox

from . import registrations
from .measure import SAMPLE, Cost, machine, programs, run

PAGE = ROOT / "docs" / "benchmarks.md"
TEAM, NAMESPACE, RELEASE = "team-a", "monitoring-team-a", "monitoring-oauth2-proxy-team-a"
SECRETS = ("oauth2-proxy-team-a", "oauth2-proxy-redis-team-a")
FIRST_LIMIT, AGAIN_LIMIT, MEMORY_LIMIT = 1.5, 3.0, 400.0
ONBOARD = ["ansible-playbook", "playbooks/onboard_team.yml", "-e", "team=a"]

# What a person would script, with the objects as render_team wrote them; no checks, no probes, no order but theirs.
BARE = f"""\
set -eu
kubectl apply --filename "$WORK/secrets.json"
helm upgrade --install {RELEASE} "$OAUTH2_PROXY_CHART" --namespace {NAMESPACE} --values "$WORK/values.yaml" --wait
kubectl apply --filename "$WORK/objects.json"
"""


def say(message: str) -> None:
    print(f"bench: {message}", flush=True)


def reset(sandbox: Sandbox) -> None:
    """The apps alone: what the collection or the bare sequence made goes, routes first, and the registration."""
    Registration(sandbox, "gateway-auth.sandbox.monitoring.team-a").purge()
    for kind in ("httproutes.gateway.networking.k8s.io", "securitypolicies.gateway.envoyproxy.io", "secrets"):
        if kind == "secrets":
            subprocess.run(
                ["helm", "uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait"], env=sandbox.env, check=True, capture_output=True
            )
        sandbox.kubectl("delete", kind, "--namespace", NAMESPACE, "--selector", "gateway-auth/team", "--wait=true")
        # What the API server goes by when it keeps a policy: the routes are gone, so it may.
        sandbox.kubectl("delete", "configmap", "--namespace", "gateway-envoy", "--ignore-not-found", f"gateway-auth-claim-{NAMESPACE}")
    sandbox.kubectl("delete", "secrets", "--namespace", NAMESPACE, "--ignore-not-found", *SECRETS)
    sandbox.kubectl("wait", "pods", "--namespace", NAMESPACE, "--selector", f"app.kubernetes.io/instance={RELEASE}", "--for=delete", "--timeout=60s")


def prepare_bare(sandbox: Sandbox, work: pathlib.Path) -> None:
    """The same objects as the collection makes: its own files, and Secrets with the values it has just made."""
    sandbox.playbook("render_team", "-e", "team=a", "-e", f"dest={work / 'rendered'}").must()
    rendered = work / "rendered" / TEAM
    (work / "values.yaml").write_text((rendered / "values.yaml").read_text())
    objects: list[dict[str, t.Any]] = []
    for path in sorted(rendered.rglob("*.y*ml")):
        if path.name == "values.yaml":
            continue
        objects += [document for document in yaml.safe_load_all(path.read_text()) if document and document.get("kind") in ("HTTPRoute", "SecurityPolicy")]
    write_list(work / "objects.json", objects)
    write_list(work / "secrets.json", [plain_secret(name, sandbox.get("secret", name, NAMESPACE)["data"]) for name in SECRETS])


def plain_secret(name: str, data: dict[str, str]) -> dict[str, t.Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data}


def write_list(path: pathlib.Path, objects: list[dict[str, t.Any]]) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def measure(sandbox: Sandbox, commands: dict[str, list[str]], env: dict[str, str], rounds: int) -> dict[str, Cost]:
    """What a first run and one again without change cost; in turns, so that whatever else the machine does meets all alike."""
    costs: dict[str, list[Cost]] = {f"{name}, {when}": [] for when in ("first", "again") for name in commands}
    for number in range(1, rounds + 1):
        for name, command in commands.items():
            reset(sandbox)
            for when in ("first", "again"):
                costs[f"{name}, {when}"].append(run(sandbox, command, env))
            say(f"round {number} of {rounds}, {name}: " + ", ".join(f"{when} {costs[f'{name}, {when}'][-1].wall:.1f} s" for when in ("first", "again")))
    medians = {label: Cost.median(each) for label, each in costs.items()}
    for name, command in commands.items():
        reset(sandbox)
        for when in ("first", "again"):
            medians[f"{name}, {when}"] = dataclasses.replace(medians[f"{name}, {when}"], programs=programs(sandbox, command, env))
    return medians


def page(costs: dict[str, Cost], rounds: int, entra: str) -> str:
    def cells(cost: Cost) -> str:
        return f"{cost.wall:.1f} s | {cost.fastest:.1f} s | {cost.cpu:.1f} s | {cost.memory:.0f} MiB | {'?' if cost.programs is None else cost.programs} | {cost.calls}"

    rows = [f"| {name} | {cells(cost)} |" for name, cost in costs.items()]
    ratio = costs["onboard_team, first"].fastest / costs["bare, first"].fastest
    again, memory = costs["onboard_team, again"].wall, max(cost.memory for name, cost in costs.items() if name.startswith("onboard"))
    verdicts = [
        (f"first onboarding at most {FIRST_LIMIT} x the bare sequence (fastest of each)", f"{ratio:.2f} x", ratio <= FIRST_LIMIT),
        (f"run without change at most {AGAIN_LIMIT:.0f} s", f"{again:.1f} s", again <= AGAIN_LIMIT),
        (f"peak memory at most {MEMORY_LIMIT:.0f} MiB", f"{memory:.0f} MiB", memory <= MEMORY_LIMIT),
    ]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            f"Written by `make bench` on {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}: {machine()}, load {os.getloadavg()[0]:.1f} at the end.",
            f"Team a with two apps on the embedded cluster, medians of {rounds} rounds, each from the apps alone.",
            "",
            "| | wall, median | wall, fastest | CPU | peak memory | programs started | API calls |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "| aim | measured | |",
            "|---|---|---|",
            *(f"| {aim} | {measured} | {'met' if met else '**missed**'} |" for aim, measured, met in verdicts),
            "",
            entra,
            "## Method",
            "",
            "The bare sequence is what a person would script for the same objects: `kubectl apply` of the two Secrets, `helm upgrade --install",
            "--wait` with the same chart and values, `kubectl apply` of the policies and routes as `render_team` writes them. It checks nothing,",
            "waits for no policy, makes no app registration and leaves the window open that `onboard_team` keeps shut; `onboard_team` besides",
            "validates, checks rights and versions, makes the registration and its secret, proves that at the token endpoint, waits until Envoy",
            "refuses at the sentinel, and verifies every door at the end.",
            "",
            "First runs come in two lengths about 10 s apart, for both: the chart's readiness probe asks every 10 s, and a pod that misses the first",
            "one is ready at the second. That is luck, so first runs are compared by the fastest of each, in which neither waited for it.",
            "",
            "Wall: start to exit. CPU: user and system time of the command and all its children (`getrusage`). Peak memory: the largest sum of the",
            f"proportional set sizes of its process tree, sampled every {SAMPLE * 1000:.0f} ms. Programs: successful `execve` calls, counted by",
            "`strace` in a round of its own, for it slows what it counts; Ansible's own forks of itself aren't programs. API calls: requests of",
            "the user's identity in the API server's audit log, dry runs and reads included, discovery documents aside.",
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    sandbox = Sandbox.find()
    reset(sandbox)
    sandbox.playbook("prepare_gateway").must()
    sandbox.playbook("onboard_team", "-e", "team=a").must()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        prepare_bare(sandbox, work)
        env = {"WORK": str(work), "ANSIBLE_NOCOLOR": "1"}
        costs = measure(sandbox, {"bare": ["bash", "-c", BARE], "onboard_team": ONBOARD}, env, arguments.rounds)
    reset(sandbox)
    entra, _met = registrations.section()
    PAGE.write_text(page(costs, arguments.rounds, entra), encoding="utf-8")
    say(f"wrote {PAGE.relative_to(ROOT)}")
    print(PAGE.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
