# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of permissions; how a refusal is worded from it is tested with the client."""

from __future__ import annotations

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils._graph import key
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import Token
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_permissions import PERMISSIONS, Permission, permission_for, permission_remedy

APP = "/applications/0b1e0000-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/applications", "Application.Read.All"),
        ("GET", APP, "Application.Read.All"),
        ("GET", "/applications(appId='x')", "Application.Read.All"),
        ("GET", f"/applications(uniqueName={key('prod/weu (team-a)')})", "Application.Read.All"),
        ("PATCH", f"/applications(uniqueName={key('prod/weu team-a')})", "Application.ReadWrite.OwnedBy"),
        ("POST", "/applications", "Application.ReadWrite.OwnedBy"),
        ("PATCH", APP, "Application.ReadWrite.OwnedBy"),
        ("DELETE", APP, "Application.ReadWrite.OwnedBy"),
        ("POST", f"{APP}/addPassword", "Application.ReadWrite.OwnedBy"),
        ("POST", f"{APP}/removePassword", "Application.ReadWrite.OwnedBy"),
        ("GET", f"{APP}/owners", "Application.ReadWrite.OwnedBy"),
        ("POST", f"{APP}/owners/$ref", "Application.ReadWrite.OwnedBy and Directory.Read.All"),
        ("DELETE", f"{APP}/owners/x/$ref", "Application.ReadWrite.OwnedBy"),
        ("GET", f"{APP}/federatedIdentityCredentials", "Application.Read.All"),
        ("PATCH", f"{APP}/federatedIdentityCredentials(name='proxy')", "Application.ReadWrite.OwnedBy"),
        ("DELETE", f"{APP}/federatedIdentityCredentials/x", "Application.ReadWrite.OwnedBy"),
        ("GET", "/servicePrincipals(appId='x')", "Application.Read.All"),
        ("PATCH", "/servicePrincipals(appId='x')", "Application.ReadWrite.OwnedBy"),
        ("POST", "/servicePrincipals", "Application.ReadWrite.OwnedBy"),
        ("DELETE", "/servicePrincipals/x", "Application.ReadWrite.OwnedBy"),
        ("GET", "/servicePrincipals/x/appRoleAssignedTo", "Application.Read.All"),
        ("POST", "/servicePrincipals/x/appRoleAssignedTo", "AppRoleAssignment.ReadWrite.All and Application.Read.All"),
        ("DELETE", "/servicePrincipals/x/appRoleAssignedTo/y", "AppRoleAssignment.ReadWrite.All"),
        ("GET", "/directory/deletedItems/microsoft.graph.application", "Application.Read.All"),
        ("POST", "/directory/deletedItems/x/restore", "Application.ReadWrite.OwnedBy"),
        ("DELETE", "/directory/deletedItems/x", "Application.ReadWrite.OwnedBy"),
        ("POST", "/directoryObjects/getByIds", "Directory.Read.All"),
        ("GET", "/groups/x", "GroupMember.Read.All"),
        ("GET", "/users/x", "User.ReadBasic.All"),
    ],
)
def test_each_operation_names_its_least_permission(method: str, path: str, needed: str) -> None:
    row = permission_for(method, path)
    assert row is not None
    assert " and ".join(row.needs) == needed
    assert row.source.startswith("https://learn.microsoft.com/graph/api/")
    remedy = permission_remedy(method, path, Token("x", 0.0, frozenset({"Mail.Read"}), "p"))
    assert needed in remedy
    assert "Mail.Read" in remedy


@pytest.mark.parametrize("row", PERMISSIONS, ids=lambda row: f"{row.method} {row.operation}")
def test_rows_are_whole(row: Permission) -> None:
    assert row.needs
    assert row.operation
    assert not set(row.needs) & set(row.instead)
    # What is said of ownership offers a permission that does without it.
    assert not row.owned or row.instead


@pytest.mark.parametrize(("method", "path"), [("PUT", APP), ("GET", "/me"), ("POST", f"{APP}/somethingElse"), ("GET", "/applicationsOfOthers")])
def test_what_the_table_does_not_know(method: str, path: str) -> None:
    assert permission_for(method, path) is None
    assert "permission" in permission_remedy(method, path, Token("x", 0.0))


def test_restoring_needs_a_directory_role_too() -> None:
    for roles in (frozenset[str](), frozenset({"Application.ReadWrite.OwnedBy"})):
        assert "Application Administrator" in permission_remedy("POST", "/directory/deletedItems/x/restore", Token("x", 0.0, roles, "p"))
