"""What stays on the run page of a finished video: stages and figures as tables, before|after, where the
files are.

Everything here is a copy for the eye; the truth is in the store and beside the output. Knows no stage's
inside.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import av
import av.error
import cv2
import fsspec
import numpy as np
import numpy.typing as npt

from configs.names import slug
from flows.progress import short_name
from tasks.run import StageRecord, VideoResult

IMAGE_BYTES = 100_000  # a `data:` URI lives in Prefect's database
FIGURES = {
    "excess_flicker": "excess flicker over the source (≤ 0.5)",
    "excess_over_style": "excess flicker over the steady style (≤ 0.5)",
    "fidelity_psnr": "fidelity, dB (not below the control)",
    "sharpness_ratio": "sharpness over the control (≥ 0.9)",
    "seam_ratio": "seam ratio (≤ 1.15)",
}

Image = npt.NDArray[np.uint8]


def publish(result: VideoResult) -> None:
    """Create the artifacts of a finished video in the flow run of the calling context.

    Raises whatever Prefect raises; the caller decides that a missing artifact is no reason to fail.
    """
    from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

    name = slug(short_name(result.output.source))
    create_table_artifact(stage_rows(result.stages), key=f"stages-{name}", description="Stages of this video")
    rows = figure_rows(result.output.metrics)
    if rows:
        create_table_artifact(rows, key=f"figures-{name}", description="Measured against the source")
    create_markdown_artifact(where(result), key=f"result-{name}", description="Where the result is")
    picture = before_after(result.output.source, result.output.uri)
    if picture is not None:
        create_image_artifact(picture, key=f"frame-{name}", description="Before | after, middle frame")


def stage_rows(stages: list[StageRecord]) -> list[dict[str, Any]]:
    """One row per stage, and their sum."""
    rows = [
        {
            "stage": s.stage,
            "status": s.status,
            "reused": "yes" if s.status == "reused" else "no",
            "seconds": round(s.seconds, 2),
            "bytes": s.bytes,
            "key": s.key[:8],
        }
        for s in stages
    ]
    seconds, size = sum(s.seconds for s in stages), sum(s.bytes for s in stages)
    total = {
        "stage": "all",
        "status": "",
        "reused": "",
        "seconds": round(seconds, 2),
        "bytes": size,
        "key": "",
    }
    return [*rows, total]


def figure_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per figure, the four we judge by first; one column per arm (`result`, `control`, `source` ...).

    `metrics` holds the result's figures and, under `arms`, those of others; what is not a number stays out.
    """
    arms = {"result": metrics, **metrics.get("arms", {})}
    measured = list(dict.fromkeys(name for row in arms.values() for name in row))
    rows = []
    for name in sorted(measured, key=lambda name: list(FIGURES).index(name) if name in FIGURES else len(FIGURES)):
        values = {arm: _number(row.get(name)) for arm, row in arms.items()}
        if any(value != "" for value in values.values()):
            rows.append({"figure": FIGURES.get(name, name.replace("_", " ")), **values})
    return rows


def _number(value: Any) -> float | str:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return round(float(value), 4) if plain else ""


def where(result: VideoResult) -> str:
    """Markdown with the places of output and report; as text, since a browser opens no file:// link from
    http.
    """
    out = result.output
    video = absolute(out.uri)
    lines = [
        f"**Video:** `{video}`",
        f"**Report:** `{absolute(out.report)}`" if out.report else "",
        f"{out.frames} frames, {out.width}×{out.height}, {out.shots} shot(s), {out.audio} audio track(s)",
        f"**Key:** `{out.key}` — `steadyframe explain {video}` says what went into it",
        "**Please look at it:** a figure is outside its usual range." if out.review else "",
    ]
    return "\n\n".join(line for line in lines if line)


def absolute(uri: str) -> str:
    """A path that means the same wherever it is read; URLs as they are."""
    return uri if "://" in uri or not uri else os.path.abspath(uri)


def before_after(source: str, result: str) -> str | None:
    """`data:` URI (JPEG, under 100 kB) of the middle frames side by side; None when one cannot be read."""
    before, after = middle_frame(source), middle_frame(result)
    if before is None or after is None:
        return None
    height = min(360, after.shape[0])
    pair = np.concatenate(
        [_at_height(before, height), np.full((height, 4, 3), 255, np.uint8), _at_height(after, height)], 1
    )
    return picture_uri(pair)


def picture_uri(picture: Image) -> str | None:
    """`data:` URI (JPEG, under 100 kB) of an RGB picture [H, W, 3]; None when it cannot be made that small."""
    for quality in (85, 70, 50, 30, 10):
        done, jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        uri = "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode() if done else ""
        if done and len(uri) < IMAGE_BYTES:
            return uri
    return None


def middle_frame(uri: str) -> Image | None:
    """The frame at half the duration, upright RGB [H, W, 3], good for the eye only; None when it does not
    decode.
    """
    with ExitStack() as opened:
        try:
            # a remote file is looked into, not fetched: this is one picture
            file: Any = uri.removeprefix("file://")
            if "://" in file:
                file = opened.enter_context(fsspec.open(file, "rb"))
            container = opened.enter_context(av.open(file))
            stream = container.streams.video[0]
            half = (container.duration or 0) // 2
            start = container.start_time or 0
            container.seek(start + half)
            last = None
            for frame in container.decode(stream):
                last = frame
                if frame.time is None or frame.time * av.time_base >= start + half:
                    break
            if last is None:
                return None
            image: Image = last.to_ndarray(format="rgb24")
            return np.rot90(image, k=int(last.rotation) // 90 % 4)
        except (av.error.FFmpegError, OSError, IndexError):
            return None


def _at_height(image: Image, height: int) -> Image:
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_AREA), np.uint8)
