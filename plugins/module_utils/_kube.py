# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Kubernetes API as the phases need it: a few verbs on plain dicts, and errors a user can act on.

Authentication, kubeconfig and context are kubernetes.core's (its client factory reads the same ``K8S_AUTH_*`` variables as
its modules). Paths come from a table of the kinds we handle, so that a run needs no discovery.
"""

from __future__ import annotations

import json
import threading
import typing as t
import urllib.parse

from ansible_collections.platform.gateway_auth.plugins.module_utils._errors import ClusterError, ForbiddenError
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import FIELD_MANAGER, ClusterRef

try:
    import urllib3.exceptions
    import urllib3.util.ssl_
    import yaml
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import get_api_client
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.exceptions import CoreException
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config import ConfigException, kube_config
    from kubernetes.dynamic.exceptions import DynamicApiError

    IMPORT_ERROR: ImportError | None = None
except ImportError as exc:
    IMPORT_ERROR = exc

Object = dict[str, t.Any]
Objects = list[Object]

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
# Of Helm 3 and 4, whatever their binaries are called (helm.sh/helm/v4 pkg/kube ManagedFieldsManager).
HELM_MANAGER = "helm"
TOKEN_LIFETIME_S = 600  # the shortest that the API server gives

# (apiVersion, kind) -> (plural, namespaced)
_KINDS: dict[tuple[str, str], tuple[str, bool]] = {
    ("v1", "Namespace"): ("namespaces", False),
    ("v1", "Secret"): ("secrets", True),
    ("v1", "Service"): ("services", True),
    ("v1", "Pod"): ("pods", True),
    ("v1", "ServiceAccount"): ("serviceaccounts", True),
    ("v1", "ConfigMap"): ("configmaps", True),
    ("v1", "PersistentVolumeClaim"): ("persistentvolumeclaims", True),
    ("apps/v1", "Deployment"): ("deployments", True),
    ("discovery.k8s.io/v1", "EndpointSlice"): ("endpointslices", True),
    ("policy/v1", "PodDisruptionBudget"): ("poddisruptionbudgets", True),
    ("networking.k8s.io/v1", "NetworkPolicy"): ("networkpolicies", True),
    ("networking.k8s.io/v1", "Ingress"): ("ingresses", True),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): ("horizontalpodautoscalers", True),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): ("servicemonitors", True),
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): ("selfsubjectaccessreviews", False),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): ("customresourcedefinitions", False),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"): ("validatingadmissionpolicies", False),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"): ("validatingadmissionpolicybindings", False),
    ("gateway.networking.k8s.io/v1", "GatewayClass"): ("gatewayclasses", False),
    ("gateway.networking.k8s.io/v1", "Gateway"): ("gateways", True),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): ("httproutes", True),
    ("gateway.networking.k8s.io/v1", "GRPCRoute"): ("grpcroutes", True),
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"): ("referencegrants", True),
    ("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy"): ("securitypolicies", True),
    ("gateway.envoyproxy.io/v1alpha1", "ClientTrafficPolicy"): ("clienttrafficpolicies", True),
    ("gateway.envoyproxy.io/v1alpha1", "HTTPRouteFilter"): ("httproutefilters", True),
}


# Subject access reviews ask by API group and plural name.
def resource_of(api_version: str, kind: str) -> tuple[str, str]:
    """(API group, plural) of a kind; the core group is ``""``."""
    group = api_version.rpartition("/")[0]
    return group, _KINDS[(api_version, kind)][0]


def knows(api_version: str, kind: str) -> bool:
    """Whether objects of a kind can be reached at all; a release may hold any."""
    return (api_version, kind) in _KINDS


def is_namespaced(api_version: str, kind: str) -> bool:
    return _KINDS[(api_version, kind)][1]


def describe(obj: t.Mapping[str, t.Any]) -> str:
    """``HTTPRoute monitoring-team-a/prometheus-team-a``: how every message names an object."""
    meta = obj.get("metadata", {})
    place = f"{meta['namespace']}/" if meta.get("namespace") else ""
    return f"{obj.get('kind')} {place}{meta.get('name')}"


class Resource(t.NamedTuple):
    """A kind as the API serves it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool


Resources = list[Resource]
Words = list[str]


