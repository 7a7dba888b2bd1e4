# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines and configuration files of every component, as sandboxd reads them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from . import settings as s
from .cgroups import Groups
from .images import containerd_config, library_path
from .settings import Layout

Json = dict[str, Any]

# kubelet refuses to start unless these are so. They belong to the whole machine, so it's shown them and they stay as they are.
SHADOW_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
PRIVATE_DIRS = ["/run", "/var/log", "/var/lib"]
CONTAINERD_STATE = Path("/run/containerd")  # in the private /run, where clients look for it
KUBELET_ROOT = "/var/lib/kubelet"
MAX_PODS = 500


@dataclass(frozen=True)
class Ports:
    """Loopback ports of the machine."""

    api: int
    proxy: int
    entra_admin: int

    @property
    def api_url(self) -> str:
        return f"https://127.0.0.1:{self.api}"

    @property
    def proxy_url(self) -> str:
        return f"http://127.0.0.1:{self.proxy}"

    @property
    def entra_admin_url(self) -> str:
        return f"http://127.0.0.1:{self.entra_admin}"


def write_configs(layout: Layout, inputs: dict[str, Path], ports: Ports, groups: Groups) -> None:
    """All files that the components read, except for keys."""
    run = layout.run
    for name in ("volume-plugins", "pod-logs", "cni"):
        (run / name).mkdir()
    (run / "containerd.toml").write_text(containerd_config(run / "containerd-root", CONTAINERD_STATE, inputs["debian"], run / "cni"))
    (run / "cni" / "10-sandbox.conflist").write_text(json.dumps(cni_config(run)))
    (run / "resolv.conf").write_text(f"nameserver {s.NODE_IP}\n")
    (run / "kubelet.yaml").write_text(yaml.safe_dump(kubelet_config(layout)))
    (run / "kube-proxy.yaml").write_text(yaml.safe_dump(kube_proxy_config(layout)))
    (run / "audit-policy.yaml").write_text(yaml.safe_dump(audit_policy()))
    (run / "init.json").write_text(json.dumps(init_config(layout, inputs, groups), indent=1))


def cni_config(run: Path) -> Json:
    # Everything is routed (a /32 per pod), so no bridge, masquerading or port mapping is needed.
    ipam = {"type": "host-local", "dataDir": str(run / "cni-ipam"), "ranges": [[{"subnet": s.POD_CIDR}]], "routes": [{"dst": "0.0.0.0/0"}]}
    return {"cniVersion": "0.4.0", "name": "sandbox", "plugins": [{"type": "ptp", "mtu": 1500, "ipam": ipam}]}


def kubelet_config(layout: Layout) -> Json:
    run, pki = layout.run, layout.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": s.NODE_IP,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": str(pki / "ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "enforceNodeAllocatable": [],
        "clusterDNS": [s.DNS_SERVICE_IP],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_STATE}/containerd.sock",
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        # The machine's disk and memory are shared with other work: their levels say nothing about the sandbox.
        "evictionHard": dict.fromkeys(("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"), "0%"),
        "imageGCHighThresholdPercent": 100,
        "maxPods": MAX_PODS,
        "podLogsDir": str(run / "pod-logs"),
        "volumePluginDir": str(run / "volume-plugins"),
        "resolvConf": str(run / "resolv.conf"),
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "serializeImagePulls": False,
    }


def kube_proxy_config(layout: Layout) -> Json:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(layout.pki / "kube-proxy.kubeconfig")},
        "clusterCIDR": s.POD_CIDR,
        "hostnameOverride": s.NODE_NAME,
        "bindAddress": s.NODE_IP,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        # 0 leaves the connection tracking sysctls alone, which belong to the machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"syncPeriod": "30s", "minSyncPeriod": "0s"},
    }


def audit_policy() -> Json:
    """Every write by anybody, and reads by people and by the tests' identities; not the components' own polling, leases and heartbeats.

    Deletions with their options: whether one is a dry run stands there.
    """
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "nonResourceURLs": ["/healthz*", "/readyz*", "/livez*", "/metrics", "/openapi/*", "/version"]},
            # The tests' own identities are people in this: what they read shows which rights a run uses (tests/e2e/workload.py, Identity).
            {"level": "Metadata", "userGroups": ["system:serviceaccounts:e2e-identities"], "verbs": ["get", "list", "watch"]},
            {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts"], "verbs": ["get", "list", "watch"]},
            {
                "level": "None",
                "users": ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy", "sandbox-lb"],
                "verbs": ["get", "list", "watch"],
            },
            {
                "level": "None",
                "userGroups": ["system:nodes", "system:serviceaccounts"],
                "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
            },
            {"level": "None", "userGroups": ["system:nodes"], "resources": [{"group": "", "resources": ["nodes/status"]}]},
            {"level": "None", "users": ["system:apiserver"], "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
            {"level": "Request", "verbs": ["delete", "deletecollection"]},
            {"level": "Metadata"},
        ],
    }


