"""Planning a deflicker job: what matching its frames takes, and whether the matches fit; decodes and matches nothing.

Headers are read, and what the store has of earlier jobs on the guide; until its decode pass it counts as one shot.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from configs.deflicker_job import DeflickerJob
    from tasks.correspond_forecast import PairForecast
    from tasks.engine.pool import EnginePool
    from tasks.store import Store
    from tasks.video.facts import ClipFacts


@dataclass(frozen=True)
class DeflickerPlan:
    """What one deflickered video takes; `shots` is a lower bound until `shots_known` (they are found while decoding).

    `correspondence` is what matching takes; its bytes are nothing where no match is kept. `frame_bytes` is about what
    the finished frames take in the store, `free` what its disk has left (None: not known).
    """

    source: str
    guide: str
    frames: int
    width: int
    height: int
    working_width: int
    working_height: int
    shots: int
    shots_known: bool
    keyframes: int
    keep_matches: bool
    correspondence: PairForecast
    frame_bytes: int
    free: int | None

    @property
    def fits(self) -> bool:
        """Whether the job would begin: the disk holds the matches, as far as is known."""
        return self.free is None or self.correspondence.bytes <= self.free

    def as_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {**asdict(self), "fits": self.fits}


def plan_deflicker(job: DeflickerJob, store: Store, engines: EnginePool) -> DeflickerPlan:
    """Plan the one video of a deflicker job. Errors: VideoError, ConfigError."""
    from flows.filtering import one_video
    from flows.planning import decoded_index
    from tasks.correspond_forecast import forecast_of
    from tasks.key_images import check_shape
    from tasks.matcher import device_of
    from tasks.video.frames import working_size
    from tasks.video.source import probe

    stages = job.for_stages()
    guide = probe(one_video(job.guide), job.input)
    kept = probe(one_video(job.source), job.input) if job.source else guide
    named = [f"{facts.uri} is {facts.width}x{facts.height}" for facts in (kept, guide)]
    check_shape(named[0], (kept.height, kept.width), named[1], (guide.height, guide.width))
    index = decoded_index(store, guide, stages)
    first, last = job.input.frames or (0, guide.frames)
    frames = index.frames if index else max(0, min(last, guide.frames) - first)
    shots = index.shots if index else ((0, frames),)
    size = working_size(kept, job.working_size, 1)
    found = forecast_of(
        store,
        job.deflicker,
        [(start, stop, _asked(job, start, stop, first, stages.window.size)) for start, stop in shots],
        size,
        index.digests if index else None,
        device=device_of(engines),
    )
    return DeflickerPlan(
        source=kept.uri if job.source else "",
        guide=guide.uri,
        frames=frames,
        width=kept.width,
        height=kept.height,
        working_width=size[1],
        working_height=size[0],
        shots=len(shots),
        shots_known=index is not None,
        keyframes=len(job.keyframes),
        keep_matches=job.keep_matches,
        correspondence=found if job.keep_matches else replace(found, bytes=0),
        frame_bytes=_frame_bytes(kept, frames),
        free=store.blobs.free_bytes(),
    )


def _asked(job: DeflickerJob, start: int, stop: int, first: int, window: int) -> Collection[tuple[int, int]]:
    """The pairs of the shot [start, stop) of frames counted from `first` in the clip."""
    from models.keyframes import pairs_for_keys
    from models.sampling import windows_of
    from tasks.correspond import pairs_asked

    if not job.keyframes:
        return pairs_asked(windows_of(stop - start, window), job.deflicker)
    keys = [key.frame - first - start for key in job.keyframes]
    return pairs_for_keys(stop - start, [key for key in keys if 0 <= key < stop - start])


def _frame_bytes(kept: ClipFacts, frames: int) -> int:
    """Finished frames are kept as PNG, about half of what they are unpacked."""
    return frames * kept.height * kept.width * 3 // 2
