"""Styles are prompt templates that agree with the words `pocket` was trained on; presets build on one another."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
import yaml

from configs.errors import ConfigError
from configs.overrides import build_job
from configs.presets import list_presets, list_styles, load_preset, preset_about, preset_extends, styled_prompt

NAMES = ["sketch", "watercolor", "night", "autumn", "neon", "mosaic", "oil", "blueprint"]


def test_the_styles_are_the_ones_we_promise() -> None:
    assert list(list_styles()) == NAMES


def test_templates_are_the_first_ones_of_pocket() -> None:
    styles = pytest.importorskip("models.pocket.styles")
    assert {name: style.template for name, style in list_styles().items()} == {
        name: styles.PROMPT_TEMPLATES[name][0] for name in NAMES
    }


@pytest.mark.parametrize(
    ("prompt", "style", "text"),
    [
        ("a red car", "watercolor", "a red car, watercolor painting"),
        (None, "watercolor", "watercolor painting"),
        (" a {braced} car ", "oil", "a {braced} car, oil painting"),
        ("a red car", None, "a red car"),
    ],
)
def test_a_prompt_goes_into_its_template(prompt: str | None, style: str | None, text: str) -> None:
    assert styled_prompt(prompt, style) == text


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ConfigError, match="style 'cubism' does not exist; known: autumn, blueprint"):
        styled_prompt("a", "cubism")


MODELS = ("dry", "pocket", "sd15")
TASKS = ("stylize", "reference", "recolor", "restore", "render3d")


def test_presets_are_listed_without_the_styles_file_and_handed_out_fresh() -> None:
    assert set(list_presets()) == {*MODELS, *NAMES, *TASKS}
    for name in ("pocket", "sketch"):
        load_preset(name)["model"]["path"] = "changed"
        load_preset(name)["model"]["controls"].append("changed")
        assert load_preset(name)["model"]["path"] == "pocket"
        assert "changed" not in load_preset(name)["model"]["controls"]
    assert all(preset_about(name) for name in list_presets())


@pytest.mark.parametrize("name", NAMES)
def test_a_look_is_pocket_in_its_style(name: str) -> None:
    assert preset_extends(name) == "pocket"
    look, pocket = load_preset(name), load_preset("pocket")
    assert look["style"] == name
    assert "style" not in pocket
    assert look["model"] == pocket["model"]
    assert build_job(name).style == name, "a look is enough to start a job"


def test_a_flag_wins_over_the_style_of_a_look() -> None:
    assert build_job("sketch", None, (), {"style": "oil"}).style == "oil"


def test_a_preset_file_holds_known_keys_only() -> None:
    for name in list_presets():
        content = yaml.safe_load((resources.files("configs") / "presets" / f"{name}.yaml").read_text())
        assert set(content) <= {"description", "extends", "job"}, name


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    def write(**presets: str) -> Path:
        for name, text in presets.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path

    return write


def test_groups_merge_along_the_whole_line_and_lists_replace(written: Callable[..., Path]) -> None:
    folder = written(
        a="description: a\njob: {seed: 1, model: {path: x, dtype: float32, loras: [p, q]}, window: {size: 8}}",
        b="extends: a\njob: {model: {loras: [r]}, seed: 2}",
        c="extends: b\njob: {window: {size: 4}, deflicker: {window: 3}}",
    )
    assert load_preset("c", folder) == {
        "seed": 2,
        "model": {"path": "x", "dtype": "float32", "loras": ["r"]},
        "window": {"size": 4},
        "deflicker": {"window": 3},
    }
    assert load_preset("a", folder)["window"] == {"size": 8}


@pytest.mark.parametrize("start", ["a", "b", "c"])
def test_presets_in_a_circle_are_refused(written: Callable[..., Path], start: str) -> None:
    folder = written(a="extends: b\njob: {}", b="extends: c\njob: {}", c="extends: a\njob: {}")
    with pytest.raises(ConfigError, match=rf"^preset '{start}' extends itself \({start} -> . -> . -> {start}\); take"):
        load_preset(start, folder)


def test_a_preset_that_leads_into_a_circle_is_refused(written: Callable[..., Path]) -> None:
    folder = written(a="extends: b\njob: {}", b="extends: b\njob: {}")
    with pytest.raises(ConfigError, match=r"preset 'b' extends itself \(a -> b -> b\)"):
        load_preset("a", folder)


def test_a_base_that_does_not_exist_names_who_asked(written: Callable[..., Path]) -> None:
    folder = written(pocket="job: {}", look="extends: pockt\njob: {}")
    with pytest.raises(
        ConfigError, match=r"^preset 'pockt' does not exist \(preset 'look' extends it\); did you mean p"
    ):
        load_preset("look", folder)


@pytest.mark.parametrize("name", ["sktch", "styles", "../job", ""])
def test_an_unknown_preset_is_one_sentence(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^preset '.*' does not exist; (did you mean|known:)"):
        load_preset(name)
