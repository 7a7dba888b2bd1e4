# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Doubles and clients of Graph for the test_entra_graph_* modules; each test makes the objects it changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.entra.graphkit import GraphClient, permit
from tests.sandbox.entra.testkit import Double, running_double


@pytest.fixture(scope="module", name="tenant")
def _tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    """One double for a module."""
    with running_double(tmp_path_factory.mktemp("entra")) as double:
        yield double


@pytest.fixture(scope="module", name="graph")
def _graph(tenant: Double) -> Iterator[GraphClient]:
    """The automation identity with every permission, in the module's double."""
    permit(tenant)
    with GraphClient(tenant) as client:
        yield client


@pytest.fixture(name="own_tenant")
def _own_tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    """A double of one test's own."""
    with running_double(tmp_path_factory.mktemp("entra")) as double:
        yield double


@pytest.fixture(name="own_graph")
def _own_graph(own_tenant: Double) -> Iterator[GraphClient]:
    """The automation identity with every permission, in the test's own double."""
    permit(own_tenant)
    with GraphClient(own_tenant) as client:
        yield client
