"""Defaults < preset < job file < --set < flags, and every mistake as one sentence with its origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.overrides import SHORT_KEYS, build_job, parse_set
from configs.presets import list_presets

PROMPT = {"prompt": "a car"}


def written(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text)
    return path


def refusal(**layers: object) -> str:
    with pytest.raises(ConfigError) as caught:
        build_job(**layers)  # type: ignore[arg-type]
    return str(caught.value)


def test_each_layer_wins_over_the_one_before(tmp_path: Path) -> None:
    config = written(tmp_path, "prompt: from file\nguidance_scale: 3\nseed: 1\nnum_inference_steps: 7\n")
    assert build_job("dry", None, (), PROMPT).num_inference_steps == 4
    assert build_job("dry", config).num_inference_steps == 7
    assert build_job("dry", config, ["num_inference_steps=8", "seed=2"]).num_inference_steps == 8
    job = build_job("dry", config, ["num_inference_steps=8", "seed=2"], {"seed": 3})
    assert (job.prompt, job.guidance_scale, job.num_inference_steps, job.seed) == ("from file", 3.0, 8, 3)


def test_a_flag_that_is_none_is_not_given(tmp_path: Path) -> None:
    config = written(tmp_path, "prompt: kept\nseed: 5\n")
    assert build_job(None, config, (), {"seed": None, "prompt": None}).seed == 5


def test_groups_merge_and_lists_replace(tmp_path: Path) -> None:
    config = written(tmp_path, "prompt: a\nmodel:\n  dtype: bfloat16\nattention:\n  pattern: ['0']\n")
    job = build_job("pocket", config)
    assert (job.model.dtype, job.model.controls[0].kind, job.attention.pattern) == (
        "bfloat16",
        "tile-latents",
        ("0",),
    )


def test_a_job_file_may_name_its_preset_and_the_argument_wins(tmp_path: Path) -> None:
    config = written(tmp_path, "preset: dry\nprompt: a\n")
    assert build_job(None, config).model.path == "dry"
    assert build_job("pocket", config).model.path == "pocket"


@pytest.mark.parametrize("preset", [p for p in list_presets() if p != "sd15"])
def test_every_preset_makes_a_job(preset: str) -> None:
    files = {"reference": {"reference": "look.png"}, "render3d": {"depth": "maps"}}.get(preset, {})
    job = build_job(preset, None, (), {**PROMPT, **files})
    assert job.prompt == "a car"
    wanted = {"reference-latents": "look.png", "depth-blocks": "maps"}
    assert [c.path for c in job.controls] == [wanted.get(c.kind) for c in job.controls]


@pytest.mark.parametrize("flags", [{"reference": "look.png"}, {"depth": "maps", **PROMPT}])
def test_files_that_no_control_reads_are_refused(flags: dict[str, str]) -> None:
    """A reference alone would even have been a job with an empty prompt."""
    name = next(iter(flags))
    preset = {"reference": "reference", "depth": "render3d"}[name]
    said = refusal(flags=flags)
    assert said == (
        f"{name} is given and no control of this job takes one; add --preset {preset}, or leave it out (--{name})"
    )
    kind = {"reference": "reference-latents", "depth": "depth-blocks"}[name]
    own = [f"model.controls.0.kind={kind}", "model.controls.0.path=own"]
    assert "no control of this job takes one" in refusal(sets=own, flags=flags), "the control has files of its own"
    build_job(preset, None, (), flags | PROMPT)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("guidance_scale=3", ("guidance_scale",), 3),
        ("deflicker.steps=[0.5,0.75,1.0]", ("deflicker", "steps"), [0.5, 0.75, 1.0]),
        ("deflicker.steps=0.5,1", ("deflicker", "steps"), [0.5, 1]),
        ("attention.pattern=first,-1,0", ("attention", "pattern"), ["first", "-1", "0"]),
        ("attention.pattern=0", ("attention", "pattern"), ["0"]),
        ("prompt=1984", ("prompt",), "1984"),
        ("prompt=no", ("prompt",), "no"),
        ("prompt=a: b [", ("prompt",), "a: b ["),
        ("negative_prompt=x=y", ("negative_prompt",), "x=y"),
        ("input.frames=0,10", ("input", "frames"), [0, 10]),
        ("deflicker.enabled=off", ("deflicker", "enabled"), False),
        ("style=null", ("style",), None),
        ("crf=20", ("output", "crf"), 20),
        ("window=4", ("window", "size"), 4),
        ("window={size: 4}", ("window",), {"size": 4}),
    ],
)
def test_set_values_are_typed_by_the_field(text: str, path: tuple[str, ...], value: object) -> None:
    assert parse_set(text) == (path, value)


def test_stable_set_keys_of_the_contract_are_accepted() -> None:
    sets = [
        "num_inference_steps=5",
        "guidance_scale=2",
        "strength=0.5",
        "seed=1",
        "start=noised",
        "window.size=4",
        "deflicker.enabled=true",
        "deflicker.steps=[0.5,0.75,1.0]",
        "deflicker.window=3",
        "deflicker.operator=mean",
        "attention.pattern=[first,'0']",
        "output.codec=libx265",
        "output.crf=20",
        "commit_every=2",
        "working_size=128",
    ]
    job = build_job("pocket", None, sets, PROMPT)
    assert (job.start, job.strength, job.deflicker.steps, job.commit_every) == ("noised", 0.5, (0.5, 0.75, 1.0), 2)


def test_every_short_key_is_a_key_of_the_job() -> None:
    values = {"steps": 3, "guidance": 2, "size": 64, "window": 4, "deflicker": False, "attention": "'0'"}
    values |= {"model": "dry", "codec": "ffv1", "crf": 3}
    assert set(values) == set(SHORT_KEYS)
    build_job("pocket", None, [f"{k}={v}" for k, v in values.items()], PROMPT)


def test_a_list_item_is_set_by_its_place_and_leaves_the_preset_alone() -> None:
    job = build_job("pocket", None, ["model.controls.0.scale=0.5"], PROMPT)
    assert (job.model.controls[0].scale, job.model.controls[0].kind) == (0.5, "tile-latents")
    assert build_job("pocket", None, (), PROMPT).model.controls[0].scale == 1.0


FILE = """prompt: a

