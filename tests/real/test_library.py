"""Bar 1: a library on S3 and PostgreSQL, two workers: what is good is done, what is broken dies well and comes back.

A slice of it here; `python -m tests.real.bar1` runs it whole (40 generated videos, the real ones, 6 broken).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from flows.dead import dead_letters
from tasks.store import Store
from tests.real.nights import Library, Nights, Told, expected_errors, name_of, spend_nights
from tests.real.parts import BUCKET, found_here, postgres_program

CLIPS = int(os.environ.get("STEADYFRAME_BAR1_CLIPS", "8"))
REAL = "STEADYFRAME_BAR1_CLIPS" in os.environ
pytestmark = pytest.mark.timeout(3600 if REAL else 900)  # five command lines; the fixture counts for its first test


@pytest.fixture(scope="module")
def environment(postgres_api: str, s3_environment: dict[str, str]) -> dict[str, str]:
    """For the commands: where Prefect and S3 are."""
    return {**s3_environment, "PREFECT_API_URL": postgres_api, "DO_NOT_TRACK": "1"}


@pytest.fixture(scope="module")
def nights(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Nights:
    library = Library(tmp_path_factory.mktemp("nights"), f"s3://{BUCKET}/nights")
    with found_here(environment):
        library.write(CLIPS, REAL)
        return spend_nights(library, environment)


def test_all_good_videos_are_done_and_six_are_dead(nights: Nights) -> None:
    first, facts = nights.first, nights.first.result["library"]
    assert (first.code, first.result["status"]) == (3, "partial")
    assert sorted(name_of(o["source"]) for o in first.result["outputs"]) == sorted(nights.library.good)
    assert (facts["computed"], facts["dead"], facts["waiting"]) == (len(nights.library.good), 6, 0)
    assert facts["most_in_flight"] == 2
    assert all(Path(o["uri"]).stat().st_size > 0 and Path(o["report"]).exists() for o in first.result["outputs"])


def test_each_broken_video_dies_of_the_right_error_in_clear_words(nights: Nights) -> None:
    for night in (nights.first, nights.second):
        said = night.errors()
        assert {name: kind for name, (kind, _) in said.items()} == {
            n: kind for n, (kind, _) in expected_errors().items()
        }
        for name, (_, words) in expected_errors().items():
            assert words in said[name][1]
            assert name in said[name][1]


def test_the_second_night_computes_nothing(nights: Nights) -> None:
    facts = nights.second.result["library"]
    assert (facts["computed"], facts["reused"], facts["dead"]) == (0, len(nights.library.good), 6)
    assert facts["dead_before"] == 6, "nothing about the broken ones changed either"
    assert nights.second.statuses() == {"reused"}
    assert nights.second.result["window_steps"]["computed"] == 0
    assert digests(nights.second) == digests(nights.first)


def test_the_replay_after_the_repair_completes_just_those(nights: Nights) -> None:
    replayed = nights.replayed.result
    assert (nights.replayed.code, replayed["status"], replayed["errors"]) == (0, "completed", [])
    assert sorted(name_of(o["source"]) for o in replayed["outputs"]) == sorted(nights.library.broken)
    assert {letter["outcome"] for letter in replayed["letters"]} == {"worked"}
    assert {letter["failure"] for letter in replayed["letters"]} == {"poison"}
    assert len(replayed["letters"]) == 6, "of the night they died in: the second did not try them"
    assert (nights.nothing.code, nights.nothing.result["letters"]) == (0, [])


def test_after_the_replay_the_library_is_whole(nights: Nights) -> None:
    facts = nights.third.result["library"]
    assert (nights.third.code, nights.third.result["status"]) == (0, "reused")
    assert (facts["computed"], facts["dead"]) == (0, 0)
    assert facts["reused"] == facts["videos"] == len(nights.library.good) + 6
    assert nights.third.result["window_steps"]["computed"] == 0


def test_dead_letters_are_kept_and_buried(nights: Nights, s3_set: None) -> None:
    store = Store.attach(nights.library.store)
    letters = list(dead_letters(store, buried=True))
    assert list(dead_letters(store)) == []
    assert len(letters) == 6
    assert {letter.buried_by for letter in letters} == {nights.replayed.result["job"]}


def test_prefect_keeps_its_records_in_postgres(nights: Nights, database: str) -> None:
    """A flow run for each video that had to run: the good ones once, the broken ones once and in the replay.

    On the third night, what a replay finished on S3 is asked once more by a run, whose stages are all found.
    """
    good, on_s3 = len(nights.library.good), len(nights.library.broken_on_s3)
    named = "select count(*) from flow_run r join flow f on f.id = r.flow_id where f.name = 'restyle-video'"
    assert asked(database, named) == str(good + 6 + 6 + on_s3)
    assert asked(database, f"{named} and r.state_type = 'FAILED'") == "6"
    assert asked(database, f"{named} and r.state_name = 'Completed'") == str(good + 6)
    assert asked(database, f"{named} and r.state_name = 'Reused'") == str(on_s3)


def test_no_secret_is_anywhere(nights: Nights, environment: dict[str, str], database: str, s3_set: None) -> None:
    """The S3 key and PostgreSQL's password: in no object, result, report, log, run or parameter."""
    secrets = (environment["AWS_SECRET_ACCESS_KEY"], database.partition(":")[2].partition("@")[0])
    told = [night.log + str(night.result) for night in nights.all]
    bucket = S3FileSystem()
    objects = bucket.cat(bucket.find(nights.library.url)).values()
    kept = [data.decode(errors="ignore") for data in objects]
    left = [p.read_text(errors="ignore") for p in nights.library.folder.rglob("*") if p.is_file()]
    dump = subprocess.run([postgres_program("pg_dump"), f"postgresql://{database}"], capture_output=True, text=True)
    assert "restyle-video" in dump.stdout
    for secret in secrets:
        assert len(secret) > 20
        assert not any(secret in text for text in (*told, *kept, *left, dump.stdout))


def digests(night: Told) -> dict[str, tuple[str, str]]:
    return {o["source"]: (o["latents_digest"], o["rgb_digest"]) for o in night.result["outputs"]}


def asked(database: str, query: str) -> str:
    """The one value of a query, by PostgreSQL's own client."""
    command = [postgres_program("psql"), "-At", "-c", query, f"postgresql://{database}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
