"""`write_video`: finished frames plus everything else of the source become one new file, whole or not at all.

Same number of frames, same time stamps, same sound packets; tagged as AI-generated. Written beside its
destination and renamed. Knows no stage and no store.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from configs.errors import StoreError, VideoError
from configs.job import OutputConfig
from tasks.video.colour import BT709, EXACT, FULL, LIMITED
from tasks.video.container import main_video, opened
from tasks.video.copying import CopiedTracks, kept_metadata, shifted_chapters
from tasks.video.encoder import THREADS, Container, Encoding, choose_container, choose_encoding
from tasks.video.facts import ClipFacts, ClipIndex
from tasks.video.landing import FramesFailed, landing, settle, temporary_for
from tasks.video.packets import scan
from tasks.video.priority import priority_kept

Frame = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

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
    should hold `steadyframe_key` and `model`; both also go into the comment, which says "AI-generated"
    unless `metadata` brings its own.
    Raises StoreError when the place cannot be written (nothing is left behind), UnsupportedVideo when the
    encoder refuses, ValueError when frames do not match the index.
    """
    container = choose_container(facts, output)
    dst = dst.with_suffix(f".{container}")
    encoding = choose_encoding(output, facts.height, facts.width, container)
    temporary = temporary_for(dst)
    with landing(dst, temporary):
        dropped = _encode(temporary, frames, facts, index, source_path, container, encoding, metadata)
        start = _check(temporary, dst, index.frames)
        settle(temporary)
        size = temporary.stat().st_size
        os.replace(temporary, dst)
        settle(dst.parent)
    delay = start - (index.pts[0] - _shift(facts, index)) * facts.seconds_per_tick
    return Written(dst, container, size, index.frames, dropped, float(delay) if abs(delay) > 0.001 else 0.0)


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
) -> tuple[str, ...]:
    """Write the file; returns the words on dropped tracks."""
    tick = facts.seconds_per_tick
    pts = [p - _shift(facts, index) for p in index.pts]
    length = dict(zip(pts, index.durations(), strict=True))
    with (
        opened(source_path, facts.uri) as source,
        av.open(str(path), "w", **_muxer(container, facts)) as target,
    ):
        # Matroska numbers its tracks at random otherwise, and the same frames would give another file.
        target.flags |= av.container.Flags.bitexact.value
        target.metadata.update(_tags(facts, metadata))
        stream = _video_stream(target, facts, encoding)
        tracks = CopiedTracks(source, target, facts, index, container)
        target.set_chapters(shifted_chapters(facts, index))

        # Encoders and headers fail here, not inside the copying of somebody's sound.
        with priority_kept():
            target.start_encoding()

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
    if tracks.refused:
        tracks.dropped.append(f"{tracks.refused} damaged packet(s) of sound or subtitles")
    return tuple(tracks.dropped)


def _shift(facts: ClipFacts, index: ClipIndex) -> int:
    """Ticks by which a chosen range moves to start where the source started."""
    return 0 if index.range is None else index.range[0] - facts.start_pts


def _paired(pts: list[int], frames: Iterable[Frame], facts: ClipFacts) -> Iterator[tuple[int, Frame]]:
    shape, count = (facts.height, facts.width, 3), 0
    coming = iter(frames)
    while True:
        try:
            image = next(coming, None)
        except Exception as error:
            raise FramesFailed(error) from error
        if image is None:
            break
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
    stream = target.add_stream(encoding.codec, rate=_nominal_rate(facts), options=dict(encoding.options))
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


def _nominal_rate(facts: ClipFacts) -> Fraction:
    """A rate for the encoder's own book-keeping; headers say 600 or 90000, which encoders refuse."""
    measured = Fraction(facts.frames / facts.duration).limit_denominator(1001)
    rate = facts.rate if 1 <= facts.rate <= 240 else measured
    return min(max(rate, Fraction(1)), Fraction(240))


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
    said = [metadata.get("comment", "AI-generated with Steadyframe")]
    said += [f"{k} {metadata[k]}" for k in ("model", _KEY) if k in metadata and metadata[k] not in said[0]]
    return {**tags, **metadata, "comment": "; ".join(said)}


def _check(temporary: Path, dst: Path, frames: int) -> Fraction:
    """Count the frames of what was written (a full disk does not always speak up); the second of the first."""
    try:
        with opened(temporary, str(dst)) as container:
            stream = main_video(container, str(dst))
            pts = scan(container, stream, str(dst), 1 << 24).pts
            start = (pts[0] if pts else 0) * (stream.time_base or Fraction(1))
    except VideoError as error:
        raise StoreError(f"{dst}: the file just written cannot be read back ({error}); is the disk full?") from error
    if len(pts) != frames:
        raise StoreError(f"{dst}: {len(pts)} of {frames} frames reached the file; is the disk full?")
    return start
