"""A clip of two shots, and the frames that the product makes of it, seen before they are encoded. No pytest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from configs.deflicker_job import DeflickerJob
from configs.job import RestyleJob
from tasks.engine.pool import EnginePool
from tasks.filter_pipeline import deflicker_video
from tasks.pipeline import restyle_video
from tasks.recorded import Do
from tasks.ref import Ref
from tasks.rendered import rendered_frames
from tasks.run import Run, VideoResult
from tasks.store import Store
from tasks.store.keys import StageKey
from tasks.strips import strip_frames

CUT, FRAMES, H, W = 10, 20, 48, 64


def write_two_shots(path: Path, seeds: tuple[int, int] = (3, 4), flicker: float = 0.0) -> Path:
    """Ten frames of a dark scene, ten of a bright one, each drawn by its seed; lossless: no shot leaks in encoding.

    `flicker`: levels by which frames differ in brightness for no reason of the scene.
    """
    scenes = []
    for seed, low in zip(seeds, (10, 150), strict=True):
        coarse = np.random.default_rng(seed).integers(low, low + 80, (5, 12, 3), dtype=np.uint8)
        scenes.append(cv2.resize(coarse, (96, H), interpolation=cv2.INTER_CUBIC).astype(np.float32))
    gains = flicker * np.random.default_rng(0).uniform(-1, 1, FRAMES)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=25, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = W, H, "rgb24"
        for n in range(FRAMES):
            shown = np.roll(scenes[n // CUT], -n, 1)[:, :W] + gains[n]
            picture = np.ascontiguousarray(shown.clip(0, 255).astype(np.uint8))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def filtered(store_at: Path, job: DeflickerJob) -> tuple[list[np.ndarray[Any, Any]], VideoResult]:
    """Frames of all shots as the stage `filter` leaves them, and the result."""
    source = job.source or job.guide
    store, engines, kept = _opened(store_at)
    with engines:
        result = deflicker_video(job, Run(job.for_stages(), source, store, engines), _keeping(kept, "filter"))
    assert store.lookup(StageKey("filter", kept[0].key, {})) is not None
    return list(strip_frames(store, kept, H)), result


def restyled(store_at: Path, job: RestyleJob, clip: Path) -> tuple[list[np.ndarray[Any, Any]], VideoResult]:
    """Frames of all shots as the stage `denoise` leaves them, and the result."""
    store, engines, kept = _opened(store_at)
    with engines:
        result = restyle_video(Run(job, str(clip), store, engines), _keeping(kept, "denoise"))
    return list(rendered_frames(store, kept)), result


def _opened(store_at: Path) -> tuple[Store, EnginePool, list[Ref]]:
    store = Store.open(str(store_at), workers=0)
    return store, EnginePool(store.url, 0, "cpu", lanes=1), []


def _keeping(kept: list[Ref], wanted: str) -> Do:
    def do(stage: str, part: str, work: Callable[[], Ref]) -> Ref:
        ref = work()
        kept.extend([ref] if stage == wanted else [])
        return ref

    return do
