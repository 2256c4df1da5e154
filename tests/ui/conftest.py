"""`steadyframe serve` for real with a pipeline that computes nothing, and a browser without a window."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --window-size=1400,1300"
)


@dataclass(frozen=True)
class Served:
    """A running `steadyframe serve`: its process, its addresses, and the folder it works in."""

    process: subprocess.Popen[str]
    page: str
    form: str
    folder: Path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    # STEADYFRAME_UI_REAL=1 runs the real pipeline instead (minutes): for looking, not for every day
    fake = (
        {}
        if os.environ.get("STEADYFRAME_UI_REAL")
        else {"PYTHONPATH": str(Path(__file__).parents[1] / "prefect" / "fake_site")}
    )
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")},
        **fake,
        "STEADYFRAME_SERVER_DIR": str(folder / "server"),
        "STEADYFRAME_STORE": str(folder / "store"),
        "STEADYFRAME_WORKERS": "0",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("steadyframe")), "serve"],
        env=environment,
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # so that Ctrl-C can be sent to all of it, as a terminal does
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )
    try:
        said = _said(process, r"Run form: (http\S+)", 120)
        form = said[-1]
        yield Served(process, form.split("/v2/")[0], form, folder)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _said(process: subprocess.Popen[str], pattern: str, seconds: float) -> list[str]:
    """What the process wrote to stderr until `pattern` came; the last entry is the pattern's group."""
    lines: queue.Queue[str] = queue.Queue()
    assert process.stderr is not None
    stream = process.stderr
    threading.Thread(target=lambda: [lines.put(line) for line in stream], daemon=True).start()
    seen: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (process.poll() is None or not lines.empty()):
        try:
            seen.append(lines.get(timeout=0.5))
        except queue.Empty:
            continue
        if found := re.search(pattern, seen[-1]):
            return [*seen, found[1]]
    raise AssertionError("serve said only: " + "".join(seen))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    missing = [str(path) for path in (CHROMIUM, DRIVER) if not path.exists()]
    if missing:
        pytest.skip(f"THE RUN FORM IS NOT TESTED: {', '.join(missing)} not installed (apt install chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def screens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: `STEADYFRAME_SCREENS`, else a temporary folder."""
    given = os.environ.get("STEADYFRAME_SCREENS")
    folder = Path(given) if given else tmp_path_factory.mktemp("screens")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def left_over(folder: Path) -> list[str]:
    """Command lines of processes that work in or for `folder`."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = " ".join(process.info["cmdline"] or [])
        if str(folder) in command or (process.info["cwd"] or "").startswith(str(folder)):
            found.append(command)
    return found


@pytest.fixture(scope="session")
def processes_of() -> Any:
    return left_over
