# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""azure.azcollection, where an inventory asks for it: a secret of a Key Vault, the OIDC issuer of an AKS cluster.

It is imported, or started, only then, and needs its Python requirements where Ansible itself runs.

A Key Vault is read by the collection's lookup, in this process. Its modules aren't run as Ansible runs modules: that puts
arguments into a file unless pipelining is on (it is off by default, and ANSIBLE_KEEP_REMOTE_FILES switches it off), and
azure_rm_keyvaultsecret returns, in clear, the value that was there before. Here a module is a child process with its arguments
on stdin and its result on stdout, two pipes, as Ansible documents for running one by itself
(https://docs.ansible.com/ansible/latest/dev_guide/testing_running_locally.html); what goes on from here holds no value.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import typing as t

import ansible
from ansible.plugins.loader import lookup_loader

from ansible_collections.platform.gateway_auth.plugins.module_utils._entra_credential import Copy
from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import AzureError, GatewayAuthError
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth import CLOUDS, blot, choose_auth, one_of, shorten
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth_cli import CliAuth
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth_client_secret import ClientSecretAuth
from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_auth_managed_identity import ManagedIdentityAuth
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import SecretSource, Team
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._collections import collection_version
from ansible_collections.platform.gateway_auth.plugins.plugin_utils._entra import Environ, endpoint_of, network

Object = dict[str, t.Any]

COLLECTION = "azure.azcollection"
LOOKUP = f"{COLLECTION}.azure_keyvault_secret"
VAULT_PACKAGES = ("azure.identity", "azure.keyvault.secrets")
AKS_PACKAGES = ("azure.identity", "azure.mgmt.containerservice")
OWNER_TAG = "gateway-auth"
KEY_ID_TAG = "gateway-auth-key-id"
TIMEOUT_S = 300.0

# What azure.azcollection would take for another identity than ours, or for leave not to check certificates.
_NOT_OURS = (
    "AZURE_SECRET",
    "AZURE_FEDERATED_TOKEN",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_PROFILE",
    "AZURE_AD_USER",
    "AZURE_PASSWORD",
    "AZURE_X509_CERTIFICATE_PATH",
    "AZURE_THUMBPRINT",
    "AZURE_CERT_VALIDATION_MODE",
    "AZURE_ADFS_AUTHORITY_URL",
)
_CLOUD_NAMES = {"global": "AzureCloud", "usgov": "AzureUSGovernment", "china": "AzureChinaCloud"}

# What mends a refusal, by a part of its text.
_REMEDIES = (
    ("deleted but recoverable", "Recover it (az keyvault secret recover) and run again, purge it, or name another secret."),
    ("disabled", "Enable the secret in the vault, or name another one."),
    (
        "Forbidden",
        "The identity of the environment needs the role that docs/entra.md names on the vault, and the vault's firewall must let this machine in.",
    ),
    ("SecretNotFound", "Store it there, or correct gateway_auth_client_secret.key_vault. One that was deleted can be recovered: az keyvault secret recover."),
    ("AuthorizationFailed", "The identity of the environment needs Microsoft.ContainerService/managedClusters/read on the cluster (role Reader)."),
    ("does not match the requested domain", "gateway_auth_client_secret.key_vault.url must be a Key Vault of the cloud in gateway_auth_graph.cloud."),
    ("AADSTS", "Check the identity in the environment; docs/entra.md has the variables that name one."),
)

Run = t.Callable[[str, Object, Environ], Object]
Lookup = t.Callable[[str, Object], list[t.Any]]


def require(packages: collections.abc.Iterable[str]) -> None:
    """Raise AzureError unless the collection and these of its Python packages are there; asks nobody and starts nothing."""
    try:
        collection_version(COLLECTION)
    except GatewayAuthError as exc:
        raise AzureError(
            f"{exc.message} gateway_auth_client_secret.key_vault and gateway_auth_workload_identity.aks need it.",
            f"Install it: ansible-galaxy collection install {COLLECTION}; then {_install('<where it was installed>')}",
        ) from exc
    missing = [name for name in packages if not _importable(name)]
    if missing:
        raise AzureError(
            f"Collection {COLLECTION} lacks its Python requirements ({', '.join(missing)}) in the Python that runs Ansible.",
            f"Install them: {_install(_folder())}",
        )


def environment(team: Team, environ: Environ) -> dict[str, str]:
    """The process environment in which azure.azcollection is the identity that Graph knows us by, on the same way out.

    Raises GraphAuthError when the environment speaks of another tenant or lacks something.
    """
    endpoint = endpoint_of(team)
    method = choose_auth(environ, endpoint, team.tenant_id)
    chosen = {name: value for name, value in network(team, environ).items() if name not in _NOT_OURS}
    chosen["AZURE_TENANT"] = chosen["AZURE_TENANT_ID"] = team.tenant_id
    # Key Vaults aren't asked by subscription, but the collection insists; without one az itself names the tenant there.
    chosen["AZURE_SUBSCRIPTION_ID"] = chosen.get("AZURE_SUBSCRIPTION_ID") or team.tenant_id
    cloud = next((name for name, (_graph, authority) in CLOUDS.items() if authority == endpoint.authority), "")
    if cloud:
        chosen["AZURE_CLOUD_ENVIRONMENT"] = _CLOUD_NAMES[cloud]
    else:
        chosen["AZURE_ADFS_AUTHORITY_URL"] = endpoint.authority
    if chosen.get("SSL_CERT_FILE"):
        chosen["REQUESTS_CA_BUNDLE"] = chosen["SSL_CERT_FILE"]  # the one that the SDKs' HTTP reads
    if isinstance(method, ManagedIdentityAuth):
        chosen["ANSIBLE_AZURE_AUTH_SOURCE"] = "msi"
    elif isinstance(method, CliAuth):
        chosen["ANSIBLE_AZURE_AUTH_SOURCE"] = "cli"
    else:
        chosen["ANSIBLE_AZURE_AUTH_SOURCE"] = "env"
        if isinstance(method, ClientSecretAuth):
            chosen["AZURE_SECRET"] = one_of(environ, "AZURE_CLIENT_SECRET", "AZURE_SECRET")
        else:
            chosen["AZURE_FEDERATED_TOKEN_FILE"] = environ["AZURE_FEDERATED_TOKEN_FILE"]
    return chosen


# --- Key Vault: read -------------------------------------------------------------------------------------------------------


def read_secret(team: Team, environ: Environ, lookup: Lookup | None = None) -> str:
    """The client secret from its Key Vault. For a process with one thread: the lookup reads the process's environment."""
    source = _vault(team)
    if lookup is None:
        require(VAULT_PACKAGES)
    chosen = environment(team, environ)
    # A managed identity is reached by the SDK too (auth_source msi); the lookup's own attempt, use_msi, waits for nothing elsewhere.
    options = {"vault_url": source.url, "use_msi": False, "auth_source": chosen["ANSIBLE_AZURE_AUTH_SOURCE"]}
    try:
        with _process(chosen):
            found = (lookup or _lookup)(source.name, options)
    except GatewayAuthError:
        raise
    except Exception as exc:  # noqa: BLE001 - whatever an SDK raises; it is told apart by its text
        raise _refusal(f"Could not read secret {source.name} of Key Vault {source.url}", _deepest(exc)) from None
    return "".join(found[0])


def _lookup(name: str, options: Object) -> list[t.Any]:
    plugin = lookup_loader.get(LOOKUP)
    if plugin is None:
        raise AzureError(f"Collection {COLLECTION} has no lookup azure_keyvault_secret.", f"Install a newer one: {_install(_folder())}")
    found: list[t.Any] = plugin.run([name], variables={}, **options)
    return found


@contextlib.contextmanager
def _process(environ: Environ) -> t.Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _deepest(exc: BaseException) -> str:
    """What the SDK said: the lookup raises an error of its own in its place."""
    found, seen = exc, [exc]
    while (inner := found.__cause__ or found.__context__) is not None and inner not in seen:
        seen.append(inner)
        found = inner
        if getattr(found, "status_code", None) is not None:
            break
    return str(found) or type(found).__name__


# --- Key Vault: written ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class KeyVault:
    """The Key Vault secret that holds a copy of the client secret we make. Which one it is, its tags tell."""

    team: Team
    environ: Environ
    run: Run | None = None

    @property
    def object(self) -> str:
        return f"KeyVaultSecret/{_vault(self.team).name}"

    @property
    def place(self) -> str:
        return f"secret {_vault(self.team).name} of Key Vault {_vault(self.team).url}"

    def look(self) -> Copy | None:
        """Whose the secret in the vault is, and which; None when there is none."""
        source = _vault(self.team)
        found = self._run("azure_rm_keyvaultsecret_info", {"vault_uri": source.url, "name": source.name}).get("secrets") or []
        if not found:
            return None
        tags = found[0].get("tags") or {}
        return Copy(str(tags.get(OWNER_TAG) or ""), str(tags.get(KEY_ID_TAG) or ""))

    def put(self, value: str, key_id: str, expires: str) -> None:
        """Store it as a new version, with its tags, by one request."""
        source = _vault(self.team)
        given: Object = {"keyvault_uri": source.url, "secret_name": source.name, "secret_value": value}
        given["tags"] = {OWNER_TAG: self.team.unique_name, KEY_ID_TAG: key_id}
        if expires:
            given["secret_expiry"] = expires
        # The module writes only when the value differs, so what differs in tags alone stays as it is.
        if not self._run("azure_rm_keyvaultsecret", given).get("changed"):
            raise AzureError(
                f"The {self.place} holds this client secret already, without our tags, which {COLLECTION} doesn't change.",
                "Delete and purge it there, or name another one, and run again.",
            )

    def _run(self, module: str, given: Object) -> Object:
        if self.run is None:
            require(VAULT_PACKAGES)
        try:
            return (self.run or run_module)(module, given, environment(self.team, self.environ))
        except AzureError as exc:
            raise AzureError(f"The {self.place}: {exc.message}", exc.remedy) from exc


# --- AKS -------------------------------------------------------------------------------------------------------------------


def aks_issuer(team: Team, environ: Environ, run: Run | None = None) -> str:
    """The OIDC issuer of the cluster in gateway_auth_workload_identity.aks, as Azure Resource Manager tells it."""
    aks = team.workload_identity.aks
    if aks is None:
        raise AssertionError("no AKS cluster is named")
    if run is None:
        require(AKS_PACKAGES)
    what = f"AKS cluster {aks.name} (resource group {aks.resource_group}, subscription {aks.subscription_id})"
    try:
        result = (run or run_module)("azure_rm_aks_info", dataclasses.asdict(aks), environment(team, environ))
    except AzureError as exc:
        raise AzureError(f"Could not read {what}: {exc.message}", exc.remedy) from exc
    found = result.get("aks") or []
    if not found:
        raise AzureError(f"There is no {what}.", "Correct gateway_auth_workload_identity.aks.")
    profile = found[0].get("oidc_issuer_profile") or (found[0].get("properties") or {}).get("oidcIssuerProfile") or {}
    issuer = str(profile.get("issuer_url") or profile.get("issuerURL") or "")
    if not profile.get("enabled") or not issuer.startswith("https://"):
        raise AzureError(
            f"The OIDC issuer of {what} isn't switched on.",
            f"Switch it on: az aks update --subscription {aks.subscription_id} --resource-group {aks.resource_group} --name {aks.name} --enable-oidc-issuer.",
        )
    return issuer


# --- a module of the collection ------------------------------------------------------------------------------------------


def run_module(name: str, arguments: Object, environ: Environ) -> Object:
    """Run one module of the collection in a process of its own. Raises AzureError with what it said, never with an argument's value."""
    command = [sys.executable, "-P", "-m", f"ansible_collections.{COLLECTION}.plugins.modules.{name}"]
    paths = [_folder().removesuffix(os.path.join("", "ansible_collections", *COLLECTION.split("."))), os.path.dirname(os.path.dirname(ansible.__file__))]
    chosen = {**environ, "PYTHONPATH": os.pathsep.join(paths)}
    # With _ansible_no_log a module writes nothing to syslog.
    given = {"subscription_id": environ.get("AZURE_SUBSCRIPTION_ID"), **arguments, "auth_source": environ["ANSIBLE_AZURE_AUTH_SOURCE"], "_ansible_no_log": True}
    body = json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode()
    hidden = [str(arguments.get("secret_value") or ""), environ.get("AZURE_SECRET", "")]
    ended = None
    # Not chained: the exception has what was printed so far, which may be a value.
    with contextlib.suppress(subprocess.TimeoutExpired):
        ended = subprocess.run(command, input=body, capture_output=True, env=chosen, timeout=TIMEOUT_S, check=False)
    if ended is None:
        raise AzureError(f"{COLLECTION}.{name} took longer than {TIMEOUT_S:.0f} s and was ended.", "Check the way to Azure, and run again.")
    result = _result(ended.stdout)
    if result is None or result.get("failed") or ended.returncode:
        lines = [line for line in ended.stderr.decode(errors="replace").splitlines() if line.strip() and not line.startswith(" ")]
        said = str((result or {}).get("msg") or "\n".join(_from_error(lines)) or f"exit code {ended.returncode}")
        for value in filter(None, hidden):
            said = blot(said, value)
        raise _refusal(f"{COLLECTION}.{name}", said)
    return result


def _result(output: bytes) -> Object | None:
    for line in reversed(output.decode(errors="replace").splitlines()):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except ValueError:  # its exception would carry the whole line
                return None
            return found if isinstance(found, dict) else None
    return None


def _from_error(lines: list[str]) -> list[str]:
    """The exception at the end of a traceback, message of several lines included."""
    starts = [index for index, line in enumerate(lines) if line.startswith("Traceback")]
    return lines[starts[-1] + 1 :] if starts else lines[-1:]


def _refusal(what: str, said: str) -> AzureError:
    # The SDKs repeat code and message line by line after the sentence that has both.
    text = shorten(said.partition("\nCode:")[0].replace("\n", " ")).rstrip(".")
    remedy = next((remedy for part, remedy in _REMEDIES if part in said), "")
    if not remedy and ("required Python librar" in said or "No module named" in said):
        remedy = f"Install its Python requirements: {_install(_folder())}"
    return AzureError(f"{what}: {text}.", remedy or "Check the inventory's names, and the identity in the environment (docs/entra.md).")


# --- small things ----------------------------------------------------------------------------------------------------------


def _vault(team: Team) -> SecretSource:
    if team.client_secret is None:
        raise AssertionError("no source is named")
    return team.client_secret


def _folder() -> str:
    package = importlib.import_module(f"ansible_collections.{COLLECTION}")
    return os.path.dirname(str(package.__file__)) if package.__file__ else str(next(iter(package.__path__)))


def _install(folder: str) -> str:
    return f"{sys.executable} -m pip install -r {os.path.join(folder, 'requirements.txt')}"


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
