# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the tables that documents take from the code; ``--check`` only says whether they are current.

Variables come from roles/gateway_auth/meta/argument_specs.yml, Graph's permissions from plugins/module_utils/_graph_permissions.py, rights
in the cluster from plugins/module_utils/_rights.py, versions from plugins/module_utils/_known_bad.py.
"""

from __future__ import annotations

import json
import pathlib
import re
import sys
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = ROOT / "roles" / "gateway_auth" / "meta" / "argument_specs.yml"
SHORT = ROOT / "README.md"
LONG = ROOT / "docs" / "variables.md"
ENTRA = ROOT / "docs" / "entra.md"
RBAC = ROOT / "docs" / "rbac.md"
VERSIONS = ROOT / "docs" / "versions.md"
BEGIN, END = "<!-- {0}: made by tests/support/gen_docs.py -->", "<!-- end of {0} -->"

# With this permission alone the default works. What else Graph may ask for, by operation: what happens where it isn't granted.
LEAST = "Application.ReadWrite.OwnedBy"
WITHOUT = {
    "add an owner": "`gateway_auth_owners` must be empty; with owners the team fails with a 403 that names the permission, after the rest of its registration was written",
    "assign a group": "`gateway_auth_group_assignment: managed` is refused before anything is written; with `external` somebody else assigns",
    "remove a group's assignment": "as above",
    "restore a deleted object": "an administrator restores in the portal",
    "delete an object for good": "an administrator deletes in the portal, or Entra does after 30 days",
    "read deleted objects": "a deleted twin shows only when the creation is refused; `restore_team` (after a removal) and `state: purged` don't work",
    "look groups up by id": "nobody checks that the groups exist, and a finding says so",
    "read groups": "each group needs its object id in the inventory; groups inside an assigned group aren't named",
    "read users": "`gateway_auth_owners` takes object ids only",
    "read the tenant's licences": "a missing P1 licence shows at the first assignment, not before the first write",
}

Option = dict[str, t.Any]


class Row(t.Protocol):
    """What is read of a row of _graph_permissions.PERMISSIONS."""

    @property
    def operation(self) -> str: ...
    @property
    def needs(self) -> tuple[str, ...]: ...
    @property
    def instead(self) -> tuple[str, ...]: ...
    @property
    def owned(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def role(self) -> str: ...


def text(option: Option) -> str:
    """The description as one line of Markdown."""
    description = option.get("description", "")
    lines = [description] if isinstance(description, str) else description
    joined = " ".join(" ".join(str(line).split()) for line in lines)
    # Ansible's markup: V(value), O(option), C(code) and I(emphasis) are all code here.
    return re.sub(r"\b[VOCIE]\(([^)]*)\)", r"`\1`", joined).replace("|", "\\|")


def kind(option: Option) -> str:
    name = str(option.get("type", "str"))
    if name == "list":
        return f"list of {option.get('elements', 'str')}"
    return name


def default(option: Option) -> str:
    if option.get("required"):
        return "required"
    if "default" not in option:
        return ""
    return f"`{json.dumps(option['default'], ensure_ascii=False)}`".replace("|", "\\|")


def first_sentence(line: str) -> str:
    return re.split(r"(?<=[.;:])\s", line, maxsplit=1)[0].rstrip(";:")


def rows(options: dict[str, Option], prefix: str = "") -> t.Iterator[tuple[str, Option]]:
    for name, option in options.items():
        yield prefix + name, option
        suffix = "[]." if option.get("type") == "list" else "."
        yield from rows(option.get("options", {}), prefix + name + suffix)


def short_table(options: dict[str, Option]) -> str:
    lines = ["| variable | type, default | |", "|---|---|---|"]
    for name, option in options.items():
        shape = ", ".join(part for part in (kind(option), default(option)) if part)
        lines.append(f"| `{name}` | {shape} | {first_sentence(text(option))} |")
    return "\n".join(lines)


def long_page(spec: Option) -> str:
    lines = [
        "# Variables",
        "",
        "Made by `tests/support/gen_docs.py` from `roles/gateway_auth/meta/argument_specs.yml`; change it there.",
        "Platform-wide variables go into `group_vars/teams.yml`, a team's own into `host_vars/<team>.yml`.",
        "",
        "| variable | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, option in rows(spec["options"]):
        choices = option.get("choices")
        meaning = text(option) + (" One of " + ", ".join(f"`{choice}`" for choice in choices) + "." if choices else "")
        lines.append(f"| `{name}` | {kind(option)} | {default(option)} | {meaning} |")
    return "\n".join(lines) + "\n"


def permissions() -> tuple[Row, ...]:
    """The code's own table. The collection is importable below .venv/collections only."""
    sys.path.insert(0, str(ROOT / ".venv" / "collections"))
    from ansible_collections.platform.gateway_auth.plugins.module_utils._graph_permissions import PERMISSIONS

    return PERMISSIONS


