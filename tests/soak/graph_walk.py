# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Microsoft's own SDK, unmodified, walks through an application's life. Started by graph_clients.py, in a venv that has the SDK."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Any
from uuid import UUID

from azure.core.exceptions import ClientAuthenticationError
from azure.identity.aio import ClientSecretCredential
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphServiceClient
from msgraph.generated.applications.applications_request_builder import ApplicationsRequestBuilder
from msgraph.generated.applications.item.add_password.add_password_post_request_body import AddPasswordPostRequestBody
from msgraph.generated.applications.item.remove_password.remove_password_post_request_body import RemovePasswordPostRequestBody
from msgraph.generated.directory_objects.get_by_ids.get_by_ids_post_request_body import GetByIdsPostRequestBody
from msgraph.generated.models.app_role_assignment import AppRoleAssignment
from msgraph.generated.models.application import Application
from msgraph.generated.models.federated_identity_credential import FederatedIdentityCredential
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.password_credential import PasswordCredential
from msgraph.generated.models.reference_create import ReferenceCreate
from msgraph.generated.models.service_principal import ServicePrincipal
from msgraph.generated.models.web_application import WebApplication

SCOPES = ["https://graph.microsoft.com/.default"]
URI = "https://walk.gateway-auth.test/oauth2/callback"
GROUP = "5f0c0c7e-0000-4000-8000-0000000000a1"
ALICE = "00000a11-ce00-4000-8000-000000000001"
DEFAULT_ROLE = UUID(int=0)
checks = 0


def check(condition: object, what: str) -> None:
    global checks
    checks += 1
    if not condition:
        sys.exit(f"walk: {what}")


async def refused(awaitable: Any, status: int, text: str) -> None:
    try:
        await awaitable
    except ODataError as exc:
        found = exc.error.message or "" if exc.error is not None else ""
        check(exc.response_status_code == status and text in found, f"expected {status} {text!r}, got {exc.response_status_code} {found!r}")
        check(exc.error is not None and exc.error.inner_error is not None and exc.error.inner_error.request_id, "an error without a request-id")
    else:
        check(False, f"expected {status} {text!r}, got an answer")


async def application(client: GraphServiceClient) -> Application:
    """Upsert, read by each key, change, list."""
    upsert: RequestConfiguration[Any] = RequestConfiguration()
    upsert.headers.add("Prefer", "create-if-missing")
    by_name = client.applications_with_unique_name("soak.walk")
    await refused(by_name.get(), 404, "does not exist")
    body = Application(display_name="walk", sign_in_audience="AzureADMyOrg", web=WebApplication(redirect_uris=[URI]), tags=["soak"])
    made = await by_name.patch(body, upsert)
    check(made is not None and made.unique_name == "soak.walk" and made.app_id, "upsert gives no application")
    assert made is not None and made.app_id and made.id
    check(await by_name.patch(Application(display_name="walk 2", group_membership_claims="ApplicationGroup"), upsert) is None, "second upsert isn't 204")
    for found in (
        await client.applications_with_app_id(made.app_id).get(),
        await client.applications.by_application_id(made.id).get(),
        await by_name.get(),
    ):
        check(found is not None and (found.display_name, found.group_membership_claims) == ("walk 2", "ApplicationGroup"), "the update isn't seen")
        check(found is not None and found.web is not None and found.web.redirect_uris == [URI], "the redirect URI got lost")
    parameters = ApplicationsRequestBuilder.ApplicationsRequestBuilderGetQueryParameters
    page = await client.applications.get(RequestConfiguration(query_parameters=parameters(filter="tags/any(t:t eq 'soak')", select=["id", "appId"])))
    check(page is not None and page.value and [each.id for each in page.value] == [made.id], "the filter by tag doesn't find it")
    seen: list[str | None] = []
    page = await client.applications.get(RequestConfiguration(query_parameters=parameters(top=1)))
    while page is not None:
        seen += [each.id for each in page.value or []]
        page = await client.applications.with_url(page.odata_next_link).get() if page.odata_next_link else None
    check(made.id in seen and len(seen) == len(set(seen)) > 1, "paging by one doesn't give each once")
    return made


async def principal(client: GraphServiceClient, app: Application) -> ServicePrincipal:
    """Create the service principal, and the owners and assignments of both."""
    made = await client.service_principals.post(ServicePrincipal(app_id=app.app_id, tags=["WindowsAzureActiveDirectoryIntegratedApp"]))
    assert made is not None and made.id and app.id
    await refused(client.service_principals.post(ServicePrincipal(app_id=app.app_id)), 409, "already in use")
    await client.service_principals.by_service_principal_id(made.id).patch(ServicePrincipal(app_role_assignment_required=True))
    owners = client.applications.by_application_id(app.id).owners
    reference = ReferenceCreate(odata_id=f"https://graph.microsoft.com/v1.0/directoryObjects/{ALICE}")
    await owners.ref.post(reference)
    await refused(owners.ref.post(reference), 400, "already exist")
    listed = await owners.get()
    check(listed is not None and ALICE in [each.id for each in listed.value or []] and len(listed.value or []) == 2, "the owners are not two")
    await owners.by_directory_object_id(ALICE).ref.delete()
    assigned = client.service_principals.by_service_principal_id(made.id).app_role_assigned_to
    wanted = AppRoleAssignment(principal_id=UUID(GROUP), resource_id=UUID(made.id), app_role_id=DEFAULT_ROLE)
    assignment = await assigned.post(wanted)
    check(assignment is not None and assignment.principal_type == "Group", "the assignment isn't a group's")
    await refused(assigned.post(wanted), 400, "already exists")
    assert assignment is not None and assignment.id
    listing = await assigned.get()
    check(listing is not None and [each.id for each in listing.value or []] == [assignment.id], "the assignment isn't listed")
    await assigned.by_app_role_assignment_id(assignment.id).delete()
    return made


