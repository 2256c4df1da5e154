"""A library job as the Prefect run form shows it; the rules are those of `configs.form`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from configs.form import Form, StyleName
from configs.kept import OpenText
from configs.library import LibraryJob
from configs.library_layers import build_library
from configs.naming import DEFAULT_NAMING
from configs.overrides import parse_set


class LibraryForm(Form):
    """A library as people fill it in; untouched it restyles the built-in demo clip.

    0 and "preset" leave a value to the preset or the library file. `settings` takes `key=value` lines, as `--set` does,
    and wins over the other fields.
    """

    sources: list[OpenText] = Field(
        ["demo"], description="folders, globs, files or URLs workers can read; secret:NAME for one in a Secret block"
    )
    job_file: Annotated[OpenText, Field(description="a library file (YAML) that workers can read; fields win")] = ""
    out: Annotated[OpenText, Field(description="folder or URL for the results")] = "steadyframe-out"
    include: list[OpenText] = Field([], description="only videos whose path fits one of these, e.g. *.mp4")
    exclude: list[OpenText] = Field([], description="not videos whose path fits, e.g. drafts/*")
    naming: Annotated[OpenText, Field(description="name of a result: {relative} {stem} {style} {key8} {date}")] = (
        DEFAULT_NAMING
    )
    style: Annotated[StyleName, Field(description="a named look; 'none' needs a prompt or a library file")] = (
        "watercolor"
    )
    prompt: Annotated[str, Field(description="what the pictures show")] = ""
    preset: Annotated[
        Literal["pocket", "sd15", "dry", "reference", "recolor", "restore", "render3d"],
        Field(description="models and settings"),
    ] = "pocket"
    seed: Annotated[int, Field(ge=0, lt=2**53, description="another seed, another picture")] = 0
    max_in_flight: Annotated[int, Field(ge=1, le=256, description="videos at a time")] = 2
    failed_share: Annotated[float, Field(ge=0, le=1, description="above this share of dead videos it failed")] = 0.5
    preview: Annotated[bool, Field(description="a few frames first, then the rest when approved")] = False
    settings: list[OpenText] = Field([], description="more keys, one key=value each, e.g. window.size=4")

    def to_job(self, check_file: Callable[[str], None] = lambda path: None) -> LibraryJob:
        """Return the strict job. `check_file` is asked before the library file is read. Errors: ConfigError.

        With a library file only the fields that were changed count.
        """
        flags: dict[str, Any] = {
            "out": self.out,
            "include": list(self.include),
            "exclude": list(self.exclude),
            "naming": self.naming,
            "style": None if self.style == "none" else self.style,
            "prompt": self.prompt.strip() or None,
            "preset": self.preset,
            "seed": self.seed,
            "max_in_flight": self.max_in_flight,
            "failed_share": self.failed_share,
            "preview": self.preview,
        }
        file = self.job_file.strip()
        untouched = LibraryForm()
        if file:
            check_file(file)
            flags = {k: v for k, v in flags.items() if getattr(self, k) != getattr(untouched, k)}
        typed = {parse_set(line)[0][0] for line in self.settings}
        kept = {k: v for k, v in flags.items() if k not in typed}
        sources = () if file and self.sources == untouched.sources else tuple(self.sources)
        return build_library(Path(file) if file else None, sources, None, self.settings, kept)
