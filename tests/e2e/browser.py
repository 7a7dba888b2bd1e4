# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Headless Chromium on a throw-away profile that trusts the sandbox's CA and nothing else beside the system's.

The CA goes into the profile's own NSS database, as an administrator would put it there: certificate errors are never ignored.
"""

from __future__ import annotations

import collections.abc
import contextlib
import os
import pathlib
import shutil
import subprocess

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from .sandbox import Sandbox

TOOLS = {"chromium": "chromium", "chromedriver": "chromium-driver", "certutil": "libnss3-tools"}
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # as root; the pages are the sandbox's own
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--hide-scrollbars",
    "--window-size=1280,800",
)


def missing() -> list[str]:
    """Debian packages whose tools aren't there."""
    return sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})


@contextlib.contextmanager
def chromium(sandbox: Sandbox, folder: pathlib.Path) -> collections.abc.Iterator[webdriver.Chrome]:
    """A browser whose every request goes through the sandbox's proxy."""
    database = folder / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil = ["certutil", "-d", f"sql:{database}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True, capture_output=True)
    subprocess.run([*certutil, "-A", "-n", "sandbox", "-t", "C,,", "-i", sandbox.ca], check=True, capture_output=True)
    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--proxy-server={sandbox.env['SANDBOX_PROXY']}"):
        options.add_argument(flag)
    # Chromium looks for the database under HOME.
    service = Service(shutil.which("chromedriver"), env={**os.environ, "HOME": str(folder)})
    driver = webdriver.Chrome(options, service)
    try:
        driver.set_page_load_timeout(30)
        yield driver
    finally:
        driver.quit()
