# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of ``gateway_auth_helm_values`` would undo a guarantee, and why (pure).

Judged by effect: what the proxy and its pod end up with when the chart has rendered our values and the user's, compared with what
they end up with when it has rendered ours alone. What says the same as ours is no offence; what can't be judged is refused.
``_proxy_flags`` and ``_chart_keys`` are the tables of everything that can be said.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import posixpath
import re
import typing as t
import urllib.parse

from ansible_collections.platform.gateway_auth.plugins.module_utils import _chart_keys as chart
from ansible_collections.platform.gateway_auth.plugins.module_utils import _proxy_flags as proxy
from ansible_collections.platform.gateway_auth.plugins.module_utils._findings import shown
from ansible_collections.platform.gateway_auth.plugins.module_utils._model import Team
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import release_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._spec import nearest

Values = t.Mapping[str, t.Any]
# Every flag as the proxy has it; None: it can't be told.
Settings = t.Mapping[str, "proxy.Value | None"]
PROXY_FLOOR = (7, 15, 3)  # the advisories of earlier ones are open doors (docs/departures.md)

_WITHHELD = "a value that is not shown"
_LABELS = "what is ours is recognised, and selected, by its labels"
_RIGHTS = "the proxy's container has no more rights than the chart gives it"
_FILES = "the proxy's program, its configuration and its token are the ones of the release"
_UNREAD = "what Helm would make of it can be judged"

_SECRET_KEYS = frozenset({"config.clientSecret", "config.cookieSecret", "sessionStorage.redis.password", "sessionStorage.redis.sentinel.password"})
_SECRET_NAME = re.compile(r"(password|passwd|secret|token)$", re.IGNORECASE)
_NOT_SECRET = re.compile(r"^(existing|pull|image|automount)|(name|key|keys)$", re.IGNORECASE)
_SECRET_FLAGS = frozenset(flag.name for flag in proxy.FLAGS.values() if flag.secret)

# What the chart writes into its templates' text as it is must stay within its line, and be one text to a reader of YAML.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_PLAIN = re.compile(r": | #|:\Z|\s\Z|[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ESCAPED = "{{`{{`}}"  # two braces that Helm prints and doesn't run; what _proxy_values.literal makes of them

_RESERVED_LABEL = re.compile(r"app|(app\.kubernetes\.io|gateway-auth|helm\.sh)/.*|pod-template-hash")
_RESERVED_ANNOTATION = re.compile(r"(gateway-auth|meta\.helm\.sh)/.*")
_NAMES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("customLabels", _RESERVED_LABEL),
    ("deploymentLabels", _RESERVED_LABEL),
    ("podLabels", _RESERVED_LABEL),
    ("gatewayApi.labels", _RESERVED_LABEL),
    ("deploymentAnnotations", _RESERVED_ANNOTATION),
    ("podAnnotations", _RESERVED_ANNOTATION),
    ("gatewayApi.annotations", _RESERVED_ANNOTATION),
    ("service.annotations", _RESERVED_ANNOTATION),
    ("serviceAccount.annotations", _RESERVED_ANNOTATION),
)
_RESERVED_FOLDERS = ("/bin", "/etc/oauth2_proxy", "/etc/oauth2-proxy", "/var/run/secrets/gateway-auth")
_RESERVED_VOLUMES = frozenset({"configmain", "configalpha", "configaccesslist", "google-secret"})
# Go's own switches: some of them bring back what was taken out of TLS for a reason.
_GO_SWITCH = "GODEBUG"

