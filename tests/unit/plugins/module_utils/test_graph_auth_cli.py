# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens of the az command's login, with a stand-in for az that says what it was asked."""

from __future__ import annotations

import json
import pathlib
import subprocess
import traceback

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _graph_auth_cli
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import GraphAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import GraphEndpoint
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth_cli import CliAuth
from ansible_collections.platform.gateway_auth.plugins.module_utils._http import Response

TENANT = "11111111-1111-4111-8111-111111111111"
ENDPOINT = GraphEndpoint.for_cloud("usgov")
CANARY = "canary-5ecret"


def nobody(*_request: object) -> Response:
    raise AssertionError("az has its own connections")


def install(folder: pathlib.Path, script: str) -> dict[str, str]:
    """An az that runs ``script``; the environment that finds it."""
    path = folder / "az"
    path.write_text(f'#!/bin/sh\necho "$@" > "{folder}/arguments"\n{script}\n', "utf-8")
    path.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "SECRET_OF_OTHERS": CANARY}


def auth(environ: dict[str, str]) -> CliAuth:
    return CliAuth(ENDPOINT, TENANT, environ, now=lambda: 1000.0)


def test_token(tmp_path: pathlib.Path) -> None:
    answer = json.dumps({"accessToken": CANARY, "expiresOn": "2026-01-01 00:00:00.000000", "expires_on": 4600, "tenant": TENANT})
    method = auth(install(tmp_path, f"echo '{answer}'"))
    method.validate()
    token = method.token(nobody, lambda: 5.0)
    assert (token.value, token.expires_at) == (CANARY, 3605.0)
    assert (tmp_path / "arguments").read_text("utf-8").split() == [
        *("account", "get-access-token", "--scope", "https://graph.microsoft.us/.default", "--tenant", TENANT, "--output", "json"),
    ]
    assert CANARY not in repr(method) + repr(token)


def test_an_older_az_says_no_epoch(tmp_path: pathlib.Path) -> None:
    answer = json.dumps({"accessToken": "opaque", "expiresOn": "2026-01-01 00:00:00.000000"})
    assert auth(install(tmp_path, f"echo '{answer}'")).token(nobody, lambda: 5.0).expires_at == 605.0


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("echo 'ERROR: Please run az login' >&2; exit 1", ["status 1", "Please run az login"], id="not signed in"),
        pytest.param("exit 3", ["status 3", "nothing"], id="silent"),
        pytest.param(f"echo '{CANARY}'", ["no access token"], id="not JSON"),
        pytest.param("echo '{}'", ["no access token"], id="no token"),
    ],
)
def test_failures(script: str, words: list[str], tmp_path: pathlib.Path) -> None:
    with pytest.raises(GraphAuthError) as caught:
        auth(install(tmp_path, script)).token(nobody, lambda: 0.0)
    for word in words:
        assert word in caught.value.message
    assert caught.value.retry_after is None
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_the_remedy_names_the_tenant(tmp_path: pathlib.Path) -> None:
    with pytest.raises(GraphAuthError, match=f"az login --tenant {TENANT}"):
        auth(install(tmp_path, "exit 1")).token(nobody, lambda: 0.0)


def test_an_az_that_hangs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_graph_auth_cli, "TIMEOUT_S", 0.3)
    with pytest.raises(GraphAuthError, match="didn't end") as caught:
        auth(install(tmp_path, f"echo {CANARY}; exec sleep 30")).token(nobody, lambda: 0.0)
    assert caught.value.__context__ is None


def test_an_az_that_is_no_program(tmp_path: pathlib.Path) -> None:
    environ = install(tmp_path, "")
    (tmp_path / "az").write_bytes(b"\x7fELF nonsense")
    with pytest.raises(GraphAuthError, match="status 126"):
        auth(environ).token(nobody, lambda: 0.0)


def test_no_az(tmp_path: pathlib.Path) -> None:
    method = auth({"PATH": str(tmp_path)})
    with pytest.raises(GraphAuthError, match="AZURE_CLIENT_SECRET"):
        method.validate()
    with pytest.raises(GraphAuthError, match="az"):
        method.token(nobody, lambda: 0.0)


def test_no_shell_and_no_secret_among_the_arguments(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    real = subprocess.run

    def run(arguments: list[str], **options: object) -> object:
        seen.append((arguments, options.get("shell")))
        return real(arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", run)
    auth(install(tmp_path, f"""echo '{{"accessToken": "{CANARY}"}}'""")).token(nobody, lambda: 0.0)
    assert len(seen) == 1
    assert CANARY not in repr(seen)
    assert "True" not in repr(seen)
