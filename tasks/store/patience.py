"""A few more tries where a storage back end stumbles (503, time-out, dropped connection); nothing else is tried again.

Every request of a store may be made twice: objects are written whole, and deleting twice is deleting. Below this,
s3fs tries some of its own errors again; above it, a whole stage is tried again after longer delays (`flows.video`).
Knows no request by name.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from tasks.failure import classify

DELAYS = (0.05, 0.2, 0.8, 2.0)  # seconds before the second, third ... try, give or take a half

T = TypeVar("T")


def patiently(request: Callable[[], T], delays: Sequence[float] = DELAYS) -> T:
    """What `request` returns, after at most `len(delays)` more tries; raises what the last one raised.

    Only failures that `tasks.failure` calls transient are worth another try: a full disk stays full.
    """
    for delay in delays:
        try:
            return request()
        except Exception as error:
            if classify(error) != "transient":
                raise
        time.sleep(delay * random.uniform(0.5, 1.5))  # the workers of a run must not all come back at once
    return request()
