"""A device that is too small: one fall for all shots of a shape, a record of each rung, a last word below the last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from configs.errors import OutOfMemory
from configs.job import ModelConfig
from tasks.engine import local, worker
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Run, VideoResult
from tasks.rungs import Rungs, lower_rung, rung_in_words
from tasks.store import Store
from tests.unit.tasks.shot_clips import cut_clip, dry_job

Restyle = Callable[..., VideoResult]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[ModelConfig]:
    """Models as they are opened. `decode` does not fit before the VAE is cut twice, nor ever in big windows."""
    opened: list[ModelConfig] = []
    load = local.load

    def small(model: ModelConfig, device: str) -> Any:
        opened.append(model)
        backbone = load(model, device)
        decode = backbone.decode

        def full(latents: torch.Tensor) -> torch.Tensor:
            if not model.vae_tiling or len(latents) > 4:
                raise torch.OutOfMemoryError("tried to allocate 2 GiB")
            return decode(latents)

        object.__setattr__(backbone, "decode", full)
        return backbone

    monkeypatch.setattr(local, "load", small)
    return opened


@pytest.fixture
def restyle(tmp_path: Path) -> Restyle:
    clip = cut_clip(tmp_path / "clip.mp4")
    store = Store.open(str(tmp_path / "store"), workers=0)
    engines = EnginePool(store.url, 0, "cpu", lanes=1)

    def run(observe: Callable[[Any], None] = lambda progress: None, **changes: Any) -> VideoResult:
        return restyle_video(Run(dry_job(tmp_path / "out", **changes), str(clip), store, engines, observe=observe))

    return run


def test_shots_after_a_fall_start_where_it_ended(restyle: Restyle, loaded: list[ModelConfig]) -> None:
    said: list[str] = []
    result = restyle(observe=lambda progress: said.append(progress.message))
    assert result.window_steps.computed == result.window_steps.total
    assert [(m.vae_slicing, m.vae_tiling) for m in loaded] == [(False, False), (True, False), (True, True)]
    assert sum("trying again with less memory" in line for line in said) == 2
    restyle(seed=5)
    assert len(loaded) == 3, "the next job of this pool starts there as well"


def test_another_working_size_is_tried_at_the_top_again(restyle: Restyle, loaded: list[ModelConfig]) -> None:
    restyle()
    restyle(working_size=48)
    tops = [m for m in loaded if not m.vae_slicing]
    assert len(tops) == 2


def test_the_report_tells_the_rung_that_ran(restyle: Restyle, loaded: list[ModelConfig]) -> None:
    page = Path(restyle().output.report).read_text()
    assert "Shot 1 did not fit the device as asked; it ran with the VAE frame by frame, the VAE tile by tile" in page
    assert "&#39;vae_tiling&#39;: True" in page


def test_below_the_last_rung_the_error_says_what_to_change(restyle: Restyle, loaded: list[ModelConfig]) -> None:
    with pytest.raises(OutOfMemory) as caught:
        restyle(window={"size": 8})
    said = str(caught.value)
    for words in ("shot 1", "64x48 in windows of 8", "working_size", "window.size", "float16", "tried to allocate"):
        assert words in said


def test_the_ladder_ends_with_weights_in_main_memory_on_cuda_alone() -> None:
    model: ModelConfig | None = ModelConfig(path="pocket")
    seen = []
    while model is not None:
        seen.append(rung_in_words(model.model_dump()))
        model = lower_rung(model, "cuda:0")
    assert seen[0] == "full memory"
    assert len(seen) == 4
    assert "weights in main memory" in seen[-1]
    tiled = ModelConfig(path="pocket", vae_slicing=True, vae_tiling=True)
    assert lower_rung(tiled, "cpu") is None


def test_shapes_fall_on_their_own(tmp_path: Path) -> None:
    rungs, job = Rungs(), dry_job(tmp_path)
    lower = rungs.fell(job, (48, 64), job.model, "cpu")
    assert rungs.start(job, (48, 64)) == lower != job.model
    assert rungs.start(job, (96, 128)) == job.model
    assert rungs.start(dry_job(tmp_path, window={"size": 8}), (48, 64)) == job.model
    assert rungs.start(dry_job(tmp_path, prompt="y", seed=4), (48, 64)) == lower


def test_a_rehearsal_finds_out_before_any_step(
    restyle: Restyle, loaded: list[ModelConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On CUDA `place` tries a window of every shape; here the CPU stands in for it."""
    restyle()
    late = steps_begun(monkeypatch)
    restyle(seed=1, model={"path": "dry", "threads_per_call": 2})
    assert late, "without a rehearsal a shot runs its steps before the decoding that does not fit"
    monkeypatch.setattr(worker, "measured", lambda backbone: True)
    late.clear()
    again = restyle(seed=2, model={"path": "dry", "threads_per_call": 3})
    assert not late
    assert again.output.latents_digest != ""


def steps_begun(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps that were completed on a rung on which the shot cannot end."""
    begun: list[int] = []
    complete = worker.Worker.complete

    def noted(self: Any, shard: int, step: int, *rest: Any) -> int:
        if self._here().job.model.vae_tiling is False:
            begun.append(step)
        return complete(self, shard, step, *rest)

    monkeypatch.setattr(worker.Worker, "complete", noted)
    return begun


def test_a_rehearsal_changes_no_bit(restyle: Restyle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = restyle(start="inverted", inversion={"num_inference_steps": 2}, deflicker={"window": 2, "post": True})
    monkeypatch.setattr(worker, "measured", lambda backbone: True)
    clip, store = tmp_path / "clip.mp4", Store.open(str(tmp_path / "other"), workers=0)
    job = dry_job(
        tmp_path / "out",
        start="inverted",
        inversion={"num_inference_steps": 2},
        deflicker={"window": 2, "post": True},
    )
    with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
        rehearsed = restyle_video(Run(job, str(clip), store, engines))
    assert rehearsed.window_steps.computed > 0
    assert rehearsed.output.latents_digest == plain.output.latents_digest
    assert rehearsed.output.rgb_digest == plain.output.rgb_digest
