"""A restyle whose store is on S3: same bits as on a local disk, resumed after a stop, and one writer of two wins."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from configs.errors import Interrupted
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Run, VideoResult
from tasks.store import Store
from tests.real.drive import digests, small_job, started

PATIENCE = 240.0
pytestmark = pytest.mark.timeout(900)  # seconds on a quiet machine; minutes on a busy one


@pytest.fixture(scope="session")
def undisturbed(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> VideoResult:
    """The restyle on a local disk, in this process."""
    folder = tmp_path_factory.mktemp("local")
    return restyled(Store.open(str(folder / "store"), workers=0), clip, folder / "out")


def restyled(store: Store, clip: Path, out: Path, workers: int = 0, **run: Any) -> VideoResult:
    with EnginePool(store.url, workers, "cpu") as engines:
        return restyle_video(Run(small_job(out), str(clip), store, engines, **run))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_store_changes_no_bit(
    workers: int, store: Store, clip: Path, tmp_path: Path, undisturbed: VideoResult
) -> None:
    """With two workers, every one finds bucket and credentials by the environment alone."""
    result = restyled(store, clip, tmp_path, workers)
    assert digests(result) == digests(undisturbed)
    assert result.window_steps.computed == result.window_steps.total > 0
    again = restyled(store, clip, tmp_path, 0)
    assert digests(again) == digests(undisturbed)
    assert {stage.status for stage in again.stages} == {"reused"}
    assert Path(again.output.uri).read_bytes() == Path(undisturbed.output.uri).read_bytes()


def test_a_stopped_run_goes_on_from_its_last_commit(
    store: Store, clip: Path, tmp_path: Path, undisturbed: VideoResult
) -> None:
    with pytest.raises(Interrupted):
        restyled(store, clip, tmp_path, should_stop=lambda: newest_commit(store) >= 2)
    kept = newest_commit(store)
    result = restyled(store, clip, tmp_path)
    windows = undisturbed.window_steps.total // small_job(tmp_path).num_inference_steps
    assert 2 <= kept < 6
    assert result.window_steps.computed == result.window_steps.total - kept * windows
    assert digests(result) == digests(undisturbed)


def test_of_two_drivers_one_computes_and_when_killed_the_other_goes_on(
    s3: str, store: Store, clip: Path, tmp_path: Path, undisturbed: VideoResult
) -> None:
    drivers = [started(clip, s3, tmp_path / str(n), "--delay", "0.1") for n in range(2)]
    try:
        eventually(lambda: newest_commit(store) >= 2, drivers)
        holder = next(d for d in drivers if d.pid == holder_of_the_commits(store))
        other = next(d for d in drivers if d is not holder)
        holder.send_signal(signal.SIGKILL)
        out, err = other.communicate(timeout=PATIENCE)
        assert other.returncode == 0, err[-3000:]
    finally:
        for driver in drivers:
            driver.kill()
            driver.communicate()
    told = json.loads(out.splitlines()[-1])
    windows = told["total"] // small_job(tmp_path).num_inference_steps
    assert tuple(told["digests"]) == digests(undisturbed)
    assert told["computed"] <= told["total"] - 2 * windows, "it went on from what the other had committed"
    leases = {path.split("/")[1] for path in store.blobs.list("leases")}
    assert len(store.blobs.list("leases")) == len(leases), "one record for each key, of its last holder"


def newest_commit(store: Store) -> int:
    """The highest committed step of the shot, -1 when none."""
    names = [path.rsplit("/", 1)[-1] for path in store.blobs.list("steps")]
    return max((int(name.split("-")[1]) for name in names if name.startswith("commit-")), default=-1)


def holder_of_the_commits(store: Store) -> int:
    """The process that holds the lease of the shot that has commits."""
    (key,) = {path.split("/")[1] for path in store.blobs.list("steps")}
    return int(store.read_record(store.blobs.list(f"leases/{key}")[-1])["pid"])


def eventually(ask: Callable[[], bool], drivers: list[Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ask():
        assert time.monotonic() < deadline
        assert all(driver.poll() is None for driver in drivers), "a driver ended before its time"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No process of ours outlives a test of this file, those of Ray included (the session's servers stay)."""
    me = psutil.Process()
    before = set(me.children(recursive=True))
    yield
    begun = [child for child in me.children() if child not in before]  # a server that stays starts workers as it likes
    family = [process for child in begun for process in (child, *child.children(recursive=True))]
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive, [p.name() for p in alive]
