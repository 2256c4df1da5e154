"""What a job may spend before it stops to ask. Limits only; who counts is `tasks.purse`."""

from __future__ import annotations

from pydantic import BaseModel, ByteSize, ConfigDict, Field


class BudgetConfig(BaseModel):
    """Limits of one attempt of a job; None is no limit. Running it again, or resuming it, may spend as much again.

    `gpu_seconds` are device-seconds, on a GPU or a CPU alike: seconds of the stages that the workers compute
    (condition, invert, denoise) times the number of workers. `bytes` are what stays in the store: a number, or a text
    such as '2GB'.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    gpu_seconds: float | None = Field(None, gt=0, description="device-seconds of the workers, summed")
    bytes: ByteSize | None = Field(None, gt=0, description="bytes written to the store")

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.gpu_seconds is not None or self.bytes is not None
