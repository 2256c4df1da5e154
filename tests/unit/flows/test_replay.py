"""`steadyframe replay`: just the dead, with exactly their inputs; what works is kept, what fails is counted."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import flows
from configs.errors import Interrupted, UnreadableVideo
from configs.library_layers import build_library, video_job
from flows.cli import main
from flows.dead import dead_letters, write_dead
from flows.records import write_job
from tasks.run import Run
from tasks.store import Store
from tests.flow_stand_in import GOOD, look, stand_in


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Run]:
    monkeypatch.setenv("STEADYFRAME_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("STEADYFRAME_WORKERS", "0")
    return stand_in(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), workers=0)


def command(*args: object) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(main, [*map(str, args), "--json"])
    assert done.stdout.count("\n") == 1, done.stderr
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def night(runs: list[Run], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Restyle a folder with a good video, a bad one below it, and one that is not there."""
    folder = tmp_path / "clips"
    (folder / "deep").mkdir(parents=True)
    (folder / "good.mp4").write_bytes(GOOD)
    (folder / "deep" / "bad.mp4").write_bytes(b"text")

    def restyle(*more: object) -> dict[str, Any]:
        sources = (folder, tmp_path / "missing.mp4")
        code, told = command("restyle", *sources, "--style", "oil", "--out", tmp_path / "out", "--seed", 7, *more)
        assert code == 3
        runs.clear()
        return told

    return restyle


def rows(told: dict[str, Any]) -> list[tuple[str, str, int, str]]:
    return [(Path(r["source"]).name, r["failure"], r["attempt"], r["outcome"]) for r in told["letters"]]


def test_just_the_dead_run_with_their_inputs_until_none_is_left(
    night: Callable[..., dict[str, Any]], runs: list[Run], tmp_path: Path, store: Store
) -> None:
    job = night()["job"]
    (tmp_path / "clips/deep/bad.mp4").write_bytes(GOOD)

    code, told = command("replay")
    assert (code, told["status"], told["method"]) == (3, "partial", "replay")
    assert sorted(rows(told)) == [("bad.mp4", "poison", 1, "worked"), ("missing.mp4", "poison", 2, "died again")]
    (again,) = runs  # what is not there was not opened
    assert (Path(again.source).name, again.relative, again.job.seed, again.job.style) == ("bad.mp4", "deep", 7, "oil")
    assert [Path(output["source"]).name for output in told["outputs"]] == ["bad.mp4"]

    (tmp_path / "missing.mp4").write_bytes(GOOD)
    code, told = command("replay", "--job", job)
    assert (code, told["status"]) == (0, "completed")
    assert rows(told) == [("missing.mp4", "poison", 2, "worked")]

    code, told = command("replay")
    assert (code, told["status"], told["outputs"], told["letters"]) == (0, "completed", [], [])
    kept = list(dead_letters(store, buried=True))
    assert [letter.buried is not None for letter in kept] == [True, True]
    assert kept[0].buried_by != job


def test_a_dry_run_names_them_and_runs_nothing(night: Callable[..., dict[str, Any]], runs: list[Run]) -> None:
    night()
    code, told = command("replay", "--dry-run")
    assert (code, told["status"], runs) == (0, "completed", [])
    assert sorted(rows(told)) == [("bad.mp4", "poison", 1, "waits"), ("missing.mp4", "poison", 1, "waits")]


def test_one_try_answers_the_letters_of_several_nights(
    night: Callable[..., dict[str, Any]], runs: list[Run], tmp_path: Path
) -> None:
    night()
    night()
    night("--set", "num_inference_steps=3")
    (tmp_path / "clips/deep/bad.mp4").write_bytes(GOOD)
    _, told = command("replay")
    assert sorted(run.job.num_inference_steps for run in runs) == [3, 10]
    assert [row[3] for row in sorted(rows(told))] == ["worked"] * 3 + ["died again"] * 3


