"""`doctor`: every check finds what it is for, says what to do, and shows no secret."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from configs.settings import load_settings
from flows.cli import main
from flows.commands import checks, checks_services
from flows.commands.checks import Check


def named(found: Iterator[Check] | list[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


def test_it_prints_every_finding_and_a_fix_for_what_is_not_ok(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["doctor", "--store", str(tmp_path / "store"), "--json"])
    found = json.loads(done.stdout)["checks"]
    names = {check["name"] for check in found}
    assert {"python", "prefect", "cpu", "ffmpeg in av", "decoders", "loopback port", "disk"} <= names
    assert {"store", "store: create once", "store clock", "prefect server", "ray cluster"} <= names
    assert [check for check in found if check["state"] != "ok" and not check["fix"]] == []
    assert done.exit_code == (2 if any(check["state"] == "bad" for check in found) else 0)
    assert not any((tmp_path / "store").rglob("*")) or not list((tmp_path / "store" / "probes").iterdir())


def test_versions_outside_the_tested_bounds_are_bad_and_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(check.state == "ok" for check in checks.versions()), "this environment is inside its own bounds"
    known = metadata.version
    wrong = {"fastapi": "0.155.0", "sqlalchemy": "2.1.9"}
    monkeypatch.setattr(metadata, "version", lambda name: wrong.get(name) or known(name))
    found = named(c for c in checks.versions() if c.state == "bad")
    assert found.keys() == {"fastapi", "sqlalchemy"}
    assert "never creates a cron run" in found["sqlalchemy"].found
    assert "0.155.0" in found["fastapi"].found
    assert "<0.151" in found["fastapi"].fix


def test_a_missing_encoder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_has_codec", lambda name, mode: name not in ("libx265", "h264"))
    found = named(checks.codecs())
    assert (found["ffmpeg in av"].state, found["decoders"].state) == ("note", "bad")
    assert "libx265" in found["ffmpeg in av"].found


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("free", "state"), [(10**7, "bad"), (10**9, "note"), (10**12, "ok")])
def test_disk_space_of_all_places(free: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYFRAME_METRICS_FILE", str(tmp_path / "metrics" / "x.prom"))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: _Usage(10**12, 0, free))
    found = named(checks.disk(str(tmp_path / "not" / "yet"), load_settings()))
    assert found.keys() == {"disk", "temporary folder", "server folder", "metrics folder"}
    assert {check.state for check in found.values()} == {state}
    assert named(checks.disk("s3://bucket/store", load_settings())).keys() == found.keys() - {"disk"}
    assert ("steadyframe clean" in found["disk"].fix) is (state != "ok")


def test_the_metrics_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("STEADYFRAME_METRICS_PORT", str(taken.getsockname()[1]))
        assert named(checks.ports(load_settings()))["metrics port"].state == "note"
    assert named(checks.ports(load_settings()))["metrics port"].state == "ok"


def test_a_store_whose_second_writer_wins_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.store.blobs import Blobs

    def replaces(self: Blobs, path: str, data: bytes) -> bool:
        self.put(path, data)
        return True

    monkeypatch.setattr(Blobs, "put_new", replaces)
    found = named(checks_services.check_store(str(tmp_path)))
    assert found["store"].state == "ok"
    assert found["store: create once"].state == "bad"


def test_a_store_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (found,) = checks_services.check_store(str(tmp_path / "file"))
    assert (found.state, found.name) == ("bad", "store")


def test_a_clock_that_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.store.in_use.store_time", lambda store: __import__("time").time() - 90)
    found = named(checks_services.check_store(str(tmp_path)))["store clock"]
    assert (found.state, found.found) == ("note", "the store is 90 s behind this machine")
    assert "NTP" in found.fix


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Check]]]:
    """A Prefect server in looks: `ask(secret=..., version=..., ahead=...)` runs the checks against it."""
    wants: dict[str, Any] = {"secret": "", "version": metadata.version("prefect"), "ahead": 0.0}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            right = f"Basic {base64.b64encode(wants['secret'].encode()).decode()}"
            refused = bool(wants["secret"]) and self.path.endswith("version") and given != right
            self.send_response_only(401 if refused else 200)
            now = __import__("time").time() + wants["ahead"]
            self.send_header("Date", formatdate(now, usegmt=True))
            self.end_headers()
            self.wfile.write(json.dumps(wants["version"]).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{listening.server_port}/api"

        def ask(given: str = "", **wanted: Any) -> dict[str, Check]:
            from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

            wants.update(wanted)
            with temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: given or None}):
                return named(checks_services.check_server(load_settings()))

        yield ask
        listening.shutdown()


def test_a_server_that_fits(server: Callable[..., dict[str, Check]]) -> None:
    found = server()
    assert found.keys() == {"prefect server", "server auth", "server version", "server clock"}
    assert {check.state for check in found.values()} == {"ok"}
    assert server(given="user:right", secret="user:right")["server auth"].state == "ok"


@pytest.mark.parametrize("given", ["", "user:hunter2"])
def test_a_server_that_does_not_let_us_in(server: Callable[..., dict[str, Check]], given: str) -> None:
    found = server(given=given, secret="user:right")["server auth"]
    assert (found.state, "401" in found.found) == ("bad", True)
    assert "PREFECT_API_AUTH_STRING" in found.fix
    assert "hunter2" not in str(found)


def test_a_server_of_another_version_or_time(server: Callable[..., dict[str, Check]]) -> None:
    found = server(version="2.19.0", ahead=120.0)
    assert (found["server version"].state, found["server clock"].state) == ("note", "note")
    assert "2.19.0" in found["server version"].found
    assert "ahead" in found["server clock"].found


def test_a_server_that_is_away() -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://user:hunter2@127.0.0.1:9/api"}):
        (found,) = checks_services.check_server(load_settings())
    assert found.state == "bad"
    assert "hunter2" not in str(found)


def test_the_ray_cluster_and_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    token = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    assert named(checks_services.check_ray(load_settings())).keys() == {"ray cluster"}, "no address, no token needed"
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        monkeypatch.setenv("STEADYFRAME_RAY_ADDRESS", f"127.0.0.1:{head.getsockname()[1]}")
        found = named(checks_services.check_ray(load_settings()))
        assert (found["ray cluster"].state, found["ray token"].state) == ("ok", "bad")
        token.write_text("hunter2")
        token.chmod(0o644)
        assert named(checks_services.check_ray(load_settings()))["ray token"].state == "note"
        token.chmod(0o600)
        ours = named(checks_services.check_ray(load_settings()))["ray token"]
        assert (ours.state, "hunter2" in str(ours)) == ("ok", False)
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        assert named(checks_services.check_ray(load_settings()))["ray token"].state == "note"
    assert named(checks_services.check_ray(load_settings()))["ray cluster"].state == "bad"
    monkeypatch.setenv("STEADYFRAME_RAY_ADDRESS", "somewhere")
    assert "6379" in named(checks_services.check_ray(load_settings()))["ray cluster"].fix


def test_a_check_that_breaks_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> Iterator[Check]:
        raise ValueError("oh")
        yield

    monkeypatch.setattr(checks, "codecs", breaks)
    found = named(checks.run_checks(str(tmp_path)))["ffmpeg in av"]
    assert (found.state, found.found) == ("bad", "ValueError: oh")
    assert os.environ.get("PREFECT_API_URL") is None
