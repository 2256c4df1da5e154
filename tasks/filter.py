"""Stage `filter`: the deflicker on the frames of a finished video, as a stream of strips.

Whatever the length of the clip it holds the frames within the window's reach, one strip, and a few matches.
A run that was killed left whole strips: the next one computes the others, with the same bits, since a stream that
begins in the middle begins at a multiple of every table's length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from configs.deflicker_job import DeflickerJob
from configs.errors import Interrupted
from models.blend_operators import TAU
from models.blend_stream import BlendStream
from models.blending import Fields, guided
from models.sampling import Correspond
from models.style_match import StyleFields
from tasks.clip import Clip
from tasks.correspond import pairs_base
from tasks.guide_frames import GuideFrames
from tasks.matcher import Matcher
from tasks.matches import StoredMatches, folders_of
from tasks.matches_ahead import MatchesAhead
from tasks.ref import Ref
from tasks.run import Progress, Run
from tasks.shot import Shot
from tasks.stage import Computed, Writing, run_stage
from tasks.store.keys import stage_key
from tasks.store.manifest import Part
from tasks.strips import forget_notes, strip_length, strip_name, strips_left, write_strip
from tasks.video.frames import FrameReader
from tasks.video.scaling import resize

VERSION = 1

Picture = npt.NDArray[np.uint8]


def filter_shot(run: Run, job: DeflickerJob, clip: Clip, shot: Shot, inputs: Sequence[Mapping[str, Any]]) -> Ref:
    """Blend the frames of `clip` in one `shot` of its guide; strips of 8-bit frames of the clip's own size.

    `shot.size` is the size at which frames are matched and blended; `inputs` name the matches, which with
    `job.keep_matches` are in the store. Raises Interrupted between two strips.
    """
    chosen = job.deflicker.model_dump(exclude={"steps", "enabled", "vae_residual", "post"})
    size = [clip.facts.height, clip.facts.width]
    params = {**shot.as_params(), "deflicker": chosen, "tau": TAU, "full": size}
    links = [clip.decoded.as_input(), shot.decoded.as_input(), *inputs]
    key = stage_key("filter", VERSION, params, {}, links, None)

    def compute(writing: Writing) -> Computed:
        parts = strips_left(run.store, key)
        resumed = len(parts)
        length = strip_length(*size)
        missing = [n for n in range(-(-shot.frames // length)) if strip_name(n) not in parts]
        with _Filter(run, job, clip, shot) as filtering:
            for first, stop in _runs(missing):
                frames = filtering.frames(first * length, min(stop * length, shot.frames))
                for number in range(first, stop):
                    strip = [next(frames) for _ in range(number * length, min((number + 1) * length, shot.frames))]
                    part = write_strip(run.store, key, number, strip)
                    parts[part.name] = part
                    run.observe(Progress(run.source, "filter", min((number + 1) * length, shot.frames), shot.frames))
                    if run.should_stop():
                        raise Interrupted(f"stopped in filter; {len(parts)} strips are kept, run it again to go on")
        return _ordered(parts), {"strips": len(parts), "resumed": resumed}

    ref = run_stage(run, key, compute)
    if ref.status == "computed":
        forget_notes(run.store, key)
    return ref


@dataclass
class _Filter:
    """The open files of one shot, and its frames blended from any frame on."""

    run: Run
    job: DeflickerJob
    clip: Clip
    shot: Shot

    def __enter__(self) -> _Filter:
        shot, clip, w = self.shot, self.clip, self.job.deflicker.window
        with ExitStack() as stack:
            self._video = stack.enter_context(FrameReader(clip.path, clip.facts, clip.index))
            # one to match from and one to refine with, which is some frames behind
            self._matching, self._guide = (stack.enter_context(GuideFrames(shot, 2 * w)) for _ in range(2))
            self._matcher = stack.enter_context(Matcher(self.run))
            most = folders_of(2 * w + 1)  # targets lie within w of the frame that is blended
            self._stored = StoredMatches(self.run.store, pairs_base(self.run, shot), shot.digests, most)
            self._opened = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def frames(self, first: int, stop: int) -> Iterator[Picture]:
        """Frames [first, stop) of the shot, blended with their neighbours on either side."""
        shot, w = self.shot, self.job.deflicker.window
        base = aligned(first, w)
        stream = self._stream(base)
        waiting: deque[tuple[Picture, Picture]] = deque()  # what went in and has not come out: full size, blended size
        for frame in range(base, min(stop + w, shot.frames)):
            full = self._video.read(shot.first + frame, shot.first + frame + 1)[0]
            small = resize(full, *shot.size)
            waiting.append((full, small))
            for number, image in stream.push(small.astype(np.float32) / np.float32(255)):
                before = waiting.popleft()
                if first <= base + number < stop:
                    yield changed(*before, image)
        if stop == shot.frames:
            for number, image in stream.finish():
                before = waiting.popleft()
                if base + number >= first:
                    yield changed(*before, image)

    def _stream(self, base: int) -> BlendStream:
        chosen = self.job.deflicker

        def matches(target: int, source: int) -> tuple[Any, Any]:
            return known(target, source)

        fields: Fields = guided(matches)
        if chosen.match != "guide":
            fields = StyleFields(self._guide, matches, chosen.match, chosen.patch, chosen.seed)
        stream = BlendStream(
            self.shot.frames - base,
            matches,
            chosen.window,
            chosen.operator,
            chosen.patch,
            TAU,
            chosen.detail,
            chosen.mode,
            _shifted(fields, base),
        )
        known: Correspond = self._stored
        if not self.job.keep_matches:
            frames = range(self.shot.frames - base)
            needed = (((base + t, base + s) for t, s in stream.pairs_of(frame)) for frame in frames)
            guide = self._matching
            known = MatchesAhead(self._matcher, self._stored, needed, lambda pair: (guide[pair[0]], guide[pair[1]]))
        return stream


def _shifted(fields: Fields, base: int) -> Fields:
    """The same for a stream that begins at `base`: it counts from 0, fields go by the shot's numbers."""
    return lambda target, source, weighed: fields(base + target, base + source, weighed)


def aligned(first: int, w: int) -> int:
    """Where a stream may begin so that frame `first` comes out as if it had begun at 0.

    At least w frames earlier, at a multiple of the longest table entry: no entry of radius w has more than w + 1
    frames, all are aligned to the shot, and no query of `first` reaches back further than w.
    """
    longest = 1 << max(0, w).bit_length()
    return max(0, first - w) // longest * longest


def changed(full: Picture, small: Picture, blended: npt.NDArray[np.float32]) -> Picture:
    """The 8-bit frame that comes out: `blended` float32 [h,w,3] in [0, 1] where it was made at full size.

    Otherwise the *change* that blending made to `small` is enlarged and added to `full`, so that detail finer than
    the blended size stays as sharp (and as unsteady) as it was.
    """
    out = blended * np.float32(255)
    if full.shape != small.shape:
        height, width = full.shape[:2]
        change = cv2.resize(out - small, (width, height), interpolation=cv2.INTER_CUBIC)
        out = full + change
    done: Picture = np.clip(np.rint(out), 0, 255).astype(np.uint8)
    return done


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """[first, stop) of each stretch of consecutive numbers."""
    first = previous = None
    for number in numbers:
        if first is None or previous is None or number != previous + 1:
            if first is not None and previous is not None:
                yield first, previous + 1
            first = number
        previous = number
    if first is not None and previous is not None:
        yield first, previous + 1


def _ordered(parts: dict[str, Part]) -> list[Part]:
    return [parts[name] for name in sorted(parts)]