class Kube:
    """One cluster. Safe to use from several threads."""

    def __init__(self, client: t.Any, where: str, uid: str = "") -> None:
        self._client = client
        self.where = where
        # Which cluster this is, for whoever compares: by the inventory's word, which was proven, else where it answers.
        self.identity = uid or str(client.configuration.host)

    # --- reading -----------------------------------------------------------------------------------------------------
    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        """The object, or None when it (or its namespace, or its kind) isn't there."""
        try:
            return self._call("GET", _path(api_version, kind, namespace, name), what=f"get {kind} {_place(namespace, name)}")
        except _NotFound:
            return None

    def list(self, api_version: str, kind: str, namespace: str = "", labels: t.Mapping[str, str] | None = None) -> Objects:
        """Objects of a kind in a namespace (all namespaces when empty), by labels. A kind that isn't served gives none."""
        place = namespace or "all namespaces"
        query = {}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        try:
            answer = self._call("GET", _path(api_version, kind, namespace), query, what=f"list {kind} in {place}")
        except _NotFound:
            return []
        items: Objects = answer.get("items") or []
        for item in items:  # the API leaves these out of list items
            item.setdefault("apiVersion", api_version)
            item.setdefault("kind", kind)
        return items

    def resources(self) -> tuple[Resources, Words]:
        """Every kind that can be listed, once, in the version that its group prefers if that has it; and the versions that didn't answer."""
        found: dict[tuple[str, str], Resource] = {}
        silent: Words = []
        groups = self._call("GET", "/apis", what="list the API's groups").get("groups") or []
        for version in ("v1", *(version for group in groups for version in _versions(group))):
            try:
                served = self._call("GET", _base(version), what=f"list the kinds of {version}").get("resources") or []
            except ClusterError:
                silent.append(version)  # an aggregated API whose server is down, say
                continue
            for item in served:
                if "/" not in item["name"] and "list" in (item.get("verbs") or []):
                    resource = Resource(version, str(item["kind"]), str(item["name"]), bool(item.get("namespaced")))
                    found.setdefault((version.rpartition("/")[0], resource.plural), resource)
        return list(found.values()), silent

    def find(self, resource: Resource, namespace: str = "", labels: t.Mapping[str, str] | None = None) -> Objects:
        """Objects of any kind, all namespaces when empty; like ``list``."""
        place = f"/namespaces/{urllib.parse.quote(namespace, safe='')}" if namespace else ""
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in sorted(labels.items()))} if labels else {}
        what = f"list {resource.plural} in {namespace or 'the whole cluster'}"
        items: Objects = self._call("GET", f"{_base(resource.api_version)}{place}/{resource.plural}", query, what=what).get("items") or []
        return [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in items]

    def logs(self, namespace: str, pod: str, container: str = "", tail: int = 50, previous: bool = False) -> str:
        """The last lines of a container, or "" when it has none yet."""
        query = {"tailLines": str(tail), "container": container, "previous": "true" if previous else ""}
        query = {key: value for key, value in query.items() if value}
        try:
            text = self._raw("GET", f"{_path('v1', 'Pod', namespace, pod)}/log", query, what=f"read logs of pod {namespace}/{pod}")
        except ClusterError:
            return ""
        return text.decode(errors="replace")

    def allowed(self, verb: str, api_version: str, kind: str, namespace: str = "", name: str = "", subresource: str = "") -> bool:
        """Whether this identity may do that (a SelfSubjectAccessReview)."""
        group, resource = resource_of(api_version, kind)
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace, "name": name, "subresource": subresource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
        answer = self._call("POST", _path("authorization.k8s.io/v1", "SelfSubjectAccessReview"), body=review, what="ask for own permissions")
        return bool(answer.get("status", {}).get("allowed"))

    def server_version(self) -> str:
        """What the API server says of itself, ``v1.34.4``; by default anybody may ask."""
        return str(self._call("GET", "/version", what="read the API server's version").get("gitVersion") or "")

    def issuer(self) -> str:
        """Who the cluster says issues its service account tokens (OpenID Connect discovery, readable by default); "" when it won't."""
        try:
            document = self._call("GET", "/.well-known/openid-configuration", what="read the cluster's OIDC discovery document")
        except (_NotFound, ForbiddenError):
            return ""
        return str(document.get("issuer") or "")

    def service_account_token(self, namespace: str, name: str, audience: str) -> str:
        """A short-lived token as a pod's projected volume gets it (TokenRequest); "" when there is no such service account."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [audience], "expirationSeconds": TOKEN_LIFETIME_S}}
        path = f"{_path('v1', 'ServiceAccount', namespace, name)}/token"
        try:
            answer = self._call("POST", path, body=body, what=f"create a token of ServiceAccount {_place(namespace, name)}")
        except _NotFound:
            return ""
        return str((answer.get("status") or {}).get("token") or "")

    # --- writing -----------------------------------------------------------------------------------------------------
    def apply(self, obj: Object, *, dry_run: bool = False, manager: str = FIELD_MANAGER) -> Object:
        """Server-side apply, taking fields over from other field managers."""
        query = {"fieldManager": manager, "force": "true", **_dry(dry_run)}
        return self._call("PATCH", _path_of(obj), query, obj, "application/apply-patch+yaml", f"apply {describe(obj)}")

    def create(self, obj: Object) -> Object | None:
        """Create; None when somebody else was first."""
        meta = obj["metadata"]
        try:
            return self._call(
                "POST", _path(obj["apiVersion"], obj["kind"], meta.get("namespace", "")), {"fieldManager": FIELD_MANAGER}, obj, what=f"create {describe(obj)}"
            )
        except _Conflict:
            return None

    def patch(self, obj: Object, operations: Objects, *, dry_run: bool = False, manager: str = FIELD_MANAGER, guard: str = "resourceVersion") -> Object:
        """JSON patch (RFC 6902), guarded by the resourceVersion that ``obj`` was read with, or by its uid (for what needs no index)."""
        query = {"fieldManager": manager, **_dry(dry_run)}
        test = {"op": "test", "path": f"/metadata/{guard}", "value": obj["metadata"][guard]}
        return self._call("PATCH", _path_of(obj), query, [test, *operations], "application/json-patch+json", f"patch {describe(obj)}")

    def annotate(self, obj: Object, key: str, value: str) -> bool:
        """Set one annotation of exactly this object (by uid); False when it is gone, or another one of its name is there."""
        operations: Objects = [] if obj["metadata"].get("annotations") else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
        operations.append({"op": "add", "path": f"/metadata/annotations/{key.replace('~', '~0').replace('/', '~1')}", "value": value})
        try:
            self.patch(obj, operations, guard="uid")
        except (_NotFound, InvalidError):
            return False
        return True

    def delete(self, obj: Object, *, dry_run: bool = False) -> bool:
        """Delete exactly this object (by uid); False when it was gone already."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if obj["metadata"].get("uid"):
            body["preconditions"] = {"uid": obj["metadata"]["uid"]}
        if dry_run:  # in the body: beside one, the API server ignores the query (apiserver, handlers/delete.go)
            body["dryRun"] = ["All"]
        try:
            self._call("DELETE", _path_of(obj), None, body, what=f"delete {describe(obj)}")
        except (_NotFound, _Conflict):
            return False
        return True

    # --- underneath --------------------------------------------------------------------------------------------------
    def _call(
        self,
        method: str,
        path: str,
        query: t.Mapping[str, str] | None = None,
        body: t.Any = None,
        content_type: str = "application/json",
        what: str = "",
    ) -> Object:
        return t.cast("Object", json.loads(self._raw(method, path, query, body, content_type, what)))

    def _raw(
        self,
        method: str,
        path: str,
        query: t.Mapping[str, str] | None = None,
        body: t.Any = None,
        content_type: str = "application/json",
        what: str = "",
    ) -> bytes:
        try:
            answer = self._client.request(
                method.lower(),
                path,
                body=body,
                query_params=list((query or {}).items()),
                content_type=content_type,
                serialize=False,
                _request_timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            )
            return t.cast("bytes", answer.data)
        except (ApiException, DynamicApiError) as exc:
            raise _translate(exc, self.where, what) from exc
        except urllib3.exceptions.HTTPError as exc:
            raise ClusterError(
                f"Could not {what}: the Kubernetes API of {self.where} did not answer ({_shorten(exc)}).",
                "Check gateway_auth_cluster and the network between this machine and the API server.",
            ) from exc


