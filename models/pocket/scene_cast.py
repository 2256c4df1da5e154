"""Who is in a procedural clip, where, and how it moves: places, objects and the layers they are made of.

Knows the kinds of places and what may stand, move and fly there; refuses to know about frames, masks and flow.
Units: px of the frame, seconds at 25 frames per second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.pocket.drawing_sheet import Sheet
from models.pocket.scene_backdrops import NEAR, Extent, clouds, far, ground, sky
from models.pocket.scene_camera import RATE, Camera, Matrix, about, shift
from models.pocket.scene_layers import Layer
from models.pocket.sprites import COLOURS, SPRITES, Part, draw_part


@dataclass(frozen=True)
class Place:
    """What a kind of scene consists of: words, ground, possible ridges, and who stands, moves and flies there."""

    where: str
    floor: str
    ridges: tuple[str, ...]
    skies: tuple[str, ...]
    standing: tuple[str, ...]
    moving: tuple[str, ...]
    flying: tuple[str, ...]


_ANY_SKY = ("clear", "clear", "cloudy", "sunset")
_LAND = ("hills", "mountains")
PLACES = (
    Place(
        "on a street",
        "asphalt",
        ("skyline", "hills"),
        _ANY_SKY,
        ("house", "tree"),
        ("car", "bus", "truck"),
        ("bird", "balloon"),
    ),
    Place(
        "in a town",
        "cobbles",
        ("skyline", "skyline", "hills"),
        _ANY_SKY,
        ("house", "house", "tree"),
        ("car", "cat", "ball", "bus"),
        ("bird", "balloon"),
    ),
    Place(
        "in a park",
        "grass",
        ("hills", "skyline"),
        _ANY_SKY,
        ("tree", "tree", "house"),
        ("ball", "cat", "car"),
        ("bird", "balloon"),
    ),
    Place("in the country", "wheat", _LAND, _ANY_SKY, ("house", "tree"), ("truck", "car", "bus"), ("balloon", "bird")),
    Place(
        "on the beach",
        "sand",
        ("islands", "hills"),
        _ANY_SKY,
        ("tree", "house"),
        ("ball", "truck", "cat", "car"),
        ("bird", "balloon"),
    ),
    Place("on the sea", "water", ("islands",), _ANY_SKY, (), ("boat", "boat", "duck"), ("bird", "balloon")),
    Place("on a lake", "water", _LAND, _ANY_SKY, (), ("boat", "boat", "duck"), ("bird", "balloon")),
    Place("under the sea", "seabed", ("reef",), ("deep",), (), (), ("fish", "fish", "fish")),
)
WEATHER = {"cloudy": " under a cloudy sky", "sunset": " at sunset"}
_UNIT = {"house": 0.44, "tree": 0.44, "bird": 0.17, "balloon": 0.30, "fish": 0.22, "ball": 0.17, "boat": 0.36,
         "cat": 0.30, "duck": 0.20, "bus": 0.30, "truck": 0.30}  # fmt: skip
_PACE = {"cat": 0.0, "duck": 0.35, "balloon": 0.35, "boat": 0.6}
_BOB = {"ball": 0.16, "bird": 0.03, "balloon": 0.02, "boat": 0.012, "duck": 0.010, "fish": 0.03}
_TILT = {"balloon": 0.05, "boat": 0.06, "duck": 0.04, "fish": 0.05, "bird": 0.05}
NAMED = 4


@dataclass(frozen=True)
class Thing:
    """One object: what it is, how big and where it is when the clip is half over, and how it moves."""

    name: str
    colour: str
    size: float
    depth: float
    base: float
    home: float
    speed: float
    parallax: float
    span: tuple[float, float]
    middle: float
    bob: float
    phase: float

    def travel(self, frame: int) -> float:
        """Way covered in heights of the object; wheels and balls turn by it."""
        return abs(self.speed) * frame / RATE / self.size

    def foot(self, frame: int) -> float:
        """Return the x of its middle in the world; one that has left on one side comes back on the other."""
        low, high = self.span
        return low + (self.home + self.speed * (frame / RATE - self.middle) - low) % (high - low)

    def stand(self, frame: int, camera: Camera) -> Matrix:
        """Return the map from the object's own units (its height is 1, facing right) to the frame."""
        t = frame / RATE
        swing = np.sin(2 * np.pi * 0.5 * t + self.phase)
        lift = self.bob * (abs(swing) if self.name == "ball" else swing)
        aspect = SPRITES[self.name].aspect
        scale = np.diag([-self.size if self.speed < 0 else self.size, self.size, 1.0])
        middle = shift(self.foot(frame) - camera.pan(frame) * self.parallax, self.base - self.size - lift)
        tilt = _TILT.get(self.name, 0.0) * np.sin(2 * np.pi * 0.37 * t + 2 * self.phase)
        turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
        return np.asarray(camera.view(frame) @ middle @ scale @ shift(-aspect / 2, 0.0) @ about(aspect / 2, 0.7, turn))


