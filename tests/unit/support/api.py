# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Kubernetes API in memory, over real HTTP on loopback, so that the real client and our ``Kube`` run unchanged.

It knows what the engine may ask and refuses all else: an unknown path or query parameter, another field manager, a write while
``read_only`` is a *violation*, which fails the test when it ends (fixture ``api``). What it does know, it does as the real API
server does; ``test_api.py`` compares it with objects that a real one wrote (``live/``).
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import http.server
import json
import pathlib
import ssl
import threading
import typing as t
import urllib.parse
import uuid

Object = dict[str, t.Any]
Path = tuple[str, ...]
Key = tuple[str, str, str]  # plural, namespace, name

MANAGER = "gateway-auth"
HELM = "helm"  # in whose name the objects of a release are put right
TAKEOVER = "gateway-auth-takeover"  # who puts our content in the place of somebody's
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
LIVE = pathlib.Path(__file__).parent / "live"

# (group/version, plural) -> (kind, namespaced); on purpose not the engine's own table
KINDS: dict[tuple[str, str], tuple[str, bool]] = {
    ("v1", "namespaces"): ("Namespace", False),
    ("v1", "secrets"): ("Secret", True),
    ("v1", "services"): ("Service", True),
    ("v1", "pods"): ("Pod", True),
    ("v1", "serviceaccounts"): ("ServiceAccount", True),
    ("v1", "configmaps"): ("ConfigMap", True),
    ("apps/v1", "deployments"): ("Deployment", True),
    ("policy/v1", "poddisruptionbudgets"): ("PodDisruptionBudget", True),
    ("networking.k8s.io/v1", "networkpolicies"): ("NetworkPolicy", True),
    ("apiextensions.k8s.io/v1", "customresourcedefinitions"): ("CustomResourceDefinition", False),
    ("admissionregistration.k8s.io/v1", "validatingadmissionpolicies"): ("ValidatingAdmissionPolicy", False),
    ("admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings"): ("ValidatingAdmissionPolicyBinding", False),
    ("gateway.networking.k8s.io/v1", "gatewayclasses"): ("GatewayClass", False),
    ("gateway.networking.k8s.io/v1", "gateways"): ("Gateway", True),
    ("gateway.networking.k8s.io/v1", "httproutes"): ("HTTPRoute", True),
    ("gateway.networking.k8s.io/v1", "grpcroutes"): ("GRPCRoute", True),
    ("gateway.networking.k8s.io/v1beta1", "referencegrants"): ("ReferenceGrant", True),
    ("gateway.envoyproxy.io/v1alpha1", "securitypolicies"): ("SecurityPolicy", True),
    ("gateway.envoyproxy.io/v1alpha1", "clienttrafficpolicies"): ("ClientTrafficPolicy", True),
    ("gateway.envoyproxy.io/v1alpha1", "httproutefilters"): ("HTTPRouteFilter", True),
}
PLURALS = {(version, kind): plural for (version, plural), (kind, _namespaced) in KINDS.items()}
_SUBRESOURCES = (("pods", "log"), ("serviceaccounts", "token"))
_ISSUER = "/.well-known/openid-configuration"
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def live(name: str) -> Object:
    """An object as a real API server (1.34) and Envoy Gateway (1.9) wrote it."""
    return t.cast("Object", json.loads((LIVE / f"{name}.json").read_text(encoding="utf-8")))


@dataclasses.dataclass
class Request:
    """One request, or something else that happened in the same order (``method`` is then its name)."""

    method: str
    kind: str = ""
    namespace: str = ""
    name: str = ""
    query: dict[str, str] = dataclasses.field(default_factory=dict)
    body: t.Any = None
    dry_run: bool = False
    status: int = 0

    @property
    def writes(self) -> bool:
        return self.method in ("POST", "PATCH", "DELETE", "PUT") and self.kind not in ("SelfSubjectAccessReview", "TokenRequest")

    def __str__(self) -> str:
        return " ".join(part for part in (self.method, self.kind, self.name) if part)


