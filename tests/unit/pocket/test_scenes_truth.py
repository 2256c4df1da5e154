"""What a procedural scene says about its motion, occlusion, colours and objects is what its pixels show."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.pocket.gallery import main as paint_gallery
from models.pocket.scene_layers import paint
from models.pocket.scenes import OpenScene, Scene, open_scene, render_clip
from models.pocket.sprites import COLOURS, SPRITES, draw_sprite
from models.pocket.vocabulary import MAX_LENGTH

SEEDS = range(12)


def _pull(values: NDArray[np.generic], flow: NDArray[np.float32]) -> NDArray[np.float32]:
    ys, xs = np.mgrid[0 : flow.shape[0], 0 : flow.shape[1]].astype(np.float32)
    source = values.astype(np.float32)
    return np.asarray(cv2.remap(source, xs + flow[..., 0], ys + flow[..., 1], cv2.INTER_LINEAR), np.float32)


def _psnr(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2)))


@pytest.fixture(scope="module")
def steady() -> list[Scene]:
    """Three frames of several scenes without lighting drift."""
    return [render_clip(seed, 3, 96, 160, steady_light=True) for seed in SEEDS]


@pytest.mark.parametrize("forward", [False, True])
def test_flow_carries_one_frame_into_the_other_where_nothing_hides(steady: list[Scene], forward: bool) -> None:
    """Both flows reproduce a frame from its neighbour, far better than standing still does."""
    gains, exact = [], []
    for scene in steady:
        flow, hidden = (
            (scene.forward_flow_FHWC[1], scene.forward_occluded_FHW[1])
            if forward
            else (scene.backward_flow_FHWC[1], scene.backward_occluded_FHW[1])
        )
        other, now = scene.frames_FHWC[2 if forward else 0], scene.frames_FHWC[1]
        pulled = _pull(other, flow)
        exact.append(_psnr(pulled[~hidden], now[~hidden]))
        gains.append(exact[-1] - _psnr(other[~hidden], now[~hidden]))
        assert hidden.mean() < 0.3
    assert np.median(exact) >= 34
    assert min(exact) >= 30
    assert np.median(gains) >= 3


def test_going_there_and_back_leads_home(steady: list[Scene]) -> None:
    """Forward flow found at the end of backward flow is its opposite."""
    for scene in steady:
        back, ahead = scene.backward_flow_FHWC[2], scene.forward_flow_FHWC[1]
        gap = np.abs(back + _pull(ahead, back))[~scene.backward_occluded_FHW[2]]
        assert gap.max() < 0.05


def test_the_first_and_last_frame_have_no_counterpart(steady: list[Scene]) -> None:
    """Where there is no other frame, everything counts as hidden and nothing moves."""
    for scene in steady:
        assert scene.backward_occluded_FHW[0].all()
        assert scene.forward_occluded_FHW[-1].all()
        assert not scene.forward_flow_FHWC[-1].any()


def test_wheels_turn_against_the_body() -> None:
    """A wheel's flow is not its vehicle's: articulated parts have their own."""
    for seed in range(60):
        scene = open_scene(seed, 60, objects=1)
        frame = scene.frame(30)
        for k, name in enumerate(scene.names):
            if name in ("car", "bus", "truck") and frame.masks_KHW[k].sum() > 800:
                flow = frame.backward_flow_HWC[frame.masks_KHW[k]]
                assert np.ptp(flow[:, 1]) > 1.0
                return
    raise AssertionError("no vehicle among the scenes")


def test_repainting_an_object_changes_its_pixels_and_its_words_only() -> None:
    """A counterfactual pair differs inside one object."""
    for seed in SEEDS:
        first = render_clip(seed, 2, 96, 160)
        for k, name in enumerate(first.names):
            colour = "purple" if first.colours[k] != "purple" else "yellow"
            other = render_clip(seed, 2, 96, 160, colours={k: colour})
            assert other.colours[k] == colour
            assert f"{colour} {name}" in other.caption or len(first.names) > 4
            assert np.array_equal(first.masks_FKHW, other.masks_FKHW)
            changed = np.any(first.frames_FHWC != other.frames_FHWC, axis=-1)
            mask = first.masks_FKHW[:, k]
            assert changed[mask].mean() > 0.4 or not mask.any()
            # Its soft rim reaches further than its mask: whatever its own layers touch may change.
            own = [layer for layer in other.source.layers if layer.thing == k]
            touched = np.stack([paint(own, f, len(first.names), 96, 160).picture_HWC.any(axis=-1) for f in (0, 1)])
            assert not (changed & ~touched).any()


@pytest.mark.parametrize("colour", list(COLOURS))
@pytest.mark.parametrize("name", list(SPRITES))
def test_an_object_is_filled_by_its_colour(name: str, colour: str) -> None:
    """At least two fifths of an object are a shade of the named colour (trees have trunks, houses roofs)."""
    picture = draw_sprite(name, colour, 64)
    inside = picture[picture[..., 3] > 0.9][:, :3]
    shades = np.linspace(0.65, 1.35, 15)[:, None] * np.array(COLOURS[colour])
    gap = np.abs(inside[:, None] - np.clip(shades, 0, 1)[None]).max(axis=-1).min(axis=1)
    assert (gap < 0.08).mean() >= 0.4


def test_paths_lie_in_the_boxes_of_masks_and_vanish_with_them() -> None:
    """A path is where the object is seen, and NaN where it is not."""
    vanished = 0
    for seed in SEEDS:
        scene = open_scene(seed, 200, 48, 80)
        for f in range(0, 200, 20):
            frame = scene.frame(f)
            for mask, (x, y) in zip(frame.masks_KHW, frame.path_K2, strict=True):
                if not mask.any():
                    assert np.isnan((x, y)).all()
                    vanished += 1
                    continue
                rows, columns = np.nonzero(mask)
                assert columns.min() <= x <= columns.max()
                assert rows.min() <= y <= rows.max()
    assert vanished


def test_masks_are_what_is_seen_of_an_object(steady: list[Scene]) -> None:
    """Masks never overlap, and nearly every pixel of one carries the label of one of its object's layers."""
    for scene in steady:
        assert scene.masks_FKHW.sum(axis=1).max() <= 1
        labels = scene.source.painting(0).labels_HW
        owner = np.array([-1 if layer.thing is None else layer.thing for layer in scene.source.layers])[labels]
        for k, mask in enumerate(scene.masks_FKHW[0]):
            if mask.sum() > 50:
                assert (mask & (owner == k)).sum() / (mask | (owner == k)).sum() > 0.97


