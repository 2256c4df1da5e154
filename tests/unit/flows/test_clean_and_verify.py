"""`clean` and `verify` on the command line: what they print, what they do, and what a rerun finds afterwards."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner

from configs.job import RestyleJob
from flows.cli import main
from flows.maintenance import Keeping, clean, verify
from flows.records import write_job, write_result
from flows.result import JobResult
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Progress, Run, VideoResult
from tasks.store import Lease, StageKey, Store
from tasks.store.audit import Which
from tasks.store.blobs import Blobs
from tasks.store.retention import DAY, HOUR, Policy
from tasks.store.steps import StepLog
from tasks.store.survey import survey

EVERYTHING = ("--older-than", "0s", "--keep-last", "0", "--grace", "0s", "--unfinished", "0s", "--jobs", "0s")


def run(command: str, store: Store | str, *arguments: str) -> tuple[int, dict[str, Any]]:
    url = store if isinstance(store, str) else store.url
    done = CliRunner().invoke(main, [command, "--store", url, *arguments, "--json"])
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), workers=0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    rng = np.random.default_rng(1)
    big = rng.integers(0, 255, (12, 32, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(6):
            picture = np.ascontiguousarray(np.roll(big, n, axis=1)[:, :64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


Restyle = Callable[..., VideoResult]


@pytest.fixture
def restyle(clip: Path, store: Store, tmp_path: Path) -> Restyle:
    """Restyle the clip with the dry backbone and leave the records that a job leaves."""
    count = iter(range(100))

    def run_one(observe: Callable[[Progress], None] = lambda progress: None, **changes: Any) -> VideoResult:
        job = RestyleJob.model_validate(
            {
                "sources": (str(clip),),
                "prompt": "x",
                "model": {"path": "dry"},
                "num_inference_steps": 2,
                "start": "inverted",
                "inversion": {"num_inference_steps": 2},
                "window": {"size": 4},
                "deflicker": {"window": 2},
                "working_size": 64,
                "out": str(tmp_path / "out"),
                **changes,
            }
        )
        name = f"20261121-0000{next(count):02}-abcdef"
        write_job(store, name, job)
        with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
            done = restyle_video(Run(job, str(clip), store, engines, observe=observe))
        write_result(
            store, JobResult(job=name, method="restyle", status="completed", outputs=[done.output], stages=done.stages)
        )
        return done

    return run_one


def aged(store: Store, seconds: float) -> None:
    """Make everything in a local store look so much older."""
    for path in store.blobs.list():
        file = store.blobs.local_path(path)
        assert file is not None
        then = file.stat().st_mtime - seconds
        if path.endswith("/manifest.json"):
            told = json.loads(file.read_text())
            file.write_text(json.dumps({**told, "created": told["created"] - seconds}))
        os.utime(file, (then, then))


def digests(result: VideoResult) -> tuple[str, str]:
    return result.output.latents_digest, result.output.rgb_digest


def test_first_a_dry_run_then_the_same_with_yes(restyle: Restyle, store: Store) -> None:
    first = restyle()
    before = store.blobs.sizes()
    code, dry = run("clean", store, *EVERYTHING)
    assert (code, dry["status"], dry["dry_run"]) == (0, "completed", True)
    assert {"denoise", "encode", "correspond", "jobs"} <= dry["by_stage"].keys()
    assert dry["bytes"] == sum(row["bytes"] for row in dry["by_stage"].values())
    assert store.blobs.sizes() == before, "a dry run changes nothing"
    code, done = run("clean", store, *EVERYTHING, "--yes")
    assert (code, done["dry_run"], done["bytes"]) == (0, False, dry["bytes"])
    assert store.blobs.sizes() == {}
    assert Path(first.output.uri).is_file(), "outputs are the user's"
    again = restyle()
    assert {stage.status for stage in again.stages} == {"computed"}
    assert digests(again) == digests(first)


def test_by_default_finished_work_stays(restyle: Restyle, store: Store) -> None:
    restyle()
    aged(store, 60 * DAY)
    assert run("clean", store)[1]["by_stage"].keys() <= {"invert", "leases"}, "steps of inversion, old leases"
    text = CliRunner().invoke(main, ["clean", "--store", store.url]).stdout
    assert "--older-than or --max-bytes" in text
    assert "with --yes" in text


def test_the_newest_result_of_a_source_stays_whole(restyle: Restyle, store: Store) -> None:
    first, second = restyle(), restyle(prompt="y")
    aged(store, 60 * DAY)
    code, _ = run("clean", store, "--older-than", "30d", "--yes")
    assert code == 0
    assert {stage.status for stage in restyle(prompt="y").stages} == {"reused"}
    again = restyle()
    statuses = {stage.stage: stage.status for stage in again.stages}
    assert statuses["denoise"] == "computed"
    assert statuses["correspond"] == statuses["condition"] == "reused", "the kept result was made from them too"
    assert digests(again) == digests(first) != digests(second)


def test_outputs_that_are_still_there_keep_what_they_were_made_from(restyle: Restyle, store: Store) -> None:
    first, second = restyle(), restyle(prompt="y")
    aged(store, 60 * DAY)
    Path(second.output.uri).unlink()
    run("clean", store, "--older-than", "30d", "--keep-last", "0", "--keep-outputs", "--yes")
    assert store.lookup(StageKey("encode", first.output.key, {}))
    assert store.lookup(StageKey("encode", second.output.key, {})) is None


def test_outputs_behind_an_address_are_looked_for_and_read_there(restyle: Restyle, store: Store) -> None:
    results = Blobs("memory://clean-and-verify-out")
    first, second = restyle(out=results.url), restyle(out=results.url, prompt="y")
    kept, gone = (done.output.uri.removeprefix(f"{results.url}/") for done in (first, second))
    pixels = results.get(kept)
    results.delete(gone)
    code, found = run("verify", store)
    assert (code, found["checked_outputs"], found["changed_outputs"]) == (0, 1, [])
    results.put(kept, b"edited")
    assert run("verify", store, "--repair")[1]["changed_outputs"] == [first.output.uri]
    assert (results.get(kept), results.get(f"{kept}.damaged")) == (pixels, b"edited")
    aged(store, 60 * DAY)
    run("clean", store, "--older-than", "30d", "--keep-last", "0", "--keep-outputs", "--yes")
    assert store.lookup(StageKey("encode", first.output.key, {}))
    assert store.lookup(StageKey("encode", second.output.key, {})) is None


def test_a_use_by_a_later_job_counts_as_young(restyle: Restyle, store: Store) -> None:
    first = restyle()
    aged(store, 60 * DAY)
    restyle(prompt="y")  # finds the inversion, and much else, of 60 days ago
    run("clean", store, "--older-than", "30d", "--keep-last", "0", "--yes")
    kept = {found.stage for found in survey(store).artifacts.values()}
    assert {"probe", "decode", "condition", "invert", "correspond", "denoise"} <= kept
    assert store.lookup(StageKey("encode", first.output.key, {})) is None


@pytest.mark.parametrize("stage", ["invert", "denoise"])
def test_beside_a_running_job_nothing_it_uses_goes(restyle: Restyle, store: Store, stage: str) -> None:
    """Cleaned with no mercy in the middle of a stage, on top of what it found from months ago: the run goes on."""
    undisturbed = restyle(prompt="y")
    other = restyle(prompt="z", seed=5, inversion={"num_inference_steps": 3})
    for kind in ("denoise", "encode", "evaluate", "report", *(("invert",) if stage == "invert" else ())):
        for key in [s.key for s in undisturbed.stages if s.stage == kind]:
            store.refresh(StageKey(kind, key, {}))
    aged(store, 60 * DAY)
    cleaned: list[Any] = []

    def clean_now(progress: Progress) -> None:
        if progress.stage == stage and 0 < progress.done < progress.total:
            policy = Policy(older_than=0.0, max_bytes=0, grace=0.0, unfinished=0.0, leases=0.0)
            cleaned.append(clean(store, policy, Keeping(last=0, jobs=0.0, dead=0.0), dry=False))

    run_beside = restyle(clean_now, prompt="y")
    assert digests(run_beside) == digests(undisturbed)
    assert cleaned[0].plan.in_use >= 3
    assert cleaned[0].removed.bytes > 0
    assert store.lookup(StageKey("encode", other.output.key, {})) is None, "what nobody used went"
    found = {s.stage: s.status for s in run_beside.stages}
    assert found["probe"] == found["condition"] == "reused"
    assert verify(store, Which()).whole


def test_cleaned_at_every_sign_of_life_a_run_ends_or_says_so_and_a_rerun_is_the_same(
    restyle: Restyle, store: Store
) -> None:
    from configs.errors import SteadyframeError

    undisturbed = restyle()
    policy = Policy(older_than=0.0, max_bytes=0, grace=0.0, unfinished=0.0, leases=0.0)

    def clean_now(progress: Progress) -> None:
        clean(store, policy, Keeping(last=0, jobs=0.0, dead=0.0), dry=False)
        assert verify(store, Which()).whole

    try:
        assert digests(restyle(clean_now)) == digests(undisturbed)
    except SteadyframeError as error:
        assert "run the same command again" in str(error)  # noqa: PT017
    assert digests(restyle()) == digests(undisturbed)


def test_steps_that_a_killed_run_can_go_on_from_stay_a_while(restyle: Restyle, store: Store) -> None:
    done = restyle()
    (denoise,) = (stage for stage in done.stages if stage.stage == "denoise")
    store.forget(StageKey("denoise", denoise.key, {}))
    StepLog(store, denoise.key).write(1, 0, b"state")
    aged(store, 6 * DAY)
    run("clean", store, "--yes")
    assert store.blobs.list(f"steps/{denoise.key}")
    aged(store, 2 * DAY)
    run("clean", store, "--yes")
    assert store.blobs.list(f"steps/{denoise.key}") == []


def test_old_records_go_but_not_those_that_say_what_is_kept(store: Store) -> None:
    def record(name: str, source: str) -> None:
        output = {"source": source, "uri": "/nowhere", "key": "ab" * 16}
        stages = [{"source": source, "stage": "encode", "key": "ab" * 16}]
        store.write_record(f"jobs/{name}/result.json", {"outputs": [output], "stages": stages})

    record("20260101-000000-aaaaaa", "a.mp4")
    store.write_record("jobs/20260102-000000-bbbbbb/job.json", {})
    for name, buried in (("waiting", None), ("replayed", "2026-01-01T00:00:00+00:00")):
        store.write_record(f"dead/20260102-000000-bbbbbb/{name}.json", {"buried": buried})
    aged(store, 100 * DAY)
    run("clean", store, "--yes")
    assert store.blobs.list("jobs") == ["jobs/20260101-000000-aaaaaa/result.json"]
    assert store.blobs.list("dead") == ["dead/20260102-000000-bbbbbb/waiting.json"]
    run("clean", store, "--yes", "--keep-last", "0")
    aged(store, 100 * DAY)
    assert store.blobs.list("jobs") == []
    run("clean", store, "--yes")
    assert store.blobs.list() == []


def test_the_limit_on_size_is_reported_when_it_cannot_be_met(restyle: Restyle, store: Store) -> None:
    restyle()
    code, found = run("clean", store, "--max-bytes", "1kB", "--grace", "0s")
    assert code == 0
    assert found["over_limit"] > 1000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--older-than", "soon"), "30d"),
        (("--max-bytes", "much"), "200GB"),
        (("--stage", "denose"), "denoise"),
        (("--keep-stage", "denose"), "denoise"),
    ],
)
def test_bad_arguments_are_one_clear_error(store: Store, arguments: tuple[str, ...], says: str) -> None:
    store.publish(StageKey("denoise", "ab" * 16, {}), [])
    code, found = run("clean", store, *arguments)
    assert (code, len(found["errors"])) == (2, 1)
    assert arguments[1] in found["errors"][0]["message"]
    assert says in found["errors"][0]["message"]


def damage(store: Store, prefix: str, ending: str = "") -> str:
    """Change one byte of the first object there, keeping its size."""
    path = next(p for p in store.blobs.list(prefix) if p.endswith(ending) and not p.endswith(".json"))
    data = store.blobs.get(path)
    store.blobs.put(path, bytes([data[0] ^ 1]) + data[1:])
    return path


def test_verify_finds_every_kind_of_damage_and_repair_ends_it(restyle: Restyle, store: Store) -> None:
    first = restyle()
    (inverted,) = (stage for stage in first.stages if stage.stage == "invert")
    assert run("verify", store)[0] == 0
    damage(store, "stages/condition")
    damage(store, "pairs", ".parquet")
    damage(store, f"steps/{inverted.key}")
    Path(first.output.uri).write_bytes(b"?" * Path(first.output.uri).stat().st_size)
    (probe,) = store.manifests("probe")
    store.blobs.put(f"{store.folder(probe)}/manifest.json", b"{ torn")
    code, found = run("verify", store)
    assert (code, found["status"]) == (3, "partial")
    assert sorted(name.split()[0] for name in found["damaged"]) == ["condition", "correspond", "probe", "steps"]
    assert found["changed_outputs"] == [first.output.uri]
    assert len(found["errors"]) == 5
    assert found["repaired"] == 0
    code, mended = run("verify", store, "--repair")
    assert (code, mended["repaired"]) == (3, 5), "what was found is told once more"
    assert run("verify", store)[0] == 0
    assert Path(f"{first.output.uri}.damaged").read_bytes()[:3] == b"???", "it may have been somebody's own edit"
    again = restyle()
    statuses = {stage.stage: stage.status for stage in again.stages}
    assert statuses["probe"] == statuses["condition"] == statuses["correspond"] == "computed"
    assert digests(again) == digests(first)


def test_verify_leaves_what_a_running_job_holds(store: Store) -> None:
    key = StageKey("denoise", "ab" * 16, {})
    store.publish(key, [store.write_part(key, "a", b"whole")])
    damage(store, store.folder(key))
    with Lease.acquire(store, key):
        _, found = run("verify", store, "--repair")
        assert (found["repaired"], found["in_use"]) == (0, [f"denoise {key.key}"])
        assert store.lookup(key), "untouched"
    assert run("verify", store, "--repair")[1]["repaired"] == 1
    assert survey(store).artifacts == {}


def test_verify_by_stage_age_and_day(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(16):
        key = StageKey("denoise" if n else "probe", f"{n:08x}" + "0" * 24, {})
        store.publish(key, [store.write_part(key, "a", bytes([n]))])
    assert run("verify", store)[1]["artifacts"] == 16
    assert run("verify", store, "--stage", "probe")[1]["artifacts"] == 1
    assert run("verify", store, "--newer-than", "1h")[1]["artifacts"] == 16
    assert run("verify", store, "--older-than", "1h")[1]["artifacts"] == 0
    counts = []
    for day in range(4):
        monkeypatch.setattr("tasks.store.audit.store_time", lambda store, day=day: time.time() + day * DAY)
        counts.append(run("verify", store, "--nth", "4")[1]["artifacts"])
    assert counts == [4, 4, 4, 4], "four days read it all"


def test_both_work_in_memory(restyle: Restyle) -> None:
    store = Store.open("memory://clean-and-verify", workers=0)
    key = StageKey("denoise", "ab" * 16, {})
    store.publish(key, [store.write_part(key, "a", b"whole")])
    assert verify(store, Which()).artifacts == 1
    damage(store, store.folder(key))
    assert [torn.name for torn in verify(store, Which(), repair=True).torn] == [f"denoise {key.key}"]
    store.publish(key, [store.write_part(key, "a", b"whole")])
    done = clean(store, Policy(older_than=0.0, grace=0.0), Keeping(last=0), dry=False)
    assert done.removed is not None
    assert done.removed.bytes > 0
    assert store.blobs.list() == []


def test_a_grace_of_an_hour_is_the_default(restyle: Restyle, store: Store) -> None:
    restyle()
    assert run("clean", store, "--older-than", "0s", "--keep-last", "0")[1]["items"] == 0
    aged(store, HOUR + 60)
    assert run("clean", store, "--older-than", "0s", "--keep-last", "0")[1]["items"] > 5
