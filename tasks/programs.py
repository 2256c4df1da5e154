"""From a small picklable spec to a running program: the one place where the engine's worker meets the methods.

Builds the program of a method, and the context through which its windows read conditions and correspondence
from the store. Knows the store and the methods; knows no lanes and no shards.
"""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from configs.job import RestyleJob
from models.attention import around_exchange, call_layout
from models.backbone import Backbone
from models.inversion import InversionProgram
from models.methods.restyle import restyle_program
from models.sampling import Context, Gathered, Program, Window
from models.schedule import from_config
from tasks.matches import StoredMatches, folders_of
from tasks.store import Store
from tasks.store.keys import StageKey
from tasks.store.latents import decode_window, encode_window
from tasks.store.manifest import Manifest, Part
from tasks.video.copies import SourceCopies
from tasks.video.facts import ClipFacts, ClipIndex
from tasks.video.frames import FrameReader

CACHED_BYTES = 8 << 20


@dataclass(frozen=True)
class SourceFrames:
    """The clip a shot is a part of, for a program that looks at the source's pixels again while it runs."""

    uri: str
    facts: ClipFacts
    index: ClipIndex


@dataclass(frozen=True)
class ShotSpec:
    """All a worker must know to run a program on one shot; small, picklable, without a tensor.

    `key` is the artifact that `finish` writes to, `step_key` names the step commits; `pts` are the shot's;
    `source` is there when the program asks for the condition "guide".
    """

    program: Literal["restyle", "invert"]
    key: StageKey
    step_key: str
    job: RestyleJob
    prompt: str
    size: tuple[int, int]
    pts: tuple[int, ...]
    condition: StageKey
    frame_digests: tuple[str, ...] = ()
    inverted: StageKey | None = None
    pairs: str | None = None
    source: SourceFrames | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def open_program(spec: ShotSpec, backbone: Backbone) -> Program:
    """The program that `spec` names, on a loaded backbone."""
    job = spec.job
    height, width = spec.size
    shape = (backbone.latent_channels, height // backbone.factor, width // backbone.factor)
    if spec.program == "restyle":
        return restyle_program(job, spec.prompt, backbone, shape)
    text = backbone.embed("", "")
    scales = [c.scale for c in job.model.controls]
    schedule = from_config(backbone.scheduler_config, job.inversion.num_inference_steps).invertible()

    def predict(around: Gathered, step: int, window: Window, ctx: Context) -> Tensor:
        layout = call_layout(window, job.window.size, job.attention.pattern)
        controls = [ctx.condition(f"control{n}", layout.frames) for n in range(len(scales))]
        rows = around.take(layout.frames)
        # Inversion runs at guidance 1: with guidance the trajectory cannot be walked back (edit.md section 3).
        timestep = schedule.timesteps[step]
        return backbone.predict(rows, timestep, text, controls, scales, layout, 1.0)[layout.own]

    return InversionProgram(
        predict=predict,
        around=around_exchange(job.attention.pattern),
        schedule=schedule,
        fixed_point=job.inversion.fixed_point,
    )


def open_context(
    spec: ShotSpec, windows: Sequence[Window], backbone: Backbone, store: Store, copies: SourceCopies
) -> Context:
    """Conditions and correspondence of the shot, read from the store window by window as they are asked for."""
    condition = _StoredConditions(spec, windows, backbone, store, copies)
    near = windows[0].stop - windows[0].start + 2 * spec.job.deflicker.window
    correspond = StoredMatches(store, spec.pairs, spec.frame_digests, folders_of(near))
    return Context(condition.__call__, correspond)


def write_result(spec: ShotSpec, window: Window, latents: Tensor, result: dict[str, Any], store: Store) -> Part:
    """One Parquet part per window: `x` (latents) and what `finish` gave (8-bit `frames`); their digests in its meta."""
    tensors = {"x": latents.cpu(), **result}
    digests = {name: _digest(value) for name, value in tensors.items()}
    frames = [window.first_frame + f for f in window.frames]
    pts = [spec.pts[f] for f in window.frames]
    data = encode_window(frames, pts, 0, tensors, spec.key.key, store.compression)
    return store.write_part(spec.key, part_name(spec.program, window), data, {"digests": digests})


def part_name(kind: str, window: Window) -> str:
    """Name of a window's part inside an artifact."""
    return f"{kind}-{window.index:05d}.parquet"


def _digest(value: Tensor) -> str:
    return hashlib.sha256(value.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


class _StoredConditions:
    """`ctx.condition`: rows of any frames of the shot, from parts read once and kept up to a bound in bytes.

    "guide" is not stored: those are source frames, uint8 [F,H,W,3] on the CPU, decoded again when asked for.
    """

    def __init__(
        self, spec: ShotSpec, windows: Sequence[Window], backbone: Backbone, store: Store, copies: SourceCopies
    ) -> None:
        self.spec, self.windows, self.backbone, self.store = spec, windows, backbone, store
        self._copies = copies
        self._kept: OrderedDict[tuple[str, int], dict[str, Tensor]] = OrderedDict()
        self._manifests: dict[str, Manifest] = {}
        self._reader: FrameReader | None = None

    def __call__(self, name: str, frames: Sequence[int]) -> Tensor:
        if name == "guide":
            first = self.windows[0].first_frame
            return torch.from_numpy(np.concatenate([self._source().read(first + f, first + f + 1) for f in frames]))
        size = self.windows[0].stop - self.windows[0].start
        kind, column = ("invert", "x") if name == "inverted" else ("condition", "x" if name == "latents" else name)
        rows = [self._part(kind, f // size)[column][f % size] for f in frames]
        return torch.stack(rows).to(self.backbone.device, self.backbone.dtype)

    def _source(self) -> FrameReader:
        """The clip, opened when first asked for and let go with this object; it holds a bounded number of frames."""
        if self._reader is None:
            source = self.spec.source
            assert source is not None, "this program asked for source frames, which its spec does not name"
            opened = ExitStack()
            weakref.finalize(self, opened.close)
            path = opened.enter_context(self._copies.held(source.uri, source.facts.digest))
            self._reader = opened.enter_context(FrameReader(path, source.facts, source.index, self.spec.size))
        return self._reader

    def _part(self, kind: str, k: int) -> dict[str, Tensor]:
        if (kind, k) in self._kept:
            self._kept.move_to_end((kind, k))
            return self._kept[kind, k]
        key = self.spec.condition if kind == "condition" else self.spec.inverted
        assert key is not None, f"this program asked for {kind!r}, which its spec does not name"
        if kind not in self._manifests:
            self._manifests[kind] = self.store.require(key)
        data = self.store.read_part(self._manifests[kind], part_name(kind, self.windows[k]))
        self._kept[kind, k] = dict(decode_window(data).tensors)
        held = sum(t.nbytes for part in self._kept.values() for t in part.values())
        while held > CACHED_BYTES and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            held -= sum(t.nbytes for t in old.values())
        return self._kept[kind, k]
