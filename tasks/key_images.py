"""Keyframe pictures of a job: read from disk, checked against the guide, and handed to the shot they lie in.

Knows files and sizes; knows no blending. Every refusal names the picture, both sizes, and what to do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from configs.deflicker_job import Keyframe
from configs.errors import ConfigError
from tasks.clip import Clip
from tasks.run import Progress, Run
from tasks.video.frames import upscale

Picture = npt.NDArray[np.uint8]

SAME_SHAPE = 0.05
"""How far width / height of two pictures may differ (as a share) and still be stretched onto each other."""


@dataclass(frozen=True)
class KeyImage:
    """A picture file of frame `frame` of the clip's index, as its bytes' digest names it; opened when needed."""

    frame: int
    path: Path
    digest: str

    def read(self, height: int, width: int) -> Picture:
        """uint8 RGB [height,width,3]; a file of that size comes back as it is. Errors: ConfigError if it changed."""
        data = _bytes_of(self.path)
        if _digest(data) != self.digest:  # what is made of it would be kept under the name of the old picture
            raise ConfigError(f"{self.path}: changed while the run went; run the same command again")
        return upscale(_decoded(self.path, data), height, width)


def key_images(run: Run, keyframes: Sequence[Keyframe], clip: Clip) -> list[KeyImage]:
    """All keys in order of their frames, each opened once to check it; another size and transparency are told of.

    Errors: ConfigError for a missing or unreadable file, a frame outside the clip, another shape.
    """
    found = []
    height, width = clip.facts.height, clip.facts.width
    first, last = clip.index.first, clip.index.first + clip.index.frames - 1
    for key in keyframes:
        path = Path(key.image).expanduser()
        if not first <= key.frame <= last:
            raise ConfigError(f"{path}: keyframe {key.frame} lies outside frames {first} to {last} of {clip.facts.uri}")
        data = _bytes_of(path)
        picture = _decoded(path, data)
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        check_shape(f"{path} is {size}", picture.shape[:2], f"the guide is {width}x{height}", (height, width))
        if picture.shape[:2] != (height, width):
            text = f"{path}: {size} brought to {width}x{height}, the size of the guide"
            run.observe(Progress(run.source, "filter", message=text, level="warning"))
        if _transparent(data):
            text = f"{path}: is partly transparent, which is dropped: flatten it onto the guide if that is not meant"
            run.observe(Progress(run.source, "filter", message=text, level="warning"))
        found.append(KeyImage(key.frame - first, path, _digest(data)))
    return sorted(found, key=lambda key: key.frame)


def keys_of_shots(
    keys: Sequence[KeyImage], shots: Sequence[tuple[int, int]], first: int = 0
) -> list[Mapping[int, KeyImage]]:
    """For each shot [start, stop) its keys by shot-relative frame; `first` is the number of the index's frame 0.

    Raises ConfigError that names every shot without one: a key of another shot would show what is not there.
    """
    placed = [{key.frame - start: key for key in keys if start <= key.frame < stop} for start, stop in shots]
    bare = [
        f"shot {n + 1} (frames {first + start} to {first + stop - 1})"
        for n, (start, stop) in enumerate(shots)
        if not placed[n]
    ]
    if bare:
        at = next(first + start for n, (start, _) in enumerate(shots) if not placed[n])
        raise ConfigError(
            f"no keyframe in {', '.join(bare)}: a key never crosses a cut; paint one there, "
            f"e.g. --keyframes {at}=painted.png, or leave the shot out with --set input.frames=[first,last]"
        )
    return list(placed)


def check_shape(mine: str, size: tuple[int, ...], theirs: str, other: tuple[int, ...]) -> None:
    """Refuse two (height, width) of different shape: stretching one would put nothing where its match is."""
    ratio = (size[1] / size[0]) / (other[1] / other[0])
    if not 1 - SAME_SHAPE <= ratio <= 1 + SAME_SHAPE:
        raise ConfigError(f"{mine} and {theirs}: not the same shape; crop or export it in the guide's shape")


def _bytes_of(path: Path) -> bytes:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such picture; check the path")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def _decoded(path: Path, data: bytes) -> Picture:
    """uint8 RGB [H,W,3] of a picture file; transparency is dropped, 16 bit become 8. Errors: ConfigError."""
    picture = _image(data, cv2.IMREAD_COLOR)
    if picture is None:
        raise ConfigError(f"{path}: is no picture that can be read; export it as PNG")
    return np.ascontiguousarray(picture[..., ::-1])


def _transparent(data: bytes) -> bool:
    """Whether a picture has pixels that are not opaque."""
    picture = _image(data, cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4 or picture.dtype.kind != "u":
        return False
    return bool((picture[..., 3] < np.iinfo(picture.dtype).max).any())


def _image(data: bytes, how: int) -> npt.NDArray[Any] | None:
    """What OpenCV makes of a file's bytes; None where it is no picture, of which it throws at some."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:
        return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
