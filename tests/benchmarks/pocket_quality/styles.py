"""Bar 2: does the product paint the style it was asked for, and keep what was there? Judged frame by frame.

Whole jobs of the pocket preset, deflicker on, in this process. Clips: the test-only real ones and procedural ones of
unseen seeds. Control arm: a prompt without any style word, which must come out as a photo.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from configs.job import RestyleJob
from models.judge import JUDGE_VERSION, Judge, summary
from models.pocket.styles import STYLES
from tasks.decode import index_of
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.probe import facts_of
from tasks.ref import Ref
from tasks.rendered import rendered_frames
from tasks.run import Run
from tasks.store import Store
from tasks.video.frames import FrameReader, working_size
from tests.benchmarks.ablation import fingerprint
from tests.benchmarks.clips import procedural_clip
from tests.benchmarks.jobs import pocket_job
from tests.benchmarks.pocket_quality.bars import Bar, mean, over_clips, shown, table
from tests.benchmarks.pocket_quality.record import Record
from tests.benchmarks.pocket_quality.subject import (
    FIRST_SEED,
    TEST_CLIPS,
    Subject,
    real_clip,
)

PHOTO = "photo"
WANTED = (*STYLES, PHOTO)
CONTROLS = 5  # procedural clips that the control arm is shown; real ones all are
FIGURES = ("structure", "structure_ratio", "fidelity_psnr", "colour_error", "sharpness_ratio")


@dataclass
class Clip:
    """A clip that every style is asked of; its judges, which cost most, are taken once."""

    name: str
    kind: str
    frames: int
    find: Callable[[], Path]
    wanted: Sequence[str] = WANTED

    @cached_property
    def path(self) -> Path:
        """The file, written now if it is procedural."""
        return self.find()

    @cached_property
    def judges(self) -> list[Judge]:
        """One judge per frame; filled by `judged` when the first job has decoded the clip."""
        return []


def clips_of(folder: Path, procedural: int, real_frames: int, scene_frames: int) -> list[Clip]:
    """The test-only clips, then the scenes."""

    clips = [Clip(name, "real", real_frames, partial(real_clip, name)) for name in TEST_CLIPS]
    for seed in range(FIRST_SEED, FIRST_SEED + procedural):
        wanted = WANTED if seed < FIRST_SEED + CONTROLS else tuple(STYLES)
        find = partial(procedural_clip, folder, seed, scene_frames)
        clips.append(Clip(f"procedural-{seed}", "procedural", scene_frames, find, wanted))
    return clips


def job_of(subject: Subject, clip: Clip, wanted: str, out: Path) -> RestyleJob:
    """The preset at its defaults, the style and nothing else.

    A window is no longer than its clip: rows beyond are padding, which costs time and changes nothing but rounding.
    """
    words = {"style": None, "prompt": "a photo"} if wanted == PHOTO else {"style": wanted}
    size = min(8, clip.frames)
    return pocket_job(
        model=subject.model.model_dump(),
        input={"frames": (0, clip.frames)},
        window={"size": size},
        out=str(out),
        **words,
    )


def judged(run: Run, clip: Clip, wanted: str) -> dict[str, Any]:
    """Restyle a clip and judge every frame of it, not every fourth as the `evaluate` stage does."""
    refs: dict[str, list[Ref]] = {}

    def keeping(stage: str, part: str, work: Callable[[], Ref]) -> Ref:
        refs.setdefault(stage, []).append(work())
        return refs[stage][-1]

    metrics = restyle_video(run, keeping).output.metrics
    if not clip.judges:
        facts, index = facts_of(run, refs["probe"][0]), index_of(run, refs["decode"][0])
        size = working_size(facts, run.job.working_size, run.engines.facts(run.job.model).size_multiple)
        with FrameReader(clip.path, facts, index, size) as reader:
            clip.judges.extend(Judge(source) for source in reader.read(0, index.frames))
    frames = rendered_frames(run.store, refs["denoise"])
    verdicts = [judge(frame, wanted) for judge, frame in zip(clip.judges, frames, strict=True)]
    return {**summary(verdicts, wanted), "reported_accuracy": metrics.get("style_accuracy")}


def measure(
    subject: Subject, record: Record, procedural: int, real_frames: int, scene_frames: int, folder: Path | None = None
) -> dict[str, Any]:
    """Figures of every (clip, style), and what follows from them."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        store = Store.open(f"{scratch}/store", workers=0)
        with EnginePool(store.url, 0, subject.device) as engines:
            for clip in clips_of(Path(scratch), procedural, real_frames, scene_frames):
                for wanted in clip.wanted:
                    job = job_of(subject, clip, wanted, Path(scratch) / "out")

                    def make(job: RestyleJob = job, clip: Clip = clip, wanted: str = wanted) -> dict[str, Any]:
                        return judged(Run(job, str(clip.path), store, engines), clip, wanted)

                    name = f"styles/{clip.name}/{wanted}/{fingerprint(job, clip.path, engines)}"
                    piece = record.piece(name, make)
                    rows.append({"clip": clip.name, "kind": clip.kind, "wanted": wanted, **piece})
    return summed(rows)


