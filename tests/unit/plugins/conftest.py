# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster in memory for each test that asks for one."""

from __future__ import annotations

import collections.abc
import datetime
import os
import pathlib
import tempfile

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _versions
from ansible_collections.platform.gateway_auth.plugins.module_utils._kube import Kube, connect
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import ClusterRef
from tests.sandbox.entra.testkit import Double
from tests.unit.support.api import Api, Server
from tests.unit.support.entra import tenant


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Server]:
    server = Server()
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        # The client factory keeps what it discovered in the temporary folder, and the client for as long as the process lives.
        patch.setattr(tempfile, "tempdir", str(folder))
        for name in [name for name in os.environ if name.startswith("K8S_AUTH_") or name.lower().endswith("_proxy")]:
            patch.delenv(name)
        connect(ClusterRef(server.kubeconfig(folder / "kubeconfig")))
        yield server
    server.close()


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have an identity in Entra (.sandbox/env); the tests have one where they make it."""
    for name in [name for name in os.environ if name.startswith(("AZURE_", "IDENTITY_", "MSI_", "ANSIBLE_AZURE_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _day(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day on which what the tests install is still maintained."""
    monkeypatch.setattr(_versions, "today", lambda: datetime.date(2026, 10, 1))


@pytest.fixture
def api(_server: Server) -> collections.abc.Iterator[Api]:
    """The API double, with a namespace for team-a; whatever it had to refuse fails the test at its end."""
    _server.api = Api()
    _server.api.namespaces("monitoring-team-a", "gateway-envoy")
    yield _server.api
    assert not _server.api.violations


@pytest.fixture
def kubeconfig(_server: Server, api: Api, tmp_path: pathlib.Path) -> str:
    return _server.kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture
def kube(kubeconfig: str) -> Kube:
    return connect(ClusterRef(kubeconfig))


@pytest.fixture
def double(tmp_path: pathlib.Path) -> collections.abc.Iterator[Double]:
    with tenant(tmp_path / "entra") as running:
        yield running
