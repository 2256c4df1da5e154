"""Figures of every pair of consecutive frames, taken as frames go by: what the flicker meters have in common.

Legend: H W picture, RGB [H,W,3] on the 0-255 scale. It knows cuts and names of clips; not what is measured.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError

Picture = NDArray[Any]


class PairMeter(ABC):
    """Figures per pair of any number of clips over one source; holds two frames of each.

    Feed frames in order with `add`; after a cut call `cut` so that no pair crosses it. `courses[figure][name]` has one
    value per pair of consecutive frames fed, NaN where a cut lies between. The source itself is measured as "source".
    """

    def __init__(self, *figures: str) -> None:
        self.courses: dict[str, dict[str, list[float]]] = {figure: {} for figure in figures}
        self._before: dict[str, Picture] = {}
        self._first = True

    def cut(self) -> None:
        """The next frame starts a new shot."""
        self._before = {}

    def add(self, source: NDArray[np.uint8], **clips: Picture) -> None:
        """The next frame: uint8 RGB source [H,W,3], and the same frame of each clip at the same size."""
        now: dict[str, Picture] = {"source": source, **clips}
        for name, picture in now.items():
            if picture.shape != source.shape:
                raise ConfigError(f"frame of {name!r} is {picture.shape}, the source's is {source.shape}")
        if not self._first:
            both = {name: (self._before[name], picture) for name, picture in now.items() if name in self._before}
            found = self._compare(both) if both else {}
            for figure, course in self.courses.items():
                for name in now:
                    course.setdefault(name, []).append(found.get(figure, {}).get(name, math.nan))
        self._first, self._before = False, now

    @abstractmethod
    def _compare(self, both: Mapping[str, tuple[Picture, Picture]]) -> Mapping[str, Mapping[str, float]]:
        """Per figure and clip a number, of the two frames of each clip; "source" is always among them."""


def mean(values: Iterable[float]) -> float:
    """Mean of the values that are numbers; NaN when there is none."""
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan
