"""Where training runs: a GPU if there is one, else the CPU, for which the recipe on the model card is made.

What is drawn at random is drawn on the CPU and moved, so that every device sees the same pictures, noise and first
weights. Checkpoints name no device. Refuses to know the product's devices (`models.loading.open_device`): they promise
equal bits, which some backward passes on a GPU cannot.
"""

from __future__ import annotations

import argparse

import torch


def add_device(parser: argparse.ArgumentParser) -> None:
    """The option of every training script."""
    parser.add_argument("--device", default="auto", help="cpu, cuda or cuda:N; auto: cuda if there is one, else cpu")


def training_device(name: str) -> torch.device:
    """The device of that name. Errors: RuntimeError for no such name; where it is missing, at the first use of it."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
