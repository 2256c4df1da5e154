"""Every style on one frame of a clip: the stages of a real job, on a shot of a single frame, once per style.

What comes out is, bit for bit, the job's own frame with `input.frames` at that frame, `window.size=1` and the
deflicker off. Knows the stages; knows no sheet, no command and no flow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from configs.errors import ConfigError
from configs.job import RestyleJob
from configs.presets import styled_prompt
from models.methods.restyle import run_length
from tasks.decode import decode, index_of
from tasks.pipeline import render, shots_of
from tasks.probe import facts_of, probe
from tasks.recorded import Recorded, directly
from tasks.rendered import rendered_frames
from tasks.run import Progress, Run, StageRecord, WindowSteps
from tasks.video.facts import ClipFacts
from tasks.video.frames import FrameReader
from tasks.video.source import local_copy

Picture = npt.NDArray[np.uint8]

# A stream cut at an open group of pictures begins with a few frames that no player shows: look past them.
_LOOK = 8


@dataclass(frozen=True)
class StyledFrame:
    """One style's picture, uint8 RGB [H,W,3]; the text the model was given; the artifact it lies in."""

    style: str
    prompt: str
    picture: Picture
    key: str
    seconds: float


@dataclass(frozen=True)
class StyledFrames:
    """A frame of the source at working size, counted in the whole clip, and what every style makes of it."""

    frame: int
    source: Picture
    styled: Sequence[StyledFrame]
    stages: list[StageRecord]
    window_steps: WindowSteps


def style_frame(run: Run, frame: int, styles: Sequence[str]) -> StyledFrames:
    """Render frame `frame` (of those the job reads, from 0) in each of `styles`; the model is loaded once.

    Raises ConfigError for a frame the clip does not have, and what the stages raise.
    """
    asked, run = run.job, replace(run, job=single_frame_job(run.job, frame))
    staged, steps = Recorded(run, directly), run_length(asked)
    with local_copy(run.source, run.job.input.max_bytes) as path:
        probed = staged("probe", "", lambda: probe(run, path))
        facts = facts_of(run, probed)
        _check_frame(asked, facts, frame)
        decoded = staged("decode", "", lambda: decode(run, probed, facts, path))
        index = index_of(run, decoded)
        shot = replace(shots_of(run, facts, index, path, decoded)[0], first=0, stop=1)
        with FrameReader(path, facts, index, shot.size) as reader:
            source = reader.read(0, 1)[0]
        styled, work = [], []
        for before, style in zip(range(0, steps * len(styles), steps), styles, strict=True):
            tell = partial(_as_one_bar, run.observe, before, steps * len(styles))
            job = run.job.model_copy(update={"style": style})
            (done,) = render(replace(run, job=job, observe=tell), staged, [shot], style)
            (picture,) = rendered_frames(run.store, [done.ref])
            tell(Progress(run.source, "denoise", steps, steps))
            prompt = styled_prompt(job.prompt, style)
            styled.append(StyledFrame(style, prompt, picture, done.ref.key, done.ref.seconds))
            work.append(done)
    total, computed = sum(d.total for d in work), sum(d.computed for d in work)
    counted = WindowSteps(total=total, computed=computed, reused=max(0, total - computed))
    return StyledFrames(index.first, source, tuple(styled), staged.stages, counted)


def single_frame_job(job: RestyleJob, frame: int) -> RestyleJob:
    """The same job on one frame: a window of one, no neighbour to blend with or to look at.

    One frame that looks at the first, the previous and itself finds itself three times, and a softmax over keys
    given three times is the softmax over them once: the pattern `0` gives the same picture for a third of the time.
    """
    first, stop = job.input.frames or (0, None)
    begin = first + frame
    end = begin + min(_LOOK, job.input.max_frames)
    end = end if stop is None else max(begin + 1, min(end, stop))
    changes = {
        "input": job.input.model_copy(update={"frames": (begin, end)}),
        "window": job.window.model_copy(update={"size": 1}),
        "attention": job.attention.model_copy(update={"pattern": ("0",)}),
        "deflicker": job.deflicker.model_copy(update={"enabled": False}),
    }
    return job.model_copy(update=changes)


def _check_frame(job: RestyleJob, facts: ClipFacts, frame: int) -> None:
    first, stop = job.input.frames or (0, facts.frames)
    last = min(stop, facts.frames) - first - 1
    if last >= 0 and not 0 <= frame <= last:  # an empty range is refused where it is read, by its own name
        raise ConfigError(f"frame must be 0 to {last} for {facts.uri}, got {frame}")


def _as_one_bar(observe: Callable[[Progress], None], before: int, total: int, sign: Progress) -> None:
    """Pass on the steps of one style as steps of all of them; everything else as it is."""
    ours = sign.stage == "denoise" and sign.total > 0
    observe(replace(sign, stage="styles", done=before + sign.done, total=total) if ours else sign)
