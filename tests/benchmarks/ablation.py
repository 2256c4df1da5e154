"""What each ingredient of a restyle is worth: noise, attention and deflicker added one by one, on 13 clips.

    python -m tests.benchmarks.ablation [--out docs/ablation.md] [--frames 16] [--styles ...] [--clips ...] [--resume]

Every (clip, arm) is one job of the product; its figures are kept in a JSON file beside the page as soon as they are
known, so that `--resume` goes on after an interruption.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from configs.job import AttentionConfig, RestyleJob
from models.judge import JUDGE_VERSION
from models.pocket.pictures import TRAIN_CLIPS
from models.pocket.styles import STYLES
from tasks import condition, correspond, decode, denoise, encode, evaluate, invert
from tasks.engine.pool import EnginePool
from tasks.pipeline import arm_job, restyle_video
from tasks.publish import write_whole
from tasks.run import Run
from tasks.store import Store
from tests.benchmarks.ablation_figures import clip_figures
from tests.benchmarks.ablation_page import ClipRow, page
from tests.benchmarks.clips import REAL, benchmark_clips, procedural_clip, unseen_seeds
from tests.benchmarks.jobs import command_line, pocket_job

Rows = list[dict[str, dict[str, Any]]]  # per clip, by arm

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ablation.md"
REAL_CLIPS, PROCEDURAL_CLIPS, FRAMES = 3, 10, 16

STAGES = (decode, condition, invert, correspond, denoise, encode, evaluate)

CONTROL = ("per-frame control", "every frame with noise of its own, attention to itself only, no deflicker")
# What is added to the control, in order: what it is, and the same job without it.
INGREDIENTS: Mapping[str, tuple[str, Callable[[RestyleJob], RestyleJob]]] = MappingProxyType(
    {
        "+ fixed noise": (
            "all frames start from the same noise",
            lambda job: job.model_copy(update={"noise": "per_frame"}),
        ),
        "+ cross-frame attention": (
            "the job's own pattern",
            lambda job: job.model_copy(update={"attention": AttentionConfig(pattern=("0",))}),
        ),
        "+ deflicker": ("patch blending inside the loop: the job as it is", lambda job: arm_job(job, "control")),
    }
)
ARMS: Mapping[str, str] = MappingProxyType(dict([CONTROL]) | {name: about for name, (about, _) in INGREDIENTS.items()})


@dataclass(frozen=True)
class Planned:
    """A clip of the benchmark and the style it is shown in."""

    path: Path
    kind: str
    style: str


def arm_jobs(job: RestyleJob) -> dict[str, RestyleJob]:
    """The job of every arm, the last being `job`. Errors: ValueError where it lacks an ingredient already."""
    arms = {}
    for name, (_, without) in reversed(tuple(INGREDIENTS.items())):
        arms[name], job = job, without(job)
        if job == arms[name]:
            raise ValueError(f"the job has no {name.strip('+ ')} to take away; see --preset and --set")
    return {CONTROL[0]: job, **dict(reversed(arms.items()))}


def planned(folder: Path, styles: Sequence[str], frames: int, only: Sequence[str]) -> list[Planned]:
    """The clips, each with its turn of the styles; `only` some of them, by kind or name, changes no turn."""
    # without real clips beside the project there are only procedural ones
    real = [path for path in benchmark_clips(REAL_CLIPS) if path.parent == REAL]
    clips: dict[str, tuple[str, Callable[[], Path]]] = {path.name: ("real", partial(Path, path)) for path in real}
    for seed in unseen_seeds(PROCEDURAL_CLIPS):
        clips[f"procedural-{seed}"] = ("procedural", partial(procedural_clip, folder, seed, frames))
    return [
        Planned(at(), kind, styles[n % len(styles)])
        for n, (name, (kind, at)) in enumerate(clips.items())
        if not only or {kind, name} & set(only)
    ]


class Kept:
    """Measured (clip, arm) pairs in a JSON file, found again by a fingerprint of all that decides them.

    Those of other settings stay in the file until a run without `resume` starts it anew.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if resume and path.exists():
            self.rows = json.loads(path.read_text())

    def keep(self, name: str, row: dict[str, Any]) -> None:
        """Add one, and leave the file whole whatever happens."""
        self.rows[name] = row
        write_whole(self.path, (json.dumps(self.rows, indent=1, allow_nan=False) + "\n").encode())


