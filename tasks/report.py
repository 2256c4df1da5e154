"""The report page: one self-contained HTML file that shows a result, how good it is, and how it was made.

`render_report` is a pure function of `ReportData`; it reads no store and no video. The page loads nothing: videos and
pictures are inside it, and its own content policy forbids the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from configs.job import RestyleJob
from configs.kept import Kept
from configs.redact import redact_all
from tasks.figures import with_arms
from tasks.gate import checks, reasons
from tasks.pages import data_uri, page
from tasks.pair_facts import PairFacts
from tasks.report_cards import cards
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

    uri: Kept
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

    uri: Kept
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
    notes: list[str] = []


def render_report(data: ReportData) -> str:
    """Return the HTML page; what the quality gate of the job says of the figures stands at its top."""
    gate, metrics = data.job.gate, with_arms(data.figures)
    return page(
        "report.html.j2",
        data=data,
        arms={name: label for name, label in ARMS.items() if name in data.figures or name in data.curves},
        arm_names=ARMS,
        cards=cards(data.figures),
        checks=list(checks(metrics, gate)),
        reasons=reasons(metrics, gate),
        judged=any("style_accuracy" in row for row in data.figures.values()),
        steady_style=any({"style_accuracy", "fidelity_psnr"} & row.keys() for row in data.figures.values()),
        chart=_chart(data),
        longest=max((stage.seconds for stage in data.stages), default=0.0) or 1.0,
        parameters=_parameters(data.job),
        thumbnails=[data_uri(shot.thumbnail, "image/jpeg") for shot in data.shots],
        videos={name: data_uri(clip, "video/mp4") for name, clip in data.previews.items() if clip},
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


def _parameters(job: RestyleJob) -> dict[str, list[tuple[str, str, bool]]]:
    """Every parameter by group: (name, value, differs from the default)."""
    values, usual = redact_all(job.model_dump(mode="json")), RestyleJob(style="-").model_dump(mode="json")
    groups: dict[str, list[tuple[str, str, bool]]] = {"job": []}
    for name, value in values.items():
        if isinstance(value, dict):
            own = usual[name] or {}  # a group the default leaves out, or one of keys that are not known beforehand
            groups[name] = [(key, _shown(item), key not in own or item != own[key]) for key, item in value.items()]
        else:
            groups["job"].append((name, _shown(value), value != usual[name]))
    return {name: rows for name, rows in groups.items() if rows}


def _shown(value: Any) -> str:
    if value is None or value == "" or value == []:
        return "–"
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    if isinstance(value, dict):
        return " ".join(f"{key}={_shown(item)}" for key, item in value.items() if item is not None)
    return str(value).lower() if isinstance(value, bool) else str(value)
