"""A library killed in the middle, or its server: what was finished is not computed again, the rest goes on."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.library import OWN_KEYS
from flows.server import join, leave
from tests.chaos.commands import digests, server, steadyframe, told, until
from tests.chaos.drive import chaos_job
from tests.chaos.forked import Orders, fork
from tests.chaos.killing import kill_everything, newest_commit
from tests.chaos.ledger import Trial
from tests.chaos.watching import Reader
from tests.small_clips import write_clip

pytestmark = pytest.mark.timeout(900)  # minutes of waiting for what died, on a busy machine

CLIPS = 3

Open = Callable[[str, int], Trial]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of clips."""
    folder = tmp_path_factory.mktemp("library")
    for number in range(CLIPS):
        write_clip(folder / f"clip-{number}.mp4", frames=17, seed=number, speed=2)
    return folder


@pytest.fixture(scope="module")
def untroubled(library: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each clip becomes when it is restyled alone."""
    folder = tmp_path_factory.mktemp("untroubled")
    quick = {"model": {"path": "dry"}}
    return {
        clip.name: fork(Orders(str(clip), str(folder / clip.stem), job=quick)).result()
        for clip in sorted(library.iterdir())
    }


def test_a_killed_library_finishes_the_rest_and_only_the_rest(
    rare_seed: int, library: Path, untroubled: dict[str, dict[str, Any]], tmp_path: Path, trial: Open
) -> None:
    row, draw = trial("library killed", rare_seed), random.Random(f"library {rare_seed}")
    store, line = tmp_path / "store", ("library", str(job_file(library, tmp_path, draw.choice([1, 2]))), "--json")
    finished_first, step = draw.randrange(1, CLIPS), draw.randrange(5)
    with Reader(store) as reader:
        command = steadyframe(tmp_path, *line)
        until(lambda: finished(store) >= finished_first or command.poll() is not None, "finished videos")
        until(lambda: newest_commit(store) >= step or command.poll() is not None, "the next video")
        row.struck += command.poll() is None
        if row.struck:
            kill_everything(command)
        before = finished(store)
        code, result = told(steadyframe(tmp_path, *line), tmp_path)
        assert code == 0, result
        code, again = told(steadyframe(tmp_path, *line), tmp_path)
        assert code == 0, again
    total = untroubled["clip-0.mp4"]["total"]
    assert result["window_steps"]["computed"] <= total * (CLIPS - before)
    assert again["window_steps"]["computed"] == 0
    assert finished(store) == CLIPS
    for source, output in zip((o["source"] for o in result["outputs"]), digests(result), strict=True):
        row.judge(output, untroubled[Path(source).name])
    row.look_at(reader)


def test_a_server_that_is_killed_and_started_again_costs_a_library_nothing(
    rare_seed: int, library: Path, untroubled: dict[str, dict[str, Any]], tmp_path: Path, trial: Open
) -> None:
    """It goes while a video computes and comes back after the next has begun; nothing is computed twice."""
    row, draw = trial("library's server", rare_seed), random.Random(f"library's server {rare_seed}")
    store, line = tmp_path / "store", ("library", str(job_file(library, tmp_path, 1)), "--json")
    finished_first, step, away = draw.randrange(CLIPS - 1), draw.randrange(5), draw.uniform(0, 3)
    with Reader(store) as reader:
        command = steadyframe(tmp_path, *line)
        until(lambda: finished(store) >= finished_first or command.poll() is not None, "finished videos")
        until(lambda: newest_commit(store) >= step or command.poll() is not None, "the next video")
        os.kill(server(tmp_path).pid, signal.SIGKILL)
        row.struck += command.poll() is None
        before = finished(store)
        until(lambda: finished(store) > before or command.poll() is not None, "the video that was under way")
        time.sleep(away)
        join(tmp_path / "server")  # as another command would start it
        try:
            code, result = told(command, tmp_path)
        finally:
            leave(tmp_path / "server")
    assert code == 0, result["errors"]
    assert result["window_steps"]["computed"] == untroubled["clip-0.mp4"]["total"] * CLIPS
    for source, output in zip((o["source"] for o in result["outputs"]), digests(result), strict=True):
        row.judge(output, untroubled[Path(source).name])
    row.look_at(reader)


def job_file(library: Path, folder: Path, in_flight: int) -> Path:
    """The library as a job file."""
    slow = chaos_job("x", model={"path": "dry", "dry_delay": 0.03})
    keys = slow.model_dump(mode="json", exclude={*OWN_KEYS, "gate", "budget", "preview"})
    path = folder / "library.yaml"
    asked = {"sources": [str(library)], "out": str(folder / "results"), "preset": "dry", "max_in_flight": in_flight}
    path.write_text(yaml.safe_dump({**asked, "settings": keys}))
    return path


def finished(store: Path) -> int:
    """How many videos are encoded and published."""
    return len(list(store.glob("stages/encode/*/*/manifest.json")))
