"""The blend as a stream: the same bits, at the earliest moment, out of few frames and entries."""

import weakref

import numpy as np
import pytest

from configs.errors import ConfigError
from models.blend_stream import BlendStream
from models.blending import blend
from models.sampling import Window
from tests.deflicker_clips import WAYS, scattered

H, W = 7, 9
FIELDS = scattered(H, W)


def picture(frame):
    return np.random.default_rng(frame).random((H, W, 3), dtype=np.float32)


class Watch:
    """Correspondence that notes what a stream asks for, and the most it ever held while asking."""

    def __init__(self):
        self.stream, self.asked, self.most = None, [], (0, 0, 0)

    def __call__(self, target, source):
        self.asked.append((target, source))
        self.most = tuple(map(max, self.most, self.stream.held))
        return FIELDS(target, source)


def streamed(stream, n):
    """What comes out, with the number of frames that had gone in by then."""
    out = [(row, f + 1) for f in range(n) for row in stream.push(picture(f))]
    return out + [(row, n) for row in stream.finish()]


@pytest.mark.parametrize(("operator", "mode"), WAYS)
@pytest.mark.parametrize("w", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 37])
def test_stream_is_the_blend_of_the_whole_shot(n, w, operator, mode):
    """Length told or not; each frame as soon as the one w later is there; only the announced pairs, and few held."""
    images = {f: picture(f) for f in range(n)}
    whole = blend(Window(0, 0, n, n), images, FIELDS, w, operator, detail=0.3, mode=mode)
    for length in (n, None):
        watch = Watch()
        watch.stream = stream = BlendStream(length, watch, w, operator, detail=0.3, mode=mode)
        told = [pair for f in range(n) for pair in stream.pairs_of(f, n)]
        rows = streamed(stream, n)
        np.testing.assert_array_equal(np.stack([image for (_, image), _ in rows]), whole)
        assert [(frame, came) for (frame, _), came in rows] == [(f, min(n, f + w + 1)) for f in range(n)]
        assert set(watch.asked) == set(told)
        assert operator == "checked" or sorted(watch.asked) == sorted(told)
        assert all(count <= bound for count, bound in zip(watch.most, (2 * w + 1, 2 * w + 2, 2 * w + 2), strict=True))


@pytest.mark.parametrize("operator", ["mean", "checked"])
def test_pairs_are_told_frame_by_frame_before_the_length_is_known(operator):
    w, n, asked = 3, 20, []

    def correspond(target, source):
        asked.append((target, source))
        return FIELDS(target, source)

    stream = BlendStream(None, correspond, w, operator)
    for f in range(n):
        told = stream.pairs_of(f - w) if f >= w else ()
        asked.clear()
        stream.push(picture(f))
        assert set(asked) == set(told)
    told = {pair for f in range(n - w, n) for pair in stream.pairs_of(f, n)}
    asked.clear()
    stream.finish()
    assert set(asked) == told
    assert stream.pairs_of(n - 1) == stream.pairs_of(n - 1, n)


@pytest.mark.parametrize("mode", ["table", "naive"])
def test_frames_that_are_done_are_let_go(mode):
    w, refs, alive = 2, [], []

    def correspond(target, source):
        alive.append(sum(ref() is not None for ref in refs))
        return FIELDS(target, source)

    stream = BlendStream(None, correspond, w, mode=mode)
    for f in range(20):
        image = picture(f)
        refs.append(weakref.ref(image))
        stream.push(image)
        del image
    assert w + 1 < max(alive) <= 2 * w + 1


def test_fields_are_asked_with_the_picture_they_are_for():
    """A left entry of two frames is seen by later targets as a sum of weight two."""
    weights = {}

    def fields(target, source, weighed):
        weights[target, source] = weighed[..., -1].mean()
        return FIELDS(target, source)

    streamed(BlendStream(None, None, 3, fields=fields), 8)
    assert weights[2, 1] == 2
    assert weights[3, 2] == 1


def test_frame_count_is_held_to():
    stream = BlendStream(2, FIELDS, 1)
    stream.push(picture(0))
    with pytest.raises(ConfigError, match="has 2 frames, only 1 came"):
        stream.finish()
    stream.push(picture(1))
    with pytest.raises(ConfigError, match="ended after 2 frames"):
        stream.push(picture(2))
    assert stream.finish() == []


def test_bad_arguments_are_refused():
    with pytest.raises(ConfigError, match="at least 1 frame"):
        BlendStream(0, FIELDS, 1)
    with pytest.raises(ConfigError, match="mode to naive"):
        BlendStream(3, FIELDS, 1, "trimmed")
    stream = BlendStream(None, FIELDS, 1)
    stream.push(picture(0))
    with pytest.raises(ConfigError, match=r"frame 1 is \(3, 3, 3\)"):
        stream.push(np.zeros((3, 3, 3), np.float32))
