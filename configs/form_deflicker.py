"""A deflicker job as the Prefect run form shows it; the rules are those of `configs.form`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from configs.deflicker_job import DeflickerJob, build_deflicker_job, parse_set
from configs.form import Form, OutputForm
from configs.kept import OpenText
from configs.keys import dotted


class DeflickerJobForm(Form):
    """A video that another tool made, or pictures of some frames, and the video they were made from.

    Untouched it steadies the built-in demo clip along its own motion. `settings` takes `key=value` lines, as `--set`
    does.
    """

    source: Annotated[OpenText, Field(description="the video to steady; empty with keyframes; or secret:NAME")] = "demo"
    guide: Annotated[OpenText, Field(description="the video it was made from, frame for frame; or secret:NAME")] = (
        "demo"
    )
    keyframes: list[OpenText] = Field(
        [], description="pictures of some frames instead: 12=any.png, key_000012.png, or a folder"
    )
    out: Annotated[OpenText, Field(description="folder or URL for the result")] = "steadyframe-out"
    window: Annotated[int, Field(ge=0, le=64, description="frames either side that are blended")] = 2
    operator: Annotated[
        Literal["confidence", "mean", "checked", "trimmed"], Field(description="how matched frames are blended")
    ] = "confidence"
    correspondence: Annotated[Literal["patchmatch", "flow"], Field(description="how frames are matched")] = "patchmatch"
    match: Annotated[
        Literal["guide", "style", "fastblend"],
        Field(description="guide: matches of the guide alone, kept for later jobs"),
    ] = "guide"
    detail: Annotated[float, Field(ge=0, le=1, description="share of each frame's own fine detail put back")] = 0.0
    working_size: Annotated[int, Field(ge=32, le=4096, description="long side at most, pixels")] = 1920
    seed: Annotated[int, Field(ge=0, lt=2**53, description="another seed, other matches of equal worth")] = 0
    output: OutputForm = OutputForm()
    settings: list[OpenText] = Field([], description="more keys, one key=value each, e.g. deflicker.patch=7")

    def to_job(self) -> DeflickerJob:
        """Return the strict job. Errors: ConfigError."""
        flags: dict[str, Any] = {
            # the form's own default must not stand beside keyframes, which take the place of a source
            "source": None if self.keyframes and self.source in ("", "demo") else self.source.strip() or None,
            "guide": self.guide.strip(),
            "keyframes": tuple(self.keyframes) or None,
            "out": self.out,
            "deflicker.window": self.window,
            "deflicker.operator": self.operator,
            "deflicker.mode": "naive" if self.operator == "trimmed" else None,
            "deflicker.correspondence": self.correspondence,
            "deflicker.match": self.match,
            "deflicker.detail": self.detail,
            "deflicker.seed": self.seed,
            "working_size": self.working_size,
            "output.codec": self.output.codec,
            "output.crf": self.output.crf,
            "output.container": self.output.container,
        }
        typed = {dotted(parse_set(line)[0]) for line in self.settings}
        return build_deflicker_job(None, self.settings, {k: v for k, v in flags.items() if k not in typed})
