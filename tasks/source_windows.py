"""The worker's side of stage `condition`: source windows decoded, encoded and their control images computed.

One clip stays open for as long as the stage asks for windows of it: a remote one is fetched once, not once a call.
Knows the store and the backbone; knows no lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from configs.job import ControlConfig, RestyleJob
from models.backbone import Backbone
from models.conditions import prepare_control, reference_picture
from models.corrections import fill
from models.sampling import Window
from tasks.programs import part_name
from tasks.store import Store
from tasks.store.keys import StageKey
from tasks.store.latents import encode_window
from tasks.store.manifest import Part
from tasks.video.copies import SourceCopies
from tasks.video.facts import ClipFacts, ClipIndex
from tasks.video.frames import FrameReader


@dataclass(frozen=True)
class SourceSpec:
    """Where the source frames of a shot come from, at which size, and where their conditions go."""

    key: StageKey
    job: RestyleJob
    uri: str
    facts: ClipFacts
    index: ClipIndex
    size: tuple[int, int]


class SourceWindows:
    """A clip that windows are asked of; opened by the first, until `close`."""

    def __init__(self, spec: SourceSpec, backbone: Backbone, store: Store, copies: SourceCopies) -> None:
        self.spec, self.backbone, self.store, self._copies = spec, backbone, store, copies
        self._opened = ExitStack()
        self._reader: FrameReader | None = None
        self._looks: list[Tensor | None] = []

    def condition(self, windows: Sequence[Window]) -> list[Part]:
        """Decode windows of the source, encode them, compute control images; one part per window."""
        reader = self._source()
        return [self._condition(reader, window) for window in windows]

    def close(self) -> None:
        """Let the clip go; a later `condition` opens it again."""
        self._reader = None
        self._opened.close()

    def _source(self) -> FrameReader:
        if self._reader is None:
            spec = self.spec
            path = self._opened.enter_context(self._copies.held(spec.uri, spec.facts.digest))
            self._looks = [_reference(control, spec, self.backbone) for control in spec.job.controls]
            self._reader = self._opened.enter_context(FrameReader(path, spec.facts, spec.index, spec.size))
        return self._reader

    def _condition(self, reader: FrameReader, window: Window) -> Part:
        spec, backbone = self.spec, self.backbone
        first, count = window.first_frame + window.start, len(window.frames)
        frames = reader.read(first, first + count)
        rgb = torch.from_numpy(frames).to(backbone.device).permute(0, 3, 1, 2).to(backbone.dtype) / 255
        latents = backbone.encode(fill(rgb, spec.job.window.size))[:count]
        tensors = {"x": latents.cpu()}
        numbers = list(range(first, first + count))
        for n, control in enumerate(spec.job.controls):
            image = prepare_control(
                control.kind,
                frames,
                latents,
                backbone.factor,
                path=control.path,
                numbers=[spec.index.first + number for number in numbers],
                reference_Chw=self._looks[n],
            )
            tensors[f"control{n}"] = image.to(torch.float16).cpu()
        pts = list(spec.index.pts[first : first + count])
        data = encode_window(numbers, pts, 0, tensors, spec.key.key, self.store.compression)
        return self.store.write_part(spec.key, part_name("condition", window), data)


def _reference(control: ControlConfig, spec: SourceSpec, backbone: Backbone) -> Tensor | None:
    """Latents of a control's reference picture, encoded in a call of the same shape as all others."""
    if control.kind != "reference-latents" or control.path is None:
        return None
    picture = torch.from_numpy(reference_picture(control.path, spec.size)).permute(2, 0, 1)[None]
    return backbone.encode(fill(picture.to(backbone.device, backbone.dtype) / 255, spec.job.window.size))[0]
