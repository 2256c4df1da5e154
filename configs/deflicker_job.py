"""Strict model of a deflicker job: a video made by any tool, or a few keyframes, and the guide that they follow.

Built from layers as a restyle is (defaults < `--config` < `--set` < flags; there is no model, hence no preset). Looks
at the disk only for the job file and for folders of keyframes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from configs.errors import ConfigError
from configs.job import DeflickerConfig, InputConfig, OutputConfig, RestyleJob, Strict
from configs.job_errors import sentences
from configs.keys import Loc
from configs.layers import Layers
from configs.overrides import read_config, split_set

SHORT_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "size": "working_size",
        "window": "deflicker.window",
        "operator": "deflicker.operator",
        "codec": "output.codec",
        "crf": "output.crf",
    }
)
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
LOOP_ONLY = ("steps", "vae_residual", "post")
"""Keys of `deflicker` that speak of the sampling loop and mean nothing to a filter of finished frames."""


class Keyframe(Strict):
    """A picture that stands for frame `frame` of the guide, counted from 0 in the whole clip."""

    frame: int = Field(ge=0)
    image: str


class DeflickerJob(Strict):
    """Blend the frames of a finished video along the motion of its guide, or fill in between keyframes."""

    method: Literal["deflicker"] = "deflicker"
    source: str | None = Field(None, description="the video to steady; none with keyframes")
    guide: str = Field("", description="the video that it was made from: one frame for each of its frames")
    out: str = "steadyframe-out"
    keyframes: tuple[Keyframe, ...] = Field((), description="pictures for some frames; the others are filled in")
    deflicker: DeflickerConfig = DeflickerConfig()
    working_size: int = Field(
        1920,
        ge=32,
        le=4096,
        description="long side in pixels at most; a larger video is blended at this size and gets the change enlarged",
    )
    keep_matches: bool = Field(
        True,
        description="false: frames are matched just ahead of the filter and no match is kept, for clips too long to "
        "keep them all; the same frames come out, and another job on the clip matches them again",
    )
    input: InputConfig = InputConfig()
    output: OutputConfig = OutputConfig()

    @field_validator("keyframes")
    @classmethod
    def _one_each(cls, value: tuple[Keyframe, ...]) -> tuple[Keyframe, ...]:
        seen: dict[int, str] = {}
        for key in value:
            if key.frame in seen:
                raise ValueError(f"frame {key.frame} has two pictures, {seen[key.frame]} and {key.image}; keep one")
            seen[key.frame] = key.image
        return tuple(sorted(value, key=lambda key: key.frame))

    @model_validator(mode="after")
    def _whole(self) -> DeflickerJob:
        if not self.guide:
            raise ValueError("no guide given: name with --guide the video that the frames were made from")
        if self.source and self.keyframes:
            raise ValueError(f"got the video {self.source} and keyframes; give one of them")
        if not self.source and not self.keyframes:
            raise ValueError("no source given: name a video to steady, or --keyframes to fill in between")
        for name in LOOP_ONLY:
            if name in self.deflicker.model_fields_set:
                raise ValueError(f"deflicker.{name} is about the denoising loop and means nothing here; leave it out")
        if not self.deflicker.enabled:
            raise ValueError("deflicker.enabled is off, which leaves nothing to do; leave it out")
        if self.keyframes and self.deflicker.operator not in ("mean", "confidence"):
            raise ValueError(
                f"deflicker.operator must be mean or confidence between keyframes, got {self.deflicker.operator!r}"
            )
        if self.keyframes and self.deflicker.match != "guide":
            raise ValueError(f"deflicker.match must be guide between keyframes, got {self.deflicker.match!r}")
        return self

    @property
    def kind(self) -> Literal["deflicker", "keyframes"]:
        """What is done, as the output's name says it."""
        return "keyframes" if self.keyframes else "deflicker"

    def for_stages(self) -> RestyleJob:
        """The same choices under the names by which stages that a restyle has too (probe ... correspond) read them."""
        return RestyleJob(
            sources=(self.source or self.guide,),
            out=self.out,
            prompt=self.kind,
            working_size=self.working_size,
            deflicker=self.deflicker,
            input=self.input,
            output=self.output,
        )


def build_deflicker_job(
    config_path: str | Path | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] = MappingProxyType({}),
) -> DeflickerJob:
    """Build the strict job from all layers; arguments as of `configs.overrides.build_job`.

    Keyframes may be texts: `12=painted.png`, `key_000012.png` (the digits at the end of its name), or a folder of
    such files. Errors: ConfigError, one line per problem with key, rule, value and origin.
    """
    values, lines, label = read_config(Path(config_path)) if config_path is not None else ({}, {}, "")
    layers = Layers()
    layers.merge(values, lines, label)
    layers.put_all(sets, parse_set, flags)
    given = dict(layers.values)
    if isinstance(given.get("keyframes"), (list, tuple)):
        given["keyframes"] = [key for item in given["keyframes"] for key in keyframes_of(item)]
    try:
        return DeflickerJob.model_validate(given)
    except ValidationError as error:
        raise ConfigError("\n".join(sentences(error, DeflickerJob, layers.origins))) from None


def parse_set(text: str) -> tuple[Loc, Any]:
    """Split `a.b=c` into the path and the value, typed by the field where YAML guesses wrong. Errors: ConfigError."""
    return split_set(text, DeflickerJob, SHORT_KEYS, "--set window=4 or --set output.crf=20")


def keyframes_of(item: Any) -> Iterator[Any]:
    """What one entry of `keyframes` names; what is no text goes on as it is. Errors: ConfigError."""
    if not isinstance(item, str):
        yield item
        return
    number, sign, image = item.partition("=")
    if sign and number.strip().isdecimal():
        yield {"frame": int(number), "image": image}
        return
    path = Path(item).expanduser()
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        if not files:
            raise ConfigError(f"keyframes: the folder {item} holds no picture; name files key_000012.png")
    for file in files:
        digits = re.search(r"(\d+)$", file.stem)
        if digits is None:
            raise ConfigError(
                f"keyframes: which frame is {file}? name it key_000012.png, or give 12={file} with its frame number"
            )
        yield {"frame": int(digits[1]), "image": str(file)}