# The chart's security context; a key of it may be set to this, or to what ``_HARMLESS_RIGHTS`` lets pass.
_CONTAINER_RIGHTS: dict[str, t.Any] = {
    "enabled": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
}
_POD_RIGHTS: dict[str, t.Any] = {"runAsNonRoot": True}
_HARMLESS_RIGHTS: dict[str, t.Callable[[t.Any], bool]] = {
    "runAsUser": lambda value: isinstance(value, int) and value > 0,
    "runAsGroup": lambda value: isinstance(value, int) and value > 0,
    "seccompProfile": lambda value: isinstance(value, collections.abc.Mapping) and value.get("type") in ("RuntimeDefault", "Localhost"),
    "appArmorProfile": lambda value: isinstance(value, collections.abc.Mapping) and value.get("type") in ("RuntimeDefault", "Localhost"),
    "seLinuxOptions": lambda _value: True,
}
_HARMLESS_POD_RIGHTS = {
    **_HARMLESS_RIGHTS,
    **dict.fromkeys(("fsGroup", "fsGroupChangePolicy", "supplementalGroups", "supplementalGroupsPolicy", "sysctls"), lambda _value: True),
}
_TAG = re.compile(r"v(\d+)\.(\d+)\.(\d+)(-[a-z0-9.]+)?(@sha256:[0-9a-f]{64})?")


@dataclasses.dataclass(frozen=True)
class Doubt:
    """One thing below helm_values, and what is wrong with it. A secret can't be waived, everything else can."""

    path: str
    expected: str
    found: str
    waivable: bool = True
    hint: str = ""

    @property
    def option(self) -> str:
        """What a waiver names."""
        return f"helm_values.{self.path}"

    @property
    def waivers(self) -> frozenset[str]:
        """The forms in which a waiver may name it. A flag is known by its own name; ``enabled`` alone could be anything."""
        short = {self.path.split(".", 1)[1]} if self.path.startswith(("extraArgs.", "extraEnv.")) else set()
        return frozenset({self.option, *short})


def judge(user: Values, ours: Values, merged: Values, own_hosts: collections.abc.Set[str]) -> list[Doubt]:
    """Everything in ``user`` that would undo a guarantee.

    ``ours`` is what the release gets without it, ``merged`` what it gets with it. ``own_hosts`` may be in whitelist-domain.
    """
    if not user:
        return []
    expected, _none = effective(ours)
    doubts = [
        *_unknown_keys(user, ""),
        *_guarded_keys(user, ours, merged),
        *_texts(user, ""),
        *_flags(user, ours, merged, expected, own_hosts),
        *_environment(user, expected, own_hosts),
        *_items_of_ours(ours, merged),
        *_names(user, ours, merged),
        *_pod(user, ours, merged),
        *_secrets(user, ""),
    ]
    # One key may offend twice; that it is a secret is the graver, else what was found first.
    unique: dict[str, Doubt] = {}
    for doubt in sorted(doubts, key=lambda doubt: doubt.waivable):
        unique.setdefault(doubt.path, doubt)
    return list(unique.values())


def judge_team(team: Team) -> list[Doubt]:
    """Everything in a team's Helm values that would undo a guarantee, waived or not."""
    if not team.helm_values:
        return []
    # The id of a group that is only named may not be known yet; no flag of the user's may name it anyway.
    known = team.resolved(team.client_id, {name: f"({name})" for name in team.named_groups})
    own_hosts = set(team.hosts)
    return judge(team.helm_values, release_values(dataclasses.replace(known, helm_values={})), release_values(known), own_hosts)


def waiver_key(option: str) -> str:
    """The form in which a waiver's option is compared."""
    return option.strip().removeprefix("gateway_auth_")


# --- keys of the chart ------------------------------------------------------------------------------------------------


def _unknown_keys(user: Values, prefix: str) -> collections.abc.Iterator[Doubt]:
    for name, value in user.items():
        path = f"{prefix}{name}"
        if path in chart.GROUPED and path not in chart.KEYS:
            if isinstance(value, collections.abc.Mapping):
                yield from _unknown_keys(value, f"{path}.")
            elif value is not None:
                yield Doubt(path, "a mapping", shown(value))
        elif path not in chart.KEYS:
            near = nearest(path, chart.nearest_keys(path))
            expected = "a key that the chart reads, for it drops any other without a word"
            yield Doubt(path, expected, path or "an empty one", hint=f"Did you mean {near}?" if near else "")


