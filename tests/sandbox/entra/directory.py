# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory: one tenant's users, groups, applications, service principals, assignments and credentials.

The sign-in side, Microsoft Graph and the control API read and change this one object: an application created by one of them
is the application the others see. Application and service principal are two objects tied by the client id, as in Entra,
since each can be disabled or deleted alone. The cast that it starts with comes from `cast`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

GRAPH_APP_ID: Final = "00000003-0000-0000-c000-000000000000"
DEFAULT_ROLE: Final = "00000000-0000-0000-0000-000000000000"
TOKEN_EXCHANGE_AUDIENCE: Final = "api://AzureADTokenExchange"
GROUP_MEMBERSHIP_CLAIMS: Final = ("None", "SecurityGroup", "DirectoryRole", "ApplicationGroup", "All")
# A secret lives two years unless told otherwise (api/application-addpassword.md).
SECRET_LIFETIME: Final = 730 * 86400.0
# https://learn.microsoft.com/entra/identity-platform/reply-url
MAX_REDIRECT_URIS: Final = 256
MAX_REDIRECT_URI_LENGTH: Final = 256
# Service plans of Entra ID P1 and P2: with either, groups can be assigned to enterprise applications.
LICENCES: Final = ("AAD_PREMIUM", "AAD_PREMIUM_P2")
# Microsoft Graph's application permissions that this double knows, by the ids of its appRoles.
GRAPH_ROLES: Final = {
    "AppRoleAssignment.ReadWrite.All": "06b708a9-e830-4db3-a914-8e69da51d44f",
    "Application.Read.All": "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30",
    "Application.ReadWrite.All": "1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9",
    "Application.ReadWrite.OwnedBy": "18a4783c-866b-4cc7-a460-3d5e5662c884",
    "Directory.Read.All": "7ab1d382-f21e-4acd-a863-ba3e13f7da61",
    "Directory.ReadWrite.All": "19dbc75e-c2e2-444c-a770-ec69d8559fc7",
    "Group.Read.All": "5b567255-7703-4780-807c-7be8301ae99b",
    "Group.ReadWrite.All": "62a82d76-70ea-41e2-9197-370581804d09",
    "GroupMember.Read.All": "98830695-27a2-44f7-8c18-0c3ebc9698f6",
    "GroupMember.ReadWrite.All": "dbaae8cf-10b5-4b86-a4a1-f871c94c6695",
    "LicenseAssignment.Read.All": "e2f98668-2877-4f38-a2f4-8202e0717aa1",
    "Organization.Read.All": "498476ce-e0fe-48b0-b801-37ba7e2685c6",
    "User.Read.All": "df021288-bdef-4463-88db-98f22de89214",
    "User.ReadBasic.All": "97235f07-e226-4f63-ace3-39588e11d3a1",
}

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class DirectoryError(ValueError):
    """What was asked of the directory can't be, and why."""


def is_guid(text: str) -> bool:
    """Whether a text is a GUID in the form Entra prints."""
    return _GUID.fullmatch(text) is not None


def new_id() -> str:
    return str(uuid.uuid4())


def check_redirect_uri(uri: str) -> None:
    """Refuse what the app registration refuses (https only, http for localhost, no fragment, no wildcard, 256 long)."""
    local = re.match(r"http://(localhost|127\.0\.0\.1)[:/]", uri) is not None
    if not (uri.startswith("https://") or local):
        raise DirectoryError(f"redirect URI {uri!r}: expected https://, or http:// for localhost")
    if "#" in uri or "*" in uri or " " in uri:
        raise DirectoryError(f"redirect URI {uri!r}: no fragment, wildcard or space may stand in it")
    if len(uri) > MAX_REDIRECT_URI_LENGTH:
        raise DirectoryError(f"redirect URI {uri!r}: longer than {MAX_REDIRECT_URI_LENGTH} characters")


@dataclass(frozen=True)
class Tenant:
    id: str
    name: str
    domain: str

    def answers_to(self, segment: str) -> bool:
        """Whether a path's tenant segment means this tenant: its id, or a verified domain."""
        return segment.lower() in (self.id.lower(), self.domain.lower())


