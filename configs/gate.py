"""The quality gate: how far each measured figure of a finished video may go before somebody should look at it.

Thresholds only; `tasks.gate` holds figures against them. A video over a limit is finished and published all the same:
the gate flags it for review, in its report and in the library's page. No threshold is in any stage's key but the
report's.

The defaults are wide of what good runs measure, so that a flag means something: of the 13 clips of docs/ablation.md and
the 176 of docs/pocket.md, run at their defaults, they flag one, whose style the judge does not see (oil on
procedural-70007). The same 13 clips without fixed noise and deflicker are flagged in 10 cases. Beside each default
stands the worst that those good runs show. They are of the pocket models, made to draw the known style filters; a model
with a watercolour of its own is not held against that filter (`--preset sd15` asks for none of it).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class GateConfig(BaseModel):
    """Limits on the figures of a result; null: not asked. `min_` and `max_` themselves still pass.

    A figure that was not measured (no control arm, no known filter, nothing moving) passes, unless `require` names it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    enabled: bool = True
    require: tuple[str, ...] = Field((), description="figures whose absence is a reason, e.g. excess_flicker")
    max_pixel_mse: Positive | None = Field(None, description="flicker on the 0-255 scale; depends on the clip")
    max_flicker_over_source: Positive | None = Field(8.0, description="times the source's own; good: up to 6.4, mosaic")
    max_flicker_over_steady: Positive | None = Field(
        1.25, description="times the source's or, if more, the steady style's; good: up to 0.98"
    )
    max_excess_flicker: NotNegative | None = Field(0.75, description="share of the control's; good: up to 0.48")
    max_excess_over_style: NotNegative | None = Field(0.5, description="over the steady style; good: up to 0.03")
    max_seam_ratio: Positive | None = Field(None, description="a clip whose own motion beats with the windows has 1.7")
    max_seam_over_steady: Positive | None = Field(1.5, description="times the source's or style's own; good: to 1.19")
    min_sharpness_ratio: NotNegative | None = Field(0.75, description="over the control; good: down to 0.83")
    min_sharpness_to_source: NotNegative | None = Field(0.005, description="an empty picture; good: down to 0.047")
    max_sharpness_pulsing: NotNegative | None = Field(0.2, description="from frame to frame; good: up to 0.098")
    min_fidelity_psnr: NotNegative | None = Field(17.0, description="dB to the style filter; good: down to 19.9, oil")
    max_fidelity_loss: NotNegative | None = Field(2.0, description="dB below the control; good: up to 1.06")
    min_style_accuracy: Share | None = Field(0.5, description="share of frames that show the style; good: 1")
    min_structure_ratio: NotNegative | None = Field(0.5, description="contours over the filter's; good: down to 0.65")
    max_colour_error: NotNegative | None = Field(14.0, description="Lab, to the style filter; good: up to 9.6")

    @field_validator("require")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = dict.fromkeys(figure for _, figure in sides())
        for name in value:
            if name not in known:
                raise ValueError(f"knows no figure {name!r}; known: {', '.join(known)}")
        return value

    def limits(self) -> dict[tuple[str, str], float]:
        """Return what is asked, by (side, figure): `("max", "seam_ratio")`; nothing of a gate that is not enabled."""
        asked = {(side, figure): getattr(self, f"{side}_{figure}") for side, figure in sides()} if self.enabled else {}
        return {where: limit for where, limit in asked.items() if limit is not None}


def sides() -> tuple[tuple[str, str], ...]:
    """Return every (side, figure) that a gate can ask for, in order; the side is `min` or `max`."""
    split = (name.partition("_") for name in GateConfig.model_fields)
    return tuple((side, figure) for side, _, figure in split if side in ("min", "max"))
