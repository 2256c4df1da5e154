"""The search for nearest-neighbour fields: how good, how near to its floor of time, how still on noise, how true.

Ratios of things measured in this run. Real pairs come from the clips beside the project, else procedural ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch as replaced

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models import patch_jumps, patch_pyramid, patchmatch
from models.frame_match import frame_match
from models.patch_kernels import measure as measure_ssd
from models.patch_plan import MARGIN, Plan
from models.patch_pyramid import padded, tolls
from models.patchmatch import Method, errors_of, nnf, warm_up
from tests.benchmarks.clips import REAL, unseen_seeds

SIDE, PATCH = 512, 5
PAIRS = (
    ("dog_audio.mp4", 20, 1),
    ("juggle_portrait.mp4", 20, 4),
    ("sign_fullrange.mkv", 30, 8),
    ("bottle_vfr.mp4", 20, 4),
)
"""Clip, frame, how many frames later its partner is."""
CPU_METHODS: tuple[Method, ...] = ("scan", "jumps")

Image = NDArray[np.uint8]
Pairs = dict[str, tuple[Image, Image]]


def pairs() -> Pairs:
    """Four pairs (target, source) of 512x512: real ones when all their clips are here."""
    if all((REAL / name).exists() for name, _, _ in PAIRS):
        return {f"{name} t+{step}": _real(name, first, step) for name, first, step in PAIRS}
    from models.pocket.scenes import render_clip

    found = {}
    for seed in unseen_seeds(4):
        frames = render_clip(seed, 5, SIDE, SIDE).frames_FHWC
        found[f"procedural {seed} t+4"] = (frames[4], frames[0])
    return found


def _real(name: str, first: int, step: int) -> tuple[Image, Image]:
    with av.open(str(REAL / name)) as container:
        frames = [
            f.to_ndarray(format="rgb24")
            for n, f in zip(range(first + step + 1), container.decode(video=0), strict=False)
        ]
    return _square(frames[first + step]), _square(frames[first])


def _square(frame: Image) -> Image:
    scale = SIDE / min(frame.shape[:2])
    size = (max(SIDE, round(frame.shape[1] * scale)), max(SIDE, round(frame.shape[0] * scale)))
    sized = cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
    y, x = (sized.shape[0] - SIDE) // 2, (sized.shape[1] - SIDE) // 2
    return np.ascontiguousarray(sized[y : y + SIDE, x : x + SIDE])


def exhaustive(target: Image, source: Image, pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The least SSD of the patch around each of `pixels` (flat numbers) to any patch of `source`."""
    radius = PATCH // 2

    def patches(image: Image) -> NDArray[np.uint8]:
        framed = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), "edge")
        windows = np.lib.stride_tricks.sliding_window_view(framed, (PATCH, PATCH), (0, 1))
        return windows.reshape(image.shape[0] * image.shape[1], -1)

    # -128 keeps every sum below 2**24, where float32 counts exactly
    queries = torch.from_numpy(patches(target)[pixels].astype(np.float32)) - 128
    all_patches, best = patches(source), torch.full((len(pixels),), torch.inf)
    for first in range(0, len(all_patches), 1 << 15):
        block = torch.from_numpy(all_patches[first : first + (1 << 15)].astype(np.float32)) - 128
        best = torch.minimum(best, ((block * block).sum(1) - 2 * queries @ block.T).amin(1))
    least: NDArray[np.float64] = (best + (queries * queries).sum(1)).double().numpy()
    return least


def quality(found: Pairs, queries: int) -> dict[str, Any]:
    """Mean SSD over mean exhaustive SSD on the same random pixels, for both algorithms, with and without margin."""
    rows: dict[str, Any] = {}
    for number, (name, (target, source)) in enumerate(found.items()):
        pixels = np.random.default_rng(1000 + number).choice(SIDE * SIDE, queries, replace=False)
        least = exhaustive(target, source, pixels).mean()
        row = {"least_per_value": round(float(least) / (3 * PATCH**2), 2)}
        for method in CPU_METHODS:
            for margin in (MARGIN, 0):
                errors = nnf(target, source, PATCH, margin=margin, method=method)[1]
                row[f"{method} margin {margin}"] = round(float(errors.ravel()[pixels].mean() / least), 3)
        rows[name] = row
    rows["mean"] = {key: round(statistics.mean(r[key] for r in rows.values()), 3) for key in list(row)[1:]}
    return rows


