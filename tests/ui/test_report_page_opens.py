"""The page of one clip, opened from a file: its own script runs under its own policy, and nothing sticks out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from tasks.report import render_report
from tests.unit.tasks.test_report_page import data

NARROW = 390


@pytest.fixture
def opened(tmp_path: Path, browser: Any) -> Any:
    path = tmp_path / "clip #1.html"
    path.write_text(render_report(data()), encoding="utf-8")
    browser.get(path.as_uri())
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_its_script_runs_and_the_keys_move_the_wipe(opened: Any) -> None:
    where = 'return document.getElementById("stage").style.getPropertyValue("--x")'
    assert opened.execute_script(where) == "50%"
    opened.find_element(By.TAG_NAME, "body").send_keys("]")
    assert opened.execute_script(where) == "55%"


def test_no_script_but_its_own_runs(opened: Any) -> None:
    """Were markup ever to come through, the content policy would still stop it."""
    planted = 'const s = document.createElement("script"); s.textContent = "window.owned = 1"; document.body.append(s);'
    opened.execute_script(planted + 'document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=\'owned=2\'>");')
    assert opened.execute_async_script("setTimeout(() => arguments[0](window.owned ?? null), 50)") is None


def test_pictures_of_the_page_for_people(opened: Any, screens: Path) -> None:
    for label, width in (("desktop", 1200), ("narrow", NARROW)):
        opened.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 2400, "deviceScaleFactor": 1, "mobile": False},
        )
        opened.save_screenshot(str(screens / f"report-{label}.png"))
        sticks_out = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert opened.execute_script(sticks_out) == 0
