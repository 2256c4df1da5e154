"""Oracle 17 of deflicker.md section 5 (its cuts), and what the operators do where something is hidden.

The other half of row 17, keyframe interpolation, is tested with `models.keyframes`.
"""

import numpy as np
import pytest

from configs.deflicker_job import DeflickerJob
from models.blending import blend
from models.pocket.scenes import render_clip
from tests.deflicker_clips import searched, whole
from tests.two_shots import CUT, filtered, restyled, write_two_shots
from tests.unit.tasks.shot_clips import dry_job

N, RADIUS = 2 * CUT, 4  # reaches across the cut from both sides
THREE = [("mean", "table"), ("confidence", "table"), ("mean", "naive")]


def by_filter(folder, seeds, deflicker):
    """The post filter on a flickering video of two shots, along a steady guide of both."""
    guide = write_two_shots(folder / "guide.mkv", seeds)
    video = write_two_shots(folder / "video.mkv", seeds, flicker=12)
    asked = {"source": str(video), "guide": str(guide), "out": str(folder / "out"), "deflicker": deflicker}
    return filtered(folder / "store", DeflickerJob.model_validate(asked))


def by_restyle(folder, seeds, deflicker):
    """A restyle that begins at the noised source and deflickers in the loop and after it."""
    clip = write_two_shots(folder / "guide.mkv", seeds)
    loop = {"start": "noised", "strength": 0.7, "deflicker": {**deflicker, "steps": [0.5, 1.0], "post": True}}
    return restyled(folder / "store", dry_job(folder / "out", **loop), clip)


@pytest.mark.parametrize(("operator", "mode"), THREE)
@pytest.mark.parametrize("way", [by_filter, by_restyle])
def test_oracle_17_nothing_crosses_a_cut(way, operator, mode, tmp_path):
    """Another scene in one shot, and the other shot keeps its bits, either way round.

    Each clip has a store of its own, so that no bit is kept because a stage was found and not made.
    """

    def frames(*seeds):
        folder = tmp_path / "-".join(map(str, seeds))
        folder.mkdir()
        found, result = way(folder, seeds, {"window": RADIUS, "operator": operator, "mode": mode})
        assert (result.output.shots, len(found)) == (2, N)
        return np.stack(found)

    calm, first, second = frames(3, 4), frames(5, 4), frames(3, 6)
    changed = [(calm != other).any(axis=(1, 2, 3)).tolist() for other in (first, second)]
    assert changed == [[True] * CUT + [False] * CUT, [False] * CUT + [True] * CUT]


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
