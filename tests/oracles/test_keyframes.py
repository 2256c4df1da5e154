"""Oracle 17 of the deflicker specification: interpolation between keyframes.

The first three parts are theorems of `models.keyframes` in both of its operators; that nothing crosses a cut is one of
the stages, which hand every shot its own keys, and is tested through them on a clip with two shots.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest

from configs.deflicker_job import DeflickerJob
from configs.errors import ConfigError
from models.keyframes import interpolate, pairs_for_keys, segments, share_of_right, weights
from models.patchmatch import identity, nnf
from tests.two_shots import filtered, write_two_shots

H, W = 32, 48
BOTH = pytest.mark.parametrize("operator", ["mean", "confidence"])


def picture(seed):
    return (255 * np.random.default_rng(seed).random((H, W, 3))).astype(np.float32)


def moving(n):
    """A texture that moves by two pixels a frame, over noise that does not: matches are neither exact nor alike."""
    rng = np.random.default_rng(5)
    big = cv2.resize(rng.integers(0, 256, (8, 20, 3), dtype=np.uint8), (2 * W, H), interpolation=cv2.INTER_CUBIC)
    noise = rng.integers(-12, 13, (H, W, 3))
    return [np.clip(np.roll(big, -2 * f, 1)[:, :W].astype(int) + noise, 0, 255).astype(np.uint8) for f in range(n)]


def searched(frames):
    return lambda target, source: nnf(frames[target], frames[source])


@BOTH
def test_oracle_17_keyframes_are_returned_verbatim(operator):
    keys, frames = {2: picture(0), 6: picture(1)}, moving(9)
    for number, key in keys.items():
        image, missed = interpolate(number, keys, searched(frames), operator)
        assert np.array_equal(image, key)
        assert missed == 0


def test_oracle_17_weights_sum_to_one_and_follow_the_distance():
    keys = (3, 7, 20)
    for frame in range(24):
        shares = weights(frame, keys)
        assert sum(share for _, share in shares) == pytest.approx(1, abs=1e-12)
        assert all(share > 0 for _, share in shares)
    assert weights(4, keys) == ((3, 0.75), (7, 0.25))
    assert weights(0, keys) == ((3, 1.0),)
    assert weights(23, keys) == ((20, 1.0),)
    assert weights(7, keys) == ((7, 1.0),)


def test_oracle_17_weights_per_pixel_sum_to_one_and_leave_the_worse_match():
    errors = np.geomspace(1e-3, 1e7, 64, dtype=np.float32).reshape(8, 8)
    right = share_of_right(0.25, 0.75, errors, np.zeros((8, 8), np.float32), 100.0)
    mirrored = share_of_right(0.75, 0.25, np.zeros((8, 8), np.float32), errors, 100.0)
    assert np.allclose(right + mirrored, 1, atol=1e-6)  # the left one has 1 - right, whichever side it is on
    assert right.min() >= 0.75 - 1e-6
    assert right.max() == 1
    same = share_of_right(0.25, 0.75, errors, errors, 100.0)
    assert np.allclose(same, 0.75), "two matches that are equally bad leave the weights by distance, not 0 / 0"


@BOTH
def test_oracle_17_a_static_clip_with_equal_keys_is_constant(operator):
    key = picture(2)
    for frame in range(9):
        image, _ = interpolate(frame, {2: key, 6: key}, lambda target, source: identity(H, W), operator)
        assert np.array_equal(image, key)


@BOTH
def test_between_keys_the_mix_follows_the_weights_and_stays_within_the_keys(operator):
    frames, keys = moving(9), {0: picture(0), 8: picture(1)}
    low, high = min(k.min() for k in keys.values()), max(k.max() for k in keys.values())
    steady = [interpolate(m, keys, lambda t, s: identity(H, W), operator)[0] for m in (2, 6)]
    for image, share in zip(steady, (0.25, 0.75), strict=True):
        assert np.allclose(image, (1 - share) * keys[0] + share * keys[8], atol=1e-3)
    for m in range(9):
        image, _ = interpolate(m, keys, searched(frames), operator)
        assert low - 1e-3 <= image.min() <= image.max() <= high + 1e-3


def test_keys_painted_as_the_guide_give_the_guide_back_better_than_its_still_frames():
    frames = moving(7)
    keys = {f: frames[f].astype(np.float32) for f in (0, 6)}

    def error(image, m):
        return float(((image - frames[m].astype(np.float32)) ** 2).mean())

    for m in range(1, 6):
        moved, _ = interpolate(m, keys, searched(frames), "confidence")
        faded = (1 - m / 6) * keys[0] + m / 6 * keys[6]
        assert error(moved, m) < 0.5 * error(faded, m)


def test_the_match_error_says_where_a_key_is_missing():
    frames = moving(8)
    frames[4:6] = [np.random.default_rng(f).integers(0, 256, (H, W, 3), dtype=np.uint8) for f in (4, 5)]
    keys = {0: picture(0), 7: picture(1)}
    missed = {m: interpolate(m, keys, searched(frames))[1] for m in range(1, 7)}
    assert min(missed[4], missed[5]) > max(missed[m] for m in (1, 2, 3, 6))


def test_segments_cover_all_but_the_keys_and_pairs_are_those_asked_for():
    asked = []

    def noting(target, source):
        asked.append((target, source))
        return identity(H, W)

    keys = {3: picture(0), 4: picture(1), 9: picture(2)}
    covered = [m for segment in segments(12, keys) for m in segment.frames]
    assert covered == [m for m in range(12) if m not in keys]
    for m in range(12):
        interpolate(m, keys, noting)
    assert sorted(asked) == sorted(pairs_for_keys(12, keys))
    with pytest.raises(ConfigError, match="at least one keyframe"):
        segments(12, ())
    with pytest.raises(ConfigError, match="must lie in it"):
        segments(12, (12,))


def filled(folder, guide, keys):
    """Frames before encoding of a clip filled in between `keys`."""
    asked = [{"frame": f, "image": str(p)} for f, p in keys.items()]
    job = DeflickerJob.model_validate({"guide": str(guide), "keyframes": asked, "out": str(folder)})
    return filtered(folder / "store", job)


def test_oracle_17_perturbing_a_key_of_shot_a_changes_no_bit_of_shot_b(tmp_path: Path):
    guide = tmp_path / "guide.mkv"
    write_two_shots(guide)
    rng = np.random.default_rng(9)
    paths = {}
    for frame in (2, 7, 13):
        paths[frame] = tmp_path / f"key_{frame:06d}.png"
        cv2.imwrite(str(paths[frame]), rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    before, result = filled(tmp_path, guide, paths)
    for frame, path in paths.items():
        assert np.array_equal(before[frame], cv2.imread(str(path))[..., ::-1]), "keys come back verbatim"
    assert result.output.shots == 2
    changed = tmp_path / "key_other_7.png"
    cv2.imwrite(str(changed), rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    after, again = filled(tmp_path, guide, {**paths, 7: changed})
    assert all(np.array_equal(before[f], after[f]) for f in range(10, 20))
    assert not np.array_equal(before[5], after[5])
    status = {stage.stage: stage.status for stage in again.stages}
    assert status["correspond (shot 1)"] == "reused", "what is painted on a key changes no match"
    assert status["filter (shot 2)"] == "reused"
    segments_told = result.output.metrics["segments"]
    assert [(row["first"], row["stop"], row["keys"]) for row in segments_told] == [
        (0, 2, [2]),
        (3, 7, [2, 7]),
        (8, 10, [7]),
        (10, 13, [13]),
        (14, 20, [13]),
    ]
    assert all(row["match_error"] <= row["worst_error"] for row in segments_told)


def test_oracle_17_a_shot_without_a_key_is_refused_by_number_and_frames(tmp_path: Path):
    guide = tmp_path / "guide.mkv"
    write_two_shots(guide)
    key = tmp_path / "3.png"
    cv2.imwrite(str(key), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(ConfigError, match=r"no keyframe in shot 2 \(frames 10 to 19\).*--keyframes 10="):
        filled(tmp_path, guide, {3: key})
