"""Frames between keyframes: how much detail they have, how their match errors are told, which pictures are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from configs.deflicker_job import DeflickerJob, build_deflicker_job
from configs.errors import ConfigError
from tasks import key_filter
from tasks.clip import Clip
from tasks.engine.pool import EnginePool
from tasks.filter_pipeline import deflicker_video
from tasks.key_images import KeyImage, key_images
from tasks.matches import StoredMatches
from tasks.run import Progress, Run, VideoResult
from tasks.store import Store
from tasks.store.keys import StageKey
from tasks.strips import strip_frames
from tests.benchmarks.clips import write_exactly

H, W = 64, 96

Fill = Callable[..., tuple[VideoResult, list[np.ndarray[Any, Any]]]]


def noise(seed: int, height: int = H, width: int = W) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(40, 216, (height, width, 3), dtype=np.uint8)


def write(path: Path, picture: np.ndarray[Any, Any]) -> Path:
    cv2.imwrite(str(path), picture[..., ::-1] if picture.shape[2] == 3 else picture[..., [2, 1, 0, 3]])
    return path


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """The frames that come of guide frames and keys, before they are encoded."""

    def run(guide: list[Any], keys: dict[int, Any], *sets: str) -> Any:
        write_exactly(tmp_path / "guide.mkv", np.stack(guide))
        paths = [f"{frame}={write(tmp_path / f'{frame}.png', picture)}" for frame, picture in keys.items()]
        flags = {"guide": str(tmp_path / "guide.mkv"), "keyframes": tuple(paths), "out": str(tmp_path / "out")}
        job: DeflickerJob = build_deflicker_job(None, sets, flags)
        store = Store.open(str(tmp_path / "store"), workers=0)
        with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
            result = deflicker_video(job, Run(job.for_stages(), job.guide, store, engines))
        manifests = [store.require(StageKey("filter", s.key, {})) for s in result.stages if s.stage == "filter"]
        return result, list(strip_frames(store, [store.ref(m, "reused") for m in manifests], H))

    return run


def energy(picture: np.ndarray[Any, Any]) -> float:
    return float((cv2.Laplacian(picture.astype(np.float32), cv2.CV_32F) ** 2).mean())


def test_frames_between_keys_are_as_sharp_as_the_keys_whatever_the_working_size(fill: Fill) -> None:
    """On a still guide they are the keys, also where frames are matched at half the size."""
    key = noise(1)
    _, frames = fill([noise(0)] * 6, {0: key, 5: key}, f"size={W // 2}", "deflicker.operator=confidence")
    assert all(np.array_equal(frame, key) for frame in frames)


def test_the_detail_of_a_key_moves_with_what_it_is_painted_on(fill: Fill) -> None:
    wide, painted = noise(0, H, 2 * W), noise(1, H, 2 * W)
    guide = [wide[:, 4 * n : 4 * n + W].copy() for n in range(4)]
    smooth = [cv2.GaussianBlur(frame, (0, 0), 2) for frame in guide]
    _, frames = fill(smooth, {0: painted[:, :W]}, f"size={W // 2}")
    for n in (1, 2, 3):
        inner = (slice(8, -8), slice(8, -24))
        assert energy(frames[n][inner]) > 0.7 * energy(frames[0][inner])
        same = painted[:, 4 * n : 4 * n + W]
        gap = np.abs(frames[n][inner].astype(int) - same[inner]).mean()
        assert gap < 0.5 * np.abs(frames[n][inner].astype(int) - painted[:, :W][inner]).mean()


@pytest.mark.parametrize("method", ["patchmatch", "flow"])
def test_the_worst_frame_is_found_among_frames_that_all_match_badly(fill: Fill, method: str) -> None:
    """Frames 1 to 4 have nothing of the key: flat ones, further and further from it."""
    flat = [np.full((H, W, 3), level, np.uint8) for level in (20, 60, 240, 110, 150)]
    result, _ = fill(flat, {0: noise(1)}, f"deflicker.correspondence={method}")
    (row,) = result.output.metrics["segments"]
    assert row["worst_frame"] == 2
    if method == "patchmatch":
        assert row["worst_error"] == pytest.approx(220, abs=0.1)
        assert row["match_error"] == pytest.approx(np.sqrt(np.mean(np.square([40, 220, 90, 130]))), abs=0.1)


def test_packs_are_opened_once_a_shot_and_not_once_a_strip(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    class Counted(StoredMatches):
        def __init__(self, *args: Any) -> None:
            opened.append(1)
            super().__init__(*args)

    monkeypatch.setattr(key_filter, "StoredMatches", Counted)
    monkeypatch.setattr("tasks.strips.MOST_FRAMES", 2)
    fill([noise(0)] * 9, {4: noise(1)})
    assert len(opened) == 1


def guide_of(height: int, width: int) -> Any:
    facts = type("Facts", (), {"height": height, "width": width, "uri": "guide.mkv"})
    index = type("Index", (), {"first": 0, "frames": 9})
    return type("Guide", (), {"facts": facts, "index": index})


def read(path: Path, told: list[Progress] | None = None) -> list[KeyImage]:
    job = build_deflicker_job(None, (), {"guide": "guide.mkv", "keyframes": (f"2={path}",)})
    observe = (told if told is not None else []).append
    run = type("Watching", (), {"source": "guide.mkv", "observe": staticmethod(observe)})
    clip: Clip = guide_of(H, W)
    return key_images(run, job.keyframes, clip)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"", b"no picture"])
def test_a_file_that_is_no_picture_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ConfigError, match=r"a\.png: is no picture that can be read"):
        read(tmp_path / "a.png")


def test_a_key_repainted_while_the_run_goes_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", noise(1))
    (key,) = read(path)
    assert np.array_equal(key.read(H, W), noise(1))
    write(path, noise(2))
    with pytest.raises(ConfigError, match=r"a\.png: changed while the run went"):
        key.read(H, W)
    path.unlink()
    with pytest.raises(ConfigError, match="no such picture"):
        key.read(H, W)


@pytest.mark.parametrize(("alpha", "warned"), [(255, False), (254, True)])
def test_transparency_that_is_dropped_is_told_of(tmp_path: Path, alpha: int, warned: bool) -> None:
    cut = np.dstack([noise(1), np.full((H, W), 255, np.uint8)])
    cut[3, 4, 3] = alpha
    told: list[Progress] = []
    (key,) = read(write(tmp_path / "a.png", cut), told)
    assert [p.level for p in told if "transparent" in p.message] == ["warning"] * warned
    assert np.array_equal(key.read(H, W), noise(1))


def test_a_number_that_is_none_is_part_of_a_name(tmp_path: Path) -> None:
    """A superscript two is a digit, but no decimal."""
    with pytest.raises(ConfigError, match="which frame is"):
        build_deflicker_job(None, (), {"guide": "g.mkv", "keyframes": ("2\N{SUPERSCRIPT TWO}=a.png",)})
