"""The flicker curve as SVG geometry: points, ticks and marks; colours and words are the page's business."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 960.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 12.0, 44.0


@dataclass(frozen=True)
class Line:
    """One arm: `paths` are SVG path data, a new one after every gap; `mean` over its pairs."""

    name: str
    paths: tuple[str, ...]
    mean: float


@dataclass(frozen=True)
class Chart:
    """All lines in one frame; ticks are (position, label), borders and cuts x positions, in user units."""

    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    borders: tuple[float, ...]
    cuts: tuple[float, ...]
    pairs: int
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


def chart(curves: Mapping[str, Sequence[float | None]], window_starts: Sequence[int], cuts: Sequence[int]) -> Chart:
    """Lay out Pixel-MSE curves (one value per pair of frames, None for a gap) in one frame.

    `window_starts` and `cuts` are frame numbers; pair t lies between frames t and t + 1.
    """
    pairs = max(map(len, curves.values()), default=0)
    known = [v for curve in curves.values() for v in curve if v is not None and math.isfinite(v)]
    step, ceiling = _steps(max(known, default=1.0), 4)
    x_step = max(1, round(_steps(max(1, pairs), 10)[0]))

    def x(pair: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (pair / max(1, pairs - 1))

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / ceiling

    def paths(curve: Sequence[float | None]) -> Iterator[str]:
        run: list[str] = []
        for pair, value in enumerate([*curve, None]):
            if value is not None and math.isfinite(value):
                run.append(f"{x(pair):.1f},{y(value):.1f}")
            elif run:
                # a point alone still shows: a line of no length with round caps
                yield "M" + "L".join(run if len(run) > 1 else run * 2)
                run = []

    return Chart(
        lines=tuple(Line(name, tuple(paths(curve)), _mean(curve)) for name, curve in curves.items()),
        x_ticks=tuple((x(t), str(t)) for t in range(0, pairs, x_step)),
        y_ticks=tuple((y(k * step), f"{k * step:g}") for k in range(round(ceiling / step) + 1)),
        borders=tuple(x(s - 1) for s in window_starts if 0 < s <= pairs and s not in cuts),
        cuts=tuple(x(s - 1) for s in cuts if 0 < s <= pairs),
        pairs=pairs,
    )


def _steps(largest: float, count: int) -> tuple[float, float]:
    """A round step that divides `largest` into at most `count`, and the first multiple of it that holds it."""
    if largest <= 0:
        return 1.0, 1.0
    magnitude = 10.0 ** math.floor(math.log10(largest / count))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= largest / count * 0.999)
    return step, step * math.ceil(largest / step)


def _mean(curve: Sequence[float | None]) -> float:
    known = [v for v in curve if v is not None and math.isfinite(v)]
    return sum(known) / len(known) if known else 0.0
