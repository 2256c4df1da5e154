"""What a finished artifact says about itself: parts with digests, the question it answers, and who made it.

Refuses to know where it is stored; it is written last, so that its existence is the commit.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """One object of an artifact: `name` as its stage calls it, `path` below the root, size, hex sha256."""

    model_config = ConfigDict(frozen=True)

    name: str
    path: str
    bytes: int
    sha256: str
    meta: dict[str, Any] = Field(default_factory=dict)


class Manifest(BaseModel):
    """The record of a finished artifact; `preimage` is what `steadyframe explain` compares.

    `created` is seconds since 1970 (UTC), `seconds` the time it took to make, `epoch` the lease it was made
    under (0 = no lease).
    """

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    stage: str
    key: str
    preimage: dict[str, Any]
    inputs: list[dict[str, Any]]
    parts: tuple[Part, ...]
    meta: dict[str, Any]
    host: str
    device: str
    seconds: float
    created: float
    code_version: str
    epoch: int = 0

    @property
    def bytes(self) -> int:
        """Size of all parts."""
        return sum(part.bytes for part in self.parts)

    @property
    def digest(self) -> str:
        """Hex sha256 over the parts' names and digests: equal for equal content, whoever made it and when."""
        text = "\n".join(f"{part.name}\t{part.sha256}" for part in sorted(self.parts, key=lambda p: p.name))
        return hashlib.sha256(text.encode()).hexdigest()

    def part(self, name: str) -> Part | None:
        """The part of this name, if there is one."""
        return next((part for part in self.parts if part.name == name), None)
