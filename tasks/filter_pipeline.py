"""The order of the stages of one deflickered (or filled in) video. Who runs a stage is injected as `do`.

Probe, decode, correspond are those of a restyle, so what a restyle of the same guide matched is found and not made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from configs.deflicker_job import DeflickerJob
from configs.errors import ConfigError
from models.keyframes import pairs_for_keys
from tasks.clip import Clip, open_clip
from tasks.correspond import correspond, correspond_key, pairs_asked
from tasks.correspond_forecast import forecast_of
from tasks.denoise import digest_over
from tasks.evaluate import metrics_of
from tasks.filter import filter_shot
from tasks.filter_result import encode_filtered, evaluate_filtered
from tasks.handover import place_output
from tasks.key_filter import fill_shot, keys_key, match_keys
from tasks.key_images import check_shape, key_images, keys_of_shots
from tasks.matcher import Pair, device_of
from tasks.recorded import Do, Recorded, directly
from tasks.ref import Ref
from tasks.run import Run, VideoOutput, VideoResult, WindowSteps
from tasks.shot import Shot
from tasks.store import StageKey
from tasks.video.frames import working_size
from tasks.video.source import local_copy
from tasks.words import size


def deflicker_video(job: DeflickerJob, run: Run, do: Do = directly) -> VideoResult:
    """Steady `job.source` along `job.guide`, or fill in between `job.keyframes`; `run.job` is `job.for_stages()`.

    `run.source` is the video that gives time stamps and sound: the source, or with keyframes the guide. Raises
    `configs.errors.SteadyframeError`s; finished stages stay in the store whatever happens later.
    """
    staged = Recorded(run, do)
    guided = replace(run, source=job.guide)
    with ExitStack() as stack:
        path = stack.enter_context(local_copy(job.guide, job.input.max_bytes))
        guide = open_clip(guided, staged, path, "guide" if job.source else "")
        clip = None
        if job.source:
            clip = open_clip(run, staged, stack.enter_context(local_copy(run.source, job.input.max_bytes)))
            check_pair(clip, guide)
        shots = shots_of(job, guided, clip or guide, guide)
        done = _filter(job, run, staged, clip, shots) if clip else _fill(job, guided, staged, guide, shots)
        encoded = staged("encode", "", lambda: encode_filtered(run, job, clip or guide, done))
        measured = staged("evaluate", "", lambda: evaluate_filtered(run, clip, guide, done))
        uri = place_output(run, encoded)
    manifests = [run.store.resolve(ref) for ref in done]
    kept = clip or guide
    digest = digest_over(manifests, "frames")
    output = VideoOutput(
        source=run.source,
        uri=uri,
        key=encoded.key,
        frames=kept.index.frames,
        width=kept.facts.width,
        height=kept.facts.height,
        shots=len(shots),
        audio=len(kept.facts.audio),
        latents_digest="",
        rgb_digest=digest,
        metrics={**metrics_of(run, measured)["figures"], **_segments([m.meta for m in manifests], guide.index.first)},
    )
    return VideoResult(output=output, stages=staged.stages, window_steps=WindowSteps(), deflicker_steps=[])


def check_pair(clip: Clip, guide: Clip) -> None:
    """Refuse a video and a guide that cannot be frame by frame the same thing. Errors: ConfigError."""
    mine, theirs = clip.index.frames, guide.index.frames
    if mine != theirs:
        raise ConfigError(
            f"{clip.facts.uri} has {mine} frames and its guide {guide.facts.uri} has {theirs}: each frame needs its "
            f"own guide frame; give the video it was made from, or use the frames both have with "
            f"--set input.frames=[0,{min(mine, theirs)}]"
        )
    sizes = [f"{c.facts.uri} is {c.facts.width}x{c.facts.height}" for c in (clip, guide)]
    shapes = [(c.facts.height, c.facts.width) for c in (clip, guide)]
    check_shape(sizes[0], shapes[0], sizes[1], shapes[1])


def shots_of(job: DeflickerJob, run: Run, kept: Clip, guide: Clip) -> list[Shot]:
    """The shots of the guide, at the size at which frames are matched and blended.

    That is the size of `kept` (what comes out), no side over `job.working_size`: the guide is brought to it. So a
    video of the guide's own size is filtered pixel by pixel.
    """
    shape = working_size(kept.facts, job.working_size, 1)
    return [
        Shot(n, first, stop, shape, run.job.window.size, guide.facts, guide.index, guide.path, guide.decoded)
        for n, (first, stop) in enumerate(guide.index.shots)
    ]


def _filter(job: DeflickerJob, run: Run, staged: Do, clip: Clip, shots: Sequence[Shot]) -> list[Ref]:
    done = []
    matched = job.deflicker.window and job.deflicker.match != "fastblend"  # which searches for every match itself
    if matched and job.keep_matches:
        check_space(run, shots, lambda shot: pairs_asked(shot.windows, job.deflicker))
    for shot in shots:
        part = _part(shot, shots)
        inputs = []
        if matched:
            inputs.append(_link(correspond_key(run, shot)))
            if job.keep_matches:
                staged("correspond", part, partial(correspond, run, shot))
        done.append(staged("filter", part, partial(filter_shot, run, job, clip, shot, inputs)))
    return done


def _fill(job: DeflickerJob, run: Run, staged: Do, guide: Clip, shots: Sequence[Shot]) -> list[Ref]:
    keys = keys_of_shots(key_images(run, job.keyframes, guide), guide.index.shots, guide.index.first)
    if job.keep_matches:
        check_space(run, shots, lambda shot: pairs_for_keys(shot.frames, keys[shot.number]))
    done = []
    for shot, own in zip(shots, keys, strict=True):
        part = _part(shot, shots)
        if job.keep_matches:
            staged("correspond", part, partial(match_keys, run, shot, own))
        link = _link(keys_key(run, shot, own))
        done.append(staged("filter", part, partial(fill_shot, run, job, shot, own, link)))
    return done


def check_space(run: Run, shots: Sequence[Shot], asked: Callable[[Shot], Collection[Pair]]) -> None:
    """Refuse to begin matches that the store's disk will not hold. Errors: ConfigError; silent where no disk is known.

    An hour of 1080p takes hundreds of gigabytes, and would take hours to find that out.
    """
    free = run.store.blobs.free_bytes()
    if free is None:
        return
    wanted = ((shot.first, shot.stop, asked(shot)) for shot in shots)
    config, device = run.job.deflicker, device_of(run.engines)
    found = forecast_of(run.store, config, wanted, shots[0].size, shots[0].index.digests, device=device)
    if found.bytes > free:
        raise ConfigError(
            f"the matches of {found.pairs - found.cached} pairs of frames take about {size(found.bytes)} and the store "
            f"{run.store.url} has {size(free)} left: give --set keep_matches=false, which matches just ahead of the "
            "filter and keeps none, or another --store"
        )


def _link(key: StageKey) -> dict[str, Any]:
    """A stage as an input of another, whether its artifact is there or not."""
    return {"stage": key.stage, "key": key.key}


def _part(shot: Shot, shots: Sequence[Shot]) -> str:
    return f"shot {shot.number + 1}" if len(shots) > 1 else ""


def _segments(metas: Sequence[dict[str, Any]], first: int) -> dict[str, Any]:
    """`segments` of all shots, frames counted in the whole clip and each with the number of its shot; {} if none."""
    found = []
    for number, meta in enumerate(metas, 1):
        for row in meta.get("segments", []):
            moved = {name: row[name] + first for name in ("first", "stop", "worst_frame")}
            found.append({"shot": number, **row, **moved, "keys": [key + first for key in row["keys"]]})
    return {"segments": found} if any("segments" in meta for meta in metas) else {}
