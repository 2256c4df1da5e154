"""Rows of a library for tests of its page: good, reused, worth a look, dead, not reached, and with hostile names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from configs.gate import GateConfig
from tasks.gate import reasons
from tasks.library_page import LibraryRow
from tasks.thumbnail import jpeg

HOSTILE = (
    '<script>document.title="owned"</script>.mp4',
    "</script><script>document.title='owned'//.mp4",
    '"><img src=x onerror=document.title="owned">.mp4',
    "javascript:document.title='owned'",
    "a & b #1 100% done?.mp4",
    "ünïcode – 影片 \u202egnp.mp4",
)
REPLAY = "steadyframe replay --job 20261121-220000-ab12"


def figures(seed: int, **changes: float | None) -> dict[str, Any]:
    """Figures of a good result as `VideoOutput.metrics` holds them, a little different for every seed."""
    rng = np.random.default_rng(seed)
    flicker = float(rng.uniform(1, 9))
    own: dict[str, Any] = {
        "pixel_mse": flicker,
        "no_warp": flicker * 9,
        "seam_ratio": float(rng.uniform(0.9, 1.2)),
        "sharpness_to_source": float(rng.uniform(0.1, 0.6)),
        "sharpness_pulsing": float(rng.uniform(0, 0.09)),
        "fidelity_psnr": float(rng.uniform(21, 32)),
        "style_accuracy": 1.0,
        "structure_ratio": 0.97,
        "colour_error": 3.2,
    }
    steady = {"pixel_mse": 9.5, "seam_ratio": 1.0}
    return {**own, **changes, "arms": {"source": steady, "filter": {**steady, "pixel_mse": 9.9}}}


def picture(seed: int, height: int = 90, width: int = 160) -> bytes:
    """A small JPEG with something to see."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    tint, (fx, fy) = rng.uniform(60, 230, 3), rng.uniform(2, 9, 2)
    wave = 0.6 + 0.4 * np.sin(fx * x * 6 + seed) * np.cos(fy * y * 6)
    return jpeg((wave[..., None] * tint).astype(np.uint8))


def library(folder: Path, plain: int = 44, thumbnail: Callable[[int], bytes] = picture) -> list[LibraryRow]:
    """`plain` good videos and those of `HOSTILE`, a third of them reused; 7 worth a look, 6 dead, one not reached."""
    names = [f"day {n // 10 + 1}/clip {n}.mp4" for n in range(plain)]
    rows = [
        _finished(folder, name, n, "reused" if n % 3 == 0 else "done", figures(n), thumbnail(n))
        for n, name in enumerate([*names, *HOSTILE])
    ]
    bad: list[dict[str, float | None]] = [{"pixel_mse": 30.0 + n, "seam_ratio": 2.5} for n in range(6)]
    for n, changes in enumerate([*bad, {"style_accuracy": 0.0, "fidelity_psnr": 12.0}]):
        rows.append(
            _finished(folder, f"flickers/take {n}.mp4", 100 + n, "done", figures(n, **changes), thumbnail(90 + n))
        )
    for n in range(6):
        rows.append(
            LibraryRow(
                name=f"broken/reel {n}.mp4",
                status="dead",
                source=f"/films/broken/reel {n}.mp4",
                error_class="UnreadableVideo" if n % 2 else "DamagedVideo",
                failure="poison",
                message=f"/films/broken/reel {n}.mp4: frame {n} does not decode <b>at all</b>; repair the file",
                replay=REPLAY,
                seconds=0.4,
            )
        )
    return [*rows, LibraryRow(name="late/last.mp4", status="waiting", source="/films/late/last.mp4")]


def _finished(folder: Path, name: str, n: int, status: Any, metrics: dict[str, Any], thumbnail: bytes) -> LibraryRow:
    stem = name.replace("/", "_")
    return LibraryRow(
        name=name,
        status=status,
        source=f"/films/{name}",
        output=str(folder / f"{stem}--oil.mp4"),
        report=str(folder / f"{stem}--oil.html"),
        metrics=metrics,
        review_reasons=reasons(metrics, GateConfig()),
        seconds=0.0 if status == "reused" else 3.5 + n * 1.7,
        frames=48,
        thumbnail=thumbnail,
    )
