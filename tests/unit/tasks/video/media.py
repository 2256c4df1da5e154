"""Tiny video files of every awkward kind, written by PyAV: what the tests of `tasks.video` read.

Pictures are procedural. Loaded by path from `conftest.py` (the tests are not a package).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

H, W = 48, 64


def picture(number: int, height: int = H, width: int = W, scene: int = 0) -> np.ndarray:
    """uint8 [height, width, 3]: a gradient that says where up is (bright top left), and a moving box."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([220 - 150 * y / height, 220 - 180 * x / width, 60 + 100 * (x + y) / (height + width)], -1)
    if scene:
        image = np.roll(255 - image, scene, axis=-1)
    left = (3 * number) % max(1, width - 12)
    image[height // 3 : height // 3 + 10, left : left + 10] = (250, 30, 30)
    return image.astype(np.uint8)


def write(
    path: Path,
    *,
    frames: int = 12,
    size: tuple[int, int] = (H, W),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 12800),
    rate: int | Fraction = 25,
    tags: dict[str, int] | None = None,
    convert: dict[str, int] | None = None,
    rotation: tuple[Any, ...] | None = None,
    sar: Fraction | None = None,
    audio: Sequence[tuple[str, float]] = (),
    subtitles: str | None = None,
    chapters: bool = False,
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    gop: int = 6,
    images: Sequence[np.ndarray] | None = None,
    cut_at: int | None = None,
) -> Path:
    """One clip. `audio` lists (codec, start second) of one-second sine tracks; `tags` go on the codec context."""
    height, width = size
    with av.open(str(path), "w", options=muxer or {}) as out:
        out.metadata.update(metadata or {})
        stream = out.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.time_base = stream.codec_context.time_base = time_base
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 1
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_rotation(*rotation)
        if sar is not None:
            stream.codec_context.sample_aspect_ratio = sar
        tracks = []
        for name, start in audio:
            track = out.add_stream(name, rate=48000)
            track.metadata["language"] = ("eng", "fra")[len(tracks) % 2]
            tracks.append((track, start))
        words = out.add_mux_stream(subtitles) if subtitles else None
        if words is not None:
            words.time_base = Fraction(1, 1000)
        if chapters:
            half = {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}}
            out.set_chapters([half, {**half, "id": 2, "start": 200, "end": 480, "metadata": {"title": "two"}}])
        step = int(1 / (Fraction(rate) * time_base))
        for number in range(frames):
            if images is not None:
                image = images[number]
            else:
                image = picture(number, height, width, int(cut_at is not None and number >= cut_at))
            frame = av.VideoFrame.from_ndarray(image, format="rgb48le" if image.dtype == np.uint16 else "rgb24")
            frame = frame.reformat(format=pix_fmt, threads=1, **(convert or {}))
            frame.pts = number * step if pts is None else pts[number]
            frame.time_base = time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        for track, start in tracks:
            _sing(out, track, start)
        if words is not None:
            for number, text in enumerate((b"first line", b"second line")):
                packet = av.Packet(text if subtitles == "subrip" else len(text).to_bytes(2, "big") + text)
                packet.stream, packet.time_base = words, Fraction(1, 1000)
                packet.pts = packet.dts = 40 + 200 * number
                packet.duration = 150
                out.mux(packet)
    return path


def _sing(out: Any, track: Any, start: float) -> None:
    """One second of a sine from `start` on."""
    layout, kind = track.codec_context.layout.name, track.codec_context.format.name
    channels = track.codec_context.layout.nb_channels
    resampler = av.AudioResampler(format=kind, layout=layout, rate=48000)
    wave = (8000 * np.sin(np.arange(48000) * 2 * np.pi * 440 / 48000)).astype(np.int16)
    first = round(start * 48000)
    for at in range(0, 48000, 960):
        block = np.repeat(wave[at : at + 960][None], channels, axis=0).T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="s16", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = 48000, first + at, Fraction(1, 48000)
        for piece in resampler.resample(frame):
            out.mux(track.encode(piece))
    out.mux(track.encode(None))


def sound_only(path: Path) -> Path:
    """A file without pictures."""
    with av.open(str(path), "w") as out:
        _sing(out, out.add_stream("aac", rate=48000), 0.0)
    return path


def no_frames(path: Path) -> Path:
    """A fragmented mp4 cut after its header: a video stream and not one packet."""
    write(path, muxer={"movflags": "empty_moov+frag_keyframe+default_base_moof"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])
    return path


def truncated(path: Path, share: float = 0.6) -> Path:
    """A clip whose index comes first and whose last bytes are gone."""
    write(path, frames=60, muxer={"movflags": "faststart"} if path.suffix == ".mp4" else None)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def flipped(path: Path, seed: int = 0, bytes_hit: int = 40) -> Path:
    """A clip with bytes of its pictures changed."""
    write(path, frames=60, gop=60, images=_noisy(60))
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 2000
    stop = data.index(b"moov", start) - 200
    for at in np.random.default_rng(seed).integers(start, stop, bytes_hit):
        data[at] ^= 0x5A
    path.write_bytes(bytes(data))
    return path


def _noisy(frames: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [np.clip(picture(i) + rng.integers(-20, 20, (H, W, 3)), 0, 255).astype(np.uint8) for i in range(frames)]


def changing_size(path: Path) -> Path:
    """An MPEG transport stream whose second half is larger; time goes on."""
    first, second = path.with_name("a.ts"), path.with_name("b.ts")
    write(first, frames=10)
    write(second, frames=10, size=(64, 96), pts=[(30 + i) * 512 for i in range(10)])
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path
