"""What a search for a nearest-neighbour field will do: its levels, passes, keys of random numbers and toll.

Every backend follows one plan, so that none has numbers of its own. It knows sizes and a seed; no picture, no device.
"""

from __future__ import annotations

from dataclasses import dataclass

from configs.errors import ConfigError

MARGIN = 16
"""Default of `Plan.margin`: noise of up to 2.8 grey levels, sqrt(margin / 2), is taken for noise. What it does to drift
and to the SSD ratio is in `python -m tests.benchmarks.nnf`."""

FINE_SWEEPS = 6
"""Default of `Plan.fine_sweeps`: with 5 the search is an eighth faster and its SSD 0.02 of the least one greater."""


@dataclass(frozen=True)
class Plan:
    """Arguments of a search; see `models.patchmatch.nnf` for what each means. Errors: ConfigError, by name."""

    patch: int = 5
    seed: int = 0
    levels: int | None = None
    radius: int = 64
    sweeps: int = 4
    fine_sweeps: int = FINE_SWEEPS
    margin: int = MARGIN

    def __post_init__(self) -> None:
        if self.patch not in (5, 7):
            raise ConfigError(f"patch must be 5 or 7, got {self.patch}")
        if not 1 <= self.radius < 2**15:
            raise ConfigError(f"radius must be a whole number of 1..32767, got {self.radius}")
        if self.levels is not None and self.levels < 1:
            raise ConfigError(f"levels must be >= 1, got {self.levels}")
        if self.sweeps < 0 or self.fine_sweeps < 0:
            raise ConfigError(f"sweeps and fine_sweeps must be >= 0, got {self.sweeps} and {self.fine_sweeps}")
        if not 0 <= self.margin <= 255**2 or self.margin != int(self.margin):
            raise ConfigError(f"margin must be a whole number of 0..65025, got {self.margin}")

    def depth(self, height: int, width: int) -> int:
        """How many pyramid levels a picture has: up to 4, the coarsest at least `4 * patch` pixels."""
        side = min(height, width)
        wanted = self.levels if self.levels is not None else max(1, min(4, (side // (4 * self.patch)).bit_length()))
        return min(wanted, 1 + (max(height, width) - 1).bit_length())  # 1x1 has no half

    def keys(self, depth: int) -> list[int]:
        """One 63-bit key of random numbers for each pass over level `depth` (0 is the finest)."""
        return [_key(self.seed, depth, turn) for turn in range(self.sweeps if depth else self.fine_sweeps)]

    @property
    def trials(self) -> int:
        """Random candidates a pixel and pass: at `radius`, half of it, ... 1."""
        return self.radius.bit_length()

    @property
    def peak(self) -> int:
        """The largest toll: `margin` for each value of a patch."""
        return int(self.margin) * 3 * self.patch**2


def _key(seed: int, depth: int, turn: int) -> int:
    """63-bit key of one sweep, by the finaliser of splitmix64."""
    mixed = (seed * 64 + depth) * 64 + turn + 1
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed &= (1 << 64) - 1
        mixed = (mixed ^ (mixed >> shift)) * factor
    return (mixed ^ (mixed >> 31)) & ((1 << 63) - 1)
