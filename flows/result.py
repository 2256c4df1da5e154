"""What a job came to: the one JSON object that `--json` prints, and the exit code that goes with it.

Scripts outside depend on its keys (architecture.md section 6). Knows no stage.
"""

from __future__ import annotations

import json
import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from configs import errors as tree
from configs.errors import ConfigError, Interrupted, SteadyframeError, VideoError
from configs.kept import Kept
from tasks.run import StageRecord, VideoOutput, WindowSteps

Status = Literal["completed", "reused", "partial", "failed", "interrupted"]
USAGE_ERROR = "UsageError"


class ErrorEntry(BaseModel):
    """One thing that went wrong; `source` is empty where it was not about one video."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    source: Kept = ""
    class_name: str = Field(alias="class")
    message: Kept

    @classmethod
    def of(cls, error: BaseException, source: str = "") -> ErrorEntry:
        """Describe an exception."""
        if isinstance(error, KeyboardInterrupt):
            return cls(source=source, class_name=Interrupted.__name__, message=_STOPPED)
        return cls(source=source, class_name=type(error).__name__, message=str(error) or type(error).__name__)

    @property
    def kind(self) -> type[BaseException]:
        """The exception class of our tree it came from; `Exception` for anything else, which is our fault."""
        if self.class_name == USAGE_ERROR:
            return ConfigError
        found = getattr(tree, self.class_name, None)
        return found if isinstance(found, type) and issubclass(found, SteadyframeError) else Exception


class PreviewSheet(BaseModel):
    """A contact sheet of a few frames of one video: a PNG file; `key` is another when the sheet would be."""

    model_config = ConfigDict(frozen=True)

    source: Kept
    sheet: Kept
    key: str
    frames: int
    steps: int


class JobResult(BaseModel):
    """The JSON contract; `previews` is only there for a job with `preview`, which ends with them."""

    model_config = ConfigDict(frozen=True)

    job: str = ""
    method: str = ""
    status: Status
    outputs: list[VideoOutput] = []
    stages: list[StageRecord] = []
    window_steps: WindowSteps = WindowSteps()
    deflicker_steps: list[int] = []
    errors: list[ErrorEntry] = []
    previews: list[PreviewSheet] = []

    @classmethod
    def failure(cls, method: str, error: BaseException, source: str = "", job: str = "") -> JobResult:
        """Return the result of a command that an exception ended."""
        stopped = isinstance(error, (KeyboardInterrupt, Interrupted))
        return cls(
            job=job,
            method=method,
            status="interrupted" if stopped else "failed",
            errors=[ErrorEntry.of(error, source)],
        )

    @property
    def exit_code(self) -> int:
        """0 done; 130 interrupted; 3 finished but some videos failed; 2 nothing could start; 1 our fault.

        A failed job is 2 when every error is a bad argument or configuration, or when its only source is bad;
        several sources that are all bad were all tried: 3.
        """
        if self.status in ("completed", "reused"):
            return 0
        if self.status == "interrupted":
            return 130
        if self.status == "partial":
            return 3
        kinds = [error.kind for error in self.errors]
        if not kinds or any(not issubclass(kind, (ConfigError, VideoError)) for kind in kinds):
            return 1
        videos = [kind for kind in kinds if issubclass(kind, VideoError)]
        return 3 if len(videos) > 1 and len(videos) == len(kinds) else 2

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with the contract's key names (`class`); a figure that is not finite is null."""
        left_out = None if self.previews else {"previews"}
        plain: dict[str, Any] = finite(self.model_dump(mode="json", by_alias=True, exclude=left_out))
        return plain

    def to_json(self) -> str:
        """One line."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)


def finite(value: Any) -> Any:
    """Return a JSON value with NaN and infinities, which JSON does not have, as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


_STOPPED = "stopped; committed work is kept and the same command resumes"
