"""Stage `report`: gathers what the page shows and renders it; the page itself is `tasks.report`."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.job import RestyleJob
from configs.presets import styled_prompt
from models.methods.restyle import deflicker_steps
from tasks.denoise import digest_over
from tasks.evaluate import metrics_of
from tasks.pair_facts import pair_facts
from tasks.previews import previews_within
from tasks.ref import Ref
from tasks.rendered import rendered_frames
from tasks.report import OutputFacts, ReportData, ShotFacts, SourceFacts, render_report
from tasks.run import Run, StageRecord, WindowSteps
from tasks.shot import Shot
from tasks.shot_notes import numerics_run, shot_notes
from tasks.stage import Computed, Writing, run_stage
from tasks.store.keys import StageKey, stage_key
from tasks.thumbnail import PART, jpeg
from tasks.video.frames import FrameReader

VERSION = 2


@dataclass(frozen=True)
class Told:
    """What a page is made from: artifacts by arm, the shots, the stages so far and the work they took."""

    arms: Mapping[str, Sequence[Ref]]
    shots: Sequence[Shot]
    encoded: Ref
    measured: Ref
    stages: Sequence[StageRecord]
    steps: WindowSteps


def report_key(job: RestyleJob, encoded: Mapping[str, Any], measured: Mapping[str, Any]) -> StageKey:
    """Key of the page, from its inputs."""
    params = {
        "max_megabytes": job.report.max_megabytes,
        "commit_every": job.commit_every,
        "gate": job.gate.model_dump(),
    }
    return stage_key("report", VERSION, params, {}, [encoded, measured], None)


def report(run: Run, told: Told) -> Ref:
    """One self-contained HTML page and a thumbnail; found again, it still tells the times of the run that made it."""
    key = report_key(run.job, told.encoded.as_input(), told.measured.as_input())

    def compute(writing: Writing) -> Computed:
        half = sum(shot.frames for shot in told.shots) // 2
        middle = next(islice(rendered_frames(run.store, told.arms["result"]), half, None))
        page = render_report(_gather(run, told))
        return [writing.part("report.html", page.encode()), writing.part(PART, jpeg(middle))], {}

    return run_stage(run, key, compute)


def _gather(run: Run, told: Told) -> ReportData:
    arms, shots, encoded = told.arms, told.shots, told.encoded
    first, metrics = shots[0], metrics_of(run, told.measured)
    facts, index, model = first.facts, first.index, run.engines.facts(run.job.model)
    manifests = [run.store.resolve(ref) for ref in arms["result"]]
    clips: dict[str, Callable[[], Iterable[npt.NDArray[np.uint8]]]] = {"source": partial(_source_frames, first)}
    clips |= {name: partial(rendered_frames, run.store, refs) for name, refs in arms.items()}
    fps = float(facts.rate)
    previews = previews_within(clips, fps, run.job.report.max_megabytes * 1e6)
    thumbnails = [base64.b64decode(poster) for poster in index.posters]
    return ReportData(
        source=SourceFacts(
            uri=run.source,
            width=facts.width,
            height=facts.height,
            frames=index.frames,
            fps=fps,
            seconds=index.frames / fps if fps else 0.0,
            codec=facts.codec,
            audio=len(facts.audio),
            bytes=facts.bytes,
        ),
        output=OutputFacts(
            uri=encoded.uri,
            key=encoded.key,
            width=facts.width,
            height=facts.height,
            frames=index.frames,
            codec=run.job.output.codec,
            audio=len(facts.audio),
            bytes=encoded.bytes,
            latents_digest=digest_over(manifests, "x"),
            rgb_digest=digest_over(manifests, "frames"),
        ),
        job=run.job,
        prompt=styled_prompt(run.job.prompt, run.job.style),
        model=run.job.model.path,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        working_size=first.size,
        model_digest=model.digest,
        figures=metrics["figures"],
        curves=metrics["curves"],
        window_starts=[w.first_frame + w.start for shot in shots for w in shot.windows],
        stages=list(told.stages),
        correspondence=pair_facts(run, told.stages),
        window_steps=told.steps,
        deflicker_steps=list(deflicker_steps(run.job)),
        shots=[
            ShotFacts(first=shot.first, stop=shot.stop, thumbnail=thumbnails[n] if n < len(thumbnails) else b"")
            for n, shot in enumerate(shots)
        ],
        previews=previews.clips,
        preview_fps=previews.fps,
        numerics=numerics_run(manifests),
        notes=shot_notes(run.job, manifests),
    )


def _source_frames(shot: Shot) -> Iterator[npt.NDArray[np.uint8]]:
    with FrameReader(shot.path, shot.facts, shot.index, shot.size) as reader:
        for start in range(0, shot.index.frames, 16):
            yield from reader.read(start, min(start + 16, shot.index.frames))
