"""Dead letters: exact inputs, cause, count of tries; what is withheld; what a broken one does."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from configs.deflicker_job import DeflickerJob
from configs.errors import ConfigError, StoreError, UnreadableVideo
from configs.job import DeflickerConfig, RestyleJob
from flows.dead import DeadLetter, bury, dead_letters, died_again, write_dead
from tasks.store import Store

BAD = UnreadableVideo("a.mp4: not a video; check the file")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), workers=0)


def die(store: Store, job: RestyleJob | DeflickerJob, error: BaseException = BAD, source: str = "a.mp4") -> DeadLetter:
    path = write_dead(store, job_id="j1", job=job, source=source, relative="in/side", error=error, attempt=1)
    (letter,) = [found for found in dead_letters(store, "j1") if found.path == path]
    return letter


def bug() -> Exception:
    try:
        {}["nothing"]
    except KeyError as error:
        return error
    raise AssertionError


def test_a_letter_gives_back_exactly_the_job_of_its_video(store: Store) -> None:
    job = RestyleJob(
        sources=("a.mp4", "b.mp4"), style="oil", seed=7, deflicker=DeflickerConfig(steps=(0.25, 1.0), detail=0.1)
    )
    letter = die(store, job)
    assert letter.restore() == job.model_copy(update={"sources": ("a.mp4",)})
    assert (letter.source, letter.relative, letter.attempt) == ("a.mp4", "in/side", 1)
    assert (letter.failure, letter.exception, letter.message) == ("poison", "UnreadableVideo", str(BAD))
    assert letter.traceback == ""
    assert letter.versions["steadyframe"]


def test_a_deflicker_job_comes_back_too(store: Store) -> None:
    job = DeflickerJob(source="a.mp4", guide="g.mp4", deflicker=DeflickerConfig(window=3))
    again = die(store, job).restore()
    assert isinstance(again, DeflickerJob)
    assert again.model_dump() == job.model_dump()


def test_a_bug_keeps_its_traceback(store: Store) -> None:
    letter = die(store, RestyleJob(style="oil"), bug())
    assert letter.failure == "bug"
    assert "KeyError: 'nothing'" in letter.traceback
    assert "in bug" in letter.traceback


def test_tries_are_counted_and_the_earlier_ones_kept(store: Store) -> None:
    first = die(store, RestyleJob(style="oil"))
    second = died_again(store, first, ConnectionResetError("gone"))
    assert list(dead_letters(store)) == [second]
    assert (second.attempt, second.failure, second.path) == (2, "transient", first.path)
    assert [(try_.attempt, try_.failure, try_.message) for try_ in second.earlier] == [(1, "poison", str(BAD))]
    assert second.restore() == first.restore()


def test_a_buried_letter_is_kept_and_no_longer_waits(store: Store) -> None:
    letter = die(store, RestyleJob(style="oil"))
    bury(store, letter, by="j2")
    assert list(dead_letters(store)) == []
    (kept,) = dead_letters(store, buried=True)
    assert (kept.path, kept.buried_by) == (letter.path, "j2")
    assert kept.buried is not None


def test_letters_of_two_nights_with_the_same_inputs_are_told_by_it(store: Store) -> None:
    job = RestyleJob(style="oil", sources=("a.mp4", "b.mp4"))
    later = job.model_copy(update={"sources": ("a.mp4",)})
    for night, given in (("n1", job), ("n2", later), ("n3", later.model_copy(update={"seed": 1}))):
        write_dead(store, job_id=night, job=given, source="a.mp4", relative="", error=BAD, attempt=1)
    first, second, other = dead_letters(store)
    assert first.inputs == second.inputs != other.inputs


PLANTED = ["hunter2hunter2", "AKIAIOSFODNN7EXAMPLE", "c2lnbmVkLXF1ZXJ5", "wJalrXUtnFEMIK7MDENGbPxRfiCY"]


def test_no_secret_is_in_a_letter(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED[3])
    source = f"https://me:{PLANTED[0]}@host/clip.mp4?X-Amz-Signature={PLANTED[2]}&X-Amz-Credential={PLANTED[1]}"
    try:
        raise RuntimeError(f"GET {source} with {PLANTED[3]}")
    except RuntimeError as error:
        letter = die(store, RestyleJob(style="oil", sources=(source,)), error, source)
    path = write_dead(
        store, job_id="j1", job={"sources": [source]}, source=source, relative="", error=BAD, attempt=1,
        sidecar={"reference": source},
    )  # fmt: skip
    for where in (letter.path, path):
        text = store.blobs.get(where).decode()
        assert [secret for secret in PLANTED if secret in text] == []
        assert "clip.mp4" in text
    assert "RuntimeError" in letter.traceback


def test_a_letter_whose_input_was_withheld_is_not_run_with_less(store: Store) -> None:
    letter = die(store, RestyleJob(style="oil"), source="https://me:hunter2hunter2@host/clip.mp4")
    assert letter.withheld == ("sources",)
    with pytest.raises(ConfigError, match=r"clip\.mp4: sources held a secret.*again, with the secret"):
        letter.restore()


def test_a_job_of_another_version_is_refused_with_its_key(store: Store) -> None:
    letter = die(store, RestyleJob(style="oil"))
    changed = letter.model_copy(update={"job": {**letter.job, "no_longer_there": 1}})
    with pytest.raises(ConfigError, match=r"not one of this version \(no_longer_there"):
        changed.restore()


def test_a_letter_that_cannot_be_written_is_a_warning(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise StoreError("no space left; free some")

    monkeypatch.setattr(Store, "write_record", full)
    with caplog.at_level(logging.WARNING):
        path = write_dead(
            store, job_id="j1", job=RestyleJob(style="oil"), source="a.mp4", relative="", error=BAD, attempt=1
        )
    assert path == ""
    assert "a.mp4: its dead letter could not be kept: no space left" in caplog.text


def test_a_torn_letter_is_absent(store: Store) -> None:
    letter = die(store, RestyleJob(style="oil"))
    store.blobs.put("dead/j1/torn.json", json.dumps({"half": 1}).encode()[:-3])
    store.blobs.put("dead/j1/strange.json", b"[]")
    assert list(dead_letters(store)) == [letter]
