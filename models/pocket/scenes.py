"""Procedural clips with everything known: picture, caption, object masks, motion, occlusion, depth and paths.

For training `pocket`, for ground truth in tests and for the product's demo. A scene is a few flat layers (sky,
clouds, ridges, ground, objects and their turning or beating parts), each moved by its own linear map, so masks,
flow and occlusion are exact by construction. Refuses to know about models and video files. Deterministic by seed.

Shape suffixes: F frames, K objects, H height, W width, C colour channels (RGB; layers also carry alpha).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.pocket.scene_backdrops import Extent
from models.pocket.scene_camera import RATE, Camera
from models.pocket.scene_cast import NAMED, PLACES, WEATHER, backdrop, cast, parts, phrase, shadow
from models.pocket.scene_layers import Layer, Painting, depth_of, flow_between, occluded, paint
from models.pocket.sprites import COLOURS, SPRITES

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SceneFrame:
    """One frame of a scene; see `Scene` for each field. What follows from motion is computed when asked for."""

    scene: OpenScene = field(repr=False)
    index: int
    painting: Painting = field(repr=False)

    @cached_property
    def picture_HWC(self) -> NDArray[np.uint8]:  # noqa: N802
        """Return the frame as uint8 RGB under its light."""
        lit = self.painting.picture_HWC * (self.scene.light(self.index) * 255.0) + np.float32(0.5)
        return np.asarray(np.clip(lit, 0, 255), dtype=np.uint8)

    @property
    def masks_KHW(self) -> Mask:  # noqa: N802
        """Return the visible pixels of each object."""
        return self.painting.masks_KHW

    @cached_property
    def _backward(self) -> tuple[Float, Mask]:
        return self.scene.motion(self.index, self.index - 1)

    @cached_property
    def _forward(self) -> tuple[Float, Mask]:
        return self.scene.motion(self.index, self.index + 1)

    @property
    def backward_flow_HWC(self) -> Float:  # noqa: N802
        """Return where each pixel was one frame ago, as an offset in px."""
        return self._backward[0]

    @property
    def forward_flow_HWC(self) -> Float:  # noqa: N802
        """Return where each pixel will be in the next frame, as an offset in px."""
        return self._forward[0]

    @property
    def backward_occluded_HW(self) -> Mask:  # noqa: N802
        """Return the pixels that could not be seen one frame ago."""
        return self._backward[1]

    @property
    def forward_occluded_HW(self) -> Mask:  # noqa: N802
        """Return the pixels that cannot be seen in the next frame."""
        return self._forward[1]

    @cached_property
    def depth_HW(self) -> Float:  # noqa: N802
        """Return depth, 0 far to 1 near."""
        return depth_of(self.scene.layers, self.painting.labels_HW, self.index)

    @cached_property
    def path_K2(self) -> Float:  # noqa: N802
        """Return the centre (x, y) of each object's visible pixels; NaN where there is none."""
        centres = np.full((len(self.masks_KHW), 2), np.nan, dtype=np.float32)
        for k, mask in enumerate(self.masks_KHW):
            if mask.any():
                rows, columns = np.nonzero(mask)
                centres[k] = columns.mean(), rows.mean()
        return centres


@dataclass(frozen=True)
class OpenScene:
    """A scene whose frames are painted one at a time, so that long or large clips need not be held.

    caption: what is in it, lower case. names, colours: of its K objects, back to front.
    """

    caption: str
    names: tuple[str, ...]
    colours: tuple[str, ...]
    frames: int
    height: int
    width: int
    layers: tuple[Layer, ...] = field(repr=False)
    drift: tuple[float, float, float]
    _kept: dict[int, Painting] = field(default_factory=dict, repr=False)

    def painting(self, index: int) -> Painting:
        """Paint a frame, or return it if it is one of the last three painted."""
        if not 0 <= index < self.frames:
            raise IndexError(f"frame {index} of a scene of {self.frames}")
        if index not in self._kept:
            while len(self._kept) >= 3:
                del self._kept[next(iter(self._kept))]
            self._kept[index] = paint(self.layers, index, len(self.names), self.height, self.width)
        return self._kept[index]

    def frame(self, index: int) -> SceneFrame:
        """Return one frame, 0 <= index < frames. Errors: IndexError."""
        return SceneFrame(self, index, self.painting(index))

    def light(self, index: int) -> Float:
        """Return the gain of each colour channel: a slow drift of brightness and warmth."""
        strength, warmth, phase = self.drift
        drift = np.sin(2 * np.pi * index / 125.0 + phase)
        return ((1 + strength * drift) * np.array([1 + warmth * drift, 1.0, 1 - warmth * drift])).astype(np.float32)

    def motion(self, index: int, other: int) -> tuple[Float, Mask]:
        """Return flow and occlusion from a frame to another; zero and all hidden if there is no other."""
        labels = self.painting(index).labels_HW
        if not 0 <= other < self.frames:
            return np.zeros((self.height, self.width, 2), np.float32), np.ones((self.height, self.width), dtype=bool)
        flow = flow_between(self.layers, labels, index, other)
        return flow, occluded(labels, self.painting(other).labels_HW, flow)


