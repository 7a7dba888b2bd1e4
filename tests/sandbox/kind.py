# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``SANDBOX=kind``: the same contents and the same ``.sandbox/env`` on a container engine.

UNTESTED: the machines this was written on have no container engine. The parts it shares with the embedded cluster
(contents, certificates, the proxy, health checks) are tested there; what is below is not. Linux only, since the node
reaches the Entra double at the bridge's address.

Differences: the Gateway's Service is a NodePort behind two loopback ports, because kind answers no LoadBalancer; the
Entra double and the proxy are processes of the machine; images come from their registries.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from . import components, contents, pki
from . import settings as s
from .assets import KUBECTL_HELM3, KUBECTL_HELM4, Cache
from .health import settled, tcp_open
from .images import BUNDLE, ECHO, OAUTH2_PROXY
from .install import install
from .processes import Process, run, say, tail, wait_for
from .settings import Layout, SandboxError
from .state import choose_ports, exclusive, read_record, summary, write_env, write_record

NODE_IMAGE = f"kindest/node:v{s.KUBERNETES_VERSION}"
MONITORING = {"prometheus": "quay.io/prometheus/prometheus:v2.42.0", "alertmanager": "quay.io/prometheus/alertmanager:v0.25.0"}
NODE_PORTS = {"http": 30080, "https": 30443}
ENTRA_SERVICE_IP = "10.92.0.20"
GATEWAY_SERVICE_IP = "10.92.0.100"


