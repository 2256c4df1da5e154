"""The one sampling loop of every method, written per window; it knows no file, device, worker or log.

Legend: F frames, C latent channels, H W latent height and width. A *window* is a fixed run of frames of a shot.
The loop is a generator: where it needs frames beyond its own window it *publishes* its tensor and is sent back
what lies around it. Who fetches that, and from which machine, is the business of `tasks.engine` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

Phase = Literal["predict", "correct", "finish"]


@dataclass(frozen=True)
class Exchange:
    """A tensor that must be seen beyond its window: which one, when, and how far (in frames, clamped to the shot).

    `before`/`after` are frames either side of the window, `anchors` are shot-relative frames every window needs,
    `whole_shot` asks for everything (temporal FFT), which makes the shot one shard.
    """

    tensor: str
    phase: Phase
    before: int = 0
    after: int = 0
    anchors: tuple[int, ...] = ()
    whole_shot: bool = False

    def frames(self, window: Window) -> tuple[int, ...]:
        """Sorted shot-relative frames that `window` needs, itself included."""
        if self.whole_shot:
            return tuple(range(window.shot_frames))
        near = range(max(0, window.start - self.before), min(window.shot_frames, window.stop + self.after))
        return tuple(sorted({*near, *(a for a in self.anchors if 0 <= a < window.shot_frames)}))


@dataclass(frozen=True)
class Window:
    """Frames [start, stop) of one shot; `first_frame` is the shot's first frame counted in the whole clip."""

    index: int
    start: int
    stop: int
    shot_frames: int
    first_frame: int = 0

    @property
    def frames(self) -> range:
        """Shot-relative frame numbers of the window."""
        return range(self.start, self.stop)


def windows_of(shot_frames: int, size: int, first_frame: int = 0) -> tuple[Window, ...]:
    """Cut a shot into its windows of `size` frames (the last may be short)."""
    starts = range(0, shot_frames, size)
    return tuple(Window(k, s, min(s + size, shot_frames), shot_frames, first_frame) for k, s in enumerate(starts))


@dataclass(frozen=True)
class State:
    """What a window carries through the loop: `latents` x_t [F,C,H,W]; `x0` and `eps` of the current step;
    `extras` kept by corrections between steps (committed with the latents)."""

    latents: Tensor
    x0: Tensor | None = None
    eps: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Publish:
    """Yielded by a window: here is my `value` [F,...] (one row per own frame); send me what `exchange` asks for."""

    exchange: Exchange
    value: Tensor


@dataclass(frozen=True)
class StepDone:
    """Yielded by a window after each step: `state` may be committed as having `step` steps done."""

    step: int
    state: State


@dataclass(frozen=True)
class Gathered:
    """What a window is sent back: `value` [len(frames),...], row r is shot-relative frame `frames[r]`."""

    frames: tuple[int, ...]
    value: Tensor

    def take(self, wanted: Sequence[int]) -> Tensor:
        """Rows of the wanted frames, in that order (repeats allowed)."""
        row = {f: r for r, f in enumerate(self.frames)}
        return self.value[[row[f] for f in wanted]]


class Correspond(Protocol):
    """Source correspondence of one shot: for each pixel of frame `target`, where its match lies in frame `source`."""

    def __call__(self, target: int, source: int) -> tuple[Any, Any]:
        """(offsets int16 [H,W,2] as (dy,dx), error float32 [H,W]) as numpy arrays."""


@dataclass(frozen=True)
class Context:
    """What a window may ask of the outside: conditions by name and correspondence, both of the source clip.

    `condition(name, frames)` returns a tensor [len(frames),...] for shot-relative frames.
    """

    condition: Callable[[str, Sequence[int]], Tensor]
    correspond: Correspond


Asking = Generator[Publish, Gathered, State]


class Solver(Protocol):
    """Turns a prediction into (x0, eps), and (x0, eps) into the next latents (see `models.solver`)."""

    def clean(self, state: State, prediction: Tensor, step: int) -> State:
        """Fill `x0` and `eps` of the state from the network's output."""

    def step(self, state: State, step: int) -> State:
        """Latents of the next level from `x0` and `eps`."""


class Correction(Protocol):
    """A change to (x0, eps) inside the loop: deflicker, low-pass, background keep, latent field ...

    When active it publishes exactly its `exchanges`, in that order.
    """

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """What it publishes when active, in order."""

    def active(self, step: int) -> bool:
        """Whether it acts at this step."""

    def __call__(self, state: State, step: int, window: Window, ctx: Context) -> Asking:
        """Corrected state; may publish the tensors it declared and wait for their surroundings."""


