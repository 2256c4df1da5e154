"""Training state as safetensors: parameters, their running average and AdamW's moments.

Knows named tensors; refuses to know what they belong to. No pickle: a checkpoint is data, never code. Nor does it know
devices: what was saved on one is loaded onto whichever the parameters are on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

STATE_FILE = "state.safetensors"


class Average:
    """Exponential moving average of parameters, with a warm-up so that early steps do not linger."""

    def __init__(self, named: Mapping[str, Tensor], decay: float) -> None:
        """Start from the parameters as they are."""
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in named.items()}

    @torch.no_grad()
    def update(self, named: Mapping[str, Tensor], step: int) -> None:
        """Blend in the parameters after step `step` (counted from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_([self.values[name] for name in named], list(named.values()), 1 - decay)

    def to(self, device: torch.device) -> None:
        """Move the average to where the parameters have gone."""
        self.values = {name: value.to(device) for name, value in self.values.items()}

    @contextmanager
    def swapped(self, named: Mapping[str, Tensor]) -> Iterator[None]:
        """Put the average into the parameters for the length of the block."""
        kept = {name: value.detach().clone() for name, value in named.items()}
        with torch.no_grad():
            for name, value in named.items():
                value.copy_(self.values[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in named.items():
                    value.copy_(kept[name])


def save_state(
    folder: Path,
    named: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
    average: Average,
    step: int,
    seconds: float,
) -> None:
    """Write the whole state to `folder / STATE_FILE`, replacing the last one only when complete."""
    tensors = {f"param/{name}": value.detach().contiguous() for name, value in named.items()}
    tensors |= {f"average/{name}": value.contiguous() for name, value in average.values.items()}
    for name, value in named.items():
        for key, moment in optimiser.state.get(value, {}).items():
            tensors[f"{key}/{name}"] = moment.contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / (STATE_FILE + ".partial")
    save_file(tensors, partial, metadata={"progress": json.dumps({"step": step, "seconds": seconds})})
    os.replace(partial, folder / STATE_FILE)


def load_state(
    folder: Path, named: Mapping[str, Tensor], optimiser: torch.optim.Optimizer, average: Average
) -> tuple[int, float]:
    """Restore what `save_state` wrote; return the step and the seconds trained so far.

    Errors: FileNotFoundError where nothing was saved yet.
    """
    with safe_open(folder / STATE_FILE, framework="pt") as file:
        progress = json.loads(file.metadata()["progress"])
        keys = set(file.keys())
        names = {value: name for name, value in named.items()}
        with torch.no_grad():
            for name, value in named.items():
                value.copy_(file.get_tensor(f"param/{name}"))
                average.values[name].copy_(file.get_tensor(f"average/{name}"))
        # The optimiser itself knows which of its figures belong on the device: AdamW's step, only if it is fused.
        state = optimiser.state_dict()
        for number, value in enumerate(value for group in optimiser.param_groups for value in group["params"]):
            name, moments = names[value], ("step", "exp_avg", "exp_avg_sq")
            if f"exp_avg/{name}" in keys:
                state["state"][number] = {key: file.get_tensor(f"{key}/{name}") for key in moments}
        optimiser.load_state_dict(state)
    return int(progress["step"]), float(progress["seconds"])


def load_average(folder: Path) -> tuple[dict[str, Tensor], int, float]:
    """Return the averaged parameters by name, the step and the seconds trained."""
    with safe_open(folder / STATE_FILE, framework="pt") as file:
        progress = json.loads(file.metadata()["progress"])
        names = [key for key in file.keys() if key.startswith("average/")]
        values = {name.removeprefix("average/"): file.get_tensor(name) for name in names}
    return values, int(progress["step"]), float(progress["seconds"])