def _guarded_keys(user: Values, ours: Values, merged: Values) -> collections.abc.Iterator[Doubt]:
    for path, key in chart.GUARDED.items():
        said = _said(user, path)
        if said and chart.outcome(merged, path) != chart.outcome(ours, path):
            value = chart.get(user, said)
            found = "null, which takes the chart's and our own away" if value is None else shown(value) if _is_showable(value) else "a value of its own"
            yield Doubt(said, f"that {key.guard}", found)


def _said(user: Values, path: str) -> str:
    """The longest part of ``path`` that the user wrote; empty if they wrote nothing of it."""
    found: t.Any = user
    said = ""
    for name in path.split("."):
        if not isinstance(found, collections.abc.Mapping) or name not in found:
            # A mapping on the way says nothing of what isn't in it; null or a text does.
            return "" if isinstance(found, collections.abc.Mapping) else said
        found = found[name]
        said = f"{said}.{name}" if said else name
    return said


def _is_showable(value: t.Any) -> bool:
    return isinstance(value, (bool, int, float)) or (isinstance(value, str) and not _CONTROL.search(value) and not _has_password(value))


def _texts(value: t.Any, path: str, key: chart.Key | None = None, top: str = "") -> collections.abc.Iterator[Doubt]:
    """Texts that would break out of the line the chart writes them in, and templates that Helm would run."""
    key, top = chart.KEYS.get(path, key), path if path in chart.KEYS else top
    if key is not None and key.guard:
        return  # it is compared with ours as a whole
    if isinstance(value, collections.abc.Mapping):
        for name, item in value.items():
            if key is not None and path != "extraArgs":  # flags are read one by one, by name and by value
                yield from _text(str(name), path, key)
            yield from _texts(item, f"{path}.{name}" if path else str(name), key, top)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            # The chart hands a list of flags through as YAML, and runs nothing in it.
            yield from _texts(item, f"{path}[{index}]", chart.Key(structured=True) if path == "extraArgs" else key, top)
    elif isinstance(value, str) and key is not None and top != "extraArgs":
        yield from _text(value, path, key)
    elif isinstance(value, str) and top == "extraArgs" and key is not None and key.templated and _runs(value):
        yield _template(f"extraArgs.{_flag_name(path.removeprefix('extraArgs.'))}")


def _text(text: str, path: str, key: chart.Key) -> collections.abc.Iterator[Doubt]:
    if not key.structured and _CONTROL.search(text):
        yield Doubt(path, "a text on one line, for the chart writes it into its templates as it is", "control characters")
    if key.templated and _runs(text):
        yield _template(path)


def _template(path: str) -> Doubt:
    return Doubt(path, f"that {_UNREAD}", "a template, which the chart runs", hint=f"Write two braces that are meant as they are as {_ESCAPED}.")


def _runs(text: str) -> bool:
    return "{{" in text.replace(_ESCAPED, "")


def _plain(text: str) -> str:
    """What Helm prints of a text without a template."""
    return text.replace(_ESCAPED, "{{")


# --- flags ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument of the proxy, as the chart writes it, and where it was said (empty: by the chart)."""

    text: str
    path: str = ""


@dataclasses.dataclass(frozen=True)
class Trouble:
    """An argument that the proxy reads otherwise than it looks, or not at all."""

    argument: Argument
    expected: str
    found: str
    hint: str = ""


