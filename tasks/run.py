"""What every stage of one video is handed: the job, the store, the workers, and where progress goes.

Knows no stage; nothing in it travels between machines (workers get their own small plan).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from configs.job import RestyleJob
from configs.kept import Kept
from configs.redact import redact

if TYPE_CHECKING:
    from tasks.engine.pool import EnginePool
    from tasks.purse import Purse
    from tasks.store import Store


@dataclass(frozen=True)
class Progress:
    """One sign of life: `done` of `total` units (windows or window-steps) of a stage, and a log line if any.

    `table` is more about the line, for those who have room to show it.
    """

    source: str
    stage: str
    done: int = 0
    total: int = 0
    message: str = ""
    level: Literal["debug", "info", "warning", "error"] = "info"
    table: tuple[dict[str, Any], ...] = ()
    event: Literal["", "recovery", "oom"] = ""  # for those who count

    def __post_init__(self) -> None:
        for name in ("source", "message"):  # both end up in logs
            object.__setattr__(self, name, redact(getattr(self, name)))


def silent(progress: Progress) -> None:
    """The observer that watches nothing."""


@dataclass(frozen=True)
class Run:
    """One video of a job on this machine's resources.

    `source` is the URI as given, `relative` its folder below a folder source (kept below `job.out`), `should_stop`
    is asked at every commit and raises `Interrupted` when it answers yes. `uses` are the keys of all artifacts the
    video has found or made so far; leases tell them to others. `purse` is shared by all videos of a job;
    without one the video has the job's budget to itself. `finished` are the stages done so far, there for whoever
    handed the list in also when a later one fails.
    """

    job: RestyleJob
    source: str
    store: Store
    engines: EnginePool
    relative: str = ""
    observe: Callable[[Progress], None] = silent
    should_stop: Callable[[], bool] = field(default=lambda: False)
    uses: list[str] = field(default_factory=list)
    purse: Purse | None = None
    finished: list[StageRecord] = field(default_factory=list)


class StageRecord(BaseModel):
    """A stage of a video as the JSON contract shows it."""

    model_config = ConfigDict(frozen=True)

    source: Kept
    stage: str
    key: str
    status: Literal["computed", "reused"]
    seconds: float
    bytes: int


class WindowSteps(BaseModel):
    """Denoising work in units of one window and one step."""

    total: int = 0
    computed: int = 0
    reused: int = 0


class VideoOutput(BaseModel):
    """One finished video as the JSON contract shows it (`outputs[]`)."""

    source: Kept
    uri: Kept
    key: str
    frames: int
    width: int
    height: int
    shots: int
    audio: int
    latents_digest: str
    rgb_digest: str
    metrics: dict[str, Any] = {}
    review: bool = False
    report: str = ""


class VideoResult(BaseModel):
    """What the pipeline of one video returns."""

    output: VideoOutput
    stages: list[StageRecord]
    window_steps: WindowSteps
    deflicker_steps: list[int]
