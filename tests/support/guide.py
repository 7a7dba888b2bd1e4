# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide's own set-up (docs/departures.md says which one), installed by hand as it says, for a team g of the sandbox.

It is there to be attacked, so that each attack is known to bite, and to be taken over. Where it can't be followed to the letter:

* ``--provider=azure`` asks Graph for the user's groups, which the Entra double doesn't serve, and sends no PKCE, which the double
  demands: ``entra-id`` with ``--code-challenge-method=S256`` instead. ``--oidc-email-claim=email`` is the guide's own alternative.
* ``redis:`` renders on no chart that knows ``gatewayApi``, so a Valkey of the same name and password stands in, and the password
  has no newline at its end, without which nobody could sign in at all.
* ``existingSecret`` stands under ``config``, where the chart reads it; nodes of the guide's own names and images of its registry
  aren't there.
"""

from __future__ import annotations

import base64
import collections.abc
import contextlib
import dataclasses
import json
import pathlib
import re
import secrets
import socket
import socketserver
import subprocess
import tempfile
import threading

from tests.e2e.sandbox import DOMAIN, HOME, TENANT, Sandbox
from tests.e2e.workload import Object, delete_namespaces, echo, namespace

TEAM = "team-g"
NAMESPACE = f"monitoring-{TEAM}"
RELEASE = f"monitoring-oauth2-proxy-{TEAM}"
PROXY_HOST = f"monitoring-oauth2-{TEAM}.{DOMAIN}"
REDIS = f"{RELEASE}-redis-master"
APPS = ("alertmanager", "prometheus")
GROUPS = tuple(f"5f0c0c7e-0000-4000-8000-0000000000{end}" for end in ("a1", "a2", "ad"))
# Registrations may be reused, says the guide; this one of the cast is nobody else's.
REGISTRATION = "team-a"
CLIENT_ID = "aaaaaaaa-0000-4000-8000-00000000000a"
CALLBACK = f"https://{PROXY_HOST}/oauth2/callback"
COOKIE = "_oauth2_proxy"  # the binary's default
GATEWAY_API = "gateway.networking.k8s.io"
OWN_GATEWAY, OWN_GATEWAY_NAMESPACE = "guide", "guide-gateway"
ENVOYS = "envoy-gateway-system"
# After Bitnami's chart, in as far as the proxy sees it; the password is in no argument, but that is the test's own care.
REDIS_SCRIPT = "exec valkey-server --save '' --requirepass \"$REDIS_PASSWORD\""


def host(app: str) -> str:
    return f"{app}-{TEAM}.{DOMAIN}"


@dataclasses.dataclass(frozen=True)
class GatewayName:
    name: str = "main"
    namespace: str = "gateway-envoy"


class Guide:
    """Team g by the guide. ``publish`` each app; ``remove`` leaves nothing."""

    def __init__(self, sandbox: Sandbox, gateway: GatewayName = GatewayName()) -> None:
        self.sandbox = sandbox
        self.gateway = gateway
        self._registered: list[str] = []

    # --- step 1: the proxy --------------------------------------------------------------------------------------------
    def install(self) -> None:
        """The namespace with its apps, the two Secrets, the release."""
        self.remove()
        self._registered = list(self.sandbox.entra("GET", f"/apps/{REGISTRATION}")["redirect_uris"])
        self.sandbox.entra("PUT", f"/apps/{REGISTRATION}", {"redirect_uris": list(dict.fromkeys([*self._registered, CALLBACK]))})
        self.sandbox.apply(namespace(NAMESPACE), *echo(NAMESPACE), *(_service(app) for app in APPS), *_redis())
        self._apply(*self._secrets())
        for name in ("echo", REDIS):
            self.sandbox.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{name}", "--timeout=60s")
        with tempfile.TemporaryDirectory() as folder:
            values = pathlib.Path(folder) / "values.yaml"
            values.write_text(json.dumps(self.values()))
            chart = self.sandbox.env["OAUTH2_PROXY_CHART"]
            self.sandbox.helm("upgrade", "--install", RELEASE, chart, "-f", str(values), "--namespace", NAMESPACE, "--wait", "--timeout", "120s")

    def _secrets(self) -> list[Object]:
        client_secret = (HOME / "entra" / f"{REGISTRATION}.secret").read_text(encoding="utf-8").strip()
        cookie_secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        proxy = {"client-id": CLIENT_ID, "client-secret": client_secret, "cookie-secret": cookie_secret}
        redis = {"redis-password": secrets.token_hex(16)}
        return [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "type": "Opaque", "stringData": data}
            for name, data in ((f"oauth2-proxy-redis-{TEAM}", redis), (f"oauth2-proxy-{TEAM}", proxy))
        ]

    def values(self) -> Object:
        """The guide's values.yaml, as far as its keys still exist."""
        return {
            "fullnameOverride": RELEASE,
            "gatewayApi": {"enabled": True, "gatewayRef": dataclasses.asdict(self.gateway), "hostnames": [PROXY_HOST]},
            "resources": {"limits": {"cpu": "50m", "memory": "128Mi"}, "requests": {"cpu": "10m", "memory": "64Mi"}},
            "podAnnotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
            "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
            "sessionStorage": {
                "type": "redis",
                "redis": {
                    "clientType": "standalone",
                    "existingSecret": f"oauth2-proxy-redis-{TEAM}",
                    "passwordKey": "redis-password",
                    "standalone": {"connectionUrl": f"redis://{REDIS}:6379"},
                },
            },
            "config": {"configFile": 'email_domains = [ "*" ]', "existingSecret": f"oauth2-proxy-{TEAM}"},
            "extraArgs": [
                "--provider=entra-id",
                "--code-challenge-method=S256",
                "--provider-display-name=Azure AD",
                "--reverse-proxy=true",
                f"--azure-tenant={TENANT}",
                f"--oidc-issuer-url=https://login.microsoftonline.com/{TENANT}/v2.0",
                f"--redirect-url={CALLBACK}",
                "--cookie-secure=false",
                "--insecure-oidc-skip-issuer-verification=true",
                "--ssl-insecure-skip-verify=true",
                "--ssl-upstream-insecure-skip-verify=true",
                "--oidc-email-claim=email",
                "--scope=openid email profile",
                "--metrics-address=:8080",
                "--upstream=static://200",
                "--silence-ping-logging=false",
                f"--allowed-group={','.join(GROUPS)}",
                f"--whitelist-domain=*.{DOMAIN}",
                f"--cookie-domain=.{DOMAIN}",
                "--proxy-prefix=/oauth2",
                "--set-xauthrequest=true",
                "--show-debug-on-error=false",
                "--pass-host-header=true",
            ],
        }

    # --- step 2: an app -----------------------------------------------------------------------------------------------
    def publish(self, app: str) -> None:
        """Three files applied one after the other, in the guide's order."""
        for manifest in (self.passthrough(app), self.route(app), self.policy(app)):
            self._apply(manifest)

    def _apply(self, *objects: Object) -> None:
        """`kubectl apply -f -`, which keeps what it was given in an annotation, values of Secrets included."""
        self.sandbox.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def passthrough(self, app: str) -> Object:
        paths = [{"type": "PathPrefix", "value": "/oauth2/start"}, {"type": "Exact", "value": "/oauth2/static/css/bulma.min.css"}]
        return self._route(app, f"{app}-passthrough-oauth-{TEAM}", RELEASE, 80, paths)

    def route(self, app: str) -> Object:
        return self._route(app, f"{app}-{TEAM}", f"{app}-service-{TEAM}", 9090, [{"type": "PathPrefix", "value": "/"}])

    def _route(self, app: str, name: str, service: str, port: int, paths: list[Object]) -> Object:
        backend = {"group": "", "kind": "Service", "name": service, "port": port, "weight": 1}
        parent = {"group": GATEWAY_API, "kind": "Gateway", **dataclasses.asdict(self.gateway)}
        rule = {"backendRefs": [backend], "matches": [{"path": path} for path in paths]}
        return {
            "apiVersion": f"{GATEWAY_API}/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"hostnames": [host(app)], "parentRefs": [parent], "rules": [rule]},
        }

    def policy(self, app: str) -> Object:
        to_proxy = "Cookie X-Auth-Request-User X-Auth-Request-Groups X-Auth-Request-Email X-Auth-Request-Preferred-Username X-Forwarded-Proto X-Forwarded-Host"
        to_proxy += " X-Forwarded-Uri X-Auth-Request-Access-Token Referer X-Auth-Request-Redirect Host"
        to_app = "Path X-Auth-Request-Access-Token X-Auth-Request-User X-Auth-Request-Groups X-Auth-Request-Email X-Auth-Request-Preferred-Username"
        to_app += " X-Forwarded-Host X-Auth-Request-Redirect"
        authorization = {
            "failOpen": False,
            "headersToExtAuth": to_proxy.split(),
            "http": {
                "backendRefs": [{"name": RELEASE, "kind": "Service", "port": 80}],
                "path": f"/?rd=https://{host(app)}",
                "headersToBackend": to_app.split(),
            },
            "recomputeRoute": True,
        }
        return {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "SecurityPolicy",
            "metadata": {"name": f"oauth2-{app}-{TEAM}", "namespace": NAMESPACE},
            "spec": {"targetRefs": [{"group": GATEWAY_API, "kind": "HTTPRoute", "name": f"{app}-{TEAM}"}], "extAuth": authorization},
        }

    def remove(self) -> None:
        delete_namespaces(self.sandbox, NAMESPACE)
        if self._registered:
            self.sandbox.entra("PUT", f"/apps/{REGISTRATION}", {"redirect_uris": self._registered})


