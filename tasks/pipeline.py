"""The order of the stages of one restyled video. Who runs a stage (a Prefect task, a test) is injected as `do`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from configs.errors import OutOfMemory, VideoConfigError
from models.conditions import check_files
from models.methods.restyle import deflicker_steps
from tasks.arms import arm_job, needs_correspondence
from tasks.condition import condition
from tasks.correspond import correspond
from tasks.decode import decode, index_of
from tasks.denoise import Denoised, denoise, digest_over
from tasks.encode import encode
from tasks.evaluate import evaluate, metrics_of
from tasks.figures import with_arms
from tasks.forecast import forecast_video
from tasks.foreseen import NOTHING_FORESEEN, Forecast, in_words, rows
from tasks.gate import reasons
from tasks.handover import place_output, place_report
from tasks.history import History
from tasks.invert import invert
from tasks.probe import facts_of, probe
from tasks.purse import Purse
from tasks.recorded import Do, Recorded, directly
from tasks.ref import Ref
from tasks.report_stage import Told, report
from tasks.results import ResultFolder
from tasks.run import Progress, Run, VideoOutput, VideoResult, WindowSteps
from tasks.rungs import rung_in_words
from tasks.shot import Shot, part_of
from tasks.video.facts import ClipFacts, ClipIndex
from tasks.video.frames import working_size
from tasks.video.source import local_copy


def restyle_video(run: Run, do: Do = directly) -> VideoResult:
    """Probe, decode, correspond, condition, invert, denoise per shot, encode, evaluate, report.

    Raises `configs.errors.SteadyframeError`s; finished stages stay in the store whatever happens later.
    """
    run = replace(run, purse=run.purse or Purse(run.job.budget))
    check_places(run)
    staged = Recorded(run, do)
    with local_copy(run.source, run.job.input.max_bytes) as path:
        probed = staged("probe", "", lambda: probe(run, path))
        facts = facts_of(run, probed)
        decoded = staged("decode", "", lambda: decode(run, probed, facts, path))
        index = index_of(run, decoded)
        check_shots(run, index)
        shots = shots_of(run, facts, index, path, decoded)
        tell_of_lost_detail(run, facts)
        foreseen = foresee(run, facts, index)
        main = render(run, staged, shots, "", foreseen)
        arms = {"result": [d.ref for d in main]}
        for arm in run.job.report.arms:
            armed = replace(run, job=arm_job(run.job, arm))
            arms[arm] = [d.ref for d in render(armed, staged, shots, arm, foreseen)]
        with staged.paying(foreseen.of("encode", "evaluate", "report"), f"finishing {run.source}"):
            encoded = staged("encode", "", lambda: encode(run, arms["result"], decoded, facts, index, path))
            measured = staged("evaluate", "", lambda: evaluate(run, arms, shots))
            uri = place_output(run, encoded)
            total, computed = sum(d.total for d in main), sum(d.computed for d in main)
            steps = WindowSteps(total=total, computed=computed, reused=max(0, total - computed))
            told = Told(arms, shots, encoded, measured, list(staged.stages), steps)
            page = staged("report", "", lambda: report(run, told))
    manifests = [run.store.resolve(ref) for ref in arms["result"]]
    metrics = with_arms(metrics_of(run, measured)["figures"])
    flagged = reasons(metrics, run.job.gate)
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
        metrics={**metrics, "review_reasons": list(flagged)},
        review=bool(flagged),
        report=place_report(run, page, uri),
    )
    return VideoResult(
        output=output, stages=staged.stages, window_steps=steps, deflicker_steps=list(deflicker_steps(run.job))
    )


def check_places(run: Run) -> None:
    """Look at what the job names besides its source before any work is done for it: files of controls, the results'
    folder. Errors: ConfigError, StoreError.
    """
    for control in run.job.controls:
        if control.path is not None:
            check_files(control.kind, control.path)
    ResultFolder(run.job.out).check()


def check_shots(run: Run, index: ClipIndex) -> None:
    """Refuse a job that speaks of shots this clip does not have. Errors: VideoConfigError."""
    beyond = sorted((n for n in run.job.shots if int(n) > len(index.shots)), key=int)
    if beyond:
        has = "1 shot" if len(index.shots) == 1 else f"{len(index.shots)} shots"
        raise VideoConfigError(
            f"shots.{beyond[0]}: {run.source} has {has}, counted from 1 as the report shows them; "
            f"take shots.{beyond[0]} out or name another"
        )


def tell_of_lost_detail(run: Run, facts: ClipFacts) -> None:
    """Say when a job that keeps the source's own latents works below its size; a picture drawn anew has its own."""
    if run.job.start == "noised" and max(facts.width, facts.height) > run.job.working_size:
        text = (
            f"{facts.width}x{facts.height} is brought down to a long side of {run.job.working_size} pixels and up "
            "again: finer detail of the source is lost; a larger working_size keeps it and takes longer"
        )
        run.observe(Progress(run.source, "", message=text, level="warning"))


