# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the gateway_auth_* variables of every team, with the file and line each stands in.

The only module here that knows Ansible. What a team's own file says is data: it is checked before anything is templated and
is itself never templated. ``gateway_auth_client_secret.value`` is neither templated nor decrypted nor handed on.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import functools
import os
import re
import typing as t

import jinja2
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.vault import EncryptedString
from ansible.template import is_trusted_as_template

from ansible_collections.platform.gateway_auth.plugins.module_utils import _spec
from ansible_collections.platform.gateway_auth.plugins.module_utils._findings import Finding, Place, shown
from ansible_collections.platform.gateway_auth.plugins.module_utils._validate import TeamInput

try:  # Internal to ansible-core, the only source of line numbers. Without it findings name the variable alone.
    from ansible._internal._datatag._tags import Origin, VaultedValue
except ImportError:
    Origin = VaultedValue = None

PREFIX = _spec.PREFIX
GROUP = "teams"

# Controls that would silently change what a run does if they came from a file.
_NEVER_IN_FILES = ("team", "adopt", "confirm", "rotate")

CLIENT_SECRET = "gateway_auth_client_secret"  # noqa: S105 - the variable's name
_SECRET_SOURCES = ("env", "file", "key_vault", "secret")  # keys of gateway_auth_client_secret that say where, not what

# `#jinja2:` at the very beginning gives a template delimiters of its own, so that it needs none of the others.
_TEMPLATE = re.compile(r"\{\{|\{%|\{#|\A#jinja2:")
_MOST_PARTS = 100_000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CUSTOM_TAGS = re.compile(r"![A-Za-z]")
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(t.Protocol):
    """What is used of Ansible's DataLoader."""

    def load_from_file(self, file_name: str, **options: t.Any) -> t.Any: ...
    def find_vars_files(self, path: str, name: str) -> list[str]: ...


# Template a value in the context of the given variables.
Template = t.Callable[[t.Any, t.Mapping[str, t.Any]], t.Any]


@dataclasses.dataclass(frozen=True)
class TeamFile:
    """A team's own variable files, already judged. ``broken``: Ansible itself can't read this host's variables."""

    paths: tuple[str, ...]
    keys: frozenset[str]
    refused: frozenset[str]
    findings: tuple[Finding, ...]
    broken: bool = False

    @property
    def powerful(self) -> bool:
        """Whether Ansible itself would act on something in it, such as ansible_connection, or fail on it."""
        return self.broken or any(not key.startswith(PREFIX) for key in self.refused)


@dataclasses.dataclass(frozen=True)
class _Read:
    """A variable without a template: its plain value, where its parts stand, and parts that hold what they mustn't."""

    value: t.Any
    places: t.Mapping[str, Place]
    encrypted: tuple[str, ...]


