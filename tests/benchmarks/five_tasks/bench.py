"""What the five tasks share: unseen scenes as clips, whole jobs in this process, and the figures of their arms.

Knows jobs and pictures; refuses to know what a task is. Legend: F frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.overrides import build_job
from models.metrics import FlickerMeter, psnr, sharpness_ratio
from models.pocket.scenes import Scene, render_clip
from models.pocket.styles import STYLES
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.ref import Ref
from tasks.rendered import rendered_frames
from tasks.run import Run
from tasks.store import Store
from tests.benchmarks.clips import unseen_seeds, write_exactly

Frames = NDArray[np.uint8]
STEADY = "deflicker.enabled=false"


@dataclass(frozen=True)
class Row:
    """Figures of one arm of a task on one clip; `look`: the style wanted, if the task has one."""

    clip: str
    arm: str
    figures: Mapping[str, float]
    look: str = ""


@dataclass
class Bench:
    """Clips and a warm engine. frames: of every clip."""

    folder: Path
    store: Store
    engines: EnginePool
    clips: int
    frames: int
    _scenes: dict[int, Scene] = field(default_factory=dict)

    def scenes(self) -> dict[str, Scene]:
        """Unseen scenes by name, 144x256, with steady light so that all flicker is made by the job."""
        for seed in unseen_seeds(self.clips):
            if seed not in self._scenes:
                self._scenes[seed] = render_clip(seed, self.frames, objects=1, steady_light=True)
        return {f"procedural-{seed}": scene for seed, scene in self._scenes.items()}

    def looks(self) -> list[tuple[str, str]]:
        """(clip, style) pairs in which every clip and every style comes at least once."""
        names = list(self.scenes())
        styles = list(STYLES)
        return [(names[n % len(names)], styles[n % len(styles)]) for n in range(max(len(names), len(styles)))]

    def written(self, name: str, frames_FHWC: Frames) -> Path:
        """A clip as a file, exact to the bit."""
        path = self.folder / f"{name}.mkv"
        if not path.exists():
            write_exactly(path, frames_FHWC)
        return path

    def restyled(self, preset: str, path: Path, *sets: str, **flags: Any) -> Frames:
        """The frames (F, H, W, 3) that the product makes of a clip, before they are encoded."""
        job = build_job(preset, None, sets, {"sources": (str(path),), "out": str(self.folder / "out"), **flags})
        done: list[Ref] = []

        def keeping(stage: str, part: str, work: Callable[[], Ref]) -> Ref:
            ref = work()
            if stage == "denoise":
                done.append(ref)
            return ref

        restyle_video(Run(job, str(path), self.store, self.engines), keeping)
        return np.stack(list(rendered_frames(self.store, done)))


def steadiness(source_FHWC: Frames, arms: Mapping[str, Frames]) -> dict[str, dict[str, float]]:
    """Masked Pixel-MSE of every arm along the source's motion, and of the source itself."""
    meter = FlickerMeter()
    for number, source in enumerate(source_FHWC):
        meter.add(source, **{f"arm{n}": frames[number] for n, frames in enumerate(arms.values())})
    return {name: {"flicker": meter.mean(f"arm{n}"), "source": meter.mean("source")} for n, name in enumerate(arms)}


def likeness(made_FHWC: Frames, wanted_FHWC: Frames) -> dict[str, float]:
    """PSNR to what was wanted and sharpness beside it."""
    values = [psnr(a, b) for a, b in zip(made_FHWC, wanted_FHWC, strict=True)]
    return {"psnr": float(np.mean(values)), "sharpness": sharpness_ratio(made_FHWC, wanted_FHWC)}


def rows_of(
    clip: str, source: Frames, arms: Mapping[str, Frames], more: Mapping[str, Mapping[str, float]], look: str = ""
) -> list[Row]:
    """One row per arm: its flicker, and what else is known of it."""
    steady = steadiness(source, arms)
    return [Row(clip, arm, {**more.get(arm, {}), "flicker": steady[arm]["flicker"]}, look) for arm in arms]


def mean_by_arm(rows: Sequence[Row]) -> dict[str, dict[str, list[float]]]:
    """Figures by arm, one value per clip, which is the unit of chance: the mean over the looks that it was given."""
    seen: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row in rows:
        for name, value in row.figures.items():
            seen.setdefault(row.arm, {}).setdefault(name, {}).setdefault(row.clip, []).append(value)
    return {
        arm: {name: [float(np.mean(values)) for values in clips.values()] for name, clips in figures.items()}
        for arm, figures in seen.items()
    }


def by_look(rows: Sequence[Row], arm: str) -> dict[str, dict[str, float]]:
    """Means of one arm by look, over the clips that were given it; empty for a task without looks."""
    looks = dict.fromkeys(row.look for row in rows if row.look)
    chosen = {look: [row for row in rows if (row.look, row.arm) == (look, arm)] for look in looks}
    return {look: {"clips": len(mine), **_means([row.figures for row in mine])} for look, mine in chosen.items()}


def _means(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in figures])) for name in figures[0]}
