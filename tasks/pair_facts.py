"""What matching the frames of a video took in a finished run, gathered from what stage `correspond` left."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from tasks.run import Run, StageRecord
from tasks.store.keys import StageKey


class PairFacts(BaseModel):
    """Over all shots: `computed` of `pairs` were matched by this run, in `seconds`; the others by jobs before it.

    `bytes` is what the packs of matches take in the store, whoever wrote them.
    """

    model_config = ConfigDict(frozen=True)

    method: str
    pairs: int
    computed: int
    seconds: float
    bytes: int


def pair_facts(run: Run, stages: Iterable[StageRecord]) -> PairFacts | None:
    """What stage `correspond` did for these stages; None where it did not run.

    A shot is counted once, though several arms of a job ask for it; their time is counted each.
    """
    asked = [stage for stage in stages if stage.stage.split(" ")[0] == "correspond"]
    pairs, computed, held = dict[str, int](), dict[str, int](), dict[str, int]()
    for stage in asked:
        meta = run.store.require(StageKey("correspond", stage.key, {})).meta
        pairs[stage.key] = meta["pairs"]
        held |= meta["packs"]
        if stage.status == "computed":
            computed[stage.key] = meta["computed"]
    if not asked:
        return None
    return PairFacts(
        method=run.job.deflicker.correspondence,
        pairs=sum(pairs.values()),
        computed=sum(computed.values()),
        seconds=sum(stage.seconds for stage in asked),
        bytes=sum(held.values()),
    )
