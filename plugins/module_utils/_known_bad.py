# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions that are known to be bad, alone or together (data; ``_versions`` reads it).

One entry for each reason. ``versions`` maps components (``_versions.NAMES``) to ranges such as ``>=7.5.0,<7.15.2``; all of them must
hold. ``refuse`` ends onboard_team and prepare_gateway before the first write and fails verify_team; ``warn`` is told by both. ``since``
is the day from which an entry holds, for what comes to its end. docs/versions.md is made from this list.
"""

from __future__ import annotations

import dataclasses
import typing as t

REFUSE, WARN = "refuse", "warn"


@dataclasses.dataclass(frozen=True)
class KnownBad:
    """Why some versions won't do. ``why`` goes on after "Envoy 1.37.0 (where it runs): "; ``id`` is for ever the same."""

    id: str
    versions: t.Mapping[str, str]
    verdict: str
    why: str
    link: str
    remedy: str
    since: str = ""


_ADVISORY = "https://github.com/oauth2-proxy/oauth2-proxy/security/advisories/"
_UPGRADE_PROXY = "Raise gateway_auth_chart.version (10.7.0 brings oauth2-proxy 7.15.3), or image.tag in gateway_auth_helm_values where it is set."
_MATRIX = "https://gateway.envoyproxy.io/news/releases/matrix/"
_UPGRADE_GATEWAY = "Upgrade Envoy Gateway and its CRDs to a version that is maintained."

