"""SIGTERM as Ctrl-C: for the time of a block, a polite kill lets `finally` run and a result be written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Make SIGTERM raise KeyboardInterrupt inside the block; does nothing outside the main thread.

    Prefect's flow engine installs its own handler inside a run and, on the way out, sends the signal again to the
    one it found: with the default there, the process would die before its clean-up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt("SIGTERM")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
