"""Strict models of a job: what the CLI, a YAML file, a preset and the Prefect form all end up as.

Strict means: unknown keys are errors. The form's looser twin is `configs.form`. No I/O here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from configs.budget import BudgetConfig
from configs.gate import GateConfig
from configs.naming import DEFAULT_NAMING, check_naming

Fraction = Annotated[float, Field(gt=0.0, le=1.0)]
Start = Literal["noise", "noised", "inverted"]
Noise = Literal["fixed", "per_frame"]
Operator = Literal["mean", "confidence", "checked", "trimmed"]
ControlKind = Literal[
    "tile-latents", "softedge-blocks", "depth-blocks", "reference-latents", "softedge", "tile", "depth"
]


class Strict(BaseModel):
    """Frozen, and refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ControlConfig(Strict):
    """One ControlNet: which control image it is fed, and how strongly."""

    kind: ControlKind = Field("softedge", description="what is computed from the source frames")
    model: str = Field("controlnet", description="folder inside the model, local path or hub id")
    revision: str | None = Field(None, description="commit of a hub id; required for hub ids")
    scale: float = Field(1.0, ge=0.0, le=2.0)
    path: str | None = Field(None, description="files of kinds depth and reference; default: the job's own")


class ModelConfig(Strict):
    """Which weights, where from, and in what arithmetic."""

    path: str = Field("pocket", description="'pocket', 'dry', a diffusers folder, or a hub id")
    revision: str | None = Field(None, description="commit of a hub id; required for hub ids")
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    controls: tuple[ControlConfig, ...] = ()
    loras: tuple[str, ...] = ()
    vae_slicing: bool = False
    vae_tiling: bool = False
    cpu_offload: bool = Field(False, description="weights wait in main memory between calls; slow, on CUDA only")
    threads_per_call: int = Field(1, ge=1, le=64)
    dry_delay: float = Field(0.0, ge=0.0, description="seconds per call of the 'dry' backbone")


class WindowConfig(Strict):
    """The unit of one model call."""

    size: int = Field(8, ge=1, le=64, description="frames")


