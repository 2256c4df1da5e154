"""How much work a stage is, in units that its seconds and bytes grow with, and what kind of work.

Read from a key's pre-image, which a stage that is planned has as well as one that is done: what is learnt from the one
holds for the other. Knows no store and no clock.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.condition import CHUNK

Traits = tuple[str, ...]


@dataclass(frozen=True)
class Clip:
    """What units are counted in where a pre-image does not say it: frames, and pixels of a frame as it is shown."""

    frames: int
    pixels: int


@dataclass(frozen=True)
class Work:
    """`units` of a stage (pixels that are gone through one after the other), `size` of what it writes in pixels.

    `traits` say what kind of work, the weightiest first: work that differs only in the last of them is alike.
    """

    units: float
    size: float
    traits: Traits


def work_of(stage: str, preimage: Mapping[str, Any], clip: Clip, lanes: int, host: str = "") -> Work:
    """The work of a stage with this pre-image, on `lanes` windows at a time on machine `host`."""
    params = preimage["params"]
    if stage in ("condition", "invert", "denoise"):
        return _on_workers(stage, preimage, lanes, host)
    whole = float(clip.frames * clip.pixels)
    if stage == "evaluate":
        height, width = params["size"]
        arms = len(params["arms"])
        units = float(clip.frames * height * width * (arms + (params["style"] is not None)))
        return Work(units, whole, (str(params["style"] is not None), host))
    if stage == "encode":
        return Work(whole, whole, (params["output"]["codec"], str(params["output"]["bits"]), host))
    if stage == "probe":
        return Work(1.0, 1.0, (host,))
    return Work(whole, whole, (host,))


def _on_workers(stage: str, preimage: Mapping[str, Any], lanes: int, host: str) -> Work:
    """Windows are worked on `lanes` at a time, each padded to the job's size: their slowest lane is what takes time."""
    params, model = preimage["params"], preimage["models"]["model"]
    first, stop = params["shot"]
    height, width = params["size"]
    windows = math.ceil((stop - first) / params["window"])
    rows = params["window"] * height * width
    size = float((stop - first) * height * width)
    common = (model, json.dumps(preimage["numerics"], sort_keys=True), str(lanes), host)
    kinds = json.dumps([control["kind"] for control in params["controls"]])
    if stage == "condition":
        chunks = math.ceil(windows / CHUNK)
        path = min(windows, CHUNK * math.ceil(chunks / lanes))
        return Work(float(path * rows), size, (*common, kinds))
    path = math.ceil(windows / lanes)
    if stage == "invert":
        passes = params["inversion"]["num_inference_steps"] * (1 + params["inversion"]["fixed_point"])
        return Work(float(path * rows * passes), size, (*common, kinds))
    steps = _steps(params)
    guided = params["guidance_scale"] != 1.0
    share = round(len(params["deflicker_steps"]) / max(1, steps), 1)
    how = (kinds, str(guided), str(share), json.dumps(params["deflicker"], sort_keys=True), params["start"])
    return Work(float(path * rows * steps * (2 if guided else 1)), size, (*common, *how))


def _steps(params: Mapping[str, Any]) -> int:
    from models.schedule import kept_steps

    steps = int(params["num_inference_steps"])
    return kept_steps(steps, params["strength"]) if params["start"] == "noised" else steps
