"""Task 5, 3D rendering: only depth maps say what is where; words say what it looks like."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.conditions import soft_edges
from tests.benchmarks.five_tasks.bench import STEADY, Bench, Row, rows_of

COMMAND = "steadyframe restyle CLIP --preset render3d --depth MAPS --prompt TEXT --out DIR"
ABOUT = (
    "Contours: correlation of the picture's contours with those of its true maps, mean over frames. Control: the same "
    "job over the depth maps of another scene, judged by the true ones. The scene itself says how much there is to "
    "show: its textures and shadows have no depth."
)


def measure(bench: Bench) -> list[Row]:
    """True maps, true maps without deflicker, and another scene's maps."""
    rows: list[Row] = []
    scenes = bench.scenes()
    maps = {name: _written(bench.folder / f"depth-{name}", scene.depth_FHW) for name, scene in scenes.items()}
    names = list(scenes)
    for number, (name, scene) in enumerate(scenes.items()):
        path, source = bench.written(name, scene.frames_FHWC), scene.frames_FHWC
        other = maps[names[(number + 1) % len(names)]]
        arms = {
            "result": bench.restyled("render3d", path, depth=str(maps[name]), prompt=scene.caption),
            "no deflicker": bench.restyled("render3d", path, STEADY, depth=str(maps[name]), prompt=scene.caption),
            "another scene's depth": bench.restyled("render3d", path, depth=str(other), prompt=scene.caption),
            "the scene itself": source,
        }
        outlines = soft_edges(np.repeat((scene.depth_FHW * 255).astype(np.uint8)[..., None], 3, axis=3))
        more = {arm: {"contours": alike(soft_edges(made), outlines)} for arm, made in arms.items()}
        rows += rows_of(name, source, arms, more)
    return rows


def alike(one_FHW: NDArray[np.float32], other_FHW: NDArray[np.float32]) -> float:
    """Correlation of two maps, mean over frames."""
    pairs = zip(one_FHW, other_FHW, strict=True)
    return float(np.mean([np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in pairs]))


def _written(folder: Path, depth_FHW: NDArray[np.float32]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, depth in enumerate(depth_FHW):
        cv2.imwrite(str(folder / f"{number:06d}.png"), np.round(depth * 65535).astype(np.uint16))
    return folder
