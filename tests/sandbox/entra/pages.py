# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages people see: sign in, signed out, an error, and the form that posts a response to the application."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .errors import StsError, Trace

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --soft: #5d5d66; --line: #d6d6de; --card: #fff; --page: #eef1f6; --warn: #8a4b00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f1f1f4; --soft: #a5a5b0; --line: #3c3c46; --card: #23232a; --page: #16161a; --warn: #ffb86b; }
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", sans-serif; }
main { width: min(27rem, 100%); padding: 2rem; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
.double { margin: 0 0 1.5rem; padding: .6rem .8rem; border: 1px dashed var(--warn); border-radius: .4rem;
  color: var(--warn); font-size: .9rem; }
h1 { margin: 0 0 .3rem; font-size: 1.4rem; }
p { margin: 0 0 1rem; color: var(--soft); overflow-wrap: anywhere; }
ul { list-style: none; margin: 0; padding: 0; }
li a { display: block; padding: .7rem .8rem; border-top: 1px solid var(--line); color: inherit; text-decoration: none; }
li a:hover, li a:focus { background: var(--page); }
li small { display: block; color: var(--soft); }
button { padding: .5rem 1rem; font: inherit; }
"""


@dataclass(frozen=True)
class Choice:
    """A user on the sign-in page, and the address that signs them in."""

    upn: str
    display_name: str
    note: str
    href: str


def _page(title: str, body: str, extra: str = "") -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{html.escape(title)} - Entra ID test double</title><style>{_STYLE}</style></head><body><main>"
        '<p class="double"><strong>Test double.</strong> This is not Microsoft: it stands in for Entra ID inside a sandbox.'
        " Never type a real password here; it has no use for one.</p>"
        f"{body}</main>{extra}</body></html>\n"
    )


def sign_in(app_name: str, tenant_name: str, choices: Iterable[Choice], problem: str | None = None) -> str:
    """Return the list of users to sign in as."""
    rows = "".join(
        f'<li><a href="{html.escape(choice.href)}" data-user="{html.escape(choice.upn)}">{html.escape(choice.display_name)}'
        f"<small>{html.escape(choice.upn)}</small><small>{html.escape(choice.note)}</small></a></li>"
        for choice in choices
    )
    warning = f'<p role="alert">{html.escape(problem)}</p>' if problem else ""
    return _page(
        "Sign in",
        f"<h1>Pick an account</h1><p>to sign in to {html.escape(app_name)} ({html.escape(tenant_name)})</p>{warning}<ul>{rows}</ul>",
    )


def error(problem: StsError, trace: Trace) -> str:
    """Return the page of an error that must not reach the application's redirect URI."""
    return _page(
        "Sign in failed",
        "<h1>Sorry, but we're having trouble signing you in.</h1>"
        f'<p id="error">{html.escape(f"AADSTS{problem.code}: {problem.text}")}</p>'
        f"<p>Request Id: {trace.trace_id}<br>Correlation Id: {trace.correlation_id}<br>Timestamp: {trace.timestamp}</p>",
    )


def signed_out() -> str:
    return _page("Signed out", "<h1>You signed out of your account</h1><p>It's a good idea to close all browser windows.</p>")


def form_post(action: str, values: Mapping[str, str], script_nonce: str) -> str:
    """Return the form that carries a response to the application by POST (response_mode=form_post)."""
    fields = "".join(f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">' for name, value in values.items())
    return _page(
        "Working",
        f'<form method="post" action="{html.escape(action)}">{fields}<noscript><button>Continue</button></noscript></form>',
        f'<script nonce="{script_nonce}">document.forms[0].submit()</script>',
    )
