"""Stage `correspond`: matches of source frames, one pair of frames the unit of reuse, shared by every job on them.

Two ways to match, behind one contract: PatchMatch (integers only, free of the numerics class) and optical flow (floats
inside, so OpenCV's build and processor are in the name of its packs). How pairs are matched is `tasks.matcher`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from configs.job import DeflickerConfig
from models.blending import pairs_for_window
from models.flow_match import numerics
from models.patchmatch import algorithm
from models.sampling import Window
from tasks.guide_frames import GuideFrames
from tasks.matcher import Added, Pair, add_missing, device_of
from tasks.ref import Ref
from tasks.run import Run
from tasks.shot import Shot
from tasks.stage import Computed, Writing, run_stage
from tasks.store import Store
from tasks.store.keys import StageKey, stage_key
from tasks.store.manifest import Manifest
from tasks.store.pairs import Pair as Names

VERSION = 5


def pairs_base(run: Run, shot: Shot) -> str:
    """What names the packs of a shot beside its frames; see `packs_name`."""
    return packs_name(run.job.deflicker, shot.size, device_of(run.engines))


def packs_name(config: DeflickerConfig, size: tuple[int, int], device: str = "cpu") -> str:
    """What the match of two frames hangs on beside the frames: the size they are matched at, and how.

    No job and no clip is in it: `tasks.matches.folders` adds the frames. Flow draws no random numbers, so it has no
    seed; a GPU searches in another way than a CPU.
    """
    by_flow = config.correspondence == "flow"
    searched: dict[str, Any] = {"seed": config.seed, "algorithm": algorithm(device=device)}
    params = {"size": list(size), "patch": config.patch, **({"method": "flow"} if by_flow else searched)}
    return stage_key("pairs", VERSION, params, {}, [], numerics() if by_flow else None).key


def pairs_asked(windows: Sequence[Window], config: DeflickerConfig) -> set[Pair]:
    """The (target, source) pairs that deflickering `windows` asks for; none for `match=fastblend`, which searches on
    the very pictures it blends."""
    asked: set[Pair] = set()
    for window in () if config.match == "fastblend" else windows:
        asked |= pairs_for_window(window, config.window, operator=config.operator, mode=config.mode)
    return asked


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
            params["asked"] = hashlib.sha256(listing(asked)).hexdigest()
    return stage_key("correspond", VERSION, params, {}, [shot.decoded.as_input()], None)


def correspond(run: Run, shot: Shot) -> Ref:
    """Compute the matches that blending this shot needs and that no earlier job left; the parts are a list of them, the
    packs they are in are shared with other jobs, named in its meta, and counted in the bytes of what is returned."""
    config = run.job.deflicker

    def add() -> tuple[set[Pair], Added]:
        asked = pairs_asked(shot.windows, config)
        with GuideFrames(shot, 2 * config.window) as guide:
            frame = guide.__getitem__
            return asked, add_missing(run, shot, pairs_base(run, shot), asked, frame, frame)

    return list_of_pairs(run, shot, correspond_key(run, shot), add)


def list_of_pairs(run: Run, shot: Shot, key: StageKey, add: Callable[[], tuple[Iterable[Pair], Added]]) -> Ref:
    """The artifact `key`, a list of pairs whose matches `add` puts into the packs where there is none that stands."""
    leaned_on: dict[str, int] = {}

    def still_whole(found: Manifest) -> bool:
        leaned_on.update(found.meta["packs"])
        return packs_stand(run.store, found)

    def compute(writing: Writing) -> Computed:
        pairs, added = add()
        leaned_on.clear()
        leaned_on.update(added.packs)
        listed = listing(pairs)
        config = run.job.deflicker
        counts = {"pairs": len(listed.splitlines()), "computed": added.pairs, "written": added.bytes}
        how = {"method": config.correspondence, "patch": config.patch}
        frames = "\n".join(shot.digests).encode()
        parts = [writing.part("pairs.txt", listed), writing.part("frames.txt", frames)]
        return parts, {**counts, **how, "packs": dict(leaned_on)}

    ref = run_stage(run, key, compute, still_whole)
    return ref.model_copy(update={"bytes": ref.bytes + sum(leaned_on.values())})


def packs_stand(store: Store, found: Manifest) -> bool:
    """Whether the packs that a list of pairs leans on are still there: without them it is worth nothing."""
    return all(store.blobs.size(path) == size for path, size in found.meta["packs"].items())


def listed_pairs(store: Store, found: Manifest) -> set[Names]:
    """The pairs (target, source) of a list of them, by the digests of their frames."""
    lines, frames = (store.read_part(found, name).decode().splitlines() for name in ("pairs.txt", "frames.txt"))
    return {(frames[int(target)], frames[int(source)]) for target, source in map(str.split, lines)}


def listing(pairs: Iterable[Pair]) -> bytes:
    """A list of pairs, one a line."""
    return "\n".join(f"{target} {source}" for target, source in sorted(pairs)).encode()
