"""Opening a model: files into frozen networks on a device, by diffusers' and transformers' own loaders.

Which files, and whether they are safe, is `models.weights`; what the networks are asked is `models.backbone`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from configs.errors import DeviceError, WeightsError
from configs.job import ModelConfig
from models.weights import ModelFiles, check_weights


@dataclass(frozen=True, eq=False)
class Parts:
    """The opened networks and the tokenizer of a model."""

    unet: Any
    vae: Any
    tokenizer: Any
    text_encoder: Any
    controlnets: tuple[Any, ...]


def open_device(name: str) -> torch.device:
    """The device of that name; CUDA is set to give the same bits for the same call.

    Errors: DeviceError if it is not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"device {name!r} is not a device; use cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= found:
            raise DeviceError(f"device {name!r} asked for, but this machine has {found} CUDA devices; use cpu")
        # Exactness: the same call gives the same bits. cuBLAS reads its variable when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device 'mps' asked for, but this machine has none; use cpu")
    elif device.type not in ("cpu", "mps"):
        raise DeviceError(f"device {name!r} is not supported; use cpu, cuda or cuda:N")
    return device


def open_parts(files: ModelFiles, model: ModelConfig, device: torch.device) -> Parts:
    """Load the networks of a model onto `device`, LoRAs fused in, frozen.

    Errors: WeightsError for broken weights, or weights that are not those of their config.
    """
    if model.cpu_offload and device.type != "cuda":
        raise DeviceError(f"model.cpu_offload needs a CUDA device to move weights to, got {device}; leave it out")
    # Imported here: seconds, and nothing that only plans or uses `dry` needs them.
    import transformers
    from diffusers import ControlNetModel, UNet2DConditionModel

    # Its bars would tear ours on stderr.
    transformers.utils.logging.disable_progress_bar()
    dtype: torch.dtype = getattr(torch, model.dtype)
    vae_class, vae_config = _vae_class(files), files.config("vae")
    # Some autoencoders overflow in half precision and say so; bfloat16 has float32's range.
    upcast = dtype == torch.float16 and vae_config.get("force_upcast", vae_class.__name__ == "AutoencoderKL")
    unet = _part(UNet2DConditionModel, files.component("unet"), torch_dtype=dtype)
    vae = _part(vae_class, files.component("vae"), torch_dtype=torch.float32 if upcast else dtype)
    text_encoder = _part(transformers.CLIPTextModel, files.component("text_encoder"), dtype=dtype)
    controlnets = tuple(_part(ControlNetModel, folder, torch_dtype=dtype) for folder in files.controlnets)
    try:
        tokenizer = transformers.CLIPTokenizer.from_pretrained(files.component("tokenizer"), local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"cannot open the tokenizer in {files.component('tokenizer')}: {error}") from error
    if model.vae_slicing:
        vae.enable_slicing()
    if model.vae_tiling and hasattr(vae, "enable_tiling"):
        vae.enable_tiling()
    for lora in files.loras:
        _fuse_lora(lora, unet, text_encoder)
    for network in (unet, vae, text_encoder, *controlnets):
        network.eval().requires_grad_(False)
        if model.cpu_offload:
            _offload(network, device)
        else:
            network.to(device)
    return Parts(unet, vae, tokenizer, text_encoder, controlnets)


def _offload(network: Any, device: torch.device) -> None:
    """Leave the weights in main memory; each layer's are on the device only while it computes (accelerate's hooks)."""
    from accelerate import cpu_offload  # type: ignore[import-untyped]

    cpu_offload(network, execution_device=device, offload_buffers=bool(network._parameters))


def _vae_class(files: ModelFiles) -> Any:
    from diffusers import AutoencoderKL, AutoencoderTiny

    from models.pocket.autoencoder import BlockAutoencoder

    known = {c.__name__: c for c in (AutoencoderKL, AutoencoderTiny, BlockAutoencoder)}
    name = files.config("vae").get("_class_name", "AutoencoderKL")
    if name not in known:
        raise WeightsError(f"{files.component('vae')} is a {name}; supported: {', '.join(known)}")
    return known[name]


def _part(kind: Any, folder: Path, **options: Any) -> Any:
    """A network from its folder. Errors: WeightsError if the weights are broken or do not fit the config."""
    from safetensors import SafetensorError

    variant = check_weights(folder)
    try:
        network, info = kind.from_pretrained(
            folder,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise WeightsError(f"cannot load {kind.__name__} from {folder}: {error}") from error
    missing = sorted(k for k in info["missing_keys"] if "position_ids" not in k)
    if missing:
        raise WeightsError(f"weights in {folder} lack {len(missing)} tensors of its config, the first {missing[0]}")
    return network


def _fuse_lora(file: Path, unet: Any, text_encoder: Any) -> None:
    """Apply a LoRA by diffusers' own loader, at strength 1.

    In the UNet it is added to the weights and forgotten, so that no call is slower for it; the text encoder,
    which runs once per prompt, keeps the adapter.
    """
    from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

    load_state: Callable[..., Any] = Loader.lora_state_dict
    try:
        state, alphas = load_state(str(file.parent), weight_name=file.name, use_safetensors=True, local_files_only=True)
        Loader.load_lora_into_unet(state, network_alphas=alphas, unet=unet)
        Loader.load_lora_into_text_encoder(state, network_alphas=alphas, text_encoder=text_encoder)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise WeightsError(f"cannot apply LoRA {file} to this model: {error}") from error
    if getattr(unet, "peft_config", None):
        unet.fuse_lora()
        unet.unload_lora()
