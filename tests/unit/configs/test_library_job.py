"""Library jobs: from a file and flags, sidecars over them, names of results, and the run form."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.form import form_schema_violations
from configs.form_library import LibraryForm
from configs.library_layers import build_library, read_sidecar, video_job
from configs.naming import DEFAULT_NAMING, check_naming, refuse_same_names, result_name

NAMED = {"style": "oil", "prompt": None, "key": "0123456789", "ext": "mp4", "date": "2026-11-21"}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_file_config_sets_flags_and_sidecar_lie_over_each_other(tmp_path: Path) -> None:
    file = write(
        tmp_path / "night.yaml",
        "sources: clips\npreset: dry\nmax_in_flight: 3\nsettings: {style: oil, deflicker.window: 1, seed: 1}\n",
    )
    more = write(tmp_path / "more.yaml", "num_inference_steps: 2\nseed: 2\n")
    job = build_library(file, (), more, ["seed=3", "include=*.mp4,*.mov", "max_in_flight=4"], {"style": "neon"})
    assert (job.sources, job.include, job.max_in_flight) == (("clips",), ("*.mp4", "*.mov"), 4)
    base = video_job(job)
    assert (base.style, base.seed, base.num_inference_steps, base.deflicker.window) == ("neon", 3, 2, 1)
    own = video_job(job, read_sidecar("seed: 4\nshots: {2: {style: night}}\n", "/x/clip.mp4.yaml"))
    assert (own.seed, own.style, own.shots["2"].style) == (4, "neon", "night")
    assert own.model == base.model


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("preset: dry\n", "sources is missing"),
        ("sources: a\nsettings: {style: oil, stepz: 3}\n", r"unknown key stepz.*lib.yaml:2"),
        ("sources: a\nmax_in_fligt: 3\n", r"unknown key max_in_fligt; did you mean max_in_flight\? \(lib.yaml:2\)"),
        ("sources: a\nfailed_share: 2\n", r"failed_share must be <= 1, got 2 \(lib.yaml:2\)"),
        ("sources: a\nsettings: {out: b}\n", "out is the library's own key"),
        ("sources: a\nout: ' '\n", "out: must be a folder or a URL"),
        ("sources: a\nnaming: '{stem}/../../x'\n", "naming: must stay below the output folder"),
        ("sources: []\n", "sources: must name at least one"),
        ("sources: a\nsettings: 3\n", "settings must be a mapping"),
        ("sources: a\n1: 3\n", "keys must be words"),
    ],
)
def test_a_bad_library_file_is_one_clear_error(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "lib.yaml", text if "settings" in text else text + "settings: {style: oil}\n")
    with pytest.raises(ConfigError, match=said):
        build_library(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: -1", r"seed must be >= 0, got -1 \(clip.mp4.yaml:1\)"),
        ("style: neonn", "style 'neonn' does not exist"),
        ("sources: [x]", "clip.mp4.yaml: sources is the library's own key"),
        ("seed: [", "clip.mp4.yaml: is not valid YAML"),
        ("- 1", "must be a mapping of job keys"),
    ],
)
def test_a_bad_sidecar_names_its_file(text: str, said: str) -> None:
    job = build_library(None, ["a"], flags={"style": "oil", "preset": "dry"})
    with pytest.raises(ConfigError, match=said):
        video_job(job, read_sidecar(text, "/far/clip.mp4.yaml"))


def test_patterns_and_priorities() -> None:
    job = build_library(
        None,
        ["a"],
        sets=["include=*.mp4,trailers/*", "exclude=drafts/*", "priorities={'*.mp4': 1, 'trailers/*': 5}"],
        flags={"style": "oil"},
    )
    taken = [p for p in ("a.mp4", "x/y/b.mp4", "trailers/c.mov", "c.mov", "drafts/z/d.mp4") if job.wants(p)]
    assert taken == ["a.mp4", "x/y/b.mp4", "trailers/c.mov"]
    assert [job.priority(p) for p in ("a.mp4", "trailers/c.mp4", "c.mov")] == [1, 5, 0]


def test_the_default_template_is_the_name_that_results_always_had() -> None:
    assert result_name(DEFAULT_NAMING, "/in/clip.mov", "a/b", **NAMED) == "a/b/clip--oil--01234567.mp4"
    assert result_name(DEFAULT_NAMING, "/in/clip.mov", "", **NAMED) == "clip--oil--01234567.mp4"
    assert result_name("{date}/{style}/{stem}", "s3://b/clip.mov?x=1", "q", **NAMED) == "2026-11-21/oil/clip.mp4"


@pytest.mark.parametrize(
    "template", ["../{stem}", "/{stem}", "a/../{stem}", "C:\\{stem}", "{stem}//{key8}", "a/./{stem}"]
)
def test_a_template_cannot_leave_the_output_folder(template: str) -> None:
    with pytest.raises(ValueError, match="must stay below the output folder"):
        check_naming(template)


@pytest.mark.parametrize(
    ("source", "relative"), [("/in/..", "../.."), ("..\\..\\x.mp4", "/etc"), ("/a/...mp4", "a/../..")]
)
def test_names_of_sources_cannot_leave_it_either(source: str, relative: str) -> None:
    name = result_name("{relative}/{stem}--{key8}", source, relative, **NAMED)
    assert not name.startswith("/")
    assert ".." not in name.split("/")


@pytest.mark.parametrize("template", ["{stem!r}", "{stem:>9}", "{stem.__class__}", "{key}", "{", "x"])
def test_only_plain_fields_and_at_least_one_that_tells_apart(template: str) -> None:
    with pytest.raises(ValueError, match=r"knows no field|is not a template|give many videos one name"):
        check_naming(template)


def test_two_results_of_one_name_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"gives a/x.mp4 and b/X.mp4 the same name X"):
        refuse_same_names("{stem}", [("a/x.mp4", "x"), ("b/X.mp4", "X")])
    refuse_same_names("{stem}-{key8}", [("a/x.mp4", "x-"), ("b/x.mp4", "x-")])


def test_the_form_can_be_sent_untouched_and_lets_a_file_speak(tmp_path: Path) -> None:
    assert form_schema_violations(LibraryForm.model_json_schema()) == []
    assert LibraryForm().to_job().sources == ("demo",)
    file = write(tmp_path / "lib.yaml", "sources: [clips]\nmax_in_flight: 7\nsettings: {style: oil, seed: 5}\n")
    seen: list[str] = []
    job = LibraryForm(job_file=str(file), seed=6, settings=["max_bytes_in_flight=1GB"]).to_job(seen.append)
    assert seen == [str(file)]
    assert (job.sources, job.max_in_flight, job.settings["style"], job.settings["seed"]) == (("clips",), 7, "oil", 6)
    assert int(job.max_bytes_in_flight) == 10**9
