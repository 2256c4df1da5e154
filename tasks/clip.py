"""`Clip`: one of the videos of a job, probed and decoded, as the stages after that are handed it. Facts only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.decode import decode, index_of
from tasks.probe import facts_of, probe
from tasks.recorded import Do
from tasks.ref import Ref
from tasks.run import Run
from tasks.video.facts import ClipFacts, ClipIndex


@dataclass(frozen=True)
class Clip:
    """A local file with what its container says and what decoding it once said."""

    path: Path
    facts: ClipFacts
    index: ClipIndex
    decoded: Ref


def open_clip(run: Run, staged: Do, path: Path, part: str = "") -> Clip:
    """Probe and decode `run.source`, whose local copy is at `path`; `part` tells it from others in the stages' names.

    Raises a `VideoError` when it is refused.
    """
    probed = staged("probe", part, lambda: probe(run, path))
    facts = facts_of(run, probed)
    decoded = staged("decode", part, lambda: decode(run, probed, facts, path))
    return Clip(path, facts, index_of(run, decoded), decoded)
