"""Task 1, text-guided stylization: the named look is there, near its own filter and without flicker."""

from __future__ import annotations

from models.judge import Judge, summary
from models.pocket.styles import apply_style
from tests.benchmarks.five_tasks.bench import STEADY, Bench, Frames, Row, likeness, rows_of

COMMAND = "steadyframe restyle CLIP --preset stylize --style oil --out DIR"
ABOUT = "`result` against the same job without its deflicker; judged and compared with the style's own filter."


def judged(source: Frames, made: Frames, style: str) -> dict[str, float]:
    """The judge's share of frames that show the style."""
    said = summary([Judge(s)(m, style) for s, m in zip(source[::4], made[::4], strict=True)], style)
    return {"style accuracy": said["style_accuracy"]}


def measure(bench: Bench) -> list[Row]:
    """Every clip in a style or more, until all styles were there."""
    rows: list[Row] = []
    scenes = bench.scenes()
    for name, style in bench.looks():
        scene = scenes[name]
        path, source = bench.written(name, scene.frames_FHWC), scene.frames_FHWC
        wanted = {"style": style, "prompt": scene.caption}
        arms = {
            "result": bench.restyled("stylize", path, **wanted),
            "no deflicker": bench.restyled("stylize", path, STEADY, **wanted),
            "the filter itself": _filtered(source, style),
        }
        known = arms["the filter itself"]
        more = {arm: judged(source, made, style) | likeness(made, known) for arm, made in arms.items()}
        del more["the filter itself"]["psnr"]
        rows += rows_of(name, source, arms, more, style)
    return rows


def _filtered(source: Frames, style: str) -> Frames:
    import numpy as np

    return np.stack([apply_style(style, frame) for frame in source])
