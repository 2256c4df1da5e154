"""Reading a restyled clip back, window after window: 8-bit frames at working size, never more than one window held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tasks.ref import Ref
from tasks.store import Store
from tasks.store.latents import decode_window


def rendered_frames(store: Store, shots: Sequence[Ref]) -> Iterator[npt.NDArray[np.uint8]]:
    """Frames [H,W,3] of all shots in order, from their `denoise` artifacts."""
    for ref in shots:
        manifest = store.resolve(ref)
        for part in sorted(manifest.parts, key=lambda p: p.name):
            yield from decode_window(store.read_part(manifest, part.name)).tensors["frames"].numpy()
