"""The numerics class: everything besides the job that may change the bits of a float result.

Part of every key that holds floats. Workers of one engine share it; integers (correspondence) are free of it.
"""

from __future__ import annotations

from typing import Any

import torch

from configs.job import ModelConfig


def numerics_class(model: ModelConfig, device: str) -> dict[str, Any]:
    """dtype, torch version, processor, threads per call and memory rung, as JSON."""
    if device.startswith("cuda"):
        processor = torch.cuda.get_device_name(device)
    else:
        processor = f"cpu {torch.backends.cpu.get_cpu_capability()}"
    return {
        "dtype": model.dtype,
        "torch": torch.__version__,
        "processor": processor,
        "threads_per_call": model.threads_per_call,
        "rung": {"vae_slicing": model.vae_slicing, "vae_tiling": model.vae_tiling},
    }
