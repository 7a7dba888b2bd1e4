# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``verify_team -e explain=<url>`` with each link of a real road broken once: it names that link, and nothing that follows from it."""

from __future__ import annotations

import collections.abc
import contextlib
import json
import pathlib
import subprocess
import time
import typing as t

import pytest

from .entra import Registration
from .inventory import Inventory
from .login import Browser
from .sandbox import DOMAIN, TENANT, Sandbox
from .workload import delete_namespaces, echo, namespace

TEAM = "team-x1"
NAMESPACE = f"monitoring-{TEAM}"
RELEASE = f"monitoring-oauth2-proxy-{TEAM}"
HOST = f"echo-{TEAM}.{DOMAIN}"
URL = f"https://{HOST}/graph?g0.expr=up%20x&g0.tab=1"
POLICY = ("securitypolicy", f"oauth2-echo-{TEAM}")
RELEASED = "gateway-auth/remove"
REDIRECT_HEADER = "X-Auth-Request-Redirect"
HEADERS_TO_PROXY = ["Cookie", "Accept", "X-Forwarded-Proto", REDIRECT_HEADER, "X-Envoy-External-Address"]


class Road:
    """Team x1's way in, and how its links are broken and mended."""

    def __init__(self, sandbox: Sandbox, inventory: Inventory) -> None:
        self.sandbox = sandbox
        self.inventory = inventory
        self.registration = Registration(sandbox, f"gateway-auth.sandbox.monitoring.{TEAM}")

    def explain(self, url: str = URL) -> tuple[int, str]:
        """(exit code, the lines about the URL)"""
        run = self.sandbox.playbook("verify_team", "-e", "team=x1", "-e", f"explain={url}", inventory=self.inventory.path)
        return run.rc, run.output

    def platform(self, **variables: t.Any) -> contextlib.AbstractContextManager[None]:
        """The platform's variables, changed for a while."""

        @contextlib.contextmanager
        def changed() -> collections.abc.Iterator[None]:
            with self.inventory.platform() as data:
                before = json.loads(json.dumps(data))
                for name, value in variables.items():
                    option = f"gateway_auth_{name}"
                    data[option] = {**data.get(option, {}), **value} if isinstance(value, dict) else value
            try:
                yield
            finally:
                with self.inventory.platform() as data:
                    data.clear()
                    data.update(before)

        return changed()

    @contextlib.contextmanager
    def patched(self, kind: str, name: str, there: t.Any, back: t.Any) -> collections.abc.Iterator[None]:
        """An object patched by hand, and back."""
        # The API server takes a bent policy only from somebody who says so first (docs/admission.md).
        self.sandbox.kubectl("-n", NAMESPACE, "annotate", kind, name, f"{RELEASED}=true")
        self.sandbox.kubectl("-n", NAMESPACE, "patch", kind, name, "--type=json", "-p", json.dumps(there))
        self.sandbox.kubectl("-n", NAMESPACE, "annotate", kind, name, f"{RELEASED}-")
        try:
            yield
        finally:
            self.sandbox.kubectl("-n", NAMESPACE, "patch", kind, name, "--type=json", "-p", json.dumps(back))

    @contextlib.contextmanager
    def scaled(self, deployment: str, replicas: int) -> collections.abc.Iterator[None]:
        self.sandbox.kubectl("-n", NAMESPACE, "scale", f"deployment/{deployment}", "--replicas=0")
        try:
            yield
        finally:
            self.sandbox.kubectl("-n", NAMESPACE, "scale", f"deployment/{deployment}", f"--replicas={replicas}")
            self.sandbox.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{deployment}", "--timeout=90s")

    @contextlib.contextmanager
    def removed(self, kind: str, name: str) -> collections.abc.Iterator[None]:
        """An object deleted by hand, and applied again as it was."""
        found = self.sandbox.get(kind, name, NAMESPACE)
        self.sandbox.kubectl("-n", NAMESPACE, "delete", kind, name, "--wait=true")
        try:
            yield
        finally:
            meta = {key: found["metadata"][key] for key in ("name", "namespace", "labels")}
            self.sandbox.apply({**{key: found[key] for key in ("apiVersion", "kind", "spec")}, "metadata": meta})

    @contextlib.contextmanager
    def unregistered(self) -> collections.abc.Iterator[None]:
        """The app's redirect URI taken out in the portal."""
        there = self.registration.must()["redirect_uris"]
        self.registration.edit({"redirect_uris": [uri for uri in there if HOST not in uri]})
        try:
            yield
        finally:
            self.registration.edit({"redirect_uris": there})


