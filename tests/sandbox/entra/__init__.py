# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A strict test double of Microsoft Entra ID, for the sandbox and for tests.

It answers, over TLS, for ``login.microsoftonline.com`` and ``graph.microsoft.com``, so that oauth2-proxy runs with
``--provider=entra-id`` and the flags of production, and Graph's clients as they are. Whatever it accepts, Entra accepts; what
Entra refuses it refuses, with Entra's code.

- ``directory`` the state: tenant, users, groups, applications, service principals, assignments, credentials; ``cast`` reads
  what it starts with
- ``signin`` the OpenID Connect side, with ``token_endpoint``, ``clientauth``, ``grants``, ``tokens``, ``errors`` and ``pages``
- ``graph`` Microsoft Graph v1.0 on the same directory, an operation a function, in ``graph_*``; ``userinfo`` is hosted by it
- ``control`` the control API for tests, on loopback, with ``journal``, ``faults`` and ``lag``
- ``service`` puts them behind two listeners; ``testkit`` runs one inside a test, and ``walk`` and ``graphkit`` are clients
"""
