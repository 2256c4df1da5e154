"""The deflicker run form: untouched it is a job, keyframes take the source's place, typed lines win."""

from __future__ import annotations

import pytest

from configs.deflicker_job import DeflickerJob, Keyframe
from configs.errors import ConfigError
from configs.form import form_schema_violations
from configs.form_deflicker import DeflickerJobForm


def test_the_form_keeps_the_rules() -> None:
    assert form_schema_violations(DeflickerJobForm.model_json_schema()) == []


def test_an_untouched_form_steadies_the_demo_clip_with_the_command_lines_defaults() -> None:
    assert DeflickerJobForm.model_validate({}).to_job() == DeflickerJob(source="demo", guide="demo")


def test_keyframes_take_the_place_of_the_untouched_source() -> None:
    job = DeflickerJobForm.model_validate({"keyframes": ["12=a.png"], "guide": "clip.mp4"}).to_job()
    assert (job.source, job.guide, job.keyframes) == (None, "clip.mp4", (Keyframe(frame=12, image="a.png"),))
    with pytest.raises(ConfigError, match="and keyframes; give one of them"):
        DeflickerJobForm.model_validate({"keyframes": ["12=a.png"], "source": "mine.mp4"}).to_job()


def test_edited_fields_and_typed_lines_reach_the_job() -> None:
    edited = {"operator": "trimmed", "window": 4, "settings": ["window=6", "deflicker.patch=7"], "left": "over"}
    job = DeflickerJobForm.model_validate(edited).to_job()
    assert (job.deflicker.operator, job.deflicker.mode, job.deflicker.window, job.deflicker.patch) == (
        "trimmed",
        "naive",
        6,
        7,
    )


def test_a_form_without_a_guide_says_so() -> None:
    with pytest.raises(ConfigError, match="no guide given"):
        DeflickerJobForm.model_validate({"guide": " "}).to_job()