class TeamFiles:
    """The teams' own files, found where Ansible finds them, read as it reads them, and judged before anything is templated."""

    def __init__(self, loader: Loader, folders: collections.abc.Iterable[str]) -> None:
        self._loader = loader
        self._folders = tuple(dict.fromkeys(folder for path in folders if os.path.isdir(folder := os.path.join(path, "host_vars"))))
        self._spec = _spec.load()

    def read(self, host: str) -> TeamFile:
        paths: list[str] = []
        for folder in self._folders:
            paths += [path for path in self._loader.find_vars_files(folder, host) if path not in paths]
        keys: set[str] = set()
        refused: set[str] = set()
        findings: list[Finding] = []
        broken = False
        for path in paths:
            with open(path, "rb") as handle:
                text = handle.read().decode("utf-8", errors="replace")
            data, problem = self._load(host, path)
            if problem is not None:
                broken = True
                findings.append(problem)
            if text.startswith("$ANSIBLE_VAULT"):
                findings.append(_team_file_finding(
                    host, Place(shorten(path), 1), "(file)", "a readable file, since a team's file holds no secret", "a vaulted file",
                    "Decrypt it with ansible-vault decrypt.", "team-file-vault",
                ))  # fmt: skip
                refused.update(plain(key) for key in data or ())
            for key, value in (data or {}).items():
                name = str(plain(key))
                keys.add(name)
                place = _origin(key) or Place(shorten(path))
                if name not in _spec.TEAM_KEYS:
                    refused.add(name)
                    findings.append(self._foreign_key(host, name, place))
                    continue
                if _is_endless(value):
                    refused.add(name)
                    findings.append(_team_file_finding(
                        host, place, name, f"at most {_MOST_PARTS:,} values", "more, or an alias that contains itself", "Write the values out.",
                        "team-file-size",
                    ))  # fmt: skip
                    continue
                for finding in _judge(host, name, value, place):
                    refused.add(name)
                    findings.append(finding)
            for name, line, tag in _custom_tags(text):
                # Strings are judged above; this finds a tag on what can't carry one, an empty or a numeric value.
                if not any(finding.line == line and finding.file == shorten(path) for finding in findings):
                    refused.add(name)
                    findings.append(_team_file_finding(
                        host, Place(shorten(path), line), name, "plain data", f"the YAML tag {tag}", f"Remove {tag}.",
                        "team-file-vault" if tag.startswith("!vault") else "team-file-unsafe",
                    ))  # fmt: skip
        return TeamFile(tuple(paths), frozenset(keys), frozenset(refused), tuple(findings), broken)

    def _load(self, host: str, path: str) -> tuple[t.Any, Finding | None]:
        """What the file holds, or what is wrong with it as a whole."""
        expected, remedy = f"a YAML mapping of {', '.join(_spec.TEAM_KEYS)}", "Mend the file."
        try:
            data = self._loader.load_from_file(path, cache="all", unsafe=True, trusted_as_template=True)
        except (AnsibleError, RecursionError) as exc:
            place = _origin(getattr(exc, "obj", None)) or Place(shorten(path))
            found = str(exc).strip().partition("\n")[0] or type(exc).__name__
            return None, _team_file_finding(host, place, "(file)", expected, found, remedy, "team-file-syntax")
        if data is None or isinstance(data, collections.abc.Mapping):
            return data, None
        kind = "a list" if isinstance(data, (list, tuple)) else f"the text {shown(str(plain(data)))}"
        return None, _team_file_finding(host, Place(shorten(path), 1), "(file)", expected, kind, remedy, "team-file-syntax")

    def _foreign_key(self, host: str, name: str, place: Place) -> Finding:
        if name in self._spec:
            found, remedy = f"{name}, which is the platform's", f"Move {name} to group_vars/{GROUP}.yml or to the host's entry in the inventory."
        else:
            near = _spec.nearest(name, _spec.TEAM_KEYS) if name.startswith(PREFIX) else ""
            found, remedy = f"the variable {name}", f"Did you mean {near}?" if near else f"Remove {name}."
        return _team_file_finding(host, place, name, f"only {', '.join(_spec.TEAM_KEYS)} in a team's file", found, remedy, "team-file-key")


