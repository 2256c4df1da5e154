"""Stage `correspond`: which pairs, matched how, under which name; nothing half done is ever taken for whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from configs.errors import Interrupted
from configs.job import DeflickerConfig, RestyleJob
from configs.overrides import build_job
from flows import api
from flows.cli import main
from models.flow_match import flow_match, unmatched
from models.frame_match import frame_match
from models.patchmatch import nnf
from models.sampling import Window, windows_of
from models.tables import pairs_for_window
from tasks import correspond as stage
from tasks import matcher as matching
from tasks.correspond import correspond, correspond_key, packs_name, pairs_asked, pairs_base
from tasks.decode import decode, index_of
from tasks.guide_frames import GuideFrames
from tasks.matches import StoredMatches, folders, restored, shortened
from tasks.probe import facts_of, probe
from tasks.run import Run
from tasks.shot import Shot
from tasks.store import Store, stage_key
from tasks.store.pairs import PairPacks
from tasks.video.frames import FrameReader
from tests.benchmarks.clips import write_exactly

FRAMES, WINDOW = 10, 4


@dataclass(frozen=True)
class Ready:
    """A decoded clip of one shot, and a run whose job may be changed."""

    run: Run
    shot: Shot

    def asking(self, **deflicker: Any) -> Run:
        config = self.run.job.deflicker.model_copy(update=deflicker)
        return replace(self.run, job=self.run.job.model_copy(update={"deflicker": config}))

    def frames(self) -> np.ndarray[Any, Any]:
        with FrameReader(self.shot.path, self.shot.facts, self.shot.index, self.shot.size) as reader:
            return np.asarray(reader.read(0, FRAMES))


@pytest.fixture
def ready(tmp_path: Path) -> Ready:
    big = np.random.default_rng(1).integers(0, 255, (6, 16, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    path = tmp_path / "clip.mkv"
    write_exactly(path, np.stack([np.roll(big, n, axis=1)[:, :64] for n in range(FRAMES)]))
    job = build_job("dry", None, [f"window.size={WINDOW}"], {"style": "oil"})
    store = Store.open(str(tmp_path / "store"), workers=0)
    run = Run(job, str(path), store, cast(Any, SimpleNamespace(workers=1, computes_on="cpu")))  # it needs no engine
    probed = probe(run, path)
    facts = facts_of(run, probed)
    decoded = decode(run, probed, facts, path)
    index = index_of(run, decoded)
    ((first, stop),) = index.shots
    return Ready(run, Shot(0, first, stop, (facts.height, facts.width), WINDOW, facts, index, path, decoded))


def config(**changes: Any) -> DeflickerConfig:
    return DeflickerConfig.model_validate(changes)


def test_the_name_of_packs_is_made_of_how_pairs_are_matched_and_of_nothing_else() -> None:
    name = packs_name(config(patch=7, seed=5), (48, 64))
    params = {"size": [48, 64], "patch": 7, "seed": 5, "algorithm": "scan"}
    assert name == stage_key("pairs", stage.VERSION, params, {}, [], None).key
    assert packs_name(config(patch=7, seed=5), (48, 64), "cuda") != name, "a GPU searches in another way"


def test_flow_packs_hang_on_the_machine_and_not_on_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def name(device: str = "cpu", **changes: Any) -> str:
        return packs_name(config(**changes), (48, 64), device)

    flow, patchmatch = name(correspondence="flow"), name()
    assert flow != patchmatch
    assert name(correspondence="flow", seed=9) == flow == name("cuda", correspondence="flow")
    assert name(correspondence="flow", patch=7) != flow
    monkeypatch.setattr(stage, "numerics", lambda: {"opencv": "another"})
    assert name(correspondence="flow") != flow
    assert name() == patchmatch


def test_frames_lie_in_the_same_folders_in_any_part_of_the_clip() -> None:
    digests = [hashlib.blake2b(bytes([n]), digest_size=16).hexdigest() for n in range(100)]
    whole = folders("base", digests)
    assert whole[:61] == folders("base", digests[:61]), "frames that are appended move nothing"
    for first in range(1, 40):
        part = folders("base", digests[first:])
        strange = [n for n, name in enumerate(part) if name != whole[first + n]]
        assert strange == [*range(len(strange))], "only what comes before the first group begins"
        assert len(strange) <= 40
    assert 5 <= len(set(whole)) <= 25
    assert set(folders("other", digests)).isdisjoint(whole)


@pytest.mark.parametrize("changes", [{}, {"mode": "naive"}, {"operator": "checked"}], ids=str)
def test_the_job_decides_which_pairs(changes: dict[str, Any]) -> None:
    asked = pairs_asked(windows_of(FRAMES, WINDOW), config(window=3, **changes))
    assert asked == pairs_for_window(Window(0, 0, FRAMES, FRAMES), 3, **changes)


@pytest.mark.parametrize("first", [(0, 6), (3, FRAMES), (4, 8)])
def test_the_whole_clip_after_a_part_of_it_computes_what_is_missing(ready: Ready, first: tuple[int, int]) -> None:
    def part(start: int, stop: int) -> Shot:
        return replace(ready.shot, first=start, stop=stop)

    one = ready.run.store.resolve(correspond(ready.run, part(*first))).meta
    assert one["computed"] == one["pairs"] > 0
    whole = ready.run.store.resolve(correspond(ready.run, part(0, FRAMES))).meta
    names = [folders(pairs_base(ready.run, ready.shot), part(*span).digests) for span in (first, (0, FRAMES))]
    asked = [
        {(start + t, start + s) for t, s in pairs_asked(windows_of(stop - start, WINDOW), ready.run.job.deflicker)}
        for start, stop in (first, (0, FRAMES))
    ]
    found = {(t, s) for t, s in asked[0] & asked[1] if names[0][t - first[0]] == names[1][t]}
    assert whole["computed"] == len(asked[1] - found) < whole["pairs"]
    if not first[0]:
        assert found == asked[0], "nothing that is the same is computed twice"


def test_windows_of_another_size_share_their_matches(ready: Ready) -> None:
    correspond(ready.run, ready.shot)
    again = correspond(ready.run, replace(ready.shot, window_size=3))
    assert (again.status, ready.run.store.resolve(again).meta["computed"]) == ("computed", 0)


def test_packs_are_written_while_matches_come(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many bytes wait in memory; how they are packed changes no match."""
    height, width = ready.shot.size
    monkeypatch.setattr(matching, "PACK_BYTES", 2 * 6 * height * width)
    sizes: list[int] = []
    write = PairPacks.write
    monkeypatch.setattr(
        PairPacks, "write", lambda self, at, found: (sizes.append(len(found)), write(self, at, found))[1]
    )
    ref = correspond(ready.run, ready.shot)
    assert max(sizes) == 2
    assert sum(sizes) == ready.run.store.resolve(ref).meta["pairs"] > 10
    assert [correspond(ready.run, ready.shot).status, correspond(ready.asking(window=1), ready.shot).status] == [
        "reused",
        "computed",
    ]


