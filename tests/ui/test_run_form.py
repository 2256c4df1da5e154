"""The run forms as a newcomer meets them: opened, sent untouched or edited, and the run is picked up and completes."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException
from selenium.webdriver.common.keys import Keys

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
SECONDS = 600 if os.environ.get("STEADYFRAME_UI_REAL") else 90
UNTOUCHED: dict[str, dict[str, Any]] = {
    "library": {"sources": ["demo"], "preset": "pocket"},
    "deflicker": {"source": "demo", "guide": "demo"},
}
FIELD = """
    const label = [...document.querySelectorAll('label')].find(
        l => l.innerText.trim().toLowerCase().split(' (')[0] === arguments[1])
    const after = f => !arguments[1] || label?.compareDocumentPosition(f) & Node.DOCUMENT_POSITION_FOLLOWING
    return [...document.querySelectorAll('input, textarea')].find(f => f.value === arguments[0] && after(f))
"""  # the field that holds a value, after a label where one is named
PROGRESS = {"artifacts": {"type": {"any_": ["progress"]}}}


def test_the_untouched_form_submits_and_the_run_completes(served: Any, browser: Any, screens: Path) -> None:
    _send_untouched(browser, served.form, screens / "run-form.png")
    runs = _until(lambda: _runs(served, "restyle"), 60)
    assert runs, _text(browser)[-300:] + (served.folder / "server" / "server.log").read_text()
    (run,) = runs
    assert run["parameters"]["job"]["sources"] == ["demo"]
    (video,) = _until(lambda: _post(served, "artifacts/filter", PROGRESS) and _runs(served, "restyle-video"), 60)
    time.sleep(2)
    _picture(browser, f"{served.page}/v2/runs/flow-run/{video['id']}", screens / "run-in-progress.png")
    (progress,) = _post(served, "artifacts/filter", PROGRESS)
    _picture(browser, f"{served.page}/v2/artifacts/artifact/{progress['id']}", screens / "progress.png")
    assert _until(lambda: _state(served, run["id"]) in FINAL, SECONDS)
    assert _state(served, run["id"]) == "COMPLETED"
    assert list((served.folder / "steadyframe-out").glob("demo--watercolor*.mp4"))
    page = f"{served.page}/v2/runs/flow-run/{video['id']}"
    for tab in ("Logs", "TaskRuns", "Artifacts"):
        _picture(browser, f"{page}?tab={tab}", screens / f"run-{tab.lower()}.png")
        assert "demo.mp4 · watercolor" in _text(browser)
    for artifact in _post(served, "artifacts/filter", {}):
        _picture(browser, f"{served.page}/v2/artifacts/artifact/{artifact['id']}", screens / f"{artifact['key']}.png")


@pytest.mark.parametrize("flow", ["library", "deflicker"])
def test_the_other_untouched_forms_submit_and_complete(served: Any, browser: Any, screens: Path, flow: str) -> None:
    new = _sent(served, browser, flow, screens / f"run-form-{flow}.png")
    assert new["parameters"]["job"] == {**new["parameters"]["job"], **UNTOUCHED[flow]}
    assert _until(lambda: _state(served, new["id"]) in FINAL, SECONDS)
    assert _state(served, new["id"]) == "COMPLETED"
    _picture(browser, f"{served.page}/v2/runs/flow-run/{new['id']}?tab=Artifacts", screens / f"run-{flow}.png")


@pytest.mark.parametrize("flow", ["restyle", "library", "deflicker"])
def test_an_edited_form_submits_what_was_typed(served: Any, browser: Any, screens: Path, flow: str) -> None:
    def edit() -> None:
        _type_over(browser, "steadyframe-out", f"edited-{flow}")
        _type_over(browser, "0", "17", label="seed")

    new = _sent(served, browser, flow, screens / f"run-form-{flow}-edited.png", edit)
    assert (new["parameters"]["job"]["out"], new["parameters"]["job"]["seed"]) == (f"edited-{flow}", 17)
    assert _until(lambda: _state(served, new["id"]) in FINAL, SECONDS)
    assert _state(served, new["id"]) == "COMPLETED"
    assert list((served.folder / f"edited-{flow}").rglob("demo--*.mp4"))


def test_a_form_with_a_password_in_an_address_is_refused_before_it_is_stored(
    served: Any, browser: Any, screens: Path
) -> None:
    before = {run["id"] for run in _runs(served, "restyle")}
    form = _form(served, "restyle")
    _open(browser, form)
    _type_over(browser, "steadyframe-out", "https://me:planted-password@host/out")
    _press(browser, "Submit")
    assert _until(lambda: "match" in _text(browser).lower() or "error" in _text(browser).lower(), 10)
    browser.save_screenshot(str(screens / "run-form-refused.png"))
    assert {run["id"] for run in _runs(served, "restyle")} == before
    kept = [path for path in (served.folder / "server").rglob("*") if path.is_file()]
    assert not [path for path in kept if b"planted-password" in path.read_bytes()]


def test_the_old_form_accepts_it_too(served: Any, browser: Any, screens: Path) -> None:
    before = {run["id"] for run in _runs(served, "restyle")}
    _send_untouched(browser, served.form.replace("/v2/", "/"), screens / "run-form-v1.png")
    new = _until(lambda: [run for run in _runs(served, "restyle") if run["id"] not in before], 60)
    assert [run["parameters"]["job"]["style"] for run in new] == ["watercolor"], _text(browser)[-300:]


def test_no_page_of_the_ui_reached_beyond_this_machine(served: Any, browser: Any) -> None:
    """The new UI would ask amplitude.com for settings; whether that succeeds depends on the network, so: blocked."""
    asked, blocked = {}, set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        about = message["params"]
        if message["method"] == "Network.requestWillBeSent":
            asked[about["requestId"]] = urlsplit(about["request"]["url"])
        if message["method"] == "Network.loadingFailed" and about.get("blockedReason") == "csp":
            blocked.add(about["requestId"])
    ours = urlsplit(served.page).netloc
    assert ours in {url.netloc for url in asked.values()}
    sent = {i: url for i, url in asked.items() if url.scheme.startswith("http") and i not in blocked}
    assert {url.netloc for url in sent.values()} == {ours}


def test_ctrl_c_leaves_no_process(served: Any, browser: Any, processes_of: Callable[[Path], list[str]]) -> None:
    assert processes_of(served.folder)
    os.killpg(served.process.pid, signal.SIGINT)
    assert served.process.wait(40) == 0
    assert _until(lambda: not processes_of(served.folder), 5), processes_of(served.folder)


def _form(served: Any, flow: str) -> str:
    """Address of the run form of a flow."""
    found = {d["entrypoint"].rpartition(".")[2]: d["id"] for d in _post(served, "deployments/filter", {})}
    return f"{served.page}/v2/deployments/deployment/{found[flow]}/run"


def _sent(
    served: Any, browser: Any, flow: str, picture: Path, edit: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Send the form of a flow and return the run that came of it."""
    before = {run["id"] for run in _runs(served, flow)}
    _send_untouched(browser, _form(served, flow), picture, edit)
    found = _until(lambda: [run for run in _runs(served, flow) if run["id"] not in before], 60)
    assert found, _text(browser)[-300:]
    return dict(found[0])