class _Rendered:
    """Values of templates by what goes into them, since a render costs a millisecond and most don't depend on the host.

    Only templates whose every input is seen are kept: names of variables, and lookups of files and of the environment.
    """

    _ENVIRONMENT = jinja2.Environment(autoescape=False)  # noqa: S701 - parses names, renders nothing
    _OPAQUE = frozenset({"vars", "hostvars", "query", "q", "now", "undef", CLIENT_SECRET})
    _LOOKUPS = frozenset({"file", "env", "ansible.builtin.file", "ansible.builtin.env"})
    _RANDOM = re.compile(r"random|shuffle")

    def __init__(self) -> None:
        self._names: dict[int, tuple[t.Any, frozenset[str] | None]] = {}
        self._reads: dict[tuple[t.Any, ...], tuple[t.Any, _Read]] = {}

    def get(self, name: str, value: t.Any, context: t.Mapping[str, t.Any]) -> _Read | None:
        key = self._key(name, value, context)
        found = self._reads.get(key) if key is not None else None
        return found[1] if found else None

    def put(self, name: str, value: t.Any, context: t.Mapping[str, t.Any], read: _Read) -> None:
        key = self._key(name, value, context)
        if key is not None:
            # What is compared by identity is kept alive, or its id could come to stand for something else.
            held = [context.get(part) for part in self._inputs(value, context) or ()]
            self._reads[key] = (held, read)

    def _key(self, name: str, value: t.Any, context: t.Mapping[str, t.Any]) -> tuple[t.Any, ...] | None:
        inputs = self._inputs(value, context)
        if inputs is None:
            return None
        scalars = (str, int, float, type(None))
        parts = ((item, "=", context[item]) if isinstance(context.get(item), scalars) else (item, "is", id(context.get(item))) for item in sorted(inputs))
        return (name, id(value), *parts)

    def _inputs(self, value: t.Any, context: t.Mapping[str, t.Any]) -> set[str] | None:
        """Names of all variables that go into ``value``, by way of others too; None if that can't be told."""
        found: set[str] = set()
        todo = [value]
        while todo:
            names = self._direct(todo.pop())
            if names is None:
                return None
            for item in names - found:
                if item in context:
                    found.add(item)
                    if _has_template(context[item]):
                        todo.append(context[item])
        return found

    def _direct(self, value: t.Any) -> frozenset[str] | None:
        if id(value) not in self._names:
            names: set[str] | None = set()
            for text in _strings(value):
                more = self._parse(text)
                names = None if more is None or names is None else names | more
            self._names[id(value)] = (value, None if names is None else frozenset(names))
        return self._names[id(value)][1]

    def _parse(self, text: str) -> set[str] | None:
        if self._RANDOM.search(text):
            return None
        try:
            tree = self._ENVIRONMENT.parse(str.__str__(text))
        except jinja2.TemplateError:
            return None
        names = {node.name for node in tree.find_all(jinja2.nodes.Name)}
        calls = [node for node in tree.find_all(jinja2.nodes.Call) if isinstance(node.node, jinja2.nodes.Name) and node.node.name == "lookup"]
        plugins = [node.args[0].value for node in calls if node.args and isinstance(node.args[0], jinja2.nodes.Const)]
        if names & self._OPAQUE or len(plugins) != len(calls) or not set(plugins) <= self._LOOKUPS:
            return None
        return names


