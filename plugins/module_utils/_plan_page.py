# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as one HTML page that needs nothing but itself: no script, no font, no picture from elsewhere (pure functions)."""

from __future__ import annotations

import html
import typing as t

from ansible_collections.platform.gateway_auth.plugins.module_utils._team_plan import RISKS

Object = dict[str, t.Any]

_SIGNS = {"+": "added", "-": "removed", "~": "changed", "!": "warning"}
_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1c2330; --soft: #5b6675; --line: #dfe3e8;
  --added: #1a7f4b; --removed: #b42318; --changed: #8a6100; --warning: #b42318; --calm: #e8f3ec; --grave: #fdeceb; --noted: #fdf4df; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b212a; --text: #e6e9ee; --soft: #9aa5b4; --line: #2e3743;
  --added: #5fd08f; --removed: #ff8a7e; --changed: #e8bd5a; --warning: #ff8a7e; --calm: #1d3327; --grave: #40211f; --noted: #3a3019; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 0; }
.soft { color: var(--soft); margin: .25rem 0 1.5rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem 1.25rem; margin: 0 0 1rem; }
header { display: flex; gap: .75rem; align-items: baseline; flex-wrap: wrap; }
.risk { border-radius: 1rem; padding: .05rem .65rem; font-size: .85rem; background: var(--noted); }
.risk.none, .risk.restart { background: var(--calm); }
.risk.sessions, .risk.outage, .risk.failed { background: var(--grave); }
ul { list-style: none; padding: 0; margin: .75rem 0; }
li { padding: .15rem 0 .15rem 1.6rem; text-indent: -1.6rem; overflow-wrap: anywhere; }
li b { display: inline-block; width: 1.6rem; text-indent: 0; font-family: ui-monospace, monospace; }
li.added b { color: var(--added); }
li.removed b { color: var(--removed); }
li.changed b { color: var(--changed); }
li.warning { color: var(--warning); font-weight: 600; }
li small { color: var(--soft); font-weight: 400; margin-left: .5rem; }
details { border-top: 1px solid var(--line); padding-top: .5rem; color: var(--soft); }
details li { padding-left: 0; text-indent: 0; font-size: .9rem; }
details li ul { margin: 0; padding-left: 1.25rem; }
"""


def to_html(plan: Object) -> str:
    """The page. Everything that comes from the inventory or the cluster is escaped."""
    title = "Plan: " + (f"{_count(plan)} change" if plan["changed"] else "nothing to change")
    teams = "".join(_team(name, team) for name, team in plan["teams"].items())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{_text(title)}</h1>\n"
        f'<p class="soft">Made {_text(plan["created"])}; nothing was written.</p>\n{teams}</main>\n</body>\n</html>\n'
    )


def _count(plan: Object) -> str:
    changing = sum(team["changed"] for team in plan["teams"].values())
    return f"{changing} of {len(plan['teams'])} teams"


def _team(name: str, team: Object) -> str:
    risk = "failed" if team["failed"] else team["risk"]
    told = "can't be planned to its end" if team["failed"] else RISKS[team["risk"]] if team["changed"] else "nothing to change"
    error = f'<ul><li class="warning"><b>!</b>{_text(team["error"])}</li></ul>\n' if team["failed"] else ""
    lines = "".join(
        f'<li class="{_SIGNS[line["sign"]]}"><b>{_text(line["sign"])}</b>{_text(line["text"])}'
        + (f"<small>{_text(line['risk'])}</small>" if line["risk"] != "none" else "")
        + "</li>\n"
        for line in team["lines"]
    )
    noted = "".join(f"<li>{_text(item)}</li>\n" for item in [*(f"waived: {waiver}" for waiver in team["waivers"]), *team["findings"]])
    objects = "".join(
        f"<li>{_text(change['action'])} {_text(change['object'])}<ul>{''.join(f'<li>{_text(reason)}</li>' for reason in change['reasons'])}</ul></li>\n"
        for change in team["changes"]
    )
    details = f"<details><summary>{len(team['changes'])} objects</summary>\n<ul>\n{objects}</ul>\n</details>\n" if objects else ""
    return (
        f'<section>\n<header><h2>{_text(name)}</h2><span class="risk {risk}">{_text(told)}</span></header>\n{error}'
        + (f"<ul>\n{lines}</ul>\n" if lines else "")
        + (f"<ul>\n{noted}</ul>\n" if noted else "")
        + f"{details}</section>\n"
    )


def _text(value: t.Any) -> str:
    return html.escape(str(value))
