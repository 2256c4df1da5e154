"""Oracles 7 to 12 of deflicker.md section 5: blending tables, windows and streams against their definition.

Numbers on the 0-255 scale, as there. Trimmed exists in naive mode only (`models.blend_operators`).
"""

from collections import Counter

import av
import cv2
import numpy as np
import pytest

from models.blend_stream import BlendStream
from models.blending import blend
from models.metrics import psnr
from models.sampling import windows_of
from models.tables import pairs_for_window, query
from tests.deflicker_clips import WAYS, H, W, in_place, searched, shifting, styles, texture, whole
from tests.pairs_formula import pairs_count


def margins(w, operator):
    """Rows and columns to leave out where content moves by (1, 2) a frame: the way plus two votes.

    `checked` trusts no match that was clamped to the picture; its blur of sigma 2 carries that 8 pixels further in.
    """
    beyond = 4 + 8 * (operator == "checked")
    return w + beyond, 2 * w + beyond


@pytest.mark.parametrize("operator", ["mean", "confidence", "checked"])
@pytest.mark.parametrize("w", [0, 1, 2, 3, 5, 8])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 16, 17])
def test_oracle_07_table_equals_naive(n, w, operator):
    """Fields that compose exactly: identity everywhere, translations inside; and those with the true mean."""
    images = styles(n, height=H, width=W)
    window = whole(n)
    np.testing.assert_allclose(
        blend(window, images, in_place, w, operator),
        blend(window, images, in_place, w, operator, mode="naive"),
        atol=1e-3,
    )
    if w > 5:
        return
    move = shifting(1, -2)
    table, naive = (blend(window, images, move, w, operator, mode=mode) for mode in ("table", "naive"))
    y, x = margins(w, operator)
    assert H > 2 * y
    assert W > 2 * x
    np.testing.assert_allclose(table[:, y:-y, x:-x], naive[:, y:-y, x:-x], atol=1e-3)
    i, lo, hi = n // 2, max(0, n // 2 - w), min(n, n // 2 + w + 1)
    centre = np.mean([images[j][20 + j - i, 28 - 2 * (j - i)] for j in range(lo, hi)], axis=0)
    np.testing.assert_allclose(table[i, 20, 28], centre, atol=1e-3)


CLIP = "../shared/clips/dog_audio.mp4"


def clip_frames(root, count):
    path = root / CLIP
    if not path.exists():
        pytest.skip("needs the clips beside the repository")
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.best("video")):
            frames.append(cv2.resize(frame.to_ndarray(format="rgb24"), (128, 72), interpolation=cv2.INTER_AREA))
            if len(frames) == count:
                return frames
    return frames


def test_oracle_07_table_is_close_to_naive_on_a_real_clip(pytestconfig):
    """Not a theorem with searched fields; the specification expects more than 30 dB."""
    frames = clip_frames(pytestconfig.rootpath, 9)
    images = {f: 255 - p.astype(np.float32) for f, p in enumerate(frames)}
    table = blend(whole(9), images, searched(frames), 4)
    naive = blend(whole(9), images, searched(frames), 4, mode="naive")
    assert min(psnr(a, b) for a, b in zip(table, naive, strict=True)) > 30


@pytest.mark.parametrize("n", [1, 2, 5, 8, 13, 37, 64, 100])
def test_oracle_08_coverage(n):
    """Each side covers its frames once, the target among them; so every [l, r] is, merged as W_L + W_R - 1."""
    for target in range(n):
        for side, ends in (("left", range(target + 1)), ("right", range(target, n))):
            for end in ends:
                seen = Counter(f for entry in query(side, target, end) for f in (entry.frame, *entry.others))
                assert seen == Counter(range(min(target, end), max(target, end) + 1))


@pytest.mark.parametrize("n", [1, 2, 3, 37, 200, 900])
@pytest.mark.parametrize("w", [1, 2, 3, 15])
def test_oracle_09_number_of_fields_is_the_formula(n, w):
    """The formula lists no pair; what is listed is what `blend` asks for."""
    assert len(pairs_for_window(whole(n), w)) == pairs_count(n, w)