@dataclass(frozen=True)
class Scene:
    """A rendered clip. Flow, occlusion and depth are computed on first use.

    frames_FHWC: uint8 RGB. caption: what is in it, lower case. names, colours: of K objects, back to front.
    masks_FKHW: bool, visible pixels of each object (coverage above one half).
    paths_FK2: float32 centre (x, y) px of each object's visible pixels; NaN when wholly outside or hidden.
    """

    frames_FHWC: NDArray[np.uint8]
    caption: str
    names: tuple[str, ...]
    colours: tuple[str, ...]
    masks_FKHW: Mask
    paths_FK2: Float
    source: OpenScene = field(repr=False)

    def _motion(self, step: int) -> tuple[Float, Mask]:
        flow, hidden = zip(*(self.source.motion(f, f + step) for f in range(self.source.frames)), strict=True)
        return np.stack(flow), np.stack(hidden)

    @cached_property
    def _backward(self) -> tuple[Float, Mask]:
        return self._motion(-1)

    @cached_property
    def _forward(self) -> tuple[Float, Mask]:
        return self._motion(1)

    @property
    def backward_flow_FHWC(self) -> Float:  # noqa: N802
        """Return float32 (dx, dy) px such that frame f at p shows what frame f-1 had at p + flow; 0 at f = 0.

        Wheels, wings and tails have their own motion. Where f-1 hid the pixel it is still its true motion.
        """
        return self._backward[0]

    @property
    def backward_occluded_FHW(self) -> Mask:  # noqa: N802
        """Return bool: hidden or outside in frame f-1, or mixed with another layer there; True at f = 0."""
        return self._backward[1]

    @property
    def forward_flow_FHWC(self) -> Float:  # noqa: N802
        """Return float32 (dx, dy) px such that frame f at p is shown by frame f+1 at p + flow; 0 at the last."""
        return self._forward[0]

    @property
    def forward_occluded_FHW(self) -> Mask:  # noqa: N802
        """Return bool: hidden or outside in frame f+1, or mixed with another layer there; True at the last."""
        return self._forward[1]

    @cached_property
    def depth_FHW(self) -> Float:  # noqa: N802
        """Return float32 depth, 0 far (the sky) to 1 near (the lower edge of the ground)."""
        return np.stack([self.source.frame(f).depth_HW for f in range(self.source.frames)])


def open_scene(
    seed: int,
    frames: int = 125,
    height: int = 144,
    width: int = 256,
    *,
    colours: Mapping[int, str] | None = None,
    objects: int | None = None,
    steady_light: bool = False,
) -> OpenScene:
    """Set up a clip of 25 frames per second to be painted frame by frame.

    Same arguments, same bytes (one OpenCV build). colours: repaints object k (its index in `names`), in the
    picture and in the caption, and changes nothing else. objects: how many move or fly; None draws 1 to 3.
    steady_light: no lighting drift. Errors: ValueError if frames or objects < 1, the picture is smaller than
    32 px, or a colour or its object is unknown.
    """
    if frames < 1 or min(height, width) < 32:
        raise ValueError(f"render_clip needs frames >= 1 and sides >= 32, got {frames}, {height}x{width}")
    if objects is not None and objects < 1:
        raise ValueError(f"render_clip needs objects >= 1, got {objects}")
    # Two streams: the number of objects asked for must not disturb the backdrop.
    rng, behind = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    place = PLACES[int(rng.integers(len(PLACES)))]
    air = str(rng.choice(place.skies))
    camera = Camera.draw(rng, height, width)
    drift = (0.0 if steady_light else 0.06, 0.0 if steady_light else rng.uniform(-0.03, 0.03), rng.uniform(0, 6.28))
    horizon = round(height * rng.uniform(0.46, 0.60) * (1.25 if place.floor == "seabed" else 1.0))
    reach = max(abs(camera.pan(f)) for f in range(frames))
    slack = 0.03 * height + 0.03 * width + 4
    extent = Extent(height, width, round(1.15 * reach + 0.05 * width + slack), round(slack), horizon)
    things = cast(rng, place, extent, camera, min((frames - 1) / 2 / RATE, 2.5), objects)
    for k, colour in (colours or {}).items():
        if not 0 <= k < len(things) or colour not in COLOURS:
            raise ValueError(f"cannot paint object {k} {colour!r}: {len(things)} objects, colours {', '.join(COLOURS)}")
        things[k] = replace(things[k], colour=colour)
    layers = backdrop(behind, place, air, extent, camera)
    for k, thing in enumerate(things):
        if thing.base > horizon and thing.name not in ("bird", "balloon", "fish"):
            foam = (1.0, 1.0, 1.0) if place.floor == "water" else (0.02, 0.02, 0.05)
            layers.append(shadow(thing, foam, camera))
        layers += parts(thing, k, camera)
    seen = sorted(things, key=lambda thing: -thing.size * SPRITES[thing.name].aspect * (0.3 + thing.depth))[:NAMED]
    return OpenScene(
        caption=f"{' and '.join(phrase(thing) for thing in seen)} {place.where}{WEATHER.get(air, '')}",
        names=tuple(thing.name for thing in things),
        colours=tuple(thing.colour for thing in things),
        frames=frames,
        height=height,
        width=width,
        layers=tuple(layers),
        drift=(float(drift[0]), float(drift[1]), float(drift[2])),
    )


def render_clip(
    seed: int,
    frames: int = 125,
    height: int = 144,
    width: int = 256,
    *,
    colours: Mapping[int, str] | None = None,
    objects: int | None = None,
    steady_light: bool = False,
) -> Scene:
    """Render a whole clip; arguments and errors as `open_scene`, shapes as `Scene`."""
    source = open_scene(seed, frames, height, width, colours=colours, objects=objects, steady_light=steady_light)
    pictures = np.empty((frames, height, width, 3), dtype=np.uint8)
    masks = np.empty((frames, len(source.names), height, width), dtype=bool)
    paths = np.empty((frames, len(source.names), 2), dtype=np.float32)
    for f in range(frames):
        frame = source.frame(f)
        pictures[f], masks[f], paths[f] = frame.picture_HWC, frame.masks_KHW, frame.path_K2
    return Scene(pictures, source.caption, source.names, source.colours, masks, paths, source)
