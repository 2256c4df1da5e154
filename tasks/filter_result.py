"""Stages `encode` and `evaluate` of filtered frames: the video that comes out, and what filtering did to it.

Both read strip after strip; memory does not grow with the clip.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

from configs.deflicker_job import DeflickerJob
from models.intervals import block_length, bootstrap_ci
from models.metrics import FlickerMeter
from models.sharpness import sharpness
from tasks.clip import Clip
from tasks.evaluate import plain
from tasks.ref import Ref
from tasks.run import Progress, Run
from tasks.stage import Computed, Writing, run_stage
from tasks.store.keys import stage_key
from tasks.strips import Picture, strip_frames
from tasks.video.encoder import choose_container
from tasks.video.frames import FrameReader, working_size
from tasks.video.scaling import resize
from tasks.video.writer import write_video

VERSION = 1
MEASURED_SIDE = 512  # as `steadyframe evaluate`: finer flow is slower and finds the same ranking

_COMMENTS = {
    "deflicker": "deflickered by Steadyframe along the motion of its source",
    "keyframes": "AI-generated: filled in between keyframes by Steadyframe",
}


def encode_filtered(run: Run, job: DeflickerJob, clip: Clip, shots: Sequence[Ref]) -> Ref:
    """One part, the finished file: the frames of `shots` with the time stamps, sound and tags of `clip`.

    A comment of the clip is kept as `source_comment`, so a file that said it was AI-generated goes on saying so.
    """
    params = {"output": job.output.model_dump(), "kind": job.kind}
    links = [clip.decoded.as_input(), *(r.as_input() for r in shots)]
    key = stage_key("encode", VERSION, params, {}, links, None)

    def frames() -> Iterator[Picture]:
        for done, frame in enumerate(strip_frames(run.store, shots, clip.facts.height), 1):
            if done % 8 == 0 or done == clip.index.frames:
                run.observe(Progress(run.source, "encode", done, clip.index.frames))
            yield frame

    def compute(writing: Writing) -> Computed:
        metadata = {"comment": _COMMENTS[job.kind], "steadyframe_key": key.key}
        with tempfile.TemporaryDirectory(prefix="steadyframe-") as folder:
            target = Path(folder) / f"video.{choose_container(clip.facts, job.output)}"
            written = write_video(target, frames(), clip.facts, clip.index, clip.path, job.output, metadata)
            part = run.store.write_part_file(key, written.path.name, written.path)
        for track in written.dropped:
            run.observe(Progress(run.source, "encode", message=f"not in the output: {track}", level="warning"))
        return [part], {"suffix": written.container, "dropped": list(written.dropped)}

    return run_stage(run, key, compute)


def evaluate_filtered(run: Run, clip: Clip | None, guide: Clip, shots: Sequence[Ref]) -> Ref:
    """Flicker along the guide's motion of what came out and, where there is a `clip`, of what went in.

    `metrics.json`: `figures` (`pixel_mse` with its interval, `guide_pixel_mse`, `sharpness`; with a clip
    `input_pixel_mse`, `flicker_ratio` and `sharpness_ratio`, out over in) and `curves` by pair of frames.
    """
    size = working_size(guide.facts, MEASURED_SIDE, 2)
    links = [guide.decoded.as_input(), *([clip.decoded.as_input()] if clip else []), *(r.as_input() for r in shots)]
    key = stage_key("evaluate", VERSION, {"filtered": True, "size": list(size)}, {}, links, None)

    def compute(writing: Writing) -> Computed:
        measured = plain(_measure(run, clip, guide, shots, size))
        return [writing.part("metrics.json", json.dumps(measured, allow_nan=False).encode())], {}

    return run_stage(run, key, compute)


def _measure(run: Run, clip: Clip | None, guide: Clip, shots: Sequence[Ref], size: tuple[int, int]) -> dict[str, Any]:
    meter, total = FlickerMeter(), guide.index.frames
    cuts = {start for start, _ in guide.index.shots}
    sharp = {"output": 0.0, "input": 0.0}
    height = (clip or guide).facts.height
    with FrameReader(guide.path, guide.facts, guide.index, size) as moving:
        given: Iterator[Picture | None] = _frames(clip, size) if clip else repeat(None)
        coming = zip(range(total), given, strip_frames(run.store, shots, height), strict=False)
        for number, before, after in coming:
            pictures = {"output": resize(after, *size)}
            if before is not None:
                pictures["input"] = before
            if number in cuts:
                meter.cut()
            meter.add(moving.read(number, number + 1)[0], **pictures)
            for name, picture in pictures.items():
                sharp[name] += sharpness(picture)
            if (number + 1) % 16 == 0 or number + 1 == total:
                run.observe(Progress(run.source, "evaluate", number + 1, total))
    pairs = meter.pairs.get("output", [])
    flicker = bootstrap_ci(pairs, block=block_length(pairs))
    figures = {
        "pixel_mse": flicker.mean,
        "pixel_mse_ci": [flicker.low, flicker.high],
        "guide_pixel_mse": meter.mean("source"),
        "sharpness": sharp["output"] / total,
    }
    if clip:
        figures["input_pixel_mse"] = meter.mean("input")
        figures["flicker_ratio"] = _ratio(flicker.mean, meter.mean("input"))
        figures["sharpness_ratio"] = _ratio(sharp["output"], sharp["input"])
    return {"figures": figures, "curves": meter.pairs}


def _frames(clip: Clip, size: tuple[int, int]) -> Iterator[Picture]:
    with FrameReader(clip.path, clip.facts, clip.index, size) as reader:
        for number in range(clip.index.frames):
            yield reader.read(number, number + 1)[0]


def _ratio(one: float, other: float) -> float:
    return one / other if other else math.nan