def init_config(layout: Layout, inputs: dict[str, Path], groups: Groups) -> Json:
    """What PID 1 of the cluster does; see sandboxd's initConfig."""
    debian = inputs["debian"]
    return {
        "host_pid_file": str(layout.run / "init.pid"),
        "ready_file": str(layout.run / "ready"),
        "failed_file": str(layout.run / "failed"),
        "hostname": s.NODE_NAME,
        "environment": {"PATH": f"{debian}/usr/bin:{debian}/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        "namespaces": {
            "cgroup_version": groups.version,
            "controllers": groups.controllers,
            "private_dirs": PRIVATE_DIRS,
            "keep_dirs": sorted({str(layout.checkout), str(layout.cache), sys.prefix, sys.base_prefix}),
            "binds": {KUBELET_ROOT: str(layout.run / "kubelet")},
            "shadow_sysctls": SHADOW_SYSCTLS,
            "scratch_dir": str(layout.run / "sysctl"),
            "addresses": [f"{s.NODE_IP}/24", f"{s.ENTRA_IP}/24"],
            "uplink": s.UPLINK,
        },
        "stages": [
            [etcd(layout, inputs), containerd(layout, inputs), apiserver(layout, inputs)],
            [
                controller_manager(layout, inputs),
                scheduler(layout, inputs),
                kubelet(layout, inputs),
                kube_proxy(layout, inputs),
                load_balancer(layout, inputs),
                entra(layout),
            ],
        ],
    }


def component(layout: Layout, name: str, argv: list[str | Path], ready: Json | None = None, **more: Any) -> Json:
    return {"name": name, "argv": [str(part) for part in argv], "log": str(layout.logs / f"{name}.log"), "ready": ready, **more}


def kube(layout: Layout, inputs: dict[str, Path], name: str, flags: Json, ready: Json | None = None, **more: Any) -> Json:
    """One of the programs in the ``kube`` binary."""
    argv: list[str | Path] = [inputs["kube"] / "kube", name]
    argv += [f"--{flag}={value}" if value is not None else f"--{flag}" for flag, value in flags.items()]
    return component(layout, name, argv, ready, **more)


def etcd(layout: Layout, inputs: dict[str, Path]) -> Json:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    flags = {
        "data-dir": layout.run / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        # Only a crash of the machine loses data this way, and the sandbox doesn't outlive one.
        "unsafe-no-fsync": None,
        "log-level": "warn",
    }
    return kube(layout, inputs, "etcd", flags, {"url": f"{client}/health", "seconds": 30})


def containerd(layout: Layout, inputs: dict[str, Path]) -> Json:
    debian = inputs["debian"]
    return component(
        layout,
        "containerd",
        [debian / "usr/bin/containerd", "-c", layout.run / "containerd.toml"],
        {"unix": str(CONTAINERD_STATE / "containerd.sock"), "seconds": 30},
        environment={"LD_LIBRARY_PATH": library_path(debian)},
    )


def apiserver(layout: Layout, inputs: dict[str, Path]) -> Json:
    pki = layout.pki
    flags = {
        "etcd-servers": "http://127.0.0.1:2379",
        "bind-address": "0.0.0.0",
        "advertise-address": s.NODE_IP,
        "secure-port": 6443,
        "service-cluster-ip-range": s.SERVICE_CIDR,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "client-ca-file": pki / "ca.crt",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "kubelet-client-certificate": pki / "apiserver-kubelet-client.crt",
        "kubelet-client-key": pki / "apiserver-kubelet-client.key",
        "kubelet-certificate-authority": pki / "ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": f"https://{s.ISSUER_HOST}",
        "service-account-key-file": pki / "sa.pub",
        "service-account-signing-key-file": pki / "sa.key",
        "requestheader-client-ca-file": pki / "ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": pki / "front-proxy-client.crt",
        "proxy-client-key-file": pki / "front-proxy-client.key",
        "audit-policy-file": layout.run / "audit-policy.yaml",
        # Blocking mode (the default): an answered write is in the file.
        "audit-log-path": layout.audit_log,
        "audit-log-maxsize": 1024,
    }
    ready = {"url": "https://127.0.0.1:6443/readyz", "ca": str(pki / "ca.crt"), "seconds": 60}
    return kube(layout, inputs, "kube-apiserver", flags, ready)


def controller_manager(layout: Layout, inputs: dict[str, Path]) -> Json:
    pki = layout.pki
    config = pki / "kcm.kubeconfig"
    flags = {
        "kubeconfig": config,
        "authorization-kubeconfig": config,
        "authentication-kubeconfig": config,
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": pki / "sa.key",
        "root-ca-file": pki / "ca.crt",
        "cluster-signing-cert-file": pki / "ca.crt",
        "cluster-signing-key-file": pki / "ca.key",
        "kube-api-qps": 100,
        "kube-api-burst": 200,
        "bind-address": "127.0.0.1",
    }
    return kube(layout, inputs, "kube-controller-manager", flags, {"tcp": "127.0.0.1:10257", "seconds": 30})


