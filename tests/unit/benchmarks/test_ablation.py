"""The ablation: arms that differ by one ingredient each, sentences that follow the figures, and a run that resumes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.metrics import Interval
from tests.benchmarks import ablation
from tests.benchmarks.ablation_figures import (
    FIGURES,
    FILTER,
    cell,
    changes,
    clip_figures,
    direction,
    only_a_range,
    sentence,
)
from tests.benchmarks.ablation_page import ClipRow, page
from tests.benchmarks.jobs import pocket_job

STEADY = {"source": {"pixel_mse": 10.0, "sharpness": 5.0}, "filter": {"pixel_mse": 4.0, "sharpness": 8.0}}


@pytest.fixture
def dry_engines() -> SimpleNamespace:
    """What a fingerprint asks of engines: facts of a model."""
    return SimpleNamespace(facts=lambda model: SimpleNamespace(digest="d", numerics="n"))


def measured(flicker: float, sharp: float = 2.0, **figures: float | None) -> dict[str, dict[str, float | None]]:
    return {"result": {"pixel_mse": flicker, "sharpness": sharp, **figures}, **STEADY}


def clips(*differences: float, figure: str = "fidelity_psnr") -> list[dict[str, dict[str, float]]]:
    """One clip per difference, in which only `figure` differs between the arms a and b."""
    same = dict.fromkeys(FIGURES, 1.0)
    return [{"a": same, "b": {**same, figure: 1.0 + d}} for d in differences]


def test_arms_take_one_ingredient_more_each_and_end_with_the_job_itself() -> None:
    job = pocket_job()
    arms = ablation.arm_jobs(job)
    assert list(arms) == list(ablation.ARMS)
    have = [(a.noise, a.attention.pattern, a.deflicker.enabled) for a in arms.values()]
    pattern = job.attention.pattern
    assert have[0] == ("per_frame", ("0",), False)
    assert have[1:3] == [("fixed", ("0",), False), ("fixed", pattern, False)]
    assert arms["+ deflicker"] == job
    assert job.deflicker.enabled


def test_a_job_that_lacks_an_ingredient_is_refused() -> None:
    with pytest.raises(ValueError, match="no cross-frame attention"):
        ablation.arm_jobs(pocket_job(attention={"pattern": ["0"]}))


def test_ratios_are_held_against_the_first_arm_and_the_filter() -> None:
    found = clip_figures({"control": measured(20.0), "better": measured(15.0, 3.0, seam_ratio=1.1)})
    assert found["control"]["excess_flicker"] == 1.0 == found["control"]["excess_over_style"]
    assert found["better"]["excess_flicker"] == 0.5
    assert found["better"]["excess_over_style"] == 11.0 / 16.0
    assert (found["better"]["sharpness_ratio"], found["better"]["sharpness_over_filter"]) == (1.5, 0.375)
    assert found["better"]["seam_ratio"] == 1.1
    assert found[FILTER]["excess_over_style"] == 0.0
    assert math.isnan(found["control"]["fidelity_psnr"])


def test_a_control_as_steady_as_the_source_gives_no_excess() -> None:
    found = clip_figures({"control": measured(9.0), "other": measured(8.0, fidelity_psnr=None)})
    assert math.isnan(found["other"]["excess_flicker"])
    assert found["other"]["excess_over_style"] == 4.0 / 5.0
    assert math.isnan(found["other"]["fidelity_psnr"])


def test_differences_are_paired_and_leave_out_clips_without_the_figure() -> None:
    assert changes(clips(0.5, math.nan, -0.25), "a", "b", "fidelity_psnr") == [0.5, -0.25]


@pytest.mark.parametrize(
    ("interval", "count", "said"),
    [
        (Interval(1.0, 0.1, 2.0), 5, "raises"),
        (Interval(-1.0, -2.0, -0.1), 5, "lowers"),
        (Interval(1.0, -0.1, 2.0), 5, "does not change"),
        (Interval(0.0, 0.0, 0.0), 5, "does not change"),
        (Interval(1.0, 1.0, 1.0), 1, None),
        (Interval(math.nan, math.nan, math.nan), 0, None),
    ],
)
def test_direction_is_read_off_the_interval(interval: Interval, count: int, said: str | None) -> None:
    assert direction(interval, count) == said


@pytest.mark.parametrize(
    ("figure", "change", "words"),
    [
        ("fidelity_psnr", 1.0, "*better*: raises fidelity dB by 1.00;"),
        ("fidelity_psnr", -1.0, "*worse*: lowers fidelity dB by 1.00;"),
        ("seam_ratio", 1.0, "*worse*: raises seam ratio by 1.00;"),
        ("seam_ratio", -0.001, "*better*: lowers seam ratio by less than 0.01;"),
        ("sharpness_ratio", -1.0, "*neither by itself*: lowers sharpness over control by 1.00;"),
    ],
)
def test_the_sentence_turns_with_the_figures(figure: str, change: float, words: str) -> None:
    said = sentence(clips(change, change, change, figure=figure), "a", "b", "salt")
    assert said.startswith(f"**salt**. {words}")
    unchanged = said.split("spans 0): ")[1]
    assert FIGURES[figure].title not in unchanged
    assert unchanged.count(",") == len(FIGURES) - 2


def test_the_sentence_claims_nothing_where_clips_disagree_or_are_too_few() -> None:
    title = FIGURES["fidelity_psnr"].title
    assert title in sentence(clips(1.0, -1.0, 0.5), "a", "b", "salt").split("spans 0): ")[1]
    assert title in sentence(clips(1.0), "a", "b", "salt").split("fewer than two clips have: ")[1]


def test_three_clips_have_a_range_and_four_an_interval() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0])
    for count in (2, 3, 4):
        draws = values[np.random.default_rng(1).integers(0, count, (20_000, count))].mean(axis=1)
        assert only_a_range(count) == (np.quantile(draws, 0.025) == 1.0)


def test_a_cell_says_how_many_clips_have_the_figure() -> None:
    assert cell([0.5, 0.5, math.nan], 2) == "0.50 [0.50, 0.50] (2 of 3)"
    assert cell([-0.001, -0.001], 2, sign=True) == "0.00 [0.00, 0.00]"
    assert cell([0.2, 0.2], 1, sign=True) == "+0.2 [+0.2, +0.2]"
    assert cell([math.nan], 2) == "-"


def test_the_page_keeps_kinds_apart_and_marks_training_footage() -> None:
    def row(name: str, kind: str, trained: bool, flicker: float) -> ClipRow:
        figures = clip_figures({"a": measured(20.0), "b": measured(flicker)})
        return ClipRow(name, kind, "neon", trained, 16, figures)

    rows = [row("seen.mp4", "real", True, 12.0), row("x.mp4", "real", False, 14.0), row("p", "procedural", False, 30.0)]
    facts = {"command": "cook", "setting": "at home", "judge": 7, "every": 4}
    text = page(rows, {"a": "first", "b": "second"}, facts)
    real, procedural = text.split("## Procedural clips (1)")
    assert "| Pixel-MSE | 20.0 [20.0, 20.0] | 13.0 [12.0, 14.0] |" in real
    assert "lowers Pixel-MSE by 7.0" in real
    assert "| Pixel-MSE | 20.0 [20.0, 20.0] | 30.0 [30.0, 30.0] |" in procedural
    assert "raises Pixel-MSE" not in procedural, "one clip shows no direction"
    assert "| seen.mp4 (training footage) | neon | a | 20.000 |" in text
    assert "| x.mp4 | neon | b | 14.000 |" in text


def test_an_interrupted_run_resumes_with_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "page.md"
    small = '{"working_size": 64, "num_inference_steps": 2}'
    command = ["--preset", "dry", "--set", small, "--frames", "5", "--clips", "procedural-70000", "--out", str(out)]
    whole, times = ablation.restyle_video, iter(range(99))

    def dies_in_the_third(*given: Any) -> Any:
        if next(times) == 2:
            raise KeyboardInterrupt
        return whole(*given)

    monkeypatch.setattr(ablation, "restyle_video", dies_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        ablation.main(command)
    kept = out.with_suffix(".json")
    first = json.loads(kept.read_text())
    assert [row["arm"] for row in first.values()] == list(ablation.ARMS)[:2]
    assert not out.exists()
    ablation.main([*command, "--resume"])
    assert next(times) == 5, "three runs before the stop, then only the two arms that were missing"
    second = json.loads(kept.read_text())
    assert {name: second[name] for name in first} == first
    assert [row["arm"] for row in second.values()] == list(ablation.ARMS)
    assert "procedural-70000.mkv" in out.read_text()


@pytest.mark.parametrize("stage", ["correspond", "denoise", "condition", "evaluate"])
def test_figures_of_an_older_stage_are_not_kept(
    stage: str, dry_engines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.mkv"
    clip.write_bytes(b"frames")
    job = pocket_job("dry")
    name = ablation.fingerprint(job, clip, dry_engines)
    assert ablation.fingerprint(job, clip, dry_engines) == name
    monkeypatch.setattr(f"tasks.{stage}.VERSION", 999)
    assert ablation.fingerprint(job, clip, dry_engines) != name