def _service(app: str) -> Object:
    """The app's Service, as the guide has it, with the echo app behind."""
    ports = [{"name": "http", "port": 9090, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{app}-service-{TEAM}", "namespace": NAMESPACE},
        "spec": {"ports": ports, "selector": {"app": "echo"}},
    }


def _redis() -> list[Object]:
    labels = {"app": REDIS}
    container = {
        "name": "redis",
        "image": "docker.io/valkey/valkey:9.1.2",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", REDIS_SCRIPT],
        "env": [{"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": {"name": f"oauth2-proxy-redis-{TEAM}", "key": "redis-password"}}}],
        "ports": [{"containerPort": 6379}],
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
    }
    metadata = {"name": REDIS, "namespace": NAMESPACE}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 6379}], "selector": labels}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}},
    ]


# --- a Gateway of its own, without our header policy -----------------------------------------------------------------------


@contextlib.contextmanager
def own_gateway(sandbox: Sandbox) -> collections.abc.Iterator[tuple[GatewayName, Sandbox]]:
    """A Gateway beside ``main``, and the sandbox as it is seen through it: hosts of team g lead there, all else as before.

    The header policy of ``main`` stays as it is: the other teams' doors must not depend on what is tried here.
    """
    where = GatewayName(OWN_GATEWAY, OWN_GATEWAY_NAMESPACE)
    sandbox.kubectl("delete", "namespace", OWN_GATEWAY_NAMESPACE, "--ignore-not-found", "--timeout=120s")
    certificate = sandbox.get("secret", "gateway-auth-test-tls", "gateway-envoy")
    sandbox.apply(namespace(OWN_GATEWAY_NAMESPACE))
    sandbox.apply(*_gateway_objects(certificate["data"]))
    try:
        sandbox.kubectl("-n", where.namespace, "wait", f"gateway/{where.name}", "--for=condition=Programmed", "--timeout=90s")
        labels = f"gateway.envoyproxy.io/owning-gateway-name={where.name},gateway.envoyproxy.io/owning-gateway-namespace={where.namespace}"
        (deployment,) = sandbox.get("deployment", namespace=ENVOYS, labels=labels)
        sandbox.kubectl("-n", ENVOYS, "rollout", "status", f"deployment/{deployment['metadata']['name']}", "--timeout=90s")
        with _forwarded(sandbox, f"service/{deployment['metadata']['name']}") as ports, _switchboard(sandbox, ports) as proxy:
            yield where, dataclasses.replace(sandbox, env={**sandbox.env, "SANDBOX_PROXY": proxy})
    finally:
        sandbox.kubectl("delete", "namespace", OWN_GATEWAY_NAMESPACE, "--ignore-not-found", "--timeout=120s")


