# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Helm values undo a guarantee, however they are written: by tables, by property, and by the real program."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import typing as t

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st

from ansible_collections.platform.gateway_auth.plugins.module_utils import _chart_keys, _proxy_flags, _validate_helm
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_flags import FLAGS
from ansible_collections.platform.gateway_auth.plugins.module_utils._proxy_values import proxy_values, release_values
from ansible_collections.platform.gateway_auth.plugins.module_utils._validate_helm import (
    Argument,
    Doubt,
    arguments,
    effective,
    judge,
    read_arguments,
    waiver_key,
)
from tests.golden import team
from tests.support.fuzz import fuzz
from tests.support.tools import oauth2_proxy, tool

FEDERATED: dict[str, t.Any] = {"credential": "federated", "client_secret": None}
HOST = "prometheus-team-a.apps.example.com"
CHART = pathlib.Path(__file__).parents[3] / "charts" / "oauth2-proxy"


def doubts(values: dict[str, t.Any], overrides: dict[str, t.Any] | None = None) -> list[Doubt]:
    plain = team(overrides)
    mine = dataclasses.replace(plain, helm_values=values)
    return judge(values, release_values(plain), release_values(mine), {*(app.hostname for app in plain.apps), plain.proxy_host})


def paths(values: dict[str, t.Any], overrides: dict[str, t.Any] | None = None) -> list[str]:
    return sorted(doubt.path for doubt in doubts(values, overrides))


# --- what passes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"image": {"registry": "example.azurecr.io", "tag": "v7.15.3"}},
        {"image": {"tag": f"v7.16.0-alpine@sha256:{'0' * 64}"}},
        {"extraArgs": {"request-logging": "false"}},
        {"extraArgs": {"request-logging": False, "logging-max-size": 50, "silence-ping-logging": None}},
        {"extraArgs": {"request-logging-format": "{{`{{`}}.Client}}"}},
        {"extraArgs": {"whitelist-domain": HOST}},
        {"extraArgs": {"redis-ca-path": "/ca/ca.crt", "provider-ca-file": "/ca/ca.crt"}},
        {"imagePullSecrets": [{"name": "regcred"}]},
        {"extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "SSL_CERT_FILE", "value": "/ca/ca.crt"}]},
        {"extraEnv": [{"name": "OAUTH2_PROXY_REQUEST_LOGGING", "value": "false"}, {"name": "OAUTH2_PROXY_TRUSTED_IPS", "value": ""}]},
        {"serviceAccount": {"annotations": {"a": "b"}}},
        {"extraVolumes": [{"name": "ca", "secret": {"secretName": "ca"}}], "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/certs"}]},
        {"podAnnotations": {"vault.hashicorp.com/agent-inject-template-x": '{{ with secret "x" }}\n{{ end }}'}},
        {"podLabels": {"cost-center": "4711"}, "customLabels": {"cost-center": "4711"}},
        {"gatewayApi": {"annotations": {"external-dns.alpha.kubernetes.io/ttl": "60"}}},
        {"lifecycle": {"preStop": {"sleep": {"seconds": 20}}}},
        {"securityContext": {"runAsUser": 4711, "seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}},
        {"podSecurityContext": {"fsGroup": 2000}},
        {"ingress": {"enabled": False, "path": "/"}, "envFrom": [], "alphaConfig": {"enabled": False}},
        {"service": {"portNumber": 80, "type": "ClusterIP", "annotations": {"a": "b"}}},
        {"metrics": {"serviceMonitor": {"enabled": True, "interval": "30s"}}},
    ],
    ids=str,
)
def test_harmless(values: dict[str, t.Any]) -> None:
    assert doubts(values) == []


@pytest.mark.parametrize("overrides", [{}, FEDERATED, {"session_store": {"type": "cookie"}}], ids=["secret", "federated", "cookie"])
def test_what_says_the_same_as_ours_is_no_offence(overrides: dict[str, t.Any]) -> None:
    assert doubts(release_values(team(overrides)), overrides) == []
    assert doubts({"extraArgs": {"cookie-secure": "true", "cookie-expire": "480m", "email-domain": "*", "ping-path": "/ping"}}, overrides) == []


def test_a_list_of_flags_that_keeps_all_of_ours_is_none_either() -> None:
    listed = [f"--{flag}={value}" for flag, value in proxy_values(team())["extraArgs"].items()]
    assert doubts({"extraArgs": [*listed, "--request-logging=false"]}) == []
    assert paths({"extraArgs": listed[1:]}) == ["extraArgs"]


