"""The ladder of memory savers that a shot steps down when it does not fit its device, and where each shape stands.

A rung is part of the numerics class, so of every key that holds floats. The window is not on the ladder: it belongs to
the job. Knows no stage.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from types import MappingProxyType

from configs.job import ModelConfig, RestyleJob

SAVERS: Mapping[str, str] = MappingProxyType(
    {
        "vae_slicing": "the VAE frame by frame",
        "vae_tiling": "the VAE tile by tile",
        "cpu_offload": "weights in main memory between calls",
    }
)
"""From the first rung down to the last, each with what it does, in words."""


def lower_rung(model: ModelConfig, device: str) -> ModelConfig | None:
    """The same model with its next saver on; None below the last. Weights are only moved away from a CUDA device."""
    for saver in SAVERS:
        if saver == "cpu_offload" and (not device.startswith("cuda") or model.path == "dry"):
            continue
        if not getattr(model, saver):
            return model.model_copy(update={saver: True})
    return None


def rung_in_words(rung: Mapping[str, bool]) -> str:
    """A rung of a numerics class for people: 'full memory', or its savers."""
    return ", ".join(words for saver, words in SAVERS.items() if rung.get(saver)) or "full memory"


class Rungs:
    """Where shots of the same shape start: on the rung that the last of them fell to, not at the top again.

    A shape is what decides how much a call takes: the model as asked for, the working size, the window, the pattern,
    guidance. Another shape is tried at the top. Thread-safe.
    """

    def __init__(self) -> None:
        self._fallen: dict[str, ModelConfig] = {}
        self._lock = threading.Lock()

    def start(self, job: RestyleJob, size: tuple[int, int]) -> ModelConfig:
        """The model as a shot of this job at working size `size` should first be tried."""
        with self._lock:
            return self._fallen.get(_shape(job, size), job.model)

    def fell(self, job: RestyleJob, size: tuple[int, int], tried: ModelConfig, device: str) -> ModelConfig | None:
        """`tried` did not fit: the next rung, remembered for what comes; None when there is none."""
        lower = lower_rung(tried, device)
        if lower is not None:
            with self._lock:
                self._fallen[_shape(job, size)] = lower
        return lower


def _shape(job: RestyleJob, size: tuple[int, int]) -> str:
    call = [*size, job.window.size, *job.attention.pattern, job.guidance_scale != 1.0, job.deflicker.enabled]
    return json.dumps([job.model.model_dump(mode="json"), *call])
