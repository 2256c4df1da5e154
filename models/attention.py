"""Self-attention that looks at other frames: who attends to whom in one call, and the processors that do it.

Weights are unchanged; only keys and values come from more frames (DiffSynth, arXiv 2308.03463, section 3, and
its `combine_pattern`). This file knows the frames of one call. Where context frames come from is the engine's
business.

Legend: B batch = groups (CFG halves) x rows; R rows of a call; P parts of the pattern; N tokens; D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from models.sampling import Exchange, Window


@dataclass(frozen=True, eq=False)
class Layout:
    """The rows of one model call, [anchors | halo before | window | halo after].

    `frames`: shot-relative frame of each row (a frame may repeat: that is padding). `attend`: int64 [R, P],
    the rows each row takes keys and values from. `own`: the rows of the window's frames; the others are
    context and dropped.
    """

    frames: tuple[int, ...]
    attend: Tensor
    own: slice

    @property
    def rows(self) -> int:
        """Frames in the call, padding included."""
        return len(self.frames)

    @property
    def alone(self) -> bool:
        """Whether every row sees itself only, once: then this is plain self-attention."""
        return self.attend.shape[1] == 1 and self.attend[:, 0].tolist() == list(range(self.rows))

    def to(self, device: torch.device | str) -> Layout:
        """The same layout with its indices on `device`."""
        return replace(self, attend=self.attend.to(device))


def reach(pattern: Sequence[str]) -> tuple[int, int, bool]:
    """Frames (before, after) a pattern looks at, and whether it looks at the shot's first frame."""
    offsets = [int(part) for part in pattern if part != "first"]
    return max([0, *(-o for o in offsets)]), max([0, *offsets]), "first" in pattern


def around_exchange(pattern: Sequence[str]) -> Exchange:
    """The latents a window must be sent before each prediction."""
    before, after, first = reach(pattern)
    return Exchange("latents", "predict", before, after, (0,) if first else ())


def call_layout(window: Window, size: int, pattern: Sequence[str]) -> Layout:
    """Rows of the call for `window`: their number depends on (size, pattern) alone, so every call has one
    shape.

    Frames beyond the shot, and those a short last window lacks, are padded by repeating the nearest frame.
    The pattern is resolved per frame, clamped to the shot and then to the call: the outermost halo row sees
    itself where its neighbour is not here. Anchor rows see only themselves, so their features are the same in
    every window's call. Offsets that clamp to one frame count as often as they occur, as published.
    """
    before, after, first = reach(pattern)
    begin, end, last = window.start - before, window.start + size + after, window.shot_frames - 1
    anchors = (0,) if first else ()
    frames = (*anchors, *(min(max(f, 0), last) for f in range(begin, end)))

    def row(frame: int) -> int:
        return len(anchors) + min(max(frame, begin), end - 1) - begin

    attend = [[0] * len(pattern) for _ in anchors]
    for frame in frames[len(anchors) :]:
        wanted = [0 if part == "first" else min(max(frame + int(part), 0), last) for part in pattern]
        attend.append([0 if p == "first" else row(f) for p, f in zip(pattern, wanted, strict=True)])
    start = len(anchors) + before
    return Layout(frames, torch.tensor(attend, dtype=torch.long), slice(start, start + len(window.frames)))


