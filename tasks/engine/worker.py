"""What runs inside a lane: one loaded backbone, the shards placed here, and the store they read and write.

The same object serves a thread of this process and a Ray actor. It knows programs only through `tasks.programs`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from configs.errors import OutOfMemory
from models.backbone import Backbone
from models.sampling import Context, Program, State, Window
from tasks.engine.protocol import Described
from tasks.engine.records import LogLine, Records
from tasks.engine.rehearsal import rehearse
from tasks.engine.room import Room, give_back_memory, room_of
from tasks.engine.shard import Shard
from tasks.numerics import processor_name
from tasks.programs import ShotSpec, open_context, open_program, write_result
from tasks.source_windows import SourceSpec, SourceWindows
from tasks.store import Store
from tasks.store.latents import decode_window, encode_window
from tasks.store.manifest import Part
from tasks.store.steps import PartRef, StepLog
from tasks.video.copies import SourceCopies

LOG = logging.getLogger("steadyframe.worker")


def measured(backbone: Backbone) -> bool:
    """Whether the device of a model has a memory that is worth trying out before the work."""
    return backbone.device.type == "cuda"


class Worker:
    """Methods are called one at a time by the lane that owns it; the workers of a process share `copies`."""

    def __init__(
        self, store: Store, backbone: Backbone, copies: SourceCopies | None = None, records: Records | None = None
    ) -> None:
        self.store, self.backbone, self.records = store, backbone, records
        self._copies = copies or SourceCopies()
        self._source: SourceWindows | None = None
        self._shards: dict[int, Shard] = {}
        self._spec: ShotSpec | None = None
        self._rehearsed: set[str] = set()

    def describe(self) -> dict[str, Any]:
        """Which model lives where, and on which processor, of which the workers of an engine have one class."""
        device = str(self.backbone.device)
        return {"digest": self.backbone.digest, "device": device, "processor": processor_name(device)}

    def run(self, method: str, *args: Any) -> Any:
        """Call a method by name, as lanes do; a full device becomes our own error."""
        try:
            return getattr(self, method)(*args)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"{method} did not fit {self.backbone.device}: {error}") from error

    def drain_logs(self) -> list[LogLine]:
        """What was logged here since the last call; empty in the driver's process, whose log it is already."""
        return self.records.drain() if self.records else []

    def sees(self, path: str) -> bool:
        """Whether an object of the driver's store is in ours: `file://` on several machines may not be one store."""
        return self.store.blobs.exists(path)

    def open_source(self, spec: SourceSpec) -> None:
        """Windows of this clip are going to be asked for; nothing is fetched before the first."""
        self.close_source()
        self._source = SourceWindows(spec, self.backbone, self.store, self._copies)

    def condition(self, windows: Sequence[Window]) -> list[Part]:
        """Encode neighbouring windows of the source and their control images into the store."""
        assert self._source is not None, "open_source() first"
        with torch.inference_mode():
            return self._source.condition(windows)

    def close_source(self) -> None:
        """Let the clip go, and what was fetched of it."""
        if self._source is not None:
            self._source.close()
        self._source = None

    def room(self, size: tuple[int, int]) -> Room:
        """Free memory here, and what a frame of working size `size` takes of it."""
        return room_of(self.backbone, size)

    def clear(self) -> None:
        """Let go of the states of whatever shot was here; what is placed stays."""
        for shard in self._shards.values():
            shard.clear()
        give_back_memory()

    def place(self, spec: ShotSpec, windows: Sequence[Window], shards: Mapping[int, Sequence[int]]) -> Described:
        """Build the program and the shards that live here."""
        with torch.inference_mode():
            program: Program = open_program(spec, self.backbone)
        context: Context = open_context(spec, windows, self.backbone, self.store, self._copies)
        self._rehearse(spec, program, context, windows)
        self._spec = spec
        self._shards = {s: Shard(program, context, windows, mine) for s, mine in shards.items()}
        LOG.info("%s: %d windows in %d shards placed", spec.key.stage, sum(map(len, shards.values())), len(shards))
        phases = tuple(program.phases(step) for step in range(program.num_steps + 1))
        return Described(program.num_steps, phases, program.notes)

    def _rehearse(self, spec: ShotSpec, program: Program, context: Context, windows: Sequence[Window]) -> None:
        """On CUDA, try what a window takes before the first shot of a shape; main memory is no such hard limit."""
        if not measured(self.backbone):
            return
        model, job = spec.job.model.model_dump_json(), spec.job
        shape = f"{spec.program} {spec.size} {job.window.size} {job.guidance_scale != 1.0} {job.attention} {model}"
        if shape not in self._rehearsed:
            with torch.inference_mode():
                rehearse(program, context, windows[0])
            self._rehearsed.add(shape)
            LOG.info("%s: a window of %d at %s fits", spec.key.stage, job.window.size, spec.size)

    def start(self, shard: int, step: int, parts: Mapping[int, PartRef] | None) -> int:
        """Set a shard to `step`, from committed parts or from the beginning."""
        states = {k: self._load(part) for k, part in parts.items()} if parts else None
        with torch.inference_mode():
            self._shards[shard].start(step, states)
        return step

    def publish(
        self, shard: int, step: int, phase: int, wanted: Sequence[int], keys: Sequence[int], *foreign: Tensor
    ) -> Any:
        """See `Shard.publish`; one tensor per wanted window."""
        with torch.inference_mode():
            return self._shards[shard].publish(step, phase, wanted, dict(zip(keys, foreign, strict=True)))

    def complete(self, shard: int, step: int, keys: Sequence[int], *foreign: Tensor) -> int:
        """See `Shard.complete`."""
        with torch.inference_mode():
            self._shards[shard].complete(step, dict(zip(keys, foreign, strict=True)))
        return step

    def save(self, shard: int, step: int) -> list[PartRef]:
        """Write the states of a shard after `step` steps; the driver commits them."""
        spec, here = self._here(), self._shards[shard]
        log = StepLog(self.store, spec.step_key)
        return [log.write(step, k, self._dump(here.windows[k], step, here.states[k])) for k in here.mine]

    def finish(self, shard: int, step: int, keys: Sequence[int], *foreign: Tensor) -> list[Part]:
        """Run the end of the program and write each window's result as a part of the stage's artifact."""
        spec = self._here()
        with torch.inference_mode():
            return self._shards[shard].finish(
                dict(zip(keys, foreign, strict=True)),
                lambda window, state, result: write_result(spec, window, state.latents, result, self.store),
            )

    def _dump(self, window: Window, step: int, state: State) -> bytes:
        spec = self._here()
        tensors = {"x": state.latents.cpu(), **{name: value.cpu() for name, value in state.extras.items()}}
        frames = [window.first_frame + f for f in window.frames]
        pts = [spec.pts[f] for f in window.frames]
        return encode_window(frames, pts, step, tensors, spec.step_key, self.store.compression)

    def _load(self, part: PartRef) -> State:
        data = decode_window(self.store.read_path(part.path, part.sha256))
        tensors = {name: value.to(self.backbone.device) for name, value in data.tensors.items()}
        return State(tensors.pop("x"), extras=tensors)

    def _here(self) -> ShotSpec:
        assert self._spec is not None, "place() first"
        return self._spec
