# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets in what others wrote, covered before it is shown: arguments, settings, variables, values of a release."""

from __future__ import annotations

import re
import typing as t

SECRET_NAME = re.compile(r"(?i)secret|passw|token|key")
# Keys of values and flags that hold a secret itself: not `existingSecret`, `passwordKey` or `cookie-secret-file`, which say where one is.
_SECRET_KEY = re.compile(r"(?i)^(?:client|cookie)[-_]?secret$|password$|(?:jwt|signature)[-_]?key$|^token$")
_SETTING = re.compile(r"(?im)^(\s*-{0,2}[\w.-]*(?:secret|passw|token|key)[\w.-]*[ \t]*[=:][ \t]*)(?!(?:true|false)$)\S.*$")
_USERINFO = re.compile(r"(://[^/@\s:]*:)[^/@\s]+@")
COVERED = "********"


def covered(value: t.Any) -> t.Any:
    """A value in which flags, settings and variables that are named like secrets don't show what they hold."""
    if isinstance(value, dict):
        secret = "value" in value and SECRET_NAME.search(str(value.get("name", "")))
        return {key: COVERED if secret and key == "value" else covered(item) for key, item in value.items()}
    if isinstance(value, list):
        return [covered(item) for item in value]
    if isinstance(value, str):
        return _USERINFO.sub(rf"\1{COVERED}@", _SETTING.sub(rf"\1{COVERED}", value))
    return value


def covered_values(values: t.Any) -> t.Any:
    """``covered``, for the values of a release that somebody else made: they may hold secrets themselves, by their key."""
    if isinstance(values, dict):
        return {key: COVERED if _SECRET_KEY.search(str(key)) and _is_set(item) else covered_values(item) for key, item in values.items()}
    if isinstance(values, list):
        return [covered(item) if isinstance(item, str) else covered_values(item) for item in covered(values)]
    return covered(values)


def _is_set(value: t.Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""
