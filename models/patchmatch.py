"""Nearest-neighbour field (NNF) of two frames: for each target pixel the best matching source patch.

PatchMatch (Barnes et al., 2009) in scan order on an image pyramid, for the CPU. It knows two pictures and a
seed; not which frames they are, nor what the field is used for. Everything is integer arithmetic, random
numbers are a hash of (seed, level, sweep, pixel, trial), and rows are worked on in strips that never read
each other within a sweep: the same field on every machine and for any number of threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError
from models.patch_kernels import STRIP, begin, halve, measure, padded, sweep

Field = NDArray[np.int16]


@dataclass(frozen=True)
class _Level:
    """One pyramid level: padded bytes of both pictures."""

    target: NDArray[np.uint8]
    source: NDArray[np.uint8]
    height: int
    width: int


def nnf(
    target: NDArray[np.uint8],
    source: NDArray[np.uint8],
    patch: int = 5,
    seed: int = 0,
    levels: int | None = None,
    radius: int = 64,
    sweeps: int = 4,
    fine_sweeps: int = 3,
    threads: int = 1,
) -> tuple[Field, NDArray[np.float32]]:
    """Match every pixel of `target` to a pixel of `source` by the SSD of the patches around them.

    `target`, `source`: uint8 RGB [H,W,3] of equal size. `patch`: 5 or 7 pixels. `levels`: pyramid levels
    (None: up to 4, the coarsest at least `4 * patch` pixels). `radius`: the first random trial looks that far
    (pixels), each next one half as far. `sweeps` / `fine_sweeps`: passes on coarse levels and on the finest
    one. `threads` changes no bit.

    Returns offsets int16 [H,W,2] as (dy, dx), so that target pixel p matches source pixel p + offset (always
    inside the picture), and the error float32 [H,W]: the patch SSD over `3 * patch**2` values of 0..255.
    Equal pictures give exactly zero offsets. Raises ConfigError for pictures or patches it cannot take.
    Source: Barnes et al., PatchMatch, ACM TOG 2009; halving radii and coarse-to-fine start as there.
    """
    _check(target, source, patch, radius, threads, levels)
    offsets = np.zeros((1, 1, 2), np.int16)
    errors = np.zeros((1, 1), np.int32)
    for depth, level in reversed(list(enumerate(_pyramid(target, source, patch, levels)))):
        offsets, errors = _start(level, patch, offsets)
        for turn in range(sweeps if depth else fine_sweeps):
            _search(level, patch, radius, _key(seed, depth, turn), turn % 2 == 1, threads, offsets, errors)
    return offsets, errors.astype(np.float32)


def _search(
    level: _Level,
    patch: int,
    radius: int,
    key: int,
    odd: bool,
    threads: int,
    offsets: Field,
    errors: NDArray[np.int32],
) -> None:
    """One sweep over the whole level, in place; odd sweeps run backwards over strips moved by half."""
    shift = STRIP // 2 if odd else 0
    strips = -(-(level.height + shift) // STRIP)

    def run(first: int, last: int) -> None:
        sweep(level.target, level.source, patch, radius, key, odd, shift, first, last, offsets, errors)

    if threads == 1:
        run(0, strips)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, range(strips), range(1, strips + 1)))


def errors_of(
    target: NDArray[np.uint8], source: NDArray[np.uint8], offsets: Field, patch: int = 5
) -> NDArray[np.float32]:
    """The error that `nnf` returned beside `offsets`, computed again: so that a store need keep offsets only.

    Same shapes and meaning as in `nnf`; one patch SSD a pixel, some 30 times cheaper than the search.
    """
    _check(target, source, patch)
    if offsets.shape != (*target.shape[:2], 2):
        raise ConfigError(f"offsets must be {(*target.shape[:2], 2)} for these frames, got {offsets.shape}")
    errors = np.empty(target.shape[:2], np.int32)
    measure(padded(target, patch // 2), padded(source, patch // 2), patch, offsets, errors)
    return errors.astype(np.float32)


def identity(height: int, width: int) -> tuple[Field, NDArray[np.float32]]:
    """The field of a frame onto itself: no offset, no error."""
    return np.zeros((height, width, 2), np.int16), np.zeros((height, width), np.float32)


def warm_up(patch: int = 5) -> None:
    """Compile the kernels, or load them from numba's cache, so that the first real pair is not slow."""
    picture = np.zeros((4 * patch, 4 * patch, 3), np.uint8)
    nnf(picture, picture, patch)


def _check(
    target: NDArray[np.uint8],
    source: NDArray[np.uint8],
    patch: int,
    radius: int = 1,
    threads: int = 1,
    levels: int | None = None,
) -> None:
    if patch not in (5, 7):
        raise ConfigError(f"patch must be 5 or 7, got {patch}")
    if radius < 1 or threads < 1:
        raise ConfigError(f"radius and threads must be >= 1, got {radius} and {threads}")
    if levels is not None and levels < 1:
        raise ConfigError(f"levels must be >= 1, got {levels}")
    if target.shape != source.shape or target.ndim != 3 or target.shape[2] != 3:
        raise ConfigError(f"frames to match must both be [H,W,3], got {target.shape} and {source.shape}")
    if target.dtype != np.uint8 or source.dtype != np.uint8:
        raise ConfigError(f"frames to match must be uint8, got {target.dtype} and {source.dtype}")
    if max(target.shape) > np.iinfo(np.int16).max or min(target.shape) < 1:
        raise ConfigError(f"frames to match must have 1..32767 pixels a side, got {target.shape[:2]}")


def _pyramid(target: NDArray[np.uint8], source: NDArray[np.uint8], patch: int, levels: int | None) -> list[_Level]:
    """Finest level first; each next one half the size, averaged in integers."""
    side = min(target.shape[:2])
    wanted = levels if levels is not None else max(1, min(4, (side // (4 * patch)).bit_length()))
    built = []
    for depth in range(wanted):
        if depth:
            target, source = halve(np.ascontiguousarray(target)), halve(np.ascontiguousarray(source))
        height, width = target.shape[:2]
        built.append(_Level(padded(target, patch // 2), padded(source, patch // 2), height, width))
        if max(height, width) == 1:
            break
    return built


def _start(level: _Level, patch: int, coarse: Field) -> tuple[Field, NDArray[np.int32]]:
    """Offsets doubled from the coarser level, or none where staying in place is at least as good."""
    offsets = np.zeros((level.height, level.width, 2), np.int16)
    errors = np.zeros((level.height, level.width), np.int32)
    begin(level.target, level.source, patch, coarse, offsets, errors)
    return offsets, errors


def _key(seed: int, depth: int, turn: int) -> int:
    """63-bit key of one sweep, by the finaliser of splitmix64."""
    mixed = (seed * 64 + depth) * 64 + turn + 1
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed &= (1 << 64) - 1
        mixed = (mixed ^ (mixed >> shift)) * factor
    return (mixed ^ (mixed >> 31)) & ((1 << 63) - 1)
