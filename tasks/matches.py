"""Matches of one shot, read from the packs of the store pair by pair; a bounded number of packs held, compressed.

Knows how packs are named and numbered; knows no job and no picture.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.store import Store
from tasks.store.pairs import OpenPacks, PairPacks


class StoredMatches:
    """`models.sampling.Correspond` of a shot, whose frames have these `digests`, out of the packs under `base`.

    Packs are by window of `window_size` target frames; the last `most` that were asked for are held.
    """

    def __init__(self, store: Store, base: str | None, digests: Sequence[str], window_size: int, most: int) -> None:
        self._store, self._base, self._digests = store, base, digests
        self._window_size, self._most = window_size, most
        self._held: OrderedDict[int, OpenPacks] = OrderedDict()

    def __call__(self, target: int, source: int) -> tuple[Any, Any]:
        """(offsets int16 [H,W,2] as (dy, dx), error float32 [H,W]) of two shot-relative frames."""
        window = target // self._window_size
        if window not in self._held:
            assert self._base is not None, "this program asked for correspondence, which its spec does not name"
            # a new one each time: it remembers the names in every pack it ever opened
            self._held[window] = PairPacks(self._store, self._base).open(window)
            while len(self._held) > self._most:
                self._held.popitem(last=False)
        self._held.move_to_end(window)
        offsets, error = self._held[window].read((self._digests[target], self._digests[source]))
        assert error is not None, "packs of the correspond stage hold errors"
        return offsets, error.astype(np.float32)