def up(layout: Layout) -> None:
    """Create the cluster and fill it; a cluster that is whole is left alone."""
    with exclusive(layout):
        if settled(layout) is None:
            say(f"The sandbox runs already ({layout.env}).")
            return
        engine = _engine()
        _clean(layout)
        began = time.monotonic()

        def step(what: str) -> None:
            say(f"[up] {time.monotonic() - began:5.1f} s  {what}")

        cache = Cache(layout.cache)
        cache.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        inputs = {
            "ca": cache.authority(),
            "tools": cache.kubectl_helm(KUBECTL_HELM4),
            "tools3": cache.kubectl_helm(KUBECTL_HELM3),
            "chart": cache.gateway_chart(),
            **{name: cache.go(name) for name in ("sandboxd", "echo", "egctl")},
        }
        layout.run.mkdir(mode=0o700, parents=True)
        for folder in (layout.logs, layout.entra_secrets, layout.pki, layout.bin):
            folder.mkdir(mode=0o700)
        for tool, asset, program in (("kubectl", "tools", "kubectl"), ("helm", "tools", "helm"), ("helm3", "tools3", "helm"), ("egctl", "egctl", "egctl")):
            (layout.bin / tool).symlink_to(inputs[asset] / program)
        shutil.copy(inputs["ca"] / "ca.crt", layout.ca)
        authority = pki.load_authority(inputs["ca"] / "private")
        for stem, names in (("gateway", pki.GATEWAY_NAMES), ("entra", s.ENTRA_HOSTS)):
            certificate, key = authority.issue(stem, names=names)
            (layout.pki / f"{stem}.crt").write_bytes(certificate)
            pki.write_private(layout.pki / f"{stem}.key", key)
        ports = choose_ports(layout)
        loopback = {name: _free_port() for name in NODE_PORTS}
        record: dict[str, Any] = {"kind": layout.cgroup_name, "processes": {}}
        write_record(layout, record)

        (layout.run / "audit-policy.yaml").write_text(yaml.safe_dump(components.audit_policy()))
        (layout.state / "audit").mkdir()
        layout.audit_log.symlink_to("audit/audit.log")
        config = yaml.safe_dump(cluster_config(layout, ports, loopback))
        create: list[str | Path] = ["kind", "create", "cluster", "--name", layout.cgroup_name, "--image", NODE_IMAGE]
        create += ["--kubeconfig", layout.kubeconfig, "--config", "-"]
        run(create, "create the kind cluster", 600, env=_env(engine), stdin=config)
        layout.kubeconfig.chmod(0o600)
        shutil.copy(layout.kubeconfig, layout.setup_kubeconfig)
        cluster = yaml.safe_load(layout.kubeconfig.read_text())["clusters"][0]["cluster"]
        (layout.pki / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        step("kind cluster created")
        _load_images(layout, engine, inputs)
        step("images with the sandbox CA and echo loaded")

        bridge = _bridge_address(engine)
        entra_port = _free_port(bridge)
        argv = components.entra_argv(layout, f"{bridge}:{entra_port}", f"127.0.0.1:{ports.entra_admin}", f"127.0.0.1:{ports.api}")
        record["processes"]["entra"] = _spawn(layout, "entra", argv, layout.checkout).as_json()
        proxy = {
            "listen": f"127.0.0.1:{ports.proxy}",
            "ready_file": str(layout.run / "proxy.ready"),
            "routes": components.proxy_routes(f"127.0.0.1:{loopback['https']}", f"127.0.0.1:{loopback['http']}", f"{bridge}:{entra_port}"),
            "relays": {},
        }
        (layout.run / "proxy.json").write_text(json.dumps(proxy, indent=1))
        proxy_argv = [str(inputs["sandboxd"] / "sandboxd"), "proxy", str(layout.run / "proxy.json")]
        record["processes"]["proxy"] = _spawn(layout, "sandbox-proxy", proxy_argv, Path("/")).as_json()
        write_record(layout, record)
        wait_for("the Entra double to answer", lambda: tcp_open(ports.entra_admin) or None, 20, layout.logs / "entra.log")
        wait_for("the proxy to listen", lambda: (layout.run / "proxy.ready").exists() or None, 10, layout.logs / "sandbox-proxy.log")

        base = [*dns_objects(bridge, entra_port), *contents.apps(MONITORING)]
        gateway = [*contents.gateway(layout.pki / "gateway.crt", layout.pki / "gateway.key", node_port_service()), gateway_service()]
        kubectl: list[str | Path] = [layout.bin / "kubectl", "--kubeconfig", layout.setup_kubeconfig]
        # kind's own Corefile has another field manager, which kubectl's server-side apply wouldn't override.
        run([*kubectl, "-n", "kube-system", "delete", "configmap", "coredns"], "remove kind's Corefile", 30)
        install(layout, inputs["chart"], base, gateway, step)
        run([*kubectl, "-n", "kube-system", "rollout", "restart", "deployment/coredns"], "restart CoreDNS", 30)
        write_env(layout, ports)
        record["complete"] = True
        write_record(layout, record)
        say(summary(layout))


def down(layout: Layout) -> None:
    """End the processes and delete the cluster."""
    with exclusive(layout):
        _clean(layout)
        say("The sandbox is down.")


def cluster_config(layout: Layout, ports: components.Ports, loopback: dict[str, int]) -> dict[str, Any]:
    """kind's configuration: addresses as in the embedded cluster, audit log on the machine, two loopback ports."""
    policies, logs = "/etc/kubernetes/policies", "/var/log/kubernetes"
    api_server = {
        "kind": "ClusterConfiguration",
        "apiServer": {
            "extraArgs": {"audit-log-path": f"{logs}/audit.log", "audit-policy-file": f"{policies}/audit-policy.yaml"},
            "extraVolumes": [
                {"name": "audit-policies", "hostPath": policies, "mountPath": policies, "readOnly": True, "pathType": "Directory"},
                {"name": "audit-logs", "hostPath": logs, "mountPath": logs, "pathType": "DirectoryOrCreate"},
            ],
        },
    }
    node = {
        "role": "control-plane",
        "kubeadmConfigPatches": [yaml.safe_dump(api_server)],
        "extraMounts": [
            {"hostPath": str(layout.run / "audit-policy.yaml"), "containerPath": f"{policies}/audit-policy.yaml", "readOnly": True},
            {"hostPath": str(layout.state / "audit"), "containerPath": logs},
        ],
        "extraPortMappings": [
            {"containerPort": NODE_PORTS[name], "hostPort": port, "listenAddress": "127.0.0.1", "protocol": "TCP"} for name, port in loopback.items()
        ],
    }
    networking = {"apiServerAddress": "127.0.0.1", "apiServerPort": ports.api, "podSubnet": s.POD_CIDR, "serviceSubnet": s.SERVICE_CIDR}
    return {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "networking": networking, "nodes": [node]}


def dns_objects(bridge: str, entra_port: int) -> list[dict[str, Any]]:
    """kind's CoreDNS with our Corefile, and a Service that leads to the double on the machine."""
    meta = {"name": "sandbox-entra", "namespace": "kube-system"}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "coredns", "namespace": "kube-system"},
            "data": {"Corefile": contents.corefile(53, ENTRA_SERVICE_IP, GATEWAY_SERVICE_IP)},
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"clusterIP": ENTRA_SERVICE_IP, "ports": [{"name": "https", "port": 443}]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**meta, "labels": {"kubernetes.io/service-name": meta["name"]}},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": entra_port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [bridge]}],
        },
    ]


def node_port_service() -> dict[str, Any]:
    """How Envoy Gateway shall make the Gateway's Service: fixed node ports, merged by port number."""
    listed = [{"port": 80, "protocol": "TCP", "nodePort": NODE_PORTS["http"]}, {"port": 443, "protocol": "TCP", "nodePort": NODE_PORTS["https"]}]
    return {"type": "NodePort", "patch": {"type": "StrategicMerge", "value": {"spec": {"ports": listed}}}}


