"""Stage `decode`: one pass over the frames gives time stamps, shots, digests, damage and thumbnails; no RGB is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.job import InputConfig
from tasks.ref import Ref
from tasks.run import Run
from tasks.stage import Computed, Writing, run_stage
from tasks.store.keys import StageKey, stage_key
from tasks.video.facts import ClipFacts, ClipIndex
from tasks.video.index import build_index

VERSION = 1


def decode_key(choices: InputConfig, probed: Mapping[str, Any]) -> StageKey:
    """Key of the index of a clip; `probed` is its probe artifact as an input."""
    return stage_key("decode", VERSION, {"input": choices.model_dump(exclude={"max_bytes"})}, {}, [probed], None)


def decode(run: Run, probed: Ref, facts: ClipFacts, path: Path) -> Ref:
    """The index of the clip; raises `DamagedVideo` unless the job keeps damaged ones."""
    key = decode_key(run.job.input, probed.as_input())

    def compute(writing: Writing) -> Computed:
        index = build_index(path, facts, run.job.input)
        return [writing.part("index.json", index.model_dump_json().encode())], {"damage": index.damage.sentence()}

    return run_stage(run, key, compute)


def index_of(run: Run, ref: Ref) -> ClipIndex:
    """The index that `decode` left."""
    return ClipIndex.model_validate_json(run.store.read_part(run.store.resolve(ref), "index.json"))
