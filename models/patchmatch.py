"""Nearest-neighbour field (NNF) of two frames: for each target pixel the best matching source patch.

PatchMatch (Barnes et al., 2009) on an image pyramid. It knows two pictures and a seed; not which frames they are, nor
what the field is used for. Everything is integer arithmetic and random numbers are a hash of (seed, level, sweep,
pixel, trial): the same field on every machine and for any number of threads.

Two algorithms, hence two fields for one pair: the scan (below; strips of rows that never read each other within a
sweep), which is the best on a CPU; and the jumps (`models.patch_jumps`), which GPUs can run too: `jumps`, `torch` and
`triton` give the same bits, on any device. A store that keeps fields must name the algorithm (`algorithm`) in its key.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError, DeviceError
from models import patch_jumps
from models.patch_kernels import STRIP, measure, sweep
from models.patch_plan import FINE_SWEEPS, MARGIN, Plan
from models.patch_pyramid import Level, State, descend, padded
from models.patch_threads import shared

Field = NDArray[np.int16]
Method = Literal["auto", "scan", "jumps", "torch", "triton"]
METHODS: tuple[Method, ...] = ("auto", "scan", "jumps", "torch", "triton")


def nnf(
    target: NDArray[np.uint8],
    source: NDArray[np.uint8],
    patch: int = 5,
    seed: int = 0,
    levels: int | None = None,
    radius: int = 64,
    sweeps: int = 4,
    fine_sweeps: int = FINE_SWEEPS,
    threads: int = 1,
    margin: int = MARGIN,
    method: Method = "auto",
    device: str = "cpu",
) -> tuple[Field, NDArray[np.float32]]:
    """Match every pixel of `target` to a pixel of `source` by the SSD of the patches around them.

    `target`, `source`: uint8 RGB [H,W,3] of equal size. `patch`: 5 or 7 pixels. `levels`: pyramid levels
    (None: up to 4, the coarsest at least `4 * patch` pixels). `radius`: the first random trial looks that far
    (pixels), each next one half as far. `sweeps` / `fine_sweeps`: passes on coarse levels and on the finest
    one. `threads` changes no bit. `margin`: the most, in squared grey levels a value, by which a match
    elsewhere must beat staying in place where the patch shows little but noise (`patch_pyramid.tolls`); 0 lets noise
    scatter matches all over flat areas.

    `method`: "scan" and "jumps" are two algorithms, whose fields differ; "torch" and "triton" are the jumps,
    to the bit. "auto" is the scan on "cpu"; on "cuda[:N]" Triton, or torch where Triton is not installed.

    Returns offsets int16 [H,W,2] as (dy, dx), so that target pixel p matches source pixel p + offset (always
    inside the picture), and the error float32 [H,W]: the patch SSD over `3 * patch**2` values of 0..255.
    Equal pictures give exactly zero offsets. Raises ConfigError for what it cannot take, DeviceError for a
    device or Triton that is not there. Source: Barnes et al., PatchMatch, ACM TOG 2009; halving radii and
    coarse-to-fine start as there.
    """
    _check(target, source, 3)
    plan = Plan(patch, seed, levels, radius, sweeps, fine_sweeps, margin)
    offsets, errors = nnf_batch(target[None], source[None], plan, threads, method, device)
    return offsets[0], errors[0]


def nnf_batch(
    targets: NDArray[np.uint8],
    sources: NDArray[np.uint8],
    plan: Plan = Plan(),  # noqa: B008  (frozen)
    threads: int = 1,
    method: Method = "auto",
    device: str = "cpu",
) -> tuple[Field, NDArray[np.float32]]:
    """`nnf` of B pairs uint8 [B,H,W,3] at once: offsets int16 [B,H,W,2], errors float32 [B,H,W].

    The batch changes no bit. On a GPU it is what fills the device (8 pairs of 512x512); on a CPU it is a loop.
    """
    _check(targets, sources, 4)
    if threads < 1:
        raise ConfigError(f"threads must be >= 1, got {threads}")
    chosen = _resolved(method, device)
    if chosen in ("torch", "triton"):
        from models import patch_torch

        found = patch_torch.open_device(device)
        run = _triton_search() if chosen == "triton" else patch_torch.search
        offsets, errors = run(targets, sources, plan, found)
    else:
        one = _scan if chosen == "scan" else patch_jumps.search
        fields = [one(t, s, plan, threads) for t, s in zip(targets, sources, strict=True)]
        offsets, errors = np.stack([o for o, _ in fields]), np.stack([e for _, e in fields])
    return offsets, errors.astype(np.float32)


def algorithm(method: Method = "auto", device: str = "cpu") -> str:
    """What decides the bits of a field, for a store's key: "scan" or "jumps"."""
    return "scan" if _resolved(method, device) == "scan" else "jumps"


