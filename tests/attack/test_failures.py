# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""While parts are missing, and under a flood: an anonymous client and a signed-in user never stop asking.

Of the parts that fail, all come back by the end of their test; what a test takes away by hand is team k1's.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import json
import os
import re
import time
import typing as t

import pytest
import yaml

from tests.e2e.inventory import Inventory
from tests.e2e.load import Load
from tests.e2e.login import Browser
from tests.e2e.poller import CLOSED_KINDS, LEAST_RATE, Poller
from tests.e2e.sandbox import LOGIN, ROOT, CommandError, Sandbox

from .cast import HOSTS, K1_NAMESPACE, K1_RELEASE
from .conftest import Tally
from .target import Target, telling
from .test_sessions import is_sign_in
from .wire import Answer, Door, exchange, head, in_parallel

SignIn = collections.abc.Callable[[str, str], Browser]
HOST = HOSTS["plain"]
SETTLE_S = 40.0
STORE = f"{K1_RELEASE}-store"
FLOOD = int(os.environ.get("ATTACK_FLOOD") or 2000)
LANES = 8


@dataclasses.dataclass
class Siege:
    """Both clients at work on a host; ``verdict`` is drawn up when the block ends."""

    sandbox: Sandbox
    host: str
    browser: Browser
    poller: Poller
    load: Load

    def hold(self, seconds: float) -> None:
        time.sleep(seconds)

    @property
    def users_saw(self) -> set[int]:
        return set(self.load.counts)


@contextlib.contextmanager
def siege(sandbox: Sandbox, sign_in: SignIn, tally: Tally, host: str = HOST, rate: float = 20.0) -> collections.abc.Iterator[Siege]:
    """No answer of the app goes to the anonymous client while the block lasts."""
    browser = sign_in("alice", host)
    with Poller(sandbox, [host]) as poller, Load(sandbox, host, [browser], rate=rate) as load:
        running = Siege(sandbox, host, browser, poller, load)
        yield running
    print(poller.report(), dict(load.counts), load.failures[:3])
    assert poller.opened() == [], poller.report()
    assert set(poller.kinds(host)) <= set(CLOSED_KINDS)
    assert poller.rate(host) >= 0.6 * LEAST_RATE, "too few requests to have seen a gap"
    tally.add(len(poller.samples))


def scale(sandbox: Sandbox, namespace: str, deployment: str, replicas: int) -> None:
    """With 0: until the last pod is gone; else until all are ready."""
    sandbox.kubectl("-n", namespace, "scale", f"deployment/{deployment}", f"--replicas={replicas}")
    if replicas:
        sandbox.kubectl("-n", namespace, "rollout", "status", f"deployment/{deployment}", "--timeout=90s")
        return
    selector = sandbox.get("deployment", deployment, namespace)["spec"]["selector"]["matchLabels"]
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    sandbox.kubectl("-n", namespace, "delete", "pod", "-l", labels, "--grace-period=1", "--wait=true", "--timeout=60s")


def settled(browser: Browser, host: str, wanted: collections.abc.Collection[int]) -> int:
    deadline = time.monotonic() + SETTLE_S
    while (status := browser.get(f"https://{host}/").status) not in wanted and time.monotonic() < deadline:
        time.sleep(0.3)
    assert status in wanted
    return status


@pytest.mark.attack("applied-in-order")
def test_no_app_answers_while_it_comes_online(coming_online: Poller, tally: Tally) -> None:
    for name in ("plain", "narrow"):
        assert coming_online.kinds(HOSTS[name])[0] == "no route", coming_online.report()
        assert coming_online.kinds(HOSTS[name])[-1] in ("login", "refused")
    assert coming_online.opened() == [], coming_online.report()
    tally.add(len(coming_online.samples))


