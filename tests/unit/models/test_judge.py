"""The judge knows every filter by its output, also a damaged one, and is not taken in by what only resembles it."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.judge import Judge, Verdict, judge_frame
from models.metrics import PSNR_CEILING
from models.pocket.scenes import render_clip
from models.pocket.styles import STYLES

Frame = NDArray[np.uint8]
CLASSES = (*STYLES, "photo")
FRAMES = 40
CLIPS = Path(os.environ.get("STEADYFRAME_TEST_CLIPS", "/work/shared/clips"))


@dataclass(frozen=True)
class Case:
    """One source, its judge, and every filter's output."""

    source: Frame
    judge: Judge
    outputs: Mapping[str, Frame]


def case(source: Frame) -> Case:
    judge = Judge(source)
    return Case(source, judge, judge.pictures)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case(render_clip(7000 + seed, 1, 144, 256).frames_FHWC[0]) for seed in range(FRAMES)]


def shifted(frame: Frame, rng: np.random.Generator) -> Frame:
    dx, dy = rng.permutation([int(rng.choice([-3, 3])), int(rng.integers(-3, 4))])
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    moved = cv2.warpAffine(frame, matrix, frame.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def softened(frame: Frame, rng: np.random.Generator) -> Frame:
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), 0.7), np.uint8)


def noisy(frame: Frame, rng: np.random.Generator) -> Frame:
    return np.clip(frame + rng.normal(0.0, 4.0, frame.shape) + 0.5, 0, 255).astype(np.uint8)


def compressed(frame: Frame, rng: np.random.Generator) -> Frame:
    _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 60])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def untouched(frame: Frame, rng: np.random.Generator) -> Frame:
    return frame


DAMAGES = (untouched, shifted, softened, noisy, compressed)


def mistakes(
    cases: list[Case], damage: Callable[[Frame, np.random.Generator], Frame]
) -> tuple[Counter[tuple[str, str]], int]:
    rng = np.random.default_rng(5)
    wrong: Counter[tuple[str, str]] = Counter()
    judged = 0
    for index, one in enumerate(cases):
        # Half of the classes on each frame, in turn, for the time it takes.
        for name in CLASSES[index % 2 :: 2]:
            said = one.judge(damage(one.outputs[name], rng)).style
            wrong[name, said] += said != name
            judged += 1
    return +wrong, judged


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_filter_is_known_by_its_output_also_a_damaged_one(
    cases: list[Case], damage: Callable[[Frame, np.random.Generator], Frame]
) -> None:
    wrong, judged = mistakes(cases, damage)
    assert wrong.total() <= 0.01 * judged, wrong


@pytest.mark.skipif(not CLIPS.is_dir(), reason=f"no real clips in {CLIPS}")
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_filter_is_known_on_real_footage(damage: Callable[[Frame, np.random.Generator], Frame]) -> None:
    cases = [case(first) for path in sorted(CLIPS.glob("*.m[pk][4v]")) if (first := middle_frame(path)) is not None]
    assert cases
    wrong, judged = mistakes(cases, damage)
    assert wrong.total() <= 0.01 * judged, wrong


def middle_frame(path: Path) -> Frame | None:
    """A frame of a clip at 256 px on the long side."""
    reader = cv2.VideoCapture(str(path))
    good, frame = False, None
    for _ in range(30):
        good, frame = reader.read()
    reader.release()
    if not good or frame is None:
        return None
    scale = 256 / max(frame.shape[:2])
    small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)


def test_what_shows_no_known_look_is_none(cases: list[Case]) -> None:
    rng = np.random.default_rng(3)
    taken_in: Counter[str] = Counter()
    for index, one in enumerate(cases[:20]):
        stranger = cases[index + 20]
        flat = one.source.mean(axis=(0, 1)).astype(np.uint8)
        clouds = cv2.GaussianBlur(rng.normal(0.0, 6.0, one.source.shape), (0, 0), 4.0)
        pictures = {
            "noise": rng.integers(0, 256, one.source.shape, dtype=np.uint8),
            "clouds": np.clip(128 + 90 * clouds, 0, 255).astype(np.uint8),
            "grey": np.full_like(one.source, 128),
            "mean colour": np.broadcast_to(flat, one.source.shape).copy(),
            "colour blur": np.asarray(cv2.GaussianBlur(one.source, (0, 0), 16.0), np.uint8),
            "mirrored": one.source[:, ::-1].copy(),
            **{f"{name} of another scene": picture for name, picture in stranger.outputs.items()},
        }
        for name, picture in pictures.items():
            taken_in[name] += one.judge(picture).style != "none"
    assert (+taken_in).total() <= 0.01 * 20 * 15, +taken_in


