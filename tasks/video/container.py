"""Opening a video file with every guard set and every FFmpeg error turned into one of ours.

Knows PyAV and `configs.errors`; does not know what a frame is used for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging
from av.container import InputContainer
from av.video.stream import VideoStream

from configs.errors import UnreadableVideo
from tasks.video.claims import impossible

# FFmpeg's own way to fill time stamps that a container omits (AVI, raw streams); a no-op where they exist.
_OPTIONS = {"fflags": "+genpts"}


@contextmanager
def opened(path: Path | str, name: str | None = None) -> Iterator[InputContainer]:
    """Open `path` for demuxing; raises UnreadableVideo with a sentence that starts with `name`."""
    name = name or str(path)
    file = Path(path)
    if not file.exists():
        raise UnreadableVideo(f"{name}: no such file; check the path")
    if file.is_dir():
        raise UnreadableVideo(f"{name}: is a folder, not a video file; give a file, or the folder as a source")
    if file.stat().st_size == 0:
        raise UnreadableVideo(f"{name}: is empty (0 bytes); copy or download it again")
    try:
        if broken := impossible(file):
            raise UnreadableVideo(f"{name}: {broken}; it is damaged or made to harm, get it again")
        # absolute: FFmpeg takes what stands before the colon of `12:30.mp4` for a protocol
        container = av.open(str(file.absolute()), options=dict(_OPTIONS), metadata_errors="replace")
    except PermissionError as error:
        raise UnreadableVideo(f"{name}: may not be read; check its permissions") from error
    except (av.error.FFmpegError, ValueError) as error:
        raise UnreadableVideo(
            f"{name}: is not a video we can open ({reason(error)}); if it was cut short while being "
            "written or downloaded, get it again"
        ) from error
    with container:
        yield container


def reason(error: BaseException) -> str:
    """The few words FFmpeg says about an error, without numbers and file names."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def main_video(container: InputContainer, name: str) -> VideoStream:
    """The video stream a player would choose, cover art excluded; raises UnreadableVideo without one."""
    best = container.streams.best("video")
    if best is None or is_cover(best) or best.codec_context is None:
        moving = [s for s in container.streams.video if not is_cover(s) and s.codec_context is not None]
        if not moving:
            held = sorted({str(s.type) for s in container.streams}) or ["no streams at all"]
            raise UnreadableVideo(
                f"{name}: holds no video stream (only {', '.join(held)}); give a file that has pictures"
            )
        best = max(moving, key=lambda s: (s.codec_context.width or 0) * (s.codec_context.height or 0))
    assert isinstance(best, VideoStream)
    return best


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a still cover picture."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def codec_name(stream: Any) -> str:
    """The name of the format, not of the decoder ('mp3', where the decoder is 'mp3float')."""
    codec = getattr(stream.codec_context, "codec", None)
    return str(codec.canonical_name) if codec is not None else "unknown"


def guard(stream: VideoStream, max_pixels: int) -> None:
    """Make the decoder itself refuse frames far above `max_pixels`.

    Given to `av.open(options=)` this is silently ignored; it has to be set on the codec context before the
    first packet. Decoders hold their own padded buffers against it too (MPEG-4: "Cannot allocate memory" for
    64x48 with a bound of 14336), hence the margin: this stops bombs, `probe` and the index count exactly.
    """
    bound = str(2 * max_pixels + (1 << 20))
    stream.codec_context.options = {**stream.codec_context.options, "max_pixels": bound}
