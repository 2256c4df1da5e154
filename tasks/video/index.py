"""`build_index`: the one decode pass over a clip, and all that later stages want to know without another.

Produces time stamps, shots, digests, posters and the damage report. RGB is not kept: decoding a window again
costs thousands of times less than denoising it.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from configs.errors import DamagedVideo, UnreadableVideo, UnsupportedVideo, VideoConfigError, VideoTooLarge
from configs.job import InputConfig
from tasks.video.colour import ToRgb
from tasks.video.container import main_video, opened
from tasks.video.decoder import Decoder
from tasks.video.facts import ClipFacts, ClipIndex, Damage
from tasks.video.packets import PacketTable, scan
from tasks.video.scaling import resize, to_shown
from tasks.video.shots import THUMBNAIL, ShotFinder

_POSTERS = 4
_POSTER_SIDE = 160


@dataclass
class _Pass:
    """What one decode pass gathered, in order of presentation."""

    pts: list[int] = field(default_factory=list)
    corrupt: list[int] = field(default_factory=list)  # ticks
    digests: list[str] = field(default_factory=list)
    shots: ShotFinder = field(default_factory=ShotFinder)
    posters: dict[int, str] = field(default_factory=dict)
    stopped: str = ""


def build_index(path: Path, facts: ClipFacts, limits: InputConfig) -> ClipIndex:
    """Decode every frame of the clip (or of `limits.frames`) once and describe it.

    Raises DamagedVideo unless `limits.damaged` is 'keep' (then the index holds the frames that decode),
    UnsupportedVideo when the picture size changes, UnreadableVideo when no frame is left.
    """
    with opened(path, facts.uri) as container:
        table = scan(container, main_video(container, facts.uri), facts.uri, 1 << 24)
    first, stop = _range(facts, limits, len(table.pts))
    wanted = table.pts[first:stop]
    if len(set(wanted)) < len(wanted) and limits.damaged == "refuse":
        raise DamagedVideo(f"{facts.uri}: two frames share one time stamp; remux it, or set input.damaged=keep")
    seen = _decode(path, facts, wanted, careful=False, seek=first > 0)
    careful = bool(seen.corrupt or seen.stopped or len(seen.pts) < len(wanted))
    if careful:
        # Error concealment by several threads is not repeatable; the frames we keep and name must be.
        seen = _decode(path, facts, wanted, careful=True)
    damage, lead = _damage(seen, wanted, table, whole=stop == len(table.pts))
    if damage and limits.damaged == "refuse":
        raise DamagedVideo(
            f"{facts.uri}: is damaged: {damage.sentence()}; get the file again, or set input.damaged=keep "
            "to use the frames that decode"
        )
    if not seen.pts:
        raise UnreadableVideo(f"{facts.uri}: not one frame of {first}..{stop} decodes; choose other input.frames")
    number = {tick: i for i, tick in enumerate(seen.pts)}
    end = max(table.pts[stop] if stop < len(table.pts) else table.end, seen.pts[-1] + 1)
    return ClipIndex(
        first=first + lead,
        range=None if limits.frames is None else (wanted[0], end),
        pts=tuple(seen.pts),
        end_pts=end,
        keys=tuple(number[k] for k in table.keys if k in number),
        shots=seen.shots.shots(),
        digests=tuple(seen.digests),
        damage=damage,
        careful=careful,
        posters=tuple(seen.posters[i] for i in sorted(seen.posters)),
    )


def _range(facts: ClipFacts, limits: InputConfig, frames: int) -> tuple[int, int]:
    if limits.frames is None:
        return 0, frames
    first, stop = limits.frames
    if not 0 <= first < stop or first >= frames:
        raise VideoConfigError(
            f"input.frames must be [first, last) inside 0..{frames} of {facts.uri}, got {first}..{stop}"
        )
    stop = min(stop, frames)
    if stop - first > limits.max_frames:
        raise VideoTooLarge(
            f"{facts.uri}: input.frames asks for {stop - first} frames, the limit is {limits.max_frames} "
            "(input.max_frames); raise the limit or choose fewer"
        )
    return first, stop


def _decode(path: Path, facts: ClipFacts, wanted: tuple[int, ...], *, careful: bool, seek: bool = False) -> _Pass:
    """Decode until the last wanted frame; frames whose time stamp is not in the table are passed over.

    With `seek` from the key frame before the first one; one tick early, as a deinterlacer needs a frame more.
    """
    seen, left = _Pass(), set(wanted)
    poster_at = {wanted[(2 * i + 1) * len(wanted) // (2 * _POSTERS)] for i in range(_POSTERS)} if wanted else set()
    to_rgb = ToRgb(facts)
    with Decoder(path, facts, careful=careful) as decoder:
        for frame in decoder.frames(wanted[0] - 1 if seek else None):
            if (frame.width, frame.height) != (facts.coded_width, facts.coded_height):
                raise UnsupportedVideo(
                    f"{facts.uri}: its picture size changes from {facts.coded_width}x{facts.coded_height} to "
                    f"{frame.width}x{frame.height} at frame {len(seen.pts)}; split it there or re-encode it"
                )
            if frame.pts not in left or (seen.pts and frame.pts < seen.pts[-1]):
                continue
            left.discard(frame.pts)
            image = to_shown(to_rgb.rgb8(frame), facts)
            seen.pts.append(frame.pts)
            seen.digests.append(hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest())
            seen.shots.push(resize(image, *THUMBNAIL))
            if frame.is_corrupt:
                seen.corrupt.append(frame.pts)
            if frame.pts in poster_at:
                seen.posters[frame.pts] = _poster(image)
            if frame.pts == wanted[-1]:
                break
        seen.stopped = "" if not decoder.errors else decoder.errors[-1]
    return seen


def _damage(seen: _Pass, wanted: tuple[int, ...], table: PacketTable, *, whole: bool) -> tuple[Damage, int]:
    """The report, and how many frames before the first that decodes are left out without being damage.

    A stream that was cut at an open group of pictures begins with frames no player can show.
    """
    have = set(seen.pts)
    lead = next((i for i, tick in enumerate(wanted) if tick in have), len(wanted))
    key = next((i for i, tick in enumerate(wanted) if tick in set(table.keys)), 0)
    lead = lead if lead <= key else 0
    number = {tick: i for i, tick in enumerate(wanted)}
    damage = Damage(
        corrupt=tuple(number[tick] for tick in seen.corrupt),
        missing=tuple(i for i, tick in enumerate(wanted) if i >= lead and tick not in have),
        truncated_seconds=table.missing_seconds if whole else 0.0,
        stopped=seen.stopped if len(have) < len(wanted) - lead or seen.corrupt else "",
    )
    return damage, lead


def _poster(image: npt.NDArray[np.uint8]) -> str:
    """A small JPEG of a frame, base64."""
    height, width = image.shape[:2]
    scale = min(1.0, _POSTER_SIDE / max(height, width))
    small = resize(image, max(1, round(height * scale)), max(1, round(width * scale)))
    done, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    if not done:
        raise UnsupportedVideo(f"a {width}x{height} frame cannot be made into a JPEG thumbnail")
    return base64.b64encode(data.tobytes()).decode()
