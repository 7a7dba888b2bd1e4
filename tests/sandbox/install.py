# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill a running cluster with what ``contents`` describes, and wait until it works."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import contents
from . import settings as s
from .processes import run
from .settings import Layout


def install(layout: Layout, chart: Path, base: Sequence[dict[str, Any]], gateway: Sequence[dict[str, Any]], step: Callable[[str], None]) -> None:
    """Fill the cluster. Envoy Gateway is installed while the rest is applied and started."""
    kubectl: str | Path = layout.bin / "kubectl"
    helm_home = str(layout.run / "helm")
    env = {**os.environ, "KUBECONFIG": str(layout.setup_kubeconfig), "HELM_CACHE_HOME": helm_home, "HELM_CONFIG_HOME": helm_home}
    server = ["--server-side", "--field-manager=sandbox", "-f", "-"]
    helm: list[str | Path] = [layout.bin / "helm", "install", "eg", chart, "-n", s.ENVOY_GATEWAY_NAMESPACE, "--create-namespace", "--timeout=120s"]
    with ThreadPoolExecutor(1) as beside:
        installed = beside.submit(run, helm, "install Envoy Gateway", 150, env=env)
        run([kubectl, "apply", *server], "apply DNS and apps", 60, env=env, stdin=contents.as_list(base))
        step("DNS and apps applied")
        installed.result()
    step("Envoy Gateway installed")
    run([kubectl, "apply", *server], "apply the Gateway", 60, env=env, stdin=contents.as_list(gateway))
    wait: list[str | Path] = [kubectl, "wait", "--timeout=120s"]
    programmed = ["--for=condition=Programmed", f"gateway/{s.GATEWAY_NAME}", "-n", s.GATEWAY_NAMESPACE]
    run([*wait, *programmed], f"wait for Gateway {s.GATEWAY_NAME} to be Programmed", 130, env=env)
    step(f"Gateway {s.GATEWAY_NAME} Programmed")
    run([*wait, "--for=condition=Available", "deployments", "--all", "--all-namespaces"], "wait for all deployments", 130, env=env)
    step("all deployments available")