def test_depth_orders_what_hides_what(steady: list[Scene]) -> None:
    """Depth is in [0, 1], the sky is furthest, and objects further back in `names` are not nearer."""
    for scene in steady:
        depth = scene.depth_FHW
        assert depth.dtype == np.float32
        assert depth.min() == 0.0
        assert depth.max() <= 1
        seen = [depth[0][m].mean() for m in scene.masks_FKHW[0] if m.any()]
        assert seen == sorted(seen)


def test_streaming_gives_the_same_frames_in_any_order() -> None:
    """A frame asked for out of order is the clip's own."""
    clip, scene = render_clip(4, 6, 64, 96), open_scene(4, 6, 64, 96)
    for f in (5, 0, 3):
        assert np.array_equal(scene.frame(f).picture_HWC, clip.frames_FHWC[f])
        assert np.array_equal(scene.frame(f).forward_flow_HWC, clip.forward_flow_FHWC[f])
    with pytest.raises(IndexError):
        scene.frame(6)


@pytest.mark.parametrize("size", [(32, 32), (33, 200), (200, 33), (270, 480)])
def test_any_size_is_filled_to_its_edges(size: tuple[int, int]) -> None:
    """No camera movement uncovers the end of the backdrop."""
    for seed in SEEDS:
        scene: OpenScene = open_scene(seed, 400, *size, steady_light=True)
        for f in (0, 133, 399):
            picture = scene.frame(f).picture_HWC
            edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
            assert picture.shape == (*size, 3)
            assert edge.sum(axis=-1).min() > 0


def test_the_number_of_moving_objects_can_be_asked_for() -> None:
    """`objects` counts what moves or flies; the rest is scenery, and the caption stays short."""
    for seed in SEEDS:
        for count in (1, 3, 6):
            scene = open_scene(seed, 1, 48, 80, objects=count)
            assert sum(name not in ("house", "tree") for name in scene.names) == count
            assert len(scene.caption.split()) + 2 <= MAX_LENGTH
    with pytest.raises(ValueError, match="objects >= 1"):
        open_scene(0, objects=0)
    with pytest.raises(ValueError, match="cannot paint"):
        open_scene(0, colours={0: "mauve"})


def test_the_gallery_paints_a_sheet(tmp_path: Path) -> None:
    """Two scenes, two moments, and the rows of truth below them."""
    out = tmp_path / "sheet.png"
    paint_gallery(["--out", str(out), "--seeds", "1", "2", "--frames", "2", "--seconds", "0.2", "--size", "48", "80"])
    assert cv2.imread(str(out)).shape == ((48 + 22) * 5, (80 + 4) * 2, 3)
