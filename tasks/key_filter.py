"""Keyframe interpolation of one shot as two stages: the matches of its frames with their keys, and the filled frames.

Matches depend on the guide and on where keys lie, not on what is painted: a repainted key matches nothing anew. At any
time two keys, their guide frames, the matches of one window and one strip are held. A run that was killed left whole
strips with the match errors of their frames: the next one makes the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from configs.deflicker_job import DeflickerJob
from configs.errors import Interrupted
from models.blend_operators import TAU
from models.keyframes import Image, mix_of, pairs_for_keys, segments
from models.sampling import Correspond
from tasks.correspond import list_of_pairs, pairs_base
from tasks.key_images import KeyImage
from tasks.matcher import Added, Matcher, Pair, add_missing
from tasks.matches import StoredMatches
from tasks.matches_ahead import MatchesAhead
from tasks.ref import Ref
from tasks.run import Progress, Run
from tasks.shot import Shot
from tasks.stage import Computed, Writing, run_stage
from tasks.store import Store
from tasks.store.keys import StageKey, stage_key
from tasks.store.manifest import Part
from tasks.strips import forget_notes, strip_length, strip_name, strips_left, write_strip
from tasks.video.frames import FrameReader, upscale
from tasks.video.scaling import resize

VERSION = 2

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SegmentReport:
    """How well the frames [first, stop) of the clip are matched by their keys: where a key is missing.

    `match_error` is the root of the mean squared difference of matched patches, in levels of 255, to the better key,
    over all pixels and frames (by flow a pixel without counterpart counts as 255); `worst_frame` the one it is largest
    for, which is where another key helps most.
    """

    first: int
    stop: int
    keys: tuple[int, ...]
    match_error: float
    worst_frame: int
    worst_error: float


def match_keys(run: Run, shot: Shot, keys: Mapping[int, KeyImage]) -> Ref:
    """Match every frame of the shot with the one or two keys around it; packs are shared with all jobs on the guide."""
    pairs = pairs_for_keys(shot.frames, keys)

    def add() -> tuple[Sequence[Pair], Added]:
        with _GuideFrames(shot) as guide:
            return pairs, add_missing(run, shot, pairs_base(run, shot), pairs, guide.target, guide.key)

    return list_of_pairs(run, shot, keys_key(run, shot, keys), add)


def keys_key(run: Run, shot: Shot, keys: Iterable[int]) -> StageKey:
    """Key of the list of pairs between the frames of the shot and its keys."""
    params = {**shot.as_params(), "keys": sorted(keys), "pairs": pairs_base(run, shot)}
    return stage_key("correspond", VERSION, params, {}, [shot.decoded.as_input()], None)


def fill_shot(run: Run, job: DeflickerJob, shot: Shot, keys: Mapping[int, KeyImage], matched: Mapping[str, Any]) -> Ref:
    """Every frame of the shot at the guide's own size: keys as they are, the others made of them.

    `matched` names the matches, which with `job.keep_matches` are in the store. The artifact's meta holds `segments`, a
    `SegmentReport` each, frames counted in the index.
    """
    size = (shot.facts.height, shot.facts.width)
    painted = {str(frame): key.digest for frame, key in sorted(keys.items())}
    chosen = {"operator": job.deflicker.operator, "patch": job.deflicker.patch, "tau": TAU}
    params = {**shot.as_params(), "keys": painted, "full": list(size), **chosen}
    key = stage_key("filter", VERSION, params, {}, [shot.decoded.as_input(), matched], None)

    def compute(writing: Writing) -> Computed:
        length, missed = strip_length(*size), dict[int, float]()
        strips = [range(first, min(first + length, shot.frames)) for first in range(0, shot.frames, length)]
        left, parts = _left(run.store, key, strips), list[Part]()
        missing = [frame for number, strip in enumerate(strips) if number not in left for frame in strip]
        with _Filling(run, job, shot, keys, missing) as filling:
            for number, strip in enumerate(strips):
                if number in left:
                    part, errors = left[number]
                else:
                    filled = [filling.frame(frame) for frame in strip]
                    errors = [error for _, error in filled]
                    # first: a strip without its errors would have to be made again
                    run.store.write_record(_note(key, number), errors)
                    part = write_strip(run.store, key, number, [frame for frame, _ in filled])
                missed |= zip(strip, errors, strict=True)
                parts.append(part)
                run.observe(Progress(run.source, "filter", strip.stop, shot.frames))
                if run.should_stop():
                    raise Interrupted(f"stopped in filter; {len(parts)} strips are kept, run it again to go on")
        reports = [asdict(report) for report in _reports(shot, keys, missed)]
        return parts, {"segments": reports, "strips": len(parts), "resumed": len(left)}

    ref = run_stage(run, key, compute)
    if ref.status == "computed":
        forget_notes(run.store, key)
    return ref


def _note(key: StageKey, strip: int) -> str:
    return f"steps/{key.key}/missed-{strip:06d}.json"


def _left(store: Store, key: StageKey, strips: Sequence[range]) -> dict[int, tuple[Part, list[float]]]:
    """Whole strips of a stopped run that have the match errors of their frames, by number."""
    kept, found = strips_left(store, key), dict[int, tuple[Part, list[float]]]()
    for number, strip in enumerate(strips):
        if (part := kept.get(strip_name(number))) is not None:
            errors = store.read_record(_note(key, number))
            if isinstance(errors, list) and len(errors) == len(strip):
                found[number] = part, errors
    return found


class _Filling:
    """The frames `missing` of a shot, in their order; the one or two keys around the last one are held.

    Below the guide's own size a key loses detail. What it lost is carried along the same field, enlarged, and added,
    or every key would be a flash of sharpness among soft frames.
    """

    def __init__(
        self, run: Run, job: DeflickerJob, shot: Shot, keys: Mapping[int, KeyImage], missing: Iterable[int]
    ) -> None:
        self._shot, self._keys, self._chosen = shot, keys, job.deflicker
        self._size = (shot.facts.height, shot.facts.width)
        self._around = {m: segment.keys for segment in segments(shot.frames, keys) for m in segment.frames}
        stored = StoredMatches(run.store, pairs_base(run, shot), shot.digests, 4)
        self._matches: Correspond = stored
        self._opened = ExitStack()
        if not job.keep_matches:
            guide = self._opened.enter_context(_GuideFrames(shot))
            needed = ([(m, key) for key in self._around.get(m, ())] for m in missing)
            matcher = self._opened.enter_context(Matcher(run))
            self._matches = MatchesAhead(matcher, stored, needed, lambda p: (guide.target(p[0]), guide.key(p[1])))
        self._small: dict[int, Image] = {}
        self._lost: dict[int, Image] = {}

    def __enter__(self) -> _Filling:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def frame(self, frame: int) -> tuple[Picture, float]:
        """Frame `frame` uint8 [H,W,3] with its match error; a key is as it was painted, and has none."""
        if frame in self._keys:
            return self._keys[frame].read(*self._size), 0.0
        self._hold(self._around[frame])
        operator = cast(Literal["mean", "confidence"], self._chosen.operator)
        mix = mix_of(frame, self._around[frame], self._matches, operator, self._chosen.patch, TAU)
        picture = upscale(_whole(mix.of(self._small, self._chosen.patch)), *self._size)
        if self._lost:
            picture = _whole(picture + mix.of(self._lost, self._chosen.patch))
        return picture, mix.missed

    def _hold(self, around: tuple[int, ...]) -> None:
        for number in self._small.keys() - set(around):
            del self._small[number]
            self._lost.pop(number, None)
        for number in around:
            if number not in self._small:
                painted = self._keys[number].read(*self._size)
                small = resize(painted, *self._shot.size)
                self._small[number] = small.astype(np.float32)
                if small is not painted:
                    self._lost[number] = np.subtract(painted, upscale(small, *self._size), dtype=np.float32)


def _whole(image: Image) -> Picture:
    picture: Picture = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return picture


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
