"""From a URI to facts: fetch when remote, read the header, and refuse what we cannot do before decoding.

The only file here that knows about remote storage. Every refusal is one sentence: file, value, fix.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import av
import av.error
import fsspec
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from fsspec.callbacks import Callback

from configs.addresses import file_of
from configs.errors import UnreadableVideo, UnsupportedVideo, VideoTooLarge
from configs.job import InputConfig
from tasks.store.patience import patiently
from tasks.video.colour import decide, hdr_kind
from tasks.video.container import codec_name, guard, main_video, opened, reason
from tasks.video.facts import Chapter, ClipFacts, Track
from tasks.video.packets import PacketTable, scan

_PROGRESSIVE = (0, 1)  # AVFieldOrder: unknown, progressive


@contextmanager
def local_copy(uri: str, max_bytes: int | None = None) -> Iterator[Path]:
    """A local path for `uri`: local files in place, others fetched whole in one GET to a temporary file.

    `fs.open` would cost a HEAD and many ranged GETs (design/video.md 2.8). The file goes to the disk as it comes, never
    into memory. Raises UnreadableVideo, and VideoTooLarge before more than `max_bytes` are fetched.
    """
    if (local := file_of(uri)) is not None:
        path = local
        if max_bytes is not None and path.is_file():
            _Fetched(uri, max_bytes).set_size(path.stat().st_size)
        yield path
        return
    suffix = PurePosixPath(uri.split("?", 1)[0]).suffix
    with tempfile.TemporaryDirectory(prefix="steadyframe-") as folder:
        path = Path(folder) / f"source{suffix}"
        try:
            fs, remote = fsspec.core.url_to_fs(uri, use_listings_cache=False)
            patiently(lambda: fs.get_file(remote, str(path), callback=_Fetched(uri, max_bytes)))
        except VideoTooLarge:
            raise
        except FileNotFoundError as error:
            raise UnreadableVideo(f"{uri}: no such object; check the address") from error
        except Exception as error:  # every back end has its own: aiohttp, botocore, gcsfs, azure
            said = str(error) or type(error).__name__
            raise UnreadableVideo(f"{uri}: could not be fetched ({said}); check address and credentials") from error
        yield path


class _Fetched(Callback):
    """Watches a file come: told its size where the answer to the GET says it, and of every piece."""

    def __init__(self, uri: str, most: int | None) -> None:
        super().__init__()
        self._uri, self._most = uri, most

    def set_size(self, size: int | None) -> None:
        """The file is so large, as far as the server knows."""
        super().set_size(size)
        self._refuse(size or 0)

    def relative_update(self, inc: int = 1) -> None:
        """So many bytes more are here."""
        super().relative_update(inc)
        self._refuse(self.value)

    def _refuse(self, size: int) -> None:
        if self._most is not None and size > self._most:
            raise VideoTooLarge(
                f"{self._uri}: is {size / 1e9:.3g} GB or more, the limit is {self._most} bytes (input.max_bytes); "
                "raise the limit or cut it into parts"
            )


def probe(uri: str, limits: InputConfig, path: Path | None = None) -> ClipFacts:
    """Facts of the video at `uri`; `path` is its `local_copy` if the caller has it already.

    Reads the header, then every packet, then decodes one frame (rotation and field flags are only there).
    Raises UnreadableVideo, UnsupportedVideo or VideoTooLarge, all before the second frame is decoded.
    """
    if path is None:
        with local_copy(uri, limits.max_bytes) as local:
            return probe(uri, limits, local)
    with opened(path, uri) as container:
        stream = main_video(container, uri)
        _refuse_by_header(container, stream, uri, limits)
        # A chosen range is what gets decoded, so it and not the file is held against the limits.
        most = limits.max_frames if limits.frames is None else max(limits.max_frames, 1 << 24)
        table = scan(container, stream, uri, most)
        if not table.pts:
            raise UnreadableVideo(f"{uri}: holds no frames; record or export it again")
        frame = _first_frame(path, uri, limits.max_pixels)
        return _facts(uri, path, container, stream, table, frame, limits)


def _facts(
    uri: str,
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    table: PacketTable,
    frame: av.VideoFrame,
    limits: InputConfig,
) -> ClipFacts:
    codec = stream.codec_context
    kind = codec.format
    tick = stream.time_base or Fraction(1, 1000)
    span = (table.end - table.pts[0]) * tick
    if limits.frames is None:
        _refuse_long(uri, float(span), limits)
    interlaced = _is_interlaced(stream) or bool(frame.interlaced_frame)
    if interlaced:
        _refuse_interlaced(uri, limits)
    rotation, mirrored = _orientation(frame, uri)
    sar = stream.sample_aspect_ratio or codec.sample_aspect_ratio or Fraction(1)
    sar = sar if sar > 0 else Fraction(1)
    height, width = shown_size(frame.height, frame.width, sar, rotation)
    if height * width > limits.max_pixels:
        raise _too_many_pixels(uri, width, height, limits)
    rate = stream.average_rate or len(table.pts) / span
    return ClipFacts(
        uri=uri,
        digest=_sha256(path),
        bytes=path.stat().st_size,
        container=container.format.name,
        codec=codec_name(stream),
        stream=stream.index,
        coded_width=frame.width,
        coded_height=frame.height,
        width=width,
        height=height,
        sample_aspect_ratio=(sar.numerator, sar.denominator),
        rotation=rotation,
        mirrored=mirrored,
        time_base=(tick.numerator, tick.denominator),
        average_rate=(rate.numerator, rate.denominator),
        duration=float(span),
        start_pts=table.pts[0],
        frames=len(table.pts),
        bit_depth=max((c.bits for c in kind.components), default=8) if kind else 8,
        pixel_format=codec.pix_fmt or "",
        colour=decide(codec),
        hdr=hdr_kind(int(codec.color_trc)),
        interlaced=interlaced,
        alpha=kind is not None and any(c.is_alpha for c in kind.components),
        audio=_tracks(container, "audio"),
        subtitles=_tracks(container, "subtitle"),
        data=_tracks(container, "data"),
        chapters=_chapters(container),
        metadata=dict(container.metadata),
    )


def shown_size(height: int, width: int, sar: Fraction, rotation: int) -> tuple[int, int]:
    """(height, width) upright with square pixels; the side that is too short grows, to an even number."""
    if sar > 1:
        width = 2 * round(width * sar / 2)
    elif sar < 1:
        height = 2 * round(height / sar / 2)
    return (width, height) if rotation in (90, 270) else (height, width)


def _refuse_by_header(container: InputContainer, stream: VideoStream, uri: str, limits: InputConfig) -> None:
    codec = stream.codec_context
    if codec.width < 1 or codec.height < 1 or codec.pix_fmt is None:
        raise UnreadableVideo(f"{uri}: its {codec_name(stream)} stream holds no frames; record or export it again")
    if codec.width * codec.height > limits.max_pixels:
        raise _too_many_pixels(uri, codec.width, codec.height, limits)
    if limits.frames is None and container.duration:
        _refuse_long(uri, container.duration / av.time_base, limits)
    hdr = hdr_kind(int(codec.color_trc))
    if hdr != "none" and limits.hdr == "refuse":
        raise UnsupportedVideo(f"{uri}: is HDR ({hdr.upper()}); set input.hdr=tonemap to bring it down to SDR")
    if _is_interlaced(stream):
        _refuse_interlaced(uri, limits)


def _is_interlaced(stream: VideoStream) -> bool:
    return int(stream.codec_context.field_order) not in _PROGRESSIVE


def _refuse_interlaced(uri: str, limits: InputConfig) -> None:
    if limits.interlaced == "refuse":
        raise UnsupportedVideo(f"{uri}: is interlaced; set input.interlaced=deinterlace, or deinterlace it first")


def _refuse_long(uri: str, seconds: float, limits: InputConfig) -> None:
    if seconds > limits.max_seconds:
        raise VideoTooLarge(
            f"{uri}: lasts {seconds:.1f} s, the limit is {limits.max_seconds:g} s (input.max_seconds); "
            "raise the limit or choose input.frames"
        )


def _too_many_pixels(uri: str, width: int, height: int, limits: InputConfig) -> VideoTooLarge:
    return VideoTooLarge(
        f"{uri}: is {width}x{height} = {width * height} pixels, the limit is {limits.max_pixels} "
        "(input.max_pixels); raise the limit or scale it down first"
    )


def _first_frame(path: Path, uri: str, max_pixels: int) -> av.VideoFrame:
    """The first frame that decodes; damaged packets before it are passed over."""
    last = "no picture came out"
    with opened(path, uri) as container:
        stream = main_video(container, uri)
        guard(stream, max_pixels)
        try:
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError as error:
                    last = reason(error)
                    continue
                if frames:
                    return frames[0]
        except av.error.FFmpegError as error:
            last = reason(error)
    raise UnreadableVideo(f"{uri}: not one frame decodes ({last}); the file is damaged or its codec is unknown")


def _orientation(frame: av.VideoFrame, uri: str) -> tuple[Any, bool]:
    """(counter-clockwise degrees, then mirrored) that make the frame upright, from its display matrix.

    `frame.rotation` alone cannot tell a flip from a half turn, so the 3x3 matrix itself is read
    (16.16 fixed point; x' = a x + c y, y' = b x + d y).
    """
    found = [side for side in frame.side_data if str(side.type).endswith("DISPLAYMATRIX")]
    if not found:
        return 0, False
    matrix = np.frombuffer(bytes(found[0])[:36], np.int32).reshape(3, 3)[:2, :2] / 65536.0
    (a, b), (c, d) = np.sign(np.where(np.abs(matrix) > 0.5, matrix, 0)).astype(int)
    turns = {
        (1, 0, 0, 1): (0, False), (-1, 0, 0, 1): (0, True),
        (-1, 0, 0, -1): (180, False), (1, 0, 0, -1): (180, True),
        (0, -1, 1, 0): (90, False), (0, 1, -1, 0): (270, False),
        (0, 1, 1, 0): (270, True), (0, -1, -1, 0): (90, True),
    }  # fmt: skip
    if (a, b, c, d) not in turns:
        raise UnsupportedVideo(
            f"{uri}: is to be shown turned by {frame.rotation} degrees; only quarter turns are known, "
            "re-export it upright"
        )
    return turns[a, b, c, d]


def _tracks(container: InputContainer, kind: str) -> tuple[Track, ...]:
    return tuple(
        Track(
            index=s.index,
            codec=codec_name(s),
            language=s.metadata.get("language"),
            disposition=int(s.disposition),
            start=None if s.start_time is None or s.time_base is None else float(s.start_time * s.time_base),
        )
        for s in container.streams
        if s.type == kind
    )


def _chapters(container: InputContainer) -> tuple[Chapter, ...]:
    return tuple(
        Chapter(
            start=float(c["start"] * (c["time_base"] or 1)),
            stop=float(c["end"] * (c["time_base"] or 1)),
            title=c["metadata"].get("title", ""),
        )
        for c in container.chapters()
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
