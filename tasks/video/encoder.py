"""Which encoder, pixel format, options and container a job's `OutputConfig` means for one clip.

A table and a few rules; opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from configs.errors import ConfigError, VideoConfigError
from configs.job import OutputConfig
from tasks.video.facts import ClipFacts

Container = Literal["mp4", "mkv"]

# Other thread counts give other bits, so the count is a constant of the product and not of the machine.
THREADS = 4

_MP4_VIDEO = frozenset({"libx264", "libx265", "libsvtav1", "libvpx-vp9"})
_MP4_AUDIO = frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "flac"})
_MP4_SUBTITLES = frozenset({"mov_text"})
_MKV_SUBTITLES = frozenset(
    {
        "subrip",
        "ass",
        "ssa",
        "webvtt",
        "hdmv_pgs_subtitle",
        "dvd_subtitle",
        "dvb_subtitle",
        "hdmv_text_subtitle",
    }
)


def steady_x264() -> dict[str, str]:
    """Options without which libx264 does not always write the same bits: its AVX-512 code left out, where there is any.

    Of 1700 encodings of one 24-frame clip with it, 8 came out otherwise (one thread of x264 or four, cores busy or
    not); of 1700 without it none, and those are the bits that most of the others have too. Measured on a virtual
    machine (Xeon with AMX, PyAV 18); whether code or machine is to blame, an interrupted job must end in equal bits.
    """
    import torch  # seconds, and whoever only asks for a container needs none of it

    return {"x264-params": "asm=avx2"} if torch.backends.cpu.get_cpu_capability() == "AVX512" else {}


@dataclass(frozen=True)
class Encoding:
    """All that opening the encoder needs. `rgb` says the samples are R'G'B' and carry no matrix."""

    codec: str
    pixel_format: str
    options: dict[str, str] = field(default_factory=dict)
    tag: str | None = None
    rgb: bool = False


def choose_container(facts: ClipFacts, output: OutputConfig) -> Container:
    """mp4 when every kept track fits, else mkv; raises VideoConfigError if a forced mp4 cannot hold the sound."""
    _refuse_impossible(output)
    misfits = [t.codec for t in facts.audio if t.codec not in _MP4_AUDIO]
    if output.codec not in _MP4_VIDEO:
        misfits.insert(0, output.codec)
    if output.container == "mp4" and misfits:
        raise VideoConfigError(
            f"output.container=mp4 cannot hold {', '.join(misfits)} of {facts.uri} without re-encoding; "
            "use output.container=auto or mkv"
        )
    if output.container != "auto":
        return output.container
    misfits += [t.codec for t in facts.subtitles if t.codec not in _MP4_SUBTITLES]
    return "mkv" if misfits else "mp4"


def subtitle_fits(codec: str, container: Container) -> bool:
    """Whether a subtitle track can be copied as it is."""
    return codec in (_MP4_SUBTITLES if container == "mp4" else _MKV_SUBTITLES)


def _refuse_impossible(output: OutputConfig) -> None:
    # The libvpx of PyAV's wheels is built for 8 bits only.
    if output.codec == "libvpx-vp9" and output.bits == 10:
        raise ConfigError("output.codec=libvpx-vp9 writes 8 bits only; use libx264, libx265, libsvtav1 or ffv1 for 10")


def choose_encoding(output: OutputConfig, height: int, width: int, container: Container) -> Encoding:
    """Encoder settings for frames of `height` x `width`.

    Odd sizes: 4:2:0 cannot describe them in H.264 and HEVC (x264 and x265 refuse at open; cropping in the
    bitstream counts in steps of two; the mp4 `clap` box is ignored by most players). Padding would change
    the size, so odd sides are written 4:4:4: the exact size, 0.99-1.01x the bytes (three real clips at
    crf 18), playable wherever FFmpeg decodes in software, not on every hardware decoder. AV1 and VP9 hold
    odd sizes in 4:2:0.
    """
    _refuse_impossible(output)
    ten = output.bits == 10
    odd = bool(height % 2 or width % 2)
    chroma = "yuv444p" if odd and output.codec in ("libx264", "libx265") else "yuv420p"
    pixel_format = chroma + ("10le" if ten else "")
    crf = str(min(output.crf, 51) if output.codec in ("libx264", "libx265") else output.crf)
    if output.codec == "libx264":
        return Encoding("libx264", pixel_format, {"crf": crf, "preset": "medium", **steady_x264()})
    if output.codec == "libx265":
        # Pools follow the cores of the machine and change nothing; frame threads change the bits.
        params = "log-level=error:frame-threads=2:lookahead-slices=1"
        return Encoding(
            "libx265",
            pixel_format,
            {"crf": crf, "preset": "medium", "x265-params": params},
            "hvc1" if container == "mp4" else None,
        )
    if output.codec == "libsvtav1":
        return Encoding("libsvtav1", pixel_format, {"crf": crf, "preset": "8", "svtav1-params": "lp=2"})
    if output.codec == "libvpx-vp9":
        return Encoding("libvpx-vp9", "yuv420p", {"crf": crf, "b": "0", "cpu-used": "4", "row-mt": "1"})
    # FFV1 is for keeping exact bytes: R'G'B' as it is, no matrix (8-bit RGB of FFV1 is bgr0, not gbrp).
    return Encoding("ffv1", "gbrp10le" if ten else "bgr0", {"level": "3", "slices": "4", "slicecrc": "1"}, rgb=True)
