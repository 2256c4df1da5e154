"""The report page: one self-contained HTML file that shows a result, how good it is, and how it was made.

`render_report` is a pure function of `ReportData`; it reads no store and no video. The page loads nothing: videos and
pictures are inside it, and its own content policy forbids the rest.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2
from pydantic import BaseModel, ConfigDict

from configs.job import RestyleJob
from tasks.pair_facts import PairFacts
from tasks.report_chart import Chart, chart
from tasks.run import StageRecord, WindowSteps

ARMS: Mapping[str, str] = {
    "source": "Source",
    "filter": "The style as a steady filter",
    "result": "Result",
    "control": "Without deflicker",
    "post": "Filter after decoding only",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class SourceFacts(_Frozen):
    """The video that came in; `fps` frames per second on average, `seconds` its length."""

    uri: str
    width: int
    height: int
    frames: int
    fps: float
    seconds: float
    codec: str = ""
    audio: int = 0
    bytes: int = 0


class OutputFacts(_Frozen):
    """The video that went out."""

    uri: str
    key: str
    width: int
    height: int
    frames: int
    codec: str = ""
    audio: int = 0
    bytes: int = 0
    latents_digest: str = ""
    rgb_digest: str = ""


class ShotFacts(_Frozen):
    """Frames [first, stop) of the clip, and a small JPEG of the shot ('' bytes for none)."""

    first: int
    stop: int
    thumbnail: bytes = b""


class ReportData(_Frozen):
    """All the page shows.

    `figures` and `curves` are what the evaluate stage leaves: figures per arm (`source`, `result`, and where
    rendered `control`, `post`), and per arm one Pixel-MSE per pair of frames, None across a cut. `previews` are mp4
    files by arm, at `preview_fps`; `working_size` is (height, width) while denoising.
    """

    source: SourceFacts
    output: OutputFacts
    job: RestyleJob
    prompt: str
    model: str
    created: str
    working_size: tuple[int, int] = (0, 0)
    model_digest: str = ""
    figures: dict[str, dict[str, Any]] = {}
    curves: dict[str, list[float | None]] = {}
    window_starts: list[int] = []
    stages: list[StageRecord] = []
    correspondence: PairFacts | None = None
    window_steps: WindowSteps = WindowSteps()
    deflicker_steps: list[int] = []
    shots: list[ShotFacts] = []
    previews: dict[str, bytes] = {}
    preview_fps: float = 25.0
    numerics: dict[str, Any] = {}
    review: bool = False
    notes: list[str] = []


class _Figure(_Frozen):
    """One of the four figures on its card: what it is, its value, the bar it is held against."""

    name: str
    about: str
    value: float | None
    unit: str = ""
    digits: int = 3
    bar: str
    good: bool | None
    beside: str = ""


def render_report(data: ReportData) -> str:
    """Return the HTML page."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(size=_size, seconds=_seconds, number=_number)
    text = (resources.files("tasks") / "report.html.j2").read_text(encoding="utf-8")
    if data.correspondence is not None:
        data = data.model_copy(update={"notes": [_matching(data.correspondence), *data.notes]})
    longest = max((stage.seconds for stage in data.stages), default=0.0) or 1.0
    return environment.from_string(text).render(
        data=data,
        arms={name: label for name, label in ARMS.items() if name in data.figures or name in data.curves},
        arm_names=ARMS,
        cards=_cards(data),
        judged=any("style_accuracy" in row for row in data.figures.values()),
        chart=_chart(data),
        longest=longest,
        parameters=_parameters(data.job),
        thumbnails=[_data_uri(shot.thumbnail, "image/jpeg") for shot in data.shots],
        videos={name: _data_uri(clip, "video/mp4") for name, clip in data.previews.items() if clip},
        script_data={
            "frames": data.source.frames,
            "fps": data.preview_fps,
            "curves": {ARMS.get(name, name): curve for name, curve in data.curves.items()},
        },
    )


def _chart(data: ReportData) -> Chart | None:
    known = {name: curve for name, curve in data.curves.items() if any(v is not None for v in curve)}
    ordered = {name: known[name] for name in (*ARMS, *sorted(set(known) - set(ARMS))) if name in known}
    cuts = [shot.first for shot in data.shots if shot.first]
    return chart(ordered, data.window_starts, cuts) if ordered else None


def _cards(data: ReportData) -> list[_Figure]:
    """The four figures of architecture.md section 8, for the result, with the bars of the project."""
    result, control = data.figures.get("result", {}), data.figures.get("control", {})
    excess, steady, sharp = result.get("excess_flicker"), "source", result.get("sharpness_ratio")
    if excess is None and result.get("excess_over_style") is not None:
        # The style smooths: even the control flickers less than the source, so the source is no measure of steadiness.
        excess, steady = result["excess_over_style"], "steady style"
    psnr, control_psnr = result.get("fidelity_psnr"), control.get("fidelity_psnr")
    seam = result.get("seam_ratio")
    better = None if psnr is None or control_psnr is None else psnr >= control_psnr
    return [
        _Figure(
            name="Excess flicker",
            about=f"share left of the flicker the model adds to the {steady}",
            value=excess,
            bar="at most 0.5",
            good=None if excess is None else excess <= 0.5,
            beside=_beside("Pixel-MSE", result.get("pixel_mse"), data.figures.get("source", {}).get("pixel_mse")),
        ),
        _Figure(
            name="Fidelity",
            about="PSNR to the steady style filter",
            value=psnr,
            unit="dB",
            digits=2,
            bar="not below the control",
            good=better,
            beside="" if control_psnr is None else f"control {control_psnr:.2f} dB",
        ),
        _Figure(
            name="Sharpness",
            about="detail beside the control; flicker alone would reward blur",
            value=sharp,
            bar="at least 0.9",
            good=None if sharp is None else sharp >= 0.9,
        ),
        _Figure(
            name="Seam ratio",
            about="flicker across window borders over flicker inside",
            value=seam,
            bar="at most 1.15",
            good=None if seam is None else seam <= 1.15,
        ),
    ]


def _beside(name: str, result: float | None, source: float | None) -> str:
    return f"{name} {result:.1f}, source {source:.1f}" if result is not None and source is not None else ""


def _matching(facts: PairFacts) -> str:
    return (
        f"Correspondence ({facts.method}): {facts.pairs} pairs of frames, {facts.computed} computed and "
        f"{facts.pairs - facts.computed} reused, in {_seconds(facts.seconds)}; {_size(facts.bytes)} in the store, "
        "shared by every job on this clip."
    )


def _parameters(job: RestyleJob) -> dict[str, list[tuple[str, str, bool]]]:
    """Every parameter by group: (name, value, differs from the default)."""
    values, usual = job.model_dump(mode="json"), RestyleJob(style="-").model_dump(mode="json")
    groups: dict[str, list[tuple[str, str, bool]]] = {"job": []}
    for name, value in values.items():
        if isinstance(value, dict):
            groups[name] = [(key, _shown(item), item != usual[name][key]) for key, item in value.items()]
        else:
            groups["job"].append((name, _shown(value), value != usual[name]))
    return groups


def _shown(value: Any) -> str:
    if value is None or value == "" or value == []:
        return "–"
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    if isinstance(value, dict):
        return " ".join(f"{key}={_shown(item)}" for key, item in value.items() if item is not None)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}" if data else ""


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _seconds(value: float) -> str:
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    return f"{int(value // 60)} min {value % 60:.0f} s"


def _number(value: Any, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