Predict = Callable[[Gathered, int, Window, Context], Tensor]


@dataclass(frozen=True)
class Loop:
    """A method as data: what predicts, what solves, what corrects, over how many steps."""

    num_steps: int
    around: Exchange
    predict: Predict
    solver: Solver
    corrections: tuple[Correction, ...] = ()

    def phases(self, step: int) -> tuple[Exchange, ...]:
        """What a window publishes during `step`, in order; the engine plans the travel from this."""
        return (self.around, *(e for c in self.corrections if c.active(step) for e in c.exchanges))


def sample(
    loop: Loop, window: Window, state: State, ctx: Context, start: int = 0
) -> Generator[Publish | StepDone, Gathered | None, None]:
    """Run the loop on one window from step `start`; yields `Publish` (be sent `Gathered`) and `StepDone`.

    Predict the noise, make (x0, eps), let each correction change them, step. DDIM: arXiv 2010.02502 eq. 12;
    corrections on x0 with eps recomputed: DiffSynth, arXiv 2308.03463, section 3.
    """
    for i in range(start, loop.num_steps):
        around = yield Publish(loop.around, state.latents)
        assert around is not None
        state = loop.solver.clean(state, loop.predict(around, i, window, ctx), i)
        del around  # a suspended window holds its latents, not its neighbours'
        for correction in loop.corrections:
            if correction.active(i):
                state = yield from _drive(correction(state, i, window, ctx))
        state = replace(loop.solver.step(state, i), x0=None, eps=None)
        yield StepDone(i + 1, state)


def _drive(asking: Asking) -> Generator[Publish | StepDone, Gathered | None, State]:
    """`yield from` with the wider send type of the loop."""
    try:
        wish = next(asking)
        while True:
            gathered = yield wish
            assert gathered is not None
            wish = asking.send(gathered)
    except StopIteration as done:
        result: State = done.value
        return result


def run_whole(program: Program, windows: Iterable[Window], ctx: Context) -> list[dict[str, Any]]:
    """Run a program on all windows of a shot in this process, by the definition: the oracle of every engine."""
    wins = list(windows)
    runs = [program.steps(w, program.initial(w, ctx), 0, ctx) for w in wins]
    states: list[State] = [State(torch.empty(0))] * len(wins)
    _lockstep(wins, runs, lambda k, done: states.__setitem__(k, done.state))
    results: list[dict[str, Any]] = [{} for _ in wins]

    def keep(k: int) -> Generator[Publish, Gathered | None, None]:
        results[k] = yield from program.finish(wins[k], states[k], ctx)

    _lockstep(wins, [keep(k) for k in range(len(wins))], lambda k, done: None)
    return results


def _lockstep(
    wins: list[Window], runs: Sequence[Generator[Any, Any, Any]], done: Callable[[int, StepDone], None]
) -> None:
    replies: list[Gathered | None] = [None] * len(wins)
    while True:
        wishes = []
        for k, run in enumerate(runs):
            try:
                wish = run.send(replies[k])
            except StopIteration:
                wish = None
            wishes.append(wish)
            if isinstance(wish, StepDone):
                done(k, wish)
        if all(w is None for w in wishes):
            return
        whole = torch.cat([w.value for w in wishes]) if isinstance(wishes[0], Publish) else None
        for k, (w, win) in enumerate(zip(wishes, wins, strict=True)):
            if whole is None:
                replies[k] = None
            else:
                frames = w.exchange.frames(win)
                replies[k] = Gathered(frames, whole[list(frames)])


class Program(Protocol):
    """What the engine runs on a shot: denoise of a method, or inversion. All windows ask in the same order."""

    @property
    def num_steps(self) -> int:
        """How many steps there are."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people: what of the job cannot be done as asked."""

    def phases(self, step: int) -> tuple[Exchange, ...]:
        """What every window publishes during `step`, in order; `step == num_steps` is `finish`."""

    def initial(self, window: Window, ctx: Context) -> State:
        """State before the first step."""

    def steps(
        self, window: Window, state: State, start: int, ctx: Context
    ) -> Generator[Publish | StepDone, Gathered | None, None]:
        """Steps `start` .. `num_steps`, yielding `StepDone` after each."""

    def finish(self, window: Window, state: State, ctx: Context) -> Generator[Publish, Gathered | None, dict[str, Any]]:
        """Results of the window after the last step, e.g. `{"frames": uint8 [F,H,W,3]}`."""
