# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real API server, seen through a pane that changes some answers: an old CRD, a broken Envoy, a narrow listener.

Requests go on with the caller's own token, so permissions and the audit log are the real ones.
"""

from __future__ import annotations

import base64
import collections.abc
import http.client
import http.server
import json
import pathlib
import ssl
import tempfile
import threading
import typing as t
import urllib.parse

from .sandbox import Sandbox

Object = dict[str, t.Any]
Doctor = collections.abc.Callable[[str, Object], Object]

_HOP_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade", "host", "accept-encoding"})


class DoctoredApi:
    """``with DoctoredApi(sandbox, doctor) as api: …``; ``doctor(path, document)`` returns what the caller gets to see.

    Without a doctor it only counts: the audit log of the sandbox has writes by anybody, and reads by people only.
    """

    def __init__(self, sandbox: Sandbox, doctor: Doctor | None = None) -> None:
        cluster = json.loads(sandbox.kubectl("config", "view", "--raw", "--minify", "-o", "json"))["clusters"][0]["cluster"]
        self._upstream = urllib.parse.urlsplit(cluster["server"])
        with tempfile.NamedTemporaryFile("wb", suffix=".crt") as ca:
            if "certificate-authority-data" in cluster:
                ca.write(base64.b64decode(cluster["certificate-authority-data"]))
            else:
                ca.write(pathlib.Path(cluster["certificate-authority"]).read_bytes())
            ca.flush()
            self._context = ssl.create_default_context(cafile=ca.name)
        self._server_name = cluster.get("tls-server-name") or self._upstream.hostname
        self._doctor = doctor or _as_it_is
        self.seen: list[str] = []  # every request, `GET /api/v1/…`
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._forward(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_unused: t.Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def cluster(self) -> Object:
        """The ``cluster`` of a kubeconfig."""
        return {"server": f"http://127.0.0.1:{self._server.server_address[1]}"}

    def __enter__(self) -> DoctoredApi:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _forward(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.seen.append(f"{handler.command} {handler.path}")
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length) if length else None
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _HOP_HEADERS}
        connection = http.client.HTTPSConnection(self._upstream.hostname or "", self._upstream.port or 443, timeout=30, context=self._context)
        try:
            connection.request(handler.command, handler.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        kind = answer.getheader("Content-Type") or ""
        if handler.command == "GET" and answer.status == 200 and kind.startswith("application/json"):
            content = json.dumps(self._doctor(handler.path, json.loads(content))).encode()
        handler.send_response(answer.status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


def _as_it_is(_path: str, document: Object) -> Object:
    return document


def old_crd(path: str, document: Object) -> Object:
    """Envoy Gateway before 1.8: no extAuth.http.pathOverride."""
    if "customresourcedefinitions/securitypolicies" in path:
        text = json.dumps(document)
        return t.cast("Object", json.loads(text.replace('"pathOverride"', '"pathOverrideOfTheFuture"')))
    return document


def images_of(images: dict[str, str]) -> Doctor:
    """Pods whose containers of these names run other images."""

    def doctor(path: str, document: Object) -> Object:
        for item in (document.get("items") or []) if "/pods" in path else []:
            for container in item["spec"]["containers"]:
                container["image"] = images.get(container["name"], container["image"])
        return document

    return doctor


broken_envoy = images_of({"envoy": "docker.io/envoyproxy/envoy:distroless-v1.37.0"})


def narrow_listener(path: str, document: Object) -> Object:
    """A Gateway whose HTTPS listener takes routes of its own namespace only."""
    gateways = [document] if document.get("kind") == "Gateway" else document.get("items") or [] if "/gateways" in path else []
    for gateway in gateways:
        for listener in gateway["spec"]["listeners"]:
            listener["allowedRoutes"] = {"namespaces": {"from": "Same"}}
    return document