class Refusal(Exception):
    """An answer other than success, as the API server words it."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": status}


class Lost(Exception):
    """The connection ends without an answer."""


class Api:
    """One cluster's state and what was asked of it."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.journal: list[Request] = []
        self.violations: list[str] = []
        self.read_only = False
        self.forbidden: set[str] = set()  # plurals that may not be read
        self.at_home: set[str] = set()  # plurals that may be listed in a namespace alone
        self.undeletable: set[str] = set()  # plurals that may not be deleted
        self.denied: set[tuple[str, str]] = set()  # (verb, plural) that a review denies
        self.unserved: set[str] = set()  # plurals whose CRD isn't there
        self.silent: set[str] = set()  # paths of API groups whose own server is down
        self.unauthorized = False
        self.issuer = "https://kubernetes.default.svc"  # of service account tokens
        self.tokens: t.Callable[[str, str, list[str]], str] | None = None  # namespace, service account, audiences -> a token
        self.logs: dict[tuple[str, str, bool], str] = {}  # pod, container, previous
        self.verdicts: dict[str, Object | None] = {}  # name -> condition that differs from Accepted; None: no status at all
        self.before_patch: list[t.Callable[[Request], None]] = []  # dry runs too: what the API server refuses
        self.before_write: list[t.Callable[[Request], None]] = []
        self.after_write: list[t.Callable[[Request], None]] = []
        self._given: set[str] = set()  # whose status a test wrote
        self._lock = threading.RLock()
        self._version = 0
        self._left: int | None = None  # writes until the connection is lost
        self._lose_answer = False
        self._lost = False
        self.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "00000000-1111-4111-8111-000000000000"}})

    # --- for tests ---------------------------------------------------------------------------------------------------
    def seed(self, *objects: Object, manager: str = "kubectl") -> None:
        """Objects that are there before; ``manager`` owns them unless they say who does."""
        for given in objects:
            obj = copy.deepcopy(given)
            meta = obj["metadata"]
            meta.setdefault("uid", str(uuid.uuid4()))
            if "status" in obj:
                self._given.add(meta["uid"])
            meta.setdefault("generation", 1)
            meta.setdefault("creationTimestamp", _now())
            meta.setdefault("managedFields", [_entry(obj, manager, "Update")])
            meta["resourceVersion"] = self._next()
            _fill_defaults(obj)
            self.objects[self._key(obj)] = obj
            self._judge(obj)

    def namespaces(self, *names: str) -> None:
        self.seed(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}} for name in names))

    def find(self, kind: str, name: str) -> Object | None:
        """The stored object of that kind and name, wherever it is."""
        return next((obj for obj in self.objects.values() if obj["kind"] == kind and obj["metadata"]["name"] == name), None)

    def the(self, kind: str, name: str) -> Object:
        obj = self.find(kind, name)
        assert obj is not None, f"no {kind} {name}; there are {self.names(kind)}"
        return obj

    def names(self, kind: str) -> set[str]:
        return {obj["metadata"]["name"] for obj in self.objects.values() if obj["kind"] == kind}

    def edit(self, kind: str, name: str, change: t.Callable[[Object], None], manager: str = "kubectl-edit") -> None:
        """Somebody else edits an object, and so comes to own what they changed."""
        obj = self.the(kind, name)
        before = copy.deepcopy(obj)
        change(obj)
        _own_difference(before, obj, manager)
        self._stamp(before, obj)

    def note(self, what: str, name: str = "") -> None:
        """Something outside the API, in the order of its requests."""
        with self._lock:
            self.journal.append(Request(what, name=name))

    @property
    def writes(self) -> list[Request]:
        """Writes that were carried out."""
        return [request for request in self.journal if request.writes and not request.dry_run and request.status < 300]

    @property
    def trace(self) -> list[str]:
        """``PATCH SecurityPolicy oauth2-…`` and notes, in order."""
        return [str(request) for request in self.journal if request in self.writes or not request.status]

    @property
    def asked(self) -> list[str]:
        """Every request."""
        return [str(request) for request in self.journal]

    def forget(self) -> None:
        """Begin a new journal."""
        self.journal.clear()

    def lose_connection_after(self, writes: int, *, answer_only: bool = False) -> None:
        """The next write after so many gets no answer (``answer_only``: though it is carried out), nor does anything later."""
        self._left, self._lose_answer, self._lost = writes, answer_only, False

    def mend(self) -> None:
        self._left, self._lost = None, False

    # --- requests ----------------------------------------------------------------------------------------------------
    def answer(self, method: str, target: str, content_type: str, raw: bytes) -> tuple[int, t.Any]:
        with self._lock:
            if self._lost:
                raise Lost
            parts = urllib.parse.urlsplit(target)
            query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
            request = Request(method, query=query, body=json.loads(raw) if raw else None)
            try:
                return self._dispatch(request, parts.path, content_type)
            except Refusal as exc:
                request.status = exc.status
                return exc.status, exc.body

    def _dispatch(self, request: Request, path: str, content_type: str) -> tuple[int, t.Any]:
        if request.method == "GET" and path in _DISCOVERY:
            return 200, _DISCOVERY[path]
        if request.method == "GET" and path in _SERVED:
            if path in self.silent:
                raise Refusal(503, "the server is currently unable to handle the request", "ServiceUnavailable")
            return 200, _SERVED[path]
        self.journal.append(request)
        if self.unauthorized:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        if path == _REVIEWS:
            request.kind, request.status = "SelfSubjectAccessReview", 201
            return 201, self._review(request)
        if request.method == "GET" and path == _ISSUER:
            return self._discovery(request)
        version, plural, namespace, name, sub = self._route(request, path)
        request.kind, request.namespace, request.name = KINDS[(version, plural)][0], namespace, name
        if plural in self.unserved:
            raise Refusal(404, "the server could not find the requested resource", "NotFound")
        if request.method == "GET":
            request.status = 200
            return 200, self._read(request, version, plural, namespace, name, sub)
        if sub == "token":
            request.kind, request.status = "TokenRequest", 201
            return 201, self._token(request, plural)
        return self._write(request, version, plural, content_type)

    def _route(self, request: Request, path: str) -> tuple[str, str, str, str, str]:
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        if parts[0] == "api":
            version, rest = parts[1], parts[2:]
        else:
            version, rest = "/".join(parts[1:3]), parts[3:]
        namespace = ""
        if len(rest) >= 3 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        plural, name, sub = (*rest, "", "", "")[:3]
        known = KINDS.get((version, plural))
        if (
            known is None
            or len(rest) > 3
            or (sub and (plural, sub) not in _SUBRESOURCES)
            or (namespace and not known[1])
            or (name and known[1] and not namespace)
        ):
            self._violate(request, f"unknown path {path}")
        return version, plural, namespace, name, sub

    def _violate(self, request: Request, why: str) -> t.NoReturn:
        self.violations.append(f"{request.method} {request.kind} {request.name}: {why}")
        raise Refusal(400, f"the double refuses this: {why}", "BadRequest")

    def _only(self, request: Request, *allowed: str) -> None:
        unknown = set(request.query) - set(allowed)
        if unknown:
            self._violate(request, f"query parameters {sorted(unknown)}")

    # --- reading -----------------------------------------------------------------------------------------------------
    def _read(self, request: Request, version: str, plural: str, namespace: str, name: str, sub: str) -> t.Any:
        kind = KINDS[(version, plural)][0]
        if plural in self.forbidden or (plural in self.at_home and not namespace):
            group = version.rpartition("/")[0]
            verb = "get" if name else "list"
            raise Refusal(403, f'{plural} is forbidden: User "unit" cannot {verb} resource "{plural}" in API group "{group}"', "Forbidden")
        if sub == "log":
            self._only(request, "tailLines", "container", "previous")
            key = (name, request.query.get("container", ""), request.query.get("previous") == "true")
            if key not in self.logs:
                raise Refusal(400, f'previous terminated container in pod "{name}" not found', "BadRequest")
            return self.logs[key]
        if name:
            self._only(request)
            return copy.deepcopy(self._stored((plural, namespace, name), plural))
        self._only(request, "labelSelector")
        items = [obj for key, obj in sorted(self.objects.items()) if key[0] == plural and namespace in ("", key[1])]
        for term in filter(None, request.query.get("labelSelector", "").split(",")):
            label, equals, value = term.partition("=")
            if not equals:
                self._violate(request, f"label selector {term!r}")
            items = [obj for obj in items if (obj["metadata"].get("labels") or {}).get(label) == value]
        # As the API server does for built-in kinds: list items without apiVersion and kind.
        bare = [{key: value for key, value in copy.deepcopy(obj).items() if key not in ("apiVersion", "kind")} for obj in items]
        return {"apiVersion": version, "kind": f"{kind}List", "metadata": {"resourceVersion": str(self._version)}, "items": bare}

    def _stored(self, key: Key, plural: str) -> Object:
        if key not in self.objects:
            raise Refusal(404, f'{plural} "{key[2]}" not found', "NotFound")
        return self.objects[key]

    def _review(self, request: Request) -> Object:
        self._only(request)
        attributes = request.body["spec"]["resourceAttributes"]
        request.name = f"{attributes['verb']} {attributes['resource']}"
        return {**request.body, "status": {"allowed": (attributes["verb"], attributes["resource"]) not in self.denied}}

    def _discovery(self, request: Request) -> tuple[int, Object]:
        self._only(request)
        request.kind, request.status = "OpenIDConfiguration", 200
        if "openid-configuration" in self.forbidden:
            raise Refusal(403, f'forbidden: User "unit" cannot get path "{_ISSUER}"', "Forbidden")
        return 200, {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/openid/v1/jwks"}

    def _token(self, request: Request, plural: str) -> Object:
        """TokenRequest: a token as a pod's projected volume gets it."""
        self._only(request)
        if self.read_only:
            self._violate(request, "a token in check mode")
        if "serviceaccounts/token" in self.forbidden:
            raise Refusal(403, 'serviceaccounts is forbidden: User "unit" cannot create resource "serviceaccounts/token" in API group ""', "Forbidden")
        self._stored((plural, request.namespace, request.name), plural)
        spec = request.body["spec"]
        if (request.body["apiVersion"], request.body["kind"]) != ("authentication.k8s.io/v1", "TokenRequest") or spec["expirationSeconds"] < 600:
            self._violate(request, f"not a TokenRequest: {request.body}")
        if self.tokens is None:
            self._violate(request, "nobody said which token")
        return {**request.body, "status": {"token": self.tokens(request.namespace, request.name, spec["audiences"])}}

    # --- writing -----------------------------------------------------------------------------------------------------
    def _write(self, request: Request, version: str, plural: str, content_type: str) -> tuple[int, t.Any]:
        body = request.body
        request.dry_run = request.query.get("dryRun") == "All"
        if request.method == "DELETE" and body:
            # handlers/delete.go: options in a body replace those in the query
            request.dry_run = body.get("dryRun") == ["All"]
            if "dryRun" in request.query:
                self._violate(request, "dryRun in the query beside a body: the API server deletes for real")
        if self.read_only and not request.dry_run:
            self._violate(request, "a write in check mode")
        lost = self._count(request)
        if lost and not self._lose_answer:
            raise Lost
        for hook in self.before_write if not request.dry_run else ():
            hook(request)
        status, answer = {"POST": self._create, "PATCH": self._patch, "DELETE": self._delete}[request.method](request, version, plural, content_type)
        request.status = status
        for hook in self.after_write if not request.dry_run else ():
            hook(request)
        if lost:
            raise Lost
        return status, copy.deepcopy(answer)

    def _count(self, request: Request) -> bool:
        if self._left is None or request.dry_run:
            return False
        self._left -= 1
        self._lost = self._left < 0
        return self._lost

    def _create(self, request: Request, version: str, plural: str, content_type: str) -> tuple[int, Object]:
        self._only(request, "fieldManager")
        self._check_writer(request, content_type, "application/json")
        obj = copy.deepcopy(request.body)
        self._check_names(request, obj, version, plural, posted=True)
        request.name = obj["metadata"]["name"]
        key = (plural, request.namespace, request.name)
        self._check_namespace(request, plural)
        if key in self.objects:
            raise Refusal(409, f'{plural} "{request.name}" already exists', "AlreadyExists")
        _fill_defaults(obj)
        obj["metadata"]["managedFields"] = [_entry(obj, MANAGER, "Update")]
        return 201, self._store(key, {}, obj)

    def _patch(self, request: Request, version: str, plural: str, content_type: str) -> tuple[int, Object]:
        key = (plural, request.namespace, request.name)
        for hook in self.before_patch:
            hook(request)
        if content_type == "application/json-patch+json":
            self._only(request, "fieldManager", "dryRun")
            self._check_writer(request, content_type, content_type)
            before = self._stored(key, plural)
            after = self._json_patched(request, before)
            return 200, after if request.dry_run else self._store(key, before, after)
        self._only(request, "fieldManager", "force", "dryRun")
        self._check_writer(request, content_type, "application/apply-patch+yaml")
        if request.query.get("force") != "true":
            self._violate(request, "apply without force")
        self._check_names(request, request.body, version, plural)
        self._check_namespace(request, plural)
        before = self.objects.get(key, {})
        after = _applied(before, request.body, request.query["fieldManager"])
        if request.dry_run:
            after["metadata"].setdefault("uid", str(uuid.uuid4()))
            return (200 if before else 201), after
        return (200 if before else 201), self._store(key, before, after)

    def _json_patched(self, request: Request, before: Object) -> Object:
        after = copy.deepcopy(before)
        guard = str(request.body[0].get("path")).removeprefix("/metadata/")
        if request.body[0] != {"op": "test", "path": f"/metadata/{guard}", "value": request.body[0].get("value")} or guard not in ("resourceVersion", "uid"):
            self._violate(request, "a JSON patch that isn't guarded by the resourceVersion or the uid")
        if request.body[0]["value"] != before["metadata"][guard]:
            raise Refusal(422, "the server rejected our request due to an error in our request", "Invalid")
        for operation in request.body[1:]:
            if operation["op"] not in ("add", "remove"):
                self._violate(request, f"operation {operation['op']}")
            path = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
            node = after
            for part in path[:-1]:
                if operation["op"] == "add" and part not in node:  # RFC 6902, 4.1
                    raise Refusal(422, "the server rejected our request due to an error in our request", "Invalid")
                node = node.get(part, {})
            if operation["op"] == "add":
                node[path[-1]] = copy.deepcopy(operation["value"])
                continue
            if path[-1] not in node:
                raise Refusal(422, "the server rejected our request due to an error in our request", "Invalid")
            del node[path[-1]]
            for entry in after["metadata"]["managedFields"]:
                _disown(entry["fieldsV1"], tuple(path))
        _own_difference(before, after, request.query["fieldManager"])
        _fill_defaults(after)
        return after

    def _delete(self, request: Request, version: str, plural: str, content_type: str) -> tuple[int, Object]:
        self._only(request, "dryRun")
        key = (plural, request.namespace, request.name)
        stored = self._stored(key, plural)
        wanted = ((request.body or {}).get("preconditions") or {}).get("uid")
        if wanted and wanted != stored["metadata"]["uid"]:
            raise Refusal(409, f"the UID in the precondition ({wanted}) does not match the UID in record", "Conflict")
        if plural in self.undeletable:
            raise Refusal(403, f'{plural} "{request.name}" is forbidden: User "unit" cannot delete resource "{plural}"', "Forbidden")
        if not request.dry_run:
            del self.objects[key]
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    def _check_writer(self, request: Request, content_type: str, expected: str) -> None:
        if content_type != expected:
            self._violate(request, f"content type {content_type}")
        if request.query.get("fieldManager") not in (MANAGER, TAKEOVER, HELM):
            self._violate(request, f"field manager {request.query.get('fieldManager')}")

    def _check_names(self, request: Request, body: Object, version: str, plural: str, *, posted: bool = False) -> None:
        meta = body["metadata"]
        found = (body["apiVersion"], body["kind"], meta.get("namespace", ""), "" if posted else meta["name"])
        if found != (version, KINDS[(version, plural)][0], request.namespace, request.name):
            self._violate(request, f"body {found} doesn't fit its path")

    def _check_namespace(self, request: Request, plural: str) -> None:
        if request.namespace and ("namespaces", "", request.namespace) not in self.objects:
            raise Refusal(404, f'namespaces "{request.namespace}" not found', "NotFound")

    def _store(self, key: Key, before: Object, after: Object) -> Object:
        after["metadata"].setdefault("uid", str(uuid.uuid4()))
        after["metadata"].setdefault("creationTimestamp", _now())
        if not before or _without(before, "time") != _without(after, "time"):
            self._stamp(before, after)
            self.objects[key] = after
        return self.objects[key]

    def _stamp(self, before: Object, after: Object) -> None:
        meta = after["metadata"]
        if not before:
            meta["generation"] = 1
        elif before.get("spec") != after.get("spec"):
            meta["generation"] = before["metadata"].get("generation", 1) + 1
        meta["resourceVersion"] = self._next()
        self._judge(after)

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    def _key(self, obj: Object) -> Key:
        return PLURALS[(obj["apiVersion"], obj["kind"])], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]

    def judge_again(self) -> None:
        """Envoy Gateway looks at everything anew (after ``verdicts`` changed)."""
        for obj in self.objects.values():
            self._judge(obj)

    def _judge(self, obj: Object) -> None:
        """Envoy Gateway's part: status for the present generation."""
        part = {"HTTPRoute": "parents", "SecurityPolicy": "ancestors", "ClientTrafficPolicy": "ancestors"}.get(obj["kind"])
        if part is None or obj["metadata"]["uid"] in self._given:
            return
        special: Object | None = self.verdicts.get(obj["metadata"]["name"], {})
        if special is None:
            obj.pop("status", None)
            return
        conditions = {"Accepted": "True", "ResolvedRefs": "True"} if obj["kind"] == "HTTPRoute" else {"Accepted": "True"}
        listed: list[Object] = [{"type": kind, "status": status, "reason": kind, "message": ""} for kind, status in conditions.items()]
        listed = [{**item, **special} if item["type"] == special.get("type") else item for item in listed]
        if special and special["type"] not in conditions:
            listed.append(special)
        references = [
            {"name": reference["name"], "namespace": reference.get("namespace", obj["metadata"]["namespace"])}
            for reference in (obj["spec"].get("parentRefs") if part == "parents" else [{"name": "main", "namespace": "gateway-envoy"}]) or []
        ]
        named = "parentRef" if part == "parents" else "ancestorRef"
        obj["status"] = {
            part: [
                {
                    named: reference,
                    "controllerName": CONTROLLER,
                    "conditions": [{"observedGeneration": obj["metadata"]["generation"], **item} for item in listed],
                }
                for reference in references
            ],
        }