# --- spellings --------------------------------------------------------------------------------------------------------

# What must never be said, and a value with which saying it would open something.
OPENERS = {
    "allowed-group": "",
    "whitelist-domain": "*.apps.example.com",
    "cookie-domain": ".apps.example.com",
    "ssl-insecure-skip-verify": "true",
    "insecure-oidc-skip-issuer-verification": "true",
    "gcp-healthchecks": "true",
    "ping-user-agent": "probe",
    "ping-path": "/",
    "trusted-proxy-ip": "0.0.0.0/0",
    "trusted-ip": "::/0",
    "skip-auth-route": ".*",
    "skip-auth-preflight": "true",
    "skip-jwt-bearer-tokens": "true",
    "cookie-secure": "false",
    "user-id-claim": "upn",
    "custom-templates-dir": "/templates",
}


@pytest.mark.parametrize("flag", OPENERS)
@pytest.mark.parametrize(
    "way",
    ["flag", "in the key", "dashes", "one dash", "underscores", "capitals", "list", "list of one", "environment", "env from", "newline", "behind a comment"],
)
def test_an_opening_is_found_in_each_spelling(flag: str, way: str) -> None:
    value = OPENERS[flag]
    variable = FLAGS[flag].variable
    written: dict[str, t.Any] = {
        "flag": {"extraArgs": {flag: value}},
        "in the key": {"extraArgs": {f"{flag}={value}": None}},
        "dashes": {"extraArgs": {f"--{flag}": value}},
        "one dash": {"extraArgs": {f"-{flag}": value}},
        "underscores": {"extraArgs": {flag.replace("-", "_"): value}},
        "capitals": {"extraArgs": {flag.upper(): value}},
        "list": {"extraArgs": [f"--{flag}={value}"]},
        "list of one": {"extraArgs": {flag: [value]}},
        "environment": {"extraEnv": [{"name": variable, "value": value or "x"}]},
        "env from": {"extraEnv": [{"name": variable, "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}]},
        "newline": {"extraArgs": {"footer": f"-\n          - --{flag}={value}"}},
        "behind a comment": {"extraArgs": {f"footer=- #\n          - --{flag}": value}},
    }[way]
    # A list takes all flags of ours away besides, which is told at extraArgs itself.
    assert len([path for path in paths(written) if path != "extraArgs"]) == 1, doubts(written)


def test_boolean_and_number_values_are_read_as_helm_prints_them() -> None:
    for value in (False, "0", "F", "FALSE"):
        assert paths({"extraArgs": {"cookie-secure": value}}) == ["extraArgs.cookie-secure"]
    assert paths({"extraArgs": {"cookie-secure": "no"}}) == ["extraArgs.cookie-secure"], "the proxy wouldn't start"
    assert paths({"extraArgs": {"cookie-csrf-per-request-limit": 9}}) == ["extraArgs.cookie-csrf-per-request-limit"]
    assert paths({"extraArgs": {"cookie-csrf-per-request-limit": 8}}) == []


def test_a_flag_without_a_value_swallows_the_one_behind_it() -> None:
    (doubt,) = doubts({"extraArgs": {"footer": None}})
    assert doubt.path == "extraArgs.footer"
    merged = release_values(team({"helm_values": {"extraArgs": {"footer": None}}}))
    assert effective(merged)[0]["insecure-oidc-skip-nonce"] is True, "which is why"


def test_a_flag_without_a_name_ends_all_flags() -> None:
    (doubt,) = doubts({"extraArgs": {"": None}})
    assert "every flag" in doubt.found


@pytest.mark.parametrize(
    ("written", "meant"),
    [("cookie_expire", "cookie-expire"), ("request-loging", "request-logging"), ("--footer", "footer"), ("Banner", "banner")],
)
def test_an_unknown_flag_is_told_with_the_nearest_known_one(written: str, meant: str) -> None:
    (doubt,) = doubts({"extraArgs": {written: "x"}})
    assert f"mean {meant}?" in doubt.hint


def test_an_unknown_variable_and_an_unknown_key_are_told_with_the_nearest_known_one() -> None:
    (doubt,) = doubts({"extraEnv": [{"name": "OAUTH2_PROXY_COOKIE_DOMAIN", "value": "x"}]})
    assert "OAUTH2_PROXY_COOKIE_DOMAINS" in doubt.hint
    (doubt,) = doubts({"config": {"existingsecret": "x"}})
    assert "config.existingSecret" in doubt.hint
    (doubt,) = doubts({"extraargs": {}})
    assert "extraArgs" in doubt.hint


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"extraArgs": None}, "extraArgs"),
        ({"extraArgs": "--x"}, "extraArgs"),
        ({"config": None}, "config"),
        ({"config": {"emailDomains": None}}, "config.emailDomains"),
        ({"config": {"requiredSecretKeys": ["client-id"]}}, "config.requiredSecretKeys"),
        ({"proxyVarsAsSecrets": False}, "proxyVarsAsSecrets"),
        ({"proxyVarsAsSecrets": None}, "proxyVarsAsSecrets"),
        ({"alphaConfig": {"enabled": "false"}}, "alphaConfig"),
        ({"htpasswdFile": {"enabled": True}}, "htpasswdFile"),
        ({"ingress": {"enabled": True}}, "ingress.enabled"),
        ({"autoscaling": {"enabled": True}}, "autoscaling.enabled"),
        ({"envFrom": [{"secretRef": {"name": "x"}}]}, "envFrom"),
        ({"sessionStorage": {"type": "cookie"}}, "sessionStorage"),
        ({"extraObjects": []}, "extraObjects"),
        ({"extraContainers": [{"name": "x"}]}, "extraContainers"),
        ({"extraInitContainers": [{"name": "x"}]}, "extraInitContainers"),
        ({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}, "lifecycle.postStart.exec"),
        ({"image": {"command": ["/evil"]}}, "image.command"),
        ({"image": {"tag": "v7.15.1"}}, "image.tag"),
        ({"image": {"tag": "latest"}}, "image.tag"),
        ({"image": {"pullPolicy": "Always\n        command: [x]"}}, "image.pullPolicy"),
        ({"enableServiceLinks": "false\n      hostNetwork: true"}, "enableServiceLinks"),
        ({"metrics": {"serviceMonitor": {"interval": "60s\n---\nkind: Role"}}}, "metrics.serviceMonitor.interval"),
        ({"podLabels": {"app.kubernetes.io/instance": "other"}}, "podLabels.app.kubernetes.io/instance"),
        ({"customLabels": {"gateway-auth/team": "team-b"}}, "customLabels.gateway-auth/team"),
        ({"customLabels": None}, "customLabels"),
        ({"deploymentAnnotations": {"gateway-auth/x": "y"}}, "deploymentAnnotations.gateway-auth/x"),
        ({"deploymentAnnotations": {"x": "{{ .Values.config }}"}}, "deploymentAnnotations.x"),
        ({"extraArgs": {"footer": "{{ .Values.config }}"}}, "extraArgs.footer"),
        ({"extraVolumeMounts": [{"name": "x", "mountPath": "/etc//oauth2_proxy/"}]}, "extraVolumeMounts[0].mountPath"),
        ({"extraVolumeMounts": [{"name": "x", "mountPath": "/etc"}]}, "extraVolumeMounts[0].mountPath"),
        ({"extraVolumeMounts": [{"name": "x", "mountPath": "/etc/oauth2_proxy/oauth2_proxy.cfg", "subPath": "x"}]}, "extraVolumeMounts[0].mountPath"),
        ({"extraVolumeMounts": [{"name": "x", "mountPath": "/bin/oauth2-proxy"}]}, "extraVolumeMounts[0].mountPath"),
        ({"extraVolumes": [{"name": "configmain", "emptyDir": {}}]}, "extraVolumes[0].name"),
        ({"securityContext": {"runAsUser": 0}}, "securityContext.runAsUser"),
        ({"securityContext": {"enabled": False}}, "securityContext.enabled"),
        ({"securityContext": {"privileged": True}}, "securityContext.privileged"),
        ({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}, "securityContext.capabilities"),
        ({"securityContext": None}, "securityContext"),
        ({"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}}, "podSecurityContext.seccompProfile"),
        ({"service": {"type": "LoadBalancer"}}, "service.type"),
        ({"service": {"targetPort": "metrics"}}, "service.targetPort"),
        ({"service": {"portNumber": 8080}}, "service.portNumber"),
        ({"service": "x"}, "service"),
        ({"containerPort": 44180}, "containerPort"),
        ({"serviceAccount": {"automountServiceAccountToken": True}}, "serviceAccount.automountServiceAccountToken"),
        ({"serviceAccount": {"name": "other"}}, "serviceAccount.name"),
        ({"gatewayApi": {"rules": []}}, "gatewayApi.rules"),
        ({"gatewayApi": {"enabled": False}}, "gatewayApi.enabled"),
        ({"extraEnv": [{"name": "GODEBUG", "value": "x509sha1=1"}]}, "extraEnv.GODEBUG"),
        ({"extraEnv": {"a": "b"}}, "extraEnv"),
        ({"redis": {"enabled": True}}, "redis"),
    ],
    ids=str,
)
def test_a_key_of_the_chart_that_undoes_something(values: dict[str, t.Any], path: str) -> None:
    found = paths(values)
    assert path in found
    assert all(other == path or other.startswith(path) for other in found) or values == {"service": "x"}, found


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"extraEnv": [{"name": "AZURE_FEDERATED_TOKEN_FILE", "value": "/other"}]}, "extraEnv.AZURE_FEDERATED_TOKEN_FILE"),
        ({"extraVolumes": [{"name": "entra-token", "emptyDir": {}}]}, "extraVolumes.entra-token"),
        ({"extraVolumeMounts": [{"name": "x", "mountPath": "/var/run/secrets"}]}, "extraVolumeMounts[0].mountPath"),
        ({"podLabels": {"azure.workload.identity/use": "false"}}, "podLabels.azure.workload.identity/use"),
        ({"serviceAccount": {"annotations": {"azure.workload.identity/client-id": "x"}}}, "serviceAccount.annotations.azure.workload.identity/client-id"),
        ({"extraEnv": 7}, "extraEnv"),
        ({"extraEnv": [{"name": "GODEBUG", "value": {"": "", 0: "", "0": 1}}]}, "extraEnv.GODEBUG"),
        ({"": ""}, ""),
    ],
    ids=str,
)
def test_the_federated_token_stays_ours(values: dict[str, t.Any], path: str) -> None:
    assert path in paths(values, FEDERATED)


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"config": {"cookieSecret": "CANARY"}},
        {"redis": {"password": "CANARY"}},
        {"x": {"url": "redis://:CANARY@h"}},
        {"extraArgs": {"client-secret": "CANARY"}},
        {"extraArgs": {"client-secret=CANARY": None}},
        {"extraArgs": {"Client_Secret": "CANARY"}},
        {"extraArgs": ["--client-secret=CANARY"]},
        {"extraArgs": {"redis-connection-url": "redis://:CANARY@h"}},
        {"extraArgs": {"redis-cluster-connection-urls": "redis://a,redis://:CANARY@h"}},
        {"extraEnv": [{"name": "OAUTH2_PROXY_COOKIE_SECRET", "value": "CANARY"}]},
        {"extraEnv": [{"name": "OAUTH2_PROXY_REDIS_CONNECTION_URL", "value": "redis://:CANARY@h"}]},
        {"alphaConfig": {"configData": {"clientSecret": "CANARY"}}},
    ],
    ids=str,
)
def test_a_secret_cannot_be_waived_and_is_not_shown(values: dict[str, t.Any]) -> None:
    found = doubts(values)
    assert [doubt for doubt in found if not doubt.waivable]
    assert "CANARY" not in repr(found)


