"""Fixtures of the video tests: procedural files, the shared real clips, and a round trip."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from configs.job import InputConfig
from tasks.video.facts import ClipFacts, ClipIndex
from tasks.video.frames import FrameReader
from tasks.video.index import build_index
from tasks.video.source import probe


@pytest.fixture(scope="session")
def media() -> ModuleType:
    """The module that writes test files (`media.py` beside this file)."""
    spec = importlib.util.spec_from_file_location("video_test_media", Path(__file__).with_name("media.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def real_clips() -> list[Path]:
    """The shared clips; skips when this checkout has none beside it."""
    folder = Path(__file__).parents[4].parent / "shared" / "clips"
    clips = sorted(p for p in folder.glob("*") if p.suffix in (".mp4", ".mkv"))
    if not clips:
        pytest.skip(f"no clips in {folder}")
    return clips


@pytest.fixture(scope="session")
def read_clip() -> Callable[..., tuple[ClipFacts, ClipIndex, NDArray[np.uint8]]]:
    """A function: path (and input choices) to facts, index and all frames at source size."""

    def read(path: Path, **choices: Any) -> tuple[ClipFacts, ClipIndex, NDArray[np.uint8]]:
        limits = InputConfig(**choices)
        facts = probe(str(path), limits)
        index = build_index(path, facts, limits)
        with FrameReader(path, facts, index) as reader:
            return facts, index, reader.read(0, index.frames)

    return read
