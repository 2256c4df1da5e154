"""Text to embeddings, once per prompt: a tokenizer and a CLIP-type text encoder, conditional and
unconditional.

It knows no image and no style: a template is handed in beside the prompt that belongs into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from configs.presets import PLAIN, filled

Device = torch.device | str
_SHOWN = 60


@dataclass(frozen=True, eq=False)
class PromptEmbeds:
    """Hidden states of the prompt (`cond`) and of the negative prompt (`uncond`), each [tokens, width].

    `notes` are sentences for people: what of the prompt the model does not see.
    """

    cond: Tensor
    uncond: Tensor
    notes: tuple[str, ...] = ()


def embed_prompt(
    tokenizer: Any, text_encoder: Any, prompt: str, negative_prompt: str, device: Device, template: str = PLAIN
) -> PromptEmbeds:
    """Last hidden states of the prompt in its template, and of the negative prompt.

    One text per call, padded to the tokenizer's length: a fixed shape, so the same bits whatever else runs.
    A text over the length is cut, as every Stable Diffusion tool does; of a template the prompt's own tokens are cut,
    or a style, whose words stand last, would be lost to a prompt of eight rare words.
    """
    ids, length, note = _tokens(tokenizer, prompt, template)
    negative, negative_length, _ = _tokens(tokenizer, negative_prompt, PLAIN)
    return PromptEmbeds(
        cond=_embed(text_encoder, ids, length, device),
        uncond=_embed(text_encoder, negative, negative_length, device),
        notes=(note,) if note else (),
    )


def _tokens(tokenizer: Any, prompt: str, template: str) -> tuple[list[int], int, str]:
    """Ids of the model's whole length, how many of them are no padding, and what to say when the prompt was cut.

    Cut and padded here: the tokenizer keeps what it was last asked for of both, and the lanes of a process share it. A
    lane that asked for none once took the padding from another's prompt, and a shot's windows had two looks.
    """
    most, end = tokenizer.model_max_length, tokenizer.eos_token_id
    ids = list(tokenizer(filled(template, prompt), verbose=False).input_ids)
    if len(ids) <= most:
        return ids + [tokenizer.pad_token_id] * (most - len(ids)), len(ids), ""
    length, behind = len(ids), template.partition(PLAIN)[2]
    tail = list(tokenizer(behind, add_special_tokens=False, verbose=False).input_ids)[: most - 2]
    ids = ids[: most - 1 - len(tail)]
    seen = tokenizer.decode(ids, skip_special_tokens=True).strip()
    shown = seen if len(seen) <= _SHOWN else f"... {seen[-_SHOWN:]}"
    note = f"the prompt is cut after {shown!r}: it is {length} tokens long, this model reads {most}; shorten it"
    return [*ids, *tail, end], most, note


@torch.no_grad()
def _embed(text_encoder: Any, ids: list[int], length: int, device: Device) -> Tensor:
    # Some text encoders (Stable Diffusion 2's OpenCLIP) want the padding masked, and say so in their config.
    masked = bool(getattr(text_encoder.config, "use_attention_mask", False))
    mask = (torch.arange(len(ids), device=device) < length).long()[None] if masked else None
    hidden: Tensor = text_encoder(torch.tensor([ids], device=device), attention_mask=mask)[0]
    return hidden[0]
