"""What a video will take before it is run: seconds, bytes and device-seconds of every stage, and what is there.

Rates are learnt from earlier jobs (`tasks.history`); where there is none, rules of thumb say so. Computes keys and
looks them up; reads no frame, loads no weights.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from configs.job import RestyleJob
from models.methods.restyle import run_length
from tasks.arms import arm_job, needs_correspondence
from tasks.borrow import lanes_of
from tasks.condition import condition_key
from tasks.correspond import correspond_key
from tasks.correspond_forecast import forecast as forecast_pairs
from tasks.decode import decode_key
from tasks.denoise import denoise_key
from tasks.encode import encode_key
from tasks.engine.pool import EnginePool
from tasks.evaluate import evaluate_key, judged_style
from tasks.foreseen import Forecast, StageForecast
from tasks.history import History
from tasks.invert import invert_key
from tasks.matcher import device_of
from tasks.probe import probe_key
from tasks.ref import Ref
from tasks.report_stage import report_key
from tasks.run import Run
from tasks.shot import Shot, part_of
from tasks.store import StageKey, Store
from tasks.store.steps import StepLog
from tasks.video.facts import ClipFacts, ClipIndex
from tasks.video.frames import working_size
from tasks.work import Clip, Work, work_of

# seconds per unit of `tasks.work` on one CPU core with pocket, and bytes per pixel, until a job here has told better
_THUMB: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "probe": (0.05, 1000.0),
        "decode": (3e-8, 0.0),
        "condition": (8e-7, 0.6),
        "invert": (4e-6, 0.3),
        "denoise": (8e-6, 3.3),
        "encode": (6e-8, 0.05),
        "evaluate": (1.5e-6, 0.0),
        "report": (2e-7, 0.05),
    }
)
_MODEL_STAGES = ("condition", "invert", "denoise")


@dataclass
class _Foreseen:
    """Gathers stages in order; each is looked up, and costed where it is not there."""

    run: Run
    history: History
    clip: Clip
    lanes: int
    host: str
    call_pixels: int
    stages: list[StageForecast] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)

    def add(self, stage: str, part: str, key: StageKey, share: float = 1.0) -> dict[str, Any]:
        """Foresee a stage by its key; `share` of its work is left. Returns it as the input of later stages."""
        given = {"stage": stage, "key": key.key}
        if self.run.store.lookup(key) is not None:
            self.stages.append(StageForecast(stage, part, "reused", basis="in the store"))
            return given
        devices = max(1, self.run.engines.workers_per_gang)
        work = work_of(stage, key.preimage, self.clip, self.lanes, self.host)
        rate = self.history.rate(stage, work)
        if stage in _MODEL_STAGES:
            self.works.append(work)
        if rate is not None:
            amounts = (rate.seconds, rate.low, rate.high)
            basis = f"{rate.samples} of earlier jobs"
            held = rate.bytes
        else:
            per, held = _THUMB[stage]
            if self.run.job.model.path == "dry" and stage in _MODEL_STAGES:
                per = 0.0 if stage == "condition" else self.run.job.model.dry_delay / self.call_pixels
            amounts, basis = (per, per / 3, per * 3), "a rule of thumb"
        seconds, low, high = (amount * work.units * share for amount in amounts)
        self.stages.append(
            StageForecast(stage, part, "computed", seconds, low, high, round(held * work.size), devices, basis)
        )
        return given


def forecast_video(
    job: RestyleJob,
    facts: ClipFacts,
    index: ClipIndex | None,
    store: Store,
    *,
    engines: EnginePool | None = None,
    history: History | None = None,
) -> Forecast:
    """Foresee every stage of one video; `index` is None before its decode pass (then it is taken for one shot).

    `engines` are those it would run on (default: this process), `history` is read from the store unless given.
    """
    run = Run(job, facts.uri, store, engines if engines is not None else EnginePool(store.url, 0))
    history = history if history is not None else History.read(store)
    whole = index if index is not None else _one_shot(job, facts)
    clip = Clip(whole.frames, facts.width * facts.height)
    shape = working_size(facts, job.working_size, run.engines.facts(job.model).size_multiple)
    lanes = lanes_of(run.engines, job.model.threads_per_call)
    seen = _Foreseen(run, history, clip, lanes, platform.node(), job.window.size * shape[0] * shape[1])
    probed = seen.add("probe", "", probe_key(job.input, facts.digest))
    decoding = decode_key(job.input, probed)
    decoded = seen.add("decode", "", decoding)
    ref = Ref(stage="decode", key=decoding.key, uri="", digest="", bytes=0)
    shots = [
        Shot(n, first, stop, shape, job.window.size, facts, whole, Path(facts.uri), ref)
        for n, (first, stop) in enumerate(whole.shots)
    ]
    arms: dict[str, list[dict[str, Any]]] = {}
    for arm in ("", *job.report.arms):
        armed = arm_job(job, arm) if arm else job
        named = [(shot, part_of(shot, shots, arm)) for shot in shots]
        arms[arm or "result"] = [_shot(seen, armed, shot, part, index is not None) for shot, part in named]
    encoded = seen.add("encode", "", encode_key(job, decoded, arms["result"]))
    measured = seen.add("evaluate", "", evaluate_key(judged_style(job, len(shots)), arms, shots[0]))
    seen.add("report", "", report_key(job, encoded, measured))
    return _whole(seen)


def _whole(seen: _Foreseen) -> Forecast:
    """The stages with the opening of workers, where any is to be used, and one sentence of what they rest on."""
    fresh = [stage for stage in seen.stages if stage.status == "computed"]
    warm = seen.run.engines.warm(seen.run.job.model)
    opening = seen.history.opening(seen.works[0]) if seen.works and not warm else 0.0
    guessed = [stage.stage for stage in fresh if stage.basis == "a rule of thumb"]
    if not fresh:
        basis = "all of it is in the store"
    elif not guessed:
        basis = "learnt from earlier jobs of this store"
    elif len(guessed) == len(fresh):
        basis = "rules of thumb for one CPU core; the first run will tell"
    else:
        basis = f"learnt from earlier jobs, but {', '.join(dict.fromkeys(guessed))} by rule of thumb"
    return Forecast(tuple(seen.stages), opening, basis)


def _shot(seen: _Foreseen, job: RestyleJob, shot: Shot, part: str, decoded: bool) -> dict[str, Any]:
    """Foresee the stages of one shot of one arm; returns its `denoise` as an input."""
    own = job.of_shot(shot.number + 1)
    asked, run = seen.run, replace(seen.run, job=own)
    seen.run = run
    try:
        inputs = [seen.add("condition", part, condition_key(run, shot))]
        if own.start == "inverted":
            inputs.append(seen.add("invert", part, invert_key(run, shot, inputs[0])))
        if needs_correspondence(own):
            inputs.append(_pairs(seen, own, shot, part, decoded))
        key = denoise_key(run, shot, inputs)
        return seen.add("denoise", part, key, _left(seen, key, shot, run_length(own)))
    finally:
        seen.run = asked


def _left(seen: _Foreseen, key: StageKey, shot: Shot, steps: int) -> float:
    """The share of a shot's steps that no commit holds yet."""
    newest = StepLog(seen.run.store, key.key, len(shot.windows)).newest()
    return 1.0 - newest.step / steps if newest else 1.0


