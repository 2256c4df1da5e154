"""A shard: the windows of one shot that one worker holds, advanced through the phases of a step on demand.

Every window is a suspended generator (`models.sampling.sample`). A phase of a step is one exchange: a window
passes it once every window it needs has published. Windows advance depth first, so the tensors alive at a time
are those of a halo, not of a clip. Knows no transport: foreign tensors come in as arguments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from configs.errors import NumericsError
from models.sampling import Context, Exchange, Gathered, Program, Publish, State, StepDone, Window

Finished = Callable[[Window, State, dict[str, Any]], Any]


def windows_needed(exchange: Exchange, window: Window, windows: Sequence[Window]) -> tuple[int, ...]:
    """Indices of the windows that hold a frame which `window` needs for `exchange`."""
    size = windows[0].stop - windows[0].start
    return tuple(sorted({frame // size for frame in exchange.frames(window)}))


def stacked(frames: Sequence[int], rows: Mapping[int, tuple[Tensor, int]]) -> Gathered:
    """The rows of `frames` in one tensor, out of the windows' own: the copy that an exchange costs within a process."""
    return Gathered(tuple(frames), torch.stack([rows[frame][0][rows[frame][1]] for frame in frames]))


class Shard:
    """Windows `mine` of a shot under one program; `at[k]` is the phase of the current step window k waits in."""

    def __init__(self, program: Program, ctx: Context, windows: Sequence[Window], mine: Sequence[int]) -> None:
        self.program, self.ctx, self.windows, self.mine = program, ctx, tuple(windows), tuple(mine)
        self.states: dict[int, State] = {}
        self._runs: dict[int, Generator[Any, Any, Any]] = {}
        self._results: dict[int, dict[str, Any]] = {}
        self._at: dict[int, int] = {}
        self._values: dict[tuple[int, int], Tensor] = {}
        self._foreign: dict[tuple[int, int], Tensor] = {}
        self._needs: list[dict[int, tuple[int, ...]]] = []
        self._waiting: list[Counter[int]] = []
        self._step = 0
        self.most_held = 0  # published values alive at once, at most: what memory beyond the states comes from

    def start(self, step: int, states: Mapping[int, State] | None = None) -> None:
        """Begin at `step`, from committed `states` or, at step 0, from the program's own initial state."""
        self.states = {k: states[k] if states else self.program.initial(self.windows[k], self.ctx) for k in self.mine}
        self._runs = {}
        if step < self.program.num_steps:
            self._runs = {k: self.program.steps(self.windows[k], self.states[k], step, self.ctx) for k in self.mine}
        self._at = {}
        self._values, self._foreign = {}, {}

    def publish(self, step: int, phase: int, wanted: Sequence[int], foreign: Mapping[int, Tensor]) -> list[Tensor]:
        """Values that windows `wanted` publish in `phase`; `foreign` are others' values of the phase before."""
        self._enter(step)
        self._foreign.update({(phase - 1, k): value for k, value in foreign.items()})
        for k in wanted:
            self._advance(k, phase)
        return [self._values[phase, k] for k in wanted]

    def complete(self, step: int, foreign: Mapping[int, Tensor]) -> None:
        """Bring every window through the last phase of `step`; `foreign` are others' values of that phase."""
        self._enter(step)
        last = len(self._needs)
        self._foreign.update({(last - 1, k): value for k, value in foreign.items()})
        for k in self.mine:
            self._advance(k, last)
        self._at = {}
        self._values, self._foreign = {}, {}

    def finish(self, foreign: Mapping[int, Tensor], finished: Finished) -> list[Any]:
        """Run `finish` of every window; each result goes through `finished` as soon as it is there."""
        step = self.program.num_steps
        self._enter(step)
        last = len(self._needs)
        self._foreign.update({(last - 1, k): value for k, value in foreign.items()})
        kept = []
        for k in self.mine:
            self._advance(k, last)
            kept.append(finished(self.windows[k], self.states[k], self._results.pop(k)))
        self.clear()
        return kept

    def clear(self) -> None:
        """Let every state and value go, as a warm worker keeps this object until the next shot; `start` makes new."""
        self.states = {}
        self._at, self._results = {}, {}
        self._values, self._foreign, self._runs = {}, {}, {}

    def _enter(self, step: int) -> None:
        """Bring every window to the first yield of `step`, once."""
        if self._at:
            return
        self._step = step
        phases = self.program.phases(step)
        self._needs = [{k: windows_needed(e, self.windows[k], self.windows) for k in self.mine} for e in phases]
        self._waiting = [Counter(j for needed in needs.values() for j in needed) for needs in self._needs]
        if step == self.program.num_steps:
            self._runs = {k: self._finishing(k) for k in self.mine}
        self._at = dict.fromkeys(self.mine, -1)

    def _advance(self, k: int, phase: int) -> None:
        """Make window k wait in `phase` (its value of that phase published)."""
        while self._at[k] < phase:
            reply = None
            here = self._at[k]
            if here >= 0:
                reply = self._gather(k, here)
            try:
                wish = self._runs[k].send(reply)
            except StopIteration:
                wish = None
            self._at[k] = here + 1
            self._keep(k, wish)
            if here >= 0:
                self._drop(k, here)

    def _keep(self, k: int, wish: object) -> None:
        at, phases = self._at[k], len(self._needs)
        if isinstance(wish, Publish) and at < phases:
            self._values[at, k] = wish.value
            self.most_held = max(self.most_held, len(self._values))
        elif isinstance(wish, StepDone) and at == phases and self._step < self.program.num_steps:
            if not torch.isfinite(wish.state.latents).all():
                raise NumericsError(
                    f"latents of frames {self.windows[k].start}-{self.windows[k].stop - 1} became NaN or Inf at "
                    f"step {wish.step}; use dtype float32 or lower guidance_scale"
                )
            self.states[k] = wish.state
        elif not (wish is None and at == phases):
            raise AssertionError(f"window {k} did not follow its program: {wish!r} in phase {at} of {phases}")

    def _gather(self, k: int, phase: int) -> Gathered:
        needed = self._needs[phase][k]
        for j in needed:
            if j in self._at:
                self._advance(j, phase)
        exchange = self.program.phases(self._step)[phase]
        frames = exchange.frames(self.windows[k])
        size = self.windows[0].stop - self.windows[0].start
        parts = [self._values[phase, j] if j in self._at else self._foreign[phase, j] for j in needed]
        row = {}
        for j, part in zip(needed, parts, strict=True):
            row.update({j * size + r: (part, r) for r in range(part.shape[0])})
        return stacked(frames, row)

    def _drop(self, k: int, phase: int) -> None:
        """Window k has passed `phase`: free what no window of ours still waits for (others were sent theirs)."""
        for j in self._needs[phase][k]:
            self._waiting[phase][j] -= 1
            if not self._waiting[phase][j]:
                self._values.pop((phase, j), None)

    def _finishing(self, k: int) -> Generator[Publish, Gathered | None, None]:
        self._results[k] = yield from self.program.finish(self.windows[k], self.states[k], self.ctx)
