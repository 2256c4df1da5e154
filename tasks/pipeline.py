"""The order of the stages of one restyled video. Who runs a stage (a Prefect task, a test) is injected as `do`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from configs.errors import Interrupted, OutOfMemory
from configs.job import RestyleJob
from configs.presets import styled_prompt
from models.methods.restyle import deflicker_steps
from tasks.condition import condition
from tasks.correspond import correspond
from tasks.decode import decode, index_of
from tasks.denoise import Denoised, denoise, digest_over
from tasks.encode import encode
from tasks.evaluate import evaluate, metrics_of
from tasks.invert import invert
from tasks.probe import facts_of, probe
from tasks.publish import place_output, place_report
from tasks.ref import Ref
from tasks.report_stage import Told, report
from tasks.run import Progress, Run, StageRecord, VideoOutput, VideoResult, WindowSteps
from tasks.shot import Shot
from tasks.video.facts import ClipFacts, ClipIndex
from tasks.video.frames import working_size
from tasks.video.source import local_copy


class Do(Protocol):
    """Runs one stage: `do("denoise", "shot 2", work)` returns what `work()` returns."""

    def __call__(self, stage: str, part: str, work: Callable[[], Ref]) -> Ref:
        """Run the stage now, in this process, and return its artifact."""


def directly(stage: str, part: str, work: Callable[[], Ref]) -> Ref:
    """Run a stage with nothing around it."""
    return work()


@dataclass
class Recorded:
    """`do`, with a record of every stage kept and a stop asked for between stages obeyed."""

    run: Run
    do: Do
    stages: list[StageRecord] = field(default_factory=list)

    def __call__(self, stage: str, part: str, work: Callable[[], Ref]) -> Ref:
        """Run the stage and note it; raises Interrupted instead when a stop was asked for."""
        if self.run.should_stop():
            raise Interrupted(f"stopped before {stage}; run the same command again to go on")
        ref = self.do(stage, part, work)
        status = "reused" if ref.status == "reused" else "computed"
        name = f"{stage} ({part})" if part else stage
        self.stages.append(
            StageRecord(
                source=self.run.source,
                stage=name,
                key=ref.key,
                status=status,
                seconds=ref.seconds,
                bytes=ref.bytes,
            )
        )
        return ref


def restyle_video(run: Run, do: Do = directly) -> VideoResult:
    """Probe, decode, correspond, condition, invert, denoise per shot, encode, evaluate, report.

    Raises `configs.errors.SteadyframeError`s; finished stages stay in the store whatever happens later.
    """
    staged = Recorded(run, do)
    with local_copy(run.source) as path:
        probed = staged("probe", "", lambda: probe(run, path))
        facts = facts_of(run, probed)
        decoded = staged("decode", "", lambda: decode(run, probed, facts, path))
        index = index_of(run, decoded)
        shots = shots_of(run, facts, index, path, decoded)
        main = render(run, staged, shots, "")
        arms = {"result": [d.ref for d in main]}
        for arm in run.job.report.arms:
            armed = replace(run, job=arm_job(run.job, arm))
            arms[arm] = [d.ref for d in render(armed, staged, shots, arm)]
        encoded = staged("encode", "", lambda: encode(run, arms["result"], decoded, facts, index, path))
        measured = staged("evaluate", "", lambda: evaluate(run, arms, shots))
        uri = place_output(run, encoded)
        total, computed = sum(d.total for d in main), sum(d.computed for d in main)
        steps = WindowSteps(total=total, computed=computed, reused=max(0, total - computed))
        told = Told(arms, shots, encoded, measured, list(staged.stages), steps)
        page = staged("report", "", lambda: report(run, told))
    manifests = [run.store.resolve(ref) for ref in arms["result"]]
    figures = metrics_of(run, measured)["figures"]
    output = VideoOutput(
        source=run.source,
        uri=uri,
        key=encoded.key,
        frames=index.frames,
        width=facts.width,
        height=facts.height,
        shots=len(shots),
        audio=len(facts.audio),
        latents_digest=digest_over(manifests, "x"),
        rgb_digest=digest_over(manifests, "frames"),
        metrics={**figures["result"], "arms": {k: v for k, v in figures.items() if k != "result"}},
        report=place_report(run, page, uri),
    )
    return VideoResult(
        output=output, stages=staged.stages, window_steps=steps, deflicker_steps=list(deflicker_steps(run.job))
    )


def arm_job(job: RestyleJob, arm: str) -> RestyleJob:
    """The same job as a control: without the deflicker (`control`), or with it after decoding only (`post`)."""
    changes: dict[str, dict[str, Any]] = {
        "control": {"enabled": False},
        "post": {"enabled": True, "steps": (), "post": True},
    }
    return job.model_copy(update={"deflicker": job.deflicker.model_copy(update=changes[arm])})


def shots_of(run: Run, facts: ClipFacts, index: ClipIndex, path: Path, decoded: Ref) -> list[Shot]:
    """The shots of a decoded clip, at the job's working size in cells of its model."""
    multiple = run.engines.facts(run.job.model).size_multiple
    size = working_size(facts, run.job.working_size, multiple)
    return [
        Shot(n, first, stop, size, run.job.window.size, facts, index, path, decoded)
        for n, (first, stop) in enumerate(index.shots)
    ]


def render(run: Run, staged: Do, shots: Sequence[Shot], arm: str) -> list[Denoised]:
    """Denoise every shot; a shot that does not fit its device starts again on the next lower memory rung."""
    rendered = []
    for shot in shots:
        part = " · ".join(x for x in (f"shot {shot.number + 1}" if len(shots) > 1 else "", arm) if x)
        tried = run
        while True:
            try:
                rendered.append(_render_shot(tried, staged, shot, part))
                break
            except OutOfMemory as full:
                lower = lower_rung(tried.job)
                if lower is None:
                    raise
                run.observe(
                    Progress(run.source, "denoise", message=f"{full}; trying again with less memory", level="warning")
                )
                tried = replace(tried, job=lower)
    return rendered


def _render_shot(run: Run, staged: Do, shot: Shot, part: str) -> Denoised:
    """Conditions and correspondence come first and are shared by all arms."""
    inputs = [staged("condition", part, partial(condition, run, shot))]
    if run.job.start == "inverted":
        inputs.append(staged("invert", part, partial(invert, run, shot, inputs[0])))
    if needs_correspondence(run.job):
        inputs.append(staged("correspond", part, partial(correspond, run, shot)))
    done: list[Denoised] = []

    def work() -> Ref:
        done.append(denoise(run, shot, styled_prompt(run.job.prompt, run.job.style), inputs))
        return done[-1].ref

    staged("denoise", part, work)
    return done[-1]


def needs_correspondence(job: RestyleJob) -> bool:
    """Whether a job reads cached correspondence: where it deflickers, unless it searches for every match itself."""
    return bool(deflicker_steps(job) or job.deflicker.filters_after) and job.deflicker.match != "fastblend"


def lower_rung(job: RestyleJob) -> RestyleJob | None:
    """The same job with the next memory saver of the VAE on (part of the numerics class); None below the last."""
    for saver in ("vae_slicing", "vae_tiling"):
        if not getattr(job.model, saver):
            return job.model_copy(update={"model": job.model.model_copy(update={saver: True})})
    return None
