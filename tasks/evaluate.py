"""Stage `evaluate`: the four figures of a restyle (architecture.md section 8) for the result and its control arms.

And, for a style that is a known filter, what the judge (`models.judge`) says of each arm. Frame by frame against the
source at working size; memory does not grow with the clip.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from configs.job import RestyleJob
from models.intervals import block_length, bootstrap_ci
from models.judge import JUDGE_VERSION, Judge, Verdict, summary
from models.metrics import FlickerMeter, excess_flicker, psnr, seam_ratio
from models.pair_meter import mean
from models.pocket.styles import STYLES, apply_style
from models.sharpness import sharpness, temporal_sharpness
from tasks.ref import Ref
from tasks.rendered import rendered_frames
from tasks.run import Progress, Run
from tasks.shot import Shot
from tasks.stage import Computed, Writing, run_stage
from tasks.store.keys import StageKey, stage_key
from tasks.video.frames import FrameReader

VERSION = 5
CHUNK = 16
JUDGE_EVERY = 4  # frames, counted from the shot's first: knowing all looks of a source takes about 60 ms


@dataclass
class _Sums:
    """Per-frame figures of one clip, summed as frames go by."""

    sharpness: list[float] = field(default_factory=list)
    fidelity: list[float] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)


def judged_style(job: RestyleJob, shots: int) -> str | None:
    """The style that a clip of so many shots is judged by: the one that all of them have, if it is a known filter."""
    styles = {job.of_shot(number + 1).style for number in range(shots)}
    return style if len(styles) == 1 and (style := styles.pop()) in STYLES else None


def evaluate_key(style: str | None, arms: Mapping[str, Sequence[Mapping[str, Any]]], shot: Shot) -> StageKey:
    """Key of the figures of a clip, from the inputs of its arms; `shot` is any of its shots."""
    inputs = [shot.decoded.as_input(), *(given for name in sorted(arms) for given in arms[name])]
    params = {"style": style, "arms": sorted(arms), "size": list(shot.size), "judge": JUDGE_VERSION}
    return stage_key("evaluate", VERSION, params, {}, inputs, None)


def evaluate(run: Run, arms: Mapping[str, Sequence[Ref]], shots: Sequence[Shot]) -> Ref:
    """Measure every arm (`result` among them); `metrics.json` holds `figures` and, per frame pair, `curves`.

    `judge` tells the version of the judge and its stride in frames; null where the style is no known filter.
    """
    style = judged_style(run.job, len(shots))
    key = evaluate_key(style, {name: [ref.as_input() for ref in refs] for name, refs in arms.items()}, shots[0])

    def compute(writing: Writing) -> Computed:
        measured = _measure(run, arms, shots, style)
        return [writing.part("metrics.json", json.dumps(measured, allow_nan=False).encode())], {}

    return run_stage(run, key, compute)


def metrics_of(run: Run, ref: Ref) -> dict[str, Any]:
    """What `evaluate` left."""
    metrics: dict[str, Any] = json.loads(run.store.read_part(run.store.resolve(ref), "metrics.json"))
    return metrics


def _measure(run: Run, arms: Mapping[str, Sequence[Ref]], shots: Sequence[Shot], style: str | None) -> dict[str, Any]:
    meter = FlickerMeter(beside=["no_warp"])
    sums = {name: _Sums() for name in ("source", *arms, *(("filter",) if style else ()))}
    clips = {name: rendered_frames(run.store, refs) for name, refs in arms.items()}
    total, done = shots[-1].stop, 0
    first = shots[0]
    with FrameReader(first.path, first.facts, first.index, first.size) as reader:
        for shot in shots:
            meter.cut()
            for start in range(shot.first, shot.stop, CHUNK):
                for number, source in enumerate(reader.read(start, min(start + CHUNK, shot.stop)), start - shot.first):
                    frames = {name: next(clip) for name, clip in clips.items()}
                    judge = Judge(source) if style and number % JUDGE_EVERY == 0 else None
                    steady = {"filter": judge.pictures[style] if judge else apply_style(style, source)} if style else {}
                    meter.add(source, **frames, **steady)
                    for name, frame in {"source": source, **frames, **steady}.items():
                        sums[name].sharpness.append(sharpness(frame))
                        if style and name not in ("source", "filter"):
                            sums[name].fidelity.append(psnr(frame, steady["filter"]))
                    if judge is not None:
                        for name, frame in {**frames, **steady}.items():
                            sums[name].verdicts.append(judge(frame, style))
                    done += 1
                run.observe(Progress(run.source, "evaluate", done, total))
    starts = [w.first_frame + w.start for shot in shots for w in shot.windows if w.start]
    spans = [(shot.first, shot.stop) for shot in shots]
    figures = _figures(meter, sums, starts, spans)
    for name, row in figures.items():
        row.update(_judged(sums[name].verdicts, style))
    judge_facts = {"version": JUDGE_VERSION, "every": JUDGE_EVERY} if style else None
    return {"judge": judge_facts, "figures": plain(figures), "curves": plain(meter.pairs)}


def _figures(
    meter: FlickerMeter, sums: Mapping[str, _Sums], starts: Sequence[int], spans: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """Per clip: Pixel-MSE, seam ratio, fidelity, sharpness; and, where there is a control arm, ratios to it.

    The interval is of this one clip: pairs are drawn in blocks (`models.intervals`). `no_warp` is the plain difference
    of consecutive frames. `sharpness_to_source` and `sharpness_pulsing`: over time, frame by frame beside the source.
    `excess_flicker` is over the source's own Pixel-MSE (architecture.md section 8). A style that smooths flickers less
    than its source, and then `excess_over_style`, over that of the known steady filter, is the one to read.
    """
    figures: dict[str, Any] = {}
    for name, summed in sums.items():
        pairs = meter.pairs.get(name, [])
        interval = bootstrap_ci(pairs, block=block_length(pairs))
        row: dict[str, Any] = {
            "pixel_mse": interval.mean,
            "pixel_mse_ci": [interval.low, interval.high],
            "no_warp": mean(meter.courses["no_warp"].get(name, ())),
            "seam_ratio": seam_ratio(pairs, starts, spans),
            "sharpness": mean(summed.sharpness),
        }
        if name != "source":
            over_time = temporal_sharpness(summed.sharpness, sums["source"].sharpness, [first for first, _ in spans])
            row |= {"sharpness_to_source": over_time.ratio, "sharpness_pulsing": over_time.pulsing}
        if summed.fidelity:
            row["fidelity_psnr"] = mean(summed.fidelity)
        figures[name] = row
    if "control" in figures:
        control = figures["control"]
        for name in sums.keys() - {"source", "filter"}:
            row = figures[name]
            for steady, figure in (("source", "excess_flicker"), ("filter", "excess_over_style")):
                if steady in figures:
                    flickers = (f["pixel_mse"] for f in (row, figures[steady], control))
                    row[figure] = excess_flicker(*flickers)
            row["sharpness_ratio"] = row["sharpness"] / control["sharpness"] if control["sharpness"] else math.nan
    return figures


def _judged(verdicts: Sequence[Verdict], style: str | None) -> dict[str, Any]:
    """The judge's own figures; fidelity and sharpness are taken over all frames, not over the judged ones."""
    if style is None or not verdicts:
        return {}
    said = summary(verdicts, style)
    return {name: said[name] for name in ("style_accuracy", "structure", "structure_ratio", "colour_error")}


def plain(value: Any) -> Any:
    """Figures as JSON can hold them: no NaN and no infinity, which become null."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value
