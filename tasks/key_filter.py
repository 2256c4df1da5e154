"""Keyframe interpolation of one shot as two stages: the matches of its frames with their keys, and the filled frames.

Matches depend on the guide and on where keys lie, not on what is painted: a repainted key matches nothing anew. At any
time two keys, their guide frames, the matches of one window and one strip are held. A run that was killed left whole
strips with the match errors of their frames: the next one makes the others.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from configs.deflicker_job import DeflickerJob
from configs.errors import Interrupted
from models.blend_operators import TAU
from models.keyframes import interpolate, pairs_for_keys, segments
from tasks.correspond import matcher, packs_stand, pairs_base
from tasks.key_images import KeyImage
from tasks.matches import StoredMatches
from tasks.ref import Ref
from tasks.run import Progress, Run
from tasks.shot import Shot
from tasks.stage import Computed, Writing, run_stage
from tasks.store.keys import stage_key
from tasks.store.manifest import Part
from tasks.store.pairs import Pair as PackPair
from tasks.store.pairs import PairPacks
from tasks.strips import strip_length, strip_name, strips_left, write_strip
from tasks.video.frames import FrameReader, upscale
from tasks.video.scaling import resize

VERSION = 1

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SegmentReport:
    """How well the frames [first, stop) of the clip are matched by their keys: where a key is missing.

    `match_error` is the root of the mean squared colour difference (0-255 scale) to the better key, over all pixels
    and frames; `worst_frame` the one it is largest for, which is where another key helps most.
    """

    first: int
    stop: int
    keys: tuple[int, ...]
    match_error: float
    worst_frame: int
    worst_error: float


def match_keys(run: Run, shot: Shot, keys: Mapping[int, KeyImage]) -> Ref:
    """Match every frame of the shot with the one or two keys around it; packs are shared with all jobs on the guide."""
    base = pairs_base(run, shot)
    packs = PairPacks(run.store, base)
    pairs = pairs_for_keys(shot.frames, keys)
    windows = sorted({target // shot.window_size for target, _ in pairs})
    params = {**shot.as_params(), "keys": sorted(keys), "pairs": base}
    key = stage_key("correspond", VERSION, params, {}, [shot.decoded.as_input()], None)

    def compute(writing: Writing) -> Computed:
        digests, done, computed = shot.digests, 0, 0
        match, threads = matcher(run), max(1, run.engines.workers or os.cpu_count() or 1)
        with _GuideFrames(shot) as guide, ThreadPoolExecutor(threads) as pool:
            for window, here in groupby(pairs, lambda pair: pair[0] // shot.window_size):
                named: dict[PackPair, tuple[int, int]] = {(digests[t], digests[s]): (t, s) for t, s in here}
                left = packs.missing(window, list(named))
                frames = [(guide.target(named[names][0]), guide.key(named[names][1])) for names in left]
                jobs = [pool.submit(match, *pair) for pair in frames]
                packs.write(window, {names: job.result() for names, job in zip(left, jobs, strict=True)})
                done, computed = done + len(named), computed + len(left)
                run.observe(Progress(run.source, "correspond", done, len(pairs)))
                if run.should_stop():
                    raise Interrupted("stopped in correspond; finished matches are kept, run it again to go on")
        listing = "\n".join(f"{t} {s}" for t, s in pairs)
        summary = {"pairs": len(pairs), "computed": computed, "packs": packs.sizes(windows)}
        return [writing.part("pairs.txt", listing.encode())], summary

    return run_stage(run, key, compute, lambda found: packs_stand(run.store, found))


def fill_shot(run: Run, job: DeflickerJob, shot: Shot, keys: Mapping[int, KeyImage], matched: Ref) -> Ref:
    """Every frame of the shot at the guide's own size: keys as they are, the others made of them.

    The artifact's meta holds `segments`, a `SegmentReport` each, frames counted in the index.
    """
    size = (shot.facts.height, shot.facts.width)
    painted = {str(frame): key.digest for frame, key in sorted(keys.items())}
    chosen = {"operator": job.deflicker.operator, "patch": job.deflicker.patch, "tau": TAU}
    params = {**shot.as_params(), "keys": painted, "full": list(size), **chosen}
    key = stage_key("filter", VERSION, params, {}, [shot.decoded.as_input(), matched.as_input()], None)

    def compute(writing: Writing) -> Computed:
        length, missed = strip_length(*size), dict[int, float]()
        left = strips_left(run.store, key)
        parts: list[Part] = []
        resumed = 0
        for number, first in enumerate(range(0, shot.frames, length)):
            numbers = range(first, min(first + length, shot.frames))
            kept, note = left.get(strip_name(number)), f"steps/{key.key}/missed-{number:06d}.json"
            told = run.store.read_record(note) if kept else None
            if kept is not None and isinstance(told, list) and len(told) == len(numbers):
                errors, resumed = told, resumed + 1
            else:
                filled = list(_filled(run, job, shot, keys, numbers))
                errors = [error for _, error in filled]
                run.store.write_record(note, errors)  # first: a strip without its errors would have to be made again
                kept = write_strip(run.store, key, number, [frame for frame, _ in filled])
            missed |= zip(numbers, errors, strict=True)
            parts.append(kept)
            run.observe(Progress(run.source, "filter", numbers.stop, shot.frames))
            if run.should_stop():
                raise Interrupted(f"stopped in filter; {len(parts)} strips are kept, run it again to go on")
        reports = [asdict(report) for report in _reports(shot, keys, missed)]
        return parts, {"segments": reports, "strips": len(parts), "resumed": resumed}

    ref = run_stage(run, key, compute)
    if ref.status == "computed":
        run.store.blobs.delete_tree(f"steps/{key.key}")
    return ref


def _filled(
    run: Run, job: DeflickerJob, shot: Shot, keys: Mapping[int, KeyImage], numbers: range
) -> Iterator[tuple[Picture, float]]:
    """Frames `numbers` of the shot in order, each with its match error; a key has none."""
    size = (shot.facts.height, shot.facts.width)
    matches = StoredMatches(run.store, pairs_base(run, shot), shot.digests, shot.window_size, 4)
    operator = cast(Literal["mean", "confidence"], job.deflicker.operator)
    held: dict[int, npt.NDArray[np.float32]] = {}
    around = {m: segment.keys for segment in segments(shot.frames, keys) for m in segment.frames}
    for frame in numbers:
        if frame in keys:
            yield keys[frame].read(*size), 0.0
            continue
        for number in [n for n in held if n not in around[frame]]:
            del held[number]
        for number in around[frame]:
            if number not in held:
                held[number] = resize(keys[number].read(*size), *shot.size).astype(np.float32)
        image, error = interpolate(frame, held, matches, operator, job.deflicker.patch, TAU)
        yield upscale(np.clip(np.rint(image), 0, 255).astype(np.uint8), *size), error


def _reports(shot: Shot, keys: Mapping[int, KeyImage], missed: Mapping[int, float]) -> Iterator[SegmentReport]:
    for segment in segments(shot.frames, keys):
        mean = sum(missed[m] for m in segment.frames) / len(segment.frames)
        worst = max(segment.frames, key=lambda m: missed[m])
        yield SegmentReport(
            shot.first + segment.first,
            shot.first + segment.stop,
            tuple(shot.first + k for k in segment.keys),
            round(math.sqrt(mean), 3),
            shot.first + worst,
            round(math.sqrt(missed[worst]), 3),
        )


class _GuideFrames:
    """Guide frames by shot-relative number: those under the last two keys are kept, however far back they lie."""

    def __init__(self, shot: Shot) -> None:
        self._shot, self._kept = shot, dict[int, Picture]()
        # two readers: going back to a key must not make the one that walks forward seek
        self._walking, self._looking = (FrameReader(shot.path, shot.facts, shot.index, shot.size) for _ in range(2))

    def __enter__(self) -> _GuideFrames:
        return self

    def __exit__(self, *_: object) -> None:
        self._walking.close()
        self._looking.close()

    def target(self, frame: int) -> Picture:
        """A frame between keys."""
        return self._walking.read(self._shot.first + frame, self._shot.first + frame + 1)[0]

    def key(self, frame: int) -> Picture:
        """The frame under a key."""
        if frame not in self._kept:
            while len(self._kept) > 1:
                self._kept.pop(min(self._kept))
            self._kept[frame] = self._looking.read(self._shot.first + frame, self._shot.first + frame + 1)[0]
        return self._kept[frame]