def _gateway_objects(certificate: dict[str, str]) -> list[Object]:
    place = {"name": OWN_GATEWAY, "namespace": OWN_GATEWAY_NAMESPACE}
    fast = {"periodSeconds": 1}
    containers = [{"name": name, "startupProbe": fast, "readinessProbe": fast} for name in ("envoy", "shutdown-manager")]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    provider = {"envoyDeployment": {"replicas": 1, "patch": {"type": "StrategicMerge", "value": patch}}, "envoyService": {"type": "ClusterIP"}}
    everybody = {"namespaces": {"from": "All"}}
    listeners = [
        {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": everybody},
        {
            "name": "https",
            "protocol": "HTTPS",
            "port": 443,
            "hostname": f"*.{DOMAIN}",
            "allowedRoutes": everybody,
            "tls": {"mode": "Terminate", "certificateRefs": [{"name": OWN_GATEWAY}]},
        },
    ]
    parameters = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": OWN_GATEWAY}
    return [
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": place, "data": certificate},
        {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyProxy",
            "metadata": place,
            "spec": {"provider": {"type": "Kubernetes", "kubernetes": provider}},
        },
        {
            "apiVersion": f"{GATEWAY_API}/v1",
            "kind": "Gateway",
            "metadata": place,
            "spec": {"gatewayClassName": "envoy", "infrastructure": {"parametersRef": parameters}, "listeners": listeners},
        },
    ]


@contextlib.contextmanager
def _forwarded(sandbox: Sandbox, service: str) -> collections.abc.Iterator[dict[int, int]]:
    """Ports 443 and 80 of a Service on loopback: {443: port, 80: port}."""
    command = ["kubectl", "-n", ENVOYS, "port-forward", service, ":443", ":80"]
    reader: threading.Thread | None = None
    process = subprocess.Popen(command, env=sandbox.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        found: list[int] = []
        while len(found) < 2:
            line = process.stdout.readline()
            assert line, f"{' '.join(command)} ended with {process.wait(10)}"
            if match := re.match(r"Forwarding from 127\.0\.0\.1:(\d+) ", line):
                found.append(int(match[1]))
        # What it says later must not fill the pipe.
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        reader.start()
        yield dict(zip((443, 80), found, strict=True))
    finally:
        process.kill()
        process.wait(10)
        if reader is not None:
            reader.join(10)
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def _switchboard(sandbox: Sandbox, ports: dict[int, int]) -> collections.abc.Iterator[str]:
    """An HTTP proxy on loopback that hands hosts of team g to those ports and everything else to the sandbox's own."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            top = b""
            while b"\r\n\r\n" not in top:
                part = self.request.recv(65536)
                if not part:
                    return
                top += part
            line, _, rest = top.partition(b"\r\n\r\n")
            method, goal, _version = line.split(b"\r\n")[0].decode("latin-1").split(" ")
            tunnel = method == "CONNECT"
            name = goal.partition(":")[0] if tunnel else goal.partition("://")[2].partition("/")[0].partition(":")[0]
            ours = name.endswith(f"-{TEAM}.{DOMAIN}")
            with socket.create_connection(("127.0.0.1", ports[443 if tunnel else 80]) if ours else sandbox.proxy, timeout=30) as upstream:
                if ours and tunnel:
                    self.request.sendall(b"HTTP/1.1 200 Connection Established\r\n\r\n")
                    upstream.sendall(rest)
                else:
                    upstream.sendall(top)  # Envoy takes an absolute target as well
                back = threading.Thread(target=_copy, args=(upstream, self.request), daemon=True)
                back.start()
                _copy(self.request, upstream)
                back.join(30)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
