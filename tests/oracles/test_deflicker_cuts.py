"""Oracle 17 of deflicker.md section 5 (its cuts), and what the operators do where something is hidden.

The other half of row 17, keyframe interpolation, is tested with `models.keyframes`.
"""

import numpy as np
import pytest

from models.blend_stream import BlendStream
from models.blending import blend
from models.pocket.scenes import render_clip
from models.sampling import windows_of
from tests.deflicker_clips import WAYS, searched, styles, texture, whole

CUT, N, RADIUS = 6, 13, 4
MATCHES = searched([texture(seed=f // 3) for f in range(N)], fine_sweeps=1, sweeps=1)


def by_windows(images, operator, mode):
    """Two shots of a clip, each blended by its own windows of four frames."""
    rows = []
    for first, last in ((0, CUT), (CUT, N)):
        for window in windows_of(last - first, 4, first_frame=first):

            def correspond(target, source, first=first):
                return MATCHES(first + target, first + source)

            shot = {f: images[first + f] for f in range(window.shot_frames)}
            rows.append(blend(window, shot, correspond, RADIUS, operator, mode=mode))
    return np.concatenate(rows)


def by_streams(images, operator, mode):
    """The same by a stream a shot, which is told its end by the cut."""
    rows = []
    for first, last in ((0, CUT), (CUT, N)):

        def correspond(target, source, first=first):
            return MATCHES(first + target, first + source)

        stream = BlendStream(None, correspond, RADIUS, operator, mode=mode)
        for f in range(first, last):
            rows += stream.push(images[f])
        rows += stream.finish()
    return np.stack([row for _, row in rows])


@pytest.mark.parametrize(("operator", "mode"), WAYS)
@pytest.mark.parametrize("way", [by_windows, by_streams])
def test_oracle_17_nothing_crosses_a_cut(way, operator, mode):
    """Change one shot, and the other one keeps its bits, either way round."""
    images = styles(N)
    calm = way(images, operator, mode)
    for shot in (range(CUT), range(CUT, N)):
        shaken = way({f: p + 50 if f in shot else p for f, p in images.items()}, operator, mode)
        for f in range(N):
            assert (calm[f] != shaken[f]).any() == (f in shot)


def flickering(seed, n=7):
    """A procedural clip, the same with a colour of its own in each frame, and where inner frames show what a
    frame beside them hides."""
    scene = render_clip(seed, n, 64, 96, steady_light=True)
    gains = np.random.default_rng(seed).uniform(0.85, 1.15, (n, 1, 1, 3)).astype(np.float32)
    hidden = (scene.backward_occluded_FHW | scene.forward_occluded_FHW)[1:-1]
    return scene.frames_FHWC, dict(enumerate(scene.frames_FHWC * gains)), hidden


@pytest.mark.parametrize("mode", ["table", "naive"])
@pytest.mark.parametrize("seed", range(4))
def test_confidence_ghosts_less_than_the_mean_where_something_was_hidden(seed, mode):
    """Squared error against the true frames inside occluded areas; the control is the flickering clip itself."""
    frames, flicker, hidden = flickering(seed)
    matches = searched(frames)

    def error(images):
        return float(((np.asarray(images)[1:-1] - frames[1:-1]) ** 2).mean(-1)[hidden].mean())

    mean, sure = (error(blend(whole(7), flicker, matches, 2, o, mode=mode)) for o in ("mean", "confidence"))
    assert hidden.mean() > 0.05
    assert sure < mean < error(list(flicker.values()))