class FrameAttention:
    """Attention processor that shares keys and values inside a call, as `layout` says.

    Q = own tokens, K and V = those of the rows in `layout.attend[row]`, one after the other. The layout
    arrives with every call (`cross_attention_kwargs={"layout": ...}`): several threads share one model, so
    nothing is kept here. Attention to text, and calls without a layout, are plain attention. Batch halves of
    CFG never see each other.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        layout: Layout | None = None,
    ) -> Tensor:
        """Attend; hidden states [B, N, D] (or [B, D, h, w]), returned in the same shape."""
        tokens_BND, shape = _tokens(attn, hidden_states)
        text = encoder_hidden_states
        if text is not None and attn.norm_cross:
            text = attn.norm_encoder_hidden_states(text)
        source = tokens_BND if text is None else text
        q, k, v = attn.to_q(tokens_BND), attn.to_k(source), attn.to_v(source)
        if text is None and layout is not None and not layout.alone:
            k, v = _share(k, layout), _share(v, layout)
        mixed_BND = _attend(attn, q, k, v, attention_mask)
        return _leave(attn, mixed_BND, hidden_states, shape)


class GroupAttention:
    """The published mode: a group of P frames is the batch, and attends jointly over all its P*N tokens.

    Q, K and V all hold the group (DiffSynth's `B N D -> 1 (B N) D`); the caller keeps the entry it wants. It
    costs P calls per frame, and is here as the oracle that `FrameAttention` is compared with. Text attention
    stays per frame.
    """

    def __init__(self, group: int) -> None:
        """`group` is P; the batch is a whole number of groups (CFG halves)."""
        self.group = group

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        layout: Layout | None = None,
    ) -> Tensor:
        """Attend; hidden states [groups * P, N, D] (or [.., D, h, w]), returned in the same shape."""
        if encoder_hidden_states is not None:
            return FrameAttention()(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        tokens_BND, shape = _tokens(attn, hidden_states)
        batch, tokens, width = tokens_BND.shape
        joint = tokens_BND.reshape(_groups(batch, self.group), self.group * tokens, width)
        mixed = _attend(attn, attn.to_q(joint), attn.to_k(joint), attn.to_v(joint), attention_mask)
        return _leave(attn, mixed.reshape(batch, tokens, -1), hidden_states, shape)


def install(network: Any, processor: FrameAttention | GroupAttention | None = None) -> None:
    """Give a UNet or a ControlNet our processor (default `FrameAttention`) in every attention."""
    network.set_attn_processor(processor or FrameAttention())


def _groups(batch: int, rows: int) -> int:
    if batch % rows:
        raise ValueError(f"a batch of {batch} is not a whole number of groups of {rows} frames")
    return batch // rows


def _share(x_BND: Tensor, layout: Layout) -> Tensor:
    """Keys or values of the rows each row attends to, one after the other: [B, N, D] -> [B, P*N, D]."""
    batch, tokens, width = x_BND.shape
    rows, parts = layout.attend.shape
    grouped = x_BND.reshape(_groups(batch, rows), rows, tokens, width)
    return grouped[:, layout.attend.to(x_BND.device)].reshape(batch, parts * tokens, width)


def _tokens(attn: Any, hidden_states: Tensor) -> tuple[Tensor, torch.Size]:
    shape = hidden_states.shape
    tokens = hidden_states.flatten(2).transpose(1, 2) if hidden_states.ndim == 4 else hidden_states
    if attn.group_norm is not None:
        tokens = attn.group_norm(tokens.transpose(1, 2)).transpose(1, 2)
    return tokens, shape


def _attend(attn: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention by heads: [B, Nq, D], [B, Nk, D] -> [B, Nq, D]."""
    if mask is not None:
        mask = attn.prepare_attention_mask(mask, k.shape[1], q.shape[0])
        mask = mask.view(q.shape[0], attn.heads, -1, mask.shape[-1])
    q, k, v = (x.view(*x.shape[:2], attn.heads, -1).transpose(1, 2) for x in (q, k, v))
    if attn.norm_q is not None:
        q = attn.norm_q(q)
    if attn.norm_k is not None:
        k = attn.norm_k(k)
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.transpose(1, 2).flatten(2).to(q.dtype)


def _leave(attn: Any, mixed_BND: Tensor, hidden_states: Tensor, shape: torch.Size) -> Tensor:
    out: Tensor = attn.to_out[1](attn.to_out[0](mixed_BND))
    if hidden_states.ndim == 4:
        out = out.transpose(1, 2).reshape(shape)
    if attn.residual_connection:
        out = out + hidden_states
    return out / attn.rescale_output_factor