# --- what is ours -----------------------------------------------------------------------------------------------------


def test_what_we_set_ourselves_is_guarded_but_for_what_is_meant_to_be_changed() -> None:
    """A new flag or value of ours must be judged, or be named here."""
    free = {"provider-display-name", "approval-prompt", "skip-provider-button", "footer", "silence-ping-logging"}
    ours = proxy_values(team())
    assert {flag for flag in ours["extraArgs"] if not FLAGS[flag].guard} == free
    # Judged by their parts: labels, mounts, contexts, hooks.
    tuned = {"enableServiceLinks", "lifecycle", "metrics", "podDisruptionBudget", "podSecurityContext", "resources", "serviceAccount"}
    tuned |= {"topologySpreadConstraints", "customLabels", "extraArgs", "config", "gatewayApi"}
    assert {key for key in ours if key not in _chart_keys.GUARDED} == tuned
    for key in ("config", "gatewayApi", "serviceAccount"):
        assert {f"{key}.{leaf}" for leaf in ours[key]} <= set(_chart_keys.GUARDED) | {"gatewayApi.annotations"}


@pytest.mark.parametrize("option", ["helm_values.extraArgs.x", "gateway_auth_helm_values.extraArgs.x", " helm_values.extraArgs.x "])
def test_waivers_are_compared_in_one_form(option: str) -> None:
    assert waiver_key(option) == "helm_values.extraArgs.x"


