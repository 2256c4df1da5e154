"""Matches of one shot, read from the packs of the store pair by pair; a bounded number of packs held, compressed.

Knows how packs are named and numbered; knows no job and no picture.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from tasks.shot import Shot
from tasks.store import Store
from tasks.store.pairs import OpenPacks, PairPacks


class StoredMatches:
    """`models.sampling.Correspond` of a shot; holds the packs of the windows that a radius of `w` frames reaches."""

    def __init__(self, store: Store, base: str, shot: Shot, w: int) -> None:
        self._store, self._base, self._shot = store, base, shot
        # targets lie within w of the newest frame and queries look back by w more
        self._most = 2 * (2 * w // shot.window_size + 2)
        self._held: OrderedDict[int, OpenPacks] = OrderedDict()

    def __call__(self, target: int, source: int) -> tuple[Any, Any]:
        """(offsets int16 [H,W,2] as (dy, dx), error float32 [H,W]) of two shot-relative frames."""
        window = target // self._shot.window_size
        if window not in self._held:
            # a new one each time: it remembers the names in every pack it ever opened
            self._held[window] = PairPacks(self._store, self._base).open(window)
            while len(self._held) > self._most:
                self._held.popitem(last=False)
        self._held.move_to_end(window)
        digests, first = self._shot.index.digests, self._shot.first  # of the clip: slicing a shot's costs its length
        offsets, error = self._held[window].read((digests[first + target], digests[first + source]))
        assert error is not None, "packs of the correspond stage hold errors"
        return offsets, error.astype(np.float32)