def test_frames_of_the_guide_are_decoded_once(ready: Ready) -> None:
    with GuideFrames(ready.shot, 4) as guide:
        frames = ready.frames()
        for target, source in sorted(pairs_asked(ready.shot.windows, config(window=2))):
            assert np.array_equal(guide[target], frames[target])
            assert np.array_equal(guide[source], frames[source])
            assert len(guide) <= 5
        assert guide.reader.seeks == 1
        assert np.array_equal(guide[1], frames[1]), "back where all has been let go"


def test_a_gpu_is_handed_batches_and_named_in_the_packs(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, str]] = []

    def stand_in(targets: Any, sources: Any, plan: Any, device: str) -> Any:
        seen.append((len(targets), device))
        return frame_match(targets, sources, plan)

    monkeypatch.setattr(matching, "frame_match", stand_in)
    monkeypatch.setattr(matching, "GPU_BATCH", 3)
    monkeypatch.setattr(ready.run.engines, "computes_on", "cuda:1")
    assert pairs_base(ready.run, ready.shot) == packs_name(config(), ready.shot.size), "there is no GPU here"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    named = pairs_base(ready.run, ready.shot)
    assert named == packs_name(config(), ready.shot.size, "cuda:1") != packs_name(config(), ready.shot.size)
    meta = ready.run.store.resolve(correspond(ready.run, ready.shot)).meta
    assert {device for _, device in seen} == {"cuda:1"}
    assert max(count for count, _ in seen) == 3
    assert sum(count for count, _ in seen) == meta["pairs"] == meta["computed"]
    frames = ready.frames()
    offsets, error = StoredMatches(ready.run.store, named, ready.shot.digests, 1)(1, 0)
    (expected,) = frame_match(frames[1:2], frames[:1])
    np.testing.assert_array_equal(offsets, expected[0])
    np.testing.assert_allclose(np.sqrt(error), np.sqrt(expected[1]), atol=0.05)