@pytest.fixture(scope="module")
def road(sandbox: Sandbox, example: Inventory, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Road]:
    inventory = example.copy(tmp_path_factory.mktemp("explain"))
    with inventory.hosts() as data:
        data["teams"]["hosts"][TEAM] = None
    with inventory.team(TEAM) as data:
        data["gateway_auth_allowed_groups"] = [{"id": "5f0c0c7e-0000-4000-8000-0000000000a1", "name": "team-a-developers"}]
        data["gateway_auth_apps"] = [{"name": "echo", "service": {"name": "echo", "port": 8080}}]
    found = Road(sandbox, inventory)
    found.registration.purge()
    delete_namespaces(sandbox, NAMESPACE)
    sandbox.apply(namespace(NAMESPACE), *echo(NAMESPACE))
    sandbox.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/echo", "--timeout=60s")
    sandbox.playbook("prepare_gateway", inventory=inventory.path).must()
    sandbox.playbook("onboard_team", "-e", "team=x1", inventory=inventory.path).must()
    yield found
    delete_namespaces(sandbox, NAMESPACE, wait=False)
    found.registration.purge()


def test_a_sound_road_is_walked_to_its_end(road: Road) -> None:
    rc, output = road.explain()
    assert rc == 0, output[-3000:]
    assert "every link holds" in output
    assert f"{HOST} is app 'echo' of {TEAM}" in output


def test_a_host_of_nobody_names_the_nearest(road: Road) -> None:
    rc, output = road.explain(f"https://ecco-{TEAM}.{DOMAIN}/")
    assert rc != 0
    assert HOST in output


def _foreign_ca(folder: pathlib.Path) -> str:
    path = folder / "other-ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(folder / "other.key"), "-out", str(path), "-subj", "/CN=other"],
        check=True,
        capture_output=True,
    )
    return str(path)


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(lambda road, _folder: road.platform(probe={"proxy": "http://127.0.0.1:9"}), ["(proxy)", "gateway_auth_probe"], id="connection"),
        pytest.param(lambda road, folder: road.platform(probe={"ca_file": _foreign_ca(folder)}), ["certificate", "gateway_auth_probe"], id="TLS"),
        pytest.param(lambda road, _folder: road.platform(gateway={"https_listener": "tls"}), ["listener tls", "gateway_auth_gateway"], id="listener"),
        pytest.param(lambda road, _folder: road.removed("httproute", f"echo-{TEAM}"), [f"HTTPRoute echo-{TEAM}", "onboard_team -e team=x1"], id="route"),
        pytest.param(
            lambda road, _folder: road.patched(
                *POLICY,
                [{"op": "replace", "path": "/spec/extAuth/http/pathOverride", "value": "/?allowed_groups=somebody"}],
                [{"op": "replace", "path": "/spec/extAuth/http/pathOverride", "value": "/"}],
            ),
            ["asks for the app's groups", "somebody"],
            id="policy",
        ),
        pytest.param(lambda road, _folder: road.scaled(f"{RELEASE}-store", 1), [f"Deployment {RELEASE}-store", "0 of 1"], id="session store"),
        pytest.param(lambda road, _folder: road.scaled(RELEASE, 2), [f"Deployment {RELEASE} is available", "0 of 2"], id="proxy"),
        pytest.param(
            lambda road, _folder: road.platform(tenant_id="22222222-2222-4222-8222-222222222222"),
            ["AADSTS90002", "gateway_auth_tenant_id"],
            id="discovery",
        ),
        pytest.param(
            lambda road, _folder: road.patched(
                *POLICY,
                [{"op": "remove", "path": f"/spec/extAuth/headersToExtAuth/{HEADERS_TO_PROXY.index(REDIRECT_HEADER)}"}],
                [{"op": "replace", "path": "/spec/extAuth/headersToExtAuth", "value": HEADERS_TO_PROXY}],
            ),
            ["after the sign-in it would lead to"],
            id="sign-in",
        ),
        pytest.param(lambda road, _folder: road.unregistered(), ["AADSTS50011", f"https://{HOST}/oauth2/callback"], id="redirect URI"),
    ],
)
def test_the_broken_link_is_named(
    road: Road, tmp_path: pathlib.Path, damage: collections.abc.Callable[[Road, pathlib.Path], contextlib.AbstractContextManager[None]], words: list[str]
) -> None:
    with damage(road, tmp_path):
        rc, output = road.explain()
        deadline = time.monotonic() + 15
        while not all(word in output for word in words) and time.monotonic() < deadline:  # Envoy and the Deployment's status take a moment
            rc, output = road.explain()
    assert rc != 0
    told = next(line for line in output.splitlines() if "the first broken link is this" in line)
    for word in words:
        assert word in told
    assert len({line.strip() for line in output.splitlines() if "  FAIL  " in line}) == 1, output[-3000:]


def test_the_log_tells_what_people_met(road: Road, browser: type[Browser]) -> None:
    assert browser("mallory").visit(URL).final.status == 403
    rc, output = road.explain()
    assert rc == 0
    assert "gateway_auth_allowed_groups" in output
    assert f"host_vars/{TEAM}.yml" in output
    assert "mallory" not in output


def test_a_revoked_client_secret_is_named(road: Road) -> None:
    """Last, for the road stays broken: what mends it is a run that makes a new one."""
    road.registration.revoke_all()
    rc, output = road.explain()
    assert rc != 0
    assert "AADSTS7000215" in output
    assert TENANT not in output.partition("the first broken link is this")[2].splitlines()[0]