def fingerprint(job: RestyleJob, clip: Path, engines: EnginePool) -> str:
    """Digest of job, source bytes, weights, numerics and the versions of all stages; not of where things are put."""
    facts = engines.facts(job.model)
    decided = {
        "job": job.model_dump(mode="json", exclude={"out", "sources"}),
        "clip": hashlib.sha256(clip.read_bytes()).hexdigest(),
        "model": [facts.digest, facts.numerics],
        # The keys of a store hold these too, but figures outlive it: an ablation once kept those of an older search.
        "stages": {stage.__name__: stage.VERSION for stage in STAGES},
        "judge": JUDGE_VERSION,
    }
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()


def measure(clips: Sequence[Planned], job_of: Callable[[str], RestyleJob], kept: Kept, engines: EnginePool) -> Rows:
    """Figures by clip and arm; what is kept already is not computed again."""
    store = Store.open(engines.store_url, workers=0)
    rows: Rows = [{} for _ in clips]
    todo = [(n, clip, arm, job) for n, clip in enumerate(clips) for arm, job in arm_jobs(job_of(clip.style)).items()]
    spent: list[float] = []
    for done, (n, clip, arm, job) in enumerate(todo, 1):
        name = fingerprint(job, clip.path, engines)
        if name not in kept.rows:
            began = time.perf_counter()
            output = restyle_video(Run(job, str(clip.path), store, engines)).output
            spent.append(time.perf_counter() - began)
            rows_of_arm = {"result": {k: v for k, v in output.metrics.items() if k != "arms"}, **output.metrics["arms"]}
            about = {"clip": clip.path.name, "style": clip.style, "arm": arm, "frames": output.frames}
            kept.keep(name, {**about, "seconds": round(spent[-1], 2), "figures": rows_of_arm})
            left = (len(todo) - done) * sum(spent) / len(spent) / 60
            print(
                f"[{done}/{len(todo)}] {clip.path.name} {clip.style} {arm}: {spent[-1]:.1f} s, {left:.0f} min left",
                file=sys.stderr,
                flush=True,
            )
        rows[n][arm] = kept.rows[name]
    return rows


def clip_rows(clips: Sequence[Planned], rows: Rows) -> list[ClipRow]:
    """What the page shows of every clip."""
    return [
        ClipRow(
            name=clip.path.name,
            kind=clip.kind,
            style=clip.style,
            trained=clip.path.name in TRAIN_CLIPS,
            frames=next(iter(arms.values()))["frames"],
            figures=clip_figures({arm: row["figures"] for arm, row in arms.items()}),
        )
        for clip, arms in zip(clips, rows, strict=True)
    ]


@contextmanager
def scratch() -> Iterator[tuple[Path, EnginePool]]:
    """A folder and warm engines over a store in it; one model is loaded once for all jobs."""
    with tempfile.TemporaryDirectory() as folder, EnginePool(folder + "/store", 0, "cpu") as engines:
        yield Path(folder), engines


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is not kept, write the page."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--json", type=Path, help="the figures; default: the page's name with .json")
    parser.add_argument("--resume", action="store_true", help="go on with what the JSON file has")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--styles", nargs="+", choices=list(STYLES), default=list(STYLES), help="turn by turn")
    parser.add_argument("--clips", nargs="+", default=[], metavar="CLIP", help="real, procedural, or names")
    parser.add_argument("--preset", default="pocket")
    parser.add_argument("--set", dest="sets", type=json.loads, default={}, help="JSON laid over the job")
    args = parser.parse_args(given)
    kept = Kept(args.json or args.out.with_suffix(".json"), args.resume)
    with scratch() as (folder, engines):

        def job_of(style: str) -> RestyleJob:
            limits = {"out": str(folder / "out"), "input": {"frames": (0, args.frames)}}
            return pocket_job(args.preset, style, **limits, **args.sets)

        clips = planned(folder, args.styles, args.frames, args.clips)
        if not clips:
            parser.error(f"no clip is called {', '.join(args.clips)}")
        rows = measure(clips, job_of, kept, engines)
        job = job_of(args.styles[0])
        facts = {
            "command": command_line("tests.benchmarks.ablation", given),
            "setting": f"preset `{args.preset}`, weights `{engines.facts(job.model).digest[:12]}`, "
            f"{job.num_inference_steps} steps, guidance {job.guidance_scale:g}, long side {job.working_size} px, "
            f"windows of {job.window.size} frames, seed {job.seed}",
            "judge": JUDGE_VERSION,
            "every": evaluate.JUDGE_EVERY,
        }
    args.out.write_text(page(clip_rows(clips, rows), ARMS, facts))
    print(f"wrote {args.out}; its figures are in {kept.path}", file=sys.stderr)


if __name__ == "__main__":
    main()
