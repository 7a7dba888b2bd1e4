# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is attacked, and what may be seen of it without a session.

Whatever isn't known as a closed door is an open one. On the sandbox the judge knows the app behind and the one right place to sign
in at; of a gateway elsewhere it knows less and says so in what it reports.
"""

from __future__ import annotations

import dataclasses
import http
import re
import urllib.parse

from tests.e2e.sandbox import LOGIN, TENANT

from .wire import NOTHING, Answer, Door, exchange, head

OPEN = "OPEN"
# What only the apps behind the sandbox's doors say.
MARKERS = (b'"pod"', b"<title>Prometheus", b"Alertmanager", b'"status":"success"')
# Envoy's own refusals of a request it won't pass on, which have no content but the reason.
PROTOCOL = frozenset({400, 403, 404, 405, 408, 413, 414, 417, 421, 426, 431, 500, 501, 502, 503, 504, 505})
PROXY_PREFIX = "/oauth2"
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclasses.dataclass(frozen=True)
class Target:
    """An app's address and the way to it. ``known``: it is one of the sandbox's."""

    host: str
    door: Door
    known: bool = True
    public: tuple[str, ...] = ()

    def ask(self, raw: bytes, *, sni: str | None = None, to_head: bool = False) -> Answer:
        """The first answer to a request over TLS; ``NOTHING`` when there was none."""
        with self.door.secure(self.host, sni=sni) as connection:
            return exchange(connection, raw, to_head=to_head)[0]

    def get(self, path: str, *headers: tuple[str, str], method: str = "GET") -> Answer:
        return self.ask(head(method, path, self.host, ("Accept", "text/html"), *headers), to_head=method == "HEAD")

    def judge(self, answer: Answer, follow: int = 3) -> str:
        """What an answer without a session is: a closed door by name, or ``OPEN``."""
        if any(marker in answer.body for marker in MARKERS):
            return OPEN
        if answer.status == 0:
            return "no answer"
        if answer.status in REDIRECTS:
            return self._judge_redirect(answer, follow)
        if answer.status == 401:
            return "refused" if not self.known or answer.body.strip() in (b"", b"{}") else OPEN
        if answer.status == 403 and not self.known:
            return "refused"
        if answer.status in PROTOCOL and answer.body.strip() in (b"", http.HTTPStatus(answer.status).phrase.encode()):
            return "no route" if answer.status == 404 else "unavailable" if answer.status in (500, 502, 503, 504) else "bad request"
        return OPEN

    def _judge_redirect(self, answer: Answer, follow: int) -> str:
        place = urllib.parse.urlsplit(urllib.parse.urljoin(f"https://{self.host}/", answer.header("Location")))
        if self.known and place.netloc == LOGIN:
            return "sign-in" if place.path == f"/{TENANT}/oauth2/v2.0/authorize" and place.scheme == "https" else OPEN
        if not self.known and place.hostname != self.host:
            return "sign-in" if "authorize" in place.path or "login" in place.path else OPEN
        if place.hostname != self.host or not follow:
            return OPEN
        if re.fullmatch(rf"{PROXY_PREFIX}/[a-z_]+", place.path):
            return "own page"  # of the proxy's, which are for everybody
        # To another spelling of the address on the same host: what counts is what is there.
        path = urllib.parse.urlunsplit(("", "", place.path or "/", place.query, ""))
        return self.judge(self.get(path), follow - 1)


def telling(answer: Answer) -> str:
    return "nothing" if answer == NOTHING else str(answer)
