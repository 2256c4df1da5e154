"""`deflicker.match` from job to file: which stages run, what is in the key, and the same bits for any shards."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch

from configs.job import RestyleJob
from models.backbone import load
from tasks import programs
from tasks.engine.pool import EnginePool
from tasks.pipeline import needs_correspondence, restyle_video, shots_of
from tasks.programs import ShotSpec, SourceFrames, open_context
from tasks.run import Run, VideoResult
from tasks.store import Store
from tasks.store.keys import StageKey
from tasks.video.copies import SourceCopies
from tasks.video.frames import FrameReader
from tests.small_clips import write_clip

FRAMES = 10


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", FRAMES)


def job_of(tmp_path: Path, **deflicker: Any) -> RestyleJob:
    return RestyleJob.model_validate(
        {
            "prompt": "x",
            "model": {"path": "dry"},
            "num_inference_steps": 2,
            "window": {"size": 3},
            "deflicker": {"window": 2, "steps": (1.0,), "post": True, **deflicker},
            "working_size": 64,
            "out": str(tmp_path / "out"),
        }
    )


Restyle = Callable[..., VideoResult]


@pytest.fixture
def restyle(clip: Path, tmp_path: Path) -> Restyle:
    def run(place: str = "store", lanes: int = 1, shard_windows: int | None = None, **deflicker: Any) -> VideoResult:
        store = Store.open(str(tmp_path / place), workers=0)
        with EnginePool(store.url, 0, "cpu", shard_windows=shard_windows, lanes=lanes) as engines:
            return restyle_video(Run(job_of(tmp_path, **deflicker), str(clip), store, engines))

    return run


def digests(result: VideoResult) -> tuple[str, str]:
    return result.output.latents_digest, result.output.rgb_digest


def stages(result: VideoResult) -> dict[str, str]:
    return {stage.stage: stage.status for stage in result.stages}


@pytest.mark.parametrize("match", ["style", "fastblend"])
def test_shards_and_lanes_change_no_bit(restyle: Restyle, match: str) -> None:
    whole = restyle("whole", match=match)
    cut = restyle("cut", lanes=2, shard_windows=1, match=match)
    assert digests(cut) == digests(whole)
    guided = restyle("whole")
    assert digests(guided) != digests(whole), "the pictures have a say in it"
    assert stages(guided)["denoise"] == "computed"


def test_style_shares_the_cached_fields_and_fastblend_asks_for_none(restyle: Restyle) -> None:
    assert stages(restyle())["correspond"] == "computed"
    assert stages(restyle(match="style"))["correspond"] == "reused"
    parity = stages(restyle(match="fastblend"))
    assert "correspond" not in parity
    assert parity["condition"] == "reused"
    assert parity["denoise"] == "computed"


def test_correspondence_is_needed_where_it_is_read(tmp_path: Path) -> None:
    assert needs_correspondence(job_of(tmp_path))
    assert needs_correspondence(job_of(tmp_path, match="style", steps=()))
    for without in ({"match": "fastblend"}, {"enabled": False}, {"steps": (), "post": False}, {"window": 0}):
        assert not needs_correspondence(job_of(tmp_path, **without))


def test_every_choice_is_in_the_key_of_denoise_and_in_no_other(restyle: Restyle) -> None:
    """And a choice that is spelled out as its default is the same key."""

    def keys(**deflicker: Any) -> dict[str, str]:
        return {stage.stage: stage.key for stage in restyle(**deflicker).stages}

    plain = keys()
    assert keys(match="guide", mode="table", operator="confidence", detail=0.0) == plain
    others = [{"match": "style"}, {"match": "fastblend"}, {"mode": "naive"}, {"operator": "mean"}, {"detail": 0.5}]
    found = [keys(**other) for other in others]
    assert len({plain["denoise"], *(f["denoise"] for f in found)}) == len(others) + 1
    for other in found:
        assert {other[s] for s in ("probe", "decode", "condition")} == {
            plain[s] for s in ("probe", "decode", "condition")
        }


def test_guide_jobs_ship_no_source_to_the_workers(restyle: Restyle, monkeypatch: pytest.MonkeyPatch) -> None:
    """And never ask for its pixels; the others ship an index without what reading does not need."""
    shipped: list[ShotSpec] = []
    opened = programs.open_context

    def noting(spec: ShotSpec, *rest: Any) -> Any:
        shipped.append(spec)
        return opened(spec, *rest)

    monkeypatch.setattr("tasks.engine.worker.open_context", noting)
    restyle()
    assert [spec.source for spec in shipped] == [None]
    restyle(match="style")
    source = shipped[-1].source
    assert source is not None
    assert (source.index.digests, source.index.posters) == ((), ())
    assert pickle.loads(pickle.dumps(shipped[-1])) == shipped[-1]


def test_the_guide_condition_is_the_source_at_working_size(clip: Path, tmp_path: Path) -> None:
    """Frames of any order, from an object that is not a local file; the copy goes when the context does."""
    from tasks.decode import decode, index_of
    from tasks.probe import facts_of, probe

    remote = "memory://test-match-modes/clip.mp4"
    fsspec.filesystem("memory").pipe_file("/test-match-modes/clip.mp4", clip.read_bytes())
    store = Store.open(str(tmp_path / "store"), workers=0)
    job = job_of(tmp_path, match="style")
    with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
        run = Run(job, str(clip), store, engines)
        probed = probe(run, clip)
        facts = facts_of(run, probed)
        decoded = decode(run, probed, facts, clip)
        [shot] = shots_of(run, facts, index_of(run, decoded), clip, decoded)
    key = StageKey("denoise", "0" * 64, {})
    spec = ShotSpec(
        "restyle", key, key.key, job, "x", shot.size, shot.pts, key, source=SourceFrames(remote, facts, shot.index)
    )
    context = open_context(spec, shot.windows, load(job.model, "cpu"), store, SourceCopies())
    with FrameReader(clip, facts, shot.index, shot.size) as reader:
        expected = reader.read(0, FRAMES)
    asked = [7, 2, 3, 9, 0]
    frames = context.condition("guide", asked)
    assert frames.dtype == torch.uint8
    np.testing.assert_array_equal(frames.numpy(), expected[asked])
    copies = set(Path(fetched).parent for fetched in _open_files() if fetched.endswith("source.mp4"))
    assert copies
    del context
    gc.collect()
    assert not any(folder.exists() for folder in copies)


def _open_files() -> list[str]:
    import psutil

    return [file.path for file in psutil.Process().open_files()]
