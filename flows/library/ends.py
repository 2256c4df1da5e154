"""What became of the videos of a library, as the JSON contract, an exit state and rows of its page tell it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from configs.errors import Interrupted
from configs.library import LibraryJob
from flows.library.plan import Video
from flows.result import ErrorEntry, JobResult, Status
from tasks.failure import classify
from tasks.library_page import LibraryRow
from tasks.run import VideoResult, WindowSteps
from tasks.store import Store
from tasks.thumbnail import thumbnail_of


class LibraryFacts(BaseModel):
    """Counts of a library run: `dead` failed for good, `waiting` were not reached; `page` is its index.

    `dead_before` of the dead died in an earlier run, are unchanged since, and were not tried again.
    """

    model_config = ConfigDict(frozen=True)

    videos: int = 0
    computed: int = 0
    reused: int = 0
    dead: int = 0
    dead_before: int = 0
    waiting: int = 0
    most_in_flight: int = 0
    seconds: float = 0.0
    page: str = ""


class LibraryResult(JobResult):
    """The JSON contract with the counts of the library."""

    library: LibraryFacts = LibraryFacts()

    @property
    def exit_code(self) -> int:
        """As any job; a library that failed by its share of dead videos has finished, with failures: 3."""
        return 3 if self.status == "failed" and self.outputs else super().exit_code


@dataclass(frozen=True)
class End:
    """One video's end: its result, or its error; `seconds` this run spent on it.

    `died_in` is the earlier job that it died in, unchanged since, where this run did not try it again.
    """

    video: Video
    result: VideoResult | None = None
    error: BaseException | None = None
    seconds: float = 0.0
    died_in: str = ""

    @property
    def computed(self) -> bool:
        """Whether any stage of it was computed by this run."""
        return self.result is not None and any(stage.status == "computed" for stage in self.result.stages)

    @property
    def dead(self) -> bool:
        """Whether it failed; one that was stopped did not."""
        stopped = isinstance(self.error, (Interrupted, KeyboardInterrupt)) or self.signal
        return self.error is not None and not stopped

    @property
    def signal(self) -> bool:
        """Whether a signal ended it, of the system or of the flow engine; a call of exit() is a fault like others."""
        return self.error is not None and not isinstance(self.error, (Exception, SystemExit, GeneratorExit))


def status_of(job: LibraryJob, videos: int, ends: Sequence[End], stopped: bool) -> Status:
    """The one word of the contract: `failed` when nothing worked, or more than `failed_share` of all videos died."""
    dead = sum(end.dead for end in ends)
    if stopped:
        return "interrupted"
    if dead and (dead > job.failed_share * videos or not any(end.result for end in ends)):
        return "failed"
    if any(end.error for end in ends):
        return "partial"
    return "completed" if any(end.computed for end in ends) else "reused"


def state_name(facts: LibraryFacts) -> str:
    """Name of the Prefect state of a library that ended well: `Completed`, `Completed, 6 dead`, `Reused`."""
    if facts.dead:
        return f"Completed, {facts.dead} dead"
    return "Completed" if facts.computed else "Reused"


def result_of(job_id: str, status: Status, ends: Iterable[End], facts: LibraryFacts) -> LibraryResult:
    """Gather ends, in the order of the listing, into the contract's object."""
    ordered = sorted(ends, key=lambda end: end.video.number)
    done = [end.result for end in ordered if end.result is not None]
    steps = [result.window_steps for result in done]
    return LibraryResult(
        job=job_id,
        method="library",
        status=status,
        outputs=[result.output for result in done],
        stages=[stage for result in done for stage in result.stages],
        window_steps=WindowSteps(
            total=sum(s.total for s in steps),
            computed=sum(s.computed for s in steps),
            reused=sum(s.reused for s in steps),
        ),
        deflicker_steps=sorted({step for result in done for step in result.deflicker_steps}),
        errors=[ErrorEntry.of(end.error, end.video.uri) for end in ordered if end.error and not end.signal],
        library=facts,
    )


def rows_of(job_id: str, videos: Sequence[Video], ends: Sequence[End], store: Store) -> list[LibraryRow]:
    """Rows of the page, in the order of the listing; a video that was not reached is `waiting`."""
    by_number = {end.video.number: end for end in ends}
    ordered = sorted(videos, key=lambda video: video.number)
    return [_row(job_id, video, by_number.get(video.number), store) for video in ordered]


def _row(job_id: str, video: Video, end: End | None, store: Store) -> LibraryRow:
    name, source = video.source.below, video.uri
    if end is None or (end.result is None and not end.dead):
        return LibraryRow(name=name, status="waiting", source=source)
    if end.result is None:
        assert end.error is not None
        return LibraryRow(
            name=name,
            status="dead",
            source=source,
            seconds=end.seconds,
            error_class=type(end.error).__name__,
            message=str(end.error),
            failure=classify(end.error),
            replay=f"steadyframe replay --job {end.died_in or job_id}",
        )
    output = end.result.output
    return LibraryRow(
        name=name,
        status="done" if end.computed else "reused",
        source=source,
        output=output.uri,
        report=output.report,
        metrics=output.metrics,
        review_reasons=tuple(output.metrics.get("review_reasons", ())) if output.review else (),
        seconds=end.seconds,
        frames=output.frames,
        thumbnail=thumbnail_of(store, end.result.stages),
    )
