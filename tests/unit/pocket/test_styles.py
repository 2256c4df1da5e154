"""The style filters are fixed functions of a frame and are told apart at a glance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models.pocket.scenes import render_clip
from models.pocket.styles import PROMPT_TEMPLATES, STYLES, apply_style, style_prompt


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    """One procedural frame."""
    return render_clip(3, 1, 144, 256).frames_FHWC[0]


def test_there_are_at_least_eight_styles_each_with_a_template() -> None:
    """Every style can be asked for by words."""
    assert len(STYLES) >= 8
    assert set(PROMPT_TEMPLATES) == {*STYLES, "photo"}
    assert style_prompt("watercolor", "a red car") == "a red car, watercolor painting"


@pytest.mark.parametrize("name", [*STYLES, "photo"])
def test_a_style_is_deterministic_and_keeps_shape_and_input(frame: np.ndarray, name: str) -> None:
    """Same frame, same bytes; the frame itself is not touched."""
    before = frame.copy()
    first, second = apply_style(name, frame), apply_style(name, frame)
    assert first.shape == frame.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.array_equal(frame, before)


def test_styles_differ_from_each_other_and_from_the_photo(frame: np.ndarray) -> None:
    """Mean absolute difference of any two is plainly visible."""
    pictures = {name: apply_style(name, frame).astype(np.float32) for name in [*STYLES, "photo"]}
    for a, b in itertools.combinations(pictures, 2):
        assert np.abs(pictures[a] - pictures[b]).mean() > 8, (a, b)


@pytest.mark.parametrize("name", [n for n in STYLES if n != "mosaic"])
def test_a_style_follows_the_picture_and_not_a_grid(name: str) -> None:
    """Cropping and filtering commute away from the border (mosaic alone is locked to its tiles)."""
    wide = render_clip(3, 1, 144, 256).frames_FHWC[0]
    moved = apply_style(name, np.ascontiguousarray(wide[:, 3:]))
    still = apply_style(name, wide)[:, 3:]
    inner = np.s_[40:-40, 40:-40]
    assert np.abs(moved[inner].astype(int) - still[inner].astype(int)).max() <= 1


@pytest.mark.parametrize("name", STYLES)
def test_a_style_does_not_amplify_faint_noise_much(name: str) -> None:
    """A steady input stays steady: noise of one grey level comes out as a few at most."""
    frame = render_clip(4, 1, 96, 160).frames_FHWC[0]
    rng = np.random.default_rng(0)
    noisy = np.clip(frame.astype(int) + rng.integers(-1, 2, frame.shape), 0, 255).astype(np.uint8)
    change = apply_style(name, noisy).astype(np.float32) - apply_style(name, frame)
    assert np.abs(change).mean() < 3.0


def test_wrong_input_is_refused(frame: np.ndarray) -> None:
    """Unknown styles and floats are errors, not surprises."""
    with pytest.raises(ValueError, match="unknown style"):
        apply_style("cubism", frame)
    with pytest.raises(ValueError, match="uint8"):
        apply_style("oil", frame.astype(np.float32))
