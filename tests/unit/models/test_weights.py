"""Finding and checking model files: each thing that can be wrong has one clear sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from configs.errors import WeightsError
from configs.job import ControlConfig, ModelConfig
from models.backbone import load
from models.weights import check_weights, find_model


@pytest.fixture
def copy(tiny_sd: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_sd, tmp_path / "model"))


@pytest.mark.parametrize(
    "gone",
    [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "scheduler/scheduler_config.json",
        "controlnet/diffusion_pytorch_model.safetensors",
    ],
)
def test_a_missing_file_is_named(copy: Path, gone: str) -> None:
    (copy / gone).unlink()
    with pytest.raises(WeightsError, match=f"missing file .*{gone}"):
        load(ModelConfig(path=str(copy), controls=(ControlConfig(model="controlnet"),)), "cpu")


def test_a_missing_tokenizer_is_named(copy: Path) -> None:
    for file in (copy / "tokenizer").iterdir():
        file.unlink()
    with pytest.raises(WeightsError, match="tokenizer"):
        load(ModelConfig(path=str(copy)), "cpu")


def test_a_missing_component_is_named(copy: Path) -> None:
    shutil.rmtree(copy / "tokenizer")
    with pytest.raises(WeightsError, match=r"missing folder .*tokenizer"):
        find_model(ModelConfig(path=str(copy)))


def test_a_missing_shard_is_named(copy: Path) -> None:
    index = copy / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "part-1.safetensors"}}')
    with pytest.raises(WeightsError, match=r"part-1\.safetensors"):
        find_model(ModelConfig(path=str(copy)))


@pytest.mark.parametrize("suffix", [".bin", ".ckpt", ".pt"])
def test_a_pickle_is_refused_and_never_opened(copy: Path, suffix: str) -> None:
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    pickled = file.with_suffix(suffix)
    file.rename(pickled)
    with pytest.raises(WeightsError, match=f"{pickled.name} is a pickle.*convert it to safetensors"):
        load(ModelConfig(path=str(copy)), "cpu")


def test_broken_weights_are_one_error(copy: Path) -> None:
    (copy / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(WeightsError, match=r"cannot load UNet2DConditionModel from .*unet"):
        load(ModelConfig(path=str(copy)), "cpu")


def test_weights_that_lack_tensors_are_refused(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = copy / "controlnet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors["conv_in.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"conv_in\.weight"):
        load(ModelConfig(path=str(copy), controls=(ControlConfig(model="controlnet"),)), "cpu")


def test_half_precision_file_names_are_understood(copy: Path) -> None:
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert check_weights(copy / "unet") == "fp16"
    load(ModelConfig(path=str(copy)), "cpu")


def test_digest_follows_content_and_not_place(tiny_sd: Path, copy: Path) -> None:
    one, two = (find_model(ModelConfig(path=str(p))).digest() for p in (tiny_sd, copy))
    assert one == two
    (copy / "scheduler" / "scheduler_config.json").write_text('{"beta_start": 0.1}')
    assert find_model(ModelConfig(path=str(copy))).digest() != one


@pytest.mark.parametrize("revision", [None, "main", "abc123"])
def test_a_hub_id_needs_a_commit(revision: str | None) -> None:
    with pytest.raises(WeightsError, match="40 hex digits"):
        find_model(ModelConfig(path="nobody/nothing", revision=revision))


def test_an_unreachable_hub_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def refuse(*args: object, **kwargs: object) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(WeightsError, match=r"cannot download nobody/nothing@0.*no connection.*local folder"):
        find_model(ModelConfig(path="nobody/nothing", revision="0" * 40))


def test_a_hub_model_is_fetched_at_its_commit(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    seen: dict[str, object] = {}

    def fetch(repository: str, **kwargs: object) -> str:
        seen.update(kwargs, repository=repository)
        return str(tiny_sd)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert find_model(ModelConfig(path=f"some/model@{'a' * 40}")).root == tiny_sd
    assert (seen["repository"], seen["revision"]) == ("some/model", "a" * 40)
    assert not any(".bin" in str(pattern) for pattern in seen["allow_patterns"])  # type: ignore[attr-defined]


def test_a_folder_or_controlnet_that_is_not_there_is_named(tiny_sd: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no such model folder: .*nowhere"):
        find_model(ModelConfig(path=str(tmp_path / "nowhere")))
    with pytest.raises(WeightsError, match="no ControlNet 'canny'"):
        find_model(ModelConfig(path=str(tiny_sd), controls=(ControlConfig(model="canny"),)))


def test_lora_files_are_checked(tiny_sd: Path, tmp_path: Path) -> None:
    (tmp_path / "style.pt").touch()
    for lora, message in ((tmp_path / "gone.safetensors", "missing LoRA"), (tmp_path / "style.pt", "safetensors")):
        with pytest.raises(WeightsError, match=message):
            find_model(ModelConfig(path=str(tiny_sd), loras=(str(lora),)))
