"""One call of each shape before any work, so that a device that is too small says so while nothing is lost.

Runs the program itself on one window, with what its neighbours would send made up, and keeps nothing of it. What does
not fit raises here what it would have raised hours later.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch

from models.sampling import Context, Gathered, Program, Publish, StepDone, Window


def rehearse(program: Program, context: Context, window: Window) -> None:
    """Run the step with the most exchanges (the deflicker's, where there is one) and the end, on `window`."""
    state = program.initial(window, context)
    step = max(range(program.num_steps), key=lambda n: len(program.phases(n)))
    done = _alone(program.steps(window, state, step, context), window)
    end = done.state if isinstance(done, StepDone) else state
    _alone(program.finish(window, end, context), window)
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _alone(asking: Generator[Any, Gathered | None, Any], window: Window) -> StepDone | None:
    """Bring a generator to its first `StepDone`, or its end, answering each exchange from the window's own rows."""
    reply: Gathered | None = None
    while True:
        try:
            wish = asking.send(reply)
        except StopIteration:
            return None
        if not isinstance(wish, Publish):
            asking.close()
            return wish if isinstance(wish, StepDone) else None
        frames = wish.exchange.frames(window)
        reply = Gathered(frames, wish.value[[frame % len(wish.value) for frame in frames]])
