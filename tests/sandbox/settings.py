# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses, versions and folders. Everything that is a decision and not a mechanism is here."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent.parent

KUBERNETES_VERSION = "1.34.4"
COREDNS_VERSION = "1.14.6"
OAUTH2_PROXY_VERSION = "7.15.3"
ENVOY_GATEWAY_VERSION = "1.9.0"
ENVOY_VERSION = "1.39.0"
VALKEY_VERSION = "9.1.2"
MINIMUM_GO = (1, 26)

DOMAIN = "gateway-auth.test"
ENTRA_HOSTS = ("login.microsoftonline.com", "graph.microsoft.com")
# Kubernetes' and kind's own default; the API server answers for it.
ISSUER_HOST = "kubernetes.default.svc.cluster.local"
TEAMS = ("team-a", "team-b")
# Of tests/sandbox/entra/cast.yml: the tenant, and the application whose identity manages registrations.
TENANT = "11111111-1111-4111-8111-111111111111"
AUTOMATION = "cccccccc-0000-4000-8000-00000000000c"

NODE_NAME = "sandbox"
NODE_IP = "10.90.0.2"
UPLINK = "10.90.0.1/24"
ENTRA_IP = "10.90.0.10"
# The Gateway's Service always gets this one, so that the proxy and DNS need not ask for it.
GATEWAY_IP = "10.90.0.100"
LOAD_BALANCER_FIRST = "10.90.0.101"
LOAD_BALANCER_LAST = "10.90.0.249"
POD_CIDR = "10.91.0.0/16"
SERVICE_CIDR = "10.92.0.0/16"
API_SERVICE_IP = "10.92.0.1"
DNS_SERVICE_IP = "10.92.0.10"

GATEWAY_NAMESPACE = "gateway-envoy"
GATEWAY_NAME = "main"
ENVOY_GATEWAY_NAMESPACE = "envoy-gateway-system"
TLS_SECRET = "gateway-auth-test-tls"


class SandboxError(Exception):
    """Something the reader can act on: what was expected, what was got, what to do."""


@dataclass(frozen=True)
class Layout:
    """All folders and files of one sandbox. A checkout may have several: ``home`` is where one keeps its files, under the checkout."""

    checkout: Path
    cache: Path
    home: str = ".sandbox"

    @property
    def state(self) -> Path:
        return self.checkout / self.home

    @property
    def run(self) -> Path:
        """What lives only as long as the cluster."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def pki(self) -> Path:
        return self.run / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def setup_kubeconfig(self) -> Path:
        """Ours, so that the audit log tells our writes from a test's."""
        return self.run / "setup.kubeconfig"

    @property
    def ca(self) -> Path:
        return self.state / "ca.crt"

    @property
    def audit_log(self) -> Path:
        return self.state / "audit.log"

    @property
    def env(self) -> Path:
        return self.state / "env"

    @property
    def proxy_file(self) -> Path:
        return self.state / "proxy"

    @property
    def bin(self) -> Path:
        return self.state / "bin"

    @property
    def entra_secrets(self) -> Path:
        return self.state / "entra"

    @property
    def ports_file(self) -> Path:
        return self.state / "ports.json"

    @property
    def record(self) -> Path:
        """Process ids and what the running cluster was made of."""
        return self.run / "cluster.json"

    @property
    def cgroup_name(self) -> str:
        """One name per sandbox, so that two on a machine don't collide."""
        return "gateway-auth-" + hashlib.sha256(str(self.state).encode()).hexdigest()[:12]


def cache_folder(environ: dict[str, str] | os._Environ[str] = os.environ) -> Path:
    """Where builds are kept, outside any checkout."""
    if chosen := environ.get("GATEWAY_AUTH_CACHE"):
        return Path(chosen).absolute()
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "/root")) / ".cache")
    return Path(base).absolute() / "gateway-auth-sandbox"


def layout(environ: dict[str, str] | os._Environ[str] = os.environ) -> Layout:
    """That of this checkout, in ``.sandbox`` or the folder that SANDBOX_HOME names."""
    home = environ.get("SANDBOX_HOME") or Layout.home
    if Path(home).name != home or not home.startswith(Layout.home):
        raise SandboxError(f"SANDBOX_HOME={home}: expected the name of a folder in the checkout that begins with {Layout.home}, such as {Layout.home}-2")
    return Layout(checkout=CHECKOUT, cache=cache_folder(), home=home)
