# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of a plan: whole, alone, and nothing in it that somebody else wrote as markup."""

from __future__ import annotations

import html.parser

from ansible_collections.platform.gateway_auth.plugins.module_utils._plan_page import to_html
from ansible_collections.platform.gateway_auth.plugins.module_utils._team_plan import document, team_plan
from tests.golden import team

TEAM = team()
VOID = ("meta",)
EVIL = "<script>alert(1)</script>\"'&"


class _Page(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _page(**phase: object) -> _Page:
    plan = team_plan(TEAM, [{"changes": [{"action": "create", "object": EVIL, "reasons": [EVIL], "about": {}}], **phase}], [EVIL])
    return _Page(to_html(document({"team-a": plan, "team-b": team_plan(TEAM, [], [])}, "2026-01-01T00:00:00Z")))


def test_it_is_whole_and_needs_nothing_else() -> None:
    page = _page()
    assert page.links == []
    assert {"html", "body", "section", "details"} <= page.tags
    assert "1 of 2 teams change" in page.text
    assert "nothing to change" in page.text


def test_what_others_wrote_is_text() -> None:
    page = _page(failed=True, msg=EVIL, data={"findings": [EVIL]})
    assert "script" not in page.tags
    assert page.text.count(EVIL) >= 4
