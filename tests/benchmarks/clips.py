"""The clips that benchmarks run on: the real ones beside the project when present, else procedural ones."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

REAL = Path(__file__).resolve().parents[3] / "shared" / "clips"
UNSEEN_SEED = 70_000  # training draws its scenes by numbers below 2**31; that it met one of these is next to impossible


def benchmark_clips(count: int) -> list[Path]:
    """Up to `count` clips; real ones that were not trained on come first."""
    names = ("dog_audio.mp4", "juggle_portrait.mp4", "bottle_vfr.mp4", "sign_fullrange.mkv", "cars_500x282.mp4")
    real = [REAL / name for name in names if (REAL / name).exists()]
    if real:
        return real[:count]
    from flows.demo import demo_clip

    return [demo_clip()]


def unseen_seeds(count: int) -> list[int]:
    """The first seeds from UNSEEN_SEED on whose scenes go round all places before any comes twice."""
    from models.pocket.scene_cast import PLACES
    from models.pocket.scenes import open_scene

    seeds: list[int] = []
    left: set[str] = set()
    seed = UNSEEN_SEED
    while len(seeds) < count:
        left = left or {place.where for place in PLACES}
        caption = open_scene(seed, 1).caption
        here = {where for where in left if where in caption}
        if here:
            seeds.append(seed)
            left -= here
        seed += 1
    return seeds


def procedural_clip(folder: Path, seed: int, frames: int) -> Path:
    """Render a scene, 144x256 at 25 frames per second, into `procedural-<seed>.mkv`, exact to the bit."""
    from models.pocket.scenes import render_clip

    path = folder / f"procedural-{seed}.mkv"
    write_exactly(path, render_clip(seed, frames).frames_FHWC)
    return path


def write_exactly(path: Path, frames_FHWC: npt.NDArray[np.uint8]) -> None:
    """uint8 RGB frames as FFV1 without any loss; the same frames give the same file."""
    # bit-exact muxing: Matroska otherwise draws random ids
    with av.open(str(path), "w", format="matroska", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = frames_FHWC.shape[1:3]
        stream.pix_fmt = "bgr0"
        for picture in frames_FHWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