# --- what the API server does with fields --------------------------------------------------------------------------------


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _content(obj: Object) -> Object:
    """What field managers own of an object."""
    content = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    kept = {key: obj["metadata"][key] for key in ("labels", "annotations") if obj["metadata"].get(key)}
    return {**content, **({"metadata": kept} if kept else {})}


def _leaves(node: Object, path: Path = ()) -> dict[Path, t.Any]:
    """Each field by its path. Lists are leaves: those of the kinds here are atomic."""
    found: dict[Path, t.Any] = {}
    for key, value in node.items():
        if isinstance(value, dict) and value:
            found.update(_leaves(value, (*path, key)))
        else:
            found[(*path, key)] = value
    return found


def _tree(paths: t.Iterable[Path]) -> Object:
    tree: Object = {}
    for path in paths:
        node = tree
        for key in path:
            node = node.setdefault(f"f:{key}", {})
    return tree


def _paths(tree: Object, path: Path = ()) -> set[Path]:
    found: set[Path] = set()
    for key, value in tree.items():
        if key.startswith("f:"):
            found |= _paths(value, (*path, key[2:])) if any(inner != "." for inner in value) else {(*path, key[2:])}
    return found


def _entry(obj: Object, manager: str, operation: str) -> Object:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": obj["apiVersion"],
        "time": _now(),
        "fieldsType": "FieldsV1",
        "fieldsV1": _tree(_leaves(_content(obj))),
    }


