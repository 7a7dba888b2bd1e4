# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The road of one request with each link broken once: the first broken one is named, and nothing after it is asked."""

from __future__ import annotations

import dataclasses
import json
import typing as t
import urllib.parse

import pytest

from ansible_collections.platform.gateway_auth.plugins.module_utils import _errors, _explain, _model, _verify
from ansible_collections.platform.gateway_auth.plugins.module_utils._probe import Answer, HopError, ProbeClient

from . import test_verify as sound
from .test_verify import APP, HOST, TEAM

URL = f"https://{HOST}/graph?g0.expr=up%20x&g0.tab=1"
OTHER = dataclasses.replace(TEAM, name="team-b", apps=(dataclasses.replace(APP, hostname="prometheus-team-b.example.test"),))


class Directory(sound.Directory):
    """Entra, which has a configuration of the tenant as well."""

    def __init__(self, configuration: Answer | HopError | None = None) -> None:
        self.configuration = configuration or Answer(200, [], json.dumps({"issuer": TEAM.issuer}).encode())

    def request(self, host: str, path: str, *, method: str = "GET", headers: t.Any = None, body: bytes | None = None) -> Answer:
        if path.endswith("/.well-known/openid-configuration"):
            if isinstance(self.configuration, HopError):
                raise self.configuration
            return self.configuration
        return super().request(host, path, method=method, headers=headers, body=body)


class Silent(sound.World):
    """A gateway that no request reaches."""

    def __init__(self, problem: HopError) -> None:
        super().__init__()
        self.problem = problem

    def request(self, host: str, path: str, *, scheme: str = "https", headers: t.Mapping[str, str] | None = None) -> Answer:
        raise self.problem


