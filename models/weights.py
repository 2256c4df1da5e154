"""Finding, checking and opening the files of a model: the only place of `models` that touches disk or
network.

A model is a folder in diffusers' format: `model_index.json` and a folder per component. Safetensors only: a
pickle can run code. Refuses to know what the networks are for; that is `models.loading`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import WeightsError
from configs.job import ModelConfig

COMPONENTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+?)(?:@([0-9a-f]{40}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Root files matter for a ControlNet or LoRA repository; root *checkpoints* of a whole model are left out by
# name.
_WANTED = [
    "*.json",
    "*/*.json",
    "*/*.txt",
    "*/*.safetensors",
    "diffusion_pytorch_model*.safetensors",
    "*lora*.safetensors",
]
_UNWANTED = ["safety_checker/*", "*non_ema*", "*openvino*", "*.fp16.safetensors"]


@dataclass(frozen=True)
class ModelFiles:
    """Where the checked parts of a model lie. `loras`: safetensors files."""

    root: Path
    controlnets: tuple[Path, ...]
    loras: tuple[Path, ...]

    def component(self, name: str) -> Path:
        """Folder of a component of `COMPONENTS`."""
        return self.root / name

    def config(self, name: str) -> dict[str, Any]:
        """The component's config, `scheduler_config.json` for the scheduler."""
        file = "scheduler_config.json" if name == "scheduler" else "config.json"
        return read_json(self.component(name) / file)

    def digest(self) -> str:
        """Sha256 over the names and sha256 of every file that decides what the model computes."""
        total = hashlib.sha256()
        folders = [(name, self.component(name)) for name in COMPONENTS]
        folders += [(f"controlnet {k}", folder) for k, folder in enumerate(self.controlnets)]
        named = [(f"{name}/{p.name}", p) for name, folder in folders for p in sorted(folder.iterdir())]
        named += [(f"lora {k}", path) for k, path in enumerate(self.loras)]
        for name, path in named:
            if path.suffix in (".safetensors", ".json", ".txt"):
                total.update(f"{name}\0{_file_digest(path)}\n".encode())
        return total.hexdigest()


def find_model(model: ModelConfig) -> ModelFiles:
    """Locate a model (downloading it if it is a hub id) and check that its files are there and are
    safetensors.

    Errors: WeightsError that names the file and what to do.
    """
    root = _folder(model)
    index = read_json(root / "model_index.json")
    for name in COMPONENTS:
        entry = index.get(name)
        if not isinstance(entry, list) or None in entry:
            raise WeightsError(f"{root / 'model_index.json'} lists no {name}; a text-to-image model needs {COMPONENTS}")
        if not (root / name).is_dir():
            raise WeightsError(f"missing folder {root / name}, which model_index.json lists; copy the whole model")
    for name in ("unet", "vae", "text_encoder"):
        check_weights(root / name)
    read_json(root / "scheduler" / "scheduler_config.json")
    tokenizer = root / "tokenizer"
    # transformers 5 opens a folder without these as an empty tokenizer, without a word: every prompt is then the same.
    if not (tokenizer / "tokenizer.json").is_file():
        for name in ("vocab.json", "merges.txt"):
            if not (tokenizer / name).is_file():
                raise WeightsError(f"missing file {tokenizer / name}; copy the whole model folder")
    controlnets = tuple(_control_folder(root, control.model) for control in model.controls)
    for folder in controlnets:
        check_weights(folder)
    return ModelFiles(root, controlnets, tuple(_lora_file(lora) for lora in model.loras))


def check_weights(folder: Path) -> str | None:
    """Check that a component has its config and whole safetensors weights; returns their variant ('fp16') or
    None.
    """
    read_json(folder / "config.json")
    for index in folder.glob("*.safetensors.index*.json"):
        for shard in sorted(set(read_json(index).get("weight_map", {}).values())):
            if not (folder / shard).is_file():
                raise WeightsError(f"missing file {folder / shard}, a part of the weights that {index.name} lists")
    names = {path.name for path in folder.glob("*.safetensors")}
    if not names:
        pickles = sorted(p for p in folder.iterdir() if p.suffix in _PICKLES)
        if pickles:
            raise WeightsError(
                f"{pickles[0]} is a pickle, which can run code when opened; convert it to safetensors "
                "(where you trust it: open it in diffusers, save_pretrained(..., safe_serialization=True))"
            )
        expected = "model" if folder.name.startswith("text_encoder") else "diffusion_pytorch_model"
        raise WeightsError(f"missing file {folder / (expected + '.safetensors')}; copy the whole model folder")
    return None if any(".fp16." not in name for name in names) else "fp16"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model. Errors: WeightsError if it is missing or not one."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"missing file {path}; is {path.parent} a complete diffusers model folder?") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is not a JSON object")
    return content


def vae_factor(vae_config: Mapping[str, Any]) -> int:
    """Pixels per latent of an autoencoder along one side, from its config."""
    blocks = vae_config.get("block_out_channels") or vae_config.get("encoder_block_out_channels")
    if not blocks:
        raise WeightsError("vae/config.json has neither block_out_channels nor encoder_block_out_channels")
    return int(2 ** (len(blocks) - 1))


def _folder(model: ModelConfig) -> Path:
    if model.path == "pocket":
        folder = Path(__file__).parent / "pocket" / "weights"
        if not folder.is_dir():
            raise WeightsError(f"missing folder {folder}: the pocket model is not in this installation; reinstall it")
        return folder
    local = Path(model.path).expanduser()
    if local.is_dir():
        return local
    if local.is_file():
        raise WeightsError(f"{local} is a single file; give a model folder in diffusers' format (model_index.json)")
    if not _HUB_ID.fullmatch(model.path):
        raise WeightsError(f"no such model folder: {local}")
    return _download(model.path, model.revision)


def _control_folder(root: Path, name: str) -> Path:
    for folder in (root / name, Path(name).expanduser()):
        if folder.is_dir():
            return folder
    if _HUB_ID.fullmatch(name):
        return _download(name, None)
    raise WeightsError(f"no ControlNet {name!r}: neither a folder inside {root}, nor a local folder, nor a hub id")


def _lora_file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.exists() and _HUB_ID.fullmatch(name):
        path = _download(name, None)
    if path.is_dir():
        found = sorted(path.glob("*.safetensors"))
        if len(found) != 1:
            raise WeightsError(f"LoRA folder {path} must hold one .safetensors file, has {len(found)}; name the file")
        path = found[0]
    if not path.is_file():
        raise WeightsError(f"missing LoRA file {path}")
    if path.suffix != ".safetensors":
        raise WeightsError(f"LoRA {path} is not safetensors; convert it (pickles can run code)")
    return path


def _download(name: str, revision: str | None) -> Path:
    """Folder of a hub repository at a commit; only a commit is a fixed model, a branch moves."""
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    match = _HUB_ID.fullmatch(name)
    assert match is not None
    repository, commit = match[1], match[2] or revision
    if commit is None or not _COMMIT.fullmatch(commit):
        raise WeightsError(
            f"{name!r} is not a local folder; as a hub id it needs the commit to use, 40 hex digits "
            f"(model.revision, or {repository}@<commit>), got {commit!r}"
        )
    try:
        return Path(
            snapshot_download(
                repository,
                revision=commit,
                allow_patterns=list(_WANTED),
                ignore_patterns=list(_UNWANTED),
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, HTTPError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"cannot download {repository}@{commit}: {reason}; check the network or give a local folder"
        ) from error


def _file_digest(path: Path) -> str:
    # The hub's cache names a large file by its own sha256.
    stored = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", stored):
        return stored
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