def test_a_half_made_style_is_named_after_its_nearer_end(cases: list[Case]) -> None:
    one = cases[0]
    for name in ("sketch", "night", "neon", "blueprint"):
        mixed = [np.asarray(a * one.outputs[name] + (1 - a) * one.source, np.uint8) for a in (0.85, 0.15)]
        assert [one.judge(m).style for m in mixed] == [name, "photo"]


def test_the_filters_own_output_is_the_best_there_is(cases: list[Case]) -> None:
    one = cases[1]
    verdict = one.judge(one.outputs["oil"], "oil")
    assert verdict.distances["oil"] == 0.0 == verdict.colour_error
    assert (verdict.structure_ratio, verdict.sharpness_ratio, verdict.fidelity_psnr) == (1.0, 1.0, PSNR_CEILING)
    assert 0.0 < verdict.structure < 1.0
    assert set(verdict.distances) == set(CLASSES)


def test_structure_tolerates_two_pixels_and_falls_with_lost_contours(cases: list[Case]) -> None:
    one = cases[2]
    oil = one.outputs["oil"]
    moved = np.asarray(np.roll(oil, 2, axis=1))
    far = np.asarray(np.roll(oil, 12, axis=1))
    smeared = np.asarray(cv2.GaussianBlur(oil, (0, 0), 8.0), np.uint8)
    own, near, lost, gone = (one.judge(p, "oil").structure for p in (oil, moved, far, smeared))
    assert own > near > 0.7 * own
    assert lost < 0.6 * near
    assert gone < 0.8 * own
    assert one.judge(np.zeros_like(oil), "oil").structure == 0.0


def test_colour_error_is_in_delta_e_and_blind_to_fine_grain(cases: list[Case]) -> None:
    grey = np.full((64, 64, 3), 119, np.uint8)  # L = 50
    brighter = np.full((64, 64, 3), 145, np.uint8)  # L = 60
    assert judge_frame(grey, brighter, "photo").colour_error == pytest.approx(10.0, abs=0.3)
    one = cases[3]
    grain = noisy(one.source, np.random.default_rng(0))
    assert one.judge(grain, "photo").colour_error < 1.0
    assert one.judge(one.outputs["night"], "photo").colour_error > 20.0


def test_sharpness_and_fidelity_fall_with_blur(cases: list[Case]) -> None:
    one = cases[4]
    mild, strong = (
        one.judge(np.asarray(cv2.GaussianBlur(one.outputs["neon"], (0, 0), sigma), np.uint8), "neon")
        for sigma in (0.7, 2.0)
    )
    assert 1.0 > mild.sharpness_ratio > strong.sharpness_ratio > 0.0
    assert mild.fidelity_psnr > strong.fidelity_psnr


def test_without_a_wanted_style_only_what_needs_none_is_known(cases: list[Case]) -> None:
    verdict: Verdict = cases[5].judge(cases[5].outputs["sketch"])
    assert verdict.style == "sketch"
    assert verdict.structure > 0.0
    needing = (verdict.structure_ratio, verdict.fidelity_psnr, verdict.colour_error, verdict.sharpness_ratio)
    assert all(map(math.isnan, needing))


def test_flat_sources_are_judged_without_a_warning() -> None:
    flat = np.full((40, 48, 3), 90, np.uint8)
    verdict = judge_frame(flat, flat, "photo")
    assert (verdict.style, verdict.structure) == ("photo", 0.0)
    assert math.isnan(verdict.structure_ratio)


def test_another_size_dtype_or_unknown_style_is_refused(cases: list[Case]) -> None:
    one = cases[6]
    with pytest.raises(ValueError, match="the source is uint8"):
        one.judge(one.source[:-8])
    with pytest.raises(ValueError, match="the source is uint8"):
        one.judge(one.source.astype(np.float32))
    with pytest.raises(ValueError, match="unknown style 'cubism'"):
        one.judge(one.source, "cubism")