class InventoryReader:
    """Reads teams. ``raw_vars`` gives a host's variables untemplated (``hostvars.raw_get``)."""

    def __init__(
        self,
        *,
        raw_vars: t.Callable[[str], t.Mapping[str, t.Any]],
        loader: Loader,
        template: Template,
        folders: collections.abc.Iterable[str],
        extra_vars: t.Mapping[str, t.Any],
        context: t.Mapping[str, t.Any] | None = None,
    ) -> None:
        self._raw_vars = raw_vars
        self._team_files = TeamFiles(loader, folders)
        self._template = template
        self._extra_vars = extra_vars
        self._context = dict(context or {})
        self._spec = _spec.load()
        self._defaults = {name: option.default for name, option in self._spec.items() if option.default is not None}
        # Variables of a group file are the same objects for each host: read them once. The value keeps its id from being reused.
        self._static: dict[tuple[str, int], tuple[t.Any, _Read | None]] = {}
        self._rendered = _Rendered()
        self._scrubbed: dict[int, tuple[t.Any, t.Any]] = {}

    def read(self, hosts: collections.abc.Iterable[str]) -> list[TeamInput]:
        return [self._read_team(host) for host in hosts]

    # --- one team -----------------------------------------------------------------------------------------------------

    def _read_team(self, host: str) -> TeamInput:
        team_file = self._team_files.read(host)
        findings = list(team_file.findings)
        if team_file.broken:
            return TeamInput(name=host, values={}, unread=frozenset(self._spec), findings=tuple(findings))
        raw = self._raw_vars(host)
        values: dict[str, t.Any] = {}
        places: dict[str, t.Mapping[str, Place]] = {}
        unread: set[str] = set()
        context: dict[str, t.Any] | None = None
        team_paths = frozenset(team_file.paths)
        for key in raw:
            if key in _NEVER_IN_FILES and key not in self._extra_vars:
                findings.append(self._control_in_file(host, key, raw[key]))
            if not isinstance(key, str) or not key.startswith(PREFIX):
                continue
            name, value = plain(key), raw[key]
            from_team = name in team_file.keys and name not in self._extra_vars
            if name not in self._spec:
                if name not in team_file.refused and name not in self._extra_vars:  # those are told once for the run
                    # Only the name: whatever an unknown variable holds could be a secret.
                    values[name] = _spec.WITHHELD
                    places[name] = {name: _key_place(key, value)}
                continue
            if from_team and name in team_file.refused:
                unread.add(name)
                places[name] = {name: _key_place(key, value)}
                continue
            if name == CLIENT_SECRET:
                value = self._scrubbed.setdefault(id(value), (value, _without_secret(value)))[1]
            read = self._read_static(name, key, value, may_template=not from_team)
            if read is None:
                if context is None:
                    context = self._template_context(raw, team_file)
                read = self._rendered.get(name, value, context)
            if read is None and context is not None:
                places[name] = dict(_places(name, key, value))
                try:
                    rendered = self._template(value, context)
                except AnsibleError as exc:
                    findings.append(_template_failed(host, name, places[name][name], exc))
                    unread.add(name)
                    continue
                read = _Read(plain(rendered), places[name], tuple(_encrypted(rendered, name)))
                self._rendered.put(name, value, context, read)
            if read is None:
                continue
            values[name] = read.value
            places[name] = read.places
            findings += [self._secret_outside(host, path, read.places) for path in read.encrypted]
        return TeamInput(
            name=host,
            values=values,
            places=places,
            unread=frozenset(unread),
            findings=tuple(findings),
            own_file=next((shorten(path) for path in team_paths), ""),
        )

    def _read_static(self, name: str, key: str, value: t.Any, may_template: bool) -> _Read | None:
        """The variable as it stands; None if it has to be templated."""
        cache_key = (name, id(value))
        if cache_key in self._static:
            return self._static[cache_key][1]
        read: _Read | None = None
        if not (may_template and _has_template(value)):
            places = dict(_places(name, key, value))
            read = _Read(plain(value), places, tuple(_encrypted(value, name)))
        self._static[cache_key] = (value, read)
        return read

    def _template_context(self, raw: t.Mapping[str, t.Any], team_file: TeamFile) -> dict[str, t.Any]:
        """Variables for templates of the platform: without secrets, and without what a team's file had no right to set."""
        allowed = {key: value for key, value in raw.items() if key not in team_file.refused}
        context = {**self._defaults, **allowed, **self._context}
        if CLIENT_SECRET in context:
            context[CLIENT_SECRET] = {key: item for key, item in _mapping(raw.get(CLIENT_SECRET)).items() if key in _SECRET_SOURCES}
        return context

    def _control_in_file(self, host: str, key: str, value: t.Any) -> Finding:
        place = _key_place(key, value)
        return Finding(
            host, place.file, place.line, key, f"'{key}' on the command line only", "it among the inventory's variables",
            f"Remove it and give it when it is meant: -e {key}=…", "control-in-file",
        )  # fmt: skip

    def _secret_outside(self, host: str, path: str, places: t.Mapping[str, Place]) -> Finding:
        place = find_place(places, path)
        return Finding(
            host, place.file, place.line, path, "no secret here, since this value is shown and stored", "a vaulted value",
            f"Write it in clear; the only secret of the inventory is {CLIENT_SECRET}.value.", "secret-outside",
        )  # fmt: skip


def source_folders(sources: collections.abc.Iterable[str], playbook_dir: str) -> list[str]:
    """The folders next to which Ansible looks for host_vars: each inventory source's, and the playbook's."""
    folders = []
    for source in sources:
        path = str(source)
        if "," in path and not os.path.exists(path):
            continue  # a list of hosts
        # Beside a link, not beside the file it leads to: that is where Ansible looks.
        folders.append(os.path.realpath(path if os.path.isdir(path) else os.path.dirname(path)))
    return [*folders, os.path.realpath(playbook_dir)]


def check_extra_vars(extra_vars: t.Mapping[str, t.Any]) -> list[Finding]:
    """What may not be given with -e, and what looks like a control but isn't one."""
    findings = []
    known = _spec.load()
    for key, value in extra_vars.items():
        name = plain(key)
        if name == CLIENT_SECRET and (not isinstance(value, collections.abc.Mapping) or any(str(part) not in _SECRET_SOURCES for part in value)):
            findings.append(Finding(
                "", "-e", 0, name, "no secret on the command line, where every process can read it", "a secret given with -e",
                f"Set {CLIENT_SECRET} in the inventory: env, file, secret, or a vaulted value.", "secret-extra-var",
            ))  # fmt: skip
        elif name.startswith(PREFIX):
            if name not in known:
                findings.append(Finding("", "-e", 0, name, "a known variable", f"unknown {name}", _spec.did_you_mean_variable(name), "unknown-variable"))
        elif name not in _spec.CONTROLS and (near := _spec.nearest(name, _spec.CONTROLS, cutoff=0.8)):
            findings.append(Finding("", "-e", 0, name, "a known control", f"unknown {name}", f"Did you mean -e {near}=…?", "unknown-control"))
    return findings