def _parallax(t: float) -> float:
    return (t + NEAR) / (1 + NEAR)


def _depth(t: float) -> float:
    return 0.2 + 0.8 * min(max(t, 0.0), 1.0)


def cast(
    rng: np.random.Generator, place: Place, extent: Extent, camera: Camera, seconds: float, objects: int | None
) -> list[Thing]:
    """Choose the objects and where they go; back to front."""
    count = int(rng.integers(1, 4))
    count = count if objects is None else objects
    roles = [("moving", str(n)) for n in rng.permutation(place.moving)] if place.moving else []
    flyers = [("flying", str(n)) for n in rng.permutation(place.flying)]
    # Something on the ground first, then ground and air by turns; long lists repeat their kinds.
    pool = [pair for turn in zip(roles * 2, flyers * 3, strict=False) for pair in turn] if roles else flyers
    plan = [pool[i % len(pool)] for i in range(count)]
    room = int(rng.integers(0, 3))
    plan += [("standing", n) for n in place.standing[: max(0, min(room, NAMED - count))]]
    slots = rng.permutation(len(plan))
    colours = [str(c) for c in rng.permutation(list(COLOURS))]
    hero = rng.uniform() < 0.45
    height, width, horizon = extent.height, extent.width, extent.horizon
    below = height - horizon
    things = []
    for i, (role, name) in enumerate(plan):
        draw = rng.uniform(size=8)
        t = {"standing": 0.06 + 0.12 * draw[0], "flying": 0.25 + 0.7 * draw[0]}.get(role, 0.32 + 0.60 * draw[0])
        size = height * _UNIT.get(name, 0.27) * (0.8 + 0.35 * draw[1]) * (0.75 + 0.45 * t if role != "standing" else 1)
        if hero and i == 0:
            size, t = height * (0.33 + 0.17 * draw[1]), max(t, 0.75)
        size = float(max(8.0, min(size, 0.62 * width / SPRITES[name].aspect)))
        base = horizon + t * below
        if role == "flying":
            room_above = height * 0.92 if place.floor == "seabed" else horizon + 0.12 * height
            base = size + 0.03 * height + draw[2] * max(1.0, room_above - size - 0.03 * height)
        speed = 0.0
        if role != "standing":
            speed = (0.06 + 0.14 * draw[3]) * width * _PACE.get(name, 1.0) * (1 if draw[4] < 0.5 else -1)
        colour = colours[i % len(colours)]
        if name == "tree":
            colour = ("green", "green", "green", "orange", "pink", "yellow")[int(draw[5] * 6)]
        wide = SPRITES[name].aspect * size
        reach = width * camera.sweep + wide + 0.06 * width + 4
        low = min(width * 0.5, 0.42 * wide + 0.02 * width)
        home = low + (slots[i] + 0.2 + 0.6 * draw[6]) / len(plan) * (width - 2 * low)
        # The camera's own pan at half time is given back, so that the home is where it is seen then.
        parallax = _parallax(t)
        home += camera.pan(round(seconds * RATE)) * parallax
        things.append(
            Thing(name, colour, size, _depth(t), base, float(home), float(speed), parallax, (-reach, width + reach),
                   seconds, _BOB.get(name, 0.0) * height * (0.3 + 0.7 * draw[7]), float(2 * np.pi * draw[7]))
        )  # fmt: skip
    return sorted(things, key=lambda thing: thing.depth)


