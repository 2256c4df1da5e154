"""`write_video`: finished frames plus everything else of the source become one new file, whole or not at all.

Same number of frames, same time stamps, same sound packets; tagged as AI-generated. Written beside its
destination and renamed. Knows no stage and no store.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from configs.errors import StoreError, UnsupportedVideo, VideoError
from configs.job import OutputConfig
from tasks.video.colour import BT709, EXACT, FULL, LIMITED
from tasks.video.container import main_video, opened, reason
from tasks.video.copying import CopiedTracks, kept_metadata, shifted_chapters
from tasks.video.encoder import THREADS, Container, Encoding, choose_container, choose_encoding
from tasks.video.facts import ClipFacts, ClipIndex
from tasks.video.packets import scan

Frame = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_STORAGE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EIO,
        errno.ENOENT,
        errno.ENOTDIR,
    }
)
_KEY = "steadyframe_key"


@dataclass(frozen=True)
class Written:
    """The file that came out; `dropped` says in words which tracks of the source it does not hold.

    `delay` is by how many seconds everything starts later than in the source: 0, except in Matroska (which
    has no time before 0) when sound begins before 0, as AAC in mp4 does by 21 ms. Offsets between tracks stay.
    """

    path: Path
    container: Container
    bytes: int
    frames: int
    dropped: tuple[str, ...]
    delay: float = 0.0


def write_video(
    dst: Path,
    frames: Iterable[Frame],
    facts: ClipFacts,
    index: ClipIndex,
    source_path: Path,
    output: OutputConfig,
    metadata: Mapping[str, str],
) -> Written:
    """Encode `frames` (RGB [facts.height, facts.width, 3], one per index entry) to `dst`.

    uint8, or uint16 with full scale 65535. The suffix of `dst` becomes that of the container. `metadata`
    should hold `steadyframe_key` and `model`; both also go into the comment that says "AI-generated".
    Raises StoreError when the place cannot be written (nothing is left behind), UnsupportedVideo when the
    encoder refuses, ValueError when frames do not match the index.
    """
    container = choose_container(facts, output)
    dst = dst.with_suffix(f".{container}")
    encoding = choose_encoding(output, facts.height, facts.width, container)
    temporary = dst.parent / f".{dst.name}.{os.getpid()}.part"
    with _into(dst, temporary):
        dropped, early = _encode(temporary, frames, facts, index, source_path, container, encoding, metadata)
        _check(temporary, dst, index.frames)
        _settle(temporary)
        size = temporary.stat().st_size
        os.replace(temporary, dst)
        _settle(dst.parent)
    return Written(dst, container, size, index.frames, dropped, -early if container == "mkv" else 0.0)


def read_key(path: Path) -> str | None:
    """The `steadyframe_key` a file carries, None when it is not ours; raises UnreadableVideo."""
    with opened(path) as container:
        tags = {k.lower(): v for k, v in container.metadata.items()}
    if _KEY in tags:
        return tags[_KEY]
    found = re.search(rf"{_KEY}[ =]([0-9A-Za-z_-]+)", tags.get("comment", ""))
    return found.group(1) if found else None


def _encode(
    path: Path,
    frames: Iterable[Frame],
    facts: ClipFacts,
    index: ClipIndex,
    source_path: Path,
    container: Container,
    encoding: Encoding,
    metadata: Mapping[str, str],
) -> tuple[tuple[str, ...], float]:
    """Write the file; returns the words on dropped tracks, and the second of the earliest packet if below 0."""
    tick = facts.seconds_per_tick
    shift = 0 if index.range is None else index.range[0] - facts.start_pts
    pts = [p - shift for p in index.pts]
    length = dict(zip(pts, index.durations(), strict=True))
    with (
        opened(source_path, facts.uri) as source,
        av.open(str(path), "w", **_muxer(container, facts)) as target,
    ):
        target.metadata.update(_tags(facts, metadata))
        stream = _video_stream(target, facts, encoding)
        tracks = CopiedTracks(source, target, facts, index, container)
        target.set_chapters(shifted_chapters(facts, index))

        def mux(packets: Iterable[Any]) -> None:
            for packet in packets:
                # Encoders guess a constant length; with variable rates the last frame would show too short.
                packet.duration = length.get(packet.pts, packet.duration)
                target.mux(packet)

        to_samples = _ToSamples(encoding)
        for tick_of_frame, image in _paired(pts, frames, facts):
            tracks.copy_until(float(tick_of_frame * tick))
            picture = to_samples(image)
            picture.pts, picture.time_base = tick_of_frame, tick
            picture.pict_type = av.video.frame.PictureType.NONE
            mux(stream.encode(picture))
        mux(stream.encode(None))
        tracks.copy_until(float("inf"))
    return tuple(tracks.dropped), tracks.earliest


def _paired(pts: list[int], frames: Iterable[Frame], facts: ClipFacts) -> Iterator[tuple[int, Frame]]:
    shape, count = (facts.height, facts.width, 3), 0
    for image in frames:
        if count >= len(pts) or image.shape != shape:
            raise ValueError(f"frame {count}: {image.shape} given, {shape} and {len(pts)} frames expected")
        yield pts[count], image
        count += 1
    if count != len(pts):
        raise ValueError(f"{count} frames given, {len(pts)} expected for {facts.uri}")


def _muxer(container: Container, facts: ClipFacts) -> dict[str, Any]:
    if container == "mkv":
        return {"format": "matroska"}
    # Edit lists, which hold a start other than 0, count in the movie time scale: 1 ms unless it is set.
    scale = facts.time_base[1]
    while scale < 10_000:
        scale *= 10
    options = {"movflags": "+faststart+use_metadata_tags", "movie_timescale": str(min(scale, 10_000_000))}
    return {"format": "mp4", "options": options}


def _video_stream(target: Any, facts: ClipFacts, encoding: Encoding) -> Any:
    stream = target.add_stream(encoding.codec, rate=facts.rate, options=dict(encoding.options))
    codec = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = facts.width, facts.height, encoding.pixel_format
    stream.time_base = codec.time_base = facts.seconds_per_tick
    codec.thread_count = THREADS
    if encoding.tag:
        codec.codec_tag = encoding.tag
    codec.color_primaries = codec.color_trc = BT709
    codec.colorspace = 0 if encoding.rgb else BT709
    codec.color_range = FULL if encoding.rgb else LIMITED
    return stream


class _ToSamples:
    """RGB arrays to what the encoder takes: BT.709 limited, both converted and (on the stream) tagged."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._reformatter = VideoReformatter()

    def __call__(self, image: Frame) -> Any:
        given = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image), format="rgb48le" if image.dtype == np.uint16 else "rgb24"
        )
        colours: dict[str, Any] = {}
        if not self._encoding.rgb:
            colours = {"dst_colorspace": BT709, "src_color_range": FULL, "dst_color_range": LIMITED}
        return self._reformatter.reformat(
            given, format=self._encoding.pixel_format, interpolation=EXACT, threads=1, **colours
        )


