"""The numerics class: everything besides the job that may change the bits of a float result.

Part of every key that holds floats. Workers of one engine share it; integers (correspondence) are free of it.
"""

from __future__ import annotations

from typing import Any

import torch

from configs.job import ModelConfig


def processor_name(device: str) -> str:
    """The processor that computes on `device` of this machine: the GPU's name, or `cpu` and its widest instructions."""
    if device.startswith("cuda") and torch.cuda.is_available():  # a GPU of Ray's may be a logical one
        return str(torch.cuda.get_device_name(device))
    return f"cpu {torch.backends.cpu.get_cpu_capability()}"


def numerics_class(model: ModelConfig, device: str, processor: str | None = None) -> dict[str, Any]:
    """dtype, torch version, processor (of this machine, unless given), threads per call and memory rung, as JSON."""
    return {
        "dtype": model.dtype,
        "torch": torch.__version__,
        "processor": processor or processor_name(device),
        "threads_per_call": model.threads_per_call,
        "rung": {
            "vae_slicing": model.vae_slicing,
            "vae_tiling": model.vae_tiling,
            **({"cpu_offload": True} if model.cpu_offload else {}),  # keys from before this rung stay what they were
        },
    }