def gateway_service() -> dict[str, Any]:
    """A fixed address of the Gateway inside the cluster, for DNS. Envoy Gateway adds 10000 to privileged ports."""
    labels = {"gateway.envoyproxy.io/owning-gateway-name": s.GATEWAY_NAME, "gateway.envoyproxy.io/owning-gateway-namespace": s.GATEWAY_NAMESPACE}
    listed = [{"name": name, "port": port, "targetPort": 10000 + port} for name, port in (("http", 80), ("https", 443))]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "sandbox-gateway", "namespace": s.ENVOY_GATEWAY_NAMESPACE},
        "spec": {"clusterIP": GATEWAY_SERVICE_IP, "selector": labels, "ports": listed},
    }


def _engine() -> str:
    engine = next((name for name in ("docker", "podman") if shutil.which(name)), None)
    if engine is None:
        raise SandboxError("SANDBOX=kind expects docker or podman; neither is installed. Without SANDBOX=kind no container engine is needed.")
    if shutil.which("kind") is None:
        raise SandboxError("SANDBOX=kind expects the command kind. Install it: go install sigs.k8s.io/kind@latest")
    run([engine, "info"], f"ask {engine} whether it runs", 30)
    return engine


def _env(engine: str) -> dict[str, str]:
    return {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": engine}


def _load_images(layout: Layout, engine: str, inputs: dict[str, Path]) -> None:
    """oauth2-proxy with the sandbox CA beside its own roots, under its own name, and echo."""
    context = layout.run / "image"
    context.mkdir()
    run([engine, "pull", OAUTH2_PROXY], f"pull {OAUTH2_PROXY}", 300)
    container = run([engine, "create", OAUTH2_PROXY], "look into the oauth2-proxy image", 60).strip()
    try:
        run([engine, "cp", f"{container}:/{BUNDLE}", context / "roots.crt"], "read its trust store", 60)
    finally:
        run([engine, "rm", container], "remove the container", 60)
    roots = (context / "roots.crt").read_bytes().rstrip(b"\n") + b"\n"
    (context / "bundle.crt").write_bytes(roots + (inputs["ca"] / "ca.crt").read_bytes())
    shutil.copy(inputs["echo"] / "echo", context / "echo")
    files = {
        OAUTH2_PROXY: f"FROM {OAUTH2_PROXY}\nCOPY bundle.crt /{BUNDLE}\n",
        ECHO: 'FROM scratch\nCOPY echo /usr/local/bin/echo\nUSER 65532:65532\nENTRYPOINT ["/usr/local/bin/echo"]\n',
    }
    for reference, text in files.items():
        (context / "Dockerfile").write_text(text)
        run([engine, "build", "-t", reference, context], f"build {reference}", 300)
        run(["kind", "load", "docker-image", "--name", layout.cgroup_name, reference], f"load {reference}", 300, env=_env(engine))


def _bridge_address(engine: str) -> str:
    """The machine's address as the node sees it."""
    networks = json.loads(run([engine, "network", "inspect", "kind"], "look at kind's network", 30))
    # docker lists IPAM.Config[].Gateway, podman subnets[].gateway
    entries = networks[0].get("IPAM", {}).get("Config") or networks[0].get("subnets", [])
    for entry in entries:
        address = str(entry.get("Gateway") or entry.get("gateway") or "")
        if "." in address:
            return address
    raise SandboxError("Expected an IPv4 gateway on the container network kind, found none. Enable IPv4 for it.")


def _free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as holder:
        holder.bind((address, 0))
        return int(holder.getsockname()[1])


def _spawn(layout: Layout, name: str, argv: list[str], directory: Path) -> Process:
    log = layout.logs / f"{name}.log"
    with log.open("ab") as output:
        started = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=directory, start_new_session=True)
    process = Process.of(started.pid)
    if process is None:
        raise SandboxError(f"{name} ended at once. End of its log:\n{tail(log)}")
    return process


def _ended(process: Process) -> bool | None:
    return None if process.alive() else True


def _clean(layout: Layout) -> None:
    record = read_record(layout)
    if "cgroups" in record:
        raise SandboxError("This checkout has an embedded cluster. End it first: SANDBOX= make sandbox-down")
    for name, entry in record.get("processes", {}).items():
        process = Process.from_json(entry)
        if process.alive():
            os.kill(process.pid, signal.SIGKILL)
            wait_for(f"{name} to end", partial(_ended, process), 10)
    if shutil.which("kind"):
        engine = _engine()
        if layout.cgroup_name in run(["kind", "get", "clusters"], "list kind clusters", 60, env=_env(engine)).split():
            run(["kind", "delete", "cluster", "--name", layout.cgroup_name], "delete the kind cluster", 300, env=_env(engine))
    if layout.state.is_dir():
        for path in layout.state.iterdir():
            if path.name not in ("ports.json", "lock"):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