def shadow(thing: Thing, colour: tuple[float, float, float], camera: Camera) -> Layer:
    """Return a faint disc on the ground (or foam on water) under an object; too faint to own a pixel."""
    wide, high = max(6, round(SPRITES[thing.name].aspect * thing.size * 0.94)), max(3, round(thing.size * 0.11))
    sheet = Sheet.blank(high, wide / high)
    sheet.disc(colour, wide / high / 2, 0.5, wide / high / 2 - 0.05, 0.45)

    def at(frame: int) -> Matrix:
        x = thing.foot(frame) - camera.pan(frame) * thing.parallax - wide / 2
        return np.asarray(camera.view(frame) @ shift(x, thing.base - 0.6 * high))

    return Layer(sheet.finish(lit=False) * np.float32(0.30), at)


def parts(thing: Thing, index: int, camera: Camera) -> Iterator[Layer]:
    """Yield an object's parts as layers, back to front."""
    sprite = SPRITES[thing.name]
    size = max(8, round(thing.size * (1 + 0.5 * camera.zoom)))
    for number, part in enumerate(sprite.parts):
        picture, (left, top) = draw_part(part, sprite.aspect, thing.colour, size)
        if thing.name == "ball" and number:
            picture = picture * np.float32(0.45)
        inner = np.diag([1 / size, 1 / size, 1.0]) @ shift(left, top)

        def at(frame: int, part: Part = part, inner: Matrix = inner) -> Matrix:
            pose = about(*part.pivot, part.pose(thing.travel(frame), frame / RATE + thing.phase))
            return np.asarray(thing.stand(frame, camera) @ pose @ inner)

        yield Layer(picture, at, index, (thing.depth, 0.0))


def backdrop(rng: np.random.Generator, place: Place, air: str, extent: Extent, camera: Camera) -> list[Layer]:
    """Return sky, clouds, ridges and ground as layers, back to front."""
    x0, y0, horizon = -extent.beside, -extent.above, extent.horizon
    below = extent.height - horizon
    warm = air == "sunset"
    wind, tide = rng.uniform(-0.05, 0.05) * extent.width, 0.012 * extent.width * (place.floor == "water")
    ridge = str(rng.choice(place.ridges))
    slope = 1 / (1 + NEAR) / below

    def slide(parallax: float, x: float = 0.0) -> Matrix:
        return shift(x0 + x - parallax, y0)

    def earth(frame: int) -> Matrix:
        lean, pan = np.eye(3), camera.pan(frame)
        lean[0, 1] = -pan * slope
        drift = tide * np.sin(2 * np.pi * frame / RATE / 5)
        return np.asarray(camera.view(frame) @ shift(drift - pan * _parallax(0.0) + x0, horizon) @ lean @ shift(0, -2))

    layers = [Layer(sky(rng, air, extent), lambda f: camera.view(f) @ slide(0.04 * camera.pan(f)))]
    if air != "deep":
        layers.append(
            Layer(
                clouds(rng, air, extent),
                lambda f: camera.view(f) @ slide(0.07 * camera.pan(f), wind * np.sin(2 * np.pi * f / RATE / 40)),
                depth=(0.02, 0.0),
            )
        )
    crest, first = far(rng, ridge, warm, extent)
    layers.append(
        Layer(crest, lambda f: camera.view(f) @ slide(0.11 * camera.pan(f)) @ shift(0, first), depth=(0.1, 0.0))
    )
    layers.append(Layer(ground(rng, place.floor, warm, extent), earth, None, (0.2, 0.8 / below)))
    return layers


def phrase(thing: Thing) -> str:
    """Return an object in words: `an orange cat`."""
    return f"{'an' if thing.colour[0] in 'aeiou' else 'a'} {thing.colour} {thing.name}"
