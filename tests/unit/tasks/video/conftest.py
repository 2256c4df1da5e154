"""Fixtures of the video tests: procedural files, the shared real clips, and a round trip."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


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