def _disown(tree: Object, path: Path) -> None:
    """``path`` and what is below it; parents that own nothing else go too."""
    key = f"f:{path[0]}"
    if key not in tree:
        return
    if len(path) > 1 and tree[key]:
        _disown(tree[key], path[1:])
        if not any(inner != "." for inner in tree[key]):
            del tree[key]
    else:
        del tree[key]


def _get(obj: Object, path: Path) -> t.Any:
    node: t.Any = obj
    for key in path:
        if not isinstance(node, dict) or key not in node:
            return None
        node = node[key]
    return node


def _set(obj: Object, path: Path, value: t.Any) -> None:
    node = obj
    for key in path[:-1]:
        node = node.setdefault(key, {})
    node[path[-1]] = copy.deepcopy(value)


def _unset(obj: Object, path: Path) -> None:
    parent = _get(obj, path[:-1]) if path[:-1] else obj
    if isinstance(parent, dict):
        parent.pop(path[-1], None)
        if not parent and path[:-1]:
            _unset(obj, path[:-1])


def _applied(before: Object, config: Object, manager: str = MANAGER) -> Object:
    """Server-side apply with force."""
    after: Object = copy.deepcopy(before) or {key: config[key] for key in ("apiVersion", "kind")}
    meta = after.setdefault("metadata", {"name": config["metadata"]["name"]})
    if config["metadata"].get("namespace"):
        meta["namespace"] = config["metadata"]["namespace"]
    entries: list[Object] = meta.setdefault("managedFields", [])
    ours = next((entry for entry in entries if (entry["manager"], entry["operation"]) == (manager, "Apply")), None)
    others = [entry for entry in entries if entry is not ours and not entry.get("subresource")]
    wanted = _leaves(_content(config))
    for path in _paths(ours["fieldsV1"]) - set(wanted) if ours else ():
        if not any(path[:length] in _paths(entry["fieldsV1"]) for entry in others for length in range(1, len(path) + 1)):
            _unset(after, path)
    for path, value in wanted.items():
        if _get(after, path) != value:
            for entry in others:
                _disown(entry["fieldsV1"], path)
        _set(after, path, value)
    entry = {**_entry(config, manager, "Apply"), "fieldsV1": _tree(wanted)}
    meta["managedFields"] = [entry, *(other for other in entries if other is not ours and other["fieldsV1"])]
    _fill_defaults(after)
    return after