KNOWN_BAD: t.Final[tuple[KnownBad, ...]] = (
    # --- Envoy and Envoy Gateway ------------------------------------------------------------------------------------------
    KnownBad(
        "envoy-8202",
        {"envoy": "==1.37.0"},
        REFUSE,
        "it drops Location and Set-Cookie of a refused request, so nobody can log in",
        "https://github.com/envoyproxy/gateway/issues/8202",
        "Upgrade Envoy Gateway to 1.7.1 or newer (1.8 is the floor here), or the image in EnvoyProxy.",
    ),
    KnownBad(
        "envoy-gateway-floor",
        {"envoy-gateway": "<1.8.0"},
        REFUSE,
        "extAuth.http.pathOverride and statusOnError came with 1.8; without them deep links break and groups can be widened by a query",
        "https://gateway.envoyproxy.io/news/releases/notes/v1.8.0/",
        "Upgrade Envoy Gateway and its CRDs to 1.8 or newer.",
    ),
    KnownBad(
        "GHSA-fcrp-7gc2-93g7",
        {"envoy-gateway": ">=1.8.0,<1.8.1"},
        WARN,
        "a policy's backendRefs reach Services of other namespaces without a ReferenceGrant",
        "https://github.com/envoyproxy/gateway/security/advisories/GHSA-fcrp-7gc2-93g7",
        "Upgrade Envoy Gateway to 1.8.1 or newer.",
    ),
    KnownBad(
        "envoy-gateway-1.8-end", {"envoy-gateway": ">=1.8.0,<1.9.0"}, WARN, "1.8 has had no fixes since 2026-11-08", _MATRIX, _UPGRADE_GATEWAY, "2026-11-08"
    ),
    KnownBad(
        "envoy-gateway-1.9-end", {"envoy-gateway": ">=1.9.0,<1.10.0"}, WARN, "1.9 has had no fixes since 2027-02-14", _MATRIX, _UPGRADE_GATEWAY, "2027-02-14"
    ),
    KnownBad(
        "envoy-gateway-1.8-kubernetes",
        {"envoy-gateway": ">=1.8.0,<1.9.0", "kubernetes": "<1.32.0"},
        WARN,
        "Envoy Gateway 1.8 is tested with Kubernetes 1.32 to 1.35",
        _MATRIX,
        "Upgrade the cluster.",
    ),
    KnownBad(
        "envoy-gateway-1.9-kubernetes",
        {"envoy-gateway": ">=1.9.0,<1.10.0", "kubernetes": "<1.33.0"},
        WARN,
        "Envoy Gateway 1.9 is tested with Kubernetes 1.33 to 1.36",
        _MATRIX,
        "Upgrade the cluster.",
    ),
    KnownBad(
        "gateway-api-rule-names",
        {"gateway-api": "<1.4.0"},
        REFUSE,
        "the standard channel has no names of HTTPRoute rules before 1.4, so a policy can't be tied to the sentinel rule and no app would be opened",
        "https://gateway-api.sigs.k8s.io/geps/gep-995/",
        "Upgrade the Gateway API's CRDs to bundle 1.4 or newer.",
    ),
    KnownBad(
        "kubernetes-sleep",
        {"kubernetes": "<1.30.0"},
        REFUSE,
        "the sleep before a pod of the proxy ends is on by default from 1.30; before, the API server refuses the Deployment",
        "https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/",
        "Upgrade the cluster.",
    ),
    # --- oauth2-proxy -----------------------------------------------------------------------------------------------------
    KnownBad(
        "GHSA-7x63-xv5r-3p2x",
        {"oauth2-proxy": ">=7.5.0,<7.15.2"},
        REFUSE,
        "a forged X-Forwarded-Uri passes its rules for paths without a log-in (CVE-2026-40575, critical)",
        f"{_ADVISORY}GHSA-7x63-xv5r-3p2x",
        _UPGRADE_PROXY,
    ),
    KnownBad(
        "GHSA-5hvv-m4w4-gf6v",
        {"oauth2-proxy": "<7.15.2"},
        REFUSE,
        "with a health check's User-Agent a request passes without a log-in (CVE-2026-34457, critical)",
        f"{_ADVISORY}GHSA-5hvv-m4w4-gf6v",
        _UPGRADE_PROXY,
    ),
    KnownBad(
        "GHSA-pxq7-h93f-9jrg",
        {"oauth2-proxy": "<7.15.2"},
        REFUSE,
        "a `#` in the path widens its rules for paths without a log-in (CVE-2026-41059, high)",
        f"{_ADVISORY}GHSA-pxq7-h93f-9jrg",
        _UPGRADE_PROXY,
    ),
    KnownBad(
        "GHSA-c5c4-8r6x-56w3",
        {"oauth2-proxy": "<7.15.2"},
        WARN,
        "an address with two @ passes a rule on e-mail domains (CVE-2026-40574, moderate; groups decide here, so nothing hangs on it)",
        f"{_ADVISORY}GHSA-c5c4-8r6x-56w3",
        _UPGRADE_PROXY,
    ),
    KnownBad(
        "GHSA-f24x-5g9q-753f",
        {"oauth2-proxy": ">=7.11.0,<7.15.2"},
        WARN,
        "the sign-in page leaves the old session in place (CVE-2026-34454)",
        f"{_ADVISORY}GHSA-f24x-5g9q-753f",
        _UPGRADE_PROXY,
    ),
    KnownBad(
        "GHSA-vjrc-mh2v-45x6",
        {"oauth2-proxy": "<7.13.0"},
        WARN,
        "headers with underscores smuggle an identity to its own upstreams (CVE-2025-64484; here the gateway strips them)",
        f"{_ADVISORY}GHSA-vjrc-mh2v-45x6",
        _UPGRADE_PROXY,
    ),
    KnownBad(
        "GHSA-7rh7-c77v-6434",
        {"oauth2-proxy": "<7.11.0"},
        WARN,
        "its rules for paths without a log-in match the query as well (CVE-2025-54576; such rules need a waiver here)",
        f"{_ADVISORY}GHSA-7rh7-c77v-6434",
        _UPGRADE_PROXY,
    ),
    KnownBad(
        "oauth2-proxy-7.15.3",
        {"oauth2-proxy": "<7.15.3"},
        WARN,
        "7.15.3 brought fixes of Go and its libraries, and is what this collection is tested with",
        "https://github.com/oauth2-proxy/oauth2-proxy/releases/tag/v7.15.3",
        _UPGRADE_PROXY,
    ),
    KnownBad(
        "chart-security",
        {"chart": "<10.4.3"},
        REFUSE,
        "it installs an oauth2-proxy older than the security release 7.15.2",
        "https://github.com/oauth2-proxy/manifests/releases/tag/oauth2-proxy-10.4.3",
        "Set gateway_auth_chart.version to 10.7.0 or newer.",
    ),
    KnownBad(
        "chart-floor",
        {"chart": "<10.7.0"},
        REFUSE,
        "it ignores values that this collection writes, without a word",
        "https://github.com/oauth2-proxy/manifests/releases/tag/oauth2-proxy-10.7.0",
        "Set gateway_auth_chart.version to 10.7.0 or newer.",
    ),
    # --- what runs the playbooks ------------------------------------------------------------------------------------------
    KnownBad(
        "helm-floor",
        {"helm": "<3.18.0"},
        REFUSE,
        "this collection and kubernetes.core are tested from Helm 3.18.0 on",
        "https://helm.sh/docs/topics/version_skew/",
        "Upgrade Helm to 3.18.0 or newer.",
    ),
    KnownBad(
        "helm-4-kubernetes.core",
        {"helm": ">=4.0.0", "kubernetes.core": "<6.5.0"},
        REFUSE,
        "the collection asks Helm 4 for flags that it dropped: it would install and then fail the task",
        "https://github.com/ansible-collections/kubernetes.core/blob/main/CHANGELOG.rst",
        "Use kubernetes.core 6.5.0 or newer, or Helm 3.18.",
    ),
    KnownBad(
        "helm-4.2-kubernetes.core",
        {"helm": ">=4.2.1", "kubernetes.core": "<6.6.0"},
        WARN,
        "Helm writes its progress to stdout, which the collection reads as the answer",
        "https://github.com/ansible-collections/kubernetes.core/blob/main/CHANGELOG.rst",
        "Use kubernetes.core 6.6.0 or newer.",
    ),
    KnownBad(
        "ansible-core-floor",
        {"ansible-core": "<2.19.0"},
        REFUSE,
        "values carry their origin from 2.19 on, by which a team's own file is told from the platform's",
        "https://docs.ansible.com/ansible-core/2.19/porting_guides/porting_guide_core_2.19.html",
        "Upgrade ansible-core to 2.19 or newer.",
    ),
)
