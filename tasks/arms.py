"""Variants of a job that are rendered beside it as controls, and what any of them reads. Jobs in, jobs out."""

from __future__ import annotations

from typing import Any

from configs.job import RestyleJob
from models.methods.restyle import deflicker_steps


def arm_job(job: RestyleJob, arm: str) -> RestyleJob:
    """The same job as a control: without the deflicker (`control`), or with it after decoding only (`post`)."""
    changes: dict[str, dict[str, Any]] = {
        "control": {"enabled": False},
        "post": {"enabled": True, "steps": (), "post": True},
    }
    return job.model_copy(update={"deflicker": job.deflicker.model_copy(update=changes[arm])})


def needs_correspondence(job: RestyleJob) -> bool:
    """Whether a job reads cached correspondence: where it deflickers, unless it searches for every match itself."""
    return bool(deflicker_steps(job) or job.deflicker.filters_after) and job.deflicker.match != "fastblend"
