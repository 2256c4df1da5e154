"""Stage `correspond`: matches of source frames, one pair of frames the unit of reuse, shared by every job on the clip.

Two ways to match, behind one contract: PatchMatch (integers only, free of the numerics class) and optical flow (floats
inside, so OpenCV's build and processor are in the name of its packs). Computed on threads (both let go of the GIL).
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from configs.errors import Interrupted
from configs.job import DeflickerConfig
from models.blending import pairs_for_window
from models.flow_match import flow_match, numerics
from models.patchmatch import nnf
from models.sampling import Window
from tasks.ref import Ref
from tasks.run import Progress, Run
from tasks.shot import Shot
from tasks.stage import Computed, Writing, run_stage
from tasks.store import Store
from tasks.store.keys import StageKey, stage_key
from tasks.store.manifest import Manifest
from tasks.store.pairs import Pair as PackPair
from tasks.store.pairs import PairPacks
from tasks.video.frames import FrameReader

VERSION = 4

Pair = tuple[int, int]


def pairs_base(run: Run, shot: Shot) -> str:
    """Name of the packs of a shot; see `packs_name`."""
    return packs_name(run.job.deflicker, shot.digests, shot.size, shot.window_size)


def packs_name(config: DeflickerConfig, digests: Sequence[str], size: tuple[int, int], window_size: int) -> str:
    """Name of the packs of a shot: its frames, the size they are matched at, and what the matches of a pair hang on.

    No job is in it. Flow draws no random numbers, so its packs have no seed.
    """
    frames = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    by_flow = config.correspondence == "flow"
    own: dict[str, Any] = {"method": "flow"} if by_flow else {"seed": config.seed}
    params = {"size": list(size), "patch": config.patch, **own}
    inputs: list[dict[str, Any]] = [{"frames": frames}, {"window": window_size}]
    return stage_key("pairs", VERSION, params, {}, inputs, numerics() if by_flow else None).key


def pairs_asked(windows: Sequence[Window], config: DeflickerConfig) -> dict[int, set[Pair]]:
    """The (target, source) pairs that deflickering `windows` asks for, by the window of the target; none for
    `match=fastblend`, which searches on the very pictures it blends."""
    by_window: dict[int, set[Pair]] = defaultdict(set)
    for window in () if config.match == "fastblend" else windows:
        for target, source in pairs_for_window(window, config.window, operator=config.operator, mode=config.mode):
            by_window[target // (windows[0].stop - windows[0].start)].add((target, source))
    return by_window


def correspond_key(run: Run, shot: Shot) -> StageKey:
    """Key of the list of pairs that a job needs; the pairs themselves live under `pairs_base`.

    A job that asks for more or other pairs than tables of its radius take names them.
    """
    config = run.job.deflicker
    params = {**shot.as_params(), "radius": config.window, "pairs": pairs_base(run, shot)}
    usual = config.model_copy(update={"operator": "mean", "mode": "table", "match": "guide"})
    if usual != config.model_copy(update={"operator": "mean"}) or config.operator == "checked":
        asked = pairs_asked(shot.windows, config)
        if asked != pairs_asked(shot.windows, usual):
            params["asked"] = hashlib.sha256(_listing(asked)).hexdigest()
    return stage_key("correspond", VERSION, params, {}, [shot.decoded.as_input()], None)


def correspond(run: Run, shot: Shot) -> Ref:
    """Compute the matches that blending this shot needs and that no earlier job left; the parts are a list of them, the
    packs they are in are shared with other jobs, named in its meta, and counted in the bytes of what is returned."""
    packs = PairPacks(run.store, pairs_base(run, shot))
    leaned_on: dict[str, int] = {}

    def still_whole(found: Manifest) -> bool:
        leaned_on.update(found.meta["packs"])
        return packs_stand(run.store, found)

    def compute(writing: Writing) -> Computed:
        asked = pairs_asked(shot.windows, run.job.deflicker)
        total = sum(map(len, asked.values()))
        filled = _fill(run, shot, packs, asked, total)
        leaned_on.clear()
        leaned_on.update(packs.sizes(sorted(asked)))
        how = {"method": run.job.deflicker.correspondence, "patch": run.job.deflicker.patch}
        counts = {"pairs": total, "computed": filled.pairs, "written": filled.bytes}
        return [writing.part("pairs.txt", _listing(asked))], {**counts, **how, "packs": dict(leaned_on)}

    ref = run_stage(run, correspond_key(run, shot), compute, still_whole)
    return ref.model_copy(update={"bytes": ref.bytes + sum(leaned_on.values())})


def packs_stand(store: Store, found: Manifest) -> bool:
    """Whether the packs that a list of pairs leans on are still there: without them it is worth nothing."""
    return all(store.blobs.size(path) == size for path, size in found.meta["packs"].items())


def listed_pairs(store: Store, found: Manifest) -> set[Pair]:
    """The pairs (target, source) of a list of them."""
    lines = store.read_part(found, "pairs.txt").decode().splitlines()
    return {(int(target), int(source)) for target, source in map(str.split, lines)}


def _listing(asked: Mapping[int, set[Pair]]) -> bytes:
    return "\n".join(f"{t} {s}" for k in sorted(asked) for t, s in sorted(asked[k])).encode()


@dataclass
class _Filled:
    """What a run added to the packs."""

    pairs: int = 0
    bytes: int = 0


def _fill(run: Run, shot: Shot, packs: PairPacks, asked: Mapping[int, set[Pair]], total: int) -> _Filled:
    """Compute and store what is missing, window after window, a bounded number of windows in flight."""
    done, filled = 0, _Filled()
    match = matcher(run)
    threads = max(1, run.engines.workers or os.cpu_count() or 1)
    digests = shot.digests
    with (
        FrameReader(shot.path, shot.facts, shot.index, shot.size) as reader,
        ThreadPoolExecutor(threads) as pool,
    ):
        for k in sorted(asked):
            packs = PairPacks(run.store, packs.base_key)  # it remembers what it has read: a window at a time
            named: dict[PackPair, Pair] = {(digests[t], digests[s]): (t, s) for t, s in asked[k]}
            missing = {names: named[names] for names in packs.missing(k, sorted(named, key=str))}
            if missing:
                needed = sorted({frame for pair in missing.values() for frame in pair})
                low, high = needed[0], needed[-1] + 1
                frames = reader.read(shot.first + low, shot.first + high)
                jobs: dict[PackPair, Future[tuple[Any, Any]]] = {
                    names: pool.submit(match, frames[t - low], frames[s - low]) for names, (t, s) in missing.items()
                }
                filled.bytes += packs.write(k, {names: job.result() for names, job in jobs.items()})
                filled.pairs += len(missing)
            done += len(asked[k])
            run.observe(Progress(run.source, "correspond", done, total))
            if done < total and run.should_stop():  # a list of pairs that are not all there must never be published
                raise Interrupted(f"stopped in correspond; {done} of {total} pairs are kept, run it again to go on")
    return filled


def matcher(run: Run) -> Callable[[Any, Any], tuple[Any, Any]]:
    """The way to match (target, source) that the job asks for: offsets int16 [H,W,2] and error, ready to be packed.

    Errors are cut at 16 bit, for a third of the bytes: an SSD beyond weighs at most exp(-8.7) in a blend (patch 5; 7:
    exp(-4.5)). Whoever adds to the packs of `pairs_base` matches by this, so that a pair has one value.
    """
    config = run.job.deflicker
    by_flow = config.correspondence == "flow"
    match = partial(flow_match if by_flow else partial(nnf, seed=config.seed), patch=config.patch)

    def packed(target: Any, source: Any) -> tuple[Any, Any]:
        offsets, error = match(target, source)
        return offsets, np.minimum(error, np.iinfo(np.uint16).max).astype(np.uint16)

    return packed