def scheduler(layout: Layout, inputs: dict[str, Path]) -> Json:
    config = layout.pki / "scheduler.kubeconfig"
    flags = {
        "kubeconfig": config,
        "authorization-kubeconfig": config,
        "authentication-kubeconfig": config,
        "leader-elect": "false",
        "kube-api-qps": 100,
        "kube-api-burst": 200,
        "bind-address": "127.0.0.1",
    }
    return kube(layout, inputs, "kube-scheduler", flags, {"tcp": "127.0.0.1:10259", "seconds": 30})


def kubelet(layout: Layout, inputs: dict[str, Path]) -> Json:
    flags = {
        "config": layout.run / "kubelet.yaml",
        "kubeconfig": layout.pki / "kubelet.kubeconfig",
        "root-dir": KUBELET_ROOT,
        "cert-dir": layout.run / "kubelet-pki",
        "hostname-override": s.NODE_NAME,
        "node-ip": s.NODE_IP,
    }
    return kube(layout, inputs, "kubelet", flags, {"url": "http://127.0.0.1:10248/healthz", "seconds": 30})


def kube_proxy(layout: Layout, inputs: dict[str, Path]) -> Json:
    environment = {"LD_LIBRARY_PATH": library_path(inputs["debian"])}  # for nft
    ready = {"url": "http://127.0.0.1:10256/healthz", "seconds": 30}
    return kube(layout, inputs, "kube-proxy", {"config": layout.run / "kube-proxy.yaml"}, ready, environment=environment)


def load_balancer(layout: Layout, inputs: dict[str, Path]) -> Json:
    flags = {
        "kubeconfig": layout.pki / "lb.kubeconfig",
        "first": s.LOAD_BALANCER_FIRST,
        "last": s.LOAD_BALANCER_LAST,
        "reserve": f"gateway.envoyproxy.io/owning-gateway-name={s.GATEWAY_NAME}@{s.GATEWAY_IP}",
    }
    return kube(layout, inputs, "sandbox-lb", flags)


def entra_argv(layout: Layout, listen: str, admin: str, api: str) -> list[str]:
    """Command line of the Entra double, which is a Python package of its own; ``api`` is where the cluster's issuer answers."""
    package = layout.checkout / "tests" / "sandbox" / "entra"
    return [
        sys.executable,
        "-m",
        "tests.sandbox.entra",
        f"--listen={listen}",
        f"--admin={admin}",
        f"--cert={layout.pki / 'entra.crt'}",
        f"--key={layout.pki / 'entra.key'}",
        f"--cast={package / 'cast.yml'}",
        f"--secrets-dir={layout.entra_secrets}",
        f"--log={layout.logs / 'entra-requests.log'}",
        f"--state={layout.state / 'entra-state.json'}",
        f"--issuer-ca={layout.pki / 'ca.crt'}",
        f"--issuer-at={s.ISSUER_HOST}={api}",
    ]


def entra(layout: Layout) -> Json:
    """The double as a component; ends and starts anew without the cluster (``restart-entra``)."""
    return component(
        layout,
        "entra",
        [*entra_argv(layout, f"{s.ENTRA_IP}:443", "127.0.0.1:8090", "127.0.0.1:6443")],
        {"tcp": f"{s.ENTRA_IP}:443", "seconds": 20},
        directory=str(layout.checkout),
        needs=str(layout.checkout / "tests" / "sandbox" / "entra" / "__main__.py"),
        expendable=True,
        environment={"PYTHONUNBUFFERED": "1"},
    )


def proxy_routes(gateway_https: str, gateway_http: str, entra_address: str) -> dict[str, dict[str, str]]:
    """All names that the one door knows."""
    gateway = {"443": gateway_https, "80": gateway_http}
    return {f"*.{s.DOMAIN}": gateway, s.DOMAIN: gateway, **{host: {"443": entra_address} for host in s.ENTRA_HOSTS}}


def proxy_config(layout: Layout, ports: Ports, init_pid: int) -> Json:
    """The one door; see sandboxd's proxyConfig."""
    return {
        "init_pid": init_pid,
        "namespace": f"/proc/{init_pid}/ns/net",
        "listen": f"127.0.0.1:{ports.proxy}",
        "ready_file": str(layout.run / "proxy.ready"),
        "routes": proxy_routes(f"{s.GATEWAY_IP}:443", f"{s.GATEWAY_IP}:80", f"{s.ENTRA_IP}:443"),
        "relays": {f"127.0.0.1:{ports.api}": "127.0.0.1:6443", f"127.0.0.1:{ports.entra_admin}": "127.0.0.1:8090"},
    }