def test_a_flag_may_be_waived_by_its_name_a_key_by_its_whole_path_alone() -> None:
    assert doubts({"extraArgs": {"cookie-domain": ".x"}})[0].waivers == {"helm_values.extraArgs.cookie-domain", "cookie-domain"}
    assert doubts({"ingress": {"enabled": True}})[0].waivers == {"helm_values.ingress.enabled"}


def test_without_a_sound_team_what_is_said_at_all_counts() -> None:
    assert [doubt.path for doubt in judge({"extraArgs": {"cookie-name": "x"}}, {}, {"extraArgs": {"cookie-name": "x"}}, set())] == ["extraArgs.cookie-name"]
    assert judge({"extraArgs": {"footer": "x"}}, {}, {"extraArgs": {"footer": "x"}}, set()) == []


def test_arguments_are_in_the_chart_s_order() -> None:
    texts = [argument.text for argument in arguments(release_values(team({"helm_values": {"extraArgs": {"version": None, "acr-values": 1}}})))]
    assert texts[3].startswith("--cookie-name=__Host-")
    assert texts[4] == "--acr-values=1"
    assert texts[-2:] == ["--whitelist-domain=" + proxy_values(team())["extraArgs"]["whitelist-domain"], "--config=/etc/oauth2_proxy/oauth2_proxy.cfg"]
    assert "--version" in texts


