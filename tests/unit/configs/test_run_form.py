"""The Prefect run form: an untouched one runs, and its schema keeps the rules that make that so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from configs.errors import ConfigError
from configs.form import RestyleForm, StyleName, form_schema_violations, form_signature_violations
from configs.overrides import build_job
from configs.presets import list_presets, list_styles, load_preset


def test_the_form_keeps_its_rules() -> None:
    assert form_schema_violations(RestyleForm.model_json_schema()) == []


def test_an_untouched_form_restyles_the_demo_clip() -> None:
    job = RestyleForm.model_validate({}).to_job()
    assert (job.sources, job.style, job.model.path) == (("demo",), "watercolor", "pocket")
    expected = build_job("pocket", None, (), {"sources": ("demo",), "style": "watercolor"})
    assert job == expected


def test_the_form_offers_every_style_and_every_preset_that_leaves_the_style_open() -> None:
    """A look as a preset beside a style field that is always sent would lose against it without a word."""
    assert set(StyleName.__args__) - {"none"} == set(list_styles())  # type: ignore[attr-defined]
    offered = RestyleForm.model_json_schema()["properties"]["preset"]["enum"]
    assert set(offered) == {name for name in list_presets() if "style" not in load_preset(name)}


def test_filled_fields_and_typed_lines_reach_the_job() -> None:
    form = RestyleForm.model_validate(
        {
            "prompt": "a car",
            "style": "none",
            "num_inference_steps": 5,
            "deflicker": {"window": 2, "left_over_of_another_tab": 1},
            "settings": ["steps=6", "window.size=4"],
        }
    )
    job = form.to_job()
    assert (job.style, job.prompt, job.deflicker.window, job.window.size) == (None, "a car", 2, 4)
    assert job.num_inference_steps == 6, "a typed line is the more deliberate choice"


def test_a_form_that_makes_no_job_says_why() -> None:
    with pytest.raises(ConfigError, match="give at least one of `prompt` and `style`"):
        RestyleForm.model_validate({"style": "none"}).to_job()


class _Text(BaseModel):
    kind: Literal["text"] = "text"


class _None(BaseModel):
    kind: Literal["none"] = "none"


class _Bad(BaseModel):
    model_config = ConfigDict(extra="forbid")
    union: Annotated[_Text | _None, Field(discriminator="kind")] = _None()
    made: list[int] = Field(default_factory=list)
    second: str | None = None


class _Outer(BaseModel):
    inner: _Bad = _Bad()
    good: int | None = 3


def test_each_broken_rule_is_found_where_it_is() -> None:
    found = "\n".join(form_schema_violations(_Outer.model_json_schema()))
    assert "_Bad.: refuses extra keys" in found
    assert "_Bad.union: is a discriminated union" in found
    assert "_Bad.made: has no literal default" in found
    assert "_Bad.second: default None is not of the union's first member" in found
    assert "good" not in found


def test_a_field_as_plain_default_is_found() -> None:
    def flow(x: float = Field(0.5, le=1), y: Annotated[float, Field(le=1)] = 0.5) -> Any:
        return x, y

    assert [line.split(":")[0] for line in form_signature_violations(flow)] == ["x"]
