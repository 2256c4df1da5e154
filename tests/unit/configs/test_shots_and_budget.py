"""`shots` and `budget` as people write them, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.job import RestyleJob
from configs.overrides import build_job

PROMPT = {"prompt": "a car"}


def test_shots_come_from_files_and_from_set_with_their_types(tmp_path: Path) -> None:
    config = tmp_path / "job.yaml"
    config.write_text("prompt: a car\nshots:\n  2: {prompt: a boat, seed: 7}\n")
    job = build_job("dry", config, ["shots.2.prompt=1984", "shots.3.guidance_scale=2"])
    assert job.shots["2"].prompt == "1984"
    assert (job.shots["2"].seed, job.shots["3"].guidance_scale) == (7, 2.0)


def test_the_job_of_a_shot_changes_what_was_said_and_nothing_else() -> None:
    job = RestyleJob(prompt="a", style="oil", seed=3, shots={2: {"prompt": "b"}})  # type: ignore[dict-item]
    assert job.of_shot(1) == job.of_shot(3) == job.model_copy(update={"shots": {}})
    second = job.of_shot(2)
    assert (second.prompt, second.style, second.seed) == ("b", "oil", 3)
    again = RestyleJob.model_validate(job.model_dump(mode="json"))
    assert again.of_shot(2) == second, "a record of a job says of its shots what the job said"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shots.0.prompt=x", "'0'"),
        ("shots.first.prompt=x", "'first'"),
        ("shots.2.promt=x", "shots.2.prompt"),
        ("shots.2.style=oill", "did you mean oil"),
        ("shots.2.guidance_scale=0.5", "shots.2.guidance_scale must be >= 1"),
        ("budget.gpu_seconds=0", "budget.gpu_seconds must be > 0"),
        ("budget.gpu_second=5", "budget.gpu_seconds"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_job("dry", None, [text], PROMPT)
    assert words in str(caught.value)


def test_a_budget_reads_bytes_as_people_write_them() -> None:
    assert build_job("dry", None, ["budget.bytes=2GB"], PROMPT).budget.bytes == 2_000_000_000
    job = build_job("dry", None, ["budget.gpu_seconds=90"], PROMPT)
    assert (job.budget.gpu_seconds, job.budget.bytes, job.budget.limited) == (90.0, None, True)
    assert not build_job("dry", None, [], PROMPT).budget.limited
