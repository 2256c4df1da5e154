"""What a report says of single shots: which asked for something of their own, and which ran with less memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from configs.job import RestyleJob
from tasks.rungs import rung_in_words
from tasks.store import Manifest


def numerics_run(shots: Sequence[Manifest]) -> dict[str, Any]:
    """The numerics class that the shots really ran in, which need not be the one asked for."""
    ran = [dict(shot.preimage["numerics"]) for shot in shots]
    if all(one == ran[0] for one in ran):
        return ran[0]
    return {**ran[0], "rung": "not the same for all shots: see the notes"}


def shot_notes(job: RestyleJob, shots: Sequence[Manifest]) -> list[str]:
    """One sentence per shot that is not like the job says; of memory, only where shots differ or savers were needed."""
    asked = job.model.model_dump()
    found = []
    for number, manifest in enumerate(shots, 1):
        own = job.shots.get(str(number))
        if own is not None and (changes := own.model_dump(exclude_none=True)):
            said = ", ".join(f"{name} {value!r}" for name, value in changes.items())
            found.append(f"Shot {number} has its own {said}.")
        rung = manifest.preimage["numerics"]["rung"]
        if any(on and not asked[saver] for saver, on in rung.items()):
            found.append(f"Shot {number} did not fit the device as asked; it ran with {rung_in_words(rung)}.")
    return found