def _own_difference(before: Object, after: Object, manager: str) -> None:
    """What an update (not an apply) changed becomes its manager's alone."""
    was, now = _leaves(_content(before)), _leaves(_content(after))
    changed = [path for path, value in now.items() if path not in was or was[path] != value]
    for path in [*changed, *(path for path in was if path not in now)]:
        for entry in after["metadata"]["managedFields"]:
            _disown(entry["fieldsV1"], path)
    kept = [entry for entry in after["metadata"]["managedFields"] if entry["fieldsV1"]]
    former = next((entry for entry in kept if (entry["manager"], entry["operation"]) == (manager, "Update") and not entry.get("subresource")), None)
    paths = [*changed, *(_paths(former["fieldsV1"]) if former is not None else ())]
    added = {**_entry(after, manager, "Update"), "fieldsV1": _tree(paths)}
    after["metadata"]["managedFields"] = [*(entry for entry in kept if entry is not former or not changed), *([added] if changed else [])]


def _fill_defaults(obj: Object) -> None:
    """The defaults of the CRDs, as far as our objects meet them."""
    spec = obj.get("spec") or {}
    if obj["kind"] == "HTTPRoute":
        for reference in spec.get("parentRefs") or []:
            reference.setdefault("group", "gateway.networking.k8s.io")
            reference.setdefault("kind", "Gateway")
        for rule in spec.get("rules") or []:
            rule.setdefault("matches", [{"path": {"type": "PathPrefix", "value": "/"}}])
            _fill_backends(rule.get("backendRefs"))
    if obj["kind"] == "SecurityPolicy":
        _fill_backends(((spec.get("extAuth") or {}).get("http") or {}).get("backendRefs"))
    if obj["kind"] == "Secret":
        obj.setdefault("type", "Opaque")
    if obj["kind"] == "Deployment":
        spec.setdefault("replicas", 1)


