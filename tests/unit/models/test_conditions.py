"""Controls: right shapes, right values, and errors that name the file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from configs.errors import ConfigError
from models.conditions import depth_from_folder, prepare_control, reference_picture, soft_edges, tile


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)


def test_tile_is_the_colours_and_blur_keeps_their_mean(frames: np.ndarray) -> None:
    np.testing.assert_array_equal(tile(frames), frames.astype(np.float32) / np.float32(255))
    soft = tile(frames, blur=2.0)
    assert soft.std() < 0.5 * tile(frames).std()
    assert soft.mean() == pytest.approx(tile(frames).mean(), abs=0.02)


def test_soft_edge_blocks_are_the_edges_laid_out_as_channels(frames: np.ndarray) -> None:
    control = prepare_control("softedge-blocks", frames, torch.zeros(2, 16, 2, 3), 8)
    assert control.shape == (2, 64, 2, 3)
    edges = torch.nn.functional.pixel_shuffle(control, 8)[:, 0]
    np.testing.assert_array_equal(edges.numpy(), soft_edges(frames))


def test_pocket_was_trained_on_the_same_layout(frames: np.ndarray) -> None:
    from models.pocket.networks import blocks

    latents = torch.randn(2, 16, 2, 3)
    theirs = blocks(torch.from_numpy(soft_edges(frames)))
    assert torch.equal(prepare_control("softedge-blocks", frames, latents, 8), theirs)
    assert torch.equal(prepare_control("tile-latents", frames, latents, 8), latents)


def test_picture_controls_are_rgb_at_pixel_size(frames: np.ndarray) -> None:
    latents = torch.zeros(2, 4, 2, 3)
    edge = prepare_control("softedge", frames, latents, 8)
    assert edge.shape == (2, 3, 16, 24)
    assert torch.equal(edge[:, 0], edge[:, 2])
    colour = prepare_control("tile", frames, latents, 8)
    assert torch.equal((colour * 255).round().byte(), torch.from_numpy(frames).permute(0, 3, 1, 2))


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_depth_is_read_by_frame_number_in_8_and_16_bit(tmp_path: Path, dtype: type, white: int) -> None:
    for frame in (7, 10):
        picture = np.full((32, 48), white * frame // 10, dtype=dtype)
        cv2.imwrite(str(tmp_path / f"depth_{frame:04d}.png"), picture)
    depth = depth_from_folder(tmp_path, (10, 7, 7), (16, 24))
    assert depth.shape == (3, 16, 24)
    np.testing.assert_allclose(depth.mean(axis=(1, 2)), (1.0, 0.7, 0.7), atol=3e-3)
    control = prepare_control(
        "depth", np.zeros((1, 16, 24, 3), np.uint8), torch.zeros(1, 4, 2, 3), 8, path=tmp_path, numbers=(7,)
    )
    assert control.shape == (1, 3, 16, 24)


def test_depth_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing depth map .*000003\.png of frame 3"):
        depth_from_folder(tmp_path, (3,), (8, 8))
    (tmp_path / "000003.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"cannot read depth map .*000003\.png"):
        depth_from_folder(tmp_path, (3,), (8, 8))
    with pytest.raises(ConfigError, match="no such folder"):
        depth_from_folder(tmp_path / "gone", (3,), (8, 8))
    with pytest.raises(ConfigError, match="needs `depth`"):
        prepare_control("depth", np.zeros((1, 8, 8, 3), np.uint8), torch.zeros(1, 4, 1, 1), 8)


def test_an_unknown_kind_is_a_mistake(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="canny"):
        prepare_control("canny", frames, torch.zeros(2, 4, 2, 3), 8)  # type: ignore[arg-type]


def test_depth_blocks_are_the_depth_maps_laid_out_as_channels(tmp_path: Path, frames: np.ndarray) -> None:
    maps = np.random.default_rng(1).integers(0, 256, (2, 16, 24), dtype=np.uint8)
    for number, depth in enumerate(maps):
        cv2.imwrite(str(tmp_path / f"{number}.png"), depth)
    latents = torch.zeros(2, 4, 2, 3)
    control = prepare_control("depth-blocks", frames, latents, 8, path=tmp_path, numbers=(0, 1))
    back = torch.nn.functional.pixel_shuffle(control, 8)[:, 0]
    np.testing.assert_allclose(back.numpy() * 255, maps, atol=1e-4)
    with pytest.raises(ConfigError, match="'depth-blocks' needs `depth`"):
        prepare_control("depth-blocks", frames, latents, 8)


def test_a_reference_is_cut_to_the_frames_shape_and_given_to_every_frame(tmp_path: Path, frames: np.ndarray) -> None:
    wide = np.zeros((40, 400, 3), np.uint8)
    wide[:, 170:230] = (0, 0, 255)  # BGR: only the middle is red
    cv2.imwrite(str(tmp_path / "look.png"), wide)
    cut = reference_picture(tmp_path / "look.png", (16, 24))
    assert cut.shape == (16, 24, 3)
    assert cut[..., 0].min() > 250
    assert cut[..., 2].max() < 5
    latents = torch.randn(4, 2, 3)
    control = prepare_control("reference-latents", frames, torch.zeros(2, 4, 2, 3), 8, reference_Chw=latents)
    assert torch.equal(control, torch.stack([latents, latents]))
    with pytest.raises(ConfigError, match="not a picture"):
        reference_picture(tmp_path / "none.png", (16, 24))
