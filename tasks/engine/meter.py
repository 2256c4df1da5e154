"""Figures of a Ray worker, told by Ray's own exporter: how long its calls take, so how busy it is.

`ray_steadyframe_call_seconds` is scraped on the metrics port of every node, with Ray's labels of the process. A meter
that cannot be made (another Ray, no agent) measures nothing; it never stops a worker.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BOUNDARIES = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)
EXPORTED = {  # name -> labels; Ray puts `ray_` before it and adds the labels of its node and process
    "ray_steadyframe_call_seconds": ("method",),
    "ray_steadyframe_model_load_seconds": (),
}

LOG = logging.getLogger("steadyframe.worker")


class Meter:
    """Takes the time of a worker's calls."""

    def __init__(self) -> None:
        try:
            from ray.util.metrics import Gauge, Histogram

            about = "Seconds of a worker's calls; their sum over time is its busy share."
            self._calls = Histogram(
                "steadyframe_call_seconds", description=about, boundaries=list(BOUNDARIES), tag_keys=("method",)
            )
            self._loaded = Gauge("steadyframe_model_load_seconds", description="What loading the model took.")
        except Exception as error:  # figures are a courtesy
            LOG.warning("no figures of this worker: %s", error)
            self._calls = self._loaded = None

    @contextmanager
    def call(self, method: str) -> Iterator[None]:
        """Time a call, however it ends."""
        began = time.perf_counter()
        try:
            yield
        finally:
            if self._calls is not None:
                with suppress(Exception):
                    self._calls.observe(time.perf_counter() - began, tags={"method": method})

    def loaded(self, seconds: float) -> None:
        """Say how long loading the model took."""
        if self._loaded is not None:
            with suppress(Exception):
                self._loaded.set(seconds)
