"""`Ref`: the small thing that stages pass to each other instead of tensors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Ref(BaseModel):
    """A finished artifact of the store: which stage made it, under which key, where, how big.

    Under 4 kB as JSON; `status` says whether this run computed it or found it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    key: str
    uri: str
    digest: str
    bytes: int
    status: str = "computed"
    seconds: float = 0.0

    def as_input(self) -> dict[str, Any]:
        """What goes into the key of a stage that reads this artifact."""
        return {"stage": self.stage, "key": self.key}