# --- values ---------------------------------------------------------------------------------------------------------------


def plain(value: t.Any) -> t.Any:
    """The value as plain Python data, without Ansible's tags; a vaulted one as WITHHELD, and a date as a string."""
    kind = type(value)
    if kind is str or kind is bool or value is None or kind is int or kind is float or isinstance(value, _spec.Withheld):
        return value
    if _is_vaulted(value):
        return _spec.WITHHELD
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, collections.abc.Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, int):
        return int.__add__(value, 0)
    if isinstance(value, float):
        return float.__add__(value, 0.0)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return str(value)


def find_place(places: t.Mapping[str, Place], path: str) -> Place:
    """The place of ``path``, or of what it is part of."""
    while path:
        if path in places:
            return places[path]
        cut = max(path.rfind("."), path.rfind("["))
        if cut < 0:
            break
        path = path[:cut]
    return Place()


def _places(path: str, key: t.Any, value: t.Any) -> collections.abc.Iterator[tuple[str, Place]]:
    """Where ``value`` and each of its parts stand. Booleans and nulls carry no origin, so a mapping's keys are asked first."""
    place = _key_place(key, value)
    yield path, place
    if isinstance(value, EncryptedString):
        return
    if isinstance(value, collections.abc.Mapping):
        for name, item in value.items():
            for inner, found in _places(f"{path}.{plain(name)}", name, item):
                yield inner, found if found.file else place
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            for inner, found in _places(f"{path}[{index}]", item, item):
                yield inner, found if found.file else place


def _key_place(key: t.Any, value: t.Any) -> Place:
    """Where a variable stands: at its key. Where a host overrides its group Ansible keeps the group's key, and the value is the host's."""
    at_key, at_value = _origin(key), _origin(value)
    if at_value is None and isinstance(value, collections.abc.Mapping):
        at_value = next((found for name in value if (found := _origin(name))), None)
    if at_key and at_value and at_key.file != at_value.file:
        return at_value
    return at_key or at_value or Place()


def _origin(value: t.Any) -> Place | None:
    if Origin is None:
        return None
    tag = Origin.get_tag(value)
    if tag is None:
        return None
    if tag.path:
        return Place(shorten(str(tag.path)), int(tag.line_num or 0))
    return Place("-e", 0) if "-e" in str(tag.description) or "extra" in str(tag.description).lower() else None


@functools.lru_cache(maxsize=4096)
def _shorten(path: str, folder: str) -> str:
    relative = os.path.relpath(path, folder)
    return path if relative.startswith(os.pardir) else relative


def shorten(path: str) -> str:
    """The path as people type it: relative to the current folder when it is below it."""
    return _shorten(path, os.getcwd())


def _mapping(value: t.Any) -> t.Mapping[str, t.Any]:
    return value if isinstance(value, collections.abc.Mapping) else {}


def _without_secret(value: t.Any) -> t.Any:
    """gateway_auth_client_secret with only the keys that say where a secret is; other values (a typo included) aren't looked at."""
    if not isinstance(value, collections.abc.Mapping):
        return None if value is None else _spec.WITHHELD
    return {key: item if key in _SECRET_SOURCES else _spec.WITHHELD for key, item in value.items()}


