"""How large the family is and how long it takes until it can paint: what a first run waits for.

Knows files and clocks; refuses to know pictures. The libraries are imported already; the files were read once before,
as on any machine that has just installed them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from diffusers import ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from models.backbone import load
from models.weights import find_model
from tests.benchmarks.pocket_quality.bars import Bar, table
from tests.benchmarks.pocket_quality.record import Record
from tests.benchmarks.pocket_quality.subject import Subject

TIMES = 5
MEGABYTE = 1e6


def measure(subject: Subject, record: Record) -> dict[str, Any]:
    """Megabytes of the weights that a job of the preset reads, and seconds of several loads."""
    return record.piece("loading/loads", partial(_loads, subject))


def _loads(subject: Subject) -> dict[str, Any]:
    files = find_model(subject.model)
    folders = [*(files.component(part) for part in ("vae", "text_encoder", "unet")), *files.controlnets]
    # The libraries import such classes when they are first named, which is no part of reading weights.
    _ = (ControlNetModel, UNet2DConditionModel, CLIPTextModel, CLIPTokenizer)
    size = sum(file.stat().st_size for folder in folders for file in folder.glob("*.safetensors"))
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        load(subject.model, subject.device)
        seconds.append(time.perf_counter() - began)
    return {"megabytes": size / MEGABYTE, "first": seconds[0], "median": sorted(seconds)[TIMES // 2]}


def bars(found: Mapping[str, Any]) -> list[Bar]:
    """What issue 3 asks to be delivered."""
    return [
        Bar("weights that text to image with the preset's controls reads", found["megabytes"], 30, "at most", "MB"),
        Bar("loading them, the first time in the process", found["first"], 2, "at most", "s"),
    ]


def section(found: Mapping[str, Any]) -> str:
    """One line."""
    row = [found["megabytes"], found["first"], found["median"]]
    return f"""{table(["weights MB", "first load s", f"median of {TIMES} s"], [row])}

All networks of a job of the pocket preset: text encoder, UNet, autoencoder and both controls, read from the disk cache
of the machine and ready to paint; without the time to import torch and diffusers.
"""