def test_arguments_are_read_as_the_program_reads_them() -> None:
    values, troubles = read_arguments([Argument(text) for text in ("--footer", "--x", "--cookie-secure", "--scope=a=b", "word", "--", "--banner=x")])
    assert values == {"footer": ["--x"], "cookie-secure": ["true"], "scope": ["a=b"]}
    assert [trouble.argument.text for trouble in troubles] == ["--footer", "word", "--"]


# --- properties -------------------------------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    ["true", "false", "", "x", "0", "1", "*", "/", ".apps.example.com", HOST, "8h", "lax", "{{ 1 }}", "a\nb", "- #", "a: b", "S256", "{{`{{`}}"]
)
_VALUES = st.one_of(_WORDS, st.booleans(), st.none(), st.integers(-1, 9), st.lists(_WORDS, max_size=2))
_OWN = st.sampled_from(sorted(proxy_values(team())["extraArgs"].items())).map(lambda item: {item[0]: item[1]})


@st.composite
def _spelt(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(sorted(FLAGS)))
    way = draw(st.sampled_from(["{}", "{}", "{}", "{}", "--{}", "{}=false", "{}=", "{} "]))
    return way.format(draw(st.sampled_from([name, name, name, name.upper(), name.replace("-", "_")])))


_ARGUMENTS = st.one_of(
    st.dictionaries(st.one_of(_spelt(), st.just("")), _VALUES, max_size=3),
    _OWN,
    st.lists(st.tuples(_spelt(), _WORDS).map(lambda pair: f"--{pair[0]}={pair[1]}"), max_size=3),
    st.none(),
)
_ENTRY = st.fixed_dictionaries(
    {"name": st.one_of(st.sampled_from(sorted(_proxy_flags.VARIABLES)), st.just("HTTPS_PROXY"))},
    optional={"value": _WORDS, "valueFrom": st.just({"secretKeyRef": {"name": "a", "key": "b"}})},
)
_ANY = st.one_of(st.none(), st.booleans(), st.just({}), st.just([]), _WORDS, st.just({"enabled": True}), st.just([{"name": "configmain", "mountPath": "/etc"}]))


