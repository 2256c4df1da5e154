"""Write trained weights as a diffusers folder: `python -m models.pocket.export --help`.

Averaged weights, half precision, safetensors under diffusers' default names, and the model card. Refuses to
know how they were trained beyond what the checkpoint says. The folder is replaced file by file; each is
complete before it takes its name.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch

from models.pocket.autoencoder import BlockAutoencoder
from models.pocket.batches import ALONE, STEERINGS
from models.pocket.card import model_card
from models.pocket.checkpoint import STATE_FILE, load_average
from models.pocket.networks import CONTROLS, build_networks, build_scheduler
from models.pocket.vocabulary import write_tokenizer


def _halve(module: Any) -> Any:
    """Round every parameter to half precision in place (diffusers' own `half` warns about nothing)."""
    for parameter in module.parameters():
        parameter.data = parameter.data.to(torch.float16)
    return module


Trained = tuple[int, float]
"""Steps, and seconds they took."""


def write_folder(run: Path, vae: Path, folder: Path, alone: Mapping[str, Path]) -> tuple[Trained, dict[str, Trained]]:
    """Write every part into `folder`; return how long `run` was trained, and each control of `alone`.

    alone: steering -> run of `train_diffusion --alone`, from which that steering's own ControlNet is taken.
    """
    vocabulary_size = write_tokenizer(folder / "tokenizer")
    networks = build_networks(vocabulary_size, seed=0)
    values, steps, spent = load_average(run)
    more: dict[str, Trained] = {}
    for steering, other in alone.items():
        own_values, step, seconds = load_average(other)
        prefix = f"{STEERINGS[steering].own}."
        values |= {key: value for key, value in own_values.items() if key.startswith(prefix)}
        more[steering] = step, seconds
    for name, module in networks.modules().items():
        own = dict(module.named_parameters())
        with torch.no_grad():
            for key, parameter in own.items():
                parameter.copy_(values[f"{name}.{key}"])
        _halve(module).save_pretrained(folder / name, safe_serialization=True)
    autoencoder = BlockAutoencoder.from_pretrained(vae)
    _halve(autoencoder).save_pretrained(folder / "vae", safe_serialization=True)
    build_scheduler().save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionControlNetPipeline",
        "_diffusers_version": diffusers.__version__,
        "_control_kinds": {folder: kind for folder, (kind, _channels) in CONTROLS.items()},
        "vae": ["models.pocket.autoencoder", "BlockAutoencoder"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        **{folder: ["diffusers", "ControlNetModel"] for folder in CONTROLS},
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    for config in folder.rglob("config.json"):
        settings = json.loads(config.read_text(encoding="utf-8"))
        settings.pop("_name_or_path", None)  # a path of the training machine
        config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return (steps, spent), more


def publish(source: Path, target: Path) -> None:
    """Move every file of `source` over `target`, atomically one by one."""
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(place.name + ".partial")
        shutil.copyfile(path, partial)
        os.replace(partial, place)


def _pair(text: str) -> tuple[str, Path]:
    steering, _, run = text.partition("=")
    if steering not in ALONE or not run:
        raise argparse.ArgumentTypeError(f"must be STEERING=RUN with one of {', '.join(ALONE)}, got {text!r}")
    return steering, Path(run)


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of train_diffusion's state")
    parser.add_argument("--vae", type=Path, required=True, help="folder of train_autoencoder, or of shipped weights")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--alone", type=_pair, nargs="*", default=[], metavar="STEERING=RUN", help="states of train_diffusion --alone"
    )
    parser.add_argument("--figures", type=Path, nargs="*", default=[], help="JSON lines of models.pocket.sample")
    args = parser.parse_args()
    figures = [json.loads(line) for path in args.figures for line in path.read_text().splitlines() if line]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (step, seconds), alone = write_folder(args.run, args.vae, folder, dict(args.alone))
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        trained = load_average(args.vae)[1:] if (args.vae / STATE_FILE).exists() else None
        (folder / "README.md").write_text(model_card(step, seconds, size, figures, alone, trained), encoding="utf-8")
        publish(folder, args.out)
    print(json.dumps({"out": str(args.out), "step": step, "seconds": round(seconds), "bytes": size}))


if __name__ == "__main__":
    main()
