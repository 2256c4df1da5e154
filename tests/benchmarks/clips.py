"""The clips that benchmarks run on: the real ones beside the project when present, else procedural ones."""

from __future__ import annotations

from pathlib import Path

REAL = Path(__file__).resolve().parents[3] / "shared" / "clips"


def benchmark_clips(count: int) -> list[Path]:
    """Up to `count` clips; real ones that were not trained on come first."""
    names = ("dog_audio.mp4", "juggle_portrait.mp4", "bottle_vfr.mp4", "sign_fullrange.mkv", "cars_500x282.mp4")
    real = [REAL / name for name in names if (REAL / name).exists()]
    if real:
        return real[:count]
    from flows.demo import demo_clip

    return [demo_clip()]