def arguments(values: Values) -> list[Argument]:
    """The proxy's arguments in the chart's order."""
    found = [Argument("--http-address=0.0.0.0:4180"), Argument("--https-address=0.0.0.0:4443")]
    if chart.get(values, "metrics.enabled") is chart.ABSENT or chart.get(values, "metrics.enabled"):
        found.append(Argument("--metrics-address=0.0.0.0:44180"))
    name = chart.get(values, "config.cookieName")
    if name and name is not chart.ABSENT:
        found.append(Argument(f"--cookie-name={_plain(str(name))}"))
    given = values.get("extraArgs")
    if isinstance(given, collections.abc.Mapping):
        for flag, value in sorted((str(flag), value) for flag, value in given.items()):
            text = f"--{flag}" if value is None else f"--{flag}={_plain(_go_text(value))}"
            found.append(Argument(text, f"extraArgs.{_flag_name(flag)}"))
    elif isinstance(given, (list, tuple)):
        found += [Argument(_go_text(text), f"extraArgs[{index}]") for index, text in enumerate(given)]
    found.append(Argument("--config=/etc/oauth2_proxy/oauth2_proxy.cfg"))
    return found


def _flag_name(written: str) -> str:
    """A key of extraArgs for a message: without what stands behind "=", which could be a secret."""
    return _CONTROL.sub("?", written.partition("=")[0])


def _go_text(value: t.Any) -> str:
    """A value as Helm's toString prints it. Keys of a mapping are texts there, whatever YAML took them for."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(_go_text(item) for item in value)}]"
    if isinstance(value, collections.abc.Mapping):
        return f"map[{' '.join(f'{name}:{_go_text(item)}' for name, item in sorted(value.items(), key=lambda pair: str(pair[0])))}]"
    return str(value)


def read_arguments(given: collections.abc.Sequence[Argument]) -> tuple[dict[str, list[str]], list[Trouble]]:
    """Values by flag, in their order, as the program's flag library (pflag) reads them; and what it trips over."""
    values: dict[str, list[str]] = {}
    troubles: list[Trouble] = []
    todo = list(given)
    while todo:
        argument = todo.pop(0)
        name, equals, value = argument.text[2:].partition("=")
        if argument.text == "--":
            troubles.append(Trouble(argument, "a flag's name", "nothing, with which every flag behind it would be dropped"))
            break
        if not argument.text.startswith("--") or name not in proxy.FLAGS:
            near = nearest(_normal(name if argument.text.startswith("--") else argument.text), proxy.FLAGS)
            troubles.append(Trouble(argument, "a flag of oauth2-proxy 7.15.3", f"--{_flag_name(name)}", f"Did you mean {near}?" if near else ""))
            continue
        if not equals and proxy.FLAGS[name].kind == proxy.BOOL:
            value = "true"
        elif not equals:
            troubles.append(Trouble(argument, f"a value of --{name}, which without one takes the flag behind it for its value", "none"))
            if not todo:
                break
            value = todo.pop(0).text
        values.setdefault(name, []).append(value)
    return values, troubles


def _normal(written: str) -> str:
    """The name that somebody meant who wrote it otherwise."""
    return written.partition("=")[0].lstrip("-").replace("_", "-").lower()


def effective(values: Values) -> tuple[dict[str, proxy.Value | None], list[Trouble]]:
    """Every flag as the proxy has it in the end: flags, then environment, then file, then default. None: it can't be told."""
    said, troubles = read_arguments(arguments(values))
    environment = _chart_environment(values)
    unreadable: set[str] = set()
    for name, text in _variables(values):
        flag = proxy.VARIABLES.get(name)
        if flag is None or text == "":
            continue  # an empty variable counts as none
        unreadable.discard(flag.name)
        environment.pop(flag.name, None)
        if text is None:
            unreadable.add(flag.name)
        else:
            environment[flag.name] = [text]
    file = {"email-domain": chart.get(values, "config.emailDomains"), "upstream": chart.get(values, "config.upstreams")}
    found: dict[str, proxy.Value | None] = {}
    for name, flag in proxy.FLAGS.items():
        if name not in said and name in unreadable:
            found[name] = None
        elif name not in said and name not in environment and isinstance(file.get(name), (list, tuple)):
            found[name] = tuple(str(item) for item in file[name])
        else:
            found[name] = _parsed(flag, said.get(name) or environment.get(name) or [])
    return found, troubles


