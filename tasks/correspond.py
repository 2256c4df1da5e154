"""Stage `correspond`: guide NNFs of the source, one pair of frames the unit of reuse, shared by every job on the clip.

Integers only, free of the numerics class; computed on threads (the kernel lets go of the GIL).
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from models.blending import pairs_for_window
from models.patchmatch import nnf
from tasks.ref import Ref
from tasks.run import Progress, Run
from tasks.shot import Shot
from tasks.stage import Computed, Writing, run_stage
from tasks.store.keys import StageKey, stage_key
from tasks.store.pairs import Pair as PackPair
from tasks.store.pairs import PairPacks
from tasks.video.frames import FrameReader

VERSION = 1

Pair = tuple[int, int]


def pairs_base(run: Run, shot: Shot) -> str:
    """Name of the packs of a shot: its frames, the size they are matched at, patch and seed; no job is in it."""
    frames = hashlib.sha256("\n".join(shot.digests).encode()).hexdigest()
    params = {"size": list(shot.size), "patch": run.job.deflicker.patch, "seed": run.job.deflicker.seed}
    return stage_key("pairs", VERSION, params, {}, [{"frames": frames}, {"window": shot.window_size}], None).key


def correspond_key(run: Run, shot: Shot) -> StageKey:
    """Key of the list of pairs that a window radius needs; the pairs themselves live under `pairs_base`."""
    params = {**shot.as_params(), "radius": run.job.deflicker.window, "pairs": pairs_base(run, shot)}
    return stage_key("correspond", VERSION, params, {}, [shot.decoded.as_input()], None)


def correspond(run: Run, shot: Shot) -> Ref:
    """Compute the NNFs that blending this shot needs and that no earlier job left; the parts are a list of them, the
    packs they are in are shared with other jobs and named in its meta."""
    packs = PairPacks(run.store, pairs_base(run, shot))
    key = correspond_key(run, shot)
    found = run.store.lookup(key)
    if found is not None and any(run.store.blobs.size(path) != size for path, size in found.meta["packs"].items()):
        run.store.forget(key)  # packs were deleted under it: the list alone is worth nothing

    def compute(writing: Writing) -> Computed:
        by_window: dict[int, set[Pair]] = defaultdict(set)
        for window in shot.windows:
            for target, source in pairs_for_window(window, run.job.deflicker.window):
                by_window[target // shot.window_size].add((target, source))
        total = sum(map(len, by_window.values()))
        computed = _fill(run, shot, packs, by_window, total)
        summary = {"pairs": total, "computed": computed, "packs": packs.sizes(sorted(by_window))}
        listing = "\n".join(f"{t} {s}" for k in sorted(by_window) for t, s in sorted(by_window[k]))
        return [writing.part("pairs.txt", listing.encode())], summary

    return run_stage(run, key, compute)


def _fill(run: Run, shot: Shot, packs: PairPacks, by_window: dict[int, set[Pair]], total: int) -> int:
    """Compute and store what is missing, window after window, a bounded number of windows in flight."""
    done = computed = 0
    threads = max(1, run.engines.workers or os.cpu_count() or 1)
    with (
        FrameReader(shot.path, shot.facts, shot.index, shot.size) as reader,
        ThreadPoolExecutor(threads) as pool,
    ):
        for k in sorted(by_window):
            named: dict[PackPair, Pair] = {(shot.digests[t], shot.digests[s]): (t, s) for t, s in by_window[k]}
            missing = {names: named[names] for names in packs.missing(k, sorted(named, key=str))}
            if missing:
                needed = sorted({frame for pair in missing.values() for frame in pair})
                low, high = needed[0], needed[-1] + 1
                frames = reader.read(shot.first + low, shot.first + high)
                jobs: dict[PackPair, Future[tuple[Any, Any]]] = {
                    names: pool.submit(
                        nnf, frames[t - low], frames[s - low], run.job.deflicker.patch, run.job.deflicker.seed
                    )
                    for names, (t, s) in missing.items()
                }
                packs.write(k, {names: _stored(*job.result()) for names, job in jobs.items()})
                computed += len(missing)
            done += len(named)
            run.observe(Progress(run.source, "correspond", done, total))
            if run.should_stop():
                break
    return computed


def _stored(offsets: Any, error: Any) -> tuple[Any, Any]:
    """As packed: an SSD beyond 16 bit weighs exp(-655) in any blend, which is nothing, and costs thrice the bytes."""
    return offsets, np.minimum(error, np.iinfo(np.uint16).max).astype(np.uint16)