def evaluations(target: Image, source: Image, method: Method) -> int:
    """How many SSDs one search takes, counted by its kernels."""
    total = 0

    def counting(kernel: Callable[..., int]) -> Callable[..., None]:
        def counted(*arguments: Any) -> None:
            nonlocal total
            total += kernel(*arguments)

        return counted

    module: Any = patchmatch if method == "scan" else patch_jumps
    kernel = "sweep" if method == "scan" else "jump"
    with replaced.object(module, kernel, counting(getattr(module, kernel))):
        with replaced.object(patch_pyramid, "begin", counting(patch_pyramid.begin)):
            nnf(target, source, PATCH, method=method)
    return total


def over_floor(found: Pairs, repeats: int) -> dict[str, Any]:
    """CPU time of one thread over the floor: SSDs counted x CPU time of one SSD, on the same pictures in this run.

    Two floors: the SSD read at one shift for all pixels (coherent), and at random offsets within 32 px (scattered).
    """
    coherent = np.zeros((SIDE, SIDE, 2), np.int16) + np.array((3, 5), np.int16)
    scattered = np.random.default_rng(0).integers(-32, 33, coherent.shape).astype(np.int16)
    errors = np.empty((SIDE, SIDE), np.int32)
    rows: dict[str, Any] = {}
    for name, (target, source) in found.items():
        flat = padded(target, PATCH // 2), padded(source, PATCH // 2)

        def one_ssd(offsets: NDArray[np.int16], flat: Any = flat) -> float:
            spent = _least_cpu(lambda: [measure_ssd(*flat, PATCH, offsets, errors) for _ in range(8)], repeats)
            return spent / (8 * SIDE * SIDE)

        costs = {"coherent": one_ssd(coherent), "scattered": one_ssd(scattered)}
        row: dict[str, Any] = {f"ssd_ns_{kind}": round(cost * 1e9, 2) for kind, cost in costs.items()}
        for method in CPU_METHODS:
            count = evaluations(target, source, method)
            spent = _least_cpu(lambda m=method, t=target, s=source: nnf(t, s, PATCH, method=m), repeats)  # type: ignore[misc]
            row[method] = {"ssds_per_pixel": round(count / SIDE**2, 1)}
            row[method] |= {f"over_{kind}": round(spent / (count * cost), 2) for kind, cost in costs.items()}
        rows[name] = row
    return rows


def _least_cpu(work: Callable[[], Any], repeats: int) -> float:
    spent = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def two_threads_over_one(found: Pairs, repeats: int) -> dict[str, float]:
    """Wall time with two threads over that with one: the least of interleaved runs (load only adds); mean."""
    ratios: dict[str, float] = {}
    for method in CPU_METHODS:
        of_pairs = []
        for target, source in found.values():
            spent: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(repeats):
                for threads in spent:
                    began = time.perf_counter()
                    nnf(target, source, PATCH, method=method, threads=threads)
                    spent[threads].append(time.perf_counter() - began)
            of_pairs.append(min(spent[2]) / min(spent[1]))
        ratios[method] = round(statistics.mean(of_pairs), 2)
    return ratios


def shifts_found() -> dict[str, Any]:
    """Share of inner pixels of 192x256 crops whose offset is the shift, exactly: of random blobs and of a real frame.

    First of all pixels, then of those that have to move, where another match as exact counts as well: a real frame has
    patches so plain that staying is within the toll (the margin), and patches that are there twice.
    """
    coarse = np.random.default_rng(0).integers(0, 256, (SIDE // 4, SIDE // 4, 3), dtype=np.uint8)
    scenes = {"textured": cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)}
    scenes["frame"] = next(iter(pairs().values()))[0]
    rows: dict[str, dict[str, list[float]]] = {}
    for kind, scene in scenes.items():
        for dy, dx in ((0, 0), (7, -13), (0, 64), (-40, 50), (64, 64)):
            y, x = 160, 128
            target = np.ascontiguousarray(scene[y : y + 192, x : x + 256])
            source = np.ascontiguousarray(scene[y - dy : y - dy + 192, x - dx : x - dx + 256])
            inner = np.s_[abs(dy) + 3 : 189 - abs(dy), abs(dx) + 3 : 253 - abs(dx)]
            staying = errors_of(target, source, np.zeros((*target.shape[:2], 2), np.int16), PATCH)
            must = (staying > tolls(target, Plan(PATCH)))[inner]
            for method in CPU_METHODS:
                offsets, errors = (field[inner] for field in nnf(target, source, PATCH, method=method))
                found = (offsets == (dy, dx)).all(-1)
                exact = (found | (errors == 0))[must]
                shares = found.mean(), exact.mean() if must.any() else 1.0
                rows.setdefault(f"{kind} ({dy}, {dx})", {})[method] = [round(float(share), 4) for share in shares]
    return rows


def drift() -> dict[str, Any]:
    """Median and 90th percentile of |offset| in px between two frames of one flat grey, each with its own noise.

    "frames" is how the product matches (`models.frame_match`): its margin is found from the noise of the pair.
    """
    rows = {}
    for sigma in (1, 2, 3, 4, 6, 8):
        noise = np.random.default_rng(sigma).normal(0, sigma, (2, 128, 128, 3))
        target, source = np.clip(np.rint(120 + noise), 0, 255).astype(np.uint8)
        for patch in (5, 7):
            fields = {
                f"{method}, margin {margin}": nnf(target, source, patch, margin=margin, method=method)[0]
                for method in CPU_METHODS
                for margin in (MARGIN, 0)
            }
            fields["frames"] = frame_match(target[None], source[None], Plan(patch))[0][0]
            for kind, offsets in fields.items():
                far = np.hypot(*np.moveaxis(offsets.astype(float), -1, 0))
                rows[f"sigma {sigma}, patch {patch}, {kind}"] = [
                    round(float(np.percentile(far, q)), 1) for q in (50, 90)
                ]
    return rows


LIGHTS = {"steady": (1.0, 0), "exposure +6": (1.0, 6), "gain 1.05": (1.05, 0), "gain 0.95, +4": (0.95, 4)}


def light(found: Pairs) -> dict[str, Any]:
    """SSD, on the source, of matches found with a brighter or darker one over that of matches found with the source."""
    rows: dict[str, Any] = {}
    for name, (target, source) in found.items():
        for kind, (gain, offset) in LIGHTS.items():
            dark = np.clip(np.rint(source * gain + offset), 0, 255).astype(np.uint8)
            row = {}
            for how in ("scan", "frames"):
                steady, lit = (
                    nnf(target, s, PATCH)[0] if how == "scan" else frame_match(target[None], s[None])[0][0]
                    for s in (source, dark)
                )
                over, under = (errors_of(target, source, field, PATCH).mean() for field in (lit, steady))
                row[how] = round(float(over / under), 2)
            rows[f"{name}, {kind}"] = row
    return rows


def against_true_flow(scenes: int) -> dict[str, Any]:
    """Distance in px to the true flow on pixels of procedural scenes that are not occluded: median, share <= 1 px."""
    from models.pocket.scenes import render_clip

    gaps: dict[str, list[NDArray[np.float64]]] = {}
    for seed in unseen_seeds(scenes):
        clip = render_clip(seed, 2)
        target, source = clip.frames_FHWC[1], clip.frames_FHWC[0]
        flow, seen = clip.backward_flow_FHWC[1], ~clip.backward_occluded_FHW[1]
        for method in CPU_METHODS:
            for margin in (MARGIN, 0):
                offsets = nnf(target, source, PATCH, margin=margin, method=method)[0]
                gap = np.hypot(offsets[..., 1] - flow[..., 0], offsets[..., 0] - flow[..., 1])[seen]
                gaps.setdefault(f"{method} margin {margin}", []).append(gap)
    joined = {key: np.concatenate(rows) for key, rows in gaps.items()}
    return {
        k: {"median": round(float(np.median(g)), 2), "within_1px": round(float((g <= 1).mean()), 3)}
        for k, g in joined.items()
    }


def measure(quick: bool = False) -> dict[str, Any]:
    """All of it."""
    warm_up(5)
    warm_up(7)
    found, repeats = pairs(), 3 if quick else 7
    return {
        "ssd_over_exhaustive": quality(found, 256 if quick else 2048),
        "time": over_floor(found, repeats),
        "two_threads_over_one": two_threads_over_one(found, repeats),
        "shift_found": shifts_found(),
        "drift_px_median_p90": drift(),
        "ssd_over_steady_light": light(found),
        "true_flow": against_true_flow(2 if quick else 8),
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="few pixels and runs: to see that it runs, not to quote")
    print(json.dumps(measure(parser.parse_args().quick), indent=1))


if __name__ == "__main__":
    main()
