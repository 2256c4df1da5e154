"""Flicker along matching patches: a second opinion that takes no optical flow.

Legend: H W picture, RGB [H,W,3] on the 0-255 scale; field as in `models.patchmatch`. A field of the *source* says which
patch of the frame before each patch came from; each clip's frame before, rebuilt through it by vote, is held against
its frame now. What flow gets wrong (repeated texture, thin things, large jumps) patches may get right, and the other
way round: a ranking that both give is no artefact of either. A deflicker that blends along patches is judged on its own
kind of correspondence here, so this is the second opinion and never the only one. Absolute values depend on size and
patch: read them beside the source's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.pair_meter import PairMeter, Picture, mean
from models.patchmatch import nnf
from models.remap import vote

WORST = 10.0
"""Largest match error that counts, in levels: root mean square over the values of a patch."""


class MatchMeter(PairMeter):
    """Mean `absolute` (levels) and `squared` difference of matched neighbours, per pair and clip.

    Pixels whose own match in the source errs by more than `worst` (hidden, new, or blurred by motion) are left out;
    `kept` is the share that counts, per pair. A pair without any has NaN.
    """

    def __init__(self, patch: int = 5, seed: int = 0, worst: float = WORST) -> None:
        super().__init__("absolute", "squared")
        self.kept: list[float] = []
        self._patch, self._seed, self._worst = patch, seed, worst

    def _compare(self, both: Mapping[str, tuple[Picture, Picture]]) -> Mapping[str, Mapping[str, float]]:
        before, after = both["source"]
        offsets, errors = nnf(after, before, self._patch, self._seed)
        keep = errors <= self._worst**2 * 3 * self._patch**2
        self.kept.append(float(keep.mean()))
        absolute, squared = {}, {}
        for name, (early, late) in both.items():
            gap = vote(early.astype(np.float32), offsets, self._patch)[keep] - late[keep]
            if gap.size:
                absolute[name] = float(np.abs(gap).mean(dtype=np.float64))
                squared[name] = float((gap**2).mean(dtype=np.float64))
        return {"absolute": absolute, "squared": squared}

    def mean(self, figure: str, name: str) -> float:
        """Mean of a figure over the pairs that count; NaN when there is none."""
        return mean(self.courses[figure].get(name, ()))
