"""Training pairs as shards of latents: `python -m models.pocket.pairs --out DIR --vae DIR --clips DIR`.

Each shard holds source pictures, their photo and styled targets as scaled latents, their soft edges and
words, so that training spends no time on filters. Shard 0 is never trained on (the probe). Refuses to know
about the networks. Shards lie outside the repository: they hold frames of real clips.

Shape suffixes: N pictures, S styles, C channels, H height, W width (lower case: at latent resolution).
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.conditions import soft_edges
from models.pocket.autoencoder import BlockAutoencoder
from models.pocket.networks import FACTOR
from models.pocket.pictures import draw_picture, real_pictures
from models.pocket.styles import PROMPT_TEMPLATES, apply_style

COLOUR_FILE = "colour.safetensors"
STYLE_NAMES = tuple(PROMPT_TEMPLATES)


@dataclass(frozen=True)
class Pairs:
    """Latents are scaled, float16; `targets` in the order of `STYLE_NAMES`; edges, depth, objects uint8, 255 is 1.

    `procedural_N` bool: pictures whose words name what is in them, in its colours; only these have objects and depth.
    """

    source_NChw: Tensor
    targets_NSChw: Tensor
    edges_NHW: Tensor
    depth_NHW: Tensor
    objects_Nhw: Tensor
    words: list[str]
    procedural_N: Tensor


def colour_directions(vae: BlockAutoencoder) -> Tensor:
    """The two directions (2, C) of latent space, orthonormal, along which even pictures of one brightness lie."""
    corners = torch.tensor([(1.0, -1.0, 0.0), (0.0, -1.0, 1.0)])  # zero-sum steps of R, G, B
    even = (0.5 * corners)[:, :, None, None].expand(-1, -1, 64, 64)
    with torch.no_grad():
        latents = vae.encode(even).latent_dist.mean - vae.encode(torch.zeros_like(even)).latent_dist.mean
    middle = latents[:, :, latents.shape[2] // 2, latents.shape[3] // 2]
    return torch.linalg.qr(middle.T.float()).Q.T.contiguous()


def write_shard(path: Path, index: int, count: int, vae: BlockAutoencoder, clips: Path | None) -> None:
    """Draw `count` pictures seeded by the shard's index, style and encode them, and write one file."""
    rng = np.random.default_rng([20261121, index])
    real = real_pictures(clips) if clips is not None else []
    scale = float(vae.config.scaling_factor)
    sources, targets, edges, depths, objects, words, procedural = [], [], [], [], [], [], []
    for _ in range(count):
        drawn = draw_picture(rng, real)
        picture = drawn.picture_HWC
        styled = np.stack([apply_style(name, picture) for name in STYLE_NAMES])
        batch = torch.from_numpy(np.concatenate([picture[None], styled])).permute(0, 3, 1, 2)
        with torch.no_grad():
            latents = vae.encode(batch.float() / 127.5 - 1).latent_dist.mean * scale
        sources.append(latents[0].half())
        targets.append(latents[1:].half())
        edges.append(torch.from_numpy(np.round(soft_edges(picture[None])[0] * 255).astype(np.uint8)))
        depths.append(torch.from_numpy(drawn.depth_HW))
        small = (picture.shape[1] // FACTOR, picture.shape[0] // FACTOR)
        objects.append(torch.from_numpy(cv2.resize(drawn.objects_HW, small, interpolation=cv2.INTER_AREA)))
        words.append(drawn.words)
        procedural.append(drawn.procedural)
    lists = {"source": sources, "targets": targets, "edges": edges, "depth": depths, "objects": objects}
    tensors = {name: torch.stack(values).contiguous() for name, values in lists.items()}
    tensors["procedural"] = torch.tensor(procedural)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"words": json.dumps(words)})
    os.replace(partial, path)


def read_shards(paths: list[Path]) -> Pairs:
    """Read shards written by `write_shard` into memory."""
    names = ("source", "targets", "edges", "depth", "objects", "procedural")
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    words: list[str] = []
    for path in paths:
        with safe_open(path, framework="pt") as shard:
            for name in names:
                found[name].append(shard.get_tensor(name))
            words += json.loads(shard.metadata()["words"])
    source, targets, edges, depth, objects, procedural = (torch.cat(found[name]) for name in names)
    return Pairs(source, targets, edges, depth, objects, words, procedural)


def main() -> None:
    """Write the missing shards of a pool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--clips", type=Path, default=None)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("K", "N"), help="every Nth, from K")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    vae = BlockAutoencoder.from_pretrained(args.vae)
    save_file({"colour": colour_directions(vae)}, args.out / COLOUR_FILE)
    for index in range(args.part[0], args.shards, args.part[1]):
        path = args.out / f"shard-{index:03d}.safetensors"
        if not path.exists():
            write_shard(path, index, args.count, vae, args.clips)
            print("wrote", path, flush=True)


if __name__ == "__main__":
    main()
