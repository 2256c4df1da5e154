"""`LibraryJob`: many videos by one job, from a YAML file or flags; what is different in single files is beside them.

The keys of the restyle itself are in `settings` (the same keys as in a job file) and, for one video, in its sidecar
`<video file>.yaml`. Says which values go together; lists no folder and reads no sidecar.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ByteSize, Field, field_validator, model_validator

from configs.budget import BudgetConfig
from configs.gate import GateConfig
from configs.job import RestyleJob, Strict
from configs.naming import DEFAULT_NAMING, check_naming
from configs.presets import DEFAULT_PRESET

OWN_KEYS = ("method", "sources", "out", "naming")
"""Keys of a restyle job that the library gives itself, and that neither `settings` nor a sidecar may name."""

Count = Annotated[int, Field(ge=1)]


class LibraryJob(Strict):
    """Restyle a library: what is new or changed in it, at most `max_in_flight` videos at a time.

    Patterns of `include`, `exclude` and `priorities` are matched against a video's path below its source, `*` crossing
    folders too; one without '/' against the file's name in any folder. A higher priority runs first; among equals those
    of one model together, and these by `order`: a long video begun last keeps one worker busy while the others idle.
    """

    sources: tuple[str, ...] = Field(description="files, folders, globs or URLs")
    include: tuple[str, ...] = Field((), description="patterns; empty takes every video")
    exclude: tuple[str, ...] = Field((), description="patterns of what to leave out")
    out: str = Field("steadyframe-out", description="folder or URL of the results")
    naming: str = Field(DEFAULT_NAMING, description="name of a result below `out`, without its suffix")
    preset: str = DEFAULT_PRESET
    settings: dict[str, Any] = Field({}, description="keys of the restyle job, as in a job file")
    max_in_flight: int = Field(2, ge=1, le=256, description="videos at a time")
    max_bytes_in_flight: ByteSize = Field(
        ByteSize(8 * 10**9), ge=1, description="estimated bytes of the videos in flight; a larger one runs alone"
    )
    failed_share: float = Field(0.5, ge=0.0, le=1.0, description="above this share of dead videos the library failed")
    priorities: dict[str, int] = Field({}, description="pattern to number; the highest of those that match counts")
    order: Literal["largest", "listed"] = Field(
        "largest", description="largest file first, or as the sources list them"
    )
    gate: GateConfig | None = Field(None, description="limits on figures for every video; null: the job's own")
    budget: BudgetConfig | None = Field(None, description="what one run of it may spend before it stops to ask")
    preview: bool = Field(False, description="a few frames of each first, then the rest when approved")

    @field_validator("sources", "include", "exclude", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("sources")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(text.strip() for text in value):
            raise ValueError(f"must name at least one file, folder, glob or URL, got {list(value)}")
        return value

    @field_validator("out")
    @classmethod
    def _a_folder(cls, value: str) -> str:
        if not value.strip():
            raise ValueError(f"must be a folder or a URL, got {value!r}")
        return value.removeprefix("file://")

    @field_validator("naming")
    @classmethod
    def _named(cls, value: str) -> str:
        return check_naming(value)

    @field_validator("settings")
    @classmethod
    def _of_the_restyle(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_own_keys(value)
        return value

    @model_validator(mode="after")
    def _one_budget(self) -> LibraryJob:
        for name in ("budget", "preview", "gate"):
            if name in self.model_fields_set and name in self.settings:
                raise ValueError(f"{name} is given twice; keep it beside `settings` or in it")
        return self

    def wants(self, below: str) -> bool:
        """Whether a video at this path below its source is taken."""
        included = not self.include or any(matches(below, pattern) for pattern in self.include)
        return included and not any(matches(below, pattern) for pattern in self.exclude)

    def priority(self, below: str) -> int:
        """Highest number of the patterns that match, 0 when none does."""
        return max((number for pattern, number in self.priorities.items() if matches(below, pattern)), default=0)


def refuse_own_keys(values: Mapping[str, Any]) -> None:
    """Raise ValueError when keys of a restyle job name what only the library decides."""
    for name in OWN_KEYS:
        if name in values:
            raise ValueError(f"{name} is the library's own key; take it out of here")


def matches(below: str, pattern: str) -> bool:
    """Whether a path ('/'-joined) fits a pattern; case counts."""
    tail = below.rsplit("/", 1)[-1]
    wanted = pattern.removeprefix("./").replace("**/", "*") if "/" in pattern else pattern
    candidates = (below,) if "/" in pattern else (tail,)
    return any(fnmatch.fnmatchcase(text, wanted) for text in candidates)


def restyle_keys() -> tuple[str, ...]:
    """Return the keys that `settings` and sidecars may hold."""
    return tuple(name for name in RestyleJob.model_fields if name not in OWN_KEYS)
