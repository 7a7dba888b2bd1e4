# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of flags, held against the real program; and how values are read, as its flag library reads them."""

from __future__ import annotations

import functools
import os
import pathlib
import re
import subprocess

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _proxy_flags
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_flags import FLAGS, VARIABLES, parse
from tests.support.tools import oauth2_proxy

PROXY = oauth2_proxy()
needs_proxy = pytest.mark.skipif(not PROXY, reason="no oauth2-proxy: `make sandbox` builds one, or set OAUTH2_PROXY_BIN to the path of one (7.15.3)")

# A line of --help: the flag, its type where it isn't a bool, and its default where it isn't empty, zero or false.
_LINE = re.compile(r"^\s+--(?P<name>[a-z0-9-]+)(?: (?P<kind>\S+))?\s{3}.*?(?: \(default (?P<default>.*)\))?$")
_KINDS = {None: "bool", "string": "string", "strings": "strings", "int": "int", "duration": "duration"}


@functools.cache
def listed() -> dict[str, re.Match[str]]:
    done = subprocess.run([PROXY, "--help"], capture_output=True, text=True, timeout=20, check=False)
    return {match["name"]: match for line in (done.stdout + done.stderr).splitlines() if (match := _LINE.match(line))}


@needs_proxy
def test_the_table_is_of_this_version() -> None:
    done = subprocess.run([PROXY, "--version"], capture_output=True, text=True, timeout=20, check=True)
    assert "v7.15.3 " in done.stdout


@needs_proxy
def test_every_flag_of_the_program_is_judged_and_no_other() -> None:
    assert set(FLAGS) == set(listed())


@needs_proxy
def test_kinds_are_the_program_s() -> None:
    told = {name: _KINDS[match["kind"]] for name, match in listed().items() if match["kind"] in _KINDS}
    assert len(told) > 150, "the rest has a word of its help text for a type"
    assert {name: FLAGS[name].kind for name in told} == told


@needs_proxy
def test_defaults_are_the_program_s() -> None:
    told = {name: (match["default"] or "").strip('"[]') for name, match in listed().items()}
    told["skip-jwt-bearer-tokens"] = ""  # its help text says "(default false)" by itself
    assert {name: FLAGS[name].default.strip("[]") for name in told} == told


@needs_proxy
def test_a_variable_is_read_under_the_name_in_the_table(tmp_path: pathlib.Path) -> None:
    """Each flag that the program converts: set by environment alone, it changes what the program says its configuration is."""
    base = {"OAUTH2_PROXY_CLIENT_ID": "x", "OAUTH2_PROXY_EMAIL_DOMAINS": "*", "PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def converted(extra: dict[str, str]) -> str:
        done = subprocess.run([PROXY, "--convert-config-to-alpha"], env={**base, **extra}, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout

    plain = converted({})
    lists = ["allowed-group", "oidc-audience-claim", "oidc-extra-audience", "provider-ca-file", "upstream"]
    changing = [*lists, "scope", "oidc-issuer-url", "login-url", "code-challenge-method", "ssl-upstream-insecure-skip-verify", "skip-oidc-discovery"]
    for name in changing:
        value = "true" if FLAGS[name].kind == "bool" else "http://canary.example.com"
        if name == "ssl-upstream-insecure-skip-verify":
            assert converted({FLAGS[name].variable: value, "OAUTH2_PROXY_UPSTREAMS": "http://a"}) != converted({"OAUTH2_PROXY_UPSTREAMS": "http://a"})
        else:
            assert converted({FLAGS[name].variable: value}) != plain, name


def test_guards_are_sentences_and_free_flags_are_named_on_purpose() -> None:
    assert {flag.guard for flag in FLAGS.values() if flag.guard} >= {_proxy_flags.BYPASS, _proxy_flags.GROUPS, _proxy_flags.TEAMS, _proxy_flags.TLS}
    for pattern in ("insecure", "skip-verify", "skip-auth", "skip-jwt", "^cookie-", "trusted", "allowed-", "email", "gcp-", "ping-user", "oidc-", "upstream$"):
        assert not [flag.name for flag in FLAGS.values() if re.search(pattern, flag.name) and not flag.guard], pattern


def test_variables_are_told_apart() -> None:
    assert VARIABLES["OAUTH2_PROXY_COOKIE_DOMAINS"] is FLAGS["cookie-domain"]
    assert "OAUTH2_PROXY_COOKIE_DOMAIN" not in VARIABLES, "the program doesn't read it"
    assert VARIABLES["OAUTH2_PROXY_COOKIE_SECURE"] is FLAGS["cookie-secure"]


@pytest.mark.parametrize(
    ("flag", "texts", "value"),
    [
        pytest.param("cookie-secure", [], True, id="default of a bool"),
        pytest.param("skip-auth-preflight", [], False, id="a bool without a default"),
        pytest.param("cookie-secure", ["true", "F"], False, id="the last one wins"),
        pytest.param("allowed-group", ["a,b", "", "c"], ("a", "b", "c"), id="lists add up, an empty one adds nothing"),
        pytest.param("allowed-group", ['"a,b",c'], ("a,b", "c"), id="CSV with quotes"),
        pytest.param("oidc-audience-claim", [], ("aud",), id="default of a list"),
        pytest.param("oidc-audience-claim", ["azp"], ("azp",), id="a list replaces its default"),
        pytest.param("cookie-expire", ["1h30m"], 5400 * 10**9, id="duration"),
        pytest.param("cookie-expire", ["90m"], 5400 * 10**9, id="the same duration"),
        pytest.param("cookie-refresh", ["0"], 0, id="zero needs no unit"),
        pytest.param("cookie-refresh", [], 0, id="no duration"),
        pytest.param("cookie-csrf-per-request-limit", ["8"], 8, id="number"),
        pytest.param("provider", [], "google", id="default of a text"),
    ],
)
def test_values(flag: str, texts: list[str], value: object) -> None:
    assert parse(FLAGS[flag], texts) == value


@pytest.mark.parametrize(
    ("flag", "text"),
    [("cookie-secure", "no"), ("cookie-secure", ""), ("cookie-expire", "8"), ("cookie-expire", "1d"), ("cookie-csrf-per-request-limit", "1e3")],
    ids=str,
)
def test_what_the_program_would_not_start_with(flag: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(FLAGS[flag], [text])
