"""What grain and flickering light in the guide do to a blend: matched by the search alone, and as the product matches.

Procedural scenes, whose true motion judges, and real clips. The frames to blend are a steady style of the clean clip
with a flicker of its own; the guide is the same clip with grain, with light that flickers, or as it is (the control).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from models.blending import blend
from models.frame_match import frame_match
from models.metrics import bootstrap_ci, pixel_mse, psnr, sharpness_ratio
from models.patchmatch import nnf, warm_up
from models.pocket.styles import apply_style
from models.sampling import Window
from models.tables import pairs_for_window
from tests.benchmarks.correspondence import GAIN, NOISE, OFFSET, PATCH, RADIUS, STYLES, Clip, Frames, Match, clips


def _grain(sigma: float, frames: Frames, rng: np.random.Generator) -> Frames:
    return np.clip(np.rint(frames + rng.normal(0, sigma, frames.shape)), 0, 255).astype(np.uint8)


def _light(frames: Frames, rng: np.random.Generator) -> Frames:
    gain, offset = (rng.normal(middle, wide, (len(frames), 1, 1, 1)) for middle, wide in ((1, 0.04), (0, 4)))
    return np.clip(np.rint(frames * gain + offset), 0, 255).astype(np.uint8)


def _as_product(target: Frames, source: Frames, patch: int) -> Match:
    return frame_match(target[None], source[None])[0]


GUIDES: Mapping[str, Callable[[Frames, np.random.Generator], Frames]] = MappingProxyType(
    {
        "clean": lambda frames, rng: frames,
        "grain of 4 levels": partial(_grain, 4),
        "grain of 8 levels": partial(_grain, 8),
        "light: gain ±4 %, offset ±4": _light,
    }
)
METHODS: Mapping[str, Callable[..., Match]] = MappingProxyType({"search alone": nnf, "as the product": _as_product})
Row = tuple[float, float, float]


def measure(clip: Clip, style: str, seed: int) -> dict[str, Row]:
    """(flicker along the clean clip's motion, PSNR to the steady style, sharpness over the input's) by arm."""
    rng, count = np.random.default_rng(seed), len(clip.frames)
    steady = np.stack([apply_style(style, frame) for frame in clip.frames]).astype(np.float32)
    flicker = [rng.standard_normal((count, 1, 1, 3)) for _ in range(2)]
    given = steady * (1 + GAIN * flicker[0]) + OFFSET * flicker[1] + NOISE * rng.standard_normal(steady.shape)
    images, flows = dict(enumerate((given / 255).astype(np.float32))), clip.flows()
    window = Window(0, 0, count, count)

    def judged(out: Any) -> Row:
        fidelity = statistics.mean(psnr(a, b) for a, b in zip(out, steady, strict=True))
        return statistics.mean(pixel_mse(list(out), flows)), fidelity, sharpness_ratio(out, steady)

    rows = {"not blended": judged(given.astype(np.float32))}
    for guide, spoil in GUIDES.items():
        guides = spoil(clip.frames, rng)
        for name, match in METHODS.items():
            found = {(t, s): match(guides[t], guides[s], patch=PATCH) for t, s in pairs_for_window(window, RADIUS)}
            out = blend(window, images, lambda t, s, kept=found: kept[t, s], RADIUS, "confidence", PATCH)  # type: ignore[misc]
            rows[f"{guide}, {name}"] = judged(out * 255)
    return rows


def section(scenes: int = 4, real: int = 4, frames: int = 9) -> str:
    """The markdown body of this benchmark: a table, each figure a mean over clips with its 95 % interval."""
    warm_up(PATCH)
    rows = [measure(clip, STYLES[n % len(STYLES)], n) for n, clip in enumerate(clips(scenes, real, frames))]
    lines = [
        f"{len(rows)} clips of {frames} frames ({scenes} procedural), blended over {RADIUS} frames either side by "
        "`confidence`. Mean over clips with its 95 % bootstrap interval.",
        "",
        "| guide, matched by | Pixel-MSE along the clean clip | PSNR to the steady style, dB | sharpness over style |",
        "|---|---|---|---|",
    ]
    for arm in rows[0]:
        cells = [_cell([row[arm][k] for row in rows], digits) for k, digits in enumerate((1, 2, 2))]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: Sequence[float], digits: int) -> str:
    known = bootstrap_ci(values)
    return f"{known.mean:.{digits}f} ({known.low:.{digits}f} to {known.high:.{digits}f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("scenes", 4), ("real", 4), ("frames", 9)):
        parser.add_argument(f"--{name}", type=int, default=value)
    print(section(**vars(parser.parse_args(arguments))))


if __name__ == "__main__":
    main()