def _has_template(value: t.Any) -> bool:
    if isinstance(value, EncryptedString):
        return False
    if isinstance(value, str):
        return bool(_TEMPLATE.search(value)) and is_trusted_as_template(value)
    if isinstance(value, collections.abc.Mapping):
        return any(_has_template(key) or _has_template(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return any(_has_template(item) for item in value)
    return False


def _is_vaulted(value: t.Any) -> bool:
    """Whether it is encrypted, or a template has decrypted it."""
    return isinstance(value, EncryptedString) or (VaultedValue is not None and isinstance(value, str) and VaultedValue.is_tagged_on(value))


def _strings(value: t.Any) -> collections.abc.Iterator[str]:
    """Every string with a template in ``value``, keys included."""
    if isinstance(value, EncryptedString):
        return
    if isinstance(value, str):
        if _has_template(value):
            yield value
    elif isinstance(value, collections.abc.Mapping):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _encrypted(value: t.Any, path: str) -> collections.abc.Iterator[str]:
    """Paths of vaulted values, also of those that a template has decrypted."""
    if _is_vaulted(value):
        yield path
    elif isinstance(value, collections.abc.Mapping):
        for key, item in value.items():
            yield from _encrypted(item, f"{path}.{plain(key)}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _encrypted(item, f"{path}[{index}]")


# --- judging a team's file ------------------------------------------------------------------------------------------------


def _is_endless(value: t.Any) -> bool:
    """Whether aliases make more of a value than anybody wrote; they cost a team nothing and whoever walks them everything."""
    todo, count = [value], 0
    while todo and count <= _MOST_PARTS:
        item = todo.pop()
        count += 1
        if isinstance(item, collections.abc.Mapping):
            todo += item.values()
        elif isinstance(item, (list, tuple)):
            todo += item
    return count > _MOST_PARTS


def _judge(host: str, path: str, value: t.Any, place: Place) -> collections.abc.Iterator[Finding]:
    """What is not plain data in a value of a team's file."""
    place = _origin(value) or place
    if isinstance(value, EncryptedString):
        yield _team_file_finding(
            host, place, path, "plain data, since a team's file holds no secret", "a vaulted value",
            "Remove it; secrets are the platform's.", "team-file-vault",
        )  # fmt: skip
    elif isinstance(value, str):
        if _TEMPLATE.search(value):
            yield _team_file_finding(
                host, place, path, "plain text, since a team's file is data", f"the template {shown(plain(value))}",
                "Write the value itself, without {{, {%, {# or #jinja2:.", "team-file-template",
            )  # fmt: skip
        elif not is_trusted_as_template(value):
            yield _team_file_finding(host, place, path, "plain data", "the YAML tag !unsafe", "Remove !unsafe.", "team-file-unsafe")
        elif _CONTROL.search(value) or ("\n" in value and path != "gateway_auth_notes"):
            # They would move the cursor, or write lines of their own, in the output of a run.
            yield _team_file_finding(
                host, place, path, "printable text on one line", f"control characters in {shown(plain(value))}", "Remove them.", "team-file-control",
            )  # fmt: skip
    elif isinstance(value, collections.abc.Mapping):
        for key, item in value.items():
            if isinstance(key, str) and _TEMPLATE.search(key):
                yield from _judge(host, f"{path}.{plain(key)}", key, place)
            yield from _judge(host, f"{path}.{plain(key)}", item, _origin(key) or place)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _judge(host, f"{path}[{index}]", item, place)


def _custom_tags(text: str) -> collections.abc.Iterator[tuple[str, int, str]]:
    """(top-level key, line, tag) of every local YAML tag."""
    if not _CUSTOM_TAGS.search(text):
        return  # scanning is slow, and most files have none
    top = ""
    is_key = False
    try:
        for token in yaml.scan(text, Loader=_SAFE_LOADER):
            if isinstance(token, yaml.KeyToken):
                is_key = token.start_mark.column == 0
            elif is_key and isinstance(token, yaml.ScalarToken):
                top, is_key = str(token.value), False
            elif isinstance(token, yaml.TagToken) and token.value[0] == "!":
                yield top, token.start_mark.line + 1, f"!{token.value[1]}"
    except yaml.YAMLError:
        return  # Ansible has read the file, so it is JSON or vaulted


def _team_file_finding(host: str, place: Place, path: str, expected: str, found: str, remedy: str, rule: str) -> Finding:
    return Finding(host, place.file, place.line, path, expected, found, remedy, rule)


def _template_failed(host: str, name: str, place: Place, exc: AnsibleError) -> Finding:
    reason = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
    return Finding(
        host, place.file, place.line, name, "a template that can be rendered", reason,
        f"Change {name}. A template can't use {CLIENT_SECRET}.value.", "template",
    )  # fmt: skip
