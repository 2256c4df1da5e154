"""A finished video beside its source, and beside the same without correction: figures outside any job.

Reads files frame by frame at one size; memory does not grow with the clip. It measures what the pictures show and
knows nothing of how they were made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import ConfigError
from configs.job import InputConfig
from models.intervals import block_length, bootstrap_of
from models.match_error import MatchMeter
from models.metrics import CONVENTIONS, Convention, FlickerMeter, excess_flicker, psnr, seam_ratio
from models.pair_meter import mean
from models.sharpness import sharpness, temporal_sharpness
from tasks.key_images import check_shape
from tasks.video.facts import ClipFacts, ClipIndex
from tasks.video.frames import FrameReader, working_size
from tasks.video.index import build_index
from tasks.video.scaling import resize
from tasks.video.source import local_copy, probe

LONG_SIDE = 512
"""Flow is measured at most this large: finer is slower and finds the same ranking."""

MATCHED_SIDE = 256
"""Patches are matched at most this large, for the same reason."""

AS_IT_IS = InputConfig()
"""A video is read whole, and refused where there is a choice to make."""

Frames = Iterator[npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Opened:
    """A video being read at `size` (height, width)."""

    uri: str
    frames: Frames
    facts: ClipFacts
    index: ClipIndex
    size: tuple[int, int]


@dataclass
class _Seen:
    """What is left of frames gone by."""

    flicker: FlickerMeter
    matches: MatchMeter | None
    sharp: dict[str, list[float]]
    likeness: dict[str, list[float]]


def compare(
    video: str,
    source: str,
    *,
    control: str | None = None,
    convention: Convention = "masked",
    window: int | None = None,
    correspondence: bool = False,
    given: InputConfig = AS_IT_IS,
) -> dict[str, Any]:
    """Figures of `video` along the motion of `source`, on the 0-255 scale, NaN where one does not exist.

    `control`: the same job without correction; adds its figures and the share of its flicker that is left. `window`:
    frames per window of the job; adds the seam ratio. `correspondence`: also along matching patches, which is slower.
    `given`: how the job read the source; a range of frames is one of the source, which its results begin with.
    Every mean over pairs has an interval by blocks of neighbouring pairs. What holds a video against itself is None.
    Errors: VideoError for a video that cannot be read, ConfigError when numbers of frames or shapes differ.
    """
    arms = {"video": video} | ({"control": control} if control is not None else {})
    with ExitStack() as stack:
        reference = opened(stack, source, given)
        clips = {name: beside(stack, uri, reference, made_by(given, uri, source)) for name, uri in arms.items()}
        small = working_size(reference.facts, MATCHED_SIDE, 2)
        seen = _watch(reference, clips, convention, small if correspondence else None)
    shots = reference.index.shots
    cuts = [first for first, _ in shots if first]
    conventions = {c: _over_pairs(seen.flicker.courses[c], control is not None) for c in CONVENTIONS}
    chosen = conventions[convention]
    found: dict[str, Any] = {
        "scale": "0-255",
        "width": reference.size[1],
        "height": reference.size[0],
        "fps": float(reference.facts.rate),
        "sizes": {name: [clip.facts.width, clip.facts.height] for name, clip in clips.items()},
        "frames": reference.index.frames,
        "pairs": sum(not math.isnan(v) for v in seen.flicker.pairs.get("source", [])),
        "cuts": cuts,
        **{name: value for name, value in chosen.items() if not name.startswith("control")},
        "conventions": conventions,
        **_over_frames(seen, "video", cuts),
        "curves": seen.flicker.pairs,
    }
    if control is not None:
        flickers = {n.removeprefix("control_"): v for n, v in chosen.items() if n.startswith("control_")}
        found["control"] = flickers | _over_frames(seen, "control", cuts)
        found["sharpness_to_control"] = _over(sum(seen.sharp["video"]), sum(seen.sharp["control"]))
    if seen.matches is not None:
        squares = _over_pairs(seen.matches.courses["squared"], control is not None).items()
        found["correspondence"] = {
            "width": small[1],
            "height": small[0],
            "kept": mean(seen.matches.kept),
            **{name.replace("pixel_mse", "squared"): value for name, value in squares},
            **{f"{name}_absolute": seen.matches.mean("absolute", name) for name in seen.sharp},
        }
    if window is not None:
        starts = [start for first, stop in shots for start in range(first, stop, window)]
        seams = seam_ratio(seen.flicker.pairs.get("video", []), starts, shots)
        found |= {"window": window, "window_starts": starts, "seam_ratio": seams}
    return _without_self(found) if video == source else found


def _watch(
    reference: Opened, clips: Mapping[str, Opened], convention: Convention, matched: tuple[int, int] | None
) -> _Seen:
    """Go through all frames once; `matched` is the size (height, width) at which patches are matched, if they are."""
    names = ("source", *clips)
    seen = _Seen(
        FlickerMeter(convention, CONVENTIONS),
        MatchMeter() if matched else None,
        {name: [] for name in names},
        {name: [] for name in names},
    )
    starts = {first for first, _ in reference.index.shots}
    for number, picture in enumerate(reference.frames):
        now = {"source": picture} | {name: next(clip.frames) for name, clip in clips.items()}
        for meter in (seen.flicker, seen.matches):
            if meter is not None and number in starts:
                meter.cut()
        seen.flicker.add(**now)
        if seen.matches is not None and matched:
            seen.matches.add(**{name: resize(frame, *matched) for name, frame in now.items()})
        for name, frame in now.items():
            seen.sharp[name].append(sharpness(frame))
            seen.likeness[name].append(psnr(frame, picture))
    return seen


def judged(video: str, source: str, style: str, given: InputConfig = AS_IT_IS) -> dict[str, Any]:
    """Return the judge's mean figures over every few frames, its version, and how many frames show which style.

    Errors: ConfigError for a style that is no known filter, VideoError for either video.
    """
    from models.judge import JUDGE_VERSION, Judge, summary
    from models.pocket.styles import STYLES
    from tasks.evaluate import JUDGE_EVERY

    if style not in (*STYLES, "photo"):
        raise ConfigError(f"no known filter for style {style!r}; known: {', '.join(STYLES)}, photo")
    with ExitStack() as stack:
        reference = opened(stack, source, given, long_side=256)  # what the judge is calibrated at, and pocket draws at
        mine = beside(stack, video, reference, made_by(given, video, source))
        pairs = islice(zip(mine.frames, reference.frames, strict=False), 0, None, JUDGE_EVERY)
        said = summary([Judge(b)(a, style) for a, b in pairs], style)
    said["sharpness_to_filter"] = said.pop("sharpness_ratio")
    return {**said, "judge_version": JUDGE_VERSION, "judge_every": JUDGE_EVERY}


def made_by(given: InputConfig, video: str, source: str) -> InputConfig:
    """How a result is read whose source was read as `given`: whole, it holds nothing beside the range already."""
    return given if video == source else given.model_copy(update={"frames": None})


def opened(
    stack: ExitStack,
    uri: str,
    limits: InputConfig = AS_IT_IS,
    size: tuple[int, int] | None = None,
    long_side: int = LONG_SIDE,
) -> Opened:
    """A video at `size`, by default its own but at most `long_side`; closed with `stack`. Errors: VideoError."""
    path = stack.enter_context(local_copy(uri, limits.max_bytes))
    facts = probe(uri, limits, path)
    index = build_index(path, facts, limits)
    chosen = size or working_size(facts, long_side, 2)
    reader = stack.enter_context(FrameReader(path, facts, index, chosen))
    return Opened(uri, (reader.read(n, n + 1)[0] for n in range(index.frames)), facts, index, chosen)


def beside(stack: ExitStack, uri: str, reference: Opened, limits: InputConfig) -> Opened:
    """`uri` brought to the size of what it was made from. Errors: ConfigError when it cannot come from that."""
    clip = opened(stack, uri, limits, reference.size)
    if clip.index.frames != reference.index.frames:
        raise ConfigError(
            f"{uri} has {clip.index.frames} frames and {reference.uri} has {reference.index.frames}; "
            "give the source it was made from"
        )
    mine, theirs = (
        (f"{opened.uri} is {opened.facts.width}x{opened.facts.height}", (opened.facts.height, opened.facts.width))
        for opened in (clip, reference)
    )
    check_shape(*mine, *theirs)
    return clip


def _over_pairs(pairs: Mapping[str, Sequence[float]], controlled: bool) -> dict[str, Any]:
    """Means over pairs with their intervals, and what they are beside the source and the control."""
    mine, own = pairs.get("video", []), pairs.get("source", [])
    block = block_length(mine)

    def told(name: str, figure: Callable[..., float], *series: Sequence[float]) -> dict[str, Any]:
        interval = bootstrap_of(figure, *series, block=block)
        return {name: interval.mean, f"{name}_ci": [interval.low, interval.high]}

    row = told("pixel_mse", float, mine) | told("source_pixel_mse", float, own) | told("ratio", _over, mine, own)
    if controlled:
        control = pairs.get("control", [])
        row |= told("control_pixel_mse", float, control) | told("control_ratio", _over, control, own)
        row |= told("excess_flicker", excess_flicker, mine, own, control)
    return {**row, "ci_block": block}


def _over_frames(seen: _Seen, name: str, cuts: Sequence[int]) -> dict[str, Any]:
    """Sharpness beside the source, over time too, and PSNR to it."""
    mine, own = seen.sharp[name], seen.sharp["source"]
    over_time = temporal_sharpness(mine, own, cuts)
    return {
        "sharpness_ratio": _over(sum(mine), sum(own)),
        "sharpness_over_time": over_time.ratio,
        "sharpness_pulsing": over_time.pulsing,
        "sharpness_course": list(over_time.course),
        "psnr": mean(seen.likeness[name]),
    }


_BESIDE_SOURCE = ("source_", "ratio", "sharpness_", "psnr", "excess_")


def _without_self(found: Mapping[str, Any]) -> dict[str, Any]:
    """The same, groups of figures too, with None for each that needs a source other than the video."""
    return {
        name: None
        if name.startswith(_BESIDE_SOURCE)
        else _without_self(value)
        if isinstance(value, dict) and name not in ("curves", "sizes")
        else value
        for name, value in found.items()
    }


def _over(figure: float, reference: float) -> float:
    return figure / reference if reference else math.nan