class AttentionConfig(Strict):
    """Which frames each frame's self-attention sees: offsets ('0', '-1', '+1', '-2' ...) and 'first'."""

    pattern: tuple[str, ...] = ("first", "-1", "0")

    @field_validator("pattern", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        items = value.split(",") if isinstance(value, str) else value
        return [str(v).strip() for v in items] if isinstance(items, (list, tuple)) else items

    @field_validator("pattern")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            if item != "first" and not item.lstrip("+-").isdigit():
                raise ValueError(f"each part must be 'first' or a frame offset such as -1, 0, +1; got {item!r}")
        if not value:
            raise ValueError("needs at least one part, e.g. 0")
        return value


class DeflickerConfig(Strict):
    """Patch-blending deflicker inside the loop and after decoding (DiffSynth, FastBlend)."""

    enabled: bool = True
    steps: tuple[Fraction, ...] = Field((0.5, 0.75, 1.0), description="fractions of the schedule; 1.0 is the last step")
    window: int = Field(2, ge=0, le=64, description="frames either side that are blended")
    operator: Operator = "confidence"
    mode: Literal["table", "naive"] = Field("table", description="naive: every frame remapped directly, slower")
    correspondence: Literal["patchmatch", "flow"] = Field("patchmatch", description="how frames are matched")
    match: Literal["guide", "style", "fastblend"] = Field(
        "guide", description="guide: source frames alone, cached; style: refined by what is blended; fastblend: parity"
    )
    detail: float = Field(0.0, ge=0.0, le=1.0, description="share of each frame's own fine detail put back")
    patch: Literal[5, 7] = 5
    vae_residual: bool = True
    post: bool = Field(False, description="the same filter once more on the decoded frames")
    seed: int = 0

    @model_validator(mode="after")
    def _goes_together(self) -> DeflickerConfig:
        if self.operator == "trimmed" and self.mode != "naive":
            raise ValueError("operator trimmed looks at frames one by one, which tables cannot; give mode naive too")
        return self

    @property
    def filters_after(self) -> bool:
        """Whether the filter runs once more on the decoded frames."""
        return self.enabled and self.post and self.window > 0


class OutputConfig(Strict):
    """The file that comes out."""

    codec: Literal["libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1"] = "libx264"
    crf: int = Field(18, ge=0, le=63)
    bits: Literal[8, 10] = 8
    container: Literal["auto", "mp4", "mkv"] = "auto"


class InputConfig(Strict):
    """How sources with choices to make are read, and the limits checked before decoding."""

    hdr: Literal["refuse", "tonemap"] = "refuse"
    interlaced: Literal["refuse", "deinterlace"] = "refuse"
    damaged: Literal["refuse", "keep"] = Field("refuse", description="keep: process the frames that decode")
    max_pixels: int = Field(3840 * 2160, ge=1)
    max_frames: int = Field(100_000, ge=1)
    max_seconds: float = Field(4 * 3600.0, gt=0)
    max_bytes: int = Field(64 << 30, ge=1, description="of the file; a remote one is not fetched further; in no key")
    frames: tuple[int, int] | None = Field(None, description="only frames [first, last) of the clip")


class InversionConfig(Strict):
    """DDIM inversion of the source (for `start: inverted`)."""

    num_inference_steps: int = Field(20, ge=1, le=1000)
    fixed_point: int = Field(0, ge=0, le=20, description="extra passes per step; 0 is naive")
    keep: str = Field("last", pattern=r"^(last|all|every_[1-9][0-9]*)$")


class ReportConfig(Strict):
    """What the report measures beside the result."""

    arms: tuple[Literal["control", "post"], ...] = Field((), description="control arms rendered beside the result")
    max_megabytes: float = Field(8.0, gt=0)


class ShotOverride(Strict):
    """What is different in one shot; None leaves a value to the job. Only this shot's windows depend on it."""

    prompt: str | None = None
    style: str | None = None
    negative_prompt: str | None = None
    seed: int | None = Field(None, ge=0, lt=2**63)
    guidance_scale: float | None = Field(None, ge=1.0, le=50.0)


class RestyleJob(Strict):
    """Restyle videos by text and controls, without flicker."""

    method: Literal["restyle"] = "restyle"
    sources: tuple[str, ...] = Field(("demo",), description="files, folders or URLs; 'demo' is the built-in clip")
    out: str = Field("steadyframe-out", description="folder or URL of the results")
    naming: str = Field(DEFAULT_NAMING, description="name of a result below `out`, without its suffix; in no key")
    prompt: str | None = None
    negative_prompt: str = ""
    style: str | None = None
    reference: str | None = Field(None, description="a picture whose look is wanted, for presets that take one")
    depth: str | None = Field(None, description="a folder of depth maps, one PNG per frame, for presets that take one")
    model: ModelConfig = ModelConfig()
    num_inference_steps: int = Field(10, ge=1, le=1000)
    guidance_scale: float = Field(1.0, ge=1.0, le=50.0, description="1: one model call a step")
    strength: float = Field(1.0, gt=0.0, le=1.0)
    seed: int = Field(0, ge=0, lt=2**63)
    start: Start = "noise"
    noise: Noise = "fixed"
    working_size: int = Field(256, ge=32, le=4096, description="long side in pixels while denoising")
    window: WindowConfig = WindowConfig()
    attention: AttentionConfig = AttentionConfig()
    deflicker: DeflickerConfig = DeflickerConfig()
    inversion: InversionConfig = InversionConfig()
    input: InputConfig = InputConfig()
    output: OutputConfig = OutputConfig()
    report: ReportConfig = ReportConfig()
    gate: GateConfig = Field(GateConfig(), description="limits on figures; beyond them a video is flagged for review")
    commit_every: int = Field(1, ge=1, description="steps between commits of latents; in no key")
    shots: dict[str, ShotOverride] = Field({}, description="what is different in single shots, by number from 1")
    budget: BudgetConfig = Field(BudgetConfig(), description="what one attempt may spend before it stops to ask")
    preview: bool = Field(False, description="a few frames in a few steps first, then the rest when approved")

    @field_validator("naming")
    @classmethod
    def _named(cls, value: str) -> str:
        return check_naming(value)

    @field_validator("shots", mode="before")
    @classmethod
    def _numbered(cls, value: object) -> object:
        # YAML and Python write shot numbers as numbers
        return {str(number): shot for number, shot in value.items()} if isinstance(value, dict) else value

    @field_validator("shots")
    @classmethod
    def _counted_from_one(cls, value: dict[str, ShotOverride]) -> dict[str, ShotOverride]:
        for number in value:
            if not number.isascii() or not number.isdigit() or number.startswith("0"):
                raise ValueError(f"shots are numbered 1, 2, 3 ... as the report shows them, got {number!r}")
        return value

    @model_validator(mode="after")
    def _something_to_do(self) -> RestyleJob:
        if not self.prompt and not self.style and not self.reference:
            raise ValueError("give at least one of `prompt` and `style`, or a `reference` picture")
        if self.start != "noised" and self.strength != 1.0:
            raise ValueError(
                f"strength {self.strength} needs start=noised: with start={self.start} nothing of the source's own "
                "latents is kept; give start=noised too, or strength=1.0"
            )
        return self

    @property
    def controls(self) -> tuple[ControlConfig, ...]:
        """The model's controls, each with the files it reads: its own `path`, or the job's `depth` or `reference`."""
        own = {"depth": self.depth, "depth-blocks": self.depth, "reference-latents": self.reference}
        return tuple(c.model_copy(update={"path": c.path or own.get(c.kind)}) for c in self.model.controls)

    def of_shot(self, number: int) -> RestyleJob:
        """The job of shot `number`, counted from 1: with what `shots` says of it, and no `shots` of its own."""
        own = self.shots.get(str(number))
        changes = own.model_dump(exclude_none=True) if own else {}
        return self.model_copy(update={**changes, "shots": {}}) if self.shots else self
