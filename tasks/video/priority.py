"""An encoder does not change the priority of the process that opened it.

SVT-AV1, run by root (as in most containers), makes its threads and the caller real-time (SCHED_FIFO 99). Whatever spins
in that process then keeps its machine from doing anything else, and torch's own barriers wait for threads that get no
core: seen as a denoise that stood still.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def priority_kept() -> Iterator[None]:
    """Give this process and its threads back the scheduling policy that the caller has now. Nothing where there is
    no such policy (other systems than Linux)."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, wanted = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in os.listdir("/proc/self/task"):
            with suppress(OSError):  # ended meanwhile
                if os.sched_getscheduler(int(thread)) != policy:
                    os.sched_setscheduler(int(thread), policy, wanted)
