# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One request on its way through the double: what was asked, and what the journal will say of it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from aiohttp import web

from .directory import is_guid
from .errors import StsError, Trace
from .journal import Entry
from .lag import Lag


@dataclass
class Call:
    """A request with its journal entry, its trace ids, and the lag that a fault puts on what it changes."""

    request: web.Request
    entry: Entry
    trace: Trace
    lag: Lag | None = None

    @property
    def path(self) -> str:
        """The path as sent: no percent-decoding that could make two paths one."""
        return self.request.raw_path.partition("?")[0]

    @property
    def query(self) -> str:
        return self.request.raw_path.partition("?")[2]

    def claim_client(self, client_id: str) -> None:
        """Put the client in the journal; only a GUID, since people paste secrets into the wrong field."""
        self.entry.client_id = client_id.lower() if is_guid(client_id) else "(not a GUID)"


def parameters(encoded: str) -> dict[str, str]:
    """Read a query or a form, refusing a name that comes twice (AADSTS9000411)."""
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=100)
    except ValueError as exc:
        raise StsError(9002313) from exc
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise StsError(9000411, name=name)
        found[name] = value
    return found


def required(values: dict[str, str], name: str) -> str:
    """Return a parameter that must be there and not empty (AADSTS900144)."""
    if not values.get(name):
        raise StsError(900144, name=name)
    return values[name]