def _tags(facts: ClipFacts, metadata: Mapping[str, str]) -> dict[str, str]:
    """The source's tags, ours, and a comment that survives tools which keep only standard tags."""
    tags = kept_metadata(facts.metadata)
    old = next((tags.pop(k) for k in list(tags) if k.lower() == "comment"), None)
    if old:
        tags["source_comment"] = old
    said = [f"{k} {metadata[k]}" for k in ("model", _KEY) if k in metadata]
    return {**tags, **metadata, "comment": "; ".join(["AI-generated with Steadyframe", *said])}


def _check(temporary: Path, dst: Path, frames: int) -> None:
    """Count the frames of what was written: a full disk does not always speak up before the last byte."""
    try:
        with opened(temporary, str(dst)) as container:
            found = len(scan(container, main_video(container, str(dst)), str(dst), 1 << 24).pts)
    except VideoError as error:
        raise StoreError(
            f"{dst}: the file just written cannot be read back ({error}); is the disk full?"
        ) from error
    if found != frames:
        raise StoreError(f"{dst}: {found} of {frames} frames reached the file; is the disk full?")


def _settle(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _into(dst: Path, temporary: Path) -> Iterator[None]:
    """Errors of the place become StoreError, those of the encoder UnsupportedVideo; no half file stays."""
    try:
        yield
    except OSError as error:
        if error.errno in _STORAGE:
            raise StoreError(
                f"{dst}: cannot be written ({reason(error)}); check space and permissions of {dst.parent}"
            ) from error
        if isinstance(error, av.error.FFmpegError):
            raise UnsupportedVideo(
                f"{dst}: could not be encoded ({reason(error)}); choose another output.codec or container"
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