def _pairs(seen: _Foreseen, job: RestyleJob, shot: Shot, part: str, decoded: bool) -> dict[str, Any]:
    """Foresee the matching of a shot, which counts pairs of frames."""
    key = correspond_key(seen.run, shot) if decoded else StageKey("correspond", "unknown", {})
    if decoded and seen.run.store.lookup(key) is not None:
        seen.stages.append(StageForecast("correspond", part, "reused", basis="in the store"))
        return {"stage": "correspond", "key": key.key}
    digests = shot.index.digests if decoded else None
    spans = [(shot.first, shot.stop)]
    found = seen.history.matched(seen.run.store)
    device = device_of(seen.run.engines)
    pairs = forecast_pairs(seen.run.store, job.deflicker, spans, shot.size, job.window.size, digests, found, device)
    spread = (0.8, 1.25) if pairs.basis.startswith("measured") else (1 / 3, 3.0)
    low, high = (pairs.seconds * by for by in spread)
    basis = pairs.basis if pairs.basis.startswith("measured") else "a rule of thumb"
    status: Literal["computed", "reused"] = "computed" if pairs.pairs > pairs.cached else "reused"
    seen.stages.append(StageForecast("correspond", part, status, pairs.seconds, low, high, pairs.bytes, 1, basis))
    return {"stage": "correspond", "key": key.key}


def _one_shot(job: RestyleJob, facts: ClipFacts) -> ClipIndex:
    """The clip as far as its header tells: the frames that the job asks for, in one shot."""
    first, last = job.input.frames or (0, facts.frames)
    frames = max(1, min(last, facts.frames) - first)
    return ClipIndex.model_construct(
        first=first,
        pts=tuple(range(frames)),
        end_pts=frames,
        keys=(),
        shots=((0, frames),),
        digests=("",) * frames,
    )
