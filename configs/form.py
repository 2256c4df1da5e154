"""The job as the Prefect run form shows it: looser than `configs.job`, and turned into it at once.

The form has its own rules (literal defaults, no factories, no refused extras, no discriminated unions:
Prefect's form mixes up tabs and an untouched form could not be sent); `form_schema_violations` checks them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from configs.job import RestyleJob
from configs.kept import OpenText
from configs.keys import dotted
from configs.overrides import build_job, parse_set

StyleName = Literal["watercolor", "sketch", "night", "autumn", "neon", "mosaic", "oil", "blueprint", "none"]


class Form(BaseModel):
    """Ignores keys it does not know: the form of another tab may have left them behind."""

    model_config = ConfigDict(extra="ignore", frozen=True, validate_default=True, hide_input_in_errors=True)


class DeflickerForm(Form):
    """Patch-blending deflicker."""

    enabled: Annotated[bool, Field(description="blend frames inside the denoising loop")] = True
    window: Annotated[int, Field(ge=0, le=64, description="frames either side; 0 = the preset's")] = 0
    post: Annotated[bool, Field(description="once more on the finished frames")] = False


class OutputForm(Form):
    """The file that comes out."""

    codec: Literal["libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1"] = "libx264"
    crf: Annotated[int, Field(ge=0, le=63, description="lower is better and larger")] = 18
    container: Literal["auto", "mp4", "mkv"] = "auto"


class RestyleForm(Form):
    """A restyle as people fill it in; untouched it restyles the built-in demo clip.

    0 and "preset" leave a value to the preset. `settings` takes `key=value` lines, as `--set` does.
    """

    sources: Annotated[
        list[OpenText],
        Field(description="files, folders or URLs the workers can read; secret:NAME for one in a Prefect Secret block"),
    ] = ["demo"]
    out: Annotated[OpenText, Field(description="folder or URL for the results")] = "steadyframe-out"
    prompt: Annotated[str, Field(description="what the pictures show, e.g. a red car on a road")] = ""
    style: Annotated[StyleName, Field(description="a named look; 'none' needs a prompt")] = "watercolor"
    preset: Annotated[
        Literal["pocket", "sd15", "dry", "reference", "recolor", "restore", "render3d"],
        Field(description="models and settings; the last four are tasks, most of them with style 'none'"),
    ] = "pocket"
    reference: Annotated[OpenText, Field(description="a picture whose look is wanted, for preset reference")] = ""
    depth: Annotated[OpenText, Field(description="a folder of depth maps, for preset render3d")] = ""
    seed: Annotated[int, Field(ge=0, lt=2**53, description="another seed, another picture")] = 0
    num_inference_steps: Annotated[int, Field(ge=0, le=1000, description="0 = the preset's")] = 0
    guidance_scale: Annotated[float, Field(ge=0, le=50, description="1 and more; 0 = the preset's")] = 0.0
    start: Annotated[Literal["preset", "noise", "noised", "inverted"], Field(description="first latents")] = "preset"
    strength: Annotated[float, Field(gt=0, le=1, description="for start 'noised': how far from the source")] = 1.0
    working_size: Annotated[int, Field(ge=0, le=4096, description="long side, pixels; 0 = the preset's")] = 0
    deflicker: DeflickerForm = DeflickerForm()
    output: OutputForm = OutputForm()
    settings: Annotated[list[OpenText], Field(description="more keys, one key=value each, e.g. window.size=4")] = []

    def to_job(self) -> RestyleJob:
        """Return the strict job. Errors: ConfigError."""
        flags: dict[str, Any] = {
            "sources": tuple(self.sources),
            "out": self.out,
            "prompt": self.prompt.strip() or None,
            "style": None if self.style == "none" else self.style,
            "reference": self.reference.strip() or None,
            "depth": self.depth.strip() or None,
            "seed": self.seed,
            "num_inference_steps": self.num_inference_steps or None,
            "guidance_scale": self.guidance_scale or None,
            "start": None if self.start == "preset" else self.start,
            "strength": None if self.strength == 1.0 else self.strength,
            "working_size": self.working_size or None,
            "deflicker.enabled": self.deflicker.enabled,
            "deflicker.window": self.deflicker.window or None,
            "deflicker.post": self.deflicker.post,
            "output.codec": self.output.codec,
            "output.crf": self.output.crf,
            "output.container": self.output.container,
        }
        # Typed lines are the more deliberate choice: they win over the form's own fields.
        typed = {dotted(parse_set(line)[0]) for line in self.settings}
        return build_job(self.preset, None, self.settings, {k: v for k, v in flags.items() if k not in typed})


def form_schema_violations(schema: Mapping[str, Any]) -> list[str]:
    """Return what breaks the form rules in a JSON schema (with `definitions` or `$defs`), one sentence each.

    Rules: no `additionalProperties: false`, no discriminator, every field that is not required has a literal
    default, a union's default belongs to its first member.
    """
    named = {**schema.get("$defs", {}), **schema.get("definitions", {})}
    found = list(_object_violations("", schema, named))
    for name, definition in named.items():
        found += _object_violations(f"{name}.", definition, named)
    return found


def form_signature_violations(function: Callable[..., object]) -> list[str]:
    """Return the parameters written `x: float = Field(0.5, le=1)`: Prefect drops their bounds silently."""
    return [
        f"{name}: write Annotated[..., Field(...)] = default; Field(...) as a default loses its bounds"
        for name, parameter in inspect.signature(function).parameters.items()
        if isinstance(parameter.default, FieldInfo)
    ]


def _object_violations(at: str, schema: Mapping[str, Any], named: Mapping[str, Any]) -> Iterator[str]:
    if schema.get("additionalProperties") is False:
        yield f"{at or 'schema'}: refuses extra keys; the form leaves stale ones behind"
    required = set(schema.get("required", ()))
    for name, prop in schema.get("properties", {}).items():
        where = f"{at}{name}"
        if "discriminator" in prop:
            yield f"{where}: is a discriminated union; the form preselects its first member"
        if name not in required and "default" not in prop:
            yield f"{where}: has no literal default (a factory leaves none in the schema)"
        members = prop.get("anyOf") or prop.get("oneOf")
        if members and "default" in prop and not _accepts(members[0], prop["default"], named):
            yield f"{where}: default {prop['default']!r} is not of the union's first member"
        items = prop.get("items")
        if isinstance(items, Mapping) and "discriminator" in items:
            yield f"{where}: holds a discriminated union"


def _accepts(member: Mapping[str, Any], value: Any, named: Mapping[str, Any]) -> bool:
    if "$ref" in member:
        member = named[member["$ref"].rsplit("/", 1)[-1]]
    if "const" in member:
        return bool(member["const"] == value)
    if "enum" in member:
        return value in member["enum"]
    kinds: dict[str, tuple[type, ...]] = {
        "null": (type(None),),
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
        "array": (list, tuple),
        "object": (dict,),
    }
    kind = member.get("type")
    if kind not in kinds or (isinstance(value, bool) and kind != "boolean"):
        return kind not in kinds
    if kind == "object" and isinstance(value, dict):
        known = member.get("properties")
        return known is None or set(value) <= set(known)
    return isinstance(value, kinds[kind])