def codes(names: t.Iterable[str], word: str) -> str:
    return f" {word} ".join(f"`{name}`" for name in names)


def optional_table(rows: t.Sequence[Row]) -> str:
    """The operations for which the least permission doesn't suffice."""
    more = [row for row in rows if LEAST not in row.instead and (row.needs != (LEAST,) or row.role)]
    differing = {row.operation for row in more} ^ set(WITHOUT)
    if differing:
        raise SystemExit(f"gen_docs.WITHOUT and _graph_permissions.PERMISSIONS differ in: {', '.join(sorted(differing))}")
    lines = ["| to | it needs | or instead | without it |", "|---|---|---|---|"]
    for row in more:
        role = f", and the directory role {row.role}" if row.role else ""
        lines.append(f"| {row.operation} | {codes(row.needs, 'and')}{role} | {codes(row.instead, 'or')} | {WITHOUT[row.operation]} |")
    return "\n".join(lines)


def permission_table(rows: t.Sequence[Row]) -> str:
    lines = ["| operation | least application permission | or instead | the identity must own |", "|---|---|---|---|"]
    for row in rows:
        role = f", and the directory role {row.role}" if row.role else ""
        owned = f"the {row.owned}" if row.owned else ""
        lines.append(f"| [{row.operation}]({row.source}) | {codes(row.needs, 'and')}{role} | {codes(row.instead, 'or')} | {owned} |")
    return "\n".join(lines)


def rights_page(page: str) -> str:
    """docs/rbac.md with a table for each place, and the Roles of the example's team."""
    from ansible_collections.platform.gateway_auth.plugins.module_utils import _rights
    from tests.golden import team

    for place, title in _rights.PLACES.items():
        lines = ["| resource | verbs | phases | for | without it |", "|---|---|---|---|---|"]
        for right in (right for right in _rights.RIGHTS if right.place == place):
            resource = f"`{right.full_name}`" + (f" (only {', '.join(f'`{name}`' for name in right.names)})" if right.names else "")
            why = "; ".join(part for part in (right.why, right.rare and f"used rarely: {right.rare}") if part)
            condition = _rights.WHEN[right.when][0]
            without = right.without or "refused before the first write"
            lines.append(
                f"| {resource} | {', '.join(right.verbs)} | {', '.join(right.phases)} | {why}{f' (if {condition})' if condition else ''} | {without} |"
            )
        page = with_table(page, f"rights in {title.replace('`', '')}", "\n".join(lines))
    account = _rights.Subject("ServiceAccount", "gateway-auth", "awx")
    example = team({"cluster": {"uid": "00000000-0000-4000-8000-000000000000"}})
    for scope, phases in (("cluster", _rights.PHASES), ("namespaces", tuple(phase for phase in _rights.PHASES if phase != _rights.PREPARE))):
        documents = yaml.safe_dump_all(
            _rights.rbac_manifests([example], account, scope=scope, phases=phases), sort_keys=False, default_flow_style=None, width=150
        )
        page = with_table(page, f"Roles, scope {scope}", f"```yaml\n{documents}```")
    return page


def known_bad_table() -> str:
    from ansible_collections.platform.gateway_auth.plugins.module_utils._known_bad import KNOWN_BAD
    from ansible_collections.platform.gateway_auth.plugins.module_utils._versions import NAMES

    lines = ["| versions | | because | remedy |", "|---|---|---|---|"]
    for entry in KNOWN_BAD:
        versions = " with ".join(f"{NAMES[component]} `{wanted}`" for component, wanted in entry.versions.items())
        since = f", from {entry.since}" if entry.since else ""
        lines.append(f"| {versions} | {entry.verdict}{since} | {entry.why} ([{entry.id}]({entry.link})) | {entry.remedy} |")
    return "\n".join(lines)


def with_table(page: str, name: str, table: str) -> str:
    begin, end = BEGIN.format(name), END.format(name)
    before, found, rest = page.partition(begin)
    _old, ended, after = rest.partition(end)
    if not found or not ended:
        raise SystemExit(f"expected a page with {begin!r} and {end!r}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def wanted() -> dict[pathlib.Path, str]:
    spec = yaml.safe_load(SPEC.read_text(encoding="utf-8"))["argument_specs"]["inventory"]
    table = permissions()
    entra = with_table(ENTRA.read_text(encoding="utf-8"), "optional permissions", optional_table(table))
    return {
        SHORT: with_table(SHORT.read_text(encoding="utf-8"), "variables", short_table(spec["options"])),
        LONG: long_page(spec),
        ENTRA: with_table(entra, "permissions", permission_table(table)),
        RBAC: rights_page(RBAC.read_text(encoding="utf-8")),
        VERSIONS: with_table(VERSIONS.read_text(encoding="utf-8"), "known-bad versions", known_bad_table()),
    }


def main() -> int:
    stale = [path for path, content in wanted().items() if not path.exists() or path.read_text(encoding="utf-8") != content]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what the code says. Run: python -m tests.support.gen_docs", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted()[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