def errors_of(
    target: NDArray[np.uint8], source: NDArray[np.uint8], offsets: Field, patch: int = 5
) -> NDArray[np.float32]:
    """The error that `nnf` returned beside `offsets`, computed again: so that a store need keep offsets only.

    Same shapes and meaning as in `nnf`; one patch SSD a pixel, some 30 times cheaper than the search.
    """
    _check(target, source, 3)
    Plan(patch)
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
    picture = np.zeros((8 * patch, 8 * patch, 3), np.uint8)
    errors_of(picture, picture, nnf(picture, picture, patch, method="scan")[0], patch)
    nnf(picture, picture, patch, method="jumps")


def _resolved(method: Method, device: str) -> Method:
    """The method that will run. Raises ConfigError for a method that is none or not of this device."""
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if method == "auto":
        if device == "cpu":
            return "scan"
        return "triton" if find_spec("triton") else "torch"
    if method in ("scan", "jumps") and device != "cpu":
        raise ConfigError(f"method {method!r} runs on the cpu only, got device {device!r}; use torch or triton")
    return method


def _triton_search() -> Any:
    if find_spec("triton") is None:
        raise DeviceError("method 'triton' needs Triton (pip install triton), which is not installed; use 'torch'")
    from models import patch_triton

    return patch_triton.search


def _scan(
    target: NDArray[np.uint8], source: NDArray[np.uint8], plan: Plan, threads: int
) -> tuple[Field, NDArray[np.int32]]:
    """Offsets and errors of one pair by sweeps in scan order, in place; odd ones backwards, strips moved by half."""
    with shared(threads) as over:

        def improve(level: Level, turn: int, key: int, state: State) -> State:
            odd = turn % 2 == 1
            shift = STRIP // 2 if odd else 0
            pictures = (level.target, level.source, level.tolls)

            def strips(first: int, last: int) -> None:
                sweep(*pictures, plan.patch, plan.radius, key, odd, shift, first, last, *state)

            over(strips, range(-(-(level.height + shift) // STRIP) + 1))
            return state

        return descend(target, source, plan, improve, over, threads)


def _check(target: NDArray[np.uint8], source: NDArray[np.uint8], axes: int) -> None:
    """Refuse pictures [H,W,3], or batches of them where `axes` is 4, that cannot be matched."""
    named = "[H,W,3]" if axes == 3 else "[B,H,W,3]"
    if target.shape != source.shape or target.ndim != axes or target.shape[-1] != 3:
        raise ConfigError(f"frames to match must both be {named}, got {target.shape} and {source.shape}")
    if target.dtype != np.uint8 or source.dtype != np.uint8:
        raise ConfigError(f"frames to match must be uint8, got {target.dtype} and {source.dtype}")
    if max(target.shape[-3:]) > np.iinfo(np.int16).max or min(target.shape) < 1:
        raise ConfigError(f"frames to match must have 1..32767 pixels a side, got {target.shape[-3:-1]}")