class Fixed(sound.World):
    """A gateway with one answer for everything."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer

    def request(self, host: str, path: str, *, scheme: str = "https", headers: t.Mapping[str, str] | None = None) -> Answer:
        self.asked.append((scheme, host, path))
        return self.answer


def live() -> _verify.Live:
    found = sound._live()
    found.gateway["spec"] = {"listeners": [{"name": "https", "hostname": "*.example.test"}]}  # type: ignore[index]
    found.policies[0]["spec"]["extAuth"]["http"] = {"pathOverride": "/"}
    found.client_secret = "right"
    return found


@dataclasses.dataclass
class Case:
    live: _verify.Live = dataclasses.field(default_factory=live)
    world: sound.World = dataclasses.field(default_factory=sound.World)
    entra: Directory = dataclasses.field(default_factory=Directory)
    addresses: tuple[str, ...] = ("10.0.0.1",)
    url: str = URL
    team: _model.Team = TEAM

    def walk(self) -> tuple[list[_verify.Check], str]:
        team, target = _explain.find_target([OTHER, self.team], self.url)
        client, entra = t.cast("ProbeClient", self.world), t.cast("ProbeClient", self.entra)
        checks = _explain.explain(team, target, client, self.live, entra, lambda _host: list(self.addresses))
        return checks, _explain.render(target, checks)


def test_a_sound_road_holds_to_its_end() -> None:
    case = Case()
    checks, text = case.walk()
    assert [check.line() for check in checks if not check.ok] == []
    assert "every link holds" in text.splitlines()[0]
    assert text.startswith(URL)
    assert {"explain:inventory", "explain:tls", "explain:door", "explain:discovery", "explain:registration", "client_secret"} <= {check.id for check in checks}
    # The very path, byte for byte.
    assert ("https", HOST, "/graph?g0.expr=up%20x&g0.tab=1") in case.world.asked


def broken_gateway(case: Case) -> None:
    case.live.gateway = None


def narrow_listener(case: Case) -> None:
    case.live.gateway["spec"]["listeners"][0]["hostname"] = "*.other.test"  # type: ignore[index]


def no_connection(case: Case) -> None:
    case.world = Silent(HopError("tcp", "10.0.0.1 doesn't answer on port 443: connection refused.", "Check gateway_auth_probe.address."))


def bad_certificate(case: Case) -> None:
    case.world = Silent(HopError("tls", "The certificate isn't trusted.", "Check gateway_auth_probe.ca_file."))


def no_route(case: Case) -> None:
    case.live.routes = [route for route in case.live.routes if route["metadata"]["name"] != TEAM.route_name(APP)]


def foreign_route(case: Case) -> None:
    sound._foreign_route()(case.live)


def no_policy(case: Case) -> None:
    case.live.policies = []


def wide_policy(case: Case) -> None:
    case.live.policies[0]["spec"]["extAuth"]["http"]["pathOverride"] = "/?allowed_groups=somebody-else"


def no_proxy(case: Case) -> None:
    case.live.deployments[0]["status"]["availableReplicas"] = 0


def no_store(case: Case) -> None:
    case.live.deployments[1]["status"]["availableReplicas"] = 0


def wrong_tenant(case: Case) -> None:
    case.entra = Directory(Answer(400, [], b"AADSTS90002: Tenant not found."))


def other_issuer(case: Case) -> None:
    case.entra = Directory(Answer(200, [], b'{"issuer": "https://somebody.test"}'))


def open_door(case: Case) -> None:
    case.world = Fixed(Answer(200, [], b"<html>Prometheus", sound.CERTIFICATE))


def unregistered(case: Case) -> None:
    class Forgetful(Directory):
        def request(self, host: str, path: str, *, method: str = "GET", headers: t.Any = None, body: bytes | None = None) -> Answer:
            if "/authorize" in path:
                return Answer(400, [], b"AADSTS50011: The redirect URI")
            return super().request(host, path, method=method, headers=headers, body=body)

    case.entra = Forgetful()


def wrong_secret(case: Case) -> None:
    case.live.client_secret = "wrong-CANARY"


@pytest.mark.parametrize(
    ("damage", "link", "words"),
    [
        pytest.param(broken_gateway, "gateway", ["no such Gateway", "gateway_auth_gateway"], id="gateway"),
        pytest.param(narrow_listener, "explain:listener", ["*.other.test", "gateway_auth_domain", "group_vars/teams.yml"], id="listener"),
        pytest.param(no_connection, "explain:connection", ["(tcp)", "connection refused", "gateway_auth_probe"], id="tcp"),
        pytest.param(bad_certificate, "explain:tls", ["isn't trusted", "ca_file"], id="tls"),
        pytest.param(no_route, f"route:{TEAM.route_name(APP)}", ["isn't in namespace", "onboard_team -e team=a"], id="route"),
        pytest.param(foreign_route, "claims", ["claims", HOST], id="foreign route"),
        pytest.param(no_policy, f"policy:{TEAM.policy_name(APP)}", ["isn't in namespace", "onboard_team"], id="policy"),
        pytest.param(wide_policy, "explain:groups", ["somebody-else", "onboard_team"], id="groups"),
        pytest.param(no_proxy, f"deployment:{TEAM.release}", ["0 of 2", "kubectl"], id="proxy"),
        pytest.param(no_store, f"deployment:{TEAM.store_name}", ["0 of 1"], id="store"),
        pytest.param(wrong_tenant, "explain:discovery", ["AADSTS90002", "gateway_auth_tenant_id"], id="tenant"),
        pytest.param(other_issuer, "explain:discovery", [TEAM.issuer, "somebody.test"], id="issuer"),
        pytest.param(open_door, "explain:door", ["without a session", "HTTP 200"], id="open"),
        pytest.param(unregistered, "explain:registration", ["AADSTS50011", f"https://{HOST}/oauth2/callback"], id="redirect URI"),
        pytest.param(wrong_secret, "client_secret", ["AADSTS7000215", "onboard_team"], id="client secret"),
    ],
)
def test_the_first_broken_link_is_named_and_nothing_after_it_is_asked(damage: t.Callable[[Case], None], link: str, words: list[str]) -> None:
    case = Case()
    damage(case)
    checks, text = case.walk()
    (broken,) = [check for check in checks if check.failed]
    assert broken.id == link
    first = text.splitlines()[0]
    for word in words:
        assert word in first
    assert "CANARY" not in text
    # Only the log comes after it.
    rest = checks[checks.index(broken) + 1 :]
    assert all(check.id.startswith(("log", "explain:log", "claims", "explain:groups")) for check in rest)


def test_dns_elsewhere_warns_and_the_walk_goes_on() -> None:
    checks, text = Case(addresses=()).walk()
    assert [check.id for check in checks if not check.ok] == [f"dns:{HOST}"]
    assert checks[-2].id == "client_secret"
    assert "was found besides" in text.splitlines()[0]


def test_entra_out_of_reach_of_this_machine_warns() -> None:
    checks, _text = Case(entra=Directory(HopError("tcp", "x", "y", "connection refused"))).walk()
    assert [check.id for check in checks if not check.ok] == ["explain:discovery"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[AuthFailure] Invalid authentication via OAuth2: unauthorized", ["gateway_auth_allowed_groups (host_vars/team-a.yml)", "200 groups"]),
        ("Error creating session during OAuth2 callback: neither the id_token nor the profileURL set an email", ["gateway_auth_identity_claim", "teams.yml"]),
        ("Error saving session state for 1.2.3.4: error saving redis session: WRONGPASS invalid username-password pair", ["gateway_auth_session_store"]),
        ("Error loading cookied session: dial tcp 10.0.0.9:6379: connect: connection refused, removing session", ["can't be reached"]),
        ("Error redeeming code during OAuth2 callback: AADSTS7000222: expired", ["AADSTS7000222", "expired"]),
        ("error while discovery OIDC configuration: failed to discover OIDC configuration: x509: unknown authority", ["gateway_auth_tenant_id", "egress"]),
        ("Invalid authentication via OAuth2: unable to obtain CSRF cookie", ["Open the app again"]),
        ('Rejecting invalid redirect "https://evil.test": domain / port not in whitelist', ["isn't the team's"]),
        ("Unable to refresh session: error refreshing tokens: oauth2: invalid_grant", ["sign in again"]),
        ("id_token nonce claim does not match the session nonce", ["federated"]),
        ("OOM command not allowed when used memory > 'maxmemory'", ["full"]),
        ("invalid response from microsoft graph, no groups added to session: 403", ["gateway_auth_groups_claim", "to application"]),
        ("Invalid authorization via session (no groups): removing session Session{email:carol@example.test}", ["ended"]),
    ],
)
def test_the_log_tells_causes_and_never_a_line_of_itself(line: str, words: list[str]) -> None:
    case = Case()
    case.live.proxy_log = f"{line} CANARY-LINE\n{line}\n"
    checks, text = case.walk()
    told = [check for check in checks if not check.ok]
    assert told
    assert not [check for check in told if check.failed]
    lines = "\n".join(check.line() for check in told)
    for word in words:
        assert word in lines
    assert "2 times" in lines
    for secret in ("CANARY", "carol@", "1.2.3.4", "10.0.0.9", "evil.test"):
        assert secret not in text


def test_public_paths_and_the_proxys_pages_have_roads_of_their_own() -> None:
    public = dataclasses.replace(TEAM, apps=(dataclasses.replace(APP, public_paths=("/metrics",)),))
    case = Case(team=public, url=f"https://{HOST}/metrics/x", world=Fixed(Answer(200, [], b"up 1", sound.CERTIFICATE)))
    case.live.routes.append(sound._route(f"{TEAM.route_name(APP)}-public"))
    checks, _text = case.walk()
    assert [check.line() for check in checks if not check.ok] == []
    assert f"route:{TEAM.route_name(APP)}-public" in {check.id for check in checks}

    pages = Case(url=f"https://{HOST}/oauth2/sign_in", world=Fixed(Answer(200, [], b"<html>", sound.CERTIFICATE)))
    checks, _text = pages.walk()
    assert [check.line() for check in checks if not check.ok] == []
    assert f"route:{TEAM.passthrough_name(APP)}" in {check.id for check in checks}

    proxy = Case(url=f"https://{TEAM.proxy_host}/")
    checks, _text = proxy.walk()
    assert [check.line() for check in checks if not check.ok] == []
    assert f"route:{TEAM.release}" in {check.id for check in checks}


@pytest.mark.parametrize("url", ["ftp://x.test/", "https://", "http://prometheus-team-a.example.test/", ""])
def test_what_is_no_https_url_is_said(url: str) -> None:
    with pytest.raises(_errors.GatewayAuthError) as refused:
        _explain.find_target([TEAM], url)
    assert "explain" in str(refused.value)


def test_a_host_of_nobody_names_the_nearest() -> None:
    with pytest.raises(_errors.GatewayAuthError) as refused:
        _explain.find_target([TEAM, OTHER], "https://promethus-team-b.example.test/")
    assert "prometheus-team-b.example.test" in str(refused.value)
    assert "team-b" in str(refused.value)
    assert "gateway_auth_apps" in str(refused.value)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (f"https://{HOST}", "/"),
        (HOST, "/"),
        (f"https://{HOST.upper()}/A?b=%2F#fragment", "/A?b=%2F"),
        (f"https://{HOST}:443/x;y", "/x;y"),
    ],
)
def test_a_url_is_taken_as_somebody_typed_it(url: str, path: str) -> None:
    team, target = _explain.find_target([OTHER, TEAM], url)
    assert (team.name, target.host, target.path) == ("team-a", HOST, path)
    assert urllib.parse.urlsplit(target.url if "://" in target.url else f"https://{target.url}").hostname == HOST


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("*.example.test", "a.example.test", True),
        ("*.example.test", "b.a.example.test", True),
        ("*.example.test", "example.test", False),
        ("a.example.test", "a.example.test", True),
        ("a.example.test", "b.example.test", False),
    ],
)
def test_hostnames_of_a_listener(pattern: str, host: str, covered: bool) -> None:
    assert _explain.covers(pattern, host) is covered