async def credentials(client: GraphServiceClient, app: Application) -> None:
    """Secrets, proven at the token endpoint, and federated credentials."""
    assert app.id and app.app_id
    item = client.applications.by_application_id(app.id)
    added = await item.add_password.post(AddPasswordPostRequestBody(password_credential=PasswordCredential(display_name="walk")))
    assert added is not None and added.secret_text and added.key_id
    async with ClientSecretCredential(os.environ["AZURE_TENANT_ID"], app.app_id, added.secret_text) as credential:
        check((await credential.get_token(*SCOPES)).token, "the new secret gives no token")
    read = await item.get()
    shown = read.password_credentials if read is not None else None
    check(shown and [(each.key_id, each.secret_text) for each in shown] == [(added.key_id, None)], "the secret is shown again, or not at all")
    await item.remove_password.post(RemovePasswordPostRequestBody(key_id=added.key_id))
    await refused(item.remove_password.post(RemovePasswordPostRequestBody(key_id=added.key_id)), 400, "No password credential found")
    async with ClientSecretCredential(os.environ["AZURE_TENANT_ID"], app.app_id, added.secret_text) as credential:
        try:
            await credential.get_token(*SCOPES)
            check(False, "a removed secret still gives a token")
        except ClientAuthenticationError as exc:
            check("AADSTS7000215" in str(exc), f"a removed secret is refused otherwise: {exc}")
    trust = {"issuer": "https://oidc.example/", "subject": "system:serviceaccount:a:b", "audiences": ["api://AzureADTokenExchange"]}
    made = await item.federated_identity_credentials.post(FederatedIdentityCredential(name="walk", **trust))
    assert made is not None and made.id
    await refused(item.federated_identity_credentials.post(FederatedIdentityCredential(name="walk", **trust)), 409, "already exists")
    await refused(item.federated_identity_credentials.post(FederatedIdentityCredential(name="other", **trust)), 400, "must be unique")
    by_name = item.federated_identity_credentials_with_name("walk")
    await by_name.patch(FederatedIdentityCredential(description="changed"))
    found = await item.federated_identity_credentials.by_federated_identity_credential_id(made.id).get()
    check(found is not None and (found.name, found.description) == ("walk", "changed"), "the federated credential isn't as changed")
    await by_name.delete()
    left = await item.federated_identity_credentials.get()
    check(left is not None and left.value == [], "the federated credential is still there")


async def removal(client: GraphServiceClient, app: Application, service_principal: ServicePrincipal) -> None:
    """Delete, find among the deleted, restore both, delete for good."""
    assert app.id and service_principal.id
    await client.applications.by_application_id(app.id).delete()
    deleted = client.directory.deleted_items
    listed = await deleted.graph_application.get()
    check(listed is not None and app.id in [each.id for each in listed.value or []], "the application isn't among the deleted")
    principals = await deleted.graph_service_principal.get()
    check(principals is not None and service_principal.id in [each.id for each in principals.value or []], "its principal isn't among the deleted")
    again = Application(display_name="twin", unique_name="soak.walk", sign_in_audience="AzureADMyOrg")
    await refused(client.applications.post(again), 400, "uniqueName already exists")
    restored = await deleted.by_directory_object_id(app.id).restore.post()
    check(isinstance(restored, Application) and restored.id == app.id, "restore doesn't give the application")
    await refused(client.service_principals.by_service_principal_id(service_principal.id).get(), 404, "does not exist")
    await deleted.by_directory_object_id(service_principal.id).restore.post()
    await client.applications.by_application_id(app.id).delete()
    for object_id in (app.id, service_principal.id):
        await deleted.by_directory_object_id(object_id).delete()
    check((await client.applications.post(again)) is not None, "the name isn't free after a permanent deletion")


async def directory(client: GraphServiceClient) -> None:
    """Groups, members, users, ids, licences."""
    eventual: RequestConfiguration[Any] = RequestConfiguration()
    eventual.headers.add("ConsistencyLevel", "eventual")
    group = client.groups.by_group_id(GROUP)
    check(await group.transitive_members.count.get(eventual) == 2, "transitiveMembers/$count isn't 2")
    await refused(group.transitive_members.count.get(), 400, "$count is not currently supported")
    members = await group.members.get()
    check(members is not None and ALICE in [each.id for each in members.value or []], "alice isn't a member")
    found = await client.directory_objects.get_by_ids.post(GetByIdsPostRequestBody(ids=[GROUP, ALICE, str(UUID(int=1))], types=["group", "user"]))
    check(found is not None and {each.id for each in found.value or []} == {GROUP, ALICE}, "getByIds gives others")
    user = await client.users.by_user_id("alice@gateway-auth.test").get()
    check(user is not None and user.id == ALICE, "alice isn't found by UPN")
    skus = await client.subscribed_skus.get()
    plans = [plan.service_plan_name for sku in (skus.value if skus is not None else None) or [] for plan in sku.service_plans or []]
    check("AAD_PREMIUM" in plans, "there is no AAD_PREMIUM")
    organization = await client.organization.get()
    check(organization is not None and organization.value and organization.value[0].id == os.environ["AZURE_TENANT_ID"], "the organization isn't the tenant")


async def main() -> None:
    # It logs refusals as warnings, and one is wanted here.
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    async with ClientSecretCredential(os.environ["AZURE_TENANT_ID"], os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"]) as credential:
        client = GraphServiceClient(credential, SCOPES)
        app = await application(client)
        service_principal = await principal(client, app)
        await credentials(client, app)
        await removal(client, app, service_principal)
        await directory(client)
    print(f"walk: {checks} checks passed")


asyncio.run(main())
