"""A labelled contact sheet of procedural scenes over time, and one scene's known truth made visible.

    python -m models.pocket.gallery --out sheet.png [--seeds 0 1 2] [--frames 5] [--objects N]

Knows how to show a scene; refuses to know how one is made.

Shape suffixes: K objects, H height, W width, C colour channels (RGB).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.pocket.scenes import OpenScene, SceneFrame, open_scene

Picture = NDArray[np.uint8]

_LABEL, _GAP = 18, 4


def flow_colours(flow_HWC: NDArray[np.float32]) -> Picture:
    """Show motion as (H, W, 3) uint8: direction as hue, speed as saturation, white where nothing moves."""
    speed, angle = np.hypot(flow_HWC[..., 0], flow_HWC[..., 1]), np.arctan2(flow_HWC[..., 1], flow_HWC[..., 0])
    strong = speed / max(float(np.percentile(speed, 99)), 1e-3)
    hsv = np.dstack([np.degrees(angle) % 360.0, np.clip(strong, 0, 1), np.ones_like(strong)]).astype(np.float32)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255 + 0.5, dtype=np.uint8)


def truths(frame: SceneFrame) -> list[tuple[str, Picture]]:
    """Return a frame's masks, flow, occlusion and depth as labelled pictures."""
    grey = np.repeat(frame.picture_HWC.mean(axis=-1, keepdims=True) * 0.6, 3, axis=-1)
    masks = grey.copy()
    for k, mask in enumerate(frame.masks_KHW):
        hue = np.array([[[(k * 137.5) % 360, 0.75, 1.0]]], dtype=np.float32)
        masks[mask] = 0.35 * masks[mask] + 0.65 * 255 * cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0]
    hidden = grey.copy()
    hidden[frame.backward_occluded_HW] = (255, 70, 60)
    hidden[frame.forward_occluded_HW] = (70, 130, 255)
    depth = cv2.applyColorMap((frame.depth_HW * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return [
        ("masks", masks.astype(np.uint8)),
        ("backward flow", flow_colours(frame.backward_flow_HWC)),
        ("forward flow", flow_colours(frame.forward_flow_HWC)),
        ("hidden before (red), after (blue)", hidden.astype(np.uint8)),
        ("depth", np.asarray(depth, dtype=np.uint8)),
    ]


def _write(picture: Picture, text: str, at: tuple[int, int], room: int, ink: int = 40) -> Picture:
    """Write a line of text into `picture`, smaller if it needs more than `room` px."""
    full = max(1, cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)[0][0])
    size = min(0.42, (room - 4) / full)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (ink, ink, ink), 1, cv2.LINE_AA)
    return picture


def _labelled(picture: Picture, text: str, stamp: bool = False) -> Picture:
    """Put a picture on paper with its label above it, or as a `stamp` in its lower left corner."""
    high, wide = picture.shape[:2]
    tile = np.full((high + _LABEL + _GAP, wide + _GAP, 3), 250, dtype=np.uint8)
    tile[_LABEL : _LABEL + high, :wide] = picture
    return _write(tile, text, (4, _LABEL + high - 6) if stamp else (2, 13), wide, 255 if stamp else 40)


def contact_sheet(scenes: list[OpenScene], columns: int) -> Picture:
    """Return one row of `columns` moments per scene and a last row with the truth about the first scene.

    All scenes must have the same size. Errors: ValueError if there is no scene or no column.
    """
    if not scenes or columns < 1:
        raise ValueError(f"a contact sheet needs scenes and columns, got {len(scenes)} and {columns}")
    rows = []
    for scene in scenes:
        moments = np.linspace(0, scene.frames - 1, columns).round().astype(int)
        tiles = [_labelled(scene.frame(f).picture_HWC, f"{f / 25:.1f} s", stamp=True) for f in moments.tolist()]
        row = np.hstack(tiles)
        rows.append(_write(row, scene.caption, (2, 13), row.shape[1]))
    first = scenes[0]
    truth = [_labelled(picture, text) for text, picture in truths(first.frame(first.frames // 2))]
    rows += [np.hstack(truth[i : i + columns]) for i in range(0, len(truth), columns)]
    wide = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(r, ((0, 0), (0, wide - r.shape[1]), (0, 0)), constant_values=250) for r in rows])


def main(argv: list[str] | None = None) -> None:
    """Paint a contact sheet into a file."""
    parser = argparse.ArgumentParser(description="Paint a contact sheet of procedural scenes.")
    parser.add_argument("--out", type=Path, required=True, help="picture to write, e.g. sheet.png")
    parser.add_argument("--seeds", type=int, nargs="+", default=[23, 11, 1, 8, 15, 21])
    parser.add_argument("--frames", type=int, default=5, help="moments shown of each scene, spread over --seconds")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--size", type=int, nargs=2, default=(144, 256), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--objects", type=int, default=None, help="how many objects move or fly; default: 1 to 3")
    args = parser.parse_args(argv)
    length = max(2, round(args.seconds * 25))
    scenes = [open_scene(seed, length, *args.size, objects=args.objects) for seed in args.seeds]
    sheet = contact_sheet(scenes, args.frames)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(args.out), sheet[..., ::-1]):
        raise OSError(f"cannot write {args.out}")


if __name__ == "__main__":
    main()
