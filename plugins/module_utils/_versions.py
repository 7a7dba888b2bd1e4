# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which version something has, and whether it is known to be bad (pure; the list is ``_known_bad``).

What can't be read is a version of its own, None: it is told as such, and counts neither as good nor as bad.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import itertools
import re
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._known_bad import KNOWN_BAD, REFUSE, KnownBad

# Components by the names that the list uses, and as messages call them.
NAMES: t.Final[dict[str, str]] = {
    "envoy": "Envoy",
    "envoy-gateway": "Envoy Gateway",
    "gateway-api": "Gateway API",
    "gateway-api-experimental": "Gateway API (experimental channel)",
    "kubernetes": "Kubernetes",
    "oauth2-proxy": "oauth2-proxy",
    "chart": "chart oauth2-proxy",
    "helm": "Helm",
    "kubernetes.core": "collection kubernetes.core",
    "ansible-core": "ansible-core",
}

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:[-.]?(alpha|beta|rc|pre|dev|a\d|b\d).*)?(?:[-+_~].*)?")
# In a tag other words stand around it: distroless-v1.39.0, 7.15.3-alpine.
_IN_TAG = re.compile(r"(?:(?<=[-_])|^)v?\d+\.\d+\.\d+(?!\.?\d)(?:-(?:alpha|beta|rc|pre|dev)[.\d]*)?")
_CONDITION = re.compile(r"(>=|<=|==|<|>)(\d+\.\d+\.\d+)")
_YEAR = 1000  # a tag such as 2026.11.25 is a day, not a version


@dataclasses.dataclass(frozen=True, order=True)
class Version:
    """``numbers`` are major, minor and patch; a pre-release (``final`` False) comes before its release."""

    numbers: tuple[int, int, int]
    final: bool = True

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers)) + ("" if self.final else " (a pre-release)")


@dataclasses.dataclass(frozen=True)
class Found:
    """A component as it was found. ``where`` says where, ``text`` how it is written there; ``unread`` why its version isn't known."""

    component: str
    where: str
    text: str = ""
    version: Version | None = None
    unread: str = ""


@dataclasses.dataclass(frozen=True)
class Judgement:
    """An entry of the list that fits what was found."""

    entry: KnownBad
    found: tuple[Found, ...]

    @property
    def refused(self) -> bool:
        return self.entry.verdict == REFUSE

    @property
    def text(self) -> str:
        what = " with ".join(f"{NAMES[item.component]} {item.version}{f' ({item.where})' if item.where else ''}" for item in self.found)
        return f"{what}: {self.entry.why} ({self.entry.link})."


def today() -> datetime.date:
    """The day, by the clock of this machine in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


def parse(text: str) -> Version | None:
    """``v1.34.4``, ``1.33.2-gke.100``, ``4.1.4+g05fa379``, ``2.20.0rc1``; None for what is no version, or only half of one."""
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        return None
    major, minor, patch = (int(part) for part in match.groups()[:3])
    return Version((major, minor, patch), final=match[4] is None) if major < _YEAR else None


def of(component: str, where: str, text: str) -> Found:
    """A component whose version is written as text."""
    version = parse(text)
    return Found(component, where, text, version, "" if version else f"{text!r} is no version")


def of_image(component: str, where: str, image: str) -> Found:
    """A component by its image's tag; a digest beside it doesn't matter, and a registry may stand before it."""
    name, _at, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if not tag:
        why = f"image {image} names a digest and no tag" if digest else f"image {image} has no tag" if image else "it names no image"
        return Found(component, where, image, None, why)
    versions = {parse(match.group()) for match in _IN_TAG.finditer(tag)} - {None}
    if len(versions) != 1:
        return Found(component, where, image, None, f"tag {tag} of image {name} tells {'more than one' if versions else 'no'} version")
    return Found(component, where, image, versions.pop())


def within(version: Version, wanted: str) -> bool:
    """Whether a version is in a range: conditions with commas between them, all of which must hold."""
    for condition in wanted.split(","):
        match = _CONDITION.fullmatch(condition.strip())
        bound = parse(match[2]) if match is not None else None
        if match is None or bound is None:
            raise ValueError(f"{wanted!r} is no range of versions")
        holds = {">=": version >= bound, "<=": version <= bound, "==": version == bound, "<": version < bound, ">": version > bound}
        if not holds[match[1]]:
            return False
    return True


def judge(found: t.Iterable[Found], day: datetime.date | None = None) -> list[Judgement]:
    """Every entry that fits, once for each version (not for each pod) that it fits."""
    moment = (day or today()).isoformat()
    known: dict[str, dict[Version, Found]] = {}
    for item in found:
        if item.version is not None:
            known.setdefault(item.component, {}).setdefault(item.version, item)
    judgements = []
    for entry in KNOWN_BAD:
        if entry.since > moment:
            continue
        for together in itertools.product(*(known.get(component, {}).values() for component in entry.versions)):
            if all(within(t.cast("Version", item.version), entry.versions[item.component]) for item in together):
                judgements.append(Judgement(entry, together))
    return judgements


def unread(found: t.Iterable[Found]) -> list[Found]:
    """What has no known version, each reason once."""
    listed: dict[tuple[str, str], Found] = {}
    for item in found:
        if item.version is None:
            listed.setdefault((item.component, item.unread), item)
    return list(listed.values())


def refused(component: str, version: Version) -> bool:
    """Whether a version is refused whatever else there is."""
    return any(judgement.refused for judgement in judge([Found(component, "", str(version), version)]))


def floor(component: str) -> str:
    """The lowest version of a component that no entry refuses for being older."""
    bounds = [
        t.cast("Version", parse(entry.versions[component][1:]))
        for entry in KNOWN_BAD
        if entry.verdict == REFUSE and set(entry.versions) == {component} and re.fullmatch(r"<\d[\d.]*", entry.versions[component])
    ]
    return str(max(bounds))


def images(component: str, container: str, pods: collections.abc.Iterable[dict[str, t.Any]]) -> list[Found]:
    """A component by the image of the container of that name in each pod."""
    return [
        of_image(component, f"pod {pod['metadata'].get('namespace')}/{pod['metadata']['name']}", str(item.get("image") or ""))
        for pod in pods
        for item in pod["spec"].get("containers") or []
        if item.get("name") == container
    ]
