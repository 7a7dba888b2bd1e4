# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The login once more with what people use: a real browser that clicks."""

from __future__ import annotations

import pathlib

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from .browser import chromium, missing
from .inventory import Inventory
from .sandbox import LOGIN, ROOT, Sandbox

HOME = "https://prometheus-team-a.gateway-auth.test/"
URL = f"{HOME}graph?g0.expr=up%20x&g0.tab=1"
IMAGE = ROOT / "docs" / "images" / "login.png"


@pytest.mark.browser
def test_alice_clicks_herself_in(sandbox: Sandbox, onboarded: Inventory, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> None:
    packages = missing()
    assert not packages, f"missing: {' '.join(packages)}. Install: apt-get install -y --no-install-recommends {' '.join(packages)} (or: make deps)"
    with chromium(sandbox, tmp_path) as driver:
        driver.get(URL)
        wait = WebDriverWait(driver, 20)
        wait.until(lambda browser: browser.current_url.startswith(f"https://{LOGIN}/"))
        assert "test double" in driver.page_source.lower()
        entry = driver.find_element(By.CSS_SELECTOR, '[data-user="alice@gateway-auth.test"]')
        sign_in = driver.get_screenshot_as_png()
        entry.click()
        # Prometheus leads on from /graph by itself, and its page rewrites the address as it starts.
        wait.until(lambda browser: browser.current_url.startswith(HOME))
        wait.until(lambda browser: "Prometheus" in browser.title)
        assert "g0.expr=up%20x" in driver.current_url
        cookies = {cookie["name"]: cookie for cookie in driver.get_cookies()}
        session = cookies["__Host-o2p-team-a"]
        assert session["secure"]
        assert session["httpOnly"]
        assert session["domain"] == "prometheus-team-a.gateway-auth.test"
        assert len(sign_in) > 1000
        if request.config.getoption("--update-images"):
            driver.set_window_size(1280, 640)
            driver.get(f"{HOME}graph?g0.expr=up&g0.tab=1")
            wait.until(lambda browser: 'instance="localhost:9090"' in browser.find_element(By.TAG_NAME, "body").text)
            IMAGE.parent.mkdir(parents=True, exist_ok=True)
            driver.save_screenshot(str(IMAGE))
