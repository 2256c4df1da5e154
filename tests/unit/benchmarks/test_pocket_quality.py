"""The rulers of the pocket page: they see what they are for, and nothing where there is nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from configs.errors import ConfigError
from models.pocket.scenes import open_scene
from models.pocket.sprites import COLOURS
from tests.benchmarks.pocket_quality.autoencoder import blockiness, colour_error, jpeg
from tests.benchmarks.pocket_quality.bars import Bar, share
from tests.benchmarks.pocket_quality.naming import inner, mean_lab, name_colour
from tests.benchmarks.pocket_quality.page import page
from tests.benchmarks.pocket_quality.record import Record
from tests.benchmarks.pocket_quality.styles import FIGURES, WANTED
from tests.benchmarks.pocket_quality.styles import summed as styles_summed
from tests.benchmarks.pocket_quality.text import ARMS, draw_cases, known_colours, without_colour
from tests.benchmarks.pocket_quality.text import summed as text_summed


def texture(side: int = 96) -> np.ndarray[Any, np.dtype[np.uint8]]:
    noise = np.random.default_rng(1).uniform(0, 255, (2, side, side, 3)).astype(np.float32)
    return np.stack([cv2.GaussianBlur(n, (0, 0), 2.0) for n in noise]).astype(np.uint8)


def test_blockiness_is_one_without_blocks_and_sees_them_at_their_own_size() -> None:
    smooth = texture()
    assert blockiness(smooth) == pytest.approx(1.0, abs=0.05)
    tiles = smooth[:, ::8, ::8].repeat(8, axis=1).repeat(8, axis=2)
    assert math.isnan(blockiness(tiles)), "no step inside a tile: no ratio"
    mixed = (smooth // 2 + tiles // 2).astype(np.uint8)
    assert blockiness(mixed) > 2.0
    assert blockiness(np.roll(mixed, 4, axis=(1, 2))) < 1.0, "borders elsewhere are not ours"
    assert blockiness(jpeg(smooth, 20)) > blockiness(jpeg(smooth, 90))
    with pytest.raises(ValueError, match="no border"):
        blockiness(smooth[:, :8])


def test_colour_error_counts_levels_of_the_mean_and_not_detail() -> None:
    grey = np.full((1, 8, 8, 3), 100, np.uint8)
    assert colour_error(grey, grey + np.array([3, 0, 0], np.uint8)) == pytest.approx(1.0)
    checks = grey + (np.indices((8, 8)).sum(0) % 2 * 2).astype(np.uint8)[None, ..., None] - np.uint8(1)
    assert colour_error(grey, checks) == 0.0


def test_a_scene_in_a_colour_is_named_that_colour_under_other_light() -> None:
    case = draw_cases(1)[0]
    mask, known = known_colours(case)
    assert known.keys() == COLOURS.keys()
    for colour in COLOURS:
        repainted = open_scene(case.seed, 1, 144, 256, objects=case.objects, colours={case.k: colour})
        picture = repainted.frame(0).picture_HWC
        assert name_colour(mean_lab(picture, mask), known) == colour
        dimmer = (picture * 0.95).astype(np.uint8)
        assert name_colour(mean_lab(dimmer, mask), known) == colour
    with pytest.raises(ValueError, match="no pixel"):
        mean_lab(picture, np.zeros_like(mask))


def test_inner_takes_the_rim_off_also_at_the_frame() -> None:
    mask = np.zeros((12, 12), bool)
    mask[:7, 2:9] = True
    assert inner(mask).sum() == 9
    assert inner(mask)[2:5, 4:7].all()


def test_cases_are_seeded_balanced_and_say_what_they_ask() -> None:
    cases = draw_cases(10)
    assert cases == draw_cases(10)
    assert {c.colour for c in cases} == set(COLOURS)
    assert [c.things for c in cases] == [1, 2] * 5
    for case in cases:
        named, removed, other = (case.prompt(arm) for arm in ARMS)
        assert f"{case.colour} {case.kind}" in named
        assert f"a {case.kind}" in removed
        assert f"{case.other} {case.kind}" in other
        assert len({named, removed, other}) == 3


def test_a_colour_word_is_taken_out_with_its_article_or_not_at_all() -> None:
    assert without_colour("an orange cat and a red bus in a park", "orange", "cat") == "a cat and a red bus in a park"
    with pytest.raises(ValueError, match="once"):
        without_colour("a red bus", "blue", "bus")


def test_a_record_keeps_finished_pieces_of_the_same_weights_only(tmp_path: Path) -> None:
    path, made = tmp_path / "figures.json", []

    def make() -> dict[str, float]:
        made.append(1)
        return {"psnr": 30.0, "ratio": math.nan}

    first = Record(path, "a" * 64, "cook").piece("part/one", make)
    assert first == {"psnr": 30.0, "ratio": None}
    again = Record(path, "a" * 64, "cook", resume=True)
    assert again.piece("part/one", make) == first
    assert len(made) == 1
    with pytest.raises(ConfigError, match="not of these"):
        Record(path, "b" * 64, "cook", resume=True)
    Record(path, "b" * 64, "cook").piece("part/one", make)
    assert len(made) == 2, "figures of other weights are left behind"


def test_one_part_measured_anew_leaves_the_others_with_the_commands_they_were_made_by(tmp_path: Path) -> None:
    path, made = tmp_path / "figures.json", []

    def make() -> dict[str, float]:
        made.append(1)
        return {"x": 1.0}

    first = Record(path, "a" * 64, "cook all")
    for part in ("one", "two"):
        first.summarise(part, first.piece(f"{part}/x", make))
    again = Record(path, "a" * 64, "cook one --frames 3")
    again.forget("one")
    assert list(again.parts) == ["two"]
    again.summarise("one", again.piece("one/x", make))
    assert len(made) == 3, "of a forgotten part nothing is believed"
    assert {name: part["command"] for name, part in again.parts.items()} == {
        "one": "cook one --frames 3",
        "two": "cook all",
    }
    assert Record(path, "a" * 64, "").parts == again.parts


def test_the_page_names_the_command_of_every_part(tmp_path: Path) -> None:
    loads = {"megabytes": 28.5, "first": 0.3, "median": 0.2, "seconds": 1, "machine": "a cupboard"}
    rows = {"steps": 50, "rows": [], "seconds": 2, "machine": "a shelf"}
    parts = {"loading": {**loads, "command": "cook"}, "inversion": {**rows, "command": "cook --slowly"}}
    both = page(parts, "0" * 64)
    assert "Made part by part" in both
    assert "`cook`, 1 s for this part, on a cupboard" in both
    assert "`cook --slowly`, 2 s for this part, on a shelf" in both
    assert page({"loading": parts["loading"]}, "0" * 64).splitlines()[2].startswith("Made by `cook` from")


def test_bars_are_computed_both_ways_and_nothing_measured_fails() -> None:
    assert Bar("x", 29.0, 29).passed
    assert not Bar("x", 28.99, 29).passed
    assert Bar("x", 0.9, 1, "at most").passed
    assert not Bar("x", 1.1, 1, "at most").passed
    assert not Bar("x", None, 1, "at most").passed
    low, high = share(80, 80)["ci"]
    assert low < 0.97 < high <= 1.0, "80 of 80 is no proof of 1"


def test_the_page_says_fail_where_figures_fail_and_names_what_was_not_measured() -> None:
    def row(wanted: str, judged: str) -> dict[str, Any]:
        figures = dict.fromkeys(FIGURES, 0.9)
        right = float(judged == wanted)
        return {"clip": "c", "kind": "real", "wanted": wanted, "style_accuracy": right, "judged_frames": 4,
                "styles": {judged: 4}, **figures}  # fmt: skip

    found = styles_summed([row(w, "photo") for w in WANTED])
    assert found["by_kind"]["real"]["style_accuracy"]["mean"] == 0.0
    answers = [
        {"arm": arm, "things": 1, "kind": "car", "colour": "red", "other": "blue", "original": "pink", "judged": judged}
        for arm, judged in (("named", "red"), ("removed", "pink"), ("other", "blue"))
    ]
    words = {**text_summed(answers), "guidance": 2.0, "steps": 10}
    assert words["named"]["mean"] == words["other"]["other"]["mean"] == words["removed"]["original"]["mean"] == 1.0
    assert words["other"]["named"]["mean"] == words["removed"]["named"]["mean"] == 0.0
    made = {"seconds": 1, "command": "cook", "machine": "a cupboard"}
    written = page({"styles": {**found, **made}, "text": {**words, **made}}, "0" * 64)
    lines = written.splitlines()
    assert any("style accuracy, real" in line and "FAIL" in line for line in lines)
    assert any("caption's colour" in line and "pass" in line for line in lines)
    assert "| real | 1 | 4 | 32 |" in written, "how long its clips were"
    assert "Not measured in this run: loading, autoencoder, inversion." in written