def summed(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """By style and by kind of clip, the clip being the unit of chance; misses and who was taken for whom."""

    def clipwise(chosen: Sequence[Mapping[str, Any]], figure: str) -> dict[str, Any]:
        names = dict.fromkeys(row["clip"] for row in chosen)
        return over_clips([mean([r[figure] for r in chosen if r["clip"] == name]) for name in names])

    styled = [row for row in rows if row["wanted"] != PHOTO]
    by_kind = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        mine = [row for row in styled if row["kind"] == kind]
        by_kind[kind] = {
            "frames": sum(row["judged_frames"] for row in mine),
            "clip_frames": sorted({row["judged_frames"] for row in mine}),
            "style_accuracy": clipwise(mine, "style_accuracy"),
            **{name: clipwise(mine, name) for name in FIGURES},
        }
    by_style, confusion = {}, {}
    for wanted in WANTED:
        mine = [row for row in rows if row["wanted"] == wanted]
        by_style[wanted] = {
            "style_accuracy": clipwise(mine, "style_accuracy"),
            **{name: clipwise(mine, name) for name in FIGURES},
        }
        seen: Counter[str] = Counter()
        for row in mine:
            seen.update(row["styles"])
        confusion[wanted] = dict(seen)
    misses = sorted((row for row in styled if row["style_accuracy"] < 1), key=lambda row: row["style_accuracy"])
    return {
        "judge": JUDGE_VERSION,
        "by_kind": by_kind,
        "by_style": by_style,
        "confusion": confusion,
        "misses": [{k: row[k] for k in ("clip", "wanted", "style_accuracy", "styles")} for row in misses],
    }


def bars(found: Mapping[str, Any]) -> list[Bar]:
    """Bar 2, apart for real and procedural clips."""
    lines = []
    for kind, row in found["by_kind"].items():
        lines.append(Bar(f"2. style accuracy, {kind} clips, share of frames", row["style_accuracy"]["mean"], 0.95))
        lines.append(Bar(f"2. structure over the filter's own, {kind} clips", row["structure_ratio"]["mean"], 0.85))
    photo = found["by_style"][PHOTO]["style_accuracy"]["mean"]
    lines.append(Bar("2. control: no style word, judged a photo, share of frames", photo, 0.95))
    return lines


def section(found: Mapping[str, Any]) -> str:
    """Overall, per style, and the confusion table."""
    kinds = [
        [
            kind,
            row["style_accuracy"]["clips"],
            " or ".join(map(str, row["clip_frames"])),
            row["frames"],
            *(shown(row[k]) for k in ("style_accuracy", *FIGURES)),
        ]
        for kind, row in found["by_kind"].items()
    ]
    figures = ["style accuracy", "structure", "over filter's own", "fidelity dB", "colour error", "sharpness"]
    styles = [[name, *(shown(row[k]) for k in ("style_accuracy", *FIGURES))] for name, row in found["by_style"].items()]
    seen = (*WANTED, "none")
    confusion = [[name, *(row.get(style, 0) for style in seen)] for name, row in found["confusion"].items()]
    worst = [
        [miss["clip"], miss["wanted"], miss["style_accuracy"], ", ".join(f"{k} {v}" for k, v in miss["styles"].items())]
        for miss in found["misses"][:12]
    ]
    missed = table(["clip", "wanted", "accuracy", "judged, frames"], worst) if worst else "Every clip came out right."
    return f"""{table(["clips", "n", "frames of each", "frames judged", *figures], kinds)}

{table(["style", *figures], styles)}

Jobs of the pocket preset at its defaults, a style and no prompt (`{PHOTO}`, the control, not counted above: the prompt
"a photo" and no style). Every frame is judged by `models/judge.py`, version {found["judge"]}, frozen before training.
Brackets: 95 % interval over clips; of two real clips it says little. Structure: agreement of the contours with the
source's; over the filter's own: the same over that of the known filter. Fidelity: PSNR to the filter's output. Colour
error: Lab, blurred. Sharpness: Laplacian energy over the filter's.

Frames wanted (rows) and judged (columns), all clips:

{table(["wanted", *seen], confusion)}

The worst of {len(found["misses"])} (clip, style) pairs that were not right throughout:

{missed}
"""
