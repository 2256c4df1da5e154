"""One message per job, to whom the environment names; its address is written nowhere, and its failure is a warning."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from configs.errors import ConfigError, Interrupted, StoreError, UnreadableVideo
from configs.job import RestyleJob
from configs.library_layers import build_library
from flows import api, notify
from flows.cli import main
from flows.dead import write_dead
from flows.notify import announce, message_of
from flows.result import ErrorEntry, JobResult
from tasks.run import Run
from tasks.store import Store, TornArtifact
from tests.flow_stand_in import GOOD, result_of, stand_in
from tests.listener import Listener, listening

BAD = UnreadableVideo("b.mp4: not a video")
SECRET = "planted-token-1234"


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    with listening() as kept:
        monkeypatch.setenv("STEADYFRAME_NOTIFY", kept.url)
        yield kept


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("STEADYFRAME_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("STEADYFRAME_WORKERS", "0")
    return Store.open(str(tmp_path / "store"), workers=0)


def failed(*errors: BaseException, job: str = "j1") -> JobResult:
    entries = [ErrorEntry.of(error, f"{n}.mp4") for n, error in enumerate(errors)]
    return JobResult(job=job, method="restyle", status="failed" if errors else "completed", errors=entries)


def test_a_job_tells_once_what_became_of_its_videos(
    listener: Listener, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(run: Run) -> Any:
        if "bad" in run.source:
            raise UnreadableVideo(f"{run.source}: not a video; check the file")
        return result_of(run, review="odd" in run.source)

    stand_in(monkeypatch, one)
    for name in ("good", "odd", "bad"):
        (tmp_path / f"{name}.mp4").write_bytes(GOOD)
    done = CliRunner().invoke(main, ["restyle", *map(str, sorted(tmp_path.glob("*.mp4"))), "--style", "oil", "--json"])
    assert done.exit_code == 3
    job = json.loads(done.stdout)["job"]
    (told,) = listener.told
    assert {name: told[name] for name in ("job", "method", "status", "done", "review")} == {
        "job": job, "method": "restyle", "status": "partial", "done": 2, "review": 1,
    }  # fmt: skip
    (dead,) = told["dead"]
    assert (Path(dead["source"]).name, dead["failure"], dead["exception"]) == ("bad.mp4", "poison", "UnreadableVideo")
    assert told["subject"] == "Steadyframe restyle partial: 2 done, 1 dead, 1 to look at"
    assert f"steadyframe replay --job {job}" in told["text"]
    everything = [store.blobs.get(path).decode() for path in store.blobs.list()] + [done.stdout, done.stderr]
    assert not [text for text in everything if SECRET in text]


def test_a_night_that_fails_before_its_first_video_is_told_and_kept(
    listener: Listener, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(GOOD)
    job = build_library(None, [str(tmp_path / "in")], sets=["exclude=*"], flags={"prompt": "x", "preset": "dry"})
    with pytest.raises(ConfigError, match="leave none of the 1 videos"):
        api.library(job)
    (told,) = listener.told
    assert (told["method"], told["status"], told["done"]) == ("library", "failed", 0)
    assert "config: the job: ConfigError: include and exclude leave none" in told["text"]
    assert "replay" not in told["text"]
    kept = store.read_record(f"jobs/{told['job']}/result.json")
    assert kept is not None
    assert kept["status"] == "failed"


@pytest.mark.parametrize("run", [api.restyle, api.library])
def test_a_store_that_does_not_open_is_told(run: Any, listener: Listener, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    job: Any = RestyleJob(style="oil")
    if run is api.library:
        job = build_library(None, ["demo"], flags={"prompt": "x", "preset": "dry"})
    with pytest.raises(StoreError):
        run(job, store=str(tmp_path / "file"), workers=0)
    assert [(told["status"], told["dead"][0]["exception"]) for told in listener.told] == [("failed", "StoreError")]


def test_a_deployed_run_that_cannot_begin_is_told(
    listener: Listener, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from configs.form import RestyleForm
    from configs.form_library import LibraryForm
    from flows.deploy import restyle
    from flows.deploy_library import library

    monkeypatch.setenv("STEADYFRAME_ROOTS", str(tmp_path))
    assert restyle.fn(RestyleForm(out="/elsewhere")).name == "Failed"
    assert library.fn(LibraryForm(out="/elsewhere")).name == "Failed"
    assert [(told["method"], told["status"]) for told in listener.told] == [
        ("restyle", "failed"),
        ("library", "failed"),
    ]


def test_a_store_that_fails_at_the_end_takes_nothing_from_a_job_that_is_done(
    listener: Listener, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    def unreadable(*_: object) -> Any:
        raise StoreError("nor can it be read")

    stand_in(monkeypatch)
    (tmp_path / "a.mp4").write_bytes(GOOD)
    monkeypatch.setattr("flows.records.write_result", full)
    monkeypatch.setattr("flows.notify.dead_letters", unreadable)
    result = api.restyle(RestyleJob(style="oil", sources=(str(tmp_path / "a.mp4"),)), workers=0)
    assert (result.status, len(result.outputs)) == ("completed", 1)
    assert [told["status"] for told in listener.told] == ["completed"]
    assert "what came of it could not be kept: the disk is full" in caplog.text


def test_success_is_told_too_unless_only_failures_are_asked_for(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert announce(failed(), index="/out/index.html")
    assert "index: /out/index.html" in listener.told[0]["text"]
    monkeypatch.setenv("STEADYFRAME_NOTIFY_ON", "failure")
    assert not announce(failed())
    assert announce(failed(BAD))
    assert [told["status"] for told in listener.told] == ["completed", "failed"]


def test_nobody_is_told_when_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEADYFRAME_NOTIFY", raising=False)
    monkeypatch.setattr(notify, "send", lambda *_: pytest.fail("sent"))
    assert not announce(failed(BAD))


def test_the_class_of_a_failure_comes_from_its_letter(store: Store) -> None:
    error = TornArtifact("gone")
    write_dead(store, job_id="j1", job=RestyleJob(style="oil"), source="0.mp4", relative="", error=error, attempt=1)
    message = message_of(failed(error, BAD, Interrupted("stopped")), store)
    assert [(row["source"], row["failure"]) for row in message.dead] == [("0.mp4", "lost"), ("1.mp4", "poison")]


def test_many_dead_are_counted_and_some_named() -> None:
    text = message_of(failed(*[BAD] * 50)).text
    assert text.count("UnreadableVideo") == 20
    assert "and 30 more" in text


@pytest.mark.parametrize("answer", [500, 403])
def test_a_refused_message_is_a_warning_without_the_address(
    listener: Listener, answer: int, caplog: pytest.LogCaptureFixture
) -> None:
    listener.answer = answer
    with caplog.at_level(logging.DEBUG):
        assert not announce(failed(BAD))
    assert f"STEADYFRAME_NOTIFY could not be reached: HTTPError {answer}" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:9/planted-token-1234",
        "json://127.0.0.1:9/planted-token-1234",
        "nothing-of-the-kind://planted-token-1234",
        "planted-token-1234",
    ],
)
def test_whatever_is_named_and_not_there_is_a_warning_without_the_address(
    target: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STEADYFRAME_NOTIFY", target)
    with caplog.at_level(logging.DEBUG):
        assert not announce(failed(BAD))
    assert "nobody was notified" in caplog.text
    assert SECRET not in caplog.text


def test_an_apprise_address_reaches_its_service(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYFRAME_NOTIFY", listener.url.replace("http://", "json://"))
    assert announce(failed(BAD))
    (told,) = listener.told
    assert (told["title"], told["type"]) == ("Steadyframe restyle failed: 0 done, 1 dead", "info")
    assert "not a video" in told["message"]


def test_settings_shown_do_not_show_the_address(listener: Listener) -> None:
    from configs.settings import load_settings

    settings = load_settings()
    assert settings.notify is not None
    assert SECRET not in repr(settings) + settings.model_dump_json()


def test_importing_it_loads_no_service() -> None:
    code = "import sys, flows.notify; print([m for m in ('apprise', 'prefect', 'torch', 'ray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
