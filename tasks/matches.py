"""Matches of one shot, read from the packs of the store pair by pair; a bounded number of folders open.

Knows how folders and pairs are named and how errors are written; knows no job and no picture.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.store import Store
from tasks.store.pairs import OpenPacks, PairPacks

_USUAL = 8
_STEPS = 21
"""Errors are kept as so many times their root: the largest, of a black and a white patch of 7, is 3093 * 21 < 2**16."""


def folders(base: str, digests: Sequence[str]) -> list[str]:
    """For each frame of a shot the folder of its matches, which it shares with 8 neighbours on average.

    A frame begins a group where its own digest says so, and the group is named by it alone. So the same frames lie in
    the same folders in a longer or shorter part of the clip, after a cut has moved, and in another file; only those
    before the first that begins a group lie elsewhere. `base` names how pairs are matched.
    """
    found: list[str] = []
    for digest in digests:
        begins = not found or zlib.crc32(digest.encode()) % _USUAL == 0
        found.append(hashlib.sha256(f"{base} {digest}".encode()).hexdigest()[:32] if begins else found[-1])
    return found


def folders_of(frames: int) -> int:
    """How many folders so many neighbouring frames lie in at most, but for one place in a hundred."""
    return 2 + 2 * frames // _USUAL


def shortened(error: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Patch errors (SSD, see `models.patchmatch.nnf`) in 16 bit: 0 exact, others within 0.05 of their root."""
    return np.minimum(np.rint(np.sqrt(error, dtype=np.float64) * _STEPS), np.iinfo(np.uint16).max).astype(np.uint16)


def restored(short: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Patch errors as they were, about."""
    return np.square(short.astype(np.float32) / np.float32(_STEPS))


class StoredMatches:
    """`models.sampling.Correspond` of a shot, whose frames have these `digests`, out of the packs under `base`.

    The `most` folders that were asked for last are open; each is of 8 target frames on average.
    """

    def __init__(self, store: Store, base: str | None, digests: Sequence[str], most: int) -> None:
        self._packs, self._digests, self._most = PairPacks(store), digests, most
        self._folders = None if base is None else folders(base, digests)
        self._held: OrderedDict[str, OpenPacks] = OrderedDict()

    def __call__(self, target: int, source: int) -> tuple[Any, Any]:
        """(offsets int16 [H,W,2] as (dy, dx), error float32 [H,W]) of two shot-relative frames."""
        offsets, error = self._open(target).read((self._digests[target], self._digests[source]))
        return offsets, restored(error)

    def holds(self, target: int, source: int) -> bool:
        """Whether the store has this pair."""
        return (self._digests[target], self._digests[source]) in self._open(target)

    def _open(self, target: int) -> OpenPacks:
        assert self._folders is not None, "this program asked for correspondence, which its spec does not name"
        folder = self._folders[target]
        if folder not in self._held:
            self._held[folder] = self._packs.open(folder)
            while len(self._held) > self._most:
                self._held.popitem(last=False)
        self._held.move_to_end(folder)
        return self._held[folder]