def foresee(run: Run, facts: ClipFacts, index: ClipIndex) -> Forecast:
    """What is still to be done for this video, told to whoever watches."""
    if run.engines.history is None:  # read once for all videos that these engines serve
        run.engines.history = History.read(run.store)
    found = forecast_video(run.job, facts, index, run.store, engines=run.engines, history=run.engines.history)
    run.observe(Progress(run.source, "", message=in_words(found), table=tuple(rows(found))))
    return found


def shots_of(run: Run, facts: ClipFacts, index: ClipIndex, path: Path, decoded: Ref) -> list[Shot]:
    """The shots of a decoded clip, at the job's working size in cells of its model."""
    multiple = run.engines.facts(run.job.model).size_multiple
    size = working_size(facts, run.job.working_size, multiple)
    return [
        Shot(n, first, stop, size, run.job.window.size, facts, index, path, decoded)
        for n, (first, stop) in enumerate(index.shots)
    ]


def render(
    run: Run, staged: Recorded, shots: Sequence[Shot], arm: str, foreseen: Forecast = NOTHING_FORESEEN
) -> list[Denoised]:
    """Denoise every shot; a shot that does not fit its device starts again on the next lower memory rung.

    The shots after it start there too. Raises `OutOfMemory` below the last rung, and `BudgetReached` before a shot
    that the run's purse cannot pay.
    """
    rendered = []
    for shot in shots:
        job = run.job.of_shot(shot.number + 1)
        part = part_of(shot, shots, arm)
        cost = foreseen.of("condition", "invert", "correspond", "denoise", part=part)
        what = f"{part} of {run.source}" if part else run.source
        with staged.paying(cost, what) as should_stop:
            rendered.append(_on_some_rung(replace(run, job=job, should_stop=should_stop), staged, shot, part))
    return rendered


def _on_some_rung(run: Run, staged: Do, shot: Shot, part: str) -> Denoised:
    """Denoise a shot on the highest rung that is not known to be too high."""
    rungs, asked = run.engines.rungs, run.job
    model = rungs.start(asked, shot.size)
    while True:
        try:
            return _render_shot(replace(run, job=asked.model_copy(update={"model": model})), staged, shot, part)
        except OutOfMemory as full:
            device = run.engines.computes_on
            lower = rungs.fell(asked, shot.size, model, device)
            if lower is None:
                height, width = shot.size
                raise OutOfMemory(
                    f"{run.source}: {part or 'a shot'} at {width}x{height} in windows of {shot.window_size} does not "
                    f"fit {device} on any memory rung ({full}); lower working_size or window.size, or use dtype "
                    f"float16 or a larger device"
                ) from None
            text = f"{full}; trying again with less memory ({rung_in_words(lower.model_dump())})"
            run.observe(Progress(run.source, "denoise", message=text, level="warning", event="oom"))
            model = lower


def _render_shot(run: Run, staged: Do, shot: Shot, part: str) -> Denoised:
    """Conditions and correspondence come first and are shared by all arms."""
    inputs = [staged("condition", part, partial(condition, run, shot))]
    if run.job.start == "inverted":
        inputs.append(staged("invert", part, partial(invert, run, shot, inputs[0])))
    if needs_correspondence(run.job):
        inputs.append(staged("correspond", part, partial(correspond, run, shot)))
    done: list[Denoised] = []

    def work() -> Ref:
        done.append(denoise(run, shot, inputs))
        return done[-1].ref

    staged("denoise", part, work)
    return done[-1]