def _parsed(flag: proxy.Flag, texts: collections.abc.Sequence[str]) -> proxy.Value | None:
    try:
        return proxy.parse(flag, texts)
    except ValueError:
        return None


def _chart_environment(values: Values) -> dict[str, list[str]]:
    """What the chart itself says by environment variables, secrets aside."""
    if chart.get(values, "sessionStorage.type") != "redis":
        return {}
    found = {"session-store-type": ["redis"]}
    url = chart.get(values, "sessionStorage.redis.standalone.connectionUrl")
    if isinstance(url, str) and url:
        found["redis-connection-url"] = [url]
    return found


def _variables(values: Values) -> collections.abc.Iterator[tuple[str, str | None]]:
    """Name and value of each variable of extraEnv; None for a value that comes from somewhere else."""
    given = values.get("extraEnv")
    for entry in given if isinstance(given, (list, tuple)) else ():
        if isinstance(entry, collections.abc.Mapping):
            value = entry.get("value")
            yield str(entry.get("name", "")), None if entry.get("valueFrom") is not None else "" if value is None else _plain(_go_text(value))


def _flags(user: Values, ours: Values, merged: Values, expected: Settings, own_hosts: collections.abc.Set[str]) -> collections.abc.Iterator[Doubt]:
    if "extraArgs" not in user:
        return
    given = user["extraArgs"]
    found, troubles = effective(merged)
    reported: set[str] = set()
    for argument in arguments({"extraArgs": given}):
        if not argument.path:
            continue
        name, equals, value = argument.text.removeprefix("--").partition("=")
        meant = _normal(argument.text)
        if meant in _SECRET_FLAGS:
            yield Doubt(argument.path, "no secret among Helm values, which are readable in the cluster", _WITHHELD, waivable=False)
        elif argument.path.startswith("extraArgs.") and _NOT_PLAIN.search(argument.text):
            yield Doubt(argument.path, "a text that stays one in YAML, for the chart writes it there without quotes", 'one with a line end, ": " or " #"')
        elif name in proxy.FLAGS:
            reported.add(name)
            bare = [value] if equals else ["true"] if proxy.FLAGS[name].kind == proxy.BOOL else []
            yield from _flag(argument.path, proxy.FLAGS[name], bare, expected[name], own_hosts)
    changed = [name for name, flag in proxy.FLAGS.items() if flag.guard and not _agrees(name, found[name], expected[name], own_hosts)]
    if not isinstance(given, collections.abc.Mapping) and changed:
        words = "null" if given is None else "a list" if isinstance(given, (list, tuple)) else shown(given)
        yield Doubt("extraArgs", f"a mapping of flags, for anything else replaces every flag of ours (--{changed[0]} among them)", words)
    for trouble in troubles:
        if trouble.argument.path:
            yield Doubt(trouble.argument.path, trouble.expected, trouble.found, hint=trouble.hint)
    if isinstance(given, collections.abc.Mapping) and not troubles:
        # Nothing should be left by now; if something is, it isn't let through for want of a name.
        for name in changed:
            if name not in reported and expected[name] is not None and _is_said_by_flags(ours, merged, name):
                yield Doubt("extraArgs", f"that {proxy.FLAGS[name].guard}", f"--{name} changed")


def _is_said_by_flags(ours: Values, merged: Values, name: str) -> bool:
    """Whether two sets of arguments differ in a flag, its environment variable aside."""
    return read_arguments(arguments(ours))[0].get(name) != read_arguments(arguments(merged))[0].get(name)