@dataclass
class Group:
    """A security group. Users carry their own memberships; groups and service principals in it are listed here."""

    id: str
    name: str
    description: str | None = None
    mail_nickname: str = ""
    members: set[str] = field(default_factory=set)
    owners: list[str] = field(default_factory=list)


@dataclass
class User:
    id: str
    name: str
    upn: str
    display_name: str
    mail: str | None
    enabled: bool = True
    group_ids: set[str] = field(default_factory=set)


@dataclass
class PasswordCredential:
    """A client secret. Its value is known here by digest alone, so nothing can print it."""

    digest: bytes
    start: float
    end: float
    key_id: str = field(default_factory=new_id)
    display_name: str | None = None
    hint: str | None = None

    @classmethod
    def of(cls, value: str, start: float, end: float | None = None, display_name: str | None = None) -> PasswordCredential:
        digest = hashlib.sha256(value.encode()).digest()
        return cls(digest, start, start + SECRET_LIFETIME if end is None else end, display_name=display_name, hint=value[:3])

    def matches(self, value: str) -> bool:
        return hmac.compare_digest(self.digest, hashlib.sha256(value.encode()).digest())

    def is_expired(self, now: float) -> bool:
        return now >= self.end


@dataclass(frozen=True)
class FederatedCredential:
    """Trust in tokens of another issuer, compared character by character."""

    name: str
    issuer: str
    subject: str
    audience: str = TOKEN_EXCHANGE_AUDIENCE
    description: str | None = None
    id: str = field(default_factory=new_id)


@dataclass
class Application:
    """A registration. What sign-in reads has a field; what only Graph reads and writes is in `attributes`, by Graph's names."""

    id: str
    client_id: str
    name: str
    display_name: str
    redirect_uris: list[str]
    group_membership_claims: str | None = "None"
    password_credentials: list[PasswordCredential] = field(default_factory=list)
    federated_credentials: list[FederatedCredential] = field(default_factory=list)
    unique_name: str | None = None
    owners: list[str] = field(default_factory=list)
    created: float = 0.0
    attributes: dict[str, object] = field(default_factory=dict)


@dataclass
class ServicePrincipal:
    """The application as an enterprise application of this tenant; `attributes` by Graph's names."""

    id: str
    client_id: str
    account_enabled: bool = True
    assignment_required: bool = False
    consented_scopes: set[str] = field(default_factory=lambda: {"openid", "profile", "email", "offline_access", "User.Read"})
    owners: list[str] = field(default_factory=list)
    created: float = 0.0
    attributes: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """An app role of a resource, given to a user, a group or a service principal."""

    principal_id: str
    resource_id: str
    app_role_id: str = DEFAULT_ROLE
    created: float = 0.0
    id: str = field(default_factory=new_id)


@dataclass
class Deleted:
    """A soft-deleted application or service principal."""

    item: Application | ServicePrincipal
    at: float


@dataclass
class SecretPolicy:
    """The tenant's app management policy on client secrets."""

    allowed: bool = True
    max_lifetime: float | None = None


DirectoryObject = User | Group | Application | ServicePrincipal


