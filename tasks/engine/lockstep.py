"""The lockstep of shards over lanes: which worker publishes what for whom in every phase of a step.

One orchestration for threads and for Ray actors; a `Lane` is all that differs. From the exchanges that a program
declares it works out what must travel; a worker is asked only for the windows that others need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from configs.errors import PlanError
from models.sampling import Window
from tasks.engine.protocol import Described, Future, Lane, StepReport
from tasks.engine.records import LogLine
from tasks.engine.room import check_room
from tasks.engine.shard import windows_needed
from tasks.programs import ShotSpec

Wait = Callable[[Sequence[Future]], list[Any]]
QUEUED = 3  # calls of a `map` per lane: one at work, the next ones on their way


def cut_shards(windows: int, workers: int, shard_windows: int | None = None) -> list[tuple[int, ...]]:
    """Runs of whole windows: of `shard_windows` each, or as even as can be over the workers."""
    if shard_windows:
        return [tuple(range(k, min(k + shard_windows, windows))) for k in range(0, windows, shard_windows)]
    count = min(max(workers, 1), windows)
    edges = [round(n * windows / count) for n in range(count + 1)]
    return [tuple(range(a, b)) for a, b in pairwise(edges)]


@dataclass
class _Placed:
    spec: ShotSpec
    windows: tuple[Window, ...]
    shards: list[tuple[int, ...]]
    described: Described


class Lockstep:
    """Drives shards placed on `lanes`; `wait` turns futures into values and raises when a lane is lost.

    The verbs of `Engine` that are alike for threads and actors; an engine adds how lanes come, heal and go.
    """

    def __init__(self, lanes: Sequence[Lane], wait: Wait, shard_windows: int | None = None) -> None:
        self.lanes, self.wait, self.shard_windows = list(lanes), wait, shard_windows
        self._placed: _Placed | None = None

    def place(self, spec: ShotSpec, windows: Sequence[Window]) -> Described:
        """Build the program on every lane and cut the shot into shards; whole-shot exchanges make it one shard.

        Errors: PlanError when there are no frames, or more than the workers' memory holds.
        """
        shards = cut_shards(len(windows), len(self.lanes), self.shard_windows)
        described: Described = self._place(spec, windows, shards)
        if len(shards) > 1 and any(e.whole_shot for phase in described.phases for e in phase):
            shards = [tuple(range(len(windows)))]
            described = self._place(spec, windows, shards)
        self._check_room(windows, spec.size, shards)
        self._placed = _Placed(spec, tuple(windows), shards, described)
        return described

    def check_room(self, windows: Sequence[Window], size: tuple[int, int]) -> None:
        """Refuse a shot whose latents at working size `size` the workers cannot hold. Errors: PlanError."""
        self._check_room(windows, size, cut_shards(len(windows), len(self.lanes), self.shard_windows))

    def _check_room(self, windows: Sequence[Window], size: tuple[int, int], shards: list[tuple[int, ...]]) -> None:
        self.wait(self.everywhere("clear"))  # all of them first: they may share a memory
        frames = [0] * len(self.lanes)
        for s, shard in enumerate(shards):
            frames[s % len(frames)] += sum(len(windows[k].frames) for k in shard)
        check_room(self.wait(self.everywhere("room", size)), frames)

    def _place(self, spec: ShotSpec, windows: Sequence[Window], shards: list[tuple[int, ...]]) -> Described:
        futures = []
        for n, lane in enumerate(self.lanes):
            mine = {s: shard for s, shard in enumerate(shards) if s % len(self.lanes) == n}
            if mine:
                futures += lane.call("place", spec, tuple(windows), mine)
        if not futures:
            raise PlanError("a shot of no frames cannot be placed; check the input's `frames` range")
        described: Described = self.wait(futures)[0]
        return described

    def restore(self, step: int, parts: Mapping[int, Any] | None) -> None:
        """Start every shard at `step` from committed parts (by window), or from the beginning."""
        placed = self._here()
        futures = []
        for s, shard in enumerate(placed.shards):
            own = {k: parts[k] for k in shard} if parts else None
            futures += self._lane(s).call("start", s, step, own)
        self.wait(futures)

    def run(self, start: int, commit_every: int) -> Iterator[StepReport]:
        """Steps `start` .. end. A step is queued before the one ahead of it is waited for: no idle gap."""
        placed = self._here()
        ahead: deque[tuple[int, list[Future], list[Future]]] = deque()
        last = placed.described.num_steps
        for step in range(start, last):
            done = self._step(step, "complete")
            saved: list[Future] = []
            if (step + 1) % commit_every == 0 or step + 1 == last:
                saved = [f for s in range(len(placed.shards)) for f in self._lane(s).call("save", s, step + 1)]
            ahead.append((step + 1, done, saved))
            if len(ahead) > 1:
                yield self._report(*ahead.popleft())
        while ahead:
            yield self._report(*ahead.popleft())

    def finish(self) -> list[Any]:
        """Results of `finish` of all windows, in order of windows."""
        placed = self._here()
        kept = self.wait(self._step(placed.described.num_steps, "finish"))
        return [result for shard in kept for result in shard]

    def _report(self, step: int, done: list[Future], saved: list[Future]) -> StepReport:
        self.wait(done)
        parts = tuple(part for shard in self.wait(saved) for part in shard)
        return StepReport(step, len(self._here().windows), parts)

    def logs(self) -> list[LogLine]:
        """What the lanes logged; waits for what is queued in them."""
        return [line for lines in self.wait(self.everywhere("drain_logs")) for line in lines]

    def everywhere(self, method: str, *args: Any) -> list[Future]:
        """Queue a worker method on every lane, behind what it is asked for already."""
        return [future for lane in self.lanes for future in lane.call(method, *args)]

    def map(self, method: str, items: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """Call a worker method once per item, spread over the lanes; results in order of items.

        A lane has `QUEUED` calls at most: arguments are not all underway at once, and who stops asking stops the work.
        """
        coming: deque[Future] = deque()
        for n, item in enumerate(items):
            if len(coming) == QUEUED * len(self.lanes):
                yield self.wait([coming.popleft()])[0]
            coming += self.lanes[n % len(self.lanes)].call(method, *item)
        while coming:
            yield self.wait([coming.popleft()])[0]

    def _step(self, step: int, last_call: str) -> list[Future]:
        """Queue all calls of one step; returns the futures of its last call on every shard."""
        placed = self._here()
        phases = placed.described.phases[step]
        needs = []
        for exchange in phases:
            needs.append(
                [
                    sorted(
                        {j for k in shard for j in windows_needed(exchange, placed.windows[k], placed.windows)}
                        - {*shard}
                    )
                    for shard in placed.shards
                ]
            )
        owner = {k: s for s, shard in enumerate(placed.shards) for k in shard}
        foreign: dict[int, Future] = {}
        for phase in range(len(phases)):
            wanted: dict[int, list[int]] = {}
            for k in sorted({k for need in needs[phase] for k in need}):
                wanted.setdefault(owner[k], []).append(k)
            published: dict[int, Future] = {}
            # Others' values of the phase before are handed over with this call, published for or not.
            for s in range(len(placed.shards)):
                keys = needs[phase - 1][s] if phase else []
                mine = wanted.get(s, [])
                if not keys and not mine:
                    continue
                futures = self._lane(s).call(
                    "publish",
                    s,
                    step,
                    phase,
                    tuple(mine),
                    tuple(keys),
                    *(foreign[k] for k in keys),
                    returns=len(mine),
                )
                published.update(zip(mine, futures, strict=True))
            foreign = published
        done = []
        for s in range(len(placed.shards)):
            keys = needs[-1][s] if phases else []
            done += self._lane(s).call(last_call, s, step, tuple(keys), *(foreign[k] for k in keys))
        return done

    def _lane(self, shard: int) -> Lane:
        return self.lanes[shard % len(self.lanes)]

    def _here(self) -> _Placed:
        assert self._placed is not None, "place() first"
        return self._placed
