"""Text to embeddings, once per prompt: a tokenizer and a CLIP-type text encoder, conditional and
unconditional.

It knows no image and no style template: the prompt comes in ready.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Device = torch.device | str


@dataclass(frozen=True, eq=False)
class PromptEmbeds:
    """Hidden states of the prompt (`cond`) and of the negative prompt (`uncond`), each [tokens, width]."""

    cond: Tensor
    uncond: Tensor


def embed_prompt(tokenizer: Any, text_encoder: Any, prompt: str, negative_prompt: str, device: Device) -> PromptEmbeds:
    """Last hidden states of prompt and negative prompt.

    One text per call, padded to the tokenizer's length: a fixed shape, so the same bits whatever else runs.
    A prompt over the length is cut, as every Stable Diffusion tool does.
    """
    return PromptEmbeds(
        cond=_embed(tokenizer, text_encoder, prompt, device),
        uncond=_embed(tokenizer, text_encoder, negative_prompt, device),
    )


@torch.no_grad()
def _embed(tokenizer: Any, text_encoder: Any, text: str, device: Device) -> Tensor:
    tokens = tokenizer(
        text,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    # Some text encoders (Stable Diffusion 2's OpenCLIP) want the padding masked, and say so in their config.
    masked = bool(getattr(text_encoder.config, "use_attention_mask", False))
    mask = tokens.attention_mask.to(device) if masked else None
    hidden: Tensor = text_encoder(tokens.input_ids.to(device), attention_mask=mask)[0]
    return hidden[0]