@pytest.mark.parametrize(("n", "w", "per_frame"), [(200, 15, 9.8), (236, 30, 11.3), (900, 15, 10.0), (200, 60, 13.0)])
def test_oracle_09_number_of_fields_as_specified(n, w, per_frame):
    """As simulated in section 2.5 for capped levels; alignment to the shot's start moves it by up to 2 %."""
    assert pairs_count(n, w) / n == pytest.approx(per_frame, rel=0.02)


SEARCHED = searched([texture(seed=f // 2) for f in range(14)], fine_sweeps=1, sweeps=1)


@pytest.mark.parametrize(("operator", "mode"), WAYS)
@pytest.mark.parametrize("size", [1, 3, 8])
def test_oracle_10_chunked_is_whole(size, operator, mode):
    """Real searched fields, windows given nothing but the frames around them: the same bits."""
    n, w = 13, 3
    images, correspond = styles(n), SEARCHED
    one = blend(whole(n), images, correspond, w, operator, mode=mode)
    parts = []
    for window in windows_of(n, size):
        near = {f: images[f] for f in range(max(0, window.start - w), min(n, window.stop + w))}
        parts.append(blend(window, near, correspond, w, operator, mode=mode))
    np.testing.assert_array_equal(np.concatenate(parts), one)


@pytest.mark.parametrize(("operator", "mode"), WAYS)
def test_oracle_10_streaming_is_offline(operator, mode):
    n, w, images = 14, 3, styles(14)
    stream = BlendStream(None, SEARCHED, w, operator, mode=mode)
    out = [row for f in range(n) for row in stream.push(images[f])] + stream.finish()
    assert [f for f, _ in out] == list(range(n))
    np.testing.assert_array_equal([row for _, row in out], blend(whole(n), images, SEARCHED, w, operator, mode=mode))


@pytest.mark.parametrize(("operator", "mode"), WAYS)
def test_oracle_10_appending_frames_leaves_settled_outputs(operator, mode):
    w, images, correspond = 3, styles(14), SEARCHED
    short = blend(whole(10), images, correspond, w, operator, mode=mode)
    long = blend(whole(14), images, correspond, w, operator, mode=mode)
    np.testing.assert_array_equal(short[: 10 - w], long[: 10 - w])
    assert (short[9] != long[9]).any()


@pytest.mark.parametrize(("operator", "mode"), WAYS)
def test_oracle_11_time_reversal(operator, mode):
    """With exactly composing fields; with searched ones it is given up for alignment to the shot's start.

    It sees one side of the tables treated unlike the other. Target and source swapped on both sides is symmetric in
    time: the true mean of row 7 sees that.
    """
    n, w = 11, 4
    images = styles(n)
    backwards = {f: images[n - 1 - f] for f in images}
    forward = blend(whole(n), images, in_place, w, operator, mode=mode)
    reverse = blend(whole(n), backwards, in_place, w, operator, mode=mode)
    np.testing.assert_allclose(reverse[::-1], forward, atol=1e-3)
    # what moves by (1, -2) a frame moves by (-1, 2) when time runs back; inside, as in row 7
    forward = blend(whole(n), images, shifting(1, -2), w, operator, mode=mode)
    reverse = blend(whole(n), backwards, shifting(-1, 2), w, operator, mode=mode)
    y, x = margins(w, operator)
    np.testing.assert_allclose(reverse[::-1, y:-y, x:-x], forward[:, y:-y, x:-x], atol=1e-3)


@pytest.mark.parametrize(("operator", "mode"), WAYS)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_oracle_12_window_zero_is_bit_exact(n, operator, mode):
    images = styles(n)
    np.testing.assert_array_equal(
        blend(whole(n), images, in_place, 0, operator, mode=mode, detail=0.5), np.stack(list(images.values()))
    )


@pytest.mark.parametrize("mode", ["table", "naive"])
def test_oracle_12_every_frame_counts_its_last_neighbour(mode):
    """The published balanced mode drops frame i + w."""
    n, w = 9, 3
    images = {f: np.full((H, W, 3), 2.0**f, np.float32) for f in range(n)}
    out = blend(whole(n), images, in_place, w, mode=mode)
    assert len(out) == n
    for i in range(n):
        expected = np.mean([2.0**f for f in range(max(0, i - w), min(n, i + w + 1))])
        np.testing.assert_allclose(out[i], expected, rtol=1e-6)
