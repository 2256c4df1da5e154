"""Controls computed from source frames: pictures in, maps out.

Every map is a fixed, local function of one frame, so it is as steady as the frame itself and may be computed
in any order. Refuses to know about networks, jobs and time; the only files read are a user's own depth maps.

Shape suffixes: F frames, H height, W width, C colour channels (RGB); h w at latent resolution.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from configs.errors import ConfigError, VideoConfigError
from configs.job import ControlKind

# Gradient magnitude (in units of full range per pixel) at which an edge reads 1 - 1/e. A soft outdoor
# contour at 256 px has about 0.05; sensor noise after the blur stays under 0.01.
_EDGE_KNEE = 0.06


def soft_edges(frames_FHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Soft contour strength of each frame.

    A Gaussian blur (sigma 1 px), the largest Scharr gradient over the colour channels (so that contours
    between colours of equal brightness count), and a saturating curve. Nothing is normalised over the
    picture: a global maximum would let one bright corner dim every contour and flicker.

    Shapes: frames (F, H, W, 3) uint8 RGB -> (F, H, W) float32 in [0, 1].
    Errors: ValueError for another shape or dtype.
    """
    if frames_FHWC.ndim != 4 or frames_FHWC.shape[-1] != 3 or frames_FHWC.dtype != np.uint8:
        raise ValueError(f"soft_edges needs uint8 (F, H, W, 3), got {frames_FHWC.dtype} {frames_FHWC.shape}")
    edges_FHW = np.empty(frames_FHWC.shape[:3], dtype=np.float32)
    for index, frame_HWC in enumerate(frames_FHWC):
        smooth = cv2.GaussianBlur(frame_HWC.astype(np.float32) / 255.0, (0, 0), 1.0)
        # Scharr's 3x3 kernel sums to 32 for a unit ramp.
        gx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0) / 32.0
        gy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1) / 32.0
        strength = np.sqrt(gx * gx + gy * gy).max(axis=-1)
        edges_FHW[index] = 1.0 - np.exp(-strength / _EDGE_KNEE)
    return edges_FHW


def tile(frames_FHWC: NDArray[np.uint8], blur: float = 0.0) -> NDArray[np.float32]:
    """The colours themselves, what a tile ControlNet is steered by.

    `blur`: sigma in pixels of a Gaussian, 0 for none; a blurred tile leaves the detail to the model.
    Shapes: frames (F, H, W, 3) uint8 RGB -> (F, H, W, 3) float32 in [0, 1].
    """
    colour_FHWC = frames_FHWC.astype(np.float32) / np.float32(255.0)
    if blur > 0.0:
        for index, frame_HWC in enumerate(colour_FHWC):
            colour_FHWC[index] = cv2.GaussianBlur(frame_HWC, (0, 0), blur)
    return colour_FHWC