def _flag(path: str, flag: proxy.Flag, texts: list[str], expected: proxy.Value | None, own_hosts: collections.abc.Set[str]) -> collections.abc.Iterator[Doubt]:
    try:
        value = proxy.parse(flag, texts) if texts else None
    except ValueError as exc:
        yield Doubt(path, f"{exc} for --{flag.name}", shown(texts[0]))
        return
    if flag.guard and not _agrees(flag.name, value, expected, own_hosts):
        if flag.name == "whitelist-domain" and isinstance(value, tuple):
            foreign, *_more = (host for host in value if host not in own_hosts)
            yield Doubt(path, f"that {flag.guard}: only hosts of this team", foreign)
            return
        text = f" with {shown(texts[0])}" if texts and _is_showable(texts[0]) else ""
        yield Doubt(path, f"that {flag.guard}", f"the flag --{flag.name}{text}")


def _agrees(name: str, value: proxy.Value | None, expected: proxy.Value | None, own_hosts: collections.abc.Set[str]) -> bool:
    if name == "whitelist-domain" and isinstance(value, tuple):
        return set(value) <= own_hosts
    return value is not None and type(value) is type(expected) and value == expected


# --- environment ------------------------------------------------------------------------------------------------------


def _environment(user: Values, expected: Settings, own_hosts: collections.abc.Set[str]) -> collections.abc.Iterator[Doubt]:
    given = user.get("extraEnv")
    if not given:
        return
    if not isinstance(given, (list, tuple)):
        yield Doubt("extraEnv", "a list of variables", shown(given))
        return
    for name, text in _variables(user):
        path = f"extraEnv.{_CONTROL.sub('?', name)}"
        flag = proxy.VARIABLES.get(name)
        if name == _GO_SWITCH:
            yield Doubt(path, f"that {proxy.TLS}", f"{name}, which changes what Go takes for safe")
        elif flag is None and name.upper().startswith(proxy.VARIABLE_PREFIX):
            near = nearest(name.upper(), proxy.VARIABLES)
            secret = _normal(name.upper().removeprefix(proxy.VARIABLE_PREFIX)) in _SECRET_FLAGS
            yield Doubt(path, "a variable that oauth2-proxy 7.15.3 reads", name if not secret else _WITHHELD, hint=f"Did you mean {near}?" if near else "")
        elif flag is None or text == "":
            continue
        elif flag.secret and text is not None:
            yield Doubt(path, "no secret among Helm values, which are readable in the cluster", _WITHHELD, waivable=False)
        elif flag.guard and text is None:
            yield Doubt(path, f"that {chart.HIDDEN}", f"the flag --{flag.name} from elsewhere")
        elif text is not None:
            yield from _flag(path, flag, [text], expected[flag.name], own_hosts)


# --- the pod ----------------------------------------------------------------------------------------------------------


def _items_of_ours(ours: Values, merged: Values) -> collections.abc.Iterator[Doubt]:
    """What we put into a list must still be there as it was: a variable, a volume, a mount of the federated token."""
    for key in ("extraEnv", "extraVolumes", "extraVolumeMounts"):
        for item in ours.get(key) or ():
            there = merged.get(key)
            if not isinstance(there, (list, tuple)) or item not in there or sum(1 for other in there if _name(other) == _name(item)) > 1:
                yield Doubt(f"{key}.{_name(item)}", f"that {_FILES}", "another of that name")


def _name(item: t.Any) -> str:
    return str(item.get("name", "")) if isinstance(item, collections.abc.Mapping) else ""


def _names(user: Values, ours: Values, merged: Values) -> collections.abc.Iterator[Doubt]:
    """Labels and annotations by which objects are recognised and selected stay as they are."""
    for path, reserved in _NAMES:
        given = chart.get(user, path)
        if given is chart.ABSENT:
            continue
        mine, theirs = chart.get(ours, path), chart.get(merged, path)
        mine = mine if isinstance(mine, collections.abc.Mapping) else {}
        theirs = theirs if isinstance(theirs, collections.abc.Mapping) else {}
        for name in sorted({str(name) for name in (*mine, *theirs)}):
            if (name in mine or reserved.fullmatch(name)) and mine.get(name) != theirs.get(name):
                said = f"{path}.{name}" if isinstance(given, collections.abc.Mapping) else path
                yield Doubt(said, f"that {_LABELS}", shown(theirs.get(name)))