def _fill_backends(references: list[Object] | None) -> None:
    for reference in references or []:
        reference.setdefault("group", "")
        reference.setdefault("kind", "Service")
        reference.setdefault("weight", 1)


def _without(node: t.Any, key: str) -> t.Any:
    if isinstance(node, dict):
        return {name: _without(value, key) for name, value in node.items() if name != key}
    return [_without(item, key) for item in node] if isinstance(node, list) else node


# --- over HTTP -------------------------------------------------------------------------------------------------------------

_GROUPS: dict[str, list[str]] = {}
for _version in sorted({version for version, _plural in KINDS} - {"v1"}):
    _GROUPS.setdefault(_version.partition("/")[0], []).append(_version)
# What kubernetes.core's client factory asks when it makes a client; the engine itself needs no discovery.
_DISCOVERY: dict[str, Object] = {
    "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.4"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {
                "name": group,
                "versions": [{"groupVersion": version, "version": version.partition("/")[2]} for version in versions],
                "preferredVersion": {"groupVersion": versions[0], "version": versions[0].partition("/")[2]},
            }
            for group, versions in _GROUPS.items()
        ],
    },
}
# The kinds of each version; a subresource is in the list too.
_SERVED: dict[str, Object] = {
    f"/apis/{version}" if "/" in version else "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": version,
        "resources": [
            {"name": plural, "kind": kind, "namespaced": namespaced, "verbs": ["get", "list", "create", "patch", "delete"]}
            for (its, plural), (kind, namespaced) in KINDS.items()
            if its == version
        ]
        + ([{"name": "pods/log", "kind": "Pod", "namespaced": True, "verbs": ["get"]}] if version == "v1" else []),
    }
    for version in sorted({version for version, _plural in KINDS})
}


class Server:
    """Serves whichever ``Api`` is the present one; over TLS where a context is given."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.api = Api()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def _serve(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                content_type = (self.headers.get("Content-Type") or "").partition(";")[0]
                try:
                    status, answer = server.api.answer(self.command, self.path, content_type, raw)
                except Lost:
                    self.close_connection = True
                    return
                except Exception as exc:  # noqa: BLE001 - told to the test
                    server.api.violations.append(f"the double itself failed at {self.command} {self.path}: {exc!r}")
                    status, answer = 500, {"message": "the double itself failed"}
                content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve

            def log_message(self, *_args: t.Any) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._http.server_address[1]}"
        if tls:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def kubeconfig(self, path: pathlib.Path) -> str:
        """Write a kubeconfig that leads here; its path."""
        name = "unit"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": self.url}}],
            "users": [{"name": name, "user": {}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        }
        path.write_text(json.dumps(content), encoding="utf-8")
        return str(path)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
