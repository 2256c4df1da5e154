"""A look at a job before it is run: a few frames of the first videos in a few steps, side by side on a sheet.

The decode pass and the model stay for the run that follows; frames and steps are its own. Asks nobody: who must agree
is `flows.approval`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.budget import BudgetConfig
from configs.errors import Interrupted
from configs.job import RestyleJob
from configs.names import output_relative
from flows.demo import demo_clip
from flows.result import ErrorEntry, PreviewSheet
from flows.sources import DEMO, Source
from tasks.run import Progress, Run

if TYPE_CHECKING:
    from flows.tally import Tally
    from tasks.engine.pool import EnginePool
    from tasks.shot import Shot
    from tasks.store import Store

VIDEOS, SHOTS, FRAMES, STEPS = 3, 2, 3, 4


def preview_sources(
    job: RestyleJob,
    sources: Sequence[Source],
    store: Store,
    engines: EnginePool,
    observe: Callable[[Progress], None],
    tally: Tally,
    do: Any = None,
) -> None:
    """Preview the first videos that can be read, into `tally`; what fails is noted there, a stop ends the loop.

    `do` runs a stage (default: here and now), as in `tasks.pipeline`.
    """
    for source in sources:
        if len(tally.previews) == VIDEOS:
            break
        try:
            if source.error is not None:
                raise source.error
            uri = str(demo_clip()) if source.uri == DEMO else source.uri
            made = preview_video(Run(job, uri, store, engines, source.relative, observe), do)
            tally.previews.append(made)
            observe(Progress(uri, "", message=f"preview: {made.sheet}"))
        except (Interrupted, KeyboardInterrupt) as stop:
            tally.errors.append(ErrorEntry.of(stop, source.uri))
            break
        except Exception as error:  # the next video may show as well what this one was to show
            tally.errors.append(ErrorEntry.of(error, source.uri))


def preview_video(run: Run, do: Any = None) -> PreviewSheet:
    """Render a few frames from the middle of the first shots, and lay them out beside their source.

    Raises what the stages raise; the job's `shots` and controls hold, its steps and control arms do not.
    """
    from tasks.decode import decode, index_of
    from tasks.pipeline import check_shots, render, shots_of
    from tasks.probe import facts_of, probe
    from tasks.recorded import Recorded, directly
    from tasks.rendered import rendered_frames
    from tasks.video.frames import FrameReader
    from tasks.video.source import local_copy

    steps = min(STEPS, run.job.num_inference_steps)
    run = replace(run, job=preview_job(run.job, steps))
    staged = Recorded(run, do or directly)
    with local_copy(run.source, run.job.input.max_bytes) as path:
        probed = staged("probe", "", lambda: probe(run, path))
        facts = facts_of(run, probed)
        decoded = staged("decode", "", lambda: decode(run, probed, facts, path))
        index = index_of(run, decoded)
        check_shots(run, index)
        chosen = [_middle(shot) for shot in shots_of(run, facts, index, path, decoded)[:SHOTS]]
        done = render(run, staged, chosen, "preview")
        with FrameReader(path, facts, index, chosen[0].size) as reader:
            before = [frame for shot in chosen for frame in reader.read(shot.first, shot.stop)]
        after = list(rendered_frames(run.store, [d.ref for d in done]))
    shown = [(shot.number + 1, index.first + frame) for shot in chosen for frame in range(shot.first, shot.stop)]
    names = [f"shot {number}, frame {frame}" for number, frame in shown]
    key = hashlib.sha256("\n".join(d.ref.key for d in done).encode()).hexdigest()
    sheet = _written(run, key, names, before, after, steps)
    return PreviewSheet(source=run.source, sheet=sheet, key=key, frames=len(after), steps=steps)


def preview_job(job: RestyleJob, steps: int) -> RestyleJob:
    """The same job in fewer steps, without control arms and without a budget of its own."""
    changes = {"num_inference_steps": steps, "report": job.report.model_copy(update={"arms": ()})}
    inversion = job.inversion.model_copy(
        update={"num_inference_steps": min(STEPS, job.inversion.num_inference_steps), "fixed_point": 0}
    )
    return job.model_copy(update={**changes, "inversion": inversion, "budget": BudgetConfig()})


def _middle(shot: Shot) -> Shot:
    """The few frames in the middle of a shot, as a shot of its own."""
    count = min(FRAMES, shot.frames)
    first = shot.first + (shot.frames - count) // 2
    return replace(shot, first=first, stop=first + count)


def _written(run: Run, key: str, names: list[str], before: list[Any], after: list[Any], steps: int) -> str:
    """The sheet beside the results, under a name that is its content's."""
    from tasks.results import ResultFolder
    from tasks.sheet import contact_sheet

    gap = np.full((before[0].shape[0], 4, 3), 250, np.uint8)
    pairs = [np.concatenate([old, gap, new], 1) for old, new in zip(before, after, strict=True)]
    says = {"source": run.source, "preview": f"{len(after)} frames in {steps} steps; left the source, right the result"}
    relative = output_relative(run.source, run.relative, style=None, prompt="preview", key=key, ext="png")
    return ResultFolder(run.job.out).write(relative, contact_sheet(list(zip(names, pairs, strict=True)), says))
