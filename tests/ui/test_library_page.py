"""The page of a library as an operator meets it the next morning: opened from a file, in a browser without a window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tasks.library_page import LibraryRow, render_library
from tests.library_rows import HOSTILE, REPLAY, library

FIDELITY = "tr.row td.n[data-label=Fidelity]"
DESKTOP, PHONE = (1400, 1300), (390, 1100)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page of 64 videos and, for each finished one, a file where its report should be."""
    folder = tmp_path_factory.mktemp("library out #1")
    rows = library(folder)
    (folder / "library.html").write_text(render_library(rows, "Nightly <films>", str(folder)), encoding="utf-8")
    for row in rows:
        if row.report:
            Path(row.report).write_text(f"<title>report of {row.seconds}</title>", encoding="utf-8")
    return folder


@pytest.fixture
def opened(shelf: Path, browser: Any) -> Any:
    _size(browser, *DESKTOP)
    browser.get("about:blank")
    browser.get((shelf / "library.html").as_uri())
    return browser


def test_names_that_are_markup_are_names(opened: Any) -> None:
    assert opened.title == "Nightly <films> – Steadyframe library"
    _scroll_to_the_end(opened)
    assert set(HOSTILE) <= set(_names(opened))
    assert not opened.find_elements(By.CSS_SELECTOR, "#list script, img[src=x], .error b b")


def test_what_wants_a_look_comes_first_and_numbers_are_filters(opened: Any) -> None:
    states = _texts(opened, "tr.row .state")
    assert states[:6] == ["dead"] * 6
    assert all("worth a look" in state for state in states[6:13])
    assert not any("worth a look" in state or state == "dead" for state in states[13:])
    for name, count in (("review", 7), ("dead", 6), ("waiting", 1), ("reused", 17), ("done", 57), ("all", 64)):
        button = opened.find_element(By.CSS_SELECTOR, f'[data-show="{name}"]')
        assert button.text.split()[0] == str(count)
        button.click()
        assert _said(opened) == f"{count} of 64 videos"
        assert button.get_attribute("aria-pressed") == "true"
        assert len(opened.find_elements(By.CSS_SELECTOR, '[aria-pressed="true"]')) == 1


def test_the_dead_say_why_and_how_to_try_them_again(opened: Any) -> None:
    opened.find_element(By.CSS_SELECTOR, '[data-show="dead"]').click()
    text = _rows(opened)[1].text
    assert "UnreadableVideo (poison)" in text
    assert "frame 1 does not decode <b>at all</b>; repair the file" in text
    assert REPLAY in text
    assert "3 × DamagedVideo, 3 × UnreadableVideo" in opened.find_element(By.CLASS_NAME, "causes").text


def test_search_takes_every_word_and_sorting_puts_missing_figures_last(opened: Any) -> None:
    find = opened.find_element(By.ID, "find")
    find.send_keys("DAY 1/ clip")
    _until_said(opened, "10 of 64 videos")
    find.send_keys(" nothing like it")
    _until_said(opened, "0 of 64 videos")
    assert _rows(opened) == []
    assert "No video matches" in opened.find_element(By.ID, "none").text
    find.send_keys(Keys.ESCAPE)
    _until_said(opened, "64 of 64 videos")
    opened.find_element(By.CSS_SELECTOR, '[data-sort="fidelity_psnr"]').click()
    _scroll_to_the_end(opened)
    shown = _texts(opened, FIDELITY)[:-1]
    assert opened.find_element(By.CSS_SELECTOR, "th[aria-sort]").get_attribute("aria-sort") == "ascending"
    known = [float(text) for text in shown]
    assert known == sorted(known)
    assert known[0] == 12.0, "the worst first"
    assert [row.find_element(By.CLASS_NAME, "state").text for row in _rows(opened)[-7:]] == ["dead"] * 6 + [
        "not reached"
    ]
    opened.find_element(By.ID, "turn").click()
    assert _rows(opened)[0].find_elements(By.CSS_SELECTOR, "td.n")[2].text == f"{max(known):.2f}"


def test_any_figure_sorts_and_gets_a_column(opened: Any) -> None:
    heads = [head.text for head in opened.find_elements(By.CSS_SELECTOR, "#heads th.n")]
    assert "Pulsing" not in heads
    options = opened.find_elements(By.CSS_SELECTOR, "#sort option")
    next(option for option in options if option.text == "Pulsing").click()
    assert [h.text.rstrip(" ↓") for h in opened.find_elements(By.CSS_SELECTOR, "#heads th.n")][-2:] == [
        "Pulsing",
        "Time",
    ]