def _open(browser: Any, form: str) -> None:
    browser.get(form)
    assert _until(lambda: _button(browser, "Submit") and "seed" in _text(browser).lower(), 60), _text(browser)[-300:]
    _settled(browser)


def _type_over(browser: Any, old: str, new: str, label: str = "") -> None:
    """Replace the value `old` of a field by keys, as a person does; of several, the one after the text `label`."""

    def typed() -> bool:
        field = browser.execute_script(FIELD, old, label) or browser.execute_script(FIELD, new, label)
        try:
            if field is not None and field.get_property("value") != new:
                field.send_keys(Keys.CONTROL, "a")
                field.send_keys(new)
            return field is not None and field.get_property("value") == new
        except StaleElementReferenceException:
            return False

    assert _until(typed, 20), f"no field {label!r} holds {old!r} and takes {new!r}"


def _send_untouched(browser: Any, form: str, picture: Path, edit: Callable[[], None] = lambda: None) -> None:
    _open(browser, form)
    edit()
    browser.save_screenshot(str(picture))
    _press(browser, "Submit")


def _press(browser: Any, label: str) -> None:
    """Press a button once; a page that redraws takes it from under the pointer, before anything was pressed."""

    def pressed() -> bool:
        button = _button(browser, label)
        try:
            if button is not None:
                button.click()
        except (StaleElementReferenceException, ElementClickInterceptedException):
            return False
        return button is not None

    assert _until(pressed, 30), f"no button {label!r} to press: {_text(browser)[-300:]}"


def _settled(browser: Any) -> None:
    """Wait until the page has not changed for a second: nobody presses a button sooner."""
    seen, since = _text(browser), time.monotonic()
    while time.monotonic() - since < 1.0:
        time.sleep(0.2)
        if (now := _text(browser)) != seen:
            seen, since = now, time.monotonic()


def _picture(browser: Any, page: str, to: Path) -> None:
    """A picture for people, taken when the page has settled."""
    browser.get(page)
    time.sleep(1.5)
    browser.save_screenshot(str(to))
    assert "Something went wrong" not in _text(browser)


def _runs(served: Any, flow: str) -> list[dict[str, Any]]:
    return list(_post(served, "flow_runs/filter", {"flows": {"name": {"any_": [flow]}}}))


def _button(browser: Any, label: str) -> Any:
    """The button with these words, found in one step: a list of elements may be stale before it is read."""
    return browser.execute_script(
        "return [...document.querySelectorAll('button')].find(b => b.innerText.trim() === arguments[0] && !b.disabled)",
        label,
    )


def _text(browser: Any) -> str:
    return str(browser.execute_script("return document.body ? document.body.innerText : ''"))


def _post(served: Any, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{served.page}/api/{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def _state(served: Any, run_id: str) -> str:
    with urllib.request.urlopen(f"{served.page}/api/flow_runs/{run_id}", timeout=20) as answer:
        return str(json.load(answer)["state_type"])


def _until(ask: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(0.3)
