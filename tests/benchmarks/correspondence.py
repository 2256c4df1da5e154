"""PatchMatch against optical flow as correspondence: exactness, what each makes of occlusion, deflicker, time.

Procedural scenes have true motion, so there flicker is measured along it. Real clips have none: their flicker is
measured along DIS flow, which is also what the flow arms blend along; read those two rows with that in mind.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from configs.job import Operator
from models.blending import TAU, blend
from models.flow import PairFlow, pair_flow
from models.flow_match import flow_match
from models.metrics import bootstrap_ci, pixel_mse, psnr, sharpness_ratio
from models.patchmatch import nnf, warm_up
from models.pocket.scenes import OpenScene, render_clip
from models.pocket.styles import apply_style
from models.sampling import Window
from models.tables import pairs_for_window
from tasks.video.scaling import resize
from tests.benchmarks.clips import REAL, benchmark_clips, unseen_seeds

Figures = dict[str, float]
Frames = NDArray[np.uint8]
Match = tuple[NDArray[np.int16], NDArray[np.float32]]
Matches = Mapping[tuple[int, int], Match]

METHODS: Mapping[str, Callable[..., Match]] = MappingProxyType({"patchmatch": nnf, "flow": flow_match})
OPERATORS: tuple[Operator, ...] = ("mean", "confidence")
STYLES = ("oil", "watercolor", "night", "sketch")
RADIUS, LONG_SIDE, PATCH = 2, 256, 5
GAIN, OFFSET, NOISE = 0.06, 5.0, 3.0  # flicker per frame and channel, noise per value; 0-255 scale
LAGS = (1, 2, 4)


@dataclass(frozen=True)
class Clip:
    """Frames uint8 [F,H,W,3]; `scene` where the truth about their motion is known."""

    name: str
    frames: Frames
    scene: OpenScene | None = None

    @property
    def kind(self) -> str:
        """Procedural or real."""
        return "procedural" if self.scene else "real"

    def flows(self) -> list[PairFlow]:
        """Motion of consecutive frames and where it counts: true for a scene, else measured."""
        return [self._flow(t) for t in range(len(self.frames) - 1)]

    def _flow(self, t: int) -> PairFlow:
        if self.scene is None:
            return pair_flow(self.frames[t], self.frames[t + 1])
        backward, hidden = self.scene.motion(t + 1, t)
        return PairFlow(backward, self.scene.motion(t, t + 1)[0], ~hidden)


def clips(scenes: int, real: int, frames: int) -> Iterator[Clip]:
    """Unseen procedural scenes, then real clips where they are at hand."""
    for seed in unseen_seeds(scenes):
        scene = render_clip(seed, frames)
        yield Clip(f"scene {seed}", scene.frames_FHWC, scene.source)
    for path in benchmark_clips(real):
        if path.parent != REAL:
            continue
        with av.open(str(path)) as container:
            pictures = [f.to_ndarray(format="rgb24") for f in islice(container.decode(video=0), frames)]
        height, width = pictures[0].shape[:2]
        scale = LONG_SIDE / max(height, width)
        small = [resize(p, round(height * scale), round(width * scale)) for p in pictures]
        yield Clip(path.stem, np.stack(small))


def measure(clip: Clip, style: str, seed: int = 0) -> dict[str, Figures]:
    """Figures per arm of one clip."""
    frames, count = clip.frames, len(clip.frames)
    steady = np.stack([apply_style(style, frame) for frame in frames]).astype(np.float32)
    rng = np.random.default_rng(seed)
    gain, offset = 1 + GAIN * rng.standard_normal((count, 1, 1, 3)), OFFSET * rng.standard_normal((count, 1, 1, 3))
    flickering = (steady * gain + offset + NOISE * rng.standard_normal(steady.shape)).astype(np.float32)
    flows = clip.flows()
    judged = partial(_judged, steady=steady, flows=flows)
    rows = {"style, steady": judged(steady), "input": judged(flickering)}
    window = Window(0, 0, count, count)
    asked = sorted(pairs_for_window(window, RADIUS))
    matched, seconds = _match(frames, asked)
    for method, matches in matched.items():
        facts = {"seconds_ratio": seconds[method] / seconds["patchmatch"], **_exactness(clip, method)}
        for operator in OPERATORS:
            images = dict(enumerate(flickering / 255))
            out = blend(window, images, partial(_stored, matches), RADIUS, operator, PATCH)
            rows[f"{method}, {operator}"] = {**judged(out * 255), **(facts if operator == OPERATORS[0] else {})}
    return rows


def _stored(matches: Matches, target: int, source: int) -> Match:
    return matches[target, source]


def _judged(out: NDArray[np.float32], steady: NDArray[np.float32], flows: Sequence[PairFlow]) -> Figures:
    return {
        "pixel_mse": statistics.mean(pixel_mse(list(out), flows)),
        "psnr": statistics.mean(psnr(a, b) for a, b in zip(out, steady, strict=True)),
        "sharpness": sharpness_ratio(out, steady),
    }


def _match(frames: Frames, asked: Sequence[tuple[int, int]]) -> tuple[dict[str, Matches], dict[str, float]]:
    """Every pair by both methods, turn about, and the median seconds a pair of each."""
    found: dict[str, dict[tuple[int, int], Match]] = {name: {} for name in METHODS}
    took: dict[str, list[float]] = {name: [] for name in METHODS}
    for target, source in asked:
        for name, match in METHODS.items():
            began = time.perf_counter()
            found[name][target, source] = match(frames[target], frames[source], patch=PATCH)
            took[name].append(time.perf_counter() - began)
    return dict(found), {name: statistics.median(values) for name, values in took.items()}


def _exactness(clip: Clip, method: str) -> Figures:
    """Median endpoint error in px on visible pixels by frames apart, and the mean trust in visible and hidden ones."""
    if clip.scene is None:
        return {}
    figures: Figures = {}
    trust: dict[str, list[float]] = {"seen": [], "hidden": []}
    for lag in LAGS:
        target = len(clip.frames) - 1
        flow, hidden = clip.scene.motion(target, target - lag)
        offsets, error = METHODS[method](clip.frames[target], clip.frames[target - lag], patch=PATCH)
        gap = np.linalg.norm(offsets[..., ::-1] - flow, axis=-1)[~hidden]
        figures[f"epe_{lag}"] = float(np.median(gap)) if gap.size else math.nan
        weight = np.exp(-error / np.float32(3 * PATCH**2 * TAU))
        for name, mask in (("seen", ~hidden), ("hidden", hidden)):
            if mask.any():
                trust[name].append(float(weight[mask].mean()))
    return figures | {f"trust_{name}": statistics.mean(v) if v else math.nan for name, v in trust.items()}


COLUMNS = MappingProxyType(
    {
        "pixel_mse": ("Pixel-MSE", 1),
        "psnr": ("PSNR to steady style, dB", 2),
        "sharpness": ("sharpness", 2),
        **{f"epe_{lag}": (f"endpoint error, {lag} apart, px", 2) for lag in LAGS},
        "trust_seen": ("weight of seen px", 2),
        "trust_hidden": ("weight of hidden px", 2),
        "seconds_ratio": ("time over patchmatch", 2),
    }
)


def table(rows: Sequence[Mapping[str, Figures]]) -> str:
    """Markdown: arms down, figures across, each a mean over clips with its 95 % interval."""
    lines = ["| arm | " + " | ".join(title for title, _ in COLUMNS.values()) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for arm in rows[0]:
        cells = [_cell([row[arm].get(name, math.nan) for row in rows], digits) for name, (_, digits) in COLUMNS.items()]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(rows: Sequence[Mapping[str, Figures]]) -> str:
    """Flow less PatchMatch, clip by clip, in words that the intervals decide."""
    lines = []
    for operator in OPERATORS:
        for name in ("pixel_mse", "psnr", "sharpness"):
            gaps = [row[f"flow, {operator}"][name] - row[f"patchmatch, {operator}"][name] for row in rows]
            known = bootstrap_ci(gaps)
            verdict = "higher" if known.low > 0 else "lower" if known.high < 0 else "no clear difference"
            lines.append(f"- {operator}, {COLUMNS[name][0]}: flow - patchmatch = {_cell(gaps, 2)}: {verdict}")
    return "\n".join(lines)


def _cell(values: Sequence[float], digits: int) -> str:
    known = bootstrap_ci([value for value in values if math.isfinite(value)])
    if math.isnan(known.mean):
        return "-"
    return f"{known.mean:.{digits}f} ({known.low:.{digits}f} to {known.high:.{digits}f})"


def section(scenes: int = 6, real: int = 3, frames: int = 9) -> str:
    """The markdown body of this benchmark."""
    warm_up(PATCH)
    found: dict[str, list[dict[str, Figures]]] = {}
    for number, clip in enumerate(clips(scenes, real, frames)):
        found.setdefault(clip.kind, []).append(measure(clip, STYLES[number % len(STYLES)], number))
    parts = [
        f"Radius {RADIUS}, {frames} frames a clip, long side {LONG_SIDE}, patch {PATCH}; a steady style filter with a "
        f"colour flicker per frame (gain ±{GAIN:.0%}, offset ±{OFFSET:g}) and noise of {NOISE:g} levels. Mean over "
        "clips with a 95 % bootstrap interval over clips; with few clips intervals are wide."
    ]
    for kind, rows in found.items():
        judge = "the true flow" if kind == "procedural" else "DIS flow, which the flow arms also blend along"
        parts += [f"**{len(rows)} {kind} clips**, flicker along {judge}:", table(rows), differences(rows)]
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("scenes", 6), ("real", 3), ("frames", 9)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    print(section(**options))


if __name__ == "__main__":
    main()
