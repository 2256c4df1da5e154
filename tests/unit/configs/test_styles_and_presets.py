"""Styles are prompt templates; they agree with the words `pocket` was trained on."""

from __future__ import annotations

import pytest

from configs.errors import ConfigError
from configs.presets import list_presets, list_styles, load_preset, preset_about, styled_prompt

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


def test_presets_are_listed_without_the_styles_file_and_handed_out_fresh() -> None:
    assert list_presets() == ("dry", "pocket", "sd15")
    load_preset("pocket")["model"]["path"] = "changed"
    assert load_preset("pocket")["model"]["path"] == "pocket"
    assert all(preset_about(name) for name in list_presets())
