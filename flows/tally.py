"""What became of the sources of a job: results, errors, previews, and one word for all of it. Runs nothing itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from configs.deflicker_job import DeflickerJob
from configs.errors import Interrupted, SteadyframeError
from configs.job import RestyleJob
from flows.result import ErrorEntry, JobResult, PreviewSheet, Status
from tasks.run import StageRecord, VideoResult, WindowSteps

if TYPE_CHECKING:
    from flows.replaying import ReplayRequest

log = logging.getLogger("steadyframe")


@dataclass
class Tally:
    """What became of the sources of a job so far; survives the exception that ends the loop."""

    job_id: str = ""
    videos: list[VideoResult] = field(default_factory=list)
    errors: list[ErrorEntry] = field(default_factory=list)
    previews: list[PreviewSheet] = field(default_factory=list)
    unfinished: list[StageRecord] = field(default_factory=list)  # stages of videos that failed or were stopped later

    def status(self) -> Status:
        """The one word of the JSON contract; `reused` only when no stage of any video was computed."""
        if any(issubclass(error.kind, Interrupted) for error in self.errors):
            return "interrupted"
        if self.errors:
            return "partial" if self.videos else "failed"
        stages = [stage for video in self.videos for stage in video.stages]
        return "reused" if stages and all(stage.status == "reused" for stage in stages) else "completed"

    def attempt(
        self,
        named: str,
        work: Callable[[list[StageRecord]], VideoResult],
        dead: Callable[[Exception], object] = lambda error: None,
    ) -> bool:
        """Do the work of one video and note what became of it; False when it was interrupted.

        `work` is handed a list and puts every finished stage into it; `dead` is handed the error of a video that
        failed.
        """
        finished: list[StageRecord] = []
        try:
            self.videos.append(work(finished))
        except (Interrupted, KeyboardInterrupt) as stop:
            self.unfinished += finished
            self.errors.append(ErrorEntry.of(stop, named))
            return False
        except Exception as error:  # also our own faults: no reason to leave the other videos undone
            if not isinstance(error, SteadyframeError):
                log.debug("unexpected error on %s", named, exc_info=True)
            self.unfinished += finished
            self.errors.append(ErrorEntry.of(error, named))
            dead(error)
        return True

    def result(self, job_id: str, job: RestyleJob | DeflickerJob | ReplayRequest) -> JobResult:
        """The tally as the JSON contract has it."""
        steps = [video.window_steps for video in self.videos]
        return JobResult(
            job=job_id,
            method=job.method,
            status=self.status(),
            outputs=[video.output for video in self.videos],
            stages=[stage for video in self.videos for stage in video.stages] + self.unfinished,
            window_steps=WindowSteps(
                total=sum(s.total for s in steps),
                computed=sum(s.computed for s in steps),
                reused=sum(s.reused for s in steps),
            ),
            deflicker_steps=sorted({step for video in self.videos for step in video.deflicker_steps}),
            errors=list(self.errors),
            previews=list(self.previews),
        )