def test_keys_alone_find_and_open_a_report_and_back_is_where_one_was(opened: Any, shelf: Path) -> None:
    _press(opened, "2")
    _press(opened, "j")
    _press(opened, "j")
    _press(opened, "k")
    _press(opened, "j")
    focused = opened.switch_to.active_element
    assert focused.get_attribute("aria-rowindex") == "3"
    name = focused.find_element(By.CLASS_NAME, "name").text
    _press(opened, "o")
    assert "Structure over filter" in opened.find_element(By.CSS_SELECTOR, "tr.more").text
    _press(opened, Keys.ENTER)
    WebDriverWait(opened, 10).until(lambda b: b.title.startswith("report of"))
    assert opened.current_url == (shelf / f"{name.replace('/', '_')}--oil.html").as_uri()
    opened.back()
    WebDriverWait(opened, 10).until(lambda b: b.title.startswith("Nightly"))
    assert _said(opened) == "7 of 64 videos"
    _press(opened, "/")
    opened.switch_to.active_element.send_keys("take 3.mp4")
    assert _said(opened) == "1 of 64 videos"
    _press(opened, Keys.ESCAPE)
    assert _said(opened) == "64 of 64 videos"


def test_walking_up_keeps_the_row_out_from_under_the_tools(opened: Any) -> None:
    for key in "j" * 12 + "k" * 6:
        _press(opened, key)
    edge = "return document.querySelector(arguments[0]).getBoundingClientRect()[arguments[1]]"
    assert opened.execute_script(edge, "tr.row:focus", "top") >= opened.execute_script(edge, ".tools", "bottom")
    assert opened.switch_to.active_element.get_attribute("aria-rowindex") == "7"


def test_question_mark_tells_the_keys_and_escape_closes_them(opened: Any) -> None:
    _press(opened, "?")
    dialog = opened.find_element(By.ID, "keys")
    assert dialog.is_displayed()
    assert "next, previous video" in dialog.text
    _press(opened, Keys.ESCAPE)
    assert not dialog.is_displayed()
    opened.find_element(By.ID, "help").click()
    dialog.find_element(By.TAG_NAME, "button").click()
    assert not dialog.is_displayed()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_link_opens_the_report_of_that_very_file(opened: Any, shelf: Path, name: str) -> None:
    _scroll_to_the_end(opened)
    at = _names(opened).index(name)
    link = _rows(opened)[at].find_element(By.CSS_SELECTOR, "a.name")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    link.click()
    WebDriverWait(opened, 10).until(lambda b: b.title.startswith("report of"))
    assert opened.title != "owned"


def test_three_thousand_videos_are_searched_sorted_and_drawn_a_screen_at_a_time(
    tmp_path: Path, browser: Any, screens: Path
) -> None:
    rows = [
        LibraryRow(name=f"clip {n}.mp4", status="done", metrics={"pixel_mse": n * 7 % 3000 / 10}, seconds=n)
        for n in range(3000)
    ]
    (tmp_path / "library.html").write_text(render_library(rows, "Many"), encoding="utf-8")
    _size(browser, *DESKTOP)
    browser.get((tmp_path / "library.html").as_uri())
    assert _said(browser) == "3000 of 3000 videos"
    assert len(_rows(browser)) <= 120
    browser.find_element(By.CSS_SELECTOR, '[data-sort="pixel_mse"]').click()
    assert _texts(browser, "tr.row td.n")[0] == "299.90"
    assert len(_rows(browser)) <= 120
    _scroll_to_the_end(browser, 3)
    assert 120 < len(_rows(browser)) < 3000
    browser.find_element(By.ID, "find").send_keys("2999")
    assert _said(browser) == "1 of 3000 videos"
    for _ in range(4):
        browser.find_element(By.ID, "find").send_keys(Keys.BACKSPACE)
    assert _said(browser) == "3000 of 3000 videos"


def test_pictures_of_the_page_for_people(opened: Any, screens: Path) -> None:
    """Looked at by whoever changes the page; here: nothing sticks out to the side, by day, by night, on a phone."""
    for scheme in ("light", "dark"):
        opened.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        for label, size in (("desktop", DESKTOP), ("narrow", PHONE)):
            _size(opened, *size)
            opened.execute_script("scrollTo(0, 0)")
            opened.save_screenshot(str(screens / f"library-{label}-{scheme}.png"))
            sticks_out = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert opened.execute_script(sticks_out) == 0
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    _size(opened, *DESKTOP)


def _size(browser: Any, width: int, height: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def _rows(browser: Any) -> list[Any]:
    return list(browser.find_elements(By.CSS_SELECTOR, "tr.row"))


def _scroll_to_the_end(browser: Any, times: int = 99) -> None:
    for _ in range(times):
        before = len(_rows(browser))
        browser.execute_script("scrollTo(0, document.body.scrollHeight)")
        browser.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")
        if len(_rows(browser)) == before:
            return


def _names(browser: Any) -> list[str]:
    script = 'return [...document.querySelectorAll("tr.row .name")].map(e => e.textContent)'
    return list(browser.execute_script(script))


def _texts(browser: Any, where: str) -> list[str]:
    """What people read in all elements of a selector; one question, for a driver answers each in milliseconds."""
    return list(
        browser.execute_script("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", where)
    )


def _said(browser: Any) -> str:
    return str(browser.find_element(By.ID, "said").text)


def _until_said(browser: Any, words: str) -> None:
    """A key typed is not yet a page searched, on a busy machine."""
    WebDriverWait(browser, 30).until(lambda b: _said(b) == words, f"the page never said {words!r}")


def _press(browser: Any, key: str) -> None:
    browser.switch_to.active_element.send_keys(key)
