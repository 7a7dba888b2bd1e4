# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rewrite what each golden case expects."""

from __future__ import annotations

import typing as t

import yaml

from tests.golden import COMPILE, Case, cases, registration_writes


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, *_data: t.Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def rewrite(case: Case, expected: t.Any) -> None:
    written, _separator, _old = case.path.read_text(encoding="utf-8").partition("\nexpected:")
    text = yaml.dump({"expected": expected}, Dumper=_Dumper, sort_keys=False, width=160, allow_unicode=True)
    case.path.write_text(f"{written.rstrip()}\n{text}", encoding="utf-8")


for kind, compile_team in COMPILE.items():
    for case in cases(kind):
        rewrite(case, compile_team(case.team))
for case in cases("entra"):
    if "error" not in case.content:  # those are written by hand
        rewrite(case, registration_writes(case))
