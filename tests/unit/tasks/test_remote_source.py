"""A remote source is fetched once for a stage, whatever it holds, and nothing of it stays behind."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import pytest

from configs.job import RestyleJob
from tasks.condition import CHUNK
from tasks.engine.lockstep import QUEUED, Lockstep
from tasks.engine.pool import EnginePool
from tasks.engine.protocol import Future
from tasks.pipeline import restyle_video
from tasks.run import Run, VideoResult
from tasks.source_windows import SourceSpec
from tasks.store import Store
from tasks.video.copies import SourceCopies
from tests.small_clips import write_clip
from tests.unit.tasks.counted_files import counted

FRAMES = 40


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", FRAMES)


@pytest.fixture
def fetched(clip: Path) -> Counter[str]:
    found = counted()
    fsspec.filesystem("counted").pipe_file("/clips/clip.mp4", clip.read_bytes())
    return found


def restyled(source: str, tmp_path: Path, **changes: Any) -> VideoResult:
    settings = {"num_inference_steps": 2, "window": {"size": 2}, "working_size": 64, **changes}
    job = RestyleJob.model_validate({"prompt": "x", "model": {"path": "dry"}, "out": str(tmp_path / "out"), **settings})
    store = Store.open(str(tmp_path / "store"), workers=0)
    with EnginePool(store.url, 0, "cpu", lanes=2) as engines:
        result = restyle_video(Run(job, source, store, engines))
        engines.engine(job.model).logs()  # behind whatever the lanes still had to do
    return result


@pytest.mark.parametrize("match", ["guide", "style"])
def test_every_stage_fetches_at_most_once(
    match: str, fetched: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the driver, by the workers for the conditions, and by them again where the deflicker looks at the source."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    windows = FRAMES // 2
    assert windows > 2 * CHUNK
    restyled("counted://clips/clip.mp4", tmp_path, deflicker={"match": match, "steps": [1.0]})
    assert fetched["/clips/clip.mp4"] == (2 if match == "guide" else 3)
    if match == "guide":
        assert list(folder.iterdir()) == []


def test_a_remote_source_changes_no_bit(clip: Path, fetched: Counter[str], tmp_path: Path) -> None:
    far = restyled("counted://clips/clip.mp4", tmp_path / "far")
    near = restyled(str(clip), tmp_path / "near")
    assert (far.output.latents_digest, far.output.rgb_digest) == (near.output.latents_digest, near.output.rgb_digest)


def test_workers_are_sent_no_digests_and_no_posters(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[SourceSpec] = []
    real = Lockstep.everywhere

    def noting(self: Lockstep, method: str, *args: Any) -> list[Future]:
        sent.extend(arg for arg in args if isinstance(arg, SourceSpec))
        return real(self, method, *args)

    monkeypatch.setattr(Lockstep, "everywhere", noting)
    restyled(str(clip), tmp_path)
    (spec,) = sent
    assert (spec.index.digests, spec.index.posters) == ((), ())
    assert spec.index.frames == FRAMES


def test_a_copy_stays_until_the_last_one_lets_go(fetched: Counter[str]) -> None:
    copies = SourceCopies()
    with copies.held("counted://clips/clip.mp4", "d") as one:
        with copies.held("counted://clips/clip.mp4", "d") as other:
            assert one == other
        assert one.exists()
    assert not one.exists()
    assert fetched["/clips/clip.mp4"] == 1
    with copies.held("counted://clips/clip.mp4", "d") as again:
        assert again.exists()


class NotingLane:
    """Calls that are counted until they are waited for."""

    def __init__(self) -> None:
        self.underway, self.most = 0, 0

    def call(self, method: str, *args: Any, returns: int = 1) -> list[Future]:
        self.underway += 1
        self.most = max(self.most, self.underway)
        return [Future((self, *args))]


def test_a_map_keeps_a_few_calls_per_lane_underway() -> None:
    def wait(futures: Any) -> list[Any]:
        for future in futures:
            future.handle[0].underway -= 1
        return [future.handle[1] for future in futures]

    lanes = [NotingLane(), NotingLane()]
    engine = Lockstep(lanes, wait)
    assert list(engine.map("double", [(n,) for n in range(50)])) == list(range(50))
    assert [lane.most for lane in lanes] == [QUEUED, QUEUED]
