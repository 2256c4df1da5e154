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
    tokens, note = _tokens(tokenizer, prompt, template)
    negative, _ = _tokens(tokenizer, negative_prompt, PLAIN)
    return PromptEmbeds(
        cond=_embed(text_encoder, tokens, device),
        uncond=_embed(text_encoder, negative, device),
        notes=(note,) if note else (),
    )


def _tokens(tokenizer: Any, prompt: str, template: str) -> tuple[Any, str]:
    """`input_ids` and `attention_mask`, each [1, tokens], and what to say when the prompt was cut ('' when not)."""
    text, most = filled(template, prompt), tokenizer.model_max_length
    tokens = tokenizer(text, padding="max_length", max_length=most, truncation=True, return_tensors="pt")
    length = len(tokenizer(text, verbose=False).input_ids)
    if length <= most:
        return tokens, ""
    behind = tokenizer(template.partition(PLAIN)[2], add_special_tokens=False, verbose=False).input_ids[: most - 2]
    end = most - 1 - len(behind)  # what was cut is full: its last token is the end mark
    tokens.input_ids[0, end:-1] = torch.tensor(behind, dtype=tokens.input_ids.dtype)
    seen = tokenizer.decode(tokens.input_ids[0, :end], skip_special_tokens=True).strip()
    shown = seen if len(seen) <= _SHOWN else f"... {seen[-_SHOWN:]}"
    return tokens, f"the prompt is cut after {shown!r}: it is {length} tokens long, this model reads {most}; shorten it"


@torch.no_grad()
def _embed(text_encoder: Any, tokens: Any, device: Device) -> Tensor:
    # Some text encoders (Stable Diffusion 2's OpenCLIP) want the padding masked, and say so in their config.
    masked = bool(getattr(text_encoder.config, "use_attention_mask", False))
    mask = tokens.attention_mask.to(device) if masked else None
    hidden: Tensor = text_encoder(tokens.input_ids.to(device), attention_mask=mask)[0]
    return hidden[0]