def test_only_the_classes_asked_for_and_a_bug_keeps_its_trace(
    runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    def one(run: Run) -> Any:
        if "bug" in run.source:
            raise ZeroDivisionError("ours")
        return look(run)

    stand_in(monkeypatch, one)
    for name in ("bug.mp4", "bad.mp4"):
        (tmp_path / name).write_bytes(b"text")
    command("restyle", tmp_path / "bug.mp4", tmp_path / "bad.mp4", "--style", "oil")
    code, told = command("replay", "--class", "bug")
    assert code == 1
    assert rows(told) == [("bug.mp4", "bug", 2, "died again")]
    (letter,) = [found for found in dead_letters(store) if found.failure == "bug"]
    assert "ZeroDivisionError: ours" in letter.traceback
    code, told = command("replay", "--class", "poisen")
    assert code == 2
    assert "did you mean poison?" in told["errors"][0]["message"]


@pytest.mark.parametrize("most", [1, 2])
def test_as_many_fly_again_as_their_library_allowed(
    most: int, runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    met, lock, here, seen = threading.Barrier(most, timeout=20), threading.Lock(), [0], [0]

    def one(run: Run) -> Any:
        with lock:
            here[0] += 1
            seen[0] = max(seen[0], here[0])
        met.wait()  # passes only when as many fly at once
        with lock:
            here[0] -= 1
        return look(run)

    stand_in(monkeypatch, one)
    flags = {"style": "oil", "preset": "dry", "out": str(tmp_path / "out")}
    job = build_library(None, [str(tmp_path)], sets=[f"max_in_flight={most}"], flags=flags)
    write_job(store, "j1", job)
    for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4"):
        (tmp_path / name).write_bytes(GOOD)
        given = {"job_id": "j1", "job": video_job(job), "source": str(tmp_path / name), "relative": ""}
        write_dead(store, **given, error=UnreadableVideo(name), attempt=1)
    code, told = command("replay")
    assert (code, [row[3] for row in rows(told)]) == (0, ["worked"] * 4)
    assert seen[0] == most


def test_an_unknown_job_is_named(night: Callable[..., dict[str, Any]]) -> None:
    night()
    code, told = command("replay", "--job", "20200101-000000-ffffff")
    assert code == 2
    assert "20200101-000000-ffffff" in told["errors"][0]["message"]
    assert "steadyframe runs" in told["errors"][0]["message"]


def test_a_stop_leaves_the_letters_as_they_were(
    night: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: Store
) -> None:
    night()
    (tmp_path / "missing.mp4").write_bytes(GOOD)
    before = list(dead_letters(store))

    def stopped(run: Run) -> Any:
        raise Interrupted("stopped")

    stand_in(monkeypatch, stopped)
    code, told = command("replay")
    assert (code, told["status"]) == (130, "interrupted")
    assert {row[3] for row in rows(told)} == {"waits"}
    assert list(dead_letters(store)) == before


def test_a_withheld_secret_is_asked_for_and_costs_no_other(runs: list[Run], tmp_path: Path, store: Store) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"text")
    secret = "http://me:hunter2hunter2@127.0.0.1:9/gone.mp4"
    command("restyle", secret, tmp_path / "bad.mp4", "--style", "oil")
    (tmp_path / "bad.mp4").write_bytes(GOOD)
    code, told = command("replay")
    assert code == 3
    assert [row[3] for row in sorted(rows(told))] == ["worked", "waits"]
    assert "with the secret" in told["errors"][0]["message"]
    assert [letter.attempt for letter in dead_letters(store)] == [1]


def test_a_deflicker_job_is_replayed_as_one(runs: list[Run], tmp_path: Path) -> None:
    (tmp_path / "guide.mp4").write_bytes(GOOD)
    given = ("deflicker", tmp_path / "styled.mp4", "--guide", tmp_path / "guide.mp4")
    assert command(*given)[0] == 2
    shutil.copy(tmp_path / "guide.mp4", tmp_path / "styled.mp4")
    code, told = command("replay")
    assert code == 0
    assert rows(told) == [("styled.mp4", "poison", 1, "worked")]


def test_runs_lists_what_is_dead_until_it_is_not(night: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    job = night()["job"]
    _, listed = command("runs")
    (row,) = listed["runs"]
    assert (row["job"], row["method"], row["status"], row["dead"], row["review"]) == (job, "restyle", "partial", 2, 0)
    assert row["videos"] == 3
    (tmp_path / "clips/deep/bad.mp4").write_bytes(GOOD)
    (tmp_path / "missing.mp4").write_bytes(GOOD)
    replayed = flows.replay()
    assert replayed.exit_code == 0
    _, listed = command("runs")
    assert [(row["job"], row["method"], row["dead"]) for row in listed["runs"]] == [
        (replayed.job, "replay", 0),
        (job, "restyle", 0),
    ]
