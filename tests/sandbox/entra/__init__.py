# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A strict test double of Microsoft Entra ID, for the sandbox and for tests.

It answers, over TLS, for ``login.microsoftonline.com`` so that oauth2-proxy runs with ``--provider=entra-id``
and the flags of production. Whatever it accepts, Entra accepts; what Entra refuses it refuses, with Entra's code.

- ``directory`` the state: tenant, users, groups, applications, service principals, credentials
- ``signin`` the OpenID Connect side, with ``clientauth``, ``grants``, ``tokens``, ``errors`` and ``pages``
- ``control`` the control API for tests, on loopback, with ``journal`` and ``faults``
- ``service`` puts them behind two listeners; ``testkit`` runs one inside a test

Microsoft Graph comes next to ``signin``, on the same directory; until then graph.microsoft.com answers 501 for all but the
UserInfo endpoint (``userinfo``), which oauth2-proxy asks at every sign-in.
"""
