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
from click.testing import CliRunner

from configs.errors import Interrupted
from configs.job import DeflickerConfig, RestyleJob
from configs.overrides import build_job
from flows import api
from flows.cli import main
from models.flow_match import flow_match
from models.patchmatch import nnf
from models.sampling import windows_of
from models.tables import pairs_needed
from tasks import correspond as stage
from tasks.correspond import correspond, correspond_key, matcher, packs_name, pairs_asked, pairs_base
from tasks.decode import decode, index_of
from tasks.probe import facts_of, probe
from tasks.run import Run
from tasks.shot import Shot
from tasks.store import Store, stage_key
from tasks.store.pairs import PairPacks
from tasks.video.frames import FrameReader
from tests.benchmarks.clips import write_exactly

FRAMES, WINDOW = 10, 4
DIGESTS = ("aa", "bb", "cc")


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
    run = Run(job, str(path), store, cast(Any, SimpleNamespace(workers=1)))  # this stage needs no engine
    probed = probe(run, path)
    facts = facts_of(run, probed)
    decoded = decode(run, probed, facts, path)
    index = index_of(run, decoded)
    ((first, stop),) = index.shots
    return Ready(run, Shot(0, first, stop, (facts.height, facts.width), WINDOW, facts, index, path, decoded))


def config(**changes: Any) -> DeflickerConfig:
    return DeflickerConfig.model_validate(changes)


def test_patchmatch_packs_keep_the_name_they_had_before_there_was_a_choice() -> None:
    name = packs_name(config(patch=7, seed=5), DIGESTS, (48, 64), WINDOW)
    params = {"size": [48, 64], "patch": 7, "seed": 5}
    inputs = [{"frames": hashlib.sha256(b"aa\nbb\ncc").hexdigest()}, {"window": WINDOW}]
    assert name == stage_key("pairs", stage.VERSION, params, {}, inputs, None).key


def test_flow_packs_hang_on_the_machine_and_not_on_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def name(**changes: Any) -> str:
        return packs_name(config(**changes), DIGESTS, (48, 64), WINDOW)

    flow, patchmatch = name(correspondence="flow"), name()
    assert flow != patchmatch
    assert name(correspondence="flow", seed=9) == flow
    assert name(correspondence="flow", patch=7) != flow
    monkeypatch.setattr(stage, "numerics", lambda: {"opencv": "another"})
    assert name(correspondence="flow") != flow
    assert name() == patchmatch


@pytest.mark.parametrize("changes", [{}, {"mode": "naive"}, {"operator": "checked"}], ids=str)
def test_the_job_decides_which_pairs(changes: dict[str, Any]) -> None:
    asked = pairs_asked(windows_of(FRAMES, WINDOW), config(window=3, **changes))
    pairs = {(t, s) for t, sources in pairs_needed(FRAMES, 3, **changes).items() for s in sources}
    assert set().union(*asked.values()) == pairs
    assert all(target // WINDOW == window for window, some in asked.items() for target, _ in some)


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
    digests = ready.shot.digests
    pair = (digests[1], digests[0])
    offsets, error = PairPacks(run.store, pairs_base(run, ready.shot)).read(0, [pair])[pair]
    np.testing.assert_array_equal(offsets, expected[0])
    np.testing.assert_array_equal(error, np.minimum(expected[1], 65535))
    assert run.store.resolve(ref).meta["method"] == method


def test_both_ways_to_match_live_side_by_side(ready: Ready) -> None:
    first = correspond(ready.run, ready.shot)
    flow = correspond(ready.asking(correspondence="flow"), ready.shot)
    assert (first.status, flow.status) == ("computed", "computed")
    meta = ready.run.store.resolve(flow).meta
    assert meta["computed"] == meta["pairs"] > 0
    assert correspond(ready.run, ready.shot).status == "reused"
    assert correspond(ready.asking(correspondence="flow"), ready.shot).status == "reused"


@pytest.mark.parametrize("method", ["patchmatch", "flow"])
def test_a_pair_is_packed_alike_whoever_matches_it(ready: Ready, method: str) -> None:
    frames = ready.frames()
    offsets, error = matcher(ready.asking(correspondence=method))(frames[3], frames[0])
    assert (offsets.dtype, error.dtype) == (np.int16, np.uint16)


def test_a_stop_publishes_nothing_and_the_next_run_computes_the_rest(ready: Ready) -> None:
    run = replace(ready.run, should_stop=lambda: True)
    with pytest.raises(Interrupted, match="stopped in correspond"):
        correspond(run, ready.shot)
    assert ready.run.store.lookup(correspond_key(run, ready.shot)) is None
    ref = correspond(ready.run, ready.shot)
    meta = ready.run.store.resolve(ref).meta
    kept = len(pairs_asked(ready.shot.windows, run.job.deflicker)[0])
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
