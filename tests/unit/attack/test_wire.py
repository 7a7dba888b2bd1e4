# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The raw client and the judge: one that reads answers wrongly, or takes everything for a closed door, would pass every attack."""

from __future__ import annotations

import pytest

from tests.attack.target import OPEN, Target
from tests.attack.wire import NOTHING, Answer, Door, head, parse

SIGN_IN = "https://login.microsoftonline.com/11111111-1111-4111-8111-111111111111/oauth2/v2.0/authorize?client_id=x"


@pytest.mark.parametrize(
    ("data", "ended", "statuses", "bodies"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", False, [200, 404], [b"ab", b""], id="two"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", False, [200], [b"ab"], id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab", False, [], [], id="half of a chunked one"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", False, [], [], id="half"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", True, [200], [b"ab"], id="half and no more"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nab", True, [200], [b"ab"], id="until the end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n", False, [204], [b""], id="after 100"),
        pytest.param(b"HTTP/1.1 101 Switching\r\n\r\nxyz", False, [101], [b"xyz"], id="upgraded"),
        pytest.param(b"HTTP/1.1 200", True, [], [], id="no whole head"),
        pytest.param(b"", True, [], [], id="nothing"),
    ],
)
def test_answers_are_read_as_they_came(data: bytes, ended: bool, statuses: list[int], bodies: list[bytes]) -> None:
    answers, _whole = parse(data, ended=ended)
    assert [answer.status for answer in answers] == statuses
    assert [answer.body for answer in answers] == bodies


def test_a_head_is_written_as_given() -> None:
    assert head("G ET", "/../x#y", "h", ("x-A ", "b\r\n c")) == b"G ET /../x#y HTTP/1.1\r\nHost: h\r\nx-A : b\r\n c\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("known", [True, False], ids=["sandbox", "elsewhere"])
@pytest.mark.parametrize(
    ("answer", "here", "elsewhere"),
    [
        pytest.param(Answer(200, body=b"anything"), OPEN, OPEN, id="200"),
        pytest.param(Answer(200), OPEN, OPEN, id="200 and nothing"),
        pytest.param(Answer(204), OPEN, OPEN, id="204"),
        pytest.param(Answer(404, body=b"404 page not found"), OPEN, OPEN, id="the app's own 404"),
        pytest.param(Answer(500, body=b"stack trace"), OPEN, OPEN, id="the app's own 500"),
        pytest.param(Answer(401, body=b"app's own"), OPEN, "refused", id="401 of somebody"),
        pytest.param(Answer(403, body=b"<html>Sign in"), OPEN, "refused", id="403 page"),
        pytest.param(Answer(302, (("Location", "/login"),), b'{"pod": "x"}'), OPEN, OPEN, id="what the app says under a redirect"),
        pytest.param(Answer(302, (("Location", SIGN_IN),)), "sign-in", "sign-in", id="sign-in"),
        pytest.param(Answer(302, (("Location", SIGN_IN.replace("11111111-", "22222222-")),)), OPEN, "sign-in", id="another tenant's"),
        pytest.param(Answer(302, (("Location", "https://evil.example.com/"),)), OPEN, OPEN, id="elsewhere"),
        pytest.param(Answer(401, body=b"{}"), "refused", "refused", id="401"),
        pytest.param(Answer(404), "no route", "no route", id="no route"),
        pytest.param(Answer(503), "unavailable", "unavailable", id="503"),
        pytest.param(Answer(400, body=b"Bad Request"), "bad request", "bad request", id="400"),
        pytest.param(NOTHING, "no answer", "no answer", id="nothing"),
    ],
)
def test_the_judge_takes_what_it_does_not_know_for_open(answer: Answer, here: str, elsewhere: str, known: bool) -> None:
    assert Target("app.example.com", Door(), known=known).judge(answer) == (here if known else elsewhere)
