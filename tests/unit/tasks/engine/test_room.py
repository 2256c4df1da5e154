"""A shot that the workers' memory cannot hold is refused by one sentence before anything is computed for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import PlanError
from configs.job import RestyleJob
from models.dry import DryBackbone
from tasks.engine.pool import EnginePool
from tasks.engine.room import OVERHEAD, Room, check_room, free_memory, room_of
from tasks.pipeline import restyle_video
from tasks.run import Run
from tasks.store import Store
from tests.small_clips import write_clip

GB = 1_000_000_000


def test_workers_that_share_a_memory_are_counted_together() -> None:
    one, other = Room("a", 10 * GB, GB), Room("b", 10 * GB, GB)
    check_room([one, one, other], [5, 5, 10])
    with pytest.raises(PlanError, match=r"a shot of 21 frames needs 11.0 GB of memory on a, which has 10.0 GB free"):
        check_room([one, one, other], [5, 6, 10])


def test_a_frame_takes_what_its_latents_take_and_the_allocator() -> None:
    assert room_of(DryBackbone(), (128, 256)).frame == int(4 * 16 * 32 * 4 * OVERHEAD)


def test_a_container_s_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 500000\n")
    assert free_memory(tmp_path) == 2_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) > 2_500_000
    assert free_memory(tmp_path / "none") > 2_500_000


def test_nothing_is_computed_for_a_shot_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.engine.room.free_memory", lambda: 1000)
    clip = write_clip(tmp_path / "clip.mp4")
    settings = {"prompt": "x", "model": {"path": "dry"}, "working_size": 64, "out": str(tmp_path / "out")}
    store = Store.open(str(tmp_path / "store"), workers=0)
    with (
        EnginePool(store.url, 0, "cpu", lanes=2) as engines,
        pytest.raises(PlanError, match=r"10 frames needs .* GB free; lower working_size"),
    ):
        restyle_video(Run(RestyleJob.model_validate(settings), str(clip), store, engines))
    assert {m.stage for m in store.manifests()} == {"probe", "decode"}