def _nest(path: str, value: t.Any) -> dict[str, t.Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    return t.cast("dict[str, t.Any]", value)


_KEYED = st.tuples(st.sampled_from(sorted({*_chart_keys.KEYS, *_chart_keys.GROUPED})), _ANY).map(lambda pair: _nest(*pair))
USER_VALUES = st.one_of(
    st.fixed_dictionaries({}, optional={"extraArgs": _ARGUMENTS, "extraEnv": st.lists(_ENTRY, max_size=2)}),
    _KEYED,
    st.tuples(_KEYED, _ARGUMENTS).map(lambda pair: {**pair[0], "extraArgs": pair[1]}),
)


@fuzz(examples=300)
@hypothesis.given(values=USER_VALUES, federated=st.booleans())
def test_values_that_pass_leave_every_guarded_setting_as_it_was(values: dict[str, t.Any], federated: bool) -> None:
    before = copy.deepcopy(values)
    plain = team(FEDERATED if federated else {})
    ours, merged = release_values(plain), release_values(dataclasses.replace(plain, helm_values=values))
    own = {*(app.hostname for app in plain.apps), plain.proxy_host}
    found = judge(values, ours, merged, own)
    assert values == before
    if found:
        assert all(doubt.path and doubt.expected and doubt.found for doubt in found)
        return
    settings, troubles = effective(merged)
    wanted, _troubles = effective(ours)
    assert not troubles
    for name, flag in FLAGS.items():
        if flag.guard and name != "whitelist-domain":
            assert settings[name] == wanted[name], name
    assert set(t.cast("tuple[str, ...]", settings["whitelist-domain"])) <= own
    for path in _chart_keys.GUARDED:
        assert _chart_keys.outcome(merged, path) == _chart_keys.outcome(ours, path)


HELM, PROXY = tool("helm"), oauth2_proxy()


@pytest.mark.skipif(not (HELM and PROXY), reason="needs helm and oauth2-proxy: `make sandbox` brings both")
@fuzz(examples=10, slow=True)
@hypothesis.given(values=USER_VALUES)
def test_values_that_pass_leave_the_real_program_s_configuration_as_it_was(values: dict[str, t.Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Rendered by Helm, read by oauth2-proxy itself: provider, groups, issuer, checks of tokens, upstreams and what they lead to."""
    hypothesis.assume(not doubts(values))
    folder = tmp_path_factory.getbasetemp()
    ours, theirs = _converted_ours(folder), _converted(folder, values)
    hypothesis.assume(theirs is not None)  # the stand-in chart doesn't render everything
    assert theirs == ours


@functools.cache
def _converted_ours(folder: pathlib.Path) -> t.Any:
    return _converted(folder, {})


# What a variable may hold that comes from a Secret: something its flag takes, for with anything else the program doesn't start at all.
_TAKEN = {_proxy_flags.BOOL: "true", _proxy_flags.INT: "1", _proxy_flags.DURATION: "1s"}


def _from_secret(variable: str) -> str:
    flag = _proxy_flags.VARIABLES.get(variable)
    return _TAKEN.get(flag.kind, "a secret") if flag else "a secret"


# What is free to differ.
_FREE = ("id", "name", "loginURLParameters", "caFiles", "useSystemTrustStore")


def _converted(folder: pathlib.Path, values: dict[str, t.Any]) -> t.Any:
    """What ``--convert-config-to-alpha`` says of a team's release, without what is free to differ; None if it isn't rendered."""
    source = folder / "values.json"
    mine = team({"helm_values": values})
    source.write_text(json.dumps(release_values(mine)), encoding="utf-8")
    command = [HELM, "template", mine.release, str(CHART), "--namespace", mine.namespace, "--values", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={"PATH": os.environ["PATH"], "HOME": str(folder)})
    if done.returncode:
        return None
    objects = [obj for obj in yaml.safe_load_all(done.stdout) if obj]
    container = next(obj for obj in objects if obj["metadata"]["name"] == mine.release and obj["kind"] == "Deployment")["spec"]["template"]["spec"][
        "containers"
    ][0]
    config = folder / "oauth2_proxy.cfg"
    config.write_text(next(obj for obj in objects if obj["kind"] == "ConfigMap")["data"]["oauth2_proxy.cfg"], encoding="utf-8")
    given = [text.replace("/etc/oauth2_proxy/oauth2_proxy.cfg", str(config)) for text in container["args"]]
    environment = {entry["name"]: _from_secret(entry["name"]) if "valueFrom" in entry else entry.get("value", "") for entry in container["env"]}
    ran = subprocess.run(
        [PROXY, *given, "--convert-config-to-alpha"], capture_output=True, text=True, timeout=20, check=False, env={"PATH": "/", **environment}
    )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    found = yaml.safe_load(ran.stdout)
    for provider in found["providers"]:
        for name in _FREE:
            provider.pop(name, None)
    return found["providers"], found["upstreamConfig"], found.get("injectResponseHeaders")


def test_the_floor_of_the_program_is_the_version_of_the_table() -> None:
    assert ".".join(str(part) for part in _validate_helm.PROXY_FLOOR) == "7.15.3"
