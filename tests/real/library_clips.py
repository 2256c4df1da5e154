"""A small library of videos: good ones in many codecs, six broken ones with the error each must die of.

Pictures are moving textures from a seed; a repaired video is a good one under the name of a broken one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

MOST_PIXELS = 600 * 600
RATE = 25


@dataclass(frozen=True)
class Kind:
    """A way to write a clip: suffix, codec, pixel format, codec options, codec of the sound if it has some."""

    suffix: str
    codec: str
    pixels: str = "yuv420p"
    options: tuple[tuple[str, str], ...] = ()
    sound: str = ""


# no H.265 and AV1: libx265 and libsvtav1 of PyAV's wheels write past their buffers on pictures as small as these
KINDS = (
    Kind("mp4", "libx264", sound="aac"),
    Kind("avi", "huffyuv", "yuv422p"),
    Kind("webm", "libvpx-vp9", options=(("cpu-used", "8"),)),
    Kind("avi", "mpeg4"),
    Kind("mov", "mjpeg", "yuvj420p", sound="pcm_s16le"),
    Kind("mkv", "ffv1", "bgr0"),
    Kind("ts", "mpeg2video"),
    Kind("mov", "prores_ks", "yuv422p10le"),
    Kind("webm", "libvpx", sound="libopus"),
    Kind("flv", "flv1"),
    Kind("mkv", "libx264", "yuv420p10le"),
    Kind("mp4", "libx264", "yuv444p"),
)
SIZES = ((48, 64), (64, 48), (64, 64), (46, 50))


def write_good(folder: Path, count: int) -> list[Path]:
    """`count` clips of 3-8 frames, no two alike, in two subfolders."""
    made = []
    for n in range(count):
        kind = KINDS[n % len(KINDS)]
        height, width = SIZES[n % len(SIZES)]
        path = folder / ("night" if n % 2 else "day") / f"clip-{n:02d}-{kind.codec}.{kind.suffix}"
        made.append(write_clip(path, kind, frames=3 + n % 6, height=height, width=width, seed=n))
    return made


def write_clip(path: Path, kind: Kind, frames: int, height: int, width: int, seed: int) -> Path:
    """One clip; with sound when its kind has some."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    big = rng.integers(0, 255, (height // 2, width, 3)).astype(np.uint8).repeat(2, 0).repeat(2, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(kind.codec, rate=RATE, options=dict(kind.options))
        stream.height, stream.width, stream.pix_fmt = height, width, kind.pixels
        sound = container.add_stream(kind.sound, rate=48_000, layout="stereo") if kind.sound else None
        for n in range(frames):
            picture = np.ascontiguousarray(np.roll(big, n, axis=1)[:, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
        if sound is not None:
            _write_sound(container, sound, rng, seconds=frames / RATE)
    return path


def _write_sound(container: Any, stream: Any, rng: np.random.Generator, seconds: float) -> None:
    samples = max(960, round(48_000 * seconds) // 960 * 960)
    noise = (rng.normal(0, 1500, (1, 2 * samples))).astype(np.int16)
    for at in range(0, samples, 960):
        frame = av.AudioFrame.from_ndarray(noise[:, 2 * at : 2 * (at + 960)], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, at, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_real(folder: Path, clips: Path) -> list[Path]:
    """Copies of the real clips beside the project, each with a sidecar that takes few of its frames."""
    made = []
    for clip in sorted(p for p in clips.glob("*.m*") if p.suffix in (".mp4", ".mkv")):
        path = folder / "real" / clip.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip.read_bytes())
        path.with_name(path.name + ".yaml").write_text("input: {frames: [0, 6]}\n")
        made.append(path)
    return made


@dataclass(frozen=True)
class Broken:
    """A video that cannot be done: how it comes about from a good file, and how it must die."""

    name: str
    error: str
    says: str
    write: Callable[[Path, bytes], None]


def _empty(path: Path, good: bytes) -> None:
    path.write_bytes(b"")


def _text(path: Path, good: bytes) -> None:
    path.write_text("Dear editor, the video is late.\n" * 40)


def _truncated(path: Path, good: bytes) -> None:
    path.write_bytes(good[: len(good) // 2])


def _header_only(path: Path, good: bytes) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.height, stream.width = 48, 64
        container.start_encoding()


def _sound_only(path: Path, good: bytes) -> None:
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48_000, layout="stereo")
        _write_sound(container, sound, np.random.default_rng(0), seconds=0.2)


def _over_the_limit(path: Path, good: bytes) -> None:
    write_clip(path, KINDS[0], frames=2, height=610, width=640, seed=99)


BROKEN = (
    Broken("empty.mp4", "UnreadableVideo", "is empty (0 bytes); copy or download it again", _empty),
    Broken("text.mkv", "UnreadableVideo", "is not a video we can open (Invalid data", _text),
    Broken("truncated.mp4", "UnreadableVideo", "if it was cut short while being written", _truncated),
    Broken("header-only.mkv", "UnreadableVideo", "is not a video we can open (End of file)", _header_only),
    Broken("sound-only.m4v", "UnreadableVideo", "holds no video stream (only audio); give a file", _sound_only),
    Broken("over-the-limit.mp4", "VideoTooLarge", "is 640x610 = 390400 pixels, the limit is 360000", _over_the_limit),
)


def write_broken(folder: Path) -> list[Path]:
    """The six of them, in `inbox`."""
    folder = folder / "inbox"
    folder.mkdir(parents=True, exist_ok=True)
    good = write_clip(folder / "good.mp4", KINDS[0], 8, 48, 64, 50)
    data = good.read_bytes()
    good.unlink()
    for broken in BROKEN:
        broken.write(folder / broken.name, data)
    return [folder / broken.name for broken in BROKEN]


def repair(path: Path, seed: int) -> None:
    """A good video, of its suffix's container, under the name of a broken one."""
    path.unlink(missing_ok=True)
    write_clip(path, KINDS[0], 5, 48, 64, 200 + seed)
