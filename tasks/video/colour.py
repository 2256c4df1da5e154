"""From decoded samples to upright 8-bit RGB: which matrix and range, and the conversion itself.

The policy is design/video.md 2.4. Knows frames and `Colour`; knows no file and no index.
"""

from __future__ import annotations

from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Interpolation, VideoReformatter

from tasks.video.facts import ClipFacts, Colour, Hdr
from tasks.video.hdr import to_sdr

Rgb8 = npt.NDArray[np.uint8]

BT709 = 1  # this and the next: H.273
BT601 = 6
BT2020 = 9
PQ = 16
HLG = 18
LIMITED, FULL = 1, 2  # AVColorRange

# FFmpeg's default interpolates chroma fast and differs between CPUs; these flags are its exact C paths.
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT
_KNOWN = frozenset({1, 4, 5, 6, 7, 9, 10})


def decide(codec: VideoCodecContext) -> Colour:
    """The colour of a stream: its tags where it has them; else BT.709 from 720 lines up and BT.601 below."""
    rgb = codec.format is not None and codec.format.is_rgb
    full = codec.color_range == FULL or (codec.pix_fmt or "").startswith("yuvj") or rgb
    common = {"full": full, "primaries": int(codec.color_primaries), "transfer": int(codec.color_trc)}
    if rgb:
        return Colour(matrix=0, decided_by="tagged", **common)
    if codec.colorspace in _KNOWN:
        return Colour(matrix=int(codec.colorspace), decided_by="tagged", **common)
    return Colour(matrix=BT709 if codec.height >= 720 else BT601, decided_by="policy", **common)


def hdr_kind(transfer: int) -> Hdr:
    """Which HDR curve a transfer code point names."""
    return "pq" if transfer == PQ else "hlg" if transfer == HLG else "none"


class ToRgb:
    """Turns decoded frames of one clip into upright RGB arrays; holds one `VideoReformatter`.

    `threads=1` always: the default starts swscale threads per call and is 2-3x slower (design/video.md 2.1).
    """

    def __init__(self, facts: ClipFacts) -> None:
        self._facts = facts
        self._reformatter = VideoReformatter()

    def rgb8(self, frame: av.VideoFrame) -> Rgb8:
        """uint8 [H,W,3], upright, at coded size; HDR is tone-mapped (`hdr.to_sdr`)."""
        if self._facts.hdr != "none":
            linear = self._convert(frame, "gbrpf32le")
            return self._upright(to_sdr(linear, self._facts.hdr, wide=self._facts.colour.primaries == BT2020))
        if self._facts.bit_depth > 8:
            # swscale's own step from 10 bits to rgb24 is 2 levels low near white; this is exact rounding.
            deep = self._convert(frame, "rgb48le").astype(np.uint32)
            return self._upright(((deep + 128) // 257).astype(np.uint8))
        return self._upright(cast(Rgb8, self._convert(frame, "rgb24")))

    def _convert(self, frame: av.VideoFrame, pixel_format: str) -> npt.NDArray[Any]:
        colour = self._facts.colour
        extra: dict[str, Any] = {}
        if colour.matrix:
            extra["src_colorspace"] = colour.matrix
            extra["src_color_range"] = FULL if colour.full else LIMITED
        out = self._reformatter.reformat(frame, format=pixel_format, interpolation=EXACT, threads=1, **extra)
        return out.to_ndarray(channel_last=True) if pixel_format.startswith("gbr") else out.to_ndarray()

    def _upright(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        turned = np.rot90(image, k=self._facts.rotation // 90) if self._facts.rotation else image
        turned = turned[:, ::-1] if self._facts.mirrored else turned
        return np.ascontiguousarray(turned)
