"""Small sound clips of many containers and codecs, written by PyAV: what is then mutated."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.codec
import numpy as np

from tasks.video.priority import priority_kept


@dataclass(frozen=True, eq=False)
class Kind:
    """One sort of file; `family` is how its structure is walked."""

    name: str
    suffix: str
    codec: str
    family: str = "plain"
    pix_fmt: str = "yuv420p"
    audio: str = ""
    muxer: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    size: tuple[int, int] = (48, 64)
    interlaced: bool = False


KINDS = (
    Kind("mp4 h264 aac", ".mp4", "libx264", "mp4", audio="aac", muxer={"movflags": "faststart"}),
    Kind("mp4 h264 fragments", ".mp4", "libx264", "mp4", muxer={"movflags": "frag_keyframe+empty_moov"}),
    Kind("mp4 hevc", ".mp4", "libx265", "mp4", options={"x265-params": "log-level=none:pools=1:frame-threads=1"}),
    Kind("mp4 av1", ".mp4", "libsvtav1", "mp4", options={"preset": "12", "svtav1-params": "lp=1"}, size=(64, 64)),
    Kind("mov mjpeg pcm", ".mov", "mjpeg", "mp4", pix_fmt="yuvj420p", audio="pcm_s16le"),
    Kind("mov prores", ".mov", "prores_ks", "mp4", pix_fmt="yuv422p10le"),
    Kind("mov h264 10 bit", ".mov", "libx264", "mp4", pix_fmt="yuv420p10le"),
    Kind("mkv h264 opus", ".mkv", "libx264", "mkv", audio="libopus"),
    Kind("mkv ffv1 flac", ".mkv", "ffv1", "mkv", pix_fmt="yuv444p", audio="flac"),
    Kind(
        "webm vp9 opus",
        ".webm",
        "libvpx-vp9",
        "mkv",
        audio="libopus",
        options={"deadline": "realtime", "cpu-used": "8"},
    ),
    Kind("webm vp8 vorbis", ".webm", "libvpx", "mkv", options={"deadline": "realtime", "cpu-used": "8"}),
    Kind("avi mpeg4 mp3", ".avi", "mpeg4", "avi", audio="mp3"),
    Kind("avi mjpeg", ".avi", "mjpeg", "avi", pix_fmt="yuvj420p"),
    Kind("avi huffyuv", ".avi", "huffyuv", "avi", pix_fmt="yuv422p"),
    Kind("ts h264 aac", ".ts", "libx264", "ts", audio="aac"),
    Kind("ts mpeg2 interlaced", ".ts", "mpeg2video", "ts", audio="mp2", interlaced=True),
    Kind("mpg mpeg1", ".mpg", "mpeg1video"),
    Kind("flv flv1", ".flv", "flv"),
    Kind("wmv wmv2", ".wmv", "wmv2"),
    Kind("mxf mpeg2", ".mxf", "mpeg2video"),
    Kind("ogv theora", ".ogv", "libtheora"),
    Kind("y4m raw", ".y4m", "wrapped_avframe"),
    Kind("3gp h263", ".3gp", "h263", "mp4", size=(96, 128)),
)


def write(kind: Kind, folder: Path, frames: int = 10) -> Path | None:
    """The clip of a kind; None where this build of PyAV cannot write it."""
    path = folder / f"{kind.name.replace(' ', '-')}{kind.suffix}"
    os.environ.setdefault("SVT_LOG", "-1")  # the AV1 encoder talks
    if kind.codec not in av.codec.codecs_available:
        return None
    height, width = kind.size
    try:
        with av.open(str(path), "w", options=dict(kind.muxer)) as out:
            video = out.add_stream(kind.codec, rate=25, options=dict(kind.options))
            video.width, video.height, video.pix_fmt = width, height, kind.pix_fmt
            video.codec_context.gop_size = 5
            video.codec_context.thread_count = 1
            if kind.interlaced:
                video.codec_context.flags |= 1 << 18 | 1 << 29  # interlaced DCT and motion estimation
            sound = out.add_stream(kind.audio, rate=48000) if kind.audio else None
            with priority_kept():
                out.start_encoding()
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(picture(number, height, width), format="rgb24")
                out.mux(video.encode(frame.reformat(format=kind.pix_fmt)))
            out.mux(video.encode())
            if sound is not None:
                tone = (8000 * np.sin(np.arange(48000 * frames // 25) / 20)).astype(np.int16)
                wave = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
                wave.sample_rate, wave.time_base, wave.pts = 48000, Fraction(1, 48000), 0
                resampler = av.AudioResampler(
                    sound.format, sound.layout, sound.rate, frame_size=sound.frame_size or 1024
                )
                for part in (*resampler.resample(wave), *resampler.resample(None)):
                    out.mux(sound.encode(part))
                out.mux(sound.encode())
    except (av.error.FFmpegError, ValueError):
        return None
    return path


def picture(number: int, height: int, width: int) -> np.ndarray:
    """uint8 [height, width, 3]: a gradient with a box that moves."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([255 * y / height, 255 * x / width, 128 + 0 * x], -1).astype(np.uint8)
    left = 4 * number % max(1, width - 12)
    image[height // 4 : height // 4 + 12, left : left + 12] = (250, 40, 30)
    return image