class _NotFound(ClusterError):
    pass


class _Conflict(ClusterError):
    pass


class InvalidError(ClusterError):
    """The API server refuses an object as it would become."""


class DeniedError(ClusterError):
    """A ValidatingAdmissionPolicy refuses a write; its message says what and why."""


class NamespaceMissing(_NotFound):
    """A write was refused because its namespace isn't there."""


_CONNECTIONS: dict[ClusterRef, Kube] = {}
_CONNECTIONS_LOCK = threading.Lock()


def connect(ref: ClusterRef) -> Kube:
    """Connect and prove that it is the cluster the inventory means, before anything else is read. Cached per process."""
    with _CONNECTIONS_LOCK:
        if ref not in _CONNECTIONS:
            _CONNECTIONS[ref] = _connect(ref)
        return _CONNECTIONS[ref]


def _connect(ref: ClusterRef) -> Kube:
    if IMPORT_ERROR is not None:
        raise ClusterError(
            f"Expected the Python packages of requirements.txt and collection kubernetes.core beside Ansible, got: {IMPORT_ERROR}.",
            "Install them: pip install -r requirements.txt; ansible-galaxy collection install kubernetes.core.",
        )
    where = " ".join(part for part in (ref.kubeconfig or "the ambient kubeconfig", f"context {ref.context}" if ref.context else "") if part)
    try:
        options = {key: value for key, value in (("kubeconfig", ref.kubeconfig), ("context", ref.context)) if value}
        client = _in_memory(get_api_client(**options).client)
    except (CoreException, ConfigException, OSError, KeyError, ValueError, TypeError, yaml.YAMLError) as exc:
        raise ClusterError(f"Could not load the kubeconfig of {where}: {_shorten(exc)}.", "Check gateway_auth_cluster.kubeconfig and .context.") from exc
    except urllib3.exceptions.HTTPError as exc:
        raise _unreachable(where, exc) from exc
    except (ApiException, DynamicApiError) as exc:
        raise _translate(exc, where, "discover the API") from exc
    finally:
        kube_config._cleanup_temp_files()
    kube = Kube(client, where, ref.uid)
    _check_uid(kube, ref)
    return kube


