# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double as a process: its command line, its listeners, and its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.sandbox.entra.graphkit import AUTOMATION, GRAPH
from tests.sandbox.entra.service import Address
from tests.sandbox.entra.testkit import CAST, make_authority
from tests.sandbox.entra.walk import TOKEN

ROOT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(folder: Path, **changes: str) -> list[str]:
    authority = make_authority(folder)
    options = {
        "listen": f"127.0.0.1:{free_port()}",
        "admin": f"127.0.0.1:{free_port()}",
        "cert": str(authority.cert),
        "key": str(authority.key),
        "cast": str(CAST),
        "secrets_dir": str(folder / "secrets"),
        "log": str(folder / "entra.log"),
        **changes,
    }
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    return [sys.executable, "-m", "tests.sandbox.entra", *flags]


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        assert process.poll() is None
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("the double doesn't listen")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_signal_ends_it_at_once_with_clients_connected(tmp_path: Path, number: signal.Signals) -> None:
    arguments = command(tmp_path)
    port = int(arguments[arguments.index("--listen") + 1].rpartition(":")[2])
    with subprocess.Popen(arguments, cwd=ROOT) as process:
        try:
            wait_for(port, process)
            context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
            idle = http.client.HTTPSConnection("localhost", port, context=context, timeout=15)
            idle.request("GET", "/", headers={"Host": "login.microsoftonline.com"})
            assert idle.getresponse().read()
            start = time.monotonic()
            process.send_signal(number)
            assert process.wait(10) == 0
            assert time.monotonic() - start < 2
            idle.close()
        finally:
            process.kill()
    assert '"event": "stopped"' in (tmp_path / "entra.log").read_text("utf-8")


def ask(port: int, folder: Path, method: str, url: str, body: str | None = None, **headers: str) -> dict[str, Any]:
    """Send one request straight to the double, for one of Microsoft's hosts."""
    target = urlsplit(url)
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=15)
    connection.request(method, target.path + (f"?{target.query}" if target.query else ""), body, {"Host": target.netloc, **headers})
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def test_kill_9_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    arguments = command(tmp_path, state=str(tmp_path / "state.json"))
    port = int(arguments[arguments.index("--listen") + 1].rpartition(":")[2])
    made: dict[str, Any] = {}
    for attempt in range(2):
        with subprocess.Popen(arguments, cwd=ROOT) as process:
            try:
                wait_for(port, process)
                secret = (tmp_path / "secrets" / "automation.secret").read_text("utf-8")
                form = {"grant_type": "client_credentials", "client_id": AUTOMATION, "client_secret": secret, "scope": f"{GRAPH[:-5]}/.default"}
                token = ask(port, tmp_path, "POST", TOKEN, urlencode(form), **{"Content-Type": "application/x-www-form-urlencoded"})
                headers = {"Authorization": f"Bearer {token['access_token']}", "Content-Type": "application/json"}
                if attempt == 0:
                    made = ask(port, tmp_path, "POST", f"{GRAPH}/applications", '{"displayName": "kept"}', **headers)
                else:
                    assert ask(port, tmp_path, "GET", f"{GRAPH}/applications/{made['id']}", **headers) == made
            finally:
                process.kill()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"admin": "0.0.0.0:0"}, "loopback only", id="admin-for-everyone"),
        pytest.param({"admin": "10.1.2.3:8090"}, "loopback only", id="admin-on-a-network"),
        pytest.param({"listen": "443"}, "ADDRESS:PORT", id="no-address"),
        pytest.param({"listen": "localhost:443"}, "localhost", id="a-name-for-an-address"),
        pytest.param({"state": str(CAST)}, "remove the file", id="no-state"),
        pytest.param({"cast": "/nowhere.yml"}, "/nowhere.yml", id="no-cast"),
        pytest.param({"cert": "/nowhere.pem"}, "No such file", id="no-certificate"),
        pytest.param({"colour": "blue"}, "--colour", id="unknown-option"),
    ],
)
def test_bad_command_lines_end_with_the_reason(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    ended = subprocess.run(command(tmp_path, **changes), cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode in (1, 2)
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("text", ["1.2.3.4", ":443", "1.2.3.4:x", "1.2.3.4:65536", "a:1"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Address(text)


def test_address_of_version_6() -> None:
    assert (Address("[::1]:8090").host, Address("[::1]:8090").port) == ("::1", 8090)