def _pod(user: Values, ours: Values, merged: Values) -> collections.abc.Iterator[Doubt]:
    yield from _rights(user, "securityContext", _CONTAINER_RIGHTS, _HARMLESS_RIGHTS)
    yield from _rights(user, "podSecurityContext", _POD_RIGHTS, _HARMLESS_POD_RIGHTS)
    hooks = user.get("lifecycle")
    for hook, action in hooks.items() if isinstance(hooks, collections.abc.Mapping) else ():
        if isinstance(action, collections.abc.Mapping) and action.get("exec") is not None:
            yield Doubt(f"lifecycle.{hook}.exec", f"that {chart.POD}", "a command in the proxy's container")
    tag = chart.get(merged, "image.tag")
    if chart.get(user, "image.tag") is not chart.ABSENT and tag not in (None, ""):
        match = _TAG.fullmatch(str(tag))
        if not match or tuple(int(part) for part in match.groups()[:3]) < PROXY_FLOOR:
            floor = ".".join(str(part) for part in PROXY_FLOOR)
            yield Doubt("image.tag", f"a version of the form v{floor}, and none before it, for their advisories let people in", shown(tag))
    mounts = user.get("extraVolumeMounts")
    for index, mount in enumerate(mounts) if isinstance(mounts, (list, tuple)) else ():
        where = mount.get("mountPath") if isinstance(mount, collections.abc.Mapping) else None
        covered = [folder for folder in _RESERVED_FOLDERS if isinstance(where, str) and _overlap(where, folder)]
        if covered and mount not in (ours.get("extraVolumeMounts") or ()):
            yield Doubt(f"extraVolumeMounts[{index}].mountPath", f"that {_FILES}", f"{shown(where)}, which covers {covered[0]}")
    volumes = user.get("extraVolumes")
    for index, volume in enumerate(volumes) if isinstance(volumes, (list, tuple)) else ():
        if _name(volume) in _RESERVED_VOLUMES:
            yield Doubt(f"extraVolumes[{index}].name", f"that {_FILES}", f"{shown(_name(volume))}, which is the chart's")


def _overlap(one: str, other: str) -> bool:
    one = "/" + posixpath.normpath(one).strip("/.")
    return one == "/" or one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _rights(user: Values, path: str, strict: Values, harmless: t.Mapping[str, t.Callable[[t.Any], bool]]) -> collections.abc.Iterator[Doubt]:
    given = chart.get(user, path)
    if given is chart.ABSENT:
        return
    if not isinstance(given, collections.abc.Mapping):
        if given is not None or path == "securityContext":
            yield Doubt(path, f"that {_RIGHTS}", shown(given))
        return
    for name, value in given.items():
        if (name in strict and value == strict[name] and type(value) is type(strict[name])) or (name in harmless and harmless[name](value)):
            continue
        yield Doubt(f"{path}.{name}", f"that {_RIGHTS}", shown(value))


# --- secrets ----------------------------------------------------------------------------------------------------------


def _secrets(value: t.Any, path: str) -> collections.abc.Iterator[Doubt]:
    """Values that are secrets by their name, or hold one in a URL."""
    if isinstance(value, collections.abc.Mapping):
        for key, item in value.items():
            yield from _secrets(item, f"{path}.{_flag_name(str(key))}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _secrets(item, f"{path}[{index}]")
    elif isinstance(value, str) and value:
        name = path.rsplit(".", maxsplit=1)[-1]
        by_name = _SECRET_NAME.search(name) and not _NOT_SECRET.search(name)
        if path in _SECRET_KEYS or by_name or _has_password(value):
            yield Doubt(path, "no secret among Helm values, which are readable in the cluster", _WITHHELD, waivable=False)


def _has_password(text: str) -> bool:
    if "://" not in text:
        return False
    try:
        return any(urllib.parse.urlsplit(part).password for part in text.split(","))
    except ValueError:
        return False
