"""Stage `encode`: restyled windows become a video of the source's size, time stamps and audio."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.job import RestyleJob
from tasks.ref import Ref
from tasks.rendered import rendered_frames
from tasks.run import Progress, Run
from tasks.stage import Computed, Writing, run_stage
from tasks.store.keys import StageKey, stage_key
from tasks.video.encoder import choose_container
from tasks.video.facts import ClipFacts, ClipIndex
from tasks.video.frames import upscale
from tasks.video.writer import write_video

VERSION = 1


def encode_key(job: RestyleJob, decoded: Mapping[str, Any], shots: Sequence[Mapping[str, Any]]) -> StageKey:
    """Key of the finished file, from its inputs."""
    return stage_key("encode", VERSION, {"output": job.output.model_dump()}, {}, [decoded, *shots], None)


def encode(run: Run, shots: Sequence[Ref], decoded: Ref, facts: ClipFacts, index: ClipIndex, path: Path) -> Ref:
    """One part, the finished file; its container says that it is AI-generated, by which model, under which key."""
    key = encode_key(run.job, decoded.as_input(), [ref.as_input() for ref in shots])

    def frames() -> Iterator[npt.NDArray[np.uint8]]:
        for done, frame in enumerate(rendered_frames(run.store, shots), 1):
            if done % 8 == 0 or done == index.frames:
                run.observe(Progress(run.source, "encode", done, index.frames))
            yield upscale(frame, facts.height, facts.width)

    def compute(writing: Writing) -> Computed:
        metadata = {
            "comment": f"AI-generated: restyled by Steadyframe with {run.job.model.path}",
            "steadyframe_key": key.key,
            "steadyframe_model": run.job.model.path,
        }
        with tempfile.TemporaryDirectory(prefix="steadyframe-") as folder:
            target = Path(folder) / f"video.{choose_container(facts, run.job.output)}"
            written = write_video(target, frames(), facts, index, path, run.job.output, metadata)
            part = run.store.write_part_file(key, written.path.name, written.path)
        for track in written.dropped:
            run.observe(Progress(run.source, "encode", message=f"not in the output: {track}", level="warning"))
        return [part], {"suffix": written.container, "dropped": list(written.dropped)}

    return run_stage(run, key, compute)
