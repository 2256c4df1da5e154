"""The job that benchmarks share: the pocket preset, one style, no report arms."""

from __future__ import annotations

from typing import Any

from configs.job import RestyleJob
from configs.presets import load_preset


def pocket_job(preset: str = "pocket", style: str = "watercolor", **changes: Any) -> RestyleJob:
    """The preset with `changes` laid over its top-level keys."""
    return RestyleJob.model_validate({**load_preset(preset), "style": style, **changes})
