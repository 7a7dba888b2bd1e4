# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the tables of variables from roles/gateway_auth/meta/argument_specs.yml; ``--check`` only says whether they are current."""

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
BEGIN, END = "<!-- variables: made by tests/support/gen_docs.py -->", "<!-- end of variables -->"

Option = dict[str, t.Any]


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


def wanted() -> dict[pathlib.Path, str]:
    spec = yaml.safe_load(SPEC.read_text(encoding="utf-8"))["argument_specs"]["inventory"]
    readme = SHORT.read_text(encoding="utf-8")
    before, _begin, rest = readme.partition(BEGIN)
    _old, _end, after = rest.partition(END)
    return {SHORT: f"{before}{BEGIN}\n{short_table(spec['options'])}\n{END}{after}", LONG: long_page(spec)}


def main() -> int:
    stale = [path for path, content in wanted().items() if not path.exists() or path.read_text(encoding="utf-8") != content]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what argument_specs.yml says. Run: python -m tests.support.gen_docs", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted()[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