class Directory:
    """All objects of one tenant, found by the keys the services know them by."""

    def __init__(self, tenant: Tenant, clock: Callable[[], float]) -> None:
        self.tenant = tenant
        self.clock = clock
        self.groups: dict[str, Group] = {}
        self.users: dict[str, User] = {}
        self.applications: dict[str, Application] = {}
        self.service_principals: dict[str, ServicePrincipal] = {}
        self.assignments: dict[str, Assignment] = {}
        self.deleted: dict[str, Deleted] = {}
        self.licences: set[str] = {"AAD_PREMIUM"}
        self.secret_policy = SecretPolicy()
        graph_id = str(uuid.uuid5(uuid.UUID(tenant.id), "Microsoft Graph"))
        self.graph_principal = ServicePrincipal(graph_id, GRAPH_APP_ID, attributes={"displayName": "Microsoft Graph"})
        self.service_principals[GRAPH_APP_ID] = self.graph_principal

    # --- groups and users -------------------------------------------------------------------------------------------

    def add_group(self, name: str, group_id: str, *, duplicate: bool = False) -> Group:
        """Make a group; Entra lets two have one name, but whoever wants that has to say so."""
        if not duplicate and any(group.name == name for group in self.groups.values()):
            raise DirectoryError(f"group {name!r} is there already")
        if group_id in self.groups:
            raise DirectoryError(f"group id {group_id} is taken")
        self.groups[group_id] = Group(group_id, name, mail_nickname=name)
        return self.groups[group_id]

    def delete_group(self, group: Group) -> None:
        """Delete a security group, for good, and all that refers to it."""
        del self.groups[group.id]
        for user in self.users.values():
            user.group_ids.discard(group.id)
        for other in self.groups.values():
            other.members.discard(group.id)
        self.assignments = {key: each for key, each in self.assignments.items() if each.principal_id != group.id}

    def group_ids(self, names: Iterable[str]) -> set[str]:
        """Translate group names (or ids), refusing any that isn't there or that two groups have."""
        found = set()
        for name in names:
            matches = [name] if name in self.groups else [group.id for group in self.groups.values() if group.name == name]
            if len(matches) != 1:
                known = ", ".join(sorted({group.name for group in self.groups.values()}))
                problem = "unknown group" if not matches else "more than one group is called"
                raise DirectoryError(f"{problem} {name!r}; there are: {known}")
            found.add(matches[0])
        return found

    def group_names(self, user: User) -> list[str]:
        return sorted(group.name for group in self.groups.values() if group.id in user.group_ids)

    def transitive_group_ids(self, user: User) -> set[str]:
        """Return the groups a user is in, directly or through groups in groups."""
        found, new = set(user.group_ids), set(user.group_ids)
        while new:
            new = {group.id for group in self.groups.values() if not group.members.isdisjoint(new)} - found
            found |= new
        return found

    def transitive_members(self, group: Group) -> list[DirectoryObject]:
        """Return what is in a group, directly or through groups in it."""
        inner, new = {group.id}, {group.id}
        while new:
            new = {member for each in new for member in self.groups[each].members if member in self.groups} - inner
            inner |= new
        members: dict[str, DirectoryObject] = {}
        for group_id in inner:
            members.update({item.id: item for item in self.members(self.groups[group_id])})
        return list(members.values())

    def members(self, group: Group) -> list[DirectoryObject]:
        users: list[DirectoryObject] = [user for user in self.users.values() if group.id in user.group_ids]
        found = [self.object(member) for member in sorted(group.members)]
        return users + [item for item in found if item is not None]

    def user(self, hint: str) -> User | None:
        """Find a user by short name or user principal name, in any case."""
        wanted = hint.strip().lower()
        return next((user for user in self.users.values() if wanted in (user.name, user.upn.lower())), None)

    def user_by_id(self, user_id: str) -> User | None:
        return next((user for user in self.users.values() if user.id == user_id), None)

    # --- applications and service principals ------------------------------------------------------------------------

    def application(self, client_id: str) -> Application | None:
        """Find an application by client id; GUIDs compare without case."""
        return self.applications.get(client_id.lower())

    def application_by_name(self, name: str) -> Application | None:
        """Find an application by its name in the cast, unique name, client id, or, where only one has it, display name."""
        apps = list(self.applications.values())
        for app in apps:
            if name in (app.name, app.unique_name, app.client_id):
                return app
        shown = [app for app in apps if app.display_name == name]
        return shown[0] if len(shown) == 1 else None

    def application_by_id(self, object_id: str) -> Application | None:
        return next((app for app in self.applications.values() if app.id == object_id.lower()), None)

    def service_principal(self, client_id: str) -> ServicePrincipal | None:
        return self.service_principals.get(client_id.lower())

    def service_principal_by_id(self, object_id: str) -> ServicePrincipal | None:
        return next((item for item in self.service_principals.values() if item.id == object_id.lower()), None)

    def principal(self, app: Application) -> ServicePrincipal:
        return self.service_principals[app.client_id]

    def object(self, object_id: str) -> DirectoryObject | None:
        """Find any live object by its object id."""
        wanted = object_id.lower()
        return self.user_by_id(wanted) or self.groups.get(wanted) or self.application_by_id(wanted) or self.service_principal_by_id(wanted)

    def add_application(self, app: Application, principal: ServicePrincipal | None = None) -> None:
        for uri in app.redirect_uris:
            check_redirect_uri(uri)
        self.applications[app.client_id] = app
        if principal is not None:
            self.service_principals[app.client_id] = principal

    def registrations(self) -> list[Application]:
        """Return all applications, soft-deleted ones included: those still hold their names."""
        return [*self.applications.values(), *(entry.item for entry in self.deleted.values() if isinstance(entry.item, Application))]

    def delete_application(self, app: Application) -> None:
        """Soft-delete an application, and its service principal as an item of its own."""
        del self.applications[app.client_id]
        self.deleted[app.id] = Deleted(app, self.clock())
        principal = self.service_principals.get(app.client_id)
        if principal is not None:
            self.delete_principal(principal)

    def delete_principal(self, principal: ServicePrincipal) -> None:
        del self.service_principals[principal.client_id]
        self.deleted[principal.id] = Deleted(principal, self.clock())

    def restore(self, object_id: str) -> Application | ServicePrincipal:
        """Bring a soft-deleted item back, and nothing but this item."""
        item = self.deleted[object_id].item
        if isinstance(item, Application):
            self.applications[item.client_id] = item
        else:
            if item.client_id in self.service_principals:
                raise DirectoryError(f"the service principal name {item.client_id} is already in use")
            self.service_principals[item.client_id] = item
        del self.deleted[object_id]
        return item

    def purge(self, object_id: str) -> None:
        """Delete a soft-deleted item for good."""
        del self.deleted[object_id]
        self.assignments = {key: each for key, each in self.assignments.items() if object_id not in (each.principal_id, each.resource_id)}

    # --- assignments ------------------------------------------------------------------------------------------------

    def assigned_to(self, principal: ServicePrincipal) -> set[str]:
        """Return the ids of who is assigned to the enterprise application."""
        return {each.principal_id for each in self.assignments.values() if each.resource_id == principal.id}

    def assign_only(self, principal: ServicePrincipal, ids: Iterable[str]) -> None:
        """Make the given ids the only ones assigned, each with the default role unless it has another."""
        wanted = set(ids)
        self.assignments = {key: each for key, each in self.assignments.items() if each.resource_id != principal.id or each.principal_id in wanted}
        for principal_id in sorted(wanted - self.assigned_to(principal)):
            self.assign(Assignment(principal_id, principal.id, created=self.clock()))

    def assign(self, assignment: Assignment) -> None:
        self.assignments[assignment.id] = assignment

    def is_assigned(self, user: User, principal: ServicePrincipal) -> bool:
        """Whether the user, or a group they are a direct member of, is assigned to the enterprise application."""
        return not self.assigned_to(principal).isdisjoint(user.group_ids | {user.id})

    def graph_roles(self, principal: ServicePrincipal) -> set[str]:
        """Return the application permissions on Microsoft Graph that an application was granted."""
        names = {role_id: name for name, role_id in GRAPH_ROLES.items()}
        granted = [each for each in self.assignments.values() if each.resource_id == self.graph_principal.id]
        return {names[each.app_role_id] for each in granted if each.principal_id == principal.id and each.app_role_id in names}

    def grant_only(self, principal: ServicePrincipal, roles: Iterable[str]) -> None:
        """Make the given application permissions the only ones that an application has on Microsoft Graph."""
        wanted = set(roles)
        unknown = sorted(wanted - set(GRAPH_ROLES))
        if unknown:
            raise DirectoryError(f"unknown app role {unknown[0]!r}; known: {', '.join(GRAPH_ROLES)}")
        graph = self.graph_principal.id
        keep = {GRAPH_ROLES[name] for name in wanted}
        self.assignments = {
            key: each for key, each in self.assignments.items() if (each.principal_id, each.resource_id) != (principal.id, graph) or each.app_role_id in keep
        }
        for name in sorted(wanted - self.graph_roles(principal)):
            self.assign(Assignment(principal.id, graph, GRAPH_ROLES[name], self.clock()))

    @property
    def has_premium(self) -> bool:
        return not self.licences.isdisjoint(LICENCES)