@pytest.mark.attack("proxy-gone")
def test_without_its_proxy_an_app_answers_503_to_everybody(sandbox: Sandbox, k1: Inventory, sign_in: SignIn, tally: Tally) -> None:
    replicas = sandbox.get("deployment", K1_RELEASE, K1_NAMESPACE)["spec"]["replicas"]
    with siege(sandbox, sign_in, tally) as running:
        try:
            scale(sandbox, K1_NAMESPACE, K1_RELEASE, 0)
            running.hold(2)
            during = running.browser.get(f"https://{HOST}/")
        finally:
            scale(sandbox, K1_NAMESPACE, K1_RELEASE, replicas)
        settled(running.browser, HOST, (200,))
    assert during.status == 503
    assert running.users_saw <= {200, 503}
    assert "unavailable" in running.poller.kinds(HOST)


@pytest.mark.attack("store-gone")
def test_without_its_session_store_an_app_answers_nobody(sandbox: Sandbox, k1: Inventory, sign_in: SignIn, tally: Tally) -> None:
    with siege(sandbox, sign_in, tally) as running:
        try:
            scale(sandbox, K1_NAMESPACE, STORE, 0)
            running.hold(2)
            during = running.browser.get(f"https://{HOST}/")
        finally:
            scale(sandbox, K1_NAMESPACE, STORE, 1)
        settled(Browser(sandbox, "alice"), HOST, (302,))
    assert during.status in (302, 500, 503), during.text[:300]
    assert running.browser.get(f"https://{HOST}/").status != 200, "the store holds no session any more"
    assert sign_in("alice", HOST).get(f"https://{HOST}/").status == 200


@pytest.mark.attack("entra-gone")
def test_without_entra_nobody_new_gets_in(sandbox: Sandbox, k1: Inventory, sign_in: SignIn, tally: Tally) -> None:
    """Every connection to Entra's hosts ends without an answer, as on a network that fails."""
    with siege(sandbox, sign_in, tally) as running:
        try:
            sandbox.entra(
                "PUT",
                "/faults",
                [{"match": {"host": LOGIN}, "action": {"drop": "before"}}, {"match": {"host": "graph.microsoft.com"}, "action": {"drop": "before"}}],
            )
            running.hold(8)  # more than one refresh of the session
            begun = Browser(sandbox).get(f"https://{HOST}/")
        finally:
            sandbox.entra("DELETE", "/faults")
    assert begun.status == 302
    assert begun.location.startswith(f"https://{LOGIN}/")
    assert running.users_saw <= {200, 302, 403, 500, 503}, running.load.counts
    assert sign_in("alice", HOST).get(f"https://{HOST}/").status == 200


