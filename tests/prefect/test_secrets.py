"""Planted secrets are nowhere afterwards: not in the store, the results, what was said, or Prefect's database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PASSWORD, TOKEN, KEY, HOOK = (f"pLanted{word}0123456789" for word in ("Password", "Token", "Key", "Hook"))
PLANTED = [text.encode() for text in (PASSWORD, TOKEN, KEY, HOOK)]


@pytest.fixture(scope="module")
def host(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A web server that hands out one clip and forbids another."""
    clip = tmp_path_factory.mktemp("host") / "clip.mp4"
    fake.write_clip(clip, 60)
    data = clip.read_bytes()

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            good = self.path.startswith("/clip.mp4")
            self.send_response(200 if good else 403)
            self.send_header("content-length", str(len(data) if good else 0))
            self.end_headers()
            self.wfile.write(data if good else b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


@dataclass(frozen=True)
class Ended:
    """A whole command with secrets in its addresses and its environment."""

    stdout: str
    stderr: str
    folder: Path


@pytest.fixture(scope="module")
def ended(api: str, host: str, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("planted")
    environment = {
        **os.environ,
        "PREFECT_API_URL": api,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "STEADYFRAME_NOTIFY": f"http://{host}/hooks/{HOOK}",  # answers 501: the warning about that is looked at, too
        "STEADYFRAME_LOG_LEVEL": "debug",
    }
    command = [str(Path(sys.executable).with_name("steadyframe")), "restyle"]
    command += [f"http://me:{PASSWORD}@{host}/clip.mp4?token={TOKEN}&v=1", f"http://{host}/forbidden.mp4?token={TOKEN}"]
    command += ["--prompt", "x", "--preset", "dry", "--workers", "0", "--json"]
    command += ["--store", str(folder / "store"), "--out", str(folder / "out")]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 3, done.stderr
    return Ended(done.stdout, done.stderr, folder)


def leaks(folder: Path) -> list[str]:
    """Files below `folder` with a planted secret in their bytes or their path."""
    files = [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]
    assert files
    return [str(p) for p in files if any(s in p.read_bytes() or s in str(p).encode() for s in PLANTED)]


def test_the_job_did_what_it_should(ended: Ended) -> None:
    """Hiding must not break fetching: one video done, the forbidden one failed with its own error."""
    result = json.loads(ended.stdout)
    assert result["status"] == "partial"
    (output,) = result["outputs"]
    assert output["source"].startswith("http://***@127.0.0.1:")
    assert output["source"].endswith("/clip.mp4?token=***&v=1")
    assert Path(output["uri"]).name.startswith("clip--")
    assert "forbidden.mp4?token=***" in result["errors"][0]["source"]


def test_nothing_was_said(ended: Ended) -> None:
    for secret in PLANTED:
        assert secret.decode() not in ended.stdout
        assert secret.decode() not in ended.stderr


def test_nothing_is_in_the_store(ended: Ended) -> None:
    """Job records, manifests, facts, dead letters and reports lie there."""
    assert list((ended.folder / "store/dead").rglob("*.json")), "the forbidden video should have left a letter"
    assert leaks(ended.folder / "store") == []


def test_nothing_is_beside_the_results(ended: Ended) -> None:
    assert list((ended.folder / "out").rglob("*.html"))
    assert leaks(ended.folder / "out") == []


def test_nothing_reached_prefect(ended: Ended, server_folder: Path, eventually: Callable[..., Any]) -> None:
    """Parameters, states, logs, artifacts and events of the runs; the database and what was not yet written into it."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:

        def runs() -> list[Any]:
            return [r for r in client.read_flow_runs(limit=200) if "127.0.0.1" in str(r.parameters.get("source"))]

        assert eventually(lambda: len(runs()) >= 2 and all(r.state.is_final() for r in runs()))
        assert any("***" in run.parameters["source"] for run in runs())
    assert leaks(server_folder) == []


def test_an_address_in_a_secret_block_is_used_and_kept_nowhere(
    api: str, host: str, fake: ModuleType, server_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.blocks.system import Secret

    from configs.form import RestyleForm
    from flows.deploy import restyle

    Secret(value=f"http://me:{PASSWORD}@{host}/clip.mp4?token={TOKEN}").save("nightly-clip", overwrite=True)
    monkeypatch.setattr("flows.video.pipeline", fake)
    monkeypatch.setenv("STEADYFRAME_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("STEADYFRAME_WORKERS", "0")
    monkeypatch.setenv("STEADYFRAME_OUT_DIR", str(tmp_path))
    state = restyle(RestyleForm(sources=["secret:nightly-clip"]), return_state=True)
    assert state.is_completed(), state
    assert list((tmp_path / "steadyframe-out").glob("clip--*.mp4")), "a relative `out` lies below STEADYFRAME_OUT_DIR"
    (job,) = (tmp_path / "store/jobs").glob("*/job.json")
    assert json.loads(job.read_text())["sources"] == [f"http://***@{host}/clip.mp4?token=***"]
    assert leaks(tmp_path) == []
    assert leaks(server_folder) == []


def test_a_block_that_is_not_there_fails_the_run_with_one_sentence(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from configs.form import RestyleForm
    from flows.deploy import restyle

    state = restyle(RestyleForm(sources=["secret:nobody-saved-me"]), return_state=True)
    assert state.is_failed()
    assert "no Secret block 'nobody-saved-me'" in str(state.message)


def test_a_run_stays_below_its_roots(
    api: str, fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from configs.form import RestyleForm
    from flows.deploy import restyle

    inside, outside = tmp_path / "in", tmp_path / "secret"
    for folder in (inside, outside):
        folder.mkdir()
        fake.write_clip(folder / f"{folder.name}.mp4", 60)
    (inside / "link.mp4").symlink_to(outside / "secret.mp4")
    monkeypatch.setattr("flows.video.pipeline", fake)
    monkeypatch.setenv("STEADYFRAME_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("STEADYFRAME_WORKERS", "0")
    monkeypatch.setenv("STEADYFRAME_ROOTS", str(inside))
    form = RestyleForm(sources=[str(inside)], out=str(inside / "out"))
    state = restyle(form, return_state=True)
    assert state.name == "Completed, 1 failed", state
    assert [path.name for path in (inside / "out").glob("*.mp4")] == ["in--watercolor.mp4"]
    for bad in ({"out": str(outside)}, {"reference": str(outside / "x.png"), "preset": "reference"}):
        refused = restyle(form.model_copy(update=bad), return_state=True)
        assert refused.is_failed()
        assert "STEADYFRAME_ROOTS" in str(refused.message)
