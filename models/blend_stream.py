"""The blend of a shot as a stream: frames go in one by one, blended ones come out w later, few are held.

Legend: as in `models.blending`. It holds at most 2 w + 1 frames and 2 (w + 1) table entries a side, however
long the shot; a new shot needs a new stream. It knows no file, no worker and no cut.
Source: deflicker.md 3.4 (our design: tables aligned to the shot's start make it exact).
"""

from __future__ import annotations

from configs.errors import ConfigError
from configs.job import Operator
from models.blend_operators import TAU
from models.blending import Blender, Fields, Image, guided
from models.sampling import Correspond, Window
from models.tables import Mode, Pair, both_ways, pairs_for_window, reach


class BlendStream:
    """`models.blending.blend` of a whole shot, bit for bit, frame i given back as soon as frame i + w is there.

    `shot_frames`: the shot's length where known, else None; other arguments as for `blend`. Every field is
    asked for at the last moment, once ("checked": once for each use, forth or back), so that one who knows
    `pairs_of` the next frame need keep none. Raises ConfigError for bad arguments.
    """

    def __init__(
        self,
        shot_frames: int | None,
        correspond: Correspond,
        w: int,
        operator: Operator = "mean",
        patch: int = 5,
        tau: float = TAU,
        detail: float = 0.0,
        mode: Mode = "table",
        fields: Fields | None = None,
    ) -> None:
        if shot_frames is not None and shot_frames < 1:
            raise ConfigError(f"a shot to blend has at least 1 frame, got {shot_frames}")
        self._length, self._w = shot_frames, w
        self._images: dict[int, Image] = {}
        self._blender = Blender(self._images, fields or guided(correspond), w, operator, patch, tau, detail, mode)
        self._came = self._next = 0
        self._finished = False

    def push(self, image: Image) -> list[tuple[int, Image]]:
        """Take the next frame, float32 [H,W,C]; returns (frame number, blended) of those now final, ascending.

        With a known length the last frame brings all that are left. Raises ConfigError for a frame too many
        or of another size.
        """
        if self._finished or self._came == self._length:
            raise ConfigError(f"the shot ended after {self._came} frames, yet another one came")
        if self._images and image.shape != self._images[self._next].shape:
            raise ConfigError(f"frame {self._came} is {image.shape}, those before {self._images[self._next].shape}")
        self._images[self._came] = image
        self._came += 1
        return self._blended(self._came if self._came == self._length else self._came - self._w)

    def finish(self) -> list[tuple[int, Image]]:
        """The shot is over: the frames that were still waiting. Raises ConfigError when frames are missing."""
        if self._length is not None and self._came < self._length:
            raise ConfigError(f"the shot has {self._length} frames, only {self._came} came")
        self._finished = True
        return self._blended(self._came)

    def pairs_of(self, frame: int, shot_frames: int | None = None) -> tuple[Pair, ...]:
        """The (target, source) pairs it asks for when it blends `frame`, sorted: these and no others.

        `frame` is blended while frame + w is pushed, or with the shot's last one (`finish`). Those at the end
        depend on the length: pass `shot_frames` when it has become known; until then frame + w is taken to
        exist.
        """
        length = shot_frames or self._length or (self._came if self._finished else frame + self._w + 1)
        mode = self._blender.mode
        pairs = pairs_for_window(Window(0, frame, frame + 1, length), self._w, mode=mode)
        pairs -= pairs_for_window(Window(0, max(0, frame - self._w), frame, length), self._w, mode=mode)
        return tuple(sorted(both_ways(pairs) if self._blender.operator == "checked" else pairs))

    @property
    def held(self) -> tuple[int, int, int]:
        """How many frames, left entries and right entries are held now ("confidence": two pictures an entry)."""
        sides = [entry.side for entry in self._blender.built]
        return len(self._images), sides.count("left"), sides.count("right")

    def _blended(self, stop: int) -> list[tuple[int, Image]]:
        """Frames up to `stop` (exclusive), given that none but those that came are within w of them."""
        out = []
        for target in range(self._next, stop):
            out.append((target, self._blender.row(target, *reach(target, self._w, self._came))))
            self._next = target + 1
            self._images.pop(target - self._w, None)
        return out
