"""Matching pairs of frames of a shot as its job asks: on threads of the CPU, or in batches on a GPU.

Both ways to match let go of the GIL. Knows no stage; what is found goes to the packs of the store, or to the caller.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice
from types import TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from configs.errors import Interrupted
from configs.job import DeflickerConfig
from models.flow_match import flow_match
from models.frame_match import frame_match
from models.patch_light import relit
from models.patch_plan import Plan
from tasks.engine.pool import EnginePool
from tasks.matches import folders, shortened
from tasks.run import Progress, Run
from tasks.shot import Shot
from tasks.store.pairs import Match, PairPacks
from tasks.store.pairs import Pair as Names

PACK_BYTES = 256 << 20
"""Unpacked matches that are held before they are written: as much memory as they take, however many are asked for."""
GPU_BATCH = 8

Pair = tuple[int, int]
"""(target, source): two shot-relative frames."""
Picture = npt.NDArray[np.uint8]
T = TypeVar("T")


def device_of(engines: EnginePool) -> str:
    """Where pairs are matched: on the engines' device if this process has it too, else on the CPU."""
    named = engines.computes_on
    return named if named == "cpu" or torch.cuda.is_available() else "cpu"


def match(config: DeflickerConfig, pairs: Sequence[tuple[Picture, Picture]], device: str = "cpu") -> list[Match]:
    """The match of each (target, source), uint8 [H,W,3] of one size, in the way the job asks for.

    Errors are `matches.shortened`. Whoever adds to packs matches by this, so that a pair has one value.
    """
    if config.correspondence == "flow":
        found = [flow_match(target, relit(target, source), config.patch) for target, source in pairs]
    else:
        targets, sources = (np.stack(side) for side in zip(*pairs, strict=True))
        plan = Plan(config.patch, config.seed)
        found = frame_match(targets, sources, plan, device=device)
    return [(offsets, shortened(error)) for offsets, error in found]


class Matcher:
    """Matches pairs on this run's device, a few ahead of who takes them; use it in a `with`."""

    def __init__(self, run: Run) -> None:
        self._config, self._device = run.job.deflicker, device_of(run.engines)
        gpu = self._device != "cpu" and run.job.deflicker.correspondence == "patchmatch"
        self._batch = GPU_BATCH if gpu else 1
        self._threads = 1 if gpu else max(1, run.engines.workers or os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._threads)

    def __enter__(self) -> Matcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def each(self, items: Iterable[T], pictures: Callable[[T], tuple[Picture, Picture]]) -> Iterator[tuple[T, Match]]:
        """Every item with the match of its (target, source) `pictures`, in order."""
        coming, waiting = iter(items), deque[tuple[list[T], Future[list[Match]]]]()
        while batch := list(islice(coming, self._batch)):
            pairs = [pictures(item) for item in batch]
            waiting.append((batch, self._pool.submit(match, self._config, pairs, self._device)))
            if len(waiting) > self._threads:
                yield from _taken(*waiting.popleft())
        while waiting:
            yield from _taken(*waiting.popleft())


def _taken(batch: Sequence[T], found: Future[list[Match]]) -> Iterator[tuple[T, Match]]:
    return zip(batch, found.result(), strict=True)


@dataclass
class Added:
    """What a run added to the packs, and the bytes of every pack that it leans on, by path."""

    pairs: int = 0
    bytes: int = 0
    packs: dict[str, int] = field(default_factory=dict)


def add_missing(
    run: Run,
    shot: Shot,
    base: str,
    pairs: Iterable[Pair],
    target: Callable[[int], Picture],
    source: Callable[[int], Picture],
) -> Added:
    """Match those of `pairs` that no pack under `base` holds, folder after folder; `target` and `source` give frames.

    Frames are asked for in the order of (target, source). Raises Interrupted between two folders.
    """
    packs, added, digests, done = PairPacks(run.store), Added(), shot.digests, 0
    where, ordered = folders(base, digests), sorted(pairs)
    most = max(1, PACK_BYTES // (6 * shot.size[0] * shot.size[1]))

    def write(folder: str, fresh: Mapping[Names, Match]) -> None:
        added.bytes += packs.write(folder, fresh)
        added.pairs += len(fresh)

    with Matcher(run) as matcher:
        for folder, grouped in groupby(ordered, key=lambda pair: where[pair[0]]):
            some = list(grouped)
            frames = {(digests[t], digests[s]): (t, s) for t, s in some}
            missing, fresh = packs.missing(folder, frames), dict[Names, Match]()
            for name, found in matcher.each(missing, partial(_pictures, frames, target, source)):
                fresh[name] = found
                if len(fresh) == most:
                    write(folder, fresh)
                    fresh = {}
            if fresh:
                write(folder, fresh)
            added.packs |= packs.sizes(folder, frames)
            done += len(some)
            run.observe(Progress(run.source, "correspond", done, len(ordered)))
            if done < len(ordered) and run.should_stop():  # a list of pairs not all there must never be published
                raise Interrupted(
                    f"stopped in correspond; {done} of {len(ordered)} pairs are kept, run it again to go on"
                )
    return added


def _pictures(
    frames: Mapping[Names, Pair], target: Callable[[int], Picture], source: Callable[[int], Picture], name: Names
) -> tuple[Picture, Picture]:
    return target(frames[name][0]), source(frames[name][1])