@pytest.mark.parametrize("patch", [5, 7])
def test_errors_keep_their_root_up_to_the_largest_there_is(patch: int) -> None:
    errors = np.concatenate([np.arange(200), np.geomspace(200, 3 * patch**2 * 255**2, 500)]).astype(np.float32)
    back = restored(shortened(errors))
    assert back[0] == 0
    assert np.abs(np.sqrt(back) - np.sqrt(errors)).max() < 0.05
    assert np.all(np.diff(back[200:]) >= 0)
    assert shortened(np.float32([unmatched(patch)]))[0] == shortened(errors[-1:])[0] < 2**16 - 1


def test_a_match_of_blended_pictures_asks_for_no_pair(ready: Ready) -> None:
    assert not pairs_asked(windows_of(FRAMES, WINDOW), config(match="fastblend"))
    ref = correspond(ready.asking(match="fastblend"), ready.shot)
    assert ready.run.store.resolve(ref).meta["pairs"] == 0


def test_only_what_changes_the_pairs_changes_the_key(ready: Ready) -> None:
    def key(**changes: Any) -> str:
        return correspond_key(ready.asking(**{"window": 3, **changes}), ready.shot).key

    same = {key(), key(operator="mean"), key(detail=0.5), key(match="style"), key(steps=(1.0,))}
    other = {key(mode="naive"), key(operator="checked"), key(match="fastblend"), key(window=1)}
    assert len(same) == 1
    assert len(other | same) == 5
    assert key(correspondence="flow") not in other | same


@pytest.mark.parametrize("method", ["patchmatch", "flow"])
def test_the_way_to_match_on_the_command_line_is_what_is_stored(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    jobs: list[RestyleJob] = []

    def restyle(job: RestyleJob, **resources: Any) -> None:
        jobs.append(job)
        raise Interrupted("seen enough")

    monkeypatch.setattr(api, "restyle", restyle)
    monkeypatch.setenv("STEADYFRAME_STORE", ready.run.store.url)
    args = ["restyle", ready.run.source, "--style", "oil", "--preset", "dry"]
    CliRunner().invoke(main, [*args, "--set", f"deflicker.correspondence={method}"])
    run = replace(ready.run, job=jobs[0])
    ref = correspond(run, ready.shot)
    frames = ready.frames()
    match: Callable[..., Any] = flow_match if method == "flow" else nnf
    expected = match(frames[1], frames[0])
    offsets, error = StoredMatches(run.store, pairs_base(run, ready.shot), ready.shot.digests, 1)(1, 0)
    np.testing.assert_array_equal(offsets, expected[0])
    np.testing.assert_array_equal(error, restored(shortened(expected[1])))
    assert run.store.resolve(ref).meta["method"] == method


def test_both_ways_to_match_live_side_by_side(ready: Ready) -> None:
    first = correspond(ready.run, ready.shot)
    flow = correspond(ready.asking(correspondence="flow"), ready.shot)
    assert (first.status, flow.status) == ("computed", "computed")
    meta = ready.run.store.resolve(flow).meta
    assert meta["computed"] == meta["pairs"] > 0
    assert correspond(ready.run, ready.shot).status == "reused"
    assert correspond(ready.asking(correspondence="flow"), ready.shot).status == "reused"


def test_a_stop_publishes_nothing_and_the_next_run_computes_the_rest(ready: Ready) -> None:
    run = replace(ready.run, should_stop=lambda: True)
    with pytest.raises(Interrupted, match="stopped in correspond"):
        correspond(run, ready.shot)
    assert ready.run.store.lookup(correspond_key(run, ready.shot)) is None
    ref = correspond(ready.run, ready.shot)
    meta = ready.run.store.resolve(ref).meta
    where = folders(pairs_base(run, ready.shot), ready.shot.digests)
    kept = sum(where[target] == where[0] for target, _ in pairs_asked(ready.shot.windows, run.job.deflicker))
    assert meta["computed"] == meta["pairs"] - kept > 0


def test_a_list_whose_packs_are_gone_is_computed_again(ready: Ready) -> None:
    first = correspond(ready.run, ready.shot)
    store = ready.run.store
    store.blobs.delete_tree("pairs")
    again = correspond(ready.run, ready.shot)
    assert again.status == "computed"
    assert store.resolve(again).meta["computed"] == store.resolve(first).meta["pairs"]


def test_a_reused_list_is_looked_up_once(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    first = correspond(ready.run, ready.shot)
    asked: list[str] = []
    lookup = Store.lookup

    def counted(self: Store, key: Any, verify: Any = "sizes") -> Any:
        asked.append(key.key)
        return lookup(self, key, verify)

    monkeypatch.setattr(Store, "lookup", counted)
    again = correspond(ready.run, ready.shot)
    assert asked == [first.key]
    assert again.bytes == first.bytes > ready.run.store.resolve(first).bytes, "packs count too"