@pytest.mark.attack("controller-gone")
def test_without_envoy_gateway_s_controller_doors_stay_as_they_are(sandbox: Sandbox, k1: Inventory, sign_in: SignIn, tally: Tally) -> None:
    """Nor when one of the Envoys goes as well and comes back to nobody who tells it its routes."""
    place = "envoy-gateway-system"
    with siege(sandbox, sign_in, tally) as running:
        try:
            scale(sandbox, place, "envoy-gateway", 0)
            running.hold(1)
            assert running.browser.get(f"https://{HOST}/").status == 200
            envoys = sandbox.get("pod", namespace=place, labels="gateway.envoyproxy.io/owning-gateway-name=main")
            assert len(envoys) == 2
            sandbox.kubectl("-n", place, "delete", "pod", envoys[0]["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")
            running.hold(3)
        finally:
            scale(sandbox, place, "envoy-gateway", 1)
        name = sandbox.get("deployment", namespace=place, labels="gateway.envoyproxy.io/owning-gateway-name=main")[0]["metadata"]["name"]
        sandbox.kubectl("-n", place, "rollout", "status", f"deployment/{name}", "--timeout=90s")
        settled(running.browser, HOST, (200,))
    assert running.load.counts[200] > 0


@pytest.mark.attack("policy-deleted")
def test_a_policy_is_not_deleted_by_hand_and_one_that_is_released_first_is_told_and_put_back(sandbox: Sandbox, k1: Inventory, door: Door, tally: Tally) -> None:
    """The API server refuses the deletion. Whoever says so first, by the annotation of docs/admission.md, opens the app by it.

    Then verify_team names it, and onboard_team closes the door again, the route taken away first.
    """
    host = HOSTS["patient"]
    policy = ("securitypolicy", f"oauth2-patient-{K1_NAMESPACE.removeprefix('monitoring-')}")
    with Poller(sandbox, [host]) as poller:
        with pytest.raises(CommandError, match="gateway-auth"):
            sandbox.kubectl("-n", K1_NAMESPACE, "delete", *policy)
        time.sleep(1.5)
    tally.add(len(poller.samples))
    assert poller.opened() == [], poller.report()
    with Poller(sandbox, [host]) as poller:
        sandbox.kubectl("-n", K1_NAMESPACE, "annotate", *policy, "gateway-auth/remove=true")
        sandbox.kubectl("-n", K1_NAMESPACE, "delete", *policy)
        time.sleep(1.5)
    tally.add(len(poller.samples))
    assert poller.opened(), "the app didn't open, so what follows shows nothing"
    verdict = sandbox.playbook("verify_team", "-e", "team=k1", inventory=k1.path)
    assert verdict.rc != 0
    assert "oauth2-patient-team-k1" in verdict.output, verdict.output[-3000:]
    with Poller(sandbox, [host]) as poller:
        sandbox.playbook("onboard_team", "-e", "team=k1", inventory=k1.path).must()
        time.sleep(1.0)
    late = [sample for sample in poller.samples if sample.at > poller.seconds - 1.0]
    assert late
    assert {sample.kind for sample in late} <= {"login", "refused"}, poller.report()
    assert is_sign_in(Target(host, door).get("/"))


# --- floods -----------------------------------------------------------------------------------------------------------------


def store_size(sandbox: Sandbox) -> tuple[int, int]:
    """Keys in team k1's session store, and the bytes they take."""
    script = "IFS= read -r REDISCLI_AUTH < /run/secrets/store/redis-password || true; export REDISCLI_AUTH; valkey-cli dbsize; valkey-cli info memory"
    told = sandbox.kubectl("-n", K1_NAMESPACE, "exec", f"deployment/{STORE}", "--", "sh", "-c", script)
    keys = re.search(r"^(?:\(integer\) )?(\d+)$", told, re.MULTILINE)
    used = re.search(r"used_memory_dataset:(\d+)", told)
    assert keys, told
    assert used, told
    return int(keys[1]), int(used[1])


def restarts(sandbox: Sandbox) -> int:
    pods = sandbox.get("pod", namespace=K1_NAMESPACE)
    return sum(status["restartCount"] for pod in pods for status in pod["status"].get("containerStatuses", []))


@pytest.mark.attack("flood")
def test_a_flood_without_a_session_stores_nothing_and_stops_nobody(
    sandbox: Sandbox, k1: Inventory, sign_in: SignIn, apps: dict[str, Target], tally: Tally
) -> None:
    target = apps["plain"]
    alice = sign_in("alice", HOST)
    before, again = store_size(sandbox), restarts(sandbox)
    assert before[0] > 0, "there is a session, so the store must hold something"

    def shoot(number: int) -> Answer:
        return target.get(f"/flood?n={number}", ("Cookie", f"__Host-o2p-team-k1=v2.{number:040d}.AAAA|1|AAAA"))

    with Load(sandbox, HOST, [alice], rate=10.0) as load:
        began = time.monotonic()
        answers = in_parallel(shoot, range(FLOOD))
        seconds = time.monotonic() - began
    print(f"{FLOOD} requests in {seconds:.1f} s; users: {dict(load.counts)}; store before {before}, after {store_size(sandbox)}")
    assert {target.judge(answer) for answer in answers} <= {"sign-in", "unavailable", "refused"}
    assert load.failures == [], load.failures[:5]
    assert load.counts[200] > 0
    after = store_size(sandbox)
    assert after[0] <= before[0], (before, after)
    # Whatever is stored of a request takes a hundred bytes or more. What the user's own refresh brings (Valkey's first script, a histogram
    # for each command it hasn't seen before: 170 KB were seen) doesn't grow with the flood.
    assert after[1] <= before[1] + max(64 << 10, 8 * FLOOD), (before, after)
    assert restarts(sandbox) == again
    tally.add(FLOOD)


def documented_limit() -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """The EnvoyProxy and the BackendTrafficPolicy of docs/security.md."""
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    block = page.partition("<!-- rate limit -->")[2].partition("```yaml\n")[2].partition("```")[0]
    proxy, policy = yaml.safe_load_all(block)
    assert (proxy["kind"], policy["kind"]) == ("EnvoyProxy", "BackendTrafficPolicy")
    return proxy, policy


def asked_of_the_proxy(sandbox: Sandbox) -> int:
    """Requests that team k1's oauth2-proxies have answered with a redirect, by their own metrics."""
    total = 0.0
    for pod in sandbox.get("pod", namespace=K1_NAMESPACE, labels="app.kubernetes.io/name=oauth2-proxy"):
        text = sandbox.kubectl("get", "--raw", f"/api/v1/namespaces/{K1_NAMESPACE}/pods/{pod['metadata']['name']}:44180/proxy/metrics")
        total += sum(float(value) for value in re.findall(r'^oauth2_proxy_requests_total\{[^}]*code="302"[^}]*\} (\S+)$', text, re.MULTILINE))
    return int(total)


def burst(target: Target, count: int) -> list[Answer]:
    """Requests without a session as fast as a few kept connections carry them."""

    def lane(_number: int) -> list[Answer]:
        with target.door.secure(target.host) as connection:
            return [exchange(connection, head("GET", "/flood", target.host, ("Accept", "text/html"), close=False))[0] for _ in range(count // LANES)]

    return [answer for answers in in_parallel(lane, range(LANES)) for answer in answers]


@pytest.mark.attack("flood-limited")
def test_the_documented_rate_limit_refuses_before_the_proxy_is_asked(
    sandbox: Sandbox, k1: Inventory, apps: dict[str, Target], sign_in: SignIn, tally: Tally
) -> None:
    target = apps["narrow"]
    proxy, policy = documented_limit()
    running = sandbox.get("gatewayclass", "envoy")["spec"]["parametersRef"]
    proxy["metadata"] = {"name": running["name"], "namespace": running["namespace"]}
    policy["metadata"]["namespace"] = K1_NAMESPACE
    policy["spec"]["targetRefs"][0]["name"] = "narrow-team-k1"
    limit = policy["spec"]["rateLimit"]["local"]["rules"][0]["limit"]["requests"]

    try:
        sandbox.apply(proxy, policy)
        deadline = time.monotonic() + SETTLE_S
        while not any(answer.status == 429 for answer in burst(target, 6 * limit)):
            assert time.monotonic() < deadline, "no 429 came"
        time.sleep(1.5)  # the bucket fills again
        before = asked_of_the_proxy(sandbox)
        answers = burst(target, 10 * limit)
        asked = asked_of_the_proxy(sandbox) - before
        counts = {status: sum(answer.status == status for answer in answers) for status in {answer.status for answer in answers}}
        print(f"limit {limit}: answers {counts}, asked of the proxy {asked}")
        assert set(counts) == {302, 429}, counts
        assert asked == counts[302], "a request that was refused with 429 has reached the proxy"
        assert all(b'"pod"' not in answer.body for answer in answers)
        time.sleep(1.5)
        assert sign_in("alice", target.host).get(f"https://{target.host}/").status == 200
        tally.add(len(answers))
    finally:
        with contextlib.suppress(CommandError):
            sandbox.kubectl("-n", K1_NAMESPACE, "delete", "backendtrafficpolicy", policy["metadata"]["name"], "--ignore-not-found")
        patch = json.dumps([{"op": "remove", "path": "/spec/filterOrder"}])
        with contextlib.suppress(CommandError):
            sandbox.kubectl("-n", running["namespace"], "patch", "envoyproxy", running["name"], "--type=json", "-p", patch)
    deadline = time.monotonic() + SETTLE_S
    while any(answer.status == 429 for answer in burst(target, 6 * limit)):
        assert time.monotonic() < deadline, "429 after the limit was removed"


def test_the_sandbox_is_as_it_was(sandbox: Sandbox, k1: Inventory, apps: dict[str, Target]) -> None:
    assert "filterOrder" not in sandbox.get("envoyproxy", "sandbox", "envoy-gateway-system")["spec"]
    for name, target in apps.items():
        answer = target.get("/closed")
        assert is_sign_in(answer), (name, telling(answer))