guidance_scale: 0.3
output:
  crf: 99
  cfr: 3
deflicker:
  steps: [0.5,
   2.0]
"""


def test_each_problem_of_a_file_is_a_line_with_name_rule_value_and_place(tmp_path: Path) -> None:
    assert refusal(config_path=written(tmp_path, FILE)).splitlines() == [
        "guidance_scale must be >= 1, got 0.3 (job.yaml:3)",
        "deflicker.steps.1 must be <= 1, got 2.0 (job.yaml:9)",
        "output.crf must be <= 63, got 99 (job.yaml:5)",
        "unknown key output.cfr; did you mean output.crf? (job.yaml:6)",
    ]


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        ("guidance_scale=0.3", "guidance_scale must be >= 1, got 0.3 (--set guidance_scale)"),
        ("strength=0", "strength must be > 0, got 0 (--set strength)"),
        ("guidence_scale=3", "unknown key guidence_scale; did you mean guidance_scale? (--set guidence_scale)"),
        ("bits=9", "unknown key bits; did you mean output.bits? (--set bits)"),
        ("seed=1.5", "seed must be a whole number, got 1.5 (--set seed)"),
        ("strength=much", "strength must be a number, got 'much' (--set strength)"),
        ("deflicker=perhaps", "deflicker.enabled must be true or false, got 'perhaps' (--set deflicker)"),
        ("output=3", "output must be a group of keys, got 3 (--set output)"),
        ("deflicker.steps={a: 1}", "deflicker.steps must be a list, got {'a': 1} (--set deflicker.steps)"),
        ("inversion.keep=some", "inversion.keep must match ^(last|all|every_[1-9][0-9]*)$, got 'some'"),
        ("attention.pattern=0,next", "must be 'first' or a frame offset such as -1, 0, +1, got 'next'"),
        (
            "start=inverte",
            "start must be one of noise, noised, inverted, got 'inverte'; did you mean inverted? (--set start)",
        ),
        ("model.controls.4.kind=tile", "model.controls.4.kind: '4' is no place in a list of 2"),
        ("seed=[", "--set seed: '[' is not a YAML value"),
        ("seed", "--set needs key=value, got 'seed'"),
        ("=3", "--set needs key=value, got '=3'"),
        ("style=watercolour", "style 'watercolour' does not exist; did you mean watercolor? (--set style)"),
    ],
)
def test_a_bad_set_names_key_rule_value_and_itself(sets: str, sentence: str) -> None:
    said = refusal(sets=[sets], flags=PROMPT).replace("; got", ", got")
    assert sentence in said


def test_a_flag_is_named_as_it_was_typed() -> None:
    assert refusal(flags={**PROMPT, "seed": -1}) == "seed must be >= 0, got -1 (--seed)"


def test_nothing_to_do_is_refused() -> None:
    assert refusal() == "give at least one of `prompt` and `style`, or a `reference` picture"


def test_an_unknown_preset_suggests_the_nearest() -> None:
    assert refusal(preset="pockt") == "preset 'pockt' does not exist; did you mean pocket?"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n- b\n", "must be a mapping of job keys, got a list"),
        ("prompt: [\n", "is not valid YAML"),
        ("prompt: a\nprompt: b\n", "prompt is given twice; keep one (job.yaml:2)"),
        ("preset: [a]\n", "preset must be a name, got ['a'] (job.yaml:1)"),
    ],
)
def test_a_job_file_that_is_none_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    assert sentence in refusal(config_path=written(tmp_path, text))


def test_a_missing_job_file_is_named(tmp_path: Path) -> None:
    assert "nowhere.yaml: cannot be read (No such file or directory)" in refusal(config_path=tmp_path / "nowhere.yaml")


def test_an_empty_job_file_changes_nothing(tmp_path: Path) -> None:
    assert build_job("dry", written(tmp_path, "# nothing\n"), (), PROMPT) == build_job("dry", None, (), PROMPT)


@pytest.mark.parametrize("start", ["noise", "inverted"])
def test_strength_where_it_would_do_nothing_is_refused(start: str) -> None:
    assert "strength 0.5 needs start=noised" in refusal(sets=["strength=0.5", f"start={start}"], flags=PROMPT)
    assert build_job("pocket", None, ["strength=0.5", "start=noised"], PROMPT).strength == 0.5


def test_strength_alone_means_the_noised_source(tmp_path: Path) -> None:
    assert build_job("pocket", None, ["strength=0.5"], PROMPT).start == "noised"
    assert build_job("pocket", written(tmp_path, "strength: 0.5\n"), (), PROMPT).start == "noised"
    assert build_job("pocket", None, ["strength=1.0"], PROMPT).start == "noise"
    assert build_job("restore", None, ["num_inference_steps=4"], PROMPT).start == "noised"


def test_trimmed_blending_needs_the_naive_mode() -> None:
    with pytest.raises(ConfigError, match="trimmed looks at frames one by one"):
        build_job("pocket", None, ["deflicker.operator=trimmed"], PROMPT)
    both = ["deflicker.operator=trimmed", "deflicker.mode=naive"]
    assert build_job("pocket", None, both, PROMPT).deflicker.operator == "trimmed"
