# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run an action plugin as Ansible does, short of a play: a real Task, real option parsing, a connection nobody uses."""

from __future__ import annotations

import types
import typing as t

from ansible.playbook.task import Task
from ansible.plugins.action import ActionBase

from tests.golden import model

Model = t.Callable[..., dict[str, t.Any]]  # a team's name and what differs -> its compiled model


def make_action(kind: type[ActionBase], options: dict[str, t.Any], *, check: bool = False, diff: bool = False) -> t.Any:
    task = Task()
    task.action = f"platform.gateway_auth.{kind.__module__.rpartition('.')[2]}"
    task.args = dict(options)
    task.check_mode = check
    task.diff = diff
    connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir="/nowhere"))
    return kind(task, connection, None, None, None)


def run_action(
    kind: type[ActionBase],
    options: dict[str, t.Any],
    *,
    check: bool = False,
    diff: bool = False,
    variables: dict[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """The action's result; ``variables`` are the task's, by default the hosts of ``models``."""
    hosts = list(options.get("models") or {})
    everything = {"ansible_play_batch": hosts, "ansible_play_hosts": hosts, "ansible_play_hosts_all": hosts, "hostvars": {}}
    return t.cast("dict[str, t.Any]", make_action(kind, options, check=check, diff=diff).run(task_vars={**everything, **(variables or {})}))


def models(kubeconfig: str, *names: str, **overrides: t.Any) -> dict[str, t.Any]:
    """Compiled models of these teams (``team-a`` by default) on the API double."""
    return {name: team_model(kubeconfig, name, **overrides) for name in names or ("team-a",)}


def team_model(kubeconfig: str, name: str = "team-a", **overrides: t.Any) -> dict[str, t.Any]:
    renamed: dict[str, t.Any] = {"name": name, "cluster": {"kubeconfig": kubeconfig}}
    if name != "team-a":
        renamed["apps"] = [
            {**app, "hostname": app["hostname"].replace("team-a", name), "service": {**app["service"], "namespace": f"monitoring-{name}"}}
            for app in model()["apps"]
        ]
    return model({**renamed, **overrides})


def texts(value: t.Any) -> t.Iterator[str]:
    """Every text anywhere in a result, keys included."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from texts(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from texts(item)
    else:
        yield str(value)
