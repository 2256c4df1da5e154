"""One server for all processes of a user, and none when nobody uses it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from flows.server import Process, ServerRecord, users

USER = """
import sys
from pathlib import Path
from flows.server import local_api
with local_api(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def user(folder: Path) -> subprocess.Popen[str]:
    """A process that uses the server of `folder` until its stdin is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", USER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def servers(folder: Path) -> list[int]:
    """Processes that serve `folder`, by their command lines."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] and _serves(p.info["cmdline"], folder)]


def _serves(command: list[str], folder: Path) -> bool:
    return "flows.server_process" in command and str(folder) in command


def leave(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 0


def test_two_users_at_once_share_one_server_and_the_last_one_stops_it(warm_folder: Path) -> None:
    first, second = user(warm_folder), user(warm_folder)
    urls = {p.stdout.readline() for p in (first, second) if p.stdout}
    assert len(urls) == 1
    assert urls.pop().startswith("http://127.0.0.1:")
    assert len(servers(warm_folder)) == 1
    leave(first)
    assert len(servers(warm_folder)) == 1
    leave(second)
    assert servers(warm_folder) == []


def test_a_killed_user_keeps_no_server_alive_and_the_port_is_kept(
    warm_folder: Path, eventually: Callable[..., Any]
) -> None:
    port = _port(warm_folder)
    killed = user(warm_folder)
    assert killed.stdout is not None
    assert killed.stdout.readline()
    assert _port(warm_folder) == port
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert eventually(lambda: not servers(warm_folder), 30)


def test_a_reused_process_number_is_not_taken_for_the_server() -> None:
    me = Process.current()
    assert me.alive()
    assert not Process(me.pid, me.started - 100).alive()


def test_users_that_are_dead_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "users").mkdir()
    me = Process.current()
    for started in (me.started, me.started - 100):
        (tmp_path / "users" / f"{me.pid}-{round(started * 1000)}").touch()
    assert [user.pid for user in users(tmp_path)] == [me.pid]
    assert len(list((tmp_path / "users").iterdir())) == 1


def test_a_server_of_ones_own_is_used_as_it_is(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.server import local_api

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), local_api(tmp_path / "none") as url:
        assert url == "http://127.0.0.1:9/api"
    assert not (tmp_path / "none").exists()


def test_whoever_asks_for_a_run_at_the_same_time_as_others_gets_one(warm_folder: Path) -> None:
    """A browser does not ask again when SQLite is locked: it shows "Unknown error". Most of these met the lock."""
    working = user(warm_folder)
    assert working.stdout is not None
    api = working.stdout.readline().strip()
    flow = _post(f"{api}/flows/", {"name": "asked-for-at-once"})
    wanted = _post(f"{api}/deployments/", {"name": "default", "flow_id": flow["id"]})
    address = f"{api}/deployments/{wanted['id']}/create_flow_run"
    with ThreadPoolExecutor(6) as browsers:
        asked = [browsers.submit(_post, address, {"state": {"type": "SCHEDULED"}}) for _ in range(60)]
    assert len({answer.result()["id"] for answer in asked}) == 60
    leave(working)


def _post(address: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def _port(folder: Path) -> int:
    record = ServerRecord.read(folder)
    assert record is not None
    return record.port