def depth_from_folder(folder: str | Path, frames: Sequence[int], size: tuple[int, int]) -> NDArray[np.float32]:
    """Depth maps a user made with a tool of their choice, one PNG per frame of the clip.

    A file belongs to the frame that the digits at the end of its name say (`depth_00012.png`, `12.png`); grey
    or colour (then averaged), 8 or 16 bit, any size. `size`: (H, W) to bring them to. Shapes: -> (F, H, W)
    float32 in [0, 1]. Errors: ConfigError that names the folder, VideoConfigError that names the missing or unreadable
    file.
    """
    folder = Path(folder).expanduser()
    numbered = depth_maps(folder)
    depth_FHW = np.empty((len(frames), *size), dtype=np.float32)
    for index, frame in enumerate(frames):
        if frame not in numbered:
            raise VideoConfigError(f"missing depth map {folder / f'{frame:06d}.png'} of frame {frame}")
        depth = cv2.imread(str(numbered[frame]), cv2.IMREAD_UNCHANGED)
        if depth is None or depth.dtype not in (np.uint8, np.uint16):
            raise VideoConfigError(f"cannot read depth map {numbered[frame]}: not an 8 or 16 bit PNG")
        grey = depth.astype(np.float32) / np.float32(np.iinfo(depth.dtype).max)
        if grey.ndim == 3:
            grey = grey[..., :3].mean(axis=-1)
        shrinks = grey.shape[0] > size[0]
        depth_FHW[index] = cv2.resize(
            grey, (size[1], size[0]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
    return depth_FHW


def depth_maps(folder: str | Path) -> dict[int, Path]:
    """The depth map of each frame that has one in a folder. Errors: ConfigError for no such folder."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"no such folder of depth maps: {folder}")
    return {int(m[1]): p for p in sorted(folder.glob("*.png")) if (m := re.search(r"(\d+)$", p.stem))}


def check_files(kind: ControlKind, path: str) -> None:
    """Look at the files of a control before any work is done for it. Errors: ConfigError that names them."""
    if kind == "reference-latents":
        reference_picture(path, (8, 8))
    elif kind in ("depth", "depth-blocks") and not depth_maps(path):
        raise ConfigError(f"no depth map in {path}; name them after their frames, 000000.png, 000001.png ...")


def reference_picture(path: str | Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture a user likes the look of, cut to the shape of the frames and scaled: uint8 RGB (H, W, 3).

    Errors: ConfigError if there is no such picture.
    """
    place = Path(path).expanduser()
    picture = cv2.imread(str(place), cv2.IMREAD_COLOR) if place.is_file() else None
    if picture is None:
        raise ConfigError(f"reference {str(path)!r} is not a picture that can be read; give a PNG or JPEG file")
    (high, wide), (height, width) = picture.shape[:2], size
    scale = max(height / high, width / wide)
    near = (max(width, round(wide * scale)), max(height, round(high * scale)))
    scaled = cv2.resize(picture, near, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    cut = scaled[top : top + height, left : left + width]
    return np.asarray(cv2.cvtColor(cut, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def prepare_control(
    kind: ControlKind,
    frames_FHWC: NDArray[np.uint8],
    latents_FChw: Tensor,
    factor: int,
    *,
    path: str | Path | None = None,
    numbers: Sequence[int] | None = None,
    reference_Chw: Tensor | None = None,
) -> Tensor:
    """What one ControlNet is fed for these source frames at working size, float32 on the CPU.

    `tile-latents`: the source's scaled latents (F, C, h, w). `softedge-blocks`: its soft edges with each factor x
    factor block as channels, (F, factor^2, h, w); `depth-blocks` the same of depth maps. `reference-latents`: those of
    the job's reference picture, for every frame. `softedge`, `depth` and `tile`: pictures (F, 3, H, W) in [0, 1], grey
    ones repeated. Depth is read from `path` at the frame `numbers` of the clip. Errors: ConfigError for a missing
    folder or file, ValueError for an unknown kind.
    """
    if kind == "tile-latents":
        return latents_FChw.float().cpu()
    if kind == "reference-latents":
        if reference_Chw is None:
            raise ConfigError("control kind 'reference-latents' needs `reference`, a picture whose look is wanted")
        return reference_Chw.float().cpu().expand(len(frames_FHWC), -1, -1, -1).clone()
    if kind == "tile":
        return torch.from_numpy(tile(frames_FHWC)).permute(0, 3, 1, 2).contiguous()
    if kind in ("softedge-blocks", "softedge"):
        map_FHW = torch.from_numpy(soft_edges(frames_FHWC))
    elif kind in ("depth-blocks", "depth"):
        if path is None or numbers is None:
            raise ConfigError(f"control kind {kind!r} needs `depth`, a folder of one PNG per frame")
        height, width = frames_FHWC.shape[1:3]
        map_FHW = torch.from_numpy(depth_from_folder(path, numbers, (height, width)))
    else:
        raise ValueError(f"unknown control kind {kind!r}")
    if kind.endswith("-blocks"):
        return functional.pixel_unshuffle(map_FHW[:, None], factor)
    return map_FHW[:, None].repeat(1, 3, 1, 1)
