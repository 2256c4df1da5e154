"""Weights that wait in main memory: refused where they are there already; the same bits through accelerate's hooks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from configs.errors import DeviceError
from configs.job import ModelConfig
from configs.presets import load_preset
from models import loading
from models.attention import call_layout
from models.backbone import DiffusersBackbone, load
from models.conditions import prepare_control
from models.sampling import windows_of

POCKET = ModelConfig.model_validate(load_preset("pocket")["model"])


def test_on_a_cpu_it_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"model\.cpu_offload needs a CUDA device"):
        load(POCKET.model_copy(update={"cpu_offload": True}), "cpu")


def test_hooked_networks_give_the_same_bits() -> None:
    """What is called is not always `forward` (the VAE's encode and decode): each layer must still find its weights."""
    plain, hooked = (load(POCKET, "cpu") for _ in range(2))
    assert isinstance(hooked, DiffusersBackbone)
    parts = hooked.parts
    for network in (parts.unet, parts.vae, parts.text_encoder, *parts.controlnets):
        loading._offload(network, torch.device("cpu"))
    hooked = replace(hooked, parts=parts)
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(calls(plain), calls(hooked), strict=True))


def calls(backbone: Any) -> list[torch.Tensor]:
    """One of each kind of call."""
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    layout = call_layout(windows_of(2, 2)[0], 2, ("0",))
    latents = backbone.encode(torch.from_numpy(frames).permute(0, 3, 1, 2) / 255)
    controls = [prepare_control(c.kind, frames, latents, backbone.factor) for c in POCKET.controls]
    text = backbone.embed("a car", "")
    out = backbone.predict(latents, 500, text, controls, [1.0] * len(controls), layout, 1.0)
    return [latents, out, backbone.decode(latents)]