def _in_memory(client: t.Any) -> t.Any:
    """Load certificates and key of a kubeconfig once.

    The client writes what a kubeconfig holds of them into temporary files and reads those at each new connection; it takes
    them away as the interpreter ends, which a worker of Ansible never does: the key would stay behind. Options as urllib3
    itself sets them (``ssl_wrap_socket``).
    """
    pool = client.client.rest_client.pool_manager
    options = pool.connection_pool_kw
    context = urllib3.util.ssl_.create_urllib3_context(cert_reqs=options["cert_reqs"])
    if options["ca_certs"] or options.get("ca_cert_data"):
        context.load_verify_locations(cafile=options["ca_certs"], cadata=options.get("ca_cert_data"))
    else:
        context.load_default_certs()
    if options["cert_file"]:
        context.load_cert_chain(options["cert_file"], options["key_file"])
    options.update(ssl_context=context, ca_certs=None, ca_cert_data=None, cert_file=None, key_file=None)
    pool.clear()
    return client


def _unreachable(where: str, exc: Exception) -> ClusterError:
    return ClusterError(
        f"The Kubernetes API of {where} did not answer ({_shorten(exc)}).",
        "Check gateway_auth_cluster and the network between this machine and the API server.",
    )


def _check_uid(kube: Kube, ref: ClusterRef) -> None:
    if not ref.uid:
        return
    namespace = kube.get("v1", "Namespace", "kube-system")
    found = namespace["metadata"]["uid"] if namespace else "no namespace kube-system"
    if found != ref.uid:
        raise ClusterError(
            f"Expected the cluster whose namespace kube-system has UID {ref.uid} (gateway_auth_cluster.uid), found {found} at {kube.where}."
            " Nothing else was read, nothing written.",
            "Point the kubeconfig or context at the right cluster, or correct gateway_auth_cluster.uid.",
        )


def _translate(exc: t.Any, where: str, what: str) -> ClusterError:
    status = int(exc.status or 0)
    detail = _detail(exc)
    if status == 404:
        if detail.startswith("namespaces "):
            return NamespaceMissing(f"Could not {what}: {detail}.")
        return _NotFound(f"Could not {what}: not found.")
    if "ValidatingAdmissionPolicy '" in detail:  # whatever status that policy chose
        return DeniedError(f"Could not {what}: {detail}")
    if status == 422:
        return InvalidError(f"Could not {what}: HTTP 422 from {where}: {detail}.")
    if status == 409:
        return _Conflict(f"Could not {what}: {detail}.", "Somebody else changed it at the same time: run again.")
    if status == 403:
        return ForbiddenError(f"Could not {what}: {detail}.", "Grant that verb on that resource to the identity of gateway_auth_cluster.")
    if status == 401:
        return ClusterError(
            f"Could not {what}: {where} does not accept these credentials (401).", "Renew them, or check gateway_auth_cluster.kubeconfig and .context."
        )
    return ClusterError(f"Could not {what}: HTTP {status or 'error'} from {where}: {detail}.")


def _detail(exc: t.Any) -> str:
    try:
        body = exc.body
        return str(json.loads(body)["message"])
    except (AttributeError, TypeError, ValueError, KeyError):
        return _shorten(exc)


def _shorten(exc: t.Any) -> str:
    text = " ".join(str(exc).split())
    return text if len(text) <= 300 else text[:297] + "..."


def _place(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _path_of(obj: Object) -> str:
    return _path(obj["apiVersion"], obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _versions(group: Object) -> Words:
    """Versions of an API group, the one that it prefers first."""
    preferred = str(group["preferredVersion"]["groupVersion"])
    return [preferred, *(str(item["groupVersion"]) for item in group.get("versions") or [] if item["groupVersion"] != preferred)]


def _base(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _path(api_version: str, kind: str, namespace: str = "", name: str = "") -> str:
    plural, namespaced = _KINDS[(api_version, kind)]
    parts = [_base(api_version)]
    if namespaced and namespace:
        parts.append(f"namespaces/{urllib.parse.quote(namespace)}")
    parts.append(plural)
    if name:
        parts.append(urllib.parse.quote(name))
    return "/".join(parts)
