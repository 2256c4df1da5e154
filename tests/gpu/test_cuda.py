"""On a CUDA device: a job gives the same bits twice, and the numerics class keeps it apart from the CPU's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from configs.presets import load_preset
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Run
from tasks.store import Store
from tests.chaos.drive import chaos_job
from tests.small_clips import write_clip

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: nothing here says anything about GPUs"),
]


def restyled(folder: Path, device: str, **options: Any) -> tuple[str, str]:
    clip = write_clip(folder.parent / "clip.mp4")
    job = chaos_job(str(folder) + "-out", model=load_preset("pocket")["model"], num_inference_steps=2)
    store = Store.open(str(folder), workers=0)
    with EnginePool(store.url, 0, device, **options) as engines:
        output = restyle_video(Run(job, str(clip), store, engines)).output
    return output.latents_digest, output.rgb_digest


def test_the_same_job_gives_the_same_bits_twice_and_in_any_shards(tmp_path: Path) -> None:
    first = restyled(tmp_path / "a", "cuda")
    assert restyled(tmp_path / "b", "cuda") == first
    assert restyled(tmp_path / "c", "cuda", shard_windows=1) == first


def test_a_gpu_result_is_never_taken_for_a_cpu_result(tmp_path: Path) -> None:
    store = tmp_path / "one-store"
    restyled(store, "cpu")
    before = len(list(Store.attach(str(store)).manifests("denoise")))
    restyled(store, "cuda")
    assert len(list(Store.attach(str(store)).manifests("denoise"))) == before + 1
