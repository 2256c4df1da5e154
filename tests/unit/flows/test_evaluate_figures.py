"""`evaluate`: every convention beside source and control, sharpness over time, patches, seams, and the plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from flows.cli import main
from models.metrics import CONVENTIONS

FRAMES, HEIGHT, WIDTH, STEP, WINDOW = 12, 64, 96, 2, 4

Picture = np.ndarray[Any, Any]


def written(path: Path, frames: list[Picture]) -> str:
    """Exact to the bit: what is measured is what was made."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))
    return str(path)


def panning() -> list[Picture]:
    rng = np.random.default_rng(1)
    coarse = rng.integers(40, 215, (HEIGHT // 4, (WIDTH + STEP * FRAMES) // 4, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (WIDTH + STEP * FRAMES, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return [scene[:, STEP * t : STEP * t + WIDTH] for t in range(FRAMES)]


def lit(frames: list[Picture], levels: list[float]) -> list[Picture]:
    return [np.clip(f + level, 0, 255).astype(np.uint8) for f, level in zip(frames, levels, strict=True)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A source; the same with little and with much flicker; with a step at each window; half sharp; a still."""
    folder, source = tmp_path_factory.mktemp("clips"), panning()
    alternating = [float(t % 2) for t in range(FRAMES)]
    soft = [cv2.GaussianBlur(f, (0, 0), 1.2) if t % 2 else f for t, f in enumerate(source)]
    made = {
        "source": source,
        "little": lit(source, [5 * a for a in alternating]),
        "much": lit(source, [20 * a for a in alternating]),
        "seams": lit(source, [a + 12 * (t // WINDOW % 2) for t, a in enumerate(alternating)]),
        "soft": soft,
        "small": [cv2.resize(f, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA) for f in source],
        "turned": [np.rot90(f) for f in source],
        "cropped": [f[:, 12:-12] for f in source],
    }
    return {name: written(folder / f"{name}.mkv", frames) for name, frames in made.items()}


def found(*args: str) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["evaluate", *args, "--json"])
    value: dict[str, Any] = json.loads(result.stdout)
    return {**value, "exit_code": result.exit_code}


def test_all_conventions_beside_source_and_control(clips: dict[str, str]) -> None:
    args = (clips["little"], "--source", clips["source"], "--control", clips["much"])
    got = found(*args)["metrics"]
    rows = got["conventions"]
    assert set(rows) == set(CONVENTIONS)
    assert rows["masked"]["pixel_mse"] == got["pixel_mse"]
    assert rows["masked"]["pixel_mse"] - rows["masked"]["source_pixel_mse"] == pytest.approx(25, rel=0.2)
    for name in ("all", "minus_forward", "no_warp"):
        assert rows[name]["source_pixel_mse"] > 5 * rows["masked"]["source_pixel_mse"], "they count what we leave out"
        assert rows[name]["ratio"] < rows["masked"]["ratio"], "and so hide flicker"
    # flicker is quadratic: a quarter of the step is a sixteenth of the excess
    assert got["excess_flicker"] == pytest.approx(1 / 16, rel=0.2)
    assert got["excess_flicker_ci"][0] <= got["excess_flicker"] <= got["excess_flicker_ci"][1]
    assert got["control"]["pixel_mse"] > 10 * got["pixel_mse"]
    assert len(got["curves"]["control"]) == FRAMES - 1
    assert (got["scale"], got["width"], got["height"], got["fps"], got["pairs"]) == ("0-255", WIDTH, HEIGHT, 25.0, 11)
    said = CliRunner().invoke(main, ["evaluate", *args]).stdout
    for words in ("0-255 scale, 96x64, 25 fps", "excess flicker", "minus forward", "no warp"):
        assert words in said


def test_the_chosen_convention_is_the_one_on_top(clips: dict[str, str]) -> None:
    got = found(clips["little"], "--source", clips["source"], "--convention", "all")["metrics"]
    assert got["pixel_mse"] == got["conventions"]["all"]["pixel_mse"] != got["conventions"]["masked"]["pixel_mse"]


def test_pulsing_sharpness_is_told_from_steady(clips: dict[str, str]) -> None:
    soft, little = (found(clips[name], "--source", clips["source"])["metrics"] for name in ("soft", "little"))
    assert soft["sharpness_pulsing"] > 0.2 > 0.05 > little["sharpness_pulsing"]
    assert soft["sharpness_over_time"] < 0.9 < little["sharpness_over_time"]
    assert len(soft["sharpness_course"]) == FRAMES


def test_patches_agree_with_flow_on_what_flickers_and_take_part_only_when_asked(clips: dict[str, str]) -> None:
    args = (clips["little"], "--source", clips["source"])
    assert "correspondence" not in found(*args)["metrics"]
    got = found(*args, "--control", clips["much"], "--correspondence")["metrics"]["correspondence"]
    assert got["squared"] - got["source_squared"] == pytest.approx(25, rel=0.2)
    assert got["video_absolute"] > got["source_absolute"]
    assert got["excess_flicker"] == pytest.approx(1 / 16, rel=0.2)
    assert got["kept"] > 0.8
    assert (got["width"], got["height"]) == (WIDTH, HEIGHT)


def test_a_frame_equal_in_both_does_not_take_the_psnr_of_the_clip(clips: dict[str, str], tmp_path: Path) -> None:
    """A black leader: its frames count as 100 dB in the mean over frames."""
    leader = [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 2
    source = written(tmp_path / "source.mkv", [*leader, *panning()[2:]])
    little = written(tmp_path / "little.mkv", [*leader, *lit(panning()[2:], [5.0] * (FRAMES - 2))])
    got = found(little, "--source", source, "--control", source)["metrics"]
    assert got["psnr"] == pytest.approx((2 * 100 + (FRAMES - 2) * 20 * np.log10(255 / 5)) / FRAMES, abs=0.01)
    assert got["control"]["psnr"] == 100


def test_windows_add_the_seam_ratio(clips: dict[str, str]) -> None:
    args = ("--source", clips["source"], "--windows", str(WINDOW))
    assert found(clips["seams"], *args)["metrics"]["seam_ratio"] > 5
    assert found(clips["little"], *args)["metrics"]["seam_ratio"] == pytest.approx(1, abs=0.3)
    assert "seam_ratio" not in found(clips["little"])["metrics"]


def test_alone_nothing_is_held_against_itself(clips: dict[str, str]) -> None:
    got = found(clips["little"])["metrics"]
    assert got["pixel_mse"] > 0
    beside = ("ratio", "ratio_ci", "source_pixel_mse", "sharpness_ratio", "sharpness_pulsing", "psnr")
    assert [got[name] for name in beside] == [None] * len(beside)
    assert got["conventions"]["no_warp"]["pixel_mse"] > got["conventions"]["masked"]["pixel_mse"]
    assert got["conventions"]["masked"]["ratio"] is None


def test_another_size_is_brought_to_the_source_and_said(clips: dict[str, str]) -> None:
    got = found(clips["small"], "--source", clips["source"])["metrics"]
    assert (got["width"], got["height"], got["sizes"]["video"]) == (WIDTH, HEIGHT, [WIDTH // 2, HEIGHT // 2])
    assert got["sharpness_ratio"] < 0.9


def test_no_pair_crosses_a_cut(tmp_path: Path) -> None:
    first = panning()[0]
    two = [first] * FRAMES + [255 - first] * FRAMES
    clip = written(tmp_path / "two.mkv", two)
    flashing = written(tmp_path / "flash.mkv", lit(two, [8.0 * (t % 2) for t in range(2 * FRAMES)]))
    got = found(flashing, "--source", clip, "--correspondence")["metrics"]
    assert (got["cuts"], got["pairs"]) == ([FRAMES], 2 * FRAMES - 2)
    assert got["curves"]["video"][FRAMES - 1] is None
    for flicker, own in ((got["pixel_mse"], got["source_pixel_mse"]), (got["correspondence"]["squared"], 0)):
        assert flicker - own == pytest.approx(64, rel=0.2), "the jump between the shots would be thousands"


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_the_plot_has_a_curve_each_and_nothing_from_outside(clips: dict[str, str], tmp_path: Path, suffix: str) -> None:
    place = tmp_path / f"flicker{suffix}"
    args = (clips["little"], "--source", clips["source"], "--control", clips["much"], "--windows", str(WINDOW))
    assert found(*args, "--plot", str(place))["plot"] == str(place)
    page = place.read_text()
    text = page[page.index("<svg") : page.rindex("</svg>") + 6]
    picture = Xml.fromstring(text)
    kinds = [element.get("class") for element in picture.iter()]
    assert (kinds.count("curve"), kinds.count("border"), kinds.count("cut")) == (3, 2, 0)
    for words in ("A little.mkv", "B source.mkv", "C much.mkv", "0-255 scale", "pair of frames"):
        assert words in text
    assert text.count("http") == 1, "the name of the SVG language, and no address to load from"


def test_a_single_frame_has_a_plot_without_a_curve(tmp_path: Path) -> None:
    place = tmp_path / "flicker.svg"
    got = found(written(tmp_path / "still.mkv", panning()[:1]), "--plot", str(place), "--windows", "2")
    assert (got["exit_code"], got["metrics"]["frames"], got["metrics"]["pixel_mse"]) == (0, 1, None)
    kinds = [element.get("class") for element in Xml.fromstring(place.read_text()).iter()]
    assert "curve" not in kinds


def test_a_single_frame_has_rows_for_its_control_too(tmp_path: Path) -> None:
    still, args = panning()[:1], ("--correspondence", "--plot", str(tmp_path / "flicker.svg"))
    a, b, c = (written(tmp_path / f"{n}.mkv", lit(still, [n])) for n in (0.0, 4.0, 8.0))
    got = found(a, "--source", b, "--control", c, *args)
    assert (got["exit_code"], got["metrics"]["excess_flicker"]) == (0, None)
    shown = CliRunner().invoke(main, ["evaluate", a, "--source", b, "--control", c])
    assert shown.exit_code == 0, shown.output


def test_a_result_of_a_range_is_held_against_that_range_of_its_source(clips: dict[str, str], tmp_path: Path) -> None:
    part = written(tmp_path / "part.mkv", lit(panning(), [5.0 * (t % 2) for t in range(FRAMES)])[2:8])
    refused = found(part, "--source", clips["source"])
    assert "6 frames and" in refused["errors"][0]["message"]
    got = found(part, "--source", clips["source"], "--set", "input.frames=2,8", "--style", "oil")["metrics"]
    assert (got["frames"], got["judged_frames"]) == (6, 2)
    assert got["pixel_mse"] - got["source_pixel_mse"] == pytest.approx(25, rel=0.2)
    alone = found(clips["source"], "--set", "input.frames=2,8")["metrics"]
    assert alone["frames"] == 6


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("LITTLE", "--set", "seed=3"), "--set seed: evaluate takes keys of input only"),
        (("LITTLE", "--set", "input.hrd=tonemap"), "unknown key input.hrd; did you mean input.hdr?"),
        (("LITTLE", "--control", "MUCH"), "--control needs --source"),
        (("LITTLE", "--plot", "flicker.png"), "--plot draws .svg or .html, got 'flicker.png'"),
        (("TURNED", "--source", "SOURCE"), "is 64x96 and"),
        (("LITTLE", "--source", "SOURCE", "--control", "TURNED"), "not the same shape"),
        (("CROPPED", "--source", "SOURCE"), "not the same shape; crop or export it"),
        (("CROPPED", "--source", "SOURCE", "--style", "oil"), "not the same shape; crop or export it"),
        (("LITTLE", "--windows", "1"), "--windows"),
    ],
)
def test_what_cannot_be_measured_is_refused(clips: dict[str, str], args: tuple[str, ...], words: str) -> None:
    got = found(*(clips.get(arg.lower(), arg) for arg in args))
    assert got["exit_code"] == 2
    assert words in got["errors"][0]["message"]
